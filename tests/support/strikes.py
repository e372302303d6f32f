"""Handlers of signals, run at each place in turn where the interpreter may run one within a call of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import xse
from xse import SerializationError

OURS = str(Path(xse.__file__).parent)


class Interrupt(Exception):
    """What the handler raises, as a Ctrl-C or a timeout would."""


def interrupt() -> None:
    raise Interrupt


def at_place(number: int, call: Callable[[], Any], handler: Callable[[], object] = interrupt) -> bool:
    """Make the call, and the handler's at the place of this number, from 1: where a function of ours begins, and where
    a function of C has returned to one of ours. False: the call has no such place."""
    n = 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal n
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(OURS):
            n += 1
            if n == number:
                handler()

    sys.setprofile(profile)
    try:
        call()
    except Interrupt:
        pass
    except SerializationError as e:  # it struck while an object was pickled, whose own code may raise as well
        if "Interrupt()" not in str(e):
            raise
    finally:
        sys.setprofile(None)
    return n >= number


def places(call: Callable[[], Any], handler: Callable[[], object] = interrupt, step: int = 1) -> int:
    """The call and the handler at each place of it, or each ``step``-th. Returns the number of places."""
    number = 1
    while at_place(number, call, handler):
        number += step
    return number - 1

"""Checks of options that both executors have. Each raises OptionError, or TypeError for a value of a wrong type."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable
from typing import ParamSpec

from xse.errors import OptionError

P = ParamSpec("P")

MOST_TIMEOUT_S = 4_000_000  # of a task: what the wire can say, 46 days
LEAST_MEMORY = 32 << 20  # bytes, of a worker
PRIORITIES = (-(2**31), 2**31 - 1)


def check_whole_number(name: str, value: object, least: int, most: int) -> None:
    """``value`` must be an int from ``least`` to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not least <= value <= most:
        raise OptionError(f"{name}={value} is out of range: {least} to {most}")


def check_port_range(name: str, value: object) -> None:
    """``value`` must be (low, high), the range without high."""
    if not (isinstance(value, tuple) and len(value) == 2 and 0 < value[0] < value[1] <= 65_536):
        raise OptionError(f"{name}={value!r} must be (low, high) with 0 < low < high <= 65536")


def check_heartbeat(period_s: float, threshold_s: float) -> None:
    """The period must be above 0 and below the threshold; both in seconds."""
    if not 0 < period_s < threshold_s:
        raise OptionError(
            f"heartbeat_period={period_s} must be above 0 and below heartbeat_threshold={threshold_s}, in seconds"
        )


def check_modules(name: str, value: object) -> None:
    """``value`` must be a sequence of names, and not one text."""
    if isinstance(value, str):
        raise OptionError(f"{name} must be a sequence of module names, not the text {value!r}")


def milliseconds_of_timeout(timeout_s: float | None) -> int:
    """Of a task, as the wire has it; 0: none. Rounded up, so that a short one is not none."""
    if timeout_s is None:
        return 0
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= MOST_TIMEOUT_S:
        raise OptionError(f"timeout={timeout_s!r} must be a number of seconds above 0, at most {MOST_TIMEOUT_S}")
    return math.ceil(timeout_s * 1000)


def check_memory_limit(n_bytes: int) -> None:
    """``memory_limit``, in bytes; 0: none. Python itself must fit."""
    if 0 < n_bytes < LEAST_MEMORY:
        raise OptionError(
            f"memory_limit: {n_bytes:,} bytes are too few for Python itself. Give {LEAST_MEMORY >> 20} MB or more, as a"
            " number of bytes or a text like '2 GB'"
        )


def named_options(init: Callable[P, None]) -> Callable[P, None]:
    """Decorate a constructor: an option that it does not have raises TypeError, which names the most similar one."""
    known = [name for name in inspect.signature(init).parameters if name != "self"]

    @functools.wraps(init)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        for name in kwargs:
            if name not in known:
                similar = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {similar[0]}?" if similar else f"the options are {', '.join(known)}"
                raise TypeError(f"there is no option {name}: {hint}")
        init(*args, **kwargs)

    return checked

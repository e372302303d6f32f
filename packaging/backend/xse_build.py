"""xse's build backend: meson-python's, with the reason of a failure as the last line of what the build prints.

meson says in the middle of its output what is missing, and ends with where its log is. pip shows all of it, and adds
lines of its own; people read the end.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import mesonpy

# What pip calls.
__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

_REASON = re.compile(r"^.*?ERROR: (?:Problem encountered: )?(.*)$", re.MULTILINE)


class _Copied:
    """Passes what this process and its children print on as it comes, and keeps a copy."""

    def __enter__(self) -> _Copied:
        sys.stdout.flush()
        self._real = os.dup(1)
        read, write = os.pipe()
        os.dup2(write, 1)
        os.close(write)
        self._text = bytearray()
        self._thread = threading.Thread(target=self._copy, args=(read,))
        self._thread.start()
        return self

    def _copy(self, read: int) -> None:
        while data := os.read(read, 65536):
            os.write(self._real, data)
            self._text += data
        os.close(read)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._real, 1)
        self._thread.join()
        os.close(self._real)

    @property
    def text(self) -> str:
        return self._text.decode(errors="replace")


def _with_its_reason_last(hook: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(hook)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        copied = _Copied()
        try:
            with copied:
                return hook(*args, **kwargs)
        except SystemExit:
            reasons = _REASON.findall(copied.text)
            if not reasons:
                raise
            sys.exit(f"xse cannot be built: {reasons[-1]}")

    return wrapped


build_sdist = _with_its_reason_last(mesonpy.build_sdist)
build_wheel = _with_its_reason_last(mesonpy.build_wheel)
build_editable = _with_its_reason_last(mesonpy.build_editable)
get_requires_for_build_sdist = mesonpy.get_requires_for_build_sdist
get_requires_for_build_wheel = mesonpy.get_requires_for_build_wheel
get_requires_for_build_editable = mesonpy.get_requires_for_build_editable

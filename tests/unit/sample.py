"""A module that workers can import: what lies here travels by name."""

from __future__ import annotations

import threading


def double(x: int) -> int:
    return 2 * x


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("not me")


class Unreadable:
    """It can be pickled, and never unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise TypeError("an Unreadable cannot be read")


class Unloadable(Exception):
    """Its own args do not fit its __init__: it can be pickled, and never unpickled."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a)


class Unsendable(Exception):
    """It cannot be pickled, for what it holds cannot."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def refuse() -> None:
    raise Unloadable(1, 2)


def throw() -> None:
    raise Unsendable("a word")


def reciprocal(x: float) -> float:
    return 1 / x


def joined(first: bytes, middle: str, *, last: str) -> str:
    return first.decode() + middle + last

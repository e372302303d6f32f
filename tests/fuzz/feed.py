"""A fuzzer's input, read bit by bit as what a test needs. An input that is used up gives zeros."""

from __future__ import annotations


class Feed:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Is anything left?"""
        return self._at < len(self._data)

    def bytes(self, n: int) -> bytes:
        """At most n."""
        self._at += n
        return self._data[self._at - n : self._at]

    def byte(self) -> int:
        return int.from_bytes(self.bytes(1), "little")

    def number(self) -> int:
        """Mostly small, at times up to 2^32 - 1."""
        n = self.byte()
        return n if n < 250 else int.from_bytes(self.bytes(4), "little")

"""A payload in frames. Only their concatenation has a meaning. Cutting a payload copies nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from xse.wire.messages import Buffer

JOIN_BELOW = 65_536  # bytes: smaller neighbours are joined into one frame; larger frames are sent without a copy


class Frames:
    """The payload of a message. ``length`` is in bytes."""

    __slots__ = ("_frames", "_starts", "length")

    def __init__(self, frames: Sequence[Buffer]) -> None:
        self._frames = [memoryview(f) for f in frames]
        if len(frames) == 1:  # the usual case
            self._starts = [0]
            self.length = len(frames[0])
            return
        ends = list(accumulate(len(f) for f in self._frames))
        self._starts = [0, *ends[:-1]]
        self.length = ends[-1] if ends else 0

    def cut(self, start: int, stop: int) -> list[memoryview]:
        """The bytes from start to stop, as views."""
        if start >= stop:
            return []
        if len(self._frames) == 1:
            return [self._frames[0][start:stop]]
        i = bisect_right(self._starts, start) - 1
        views = []
        while start < stop:
            frame, at = self._frames[i], self._starts[i]
            view = frame[start - at : stop - at]
            if len(view):
                views.append(view)
            start += len(view)
            i += 1
        return views

    def one(self, start: int, stop: int) -> Buffer:
        """The bytes from start to stop as one buffer: a view if they lie in one frame, else a copy."""
        views = self.cut(start, stop)
        if len(views) == 1:
            return views[0]
        return b"".join(views)


def joined(parts: Sequence[Buffer]) -> list[Buffer]:
    """The same payload in few frames: small neighbours joined, large parts left alone."""
    if len(parts) <= 1:
        return list(parts)
    frames: list[Buffer] = []
    small: list[Buffer] = []
    for part in parts:
        if len(part) < JOIN_BELOW:
            small.append(part)
            continue
        if small:
            frames.append(b"".join(small))
            small = []
        frames.append(part)
    if small:
        frames.append(b"".join(small))
    return frames

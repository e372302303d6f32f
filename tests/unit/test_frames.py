"""Frames: only the concatenation counts, and cutting copies nothing."""

from __future__ import annotations

import random

from xse.wire.frames import JOIN_BELOW, Frames, joined


def test_any_cut_is_that_part_of_the_concatenation() -> None:
    random.seed(2)
    for _ in range(300):
        parts = [random.randbytes(random.choice((0, 1, 5, 40))) for _ in range(random.randint(0, 6))]
        whole = b"".join(parts)
        frames = Frames(parts)
        assert frames.length == len(whole)
        start = random.randint(0, len(whole))
        stop = random.randint(start, len(whole))
        assert b"".join(frames.cut(start, stop)) == whole[start:stop]
        assert bytes(frames.one(start, stop)) == whole[start:stop]


def test_a_cut_within_one_frame_is_a_view_of_it() -> None:
    data = bytearray(b"abcdef")
    view = Frames([data]).one(2, 4)
    data[2] = ord("X")
    assert bytes(view) == b"Xd"


def test_small_neighbours_are_joined_and_large_parts_stay_alone() -> None:
    large = bytes(JOIN_BELOW)
    frames = joined([b"a", b"b", large, b"c", large, large, b"d", b"e"])
    assert frames == [b"ab", large, b"c", large, large, b"de"]
    assert frames[1] is large
    assert joined([]) == []

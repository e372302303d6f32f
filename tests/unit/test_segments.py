"""Segments: what is put in comes out, once, and nothing is left behind."""

from __future__ import annotations

import errno
import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest

from tests.unit import sample
from xse.functions import payload, segments
from xse.functions.payload import LARGE
from xse.functions.segments import Reference, Segment, Segments


@pytest.fixture
def shared(tmp_path: Path) -> Segments:
    return Segments(str(tmp_path))


class Array:
    """Travels out of band, as numpy's arrays do."""

    nbytes = LARGE

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Array, (pickle.PickleBuffer(self.data),)


def sent(reference: Reference | None) -> Any:
    assert reference
    return payload.loads(pickle.dumps(reference, 2))


def test_parts_and_arrays_come_out_as_they_were_put_in(shared: Segments, tmp_path: Path) -> None:
    parts = [b"ab", b"", b"c" * 100_000]
    arrays = [b"1" * 7, b"", b"2" * 65]
    segment = pickle.loads(pickle.dumps(shared.put(parts, arrays)))
    assert isinstance(segment, Segment)
    assert bytes(segment.stream) == b"".join(parts)
    assert list(map(bytes, segment.arrays)) == arrays
    assert list(tmp_path.iterdir()) == []


def test_more_parts_than_one_system_call_takes(shared: Segments) -> None:
    parts = [bytes([i % 256]) * (i % 3) for i in range(5000)]
    segment = pickle.loads(pickle.dumps(shared.put(parts)))
    assert bytes(segment.stream) == b"".join(parts)


def test_arguments_come_out_and_large_bytes_are_not_copied_on_their_way_in(shared: Segments) -> None:
    large = os.urandom(LARGE)
    reference = payload.dump_segment(((large, [1]), {"k": sample.Point(3)}), LARGE, shared)
    assert sent(reference) == ((large, [1]), {"k": sample.Point(3)})


def test_arrays_live_in_the_segment_and_may_be_written_to(shared: Segments, tmp_path: Path) -> None:
    array = Array(bytearray(b"x" * LARGE))
    (there,), _ = sent(payload.dump_segment(((array,), {}), LARGE, shared))
    array.data[0] = 0
    assert there.data[0] == ord("x"), "it is what it was when it was put in"
    there.data[1] = ord("y")
    assert bytes(there.data[:3]) == b"xyx"
    assert list(tmp_path.iterdir()) == []


def test_a_reference_is_known_by_its_beginning(shared: Segments) -> None:
    data = pickle.dumps(shared.put([pickle.dumps(7)]), 2)
    assert data.startswith(Reference.BEGINNING)
    segment = payload.claimed(data)
    assert isinstance(segment, Segment)
    assert payload.load_result(payload.Status.VALUE, segment) == (7, None)


def test_where_there_is_no_room_there_is_no_segment(tmp_path: Path) -> None:
    shared = Segments(str(tmp_path / "gone"))
    assert shared.put([b"x"]) is None
    assert payload.dump_segment(((bytes(LARGE),), {}), LARGE, shared) is None


def test_a_segment_that_is_gone_is_reported_by_who_loads_it(shared: Segments, tmp_path: Path) -> None:
    reference = shared.put([pickle.dumps(7)])
    assert reference
    data = pickle.dumps(reference, 2)
    segments.remove(reference.path)
    segments.remove(reference.path)
    assert payload.claimed(data) == data
    _, error = payload.load_result(payload.Status.VALUE, data)
    assert "cannot be unpickled" in str(error)


def test_what_makes_an_argument_large_is_seen_from_without() -> None:
    assert payload.bulk_of((b"12", "345", bytearray(6), [bytes(100)], None, 7)) == 11
    assert payload.bulk_of((Array(b""),)) == LARGE
    assert payload.bulk_of((memoryview(bytes(9)),)) == 9


def test_what_no_message_might_carry_makes_none(shared: Segments) -> None:
    assert payload.dump_segment(((b"",), {}), payload.MAX_ITEM, shared) is None


def test_functions_without_a_name_go_into_a_segment_too(shared: Segments) -> None:
    reference = payload.dump_segment(((bytes(LARGE), lambda n: n + 1), {}), LARGE, shared)
    (large, add), _ = sent(reference)
    assert (len(large), add(1)) == (LARGE, 2)


def test_a_segment_that_is_held_keeps_no_descriptor(shared: Segments) -> None:
    reference = shared.put([b"x" * 100])
    sent_first = pickle.loads(pickle.dumps(reference))  # a spare is kept from now on
    before = len(os.listdir("/proc/self/fd"))
    held = [pickle.loads(pickle.dumps(shared.put([b"x" * 100], [b"y" * 5000]))) for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert {bytes(segment.arrays[0]) for segment in held} == {b"y" * 5000}
    assert bytes(sent_first.stream) == b"x" * 100


def test_a_segment_comes_though_no_descriptor_is_left(shared: Segments) -> None:
    references = [pickle.dumps(shared.put([b"x" * 100])) for _ in range(3)]
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    used: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, most))
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                used.append(os.open(os.devnull, os.O_RDONLY))
        assert [bytes(pickle.loads(r).stream) for r in references] == [b"x" * 100] * 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
        for fd in used:
            os.close(fd)


def test_a_segment_is_copied_where_no_more_can_be_mapped(
    shared: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(errno.ENOMEM, "no")

    reference = pickle.dumps(shared.put([b"a" * 100], [b"b" * 5000]))
    monkeypatch.setattr(segments, "_map", refuse)
    segment = pickle.loads(reference)
    assert (bytes(segment.stream), bytes(segment.arrays[0])) == (b"a" * 100, b"b" * 5000)
    segment.arrays[0][0] = 0  # it may be written to
    assert list(tmp_path.iterdir()) == []


def test_a_segment_that_cannot_be_read_now_is_there_later(
    shared: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(errno.EIO, "no")

    reference = pickle.dumps(shared.put([payload.dumps("there")]), 2)
    with monkeypatch.context() as patch:
        patch.setattr(segments, "_map", refuse)
        data = payload.claimed(reference)
    assert len(list(tmp_path.iterdir())) == 1
    assert payload.load_result(payload.Status.VALUE, data) == ("there", None)
    assert list(tmp_path.iterdir()) == []

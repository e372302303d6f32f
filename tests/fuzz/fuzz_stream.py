"""A byte stream, good messages and rubbish, cut anywhere, to xse.stream: what arrives is what a reader of the whole
would have found. The buffer is small here, so that messages larger than it are cheap: what costs is each piece."""

from __future__ import annotations

import sys
from array import array

import atheris

with atheris.instrument_imports(include=["xse.wire.stream"]):
    from xse.wire import stream

from tests.fuzz.feed import Feed
from xse.wire import messages as wire

stream.BUFFER = 128
stream.CHUNK = 256
wire.MAX_HEAD = 1024


class Pieces:
    """In the place of a socket: bytes that come a piece at a time, and then the end."""

    def __init__(self, data: bytes, cut: int) -> None:
        self._data = memoryview(data)
        self._cut = cut

    def setblocking(self, _: bool) -> None:
        pass

    def recv_into(self, target: memoryview) -> int:
        self._cut = (self._cut * 1103515245 + 12345) % 2**31  # as in C's own example of rand
        n = min(1 + (self._cut >> 16) % (700 if self._cut & 0x8000 else 20), len(self._data), len(target))
        target[:n] = self._data[:n]
        self._data = self._data[n:]
        return n


def good(n: int, fill: int) -> bytes:
    """A message with a payload of n bytes."""
    payload = bytes([fill]) * n
    return wire.did_not_run(array("Q", [fill]), wire.Status.VALUE, payload).head() + payload


def assemble(feed: Feed) -> bytes:
    parts = []
    while feed:
        op = feed.byte()
        n = feed.byte()
        parts.append(feed.bytes(n) if op < 128 else good(n if op < 220 else n * 4, op))
    return b"".join(parts)


def read_whole(data: bytes) -> tuple[list[bytes], bool]:
    """The messages in these bytes, and whether what follows them cannot be one."""
    messages, at = [], 0
    while len(data) - at >= wire.PREAMBLE:
        try:
            head_length, payload_length = wire.sizes(data[at:])
        except wire.WireError:
            return messages, True
        if head_length + payload_length > len(data) - at:
            break
        messages.append(data[at : at + head_length + payload_length])
        at += head_length + payload_length
    return messages, False


def one_input(data: bytes) -> None:
    feed = Feed(data)
    cut = feed.byte()
    whole = assemble(feed)
    expected, rubbish = read_whole(whole)
    reader = stream.Stream(Pieces(whole, cut))  # type: ignore[arg-type]
    arrived = []
    while not reader.ended:
        arrived += [head + bytes(payload.one(0, payload.length)) for head, payload in reader.receive()]
    assert arrived == expected
    assert (reader.error is not None) == rubbish


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

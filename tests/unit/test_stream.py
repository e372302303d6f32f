"""The Python stream: messages pass whole and in order whatever the socket does, and rubbish is refused."""

from __future__ import annotations

import random
import socket
from array import array

import pytest

from xse.wire import messages as wire
from xse.wire import stream as stream_module
from xse.wire.frames import Frames
from xse.wire.stream import Stream


@pytest.fixture
def pair() -> tuple[Stream, Stream]:
    a, b = socket.socketpair()
    return Stream(a), Stream(b)


def value(n: int) -> tuple[bytes, bytes]:
    """A RESULTS message with one result of n bytes: head and payload."""
    payload = random.Random(n).randbytes(n)
    results = wire.did_not_run(array("Q", [n]), wire.Status.VALUE, payload)
    return results.head(), payload


def exchange(a: Stream, b: Stream, wanted: int) -> list[tuple[bytes, Frames]]:
    """Let both work until so many messages have come out of b."""
    messages: list[tuple[bytes, Frames]] = []
    while len(messages) < wanted:
        a.flush()
        messages += b.receive()
    return messages


def test_messages_of_every_size_arrive_whole_and_in_order(pair: tuple[Stream, Stream]) -> None:
    a, b = pair
    size = stream_module.BUFFER
    sizes = [0, 1, 100, 65_536, size - 41, size - 40, size - 39, size, 5_000_000, 3, 70_000_000, 0, 9]
    for n in sizes:
        a.send(value(n))
    messages = exchange(a, b, len(sizes))
    for n, (head, payload) in zip(sizes, messages, strict=True):
        assert (head, b"".join(payload.cut(0, payload.length))) == value(n)


def test_bytes_that_come_one_by_one_are_a_message(pair: tuple[Stream, Stream]) -> None:
    a, b = pair
    messages = []
    for byte in b"".join((*value(30), *value(50))):
        a.send([bytes([byte])])
        messages += b.receive()
    assert [h for h, _ in messages] == [value(30)[0], value(50)[0]]


def test_streams_that_read_into_one_buffer_do_not_mix() -> None:
    buffer = stream_module.read_buffer()
    sockets = [socket.socketpair() for _ in range(3)]
    readers = [Stream(b, buffer) for _, b in sockets]
    sizes = [5, 2000, 70_000]
    data = [b"".join((*value(n), *value(n + 1), *value(2_000_000 + n))) for n in sizes]
    messages: list[list[tuple[bytes, Frames]]] = [[], [], []]
    for at in range(0, max(map(len, data)), 30_011):
        for i, (a, _) in enumerate(sockets):
            a.sendall(data[i][at : at + 30_011])
            messages[i] += readers[i].receive()
    for n, received in zip(sizes, messages, strict=True):
        assert [(head, b"".join(payload.cut(0, payload.length))) for head, payload in received] == [
            value(n),
            value(n + 1),
            value(2_000_000 + n),
        ]


def test_a_head_larger_than_the_buffer_is_taken(pair: tuple[Stream, Stream]) -> None:
    a, b = pair
    n = wire.MAX_ITEMS
    results = wire.did_not_run(array("Q", range(n)), wire.Status.VALUE)
    a.send([results.head()])
    a.send(value(7))
    messages = exchange(a, b, 2)
    assert messages[0][0] == results.head()
    assert messages[1][0] == value(7)[0]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"xse\2" + bytes(28),
        b"xse\1\1\0\0\0\xff\xff\xff\xff" + bytes(20),
        b"xse\1\2\0\0\0\x18\0\0\0\1\0\0\0" + b"\xff" * 8,
    ],
)
def test_what_cannot_be_a_message_ends_the_stream_after_what_came_before_it(
    pair: tuple[Stream, Stream], rubbish: bytes
) -> None:
    a, b = pair
    a.send([*value(10), *value(20), rubbish])
    assert [h for h, _ in b.receive()] == [value(10)[0], value(20)[0]]
    assert isinstance(b.error, wire.WireError)
    assert b.ended
    a.send(value(30))
    assert b.receive() == []


def test_what_a_peer_sent_before_it_went_is_received(pair: tuple[Stream, Stream]) -> None:
    a, b = pair
    a.send(value(10))
    a.close()
    messages = b.receive()
    while not b.ended:
        messages += b.receive()
    assert [h for h, _ in messages] == [value(10)[0]]


def test_sending_to_a_peer_that_is_gone_raises_nothing(pair: tuple[Stream, Stream]) -> None:
    a, b = pair
    b.close()
    for _ in range(3):
        assert a.send(value(100_000))

"""Messages over a unix stream socket: head, payload, head, payload.

Executor, interchange and the blocks on its own host speak this way: a hop costs one wake-up, where one over ZeroMQ
costs three (docs/decisions/0001). The end of the connection is the end of the peer. Nothing here blocks.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from xse.wire import messages as wire
from xse.wire.frames import JOIN_BELOW, Frames

BUFFER = 512 << 10  # bytes: smaller messages are read many at a time, a larger one into its own memory
CHUNK = 64 << 20  # bytes: a large payload is read in pieces, so that an announced length alone takes no memory
MOST_PARTS = 512  # in one sendmsg; the kernel's limit is 1024
READS = 16  # calls of recv before other sockets have their turn


def listen_locally(path: str) -> socket.socket:
    """A unix socket at ``path`` that takes connections. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(path)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def read_buffer() -> memoryview:
    """A buffer that all streams of one thread can share."""
    return memoryview(bytearray(BUFFER))


class Stream:
    """Owns ``sock``. ``ended`` is set when the peer is gone; what it sent before that can still be received.
    ``error`` is set when bytes have come that are no message: nothing can be received any more.

    ``buffer``: one that other streams of the same thread use, too; between two calls nothing of this one lies there.
    """

    def __init__(self, sock: socket.socket, buffer: memoryview | None = None) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.ended = False
        self.error: wire.WireError | None = None
        self._out: deque[memoryview] = deque()
        self._buffer = read_buffer() if buffer is None else buffer
        self._left = b""  # the beginning of a message that is not complete
        # A message that is too large for the buffer: its head, and pieces of its payload
        self._pieces: list[memoryview] = []
        self._filling: memoryview | None = None  # the part of the last piece that is not filled yet
        self._missing = 0  # bytes of the payload after that piece

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    # ---- out

    def send(self, parts: Sequence[wire.Buffer]) -> bool:
        """Send one message. Returns False if some of it waits for ``flush``."""
        if sum(map(len, parts)) < JOIN_BELOW:
            message = b"".join(parts)
            if self.send_whole(message):
                return not self._out
            parts = [message]
        self._out.extend(memoryview(p) for p in parts if len(p))
        return self.flush()

    def send_whole(self, message: bytes) -> bool:
        """Send one message in one call, if nothing waits. Returns False if not a byte was sent."""
        if self._out or self.ended:
            return False
        try:
            sent = self._socket.send(message)
        except OSError:  # the socket is full; or the peer is gone, which ``receive`` finds
            return False
        if sent < len(message):
            self._out.append(memoryview(message)[sent:])
        return True

    def flush(self) -> bool:
        """Send waiting bytes as far as the socket takes them. Returns True if nothing waits any more."""
        out = self._out
        while out and not self.ended:
            try:
                if len(out) == 1:
                    sent = self._socket.send(out[0])
                else:
                    sent = self._socket.sendmsg([out[i] for i in range(min(len(out), MOST_PARTS))])
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:  # the peer is gone; what it sent before is still to be read
                out.clear()
                break
            while sent and sent >= len(out[0]):
                sent -= len(out.popleft())
            if sent:
                out[0] = out[0][sent:]
        return True

    # ---- in

    def receive(self) -> list[tuple[bytes, Frames]]:
        """The complete messages, in order. Look at ``ended`` and ``error`` after you have handled them."""
        messages: list[tuple[bytes, Frames]] = []
        for _ in range(READS):
            if self.ended or not self._read(messages):
                break
        return messages

    def _read(self, messages: list[tuple[bytes, Frames]]) -> bool:
        """Read once. Returns True if there may be more."""
        before = len(self._left)
        if before:
            self._buffer[:before] = self._left
        target = self._buffer[before:] if self._filling is None else self._filling
        try:
            n = self._socket.recv_into(target)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            n = 0
        if n == 0:
            self.ended = True
            return False
        full = n == len(target)
        try:
            if self._filling is None:
                self._parse(before + n, messages)
            else:
                self._filling = self._filling[n:]
                self._advance(0, 0, messages)
        except wire.WireError as e:
            self.error, self.ended = e, True
        return full

    def _parse(self, end: int, messages: list[tuple[bytes, Frames]]) -> None:
        """Take whole messages out of the buffer, up to ``end``. Keep the rest, or begin a large message with it."""
        buffer, at = self._buffer, 0
        while end - at >= wire.PREAMBLE:
            head_length, payload_length = wire.sizes(buffer, at)
            middle = at + head_length
            stop = middle + payload_length
            if stop - at > BUFFER:
                self._pieces = [memoryview(bytearray(head_length))]
                self._filling = self._pieces[0]
                self._missing = payload_length
                at = self._advance(at, end, messages)
                continue
            if end < stop:
                break
            payload = Frames([bytes(buffer[middle:stop])] if payload_length else [])
            messages.append((bytes(buffer[at:middle]), payload))
            at = stop
        self._left = bytes(buffer[at:end]) if at < end else b""

    def _advance(self, at: int, end: int, messages: list[tuple[bytes, Frames]]) -> int:
        """Fill the pieces of a large message with what the buffer has of it; after the last the message is whole.
        Returns where in the buffer the rest begins."""
        while self._filling is not None:
            n = min(len(self._filling), end - at)
            if n:
                self._filling[:n] = self._buffer[at : at + n]
                self._filling = self._filling[n:]
                at += n
            if len(self._filling):
                break
            if self._missing:
                self._filling = memoryview(bytearray(min(self._missing, CHUNK)))
                self._pieces.append(self._filling)
                self._missing -= len(self._filling)
            else:
                head, *payload = self._pieces
                messages.append((bytes(head), Frames(payload)))
                self._pieces, self._filling = [], None
        return at

"""Messages over a unix stream socket: one after the other, each a head and its payload, as they lie on the wire.

Executor, interchange and the pools of its own host speak this way: a hop costs one wake-up, where one over ZeroMQ costs
three (docs/decisions/0001). The end of the connection is the end of the peer. Nothing here blocks.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from xse import wire
from xse.frames import JOIN_BELOW, Frames

BUFFER = 512 << 10  # bytes: smaller messages are read many at a time
CHUNK = 64 << 20  # bytes: a large payload is taken in pieces, so that a length alone takes no memory
MOST_PARTS = 512  # in one sendmsg; the kernel's limit is 1024
READS = 16  # at a time


class Stream:
    """Owns ``sock``. ``ended`` is set when the peer is gone; what it sent before that can still be received.
    ``error`` is set when bytes have come that are no message: nothing can be received any more."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.ended = False
        self.error: wire.WireError | None = None
        self._out: deque[memoryview] = deque()
        self._buffer = memoryview(bytearray(BUFFER))
        self._at = self._end = 0  # what is in the buffer and not used yet
        # A message that is too large for the buffer:
        self._head: bytes | None = None
        self._pieces: list[memoryview] = []
        self._filling: memoryview | None = None  # what is still to come of the last piece
        self._missing = 0  # of the payload, beyond that piece

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    # ---- out

    def send(self, parts: Sequence[wire.Buffer]) -> bool:
        """One message. True: it has left; False: some of it waits for ``flush``."""
        if sum(map(len, parts)) < JOIN_BELOW:
            message = b"".join(parts)
            if self.send_whole(message):
                return not self._out
            parts = [message]
        self._out.extend(memoryview(p) for p in parts if len(p))
        return self.flush()

    def send_whole(self, message: bytes) -> bool:
        """One message in one call, if nothing waits. False: not a byte of it was sent."""
        if self._out or self.ended:
            return False
        try:
            sent = self._socket.send(message)
        except OSError:  # no room; or the peer is gone, which is seen where one reads
            return False
        if sent < len(message):
            self._out.append(memoryview(message)[sent:])
        return True

    def flush(self) -> bool:
        """What waits, as far as the socket takes it. True: nothing waits any more."""
        out = self._out
        while out and not self.ended:
            try:
                if len(out) == 1:
                    sent = self._socket.send(out[0])
                else:
                    sent = self._socket.sendmsg([out[i] for i in range(min(len(out), MOST_PARTS))])
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:  # a peer that is gone; what it said before is still to be read
                out.clear()
                break
            while sent and sent >= len(out[0]):
                sent -= len(out.popleft())
            if sent:
                out[0] = out[0][sent:]
        return True

    # ---- in

    def receive(self) -> list[tuple[bytes, Frames]]:
        """Messages that are complete, in order. Look at ``ended`` and ``error`` after they are served."""
        messages: list[tuple[bytes, Frames]] = []
        if self.error:
            return messages
        for _ in range(READS):
            target = self._filling if self._filling is not None else self._buffer[self._end :]
            try:
                n = self._socket.recv_into(target)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                n = 0
            if n == 0:
                self.ended = True
                break
            full = n == len(target)
            try:
                if self._filling is not None:
                    self._filling = self._filling[n:]
                    self._advance(messages)
                else:
                    self._end += n
                    self._parse(messages)
            except wire.WireError as e:
                self.error, self.ended = e, True
                break
            if not full:
                break
        return messages

    def _parse(self, messages: list[tuple[bytes, Frames]]) -> None:
        """Whole messages out of the buffer; one that does not fit it begins to be taken in pieces."""
        buffer, at, end = self._buffer, self._at, self._end
        while end - at >= wire.PREAMBLE:
            head_length, payload_length = wire.sizes(buffer, at)
            middle = at + head_length
            stop = middle + payload_length
            if stop - at > BUFFER:
                if end < middle:
                    break
                self._at = at
                self._begin(head_length, payload_length, messages)
                return
            if end < stop:
                break
            payload = Frames([bytes(buffer[middle:stop])] if payload_length else [])
            messages.append((bytes(buffer[at:middle]), payload))
            at = stop
        self._at = at
        self._move()

    def _move(self) -> None:
        """The rest to the buffer's beginning, so that there is room behind it."""
        left = self._end - self._at
        if not left:
            self._at = self._end = 0
            return
        if self._at:
            self._buffer[:left] = self._buffer[self._at : self._end]
            self._at, self._end = 0, left
        if left == len(self._buffer):  # only a head can be larger than the buffer
            self._buffer = memoryview(bytearray(self._buffer) + bytearray(wire.MAX_HEAD))

    def _begin(self, head_length: int, payload_length: int, messages: list[tuple[bytes, Frames]]) -> None:
        self._head = bytes(self._buffer[self._at : self._at + head_length])
        self._at += head_length
        self._missing = payload_length
        self._filling = self._buffer[:0]
        self._pieces = []
        self._advance(messages)

    def _advance(self, messages: list[tuple[bytes, Frames]]) -> None:
        """When a piece is full begin the next with what the buffer has of it; after the last the message is whole."""
        while self._filling is not None and not len(self._filling):
            if not self._missing:
                assert self._head is not None
                messages.append((self._head, Frames(self._pieces)))
                self._head, self._pieces, self._filling = None, [], None
                self._parse(messages)
                return
            n = min(self._missing, CHUNK)
            piece = memoryview(bytearray(n))
            self._pieces.append(piece)
            self._missing -= n
            here = min(n, self._end - self._at)
            piece[:here] = self._buffer[self._at : self._at + here]
            self._at += here
            self._filling = piece[here:]
        if self._at == self._end:
            self._at = self._end = 0

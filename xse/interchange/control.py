"""The control socket: people ask about this run, and may end it. ``xse status`` and others are its clients.

It lies in a directory that only our user may enter, and each client is asked for its user besides. A client sends
requests of docs/developers/protocol.md, 2.6, and gets a reply to each.
"""

from __future__ import annotations

import os
import socket
import struct

from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames
from xse.wire.stream import Stream

MOST_CLIENTS = 32  # at a time


class Control:
    """Listens at ``path``. ``listener`` and the streams of ``clients`` are what a loop watches. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.listener.bind(path)
        self.listener.listen(MOST_CLIENTS)
        self.listener.setblocking(False)
        self.clients: dict[int, Stream] = {}

    def accept(self) -> Stream | None:
        """A new client; None: there is none, or none that may ask."""
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return None
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (os.geteuid(), 0) or len(self.clients) >= MOST_CLIENTS:
            sock.close()
            return None
        stream = Stream(sock)
        self.clients[stream.fileno()] = stream
        return stream

    @staticmethod
    def request_of(head: bytes, payload: Frames) -> tuple[int, commands.Request]:
        """Number and request. Raises ValueError."""
        message = wire.decode(head, payload.length)
        if not isinstance(message, wire.Request):
            raise ValueError(f"{message.type.name}, not a request")
        return message.number, commands.read_request(payload)

    @staticmethod
    def reply(number: int, reply: commands.Reply) -> list[wire.Buffer]:
        data = commands.dumps(reply)
        return [wire.Reply(number, len(data)).head(), data]

    def close(self) -> None:
        for stream in self.clients.values():
            stream.close()
        self.listener.close()

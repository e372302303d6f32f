"""A question to the interchange of a run, at its control socket."""

from __future__ import annotations

import select
import socket
import time

from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.stream import Stream

TIMEOUT_S = 5.0


class NoAnswer(Exception):
    """Nobody answers: the run has ended, or is on another host, or its interchange is stopped."""


def ask(path: str, request: commands.Request, timeout_s: float = TIMEOUT_S) -> commands.Reply:
    """The reply of the interchange whose control socket is at ``path``. Raises NoAnswer."""
    until = time.monotonic() + timeout_s
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.settimeout(timeout_s)
    try:
        sock.connect(path)
    except OSError as e:
        sock.close()
        raise NoAnswer(f"{path}: {e.strerror or e}") from None
    stream = Stream(sock)
    try:
        data = commands.dumps(request)
        stream.send([wire.Request(1, len(data)).head(), data])
        while not stream.ended:
            left = until - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                raise NoAnswer(f"the interchange at {path} has not answered for {timeout_s:g} s")
            for _, payload in stream.receive():
                return commands.read_reply(payload)
    except (OSError, ValueError) as e:
        raise NoAnswer(f"{path}: {e}") from None
    finally:
        stream.close()
    raise NoAnswer(f"{path}: the interchange has closed the connection")

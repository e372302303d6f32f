"""Who may connect: ZeroMQ's authentication (ZAP, rfc.zeromq.org/spec/27). Only pools that hold a key of this run."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import zmq
from zmq.utils import z85

logger = logging.getLogger(__name__)


class Doorkeeper:
    """Answers libzmq's question for each new CURVE connection. ``socket`` is to be polled."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Iterable[str]) -> None:
        self._keys = {z85.decode(key) for key in keys}
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def answer_all(self) -> None:
        """Every question that is there."""
        while int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN:
            self._answer()

    def _answer(self) -> None:
        frames = self.socket.recv_multipart(zmq.NOBLOCK)
        version, request_id, _domain, address, _identity, mechanism, *credentials = frames
        let_in = version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1 and credentials[0] in self._keys
        if not let_in:
            from_ = without_mapping(address.decode(errors="replace"))
            logger.warning("connection_refused from=%s reason='no key of this run'", from_)
        code, text = (b"200", b"OK") if let_in else (b"400", b"not a key of this run")
        self.socket.send_multipart([b"1.0", request_id, code, text, b"pool", b""])

    def close(self) -> None:
        self.socket.close()


def without_mapping(address: str) -> str:
    """An IPv4 address that came to an IPv6 socket, as people know it."""
    return address.removeprefix("::ffff:")

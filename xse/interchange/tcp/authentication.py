"""Who may connect: ZeroMQ's authentication (ZAP, rfc.zeromq.org/spec/27). Only pools that hold a key of this run."""

from __future__ import annotations

from collections.abc import Callable

import zmq
from zmq.utils import z85


class Authenticator:
    """Answers libzmq's question for each new CURVE connection. ``socket`` is to be polled; ``refused`` is told the
    address of whoever holds no key. Whose key it is, is in each message of the connection (its User-Id)."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], refused: Callable[[str], None]) -> None:
        self._owners: dict[bytes, bytes] = {}  # by public key: the block
        self._refused = refused
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def admit(self, block_id: str, public_key: str) -> None:
        """Who has the secret of this key may come, and is this block. Raises ValueError for what is no key."""
        self._owners[z85.decode(public_key)] = block_id.encode()

    def answer_all(self) -> None:
        """Every question that is there."""
        while int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN:
            self._answer()

    def _answer(self) -> None:
        frames = self.socket.recv_multipart(zmq.NOBLOCK)
        version, request_id, _domain, address, _identity, mechanism, *credentials = frames
        owner = None
        if version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1:
            owner = self._owners.get(credentials[0])
        if owner is None:
            self._refused(without_mapping(address.decode(errors="replace")))
        code, text = (b"400", b"not a key of this run") if owner is None else (b"200", b"OK")
        self.socket.send_multipart([b"1.0", request_id, code, text, owner or b"", b""])

    def close(self) -> None:
        self.socket.close()


def without_mapping(address: str) -> str:
    """An IPv4 address that came to an IPv6 socket, as people know it."""
    return address.removeprefix("::ffff:")

"""Authentication of TCP connections by ZeroMQ's ZAP (rfc.zeromq.org/spec/27): only blocks with a key of this run."""

from __future__ import annotations

from collections.abc import Callable

import zmq
from zmq.utils import z85


class Authenticator:
    """Answers libzmq's authentication request for each new CURVE connection.

    ``socket`` is to be polled. ``refused`` is called with the address of each peer whose key is not of this run. libzmq
    adds the owner of the key, a block id, to each message of the connection (its User-Id).
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], refused: Callable[[str], None]) -> None:
        self._owners: dict[bytes, bytes] = {}  # by public key: the block
        self._refused = refused
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def admit(self, block_id: str, public_key: str) -> None:
        """Accept this public key, as this block. Raises ValueError if ``public_key`` is no Z85 key."""
        self._owners[z85.decode(public_key)] = block_id.encode()

    def answer_all(self) -> None:
        """Answer every request that has arrived."""
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
    """The IPv4 address without the prefix that an IPv6 socket adds (``::ffff:``)."""
    return address.removeprefix("::ffff:")

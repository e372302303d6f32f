"""The door for pools of other hosts: ZeroMQ over TCP, encrypted and authenticated by CURVE."""

from __future__ import annotations

import errno
import logging
import random
import socket
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import zmq
from zmq.utils.monitor import recv_monitor_message

from xse import commands, wire
from xse.frames import Frames
from xse.interchange.zap import Doorkeeper, without_mapping

logger = logging.getLogger(__name__)

Socket: TypeAlias = "zmq.Socket[bytes]"


class PortError(Exception):
    """No port to listen on."""


class TakenError(PortError):
    """This port is somebody else's."""


class Door:
    """A ROUTER. Peers are its names for connections; ``ended`` tells whose connection has ended."""

    def __init__(self, config: commands.Config) -> None:
        """Raises PortError."""
        self._context: zmq.Context[Socket] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 65_536)
        self._doorkeeper = Doorkeeper(self._context, config.pool_keys) if config.server_key else None
        self._socket: Socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 500  # a STOP may still leave when we end
        self._socket.sndhwm = self._socket.rcvhwm = 0  # credit bounds what is under way; a full ROUTER would drop
        self._socket.router_mandatory = True
        self._socket.ipv6 = True
        self._socket.set(zmq.TCP_KEEPALIVE, 1)
        if config.server_key:
            self._socket.curve_server = True
            self._socket.curve_secretkey = config.server_secret.encode()
            self._socket.curve_publickey = config.server_key.encode()
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._peers: dict[int, bytes] = {}  # by the connection's descriptor
        self._descriptors: dict[bytes, int] = {}  # and the other way round
        try:
            self.ports = self._listen(config, [_numeric(address) for address in config.addresses])
        except PortError:
            self.close()
            raise

    def _listen(self, config: commands.Config, addresses: Sequence[str]) -> list[int]:
        if config.ports:
            for port in config.ports:
                self._bind_all(addresses, port)
            return config.ports
        low, high = config.port_range
        last = ""
        for port in random.sample(range(low, high), high - low):
            try:
                self._bind_all(addresses, port)
            except TakenError as e:
                last = str(e)
            else:
                return [port]
        raise PortError(
            f"no free port from {low} to {high - 1} on {', '.join(config.addresses)}; the last"
            f" tried was {last or 'none'}. Give a wider range"
        )

    def _bind_all(self, addresses: Sequence[str], port: int) -> None:
        """On every address or on none."""
        bound: list[str] = []
        for address in addresses:
            endpoint = f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"
            try:
                self._socket.bind(endpoint)
            except zmq.ZMQError as e:
                for other in bound:
                    self._socket.unbind(other)
                kind = TakenError if e.errno in (errno.EADDRINUSE, errno.EACCES) else PortError
                raise kind(f"cannot listen on {endpoint}: {e.strerror}. Is it an address of this host?") from None
            bound.append(endpoint)

    def filenos(self) -> list[int]:
        """To sleep on, when ``receive`` has nothing more: they tell of a change once."""
        sockets = [self._socket, self._monitor, *([self._doorkeeper.socket] if self._doorkeeper else [])]
        return [int(s.get(zmq.FD)) for s in sockets]

    def readable(self) -> bool:
        """Is there something that the descriptors have told of already?"""
        if self._doorkeeper:
            self._doorkeeper.answer_all()
        return _readable(self._socket) or _readable(self._monitor)

    def ended(self) -> Iterator[bytes]:
        """Peers that were remembered and whose connection has ended since the last call."""
        while _readable(self._monitor):
            event = recv_monitor_message(self._monitor, zmq.NOBLOCK)
            peer = self._peers.pop(int(event["value"]), None)
            if peer is not None:
                self._descriptors.pop(peer, None)
                yield peer

    def receive(self) -> tuple[bytes, zmq.Frame | None, Frames] | None:
        """The next message: peer, head, payload; None: nothing is there."""
        if not _readable(self._socket):
            return None
        peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        head = frames[0] if frames else None
        return peer.bytes, head, Frames([f.buffer for f in frames[1:]])

    def remember(self, peer: bytes, head: zmq.Frame) -> None:
        """Its connection is to be watched. A descriptor may have been another's: call ``ended`` before."""
        fd = int(head.get(zmq.SRCFD))
        self._peers[fd] = peer
        self._descriptors[peer] = fd

    def forget(self, peer: bytes) -> None:
        fd = self._descriptors.pop(peer, None)
        if fd is not None and self._peers.get(fd) == peer:
            del self._peers[fd]

    def send(self, peer: bytes, parts: Sequence[wire.Buffer]) -> bool:
        """False: the peer's connection has ended."""
        frames = [peer, *parts]
        last = len(frames) - 1
        try:
            for i, frame in enumerate(frames):  # large frames go without a copy, small ones with one, which is faster
                flags = zmq.NOBLOCK | (zmq.SNDMORE if i < last else 0)
                self._socket.send(frame, flags, copy=len(frame) < 65_536)
        except zmq.ZMQError as e:
            if e.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise
            return False
        return True

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        if self._doorkeeper:
            self._doorkeeper.close()
        self._context.term()


def _numeric(address: str) -> str:
    """Looked up once. Raises PortError."""
    if address == "*":
        return address
    try:
        return str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as e:
        raise PortError(f"address={address!r} is not known here: {e.strerror}") from None


def address_of(head: zmq.Frame | None) -> str:
    """Where a message came from, for a log line."""
    try:
        return without_mapping(str(head.get("Peer-Address"))) if head is not None else "unknown"
    except zmq.ZMQError:
        return "unknown"


def _readable(socket: Socket) -> bool:
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)

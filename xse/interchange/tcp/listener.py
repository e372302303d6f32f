"""The TCP listener for blocks on other hosts: ZeroMQ over TCP, encrypted and authenticated by CURVE."""

from __future__ import annotations

import errno
import itertools
import logging
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import zmq

from xse.interchange.tcp.authentication import Authenticator, without_mapping
from xse.interchange.tcp.pending import PendingConnections
from xse.interchange.tcp.refusals import Refusals
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.endpoints import tcp_endpoint
from xse.wire.frames import Frames

logger = logging.getLogger(__name__)

Socket: TypeAlias = "zmq.Socket[bytes]"

SKIPPED_AT_A_TIME = 64  # messages of excluded peers that are skipped before other sockets have their turn
HANDSHAKE_TIMEOUT_S = 10  # for a connection to authenticate; then it is closed
#: Connections that may be unauthenticated at a time. One more, and the oldest of them is closed.
MOST_SILENT = 1024
#: Bytes that a connection sends before it authenticates: a greeting, and with CURVE HELLO (rfc.zeromq.org/spec/23, 26).
GREETING, HELLO = 64, 202  # bytes
#: The largest frame: an item with what CURVE adds to it. libzmq closes a connection that announces more, before it
#: allocates memory.
MAX_FRAME = wire.MAX_ITEM + (1 << 20)

#: Events that libzmq reports. Not HANDSHAKE_FAILED_PROTOCOL: when libzmq 4.3.5 reports that one, it loses the error
#: number, and does not close a connection whose frames were replayed or altered.
EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


# Plain numbers: to look up and combine enum members costs more than a call of libzmq.
_NOBLOCK, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_ACCEPTED, _DISCONNECTED = int(zmq.EVENT_ACCEPTED), int(zmq.EVENT_DISCONNECTED)
_POLLIN = int(zmq.POLLIN)


class PortError(Exception):
    """No port to listen on."""


class TakenError(PortError):
    """Another program uses this port; another port may be free."""


_EVENT = struct.Struct("=HI")  # kind, value: a descriptor or an error number


class Peer(NamedTuple):
    """A connection: the ROUTER's name for it, and the block whose key it authenticated with ("": the shared key)."""

    identity: bytes
    owner: str


class Listener:
    """A ROUTER socket that authenticates its peers. ``ended`` yields those whose connection has closed."""

    def __init__(self, config: commands.Config) -> None:
        """Raises PortError."""
        self._context: zmq.Context[Socket] = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 65_536)
        self._refusals = {logging.WARNING: Refusals(), logging.INFO: Refusals()}
        self._authenticator = Authenticator(self._context, self._keyless) if config.server_key else None
        self._socket: Socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 500  # milliseconds, so that a last STOP is still sent
        self._socket.sndhwm = self._socket.rcvhwm = (
            0  # credit limits the tasks in flight; a full ROUTER would drop messages
        )
        self._socket.router_mandatory = True
        self._socket.ipv6 = True
        self._socket.set(zmq.TCP_KEEPALIVE, 1)
        self._socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_S * 1000)
        self._socket.maxmsgsize = MAX_FRAME
        self._socket.set(
            zmq.BACKLOG, 4096
        )  # beyond it the kernel drops the connection attempt, which is repeated after a second
        if config.server_key:
            self._socket.curve_server = True
            self._socket.curve_secretkey = config.server_secret.encode()
            self._socket.curve_publickey = config.server_key.encode()
        self._monitor = self._socket.get_monitor_socket(EVENTS)
        self._pending = PendingConnections(MOST_SILENT, GREETING + HELLO if config.server_key else GREETING)
        self._peers: dict[int, Peer] = {}  # by descriptor: connections that registered or are excluded
        self._descriptors: dict[Peer, int] = {}  # the inverse of _peers
        self._excluded: set[Peer] = set()
        self._n_keyless: Counter[str] = Counter()  # by address: logged, and the connection has not closed yet
        self._unauthenticated = False  # the connection that closes next has not authenticated
        try:
            self.ports = self._listen(config, [_numeric(address) for address in config.addresses])
        except PortError:
            self.close()
            raise

    def _listen(self, config: commands.Config, addresses: Sequence[str]) -> list[int]:
        if config.ports:
            for port in config.ports:
                try:
                    self._bind_all(addresses, port)
                except TakenError as e:
                    raise PortError(f"{e}. Give another port") from None
            return config.ports
        low, high = config.port_range
        last = "none"
        for port in random.sample(range(low, high), high - low):
            try:
                self._bind_all(addresses, port)
            except TakenError as e:
                last = str(e)
            else:
                return [port]
        raise PortError(
            f"no free port from {low} to {high - 1} on {', '.join(config.addresses)} (the last that was tried: {last})."
            " Give a wider range"
        )

    def _bind_all(self, addresses: Sequence[str], port: int) -> None:
        """Bind every address of this host that is given, or none."""
        bound: list[str] = []
        for address in addresses:
            endpoint = tcp_endpoint(address, port)
            try:
                self._socket.bind(endpoint)
            except zmq.ZMQError as e:
                if e.errno == errno.EADDRNOTAVAIL and len(addresses) > 1:
                    logger.warning("address_left_out endpoint=%s reason=%r", endpoint, e.strerror)
                    continue
                for other in bound:
                    self._socket.unbind(other)
                reason = zmq.strerror(e.errno or 0)  # e.strerror has the address again
                problem = f"cannot listen on {endpoint}: {reason}"
                if e.errno in (errno.EADDRINUSE, errno.EACCES):
                    raise TakenError(problem) from None
                raise PortError(f"{problem}. Is it an address of this host?") from None
            bound.append(endpoint)
        if not bound:
            raise PortError(f"none of {', '.join(addresses)} is an address of this host")

    def filenos(self) -> list[int]:
        """Descriptors to sleep on after ``receive`` has returned None. They are edge-triggered."""
        sockets = [self._socket, self._monitor, *([self._authenticator.socket] if self._authenticator else [])]
        return [int(s.get(zmq.FD)) for s in sockets]

    def admit(self, block_id: str, public_key: str) -> None:
        """Accept a block with this public key. Raises ValueError if it is no Z85 key."""
        if self._authenticator:
            self._authenticator.admit(block_id, public_key)

    def _keyless(self, address: str) -> None:
        self._n_keyless[address] += 1
        self._note(logging.WARNING, address, "no key of this run")

    def _note(self, level: int, address: str, reason: str) -> None:
        for line in self._refusals[level].note(time.monotonic(), address, reason):
            logger.log(level, "%s", line)

    def _log_counts(self, over: bool = False) -> None:
        for level, refusals in self._refusals.items():
            for line in refusals.rest() if over else refusals.due(time.monotonic()):
                logger.log(level, "%s", line)

    def readable(self) -> bool:
        """Is there something to read, whether or not a descriptor is readable?"""
        if self._authenticator:
            self._authenticator.answer_all()
        return _readable(self._socket) or _readable(self._monitor)

    def ended(self, at_most: int | None = None) -> Iterator[Peer]:
        """Yields the remembered peers whose connection has closed since the last call.

        ``at_most`` limits the events that are read, so that other sockets have their turn.
        """
        events = itertools.count() if at_most is None else range(at_most)
        for _ in events:
            if not _readable(self._monitor):
                break
            kind, value = _EVENT.unpack(self._monitor.recv(_NOBLOCK))
            self._monitor.recv(_NOBLOCK)  # where we listen
            if kind == _ACCEPTED:
                self._pending.accepted(value)
            elif kind != _DISCONNECTED:
                self._unauthenticated = True  # it closes in the next event: one thread of libzmq reports both
            else:
                peer = self._disconnected(value)
                if peer is not None:
                    yield peer
        self._log_counts()

    def _disconnected(self, fd: int) -> Peer | None:
        (address, was_cut), peer = self._pending.closed(fd), self._peers.pop(fd, None)
        if peer is not None:
            self._descriptors.pop(peer, None)
        unauthenticated, self._unauthenticated = self._unauthenticated, False
        if unauthenticated:
            self._note(logging.WARNING, address, "it did not authenticate")
        elif was_cut:
            self._note(logging.WARNING, address, "it did not authenticate, and too many others connected")
        elif peer is None and self._n_keyless[address]:
            self._n_keyless[address] -= 1
        elif peer is None:
            reason = "it never registered: not our protocol, or a block that uses another of our addresses"
            self._note(logging.INFO, address, reason)
        if peer in self._excluded:
            self._excluded.discard(peer)
            return None
        return peer

    def receive(self) -> tuple[Peer, zmq.Frame | None, Frames] | None:
        """The next message: peer, head, payload. None: there is none."""
        for _ in range(SKIPPED_AT_A_TIME):
            try:
                identity, *frames = self._socket.recv_multipart(_NOBLOCK, copy=False)
            except zmq.Again:
                break
            head = frames[0] if frames else None
            peer = Peer(identity.bytes, str(head.get("User-Id")) if head is not None and self._authenticator else "")
            if peer not in self._excluded:
                return peer, head, Frames([f.buffer for f in frames[1:]])
        return None

    def remember(self, peer: Peer, head: zmq.Frame) -> None:
        """Watch the peer's connection. Its descriptor may have been another connection's: call ``ended`` first."""
        fd = int(head.get(zmq.SRCFD))
        self._pending.authenticated(fd)
        self._peers[fd] = peer
        self._descriptors[peer] = fd

    def forget(self, peer: Peer) -> None:
        if peer not in self._excluded:
            fd = self._descriptors.pop(peer, None)
            if fd is not None and self._peers.get(fd) == peer:
                del self._peers[fd]

    def exclude(self, peer: Peer, head: zmq.Frame) -> None:
        """Ignore all further messages of this connection: a ROUTER cannot close it."""
        self.remember(peer, head)
        self._excluded.add(peer)

    def send(self, peer: Peer, parts: Sequence[wire.Buffer]) -> bool:
        """Send a message. Returns False if the peer's connection has closed."""
        frames = [peer.identity, *parts]
        last = len(frames) - 1
        try:
            for i, frame in enumerate(frames):  # large frames without a copy; small ones with one, which is faster
                self._socket.send(frame, _MORE if i < last else _NOBLOCK, copy=len(frame) < 65_536)
        except zmq.ZMQError as e:
            if e.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise
            return False
        return True

    def close(self) -> None:
        self._log_counts(over=True)
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        if self._authenticator:
            self._authenticator.close()
        self._context.term()


def _numeric(address: str) -> str:
    """The numeric form of a host name. Raises PortError if it is unknown."""
    if address == "*":
        return address
    try:
        return str(socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as e:
        raise PortError(f"address={address!r} is not known here: {e.strerror}") from None


def address_of(head: zmq.Frame | None) -> str:
    """The address that a message came from, for the log."""
    try:
        return without_mapping(str(head.get("Peer-Address"))) if head is not None else "unknown"
    except zmq.ZMQError:
        return "unknown"


def _readable(socket: Socket) -> bool:
    return bool(int(socket.get(zmq.EVENTS)) & _POLLIN)

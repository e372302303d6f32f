"""Open connections that may not have authenticated: their addresses, and a limit on their number.

Each silent connection takes a descriptor and a timer of libzmq. When thousands of them close at once, the interchange
is busy for a second. So there is a limit: beyond it the oldest connection that has not sent enough bytes to
authenticate is closed. libzmq owns the descriptors: we look at a connection through a duplicate of its descriptor, and
only if the duplicate still belongs to the same peer.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from xse.interchange.tcp.authentication import without_mapping

_RECEIVED = struct.Struct("=128xQ")  # tcpi_bytes_received in Linux's struct tcp_info


class PendingConnections:
    """At most ``most`` connections may be silent at a time.

    ``enough`` is in bytes. A connection that has sent more has authenticated: otherwise libzmq would have closed it.
    """

    def __init__(self, most: int, enough: int) -> None:
        self._most = most
        self._enough = enough
        self._addresses: dict[int, str] = {}  # by descriptor
        self._waiting: dict[int, Any] = {}  # by descriptor, the oldest first: the peer's socket address
        self._cut: set[int] = set()

    def accepted(self, fd: int) -> None:
        """libzmq has accepted a connection. It may have closed already."""
        with _copy(fd) as sock:
            name = _peer_of(sock)
        self._addresses[fd] = without_mapping(str(name[0])) if name else "unknown"
        if name:
            self._waiting[fd] = name
        while len(self._waiting) > self._most:
            self._look_at_oldest()

    def authenticated(self, fd: int) -> None:
        """The connection has authenticated."""
        self._waiting.pop(fd, None)

    def closed(self, fd: int) -> tuple[str, bool]:
        """The connection has closed. Returns its address, and whether we closed it."""
        self._waiting.pop(fd, None)
        was_cut = fd in self._cut
        self._cut.discard(fd)
        return self._addresses.pop(fd, "unknown"), was_cut

    def _look_at_oldest(self) -> None:
        fd = next(iter(self._waiting))
        name = self._waiting.pop(fd)
        with _copy(fd) as sock:
            if _peer_of(sock) == name and _received(sock) <= self._enough:
                sock.shutdown(socket.SHUT_RDWR)
                self._cut.add(fd)


def _copy(fd: int) -> socket.socket:
    """A socket on a duplicate of ``fd``; an unconnected socket if ``fd`` is closed or no socket."""
    try:
        copy = os.dup(fd)
    except OSError:
        return socket.socket()
    try:
        return socket.socket(fileno=copy)  # detects the family: addresses of IPv6 are longer
    except OSError:
        os.close(copy)
        return socket.socket()


def _peer_of(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None


def _received(sock: socket.socket) -> int:
    """Bytes that the connection has received since it opened."""
    (n,) = _RECEIVED.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size))
    return int(n)

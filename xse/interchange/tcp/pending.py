"""Connections that stand and may not have said who they are: where they are from, and no more than so many of them.

Whoever opens connections and says nothing takes a descriptor and a timer of libzmq's for each, and when thousands end
at once, libzmq and we are busy with them for a second. So when there are too many, the oldest that has not said enough
to be somebody is cut. libzmq owns the descriptors: each look at one is through a copy of it, and only while it is still
that connection's.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from xse.interchange.tcp.authentication import without_mapping

_RECEIVED = struct.Struct("=128xQ")  # tcpi_bytes_received in Linux's struct tcp_info


class PendingConnections:
    """``most``: connections that may be silent at a time. ``enough``: bytes; who has sent more has proved who it is, or
    would have been cut for them."""

    def __init__(self, most: int, enough: int) -> None:
        self._most = most
        self._enough = enough
        self._addresses: dict[int, str] = {}  # by descriptor
        self._waiting: dict[int, Any] = {}  # by descriptor, the oldest first: the peer's name, as the kernel has it
        self._cut: set[int] = set()

    def accepted(self, fd: int) -> None:
        """libzmq has accepted a connection. It may be gone again."""
        with _copy(fd) as sock:
            name = _peer_of(sock)
        self._addresses[fd] = without_mapping(str(name[0])) if name else "unknown"
        if name:
            self._waiting[fd] = name
        while len(self._waiting) > self._most:
            self._look_at_oldest()

    def authenticated(self, fd: int) -> None:
        """It has said who it is."""
        self._waiting.pop(fd, None)

    def closed(self, fd: int) -> tuple[str, bool]:
        """It has ended. Returns its address, and whether it was cut here."""
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
    """Of a connection that may be gone: then of nothing."""
    try:
        copy = os.dup(fd)
    except OSError:
        return socket.socket()
    try:
        return socket.socket(fileno=copy)  # of the family that it is of: names of IPv6 are longer
    except OSError:
        os.close(copy)
        return socket.socket()


def _peer_of(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None


def _received(sock: socket.socket) -> int:
    """Bytes that have come from it, ever."""
    (n,) = _RECEIVED.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size))
    return int(n)

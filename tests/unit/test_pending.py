"""Connections that have not authenticated are few: the oldest silent ones are closed, authenticated ones never."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.support.waiting import eventually
from xse.interchange.tcp.pending import PendingConnections

ENOUGH = 100


class Connections:
    """Connections from this host, as libzmq would accept them: its sockets are of IPv6 and take both."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("::ffff:127.0.0.1", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.accepted: list[socket.socket] = []
        self.peers: list[socket.socket] = []

    def come(self) -> int:
        """Returns the descriptor on our side."""
        self.peers.append(socket.create_connection(("127.0.0.1", self._listener.getsockname()[1])))
        self.accepted.append(self._listener.accept()[0])
        return self.accepted[-1].fileno()

    def is_cut(self, i: int) -> bool:
        """The i-th that came. What was cut is at its end; what was not would block."""
        self.accepted[i].setblocking(False)
        try:
            return self.accepted[i].recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        for sock in (self._listener, *self.accepted, *self.peers):
            sock.close()


@pytest.fixture
def connections() -> Iterator[Connections]:
    connections = Connections()
    yield connections
    connections.close()


def test_of_too_many_that_are_silent_the_oldest_are_cut(connections: Connections) -> None:
    pending = PendingConnections(3, ENOUGH)
    fds = [connections.come() for _ in range(5)]
    for fd in fds:
        pending.accepted(fd)
    assert [connections.is_cut(i) for i in range(5)] == [True, True, False, False, False]
    assert [pending.closed(fd) for fd in fds] == [("127.0.0.1", i < 2) for i in range(5)]


def test_who_has_said_more_than_a_stranger_could_is_not_cut(connections: Connections) -> None:
    pending = PendingConnections(1, ENOUGH)
    fds = [connections.come() for _ in range(3)]
    connections.peers[0].sendall(bytes(ENOUGH + 1))
    connections.peers[1].sendall(bytes(ENOUGH))
    for sock, n in ((connections.accepted[0], ENOUGH + 1), (connections.accepted[1], ENOUGH)):
        eventually(lambda: len(sock.recv(1000, socket.MSG_PEEK)) == n, "it has come")
        sock.recv(1000)  # as libzmq does: what was said counts, not what waits to be read
    for fd in fds:
        pending.accepted(fd)
    assert [connections.is_cut(i) for i in range(3)] == [False, True, False]


def test_who_is_known_is_not_cut_and_takes_no_place(connections: Connections) -> None:
    pending = PendingConnections(1, ENOUGH)
    for i in range(3):
        fd = connections.come()
        pending.accepted(fd)
        if i < 2:
            pending.authenticated(fd)
    assert not any(connections.is_cut(i) for i in range(3))


def test_a_descriptor_that_is_another_connection_by_now_is_left_alone(connections: Connections) -> None:
    """libzmq closes and accepts connections while we read its earlier events."""
    pending = PendingConnections(1, ENOUGH)
    number = connections.come()
    pending.accepted(number)
    os.dup2(connections.come(), number)
    pending.accepted(connections.come())
    assert not connections.is_cut(1)


def test_a_descriptor_that_is_no_connection_any_more_is_left_alone(connections: Connections) -> None:
    pending = PendingConnections(0, ENOUGH)
    before = set(os.listdir("/proc/self/fd"))
    with open(os.devnull) as file:
        pending.accepted(file.fileno())
        assert pending.closed(file.fileno()) == ("unknown", False)
    assert set(os.listdir("/proc/self/fd")) == before


def test_who_is_gone_before_we_look_is_of_an_unknown_address(connections: Connections) -> None:
    pending = PendingConnections(1, ENOUGH)
    fd = connections.come()
    connections.accepted[0].close()
    pending.accepted(fd)
    assert pending.closed(fd) == ("unknown", False)

"""Who may wait in the lobby: silent connections are few, and whoever says who it is is not among those that are cut."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.support.waiting import eventually
from xse.interchange.tcp.pending import Lobby

ENOUGH = 100


class House:
    """Connections from this host, as libzmq would accept them: its sockets are of IPv6 and take both."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("::ffff:127.0.0.1", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.accepted: list[socket.socket] = []
        self.strangers: list[socket.socket] = []

    def come(self) -> int:
        """Returns the descriptor on our side."""
        self.strangers.append(socket.create_connection(("127.0.0.1", self._listener.getsockname()[1])))
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
        for sock in (self._listener, *self.accepted, *self.strangers):
            sock.close()


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


def test_of_too_many_that_are_silent_the_oldest_are_cut(house: House) -> None:
    lobby = Lobby(3, ENOUGH)
    fds = [house.come() for _ in range(5)]
    for fd in fds:
        lobby.came(fd)
    assert [house.is_cut(i) for i in range(5)] == [True, True, False, False, False]
    assert [lobby.left(fd) for fd in fds] == [("127.0.0.1", i < 2) for i in range(5)]


def test_who_has_said_more_than_a_stranger_could_is_not_cut(house: House) -> None:
    lobby = Lobby(1, ENOUGH)
    fds = [house.come() for _ in range(3)]
    house.strangers[0].sendall(bytes(ENOUGH + 1))
    house.strangers[1].sendall(bytes(ENOUGH))
    for sock, n in ((house.accepted[0], ENOUGH + 1), (house.accepted[1], ENOUGH)):
        eventually(lambda: len(sock.recv(1000, socket.MSG_PEEK)) == n, "it has come")
        sock.recv(1000)  # as libzmq does: what was said counts, not what waits to be read
    for fd in fds:
        lobby.came(fd)
    assert [house.is_cut(i) for i in range(3)] == [False, True, False]


def test_who_is_known_is_not_cut_and_takes_no_place(house: House) -> None:
    lobby = Lobby(1, ENOUGH)
    for i in range(3):
        fd = house.come()
        lobby.came(fd)
        if i < 2:
            lobby.is_known(fd)
    assert not any(house.is_cut(i) for i in range(3))


def test_a_descriptor_that_is_another_connection_by_now_is_left_alone(house: House) -> None:
    """libzmq closes and accepts while we read what it told of before."""
    lobby = Lobby(1, ENOUGH)
    number = house.come()
    lobby.came(number)
    os.dup2(house.come(), number)
    lobby.came(house.come())
    assert not house.is_cut(1)


def test_a_descriptor_that_is_no_connection_any_more_is_left_alone(house: House) -> None:
    lobby = Lobby(0, ENOUGH)
    before = set(os.listdir("/proc/self/fd"))
    with open(os.devnull) as file:
        lobby.came(file.fileno())
        assert lobby.left(file.fileno()) == ("unknown", False)
    assert set(os.listdir("/proc/self/fd")) == before


def test_who_is_gone_before_we_look_is_of_an_unknown_address(house: House) -> None:
    lobby = Lobby(1, ENOUGH)
    fd = house.come()
    house.accepted[0].close()
    lobby.came(fd)
    assert lobby.left(fd) == ("unknown", False)

"""Who may come to an interchange's port without being asked. Each attack is begun by a call and lasts until its end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import zmq

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)  # of ZMTP 3.1

#: By name: what a program that is none of ours might send.
RUBBISH = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "random": bytes(7 * i % 251 for i in range(5000)),
    "ones": b"\xff" * 64,
    "our head": b"xse\1" + bytes(100),
    "a greeting and rubbish": GREETING + bytes(7 * i % 251 for i in range(5000)),
    "a greeting and a frame of 2^62 bytes": GREETING + b"\x06" + (1 << 62).to_bytes(8, "big") + bytes(5000),
}


def send_rubbish(port: int, data: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(data)
    return sock


def wait_until_cut_off(sock: socket.socket) -> None:
    """By the other side, which may have said something before."""
    sock.settimeout(20)
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(4096):
            pass


def plain(sock: Any) -> None:
    """ZeroMQ as it comes."""


def password(sock: Any) -> None:
    """ZeroMQ's other mechanism."""
    sock.plain_username, sock.plain_password = b"user", b"password"


def key_of_its_own(server_key: str) -> Callable[[Any], None]:
    """Who knows our public key, which is no secret, and has made a pair."""
    return with_keys(server_key, *zmq.curve_keypair())


def wrong_server_key(public: str, secret: str) -> Callable[[Any], None]:
    """Who holds keys of ours and takes us for somebody else."""
    return with_keys(zmq.curve_keypair()[0].decode(), public.encode(), secret.encode())


def with_keys(server_key: str, public: bytes, secret: bytes) -> Callable[[Any], None]:
    def dress(sock: Any) -> None:
        sock.curve_publickey, sock.curve_secretkey = public, secret
        sock.curve_serverkey = server_key.encode()

    return dress


def connect(context: zmq.Context[Any], endpoint: str, dress: Callable[[Any], None]) -> Any:
    """A DEALER with something to say. Returns it, connecting."""
    sock = context.socket(zmq.DEALER)
    sock.linger = 0
    dress(sock)
    sock.connect(endpoint)
    with contextlib.suppress(zmq.Again):  # it has been turned away already, and a DEALER without a peer takes nothing
        for _ in range(10):
            sock.send(b"hello?", zmq.NOBLOCK)
    return sock


class Crowd:
    """So many connections that say nothing, held by a process of their own, for each takes a descriptor."""

    CODE = """
import resource, selectors, socket, sys
port, n = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
all = selectors.DefaultSelector()
for _ in range(n):
    all.register(socket.create_connection(("127.0.0.1", port)), selectors.EVENT_READ)
print("open", flush=True)
while all.get_map():
    for key, _ in all.select():
        try:
            open = key.fileobj.recv(4096)  # the other side's greeting
        except OSError:
            open = b""
        if not open:
            all.unregister(key.fileobj)
            key.fileobj.close()
print("closed", flush=True)
"""

    def __init__(self, port: int, n: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, str(port), str(n)], stdout=subprocess.PIPE, text=True
        )
        self._said = self._process.stdout

    def wait(self, word: str) -> None:
        """``open``: all stand; ``closed``: all were ended by the other side."""
        assert self._said
        said = self._said.readline().strip()
        assert said == word, f"the crowd said {said!r}"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._said
        self._said.close()


class Middleman:
    """Between a pool and its interchange: passes on what they say, keeps what the pool said, and can tamper with it."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.recorded = b""
        self.tampered = threading.Event()
        self._tamper: Callable[[list[bytes]], list[bytes]] | None = None
        self._held: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def tamper(self, how: Callable[[list[bytes]], list[bytes]]) -> None:
        """``how`` is given the pool's next two frames, and returns what is passed on instead."""
        self._tamper = how

    def _accept(self) -> None:
        try:
            pool, _ = self._server.accept()
        except OSError:  # closed
            return
        interchange = socket.create_connection(("127.0.0.1", self._target))
        self._sockets = [pool, interchange]
        for work in (lambda: self._up(pool, interchange), lambda: self._down(interchange, pool)):
            thread = threading.Thread(target=work, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _down(self, interchange: socket.socket, pool: socket.socket) -> None:
        try:
            while data := interchange.recv(65_536):
                pool.sendall(data)
            pool.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _up(self, pool: socket.socket, interchange: socket.socket) -> None:
        try:
            left = len(GREETING)
            while left:  # in pieces: each side waits for the other's first before it sends the next
                piece = pool.recv(left)
                if not piece:
                    return
                left -= len(piece)
                self._pass_on(interchange, piece)
            while True:
                frame = _frame(pool)
                if self._tamper is None:
                    self._pass_on(interchange, frame)
                    continue
                self._held.append(frame)
                if len(self._held) == 2:
                    for changed in self._tamper(self._held):
                        self._pass_on(interchange, changed)
                    self._tamper, self._held = None, []
                    self.tampered.set()
        except OSError:
            pass

    def _pass_on(self, interchange: socket.socket, data: bytes) -> None:
        self.recorded += data
        interchange.sendall(data)

    def end(self) -> None:
        for sock in (self._server, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()


def _exactly(sock: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        got = sock.recv(n - len(data))
        if not got:
            raise OSError("closed")
        data += got
    return data


def _frame(sock: socket.socket) -> bytes:
    """Of ZMTP: flags, of which 2 means a length of eight bytes; length; body."""
    flags = _exactly(sock, 1)
    length = _exactly(sock, 8 if flags[0] & 2 else 1)
    return flags + length + _exactly(sock, int.from_bytes(length, "big"))


def altered(frame: bytes) -> bytes:
    """One bit of its last byte."""
    return frame[:-1] + bytes([frame[-1] ^ 1])


def user_nobody() -> int:
    """Somebody else on this host; only root can be him."""
    assert os.geteuid() == 0
    return 65_534

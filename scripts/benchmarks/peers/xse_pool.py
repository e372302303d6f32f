"""xse's PoolExecutor: by a unix socket, as it comes on one host, and by encrypted TCP, as blocks on other hosts
come."""

from __future__ import annotations

import contextlib
import functools
import shlex
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xse import PoolExecutor, launch

from ..processes import family, tcp_ports
from ..tasks import double
from .bench import Bench

CHUNKSIZE = "auto"

#: The interchange's port is one of these, which no kernel gives to others (ip_local_port_range).
PORTS = (24_000, 24_200)


@contextlib.contextmanager
def open_bench(workers: int, **options: Any) -> Iterator[Bench]:
    with PoolExecutor(workers, **options) as executor:
        yield Bench(executor.submit, functools.partial(executor.map, chunksize=CHUNKSIZE))


@contextlib.contextmanager
def open_default(workers: int) -> Iterator[Bench]:
    """With as many workers as it chooses by itself."""
    del workers
    with PoolExecutor() as executor:
        yield Bench(executor.submit)


@contextlib.contextmanager
def open_over_tcp(workers: int) -> Iterator[Bench]:
    launcher = launch.launcher("auto", launch.find_pool(), launch.Layout())
    over_tcp = [sys.executable, str(Path(__file__).with_name("over_tcp.py"))]
    with (
        tempfile.TemporaryDirectory() as run_dir,
        open_bench(
            workers,
            address="127.0.0.1",
            port_range=PORTS,
            run_dir=run_dir,
            launch_cmd=shlex.join([*over_tcp, *launcher]),
        ) as bench,
    ):
        if bench.submit(double, 1).result() != 2:
            raise AssertionError("the first result is wrong")
        _check_that_it_is_encrypted_tcp()
        yield bench


def _check_that_it_is_encrypted_tcp() -> None:
    """Raises AssertionError. A figure of encryption is none when the bytes went another way."""
    ports = tcp_ports(family(), range(*PORTS))
    if len(ports) != 1:
        raise AssertionError(f"pool and interchange are not connected by TCP: {ports}")
    if not _asks_for_curve(ports.pop()):
        raise AssertionError("the interchange takes connections that are not encrypted")


def _asks_for_curve(port: int) -> bool:
    """A ZeroMQ socket names its mechanism at byte 12 of its greeting (ZMTP 3.0, rfc.zeromq.org/spec/23), and hangs up
    when the peer's is another."""
    greeting = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(greeting)
        answer = b""
        while len(answer) < len(greeting):
            more = connection.recv(len(greeting) - len(answer))
            if not more:
                return False
            answer += more
    return answer[12:32].rstrip(b"\0") == b"CURVE"

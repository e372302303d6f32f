"""The connect file, by which a pool finds its interchange (csrc/links/connect.h reads it)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict

from xse.errors import LaunchError, OptionError
from xse.launch.keys import BlockKeys
from xse.launch.options import PoolOptions
from xse.wire.endpoints import local_endpoint, tcp_endpoint


def write_connect_file(
    path: str, *, run: str, block: str, endpoints: list[str], keys: BlockKeys | None, options: PoolOptions
) -> None:
    """See csrc/links/connect.h. The file is its owner's alone. Raises LaunchError, or OptionError."""
    lines = ["xse-connect 1", f"run {run}", *([f"block {block}"] if block else [])]
    lines += [f"endpoint {e}" for e in endpoints]
    lines += [f"option {flag} {value}".rstrip() for flag, value in options.pairs()]
    if any("\n" in line for line in lines):
        raise OptionError("an option of a pool may not hold a line break")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as f:
            os.fchmod(fd, 0o600)
            f.write("\n".join(lines) + "\n")
            # No variable of ours holds a key: a traceback may show them.
            f.writelines(f"{name} {value}\n" for name, value in (asdict(keys).items() if keys else ()))
    except OSError as e:
        raise LaunchError(
            f"the connect file {path} cannot be written ({e.strerror}): its directory must be there, and have room"
        ) from None


def endpoints_of(scratch: str, hosts: Sequence[str], ports: Sequence[int]) -> list[str]:
    """Where pools find the interchange: they take the first that they can reach. ``scratch``: the directory on this
    host that its unix socket lies in; ``hosts``: addresses at which it listens by TCP, at each of ``ports``."""
    return [local_endpoint(scratch), *(tcp_endpoint(host, port) for host in hosts for port in ports)]

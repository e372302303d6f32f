"""Where an interchange listens, in the words of a connect file: ``unix://PATH`` and ``tcp://HOST:PORT``."""

from __future__ import annotations


def local_path(scratch: str) -> str:
    """The unix socket on which the interchange listens for blocks of its host. ``scratch``: a directory there."""
    return f"{scratch}/pools"


def local_endpoint(scratch: str) -> str:
    """The endpoint of that socket."""
    return f"unix://{local_path(scratch)}"


def tcp_endpoint(address: str, port: int) -> str:
    """An endpoint for ZeroMQ; an IPv6 address takes brackets."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"

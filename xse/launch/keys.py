"""The keys of a run: CURVE (curvezmq.org), in ZeroMQ's Z85 text. A repr shows no secret: it may end up in a log."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServerKeys:
    """The interchange's own pair, new in each run."""

    server_key: str
    server_secret: str = field(repr=False)


@dataclass(frozen=True)
class BlockKeys:
    """What a block's pool has: the interchange's public key, and a pair of its own, which says which block it is."""

    server_key: str
    public_key: str
    secret_key: str = field(repr=False)


def new_server_keys() -> ServerKeys:
    return ServerKeys(*_new_pair())


def new_block_keys(server: ServerKeys) -> BlockKeys:
    return BlockKeys(server.server_key, *_new_pair())


def _new_pair() -> tuple[str, str]:
    import zmq  # only where there are keys: it takes as long to import as all the rest

    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()

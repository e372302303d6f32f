"""The keys of a run: CURVE (curvezmq.org), in ZeroMQ's Z85 text."""

from __future__ import annotations


def new_keys() -> dict[str, str]:
    """A key pair for the interchange (server_key, server_secret) and one for its pools (public_key, secret_key)."""
    import zmq  # only where there are keys: it takes as long to import as all the rest

    server_key, server_secret = zmq.curve_keypair()
    public_key, secret_key = zmq.curve_keypair()
    return {
        "server_key": server_key.decode(),
        "server_secret": server_secret.decode(),
        "public_key": public_key.decode(),
        "secret_key": secret_key.decode(),
    }

"""A private directory for what lives as long as a run: sockets and connect files."""

from __future__ import annotations

import os
import tempfile

#: A unix socket's path holds at most 107 bytes; the names within the directory take some.
LONGEST = 80


def make_scratch() -> str:
    """A new directory, mode 0700, with a short path on this host."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if parent and len(os.fsencode(parent)) < LONGEST - 20 and os.access(parent, os.W_OK | os.X_OK):
            return tempfile.mkdtemp(prefix="xse-", dir=parent)
    return tempfile.mkdtemp(prefix="xse-")

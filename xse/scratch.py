"""A private directory for what lives as long as a run: sockets and connect files."""

from __future__ import annotations

import os
import tempfile

from xse.errors import OptionError

#: A unix socket's path holds at most 107 bytes; the names within the directory take some.
LONGEST = 80


def make_shared(run_dir: str | None) -> str:
    """A new directory, mode 0700, that other hosts see, too: in ``run_dir``, or in ``~/.xse``. Raises OptionError."""
    parent = os.path.abspath(run_dir) if run_dir else os.path.expanduser("~/.xse")
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        return tempfile.mkdtemp(prefix="pool-", dir=parent)
    except OSError as e:
        raise OptionError(
            f"run_dir: nothing can be written in {parent} ({e.strerror}): name a directory that all hosts of the pool"
            " see"
        ) from None


def make_scratch() -> str:
    """A new directory, mode 0700, with a short path on this host."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if parent and len(os.fsencode(parent)) < LONGEST - 20 and os.access(parent, os.W_OK | os.X_OK):
            return tempfile.mkdtemp(prefix="xse-", dir=parent)
    return tempfile.mkdtemp(prefix="xse-")

"""A private directory for what lives as long as a run: sockets and connect files."""

from __future__ import annotations

import os
import socket
import tempfile

from xse import directories
from xse.errors import OptionError

#: A unix socket's path holds at most 107 bytes; the names within the directory take some.
LONGEST = 80
ROOM = 64 << 10  # bytes that a connect file may take, and more
LAST_RESORT = "/tmp"


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
    """A new directory, mode 0700, with a short path on this host, that takes unix sockets and has some room. Raises
    OptionError."""
    tried: list[str] = []
    for parent in dict.fromkeys((os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), LAST_RESORT)):
        if not parent:
            continue
        try:
            if len(os.fsencode(parent)) >= LONGEST - 20:
                raise OSError(None, "its path is too long")
            directories.sweep(parent)
            directory = directories.make(parent)
            try:
                _try(os.path.join(directory, "try"))
            except OSError:
                directories.remove(directory)
                raise
        except OSError as e:
            tried.append(f"{parent} ({e.strerror})")
        else:
            return directory
    raise OptionError(f"no directory for unix sockets; tried {', '.join(tried)}. Set TMPDIR to one on a local disk")


def _try(path: str) -> None:
    """Not every file system takes a socket, and a full one takes that and no file."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    os.unlink(path)
    with open(path, "wb", 0) as file:
        file.write(bytes(ROOM))
    os.unlink(path)

"""What a worker takes over from the script's process beside functions: module search path, arguments, authkey."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def search_path() -> tuple[str, ...]:
    """The script's ``sys.path``, with no entry that depends on the working directory."""
    entries = [os.path.abspath(entry or ".") for entry in sys.path if isinstance(entry, str)]
    return tuple(dict.fromkeys(entries))


def python_flags() -> tuple[str, ...]:
    """The flags that this Python was started with: -O, -W, -X and others that a worker can have, too."""
    import subprocess

    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    # -q, -v and -d say nothing of how tasks run; with -S a worker would not find xse.
    return tuple(flag for flag in flags if flag != "-S" and not flag.startswith(("-i", "-q", "-v", "-d")))


def search(entries: tuple[str, ...]) -> None:
    """Look modules up as the script does; in a worker. What only this Python has comes last."""
    sys.path[:] = [*entries, *(entry for entry in sys.path if entry not in entries)]
    importlib.invalidate_caches()


def taken() -> dict[str, Any]:
    """In the client: what ``give`` wants."""
    found: dict[str, Any] = {"argv": [a for a in getattr(sys, "argv", []) if isinstance(a, str)]}
    process = sys.modules.get("multiprocessing.process")
    if process is not None:  # proxies of its managers ask for the key
        found["authkey"] = bytes(process.current_process().authkey)
    return found


def give(found: dict[str, Any]) -> None:
    """In a worker: what the script's process has."""
    sys.argv[:] = found["argv"]
    if "authkey" in found:
        import multiprocessing.process

        multiprocessing.process.current_process().authkey = found["authkey"]

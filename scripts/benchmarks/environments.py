"""Python environments that peers live in, each made on first use under .cache/bench/ with what pip finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".cache" / "bench"
TIMEOUT_S = 600

#: What each is made of, and the module that must be importable then. Not pinned: a peer is measured as people get it,
#: and the figures tell its version.
PACKAGES = {
    "loky": ("loky", "loky"),
    "executorlib": ("executorlib", "executorlib"),
    "mpi4py": ("mpi4py", "mpi4py.MPI"),
    "dask": ("distributed", "distributed"),
    "numpy": ("numpy", "numpy"),
    "picture": ("matplotlib", "matplotlib"),
}


class CannotMakeError(Exception):
    """Why an environment cannot be had."""


def python_of(name: str) -> Path:
    """The interpreter of an environment; the empty name is that of xse."""
    return HOME / name / "bin" / "python" if name else Path(sys.executable)


def packages_of(name: str) -> Path:
    """Where its packages lie, for another interpreter of the same version."""
    return HOME / name / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def make(name: str, say: Callable[[str], None], settings: Mapping[str, str]) -> None:
    """Unless it is there. Raises CannotMakeError.

    ``settings``: environment variables for the import that shows that it runs."""
    directory, (package, module) = HOME / name, PACKAGES[name]
    stamp = directory / "made-of"
    wanted = "\n".join([package, sys.version, sys.base_prefix])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"installs {package} into {directory.relative_to(ROOT)}")
    shutil.rmtree(directory, ignore_errors=True)
    python = str(python_of(name))
    _run([sys.executable, "-m", "venv", str(directory)])
    _run([python, "-m", "pip", "--disable-pip-version-check", "install", package])
    _run([python, "-c", f"import {module}"], settings)
    stamp.write_text(wanted)


def _run(command: Sequence[str], settings: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(settings or {})},
        )
    except subprocess.TimeoutExpired:
        raise CannotMakeError(f"'{' '.join(command[1:4])} ...' was not done after {TIMEOUT_S} s") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise CannotMakeError(
            next((line for line in reversed(said) if "error" in line.lower()), f"exit code {done.returncode}")
        )


def version(name: str) -> str:
    """Of its package."""
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    done = subprocess.run([python_of(name), "-c", code, PACKAGES[name][0]], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"

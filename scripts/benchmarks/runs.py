"""Runs one measure of one peer as a process, and sees that nothing of it is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from . import mpi
from .environments import packages_of, python_of
from .peers import PEERS, Peer
from .processes import BENCH_PID, descendants

SCRIPTS = Path(__file__).parents[1]
END_S = 10  # for a run that is broken off to end by itself
GRACE_S = 1.0  # for what it leaves behind to end by itself


class FailedError(Exception):
    """Why there is no figure."""


def run(name: str, measure: str, size: float) -> dict[str, float]:
    """Figures by name. Raises FailedError. The caller has adopted orphans, and runs nothing else meanwhile."""
    peer = PEERS[name]
    # Sockets' paths must be short.
    with tempfile.TemporaryDirectory(prefix="xse-bench-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(
            [*_before(peer), "-m", "benchmarks.one", name, measure, str(size)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env=_environment(peer, directory),
            start_new_session=True,  # Ctrl-C is for the bench
        )
        try:
            out, err = process.communicate(timeout=peer.timeout_s)
        except subprocess.TimeoutExpired:
            raise FailedError(f"no answer after {peer.timeout_s} s") from None
        finally:
            if process.poll() is None:
                _break_off(process)
            end_all()
    if process.returncode:
        raise FailedError(_reason(err, process.returncode))
    printed = [line for line in out.splitlines() if line.startswith("{")]
    if not printed:
        raise FailedError(f"it printed no figures: {out[-200:]!r}")
    figures: dict[str, float] = json.loads(printed[-1])
    return figures


def _before(peer: Peer) -> list[str]:
    python = str(python_of(peer.environment))
    if not peer.mpi:
        return [python]
    # A rank more than there are workers: rank 0 is the script.
    return [*mpi.mpiexec(peer.workers + 1), python, "-m", "mpi4py.futures"]


def _environment(peer: Peer, directory: str) -> Mapping[str, str]:
    path = [str(SCRIPTS)]  # of every worker, too: tasks lie there
    if peer.packages:
        path.append(str(packages_of(peer.packages)))
    environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    return {
        **environment,
        "PATH": f"{python_of(peer.environment).parent}:{environment['PATH']}",
        "PYTHONPATH": ":".join(path),
        "TMPDIR": directory,
        BENCH_PID: str(os.getpid()),
        **(mpi.settings() if peer.mpi else {}),
        **peer.settings,
    }


def _break_off(process: subprocess.Popen[str]) -> None:
    """An executor that is left by KeyboardInterrupt cleans up."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=END_S)


def end_all() -> None:
    """No process that this one or its descendants have started is left."""
    begin = time.monotonic()
    while left := descendants(os.getpid()):
        if time.monotonic() - begin > GRACE_S:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _reason(stderr: str, code: int) -> str:
    """The last line of a traceback says most."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    reported = [line for line in lines if "Error" in line]
    return (reported or lines or [f"exit code {code}"])[-1][:300]

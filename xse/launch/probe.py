"""Which hosts a launcher reaches now: it is asked to start ``true`` on each."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence

from xse.launch.environment import for_launcher

TIMEOUT_S = 15.0  # ssh itself waits two minutes for a host that is silent
MOST_AT_ONCE = 32
TAIL_CHARACTERS = 300  # of what the launcher says


def unreachable(hosts: Sequence[str], line: Callable[[str], Sequence[str]]) -> dict[str, str]:
    """Those of ``hosts`` on which the launcher cannot start a program, each with the reason.

    ``line``: the launcher's words for one rank on this host. Takes up to 15 s for every 32 hosts.
    """
    if not hosts:
        return {}
    with concurrent.futures.ThreadPoolExecutor(min(len(hosts), MOST_AT_ONCE), "xse-probe") as threads:
        answers = threads.map(lambda host: _ask([*line(host), "true"]), hosts)
        return {host: answer for host, answer in zip(hosts, answers, strict=True) if answer is not None}


def _ask(command: Sequence[str]) -> str | None:
    """None: it could be started. What it prints goes to a file, for what it leaves behind may hold a pipe open."""
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                env=for_launcher(os.environ, one_host=False),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as e:
            return str(e)
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"no answer within {TIMEOUT_S:g} s"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code == 0:
            return None
        said.seek(0)
        lines = [line.strip(" -\n") for line in said.read().decode(errors="replace").splitlines()]
        return " ".join(line for line in lines if line)[:TAIL_CHARACTERS] or f"exit code {code}"

"""A block that runs as a child of this process: mpiexec, its output passed on, its end noticed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from xse import launch

TAIL_LINES = 20


class LocalBlock:
    """Runs ``argv`` in the environment of a launcher, with these variables in it, or, where None, without them.

    What it prints goes to this process's stdout and stderr as these are now; the last lines of stderr are kept.
    ``on_exit`` is told the exit code, in a thread of the block's own.
    """

    def __init__(
        self, argv: Sequence[str], variables: Mapping[str, str | None], *, on_exit: Callable[[int], None]
    ) -> None:
        self._on_exit = on_exit
        self._muted = False
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        environment = {
            name: value for name, value in {**launch.for_launcher(os.environ), **variables}.items() if value is not None
        }
        self._process = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the script; and it can be ended as a group
        )
        self._relays = [
            self._relay(self._process.stdout, lambda: sys.stdout, None),
            self._relay(self._process.stderr, lambda: sys.stderr, self._tail),
        ]
        self._waiter = threading.Thread(target=self._wait, name="xse-block", daemon=True)
        self._waiter.start()

    def _relay(self, source: IO[bytes] | None, target: Callable[[], Any], tail: deque[str] | None) -> threading.Thread:
        def pass_on() -> None:
            assert source
            for line in source:
                text = line.decode(errors="replace")
                if tail is not None:
                    tail.append(text)
                if self._muted:
                    continue
                with contextlib.suppress(Exception):  # no stdout, a closed one: what is printed there is lost
                    target().write(text)
                    target().flush()

        thread = threading.Thread(target=pass_on, name="xse-output", daemon=True)
        thread.start()
        return thread

    def _wait(self) -> None:
        code = self._process.wait()
        for relay in self._relays:
            relay.join(1.0)  # until the pipes are empty; a stray child may hold them open
        self._on_exit(code)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stderr_tail(self) -> str:
        """The last lines that mpiexec and the ranks wrote to stderr."""
        return "".join(self._tail).strip()

    def mute(self) -> None:
        """Pass nothing on any more: it is ended before it came up, and its complaints are of no use."""
        self._muted = True

    def end(self, timeout: float) -> None:
        """Wait for it to end; after ``timeout`` seconds make it, politely and then not."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                timeout = 1.0
            else:
                break
        if threading.current_thread() is not self._waiter:
            self._waiter.join(3.0)

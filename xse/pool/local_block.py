"""A block that runs as a child of this process: mpiexec, its output passed on, its end noticed."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from xse import launch

TAIL_LINES = 20
DRAIN_S = 1.0  # for what the block wrote last to be passed on; a stray child may hold its pipes open
READ_BYTES = 64 << 10


class LocalBlock:
    """Runs ``argv`` in the environment of a launcher, with these variables in it, or, where None, without them.
    ``one_host``: all ranks run on this host.

    What it prints goes to this process's stdout and stderr as these are now; the last lines of stderr are kept.
    ``on_exit`` is told the exit code, in a thread of the block's own. Raises OSError or RuntimeError (no thread to be
    had); then nothing is left running.
    """

    def __init__(
        self,
        argv: Sequence[str],
        variables: Mapping[str, str | None],
        *,
        one_host: bool,
        on_exit: Callable[[int], None],
    ) -> None:
        self._on_exit = on_exit
        self._muted = False
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        inherited = launch.for_launcher(os.environ, one_host=one_host)
        environment = {name: value for name, value in {**inherited, **variables}.items() if value is not None}
        self._process = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the script; and it can be ended as a group
        )
        self._relay = threading.Thread(target=self._pass_on, name="xse-output", daemon=True)
        self._waiter = threading.Thread(target=self._wait, name="xse-block", daemon=True)
        try:
            self._relay.start()
            self._waiter.start()
        except BaseException:
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise

    def _pass_on(self) -> None:
        """The only thread that calls the user's ``sys.stdout``: one that blocks holds up nothing else."""
        assert self._process.stdout
        assert self._process.stderr
        sources: dict[int, tuple[IO[bytes], Callable[[], Any], bytearray]] = {
            self._process.stdout.fileno(): (self._process.stdout, lambda: sys.stdout, bytearray()),
            self._process.stderr.fileno(): (self._process.stderr, lambda: sys.stderr, bytearray()),
        }
        poll = select.poll()
        for fd in sources:
            poll.register(fd, select.POLLIN)
        while sources:
            for fd, _ in poll.poll():
                source, target, unfinished = sources[fd]
                data = os.read(fd, READ_BYTES)
                unfinished += data
                end = unfinished.rfind(b"\n") + 1 if data else len(unfinished)
                text = unfinished[:end].decode(errors="replace")
                del unfinished[:end]
                if source is self._process.stderr:
                    self._tail.extend(text.splitlines(keepends=True))
                self._write(target, text)
                if not data:
                    poll.unregister(fd)
                    source.close()
                    del sources[fd]

    def _write(self, target: Callable[[], Any], text: str) -> None:
        if text and not self._muted:
            with contextlib.suppress(Exception):  # no stdout, a closed one: what is printed there is lost
                target().write(text)
                target().flush()

    def _wait(self) -> None:
        code = self._process.wait()
        self._relay.join(DRAIN_S)
        self._on_exit(code)

    @property
    def pid(self) -> int:
        """The process id of the launcher."""
        return self._process.pid

    def stderr_tail(self) -> str:
        """The last lines that mpiexec and the ranks wrote to stderr."""
        return "".join(list(self._tail)).strip()

    def mute(self) -> None:
        """Pass nothing on any more: it is ended before it came up, and its complaints are of no use."""
        self._muted = True

    def kill(self) -> None:
        """The launcher and what it started, at once."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)

    def end(self, timeout: float) -> None:
        """Wait for it to end; after ``timeout`` seconds make it, politely and then not."""
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._signal(number)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                timeout = 1.0
            else:
                break
        if threading.current_thread() is not self._waiter:
            self._waiter.join(3 * DRAIN_S)

    def _signal(self, number: signal.Signals) -> None:
        """To the launcher and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

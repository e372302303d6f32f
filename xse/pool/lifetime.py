"""How a pool ends: by ``shutdown``, when nobody holds it any more, and at the end of the script.

Like ``concurrent.futures``, a script that reaches its end waits for what it has submitted. A script that ends by an
exception that nobody caught, or by Ctrl-C, cancels it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Sequence

from xse import directories
from xse.client.client import Client
from xse.errors import BrokenPool
from xse.live.status import summary_of
from xse.pool.block_keeper import Keeper
from xse.wire import commands

END_TIMEOUT_S = 2.0  # for blocks and interchange to end, before they are made to

#: Pools that have not ended. A strong reference: a pool that nobody holds may still have tasks to run.
_alive: set[Lifetime] = set()


class Lifetime:
    """What a pool has to end. It knows nothing of the executor, so that one that nobody holds can be collected."""

    def __init__(self, client: Client, keeper: Keeper, paths: Sequence[str], *, summary: bool = False) -> None:
        """``summary``: tell at the end, in one line, what the run was."""
        self._summary = summary
        self.client = client
        self.keeper = keeper
        self._paths = paths
        self._ending: threading.Thread | None = None
        self.ended = False
        self.foreign = False  # this is a forked child, and the pool is its parent's
        _alive.add(self)

    def end(self, reason: Exception | None = None) -> None:
        """End all that runs, now. Futures that are not done are cancelled, or raise ``reason``. May be called again: an
        end that was interrupted is completed by the next."""
        if self.ended or self.foreign:
            return
        self.keeper.launch_no_more()
        self.client.close(END_TIMEOUT_S, reason)
        self.keeper.end(END_TIMEOUT_S)
        for directory in self._paths:
            directories.remove(directory)
        self.ended = True
        _alive.discard(self)

    def wait_and_end(self) -> None:
        """Wait until every future has its answer, and end."""
        if self.ended or self.foreign:
            return
        self.client.wait_until_empty()
        if self._summary:
            self._tell()
        self.end()

    def _tell(self) -> None:
        self._summary = False
        with contextlib.suppress(BrokenPool, TimeoutError):
            reply = self.client.request(commands.Status()).result(END_TIMEOUT_S)
            if isinstance(reply, commands.StatusReply):
                print(f"xse: {summary_of(reply)}", file=sys.stderr)

    def end_in_background(self) -> None:
        """``wait_and_end`` in a thread. Raises RuntimeError when the system gives none."""
        if self._ending is None and not self.ended and not self.foreign:
            thread = threading.Thread(target=self.wait_and_end, name="xse-shutdown", daemon=True)
            thread.start()
            self._ending = thread

    def abandon(self) -> None:
        """Nobody holds the executor any more. Called by the garbage collector, anywhere: the events thread does the
        rest."""
        if not self.foreign:
            self.client.events.put(self.end_in_background)


def _end_all() -> None:
    """At the end of the script, while threads can still be started."""
    failed = getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")
    for pool in list(_alive):
        _end_one(pool, failed)


def _end_one(pool: Lifetime, failed: bool) -> None:
    try:
        if not failed:
            pool.wait_and_end()
            return
        if pool.client.n_open and not pool.client.broken:
            print(f"xse: the script failed; its {pool.client.n_open} open tasks are cancelled", file=sys.stderr)
        pool.end()
    except KeyboardInterrupt:  # who presses Ctrl-C does not want to wait
        pool.end()
    except Exception as e:  # one that cannot be ended must not keep the others
        print(f"xse: a pool could not be ended: {e!r}", file=sys.stderr)


def _forget_all() -> None:
    """In a forked child: these pools are the parent's."""
    for pool in _alive:
        pool.foreign = True
    _alive.clear()


# As concurrent.futures does: before the interpreter waits for threads, and before it refuses new ones.
getattr(threading, "_register_atexit", atexit.register)(_end_all)
os.register_at_fork(after_in_child=_forget_all)

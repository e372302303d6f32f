"""Jobs of Parsl's LocalProvider: processes of this host, whose end can be waited for."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Mapping


def ended_within(pids: Mapping[str, int], timeout: float) -> list[str]:
    """Of these processes, by any names, those that end within ``timeout`` seconds; returns when all have."""
    poll, names = select.poll(), {}
    ended = []
    with contextlib.ExitStack() as stack:
        for name, pid in pids.items():
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                ended.append(name)
                continue
            except OSError:  # before Linux 5.3 nobody tells
                continue
            stack.callback(os.close, fd)
            poll.register(fd, select.POLLIN)
            names[fd] = name
        until = time.monotonic() + timeout
        while names and (left := until - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                poll.unregister(fd)
                ended.append(names.pop(fd))
    return ended

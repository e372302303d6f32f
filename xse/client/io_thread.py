"""The thread that owns the socket to the interchange. It sleeps in one poll; other threads wake it by an eventfd.

Other threads reach it through ``order``, and through what the client keeps for ``send_pending``. None of these takes a
lock, so that each may be called in a signal handler or in ``__del__``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from io import FileIO
from typing import Protocol

from xse.wire import messages as wire
from xse.wire.frames import Frames
from xse.wire.stream import Stream

logger = logging.getLogger(__name__)

_ONE = (1).to_bytes(8, "little")


class Work(Protocol):
    """What the thread does for the client."""

    def pending(self) -> bool:
        """Is there something that ``send_pending`` would send?"""

    def send_pending(self) -> None: ...

    def take(self, head: bytes, payload: Frames) -> None:
        """A message has come."""

    def lost(self, reason: str) -> None:
        """The interchange has ended, or cannot be understood; or this thread has met a mistake of ours."""


class IoThread:
    """``sock`` is its own from here on. ``submit_sock``: a second socket to the interchange, on which any thread sends.

    A single small task is sent by the thread that submits it, which saves one wake-up. It needs a socket of its own: on
    the first one a large message may be half sent, and to wait for its end would take a lock.
    """

    def __init__(self, name: str, sock: socket.socket, submit_sock: socket.socket, work: Work) -> None:
        self._stream = Stream(sock)
        self._submit_sock = submit_sock
        submit_sock.setblocking(False)
        self._work = work
        self._orders: deque[Callable[[], None]] = deque()
        self._bell = FileIO(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), "r+")
        self._poll = select.poll()
        self._poll.register(self._bell, select.POLLIN)
        self._poll.register(self._stream, select.POLLIN)
        self._reading = True
        self._writing = False  # the socket took less than there was
        self._mute = False  # the thread has failed
        self.asleep = False
        self._n_sleeps = 0
        self._woken = 0  # the number of the sleep that somebody has ended
        self._end = False
        self.over = False
        self._name = name
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises RuntimeError when the system gives no thread."""
        thread = threading.Thread(target=self._run, name=f"{self._name}-io", daemon=True)
        thread.start()
        self._thread = thread

    def end(self) -> None:
        """Carry out what was ordered so far, and end; waits for it. May be called again."""
        self.order(self._set_end)
        if self._thread:
            self._thread.join()
        self.over = True

    def close(self) -> None:
        """After ``end``. May be called again."""
        self._stream.close()
        self._submit_sock.close()
        self._bell.close()

    def is_current(self) -> bool:
        """Is the caller in this thread?"""
        return threading.current_thread() is self._thread

    # ---- any thread

    def order(self, call: Callable[[], None]) -> None:
        """Have ``call()`` made in the thread. It must not block."""
        self._orders.append(call)
        self.wake()

    def wake(self) -> None:
        """There is something pending.

        A handler of a signal may raise at any place here. So the bell is rung first, and then it is noted for which
        sleep that was: a note that is lost, or comes late, costs a second ring at most.
        """
        sleep = self._n_sleeps
        if self.asleep and self._woken != sleep:
            with contextlib.suppress(OSError, ValueError):  # closed: nobody sleeps any more
                self._bell.write(_ONE)
            self._woken = sleep

    def send_beside(self, message: bytes) -> bool:
        """Send a message of at most 32 KiB from the caller's thread. False: not a byte of it was sent.

        So few bytes are one buffer of the kernel's, which takes them all or none, whoever else sends.
        """
        try:
            return self._submit_sock.send(message) == len(message)
        except OSError:  # no room; closed; or the interchange is gone, which is seen where one reads
            return False

    # ---- the thread itself

    def send(self, parts: Sequence[wire.Buffer]) -> None:
        """One message, as soon as the socket takes it."""
        if self._mute or not self._reading:
            return
        if not self._stream.send(parts) and not self._writing:
            self._writing = True
            self._poll.modify(self._stream, select.POLLIN | select.POLLOUT)

    def _set_end(self) -> None:
        self._end = True

    def _run(self) -> None:
        while not self._end:
            try:
                self._carry_out_orders()
                if not self._writing and self._work.pending():
                    self._work.send_pending()
                self._serve()
            except Exception as e:  # a mistake of ours: nobody may wait for ever because of it
                logger.exception("io_thread_failed")
                self._mute = True
                self._stop_reading()
                self._work.lost(f"the client's io thread failed: {e!r}")

    def _carry_out_orders(self) -> None:
        while self._orders:
            self._orders.popleft()()

    def _has_work(self) -> bool:
        return bool(self._orders or self._end or (not self._writing and self._work.pending()))

    def _serve(self) -> None:
        """Wait until there is something to do, and read what has come."""
        self._n_sleeps += 1
        self.asleep = True
        # Whoever adds work after this line sees ``asleep``; what was added before it is seen here.
        timeout = 0 if self._has_work() else None
        events = self._poll.poll(timeout)
        self.asleep = False
        for fd, event in events:
            if fd == self._bell.fileno():
                self._bell.read(8)
                continue
            if event & select.POLLOUT and self._stream.flush():
                self._writing = False
                self._poll.modify(self._stream, select.POLLIN)
            if event & ~select.POLLOUT:
                self._read()

    def _read(self) -> None:
        if not self._reading:
            return
        for head, payload in self._stream.receive():
            self._work.take(head, payload)
        if self._stream.error:  # nothing it says can be understood any more
            self._stop_reading()
            self._work.lost(f"the interchange sent bytes that are no message ({self._stream.error})")
        elif self._stream.ended:
            self._stop_reading()
            self._work.lost("")

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._writing = False
            self._poll.unregister(self._stream)

"""What a task does to signals and timers, noted, so that it can be undone: the next task in its worker would bear it.

With SIGCHLD ignored, a subprocess that fails looks as if it had not; an alarm that was left strikes whoever runs then.
To ask the kernel after each task would cost a microsecond of each, so what Python has for it notes that it was called.
What C code does to signals by itself is not seen.
"""

from __future__ import annotations

import signal
from typing import Any

_set_handler, _set_timer, _set_alarm = signal.signal, signal.setitimer, signal.alarm

handlers: dict[int, Any] = {}  # by signal: what it had, where it has been given another
timers: set[int] = set()  # those that have been set


ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def outlive_the_pool() -> None:
    """Ignore the signals that end the pool: they reach its workers, too, which must not end before their rank says so.

    With handlers that do nothing: what is ignored, a task's own subprocesses would inherit. The rank has blocked these
    signals until now.
    """
    for number in ENDING:
        _set_handler(number, _do_nothing)
        signal.siginterrupt(number, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def watch() -> None:
    """From now on. Call it before others can import what it replaces."""
    for replacement in (_noted_signal, _noted_setitimer, _noted_alarm):
        setattr(signal, replacement.__name__.removeprefix("_noted_"), replacement)


def _noted_signal(signalnum: int, handler: Any) -> Any:
    before = _set_handler(signalnum, handler)
    handlers.setdefault(int(signalnum), before)
    return before


def _noted_setitimer(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
    before = _set_timer(which, seconds, interval)
    timers.add(int(which))
    return before


def _noted_alarm(seconds: int) -> int:
    before = _set_alarm(seconds)
    timers.add(signal.ITIMER_REAL)
    return before


def settle() -> None:
    """What is so now is how tasks find it."""
    handlers.clear()
    timers.clear()


def restore() -> None:
    """As it was when it was settled."""
    for timer in timers:
        _set_timer(timer, 0)
    for number, handler in handlers.items():
        _set_handler(number, _do_nothing if handler is None else handler)
        if handler is _do_nothing:
            signal.siginterrupt(number, False)
    settle()


def _do_nothing(*_: object) -> None:
    """The handler of a signal that a worker outlives."""

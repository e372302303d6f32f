"""The tasks of one executor in a soak, and the book of what became of each."""

from __future__ import annotations

import queue
import random
import threading
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from scripts.soaks import tasks
from xse import ManagerLost, TaskTimeout, WorkerLost
from xse.client.future import Future

WINDOW = 4000  # tasks under way at once
LATE_S = 0.2  # the timeout of tasks that have one


class Submit(Protocol):
    def __call__(self, timeout_s: float, priority: int, *arguments: Any) -> Future[Any]: ...


#: What a task does, and how many of a thousand do it.
DOES = {
    "returns": 900,
    "sleeps": 40,
    "carries": 30,
    "raises": 22,
    "is cancelled": 5,
    "exits": 1,
    "crashes": 1,
    "is killed": 0.5,
    "is late": 0.5,
}
#: What may become of it, when nothing happens to it from outside.
ENDS = {
    "returns": {"value"},
    "sleeps": {"value"},
    "carries": {"value"},
    "raises": {"raised"},
    "is cancelled": {"value", "cancelled"},
    "exits": {"WorkerLost"},
    "crashes": {"WorkerLost"},
    "is killed": {"cancelled"},
    "is late": {"TaskTimeout"},
}
LOST = ("WorkerLost", "ManagerLost")  # what may become of any task


class Load:
    """Submits tasks from a thread of its own, numbered from 0, and judges each answer as it comes."""

    def __init__(self, name: str, seed: int, directory: Path, submit: Submit, has_timeouts: bool) -> None:
        self.name = name
        self._dice = random.Random(f"{seed} {name}")
        self._directory = directory
        directory.mkdir()
        self._submit = submit
        self._has_timeouts = has_timeouts
        self._does: list[str] = []  # by number
        self._ends: list[str] = []  # by number; empty: not answered
        self._n_answers = array("B")
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._room = threading.Semaphore(WINDOW)
        self._to_cancel: queue.SimpleQueue[tuple[Future[Any], bool] | None] = queue.SimpleQueue()
        self._over = threading.Event()
        self._all_answered = threading.Event()
        self._lock = threading.Lock()
        self.n_done = 0
        self.n_results_lost = 0
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._run, self._cancel)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def n_submitted(self) -> int:
        return len(self._does)

    def stop_submitting(self) -> None:
        self._over.set()

    def wait(self, timeout_s: float) -> bool:
        """After ``stop_submitting``: until each future has its answer. False: not all have."""
        self._threads[0].join(timeout_s)
        with self._lock:
            if self.n_done == self.n_submitted:
                self._all_answered.set()
        return self._all_answered.wait(timeout_s)

    # ---- submitting

    def _run(self) -> None:
        names, weights = list(DOES), list(DOES.values())
        while not self._over.is_set():
            if self._room.acquire(timeout=0.1):
                self._one(self._dice.choices(names, weights)[0])
        self._to_cancel.put(None)

    def _one(self, does: str) -> None:
        number = len(self._does)
        if does == "is late" and not self._has_timeouts:
            does = "returns"
        self._does.append(does)
        self._ends.append("")
        self._n_answers.append(0)
        seconds = {
            "sleeps": self._dice.uniform(0.001, 0.02),
            "is cancelled": 0.005,
            "is killed": 600.0,
            "is late": 600.0,
        }.get(does, 0.0)
        size = 0
        if does == "carries":
            size = self._dice.randrange(1 << 16) if self._dice.random() > 0.02 else self._dice.randrange(1 << 22)
        data = (number.to_bytes(8, "little") * (size // 8 + 1))[:size]
        expected = tasks.answer_of(number, data)
        timeout_s = LATE_S if does == "is late" else 0.0
        priority = number // 100 % 3
        try:
            future = self._submit(timeout_s, priority, str(self._directory), number, does, seconds, data)
        except Exception as e:
            self._answered(number, f"submit raised {e!r}")
            return
        future.add_done_callback(lambda f: self._answered(number, _end_of(f, expected)))
        if does in ("is cancelled", "is killed"):
            self._to_cancel.put((future, does == "is killed"))

    def _cancel(self) -> None:
        while (order := self._to_cancel.get()) is not None:
            future, kill = order
            future.cancel(kill=kill)

    # ---- answers

    def _answered(self, number: int, end: str) -> None:
        """In the client's callback thread."""
        with self._lock:
            self._n_answers[number] = min(255, self._n_answers[number] + 1)
            self._ends[number] = end
            self.outcomes[end if len(end) < 20 else "wrong"] += 1
            if end not in ENDS[self._does[number]] and end not in LOST:
                self.wrong.append(f"task {number}, which {self._does[number]}: {end}")
            self.n_done += 1
            if self._over.is_set() and self.n_done == self.n_submitted:
                self._all_answered.set()
        self._room.release()

    # ---- the verdict

    def verdict(self) -> list[str]:
        """What is wrong with the whole, in words."""
        begun, ended = (_read(self._directory / name) for name in (tasks.BEGUN, tasks.ENDED))
        n = self.n_submitted
        bad = self.wrong[:20] + ([f"and {len(self.wrong) - 20} more"] if len(self.wrong) > 20 else [])
        bad += _these("had no answer", [i for i in range(n) if self._n_answers[i] == 0])
        bad += _these("had more than one answer", [i for i in range(n) if self._n_answers[i] > 1])
        bad += _these("began more than once", [i for i, times in begun.items() if times > 1])
        bad += _these("ended more than once", [i for i, times in ended.items() if times > 1])
        bad += _these("ended and had not begun", [i for i in ended if i not in begun])
        counted = ("value", "raised")
        bad += _these(
            "have a result and did not end", [i for i in range(n) if self._ends[i] in counted and i not in ended]
        )
        never = [i for i in begun if self._ends[i] == "cancelled" and self._does[i] != "is killed"]
        bad += _these("were cancelled and began", never)
        self.n_results_lost = sum(self._ends[i] in LOST for i in ended)
        others = [i for i in ended if self._ends[i] not in counted and self._ends[i] not in LOST]
        bad += _these("ended and were not counted", others)
        return [f"{self.name}: {what}" for what in bad]

    def __str__(self) -> str:
        reported = ", ".join(f"{n:,} {end}" for end, n in sorted(self.outcomes.items(), key=lambda x: -x[1]))
        lost = f"{self.n_results_lost:,} ran to their end and lost their result"
        return f"{self.name}: {self.n_submitted:,} tasks: {reported}; {lost}"


def _these(what: str, numbers: list[int]) -> list[str]:
    if not numbers:
        return []
    return [f"{len(numbers)} tasks {what}: {', '.join(map(str, numbers[:10]))}{' ...' if len(numbers) > 10 else ''}"]


def _read(path: Path) -> Counter[int]:
    numbers: array[int] = array("Q")
    if path.exists():
        numbers.frombytes(path.read_bytes())
    return Counter(numbers)


def _end_of(future: Future[Any], expected: tuple[int, int, int]) -> str:
    """What became of it: one word if that is as it may be, a sentence if not."""
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    match error:
        case None:
            result = future.result()
            return "value" if result == expected else f"another's result, {result!r:.80} for {expected!r}"
        case tasks.Meant():
            return "raised" if error.args == (expected[0],) else f"another's exception, {error!r:.80}"
        case WorkerLost():
            return "WorkerLost"
        case ManagerLost():
            return "ManagerLost"
        case TaskTimeout():
            return "TaskTimeout"
    return f"failed with {error!r:.200}"

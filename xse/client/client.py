"""The client of an interchange: tasks in, futures out. Both executors stand on it.

One thread, ``xse-io``, owns the socket; others reach it through a deque and an eventfd, written only when it sleeps. It
sends what has piled up and never waits for more. Callbacks that users attach to futures run in a second thread,
``xse-callbacks``, so that they hold nobody up.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future as StandardFuture
from functools import partial
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, TypeAlias

from xse import errors
from xse.client.future import Future, finish_all
from xse.functions.payload import Function, Scattered, claimed
from xse.functions.segments import Reference
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames, joined
from xse.wire.stream import Stream

logger = logging.getLogger(__name__)

Loader: TypeAlias = Callable[[int, Any], tuple[Any, BaseException | None]]

MOST_TASKS = 4096  # in one message
CALM_S = (
    100e-6  # since the last submit: who submits then sends, too, for some 10 us; what comes faster is sent together
)
#: Bytes of a task that who submits it sends: so few are one buffer of the kernel's, and it takes them all or none.
MOST_AT_ONCE = 32 << 10
MOST_BYTES = 1 << 20  # of small payload in one message; a message has at least one task


#: For the interchange's malloc: large payloads come one after the other, and to give each one's pages back, and to have
#: them cleared for the next, took as long as to copy it. These are the limits to which glibc moves by itself.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}

_REFERENCE, _REFERS = Reference.BEGINNING, len(Reference.BEGINNING)
_RAISED = int(wire.Status.RAISED)  # VALUE or this: the task's own


#: A task on its way to the wire: its future, function, arguments, priority, and timeout in milliseconds.
Data: TypeAlias = "wire.Buffer | Scattered"
Entry: TypeAlias = tuple[Future, Function, Data, int, int]
_run_of = itemgetter(1, 3, 4)  # tasks that follow each other and have the same of these are a run


class Client:
    """Starts an interchange process and speaks with it.

    ``load`` unpickles results; ``on_event`` is told, in the callback thread, what happens to blocks; ``make_error``
    turns a failure record into the exception of a future.
    """

    def __init__(
        self,
        *,
        load: Loader,
        on_event: Callable[[commands.Event], None],
        make_error: Callable[[wire.Status, wire.Failure], Exception] | None = None,
        name: str = "xse",
    ) -> None:
        self.load = load
        self._on_event = on_event
        self._make_error = make_error or error_of
        self._name = name
        self.futures: dict[int, Future] = {}
        self._ids = itertools.count(1)
        self._outbox: deque[Entry] = deque()
        self._orders: deque[Callable[[], None]] = deque()  # run in the io thread
        self._requests: dict[int, StandardFuture[commands.Reply]] = {}
        self._request_numbers = itertools.count(1)
        self._asleep = False
        self._last_submit = 0.0
        self._closing = False
        self._broken: Exception | None = None
        self._state_lock = threading.Lock()
        self._empty = threading.Event()
        self._empty.set()  # nobody waits for it
        self._process: subprocess.Popen[bytes] | None = None
        self._eventfd = -1
        self._stream: Stream | None = None
        self._writing = False  # the socket took less than there was
        self._sending = threading.Lock()  # who holds it may write to the socket
        self._mute = False  # the io thread has failed
        self._thread: threading.Thread | None = None
        self._callbacks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._callback_thread: threading.Thread | None = None
        self._watches: dict[int, Callable[[], None]] = {}
        self._poll = select.poll()
        self._log_dir = ""

    # ---- life

    def start(self, config: commands.Config, command: Sequence[str] | None = None) -> None:
        """Start the interchange (``command``, by default ``python -m xse.interchange``) and the threads."""
        self._log_dir = config.log_dir
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._process = subprocess.Popen(
                command or [sys.executable, "-m", "xse.interchange"],
                stdin=theirs.fileno(),
                env={**KEEP_MEMORY, **os.environ},
                start_new_session=True,  # Ctrl-C is for the script; it decides
            )
        self._stream = Stream(ours)
        self._order(partial(self._send_request, 0, config))
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._watch(self._eventfd, self._drain_eventfd)
        self._watch(ours.fileno(), self._read)
        self._watch_process(self._process.pid)
        self._callback_thread = threading.Thread(
            target=self._run_callbacks, name=f"{self._name}-callbacks", daemon=True
        )
        self._callback_thread.start()
        self._thread = threading.Thread(target=self._run, name=f"{self._name}-io", daemon=True)
        self._thread.start()

    @property
    def interchange_pid(self) -> int | None:
        return self._process.pid if self._process else None

    def close(self, timeout: float, reason: Exception | None = None) -> None:
        """End all blocks and the interchange, within ``timeout`` seconds; futures still open are cancelled.

        May be called from any thread, and again. After it no process of the interchange is left.
        """
        with self._state_lock:
            if self._closing:
                return
            self._closing = True
        if self._thread is None or self._process is None:
            return
        asked = self.request(commands.Shutdown())
        with contextlib.suppress(Exception):  # too slow, or gone: it is ended below in any case
            asked.result(timeout)
        try:
            self._process.wait(max(1.0, timeout / 2))
        except subprocess.TimeoutExpired:
            logger.warning("interchange_killed pid=%d reason='it did not end in time'", self._process.pid)
            self._process.kill()
            self._process.wait()
        self._order(self._end_thread)
        self._thread.join()
        self._asleep = False  # nobody writes to the eventfd any more: its number will be another's
        self._answer_all(reason)
        self._callbacks.put(None)
        if threading.current_thread() is not self._callback_thread and self._callback_thread:
            self._callback_thread.join()
        assert self._stream
        self._stream.close()
        os.close(self._eventfd)

    def _end_thread(self) -> None:
        raise _ThreadEnd

    def fail_all(self, error: Exception) -> None:
        """Nothing can run any more: this is every open future's answer, and that of every later submit."""
        with self._state_lock:
            if self._broken is None:
                self._broken = error
        self._answer_all(error)

    def _answer_all(self, error: Exception | None) -> None:
        """Each once: whoever takes a future out of the table answers it."""
        self._outbox.clear()
        while self.futures:
            try:
                _, future = self.futures.popitem()
            except KeyError:  # another thread took the last one
                break
            if future.drop() if error is None else future.fail(error):
                self._callbacks.put(future.run_callbacks)
        self._empty.set()

    def wait_until_empty(self) -> None:
        """Until every future has its answer."""
        self._empty.clear()
        self._order(self._look_whether_empty)
        self._empty.wait()

    def _look_whether_empty(self) -> None:
        if not self.futures:
            self._empty.set()

    @property
    def broken(self) -> Exception | None:
        """Why nothing can run, or None."""
        return self._broken

    # ---- submitting; any thread

    def submit(
        self,
        function: Function,
        data: Data,
        *,
        priority: int = 0,
        timeout_ms: int = 0,
        segment: str | None = None,
    ) -> Future:
        """Returns at once. Raises what ``fail_all`` was told. ``segment``: the path of what ``data`` refers to."""
        if self._broken is not None:
            raise self._broken
        task_id = next(self._ids)
        future = Future(task_id, self)
        if segment:
            future.segment = segment
        self.futures[task_id] = future
        entry = (future, function, data, priority, timeout_ms)
        now = time.monotonic()
        calm = now - self._last_submit > CALM_S
        self._last_submit = now
        if not (calm and self._asleep and self._send_here(entry)):
            self._outbox.append(entry)
            if self._asleep:
                self._wake()
        if self._broken is not None and self.futures.pop(task_id, None):  # broken between the two looks
            raise self._broken
        return future

    def _send_here(self, entry: Entry) -> bool:
        """A task that comes alone is sent by who submits it: that spares the io thread's wake-up, and its wait for the
        interpreter. False: the io thread is to do it. An interrupt (Ctrl-C) finds it sent as a whole or not at all."""
        assert self._stream
        future, function, data, *_ = entry
        if len(data) + len(function.data) > MOST_AT_ONCE or not self._sending.acquire(blocking=False):
            return False
        try:
            if self._orders or self._outbox or self._mute:
                return False
            tasks, parts = to_message([entry])
            return self._stream.send_whole(b"".join([tasks.head(), *parts]))
        except BaseException:
            self.futures.pop(future.task_id, None)
            raise
        finally:
            self._sending.release()

    def failed(self, error: BaseException) -> Future:
        """A future that has failed already."""
        future = Future(next(self._ids), self)
        future.fail(error)
        return future

    def cancel(self, future: Future, *, kill: bool) -> bool:
        """See Future.cancel."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a future cannot be cancelled from within the io thread")
        self._order(lambda: self._cancel([future.task_id], kill))
        return future.wait_for_cancel(kill)

    def cancel_soon(self, task_ids: list[int] | None = None) -> None:
        """Cancel what of these, or of all, has not started, without waiting to see which."""
        self._order(lambda: self._cancel(list(self.futures) if task_ids is None else task_ids, False))

    def request(self, request: commands.Request) -> StandardFuture[commands.Reply]:
        """Ask the interchange; the future fails with InterchangeLost when it is gone."""
        reply: StandardFuture[commands.Reply] = StandardFuture()
        number = next(self._request_numbers)

        def send() -> None:
            if isinstance(self._broken, errors.InterchangeLost):
                reply.set_exception(self._broken)
                return
            self._requests[number] = reply
            self._send_request(number, request)

        self._order(send)
        return reply

    def _send_request(self, number: int, request: commands.Request) -> None:
        data = commands.dumps(request)
        self._send([wire.Request(number, len(data)).head(), data])

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        if self._asleep:
            self._wake()

    def _wake(self) -> None:
        self._asleep = False
        with contextlib.suppress(OSError):  # closed: nobody sleeps there any more
            os.eventfd_write(self._eventfd, 1)

    # ---- the io thread

    def _run(self) -> None:
        try:
            while True:
                while self._orders:
                    self._orders.popleft()()
                if self._outbox and not self._writing:
                    self._send_tasks()
                self._serve(sleep=not self._work())
        except _ThreadEnd:
            return
        except Exception as e:  # a mistake of ours: nobody may wait for ever because of it
            logger.exception("io_thread_failed")
            self._lost(errors.InterchangeLost(f"the client's io thread failed: {e!r}"))
            self._mute = True
            self._carry_out_orders()

    def _carry_out_orders(self) -> None:
        """After a mistake of ours nothing is sent or read any more; orders are carried out, for somebody may wait."""
        while True:
            self._asleep = True
            if not self._orders:
                select.select([self._eventfd], [], [])
                self._drain_eventfd()
            self._asleep = False
            while self._orders:
                try:
                    self._orders.popleft()()
                except _ThreadEnd:
                    return
                except Exception:
                    logger.exception("order_failed")

    def _work(self) -> bool:
        return bool(self._orders or (self._outbox and not self._writing))

    def _serve(self, sleep: bool) -> None:
        """Whatever has come; with ``sleep`` wait until something has."""
        if sleep:
            self._asleep = True
            # Whoever appends after this line sees _asleep; whoever appended before it is seen here.
            sleep = not self._work()
        for fd, events in self._poll.poll(None if sleep else 0):
            self._asleep = False
            if events & select.POLLOUT:
                self._write()
            if events & ~select.POLLOUT:
                self._watches[fd]()
        self._asleep = False

    def _watch(self, fd: int, ready: Callable[[], None]) -> None:
        self._watches[fd] = ready
        self._poll.register(fd, select.POLLIN)

    def _write(self) -> None:
        assert self._stream
        with self._sending:
            left = self._stream.flush()
        if left:
            self._writing = False
            self._poll.modify(self._stream, select.POLLIN)

    def _drain_eventfd(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)

    def _watch_process(self, pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except OSError:  # before Linux 5.3: its end is seen by a thread that waits for it
            threading.Thread(target=self._wait_for_process, name=f"{self._name}-wait", daemon=True).start()
            return

        def ended() -> None:
            self._poll.unregister(fd)
            os.close(fd)
            self._process_ended()

        self._watch(fd, ended)

    def _wait_for_process(self) -> None:
        assert self._process
        self._process.wait()
        self._order(self._process_ended)

    def _process_ended(self) -> None:
        assert self._process
        self._read()  # what it said before it ended
        code = self._process.wait()
        if not self._closing:
            logger.error("interchange_lost pid=%d exit_code=%d", self._process.pid, code)
            self._lost(
                errors.InterchangeLost(f"the interchange (pid {self._process.pid}) {_ended(code)}{self._log_tail()}")
            )
        else:
            self._lost(errors.InterchangeLost("the executor was shut down"))

    def _log_tail(self) -> str:
        path = os.path.join(self._log_dir, "interchange.log")
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                lines = f.read().splitlines()[-5:]
        except OSError:
            return ""
        return f"; the last lines of {path}:\n" + "\n".join(lines) if lines else ""

    def _lost(self, error: Exception) -> None:
        if not self._closing:
            self.fail_all(error)
        else:
            with self._state_lock:
                self._broken = self._broken or error
        requests, self._requests = self._requests, {}
        for reply in requests.values():
            reply.set_exception(error)

    # ---- out

    def _send(self, parts: list[wire.Buffer]) -> None:
        assert self._stream
        if self._mute:
            return
        with self._sending:
            left = self._stream.send(parts)
        if not left and not self._writing:
            self._writing = True
            self._poll.modify(self._stream, select.POLLIN | select.POLLOUT)

    def _send_tasks(self) -> None:
        """One message of what has piled up."""
        outbox = self._outbox
        entries: list[Entry] = []
        n_bytes = 0
        while outbox and len(entries) < MOST_TASKS and n_bytes < MOST_BYTES:
            try:
                entry = outbox.popleft()
            except IndexError:  # cleared by another thread
                break
            entries.append(entry)
            n_bytes += len(entry[2])
        if entries:
            tasks, parts = to_message(entries)
            self._send([tasks.head(), *joined(parts)])

    def _cancel(self, ids: list[int], kill: bool) -> None:
        wanted = set(ids)
        here: set[int] = set()
        kept: list[Entry] = []
        for _ in range(len(self._outbox)):  # what others append meanwhile stays behind what was there
            try:
                entry = self._outbox.popleft()
            except IndexError:  # cleared by another thread
                break
            task_id = entry[0].task_id
            if task_id in wanted:
                here.add(task_id)
                self._answer_cancelled(task_id)
            else:
                kept.append(entry)
        self._outbox.extendleft(reversed(kept))
        rest = [i for i in ids if i not in here and i in self.futures]
        for i in range(0, len(rest), wire.MAX_ITEMS):
            self._send([wire.Cancel(array("Q", rest[i : i + wire.MAX_ITEMS]), kill).head()])
        self._look_whether_empty()

    # ---- in

    def _read(self) -> None:
        stream = self._stream
        assert stream
        if stream.fileno() not in self._watches:
            return
        for head, payload in stream.receive():
            self._take(head, payload)
        if stream.error:  # nothing it says can be understood any more
            self._lost(errors.InterchangeLost(f"the interchange sent bytes that are no message ({stream.error})"))
        if stream.ended:
            del self._watches[stream.fileno()]
            self._poll.unregister(stream)

    def _take(self, head: bytes, payload: Frames) -> None:
        try:
            message = wire.decode(head, payload.length)
            match message:
                case wire.Results():
                    self._take_results(message, payload)
                case wire.Started():
                    for task_id in message.ids:
                        future = self.futures.get(task_id)
                        if future:
                            future.start()
                case wire.Reply():
                    reply = self._requests.pop(message.number, None)
                    if reply:
                        reply.set_result(commands.read_reply(payload))
                case wire.Event():
                    self._callbacks.put(partial(self._on_event, commands.read_event(payload)))
                case _:
                    logger.error("message_unexpected from=interchange type=%s", message.type.name)
        except (wire.WireError, ValueError) as e:
            logger.error("message_bad from=interchange error=%s", e)

    def _take_results(self, results: wire.Results, payload: Frames) -> None:
        ends = list(accumulate(results.lengths))
        if payload.length < MOST_BYTES:  # small results are copied out, so that none keeps the whole message in memory
            whole = bytes(payload.one(0, payload.length))
            data: list[Any] = [whole[end - n : end] for end, n in zip(ends, results.lengths, strict=True)]
        else:
            data = [payload.one(end - n, end) for end, n in zip(ends, results.lengths, strict=True)]
        data = [claimed(d) if d[:_REFERS] == _REFERENCE else d for d in data]
        futures = [self.futures.pop(task_id, None) for task_id in results.ids]  # from here on nothing can go wrong
        for i in finish_all(futures, results.statuses, data):
            future, status = futures[i], results.statuses[i]
            if future is None:
                logger.warning("result_dropped id=%d reason='nobody waits for it'", results.ids[i])
            elif self._finish(future, status, data[i]):
                self._callbacks.put(future.run_callbacks)
        if not self._empty.is_set():
            self._look_whether_empty()

    def _finish(self, future: Future, status: int, data: Any) -> bool:
        """True: it has callbacks."""
        if status <= _RAISED:
            return future.finish(status, data)
        if status == wire.Status.CANCELLED:
            return future.drop()
        return future.fail(self._error(wire.Status(status), data))

    def _answer_cancelled(self, task_id: int) -> None:
        future = self.futures.pop(task_id, None)
        if future and future.drop():
            self._callbacks.put(future.run_callbacks)

    def _error(self, status: wire.Status, record: wire.Buffer) -> Exception:
        try:
            return self._make_error(status, wire.Failure.unpack(record))
        except wire.WireError as e:
            return errors.XseError(f"{status.name}, with a record that cannot be read ({e})")

    # ---- the callback thread

    def _run_callbacks(self) -> None:
        while (callback := self._callbacks.get()) is not None:
            try:
                callback()
            except Exception:
                logger.exception("callback_failed")


class _ThreadEnd(Exception):
    """Ends the io thread."""


def to_message(entries: Sequence[Entry]) -> tuple[wire.Tasks, list[wire.Buffer]]:
    """Entries as one TASKS message: each function once, and the parts of its payload."""
    index: dict[bytes, int] = {}
    functions: list[wire.Function] = []
    parts: list[wire.Buffer] = []
    runs: list[wire.Run] = []
    for (function, priority, timeout_ms), run in groupby(entries, _run_of):
        number = index.get(function.digest)
        if number is None:
            number = index[function.digest] = len(functions)
            functions.append(wire.Function(function.digest, len(function.data)))
            parts.append(function.data)
        runs.append(wire.Run(number, sum(1 for _ in run), priority, timeout_ms, function.codec))
    data: list[Any] = [entry[2] for entry in entries]
    ids = array("Q", [entry[0].task_id for entry in entries])
    lengths = array("I", map(len, data))
    if Scattered in map(type, data):
        data = [part for d in data for part in (d.parts if type(d) is Scattered else (d,))]
    return wire.Tasks(tuple(functions), tuple(runs), ids, lengths), parts + data


def _ended(code: int) -> str:
    return f"was killed by {errors.signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


def error_of(
    status: wire.Status,
    failure: wire.Failure,
    *,
    worker_lost: type[errors.WorkerLost] = errors.WorkerLost,
    manager_lost: type[errors.ManagerLost] = errors.ManagerLost,
) -> Exception:
    """A failure record as an exception of ours, or of these subclasses."""
    match status:
        case wire.Status.WORKER_LOST:
            return worker_lost(
                host=failure.host,
                rank=failure.rank,
                pid=failure.pid,
                signal=failure.signal,
                exit_code=failure.exit_code,
                stderr=failure.detail,
            )
        case wire.Status.MANAGER_LOST:
            return manager_lost(block=failure.block, hosts=failure.host, reason=failure.detail)
        case wire.Status.TIMEOUT:
            return errors.TaskTimeout(f"{failure.detail} (pid {failure.pid}, rank {failure.rank} on {failure.host})")
        case wire.Status.TOO_LARGE:
            text = f"the result takes {failure.size} bytes, and a message carries at most {failure.limit}"
            return errors.PayloadTooLarge(text, failure.size, failure.limit)
        case _:
            return errors.BrokenPool(failure.detail)

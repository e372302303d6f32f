"""The client of an interchange: tasks in, futures out. Both executors stand on it.

It has three threads. ``NAME-io`` owns the socket (``io_thread.py``), ``NAME-events`` takes note of what happened
(``events.py``), and ``NAME-callbacks`` runs what users attach to futures (``callbacks.py``). It sends what has piled up
and never waits for more.

A task is submitted when it is in the outbox. The io thread takes it from there into the table of open futures, and
sends it. Whoever takes a future out of that table answers it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from _thread import LockType, allocate_lock
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any, TypeAlias

from xse import errors
from xse.client.batch import Data, Entry, to_message
from xse.client.call_thread import CallThread
from xse.client.callbacks import callbacks_thread
from xse.client.events import events_thread
from xse.client.failures import another, error_of
from xse.client.future import Future, finish_all
from xse.client.io_thread import IoThread
from xse.functions.payload import Function, claimed
from xse.functions.segments import Reference
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames, joined
from xse.wire.stream import listen_locally

logger = logging.getLogger(__name__)

Loader: TypeAlias = Callable[[int, Any], tuple[Any, BaseException | None]]

MOST_TASKS = 4096  # in one message
CALM_S = (
    100e-6  # since the last submit: who submits then sends, too, for some 10 us; what comes faster is sent together
)
MOST_AT_ONCE = 32 << 10  # bytes of a task that its submitter sends: see IoThread.send_beside
MOST_NAMED = 50_000  # functions whose names are not told again
MOST_BYTES = 1 << 20  # of small payload in one message; a message has at least one task
LAST_LINES = 5  # of the interchange's log, in an error

#: For the interchange's malloc: large payloads come one after the other, and to give each one's pages back, and to have
#: them cleared for the next, took as long as to copy it. These are the limits to which glibc moves by itself.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}

#: Starts the interchange. The current directory is not searched: a file queue.py in it would be imported in place of
#: Python's. Python 3.10 has no option for that alone.
INTERCHANGE = ["-P", "-m", "xse.interchange"]
if sys.version_info < (3, 11):
    INTERCHANGE = ["-c", "import sys; sys.path.remove(''); from xse.interchange.__main__ import main; sys.exit(main())"]

_REFERENCE, _REFERS = Reference.BEGINNING, len(Reference.BEGINNING)
_VALUE, _RAISED = int(wire.Status.VALUE), int(wire.Status.RAISED)  # these two: the task's own


class Reply(Future[commands.Reply]):
    """What the interchange answers to a request."""


class Client:
    """Starts an interchange process and speaks with it.

    ``load`` unpickles results; ``on_event`` is told, in the events thread, what happens to blocks; ``make_error`` turns
    a failure record into the exception of a future.
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
        self.futures: dict[int, Future[Any]] = {}  # sent, and not answered
        self._outbox: deque[Entry] = deque()
        self._cancels: deque[tuple[int, bool]] = deque()  # ids, and whether to kill
        self._ids = itertools.count(1)
        self._last_id = 0
        self._requests: dict[int, Reply] = {}
        self._request_numbers = itertools.count(1)
        self._empty_bells: deque[LockType] = deque()  # of those who wait until no future is open
        self._named: set[bytes] = set()  # digests of functions whose names the interchange knows
        self._last_submit = 0.0
        self._broken: Exception | None = None
        self._closing = False
        self._closed = False
        self._close_lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._io: IoThread | None = None
        self.events: CallThread = events_thread(name, self.fail_all)
        self._callbacks: CallThread = callbacks_thread(name)
        self._log_dir = ""
        self._pid = os.getpid()

    # ---- life

    def start(self, config: commands.Config, command: Sequence[str] | None = None) -> None:
        """Start the threads and the interchange (``command``: its words, if it is not to be started as usual).

        From now on blocks of this host can connect: the unix socket is there before the interchange is.
        Raises LaunchError when the system gives no thread, no process or no descriptor; then nothing is left.
        """
        self._log_dir = config.log_dir
        try:
            self._start(config, command)
        except (OSError, RuntimeError) as e:  # RuntimeError: no thread
            self._closing = True
            self._finish_closing(None)
            raise errors.LaunchError(
                f"the executor's own threads and processes cannot be started: {e}. See the limits of this user (ulimit"
                " -u, ulimit -n) or of this job"
            ) from None

    def _start(self, config: commands.Config, command: Sequence[str] | None) -> None:
        with contextlib.ExitStack() as stack:
            ours, theirs = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
            submit, submit_theirs = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
            listener = stack.enter_context(listen_locally(config.local_path))
            self._io = IoThread(self._name, _kept(ours), _kept(submit), self)
            self._callbacks.start()
            self.events.start()
            self._io.start()
            config = replace(config, submit_fd=submit_theirs.fileno(), local_fd=listener.fileno())
            self._io.order(partial(self._send_request, 0, config))
            self._process = subprocess.Popen(
                command or [sys.executable, *INTERCHANGE],
                stdin=theirs.fileno(),
                pass_fds=[submit_theirs.fileno(), listener.fileno()],
                env={**KEEP_MEMORY, **os.environ},
                start_new_session=True,  # Ctrl-C is for the script; it decides
            )

    @property
    def interchange_pid(self) -> int | None:
        """The process id of the interchange; None before it is started."""
        return self._process.pid if self._process else None

    def close(self, timeout: float, reason: Exception | None = None) -> None:
        """End all blocks and the interchange, within ``timeout`` seconds; futures still open are cancelled, or fail
        with ``reason``.

        May be called from any thread, and again. After it no process of the interchange is left. A close that was
        interrupted, by an exception of a signal handler, is completed by the next.
        """
        self._closing = True
        with self._close_lock:
            if self._closed:
                return
            if self._process is not None:
                self._end_interchange(self._process, timeout)
            self._finish_closing(reason)
            self._closed = True

    def _end_interchange(self, process: subprocess.Popen[bytes], timeout: float) -> None:
        if process.poll() is None:
            with contextlib.suppress(Exception):  # too slow, or gone: it is ended below in any case
                self.request(commands.Shutdown()).result(timeout)
        try:
            process.wait(max(1.0, timeout / 2))
        except subprocess.TimeoutExpired:
            logger.warning("interchange_killed pid=%d reason='it did not end in time'", process.pid)
            process.kill()
            process.wait()

    def _finish_closing(self, reason: Exception | None) -> None:
        if self._io:
            self._io.end()
        self._broken = self._broken or errors.InterchangeLost("the executor was shut down")
        self._answer_all(reason)
        self._fail_requests(self._broken)
        self.events.end()
        self._callbacks.end()
        if self._io:
            self._io.close()

    def fail_all(self, error: Exception) -> None:
        """Nothing can run any more: every open future and every later submit raises this. Each has an object of its
        own."""
        self._broken = self._broken or error
        self._answer_all(error)

    def _answer_all(self, error: Exception | None) -> None:
        while self._outbox:
            try:
                future = self._outbox.popleft()[0]
            except IndexError:  # another thread took the last one
                break
            self._answer(future, error)
        while self.futures:
            try:
                _, future = self.futures.popitem()
            except KeyError:
                break
            self._answer(future, error)
        self._ring_if_empty()

    def _answer(self, future: Future[Any], error: BaseException | None) -> None:
        if future.drop() if error is None else future.fail(another(error)):
            self._announce(future)

    def _announce(self, future: Future[Any]) -> None:
        """Tell those who wait for it, each in the thread where it belongs."""
        then = future.take_then()
        if then:
            self.events.put(partial(then, future))
        if future.watched:
            self.events.put(future.tell_watchers)
        if future.has_callbacks:
            self._callbacks.put(future.run_callbacks)

    @property
    def n_open(self) -> int:
        """Futures that are not done."""
        return len(self.futures) + len(self._outbox)

    def open_futures(self) -> dict[int, Future[Any]]:
        """Those futures by the ids of their tasks. A copy: it costs what is open."""
        waiting = {entry[0].task_id: entry[0] for entry in list(self._outbox)}  # first: from there they go to the table
        return {**waiting, **self.futures.copy()}

    def wait_until_empty(self) -> None:
        """Wait until every future is done, those of items that a finished chunk has given back, too."""
        while True:
            last = self._last_id
            self._wait_for(self._empty_bells.append, self._ring_if_empty)
            self._wait_for(lambda bell: self.events.put(bell.release), lambda: None)
            if self._last_id == last:
                return

    def _wait_for(self, enter: Callable[[LockType], None], look: Callable[[], None]) -> None:
        bell = allocate_lock()
        bell.acquire()
        enter(bell)
        if self._io and not self._io.over:
            self._io.order(look)
        else:
            look()
        bell.acquire()

    def _ring_if_empty(self) -> None:
        while self._empty_bells and not self.n_open:
            try:
                bell = self._empty_bells.popleft()
            except IndexError:
                break
            bell.release()

    @property
    def broken(self) -> Exception | None:
        """Why nothing can run, or None."""
        return self._broken

    def check_wait(self, future: Future[Any]) -> None:
        """Raises RuntimeError where a wait for a future could never end: in a forked child, and in our own threads."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                "this future belongs to the process that submitted it, and not to a child that was forked from it: wait"
                " there, or submit in the child to an executor of its own"
            )
        events = self.events.is_current() and not isinstance(future, Reply)  # replies need the io thread alone
        if events or (self._io and self._io.is_current()):
            raise RuntimeError("a future was waited for in __del__, in a thread on which the future itself depends")

    def in_own_thread(self) -> bool:
        """Is the caller in a thread of the client's own?"""
        return self._callbacks.is_current() or self.events.is_current() or bool(self._io and self._io.is_current())

    # ---- submitting; any thread

    def submit(
        self,
        function: Function,
        data: Data,
        *,
        priority: int = 0,
        timeout_ms: int = 0,
        segment: str | None = None,
        then: Callable[[Future[Any]], None] | None = None,
    ) -> Future[Any]:
        """Returns at once. Raises what ``fail_all`` was told.

        ``segment``: the path of what ``data`` refers to. ``then``: called with the future, in the events thread, when
        it is done.

        A handler of a signal may raise at any place here. Then the task is submitted, or it is not; and the next ones
        are not affected.
        """
        if self._broken is not None:
            raise another(self._broken)
        assert self._io
        if function.digest not in self._named:
            self._name_function(self._io, function)
        future: Future[Any] = Future(next(self._ids), self)
        self._last_id = future.task_id
        if segment:
            future.segment = segment
        if function.holds is not None:
            future.hold(function.holds)
        if then:
            future.then(then)
        entry = (future, function, data, priority, timeout_ms)
        now = time.monotonic()
        calm = now - self._last_submit > CALM_S
        self._last_submit = now
        if not (calm and self._io.asleep and self._send_here(entry)):
            self._outbox.append(entry)
            self._io.wake()
        if self._broken is not None:  # since the look above
            self._answer_all(self._broken)
        return future

    def _name_function(self, io: IoThread, function: Function) -> None:
        """Tell the interchange, which keeps the record, how a function is called: once, not with each task."""
        if len(self._named) >= MOST_NAMED:
            self._named.clear()
        self._named.add(function.digest)
        named = commands.NameFunction(function.digest.hex(), function.name)
        io.order(partial(self._send_request, 0, named))

    def _send_here(self, entry: Entry) -> bool:
        """Send a single task from the caller's thread, which saves one wake-up. False: the io thread must send it.

        Only where no other task is open, so that the order between the two sockets does not matter.
        """
        assert self._io
        future, function, data, *_ = entry
        if self.futures or self._outbox or len(data) + len(function.data) > MOST_AT_ONCE:
            return False
        tasks, parts = to_message([entry])
        message = b"".join([tasks.head(), *parts])
        try:
            self.futures[future.task_id] = future
            sent = self._io.send_beside(message)
        except BaseException:  # of a signal handler. Nobody will have this future: its result is dropped when it comes
            self.futures.pop(future.task_id, None)
            raise
        if not sent:
            self.futures.pop(future.task_id, None)
        return sent

    def failed(self, error: BaseException) -> Future[Any]:
        """A future that has failed already."""
        future: Future[Any] = Future(next(self._ids), self)
        future.fail(error)
        return future

    def cancel(self, future: Future[Any], *, kill: bool, wait: bool) -> bool:
        """See Future.cancel."""
        if self._io is None or os.getpid() != self._pid:
            return False
        self._cancels.append((future.task_id, kill))
        self._io.wake()
        if wait and not (self._io.is_current() or self.events.is_current()):  # there: in __del__, which cannot wait
            future.wait_for_cancel(kill)
        return future.cancelled()

    def cancel_soon(self, task_ids: Sequence[int] | None = None) -> None:
        """Cancel what of these, or of all, has not started, without waiting to see which."""
        if self._io is None or os.getpid() != self._pid:
            return
        if task_ids is None:
            self._io.order(self._cancel_everything)
        else:
            self._cancels.extend([(task_id, False) for task_id in task_ids])
            self._io.wake()

    def request(self, request: commands.Request) -> Reply:
        """Ask the interchange; the future fails with InterchangeLost when it is gone."""
        assert self._io
        number = next(self._request_numbers)
        reply = Reply(number, self)
        self._requests[number] = reply
        self._io.order(partial(self._send_request, number, request))
        if self._io.over or isinstance(self._broken, errors.InterchangeLost):
            self._fail_requests(self._broken or errors.InterchangeLost("the executor was shut down"))
        return reply

    def _fail_requests(self, error: BaseException) -> None:
        while self._requests:
            try:
                _, reply = self._requests.popitem()
            except KeyError:
                break
            reply.fail(another(error))

    # ---- in the io thread: out

    def _send_request(self, number: int, request: commands.Request) -> None:
        assert self._io
        data = commands.dumps(request)
        self._io.send([wire.Request(number, len(data)).head(), data])

    def pending(self) -> bool:
        """Is there something to send?"""
        return bool(self._outbox or self._cancels)

    def send_pending(self) -> None:
        """Cancellations, and then one message of the tasks that have piled up."""
        if self._cancels:
            self._send_cancels()
        if self._outbox:
            self._send_tasks()

    def _send_tasks(self) -> None:
        assert self._io
        outbox = self._outbox
        entries: list[Entry] = []
        n_bytes = 0
        while outbox and len(entries) < MOST_TASKS and n_bytes < MOST_BYTES:
            try:
                entry = outbox.popleft()
            except IndexError:  # emptied by another thread
                break
            self.futures[entry[0].task_id] = entry[0]
            entries.append(entry)
            n_bytes += len(entry[2])
        if self._broken is not None:  # whoever emptied the two may have missed these
            self._answer_all(self._broken)
        elif entries:
            tasks, parts = to_message(entries)
            self._io.send([tasks.head(), *joined(parts)])

    def _cancel_everything(self) -> None:
        self._cancels.extend([(entry[0].task_id, False) for entry in list(self._outbox)])
        self._cancels.extend([(task_id, False) for task_id in list(self.futures)])

    def _send_cancels(self) -> None:
        """All that have piled up, in one message for each kind."""
        assert self._io
        wanted: dict[int, bool] = {}
        while self._cancels:
            task_id, kill = self._cancels.popleft()
            wanted[task_id] = kill or wanted.get(task_id, False)
        self._cancel_in_outbox(wanted)
        for kill in (False, True):
            ids = [i for i, k in wanted.items() if k is kill and i in self.futures]
            for at in range(0, len(ids), wire.MAX_ITEMS):
                self._io.send([wire.Cancel(array("Q", ids[at : at + wire.MAX_ITEMS]), kill).head()])
        self._ring_if_empty()

    def _cancel_in_outbox(self, wanted: dict[int, bool]) -> None:
        kept: list[Entry] = []
        for _ in range(len(self._outbox)):  # what others append meanwhile stays behind what was there
            try:
                entry = self._outbox.popleft()
            except IndexError:  # emptied by another thread
                break
            if entry[0].task_id in wanted:
                self._answer(entry[0], None)
            else:
                kept.append(entry)
        self._outbox.extendleft(reversed(kept))
        if self._broken is not None:
            self._answer_all(self._broken)

    # ---- in the io thread: in

    def take(self, head: bytes, payload: Frames) -> None:
        """A message of the interchange has come."""
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
                        reply.fulfil(commands.read_reply(payload))
                case wire.Event():
                    event = commands.read_event(payload)
                    if isinstance(event, commands.StopAsked):
                        self.fail_all(errors.RunStopped("the run was ended by 'xse stop'"))
                    else:
                        self.events.put(partial(self._on_event, event))
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
                self._announce(future)
        self._ring_if_empty()

    def _finish(self, future: Future[Any], status: int, data: Any) -> bool:
        """True: somebody is to be told of it."""
        if status == _VALUE:  # finish_all has stored it
            return future.ring()
        if status == _RAISED:
            return future.finish(status, data)
        if status == wire.Status.CANCELLED:
            return future.drop()
        return future.fail(self._error(wire.Status(status), data))

    def _error(self, status: wire.Status, record: wire.Buffer) -> Exception:
        try:
            return self._make_error(status, wire.Failure.unpack(record))
        except wire.WireError as e:
            return errors.XseError(f"{status.name}, with a record that cannot be read ({e})")

    def lost(self, reason: str) -> None:
        """The interchange is gone (no ``reason``: its socket was closed), or cannot be understood."""
        if self._closing:
            self._fail_requests(errors.InterchangeLost("the executor was shut down"))
            return
        error = errors.InterchangeLost(reason or self._how_it_ended())
        logger.error("interchange_lost reason=%r", str(error))
        self.fail_all(error)
        self._fail_requests(error)

    def _how_it_ended(self) -> str:
        if self._process is None:
            return "the interchange could not be started"
        try:
            how = _ended(self._process.wait(1.0))
        except subprocess.TimeoutExpired:
            how = "closed its connection"
        return f"the interchange (pid {self._process.pid}) {how}{self._log_tail()}"

    def _log_tail(self) -> str:
        path = os.path.join(self._log_dir, "interchange.log")
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                lines = f.read().splitlines()[-LAST_LINES:]
        except OSError:
            return ""
        return f"; the last lines of {path}:\n" + "\n".join(lines) if lines else ""


def _kept(sock: socket.socket) -> socket.socket:
    """The same descriptor in an object that outlives this one."""
    return socket.socket(fileno=sock.detach())


def _ended(code: int) -> str:
    return f"was killed by {errors.signal_name(-code)}" if code < 0 else f"ended with exit code {code}"

"""PoolExecutor: concurrent.futures over an MPI pool. It needs no Parsl, and with no arguments nothing to be set up."""

from __future__ import annotations

import base64
import contextlib
import os
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Literal, ParamSpec, TypeVar

from xse import directories
from xse.bars.progress import how_many, with_bar
from xse.client.client import Client
from xse.client.config import interchange_config
from xse.client.future import Future, load_result
from xse.errors import BrokenPool, PayloadTooLarge, SerializationError
from xse.functions import payload, segments
from xse.functions.segments import Segments, make_directory
from xse.launch import checks, endpoints_of
from xse.launch.addresses import of_this_host
from xse.launch.checks import named_options
from xse.launch.keys import new_server_keys
from xse.launch.scratch import make_scratch, make_shared
from xse.live.status import Status, status_of
from xse.pool.block_keeper import Keeper, Plan
from xse.pool.chunked_map import ChunkedMap, chunk_task
from xse.pool.item_map import item_map
from xse.pool.lifetime import Lifetime
from xse.pool.options import Options
from xse.wire import commands

P = ParamSpec("P")
T = TypeVar("T")

SHUT = "cannot schedule new futures after shutdown"
MOST_AT_ONCE = 1_000_000  # items that map(chunksize="auto") takes from a list, before the iteration
STATUS_TIMEOUT_S = 10.0
FOREIGN = "this pool belongs to the process that made it: make one in this process"


class PoolExecutor(Executor):
    """Run functions in the workers of an MPI pool, started by mpiexec.

    ``max_workers``: worker processes in all; by default the CPUs that this process may run on, of each node.
    ``initializer(*initargs)`` runs in each worker before its first task; if it raises, the pool is broken.
    ``nodes``, ``hosts``: how many nodes of the job, or the names of hosts (a list, or the path of a host file). By
    default all nodes of the job that the script runs in; outside of a job this host alone.
    ``ranks``: MPI ranks that share the workers out evenly; by default one for each node, which is best.
    ``mpi_launcher``: ``auto`` (the mpiexec of the MPI that xse-pool was built with, else the launcher of the job),
    ``mpiexec``, ``srun``, ``flux`` and others. ``mpi_launcher_args``: words to add to its line, a text or a list.
    ``launch_cmd``: words to put before ``xse-pool ...`` in place of a launcher of ours; a shell command.
    ``address``: the address of this host at which blocks on other hosts reach it, encrypted; by default each of its
    addresses is tried. Blocks on this host come by a unix socket.
    ``run_dir``: with other hosts, a directory that all hosts of the pool see; by default ``~/.xse``.
    ``preload``: names of modules to import once for all workers. ``working_dir``: where tasks run.
    ``heartbeat_period``, ``heartbeat_threshold``: seconds. ``start_timeout``: seconds for the pool to come up; by
    default 120 and 0.1 for each rank, and without end with srun, which may stand in a queue.
    ``min_ranks``: a rank that fails is left out, and the block goes on with the others; with fewer ranks than this it
    ends. By default half of them.
    ``log_dir``: where logs go; otherwise they go with the pool.
    ``debug``: log each task.
    ``record``: where the record of this run goes (docs/guide/record.md): a file that does not exist, a directory, or
    True for the working directory. ``xse report`` and other commands read it, while the pool runs and after.
    ``summary``: when the pool ends in order, print one line on stderr: tasks, worker-hours, share busy, losses.
    ``memory_limit``: bytes, or a text like ``"2 GB"``, that each worker may have; beyond it a task meets MemoryError.
    ``cpu_affinity``: the cores of each worker: ``none``, ``block``, ``block-reverse``, ``alternating``,
    ``list:0-1:2-3``. ``available_accelerators``: of a node, a number or names, one for each worker.
    ``max_tasks_per_child``: tasks after which a worker is replaced by a new one; by default it never is.

    A future is cancelled only if its task has not started. A script that reaches its end waits for the tasks that it
    has submitted; one that ends by an error cancels them.

    Raises OptionError (a ValueError) or TypeError for a wrong option, and LaunchError when nothing can be started.
    """

    @named_options
    def __init__(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        ranks: int | None = None,
        nodes: int | None = None,
        hosts: str | Sequence[str] | None = None,
        mpi_launcher: str = "auto",
        mpi_launcher_args: str | Sequence[str] | None = None,
        launch_cmd: str | None = None,
        address: str | None = None,
        run_dir: str | None = None,
        port_range: tuple[int, int] = (54_000, 55_000),
        preload: Sequence[str] = (),
        working_dir: str | None = None,
        heartbeat_period: float = 30.0,
        heartbeat_threshold: float = 120.0,
        start_timeout: float | None = None,
        min_ranks: int | None = None,
        log_dir: str | None = None,
        debug: bool = False,
        memory_limit: int | str | None = None,
        max_tasks_per_child: int | None = None,
        record: str | os.PathLike[str] | bool | None = None,
        cpu_affinity: str = "none",
        available_accelerators: int | Sequence[str] = (),
        summary: bool = False,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        options = Options(**given)
        self.record = options.record_path or None  #: The path of the record of this run, or None.
        self._max_workers = options.n_workers  # under the name that libraries look for
        self._functions = payload.Functions()
        self._shut = False
        with contextlib.ExitStack() as undo:
            self._lifetime, self._segments = _start(options, self._endpoints, undo)
            undo.pop_all()
        self._client = self._lifetime.client
        self._keeper = self._lifetime.keeper
        # At the end of the script ``lifetime`` ends it, while threads still run.
        weakref.finalize(self, self._lifetime.abandon).atexit = False

    @staticmethod
    def _endpoints(scratch: str, hosts: Sequence[str], ports: list[int]) -> list[str]:
        """Where its pools find the interchange: ``xse doctor`` tries TCP alone."""
        return endpoints_of(scratch, hosts, ports)

    def status(self) -> Status:
        """What the pool and its workers do at this moment. Raises BrokenPool when nothing can run any more."""
        reply = self._client.request(commands.Status()).result(STATUS_TIMEOUT_S)
        assert isinstance(reply, commands.StatusReply)
        return status_of(reply, len(self._client.futures))

    def __repr__(self) -> str:
        """In one line, without asking anybody."""
        n = len(self._client.futures)
        state = f"broken: {self._client.broken}" if self._client.broken else "shut down" if self._shut else "open"
        record = f", record={self.record!r}" if self.record else ""
        return f"<xse.PoolExecutor, {state}, max_workers={self._max_workers}, {n:,} tasks under way{record}>"

    # ---- concurrent.futures

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` and return its future.

        Function and arguments are pickled now: later changes do not count. Where they cannot be pickled, or are too
        large, the future raises SerializationError or PayloadTooLarge. Raises RuntimeError after ``shutdown``, and
        BrokenPool when the pool can run nothing any more.
        """
        return self._submit(fn, args, kwargs, 0, 0)

    def _check_open(self) -> None:
        if self._lifetime.foreign:
            raise RuntimeError(FOREIGN)
        if self._shut:
            raise RuntimeError(SHUT)

    def _submit(
        self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], priority: int, timeout_ms: int
    ) -> Future[T]:
        self._check_open()
        segment = None
        try:
            try:
                function, data, segment = self._functions.task(fn, args, kwargs, self._shared_memory())
            except (SerializationError, PayloadTooLarge) as e:
                return self._client.failed(e)
            return self._client.submit(function, data, priority=priority, timeout_ms=timeout_ms, segment=segment)
        except BaseException:
            if segment:
                segments.remove(segment)
            raise

    def _shared_memory(self) -> Segments | None:
        """For what is large, if all workers are known to be on this host."""
        return self._segments if self._segments and self._keeper.all_here else None

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = 1,
        buffersize: int | None = None,
        progress: bool = False,
    ) -> Iterator[T]:
        """As ``map(fn, *iterables)``, in order. What it returns has ``close()``, which cancels what has not started.

        ``timeout``: seconds from now until the last result; then the iteration raises TimeoutError.
        ``chunksize``: items that make one task. ``"auto"``: as many as take some milliseconds, for millions of short
        ones. Items of a list or another collection are taken now, up to a million; those of an iterator are taken as
        the iteration goes on, so that it may be endless.
        ``buffersize``: tasks that may be ahead of the iteration; without it all items are taken now.
        ``progress``: show a bar on stderr, of the results that the iteration has taken (see ``xse.progress``).
        Items are taken in the caller's thread, now and in the iteration. A worker that is lost costs the items of its
        chunk. Raises TypeError or ValueError for a wrong ``chunksize`` or ``buffersize``.
        """
        results = self._map(fn, iterables, timeout, chunksize, buffersize, 0, 0)
        return with_bar(results, how_many(iterables)) if progress else results

    def _map(
        self,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int | Literal["auto"],
        buffersize: int | None,
        priority: int,
        timeout_ms: int,
    ) -> Iterator[T]:
        _check_sizes(chunksize, buffersize)
        self._check_open()
        several = len(iterables) != 1
        items: Iterator[Any] = zip(*iterables) if several or chunksize == 1 else iter(iterables[0])  # noqa: B905
        cancel = self._client.cancel_soon
        if chunksize == 1:
            submit = partial(self._submit_item, fn, priority, timeout_ms)
            return item_map(submit, cancel, self._check_open, items, timeout=timeout, buffersize=buffersize)
        return ChunkedMap(
            partial(self._write_chunk, chunk_task(fn, several)),
            partial(self._submit_chunk, priority, timeout_ms),
            cancel,
            self._check_open,
            items,
            size=None if chunksize == "auto" else chunksize,
            n_workers=self._max_workers,
            timeout=timeout,
            buffersize=buffersize,
            all_now=all(isinstance(i, Collection) and len(i) <= MOST_AT_ONCE for i in iterables),
        ).results()

    def _submit_item(self, fn: Callable[..., T], priority: int, timeout_ms: int, item: tuple[Any, ...]) -> Future[T]:
        return self._submit(fn, item, {}, priority, timeout_ms)

    def _write_chunk(self, task: Callable[..., Any], arguments: tuple[Any, ...]) -> payload.Task:
        return self._functions.task(task, arguments, {})

    def _submit_chunk(
        self,
        priority: int,
        timeout_ms: int,
        function: payload.Function,
        data: bytes | payload.Scattered,
        then: Callable[[Future[Any]], None],
    ) -> Future[Any]:
        return self._client.submit(function, data, priority=priority, timeout_ms=timeout_ms, then=then)

    def with_options(self, *, timeout: float | None = None, priority: int = 0) -> PoolWithOptions:
        """This pool, for tasks with these options: ``pool.with_options(timeout=5).submit(...)``, or ``.map(...)``.

        ``timeout``: seconds that a task may run; then its worker is killed, and it fails with TaskTimeout. With ``map``
        and ``chunksize`` they are a chunk's. ``priority``: a whole number; lower goes first. Raises OptionError.
        """
        return PoolWithOptions(self, timeout, priority)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. With ``cancel_futures`` those that have not started are cancelled. With ``wait`` return
        when all futures are done and all processes have ended; without, that happens in the background.

        In a callback it does not wait: it would wait for itself.
        """
        self._shut = True
        if cancel_futures:
            self._client.cancel_soon()
        if wait and not self._client.in_own_thread():
            self._lifetime.wait_and_end()
        else:
            self._lifetime.end_in_background()

    def terminate_workers(self) -> None:
        """End the pool and all its processes now, as Python 3.14's ``ProcessPoolExecutor`` has it.

        Tasks that have not started are cancelled; those that run raise ManagerLost. What runs gets SIGTERM, and a
        second later SIGKILL. Returns when all have ended.
        """
        self._end_workers("terminate_workers")

    def kill_workers(self) -> None:
        """As ``terminate_workers``, without the second."""
        self._keeper.kill()
        self._end_workers("kill_workers")

    def _end_workers(self, name: str) -> None:
        self._shut = True
        self._client.cancel_soon()
        self._lifetime.end(BrokenPool(f"the worker of this task was ended by the script, by {name}()"))

    @property
    def closed(self) -> bool:
        """Was it shut down, so that it takes no more tasks?"""
        return self._shut

    @property
    def broken(self) -> bool:
        """Can it run nothing any more?"""
        return self._client.broken is not None

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> Literal[False]:
        """Left by an exception, nobody will ask for the results: what is under way is cancelled, not waited for."""
        if exc_type is None:
            self.shutdown(wait=True)
        else:
            self._shut = True
            self._lifetime.end()
        return False


class PoolWithOptions(Executor):
    """See PoolExecutor.with_options. It is no pool of its own: to shut it down is to shut the pool down."""

    def __init__(self, pool: PoolExecutor, timeout: float | None, priority: int) -> None:
        self._timeout_ms = checks.milliseconds_of_timeout(timeout)
        checks.check_whole_number("priority", priority, *checks.PRIORITIES)
        self._pool = pool
        self._priority = priority

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As PoolExecutor.submit, with these options."""
        return self._pool._submit(fn, args, kwargs, self._priority, self._timeout_ms)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = 1,
        buffersize: int | None = None,
        progress: bool = False,
    ) -> Iterator[T]:
        """As PoolExecutor.map, with these options. ``timeout`` is how long to wait, as everywhere."""
        results = self._pool._map(fn, iterables, timeout, chunksize, buffersize, self._priority, self._timeout_ms)
        return with_bar(results, how_many(iterables)) if progress else results

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """The pool's."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _start(
    options: Options, endpoints: Callable[[str, Sequence[str], list[int]], list[str]], undo: contextlib.ExitStack
) -> tuple[Lifetime, Segments | None]:
    """Start what the pool needs. ``undo``: what is to be undone if that fails."""

    def made(directory: str) -> str:
        undo.callback(directories.remove, directory)
        return directory

    beyond = options.beyond
    addresses = [options.address] if options.address else of_this_host() if beyond else []
    keys = new_server_keys() if beyond else None
    scratch = made(make_scratch())
    # Pools of other hosts must see their connect file.
    shared = made(make_shared(options.run_dir)) if beyond else scratch
    # With other hosts bytes may leave the host, and all that the pool is sent is encrypted.
    in_memory = None if beyond else make_directory()
    if in_memory:
        made(in_memory)
    paths = [d for d in dict.fromkeys([scratch, shared, in_memory]) if d]
    pool_options = options.pool_options(log_dir=shared)
    plan = Plan(
        command=options.command,
        placement=options.placement,
        asked_workers=options.max_workers,
        probe=options.probe(),
        directory=shared,
        run_id=options.run_id,
        options=pool_options,
        endpoints=partial(endpoints, scratch, addresses),
        keys=keys,
        segments=in_memory,
        local=not beyond,
        start_timeout=options.start_timeout_s(),
    )
    keeper = Keeper(plan)
    client = keeper.client = Client(load=load_result, on_event=keeper.on_event)
    client.start(
        interchange_config(
            run_id=options.run_id,
            scratch=scratch,
            about={"executor": "PoolExecutor", "label": ""},
            record_path=options.record_path,
            heartbeat_period_s=options.heartbeat_period,
            heartbeat_threshold_s=options.heartbeat_threshold,
            server_key=keys.server_key if keys else "",
            server_secret=keys.server_secret if keys else "",
            addresses=addresses,
            port_range=list(options.port_range),
            setup=base64.b64encode(options.setup).decode(),
            log_dir=pool_options.log_dir,
            scratch_dirs=paths,
            debug=options.debug,
        )
    )
    keeper.start()
    return Lifetime(client, keeper, paths, summary=options.summary), Segments(in_memory) if in_memory else None


def _check_sizes(chunksize: object, buffersize: object) -> None:
    """As concurrent.futures of Python 3.14: a wrong type is a TypeError, a number below 1 a ValueError."""
    if chunksize != "auto":
        if not isinstance(chunksize, int):
            raise TypeError(f'chunksize must be a whole number or "auto", not {chunksize!r}')
        if chunksize < 1:
            raise ValueError(f"chunksize must be >= 1, not {chunksize}")
    if buffersize is not None:
        if not isinstance(buffersize, int):
            raise TypeError(f"buffersize must be an integer or None, not {buffersize!r}")
        if buffersize < 1:
            raise ValueError(f"buffersize must be None or > 0, not {buffersize}")

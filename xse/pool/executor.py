"""PoolExecutor: concurrent.futures over an MPI pool. It needs no Parsl, and with no arguments nothing to be set up."""

from __future__ import annotations

import atexit
import base64
import contextlib
import math
import os
import shutil
import sys
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Literal, TypeVar

from xse import launch
from xse.client.client import Client
from xse.client.future import Future, load_result
from xse.errors import OptionError, PayloadTooLarge, SerializationError
from xse.functions import payload
from xse.functions.segments import Segments, make_directory
from xse.launch.keys import new_server_keys
from xse.launch.options import PoolOptions, bytes_of
from xse.launch.scratch import make_scratch, make_shared
from xse.pool.block_keeper import Keeper, Plan
from xse.pool.chunked_map import ChunkedMap, chunk_task
from xse.version import VERSION
from xse.wire import commands

T = TypeVar("T")

START_TIMEOUT_S = 120.0
MOST_TIMEOUT_S = 4_000_000  # of a task: what the wire can say, 46 days
END_TIMEOUT_S = 2.0  # for blocks and interchange to end, before they are made to


class PoolExecutor(Executor):
    """Run functions in the workers of an MPI pool, started by mpiexec.

    ``max_workers``: worker processes in all; by default the CPUs that this process may run on.
    ``initializer(*initargs)`` runs in each worker before its first task; if it raises, the pool is broken.
    ``ranks``: MPI ranks that share the workers out evenly; one rank a node is best.
    ``mpi_launcher``: ``auto`` or ``mpiexec`` (the one of the MPI that xse-pool was built with), or ``srun``.
    ``launch_cmd``: words to put before ``xse-pool ...`` in place of a launcher of ours; a shell command.
    ``address``: an address of this host at which blocks on other hosts reach it, encrypted. By default there is none,
    and the pool comes by a unix socket.
    ``run_dir``: with ``address``, a directory that all hosts of the pool see; by default ``~/.xse``.
    ``preload``: names of modules to import once for all workers. ``working_dir``: where tasks run.
    ``heartbeat_period``, ``heartbeat_threshold``: seconds. ``start_timeout``: seconds for the pool to come up; by
    default 120, and without end with srun, which may stand in a queue.
    ``log_dir``: where logs go; otherwise they go with the pool.
    ``debug``: log each task.
    ``memory_limit``: bytes, or a text like ``"2 GB"``, that each worker may have; beyond it a task meets MemoryError.

    A future is cancelled only if its task has not started. A script that ends with work under way cancels it; use
    ``with``, ``shutdown()`` or the futures' results to wait for it.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        ranks: int = 1,
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
        log_dir: str | None = None,
        debug: bool = False,
        memory_limit: int | str | None = None,
    ) -> None:
        _check_number("ranks", ranks, 1, 65_536)
        max_workers = _default_workers(ranks) if max_workers is None else max_workers
        _check_number("max_workers", max_workers, 1, 1_000_000)
        if max_workers % ranks:
            raise OptionError(f"max_workers={max_workers} cannot be shared evenly by ranks={ranks}: give a multiple")
        if not (isinstance(port_range, tuple) and len(port_range) == 2 and 0 < port_range[0] < port_range[1] <= 65_536):
            raise OptionError(f"port_range={port_range!r} must be (low, high) with 0 < low < high <= 65536")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if not 0 < heartbeat_period < heartbeat_threshold:
            raise OptionError(
                f"heartbeat_period={heartbeat_period} must be above 0 and below"
                f" heartbeat_threshold={heartbeat_threshold}"
            )
        if start_timeout is not None and not start_timeout > 0:
            raise OptionError(f"start_timeout={start_timeout} must be above 0, in seconds")
        if isinstance(preload, str):
            raise OptionError(f"preload must be a sequence of module names, not the text {preload!r}")
        setup = payload.dump_setup(initializer, initargs) if initializer else b""
        pool = launch.find_pool()
        if launch_cmd is None:
            choice = launch.choose(mpi_launcher, pool)
            before = choice.words(launch.Layout(ranks_per_node=ranks), launch.launcher_args(mpi_launcher_args))
        else:
            before = launch.words(launch_cmd)
        self._functions = payload.Functions()
        self._n_workers = max_workers
        self._maps: weakref.WeakSet[ChunkedMap] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._shut = False
        self._why_shut = "cannot schedule new futures after shutdown"
        self._ended = threading.Event()
        keys = new_server_keys() if address else None
        scratch = make_scratch()
        # Blocks on other hosts must see their connect file.
        shared = make_shared(run_dir) if address else scratch
        # With an address bytes may leave the host, and all that the pool is sent is encrypted.
        in_memory = None if address else make_directory()
        self._segments = Segments(in_memory) if in_memory else None
        directories = [d for d in dict.fromkeys([scratch, shared, in_memory]) if d]
        options = PoolOptions(
            workers_per_rank=max_workers // ranks,
            ranks=ranks,
            python=sys.executable,
            libzmq=launch.find_libzmq(),
            preload=tuple(preload),
            path=launch.script_path(),
            working_dir=os.path.abspath(working_dir) if working_dir else "",
            log_dir=os.path.abspath(log_dir) if log_dir else shared,
            debug=debug,
            memory_limit=bytes_of("memory_limit", memory_limit),
        )
        run_id = uuid.uuid4().hex
        self._keeper = Keeper(
            Plan(
                command=[*before, pool.path],
                directory=shared,
                run_id=run_id,
                options=options,
                endpoints=partial(self._endpoints, scratch, address),
                keys=keys,
                segments=in_memory,
                start_timeout=START_TIMEOUT_S if start_timeout is None and mpi_launcher != "srun" else start_timeout,
            )
        )
        self._client = self._keeper.client = Client(load=load_result, on_event=self._keeper.on_event, name="xse")
        self._client.start(
            commands.Config(
                run_id=run_id,
                local_path=f"{scratch}/pools",
                xse_version=VERSION,
                python_version=".".join(map(str, sys.version_info[:3])),
                parent_pid=os.getpid(),
                addresses=[address] if address else [],
                port_range=list(port_range),
                server_key=keys.server_key if keys else "",
                server_secret=keys.server_secret if keys else "",
                heartbeat_period_ms=round(heartbeat_period * 1000),
                heartbeat_threshold_ms=round(heartbeat_threshold * 1000),
                setup=base64.b64encode(setup).decode(),
                log_dir=options.log_dir,
                scratch_dirs=directories,
                debug=debug,
            )
        )
        self._end: Callable[[], None] = partial(_end, self._client, self._keeper, directories)
        _alive.add(self)
        self._finalizer = weakref.finalize(self, _end_when_empty, self._client, self._end)
        self._finalizer.atexit = False  # _end_all does it, while threads still run

    @staticmethod
    def _endpoints(scratch: str, address: str | None, ports: list[int]) -> list[str]:
        """Where its pools find the interchange: they take the first that they can reach."""
        beyond = [launch.tcp_endpoint(address, ports[0])] if address else []
        return [f"unix://{scratch}/pools", *beyond]

    # ---- concurrent.futures

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future:
        """Schedule ``fn(*args, **kwargs)``. Function and arguments are pickled now: later changes do not count."""
        return self._submit(fn, args, kwargs, 0, 0)

    def _submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], priority: int, timeout_ms: int
    ) -> Future:
        if self._shut:
            raise RuntimeError(self._why_shut)
        segment, reference = None, None
        data: bytes | payload.Scattered
        try:
            function = self._functions.get(fn)
            bulk = payload.bulk_of((*args, *kwargs.values()) if kwargs else args)
            if bulk >= payload.LARGE and self._segments and self._keeper.all_here:
                reference = payload.reference_arguments(fn, args, kwargs, bulk, self._segments)
            if reference:
                data, segment = payload.dumps(reference), reference.path
            else:
                data = payload.dump_arguments(fn, args, kwargs, bulk)
        except (SerializationError, PayloadTooLarge) as e:
            return self._client.failed(e)
        return self._client.submit(function, data, priority=priority, timeout_ms=timeout_ms, segment=segment)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As ``map(fn, *iterables)``, in order.

        ``chunksize`` items make one task; ``"auto"``: as many as take some milliseconds, for millions of short ones.
        With chunks or a ``buffersize`` the items are taken in the background, when there is room for them, and at most
        ``buffersize`` of them ahead of the iteration. A worker that is lost costs the items of its chunk.
        """
        if _is_plain(chunksize, buffersize):
            return super().map(fn, *iterables, timeout=timeout)
        return self._map_chunks(fn, iterables, timeout, chunksize, buffersize, 0, 0)

    def _map_chunks(
        self,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int | Literal["auto"],
        buffersize: int | None,
        priority: int,
        timeout_ms: int,
    ) -> Iterator[T]:
        if self._shut:
            raise RuntimeError(self._why_shut)
        several = len(iterables) != 1
        task = self._functions.write(chunk_task(fn, several))
        chunks = ChunkedMap(
            self,
            partial(self._client.submit, task, priority=priority, timeout_ms=timeout_ms),
            self._client.cancel_soon,
            fn,
            zip(*iterables) if several else iter(iterables[0]),  # noqa: B905, map stops at the shortest
            size=None if chunksize == "auto" else chunksize,
            n_workers=self._n_workers,
            timeout=timeout,
            buffersize=buffersize,
        )
        self._maps.add(chunks)
        return chunks.start()

    def with_options(self, *, timeout: float | None = None, priority: int = 0) -> PoolWithOptions:
        """This pool, for tasks with these options: ``pool.with_options(timeout=5).submit(...)``, or ``.map(...)``.

        ``timeout``: seconds that a task may run; then its worker is killed, and it fails with TaskTimeout. With ``map``
        and ``chunksize`` they are a chunk's. ``priority``: a whole number; lower goes first. Raises OptionError.
        """
        return PoolWithOptions(self, timeout, priority)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks. With ``cancel_futures`` those that have not started are cancelled. With ``wait`` return
        when all futures are done and all processes have ended; without, that happens in the background."""
        with self._lock:
            first = not self._shut
            self._shut = True
        for chunks in list(self._maps):
            if cancel_futures:
                chunks.stop()
            elif chunks.bounded:  # it may wait for an iteration that will not come
                chunks.stop(RuntimeError(self._why_shut))
        if cancel_futures:
            self._client.cancel_soon()
        if not first:
            if wait:
                self._ended.wait()
        elif wait:
            self._wait_and_close()
        else:
            threading.Thread(target=self._wait_and_close, name="xse-shutdown", daemon=True).start()

    def _wait_and_close(self) -> None:
        try:
            for chunks in list(self._maps):
                chunks.join()
            self._client.wait_until_empty()
        finally:
            self._close()

    def _close(self) -> None:
        """End everything now; futures that are not done are cancelled."""
        with self._lock:
            self._shut = True
        for chunks in list(self._maps):
            chunks.stop()
        _alive.discard(self)
        self._finalizer.detach()
        self._end()
        self._ended.set()

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> Literal[False]:
        """Left by an exception, nobody will ask for the results: what is under way is cancelled, not waited for."""
        if exc_type is None:
            self.shutdown(wait=True)
        else:
            self._close()
        return False


class PoolWithOptions(Executor):
    """See PoolExecutor.with_options. It is no pool of its own: to shut it down is to shut the pool down."""

    def __init__(self, pool: PoolExecutor, timeout: float | None, priority: int) -> None:
        if timeout is not None and (not isinstance(timeout, int | float) or not 0 < timeout <= MOST_TIMEOUT_S):
            raise OptionError(f"timeout={timeout!r} must be a number of seconds above 0, at most {MOST_TIMEOUT_S}")
        _check_number("priority", priority, -(2**31), 2**31 - 1)
        self._pool = pool
        self._timeout_ms = math.ceil((timeout or 0) * 1000)
        self._priority = priority

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future:
        """As PoolExecutor.submit, with these options."""
        return self._pool._submit(fn, args, kwargs, self._priority, self._timeout_ms)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """As PoolExecutor.map, with these options. ``timeout`` is how long to wait, as everywhere."""
        if _is_plain(chunksize, buffersize):
            return super().map(fn, *iterables, timeout=timeout)
        return self._pool._map_chunks(fn, iterables, timeout, chunksize, buffersize, self._priority, self._timeout_ms)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """The pool's."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


_alive: weakref.WeakSet[PoolExecutor] = weakref.WeakSet()


def _end(client: Client, keeper: Keeper, directories: Sequence[str]) -> None:
    """Nothing of the pool is left after this. Holds no reference to the executor: it may be what collects it."""
    keeper.launch_no_more()
    client.close(END_TIMEOUT_S)
    keeper.end(END_TIMEOUT_S)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _end_when_empty(client: Client, end: Callable[[], None]) -> None:
    """Nobody holds the executor any more, but somebody may hold its futures: they get their answers first."""

    def wait() -> None:
        client.wait_until_empty()
        end()

    threading.Thread(target=wait, name="xse-shutdown", daemon=True).start()


@atexit.register
def _end_all() -> None:
    for executor in list(_alive):
        n = len(executor._client.futures)
        if n and not executor._client.broken:
            print(
                f"xse: the script ends with {n} tasks under way, now cancelled; 'with' or shutdown() waits for them",
                file=sys.stderr,
            )
        with contextlib.suppress(Exception):  # one that cannot be ended must not keep the others
            executor._close()


def _nothing() -> None:
    pass


def _forget_all() -> None:
    """In a forked child: these pools are the parent's."""
    for executor in list(_alive):
        executor._why_shut = "this pool belongs to the process that made it: make one in this process"
        executor._shut = True
        executor._ended.set()
        executor._finalizer.detach()
        executor._end = _nothing
    _alive.clear()


os.register_at_fork(after_in_child=_forget_all)


def _is_plain(chunksize: int | Literal["auto"], buffersize: int | None) -> bool:
    """A task for each item, all of them at once: as concurrent.futures does it. Raises ValueError."""
    if chunksize != "auto" and (not isinstance(chunksize, int) or chunksize < 1):
        raise ValueError(f'chunksize must be >= 1 or "auto", not {chunksize!r}')
    if buffersize is not None and (not isinstance(buffersize, int) or buffersize < 1):
        raise ValueError(f"buffersize must be >= 1 or None, not {buffersize!r}")
    return chunksize == 1 and buffersize is None


def _default_workers(ranks: int) -> int:
    n = len(os.sched_getaffinity(0))
    return max(ranks, n - n % ranks)


def _check_number(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if not least <= value <= most:
        raise OptionError(f"{name}={value} is out of range: {least} to {most}")

"""The Python side of xse-pool: what runs in the zygote and in each worker (csrc/worker/embed/embedded.h).

Importing this starts nothing. A rank starts Python with ``main``, which prepares what workers share and enters C for
good. C calls the functions named ``xse_...``, with the GIL taken; each returns 1, so that the 0 which cffi gives when
it could not call Python at all means failure.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

from xse.functions import payload, script
from xse.functions.segments import VARIABLE
from xse.wire.messages import Status
from xse.worker import environment, signals
from xse.worker import place as place_on_node

_ffi: Any = None
_slots: dict[int, payload.Call] = {}
_kept: tuple[object, ...] = ()  # what the last answer points into
_home = -1  # descriptor of the directory in which tasks start
_affinity = "none"
_accelerators: list[str] = []
_thread_variables: tuple[str, ...] = ()  # that the user has not set


def main() -> None:
    """Be the zygote of the rank that started this process with the arguments that zygote_become_python (in C) lists."""
    global _ffi
    module, rank, memory_limit, preload, path, working_dir, affinity, accelerators, before, variables, _ = sys.argv[1:]
    sys.argv[:] = ["xse-pool"]
    signals.outlive_the_pool()
    loader = ExtensionFileLoader("_zygote", module)
    spec = spec_from_loader("_zygote", loader)
    assert spec is not None
    zygote: Any = module_from_spec(spec)
    loader.exec_module(zygote)
    _ffi = zygote.ffi
    for function in (xse_begin, xse_setup, xse_define, xse_run, xse_end):
        _ffi.def_extern(error=0)(function)
    error = ""
    try:
        environment.restore(os.environ, before, [name for name in variables.split(",") if name])
        _prepare(preload, path, working_dir, affinity, accelerators)
    except Exception as e:
        error = str(e)
    version = ".".join(map(str, sys.version_info[:3]))
    zygote.lib.xse_zygote(int(rank), int(memory_limit), version.encode(), error.encode(errors="replace"))


def _text(p: Any) -> str:
    return _ffi.string(p).decode(errors="replace")  # type: ignore[no-any-return]


def _prepare(preload: str, path: str, working_dir: str, affinity: str, accelerators: str) -> None:
    """sys.path, the working directory, and the imports that workers share."""
    global _affinity, _accelerators, _thread_variables
    signals.watch()
    _import("multiprocessing.process")  # for the names of workers, once for all of them
    script.search(tuple(unquoted(entry) for entry in path.split(":") if entry))
    _enter(working_dir)
    _affinity = affinity
    _accelerators = [name for name in accelerators.split(";") if name]
    # How many workers share the cores is not known yet; a library that is preloaded reads the variables now.
    _thread_variables = place_on_node.not_set(os.environ)
    place_on_node.limit_threads(_thread_variables, 1)
    for name in (n for n in preload.split(",") if n):
        _import(name)


def unquoted(entry: str) -> str:
    """An entry of ``--path``: its %XX are bytes."""
    first, *rest = entry.split("%")
    found = os.fsencode(first)
    for part in rest:
        found += bytes.fromhex(part[:2]) + os.fsencode(part[2:])
    return os.fsdecode(found)


def _enter(directory: str) -> None:
    global _home
    if directory:
        try:
            os.makedirs(directory, exist_ok=True)
            os.chdir(directory)
        except OSError as e:
            raise RuntimeError(f"cannot work in {directory} (working_dir): {e.strerror}") from e
    _home = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as e:
        lines = traceback.format_exception_only(type(e), e)
        raise RuntimeError(f"cannot import {name!r}, which is to be preloaded: {''.join(lines).strip()}") from e


def _hold_signals() -> None:
    """Before a task forks: what is sent to the child at once must not find the worker's handlers in it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)


def _let_signals_go() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ENDING)


def _end_by_signals_again() -> None:
    """In the child: a worker does not end by the signals that end its pool, but its children do."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _let_signals_go()


def xse_begin(place: Any) -> int:
    """In a worker, first: who it is; and no two workers may draw the same random numbers."""
    os.environ["PARSL_WORKER_RANK"] = str(place.node_index)
    os.environ["PARSL_WORKER_COUNT"] = str(place.n_in_node)
    os.environ["PARSL_WORKER_POOL_ID"] = _text(place.pool_id)
    os.environ["PARSL_WORKER_BLOCK_ID"] = _text(place.block_id)
    # What logging calls processName, and libraries tell processes apart by.
    block = _text(place.block_id)
    sys.modules["multiprocessing.process"].current_process().name = f"XseWorker-{block}-{place.rank}-{place.worker}"
    try:
        place_on_node.choose_accelerator(_accelerators, place.node_index)
        place_on_node.bind(_affinity, place.core_index, place.n_on_cores)
        sharing = place.n_on_cores if _affinity == "none" else 1
        place_on_node.limit_threads(_thread_variables, place_on_node.threads_of_a_worker(sharing))
    except (ValueError, OSError) as e:
        print(f"xse-pool: {e}", file=sys.stderr)
        return 0
    directory = os.environ.pop(VARIABLE, None)  # not for the children of tasks
    if directory and os.path.isdir(directory):
        payload.use_segments(directory)
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_go, after_in_child=_end_by_signals_again)
    for stream in (sys.stdout, sys.stderr):  # a line is one write, so that lines of several workers do not mix
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, write_through=False)
    if "numpy.random" in sys.modules:  # Python's own generator reseeds itself in a fork, numpy's does not
        sys.modules["numpy.random"].seed()
    signals.settle()
    return 1


def _answer(answer: Any, status: int, data: bytes, reason: bytes = b"") -> None:
    global _kept
    p, q = _ffi.from_buffer(data), _ffi.from_buffer(reason)
    _kept = (data, reason, p, q)
    answer.status = status
    answer.data = p
    answer.n = len(data)
    answer.reason = q
    answer.n_reason = len(reason)


def xse_setup(number: int, p: Any, n: int, answer: Any) -> int:
    """Run the setup, PoolExecutor's initializer, before the first task."""
    try:
        codec = payload.codec(number)
        codec.load_setup(bytes(_ffi.buffer(p, n)))()
    except SystemExit as e:
        _leave(e)
    except BaseException as e:
        said = "".join(traceback.format_exception_only(type(e), e)).strip()
        reason = f"the initializer raised {said}".encode(errors="replace")[:60_000]
        _answer(answer, Status.RAISED, payload.codec(number).dump_exception(e), reason)
        return 1
    signals.settle()
    _answer(answer, Status.VALUE, b"")
    return 1


def xse_define(slot: int, number: int, p: Any, n: int) -> int:
    """From now on this slot is this function. It is unpickled when first called, so that its task bears the error."""
    data = bytes(_ffi.buffer(p, n))
    try:
        _slots[slot] = payload.codec(number).load_function(data)
    except Exception as e:
        raised = payload.dump_exception(e)
        _slots[slot] = lambda _: (Status.RAISED, raised)
    return 1


def xse_run(slot: int, p: Any, n: int, answer: Any) -> int:
    """Run one task."""
    try:
        status, data = _slots[slot](_ffi.buffer(p, n))
    except SystemExit as e:
        _leave(e)
    global _kept
    pointer = _ffi.from_buffer(data)
    _kept = (data, pointer)
    answer.status = status
    answer.data = pointer
    answer.n = len(data)
    _tidy()
    return 1


def _tidy() -> None:
    """What a task printed leaves with it, and the next one starts where it should, with signals as they should be."""
    try:  # no contextlib.suppress: it costs as much as all of this together
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, ValueError, OSError):  # a task may have replaced or closed them
        pass
    os.fchdir(_home)
    if signals.handlers or signals.timers:
        signals.restore()


def _leave(request: SystemExit) -> None:
    """A task called sys.exit: the worker ends with that code, as a script would."""
    code = request.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    xse_end()
    os._exit((code or 0) & 0xFF)


def xse_end() -> int:
    """In a worker, last: what modules have registered to run at exit."""
    import atexit

    atexit._run_exitfuncs()
    _tidy()
    return 1

"""A worker's place on its node: cores, threads and accelerators. The strategies are those of HighThroughputExecutor."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

STRATEGIES = ("none", "block", "block-reverse", "alternating")


def cores_of(strategy: str, available: Sequence[int], index: int, n: int) -> list[int]:
    """The cores of worker ``index`` of ``n`` that share ``available``. Raises ValueError."""
    if strategy.startswith("list:"):
        return _listed(strategy, index, n)
    each = len(available) // n
    if each == 0:
        raise ValueError(f"cpu_affinity={strategy!r}: {n} workers cannot have a core each of {len(available)}")
    match strategy:
        case "block":
            return list(available[each * index : each * (index + 1)])
        case "block-reverse":
            return list(available[each * (n - 1 - index) : each * (n - index)])
        case "alternating":
            return list(available[index::n])
    raise ValueError(f"cpu_affinity={strategy!r} is none of {', '.join(STRATEGIES)}, list:0-1:2-3")


def check(strategy: str) -> None:
    """Raises ValueError for a text that is no strategy."""
    if strategy.startswith("list:"):
        parse_list(strategy)
    elif strategy not in STRATEGIES:
        raise ValueError(f"cpu_affinity={strategy!r} is none of {', '.join(STRATEGIES)}, list:0-1:2-3")


def parse_list(strategy: str) -> list[list[int]]:
    """``list:0,1:2-3`` as [[0, 1], [2, 3]]: cores of the first worker, of the second. Raises ValueError."""
    return [_cores(entry, strategy) for entry in strategy.split(":")[1:]]


def _listed(strategy: str, index: int, n: int) -> list[int]:
    entries = parse_list(strategy)
    if len(entries) != n:
        raise ValueError(f"cpu_affinity={strategy!r} lists cores for {len(entries)} workers, and there are {n}")
    return entries[index]


def _cores(entry: str, strategy: str) -> list[int]:
    cores: list[int] = []
    try:
        for part in entry.split(","):
            first, dash, last = part.partition("-")
            cores += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        raise ValueError(f"cpu_affinity={strategy!r}: {entry!r} is no list of cores like 0,2-3") from None
    return cores


def bind(strategy: str, index: int, n: int) -> None:
    """Bind this process to the cores of worker ``index`` of ``n``, and tell OpenMP of them.

    GCC's OpenMP reads GOMP_CPU_AFFINITY, Intel's and LLVM's read KMP_AFFINITY. Raises ValueError.
    """
    if strategy == "none":
        return
    cores = cores_of(strategy, sorted(os.sched_getaffinity(0)), index, n)
    listed = ",".join(map(str, cores))
    os.environ["GOMP_CPU_AFFINITY"] = listed
    os.environ["KMP_AFFINITY"] = f"explicit,proclist=[{listed}]"
    os.sched_setaffinity(0, cores)


#: The variable by which programs of each vendor's GPUs learn which of them they may use.
MASKS = {"nvidia": "CUDA_VISIBLE_DEVICES", "amd": "ROCR_VISIBLE_DEVICES", "intel": "ZE_AFFINITY_MASK"}

#: HIP applies each of its masks to what the others left, so that with two of them most workers would see no GPU.
ALL_MASKS = (*MASKS.values(), "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")

#: What the driver of each vendor makes.
_DRIVERS = {"nvidia": "/dev/nvidiactl", "amd": "/dev/kfd", "intel": "/sys/module/i915/parameters"}


def mask_of(names: Sequence[str], environment: Mapping[str, str], root: str = "/") -> str:
    """The variable that shows a process its accelerator.

    Names like ``0.1`` are tiles of Intel's. Otherwise it is the mask that the scheduler has set, else that of the
    vendor whose driver is on this host, else CUDA_VISIBLE_DEVICES, which HIP obeys, too. ``root``: where the host's
    files lie.
    """
    if any(re.fullmatch(r"\d+\.\d+", part) for name in names for part in name.split(",")):
        return MASKS["intel"]
    masks = [mask for mask in MASKS.values() if environment.get(mask)]
    if len(masks) == 1:
        return masks[0]
    for vendor, path in _DRIVERS.items():
        if os.path.exists(os.path.join(root, path.lstrip("/"))):
            return MASKS[vendor]
    return MASKS["nvidia"]


def choose_accelerator(names: Sequence[str], index: int) -> None:
    """Show this process its accelerator, by the one variable of its vendor.

    ``names``: one for each worker, in their order; a name may list several, like ``0,1``. With more workers than names
    they are shared.
    """
    if not names:
        return
    mask = mask_of(names, os.environ)
    for other in ALL_MASKS:
        os.environ.pop(other, None)
    os.environ[mask] = names[index % len(names)]
    if mask == MASKS["intel"]:
        os.environ["ZE_ENABLE_PCI_ID_DEVICE_ORDER"] = "1"


#: How many threads the libraries that compute in threads of their own may start.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def limit_threads(variables: Iterable[str], n: int) -> None:
    """Let the libraries of these variables start at most ``n`` threads, those that are loaded already, too."""
    variables = list(variables)
    for name in variables:
        os.environ[name] = str(n)
    loaded = sys.modules
    if "OMP_NUM_THREADS" in variables:
        if "torch" in loaded:
            loaded["torch"].set_num_threads(n)
        if "threadpoolctl" in loaded:
            loaded["threadpoolctl"].threadpool_limits(n)
    if "NUMEXPR_NUM_THREADS" in variables and "numexpr" in loaded:
        loaded["numexpr"].set_num_threads(n)


def threads_of_a_worker(n_workers: int) -> int:
    """For each of ``n_workers`` that may run on the cores of this process: together no more than there are cores."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, n_workers))


def not_set(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Of the variables that count threads, those that the user has left to us."""
    return tuple(name for name in THREADS if not environment.get(name))

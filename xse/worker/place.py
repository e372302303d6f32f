"""A worker's place on its node: cores and accelerators. The strategies are those of Parsl's HighThroughputExecutor."""

from __future__ import annotations

import os
from collections.abc import Sequence

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
    """Bind this process to its cores, and tell OpenMP of it (GOMP_CPU_AFFINITY: GCC; KMP_AFFINITY: Intel, LLVM)."""
    if strategy == "none":
        return
    cores = cores_of(strategy, sorted(os.sched_getaffinity(0)), index, n)
    listed = ",".join(map(str, cores))
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
    os.environ["GOMP_CPU_AFFINITY"] = listed
    os.environ["KMP_AFFINITY"] = f"explicit,proclist=[{listed}]"
    os.sched_setaffinity(0, cores)


def choose_accelerator(names: Sequence[str], index: int) -> None:
    """Show this process its accelerator, by the variables of CUDA, ROCm and Level Zero (a name may list several)."""
    if not names:
        return
    name = names[index % len(names)]
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    os.environ["ROCR_VISIBLE_DEVICES"] = name
    os.environ["ZE_AFFINITY_MASK"] = name
    os.environ["ZE_ENABLE_PCI_ID_DEVICE_ORDER"] = "1"

"""The options of xse-pool, once: what they are, and how a connect file says them. csrc/options.c is held to this."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from xse.errors import OptionError

_UNITS = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


def _option(flag: str, default: Any) -> Any:
    return field(default=default, metadata={"flag": flag})


#: Of the options that are lists: what stands between their entries.
_JOINTS = {"preload": ",", "launcher_variables": ",", "path": ":", "accelerators": ";", "python_flags": " "}


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """What a pool is started with. What has its default is not said."""

    connect: str = _option("--connect", "")
    block: str = _option("--block", "")
    workers_per_rank: int = _option("--workers-per-rank", 0)  # 0: what fits, by the next five
    cores_per_worker: float = _option("--cores-per-worker", 1.0)
    mem_per_worker: float = _option("--mem-per-worker", 0.0)  # GB (2**30 bytes); 0: not counted
    max_workers_per_node: int = _option("--max-workers-per-node", 0)  # 0: no limit
    accelerators: tuple[str, ...] = _option("--accelerators", ())  # of a node, one for each worker
    affinity: str = _option("--affinity", "none")
    environment: str = _option("--environment", "")  # file: see environment.py
    launcher_variables: tuple[str, ...] = _option("--launcher-variables", ())
    ranks: int = _option("--ranks", 0)  # that were asked for; 0: not known
    runner: str = _option("--runner", "fork")
    prefetch: int = _option("--prefetch", -1)  # tasks beyond the workers of a rank; -1: as measured
    python: str = _option("--python", "")
    python_flags: tuple[str, ...] = _option("--python-flags", ())
    libzmq: str = _option("--libzmq", "")  # "": the pool looks for pyzmq's by itself
    preload: tuple[str, ...] = _option("--preload", ())
    path: tuple[str, ...] = _option("--path", ())  # for sys.path
    working_dir: str = _option("--working-dir", "")
    log_dir: str = _option("--log-dir", "")
    probe_timeout: int = _option("--probe-timeout", 30)  # seconds
    start_timeout: int = _option("--start-timeout", 0)  # seconds; 0: start_timeout_of(ranks)
    min_ranks: int = _option("--min-ranks", 0)  # with fewer the block ends; 0: half of them
    drain_after: int = _option("--drain-after", 0)  # seconds; 0: never
    max_tasks_per_worker: int = _option("--max-tasks-per-worker", 0)  # then it is replaced; 0: no limit
    memory_limit: int = _option("--memory-limit", 0)  # bytes that a worker may have; 0: no limit
    grace_ms: int = _option("--grace", 1000)
    debug: bool = _option("--debug", False)

    def pairs(self) -> list[tuple[str, str]]:
        """Flags and values, for a connect file; a flag without a value has ""."""
        pairs: list[tuple[str, str]] = []
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                if f.name == "path":
                    value = [quoted(entry) for entry in value]
                if f.name == "python_flags":
                    value = [flag.replace("%", "%25").replace(" ", "%20") for flag in value]
                joint = _JOINTS.get(f.name)
                text = "" if value is True else joint.join(value) if joint else str(value)
                pairs.append((f.metadata["flag"], text))
        return pairs


def start_timeout_of(ranks: int) -> float:
    """Seconds for a block of so many ranks to come up: they read Python from one file system."""
    return 120.0 + 0.1 * ranks


def quoted(path: str) -> str:
    """An entry of ``--path``: bytes that are not plain, and ``:`` and ``%``, as %XX."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b":%" else f"%{b:02X}" for b in os.fsencode(path))


def accelerators_of(value: int | Sequence[str]) -> list[str]:
    """available_accelerators= as names: of a number, 0, 1 and so on. Raises OptionError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return [str(i) for i in range(value)]
    if isinstance(value, (str, int)) or not all(isinstance(name, str) and name and ";" not in name for name in value):
        raise OptionError(
            f"available_accelerators={value!r} must be a number, or a list of names like ['0', '1'] or ['0.0', '0.1']"
        )
    return list(value)


def bytes_of(name: str, value: int | str | None) -> int:
    """Of 2147483648, of "2 GB" (units of 2**10, as mem_per_worker has them), of None: 0. Raises OptionError."""
    if value is None:
        return 0
    found = re.fullmatch(r"([0-9.]+) *([KMGT]?B|)", str(value).strip(), re.IGNORECASE)
    try:
        n = int(float(found[1]) * _UNITS[found[2].upper()]) if found and not isinstance(value, bool) else 0
    except ValueError:  # 1.2.3
        n = 0
    if not 0 < n < 2**63:
        raise OptionError(f"{name}={value!r} is no number of bytes above 0, and no text like '2 GB' or '500 MB'")
    return n

"""What Parsl's MonitoringHub is told about the nodes of a block."""

from __future__ import annotations

import datetime
from typing import Any

from xse.wire.commands import BlockUp


def node_records(block: BlockUp, *, run_id: str, active: bool) -> list[dict[str, Any]]:
    """A row of the ``node`` table for each node, with what parsl/monitoring/db_manager.py asks of it."""
    now = datetime.datetime.now()
    return [
        {
            "run_id": run_id,
            "hostname": host,
            "uid": f"{block.pool_id}:{host}",
            "block_id": block.block_id,
            "cpu_count": max(c for h, c in zip(block.hosts, block.n_cores, strict=True) if h == host),
            "total_memory": max(m for h, m in zip(block.hosts, block.memory, strict=True) if h == host),
            "active": active,
            "worker_count": sum(n for h, n in zip(block.hosts, block.n_workers, strict=True) if h == host),
            "python_v": block.python_version,
            "timestamp": now,
            "last_heartbeat": now,
        }
        for host in dict.fromkeys(block.hosts)
    ]

"""What Parsl's MonitoringHub is told about the nodes of a block."""

from __future__ import annotations

import datetime
from typing import Any

from xse.wire.commands import BlockUp


def node_records(block: BlockUp, *, run_id: str, active: bool) -> list[dict[str, Any]]:
    """A row of the ``node`` table for each node, with what parsl/monitoring/db_manager.py asks of it. Costs what the
    number of ranks costs, whatever the number of nodes."""
    now = datetime.datetime.now()
    records: dict[str, dict[str, Any]] = {}
    for host, n_cores, memory, n_workers in zip(block.hosts, block.n_cores, block.memory, block.n_workers, strict=True):
        record = records.get(host)
        if record is None:
            record = records[host] = {
                "run_id": run_id,
                "hostname": host,
                "uid": f"{block.pool_id}:{host}",
                "block_id": block.block_id,
                "cpu_count": 0,
                "total_memory": 0,
                "active": active,
                "worker_count": 0,
                "python_v": block.python_version,
                "timestamp": now,
                "last_heartbeat": now,
            }
        record["cpu_count"] = max(record["cpu_count"], n_cores)
        record["total_memory"] = max(record["total_memory"], memory)
        record["worker_count"] += n_workers
    return list(records.values())

"""The configuration of an interchange, for both executors."""

from __future__ import annotations

import os
import sys
from typing import Any

from xse.version import VERSION
from xse.wire import commands
from xse.wire.endpoints import local_path


def interchange_config(
    *,
    run_id: str,
    scratch: str,
    heartbeat_period_s: float,
    heartbeat_threshold_s: float,
    server_key: str = "",
    server_secret: str = "",
    about: dict[str, Any],
    **settings: Any,
) -> commands.Config:
    """What is the same for each executor, and ``settings``: further fields of ``commands.Config``.

    ``about``: what the record of the run says of its executor. ``scratch``: a directory of this host, in which pools of
    this host find the interchange. It ends with this process.
    """
    return commands.Config(
        run_id=run_id,
        local_path=local_path(scratch),
        xse_version=VERSION,
        python_version=".".join(map(str, sys.version_info[:3])),
        parent_pid=os.getpid(),
        server_key=server_key,
        server_secret=server_secret,
        heartbeat_period_ms=round(heartbeat_period_s * 1000),
        heartbeat_threshold_ms=round(heartbeat_threshold_s * 1000),
        control_path=f"{scratch}/control",
        run_info={**about, "script": sys.argv[0], "directory": os.getcwd()},
        **settings,
    )

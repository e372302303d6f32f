"""The client of an interchange, as far as no pool is needed."""

from __future__ import annotations

import socket
from pathlib import Path

from xse.client.client import Client
from xse.client.config import interchange_config
from xse.client.future import load_result
from xse.wire.endpoints import local_path


def test_a_block_of_this_host_can_connect_before_the_interchange_runs(tmp_path: Path) -> None:
    config = interchange_config(
        run_id="r", scratch=str(tmp_path), heartbeat_period_s=30, heartbeat_threshold_s=120, about={}, addresses=[]
    )
    client = Client(load=load_result, on_event=lambda event: None)
    client.start(config, ["cat"])  # in place of an interchange, and one that never listens
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as block:
            block.connect(local_path(str(tmp_path)))
    finally:
        client.close(0.1)

"""An executor whose blocks are started by hand and come by TCP, encrypted, as from another host."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import zmq

from tests.support.waiting import eventually
from tests.unit import sample
from xse import ExtremeScaleExecutor, launch


class ByHand:
    """Its files are in ``directory``. With ``managed=True`` nothing starts pools either: there is no DataFlowKernel."""

    def __init__(self, directory: Path, **arguments: Any) -> None:
        self.executor = ExtremeScaleExecutor(
            **{"managed": False, "address": "127.0.0.1", "workers_per_rank": 2, **arguments}
        )
        self.executor.run_dir = str(directory)
        self.executor.start()
        self.directory = directory / "ExtremeScaleExecutor"
        self.log = self.directory / "interchange.log"
        self.port = self.executor._ports[0]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.pools: list[subprocess.Popen[bytes]] = []

    def connect_file(self, block: str | None = None) -> Path:
        """Of this block, with a key of its own; of blocks started by hand, without one."""
        name = "pool.connect" if block is None else f"block-{block}.connect"
        path = self.directory / "blocks" / name
        if not path.exists():
            self.executor._write_connect_file(block)
        return path

    def fields(self, block: str | None = None) -> dict[str, str]:
        """The connect file's lines, but for options."""
        lines = self.connect_file(block).read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines if not line.startswith("option"))

    def start_pool(self, block: str | None = None, endpoint: str | None = None) -> subprocess.Popen[bytes]:
        """Returns when its workers are connected. ``endpoint``: where it is to go instead."""
        before = self.executor.connected_workers
        process = self.spawn_pool(block, endpoint)
        eventually(lambda: self.executor.connected_workers == before + 2, "the pool is connected", 60)
        return process

    def spawn_pool(
        self, block: str | None = None, endpoint: str | None = None, **popen: Any
    ) -> subprocess.Popen[bytes]:
        original = self.connect_file(block)
        lines = [line for line in original.read_text().splitlines() if not line.startswith("endpoint")]
        mine = original.with_name(f"{len(self.pools)}-{original.name}")
        mine.touch(mode=0o600)
        mine.write_text("\n".join([*lines, f"endpoint {endpoint or self.endpoint}"]) + "\n")
        pool = launch.find_pool()
        command = [*launch.launcher("auto", pool, launch.Layout()), pool.path, "--connect", str(mine)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **popen)
        self.pools.append(process)
        return process

    def works(self) -> bool:
        return self.executor.submit(sample.double, {}, 21).result(timeout=20) == 42

    def lines(self, *words: str) -> list[str]:
        """Of the interchange's log, those that have all these words."""
        text = self.log.read_text().splitlines()
        return [line for line in text if all(word in line for word in words)]

    def friend(self, context: zmq.Context[Any], block: str | None = None, identity: bytes | None = None) -> Any:
        """Somebody with the right keys: one of our own user's programs, gone mad."""
        sock = context.socket(zmq.DEALER)
        sock.linger = 0
        if identity is not None:
            sock.identity = identity
        fields = self.fields(block)
        sock.curve_publickey = fields["public_key"].encode()
        sock.curve_secretkey = fields["secret_key"].encode()
        sock.curve_serverkey = fields["server_key"].encode()
        sock.connect(self.endpoint)
        return sock

    def end(self) -> list[int]:
        """Exit codes of the pools."""
        self.executor.shutdown()
        return [pool.wait(20) for pool in self.pools]

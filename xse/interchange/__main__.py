"""``python -m xse.interchange``: started by the executor with a socket as stdin. The first message configures it."""

from __future__ import annotations

import base64
import logging
import os
import resource
import select
import shutil
import signal
import socket
import sys
from pathlib import Path

from xse.interchange.log import BoundedLog, report
from xse.interchange.loop import Interchange
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames
from xse.wire.stream import Stream


def _log(config: commands.Config) -> None:
    level = logging.DEBUG if config.debug else logging.INFO
    path = os.path.join(config.log_dir, "interchange.log")
    handler: logging.Handler = logging.StreamHandler()
    try:
        if config.log_config:
            _log_as_parsl_says(config, level)
            return
        if config.log_dir:
            os.makedirs(config.log_dir, exist_ok=True)
            handler = BoundedLog(path)
        else:
            level = logging.WARNING
    except OSError as e:  # work without a log
        report(path, e)
        level = logging.WARNING
    form = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
    handler.setFormatter(logging.Formatter(form, "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=level)


def _log_as_parsl_says(config: commands.Config, level: int) -> None:
    from xse.functions import payload  # the executor's own pickle; nothing that a block sends is unpickled here

    ours = logging.getLogger("xse")
    ours.parent = logging.getLogger("parsl")  # where a LogConfig listens
    ours.setLevel(level)
    log_config = payload.loads(base64.b64decode(config.log_config))
    log_config.initialize_logging(log_dir=Path(config.log_dir), log_name="interchange")


def _allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one. Each block is a descriptor; the usual soft limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _first_messages(client: Stream) -> list[tuple[bytes, Frames]]:
    """Wait for the first message. Returns it with those that arrived together with it. Raises ValueError at the end."""
    while not client.ended:
        select.select([client], [], [])
        messages = client.receive()
        if messages:
            return messages
    raise ValueError("it closed the connection")


def _config(head: bytes, payload: Frames) -> commands.Config:
    """Read the configuration. Raises ValueError if the message is anything else."""
    wire.decode(head, payload.length)
    return commands.loads(bytes(payload.one(0, payload.length)), commands.Config)


def main() -> int:
    """Returns the exit code."""
    try:
        client = Stream(socket.socket(fileno=0))
        first, *early = _first_messages(client)
        config = _config(*first)
    except (OSError, ValueError) as e:
        print(f"python -m xse.interchange is started by an executor, not by hand ({e}).", file=sys.stderr)
        return 2
    _log(config)
    _allow_many_connections()
    submits = Stream(socket.socket(fileno=config.submit_fd)) if config.submit_fd >= 0 else None
    interchange = Interchange(config, client, submits)
    try:
        interchange.run(early)
    except Exception:
        logging.getLogger("xse.interchange").exception("failed")
        raise
    finally:
        for directory in config.scratch_dirs:
            shutil.rmtree(directory, ignore_errors=True)
    if interchange.terminated:  # the parent sees a process that SIGTERM has killed
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``mpi_worker_pool.py``: what launch commands of the first ExtremeScaleExecutor name. It becomes xse-pool."""

from __future__ import annotations

import argparse
import os
import sys
import urllib.parse

from xse.errors import LaunchError
from xse.launch import find_pool


def main() -> None:
    """With the options of Parsl 1.2.0's. Does not return."""
    parser = argparse.ArgumentParser(
        prog="mpi_worker_pool.py", description="Starts xse-pool for a launch command of old.", allow_abbrev=False
    )
    parser.add_argument("-d", "--debug", action="store_true", help="log every task")
    parser.add_argument("-l", "--logdir", help="where the block's log goes [as the executor says]")
    parser.add_argument("-u", "--uid", help="the block's name [as the executor says]")
    parser.add_argument("-t", "--task_url", required=True, help="file:// and the path of the connect file")
    parser.add_argument("-r", "--result_url", help="the same: one connection does for both")
    parser.add_argument("--hb_period", help="taken, and not needed: the interchange says it")
    parser.add_argument("--hb_threshold", help="taken, and not needed: the interchange says it")
    arguments = parser.parse_args()
    url = urllib.parse.urlsplit(arguments.task_url)
    if url.scheme != "file":
        parser.error(
            f"--task_url={arguments.task_url!r} is no file:// URL: give what the executor puts for {{task_url}}"
        )
    try:
        pool = find_pool()
    except LaunchError as e:
        sys.exit(f"mpi_worker_pool.py: {e}")
    command = [pool.path, "--connect", urllib.parse.unquote(url.path)]
    command += ["--debug"] if arguments.debug else []
    command += ["--log-dir", arguments.logdir] if arguments.logdir else []
    command += ["--block", arguments.uid] if arguments.uid else []
    os.execv(pool.path, command)

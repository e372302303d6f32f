"""``xse-pool`` on PATH: becomes the executable that lies inside the package.

For people at a prompt. The launch lines of the executors name the executable itself: a Python start on each rank would
cost minutes at scale.
"""

from __future__ import annotations

import os
import sys

from xse.errors import LaunchError
from xse.launch import find_pool


def main() -> None:
    try:
        path = find_pool().path
    except LaunchError as e:
        sys.exit(f"xse-pool: {e}")
    os.execv(path, [path, *sys.argv[1:]])

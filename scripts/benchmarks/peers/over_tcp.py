"""``over_tcp.py LAUNCHER... xse-pool --connect FILE``: runs that, without unix sockets in the connect file.

A pool of the interchange's own host finds its unix socket there, and takes that; without it, it comes by TCP, as from
another host.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    command = sys.argv[1:]
    file = Path(command[command.index("--connect") + 1])
    lines = file.read_text().splitlines(keepends=True)
    if not any(line.startswith("server_key ") for line in lines):
        sys.exit(f"{file} has no key: this would not be encrypted")
    file.write_text("".join(line for line in lines if not line.startswith("endpoint unix://")))  # its mode stays
    os.execvp(command[0], command)


main()

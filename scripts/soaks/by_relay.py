"""``python by_relay.py PORT COMMAND... --connect FILE``: run COMMAND, whose pool is to come by a relay at PORT.

The connect file is rewritten so that it offers no other way. The relay sees nothing but what CURVE encrypts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_, port, *command = sys.argv
connect = Path(command[-1])
lines = [line for line in connect.read_text().splitlines() if not line.startswith("endpoint ")]
connect.write_text("\n".join([*lines, f"endpoint tcp://127.0.0.1:{port}"]) + "\n")
os.execvp(command[0], command)

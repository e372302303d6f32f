"""A worker played by a process of its own: what a script's functions do there, without MPI and without a pool."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

#: In the script: ``submit(fn, *args)`` as a pool of one worker has it, but that it waits and returns the result.
SUBMIT = """
import os as _os, pickle as _pickle, struct as _struct, subprocess as _subprocess, sys as _sys
_sys.path.insert(0, {root!r})
from xse.functions import payload as _payload
_code = "exec(" + repr({worker!r}) + ", {{'__name__': 'played'}})"  # it leaves no name in __main__
_path = _os.pathsep.join(_sys.path)
_worker = _subprocess.Popen(
    [_sys.executable, "-c", _code],
    env=_os.environ | {{"PYTHONPATH": _path}},
    stdin=_subprocess.PIPE,
    stdout=_subprocess.PIPE,
)
_functions = _payload.Functions()

def _ask(*message):
    data = _pickle.dumps(message)
    _worker.stdin.write(_struct.pack("<I", len(data)) + data)
    _worker.stdin.flush()
    (n,) = _struct.unpack("<I", _worker.stdout.read(4))
    return _pickle.loads(_worker.stdout.read(n))

def write(fn, *args, **kwargs):
    function, data, _ = _functions.task(fn, args, kwargs)
    return function.data, data

def run(written):
    value, error = _payload.load_result(*_ask("task", *written))
    if error is not None:
        raise error
    return value

def submit(fn, *args, **kwargs):
    return run(write(fn, *args, **kwargs))

def told(fn, *args):
    try:
        return submit(fn, *args)
    except Exception as e:
        return f"{{type(e).__name__}}: {{e}}"

def initialize(fn, *args):
    return _ask("setup", _functions.setup(fn, args))

initialize(None)
"""

WORKER = """
import os, pickle, struct, sys
sys.path.insert(0, {root!r})
from xse.functions import payload
take, give = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
known = {{}}
def main():
    while head := take.read(4):
        kind, *parts = pickle.loads(take.read(struct.unpack("<I", head)[0]))
        if kind == "setup":
            payload.load_setup(parts[0])()
            answer = None
        else:
            call = known.setdefault(parts[0], None) or payload.load_function(parts[0])
            known[parts[0]] = call
            answer = call(parts[1])
        data = pickle.dumps(answer)
        give.write(struct.pack("<I", len(data)) + data)
        give.flush()
main()
"""


def as_script(tmp_path: Path, text: str, *flags: str, **how: Any) -> list[str]:
    """Run a script that may ``submit``, and give the lines it prints. ``how``: ``name`` of its file, or what
    ``subprocess.run`` takes."""
    path = tmp_path / how.pop("name", "script.py")
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(head() + textwrap.dedent(text))
    return lines([sys.executable, *flags, str(path)], **how)


def head() -> str:
    """What a script begins with."""
    return SUBMIT.format(root=str(ROOT), worker=WORKER.format(root=str(ROOT)))


def lines(command: list[str], **how: Any) -> list[str]:
    """What a command prints."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()

"""The inputs that are kept, a text file for each target: one input a line, in base64. libFuzzer wants a file for each.

usage: python -m tests.fuzz.corpus unpack NAME DIRECTORY
       python -m tests.fuzz.corpus pack DIRECTORY NAME
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from hashlib import sha1
from pathlib import Path

from tests.unit.test_wire import read_vectors

KEPT = Path(__file__).parent / "corpus"


def seeds(name: str) -> list[bytes]:
    """The heads of tests/vectors, where an input is a head; and all that was kept."""
    path = KEPT / f"{name}.txt"
    kept = [b64decode(line) for line in path.read_text().splitlines()] if path.exists() else []
    heads = [vector.head for vector in read_vectors()]
    if name in ("wire", "codecs", "py-wire"):
        kept += heads
    elif name == "frame":
        kept += [bytes([announces]) + head for head in heads for announces in (0, 1)]
    return kept


def unpack(name: str, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for data in seeds(name):
        (directory / sha1(data).hexdigest()).write_bytes(data)


def pack(directory: Path, name: str) -> None:
    inputs = {path.read_bytes() for path in directory.iterdir()}
    lines = [b64encode(data).decode() for data in sorted(inputs, key=lambda data: (len(data), data)) if data]
    assert lines, f"nothing in {directory}"
    (KEPT / f"{name}.txt").write_text("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["unpack", name, directory]:
            unpack(name, Path(directory))
        case ["pack", directory, name]:
            pack(Path(directory), name)
        case _:
            sys.exit(__doc__)

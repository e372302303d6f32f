"""A head to the Python codec: it is refused with a WireError and nothing else, or read, and written again the same.
The same bytes as a failure record."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["xse.wire.messages"]):
    from tests.support.heads import written_anew
    from xse.wire import messages as wire


def one_input(data: bytes) -> None:
    came = int.from_bytes(data[16:24], "little") if len(data) >= wire.PREAMBLE else 0
    try:
        message = wire.decode(data, came)
    except wire.WireError:
        pass
    else:
        assert written_anew(message) == data
        refused_with_another_payload(data, came)
    try:
        failure = wire.Failure.unpack(data)
    except wire.WireError:
        return
    assert failure.pack() == data


def refused_with_another_payload(data: bytes, came: int) -> None:
    try:
        wire.decode(data, came + 1)
    except wire.WireError as e:
        assert e.code == "LENGTH"
        return
    raise AssertionError("a payload that is longer than the head says")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

"""Commands between executor and interchange."""

from __future__ import annotations

import pytest

from xse.wire import commands


@pytest.mark.parametrize(
    "command",
    [
        commands.Config("r", "/s", "1", "3.11.7", 5, addresses=["h"], port_range=[1, 2]),
        commands.Listening([54_000]),
        commands.CannotListen("no port"),
        commands.BlockUp("0", "p", ["h"], [2], [3], [4], "3.11.7"),
        commands.BlockReady("0", 4),
        commands.RankLost("0", 3, "rank 3 on node07: no memory"),
        commands.BlockDown("0", -1, "gone", 3),
        commands.Status(),
        commands.StatusReply(
            [commands.BlockInfo("0", "p", ["h"], 1, 3, 4.5, False, True, "3.11.7")], ["0", "1"], 10, 2
        ),
        commands.Hold("0"),
        commands.Stop("0", 1000),
        commands.Shutdown(),
        commands.Done(False),
    ],
)
def test_a_command_comes_back_as_it_was(command: object) -> None:
    assert commands.loads(commands.dumps(command), object) == command  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"3", b'{"name": "no such"}', b'{"name": "hold"}', b'{"name": "hold", "x": 1}', b"\xff\xfe"],
)
def test_what_is_no_command_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a command"):
        commands.loads(data, object)


def test_a_command_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not the command expected"):
        commands.loads(commands.dumps(commands.Shutdown()), commands.Hold)

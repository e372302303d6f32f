"""The hosts of a pool: those that do not answer are left out, and taken in again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.broken import program
from xse.launch import probe
from xse.pool.hosts import LOOK_AGAIN_S, MOST_LOOK_AGAIN_S, Hosts


def test_a_host_that_does_not_answer_is_left_out_and_taken_in_again() -> None:
    hosts = Hosts(["a", "b", "c"])
    hosts.block_started("0", ["a", "b", "c"])
    assert hosts.usable() == ()
    hosts.block_over("0")
    assert hosts.looked(["a", "b", "c"], {"b": "no route"}) == (["b"], [])
    assert (hosts.usable(), hosts.left_out) == (("a", "c"), {"b": "no route"})
    hosts.block_started("1", hosts.usable())
    assert hosts.looked(["b"], {"b": "no route"}) == ([], [])
    assert hosts.usable() == ()
    assert hosts.looked(["b"], {}) == ([], ["b"])
    assert hosts.usable() == ("b",)
    hosts.block_started("2", ["b"])
    assert (hosts.hosts_of("1"), hosts.hosts_of("2")) == (("a", "c"), ("b",))


def test_all_are_left_out_only_where_no_block_runs() -> None:
    hosts = Hosts(["a", "b"])
    hosts.looked(["a"], {"a": "silent"})
    hosts.block_started("0", ["b"])
    assert not hosts.all_left_out()
    hosts.block_over("0")
    hosts.looked(["b"], {"b": "silent"})
    assert hosts.all_left_out()


def test_hosts_that_stay_away_are_asked_less_and_less_often() -> None:
    hosts = Hosts(["a", "b"])
    assert hosts.look_again_s() is None
    hosts.looked(["a"], {"a": "silent"})
    waits = [hosts.look_again_s() for _ in range(6)]
    assert waits == [LOOK_AGAIN_S, 10, 20, 40, MOST_LOOK_AGAIN_S, MOST_LOOK_AGAIN_S]
    hosts.looked(["b"], {"b": "silent"})
    assert hosts.look_again_s() == LOOK_AGAIN_S


def test_a_launcher_is_asked_which_hosts_it_reaches(tmp_path: Path) -> None:
    launcher = program(
        tmp_path / "launcher",
        'case $1 in far) echo "--- ssh: no route to host ---" >&2; exit 255;; odd) exit 7;; esac',
        "shift",
        'exec "$@"',
    )
    found = probe.unreachable(["near", "far", "odd"], lambda host: [str(launcher), host])
    assert found == {"far": "ssh: no route to host", "odd": "exit code 7"}
    assert probe.unreachable([], lambda host: [host]) == {}
    assert "No such file" in probe.unreachable(["a"], lambda host: ["/no/such/launcher", host])["a"]


def test_a_launcher_that_does_not_come_back_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.01)
    launcher = program(tmp_path / "launcher", "exec sleep 600")
    assert probe.unreachable(["a"], lambda host: [str(launcher), host]) == {"a": "no answer within 0.01 s"}

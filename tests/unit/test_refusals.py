"""Refused connections are logged, and a thousand of one kind make two lines."""

from __future__ import annotations

from xse.interchange.tcp.refusals import WINDOW_S, Refusals


def test_the_first_of_a_kind_is_reported_at_once_and_others_are_counted_until_the_window_is_over() -> None:
    refusals = Refusals()
    assert refusals.note(0.0, "10.0.0.1", "no key") == ["peer_refused from=10.0.0.1 reason='no key'"]
    for i in range(999):
        assert refusals.note(i / 1000, "10.0.0.1", "no key") == []
    assert refusals.note(1.0, "10.0.0.2", "no key") == ["peer_refused from=10.0.0.2 reason='no key'"]
    assert refusals.due(WINDOW_S - 0.1) == []
    assert refusals.due(WINDOW_S) == ["peers_refused more=999 from=10.0.0.1 reason='no key'"]
    assert refusals.due(2 * WINDOW_S) == []


def test_a_new_window_tells_anew_and_nothing_is_kept_of_the_old_one() -> None:
    refusals = Refusals()
    for i in range(100):
        refusals.note(0.0, f"10.0.0.{i}", "no key")
    assert refusals.note(WINDOW_S + 1, "10.0.0.1", "no key") == ["peer_refused from=10.0.0.1 reason='no key'"]
    assert refusals.rest() == []


def test_what_was_counted_is_reported_at_the_end() -> None:
    refusals = Refusals()
    refusals.note(0.0, "10.0.0.1", "no key")
    refusals.note(0.0, "10.0.0.1", "no key")
    assert refusals.rest() == ["peers_refused more=1 from=10.0.0.1 reason='no key'"]

"""The soak's faults follow from its seed."""

from __future__ import annotations

from itertools import islice

from scripts.soaks.plan import KINDS, faults


def test_the_same_seed_gives_the_same_faults() -> None:
    assert list(islice(faults(5), 500)) == list(islice(faults(5), 500))


def test_another_seed_gives_others() -> None:
    assert list(islice(faults(5), 50)) != list(islice(faults(6), 50))


def test_a_plan_has_every_kind_of_fault() -> None:
    assert {fault.kind for fault in islice(faults(5), 500)} == set(KINDS)

"""Cores and accelerators of workers."""

from __future__ import annotations

import os

import pytest

from xse.worker import place


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("block", [[0, 1], [2, 3], [4, 5]]),
        ("block-reverse", [[4, 5], [2, 3], [0, 1]]),
        ("alternating", [[0, 3, 6], [1, 4], [2, 5]]),
        ("list:0,2:4-6:1", [[0, 2], [4, 5, 6], [1]]),
    ],
)
def test_each_worker_has_its_cores(strategy: str, expected: list[list[int]]) -> None:
    assert [place.cores_of(strategy, range(7), i, 3) for i in range(3)] == expected


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ValueError, match="3 workers cannot have a core each of 2"):
        place.cores_of("block", [0, 1], 0, 3)
    with pytest.raises(ValueError, match="lists cores for 2 workers, and there are 3"):
        place.cores_of("list:0:1", range(4), 0, 3)
    with pytest.raises(ValueError, match="'0-x' is no list of cores"):
        place.cores_of("list:0-x:1", range(4), 0, 2)
    with pytest.raises(ValueError, match="none, block"):
        place.cores_of("diagonal", range(4), 0, 2)


def test_an_accelerator_is_shown_to_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    place.choose_accelerator(["0,1", "2,3"], 1)
    assert os.environ == {
        "CUDA_VISIBLE_DEVICES": "2,3",
        "ROCR_VISIBLE_DEVICES": "2,3",
        "ZE_AFFINITY_MASK": "2,3",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
    }
    os.environ.clear()
    place.choose_accelerator([], 1)
    assert not os.environ

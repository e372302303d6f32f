"""Cores and accelerators of workers."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

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


def test_what_cannot_be_is_reported() -> None:
    with pytest.raises(ValueError, match="3 workers cannot have a core each of 2"):
        place.cores_of("block", [0, 1], 0, 3)
    with pytest.raises(ValueError, match="lists cores for 2 workers, and there are 3"):
        place.cores_of("list:0:1", range(4), 0, 3)
    with pytest.raises(ValueError, match="'0-x' is no list of cores"):
        place.cores_of("list:0-x:1", range(4), 0, 2)
    with pytest.raises(ValueError, match="none, block"):
        place.cores_of("diagonal", range(4), 0, 2)


@pytest.mark.parametrize(
    ("names", "before", "driver", "after"),
    [
        (["0,1", "2,3"], {}, "dev/nvidiactl", {"CUDA_VISIBLE_DEVICES": "2,3"}),
        (["0", "1"], {}, "dev/kfd", {"ROCR_VISIBLE_DEVICES": "1"}),
        (["0", "1"], {}, None, {"CUDA_VISIBLE_DEVICES": "1"}),
        (["0", "1"], {"ROCR_VISIBLE_DEVICES": "0,1"}, "dev/nvidiactl", {"ROCR_VISIBLE_DEVICES": "1"}),
        (
            ["0", "1"],
            {"ROCR_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": "0,1", "HIP_VISIBLE_DEVICES": "0,1"},
            "dev/kfd",
            {"ROCR_VISIBLE_DEVICES": "1"},
        ),
        (["0.0", "0.1"], {}, None, {"ZE_AFFINITY_MASK": "0.1", "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"}),
        (["0.0,0.1", "1.0,1.1"], {}, None, {"ZE_AFFINITY_MASK": "1.0,1.1", "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1"}),
        (["GPU-ab", "MIG-cd"], {}, None, {"CUDA_VISIBLE_DEVICES": "MIG-cd"}),
        ([], {"CUDA_VISIBLE_DEVICES": "0,1"}, None, {"CUDA_VISIBLE_DEVICES": "0,1"}),
    ],
)
def test_a_worker_is_shown_its_accelerator_by_one_variable(
    names: list[str],
    before: dict[str, str],
    driver: str | None,
    after: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if driver:
        (tmp_path / driver).parent.mkdir()
        (tmp_path / driver).touch()
    mask_of = place.mask_of
    monkeypatch.setattr(place, "mask_of", lambda names, environment: mask_of(names, environment, str(tmp_path)))
    monkeypatch.setattr(os, "environ", before)
    place.choose_accelerator(names, 1)
    assert os.environ == after


def test_more_workers_than_accelerators_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "mask_of", lambda names, environment: "CUDA_VISIBLE_DEVICES")
    shown = []
    for index in range(4):
        monkeypatch.setattr(os, "environ", {})
        place.choose_accelerator(["0", "1"], index)
        shown.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert shown == ["0", "1", "0", "1"]


def test_workers_have_together_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(10)))
    assert [place.threads_of_a_worker(n) for n in (0, 1, 3, 10, 40)] == [10, 10, 3, 1, 1]


def test_threads_are_limited_in_libraries_that_are_loaded_too_unless_the_user_has_said_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, int]] = []
    for module, function in (("torch", "set_num_threads"), ("numexpr", "set_num_threads")):
        fake = types.ModuleType(module)
        setattr(fake, function, lambda n, module=module: asked.append((module, n)))
        monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.delitem(sys.modules, "threadpoolctl", raising=False)
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "7"})
    place.limit_threads(place.not_set(os.environ), 3)
    assert os.environ.pop("OMP_NUM_THREADS") == "7"
    assert os.environ == dict.fromkeys(place.THREADS[1:], "3")
    assert asked == [("numexpr", 3)]
    monkeypatch.setattr(os, "environ", {})
    place.limit_threads(place.not_set(os.environ), 2)
    assert asked[1:] == [("torch", 2), ("numexpr", 2)]

"""What a peer gives to those who measure it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias

#: In place of a bench, where the tasks are not the bench's to choose: how much of it, to figures by name.
Experiment: TypeAlias = Callable[[float], dict[str, float]]


def _no_map(fn: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    raise NotImplementedError("this peer has no map")


@dataclass(frozen=True)
class Bench:
    """``submit(fn, *args)`` gives a future; ``map(fn, items)`` results in order, in chunks as the peer likes them."""

    submit: Callable[..., Future[Any]]
    map: Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]] = _no_map

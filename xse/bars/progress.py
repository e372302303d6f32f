"""Futures and results, with a bar beside them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, as_completed
from operator import length_hint
from typing import Any, TypeVar

from xse.bars.bar import Bar

T = TypeVar("T")


def progress(futures: Iterable[Future[T]], *, what: str = "tasks") -> Iterator[Future[T]]:
    """Iterate over futures as they are done, with a progress bar on stderr.

    ``futures``: of any executor of concurrent.futures; all are taken at the first step. ``what``: what the bar counts.
    The bar is tqdm's where that is installed, else one line: how many of how many, the rate, failures, the time left.
    Without a terminal or notebook nothing is shown. Example::

        for future in xse.progress([pool.submit(f, x) for x in data]):
            print(future.result())
    """
    waited = list(futures)
    bar = Bar(len(waited), what)
    try:
        for future in as_completed(waited):
            bar.add(failed=_has_failed(future))
            yield future
    finally:
        bar.close()


def _has_failed(future: Future[Any]) -> bool:
    try:
        return future.exception() is not None
    except CancelledError:
        return True


def how_many(iterables: Iterable[Iterable[Any]]) -> int | None:
    """The items of a map over these; None if that is not known without taking them."""
    lengths = [length_hint(iterable, -1) for iterable in iterables]
    known = [n for n in lengths if n >= 0]
    return min(known) if known else None


def with_bar(results: Iterator[T], total: int | None) -> Generator[T, None, None]:
    """The same results, counted by a bar as they are taken. ``close()`` is passed on."""
    bar = Bar(total, "items")
    try:
        for result in results:
            bar.add()
            yield result
    finally:
        bar.close()
        close = getattr(results, "close", None)
        if close:
            close()

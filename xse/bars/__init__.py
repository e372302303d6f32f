"""Progress for people who wait at a terminal or in a notebook: ``bar`` draws, ``progress`` is what users call."""

from xse.bars.progress import progress

__all__ = ["progress"]

"""Documents with places for what was measured, between a comment that names it and one that ends it. Pure."""

from __future__ import annotations

import re


class NoPlaceError(Exception):
    """The document has no such place."""


def fill(text: str, place: str, content: str) -> str:
    """``text`` with ``content`` in its place. Raises NoPlaceError."""
    begin, end = f"<!-- bench: {place} -->", "<!-- bench: end -->"
    pattern = re.compile(f"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    filled, n = pattern.subn(lambda found: f"{found[1]}\n{content.strip()}\n\n{found[2]}", text)
    if n != 1:
        raise NoPlaceError(f"there are {n} places {begin} ... {end}")
    return filled

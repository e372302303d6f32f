"""What was found, and about what: kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .rows import Row

#: by peer, measure and figure: a value for each repeat
Found = dict[str, dict[str, dict[str, list[float]]]]


@dataclass
class Results:
    about: dict[str, object]
    found: Found = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  # "peer, measure" or "peer": why it has no figures

    def add(self, peer: str, measure: str, figures: Mapping[str, float]) -> None:
        values = self.found.setdefault(peer, {}).setdefault(measure, {})
        for name, value in figures.items():
            values.setdefault(name, []).append(value)

    def values(self, peer: str, measure: str, figure: str) -> list[float]:
        return self.found.get(peer, {}).get(measure, {}).get(figure, [])

    def turns(self, row: Row) -> dict[tuple[str, str], list[float]]:
        """By peer and figure, as goals are judged by."""
        return {
            (peer, figure): values
            for peer in row.peers
            for figure in row.figures
            if (values := self.values(peer, row.measure, figure))
        }

    def shown(self, row: Row) -> tuple[str, ...]:
        """Peers of which there is a figure."""
        return tuple(peer for peer in row.peers if self.found.get(peer, {}).get(row.measure))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


def read(file: Path) -> Results:
    return Results(**json.loads(file.read_text()))

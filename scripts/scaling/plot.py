"""A picture of how figures grow: lines over decades, as SVG that needs nothing to be seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 46, 50  # margins
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito, 2008

Line = Sequence[tuple[float, float]]


class _Axis:
    """Decades of values onto pixels."""

    def __init__(self, values: Sequence[float], at_low: float, at_high: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self._at_low, self._per_decade = at_low, (at_high - at_low) / (self.high - self.low)

    def at(self, value: float) -> float:
        return self._at_low + (math.log10(value) - self.low) * self._per_decade

    def ticks(self) -> list[float]:
        return [10.0**e for e in range(self.low, self.high + 1)]


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(text)}</text>'


def plot(title: str, x_name: str, y_name: str, lines: Mapping[str, Line]) -> str:
    """Both axes logarithmic; a legend to the right."""
    points = [point for line in lines.values() for point in line]
    x = _Axis([p[0] for p in points], LEFT, WIDTH - RIGHT)
    y = _Axis([p[1] for p in points], HEIGHT - BOTTOM, TOP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 24, title, 'font-size="15" font-weight="bold"'),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name, 'text-anchor="middle"'),
        _text(
            0, 0, y_name, f'text-anchor="middle" transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
        ),
    ]
    for tick in x.ticks():
        out.append(f'<path d="M{x.at(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#dddddd"/>')
        out.append(_text(x.at(tick), HEIGHT - BOTTOM + 18, _label(tick), 'text-anchor="middle"'))
    for tick in y.ticks():
        out.append(f'<path d="M{LEFT} {y.at(tick):.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        out.append(_text(LEFT - 6, y.at(tick) + 4, _label(tick), 'text-anchor="end"'))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in line)
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3.5" fill="{colour}"/>' for a, b in line]
        row = TOP + 14 + 20 * number
        out.append(f'<path d="M{WIDTH - RIGHT + 14} {row - 4}h18" stroke="{colour}" stroke-width="3"/>')
        out.append(_text(WIDTH - RIGHT + 38, row, name))
    return "\n".join([*out, "</svg>"]) + "\n"

"""``python -m benchmarks.picture RESULTS.json PICTURE.svg``: the rows that a person wants at a glance, as bars."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .goals import Goal, number
from .results import Results, read
from .rows import ROWS, Row

OURS, OTHERS, MUST, FAINT = "#1f6fb4", "#b4bac0", "#c0392b", "#505860"
FIGURE_WIDTH = 0.12  # that a bar's figure takes, of the widest bar

#: The row's number and figure, and what the panel is called.
PANELS = (
    ("1", "tasks/s", "No-op tasks"),
    ("4", "ms (p50)", "Round trip of one no-op"),
    ("9", "µs CPU/task", "CPU of all processes for a no-op"),
    ("2", "tasks/s", "No-op tasks through Parsl's DataFlowKernel"),
    ("7", "tasks/s", "10 kB there and back"),
    ("8", "MB/s", "10 MB there and back"),
)


def target(goal: Goal, results: Results, row: Row) -> float | None:
    """Where the bar must reach."""
    if not goal.of:
        return goal.bound
    others = results.turns(row).get((goal.of, goal.figure))
    return goal.bound * statistics.median(others) if others else None


def panel(axes: Axes, row: Row, figure: str, title: str, results: Results) -> None:
    peers = [peer for peer in row.peers if results.values(peer, row.measure, figure)]
    goals = [goal for goal in row.must if goal.figure == figure]
    targets = [(peers.index(g.subject), at) for g in goals if g.subject in peers and (at := target(g, results, row))]
    widest = max(
        [at for _, at in targets] + [max(results.values(peer, row.measure, figure)) for peer in peers], default=1.0
    )
    for place, peer in enumerate(peers):
        bar(
            axes,
            place,
            peer,
            results.values(peer, row.measure, figure),
            [at for n, at in targets if n == place],
            widest,
        )
    axes.set_yticks(range(len(peers)), peers)
    axes.invert_yaxis()
    more = "less is better" if any(goal.at_most for goal in goals) else "more is better"
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(f"{figure}: {more}", loc="left", fontsize=8, color=FAINT)
    axes.set_xlim(0, widest * 1.18)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=7, colors=FAINT)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for label in axes.get_yticklabels():
        if is_ours(label.get_text()):
            label.set_color(OURS)
            label.set_fontweight("bold")


def bar(axes: Axes, place: int, peer: str, values: Sequence[float], targets: Sequence[float], widest: float) -> None:
    """With its range, its targets, and the median in figures to the right of what would cross them."""
    median = statistics.median(values)
    axes.barh(place, median, color=OURS if is_ours(peer) else OTHERS, height=0.7)
    axes.plot([min(values), max(values)], [place, place], color=FAINT, linewidth=1)
    right = max(values)
    for at in sorted(targets):
        axes.plot([at, at], [place - 0.5, place + 0.5], color=MUST, linewidth=2, solid_capstyle="butt")
        if right < at < right + widest * FIGURE_WIDTH:
            right = at
    axes.text(right + widest * 0.015, place, number(median), va="center", fontsize=8)


def is_ours(peer: str) -> bool:
    return peer.startswith("xse")


def draw(results: Results, file: Path) -> None:
    # The same figures give the same file, and its text is text.
    matplotlib.rcParams.update({"svg.hashsalt": "xse", "svg.fonttype": "none"})
    panels = [
        (row, figure, title)
        for number_, figure, title in PANELS
        for row in ROWS
        if row.number == number_ and figure in row.figures and results.shown(row)
    ]
    if not panels:
        return
    n_lines = (len(panels) + 1) // 2
    bars = [len(results.shown(row)) for row, _, _ in panels]
    heights = [max(bars[i : i + 2]) + 2 for i in range(0, len(bars), 2)]
    whole = Figure(figsize=(13, 0.25 * sum(heights) + 0.7), layout="constrained")
    grid: Sequence[Axes] = list(whole.subplots(n_lines, 2, squeeze=False, height_ratios=heights).flat)
    for axes, (row, figure, title) in zip(grid, panels, strict=False):
        panel(axes, row, figure, title, results)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    about = results.about
    whole.suptitle(
        f"xse (blue) beside its peers: two workers, {about['cpus']} CPUs ({about['cpu']}), {about['mpi']}."
        f" {about['date']}\nBars: medians; thin lines: range of the repeats; red: what xse must reach.",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    whole.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


if __name__ == "__main__":
    draw(read(Path(sys.argv[1])), Path(sys.argv[2]))

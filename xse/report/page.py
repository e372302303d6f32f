"""A run as one HTML page that needs nothing else: tables, and charts by Plotly (``pip install 'xse[report]'``)."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from xse.report.bins import Sizes
from xse.report.summary import Summary
from xse.version import VERSION

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_ROWS = 200  # of a table

STYLE = """
body { font-family: system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.25rem 0.8rem 0.25rem 0; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.figures { display: flex; flex-wrap: wrap; gap: 2rem; margin: 1rem 0; }
.figure b { display: block; font-size: 1.6rem; }
.note { color: #666; font-size: 0.85rem; }
"""


class NoCharts(ImportError):
    """The library for charts is not there; the text says how to get it."""


def page(summary: Summary) -> str:
    """The page. Raises NoCharts."""
    try:
        import plotly.graph_objects as go  # noqa: F401
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise NoCharts("the page's charts need Plotly: pip install 'xse[report]'. Without: xse report --json") from None
    run = summary.record.run
    title = f"Run {str(run.get('run_id', ''))[:8]}"
    at = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(run.get("unix", 0)))
    state = "" if summary.record.ended else " · not ended, or broken off"
    body = [
        f"<h1>{html.escape(title)}: {html.escape(str(run.get('script', '')))}</h1>",
        f"<p>{html.escape(' '.join(str(run.get(k) or '') for k in ('executor', 'label')))} on"
        f" {html.escape(str(run.get('host')))}, {html.escape(at)}{state}</p>",
        _figures(summary),
        "<h2>Workers in tasks, and tasks that ended, over time</h2>",
        _chart(_over_time(summary)),
        "<h2>Duration of tasks, by function</h2>",
        _chart(_durations(summary)),
        _functions(summary),
        "<h2>Slowest tasks</h2>",
        _table(
            ("task", "function", "seconds", "host", "block", "worker"),
            [
                (t.id, t.function, f"{s:,.6f}", summary.host_of(t), t.block, t.worker)
                for s, _, t in sorted(summary.slowest, reverse=True)
            ],
        ),
        "<h2>Failures, by reason</h2>",
        _table(("tasks", "reason"), [(f"{n:,}", r) for r, n in summary.reasons.most_common(MOST_ROWS)]),
        "<h2>Longest gaps between two tasks of a worker</h2>",
        _table(
            ("seconds", "since", "block", "worker"),
            [(f"{s:,.3f}", f"{since:,.3f} s", block, w) for s, since, block, w in sorted(summary.gaps, reverse=True)],
        ),
        "<h2>Start and end of blocks</h2>",
        _table(
            ("block", "nodes", "workers", "registered", "first worker ready", "ended", "reason"),
            [
                (
                    b.block_id,
                    f"{len(set(b.hosts)):,}",
                    f"{sum(b.n_workers):,}",
                    _seconds(b.up),
                    _seconds(b.ready),
                    _seconds(b.down),
                    b.reason,
                )
                for b in list(summary.record.blocks.values())[:MOST_ROWS]
            ],
        ),
        "<h2>Nodes</h2>",
        _chart(_by_node(summary)),
        f"<p class=note>Times are seconds since the run began. Percentiles are exact to 12 %. xse {VERSION}</p>",
    ]
    return (
        f"<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<link rel=icon href='data:,'><style>{STYLE}</style><script>{get_plotlyjs()}</script></head>\n<body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _seconds(at: float | None) -> str:
    return "" if at is None else f"{at:,.3f} s"


def _figures(s: Summary) -> str:
    figures = [
        (f"{s.n_tasks:,}", "tasks ended"),
        (f"{s.n_tasks - s.n_done:,}", "failed or lost"),
        (f"{s.seconds:,.1f} s", "from beginning to end"),
        (f"{s.busy_s / 3600:,.2f} h", "worker-hours in tasks"),
        (f"{s.share_busy():.0%}", "of the workers' time was in tasks"),
        (f"{s.waited.percentile_s(50):,.4g} s", "a task waited, median"),
    ]
    return "<div class=figures>" + "".join(f"<div class=figure><b>{n}</b>{w}</div>" for n, w in figures) + "</div>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["".join(f"<td>{html.escape('' if c is None else str(c))}</td>" for c in row) for row in rows]
    if not lines:
        return "<p class=note>None.</p>"
    return (
        "<table><tr>" + "".join(f"<th>{h}</th>" for h in head) + "</tr>"
        + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"
    )  # fmt: skip


def _functions(summary: Summary) -> str:
    rows = []
    for f in summary.by_time()[:MOST_ROWS]:
        d = f.as_dict()
        times = [f"{d[k]:,.4g}" if d[k] is not None else "" for k in ("mean_s", "p50_s", "p90_s", "p99_s", "longest_s")]
        rows.append((f.name, f"{d['tasks']:,}", f"{d['failed']:,}", f"{d['seconds']:,.1f}", *times))
    return _table(("function", "tasks", "failed", "seconds in all", "mean", "p50", "p90", "p99", "longest"), rows)


def _chart(figure: Figure) -> str:
    text: str = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    return text


def _figure() -> Figure:
    import plotly.graph_objects as go

    return go.Figure(layout={"template": "simple_white", "height": 340, "margin": {"l": 60, "r": 60, "t": 20, "b": 50}})


def _over_time(summary: Summary) -> Figure:
    figure = _figure()
    for bins, name, axis in ((summary.busy, "workers in tasks", "y"), (summary.ended, "tasks ended a second", "y2")):
        times = [i * bins.width_s for i in range(len(bins.bins))]
        figure.add_scatter(x=times, y=bins.per_second(), name=name, yaxis=axis, mode="lines", line_shape="hv")
    figure.update_layout(
        xaxis_title="seconds",
        yaxis={"title": "workers", "rangemode": "tozero"},
        yaxis2={"title": "tasks/s", "overlaying": "y", "side": "right", "rangemode": "tozero"},
        legend={"orientation": "h", "y": 1.1},
    )
    return figure


def _durations(summary: Summary) -> Figure:
    figure = _figure()
    for function in summary.by_time()[:10]:
        bins = sorted(function.ran.bins)
        x, y = [Sizes.middle_s(i) for i in bins], [function.ran.bins[i] for i in bins]
        figure.add_scatter(x=x, y=y, name=function.name, mode="lines+markers", line_shape="hvh")
    figure.update_layout(xaxis={"type": "log", "title": "seconds"}, yaxis={"type": "log", "title": "tasks"})
    return figure


def _by_node(summary: Summary) -> Figure:
    nodes = sorted(summary.nodes.values(), key=lambda node: -node.busy_s)[:500]
    figure = _figure()
    figure.add_bar(
        x=[node.host for node in nodes],
        y=[node.busy_s for node in nodes],
        text=[f"{node.n_tasks:,} tasks" for node in nodes],
    )
    figure.update_layout(yaxis_title="worker-seconds in tasks")
    return figure

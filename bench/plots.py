"""The plots of a run, each as PNG and SVG; a peer has the same colour in all of them."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image

from bench.peers import CEILING, OURS
from bench.report import number, short
from bench.runs import Results

STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "svg.hashsalt": "pyuvnet",
    "svg.fonttype": "path",
}


def draw(
    results: Results, folder: Path, only: str = "", endings: Sequence[str] = ("png", "svg")
) -> list[str]:
    """Write all plots, or the one named; returns their names without ending."""
    drawn = []
    with mpl.rc_context(STYLE):
        for name, make in (
            ("overview", _overview),
            ("cpu", _cpu),
            ("rates", _rates),
            ("latency", _latency),
            ("memory", _memory),
        ):
            figure = make(results) if only in ("", name) else None
            if figure is None:
                continue
            figure.text(
                0.995, 0.002, _origin(results), ha="right", va="bottom", fontsize=7, color="#666666"
            )
            for ending in endings:
                save(figure, folder / f"{name}.{ending}")
            drawn.append(name)
    return drawn


def save(figure: Figure, path: Path) -> None:
    """Write a plot; as PNG with 64 colours, which look the same in a quarter of the bytes."""
    if path.suffix == ".svg":
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
        return
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120, facecolor="white")
    image = Image.open(drawn).convert("RGB")
    image.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def _origin(results: Results) -> str:
    data = results.data
    return (
        f"{data['date'][:10]}, {data['commit']}, {data['python']}, {data['machine']['processor']}"
        + (", quick run" if data["options"]["quick"] else "")
    )


def _versions(results: Results, peer: str) -> str:
    facts = results.peers[peer]
    version = facts["version"]
    if peer == "epoll" or facts["label"].startswith("Node"):
        return facts["label"] if peer == "epoll" else f"Node {version}"
    return f"{facts['label']} {version}"


# What the first page shows: cases that are won and ones that are lost, and a peer of each kind.
OVERVIEW_CASES = (
    *("echo-1k-100", "echo-100k-10", "lines", "proxy"),
    *("churn", "send", "receive", "broadcast"),
)
OVERVIEW_PEERS = (OURS, "rloop", "uvloop-protocol", "asyncio-protocol", "node-newest")


def _overview(results: Results) -> Figure | None:
    """The same as _cpu() for eight cases and five peers."""
    return _dots(results, [key for key in OVERVIEW_CASES if key in results.cases], OVERVIEW_PEERS)


def _cpu(results: Results) -> Figure | None:
    """CPU time as a multiple of the C server's: a row for each case, a dot for each peer."""
    return _dots(results, results.of_cpu_time(), tuple(results.peers))


def _dots(results: Results, keys: Sequence[str], peers: Sequence[str]) -> Figure | None:
    rows = []
    for key in keys:
        dots = {}
        for peer in results.peers:
            summary = results.summary(key, peer) if peer in peers else None
            if summary is not None and summary.ratio is not None and peer != CEILING:
                dots[peer] = summary.ratio
        if dots:
            rows.append((results.cases[key]["title"], dots))
    if not rows:
        return None
    shown = [peer for peer in results.peers if any(peer in dots for _, dots in rows)]
    # Inches: the title, and the legend of three columns; the longest name of a case.
    top = 0.55 + 0.19 * math.ceil((len(shown) + 1) / 3)
    height = top + 0.75 + 0.3 * len(rows)
    left = (0.3 + 0.075 * max(len(title) for title, _ in rows)) / 9.5
    figure = Figure(figsize=(9.5, height), layout=None)
    axes = figure.add_axes((left, 0.75 / height, 0.97 - left, 1 - (top + 0.75) / height))
    for place, (_, dots) in enumerate(rows):
        for peer, ratio in dots.items():
            ours = peer == OURS
            axes.scatter(
                ratio,
                place,
                s=95 if ours else 42,
                color=results.peers[peer]["colour"],
                marker="D" if ours else "o",
                edgecolors="white",
                linewidths=0.7,
                zorder=5 if ours else 3,
            )
    # A sample too short for the server's CPU clock has the ratio 0, which no such axis shows.
    everything = [ratio for _, dots in rows for ratio in dots.values() if ratio > 0]
    low, high = min([*everything, 1.0]), max([*everything, 1.0])
    axes.set_xscale("log")
    axes.set_xlim(low / 1.12, high * 1.12)
    ticks = [
        tick
        for tick in (0.5, 0.7, 0.85, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50)
        if low / 1.12 <= tick <= high * 1.12
    ]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.axvline(1, color=results.peers.get(CEILING, {}).get("colour", "#212121"), linewidth=1.4)
    axes.set_yticks(range(len(rows)), [title for title, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(True)
    axes.set_xlabel("server's CPU time ÷ that of C on libuv (log scale; less is better)")
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="D" if peer == OURS else "o",
            markersize=8 if peer == OURS else 6,
            color=results.peers[peer]["colour"],
            label=_versions(results, peer),
        )
        for peer in shown
    ]
    label = f"C on libuv {results.peers.get(CEILING, {}).get('version', '')} = 1"
    handles.insert(0, Line2D([], [], color="#212121", linewidth=1.4, label=label))
    figure.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.32 / height),
        ncols=3,
        frameon=False,
        fontsize=8.5,
    )
    figure.suptitle(
        "CPU time for a request, beside plain C", y=1 - 0.1 / height, va="top", weight="bold"
    )
    return figure


def _layout(height: float) -> ConstrainedLayoutEngine:
    """Room above for the title, below for the legend and where the figures come from; inches."""
    return ConstrainedLayoutEngine(rect=(0, 0.35 / height, 1, 1 - 0.8 / height))


# Of a bar: the peer, its value, whether it is hatched.
Bar = tuple[str, float, bool]
# Its title, the bars, how their values are written, the unit.
Panel = tuple[str, list[Bar], Callable[[float], str], str]


def _bars(axes: Axes, results: Results, bars: list[Bar], show: Callable[[float], str]) -> None:
    """Horizontal bars from zero."""
    widest = max((value for _, value, _ in bars), default=1) or 1
    for place, (peer, value, hatched) in enumerate(bars):
        axes.barh(
            place,
            value,
            height=0.78,
            color=results.peers[peer]["colour"],
            hatch="////" if hatched else None,
            edgecolor="white",
            linewidth=0,
        )
        axes.text(
            value + widest * 0.02,
            place,
            show(value),
            va="center",
            fontsize=7.5,
            weight="bold" if peer == OURS else "normal",
        )
    labels = [results.peers[peer]["label"] for peer, _, _ in bars]
    axes.set_yticks(range(len(bars)), labels, fontsize=7.5)
    for text, (peer, _, _) in zip(axes.get_yticklabels(), bars, strict=True):
        text.set_fontweight("bold" if peer == OURS else "normal")
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.2)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _panels(results: Results, panels: list[Panel], columns: int) -> Figure:
    """Bar charts in a grid, with room for a title."""
    lines = math.ceil(len(panels) / columns)
    longest = max(len(bars) for _, bars, _, _ in panels)
    height = 0.9 + lines * (0.6 + 0.17 * longest)
    figure = Figure(figsize=(4.1 * columns, height), layout=_layout(height))
    grid = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, (title, bars, show, unit) in zip(grid, panels, strict=False):
        _bars(axes, results, bars, show)
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xlabel(unit, loc="left", fontsize=7.5, color="#666666", labelpad=1)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def _rates(results: Results) -> Figure | None:
    panels: list[Panel] = []
    hatched = False
    for key, case in results.cases.items():
        if case["rate"] is None:
            continue
        bars = []
        for peer in results.peers:
            summary = results.summary(key, peer)
            if summary is not None and summary.rate is not None:
                bars.append((peer, summary.rate, summary.rate_is_loads))
                hatched = hatched or summary.rate_is_loads
        if bars:
            panels.append((case["title"], bars, short, case["rate"]))
    if not panels:
        return None
    figure = _panels(results, panels, 3)
    height = figure.get_figheight()
    figure.suptitle("Rates (more is better)", y=1 - 0.1 / height, va="top", weight="bold")
    if hatched:
        figure.legend(
            handles=[
                Patch(
                    facecolor="#777777",
                    hatch="////",
                    edgecolor="white",
                    linewidth=0,
                    label="the server had time left: the load, or the round trips, set the rate",
                )
            ],
            loc="lower left",
            bbox_to_anchor=(0.005, 0.0),
            frameon=False,
            fontsize=8,
        )
    return figure


def _latency(results: Results) -> Figure | None:
    """From the median to the 99th percentile, where many wait at once."""
    panels = []
    for key in ("echo-1k-10", "echo-1k-100", "echo-1k-1000", "pipelined", "churn", "active"):
        if key not in results.cases:
            continue
        lines = []
        for peer in results.peers:
            summary = results.summary(key, peer)
            if summary and summary.p50_us and summary.p99_us:
                lines.append((peer, summary.p50_us, summary.p99_us))
        if lines:
            panels.append((results.cases[key]["title"], lines))
    if not panels:
        return None
    rows = math.ceil(len(panels) / 3)
    longest = max(len(lines) for _, lines in panels)
    height = 0.9 + rows * (0.8 + 0.18 * longest)
    figure = Figure(figsize=(12.3, height), layout=_layout(height))
    grid = figure.subplots(rows, 3, squeeze=False).flatten()
    for axes, (title, lines) in zip(grid, panels, strict=False):
        for place, (peer, middle, late) in enumerate(lines):
            colour = results.peers[peer]["colour"]
            axes.plot([middle / 1000, late / 1000], [place, place], color=colour, linewidth=2.5)
            axes.scatter(middle / 1000, place, color=colour, s=34, zorder=3)
            axes.scatter(
                late / 1000, place, color="white", edgecolors=colour, s=34, linewidths=1.5, zorder=3
            )
        labels = [results.peers[peer]["label"] for peer, _, _ in lines]
        axes.set_yticks(range(len(lines)), labels, fontsize=7.5)
        for text, (peer, _, _) in zip(axes.get_yticklabels(), lines, strict=True):
            text.set_fontweight("bold" if peer == OURS else "normal")
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlim(0, max(late for _, _, late in lines) / 1000 * 1.06)
        axes.tick_params(axis="y", length=0)
        axes.grid(True, axis="x")
        axes.set_xlabel("ms", fontsize=8)
        axes.set_title(title, loc="left", fontsize=9)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(
        "Time to an answer under full load: median (filled) to 99th percentile (hollow)",
        y=1 - 0.1 / height,
        va="top",
        weight="bold",
    )
    return figure


def _memory(results: Results) -> Figure | None:
    """Memory and start."""
    wanted = (
        ("idle", "each_bytes", "bytes for each idle connection"),
        ("start", "start_ms", "start to listening, ms"),
        ("start", "rss_mb", "memory when listening, MB"),
    )
    panels: list[Panel] = []
    for key, name, title in wanted:
        if key not in results.cases:
            continue
        bars = []
        for peer in results.peers:
            values = sorted(results.values(key, peer, name))
            if values:
                bars.append((peer, values[len(values) // 2], False))
        if bars:
            panels.append((title, bars, number, ""))
    if not panels:
        return None
    figure = _panels(results, panels, 3)
    figure.suptitle(
        "Memory and start (less is better)",
        y=1 - 0.1 / figure.get_figheight(),
        va="top",
        weight="bold",
    )
    return figure

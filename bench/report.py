"""Tables in Markdown, and the files of a run."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import runs, targets
from bench.figures import median
from bench.peers import OURS
from bench.runs import Results, Summary


def number(value: float) -> str:
    """Three digits that count, and commas."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def short(value: float) -> str:
    """With k or M from 10,000 on."""
    if value < 1e4:
        return number(value)
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{number(value / limit)} {letter}"
    return number(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown; all columns but the first to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _groups(results: Results, keys: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """(cases, peers) of each table: the cases that are chosen together, else one by itself."""
    everybody = [key for key in keys if not results.cases[key].get("peers")]
    groups = [everybody, *([key] for key in keys if key not in everybody)]
    found = []
    for group in groups:
        took = {peer for key in group for peer in results.cases[key]["samples"]}
        took |= {peer for key in group for peer in results.cases[key]["failed"]}
        if group:
            found.append((group, [peer for peer in results.peers if peer in took]))
    return found


def _labels(results: Results, peers: Sequence[str]) -> list[str]:
    return [results.peers[peer]["label"] for peer in peers]


Figures = tuple[list[str], list[str], list[list[str]]]
DISTURBED = "disturbed"


def _of_base(summary: Summary | None) -> str:
    """A ratio and how far those of the rounds lie from each other."""
    if summary is None or summary.ratio is None:
        return "–"
    if summary.samples < 2:
        return f"{summary.ratio:.2f}"
    return f"{summary.ratio:.2f} ±{summary.ratio_span:.2f}"


def _spread(share: float | None, samples: int) -> str:
    return "" if share is None or samples < 2 else f" ±{share:.0%}"


def _ratios(results: Results) -> list[Figures]:
    """Peers, head and rows of the tables of CPU times, as multiples of the C server's."""
    tables = []
    for keys, peers in _groups(results, results.of_cpu_time()):
        rows = []
        for key in keys:
            row = [results.cases[key]["title"]]
            row += [_of_base(results.summary(key, peer)) for peer in peers]
            rows.append([*row, f"{results.disturbed(key):.0%}"])
        head = ["CPU ÷ C on libuv", *_labels(results, peers), DISTURBED]
        tables.append((peers, head, rows))
    return tables


def tails(results: Results) -> str:
    """The 99th percentile of latencies, in µs and as a multiple of the C server's."""
    tables = []
    for keys, peers in _groups(results, results.of_tails()):
        rows = []
        for key in keys:
            row = [results.cases[key]["title"]]
            for peer in peers:
                summary = results.summary(key, peer)
                if summary is None:
                    row.append("–")
                else:
                    row.append(f"{number(summary.value)} µs; {_of_base(summary)}")
            rows.append([*row, f"{results.disturbed(key):.0%}"])
        tables.append(table(["p99; ÷ C on libuv", *_labels(results, peers), DISTURBED], rows))
    return "\n\n".join(tables)


def overview(results: Results) -> str:
    """CPU time of everybody in everything, as a multiple of the C server's, in Markdown."""
    return "\n\n".join(table(head, rows) for _, head, rows in _ratios(results))


def show(results: Results) -> None:
    """Print the overview and the targets; in colour on a terminal, where rich is installed."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(overview(results), tails(results), _targets(results), sep="\n\n")
        return
    console = Console()
    if not console.is_terminal:
        print(overview(results), tails(results), _targets(results), sep="\n\n")
        return
    title = "CPU time of the server, as a multiple of plain C on libuv; less is better"
    for peers, head, rows in _ratios(results):
        shown = Table(title=title)
        shown.add_column(head[0], no_wrap=True)
        for label, peer in zip(head[1:], [*peers, ""], strict=True):
            style = "bold" if peer == OURS else ""
            shown.add_column(label, justify="right", style=style, header_style=style)
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
    console.print(tails(results), _targets(results), sep="\n\n", markup=False, highlight=False)


def rates(results: Results) -> str:
    """Of everybody in everything."""
    tables = []
    keys = [key for key, case in results.cases.items() if case["rate"] is not None]
    for group, peers in _groups(results, keys):
        rows = []
        for key in group:
            case = results.cases[key]
            row = [f"{case['title']}, {case['rate']}"]
            for peer in peers:
                summary = results.summary(key, peer)
                if summary is None or summary.rate is None:
                    row.append("–")
                else:
                    row.append(
                        ("≥ " if summary.rate_is_loads else "")
                        + short(summary.rate)
                        + _spread(summary.rate_spread, summary.samples)
                    )
            rows.append([*row, f"{results.disturbed(key):.0%}"])
        tables.append(table(["rate", *_labels(results, peers), DISTURBED], rows))
    return "\n\n".join(tables)


def absolutes(results: Results) -> str:
    """What is no CPU time: memory, start-up, checks; a table of its own for coroutines."""
    others = {*results.of_cpu_time(), *results.of_tails()}
    keys = [key for key in results.cases if key not in others]
    apart = [key for key in keys if "pyuvnet-async" in (results.cases[key].get("peers") or ())]
    groups = [[key for key in keys if key not in apart], *([key] for key in apart)]
    return "\n\n".join(_absolutes(results, group) for group in groups if group)


def _absolutes(results: Results, keys: Sequence[str]) -> str:
    rows = []
    took = {peer for key in keys for peer in results.cases[key]["samples"]}
    peers = [peer for peer in results.peers if peer in took]
    for key in keys:
        case = results.cases[key]
        row = [f"{case['title']}, {case['unit']}"]
        for peer in peers:
            summary = results.summary(key, peer)
            if summary is None:
                row.append("–")
            else:
                row.append(number(summary.value) + _spread(summary.spread, summary.samples))
        rows.append(row)
        if key == "start":
            row = ["memory when listening, MB"]
            for peer in peers:
                values = results.values(key, peer, "rss_mb")
                row.append(f"{median(values):.1f}" if values else "–")
            rows.append(row)
    return table(["", *_labels(results, peers)], rows)


def _fewer(case: dict[str, Any]) -> str:
    """Says so where there were fewer connections than the case is called after."""
    samples = [each for several in case["samples"].values() for each in several]
    pairs = [(each.get("connections", 0), each.get("wanted", 0)) for each in samples]
    fewer = [count for count, wanted in pairs if count < wanted]
    return f"Measured with {min(fewer):,} connections, and scaled up." if fewer else ""


def details(results: Results, key: str) -> str:
    """One case: everybody's figures with their spread."""
    case = results.cases[key]
    rows = []
    for peer, facts in results.peers.items():
        summary = results.summary(key, peer)
        if summary is None:
            continue
        rate = "–" if summary.rate is None else short(summary.rate)
        if summary.rate_is_loads and case["rate"] is not None:
            rate = "≥ " + rate
        shares = (summary.server_busy, summary.load_busy)
        latencies = (summary.p50_us, summary.p99_us)
        disturbed = f" ({summary.disturbed} disturbed)" if summary.disturbed else ""
        rows.append(
            [
                facts["label"],
                number(summary.value),
                f"{summary.spread:.1%}",
                _of_base(summary),
                rate,
                *("–" if share is None else f"{share:.0%}" for share in shares),
                *("–" if each is None else number(each) for each in latencies),
                f"{summary.samples}{disturbed}",
            ]
        )
    base = results.peers.get(case["relative"], {}).get("label", case["relative"])
    head = ["", case["unit"], "±", f"÷ {base}", case["rate"] or "rate", "server busy", "load busy"]
    lines = [f"### {case['title']}", ""]
    if rows:
        lines.append(table([*head, "p50 µs", "p99 µs", "samples"], rows))
    if fewer := _fewer(case):
        lines += ["", fewer]
    for peer, reason in case["failed"].items():
        lines += ["", f"{results.peers[peer]['label']}: {reason}."]
    return "\n".join(lines)


RATIOS = """\
## CPU time, as a multiple of plain C on libuv

The server's CPU time per request (or connection, MB or delivery), divided by that of the C server
in the same round. Each figure is the median of the rounds, ± half of their interquartile range; a
smaller difference is noise. Less is better. "disturbed" is the share of a case's samples during
which other programs or the hypervisor used the CPUs. – means that a peer does not support the case
or failed in it; the case's own section below says why."""
TAILS = """\
## Tails of latencies

The 99th percentile: the median of the rounds, and the multiple of the C server's in the same round.
Each server is loaded to the same share of its own capacity."""
RATES = """\
## Rates

Medians, per second. ≥ marks a server that was busy for less than 90 % of the time: the load
generator or the round trips limited the rate, not the server."""
CASES = """\
## Each case

± is half of the interquartile range of the samples, as a share of the median. For ratios it is
absolute."""


def _head(results: Results) -> str:
    """When, where, who."""
    data = results.data
    facts, options = data["machine"], data["options"]
    peers = ", ".join(f"{peer['label']} ({peer['version']})" for peer in results.peers.values())
    processor = facts["processor"] + (" (virtual)" if facts.get("virtual") else "")
    size = f"{facts.get('cpus')} CPUs, {facts.get('memory_gib')} GiB"
    where = f"{processor}, {size}, {facts['system']}"
    how = f"{options['rounds']} rounds of {options['seconds']:g} s"
    cpus = f"the server on CPU {options['server_cpu']}, the load on CPU {options['load_cpu']}"
    commit = f"commit {data['commit'] or 'unknown'}"
    lines = [f"{data['date'][:10]}, {commit}, {data['python']}, {where}; {how}, {cpus}."]
    lines.append(f"Peers: {peers}.")
    lines += [f"Left out: {key}, since {reason}." for key, reason in data["missing"].items()]
    if options["quick"]:
        lines.append("A quick run: few and short samples, good for a first look only.")
    if options.get("stopped"):
        lines.append("The run was stopped before its end.")
    if "debug" in data["build"]:
        lines.append("pyuvnet is a debug build: its figures say nothing about speed.")
    taken = [
        sample
        for case in results.cases.values()
        for samples in case["samples"].values()
        for sample in samples
    ]
    marred = sum(bool(sample.get("disturbed")) for sample in taken)
    if marred:
        lines.append(f"{marred} of {len(taken)} samples stayed noisy after all retries.")
    return "\n\n".join(lines)


def _targets(results: Results) -> str:
    """What was to be reached, met or not."""
    rows = []
    for each in targets.outcomes(results):
        verdict = "stretch met" if each.stretched else "met" if each.met else "missed"
        rows.append([each.what, each.target, each.stretch, each.measured, verdict])
    return table(["pyuvnet", "target", "stretch", "measured", ""], rows)


# Under the tables of the published run, which is kept without what can be made again.
REST = """\
`python -m bench report reference --output FOLDER` unpacks the samples of this run and plots its
rates, latencies and memory."""


def document(results: Results, plots: Sequence[str] = (), published: bool = False) -> str:
    """The whole of a run, in Markdown."""
    parts = ["# pyuvnet beside others", _head(results)]
    parts += [RATIOS, overview(results)]
    parts += ["## Targets", _targets(results)]
    parts += [RATES, rates(results)]
    if results.of_tails():
        parts += [TAILS, tails(results)]
    parts += ["## Memory, start and checks", absolutes(results)]
    parts += [f"![{name}]({name}.png)" for name in plots] + [REST] * published
    parts += [CASES, *(details(results, key) for key in results.cases)]
    return "\n\n".join(parts) + "\n"


FRONT_BEGIN = "<!-- figures: python -m bench report RUN --publish -->"
FRONT_END = "<!-- figures end -->"


def front(results: Results, folder: str) -> str:
    """The figures of the first page: the plot of some cases and peers, and where they come from.

    Args:
        folder: of the run, as the page links to it.
    """
    data = results.data
    processor = data["machine"]["processor"] + (
        " (virtual)" if data["machine"].get("virtual") else ""
    )
    return "\n\n".join(
        [
            FRONT_BEGIN,
            (
                "CPU time of the server per request, as a multiple of the same server in C on "
                "libuv. Less is better:"
            ),
            f"![CPU time in eight cases, of five peers]({folder}/overview.png)",
            (
                f"Measured on {data['date'][:10]}: {data['python']}, {processor}, one CPU for the "
                f"server, commit {data['commit']}. [All figures]({folder}/README.md), including "
                "the cases that pyuvnet loses and the raw samples."
            ),
            FRONT_END,
        ]
    )


def put_front(page: str, figures: str) -> str:
    """A page with its figures replaced."""
    before, begin, rest = page.partition(FRONT_BEGIN)
    _, end, after = rest.partition(FRONT_END)
    if not (begin and end):
        raise SystemExit(f"the page has no place for figures: {FRONT_BEGIN} ... {FRONT_END}")
    return before + figures + after


# The figures in the text of README.md and docs/index.md, each behind the name of its case.
HEADLINE = re.compile(r"(<!-- headline ([\w-]+) -->).*?(?=<!-- headline end -->)", re.S)


def put_headlines(page: str, results: Results) -> str:
    """A page with its headline figures replaced, except for those of cases that the run lacks."""

    def replaced(found: re.Match[str]) -> str:
        summary = results.summary(found[2], OURS) if found[2] in results.cases else None
        if summary is None or summary.ratio is None:
            return found[0]
        return f"{found[1]}{summary.ratio:.2f} ± {summary.ratio_span:.2f}"

    return HEADLINE.sub(replaced, page)


def write_all(results: Results, folder: Path) -> None:
    """results.json, README.md and the plots, into a folder."""
    results.write(folder)
    plots: list[str] = []
    try:
        import matplotlib as _  # noqa: F401
    except ImportError:
        print("no plots: matplotlib is not installed (pip install -e '.[bench]')")
    else:
        from bench import plots as drawn

        plots = drawn.draw(results, folder)
    (folder / "README.md").write_text(document(results, plots), "utf-8")


def publish(results: Results, folder: Path, page: Path, index: Path) -> None:
    """Keep a run in the repository: samples, tables, the plot and figures of `page` and `index`."""
    from bench import plots

    results.write(folder, runs.PACKED)
    drawn = plots.draw(results, folder, only="overview", endings=("png",))
    (folder / "README.md").write_text(document(results, drawn, published=True), "utf-8")
    link = Path(os.path.relpath(folder, page.parent)).as_posix()
    text = put_front(page.read_text("utf-8"), front(results, link))
    page.write_text(put_headlines(text, results), "utf-8")
    index.write_text(put_headlines(index.read_text("utf-8"), results), "utf-8")


def main(arguments: Sequence[str]) -> int:
    """Write the tables and plots of a run again."""
    parser = argparse.ArgumentParser(
        prog="python -m bench report", description="Draw the tables and plots of a run again."
    )
    parser.add_argument("run", help="a folder, a file of results, or a commit")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="by default the run's own")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="keep the run in bench/results/reference, and its main figures in README.md and "
        "docs/index.md",
    )
    options = parser.parse_args(arguments)
    path = runs.find(options.run)
    results = Results.read(path)
    if options.publish:
        pages = runs.ROOT / "README.md", runs.ROOT / "docs" / "index.md"
        publish(results, runs.PUBLISHED, *pages)
        print(f"written: {runs.PUBLISHED}, README.md and docs/index.md")
        return 0
    folder = options.output or (path if path.is_dir() else path.parent)
    if folder.resolve() == runs.PUBLISHED:
        parser.error("the published run holds no more than it has to: name a folder with --output")
    write_all(results, folder)
    print(f"written: {folder}")
    return 0

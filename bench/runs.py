"""Results of a run: what was measured, kept raw, and what is read out of it."""

from __future__ import annotations

import json
import lzma
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import figures, machine
from bench.peers import CEILING, Peer
from bench.scenarios import Case

FORMAT = 1
ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent / "results"
PUBLISHED = FOLDER / "reference"
# A folder of results holds one of the two.
PLAIN, PACKED = "results.json", "results.json.xz"


@dataclass(frozen=True)
class Summary:
    """A peer's figures in a case.

    Args:
        value: median of what peers are compared by.
        spread: half the middle half, as a share of the median.
        ratio: median of the rounds' ratios to the case's base.
        ratio_span: half of what the middle half of these ratios spans.
        rate, rate_spread: median, a second, and its spread as that of the value.
        server_busy, load_busy: medians, of a CPU.
        queued: how long the server waited for its CPU, which others had.
        p50_us, p99_us: medians of latencies.
        samples, disturbed: their numbers.
    """

    value: float
    spread: float
    ratio: float | None
    ratio_span: float | None
    rate: float | None
    rate_spread: float | None
    server_busy: float | None
    load_busy: float | None
    queued: float | None
    p50_us: float | None
    p99_us: float | None
    samples: int
    disturbed: int

    @property
    def rate_is_loads(self) -> bool:
        """The server had time left: its rate is what the load made, or the round trips allowed."""
        return self.server_busy is not None and self.server_busy + (self.queued or 0) < 0.9


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """The checkout's commit, with a + if it was changed since; empty outside of git."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


class Results:
    """The results of one run; `data` is what the JSON file holds."""

    def __init__(self, data: dict[str, Any]) -> None:
        if data.get("format") != FORMAT:
            raise ValueError(f"results of format {data.get('format')}, not {FORMAT}")
        self.data = data

    @classmethod
    def new(
        cls,
        peers: Sequence[Peer],
        missing: dict[str, str],
        cases: Sequence[Case],
        options: dict[str, Any],
    ) -> Results:
        """For a run that begins now."""
        return cls(
            {
                "format": FORMAT,
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "commit": commit(),
                "python": f"{platform.python_implementation()} {platform.python_version()}",
                "build": _build(),
                "machine": machine.describe(),
                "options": options,
                "peers": {
                    peer.key: {"label": peer.label, "version": peer.version, "colour": peer.colour}
                    for peer in peers
                },
                "missing": missing,
                "cases": {
                    case.key: {
                        "title": case.title,
                        "metric": case.metric.name,
                        "unit": case.metric.unit,
                        "rate": case.rate,
                        "relative": case.relative,
                        "target": case.target,
                        "stretch": case.stretch,
                        "absolute": case.absolute,
                        "peers": case.peers,
                        "samples": {},
                        "failed": {},
                    }
                    for case in cases
                },
            }
        )

    @classmethod
    def read(cls, path: Path) -> Results:
        """From a file, or a folder with results.json or results.json.xz in it."""
        if path.is_dir():
            path /= PLAIN if (path / PLAIN).is_file() else PACKED
        content = path.read_bytes()
        return cls(json.loads(lzma.decompress(content) if path.suffix == ".xz" else content))

    def write(self, folder: Path, name: str = PLAIN) -> None:
        """Into results.json of a folder, or compressed into results.json.xz."""
        folder.mkdir(parents=True, exist_ok=True)
        if name == PACKED:
            content = json.dumps(self.data, separators=(",", ":")).encode()
            (folder / name).write_bytes(lzma.compress(content, preset=9))
        else:
            (folder / name).write_text(json.dumps(self.data, indent=1) + "\n")

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.data["cases"]
        return found

    @property
    def peers(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = self.data["peers"]
        return found

    def add(self, case: str, peer: str, sample: dict[str, Any]) -> None:
        """A sample of a peer; it says its round."""
        rounded = {
            name: float(f"{value:.6g}") if isinstance(value, float) else value
            for name, value in sample.items()
        }
        self.cases[case]["samples"].setdefault(peer, []).append(rounded)

    def fail(self, case: str, peer: str, reason: str) -> None:
        """Note that a peer cannot do a case, or failed in it."""
        self.cases[case]["failed"][peer] = reason

    def by_round(self, case: str, peer: str, name: str) -> list[float | None]:
        """A figure's values, one for each round, None where there is none."""
        samples = self.cases[case]["samples"].get(peer, [])
        found = {sample["round"]: sample.get(name) for sample in samples}
        return [found.get(number) for number in range(max(found, default=-1) + 1)]

    def values(self, case: str, peer: str, name: str | None = None) -> list[float]:
        """All values of a figure; of the case's metric by default."""
        wanted = name or self.cases[case]["metric"]
        return [value for value in self.by_round(case, peer, wanted) if value is not None]

    def ratios(self, case: str, peer: str, base: str | None = None) -> list[float]:
        """The rounds' ratios of the case's metric to a peer's; to the case's base by default."""
        metric = self.cases[case]["metric"]
        other = self.by_round(case, base or self.cases[case]["relative"], metric)
        return figures.paired_ratios(self.by_round(case, peer, metric), other)

    def disturbed(self, case: str) -> float:
        """Which share of a case's samples other programs disturbed to the last."""
        samples = [each for several in self.cases[case]["samples"].values() for each in several]
        return sum(bool(each.get("disturbed")) for each in samples) / max(len(samples), 1)

    def of_cpu_time(self) -> list[str]:
        """Keys of the cases in which CPU time is divided by the C server's."""
        return [
            key
            for key, case in self.cases.items()
            if case["metric"] == "cpu_us" and case["relative"] == CEILING and not case["absolute"]
        ]

    def of_tails(self) -> list[str]:
        """Keys of the cases in which the 99th percentile of latencies is compared."""
        return [key for key, case in self.cases.items() if case["metric"] == "p99_us"]

    def summary(self, case: str, peer: str) -> Summary | None:
        """What a peer did in a case; None if it has no sample."""
        values = self.values(case, peer)
        if not values:
            return None

        def middle(name: str) -> float | None:
            found = self.values(case, peer, name)
            return figures.median(found) if found else None

        ratios, rates = self.ratios(case, peer), self.values(case, peer, "rate")
        samples = self.cases[case]["samples"][peer]
        return Summary(
            value=figures.median(values),
            spread=figures.spread(values),
            ratio=figures.median(ratios) if ratios else None,
            ratio_span=figures.half_span(ratios) if ratios else None,
            rate=middle("rate"),
            rate_spread=figures.spread(rates) if rates else None,
            server_busy=middle("server_busy"),
            load_busy=middle("load_busy"),
            queued=middle("queued"),
            p50_us=middle("p50_us"),
            p99_us=middle("p99_us"),
            samples=len(values),
            disturbed=sum(bool(sample.get("disturbed")) for sample in samples),
        )


def _build() -> str:
    """How pyuvnet was built, as its own command tells."""
    command = [sys.executable, "-m", "pyuvnet", "info"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() if done.returncode == 0 else ""


def find(name: str) -> Path:
    """The folder or file of results called by path, by its folder's name, or by commit.

    Of several runs of a commit the last one counts.

    Raises: FileNotFoundError.
    """
    for path in (Path(name), FOLDER / name):
        if (path / PLAIN).is_file() or (path / PACKED).is_file():
            return path
        if path.is_file() and path.name.endswith((".json", ".json.xz")):
            return path
    resolved = _git("rev-parse", "--short=10", "--verify", "--quiet", f"{name}^{{commit}}")
    wanted = resolved or name
    several = []
    for path in (*FOLDER.glob(f"*/{PLAIN}"), *FOLDER.glob(f"*/{PACKED}")):
        found = Results.read(path)
        if found.data["commit"].startswith(wanted):
            several.append((found.data["date"], path.parent))
    if not several:
        raise FileNotFoundError(f"no results of {name} in {FOLDER}")
    return max(several)[1]

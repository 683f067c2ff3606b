"""The benchmarks' arithmetic, and that the instrument works; how fast anything is, is no test."""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

# bench is a folder of the checkout, and is not installed.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import (
    compare,
    compiling,
    figures,
    peers,
    regress,
    report,
    runs,
    scenarios,
    suite,
    targets,
)
from bench.peers import Peer
from bench.runner import PeerError, Runner, disturbed
from bench.runs import Results
from bench.scenarios import Case, Metric

ROOT = Path(__file__).resolve().parent.parent
try:
    compiling.compiler()
    UNFIT = ""
except compiling.BuildError as error:
    UNFIT = str(error)
builds = pytest.mark.skipif(bool(UNFIT), reason=UNFIT)


def test_spreads_ratios_and_intervals() -> None:
    assert figures.quartiles([1, 2, 3, 4, 5]) == (2, 4)
    assert figures.spread([1, 2, 3, 4, 5]) == pytest.approx(1 / 3)
    assert figures.spread([7]) == 0
    assert figures.paired_ratios([2, None, 9, 4], [1, 5, None, 8]) == [2, 0.5]
    assert figures.geometric_mean([0.5, 2]) == pytest.approx(1)
    before, after = [1.0, 1.02, 0.98, 1.01], [1.2, 1.22, 1.18, 1.21]
    low, high = figures.ratio_interval(after, before)
    assert 1.1 < low < 1.2 < high < 1.3
    assert figures.ratio_interval(after, before) == (low, high)


# Taking samples.


def peer(key: str) -> Peer:
    return Peer(key, key.title(), "1", (key,), "#123456")


def case(measure: Callable[[Runner, Peer], Any], key: str = "one", **more: Any) -> Case:
    return Case(key, key.title(), measure, Metric("cpu_us", "µs"), "requests/s", **more)


def runner(retries: int = 2) -> Runner:
    return Runner(server_cpu=0, load_cpu=0, retries=retries)


def empty(cases: list[Case], everybody: list[Peer]) -> Results:
    options = {"quick": False, "rounds": 1, "seconds": 1, "server_cpu": 0, "load_cpu": 1}
    return Results.new(everybody, {}, cases, options)


class Silent:
    def step(self, what: str) -> None:
        pass

    def note(self, what: str) -> None:
        pass


def test_a_disturbed_sample_is_taken_again_and_the_least_disturbed_kept() -> None:
    foreign = iter([0.5, 0.2, 0.3, 0.0])
    pauses: list[float] = []
    one = case(lambda runner, peer: {"foreign": next(foreign), "queued": 0.0})
    kept = suite.take(one, runner(), peer("a"), pauses.append, 2)
    assert kept == {"foreign": 0.2, "queued": 0.0, "attempts": 3, "disturbed": True}
    assert len(pauses) == 2
    assert suite.take(one, runner(), peer("a"), pauses.append, 2)["disturbed"] is False
    assert disturbed({"foreign": 0.0, "queued": 0.06})  # waiting for a CPU counts like foreign load
    assert not disturbed({"foreign": 0.09, "queued": 0.04})
    assert disturbed({"p99_us": 100.0, "delay_p99_us": 30.0})  # the load itself was late
    assert not disturbed({"p99_us": 100.0, "delay_p99_us": 10.0})


def test_each_round_begins_with_another_peer_and_one_that_failed_is_left_out() -> None:
    asked: list[str] = []

    def measure(runner: Runner, peer: Peer) -> dict[str, Any]:
        asked.append(peer.key)
        if peer.key == "d":
            raise PeerError("echoed other bytes")
        return {"cpu_us": 1.0}

    everybody, cases = [peer(key) for key in "abcd"], [case(measure)]
    told = empty(cases, everybody)
    suite.run(cases, everybody, 3, runner(), told, Silent())
    assert "".join(asked) == "abcdbcacab"
    assert told.cases["one"]["failed"] == {"d": "echoed other bytes"}
    assert "D: echoed other bytes." in report.document(told)
    only = case(measure, peers=("b",))
    assert [each.key for each in suite.takers(only, everybody)] == ["b"]


# Results.


def filled(values: dict[str, list[float]], key: str = "one") -> Results:
    """Results of one case with the CPU time of each peer, round by round."""
    cases = [case(lambda runner, peer: {}, key, target=1.10, stretch=1.0)]
    told = empty(cases, [peer(name) for name in values])
    for name, several in values.items():
        for number, value in enumerate(several):
            sample = {"cpu_us": value, "rate": 1e6 / value, "server_busy": 0.99, "load_busy": 0.5}
            told.add(key, name, {"round": number, **sample, "p50_us": 50.0, "p99_us": 99.0})
    return told


def test_summary_divides_within_each_round() -> None:
    # The machine became twice as slow in the second round; the ratio is the same.
    told = filled({"libuv": [5, 10, 5], "pyuvnet": [6, 12, 6]})
    summary = told.summary("one", "pyuvnet")
    assert summary is not None
    assert (summary.value, summary.ratio) == (6, pytest.approx(1.2))
    assert told.summary("one", "nobody") is None


def test_results_are_read_as_they_were_written_and_found_by_folder_file_and_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FOLDER", tmp_path)
    for name, date, file in (("a", "2001-01-01", runs.PLAIN), ("b", "2002-01-01", runs.PACKED)):
        told = filled({"pyuvnet": [6]})
        told.data.update(date=date, commit="abcdef0123+")
        told.write(tmp_path / name, file)
        assert Results.read(tmp_path / name).data == told.data
        assert Results.read(tmp_path / name / file).data == told.data
        assert runs.find(name) == tmp_path / name
        assert runs.find(str(tmp_path / name / file)).is_file()
    assert runs.find("abcdef") == tmp_path / "b"
    with pytest.raises(FileNotFoundError):
        runs.find("fedcba")
    with pytest.raises(ValueError, match="format"):
        Results({"format": 0})


STEADY = [6.0, 6.1, 5.9, 6.0, 6.05, 5.95]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (STEADY, [value * 0.9 for value in STEADY], "better"),
        (STEADY, [value * 1.1 for value in STEADY], "worse"),
        (STEADY, [value * 1.01 for value in STEADY], ""),
        ([3.0, 9.0, 6.0, 4.0, 8.0, 6.0], [4.0, 9.0, 6.6, 5.0, 8.8, 6.6], ""),
    ],
)
def test_a_change_is_named_only_where_the_samples_tell_it_from_chance(
    before: list[float], after: list[float], verdict: str, tmp_path: Path
) -> None:
    # The machine is twice as slow the second time, which is no change.
    filled({"libuv": [5.0] * 6, "pyuvnet": before}).write(tmp_path / "a")
    filled({"libuv": [10.0] * 6, "pyuvnet": [2 * value for value in after]}).write(tmp_path / "b")
    a, b = tmp_path / "a", tmp_path / "b"
    (change,) = compare.changes(Results.read(a), Results.read(b))
    assert (change.verdict, change.normalised) == (verdict, True)
    assert compare.main([str(a), str(b), "--check"]) == (verdict == "worse")


@pytest.mark.parametrize(("ours", "met"), [(9, (True, True)), (10.5, (True, False)), (11.5, None)])
def test_targets_are_met_or_missed(ours: float, met: tuple[bool, bool] | None) -> None:
    outcome = targets.outcomes(filled({"libuv": [10], "pyuvnet": [ours]}))[0]
    assert (outcome.met, outcome.stretched) == (met or (False, False))


def test_coroutines_are_held_against_streams_and_against_our_listeners() -> None:
    ways = filled(
        {"pyuvnet-attached": [8, 16], "pyuvnet-async": [9, 18], "uvloop-streams": [20, 40]}, "ways"
    )
    told = [(each.what, each.measured, each.met) for each in targets.outcomes(ways)]
    assert told == [
        ("Pyuvnet-Async, × CPU of Uvloop-Streams", "0.45", True),
        ("Pyuvnet-Async, × CPU of Pyuvnet-Attached", "1.12", True),
    ]
    churn = filled({"pyuvnet-with": [13], "uvloop-streams": [20]}, "churn-coroutines-1k")
    (outcome,) = targets.outcomes(churn)
    assert (outcome.target, outcome.measured, outcome.met) == ("≤ 0.60", "0.65", False)
    for size, met in ((2500.0, True), (2501.0, False)):
        waiting = filled({"pyuvnet-async": [size], "uvloop-streams": [5000.0]}, "idle-waiting")
        (outcome,) = targets.outcomes(waiting)
        assert (outcome.target, outcome.met) == ("≤ 2500", met)
    for case, peer, other, _ in targets.COROUTINES:
        assert {peer, other} <= set(scenarios.all_cases()[case].peers or ())
    assert set(peers.COROUTINES) <= set(scenarios.all_cases())


def test_frames_are_held_against_the_echo_without_them() -> None:
    told = filled({"libuv": [10, 10, 10], "pyuvnet": [11, 12, 16]}, "frames-1k")
    outcomes = targets.outcomes(told)
    assert not [each for each in outcomes if "without framing" in each.what]
    # The last round was slow for both.
    for sample, raw in zip(
        told.cases["frames-1k"]["samples"]["pyuvnet"], [10, 10, 15], strict=True
    ):
        sample["raw_us"] = raw
    outcome = targets.outcomes(told)[-1]
    assert (outcome.measured, outcome.met) == ("1.10", True)
    told.cases["frames-1k"]["samples"]["pyuvnet"][2]["raw_us"] = 12
    assert (targets.outcomes(told)[-1].measured, targets.outcomes(told)[-1].met) == ("1.20", False)


# Tables, plots, and the published run.


def test_tables_mark_what_the_load_limited_was_disturbed_or_is_missing() -> None:
    told = filled({"libuv": [5], "pyuvnet": [6]})
    sample = told.cases["one"]["samples"]["pyuvnet"][0]
    sample.update(server_busy=0.5, disturbed=True)
    told.data["missing"]["gevent"] = "gevent is not installed"
    text = report.document(told)
    assert "| One, requests/s | 200 k | ≥ 167 k |" in text
    assert "| One | 1.00 | 1.20 |" in text
    assert "1 of 2 samples stayed noisy after all retries" in text
    assert "1 (1 disturbed)" in text
    assert "Left out: gevent, since gevent is not installed." in text
    # It waited for its CPU, which others had: it had no time left.
    sample["queued"] = 0.45
    assert "| One, requests/s | 200 k | 167 k |" in report.rates(told)


def test_a_published_run_is_kept_small_and_its_plot_put_into_the_first_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "PUBLISHED", tmp_path / "run")
    told = filled({"libuv": [5], "pyuvnet": [6], "rloop": [10]}, key="echo-1k-100")
    report.write_all(told, tmp_path / "other")
    names = ("overview", "cpu", "rates", "latency")
    drawn = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    made = {path.name for path in (tmp_path / "other").iterdir()}
    assert made - drawn == {"README.md", runs.PLAIN}
    page = tmp_path / "README.md"
    mark = "<!-- headline echo-1k-100 -->{}<!-- headline end --> times"
    before = mark.format("9.99 ± 1.00") + mark.format("9.99").replace("100", "no")
    page.write_text(f"{before}\n\n{report.FRONT_BEGIN}\nold\n{report.FRONT_END}\n\nafter\n")
    index = tmp_path / "docs" / "index.md"
    index.parent.mkdir()
    index.write_text(before)
    assert report.main([str(tmp_path / "other"), "--publish"]) == 0
    assert index.read_text() == before.replace("9.99 ± 1.00", "1.20 ± 0.00")
    text = page.read_text()
    assert (tmp_path / "run" / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "run").iterdir()} == PUBLISHED
    assert text.startswith(f"{index.read_text()}\n\n<!--")
    assert text.endswith("-->\n\nafter\n")
    assert "](run/overview.png)" in text
    assert "old" not in text
    # A second time changes nothing, and nothing is drawn into its folder by mistake.
    assert report.main([str(tmp_path / "run"), "--publish"]) == 0
    assert page.read_text() == text
    with pytest.raises(SystemExit):
        report.main([str(tmp_path / "run")])
    assert "--output" in capsys.readouterr().err


PUBLISHED = {"README.md", "overview.png", runs.PACKED}


@pytest.mark.skipif(not runs.PUBLISHED.is_dir(), reason="no run is published")
def test_the_pages_show_the_published_run() -> None:
    told = Results.read(runs.PUBLISHED)
    page = (ROOT / "README.md").read_text("utf-8")
    assert report.put_front(page, report.front(told, "bench/results/reference")) == page
    for text in (page, (ROOT / "docs" / "index.md").read_text("utf-8")):
        assert report.HEADLINE.search(text)
        assert report.put_headlines(text, told) == text
        # Markdown ends a paragraph at a comment that begins a line.
        assert "\n<!-- headline" not in text
    tables = report.document(told, ["overview"], published=True)
    assert (runs.PUBLISHED / "README.md").read_text("utf-8") == tables
    assert {path.name for path in runs.PUBLISHED.iterdir()} == PUBLISHED


# Instructions and bytes.


@pytest.mark.spec("P0-01")
@pytest.mark.parametrize(
    ("name", "now", "same", "verdict"),
    [
        ("echo, pipe", 1700, True, ""),
        ("echo, pipe", 1703, True, ""),
        ("echo, pipe", 1704, True, "worse"),
        ("echo, pipe", 1696, True, "better"),
        ("echo, pipe", 2100, False, ""),
        ("echo, pipe", 2200, False, "worse"),
        (regress.IMPORT, 1730, True, ""),
        (regress.IMPORT, 1740, True, "worse"),
        ("new", 5, True, ""),
    ],
)
def test_what_became_dearer_is_found(name: str, now: float, same: bool, verdict: str) -> None:
    before: dict[str, float] = {"echo, pipe": 1700, regress.IMPORT: 1700}
    (change,) = regress.compare(before, {name: now}, same)
    assert (change.worse, change.better) == (verdict == "worse", verdict == "better")


@pytest.mark.spec("P0-01")
def test_figures_are_known_of_everything_that_is_counted() -> None:
    """CI counts again (`python -m bench.regress`), and fails for what became dearer."""
    for version, kept in json.loads(regress.FIGURES.read_text("utf-8")).items():
        assert list(kept["figures"]) == regress.NAMES, version
        assert kept["built"].startswith(version)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux and glibc are needed")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="Linux and glibc are needed")
@pytest.mark.timeout(100)
def test_bytes_are_the_same_each_time() -> None:
    name = "idle connection, closure, bytes"
    first, second = (regress.measure([name], 1) for _ in range(2))
    assert first == second
    assert 500 < first[name] < 2500


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is needed")
@pytest.mark.timeout(200)
def test_instructions_are_the_same_each_time() -> None:
    name = "connect, echo, close, coroutine"
    first, second = (regress.measure([name], 1)[name] for _ in range(2))
    assert first == pytest.approx(second, rel=0.001)
    assert 10_000 < first < 1_000_000


# The instrument.


def test_every_scenario_is_listed_and_a_peer_that_is_not_there_named() -> None:
    files = [importlib.import_module(f"bench.scenarios.{name}") for name in scenarios.FILES]
    assert [each.key for file in files for each in file.CASES] == list(scenarios.all_cases())
    there = {path.stem for path in (ROOT / "bench" / "scenarios").glob("*.py")} - {"__init__"}
    assert there == set(scenarios.FILES)
    _, missing = peers.find(["node"], node="/nowhere/node")
    assert missing == {"node": "/nowhere/node was not found"}


@builds
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("names", "some"),
    [
        (
            "lines pipe proxy proxy-timeouts proxy-bulk unix send receive broadcast idle start",
            ["libuv", "pyuvnet"],
        ),
        ("churn", ["libuv", "pyuvnet"]),
        ("p99 burst many broadcast-text", ["libuv", "pyuvnet", "asyncio-protocol"]),
        ("read-lines frames-16 frames-1k", ["libuv", "pyuvnet", "asyncio-streams"]),
        ("ways churn-coroutines-64b idle-waiting writes-4", []),
    ],
)
def test_a_short_run_measures_all_who_are_here(names: str, some: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--seconds", "0.02"]
    command += ["--retries", "0", "--output", str(tmp_path), "--cases", *names.split()]
    command += ["--peers", *some] if some else []
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    told = Results.read(tmp_path)
    assert set(told.cases) == set(names.split())
    least = some or ["libuv", "pyuvnet", "asyncio-streams"]
    if "p99" in names:
        assert "## Tails of latencies" in (tmp_path / "README.md").read_text("utf-8")
    for key, each in told.cases.items():
        assert each["failed"].keys() <= {"epoll"}, key  # which only echoes
        assert all(len(told.values(key, name)) == 1 for name in least), key
    if not some:
        assert told.peers.keys() | told.data["missing"].keys() == set(peers.KEYS)


Answer = Callable[[socket.socket, bytes], None]


def drive(answer: Answer, *settings: str, mode: str = "echo") -> subprocess.CompletedProcess[str]:
    """Let the load generator measure a server that answers each piece by a function."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                answer(connection, data)

    def serve() -> None:
        several: list[threading.Thread] = []
        with suppress(OSError):  # at the end
            while True:
                several.append(threading.Thread(target=serve_one, args=[listener.accept()[0]]))
                several[-1].start()
        for each in several:
            each.join()

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    command = [str(compiling.program("load")), mode, f"port={port}", "connections=1"]
    command += ["seconds=0.02", "warmup=0", *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    return done


def change_a_byte(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data[:-1] + bytes([data[-1] ^ 1]))


def send_twice(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data + data)


def close_early(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data[:-1])
    connection.shutdown(socket.SHUT_RDWR)


@builds
@pytest.mark.timeout(60)
def test_the_load_generator_measures_an_echo() -> None:
    done = drive(socket.socket.sendall)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["bytes"] == told["units"] * 1024 > 0
    assert 0 < told["p50_us"] <= told["p99_us"] <= told["max_us"] * 1.02


@builds
@pytest.mark.timeout(60)
def test_the_load_generator_keeps_to_a_rate_and_counts_what_waits_behind_a_slow_answer() -> None:
    answers = 0

    def slow_at_times(connection: socket.socket, data: bytes) -> None:
        nonlocal answers
        answers += 1
        # Once, with some two hundred others due before it has ended.
        if answers == 200:
            time.sleep(0.2)
        connection.sendall(data)

    settings = ("rate=1000", "seconds=0.6", "warmup=0", "size=64", "check=0")
    done = drive(slow_at_times, *settings, mode="paced")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    # How many more, depends on how soon the server has caught up.
    assert 200 < told["units"] <= 1100 * told["seconds"]
    # They were due while the server slept: a third of all, not a single one.
    assert told["p90_us"] > 30_000
    assert told["max_us"] >= 180_000


@builds
@pytest.mark.timeout(60)
def test_the_load_generator_lets_connections_come_in_a_burst() -> None:
    received: Counter[int] = Counter()

    def count(connection: socket.socket, data: bytes) -> None:
        received[connection.fileno()] += len(data)
        connection.sendall(data)

    settings = ("rate=500", "burst=50", "size=64", "check=0", "connections=2")
    done = drive(count, *settings, mode="burst")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["units"] > 0
    assert 0 < told["burst_ms"] <= told["seconds"] * 1000 * 1.01
    assert len(received) == 52
    assert sorted(received.values())[:50] == [64] * 50


@builds
@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["text=1", "frame=64"])
def test_the_load_generator_sends_lines_and_frames(unit: str) -> None:
    received = bytearray()

    def collect(connection: socket.socket, data: bytes) -> None:
        received.extend(data)
        connection.sendall(data)

    done = drive(collect, unit, "size=128", "check=0", "messages=10")
    assert (done.returncode, done.stderr) == (0, "")
    pieces = [received[at : at + 64] for at in range(0, 1280, 64)]
    if unit == "text=1":
        assert all(piece.index(b"\n") == 63 and piece.decode() for piece in pieces)
    else:
        assert all(piece[:4] == (60).to_bytes(4, "big") for piece in pieces)
    assert len(set(map(bytes, pieces))) == len(pieces)


@builds
@pytest.mark.timeout(60)
def test_the_load_generator_sends_whole_frames_only() -> None:
    done = drive(socket.socket.sendall, "size=100", "frame=64")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "load: a message is made of whole frames of more than 4 bytes\n"


@builds
@pytest.mark.timeout(60)
@pytest.mark.parametrize("check", ["0", "1"])
@pytest.mark.parametrize("mode", ["echo", "paced", "burst"])
@pytest.mark.parametrize("answer", [change_a_byte, send_twice, close_early])
def test_the_load_generator_believes_no_server(answer: Answer, mode: str, check: str) -> None:
    done = drive(answer, f"check={check}", "rate=1000", "burst=5", mode=mode)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("load: ")


@builds
@pytest.mark.timeout(60)
def test_programs_that_do_not_compile_or_start_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong.c").write_text("int main(void) { return }")
    monkeypatch.setitem(compiling.SOURCES, "wrong", tmp_path / "wrong.c")
    monkeypatch.setattr(compiling, "OUTPUT", tmp_path / "out")
    with pytest.raises(compiling.BuildError, match=r"wrong\.c"):
        compiling.program("wrong")
    broken = Peer("broken", "", "", (sys.executable, "-c", "raise SystemExit('no such port')"), "")
    cpu = min(os.sched_getaffinity(0))
    serving = Runner(server_cpu=cpu, load_cpu=cpu).serve(broken, "echo")
    with pytest.raises(PeerError, match="no such port"), serving:
        pass

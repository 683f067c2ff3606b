"""What a BlockList costs, from ten rules to a million, next to Node in the same run.

    python -m bench.blocklist [--rules 10 1000 100000 1000000] [--queries 20000] [--rounds 3]
                              [--connections 10000] [--node node]

First check(): nanoseconds a call, loop included, for addresses that a rule matches and for such
that none does; the time to load the rules from a file of CIDR lines (for Node, which cannot,
addSubnet() for each of its lines); what a rule takes of the process's memory. Then a server:
connections a second, and its CPU time for each, without a list, with a million rules that do not
match the peer, and with a million and one of which one does. Rules are random subnets, /24 to /32
and /32 to /64. Every figure comes from processes of its own: the best of the rounds, which run the
subjects in turn. An older Node (20) tries rule after rule, so with many rules fewer of its calls
are timed; one without the option `blockList` (before 22.13) asks check() in its listener.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from pyuvnet import Socket, net, run
from pyuvnet.blocklist import BlockList

# Each subject answers `check FAMILY RULES QUERIES` with one line of JSON, and `serve RULES`
# with its port and the CPU seconds so far when it listens.
NODE = """
const fs = require('fs');
const net = require('net');
const [command, ...rest] = process.argv.slice(1);
const lines = (path) => fs.readFileSync(path, 'utf8').split('\\n').filter(Boolean);
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; };
function load(path) {
  const list = new net.BlockList();
  for (const line of lines(path)) {
    const [address, prefix] = line.split('/');
    list.addSubnet(address, Number(prefix), line.includes(':') ? 'ipv6' : 'ipv4');
  }
  return list;
}
if (command === 'check') {
  const [family, rules, queries] = rest;
  const count = lines(rules).length;
  const rss = process.memoryUsage().rss;
  const start = process.hrtime.bigint();
  const list = load(rules);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const memory = (process.memoryUsage().rss - rss) / count;
  const result = { load: seconds, memory };
  for (const [kind, addresses] of Object.entries(JSON.parse(fs.readFileSync(queries)))) {
    let best = Infinity;
    for (let repeat = 0; repeat < 5; repeat++) {
      let calls = 0, blocked = 0;
      const begun = process.hrtime.bigint();
      const end = begun + 300000000n;
      for (const address of addresses) {
        if (list.check(address, family)) blocked++;
        calls++;
        if (count > 1000 && process.hrtime.bigint() > end) break;
      }
      best = Math.min(best, Number(process.hrtime.bigint() - begun) / calls);
      if (blocked !== (kind === 'hit' ? calls : 0)) throw new Error(`${kind} ${blocked} ${calls}`);
    }
    result[kind] = best;
  }
  console.log(JSON.stringify(result));
} else {
  const [rules] = rest;
  const [major, minor] = process.versions.node.split('.').map(Number);
  const list = rules ? load(rules) : undefined;
  const asks = list && (major < 22 || major === 22 && minor < 13);
  const server = net.createServer({ blockList: list }, (socket) => {
    if (asks) list.check(socket.remoteAddress);
    socket.destroy();
  });
  server.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ port: server.address().port, cpu: cpu() }));
  });
  process.stdin.on('data', () => {}).on('end', () => {
    console.log(JSON.stringify({ cpu: cpu() }));
    process.exit();
  });
}
"""
IPV4, IPV6 = "ipv4", "ipv6"


# What runs in processes of their own


def resident() -> int:
    """Bytes of memory of this process; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def check_addresses(family: str, rules: str, queries: str) -> None:
    with open(rules, "rb") as file:
        count = sum(1 for _ in file)
    kinds = json.loads(Path(queries).read_text())
    rss = resident()
    start = time.perf_counter()
    block_list = BlockList.load(rules)
    result = {"load": time.perf_counter() - start, "memory": (resident() - rss) / count}
    result["accounted"] = sys.getsizeof(block_list) / count
    method = block_list.check
    for kind, addresses in kinds.items():
        best = float("inf")
        for _ in range(5):
            blocked = 0
            start = time.perf_counter()
            for address in addresses:
                if method(address, family):
                    blocked += 1
            best = min(best, time.perf_counter() - start)
        if blocked != (len(addresses) if kind == "hit" else 0):
            raise SystemExit(f"{blocked} of {len(addresses)} addresses of the {kind} kind match")
        result[kind] = best / len(addresses) * 1e9
    print(json.dumps(result))


def serve(rules: str) -> None:
    block_list = BlockList.load(rules) if rules else None

    def listening() -> None:
        address = server.address()
        assert isinstance(address, dict)
        print(json.dumps({"port": address["port"], "cpu": time.process_time()}), flush=True)

    # A thread waits for the end of stdin, so that nothing but the server is in the loop.
    def finish() -> None:
        sys.stdin.read()
        print(json.dumps({"cpu": time.process_time()}), flush=True)
        os._exit(0)

    threading.Thread(target=finish, daemon=True).start()
    server = net.create_server({"block_list": block_list}, Socket.destroy)
    server.listen(0, "127.0.0.1", listening)
    run()


# The measurements


def subjects(node: str | None) -> dict[str, list[str]]:
    # As this one was started: by the name of the module or by its file.
    own = ["-m", __spec__.name] if __spec__ is not None else [os.path.abspath(__file__)]
    found = {"pyuvnet": [sys.executable, *own]}
    if node is not None:
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
        found[f"Node {version.stdout.strip()}"] = [node, "-e", NODE]
    return found


def subnets(chance: random.Random, family: str, count: int) -> list[tuple[int, int]]:
    """Random networks and their prefixes."""
    bits, first, last = (32, 24, 32) if family == IPV4 else (128, 32, 64)
    nets = []
    for _ in range(count):
        prefix = chance.randint(first, last)
        nets.append((random_address(chance, family) >> bits - prefix << bits - prefix, prefix))
    return nets


def random_address(chance: random.Random, family: str) -> int:
    """A random address, of IPv6 one that may be in use (2000::/3)."""
    return chance.getrandbits(32) if family == IPV4 else 1 << 125 | chance.getrandbits(125)


def text(family: str, number: int) -> str:
    return str((ipaddress.IPv4Address if family == IPV4 else ipaddress.IPv6Address)(number))


def write_rules(path: Path, family: str, nets: list[tuple[int, int]]) -> None:
    path.write_text("".join(f"{text(family, number)}/{prefix}\n" for number, prefix in nets))


def write_queries(
    path: Path, chance: random.Random, family: str, nets: list[tuple[int, int]], count: int
) -> None:
    bits = 32 if family == IPV4 else 128
    hits = [
        text(family, number | chance.getrandbits(bits - prefix) if prefix < bits else number)
        for number, prefix in chance.choices(nets, k=count)
    ]
    covered = {prefix: set[int]() for _, prefix in nets}
    for number, prefix in nets:
        covered[prefix].add(number >> bits - prefix)
    misses: list[str] = []
    while len(misses) < count:
        number = random_address(chance, family)
        if not any(number >> bits - prefix in known for prefix, known in covered.items()):
            misses.append(text(family, number))
    path.write_text(json.dumps({"hit": hits, "miss": misses}))


def best(results: list[dict[str, float]]) -> dict[str, float]:
    return {name: min(result[name] for result in results) for name in results[0]}


def ask(command: list[str]) -> dict[str, float]:
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answer: dict[str, float] = json.loads(output)
    return answer


def measure_checks(folder: Path, options: argparse.Namespace, found: dict[str, list[str]]) -> None:
    chance = random.Random(1)
    print(f"{'check() and load':22} {'rules':>9} {'hit ns':>9} {'miss ns':>9} {'load s':>8} B/rule")
    for family in (IPV4, IPV6):
        everything = subnets(chance, family, max(options.rules))
        ratios: dict[str, list[float]] = {}
        for count in options.rules:
            rules, queries = folder / f"{family}-{count}.txt", folder / "queries.json"
            write_rules(rules, family, everything[:count])
            write_queries(queries, chance, family, everything[:count], options.queries)
            results: dict[str, list[dict[str, float]]] = {name: [] for name in found}
            for _ in range(options.rounds):
                for name, command in found.items():
                    results[name].append(ask([*command, "check", family, str(rules), str(queries)]))
            for name, several in results.items():
                told = best(several)
                # A few rules are less than what a process's memory is counted in.
                memory = told["memory"] if count >= 100_000 else told.get("accounted")
                print(
                    f"{name + ', ' + family:22} {count:9,} {told['hit']:9,.0f} "
                    f"{told['miss']:9,.0f} {told['load']:8.3f} "
                    + ("     -" if memory is None else f"{memory:6,.0f}")
                )
                ratios.setdefault(name, []).append(max(told["hit"], told["miss"]))
        for name, figures in ratios.items():
            ratio = figures[-1] / figures[0]
            print(f"{name + ', ' + family:22} most rules cost {ratio:,.2f} times as much as fewest")


def connect(port: int, count: int) -> float:
    """Connect and wait for the other side to close, one after the other; returns the seconds."""
    start = time.perf_counter()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as peer:
            if peer.recv(1):
                raise SystemExit("the server sent something")
    return time.perf_counter() - start


def serve_once(command: list[str], rules: str, count: int) -> dict[str, float]:
    arguments = [*command, "serve", rules]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        listening = json.loads(child.stdout.readline())
        connect(int(listening["port"]), min(count, 200))
        seconds = connect(int(listening["port"]), count)
        child.stdin.close()
        ended = json.loads(child.stdout.readline())
    used = (ended["cpu"] - listening["cpu"]) / (count + min(count, 200))
    return {"period": seconds / count, "cpu": used}


def measure_accepts(folder: Path, options: argparse.Namespace, found: dict[str, list[str]]) -> None:
    chance = random.Random(2)
    nets = [each for each in subnets(chance, IPV4, max(options.rules)) if each[0] >> 24 != 127]
    missing, matching = folder / "missing.txt", folder / "matching.txt"
    write_rules(missing, IPV4, nets)
    write_rules(matching, IPV4, [*nets, (127 << 24, 8)])
    lists = {
        "no list": "",
        f"{len(nets):,} rules, none matches": str(missing),
        f"{len(nets) + 1:,} rules, one matches": str(matching),
    }
    print(f"\n{'connections of a server':52} {'per second':>10} {'CPU us each':>11}")
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for what, rules in lists.items():
            for name, command in found.items():
                # An older Node needs a thousand times as long with many rules.
                slow = name != "pyuvnet" and rules
                count = options.connections // 20 if slow else options.connections
                several = results.setdefault((name, what), [])
                several.append(serve_once(command, rules, count))
    for (name, what), several in results.items():
        told = best(several)
        rate, cpu = 1 / told["period"], told["cpu"] * 1e6
        print(f"{name + ', ' + what:52} {rate:10,.0f} {cpu:11,.1f}")


def main() -> None:
    if sys.argv[1:2] == ["check"]:
        check_addresses(*sys.argv[2:5])
        return
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rules", type=int, nargs="+", default=[10, 1000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--node", default="node")
    options = parser.parse_args()
    found = subjects(shutil.which(options.node))
    with tempfile.TemporaryDirectory() as folder:
        measure_checks(Path(folder), options, found)
        measure_accepts(Path(folder), options, found)


if __name__ == "__main__":
    main()

"""User-space instructions of an echo, peer by peer, counted by callgrind.

    python -m bench callgrind [--peers libuv pyuvnet uvloop-protocol] [--size 1024]
                              [--connections 10] [--mode echo]

The same whatever else the machine does: each server runs twice, for few and for many messages, and
the difference is divided by the messages between, so that the start does not count. What the kernel
does is not counted. Needs valgrind. Node is left out: its compiler takes its time by the clock.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile

from bench import compiling, peers
from bench.peers import CEILING, Peer
from bench.runner import PeerError

LIMIT = 300


def instructions(peer: Peer, mode: str, messages: int, connections: int, size: int) -> int:
    """Of a whole process that answers so many messages."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        server = subprocess.Popen(
            [*command, *peer.command, mode],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=peers.environment(),
        )
        try:
            assert server.stdout is not None
            line = server.stdout.readline().strip()
            if not line.isdecimal():
                raise PeerError(line or "did not listen")
            settings = [f"port={line}", f"size={size}", f"connections={connections}", "check=0"]
            load = [str(compiling.program("load")), "echo", *settings, f"messages={messages}"]
            done = subprocess.run(load, capture_output=True, text=True, timeout=LIMIT)
            if done.returncode:
                raise PeerError(done.stderr.strip())
        finally:
            # Callgrind tells what it counted when the server is terminated.
            server.terminate()
            server.communicate(timeout=LIMIT)
        errors.seek(0)
        told = errors.read()
    found = re.search(r"Collected : (\d+)", told)
    if found is None:
        raise PeerError(told)
    return int(found.group(1))


def main() -> None:
    """Print the instructions per echo of each peer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    keys = [key for key in peers.KEYS if not key.startswith("node")]
    parser.add_argument("--peers", nargs="+", choices=keys, default=keys, metavar="PEER")
    parser.add_argument("--mode", default="echo", choices=["echo", "pipe"])
    parser.add_argument("--size", type=int, default=1024, help="bytes in a message (1024)")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--messages", type=int, default=20_000, help="of the longer run (20000)")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("valgrind is needed (Debian: apt-get install valgrind)")
    found, missing = peers.find(options.peers)
    for key, reason in missing.items():
        print(f"{key:17} left out: {reason}")
    few = options.messages // 10
    base: float | None = None
    for peer in found:
        counts = [
            instructions(peer, options.mode, messages, options.connections, options.size)
            for messages in (few, options.messages)
        ]
        each = (counts[1] - counts[0]) / (options.messages - few)
        base = each if peer.key == CEILING else base
        ratio = f"{each / base:6.2f} × C on libuv" if base else ""
        print(f"{peer.key:17} {each:8.0f} {ratio}  ({peer.label} {peer.version})", flush=True)


if __name__ == "__main__":
    main()

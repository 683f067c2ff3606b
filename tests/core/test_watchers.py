"""Watchers: libuv's table of descriptors has to grow, and there is no memory for it."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyuvnet._core import info
from pyuvnet._core.watchers import fail_allocations

CORE = (
    Path(__file__).resolve().parent.parent.parent / "vendor" / "libuv" / "src" / "unix" / "core.c"
)

needs_hook = pytest.mark.skipif(
    sys.platform == "win32" or not info.is_debug(),
    reason="only the debug build lets libuv's allocations fail",
)

# Descriptors are taken until the next one lies beyond the table of a fresh loop; then something is
# watched while one allocation of libuv's after another fails.
PROGRAM = """
import os, socket as posix, sys, tempfile
import pyuvnet
from pyuvnet import net
from pyuvnet._core.watchers import fail_allocations

lasting = sys.argv[1] == "lasting"
os.chdir(tempfile.mkdtemp())

class Case:
    def __init__(self):
        self.said, self.filled, self.sockets = [], [], []
        pyuvnet.current_loop().close()
        pyuvnet.set_exception_handler(self.note)
        if os.path.exists("path"):
            os.unlink("path")

    def note(self, error):
        self.said.append(getattr(error, "code", None) or type(error).__name__)

    def fill(self):
        while not self.filled or self.filled[-1] < 64:
            self.filled.append(os.dup(0))

    def serve(self, **options):
        server = net.create_server(self.accepted, **options)
        server.on("drop", lambda info: self.said.append("drop"))
        server.on("error", self.note)
        self.server = server.listen(*(["path"] if pipe else [0, "127.0.0.1"]))
        # A host is looked up, be it a literal.
        self.turn()

    def accepted(self, socket):
        socket.on("error", self.note)
        socket.resume()
        socket.on("data", socket.write)

    def target(self):
        return "path" if pipe else ("127.0.0.1", self.server.address().port)

    def peer(self):
        peer = posix.socket(posix.AF_UNIX if pipe else posix.AF_INET)
        peer.setblocking(True)
        peer.connect(self.target())
        peer.settimeout(5)
        return peer

    def turn(self, times=5):
        for _ in range(times):
            pyuvnet.current_loop().turn()

    def echo(self):
        "A fresh connection is served."
        peer = self.peer()
        self.turn()
        peer.send(b"hello")
        self.turn()
        assert peer.recv(10) == b"hello"
        peer.close()
        self.turn()

    def end(self):
        for fd in self.filled:
            os.close(fd)
        if pyuvnet.current_loop().handle_count():
            self.server.close()
        pyuvnet.run()
        assert pyuvnet.current_loop().handle_count() == 0
        pyuvnet.current_loop().close()

def accept(case, arm):
    case.serve(pause_on_connect=operation.startswith("paused"))
    case.fill()
    peer = case.peer()
    arm()
    case.turn()
    count = fail_allocations(-1)
    try:
        peer.send(b"x")
        case.turn()
        got = peer.recv(1)
    except (ConnectionResetError, BrokenPipeError):
        got = b""
    peer.close()
    assert got == b"x" or case.said, (got, case.said)
    case.turn()
    case.echo()
    return count, got == b"x"

def connect(case, arm):
    case.serve()
    case.fill()
    client = net.Socket()
    client.on("error", case.note)
    client.on("data", lambda chunk: (case.said.append(chunk), client.end()))
    arm()
    if pipe:
        client.connect("path")
    else:
        client.connect(case.target()[1], "127.0.0.1")
    case.turn(2)
    count = fail_allocations(-1)
    client.write(b"x")
    case.turn(20)
    case.echo()
    return count, b"x" in case.said

def listen(case, arm):
    case.fill()
    arm()
    case.serve()
    count = fail_allocations(-1)
    listening = case.server.listening
    if not listening:
        case.serve()
    case.echo()
    return count, listening

def open_descriptor(case, arm):
    case.fill()
    here, there = posix.socketpair()
    arm()
    try:
        socket = net.Socket(fd=there.fileno())
    except Exception as error:
        case.note(error)
        socket = None
    count = fail_allocations(-1)
    if socket is not None:
        there.detach()
        socket.on("data", case.said.append)
        here.send(b"x")
        case.turn()
        socket.destroy()
    here.close()
    there.close()
    case.serve()
    case.echo()
    return count, b"x" in case.said

def run(case, arm):
    case.fill()
    pyuvnet.set_immediate(lambda: None)
    arm()
    try:
        pyuvnet.run()
        well = True
    except OSError as error:
        case.note(error)
        well = False
    count = fail_allocations(-1)
    case.serve()
    case.echo()
    return count, well

operations = {
    "accept": accept, "paused": accept, "connect": connect, "listen": listen,
    "open": open_descriptor, "run": run,
}
for operation in sys.argv[2:]:
    pipe = operation.endswith("pipe")
    for nth in range(100):
        case = Case()
        function = operations[operation.split()[0]]
        count, well = function(case, lambda: fail_allocations(nth, 0 if lasting else nth + 1))
        case.end()
        bad = [said for said in case.said if said not in ("ENOMEM", "MemoryError", "drop", b"x")]
        print(operation, nth, count, well, *case.said)
        assert not bad, bad
        assert well or case.said
        if count <= nth:
            assert well
            break
print("done")
"""

OPERATIONS = ["accept", "accept pipe", "paused accept", "connect", "connect pipe", "listen"]
OPERATIONS += ["listen pipe", "open", "run"]


@needs_hook
@pytest.mark.parametrize("how_long", ["once", "lasting"])
def test_a_descriptor_beyond_the_table_is_watched_or_refused(
    run_child: Callable[..., Any], how_long: str
) -> None:
    child = run_child(PROGRAM, how_long, *OPERATIONS, timeout=60).clean()
    assert child.lines[-1] == "done"
    # The first allocation that fails is the table's.
    first = [line.split(" 0 ")[0] for line in child.lines if re.search(r" 0 \d+ False", line)]
    assert first == OPERATIONS, child.out


@pytest.mark.skipif(not CORE.exists(), reason="built without libuv's sources")
def test_the_function_that_is_kept_from_growing_the_table_is_the_known_one() -> None:
    """With another libuv, look whether watchers.h is still needed, and still right."""
    found = re.search(r"^static int maybe_resize.*?^}\n", CORE.read_text(), re.M | re.S)
    assert found
    digest = hashlib.sha256(found[0].encode()).hexdigest()
    assert digest == "d645398e4ef13c36766436472f4454631c746f7c3fcd9cc30765384a833c15ec"


def test_only_the_debug_build_counts_allocations() -> None:
    assert fail_allocations(-1) >= 0
    if not info.is_debug():
        assert fail_allocations(-1) == 0

"""Accepts that fail: visible as 'drop' and in `dropped`, over when descriptors return, no spinning.

Each program is a process of its own, since it takes all descriptors away, or the system calls.
"""

from __future__ import annotations

import json
import platform
import socket as posix
import sys
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._core.info import build_flags

SILENT = sys.platform == "win32" or "installed libuv" in build_flags()
unix = pytest.mark.skipif(
    SILENT, reason="Windows reports failures by itself; an installed libuv knows no hook"
)
# A filter of the kernel makes accept4 of one listener fail; the number of accept4 there.
ACCEPT4 = {"x86_64": 288, "aarch64": 242}.get(platform.machine())
filtered = pytest.mark.skipif(
    SILENT or sys.platform != "linux" or ACCEPT4 is None, reason="the filter is written for Linux"
)

ADDRESSES = [
    "localAddress",
    "localPort",
    "localFamily",
    "remoteAddress",
    "remotePort",
    "remoteFamily",
]

PROGRAM = """
    import atexit, ctypes, json, os, resource, socket as posix, struct, sys, time
    import pyuvnet
    from pyuvnet import net

    drops, accepted, held, peers = [], [], [], []
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def exhaust():
        # All that there may be; the next one is refused.
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                return

    def forbid():
        # Below what is open already, libuv's spare one included.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))

    def release():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        while held:
            os.close(held.pop())

    def make_peers(count):
        family = posix.AF_INET if isinstance(target, tuple) else posix.AF_UNIX
        ended()
        peers[:] = [posix.socket(family) for _ in range(count)]

    def flood():
        for peer in peers:
            peer.connect(target)

    def ended():
        # A peer that was dropped reads its end, or a reset.
        count = 0
        for peer in peers:
            try:
                peer.settimeout(0)
                count += peer.recv(1) == b""
            except ConnectionResetError:
                count += 1
            except OSError:
                pass
            peer.close()
        peers.clear()
        return count

    atexit.register(lambda: ended())

    def deny(server, error):
        # accept4 of this listener fails from now on, as if the kernel said so.
        fd = int(os.environ["LISTENER"])
        code = [(0x20, 0, 0, 0), (0x15, 0, 3, ACCEPT4), (0x20, 0, 0, 16), (0x15, 0, 1, fd),
                (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7fff0000)]
        data = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
        libc = ctypes.CDLL(None, use_errno=True)
        program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(data))
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        assert libc.prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())

    def say(**what):
        print(json.dumps(what), flush=True)

    def finish():
        for s in accepted:
            s.destroy()
        server.close()

    # As libuv does; "wait" is in test_accepting_limits.py.
    server = net.create_server(accepted.append, on_exhausted="shed", reserve_descriptors=0)
    server.on("drop", drops.append)
"""


def told(child: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in child.clean().lines]


@pytest.fixture
def play(run_child: Any) -> Any:
    """play(text) runs PROGRAM and the text; returns what it said."""

    def run(text: str) -> list[dict[str, Any]]:
        code = PROGRAM.replace("ACCEPT4", str(ACCEPT4)) + text
        return told(run_child(code, timeout=30))

    return run


@pytest.mark.spec("D24")
@unix
@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_what_libuv_drops_is_announced_and_counted(kind: str, play: Any, tmp_path: Any) -> None:
    place = "0, '127.0.0.1'" if kind == "tcp" else repr(str(tmp_path / "sock"))
    found, later = play(f"""
    server.listen({place})

    @server.on("listening")
    def listening():
        global target
        target = server.address()
        if not isinstance(target, str):
            target = ("127.0.0.1", target["port"])
        make_peers(20)
        exhaust()
        flood()

    def dropped(info):
        if len(drops) < 20:
            return
        say(drops=drops, dropped=server.dropped, accepted=len(accepted), ended=ended())
        release()
        make_peers(5)
        flood()

    def connection(s):
        if len(accepted) == 5:
            say(dropped=server.dropped, drops=len(drops))
            finish()
            for peer in peers:
                peer.close()

    server.on("drop", dropped)
    server.on("connection", connection)
    pyuvnet.run()
    """)
    assert (found["dropped"], found["accepted"], found["ended"]) == ({"EMFILE": 20}, 0, 20)
    assert later == {"dropped": {"EMFILE": 20}, "drops": 20}
    for drop in found["drops"]:
        assert drop["reason"] == "EMFILE"
        if kind == "tcp":
            assert list(drop) == [*ADDRESSES, "reason"]
            assert drop["localAddress"] == drop["remoteAddress"] == "127.0.0.1"
            assert drop["remoteFamily"] == "IPv4"
        else:
            assert list(drop) == ["reason"]
    if kind == "tcp":
        assert len({drop["remotePort"] for drop in found["drops"]}) == 20


@pytest.mark.spec("D24")
@unix
def test_without_a_spare_descriptor_they_wait_and_nothing_spins(play: Any) -> None:
    waited, over = play("""
    server.listen(0, "127.0.0.1")
    turns = 0

    @server.on("listening")
    def listening():
        global target, began
        target = ("127.0.0.1", server.address()["port"])
        make_peers(20)
        forbid()
        flood()
        began = time.monotonic(), time.process_time()

    def dropped(info):
        if len(drops) == 5:
            say(took=time.monotonic() - began[0], used=time.process_time() - began[1],
                drops=drops, dropped=server.dropped, accepted=len(accepted))
            release()

    server.on("drop", dropped)

    def connection(s):
        if len(accepted) == 20:
            say(dropped=list(server.dropped))
            finish()
            for peer in peers:
                peer.close()

    server.on("connection", connection)
    pyuvnet.run()
    """)
    # Tried at once, and then each 100 ms.
    assert waited["took"] > 0.35
    assert waited["used"] < 0.2
    assert waited["dropped"] == {"EMFILE": 5}
    assert waited["accepted"] == 0
    assert waited["drops"] == [dict.fromkeys(ADDRESSES) | {"reason": "EMFILE"}] * 5
    assert over["dropped"] == ["EMFILE"]


@unix
def test_a_spare_descriptor_that_was_lost_is_taken_anew(play: Any) -> None:
    (found,) = play("""
    server.listen(0, "127.0.0.1")

    @server.on("listening")
    def listening():
        global target
        target = ("127.0.0.1", server.address()["port"])
        make_peers(1)
        forbid()
        flood()
        pyuvnet.set_timeout(release, 50)

    def connection(s):
        # After a pause, so libuv has its spare descriptor again.
        peers.pop().close()
        make_peers(10)
        drops.clear()
        exhaust()
        flood()

    def dropped(info):
        if len(drops) == 10 and info.remote_port:
            say(drops=drops)
            release()
            finish()
            ended()

    server.on("connection", connection)
    server.on("drop", dropped)
    pyuvnet.run()
    """)
    assert all(drop["remotePort"] for drop in found["drops"])


@filtered
@pytest.mark.parametrize(
    ("error", "tries"),
    [
        ("ENOBUFS", 4),
        ("ENOMEM", 4),
        ("ENFILE", 4),
        # Those that take the connection with them are tried on for a while.
        ("ECONNABORTED", 64 + 3),
        ("EPROTO", 64 + 3),
        ("EPERM", 64 + 3),
    ],
)
def test_other_failures(error: str, tries: int, play: Any) -> None:
    (seen,) = play(f"""
    import errno
    server.listen(0, "127.0.0.1")

    @server.on("listening")
    def listening():
        global target, began
        target = ("127.0.0.1", server.address()["port"])
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                with posix.socket(fileno=os.dup(fd)) as view:
                    if view.getsockopt(posix.SOL_SOCKET, posix.SO_ACCEPTCONN):
                        os.environ["LISTENER"] = str(fd)
            except OSError:
                pass
        make_peers(3)
        flood()
        deny(server, errno.{error})
        # Another listener of the loop is not concerned.
        other = net.create_server(lambda s: (s.end(), other.close())).listen(0, "127.0.0.1")
        other.on("listening", lambda: net.create_connection(dict(
            port=other.address()["port"], host="127.0.0.1")).resume())
        began = time.monotonic(), time.process_time()

    def dropped(info):
        if len(drops) == {tries}:
            say(took=time.monotonic() - began[0], used=time.process_time() - began[1],
                first=info, dropped=server.dropped, accepted=len(accepted))
            finish()

    server.on("drop", dropped)
    pyuvnet.run()
    """)
    assert seen["dropped"] == {error: tries}
    assert seen["first"] == dict.fromkeys(ADDRESSES) | {"reason": error}
    assert seen["accepted"] == 0
    # Three rests of 100 ms.
    assert seen["took"] > 0.25
    assert seen["used"] < 0.2


@filtered
def test_another_process_that_was_faster_is_no_failure(play: Any) -> None:
    (seen,) = play("""
    import errno
    server.listen(0, "127.0.0.1")

    @server.on("listening")
    def listening():
        global target
        target = ("127.0.0.1", server.address()["port"])
        fds = []
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                with posix.socket(fileno=os.dup(fd)) as view:
                    if view.getsockopt(posix.SOL_SOCKET, posix.SO_ACCEPTCONN):
                        fds.append(fd)
            except OSError:
                pass
        os.environ["LISTENER"] = str(fds[0])
        make_peers(1)
        flood()
        deny(server, errno.EAGAIN)
        pyuvnet.set_immediate(lambda: pyuvnet.set_immediate(look))

    def look():
        say(drops=drops, dropped=server.dropped)
        finish()
        peers.pop().close()

    pyuvnet.run()
    """)
    assert seen == {"drops": [], "dropped": {}}


@unix
@pytest.mark.parametrize("way", ["close", "raise", "again"])
def test_what_a_listener_of_drop_may_do(way: str, play: Any) -> None:
    said = play(f"""
    way = {way!r}
    server.listen(0, "127.0.0.1")
    pyuvnet.set_exception_handler(lambda error: say(raised=error.args))

    @server.once("listening")
    def listening():
        global target
        target = ("127.0.0.1", server.address()["port"])
        make_peers(3)
        exhaust()
        flood()

    def dropped(info):
        if way == "raise":
            if len(drops) == 3:
                release()
                server.close()
            raise ValueError("X")
        server.close()
        release()
        if way == "again":
            server.listen(target[1], "127.0.0.1", callback=lambda: (say(again=True),
                                                                    server.close()))

    server.on("drop", dropped)
    server.on("close", lambda: say(closed=len(drops)))
    pyuvnet.run()
    """)
    if way == "close":
        assert said == [{"closed": 1}]
    elif way == "raise":
        assert said == [{"raised": ["X"]}] * 3 + [{"closed": 3}]
    else:
        assert said == [{"closed": 1}, {"again": True}, {"closed": 1}]


@unix
@pytest.mark.parametrize("way", ["close", "unref", "again"])
def test_a_paused_listener_can_be_closed_left_and_replaced(way: str, play: Any) -> None:
    said = play(f"""
    way = {way!r}
    server.listen(0, "127.0.0.1")

    @server.once("listening")
    def listening():
        global target
        target = ("127.0.0.1", server.address()["port"])
        make_peers(2)
        forbid()
        flood()

    @server.once("drop")
    def dropped(info):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        if way == "unref":
            server.unref()
        else:
            server.close(lambda error: say(closed=True))
        if way == "again":
            ended()
            server.listen(target[1], "127.0.0.1", callback=lambda: (make_peers(1), flood()))
            server.once("connection", lambda s: (say(accepted=True), finish(), ended()))

    pyuvnet.run()
    say(listening=server.listening)
    """)
    assert said[-1] == {"listening": way == "unref"}
    assert {"accepted": True} in said or way != "again"


@unix
def test_under_asyncio(play: Any) -> None:
    waited, over = play("""
    import asyncio, logging

    # asyncio imports it, and so the drop is logged.
    logging.getLogger("pyuvnet").addHandler(logging.NullHandler())

    async def main():
        global target
        server.listen(0, "127.0.0.1")
        while not server.listening:
            await asyncio.sleep(0)
        target = ("127.0.0.1", server.address()["port"])
        make_peers(2)
        forbid()
        flood()
        while not drops:
            await asyncio.sleep(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        say(dropped=server.dropped)
        while len(accepted) < 2:
            await asyncio.sleep(0.01)
        say(accepted=len(accepted))
        finish()
        for peer in peers:
            peer.close()

    pyuvnet.run(main())
    """)
    assert waited == {"dropped": {"EMFILE": 1}}
    assert over == {"accepted": 2}


EXHAUST = """
    import _testcapi, json, os, socket as posix, sys
    import pyuvnet
    from pyuvnet import net

    way, place = sys.argv[1:]
    loop = pyuvnet.current_loop()
    given, drops = [], []

    def nothing(error):
        pass

    def connection(s):
        # No function is made here: CPython 3.13.0 crashes if there is no memory for one.
        given.append(True)
        s.on("data", s.end).on("error", nothing)

    server = net.create_server(connection)
    if way == "drop":
        server.on("drop", drops.append)
    elif way == "options":
        server.no_delay = server.keep_alive = True
    elif way == "blocked":
        server.block_list = net.BlockList.load(["127.0.0.0/8"])
    elif way == "full":
        server.max_connections = 0
        server.on("drop", drops.append)
    server.listen(place or 0)
    loop.turn()
    family = posix.AF_UNIX if place else posix.AF_INET
    target = place or ("127.0.0.1", server.address()["port"])

    def ask():
        # What a peer gets, while there is memory.
        with posix.socket(family) as peer:
            peer.connect(target)
            peer.sendall(b"x")
            peer.setblocking(False)
            for _ in range(50):
                loop.turn()
                try:
                    return peer.recv(10)
                except BlockingIOError:
                    pass
                except ConnectionResetError:
                    return b""

    served = ask()
    assert served == (b"" if way in ("blocked", "full") else b"x"), served
    loop.turn()
    descriptors = len(os.listdir("/proc/self/fd"))
    refusals = 0

    # For so many allocations, from each one on, there is no memory.
    for length in (1, 2, 5, 1000):
        for start in range(40):
            counted = sum(server.dropped.values()), len(given)
            peers = [posix.socket(family) for _ in range(2)]
            for peer in peers:
                peer.connect(target)
            raised = False
            _testcapi.set_nomemory(start, start + length)
            try:
                loop.turn()
            except MemoryError:
                raised = True
            finally:
                _testcapi.remove_mem_hooks()
            refused, taken = sum(server.dropped.values()) - counted[0], len(given) - counted[1]
            # One connection for each turn, which nobody loses without a word.
            assert refused + taken == 1 or raised, (length, start, refused, taken, raised)
            refusals += refused
            for peer in peers:
                peer.close()
            for _ in range(8):
                loop.turn()
            assert ask() == served, ("not served any more", length, start)
            for _ in range(5):
                loop.turn()
            assert server._connections == 0, ("the count", server._connections, length, start)
            here = len(os.listdir("/proc/self/fd"))
            assert here == descriptors, ("descriptors", here, descriptors, length, start)
    print(json.dumps([server.dropped, drops]))
    server.close()
    pyuvnet.run()
    loop.close()
"""


@unix
@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
@pytest.mark.parametrize(
    ("way", "kind"),
    [(way, kind) for way in ("plain", "drop", "full") for kind in ("tcp", "ipc")]
    + [("options", "tcp"), ("blocked", "tcp")],
)
def test_without_memory_a_connection_is_dropped_and_the_next_one_served(
    way: str, kind: str, run_child: Any, tmp_path: Any
) -> None:
    pytest.importorskip("_testcapi")
    place = str(tmp_path / "sock") if kind == "ipc" else ""
    child = run_child(EXHAUST, way, place, timeout=60)
    dropped, drops = json.loads(child.clean().lines[-1])
    assert dropped["ENOMEM"] > 0
    if way == "drop":
        assert drops
        for drop in drops:
            assert list(drop) == ([*ADDRESSES, "reason"] if kind == "tcp" else ["reason"])
            assert drop["reason"] == "ENOMEM"
            assert drop.get("remoteAddress", "::ffff:127.0.0.1") == "::ffff:127.0.0.1"


@pytest.mark.spec("N022", "D69")
def test_all_refusals_are_counted_by_reason() -> None:
    server = net.create_server(lambda s: s.destroy()).listen(0)
    assert server.dropped == {}
    server.max_connections = 0
    blocked = net.BlockList()
    blocked.add_address("127.0.0.1")
    peers = []

    def connect() -> None:
        peers.append(posix.create_connection(("127.0.0.1", server.address()["port"])))

    def next_one(info: Any) -> None:
        if info.get("reason") is not None:
            assert info.reason == "block_list"
            return
        assert list(info) == ADDRESSES
        if len(peers) < 2:
            connect()
            return
        server.max_connections = None
        server.block_list = blocked
        connect()
        pyuvnet.set_immediate(wait)

    def wait() -> None:
        if server.dropped.get("block_list"):
            server.close()
        else:
            pyuvnet.set_immediate(wait)

    server.on("drop", next_one)
    connect()
    pyuvnet.run()
    for peer in peers:
        peer.close()
    assert server.dropped == {"max_connections": 2, "block_list": 1}
    # What it gives is a copy.
    server.dropped["max_connections"] = 0
    assert server.dropped["max_connections"] == 2

"""Accepting: pause(), overflow, max_per_address, on_exhausted, reserve_descriptors, read_budget."""

from __future__ import annotations

import json
import socket as posix
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import framing, net
from pyuvnet._core.admission import REASONS
from pyuvnet._core.info import build_flags
from tests.support.cases import cases

PATHS = [None] if sys.platform == "win32" else [None, "s"]
hooked = pytest.mark.skipif(
    sys.platform == "win32" or "installed libuv" in build_flags(),
    reason="the hook on accept() is not there",
)


def test_each_reason_for_a_drop_is_in_the_guide_and_in_the_docstrings() -> None:
    guide = Path(__file__).parent.parent / "docs" / "guide" / "limits.md"
    rows = guide.read_text("utf-8").splitlines()
    for name, silent, words in REASONS:
        assert f"| `'{name}'` | {words} | {'no' if silent else 'yes'} |" in rows
        assert f"'{name}'" in str(net.Server.__doc__)
        assert f"'{name}'" in str(net.Server.dropped.__doc__)


def turns(count: int, then: Callable[[], object]) -> None:
    """Call something after so many turns of the loop, in which all that has come is handled."""
    if count:
        pyuvnet.set_immediate(turns, count - 1, then)
    else:
        then()


def connected(place: Any) -> posix.socket:
    """A peer whose connection stands, in the kernel's queue at least."""
    if isinstance(place, str):
        peer = posix.socket(posix.AF_UNIX)
        peer.connect(place)
        return peer
    return posix.create_connection(("127.0.0.1", place["port"]))


def in_kernel(descriptor: int, most: int) -> int:
    """How many bytes a socket has to read, of so many at most."""
    view = posix.socket(fileno=descriptor)
    try:
        return len(view.recv(most, posix.MSG_PEEK))
    except BlockingIOError:
        return 0
    finally:
        view.detach()


# ---- pause() and resume() ----------------------------------------------------------------------


@pytest.mark.spec("D132", "P5-01")
@cases("path", PATHS)
@cases("when", ["before listen", "at listening", "later"])
def test_a_paused_server_leaves_clients_in_the_queue(
    path: str | None, when: str, tmp_path: Path
) -> None:
    sockets: list[net.Socket] = []
    peers: list[posix.socket] = []
    server = net.create_server(sockets.append)

    def begin() -> None:
        if when == "later":
            peers.append(connected(server.address()))
            turns(5, pause)
        else:
            pause()

    def pause() -> None:
        assert len(sockets) == len(peers)
        if when != "before listen":
            assert server.pause() is server
        assert server.paused
        before = len(sockets)
        for _ in range(5):
            peers.append(connected(server.address()))
        turns(10, lambda: waited(before))

    def waited(before: int) -> None:
        assert len(sockets) == before
        assert server.resume() is server
        assert not server.paused
        turns(20, resumed)

    def resumed() -> None:
        assert len(sockets) == len(peers)
        for socket in sockets:
            socket.destroy()
        server.close()

    if when == "before listen":
        server.pause()
    place = {"path": str(tmp_path / path)} if path else {"port": 0, "host": "127.0.0.1"}
    server.listen(**place, callback=begin)
    pyuvnet.run()
    for peer in peers:
        peer.close()


def test_a_pause_lasts_over_close_and_listen_and_resume_is_idempotent() -> None:
    server = net.create_server()
    assert not server.paused
    server.resume()
    server.pause().pause()
    server.listen(0, "127.0.0.1")
    server.on("listening", server.close)
    pyuvnet.run()
    assert server.paused
    assert not server.resume().paused


def test_close_while_paused_ends_the_clients_in_the_queue_and_the_server() -> None:
    seen: list[str] = []
    server = net.create_server()
    server.on("connection", lambda s: seen.append("connection"))
    server.on("close", lambda: seen.append("close"))

    def listening() -> None:
        server.pause()
        peers.append(connected(server.address()))
        turns(3, server.close)

    peers: list[posix.socket] = []
    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    assert seen == ["close"]
    peers[0].settimeout(5)
    with pytest.raises(ConnectionResetError):
        assert peers[0].recv(1)
    peers[0].close()


def test_pause_in_the_connection_listener_takes_no_other() -> None:
    taken: list[int] = []
    peers: list[posix.socket] = []

    def connection(socket: net.Socket) -> None:
        taken.append(server._connections)
        server.pause()
        turns(3, lambda: (socket.destroy(), server.resume()))
        if len(taken) == 4:
            server.close()

    server = net.create_server(connection)

    def listening() -> None:
        peers.extend(connected(server.address()) for _ in range(4))

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    assert taken == [1, 1, 1, 1]
    for peer in peers:
        peer.close()


@hooked
def test_a_paused_server_costs_no_cpu_whoever_waits(run_child: Any) -> None:
    code = """
    import json, resource, socket as posix
    import pyuvnet
    from pyuvnet import net
    server = net.create_server()
    peers = []
    def listening():
        server.pause()
        for _ in range(10):
            peers.append(posix.create_connection(("127.0.0.1", server.address()["port"])))
        pyuvnet.set_timeout(begin, 50)
    def used():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime
    def begin():
        global before
        before = used()
        pyuvnet.set_timeout(end, 500)
    def end():
        print(json.dumps(used() - before))
        server.close()
        for peer in peers:
            peer.close()
    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    """
    # It would be all of the half second, if the poll returned at once.
    assert json.loads(run_child(code).clean().lines[0]) < 0.1


# ---- max_connections ---------------------------------------------------------------------------


@pytest.mark.spec("P5-02")
@cases("path", PATHS)
@cases(("limit", "resumes"), [(1, 0), (2, 1), (3, 2), (20, 19), (40, 38), (100, 95)])
def test_overflow_wait_pauses_at_the_limit_and_resumes_at_95_percent(
    path: str | None, limit: int, resumes: int, tmp_path: Path
) -> None:
    sockets: list[net.Socket] = []
    drops: list[Any] = []
    peers: list[posix.socket] = []
    server = net.create_server(sockets.append, max_connections=limit, overflow="wait")
    server.on("drop", drops.append)

    def listening() -> None:
        peers.extend(connected(server.address()) for _ in range(limit + 10))
        turns(limit + 15, full)

    def full() -> None:
        assert len(sockets) == limit
        assert server._resting
        # Above 95 % it rests on.
        for socket in sockets[: limit - resumes - 1]:
            socket.destroy()
        turns(15, above)

    def above() -> None:
        assert len(sockets) == limit
        sockets[limit - resumes - 1].destroy()
        turns(15, resumed)

    def resumed() -> None:
        assert len(sockets) == min(limit + (limit - resumes), limit + 10)
        server.close()
        for socket in sockets:
            socket.destroy()

    place = {"path": str(tmp_path / path)} if path else {"port": 0, "host": "127.0.0.1"}
    server.listen(**place, callback=listening)
    pyuvnet.run()
    assert drops == []
    assert dict(server.dropped) == {}
    for peer in peers:
        peer.close()


@pytest.mark.spec("D133")
def test_nobody_is_lost_at_the_limit() -> None:
    """300 clients, of which 10 at a time are served: every one gets its answer."""
    answers: list[bytes] = []
    most = [0]

    def connection(socket: net.Socket) -> None:
        most[0] = max(most[0], server._connections)
        socket.on("data", socket.end)

    server = net.create_server(connection, max_connections=10, overflow="wait")

    def listening() -> None:
        for number in range(300):
            client = net.connect(server.address()["port"], "127.0.0.1")
            client.end(b"%d" % number)
            client.on("data", answered)

    def answered(data: bytes) -> None:
        answers.append(data)
        if len(answers) == 300:
            server.close()

    server.listen(0, "127.0.0.1", 400, listening)
    pyuvnet.run()
    assert sorted(map(int, answers)) == list(range(300))
    assert most[0] <= 10
    assert dict(server.dropped) == {}


def test_a_limit_that_changes_acts_at_once() -> None:
    sockets: list[net.Socket] = []
    peers: list[posix.socket] = []
    server = net.create_server(sockets.append, max_connections=0, overflow="wait")

    def listening() -> None:
        assert server._resting
        peers.extend(connected(server.address()) for _ in range(8))
        turns(12, none)

    def none() -> None:
        assert sockets == []
        server.max_connections = 3
        turns(12, three)

    def three() -> None:
        assert len(sockets) == 3
        server.max_connections = None
        turns(12, all_)

    def all_() -> None:
        assert len(sockets) == 8
        server.max_connections = 5
        assert server._resting
        server.close()
        for socket in sockets:
            socket.destroy()

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    for peer in peers:
        peer.close()


def test_a_program_that_pauses_is_not_resumed_by_room() -> None:
    sockets: list[net.Socket] = []
    peers: list[posix.socket] = []
    server = net.create_server(sockets.append, max_connections=1, overflow="wait")

    def listening() -> None:
        peers.extend(connected(server.address()) for _ in range(3))
        turns(6, full)

    def full() -> None:
        server.pause()
        sockets[0].destroy()
        turns(6, paused)

    def paused() -> None:
        assert len(sockets) == 1
        server.resume()
        turns(6, resumed)

    def resumed() -> None:
        assert len(sockets) == 2
        # Full again: this resumes nothing.
        server.resume()
        turns(6, end)

    def end() -> None:
        assert len(sockets) == 2
        server.close()
        sockets[1].destroy()

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    for peer in peers:
        peer.close()


@pytest.mark.spec("P5-03")
def test_overflow_drop_is_nodes() -> None:
    drops: list[Any] = []
    peers: list[posix.socket] = []
    server = net.create_server(lambda s: s.on("end", server.close), max_connections=1)
    server.on("drop", drops.append)

    def listening() -> None:
        peers.extend(connected(server.address()) for _ in range(3))
        turns(6, lambda: [peer.close() for peer in peers])

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    assert len(drops) == 2
    assert server.dropped["max_connections"] == 2
    assert drops[0].reason == "max_connections"


# ---- max_per_address ---------------------------------------------------------------------------


@pytest.mark.spec("P5-03", "P5-04")
def test_one_address_may_have_so_many_connections() -> None:
    drops: list[Any] = []
    sockets: list[net.Socket] = []
    server = net.create_server(sockets.append, max_per_address=3)
    server.on("drop", drops.append)
    peers: list[posix.socket] = []

    def peer(address: str) -> None:
        one = posix.socket()
        one.bind((address, 0))
        one.connect(("127.0.0.1", server.address()["port"]))
        peers.append(one)

    def listening() -> None:
        for _ in range(5):
            peer("127.0.0.1")
            peer("127.0.0.2")
        turns(15, counted)

    def counted() -> None:
        assert server._per_address == {b"\x7f\0\0\1": 3, b"\x7f\0\0\2": 3}
        assert len(drops) == 4
        assert {drop.reason for drop in drops} == {"max_per_address"}
        assert {drop.remote_address for drop in drops} == {"127.0.0.1", "127.0.0.2"}
        # One that goes makes room for one.
        next(s for s in sockets if s.remote_address == "127.0.0.2").destroy()
        peer("127.0.0.2")
        peer("127.0.0.2")
        turns(6, again)

    def again() -> None:
        assert len(drops) == 5
        assert server.dropped["max_per_address"] == 5
        for socket in sockets:
            socket.destroy()
        assert server._per_address == {}
        server.close()

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    for one in peers:
        one.close()


@pytest.mark.spec("P5-04")
def test_the_addresses_of_a_64_of_ipv6_count_as_one() -> None:
    drops: list[Any] = []
    sockets: list[net.Socket] = []
    server = net.create_server(
        sockets.append, max_per_address=2, proxy_protocol={"trusted": ["127.0.0.0/8"]}
    )
    server.on("drop", drops.append)
    peers: list[posix.socket] = []

    def peer(source: str) -> None:
        one = connected(server.address())
        family = "TCP6" if ":" in source else "TCP4"
        here = "::1" if ":" in source else "127.0.0.1"
        one.sendall(f"PROXY {family} {source} {here} 1000 80\r\n".encode())
        peers.append(one)

    def listening() -> None:
        for last in ("1", "2", "3:4"):
            peer(f"2001:db8:0:1::{last}")
        peer("2001:db8:0:2::1")
        for _ in range(2):
            peer("10.0.0.1")
        # The same address, as dual-stack sockets write it.
        peer("::ffff:10.0.0.1")
        peer("10.0.0.2")
        turns(30, counted)

    def counted() -> None:
        assert [drop.reason for drop in drops] == ["max_per_address"] * 2
        assert [drop.remote_address for drop in drops] == ["2001:db8:0:1::3:4", "::ffff:10.0.0.1"]
        assert sorted((server._per_address or {}).values()) == [1, 1, 2, 2]
        for socket in sockets:
            socket.destroy()
        assert server._per_address == {}
        server.close()

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    for one in peers:
        one.close()


def test_counts_by_address_are_exact_after_errors_and_reconnects() -> None:
    sockets: list[net.Socket] = []
    server = net.create_server(sockets.append, max_per_address=100)
    other = net.create_server(lambda s: s.end())
    peers: list[posix.socket] = []

    def listening() -> None:
        peers.extend(connected(server.address()) for _ in range(5))
        turns(10, act)

    def act() -> None:
        assert server._per_address == {b"\x7f\0\0\1": 5}
        sockets[0].on("error", lambda error: None)
        sockets[0].destroy(OSError("of the program"))
        sockets[1].reset_and_destroy()
        sockets[2].destroy_soon()
        sockets[2].resume()
        peers[2].close()
        # It becomes a client elsewhere, and counts no more.
        sockets[3].destroy()
        sockets[3].connect(other.address()["port"], "127.0.0.1")
        sockets[3].resume()
        sockets[4].resume()
        peers[4].close()
        sockets[3].on("close", lambda _: end())

    def end() -> None:
        turns(5, ended)

    def ended() -> None:
        assert server._per_address == {}
        assert server._connections == 0
        server.close()
        other.close()

    other.listen(0, "127.0.0.1")
    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    for one in peers:
        one.close()


@cases("act", ["close", "destroy", "raise"])
def test_the_listener_of_drop_may_do_anything(act: str) -> None:
    sockets: list[net.Socket] = []
    drops: list[Any] = []
    peers: list[posix.socket] = []
    server = net.create_server(sockets.append, max_per_address=1)

    def dropped(info: Any) -> None:
        drops.append(info.reason)
        for socket in sockets:
            if act == "destroy" or len(drops) == 3:
                socket.destroy()
        if act == "close" or len(drops) == 3 or act == "destroy":
            server.close()
            for socket in sockets:
                socket.destroy()
        if act == "raise":
            raise LookupError("of the listener")

    server.on("drop", dropped)

    def listening() -> None:
        peers.extend(connected(server.address()) for _ in range(4))

    server.listen(0, "127.0.0.1", callback=listening)
    raised = 0
    for _ in range(4):
        try:
            pyuvnet.run()
        except LookupError:
            raised += 1
    assert raised == (3 if act == "raise" else 0)
    assert set(drops) == {"max_per_address"}
    assert server._per_address == {}
    for peer in peers:
        peer.close()


# ---- Out of descriptors ------------------------------------------------------------------------

EXHAUSTED = """
    import io, json, logging, os, resource, select, socket as posix, sys, time
    import pyuvnet
    from pyuvnet import net
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    CLIENTS, LIMIT = {clients}, {limit}
    # The clients are another process's, which has descriptors.
    ready, go = os.pipe()
    back, done = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        port = int(os.read(ready, 10))
        peers = []
        for number in range(CLIENTS):
            peer = posix.create_connection(("127.0.0.1", port))
            peer.send(b"x")
            peers.append(peer)
        answered = lost = 0
        poll = select.poll()
        by_fd = {{peer.fileno(): peer for peer in peers}}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        end = time.monotonic() + 25
        while by_fd and time.monotonic() < end:
            for fd, _ in poll.poll(100):
                peer = by_fd.pop(fd)
                poll.unregister(fd)
                try:
                    if peer.recv(1) == b"y":
                        answered += 1
                    else:
                        lost += 1
                except OSError:
                    lost += 1
                peer.close()
        os.write(done, json.dumps([answered, lost, len(by_fd)]).encode())
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    log = io.StringIO()
    logging.basicConfig(stream=log)
    free, drops = [], []
    def connection(socket):
        # How many files the program could still open.
        count = []
        if len(free) % 10 == 0:
            try:
                while len(count) < 40:
                    count.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
            for fd in count:
                os.close(fd)
        free.append(len(count) if count else 40)
        socket.on("error", lambda error: None)
        socket.on("data", lambda data: pyuvnet.set_timeout(lambda: socket.end(b"y"), 20))
    server = net.create_server(connection, {options})
    server.on("drop", lambda info: drops.append(info.reason))
    def listening():
        os.write(go, str(server.address()["port"]).encode())
        wait()
    def wait():
        if select.select([back], [], [], 0)[0]:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            answered, lost, left = json.loads(os.read(back, 100))
            print(json.dumps(dict(
                answered=answered, lost=lost, left=left, free=min(free), drops=len(drops),
                dropped=dict(server.dropped), cpu=usage.ru_utime + usage.ru_stime,
                log=log.getvalue().count("while this process has no descriptor left"))))
            os.waitpid(child, 0)
            server.close()
        else:
            pyuvnet.set_timeout(wait, 20)
    server.listen(0, "127.0.0.1", 2048, listening)
    pyuvnet.run()
"""


def exhausted(run_child: Any, options: str, clients: int = 200, limit: int = 64) -> dict[str, Any]:
    code = EXHAUSTED.format(options=options, clients=clients, limit=limit)
    found: dict[str, Any] = json.loads(run_child(code, timeout=60).clean().lines[0])
    return found


@pytest.mark.spec("P5-05", "D280")
@hooked
def test_by_default_nobody_is_lost_without_descriptors(run_child: Any) -> None:
    found = exhausted(run_child, "")
    assert (found["answered"], found["lost"], found["left"]) == (200, 0, 0), found
    assert found["dropped"] == {}
    # Once a minute, although it tries ten times a second.
    assert found["log"] == 1


@pytest.mark.spec("P5-05", "P5-06")
@hooked
def test_on_exhausted_wait_loses_nobody_and_keeps_a_reserve(run_child: Any) -> None:
    found = exhausted(run_child, "on_exhausted='wait'")
    assert (found["answered"], found["lost"], found["left"]) == (200, 0, 0), found
    assert found["dropped"] == {}
    assert found["drops"] == 0
    # One less, since the probe of this program counts libuv's poll as well.
    assert found["free"] >= 15, found


@hooked
def test_on_exhausted_wait_without_a_reserve_loses_nobody_either(run_child: Any) -> None:
    found = exhausted(run_child, "on_exhausted='wait', reserve_descriptors=0")
    assert (found["answered"], found["lost"], found["left"]) == (200, 0, 0), found
    assert found["dropped"] == {}


@pytest.mark.spec("P5-03", "P5-06")
@hooked
def test_on_exhausted_shed_drops_with_a_reason_and_keeps_a_reserve(run_child: Any) -> None:
    found = exhausted(run_child, "on_exhausted='shed', reserve_descriptors=20")
    assert found["lost"] > 0
    assert found["left"] == 0
    assert found["answered"] + found["lost"] == 200
    assert set(found["dropped"]) == {"EMFILE"}
    assert found["drops"] == found["dropped"]["EMFILE"] >= found["lost"]
    assert found["free"] >= 19, found


@hooked
def test_a_server_that_waits_for_descriptors_costs_no_cpu(run_child: Any) -> None:
    code = """
    import json, os, resource, socket as posix
    import pyuvnet
    from pyuvnet import net
    server = net.create_server(on_exhausted="wait")
    taken = []
    server.on("connection", taken.append)
    held, peers = [], []
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    def used():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime
    def listening():
        peers.extend(posix.socket() for _ in range(20))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        for peer in peers:
            peer.connect(("127.0.0.1", server.address()["port"]))
        pyuvnet.set_timeout(begin, 50)
    def begin():
        global before
        before = used()
        pyuvnet.set_timeout(end, 1000)
    def end():
        spent, count = used() - before, len(taken)
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        wait(spent, count)
    def wait(spent, count):
        if len(taken) < 20:
            pyuvnet.set_timeout(wait, 10, spent, count)
            return
        print(json.dumps([spent, count, len(taken), dict(server.dropped)]))
        for socket in taken:
            socket.destroy()
        for peer in peers:
            peer.close()
        server.close()
    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    """
    spent, count, taken, dropped = json.loads(run_child(code).clean().lines[0])
    assert (count, taken, dropped) == (0, 20, {})
    # It would be all of the second, if the poll returned at once.
    assert spent < 0.2


@hooked
def test_close_while_waiting_for_descriptors(run_child: Any) -> None:
    code = """
    import os, resource, socket as posix
    import pyuvnet
    from pyuvnet import net
    server = net.create_server(on_exhausted="wait")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    peer = posix.socket()
    def listening():
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        peer.connect(("127.0.0.1", server.address()["port"]))
        pyuvnet.set_timeout(server.close, 150)
    server.on("close", lambda: print("closed", dict(server.dropped)))
    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    peer.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    """
    assert run_child(code).clean().lines == ["closed {}"]


# ---- Fairness ----------------------------------------------------------------------------------


@pytest.mark.spec("P5-07")
@cases("onread", [False, True])
@cases(
    ("budget", "most"),
    [
        (None, 1 << 20),
        (262_144, 262_144),
        (65_536, 65_536),
        (1, 65_536),
        (100_000, 131_072),
        (0, 4 << 20),
    ],
)
def test_a_socket_reads_its_budget_in_one_turn_and_the_rest_in_the_next(
    budget: int | None, most: int, onread: bool
) -> None:
    """What one peer has sent, in bytes for each turn of the loop."""
    total = 1_500_000
    by_turn: list[int] = [0]
    #: What the kernel had for the turn before it began: more may arrive meanwhile.
    ready: list[int] = [0]
    options = {} if budget is None else {"read_budget": budget}
    listener = posix.create_server(("127.0.0.1", 0))
    listener.setsockopt(posix.SOL_SOCKET, posix.SO_SNDBUF, 4 << 20)

    def count(size: int) -> None:
        by_turn[-1] += size
        if sum(by_turn) >= sent[0]:
            client.destroy()
            finished.append(True)

    def turn() -> None:
        by_turn.append(0)
        if finished:
            ready.append(0)
        else:
            ready.append(in_kernel(client.fileno(), total))
            pyuvnet.set_immediate(turn)

    finished: list[bool] = []
    sent = [total]
    if onread:
        buffer = bytearray(65536)
        options["onread"] = {"buffer": buffer, "callback": lambda size, _: count(size)}
    client = net.Socket(**options)
    if not onread:
        client.on("data", lambda data: count(len(data)))
        client.pause()
    client.connect(listener.getsockname()[1], "127.0.0.1")
    sent[0] = 0
    peers: list[posix.socket] = []

    def begin() -> None:
        peers.append(listener.accept()[0])
        peers[0].setblocking(False)
        # As much as fits both buffers of the kernel, before anything is read.
        try:
            while sent[0] < total:
                sent[0] += peers[0].send(b"x" * min(65536, total - sent[0]))
        except BlockingIOError:
            pass
        if not onread:
            client.resume()
        pyuvnet.set_immediate(turn)

    client.on("connect", begin)
    pyuvnet.run()
    peers[0].close()
    listener.close()
    assert sum(by_turn) == sent[0]
    # The read that reaches it is the last one in its turn; one gives 128 KiB at most.
    assert max(by_turn) < most + 131_072
    # It is used up, and not cut short; a large read is a little less than 128 KiB.
    if budget is not None:
        for taken, there in zip(by_turn, ready, strict=True):
            assert taken >= min(there, most) - 1024


@pytest.mark.spec("D134", "P5-07")
@pytest.mark.parametrize(("count", "most"), [(4, 524_288), (40, 131_072)])
def test_the_default_budget_is_a_share_by_how_many_have_something_to_read(
    count: int, most: int
) -> None:
    """The most that one of them reads in a turn, once the number is known."""
    sizes: dict[net.Socket, list[int]] = {}
    turns = 0

    def connection(socket: net.Socket) -> None:
        sizes[socket] = [0]
        socket.on("data", lambda data: took(socket, len(data)))
        socket.on("error", lambda error: None)
        if len(sizes) == count:
            pyuvnet.set_immediate(turn)

    def took(socket: net.Socket, size: int) -> None:
        sizes[socket][-1] += size

    def turn() -> None:
        nonlocal turns
        turns += 1
        for taken in sizes.values():
            taken.append(0)
        if turns < 60:
            pyuvnet.set_immediate(turn)
        else:
            server.destroy_sockets()
            server.close()
            for client in clients:
                client.destroy()

    server = net.create_server(connection).listen(0)
    clients = [net.connect(server.address().port) for _ in range(count)]

    def more(client: net.Socket) -> None:
        while client.write(b"x" * 1_000_000):
            pass

    for client in clients:
        client.on("connect", lambda client=client: more(client))
        client.on("drain", lambda client=client: more(client))
        client.on("error", lambda error: None)
    pyuvnet.run()
    # The first turns do not know yet how many there are.
    later = [max(taken[20:]) for taken in sizes.values()]
    assert len(later) == count
    assert 131_072 - 1024 <= max(later) < most + 131_072


@pytest.mark.spec("D134")
def test_another_socket_has_its_turn_between_two_budgets() -> None:
    order: list[str] = []
    server = net.create_server(read_budget=65536)
    peers: list[posix.socket] = []

    def connection(socket: net.Socket) -> None:
        name = "big" if len(peers) == 1 else "small"
        socket.on("data", lambda data: order.append(name))
        socket.on("close", lambda _: server.close())
        socket.pause()
        sockets.append(socket)
        if len(sockets) < 2:
            peers.append(connected(server.address()))
        else:
            peers[0].setblocking(False)
            peers[0].send(b"x" * 1_000_000)
            peers[1].send(b"y")
            for each in sockets:
                each.resume()
            turns(40, end)

    def end() -> None:
        for each in sockets:
            each.destroy()

    sockets: list[net.Socket] = []
    server.on("connection", connection)
    server.listen(0, "127.0.0.1", callback=lambda: peers.append(connected(server.address())))
    pyuvnet.run()
    for peer in peers:
        peer.close()
    assert "small" in order[:3]
    assert order.count("big") > 3


@pytest.mark.spec("P5-08")
def test_a_burst_of_connects_is_accepted_one_by_one() -> None:
    """One connection of a listener is accepted in a turn, so that others have theirs between."""
    by_turn: list[int] = [0]
    peers: list[posix.socket] = []

    def connection(socket: net.Socket) -> None:
        by_turn[-1] += 1
        socket.destroy()

    server = net.create_server(connection)

    def turn() -> None:
        if sum(by_turn) == 50:
            server.close()
            return
        by_turn.append(0)
        pyuvnet.set_immediate(turn)

    def listening() -> None:
        peers.extend(connected(server.address()) for _ in range(50))
        turn()

    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    assert max(by_turn) == 1
    for peer in peers:
        peer.close()


# ---- Wrong options -----------------------------------------------------------------------------


@pytest.mark.spec("P0-02")
@cases(
    ("options", "code"),
    [
        ({"max_connections": "5"}, "ERR_INVALID_ARG_TYPE"),
        ({"max_connections": True}, "ERR_INVALID_ARG_TYPE"),
        ({"overflow": "queue"}, "ERR_INVALID_ARG_VALUE"),
        ({"overflow": True}, "ERR_INVALID_ARG_VALUE"),
        ({"max_per_address": 0}, "ERR_OUT_OF_RANGE"),
        ({"max_per_address": 1.5}, "ERR_OUT_OF_RANGE"),
        ({"max_per_address": "1"}, "ERR_INVALID_ARG_TYPE"),
        ({"on_exhausted": "crash"}, "ERR_INVALID_ARG_VALUE"),
        ({"on_exhausted": "shed", "reserve_descriptors": -1}, "ERR_OUT_OF_RANGE"),
        ({"on_exhausted": "shed", "reserve_descriptors": "16"}, "ERR_INVALID_ARG_TYPE"),
        ({"max_connections": -1}, "ERR_OUT_OF_RANGE"),
        ({"max_connections": -(10**30)}, "ERR_OUT_OF_RANGE"),
        ({"max_connections": -0.5}, "ERR_OUT_OF_RANGE"),
        ({"max_connections": float("nan")}, "ERR_OUT_OF_RANGE"),
        # What would have no effect.
        ({"overflow": "wait"}, "ERR_INVALID_ARG_VALUE"),
        ({"on_full": "refuse"}, "ERR_INVALID_ARG_VALUE"),
        ({"reserve_descriptors": 16}, "ERR_INVALID_ARG_VALUE"),
    ],
)
def test_wrong_options_raise(options: dict[str, Any], code: str) -> None:
    with pytest.raises(pyuvnet.errors.Error) as caught:
        net.create_server(**options)
    assert caught.value.code == code


def test_max_connections_may_be_more_than_any_number_of_connections() -> None:
    for most in (10**30, float("inf"), 0, 0.5):
        server = net.create_server(max_connections=most)
        assert server.max_connections == most
        with pytest.raises(pyuvnet.errors.RangeError):
            server.max_connections = -1
        assert server.max_connections == most


def test_a_modifier_may_come_with_an_option_that_is_none() -> None:
    """As from a configuration, or GUARDED where there is no limit of descriptors."""
    server = net.create_server(max_connections=None, overflow="wait")
    assert server.max_connections is None
    net.Socket(max_write_buffer=None, on_full="refuse")


def test_none_is_not_given() -> None:
    server = net.create_server(
        max_connections=None, overflow=None, max_per_address=None, on_exhausted=None,
        reserve_descriptors=None, max_write_buffer=None, on_full=None, write_budget=None,
        read_budget=None,
    )  # fmt: skip
    assert server.max_connections is None
    assert server._write_budget is None
    assert server._per_address is None


def test_half_built_servers_and_other_threads_are_refused() -> None:
    class Half(net.Server):
        def __init__(self) -> None:
            pass

    for call in (Half().pause, Half().resume):
        with pytest.raises(pyuvnet.errors.StateError) as caught:
            call()
        assert caught.value.code == "ERR_NOT_CONSTRUCTED"


@pytest.mark.parametrize(
    ("options", "size"),
    [
        # Spent with the 32nd read, after which libuv turns to the next socket by itself.
        ({"read_budget": 2 << 20, "framing": framing.Fixed(65536)}, 1 << 20),
        ({"onread": {"buffer": bytearray(4096), "callback": lambda size, buffer: None}}, 1 << 18),
    ],
    ids=["frames", "onread"],
)
def test_who_has_spent_its_budget_takes_no_turn_of_another(
    options: dict[str, Any], size: int
) -> None:
    (feeder, fed), (other, heard) = posix.socketpair(), posix.socketpair()
    feeder.setblocking(False)
    busy = net.Socket({"fd": fed.detach(), **options})
    busy.on("data", lambda chunk: None)
    quiet = net.Socket(fd=heard.detach())
    got: list[int] = []
    count = 0

    def feed() -> None:
        nonlocal count
        count += 1
        try:
            while True:
                feeder.send(bytes(size))
        except BlockingIOError:
            pass
        if count == 20:
            other.send(b"x")
        if got or count == 200:
            busy.destroy()
            quiet.destroy()
        else:
            pyuvnet.set_immediate(feed)

    quiet.on("data", lambda chunk: got.append(count))
    busy.resume()
    pyuvnet.set_immediate(feed)
    pyuvnet.run()
    feeder.close()
    other.close()
    assert got
    assert got[0] <= 24


# ---- Without memory ------------------------------------------------------------------------------


def test_a_connection_that_could_not_be_taken_does_not_count_for_its_address() -> None:
    memory = pytest.importorskip("_testcapi")
    accepted: list[net.Socket] = []
    server = net.create_server(
        accepted.append, max_per_address=3, idle_timeout=60_000, min_read_rate=(1, 60_000),
        max_write_buffer=100, write_budget=1000,
    )  # fmt: skip
    drops: list[str] = []
    server.on("drop", lambda info: drops.append(info.reason))
    failures: list[BaseException] = []
    pyuvnet.set_exception_handler(failures.append)
    server.listen(0, "127.0.0.1")
    turn = pyuvnet.current_loop().turn
    turn()
    place = server.address()
    for nth in range(60):
        peer = connected(place)
        memory.set_nomemory(nth, nth + 1)
        try:
            turn()
        finally:
            memory.remove_mem_hooks()
        for _ in range(4):
            turn()
        for socket in server.sockets:
            socket.destroy()
        peer.close()
        for _ in range(4):
            turn()
        assert (nth, server._per_address, server._connections) == (nth, {}, 0)
    pyuvnet.set_exception_handler(None)
    assert {type(error) for error in failures} <= {MemoryError}
    assert set(drops) <= {"ENOMEM"}
    assert accepted
    assert drops or failures
    server.close()
    pyuvnet.run()

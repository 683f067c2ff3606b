"""Server.shutdown() and shutdown_on(): nobody is turned away, and every answer is sent."""

from __future__ import annotations

import asyncio
import resource
import selectors
import signal
import socket as posix
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from pyuvnet._core.info import build_flags
from pyuvnet._server import shutdown
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError, StateError
from tests.support.certificates import certificates
from tests.support.errors import BoomError
from tests.support.installed import UVLOOP
from tests.support.loops import turn_until
from tests.support.tls import client_context

hooked = pytest.mark.skipif(
    sys.platform == "win32" or "installed libuv" in build_flags(),
    reason="the hook on accept() is not there",
)


def peer_of(server: net.Server) -> posix.socket:
    """A peer in the kernel's queue."""
    peer = posix.create_connection(("127.0.0.1", server.address()["port"]))
    peer.settimeout(10)
    return peer


def connected(server: net.Server, count: int) -> list[posix.socket]:
    """Peers that the server has accepted."""
    before = len(server.sockets)
    peers = [peer_of(server) for _ in range(count)]
    turn_until(lambda: len(server.sockets) >= before + count)
    return peers


class Readers:
    """Well-behaved peers: a thread that reads from each until its end, and closes it then."""

    def __init__(self, peers: list[posix.socket]) -> None:
        self.got: dict[posix.socket, bytes | OSError] = {}
        self._peers = peers
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with selectors.DefaultSelector() as ready:
            for peer in self._peers:
                ready.register(peer, selectors.EVENT_READ)
                self.got[peer] = b""
            while ready.get_map():
                found = ready.select(10)
                assert found, "a peer waits for its end"
                for key, _ in found:
                    peer: Any = key.fileobj
                    try:
                        chunk = peer.recv(65536)
                        self.got[peer] += chunk
                    except OSError as error:
                        self.got[peer], chunk = error, b""
                    if not chunk:
                        ready.unregister(peer)
                        peer.close()

    def all(self) -> list[bytes | OSError]:
        """What each received."""
        self._thread.join()
        return [self.got[peer] for peer in self._peers]


def down(server: net.Server, readers: Readers | None = None, **options: Any) -> net.ShutdownResult:
    """Shut down and turn the loop until the result is there."""
    results: list[net.ShutdownResult] = []
    server.shutdown(**options, callback=results.append)
    pyuvnet.run()
    assert len(results) == 1
    if readers is not None:
        readers.all()
    return results[0]


def everything(peer: posix.socket) -> bytes:
    """What a peer receives until the end; an RST raises."""
    got = b""
    while chunk := peer.recv(65536):
        got += chunk
    peer.close()
    return got


def kept(socket: net.Socket) -> net.Socket:
    return socket.on("error", lambda error: None).resume()


# ---- The steps -----------------------------------------------------------------------------------


@pytest.mark.spec("P1-01", "P1-09")
def test_a_server_without_connections_closes_and_has_a_result(trace) -> None:
    server = net.create_server(kept).listen(0)
    server.on("shutdown", trace.note("shutdown")).on("close", trace.note("close"))
    server.shutdown(callback=lambda result: trace(tuple(result)))
    assert trace == ["shutdown"]
    assert server.shutting_down
    pyuvnet.run()
    assert trace == ["shutdown", "close", (0, 0, 0)]
    assert server.shutting_down
    server.listen(0)
    assert not server.shutting_down
    server.close()
    pyuvnet.run()


@pytest.mark.spec("D112", "P1-03")
def test_those_in_the_kernels_queue_are_served() -> None:
    """200 clients that have connected and sent their request, of which the server has seen none."""
    server = net.create_server(
        lambda s: s.on("data", lambda data: s.write(b"answer to " + data))
    ).listen(0)
    peers = [peer_of(server) for _ in range(200)]
    for index, peer in enumerate(peers):
        peer.sendall(b"%d" % index)
    readers = Readers(peers)
    assert down(server, idle_grace=20) == (200, 0, 0)
    assert readers.all() == [b"answer to %d" % index for index in range(200)]


@pytest.mark.parametrize("closes", [False, True])
def test_a_listener_that_destroys_the_first_of_the_queue_does_not_end_the_others(
    closes: bool,
) -> None:
    """Between the first and the second no connection is left, and nobody listens any more."""
    taken: list[net.Socket] = []
    open_at_close: list[int] = []

    def accepted(socket: net.Socket) -> None:
        taken.append(kept(socket))
        if len(taken) == 1:
            socket.destroy()
            if closes:
                server.close()
        else:
            socket.on("shutdown", lambda: socket.end(b"answer"))

    server = net.create_server(accepted).listen(0)
    server.on("close", lambda: open_at_close.append(server.stats().open))
    # Until 'shutdown' they all wait in the queue.
    server.pause()
    peers = [peer_of(server) for _ in range(3)]
    readers = Readers(peers)
    assert down(server, readers, idle_grace=10) == (2, 0, 0)
    assert open_at_close == [0]
    assert readers.all() == [b"", b"answer", b"answer"]


def test_over_a_unix_socket_too(tmp_path) -> None:
    path = str(tmp_path / "s")
    server = net.create_server(lambda s: s.on("data", s.write)).listen(path)
    peers = [posix.socket(posix.AF_UNIX) for _ in range(20)]
    for peer in peers:
        peer.settimeout(10)
        peer.connect(path)
        peer.sendall(b"x")
    readers = Readers(peers)
    assert down(server, idle_grace=20) == (20, 0, 0)
    assert readers.all() == [b"x"] * 20


@pytest.mark.spec("P1-02")
def test_during_lame_duck_everything_is_as_before(trace) -> None:
    server = net.create_server(lambda s: s.on("data", s.end)).listen(0)
    server.on("close", trace.note("close"))
    shutdown = server.shutdown(90_000, lame_duck=60_000, callback=trace.note("over"))
    assert server.shutting_down
    assert server.listening
    peers = connected(server, 2)
    for socket in server.sockets:
        socket.on("shutdown", trace.note("shutdown"))
    peers[0].sendall(b"x")
    readers = Readers(peers[:1])
    turn_until(lambda: len(server.sockets) != 2)
    assert readers.all() == [b"x"]
    assert trace == []
    assert server.shutdown(1) is shutdown
    pyuvnet.run()
    assert trace == ["shutdown", "close", ("over", (0, 1, 0))]
    peers[1].close()


def test_lame_duck_ends_by_itself() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 1)
    readers = Readers(peers)
    assert down(server, lame_duck=10, idle_grace=10) == (1, 0, 0)
    assert readers.all() == [b""]


@pytest.mark.spec("P1-05")
def test_each_open_socket_gets_shutdown_and_may_say_goodbye() -> None:
    def connection(socket: net.Socket) -> None:
        socket.on("shutdown", lambda: socket.write(b"bye"))

    server = net.create_server(connection).listen(0)
    peers = connected(server, 3)
    readers = Readers(peers)
    assert down(server, idle_grace=10) == (3, 0, 0)
    assert readers.all() == [b"bye"] * 3


@pytest.mark.spec("P1-06")
def test_a_socket_is_ended_when_it_has_been_silent_for_idle_grace() -> None:
    server = net.create_server(lambda s: s.on("data", s.write)).listen(0)
    [peer] = connected(server, 1)
    loop = pyuvnet.current_loop()
    ended: list[int] = []
    sent = 0

    def send() -> None:
        nonlocal sent
        if sent < 8:
            sent += 1
            peer.sendall(b"x")
            pyuvnet.set_timeout(send, 20)

    server.sockets[0].on("finish", lambda: ended.append(sent))
    send()
    # Each byte comes well within the grace of the one before.
    readers = Readers([peer])
    assert down(server, idle_grace=200) == (1, 0, 0)
    assert ended == [8]
    assert readers.all() == [b"x" * 8]
    assert not loop.alive()


@pytest.mark.spec("P1-06")
def test_a_socket_with_something_queued_is_not_idle() -> None:
    size = 20_000_000
    server = net.create_server(kept).listen(0)
    [peer] = connected(server, 1)
    server.sockets[0].write(b"x" * size)
    got: list[bytes] = []
    # It begins to read long after the grace.
    begin = threading.Event()
    reader = threading.Thread(target=lambda: (begin.wait(10), got.append(everything(peer))))
    reader.start()
    pyuvnet.set_timeout(begin.set, 60)
    assert down(server, idle_grace=10) == (1, 0, 0)
    reader.join()
    assert len(got[0]) == size


@pytest.mark.spec("P1-06")
def test_received_and_not_read_is_not_idle(trace) -> None:
    """The program has paused the socket: the request that waits is answered first."""
    server = net.create_server({"pause_on_connect": True}, kept).listen(0)
    server.remove_all_listeners("connection").on(
        "connection", lambda s: s.on("data", lambda data: s.write(data))
    )
    [peer] = connected(server, 1)
    socket = server.sockets[0]
    socket.pause()
    peer.sendall(b"request")
    pyuvnet.set_timeout(socket.resume, 60)
    readers = Readers([peer])
    assert down(server, idle_grace=10) == (1, 0, 0)
    assert readers.all() == [b"request"]


@pytest.mark.spec("P1-07")
@pytest.mark.parametrize("to", [False, None])
def test_a_busy_socket_is_left_until_it_is_not(to: bool | None) -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 2)
    busy = server.sockets[0]
    busy.busy = True
    assert busy.busy is True

    def answer() -> None:
        assert server.sockets == [busy]
        busy.write(b"answer")
        busy.busy = to
        assert busy.busy is to

    pyuvnet.set_timeout(answer, 100)
    readers = Readers(peers)
    assert down(server, idle_grace=10) == (2, 0, 0)
    assert readers.all() == [b"answer", b""]


@pytest.mark.spec("P1-07")
def test_a_socket_that_is_not_busy_is_ended_at_once() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 2)
    assert [socket.busy for socket in server.sockets] == [None, None]
    first, second = server.sockets
    first.busy = False
    second.on("shutdown", lambda: (second.write(b"bye"), setattr(second, "busy", False)))
    readers = Readers(peers)
    assert down(server, idle_grace=100_000, timeout=200_000) == (2, 0, 0)
    assert readers.all() == [b"", b"bye"]


@pytest.mark.spec("P1-08")
def test_at_timeout_what_is_left_is_destroyed_and_counted() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 5)
    for socket in server.sockets[:2]:
        socket.busy = True
    server.sockets[4].busy = False
    readers = Readers(peers)
    assert down(server, timeout=100, idle_grace=20) == (3, 2, 0)
    assert readers.all() == [b""] * 5


@pytest.mark.parametrize("queued", [False, True])
def test_at_timeout_what_the_kernel_has_taken_arrives(queued: bool) -> None:
    """Something is unread, for which the kernel would reset the connection."""
    readers: list[Readers] = []
    server = net.create_server({"pause_on_connect": True, "allow_half_open": True}).listen(0)
    [peer] = connected(server, 1)
    peer.sendall(b"x" * 10_000)
    socket = server.sockets[0].on("error", lambda error: None)
    socket.on("close", lambda had_error: readers.append(Readers([peer])))
    socket.write(b"y" * (30_000_000 if queued else 200_000))
    assert down(server, timeout=50) == (0, 1, 0)
    [got] = readers[0].all()
    if queued:
        # What was lost is not to look like the end.
        assert isinstance(got, ConnectionResetError)
    else:
        assert got == b"y" * 200_000


def test_a_peer_that_never_ends_is_destroyed_at_timeout() -> None:
    server = net.create_server({"allow_half_open": True}, kept).listen(0)
    peers = connected(server, 2)
    server.sockets[0].write(b"x" * 30_000_000)
    assert down(server, timeout=50, idle_grace=1) == (0, 2, 0)
    for peer in peers:
        peer.close()


@pytest.mark.spec("P1-10")
def test_shutdown_again_is_the_same_and_a_smaller_timeout_shortens_it(trace) -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 1)
    server.sockets[0].busy = True
    first = server.shutdown(100_000, callback=lambda result: trace("first", tuple(result)))
    assert server.shutdown(200_000, callback=lambda result: trace("second", tuple(result))) is first
    assert server.shutdown(20) is first
    assert server.shutdown() is first
    pyuvnet.run()
    assert trace == [("first", (0, 1, 0)), ("second", (0, 1, 0))]
    assert server.shutdown(callback=lambda result: trace("late", tuple(result))) is first
    pyuvnet.run()
    assert trace[-1] == ("late", (0, 1, 0))
    peers[0].close()


def test_a_server_that_does_not_run_is_down_at_once(trace) -> None:
    server = net.create_server(kept)
    server.on("close", trace.note("close")).on("shutdown", trace.note("shutdown"))
    assert down(server) == (0, 0, 0)
    assert trace == []


@pytest.mark.parametrize("lame_duck", [0, 100_000])
def test_close_before_and_during_shutdown(lame_duck: int, trace) -> None:
    for when in ("before", "after"):
        server = net.create_server(kept).listen(0)
        server.on("close", trace.note("close"))
        peers = connected(server, 1)
        if when == "before":
            server.close()
        server.shutdown(150_000, lame_duck=lame_duck, idle_grace=10, callback=trace.note("over"))
        server.close()
        if lame_duck:
            peers[0].close()
        readers = Readers(peers if not lame_duck else [])
        pyuvnet.run()
        readers.all()
    one = 0 if lame_duck else 1
    assert trace == ["close", ("over", (one, 0, 0))] * 2


def test_listen_while_shutting_down_is_refused() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 1)
    server.shutdown(50, callback=lambda result: None)
    server.close()
    with pytest.raises(StateError) as caught:
        server.listen(0)
    assert caught.value.code == "ERR_SERVER_SHUTTING_DOWN"
    server.destroy_sockets()
    pyuvnet.run()
    server.listen(0).close()
    pyuvnet.run()
    peers[0].close()


def test_shutdown_during_the_lookup_of_the_host(trace) -> None:
    server = net.create_server(kept).listen(0, "127.0.0.1")
    server.on("listening", trace.note("listening")).on("close", trace.note("close"))
    assert down(server) == (0, 0, 0)
    assert trace == ["listening", "close"]


def test_max_connections_and_block_lists_count_for_the_queue_too() -> None:
    server = net.create_server(kept).listen(0)
    server.max_connections = 3
    drops: list[Any] = []
    server.on("drop", drops.append)
    peers = [peer_of(server) for _ in range(5)]
    ports = [peer.getsockname()[1] for peer in peers]
    assert down(server, Readers(peers), idle_grace=10) == (3, 0, 0)
    assert server.dropped == {"max_connections": 2}
    assert [info["remotePort"] for info in drops] == ports[3:]


@pytest.mark.spec("P1-04")
@pytest.mark.skipif(sys.platform == "win32", reason="no limit of descriptors")
def test_those_without_a_descriptor_are_counted_as_unaccepted() -> None:
    # The loop's own descriptors.
    pyuvnet.set_immediate(pyuvnet.stop)
    pyuvnet.run()
    server = net.create_server(lambda s: s.on("data", s.write)).listen(0)
    drops: list[Any] = []
    server.on("drop", lambda info: drops.append(info["reason"]))
    peers = [peer_of(server) for _ in range(10)]
    for peer in peers:
        peer.sendall(b"x")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Four are left: those above the highest that is in use.
    highest = max(peer.fileno() for peer in peers)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 5, limits[1]))
    fill = []
    try:
        while True:
            fill.append(posix.socket())
    except OSError:
        for spare in fill[-4:]:
            spare.close()
        del fill[-4:]
    for peer in peers:
        peer.shutdown(posix.SHUT_WR)
    try:
        assert down(server, idle_grace=20) == (4, 0, 6)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in fill:
            each.close()
    assert server.dropped == {"EMFILE": 6}
    assert drops == ["EMFILE"] * 6
    assert [everything(peer) for peer in peers[:4]] == [b"x"] * 4
    for peer in peers[4:]:
        peer.close()


# ---- Connections that come late ------------------------------------------------------------------

HEADER = b"PROXY TCP4 1.2.3.4 5.6.7.8 5 9\r\n"
BEHIND_A_PROXY: Any = {"proxy_protocol": {"trusted": ["127.0.0.1"]}}
PKI = certificates()
KEYS: Any = {"key": PKI / "server.key", "cert": PKI / "server.pem"}


def header_comes_late(server: net.Server, play: Callable[[posix.socket], bytes]) -> Any:
    """Shut down a server that has accepted a peer, and waits for its PROXY header."""
    peer = peer_of(server)
    results: list[Any] = []
    server.shutdown(2000, idle_grace=10, callback=results.append)
    turn_until(lambda: not server.listening)
    peer.sendall(HEADER)
    player = threading.Thread(target=lambda: results.append(play(peer)))
    player.start()
    pyuvnet.run()
    player.join()
    return sorted(results, key=lambda each: isinstance(each, bytes))


def securely(peer: posix.socket) -> bytes:
    """What a peer receives by TLS until the end."""
    context = client_context(ssl.TLSVersion.TLSv1_2, False)
    with context.wrap_socket(peer, server_hostname="localhost") as secure:
        return secure.recv(10)


@pytest.mark.parametrize("plain", [False, True])
def test_a_tls_connection_whose_header_is_late_is_ended_like_others(plain: bool, trace) -> None:
    server = tls.create_server(**KEYS, **BEHIND_A_PROXY).listen(0)
    server.on("secureConnection", kept)
    if plain:
        server.on("connection", lambda socket: trace("connection"))
    assert header_comes_late(server, securely) == [(1, 0, 0), b""]
    assert trace == ["connection"] * plain


def test_a_connection_listener_that_raises_late_keeps_nobody_from_the_end(trace) -> None:
    pyuvnet.set_exception_handler(lambda error: trace(type(error)))

    def boom(socket: net.Socket) -> None:
        kept(socket)
        socket.on("shutdown", trace.note("shutdown"))
        raise BoomError("x")

    server = net.create_server(boom, **BEHIND_A_PROXY).listen(0)
    assert header_comes_late(server, everything) == [(1, 0, 0), b""]
    assert trace == ["shutdown", BoomError]


def test_a_close_does_not_end_a_shutdown_that_waits_for_a_header(trace) -> None:
    server = net.create_server(kept, **BEHIND_A_PROXY).listen(0)
    server.on("close", lambda: trace(server.stats().accepted))

    peer = peer_of(server)
    results: list[Any] = []
    server.shutdown(2000, idle_grace=10, callback=results.append)
    turn_until(lambda: not server.listening)
    server.close()
    pyuvnet.current_loop().turn(False)
    peer.sendall(HEADER)
    readers = Readers([peer])
    pyuvnet.run()
    assert trace == [1]
    assert results == [(1, 0, 0)]
    assert readers.all() == [b""]


def test_a_connection_that_begins_with_tls_meanwhile_is_ended_like_others(trace) -> None:
    server = net.create_server(kept).listen(0)
    (peer,) = connected(server, 1)
    player = threading.Thread(target=lambda: trace(securely(peer)))

    def upgrade() -> None:
        secure = tls.TLSSocket(server.sockets[0], is_server=True, **KEYS)
        kept(secure.on("shutdown", trace.note("shutdown")))
        player.start()

    server.on("shutdown", lambda: server.sockets[0].on("shutdown", upgrade))
    assert down(server, timeout=2000, idle_grace=10) == (1, 0, 0)
    player.join()
    assert trace == ["shutdown", b""]


# ---- What programs do meanwhile ------------------------------------------------------------------


def late_bytes(server: net.Server) -> bytes:
    """What a peer receives that sends after the server has ended its side."""
    [peer] = connected(server, 1)
    [socket] = server.sockets
    socket.busy = False
    # The peer's end comes behind the bytes.
    socket.on("finish", lambda: (peer.sendall(b"late"), peer.shutdown(posix.SHUT_WR)))
    assert down(server, timeout=300_000) == (1, 0, 0)
    return everything(peer)


def test_what_arrives_after_the_end_cannot_be_answered_and_is_no_error(trace) -> None:
    def connection(socket: net.Socket) -> None:
        socket.on("data", lambda data: trace(socket.write(data, lambda error: trace(error.code))))

    assert late_bytes(net.create_server(connection).listen(0)) == b""
    assert trace == [False, "ERR_STREAM_WRITE_AFTER_END"]


@pytest.mark.parametrize(
    "how",
    [lambda s: s.pipe(s), lambda s: s.pause(), lambda s: s.on("error", print)],
    ids=["echo by a pipe", "paused", "nobody reads"],
)
def test_the_end_of_a_peer_is_seen_although_nobody_reads(how) -> None:
    assert late_bytes(net.create_server(how).listen(0)) == b""


def test_sockets_that_listeners_of_shutdown_destroy() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 4)
    sockets = server.sockets
    sockets[0].on("shutdown", sockets[0].destroy)
    sockets[1].on("shutdown", lambda: sockets[2].destroy())
    assert down(server, Readers(peers), idle_grace=10) == (4, 0, 0)


def test_a_listener_of_shutdown_that_destroys_all_sockets() -> None:
    server = net.create_server(kept).listen(0)
    peers = connected(server, 3)
    server.sockets[0].on("shutdown", lambda: server.destroy_sockets())
    assert down(server) == (3, 0, 0)
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("whose", ["server", "socket"])
def test_listeners_of_shutdown_that_raise_stop_nothing(whose: str, trace) -> None:
    pyuvnet.set_exception_handler(trace)
    server = net.create_server(kept).listen(0)
    peers = connected(server, 2)
    error = BoomError("x")

    def boom() -> None:
        raise error

    (server if whose == "server" else server.sockets[0]).on("shutdown", boom)
    readers = Readers(peers)
    assert down(server, idle_grace=10) == (2, 0, 0)
    assert trace == [error]
    assert readers.all() == [b"", b""]


def test_a_callback_or_close_listener_that_raises_keeps_nobody_from_the_result(trace) -> None:
    pyuvnet.set_exception_handler(lambda error: trace(type(error)))

    def boom(*_: object) -> None:
        raise BoomError("x")

    server = net.create_server(kept).listen(0).on("close", boom)
    server.shutdown(callback=boom)
    server.shutdown(callback=trace.note("second"))
    pyuvnet.run()
    assert trace == [BoomError, BoomError, ("second", (0, 0, 0))]


@pytest.mark.spec("P0-02")
@pytest.mark.parametrize("name", ["timeout", "lame_duck", "idle_grace", "callback"])
def test_wrong_arguments_raise_and_change_nothing(name: str) -> None:
    server: Any = net.create_server(kept).listen(0)
    wrong: list[tuple[Any, type, str]] = [("1", ArgTypeError, "ERR_INVALID_ARG_TYPE")]
    if name != "callback":
        wrong += [
            (None, ArgTypeError, "ERR_INVALID_ARG_TYPE"),
            (True, ArgTypeError, "ERR_INVALID_ARG_TYPE"),
            (-1, RangeError, "ERR_OUT_OF_RANGE"),
            (2**31, RangeError, "ERR_OUT_OF_RANGE"),
            (float("nan"), RangeError, "ERR_OUT_OF_RANGE"),
            (float("inf"), RangeError, "ERR_OUT_OF_RANGE"),
        ]
    for value, kind, code in wrong:
        with pytest.raises(kind) as caught:
            server.shutdown(**{name: value})
        assert caught.value.code == code
    assert not server.shutting_down
    assert server.listening
    server.close()
    pyuvnet.run()


@pytest.mark.parametrize("wrong", [1, "x", 0])
def test_a_wrong_busy_changes_nothing(wrong: Any) -> None:
    socket = net.Socket()
    socket.busy = True
    with pytest.raises(ArgTypeError) as caught:
        socket.busy = wrong
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert socket.busy is True


# ---- Coroutines ----------------------------------------------------------------------------------


def test_the_result_is_awaited_by_many_and_after_it_is_there(factory) -> None:
    async def main() -> None:
        server = net.create_server(kept).listen(0)
        shutdown = server.shutdown(lame_duck=20)

        async def wait() -> net.ShutdownResult:
            return await shutdown

        tasks = [asyncio.ensure_future(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        assert await tasks[1] == (0, 0, 0)
        assert await tasks[2] == (0, 0, 0)
        assert tasks[0].cancelled()
        assert await shutdown == (0, 0, 0)
        assert await server.shutdown() is shutdown.result

    asyncio.run(main())


def test_a_cancelled_coroutine_does_not_stop_the_shutdown(factory) -> None:
    async def main() -> None:
        server = net.create_server(kept).listen(0)

        async def stop() -> None:
            await server.shutdown(lame_duck=20)

        task = asyncio.ensure_future(stop())
        await asyncio.sleep(0)
        task.cancel()
        await server.wait_closed()
        assert not server.listening
        assert await server.shutdown() == (0, 0, 0)

    asyncio.run(main())


def test_coroutines_that_serve_are_ended_like_others(factory) -> None:
    async def serve(socket: net.Socket) -> None:
        async for data in socket:
            socket.write(data)

    async def main() -> None:
        server = net.create_server(serve).listen(0)
        client = net.connect(server.address()["port"], "127.0.0.1")
        client.write(b"request")
        assert await client.read_exactly(7) == b"request"
        waiting = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        assert await server.shutdown(idle_grace=20) == (1, 0, 0)
        await waiting
        assert await client.read_exactly(0) == b""
        client.destroy()

    asyncio.run(main())


# ---- Signals -------------------------------------------------------------------------------------

PROGRAM = """
    import asyncio, sys, signal
    import pyuvnet
    from pyuvnet import net

    mode, busy = sys.argv[1], sys.argv[2] == "busy"

    def connection(socket):
        socket.busy = busy
        socket.on("data", socket.write).on("error", print)

    def start():
        server = net.create_server(connection)
        server.listen(0, lambda: print(server.address()["port"], flush=True))
        server.on("shutdown", lambda: print("shutdown", flush=True))
        assert server.shutdown_on("SIGTERM", signal.SIGINT, timeout=60_000) is server
        return server

    async def main():
        server = start()
        if mode == "unrelated":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("cancelled")
                raise
        elif mode == "two":
            other = start()
            await asyncio.gather(server.wait_closed(), other.wait_closed())
            await asyncio.sleep(0.05)
            print("cleaned up")
        else:
            await server.serve_forever()
            # Not interrupted.
            await asyncio.sleep(0.05)
            print("cleaned up")

    if mode == "run":
        start()
        pyuvnet.set_interval(lambda: None, 1000)
        pyuvnet.run()
    elif mode == "attached":
        asyncio.run(main())
    elif mode == "uvloop":
        import uvloop
        pyuvnet.run(main(), loop_factory=uvloop.new_event_loop)
    else:
        pyuvnet.run(main())
    print("over", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
MODES = ["run", "coroutine", "attached", "unrelated", *(["uvloop"] if UVLOOP else [])]


# A signal comes when the server has shut down by itself: it ends the program nevertheless.
DOWN = """
import asyncio, os, signal, sys
import pyuvnet
from pyuvnet import net

server = net.create_server().listen(0)
server.shutdown_on("SIGTERM")
term = lambda *_: os.kill(os.getpid(), signal.SIGTERM)

async def main():
    await server.shutdown()
    pyuvnet.set_timeout(term, 10)
    try:
        await asyncio.Event().wait()
    finally:
        print("cleaned up")

if sys.argv[1] == "coroutine":
    pyuvnet.run(main())
else:
    alive = pyuvnet.set_interval(lambda: None, 1000)
    server.shutdown(callback=lambda result: pyuvnet.set_timeout(term, 10))
    pyuvnet.run()
print("over", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.mark.spec("P1-12")
@pytest.mark.parametrize("mode", ["run", "coroutine"])
def test_a_signal_ends_a_program_whose_server_is_down(open_child, mode) -> None:
    with open_child(DOWN, mode) as child:
        out, err = child.communicate(timeout=20)
    said = ["cleaned up"] if mode == "coroutine" else []
    assert (out.split("\n")[:-1], err, child.returncode) == ([*said, "over True"], "", 0)


NEW_LOOP = """
import os, signal
import pyuvnet
from pyuvnet import net

net.create_server().listen(0).shutdown_on("SIGTERM")
pyuvnet.current_loop().close()
server = net.create_server().listen(0)
server.shutdown_on("SIGTERM")
pyuvnet.set_timeout(lambda: os.kill(os.getpid(), signal.SIGTERM), 10)
pyuvnet.run()
print("over", server.listening)
"""


@pytest.mark.spec("P1-11")
def test_a_loop_that_is_closed_takes_no_signal_with_it(open_child) -> None:
    with open_child(NEW_LOOP) as child:
        out, err = child.communicate(timeout=20)
    assert (out, err, child.returncode) == ("over False\n", "", 0)


@pytest.mark.spec("P1-06", "P1-07")
def test_without_a_grace_a_busy_socket_still_has_its_time() -> None:
    answers: list[bytes] = []

    def connected(socket: net.Socket) -> None:
        @socket.on("data")
        def data(chunk: bytes) -> None:
            socket.busy = True
            server.shutdown(10_000, idle_grace=0)
            pyuvnet.set_timeout(answer, 50)

        def answer() -> None:
            assert socket.write(b"late")
            socket.busy = False

    server = net.create_server(connected).listen(0)
    client = net.connect(server.address().port)
    client.on("data", answers.append)
    client.write(b"question")
    pyuvnet.run()
    assert answers == [b"late"]


@pytest.mark.spec("P1-11", "P1-12")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", MODES)
def test_a_signal_shuts_down_and_the_exit_status_is_0(open_child, mode, number) -> None:
    with open_child(PROGRAM, mode, "idle") as child:
        port = int(child.stdout.readline())
        peer = posix.create_connection(("127.0.0.1", port))
        peer.sendall(b"x")
        assert peer.recv(1) == b"x"
        child.send_signal(number)
        assert child.stdout.readline() == "shutdown\n"
        assert peer.recv(1) == b""
        peer.close()
        out, err = child.communicate(timeout=20)
    said = {"run": [], "unrelated": ["cancelled"]}.get(mode, ["cleaned up"])
    assert (child.returncode, err) == (0, "")
    assert out.splitlines() == [*said, "over True"]


@pytest.mark.spec("P1-11")
@pytest.mark.parametrize("mode", MODES)
def test_a_second_signal_destroys_everything_at_once(open_child, mode) -> None:
    with open_child(PROGRAM, mode, "busy") as child:
        port = int(child.stdout.readline())
        peer = posix.create_connection(("127.0.0.1", port))
        peer.sendall(b"x")
        assert peer.recv(1) == b"x"
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline() == "shutdown\n"
        child.send_signal(signal.SIGINT)
        assert peer.recv(1) == b""
        peer.close()
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")


PAUSED = """
import asyncio, sys
import pyuvnet
from pyuvnet import net

def serve(socket):
    socket.on("error", lambda error: None)
    socket.on("close", lambda had_error: print("closed", flush=True))
    socket.write(b"y" * 200_000, lambda error: print("written", flush=True))

server = net.create_server({"pause_on_connect": True}, serve).listen(0)
server.shutdown_on("SIGTERM", timeout=50)
print(server.address().port, flush=True)

async def main():
    await asyncio.Event().wait()

pyuvnet.run() if sys.argv[1] == "run" else pyuvnet.run(main())
"""


@pytest.mark.parametrize("mode", ["run", "coroutine"])
def test_what_the_kernel_has_taken_arrives_before_the_program_ends(open_child, mode) -> None:
    with open_child(PAUSED, mode) as child:
        peer = posix.create_connection(("127.0.0.1", int(child.stdout.readline())))
        peer.sendall(b"x" * 10_000)
        assert child.stdout.readline() == "written\n"
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline() == "closed\n"
        with pytest.raises(subprocess.TimeoutExpired):
            # It stays until the peer has read.
            child.wait(0.3)
        assert everything(peer) == b"y" * 200_000
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (0, "", "")


@pytest.mark.spec("P1-12")
def test_the_program_goes_on_until_the_last_server_is_down(open_child) -> None:
    with open_child(PROGRAM, "two", "idle") as child:
        ports = [int(child.stdout.readline()) for _ in range(2)]
        peers = [posix.create_connection(("127.0.0.1", port)) for port in ports]
        for peer in peers:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        child.send_signal(signal.SIGTERM)
        for peer in peers:
            assert peer.recv(1) == b""
            peer.close()
        out, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")
    assert out.splitlines() == ["shutdown", "shutdown", "cleaned up", "over True"]


SEPARATE = """
import signal, sys
import pyuvnet
from pyuvnet import net

def start(name, number):
    server = net.create_server(lambda socket: socket.resume()).listen(0)
    print(server.address()["port"], flush=True)
    server.on("shutdown", lambda: print("shutdown", name, flush=True))
    server.on("close", lambda: print("close", name, flush=True))
    server.shutdown_on(number, timeout=60_000, idle_grace=50)
    return server

a, b = start("a", "SIGTERM"), start("b", "SIGINT")
pyuvnet.current_loop().set_max_threadsafe_calls(1)
pyuvnet.run()
print("over", flush=True)
"""


def test_servers_with_signals_of_their_own_are_apart(open_child) -> None:
    with open_child(SEPARATE) as child:
        ports = [int(child.stdout.readline()) for _ in range(2)]
        one, other = [posix.create_connection(("127.0.0.1", port)) for port in ports]
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline() == "shutdown a\n"
        # Its own signal: no second one of the other's.
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "shutdown b\n"
        for peer, name in ((one, "a"), (other, "b")):
            assert peer.recv(1) == b""
            peer.close()
            assert child.stdout.readline() == f"close {name}\n"
        assert child.stdout.readline() == "over\n"
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")


def test_run_goes_on_while_a_server_of_another_signal_is_up(open_child) -> None:
    with open_child(SEPARATE) as child:
        _, port = [int(child.stdout.readline()) for _ in range(2)]
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline() == "shutdown a\n"
        assert child.stdout.readline() == "close a\n"
        peer = posix.create_connection(("127.0.0.1", port))
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "shutdown b\n"
        assert peer.recv(1) == b""
        peer.close()
        out, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")
    assert out.splitlines() == ["close b", "over"]


def test_a_signal_comes_through_a_full_queue_of_calls(open_child) -> None:
    program = SEPARATE.replace(
        "pyuvnet.run()",
        "import os\n"
        "ours = pyuvnet.current_loop()\n"
        "pyuvnet.set_timeout(lambda: (ours.call_soon_threadsafe(print, 'called'), "
        "os.kill(os.getpid(), signal.SIGTERM), os.kill(os.getpid(), signal.SIGINT)), 10)\n"
        "pyuvnet.run()",
    )
    with open_child(program) as child:
        out, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")
    assert sorted(out.splitlines()[2:]) == [
        *("called", "close a", "close b", "over", "shutdown a", "shutdown b")
    ]


def test_a_listener_may_return_the_shutdown(trace) -> None:
    server = net.create_server().listen(0)
    server.on("connection", lambda socket: server.shutdown(idle_grace=10))
    server.on("close", trace.note("close"))
    client = net.connect(server.address().port).resume()
    client.on("close", trace.note("client"))
    pyuvnet.run()
    assert "close" in trace


@pytest.mark.parametrize(
    ("given", "kind", "code"),
    [
        ([], ArgTypeError, "ERR_MISSING_ARGS"),
        (["SIGNOTHING"], ArgTypeError, "ERR_UNKNOWN_SIGNAL"),
        ([12345], ArgTypeError, "ERR_UNKNOWN_SIGNAL"),
        ([None], ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        ([True], ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (["SIGKILL"], ArgValueError, "ERR_INVALID_ARG_VALUE"),
        (["SIGTERM", "SIGNOTHING"], ArgTypeError, "ERR_UNKNOWN_SIGNAL"),
    ],
)
def test_wrong_signals_raise_and_change_nothing(given, kind, code) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(kind) as caught:
        net.create_server().shutdown_on(*given)
    assert caught.value.code == code
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["TERM", "sigterm", "term"])
def test_a_signal_of_another_spelling_is_hinted_at(name: str) -> None:
    with pytest.raises(ArgTypeError, match=f"Unknown signal: {name}") as caught:
        net.create_server().shutdown_on(name)
    assert caught.value.__notes__ == ["Did you mean 'SIGTERM'?"]


@pytest.mark.spec("P1-13")
def test_shutdown_on_is_for_the_main_thread_only() -> None:
    codes: list[Any] = []

    def elsewhere() -> None:
        try:
            net.create_server().shutdown_on("SIGTERM")
        except StateError as error:
            codes.append(error.code)
        pyuvnet.current_loop().close()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert codes == ["ERR_WRONG_THREAD"]


def test_a_signal_for_servers_that_are_gone_means_what_it_did_before(trace) -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: trace("before"))
    try:
        net.create_server().shutdown_on("SIGUSR1")
        signal.raise_signal(signal.SIGUSR1)
        pyuvnet.run()
        assert trace == ["before"]
        server = net.create_server(kept).listen(0).shutdown_on("SIGUSR1")
        signal.raise_signal(signal.SIGUSR1)
        pyuvnet.run()
        assert not server.listening
        signal.raise_signal(signal.SIGUSR1)
        assert trace == ["before", "before"]
    finally:
        signal.signal(signal.SIGUSR1, before)


@hooked
def test_what_a_listener_does_that_others_do_not_is_forgotten_with_it() -> None:
    """Its descriptor has another owner soon."""
    from pyuvnet._core.accepting import _manners

    before = _manners()
    server = net.create_server(lambda socket: socket.resume(), on_exhausted="wait").listen(0)
    assert _manners() == before + 1
    peers = connected(server, 2)
    assert down(server, Readers(peers), idle_grace=0).ended == 2
    assert _manners() == before


@pytest.mark.parametrize("way", ["time is up", "a second signal"])
def test_sockets_that_are_destroyed_at_the_end_emit_close_before_run_returns(
    open_child: Any, way: str
) -> None:
    program = """
        import sys
        from pyuvnet import net, run

        def connected(socket):
            socket.busy = True
            socket.resume()
            socket.on("close", lambda had_error: print("close"))

        server = net.create_server(connected)
        server.shutdown_on("SIGTERM", timeout=50 if sys.argv[1] == "time is up" else 60_000)
        server.on("shutdown", lambda: print("shutdown", flush=True))
        server.on("connection", lambda socket: print("connection", flush=True))
        server.listen(0, callback=lambda: print(server.address().port, flush=True))
        run()
        print("over")
    """
    with open_child(program, way) as child:
        peer = posix.create_connection(("127.0.0.1", int(child.stdout.readline())))
        assert child.stdout.readline() == "connection\n"
        child.send_signal(signal.SIGTERM)
        assert child.stdout.readline() == "shutdown\n"
        if way == "a second signal":
            child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=20)
        peer.close()
    assert (child.returncode, err) == (0, "")
    assert out.splitlines() == ["close", "over"]


def test_without_memory_to_wait_any_longer_the_end_comes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def set_timeout(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(shutdown, "seen_off", lambda loop: True)
    monkeypatch.setattr(shutdown, "set_timeout", set_timeout)
    ended: list[bool] = []
    shutdown.when_seen_off(lambda: ended.append(True))
    pyuvnet.run()
    assert ended == [True]

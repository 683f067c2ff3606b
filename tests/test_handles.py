"""Sending sockets and servers over a unix socket: who gets what, in which order; who closes it."""

from __future__ import annotations

import array
import asyncio
import os
import random
import resource
import socket as std
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import Server, Socket, net, run, set_immediate
from pyuvnet.errors import ArgTypeError, ArgValueError, StateError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="handles are sent on unix systems")


def descriptors() -> set[str]:
    """What is open, without the descriptor that looks."""
    names = os.listdir("/proc/self/fd") if sys.platform == "linux" else os.listdir("/dev/fd")
    return {name for name in names if os.path.exists(f"/dev/fd/{name}")}


@pytest.fixture(autouse=True)
def _no_leak() -> Any:
    # The loop opens its own first, and a spare one for the first server.
    server = net.create_server().listen(0)
    server.on("listening", server.close)
    run()
    before = descriptors()
    yield
    assert descriptors() == before


class Ends:
    """A connection over a path that passes handles: `near` sends, `far` receives."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.got: list[tuple[Any, bytes]] = []
        self.data = bytearray()
        self.order: list[Any] = []
        self.options = {"handles": True} | options
        self.path = str(folder / "handles.sock")
        self.near: Socket
        self.far: Socket

    def run(self, act: Callable[[Ends], object], listen: bool = True) -> Ends:
        """Call act(ends) when both are there, and run until nothing is left."""

        def accepted(far: Socket) -> None:
            server.close()
            self.far = far
            far.on("data", self._data)
            if listen:
                far.on("handle", self._handle)
            if self.near.ready_state == "open":
                act(self)

        def connected() -> None:
            if hasattr(self, "far"):
                act(self)

        server = net.create_server(accepted, **self.options)
        server.listen(self.path)
        self.near = net.connect(self.path, handles=True)
        self.near.on("connect", connected)
        run()
        return self

    def _data(self, chunk: bytes) -> None:
        self.data += chunk
        self.order.append(len(chunk))

    def _handle(self, handle: Any, data: bytes) -> None:
        self.got.append((handle, data))
        self.data += data
        self.order.append(handle)


def some_server(listener: Callable[[Socket], object], **options: Any) -> tuple[Server, int]:
    server = net.create_server(listener, pause_on_connect=True, **options)
    server.listen(pyuvnet.BoundSocket(host="127.0.0.1"))
    return server, server.address()["port"]


@pytest.mark.spec("D200")
def test_a_socket_goes_to_the_peer_and_is_closed_here(tmp_path: Path) -> None:
    trace: list[Any] = []

    def act(ends: Ends) -> None:
        def accepted(socket: Socket) -> None:
            server.close()
            socket.on("close", lambda had_error: trace.append(("closed here", had_error)))
            sent = ends.near.send_handle(socket, b"take it", lambda error: trace.append(error))
            assert sent is True
            assert socket.destroyed
            ends.near.end()

        server, port = some_server(accepted)
        client = net.connect(port, "127.0.0.1", lambda: client.write(b"ping"))
        client.on("data", lambda chunk: (trace.append(chunk), client.end()))

    ends = Ends(tmp_path)

    def on_handle(handle: Socket, data: bytes) -> None:
        handle.on("data", lambda chunk: handle.write(chunk.upper()))

    def begin(ends: Ends) -> None:
        ends.far.on("handle", on_handle)
        act(ends)

    ends.run(begin)
    ((handle, data),) = ends.got
    assert isinstance(handle, Socket)
    assert data == b"take it"
    assert handle.server is None
    assert sorted(map(str, trace)) == ["('closed here', False)", "None", "b'PING'"]


def test_a_server_goes_on_here_and_listens_there(tmp_path: Path) -> None:
    def act(ends: Ends) -> None:
        server, port = some_server(lambda socket: None)
        ends.near.send_handle(server)
        assert server.listening
        ends.near.end()
        server.close()
        ends.port = port  # type: ignore[attr-defined]

    served: list[bytes] = []

    def begin(ends: Ends) -> None:
        def on_handle(server: Server, data: bytes) -> None:
            server.on("listening", lambda: ends.order.append("listening"))
            server.on("connection", lambda socket: (socket.end(b"there"), server.close()))
            client = net.connect(server.address()["port"], "127.0.0.1")
            client.on("data", served.append)

        ends.far.on("handle", on_handle)
        act(ends)

    ends = Ends(tmp_path).run(begin)
    ((handle, data),) = ends.got
    assert isinstance(handle, Server)
    assert data == b"\0"
    assert "listening" in ends.order
    assert served == [b"there"]


@pytest.mark.parametrize("size", [1, 100, 70_000, 3_000_000])
def test_bytes_and_handles_arrive_in_the_order_of_the_calls(tmp_path: Path, size: int) -> None:
    """Whichever way the bytes take: collected, at once, or behind others in a queue."""
    sent = bytearray()
    chosen = random.Random(size)

    def act(ends: Ends) -> None:
        servers = [some_server(lambda socket: None)[0] for _ in range(6)]

        def send(index: int) -> None:
            for _ in range(chosen.randint(0, 3)):
                chunk = os.urandom(chosen.randint(1, size))
                sent.extend(chunk)
                ends.near.write(chunk)
            data = os.urandom(chosen.randint(1, size))
            ends.near.send_handle(servers[index], data)
            ends.offsets.append((len(sent), len(sent) + len(data)))  # type: ignore[attr-defined]
            ends.ports.append(servers[index].address()["port"])  # type: ignore[attr-defined]
            sent.extend(data)
            servers[index].close()

        ends.offsets, ends.ports = [], []  # type: ignore[attr-defined]
        for index in range(3):
            send(index)
        set_immediate(lambda: [send(index) for index in range(3, 6)])
        set_immediate(lambda: ends.near.end())

    ends = Ends(tmp_path)
    arrived: list[tuple[int, int]] = []

    def begin(ends: Ends) -> None:
        def on_handle(server: Server, data: bytes) -> None:
            # _handle() was first: where the piece began, and where it ends.
            arrived.append((len(ends.data) - len(data), len(ends.data)))
            arrived_ports.append(server.address()["port"])
            server.close()

        arrived_ports: list[int] = []
        ends.arrived_ports = arrived_ports  # type: ignore[attr-defined]
        ends.far.on("handle", on_handle)
        act(ends)

    ends.run(begin)
    assert ends.data == sent
    assert ends.arrived_ports == ends.ports  # type: ignore[attr-defined]
    for (first, end), (begins, ends_at) in zip(ends.offsets, arrived, strict=True):  # type: ignore[attr-defined]
        assert begins <= first < ends_at <= end


def test_what_nobody_listens_for_is_closed_and_the_bytes_are_data(tmp_path: Path) -> None:
    def act(ends: Ends) -> None:
        server, _ = some_server(lambda socket: None)
        ends.near.send_handle(server, b"abc")
        server.close()
        ends.near.end(b"def")

    ends = Ends(tmp_path).run(act, listen=False)
    assert ends.data == b"abcdef"


def test_a_handle_can_be_sent_on_by_its_listener(tmp_path: Path) -> None:
    got: list[bytes] = []

    def act(ends: Ends) -> None:
        def accepted(socket: Socket) -> None:
            server.close()
            ends.near.send_handle(socket)

        def back(handle: Socket, data: bytes) -> None:
            handle.end(b"twice")
            ends.near.end()

        ends.far.on("handle", lambda handle, data: ends.far.send_handle(handle))
        ends.near.on("handle", back)
        server, port = some_server(accepted)
        net.connect(port, "127.0.0.1").on("data", got.append)

    Ends(tmp_path).run(act)
    assert got == [b"twice"]


def test_keep_open_leaves_the_socket_here(tmp_path: Path) -> None:
    got = bytearray()

    def act(ends: Ends) -> None:
        def accepted(socket: Socket) -> None:
            server.close()
            ends.near.send_handle(socket, keep_open=True)
            assert not socket.destroyed
            ends.far.on("handle", lambda handle, data: handle.write(b"there", lambda error: end()))

            def end() -> None:
                ends.got[0][0].destroy()
                socket.resume().end(b" here")
                ends.near.end()

        server, port = some_server(accepted)
        net.connect(port, "127.0.0.1").on("data", got.extend)

    Ends(tmp_path).run(act)
    assert got == b"there here"


@pytest.mark.spec("D216")
def test_what_cannot_be_sent_raises_and_changes_nothing(tmp_path: Path) -> None:
    raised: list[tuple[str, type]] = []

    def refused(call: Callable[[], object]) -> None:
        with pytest.raises((ArgTypeError, ArgValueError, StateError, TypeError)) as caught:
            call()
        raised.append((getattr(caught.value, "code", ""), type(caught.value)))

    def act(ends: Ends) -> None:
        def accepted(socket: Socket) -> None:
            server.close()
            near = ends.near
            refused(lambda: near.send_handle(None))
            refused(lambda: near.send_handle(3))
            refused(lambda: near.send_handle(socket, b""))
            refused(lambda: near.send_handle(socket, "text"))  # type: ignore[arg-type]
            refused(lambda: near.send_handle(socket, callback=1))  # type: ignore[arg-type]
            refused(lambda: near.send_handle(near))
            refused(lambda: near.send_handle(Socket()))
            refused(lambda: near.send_handle(net.create_server()))
            refused(lambda: socket.send_handle(near))
            written = net.connect(port, "127.0.0.1", lambda: None)
            refused(lambda: near.send_handle(written))
            written.destroy()
            socket.once("data", read)
            socket.resume()

        def read(chunk: bytes) -> None:
            # Of what was read the receiver would know nothing.
            refused(lambda: ends.near.send_handle(ends.near_of_tcp))  # type: ignore[attr-defined]
            ends.near_of_tcp.destroy()  # type: ignore[attr-defined]
            ends.near.end()

        def connection(socket: Socket) -> None:
            ends.near_of_tcp = socket  # type: ignore[attr-defined]
            accepted(socket)

        server, port = some_server(connection)
        client = net.connect(port, "127.0.0.1", lambda: client.write(b"x"))

    ends = Ends(tmp_path).run(act)
    assert ends.got == []
    assert ends.data == b""
    assert [code for code, _ in raised] == [
        "ERR_INVALID_HANDLE_TYPE",
        "ERR_INVALID_HANDLE_TYPE",
        "ERR_INVALID_ARG_VALUE",
        "ERR_INVALID_ARG_TYPE",
        "ERR_INVALID_ARG_TYPE",
        "ERR_INVALID_STATE",
        "ERR_SOCKET_CLOSED",
        "ERR_INVALID_STATE",
        "ERR_INVALID_STATE",
        "ERR_INVALID_STATE",
        "ERR_INVALID_STATE",
    ]


def test_a_refused_write_does_not_leave_the_descriptor_to_the_next(tmp_path: Path) -> None:
    def act(ends: Ends) -> None:
        server, _ = some_server(lambda socket: None)
        ends.near._set_bound(10, True)
        ends.near.cork()
        ends.near.write(b"12345678")
        assert ends.near.send_handle(server, b"too long") is False
        ends.near.uncork()
        server.close()
        ends.near.on("error", lambda error: None)
        ends.near.end(b"9")

    ends = Ends(tmp_path).run(act)
    assert ends.got == []
    assert ends.data == b"123456789"


@pytest.mark.parametrize("which", ["near", "far"])
@pytest.mark.parametrize("when", ["at once", "queued", "later"])
def test_either_end_may_go_at_any_time(tmp_path: Path, which: str, when: str) -> None:
    """The fixtures count what is left."""

    def act(ends: Ends) -> None:
        servers = [some_server(lambda socket: None)[0] for _ in range(20)]
        ends.near.on("error", lambda error: None)
        ends.far.on("error", lambda error: None)
        ends.far.on("handle", lambda handle, data: handle.close())
        if when == "queued":
            ends.far.pause()
            ends.near.write(bytes(3_000_000))
        for server in servers:
            ends.near.send_handle(server)
            server.close()
        go = getattr(ends, which).destroy
        if when == "later":
            set_immediate(lambda: set_immediate(go))
        else:
            go()
        if when == "queued":
            # The other has not noticed, since nothing is read.
            set_immediate(ends.near.destroy)
            set_immediate(ends.far.destroy)

    Ends(tmp_path).run(act)


def send_many(path: str, count: int, each: int) -> None:
    """A peer of another kind: `count` messages with `each` descriptors of a file."""
    with std.socket(std.AF_UNIX) as peer:
        peer.connect(path)
        file = os.open(os.devnull, os.O_RDONLY)
        try:
            block = array.array("i", [file] * each).tobytes()
            for _ in range(count):
                peer.sendmsg([b"!"], [(std.SOL_SOCKET, std.SCM_RIGHTS, block)])
        finally:
            os.close(file)


@pytest.mark.parametrize("handles", [False, True])
@pytest.mark.parametrize("each", [1, 50, 250])
def test_a_thousand_descriptors_from_a_hostile_peer(
    tmp_path: Path, handles: bool, each: int
) -> None:
    """Without opting in they never get into this process; with it they are closed at once."""
    path = str(tmp_path / "hostile")
    got = bytearray()
    most = 0

    def data(chunk: bytes) -> None:
        nonlocal most
        got.extend(chunk)
        most = max(most, len(os.listdir("/dev/fd")))

    def accepted(socket: Socket) -> None:
        server.close()
        socket.on("data", data)
        socket.on("handle", lambda handle, piece: pytest.fail("no file is a handle"))

    server = net.create_server(accepted, handles=handles).listen(path)
    before = len(os.listdir("/dev/fd"))
    count = 1000 // each
    sender = threading.Thread(target=send_many, args=(path, count, each))
    server.on("listening", sender.start)
    run()
    sender.join()
    assert bytes(got) == b"!" * count
    assert most <= before + 2


def test_descriptors_of_strangers_are_opened_if_they_can_be(tmp_path: Path) -> None:
    """Blocking ones too: reading must not block."""
    path = str(tmp_path / "strangers")
    got: list[Any] = []

    def accepted(socket: Socket) -> None:
        server.close()
        socket.on(
            "handle", lambda handle, data: (got.append((handle, data)), handle.on("data", echo))
        )

    def echo(chunk: bytes) -> None:
        got.append(chunk)
        got[0][0].destroy()

    server = net.create_server(accepted, handles=True).listen(path)
    ours, theirs = std.socketpair()
    udp = std.socket(std.AF_INET, std.SOCK_DGRAM)
    unconnected = std.socket(std.AF_INET, std.SOCK_STREAM)
    assert theirs.getblocking()

    def send() -> None:
        peer = std.socket(std.AF_UNIX)
        peer.connect(path)
        numbers = [udp.fileno(), unconnected.fileno(), theirs.fileno()]
        std.send_fds(peer, [b"some"], numbers)
        for one in (peer, udp, unconnected, theirs):
            one.close()
        pyuvnet.set_timeout(lambda: (ours.send(b"hello"), ours.close()), 20)

    server.on("listening", send)
    run()
    assert [entry if isinstance(entry, bytes) else entry[1] for entry in got] == [b"some", b"hello"]


def test_without_a_descriptor_left_a_handle_is_lost_and_nothing_else(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def act(ends: Ends) -> None:
        server, _ = some_server(lambda socket: None)
        ends.near.send_handle(server, b"abc")
        server.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, descriptors())) + 1, hard))
        fill = []
        try:
            while True:
                fill.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass

        def over() -> None:
            for fd in fill:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        ends.far.on("end", over)
        ends.near.end(b"def")

    try:
        ends = Ends(tmp_path).run(act)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ends.data == b"abcdef"
    assert ends.got == []


def test_a_listener_that_raises_leaves_no_descriptor(tmp_path: Path) -> None:
    def act(ends: Ends) -> None:
        def on_handle(handle: Server, data: bytes) -> None:
            handle.close()
            raise ZeroDivisionError

        ends.far.on("handle", on_handle)
        ours = [std.create_server(("127.0.0.1", 0)) for _ in range(3)]
        with std.socket(fileno=os.dup(ends.near.fileno())) as raw:
            std.send_fds(raw, [b"x"], [one.fileno() for one in ours])
        for one in ours:
            one.close()
        ends.near.end()

    ends = Ends(tmp_path)
    with pytest.raises(ZeroDivisionError):
        ends.run(act)
    run()
    assert len(ends.got) == 1


def test_a_connection_over_a_descriptor_passes_handles() -> None:
    left, right = std.socketpair()
    near = Socket(fd=left.detach(), handles=True)
    far = Socket(fd=right.detach(), handles=True)
    got: list[bytes] = []
    far.on("handle", lambda server, data: (got.append(data), server.close(), far.end()))
    server, _ = some_server(lambda socket: None)
    near.send_handle(server, b"by number")
    server.close()
    run()
    assert got == [b"by number"]


def test_the_option_is_checked() -> None:
    with pytest.raises(ArgTypeError):
        Socket(handles="yes")  # type: ignore[arg-type]
    with pytest.raises(ArgTypeError):
        net.create_server(handles=1)  # type: ignore[arg-type]


def test_over_tcp_the_option_changes_nothing() -> None:
    got = bytearray()

    def accepted(socket: Socket) -> None:
        server.close()
        with pytest.raises(StateError):
            socket.send_handle(server)
        socket.end(b"plain")

    server = net.create_server(accepted, handles=True).listen(0, "127.0.0.1")
    server.on(
        "listening",
        lambda: net.connect(server.address()["port"], "127.0.0.1", handles=True).on(
            "data", got.extend
        ),
    )
    run()
    assert got == b"plain"


def two_servers(ends: Ends) -> None:
    """Send two listening servers with one byte, as a program of another kind can."""
    ours = [std.create_server(("127.0.0.1", 0)) for _ in range(2)]
    with std.socket(fileno=os.dup(ends.near.fileno())) as raw:
        std.send_fds(raw, [b"x"], [one.fileno() for one in ours])
    for one in ours:
        one.close()
    ends.near.end()


def test_a_listener_that_is_gone_after_the_first_handle_leaves_no_other_open(
    tmp_path: Path,
) -> None:
    """The fixture counts descriptors."""
    got: list[Any] = []

    def act(ends: Ends) -> None:
        ends.far.once("handle", lambda handle, data: (got.append(data), handle.close()))
        two_servers(ends)

    Ends(tmp_path).run(act, listen=False)
    assert got == [b"x"]


def test_after_destroy_no_handle_arrives(tmp_path: Path) -> None:
    got: list[Any] = []

    def act(ends: Ends) -> None:
        def on_handle(handle: Server, data: bytes) -> None:
            got.append(data)
            handle.close()
            ends.far.destroy()

        ends.far.on("handle", on_handle)
        two_servers(ends)

    Ends(tmp_path).run(act, listen=False)
    assert got == [b"x"]


def test_a_handle_whose_listener_raises_is_closed_if_nobody_listens_to_it(tmp_path: Path) -> None:
    """As the socket of a listener of 'connection'."""

    def act(ends: Ends) -> None:
        def on_handle(handle: Server, data: bytes) -> None:
            raise ZeroDivisionError

        ends.far.on("handle", on_handle)
        two_servers(ends)

    ends = Ends(tmp_path)
    with pytest.raises(ZeroDivisionError):
        ends.run(act, listen=False)
    run()


# ---- Order, and who reads ------------------------------------------------------------------------


async def _flowing(far: Socket, order: list[Any], act: Callable[[], Any]) -> None:
    far.on("data", order.append)
    far.pause()
    await act()
    far.resume()


async def _readable(far: Socket, order: list[Any], act: Callable[[], Any]) -> None:
    await act()
    far.on("readable", lambda: order.extend(iter(far.read, None)))


async def _iterated(far: Socket, order: list[Any], act: Callable[[], Any]) -> None:
    async for chunk in far:
        if not order:
            # What comes while the body runs has to wait for it.
            await act()
        order.append(chunk)


async def _framed(far: Socket, order: list[Any], act: Callable[[], Any]) -> None:
    far.set_framing(pyuvnet.framing.Fixed(1))
    await _iterated(far, order, act)


async def _by_hand(far: Socket, order: list[Any], act: Callable[[], Any]) -> None:
    await act()
    order.append(await far.read_exactly(1))
    order.append(await far.read_exactly(1))


@pytest.mark.parametrize("reader", [_flowing, _readable, _iterated, _framed, _by_hand])
def test_a_handle_comes_when_what_was_written_before_it_was_read(
    reader: Callable[..., Any], tmp_path: Path
) -> None:
    order: list[Any] = []

    async def turns(done: Callable[[], bool], most: int) -> None:
        for _ in range(most):
            if done():
                break
            await asyncio.sleep(0)

    async def main() -> None:
        server = net.create_server(handles=True).listen(str(tmp_path / "handles.sock"))
        near = net.connect(server.address(), handles=True)
        far, _ = await asyncio.gather(
            pyuvnet.events.once(server, "connection"), pyuvnet.events.once(near, "connect")
        )
        far = far[0]
        server.close()
        given, _port = some_server(lambda socket: None)
        over = pyuvnet.events.once(far, "close")
        far.on("handle", lambda handle, data: (order.append((handle, data)), handle.close()))
        near.write(b"A")
        await turns(lambda: far.bytes_read == 1, 10000)
        assert far.bytes_read == 1

        async def send() -> None:
            near.send_handle(given, b"B")
            near.end(b"C")
            given.close()
            await turns(lambda: False, 20)
            assert not any(isinstance(each, tuple) for each in order)

        await reader(far, order, send)
        near.resume()
        far.end()
        await over

    pyuvnet.run(main())
    assert [each if isinstance(each, bytes) else each[1] for each in order] == [b"A", b"B", b"C"]


@pytest.mark.parametrize("end", ["resume", "destroy"])
def test_a_paused_connection_opens_no_handles(end: str, tmp_path: Path) -> None:
    counts: list[int] = []

    def begin(ends: Ends) -> None:
        server, _ = some_server(lambda socket: None)
        ends.near.on("error", lambda error: None)
        ends.far.pause()
        ends.far.remove_all_listeners("handle")

        @ends.far.on("handle")
        def take(handle: Server, data: bytes) -> None:
            ends.order.append(data)
            handle.close()
            if len(ends.order) == 3:
                ends.far.pause()
                wait(20)

        for _ in range(100):
            ends.near.send_handle(server)
        ends.near.end()
        server.close()
        before = len(descriptors())

        def wait(turns: int) -> None:
            if turns:
                set_immediate(wait, turns - 1)
                return
            counts.append(len(ends.order))
            assert len(descriptors()) <= before + 2
            getattr(ends.far, end)()

        wait(20)

    ends = Ends(tmp_path).run(begin)
    assert counts == ([0, 3] if end == "resume" else [0])
    assert len(ends.order) == (100 if end == "resume" else 0)

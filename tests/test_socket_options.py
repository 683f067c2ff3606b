"""Socket's options fd, handle, onread, signal and type_of_service: what each does, and refuses."""

from __future__ import annotations

import os
import socket as posix
import sys
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.errors import Error
from tests.support.cases import cases


def serve(accepted: Any = None, **options: Any) -> net.Server:
    """A server on loopback that closes itself after the first connection."""
    server = net.create_server(**options)

    def connection(s: net.Socket) -> None:
        server.close()
        if accepted is not None:
            accepted(s)

    return server.on("connection", connection).listen(0, "127.0.0.1")


def when_listening(server: net.Server, action: Any) -> None:
    server.on("listening", lambda: action(server.address()["port"]))


def events(s: Any, trace: Any, *more: str) -> None:
    for name in ("connect", "ready", "end", "finish", "error", "close", *more):
        s.on(
            name,
            lambda *args, name=name: trace(name, *(getattr(each, "code", each) for each in args)),
        )


def refused(code: str, text: str | None, **options: Any) -> None:
    with pytest.raises(Error) as caught:
        net.Socket(**options)
    assert caught.value.code == code
    if text is not None:
        assert caught.value.message == text


# ---- fd ----------------------------------------------------------------------------------------


@pytest.mark.spec("N037", "N120")
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets are POSIX's")
@pytest.mark.parametrize("form", ["keyword", "int", "mapping"])
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_descriptor_becomes_a_socket(trace: Any, form: str, family: str) -> None:
    ours, theirs = posix.socketpair() if family == "unix" else connected_pair()
    with theirs:
        fd = ours.detach()
        made = {
            "keyword": lambda: net.Socket(fd=fd),
            "int": lambda: net.Socket(fd),
            "mapping": lambda: net.Socket({"fd": fd}),
        }[form]()
        assert (made.pending, made.connecting, made.ready_state) == (False, False, "open")
        assert (made.remote_address is None) == (family == "unix")
        events(made, trace)
        made.on("data", lambda chunk: (trace("data", chunk), made.end(b"bye")))
        theirs.sendall(b"hello")
        theirs.shutdown(posix.SHUT_WR)
        pyuvnet.run()
        assert theirs.recv(100) == b"bye"
    assert trace == [("data", b"hello"), "end", "finish", ("close", False)] or trace == [
        ("data", b"hello"),
        "finish",
        "end",
        ("close", False),
    ]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)  # it was the socket's, and is closed with it


def connected_pair() -> tuple[posix.socket, posix.socket]:
    with posix.create_server(("127.0.0.1", 0)) as listener:
        ours = posix.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets are POSIX's")
def test_a_descriptor_is_read_at_once() -> None:
    ours, theirs = posix.socketpair()
    with theirs:
        theirs.sendall(b"early")
        made = net.Socket(fd=ours.detach())
        pyuvnet.set_immediate(lambda: None)
        theirs.shutdown(posix.SHUT_WR)
        pyuvnet.run()
        assert (made.readable_length, made.bytes_read) == (5, 5)
        made.destroy()
        pyuvnet.run()


@pytest.mark.spec("N120")
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets are POSIX's")
@pytest.mark.parametrize("listening", [False, True])
def test_a_descriptor_that_is_not_to_be_read_is_left_alone(listening: bool) -> None:
    ours, theirs = posix.socketpair()
    with theirs:
        theirs.sendall(b"early")
        made = net.Socket(fd=ours.detach(), readable=False)
        if listening:
            made.on("data", print)
        pyuvnet.run()
        assert made.bytes_read == 0
        assert made.write(b"x")
        assert theirs.recv(9) == b"x"
        made.destroy()
        pyuvnet.run()


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets are POSIX's")
def test_one_end_of_a_pipe_is_a_socket(trace: Any) -> None:
    reading, writing = os.pipe()
    source, sink = net.Socket(fd=reading, writable=False), net.Socket(fd=writing, readable=False)
    source.on("data", trace).on("end", trace.note("end")).on("close", trace.note("close"))
    sink.end(b"through")
    pyuvnet.run()
    assert sink.closed
    assert trace == [b"through", "end", ("close", False)]


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets are POSIX's")
def test_options_that_need_a_connection_take_effect_at_once_on_a_descriptor() -> None:
    ours, theirs = connected_pair()
    with theirs:
        fd = ours.detach()
        made = net.Socket(fd=fd, no_delay=True, keep_alive=True, type_of_service=16)
        with posix.socket(fileno=os.dup(fd)) as same:
            assert same.getsockopt(posix.IPPROTO_TCP, posix.TCP_NODELAY)
            assert same.getsockopt(posix.SOL_SOCKET, posix.SO_KEEPALIVE)
            assert same.getsockopt(posix.IPPROTO_IP, posix.IP_TOS) == 16
        assert made.remote_port == theirs.getsockname()[1]
        made.destroy()
        pyuvnet.run()


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (
            -1,
            "ERR_OUT_OF_RANGE",
            'The value of "fd" is out of range. It must be >= 0 && <= 2147483647. Received -1',
        ),
        (
            1.5,
            "ERR_OUT_OF_RANGE",
            'The value of "fd" is out of range. It must be an integer. Received 1.5',
        ),
        (
            "1",
            "ERR_INVALID_ARG_TYPE",
            "The \"fd\" argument must be of type number. Received type string ('1')",
        ),
        (
            True,
            "ERR_INVALID_ARG_TYPE",
            'The "fd" argument must be of type number. Received type boolean (true)',
        ),
        (99999, "ERR_INVALID_FD_TYPE", "Unsupported fd type: UNKNOWN"),
    ],
)
def test_a_bad_descriptor_is_refused(value: object, code: str, text: str) -> None:
    refused(code, text, fd=value)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets are POSIX's")
def test_a_descriptor_of_a_file_is_refused_and_stays_open(tmp_path: Any) -> None:
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    refused("ERR_INVALID_FD_TYPE", "Unsupported fd type: FILE", fd=fd)
    os.close(fd)


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of sockets are POSIX's")
def test_a_descriptor_that_another_socket_reads_is_refused() -> None:
    ours, theirs = posix.socketpair()
    with theirs:
        fd = ours.detach()
        first = net.Socket(fd=fd)
        with pytest.raises(OSError, match="open EEXIST") as caught:
            net.Socket(fd=fd)
        assert (caught.value.code, caught.value.syscall) == ("EEXIST", "open")  # type: ignore[attr-defined]
        os.fstat(fd)  # still the first one's
        first.destroy()
        pyuvnet.run()


# ---- handle ------------------------------------------------------------------------------------


@pytest.mark.spec("N068", "N173")
def test_a_bound_socket_connects_from_where_it_is_bound(trace: Any) -> None:
    bound = net.BoundSocket(host="127.0.0.1")
    port = bound.address()["port"]
    server = serve(lambda s: (trace("peer", s.remote_port == port), s.end()))
    c = net.Socket(handle=bound)
    assert (c.pending, c.ready_state, c.local_port) == (False, "open", port)
    assert (c.connecting, c.remote_address) == (False, None)
    events(c, trace, "connectionAttempt")

    def go(server_port: int) -> None:
        for option in ({"local_port": 5}, {"local_address": "127.0.0.1"}):
            with pytest.raises(Error) as caught:
                c.connect({"port": server_port, "host": "127.0.0.1", **option})
            assert caught.value.code == "ERR_INVALID_ARG_VALUE"
        c.connect(server_port, "127.0.0.1")
        # As in Node: with nothing to look up and nothing to open, the attempt begins at once.
        assert trace == [("connectionAttempt", "127.0.0.1", server_port, 4)]
        assert (c.pending, c.ready_state) == (True, "opening")
        c.resume()

    when_listening(server, go)
    pyuvnet.run()
    assert ("peer", True) in trace
    assert [each for each in trace[1:] if each != ("peer", True)] == [
        "connect",
        "ready",
        "end",
        "finish",
        ("close", False),
    ]


def test_a_bound_socket_serves_one_socket_only() -> None:
    bound = net.BoundSocket()
    c = net.Socket(handle=bound)
    with pytest.raises(Error) as caught:
        net.Socket(handle=bound)
    assert caught.value.code == "ERR_SOCKET_HANDLE_ADOPTED"
    c.destroy()
    pyuvnet.run()


def test_a_bound_socket_that_never_connects(trace: Any) -> None:
    reads = net.Socket(handle=net.BoundSocket())
    events(reads, trace)
    reads.resume()
    pyuvnet.run()
    assert trace == [("error", "ENOTCONN"), ("close", True)]
    trace.clear()
    writes = net.Socket(handle=net.BoundSocket())
    events(writes, trace)
    writes.write(b"x", None, lambda error: trace("cb", error.code))
    pyuvnet.run()
    assert trace == [("cb", "EPIPE"), ("error", "EPIPE"), ("close", True)]
    trace.clear()
    resets = net.Socket(handle=net.BoundSocket())
    events(resets, trace)
    resets.reset_and_destroy()
    pyuvnet.run()
    assert trace == [("close", False)]


@pytest.mark.spec("D59")
@pytest.mark.parametrize("kind", ["path", "tcp"])
def test_a_bound_path_is_no_start_for_tcp_nor_the_reverse(tmp_path: Any, kind: str) -> None:
    path = str(tmp_path / "bound")
    c = net.Socket(handle=net.BoundSocket({"path": path} if kind == "path" else {}))
    with pytest.raises(Error) as caught:
        c.connect({"port": 80, "host": "127.0.0.1"} if kind == "path" else {"path": path})
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    assert not c.connecting
    c.destroy()
    pyuvnet.run()


@pytest.mark.parametrize("value", [1, "x", {}, True, object()])
def test_a_bad_handle_is_refused(value: object) -> None:
    refused("ERR_INVALID_ARG_TYPE", None, handle=value)


# ---- onread ------------------------------------------------------------------------------------


@pytest.mark.spec("N164")
def test_reads_land_in_the_buffer(trace: Any) -> None:
    buffer = bytearray(10)
    server = serve(lambda s: s.end(b"hello world, this is long"))

    def read(size: int, target: Any) -> None:
        assert target is buffer
        trace("read", bytes(target[:size]))

    def go(port: int) -> None:
        c = net.create_connection(
            port=port, host="127.0.0.1", onread={"buffer": buffer, "callback": read}
        )
        events(c, trace, "readable")
        c.on("data", trace.note("data"))
        c.on("close", lambda had_error: trace("bytes", c.bytes_read, c.readable_did_read))

    when_listening(server, go)
    pyuvnet.run()
    assert trace == [
        "connect",
        "ready",
        ("read", b"hello worl"),
        ("read", b"d, this is"),
        ("read", b" long"),
        "readable",
        "end",
        "finish",
        ("close", False),
        ("bytes", 25, False),
    ]
    buffer.clear()  # nothing holds it any more


@pytest.mark.spec("N164")
def test_a_function_gives_the_next_buffer(trace: Any) -> None:
    buffers: list[bytearray] = []

    def next_buffer() -> bytearray:
        buffers.append(bytearray(4))
        return buffers[-1]

    server = serve(lambda s: s.end(b"abcdefgh"))
    when_listening(
        server,
        lambda port: net.create_connection(
            port=port,
            host="127.0.0.1",
            onread={
                "buffer": next_buffer,
                "callback": lambda size, target: trace(size, target is buffers[-1]),
            },
        ),
    )
    pyuvnet.run()
    # Once at the start and once after each read.
    assert trace == [(4, True), (4, True)]
    assert buffers == [b"abcd", b"efgh", bytes(4)]


@pytest.mark.spec("N164")
def test_false_stops_reading_until_resume(trace: Any) -> None:
    server = serve(lambda s: s.end(b"aabb"))

    def go(port: int) -> None:
        def read(size: int, target: Any) -> bool:
            trace("read", bytes(target[:size]), c.is_paused())
            pyuvnet.set_immediate(lambda: pyuvnet.set_immediate(again))
            return False

        def again() -> None:
            trace("resume", c.is_paused())
            c.resume()

        c = net.create_connection(
            port=port, host="127.0.0.1", onread={"buffer": bytearray(2), "callback": read}
        )
        c.on("end", trace.note("end"))

    when_listening(server, go)
    pyuvnet.run()
    assert trace == [
        ("read", b"aa", False),
        ("resume", False),
        ("read", b"bb", False),
        ("resume", False),
        "end",
    ]


def test_pause_and_resume_stop_and_start_at_once(trace: Any) -> None:
    server = serve(lambda s: s.end(b"aabb"))

    def go(port: int) -> None:
        def read(size: int, target: Any) -> None:
            trace(bytes(target[:size]))
            c.pause()
            pyuvnet.set_immediate(lambda: pyuvnet.set_immediate(c.resume))

        c = net.create_connection(
            port=port, host="127.0.0.1", onread={"buffer": bytearray(2), "callback": read}
        )
        events(c, trace, "pause")

    when_listening(server, go)
    pyuvnet.run()
    assert trace == [
        "connect", "ready", b"aa", "pause", b"bb", "pause", "end", "finish", ("close", False),
    ]  # fmt: skip


def test_onread_over_ipc(trace: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    server = net.create_server(lambda s: (server.close(), s.end(b"local")))
    server.listen(path)
    net.create_connection(
        path=path,
        onread={
            "buffer": memoryview(bytearray(64)),
            "callback": lambda size, target: trace(bytes(target[:size])),
        },
    )
    pyuvnet.run()
    assert trace == [b"local"]


def test_destroy_inside_the_function_for_a_buffer(trace: Any) -> None:
    server = serve(lambda s: (s.on("error", lambda error: None), s.write(b"hello")))

    def go(port: int) -> None:
        def buffer() -> bytearray:
            c.destroy()
            return bytearray(2)

        read = trace.note("read")
        c = net.create_connection(
            port=port, host="127.0.0.1", onread={"buffer": buffer, "callback": read}
        )
        c.on("close", lambda had_error: (trace("close"), server.destroy_sockets()))

    when_listening(server, go)
    pyuvnet.run()
    assert trace == ["close"]


def test_destroy_inside_the_callback(trace: Any) -> None:
    server = serve(lambda s: (s.on("error", lambda error: None), s.end(b"aabbcc")))

    def go(port: int) -> None:
        def read(size: int, target: Any) -> None:
            trace(bytes(target[:size]))
            c.destroy()

        c = net.create_connection(
            port=port, host="127.0.0.1", onread={"buffer": lambda: bytearray(2), "callback": read}
        )
        c.on("close", trace.note("close"))

    when_listening(server, go)
    pyuvnet.run()
    assert trace == [b"aa", ("close", False)]


def test_a_callback_that_raises_leaves_the_socket_reading(trace: Any) -> None:
    pyuvnet.set_exception_handler(lambda error: trace(str(error)))
    server = serve(lambda s: s.end(b"aabb"))

    def read(size: int, target: Any) -> None:
        raise ValueError(bytes(target[:size]).decode())

    when_listening(
        server,
        lambda port: net.create_connection(
            port=port, host="127.0.0.1", onread={"buffer": bytearray(2), "callback": read}
        ).on("close", trace.note("close")),
    )
    pyuvnet.run()
    assert trace == ["aa", "bb", ("close", False)]


def test_a_function_that_gives_no_buffer_is_reported(trace: Any) -> None:
    pyuvnet.set_exception_handler(lambda error: trace(error.code))  # type: ignore[attr-defined]
    answers = [bytearray(2), b"read only", bytearray(2)]
    server = serve(lambda s: s.end(b"aabb"))
    when_listening(
        server,
        lambda port: net.create_connection(
            port=port,
            host="127.0.0.1",
            onread={
                "buffer": lambda: answers.pop(0) if answers else bytearray(2),
                "callback": lambda size, target: trace(bytes(target[:size])),
            },
        ).on("end", trace.note("end")),
    )
    pyuvnet.run()
    # The buffer before it serves on.
    assert trace == [b"aa", "ERR_INVALID_ARG_TYPE", b"bb", "end"]


@pytest.mark.spec("D10")
@cases(
    ("value", "code"),
    [
        (1, "ERR_INVALID_ARG_TYPE"),
        ({}, "ERR_INVALID_ARG_TYPE"),
        ({"buffer": bytearray(1)}, "ERR_INVALID_ARG_TYPE"),
        ({"callback": print}, "ERR_INVALID_ARG_TYPE"),
        ({"buffer": b"read only", "callback": print}, "ERR_INVALID_ARG_TYPE"),
        ({"buffer": 5, "callback": print}, "ERR_INVALID_ARG_TYPE"),
        ({"buffer": bytearray(1), "callback": 5}, "ERR_INVALID_ARG_TYPE"),
        ({"buffer": memoryview(bytearray(9))[::2], "callback": print}, "ERR_INVALID_ARG_TYPE"),
        ({"buffer": bytearray(), "callback": print}, "ERR_INVALID_ARG_VALUE"),
    ],
)
def test_a_bad_onread_is_refused(value: object, code: str) -> None:
    refused(code, None, onread=value)


class _Alike:
    """Has the methods of a BlockList, and is none."""

    def check(self, *_: Any) -> bool:
        return False

    blocks = check


WRONG_BUFFERS = [
    (None, "ERR_INVALID_ARG_TYPE"),
    (5, "ERR_INVALID_ARG_TYPE"),
    ("text", "ERR_INVALID_ARG_TYPE"),
    ([bytearray(1)], "ERR_INVALID_ARG_TYPE"),
    ((1, 2, 3), "ERR_INVALID_ARG_TYPE"),
    ({"address": 5}, "ERR_INVALID_ARG_TYPE"),
    (b"read only", "ERR_INVALID_ARG_TYPE"),
    (_Alike(), "ERR_INVALID_ARG_TYPE"),
    (bytearray(), "ERR_INVALID_ARG_VALUE"),
]


@pytest.mark.parametrize(("wrong", "code"), WRONG_BUFFERS, ids=lambda value: type(value).__name__)
def test_a_function_that_gives_no_buffer(trace: Any, wrong: Any, code: str) -> None:
    """It is called each time, and the buffer before is read into."""
    buffers = [bytearray(9)]
    pyuvnet.set_exception_handler(lambda error: trace(error.code))

    def accept(socket: net.Socket) -> None:
        socket.write("one")
        socket.on("data", lambda _: socket.end("two"))

    def read(size: int, buffer: Any) -> None:
        trace(bytes(buffer[:size]))
        if buffer[:size] == b"one":
            c.write("go on")

    server = net.create_server(accept).listen(0, "127.0.0.1")
    server.on("listening", lambda: c.connect(server.address()["port"], "127.0.0.1"))
    onread = {"buffer": lambda: buffers.pop() if buffers else wrong, "callback": read}
    c = net.Socket(onread=onread)
    c.on("end", trace.note("end")).on("close", lambda _: server.close())
    try:
        pyuvnet.run()
    finally:
        pyuvnet.set_exception_handler(None)
    assert trace == [b"one", code, b"two", code, "end"]


@pytest.mark.parametrize("answer", [None, 0, "", [], {}, b"", (0, 0, 0), object()], ids=repr)
def test_only_false_stops_reading(trace: Any, answer: Any) -> None:
    def read(size: int, buffer: Any) -> Any:
        trace(bytes(buffer[:size]))
        return answer

    server = net.create_server(lambda s: s.end("ab")).listen(0, "127.0.0.1")
    server.on("listening", lambda: c.connect(server.address()["port"], "127.0.0.1"))
    c = net.Socket(onread={"buffer": bytearray(1), "callback": read})
    c.on("close", lambda _: server.close())
    pyuvnet.run()
    assert trace == [b"a", b"b"]


_WRONG = [5, "x", [], ("127.0.0.1",), {}, b"x"]


@cases("value", [*_WRONG, _Alike()])
def test_what_is_like_a_block_list_is_refused(value: Any) -> None:
    refused("ERR_INVALID_ARG_TYPE", None, block_list=value)


@pytest.mark.parametrize("value", _WRONG, ids=lambda value: type(value).__name__)
def test_what_is_no_signal_is_refused(value: Any) -> None:
    refused("ERR_INVALID_ARG_TYPE", None, signal=value)


# ---- signal ------------------------------------------------------------------------------------


@pytest.mark.spec("N165")
def test_abort_while_connecting(trace: Any) -> None:
    controller = pyuvnet.AbortController()
    server = net.create_server().listen(0, "127.0.0.1")

    def go(port: int) -> None:
        c = net.create_connection(port=port, host="127.0.0.1", signal=controller.signal)
        events(c, trace, "connectionAttempt")
        c.on("error", lambda error: trace("cause", error.cause))
        controller.abort("enough")
        assert (c.destroyed, c.connecting) == (True, False)
        server.close()

    when_listening(server, go)
    pyuvnet.run()
    assert trace == [("error", "ABORT_ERR"), ("cause", "enough"), ("close", True)]
    assert controller.signal.listener_count("abort") == 0


@pytest.mark.spec("N165")
def test_abort_later(trace: Any) -> None:
    controller = pyuvnet.AbortController()
    server = serve(lambda s: s.on("end", trace.note("peer end")).resume())

    def go(port: int) -> None:
        c = net.create_connection(port=port, host="127.0.0.1", signal=controller.signal)
        events(c, trace)
        c.on("ready", lambda: pyuvnet.set_immediate(controller.abort))

    when_listening(server, go)
    pyuvnet.run()
    assert [each for each in trace if each != "peer end"] == [
        "connect",
        "ready",
        ("error", "ABORT_ERR"),
        ("close", True),
    ]
    assert "peer end" in trace


@pytest.mark.spec("N165", "D55")
@pytest.mark.parametrize("form", ["create_connection", "Socket"])
def test_aborted_before_connecting_nothing_is_connected(trace: Any, form: str) -> None:
    server = net.create_server(trace.note("connection")).listen(0, "127.0.0.1")

    def go(port: int) -> None:
        signal = pyuvnet.AbortSignal.abort("no")
        if form == "Socket":
            c = net.Socket(signal=signal)
            c.connect(port, "127.0.0.1", trace.note("listener"))
        else:
            c = net.create_connection({"port": port, "signal": signal}, trace.note("listener"))
        assert c.destroyed
        events(c, trace, "connectionAttempt", "lookup")
        c.on("close", lambda had_error: pyuvnet.set_immediate(server.close))

    when_listening(server, go)
    pyuvnet.run()
    assert trace == [("error", "ABORT_ERR"), ("close", True)]


def test_a_socket_that_is_over_leaves_the_signal(trace: Any) -> None:
    controller = pyuvnet.AbortController()
    server = serve(lambda s: s.end())
    when_listening(
        server,
        lambda port: net.create_connection(
            port=port, host="127.0.0.1", signal=controller.signal
        ).resume(),
    )
    assert controller.signal.listener_count("abort") == 0
    pyuvnet.run()
    assert controller.signal.listener_count("abort") == 0


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (1, "type number (1)"),
        ("x", "type string ('x')"),
        ({}, "an instance of Object"),
        (True, "type boolean (true)"),
    ],
)
def test_a_bad_signal_is_refused(value: object, received: str) -> None:
    refused("ERR_INVALID_ARG_TYPE", None, signal=value)
    with pytest.raises(Error) as caught:
        net.Socket(signal=value)
    assert caught.value.message.endswith(f"an instance of AbortSignal. Received {received}")


# ---- type_of_service -----------------------------------------------------------------------------


@pytest.mark.spec("N166")
def test_type_of_service(trace: Any) -> None:
    def accepted(s: net.Socket) -> None:
        assert s.set_type_of_service(16) is s
        trace("accepted", s.get_type_of_service())
        s.end()

    server = serve(accepted)

    def go(port: int) -> None:
        c = net.Socket(type_of_service=8)
        assert c.get_type_of_service() == 8
        c.set_type_of_service(24).connect(port, "127.0.0.1")
        assert c.get_type_of_service() == 24

        def connected() -> None:
            trace("connected", c.get_type_of_service())
            c.set_type_of_service(40)
            trace("set", c.get_type_of_service())
            c.destroy()
            c.set_type_of_service(9)
            trace("destroyed", c.get_type_of_service())

        c.on("connect", connected)

    when_listening(server, go)
    pyuvnet.run()
    assert sorted(trace) == [("accepted", 16), ("connected", 24), ("destroyed", 9), ("set", 40)]


@pytest.mark.spec("N166")
def test_type_of_service_of_ipv6_is_the_traffic_class(trace: Any) -> None:
    server = net.create_server(lambda s: (server.close(), s.destroy())).listen(0, "::1")

    def go() -> None:
        c = net.create_connection(port=server.address()["port"], host="::1", type_of_service=32)
        c.on("connect", lambda: trace(c.get_type_of_service()))
        c.on("connect", c.destroy)

    server.on("listening", go)
    pyuvnet.run()
    assert trace == [32]


def test_type_of_service_of_ipc_is_only_remembered(tmp_path: Any, trace: Any) -> None:
    path = str(tmp_path / "s")
    server = net.create_server(lambda s: (server.close(), s.end())).listen(path)
    c = net.create_connection(path=path, type_of_service=7)
    c.on("connect", lambda: trace(c.get_type_of_service(), c.set_type_of_service(4) is c))
    c.on("connect", lambda: trace(c.get_type_of_service()))
    c.resume()
    pyuvnet.run()
    assert trace == [(7, True), 4]


@pytest.mark.spec("N166")
@cases("value", [-1, 256, 1.5, float("nan"), "x", {}, True, None])
def test_a_bad_type_of_service_is_refused(value: Any) -> None:
    wrong_type = value is None or isinstance(value, (str, dict, bool)) or value != value
    code = "ERR_INVALID_ARG_TYPE" if wrong_type else "ERR_OUT_OF_RANGE"
    c = net.Socket(type_of_service=5)
    with pytest.raises(Error) as caught:
        c.set_type_of_service(value)
    assert caught.value.code == code
    assert '"tos"' in caught.value.message
    assert c.get_type_of_service() == 5
    if value is not None:
        # Node reads NaN as a type for the method and as a value for the option.
        refused("ERR_OUT_OF_RANGE" if value != value else code, None, type_of_service=value)

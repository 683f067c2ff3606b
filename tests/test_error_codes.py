"""Every code of an error: what provokes it, its class, its text, and that there is no other."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket as posix
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pyuvnet
from pyuvnet import AbortController, AbortSignal, BoundSocket, framing, handover, net, streams, tls
from pyuvnet import errors as classes
from pyuvnet._options.kernel import feature_unavailable
from pyuvnet.errors import (
    AbortError,
    AbortTimeoutError,
    AddressError,
    ArgTypeError,
    ArgValueError,
    ClosedError,
    ConnectTimeoutError,
    DeadlineError,
    FrameError,
    IncompleteReadError,
    RangeError,
    StateError,
)
from tests.support.cases import cases
from tests.support.words import OF_NODE

PACKAGE = Path(pyuvnet.__file__).parent
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are POSIX's")


# ---- How an error comes about ------------------------------------------------------------------


def raised(call: Callable[[], object]) -> Any:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def over_its_bound() -> Any:
    """What a write beyond max_write_buffer gets."""
    socket = net.Socket(max_write_buffer=10, on_full="refuse")
    socket.cork()
    found: list[Any] = []
    socket.write(b"a byte")
    socket.write(b"and more", callback=found.append)
    pyuvnet.run()
    return found[0]


def over_the_budget() -> Any:
    """What a client is destroyed with that queues more than its loop may."""
    errors: list[Any] = []
    pyuvnet.loop.set_write_budget(10)
    client = net.connect(1, "127.0.0.1").on("error", errors.append)
    client.write(b"a byte")
    client.write(b"and more")
    pyuvnet.run()
    return errors[0]


def too_many_calls() -> Any:
    """What call_soon_threadsafe() raises beyond its bound."""
    loop = pyuvnet.current_loop()
    loop.set_max_threadsafe_calls(1)
    loop.call_soon_threadsafe(lambda: None)
    found = raised(lambda: loop.call_soon_threadsafe(lambda: None))
    pyuvnet.run()
    return found


def called(call: Callable[[Callable[..., None]], object]) -> Any:
    """What a callback is given, once the loop has run."""
    given: list[Any] = []
    call(lambda error=None, *rest: given.append(error))
    pyuvnet.run()
    return given[-1]


def emitted(thing: Any) -> Any:
    """The 'error' of an object, once the loop has run."""
    return called(lambda callback: thing.on("error", callback))


def quiet() -> net.Socket:
    return net.Socket().on("error", lambda error: None)


def looked_up(*answer: Any) -> net.Socket:
    return net.create_connection(
        port=80,
        host="some.where",
        lookup=lambda host, options, callback: pyuvnet.next_tick(callback, None, *answer),
    )


def listen_twice() -> Any:
    server = net.create_server().listen(0)
    error = raised(lambda: server.listen(0))
    server.close()
    pyuvnet.run()
    return error


def destroyed_while_connecting(callback: Callable[..., None]) -> None:
    c = net.create_connection(1, "127.0.0.1")
    c.write(b"x", callback)
    c.destroy()


def no_attempt_left_an_error() -> Any:
    # No program comes to this, neither in Node nor here: each attempt leaves an error.
    c = net.create_connection(port=1, host="x", lookup=lambda *args: None)
    c._connector._fail()
    return emitted(c)


def adopted() -> Any:
    bound = BoundSocket(host="127.0.0.1")
    c = net.Socket(handle=bound)
    error = raised(bound.address)
    c.destroy()
    pyuvnet.run()
    return error


def blocked() -> Any:
    rules = net.BlockList()
    rules.add_address("127.0.0.1")
    return emitted(net.create_connection(port=1, host="127.0.0.1", block_list=rules))


def reset_over_ipc() -> Any:
    c = quiet().connect(path="/no/such/path")
    error = raised(c.reset_and_destroy)
    pyuvnet.run()
    return error


def detached_while_connecting() -> Any:
    c = quiet().connect(1, "127.0.0.1")
    error = raised(c.detach)
    c.destroy()
    pyuvnet.run()
    return error


def successor_that_ends() -> Any:
    server = net.create_server().listen(0)

    def spawn(callback: Callable[..., object]) -> None:
        def over(error: Any, pid: Any) -> None:
            server.close()
            callback(error)

        handover.spawn(["sh", "-c", "exit 7"], server, callback=over)

    return called(spawn)


def written_after_end(callback: Callable[..., None]) -> None:
    quiet().end().write(b"x", callback)


def ended_after_finish(callback: Callable[..., None]) -> None:
    c = net.Socket().end()
    c.on("finish", lambda: c.end(callback))


def written_after_destroy(callback: Callable[..., None]) -> None:
    net.Socket().destroy().write(b"x", callback)


def finished_without_end(callback: Callable[..., None]) -> None:
    c = net.Socket()
    streams.finished(c, callback)
    c.destroy()


class Source(pyuvnet.Readable):
    def _read(self, size: int) -> None:
        pass


def pushed_after_the_end() -> Any:
    source = Source()
    source.push(None)
    source.push(b"x")
    return emitted(source)


def decoding_below_tls() -> Any:
    stream = streams.Duplex(read=lambda size: None, write=lambda *given: given[2]())
    tls.TLSSocket(stream.set_encoding("latin1"), is_server=True).on("error", lambda error: None)
    stream.push(b"x")
    return emitted(stream)


def unshifted_after_the_end() -> Any:
    source = Source(auto_destroy=False).resume()
    source.push(None)
    source.on("end", lambda: source.unshift(b"x"))
    return emitted(source)


def framed(form: framing.Framing, data: bytes) -> Any:
    source = Source(framing=form).resume()
    source.push(data)
    source.push(None)
    return emitted(source)


class Twice(pyuvnet.Writable):
    def _write(self, chunk: Any, encoding: str, callback: Callable[..., None]) -> None:
        callback()
        callback()


def answered_twice() -> Any:
    sink = Twice()
    sink.write(b"x")
    return emitted(sink)


def aborted() -> Any:
    controller = AbortController()
    c = net.create_connection(port=1, host="127.0.0.1", signal=controller.signal)
    controller.abort()
    return emitted(c)


def timed_out() -> Any:
    signal = AbortSignal.timeout(1)
    signal.on("abort", lambda *args: None)
    # The time of a signal keeps nothing alive.
    pyuvnet.set_timeout(lambda: None, 50)
    pyuvnet.run()
    return signal.reason


def from_another_thread() -> Any:
    found: list[Any] = []
    server = net.create_server()
    thread = threading.Thread(target=lambda: found.append(raised(server.close)), name="other")
    thread.start()
    thread.join()
    return found[0]


class Half(net.Socket):
    def __init__(self) -> None:
        pass


def too_late(connection: Any = net.Socket.resume, **options: Any) -> Any:
    """The error of an accepted socket whose peer does nothing."""
    errors: list[Any] = []

    def accepted(socket: net.Socket) -> None:
        server.close()
        socket.on("error", errors.append)
        connection(socket)

    server = net.create_server(accepted, **options).listen(0)
    with posix.create_connection(("127.0.0.1", server.address()["port"])):
        pyuvnet.run()
    return errors[0]


def listen_too_soon() -> Any:
    server = net.create_server().listen(0)
    server.shutdown()
    server.close()
    try:
        return raised(lambda: server.listen(0))
    finally:
        pyuvnet.run()


def read_by_two() -> Any:
    async def main() -> None:
        stream = net.Socket()
        iterator = aiter(stream)
        task = asyncio.ensure_future(anext(iterator))
        await asyncio.sleep(0)
        try:
            await anext(aiter(stream))
        finally:
            task.cancel()
            stream.destroy()

    return raised(lambda: pyuvnet.run(main()))


def run_inside_run(callback: Callable[..., None]) -> None:
    pyuvnet.next_tick(lambda: callback(raised(pyuvnet.run)))


def use_of_a_closed_loop() -> Any:
    loop = pyuvnet.current_loop()
    c = net.Socket()
    loop.close()
    return raised(lambda: c.connect(1, "127.0.0.1"))


def coroutine_without_asyncio() -> Any:
    async def listener() -> None:
        pass

    emitter = pyuvnet.EventEmitter().on("x", listener)
    return raised(lambda: emitter.emit("x"))


def iterable_without_asyncio() -> Any:
    async def items() -> Any:
        yield b""

    return raised(lambda: pyuvnet.streams.from_iterable(items())._read(1))


TYPE, VALUE = "ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE"


# code, class, text, what provokes it. The text is Node's, except at the end, where it is ours.
def sent_without_a_channel() -> Any:
    from pyuvnet.cluster import Worker

    got: list[Any] = []
    Worker()._refuse(got.append)
    pyuvnet.run()
    return got[0]


TABLE: list[tuple[str, type[Exception], str, Callable[[], Any]]] = [
    (TYPE, ArgTypeError, (
        'The "chunk" argument must be of type string or an instance of Buffer, TypedArray, or '
        "DataView. Received type number (5)"
    ), lambda: raised(lambda: net.Socket().write(5))),
    (TYPE, ArgTypeError, 'The "value" argument must be of type boolean. Received type number (1)',
     lambda: raised(lambda: net.set_default_auto_select_family(1))),
    (VALUE, ArgValueError, (
        "The argument 'options' must have the property \"port\" or \"path\". Received {}"
    ), lambda: raised(lambda: net.create_server().listen({}))),
    (VALUE, ArgValueError, "The property 'options.objectMode' is not supported. Received true",
     lambda: raised(lambda: net.Socket({"objectMode": True}))),
    (VALUE, ArgValueError, "The argument 'hints' is invalid. Received 999999",
     lambda: raised(lambda: net.connect(port=1, host="localhost", hints=999999))),
    ("ERR_OUT_OF_RANGE", RangeError, (
        'The value of "msecs" is out of range. It must be a non-negative finite number. '
        "Received -1"
    ), lambda: raised(lambda: net.Socket().set_timeout(-1))),
    ("ERR_SOCKET_BAD_PORT", RangeError, (
        "options.port should be >= 0 and < 65536. Received type number (65536)."
    ), lambda: raised(lambda: net.create_server().listen(65536))),
    ("ERR_SOCKET_BAD_PORT", RangeError, (
        "Port should be >= 0 and < 65536. Received type number (65536)."
    ), lambda: raised(lambda: net.connect(65536))),
    ("ERR_MISSING_ARGS", ArgTypeError, (
        'The "options" or "port" or "path" argument must be specified'
    ), lambda: raised(lambda: net.connect({}))),
    ("ERR_INVALID_IP_ADDRESS", ArgTypeError, "Invalid IP address: nowhere",
     lambda: raised(lambda: net.connect(port=1, local_address="nowhere"))),
    ("ERR_INVALID_IP_ADDRESS", ArgTypeError, "Invalid IP address: nonsense",
     lambda: emitted(looked_up("nonsense", 4))),
    ("ERR_INVALID_ADDRESS_FAMILY", RangeError, "Invalid address family: 100 some.where:80",
     lambda: emitted(looked_up("127.0.0.1", 100))),
    ("ERR_INVALID_ADDRESS", AddressError, "Invalid socket address",
     lambda: raised(lambda: net.SocketAddress(address="x"))),
    ("ERR_INVALID_FD_TYPE", ArgTypeError, "Unsupported fd type: UNKNOWN",
     lambda: raised(lambda: net.Socket(fd=99999))),
    ("ERR_INVALID_HANDLE_TYPE", ArgTypeError, "This handle type cannot be sent", reset_over_ipc),
    ("ERR_FEATURE_UNAVAILABLE_ON_PLATFORM", ArgTypeError,
     "The feature mark is unavailable on the current platform",
     lambda: feature_unavailable("mark")),
    ("ERR_INVALID_STATE", StateError, "detach() needs an established connection",
     detached_while_connecting),
    ("ERR_HANDOVER_FAILED", StateError,
     "The successor ended before it was ready (exit status 7)", successor_that_ends),
    ("ERR_SERVER_ALREADY_LISTEN", StateError, (
        "Listen method has been called more than once without closing."
    ), listen_twice),
    ("ERR_SERVER_NOT_RUNNING", StateError, "Server is not running.",
     lambda: called(lambda callback: net.create_server().close(callback))),
    ("ERR_SOCKET_CLOSED", ClosedError, "Socket is closed",
     lambda: called(lambda callback: quiet().write(b"x", callback))),
    ("ERR_SOCKET_CLOSED", ClosedError, "Socket is closed",
     lambda: emitted(net.Socket().reset_and_destroy())),
    ("ERR_SOCKET_CLOSED_BEFORE_CONNECTION", ClosedError, (
        "Socket closed before the connection was established"
    ), lambda: called(destroyed_while_connecting)),
    ("ERR_SOCKET_CONNECTION_TIMEOUT", ConnectTimeoutError, "Socket connection timeout",
     no_attempt_left_an_error),
    ("ERR_SOCKET_HANDLE_ADOPTED", StateError, (
        "The bound socket has already been adopted by a server or socket"
    ), adopted),
    ("ERR_IP_BLOCKED", StateError, "IP(127.0.0.1) is blocked by net.BlockList", blocked),
    ("ERR_STREAM_WRITE_AFTER_END", StateError, "write after end",
     lambda: called(written_after_end)),
    ("ERR_STREAM_DESTROYED", ClosedError, "Cannot call write after a stream was destroyed",
     lambda: called(written_after_destroy)),
    ("ERR_STREAM_ALREADY_FINISHED", StateError, "Cannot call end after a stream was finished",
     lambda: called(ended_after_finish)),
    ("ERR_STREAM_NULL_VALUES", ArgTypeError, "May not write null values to stream",
     lambda: raised(lambda: net.Socket().write(None))),
    ("ERR_STREAM_PREMATURE_CLOSE", ClosedError, "Premature close",
     lambda: called(finished_without_end)),
    ("ERR_STREAM_PUSH_AFTER_EOF", StateError, "stream.push() after EOF", pushed_after_the_end),
    ("ERR_STREAM_WRAP", StateError, "Stream has StringDecoder set", decoding_below_tls),
    ("ERR_STREAM_UNSHIFT_AFTER_END_EVENT", StateError, "stream.unshift() after end event",
     unshifted_after_the_end),
    ("ERR_UNKNOWN_ENCODING", ArgTypeError, "Unknown encoding: klingon",
     lambda: raised(lambda: net.Socket().set_encoding("klingon"))),
    ("ERR_UNHANDLED_ERROR", StateError, "Unhandled error. (5)",
     lambda: raised(lambda: net.Socket().emit("error", 5))),
    ("ERR_METHOD_NOT_IMPLEMENTED", StateError, "The _write() method is not implemented",
     lambda: raised(lambda: pyuvnet.Writable().write(b"x"))),
    ("ERR_MULTIPLE_CALLBACK", StateError, "Callback called multiple times", answered_twice),
    ("ERR_ILLEGAL_CONSTRUCTOR", ArgTypeError, "Illegal constructor", lambda: raised(AbortSignal)),
    ("ABORT_ERR", AbortError, "The operation was aborted", aborted),
    ("TIMEOUT_ERR", AbortTimeoutError, "The operation was aborted due to timeout", timed_out),
    # Ours: what JavaScript does not have, or lets pass.
    ("ERR_UNKNOWN_OPTION", ArgTypeError, "", lambda: raised(lambda: net.Socket(no_dely=True))),
    ("ERR_WRONG_THREAD", StateError, "", from_another_thread),
    ("ERR_NOT_CONSTRUCTED", StateError, "", lambda: raised(Half().pause)),
    ("ERR_CONSTRUCTED_TWICE", StateError, "",
     lambda: raised(net.Socket().__init__)),  # type: ignore[misc]
    ("ERR_SOCKET_IDLE", DeadlineError, "The socket was idle for too long",
     lambda: too_late(idle_timeout=5)),
    ("ERR_FIRST_BYTE_TIMEOUT", DeadlineError, "No data was received in time",
     lambda: too_late(first_byte_timeout=5)),
    ("ERR_WRITE_TIMEOUT", DeadlineError, "The peer did not read what was written in time",
     lambda: too_late(lambda s: s.write(b"x" * 30_000_000), write_timeout=5)),
    ("ERR_MAX_LIFETIME", DeadlineError, "The socket has reached its maximum lifetime",
     lambda: too_late(lambda s: setattr(s, "busy", True), max_lifetime=5)),
    ("ERR_TOO_SLOW", DeadlineError, "The peer is sending too slowly",
     lambda: too_late(min_read_rate=(1, 5))),
    ("ERR_DEADLINE", DeadlineError, "The deadline of the socket has passed",
     lambda: too_late(lambda s: s.set_deadline(5))),
    ("ERR_SERVER_SHUTTING_DOWN", StateError, "The server is shutting down", listen_too_soon),
    ("ERR_UNKNOWN_SIGNAL", ArgTypeError, "Unknown signal: SIGNOTHING",
     lambda: raised(lambda: net.create_server().shutdown_on("SIGNOTHING"))),
    ("ERR_WRITE_BUFFER_FULL", StateError,
     "The socket's write queue exceeds max_write_buffer (10 bytes)", over_its_bound),
    ("ERR_WRITE_BUDGET", StateError,
     ("The sockets of the loop exceed their write budget (10 bytes), and this one has the longest "
      "queue"), over_the_budget),
    ("ERR_QUEUE_FULL", StateError, "", too_many_calls),
    ("ERR_ALREADY_READING", StateError, "another task is already reading the stream",
     read_by_two),
    ("ERR_METHOD_NOT_APPLICABLE", StateError, "write_frame() needs a framing; call set_framing()",
     lambda: raised(lambda: net.Socket().write_frame(b"x"))),
    ("ERR_METHOD_NOT_APPLICABLE", StateError,
     "read(size) cannot be used on a stream with a framing",
     lambda: raised(lambda: pyuvnet.Readable(framing=framing.Lines()).read(5))),
    ("ERR_FRAME_TOO_LONG", FrameError, "The frame is longer than the limit of 3 bytes",
     lambda: framed(framing.Lines(limit=3), b"long")),
    ("ERR_FRAME_INCOMPLETE", FrameError, "The stream ended inside a frame",
     lambda: framed(framing.Fixed(3), b"ab")),
    ("ERR_FRAME_INCOMPLETE", IncompleteReadError, "The stream ended after 1 of 2 bytes",
     lambda: IncompleteReadError(b"x", 2)),
    ("ERR_FRAME_INVALID", FrameError, "The frame's prefix is not a valid length",
     lambda: framed(framing.LengthPrefix(1, includes_itself=True), b"\0")),
    ("ERR_INVALID_RETURN_VALUE", ArgTypeError, (
        'Expected an integer to be returned from the "length" function but got type str.'
    ), lambda: framed(framing.Header(1, lambda header: "x"), b"x")),  # type: ignore[arg-type, return-value]
    ("ERR_IPC_CHANNEL_CLOSED", StateError, "Channel closed", sent_without_a_channel),
    ("ERR_IPC_DISCONNECTED", StateError, "IPC channel is already disconnected",
     lambda: raised(pyuvnet.cluster.WorkerProcess(1).disconnect)),
    ("ERR_LOOP_RUNNING", StateError, "", lambda: called(run_inside_run)),
    ("ERR_WORKER_HANDLE_NOT_TRANSFERABLE", StateError, "",
     lambda: raised(lambda: net.Server().transfer(pyuvnet.current_loop()))),
    ("ERR_LOOP_CLOSED", StateError, "", use_of_a_closed_loop),
    ("ERR_NO_ASYNC_LOOP", StateError, "", coroutine_without_asyncio),
    ("ERR_NO_ASYNC_LOOP", StateError, "", iterable_without_asyncio),
]  # fmt: skip

# The built-in exceptions that catch a class too.
BASES: dict[type[Exception], tuple[str, tuple[type[Exception], ...]]] = {
    ArgTypeError: ("TypeError", (TypeError,)),
    ArgValueError: ("TypeError", (ValueError, TypeError)),
    RangeError: ("RangeError", (ValueError,)),
    AddressError: ("Error", (ValueError,)),
    StateError: ("Error", (RuntimeError,)),
    ClosedError: ("Error", (RuntimeError, ConnectionError)),
    ConnectTimeoutError: ("Error", (TimeoutError,)),
    DeadlineError: ("Error", (RuntimeError, StateError, TimeoutError)),
    FrameError: ("Error", (RuntimeError, StateError)),
    IncompleteReadError: ("Error", (EOFError,)),
    AbortError: ("AbortError", ()),
    AbortTimeoutError: ("TimeoutError", (TimeoutError,)),
}


@pytest.mark.spec("N183")
@cases(
    ("code", "kind", "text", "provoke"),
    TABLE,
)
def test_the_code_its_class_and_its_text(
    code: str, kind: type[Exception], text: str, provoke: Callable[[], Any]
) -> None:
    error = provoke()
    assert type(error) is kind
    assert error.code == code
    assert error.message == str(error) == (text or error.message) != ""
    if OF_NODE.search(error.message):
        assert any(note.startswith("In Python's words: ") for note in error.__notes__)
    name, bases = BASES[kind]
    assert error.name == name
    assert isinstance(error, pyuvnet.Error)
    for base in bases:
        assert isinstance(error, base)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_the_code_of_a_forked_child(run_child: Callable[..., Any]) -> None:
    child = run_child(
        """
        import os
        import pyuvnet

        socket = pyuvnet.net.Socket()
        pid = os.fork()
        if pid:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        try:
            socket.pause()
        except pyuvnet.StateError as error:
            print(error.code, flush=True)
        os._exit(0)
        """
    ).clean()
    assert child.lines == ["ERR_FORKED"]


@pytest.mark.spec("N183")
def test_every_code_is_in_the_table() -> None:
    found: set[str] = set()
    for file in PACKAGE.rglob("*"):
        # The codes of TLS are OpenSSL's and Node's, see test_tls.py.
        if file.suffix in (".py", ".pyx", ".pxd") and "tls" not in file.stem + file.parent.name:
            text = file.read_text(encoding="utf-8")
            found.update(re.findall(r"""["'](ERR_[A-Z_]+|ABORT_ERR|TIMEOUT_ERR)["']""", text))
    assert found == {entry[0] for entry in TABLE} | {"ERR_FORKED"}


def test_every_class_is_in_the_table() -> None:
    ours = {
        kind
        for name in classes.__all__
        if issubclass(kind := getattr(classes, name), pyuvnet.Error)
    }
    others = {pyuvnet.Error, pyuvnet.AggregateError}
    assert ours - others == {entry[1] for entry in TABLE} == set(BASES)


def test_an_abort_has_the_reason_for_its_cause() -> None:
    error = aborted()
    assert error.cause is error.__cause__
    assert isinstance(error.cause, AbortError)


# ---- Errors of the system ----------------------------------------------------------------------


def refused(place: Any) -> Any:
    with posix.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        place.port = holder.getsockname()[1]
        return emitted(net.create_connection(place.port, "127.0.0.1"))


def refused_from_here(place: Any) -> Any:
    with posix.socket() as holder, posix.socket() as here:
        holder.bind(("127.0.0.1", 0))
        here.bind(("127.0.0.1", 0))
        place.port, place.local = holder.getsockname()[1], here.getsockname()[1]
        here.close()
        error = emitted(net.create_connection(
            port=place.port, host="127.0.0.1", local_address="127.0.0.1", local_port=place.local
        ))  # fmt: skip
    assert (error.local_address, error.local_port) == ("127.0.0.1", place.local)
    assert (error.localAddress, error.localPort) == ("127.0.0.1", place.local)
    return error


def port_zero(place: Any) -> Any:
    return emitted(net.create_connection(0, "127.0.0.1"))


def no_path(place: Any) -> Any:
    return emitted(net.create_connection(place.path))


def stale_path(place: Any) -> Any:
    with posix.socket(posix.AF_UNIX) as dead:
        dead.bind(place.path)
    return emitted(net.create_connection(place.path))


def taken(place: Any) -> Any:
    holder = net.create_server().listen(0)
    place.port = holder.address()["port"]
    other = net.create_server().listen(place.port).on("error", lambda error: holder.close())
    return emitted(other)


def taken_path(place: Any) -> Any:
    holder = net.create_server().listen(place.path)
    other = net.create_server().listen(place.path).on("error", lambda error: holder.close())
    return emitted(other)


def no_folder(place: Any) -> Any:
    place.path = str(Path(place.path) / "no" / "such")
    return emitted(net.create_server().listen(place.path))


def not_here(place: Any) -> Any:
    return emitted(net.create_server().listen(0, "192.0.2.1"))


def not_here_to_start(place: Any) -> Any:
    return emitted(net.create_connection(port=1, host="127.0.0.1", local_address="192.0.2.1"))


def bound_twice(place: Any) -> Any:
    holder = net.create_server().listen(0)
    place.port = holder.address()["port"]
    error = raised(lambda: BoundSocket(host="0.0.0.0", port=place.port))
    holder.close()
    pyuvnet.run()
    return error


def no_descriptor(place: Any) -> Any:
    return emitted(net.create_server().listen(fd=99999))


def descriptor_in_use(place: Any) -> Any:
    with posix.socket() as made:
        made.bind(("127.0.0.1", 0))
        fd = made.detach()
    holder = net.create_server().listen(fd=fd)
    other = net.create_server().listen(fd=fd).on("error", lambda error: holder.close())
    return emitted(other)


def with_a_peer(act: Callable[[net.Socket, posix.socket], object]) -> Any:
    """The 'error' of a client of a raw peer, or None; `act` is called when it is connected."""
    errors: list[Any] = []
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(posix.create_server(("127.0.0.1", 0)))
        c = net.create_connection(listener.getsockname()[1], "127.0.0.1")
        c.on("error", errors.append)
        c.on("ready", lambda: act(c, stack.enter_context(listener.accept()[0])))
        pyuvnet.run()
    return errors[0] if errors else None


def reset(c: net.Socket, peer: posix.socket) -> None:
    peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def connected_again(c: net.Socket, peer: posix.socket) -> None:
    c.connect(1, "127.0.0.1")


def read_of_nothing(place: Any) -> Any:
    return emitted(net.Socket(handle=BoundSocket()).resume())


def write_to_nothing(place: Any) -> Any:
    c = net.Socket(handle=BoundSocket())
    c.write(b"x")
    return emitted(c)


def ended_by_the_other(place: Any) -> Any:
    answers: list[Any] = []

    def connection(s: net.Socket) -> None:
        server.close()
        # After 'end' the automatic end() has run in a tick; then it is too late to write.
        s.resume().on("end", lambda: pyuvnet.set_immediate(s.write, b"x", answers.append))
        s.on("error", lambda error: None)

    server = net.create_server(connection).listen(0)
    c = net.create_connection(server.address()["port"], "127.0.0.1")
    c.on("ready", c.end).on("error", lambda error: None)
    pyuvnet.run()
    return answers[0]


def cancelled(place: Any) -> Any:
    answers: list[Any] = []

    def act(c: net.Socket, peer: posix.socket) -> None:
        assert not c.write(b"x" * 9_000_000, answers.append)
        c.destroy()

    assert with_a_peer(act) is None
    return answers[0]


def no_such_name(place: Any) -> Any:
    return emitted(looked_up([]))


IN_USE = "address already in use"
# code, class, syscall, address, port, text, what provokes it. {port} and so on are of the place.
SYSTEM: list[tuple[str, type[OSError], str | None, str | None, Any, str, Callable[[Any], Any]]] = [
    ("ECONNREFUSED", ConnectionRefusedError, "connect", "127.0.0.1", "{port}",
     "connect ECONNREFUSED 127.0.0.1:{port}", refused),
    ("ECONNREFUSED", ConnectionRefusedError, "connect", "127.0.0.1", "{port}",
     "connect ECONNREFUSED 127.0.0.1:{port} - Local (127.0.0.1:{local})", refused_from_here),
    ("ECONNREFUSED", ConnectionRefusedError, "connect", "127.0.0.1", None,
     "connect ECONNREFUSED 127.0.0.1", port_zero),
    ("ENOENT", FileNotFoundError, "connect", "{path}", None, "connect ENOENT {path}", no_path),
    ("ECONNREFUSED", ConnectionRefusedError, "connect", "{path}", None,
     "connect ECONNREFUSED {path}", stale_path),
    ("EISCONN", OSError, "connect", "127.0.0.1", 1, "connect EISCONN 127.0.0.1:1",
     lambda place: with_a_peer(connected_again)),
    ("EADDRINUSE", OSError, "listen", "::", "{port}",
     "listen EADDRINUSE: " + IN_USE + " :::{port}", taken),
    ("EADDRINUSE", OSError, "listen", "{path}", None,
     "listen EADDRINUSE: " + IN_USE + " {path}", taken_path),
    ("EACCES", PermissionError, "listen", "{path}", None,
     "listen EACCES: permission denied {path}", no_folder),
    ("EADDRNOTAVAIL", OSError, "listen", "192.0.2.1", None,
     "listen EADDRNOTAVAIL: address not available 192.0.2.1", not_here),
    ("EADDRNOTAVAIL", OSError, "bind", "192.0.2.1", None,
     "bind EADDRNOTAVAIL 192.0.2.1", not_here_to_start),
    ("EADDRINUSE", OSError, "bind", "0.0.0.0", "{port}",
     "bind EADDRINUSE 0.0.0.0:{port}", bound_twice),
    ("EINVAL", OSError, "listen", None, None, "listen EINVAL: invalid argument", no_descriptor),
    ("EEXIST", FileExistsError, "listen", None, None, "listen EEXIST: file already exists",
     descriptor_in_use),
    ("ECONNRESET", ConnectionResetError, "read", None, None, "read ECONNRESET",
     lambda place: with_a_peer(reset)),
    ("ENOTCONN", OSError, "read", None, None, "read ENOTCONN", read_of_nothing),
    ("EPIPE", BrokenPipeError, "write", None, None, "write EPIPE", write_to_nothing),
    ("EPIPE", BrokenPipeError, None, None, None,
     "This socket has been ended by the other party", ended_by_the_other),
    ("ECANCELED", OSError, "write", None, None, "write ECANCELED", cancelled),
    ("ENOTFOUND", posix.gaierror, "getaddrinfo", None, None,
     "getaddrinfo ENOTFOUND some.where", no_such_name),
]  # fmt: skip


@pytest.mark.spec("N183")
@posix_only
@pytest.mark.parametrize(
    ("code", "kind", "syscall", "address", "port", "text", "provoke"),
    SYSTEM,
    ids=[f"{entry[2]} {entry[0]} {entry[-1].__name__}" for entry in SYSTEM],
)
def test_an_error_of_the_system(
    code: str,
    kind: type[OSError],
    syscall: str | None,
    address: str | None,
    port: Any,
    text: str,
    provoke: Callable[[Any], Any],
    tmp_path: Path,
) -> None:
    place = SimpleNamespace(path=str(tmp_path / "sock"), port=0, local=0)
    error = provoke(place)
    shown = {name: str(value) for name, value in vars(place).items()}
    assert error.code == code
    assert isinstance(error, kind)
    assert not isinstance(error, pyuvnet.Error)
    assert (error.syscall, error.dest, error.name) == (syscall, None, "Error")
    assert error.address == (address and address.format(**shown))
    assert error.port == (place.port if port == "{port}" else port)
    assert error.message == str(error) == text.format(**shown)
    if kind is posix.gaierror:
        assert (error.errno, error.hostname) == (posix.EAI_NONAME, "some.where")
    else:
        assert error.errno == getattr(errno, code)

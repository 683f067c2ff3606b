"""Defects that a review found, each by the shortest program that showed it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

import pyuvnet
from pyuvnet import EventEmitter, Readable, Writable, net, next_tick, run
from tests.support.cases import cases


def serve(listener, then):
    """A server on a free port, whose port `then` gets; returns it."""
    server = net.create_server(listener)
    server.listen(0, "127.0.0.1", lambda: then(server.address().port))
    return server


# ---- Half-built objects and wrong arguments ------------------------------------------------------


class Forgetful(Readable):
    def __init__(self):
        self.x = 1


class ForgetfulWriter(Writable):
    def __init__(self):
        self.x = 1


class ForgetfulSocket(net.Socket):
    def __init__(self):
        self.x = 1


class ForgetfulServer(net.Server):
    def __init__(self):
        self.x = 1


@cases(
    ("make", "call"),
    [
        *[(Forgetful, name) for name in ("pause", "resume", "read", "unpipe", "iterator")],
        *[(ForgetfulWriter, name) for name in ("cork", "uncork", "end")],
        *[
            (ForgetfulSocket, name)
            for name in (
                *("pause", "resume", "read", "set_encoding", "cork", "uncork", "end", "destroy"),
                *("ref", "unref", "set_no_delay", "set_keep_alive", "iterator", "unpipe"),
            )
        ],
        *[(ForgetfulServer, name) for name in ("listen", "close", "ref", "unref")],
    ],
)
def test_a_class_that_forgot_super_init_is_told_so(make, call) -> None:
    with pytest.raises(pyuvnet.StateError) as caught:
        getattr(make(), call)()
    assert caught.value.code == "ERR_NOT_CONSTRUCTED"


def test_a_socket_cannot_be_made_twice() -> None:
    socket = net.Socket()
    with pytest.raises(pyuvnet.StateError) as caught:
        socket.__init__()
    assert caught.value.code == "ERR_CONSTRUCTED_TWICE"


@pytest.mark.spec("D12", "D13")
@cases(
    ("call", "code"),
    [
        (lambda: net.Socket(high_water_mark=float("inf")), "ERR_INVALID_ARG_VALUE"),
        (lambda: net.Socket(high_water_mark=2**70), "ERR_INVALID_ARG_VALUE"),
        (lambda: net.create_server(high_water_mark=float("inf")), "ERR_INVALID_ARG_VALUE"),
        (lambda: net.Socket(keep_alive_initial_delay=2**50), "ERR_OUT_OF_RANGE"),
        (lambda: net.create_server(keep_alive_initial_delay=float("inf")), "ERR_OUT_OF_RANGE"),
        (lambda: net.create_server().listen(0, backlog=2**40), "ERR_OUT_OF_RANGE"),
        (lambda: net.create_server().listen(0, "127.0.0.1\0evil"), "ERR_INVALID_ARG_VALUE"),
        (lambda: net.create_server().listen(path="\ud800"), "ERR_INVALID_ARG_VALUE"),
        (lambda: net.connect(path="\ud800"), "ERR_INVALID_ARG_VALUE"),
        (lambda: setattr(net.create_server(), "max_connections", "10"), "ERR_INVALID_ARG_TYPE"),
        (lambda: net.Socket().pipe(5), "ERR_INVALID_ARG_TYPE"),
        (lambda: net.Socket().destroy("oops"), "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_an_argument_out_of_reach_has_a_code_and_changes_nothing(call, code) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert caught.value.code == code
    assert pyuvnet.current_loop().handle_count() == 0


def test_a_name_too_long_for_a_lookup_fails_by_event() -> None:
    seen = []
    client = net.connect(80, "a" * 300)
    client.on("error", lambda error: seen.append(error.syscall))
    client.on("close", seen.append)
    run()
    assert seen == ["getaddrinfo", True]


# ---- Lifetimes -----------------------------------------------------------------------------------


def test_a_finaliser_that_clears_another_timer_at_close(run_child) -> None:
    child = run_child(
        """
        import pyuvnet

        class Holder:
            other = None

            def __del__(self):
                pyuvnet.clear_timeout(self.other)

        pyuvnet.run()  # once, since a program that never does is warned at its end
        holder = Holder()
        pyuvnet.set_timeout(lambda kept: None, 1000, holder)
        holder.other = pyuvnet.set_timeout(print, 2000)
        del holder
        """
    )
    assert (child.code, child.err) == (0, "")


def test_once_listeners_make_no_cycle() -> None:
    gc.disable()
    try:
        emitter = EventEmitter()
        emitter.once("drain", print)
        gone = weakref.ref(emitter)
        del emitter
        assert gone() is None
    finally:
        gc.enable()


def test_a_shown_once_listener_still_removes_itself() -> None:
    emitter = EventEmitter()
    calls = []
    emitter.once("x", calls.append)
    emitter.raw_listeners("x")[0](1)
    assert calls == [1]
    assert emitter.listener_count("x") == 0


def test_a_refused_connection_needs_no_collector() -> None:
    with_port = []
    server = serve(lambda socket: None, with_port.append)
    server.on("listening", server.close)
    run()
    gc.collect()
    gc.disable()
    try:
        client = net.connect(with_port[0], "127.0.0.1")
        client.on("error", lambda error: None)
        gone = weakref.ref(client)
        del client
        run()
        assert gone() is None
    finally:
        gc.enable()


def test_none_is_an_event_name_and_hides_no_other() -> None:
    emitter = EventEmitter()
    calls = []
    emitter.on(None, lambda: calls.append("none"))
    emitter.on("x y", lambda: calls.append("text"))
    assert emitter.emit("x " + "y"[:1])
    assert emitter.emit(None)
    assert calls == ["text", "none"]


# ---- Races ---------------------------------------------------------------------------------------


def test_corking_before_connect_and_uncorking_meanwhile_loses_nothing() -> None:
    received = []

    def connected(socket):
        socket.on("data", received.append)
        socket.on("end", server.close)

    def connect(port):
        client = net.connect(port, "127.0.0.1")
        client.cork()
        client.write(b"a", lambda error: received.append(error))
        client.write(b"b")
        client.uncork()
        client.end()

    server = serve(connected, connect)
    run()
    assert b"".join(item for item in received if item) == b"ab"
    assert None in received


def test_a_listener_that_destroys_and_reconnects_while_a_path_is_tried(tmp_path) -> None:
    events = []

    def start(port):
        client = net.Socket()
        client.on("error", lambda error: events.append(error.code))

        def attempted(target, number, family):
            events.append("path" if number is None else "port")
            if number is None:
                client.destroy()
                client.connect(port, "127.0.0.1", lambda: (events.append("connect"), client.end()))

        client.on("connectionAttempt", attempted)
        client.on("data", lambda data: None)
        client.connect(str(tmp_path / "nothing.sock"))

    server = serve(lambda socket: (socket.resume(), server.close()), start)
    run()
    assert events == ["path", "port", "connect"]


def test_destroy_and_connect_in_one_turn_ignores_the_old_attempt() -> None:
    events = []

    def start(port):
        client = net.connect(port, "127.0.0.1")
        client.on("error", lambda error: events.append(error.code))

        client.on("end", server.close)

        def again():
            client.destroy()
            client.connect(port, "127.0.0.1", lambda: (events.append("connect"), client.end()))
            client.resume()

        # The first attempt is under way by then.
        next_tick(lambda: next_tick(again))

    server = serve(lambda socket: (socket.on("error", print), socket.resume()), start)
    run()
    assert events == ["connect"]


def test_a_socket_of_another_thread_cannot_be_piped_into() -> None:
    made = []

    def other():
        made.append(net.Socket())
        ready.set()
        done.wait()
        pyuvnet.current_loop().close()

    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    source = net.Socket()
    try:
        with pytest.raises(pyuvnet.StateError) as caught:
            source.pipe(made[0])
        assert caught.value.code == "ERR_WRONG_THREAD"
        assert source.listener_count("data") == 0
    finally:
        done.set()
        thread.join()


def test_a_write_completed_in_another_thread_is_refused() -> None:
    class Sink(Writable):
        def _write(self, chunk, encoding, callback):
            self.answer = callback

    sink = Sink()
    sink.write(b"x", lambda error: pytest.fail("the callback ran"))
    codes = []

    def answer():
        try:
            sink.answer()
        except pyuvnet.StateError as error:
            codes.append(error.code)

    thread = threading.Thread(target=answer)
    thread.start()
    thread.join()
    assert codes == ["ERR_WRONG_THREAD"]


def test_a_loop_left_by_break_frees_the_socket() -> None:
    async def main():
        closed = []

        async def read(socket):
            async for _ in socket:
                break

        def connected(socket):
            socket.on("close", lambda _: closed.append(True))
            tasks.append(asyncio.ensure_future(read(socket)))

        tasks = []
        server = net.create_server(connected)
        server.listen(0, "127.0.0.1")
        await pyuvnet.events.once(server, "listening")
        client = net.connect(server.address().port, "127.0.0.1")
        client.write(b"x")
        client.on("error", lambda error: None)
        await pyuvnet.events.once(client, "end")
        client.destroy()
        server.close()
        await pyuvnet.events.once(server, "close")
        return closed

    assert pyuvnet.run(main()) == [True]


@pytest.mark.spec("S6.6-05")
def test_a_failed_coroutine_connection_listener_destroys_its_socket() -> None:
    async def main():
        events = []

        async def connected(socket):
            socket.on("error", lambda error: events.append(str(error)))
            socket.on("close", events.append)
            raise ValueError("refused")

        server = net.create_server(connected, capture_rejections=True)
        server.on("error", lambda error: events.append("server"))
        server.listen(0, "127.0.0.1")
        await pyuvnet.events.once(server, "listening")
        client = net.connect(server.address().port, "127.0.0.1")
        client.on("error", lambda error: None)
        client.resume()
        await pyuvnet.events.once(client, "close")
        server.close()
        await pyuvnet.events.once(server, "close")
        return events

    assert pyuvnet.run(main()) == ["refused", True]
    # The server's handle closes after its 'close'.
    pyuvnet.run()


# ---- Found by random programs, fuzzers and races -------------------------------------------------


def test_connect_before_close_answers_the_writes_of_the_old_connection() -> None:
    # They stayed unanswered, 'finish' waited for them in ticks, and the loop span for ever.
    told = []

    def start(port):
        client = net.Socket()
        client.on("error", lambda error: None)

        def connected():
            client.write(bytes(20_000_000), lambda error: told.append(("old", error.code)))
            client.destroy()
            client.connect(port, "127.0.0.1")
            client.write(b"x", lambda error: told.append(("new", error)))
            client.end(lambda error: told.append(("end", error)))

        client.connect(port, "127.0.0.1", connected)
        client.resume().on("finish", lambda: told.append("finish"))

    server = serve(lambda socket: socket.on("error", lambda error: None).resume(), start)
    pyuvnet.set_timeout(server.close, 50)
    run()
    assert told.count(("old", "ERR_STREAM_DESTROYED")) == 1
    assert [entry for entry in told if entry[0] == "old"] == [("old", "ERR_STREAM_DESTROYED")]


@pytest.mark.spec("D46")
def test_a_retry_in_close_is_not_struck_by_what_the_first_attempt_had_to_write() -> None:
    # The write that never left failed the new connection, as it does in Node.
    events = []

    def start(port):
        client = net.Socket()
        client.on("error", lambda error: events.append(error.code))

        def again(had_error):
            events.append("close")
            if events.count("close") == 1:
                client.connect(port, "127.0.0.1")
                client.end(b"b", lambda error: events.append(("b", error)))

        client.on("close", again)
        client.connect(1, "127.0.0.1")
        client.write(b"a", lambda error: events.append(("a", error.code)))

    got = []
    server = serve(lambda socket: (socket.on("data", got.append), server.close()), start)
    run()
    assert events == [
        "ECONNREFUSED",
        "close",
        ("a", "ERR_SOCKET_CLOSED_BEFORE_CONNECTION"),
        ("b", None),
        "close",
    ]
    assert got == [b"b"]


@pytest.mark.spec("D53")
@pytest.mark.parametrize("event", ["lookup", "connectionAttempt", "connectionAttemptFailed"])
def test_a_listener_that_fails_while_connecting_does_not_leave_it_half_way(event) -> None:
    # The socket stayed 'opening', without 'error' or 'close', and kept its handle.
    raised, events = [], []
    pyuvnet.set_exception_handler(raised.append)
    client = net.Socket()

    def fail(*args):
        raise ZeroDivisionError

    client.on(event, fail)
    client.on("error", lambda error: events.append(error.code))
    client.on("close", lambda had_error: events.append(had_error))
    taken = net.Server().listen(0)
    port = taken.address().port
    taken.close()
    client.connect(
        port, "name.invalid", lookup=lambda host, options, answer: answer(None, "127.0.0.1", 4)
    )
    run()
    pyuvnet.set_exception_handler(None)
    assert [type(error) for error in raised] == [ZeroDivisionError]
    assert events == ["ECONNREFUSED", True]


@pytest.mark.parametrize("event", ["connectionAttempt", "connectionAttemptFailed"])
def test_a_listener_that_fails_while_a_path_is_tried_does_not_either(event, tmp_path) -> None:
    raised, events = [], []
    pyuvnet.set_exception_handler(raised.append)
    client = net.Socket()
    client.on(event, lambda *args: 1 // 0)
    client.on("error", lambda error: events.append(error.code))
    client.on("close", lambda had_error: events.append(had_error))
    client.connect(str(tmp_path / "nobody"))
    run()
    pyuvnet.set_exception_handler(None)
    assert [type(error) for error in raised] == [ZeroDivisionError]
    assert events == ["ENOENT", True]


@pytest.mark.parametrize("ms", [10**400, 10**5000], ids=["400 digits", "5000 digits"])
def test_a_delay_beyond_any_float_is_like_any_that_is_too_long(ms) -> None:
    heard = []
    with pytest.warns(pyuvnet.errors.TimeoutOverflowWarning, match="Infinity does not fit"):
        pyuvnet.set_timeout(heard.append, ms, "x")
    with pytest.warns(pyuvnet.errors.TimeoutOverflowWarning, match="Infinity does not fit"):
        net.Socket().set_timeout(ms)
    run()
    assert heard == ["x"]


def test_hints_beyond_any_float_are_bits_like_any() -> None:
    with pytest.raises(pyuvnet.ArgValueError) as caught:
        net.Socket().connect(1, hints=10**400 + 1)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


class Incomparable:
    def __eq__(self, other):
        raise ValueError("no comparing")

    __hash__ = None


@pytest.mark.parametrize(
    "call",
    [
        lambda: net.Socket().connect(1, host=Incomparable()),
        lambda: net.Socket().set_default_encoding(Incomparable()),
        lambda: net.Server().listen({"port": None, "path": Incomparable()}),
        lambda: net.Server().listen(path=Incomparable()),
    ],
)
def test_a_value_that_cannot_be_compared_is_of_a_wrong_type(call) -> None:
    with pytest.raises(pyuvnet.Error):
        call()


# ---- What Node lets one omit (R2.10), and what it says -------------------------------------------


@cases(
    ("call", "code"),
    [
        (lambda: net.Socket().write(), "ERR_STREAM_NULL_VALUES"),
        (lambda: Writable().write(None), "ERR_STREAM_NULL_VALUES"),
        (lambda: net.Socket().set_timeout(), "ERR_INVALID_ARG_TYPE"),
        (lambda: net.Socket().pipe(), "ERR_INVALID_ARG_TYPE"),
        (lambda: EventEmitter().set_max_listeners(), "ERR_INVALID_ARG_TYPE"),
        *[
            (lambda name=name: getattr(EventEmitter(), name)(), "ERR_INVALID_ARG_TYPE")
            for name in ("on", "once", "off", "prepend_listener", "prepend_once_listener")
        ],
        *[
            (lambda name=name: getattr(pyuvnet.AbortController().signal, name)(), "ERR_INVALID_ARG")
            for name in ("on", "once", "off")
        ],
        (lambda: EventEmitter().off("x"), "ERR_INVALID_ARG_TYPE"),
        (lambda: pyuvnet.AbortSignal.timeout(), "ERR_INVALID_ARG_TYPE"),
        (lambda: pyuvnet.AbortSignal.any(), "ERR_INVALID_ARG_TYPE"),
        (lambda: net.set_default_auto_select_family(), "ERR_INVALID_ARG_TYPE"),
        (lambda: net.set_default_auto_select_family_attempt_timeout(), "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_what_is_missing_is_what_node_says(call, code) -> None:
    with pytest.raises(pyuvnet.Error) as caught:
        call()
    assert caught.value.code.startswith(code)


def test_what_may_be_missing_altogether() -> None:
    emitter = EventEmitter()
    assert emitter.emit() is False
    assert emitter.listeners() == emitter.raw_listeners() == []
    assert emitter.listener_count() == 0
    assert net.Socket().unshift() is True


# ---- A class that does not say where its data go, or come from -----------------------------------


@pytest.mark.spec("D54")
@pytest.mark.parametrize("kind", [Writable, pyuvnet.Duplex])
@pytest.mark.parametrize("method", ["write", "end"])
def test_a_writable_without_write_refuses_before_anything_changes(kind, method) -> None:
    stream = kind()
    with pytest.raises(pyuvnet.StateError, match=r"The _write\(\) method") as caught:
        getattr(stream, method)(b"x")
    assert caught.value.code == "ERR_METHOD_NOT_IMPLEMENTED"
    assert stream.writable_length == 0
    assert not stream.writable_ended
    assert not stream.destroyed
    stream.end()
    stream.destroy()
    run()


@pytest.mark.parametrize("kind", [Writable, pyuvnet.Duplex])
def test_a_writable_without_write_names_a_wrong_argument_first(kind) -> None:
    stream = kind()
    for chunk, code in [(None, "ERR_STREAM_NULL_VALUES"), (1, "ERR_INVALID_ARG_TYPE")]:
        with pytest.raises(pyuvnet.ArgTypeError) as caught:
            stream.write(chunk)
        assert caught.value.code == code
    stream.destroy()
    run()


def test_a_readable_without_read_fails_by_event() -> None:
    stream, codes = Readable(), []
    stream.on("error", lambda error: codes.append(error.code))
    stream.resume()
    run()
    assert codes == ["ERR_METHOD_NOT_IMPLEMENTED"]


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        (pyuvnet.AbortController, lambda half: half.signal),
        (pyuvnet.AbortController, lambda half: half.abort()),
        (pyuvnet.AbortSignal, lambda half: half.aborted),
        (pyuvnet.AbortSignal, lambda half: half.throw_if_aborted()),
    ],
)
def test_what_aborts_knows_when_it_was_not_constructed(kind, use) -> None:
    half = kind.__new__(kind)
    with pytest.raises(pyuvnet.StateError) as caught:
        use(half)
    assert caught.value.code == "ERR_NOT_CONSTRUCTED"
    with pytest.raises(AttributeError, match="no attribute 'nobody'"):
        _ = half.nobody


def test_a_loop_takes_no_arguments() -> None:
    with pytest.raises(TypeError):
        pyuvnet.Loop(1)
    with pytest.raises(TypeError):
        pyuvnet.Loop(nobody=1)


def test_connect_before_close_tells_the_callbacks_of_end_what_they_are() -> None:
    server = net.create_server(lambda socket: socket.resume()).listen(0)
    port = server.address().port
    told: list[str] = []
    socket = net.Socket()
    socket.connect(port, "127.0.0.1")
    socket.end(callback=lambda error: told.append(str(error)))
    socket.destroy()
    socket.connect(port, "127.0.0.1", socket.destroy)
    socket.on("close", lambda had_error: server.close())
    run()
    assert told == ["Cannot call end after a stream was destroyed"]


def test_hints_about_a_number_too_long_to_be_shown() -> None:
    number = 10**5000
    for call in (net.Server().listen, net.connect):
        for arguments in (("localhost", number), (("localhost", number),)):
            with pytest.raises(pyuvnet.Error) as caught:
                call(*arguments)
            assert caught.value.code.startswith("ERR_INVALID_ARG")


# ---- Buffers, pipes and connects that finalisers and metaclasses meet ----------------------------


@pytest.mark.parametrize("size", [100, 8_000_000])
def test_a_buffer_may_be_changed_in_the_callback_of_its_write(size):
    buffers = []

    def connected(port):
        socket = net.connect(port, "127.0.0.1")
        buffer = bytearray(size)

        def written(error):
            assert error is None
            buffer.clear()
            buffers.append(buffer)
            socket.destroy()
            server.close()

        socket.on("connect", lambda: socket.write(buffer, written))

    server = serve(lambda socket: socket.on("error", lambda _: None).resume(), connected)
    run()
    assert buffers == [b""]


def test_a_buffer_may_be_changed_in_drain():
    buffers = []

    def connected(port):
        socket = net.connect(port, "127.0.0.1")
        buffer = bytearray(8_000_000)

        def drained():
            buffer.clear()
            buffers.append(buffer)
            socket.destroy()
            server.close()

        socket.on("drain", drained)
        socket.on("connect", lambda: socket.write(buffer))

    server = serve(lambda socket: socket.on("error", lambda _: None).resume(), connected)
    run()
    assert buffers == [b""]


def test_a_destination_that_its_metaclass_destroys_is_not_written_to(run_child):
    run_child("""
        import socket
        import pyuvnet
        from pyuvnet import net

        armed = []

        class Meta(type):
            def __getattribute__(cls, name):
                if name == "write" and armed:
                    armed.pop().destroy()
                return super().__getattribute__(name)

        class Mine(net.Socket, metaclass=Meta):
            pass

        a, b = socket.socketpair()
        c, d = socket.socketpair()
        source, destination = net.Socket(fd=a.detach()), Mine(fd=c.detach())
        source.pipe(destination)
        destination.on("close", lambda _: source.destroy())
        pyuvnet.set_immediate(lambda: (armed.append(destination), b.send(b"hello")))
        pyuvnet.run()
        assert destination.destroyed and source.destroyed
        b.close()
        d.close()
    """).clean()


def test_a_listener_that_a_collection_removes_is_not_called():
    calls = []
    emitter = EventEmitter()
    kept = emitter.on("x", lambda: calls.append("kept"))

    def removed():
        calls.append("removed")

    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            emitter.off("x", removed)

    emitter.on("x", removed)
    gc.collect()
    gc.disable()
    thresholds = gc.get_threshold()
    try:
        Cycle()
        # From here on, on 3.11, the next lists and tuples that anybody makes.
        gc.set_threshold(1, 10**6, 10**6)
        gc.enable()
        emitter.on("x", lambda: calls.append("new"))
    finally:
        gc.set_threshold(*thresholds)
        gc.enable()
    gc.collect()
    kept.emit("x")
    assert calls == ["kept", "new"]


def test_a_connect_within_destroy_is_not_stopped_with_the_old_one():
    heard = []
    closed = None

    async def look(host, options, _):
        await closed.wait()
        return [("127.0.0.1", 4)]

    async def main():
        nonlocal closed
        connected, closed = asyncio.Event(), asyncio.Event()
        server = net.create_server(lambda socket: socket.resume()).listen(0, "127.0.0.1")
        await pyuvnet.events.once(server, "listening")
        port = server.address().port
        controller = pyuvnet.AbortController()
        socket = net.Socket(signal=controller.signal)
        socket.on("connect", lambda: (heard.append("connect"), connected.set()))
        socket.once("close", lambda _: closed.set())
        begun = []

        def removed(*_):
            if not begun:
                begun.append(True)
                socket.connect(port=port, host="second.example", lookup=look)

        controller.signal.on("removeListener", removed)
        socket.connect(port=port, host="first.example", lookup=look)
        socket.destroy()
        await connected.wait()
        socket.destroy()
        server.close()

    run(main())
    assert heard == ["connect"]

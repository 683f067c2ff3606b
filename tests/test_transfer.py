"""Sockets and servers that move to the loop of another thread."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import socket as posix
import sys
import threading

import pytest

import pyuvnet
from pyuvnet import AbortController, StateError, events, net
from pyuvnet._server.shutdown import on_signals
from pyuvnet.blocklist import BlockList
from pyuvnet.errors import ArgTypeError
from pyuvnet.loop import handles

CODE = "ERR_WORKER_HANDLE_NOT_TRANSFERABLE"
unix_only = pytest.mark.skipif(not hasattr(posix, "AF_UNIX"), reason="unix sockets only")


class LoopThread:
    """A thread that runs its loop until stop()."""

    def __init__(self):
        self.errors = []
        ready = queue.Queue()
        self.thread = threading.Thread(target=self._run, args=(ready,), name="there")
        self.thread.start()
        self.loop = ready.get(timeout=20)

    def _run(self, ready):
        try:
            # Something that keeps the loop alive until stop().
            self._stays = pyuvnet.set_interval(lambda: None, 60_000)
            ready.put(pyuvnet.current_loop())
            pyuvnet.run()
        except BaseException as error:
            self.errors.append(error)

    def call(self, function):
        """The result of a function in that thread."""
        result = queue.Queue()
        self.loop.call_soon_threadsafe(lambda: result.put(function()))
        return result.get(timeout=20)

    def stop(self):
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(20)
        assert not self.thread.is_alive()
        assert self.errors == []


@pytest.fixture
def there():
    made = LoopThread()
    yield made
    made.stop()


def connected(connection_listener, **options):
    """A server whose first connection goes to a listener, and a client of the system's."""
    server = net.create_server(options, connection_listener)
    server.listen(0)
    client = posix.create_connection(("127.0.0.1", server.address().port))
    client.settimeout(20)
    return server, client


@pytest.mark.spec("D231", "N177")
def test_a_connection_goes_on_in_the_other_thread_with_its_listeners(there):
    heard = queue.Queue()

    def echo(data):
        heard.put((threading.current_thread(), data))
        socket.write(data)

    def connection(accepted):
        nonlocal socket
        socket = accepted
        socket.on("data", echo)
        socket.on("close", lambda had_error: heard.put((threading.current_thread(), had_error)))
        assert socket.transfer(there.loop, arrived) is socket
        server.close()

    def arrived(moved):
        heard.put((threading.current_thread(), moved is socket))

    socket = None
    server, client = connected(connection)
    pyuvnet.run()
    # The server counts it no more: it has closed.
    client.sendall(b"one")
    assert client.recv(10) == b"one"
    client.close()
    found = [heard.get(timeout=20) for _ in range(3)]
    assert found == [(there.thread, True), (there.thread, b"one"), (there.thread, False)]
    assert there.call(lambda: socket.bytes_read) == 3


def test_here_every_use_of_it_raises_from_then_on(there):
    errors = []

    def gone(socket):
        for use in (
            lambda: socket.write(b"x"),
            lambda: socket.destroy(),
            lambda: socket.transfer(pyuvnet.current_loop()),
        ):
            with pytest.raises(StateError) as info:
                use()
            errors.append(info.value.code)

    def connection(socket):
        socket.transfer(there.loop)
        pyuvnet.next_tick(gone, socket)
        server.close()

    server, client = connected(connection)
    pyuvnet.run()
    assert errors == ["ERR_WRONG_THREAD"] * 3
    client.close()


def test_a_paused_connection_arrives_paused_and_what_was_sent_meanwhile_is_there(there):
    heard = queue.Queue()

    def connection(socket):
        socket.on("data", heard.put)
        socket.pause()
        client.sendall(b"before")
        socket.transfer(there.loop, heard.put)
        server.close()

    server, client = connected(connection, pause_on_connect=True)
    pyuvnet.run()
    socket = heard.get(timeout=20)
    assert there.call(socket.is_paused)
    assert heard.empty()
    there.call(socket.resume)
    assert heard.get(timeout=20) == b"before"
    client.close()


def test_what_was_written_before_is_sent_and_the_idle_timeout_goes_with_it(there):
    heard = queue.Queue()

    def connection(socket):
        socket.write(b"hello ")
        socket.set_timeout(20, lambda: heard.put((threading.current_thread(), "idle")))
        socket.transfer(there.loop, lambda moved: moved.write(b"there"))
        server.close()

    server, client = connected(connection)
    pyuvnet.run()
    assert heard.get(timeout=20) == (there.thread, "idle")
    received = b""
    while len(received) < 11:
        received += client.recv(20)
    assert received == b"hello there"
    client.close()


def test_limits_of_the_server_count_there_too(there):
    heard = queue.Queue()

    def connection(socket):
        socket.on("error", lambda error: heard.put((threading.current_thread(), error.code)))
        socket.transfer(there.loop)
        server.close()

    server, client = connected(connection, first_byte_timeout=30)
    pyuvnet.run()
    assert heard.get(timeout=20) == (there.thread, "ERR_FIRST_BYTE_TIMEOUT")
    client.close()


def test_a_client_can_move_too(there):
    heard = queue.Queue()
    listener = posix.create_server(("127.0.0.1", 0))
    client = net.connect(listener.getsockname()[1], "127.0.0.1")
    client.on("connect", lambda: client.transfer(there.loop, lambda moved: moved.write(b"hi")))
    client.on("data", heard.put)
    pyuvnet.run()
    peer, _ = listener.accept()
    peer.settimeout(20)
    assert peer.recv(10) == b"hi"
    peer.sendall(b"ho")
    assert heard.get(timeout=20) == b"ho"
    peer.close()
    listener.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda socket: socket.end(),
        lambda socket: socket.cork() or socket.write(b"x"),
        lambda socket: socket.unshift(b"x"),
        lambda socket: socket.pipe(net.Socket()),
        lambda socket: net.Socket().pipe(socket),
        lambda socket: socket.set_deadline(1000),
    ],
    ids=["ended", "queued", "buffered", "piped", "piped into", "deadline"],
)
def test_what_is_under_way_refuses_and_changes_nothing(there, spoil):
    errors = []

    def connection(socket):
        spoil(socket)
        with pytest.raises(StateError) as info:
            socket.transfer(there.loop)
        errors.append(info.value.code)
        socket.destroy()
        server.close()

    server, client = connected(connection)
    pyuvnet.run()
    assert errors == [CODE]
    client.close()


def test_a_socket_of_which_something_was_read_stays(there):
    errors = []

    def read(socket):
        with pytest.raises(StateError) as info:
            socket.transfer(there.loop)
        errors.append(info.value.code)
        socket.write(b"still here")
        socket.destroy_soon()
        server.close()

    server, client = connected(lambda socket: socket.on("data", lambda data: read(socket)))
    client.sendall(b"x")
    pyuvnet.run()
    assert errors == [CODE]
    assert client.recv(20) == b"still here"
    client.close()


def test_a_socket_that_connects_or_has_a_signal_stays(there):
    listener = posix.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    client = net.connect(port, "127.0.0.1", signal=AbortController().signal)
    codes = []

    def refused():
        with pytest.raises(StateError) as info:
            client.transfer(there.loop)
        codes.append(info.value.code)

    refused()
    client.on("connect", refused)
    client.on("connect", client.destroy)
    pyuvnet.run()
    assert codes == [CODE, CODE]
    listener.close()


@pytest.mark.parametrize("loop", [None, "loop", 1])
def test_no_loop_is_an_argument_error(loop):
    errors = []

    def connection(socket):
        with pytest.raises(ArgTypeError) as info:
            socket.transfer(loop)
        errors.append(info.value.code)
        socket.destroy()
        server.close()

    server, client = connected(connection)
    pyuvnet.run()
    assert errors == ["ERR_INVALID_ARG_TYPE"]
    client.close()


def test_a_loop_that_is_closed_or_full_refuses_and_the_socket_stays(there):
    ended = LoopThread()
    ended.stop()
    assert ended.loop.closed
    blocked, go_on = threading.Event(), threading.Event()
    there.loop.call_soon_threadsafe(lambda: (blocked.set(), go_on.wait(20)))
    assert blocked.wait(20)
    there.loop.set_max_threadsafe_calls(1)
    there.loop.call_soon_threadsafe(int)
    errors = []

    def connection(socket):
        for loop in (ended.loop, there.loop):
            with pytest.raises(StateError) as info:
                socket.transfer(loop)
            errors.append(info.value.code)
        socket.write(b"still here")
        socket.destroy_soon()
        server.close()

    server, client = connected(connection)
    pyuvnet.run()
    go_on.set()
    there.loop.set_max_threadsafe_calls(None)
    assert errors == ["ERR_LOOP_CLOSED", "ERR_QUEUE_FULL"]
    assert client.recv(20) == b"still here"
    client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_a_connection_is_closed_if_the_loop_ends_before_it_has_arrived():
    # With all that a loop has once it has accepted.
    server, client = connected(lambda socket: (socket.destroy(), server.close()))
    pyuvnet.run()
    client.close()
    before = len(os.listdir("/proc/self/fd"))
    ended = queue.Queue()
    go_on = threading.Event()

    def idle():
        ended.put(pyuvnet.current_loop())
        go_on.wait(20)

    # A loop that is never run.
    thread = threading.Thread(target=idle)
    thread.start()
    loops = [ended.get(timeout=20)]

    def connection(socket):
        socket.transfer(loops.pop())
        server.close()

    server, client = connected(connection)
    pyuvnet.run()
    go_on.set()
    thread.join(20)
    assert client.recv(10) == b""
    client.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_another_connection_that_it_has_by_then_stays_here(there):
    heard = []
    first = posix.create_server(("127.0.0.1", 0))
    second = posix.create_server(("127.0.0.1", 0))
    client = net.connect(first.getsockname()[1], "127.0.0.1")

    def connected_first():
        client.transfer(there.loop)
        client.destroy()
        client.once("connect", connected_second)
        client.connect(second.getsockname()[1], "127.0.0.1")

    def connected_second():
        heard.append(threading.current_thread())
        client.destroy()

    client.once("connect", connected_first)
    client.on("error", heard.append)
    pyuvnet.run()
    assert heard == [threading.current_thread()]
    first.close()
    second.close()


def test_a_socket_whose_loop_there_has_closed_times_out_here_when_it_connects_again():
    ended = LoopThread()
    heard = []
    listener = posix.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    client = net.connect(port, "127.0.0.1")
    client.set_timeout(20, lambda: (heard.append("timeout"), client.destroy()))

    def connected():
        client.transfer(ended.loop)
        ended.stop()
        client.once("close", again)

    def again(had_error):
        client.connect(port, "127.0.0.1")
        client.set_timeout(20)

    client.once("connect", connected)
    client.on("error", lambda error: heard.append(error.code))
    pyuvnet.run()
    assert heard == ["ERR_LOOP_CLOSED", "timeout"]
    listener.close()


def before_it_arrives(there, act, leave=lambda socket: None, **options):
    """A socket with which act(socket) does something there, after it has left and before it has
    arrived; returns that, the client of the system's, and a queue for the arrival.
    """
    blocked, go_on = threading.Event(), threading.Event()
    done, arrived = queue.Queue(), queue.Queue()
    sockets = []

    def block():
        blocked.set()
        go_on.wait(20)
        act(sockets[0])
        done.put(sockets[0])

    def connection(socket):
        sockets.append(socket)
        leave(socket)
        socket.transfer(there.loop, arrived.put)
        server.close()

    there.loop.call_soon_threadsafe(block)
    assert blocked.wait(20)
    server, client = connected(connection, **options)
    pyuvnet.run()
    go_on.set()
    return done.get(timeout=20), client, arrived


def test_a_socket_that_is_ended_on_its_way_sends_its_fin_when_it_has_arrived(there):
    heard = queue.Queue()

    def end(socket):
        for event in ("finish", "error", "close"):
            socket.on(event, lambda *_, event=event: heard.put(event))
        socket.on("data", heard.put)
        socket.end()

    socket, client, arrived = before_it_arrives(there, end)
    assert client.recv(10) == b""
    client.sendall(b"still read")
    client.close()
    assert [heard.get(timeout=20) for _ in range(3)] == ["finish", b"still read", "close"]
    assert arrived.get(timeout=20) is socket


@pytest.mark.parametrize("enabled", [True, False])
def test_options_that_change_on_its_way_apply_when_it_has_arrived(there, enabled):
    def change(socket):
        socket.set_no_delay(enabled).set_keep_alive(enabled)

    socket, client, arrived = before_it_arrives(
        there, change, no_delay=not enabled, keep_alive=not enabled
    )
    arrived.get(timeout=20)
    options = [(posix.IPPROTO_TCP, posix.TCP_NODELAY), (posix.SOL_SOCKET, posix.SO_KEEPALIVE)]
    found = there.call(lambda: [bool(socket.get_option(*option)) for option in options])
    assert found == [enabled, enabled]
    client.close()


@pytest.mark.parametrize("referenced", [True, False])
def test_ref_and_unref_on_its_way_count_when_it_has_arrived(there, referenced):
    def leave(socket):
        if referenced:
            socket.unref()

    def change(socket):
        if referenced:
            socket.ref()
        else:
            socket.unref()

    socket, client, arrived = before_it_arrives(there, change, leave)
    arrived.get(timeout=20)
    found = there.call(lambda: [each.ref for each in handles() if each.owner is socket])
    assert found == [referenced]
    client.close()


def test_a_socket_that_is_resumed_on_its_way_reads_when_it_has_arrived(there):
    heard = queue.Queue()

    def resume(socket):
        socket.on("data", heard.put)
        socket.resume()

    _, client, arrived = before_it_arrives(there, resume, pause_on_connect=True)
    arrived.get(timeout=20)
    client.sendall(b"read")
    assert heard.get(timeout=20) == b"read"
    client.close()


def test_a_timeout_that_is_cancelled_on_its_way_stays_cancelled(there):
    heard = queue.Queue()

    def cancel(socket):
        socket.on("timeout", lambda: heard.put("timeout"))
        socket.set_timeout(0)

    _, client, arrived = before_it_arrives(there, cancel, lambda socket: socket.set_timeout(100))
    arrived.get(timeout=20)
    # It would have been over before.
    there.call(lambda: pyuvnet.set_timeout(heard.put, 150, "later"))
    assert heard.get(timeout=20) == "later"
    client.close()


# ---- Servers -------------------------------------------------------------------------------------


def test_a_server_accepts_in_the_other_thread_who_waited_before(there):
    heard = queue.Queue()

    def connection(socket):
        heard.put(threading.current_thread())
        socket.end(b"hello")

    def arrived(moved):
        heard.put(moved.address().port)

    server = net.create_server(connection)
    server.listen(0)
    port = server.address().port
    client = posix.create_connection(("127.0.0.1", port))
    client.settimeout(20)
    assert server.transfer(there.loop, arrived) is server
    # Nothing is left here.
    pyuvnet.run()
    with pytest.raises(StateError) as info:
        server.close()
    assert info.value.code == "ERR_WRONG_THREAD"
    assert heard.get(timeout=20) == port
    assert heard.get(timeout=20) is there.thread
    assert client.recv(10) == b"hello"
    client.close()
    closed = threading.Event()
    there.call(lambda: server.close(lambda error: closed.set()))
    assert closed.wait(20)


@unix_only
def test_the_file_of_a_path_goes_with_the_server(there, tmp_path):
    path = str(tmp_path / "socket")
    server = net.create_server(lambda socket: socket.end(b"hello"))
    server.listen(path)
    arrived = queue.Queue()
    server.transfer(there.loop, arrived.put)
    pyuvnet.run()
    arrived.get(timeout=20)
    with posix.socket(posix.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(path)
        assert client.recv(10) == b"hello"
    there.call(server.close)
    assert not os.path.exists(path)


@pytest.mark.spec("D231")
def test_a_server_with_a_connection_or_that_does_not_listen_stays(there):
    codes = []

    def connection(socket):
        with pytest.raises(StateError) as info:
            server.transfer(there.loop)
        codes.append(info.value.code)
        socket.destroy()
        server.close()

    server, client = connected(connection)
    pyuvnet.run()
    client.close()
    with pytest.raises(StateError) as info:
        server.transfer(there.loop)
    assert [*codes, info.value.code] == [CODE, CODE]


def test_a_server_with_a_block_list_that_both_threads_know(there):
    block_list = BlockList()
    dropped = queue.Queue()
    server = net.create_server(lambda socket: socket.destroy(), block_list=block_list)
    server.on("drop", lambda info: dropped.put(info["reason"]))
    server.listen(0)
    port = server.address().port
    arrived = queue.Queue()
    server.transfer(there.loop, arrived.put)
    pyuvnet.run()
    arrived.get(timeout=20)
    block_list.add_address("127.0.0.1")
    client = posix.create_connection(("127.0.0.1", port))
    assert dropped.get(timeout=20) == "block_list"
    client.close()
    there.call(server.close)


def listening(**options):
    server = net.create_server(options)
    server.listen(0)
    return server


@pytest.mark.parametrize(
    "spoil",
    [
        lambda server: server.pause(),
        lambda server: server.shutdown(),
        lambda server: server.shutdown_on("SIGINT"),
        # As the server of a cluster's worker, whose primary is to hear of its end.
        lambda server: setattr(server, "_leave", lambda: None),
    ],
    ids=["paused", "shutdown", "shutdown_on", "cluster"],
)
@pytest.mark.parametrize("later", [False, True], ids=["before", "after"])
def test_what_a_server_does_here_keeps_it(there, spoil, later):
    codes = []
    server = listening()
    server.on("error", lambda error: codes.append(error.code))
    if later:
        server.transfer(there.loop)
    spoil(server)
    if not later:
        with pytest.raises(StateError) as info:
            server.transfer(there.loop)
        codes.append(info.value.code)
    pyuvnet.set_timeout(server.close, 1)
    pyuvnet.run()
    on_signals._restore()
    assert codes == [CODE]


def test_a_server_that_waits_for_a_proxy_header_stays(there):
    codes = []
    server = net.create_server(proxy_protocol={"trusted": ["127.0.0.1"]})
    server.listen(0)
    client = posix.create_connection(("127.0.0.1", server.address().port))

    def look():
        if not server._awaiting:
            return
        with pytest.raises(StateError) as info:
            server.transfer(there.loop)
        codes.append(info.value.code)
        looks.close()
        server.close()

    looks = pyuvnet.set_interval(look, 1)
    pyuvnet.run()
    assert codes == [CODE]
    client.close()


def test_a_server_that_listens_anew_by_then_stays_here(there):
    server = listening()
    server.transfer(there.loop)
    server.close()
    server.listen(0)
    port = server.address().port
    found = []
    pyuvnet.set_timeout(lambda: (found.append(server.address().port), server.close()), 1)
    pyuvnet.run()
    assert found == [port]


def test_what_a_server_is_to_log_is_logged_here_before_it_leaves(there, caplog):
    server = listening(max_connections=0)
    port = server.address().port
    clients = []
    arrived = queue.Queue()

    def dropped(info):
        if len(clients) == 1:
            clients.append(posix.create_connection(("127.0.0.1", port)))
        else:
            pyuvnet.next_tick(server.transfer, there.loop, arrived.put)

    server.on("drop", dropped)
    clients.append(posix.create_connection(("127.0.0.1", port)))
    pyuvnet.run()
    arrived.get(timeout=20)
    closed = threading.Event()
    there.call(lambda: server.close(lambda error: closed.set()))
    assert closed.wait(20)
    assert len([record for record in caplog.records if "dropped" in record.message]) == 2
    for client in clients:
        client.close()


@unix_only
@pytest.mark.parametrize("leaves", [False, True], ids=["before it leaves", "on its way"])
def test_the_file_of_a_path_goes_if_the_other_loop_is_closed(tmp_path, leaves):
    path = str(tmp_path / "socket")
    ended = LoopThread()
    blocked, go_on = threading.Event(), threading.Event()
    server = net.create_server()
    server.on("error", lambda error: None)
    server.listen(path)
    server.transfer(ended.loop)
    if leaves:
        ended.loop.call_soon_threadsafe(lambda: (blocked.set(), go_on.wait(20), ended.loop.stop()))
        assert blocked.wait(20)
        pyuvnet.run()
        go_on.set()
        ended.thread.join(20)
    else:
        ended.stop()
        pyuvnet.run()
    assert not os.path.exists(path)


@unix_only
@pytest.mark.parametrize(
    "end",
    [
        lambda server: server.close(),
        lambda server: server.close(lambda error: error and server.emit("error", error)),
        lambda server: server.shutdown(),
    ],
    ids=["close", "close with callback", "shutdown"],
)
def test_a_server_that_is_closed_on_its_way_does_not_listen_any_more(there, tmp_path, end):
    path = str(tmp_path / "socket")
    blocked, go_on = threading.Event(), threading.Event()
    heard = queue.Queue()

    def block():
        blocked.set()
        go_on.wait(20)
        end(server)

    there.loop.call_soon_threadsafe(block)
    assert blocked.wait(20)
    server = net.create_server()
    server.on("close", lambda: heard.put((server.listening, os.path.exists(path))))
    server.on("error", heard.put)
    server.listen(path)
    server.transfer(there.loop, lambda moved: heard.put("arrived"))
    pyuvnet.run()
    go_on.set()
    assert heard.get(timeout=20) == (False, False)
    # After all that came to that loop before.
    assert not there.call(lambda: server.listening)
    assert heard.empty()


def test_a_server_that_shuts_down_on_its_way_serves_the_clients_that_wait(there):
    blocked, go_on = threading.Event(), threading.Event()
    heard = queue.Queue()

    def block():
        blocked.set()
        go_on.wait(20)
        server.shutdown(callback=heard.put)

    def connection(socket):
        socket.on("data", lambda data: socket.end(data.upper()))
        socket.on("shutdown", lambda: heard.put("shutdown"))

    there.loop.call_soon_threadsafe(block)
    assert blocked.wait(20)
    server = net.create_server(connection).listen(0)
    address = server.address()
    server.transfer(there.loop)
    pyuvnet.run()
    with posix.create_connection(("127.0.0.1", address.port), 20) as client:
        client.sendall(b"hello")
        go_on.set()
        assert client.recv(10) == b"HELLO"
        assert client.recv(10) == b""
    assert heard.get(timeout=20) == "shutdown"
    assert heard.get(timeout=20) == (1, 0, 0)


async def leave_context(server):
    async with server:
        pass


async def cancel_serving(server):
    serving = server.serve_forever()
    serving.send(None)
    with pytest.raises(asyncio.CancelledError):
        serving.throw(asyncio.CancelledError())


@unix_only
@pytest.mark.parametrize("leave", [leave_context, cancel_serving])
def test_a_server_that_a_coroutine_leaves_on_its_way_is_closed(tmp_path, leave):
    path = str(tmp_path / "socket")
    blocked, go_on = queue.Queue(), threading.Event()
    found = []

    async def use():
        blocked.put(pyuvnet.current_loop())
        go_on.wait(20)
        await leave(server)
        found.append(os.path.exists(path))

    thread = threading.Thread(target=lambda: pyuvnet.run(use()), daemon=True)
    thread.start()
    server = net.create_server().listen(path)
    server.on("close", lambda: found.append("close"))
    server.transfer(blocked.get(timeout=20))
    pyuvnet.run()
    go_on.set()
    thread.join(20)
    assert sorted(found, key=str) == [False, "close"], "it still listens"


@unix_only
def test_a_server_that_listens_anew_on_its_way_gives_up_where_it_listened(there, tmp_path):
    path, new_path = str(tmp_path / "socket"), str(tmp_path / "new")
    blocked, go_on = threading.Event(), threading.Event()
    found = queue.Queue()

    def block():
        blocked.set()
        go_on.wait(20)
        server.listen(new_path)
        found.put(sorted(os.listdir(tmp_path)))

    there.loop.call_soon_threadsafe(block)
    assert blocked.wait(20)
    server = net.create_server().listen(path)
    server.transfer(there.loop)
    pyuvnet.run()
    go_on.set()
    assert found.get(timeout=20) == ["new"]
    assert there.call(server.address) == new_path
    there.call(server.close)


def test_a_server_over_which_a_coroutine_iterates_stays_until_that_is_over(there):
    async def main():
        server = listening()
        port = server.address().port
        sockets = aiter(server)
        client = posix.create_connection(("127.0.0.1", port))
        socket = await anext(sockets)
        socket.destroy()
        await events.once(socket, "close")
        client.close()
        # Nobody waits now, and there is no connection.
        with pytest.raises(StateError) as info:
            server.transfer(there.loop)
        del sockets
        arrived = queue.Queue()
        server.transfer(there.loop, arrived.put)
        await asyncio.to_thread(arrived.get, timeout=20)
        there.call(server.close)
        return info.value.code

    assert asyncio.run(main()) == CODE


def test_a_server_over_which_a_coroutine_has_iterated_until_it_closed_can_move(there):
    async def main():
        server = listening()
        sockets = aiter(server)
        server.close()
        assert [socket async for socket in sockets] == []
        server.listen(0)
        server.transfer(there.loop, arrived.put)
        await asyncio.to_thread(arrived.get, timeout=20)
        there.call(server.close)

    arrived = queue.Queue()
    asyncio.run(main())


@pytest.mark.parametrize("kind", ["socket", "server"])
def test_a_finaliser_that_ends_it_while_it_arrives(kind):
    """A collection, which may begin at any object that arriving makes (before CPython 3.12)."""

    class Last:
        def __init__(self, moved):
            self.itself, self.moved = self, moved

        def __del__(self):
            if kind == "socket":
                self.moved.destroy()
            else:
                self.moved.close()

    def leave():
        moved.append(listening() if peer is None else net.Socket(fd=ours.detach()))
        moved[0].transfer(here)
        pyuvnet.run()

    here = pyuvnet.current_loop()
    usual = gc.get_threshold()
    for threshold in range(1, 25):
        moved, events, peer = [], [], None
        if kind == "socket":
            ours, peer = posix.socketpair()
            peer.settimeout(20)
        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()
        for event in ("error", "close"):
            moved[0].on(event, lambda *_, event=event, events=events: events.append(event))
        gc.collect()
        Last(moved[0])
        gc.set_threshold(threshold, 1, 1)
        try:
            here.turn()
        finally:
            gc.set_threshold(*usual)
        gc.collect()
        while not events:
            here.turn()
        assert events == ["close"]
        assert [each for each in handles() if each.owner is moved[0]] == []
        if peer is not None:
            assert peer.recv(1) == b""
            peer.close()


# ---- Without memory ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["socket", "server"])
def test_what_cannot_leave_without_memory_is_not_dropped_in_silence(kind, run_child):
    pytest.importorskip("_testcapi")
    # The loop of the other thread does not run: only the departure allocates.
    run_child(
        f"""
        import _testcapi, gc, os, queue, threading
        import socket as posix
        import pyuvnet
        from pyuvnet import net

        loops, go_on = queue.Queue(), threading.Event()

        def idle():
            loops.put(pyuvnet.current_loop())
            go_on.wait(20)

        thread = threading.Thread(target=idle, daemon=True)
        thread.start()
        there, loop = loops.get(timeout=20), pyuvnet.current_loop()
        heard, unhandled = [], []
        loop.set_exception_handler(unhandled.append)

        def a_socket():
            ours, theirs = posix.socketpair()
            socket = net.Socket(fd=ours.detach())
            return socket, theirs

        def a_server():
            server = net.create_server().listen(0)
            return server, server

        def gone(moved):
            try:
                moved.ref()
            except pyuvnet.StateError as error:
                return error.code == "ERR_WRONG_THREAD"
            return False

        gc.disable()
        failures = 0
        for nth in range(12):
            moved, end = a_{kind}()
            loop.turn()
            heard.clear()
            moved.on("error", lambda error: heard.append(error))
            moved.transfer(there)
            # A tick for it to take along.
            if {kind == "socket"}:
                moved.pause()
                moved.resume()
            else:
                moved._listen_failed(ValueError())
            _testcapi.set_nomemory(nth, nth + 1)
            try:
                loop.turn()
            finally:
                _testcapi.remove_mem_hooks()
            loop.turn()
            assert unhandled == [], nth
            heard = [error for error in heard if type(error) is not ValueError]
            assert {{type(error) for error in heard}} <= {{MemoryError}}, (nth, heard)
            failures += len(heard)
            # It has left, or is as if it had not been asked to, or has ended with the error.
            assert gone(moved) != bool(heard), (nth, heard)
            if {kind == "socket"}:
                assert gone(moved) or moved.destroyed, nth
                end.close()
            elif not gone(moved):
                moved.close()
                loop.turn()
        assert failures
        go_on.set()
        thread.join()
        """
    ).clean()

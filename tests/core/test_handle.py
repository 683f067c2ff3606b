"""Handles and requests: what keeps them alive, and that they go."""

from __future__ import annotations

import gc
import weakref

import pytest

from pyuvnet import Server, Socket, net, run, set_immediate, stop
from pyuvnet._core import info
from pyuvnet._core.handle import live_counts


def gone(references):
    gc.collect()
    return [reference() for reference in references] == [None] * len(references)


def listen(**options):
    """A listening server; returns when it listens."""
    server = net.create_server(**options)
    server.listen(0, "127.0.0.1", callback=stop)
    run()
    return server


def pair():
    """A connected client and what the server has for it."""
    accepted = []
    server = listen()
    server.on("connection", lambda socket: (accepted.append(socket), len(accepted) and done()))
    client = net.connect(server.address().port, "127.0.0.1")
    state = []

    def done():
        state.append(1)
        if len(state) == 2:
            stop()

    client.on("connect", done)
    run()
    server.close()
    return client, accepted[0]


def test_an_open_server_that_nobody_holds_lives_until_it_is_closed(loop):
    server = listen()
    port = server.address().port
    reference = weakref.ref(server)
    del server
    gc.collect()
    assert reference() is not None
    assert loop.handle_count() == 1
    assert reference().address().port == port
    reference().close()
    run()
    assert gone([reference])


def test_open_sockets_that_nobody_holds_live_until_they_are_closed(loop):
    received = []
    client, accepted = pair()
    client.on("data", received.append)
    references = [weakref.ref(client), weakref.ref(accepted)]
    set_immediate(accepted.end, b"still there")
    del client, accepted
    gc.collect()
    assert None not in [reference() for reference in references]
    run()
    assert received == [b"still there"]
    assert loop.handle_count() == 0
    assert gone(references)


def test_a_cycle_around_an_open_socket_is_collected_after_it_closed():
    client, accepted = pair()
    client.me = client
    client.on("data", lambda chunk, held=client: None)
    reference = weakref.ref(client)
    accepted.destroy()
    client.resume()
    del client
    gc.collect()
    assert reference() is not None
    run()
    assert gone([reference])


def test_a_socket_that_was_never_connected_is_ordinary_garbage():
    references = [weakref.ref(Socket()), weakref.ref(Server())]
    assert gone(references)


def test_a_destroyed_socket_is_alive_until_its_close_event():
    told = []
    client, accepted = pair()
    client.on("close", lambda had_error: told.append(had_error))
    client.destroy()
    accepted.destroy()
    del client, accepted
    gc.collect()
    run()
    assert told == [False]


def test_a_write_in_flight_keeps_its_buffer_and_socket_until_it_is_done():
    client, accepted = pair()
    written = []
    data = memoryview(bytearray(b"x" * 8_000_000))
    reference = weakref.ref(client)
    client.write(data, lambda error: written.append(error))
    client.end()
    del client, data
    gc.collect()
    total = []
    accepted.on("data", lambda chunk: total.append(len(chunk)))
    accepted.on("end", accepted.end)
    del accepted
    run()
    assert written == [None]
    assert sum(total) == 8_000_000
    assert gone([reference])


def test_a_buffer_is_given_back_after_the_write():
    client, accepted = pair()
    buffer = bytearray(b"y" * 5_000_000)
    client.write(buffer)
    with pytest.raises(BufferError):
        buffer.extend(b"more")
    accepted.resume()
    client.end()
    run()
    buffer.extend(b"more")


def test_a_pending_connect_keeps_its_socket_alive_until_it_is_told():
    server = listen()
    connected = []
    server.on("connection", lambda socket: (socket.destroy(), server.close()))
    client = net.connect(server.address().port, "127.0.0.1", lambda: connected.append(True))
    client.resume()
    reference = weakref.ref(client)
    del client
    gc.collect()
    run()
    assert connected == [True]
    assert gone([reference])


@pytest.mark.parametrize("how", ["destroy", "end", "loop.close"])
def test_connections_leave_nothing_behind(loop, how):
    references = []
    for _ in range(5):
        client, accepted = pair()
        references += [weakref.ref(client), weakref.ref(accepted)]
        accepted.on("error", lambda error: None)
        accepted.resume()
        client.resume()
        if how != "loop.close":
            getattr(client, how)()
            run()
            assert loop.handle_count() == 0
        del client, accepted
    if how == "loop.close":
        loop.close()
    assert gone(references)


def test_only_the_debug_build_counts_handles_and_requests():
    counted = info.is_debug()
    handles, requests = live_counts()
    client, accepted = pair()
    assert live_counts()[0] - handles >= 2 * counted
    client.write(bytes(8_000_000))
    assert live_counts()[1] - requests == counted
    accepted.destroy()
    client.destroy()
    run()
    assert live_counts() == (handles, requests)


def test_a_handle_that_is_closed_again_is_closed_once(run_child):
    # In a process of its own: without the guard libuv's list of closing handles has a cycle.
    child = run_child(
        """
        import gc, sys, weakref
        from pyuvnet import BoundSocket, current_loop, run
        from pyuvnet._core.bound import _close

        handle = BoundSocket(host="127.0.0.1")._adopt()
        free = BoundSocket(host="127.0.0.1")._adopt()
        # The pin is a reference like any.
        print(sys.getrefcount(handle), sys.getrefcount(free))
        _close(handle)
        _close(handle)
        handle.unref(); handle.ref()
        run()
        print(sys.getrefcount(handle), sys.getrefcount(free), current_loop().handle_count())
        _close(handle)
        handle.unref(); handle.ref()
        _close(free)
        run()
        print(sys.getrefcount(handle), sys.getrefcount(free), current_loop().handle_count())
        """
    ).clean()
    assert child.lines == ["3 3", "2 3 1", "2 2 0"]

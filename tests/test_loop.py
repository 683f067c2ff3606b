"""pyuvnet.loop: what lives in this thread's loop, and why run() does not return."""

from __future__ import annotations

import os
import socket as system_sockets
import sys

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.loop import HandleInfo, handles


def kept():
    """What keeps the loop alive, as (kind, owner)."""
    return [(info.kind, info.owner) for info in handles() if info.keeps_alive]


def listening(host="127.0.0.1", listener=lambda socket: None):
    """A server that listens."""
    server = net.create_server(listener)
    server.listen(0, host, callback=pyuvnet.stop)
    pyuvnet.run()
    return server


def test_an_empty_loop_has_no_handles():
    assert handles() == []


def test_a_server_is_listed_with_its_address_until_it_is_gone():
    server = listening()
    (info,) = [info for info in handles() if info.kind == "tcp"]
    address = f"127.0.0.1:{server.address().port}"
    assert info == HandleInfo("tcp", server, True, True, False, (), address)
    assert info.keeps_alive
    assert repr(info) == (
        f"<tcp 127.0.0.1:{server.address().port} of {server!r}, keeps the loop alive>"
    )
    assert str(info) == repr(info)
    server.unref()
    (info,) = [info for info in handles() if info.kind == "tcp"]
    assert (info.ref, info.keeps_alive) == (False, False)
    assert "does not keep the loop alive" in repr(info)
    server.close()
    (info,) = [info for info in handles() if info.kind == "tcp"]
    assert (info.closing, info.keeps_alive) == (True, True)
    assert "closing" in repr(info)
    pyuvnet.run()
    assert handles() == []


def test_an_ipv6_address_stands_in_brackets():
    try:
        with system_sockets.socket(system_sockets.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this system has no IPv6")
    server = listening("::1")
    assert handles()[0].address == f"[::1]:{server.address().port}"
    server.close()
    pyuvnet.run()


@pytest.mark.skipif(sys.platform == "win32", reason="paths of named pipes differ")
def test_a_pipe_is_listed_with_its_path(tmp_path):
    path = tmp_path / "socket"
    server = net.create_server().listen(path=path)
    (info,) = [info for info in handles() if info.kind == "pipe"]
    assert (info.owner, info.address) == (server, os.fspath(path))
    server.close()
    pyuvnet.run()


def test_both_ends_of_a_connection_and_what_is_in_flight():
    seen = {}

    def look(name):
        seen[name] = {info.owner: info for info in handles() if info.owner is client}

    def connected():
        look("connected")
        client.end(b"x" * 20_000_000)
        look("writing")
        client.once("finish", lambda: look("finished"))

    def accepted(socket):
        socket.resume()
        server.close()

    server = listening(listener=accepted)
    port = server.address().port
    client = net.connect(port, "127.0.0.1", connected)
    pyuvnet.next_tick(look, "before")
    pyuvnet.next_tick(pyuvnet.next_tick, look, "connecting")
    pyuvnet.run()
    assert seen["connecting"][client].requests == ("connect",)
    assert seen["connecting"][client].keeps_alive
    assert seen["connected"][client].address.endswith(f" -> 127.0.0.1:{port}")
    assert seen["connected"][client].requests == ()
    assert seen["writing"][client].requests == ("write",)
    assert "in flight: write" in repr(seen["writing"][client])
    assert seen["finished"][client].requests == ()


def test_timers_and_immediates_and_ticks_are_listed_by_their_callbacks():
    def callback():
        pass

    timer = pyuvnet.set_timeout(callback, 1000)
    interval = pyuvnet.set_interval(callback, 1000).unref()
    pyuvnet.set_immediate(callback)
    pyuvnet.set_immediate(callback).unref()
    pyuvnet.next_tick(callback)
    pyuvnet.current_loop().call_soon_threadsafe(callback)
    assert kept() == [
        ("timer", callback),
        ("immediate", callback),
        ("tick", callback),
        ("call from a thread", callback),
    ]
    assert len(handles()) == 6
    timer.close()
    interval.close()
    pyuvnet.run()
    assert handles() == []


def test_an_idle_timeout_is_its_sockets_and_keeps_nothing_alive():
    socket = net.Socket()
    socket.set_timeout(1000)
    (info,) = handles()
    assert (info.kind, info.owner, info.keeps_alive) == ("timer", socket, False)
    socket.destroy()
    pyuvnet.run()


def test_a_lookup_is_listed_until_it_is_answered():
    server = net.create_server()
    server.listen(0, "localhost")
    ((kind, owner),) = kept()
    assert (kind, owner) == ("lookup", server)
    assert handles()[0].requests == ("lookup localhost",)
    server.on("listening", server.close)
    pyuvnet.run()
    assert handles() == []


def test_a_bound_socket_nobody_has_adopted_is_listed_without_owner():
    with net.BoundSocket(host="127.0.0.1") as bound:
        (info,) = handles()
        assert (info.kind, info.owner, info.keeps_alive) == ("tcp", None, False)
        assert info.address == f"127.0.0.1:{bound.address().port}"
    pyuvnet.run()


def test_run_returns_exactly_when_nothing_listed_keeps_the_loop_alive(loop):
    """The sum of the list is what alive() says, in many states."""

    def agree():
        assert any(info.keeps_alive for info in handles()) == loop.alive()

    agree()
    server = listening(listener=net.Socket.pause)
    agree()
    client = net.connect(server.address().port, "127.0.0.1")
    agree()
    client.pause()
    server.unref()
    agree()
    client.unref()
    agree()
    client.destroy()
    agree()
    server.close()
    agree()
    loop.close()


def test_names_have_nodes_spelling():
    assert HandleInfo.keepsAlive is HandleInfo.keeps_alive

"""ordering 3.20: max_connections, and block lists of either end."""

import pytest

import pyuvnet
from pyuvnet import net


def blocking(*addresses):
    block_list = net.BlockList()
    for address in addresses:
        block_list.add_address(address)
    return block_list


def connected(timeline, name, server):
    c = timeline.watch(name, net.Socket())
    address = server.address()
    c.connect(*([address] if isinstance(address, str) else [address["port"], "127.0.0.1"]))
    return c


DROPPED = ["connect", "ready", "end", "finish", ("close", False)]


def test_the_second_of_two_is_dropped_in_a_later_turn(timeline, run):
    def accepted(s):
        timeline.watch("s", s)
        pyuvnet.set_immediate(timeline.note, "S", "immediate")

    def dropped(data):
        server.get_connections(lambda error, count: timeline.note("S", "count", count))
        assert list(data) == [
            *["localAddress", "localPort", "localFamily"],
            *["remoteAddress", "remotePort", "remoteFamily"],
        ]
        assert data["localPort"] == server.address()["port"]
        assert data["remotePort"] == b.local_port
        assert (data["localAddress"], data["remoteAddress"]) == ("127.0.0.1", "127.0.0.1")
        assert (data.local_family, data.remote_family) == ("IPv4", "IPv4")

    def listening():
        nonlocal a, b
        a, b = (connected(timeline, name, server) for name in "ab")
        b.on("close", finish)

    def finish(had_error):
        # The first one stays.
        assert a.ready_state == "open"
        a.end()
        server.close()

    a = b = None
    server = timeline.watch("S", net.create_server(accepted))
    server.max_connections = 1
    server.on("drop", dropped).on("listening", listening).listen(0, "127.0.0.1")
    run()
    seen = [entry if entry[0] != "drop" else "drop" for entry in timeline["S"]]
    assert seen == [
        *["listening", ("connection", "socket"), "immediate", "drop", ("count", 1), "close"],
    ]
    assert timeline["b"] == ["resume", ("connectionAttempt", 4), *DROPPED]
    assert timeline["a"] == [
        *["resume", ("connectionAttempt", 4), "connect", "ready", "finish", "end"],
        ("close", False),
    ]
    assert timeline["s"] == ["resume", "end", "finish", ("close", False)]


def test_zero_drops_everything(timeline, run):
    server = timeline.watch("S", net.create_server())
    server.max_connections = 0
    server.on("drop", lambda data: server.close())
    server.listen(0)
    connected(timeline, "c", server)
    run()
    assert [entry if entry[0] != "drop" else "drop" for entry in timeline["S"]] == [
        *["listening", "drop", "close"]
    ]
    assert timeline["c"][2:] == DROPPED


def test_it_counts_at_each_arrival(timeline, run):
    """It can be set at any time; a place becomes free with destroy()."""

    def dropped(data):
        server.max_connections = None
        connected(timeline, "d", server).on("ready", lambda: (d_end(), server.close()))

    def d_end():
        for socket in sockets:
            socket.end()

    sockets = []
    server = timeline.watch("S", net.create_server(sockets.append))
    server.on("drop", dropped)
    server.max_connections = 1
    server.listen(0)
    connected(timeline, "a", server)
    connected(timeline, "b", server)
    run()
    assert timeline["b"][2:] == DROPPED
    assert ("close", False) in timeline["d"]
    assert len(sockets) == 2


def test_ipc_drops_without_data(timeline, run, tmp_path):
    server = timeline.watch("S", net.create_server(lambda s: timeline.watch("s", s)))
    server.max_connections = 1
    server.listen(str(tmp_path / "sock"))
    a = connected(timeline, "a", server)
    b = connected(timeline, "b", server)
    b.on("close", lambda had_error: (a.end(), server.close()))
    run()
    assert timeline["S"] == ["listening", ("connection", "socket"), ("drop", None), "close"]
    assert timeline["b"][2:] == DROPPED
    assert timeline["s"] == ["resume", "end", "finish", ("close", False)]


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_a_peer_that_the_server_blocks_sees_the_same(timeline, run, host):
    def count(had_error):
        server.get_connections(lambda error, count: timeline.note("S", "count", count))
        server.close()

    server = timeline.watch("S", net.create_server(block_list=blocking("127.0.0.1")))
    server.listen(0, host)
    server.on("listening", lambda: connected(timeline, "c", server).on("close", count))
    run()
    # Node's server emits nothing, and ours says whom it has turned away.
    first, (drop, info), *rest = timeline["S"]
    assert (first, drop, info["reason"]) == ("listening", "drop", "block_list")
    assert rest == [("count", 0), "close"]
    assert timeline["c"] == ["resume", ("connectionAttempt", 4), *DROPPED]


def test_an_address_that_the_client_blocks(timeline, run):
    errors = []
    server = timeline.watch("S", net.create_server()).listen(0)
    c = timeline.watch("c", net.Socket(block_list=blocking("127.0.0.1")))
    c.on("error", errors.append)
    c.connect(server.address()["port"], "127.0.0.1")
    c.on("close", lambda had_error: pyuvnet.set_immediate(server.close))
    run()
    assert timeline["c"] == [
        *["resume", ("connectionAttempt", 4), ("error", "ERR_IP_BLOCKED"), ("close", True)]
    ]
    assert timeline["S"] == ["listening", "close"]
    assert str(errors[0]) == "IP(127.0.0.1) is blocked by net.BlockList"

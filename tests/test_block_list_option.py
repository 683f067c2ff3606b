"""The option block_list of servers and clients: net.md 3.15, 5.3, 5.5; ordering.md 3.20."""

from __future__ import annotations

import asyncio
import json
import platform
import socket as posix
import struct
import sys
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, run

# The kernel's filter makes getpeername fail; its number there.
GETPEERNAME = {"x86_64": 52, "aarch64": 205}.get(platform.machine())
linux = pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 and so on are Linux's")


def blocking(*addresses: str) -> net.BlockList:
    rules = net.BlockList()
    for address in addresses:
        rules.add_address(address, "ipv6" if ":" in address else "ipv4")
    return rules


@pytest.mark.spec("N103", "N152", "D114", "P5-03")
@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_a_blocked_peer_is_closed_and_dropped(host) -> None:
    """Also on a dual-stack server, which sees the peer as an IPv4-mapped address."""
    events: list[object] = []
    drops: list[Any] = []
    server = net.create_server(block_list=blocking("127.0.0.1"))
    server.on("drop", drops.append)
    for event in ("connection", "error"):
        server.on(event, lambda *a, event=event: events.append(("server", event)))

    def listening() -> None:
        client = net.create_connection(server.address().port, "127.0.0.1")
        for event in ("connect", "ready", "end", "finish", "error", "close"):
            client.on(event, lambda *a, event=event: events.append((event, *a)))
        client.on("close", lambda _: server.get_connections(lambda _, n: events.append(n)))
        client.on("close", lambda _: server.close())

    server.listen(0, host, listening)
    run()
    assert events == [("connect",), ("ready",), ("end",), ("finish",), ("close", False), 0]
    (info,) = drops
    assert info.reason == "block_list"
    assert info.remote_address.endswith("127.0.0.1")
    assert info.local_port > 0
    assert server.dropped == {"block_list": 1}


def test_an_emit_of_a_subclass_hears_of_blocked_peers_too() -> None:
    reasons: list[str] = []

    class Watching(net.Server):
        def emit(self, event: Any, *arguments: Any) -> bool:
            if event == "drop":
                reasons.append(arguments[0].reason)
            return super().emit(event, *arguments)

    server = Watching(block_list=blocking("127.0.0.1")).listen(0, "127.0.0.1")
    client = net.connect(port_of(server), "127.0.0.1").resume()
    client.on("close", lambda had_error: server.close())
    run()
    assert reasons == ["block_list"]


def test_another_peer_gets_through_and_the_list_may_change() -> None:
    rules = blocking("10.0.0.1")
    served: list[str] = []
    server = net.create_server({"blockList": rules}, lambda socket: socket.end("hello"))
    assert server.block_list is rules

    def attempt(then) -> None:
        client = net.create_connection(server.address().port, "127.0.0.1")
        client.on("data", lambda data: served.append(data.decode()))
        client.on("close", lambda _: then())

    def blocked_now() -> None:
        rules.add_address("127.0.0.1")
        attempt(free_again)

    def free_again() -> None:
        served.append("blocked")
        server.block_list = None
        attempt(server.close)

    server.listen(0, "127.0.0.1", lambda: attempt(blocked_now))
    run()
    assert served == ["hello", "blocked", "hello"]


@pytest.mark.spec("N152")
def test_a_client_does_not_connect_to_a_blocked_address() -> None:
    events: list[object] = []
    client = net.create_connection(port=1, host="127.0.0.1", block_list=blocking("127.0.0.1"))
    client.on("connectionAttempt", lambda *a: events.append(("connectionAttempt", *a)))
    client.on("connectionAttemptFailed", lambda *a: events.append("failed"))
    client.on("error", lambda error: events.append((error.code, error.message)))
    client.on("close", lambda had_error: events.append(("close", had_error)))
    run()
    assert events == [
        ("connectionAttempt", "127.0.0.1", 1, 4),
        ("ERR_IP_BLOCKED", "IP(127.0.0.1) is blocked by net.BlockList"),
        ("close", True),
    ]


@pytest.mark.parametrize("make", [net.create_server, net.Socket])
@pytest.mark.parametrize("value", [1, "10.0.0.0/8", [], True])
def test_another_type_is_refused(make, value) -> None:
    with pytest.raises(TypeError) as caught:
        make(block_list=value)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert "options.blockList" in caught.value.message


def port_of(server: net.Server) -> int:
    """The port of a server, which has bound it in the first tick."""
    pyuvnet.current_loop().turn()
    return server.address()["port"]


# ---- Peers that attack -------------------------------------------------------------------------


def hit_and_run(place: tuple[str, int], source: str) -> None:
    """Send data, and a reset, on a connection that waits to be accepted."""
    family = posix.AF_INET6 if ":" in source else posix.AF_INET
    peer = posix.socket(family)
    peer.bind((source, 0))
    peer.connect(place)
    peer.sendall(b"GET /secret")
    peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@pytest.mark.spec("D28")
@linux
@pytest.mark.parametrize(
    ("host", "target", "bad"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.66"),
        (None, "127.0.0.1", "127.0.0.66"),  # seen as ::ffff:127.0.0.66
        (None, "::1", "::1"),
        ("::1", "::1", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.66"),
    ],
)
def test_a_blocked_peer_that_has_reset_the_connection_does_not_get_through(
    host: str | None, target: str, bad: str
) -> None:
    """The kernel has forgotten its name when the server asks."""
    events: list[Any] = []
    drops: list[Any] = []
    rules = blocking(bad)
    server = net.create_server(block_list=rules)
    server.on("drop", lambda info: drops.append((info.reason, info.remote_address[-len(bad) :])))
    for event in ("connection", "error"):
        server.on(event, lambda *a, event=event: events.append(event))
    server.listen(0, host)
    place = (target, port_of(server))
    for _ in range(5):
        hit_and_run(place, bad)
    loop = pyuvnet.current_loop()
    for _ in range(20):
        loop.turn()
    server.close()
    run()
    assert events == []
    assert drops == [("block_list", bad)] * 5
    assert server.dropped == {"block_list": 5}


@linux
def test_another_peer_that_has_reset_the_connection_is_known_by_its_address() -> None:
    peers: list[Any] = []
    server = net.create_server(block_list=blocking("127.0.0.66"))

    @server.on("connection")
    def connection(s: net.Socket) -> None:
        peers.append((s.remote_address, s.destroy()))
        server.close()

    server.listen(0, "127.0.0.1")
    hit_and_run(("127.0.0.1", port_of(server)), "127.0.0.65")
    run()
    assert peers[0][0] == "127.0.0.65"


@pytest.mark.spec("D28")
@linux
def test_a_peer_of_unknown_address_is_sent_away_if_there_is_a_list() -> None:
    """Where accept() has not told it: on Windows, and with an installed libuv."""
    from pyuvnet._core.accepting import _forget_arrivals

    accepted: list[net.Socket] = []
    server = net.create_server(accepted.append, block_list=net.BlockList()).listen(0, "127.0.0.1")
    drops: list[Any] = []
    server.on("drop", lambda info: drops.append((info.reason, info.remote_address)))
    place = ("127.0.0.1", port_of(server))
    loop = pyuvnet.current_loop()
    _forget_arrivals(True)
    try:
        hit_and_run(place, "127.0.0.66")
        for _ in range(5):
            loop.turn()
        assert accepted == []
        assert server.dropped == {"unknown_peer": 1}
        assert drops == [("unknown_peer", None)]
        # One that is still there is known by getpeername().
        server.block_list.add_address("127.0.0.67")
        hit_and_run(place, "127.0.0.68")
        with posix.socket() as peer, posix.socket() as good:
            peer.bind(("127.0.0.67", 0))
            peer.connect(place)
            good.connect(place)
            for _ in range(5):
                loop.turn()
            assert server.dropped == {"unknown_peer": 2, "block_list": 1}
            assert [s.remote_address for s in accepted] == ["127.0.0.1"]
        # Without a list everybody is welcome.
        server.on("connection", lambda s: s.on("error", lambda _: None))
        server.block_list = None
        hit_and_run(place, "127.0.0.66")
        for _ in range(5):
            loop.turn()
        assert len(accepted) == 2
    finally:
        _forget_arrivals(False)
    for s in accepted:
        s.destroy()
    server.close()
    run()


# ---- Requests that attack ----------------------------------------------------------------------


def private() -> net.BlockList:
    rules = net.BlockList()
    rules.add_cidrs(net.BlockList.PRIVATE_RANGES)
    return rules


TOKEN = b"reached"


class Target:
    """A server of this machine that nobody may reach, and what became of who tried."""

    def __init__(self) -> None:
        self.reached: list[Any] = []
        self.events: list[Any] = []
        self.server = net.create_server(self.accepted)
        self.server.listen(0)

    def accepted(self, socket: net.Socket) -> None:
        def heard(data: bytes) -> None:
            # Another program of this machine may connect to the port that an earlier server had.
            if data == TOKEN:
                self.reached.append(socket)
            socket.destroy()

        socket.on("error", lambda error: None).on("data", heard)
        socket.set_timeout(2000, socket.destroy)

    def attack(self, host: str, rules: net.BlockList, **options: Any) -> list[Any]:
        port = self.server.address()["port"]
        client = net.create_connection(port=port, host=host, block_list=rules, **options)
        client.write(TOKEN)
        for event in ("connect", "ready", "data"):
            client.on(event, lambda *a, event=event: self.events.append(event))
        client.on("error", lambda error: self.events.append(error))
        client.on("close", lambda _: pyuvnet.set_timeout(self.server.close, 20))
        run()
        return self.events


LITERALS = [
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
    "::ffff:0:0",
    "0:0:0:0:0:0:0:0",
    "::%1",
    "::%lo",
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.1",
    "::1",
    "::1%lo",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:127.0.0.1%1",
    "0:0:0:0:0:ffff:7f00:0001",
    "::127.0.0.1",
    "::7f00:1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::127.0.0.1",
    "2002:7f00:1::",
    "fe80::1%1",
]


@pytest.mark.spec("D64")
@pytest.mark.parametrize("host", LITERALS)
def test_no_literal_leads_to_a_private_address(host: str) -> None:
    target = Target()
    (error,) = target.attack(host, private())
    assert error.code == "ERR_IP_BLOCKED"
    assert target.reached == []


@pytest.mark.parametrize(
    "host", ["0", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "017700000001", "127.0.1", "00"]
)
def test_no_number_that_the_resolver_takes_leads_to_a_private_address(host: str) -> None:
    target = Target()
    (error,) = target.attack(host, private())
    assert error.code in ("ERR_IP_BLOCKED", "ENOTFOUND", "EAI_AGAIN")
    assert target.reached == []


@pytest.mark.parametrize("host", ["[::1]", "[::]", "127.0.0.1.", "127.0.0.1:80", "::1%"])
def test_what_is_no_address_is_none(host: str) -> None:
    target = Target()
    (error,) = target.attack(host, private())
    assert error.code in ("ERR_IP_BLOCKED", "ENOTFOUND", "EAI_AGAIN")
    assert target.reached == []


@pytest.mark.parametrize("form", ["callback", "all", "coroutine"])
@pytest.mark.parametrize("host", LITERALS)
def test_no_answer_of_a_lookup_leads_to_a_private_address(host: str, form: str) -> None:
    target = Target()
    family = 6 if ":" in host else 4

    def lookup(name: str, options: Any, callback: Any) -> Any:
        if form == "coroutine":
            return coroutine()
        if form == "all" and options.get("all"):
            callback(None, [{"address": host, "family": family}] * 2)
        else:
            # The family that it tells does not matter.
            callback(None, [{"address": host, "family": 10 - family}])
        return None

    async def coroutine() -> Any:
        return host, family

    if form == "coroutine":

        async def main() -> None:
            port = target.server.address()["port"]
            client = net.create_connection(
                port=port, host="example.com", block_list=private(), lookup=lookup
            )
            client.write(TOKEN)
            with pytest.raises(pyuvnet.Error) as caught:
                await pyuvnet.events.once(client, "connect")
            target.events.append(caught.value)
            await asyncio.sleep(0.01)
            target.server.close()

        pyuvnet.run(main())
    else:
        target.attack("example.com", private(), lookup=lookup)
    (error,) = target.events
    assert error.code == "ERR_IP_BLOCKED"
    assert target.reached == []


def test_one_bad_address_of_several_is_left_out() -> None:
    target = Target()
    rules = blocking("127.0.0.66")

    def lookup(name: str, options: Any, callback: Any) -> None:
        callback(None, [{"address": a, "family": 4} for a in ("127.0.0.66", "127.0.0.1")])

    events = target.attack("example.com", rules, lookup=lookup)
    assert events == ["connect", "ready"]


@pytest.mark.spec("D62")
@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::ffff:0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
    ],
)
def test_the_unspecified_address_leads_where_loopback_does(host: str, rule: str) -> None:
    """With rules of the program's own, which do not name it."""
    target = Target()
    (error,) = target.attack(host, blocking(rule))
    assert error.code == "ERR_IP_BLOCKED"
    assert target.reached == []


@pytest.mark.spec("D61")
@pytest.mark.parametrize("several", [False, True])
def test_the_peer_is_checked_again_when_connected(several: bool) -> None:
    """A list may get the rule while the connection is made."""
    events: list[Any] = []
    rules = net.BlockList()
    server = net.create_server(lambda s: s.on("data", events.append).on("error", print))
    server.listen(0, "127.0.0.1")

    def lookup(name: str, options: Any, callback: Any) -> None:
        found = [{"address": a, "family": 4} for a in ("127.0.0.1", "127.0.0.2")]
        pyuvnet.next_tick(callback, None, found)

    host = {"host": "example.com", "lookup": lookup} if several else {"host": "127.0.0.1"}
    client = net.create_connection(
        port=port_of(server),
        block_list=rules,
        **host,  # type: ignore[arg-type]
    )
    client.write(b"secret")
    client.on("connectionAttempt", lambda *_: rules.add_cidr("127.0.0.0/8"))
    for event in ("connect", "ready", "data"):
        client.on(event, lambda *a, event=event: (events.append(event), client.destroy()))
    client.on("error", lambda error: events.append((error.code, error.message)))
    client.on("close", lambda had_error: (events.append(had_error), server.close()))
    run()
    assert events == [
        ("ERR_IP_BLOCKED", "IP(127.0.0.1) is blocked by net.BlockList"),
        True,
    ]


@pytest.mark.spec("D61")
@pytest.mark.skipif(
    sys.platform != "linux" or GETPEERNAME is None, reason="the filter is written for Linux"
)
def test_a_peer_of_unknown_address_is_not_connected_to_if_there_is_a_list(run_child: Any) -> None:
    child = run_child(f"""
        import ctypes, errno, json, os, struct
        import pyuvnet
        from pyuvnet import net

        events = []
        server = net.create_server(lambda s: s.on("error", print).resume()).listen(0)

        def deny():
            code = [(0x20, 0, 0, 0), (0x15, 0, 1, {GETPEERNAME}),
                    (0x06, 0, 0, 0x00050000 | errno.ENOTCONN), (0x06, 0, 0, 0x7fff0000)]
            data = ctypes.create_string_buffer(
                b"".join(struct.pack("HBBI", *line) for line in code))
            libc = ctypes.CDLL(None, use_errno=True)
            program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(data))
            assert libc.prctl(38, 1, 0, 0, 0) == 0
            assert libc.prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())

        def attempt(then, **options):
            client = net.create_connection(port=server.address()["port"], host="127.0.0.1",
                                           **options)
            client.on("connect", lambda: (events.append("connect"), client.destroy()))
            client.on("error", lambda error: events.append(error.code))
            client.on("close", lambda _: then())

        deny()
        attempt(lambda: attempt(server.close), block_list=net.BlockList())
        pyuvnet.run()
        print(json.dumps(events))
    """)
    assert json.loads(child.clean().lines[-1]) == ["ERR_IP_BLOCKED", "connect"]

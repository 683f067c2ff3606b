"""The option block_list of servers and clients: net.md 3.15, 5.3, 5.5; ordering.md 3.20."""

from __future__ import annotations

import pytest

from pyuvnet import net, run


def blocking(*addresses: str) -> net.BlockList:
    rules = net.BlockList()
    for address in addresses:
        rules.add_address(address, "ipv6" if ":" in address else "ipv4")
    return rules


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_a_blocked_peer_is_closed_silently(host) -> None:
    """Also on a dual-stack server, which sees the peer as an IPv4-mapped address."""
    events: list[object] = []
    server = net.create_server(block_list=blocking("127.0.0.1"))
    for event in ("connection", "drop", "error"):
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

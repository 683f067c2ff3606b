"""The PROXY protocol in Python: options, headers that clients send, and what `socket.proxy` has."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import net, run
from pyuvnet._client.proxy import HeaderPlan, check_accepting
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError
from tests.support.proxy import crc32c, model, split, tlv, v2

OWN = (("9.9.9.9", 1, "IPv4"), ("8.8.8.8", 2, "IPv4"))
ENDS = {"source": ("1.2.3.4", 5), "destination": ("5.6.7.8", 9)}


def header(**options: Any) -> bytes:
    return HeaderPlan(options).make(*OWN)


# ---- Headers that are sent -----------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (("1.2.3.4", 5), ("5.6.7.8", 65535)),
        ({"address": "::1", "port": 5}, net.SocketAddress(address="2::", family="ipv6", port=0)),
        (("fe80::1%lo", 5), ("2::", 0)),
    ],
    ids=["IPv4", "IPv6", "zone"],
)
def test_a_header_has_the_ends_that_were_given(version: int, source: Any, destination: Any) -> None:
    found = model(header(version=version, source=source, destination=destination), 4096)
    given = [("1.2.3.4", 5, "IPv4"), ("5.6.7.8", 65535, "IPv4")]
    if source != ("1.2.3.4", 5):
        host = "::1" if isinstance(source, dict) else "fe80::1"
        given = [(host, 5, "IPv6"), ("2::", 0, "IPv6")]
    assert found[1:5] == (version, "PROXY", *given)


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_has_the_connections_own_ends_unless_others_are_given(version: int) -> None:
    assert model(header(version=version), 4096)[3:5] == OWN


def test_version_2_is_the_default() -> None:
    assert header(**ENDS)[:16] == v2(length=12)[:16]


def test_ends_that_are_not_known_are_unknown() -> None:
    assert HeaderPlan({"version": 1}).make(None, None) == b"PROXY UNKNOWN\r\n"
    assert HeaderPlan({}).make(None, None) == v2(family=0)
    assert header(version=1, source="/a", destination=b"/b") == b"PROXY UNKNOWN\r\n"


def test_unix_sockets_have_paths() -> None:
    data = header(source=Path("/a"), destination=b"\0b")
    assert model(data, 4096)[2:5] == ("PROXY", b"/a", b"\0b")
    assert len(data) == 16 + 216


def test_local_has_no_ends() -> None:
    assert header(command="LOCAL", **ENDS) == v2(family=0, command=0)


def test_tlvs_come_in_their_order_and_the_checksum_last() -> None:
    data = header(
        **ENDS,
        tlvs=[("authority", "é"), ("alpn", b"h2"), (0xE0, "x"), ("unique_id", b"id"), (4, b"")],
        checksum=True,
    )
    block = model(data, 4096)[-1]
    assert block[:-7] == (
        tlv(2, "é".encode()) + tlv(1, b"h2") + tlv(0xE0, b"x") + tlv(5, b"id") + tlv(4, b"")
    )
    assert block[-7:-4] == b"\3\0\4"
    assert int.from_bytes(block[-4:], "big") == crc32c(data[:-4] + bytes(4))


def test_an_ssl_tlv_is_made_of_a_mapping() -> None:
    data = header(
        **ENDS, tlvs={"ssl": {"version": "TLSv1.3", "common_name": "x", "verified": True}}
    )
    ((kind, value),) = split(model(data, 4096)[-1])
    assert (kind, value[:5]) == (0x20, b"\7\0\0\0\0")
    assert split(value[5:]) == [(0x21, b"TLSv1.3"), (0x22, b"x")]
    data = header(**ENDS, tlvs={"ssl": {"cipher": "c"}})
    assert split(model(data, 4096)[-1])[0][1] == b"\1\0\0\0\0" + tlv(0x23, b"c")
    data = header(**ENDS, tlvs={"ssl": {"verified": False, "client": 3}})
    assert split(model(data, 4096)[-1])[0][1] == b"\3\0\0\0\1"
    data = header(**ENDS, tlvs={"ssl": b"\1\0\0\0\0"})
    assert split(model(data, 4096)[-1]) == [(0x20, b"\1\0\0\0\0")]


WRONG: dict[str, tuple[Any, type[Exception]]] = {
    "no mapping": (True, ArgTypeError),
    "an unknown key": ({"sources": 1}, ArgTypeError),
    "a key that is no str": ({1: 1}, ArgTypeError),
    "version 3": ({"version": 3}, ArgValueError),
    "version True": ({"version": True}, ArgValueError),
    "command": ({"command": "local"}, ArgValueError),
    "one end": ({"source": ("1.2.3.4", 5)}, ArgValueError),
    "two families": ({"source": ("1.2.3.4", 5), "destination": ("::", 5)}, ArgValueError),
    "a path and an address": ({"source": ("1.2.3.4", 5), "destination": "/a"}, ArgValueError),
    "no address": ({"source": ("localhost", 5), "destination": ("::", 5)}, ArgValueError),
    "an address of another type": ({"source": (5, 5), "destination": ("::", 5)}, ArgTypeError),
    "no port": ({"source": ("1.2.3.4", -1), "destination": ("::", 5)}, RangeError),
    "an end of another type": ({"source": 5, "destination": ("::", 5)}, ArgTypeError),
    "a path too long": ({"source": "x" * 109, "destination": "/"}, ArgValueError),
    "an empty path": ({"source": "", "destination": "/"}, ArgValueError),
    "tlvs of version 1": ({"version": 1, "tlvs": {"alpn": "x"}}, ArgValueError),
    "a checksum of version 1": ({"version": 1, "checksum": True}, ArgValueError),
    "LOCAL of version 1": ({"version": 1, "command": "LOCAL"}, ArgValueError),
    "no such tlv": ({"tlvs": {"alpns": "x"}}, ArgValueError),
    "a number of no tlv": ({"tlvs": {256: "x"}}, RangeError),
    "a tlv of another type": ({"tlvs": {"alpn": 5}}, ArgTypeError),
    "tlvs of another type": ({"tlvs": 5}, ArgTypeError),
    "no pair": ({"tlvs": [5]}, ArgTypeError),
    "a checksum of one's own": ({"tlvs": {3: b"1234"}}, ArgValueError),
    "a unique id too long": ({"tlvs": {"unique_id": bytes(129)}}, ArgValueError),
    "tlvs too long": ({"tlvs": {1: bytes(65000), 2: bytes(400)}}, ArgValueError),
    "an ssl block that lies": ({"tlvs": {"ssl": b"12345678"}}, ArgValueError),
    "an unknown key of ssl": ({"tlvs": {"ssl": {"x": 1}}}, ArgTypeError),
    "text that no UTF-8 has": ({"tlvs": {"authority": "\ud800"}}, ArgValueError),
}


@pytest.mark.parametrize(("value", "error"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_sent_raises_before_anything_changes(
    value: Any, error: type[Exception]
) -> None:
    one = net.Socket()
    with pytest.raises(error):
        one.connect(port=1, host="127.0.0.1", proxy_protocol=value)
    assert one.ready_state == "open"
    assert not one.connecting
    with pytest.raises(error):
        net.connect(path="/x", proxy_protocol=value)
    one.destroy()
    run()


# ---- What a server is given ----------------------------------------------------------------------

WRONG_SERVERS: dict[str, tuple[Any, type[Exception]]] = {
    "no mapping": (True, ArgTypeError),
    "nobody is trusted": ({}, ArgTypeError),
    "an empty list": ({"trusted": []}, ArgValueError),
    "trusted is a text": ({"trusted": "10.0.0.0/8"}, ArgTypeError),
    "trusted is a mapping": ({"trusted": {"::1": True}}, ArgTypeError),
    "trusted is a number": ({"trusted": 1}, ArgTypeError),
    "no address": ({"trusted": ["localhost"]}, ArgValueError),
    "no prefix": ({"trusted": ["10.0.0.0/33"]}, ArgValueError),
    "a name with a prefix": ({"trusted": ["localhost/8"]}, ArgValueError),
    "no text": ({"trusted": [5]}, ArgTypeError),
    "an unknown key": ({"trusted": ["::1"], "timeouts": 1}, ArgTypeError),
    "required": ({"trusted": ["::1"], "required": 1}, ArgTypeError),
    "a limit below the least": ({"trusted": ["::1"], "limit": 106}, RangeError),
    "a limit above the most": ({"trusted": ["::1"], "limit": 65552}, RangeError),
    "no time": ({"trusted": ["::1"], "timeout": 0}, RangeError),
    "time of another type": ({"trusted": ["::1"], "timeout": "5"}, ArgTypeError),
}


@pytest.mark.spec("P0-02")
@pytest.mark.parametrize(("value", "error"), WRONG_SERVERS.values(), ids=WRONG_SERVERS)
def test_wrong_options_of_a_server_raise_at_once(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        net.create_server(proxy_protocol=value)
    assert getattr(caught.value, "code", None)
    server = net.create_server()
    with pytest.raises(error):
        server.proxy_protocol = value
    assert server.proxy_protocol is None


def test_the_defaults_are_documented_ones() -> None:
    trusted, required, limit, timeout = check_accepting({"trusted": net.BlockList()})  # type: ignore[misc]
    assert (trusted.rules, required, limit, timeout) == ([], True, 4096, 5000)


def test_trusted_are_addresses_and_subnets() -> None:
    entries = ["10.0.0.0/8", "1.2.3.4", "::1", net.SocketAddress(address="5.6.7.8")]
    trusted = check_accepting({"trusted": entries})[0]  # type: ignore[index]
    for address in ("10.1.2.3", "1.2.3.4", "5.6.7.8"):
        assert trusted.check(address)
    assert trusted.check("::1", "ipv6")
    assert not trusted.check("1.2.3.5")


def test_the_option_is_an_attribute_for_later_connections() -> None:
    server = net.create_server({"proxyProtocol": {"trusted": ["127.0.0.1"], "limit": 200}})
    assert server.proxy_protocol == {"trusted": ["127.0.0.1"], "limit": 200}
    server.proxy_protocol = None
    assert server.proxy_protocol is None
    heard: list[Any] = []

    @server.on("connection")
    def take(one: net.Socket) -> None:
        heard.append((one.remote_port, one.proxy and one.proxy.remote_port))
        one.end()
        if len(heard) == 1:
            server.proxy_protocol = {"trusted": ["127.0.0.0/8"]}
            connect(**ENDS).on("close", lambda had_error: server.close())

    def connect(**options: Any) -> net.Socket:
        one = net.connect(
            server.address().port, "127.0.0.1", proxy_protocol=options if options else None
        )
        one.once("connect", lambda: ports.append(one.local_port))
        return one.resume()

    ports: list[int] = []
    server.listen(0)
    connect()
    run()
    assert heard == [(ports[0], None), (5, ports[1])]


# ---- Both together -------------------------------------------------------------------------------


def exchange(
    listen: Any, connect: dict[str, Any], **options: Any
) -> tuple[net.Socket, dict[str, Any], bytes]:
    """What a server sees of one client: its socket, what socket.proxy was, and what it read."""
    seen: list[Any] = []
    data = bytearray()
    server = net.create_server(proxy_protocol={"trusted": ["127.0.0.1", "::1"], "limit": 65551})

    @server.on("connection")
    def take(one: net.Socket) -> None:
        server.close()
        seen.extend([one, one.proxy])
        one.on("data", data.extend)

    server.on("drop", lambda info: pytest.fail(str(info)))
    server.listen(listen)
    where = {"path": listen} if isinstance(listen, str) else {
        "port": server.address().port, "host": "127.0.0.1",
    }  # fmt: skip
    client = net.connect({**where, **options}, proxy_protocol=connect)
    events = []
    client.on("connect", lambda: events.append("connect"))
    client.write("first ", lambda error: events.append(error))
    client.end("last")
    client.resume()
    run()
    assert events == ["connect", None]
    # Of data, and not of the header.
    assert client.bytes_written == 10
    return seen[0], seen[1], bytes(data)


@pytest.mark.spec("D110", "P8-08")
@pytest.mark.parametrize("version", [1, 2])
def test_a_header_goes_before_everything_else(version: int) -> None:
    one, proxy, data = exchange(0, {"version": version, **ENDS})
    assert (one.remote_address, one.remote_port) == ("1.2.3.4", 5)
    assert (proxy.version, data) == (version, b"first last")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has named pipes")
def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    one, _, data = exchange(path, {"version": 1, **ENDS})
    assert (one.remote_address, data) == ("1.2.3.4", b"first last")
    _, proxy, data = exchange(path, {})
    assert (proxy.version, proxy.command, data) == (2, "PROXY", b"first last")
    _, proxy, data = exchange(path, {"source": "/from", "destination": "/to"})
    assert (proxy.source_path, proxy.destination_path) == ("/from", "/to")


def test_a_header_that_the_kernel_takes_in_parts_goes_first_all_the_same() -> None:
    options = {"tlvs": {0xE0: bytes(65000)}, **ENDS}
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    received = bytearray()
    server = net.create_server(proxy_protocol={"trusted": ["127.0.0.1"], "limit": 65551})

    @server.on("connection")
    def take(one: net.Socket) -> None:
        server.close()
        received.extend(one.proxy.tlvs.raw[0][1][:2])
        one.on("data", received.extend)

    port = listener.getsockname()[1]
    server.listen(fd=listener.detach())
    events = []
    client = net.connect(port, "127.0.0.1", proxy_protocol=options, send_buffer=4096)
    client.write(b"first ", lambda error: events.append(error))
    client.on("connect", lambda: client.end(b"last" * 100_000))
    client.on("close", events.append)
    client.resume()
    run()
    assert bytes(received) == b"\0\0first " + b"last" * 100_000
    assert events == [None, False]


def test_a_peer_that_resets_before_the_header_is_there_is_an_error() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    events: list[Any] = []
    client = net.connect(
        listener.getsockname()[1],
        "127.0.0.1",
        proxy_protocol={"tlvs": {0xE0: bytes(64000)}},
        send_buffer=4096,
    )
    client.on("error", lambda error: events.append(error.code))
    client.on("close", events.append)

    @client.on("connect")
    def connected() -> None:
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()

    client.resume()
    run()
    listener.close()
    assert events == ["ECONNRESET", True]


def test_each_connect_has_its_own_header() -> None:
    seen: list[Any] = []
    server = net.create_server(proxy_protocol={"trusted": ["127.0.0.1"]})

    @server.on("connection")
    def take(one: net.Socket) -> None:
        seen.append(one.remote_port)
        one.end()
        if len(seen) == 2:
            server.close()

    server.listen(0)
    client = net.Socket()
    options = {"port": server.address().port, "host": "127.0.0.1"}
    client.connect(
        options, proxy_protocol={"source": ("1.1.1.1", 1), "destination": ("1.1.1.1", 1)}
    )
    client.once("close", lambda had_error: client.connect(
        options, proxy_protocol={"source": ("1.1.1.1", 2), "destination": ("1.1.1.1", 1)},
    ))  # fmt: skip
    client.resume()
    run()
    assert seen == [1, 2]


def test_what_the_tlvs_say() -> None:
    ssl = {"verified": True, "version": "TLSv1.3", "common_name": "cn", "cipher": "c",
           "signature_algorithm": "s", "key_algorithm": "k"}  # fmt: skip
    tlvs = [("alpn", b"h2"), ("authority", "é"), ("unique_id", b"\0\xff"), ("netns", "ns"),
            ("ssl", ssl), (0xEA, b"\1vpce-1"), (0xEE, b"\1" + (5).to_bytes(4, "little")),
            (0xE0, b"x")]  # fmt: skip
    _, proxy, _ = exchange(0, {"tlvs": tlvs, **ENDS, "checksum": True})
    found = proxy["tlvs"]
    assert (found.alpn, found.authority, found.unique_id) == (b"h2", "é", b"\0\xff")
    assert (found.netns, found.aws_vpc_endpoint_id, found.azure_link_id) == ("ns", "vpce-1", 5)
    assert found.ssl == {
        "tls": True, "certificate": True, "verified": True, "verify": 0, "version": "TLSv1.3",
        "commonName": "cn", "cipher": "c", "signatureAlgorithm": "s", "keyAlgorithm": "k",
    }  # fmt: skip
    assert [kind for kind, _ in found.raw] == [1, 2, 5, 0x30, 0x20, 0xEA, 0xEE, 0xE0, 3]


def test_what_is_not_understood_is_left_in_raw() -> None:
    tlvs = [(2, b"\xff"), (0xEA, b"\2x"), (0xEE, b"\1abc"), (0x20, b"\0\0\0\0\1" + tlv(0x2F, b"x"))]
    _, proxy, _ = exchange(0, {"tlvs": tlvs, **ENDS})
    found = proxy["tlvs"]
    assert found.authority == "\\xff"
    assert "aws_vpc_endpoint_id" not in found
    assert "azure_link_id" not in found
    assert found.ssl == {"tls": False, "certificate": False, "verified": False, "verify": 1}
    assert found.raw == tlvs


def test_a_socket_without_a_header_has_none() -> None:
    assert net.Socket().proxy is None

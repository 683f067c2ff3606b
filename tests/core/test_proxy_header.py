"""PROXY headers: the parser against its model, and connections that wait for theirs."""

from __future__ import annotations

import gc
import socket
import struct
import sys
import time
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, next_tick, run, set_timeout
from pyuvnet._core.proxy_header import ProxyHeader, crc32c, parse
from tests.support import proxy as form
from tests.support.proxy import ipv4, ipv6, model, tlv, unix, v2, with_checksum

LINE = b"PROXY TCP4 1.2.3.4 5.6.7.8 5 9\r\n"
TRUSTED = ["127.0.0.1", "::1"]
RESET = struct.pack("ii", 1, 0)
HEADERS = {
    "v1 of IPv4": LINE,
    "v1 of IPv6": b"PROXY TCP6 2001:db8::1 ::2 5 9\r\n",
    "v1, longest": b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n",
    "v1, unknown": b"PROXY UNKNOWN\r\n",
    "v2 of IPv4": v2(ipv4()),
    "v2 of IPv6": v2(ipv6(), 0x21),
    "v2 of unix sockets": v2(unix(), 0x31),
    "v2 of datagrams": v2(ipv4(), 0x12),
    "v2, unspecified": v2(b"whatever", 0),
    "v2, local": v2(b"whatever", 0xFF, command=0),
    "v2 with TLVs": with_checksum(v2(ipv4()), tlv(1, b"h2") + tlv(4, b"") + tlv(0xE0, b"x")),
}
WRONG = {
    "nothing of the kind": b"GET / HTTP/1.1\r\n\r\n",
    "v1, lower case": b"proxy TCP4 1.2.3.4 5.6.7.8 5 9\r\n",
    "v1, two spaces": b"PROXY TCP4  1.2.3.4 5.6.7.8 5 9\r\n",
    "v1, a space behind": b"PROXY TCP4 1.2.3.4 5.6.7.8 5 9 \r\n",
    "v1, one word less": b"PROXY TCP4 1.2.3.4 5.6.7.8 5\r\n",
    "v1, no such family": b"PROXY TCP5 1.2.3.4 5.6.7.8 5 9\r\n",
    "v1, a family of the other": b"PROXY TCP6 1.2.3.4 5.6.7.8 5 9\r\n",
    "v1, leading zero": b"PROXY TCP4 1.2.3.4 5.6.7.8 05 9\r\n",
    "v1, port too large": b"PROXY TCP4 1.2.3.4 5.6.7.8 5 65536\r\n",
    "v1, zone": b"PROXY TCP6 fe80::1%lo ::2 5 9\r\n",
    "v1, only LF": b"PROXY TCP4 1.2.3.4 5.6.7.8 5 9\n\r\n",
    "v1, CR alone": b"PROXY TCP4 1.2.3.4\r5.6.7.8 5 9\r\n",
    "v2, another version": v2(ipv4())[:12] + b"\x31" + v2(ipv4())[13:],
    "v2, no such command": v2(ipv4(), command=2),
    "v2, no such family": v2(ipv4(), 0x41),
    "v2, no such transport": v2(ipv4(), 0x13),
    "v2, shorter than its addresses": v2(ipv4()[:11]),
    "v2, IPv6 shorter than its addresses": v2(ipv6()[:35], 0x21),
    "v2, unix shorter than its addresses": v2(unix()[:215], 0x31),
    "v2, a TLV longer than the rest": v2(ipv4() + b"\1\0\5abcd"),
    "v2, half a TLV": v2(ipv4() + b"\1\0"),
    "v2, a checksum of three bytes": v2(ipv4() + tlv(3, b"abc")),
    "v2, two checksums": with_checksum(with_checksum(v2(ipv4()))),
    "v2, unique id too long": v2(ipv4() + tlv(5, bytes(129))),
    "v2, SSL too short": v2(ipv4() + tlv(0x20, bytes(4))),
    "v2, SSL whose TLVs lie": v2(ipv4() + tlv(0x20, bytes(5) + b"\x21\0\xff")),
}


# ---- The parser ----------------------------------------------------------------------------------


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_each_beginning_of_a_header_may_be_one_and_what_follows_is_data(header: bytes) -> None:
    whole = parse(header, 4096)
    assert whole == model(header, 4096)
    assert whole is not None
    assert whole[0] == len(header)
    for cut in range(len(header)):
        assert parse(header[:cut], 4096) is None, cut
    for data in (b"x", header, b"\r\n", bytes(70_000)):
        assert parse(header + data, 4096) == whole


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_no_header_is_refused_and_no_beginning_of_it_is_one(data: bytes) -> None:
    assert parse(data, 4096) == "malformed"
    assert model(data, 4096) == "malformed"
    for cut in range(len(data)):
        assert parse(data[:cut], 4096) in (None, "malformed")


def test_a_header_is_refused_as_soon_as_no_more_bytes_can_help() -> None:
    assert parse(b"G", 4096) == "malformed"
    assert parse(b"PROXX", 4096) == "malformed"
    assert parse(v2(ipv4())[:12] + b"\x30", 4096) == "malformed"
    # The length alone says it.
    assert parse(v2(length=65535)[:16], 4096) == "too long"
    assert parse(v2(length=4081)[:16], 4096) == "too long"
    assert parse(v2(length=4080)[:16], 4096) is None
    assert parse(b"PROXY UNKNOWN " + b"x" * 92, 4096) == "too long"
    assert parse(b"PROXY UNKNOWN " + b"x" * 91, 4096) is None


def test_a_checksum_covers_each_bit() -> None:
    header = with_checksum(v2(ipv4()), tlv(1, b"h2"))
    assert isinstance(parse(header, 4096), tuple)
    for bit in range(16 * 8, len(header) * 8):
        wrong = bytearray(header)
        wrong[bit // 8] ^= 1 << bit % 8
        assert parse(wrong, 4096) == model(bytes(wrong), 4096)
        if bit < 28 * 8 or bit >= len(header) * 8 - 32:
            assert parse(wrong, 4096) == "checksum"


def test_the_crc_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283 == form.crc32c(b"123456789")
    assert crc32c(b"") == 0


def test_paths_end_at_their_first_nul_and_abstract_names_at_their_last_byte() -> None:
    assert parse(v2(unix(b"/a\0b", b"\0a\0b"), 0x31), 4096)[3:5] == (b"/a", b"\0a\0b")
    assert parse(v2(unix(b"", b"x" * 108), 0x31), 4096)[3:5] == (b"", b"x" * 108)


# ---- A server ------------------------------------------------------------------------------------


class Front:
    """A server that reads headers, and what it has heard."""

    def __init__(self, options: Any = None, **more: Any) -> None:
        self.heard: list[Any] = []
        self.sockets: list[net.Socket] = []
        self.server = net.create_server(
            {"proxy_protocol": {"trusted": TRUSTED} | (options or {}), **more}, self.take
        )
        self.server.on("drop", lambda info: self.heard.append((info.reason, info.get("detail"))))
        self.server.listen({"port": 0, "host": None})
        self.port = self.server.address().port

    def take(self, one: net.Socket) -> None:
        self.sockets.append(one)
        received = bytearray()
        one.on("data", received.extend)
        one.on("end", lambda: self.heard.append((one.remote_address, bytes(received))))
        one.on("error", lambda error: self.heard.append(error.code))

    def until(self, count: int) -> Front:
        """Run until so much was heard, then close."""

        def look() -> None:
            if len(self.heard) >= count:
                self.server.close()
            else:
                set_timeout(look, 1)

        look()
        run()
        return self


def peer(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def closed(one: socket.socket) -> bool:
    """Whether a connection ends with nothing to read; with a reset where bytes were unread."""
    try:
        return one.recv(1) == b""
    except ConnectionResetError:
        return True
    except BlockingIOError:
        return False


def when(wanted: Any, act: Any) -> None:
    """Act as soon as something is so."""
    if wanted():
        act()
    else:
        set_timeout(when, 1, wanted, act)


def said(front: Front, *data: bytes, end: bool = True) -> Front:
    """What the server hears of a peer that sends these, each once the one before has been read."""
    pending = list(data)
    with peer(front.port) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def step() -> None:
            if pending:
                one.sendall(pending.pop(0))
                # The poll and the read come between two immediates.
                pyuvnet.set_immediate(lambda: pyuvnet.set_immediate(step))
            elif end:
                one.shutdown(socket.SHUT_WR)

        next_tick(step)
        return front.until(1)


@pytest.mark.spec("P8-01", "P8-07")
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("data", [b"", b"data", b"\r\n" * 50_000], ids=["", "some", "much"])
def test_the_ends_are_those_of_the_header_and_what_follows_is_data(
    header: bytes, data: bytes
) -> None:
    front = said(Front(), header + data)
    expected = model(header, 4096)
    source = expected[3]
    if isinstance(source, tuple):
        assert front.heard == [(source[0], data)]
    else:
        own = "::ffff:127.0.0.1" if source is None else None
        assert front.heard == [(own, data)]
    (one,) = front.sockets
    assert (one.proxy.version, one.proxy.command) == expected[1:3]
    assert one.proxy.remote_address == "::ffff:127.0.0.1"
    assert one.proxy.local_port == front.port
    assert one.bytes_read == len(data)
    assert front.server.dropped == {}


def test_both_ends_are_known_while_the_connection_is_open() -> None:
    front = Front()
    seen = []
    front.server.on(
        "connection",
        lambda one: seen.append(
            (one.remote_address, one.remote_port, one.remote_family, one.local_address,
             one.local_port, one.local_family, dict(one.address()))
        ),
    )  # fmt: skip
    said(front, v2(ipv6(), 0x21))
    ends = ("2001:db8::1", 5, "IPv6", "::2", 9, "IPv6")
    assert seen == [(*ends, {"address": "::2", "port": 9, "family": "IPv6"})]


def test_a_header_of_unix_sockets_has_paths_and_no_addresses() -> None:
    (one,) = said(Front(), v2(unix(b"/a", b"\0b"), 0x31)).sockets
    assert (one.remote_address, one.remote_port, one.remote_family) == (None, None, None)
    assert (one.proxy.source_path, one.proxy.destination_path) == ("/a", "\0b")


@pytest.mark.spec("P8-04")
def test_local_keeps_the_connections_own_ends() -> None:
    front = Front()
    seen = []
    front.server.on("connection", lambda one: seen.append((one.local_port, one.remote_port)))
    (one,) = said(front, v2(ipv4(), command=0)).sockets
    assert seen == [(front.port, one.proxy.remote_port)]
    assert (one.proxy.command, one.proxy.tlvs.raw) == ("LOCAL", [])


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_may_come_one_byte_at_a_time(header: bytes) -> None:
    heard = said(Front(), *[bytes([byte]) for byte in header], b"data").heard
    assert [data for _, data in heard] == [b"data"]


def test_a_header_may_be_cut_anywhere_with_its_data_behind() -> None:
    header = with_checksum(v2(ipv4()), tlv(1, b"h2"))
    for cut in range(1, len(header), 5):
        assert said(Front(), header[:cut], header[cut:] + b"data").heard == [("1.2.3.4", b"data")]


@pytest.mark.spec("P8-05")
@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_is_no_header_is_dropped_and_counted(data: bytes) -> None:
    front = said(Front(), data, end=False)
    assert front.heard == [("proxy", "malformed")]
    assert front.sockets == []
    assert front.server.dropped == {"proxy": 1}


@pytest.mark.spec("P8-05")
def test_a_header_over_the_limit_is_dropped() -> None:
    long = v2(ipv4() + tlv(0xE0, bytes(5000)))
    assert said(Front(), long, end=False).heard == [("proxy", "too long")]
    assert said(Front({"limit": 6000}), long).heard == [("1.2.3.4", b"")]
    assert said(Front(), v2(length=65535), end=False).heard == [("proxy", "too long")]
    assert said(Front(), b"PROXY UNKNOWN" + b" " * 200, end=False).heard == [("proxy", "too long")]
    most = v2(ipv4() + tlv(0xE0, bytes(65535 - 15)))
    assert said(Front({"limit": 65551}), most, b"x").heard == [("1.2.3.4", b"x")]


def test_a_header_up_to_the_limit_in_pieces_is_taken_and_its_data_too() -> None:
    header = v2(ipv4() + tlv(0xE0, bytes(4096 - 16 - 12 - 3)))
    pieces = [header[at : at + 500] for at in range(0, 4096, 500)]
    pieces[-1] += b"data" * 5000
    assert said(Front(), *pieces).heard == [("1.2.3.4", b"data" * 5000)]


def test_a_wrong_checksum_is_dropped() -> None:
    wrong = bytearray(with_checksum(v2(ipv4())))
    wrong[-1] ^= 1
    assert said(Front(), bytes(wrong), end=False).heard == [("proxy", "checksum")]


@pytest.mark.spec("P8-05")
def test_a_late_header_is_dropped_however_often_a_byte_comes() -> None:
    front = Front({"timeout": 40})
    with peer(front.port) as one:
        one.sendall(v2(ipv4())[:3])
        sent = iter(v2(ipv4())[3:])
        drip = pyuvnet.set_interval(lambda: one.sendall(bytes([next(sent)])), 8)
        front.server.on("drop", lambda info: drip.close())
        front.until(1)
        assert front.heard == [("proxy", "late")]
        assert closed(one)


def test_a_header_in_time_ends_the_limit_of_time() -> None:
    front = Front({"timeout": 30})
    with peer(front.port) as one:
        one.sendall(LINE)
        front.server.on("connection", lambda _: set_timeout(lambda: one.shutdown(1), 60))
        assert front.until(1).heard == [("1.2.3.4", b"")]


@pytest.mark.parametrize("sent", [b"", LINE[:1], LINE[:-1], v2(ipv4())[:-1]])
def test_a_connection_that_ends_before_its_header_is_dropped(sent: bytes) -> None:
    assert said(Front(), sent).heard == [("proxy", "ended")]


@pytest.mark.parametrize("sent", [LINE[:1], LINE[:-1]])
def test_a_reset_before_the_header_is_whole_is_a_drop(sent: bytes) -> None:
    front = Front()
    one = peer(front.port)

    def reset() -> None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()

    one.sendall(sent)
    pyuvnet.set_immediate(lambda: pyuvnet.set_immediate(reset))
    assert front.until(1).heard == [("proxy", "ECONNRESET")]


@pytest.mark.spec("P1-14")
@pytest.mark.parametrize("in_time", [True, False])
def test_a_shutdown_waits_for_headers_until_its_time_is_up(in_time: bool) -> None:
    front = Front()
    results: list[net.ShutdownResult] = []
    shown: list[str] = []
    front.server.on("connection", lambda one: one.on("shutdown", lambda: shown.append("shutdown")))
    with peer(front.port) as one:
        one.sendall(LINE[:-1])

        def begin() -> None:
            if not front.server._awaiting:
                set_timeout(begin, 1)
                return
            front.server.shutdown(300, idle_grace=20, callback=results.append)
            if in_time:
                set_timeout(one.sendall, 60, LINE[-1:] + b"data")
                set_timeout(one.shutdown, 120, socket.SHUT_WR)

        begin()
        run()
        assert closed(one)
    (result,) = results
    if in_time:
        # It was accepted before, so it is served, hears of the shutdown, and is ended.
        assert shown == ["shutdown"]
        assert (result.ended, result.destroyed) == (1, 0)
        assert front.sockets[0].remote_address == "1.2.3.4"
    else:
        assert (shown, front.sockets) == ([], [])
        assert result.ended == 0
    assert front.server._awaiting == 0


@pytest.mark.spec("P4-10")
def test_deadlines_begin_when_the_header_is_there() -> None:
    front = Front(first_byte_timeout=120, idle_timeout=60_000)
    times: list[float] = []
    front.server.on("connection", lambda one: times.append(time.monotonic()))

    def closed(had_error: bool) -> None:
        times.append(time.monotonic())
        front.server.destroy_sockets()

    front.server.on("connection", lambda one: one.on("close", closed))
    with peer(front.port) as one, peer(front.port) as other:
        one.sendall(LINE[:-1])
        other.sendall(LINE + b"x")
        # Later than the deadline of a connection without a header would be.
        set_timeout(one.sendall, 250, LINE[-1:])
        front.until(1)
    assert front.heard[0] == "ERR_FIRST_BYTE_TIMEOUT"
    # The bytes behind a header are the first ones: the other connection has met its deadline.
    assert len(front.sockets) == 2
    assert front.sockets[1].errored is not None
    assert front.sockets[0].errored is None
    assert times[2] - times[1] >= 0.11


@pytest.mark.spec("P8-02")
def test_of_a_peer_that_is_not_trusted_no_header_is_read() -> None:
    front = Front({"trusted": ["10.0.0.0/8"], "required": False})
    (one,) = said(front, LINE + b"data").sockets
    assert front.heard == [("::ffff:127.0.0.1", LINE + b"data")]
    assert one.proxy is None


@pytest.mark.spec("P8-03")
def test_a_required_header_of_a_peer_that_is_not_trusted_is_a_drop() -> None:
    front = Front({"trusted": net.BlockList()})
    info: list[Any] = []
    front.server.on("drop", info.append)
    said(front, b"", end=False)
    assert front.heard == [("proxy", "untrusted")]
    assert (info[0].remote_address, info[0].local_port) == ("::ffff:127.0.0.1", front.port)


def test_who_is_trusted_may_change_while_the_server_runs() -> None:
    trusted = net.BlockList()
    front = Front({"trusted": trusted})
    trusted.add_address("127.0.0.1")
    assert said(front, LINE).heard == [("1.2.3.4", b"")]


@pytest.mark.spec("P8-06")
def test_the_block_list_matches_the_address_of_the_header_too() -> None:
    blocked = net.BlockList()
    blocked.add_subnet("1.2.3.0", 24)
    front = Front(block_list=blocked)
    drops: list[Any] = []
    front.server.on("drop", lambda info: drops.append(info.remote_address))
    with peer(front.port) as one, peer(front.port) as other:
        one.sendall(LINE + b"data")
        other.sendall(LINE.replace(b"1.2.3.4", b"1.2.4.4"))
        other.shutdown(socket.SHUT_WR)
        front.until(2)
    assert set(front.heard) == {("block_list", None), ("1.2.4.4", b"")}
    assert drops == ["1.2.3.4"]
    assert front.server.dropped == {"block_list": 1}


def test_the_block_list_matches_the_connections_own_address_first() -> None:
    blocked = net.BlockList()
    blocked.add_address("127.0.0.1")
    front = Front(block_list=blocked)
    with peer(front.port) as one:
        one.sendall(LINE)
        next_tick(look := lambda: front.server.close() if front.server.dropped
                  else set_timeout(look, 1))  # fmt: skip
        run()
    assert front.heard == [("block_list", None)]
    assert front.server.dropped == {"block_list": 1}


def test_a_connection_that_waits_counts_for_max_connections() -> None:
    front = Front()
    front.server.max_connections = 1
    with peer(front.port) as one, peer(front.port) as other:
        front.server.removeAllListeners("drop")
        front.server.on("drop", lambda info: front.heard.append(info.get("reason")))
        other.sendall(b"x")
        one.sendall(LINE[:5])
        front.until(1)
        assert front.heard == [None]
        assert front.server.dropped == {"max_connections": 1}


def test_close_ends_the_connections_that_wait_and_close_comes() -> None:
    front = Front()
    events: list[str] = []
    front.server.on("close", lambda: events.append("close"))
    peers = [peer(front.port) for _ in range(20)]
    for one in peers:
        one.sendall(LINE[:7])

    def close() -> None:
        front.server.close()
        assert front.server.listening is False

    when(lambda: front.server._awaiting == 20, close)
    run()
    assert (events, front.heard, front.sockets) == (["close"], [], [])
    for one in peers:
        with one:
            assert closed(one)


def test_hundreds_that_send_nothing_leave_the_others_be() -> None:
    front = Front({"timeout": 200}, pause_on_connect=False)
    idle = [peer(front.port) for _ in range(400)]
    with peer(front.port) as one:
        one.sendall(LINE + b"data")
        one.shutdown(socket.SHUT_WR)
        front.until(401)
    assert front.heard.index(("1.2.3.4", b"data")) == 0
    assert front.heard[1:] == [("proxy", "late")] * 400
    for each in idle:
        each.close()


def test_a_socket_that_begins_paused_has_its_data_when_it_is_resumed() -> None:
    front = Front(pause_on_connect=True)
    front.server.on("connection", lambda one: set_timeout(one.resume, 20))
    assert said(front, LINE + b"data").heard == [("1.2.3.4", b"data")]


def test_data_behind_the_header_are_cut_into_frames() -> None:
    frames: list[bytes] = []
    server = net.create_server(proxy_protocol={"trusted": TRUSTED}, framing=pyuvnet.framing.Lines())

    @server.on("connection")
    def take(one: net.Socket) -> None:
        one.on("data", frames.append)
        one.on("end", server.close)

    server.listen(0)
    with peer(server.address().port) as one:
        one.sendall(LINE + b"a\nb\nc")
        one.shutdown(socket.SHUT_WR)
        run()
    assert frames == [b"a", b"b", b"c"]


def test_a_listener_that_raises_is_reported_and_the_server_goes_on() -> None:
    raised: list[BaseException] = []
    pyuvnet.set_exception_handler(raised.append)
    front = Front()

    @front.server.on("connection")
    def fail(one: net.Socket) -> None:
        raise ValueError("of the program")

    said(front, LINE + b"data")
    assert [str(error) for error in raised] == ["of the program"]
    assert front.heard == [("1.2.3.4", b"data")]


def test_a_listener_may_destroy_the_socket_or_close_the_server() -> None:
    for act in ("destroy", "close"):
        front = Front()
        front.server.prepend_listener(
            "connection", lambda one, act=act, front=front:
            (one.destroy() if act == "destroy" else None, front.server.close()),
        )  # fmt: skip
        with peer(front.port) as one:
            one.sendall(LINE + b"data")
            one.shutdown(socket.SHUT_WR)
            run()
        assert front.heard == ([] if act == "destroy" else [("1.2.3.4", b"data")])


def test_a_connection_without_listeners_stays() -> None:
    server = net.create_server(proxy_protocol={"trusted": TRUSTED}).listen(0)
    with peer(server.address().port) as one:
        one.sendall(LINE + b"data")
        when(
            lambda: [each.readable_length for each in server.sockets] == [4],
            lambda: server.close().destroy_sockets(),
        )
        run()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has named pipes")
def test_over_a_unix_socket_everybody_is_trusted(tmp_path: Any) -> None:
    path = str(tmp_path / "s")
    heard: list[Any] = []
    server = net.create_server(proxy_protocol={"trusted": net.BlockList()})

    @server.on("connection")
    def take(one: net.Socket) -> None:
        heard.append((one.remote_address, one.local_port, one.proxy.remote_address))
        one.on("data", heard.append)
        one.on("end", server.close)

    server.on("drop", lambda info: heard.append((info.reason, info.detail)))
    server.listen(path)
    wrong = socket.socket(socket.AF_UNIX)
    wrong.connect(path)
    wrong.sendall(b"x")
    right = socket.socket(socket.AF_UNIX)
    right.connect(path)
    right.sendall(LINE + b"data")
    right.shutdown(socket.SHUT_WR)
    run()
    wrong.close()
    right.close()
    assert heard == [("proxy", "malformed"), ("1.2.3.4", 9, None), b"data"]


def test_a_coroutine_reads_what_came_with_the_header() -> None:
    heard: list[Any] = []

    async def serve(one: net.Socket) -> None:
        async with one:
            heard.append((one.remote_address, await one.read_line()))

    async def main() -> None:
        async with net.create_server(serve, proxy_protocol={"trusted": TRUSTED}) as server:
            server.listen(0)
            client = await net.promises.connect(
                server.address().port, "127.0.0.1", proxy_protocol={"version": 1}
            )
            client.end("hello\nthere")
            async for _ in client:
                pass
            server.close()

    run(main())
    assert heard == [("127.0.0.1", b"hello")]


def test_a_reconnect_forgets_the_header() -> None:
    front = Front()
    server = net.create_server(lambda one: one.end()).listen(0)

    def again(had_error: bool) -> None:
        (one,) = front.sockets
        one.connect(server.address().port, "127.0.0.1")
        one.once("connect", lambda: front.heard.append((one.remote_port, one.proxy)))
        one.once("close", lambda had_error: server.close())
        one.resume()

    front.server.on("connection", lambda one: (one.once("close", again), one.destroy()))
    with peer(front.port) as one:
        one.sendall(LINE)
        port = server.address().port
        front.until(1)
    assert front.heard[0] == (port, None)


def test_a_loop_that_is_closed_closes_the_connections_that_wait() -> None:
    def play() -> None:
        front = Front()
        with peer(front.port) as one:
            when(lambda: front.server._awaiting, pyuvnet.stop)
            run()
            pyuvnet.current_loop().close()
            assert closed(one)

    play()
    gc.collect()
    # The handle and its layer referred to each other.
    assert not [each for each in gc.get_objects() if type(each) is ProxyHeader]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"", LINE[:20], v2(ipv4())[:20]], ids=["nothing", "v1", "v2"])
def test_thousands_that_never_finish_their_header(sent: bytes) -> None:
    """They are gone after the time limit, cost little, and the others are served meanwhile."""
    count, served = 3000, 20
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 3 * count:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3 * count, hard))
    front = Front({"timeout": 3000})
    idle: list[socket.socket] = []

    def attack() -> None:
        if len(idle) > front.server._awaiting + len(front.heard):
            # A queue that overflows would leave some that nobody ever accepts.
            pyuvnet.set_immediate(attack)
            return
        for _ in range(100):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", front.port))
            idle.append(one)
        if sent:
            for one in idle[-200:-100]:
                one.send(sent)
        if len(idle) < count:
            pyuvnet.set_immediate(attack)
        else:
            for _ in range(served):
                net.connect(front.port, "127.0.0.1", proxy_protocol={"source": ("1.2.3.4", 5),
                            "destination": ("5.6.7.8", 9)}).end("data").resume()  # fmt: skip

    before = resident()
    attack()
    most = []
    front.server.on("connection", lambda one: most.append((front.server._awaiting, resident())))
    try:
        front.until(count + served)
    finally:
        for one in idle:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert front.heard.count(("1.2.3.4", b"data")) == served
    assert front.heard.count(("proxy", "late")) == count
    assert most[-1][0] > count // 2
    # Less than a socket each: a handle, its layer, its timer, and what was sent.
    assert most[-1][1] - before < count * 3000 + (4 << 20)


def resident() -> int:
    """The memory of this process, in bytes; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096
    except FileNotFoundError:
        return 0

"""A second owner of handles, which is neither a Socket nor a Stream: plain, and with TLS."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from pyuvnet._core import tls as layer
from pyuvnet._core.deadlines import Limits
from tests.support.tls import ready_server
from tests.support.transports import load

Transport, Listener = load("transport").Transport, load("transport_listener").Listener
CONTEXT = ready_server(ssl.CERT_NONE)
CALLS = layer.Calls(
    hello=lambda transport, name, protocols: None,
    secured=lambda transport: transport.layer.accept(),
    failed=lambda transport, error, secure: transport.abort(),
    ticket=lambda transport: None,
    write_failed=lambda transport, error: error,
)


class Protocol:
    """Notes what the transport calls, and answers by the functions of the test."""

    def __init__(self, said: list[Any]) -> None:
        self.said, self.got = said, bytearray()
        self.made: Any = lambda: None
        self.data: Any = lambda: None
        self.resumed: Any = lambda: None
        self.stays = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made()

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.data()

    def eof_received(self) -> bool:
        self.said.append("end")
        return self.stays

    def pause_writing(self) -> None:
        self.said.append("pause")

    def resume_writing(self) -> None:
        self.said.append("resume")
        self.resumed()

    def connection_lost(self, error: Any) -> None:
        self.said.append(error if error is None else error.code)


class Case:
    """A listener whose connections are transports, each with this case's protocol."""

    def __init__(self, secure: bool) -> None:
        self.secure, self.said = secure, list[Any]()
        self.protocol = Protocol(self.said)

    def listen(self, **options: Any) -> Any:
        self.listener = Listener(pyuvnet.current_loop(), self.accepted, **options)
        return self.listener

    def accepted(self, handle: Any, proxy: Any) -> None:
        self.listener.close()
        added = layer.add_tls(handle, CALLS) if self.secure else None
        transport = Transport(handle, self.protocol, proxy)
        transport.layer = added
        transport.start()
        if added is not None:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            made = CONTEXT.wrap_bio(incoming, outgoing, server_side=True)
            added.start(made, incoming, outgoing)

    def connect(self, data: bytes = b"", **options: Any) -> Any:
        """The peer, a socket, whose bytes are in `peer_got`."""
        options |= {"port": self.listener.port, "host": "127.0.0.1"}
        peer = (
            tls.connect(**options, reject_unauthorized=False)
            if self.secure
            else net.connect(**options)
        )
        self.peer_got = bytearray()
        peer.on("data", self.peer_got.extend)
        peer.on("end", lambda: self.said.append("peer: end"))
        peer.on("error", lambda error: self.said.append(f"peer: {error.code}"))
        if data:
            peer.write(data)
        return peer


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_it_echoes_and_closes(case: Case) -> None:
    def answer() -> None:
        transport = case.protocol.transport
        transport.write(bytes(case.protocol.got[:2]))
        transport.write(bytes(case.protocol.got[2:]))
        transport.close()
        transport.write(b"too late")

    case.listen()
    case.connect(b"hello")
    case.protocol.data = answer
    pyuvnet.run()
    assert case.peer_got == b"hello"
    assert case.said == ["peer: end", None] or case.said == [None, "peer: end"]


def test_a_writer_waits_between_the_marks(case: Case) -> None:
    chunk, count = bytes(50_000), 200
    left = [count]

    def feed() -> None:
        while left[0] and (not case.said or case.said[-1] != "pause"):
            left[0] -= 1
            case.protocol.transport.write(chunk)
        if not left[0]:
            case.protocol.transport.close()

    case.listen()
    case.connect(b"go")
    case.protocol.data = case.protocol.resumed = feed
    pyuvnet.run()
    assert len(case.peer_got) == len(chunk) * count
    assert case.said.count("pause") > 1
    assert 0 <= case.said.count("pause") - case.said.count("resume") <= 1


def test_the_peer_ends_first(case: Case) -> None:
    case.listen()
    case.connect(b"x").end()
    pyuvnet.run()
    assert case.said in (["end", "peer: end", None], ["end", None, "peer: end"])


def test_abort_loses_the_connection_at_once(case: Case) -> None:
    case.listen()
    case.connect(b"x")
    case.protocol.data = lambda: (case.protocol.transport.abort(), case.said.append("aborted"))
    pyuvnet.run()
    assert case.said[:2] == ["aborted", None]
    assert case.protocol.transport.handle is None


def test_its_bytes_are_counted_for_it_and_for_its_listener(case: Case) -> None:
    figures: list[Any] = []

    def answer() -> None:
        case.protocol.transport.write(b"abc")
        figures.append(case.listener.figures)
        case.protocol.transport.close()

    case.listen()
    peer = case.connect(b"hello")
    case.protocol.data = answer
    pyuvnet.run()
    received, sent, (address, port, _) = case.protocol.transport.figures
    assert (received, sent, address) == (5, 3, "127.0.0.1")
    assert port == peer.local_port or port
    assert figures == [(5, 0, 1)]
    assert case.listener.figures == (5, 3, 0)
    assert case.listener.gone == 1


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(idle=100), "ERR_SOCKET_IDLE"),
        (Limits(rate_bytes=100, rate_ms=100), "ERR_TOO_SLOW"),
        (None, "ERR_DEADLINE"),
    ],
    ids=["idle", "rate", "deadline"],
)
def test_its_deadlines_pass(case: Case, clock: Any, limits: Any, code: str) -> None:
    case.listen(limits=limits)
    case.connect(b"x")
    if limits is None:
        case.protocol.made = lambda: case.protocol.transport.set_deadline(100)
    pyuvnet.run()
    assert code in case.said
    assert clock.now < 1000


def test_a_lifetime_that_is_over_closes_it(case: Case, clock: Any) -> None:
    case.listen(limits=Limits(lifetime=100))
    case.connect(b"x")
    pyuvnet.run()
    assert None in case.said
    assert "peer: end" in case.said
    assert clock.now < 1000


def test_a_block_list_keeps_a_peer_out(case: Case) -> None:
    blocked = net.BlockList()
    blocked.add_address("127.0.0.1")
    listener = case.listen(block_list=blocked)
    case.connect().on("close", lambda _: listener.close())
    pyuvnet.run()
    assert (listener.dropped, listener.figures) == (1, (0, 0, 0))
    assert not hasattr(case.protocol, "transport")


def test_a_proxy_header_names_the_peer(case: Case) -> None:
    case.listen(proxy=True)
    ends = {"source": ("192.0.2.7", 7), "destination": ("192.0.2.8", 8)}
    case.connect(b"hello", proxy_protocol={"version": 1, **ends})
    case.protocol.data = lambda: case.protocol.transport.close()
    pyuvnet.run()
    assert case.protocol.got == b"hello"
    assert case.protocol.transport.figures[2] == ("192.0.2.7", 7, "IPv4")
    assert case.protocol.transport.proxy[0].startswith(b"PROXY TCP4 192.0.2.7")


def test_a_connection_changes_its_owner_with_all_that_belongs_to_it(case: Case) -> None:
    second = Protocol(case.said)

    def pass_on() -> None:
        first = case.protocol.transport
        first.set_deadline(400)
        passed = first.pass_on(second)
        passed.layer = first.layer
        passed.start()
        peer.write(b"more")

    case.listen()
    peer = case.connect(b"hello")
    case.protocol.data = pass_on
    pyuvnet.run()
    assert (case.protocol.got, second.got) == (b"hello", b"more")
    assert case.protocol.transport.figures[0] == 5
    assert second.transport.figures[0] == 9
    assert "ERR_DEADLINE" in case.said
    assert (case.listener.gone, case.listener.figures[2]) == (1, 0)

"""TLS servers and the hosts they stand for: who is let in, and by which context."""

from __future__ import annotations

import contextlib
import socket as posix
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from pyuvnet.errors import ArgValueError
from tests.support.certificates import certificates
from tests.support.tls import client_context, ready_server, shake, with_clients

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


# ---- Clients' certificates -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"request_cert": True, "reject_unauthorized": False}])
@pytest.mark.parametrize("way", ["add_context", "sni_callback"])
def test_a_ready_context_of_one_host_asks_for_certificates(
    way: str, options: dict[str, Any]
) -> None:
    strict = ready_server(ssl.CERT_REQUIRED)

    def play(port: int) -> None:
        for own, expected in ((False, b""), (True, b"hi")):
            context = client_context(VERSIONS[1], own)
            assert shake(port, "admin.example", None, context)[2] == expected

    if way == "add_context":
        server = tls.create_server(**KEYS, **options)
        server.add_context("admin.example", strict)
    else:
        server = tls.create_server(**KEYS, **options, sni_callback=lambda name, callback: strict)
    assert with_clients(server, play) == ["refused", ("admin.example", True)]


@pytest.mark.parametrize(
    "option",
    [
        {"request_cert": True},
        {"reject_unauthorized": False},
        {"alpn_protocols": ["h2"]},
        {"alpn_callback": lambda info: None},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_a_ready_context_decides_is_no_option(option: dict[str, Any]) -> None:
    with pytest.raises(ArgValueError, match="cannot be used with context"):
        tls.create_server(context=ready_server(ssl.CERT_NONE), **option)


def test_a_ready_context_cannot_do_less_than_its_server() -> None:
    lax = ready_server(ssl.CERT_NONE)
    server = tls.create_server(**KEYS, ca=PKI / "ca.pem", request_cert=True)
    for call in (
        lambda: server.add_context("a.example", lax),
        lambda: server.set_secure_context(context=lax),
    ):
        with pytest.raises(ArgValueError, match="request_cert"):
            call()
    server = tls.create_server(**KEYS, alpn_protocols=["h2"])
    with pytest.raises(ArgValueError, match="ALPN"):
        server.add_context("a.example", lax)
    rules = {"ca": PKI / "ca.pem", "request_cert": True}
    socket = tls.TLSSocket(net.Socket(), {**KEYS, **rules, "is_server": True})
    with pytest.raises(ArgValueError, match="request_cert"):
        socket.set_key_cert(lax)
    socket.on("error", lambda error: None)
    pyuvnet.run()


def test_a_ready_context_of_one_host_lets_nobody_in_whom_the_server_refuses() -> None:
    server = tls.create_server(**KEYS, ca=PKI / "ca.pem", request_cert=True)
    for context in (ready_server(ssl.CERT_NONE), ready_server(ssl.CERT_OPTIONAL)):
        with pytest.raises(ArgValueError, match="request_cert"):
            server.add_context("a.example", context)
    server.add_context("a.example", ready_server(ssl.CERT_REQUIRED))
    lenient = {"ca": PKI / "ca.pem", "request_cert": True, "reject_unauthorized": False}
    server = tls.create_server(**KEYS, **lenient)
    server.add_context("a.example", ready_server(ssl.CERT_OPTIONAL))
    # Options have none of the verify_mode of a ready one.
    server = tls.create_server(context=ready_server(ssl.CERT_REQUIRED))
    for call in (
        lambda: server.add_context("a.example", KEYS),
        lambda: server.set_secure_context(KEYS),
        lambda: server.set_secure_context(context=ready_server(ssl.CERT_OPTIONAL)),
    ):
        with pytest.raises(ArgValueError, match="request_cert"):
            call()
    server.set_secure_context(context=ready_server(ssl.CERT_REQUIRED))


@pytest.mark.parametrize("way", ["add_context", "sni_callback"])
def test_a_certificate_that_was_revoked_is_refused_at_a_host(way: str, tmp_path: Path) -> None:
    config = tmp_path / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=c\n[c]\ndatabase={tmp_path}/index\ndefault_md=sha256\n"
        "default_crl_days=100\n"
    )
    (tmp_path / "index").write_text("")
    authority = ["-cert", PKI / "ca.pem", "-keyfile", PKI / "ca.key"]
    command = ["openssl", "ca", "-config", config, *authority]
    for step in (["-revoke", PKI / "client.pem"], ["-gencrl", "-out", tmp_path / "crl.pem"]):
        subprocess.run([*command, *step], check=True, capture_output=True)
    host = tls.create_secure_context(**KEYS, ca=PKI / "ca.pem", crl=tmp_path / "crl.pem")
    rules = {"ca": PKI / "ca.pem", "request_cert": True}
    if way == "add_context":
        server = tls.create_server(**KEYS, **rules)
        server.add_context("a.example", host)
    else:
        server = tls.create_server(
            **KEYS,
            **rules,
            sni_callback=lambda name, callback: callback(None, host if name[0] == "a" else None),
        )

    def play(port: int) -> None:
        for name, expected in (("b.example", b"hi"), ("a.example", b"")):
            context = client_context(VERSIONS[1], True)
            assert shake(port, name, None, context)[2] == expected

    assert with_clients(server, play) == [("b.example", True), "refused"]


def test_a_server_without_a_certificate_is_nobody() -> None:
    """There are suites without certificates; a program's context may have them."""
    said: list[Any] = []
    contexts = [ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)]
    for context in contexts:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
    contexts[1].check_hostname = False
    contexts[1].load_verify_locations(PKI / "ca.pem")
    assert contexts[1].verify_mode == ssl.CERT_REQUIRED
    server = tls.create_server({"context": contexts[0]}, lambda socket: socket.resume()).listen(0)
    server.on("tlsClientError", lambda error, socket: said.append("refused"))
    client = tls.connect(server.address().port, "127.0.0.1", context=contexts[1])
    client.on("secureConnect", lambda: (said.append("secure"), client.destroy()))
    client.on("error", lambda error: said.append(error.code))
    client.on("close", lambda had_error: server.close().destroy_sockets())
    pyuvnet.run()
    assert said[0] == "UNABLE_TO_GET_ISSUER_CERT"
    assert "secure" not in said
    assert not client.authorized


# ---- The hello and the time of a handshake -------------------------------------------------------


def test_a_hello_in_crumbs_is_refused_before_it_costs_anything() -> None:
    def play(port: int) -> None:
        crumb = b"\x16\x03\x01\x00\x01"
        with posix.create_connection(("127.0.0.1", port), 20) as peer:
            start = b"".join(crumb + bytes((each,)) for each in (1, 0, 255, 0))
            peer.sendall(start + (crumb + b"\x00") * 2000)
            with contextlib.suppress(ConnectionError):
                # An alert: illegal_parameter.
                assert peer.recv(1000)[-1:] in (b"", b"\x2f")

    assert with_clients(tls.create_server(**KEYS), play) == ["refused"]


EMPTY = b"\x16\x03\x01\x00\x00"
OF_SSL_2 = bytes.fromhex("8032 01 0303 0009 0000 0020 00c02c 00c02b 00002f") + bytes(range(32))


@pytest.mark.spec("D240")
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (lambda record: record, ["b.example"]),
        (lambda record: EMPTY + record, ["b.example"]),
        (lambda record: record[:3] + b"\0\x09" + record[5:14] + EMPTY + record[:3]
            + (len(record) - 14).to_bytes(2, "big") + record[14:], ["b.example"]),
        # OpenSSL accepts these, with the context of no name. Nothing of it may leave.
        (lambda record: EMPTY + b"\x14\x03\x01\x00\x00" + record, "ERR_SSL_UNEXPECTED_MESSAGE"),
        (lambda record: OF_SSL_2, "ERR_SSL_UNEXPECTED_MESSAGE"),
        (lambda record: OF_SSL_2 + b"junk of any kind", "ERR_SSL_UNEXPECTED_MESSAGE"),
        # What OpenSSL refuses has its name for it.
        (lambda record: b"\x14\x03\x01\x00\x00" + record, "ERR_SSL_UNEXPECTED_MESSAGE"),
        (lambda record: record[:43] + b"\xff" + record[44:], "ERR_SSL_LENGTH_MISMATCH"),
    ],
    ids=["as it is", "empty before", "empty inside", "another type", "SSL 2", "more behind",
         "one that is empty", "broken"],
)  # fmt: skip
def test_no_record_on_the_way_passes_by_the_choice(
    changed: Callable[[bytes], bytes], expected: Any
) -> None:
    asked: list[Any] = []
    codes: list[str] = []
    answers: list[bytes] = []

    def choose(name: str) -> Any:
        asked.append(name)

    def failed(error: Any, socket: Any) -> None:
        codes.append(error.code)

    def play(port: int) -> None:
        outgoing = ssl.MemoryBIO()
        client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="b.example")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        with posix.create_connection(("127.0.0.1", port), 20) as peer:
            peer.sendall(changed(outgoing.read()))
            answers.append(peer.recv(7))

    context = client_context(ssl.TLSVersion.TLSv1_2, False)
    # The form of SSL 2 has no curves, so that it needs a suite and a level without them.
    server = tls.create_server(
        key=PKI / "rsa.key",
        cert=PKI / "rsa.pem",
        ciphers="ALL:@SECLEVEL=0",
        sni_callback=lambda name, callback: callback(None, choose(name)),
    )
    server.on("tlsClientError", failed)
    with_clients(server, play)
    if isinstance(expected, list):
        assert (asked, answers[0][:1]) == (expected, b"\x16")
    else:
        assert (asked, codes, answers[0][:1]) == ([], [expected], b"\x15")


@pytest.mark.spec("D166")
def test_a_handshake_of_a_server_made_by_hand_has_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyuvnet._tls import rules as _tls_rules

    monkeypatch.setattr(_tls_rules, "SERVER_TIMEOUT", 40)
    codes: list[str] = []

    def accepted(plain: Any) -> None:
        server.close()
        secure = tls.TLSSocket(plain, is_server=True, **KEYS)
        secure.on("error", lambda error: codes.append(error.code))

    server = net.create_server(accepted).listen(0)
    with posix.create_connection(("127.0.0.1", server.address().port)):
        pyuvnet.run()
    assert codes == ["ERR_TLS_HANDSHAKE_TIMEOUT"]


def test_clients_cannot_fill_memory_with_protocols() -> None:
    made = tls.create_secure_context(KEYS)
    first = made._variant(True, ("first",), False, True)
    for number in range(200):
        made._variant(True, (f"p{number}",), False, True)
        assert made._variant(True, ("first",), False, True) is first
    assert len(made._made) <= 20


def test_handshakes_that_wait_have_a_deadline_too() -> None:
    codes: list[str] = []

    def failed(error: Any, socket: Any) -> None:
        codes.append(error.code)
        if len(codes) == 2:
            server.close()

    server = tls.create_server(KEYS, max_handshakes=1, handshake_timeout=50)
    server.on("tlsClientError", failed)
    server.listen(0)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(posix.create_connection(("127.0.0.1", server.address().port)))
        pyuvnet.run()
    assert codes == ["ERR_TLS_HANDSHAKE_TIMEOUT"] * 2
    assert not server._waiting


# The first bytes of a ClientHello of 4 KiB, which never comes to its end.
HELLO = b"\x01\x00\x10\x00\x03\x03" + bytes(4000)


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [bytes([byte]) for byte in b"\x16\x03\x01\x0f\xff" + HELLO],
        [b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in HELLO],
    ],
    ids=["silent", "bytes", "records"],
)
def test_a_handshake_that_stands_still_makes_room_for_another(
    pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyuvnet._tls import server as _tlsserver

    monkeypatch.setattr(_tlsserver, "STALLED", 50)
    events: list[Any] = []
    answers: list[Any] = []

    def secure(socket: Any) -> None:
        events.append(socket.servername)
        socket.end()
        if socket.servername == "localhost":
            # The peer of this one is not what its handshake waits for.
            answers.pop()(None, None)

    def connect(name: str) -> None:
        options = {**TRUST, "servername": name, "check_server_identity": lambda *_: None}
        client = tls.connect(port=server.address().port, host="127.0.0.1", **options)
        client.resume()
        client.on("close", lambda had_error: name == "slow.example" and server.close())

    def listening() -> None:
        connect("slow.example")

    def choose(name: str, callback: Any) -> None:
        if name == "localhost":
            callback(None, None)
            return
        answers.append(callback)
        for _ in range(3):
            silent = net.connect(server.address().port, "127.0.0.1")
            silent.on("error", lambda error: None)
            silent.resume()
            silent.once("connect", partial(stalled, silent))

    def stalled(silent: net.Socket) -> None:
        rest = iter(pieces)
        timer = pyuvnet.set_interval(lambda: silent.write(next(rest, b"")), 20)
        silent.on("close", lambda had_error: timer.close())
        connected.append(1)
        if len(connected) == 3:
            connect("localhost")

    connected: list[int] = []
    raised: list[BaseException] = []
    server = tls.create_server(
        KEYS, max_handshakes=2, handshake_timeout=20_000, sni_callback=choose
    )

    def failed(error: Any, socket: Any) -> None:
        events.append(error.code)
        # What a listener raises does not keep the others waiting.
        raise LookupError

    server.on("secureConnection", secure)
    server.on("tlsClientError", failed)
    pyuvnet.set_exception_handler(raised.append)
    started = time.monotonic()
    server.listen(0, "127.0.0.1", listening)
    try:
        pyuvnet.run()
    finally:
        pyuvnet.set_exception_handler(None)
    assert [type(error) for error in raised] == [LookupError] * 3
    assert events.count("ERR_TLS_HANDSHAKE_TIMEOUT") == 3
    assert events[-2:] == ["localhost", "slow.example"]
    assert time.monotonic() - started < 20


@pytest.mark.spec("D155", "D242")
@pytest.mark.parametrize("transport", ["TCP", "path", "STARTTLS"])
@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        (["destroy_soon"], ["finish", "close"]),
        (["end", "destroy_soon"], ["finish", "close"]),
        (["write", "destroy_soon"], ["ERR_TLS_HANDSHAKE_TIMEOUT", "close"]),
        (["end"], ["ERR_TLS_HANDSHAKE_TIMEOUT", "close"]),
        ([], ["ERR_TLS_HANDSHAKE_TIMEOUT", "close"]),
    ],
    ids=lambda value: "-".join(value) or "nothing",
)
@pytest.mark.parametrize("early", [False, True], ids=["connected", "connecting"])
def test_a_client_whose_peer_is_silent_comes_to_its_end(
    calls: list[str], expected: list[str], early: bool, transport: str, tmp_path: Path
) -> None:
    events: list[str] = []
    peers: list[Any] = []

    def accepted(socket: Any) -> None:
        peers.append(socket.resume())
        server.close()

    def act() -> None:
        for name in calls:
            getattr(client, name)(*([b"data"] if name == "write" else []))

    server = net.create_server(accepted)
    where: dict[str, Any] = {"path": str(tmp_path / "s")} if transport == "path" else {"port": 0}
    server.listen(**where)
    if transport != "path":
        where = {"port": server.address().port, "host": "127.0.0.1"}
    if transport == "STARTTLS":
        where = {"socket": net.connect(**where)}
    # Where it must not matter, it is longer than any test.
    timeout = 100 if "ERR_TLS_HANDSHAKE_TIMEOUT" in expected else 1_000_000
    client = tls.connect(**where, **TRUST, handshake_timeout=timeout)
    client.on("error", lambda error: events.append(error.code))
    client.on("finish", lambda: events.append("finish"))
    client.on("close", lambda had_error: (events.append("close"), peers[0].destroy()))
    if early:
        act()
    else:
        client.once("connect", act)
    pyuvnet.run()
    assert events == expected


# ---- The choice of a host ------------------------------------------------------------------------


def test_an_answer_from_another_thread_is_refused() -> None:
    outcome: list[Any] = []

    def choose(name: str, callback: Any) -> None:
        def answer() -> None:
            try:
                callback(None, None)
            except Exception as error:
                outcome.append(error.code)  # type: ignore[attr-defined]

        thread = threading.Thread(target=answer)
        thread.start()
        thread.join()
        callback(None, None)

    def connect() -> None:
        client = tls.connect(server.address().port, "127.0.0.1", TRUST).resume()
        client.on("end", client.end)

    server = tls.create_server(
        KEYS, lambda socket: (server.close(), socket.end()), sni_callback=choose
    )
    server.listen(0, "127.0.0.1", connect)
    pyuvnet.run()
    assert outcome == ["ERR_WRONG_THREAD"]


def host_chosen(callback: Any, **options: Any) -> tuple[list[Any], Any]:
    """One client of a server that chooses by name: what the two say, and what came out of run()."""
    said: list[Any] = []
    raised = None
    server = tls.create_server(
        KEYS, lambda socket: (server.close(), socket.end("hi")), sni_callback=callback, **options
    )
    server.on("tlsClientError", lambda error, socket: (said.append(error), server.close()))
    server.listen(0)
    client = tls.connect(server.address().port, "127.0.0.1", TRUST)
    client.on("data", lambda data: said.append(bytes(data)))
    client.on("error", lambda error: None)
    client.on("close", lambda had_error: server.close())
    try:
        pyuvnet.run()
    except BaseException as exc:
        raised = exc
        pyuvnet.run()
    return said, raised


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_choice_of_a_host_ends_the_handshake(kind: type[BaseException]) -> None:
    def choose(name: str, callback: Any) -> None:
        raise kind

    said, raised = host_chosen(choose)
    assert type(raised) is kind
    assert [error.code for error in said] == ["ERR_SSL_INTERRUPTED"]


def test_what_a_choice_raises_after_its_answer_comes_out_and_the_answer_stands() -> None:
    def choose(name: str, callback: Any) -> None:
        callback(None, None)
        raise RuntimeError("after")

    said, raised = host_chosen(choose)
    assert str(raised) == "after"
    assert said == [b"hi"]


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_in_the_choice_of_a_protocol_ends_the_handshake(late: bool) -> None:
    def protocol(offer: Any) -> str:
        raise KeyboardInterrupt

    def choose(name: str, callback: Any) -> None:
        if late:
            pyuvnet.set_timeout(callback, 5, None, None)
        else:
            callback(None, None)

    said: list[Any] = []
    server = tls.create_server(KEYS, alpn_callback=protocol, sni_callback=choose).listen(0)
    server.on("tlsClientError", lambda error, socket: said.append(error.code))
    server.on("secureConnection", lambda socket: said.append("secure"))
    client = tls.connect(server.address().port, "127.0.0.1", **TRUST, alpn_protocols=["a"])
    client.on("error", lambda error: said.append("client"))
    client.on("close", lambda had_error: server.close())
    with pytest.raises(KeyboardInterrupt):
        pyuvnet.run()
    pyuvnet.run()
    assert "client" in said
    assert "secure" not in said


def test_a_choice_that_is_cancelled_ends_the_handshake() -> None:
    import asyncio

    tasks: list[Any] = []

    async def choose(name: str, callback: Any) -> None:
        task = asyncio.current_task()
        tasks.append(task)
        await asyncio.sleep(600)

    async def main() -> list[str]:
        codes: list[str] = []
        closed = asyncio.Event()
        server = tls.create_server(KEYS, sni_callback=choose).listen(0)
        client = tls.connect(server.address().port, "127.0.0.1", TRUST)
        client.on("error", lambda error: codes.append(error.code))
        client.on("close", lambda had_error: closed.set())
        while not tasks:
            await asyncio.sleep(0)
        tasks[0].cancel()
        await closed.wait()
        server.close()
        return codes

    assert asyncio.run(main()) == ["ECONNRESET"]


def test_new_keys_of_a_server_are_not_those_of_another_with_the_same_context() -> None:
    names: list[Any] = []
    shared = tls.create_secure_context(KEYS)
    servers = [
        tls.create_server({"secure_context": shared}, lambda socket: socket.end()) for _ in range(2)
    ]

    def ask(index: int) -> None:
        client = tls.connect(
            servers[index].address().port, "127.0.0.1", reject_unauthorized=False
        ).resume()
        client.on("secureConnect", lambda: names.append(client.get_peer_certificate().subject.CN))
        client.on("end", client.end)
        client.on("close", lambda had_error: then.pop(0)())

    def renew() -> None:
        servers[0].set_secure_context(key=PKI / "other.key", cert=PKI / "other.pem")
        ask(0)

    def close() -> None:
        for server in servers:
            server.close()

    then: list[Callable[[], object]] = [lambda: ask(1), renew, lambda: ask(1), close]
    for server in servers:
        server.listen(0)
    ask(0)
    pyuvnet.run()
    assert names == ["localhost", "localhost", "other.example", "localhost"]


def test_an_sni_callback_cannot_choose_a_clients_context() -> None:
    wrong = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def play(port: int) -> None:
        assert shake(port, "a.example", None, client_context(VERSIONS[1], False))[2] == b""

    server = tls.create_server(**KEYS, sni_callback=lambda name, callback: wrong)
    assert with_clients(server, play) == ["refused"]


@pytest.mark.parametrize("way", ["add_context", "sni_callback"])
def test_the_versions_of_a_server_are_those_of_all_its_hosts(way: str) -> None:
    def play(port: int) -> None:
        for version, expected in zip(VERSIONS, (b"", b"hi"), strict=True):
            context = client_context(version, False)
            assert shake(port, "a.example", None, context)[2] == expected

    host = tls.create_secure_context(KEYS)
    if way == "add_context":
        server = tls.create_server(**KEYS, min_version="TLSv1.3")
        server.add_context("a.example", host)
    else:
        server = tls.create_server(
            **KEYS, min_version="TLSv1.3", sni_callback=lambda name, callback: host
        )
    assert with_clients(server, play) == ["refused", ("a.example", False)]

"""What stands between two peers with TLS: it flips bits, cuts, repeats, and loses what they say.

Nothing but TLSError, or an error of the connection, comes out on either side; no byte of the data
is wrong; nothing is left behind.
"""

from __future__ import annotations

import gc
import random
import socket as posix
import struct
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, tls
from tests.support.certificates import certificates

PKI = certificates()
VERSIONS = ["TLSv1.2", "TLSv1.3"]
QUESTION = bytes(range(256)) * 20
ANSWER = QUESTION[::-1]
GONE = {"ECONNRESET", "EPIPE", "ERR_TLS_TRUNCATED", "ECANCELED"}
HEADER = 5

Change = Callable[[bytearray, int, bool], bytes | None]


class Between:
    """A connection through something that changes what passes.

    Args:
        change: called with what was said since, how much was before that, and whether the client
            says it; returns what is passed on, or None to end the connection there.
    """

    def __init__(self, version: str, change: Change, reset: bool = False) -> None:
        self.change, self.reset = change, reset
        self.version = version
        self.errors: list[tuple[str, Any]] = []
        self.got = {"client": bytearray(), "server": bytearray()}
        self.said = {"client": bytearray(), "server": bytearray()}
        self.raised: list[BaseException] = []
        self.closed: list[str] = []
        self.open: list[Any] = []
        self.waited = False

    def run(self) -> Between:
        pyuvnet.set_exception_handler(self.raised.append)
        context = server_context(self.version)
        self.server = tls.create_server(
            self.secure, secure_context=context, handshake_timeout=3000, require_close_notify=True
        )
        self.server.on("tlsClientError", self.failed)
        self.server.listen(0)
        self.middle = net.create_server({"allow_half_open": True}, self.pass_on).listen(0)
        client = tls.connect(
            port=self.middle.address().port,
            require_close_notify=True,
            servername="localhost",
            secure_context=CONTEXTS["client"],
        )
        self.watch("client", client)
        client.write(QUESTION)
        # A record that seems to be longer: its end never comes, as over a slow network.
        self.limit = pyuvnet.set_timeout(self.wait_no_more, 400)
        try:
            pyuvnet.run()
        finally:
            pyuvnet.set_exception_handler(None)
        return self

    def secure(self, socket: Any) -> None:
        self.watch("server", socket)

    def failed(self, error: Any, socket: Any) -> None:
        self.errors.append(("server", error))
        self.over("server")

    def watch(self, name: str, socket: Any) -> None:
        def data(chunk: bytes) -> None:
            self.got[name] += chunk
            if name == "server" and len(self.got[name]) == len(QUESTION):
                socket.end(ANSWER)

        self.open.append(socket)
        socket.on("data", data)
        socket.on("error", lambda error: self.errors.append((name, error)))
        socket.on("close", lambda had_error: self.over(name))

    def over(self, name: str) -> None:
        self.closed.append(name)
        if len(self.closed) == 2 or (name == "client" and not self.server.sockets):
            self.finish()

    def wait_no_more(self) -> None:
        self.waited = True
        self.finish()

    def finish(self) -> None:
        self.limit.close()
        self.server.close()
        self.middle.close()
        for socket in [*self.open, *self.server.sockets, *self.middle.sockets]:
            socket.destroy()

    def pass_on(self, front: Any) -> None:
        self.middle.close()
        back = net.connect(self.server.address().port, "127.0.0.1", allow_half_open=True)
        self.open += [front, back]
        for source, target, name in ((front, back, "client"), (back, front, "server")):
            source.on("data", lambda data, s=source, t=target, n=name: self.heard(s, t, n, data))
            source.on("end", target.end)
            source.on("error", lambda error: None)
            source.on("close", lambda had_error, t=target: t.destroy_soon())

    def heard(self, source: Any, target: Any, name: str, data: bytes) -> None:
        before = len(self.said[name])
        self.said[name] += data
        passed = self.change(bytearray(data), before, name == "client")
        if target.destroyed or target.writable_ended:
            return
        if passed is not None:
            target.write(passed)
            return
        for socket in (source, target):
            if not self.reset:
                socket.end()
            elif not socket.destroyed and not socket.pending:
                socket.reset_and_destroy()

    def check(self) -> None:
        """What holds whatever was done."""
        assert not self.raised, self.raised
        assert QUESTION.startswith(bytes(self.got["server"]))
        assert ANSWER.startswith(bytes(self.got["client"]))
        for name, error in self.errors:
            assert isinstance(error, tls.TLSError) or error.code in GONE, (name, repr(error))
        stats = self.server.stats()
        assert (stats.open, stats.accepted - stats.closed) == (0, 0)


CONTEXTS: dict[Any, Any] = {
    "client": tls.create_secure_context(ca=PKI / "ca.pem"),
}


def server_context(version: str) -> Any:
    if version not in CONTEXTS:
        CONTEXTS[version] = tls.create_secure_context(
            key=PKI / "server.key", cert=PKI / "server.pem", max_version=version
        )
    return CONTEXTS[version]


def untouched(version: str) -> Between:
    both = Between(version, lambda data, before, client: bytes(data)).run()
    both.check()
    assert both.errors == []
    assert (both.got["server"], both.got["client"]) == (QUESTION, ANSWER)
    return both


def boundaries(said: bytes) -> list[int]:
    """Where records begin and end."""
    found, at = [0], 0
    while at + HEADER <= len(said):
        at += HEADER + int.from_bytes(said[at + 3 : at + 5], "big")
        found.append(at)
    assert at == len(said)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_changed(version: str) -> None:
    untouched(version)


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_connection_is_cut_at_each_record(version: str, who: str, reset: bool) -> None:
    """At the boundary, a byte before it and after it, and behind the header."""
    places = {
        place + offset
        for place in boundaries(bytes(untouched(version).said[who]))
        for offset in (-1, 0, 1, HEADER)
        if place + offset >= 0
    }
    assert len(places) > 10
    for place in sorted(places):

        def cut(data: bytearray, before: int, client: bool, place: int = place) -> bytes | None:
            if client is not (who == "client"):
                return bytes(data)
            if before >= place:
                return None
            return bytes(data[: place - before])

        both = Between(version, cut, reset)
        # What comes behind the place is seen as the end of the connection at once.
        heard = both.heard

        def hear(
            source: Any, target: Any, name: str, data: bytes, both: Any = both, heard: Any = heard,
            place: int = place,
        ) -> None:  # fmt: skip
            heard(source, target, name, data)
            if name == who and len(both.said[name]) >= place:
                heard(source, target, name, b"\0")

        both.heard = hear  # type: ignore[method-assign]
        both.run().check()
        whole = len(both.got["server"]) == len(QUESTION), len(both.got["client"]) == len(ANSWER)
        # A side that has not had all has an error.
        assert all(whole) or both.errors, (place, whole)
        assert not both.waited, place


def flips(chance: random.Random, said: int) -> Change:
    """One bit of either side."""
    who, bit = chance.random() < 0.5, chance.randrange(said * 8)

    def change(data: bytearray, before: int, client: bool) -> bytes:
        place = bit // 8 - before
        if client is who and 0 <= place < len(data):
            data[place] ^= 1 << bit % 8
        return bytes(data)

    return change


def mangles(chance: random.Random, said: int) -> Change:
    """Some bytes are lost, repeated, exchanged, or were never said."""
    who, place, size = chance.random() < 0.5, chance.randrange(said), chance.choice([1, 5, 60, 400])
    how = chance.choice(["lose", "repeat", "exchange", "add"])

    def change(data: bytearray, before: int, client: bool) -> bytes:
        at = place - before
        if client is not who or not 0 <= at < len(data):
            return bytes(data)
        part = data[at : at + size]
        if how == "lose":
            part = bytearray()
        elif how == "repeat":
            part *= 2
        elif how == "exchange":
            part.reverse()
        else:
            part = bytearray(chance.randbytes(size)) + part
        return bytes(data[:at] + part + data[at + size :])

    return change


@pytest.mark.parametrize("kind", [flips, mangles])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "seeds", [range(12), pytest.param(range(12, 250), marks=pytest.mark.full)], ids=["few", "many"]
)
@pytest.mark.timeout(300)
def test_what_is_changed_is_an_error_and_no_data(version: str, kind: Any, seeds: range) -> None:
    size = min(map(len, untouched(version).said.values()))
    failed = 0
    for seed in seeds:
        chance = random.Random(f"{seed} {version} {kind.__name__}")
        both = Between(version, kind(chance, size)).run()
        try:
            both.check()
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
        failed += bool(both.errors)
        assert both.errors or both.waited or both.got["client"] == ANSWER
    # Most of it matters.
    assert failed > len(seeds) // 2


def test_failures_leave_nothing_behind() -> None:
    def objects() -> int:
        gc.collect()
        return sum(type(each).__name__ in ("TLSSocket", "TLS", "Socket", "SSLObject")
                   for each in gc.get_objects())  # fmt: skip

    chance = random.Random(3)
    size = min(map(len, untouched("TLSv1.3").said.values()))
    before = objects()
    for _ in range(20):
        Between("TLSv1.3", flips(chance, size)).run()
    assert objects() <= before


# ---- Records -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"\x17\x03\x03\x48\x01", id="too long"),
        pytest.param(b"\x17\x03\x03\xff\xff", id="much too long"),
        pytest.param(b"\x17\x03\x03\x00\x00" * 3000, id="empty, in the clear"),
        pytest.param(b"\x17\x03\x03\x00\x20" + bytes(32), id="not of the key"),
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", id="an alert in the clear"),
        pytest.param(b"\x16\x03\x03\x00\x04\0\0\0\0", id="a renegotiation"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="text"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_that_is_none_ends_the_connection_at_once(version: str, record: bytes) -> None:
    """Nothing waits for the rest of a record that may not be."""
    added: list[int] = []

    def add(data: bytearray, before: int, client: bool) -> bytes:
        # Behind the first answer of the server all keys are known.
        if not client and both.got["server"] and not added:
            added.append(before)
            return record + bytes(data)
        return bytes(data)

    both = Between(version, add)
    both.run().check()
    assert added
    assert [name for name, error in both.errors if isinstance(error, tls.TLSError)]
    assert not both.got["client"]


def test_records_of_the_maximum_size_pass() -> None:
    """Of 16 KiB each, from the standard library's engine, which fills them."""
    import ssl
    import threading

    got = bytearray()
    data = random.Random(1).randbytes(16384 * 20)

    def send(port: int) -> None:
        context = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
        with (
            posix.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(data)
            secure.unwrap()

    server = tls.create_server(secure_context=server_context("TLSv1.3"))
    server.on("secureConnection", lambda s: (s.on("data", got.extend), server.close()))
    server.listen(0)
    thread = threading.Thread(target=send, args=(server.address().port,))
    thread.start()
    pyuvnet.run()
    thread.join()
    assert got == data


@pytest.mark.slow
def test_hundreds_that_stall_at_any_place_cost_their_time_and_no_more() -> None:
    """Each has sent a part of its first message; a good client is served meanwhile."""
    server = tls.create_server(secure_context=server_context("TLSv1.3"), handshake_timeout=300)
    codes: list[str] = []
    server.on("tlsClientError", lambda error, socket: codes.append(error.code))
    server.on("secureConnection", lambda socket: socket.on("error", print).end("served"))
    server.listen(0)
    hello = hello_of()
    peers = []
    for number in range(300):
        peer = posix.create_connection(("127.0.0.1", server.address().port))
        peer.sendall(hello[: number % len(hello)])
        peers.append(peer)
    got: list[bytes] = []

    def look() -> None:
        if len(codes) == len(peers):
            server.close()
        else:
            pyuvnet.set_timeout(look, 20)

    client = tls.connect(
        port=server.address().port, servername="localhost", secure_context=CONTEXTS["client"]
    )
    client.on("data", got.append)
    look()
    pyuvnet.run()
    for peer in peers:
        peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    assert got == [b"served"]
    assert set(codes) == {"ERR_TLS_HANDSHAKE_TIMEOUT"}
    assert server.stats().open == 0


def hello_of() -> bytes:
    import ssl

    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    bare = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        bare.do_handshake()
    return outgoing.read()

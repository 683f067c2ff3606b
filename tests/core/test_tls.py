"""The TLS layer: records up and down, both ends, failures; the peer is Python's ssl."""

from __future__ import annotations

import contextlib
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._core import tls as layer

PEM = Path(__file__).resolve().parent.parent / "localhost.pem"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
IDS = ["1.2", "1.3"]


def context(server: bool, version: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = made.maximum_version = version
    if server:
        made.load_cert_chain(PEM)
    else:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def bare(server: bool, version: ssl.TLSVersion) -> tuple[ssl.SSLObject, Any, Any]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    made = context(server, version).wrap_bio(incoming, outgoing, server_side=server)
    return made, incoming, outgoing


class Near(net.Socket):
    """A socket with the layer: the least that TLSSocket does with it."""

    said: list[Any]
    layer: Any = None
    hello: Any = None
    verify: Callable[[], object] | None = None
    when_secure: Callable[[], object] | None = None

    def _hello(self, servername: str | None, protocols: list[str]) -> None:
        self.said.append(("hello", servername, protocols))
        self.hello()

    def _secured(self) -> None:
        self.said.append("secure")
        if self.verify is not None:
            self.verify()
        self.layer.accept()
        if self.when_secure is not None:
            self.when_secure()

    def _tls_failed(self, error: Any, secure: bool) -> None:
        self.said.append(("failed", type(error).__name__, secure))
        self.destroy()

    def _ticket(self) -> None:
        self.said.append("ticket")

    def _write_failed(self, error: BaseException) -> BaseException:
        self.said.append(("write failed", type(error).__name__))
        error.code = "ODD"  # type: ignore[attr-defined]
        return error


CALLS = layer.Calls(
    hello=lambda near, servername, protocols: near._hello(servername, protocols),
    secured=lambda near: near._secured(),
    failed=lambda near, error, secure: near._tls_failed(error, secure),
    ticket=lambda near: near._ticket(),
    write_failed=lambda near, error: near._write_failed(error),
)


class Talk:
    """One connection: `near` has the layer, `far` is a plain socket with an SSLObject."""

    def __init__(
        self,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        server: bool = True,
        path: str | None = None,
        start: bool = True,
        cut: int = 0,
        held: bool = False,
        **options: Any,
    ) -> None:
        self.version, self.server, self.options, self.cut = version, server, options, cut
        self.start, self.path, self.held = start, path, held
        self.begun = False
        self.got = bytearray()
        self.seen = bytearray()
        self.chunks: list[bytes] = []
        self.events: list[Any] = []
        self.tls, self.incoming, self.outgoing = bare(not server, version)
        self.secure = False
        self.queue = bytearray()
        self.far: Any = None
        self.near: Any = None
        self.busy = False
        self.engine: Callable[[Any, Any], Any] = lambda made, outgoing: made
        self.when_secure: Callable[[], object] = lambda: None
        self.when_far: Callable[[], object] = lambda: None
        self.when_far_ends: Callable[[], object] = lambda: None

    # ---- The far end ----

    def push(self) -> None:
        """Send what the far engine has made, in pieces of `cut` bytes, one a turn."""
        self.queue += self.outgoing.read()
        if not self.cut:
            if self.queue and not self.far.destroyed:
                self.far.write(bytes(self.queue))
                self.queue.clear()
        elif not self.busy:
            self.busy = True
            self.trickle()

    def trickle(self) -> None:
        if self.queue and not self.far.destroyed:
            self.far.write(bytes(self.queue[: self.cut]))
            del self.queue[: self.cut]
            pyuvnet.set_immediate(self.trickle)
        else:
            self.busy = False

    def send(self, data: bytes) -> None:
        for start in range(0, len(data), 16384):
            self.tls.write(data[start : start + 16384])
        self.push()

    def end(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        self.push()

    def arrived(self, data: bytes) -> None:
        self.seen += data
        self.incoming.write(data)
        try:
            if not self.secure:
                self.tls.do_handshake()
                self.secure = True
                self.push()
                self.when_far()
            while chunk := self.tls.read(65536):
                self.got += chunk
            self.events.append("far end")
            self.when_far_ends()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.events.append("far end")
        except ssl.SSLError as error:
            self.events.append(("far", error.reason or str(error)))
        self.push()

    # ---- The near end ----

    def both(self) -> None:
        if self.far is None or self.near.connecting or self.begun:
            return
        self.begun = True
        self.far.set_no_delay()
        self.far.on("data", self.arrived)
        self.far.on("error", lambda error: self.events.append(("far error", error.code)))
        near = self.near
        near.when_secure = self.secured
        if self.options.get("reads_hello"):
            if not self.held:
                near.layer.go_on()
        elif self.start:
            made, incoming, outgoing = bare(self.server, self.version)
            near.layer.start(self.engine(made, outgoing), incoming, outgoing)
        if not self.server:
            return
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.push()

    def dress(self, handle: Any) -> None:
        self.near.layer = layer.add_tls(handle, CALLS, **self.options)

    def secured(self) -> None:
        self.when_secure()

    def run(self) -> Talk:
        def accepted(far: net.Socket) -> None:
            self.far = far
            server.close()
            self.both()

        def data(chunk: bytes) -> None:
            self.chunks.append(chunk)

        server = net.create_server({"allow_half_open": True}, accepted)
        server.listen(self.path) if self.path else server.listen(0)
        near = self.near = Near(self.near_options if hasattr(self, "near_options") else None)
        near.said = self.events
        near._set_dress(self.dress)
        near.on("data", data)
        for event in ("end", "finish", "drain", "timeout"):
            near.on(event, lambda event=event: self.events.append(event))
        near.on("error", lambda error: self.events.append(("error", error.code)))
        near.on("close", lambda had_error: (self.events.append("close"), self.far.destroy()))
        near.on("connect", self.both)
        near.connect(self.path) if self.path else near.connect(server.address().port, "127.0.0.1")
        pyuvnet.run()
        return self


@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("cut", [0, 1, 7], ids=["whole", "bytes", "sevens"])
def test_both_sides_speak_and_end(version: ssl.TLSVersion, server: bool, cut: int) -> None:
    talk = Talk(version, server, cut=cut)

    def begin() -> None:
        talk.near.write(b"question")
        talk.near.end()

    talk.when_secure = begin
    talk.when_far = lambda: talk.send(b"answer")
    talk.when_far_ends = talk.end
    talk.run()
    assert talk.got == b"question"
    assert b"".join(talk.chunks) == b"answer"
    assert sorted(map(str, talk.events)) == ["close", "end", "far end", "finish", "secure"]
    assert b"question" not in talk.seen


@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
def test_megabytes_go_both_ways_though_the_kernel_takes_them_in_parts(
    version: ssl.TLSVersion, server: bool
) -> None:
    talk = Talk(version, server)
    down = [bytes([number]) * (100_000 + number) for number in range(40)]
    up = bytes(range(256)) * 16_000
    done: list[int] = []

    def begin() -> None:
        for number, chunk in enumerate(down):
            talk.near.write(chunk, lambda error, number=number: done.append(number))
        talk.near.write(b"end")
        talk.near.end()

    talk.when_secure = begin
    talk.when_far = lambda: talk.send(up)
    talk.when_far_ends = talk.end
    talk.run()
    assert talk.got == b"".join(down) + b"end"
    assert b"".join(talk.chunks) == up
    assert done == list(range(40))
    assert talk.near.bytes_written == len(talk.got)
    assert talk.near.bytes_read == len(up)


@pytest.mark.parametrize("corked", [False, True], ids=["collected", "corked"])
def test_small_chunks_share_a_record(corked: bool) -> None:
    talk = Talk()

    def begin() -> None:
        talk.seen.clear()
        if corked:
            talk.near.cork()
        for number in range(60):
            talk.near.write(bytes([number]) * 10)
        if corked:
            talk.near.uncork()
        talk.near.end()

    # In a callback, where writes are collected.
    talk.when_far = lambda: talk.send(b"go")
    talk.when_far_ends = talk.end
    talk.when_secure = lambda: talk.near.once("data", lambda chunk: begin())
    talk.run()
    assert talk.got == b"".join(bytes([number]) * 10 for number in range(60))
    assert records(talk.seen)[-2:] == [(23, 600 + 17), (23, 2 + 17)]


def records(data: bytes) -> list[tuple[int, int]]:
    """The type and length of each record."""
    found = []
    while data:
        kind, length = data[0], struct.unpack(">H", data[3:5])[0]
        found.append((kind, length))
        data = data[5 + length :]
    return found


def test_a_thousand_tiny_records_of_one_read_are_one_chunk() -> None:
    talk = Talk()

    def many() -> None:
        for number in range(1000):
            talk.tls.write(bytes([number & 255]))
        talk.push()
        talk.end()

    talk.when_far = many
    talk.run()
    assert b"".join(talk.chunks) == bytes(number & 255 for number in range(1000))
    assert len(talk.chunks) <= 3


def test_thousands_of_empty_records_are_refused_or_skipped() -> None:
    talk = Talk(ssl.TLSVersion.TLSv1_2)

    def many() -> None:
        for _ in range(2000):
            talk.tls.write(b"")
        talk.send(b"data")
        talk.end()

    talk.when_far = many
    talk.run()
    assert talk.events[-1] == "close"


@pytest.mark.parametrize("strict", [False, True])
def test_an_end_without_close_notify_is_an_end_unless_one_is_required(strict: bool) -> None:
    talk = Talk(strict=strict)
    talk.when_far = lambda: (talk.send(b"all?"), talk.far.end())
    talk.run()
    assert b"".join(talk.chunks) == b"all?"
    assert (("failed", "NoneType", True) in talk.events) is strict
    assert ("end" in talk.events) is not strict
    assert talk.near.layer.truncated


def test_what_has_come_of_a_record_is_no_data() -> None:
    talk = Talk(strict=True)

    def cut() -> None:
        talk.tls.write(b"whole")
        talk.far.write(talk.outgoing.read()[:-1])
        talk.far.end()

    talk.when_far = cut
    talk.run()
    assert talk.chunks == []
    assert ("failed", "NoneType", True) in talk.events


@pytest.mark.parametrize("strict", [False, True])
def test_a_peer_that_answers_our_end_with_a_bare_one_has_ended(strict: bool) -> None:
    """It need not say more; but where that is required, 'end' would say that its data are whole."""
    talk = Talk(strict=strict)
    talk.when_secure = lambda: talk.near.end(b"done")
    talk.when_far_ends = lambda: talk.far.end()
    talk.run()
    assert talk.got == b"done"
    assert talk.events == ["secure", "finish", "far end", *["end"][strict:], "close"]


def test_an_answer_that_is_cut_after_our_end_is_an_error() -> None:
    talk = Talk(strict=True)
    talk.when_secure = lambda: talk.near.end(b"question")
    talk.when_far_ends = lambda: (talk.send(b"half of the ans"), talk.far.end())
    talk.run()
    assert ("failed", "NoneType", True) in talk.events
    assert "end" not in talk.events


@pytest.mark.spec("D159")
def test_a_peer_that_never_answers_our_end_is_left_after_a_second(loop: pyuvnet.Loop) -> None:
    talk = Talk()
    talk.when_secure = lambda: talk.near.end(b"done")
    talk.run()
    assert talk.got == b"done"
    assert talk.events == ["secure", "finish", "far end", "close"]


@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
def test_a_peer_that_we_do_not_read_is_not_silent(version: ssl.TLSVersion, clock: Any) -> None:
    size = 8_000_000
    talk = Talk(version)

    def read_late() -> None:
        talk.near.pause()
        talk.near.end(b"question")
        pyuvnet.set_timeout(talk.near.resume, 1200)

    talk.when_secure = read_late
    talk.when_far_ends = lambda: (talk.send(bytes(size)), talk.end())
    talk.run()
    assert sum(map(len, talk.chunks)) == size
    assert talk.events == ["secure", "finish", "far end", "end", "close"]


@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
def test_a_peer_is_not_silent_while_the_loop_is_busy(version: ssl.TLSVersion) -> None:
    talk = Talk(version)
    talk.when_secure = lambda: talk.near.end(b"question")
    talk.when_far_ends = lambda: (talk.send(b"answer"), time.sleep(1.2), talk.end())
    talk.run()
    assert b"".join(talk.chunks) == b"answer"
    assert talk.events == ["secure", "finish", "far end", "end", "close"]


@pytest.mark.spec("D159")
def test_a_peer_is_silent_once_it_is_read_again(clock: Any) -> None:
    talk = Talk()

    def read_late() -> None:
        talk.near.pause()
        talk.near.end(b"done")
        pyuvnet.set_timeout(talk.near.resume, 1200)

    talk.when_secure = read_late
    talk.run()
    assert talk.events == ["secure", "finish", "far end", "close"]


@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
def test_data_come_after_our_end_while_the_peer_has_not_ended(version: ssl.TLSVersion) -> None:
    talk = Talk(version)
    talk.when_secure = lambda: talk.near.end(b"question")
    talk.when_far_ends = lambda: (talk.send(b"a late answer"), talk.end())
    talk.run()
    assert b"".join(talk.chunks) == b"a late answer"
    assert talk.events == ["secure", "finish", "far end", "end", "close"]


def test_a_reset_after_the_handshake_is_the_error_of_the_read() -> None:
    talk = Talk()
    talk.when_far = lambda: pyuvnet.set_immediate(talk.far.reset_and_destroy)
    talk.run()
    assert ("error", "ECONNRESET") in talk.events


@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("way", ["end", "reset_and_destroy"])
def test_a_peer_gone_in_the_handshake(server: bool, way: str) -> None:
    talk = Talk(server=server)

    def gone(data: bytes) -> None:
        getattr(talk.far, way)()

    talk.arrived = gone  # type: ignore[method-assign]
    talk.run()
    error = "NoneType" if way == "end" else "ConnectionResetError"
    assert ("failed", error, False) in talk.events
    assert "secure" not in talk.events


@pytest.mark.parametrize(
    "junk",
    [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(100), bytes(10), b"\x15" * 50],
)
@pytest.mark.parametrize("hello", [False, True], ids=["engine", "hello"])
def test_what_is_no_tls_fails_with_an_error_of_the_engine(junk: bytes, hello: bool) -> None:
    talk = Talk(reads_hello=hello)
    talk.push = lambda: talk.far.write(junk)  # type: ignore[method-assign]
    talk.arrived = lambda data: talk.seen.extend(data)  # type: ignore[method-assign]
    Near.hello = lambda near: near.layer.start(*bare(True, talk.version))
    talk.run()
    assert ("failed", "SSLError", False) in talk.events
    assert talk.events[-1] == "close"


@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
def test_junk_after_the_handshake_fails(version: ssl.TLSVersion) -> None:
    for junk in (b"plain text", b"\x17\x03\x03\xff\xff", b"\x17\x03\x03\x00\x20" + bytes(32)):
        talk = Talk(version)
        talk.when_far = lambda junk=junk, talk=talk: talk.far.write(junk)
        talk.run()
        assert any(entry[0] == "failed" and entry[2] for entry in talk.events), junk
        assert talk.chunks == []


@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
@pytest.mark.parametrize(
    "parts",
    [
        (b"\x17", b"junk"),
        (b"\x17", b"\x00"),
        (b"\x17\x03", b"\x03\xff\xff" + bytes(100_000)),
        (b"\x17\x03\x03\xff", b"\xff"),
        (b"\x17", b"\x03", b"\x03", b"\xff", b"\xff", b"\x00"),
    ],
    ids=["two", "nothing more", "much more", "the last byte", "bytes"],
)
def test_what_is_no_record_fails_in_however_many_parts_it_comes(
    version: ssl.TLSVersion, parts: tuple[bytes, ...]
) -> None:
    """Else all of what follows would be kept."""
    talk = Talk(version)

    def send(left: tuple[bytes, ...]) -> None:
        if talk.near.destroyed:
            return
        if left:
            talk.far.write(left[0])
            turns(6, lambda: send(left[1:]))
        else:
            # Nobody has ended it.
            talk.near.destroy()

    talk.when_far = lambda: send(parts)
    talk.run()
    assert ("failed", "SSLError", True) in talk.events or (
        "failed", "StateError", True) in talk.events  # fmt: skip
    assert talk.chunks == []


def turns(count: int, then: Callable[[], object]) -> None:
    if count:
        pyuvnet.set_immediate(turns, count - 1, then)
    else:
        then()


@pytest.mark.spec("D160")
def test_a_handshake_record_after_the_handshake_is_refused() -> None:
    talk = Talk(ssl.TLSVersion.TLSv1_2)
    talk.when_far = lambda: talk.far.write(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00")
    talk.run()
    assert ("failed", "StateError", True) in talk.events


def test_writes_before_the_handshake_leave_after_it_in_order() -> None:
    talk = Talk(server=False)
    done: list[int] = []

    def connected() -> None:
        for number in range(5):
            talk.near.write(bytes([number]) * 20_000, lambda error, n=number: done.append(n))
        talk.near.end()
        assert done == []

    talk.when_far_ends = talk.end
    talk.when_secure = lambda: talk.events.append(("done", list(done)))
    both = talk.both
    talk.both = lambda: (both(), talk.near.layer and connected())  # type: ignore[method-assign]
    talk.run()
    assert ("done", []) in talk.events
    assert done == list(range(5))
    assert talk.got == b"".join(bytes([number]) * 20_000 for number in range(5))


def test_writes_that_no_handshake_released_fail() -> None:
    talk = Talk(server=False)
    errors: list[Any] = []
    talk.arrived = lambda data: talk.far.end()  # type: ignore[method-assign]
    both = talk.both

    def write() -> None:
        both()
        if talk.near.layer is not None:
            for _ in range(3):
                talk.near.write(b"secret", lambda error: errors.append(error))

    talk.both = write  # type: ignore[method-assign]
    talk.run()
    assert len(errors) == 3
    assert all(errors)
    assert b"secret" not in talk.seen


@pytest.mark.parametrize("event", ["secure", "data", "end", "drain", "written", "finish"])
@pytest.mark.parametrize("server", [True, False], ids=["server", "client"])
def test_each_callback_may_destroy_the_socket(event: str, server: bool) -> None:
    talk = Talk(server=server)

    def begin() -> None:
        if event == "secure":
            talk.near.destroy()
            return
        talk.near.once(event, lambda *args: talk.near.destroy())
        big = bytes(3_000_000)
        talk.near.write(big, lambda error: event == "written" and talk.near.destroy())
        if event == "finish":
            talk.near.end()

    talk.when_secure = begin
    talk.when_far = lambda: (talk.send(bytes(200_000)), talk.end())
    talk.run()
    assert talk.events.count("close") == 1
    assert not any(entry[0] == "failed" for entry in talk.events if isinstance(entry, tuple))


def test_a_paused_socket_does_the_handshake_and_reads_no_more() -> None:
    talk = Talk()

    def begin() -> None:
        talk.near.pause()
        pyuvnet.set_timeout(lambda: (talk.events.append("later"), talk.near.resume()), 20)

    talk.when_secure = begin
    talk.near_options = {"high_water_mark": 1000}  # type: ignore[attr-defined]
    talk.when_far = lambda: (talk.send(bytes(500_000)), talk.end())
    talk.run()
    assert talk.events[:2] == ["secure", "later"]
    assert sum(map(len, talk.chunks)) == 500_000


def test_a_deadline_ends_the_handshake() -> None:
    talk = Talk()
    talk.push = lambda: talk.near.layer.set_deadline(20)  # type: ignore[method-assign]
    talk.run()
    assert ("failed", "TimeoutError", False) in talk.events


def test_a_held_connection_reads_nothing_until_it_goes_on() -> None:
    talk = Talk(held=True, reads_hello=True)
    Near.hello = lambda near: near.layer.start(*bare(True, talk.version))
    talk.when_secure = lambda: talk.near.end()
    talk.when_far_ends = talk.end

    def later() -> None:
        if talk.near is None:
            # Not yet accepted.
            pyuvnet.set_timeout(later, 30)
            return
        talk.events.append(("read", talk.near.bytes_read, len(talk.seen)))
        talk.near.layer.go_on()

    pyuvnet.set_timeout(later, 30)
    talk.run()
    assert talk.events[:2] == [("read", 0, 0), ("hello", None, [])]
    assert "secure" in talk.events


def test_the_hello_is_read_and_a_context_may_come_late() -> None:
    talk = Talk(reads_hello=True)
    talk.tls, talk.incoming, talk.outgoing = None, ssl.MemoryBIO(), ssl.MemoryBIO()  # type: ignore
    client = context(False, talk.version)
    client.set_alpn_protocols(["h2", "http/1.1"])
    talk.tls = client.wrap_bio(talk.incoming, talk.outgoing, server_hostname="a.example")
    Near.hello = lambda near: pyuvnet.set_timeout(
        lambda: near.layer.start(*bare(True, talk.version)), 20
    )
    talk.when_secure = lambda: talk.near.end(b"late")
    talk.when_far_ends = talk.end
    talk.run()
    assert talk.events[0] == ("hello", "a.example", ["h2", "http/1.1"])
    assert talk.got == b"late"


def test_over_a_pipe_too(tmp_path: Path) -> None:
    talk = Talk(path=str(tmp_path / "sock"))
    talk.when_secure = lambda: talk.near.end(b"over a path")
    talk.when_far_ends = talk.end
    talk.run()
    assert talk.got == b"over a path"
    assert talk.events[-1] == "close"


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS, ids=IDS)
def test_flipped_bits_fail_and_nothing_else(version: ssl.TLSVersion) -> None:
    """Whatever a bit does, the outcome is data, an end or a failure of the engine."""
    import random

    chance = random.Random(5)
    for _ in range(60):
        talk = Talk(version, server=chance.random() < 0.5)
        push = talk.push
        flip = chance.randrange(20_000)

        def flipped(talk: Talk = talk, push: Any = push, flip: int = flip) -> None:
            data = bytearray(talk.outgoing.read())
            sent = getattr(talk, "sent", 0)
            if sent <= flip // 8 < sent + len(data):
                data[flip // 8 - sent] ^= 1 << flip % 8
            talk.sent = sent + len(data)  # type: ignore[attr-defined]
            if data and not talk.far.destroyed:
                talk.far.write(bytes(data))

        talk.push = flipped  # type: ignore[method-assign]
        talk.when_secure = lambda talk=talk: talk.near.end(b"x" * 300)
        talk.when_far = lambda talk=talk: talk.send(b"y" * 300)
        talk.when_far_ends = talk.end
        near_timeout = pyuvnet.set_timeout(lambda talk=talk: talk.near.destroy(), 1500)
        near_timeout.unref()
        talk.run()
        near_timeout.close()
        assert b"".join(talk.chunks) in (b"", b"y" * 300)


@pytest.mark.spec("D155")
def test_an_end_before_the_handshake_waits_for_it() -> None:
    talk = Talk(server=False)
    both = talk.both
    talk.both = lambda: (both(), talk.near.layer and talk.near.end())  # type: ignore[method-assign]
    talk.when_far_ends = talk.end
    talk.run()
    assert talk.events.index("secure") < talk.events.index("far end")
    assert talk.events[-1] == "close"


@pytest.mark.parametrize("where", ["secure", "data"])
def test_a_listener_that_raises_does_not_stop_the_connection(where: str) -> None:
    talk = Talk()
    caught: list[BaseException] = []
    pyuvnet.set_exception_handler(caught.append)

    def begin() -> None:
        talk.near.write(b"question")
        talk.near.on("end", talk.near.end)
        if where == "secure":
            raise RuntimeError("secure")
        # Two, so that the way of one plain listener is not taken.
        for _ in range(2):
            talk.near.on("data", fail)

    def fail(chunk: bytes) -> None:
        raise RuntimeError("data")

    talk.when_secure = begin
    talk.when_far = lambda: (talk.send(b"answer"), talk.end())
    talk.run()
    pyuvnet.set_exception_handler(None)
    assert {str(error) for error in caught} == {where}
    assert talk.events[-1] == "close"
    assert "end" in talk.events


# ---- The engine fails, and what it runs ----------------------------------------------------------


class Odd:
    """An SSLObject, of which one method raises; without the object within that saves a call."""

    def __init__(self, made: Any, method: str, error: BaseException) -> None:
        self.made, self.method, self.error = made, method, error

    def __getattr__(self, name: str) -> Any:
        if name == "_sslobj":
            raise AttributeError(name)
        if name == self.method:
            return self.fail
        return getattr(self.made, name)

    def fail(self, *_: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("method", ["do_handshake", "read", "write"])
@pytest.mark.parametrize("kind", [TimeoutError, ValueError, RuntimeError])
def test_what_a_signal_handler_raises_in_the_engine_comes_out_of_the_loop(
    method: str, kind: type[Exception]
) -> None:
    """An alarm's handler raises TimeoutError, which is an OSError as those of ssl are."""
    talk = Talk(server=False)
    caught: list[BaseException] = []
    pyuvnet.set_exception_handler(caught.append)
    talk.engine = lambda made, outgoing: Odd(made, method, kind("of the program"))
    talk.when_secure = lambda: talk.near.write(b"x")
    talk.when_far = lambda: talk.send(b"y")
    try:
        talk.run()
    finally:
        pyuvnet.set_exception_handler(None)
    assert [type(error) for error in caught] == [kind]
    assert talk.events[-1] == "close"
    if method == "write":
        assert ("write failed", "StateError") in talk.events
    else:
        assert ("failed", "StateError", method != "do_handshake") in talk.events


@pytest.mark.parametrize("which", ["queued", "at once", "the rest"])
def test_a_write_that_the_engine_refuses_fails_with_its_error(which: str) -> None:
    talk = Talk(server=False)
    errors: list[Any] = []
    refused = ssl.SSLError(1, "[SSL: BAD_LENGTH] bad length (_ssl.c:2406)")
    engines: list[Odd] = []

    def engine(made: Any, outgoing: Any) -> Odd:
        engines.append(Odd(made, "none", refused))
        return engines[0]

    def begin() -> None:
        if which == "queued":
            refuse()
            talk.near.write(b"x" * 40_000, errors.append)
        elif which == "at once":
            turns(3, lambda: (refuse(), talk.near.write(b"x", errors.append)))
        else:
            # Its last records are made when the first ones have left.
            talk.near.write(bytes(3_000_000), errors.append)
            turns(1, refuse)

    def refuse() -> None:
        engines[0].method = "write"

    talk.engine = engine
    talk.when_secure = begin
    talk.run()
    assert errors == [refused]
    assert talk.events[-1] == "close"
    assert len(talk.got) < 3_000_000


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_failure_that_is_interrupted_ends_the_connection(kind: type[BaseException]) -> None:
    talk = Talk()
    real = Near._tls_failed

    def interrupted(near: Near, error: Any, secure: bool) -> None:
        raise kind("no")

    Near._tls_failed = interrupted  # type: ignore[method-assign]
    talk.when_far = lambda: talk.far.write(b"no record at all")
    try:
        with pytest.raises(kind):
            talk.run()
        pyuvnet.run()
    finally:
        Near._tls_failed = real  # type: ignore[method-assign]
    assert talk.near.destroyed
    assert talk.events[-1] == "close"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_choice_that_raises_does_not_leave_the_handshake_without_an_end(when: str) -> None:
    talk = Talk(reads_hello=True)
    caught: list[BaseException] = []
    pyuvnet.set_exception_handler(caught.append)

    def hello(near: Near) -> None:
        if when == "after":
            near.layer.start(*bare(True, talk.version))
        raise RuntimeError(when)

    Near.hello = hello
    talk.when_secure = lambda: talk.near.end(b"x")
    talk.when_far_ends = talk.end
    try:
        talk.run()
    finally:
        pyuvnet.set_exception_handler(None)
    if when == "after":
        # The choice stands, and the error is the program's.
        assert [str(error) for error in caught] == ["after"]
        assert talk.got == b"x"
    else:
        assert caught == []
        assert ("failed", "RuntimeError", False) in talk.events


def test_what_follows_the_first_message_before_a_choice_is_bounded() -> None:
    talk = Talk(reads_hello=True)
    Near.hello = lambda near: None
    push = talk.push
    talk.push = lambda: (push(), talk.far.write(bytes(60_000)))  # type: ignore[method-assign]
    talk.run()
    assert ("failed", "StateError", False) in talk.events


class Answering(Odd):
    """An engine whose peer wants an answer with each record, such as new keys."""

    def __init__(self, made: Any, outgoing: Any) -> None:
        super().__init__(made, "none", AssertionError())
        self.outgoing, self.answers = outgoing, False

    def read(self, size: int, buffer: Any) -> int:
        if not self.answers:
            return self.made.read(size, buffer)  # type: ignore[no-any-return]
        self.outgoing.write(bytes(50_000))
        raise ssl.SSLWantReadError


def test_answers_that_a_peer_does_not_read_are_bounded() -> None:
    talk = Talk(server=False)
    record = b"\x17\x03\x03\x00\x01x"
    sent: list[int] = []

    def engine(made: Any, outgoing: Any) -> Any:
        engines.append(Answering(made, outgoing))
        return engines[0]

    def begin() -> None:
        engines[0].answers = True
        talk.far.pause()
        ask()

    def ask() -> None:
        if talk.near.destroyed or len(sent) > 5000:
            return
        sent.append(1)
        talk.far.write(record)
        pyuvnet.set_immediate(ask)

    engines: list[Answering] = []
    talk.engine = engine
    talk.when_far = lambda: turns(3, begin)
    talk.run()
    assert ("failed", "StateError", True) in talk.events
    assert len(sent) < 5000


def test_records_are_no_longer_than_the_program_has_said() -> None:
    talk = Talk(server=False)
    begun: list[int] = []

    def begin() -> None:
        begun.append(len(talk.seen))
        talk.near.layer.set_record_size(512)
        talk.near.write(bytes(3000))
        talk.near.write(bytes(100))
        talk.near.end()

    talk.when_secure = lambda: turns(3, begin)
    talk.when_far_ends = talk.end
    talk.run()
    assert talk.got == bytes(3100)
    sizes = [length - 17 for kind, length in records(bytes(talk.seen[begun[0] :]))]
    assert max(sizes) == 512
    assert len(sizes) >= 7

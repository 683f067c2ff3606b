"""Room for TLS: a stream that takes a Socket over, made of what everybody may call.

What another TLS than that of pyuvnet.tls needs is shown by making one here, with Python's ssl:
the wire is read by 'data' or by onread, and 'connect', 'end', 'close', end() and destroy() do the
rest. Both programs then see an ordinary Duplex.
"""

from __future__ import annotations

import contextlib
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import Duplex, net

PEM = Path(__file__).parent / "localhost.pem"


class Secure(Duplex):
    """TLS over a socket.

    Args:
        wire: the socket, connected or connecting; it belongs to this stream from now on.
        context: ssl.SSLContext.
        server_side, server_hostname: as for SSLContext.wrap_bio().

    Events: those of Duplex, and 'secure' when the handshake is done.
    """

    def __init__(self, wire: net.Socket, context: ssl.SSLContext, **side: Any) -> None:
        super().__init__(allow_half_open=True)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **side)
        self.wire = wire
        self.secure = self.over = False
        self.waiting: list[Callable[[], None]] = []
        wire.on("data", self.received)
        wire.on("connect", self.advance)
        wire.on("end", self.ended)
        wire.on("error", self.destroy)
        wire.on("close", lambda had_error: self.destroy())

    def onread(self, size: int, buffer: Any) -> None:
        """For the socket's option onread, which takes the place of 'data'."""
        self.received(buffer[:size])

    def received(self, data: Any) -> None:
        self.incoming.write(data)
        self.advance()

    def ended(self) -> None:
        self.incoming.write_eof()
        self.advance()

    def advance(self) -> None:
        """Go on with the handshake, or with reading, as far as the records at hand allow."""
        try:
            if not self.secure:
                self.tls.do_handshake()
                self.secure = True
                self.emit("secure")
                for write in self.waiting:
                    write()
            while not (self.over or self.destroyed):
                data = self.tls.read(65536)
                self.over = not data
                if not self.push(data or None) and data:
                    self.wire.pause()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.over = True
            self.push(None)
        except ssl.SSLError as error:
            self.flush()
            self.destroy(error)
        self.flush()

    def flush(self, callback: Callable[..., None] | None = None) -> None:
        data = self.outgoing.read()
        if data and not self.wire.destroyed:
            self.wire.write(data, None, callback)
        elif callback is not None:
            callback()

    def _read(self, size: int) -> None:
        self.wire.resume()

    def _write(self, chunk: Any, encoding: str, callback: Callable[..., None]) -> None:
        def write() -> None:
            self.tls.write(chunk)
            self.flush(callback)

        if self.secure:
            write()
        else:
            self.waiting.append(write)

    def _final(self, callback: Callable[..., None]) -> None:
        with contextlib.suppress(ssl.SSLError):  # the peer's own good bye has not come yet
            self.tls.unwrap()
        self.flush()
        self.wire.end(callback)

    def _destroy(self, error: BaseException | None, callback: Callable[..., None]) -> None:
        # A good end leaves the wire time to end, too.
        if error is not None or not (self.over and self.writable_finished):
            self.wire.destroy()
        callback(error)


@pytest.fixture
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


@pytest.fixture
def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM))


def secure_client(port: int, context: ssl.SSLContext, onread: bool) -> Secure:
    made: list[Secure] = []
    options: dict[str, Any] = {}
    if onread:
        options["onread"] = {
            "buffer": bytearray(65536),
            "callback": lambda size, buffer: made[0].onread(size, buffer),
        }
    wire = net.create_connection(port=port, host="127.0.0.1", **options)
    made.append(Secure(wire, context, server_hostname="localhost"))
    return made[0]


def watch(stream: Any, trace: Any, who: str) -> None:
    for event in ("secure", "connect", "end", "finish", "error", "close"):
        stream.on(event, lambda *args, event=event: trace((who, event)))


@pytest.mark.spec("N146")
@pytest.mark.parametrize("onread", [False, True], ids=["data", "onread"])
def test_an_echo_over_tls(
    trace: Any, onread: bool, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    data = random.Random(11).randbytes(1_000_000)
    on_the_wire = bytearray()
    got = bytearray()

    def connection(wire: net.Socket) -> None:
        server.close()
        wire.on("data", on_the_wire.extend)
        s = Secure(wire, server_context, server_side=True)
        watch(s, trace, "s")
        s.pipe(s)

    server = net.create_server(connection, allow_half_open=True).listen(0)
    c = secure_client(server.address()["port"], client_context, onread)
    watch(c, trace, "c")
    watch(c.wire, trace, "wire")
    c.on("data", got.extend)
    # Written before there is a connection, to be sent after the handshake.
    c.write(data[:1000])
    c.end(data[1000:])
    pyuvnet.run()
    assert got == data
    assert data[:100] not in on_the_wire
    assert len(on_the_wire) > len(data)

    def of(who: str) -> list[str]:
        return [event for each, event in trace if each == who]

    assert of("c") == ["secure", "finish", "end", "close"]
    assert of("s") == ["secure", "end", "finish", "close"]
    assert of("wire") == ["connect", "finish", "end", "close"]


@pytest.mark.spec("N146")
def test_destroy_over_tls(
    trace: Any, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def connection(wire: net.Socket) -> None:
        server.close()
        s = Secure(wire, server_context, server_side=True)
        watch(s, trace, "s")
        s.on("data", lambda chunk: trace(("s", bytes(chunk))))

    server = net.create_server(connection, allow_half_open=True).listen(0)
    c = secure_client(server.address()["port"], client_context, False)
    watch(c, trace, "c")
    watch(c.wire, trace, "wire")
    c.write(b"hello", None, lambda error: c.destroy())
    pyuvnet.run()
    assert [event for who, event in trace if who == "c"] == ["secure", "close"]
    assert [event for who, event in trace if who == "wire"] == ["connect", "close"]
    # Without the good bye of TLS the end of the wire is no end of the data.
    assert [event for who, event in trace if who == "s"] == ["secure", b"hello", "error", "close"]


def test_a_certificate_nobody_trusts_is_an_error(
    trace: Any, server_context: ssl.SSLContext
) -> None:
    def connection(wire: net.Socket) -> None:
        server.close()
        watch(Secure(wire, server_context, server_side=True), trace, "s")

    server = net.create_server(connection, allow_half_open=True).listen(0)
    c = secure_client(server.address()["port"], ssl.create_default_context(), False)
    watch(c, trace, "c")
    errors: list[Any] = []
    c.on("error", errors.append)
    pyuvnet.run()
    assert isinstance(errors[0], ssl.SSLCertVerificationError)
    assert [event for who, event in trace if who == "c"] == ["error", "close"]
    assert [event for who, event in trace if who == "s"] == ["error", "close"]

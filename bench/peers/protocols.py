"""Peer: asyncio protocols, on the loop of asyncio or of another package, and over aiofastnet.

python protocols.py LOOP MODE [PATH] [N]     MODE: echo, writes, lines, frames, pipe, proxy,
                                             timed_proxy, send, receive, broadcast,
                                             broadcast_text; N as in
                                             pyuvnet_net.py
LOOP: asyncio, or the package with the loop; aiofastnet:asyncio and aiofastnet:uvloop put aiofastnet
on a loop

What pipes in Node is here an echo that stops reading while its answers are not taken.
"""

from __future__ import annotations

import asyncio
import codecs
import importlib
import sys
from collections.abc import Callable

BACKLOG = 4096
IDLE = 60.0  # seconds, until a connection without traffic is closed
CHUNK = bytes((i * 31 + (i >> 8)) & 255 for i in range(65536))

loop_name, mode, path, count = (*sys.argv[1:], "", "")[:4]
pieces = int(count or 1)


class Echo(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Writes(Echo):
    def data_received(self, data: bytes) -> None:
        length = -(-len(data) // pieces)
        for at in range(0, len(data), length):
            self.transport.write(data[at : at + length])


class Lines(Echo):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.rest = ""

    def data_received(self, data: bytes) -> None:
        *whole, self.rest = (self.rest + self.decode(data)).split("\n")
        for line in whole:
            self.transport.write((line + "\n").encode())


class Frames(Echo):
    rest = b""

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        at, length = 0, len(data)
        while length - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > length:
                break
            payload = data[at + 4 : end]
            self.transport.write(len(payload).to_bytes(4, "big") + payload)
            at = end
        self.rest = data[at:]


class Pipe(Echo):
    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


class Proxy(Echo):
    other: Proxy | None = None
    early = b""  # what came before the connection to the server behind

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.other is None:
            self.connecting = asyncio.ensure_future(self.connect())

    def make_other(self) -> Proxy:
        return Proxy()

    async def connect(self) -> None:
        behind = self.make_other()
        behind.other = self
        await asyncio.get_running_loop().create_connection(lambda: behind, "127.0.0.1", pieces)
        self.other = behind
        if self.early:
            behind.transport.write(self.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        if self.other is not None:
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


class TimedProxy(Proxy):
    """Each chunk puts the timeout off; as with a timer that is set anew only when it fires."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.loop = asyncio.get_running_loop()
        self.last = self.loop.time()
        self.timer = self.loop.call_later(IDLE, self.fired)

    def make_other(self) -> Proxy:
        return TimedProxy()

    def fired(self) -> None:
        left = self.last + IDLE - self.loop.time()
        if left > 0:
            self.timer = self.loop.call_later(left, self.fired)
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.last = self.loop.time()
        if isinstance(self.other, TimedProxy):
            self.other.last = self.last
        super().data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.timer.cancel()
        super().connection_lost(error)


class Send(Echo):
    paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.more()

    def more(self) -> None:
        while not self.paused and not self.transport.is_closing():
            self.transport.write(CHUNK)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.more()


class Receive(Echo):
    received = 0

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def eof_received(self) -> None:
        self.transport.write(b"%d\n" % self.received)


class Broadcast(Echo):
    clients: set[Broadcast] = set()  # noqa: RUF012 - shared by all

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.clients.add(self)

    def data_received(self, data: bytes) -> None:
        for client in self.clients:
            client.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.clients.discard(self)


class BroadcastText(Broadcast):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def data_received(self, data: bytes) -> None:
        encoded = self.decode(data).encode()
        for client in self.clients:
            client.transport.write(encoded)


MODES: dict[str, type[Echo]] = {
    each.__name__.lower(): each
    for each in (Echo, Writes, Lines, Frames, Pipe, Proxy, Send, Receive, Broadcast)
} | {"timed_proxy": TimedProxy, "broadcast_text": BroadcastText}


async def main() -> None:
    loop = asyncio.get_running_loop()
    if path:
        try:
            server = await loop.create_unix_server(MODES[mode], path, backlog=BACKLOG)
        except NotImplementedError:
            print(f"unsupported: {loop_name} has no unix servers", flush=True)
            raise SystemExit(3) from None
    else:
        server = await loop.create_server(MODES[mode], "127.0.0.1", 0, backlog=BACKLOG)
    print(0 if path else server.sockets[0].getsockname()[1], flush=True)
    await loop.create_future()


# glibc maps a block above 128 KiB anew each time until one has been freed, as one has in any longer
# program. asyncio and rloop read into 256 KiB; rloop would be three times as slow.
bytes(1 << 20)

factory: Callable[[], asyncio.AbstractEventLoop] | None = None
layer, _, base = loop_name.rpartition(":")
if base != "asyncio":
    made = importlib.import_module(base)
    factory = getattr(made, "new_event_loop", None) or made.Loop
if layer:
    factory = importlib.import_module(layer).loop_factory(factory)
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())

"""A server or client of ours with plain sockets as peers, for tests of coroutines that own one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket as posix
import struct
import warnings

import pyuvnet
from pyuvnet import events, net
from pyuvnet.loop import handles
from tests.support.errors import BoomError

RESET = struct.pack("ii", 1, 0)
BIG = b"x" * 3_000_000


class Peer:
    """The other end, without pyuvnet: a plain socket that asyncio reads and writes."""

    def __init__(self, raw):
        raw.setblocking(False)
        self.raw = raw
        self.loop = asyncio.get_running_loop()

    async def send(self, data):
        await self.loop.sock_sendall(self.raw, data)

    async def read(self):
        return await self.loop.sock_recv(self.raw, 1 << 20)

    async def read_to_end(self):
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def end(self):
        self.raw.shutdown(posix.SHUT_WR)

    def reset(self):
        self.raw.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, RESET)
        self.raw.close()

    def close(self):
        self.raw.close()


class Place:
    """A server with a listener, its peers, and what was reported to nobody in particular."""

    def __init__(self):
        self.reported = []
        self.peers = []

    async def serve(self, listener=None, **options):
        self.server = net.create_server(options, listener)
        self.server.listen(0, "127.0.0.1")
        await events.once(self.server, "listening")
        return self

    async def connect(self):
        raw = posix.socket()
        peer = Peer(raw)
        self.peers.append(peer)
        await peer.loop.sock_connect(raw, ("127.0.0.1", self.server.address().port))
        return peer

    async def pair(self, **options):
        """A client of ours, connected, and the peer that has accepted it."""
        with posix.create_server(("127.0.0.1", 0)) as listener:
            client = await net.promises.connect(listener.getsockname()[1], "127.0.0.1", **options)
            peer = Peer(listener.accept()[0])
        self.peers.append(peer)
        return client, peer

    async def close(self):
        for peer in self.peers:
            peer.close()
        server = getattr(self, "server", None)
        if server is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await server.__aexit__(BoomError, BoomError(), None)


def play(main, factory, reports=0):
    """Run main(place); nothing but what it expects is reported, warned about or left open."""

    async def with_place():
        place = Place()
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: place.reported.append(context.get("exception", context))
        )
        try:
            await asyncio.wait_for(main(place), 20)
        finally:
            await place.close()
        await turns()
        gc.collect()
        await turns()
        assert len(place.reported) == reports, place.reported
        assert [info for info in handles() if info.kind in ("tcp", "pipe")] == []

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pyuvnet.run(with_place(), loop_factory=factory)


async def turns(count=5):
    """Turn both loops a few times."""
    for _ in range(count):
        turned = asyncio.get_running_loop().create_future()
        pyuvnet.set_immediate(turned.set_result, None)
        await turned
        await asyncio.sleep(0)


async def until(condition):
    """Turn the loops until something holds; the watchdog ends it."""
    while not condition():
        await asyncio.sleep(0.001)


async def leave_by_break(socket):
    async for chunk in socket:
        return_ = chunk
        break
    return return_


async def leave_by_return(socket):
    async for chunk in socket:
        return chunk
    raise AssertionError


async def reset_it(client, peer):
    peer.reset()
    client.resume()
    await until(lambda: client.destroyed)


async def destroy_it(client, peer):
    client.destroy()

# pyright: strict
"""What a type checker knows of a program in Node's spelling, with `python -m pyuvnet stubs`."""

from collections.abc import Callable
from typing import Any, Literal, assert_type

import pyuvnet
from pyuvnet import AbortSignal, BoundSocket, EventEmitter, Server, Socket, net, streams
from pyuvnet.events import getEventListeners, once


def connected(socket: Socket) -> None:
    # Chained calls keep the class; both spellings are the same.
    assert_type(socket.setNoDelay(True).set_timeout(1000), Socket)
    assert_type(socket.on("data", socket.write), Socket)
    assert_type(socket.write("text", "utf8", lambda error: None), bool)
    assert_type(socket.write(bytearray(b"x"), lambda error: None), bool)
    assert_type(socket.end(lambda error: None), Socket)
    assert_type(socket.bytesRead + socket.bytes_written, int)
    assert_type(socket.remoteAddress, str | None)
    assert_type(socket.localFamily, Literal["IPv4", "IPv6"] | None)
    assert_type(socket.allowHalfOpen, bool)
    socket.allowHalfOpen = socket.allow_half_open = True
    assert_type(socket.autoSelectFamilyAttemptedAddresses, list[str] | None)
    socket.write(1)  # type: ignore[call-overload]
    socket.bytesRead = 1  # type: ignore[misc]
    socket.setNodelay()  # type: ignore[attr-defined]

    @socket.on("end")
    def ended() -> int:
        return 1

    assert_type(ended(), int)


async def listening(server: Server, emitter: EventEmitter, signal: AbortSignal) -> None:
    assert_type(server, Server)
    server.maxConnections = None
    net.createServer(allowHalfOpen=True, noDelay=True).listen(0, ipv6Only=True)
    net.connect(port=80, autoSelectFamily=False).setKeepAlive(True, 1000)
    net.createServer(allowHalfOpn=True)  # type: ignore[call-arg]
    server.max_connections = 10
    server.getConnections(lambda error, count: print(count + 1))
    assert_type(await server.get_connections(), int)
    assert_type(server.listen(BoundSocket(host="127.0.0.1"), 5, lambda: None), Server)
    assert_type(server.listen(fd=3, signal=signal), Server)
    assert_type(server.connection_key, str | None)
    async with server as entered:
        assert_type(entered, Server)
    async for socket in server:
        assert_type(socket, Socket)
    assert_type(await once(emitter, "event"), list[Any])
    assert_type(getEventListeners(emitter, "event"), list[Callable[..., Any]])
    signal.throwIfAborted()
    assert_type(streams.getDefaultHighWaterMark(), int)


server = net.createServer(connected).listen(0)
assert_type(server, Server)
assert_type(net.isIPv4("127.0.0.1"), bool)
assert_type(net.SocketAddress.parse("127.0.0.1:80"), net.SocketAddress | None)
blocked = net.BlockList()
blocked.addCIDRs(net.BlockList.PRIVATE_RANGES)
blocked.addAddress()  # type: ignore[call-arg]
assert_type(net.BlockList.load([]), net.BlockList)
assert_type(pyuvnet.setTimeout(print, 10).hasRef(), bool)
pyuvnet.nextTick(print, 1)

"""net.promises: connect() and listen() as something to await, and what they leave behind."""

from __future__ import annotations

import asyncio
import socket as posix
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.errors import Error

pytestmark = pytest.mark.usefixtures("factory")


def closed_port() -> int:
    with posix.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def bare(emitter: Any) -> bool:
    """True if no listener of ours is left."""
    return not any(
        emitter.listener_count(name) for name in ("connect", "listening", "error", "close")
    )


async def over(emitter: Any) -> None:
    await pyuvnet.events.once(emitter, "close")


def test_it_is_a_module_of_net() -> None:
    assert net.promises is pyuvnet.promises


@pytest.mark.spec("N176")
def test_connect_and_listen(trace: Any) -> None:
    async def main() -> None:
        server = await net.promises.listen(
            port=0, host="127.0.0.1", connection_listener=lambda s: s.end(b"hello"), no_delay=True
        )
        assert server.listening
        assert server.no_delay
        assert bare(server)
        socket = await net.promises.connect(server.address()["port"], "127.0.0.1")
        assert socket.ready_state == "open"
        assert bare(socket)
        async for chunk in socket:
            trace(chunk)
        async with server:
            pass

    pyuvnet.run(main())
    assert trace == [b"hello"]


@pytest.mark.parametrize("form", ["mapping", "keywords", "node"])
def test_listen_takes_the_options_of_both(form: str, tmp_path: Any) -> None:
    path = str(tmp_path / "s")

    async def main() -> None:
        if form == "mapping":
            server = await net.promises.listen(
                {"path": path, "pause_on_connect": True, "connection_listener": print}
            )
        elif form == "node":
            server = await net.promises.listen(
                {"path": path, "pauseOnConnect": True, "connectionListener": print}
            )
        else:
            server = await net.promises.listen(
                path=path, pause_on_connect=True, connection_listener=print
            )
        assert server.address() == path
        assert server.pause_on_connect
        assert server.listeners("connection") == [print]
        server.close()
        await over(server)

    pyuvnet.run(main())


@pytest.mark.spec("N176")
def test_a_connection_that_fails_is_raised() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await net.promises.connect(closed_port(), "127.0.0.1")
        assert caught.value.code == "ECONNREFUSED"  # type: ignore[attr-defined]

    pyuvnet.run(main())


def test_an_address_in_use_is_raised() -> None:
    async def main() -> None:
        with posix.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match="EADDRINUSE"):
                await net.promises.listen(port, "127.0.0.1")

    pyuvnet.run(main())


@pytest.mark.spec("N176")
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_abort(when: str) -> None:
    async def main() -> None:
        controller = pyuvnet.AbortController()
        if when == "before":
            controller.abort("enough")
        else:
            asyncio.get_running_loop().call_soon(controller.abort, "enough")
        with pytest.raises(pyuvnet.AbortError) as caught:
            # Nothing answers there: the connection cannot come first.
            await net.promises.connect(
                port=9, host="x", lookup=lambda *args: None, signal=controller.signal
            )
        assert caught.value.cause == "enough"
        assert controller.signal.listener_count("abort") == 0

    pyuvnet.run(main())


def test_abort_of_listen() -> None:
    async def main() -> None:
        with pytest.raises(pyuvnet.AbortError) as caught:
            await net.promises.listen(port=0, signal=pyuvnet.AbortSignal.abort("enough"))
        assert caught.value.cause == "enough"

        controller = pyuvnet.AbortController()
        server = await net.promises.listen(port=0, signal=controller.signal)
        controller.abort()
        assert not server.listening
        await over(server)
        assert controller.signal.listener_count("abort") == 0

    pyuvnet.run(main())


def test_cancelling_leaves_nothing_behind() -> None:
    async def main() -> None:
        connecting = asyncio.ensure_future(
            net.promises.connect(port=9, host="x", lookup=lambda *args: None)
        )
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        listening = asyncio.ensure_future(net.promises.listen(port=0))
        await asyncio.sleep(0)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening

    pyuvnet.run(main())


def test_a_lookup_that_raises() -> None:
    async def main() -> None:
        def lookup(host: str, options: Any, callback: Any) -> None:
            raise LookupError(host)

        with pytest.raises(LookupError):
            await net.promises.connect(port=9, host="x", lookup=lookup)

    pyuvnet.run(main())
    pyuvnet.run()


def test_destroyed_by_a_listener_of_another() -> None:
    async def main() -> None:
        server = await net.promises.listen(port=0, host="127.0.0.1")
        sockets: list[Any] = []
        pyuvnet.diagnostics.subscribe(
            "net.client.socket", keep := lambda message, name: sockets.append(message.socket)
        )
        try:
            connecting = asyncio.ensure_future(
                net.promises.connect(server.address()["port"], "127.0.0.1")
            )
            await asyncio.sleep(0)
        finally:
            pyuvnet.diagnostics.unsubscribe("net.client.socket", keep)
        sockets[0].destroy()
        with pytest.raises(Error) as caught:
            await connecting
        assert caught.value.code == "ERR_SOCKET_CLOSED_BEFORE_CONNECTION"
        server.close()
        await over(server)

    pyuvnet.run(main())


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: net.promises.connect(), "ERR_MISSING_ARGS"),
        (lambda: net.promises.connect(70000), "ERR_SOCKET_BAD_PORT"),
        (lambda: net.promises.connect(port=1, hots="x"), "ERR_UNKNOWN_OPTION"),
        (lambda: net.promises.listen(port=70000), "ERR_SOCKET_BAD_PORT"),
        (lambda: net.promises.listen(port=0, connection_listener=5), "ERR_INVALID_ARG_TYPE"),
        (lambda: net.promises.listen(prot=0), "ERR_UNKNOWN_OPTION"),
    ],
)
def test_wrong_arguments_are_raised_by_await(call: Any, code: str) -> None:
    async def main() -> None:
        with pytest.raises(Error) as caught:
            await call()
        assert caught.value.code == code

    pyuvnet.run(main())

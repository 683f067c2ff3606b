"""The graceful end of a connection: how long it waits for which peer, and what is lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket as posix
import threading
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.errors import ClosedError
from tests.support.owners import Peer

SOME = bytes(2_000_000)


async def ends(peer: Any) -> None:
    await peer.read_to_end()
    peer.close()


async def ends_early(peer: Any) -> None:
    peer.end()
    await peer.read_to_end()


async def is_silent(peer: Any) -> None:
    await peer.read_to_end()


async def sends_for_ever(peer: Any) -> None:
    await peer.read_to_end()
    with contextlib.suppress(ConnectionError):
        while True:
            await peer.send(bytes(100_000))
            await asyncio.sleep(0.05)


async def reads_slowly(peer: Any) -> None:
    with contextlib.suppress(ConnectionError):
        # All that its kernel has, which so opens the window at once, and not by a timer of its own.
        while await peer.read():
            await asyncio.sleep(0.8)


async def reads_nothing(peer: Any) -> None:
    pass


async def resets(peer: Any) -> None:
    await peer.read()
    peer.reset()


async def resets_at_the_end(peer: Any) -> None:
    await peer.read_to_end()
    peer.reset()


async def is_gone(peer: Any) -> None:
    peer.close()


@pytest.mark.parametrize(
    ("act", "size", "least", "most", "lost"),
    [
        (ends, len(SOME), 0, 900, False),
        (ends_early, len(SOME), 0, 900, False),
        (is_silent, len(SOME), 1000, 1900, False),
        (sends_for_ever, len(SOME), 5000, 5900, False),
        (reads_nothing, len(SOME), 1000, 1900, True),
        (reads_slowly, len(SOME), 30_000, 31_000, True),
        (resets, len(SOME), 0, 900, True),
        (resets_at_the_end, len(SOME), 0, 900, False),
        (is_gone, 1, 1000, 1900, True),
        # Nothing was written, so that there is nothing to wait for.
        (reads_nothing, 0, 0, 0, False),
    ],
)
def test_how_long_a_peer_has(clock: Any, act: Any, size: int, least: int, most: int, lost: bool):
    async def main() -> None:
        with posix.socket() as listener:
            # Less than what is written: the rest waits in this end's kernel.
            listener.setsockopt(posix.SOL_SOCKET, posix.SO_RCVBUF, 20_000)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = await net.promises.connect(listener.getsockname()[1], "127.0.0.1")
            peer = Peer(listener.accept()[0])
        acting = None
        error = None
        try:
            async with client:
                acting = asyncio.ensure_future(act(peer))
                if act in (ends_early, is_gone):
                    async for _ in client:
                        pass
                if size:
                    client.write(SOME[:size])
                began.append(clock.now)
                client.on("finish", lambda: began.append(clock.now))
        except (ClosedError, ConnectionError) as exc:
            error = exc
        assert client.closed
        taken = clock.now - began[-1]
        assert least <= taken <= most
        assert getattr(error, "code", None) == ("ERR_STREAM_PREMATURE_CLOSE" if lost else None)
        peer.close()
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)

    began: list[float] = []
    pyuvnet.run(main())


# ---- destroy_soon(), and what destroys itself ----------------------------------------------------


@pytest.mark.spec("D260")
@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("how", ["destroy_soon()", "destroy_soon() at 'finish'", "not readable"])
def test_what_destroys_itself_loses_nothing(
    loop: Any, trace: Any, tmp_path: Any, kind: str, how: str
) -> None:
    """The events and their order are Node's; the peer reads everything, and no reset."""
    got: list[Any] = []
    family = posix.AF_UNIX if kind == "unix" else posix.AF_INET
    listener = posix.create_server(
        str(tmp_path / "s") if kind == "unix" else ("127.0.0.1", 0), family=family
    )

    def play() -> None:
        peer = listener.accept()[0]
        with peer, listener:
            peer.sendall(bytes(200_000))
            sent.set()
            try:
                while part := peer.recv(65536):
                    got.append(len(part))
            except ConnectionError as error:
                got.append(error)

    def finish() -> None:
        trace("finish")
        if how.endswith("'finish'"):
            client.destroy_soon()

    def write() -> None:
        client.write(SOME[:400_000])
        if how == "destroy_soon()":
            client.destroy_soon()
        else:
            client.end()

    def connected() -> None:
        if sent.is_set():
            write()
        else:
            pyuvnet.set_immediate(connected)

    sent = threading.Event()
    thread = threading.Thread(target=play)
    thread.start()
    client = net.Socket(readable=how != "not readable")
    client.on("connect", connected).on("finish", finish).on("close", trace.note("close"))
    place = listener.getsockname()
    client.connect(place) if kind == "unix" else client.connect(place[1], "127.0.0.1")
    pyuvnet.run()
    thread.join(20)
    assert trace == ["finish", ("close", False)]
    assert [each for each in got if not isinstance(each, int)] == []
    assert sum(got) == 400_000


@pytest.mark.parametrize("how", ["destroy()", "unref()"])
def test_what_does_not_wait(loop: Any, how: str) -> None:
    """destroy() is immediate, and an unref()ed socket does not keep the loop alive."""

    def connected() -> None:
        peers.append(listener.accept()[0])
        peers[0].sendall(b"unread")
        client.write(b"x")
        if how == "unref()":
            client.unref()
            client.destroy_soon()
        else:
            client.destroy()

    peers: list[Any] = []
    with posix.create_server(("127.0.0.1", 0)) as listener:
        client = net.connect(listener.getsockname()[1], "127.0.0.1", connected)
        pyuvnet.run()
    assert client.closed
    assert loop.alive() is False
    peers[0].close()
    while loop.handle_count():
        # Something has to keep the loop alive, or it does not look.
        pyuvnet.set_immediate(lambda: None)
        loop.turn()


def test_what_remains_is_not_unclosed(run_child: Any) -> None:
    child = run_child(
        """
        import socket
        import pyuvnet
        from pyuvnet import net

        def connected():
            peers.append(listener.accept()[0])
            peers[0].sendall(b"unread")
            client.write(b"x")
            client.destroy_soon()

        peers = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = net.connect(listener.getsockname()[1], "127.0.0.1", connected)
            client.on("close", lambda _: pyuvnet.stop())
            pyuvnet.run()
        assert pyuvnet.current_loop().handle_count() == 1
        pyuvnet.current_loop().close()
        peers[0].close()
        """,
        dev=True,
    )
    assert "unclosed" not in child.clean().err

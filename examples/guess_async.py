"""Guess a number: one coroutine per player instead of listeners.

Shows a server in asyncio style: run(main()), `async with` for server and sockets, `async for` over
lines, and a conversation written from top to bottom, together with asyncio's own tools.

    python examples/guess_async.py --port 8124
    nc 127.0.0.1 8124
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import AsyncIterator

from pyuvnet import Socket, events, net, run
from pyuvnet.typing import TextSocket

LONGEST_LINE = 1000  # characters


async def lines(socket: TextSocket) -> AsyncIterator[str]:
    """Yield the lines of a socket with an encoding, without an unfinished one at the end."""
    unfinished = ""
    # A player who wins leaves this loop early, and the socket must stay open then.
    async for chunk in socket.iterator(destroy_on_return=False):
        *complete, unfinished = (unfinished + chunk).split("\n")
        for line in complete:
            yield line.strip()
        if len(unfinished) > LONGEST_LINE:
            raise ValueError("a line is too long")


async def say(socket: Socket, text: str) -> None:
    """Write, and wait until the player has read enough."""
    if not socket.write(text):
        await events.once(socket, "drain")


async def game(socket: TextSocket, highest: int) -> None:
    secret = random.randint(1, highest)
    guesses = 0
    await say(socket, f"I am thinking of a number from 1 to {highest}\n")
    async for line in lines(socket):
        guesses += 1
        if not line.isdecimal():
            await say(socket, "that is not a number\n")
        elif int(line) != secret:
            await say(socket, "higher\n" if int(line) < secret else "lower\n")
        else:
            print(f"{socket.remote_port} won after {guesses} guesses", flush=True)
            socket.end(f"right, after {guesses} guesses\n")
            await events.once(socket, "finish")
            return
    print(f"{socket.remote_port} left", flush=True)


async def main(options: argparse.Namespace) -> None:
    players: set[asyncio.Task[None]] = set()

    async def play(socket: Socket) -> None:
        try:
            # Close the socket, however the game ends.
            async with socket.set_encoding("utf8") as text:
                await asyncio.wait_for(game(text, options.highest), options.seconds)
        except TimeoutError:
            print(f"{socket.remote_port} took too long", flush=True)
        except (OSError, ValueError) as error:
            print(f"{socket.remote_port} failed: {error}", flush=True)

    async with net.create_server(no_delay=True) as server:
        server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
        server.listen(options.port, options.host)
        await events.once(server, "listening")
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)
        try:
            async for socket in server:
                # The game gets the error once it waits for a line.
                socket.on("error", lambda error: None)
                player = asyncio.create_task(play(socket))
                players.add(player)
                player.add_done_callback(players.discard)
        finally:
            for player in players:
                player.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Let clients guess a number.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    parser.add_argument("--highest", type=int, default=100, help="highest number (100)")
    parser.add_argument("--seconds", type=float, default=60, help="time limit for a game (60)")
    try:
        run(main(parser.parse_args()))
    except OSError as error:
        sys.exit(f"guess_async: {error}")

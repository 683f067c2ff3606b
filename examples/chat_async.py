"""A chat room with one coroutine per guest.

Shows a server written as conversations: each coroutine reads its guest's lines, split by a
framing, from top to bottom. One loop gets the name and ends with `return`, the next one continues
where it stopped, and `async with` closes the socket at the end.

    python examples/chat_async.py --port 8124
    nc 127.0.0.1 8124          type a name, then text; /names and /quit are commands
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import FrameError, Socket, events, framing, net, run
from pyuvnet.typing import TextSocket

LINES = framing.Lines(limit=1000)
MOST_UNREAD = 1_000_000  # bytes queued for a slow reader


def say(socket: Socket, text: str) -> None:
    if socket.writable:
        socket.write_frame(text)
    if socket.writable_length > MOST_UNREAD:
        socket.destroy()


class Room:
    """The guests who have chosen a name; they get the messages."""

    def __init__(self) -> None:
        self.guests: dict[str, Socket] = {}

    def announce(self, text: str, author: str = "") -> None:
        for name, socket in list(self.guests.items()):
            if name != author:
                say(socket, text)

    async def serve(self, socket: Socket) -> None:
        """Serve one guest, from the question for the name to the end."""
        name = ""
        try:
            async with socket.set_encoding("utf8") as text:
                name = await self.introduce(text)
                if name:
                    await self.talk(text, name)
        except (OSError, FrameError) as error:
            print(f"{name or 'nobody'}: {error}", flush=True)
        finally:
            if self.guests.pop(name, None):
                self.announce(f"* {name} left")

    async def introduce(self, socket: TextSocket) -> str:
        say(socket, "What is your name?")
        async for name in socket:
            if name.isalnum() and len(name) <= 20 and name not in self.guests:
                self.announce(f"* {name} joined")
                self.guests[name] = socket
                say(socket, "* here: " + ", ".join(sorted(self.guests)))
                return name
            say(socket, "* taken, or not 1 to 20 letters and digits. What is your name?")
        return ""

    async def talk(self, socket: TextSocket, name: str) -> None:
        async for line in socket:
            if line == "/quit":
                say(socket, "* goodbye")
                return
            if line == "/names":
                say(socket, "* here: " + ", ".join(sorted(self.guests)))
            elif line:
                self.announce(f"{name}: {line}", name)


async def main(options: argparse.Namespace) -> None:
    room = Room()
    async with net.create_server(room.serve, no_delay=True, framing=LINES) as server:
        server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
        server.on("shutdown", lambda: room.announce("* the room is closing"))
        server.listen(options.port, options.host)
        await events.once(server, "listening")
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run a chat room.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    try:
        run(main(parser.parse_args()))
    except OSError as error:
        sys.exit(f"chat_async: {error}")

"""A line-based chat room: names, broadcast, a list of guests, leaving.

Shows a server with state per connection: lines assembled from chunks, writing to many sockets, and
limits that protect the room from its guests, for the length of lines and for slow readers.

    python examples/chat.py --port 8124
    nc 127.0.0.1 8124          type a name, then text; /names and /quit are commands
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import Socket, net, run, set_timeout

LONGEST_LINE = 1000  # characters
MOST_UNREAD = 1_000_000  # bytes queued for a slow reader
GOODBYE = 1000  # ms that a guest has to read them at the end


class Room:
    """Everybody who is connected; guests with a name get the messages."""

    def __init__(self) -> None:
        self.guests: set[Guest] = set()

    def names(self) -> list[str]:
        return sorted(guest.name for guest in self.guests if guest.name)

    def announce(self, text: str, author: Guest | None = None) -> None:
        for guest in self.guests:
            if guest.name and guest is not author:
                guest.say(text)


class Guest:
    """One connection, from the question for its name to its end."""

    def __init__(self, room: Room, socket: Socket) -> None:
        self.room, self.socket = room, socket
        self.name = ""
        self.unfinished = ""  # a line whose end has not arrived yet
        room.guests.add(self)
        # Chunks can end inside a character; the socket's decoder handles that.
        socket.set_encoding("utf8")
        socket.on("data", self.received)
        socket.on("error", lambda error: print(f"{self.name or 'nobody'}: {error}", flush=True))
        socket.on("close", self.closed)
        self.say("What is your name?")

    def say(self, text: str) -> None:
        if self.socket.writable:
            self.socket.write(text + "\n")
        if self.socket.writable_length > MOST_UNREAD:
            self.socket.destroy()

    def leave(self, text: str) -> None:
        self.say(text)
        self.socket.destroy_soon()  # once everything is written
        set_timeout(self.socket.destroy, GOODBYE).unref()

    def received(self, chunk: str) -> None:
        *lines, self.unfinished = (self.unfinished + chunk).split("\n")
        for line in lines:
            self.heard(line.strip())
            if not self.socket.writable:
                return
        if len(self.unfinished) > LONGEST_LINE:
            self.leave("* that line is too long, goodbye")

    def heard(self, line: str) -> None:
        if not self.name:
            self.introduced(line)
        elif line == "/quit":
            self.leave("* goodbye")
        elif line == "/names":
            self.say("* here: " + ", ".join(self.room.names()))
        elif line:
            self.room.announce(f"{self.name}: {line}", self)

    def introduced(self, name: str) -> None:
        if not name.isalnum() or len(name) > 20 or name in self.room.names():
            self.say("* taken, or not 1 to 20 letters and digits. What is your name?")
            return
        self.room.announce(f"* {name} joined")
        self.name = name
        self.heard("/names")

    def closed(self, had_error: bool) -> None:
        self.room.guests.discard(self)
        if self.name:
            self.room.announce(f"* {self.name} left")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a chat room.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    options = parser.parse_args()

    room = Room()
    server = net.create_server(lambda socket: Guest(room, socket), no_delay=True)
    server.on("error", lambda error: sys.exit(f"chat: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    @server.on("shutdown")
    def shutdown() -> None:
        for guest in list(room.guests):
            guest.leave("* the room is closing")

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()

"""A file server: a peer sends a name and gets "OK size" and the bytes, or "ERROR reason".

Shows manual back pressure: write() returns False when enough is queued, and 'drain' signals when to
continue. A file of any size, sent to the slowest reader, therefore takes about 100 KB of memory.
(Reading the file blocks the loop for microseconds per chunk; with slow disks, use a thread.)

    python examples/send_files.py --root .
    echo README.md | nc 127.0.0.1 8124
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import BinaryIO

from pyuvnet import Socket, net, run

PIECE = 65536  # bytes read from a file at once
LONGEST_NAME = 4096


class Sending:
    """One file on its way to one socket."""

    def __init__(self, socket: Socket, file: BinaryIO, name: Path) -> None:
        self.socket, self.file, self.name = socket, file, name
        self.most_waiting = 0
        socket.write(f"OK {os.fstat(file.fileno()).st_size}\n")
        socket.on("drain", self.go_on)
        socket.on("close", self.closed)
        self.go_on()

    def go_on(self) -> None:
        taken = True
        while taken:
            piece = self.file.read(PIECE)
            if not piece:
                self.file.close()
                self.socket.end()
                return
            taken = self.socket.write(piece)
            self.most_waiting = max(self.most_waiting, self.socket.writable_length)

    def closed(self, had_error: bool) -> None:
        self.file.close()
        how = "sent" if self.socket.writable_finished else "interrupted"
        # A name can contain anything, such as control sequences, or what cannot be encoded.
        name = str(self.name).encode("unicode_escape").decode()
        print(f"{how} {name}, at most {self.most_waiting} bytes waiting", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send the files of a folder.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder (the current one)")
    options = parser.parse_args()
    root = options.root.resolve()

    def connected(socket: Socket) -> None:
        request = b""

        def received(chunk: bytes) -> None:
            nonlocal request
            request += chunk
            line, end, _ = request.partition(b"\n")
            if end:
                socket.off("data", received)
                answer(socket, os.fsdecode(line).strip())
            elif len(request) > LONGEST_NAME:
                socket.end("ERROR name too long\n")

        socket.on("data", received)
        socket.on("error", lambda error: print(f"{socket.remote_address}: {error}", flush=True))

    def answer(socket: Socket, name: str) -> None:
        try:
            # Resolved, so that neither ".." nor a link leads out of the folder.
            path = (root / name).resolve()
            if not path.is_relative_to(root) or not path.is_file():
                raise FileNotFoundError("no such file")
            file = path.open("rb")
        except (OSError, ValueError) as error:
            socket.end(f"ERROR {getattr(error, 'strerror', None) or error}\n")
        else:
            Sending(socket, file, path.relative_to(root))

    server = net.create_server(connected)
    server.on("error", lambda error: sys.exit(f"send_files: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()

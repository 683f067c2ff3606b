"""Two processes of one program over a unix socket, with coroutines on both sides.

Shows a parent that listens on a path, starts a worker with asyncio's subprocesses, and gives it one
task after another. If a worker dies, another one replaces it and repeats its task.

    python examples/ipc_async.py 12 97 360
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from pyuvnet import Server, Socket, events, framing, net, run

LINES = framing.Lines()
PATIENCE = 10  # s that a worker has to connect, and for each result


async def ask(socket: Socket, text: str) -> str:
    """Send a line, and return the reply."""
    socket.write_frame(text)
    async for line in socket:
        return line.decode()
    raise ConnectionError("it ended without a reply")


async def work(path: str, dies_at: int | None) -> None:
    """Run the worker: reply until the parent ends the connection, or dies."""
    socket = await net.promises.connect(path=path, framing=LINES)
    with contextlib.suppress(ConnectionError):
        async with socket:
            async for number in socket:
                if int(number) == dies_at:
                    os._exit(1)
                divisors = [n for n in range(1, int(number) + 1) if int(number) % n == 0]
                socket.write_frame(f"{divisors} from process {os.getpid()}")


async def attend(server: Server, path: str, tasks: list[int], options: argparse.Namespace) -> None:
    """Start a worker, and give it tasks until none is left or the worker dies."""
    dies_at = [] if options.dies_at is None else ["--dies-at", str(options.dies_at)]
    options.dies_at = None  # only the first worker dies
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--worker", path, *dies_at
    )
    try:
        async with asyncio.timeout(PATIENCE):
            (socket,) = await events.once(server, "connection")
        async with socket:
            while tasks:
                async with asyncio.timeout(PATIENCE):
                    answer = await ask(socket, str(tasks[0]))
                print(f"{tasks.pop(0)}: {answer}", flush=True)
    finally:
        # It exits by itself when its connection ends.
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()


async def manage(path: str, options: argparse.Namespace) -> None:
    """Run the parent: start workers until all tasks are done."""
    tasks = list(options.numbers)
    async with net.create_server(framing=LINES) as server:
        server.listen(path)
        await events.once(server, "listening")
        print(f"process {os.getpid()} listening on {server.address()}", flush=True)
        while tasks:
            try:
                await attend(server, path, tasks, options)
            except ConnectionError as error:
                print(f"the worker died: {error}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Let a second process find divisors.")
    parser.add_argument("--worker", metavar="PATH", help="run as the worker; used by the parent")
    parser.add_argument("--dies-at", type=int, help="make the first worker die at this number")
    parser.add_argument("numbers", nargs="*", type=int, default=[12, 97, 360], help="12 97 360")
    options = parser.parse_args()
    try:
        if options.worker:
            run(work(options.worker, options.dies_at))
        else:
            # A private folder, because anyone who can open the path can connect.
            with tempfile.TemporaryDirectory() as folder:
                run(manage(str(Path(folder) / "socket"), options))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"ipc_async: {str(error) or repr(error)}")

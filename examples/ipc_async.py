"""Two processes of one program over a unix socket, with coroutines on both sides.

Shows a parent that listens on a path, starts a worker with asyncio's subprocesses, and hands it one
task after another. A worker that ends in the middle is replaced, and its task given again.

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
PATIENCE = 10  # s that a worker may take to connect, and for an answer


async def ask(socket: Socket, text: str) -> str:
    """Send a line, and read one."""
    socket.write_frame(text)
    async for line in socket:
        return line.decode()
    raise ConnectionError("it ended without an answer")


async def work(path: str, dies_at: int | None) -> None:
    """The worker: answer until the parent ends the connection, or has gone."""
    socket = await net.promises.connect(path=path, framing=LINES)
    with contextlib.suppress(ConnectionError):
        async with socket:
            async for number in socket:
                if int(number) == dies_at:
                    os._exit(1)
                divisors = [n for n in range(1, int(number) + 1) if int(number) % n == 0]
                socket.write_frame(f"{divisors} from process {os.getpid()}")


async def attend(server: Server, path: str, tasks: list[int], options: argparse.Namespace) -> None:
    """Start a worker, and let it do tasks until none is left, or it ends."""
    dies_at = [] if options.dies_at is None else ["--dies-at", str(options.dies_at)]
    options.dies_at = None  # the next one lives
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
        # With its connection it ends by itself.
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()


async def manage(path: str, options: argparse.Namespace) -> None:
    """The parent."""
    tasks = list(options.numbers)
    async with net.create_server(framing=LINES) as server:
        server.listen(path)
        await events.once(server, "listening")
        print(f"process {os.getpid()} listening on {server.address()}", flush=True)
        while tasks:
            try:
                await attend(server, path, tasks, options)
            except ConnectionError as error:
                print(f"the worker has gone: {error}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Let a second process find divisors.")
    parser.add_argument("--worker", metavar="PATH", help="be the worker; the parent says this")
    parser.add_argument("--dies-at", type=int, help="let the first worker die of this number")
    parser.add_argument("numbers", nargs="*", type=int, default=[12, 97, 360], help="12 97 360")
    options = parser.parse_args()
    try:
        if options.worker:
            run(work(options.worker, options.dies_at))
        else:
            # A folder of our own, readable by nobody else: whoever may open the path may connect.
            with tempfile.TemporaryDirectory() as folder:
                run(manage(str(Path(folder) / "socket"), options))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"ipc_async: {str(error) or repr(error)}")

"""Calls over a connection: many at a time, replies in any order, each with a time limit.

Shows a client that multiplexes: requests have numbers, and one task reads the replies and resolves
the future that waits for each. When the connection ends, all waiting calls fail. Messages are lines
of JSON, split by a framing. `--serve` runs the server.

    python examples/rpc_async.py --serve --port 8124 &
    python examples/rpc_async.py --port 8124 "add 1 2" "sleep 0.5" "add 3 4"
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from pyuvnet import AggregateError, FrameError, Socket, events, framing, net, run

LINES = framing.Lines(limit=1 << 20)


async def send(socket: Socket, value: Any) -> None:
    socket.write_frame(json.dumps(value))
    await socket.drained()


class Client:
    """Calls functions of a server; `async with` connects and disconnects."""

    def __init__(self, port: int, host: str) -> None:
        self._socket = Socket(no_delay=True, framing=LINES)
        self._address = port, host
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def __aenter__(self) -> Client:
        self._socket.connect(*self._address)
        await events.once(self._socket, "connect")
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        failure: Exception = ConnectionError("the server has closed the connection")
        try:
            async with self._socket:
                async for line in self._socket:
                    message = json.loads(line)
                    waiting = self._waiting.get(message["id"])
                    # A call that timed out is no longer there.
                    if waiting is not None and not waiting.done():
                        if "error" in message:
                            waiting.set_exception(ValueError(message["error"]))
                        else:
                            waiting.set_result(message["result"])
        except Exception as error:
            failure = error
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(failure)

    async def call(self, method: str, *params: Any, seconds: float = 10) -> Any:
        """Call a function.

        Raises: ValueError with what the function raised; TimeoutError; ConnectionError.
        """
        if self._reader.done():
            raise ConnectionError("not connected")
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await send(self._socket, {"id": number, "method": method, "params": params})
                return await waiting
        finally:
            del self._waiting[number]
            # Nothing may be left to retrieve the exception.
            waiting.cancel()


# ---- The server ----------------------------------------------------------------------------------


async def add(*numbers: float) -> float:
    return sum(numbers)


async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"slept {seconds} s"


FUNCTIONS: dict[str, Callable[..., Awaitable[Any]]] = {"add": add, "sleep": sleep}


async def serve(socket: Socket) -> None:
    """Start each call as it arrives; a slow one does not hold up the others."""

    async def answer(message: Any) -> None:
        try:
            result = await FUNCTIONS[message["method"]](*message["params"])
        except Exception as error:
            await send(socket, {"id": message["id"], "error": repr(error)})
        else:
            await send(socket, {"id": message["id"], "result": result})

    try:
        # A client that has ended its side still gets its replies.
        async with socket, asyncio.TaskGroup() as calls:
            async for line in socket:
                calls.create_task(answer(json.loads(line)))
    except* (OSError, FrameError, ValueError, LookupError, TypeError) as errors:
        print(f"{socket.remote_address}: {errors.exceptions[0]}", flush=True)


async def main(options: argparse.Namespace) -> bool:
    if options.serve:
        async with net.create_server(serve, no_delay=True, framing=LINES) as server:
            server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
            server.listen(options.port, options.host)
            await events.once(server, "listening")
            print(f"listening on {server.address().address}:{server.address().port}", flush=True)
            await server.serve_forever()
        return True

    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    async def show(client: Client, call: str) -> bool:
        method, *words = call.split()
        try:
            result = await client.call(method, *map(json.loads, words), seconds=options.seconds)
        except (OSError, ValueError) as error:
            print(f"{call}: {str(error) or f'no reply within {options.seconds:g} s'}", flush=True)
            return False
        print(f"{call}: {result}", flush=True)
        return True

    async with Client(options.port, options.host) as client:
        return all(await asyncio.gather(*(show(client, call) for call in options.calls)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Call functions of another process.")
    parser.add_argument("--serve", action="store_true", help="run the server")
    parser.add_argument("--host", default="127.0.0.1", help="address (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port; 0: a free one (8124)")
    parser.add_argument("--seconds", type=float, default=10, help="time limit for each call (10)")
    parser.add_argument("calls", nargs="*", metavar="CALL", help="such as 'add 1 2'")
    try:
        sys.exit(not run(main(parser.parse_args())))
    except asyncio.CancelledError:
        pass  # Ctrl-C
    except (OSError, AggregateError) as error:
        sys.exit(f"rpc_async: {error}")

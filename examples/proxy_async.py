"""A TCP proxy with two coroutines per connection.

Shows two sockets whose directions end separately, as they would without a proxy: end() passes on
the end of one direction while the other continues. An error in either ends both.

    python examples/echo.py --port 8124 &
    python examples/proxy_async.py --port 8125 --to 127.0.0.1:8124
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from pyuvnet import AggregateError, Socket, events, net, run


async def copy(source: Socket, target: Socket) -> None:
    """Forward everything from source to target with back pressure, then the end."""
    async for chunk in source:
        target.write(chunk)
        await target.drained()
    target.end()


async def serve(client: Socket, host: str, port: int) -> None:
    """Serve one client, over a connection of its own to the target."""
    name = f"{client.remote_address}:{client.remote_port}"
    try:
        upstream = net.create_connection(port, host)
        async with client, upstream, asyncio.TaskGroup() as directions:
            directions.create_task(copy(client, upstream))
            directions.create_task(copy(upstream, client))
    except* (OSError, AggregateError) as errors:
        error = errors.exceptions[0]
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        print(f"{name} failed: {str(error) or repr(error)}", flush=True)
    else:
        there, back = upstream.bytes_written, client.bytes_written
        print(f"{name} done: {there} bytes there, {back} back", flush=True)


async def main(options: argparse.Namespace) -> None:
    host, _, port = options.to.rpartition(":")

    async def connected(client: Socket) -> None:
        await serve(client, host, int(port))

    async with net.create_server(connected) as server:
        server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
        server.listen(options.port, options.host)
        await events.once(server, "listening")
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Forward connections to another server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8125, help="TCP port, 0 for a free one (8125)")
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server to forward to")
    options = parser.parse_args()
    if not options.to.rpartition(":")[2].isdecimal():
        parser.error(f"--to needs a host and a port, not {options.to!r}")
    try:
        run(main(options))
    except OSError as error:
        sys.exit(f"proxy_async: {error}")

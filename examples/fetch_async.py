"""Fetch pages over HTTP/1.0 concurrently: an asyncio client with a time limit.

Shows `async with` for a connection, waiting for an event, reading to the end with `async for`, and
asyncio's TaskGroup and timeout() around it: cancellation closes the connection.

    python examples/http_hello.py &
    python examples/fetch_async.py 127.0.0.1:8080/ann 127.0.0.1:8080/bob
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from pyuvnet import AggregateError, events, net, run

LARGEST = 16 << 20  # bytes in a response


async def fetch(address: str) -> tuple[str, bytes]:
    """Return the status line and the body of HOST[:PORT][/PATH]."""
    place, _, path = address.removeprefix("http://").partition("/")
    host, _, port = place.partition(":")
    async with net.create_connection(int(port or 80), host) as socket:
        await events.once(socket, "connect")
        socket.write(f"GET /{path} HTTP/1.0\r\nHost: {place}\r\n\r\n")
        response = bytearray()
        async for chunk in socket:
            response += chunk
            if len(response) > LARGEST:
                raise ValueError("the response is too long")
    head, end, body = response.partition(b"\r\n\r\n")
    if not end:
        raise ValueError("not an HTTP response")
    return head.decode("latin1").split("\r\n")[0], bytes(body)


async def show(address: str, seconds: float) -> bool:
    """Fetch and print one page; return False if that failed."""
    try:
        async with asyncio.timeout(seconds):
            status, body = await fetch(address)
    except TimeoutError as error:
        # asyncio's has no text; that of a connection (ETIMEDOUT) has.
        reason = str(error) or f"no response within {seconds:g} s"
        print(f"{address}: {reason}", file=sys.stderr)
        return False
    except (OSError, AggregateError, ValueError) as error:
        print(f"{address}: {str(error) or repr(error)}", file=sys.stderr)
        return False
    print(f"{address}: {status}, {len(body)} bytes\n{body.decode(errors='replace')}")
    return True


async def main(options: argparse.Namespace) -> bool:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(show(address, options.seconds)) for address in options.addresses]
    return all(task.result() for task in tasks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fetch pages and print them.")
    parser.add_argument("addresses", nargs="+", metavar="HOST[:PORT][/PATH]", help="what to fetch")
    parser.add_argument("--seconds", type=float, default=10, help="time limit for each (10)")
    try:
        sys.exit(not run(main(parser.parse_args())))
    except KeyboardInterrupt:
        sys.exit(130)

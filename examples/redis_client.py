"""A Redis client on net: commands, pipelining, errors as exceptions, publish and subscribe.

Shows a client for a real protocol (RESP2) in asyncio style: replies are futures, in the order of
the commands, so that any number can be outstanding; one task reads them, lines with read_until()
and data of known length with read_exactly(). As a module: Redis(port=6379), execute(), pipeline(),
messages().

    python examples/redis_client.py SET colour green
    python examples/redis_client.py < commands.txt          one per line, all pipelined
    python examples/redis_client.py --subscribe news
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

from pyuvnet import AggregateError, FrameError, Socket, net, run

LARGEST = 512 << 20  # bytes of a reply: Redis's own limit
DEEPEST = 32  # nested lists


class RedisError(Exception):
    """An error reply of the server."""


async def read_reply(socket: Socket, depth: int = 0) -> Any:
    """Read a reply: a line, which data of a known length or more replies may follow."""
    if depth > DEEPEST:
        raise ValueError("the reply is nested too deeply")
    line = (await socket.read_until(b"\r\n"))[:-2]
    kind, text = line[:1], line[1:].decode(errors="replace")
    if kind == b"+":
        return text
    if kind == b"-":
        return RedisError(text)
    if kind == b":":
        return int(text)
    if kind not in (b"$", b"*"):
        raise ValueError(f"not a reply of Redis: it begins with {kind!r}")
    size = int(text)
    if size < 0:
        return None
    if size > LARGEST:
        raise ValueError("the reply is too long")
    if kind == b"$":
        return (await socket.read_exactly(size + 2))[:-2]
    return [await read_reply(socket, depth + 1) for _ in range(size)]


class Redis:
    """One connection; the options are those of net.create_connection(). Use it with `async with`.

    Replies are str (for a status), bytes, int, None, or a list of these and of RedisErrors.
    """

    def __init__(self, **options: Any) -> None:
        self.expected: deque[asyncio.Future[Any]] = deque()
        self.pushed: asyncio.Queue[Any] | None = None
        self.failure: BaseException = ConnectionResetError("the connection to Redis is closed")
        # Commands written before it is connected wait; if connecting fails, so do they.
        self.socket = net.create_connection(**options, no_delay=True)
        self.socket.on("error", self.failed)
        self.receiver = asyncio.ensure_future(self.receive())

    def execute(self, *words: str | bytes | float) -> asyncio.Future[Any]:
        """Send a command; the future has its reply, or raises RedisError or OSError."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        reply = asyncio.get_running_loop().create_future()
        if not self.socket.writable:
            reply.set_exception(self.failure)
            return reply
        self.expected.append(reply)
        text = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self.socket.write(b"*%d\r\n%b" % (len(parts), text))
        return reply

    async def pipeline(self, commands: Iterable[Iterable[str | bytes | float]]) -> list[Any]:
        """Send many commands at once; return their replies, or exceptions for those that failed."""
        self.socket.cork()
        replies = [self.execute(*command) for command in commands]
        self.socket.uncork()
        return await asyncio.gather(*replies, return_exceptions=True)

    async def messages(self, *channels: str) -> AsyncIterator[tuple[str, bytes]]:
        """Subscribe, and yield (channel, message) forever; no other command is allowed then.

        The first message of each channel is b"", once the subscription is active.
        """
        self.pushed = asyncio.Queue()
        self.execute("SUBSCRIBE", *channels)
        self.expected.clear()  # its replies are pushed, one for each channel
        while (push := await self.pushed.get()) is not None:
            match push:
                case [bytes(kind), bytes(channel), message]:
                    yield channel.decode(), message if kind == b"message" else b""
                case _:
                    raise push if isinstance(push, RedisError) else ValueError(f"no push: {push}")
        raise self.failure

    async def receive(self) -> None:
        """Pass each reply to the future that waits for it, until the connection ends."""
        try:
            async with self.socket:
                while True:
                    self.give(await read_reply(self.socket))
        except EOFError:
            pass
        except (OSError, ValueError, FrameError) as error:
            self.failure = error
        finally:
            for future in self.expected:
                if not future.done():
                    future.set_exception(self.failure)
            if self.pushed is not None:
                self.pushed.put_nowait(None)

    def give(self, reply: Any) -> None:
        if self.pushed is not None:
            self.pushed.put_nowait(reply)
            return
        if not self.expected:
            raise ValueError("a reply without a command")
        future = self.expected.popleft()
        if future.done():
            return  # the caller has cancelled it
        if isinstance(reply, RedisError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    def failed(self, error: BaseException) -> None:
        self.failure = error

    async def __aenter__(self) -> Redis:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.end()
        await asyncio.wait([self.receiver])


async def command_line(options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    where = {"path": options.path} if options.path else {"host": options.host, "port": options.port}
    async with Redis(**where) as redis:
        if options.subscribe:
            async for channel, message in redis.messages(*options.subscribe):
                text = message.decode(errors="backslashreplace") or "(subscribed)"
                print(f"{channel}: {text}", flush=True)
        commands = [options.words] if options.words else map(shlex.split, sys.stdin)
        replies = await redis.pipeline(commands)
    for reply in replies:
        if isinstance(reply, (OSError, ValueError, FrameError)):
            raise reply
        if isinstance(reply, RedisError):
            print(f"error: {reply}")
        else:
            print(json.dumps(reply, default=as_text, ensure_ascii=False))
    return any(isinstance(reply, RedisError) for reply in replies)


def as_text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else repr(value)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send commands to Redis and print its replies.")
    parser.add_argument("--host", default="127.0.0.1", help="the server's name (127.0.0.1)")
    parser.add_argument("--port", type=int, default=6379, help="its TCP port (6379)")
    parser.add_argument("--path", help="its unix socket, instead of a port")
    parser.add_argument("--subscribe", nargs="+", metavar="CHANNEL", help="print their messages")
    parser.add_argument("words", nargs="*", help="one command; default: from standard input")
    try:
        code = run(command_line(parser.parse_args()))
    except asyncio.CancelledError:
        code = 0  # Ctrl-C
    except (OSError, AggregateError, ValueError, FrameError, RedisError) as error:
        sys.exit(f"redis_client: {error}")
    sys.exit(code)


if __name__ == "__main__":
    main()

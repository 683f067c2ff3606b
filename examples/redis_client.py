"""A Redis client on net: commands, pipelining, errors as exceptions, publish and subscribe.

Shows a client of a real protocol (RESP2) in asyncio style: answers are futures, in the order of the
commands, so that any number may be on their way at once; and a parser that continues wherever a
chunk ended. As a module: Redis(port=6379), execute(), pipeline(), messages().

    python examples/redis_client.py SET colour green
    python examples/redis_client.py < commands.txt          one on each line, all pipelined
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
from collections.abc import AsyncIterator, Generator, Iterable
from typing import Any

from pyuvnet import events, net, run

LARGEST = 512 << 20  # bytes of an answer: Redis's own limit
LONGEST_LINE = 65536  # bytes
DEEPEST = 32  # lists in lists


class RedisError(Exception):
    """What the server answered instead of a result."""


class Parser:
    """Makes answers out of chunks. A generator waits, deep in an answer, for the next chunk."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.answers: list[Any] = []
        self.steps = self.parse()

    def feed(self, chunk: bytes) -> list[Any]:
        """The answers that are complete with this chunk."""
        self.buffer += chunk
        next(self.steps)
        complete, self.answers = self.answers, []
        return complete

    def parse(self) -> Generator[None, None, None]:
        while True:
            answer = yield from self.value()
            self.answers.append(answer)

    def value(self, depth: int = 0) -> Generator[None, None, Any]:
        if depth > DEEPEST:
            raise ValueError("the answer goes too deep")
        while (end := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > LONGEST_LINE:
                raise ValueError("the answer is too long")
            yield
        line = (yield from self.take(end + 2))[:-2]
        kind, text = line[:1], line[1:].decode(errors="replace")
        if kind == b"+":
            return text
        if kind == b"-":
            return RedisError(text)
        if kind == b":":
            return int(text)
        if kind not in (b"$", b"*"):
            raise ValueError(f"no answer of Redis begins with {kind!r}")
        size = int(text)
        if size < 0:
            return None
        if size > LARGEST:
            raise ValueError("the answer is too long")
        if kind == b"$":
            return (yield from self.take(size + 2))[:-2]
        items = []
        for _ in range(size):
            items.append((yield from self.value(depth + 1)))
        return items

    def take(self, size: int) -> Generator[None, None, bytes]:
        while len(self.buffer) < size:
            yield
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data


class Redis:
    """One connection; the options are those of net.create_connection(). Leave it by `async with`.

    Answers are str (of a status), bytes, int, None, or a list of these and of RedisErrors.
    """

    def __init__(self, **options: Any) -> None:
        self.parser = Parser()
        self.expected: deque[asyncio.Future[Any]] = deque()
        self.pushed: asyncio.Queue[Any] | None = None
        self.failure: BaseException = ConnectionResetError("the connection to Redis is closed")
        # What is written before it is connected waits; if that fails, so do the answers.
        self.socket = net.create_connection(**options, no_delay=True)
        self.socket.on("data", self.received)
        self.socket.on("error", self.failed)
        self.socket.on("close", self.closed)

    def execute(self, *words: str | bytes | float) -> asyncio.Future[Any]:
        """Send a command; the future has its answer, or raises RedisError or OSError."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        answer = asyncio.get_running_loop().create_future()
        if not self.socket.writable:
            answer.set_exception(self.failure)
            return answer
        self.expected.append(answer)
        text = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self.socket.write(b"*%d\r\n%b" % (len(parts), text))
        return answer

    async def pipeline(self, commands: Iterable[Iterable[str | bytes | float]]) -> list[Any]:
        """Send many commands at once; a command that failed has its exception in the list."""
        self.socket.cork()
        answers = [self.execute(*command) for command in commands]
        self.socket.uncork()
        return await asyncio.gather(*answers, return_exceptions=True)

    async def messages(self, *channels: str) -> AsyncIterator[tuple[str, bytes]]:
        """Subscribe, and give (channel, message) for ever; nothing else may be executed then.

        The first message of each channel is b"", once the subscription is in force.
        """
        self.pushed = asyncio.Queue()
        self.execute("SUBSCRIBE", *channels)
        self.expected.clear()  # its answers are pushed, one for each channel
        while (push := await self.pushed.get()) is not None:
            match push:
                case [bytes(kind), bytes(channel), message]:
                    yield channel.decode(), message if kind == b"message" else b""
                case _:
                    raise push if isinstance(push, RedisError) else ValueError(f"no push: {push}")
        raise self.failure

    def received(self, chunk: bytes) -> None:
        try:
            answers = self.parser.feed(chunk)
        except ValueError as error:
            self.socket.destroy(error)
            return
        for answer in answers:
            if self.pushed is not None:
                self.pushed.put_nowait(answer)
                continue
            if not self.expected:
                self.socket.destroy(ValueError("an answer that nobody asked for"))
                return
            future = self.expected.popleft()
            if future.done():
                continue  # cancelled by who asked
            if isinstance(answer, RedisError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def failed(self, error: BaseException) -> None:
        self.failure = error

    def closed(self, had_error: bool) -> None:
        for future in self.expected:
            if not future.done():
                future.set_exception(self.failure)
        if self.pushed is not None:
            self.pushed.put_nowait(None)

    async def __aenter__(self) -> Redis:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.socket.closed:
            self.socket.end()
            await events.once(self.socket, "close")


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
        answers = await redis.pipeline(commands)
    for answer in answers:
        if isinstance(answer, (OSError, ValueError)):
            raise answer
        if isinstance(answer, RedisError):
            print(f"error: {answer}")
        else:
            print(json.dumps(answer, default=as_text, ensure_ascii=False))
    return any(isinstance(answer, RedisError) for answer in answers)


def as_text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else repr(value)


def main() -> None:
    parser = argparse.ArgumentParser(description="Send commands to Redis and print its answers.")
    parser.add_argument("--host", default="127.0.0.1", help="the server's name (127.0.0.1)")
    parser.add_argument("--port", type=int, default=6379, help="its TCP port (6379)")
    parser.add_argument("--path", help="its unix socket, instead of a port")
    parser.add_argument("--subscribe", nargs="+", metavar="CHANNEL", help="print what they say")
    parser.add_argument("words", nargs="*", help="one command; without: from the standard input")
    try:
        code = run(command_line(parser.parse_args()))
    except asyncio.CancelledError:
        code = 0  # Ctrl-C
    except (OSError, ValueError, RedisError) as error:
        # An AggregateError, when all addresses of a name failed, has no text of its own.
        sys.exit(f"redis_client: {error}")
    sys.exit(code)


if __name__ == "__main__":
    main()

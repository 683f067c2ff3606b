"""examples/redis_client.py, against a real redis-server: nothing else stands in for it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyuvnet

REDIS = shutil.which("redis-server")
SOURCE = Path(__file__).resolve().parent.parent.parent / "examples" / "redis_client.py"

pytestmark = pytest.mark.skipif(REDIS is None, reason="no redis-server here")


class Server:
    """A redis-server of our own, on a free port and a unix socket, that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "redis.sock")
        # Nobody can reserve a port for another process; one that was just free may be taken.
        while not self.start(folder):
            pass

    def start(self, folder: Path) -> bool:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        where = ["--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", self.path]
        self.process = subprocess.Popen(
            [REDIS, *where, "--save", "", "--appendonly", "no", "--dir", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for line in self.process.stdout:
            # Of the unix socket, which comes last; "unix" is what Redis 7.2 and newer call it.
            if "connections at" in line or "connections unix" in line:
                # Nobody reads its log any more; it is short.
                return True
            if "Address already in use" in line:
                break
        self.stop()
        return False

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis(shared) -> Server:
    """The server, empty."""
    with socket.create_connection(("127.0.0.1", shared.port), timeout=20) as client:
        client.sendall(b"FLUSHALL\r\n")
        assert client.recv(100) == b"+OK\r\n"
    return shared


@pytest.fixture
def forward() -> Iterator:
    """forward(port, size, hold) listens, and passes one connection on to a port of this machine.

    Answers are cut into pieces of `size` bytes; none passes before `hold` bytes were asked.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(port: int, size: int = 65536, hold: int = 0) -> int:
        enough = threading.Event()

        def upwards(client: socket.socket, server: socket.socket) -> None:
            asked = 0
            while data := client.recv(65536):
                asked += len(data)
                server.sendall(data)
                if asked >= hold:
                    enough.set()
            server.shutdown(socket.SHUT_WR)

        def serve() -> None:
            client = listener.accept()[0]
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.create_connection(("127.0.0.1", port))
            with client, server:
                up = threading.Thread(target=upwards, args=(client, server))
                up.start()
                enough.wait()
                while data := server.recv(65536):
                    for at in range(0, len(data), size):
                        client.sendall(data[at : at + size])
                client.shutdown(socket.SHUT_WR)
                up.join()

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return listener.getsockname()[1]

    yield start
    for thread in threads:
        thread.join(20)
    listener.close()


@pytest.fixture
def command(example, redis):
    """command(*words) runs one; its answer."""

    def run(*words: str):
        code, out, err = example("redis_client", "--port", redis.port, *words).wait()
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


def feed(process, text: str) -> tuple[int, list[str], str]:
    """Give commands to the standard input: exit code, lines, standard error."""
    out, err = process.process.communicate(text, timeout=20)
    return process.process.returncode, out.splitlines(), err


# ---- As a program --------------------------------------------------------------------------------


def test_every_kind_of_answer(command):
    assert command("PING") == "PONG"
    assert command("SET", "key", "two words, and ü") == "OK"
    assert command("GET", "key") == "two words, and ü"
    assert command("GET", "nothing") is None
    assert command("SET", "empty", "") == "OK"
    assert command("GET", "empty") == ""
    assert command("INCR", "n") == 1
    assert command("DECRBY", "n", "10") == -9
    assert command("RPUSH", "list", "a", "b") == 2
    assert command("LRANGE", "list", "0", "-1") == ["a", "b"]
    assert command("LRANGE", "nothing", "0", "-1") == []
    assert command("BLPOP", "nothing", "0.01") is None
    assert command("HMGET", "nothing", "field") == [None]
    assert command("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2") == ["a", "b"]


def test_over_a_unix_socket(example, redis):
    assert example("redis_client", "--path", redis.path, "ECHO", "hello").wait() == (
        0,
        '"hello"\n',
        "",
    )


def test_an_error_is_told_and_is_the_exit_code(example, redis):
    code, out, err = example("redis_client", "--port", redis.port, "FLY").wait()
    assert (code, err) == (1, "")
    assert out.startswith("error: ERR unknown command 'FLY'")


def test_after_an_error_the_answers_still_belong_to_their_commands(example, redis):
    text = 'SET a "x y"\nLPUSH a 1\nGET a\nMULTI\nINCR n\nINCR a\nEXEC\nGET n\n'
    code, lines, err = feed(example("redis_client", "--port", redis.port), text)
    assert (code, err) == (1, "")
    assert lines == [
        '"OK"',
        "error: WRONGTYPE Operation against a key holding the wrong kind of value",
        '"x y"',
        '"OK"',
        '"QUEUED"',
        '"QUEUED"',
        "[1, \"RedisError('ERR value is not an integer or out of range')\"]",
        '"1"',
    ]


def test_all_commands_are_on_their_way_before_the_first_answer(example, redis, forward):
    count = 1000
    # INCR n is 22 bytes in the protocol; a client that waited for an answer would wait for ever.
    port = forward(redis.port, hold=count * len(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"))
    code, lines, err = feed(example("redis_client", "--port", port), "INCR n\n" * count)
    assert (code, err) == (0, "")
    assert lines == [str(number) for number in range(1, count + 1)]


@pytest.mark.parametrize("size", [1, 3])
def test_answers_cut_anywhere(example, redis, forward, size):
    text = "RPUSH l a bb ''\nLRANGE l 0 -1\nFLY\nINCR n\nGET nothing\nBLPOP nothing 0.01\nPING\n"
    port = forward(redis.port, size=size)
    code, lines, err = feed(example("redis_client", "--port", port), text)
    assert (code, err) == (1, "")
    assert lines[:2] == ["3", '["a", "bb", ""]']
    assert lines[2].startswith("error: ERR unknown command 'FLY'")
    assert lines[3:] == ["1", "null", "null", '"PONG"']


def test_publish_and_subscribe(example, redis, command):
    subscriber = example("redis_client", "--port", redis.port, "--subscribe", "news", "weather")
    assert subscriber.line() == "news: (subscribed)"
    assert subscriber.line() == "weather: (subscribed)"
    other = example("redis_client", "--port", redis.port, "--subscribe", "news")
    assert other.line() == "news: (subscribed)"
    assert command("PUBLISH", "weather", "rain") == 1
    assert command("PUBLISH", "news", "two words") == 2
    assert command("PUBLISH", "sport", "nobody hears") == 0
    assert [subscriber.line(), subscriber.line()] == ["weather: rain", "news: two words"]
    assert other.line() == "news: two words"
    other.interrupt()
    subscriber.stop()


def test_a_subscriber_whose_server_ends_says_so(example, tmp_path):
    server = Server(tmp_path)
    subscriber = example("redis_client", "--path", server.path, "--subscribe", "news")
    assert subscriber.line() == "news: (subscribed)"
    server.stop()
    assert subscriber.wait() == (1, "", "redis_client: the connection to Redis is closed\n")


def test_without_a_server(example, unused_port):
    code, out, err = example("redis_client", "--port", unused_port, "PING").wait()
    assert (code, out) == (1, "")
    assert err == f"redis_client: connect ECONNREFUSED 127.0.0.1:{unused_port}\n"


# ---- As a module ---------------------------------------------------------------------------------


@pytest.fixture
def module():
    spec = importlib.util.spec_from_file_location("redis_client", SOURCE)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_bytes_in_and_out_and_errors_as_exceptions(module, redis):
    async def main():
        async with module.Redis(port=redis.port, host="127.0.0.1") as client:
            every = bytes(range(256))
            assert await client.execute("SET", b"\xff key\r\n", every) == "OK"
            assert await client.execute("GET", b"\xff key\r\n") == every
            assert await client.execute("INCRBYFLOAT", "f", 1.5) == b"1.5"
            with pytest.raises(module.RedisError, match="wrong number of arguments"):
                await client.execute("GET")
            assert await client.execute("PING") == "PONG"

    pyuvnet.run(main())


def test_a_value_of_megabytes(module, redis):
    async def main():
        async with module.Redis(port=redis.port, host="127.0.0.1") as client:
            value = os.urandom(5_000_000)
            assert await client.pipeline([["SET", "big", value], ["GET", "big"]]) == ["OK", value]

    pyuvnet.run(main())


def test_many_tasks_share_a_connection(module, redis):
    async def main():
        async with module.Redis(path=redis.path) as client:

            async def use(number: int) -> bytes:
                await client.execute("SET", f"key {number}", number)
                return await client.execute("GET", f"key {number}")

            answers = await asyncio.gather(*(use(number) for number in range(200)))
            assert answers == [str(number).encode() for number in range(200)]

    pyuvnet.run(main())


def test_who_gives_up_leaves_the_others_their_answers(module, redis):
    async def main():
        async with module.Redis(path=redis.path) as client:
            blocked = client.execute("BLPOP", "queue", 0)
            after = client.execute("PING")
            blocked.cancel()
            async with module.Redis(path=redis.path) as other:
                await other.execute("RPUSH", "queue", "x")
            assert await after == "PONG"

    pyuvnet.run(main())


def test_what_waits_when_the_server_ends_fails_and_what_comes_later_too(module, tmp_path):
    server = Server(tmp_path)

    async def main():
        client = module.Redis(path=server.path)
        assert await client.execute("PING") == "PONG"
        blocked = client.execute("BLPOP", "queue", 0)
        # Answered by another connection only after this one's command has arrived.
        async with module.Redis(path=server.path) as other:
            while (await other.execute("INFO", "clients")).find(b"blocked_clients:1") < 0:
                pass
        server.stop()
        with pytest.raises(ConnectionResetError):
            await blocked
        with pytest.raises(ConnectionResetError):
            await client.execute("PING")

    with contextlib.closing(server.process.stdout):
        pyuvnet.run(main())


def test_what_is_no_answer_of_redis_is_refused_where_it_comes(module):
    # A real server says no such thing.
    class Source(pyuvnet.Readable):
        def _read(self, size):
            pass

    async def main():
        source = Source()
        reading = asyncio.ensure_future(module.read_reply(source))
        for byte in b"*3\r\n$2\r\na":
            source.push(bytes([byte]))
            await asyncio.sleep(0)
        assert not reading.done()
        source.push(b"b\r\n:1\r\n$-1\r\n!\r\n")
        assert await reading == [b"ab", 1, None]
        with pytest.raises(ValueError, match="not a reply of Redis: it begins with b'!'"):
            await module.read_reply(source)
        source.destroy()

    pyuvnet.run(main())

"""examples/redis_client.py, against a server that answers what Redis never does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def server() -> Iterator[Callable[[bytes], int]]:
    """server(answer) listens: a client that sends something gets that, again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads: list[threading.Thread] = []

        def start(answer: bytes, times: int = 1) -> int:
            def serve() -> None:
                client = listener.accept()[0]
                with client, contextlib.suppress(OSError):
                    client.recv(65536)
                    for _ in range(times):
                        client.sendall(answer)
                    while client.recv(65536):
                        pass

            threads.append(threading.Thread(target=serve, daemon=True))
            threads[-1].start()
            port: int = listener.getsockname()[1]
            return port

        yield start
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("answer", "times", "reason"),
    [
        (b"*1\r\n" * 100_000, 1, "the reply is nested too deeply"),
        (b"$99999999999999\r\n", 1, "the reply is too long"),
        (b"*99999999999999\r\n", 1, "the reply is too long"),
        (b"x" * 1_000_000, 1000, "found no delimiter within 65536 bytes"),
        (b":one\r\n", 1, "invalid literal"),
        (b"$\r\n", 1, "invalid literal"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 1, "not a reply of Redis: it begins with b'H'"),
    ],
    ids=["deep", "text", "list", "line", "number", "size", "HTTP"],
)
def test_what_is_no_answer_ends_it_with_the_reason(example, server, answer, times, reason):
    client = example("redis_client", "--port", server(answer, times), "PING")
    client.bound_memory()
    code, out, err = client.wait()
    assert (code, out) == (1, "")
    assert err.startswith("redis_client: ")
    assert reason in err
    assert "Traceback" not in err


@pytest.mark.parametrize("answer", [b"+PONG\r\n+PONG\r\n", b"+PONG\r\n:1\r\n*0\r\n"])
def test_answers_that_nobody_asked_for(example, server, answer):
    code, _, err = example("redis_client", "--port", server(answer), "PING").wait()
    assert "Traceback" not in err
    assert code in (0, 1)


@pytest.mark.parametrize(
    "push",
    [b":1\r\n", b"*0\r\n", b"+OK\r\n", b"$-1\r\n", b"*3\r\n:1\r\n:2\r\n:3\r\n", b"-NOAUTH no\r\n"],
)
def test_a_subscriber_who_hears_something_else(example, server, push):
    client = example("redis_client", "--port", server(push), "--subscribe", "news")
    code, out, err = client.wait()
    assert (code, out) == (1, "")
    assert err.startswith("redis_client: ")

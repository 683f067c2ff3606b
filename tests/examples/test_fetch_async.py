"""examples/fetch_async.py"""

from __future__ import annotations

import contextlib
import http.server
import signal
import socket
import sys
import threading

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="asyncio cannot drive the loop on Windows yet"
)


@pytest.fixture
def silent():
    """A listener that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


@pytest.fixture
def site():
    """Python's own HTTP server, with one page."""
    page = b"0123456789" * 100_000

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/page"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(page if found else b"not here")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], page.decode()
        server.shutdown()
        thread.join()


def test_pages_of_another_example(example):
    port = example("http_hello", "--port", 0).port()
    places = [f"127.0.0.1:{port}/{name}" for name in ("ann", "bob", "cid")]
    code, out, err = example("fetch_async", *places).wait()
    assert (code, err) == (0, "")
    for place, name in zip(places, ("ann", "bob", "cid"), strict=True):
        assert f"{place}: HTTP/1.0 200 OK, 12 bytes\nHello, {name}!\n" in out


def test_a_large_page_of_pythons_own_server(example, site):
    port, page = site
    code, out, err = example("fetch_async", f"http://localhost:{port}/page").wait()
    assert (code, err) == (0, "")
    assert out == f"http://localhost:{port}/page: HTTP/1.0 200 OK, {len(page)} bytes\n{page}\n"


def test_one_that_does_not_answer_in_time_holds_no_other_up(example, silent, site):
    slow = f"127.0.0.1:{silent.getsockname()[1]}/"
    good = f"127.0.0.1:{site[0]}/nothing"
    fetch = example("fetch_async", "--seconds", 3, slow, good)
    connection = silent.accept()[0]
    with connection:
        connection.settimeout(20)
        assert connection.recv(1000).startswith(b"GET / HTTP/1.0\r\nHost: 127.0.0.1:")
        fetch.until("HTTP/1.0 404 Not Found, 8 bytes")
        # What was given up is closed.
        assert connection.recv(1000) == b""
    code, _, err = fetch.wait()
    assert (code, err) == (1, f"{slow}: no response within 3 s\n")


def test_nobody_there_and_no_http(example, silent, unused_port):
    other = silent.getsockname()[1]
    fetch = example("fetch_async", f"127.0.0.1:{unused_port}", f"127.0.0.1:{other}")
    with silent.accept()[0] as connection:
        connection.recv(1000)
        connection.sendall(b"220 welcome\r\n")
    code, out, err = fetch.wait()
    assert (code, out) == (1, "")
    assert sorted(err.splitlines()) == sorted(
        [
            f"127.0.0.1:{unused_port}: connect ECONNREFUSED 127.0.0.1:{unused_port}",
            f"127.0.0.1:{other}: not an HTTP response",
        ]
    )


def test_ctrl_c_closes_what_is_open(example, silent):
    fetch = example("fetch_async", f"127.0.0.1:{silent.getsockname()[1]}")
    with silent.accept()[0] as connection:
        connection.settimeout(20)
        connection.recv(1000)
        fetch.process.send_signal(signal.SIGINT)
        assert connection.recv(1000) == b""
    assert fetch.wait() == (130, "", "")


def test_a_page_without_end_is_given_up(example):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def flood() -> None:
            client = listener.accept()[0]
            with client, contextlib.suppress(OSError):
                client.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while True:
                    client.sendall(b"x" * 1_000_000)

        thread = threading.Thread(target=flood)
        thread.start()
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        fetching = example("fetch_async", "--seconds", 60, place)
        fetching.bound_memory()
        code, out, err = fetching.wait()
        thread.join()
    assert (code, out) == (1, "")
    assert err == f"{place}: the response is too long\n"

"""examples/retry_listen.py"""

from __future__ import annotations

import socket
import sys

import pytest


@pytest.fixture
def taken():
    """A listener that is in the way until it is closed."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


@pytest.mark.spec("N116")
def test_it_listens_as_soon_as_the_port_is_free(example, peer, taken):
    port = taken.getsockname()[1]
    server = example("retry_listen", "--port", port, "--delay", 20)
    for _ in range(3):
        assert server.line() == f"port {port} is in use, next try in 20 ms"
    taken.close()
    assert server.port() == port
    assert peer(port).rest() == b"hello\n"


def test_it_gives_up_after_so_many_tries(example, taken):
    port = taken.getsockname()[1]
    code, out, err = example("retry_listen", "--port", port, "--delay", 1, "--tries", 4).wait()
    assert (code, out.count("is in use")) == (1, 3)
    assert err == (
        f"retry_listen: listen EADDRINUSE: address already in use 127.0.0.1:{port}"
        " (after 4 tries)\n"
    )


def test_another_error_is_not_retried(example):
    # 192.0.2.0/24 is for documentation: no interface has it.
    code, out, err = example("retry_listen", "--port", 0, "--host", "192.0.2.1").wait()
    assert (code, out) == (1, "")
    assert "EADDRNOTAVAIL" in err
    assert "(after 1 tries)" in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_ends_cleanly_while_it_waits(example, taken):
    server = example("retry_listen", "--port", taken.getsockname()[1], "--delay", 60_000)
    server.until("in use")
    server.stop()

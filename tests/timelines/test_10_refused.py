"""ordering 3.10: nobody listens."""

import pytest

from pyuvnet import net

BEFORE = "ERR_SOCKET_CLOSED_BEFORE_CONNECTION"


@pytest.mark.spec("R6-02", "N041", "N046")
def test_refused_with_a_write_and_an_end_pending(timeline, run, free_port):
    def failed(ip, port, family, error):
        timeline.note("c", ip, port == free_port, family, error.code)

    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.on("connectionAttemptFailed", failed)
    c.on("error", lambda error: errors.append((error, c.destroyed, c.connecting)))
    errors = []
    c.connect(free_port, "127.0.0.1")
    c.write(b"x", timeline.cb("c", "w"))
    c.end(timeline.cb("c", "end"))
    run()
    assert timeline["c"] == [
        ("connectionAttempt", 4),
        ("connectionAttemptFailed", "ECONNREFUSED"),
        ("127.0.0.1", True, 4, "ECONNREFUSED"),
        ("error", "ECONNREFUSED"),
        ("close", True),
        ("cb w", BEFORE),
        ("cb end", "ECONNREFUSED"),
    ]
    ((error, destroyed, connecting),) = errors
    assert (destroyed, connecting) == (True, False)
    assert isinstance(error, ConnectionRefusedError)
    assert (error.syscall, error.address, error.port) == ("connect", "127.0.0.1", free_port)
    assert str(error) == f"connect ECONNREFUSED 127.0.0.1:{free_port}"
    assert c.errored is error


@pytest.mark.spec("N040", "N057")
@pytest.mark.parametrize("stale", [False, True])
def test_ipc(timeline, run, tmp_path, stale):
    import socket

    path = str(tmp_path / "sock")
    if stale:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    attempts = []
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.on("connectionAttempt", lambda *args: attempts.append(args))
    c.on("connectionAttemptFailed", lambda *args: attempts.append(args[:3]))
    c.connect(path)
    assert attempts == [(path, None, None)]
    c.write(b"x", timeline.cb("c", "w"))
    c.end(timeline.cb("c", "end"))
    run()
    code = "ECONNREFUSED" if stale else "ENOENT"
    assert timeline["c"] == [
        ("connectionAttempt", None),
        ("connectionAttemptFailed", code),
        ("error", code),
        ("close", True),
        ("cb w", BEFORE),
        ("cb end", code),
    ]
    assert attempts == [(path, None, None)] * 2
    assert (c.errored.address, c.errored.port) == (path, None)


@pytest.mark.spec("N047")
def test_lookup_failure(timeline, run):
    c = timeline.watch("c", net.Socket(), without=("data", "resume"))
    c.on("lookup", lambda *args: timeline.note("c", "lookup", args[0].code, *args[1:]))
    c.connect(80, "does-not-exist.invalid")
    run()
    code = c.errored.code
    assert code in ("ENOTFOUND", "EAI_AGAIN")
    assert timeline["c"] == [
        ("lookup", code, None, None, "does-not-exist.invalid"),
        ("error", code),
        ("close", True),
    ]
    assert (c.errored.syscall, c.errored.hostname) == ("getaddrinfo", "does-not-exist.invalid")

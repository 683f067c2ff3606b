"""What programs do with net, whole: the uses that the coverage table names."""

from __future__ import annotations

import random
import socket as posix
import sys
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel balances on Linux")


@pytest.mark.spec("N102")
def test_a_block_list_asked_in_the_connection_listener() -> None:
    blocked = net.BlockList()
    blocked.add_subnet("127.0.0.0", 8)
    heard: dict[str, bytes] = {}
    seen: list[Any] = []

    def connection(s: net.Socket) -> None:
        seen.append((s.remote_address, s.remote_family))
        assert s.remote_address
        assert s.remote_family
        # An IPv4 peer of a dual-stack server is an IPv6 one with a mapped address.
        if blocked.check(s.remote_address, s.remote_family.lower()):
            s.destroy()
        else:
            s.end(b"welcome")
        if len(seen) == 2:
            server.close()

    server = net.create_server(connection).listen(0)
    for host in ("127.0.0.1", "::1"):
        heard[host] = b""
        c = net.create_connection(server.address()["port"], host)
        c.on("data", lambda chunk, host=host: heard.update({host: heard[host] + chunk}))
    pyuvnet.run()
    assert sorted(seen) == [("::1", "IPv6"), ("::ffff:127.0.0.1", "IPv6")]
    assert heard == {"127.0.0.1": b"", "::1": b"welcome"}


@pytest.mark.spec("N053", "N054", "N105", "N123")
def test_statistics_of_a_transfer() -> None:
    """What one end counts as written, the other counts as read; both keep it after 'close'."""
    statistics: list[tuple[int, int]] = []
    rng = random.Random(3)
    question, answer = rng.randbytes(300_000), rng.randbytes(700_000)

    def connection(s: net.Socket) -> None:
        server.close()
        s.resume()
        s.on("end", lambda: s.end(answer))
        s.on("close", lambda had_error: statistics.append((s.bytes_read, s.bytes_written)))

    server = net.create_server(connection, allow_half_open=True).listen(0)
    c = net.create_connection(server.address()["port"], "127.0.0.1").resume()
    c.on("ready", lambda: c.write(question[:100_000]))
    c.on("ready", lambda: c.end(question[100_000:]))
    c.on("close", lambda had_error: statistics.append((c.bytes_written, c.bytes_read)))
    pyuvnet.run()
    assert statistics == [(300_000, 700_000)] * 2


@pytest.mark.spec("N106", "N126")
def test_an_upload_that_waits_for_drain() -> None:
    """However slow the reader is, the writer never queues more than one chunk above the mark."""
    data = random.Random(5).randbytes(1 << 20) * 16
    piece = 256 * 1024
    got = bytearray()
    queued: list[int] = []
    drains = 0

    def connection(s: net.Socket) -> None:
        server.close()

        def slowly(chunk: bytes) -> None:
            got.extend(chunk)
            s.pause()
            pyuvnet.set_immediate(s.resume)

        s.on("data", slowly)

    def upload() -> None:
        while c.bytes_written < len(data):
            more = c.write(data[c.bytes_written : c.bytes_written + piece])
            queued.append(c.writable_length)
            assert more is not c.writable_need_drain
            if not more:
                return
        c.end()

    def drained() -> None:
        nonlocal drains
        drains += 1
        assert c.writable_length == 0
        upload()

    server = net.create_server(connection).listen(0)
    c = net.create_connection(server.address()["port"], "127.0.0.1", upload)
    c.on("drain", drained)
    pyuvnet.run()
    assert got == data
    assert drains > 0
    assert max(queued) <= piece


@pytest.mark.spec("N035", "N107", "N138")
def test_a_server_that_lets_the_program_exit(run_child: Callable[..., Any]) -> None:
    child = run_child(
        """
        import pyuvnet
        from pyuvnet import net

        def connection(socket):
            print("served", flush=True)
            socket.end(b"bye")

        server = net.create_server(connection).listen(0)
        server.unref()
        client = net.create_connection(server.address()["port"], "127.0.0.1")
        client.on("data", lambda chunk: print(chunk.decode(), flush=True))
        client.on("close", lambda had_error: print("closed", server.listening, flush=True))
        pyuvnet.run()
        print("over", server.listening)
        """
    ).clean()
    assert child.lines == ["served", "bye", "closed True", "over True"]


@pytest.mark.spec("N110", "N144")
def test_an_error_that_nobody_listens_to_ends_the_program(run_child: Callable[..., Any]) -> None:
    child = run_child(
        """
        import pyuvnet
        from pyuvnet import net

        holder = net.create_server().listen(0)
        net.create_server().listen(holder.address()["port"])
        pyuvnet.run()
        print("never")
        """
    )
    assert (child.code, child.out) == (1, "")
    (said,) = [line for line in child.err.splitlines() if line.startswith("OSError: ")]
    assert "listen EADDRINUSE: address already in use" in said


@pytest.mark.spec("N070", "N072", "N132", "D29")
def test_who_it_was_is_known_in_close() -> None:
    pairs: list[Any] = []

    def connection(s: net.Socket) -> None:
        server.close()
        s.resume()
        s.on("close", lambda had_error: pairs.append((s.remote_address, s.remote_port)))

    server = net.create_server(connection).listen(0)
    c = net.create_connection(server.address()["port"], "127.0.0.1")
    c.on("ready", lambda: pairs.append((f"::ffff:{c.local_address}", c.local_port)))
    c.on("ready", c.end)
    pyuvnet.run()
    # The accepted socket's was never asked for while it was connected.
    assert pairs[0] == pairs[1]


@pytest.mark.spec("N135")
def test_a_server_that_does_not_wait_for_silent_clients() -> None:
    seen: list[str] = []

    def connection(s: net.Socket) -> None:
        server.close()
        s.set_timeout(30)
        s.on("timeout", lambda: (seen.append("timeout"), s.end(b"too slow")))
        s.on("close", lambda had_error: seen.append(f"s close {had_error}"))
        s.resume()

    server = net.create_server(connection).listen(0)
    c = net.create_connection(server.address()["port"], "127.0.0.1")
    c.on("data", lambda chunk: seen.append(chunk.decode()))
    c.on("close", lambda had_error: seen.append(f"c close {had_error}"))
    pyuvnet.run()
    assert seen[:2] == ["timeout", "too slow"]
    assert sorted(seen[2:]) == ["c close False", "s close False"]


@pytest.mark.spec("N058", "N137")
def test_a_socket_made_first_and_connected_later() -> None:
    """new net.Socket(), connect(port, host, cb), write when connected, destroy after the answer."""
    seen: list[Any] = []
    server = net.create_server(lambda s: (server.close(), s.pipe(s))).listen(0)
    c = net.Socket()
    c.on("data", lambda chunk: (seen.append(chunk), c.destroy()))
    c.on("close", lambda had_error: seen.append(("close", had_error)))

    def connected() -> None:
        seen.append("connected")
        c.write(b"Hello, server! Love, Client.")

    assert c.connect(server.address()["port"], "127.0.0.1", connected) is c
    pyuvnet.run()
    assert seen == ["connected", b"Hello, server! Love, Client.", ("close", False)]


WORKER = """
    import sys
    import pyuvnet
    from pyuvnet import net

    server = net.create_server(lambda socket: socket.end(sys.argv[1]))
    {listen}
    server.on("listening", lambda: print(server.address()["port"], flush=True))
    pyuvnet.run()
"""


def ask(port: int) -> str:
    with posix.create_connection(("127.0.0.1", port)) as peer:
        return peer.recv(10).decode()


@pytest.mark.spec("N145", "N157")
@linux
def test_several_processes_share_a_port(open_child: Callable[..., Any]) -> None:
    first = open_child(WORKER.format(listen="server.listen(port=0, reuse_port=True)"), "a")
    port = int(first.stdout.readline())
    listen = f"server.listen(port={port}, reuse_port=True)"
    second = open_child(WORKER.format(listen=listen), "b")
    assert int(second.stdout.readline()) == port
    # The kernel chooses by the peer's port, as good as by chance.
    answers = {ask(port) for _ in range(64)}
    assert answers == {"a", "b"}


@pytest.mark.spec("N117", "N145")
@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are POSIX's")
def test_a_listening_descriptor_handed_to_children(open_child: Callable[..., Any]) -> None:
    with posix.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        worker = WORKER.format(listen=f"server.listen(fd={fd})")
        one = open_child(worker, "a", pass_fds=(fd,))
        assert int(one.stdout.readline()) == port
        assert ask(port) == "a"
        # Both wait for connections of the one queue; when the first is gone, the other has them.
        other = open_child(worker, "b", pass_fds=(fd,))
        assert int(other.stdout.readline()) == port
        one.kill()
        one.wait()
        assert ask(port) == "b"

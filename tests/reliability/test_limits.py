"""The bounds that docs/reliability.md gives under "Limits", as far as no other test has them."""

from __future__ import annotations

import os
import socket as posix
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import Readable, current_loop, next_tick, run
from pyuvnet.errors import AggregateError
from pyuvnet.net import Server, Socket
from tests.support.hosts import hosts
from tests.support.races import settle

CHUNK = 65536


def test_what_is_set_unless_a_program_sets_something_else() -> None:
    server, client = Server(), Socket()
    assert server.max_connections is None
    assert server.dropped == {}
    assert not client.timeout
    assert client.allow_half_open is False
    assert server.allow_half_open is False
    assert (server.keep_alive, server.no_delay) == (False, False)
    mark = 16384 if sys.platform == "win32" else 65536
    marks = (client.readable_high_water_mark, client.writable_high_water_mark)
    assert {*marks, server.high_water_mark} == {mark}
    assert pyuvnet.net.get_default_auto_select_family_attempt_timeout() == 500
    assert client.get_max_listeners() == 10


@pytest.mark.parametrize("mark", [0, 1, 1000, CHUNK, 200_000])
def test_a_socket_reads_ahead_to_its_mark_and_a_chunk(mark: int) -> None:
    """Paused, it holds at most what one read may add to a buffer that is not full yet."""
    held: list[Socket] = []

    def accepted(sock: Socket) -> None:
        held.append(sock)
        sock.pause()
        sock.read(0)

    server = Server(accepted, high_water_mark=mark).listen(0)
    with posix.create_connection(("127.0.0.1", server.address().port)) as peer:
        peer.setblocking(False)
        sent = 0

        def send() -> int:
            nonlocal sent
            try:
                while True:
                    sent += peer.send(b"x" * 1_000_000)
            except BlockingIOError:
                return sent + (held[0].readable_length if held else 0)

        # Until neither end goes on.
        settle(send)
        assert sent > CHUNK + mark
        assert mark <= held[0].readable_length < max(mark, 1) + CHUNK
        chunks: list[int] = []
        held[0].on("data", lambda chunk: chunks.append(len(chunk)))
        held[0].resume()

        def go_on() -> int:
            send()
            return min(sum(chunks), 3_000_000)

        settle(go_on)
        # Once it flows, reads that fill the buffer become larger.
        large = CHUNK if sys.platform == "win32" else 2 * CHUNK - 128
        assert max(chunks[len(chunks) // 2 :]) == large
        held[0].destroy()
    server.close()
    run()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pairs of sockets to open there")
@pytest.mark.parametrize(("size", "count"), [(1, 64), (1024, 64), (8192, 8), (65536, 1)])
def test_writes_are_collected_to_a_number_and_a_size(size: int, count: int) -> None:
    """Within a callback the last of so many writes, and none before, makes them leave."""
    ours, peer = posix.socketpair()
    peer.setblocking(False)
    client = Socket(fd=ours.detach())

    def come() -> int:
        try:
            return len(peer.recv(100_000))
        except BlockingIOError:
            return 0

    def callback() -> None:
        came = []
        for _ in range(count):
            came.append(come())
            client.write(b"x" * size)
        came.append(come())
        assert came == [0] * count + [size * count]
        client.write(b"x")
        assert come() == 0
        next_tick(lambda: pyuvnet.set_immediate(after))

    def after() -> None:
        assert come() == 1
        client.destroy()

    pyuvnet.set_immediate(callback)
    with peer:
        run()
    assert client.destroyed


def test_a_pipe_holds_what_its_target_takes_and_a_chunk() -> None:
    """A source that has no end is not read further than the mark of who does not take it."""

    class Endless(Readable):
        def _read(self, size: int) -> None:
            self.push(b"x" * 1000)

    source, taken = Endless(high_water_mark=1000), []

    class Stuck(pyuvnet.Writable):
        def _write(self, chunk: Any, encoding: str, callback: Any) -> None:
            taken.append(callback)

    target = Stuck(high_water_mark=5000)
    source.pipe(target)
    settle(lambda: target.writable_length + source.readable_length)
    assert 5000 <= target.writable_length < 6000
    assert source.readable_length <= 2000
    source.destroy()
    target.destroy()
    run()


@pytest.mark.skipif(sys.platform != "linux", reason="more addresses of loopback are Linux's")
def test_all_addresses_of_a_name_are_tried() -> None:
    count, tried = 100, []
    errors: list[Any] = []
    with hosts(refuse=("127.0.0.1",)) as (port, _):
        found = [{"address": f"127.0.0.{last}", "family": 4} for last in range(1, count + 1)]
        client = Socket().on("connectionAttempt", lambda ip, *_: tried.append(ip))
        client.on("error", errors.append)
        client.connect(port, "x.test", lookup=lambda host, how, done: next_tick(done, None, found))
        run()
    assert len(tried) == count
    (error,) = errors
    assert isinstance(error, AggregateError)
    assert len(error.errors) == count


@pytest.mark.parametrize("length", [256, 300, 100_000])
def test_a_host_name_that_is_too_long_is_not_looked_up(length: int) -> None:
    host, codes = ("a" * 49 + ".") * (length // 50), []
    host = host.ljust(length, "a")
    client = Socket().on("error", lambda error: codes.append((error.code, error.syscall)))
    client.connect(1, host)
    server = Server().on("error", lambda error: codes.append((error.code, error.syscall)))
    server.listen(0, host)
    assert not any(each.requests for each in pyuvnet.loop.handles())
    run()
    assert codes == [("EINVAL", "getaddrinfo")] * 2
    assert not server.listening


def test_timers_calls_and_ticks_have_no_limit() -> None:
    count, loop = 20_000, current_loop()
    called = [0] * 4

    def note(index: int) -> None:
        called[index] += 1

    for _ in range(count):
        pyuvnet.set_timeout(note, 1, 0)
        pyuvnet.set_immediate(note, 1)
        next_tick(note, 2)
        loop.call_soon_threadsafe(note, 3)
    run()
    assert called == [count] * 4


# ---- Who may connect to a unix socket ------------------------------------------------------------

NOBODY = 65534
RIGHTS = [
    ({}, 0o022, 0o755, False),
    ({}, 0o077, 0o700, False),
    ({}, 0o000, 0o777, True),
    ({"writable_all": True}, 0o077, 0o222, True),
    ({"readable_all": True}, 0o000, 0o444, False),
    ({"readable_all": True, "writable_all": True}, 0o077, 0o666, True),
]


def try_to_connect(path: str, user: int) -> str:
    """How a connect of another user ends: 'connected', or the name of the error."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            with posix.socket(posix.AF_UNIX) as sock:
                sock.connect(path)
            said = "connected"
        except BaseException as error:
            said = type(error).__name__
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter: those of pytest are the user's alone."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can be another user")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not all(each.stat().st_mode & 0o001 for each in folder.parents):
            pytest.skip("not everybody may enter the folder of temporary files")
        folder.chmod(0o755)
        yield folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("options", "mask", "mode", "may"), RIGHTS)
def test_who_may_connect(
    options: dict[str, Any], mask: int, mode: int, may: bool, open_folder: Path
) -> None:
    path = open_folder / "socket"
    before = os.umask(mask)
    try:
        server = Server(lambda sock: sock.destroy()).listen({"path": str(path), **options})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
    assert try_to_connect(str(path), NOBODY) == ("connected" if may else "PermissionError")
    os.chown(path, NOBODY, -1)
    owner = "connected" if mode & 0o200 else "PermissionError"
    assert try_to_connect(str(path), NOBODY) == owner
    # Rights are no matter of root's.
    assert try_to_connect(str(path), 0) == "connected"
    server.close()
    run()
    assert not path.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_shuts_out_whoever_the_socket_would_let_in(open_folder: Path) -> None:
    path = open_folder / "socket"
    server = Server().listen(path=str(path), readable_all=True, writable_all=True)
    open_folder.chmod(0o700)
    assert try_to_connect(str(path), NOBODY) == "PermissionError"
    open_folder.chmod(0o711)
    assert try_to_connect(str(path), NOBODY) == "connected"
    server.close()
    run()

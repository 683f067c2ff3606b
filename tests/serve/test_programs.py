"""What serves: functions, coroutines, listeners and servers, and what is warned of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import ArgValueError, net
from tests.support.serving import APP, LOCAL, connected, pids, wait_for_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import target


def slow(app: str, name: str, id: str) -> Any:  # noqa: A002 - as pytest.param() has it
    return pytest.param(app, name, id=id, marks=pytest.mark.slow)


KINDS = [
    pytest.param(APP, "app", id="function"),
    slow("""
        import os
        async def app(server):
            server.on("connection", lambda socket: socket.end(str(os.getpid())))
        """, "app", id="coroutine"),
    slow("""
        import os
        async def app(server):
            async with server:
                server.on("connection", lambda socket: socket.end(str(os.getpid())))
                await server.serve_forever()
        """, "app", id="coroutine that waits"),
    slow("""
        import os
        async def app(server):
            async for socket in server:
                await socket.read_line()
                socket.end(str(os.getpid()))
        """, "app", id="coroutine that takes connections"),
    slow("""
        import os
        def app(server):
            async def answer(socket):
                await socket.read_line()
                socket.end(str(os.getpid()))
            server.on("connection", answer)
        """, "app", id="function with a coroutine as listener"),
    slow("""
        import asyncio, os
        def app(server):
            async def begin():
                await asyncio.sleep(0)
                server.on("connection", lambda socket: socket.end(str(os.getpid())))
            return begin()
        """, "app", id="function that returns a coroutine"),
    slow("""
        import os
        def answer(socket):
            socket.end(str(os.getpid()))
        """, "answer", id="listener"),
    slow("""
        import os
        class Shop:
            async def answer(self, connection):
                await connection.read_line()
                connection.end(str(os.getpid()))
        shop = Shop()
        """, "shop.answer", id="coroutine listener"),
    slow("""
        import os
        from pyuvnet import net
        server = net.create_server(lambda socket: socket.end(str(os.getpid())))
        """, "server", id="server"),
    slow("""
        import os
        from pyuvnet import net
        async def answer(socket):
            await socket.read_line()
            socket.end(str(os.getpid()))
        server = net.create_server(answer)
        """, "server", id="server with a coroutine"),
]  # fmt: skip


@pytest.mark.spec("P11-01", "D220")
@pytest.mark.parametrize(("app", "name"), KINDS)
def test_each_kind_of_program_is_served_by_all_workers(serve: Any, app: str, name: str) -> None:
    primary = serve(f"app:{name}", *LOCAL, "--workers", "2", "--policy", "rr", app=app)
    port = primary.ready()
    assert len(pids(port)) == 2
    log = primary.end()
    assert "Traceback" not in log
    assert "Warning" not in log


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda server: None, False),
        (lambda socket: None, True),
        (lambda connection: None, True),
        (lambda socket, other=1: None, True),
        (lambda socket, other: None, False),
        (lambda *socket: None, False),
        (lambda *, socket: None, False),
        (print, False),
    ],
)
@pytest.mark.spec("P11-01")
def test_a_listener_is_known_by_its_parameter(function: Any, expected: bool) -> None:
    assert target.takes_a_connection(function) is expected


def test_what_cannot_serve_is_refused() -> None:
    with pytest.raises(ArgValueError, match="must be a function or a Server"):
        target.Target(5, "app:x")
    server = net.create_server().listen(0)
    with pytest.raises(ArgValueError, match="already listening"):
        target.Target(server, "app:x")
    server.close()
    pyuvnet.run()


@pytest.mark.slow
@pytest.mark.spec("P11-01")
def test_nobody_is_accepted_before_the_function_has_returned(serve: Any, tmp_path: Path) -> None:
    """A coroutine that takes its time loses nobody: who connects meanwhile waits."""
    primary = serve("app:app", *LOCAL, app="""
        import asyncio, os
        async def app(server):
            open("called", "w").close()
            while not os.path.exists("go on"):
                await asyncio.sleep(0.01)
            server.on("connection", lambda socket: socket.end(b"now"))
        """)  # fmt: skip
    port = int(primary.wait_for(r"listening on \S+:(\d+)")[0][1])
    wait_for_file(tmp_path / "called")
    with connected(port) as one:
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            one.recv(10)
        assert not primary.find(r"\] ready")
        (tmp_path / "go on").touch()
        one.settimeout(10)
        assert one.recv(10) == b"now"
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-01")
@pytest.mark.parametrize(
    ("app", "warns"),
    [
        ("def app(sock): sock.on('data', print)", True),
        ("def app(server): server.on('connection', lambda socket: socket.end())", False),
        ("async def app(server): await server.serve_forever()", True),
        ("async def app(server):\n    async for socket in server: socket.end()", False),
        ("from pyuvnet import net\napp = net.Server()", True),
    ],
)
def test_a_server_to_which_nothing_listens_is_warned_of(serve: Any, app: str, warns: bool) -> None:
    primary = serve("app:app", *LOCAL, app=app)
    primary.ready()
    found = "app:app has no listener for 'connection'" in primary.end()
    assert found is warns


@pytest.mark.slow
@pytest.mark.spec("P11-01")
def test_a_worker_that_does_not_get_ready_is_warned_of(serve: Any) -> None:
    primary = serve(
        "app:app",
        *LOCAL,
        app="import asyncio\nasync def app(server): await asyncio.sleep(3600)",
        patch="supervisor.SLOW_START = 50",
    )
    primary.wait_for("worker 1 .* is not ready after 0.05 s")
    primary.end()


@pytest.mark.slow
@pytest.mark.spec("P11-01")
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("break", r"app:app has no listener for 'connection'"),
        ("asyncio.current_task().cancel()", r"the coroutine of app:app was cancelled"),
        ("1 / 0", r"ZeroDivisionError"),
    ],
)
def test_a_coroutine_that_ends_while_it_serves(serve: Any, end: str, expected: str) -> None:
    app = f"""
        import asyncio
        async def app(server):
            async for socket in server:
                socket.destroy()
                {end}
        """
    primary = serve("app:app", *LOCAL, app=app)
    port = primary.ready()
    with connected(port):
        primary.wait_for(expected)
    if end != "break":
        primary.wait_for("restarting (at once|in)")
    primary.end()

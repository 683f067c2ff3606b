"""Handing a listener over to a successor: who serves when, and what becomes of failures."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import handover, net, run, set_timeout
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError, StateError
from tests.conftest import ROOT
from tests.support.errors import BoomError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="of unix systems")

# A successor that serves one connection for each word of its arguments but the first.
SUCCESSOR = """
    import sys
    from pyuvnet import handover, net, run

    left = int(sys.argv[1])

    def connected(one):
        global left
        one.end("successor")
        left -= 1
        if not left:
            for server in servers:
                server.close()

    servers = []
    for fds in net.listen_fds().values():
        for fd in fds:
            servers.append(net.create_server(connected))
            servers[-1].listen(fd=fd)
    print(handover.ready(), handover.ready(), flush=True)
    run()
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


def program(code: str, *args: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, args)]


def listening() -> net.Server:
    return net.create_server(lambda one: one.end("here")).listen({"port": 0, "host": None})


def lines_of(code: str, *args: object) -> list[str]:
    """What a service prints, apart from its successors' "started"; it has to end well.

    The output ends when nobody has it any more, so that no successor is left either.
    """
    done = subprocess.run(program(code, *args), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return [line for line in done.stdout.splitlines() if line != "started"]


def ask(port: int, then: Callable[[str], object]) -> None:
    """What a client is answered."""
    answer: list[bytes] = []
    one = net.connect(port, "127.0.0.1")
    one.on("data", answer.append)
    one.on("error", lambda error: answer.append(error.code.encode()))
    one.on("close", lambda had_error: then(b"".join(answer).decode()))


async def asked(port: int) -> str:
    found = asyncio.get_running_loop().create_future()
    ask(port, found.set_result)
    return str(await found)


def gone(pid: int) -> None:
    """A successor that this process started ends well."""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.spec("D126", "P10-01")
def test_a_successor_serves_and_the_server_shuts_down() -> None:
    async def main() -> None:
        server = listening()
        port = server.address().port
        events: list[str] = []
        server.on("close", lambda: events.append("close"))
        assert await asked(port) == "here"
        pid = await handover.spawn(program(SUCCESSOR, 2), server)
        assert events == ["close"]
        assert not server.listening
        assert [await asked(port), await asked(port)] == ["successor"] * 2
        gone(pid)

    run(main())


def test_it_works_without_coroutines() -> None:
    server = listening()
    port = server.address().port
    heard: list[Any] = []

    def over(error: Any, pid: Any) -> None:
        heard.append((error, pid))
        ask(port, heard.append)

    handover.spawn(program(SUCCESSOR, 1), server, callback=over)
    run()
    error, pid = heard[0]
    assert (error, heard[1]) == (None, "successor")
    gone(pid)


@pytest.mark.spec("P10-04")
def test_nobody_is_refused_meanwhile() -> None:
    """One client after another, from before the start until the successor has served its share."""

    async def main() -> None:
        server = listening()
        port = server.address().port
        answers: list[str] = []

        async def clients() -> None:
            while answers.count("successor") < 20:
                answers.append(await asked(port))

        asking = [asyncio.create_task(clients()) for _ in range(5)]
        await asyncio.sleep(0)
        # One more, so that all five have what they want.
        pid = await handover.spawn(program(SUCCESSOR, 24), server)
        await asyncio.wait_for(asyncio.gather(*asking), 20)
        assert set(answers) == {"here", "successor"}
        assert answers.index("successor") > 0
        for _ in range(24 - answers.count("successor")):
            await asked(port)
        gone(pid)

    run(main())


def test_several_servers_keep_their_names_and_a_path_its_file(tmp_path: Path) -> None:
    path, said = tmp_path / "s", tmp_path / "said"
    code = SUCCESSOR.replace(
        "net.listen_fds().values()", "(found := net.listen_fds()).values()"
    ).replace("print(handover", "print(found, file=open(sys.argv[2], 'w'))\n    print(handover")

    async def main() -> None:
        http, admin = listening(), net.create_server().listen(str(path))
        port = http.address().port
        pid = await handover.spawn(program(code, 2, said), {"http": http, "admin": admin})
        # The file is there: the server that closed here has not taken it away.
        client = await net.promises.connect(str(path))
        assert await client.read_exactly(9) == b"successor"
        client.destroy()
        assert await asked(port) == "successor"
        gone(pid)

    run(main())
    assert said.read_text() == "{'http': [3], 'admin': [4]}\n"


FAILURES = {
    "ends": ("import sys; sys.exit(7)", r"ended before it was ready \(exit status 7\)"),
    "is killed": (
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        r"ended before it was ready \(signal 9\)",
    ),
    "says something else": (
        "import os; os.write(int(os.environ['PYUVNET_HANDOVER'].split(':')[1]), b'hello\\n')",
        r"sent something other than that it is ready \(",
    ),
    "is late": ("import time; time.sleep(60)", r"was not ready in time \(signal 15\)"),
    "is late and deaf": (
        "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)",
        r"was not ready in time \(signal 9\)",
    ),
    "closes the pipe": (
        "import os, time; os.closerange(3, 30); time.sleep(60)",
        r"ended before it was ready \(signal 15\)",
    ),
}


@pytest.mark.spec("P10-02")
@pytest.mark.parametrize("how", FAILURES)
def test_a_successor_that_fails_is_ended_and_the_server_goes_on(how: str, tmp_path: Path) -> None:
    code, text = FAILURES[how]
    path = tmp_path / "s"

    async def main() -> None:
        server = listening()
        second = net.create_server().listen(str(path))
        late = "late" in how
        with pytest.raises(StateError, match=text) as caught:
            await handover.spawn(program(code), [server, second], 700 if late else 20_000)
        assert caught.value.code == "ERR_HANDOVER_FAILED"
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        assert await asked(server.address().port) == "here"
        # Another try is possible.
        with pytest.raises(StateError):
            await handover.spawn(program("pass"), server)
        server.close()
        second.close()
        assert not path.exists()

    run(main())


def test_a_program_that_is_not_there_is_a_failure() -> None:
    async def main() -> None:
        server = listening()
        with pytest.raises(StateError, match="exit status 127"):
            await handover.spawn(["/no/such/program"], server)
        assert server.listening
        server.close()

    run(main())


def test_a_failure_that_nobody_awaits_is_a_warning() -> None:
    server = listening()
    handover.spawn(program("pass"), server)
    look = pyuvnet.set_interval(
        lambda: handover._under_way is None and (look.close(), server.close()), 5
    )
    with pytest.warns(RuntimeWarning, match="ended before it was ready"):
        run()


def test_so_it_is_inside_asyncio() -> None:
    async def main() -> None:
        server = listening()
        waiting = handover.spawn(program("pass"), server)
        while handover._under_way is not None:
            await asyncio.sleep(0.005)
        assert "over" in repr(waiting)
        with pytest.warns(RuntimeWarning, match="ended before it was ready"):
            del waiting
        # It may be awaited late, too.
        waiting = handover.spawn(program("pass"), server)
        while handover._under_way is not None:
            await asyncio.sleep(0.005)
        for _ in range(2):
            with pytest.raises(StateError, match="ended before it was ready"):
                await waiting
        server.close()

    run(main())


def test_cancelling_ends_the_successor() -> None:
    async def main() -> None:
        server = listening()
        waiting = asyncio.ensure_future(
            _await(handover.spawn(program("import time; time.sleep(60)"), server))
        )
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        while handover._under_way is not None:
            await asyncio.sleep(0.01)
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        assert server.listening
        server.close()

    run(main())


async def _await(thing: Any) -> Any:
    return await thing


@pytest.mark.spec("P10-03")
def test_one_at_a_time() -> None:
    async def main() -> None:
        server = listening()
        first = handover.spawn(program("import time; time.sleep(0.2)"), server)
        with pytest.raises(StateError) as caught:
            handover.spawn(program("pass"), server)
        assert caught.value.code == "ERR_INVALID_STATE"
        with pytest.raises(StateError):
            await first
        server.close()

    run(main())


def test_a_server_that_shuts_down_is_not_handed_over() -> None:
    server = listening()
    server.shutdown(200, lame_duck=50)
    with pytest.raises(StateError, match="shutting down") as caught:
        handover.spawn(program("pass"), server)
    assert caught.value.code == "ERR_INVALID_STATE"
    assert handover._under_way is None
    run()


def test_a_listener_of_close_that_raises_is_no_obstacle() -> None:
    heard: list[Any] = []
    caught: list[BaseException] = []

    async def main() -> None:
        pyuvnet.set_exception_handler(caught.append)
        server = listening()
        port = server.address().port

        @server.on("close")
        def close() -> None:
            raise BoomError

        heard.append(await handover.spawn(program(SUCCESSOR, 1), server))
        assert await asked(port) == "successor"
        gone(heard[0])

    try:
        run(main())
    finally:
        pyuvnet.set_exception_handler(None)
    assert [type(each) for each in caught] == [BoomError]


def test_a_server_that_is_closed_meanwhile_is_no_obstacle() -> None:
    async def main() -> None:
        server = listening()
        port = server.address().port
        waiting = handover.spawn(program(SUCCESSOR, 1), server)
        server.close()
        pid = await waiting
        assert await asked(port) == "successor"
        gone(pid)

    run(main())


def test_connections_that_are_open_are_served_to_their_end() -> None:
    async def main() -> None:
        server = net.create_server(lambda one: one.pipe(one)).listen({"port": 0, "host": None})
        port = server.address().port
        client = await net.promises.connect(port, "127.0.0.1")
        client.write("before")
        assert await client.read_exactly(6) == b"before"
        waiting = asyncio.ensure_future(_await(handover.spawn(program(SUCCESSOR, 1), server)))
        while server.listening:
            await asyncio.sleep(0.01)
        client.write("after")
        assert await client.read_exactly(5) == b"after"
        client.end()
        pid = await waiting
        await client.read_exactly(0)
        client.destroy()
        assert await asked(port) == "successor"
        gone(pid)

    run(main())


@pytest.mark.spec("P0-02")
@pytest.mark.parametrize(
    ("argv", "error"),
    [("sh", ArgTypeError), (5, ArgTypeError), ([], ArgValueError), ([5], ArgTypeError),
     (["a\0b"], ArgValueError)],
)  # fmt: skip
def test_wrong_programs_raise(argv: Any, error: type[Exception]) -> None:
    server = listening()
    with pytest.raises(error):
        handover.spawn(argv, server)
    server.close()
    run()


def test_wrong_servers_and_timeouts_raise() -> None:
    server = listening()
    for wrong, error in (
        (5, ArgTypeError), ([5], ArgTypeError), ([], ArgValueError),
        ({"a:b": server}, ArgValueError),
        ({"": server}, ArgValueError), ({5: server}, ArgTypeError),
        (net.create_server(), StateError),
    ):  # fmt: skip
        with pytest.raises(error):
            handover.spawn(["true"], wrong)
    for ms, error in ((0, RangeError), ("5", ArgTypeError)):
        with pytest.raises(error):
            handover.spawn(["true"], server, ms)
    with pytest.raises(ArgTypeError):
        handover.spawn(["true"], server, callback=5)
    for name in ("timeout", "idle_grace"):
        with pytest.raises(RangeError, match=name):
            handover.spawn(["true"], server, **{name: -1})
    assert handover._under_way is None
    server.close()
    run()


def test_ready_is_for_successors_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(handover.VARIABLE, raising=False)
    assert handover.ready() is False
    here, there = os.pipe()
    # Of the process that started this one, which has said so itself.
    monkeypatch.setenv(handover.VARIABLE, f"{os.getppid()}:{there}")
    assert handover.ready() is False
    monkeypatch.setenv(handover.VARIABLE, f"{os.getpid()}:{there}")
    assert handover.ready() is True
    assert os.read(here, 100) == b"ready\n"
    os.close(here)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(there)


def test_the_service_manager_is_told_of_the_new_main_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))

        async def main() -> None:
            server = listening()
            port = server.address().port
            pid = await handover.spawn(program(SUCCESSOR, 1), server)
            assert manager.recv(100) == f"MAINPID={pid}".encode()
            await asked(port)
            gone(pid)

        run(main())


@pytest.mark.spec("P10-01")
def test_the_predecessor_is_silent_once_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd would take its STOPPING=1 for the service's, and end the successor."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        said: list[bool] = []

        async def main() -> None:
            server = listening()
            port = server.address().port
            server.on("shutdown", lambda: said.append(pyuvnet.notify("STOPPING=1")))
            pid = await handover.spawn(program(SUCCESSOR, 1), server)
            assert manager.recv(100) == f"MAINPID={pid}".encode()
            await asked(port)
            gone(pid)

        run(main())
        assert said == [False]
        assert pyuvnet.notify("STATUS=still here") is False
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


# A service that a signal stops while its successor starts, which never gets ready.
STOPPED = """
    import asyncio, os, signal, sys
    import pyuvnet
    from pyuvnet import handover, net, run

    server = net.create_server().listen(0)
    server.shutdown_on("SIGTERM", timeout=5000)
    argv = [sys.executable, "-c", "import time; print('started', flush=True); time.sleep(60)"]
    begin = lambda: handover.spawn(argv, server, callback=over)
    term = lambda: os.kill(os.getpid(), signal.SIGTERM)

    def over(error, pid):
        print(error, pid, flush=True)
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print("nothing is left")
        told.set()

    told = asyncio.Event()
    if sys.argv[1] == "coroutine":
        async def main():
            pyuvnet.set_timeout(term, 50)
            begin()
            await server.serve_forever()
            # It may end first, and the program with it.
            await told.wait()
        run(main())
    else:
        begin()
        pyuvnet.set_timeout(term, 50)
        run()
    print("over")
"""


@pytest.mark.spec("P10-02")
@pytest.mark.parametrize("how", ["callbacks", "coroutine"])
def test_a_signal_meanwhile_stops_the_successor_too(how: str) -> None:
    assert lines_of(STOPPED, how) == [
        "The successor was stopped with this process (signal 15) None",
        "nothing is left",
        "over",
    ]


# A service whose server is handed over in another thread, or that a signal of another server stops.
ELSEWHERE = """
    import os, signal, sys, threading
    import pyuvnet
    from pyuvnet import handover, net, run

    argv = [sys.executable, "-c", "import time; print('started', flush=True); time.sleep(60)"]
    admin = net.create_server().listen(0)
    admin.shutdown_on("SIGTERM", timeout=5000)

    def over(error, pid):
        print("over:", error, flush=True)

    if sys.argv[1] == "thread":
        def serve():
            server = net.create_server().listen(0)
            handover.spawn(argv, server, 500, lambda *_: (over(*_), server.close()))
            run()
        thread = threading.Thread(target=serve)
        thread.start()
    else:
        server = net.create_server().listen(0)
        handover.spawn(argv, server, 500, lambda *_: (over(*_), server.close()))
    pyuvnet.set_timeout(lambda: os.kill(os.getpid(), signal.SIGTERM), 50)
    run()
    if sys.argv[1] == "thread":
        thread.join()
    print("end")
"""


@pytest.mark.spec("P10-02")
@pytest.mark.parametrize("where", ["thread", "here"])
def test_a_signal_of_another_server_does_not_stop_it(where: str) -> None:
    lines = lines_of(ELSEWHERE, where)
    assert lines == ["over: The successor was not ready in time (signal 15)", "end"]


def test_a_signal_in_the_main_thread_stops_it_in_another() -> None:
    """The main thread does not wait; the loop of the other one ends the successor."""
    code = """
        import os, signal, sys, threading, time
        import pyuvnet
        from pyuvnet import handover, net, run

        argv = [sys.executable, "-c", "import time; time.sleep(60)"]
        servers, ready = [], threading.Event()

        def serve():
            server = net.create_server().listen(0)
            servers.append(server)
            over = lambda error, pid: (print(error, flush=True), server.close())
            handover.spawn(argv, server, callback=over)
            ready.set()
            run()

        thread = threading.Thread(target=serve)
        thread.start()
        ready.wait()
        from pyuvnet._server.shutdown import on_signals
        on_signals._stop_handover(servers)
        pyuvnet.set_timeout(lambda: None, 0)
        run()
        thread.join()
    """
    assert lines_of(code) == ["The successor was stopped with this process (signal 15)"]


def test_the_times_are_those_of_the_shutdown() -> None:
    class Recording(net.Server):
        def shutdown(self, *args: Any, **options: Any) -> Any:
            seen.append((args, options["idle_grace"]))
            return super().shutdown(*args, **options)

    seen: list[Any] = []

    async def main() -> None:
        server = Recording(lambda one: one.end("here")).listen({"port": 0, "host": None})
        port = server.address().port
        pid = await handover.spawn(program(SUCCESSOR, 1), server, timeout=7_000, idle_grace=40)
        assert await asked(port) == "successor"
        gone(pid)

    run(main())
    assert seen == [((7_000,), 40)]


def test_connections_have_the_time_that_is_given() -> None:
    async def main() -> None:
        server = net.create_server(lambda one: one.resume()).listen({"port": 0, "host": None})
        port = server.address().port
        client = await net.promises.connect(port, "127.0.0.1")
        closed = asyncio.get_running_loop().create_future()
        while not server.sockets:
            await asyncio.sleep(0)
        server.on("shutdown", lambda: [setattr(each, "busy", True) for each in server.sockets])
        server.on("close", lambda: closed.set_result(None))
        pid = await handover.spawn(program(SUCCESSOR, 1), server, timeout=50)
        assert closed.done()
        client.destroy()
        assert await asked(port) == "successor"
        gone(pid)

    run(main())


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        server = listening()
        with pytest.raises(StateError):
            await handover.spawn(program("pass"), server)
        before = len(os.listdir("/dev/fd"))
        for _ in range(3):
            with pytest.raises(StateError):
                await handover.spawn(program("pass"), server)
        assert len(os.listdir("/dev/fd")) == before
        server.close()

    run(main())
    set_timeout(lambda: None, 0)
    run()

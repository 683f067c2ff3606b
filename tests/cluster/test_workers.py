"""Workers: what they run, their environment and streams, and what setup_primary() takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import cluster
from pyuvnet.cluster._primary import _own_command, _popen_options, default_policy
from tests.conftest import child_environment
from tests.support.clusters import HEAD

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


@pytest.mark.spec("N185", "N186")
def test_a_worker_is_a_fresh_interpreter_without_traces(program: Any) -> None:
    """Same program, arguments and options; the channel is nobody's but the worker's."""
    ended = program(
        """
        import gc, json, subprocess

        if cluster.is_primary:
            marker = [1]
            cluster.on("message", lambda worker, message, handle: say(json.dumps(message)))
            cluster.fork({"EXTRA": 5})
            run()
        else:
            grandchild = subprocess.run(
                [sys.executable, "-c", "import os; from pyuvnet import cluster; "
                 "print(cluster.is_primary, sorted(os.listdir('/dev/fd')).__len__(), "
                 "[n for n in os.environ if 'CLUSTER' in n])"],
                capture_output=True, text=True, close_fds=False)
            plain = subprocess.run(
                [sys.executable, "-c", "import os; "
                 "print(sorted(os.listdir('/dev/fd')).__len__())"],
                capture_output=True, text=True, close_fds=True)
            cluster.worker.send({
                "argv": sys.argv[1:], "marker": "marker" in globals(), "extra": os.environ["EXTRA"],
                "variables": [name for name in os.environ if "CLUSTER" in name],
                "dev": sys.flags.dev_mode, "main": __name__,
                "grandchild": grandchild.stdout.split(" ", 1)[0] + grandchild.stderr,
                "descriptors": int(grandchild.stdout.split()[1]) - int(plain.stdout),
                "left": grandchild.stdout.split()[2],
            })
            cluster.worker.disconnect()
            run()
        """,
        "--flag",
        "two words",
    ).end()
    found = json.loads(ended[0])
    # pyuvnet itself is imported in the one and not in the other.
    assert found.pop("descriptors") <= 1
    assert found == {
        "argv": ["--flag", "two words"],
        "marker": False,
        "extra": "5",
        "variables": [],
        "dev": True,
        "main": "__main__",
        "grandchild": "True",
        "left": "[]",
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a.py"], ([], ["a.py"], [])),
        (["-X", "dev", "-Wd", "a.py", "-m", "x"], (["-X", "dev", "-Wd"], ["a.py"], ["-m", "x"])),
        (["-m", "pkg", "--x"], ([], ["-m", "pkg"], ["--x"])),
        (["-mpkg", "--x"], ([], ["-mpkg"], ["--x"])),
        (["-Im", "pkg", "1"], (["-I"], ["-m", "pkg"], ["1"])),
        (["-c", "code", "1"], ([], ["-c", "code"], ["1"])),
        (["-Bc", "code", "1"], (["-B"], ["-c", "code"], ["1"])),
        (["--check-hash-based-pycs", "a", "b"], (["--check-hash-based-pycs", "a"], ["b"], [])),
        (["-IW", "error", "a"], (["-IW", "error"], ["a"], [])),
        ([], ([], [], [])),
        (["-"], ([], ["-"], [])),
    ],
)  # fmt: skip
def test_the_command_of_an_interpreter_is_understood(words: list[str], expected: Any) -> None:
    from pyuvnet.cluster._process import split_command

    assert split_command(words) == expected


@pytest.mark.parametrize("how", ["-m", "-c", "exec"])
@pytest.mark.slow
def test_programs_of_other_kinds(tmp_path: Path, how: str) -> None:
    code = HEAD + textwrap.dedent(
        """
        if cluster.is_primary:
            if len(sys.argv) > 2:
                cluster.setup_primary(exec=sys.argv[2], args=["by", "exec"])
            cluster.on("message", lambda worker, message, handle: say(*message))
            cluster.fork()
        else:
            cluster.worker.send(sys.argv[1:])
            cluster.worker.disconnect()
        run()
        """
    )
    other = tmp_path / "other.py"
    other.write_text(code)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__main__.py").write_text(code)
    command = {"-m": ["-m", "package", "x"], "-c": ["-c", code, "x"]}
    ended = subprocess.run(
        [sys.executable, *command.get(how, [str(other), "x", str(other)])],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout == ("by exec\n" if how == "exec" else "x\n")


@pytest.mark.slow
def test_a_program_that_does_not_know_of_clusters_shares_its_port(
    program: Any, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.py"
    plain.write_text(
        textwrap.dedent(
            """
            import os
            from pyuvnet import net, run

            net.create_server(lambda socket: socket.end(str(os.getpid()))).listen(0)
            run()
            """
        )
    )
    ended = program(
        f"""
        cluster.setup_primary(exec={str(plain)!r}, args=[])
        count = 0

        def listening(worker, address):
            global count
            count += 1
            if count == 2:
                ask(address.port, 4, asked)

        def asked(answers):
            say(len(set(answers)))
            cluster.disconnect()

        cluster.on("listening", listening)
        cluster.fork()
        cluster.fork()
        run()
        """
    ).end()
    assert ended == ["2"]


@pytest.mark.slow
def test_silent_workers_have_streams(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.setup_primary(silent=True)
            worker = cluster.fork()
            said = {"out": b"", "err": b""}

            def heard(name, data):
                said[name] += data

            worker.process.stdout.on("data", lambda data: heard("out", data))
            worker.process.stderr.on("data", lambda data: heard("err", data))
            worker.process.stdin.end(b"to you")
            worker.on("exit", lambda code, signal: set_timeout(lambda: say(said), 50))
        else:
            print(sys.stdin.read(), flush=True)
            print("complaint", file=sys.stderr, flush=True)
            cluster.worker.disconnect()
        run()
        """
    ).end()
    assert ended == [str({"out": b"to you\n", "err": b"complaint\n"})]


@pytest.mark.slow
@pytest.mark.spec("N184")
def test_in_a_worker_the_primarys_functions_raise(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.on("message", lambda worker, message, handle: say(*message))
            cluster.fork()
        else:
            codes = []
            for call in (cluster.fork, cluster.setup_primary, cluster.disconnect):
                try:
                    call()
                except Exception as error:
                    codes.append(error.code)
            cluster.worker.send(codes + [cluster.workers, cluster.is_master])
            cluster.worker.disconnect()
        run()
        """
    ).end()
    assert ended == ["ERR_INVALID_STATE ERR_INVALID_STATE ERR_INVALID_STATE None False"]


@pytest.mark.spec("D210", "D211", "D215")
def test_wrong_arguments_raise_and_change_nothing(program: Any) -> None:
    ended = program(
        """
        def refused(call):
            try:
                call()
            except Exception as error:
                say(type(error).__name__, getattr(error, "code", ""))
            else:
                say("taken")

        if cluster.is_primary:
            refused(lambda: cluster.setup_primary(5))
            refused(lambda: cluster.setup_primary(args="text"))
            refused(lambda: cluster.setup_primary(args=[1]))
            refused(lambda: cluster.setup_primary(exec=1))
            refused(lambda: cluster.setup_primary(serialization="xml"))
            refused(lambda: cluster.setup_primary(silent="yes"))
            refused(lambda: cluster.setup_primary(uid=-1))
            refused(lambda: cluster.setup_primary(stdio=["nowhere"]))
            refused(lambda: cluster.setup_primary(nonsense=1))
            refused(lambda: cluster.fork([1]))
            refused(lambda: cluster.disconnect(1))
            refused(lambda: setattr(cluster, "scheduling_policy", 17))
            refused(lambda: setattr(cluster, "schedulingPolicy", True))
            assert dict(cluster.settings) == {} and cluster.workers == {}
            refused(lambda: cluster.setup_primary(cwd="/no/such/folder"))
            refused(lambda: cluster.fork())
            assert cluster.workers == {}
            cluster.settings.clear()
            worker = cluster.fork()
            loop = []
            loop.append(loop)
            refused(lambda: worker.send(object()))
            refused(lambda: worker.send(loop))
            refused(lambda: worker.send(float("nan")))
            refused(lambda: worker.send({(1, 2): 3}))
            refused(lambda: worker.send(1, object()))
            refused(lambda: worker.send(1, net.create_server()))
            refused(lambda: worker.send(1, net.Socket()))
            refused(lambda: worker.send(1, None, 5))
            refused(lambda: worker.send(1, callback=5))
            refused(lambda: worker.kill("SIGNONE"))
            refused(lambda: worker.process.kill(1.5))
            refused(lambda: worker.process.kill(100000))
            worker.send("end")
        else:
            cluster.worker.on("message", lambda message, handle: cluster.worker.disconnect())
        run()
        """
    ).end()
    assert ended == [
        *["ArgTypeError ERR_INVALID_ARG_TYPE"] * 4,
        "ArgValueError ERR_INVALID_ARG_VALUE",
        "ArgTypeError ERR_INVALID_ARG_TYPE",
        "RangeError ERR_OUT_OF_RANGE",
        "ArgValueError ERR_INVALID_ARG_VALUE",
        "ArgTypeError ERR_UNKNOWN_OPTION",
        *["ArgTypeError ERR_INVALID_ARG_TYPE"] * 2,
        *["ArgValueError ERR_INVALID_ARG_VALUE"] * 2,
        "taken",
        "FileNotFoundError ",
        "ArgTypeError ERR_INVALID_ARG_TYPE",
        *["ArgValueError ERR_INVALID_ARG_VALUE"] * 2,
        "ArgTypeError ERR_INVALID_ARG_TYPE",
        "ArgTypeError ERR_INVALID_HANDLE_TYPE",
        "StateError ERR_INVALID_STATE",
        "ClosedError ERR_SOCKET_CLOSED",
        *["ArgTypeError ERR_INVALID_ARG_TYPE"] * 2,
        "ArgTypeError ERR_UNKNOWN_SIGNAL",
        "ArgTypeError ERR_INVALID_ARG_TYPE",
        "ArgTypeError ERR_UNKNOWN_SIGNAL",
    ]


@pytest.mark.spec("N187")
def test_both_spellings_and_a_policy_by_the_environment() -> None:
    code = """
        from pyuvnet import cluster
        assert cluster.isPrimary is cluster.is_primary is True
        assert cluster.setupPrimary is cluster.setup_primary
        assert cluster.schedulingPolicy == cluster.SCHED_NONE == cluster.scheduling_policy
        cluster.schedulingPolicy = cluster.SCHED_RR
        assert cluster.scheduling_policy == cluster.SCHED_RR
        assert cluster.Worker.isConnected is cluster.Worker.is_connected
        assert cluster.worker is None and cluster.workers == {}
    """
    environment = dict(child_environment(), PYUVNET_CLUSTER_SCHED_POLICY="none")
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, check=True, timeout=20
    )


@pytest.mark.parametrize(
    ("platform", "named", "policy"),
    [
        ("linux", None, "SCHED_RR"),
        ("darwin", None, "SCHED_RR"),
        ("win32", None, "SCHED_NONE"),
        ("linux", "rr", "SCHED_RR"),
        ("linux", "reuse-port", "SCHED_REUSE_PORT"),
        ("darwin", "reuse-port", "SCHED_RR"),
        ("linux", "nonsense", "SCHED_RR"),
    ],
)
def test_the_policy_that_a_program_begins_with(
    monkeypatch: pytest.MonkeyPatch, platform: str, named: str | None, policy: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    if named is None:
        monkeypatch.delenv("PYUVNET_CLUSTER_SCHED_POLICY", raising=False)
    else:
        monkeypatch.setenv("PYUVNET_CLUSTER_SCHED_POLICY", named)
    assert default_policy() == getattr(cluster, policy)


def test_a_plain_program_does_not_import_it() -> None:
    code = "import sys, pyuvnet; print([name for name in sys.modules if 'cluster' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_workers_of_asyncio_and_workers_that_never_run_a_loop(program: Any) -> None:
    ended = program(
        """
        import asyncio

        async def serve():
            server = net.create_server(lambda socket: socket.end("asyncio"))
            server.listen(0, "127.0.0.1")
            gone = asyncio.Event()
            cluster.worker.on("disconnect", gone.set)
            await gone.wait()

        if cluster.is_primary:
            def listening(worker, address):
                ask(address.port, 2, lambda answers: (say(*answers), worker.disconnect()))

            cluster.on("listening", listening)
            cluster.on("exit", lambda worker, code, signal: say(worker.id, code, signal))
            cluster.fork({"KIND": "asyncio"})
            cluster.fork({"KIND": "none"})
            run()
        elif os.environ["KIND"] == "asyncio":
            asyncio.run(serve())
        """
    ).end()
    assert sorted(ended) == ["1 0 None", "2 0 None", "asyncio asyncio"]


@pytest.mark.slow
def test_without_process_descriptors_a_thread_waits(program: Any) -> None:
    """As on macOS."""
    ended = program(
        """
        if cluster.is_primary:
            del os.pidfd_open
            cluster.on("exit", lambda worker, code, signal: say(code, signal))
            cluster.fork().on("online", lambda: None)
            cluster.fork().on("online", lambda: cluster.workers[2].kill("SIGKILL"))
        else:
            if cluster.worker.id == 1:
                sys.exit(7)
        run()
        """
    ).end()
    assert sorted(ended) == ["7 None", "None SIGKILL"]


@pytest.mark.slow
def test_the_pipes_of_silent_workers_are_closed_with_them(program: Any) -> None:
    """Though the program never looks at them, as in Node."""
    ended = program(
        """
        if cluster.is_primary:
            cluster.setup_primary(silent=True)
            closed = []

            def close(had_error):
                closed.append(had_error)
                if len(closed) == 3:
                    say("closed")

            worker = cluster.fork()
            for stream in (worker.process.stdin, worker.process.stdout, worker.process.stderr):
                stream.on("close", close)
        else:
            print("nobody reads this")
            cluster.worker.disconnect()
        run()
        """
    ).end()
    assert ended == ["closed"]


def test_a_worker_of_another_user_has_none_of_our_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """As libuv does it."""
    settings = {"cwd": None, "silent": False, "uid": 1000, "gid": 1000}
    monkeypatch.setattr(os, "getgroups", lambda: [0, 4])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    options = _popen_options(settings, {}, 3)  # type: ignore[arg-type]
    assert (options["user"], options["group"], options["extra_groups"]) == (1000, 1000, [])
    # Without the right to it there is nothing that setgroups() would be allowed.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "extra_groups" not in _popen_options(settings, {}, 3)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may be others"
)
def test_the_group_of_a_worker_is_the_one_that_was_set(program: Any) -> None:
    """The user stays root: another one may have no right to run this interpreter."""
    ended = program(
        """
        if cluster.is_primary:
            cluster.setup_primary(uid=os.getuid(), gid=65534)
            cluster.on("message", lambda worker, message, handle: say(message))
            cluster.fork()
        else:
            cluster.worker.send([os.getuid(), os.getgid(), os.getgroups()])
            cluster.worker.disconnect()
        run()
        """
    ).end()
    assert ended == ["[0, 65534, []]"]


def test_settings_of_node_that_have_no_meaning_here_are_taken(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.setup_primary(inspect_port=9229, windows_hide=True)
            cluster.setupMaster({"inspectPort": 0, "windowsHide": False})
            cluster.on("exit", lambda worker, code, signal: say(code, signal))
            cluster.fork()
            run()
        """
    ).end()
    assert ended == ["0 None"]


@pytest.mark.spec("N187")
def test_each_setup_is_obeyed_and_reads_the_arguments_of_its_time(program: Any) -> None:
    """As in Node, whose default for args is process.argv as setupPrimary() finds it."""
    ended = program(
        """
        if cluster.is_primary:
            sys.argv.append("before")
            cluster.setup_primary(exec_argv=["-X", "one"])
            sys.argv.append("after")
            cluster.setup_primary(exec_argv=["-X", "two"])
            cluster.settings.args.append("own")
            cluster.setupPrimary({"execArgv": ["-X", "three"]})
            say(*cluster.settings.exec_argv, *cluster.settings.args)
            cluster.on("message", lambda worker, message, handle: say(*message))
            cluster.fork()
        else:
            cluster.worker.send([*sys._xoptions, *sys.argv[1:]])
            cluster.worker.disconnect()
        run()
        """,
        "given",
    ).end()
    assert ended == ["-X three given before own", "three given before own"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["chdir", "cwd"])
def test_a_program_with_a_relative_path_in_another_directory(tmp_path: Path, how: str) -> None:
    (tmp_path / "relative.py").write_text(
        HEAD
        + textwrap.dedent(
            """
            if cluster.is_primary:
                if sys.argv[1] == "cwd":
                    cluster.setup_primary(cwd="/")
                else:
                    os.chdir("/")
                cluster.on("message", lambda worker, message, handle: say(message))
                cluster.fork()
            else:
                cluster.worker.send(os.getcwd())
                cluster.worker.disconnect()
            run()
            """
        )
    )
    ended = subprocess.run(
        [sys.executable, "relative.py", how],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (ended.stdout, ended.stderr) == ("/\n", "")


def test_a_primary_without_standard_streams() -> None:
    """What they leave free are not the numbers of a channel."""
    code = """
        import os
        from pyuvnet.cluster._primary import _connection
        os.close(0)
        os.close(2)
        numbers = [end.fileno() for end in _connection()]
        assert min(numbers) > 2, numbers
        print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.stdout == "fine\n"


def test_a_worker_has_standard_streams_that_its_primary_has_closed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import os, sys
            from pyuvnet import cluster, run
            if cluster.is_primary:
                os.close(0)
                os.close(2)
                cluster.fork()
            else:
                print(*[os.fstat(each).st_rdev == os.stat(os.devnull).st_rdev for each in (0, 2)])
                sys.stdout.flush()
                cluster.worker.disconnect()
            run()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, program],
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=20,
    )
    assert done.stdout == "True True\n"


def test_a_worker_without_its_channel_is_no_primary() -> None:
    """It would start workers, and each of them would again."""
    code = "from pyuvnet import cluster; print(cluster.is_primary)"

    def started(parent: int) -> subprocess.CompletedProcess[str]:
        variable = f"1:99:1:json:{parent}"
        return subprocess.run(
            [sys.executable, "-c", code],
            env=dict(child_environment(), PYUVNET_CLUSTER=variable),
            capture_output=True,
            text=True,
            timeout=20,
        )

    lost = started(os.getpid())
    assert lost.returncode == 1
    assert lost.stderr.splitlines()[-1] == (
        "pyuvnet.errors.StateError: This is worker 1 of a cluster, and its channel, descriptor 99,"
        " was closed before pyuvnet was imported"
    )
    # A program that a worker has started, before it imported pyuvnet.
    assert started(1).stdout == "True\n"


def test_a_worker_that_cannot_be_watched_is_ended(program: Any) -> None:
    ended = program(
        """
        from pyuvnet.cluster import _process

        def watch(fd, callback):
            raise OSError(12, "no memory")

        _process.watch_descriptor = watch
        cluster.setup_primary(silent=True)
        counts = []
        for _ in range(2):
            try:
                cluster.fork()
            except OSError as error:
                say(error.errno, len(cluster.workers))
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                say("no child")
            run()
            counts.append(len(os.listdir("/dev/fd")))
        say(counts[0] == counts[1])
        """,
        dev=False,
    ).end()
    assert ended == [*["12 0", "no child"] * 2, "True"]


@pytest.mark.slow
def test_the_standard_streams_of_workers_and_the_signals_of_the_primary(
    program: Any, tmp_path: Path
) -> None:
    """stdio as a list; and no handler of SIGCHLD is taken from the program."""
    ended = program(
        f"""
        import signal

        if cluster.is_primary:
            seen = []

            def child_ended(number, frame):
                seen.append(number)

            signal.signal(signal.SIGCHLD, child_ended)
            with open({str(tmp_path / "out")!r}, "wb") as file:
                cluster.setup_primary(stdio=iter(["ignore", file, "pipe", "ipc"]))
                for _ in range(2):
                    worker = cluster.fork()
                    worker.process.stderr.on("data", lambda data: say(data.decode()))
                    worker.on("exit", lambda code, signal: say(code))
            run()
            say(signal.getsignal(signal.SIGCHLD) is child_ended, seen[:1] == [signal.SIGCHLD])
        else:
            print(repr(sys.stdin.read()), flush=True)
            sys.stderr.write("complaint")
            sys.exit(5)
        """
    ).end()
    assert sorted(ended) == ["5", "5", "True True", "complaint", "complaint"]
    assert (tmp_path / "out").read_text() == "''\n''\n"


@pytest.mark.spec("N185")
@pytest.mark.parametrize(
    ("folder", "word"),
    [
        ("", "app.py"),
        ("", "./app.py"),
        ("below", "../app.py"),
        ("", "below/../app.py"),
        ("", "package"),
        ("package", "."),
    ],
)
def test_a_worker_runs_the_same_program_after_a_change_of_directory(
    tmp_path: Path, folder: str, word: str
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "package").mkdir()
    code = """
        import os
        os.chdir("/")
        from pyuvnet import cluster, run
        if cluster.is_primary:
            cluster.fork()
            cluster.on("exit", lambda worker, code, signal: print(code))
            run()
        else:
            cluster.worker.disconnect()
            print("here", flush=True)
            run()
        """
    for file in ("app.py", "package/__main__.py"):
        (tmp_path / file).write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, word],
        cwd=tmp_path / folder,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("here\n0\n", "")


def test_a_program_that_a_launcher_runs_is_not_taken_for_the_launcher(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "launcher.py", "app.py"])
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "app.py"))
    assert _own_command() == ([], [os.path.abspath("launcher.py")], ["app.py"])

"""pyuvnet.cluster: workers, listening places, policies, messages, and what is left behind.

tests/differential/test_clusters.py holds events and their order against Node's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import child_environment
from tests.support.processes import gone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


def slow(value: str) -> Any:
    """A parameter for --slow."""
    return pytest.param(value, marks=pytest.mark.slow)


class Program:
    """A primary that runs in a process of its own, in a group with its workers."""

    def __init__(self, file: Path, *args: str, dev: bool = True, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(file), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=options.pop("env", None) or child_environment(dev),
            start_new_session=True,
            **options,
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self, code: int | None = 0, error: str | None = "") -> list[str]:
        """Wait for it and all its workers; returns the lines that are left."""
        out, err = self.process.communicate(timeout=30)
        assert gone(self.pid), "a process was left behind"
        if error is not None:
            assert err == error
        if code is not None:
            assert self.process.returncode == code, err
        return out.splitlines()


HEAD = """
import os
import sys

from pyuvnet import cluster, net, next_tick, run, set_timeout


def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())


def ask(port, times, then):
    answers = []

    def one():
        client = net.connect(port, "127.0.0.1")
        client.on("error", lambda error: answers.append(error.code))
        client.on("data", lambda data: answers.append(data.decode()))
        client.on("close", lambda had_error: then(answers) if len(answers) >= times else one())

    one()


"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Any]:
    """program(code, *args) starts a primary with the code."""
    started: list[Program] = []

    def start(code: str, *args: str, **options: Any) -> Program:
        file = tmp_path / f"program{len(started)}.py"
        file.write_text(HEAD + textwrap.dedent(code))
        started.append(Program(file, *args, **options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            os.killpg(each.pid, signal.SIGKILL)
        each.process.communicate()
        assert gone(each.pid)


# ---- A cluster as in the guide -------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["SCHED_RR", slow("SCHED_NONE"), "SCHED_REUSE_PORT"])
@pytest.mark.spec("N145", "N184", "N185", "N187", "N189", "N195", "D201")
def test_workers_share_a_port(program: Any, policy: str) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.scheduling_policy = getattr(cluster, sys.argv[1])
            ports = set()

            def listening(worker, address):
                ports.add(address.port)
                say(address.address_type, address.address)
                if cluster.listener_count("listening") and len(cluster.workers) == 1:
                    cluster.fork()
                else:
                    ask(address.port, 40, asked)

            def asked(answers):
                say("ports", len(ports), "answers", len(answers), *sorted(set(answers)))
                cluster.disconnect(lambda: say("over"))

            cluster.on("listening", listening)
            cluster.fork()
        else:
            me = f"worker {cluster.worker.id}"
            net.create_server(lambda socket: socket.end(me)).listen(0, "127.0.0.1")
        run()
        """,
        policy,
    ).end()
    assert ended[:2] == ["4 127.0.0.1"] * 2
    assert ended[-1] == "over"
    assert ended[2].startswith("ports 1 answers 40 worker")
    if policy != "SCHED_NONE":
        # Which of two gets one of a shared descriptor is the kernel's to say.
        assert ended[2].endswith("worker 1 worker 2")


@pytest.mark.slow
def test_round_robin_deals_in_turn(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            count = 0

            def listening(worker, address):
                global count
                count += 1
                if count == 3:
                    ask(address.port, 9, asked)

            def asked(answers):
                say(*answers)
                cluster.disconnect()

            cluster.on("listening", listening)
            for _ in range(3):
                cluster.fork()
        else:
            me = str(cluster.worker.id)
            net.create_server(lambda socket: socket.end(me)).listen(0)
        run()
        """
    ).end()
    answers = ended[0].split()
    assert sorted(answers) == sorted("123" * 3)
    assert answers[:3] == answers[3:6] == answers[6:]


# ---- What a worker is ----------------------------------------------------------------------------


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


# ---- Messages ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.spec("N190")
def test_advanced_serialization_is_pickle(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.setup_primary(serialization="advanced")
            cluster.on("message", lambda worker, message, handle: say(message))
            worker = cluster.fork()
            worker.send({(1, 2): {3}, "bytes": b"x"})
        else:
            def heard(message, handle):
                cluster.worker.send([type(message).__name__, message])
                cluster.worker.disconnect()

            cluster.worker.on("message", heard)
        run()
        """
    ).end()
    assert ended == ["['dict', {(1, 2): {3}, 'bytes': b'x'}]"]


@pytest.mark.spec("N191")
def test_handles_go_with_their_messages(program: Any) -> None:
    """Many, both ways, and messages without one between them."""
    ended = program(
        """
        if cluster.is_primary:
            left = 20
            worker = cluster.fork()
            got = []

            def connected(socket):
                global left
                left -= 1
                worker.send({"number": left}, socket)
                worker.send("between")
                if not left:
                    server.close()

            server = net.create_server(connected, pause_on_connect=True)
            answers = []

            def listening():
                for _ in range(20):
                    client = net.connect(server.address().port, "127.0.0.1")
                    client.on("data", lambda data: answers.append(int(data)))
                    client.on("close", lambda had_error: closed.append(1) or over())

            closed = []

            def over():
                if len(closed) == 20:
                    say(sorted(answers) == list(range(20)))
                    worker.disconnect()

            def back(message, handle):
                handle.end(str(message))

            worker.on("message", back)
            worker.on("online", lambda: server.listen(0, "127.0.0.1"))
            server.on("listening", listening)
        else:
            def heard(message, handle):
                if message == "between":
                    assert handle is None
                elif message["number"] % 2:
                    handle.end(str(message["number"]))
                else:
                    # Back where it came from.
                    cluster.worker.send(message["number"], handle)

            cluster.worker.on("message", heard)
        run()
        """
    ).end()
    assert ended == ["True"]


@pytest.mark.parametrize(
    "hostile",
    [
        "b'GET / HTTP/1.0\\r\\n\\r\\n' * 10",
        slow("b'\\xff' * 100"),
        slow("header(4, 0, 0) + b'nope'"),
        slow("header(2, 0, 0) + b'[]'"),
        slow("header(3, 7, 0) + b'abc'"),
        slow("header(9, 2, 0) + pickle.dumps(1)[:9].ljust(9)"),
        slow("header(1, 1, 0) + b'{'"),
        slow("header(200000, 1, 0) + b'[' * 200000"),
        slow("message(act='query')"),
        slow("message(act='query', port='x', seq=1)"),
        slow("message(act='query', port=99999, seq=1)"),
        slow("message(act='query', port=0, fd=2**70, seq=1)"),
    ],
)
def test_a_worker_that_sends_nonsense_loses_its_channel_only(program: Any, hostile: str) -> None:
    ended = program(
        f"""
        import json, logging, pickle, struct
        logging.getLogger("pyuvnet").addHandler(logging.NullHandler())

        def header(length, kind, handles):
            return struct.pack("!IBBQ", length, kind, handles, 0)

        def message(**items):
            text = json.dumps(items).encode()
            return header(len(text), 0, 0) + text

        if cluster.is_primary:
            worker = cluster.fork()
            worker.on("disconnect", lambda: say("disconnect"))
            worker.on("exit", lambda code, signal: say("exit", code, signal))
        else:
            cluster.worker._channel._socket.write({hostile})
        run()
        """,
        dev=False,
    ).end()
    assert ended == ["disconnect", "exit 0 None"]


@pytest.mark.parametrize(
    "harmless",
    [
        "message(act='nothing')",
        slow("message(no='act')"),
        slow("message(act='close', key=[1])"),
        slow("message(act='close', key='none')"),
        slow("message(act='accepted', key='none', number=5, accepted=True)"),
        slow("message(act='accepted', key=None)"),
        slow("message(act='answer', seq={})"),
        slow("message(act='listening', port='x')"),
    ],
)
def test_odd_messages_do_nothing(program: Any, harmless: str) -> None:
    ended = program(
        f"""
        import json, struct

        def message(**items):
            text = json.dumps(items).encode()
            return struct.pack("!IBBQ", len(text), 0, 0, 0) + text

        if cluster.is_primary:
            worker = cluster.fork()
            worker.on("message", lambda message, handle: (say(message), worker.disconnect()))
        else:
            cluster.worker._channel._socket.write({harmless})
            cluster.worker.send("still here")
        run()
        """
    ).end()
    assert ended == ["still here"]


@pytest.mark.slow
def test_descriptors_that_belong_to_no_message_are_closed(program: Any) -> None:
    ended = program(
        """
        import logging, socket
        logging.getLogger("pyuvnet").addHandler(logging.NullHandler())

        if cluster.is_primary:
            worker = cluster.fork()
            count = lambda: len(os.listdir("/dev/fd"))
            before = []
            cluster.on("fork", lambda worker: before.append(count()))
            worker.on("exit", lambda code, signal: say(count() <= before[0]))
        else:
            channel = cluster.worker._channel._socket.fileno()
            with socket.socket(fileno=os.dup(channel)) as raw:
                try:
                    for _ in range(100):
                        # As the first bytes of frames that never end.
                        socket.send_fds(raw, [b"\\0"] , [2] * 10)
                except OSError:
                    # The primary has closed the channel already.
                    pass
        run()
        """
    ).end()
    assert ended == ["True"]


# ---- Listening places ----------------------------------------------------------------------------


@pytest.mark.spec("D219")
@pytest.mark.slow
def test_a_refused_connection_goes_to_another_worker(program: Any) -> None:
    """As in Node, of max_connections; and a server that is paused."""
    ended = program(
        """
        if cluster.is_primary:
            count = 0

            def listening(worker, address):
                global count
                count += 1
                if count == 2:
                    ask(address.port, 6, asked)

            def asked(answers):
                say(*answers)
                cluster.disconnect()

            cluster.on("listening", listening)
            cluster.fork()
            cluster.fork()
        else:
            me = str(cluster.worker.id)
            server = net.create_server(lambda socket: socket.end(me))
            if me == "1":
                server.max_connections = 0
            server.listen(0)
        run()
        """
    ).end()
    assert ended == ["2 2 2 2 2 2"]


@pytest.mark.spec("N160")
@pytest.mark.slow
def test_drop_max_connection_drops_in_the_worker(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            def asked(socket_closed):
                cluster.disconnect()

            def listening(worker, address):
                net.connect(address.port, "127.0.0.1").on("close", asked)

            cluster.on("message", lambda worker, message, handle: say(message))
            cluster.on("listening", listening)
            cluster.fork()
        else:
            server = net.create_server()
            server.max_connections = 0
            server.drop_max_connection = True
            server.on("drop", lambda info: cluster.worker.send("dropped"))
            server.listen(0)
        run()
        """
    ).end(error=None)
    assert ended == ["dropped"]


@pytest.mark.slow
def test_listen_is_given_up_before_the_primary_has_answered(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.on("listening", lambda worker, address: say("never"))
            cluster.on("message", lambda worker, message, handle: (say(message), ask_again()))

            def ask_again():
                ask(int(port), 1, lambda answers: (say(*answers), cluster.disconnect()))

            with __import__("socket").socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            cluster.fork({"PORT": port})
        else:
            server = net.create_server().listen(int(os.environ["PORT"]))
            server.on("listening", lambda: cluster.worker.send("must not be"))
            server.close()
            set_timeout(lambda: later(), 50)

            def later():
                assert not server.listening
                cluster.worker.send("given up")
        run()
        """
    ).end()
    assert ended == ["given up", "ECONNREFUSED"]


@pytest.mark.spec("N195")
def test_options_of_listen_reach_the_primary(program: Any, tmp_path: Path) -> None:
    ended = program(
        f"""
        import stat
        path = {str(tmp_path / "sock")!r}

        if cluster.is_primary:
            def listening(worker, address):
                say(address.address_type, address.port, os.path.basename(address.address),
                    oct(stat.S_IMODE(os.stat(path).st_mode)))
                worker.disconnect()

            cluster.on("listening", listening)
            cluster.on("exit", lambda worker, code, signal: say(os.path.exists(path)))
            cluster.fork()
        else:
            # A worker may stand elsewhere.
            os.chdir({str(tmp_path)!r})
            net.create_server().listen({{"path": "sock", "mode": 0o640}})
        run()
        """
    ).end()
    assert ended == ["-1 -1 sock 0o640", "False"]


def test_shutdown_of_a_shared_server(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            def listening(worker, address):
                ask(address.port, 1, lambda answers: (say(*answers), worker.send("shut down")))

            cluster.on("listening", listening)
            cluster.on("message", lambda worker, text, handle: (say(text), worker.disconnect()))
            cluster.fork()
        else:
            server = net.create_server(lambda socket: socket.end("served")).listen(0)
            server.on("close", lambda: cluster.worker.send("closed"))
            cluster.worker.on("message", lambda message, handle: server.shutdown())
        run()
        """
    ).end()
    assert ended == ["served", "closed"]


# ---- Who dies, and what is left ------------------------------------------------------------------


def connect(port: int, timeout: float = 10) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


SERVING = """
    if cluster.is_primary:
        cluster.scheduling_policy = getattr(cluster, sys.argv[1])
        cluster.on("listening", lambda worker, address: say(worker.process.pid, address.port))
        cluster.on("exit", lambda worker, code, signal: say("exit", worker.id, code, signal))
        for _ in range(int(sys.argv[2])):
            cluster.fork()
    else:
        me = str(cluster.worker.id)
        server = net.create_server(lambda socket: socket.end(me))
        server.listen(int(os.environ.get("PORT", "0")), "127.0.0.1")
    run()
"""
POLICIES = [slow("SCHED_RR"), slow("SCHED_NONE"), "SCHED_REUSE_PORT"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_primary_that_is_killed_takes_its_workers_along(program: Any, policy: str) -> None:
    primary = program(SERVING, policy, "2")
    port = int(primary.line().split()[1])
    primary.line()
    os.kill(primary.pid, signal.SIGKILL)
    primary.end(code=-signal.SIGKILL, error=None)
    with pytest.raises(ConnectionRefusedError):
        connect(port)


@pytest.mark.slow
@pytest.mark.spec("D218")
def test_a_worker_that_hangs_when_the_primary_dies_is_ended(program: Any) -> None:
    """Its program catches SystemExit, and a thread of it does not end."""
    primary = program(
        """
        import threading, time

        if cluster.is_primary:
            cluster.on("message", lambda worker, message, handle: os.kill(os.getpid(), 9))
            cluster.fork()
            run()
        else:
            from pyuvnet.cluster import _worker
            _worker._PATIENCE = 0.2
            threading.Thread(target=time.sleep, args=(1000,)).start()
            cluster.worker.send("here")
            try:
                run()
            except SystemExit:
                pass
            run()
        """
    )
    primary.end(code=-signal.SIGKILL, error=None)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.spec("D217")
def test_connections_survive_a_worker_that_is_killed(program: Any, policy: str) -> None:
    """Stopped, then killed: what it had not taken goes to another worker, or to its successor."""
    primary = program(SERVING, policy, "2")
    first, port = map(int, primary.line().split())
    primary.line()
    os.kill(first, signal.SIGSTOP)
    clients = [connect(port) for _ in range(20)]
    os.kill(first, signal.SIGKILL)
    answers = [client.recv(10) for client in clients]
    for client in clients:
        client.close()
    assert all(answers)
    assert len(set(answers)) == 1
    primary.process.send_signal(signal.SIGTERM)
    primary.end(code=-signal.SIGTERM, error=None)


@pytest.mark.slow
@pytest.mark.spec("D201")
def test_the_queue_of_the_only_worker_goes_to_its_successor(program: Any) -> None:
    primary = program(
        """
        if cluster.is_primary:
            cluster.scheduling_policy = cluster.SCHED_REUSE_PORT
            cluster.on("listening", lambda worker, address: say(worker.process.pid, address.port))
            cluster.on("exit", lambda worker, code, signal: cluster.fork())
            cluster.fork()
        else:
            server = net.create_server(lambda socket: socket.end(str(cluster.worker.id)))
            server.listen(0, "127.0.0.1")
        run()
        """
    )
    first, port = map(int, primary.line().split())
    os.kill(first, signal.SIGSTOP)
    clients = [connect(port) for _ in range(20)]
    os.kill(first, signal.SIGKILL)
    answers = [client.recv(10) for client in clients]
    for client in clients:
        client.close()
    assert answers == [b"2"] * 20
    _, again = map(int, primary.line().split())
    assert again == port
    primary.process.send_signal(signal.SIGTERM)
    primary.end(code=-signal.SIGTERM, error=None)


@pytest.mark.slow
def test_a_fork_of_a_worker_does_not_hold_its_channel(program: Any) -> None:
    """Nor that of the primary."""
    ended = program(
        """
        import time

        if cluster.is_primary:
            worker = cluster.fork()
            worker.on("disconnect", lambda: say("disconnect"))
            worker.on("exit", lambda code, signal: (say("exit"), os.kill(int(other), 9)))
            worker.on("message", lambda message, handle: take(message))

            def take(message):
                global other
                other = message
                worker.kill("SIGKILL")
        else:
            child = os.fork()
            if not child:
                time.sleep(1000)
            cluster.worker.send(child)
        run()
        """,
        dev=False,
    ).end(error=None)
    assert ended == ["disconnect", "exit"]


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
def test_a_worker_that_disconnects_hands_back_what_it_was_offered(program: Any) -> None:
    """Stopped, it is told to disconnect, and killed: its offers must not be lost with it."""
    primary = program(
        """
        if cluster.is_primary:
            cluster.on("listening", lambda worker, address: up(worker, address))
            count = 0

            def up(worker, address):
                global count
                count += 1
                say(worker.id, worker.process.pid, address.port)

            def read(chunk):
                cluster.workers[int(chunk)].disconnect()
                say("told")

            commands = net.Socket(fd=0, writable=False)
            commands.on("data", read)
            cluster.fork()
            cluster.fork()
        else:
            me = str(cluster.worker.id)
            net.create_server(lambda socket: socket.end(me)).listen(0, "127.0.0.1")
        run()
        """
    )
    first, pid, port = primary.line().split()
    second = primary.line().split()[0]
    os.kill(int(pid), signal.SIGSTOP)
    clients = [connect(int(port)) for _ in range(4)]
    # Those that the other one got have been answered; one is with the stopped worker.
    primary.say(first)
    assert primary.line() == "told"
    os.kill(int(pid), signal.SIGKILL)
    assert [client.recv(10).decode() for client in clients] == [second] * 4
    for client in clients:
        client.close()
    primary.process.send_signal(signal.SIGTERM)
    primary.end(code=-signal.SIGTERM, error=None)


@pytest.mark.slow
def test_a_fork_of_a_worker_listens_by_itself(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.on("listening", lambda worker, address: say("never"))
            cluster.fork()
        elif not (child := os.fork()):
            server = net.create_server().listen(0)
            server.on("listening", lambda: (say("listening"), server.close()))
            run()
            os._exit(0)
        else:
            assert os.waitpid(child, 0)[1] == 0
            cluster.worker.disconnect()
        run()
        """,
        dev=False,
    ).end()
    assert ended == ["listening"]


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
def test_keep_open_leaves_a_socket_with_both(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            worker = cluster.fork()

            def connected(socket):
                worker.send("yours too", socket, {"keepOpen": True})
                worker.on("message", lambda message, handle: socket.end(b" and here"))
                socket.resume()

            server = net.create_server(connected, pause_on_connect=True)
            said = bytearray()

            def listening():
                client = net.connect(server.address().port, "127.0.0.1")
                client.on("data", said.extend)
                client.on("close", over)

            def over(had_error):
                say(said.decode())
                server.close()
                worker.disconnect()

            worker.on("online", lambda: server.listen(0, "127.0.0.1"))
            server.on("listening", listening)
        else:
            def heard(message, socket):
                socket.write(b"there", lambda error: (socket.destroy(), told()))

            def told():
                cluster.worker.send("written")

            cluster.worker.on("message", heard)
        run()
        """
    ).end()
    assert ended == ["there and here"]

"""Listening places: listen() in workers, the policies, and who gets a connection."""

from __future__ import annotations

import os
import signal
import socket
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.clusters import SERVING, connect, free_port, slow
from tests.support.processes import exhausted

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


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


# As many workers as the first argument says, and as many connections as the second one says; the
# worker that the third one names has no room for a connection.
ASKED = """
    if cluster.is_primary:
        count = 0

        def listening(worker, address):
            global count
            count += 1
            if count == int(sys.argv[1]):
                ask(address.port, int(sys.argv[2]), asked)

        def asked(answers):
            say(*answers)
            cluster.disconnect()

        cluster.on("listening", listening)
        for _ in range(int(sys.argv[1])):
            cluster.fork()
    else:
        me = str(cluster.worker.id)
        server = net.create_server(lambda socket: socket.end(me))
        if me in sys.argv[3:]:
            server.max_connections = 0
        server.listen(0)
    run()
"""


@pytest.mark.slow
def test_round_robin_deals_in_turn(program: Any) -> None:
    (line,) = program(ASKED, "3", "9").end()
    answers = line.split()
    assert sorted(answers) == sorted("123" * 3)
    assert answers[:3] == answers[3:6] == answers[6:]


@pytest.mark.spec("D219")
@pytest.mark.slow
def test_a_refused_connection_goes_to_another_worker(program: Any) -> None:
    """As in Node, of max_connections; and a server that is paused."""
    assert program(ASKED, "2", "6", "1").end() == ["2 2 2 2 2 2"]


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


@pytest.mark.slow
def test_a_worker_that_disconnects_hands_back_what_it_was_offered(program: Any) -> None:
    """Stopped, it is to disconnect, and is killed: its offers must not be lost with it."""
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
@pytest.mark.spec("P7-07")
def test_the_primary_replaces_the_file_of_a_socket_that_nobody_accepts_from(
    program: Any, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "s"))
    ended = program(
        """
        if cluster.is_primary:
            cluster.on("listening", lambda worker, address: say(address.address))
            cluster.on("listening", lambda worker, address: worker.disconnect())
            cluster.fork()
        else:
            net.create_server().listen(path=sys.argv[1], unlink_stale=True)
        run()
        """,
        str(tmp_path / "s"),
    ).end()
    assert ended == [str(tmp_path / "s")]


@pytest.mark.slow
def test_a_new_server_never_gets_the_connections_of_another_one(program: Any) -> None:
    """Of three on port 0 the first is closed: the third one's place is not the second's."""
    ended = program(
        """
        if cluster.is_primary:
            def heard(worker, ports, handle):
                say(len(set(ports)))
                ask(ports[1], 2, lambda answers: (say(*answers), cluster.disconnect()))

            cluster.on("message", heard)
            cluster.fork()
        else:
            ports = []

            def serve(name, then):
                server = net.create_server(lambda socket: socket.end(name))
                server.listen(0, "127.0.0.1")
                server.on("listening", lambda: (ports.append(server.address().port), then()))
                return server

            def third(error):
                serve("third", lambda: cluster.worker.send(ports))

            first = serve("first", lambda: serve("second", lambda: first.close(third)))
        run()
        """
    ).end()
    assert ended == ["3", "second second"]


@pytest.mark.slow
def test_a_late_word_of_an_earlier_place_is_not_one_of_its_successor(program: Any) -> None:
    """A worker closes, listens again, and then refuses what it was offered before that."""
    ended = program(
        """
        if cluster.is_primary:
            def listening(worker, address):
                client = net.connect(address.port, "127.0.0.1")
                client.on("error", lambda error: None)
                client.on("data", lambda data: (say(data.decode()), worker.send("how many")))
                client.resume()

            cluster.on("listening", listening)
            cluster.on("message", lambda worker, count, handle: (say(count), worker.disconnect()))
            cluster.fork({"PORT": sys.argv[1]})
        else:
            me = cluster.worker
            port = int(os.environ["PORT"])
            take = me._connection
            numbers = []

            def offered(message, fd):
                numbers.append(message["number"])
                if len(numbers) == 1:
                    # The first server is closed, and the next one waits for its connection.
                    os.close(fd)
                    server.close()
                    server.listen(port, "127.0.0.1")
                    return
                me._channel.send_internal({**message, "act": "accepted", "number": numbers[0],
                                  "accepted": False})
                take(message, fd)

            me._connection = offered
            served = []
            server = net.create_server(lambda socket: (served.append(1), socket.end("served")))
            server.listen(port, "127.0.0.1")
            me.on("message", lambda message, handle:
                  set_timeout(lambda: me.send([len(numbers), len(served)]), 100))
        run()
        """,
        str(free_port()),
    ).end(error=None)
    # Two offers, of which one was served.
    assert ended == ["served", "[2, 1]"]


@pytest.mark.slow
def test_a_server_of_another_thread_is_that_threads_own(program: Any) -> None:
    ended = program(
        """
        import threading

        if cluster.is_primary:
            cluster.on("listening", lambda worker, address: say("never"))
            cluster.on("message", lambda worker, message, handle: say(message))
            cluster.fork()
        else:
            seen = []

            def serve():
                server = net.create_server().listen(0)
                server.on("listening", lambda: (seen.append("listening"), server.close()))
                run()

            thread = threading.Thread(target=serve)
            thread.start()
            thread.join()
            cluster.worker.send(seen)
            cluster.worker.disconnect()
        run()
        """
    ).end()
    assert ended == ["['listening']"]


@pytest.mark.slow
def test_options_of_the_kernel_fail_in_a_worker_as_elsewhere(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.on("message", lambda worker, message, handle: say(*message))
            cluster.fork()
        else:
            server = net.create_server()

            def failed(error):
                cluster.worker.send([error.syscall, error.code, server.address()])
                cluster.worker.disconnect()

            server.on("error", failed)
            server.listen({"port": 0, "congestion": "no-such"})
        run()
        """
    ).end()
    assert ended == ["setsockopt ENOENT None"]


@pytest.mark.slow
def test_connections_of_the_primary_are_not_handed_out_by_number(program: Any) -> None:
    """Among them are the channels of the other workers."""
    ended = program(
        """
        if cluster.is_primary:
            cluster.scheduling_policy = cluster.SCHED_NONE
            cluster.on("message", lambda worker, message, handle: (say(*message),
                                                                   worker.disconnect()))
            cluster.fork({"ASKS": "no"})
            cluster.fork({"ASKS": "yes"})
            cluster.on("exit", lambda worker, code, signal: cluster.disconnect())
        elif os.environ["ASKS"] == "yes":
            me = cluster.worker
            errors = []
            handed = []
            internal = me._internal

            def see(message, fd):
                if fd is not None:
                    handed.append(fd)
                internal(message, fd)

            me._channel._on_internal = see

            def failed(error):
                errors.append(error.code)
                if len(errors) == 40:
                    me.send([len(handed), *sorted(set(errors))])

            for number in range(40):
                net.create_server().on("error", failed).listen(fd=number)
        run()
        """
    ).end(error=None)
    # The standard streams of this primary are pipes.
    assert ended == ["0 EINVAL ENOTSOCK"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["SCHED_RR", "SCHED_NONE", "SCHED_REUSE_PORT"])
def test_servers_with_tls_share_a_port(program: Any, policy: str) -> None:
    ended = program(
        f"""
        from pyuvnet import tls
        with open({str(ROOT / "tests" / "localhost.pem")!r}, "rb") as file:
            pem = file.read()

        if cluster.is_primary:
            cluster.scheduling_policy = cluster.{policy}

            def listening(worker, address):
                client = tls.connect(address.port, "127.0.0.1", reject_unauthorized=False)
                client.on("data", lambda data: say(data.decode()))
                client.on("close", lambda had_error: worker.disconnect())

            cluster.on("listening", listening)
            cluster.fork()
        else:
            server = tls.create_server({{"key": pem, "cert": pem}},
                                       lambda socket: socket.end("secret"))
            server.listen(0, "127.0.0.1")
        run()
        """,
        # A handshake may be slow, which dev mode logs.
        dev=False,
    ).end()
    assert ended == ["secret"]


@pytest.mark.slow
def test_the_last_worker_that_closes_drops_who_waits_in_the_primary(
    program: Any, tmp_path: Path
) -> None:
    """As in Node. What pyuvnet.serve() does instead is in tests/serve/test_restarts.py."""
    ended = program(
        """
        import time

        if cluster.is_primary:
            ends = []

            @cluster.on("listening")
            def listening(worker, address):
                waiting = []

                def one():
                    client = net.connect(address.port, "127.0.0.1")
                    client.on("connect", lambda: waiting.append(client))
                    client.on("connect", lambda: len(waiting) == 10 and open(sys.argv[1], "x"))
                    got = []
                    client.on("data", got.append)
                    client.on("error", lambda error: None)
                    client.on("close", lambda had_error: closed(worker, b"".join(got)))

                for _ in range(10):
                    one()

            def closed(worker, got):
                ends.append(got)
                if len(ends) == 10:
                    say(ends.count(b"served"), ends.count(b""))
                    worker.disconnect()

            cluster.fork()
        else:
            def connected(socket):
                # Blocked, until all others wait.
                while not os.path.exists(sys.argv[1]):
                    time.sleep(0.005)
                server.close()
                socket.end("served")

            server = net.create_server(connected).listen(0, "127.0.0.1")
        run()
        """,
        str(tmp_path / "all-connected"),
    ).end(error=None)
    assert ended == ["1 9"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("policy", ["SCHED_RR", slow("SCHED_NONE"), slow("SCHED_REUSE_PORT")])
def test_service_returns_when_descriptors_do(program: Any, policy: str) -> None:
    """Also with a primary that has accepted for workers which have no room."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
    # The clients do not read.
    heedless = SERVING.replace("socket.end(me)", "(socket.on('error', str), socket.end(me))")
    started = program(limit + textwrap.dedent(heedless), policy, "2", dev=False)
    port = int(started.line().split()[1])
    started.line()
    with exhausted(started.pid, port, 64, 400):
        pass
    for _ in range(4):
        with connect(port, 30) as one:
            assert one.recv(10) in (b"1", b"2")
    os.kill(started.pid, signal.SIGKILL)
    started.end(code=None, error=None)


@pytest.mark.spec("N195")
def test_a_path_that_is_short_enough_as_a_relative_one(program: Any, tmp_path: Path) -> None:
    """The absolute one, by which the primary knows it, has no room in the system's address."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    ended = program(
        """
        if cluster.is_primary:
            worker = cluster.fork()
            worker.on("message", lambda message, handle: (say(message), worker.disconnect()))
            worker.on("exit", lambda code, signal: say(code, os.path.exists("socket")))
        else:
            server = net.create_server(lambda socket: socket.end("served"))
            server.on("error", lambda error: cluster.worker.send(str(error.code)))

            @server.on("listening")
            def listening():
                client = net.connect("./socket")
                client.on("data", lambda data: cluster.worker.send(data.decode()))

            server.listen("./socket")
        run()
        """,
        cwd=deep,
    ).end()
    assert ended == ["served", "0 False"]

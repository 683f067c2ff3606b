"""Workers and primaries that end, are killed or fork: who is served, and what is left behind."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

from tests.support.clusters import POLICIES, SERVING, connect, process_has_ended

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


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
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for a process of others")
@pytest.mark.parametrize("which", ["primary", "worker"])
def test_a_fork_does_not_keep_the_others_waiting(program: Any, which: str) -> None:
    """A child that a primary or a worker has forked, as multiprocessing does, has no channel."""
    primary = program(
        """
        import time

        def fork():
            child = os.fork()
            if not child:
                time.sleep(1000)
                os._exit(0)
            return child

        if cluster.is_primary:
            # So that a channel which the forked child held would stay open beyond this test.
            cluster._primary._LAST_WORDS = 3_600_000

            def up(worker, child, handle):
                say(worker.process.pid, fork() if sys.argv[1] == "primary" else child)

            worker = cluster.fork()
            worker.on("disconnect", lambda: say("disconnect"))
            cluster.on("message", up)
        else:
            cluster.worker.send(fork() if sys.argv[1] == "worker" else 0)
        run()
        """,
        which,
        dev=False,
    )
    worker, child = map(int, primary.line().split())
    try:
        if which == "primary":
            os.kill(primary.pid, signal.SIGKILL)
            assert process_has_ended(worker)
        else:
            os.kill(worker, signal.SIGKILL)
            assert primary.line() == "disconnect"
    finally:
        os.kill(child, signal.SIGKILL)
    primary.end(code=None, error=None)


@pytest.mark.slow
def test_an_exception_at_the_end_of_a_worker_is_seen(program: Any) -> None:
    primary = program(
        """
        if cluster.is_primary:
            worker = cluster.fork()
            worker.on("online", lambda: worker._channel.destroy())
            worker.on("exit", lambda code, signal: say(code, signal))
        else:
            @cluster.worker.on("disconnect")
            def gone():
                raise ZeroDivisionError("on purpose")
        run()
        """
    )
    assert primary.line() == "1 None"
    _, error = primary.process.communicate(timeout=20)
    assert error.endswith("ZeroDivisionError: on purpose\n")


@pytest.mark.slow
def test_a_killed_primary_takes_workers_of_asyncio_along(program: Any) -> None:
    primary = program(
        """
        import asyncio

        async def serve():
            server = net.create_server().listen(0, "127.0.0.1")
            try:
                await asyncio.sleep(1000)
            finally:
                say("cancelled")

        if cluster.is_primary:
            cluster.on("listening", lambda worker, address: say(worker.process.pid))
            cluster.fork()
            cluster.fork()
            run()
        elif cluster.worker.id == 1:
            asyncio.run(serve())
        else:
            run(serve())
        """
    )
    primary.line()
    primary.line()
    os.kill(primary.pid, signal.SIGKILL)
    ended = primary.end(code=-signal.SIGKILL, error=None)
    assert ended == ["cancelled", "cancelled"]

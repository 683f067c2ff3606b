"""serve() as a program calls it: once, in its main thread, and what is left after it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

import pytest

import pyuvnet
from tests.conftest import child_environment
from tests.support.serving import ask

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet import cluster
    from pyuvnet._serve import worker


@pytest.mark.slow
@pytest.mark.spec("P11-11", "D220")
def test_a_program_serves_its_own_function(serve: Any) -> None:
    """Each worker runs the program up to serve(), which returns in the primary only."""
    primary = serve(
        program="""
        import os, sys
        import pyuvnet

        greeting = "from a closure"
        if __name__ == "__main__":
            def app(server):
                server.on("connection", lambda socket: socket.end(greeting))
            code = pyuvnet.serve(app, bind=["127.0.0.1:0"], workers=2, timeout_graceful=5000)
            print("served", code, flush=True)
        """
    )
    assert ask(primary.ready()) == "from a closure"
    log = primary.end()
    assert log.splitlines().count("served 0") == 1


@pytest.mark.slow
@pytest.mark.spec("P11-11")
def test_it_is_called_once_in_a_program(serve: Any) -> None:
    """The workers of a second call would run the function of the first."""
    primary = serve(
        program="""
        import pyuvnet
        try:
            pyuvnet.serve(print, bind="127.0.0.1:port")
        except pyuvnet.ArgValueError:
            pass  # It did not begin.
        pyuvnet.serve(lambda socket: socket.end("first"), bind="127.0.0.1:0")
        pyuvnet.serve(lambda socket: socket.end("second"), bind="127.0.0.1:0")
        """
    )
    primary.ready()
    log = primary.end(code=1)
    assert "serve() is called once in a program" in log.splitlines()[-1]


@pytest.mark.spec("P11-04", "P11-11")
def test_if_it_raises_it_leaves_nothing_behind(serve: Any) -> None:
    """The second worker cannot be started; the program goes on without serve()."""
    primary = serve(
        program="""
        import os
        import pyuvnet
        from pyuvnet import cluster

        if cluster.is_primary:
            from pyuvnet._serve import supervisor
            real = supervisor.Supervisor._fork
            def fork(self, env):
                if self.processes:
                    raise OSError(11, "no more processes")
                return real(self, env)
            supervisor.Supervisor._fork = fork
        try:
            pyuvnet.serve(
                lambda socket: socket.end(), bind="127.0.0.1:0", workers=2,
                metrics="127.0.0.1:0", max_lifetime=10**6,
            )
        except OSError as error:
            print("it raises:", error.strerror, flush=True)
        try:
            print("left:", os.waitpid(-1, os.WNOHANG), flush=True)
        except ChildProcessError:
            print("no child is left", flush=True)
        pyuvnet.run()
        loop = pyuvnet.current_loop()
        print(f"handles: {loop.handle_count()}, workers: {len(cluster.workers)}", flush=True)
        """
    )
    primary.process.wait(20)
    log = primary.end(None)
    assert log.splitlines()[-3:] == [
        "it raises: no more processes",
        "no child is left",
        "handles: 0, workers: 0",
    ]


def test_serve_is_for_the_main_thread() -> None:
    errors: list[str] = []

    def call() -> None:
        try:
            pyuvnet.serve("app:app")
        except pyuvnet.StateError as error:
            errors.append(error.code)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert errors == ["ERR_WRONG_THREAD"]


@pytest.mark.spec("P11-11")
def test_in_a_worker_of_another_cluster_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "is_worker", True)
    monkeypatch.delenv(worker.VARIABLE, raising=False)
    with pytest.raises(pyuvnet.StateError, match="cannot be called in a worker"):
        pyuvnet.serve("app:app")


def test_a_program_that_a_worker_starts_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(worker.VARIABLE, "{}")
    assert worker.given() is None
    assert worker.VARIABLE not in os.environ


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, pyuvnet; print([name for name in sys.modules if '_serve.' in name])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=child_environment(),
        check=True,
    )
    assert done.stdout == "[]\n"

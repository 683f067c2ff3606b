"""The plugin for pytest: its fixtures, the check for leaks, and seeds in reports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

Pytest = Callable[..., str]


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    """run_pytest(code, *options) runs tests with the plugin alone; returns what pytest prints."""

    def run_pytest(code: str, *options: str) -> str:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(code))
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        command = [sys.executable, "-m", "pytest", "-p", "pytest_pyuvnet", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, "-q", "--no-header", *options, "test_it.py"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": "",
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
            timeout=25,
        )
        return done.stdout + done.stderr

    return run_pytest


def test_what_does_not_use_pyuvnet_does_not_import_it(run_pytest: Pytest) -> None:
    said = run_pytest(
        """
        import sys

        def test_unused(unused_port):
            assert 0 < unused_port < 65536
            assert [name for name in sys.modules if name.split(".")[0] == "pyuvnet"] == []
        """
    )
    assert "1 passed" in said, said


def test_fixtures_and_what_leaves_nothing(run_pytest: Pytest) -> None:
    said = run_pytest(
        """
        import pytest

        import pyuvnet
        from pyuvnet import events, net, run

        ports = set()

        @pytest.mark.parametrize("number", range(3))
        def test_ports_differ_and_are_free(unused_port, number):
            assert unused_port not in ports
            ports.add(unused_port)
            server = net.create_server().listen(unused_port)
            server.on("listening", server.close)
            run()

        def test_server(pyuvnet_server):
            server = pyuvnet_server(lambda socket: socket.pipe(socket), allow_half_open=True)
            assert server.allow_half_open

            async def main():
                async with net.connect(server.address()) as client:
                    client.end("hello")
                    return b"".join([chunk async for chunk in client])

            assert run(main()) == b"hello"

        def test_server_with_a_connection_that_stays(pyuvnet_server):
            server = pyuvnet_server()
            server.on("connection", lambda socket: (socket.resume(), pyuvnet.stop()))
            net.connect(server.address()).on("error", lambda error: None).resume()
            run()

        def test_several_servers(pyuvnet_server):
            first, second = pyuvnet_server(), pyuvnet_server()
            assert first.address().port != second.address().port
            second.close()

        @pytest.fixture(scope="module")
        def shared():
            server = net.create_server().listen(0)
            yield server
            server.close()
            run()

        def test_of_a_larger_scope(shared):
            pass

        def test_of_a_larger_scope_again(shared):
            assert shared.listening

        def test_what_is_closing_gets_its_time():
            client, server = pyuvnet.testing.pair() if hasattr(pyuvnet, "testing") else (None, None)
            if client is None:
                from pyuvnet.testing import pair

                client, server = pair()
            server.resume()
            client.destroy()
        """
    )
    assert "9 passed" in said, said


LEAKS = """
    import warnings

    import pytest
    from pyuvnet import net, set_interval

    def test_leaves_a_server():
        net.create_server().listen(0)

    def test_next_is_not_blamed():
        pass

    def test_leaves_a_timer():
        set_interval(print, 1000)

    @pytest.mark.pyuvnet_leaks("off")
    def test_may_leave():
        set_interval(print, 1000).unref()
        net.create_server().listen(0)

    @pytest.fixture(scope="module")
    def shared():
        server = net.create_server().listen(0)
        yield server
        server.close()

    def test_leaves_a_second_beside_a_shared_one(shared):
        net.create_server(name="second").listen(0)

    def test_shared_one_is_still_there(shared):
        assert shared.listening

    def test_fails_and_leaves():
        net.create_server().listen(0)
        assert 0
    """


def test_what_is_left_fails_the_test_and_not_the_next(run_pytest: Pytest) -> None:
    said = run_pytest(LEAKS, "-rA")
    assert "1 failed, 6 passed, 3 errors" in said, said
    for name in ("leaves_a_server", "leaves_a_timer", "leaves_a_second_beside_a_shared_one"):
        assert f"ERROR test_it.py::test_{name} - Failed: the test left open" in said
    assert re.search(r"<tcp \[::\]:\d+ of <Server ", said)
    assert "<timer of <built-in function print>, keeps the loop alive>" in said


@pytest.mark.parametrize(("way", "expected"), [("warn", "3 warnings"), ("off", "")])
def test_the_setting_says_what_happens_to_it(run_pytest: Pytest, way: str, expected: str) -> None:
    said = run_pytest(LEAKS, "-o", f"pyuvnet_leaks={way}")
    assert "1 failed, 6 passed" in said, said
    assert expected in said
    assert "error" not in said.splitlines()[-1]


def test_a_wrong_setting_is_refused(run_pytest: Pytest) -> None:
    said = run_pytest("def test_it(): pass", "-o", "pyuvnet_leaks=no")
    assert "pyuvnet_leaks must be one of error, warn, off" in said


def test_a_wrong_mark_is_refused(run_pytest: Pytest) -> None:
    said = run_pytest(
        """
        import pytest

        @pytest.mark.pyuvnet_leaks
        def test_nothing(): pass

        @pytest.mark.pyuvnet_leaks("no")
        def test_unknown(): pass

        @pytest.mark.pyuvnet_leaks(how="off")
        def test_other_keyword(): pass

        @pytest.mark.pyuvnet_leaks(way="off")
        def test_keyword(): pass
        """
    )
    assert "1 passed, 3 errors" in said, said
    for name in ("nothing", "unknown", "other_keyword"):
        assert f"ERROR test_it.py::test_{name} - Failed: pyuvnet_leaks takes one of error" in said


def test_what_a_listener_raises_at_the_end_fails_the_test_and_not_the_next(
    run_pytest: Pytest,
) -> None:
    said = run_pytest(
        """
        from pyuvnet import loop, net, set_interval

        def test_leaves_what_fails(unused_port):
            net.connect(unused_port, "127.0.0.1")
            net.create_server().listen(0)

        def test_next():
            assert loop.handles() == []
        """
    )
    assert "2 passed, 1 error" in said, said
    assert "ConnectionRefusedError: connect ECONNREFUSED 127.0.0.1:" in said
    assert re.search(r"the test left open in the loop of pyuvnet:\n.*<tcp ", said), said


def test_virtual_time_that_is_not_left_ends_with_the_test(run_pytest: Pytest) -> None:
    said = run_pytest(
        """
        import time

        import pytest
        from pyuvnet import run, set_timeout
        from pyuvnet.testing import virtual_time

        def test_leaves_it():
            virtual_time().__enter__()

        def test_next():
            before = time.monotonic()
            set_timeout(list, 30)
            run()
            assert time.monotonic() - before > 0.02

        @pytest.fixture(scope="module")
        def shared():
            with virtual_time(jump=True) as clock:
                yield clock

        def test_of_a_larger_scope(shared): pass

        def test_still_of_a_larger_scope(shared):
            set_timeout(list, 3_600_000)
            run()
        """
    )
    assert "4 passed, 1 error" in said, said
    assert "ERROR test_it.py::test_leaves_it - Failed: the test left virtual time on" in said


def test_what_is_cleaned_up_leaves_objects_of_a_larger_scope(run_pytest: Pytest) -> None:
    said = run_pytest(
        """
        import pytest
        from pyuvnet import current_loop, net, run

        @pytest.fixture(scope="module")
        def server():
            return net.create_server()  # It has no handle yet.

        def test_leaves_another(server):
            net.create_server().listen(0)

        def test_uses_it(server):
            server.listen(0, lambda: server.close())
            run()

        def test_closes_its_loop(pyuvnet_server):
            pyuvnet_server()
            current_loop().close()
        """
    )
    assert "3 passed, 1 error" in said, said


def test_a_server_of_a_larger_scope_may_start_listening_in_a_test(run_pytest: Pytest) -> None:
    said = run_pytest(
        """
        import pytest
        from pyuvnet import net, run, stop

        @pytest.fixture(scope="module")
        def shared():
            # With a host, it has no handle before the loop turns.
            server = net.create_server().listen(0, "127.0.0.1")
            yield server
            server.close()
            run()

        def test_turns_the_loop(shared):
            shared.on("listening", stop)
            run()

        def test_it_still_listens(shared):
            assert shared.listening

        def test_leaves_another(shared):
            net.create_server(name="another").listen(0, "127.0.0.1")
        """
    )
    assert "3 passed, 1 error" in said, said
    assert "ERROR at teardown of test_leaves_another" in said


def test_seeds_are_in_the_report_of_a_failed_test_only(run_pytest: Pytest) -> None:
    said = run_pytest(
        """
        from pyuvnet import run
        from pyuvnet.testing import pair

        def use(seed):
            for socket in pair(chop=(1, 5), seed=seed):
                socket.destroy()
            run()

        def test_passes():
            use(111)

        def test_fails():
            use(222)
            assert 0
        """
    )
    assert "1 failed, 1 passed" in said, said
    assert "pyuvnet faults" in said
    assert "pair(): seed=222" in said
    assert "111" not in said

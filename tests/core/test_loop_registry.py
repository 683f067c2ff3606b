"""Which loop a thread has, and its end by the thread, a fork, and the interpreter's exit."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are POSIX's")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


@posix_only
def test_a_thread_that_ends_closes_its_loop(run_child):
    child = run_child("""
        import gc, os, threading
        import pyuvnet
        from pyuvnet import net

        def program():
            server = net.create_server().listen(0, "127.0.0.1").unref()
            pyuvnet.set_timeout(pyuvnet.stop, 1)
            pyuvnet.set_interval(print, 100_000)
            pyuvnet.run()

        def descriptors():
            gc.collect()
            return len(os.listdir("/dev/fd"))

        counts = []
        for _ in range(4):
            thread = threading.Thread(target=program)
            thread.start(); thread.join()
            counts.append(descriptors())
        assert counts[0] == counts[-1], counts
    """)
    child.clean()


# ---- Fork ----------------------------------------------------------------------------------------


@needs_fork
def test_a_forked_child_cannot_use_the_parents_objects_but_a_loop_of_its_own(run_child):
    child = run_child("""
        import os, sys
        import pyuvnet
        from pyuvnet import net

        loop = pyuvnet.current_loop()
        timer = pyuvnet.set_timeout(print, 100, "parent's timer")
        immediate = pyuvnet.set_immediate(lambda: None)
        socket = net.Socket()
        pid = os.fork()
        if pid == 0:
            def code(use):
                try:
                    use()
                except pyuvnet.StateError as error:
                    return error.code
            uses = [loop.run, loop.close, timer.close, timer.refresh, immediate.close,
                    socket.resume, lambda: socket.write(b"x"),
                    lambda: loop.next_tick(print), lambda: loop.call_soon_threadsafe(print)]
            print([code(use) for use in uses] == ["ERR_FORKED"] * len(uses), flush=True)
            assert pyuvnet.current_loop() is not loop
            pyuvnet.set_timeout(print, 1, "child's timer")
            pyuvnet.run()
            sys.exit(0)
        os.waitpid(pid, 0)
        pyuvnet.run()
        print("parent done")
    """)
    assert child.clean().lines == ["True", "child's timer", "parent's timer", "parent done"]


# ---- Exit ----------------------------------------------------------------------------------------

UNCLOSED = """
    import sys
    import pyuvnet
    from pyuvnet import net

    def make_server():
        server = net.create_server()
        return server.listen(0, callback=pyuvnet.stop)

    def make_client(server):
        return net.connect(server.address().port, callback)

    def callback(): pyuvnet.stop()

    server = make_server()
    pyuvnet.run()
    client = make_client(server)
    pyuvnet.run()
    closed = net.Socket()
    closed.destroy()
    {end}
"""


@pytest.mark.parametrize("end", ["", "pyuvnet.current_loop().close(); print('on')"])
def test_development_mode_warns_of_each_unclosed_one_with_where_it_was_opened(run_child, end):
    child = run_child(UNCLOSED.format(end=end), dev=True)
    assert child.code == 0
    warnings = child.err.split("<string>:")[1:]
    of_server = next(text for text in warnings if "<Server" in text)
    assert of_server.startswith("8: ResourceWarning: unclosed <Server :::")
    assert "Opened at (most recent call last):" in of_server
    assert "in <module>" in of_server
    assert "in make_server" in of_server
    assert "pyuvnet" + os.sep not in of_server
    clients = [text for text in warnings if "in make_client" in text]
    assert len(clients) == 1
    assert "unclosed <Socket open" in clients[0]
    # The server's end of the connection is the third, if it was accepted by then.
    assert len(warnings) in (2, 3)


def test_tracemalloc_shows_the_place_instead_if_it_is_on(run_child):
    # What is imported after it began would be traced too, which takes long.
    code = "import pyuvnet, tracemalloc\ntracemalloc.start(10)\n" + textwrap.dedent(
        UNCLOSED.format(end="")
    )
    child = run_child(code, dev=True)
    assert "Object allocated at (most recent call last):" in child.err
    assert "Opened at" not in child.err


def test_a_warning_that_a_filter_makes_an_error_is_shown_and_ends_nothing(run_child):
    code = "import warnings\nwarnings.simplefilter('error')\n" + textwrap.dedent(
        UNCLOSED.format(end="pyuvnet.current_loop().close(); print('closed')")
    )
    child = run_child(code, dev=True)
    assert (child.code, child.out) == (0, "closed\n")
    assert "Exception ignored in" in child.err
    assert "ResourceWarning: unclosed <Server" in child.err


def test_nothing_is_said_without_development_mode(run_child):
    code = textwrap.dedent(UNCLOSED.format(end="print(pyuvnet.current_loop().debug)"))
    assert run_child(code).clean().out == "False\n"


def test_exit_code_of_an_exception_is_pythons(run_child):
    child = run_child("""
        import pyuvnet
        from pyuvnet import net
        net.create_server().listen(0, "127.0.0.1")
        def culprit(): raise ValueError("mine")
        pyuvnet.set_timeout(culprit, 1)
        pyuvnet.run()
    """)
    assert child.code == 1
    assert child.err.splitlines()[-1] == "ValueError: mine"
    assert "in culprit" in child.err
    assert child.err.count("Traceback") == 1

"""A fork in any callback, and an exit of the interpreter with any thing open: a child for each."""

from __future__ import annotations

import os

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


@needs_fork
@pytest.mark.parametrize("phase", ["set_timeout", "set_immediate", "next_tick"])
@pytest.mark.parametrize("leave", ["return", "raise SystemExit(0)", "os._exit(0)"])
def test_a_fork_in_a_callback_leaves_the_parent_undisturbed(run_child, phase, leave):
    child = run_child(f"""
        import os, sys, warnings
        # 3.12 and newer warn of fork() in a process with threads, such as libuv's pool.
        warnings.simplefilter("ignore", DeprecationWarning)
        import pyuvnet
        from pyuvnet import net

        parent = os.getpid()
        received = []

        def forking():
            pid = os.fork()
            if pid == 0:
                {leave}
            os.waitpid(pid, 0)

        def on_connection(socket):
            socket.on("data", received.append)
            # Flushed, since a child would print it as well.
            socket.on("data", lambda chunk: print(os.getpid() == parent, flush=True))
            socket.on("end", server.close)
            socket.on("end", lambda: timer.close())

        server = net.create_server(on_connection)
        def listening():
            client = net.connect(server.address().port, "127.0.0.1")
            def connected():
                pyuvnet.{phase}(forking)
                client.end(b"hello")
            client.on("connect", connected)
            client.resume()
        server.listen(0, "127.0.0.1", callback=listening)
        timer = pyuvnet.set_interval(lambda: None, 1)
        try:
            pyuvnet.run()
        except pyuvnet.StateError as error:
            assert os.getpid() != parent
            assert error.code == "ERR_FORKED", error
            os._exit(0)
        assert os.getpid() == parent
        assert received == [b"hello"], received
    """)
    assert child.clean().lines == ["True"]


LEFT_OPEN = {
    "nothing": "",
    "a timer": "pyuvnet.set_timeout(print, 1000, 'no')",
    "an interval that ran": """
pyuvnet.set_interval(lambda: None, 1)
pyuvnet.set_timeout(pyuvnet.stop, 5)
pyuvnet.run()""",
    "ticks and immediates": "pyuvnet.next_tick(print, 'no'); pyuvnet.set_immediate(print, 'no')",
    "a server": "server = net.create_server().listen(0, '127.0.0.1')",
    "an unreferenced server": "net.create_server().listen(0, '127.0.0.1')",
    "connections": """
server = net.create_server(lambda socket: socket.resume())
def connect():
    global client
    client = net.connect(server.address().port, '127.0.0.1', pyuvnet.stop)
    client.on('close', lambda had_error: print('no'))
    client.write(b'x' * 10_000_000, lambda error: print('no'))
server.listen(0, '127.0.0.1', callback=connect)
pyuvnet.run()""",
    "a connection in the making": """
server = net.create_server().listen(0, '127.0.0.1', callback=pyuvnet.stop)
pyuvnet.run()
net.connect(server.address().port, '127.0.0.1').write(b'x')""",
    "a lookup": "net.connect(80, 'localhost')",
    "a loop of a daemon thread": """
import threading
ready = threading.Event()
def program():
    net.create_server().listen(0, '127.0.0.1', callback=ready.set)
    pyuvnet.run()
threading.Thread(target=program, daemon=True).start()
ready.wait()""",
    "a loop of a thread that ended": """
import threading
def program():
    net.create_server().listen(0, '127.0.0.1', callback=pyuvnet.stop)
    pyuvnet.set_timeout(print, 1000, 'no')
    pyuvnet.run()
thread = threading.Thread(target=program)
thread.start(); thread.join()""",
    "an exception out of run": """
pyuvnet.set_immediate(lambda: 1 / 0)
pyuvnet.set_immediate(print, 'no')
try: pyuvnet.run()
except ZeroDivisionError: pass""",
    "a closed loop": """
net.create_server().listen(0, '127.0.0.1')
pyuvnet.set_timeout(print, 1000, 'no')
pyuvnet.current_loop().close()""",
}


# A program that never calls run() is warned: see tests/test_mistakes.py.
# Nor is it of interest here whether the machine is slow.
BEGIN = """
import pyuvnet
from pyuvnet import net
pyuvnet.run()
pyuvnet.current_loop().slow_callback_ms = 1e6
"""


@pytest.mark.parametrize("left", LEFT_OPEN)
def test_the_interpreter_ends_silently_with_things_open(run_child, left):
    code = BEGIN + LEFT_OPEN[left]
    assert run_child(code).clean().out == ""


@pytest.mark.parametrize("left", LEFT_OPEN)
def test_the_interpreter_ends_with_warnings_and_nothing_else_in_development_mode(run_child, left):
    code = BEGIN + LEFT_OPEN[left]
    child = run_child(code, dev=True)
    assert (child.code, child.out) == (0, "")
    warnings = [line for line in child.err.splitlines() if not line.startswith(("  ", "Opened"))]
    assert all(": ResourceWarning: unclosed <" in line for line in warnings), child.err

"""Signals: they wake a loop that runs, and Python's handlers run at once."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from pyuvnet import run, set_immediate
from tests.support.errors import BoomError

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


def fail(error):
    raise error


INTERRUPTED = """
    import sys, time
    import pyuvnet

    {work}
    pyuvnet.next_tick(lambda: print("ready", flush=True))
    try:
        pyuvnet.run()
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)
        pyuvnet.run() if {again} else None
    else:
        print("no KeyboardInterrupt", flush=True)
"""
WORK = {
    "idle": "pyuvnet.set_timeout(lambda: None, 600_000)",
    "busy in Python": """
    def work():
        while True: pass
    pyuvnet.set_immediate(work)""",
    "busy turning": """
    def work(): pyuvnet.set_immediate(work)
    work()""",
    "busy in compiled code": """
    from pyuvnet import net
    def connected(a):
        a.on("data", a.write)
    server = net.create_server(connected)
    def listening():
        client = net.connect(server.address().port, "127.0.0.1")
        client.on("data", client.write)
        client.write(b"x")
    server.listen(0, "127.0.0.1", callback=listening)""",
}


@posix_only
@pytest.mark.parametrize("work", WORK)
def test_ctrl_c_ends_run_within_100_ms(open_child, work):
    took = []
    # The machine may be elsewhere for a moment, but not each time.
    while len(took) < 5 and not (took and min(took) < 0.1):
        child = open_child(INTERRUPTED.format(work=WORK[work], again=False))
        assert child.stdout.readline() == "ready\n"
        # Ready is said in the first turn: let the child reach the poll. Nothing depends on it.
        time.sleep(0.05)
        sent = time.monotonic()
        os.kill(child.pid, signal.SIGINT)
        took.append(float(child.stdout.readline()) - sent)
        out, err = child.communicate(timeout=20)
        assert (child.returncode, out, err) == (0, "", "")
    assert min(took) < 0.1


@posix_only
def test_ctrl_c_as_the_loop_starts_is_not_missed(run_child):
    # The signal comes between the last bytecode before run() and the poll. Starting takes the C
    # module, as signal itself imports enum.
    child = run_child("""
        import _signal, os, signal, threading
        import pyuvnet

        pyuvnet.set_timeout(lambda: print("missed"), 5000)
        class Hook:
            def __call__(self, *args): os.kill(os.getpid(), signal.SIGINT)
        real = _signal.set_wakeup_fd
        def raise_signal_first(fd, **options):
            # From another thread, so that this one's handler does not run here.
            if fd != -1:
                signal.pthread_sigmask(signal.SIG_BLOCK, [])
                thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
                thread.start(); thread.join()
            return real(fd, **options)
        _signal.set_wakeup_fd = raise_signal_first
        try:
            pyuvnet.run()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        _signal.set_wakeup_fd = real
        pyuvnet.set_timeout(lambda: (print("again", flush=True), os._exit(0)), 1)
        pyuvnet.run()
    """)
    assert (child.lines, child.err) == (["interrupted", "again"], "")


@posix_only
def test_signal_handlers_in_python_run_while_idle(open_child):
    child = open_child("""
        import os, signal
        import pyuvnet

        timer = pyuvnet.set_timeout(lambda: None, 600_000)
        # It may interrupt a print(), and then it cannot print itself.
        signal.signal(signal.SIGUSR1, lambda *args: (os.write(1, b"signal\\n"), timer.close()))
        pyuvnet.next_tick(lambda: print("ready", flush=True))
        pyuvnet.run()
        print("returned", flush=True)
    """)
    assert child.stdout.readline() == "ready\n"
    os.kill(child.pid, signal.SIGUSR1)
    assert child.stdout.readline() == "signal\n"
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, "")


@posix_only
def test_wakeup_fd_is_restored(trace):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        signal.set_wakeup_fd(writer)
        during = []
        set_immediate(lambda: during.append(signal.set_wakeup_fd(-1)))
        run()
        assert during[0] not in (-1, writer)
        assert signal.set_wakeup_fd(-1) == writer
        signal.set_wakeup_fd(writer)
        set_immediate(fail, BoomError())
        with pytest.raises(BoomError):
            run()
        assert signal.set_wakeup_fd(-1) == writer
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reader)
        os.close(writer)

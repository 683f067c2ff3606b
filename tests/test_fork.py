"""Forked children: what they inherit refuses, a loop of their own works, the parent goes on."""

from __future__ import annotations

import ast
import os

import pytest

from tests.support.installed import UVLOOP

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")

# How a child is made; each defines child(function), which returns its exit code.
FORK = """
def child(function, *arguments):
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        function(*arguments)
        sys.stdout.flush()
        {leave}
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
WAYS = {
    "os.fork, sys.exit": FORK.format(leave="sys.exit(0)"),
    "os.fork, os._exit": FORK.format(leave="os._exit(0)"),
    "multiprocessing": """
import multiprocessing
def child(function, *arguments):
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode
""",
}
HEAD = """
import gc, os, sys, warnings
# 3.12 and newer warn of fork() in a process with threads, such as libuv's pool.
warnings.simplefilter("ignore", DeprecationWarning)
import pyuvnet
from pyuvnet import BoundSocket, events, net

os.chdir(sys.argv[1])

def refuses(*uses):
    codes = set()
    for use in uses:
        try:
            use()
            codes.add("nothing")
        except pyuvnet.StateError as error:
            assert "before os.fork()" in str(error), error
            codes.add(error.code)
    return codes == {"ERR_FORKED"}

def exchange(path="own"):
    # A whole life on a loop of its own.
    answers = []
    server = net.create_server(lambda socket: socket.on("data", socket.end)).listen(path)
    client = net.connect(path, lambda: client.write(b"hello"))
    client.on("data", answers.append).on("end", server.close)
    pyuvnet.run()
    return answers == [b"hello"] and not os.path.exists(path)
"""


@pytest.fixture(params=WAYS)
def script(request):
    """script(code) is a program in which child(function) runs one in a child."""

    def whole(code):
        return HEAD + WAYS[request.param] + code

    return whole


def test_what_is_inherited_refuses_and_a_fresh_loop_works(script, run_child, tmp_path):
    child = run_child(
        script("""
server, bound = net.create_server().listen("server"), BoundSocket(path="bound")
unix = net.Socket()
client = net.connect("server")
timer, immediate = pyuvnet.set_timeout(print, 1), pyuvnet.set_immediate(print)
loop, bound_too = pyuvnet.current_loop(), BoundSocket(path="too")

def work():
    print(refuses(
        server.close, bound.close, timer.close, timer.refresh, immediate.close, loop.run,
        loop.close, unix.resume, client.destroy, client.end, client.pause, server.ref,
        lambda: client.write(b"x"), lambda: server.listen("again"), lambda: unix.connect("server"),
        lambda: server.get_connections(print), lambda: net.Server().listen(bound_too),
        lambda: loop.call_soon_threadsafe(print), lambda: client.set_timeout(1),
    ), exchange(), sorted(os.listdir()))

print(child(work))
timer.close(), immediate.close(), client.destroy(), server.close(), bound.close()
bound_too.close()
pyuvnet.run()
print(exchange(), os.listdir())
"""),
        str(tmp_path),
    )
    assert child.clean().lines == [
        "True True ['bound', 'server', 'too']",
        "0",
        "True []",
    ]


def test_files_of_the_parents_servers_stay_whatever_the_child_drops(script, run_child, tmp_path):
    child = run_child(
        script("""
things = [net.create_server().listen("server"), BoundSocket(path="bound")]
things.append(net.connect("server"))

def work():
    things.clear()
    gc.collect()
    print(exchange(), sorted(os.listdir()))
    pyuvnet.current_loop().close()
    print(sorted(os.listdir()))

print(child(work), sorted(os.listdir()))
server = things[0]
client = net.connect("server", lambda: print("still listening"))
client.on("close", lambda had_error: server.close())
client.on("connect", client.destroy)
things[1].close(), things[2].destroy()
pyuvnet.run()
print(os.listdir())
"""),
        str(tmp_path),
    )
    assert child.clean().lines == [
        "True ['bound', 'server']",
        "['bound', 'server']",
        "0 ['bound', 'server']",
        "still listening",
        "[]",
    ]


def test_connections_of_the_parent_go_on(script, run_child, tmp_path):
    child = run_child(
        script("""
received = []
def connected(socket):
    socket.on("data", lambda chunk: socket.write(chunk))
    socket.on("end", server.close)

def work():
    # It may read nothing, write nothing and close nothing of the parent's.
    assert refuses(client.end, client.destroy)
    gc.collect()
    assert exchange()

def told(chunk):
    received.append(chunk)
    if len(received) == 1:
        # In the middle of a callback, with something written and not yet sent.
        client.write(b"second")
        codes.append(child(work))
    else:
        client.end()

codes = []
server = net.create_server(connected).listen("server")
client = net.connect("server")
client.write(b"first")
client.on("data", told)
pyuvnet.run()
print(received, codes)
"""),
        str(tmp_path),
    )
    assert child.clean().lines == ["[b'first', b'second'] [0]"]


def test_a_child_keeps_no_socket_of_the_parents_open(run_child, tmp_path):
    child = run_child(
        HEAD
        + """
import socket as posix
def connected(accepted):
    ours.append(accepted.on("error", print))
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writer)
        peer.close()
        if os.path.isdir("/proc/self/fd"):
            files = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
            assert not [name for name in files if "socket:" in name], files
        os.write(started[1], b"x")
        os.read(reader, 1)  # until the parent is done
        os._exit(0)
    os.close(reader)
    children.append((pid, writer))
    accepted.write(b"to the last byte")
    accepted.end()
    server.close()

ours, children, started = [], [], os.pipe()
server = net.create_server(connected).listen(0)
port = server.address().port
peer = posix.create_connection(("127.0.0.1", port))
peer.settimeout(10)
pyuvnet.set_timeout(peer.shutdown, 20, posix.SHUT_WR)
pyuvnet.run()
# The child lives, and the parent's FIN came nevertheless, and its port is free.
text = b""
while piece := peer.recv(100):
    text += piece
print(text, peer.recv(1))
peer.close()
os.read(started[0], 1)  # until os.fork() has closed in the child what it closes there
with posix.socket() as again:
    again.setsockopt(posix.SOL_SOCKET, posix.SO_REUSEADDR, 1)
    again.bind(("127.0.0.1", port))
    again.listen()
[(pid, writer)] = children
os.close(writer)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        str(tmp_path),
    )
    assert child.clean().lines == ["b'to the last byte' b''", "0"]


# Three sockets of the main thread's loop, and a fork in another thread or in a callback.
ALL_LOOPS = """
import threading
server = net.create_server(lambda socket: held.append(socket)).listen("server")
held = [net.connect("server")]
held[0].on("connect", lambda: pyuvnet.set_timeout(pyuvnet.stop, 1))
pyuvnet.run()

def sockets():
    count = 0
    for name in os.listdir("/dev/fd"):
        try:
            count += os.readlink("/dev/fd/" + name).startswith("socket:")
        except OSError:
            pass
    return count

def work():
    print(sockets(), refuses(server.close, held[0].end))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="reads /proc")
def test_a_fork_in_a_thread_gives_up_the_sockets_of_all_threads(script, run_child, tmp_path):
    child = run_child(
        script(
            ALL_LOOPS
            + """
print(sockets())
thread = threading.Thread(target=lambda: print(child(work)))
thread.start()
thread.join()
print(sockets())
"""
        ),
        str(tmp_path),
    )
    assert child.clean().lines == ["3", "0 True", "0", "3"]


def test_a_fork_in_a_callback_ends_any_loop_in_the_child(run_child, tmp_path):
    """Also one that is not the thread's own."""
    child = run_child(
        HEAD
        + """
loop = pyuvnet.Loop()

def fork():
    if not os.fork():
        return
    os.wait()

loop.set_immediate(fork)
parent = os.getpid()
# Nothing of this is refused: it must not run.
loop.set_immediate(lambda: print("the parent's" if os.getpid() == parent else "the child's"))
try:
    loop.run()
except pyuvnet.StateError as error:
    print(error.code, flush=True)
    os._exit(0)
loop.close()
""",
        str(tmp_path),
    )
    assert child.clean().lines == ["ERR_FORKED", "the parent's"]


def test_a_child_without_a_free_descriptor_gives_up_the_parents(run_child, tmp_path):
    child = run_child(
        HEAD
        + ALL_LOOPS
        + """
import resource

def fork():
    files = []
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    pid = os.fork()
    for file in files:
        os.close(file)
    if pid:
        os.waitpid(pid, 0)
        pyuvnet.stop()

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
pyuvnet.set_immediate(fork)
try:
    pyuvnet.run()
    print(sockets(), "parent")
except pyuvnet.StateError as error:
    print(sockets(), error.code, flush=True)
    os._exit(0)
""",
        str(tmp_path),
    )
    assert child.clean().lines == ["0 ERR_FORKED", "3 parent"]


# A thread whose loop does not run before the thread ends, so that what comes to it stays on its
# way; then the loop closes, and what has not arrived with it.
ON_ITS_WAY = """
import threading
loops, go_on, known = [], threading.Event(), threading.Event()
def idle():
    loops.append(pyuvnet.current_loop())
    known.set()
    go_on.wait(20)
thread = threading.Thread(target=idle, daemon=True)
thread.start()
assert known.wait(20)
"""


@pytest.mark.parametrize("early", [True, False], ids=["dropped before", "dropped in the child"])
def test_the_file_of_a_server_on_its_way_stays(early, script, run_child, tmp_path):
    child = run_child(
        script(
            ON_ITS_WAY
            + f"""
server = net.create_server().listen("server")
server.transfer(loops[0])
pyuvnet.run()

def work():
    global server
    server = None
    loops.clear()
    gc.collect()
    print(exchange(), os.listdir())

if {early}:
    server = None
    loops.clear()
print(child(work), os.listdir())
go_on.set()
thread.join()
del server
loops.clear()
gc.collect()
print(os.listdir())
"""
        ),
        str(tmp_path),
    )
    assert child.clean().lines == ["True ['server']", "0 ['server']", "[]"]


@pytest.mark.parametrize("leaves", [True, False], ids=["on its way", "before it leaves"])
def test_a_child_keeps_nothing_open_that_is_on_its_way(leaves, run_child, tmp_path):
    child = run_child(
        HEAD
        + ON_ITS_WAY
        + f"""
import socket as posix

def fork():
    global pid
    pid = os.fork()
    if not pid:
        os.close(writer)
        peer.close()
        os.write(started[1], b"x")
        os.read(reader, 1)  # until the parent is done
        os._exit(0)

def leave(socket):
    # The server has no connection any more.
    server.transfer(loops[0])
    if not {leaves}:
        fork()

reader, writer = os.pipe()
started = os.pipe()
ours = []
server = net.create_server(ours.append).listen(0)
port = server.address().port
peer = posix.create_connection(("127.0.0.1", port))
peer.settimeout(10)
def move():
    if not ours:
        return
    moves.close()
    socket = ours.pop()
    socket.transfer(loops[0])
    pyuvnet.set_immediate(leave, socket)
moves = pyuvnet.set_interval(move, 1)
pyuvnet.run()
if {leaves}:
    fork()
go_on.set()
thread.join()
# The child lives, and both were closed nevertheless.
print(peer.recv(1))
peer.close()
os.read(started[0], 1)  # until os.fork() has closed in the child what it closes there
with posix.socket() as again:
    again.setsockopt(posix.SOL_SOCKET, posix.SO_REUSEADDR, 1)
    again.bind(("127.0.0.1", port))
    again.listen()
os.close(writer)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        str(tmp_path),
    )
    assert child.clean().lines == ["b''", "0"]


@pytest.mark.parametrize("kind", ["asyncio", *(["uvloop"] if UVLOOP else [])])
def test_a_process_started_while_asyncio_drives_the_loop(kind, run_child, tmp_path):
    child = run_child(
        HEAD
        + WAYS["multiprocessing"]
        + f"""
import asyncio
if {kind!r} == "uvloop":
    from uvloop import new_event_loop
else:
    from asyncio import new_event_loop

def work():
    asyncio._set_running_loop(None)
    print(refuses(server.close), exchange())

async def main():
    global server
    server = net.create_server(lambda socket: socket.end(b"hello")).listen("server")
    await events.once(server, "listening")
    print(child(work))
    async for chunk in net.connect("server"):
        print(chunk)
    server.close()
    await events.once(server, "close")

pyuvnet.run(main(), loop_factory=new_event_loop)
""",
        str(tmp_path),
    )
    assert child.clean().lines == ["True True", "0", "b'hello'"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of descriptors here")
@pytest.mark.parametrize("how", ["plain", "asyncio"])
def test_no_descriptor_of_ours_is_left_open_by_exec(how, run_child, tmp_path):
    child = run_child(
        HEAD
        + f"""
import asyncio, subprocess
LIST = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"

def look():
    ours = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and fd not in before]
    kinds = set()
    for fd in ours:
        try:
            kinds.add(os.readlink(f"/proc/self/fd/{{fd}}").partition(":[")[0])
        except FileNotFoundError:
            continue
        assert not os.get_inheritable(fd), fd
    print(sorted(kinds), flush=True)
    subprocess.run([sys.executable, "-c", LIST], close_fds=False, check=True)

before = set(map(int, os.listdir("/proc/self/fd")))
left = []
bound = [BoundSocket(path="bound"), BoundSocket(host="127.0.0.1")]

def connected(client):
    left.append(client)
    if len(left) == 4:
        look()
        os._exit(0)

def listening(server):
    address = server.address()
    client = net.connect(address if isinstance(address, str) else address.port)
    client.on("connect", lambda: connected(client))

def begin():
    servers.extend(net.create_server(connected) for _ in range(2))
    servers[0].listen(0, "127.0.0.1", lambda: listening(servers[0]))
    servers[1].listen("unix", lambda: listening(servers[1]))

servers = []

async def main():
    begin()
    await asyncio.sleep(60)

if {how!r} == "plain":
    begin()
    pyuvnet.run()
else:
    pyuvnet.run(main())
""",
        str(tmp_path),
    )
    kinds, inherited = child.clean().lines
    # Sockets, the poller and what wakes it.
    assert {"anon_inode", "socket"} <= set(ast.literal_eval(kinds))
    assert inherited == "[0, 1, 2]"

"""The interpreter ends well and says nothing, whatever is open and however it comes to end."""

from __future__ import annotations

import json
import os
import sys

import pytest

HEAD = """
import asyncio, atexit, os, sys, threading
import pyuvnet
from pyuvnet import events, net
if sys.argv[1:]:
    os.chdir(sys.argv[1])
kept = []

def keep(thing):
    kept.append(thing)
    thing.on("error", lambda error: None)
    return thing

def pair(then):
    # Both ends of a connection, and what to do with them.
    def connected():
        if len(kept) == 3:
            kept.append(None)
            then(*kept[1:3])
    def accepted(socket):
        keep(socket)
        connected()
    server = keep(net.create_server(accepted))
    server.listen("server", lambda: keep(net.connect("server")).on("connect", connected))
"""
# What is under way when the end comes: statements that call end(), now or soon.
STATES = {
    "nothing": "pyuvnet.set_immediate(end)",
    "a tick": "pyuvnet.set_timeout(print, 60_000, 'no'); pyuvnet.next_tick(end)",
    "timers": """
        pyuvnet.set_timeout(print, 60_000, "no")
        pyuvnet.set_interval(lambda: None, 1)
        pyuvnet.set_timeout(end, 5)""",
    "servers": """
        kept.append(net.create_server().listen("one"))
        net.create_server().listen(0, "127.0.0.1", end)""",
    "pending writes": """
        def write(one, other):
            for socket in (one, other):
                socket.write(b"x" * 3_000_000, lambda error: None)
            pyuvnet.set_immediate(end)
        pair(write)""",
    "data that nobody reads": """
        def write(one, other):
            one.pause()
            other.write(b"x" * 100_000, lambda error: pyuvnet.set_immediate(end))
        pair(write)""",
    "a pipe and a timeout": """
        def write(one, other):
            one.pipe(one)
            other.pipe(one)
            one.set_timeout(60_000)
            other.write(b"x" * 100_000)
            pyuvnet.set_immediate(end)
        pair(write)""",
    "an end half done": """
        def write(one, other):
            one.end(b"x")
            other.destroy()
            end()
        pair(write)""",
    "a pending connect": """
        server = keep(net.create_server())
        def connect():
            keep(net.connect(server.address().port, "127.0.0.1")).write(b"x")
            end()
        server.listen(0, "127.0.0.1", connect)""",
    "a pending lookup": """
        keep(net.connect(1, "localhost"))
        pyuvnet.next_tick(end)""",
    "calls from a thread": """
        loop = pyuvnet.current_loop()
        def call():
            while True:
                try:
                    loop.call_soon_threadsafe(int)
                except pyuvnet.StateError:
                    return
        threading.Thread(target=call, daemon=True).start()
        pyuvnet.set_timeout(end, 5)""",
}
# The same where asyncio runs.
WITH_ASYNCIO = {
    "a coroutine per connection": """
        async def accepted(socket):
            async for chunk in socket:
                socket.write(chunk)
        server = keep(net.create_server(accepted)).listen("server")
        client = keep(net.connect("server"))
        client.write(b"x")
        client.on("data", lambda chunk: end())""",
    "coroutines that wait": """
        emitter = pyuvnet.EventEmitter()
        async def wait(awaitable):
            await awaitable
        async def iterate():
            async for socket in server:
                kept.append(socket)
        async def read():
            async for chunk in await net.promises.connect("server"):
                pass
        server = keep(net.create_server()).listen("server")
        for awaitable in (
            events.once(emitter, "never"), iterate(), read(), asyncio.sleep(60),
        ):
            kept.append(asyncio.ensure_future(wait(awaitable)))
            emitter.on("x", lambda: wait(asyncio.sleep(60)))
        emitter.emit("x")
        pyuvnet.set_timeout(end, 20)""",
    "a coroutine that closes in finally": """
        async def closing():
            server = net.create_server().listen("server")
            try:
                await asyncio.sleep(60)
            finally:
                server.close()
        kept.append(asyncio.ensure_future(closing()))
        pyuvnet.set_timeout(end, 2)""",
}
ASYNC_MAIN = """
async def main():
    {attach}
    begin()
    await asyncio.Event().wait()
"""
RUNNERS = {
    "plain": "begin()\npyuvnet.run()",
    "run(main())": ASYNC_MAIN.format(attach="pass") + "pyuvnet.run(main())",
    "attached to asyncio": ASYNC_MAIN.format(attach="pyuvnet.attach()") + "asyncio.run(main())",
    "attached to uvloop": ASYNC_MAIN.format(attach="pyuvnet.attach()")
    + """
from uvloop import new_event_loop
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())""",
}
if sys.platform == "win32":
    del RUNNERS["attached to uvloop"]
ENDS = {
    "sys.exit() in a listener": ("sys.exit(3)", 3),
    "os._exit() in a listener": ("os._exit(4)", 4),
}
# os._exit() asks nobody, so it cannot depend on much.
HARD = {"pending writes", "a pending lookup", "a coroutine per connection"}


def program(end, state, rest):
    state = {**STATES, **WITH_ASYNCIO}[state]
    return f"{HEAD}\ndef end():\n    {end}\n\ndef begin():\n        {state.strip()}\n\n{rest}\n"


# Forks for each program before it has a loop; the fork runs the program and ends as it does.
FORKS = """
import asyncio, atexit, json, os, signal, sys, threading
import pyuvnet
from pyuvnet import events, net

codes = []
for name, (program, folder) in json.load(sys.stdin).items():
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        os.chdir(folder)
        for fd, said in (1, "out"), (2, "err"):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), fd)
        break
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
else:
    print(*codes)
    sys.exit()
exec(compile(program, name, "exec"), globals())
"""


def ends(programs, folder, run_child):
    """The exit code of each program, with what it said on stdout and stderr."""
    folders = {name: folder / str(number) for number, name in enumerate(programs)}
    for each in folders.values():
        each.mkdir()
    if not hasattr(os, "fork"):
        children = {name: run_child(programs[name], str(folders[name])) for name in programs}
        return {name: (child.code, child.out, child.err) for name, child in children.items()}
    stdin = json.dumps({name: (programs[name], str(folders[name])) for name in programs})
    codes = map(int, run_child(FORKS, stdin=stdin, timeout=25).clean().out.split())
    return {
        name: (code, (folders[name] / "out").read_text(), (folders[name] / "err").read_text())
        for name, code in zip(programs, codes, strict=True)
    }


@pytest.mark.parametrize("runner", RUNNERS)
def test_in_the_middle_of_run(run_child, tmp_path, runner):
    states = STATES if runner == "plain" else STATES | WITH_ASYNCIO
    programs, expected = {}, {}
    for end, (statement, code) in ENDS.items():
        for state in states:
            if state in HARD or end.startswith("sys"):
                programs[f"{end}: {state}"] = program(statement, state, RUNNERS[runner])
                expected[f"{end}: {state}"] = (code, "", "")
    assert ends(programs, tmp_path, run_child) == expected


# The runner has come to its end, and what it left open is still there.
LEFT = {
    "plain": "begin()\npyuvnet.run()",
    "run(main())": """
async def main():
    global over
    over = asyncio.Event()
    begin()
    await over.wait()
pyuvnet.run(main())""",
    "attached to asyncio": """
async def main():
    global over
    over = asyncio.Event()
    pyuvnet.attach()
    begin()
    await over.wait()
asyncio.run(main())""",
    "attached to uvloop": """
async def main():
    global over
    over = asyncio.Event()
    pyuvnet.attach()
    begin()
    await over.wait()
from uvloop import new_event_loop
with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())""",
    "a daemon thread": """
over = threading.Event()
threading.Thread(target=lambda: (begin(), pyuvnet.run()), daemon=True).start()
over.wait()""",
    "an atexit function": """
atexit.register(lambda: (begin(), pyuvnet.run()))""",
    "a late atexit function": """
atexit.unregister(pyuvnet._core.loop_registry._at_exit)
atexit.register(lambda: (begin(), pyuvnet.run()))
atexit.register(pyuvnet._core.loop_registry._at_exit)""",
}
if sys.platform == "win32":
    del LEFT["attached to uvloop"]


@pytest.mark.parametrize("left", LEFT)
def test_with_things_left_open(run_child, tmp_path, left):
    states = set(STATES | WITH_ASYNCIO if "async def" in LEFT[left] else STATES)
    if "atexit" in left:
        # From 3.12 on no thread can be started any more by then.
        states.remove("calls from a thread")
    end = "over.set()" if "over" in LEFT[left] else "pyuvnet.stop()"
    programs = {state: program(end, state, LEFT[left]) for state in sorted(states)}
    assert ends(programs, tmp_path, run_child) == dict.fromkeys(programs, (0, "", ""))

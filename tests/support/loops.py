"""What the tests with asyncio share: the loops they run on, and helpers for coroutines."""

from __future__ import annotations

import asyncio
import threading
import time

import pyuvnet
from pyuvnet import net
from tests.support.installed import UVLOOP

if UVLOOP:
    import uvloop


class WithoutDescriptors(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors, like that of Windows."""

    def add_reader(self, fd, callback, *args):
        raise NotImplementedError


LOOPS = {"asyncio": asyncio.new_event_loop, "waker thread": WithoutDescriptors}
if UVLOOP:
    LOOPS["uvloop"] = uvloop.new_event_loop


def wakers():
    return [thread for thread in threading.enumerate() if thread.name == "pyuvnet waker"]


def fail(error):
    raise error


async def told(emitter, event):
    """Wait for an event and return its first argument."""
    future = asyncio.get_running_loop().create_future()
    emitter.once(event, lambda *args: future.done() or future.set_result(args[0] if args else None))
    return await future


async def done(schedule, *args):
    """Wait until a callback of one of our schedulers has run."""
    future = asyncio.get_running_loop().create_future()
    schedule(lambda: future.set_result(None), *args)
    await future


async def settle():
    """Turn both loops a few times: more than any chain of tasks, ticks and callbacks here takes."""
    for _ in range(10):
        await asyncio.sleep(0)
        await done(pyuvnet.set_immediate)


async def echo(message):
    """One exchange over real sockets."""
    server = net.create_server(lambda socket: socket.on("data", socket.end))
    server.listen(0, "127.0.0.1")
    await told(server, "listening")
    client = net.connect(server.address().port, "127.0.0.1")
    client.write(message)
    answer = await told(client, "data")
    server.close()
    await told(server, "close")
    if not client.closed:
        await told(client, "close")
    return answer


def turn_until(reached, seconds=20):
    """Turn the loop until something is true; an error if that takes longer than some seconds."""
    end = time.monotonic() + seconds
    # A turn waits for an event, which this is at the latest.
    bound = pyuvnet.set_timeout(lambda: None, seconds * 1000)
    while not reached():
        assert time.monotonic() < end, "it never became true"
        pyuvnet.current_loop().turn(True)
    pyuvnet.clear_timeout(bound)

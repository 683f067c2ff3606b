"""The heap of armed sockets: what it costs, its order, and who is in it."""

from __future__ import annotations

import gc
import random
import socket as std
import tracemalloc
import weakref
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet._core.deadlines import Limits
from pyuvnet.errors import ArgTypeError


def test_limits_are_what_they_were_made_of() -> None:
    limits = Limits(1, 2, 3, 4, 5, 6)
    assert (limits.idle, limits.first_byte, limits.write) == (1, 2, 3)
    assert (limits.lifetime, limits.rate_bytes, limits.rate_ms) == (4, 5, 6)
    with pytest.raises(AttributeError):
        limits.idle = 5
    with pytest.raises(TypeError):
        type("Sub", (Limits,), {})


@pytest.mark.parametrize("name", ["DeadlineQueue", "DeadlineTimer"])
def test_nobody_else_makes_its_objects(name: str) -> None:
    from pyuvnet._core import deadlines

    with pytest.raises(ArgTypeError):
        getattr(deadlines, name)()


@pytest.mark.spec("P4-08")
def test_armed_connections_cost_48_bytes_each() -> None:
    count = 300
    ends = [std.socketpair() for _ in range(count)]
    sockets = [net.Socket(fd=end.detach()) for end, _ in ends]
    sockets[0].set_deadline(60_000)
    gc.collect()
    tracemalloc.start()
    try:
        for socket in sockets:
            socket.set_deadline(60_000)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    for socket, (_, other) in zip(sockets, ends, strict=True):
        socket.destroy()
        other.close()
    pyuvnet.run()
    assert 32 * (count - 1) <= taken < 48 * count


def test_an_armed_socket_of_a_server_costs_48_bytes() -> None:
    """Its deadlines are one object of the server's."""

    def cost(**options: Any) -> int:
        sockets: list[net.Socket] = []
        server = net.create_server(sockets.append, **options).listen(0)
        clients = [net.connect(server.address().port) for _ in range(100)]
        loop = pyuvnet.current_loop()
        tracemalloc.start()
        try:
            while len(sockets) < 100:
                loop.turn()
            taken = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        server.close().destroy_sockets()
        for client in clients:
            client.on("error", lambda error: None).destroy()
        pyuvnet.run()
        return taken

    # The heap has its room, and is not to be paid for again.
    limits = {"idle_timeout": 60_000, "first_byte_timeout": 60_000, "write_timeout": 60_000}
    for _ in range(2):
        cost(**limits)
        cost()
    assert cost(**limits) - cost() < 48 * 100 + 1000


def test_the_first_to_be_due_is_the_first_to_go_whatever_changes(clock: Any) -> None:
    chosen = random.Random(20)
    sockets = [net.Socket() for _ in range(300)]
    went: list[tuple[float, int]] = []
    due: dict[int, int] = {}
    for index, socket in enumerate(sockets):
        socket.on("error", lambda error, index=index: went.append((clock.now, index)))
    # Armed, armed anew and taken back, so that each place of the heap is left and taken.
    for _ in range(2000):
        index = chosen.randrange(300)
        if chosen.random() < 0.3:
            sockets[index].set_deadline(None)
            due.pop(index, None)
        else:
            due[index] = 50 + 5 * chosen.randrange(20)
            sockets[index].set_deadline(due[index])
    clock.advance(1000)
    assert went == sorted(went, key=lambda entry: entry[0])
    # Those that are due at the same time go in any order.
    assert sorted(went) == sorted((ms, index) for index, ms in due.items())


def test_a_socket_that_is_destroyed_leaves() -> None:
    socket = net.Socket()
    gone = weakref.ref(socket)
    socket.set_deadline(60_000)
    socket.destroy()
    pyuvnet.run()
    del socket
    gc.collect()
    assert gone() is None


def test_an_armed_socket_stays_until_it_is_due(clock: Any) -> None:
    codes: list[str] = []
    net.Socket().on("error", lambda error: codes.append(error.code)).set_deadline(20)
    gc.collect()
    clock.advance(19)
    assert codes == []
    clock.advance(1)
    assert codes == ["ERR_DEADLINE"]


def test_a_loop_that_is_closed_frees_its_armed_sockets(run_child: Any) -> None:
    child = run_child(
        """
        import gc, weakref
        import pyuvnet
        from pyuvnet import net

        socket = net.Socket()
        socket.set_deadline(60_000)
        gone = weakref.ref(socket)
        del socket
        pyuvnet.current_loop().close()
        gc.collect()
        print(gone())
        """
    ).clean()
    assert child.lines == ["None"]


def test_a_deadline_of_zero_is_due_in_the_next_turn(clock: Any) -> None:
    codes: list[str] = []
    socket = net.Socket().on("error", lambda error: codes.append(error.code))
    socket.set_deadline(0)
    assert codes == []
    clock.advance(0)
    assert codes == ["ERR_DEADLINE"]

"""ordering 3.26 and README R6: listeners and callbacks that raise."""

import asyncio

import pytest

import pyuvnet
from pyuvnet import net


@pytest.fixture
def caught(loop):
    errors = []
    pyuvnet.set_exception_handler(errors.append)
    yield errors
    pyuvnet.set_exception_handler(None)


def fail(*args):
    raise ValueError("X")


def test_connection_with_a_hook(timeline, run, caught):
    server = timeline.server(fail)
    c = timeline.client(server)
    c.on("ready", lambda: c.end(b"still read"))
    run()
    assert [str(error) for error in caught] == ["X"]
    assert timeline["s"] == ["resume", ("data", b"still read"), "end", "finish", ("close", False)]


def test_data_with_a_hook_the_remaining_listeners_are_skipped(timeline, run, caught):
    def accepted(s):
        s.once("data", fail)
        s.on("data", lambda chunk: timeline.note("s", "second listener"))

    server = timeline.server(accepted)
    c = timeline.client(server)
    c.on("ready", lambda: c.write(b"one"))
    c.on("ready", lambda: pyuvnet.set_timeout(c.end, 20, b"two"))
    run()
    assert len(caught) == 1
    assert timeline["s"] == [
        "resume",
        ("data", b"onetwo"),
        "second listener",
        "end",
        "finish",
        ("close", False),
    ] or timeline["s"] == [
        "resume",
        ("data", b"one"),
        ("data", b"two"),
        "second listener",
        "end",
        "finish",
        ("close", False),
    ]


@pytest.mark.spec("R6-04")
@pytest.mark.parametrize("event", ["connect", "ready", "data", "end", "finish", "close", "drain"])
def test_without_a_hook_it_comes_out_of_run_which_can_go_on(timeline, run, event):
    server = timeline.server(lambda s: s.end(b"data"))
    c = timeline.client(server, high_water_mark=1)
    c.once(event, fail)
    c.write(b"xy")
    with pytest.raises(ValueError, match="X"):
        run()
    if not c.destroyed:
        c.end()
    run()
    assert timeline["c"][-1] == ("close", False)
    assert timeline["S"][-1] == "close"


@pytest.mark.spec("R6-03")
@pytest.mark.parametrize("event", ["connect", "ready", "data", "end", "finish", "close", "drain"])
def test_with_a_hook_the_socket_closes_all_the_same(timeline, run, caught, event):
    server = timeline.server(lambda s: s.end(b"data"))
    c = timeline.client(server, high_water_mark=1)
    c.once(event, fail)
    c.on("ready", lambda: pyuvnet.set_immediate(c.end))
    c.write(b"xy")
    if event == "connect":
        pyuvnet.set_timeout(c.end, 20)
    run()
    assert len(caught) == 1
    assert timeline["c"].count(("close", False)) == 1


def test_every_callback_is_called_though_one_raises(timeline, run, caught):
    def ready():
        c.cork()
        for name in "123":
            c.write(b"x", lambda error, name=name: (timeline.note("c", name), fail()))
        c.end(lambda error: (timeline.note("c", "end 1"), fail()))
        c.end(timeline.cb("c", "end 2"))

    server = timeline.server()
    c = timeline.client(server, without=("data", "resume"))
    c.on("ready", ready)
    run()
    assert timeline["c"][3:] == [
        "1",
        "2",
        "3",
        "end 1",
        ("cb end 2", None),
        "finish",
        "end",
        ("close", False),
    ]
    assert len(caught) == 4


def test_error_listener_raises_close_still_comes(timeline, run, caught):
    server = timeline.server()
    c = timeline.client(server, without=("data", "resume"))
    c.once("error", fail)
    c.on("ready", lambda: c.destroy(RuntimeError("E")))
    run()
    assert timeline["c"][-2:] == [("error", "E"), ("close", True)]
    assert [str(error) for error in caught] == ["X"]


@pytest.mark.parametrize("how", ["the server's option", "the class"])
def test_a_coroutine_listener_of_connection_that_fails_with_capture_rejections(timeline, how):
    async def accepted(s):
        timeline.watch("s", s)
        server.close()
        raise ValueError("X")

    async def main():
        nonlocal server
        closed = asyncio.get_running_loop().create_future()
        server = net.create_server(capture_rejections=how == "the server's option" or None)
        server.on("connection", accepted).listen(0)
        c = timeline.client(server)
        c.on("close", lambda had_error: closed.set_result(None))
        await closed

    server = None
    before = pyuvnet.EventEmitter.capture_rejections
    pyuvnet.EventEmitter.capture_rejections = how == "the class"
    try:
        pyuvnet.run(main())
    finally:
        pyuvnet.EventEmitter.capture_rejections = before
    assert timeline["s"] == ["resume", ("error", "X"), ("close", True)]
    assert timeline["c"][-3:] == ["end", "finish", ("close", False)]

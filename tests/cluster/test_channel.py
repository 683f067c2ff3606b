"""One end of a channel, in this process: frames, descriptors, and what a connection's owner is."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pyuvnet import net, run, set_immediate
from pyuvnet.cluster import _worker
from pyuvnet.cluster._channel import Channel
from pyuvnet.cluster._messages import FROM_PRIMARY, FROM_WORKER
from pyuvnet.cluster._worker import OwnWorker
from pyuvnet.errors import ClosedError, StateError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


class Ends:
    """A channel between two ends in this process; `raw` is the far one."""

    def __init__(self) -> None:
        near, self.raw = socket.socketpair()
        self.got: list[Any] = []
        self.channel = Channel(
            near.detach(),
            "worker 3 (pid 4)",
            False,
            FROM_WORKER,
            FROM_PRIMARY,
            lambda message, fd: self.got.append(message),
            lambda message, fd: self.got.append(message),
            lambda: self.got.append("closed"),
        )

    def close(self) -> None:
        self.raw.close()
        self.channel.destroy()
        run()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def frame(message: object, kind: int = 1) -> bytes:
    text = json.dumps(message).encode()
    return struct.pack("!IBBQ", len(text), kind, 0, 0) + text


def test_no_message_comes_twice_after_an_interrupt(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while messages are taken apart: what was handed out is not handed out again."""
    original = Channel._message
    interrupted = []

    def message(self: Channel, *args: Any) -> bool:
        done = original(self, *args)
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Channel, "_message", message)
    ends.raw.send(frame("first") + frame("second"))
    with pytest.raises(KeyboardInterrupt):
        run()
    ends.raw.send(frame("third"))
    ends.raw.close()
    run()
    assert ends.got == ["first", "second", "third", "closed"]


def test_what_closes_a_channel_is_logged_with_its_worker(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    ends.raw.send(b"GET / HTTP/1.0\r\n\r\n")
    run()
    assert caplog.messages == [
        "worker 3 (pid 4) has sent an invalid message: its channel is closed"
    ]


def test_what_arrives_after_disconnect_is_closed_without_a_word(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    """The other end may not know yet, and send one more connection."""
    reads, writes = os.pipe()
    ends.channel.connected = False
    socket.send_fds(ends.raw, [frame({"act": "connection"}, 0)], [writes])
    os.close(writes)
    ends.raw.close()
    run()
    assert os.read(reads, 1) == b"", "the descriptor is still open"
    os.close(reads)
    assert caplog.messages == []


@pytest.mark.parametrize("error", [None, OSError("the channel is gone")])
def test_a_connection_is_delivered_once_the_primary_cannot_offer_it_again(
    error: OSError | None,
) -> None:
    """Not while the message that it is taken waits in this process, which may die."""

    posted: list[Any] = []
    delivered: list[int] = []

    class Full:
        def send_internal(self, message: Any, fd: Any, callback: Any) -> bool:
            posted.append((message["accepted"], callback))
            return True

        def flush(self) -> bool:
            return False

    class Listening:
        def _would_take(self) -> bool:
            return True

        def _deliver(self, fd: int) -> bool:
            delivered.append(fd)
            return True

    worker = OwnWorker.__new__(OwnWorker)
    worker._channel = Full()  # type: ignore[assignment]
    worker._servers = {"key": Listening()}  # type: ignore[dict-item]
    worker.takers = {}
    fd = os.open(os.devnull, os.O_RDONLY)
    worker._connection({"key": "key", "number": 1}, fd)
    ((accepted, callback),) = posted
    assert accepted
    assert delivered == []
    callback(error)
    callback(error)
    if error is None:
        assert delivered == [fd]
        os.close(fd)
    else:
        assert delivered == []
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A worker in this process, and the primary's end of its channel."""
    monkeypatch.setattr(_worker, "_exit", lambda: None)
    near, far = socket.socketpair()
    made = OwnWorker(1, near.detach(), False)
    yield made, far
    far.close()
    made._channel.destroy()
    run()


@pytest.mark.spec("D281")
def test_a_channel_that_closes_raises_nothing_before_the_program_knows(own: Any) -> None:
    worker, far = own
    told: list[Any] = []
    worker.on("error", lambda error: told.append(error.code))
    worker.on("disconnect", lambda: told.append("disconnect"))

    def send() -> None:
        # What is collected here meets a closed end when the descriptor makes it leave.
        far.close()
        sent = [worker.send("one"), worker.send("two", net.Socket(fd=theirs.detach()))]
        assert sent == [True, False]
        assert not worker.is_connected()
        assert not worker.process.connected
        assert not worker.send("three")
        worker.send("four", callback=lambda error: told.append(f"callback {error.code}"))

    theirs, ours = socket.socketpair()
    set_immediate(send)
    run()
    assert told == ["callback ERR_IPC_CHANNEL_CLOSED", "disconnect"]
    assert ours.recv(1) == b"", "the descriptor is still open"
    ours.close()
    worker.send("five")
    run()
    assert told[2:] == ["ERR_IPC_CHANNEL_CLOSED"]


def test_a_socket_that_was_sent_already_stays_behind(own: Any) -> None:
    """As in Node: the second message comes without it."""
    worker, far = own
    theirs, ours = socket.socketpair()
    handle = net.Socket(fd=theirs.detach())
    set_immediate(lambda: worker.send("one", handle) and worker.send("two", handle))
    worker._channel.unref()
    run()
    data, descriptors, *_ = socket.recv_fds(far, 10_000, 10)
    for each in descriptors:
        os.close(each)
    assert len(descriptors) == 1
    # The kernel ends a read after a descriptor.
    assert far.recv(10_000) == frame("two")
    assert data.endswith(b'"one"')
    # That it was never open is a mistake, and an error.
    with pytest.raises(ClosedError):
        worker.send("three", net.Socket())
    ours.close()


def test_a_process_can_be_disconnected(own: Any) -> None:
    worker, _far = own
    told: list[Any] = []
    worker.on("disconnect", lambda: told.append("disconnect"))
    assert worker.process.connected
    worker.process.disconnect()
    assert not worker.process.connected
    assert (worker.process.exit_code, worker.process.signal_code) == (None, None)
    with pytest.raises(StateError) as caught:
        worker.process.disconnect()
    assert caught.value.code == "ERR_IPC_DISCONNECTED"
    run()
    assert told == ["disconnect"]
    assert worker.exited_after_disconnect is None

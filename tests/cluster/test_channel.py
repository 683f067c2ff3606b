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

from pyuvnet import run
from pyuvnet.cluster._channel import Channel
from pyuvnet.cluster._messages import FROM_PRIMARY, FROM_WORKER
from pyuvnet.cluster._worker import OwnWorker

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

"""Messages that are wrong in any field end their channel, and nothing else (_messages.py)."""

from __future__ import annotations

import copy
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from pyuvnet import metrics, net, run
from pyuvnet.events import EventEmitter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import settings, supervisor
    from pyuvnet._serve.watch import Watch
    from pyuvnet._serve.worker import ServeWorker
    from pyuvnet._server import named as _named
    from pyuvnet.cluster import _worker
    from pyuvnet.cluster._messages import COUNTS, FROM_PRIMARY, FROM_WORKER, PLACE, START, name_of
    from pyuvnet.cluster._primary import Primary

QUERY = {
    "act": "query", "seq": 1, "address": "127.0.0.1", "port": 0, "address_type": 4, "fd": None,
    "index": 0, "backlog": 5, "ipv6_only": False, "mode": -1, "group": -1, "unlink_stale": False,
    "readable_all": False, "writable_all": False,
}  # fmt: skip
COUNTED = {
    "accepted": 2, "closed": 1, "bytes_read": 3, "bytes_written": 4, "dropped": {"EMFILE": 1},
    "errors": {"ECONNRESET": 1}, "open": 1, "peak": 1, "queued_bytes": 0, "accept_queue": 0,
    "accept_queue_limit": 9, "listening": 1, "paused": 0,
}  # fmt: skip
KEY = "127.0.0.1:0:4:None:0"
# Each message with all of its fields.
TO_PRIMARY: list[dict[str, Any]] = [
    {"act": "online"},
    QUERY,
    {**QUERY, "port": -1, "address": "nowhere/socket"},
    {"act": "listening", "address": "::", "port": 5, "address_type": 6, "fd": 7},
    {"act": "accepted", "key": KEY, "number": 1, "accepted": True},
    {"act": "close", "key": KEY},
    {"act": "disconnecting", "seq": 1},
    {"act": "serve", "what": "ready", "beats": True},
    {"act": "serve", "what": "beat"},
    {"act": "serve", "what": "sigterm"},
    {"act": "serve", "what": "files", "files": ["/one.py", "/two.py"]},
    {"act": "serve", "what": "counts", "seq": 1, "names": {"app": COUNTED}, "exceptions": 2},
]
TO_WORKER: list[dict[str, Any]] = [
    {"act": "reply", "seq": 1, "status": 0, "key": KEY, "accepts": True},
    {"act": "reply", "seq": 1, "status": -98, "key": KEY, "accepts": False},
    {"act": "ack", "seq": 1},
    {"act": "connection", "key": KEY, "number": 1},
    {"act": "disconnect"},
    {"act": "serve", "what": "serve"},
    {"act": "serve", "what": "shutdown", "timeout": 5.5, "rest": True},
    {"act": "serve", "what": "counts", "seq": 1},
    {"act": "serve", "what": "beat"},
]
DEEP, HUGE = "DEEP", "HUGE"
VALUES = [
    None, True, False, 0, 1, -1, 1.5, -0.0, 2**31, 2**64, -(2**63), 10**300, float("nan"),
    float("inf"), -float("inf"), "", "text", "\0", "\udcff", "\ud800", "x" * 100_000, [], [None],
    [[]], {}, {"": None}, {"act": {}}, DEEP, HUGE,
]  # fmt: skip


def text_of(message: Any) -> bytes:
    text = json.dumps(message)
    text = text.replace(f'"{DEEP}"', "[" * 50_000 + "]" * 50_000)
    return text.replace(f'"{HUGE}"', "9" * 10_000).encode()


def mutations(example: Any) -> Iterator[Any]:
    """A message with each of its fields replaced by each value, and left out."""
    for key in example if isinstance(example, dict) else range(len(example)):
        for value in VALUES:
            changed = copy.deepcopy(example)
            changed[key] = value
            yield changed
        without = copy.deepcopy(example)
        del without[key]
        yield without
        if isinstance(example[key], (dict, list)):
            for inner in mutations(example[key]):
                changed = copy.deepcopy(example)
                changed[key] = inner
                yield changed


def frame(payload: bytes, fd: int | None = None) -> bytes:
    inode = 0 if fd is None else os.fstat(fd).st_ino
    return struct.pack("!IBBQ", len(payload), 0, fd is not None, inode) + payload


class Process:
    """What a primary starts in place of a process: only the other end of its channel."""

    pid = returncode = None
    stdin = stdout = stderr = None

    def __init__(self, argv: Any, options: Any, on_exit: Any) -> None:
        self.far = socket.socket(fileno=os.dup(options["pass_fds"][0]))

    def end_streams(self) -> None: ...
    def kill(self, signal: str) -> None: ...


class Stage:
    """A primary of serve() with a worker that lives on, and one that sends what is wrong."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # The package has an object of that name.
        module = sys.modules["pyuvnet.cluster._primary"]
        monkeypatch.setattr(module, "StartedProcess", Process)
        self.primary = Primary(EventEmitter())
        self.supervisor = supervisor.Supervisor(settings.Settings(app="app:app", reload=True))
        self.supervisor.up = True
        self.supervisor._watch = self.watch = Watch(lambda file: None)
        self.watch.close()
        counts = lambda: [each.counts for each in self.supervisor.processes.values()]  # noqa: E731
        monkeypatch.setattr(metrics, "_of_workers", counts)
        monkeypatch.setattr(metrics, "_of_primary", self.supervisor._families)
        self.good = self.fork()
        self.good._channel.unref()
        self.asked = 0

    def fork(self) -> Any:
        worker = self.primary.fork({})
        slot = supervisor.Slot(worker.id)
        slot.coming = process = supervisor.Process(slot, worker, 0)
        self.supervisor.processes[worker.id] = process
        worker.on_report = partial(self.supervisor._reported, process)
        return worker

    def receive(self, payload: bytes) -> bool:
        """Have a new worker send it; returns whether its channel stayed open."""
        worker = self.fork()
        far = worker.process.far
        closed: list[bool] = []
        worker.once("disconnect", lambda: closed.append(True))
        far.sendall(frame(payload))
        far.shutdown(socket.SHUT_WR)
        # What it was not told to close it closes as it reads the end, and says nothing then.
        run()
        assert closed
        metrics.text()
        self.watch._look()
        process = self.supervisor.processes[worker.id]
        self.supervisor._exited(process, 1, None)
        process.slot.forget_timer()
        worker._exited(1, None)
        far.close()
        run()
        self.check()
        return not self.was_refused()

    def was_refused(self) -> bool:
        refused = any("its channel is closed" in each for each in self.log.messages)
        self.log.clear()
        return refused

    def check(self) -> None:
        """The other worker's channel is as it was: it gets its answer."""
        assert self.good.is_connected()
        self.asked += 1
        query = {**QUERY, "seq": self.asked, "fd": -1, "index": self.asked}
        far = self.good.process.far
        far.sendall(frame(json.dumps(query).encode()))
        self.good._channel.ref()
        self.good._channel._socket.once("data", lambda data: self.good._channel.unref())
        run()
        assert far.recv(1000)

    log: Any


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    _named.forget()
    caplog.set_level("WARNING", "pyuvnet")
    made = Stage(monkeypatch)
    made.log = caplog
    yield made
    made.good.process.far.close()
    made.good._channel.destroy()
    run()
    _named.forget()


def test_every_message_has_an_example_with_all_of_its_fields() -> None:
    for table, examples in ((FROM_WORKER, TO_PRIMARY), (FROM_PRIMARY, TO_WORKER)):
        assert {name_of(each) for each in examples} == set(table)
        for each in examples:
            fields = {name for name, *_ in table[name_of(each)].fields}
            assert each.keys() - {"act", "what"} == fields
    assert {name for name, *_ in COUNTS.fields} == set(COUNTED)
    assert PLACE.keys() == QUERY.keys() - {"act", "seq"}


@pytest.mark.parametrize("example", TO_PRIMARY, ids=name_of)
def test_the_primary_and_its_other_workers_live_on(stage: Stage, example: dict[str, Any]) -> None:
    assert stage.receive(text_of(example))
    # Of a newer version.
    assert stage.receive(text_of({**example, "more": {"deep": [1]}}))
    assert stage.receive(text_of({**example, "act": "later"}))
    refused = 0
    for each in mutations(example):
        refused += not stage.receive(text_of(each))
    assert refused > 10


def test_a_worker_may_count_more_or_less_than_its_primary_knows(stage: Stage) -> None:
    report = {"act": "serve", "what": "counts", "names": {"app": {"accepted": 2, "later": "x"}}}
    assert stage.receive(text_of(report))
    assert 'pyuvnet_server_accepted_total{server="app"} 2' in metrics.text()


@pytest.mark.parametrize(
    "payload", [b"", b"5", b"[]", b"null", b"{", b"\xff", b"NaN", b"[" * 10**5]
)
def test_what_is_no_message_at_all(stage: Stage, payload: bytes) -> None:
    assert not stage.receive(payload)


@pytest.mark.parametrize("example", TO_WORKER, ids=name_of)
def test_a_worker_loses_its_channel_and_ends_in_order(
    monkeypatch: pytest.MonkeyPatch, example: dict[str, Any]
) -> None:
    """As if its primary had gone: 'disconnect', and then its end; no exception."""
    ends: list[bool] = []
    monkeypatch.setattr(_worker, "_exit", lambda: ends.append(True))
    given = [example, {**example, "more": 1}, {**example, "act": "later"}, *mutations(example)]
    for message in given:
        near, far = socket.socketpair()
        own = _worker.OwnWorker(1, near.detach(), False)
        serving = ServeWorker.__new__(ServeWorker)
        main = SimpleNamespace(
            serve=list, shutdown=lambda timeout, rest: timeout + rest, containment=None
        )
        vars(serving).update(_own=own, _threads=[], _dealers=[], _main=main)
        own.on_order = serving._order
        server = net.Server()
        server.on("error", lambda error: None)
        monkeypatch.setattr(_worker._listen, "ask_primary", own._query)
        server.listen(0, "127.0.0.1")
        fd = os.open(os.devnull, os.O_RDONLY)
        payload = text_of(message)
        if example["act"] in ("reply", "connection"):
            socket.send_fds(far, [frame(payload, fd)], [fd])
        else:
            far.sendall(frame(payload))
        os.close(fd)
        far.shutdown(socket.SHUT_WR)
        ends.clear()
        run()
        assert ends or example["act"] == "disconnect"
        far.close()
        if server.listening:
            server.close()
        run()


def test_what_a_worker_is_started_with_has_defaults_for_what_an_older_primary_lacks() -> None:
    start = {"places": [{"port": 5, "host": None, "later": 1}], "timeout": 5, "later": 1}
    found = START(start)
    assert found["places"] == [{"port": 5, "host": None, "path": None}]
    assert found.keys() == {name for name, *_ in START.fields}
    assert (found["threads"], found["tls"]) == (1, None)
    full = {**found, "tls": ["cert", "key"]}
    for each in mutations(full):
        try:
            found = START(each)
        except ValueError:
            continue
        assert set(found) == set(full)

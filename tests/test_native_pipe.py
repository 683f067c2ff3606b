"""pipe() between two sockets moves bytes in C; nobody may be able to tell, but by its speed.

Each test drives a proxy (client -> front -> back -> sink) whose front socket is piped into a
connection to the sink, natively or with something that forces the ordinary path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket as posix
import struct
import sys
import threading
import time
import tracemalloc

import pytest

from pyuvnet import current_loop, net, run, set_immediate, set_timeout


class Proxy:
    """A source that sends chunks through a pipe to a sink; records what the ends see."""

    def __init__(self, chunks, prepare=None, sink_reads=True, upstream_class=net.Socket):
        self.chunks = list(chunks)
        self.received = hashlib.sha256()
        self.count = 0
        self.trace: list[str] = []
        self.prepare = prepare or (lambda front, back: None)
        self.sink_reads = sink_reads
        self.upstream_class = upstream_class
        self.sink = net.create_server(self._sink_connected)
        self.proxy = net.create_server(self._front_connected)
        # Bulk is spliced where reads fill the buffer, and the window that the kernel chooses may
        # stay below that.
        place = {"port": 0, "host": "127.0.0.1", "receive_buffer": 200_000}
        self.sink.listen(0, "127.0.0.1", lambda: self.proxy.listen(place, self._send))
        self.on_sink = None

    def run(self):
        run()
        return self

    def _sink_connected(self, socket):
        self.sink_socket = socket
        if self.sink_reads:
            socket.on("data", self._sink_data)
        socket.on("end", lambda: self.trace.append("sink end"))
        socket.on("error", lambda error: self.trace.append(f"sink {error.code}"))
        socket.on("close", lambda _: self.sink.close())

    def _sink_data(self, data):
        self.received.update(data)
        self.count += len(data)
        if self.on_sink is not None:
            self.on_sink(data)

    def _front_connected(self, front):
        self.front = front
        back = self.upstream_class()
        self.back = back
        back.connect(self.sink.address().port, "127.0.0.1")
        for name, socket in (("front", front), ("back", back)):
            for event in ("end", "finish", "pipe", "unpipe", "close"):
                socket.on(
                    event, lambda *a, name=name, event=event: self.trace.append(f"{name} {event}")
                )
            socket.on("error", lambda error, name=name: self.trace.append(f"{name} {error.code}"))
        self.prepare(front, back)
        back.once("connect", lambda: front.pipe(back))
        front.on("close", lambda _: self.proxy.close())

    def _send(self):
        self.client = net.create_connection(self.proxy.address().port, "127.0.0.1")
        self.client.on("error", lambda error: self.trace.append(f"client {error.code}"))
        self.client.once("connect", self._next)
        self.client.on("drain", self._next)
        self.sent = hashlib.sha256()

    def _next(self):
        while self.chunks:
            chunk = self.chunks.pop(0)
            self.sent.update(chunk)
            if not self.client.write(chunk):
                return
        if not self.client.writable_ended:
            self.client.end()


def chunks(total, seed=1):
    source = random.Random(seed)
    made = []
    while total > 0:
        size = min(total, source.choice((1, 100, 1024, 65536, 200_000)))
        made.append(source.randbytes(size))
        total -= size
    return made


def listens(front, back):
    # Not before the pipe is there, since a listener makes the data flow.
    back.once("connect", lambda: front.on("data", lambda data: None))


def overrides_write(front, back):
    original = back.write
    back.write = lambda *a: original(*a)


class OwnWrite(net.Socket):
    def write(self, *arguments):
        return super().write(*arguments)


class OwnEmit(net.Socket):
    def emit(self, event, *arguments):
        return super().emit(event, *arguments)


VARIANTS = {
    "native": {},
    "listener": {"prepare": listens},
    "instance write": {"prepare": overrides_write},
    "class write": {"upstream_class": OwnWrite},
    "class emit": {"upstream_class": OwnEmit},
    "timeouts": {"prepare": lambda front, back: (front.set_timeout(9000), back.set_timeout(9000))},
}


def watched(front, back):
    """What real proxies set."""
    for socket in (front, back):
        socket.set_timeout(60_000, socket.destroy)
        for event in ("timeout", "end", "close", "drain", "finish", "pause", "resume"):
            socket.on(event, lambda *_: None)
        socket.on("error", lambda error: None)


class Ends:
    """The ends of a proxy, as plain sockets, which allocate nothing while they move bytes."""

    def __init__(self, prepare):
        self.sink = posix.create_server(("127.0.0.1", 0))
        self.proxy = net.create_server(self._connected)
        self.prepare = prepare
        self.proxy.listen(0, "127.0.0.1")
        self.proxy.on("listening", self._listening)
        self.room = memoryview(bytearray(65536))
        self.sockets = []

    def _listening(self):
        self.client = posix.create_connection(("127.0.0.1", self.proxy.address().port))
        self.client.settimeout(5)

    def _connected(self, front):
        self.front = front
        self.back = net.connect(self.sink.getsockname()[1], "127.0.0.1")
        self.sockets = [self.front, self.back]
        self.prepare(self.front, self.back)
        self.back.on("connect", self._joined)

    def _joined(self):
        self.server = self.sink.accept()[0]
        self.server.settimeout(5)
        self.front.pipe(self.back)
        self.ready()

    def close(self):
        for socket in self.sockets:
            socket.destroy()
        self.proxy.close()
        for socket in (self.client, self.server, self.sink):
            socket.close()


@pytest.mark.parametrize("prepare", [lambda front, back: None, watched], ids=["plain", "watched"])
def test_no_chunk_becomes_an_object(prepare):
    ends = Ends(prepare)
    peaks = []
    chunk = random.Random(1).randbytes(30_000)

    def ready():
        ends.front.once("resume", lambda: set_immediate(send))

    def send():
        if len(peaks) == 10:
            tracemalloc.stop()
            ends.close()
            return
        tracemalloc.start()
        ends.client.sendall(chunk)
        before = ends.back.bytes_written
        set_immediate(look, before)

    def look(before):
        if ends.back.bytes_written < before + len(chunk):
            set_immediate(look, before)
            return
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        left = len(chunk)
        while left:
            left -= ends.server.recv_into(ends.room)
        send()

    ends.ready = ready
    run()
    assert len(peaks) == 10
    assert max(peaks) < 10_000


def test_each_chunk_puts_off_the_timeouts_of_both_sockets():
    idle = 60
    times = {"sent": 0.0}
    early = []

    def prepare(front, back):
        front.set_timeout(idle, lambda: timed_out("front"))
        back.set_timeout(idle, lambda: timed_out("back"))

    def timed_out(who):
        waited = (time.monotonic() - times["sent"]) * 1000
        # What is on its way has not put it off yet.
        if ends.back.bytes_written == sent and waited < idle - 10:
            early.append((who, waited))
        over.add(who)
        if early or (over == {"front", "back"} and sent == 40):
            ends.close()

    def ready():
        step()

    def step():
        nonlocal sent
        if early or sent == 40:
            return
        ends.client.sendall(b"x")
        sent += 1
        over.clear()
        times["sent"] = time.monotonic()
        set_timeout(step, 5)

    sent, over = 0, set()
    ends = Ends(prepare)
    ends.ready = ready
    run()
    assert over == {"front", "back"}
    assert early == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_bytes_counters_and_events_are_the_same_on_every_path(variant) -> None:
    proxy = Proxy(chunks(3_000_000), **VARIANTS[variant]).run()
    assert proxy.count == 3_000_000
    assert proxy.received.digest() == proxy.sent.digest()
    assert proxy.front.bytes_read == proxy.back.bytes_written == 3_000_000
    assert proxy.front.readable_did_read
    per_object = {
        name: [event for event in proxy.trace if event.startswith(name)]
        for name in ("front", "back", "sink")
    }
    assert per_object == {
        "front": ["front end", "front finish", "front close"],
        "back": ["back pipe", "back finish", "back unpipe", "back end", "back close"],
        "sink": ["sink end"],
    }


def test_a_sink_that_does_not_read_stops_the_source_and_nothing_is_lost() -> None:
    total = 24_000_000
    proxy = Proxy(chunks(total), sink_reads=False)
    state = {}

    def look_when_stuck(last=(-1, -1), still=0):
        # Still for many turns of the loop: the kernel's buffers and both marks are full.
        now = (proxy.front.bytes_read, proxy.back.bytes_written) if proxy_started() else (0, 0)
        if now == last and now != (0, 0) and proxy.back.writable_need_drain:
            still += 1
        else:
            still = 0
        if still < 200:
            set_immediate(look_when_stuck, now, still)
            return
        state["queued"] = proxy.back.writable_length
        state["buffered"] = proxy.front.readable_length
        state["read"] = proxy.front.bytes_read
        proxy.sink_socket.on("data", proxy._sink_data)

    def proxy_started():
        return hasattr(proxy, "back") and hasattr(proxy, "sink_socket")

    set_immediate(look_when_stuck)
    proxy.run()
    assert state["read"] < total
    # At most a mark's worth, and one chunk beyond it, waits in memory on either side.
    assert 0 < state["queued"] <= 2 * 65536
    assert state["buffered"] <= 2 * 65536
    assert proxy.count == total
    assert proxy.received.digest() == proxy.sent.digest()


def test_a_listener_added_in_the_middle_sees_everything_from_there_on() -> None:
    proxy = Proxy(chunks(2_000_000))
    seen: list[int] = []

    def on_sink(data):
        if proxy.count > 500_000 and not seen:
            seen.append(proxy.front.bytes_read)
            proxy.front.on("data", lambda data: seen.append(len(data)))

    proxy.on_sink = on_sink
    proxy.run()
    assert proxy.count == 2_000_000
    assert seen[0] + sum(seen[1:]) == 2_000_000


def test_a_write_given_to_the_class_in_the_middle_sees_everything_from_there_on() -> None:
    class Upstream(net.Socket):
        pass

    proxy = Proxy(chunks(2_000_000), upstream_class=Upstream)
    seen = 0

    def write(self, data, encoding=None, callback=None):
        nonlocal seen
        seen += len(data)
        return net.Socket.write(self, data, encoding, callback)

    def override(data):
        if proxy.count > 500_000 and "write" not in vars(Upstream):
            override.from_here = proxy.front.bytes_read
            Upstream.write = write

    proxy.on_sink = override
    proxy.run()
    assert override.from_here > 0
    assert seen == proxy.front.bytes_read - override.from_here
    assert proxy.received.digest() == proxy.sent.digest()


def test_an_encoding_set_in_the_middle_keeps_the_bytes() -> None:
    text = "añ€😀" * 40_000
    proxy = Proxy([text.encode()[i : i + 70_001] for i in range(0, len(text.encode()), 70_001)])

    def on_sink(data):
        if proxy.count > 100_000 and proxy.front.readable_encoding is None:
            proxy.front.set_encoding("latin1")
            proxy.back.set_default_encoding("latin1")

    proxy.on_sink = on_sink
    proxy.run()
    assert proxy.front.readable_encoding == "latin1"
    assert proxy.received.digest() == hashlib.sha256(text.encode()).digest()


def test_unpiping_in_the_middle_keeps_the_rest_for_the_next_reader() -> None:
    proxy = Proxy(chunks(1_000_000))
    rest: list[bytes] = []

    def on_sink(data):
        if proxy.count > 300_000 and not rest:
            rest.append(b"")
            proxy.front.unpipe(proxy.back)
            proxy.back.end()
            proxy.front.on("data", rest.append)
            proxy.front.resume()

    proxy.on_sink = on_sink
    proxy.run()
    assert proxy.count + len(b"".join(rest)) == 1_000_000
    assert proxy.front.bytes_read == 1_000_000


@pytest.mark.parametrize("victim", ["front", "back", "sink_socket", "client"])
def test_destroying_an_end_in_the_middle_is_survived(victim) -> None:
    proxy = Proxy(chunks(4_000_000))
    done: list[bool] = []

    def on_sink(data):
        if proxy.count > 200_000 and not done:
            done.append(True)
            getattr(proxy, victim).destroy()
            # A pipe does not tear its other end down; a proxy has to.
            for socket in (proxy.front, proxy.back, proxy.client):
                set_immediate(socket.destroy)

    proxy.on_sink = on_sink
    proxy.run()
    assert done
    assert proxy.front.destroyed
    assert proxy.back.destroyed
    assert proxy.proxy._connections == proxy.sink._connections == 0


def test_the_first_error_of_a_write_is_the_one_that_is_told():
    # The kernel says ECONNRESET once, and EPIPE to every later write.
    trace = []
    sink = posix.create_server(("127.0.0.1", 0))

    def serve(front):
        back = net.create_connection(sink.getsockname()[1], "127.0.0.1")
        # Who does not read hears of the reset by a write only.
        back.pause()
        back.on("error", lambda error: trace.append((error.code, error.syscall)))
        back.on("unpipe", lambda source, _: trace.append(("unpipe", source is front)))
        back.on("close", lambda had_error: (trace.append(had_error), front.destroy()))

        def connected():
            accepted = sink.accept()[0]
            accepted.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, struct.pack("ii", 1, 0))
            accepted.close()
            front.pipe(back)
            client.write(b"x" * 1000)

        back.on("connect", connected)

    proxy = net.create_server(serve).listen(0, "127.0.0.1")
    proxy.on("listening", lambda: client.connect(proxy.address().port, "127.0.0.1"))
    client = net.Socket().resume()
    client.on("close", lambda _: proxy.close())
    run()
    sink.close()
    assert trace == [("unpipe", True), ("ECONNRESET", "write"), True]


# ---- splice(2) -----------------------------------------------------------------------------------

linux = pytest.mark.skipif(sys.platform != "linux", reason="splice() is Linux's")


def kernel_pipes() -> int:
    """How many descriptors of this process are ends of pipes."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")
    return found


def alone(function):
    """Run a function in a thread with a loop of its own, which it closes.

    The function gets the number of kernel pipes that the loop has from the beginning.
    """
    failed = []

    def body():
        current_loop()
        try:
            function(kernel_pipes())
        except BaseException as error:
            failed.append(error)
        finally:
            current_loop().close()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


@linux
@pytest.mark.parametrize("flows", [1, 5])
def test_bulk_flows_share_one_kernel_pipe_of_their_loop(flows):
    outside, during = kernel_pipes(), []

    def body(before):
        during.append(before + 2)
        proxies = [Proxy([bytes(1_000_000)] * 8) for _ in range(flows)]
        for proxy in proxies:
            proxy.proxy.on("close", lambda: during.append(kernel_pipes()))
        run()
        for proxy in proxies:
            assert proxy.count == 8_000_000
            assert proxy.received.digest() == proxy.sent.digest()

    alone(body)
    assert during == during[:1] * (1 + flows)
    assert kernel_pipes() == outside


@linux
def test_messages_need_no_kernel_pipe():
    during = []

    def body(before):
        during.append(before)
        proxy = Proxy([bytes(30_000)])
        proxy.proxy.on("close", lambda: during.append(kernel_pipes()))
        run()
        assert proxy.count == 30_000

    alone(body)
    assert during == during[:1] * 2


@linux
def test_without_a_descriptor_for_the_kernel_pipe_bytes_are_read_and_written():
    import resource

    total = 8_000_000
    sent = random.Random(1).randbytes(total)
    received, held, threads = bytearray(), [], []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def ready():
        resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        loop = current_loop()
        threads.append(threading.Thread(target=ends.client.sendall, args=(sent,)))
        threads.append(threading.Thread(target=receive, args=(loop,)))
        for thread in threads:
            thread.start()

    def receive(loop):
        while len(received) < total:
            received.extend(ends.server.recv(65536))
        loop.call_soon_threadsafe(finish)

    def finish():
        while held:
            os.close(held.pop())
        counts.extend((ends.front.bytes_read, ends.back.bytes_written, kernel_pipes()))
        ends.close()

    def body(before):
        nonlocal ends, expected
        expected = before
        ends = Ends(lambda front, back: None)
        ends.ready = ready
        run()

    counts, ends, expected = [], None, None
    try:
        alone(body)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for thread in threads:
            thread.join()
    assert received == sent
    assert counts == [total, total, expected]


def moved_in_one_turn(**options):
    """The most that a pipe between two sockets moves in one turn of the loop, out of 12 MB."""
    total, most = 12_000_000, 0
    fronts, backs = [], []
    front = net.create_server(fronts.append, **options).listen(0)
    back = net.create_server(backs.append).listen(0)
    source = posix.create_connection(("127.0.0.1", front.address().port))
    sink = posix.create_connection(("127.0.0.1", back.address().port))
    source.setblocking(False)
    sink.setblocking(False)
    loop = current_loop()
    while not (fronts and backs):
        loop.turn()
    (socket,), (dest,) = fronts, backs
    socket.on("data", lambda chunk: None).remove_all_listeners("data")
    socket.pipe(dest)
    left, got = total, 0
    block = bytes(1 << 20)
    until = time.monotonic() + 20
    while got < total:
        assert time.monotonic() < until
        with contextlib.suppress(BlockingIOError):
            while left:
                left -= source.send(block[: min(left, len(block))])
        before = socket.bytes_read
        loop.turn()
        most = max(most, socket.bytes_read - before)
        with contextlib.suppress(BlockingIOError):
            while chunk := sink.recv(1 << 20):
                got += len(chunk)
    for each in (source, sink):
        each.close()
    for each in (socket, dest):
        each.destroy()
    front.close()
    back.close()
    run()
    return most


@pytest.mark.spec("P5-07")
@linux
@pytest.mark.parametrize("budget", [None, 65536, 1 << 20])
def test_the_read_budget_bounds_what_a_pipe_moves_in_a_turn(budget):
    found = []

    def body(before):
        found.append(moved_in_one_turn(read_budget=budget))

    alone(body)
    # Unless it is set: such bytes cost less than those that are read.
    assert found[0] <= (budget or 524288)


@linux
def test_without_a_read_budget_a_pipe_moves_more_in_a_turn():
    found = []

    def body(before):
        found.append(moved_in_one_turn(read_budget=0))

    alone(body)
    assert 524288 < found[0] <= 4 << 20

"""streams.md 3.4: pipe and unpipe with sockets; user streams are in core/test_piping.py."""

from __future__ import annotations

import sys

import pytest

import pyuvnet
from pyuvnet import net, run


@pytest.fixture
def piped(connect, watch, trace):
    """piped(dest, both, **options): an accepted socket is piped into dest; returns the client."""

    def make(dest, both=None, *, accepted=lambda peer: None, **options):
        def connection(peer) -> None:
            accepted(peer)
            assert peer.pipe(dest, **options) is dest

        return connect(connection, both)

    return make


@pytest.mark.spec("S3.4-01", "S3.4-05", "S3.4-06", "S3.4-07")
def test_a_socket_into_a_sink(piped, fake, watch, trace) -> None:
    sink = watch(fake.Sink(), "sink", "pipe", "finish", "unpipe", "close")

    def accepted(peer) -> None:
        pyuvnet.set_immediate(lambda: trace("flowing", peer.readable_flowing))
        peer.on("resume", lambda: trace("resume"))

    piped(sink, accepted=accepted).end(b"hello")
    run()
    assert b"".join(sink.got) == b"hello"
    assert trace[:3] == ["sink pipe", "resume", ("flowing", True)]
    assert trace[3:] == ["sink finish", "sink unpipe", "sink close"]


@pytest.mark.spec("S3.4-02", "S3.4-04")
@pytest.mark.parametrize("full_before", [False, True])
def test_a_full_sink_holds_a_socket_until_drain(piped, fake, when, trace, full_before) -> None:
    sink = fake.Sink(hold=True, high_water_mark=1)
    if full_before:
        sink.write(b"x")
    sink.on("drain", trace.note("drain"))

    def both(client, peer) -> None:
        client.write(b"one")
        when(lambda: sink.held and peer.bytes_read, lambda: look(client, peer))

    def look(client, peer) -> None:
        trace(peer.is_paused(), len(sink.got))
        sink.answer()
        when(lambda: "drain" in trace, lambda: after(client, peer))

    def after(client, peer) -> None:
        assert not peer.is_paused() or sink.writable_need_drain
        while sink.held:
            sink.answer()
        sink.hold = False
        client.end(b"two")

    piped(sink, both)
    run()
    assert trace[0] == (True, 1)
    assert trace[1] == "drain"
    assert b"".join(sink.got) == (b"x" if full_before else b"") + b"onetwo"


@pytest.mark.spec("S3.4-03")
def test_the_slowest_of_several_destinations_rules(connect, fake, when) -> None:
    slow, slower = (fake.Sink(hold=True, high_water_mark=1) for _ in range(2))
    fast = fake.Sink()

    def accepted(peer) -> None:
        for sink in (slow, fast, slower):
            peer.pipe(sink)

    def both(client, peer) -> None:
        client.write(b"one")
        when(lambda: slow.held and slower.held, lambda: look(client, peer))

    def look(client, peer) -> None:
        assert peer.is_paused()
        slow.answer()
        client.write(b"two")
        # It is read ahead.
        when(lambda: peer.bytes_read == 6, lambda: still(client, peer))

    def still(client, peer) -> None:
        assert peer.is_paused()
        assert fast.got == [b"one"]
        slow.hold = slower.hold = False
        slower.answer()
        client.end()

    connect(accepted, both)
    run()
    assert b"".join(slow.got) == b"".join(slower.got) == b"".join(fast.got) == b"onetwo"


@pytest.mark.spec("S3.4-08")
def test_a_source_that_has_ended_ends_the_destination_in_a_tick(connect, fake, when, trace) -> None:
    sink = fake.Sink()

    def ended(peer) -> None:
        peer.pipe(sink)
        trace(sink.writable_ended)
        pyuvnet.next_tick(lambda: trace(sink.writable_ended))
        when(lambda: sink.writable_finished, peer.end)

    def accepted(peer) -> None:
        peer.resume().on("end", lambda: pyuvnet.set_immediate(ended, peer))

    connect(accepted, server={"allow_half_open": True}).resume().end()
    run()
    assert trace == [False, True]


@pytest.mark.spec("S3.4-09")
@pytest.mark.parametrize("options", [{"options": {"end": False}}, {"end": False}])
def test_end_false_only_unpipes(piped, fake, watch, trace, options) -> None:
    sink = watch(fake.Sink(), "", "finish", "unpipe")
    piped(sink, **options).end(b"x")
    run()
    assert trace == ["unpipe"]
    assert (sink.got, sink.writable_ended) == ([b"x"], False)


@pytest.mark.spec("S3.4-10")
def test_a_socket_into_standard_output(piped, capfdbinary) -> None:
    piped(sys.stdout).end(b"printed\n")
    run()
    assert not sys.stdout.closed
    assert capfdbinary.readouterr().out == b"printed\n"


@pytest.mark.spec("S3.4-11", "S3.4-12", "S3.4-13", "S3.4-14", "S3.4-21")
@pytest.mark.parametrize("how", ["close", "finish", "error", "unhandled error"])
def test_what_of_a_destination_unpipes_a_socket(piped, fake, trace, how, hook) -> None:
    sink = fake.Sink()
    failure = OSError("E")
    if how == "error":
        # There before the pipe, and still told after its step.
        sink.on("error", lambda error: trace("error"))
    sink.on("unpipe", lambda source, info: trace("unpipe"))

    def act(client, peer) -> None:
        if how == "finish":
            sink.end()
        else:
            sink.destroy(None if how == "close" else failure)
        pyuvnet.set_immediate(look, client, peer)

    def look(client, peer) -> None:
        trace("flowing", peer.readable_flowing)
        peer.destroy()
        client.destroy()

    piped(sink, act)
    run()
    told = ["unpipe", "error"] if how == "error" else ["unpipe"]
    assert trace == [*told, ("flowing", False)]
    assert hook == ([failure] if how == "unhandled error" else [])


@pytest.mark.spec("S3.4-15")
@pytest.mark.parametrize("error", [None, OSError("E")])
def test_a_source_that_dies_leaves_its_destination(piped, fake, watch, trace, error) -> None:
    sink = watch(fake.Sink(), "sink", "unpipe", "finish", "error", "close")

    def act(client, peer) -> None:
        peer.destroy(error)
        client.destroy()

    client = piped(sink, act, accepted=lambda peer: peer.on("error", lambda error: None))
    run()
    assert client.peer.destroyed
    assert trace == []
    assert (sink.writable, sink.writable_ended, sink.destroyed) == (True, False, False)


@pytest.mark.spec("S3.4-16", "S3.4-17", "S3.4-18", "S3.4-19")
@pytest.mark.parametrize("one_by_one", [True, False])
def test_unpipe_of_a_socket(connect, fake, when, trace, one_by_one) -> None:
    first, second, stranger = fake.Sink(), fake.Sink(), fake.Sink()
    for name, sink in (("first", first), ("second", second), ("stranger", stranger)):
        sink.on(
            "unpipe",
            lambda source, info, name=name: trace(
                name, source is client.peer, isinstance(info, dict)
            ),
        )

    def accepted(peer) -> None:
        peer.on("pause", trace.note("pause"))
        peer.pipe(first)
        peer.pipe(second)

    def act(client, peer) -> None:
        peer.unpipe(stranger)
        if one_by_one:
            peer.unpipe(first)
            assert peer.readable_flowing is True
            assert trace == [("first", True, True)]
            peer.unpipe(second)
            assert trace[1:] == ["pause", ("second", True, True)]
        else:
            peer.unpipe()
            assert trace == ["pause", ("first", True, True), ("second", True, True)]
        assert (peer.readable_flowing, peer.is_paused()) == (False, True)
        client.write(b"x")
        when(lambda: peer.bytes_read, look)

    def look() -> None:
        assert client.peer.readable_length == 1
        assert first.got == second.got == []
        client.peer.on("data", trace)
        client.peer.resume()
        client.end()

    client = connect(accepted, act)
    run()
    assert trace[-1] == b"x"


@pytest.mark.spec("S3.4-20")
def test_a_socket_into_itself(connect) -> None:
    got = bytearray()
    client = connect(lambda peer: peer.pipe(peer))
    client.on("data", got.extend)
    client.end(b"echo" * 50_000)
    run()
    assert got == b"echo" * 50_000


@pytest.mark.spec("S3.4-22")
def test_a_write_that_raises_destroys_the_destination_socket(
    piped, watch, when, trace, hook
) -> None:
    class Broken(net.Socket):
        def write(self, *args):
            raise ValueError("broken")

    dest = watch(Broken(), "", "unpipe", "error", "close")

    def both(client, peer) -> None:
        client.write(b"x")
        when(lambda: dest.destroyed and ("close", True) in trace, lambda: over(client, peer))

    def over(client, peer) -> None:
        trace("flowing", peer.readable_flowing)
        client.destroy()
        peer.destroy()

    piped(dest, both)
    run()
    assert trace == ["unpipe", ("error", "broken"), ("close", True), ("flowing", False)]
    assert hook == []


@pytest.mark.spec("S3.4-23", "S5-18")
def test_a_user_stream_into_a_socket_and_a_socket_into_a_user_class(connect, fake) -> None:
    class Upper(pyuvnet.Writable):
        def _write(self, chunk, encoding, callback) -> None:
            got.append(bytes(chunk).upper())
            callback()

    got: list[bytes] = []
    source = fake.Source(b"from ", b"a stream", None)
    client = connect(lambda peer: peer.pipe(Upper()))
    source.pipe(client)
    run()
    assert b"".join(got) == b"FROM A STREAM"

"""pyuvnet/_core/reading.pyx: read_exactly(), read_until() and read_line()."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pyuvnet import Readable, current_loop, errors, events, framing, net, run


class Source(Readable):
    def _read(self, size: int) -> None:
        pass


class Counted(Readable):
    """Has so many bytes to give, some for each `_read`, at once or in a tick."""

    def __init__(self, data: bytes, step: int, later: bool, **options: Any) -> None:
        super().__init__(**options)
        self.data, self.step, self.later = data, step, later

    def _read(self, size: int) -> None:
        chunk, self.data = self.data[: self.step], self.data[self.step :]
        if self.later:
            current_loop().next_tick(self.push, chunk or None)
        else:
            self.push(chunk or None)


def all_cuts(data: bytes) -> list[list[bytes]]:
    found = []
    for size in range(len(data)):
        for cuts in itertools.combinations(range(1, len(data)), size):
            found.append([data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])])
    return found


async def outcome(awaitable: Awaitable[Any]) -> Any:
    """What awaiting gives, or the code of what it raises."""
    try:
        return await awaitable
    except Exception as error:
        return getattr(error, "code", error)


async def some_turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


# ---- What they read ------------------------------------------------------------------------------

SCRIPT: list[tuple[Callable[[Any], Awaitable[bytes]], bytes]] = [
    (lambda source: source.read_line(), b"a"),
    (lambda source: source.read_exactly(2), b"\nb"),
    (lambda source: source.read_exactly(0), b""),
    (lambda source: source.read_until(b"--"), b"c-\r--"),
    (lambda source: source.read_line(), b""),
    (lambda source: source.read_line(), b"d"),
    (lambda source: source.read_line(), b""),
]


@pytest.mark.spec("D92")
@pytest.mark.parametrize("before", [True, False])
def test_what_is_read_does_not_depend_on_the_cuts(before: bool) -> None:
    async def main() -> None:
        data = b"a\r\n\nbc-\r--\nd"
        for chunks in all_cuts(data)[:: 1 if before else 7]:
            source = Source()

            async def feed(source: Any = source, chunks: list[bytes] = chunks) -> None:
                for chunk in [*chunks, None]:
                    source.push(chunk)
                    if not before:
                        await asyncio.sleep(0)

            if before:
                await feed()
            feeding = asyncio.ensure_future(asyncio.sleep(0) if before else feed())
            for read, expected in SCRIPT:
                assert not source.at_end or expected == b""
                assert await read(source) == expected, chunks
            assert source.at_end
            await feeding

    run(main())


@pytest.mark.parametrize("delimiter", [b"\n", b"--", b"\r\n\r\n"])
def test_the_first_read_finds_nothing_yet(delimiter: bytes) -> None:
    """There is no memory yet for what will come."""

    async def main() -> None:
        source = Source()
        waiting = asyncio.ensure_future(source.read_until(delimiter))
        await some_turns()
        source.push(b"a" + delimiter)
        assert await waiting == b"a" + delimiter
        source.push(None)
        with pytest.raises(errors.IncompleteReadError):
            await source.read_until(delimiter)

    run(main())


@pytest.mark.parametrize("later", [True, False])
@pytest.mark.parametrize("step", [1, 3, 100])
@pytest.mark.parametrize("mark", [0, 1, 16384])
def test_the_source_is_asked_until_it_is_there(later: bool, step: int, mark: int) -> None:
    async def main() -> None:
        source = Counted(b"x" * 500 + b"\ny" + b"z" * 3000, step, later, high_water_mark=mark)
        assert await source.read_line() == b"x" * 500
        assert await source.read_exactly(3001) == b"y" + b"z" * 3000
        assert await source.read_line() == b""
        assert source.at_end

    run(main())


def test_many_bytes_that_come_at_once_one_by_one_need_no_stack() -> None:
    async def main() -> None:
        source = Counted(b"x" * 50_000, 1, False)
        assert await source.read_exactly(50_000) == b"x" * 50_000

    run(main())


def test_what_is_there_needs_no_turn_of_asyncio() -> None:
    async def main() -> None:
        source = Source()
        source.push(b"a\nbc")
        for read in (source.read_line(), source.read_exactly(1), source.read_until(b"c")):
            with pytest.raises(StopIteration):
                read.__await__().send(None)  # type: ignore[attr-defined]

    run(main())


def test_a_task_goes_on_inside_the_callback_that_brought_the_last_byte() -> None:
    order: list[str] = []

    async def serve(socket: Any) -> None:
        while not socket.at_end:
            line = await socket.read_line()
            if line:
                order.append(line.decode())
                socket.write(line)
                # The callback is the one of the read: what it writes is collected.
                current_loop().set_immediate(order.append, "immediate")
        socket.end()

    async def main() -> None:
        server = net.create_server(serve)
        server.listen(0)
        client = await net.promises.connect(server.address()["port"], "127.0.0.1")
        client.resume()
        client.write(b"a\nb\n")
        await events.once(client, "data")
        client.end()
        server.close()
        await server.wait_closed()

    run(main())
    assert order == ["a", "b", "immediate", "immediate"]


def test_an_empty_line_is_told_from_the_end() -> None:
    async def main() -> None:
        source = Source()
        source.push(b"\n")
        assert await source.read_line() == b""
        assert not source.at_end
        source.push(None)
        assert source.at_end
        assert await source.read_line() == b""
        await events.once(source, "end")
        assert await source.read_line() == b""

    run(main())


def test_a_buffer_over_the_mark_is_read_on_for_a_task_that_waits() -> None:
    async def serve(socket: Any) -> None:
        assert await socket.read_exactly(300_000) == bytes(300_000)
        socket.end(b"ok")

    async def main() -> None:
        server = net.create_server(serve, high_water_mark=10)
        server.listen(0)
        client = await net.promises.connect(server.address()["port"], "127.0.0.1")
        client.write(bytes(300_000))
        assert await client.read_exactly(2) == b"ok"
        client.end()
        server.close()
        await server.wait_closed()

    run(main())


# ---- Limits and the end --------------------------------------------------------------------------


@pytest.mark.parametrize("late", [True, False])
def test_over_the_limit_nothing_is_taken_and_the_stream_lives(late: bool) -> None:
    async def main() -> None:
        source = Source()
        for read in (
            lambda limit: source.read_line(limit=limit),
            lambda limit: source.read_until(b"\n", limit=limit),
        ):
            if late:
                waiting = asyncio.ensure_future(outcome(read(3)))
                await asyncio.sleep(0)
            source.push(b"abcd")
            result = await waiting if late else await outcome(read(3))
            assert result == "ERR_FRAME_TOO_LONG"
            assert not source.destroyed
            assert source.readable_length == 4
            source.push(b"\n")
            assert await outcome(read(3)) == "ERR_FRAME_TOO_LONG"
            assert (await read(4)).strip() == b"abcd"
        assert not source.readable_length

    run(main())


def test_a_line_of_the_limit_passes_with_either_end() -> None:
    async def main() -> None:
        source = Source()
        source.push(b"abc\r\nabc\nabc\r")
        assert await source.read_line(limit=3) == b"abc"
        assert await source.read_line(limit=3) == b"abc"
        waiting = asyncio.ensure_future(source.read_line(limit=3))
        await some_turns()
        source.push(b"\n")
        assert await waiting == b"abc"

    run(main())


@pytest.mark.parametrize("late", [True, False])
def test_the_end_in_the_middle_gives_what_there_was(late: bool) -> None:
    async def ending(read: Callable[[Any], Any]) -> Any:
        source = Source()
        ended: list[str] = []
        source.on("end", lambda: ended.append("end"))
        source.push(b"ab")
        if not late:
            source.push(None)
        waiting = asyncio.ensure_future(read(source))
        await some_turns()
        if late:
            source.push(None)
        try:
            result = await waiting
        except EOFError as error:
            assert type(error) is errors.IncompleteReadError  # noqa: PT017
            result = error.partial, error.expected, error.code
        assert source.at_end
        await some_turns()
        assert ended == ["end"]
        return result

    async def main() -> None:
        code = "ERR_FRAME_INCOMPLETE"
        assert await ending(lambda source: source.read_exactly(3)) == (b"ab", 3, code)
        assert await ending(lambda source: source.read_until(b"\n")) == (b"ab", None, code)
        assert await ending(lambda source: source.read_line()) == b"ab"

    run(main())


def test_after_the_end() -> None:
    async def main() -> None:
        source = Source()
        source.push(None)
        for _ in range(2):
            assert await source.read_line() == b""
            assert await source.read_exactly(0) == b""
            assert await outcome(source.read_exactly(1)) == "ERR_FRAME_INCOMPLETE"
            assert await outcome(source.read_until(b"x")) == "ERR_FRAME_INCOMPLETE"
            await some_turns()

    run(main())


@pytest.mark.parametrize("late", [True, False])
def test_a_stream_that_fails_or_is_destroyed_says_so(late: bool) -> None:
    async def ending(error: Exception | None) -> Any:
        source = Source()
        source.on("error", lambda error: None)
        source.push(b"ab")
        if not late:
            source.destroy(error)
        waiting = asyncio.ensure_future(outcome(source.read_line()))
        await asyncio.sleep(0)
        if late:
            source.destroy(error)
        result = await waiting
        with pytest.raises(ConnectionError if error is None else type(error)):
            await source.read_line()
        return result

    async def main() -> None:
        problem = ValueError("broken")
        assert await ending(problem) is problem
        expected = "ERR_STREAM_PREMATURE_CLOSE" if late else "ERR_STREAM_DESTROYED"
        assert await ending(None) == expected

    run(main())


# ---- One at a time, and cancelling ---------------------------------------------------------------


def test_a_second_one_that_waits_is_refused() -> None:
    async def main() -> None:
        source = Source()
        first = asyncio.ensure_future(source.read_exactly(2))
        await asyncio.sleep(0)
        for second in (source.read_exactly(1), source.read_line(), source.read_until(b"x")):
            assert await outcome(second) == "ERR_ALREADY_READING"
        assert await outcome(anext(source.iterator())) == "ERR_ALREADY_READING"
        source.push(b"abc")
        assert await first == b"ab"
        assert await source.read_exactly(1) == b"c"
        following = asyncio.ensure_future(anext(source.iterator(False)))
        await asyncio.sleep(0)
        assert await outcome(source.read_line()) == "ERR_ALREADY_READING"
        source.push(b"d")
        assert await following == b"d"

    run(main())


@pytest.mark.parametrize("arrived", [True, False])
def test_cancelling_loses_no_byte(arrived: bool) -> None:
    async def main() -> None:
        source = Source()
        source.push(b"ab")
        waiting = asyncio.ensure_future(source.read_exactly(4))
        await asyncio.sleep(0)
        if arrived:
            source.push(b"cd")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not arrived:
            source.push(b"cd")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(source.read_exactly(5), 0.01)
        assert await source.read_exactly(4) == b"abcd"

    run(main())


def test_an_awaitable_serves_once() -> None:
    async def main() -> None:
        source = Source()
        source.push(b"a\n")
        read = source.read_line()
        assert await read == b"a"
        with pytest.raises(RuntimeError):
            await read
        waiting = source.read_line().__await__()
        waiting.send(None)
        waiting.close()
        source.push(b"b\n")
        assert await source.read_line() == b"b"

    run(main())


# ---- With others ---------------------------------------------------------------------------------


def test_listeners_get_nothing_while_one_waits_and_the_rest_afterwards() -> None:
    async def main() -> None:
        source = Source()
        got: list[bytes] = []
        source.on("data", got.append)
        await some_turns()
        waiting = asyncio.ensure_future(source.read_exactly(4))
        await asyncio.sleep(0)
        source.push(b"ab")
        source.push(b"cdef")
        assert got == []
        assert await waiting == b"abcd"
        await some_turns()
        assert got == [b"ef"]
        source.push(b"gh")
        assert got == [b"ef", b"gh"]

    run(main())


def test_they_mix_with_async_for_read_unshift_and_framings() -> None:
    async def main() -> None:
        source = Source()
        source.push(b"line\nrawrest")
        assert await source.read_line() == b"line"
        assert source.read(3) == b"raw"
        source.unshift(b"un")
        assert await source.read_exactly(4) == b"unre"
        source.unshift(b"x\n")
        assert await source.read_line() == b"x"
        async for chunk in source.iterator(False):
            assert chunk == b"st"
            break
        source.push(b"a\n\0\1b\nc")
        assert await source.read_line() == b"a"
        source.set_framing(framing.LengthPrefix(2))
        assert source.read() == b"b"
        source.set_framing(None)
        assert await source.read_line() == b""
        assert await source.read_exactly(1) == b"c"
        source.push("ä".encode()[:1])
        assert await source.read_exactly(1) == b"\xc3"
        source.push("é".encode())
        source.set_encoding("utf8")
        assert source.read() == "é"

    run(main())


@pytest.mark.parametrize("late", [True, False])
def test_they_are_for_raw_streams(late: bool) -> None:
    async def main() -> None:
        for change in (
            lambda source: source.set_framing(framing.Lines()),
            lambda source: source.set_encoding("utf8"),
        ):
            source = Source()
            if late:
                waiting = asyncio.ensure_future(outcome(source.read_line()))
                await asyncio.sleep(0)
                change(source)
                assert await waiting == "ERR_METHOD_NOT_APPLICABLE"
            else:
                change(source)
            for read in (
                lambda source=source: source.read_line(),
                lambda source=source: source.read_exactly(1),
                lambda source=source: source.read_until(b"x"),
            ):
                with pytest.raises(errors.StateError) as caught:
                    read()
                assert caught.value.code == "ERR_METHOD_NOT_APPLICABLE"

    run(main())


def test_a_task_that_waits_owns_the_socket() -> None:
    """The peer's end leaves our side open as long."""

    async def main() -> None:
        server = net.create_server()
        server.listen(0)
        socket_of = events.once(server, "connection")
        client = await net.promises.connect(server.address()["port"], "127.0.0.1")
        (socket,) = await socket_of

        async def answer() -> None:
            assert await socket.read_line() == b"question"
            socket.end(b"answer")

        answering = asyncio.ensure_future(answer())
        client.end(b"question")
        await answering
        assert await client.read_exactly(6) == b"answer"
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize(
    ("read", "kind", "code"),
    [
        (lambda source: source.read_exactly(-1), errors.RangeError, "ERR_OUT_OF_RANGE"),
        (lambda source: source.read_exactly("1"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (lambda source: source.read_until("\n"), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),
        (lambda source: source.read_until(b""), errors.ArgValueError, "ERR_INVALID_ARG_VALUE"),
        (lambda source: source.read_until(b"x", limit=0), errors.RangeError, "ERR_OUT_OF_RANGE"),
        (lambda source: source.read_line(limit=None), errors.ArgTypeError, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_a_wrong_argument(read: Any, kind: type, code: str) -> None:
    with pytest.raises(kind) as caught:
        read(Source())
    assert caught.value.code == code  # type: ignore[attr-defined]

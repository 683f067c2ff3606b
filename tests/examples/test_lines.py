"""examples/lines.py"""

from __future__ import annotations

import contextlib
import sys
import threading

import pytest


@pytest.fixture
def port(example):
    return example("lines", "--port", 0).port()


def test_each_line_has_its_answer(port, peer):
    one = peer(port)
    for line, answer in [
        (b"GET colour", b"NONE"),
        (b"SET colour dark green", b"OK"),
        (b"GET colour", b"VALUE dark green"),
        (b"DEL colour", b"OK"),
        (b"DEL colour", b"NONE"),
        (b"SET colour", b"ERROR expected SET key value, GET key or DEL key"),
        (b"", b"ERROR expected SET key value, GET key or DEL key"),
    ]:
        one.send(line + b"\n")
        assert one.line() == answer


def test_the_store_is_one_for_all(port, peer):
    one, other = peer(port), peer(port)
    one.send(b"SET a 1\n")
    assert one.line() == b"OK"
    other.send(b"GET a\n")
    assert other.line() == b"VALUE 1"


@pytest.mark.spec("N142")
def test_many_lines_in_one_chunk_and_one_line_in_many(port, peer):
    one, other = peer(port), peer(port)
    one.send(b"SET a 1\nSET b 2\nGET a\nGET b\nGE")
    assert [one.line() for _ in range(4)] == [b"OK", b"OK", b"VALUE 1", b"VALUE 2"]
    for piece in (b"T", b" ", b"a"):
        one.send(piece)
        other.settle(b"GET nothing\n", b"NONE\n")
    one.send(b"\n")
    assert one.line() == b"VALUE 1"


def test_a_last_line_without_end_is_a_line(port, peer):
    one = peer(port)
    one.send(b"SET a 1\nGET a")
    one.end()
    assert one.rest() == b"OK\nVALUE 1\n"


def test_lines_may_end_as_telnet_ends_them(port, peer):
    one = peer(port)
    one.send(b"SET a 1\r\nGET a\r\n")
    assert (one.line(), one.line()) == (b"OK", b"VALUE 1")


def test_a_line_that_is_too_long_is_skipped(port, peer):
    one = peer(port)
    one.send(b"x" * 65537 + b"\nGET a\n" + b"x" * 65536 + b"\n")
    assert [one.line() for _ in range(3)] == [
        b"ERROR line too long",
        b"NONE",
        b"ERROR expected SET key value, GET key or DEL key",
    ]


def test_a_line_that_never_ends_is_not_kept(example, peer):
    server = example("lines", "--port", 0)
    port = server.port()
    server.bound_memory()
    one = peer(port)
    one.send(b"x" * 1_000_000 * 100)
    one.send(b"\nGET a\n")
    assert (one.line(), one.line()) == (b"ERROR line too long", b"NONE")


def test_a_client_that_does_not_read_is_not_read_from_until_it_does(port, peer):
    one = peer(port)
    key = b"k" * 5000
    one.send(b"SET " + key + b" " + key + b"\n")
    assert one.line() == b"OK"
    request, answer = b"GET " + key + b"\n", b"VALUE " + key + b"\n"
    # Both ways the kernel takes so much, and then no more.
    sent = one.send_until_stuck(request)
    assert sent < 100_000_000

    def send_the_rest() -> None:
        one.send(request[sent % len(request) :])
        one.end()

    sender = threading.Thread(target=send_the_rest)
    sender.start()
    assert one.rest() == answer * (sent // len(request) + 1)
    sender.join()


def test_few_questions_for_a_long_value_do_not_take_all_memory(example, peer):
    server = example("lines", "--port", 0)
    port = server.port()
    server.bound_memory()
    one = peer(port)
    value = b"v" * 60_000
    one.send(b"SET k " + value + b"\n")
    assert one.line() == b"OK"
    count = 20_000  # 120 kB that ask for 1.2 GB

    def ask() -> None:
        with contextlib.suppress(OSError):
            one.send(b"GET k\n" * count)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(100):
        assert one.line() == b"VALUE " + value
    other = peer(port)
    other.send(b"GET nothing\n")
    assert other.line() == b"NONE"
    one.close()
    asking.join()


def test_the_store_has_a_limit(port, peer):
    one = peer(port)
    one.send(b"".join(b"SET %d x\n" % number for number in range(1001)))
    assert [one.line() for _ in range(1001)] == [b"OK"] * 1000 + [b"ERROR the store is full"]
    one.send(b"SET 0 y\nGET 0\nDEL 1\nSET new 1\n")
    assert [one.line() for _ in range(4)] == [b"OK", b"VALUE y", b"OK", b"OK"]


def test_answers_are_in_order_for_who_reads_late(port, peer):
    one = peer(port)
    count = 100_000

    def ask() -> None:
        for number in range(0, count, 1000):
            one.send(b"".join(b"SET a %d\nGET a\n" % n for n in range(number, number + 1000)))
        one.end()

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(count):
        assert (one.line(), one.line()) == (b"OK", b"VALUE %d" % number)
    assert one.rest() == b""
    asking.join()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_ends_cleanly(example, peer):
    server = example("lines", "--port", 0)
    one = peer(server.port())
    one.send(b"GET a\n")
    assert one.line() == b"NONE"
    server.stop()
    assert one.rest() == b""

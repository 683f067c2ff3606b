"""examples/chat.py, and the same room in coroutines, examples/chat_async.py"""

from __future__ import annotations

import socket
import struct
import sys
import threading

import pytest

COROUTINES = pytest.param(
    "chat_async",
    marks=pytest.mark.skipif(sys.platform == "win32", reason="asyncio has no signal handlers"),
)


@pytest.fixture(params=["chat", COROUTINES])
def program(request):
    return request.param


@pytest.fixture
def room(program, example):
    return example(program, "--port", 0)


@pytest.fixture
def join(room, peer):
    port = room.port()

    def join(name: str):
        one = peer(port)
        assert one.line() == b"What is your name?"
        one.send(name.encode() + b"\n")
        return one

    return join


@pytest.mark.spec("N141")
def test_what_one_says_all_others_hear(join):
    ann = join("ann")
    assert ann.line() == b"* here: ann"
    bob = join("bob")
    assert bob.line() == b"* here: ann, bob"
    assert ann.line() == b"* bob joined"
    cid = join("cid")
    assert cid.line() == b"* here: ann, bob, cid"
    assert [ann.line(), bob.line()] == [b"* cid joined"] * 2
    ann.send(b"hello all\n")
    assert [bob.line(), cid.line()] == [b"ann: hello all"] * 2
    # Not to the author: the next that ann hears is bob.
    bob.send(b"hello ann\n")
    assert ann.line() == b"bob: hello ann"


def test_names_on_request(join):
    ann, _ = join("ann"), join("bob")
    assert [ann.line(), ann.line()] == [b"* here: ann", b"* bob joined"]
    ann.send(b"/names\n")
    assert ann.line() == b"* here: ann, bob"


@pytest.mark.parametrize("name", ["ann", "", "two words", "x" * 21])
def test_a_name_that_will_not_do_is_asked_for_again(join, name):
    assert join("ann").line() == b"* here: ann"
    other = join(name)
    assert other.line().startswith(b"* taken, or not")
    other.send(b"bob\n")
    assert other.line() == b"* here: ann, bob"


@pytest.mark.spec("N141")
def test_who_quits_and_who_vanishes_has_left(join):
    ann = join("ann")
    bob, cid = join("bob"), join("cid")
    assert [ann.line() for _ in range(3)] == [b"* here: ann", b"* bob joined", b"* cid joined"]
    assert bob.line() == b"* here: ann, bob"
    assert bob.line() == b"* cid joined"
    bob.send(b"/quit\nnever said\n")
    assert bob.rest() == b"* goodbye\n"
    assert ann.line() == b"* bob left"
    cid.close()
    assert ann.line() == b"* cid left"
    ann.send(b"/names\n")
    assert ann.line() == b"* here: ann"


def test_who_never_said_a_name_leaves_unnoticed(join, room, peer):
    ann = join("ann")
    assert ann.line() == b"* here: ann"
    join("").close()
    ann.send(b"/names\n")
    assert ann.line() == b"* here: ann"


@pytest.mark.spec("N142")
def test_a_character_cut_in_two(join):
    ann, bob = join("ann"), join("bob")
    assert [ann.line(), ann.line()] == [b"* here: ann", b"* bob joined"]
    text = "Grüße\n".encode()
    ann.send(text[:3])
    assert bob.line() == b"* here: ann, bob"
    bob.settle(b"/names\n", b"* here: ann, bob\n")
    ann.send(text[3:])
    assert bob.line().decode() == "ann: Grüße"


def test_a_line_without_end_is_cut_off(join, program):
    ann, bob = join("ann"), join("bob")
    assert bob.line() == b"* here: ann, bob"
    ann.send(b"x" * 1001)
    # A framing destroys the socket.
    word = b"* that line is too long, goodbye\n" if program == "chat" else b"* bob joined\n"
    assert ann.rest().endswith(word)
    assert bob.line() == b"* ann left"


def test_who_does_not_read_is_thrown_out(join):
    ann, deaf = join("ann"), join("deaf")
    assert [ann.line(), ann.line()] == [b"* here: ann", b"* deaf joined"]
    # More than the kernel holds for deaf, and the million bytes more that the room does.
    sender = threading.Thread(target=ann.send, args=((b"x" * 999 + b"\n") * 30_000,))
    sender.start()
    assert ann.line() == b"* deaf left"
    sender.join()
    assert deaf.line() == b"* here: ann, deaf"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_guests_who_do_not_read_do_not_keep_the_room_open(room, peer):
    port = room.port()
    # For some of these a part of what is said to them waits, but not yet a million bytes.
    for number in range(1, 31):
        one = peer(port)
        one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.send(b"x y\n" * 3000 * number)
    last = peer(port)
    assert last.line() == b"What is your name?"
    last.settle(b"x y\n", b"* taken, or not 1 to 20 letters and digits. What is your name?\n")
    room.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_the_room_closes_with_a_word(join, room):
    ann = join("ann")
    assert ann.line() == b"* here: ann"
    room.stop()
    assert ann.rest() == b"* the room is closing\n"


def test_who_ends_its_side_has_left_and_hears_the_answers_first(join):
    ann, bob = join("ann"), join("bob")
    assert [ann.line(), ann.line()] == [b"* here: ann", b"* bob joined"]
    bob.send(b"/names\n/names\n")
    bob.end()
    assert bob.rest() == b"* here: ann, bob\n" * 3
    assert ann.line() == b"* bob left"


def test_who_resets_has_left(join):
    ann, bob = join("ann"), join("bob")
    assert [ann.line(), ann.line()] == [b"* here: ann", b"* bob joined"]
    bob.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    bob.close()
    assert ann.line() == b"* bob left"

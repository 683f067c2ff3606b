"""examples/guess_async.py"""

from __future__ import annotations

import socket
import struct
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="asyncio cannot drive the loop on Windows yet"
)


def start(example, *arguments):
    server = example("guess_async", "--port", 0, *arguments)
    return server, server.port()


def play(one, highest: int) -> int:
    """Win by halving; how many guesses it took."""
    low, high = 1, highest
    for guesses in range(1, 100):
        middle = (low + high) // 2
        one.send(b"%d\n" % middle)
        answer = one.line()
        if answer.startswith(b"right"):
            assert answer == b"right, after %d guesses" % guesses
            assert one.rest() == b""
            return guesses
        if answer == b"higher":
            low = middle + 1
        else:
            assert answer == b"lower"
            high = middle - 1
    raise AssertionError("no number is right")


def test_players_who_halve_win_in_time_side_by_side(example, peer):
    server, port = start(example, "--highest", 1000)
    peers = [peer(port) for _ in range(5)]
    for one in peers:
        assert one.line() == b"I am thinking of a number from 1 to 1000"
    for one in reversed(peers):
        assert play(one, 1000) <= 10
        server.until(f"{one.socket.getsockname()[1]} won after")


def test_a_guess_in_pieces_and_many_at_once(example, peer):
    _, port = start(example, "--highest", 1)
    one, other = peer(port), peer(port)
    assert one.line() == other.line() == b"I am thinking of a number from 1 to 1"
    one.send(b"2\nx\n0\nx\xc3")
    # The answers to whole lines come although the last is not whole.
    assert [one.line() for _ in range(3)] == [b"lower", b"that is not a number", b"higher"]
    other.send(b"1\n")
    assert other.rest() == b"right, after 1 guesses\n"
    one.send(b"\xa41\n1")
    assert one.line() == b"that is not a number"
    one.send(b"1\n1\n")
    assert one.rest() == b"lower\nright, after 6 guesses\n"


def test_who_leaves_has_given_up_and_who_resets_has_failed(example, peer):
    server, port = start(example)
    one, other = peer(port), peer(port)
    assert one.line() == other.line() == b"I am thinking of a number from 1 to 100"
    one.end()
    assert one.rest() == b""
    server.until(" left")
    other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    server.until("failed: read ECONNRESET")
    assert peer(port).line() == b"I am thinking of a number from 1 to 100"


def test_a_line_that_never_ends(example, peer):
    server, port = start(example)
    one = peer(port)
    one.send(b"1" * 1001)
    server.until("failed: a line is too long")
    assert one.line() == b"I am thinking of a number from 1 to 100"
    assert one.rest() == b""


def test_a_game_has_its_time(example, peer):
    server, port = start(example, "--seconds", 0.05)
    one = peer(port)
    assert one.rest() == b"I am thinking of a number from 1 to 100\n"
    server.until("took too long")


@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_it_ends_cleanly_with_players_playing(example, peer, how):
    server, port = start(example)
    peers = [peer(port) for _ in range(3)]
    for one in peers:
        one.line()
    getattr(server, how)()
    assert [one.rest() for one in peers] == [b""] * 3


def test_a_port_in_use_is_a_message_and_no_traceback(example, peer):
    _, port = start(example)
    code, _, err = example("guess_async", "--port", port).wait()
    assert (code, err) == (
        1,
        f"guess_async: listen EADDRINUSE: address already in use 127.0.0.1:{port}\n",
    )


def test_a_player_who_does_not_read_is_not_read_from(example, peer):
    _, port = start(example)
    one = peer(port)
    most = 40_000_000
    assert one.send_until_stuck(b"x\n" * 30_000, most) < most
    other = peer(port)
    assert other.line() == b"I am thinking of a number from 1 to 100"
    other.send(b"x\n")
    assert other.line() == b"that is not a number"
    # It may go on when it reads.
    assert one.line() == b"I am thinking of a number from 1 to 100"
    assert [one.line() for _ in range(100_000)] == [b"that is not a number"] * 100_000


def test_a_player_who_resets_while_the_game_waits_for_it(example, peer):
    server, port = start(example)
    one = peer(port)
    one.send_until_stuck(b"x\n" * 30_000, 40_000_000)
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
    server.until("failed: ")
    other = peer(port)
    assert other.line() == b"I am thinking of a number from 1 to 100"

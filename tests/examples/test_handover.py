"""examples/handover.py"""

from __future__ import annotations

import os
import socket
import struct
import sys

import pytest


def name(peer) -> int:
    return peer.socket.getsockname()[1]


def reset(peer) -> None:
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def descriptors(server) -> int | None:
    """How many descriptors it has open; None where that cannot be seen."""
    folder = f"/proc/{server.process.pid}/fd"
    return len(os.listdir(folder)) if os.path.isdir(folder) else None


@pytest.mark.spec("N155")
def test_what_came_before_the_hand_over_is_not_lost(example, peer):
    server = example("handover", "--port", 0, "--workers", 1)
    port = server.port()
    first = peer(port)
    assert server.line() == f"worker 1 takes port {name(first)}"
    second, third = peer(port), peer(port)
    assert server.line() == f"port {name(second)} waits, 1 in the queue"
    assert server.line() == f"port {name(third)} waits, 2 in the queue"
    # Everything, and the end, while it waits.
    second.send(b"one\ntwo\nthree\n")
    second.end()
    first.send(b"one\n")
    first.end()
    assert first.rest() == b"worker 1 counted 1 lines\n"
    assert server.line() == f"worker 1 takes port {name(second)}"
    assert second.rest() == b"worker 1 counted 3 lines\n"
    assert server.line() == f"worker 1 takes port {name(third)}"
    third.end()
    assert third.rest() == b"worker 1 counted 0 lines\n"


def test_a_waiting_peer_is_not_read_from(example, peer):
    server = example("handover", "--port", 0, "--workers", 1)
    port = server.port()
    first, second = peer(port), peer(port)
    server.until("waits")
    # The kernel takes so much, and then no more, as long as nobody reads.
    sent = second.send_until_stuck(b"\n" * 65536)
    assert sent < 100_000_000
    first.end()
    assert first.rest() == b"worker 1 counted 0 lines\n"
    second.end()
    assert second.rest() == b"worker 1 counted %d lines\n" % sent


def test_workers_serve_side_by_side(example, peer):
    server = example("handover", "--port", 0, "--workers", 2)
    port = server.port()
    first, second = peer(port), peer(port)
    assert server.line() == f"worker 1 takes port {name(first)}"
    assert server.line() == f"worker 2 takes port {name(second)}"
    for number, one in ((2, second), (1, first)):
        one.send(b"a\nb\n")
        one.end()
        assert one.rest() == b"worker %d counted 2 lines\n" % number


def test_who_gave_up_waiting_does_not_hold_the_others_up(example, peer):
    server = example("handover", "--port", 0, "--workers", 1)
    port = server.port()
    first, gone, last = peer(port), peer(port), peer(port)
    server.until("2 in the queue")
    gone.close()
    last.end()
    first.end()
    assert last.rest() == b"worker 1 counted 0 lines\n"


def test_idle_peers_do_not_keep_the_workers(example, peer):
    server = example("handover", "--port", 0, "--workers", 2, "--idle", 300)
    port = server.port()
    idle = [peer(port), peer(port)]
    server.until("worker 2 takes")
    good = peer(port)
    good.send(b"one\n")
    good.end()
    assert good.rest().endswith(b"counted 1 lines\n")
    assert [one.rest() for one in idle] == [b"", b""]


def test_a_peer_that_reset_while_it_waits_is_forgotten(example, peer):
    server = example("handover", "--port", 0, "--workers", 1, "--idle", 60_000, "--patience", 300)
    port = server.port()
    busy = peer(port)
    server.until("worker 1 takes")
    gone = [peer(port) for _ in range(20)]
    server.until("20 in the queue")
    open_before = descriptors(server)
    for one in gone:
        reset(one)
    for _ in gone:
        server.until(r"port \d+ has waited too long")
    # A descriptor is closed in the turn that says so.
    last = peer(port)
    server.until("waits, 1 in the queue")
    if open_before is not None:
        assert descriptors(server) == open_before - 20 + 1
    busy.end()
    assert busy.rest() == b"worker 1 counted 0 lines\n"
    last.end()
    assert last.rest() == b"worker 1 counted 0 lines\n"


def test_more_peers_than_may_wait_are_refused(example, peer):
    server = example("handover", "--port", 0, "--workers", 1, "--most", 3)
    port = server.port()
    served = [peer(port) for _ in range(3)]
    server.until("2 in the queue")
    refused = peer(port)
    assert refused.rest() == b""
    for one in served:
        one.end()
        assert one.rest() == b"worker 1 counted 0 lines\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_ends_cleanly(example, peer):
    server = example("handover", "--port", 0, "--workers", 1)
    port = server.port()
    peers = [peer(port) for _ in range(3)]
    server.until("2 in the queue")
    server.stop()
    assert [one.rest() for one in peers] == [b""] * 3

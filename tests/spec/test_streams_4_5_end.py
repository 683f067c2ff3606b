"""streams.md 4.5: end() and 'finish' on sockets; user streams are in core/test_writable.py."""

from __future__ import annotations

import os
import socket as posix
import sys

import pytest

import pyuvnet
from pyuvnet import run

BIG = b"z" * 9_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="finds descriptors in /proc")


@pytest.mark.spec("S4.5-01", "S4.5-02", "S4.5-03", "N063")
def test_the_fin_follows_all_data(accept_raw, descriptor_of, note, trace) -> None:
    def accepted(socket, peer) -> None:
        socket.write(BIG, note("write"))
        socket.end("last", "latin1", note("end 1"))
        socket.end(note("end 2"))
        socket.on("finish", trace.note("finish"))
        peer.setblocking(False)
        pyuvnet.set_immediate(read, socket, peer)

    def read(socket, peer) -> None:
        try:
            while chunk := peer.recv(1 << 20):
                got.extend(chunk)
        except BlockingIOError:
            pyuvnet.set_immediate(read, socket, peer)
        else:
            assert got == BIG + b"last"
            trace("FIN")
            socket.destroy()

    got = bytearray()
    accept_raw(accepted)
    trace.remove("FIN")
    assert trace == [("write", None), ("end 1", None), ("end 2", None), "finish"]


@pytest.mark.spec("S4.5-06")
def test_a_shutdown_of_what_is_not_connected_any_more_is_a_success(
    accept_raw, watch, note, trace
) -> None:
    def accepted(socket, peer) -> None:
        watch(socket, "", "finish", "error", "close")
        peer.setsockopt(posix.SOL_SOCKET, posix.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        # Nobody reads, so that only the shutdown meets the reset.
        socket.end(note("end"))
        socket.on("finish", lambda: pyuvnet.set_immediate(socket.destroy))

    accept_raw(accepted, pause_on_connect=True)
    assert trace == [("end", None), "finish", ("close", False)]


@linux
@pytest.mark.spec("S4.5-07")
def test_a_shutdown_that_fails_destroys(accept_raw, descriptor_of, watch, note, trace) -> None:
    def accepted(socket, peer) -> None:
        watch(socket, "", "finish", "close")
        socket.on("error", lambda error: trace("error", error.code, error.syscall))
        # A pipe of the system takes the descriptor's place; it knows no shutdown().
        read_end, write_end = os.pipe()
        os.dup2(write_end, descriptor_of(socket))
        os.close(read_end)
        os.close(write_end)
        socket.end(note("end"))

    accept_raw(accepted, pause_on_connect=True)
    assert trace == [("end", "ENOTSOCK"), ("error", "ENOTSOCK", "shutdown"), ("close", True)]


@pytest.mark.spec("S4.5-08")
def test_prefinish_is_kept_to_the_library(connect, trace) -> None:
    client = connect(lambda peer: peer.resume())
    for event in ("prefinish", "finish"):
        client.on(event, trace.note(event))
    client.resume().end(b"x")
    run()
    assert trace == ["finish"]

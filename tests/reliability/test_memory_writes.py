"""Writes for which memory runs out at the n-th allocation: sent whole, or failed with an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

CONNECTING = """
    import _testcapi, gc, sys
    import pyuvnet
    from pyuvnet import net

    gc.disable()
    spare = [[] for _ in range(200)]

    def trial(n):
        got, heard, raised = bytearray(), [], []

        def accepted(socket):
            socket.on("error", lambda error: None)
            socket.on("data", got.extend)

        def listening():
            client = net.connect(server.address().port, "127.0.0.1")
            client.on("error", lambda error: heard.append(error))
            client.on("close", lambda _: server.close())
            _testcapi.set_nomemory(n, n + 1)
            try:
                client.write(b"first")
            except MemoryError:
                raised.append(True)
            finally:
                _testcapi.remove_mem_hooks()
            client.write(b"second")
            client.end()

        server = net.create_server(accepted).listen(0, "127.0.0.1", listening)
        pyuvnet.run()
        whole = b"second" if raised else b"firstsecond"
        assert heard or got == whole, (n, bytes(got), raised)

    for n in range(14):
        trial(n)
"""

# The peer is a plain socket, which reads between the turns: only the write allocates in one.
PARTLY = """
    import _testcapi, gc, socket
    import pyuvnet
    from pyuvnet import net

    gc.disable()
    spare = [[] for _ in range(200)]
    loop = pyuvnet.current_loop()
    chunks = [bytes([number]) * 1000 for number in range(60)]

    def trial(turn, n):
        ours, theirs = socket.socketpair()
        for end, option in ((ours, socket.SO_SNDBUF), (theirs, socket.SO_RCVBUF)):
            end.setsockopt(socket.SOL_SOCKET, option, 4096)
        theirs.settimeout(10)  # so that a lost write fails the test
        sock = net.Socket(fd=ours.detach(), high_water_mark=1 << 20)
        heard, got = [], bytearray()
        sock.on("error", heard.append)

        def write():
            for chunk in chunks:
                sock.write(chunk)
            if turn == 0:
                _testcapi.set_nomemory(n, n + 1)

        # Collected chunks leave in the turn of the callback that wrote them.
        pyuvnet.set_immediate(write)
        loop.turn()
        _testcapi.remove_mem_hooks()
        assert heard or 0 < sock.writable_length < 60_000, (turn, n)
        turns = 1
        while sock.writable_length:
            got += theirs.recv(65536)
            if turns == turn:
                _testcapi.set_nomemory(n, n + 1)
            loop.turn()
            _testcapi.remove_mem_hooks()
            turns += 1
        if not heard:
            sock.resume().end()
            theirs.shutdown(socket.SHUT_WR)
        pyuvnet.run()
        while part := theirs.recv(65536):
            got += part
        theirs.close()
        assert heard or got == b"".join(chunks), (turn, n, len(got))
        assert sock.destroyed
        return bool(heard)

    # Turn 0 sends what the kernel takes at once; turn 1 ends the chunk it took a part of, and hands
    # over those behind it. Each sweep begins within that work and ends after it.
    for turn in range(2):
        failed = [trial(turn, n) for n in range(14)]
        assert failed[0] and not failed[-1], (turn, failed)
"""


@pytest.mark.parametrize("code", [CONNECTING, PARTLY], ids=["connecting", "partly"])
def test_a_write_without_memory_is_sent_or_fails(run_child: Callable[..., Any], code: str) -> None:
    run_child(code, timeout=25).clean()

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

PARTLY = """
    import _testcapi, gc, socket
    import pyuvnet
    from pyuvnet import net

    gc.disable()
    spare = [[] for _ in range(200)]
    pyuvnet.set_exception_handler(lambda error: None)

    def trial(n):
        ours, theirs = socket.socketpair()
        for end, option in ((ours, socket.SO_SNDBUF), (theirs, socket.SO_RCVBUF)):
            end.setsockopt(socket.SOL_SOCKET, option, 4096)
        theirs.setblocking(False)
        sock = net.Socket(fd=ours.detach(), high_water_mark=1 << 20)
        heard, got = [], bytearray()
        sock.on("error", heard.append)
        chunks = [bytes([number]) * 1000 for number in range(60)]

        def write():
            for chunk in chunks:
                sock.write(chunk)
            _testcapi.set_nomemory(n, n + 1)
        def after():
            _testcapi.remove_mem_hooks()
            sock.end()

        pyuvnet.set_timeout(write, 1)
        reader = net.Socket(fd=theirs.detach())
        reader.on("error", lambda error: None)
        pyuvnet.set_timeout(after, 5)
        pyuvnet.set_timeout(lambda: reader.on("data", got.extend), 10)
        reader.pause()
        pyuvnet.run()
        assert heard or got == b"".join(chunks), (n, len(got), heard)
        assert sock.destroyed

    for n in range(6):
        trial(n)
"""


@pytest.mark.parametrize("code", [CONNECTING, PARTLY], ids=["connecting", "partly"])
def test_a_write_without_memory_is_sent_or_fails(run_child: Callable[..., Any], code: str) -> None:
    run_child(code, timeout=25).clean()

"""Messages between the primary and its workers, and the handles that go with them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.support.clusters import slow

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")


@pytest.mark.slow
@pytest.mark.spec("N190")
def test_advanced_serialization_is_pickle(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            cluster.setup_primary(serialization="advanced")
            cluster.on("message", lambda worker, message, handle: say(message))
            worker = cluster.fork()
            worker.send({(1, 2): {3}, "bytes": b"x"})
        else:
            def heard(message, handle):
                cluster.worker.send([type(message).__name__, message])
                cluster.worker.disconnect()

            cluster.worker.on("message", heard)
        run()
        """
    ).end()
    assert ended == ["['dict', {(1, 2): {3}, 'bytes': b'x'}]"]


@pytest.mark.spec("N191")
def test_handles_go_with_their_messages(program: Any) -> None:
    """Many, both ways, and messages without one between them."""
    ended = program(
        """
        if cluster.is_primary:
            left = 20
            worker = cluster.fork()
            got = []

            def connected(socket):
                global left
                left -= 1
                worker.send({"number": left}, socket)
                worker.send("between")
                if not left:
                    server.close()

            server = net.create_server(connected, pause_on_connect=True)
            answers = []

            def listening():
                for _ in range(20):
                    client = net.connect(server.address().port, "127.0.0.1")
                    client.on("data", lambda data: answers.append(int(data)))
                    client.on("close", lambda had_error: closed.append(1) or over())

            closed = []

            def over():
                if len(closed) == 20:
                    say(sorted(answers) == list(range(20)))
                    worker.disconnect()

            def back(message, handle):
                handle.end(str(message))

            worker.on("message", back)
            worker.on("online", lambda: server.listen(0, "127.0.0.1"))
            server.on("listening", listening)
        else:
            def heard(message, handle):
                if message == "between":
                    assert handle is None
                elif message["number"] % 2:
                    handle.end(str(message["number"]))
                else:
                    # Back where it came from.
                    cluster.worker.send(message["number"], handle)

            cluster.worker.on("message", heard)
        run()
        """
    ).end()
    assert ended == ["True"]


@pytest.mark.parametrize(
    "hostile",
    [
        "b'GET / HTTP/1.0\\r\\n\\r\\n' * 10",
        slow("b'\\xff' * 100"),
        slow("header(4, 0, 0) + b'nope'"),
        slow("header(2, 0, 0) + b'[]'"),
        slow("header(3, 7, 0) + b'abc'"),
        slow("header(9, 2, 0) + pickle.dumps(1)[:9].ljust(9)"),
        slow("header(1, 1, 0) + b'{'"),
        slow("header(200000, 1, 0) + b'[' * 200000"),
        slow("message(act='query')"),
        slow("message(act='query', port='x', seq=1)"),
        slow("message(act='query', port=99999, seq=1)"),
        slow("message(act='query', port=0, fd=2**70, seq=1)"),
        "message(act='query', port=-1, address='x', mode=2**40, seq=1)",
        slow("message(act='query', port=-1, address='x', group=2**70, seq=1)"),
        slow("message(act='query', port=-1, address='x', mode=0, readable_all=True, seq=1)"),
        slow("message(act='query', port=-1, address='', seq=1)"),
        slow("message(act='query', port=-1, address='\\ud800', seq=1)"),
        slow("message(act='query', port=0, seq=[])"),
        slow("message(act='query', port=0, seq=1) * 2"),
    ],
)
def test_a_worker_that_sends_nonsense_loses_its_channel_only(program: Any, hostile: str) -> None:
    ended = program(
        f"""
        import json, logging, pickle, struct
        logging.getLogger("pyuvnet").addHandler(logging.NullHandler())

        def header(length, kind, handles):
            return struct.pack("!IBBQ", length, kind, handles, 0)

        def message(**items):
            text = json.dumps(items).encode()
            return header(len(text), 0, 0) + text

        if cluster.is_primary:
            worker = cluster.fork()
            worker.on("disconnect", lambda: say("disconnect"))
            worker.on("exit", lambda code, signal: say("exit", code, signal))
        else:
            cluster.worker._channel._socket.write({hostile})
        run()
        """,
        dev=False,
    ).end()
    assert ended == ["disconnect", "exit 0 None"]


@pytest.mark.parametrize(
    "harmless",
    [
        "message(act='nothing')",
        slow("message(act='close', key='none')"),
        slow("message(act='accepted', key='none', number=5, accepted=True)"),
        slow("message(act='reply', seq={})"),
    ],
)
def test_messages_that_mean_nothing_do_nothing(program: Any, harmless: str) -> None:
    ended = program(
        f"""
        import json, struct

        def message(**items):
            text = json.dumps(items).encode()
            return struct.pack("!IBBQ", len(text), 0, 0, 0) + text

        if cluster.is_primary:
            worker = cluster.fork()
            worker.on("message", lambda message, handle: (say(message), worker.disconnect()))
        else:
            cluster.worker._channel._socket.write({harmless})
            cluster.worker.send("still here")
        run()
        """
    ).end()
    assert ended == ["still here"]


@pytest.mark.slow
def test_descriptors_that_belong_to_no_message_are_closed(program: Any) -> None:
    ended = program(
        """
        import logging, socket
        logging.getLogger("pyuvnet").addHandler(logging.NullHandler())

        if cluster.is_primary:
            worker = cluster.fork()
            count = lambda: len(os.listdir("/dev/fd"))
            before = []
            cluster.on("fork", lambda worker: before.append(count()))
            worker.on("exit", lambda code, signal: say(count() <= before[0]))
        else:
            channel = cluster.worker._channel._socket.fileno()
            with socket.socket(fileno=os.dup(channel)) as raw:
                try:
                    for _ in range(100):
                        # As the first bytes of frames that never end.
                        socket.send_fds(raw, [b"\\0"] , [2] * 10)
                except OSError:
                    # The primary has closed the channel already.
                    pass
        run()
        """
    ).end()
    assert ended == ["True"]


@pytest.mark.slow
def test_keep_open_leaves_a_socket_with_both(program: Any) -> None:
    ended = program(
        """
        if cluster.is_primary:
            worker = cluster.fork()

            def connected(socket):
                worker.send("yours too", socket, {"keepOpen": True})
                worker.on("message", lambda message, handle: socket.end(b" and here"))
                socket.resume()

            server = net.create_server(connected, pause_on_connect=True)
            said = bytearray()

            def listening():
                client = net.connect(server.address().port, "127.0.0.1")
                client.on("data", said.extend)
                client.on("close", over)

            def over(had_error):
                say(said.decode())
                server.close()
                worker.disconnect()

            worker.on("online", lambda: server.listen(0, "127.0.0.1"))
            server.on("listening", listening)
        else:
            def heard(message, socket):
                socket.write(b"there", lambda error: (socket.destroy(), told()))

            def told():
                cluster.worker.send("written")

            cluster.worker.on("message", heard)
        run()
        """
    ).end()
    assert ended == ["there and here"]

"""What keeps the loop alive: servers, sockets, ref() and unref() (ordering 2)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")


SERVER = """
    import pyuvnet
    from pyuvnet import net
    def say(*words):
        print(*words, flush=True)
    server = net.create_server()
    server.listen(0)
    port = server.address()["port"]
"""

PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "an unref'd server": ("server.unref(); pyuvnet.run(); say('over')", ["over"]),
    "unref before listen": (
        (
            "server.close(); other = net.create_server().unref().listen(0); pyuvnet.run();"
            " say(other.listening)"
        ),
        ["True"],
    ),
    "ref again": (
        (
            "server.unref().ref(); pyuvnet.set_timeout(lambda: (say('alive'), server.close()), 30)"
            ".unref(); pyuvnet.run()"
        ),
        ["alive"],
    ),
    "a socket that never connected, with a timeout": (
        "server.close(); c = net.Socket(); c.set_timeout(60000, say); pyuvnet.run(); say('over')",
        ["over"],
    ),
    "a paused connection that writes nothing": (
        (
            "server.unref(); c = net.create_connection(port, '127.0.0.1'); c.pause()\n"
            "    server.on('connection', lambda s: s.unref())\n"
            "    c.on('ready', lambda: say('ready')); pyuvnet.run(); say('over', c.ready_state)"
        ),
        ["ready", "over open"],
    ),
    "paused inside 'connect'": (
        (
            "server.unref(); c = net.create_connection(port, '127.0.0.1')\n"
            "    server.on('connection', lambda s: s.unref())\n"
            "    c.on('connect', c.pause); pyuvnet.run(); say('over', c.ready_state)"
        ),
        ["over open"],
    ),
    "pause_on_connect": (
        (
            "server.unref(); server.pause_on_connect = True\n"
            "    c = net.create_connection(port, '127.0.0.1'); c.unref()\n"
            "    server.on('connection', lambda s: say('accepted'))\n"
            "    c.on('ready', lambda: pyuvnet.set_timeout(say, 30, 'timer')); pyuvnet.run();"
            " say('over')"
        ),
        ["accepted", "timer", "over"],
    ),
    "an unref'd reading connection": (
        (
            "server.unref(); c = net.create_connection(port, '127.0.0.1'); c.unref()\n"
            "    server.on('connection', lambda s: s.unref())\n"
            "    c.on('ready', lambda: say('ready')); pyuvnet.run(); say('over', c.ready_state)"
        ),
        ["ready", "over open"],
    ),
    "unref before connect applies at 'connect'": (
        (
            "server.unref(); c = net.Socket(); c.unref(); c.connect(port, '127.0.0.1')\n"
            "    server.on('connection', lambda s: s.unref())\n"
            "    c.on('ready', lambda: say('ready')); pyuvnet.run(); say('over')"
        ),
        ["ready", "over"],
    ),
    "a ref'd reading connection keeps it alive": (
        (
            "server.unref(); c = net.create_connection(port, '127.0.0.1')\n"
            "    server.on('connection', lambda s: s.unref())\n"
            "    c.on('ready', lambda: pyuvnet.set_timeout(lambda: (say('alive'), c.destroy()), 30)"
            ".unref())\n"
            "    pyuvnet.run(); say('over')"
        ),
        ["alive", "over"],
    ),
    "a write in flight on an unref'd socket": (
        (
            "server.unref(); server.pause_on_connect = True\n"
            "    c = net.create_connection(port, '127.0.0.1')\n"
            "    def accepted(s):\n"
            "        s.unref(); pyuvnet.set_timeout(s.resume, 30).unref()\n"
            "    server.on('connection', accepted)\n"
            "    c.on('ready', c.unref)\n"
            "    c.on('ready', lambda: c.write(b'x' * 9000000, lambda e: say('written', e)))\n"
            "    pyuvnet.run(); say('over')"
        ),
        ["written None", "over"],
    ),
    "a half-open socket after EOF": (
        (
            "server.allow_half_open = True; server.unref()\n"
            "    c = net.create_connection(port, '127.0.0.1'); c.unref()\n"
            "    def accepted(s):\n"
            "        global kept; kept = s; s.resume(); s.on('end', lambda: say('end'))\n"
            "    server.on('connection', accepted)\n"
            "    c.on('ready', c.end); pyuvnet.run(); say('over', kept.ready_state)"
        ),
        ["end", "over writeOnly"],
    ),
    "a connection keeps an unref'd server's program alive": (
        (
            "server.unref(); c = net.create_connection(port, '127.0.0.1'); c.unref()\n"
            "    server.on('connection', lambda s: pyuvnet.set_timeout("
            "lambda: (say('alive'), s.destroy()), 30).unref())\n"
            "    pyuvnet.run(); say('over')"
        ),
        ["alive", "over"],
    ),
    "a lookup": (
        (
            "server.close(); c = net.Socket().on('error', lambda e: say('failed'))\n"
            "    c.connect(port, 'localhost'); pyuvnet.run(); say('over')"
        ),
        ["failed", "over"],
    ),
}


@pytest.mark.spec("N034", "N035", "N069", "N080", "N111", "N138", "N182")
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_keeps_the_loop_alive(name: str, run_child: Any) -> None:
    program, expected = PROGRAMS[name]
    child = run_child(SERVER + "    " + program).clean()
    assert child.lines == expected

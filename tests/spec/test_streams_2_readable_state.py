"""streams.md 2 and 4.1: the properties of a socket in each of its states, against Node's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net, run

READABLE = [
    "readable",
    "readable_flowing",
    "readable_length",
    "readable_high_water_mark",
    "readable_encoding",
    "readable_ended",
    "readable_did_read",
    "readable_aborted",
    "readable_object_mode",
]
WRITABLE = [
    "writable",
    "writable_length",
    "writable_high_water_mark",
    "writable_need_drain",
    "writable_ended",
    "writable_finished",
    "writable_corked",
    "writable_object_mode",
]
WHOLE = ["destroyed", "closed", "errored", "ready_state", "pending", "connecting"]
PROPERTIES = READABLE + WRITABLE + WHOLE

# What the properties are when nothing says otherwise: those of a new socket.
FRESH: dict[str, Any] = {
    "readable": True,
    "readable_flowing": None,
    "readable_length": 0,
    "readable_high_water_mark": 1000,
    "readable_encoding": None,
    "readable_ended": False,
    "readable_did_read": False,
    "readable_aborted": False,
    "readable_object_mode": False,
    "writable": True,
    "writable_length": 0,
    "writable_high_water_mark": 1000,
    "writable_need_drain": False,
    "writable_ended": False,
    "writable_finished": False,
    "writable_corked": 0,
    "writable_object_mode": False,
    "destroyed": False,
    "closed": False,
    "errored": None,
    "ready_state": "open",
    "pending": True,
    "connecting": False,
}
CONNECTED = {"pending": False}
# Text in utf8 flows; "hé" was written and echoed.
TALKED = CONNECTED | {
    "readable_flowing": True,
    "readable_encoding": "utf8",
    "readable_did_read": True,
}
TABLE: dict[str, dict[str, Any]] = {
    "new": {},
    "connecting": {"connecting": True, "ready_state": "opening"},
    "connecting, written": {
        "connecting": True,
        "ready_state": "opening",
        "writable_length": 3,
    },
    "connect": CONNECTED,
    "corked": CONNECTED | {"writable_corked": 2, "writable_length": 1},
    "paused, 3 bytes buffered": CONNECTED | {"readable_flowing": False, "readable_length": 3},
    "paused, as text": CONNECTED
    | {"readable_flowing": False, "readable_length": 2, "readable_encoding": "utf8"},
    "flowing": TALKED,
    "ended": TALKED | {"writable": False, "writable_ended": True, "ready_state": "readOnly"},
    "finish": TALKED
    | {
        "writable": False,
        "writable_ended": True,
        "writable_finished": True,
        "ready_state": "readOnly",
    },
    "end": TALKED
    | {
        "writable": False,
        "writable_ended": True,
        "writable_finished": True,
        "readable": False,
        "readable_ended": True,
        "ready_state": "closed",
    },
    "close": TALKED
    | {
        "pending": True,
        "writable": False,
        "writable_ended": True,
        "writable_finished": True,
        "readable": False,
        "readable_ended": True,
        "ready_state": "closed",
        "destroyed": True,
        "closed": True,
    },
    "peer: end, half open": CONNECTED
    | {
        "readable": False,
        "readable_flowing": True,
        "readable_did_read": True,
        "readable_ended": True,
        "ready_state": "writeOnly",
    },
    "full": CONNECTED
    | {
        "readable_flowing": None,
        "writable_length": 9_000_000,
        "writable_need_drain": True,
    },
    "full, destroyed": {
        "writable_length": 9_000_000,
        "readable": False,
        "readable_aborted": True,
        "writable": False,
        "destroyed": True,
        "closed": True,
        "errored": "E1",
        "ready_state": "closed",
    },
    "full, closed": {
        "readable": False,
        "readable_aborted": True,
        "writable": False,
        "destroyed": True,
        "closed": True,
        "errored": "E1",
        "ready_state": "closed",
    },
    "new, destroyed": {
        "readable": False,
        "readable_aborted": True,
        "writable": False,
        "destroyed": True,
        "closed": True,
        "ready_state": "closed",
    },
}


def observed() -> dict[str, dict[str, Any]]:
    """Play the program of PROGRAM here; the properties at each of its places."""
    seen: dict[str, dict[str, Any]] = {}

    def look(place: str, socket: net.Socket) -> None:
        seen[place] = {name: getattr(socket, name) for name in PROPERTIES}
        if seen[place]["errored"] is not None:
            seen[place]["errored"] = str(seen[place]["errored"])

    def connection(peer: net.Socket) -> None:
        peer.on("data", lambda chunk: peer.write(chunk))
        peer.on("end", lambda: (look("peer: end, half open", peer), peer.end()))

    def silent_connection(peer: net.Socket) -> None:
        peers.append(peer)
        peer.on("error", lambda error: None)

    peers: list[net.Socket] = []
    server = net.create_server({"allowHalfOpen": True, "highWaterMark": 1000}, connection)
    server.listen(0, "127.0.0.1")
    silent = net.create_server({"pauseOnConnect": True}, silent_connection)
    silent.listen(0, "127.0.0.1")

    def start() -> None:
        c = net.Socket({"highWaterMark": 1000})
        look("new", c)
        c.connect(server.address()["port"], "127.0.0.1")
        look("connecting", c)

        def connected() -> None:
            look("connect", c)
            c.cork()
            c.cork()
            c.write("x")
            look("corked", c)
            c.uncork()
            c.uncork()
            c.once("data", echoed)

        def echoed(chunk: Any) -> None:
            c.pause()
            c.write("hé")
            buffered()

        def buffered() -> None:
            if c.readable_length < 3:
                pyuvnet.set_immediate(buffered)
                return
            look("paused, 3 bytes buffered", c)
            c.set_encoding("utf8")
            look("paused, as text", c)
            # What was delivered before is of no interest to the table.
            for place in ("paused, 3 bytes buffered", "paused, as text"):
                seen[place]["readable_did_read"] = False
            c.once("data", flowing)
            c.resume()

        def flowing(chunk: Any) -> None:
            look("flowing", c)
            c.end()
            look("ended", c)
            c.on("finish", lambda: look("finish", c))
            c.on("end", lambda: look("end", c))
            c.on("close", lambda had_error: (look("close", c), server.close()))

        c.on("connect", connected)

        w = net.connect(server.address()["port"], "127.0.0.1")
        w.destroy()
        w = net.Socket({"highWaterMark": 1000})
        w.connect(silent.address()["port"], "127.0.0.1")
        w.write("abc")
        look("connecting, written", w)
        w.on("error", lambda error: None)
        w.on("ready", lambda: pyuvnet.set_immediate(fill))

        def fill() -> None:
            w.write(b"z" * 9_000_000)
            look("full", w)
            w.destroy(ValueError("E1"))
            look("full, destroyed", w)
            w.on("close", lambda had_error: (look("full, closed", w), closed()))

        def closed() -> None:
            for peer in peers:
                peer.destroy()
            silent.close()

        n = net.Socket({"highWaterMark": 1000})
        n.destroy()
        look("new, destroyed", n)

    silent.on("listening", start)
    run()
    return seen


@pytest.fixture(scope="module")
def seen_once() -> dict[str, dict[str, Any]]:
    return {}


@pytest.fixture
def seen(seen_once: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The program is played once for all places."""
    if not seen_once:
        seen_once.update(observed())
    return seen_once


@pytest.mark.spec("S2-12", "S4.1-12", "N180")
@pytest.mark.parametrize("place", TABLE)
def test_state_table(seen: dict[str, dict[str, Any]], place: str) -> None:
    assert seen[place] == FRESH | TABLE[place]


NODE = os.environ.get("PYUVNET_NODE") or shutil.which("node")


@pytest.mark.spec("S2-12", "S4.1-12", "N180")
@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_state_table_is_nodes(seen: dict[str, dict[str, Any]]) -> None:
    assert NODE is not None
    child = subprocess.run(
        [NODE, "-e", PROGRAM, json.dumps([node_name(name) for name in PROPERTIES])],
        capture_output=True,
        text=True,
        timeout=25,
    )
    assert (child.returncode, child.stderr) == (0, "")
    theirs = json.loads(child.stdout)
    assert theirs.keys() == TABLE.keys()
    for place, properties in theirs.items():
        ours = {node_name(name): value for name, value in seen[place].items()}
        assert ours == properties, place


def node_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


PROGRAM = """
const net = require('net');
const properties = JSON.parse(process.argv[1]);
const seen = {};
function look(place, socket) {
  seen[place] = {};
  for (const name of properties) seen[place][name] = socket[name];
  seen[place].errored = socket.errored ? socket.errored.message : null;
}
const peers = [];
const server = net.createServer({ allowHalfOpen: true, highWaterMark: 1000 }, (peer) => {
  peer.on('data', (chunk) => peer.write(chunk));
  peer.on('end', () => { look('peer: end, half open', peer); peer.end(); });
});
const silent = net.createServer({ pauseOnConnect: true }, (peer) => {
  peers.push(peer);
  peer.on('error', () => {});
});
function start() {
  const c = new net.Socket({ highWaterMark: 1000 });
  look('new', c);
  c.connect(server.address().port, '127.0.0.1');
  look('connecting', c);
  c.on('connect', () => {
    look('connect', c);
    c.cork();
    c.cork();
    c.write('x');
    look('corked', c);
    c.uncork();
    c.uncork();
    c.once('data', () => {
      c.pause();
      c.write('h\\u00e9');
      buffered();
    });
  });
  function buffered() {
    if (c.readableLength < 3) return setImmediate(buffered);
    look('paused, 3 bytes buffered', c);
    c.setEncoding('utf8');
    look('paused, as text', c);
    seen['paused, 3 bytes buffered'].readableDidRead = false;
    seen['paused, as text'].readableDidRead = false;
    c.once('data', () => {
      look('flowing', c);
      c.end();
      look('ended', c);
      c.on('finish', () => look('finish', c));
      c.on('end', () => look('end', c));
      c.on('close', () => { look('close', c); server.close(); });
    });
    c.resume();
  }
  net.connect(server.address().port, '127.0.0.1').destroy();
  const w = new net.Socket({ highWaterMark: 1000 });
  w.connect(silent.address().port, '127.0.0.1');
  w.write('abc');
  look('connecting, written', w);
  w.on('error', () => {});
  w.on('ready', () => setImmediate(() => {
    w.write(Buffer.alloc(9000000, 'z'));
    look('full', w);
    w.destroy(new Error('E1'));
    look('full, destroyed', w);
    w.on('close', () => {
      look('full, closed', w);
      for (const peer of peers) peer.destroy();
      silent.close();
    });
  }));
  const n = new net.Socket({ highWaterMark: 1000 });
  n.destroy();
  look('new, destroyed', n);
}
server.listen(0, '127.0.0.1', () => silent.listen(0, '127.0.0.1', start));
process.on('exit', () => console.log(JSON.stringify(seen)));
"""


@pytest.mark.spec("S2-01", "S4.1-01", "N120")
def test_a_disabled_side_of_a_socket() -> None:
    socket = net.Socket(readable=False)
    assert (socket.readable, socket.writable) == (False, True)
    socket = net.Socket(writable=False)
    assert (socket.readable, socket.writable) == (True, False)


@pytest.mark.spec("S2-05", "S2-06", "R6-01")
def test_read_of_a_size_moves_the_mark_of_a_socket() -> None:
    socket = net.Socket(high_water_mark=10)
    assert socket.read(100) is None
    assert socket.readable_high_water_mark == 128
    assert socket.writable_high_water_mark == 10
    with pytest.raises(ValueError, match="1GiB") as caught:
        socket.read((1 << 30) + 1)
    assert caught.value.code == "ERR_OUT_OF_RANGE"
    assert socket.readable_high_water_mark == 128

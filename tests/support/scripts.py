"""The language of the differential tests: a script is data that runner.js and runner.py play.

A script is a mapping: `start`, actions that run at once; `on`, actions for events ("c.connect",
"s1.data#2" for the second one; s1 is the first accepted socket, "s1.accepted" the moment of its
'connection'). An action is a list, a verb and its arguments; the functions below make the less
plain ones. Further keys:

A verb of its own is "duplex": a Duplex that is no socket, of the bytes of one.

- silent: events that nobody listens to, by name of the object ('data' listeners make it flow)
- hear: events listened to besides the usual ones
- needs: what the test opens for the script, see play.py
- coroutines: it needs asyncio in Python; it ends by the verb "finish"
- linux: it needs what only Linux has
- since: the first Node that behaves so
- deviation: (where the specification names it, {object: its trace on pyuvnet, or {an entry on
  Node: the one on pyuvnet}})

A script is over when nothing keeps the loop alive; what is left then is part of its trace.
"""

from __future__ import annotations

from typing import Any

Action = list[Any]
Script = dict[str, Any]


def call(thing: str, method: str, *args: Any) -> Action:
    """thing.method(*args), noting what it returns, unless itself, or raises."""
    return ["call", thing, method, *args]


def probe(thing: str, *names: str) -> Action:
    """Note properties of a thing."""
    return ["probe", thing, *names]


def later(label: str, *then: Action) -> Action:
    """An immediate."""
    return ["immediate", label, list(then)]


def tick(label: str, *then: Action) -> Action:
    return ["tick", label, list(then)]


def turns(count: int, *then: Action) -> Action:
    """Wait for turns of the loop, in which all that is under way on loopback has arrived."""
    return ["turns", count, list(then)]


def until(thing: str, name: str, value: Any, *then: Action) -> Action:
    """Wait until a property has a value."""
    return ["until", thing, name, value, list(then)]


def peer(name: str, kind: str, late: int = 0) -> Action:
    """Open a peer of a kind of peers.py, which acts once in each turn of pump()."""
    return ["peer", name, kind, late]


def pump(*then: Action, quiet: int = 6, most: int = 150) -> Action:
    """Let the peer act in each turn, until nothing has happened for some; then go on."""
    return ["pump", quiet, most, list(then)]


# ---- Arguments -----------------------------------------------------------------------------------


def cb(name: str, *then: Action) -> Any:
    """A callback that is noted."""
    return {"$": "cb", "name": name, "then": list(then)}


def data(text: str, count: int = 1) -> Any:
    """Bytes."""
    return {"$": "bytes", "text": text, "count": count}


def error(text: str) -> Any:
    return {"$": "error", "text": text}


def port(of: str) -> Any:
    return {"$": "port", "of": of}


def path(name: str) -> Any:
    """A path in a folder of the script's own."""
    return {"$": "path", "name": name}


def fd(of: str) -> Any:
    return {"$": "fd", "of": of}


def thing(name: str) -> Any:
    return {"$": "thing", "name": name}


def signal(of: str) -> Any:
    """The signal of a controller, which the verb "controller" makes."""
    return {"$": "signal", "of": of}


def odd(name: str) -> Any:
    """'nan', 'inf', '-inf', 'function' or 'null' (JavaScript's)."""
    return {"$": "odd", "name": name}


def blocking(*addresses: str) -> Any:
    """A BlockList."""
    return {"$": "block_list", "addresses": list(addresses)}


def lookup(*answer: Any, when: str = "tick") -> Any:
    """A lookup that answers 'now', in a 'tick' or an 'immediate', or 'never'."""
    return {"$": "lookup", "answer": list(answer), "when": when}


def addresses(*found: str) -> Any:
    """What a lookup of all addresses answers."""
    return [{"address": each, "family": 6 if ":" in each else 4} for each in found]


def onread(size: int, *, fresh: bool = False, stop: int = 0) -> Any:
    """The option onread; `fresh`: a function gives the buffers; `stop`: which read says False."""
    return {"$": "onread", "size": size, "fresh": fresh, "stop": stop}


CLOSE = call("S", "close", cb("server closed"))
BIG = data("z", 9_000_000)


def pair(
    on: dict[str, list[Action]],
    server: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    before: list[Action] | None = None,
    after: list[Action] | None = None,
    **more: Any,
) -> Script:
    """A server S and a client c that connects as soon as S listens."""
    target = {"port": port("S"), "host": "127.0.0.1"}
    listening = [*(before or []), call("c", "connect", target), *(after or [])]
    return {
        "start": [["server", "S", server or {}], ["socket", "c", client or {}], LISTEN],
        "on": {"S.listening": listening, "s1.close": [CLOSE], **on},
        **more,
    }


def alone(
    kind: str,
    before: list[Action] | None = None,
    after: list[Action] | None = None,
    on: dict[str, list[Action]] | None = None,
    *,
    connects: bool = True,
    late: int = 0,
    finally_: list[Action] | None = None,
    **more: Any,
) -> Script:
    """A socket c that connects to a peer of a kind of peers.py, with actions right before and after
    connect(), or that never connects.
    """
    connect = [call("c", "connect", {"port": port("P"), "host": "127.0.0.1"})] if connects else []
    return {
        "start": [
            peer("P", kind, late),
            ["socket", "c", {}],
            *(before or []),
            *connect,
            *(after or []),
            pump(*(finally_ or [])),
        ],
        "on": on or {},
        **more,
    }


LISTEN = call("S", "listen", 0, "127.0.0.1")

"""What keeps the loop alive: ordering 2. What is left when it is empty is part of each trace."""

from tests.support.scripts import (
    BIG,
    CLOSE,
    LISTEN,
    call,
    cb,
    later,
    lookup,
    pair,
    port,
    probe,
    turns,
)

TO_S = {"port": port("S"), "host": "127.0.0.1"}
HANGING = {"port": port("P"), "host": "127.0.0.2"}
QUIET = {"c": ["data"], "s1": ["data"]}


def alone(*actions, **more):
    return {"start": [["socket", "c"], *actions], **more}


def standing(*actions, **more):
    """Both ends connected, the server closed; then the actions."""
    return pair({"s1.accepted": [CLOSE], "c.ready": [turns(3, *actions)]}, **more)


SCENARIOS = {
    "a server that is not ref'd": {"start": [["server", "S"], LISTEN, call("S", "unref")]},
    "a server unref'd before listen()": {"start": [["server", "S"], call("S", "unref"), LISTEN]},
    "a server ref'd again": {
        "start": [["server", "S"], LISTEN, call("S", "unref"), call("S", "ref")],
        "on": {"S.listening": [["timer", 5, "later", [CLOSE]]]},
    },
    "a server unref'd while it listens": {
        "start": [["server", "S"], LISTEN],
        "on": {"S.listening": [call("S", "unref")]},
    },
    "a new socket": alone(),
    "a new socket with a timeout": alone(call("c", "set_timeout", 60_000)),
    "a new socket that ended": alone(call("c", "end", cb("end")), since=24),
    "a lookup that never answers": alone(
        call("c", "connect", {"port": 1, "host": "x", "lookup": lookup(when="never")}),
        call("c", "set_timeout", 60_000),
    ),
    "connecting": alone(
        call("c", "connect", HANGING),
        ["timer", 30, "later", [call("c", "destroy")]],
        needs={"P": {"hang": ["127.0.0.2"]}},
    ),
    "both unref'd, reading": standing(
        call("c", "unref"), call("s1", "unref"), probe("c", "destroyed")
    ),
    "one unref'd, the other closes later": standing(
        call("c", "unref"), ["timer", 20, "later", [call("s1", "end")]]
    ),
    "unref'd, ref'd again": standing(
        *[call(name, act) for name in ("c", "s1") for act in ("unref", "ref")],
        ["timer", 20, "later", [call("s1", "end")]],
    ),
    "both paused before they read": pair(
        {"s1.accepted": [CLOSE], "c.connect": [call("c", "pause")]},
        server={"pause_on_connect": True},
        silent=QUIET,
    ),
    "paused, with a timeout set": pair(
        {
            "s1.accepted": [CLOSE, call("s1", "set_timeout", 60_000)],
            "c.connect": [call("c", "pause"), call("c", "set_timeout", 60_000)],
        },
        server={"pause_on_connect": True},
        silent=QUIET,
    ),
    "half open, the other side has ended": pair(
        {"s1.accepted": [CLOSE, call("s1", "end"), call("s1", "unref")]},
        client={"allow_half_open": True},
        server={"allow_half_open": True},
    ),
    "unref'd with a write in flight": pair(
        {
            "s1.accepted": [CLOSE],
            "c.ready": [
                call("c", "write", BIG, cb("w", call("c", "ref"), call("c", "end"))),
                call("c", "unref"),
                turns(5, call("s1", "resume")),
            ],
        },
        server={"pause_on_connect": True},
        silent={"s1": ["data"]},
    )
    | {},
    "unref() before connect()": pair(
        {"s1.accepted": [CLOSE], "c.ready": [turns(3, call("s1", "unref"))]},
        before=[call("c", "unref")],
    ),
    "unref() while connecting": pair(
        {"s1.accepted": [CLOSE, call("s1", "unref")]}, after=[call("c", "unref")]
    ),
    "an accepted socket unref'd in 'connection'": pair(
        {"s1.accepted": [CLOSE, call("s1", "unref")], "c.connect": [call("c", "unref")]}
    ),
    "a ready timer and an immediate": {"start": [["timer", 1, "t", [later("i")]]]},
}

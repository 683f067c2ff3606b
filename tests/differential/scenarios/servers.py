"""Servers: ordering 3.3, 3.4, 3.12, 3.13, 3.20 and the forms of listen(), net.md 3."""

from tests.support.scripts import (
    CLOSE,
    LISTEN,
    blocking,
    call,
    cb,
    fd,
    later,
    pair,
    path,
    port,
    probe,
    signal,
    thing,
    tick,
    turns,
)

TO_S = {"port": port("S"), "host": "127.0.0.1"}


def listening(*args, **more):
    """listen(*args) of a server that closes when it listens, and what it says then."""
    return {
        "start": [
            ["server", "S"],
            call("S", "listen", *args),
            probe("S", "listening"),
        ],
        "on": {
            "S.listening": [call("S", "address"), probe("S", "_connectionKey"), CLOSE],
            "S.error": [probe("S", "listening"), call("S", "address")],
            "S.close": [probe("S", "listening")],
        },
        **more,
    }


def two(limit, **more):
    """Two clients of a server that takes `limit` connections."""
    return {
        "start": [["server", "S", more.pop("server", {})], LISTEN],
        "on": {
            "S.listening": [
                ["set", "S", "max_connections", limit],
                probe("S", "max_connections"),
                ["create", "a", TO_S],
                ["create", "b", TO_S],
            ],
            "S.drop": [call("S", "get_connections", cb("count"))],
            "b.close": [call("a", "end"), CLOSE],
            **more.pop("on", {}),
        },
        **more,
    }


BUSY = {"needs": {"P": {"listen": ["127.0.0.1"]}}, "start": [["server", "S"]]}
CLOSER = {"S.listening": [CLOSE]}

# The items, deviations and rules that a scenario shows.
SHOWS = {
    "closed with open connections": "N018 N032 N109 N134",
    "close() before and after listening": "N024 N112",
    "two close() in one turn": "N018",
    "two close() with an open connection": "N024",
    "close() and listen() in one turn": "N024 N115",
    "close() with a connection, then listen()": "N027",
    "a second listen() while listening": "N115 N162",
    "an address in use, then free": "N020 N109 N116 N134",
    "an address in use, nobody listens to 'error'": "N110",
    "pause_on_connect": "O3.18-03 N074 N155",
    "one accept for each turn": "O1.2-01 N019",
    "listen with a signal, aborted later": "N159",
    "listen with a signal, aborted in that turn": "N159",
    "listen with a signal that is aborted": "N159",
    "listen at a host with a signal that is aborted": "N159",
}

SCENARIOS = {
    # ---- close() ----
    "closed with open connections": pair(
        {
            "s1.accepted": [
                CLOSE,
                probe("S", "listening"),
                call("S", "address"),
                call("S", "get_connections", cb("count")),
                later("later", call("s1", "destroy")),
            ],
            "s1.close": [],
        }
    ),
    "close() before and after listening": {
        "start": [
            ["server", "S"],
            call("S", "close", cb("never")),
            tick("t", LISTEN, call("S", "close", cb("too early"))),
            turns(5, call("S", "close", cb("again"))),
        ]
    },
    "listen(port) and close() in one turn": {
        "start": [["server", "S"], call("S", "listen", 0, cb("listen")), CLOSE]
    },
    "listen(port, name) and close() in one turn": {
        "start": [["server", "S"], call("S", "listen", 0, "localhost", cb("listen")), CLOSE],
        "on": {"S.listening": [CLOSE]},
    },
    "two close() in one turn": {
        "start": [["server", "S"], LISTEN],
        "on": {"S.listening": [call("S", "close", cb("a")), call("S", "close", cb("b"))]},
    },
    "two close() with an open connection": pair(
        {
            "s1.accepted": [
                call("S", "close", cb("a")),
                call("S", "close", cb("b")),
                later("i", call("s1", "destroy")),
            ],
            "s1.close": [call("S", "close", cb("later"))],
        }
    ),
    "close() and listen() in one turn": {
        "start": [["server", "S"], call("S", "listen", 0)],
        "on": {
            "S.listening#1": [
                call("S", "close", cb("closed")),
                call("S", "listen", 0, cb("listen")),
            ],
            "S.listening#2": [CLOSE],
        },
    },
    "listen(port, host), close() and listen() in one turn": {
        "start": [["server", "S"], LISTEN, call("S", "close", cb("first")), LISTEN, tick("after")],
        "on": {"S.listening": [CLOSE]},
    },
    "close() with a connection, then listen()": pair(
        {
            "s1.accepted": [
                call("S", "close", cb("first")),
                call("S", "listen", 0),
                later("i", call("s1", "destroy")),
            ],
            "S.listening": [],
            "S.listening#1": [["create", "c", TO_S]],
            "s1.close": [call("S", "close", cb("second"))],
        }
    )
    | {"start": [["server", "S"], call("S", "listen", 0)]},
    "close() with something that is no function": {
        "start": [["server", "S"], call("S", "close", 5), call("S", "close", "x")]
    },
    # ---- listen() ----
    "listen()": listening(),
    "listen(callback)": listening(cb("listening")),
    "listen(port)": listening(0),
    "listen(None, callback)": listening(None, cb("listening")),
    "listen(port, callback)": listening(0, cb("listening")),
    "listen(port, host)": listening(0, "127.0.0.1"),
    "listen(port, host, backlog, callback)": listening(0, "127.0.0.1", 10, cb("listening")),
    "listen(port, backlog, callback)": listening(0, 10, cb("listening")),
    "listen(text, host)": listening("0", "127.0.0.1"),
    "listen(port, IPv6)": listening(0, "::1"),
    "listen(path)": listening(path("s"), since=26),
    "listen(path, backlog, callback)": listening(path("s"), 5, cb("listening")),
    "listen({port})": listening({"port": 0}),
    "listen({port: text, host}, callback)": listening(
        {"port": "0", "host": "127.0.0.1"}, cb("listening")
    ),
    "listen({port: None})": listening({"port": None, "host": "127.0.0.1"}),
    "listen({path, ...})": listening(
        {"path": path("s"), "readable_all": True, "writable_all": True}
    ),
    "listen({port, path})": listening({"port": 0, "path": path("s")}),
    "listen({port, ipv6_only})": listening({"port": 0, "ipv6_only": True}),
    "listen({port, host, ipv6_only})": listening({"port": 0, "host": "::1", "ipv6_only": True}),
    "listen({port, exclusive, backlog})": listening({"port": 0, "exclusive": True, "backlog": 3}),
    "listen({port, reuse_port})": listening({"port": 0, "reuse_port": True}),
    "listen({fd})": listening({"fd": fd("F")}, needs={"F": "bound"}),
    "listen({fd}) of what cannot listen": listening({"fd": fd("F")}, needs={"F": "udp"}),
    "listen({fd}) of a file": listening({"fd": fd("F")}, needs={"F": "file"}),
    "listen({fd}) of nothing": listening({"fd": 9999}),
    "listen(server)": {
        "start": [["server", "R"], call("R", "listen", 0, "127.0.0.1"), ["server", "S"]],
        "on": {
            "R.listening": [call("S", "listen", thing("R"), cb("listening"))],
            "S.listening": [call("S", "address"), CLOSE],
            "S.close": [call("R", "close")],
        },
    },
    "listen(bound)": {
        "start": [
            ["bound", "B", {"host": "127.0.0.1"}],
            ["server", "S"],
            call("B", "address"),
            call("S", "listen", thing("B"), cb("listening")),
            call("B", "address"),
            call("B", "close"),
            ["server", "T"],
            call("T", "listen", {"handle": thing("B")}),
        ],
        "on": {"S.listening": [call("S", "address"), CLOSE]},
        "since": 26,
    },
    "a second listen() while listening": {
        "start": [["server", "S"], call("S", "listen", 0), call("S", "listen", 0, cb("never"))],
        "on": CLOSER,
    },
    "a second listen() while a host is looked up": {
        "start": [
            ["server", "S"],
            call("S", "listen", 0, "127.0.0.1", cb("first")),
            call("S", "listen", 0, cb("second")),
        ],
        "on": {"S.listening": [call("S", "listen", 0), CLOSE]},
    },
    "an address in use, then free": {
        "start": [["server", "R"], call("R", "listen", 0, "127.0.0.1"), ["server", "S"]],
        "on": {
            "R.listening": [call("S", "listen", TO_S | {"port": port("R")}, cb("first"))],
            "S.error": [probe("S", "listening"), call("R", "close")],
            "R.close": [call("S", "listen", TO_S | {"port": port("R")}, cb("second"))],
            "S.listening": [CLOSE],
        },
    },
    "an address in use, close() and listen() again": {
        "start": [["server", "R"], call("R", "listen", 0, "127.0.0.1"), ["server", "S"]],
        "on": {
            "R.listening": [call("S", "listen", TO_S | {"port": port("R")})],
            "S.error": [
                call("R", "close"),
                [
                    "timer",
                    5,
                    "retry",
                    [
                        call("S", "close"),
                        call("S", "listen", TO_S | {"port": port("R")}, cb("again")),
                    ],
                ],
            ],
            "S.listening": [CLOSE],
        },
    },
    "an address that is not here": listening(0, "192.0.2.1"),
    "an address in use, nobody listens to 'error'": {
        "start": [["server", "R"], call("R", "listen", 0, "127.0.0.1"), ["server", "S"]],
        "on": {
            "R.listening": [
                call("S", "listen", TO_S | {"port": port("R")}),
                turns(5, call("R", "close")),
            ]
        },
        "silent": {"S": ["error"]},
    },
    # ---- Connections ----
    "max_connections of 1": two(1),
    # 0 was no limit in older Nodes.
    "max_connections of 0": two(0, on={"a.close": [], "b.close": [CLOSE]}, since=24),
    "max_connections raised meanwhile": two(
        1,
        on={
            "S.drop": [["set", "S", "max_connections", None], ["create", "d", TO_S]],
            "d.ready": [call("d", "end")],
        },
    ),
    "max_connections over IPC": {
        "start": [
            ["server", "S"],
            call("S", "listen", path("s")),
            ["set", "S", "max_connections", 1],
        ],
        "on": {
            "S.listening": [["create", "a", path("s")], ["create", "b", path("s")]],
            "b.close": [call("a", "end"), CLOSE],
        },
        "deviation": ("net.md 3.3: None instead of no argument", {"S": {"drop": "drop None"}}),
    },
    "address() after close()": {
        "start": [["server", "S"], ["server", "T"], LISTEN, call("T", "listen", path("s"))],
        "on": {
            "S.listening": [CLOSE, call("S", "address")],
            "T.listening": [call("T", "close"), call("T", "address")],
        },
        "deviation": (
            "net.md 3.4: None for a path too",
            {"T": {"T.address FOLDERs": "T.address None"}},
        ),
    },
    "one accept for each turn": {
        "start": [["server", "S"], LISTEN],
        "on": {
            "S.listening": [["create", f"c{n}", TO_S] for n in range(4)],
            "S.connection": [tick("t"), later("i")],
            "s4.accepted": [*[call(f"s{n}", "end") for n in (1, 2, 3, 4)], CLOSE],
        },
    },
    "a peer that is blocked": {
        "start": [["server", "S", {"block_list": blocking("127.0.0.1")}], call("S", "listen", 0)],
        "on": {
            "S.listening": [["create", "c", TO_S]],
            "c.close": [call("S", "get_connections", cb("count")), CLOSE],
        },
        "since": 26,
        "deviation": (
            "D114: 'drop' has the reason",
            {
                "S": [
                    "listening",
                    (
                        "drop {localAddress: ::ffff:127.0.0.1, localPort: port(S), localFamily: "
                        "IPv6, remoteAddress: ::ffff:127.0.0.1, remotePort: a port, remoteFamily: "
                        "IPv6, reason: block_list}"
                    ),
                    *("cb count 0", "close", "cb server closed", "left False"),
                ]
            },
        ),
    },
    "pause_on_connect": pair(
        {
            "c.ready": [call("c", "end", "hello")],
            "s1.accepted": [
                call("s1", "is_paused"),
                turns(9, probe("s1", "bytes_read", "readable_flowing"), call("s1", "resume")),
            ],
        },
        server={"pause_on_connect": True},
    ),
    "high_water_mark of accepted sockets": pair(
        {
            "s1.accepted": [
                probe("s1", "readable_high_water_mark", "writable_high_water_mark"),
                call("s1", "end"),
            ]
        },
        server={"high_water_mark": 100},
    ),
    "ref() and unref() return the server": {
        "start": [["server", "S"], call("S", "unref"), call("S", "ref"), call("S", "unref")]
    },
    "get_connections() without a callback": {
        "start": [
            ["server", "S"],
            call("S", "get_connections", cb("count")),
            call("S", "get_connections"),
            call("S", "get_connections", 5),
        ]
    },
    "the hooks": pair({"s1.accepted": [call("s1", "end")]})
    | {
        "start": [
            ["subscribe", "net.client.socket"],
            ["subscribe", "net.server.socket"],
            ["subscribe", "tracing:net.server.listen:asyncStart"],
            ["subscribe", "tracing:net.server.listen:asyncEnd"],
            ["subscribe", "tracing:net.server.listen:error"],
            ["server", "S"],
            ["socket", "c"],
            call("S", "listen", 0),
        ],
        "since": 26,
    },
    "a failed listen and its hooks": BUSY
    | {
        "start": [
            ["subscribe", "tracing:net.server.listen:asyncStart"],
            ["subscribe", "tracing:net.server.listen:asyncEnd"],
            ["subscribe", "tracing:net.server.listen:error"],
            ["server", "S"],
            call("S", "listen", {"port": port("P"), "host": "127.0.0.1"}),
        ],
        "since": 26,
    },
    # ---- Signals ----
    "listen with a signal, aborted later": {
        "start": [
            ["controller", "A"],
            ["server", "S"],
            call("S", "listen", {"port": 0, "signal": signal("A")}),
        ],
        "on": {"S.listening": [["abort", "A"], probe("S", "listening")]},
    },
    "listen with a signal, aborted with a connection open": pair(
        {
            "s1.accepted": [["abort", "A"], probe("S", "listening"), call("s1", "end", "bye")],
            "s1.close": [],
        }
    )
    | {
        "start": [
            ["controller", "A"],
            ["server", "S"],
            ["socket", "c"],
            call("S", "listen", {"port": 0, "signal": signal("A")}),
        ]
    },
    "listen with a signal, aborted in that turn": {
        "start": [
            ["controller", "A"],
            ["server", "S"],
            call("S", "listen", {"port": 0, "signal": signal("A")}, cb("never")),
            ["abort", "A"],
            probe("S", "listening"),
        ]
    },
    "listen with a signal that is aborted": {
        "start": [
            ["controller", "A"],
            ["abort", "A"],
            ["server", "S"],
            call("S", "listen", {"port": 0, "signal": signal("A")}, cb("never")),
            probe("S", "listening"),
            tick("t", probe("S", "listening")),
        ]
    },
    "listen at a host with a signal that is aborted": {
        "start": [
            ["controller", "A"],
            ["abort", "A"],
            ["server", "S"],
            call("S", "listen", {"port": 0, "host": "127.0.0.1", "signal": signal("A")}),
            probe("S", "listening"),
        ]
    },
}

"""Unix sockets: ordering 3.10, net.md 2."""

from tests.support.scripts import CLOSE, call, cb, data, later, path, probe, turns

LONG = "x" * 120
TOO_LONG = f"<Error EINVAL connect at FOLDER{LONG}:None: connect EINVAL FOLDER{LONG}"


def without_port(thing, code, text, where):
    """The error of listen() has no port, where Node's has -1."""
    error = f"<Error {code} listen at FOLDER{where}:%s: listen {code}: {text} FOLDER{where}>"
    return {
        "deviation": ("net.md 3.9.1", {thing: {f"error {error % -1}": f"error {error % None}"}})
    }


def over(where, **more):
    """A server S at a path, and a client c that connects when it listens."""
    return {
        "start": [["server", "S"], call("S", "listen", where), ["socket", "c"]],
        "on": {
            "S.listening": [call("S", "address"), call("c", "connect", where)],
            "s1.close": [CLOSE],
            **more.pop("on", {}),
        },
        **more,
    }


# The items, deviations and rules that a scenario shows.
SHOWS = {
    "missing": "N040 N057",
}

SCENARIOS = {
    "missing": {
        "start": [
            ["socket", "c"],
            call("c", "connect", path("missing")),
            probe("c", "connecting", "pending", "ready_state"),
            call("c", "write", "one", cb("w1")),
            call("c", "write", "two", cb("w2")),
            call("c", "end", cb("end")),
        ]
    },
    "stale": {
        "start": [["server", "S"], call("S", "listen", path("s"))],
        "on": {
            "S.listening": [["create", "c", {"path": path("s")}], CLOSE],
            "S.close": [["create", "d", path("s")]],
        },
        "silent": {"s1": ["data", "end", "finish"]},
    },
    "echo": over(
        path("s"),
        on={
            "c.connect": [
                probe("c", "remote_address", "remote_port", "remote_family", "local_address"),
                call("c", "address"),
                call("c", "write", "hi", cb("w")),
            ],
            "s1.accepted": [probe("s1", "remote_address", "local_port"), call("s1", "address")],
            "s1.data": [call("s1", "write", "echo", cb("w"))],
            "c.data": [call("c", "end", cb("end"))],
            "s1.close": [CLOSE],
        },
    ),
    "an abstract name": over(
        "\0pyuvnet-differential",
        on={"c.connect": [call("c", "end", data("hi"))], "S.connection": [CLOSE], "s1.close": []},
        linux=True,
    ),
    "TCP methods do nothing": over(
        path("s"),
        on={
            "c.connect": [
                call("c", "set_no_delay"),
                call("c", "set_keep_alive", True, 1000),
                call("c", "ref"),
                call("c", "end"),
            ]
        },
    ),
    "destroy() in 'connectionAttempt' of a missing path": {
        "start": [["socket", "c"], call("c", "connect", path("missing"))],
        "on": {"c.connectionAttemptFailed": [call("c", "destroy")]},
    },
    "destroy() while connecting": over(
        path("s"),
        on={
            "c.connectionAttempt": [later("i")],
            "S.listening": [
                call("c", "connect", path("s")),
                call("c", "write", "x", cb("w")),
                call("c", "destroy"),
                turns(3, CLOSE),
            ],
            "s1.close": [],
        },
    ),
    "reconnect in 'close'": over(
        path("s"),
        on={
            "c.connect": [call("c", "end", "x")],
            "c.close#1": [call("c", "connect", path("s"))],
            "c.close#2": [CLOSE],
            "s1.close": [],
        },
    ),
    "listened on twice": {
        "start": [
            ["server", "S"],
            call("S", "listen", path("s")),
            ["server", "T"],
            call("T", "listen", path("s"), cb("T listens")),
            probe("T", "listening"),
        ],
        "on": {
            "T.error": [call("S", "close")],
            "S.close": [call("T", "listen", path("s"))],
            "T.listening": [call("T", "close")],
        },
        **without_port("T", "EADDRINUSE", "address already in use", "s"),
    },
    "no such folder": {
        "start": [["server", "S"], call("S", "listen", path("no/s"))],
        **without_port("S", "EACCES", "permission denied", "no/s"),
    },
    "a path that is too long, listen": {
        "start": [["server", "S"], call("S", "listen", path(LONG))],
        **without_port("S", "EINVAL", "invalid argument", LONG),
        "since": 24,
    },
    "a path that is too long, connect": {
        "start": [["socket", "c"], call("c", "connect", path(LONG))],
        "since": 24,
        # Not worth a name in the specification: JavaScript's undefined in the text.
        "deviation": (
            "net.md 5.3: a path has no local end",
            {
                "c": {
                    f"error {TOO_LONG} - Local (undefined:undefined)>": f"error {TOO_LONG}>",
                }
            },
        ),
    },
}

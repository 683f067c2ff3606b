"""Listeners that fail: ordering 3.26."""

from tests.support.scripts import CLOSE, call, cb, data, error, later, pair, turns, until

SCENARIOS = {
    "a 'connection' listener fails": pair(
        {
            "S.connection": [["throw", "X"]],
            "c.ready": [call("c", "end", "still read")],
        }
    ),
    "a 'data' listener fails": pair(
        {
            "s1.data#1": [later("i", call("c", "end", "more")), ["throw", "X"]],
            "c.ready": [call("c", "write", "first")],
        }
    ),
    "a 'connect' listener fails": pair(
        {
            "c.connect": [turns(30, ["finish"]), ["throw", "X"]],
            "s1.accepted": [call("s1", "end", "still read")],
            "s1.close": [],
        },
        deviation=(
            "README R6: the socket keeps its state, where Node's never reads",
            {
                "c": [
                    *["resume", "connectionAttempt 127.0.0.1 port(S) 4", "connect"],
                    *["data still read", "end", "finish", "close False"],
                    "left closed True 0 10 0",
                ],
                "s1": ["resume", "finish", "end", "close False", "left closed True 0 0 10"],
            },
        ),
    ),
    "a 'ready' listener fails": pair(
        {"c.ready": [["throw", "X"]], "s1.accepted": [call("s1", "end", "still read")]}
    ),
    "an 'end' listener fails": pair(
        {
            "s1.end": [turns(30, ["finish"]), ["throw", "X"]],
            "c.ready": [call("c", "end", "x")],
            "s1.close": [],
        },
        deviation=(
            "README R6: the socket keeps its state, where Node's never ends",
            {
                "c": [
                    *["resume", "connectionAttempt 127.0.0.1 port(S) 4", "connect", "ready"],
                    *["finish", "end", "close False", "left closed True 0 0 1"],
                ],
                "s1": [
                    *["resume", "data x", "end", "finish", "close False"],
                    "left closed True 0 1 0",
                ],
            },
        ),
    ),
    "a 'finish' listener fails": pair(
        {"c.finish": [["throw", "X"]], "c.ready": [call("c", "end", "x")]}
    ),
    "a 'close' listener fails": pair(
        {"c.close": [["throw", "X"]], "c.ready": [call("c", "end", "x")]}
    ),
    "an 'error' listener fails": pair(
        {"c.error": [["throw", "X"]], "c.ready": [call("c", "destroy", error("E1"))]}
    ),
    "a 'listening' listener fails": {
        "start": [
            ["server", "S"],
            call("S", "listen", 0, cb("listening")),
            later("i", CLOSE),
        ],
        "on": {"S.listening": [["throw", "X"]]},
    },
    "a tick, an immediate and a timer fail": {
        "start": [
            ["tick", "t", [["throw", "T"]]],
            later("i", ["throw", "I"]),
            later("i2"),
            ["timer", 200, "timer", [["throw", "M"]]],
            ["timer", 600, "timer 2", []],
        ]
    },
    "nobody listens to 'error'": pair(
        {"c.ready": [call("c", "destroy", error("E1"))]}, silent={"c": ["error"]}
    ),
    "coroutine listener of 'connection', capture_rejections": pair(
        {"s1.accepted": [turns(30, ["finish"])], "s1.close": []},
        coroutines=True,
        deviation=(
            "net.md 3.14: the option acts",
            {
                "s1": ["resume", "error <Error: R>", "close True", "left closed True 0 0 0"],
                "c": [
                    *["resume", "connectionAttempt 127.0.0.1 port(S) 4", "connect", "ready"],
                    *["end", "finish", "close False", "left closed True 0 0 0"],
                ],
                "-": [],
            },
        ),
    )
    | {
        "start": [
            ["server", "S", {"capture_rejections": True}],
            ["socket", "c"],
            ["reject", "S", "connection", "R"],
            call("S", "listen", 0, "127.0.0.1"),
        ]
    },
    "coroutine listener of 'data', capture_rejections": pair(
        {
            "s1.accepted": [call("s1", "write", data("x"))],
            "c.close": [turns(5, ["finish"])],
        },
        coroutines=True,
        client={"capture_rejections": True},
        before=[["reject", "c", "data", "R"]],
        silent={"s1": ["end", "finish", "error", "close"]},
    ),
    "coroutine listener of 'data'": pair(
        {
            "s1.accepted": [call("s1", "write", data("x"))],
            "c.ready": [until("c", "bytes_read", 1, turns(9, ["finish"]))],
        },
        coroutines=True,
        before=[["reject", "c", "data", "R"]],
    ),
}

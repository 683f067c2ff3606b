"""Sockets with an abort signal: ordering 3.17."""

from tests.support.scripts import CLOSE, call, cb, error, later, pair, port, probe, signal, tick

TO_S = {"port": port("S"), "host": "127.0.0.1"}
ABORT = ["abort", "A"]


def with_signal(on, *after, before=(), **more):
    """As pair(), but the client has the signal of A."""
    return pair({"c.close": [CLOSE], "s1.close": [], **on}, before=[*before], after=[*after]) | {
        "start": [
            ["controller", "A"],
            ["server", "S"],
            ["socket", "c", {"signal": signal("A")}],
            call("S", "listen", 0, "127.0.0.1"),
        ],
        **more,
    }


MADE = {
    "c": [
        (
            "error <AbortError ABORT_ERR because <AbortError ABORT_ERR: "
            "This operation was aborted>: The operation was aborted>"
        ),
        "close True",
        "left closed True 0 0 0",
    ],
    "-": ["tick t", "c.destroyed True"],
}

SCENARIOS = {
    "abort while connecting": with_signal(
        {}, ABORT, probe("c", "destroyed", "connecting", "errored")
    ),
    "abort while connecting, with writes": with_signal(
        {},
        call("c", "write", "one", cb("w1")),
        call("c", "write", "two", cb("w2")),
        call("c", "end", cb("end")),
        ABORT,
    ),
    "abort with a reason": with_signal({}, ["abort", "A", error("why")]),
    "abort in the tick of the attempt": with_signal({}, tick("t", ABORT)),
    "abort in 'connect'": with_signal({"c.connect": [ABORT]}),
    "abort later": with_signal({"c.ready": [later("i", ABORT)]}),
    "abort twice": with_signal({"c.ready": [later("i", ABORT, ABORT)]}),
    "abort before connect()": with_signal(
        {},
        before=[ABORT, probe("c", "destroyed")],
        since=26,
        deviation=(
            "ordering 3.17: nothing is connected",
            {
                "c": [
                    "resume",
                    (
                        "error <AbortError ABORT_ERR because <AbortError ABORT_ERR: "
                        "This operation was aborted>: The operation was aborted>"
                    ),
                    "close True",
                    "left closed True 0 0 0",
                ],
                "S": ["listening", "c.destroyed True", "close", "cb server closed", "left False"],
            },
        ),
    ),
    "made with a signal that is aborted": {
        "start": [
            ["controller", "A"],
            ABORT,
            ["socket", "c", {"signal": signal("A")}],
            tick("t", probe("c", "destroyed")),
        ],
        "silent": {"c": ["data"]},
        "deviation": ("ordering 3.17: 'error' and 'close' only, and it stays destroyed", MADE),
    },
    "abort after 'close'": with_signal(
        {"c.ready": [call("c", "end")], "c.close": [CLOSE, ABORT, later("i", ABORT)]}
    ),
    "abort of a socket never connected": {
        "start": [
            ["controller", "A"],
            ["socket", "c", {"signal": signal("A")}],
            tick("t", ABORT, probe("c", "destroyed")),
        ]
    },
}

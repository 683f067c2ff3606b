"""reset_and_destroy() and destroy_soon(): ordering 3.16, 3.25."""

from tests.support.scripts import BIG, CLOSE, call, cb, later, pair, path, probe, tick, turns

RESET = call("c", "reset_and_destroy")
SOON = call("c", "destroy_soon")

# The items, deviations and rules that a scenario shows.
SHOWS = {
    "destroy_soon() with much to write": "S4.4-02 N062",
    "reset of a connection": "N073",
    "reset while connecting": "N073",
    "reset over IPC": "N073",
    "destroy_soon() after writing": "N062",
    "destroy_soon() after 'finish'": "N062",
    "destroy_soon() while connecting": "N062",
}

SCENARIOS = {
    "reset of a connection": pair(
        {
            "s1.accepted": [CLOSE, call("s1", "write", "hi")],
            "c.data": [
                call("c", "write", "last", cb("w")),
                RESET,
                probe("c", "destroyed"),
                call("c", "write", "late", cb("late")),
                RESET,
            ],
            "s1.close": [],
        },
        since=24,
    ),
    "reset while connecting": pair(
        {"s1.accepted": [CLOSE], "s1.close": []},
        after=[RESET, RESET, probe("c", "destroyed", "connecting")],
        # It may be reset before or after it is accepted and read.
        silent={"s1": ["end", "finish", "error", "close"]},
    ),
    "reset in a tick of 'connect'": pair(
        {"s1.accepted": [CLOSE], "s1.close": [], "c.connect": [tick("t", RESET)]}
    ),
    "reset of a new socket": {
        "start": [
            ["socket", "c"],
            RESET,
            probe("c", "destroyed"),
            tick("t", RESET),
            ["socket", "d"],
            call("d", "destroy"),
            call("d", "reset_and_destroy"),
        ]
    },
    "reset after 'finish'": pair(
        {
            "c.ready": [call("c", "end", cb("end"))],
            "c.finish": [RESET],
            "s1.end": [CLOSE],
            "s1.close": [],
        },
        server={"allow_half_open": True},
        silent={"s1": ["error", "close"]},
    ),
    "reset over IPC": {
        "start": [["server", "S"], call("S", "listen", path("s")), ["socket", "c"]],
        "on": {
            "S.listening": [call("c", "connect", path("s")), RESET],
            "c.connect": [RESET, probe("c", "destroyed"), call("c", "end")],
            "s1.close": [CLOSE],
        },
    },
    "destroy_soon() after writing": pair(
        {
            "c.ready": [
                call("c", "write", "last", cb("w")),
                SOON,
                probe("c", "destroyed", "writable_ended"),
                SOON,
            ],
            "s1.end": [turns(3, call("s1", "destroy"))],
        },
        server={"allow_half_open": True},
    ),
    "destroy_soon() with much to write": pair(
        {
            "c.ready": [call("c", "write", BIG, cb("w")), SOON, probe("c", "destroyed")],
            "c.finish": [probe("c", "destroyed", "writable_length")],
        },
    ),
    "destroy_soon() after 'finish'": pair(
        {
            "c.ready": [call("c", "end")],
            "c.finish": [later("i", SOON, probe("c", "destroyed"))],
            "s1.end": [turns(3, call("s1", "destroy"))],
        },
        server={"allow_half_open": True},
    ),
    "destroy_soon() while connecting": pair({}, after=[call("c", "write", "queued"), SOON]),
    "destroy_soon() of a new socket": {
        "start": [["socket", "c"], SOON, probe("c", "destroyed", "writable_ended"), turns(2, SOON)],
        "since": 24,
    },
    "destroy_soon() after destroy()": {
        "start": [["socket", "c"], call("c", "destroy"), SOON, turns(2, SOON)]
    },
    "destroy_soon() when the peer has ended": pair(
        {"s1.accepted": [call("s1", "end", "bye")], "c.end": [SOON, probe("c", "destroyed")]}
    ),
}

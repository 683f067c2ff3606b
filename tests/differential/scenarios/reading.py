"""Reading: pausing, read(n), unshift(), encodings, onread, iteration: ordering 3.18, 3.23."""

from tests.support.scripts import (
    CLOSE,
    call,
    cb,
    data,
    error,
    fd,
    later,
    onread,
    pair,
    probe,
    tick,
    turns,
    until,
)


def sent(text, on, **more):
    """The client sends and ends; what the server's socket does with it."""
    return pair({"c.ready": [call("c", "end", data(text))], **on}, **more)


def by_hand(text, *actions, **more):
    """Nobody listens to 'data' at the server's socket; acted upon when all has arrived."""
    return sent(
        text,
        {
            "s1.accepted": [
                call("s1", "read"),
                until("s1", "readable_length", len(text), turns(5, *actions)),
            ]
        },
        silent={"s1": ["data", "resume", "pause"]},
        **more,
    )


# The items, deviations and rules that a scenario shows.
SHOWS = {
    "paused late, read ahead": "O3.18-01 S3.1-02 N067 N126 S3.2-03",
    "nobody reads, read() takes it": "O3.18-02",
    "paused before connecting": "O3.18-04",
    "set_encoding() in 'data'": "O3.18-05",
    "read(n)": "S3.2-09 S3.2-12 N181",
    "read(n) of more than there is": "S3.2-10",
    "'readable' and 'data'": "S3.1-08 S3.1-09",
    "unshift(), then read": "S3.2-21 S3.2-22 N143",
    "unshift() after 'end'": "S3.2-23",
    "set_encoding() and split characters": "S3.2-14 S3.2-19 N075 N124",
}

SCENARIOS = {
    "paused late, read ahead": sent(
        "payload",
        {
            "s1.accepted": [
                call("s1", "pause"),
                until(
                    *("s1", "readable_length", 7),
                    turns(
                        5,
                        probe("s1", "bytes_read", "ready_state", "readable_flowing"),
                        call("s1", "is_paused"),
                        call("s1", "resume"),
                    ),
                ),
            ]
        },
    ),
    "paused before connecting": pair(
        {
            "s1.accepted": [call("s1", "end", "early")],
            "c.ready": [turns(9, probe("c", "bytes_read"), call("c", "resume"))],
        },
        before=[call("c", "pause")],
        silent={"c": ["data"]},
    ),
    "paused in 'connect'": pair(
        {
            "s1.accepted": [call("s1", "end", "early")],
            "c.connect": [call("c", "pause"), turns(9, probe("c", "bytes_read"), later("i"))],
            "c.ready": [["timer", 20, "t", [call("c", "resume")]]],
        },
        silent={"c": ["data"]},
    ),
    "paused by the first 'data'": pair(
        {
            "c.ready": [call("c", "write", "one")],
            "s1.data#1": [
                call("s1", "pause"),
                call("c", "end", "two"),
                until("s1", "readable_length", 3, turns(3, call("s1", "resume"))),
            ],
        }
    ),
    "pause() and resume() in one turn": sent(
        "text",
        {
            "s1.accepted": [
                call("s1", "pause"),
                call("s1", "resume"),
                call("s1", "pause"),
                tick("t", call("s1", "resume")),
            ]
        },
    ),
    "nobody reads, read() takes it": by_hand(
        "payload", call("s1", "read"), call("s1", "read"), probe("s1", "readable_did_read")
    ),
    "read(n)": by_hand(
        "abcdefgh",
        call("s1", "read", 3),
        call("s1", "read", 0),
        call("s1", "read", 9),
        probe("s1", "readable_length"),
        call("s1", "read", -1),
        probe("s1", "readable_length"),
    ),
    "read(n) of more than there is": by_hand(
        "abc", call("s1", "read", 10), call("s1", "read", 3), call("s1", "read", 1)
    ),
    "unshift(), then read": by_hand(
        "tail",
        call("s1", "unshift", data("head ")),
        probe("s1", "readable_length"),
        call("s1", "read", 7),
        call("s1", "read"),
    ),
    "unshift() in 'data'": sent("first", {"s1.data#1": [call("s1", "unshift", data("again"))]}),
    "unshift() after 'end'": sent("x", {"s1.end": [call("s1", "unshift", data("late"))]}),
    "'readable'": sent(
        "abcdef",
        {
            "s1.readable": [
                probe("s1", "readable_length", "readable_flowing"),
                call("s1", "read", 4),
                call("s1", "read"),
                call("s1", "read"),
            ]
        },
        silent={"s1": ["data", "resume", "pause"]},
        hear={"s1": ["readable"]},
    ),
    "'readable' and 'data'": sent(
        "abcdef",
        {"s1.readable": [call("s1", "read")]},
        hear={"s1": ["readable"]},
    ),
    "a 'data' listener comes late": sent(
        "abcdef",
        {
            "s1.accepted": [
                until(
                    *("s1", "bytes_read", 6),
                    turns(3, call("s1", "on", "data", cb("late data")), tick("t"), later("i")),
                )
            ]
        },
        silent={"s1": ["data"]},
    ),
    "set_encoding() and split characters": pair(
        {
            "s1.accepted": [call("s1", "set_encoding", "utf8")],
            "c.ready": [call("c", "write", data("a\xc3"))],
            "s1.data#1": [call("c", "write", data("\xa4\xe2\x82"))],
            "s1.data#2": [
                probe("s1", "readable_encoding", "bytes_read"),
                call("c", "end", data("\xac\xe2")),
            ],
        }
    ),
    "set_encoding() in 'data'": sent(
        "first",
        {
            "s1.data#1": [
                call("s1", "set_encoding", "latin1"),
                call("s1", "unshift", data("again")),
            ]
        },
    ),
    "set_encoding() with something buffered": by_hand(
        "\xc3\xa4",
        call("s1", "set_encoding", "utf8"),
        probe("s1", "readable_length"),
        call("s1", "read"),
    ),
    "onread": pair(
        {
            "s1.accepted": [call("s1", "end", data("abcdefgh"))],
            "c.connect": [probe("c", "bytes_read", "readable_flowing")],
        },
        client={"onread": onread(3)},
        silent={"c": ["data"]},
    ),
    "onread with a function": pair(
        {"s1.accepted": [call("s1", "end", data("abcdefgh"))]},
        client={"onread": onread(3, fresh=True)},
        silent={"c": ["data"]},
    ),
    "onread says False": pair(
        {
            "s1.accepted": [call("s1", "end", data("abcdefgh"))],
            "c.ready": [
                turns(
                    20,
                    probe("c", "bytes_read"),
                    call("c", "is_paused"),
                    call("c", "resume"),
                )
            ],
        },
        client={"onread": onread(3, stop=1)},
        silent={"c": ["data"]},
    ),
    "onread, paused": pair(
        {
            "c.ready": [call("c", "pause"), turns(20, probe("c", "bytes_read"), later("i"))],
            "c.pause": [["timer", 20, "t", [call("c", "resume")]]],
            "s1.accepted": [call("s1", "end", data("abcdefgh"))],
        },
        client={"onread": onread(64)},
        silent={"c": ["data"]},
    ),
    "onread and destroy()": pair(
        {
            "s1.accepted": [call("s1", "write", "x")],
            "c.ready": [later("i")],
            "c.end": [],
            "s1.data": [],
        },
        client={"onread": onread(64)},
        silent={"c": ["data"]},
        after=[until("c", "bytes_read", 1, call("c", "destroy"))],
    ),
    "a descriptor of a TCP connection": {
        "needs": {"X": "tcp"},
        "start": [
            ["socket", "a", {"fd": fd("X0")}],
            ["socket", "b", {"fd": fd("X1")}],
            probe("a", "ready_state", "pending", "connecting", "readable", "writable"),
            call("a", "write", "hello", cb("w")),
        ],
        "on": {"b.data": [call("b", "end", "bye")]},
    },
    "a descriptor as an int": {
        "needs": {"X": "pair"},
        "start": [["socket", "a", fd("X0")], ["socket", "b", fd("X1")], call("a", "end", "hello")],
    },
    "a descriptor, not readable": {
        "needs": {"X": "pair"},
        "start": [
            ["socket", "a", {"fd": fd("X0"), "readable": False}],
            ["socket", "b", {"fd": fd("X1")}],
            probe("a", "readable", "ready_state"),
            call("a", "end", "hello"),
        ],
    },
    "a descriptor, not writable": {
        "needs": {"X": "pair"},
        "start": [
            ["socket", "a", {"fd": fd("X0"), "writable": False}],
            ["socket", "b", {"fd": fd("X1")}],
            probe("a", "writable", "ready_state"),
            call("b", "end", "hello"),
        ],
    },
    "the ends of a pipe": {
        "needs": {"X": "fifo"},
        "start": [
            ["socket", "a", {"fd": fd("X0"), "writable": False}],
            ["socket", "b", {"fd": fd("X1"), "readable": False}],
            call("b", "end", "hello", cb("end")),
        ],
    },
    "descriptors that are no sockets": {
        "needs": {"F": "file", "U": "udp"},
        "start": [
            ["socket", "a", {"fd": fd("F")}],
            ["socket", "b", {"fd": fd("U")}],
            ["socket", "d", {"fd": -1}],
            ["socket", "e", {"fd": "x"}],
            ["socket", "f", {"fd": 1.5}],
        ],
    },
    "a connection that is not readable": pair(
        {"s1.accepted": [call("s1", "end", "unread")], "c.ready": [call("c", "end", "x")]},
        client={"readable": False},
    ),
    # ---- Iteration ----
    "iterated to the end": pair(
        {
            "s1.accepted": [call("s1", "end", data("hello"))],
            "c.connect": [["iterate", "c", 1000, []]],
            "s1.close": [CLOSE],
            "S.close": [turns(5, ["finish"])],
        },
        silent={"c": ["data"]},
        coroutines=True,
    ),
    "iterated and left": pair(
        {
            "s1.accepted": [call("s1", "write", data("hello"))],
            "c.connect": [["iterate", "c", 1, []]],
            "c.close": [turns(5, ["finish"])],
        },
        silent={"c": ["data"], "s1": ["end", "finish", "error", "close"]},
        coroutines=True,
    ),
    "iterated until it fails": pair(
        {
            "s1.accepted": [call("s1", "write", data("hello"))],
            "c.connect": [["iterate", "c", 1000, []]],
            "c.ready": [until("c", "bytes_read", 5, later("i", call("c", "destroy", error("E1"))))],
            "c.close": [turns(5, ["finish"])],
        },
        silent={"c": ["data"], "s1": ["end", "finish", "error", "close"]},
        coroutines=True,
    ),
    "iterated until it is destroyed": pair(
        {
            "s1.accepted": [call("s1", "write", data("hello"))],
            "c.connect": [["iterate", "c", 1000, []]],
            "c.ready": [until("c", "bytes_read", 5, later("i", call("c", "destroy")))],
            "c.close": [turns(5, ["finish"])],
        },
        silent={"c": ["data"], "s1": ["end", "finish", "error", "close"]},
        coroutines=True,
    ),
}

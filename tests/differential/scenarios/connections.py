"""Connections from their beginning to their end: ordering 3.1-3.9, 3.14, 3.15, 3.24."""

from tests.support.scripts import (
    BIG,
    CLOSE,
    LISTEN,
    call,
    cb,
    data,
    error,
    later,
    pair,
    port,
    probe,
    tick,
    turns,
    until,
)

TO_S = {"port": port("S"), "host": "127.0.0.1"}
QUIET = ["data", "end", "error", "close", "resume", "finish"]


def connecting(*actions):
    """A client that is acted upon in the turn of its connect()."""
    return pair({"c.close": [CLOSE], "s1.close": []}, after=list(actions))


PENDING = [call("c", "write", "one", cb("w1")), call("c", "write", "two", cb("w2"))]


def in_flight(act):
    return pair(
        {
            "c.ready": [
                call("c", "write", BIG, cb("w1")),
                call("c", "write", "two", cb("w2")),
                call("c", "end", cb("end")),
                later("i", act, probe("c", "writable_length")),
            ],
            "c.close": [CLOSE],
            "s1.close": [],
        },
        server={"pause_on_connect": True},
        silent={"s1": QUIET},
        since=24,
    )


# The items, deviations and rules that a scenario shows.
SHOWS = {
    "echo, client ends": "N016 N036 N038 N039 N048 N059 N099 N121 N133 N139 N140",
    "no data, nobody reads, peer ends": "S3.3-06",
    "data, nobody reads, peer ends": "S3.3-05 N045 S3.1-01 S3.1-02",
    "half open: the server answers after the end": "N045 N120 S3.3-09 S4.5-04 N122",
    "writing in and after 'end' without half open": "S3.3-09",
    "end() before connect": "S4.5-05 N063",
    "write() before connect": "S4.2-11 S4.2-21 N054",
    "destroy() while connecting": "N060",
    "destroy(error) in 'connect'": "N048",
    "destroy() after writing": "N060",
    "destroy() with a write in flight": "S4.6-04 S5-08",
    "destroy() of a new socket": "D30",
    "write after end": "S4.2-05 S4.2-08 N081 S4.2-07",
    "end() three times, and once more when finished": "N063",
    "write() and end() after destroy()": "S4.2-06 S4.2-07 S4.2-15",
    "idle timeout": "N049 N078 N121 N128",
    "idle timeout switched off": "N078 N079",
    "reconnect in 'close'": "N053 N055",
    "connect() of a connected socket": "D45",
}

SCENARIOS = {
    "echo, client ends": pair(
        {
            "c.connect": [
                probe("c", "connecting", "ready_state", "pending"),
                call("c", "write", "hi", cb("w")),
            ],
            "s1.data": [call("s1", "write", "echo", cb("w"))],
            "c.data#1": [call("c", "end", cb("end"))],
            "s1.end": [probe("s1", "ready_state", "writable", "readable")],
        }
    ),
    "server ends first": pair({"s1.accepted": [call("s1", "end", "bye", cb("end"))]}),
    "no data, nobody reads, peer ends": pair(
        {"s1.accepted": [call("s1", "end")]}, silent={"c": ["data"], "s1": ["data"]}
    ),
    "data, nobody reads, peer ends": pair(
        {
            "s1.accepted": [call("s1", "end", "unread")],
            "s1.finish": [CLOSE],
            "c.ready": [
                until(
                    *("c", "bytes_read", 6),
                    turns(5, probe("c", "readable_length", "ready_state"), call("c", "destroy")),
                )
            ],
        },
        silent={"c": ["data"]},
    ),
    "ticks and immediates of the accepting turn": pair(
        {
            "s1.accepted": [
                tick("t", tick("t2"), later("i2")),
                later("i"),
                call("s1", "destroy"),
            ],
            "c.connect": [tick("t")],
        }
    ),
    "half open: the server answers after the end": pair(
        {
            "c.ready": [call("c", "end", "question", cb("end"))],
            "s1.end": [
                probe("s1", "writable", "ready_state"),
                later("i", call("s1", "write", "answer", cb("w")), call("s1", "end")),
            ],
        },
        server={"allow_half_open": True},
    ),
    "half open client": pair(
        {
            "s1.accepted": [call("s1", "end", "all")],
            "c.end": [later("i", probe("c", "ready_state"), call("c", "end", "thanks", cb("end")))],
        },
        client={"allow_half_open": True},
    ),
    "writing in and after 'end' without half open": pair(
        {
            "c.ready": [call("c", "end")],
            "s1.end": [
                call("s1", "write", "in end", cb("in end")),
                tick("t", call("s1", "write", "in tick", cb("in tick"))),
                later("i", call("s1", "write", "late", cb("late"))),
            ],
        }
    ),
    "end() before connect": pair(
        {"c.connect": [probe("c", "ready_state")]},
        after=[call("c", "end", "data1", cb("end")), probe("c", "writable_ended", "ready_state")],
    ),
    "write() before connect": pair(
        {"c.ready": [later("i", call("c", "end"))]},
        after=[
            *PENDING,
            probe("c", "bytes_written", "writable_length"),
            call("c", "write", "three", cb("w3")),
        ],
    ),
    "cork, write and uncork before connect": pair(
        {"c.ready": [later("i", call("c", "end"))]},
        after=[
            call("c", "cork"),
            *PENDING,
            call("c", "uncork"),
            call("c", "write", "three", cb("w3")),
            probe("c", "writable_length"),  # Node's bytesWritten is NaN here
        ],
    ),
    "destroyed by a 'connect' listener with a write waiting": pair(
        {"c.connect": [call("c", "destroy")]}, after=PENDING
    ),
    "destroy() while connecting": connecting(
        *PENDING,
        call("c", "end", cb("end")),
        call("c", "destroy"),
        probe("c", "destroyed", "closed", "connecting", "ready_state"),
    ),
    "destroy(error) while connecting": connecting(
        *PENDING, call("c", "end", cb("end")), call("c", "destroy", error("E1"))
    ),
    "destroy() while connecting with an end only": connecting(
        call("c", "end", cb("end")), call("c", "destroy")
    ),
    "destroy() after the attempt began": connecting(tick("t", tick("t2", call("c", "destroy")))),
    "destroy(error) in 'connect'": pair(
        {"c.connect": [call("c", "destroy", error("E1")), call("c", "destroy", error("E2"))]}
    ),
    "destroy() after writing": pair(
        {
            "c.ready": [
                call("c", "write", "one", cb("w1")),
                call("c", "destroy"),
                call("c", "write", "two", cb("w2")),
            ]
        }
    ),
    "destroy() with a write in flight": in_flight(call("c", "destroy")),
    "destroy(error) with a write in flight": in_flight(call("c", "destroy", error("E1"))),
    "destroy() of a new socket": {
        "start": [
            ["socket", "a"],
            call("a", "destroy"),
            tick("a"),
            ["socket", "b"],
            call("b", "destroy", error("E1")),
            tick("b"),
            probe("b", "destroyed", "closed", "errored", "pending", "ready_state"),
        ]
    },
    "write after end": pair(
        {
            "c.connect": [
                call("c", "end", cb("end")),
                call("c", "write", "late", cb("late")),
                probe("c", "destroyed"),
            ]
        }
    ),
    "end(data) after end()": pair(
        {"c.ready": [call("c", "end", cb("end 1")), call("c", "end", "more", cb("end 2"))]}
    ),
    "end() three times, and once more when finished": pair(
        {
            "c.ready": [call("c", "end", cb(f"end {n}")) for n in range(3)],
            "c.finish": [call("c", "end", cb("finished"))],
        }
    ),
    "write() and end() after destroy()": pair(
        {
            "c.ready": [
                call("c", "destroy"),
                call("c", "write", "x", cb("w")),
                call("c", "end", cb("end")),
                call("c", "write", "x", cb("after end")),
            ]
        },
        deviation=(
            "net.md 4.6.4: Node never calls that end callback",
            {
                "c": [
                    *["resume", "connectionAttempt 127.0.0.1 port(S) 4", "connect", "ready"],
                    *["c.write False", "c.write False"],
                    (
                        "cb w <Error ERR_STREAM_DESTROYED: "
                        "Cannot call write after a stream was destroyed>"
                    ),
                    (
                        "cb end <Error ERR_STREAM_DESTROYED: "
                        "Cannot call end after a stream was destroyed>"
                    ),
                    "cb after end <Error ERR_STREAM_WRITE_AFTER_END: write after end>",
                    *["close False", "left closed True 0 0 0"],
                ]
            },
        ),
    ),
    "never connected: end(), write()": {
        "start": [
            ["socket", "a"],
            call("a", "end", cb("end")),
            ["socket", "b"],
            call("b", "write", "x", cb("w")),
            ["socket", "c"],
            call("c", "end", "x", cb("end")),
            later("i", probe("a", "destroyed", "ready_state", "writable_finished")),
        ],
        "since": 24,
    },
    "ended, then connected": {
        "start": [["socket", "c"], call("c", "end")],
        "on": {
            "c.finish#1": [turns(2, ["server", "S"], call("S", "listen", 0))],
            "S.listening": [call("c", "connect", TO_S)],
            "c.ready": [call("c", "end", "alive")],
            "s1.close": [CLOSE],
        },
        "since": 24,
    },
    "idle timeout": pair(
        {
            "c.ready": [
                call("c", "set_timeout", 30, cb("idle")),
                call("c", "on", "timeout", cb("after")),
            ],
            "c.timeout#1": [call("c", "write", "awake")],
            "c.timeout#2": [call("c", "end")],
        }
    ),
    "idle timeout switched off": pair(
        {
            "c.ready": [
                call("c", "set_timeout", 5),
                probe("c", "timeout"),
                call("c", "set_timeout", 0),
                probe("c", "timeout"),
                ["timer", 30, "late", [call("c", "end")]],
            ],
        }
    ),
    "idle timeouts without a connection": {
        "start": [
            *(["socket", "c"], call("c", "set_timeout", 5)),
            *(["socket", "d"], call("d", "set_timeout", 5), call("d", "destroy")),
            *(call("d", "set_timeout", 5), ["timer", 30, "late", []]),
        ],
    },
    "destroyed by the timeout while connecting": {
        "needs": {"P": {"hang": ["127.0.0.2"]}},
        "start": [
            ["socket", "c"],
            call("c", "connect", {"port": port("P"), "host": "127.0.0.2"}),
            call("c", "set_timeout", 10),
        ],
        "on": {"c.timeout": [probe("c", "connecting"), call("c", "destroy")]},
    },
    "reconnect in 'close'": pair(
        {
            "c.connect": [probe("c", "bytes_read", "destroyed"), call("c", "end", "x")],
            "c.close#1": [call("c", "connect", TO_S), probe("c", "ready_state", "destroyed")],
            "c.close#2": [CLOSE],
            "s1.close": [],
        },
    ),
    "connect() while connecting": connecting(call("c", "connect", TO_S)),
    "connect() of a connected socket": pair(
        {"c.ready#1": [call("c", "connect", TO_S)], "c.ready#2": [call("c", "end")]},
        deviation=(
            "net.md 5.3: EISCONN",
            {
                "c": [
                    *["resume", "connectionAttempt 127.0.0.1 port(S) 4", "connect", "ready"],
                    (
                        "error <Error EISCONN connect at 127.0.0.1:port(S): "
                        "connect EISCONN 127.0.0.1:port(S)>"
                    ),
                    "close True",
                    "left closed True 0 0 0",
                ]
            },
        ),
        since=26,
    ),
    "a peer that is destroyed with data unread": pair(
        {
            "s1.accepted": [until("c", "bytes_written", 5, turns(3, call("s1", "destroy")))],
            "c.ready": [call("c", "write", data("hello"))],
        },
        server={"pause_on_connect": True},
        silent={"s1": ["data", "resume"]},
    ),
    "options that a connection needs, set before and during": pair(
        {
            "c.connect": [
                call("c", "set_no_delay"),
                call("c", "set_keep_alive", True, 1000),
                call("c", "end"),
            ],
            "s1.accepted": [call("s1", "set_no_delay", False), call("s1", "set_keep_alive")],
        },
        client={"no_delay": True, "keep_alive": True, "keep_alive_initial_delay": 1500},
        server={"no_delay": True, "keep_alive": True, "keep_alive_initial_delay": 1500},
        before=[
            call("c", "set_no_delay", False),
            call("c", "set_keep_alive", False),
            probe("S", "no_delay", "keep_alive", "keep_alive_initial_delay"),
        ],
    ),
    "type of service": pair(
        {
            "c.connect": [
                call("c", "get_type_of_service"),
                call("c", "set_type_of_service", 8),
                call("c", "get_type_of_service"),
                call("c", "end"),
            ],
            "c.close": [call("c", "get_type_of_service")],
        },
        client={"type_of_service": 16},
        before=[call("c", "get_type_of_service")],
        since=26,
    ),
    "the state table": pair(
        {
            "c.connectionAttempt": [
                probe("c", "ready_state", "pending", "connecting", "readable", "writable")
            ],
            "c.connect": [
                probe("c", "ready_state", "pending", "connecting", "readable", "writable"),
                call("c", "end"),
                probe("c", "ready_state", "pending", "connecting", "readable", "writable"),
            ],
            "s1.end": [probe("s1", "ready_state", "pending", "readable", "writable", "destroyed")],
            "s1.finish": [probe("s1", "ready_state", "pending", "readable", "destroyed")],
            "s1.close": [CLOSE, probe("s1", "ready_state", "pending", "readable", "destroyed")],
            "c.end": [probe("c", "ready_state", "pending", "readable", "writable", "destroyed")],
        },
        before=[probe("c", "ready_state", "pending", "connecting", "readable", "writable")],
    ),
    "addresses": pair(
        {
            "c.connect": [
                probe("c", "remote_address", "remote_port", "remote_family"),
                probe("c", "local_address", "local_family"),
                call("c", "end"),
            ],
            "s1.accepted": [
                probe("s1", "local_address", "local_port", "local_family", "remote_family"),
                call("s1", "address"),
            ],
            "c.close": [
                probe("c", "local_address", "local_port", "local_family", "remote_address"),
                call("c", "address"),
            ],
        },
        before=[
            probe("c", "local_address", "remote_address", "remote_port", "remote_family"),
            call("c", "address"),
        ],
    ),
    "a broadcast to many": {
        "start": [
            ["server", "S"],
            LISTEN,
        ],
        "on": {
            "S.listening": [["create", f"c{n}", TO_S] for n in range(8)],
            "S.connection": [call("S", "get_connections", cb("count"))],
            "s8.accepted": [
                *[call(f"s{n}", "write", f"hello {n}", cb("w")) for n in range(1, 9)],
                *[call(f"s{n}", "end") for n in range(1, 9)],
                CLOSE,
            ],
        },
    },
}

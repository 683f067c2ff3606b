"""The properties of a socket in each of its states: streams.md 2 and 4.1."""

from tests.support.scripts import BIG, CLOSE, call, error, later, pair, probe, until

READABLE = (
    *("readable", "readable_flowing", "readable_length", "readable_high_water_mark"),
    *("readable_encoding", "readable_ended", "readable_did_read", "readable_aborted"),
    "readable_object_mode",
)
WRITABLE = (
    *("writable", "writable_length", "writable_high_water_mark", "writable_need_drain"),
    *("writable_ended", "writable_finished", "writable_corked", "writable_object_mode"),
)
WHOLE = ("destroyed", "closed", "errored", "ready_state", "pending", "connecting")


def look(name):
    return [probe(name, *names) for names in (READABLE, WRITABLE, WHOLE)]


LOOK = look("c")
MARK = {"high_water_mark": 1000}

# The items, deviations and rules that a scenario shows.
SHOWS = {
    "a conversation": "S2-12 S4.1-12 N180 N059 N061 N068 N082",
    "a write in flight that fails": "S2-12 S4.1-12 N180",
    "destroyed before anything": "S2-12 S4.1-12 N180",
}

SCENARIOS = {
    "a conversation": pair(
        {
            "c.connect": [
                *LOOK,
                call("c", "cork"),
                call("c", "cork"),
                call("c", "write", "x"),
                *LOOK,
                call("c", "uncork"),
                call("c", "uncork"),
            ],
            "s1.data#1": [call("s1", "write", "x")],
            "c.data#1": [call("c", "pause"), call("c", "write", "hé")],
            "s1.data#2": [
                call("s1", "write", "hé"),
                until(
                    *("c", "readable_length", 3),
                    *(*LOOK, call("c", "set_encoding", "utf8"), *LOOK, call("c", "resume")),
                ),
            ],
            "c.data#2": [*LOOK, call("c", "end"), *LOOK],
            "c.finish": LOOK,
            "s1.end": [*look("s1"), call("s1", "end")],
            "c.end": LOOK,
            "c.close": LOOK,
        },
        client=MARK,
        server=MARK | {"allow_half_open": True},
        before=LOOK,
        after=LOOK,
    ),
    "a write in flight that fails": pair(
        {
            "c.ready": [
                later(
                    "full",
                    *(call("c", "write", BIG), *LOOK, call("c", "destroy", error("E1")), *LOOK),
                )
            ],
            "c.close": [*LOOK, CLOSE, call("s1", "destroy")],
            "s1.close": [],
        },
        client=MARK,
        server={"pause_on_connect": True},
        silent={"c": ["data"], "s1": ["data"]},
        after=[call("c", "write", "abc"), *LOOK],
    ),
    "destroyed before anything": {
        "start": [["socket", "c", MARK], *LOOK, call("c", "destroy"), *LOOK],
        "silent": {"c": ["data"]},
    },
}

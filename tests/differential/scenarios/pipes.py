"""Pipes between sockets: ordering 3.22."""

from tests.support.scripts import BIG, call, data, error, later, pair, probe, thing, turns

HEAR = {"s1": ["pipe", "unpipe"], "d": ["pipe", "unpipe"]}
ITSELF = call("s1", "pipe", thing("s1"))

# The items, deviations and rules that a scenario shows.
SHOWS = {
    "echo": "O3.22-01 S3.4-20 N136",
    "echo that the user ends": "O3.22-02 N136",
    "the source is destroyed": "O3.22-03 S3.4-15",
}

SCENARIOS = {
    "echo": pair(
        {"s1.accepted": [ITSELF], "c.ready": [call("c", "end", data("hello"))]}, hear=HEAR
    ),
    "echo, nobody listens to 'data'": pair(
        {"s1.accepted": [ITSELF], "c.ready": [call("c", "end", BIG)]},
        hear=HEAR,
        after=[call("c", "resume")],
        silent={"c": ["data", "drain", "finish"], "s1": ["data", "drain", "pause", "resume"]},
    ),
    "echo that the user ends": pair(
        {
            "s1.accepted": [call("s1", "pipe", thing("s1"), {"end": False})],
            "c.ready": [call("c", "end", data("hello"))],
            "s1.unpipe": [call("s1", "end", data(" bye"))],
        },
        hear=HEAR,
        server={"allow_half_open": True},
    ),
    "the source is destroyed": pair(
        {"s1.accepted": [["socket", "d"], call("s1", "pipe", thing("d")), call("s1", "destroy")]},
        hear=HEAR,
    ),
    "the source fails": pair(
        {
            "s1.accepted": [
                ["socket", "d"],
                call("s1", "pipe", thing("d")),
                call("s1", "destroy", error("E1")),
            ]
        },
        hear=HEAR,
    ),
    "the destination was never connected": pair(
        {
            "s1.accepted": [["socket", "d"], call("s1", "pipe", thing("d"))],
            "c.ready": [call("c", "end", data("hello"))],
        },
        hear=HEAR,
        since=26,
    ),
    "the destination is destroyed": pair(
        {
            "s1.accepted": [["socket", "d"], call("s1", "pipe", thing("d")), call("d", "destroy")],
            "c.ready": [turns(5, call("c", "end", data("hello")))],
            "d.unpipe": [turns(9, call("s1", "resume"))],
        },
        hear=HEAR,
    ),
    "unpipe()": pair(
        {
            "s1.accepted": [
                ITSELF,
                later("i", call("s1", "unpipe", thing("s1")), probe("s1", "readable_flowing")),
            ],
            "c.ready": [turns(9, call("c", "end", data("hello")))],
            "s1.unpipe": [turns(20, call("s1", "resume"))],
        },
        hear=HEAR,
    ),
    "unpipe() of all, and of nothing": pair(
        {
            "s1.accepted": [
                call("s1", "unpipe"),
                ["socket", "d"],
                call("s1", "pipe", thing("d")),
                call("s1", "unpipe"),
                call("s1", "unpipe", thing("c")),
                turns(5, call("s1", "destroy")),
            ]
        },
        hear=HEAR,
    ),
}

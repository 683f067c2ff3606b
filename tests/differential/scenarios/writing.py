"""Writing: 'drain', cork, encodings, callbacks that fail: ordering 3.19, streams.md 4."""

from tests.support.scripts import BIG, call, cb, data, error, later, odd, pair, probe, tick, turns

ENCODINGS = {
    "utf8": "a\u00e4\u20ac",
    "UTF-8": "a\u00e4",
    "latin1": "a\u00e4\u20ac",
    "binary": "a\u00e4",
    "ascii": "a\u00e4",
    "hex": "616263zz64",
    "base64": "YWJj_-Q",
    "base64url": "YWJj+/Q=",
    "utf16le": "a\u00e4",
    "ucs2": "ab",
}

# The items, deviations and rules that a scenario shows.
SHOWS = {
    "drain": "O3.19-02 O3.19-03 S4.4-01 S4.4-03 N044 N121 S4.2-09",
    "a small write is taken at once whatever the mark": (
        "O3.19-01 S4.1-02 S4.1-03 S4.1-04 S4.2-13 S4.2-14 S4.2-16 N129"
    ),
    "a peer that is gone": "S4.6-03 D36",
    "empty writes": "S4.2-17 S4.2-18",
    "write callbacks fail": "S4.2-19 S4.2-20 N129",
    "writes and cork in one callback": "S4.2-10 S4.3-01 S4.1-07",
    "corked twice, uncorked by end()": "S4.3-02 S4.3-03",
    "corked and destroyed": "S5-08",
}

SCENARIOS = {
    "drain": pair(
        {
            "c.connect": [
                call("c", "write", BIG, cb("w1")),
                call("c", "write", "two", cb("w2")),
                probe("c", "writable_need_drain", "writable_length", "bytes_written"),
            ],
            "c.drain": [
                probe("c", "writable_length", "writable_need_drain"),
                call("c", "end", cb("end")),
            ],
        }
    ),
    "a small write is taken at once whatever the mark": pair(
        {
            "c.connect": [
                call("c", "write", data("y", 20000), cb("w1")),
                probe("c", "writable_length", "writable_need_drain", "bytes_written"),
                call("c", "end"),
            ]
        },
        client={"high_water_mark": 10},
    ),
    "the mark before connecting": pair(
        {"c.drain": [probe("c", "writable_length"), call("c", "end", cb("end"))]},
        client={"writable_high_water_mark": 10},
        after=[
            probe("c", "writable_high_water_mark"),
            call("c", "write", data("12345"), cb("w1")),
            call("c", "write", data("67890"), cb("w2")),
            probe("c", "writable_length", "writable_need_drain"),
        ],
    ),
    "writes and cork in one callback": pair(
        {
            "c.ready": [
                call("c", "write", "1", cb("w1")),
                call("c", "cork"),
                call("c", "write", "2", cb("w2")),
                call("c", "write", "3", cb("w3")),
                probe("c", "writable_length", "writable_corked", "bytes_written"),
                tick("t", call("c", "uncork"), call("c", "end", "4", cb("end"))),
            ]
        }
    ),
    "corked twice, uncorked by end()": pair(
        {
            "c.ready": [
                call("c", "cork"),
                call("c", "cork"),
                call("c", "write", "1", cb("w1")),
                call("c", "uncork"),
                probe("c", "writable_length", "writable_corked"),
                call("c", "end", "2", cb("end")),
                probe("c", "writable_length", "writable_corked"),
            ]
        }
    ),
    "corked and destroyed": pair(
        {
            "c.ready": [
                call("c", "cork"),
                call("c", "write", "1", cb("w1")),
                call("c", "write", "2", cb("w2")),
                call("c", "destroy"),
            ]
        }
    ),
    "destroyed by a 'drain' listener": pair(
        {"c.drain": [call("c", "destroy", error("E1"))]},
        client={"high_water_mark": 1000},
        after=[call("c", "write", "q"), call("c", "write", data("y", 5000), cb("w2"))],
    ),
    "a write callback writes, and ends": pair(
        {
            "c.ready": [
                call(
                    *("c", "write", "1"),
                    cb(
                        "w1",
                        call(
                            *("c", "write", "2"),
                            cb("w2", call("c", "end", "3", cb("end")), tick("t")),
                        ),
                        tick("t"),
                    ),
                ),
                call("c", "write", "a", cb("wa")),
            ]
        }
    ),
    "the write callback destroys with another error": pair(
        {
            "s1.end": [
                later(
                    "i",
                    call("s1", "write", "x", cb("w", call("s1", "destroy", error("E1")))),
                )
            ],
            "c.ready": [call("c", "end")],
        }
    ),
    "empty writes": pair(
        {
            "c.ready": [
                call("c", "write", "", cb("w1")),
                call("c", "write", data(""), cb("w2")),
                probe("c", "bytes_written", "writable_length"),
                call("c", "end", "", cb("end")),
            ]
        }
    ),
    "end() with data and with a callback only": pair(
        {
            "c.ready": [call("c", "end", "616263", "hex", cb("end"))],
            "s1.end": [call("s1", "end", cb("end"))],
        },
        server={"allow_half_open": True},
    ),
    "write(chunk, callback) and write(chunk, encoding, callback)": pair(
        {
            "c.ready": [
                call("c", "write", "a", cb("w1")),
                call("c", "write", "6263", "hex", cb("w2")),
                call("c", "write", data("d"), None, cb("w3")),
                call("c", "write", data("e"), "buffer", cb("w4")),
                call("c", "end"),
            ]
        }
    ),
    "set_default_encoding()": pair(
        {
            "c.ready": [
                call("c", "set_default_encoding", "hex"),
                call("c", "write", "616263"),
                call("c", "end", "64"),
            ]
        }
    ),
    **{
        f"text in {name}": pair(
            {
                "c.ready": [
                    call("c", "write", text, name),
                    probe("c", "bytes_written"),
                    call("c", "end"),
                ]
            }
        )
        for name, text in ENCODINGS.items()
    },
    "write() of what is no data": pair(
        {
            "c.ready": [
                *[call("c", "write", value) for value in (5, True, {}, [1], odd("function"))],
                call("c", "write", odd("null")),
                call("c", "write", "x", "klingon"),
                call("c", "end", 5),
                call("c", "end", "x", "klingon"),
                call("c", "set_default_encoding", "klingon"),
                call("c", "set_encoding", "klingon"),
                call("c", "end", "still well"),
            ]
        }
    ),
    "write callbacks fail": pair(
        {
            "c.ready": [
                call("c", "write", "a", cb("w1", ["throw", "X"])),
                call("c", "write", "b", cb("w2")),
                call("c", "end", cb("end")),
            ]
        }
    ),
    "a peer that is gone": pair(
        {
            "c.ready": [call("c", "destroy")],
            "s1.accepted": [
                turns(
                    9,
                    call("s1", "write", "first", cb("w1")),
                    turns(5, call("s1", "write", "second", cb("w2"))),
                )
            ],
        },
        server={"pause_on_connect": True},
        deviation=(
            "docs/maintainers/design.md, One write: taken for its callback's answer, the kernel's",
            {
                "s1": {
                    "s1.write False": "s1.write True",
                    "left closed True 0 0 5": "left closed True 0 0 11",
                }
            },
        ),
    ),
}

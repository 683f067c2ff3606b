"""What random scripts (random_scripts.py) found to differ, each as the shortest that did."""

from tests.support.scripts import alone, call, cb, data, error, later, lookup, probe, thing, tick


def write(name=None, text="ab"):
    return call("c", "write", data(text), *([cb(name)] if name else []))


def end(name=None, *chunk):
    return call("c", "end", *chunk, *([cb(name)] if name else []))


STATE = probe(
    "c", "writable_length", "ready_state", "destroyed", "errored", "writable_ended",
    "writable_finished", "bytes_written",
)  # fmt: skip
FLOW = probe("c", "readable_flowing", "is_paused")
CONNECT = call("c", "connect", {"port": {"$": "port", "of": "P"}, "host": "127.0.0.1"})
REMOVE = call("c", "remove_all_listeners", "readable")
ENCODINGS = ["utf8", "utf16le", "latin1", "ascii", "base64", "base64url", "hex"]

SCENARIOS = {
    # ---- After the peer's end ----
    "each write after 'close' is told that the peer ended": alone(
        "close",
        on={
            "c.close": [write("w1"), write("w2"), tick("t", write("w3"), end("e", data("x")))],
        },
    ),
    "each write between the peer's end and 'close' too": alone(
        "close",
        on={"c.end": [later("i", write("w1"), write("w2"), later("j", write("w3")))]},
    ),
    # ---- Before connect() ----
    "of two writes without a connection the second is destroyed by connect()": alone(
        "hang", [write("w1"), write("w2"), STATE], [STATE]
    ),
    "connect() forgets that a write failed": alone(
        "hang", [write("w1"), STATE], [STATE, write(), STATE, end(), STATE]
    ),
    "its answer comes at its time all the same": alone(
        "hang", [write("w1"), tick("t", call("c", "read", 3)), end("e")]
    ),
    "a write after it waits for the connection, and ends with it": alone(
        "hang", [write("w1")], [write("w2")]
    ),
    "end() before connect() finishes at once": alone("echo", [end("e")]),
    "end(data) before connect() fails": alone("echo", [end("e", data("ab"))], [end("f")]),
    "destroy_soon() before connect() finishes at once, and nothing is connected": alone(
        "echo", [call("c", "destroy_soon")], finally_=[STATE]
    ),
    "end(callback) and destroy_soon() before connect()": alone(
        "echo", [end("e"), call("c", "destroy_soon")], finally_=[STATE]
    ),
    "a write after an end() in vain": alone("hang", [end("e"), write("w")], connects=False),
    "destroy() after an end() in vain": alone(
        "hang", [end("e"), call("c", "destroy")], connects=False
    ),
    "destroy(error) after an end() in vain": alone(
        "hang", [end("e"), call("c", "destroy", error("x"))], connects=False
    ),
    "two resets while connecting, and a write between": alone(
        "hang",
        after=[call("c", "reset_and_destroy"), write("w"), call("c", "reset_and_destroy")],
        finally_=[probe("c", "errored", "bytes_written")],
    ),
    "corked, and connected once more": alone(
        "close", [call("c", "cork")], on={"c.close#1": [CONNECT, probe("c", "writable_corked")]}
    ),
    # ---- A reset ----
    "end(callback) behind a reset": alone("reset", on={"c.connect": [later("i", end("e"))]}),
    "end(data, callback) behind a reset": alone(
        "reset", on={"c.connect": [later("i", end("e", data("ab")))]}, finally_=[STATE]
    ),
    "end(callback) behind a write behind a reset": alone(
        "reset",
        on={"c.connect": [later("i", write("w"), probe("c", "writable_length"), end("e"))]},
        deviation=("docs/deviations.md", {"c": {"c.write False": "c.write True"}}),
    ),
    "end(callback) in the 'close' of a socket whose write never left": alone(
        "hang",
        after=[write("w"), call("c", "destroy")],
        on={"c.close": [end("e")]},
    ),
    # ---- Who reads ----
    "nobody hears 'readable': the last to be removed lets it flow": alone(
        "hang", [call("c", "pause"), REMOVE, FLOW], finally_=[FLOW]
    ),
    "the same of all events, and of a listener that is not there": alone(
        "hang",
        [call("c", "pause")],
        on={
            "c.connect": [call("c", "off", "readable", cb("none")), later("i", FLOW)],
        },
        finally_=[FLOW],
    ),
    "pause() after it": alone(
        "hang", [REMOVE, call("c", "pause")], silent={"c": ["data"]}, finally_=[FLOW]
    ),
    "read(), pause(), resume() and a look at who reads give two 'resume'": alone(
        "hang",
        [call("c", "read"), call("c", "pause"), call("c", "resume")],
        on={"c.connect": [call("c", "pause"), later("i", REMOVE)]},
    ),
    "unshift() of text is decoded by what set_encoding() said": alone(
        "hang",
        on={"c.connect": [call("c", "set_encoding", "hex"), later("i", call("c", "unshift", "U"))]},
    ),
    "unshift() of text gives all of it, cut characters and groups too, under each encoding": alone(
        "hang",
        [call("c", "pause")],
        on={
            "c.connect": [
                action
                for encoding in ENCODINGS
                for digits in ("e282acf09f9880", "3dd8", "61ff62", "f09f", "e28261")
                for size in range(2, len(digits) + 2, 2)
                for action in (
                    call("c", "set_encoding", encoding),
                    call("c", "unshift", digits[:size], "hex"),
                    call("c", "read"),
                )
            ]
        },
    ),
    "unpipe() in a 'data' listener lets this chunk through": alone(
        "echo",
        [call("c", "pipe", thing("c"))],
        on={"c.connect": [write()], "c.data#1": [call("c", "unpipe")]},
        finally_=[probe("c", "readable_length", "bytes_read", "bytes_written")],
    ),
    "a second connection remembers that something was read": alone(
        "bye",
        on={"c.close#1": [CONNECT]},
        finally_=[probe("c", "readable_did_read")],
    ),
}
ANSWERS = {
    "nothing": None,
    "a number": 5,
    "a text": "x",
    "a list of an address": ["127.0.0.1"],
    "a pair": ["127.0.0.1", 4],
    "a list of a mapping": [{"address": "127.0.0.1", "family": 4}],
    "a mapping": {"address": "127.0.0.1", "family": 4},
    "an empty list": [],
    "an empty mapping": {},
}
for kind, answer in ANSWERS.items():
    SCENARIOS[f"a lookup of one address that answers with {kind}"] = {
        "start": [
            ["socket", "c"],
            call(
                "c",
                "connect",
                {
                    "port": 1,
                    "host": "some.where",
                    "family": 4,
                    "lookup": lookup(None, answer, 4),
                },
            ),
        ]
    }
for family in (6, 5, "4", None):
    SCENARIOS[f"a lookup that calls an IPv4 address one of {family}"] = {
        "start": [
            ["socket", "c"],
            call(
                "c",
                "connect",
                {
                    "port": 1,
                    "host": "some.where",
                    "family": 4,
                    "lookup": lookup(None, "127.0.0.1", family),
                },
            ),
        ]
    }
REFUSED = "error <Error EINVAL connect at 127.0.0.1:1: connect EINVAL 127.0.0.1:1 - Local ({})>"
SCENARIOS["a lookup that calls an IPv4 address one of 6"]["deviation"] = (
    "docs/deviations.md",
    {"c": {REFUSED.format("undefined:undefined"): REFUSED.format(":")}},
)
for script in SCENARIOS.values():
    script["since"] = 26

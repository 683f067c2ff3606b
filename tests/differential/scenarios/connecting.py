"""Reaching an address: lookups, attempts, happy eyeballs, refusals: ordering 3.10, 3.21."""

from tests.support.scripts import (
    addresses,
    blocking,
    call,
    cb,
    error,
    later,
    lookup,
    port,
    probe,
    signal,
)

ONE = "127.0.0.1"


def to(found, *more, needs=None, on=None, when="tick", since=0, deviation=None, **options):
    """A client that connects to some.where at port P, where the name has these addresses."""
    target = {"port": port("P"), "host": "some.where", "lookup": lookup(None, found, when=when)}
    script = {
        "needs": {"P": needs or {"listen": [ONE]}},
        "start": [["socket", "c"], call("c", "connect", target | options), *more],
        "on": {
            "c.connect": [probe("c", "auto_select_family_attempted_addresses")],
            "c.ready": [call("c", "destroy")],
            "c.error": [probe("c", "auto_select_family_attempted_addresses")],
            **(on or {}),
        },
        "since": since,
    }
    return script | ({"deviation": deviation} if deviation else {})


def single(*answer, when="tick", **options):
    """As to(), but the lookup answers for one address, or as it likes."""
    return to(None, when=when, **options) | {
        "start": [
            ["socket", "c"],
            call(
                *("c", "connect"),
                {"port": port("P"), "host": "some.where", "lookup": lookup(*answer, when=when)}
                | options,
            ),
        ]
    }


FAST = {"auto_select_family_attempt_timeout": 10}
DESTROY = call("c", "destroy")

# The items, deviations and rules that a scenario shows.
SHOWS = {
    "refused": "R6-02 N041 N046",
    "create_connection(port, host, listener)": "N039",
    "all: the first is refused": "N051 N169",
    "all: the first hangs": "N042 N169",
    "all: the last hangs, without a limit": "N169",
    "all: interleaved families": "N169",
    "all: the same twice": "N051",
    "all: a blocked address": "N152",
}

SCENARIOS = {
    # ---- One address ----
    "refused": {
        "needs": {"P": {"refuse": [ONE]}},
        "start": [
            ["socket", "c"],
            call("c", "connect", {"port": port("P"), "host": ONE}),
            call("c", "write", "one", cb("w1")),
            call("c", "end", cb("end")),
        ],
        "on": {"c.error": [probe("c", "destroyed", "connecting")]},
    },
    "refused, and nobody listens to 'error'": {
        "needs": {"P": {"refuse": [ONE]}},
        "start": [["socket", "c"], call("c", "connect", port("P"), ONE)],
        "silent": {"c": ["error"]},
    },
    "refused, and connected in 'close'": {
        "needs": {"P": {"listen": [ONE], "refuse": ["127.0.0.2"]}},
        "start": [["socket", "c"], call("c", "connect", port("P"), "127.0.0.2")],
        "on": {
            "c.close#1": [call("c", "connect", port("P"), ONE)],
            "c.ready": [probe("c", "errored"), DESTROY],
        },
    },
    "port 0": {"start": [["socket", "c"], call("c", "connect", 0, ONE)]},
    "connect(options, listener)": {
        "needs": {"P": {"listen": [ONE]}},
        "start": [["socket", "c"], call("c", "connect", port("P"), ONE, cb("listener", DESTROY))],
    },
    "create_connection(port, host, listener)": {
        "needs": {"P": {"listen": [ONE]}},
        "start": [["create", "c", port("P"), ONE, cb("listener", DESTROY)]],
    },
    "create_connection(text, host)": {
        "needs": {"P": {"listen": [ONE]}},
        "start": [["create", "c", {"port": port("P"), "host": ONE, "timeout": 5000}]],
        "on": {"c.connect": [probe("c", "timeout"), DESTROY]},
    },
    "a local address and port": {
        "needs": {"P": {"listen": [ONE]}},
        "start": [
            ["socket", "c"],
            call("c", "connect", {"port": port("P"), "host": ONE, "local_address": ONE}),
        ],
        "on": {"c.connect": [probe("c", "local_address"), DESTROY]},
    },
    "a local address that is not here": {
        "needs": {"P": {"listen": [ONE]}},
        "start": [
            ["socket", "c"],
            call("c", "connect", {"port": port("P"), "host": ONE, "local_address": "192.0.2.1"}),
        ],
    },
    "refused, with a local address and port": {
        "needs": {"P": {"refuse": [ONE]}, "L": {"refuse": ["127.0.0.7"]}},
        "start": [
            ["socket", "c"],
            call(
                *("c", "connect"),
                {
                    "port": port("P"),
                    "host": ONE,
                    "local_address": "127.0.0.6",
                    "local_port": port("L"),
                },
            ),
        ],
    },
    "a blocked address": {
        "needs": {"P": {"listen": [ONE]}},
        "start": [
            ["socket", "c", {"block_list": blocking(ONE)}],
            call("c", "connect", port("P"), ONE),
        ],
        "since": 26,
    },
    "destroy() in 'connectionAttempt'": {
        "needs": {"P": {"listen": [ONE]}},
        "start": [["socket", "c"], call("c", "connect", port("P"), ONE)],
        "on": {"c.connectionAttempt": [DESTROY]},
        "deviation": ("net.md 5.5: Node fails with an uncaught TypeError", {"-": []}),
    },
    "destroy() in 'connectionAttemptFailed'": {
        "needs": {"P": {"refuse": [ONE]}},
        "start": [["socket", "c"], call("c", "connect", port("P"), ONE)],
        "on": {"c.connectionAttemptFailed": [DESTROY]},
    },
    # ---- A lookup of one's own ----
    "one address, in a tick": single(None, ONE, 4, family=4, hints=0),
    "one address, at once": single(None, ONE, 4, when="now", family=4),
    "one address, in an immediate": single(None, ONE, 4, when="immediate", family=4),
    "one address without family": single(None, ONE, 4, auto_select_family=False),
    "an address for a local one": single(None, ONE, 4, local_address=ONE),
    "the lookup fails": single(error("no such name")),
    "the lookup fails at once": single(error("no such name"), when="now", family=4),
    "a lookup that never answers": single(when="never"),
    "a lookup that never answers, with a timeout": single(when="never")
    | {"on": {"c.timeout": [DESTROY]}},
    "destroy() before the lookup answers": single(None, ONE, 4, when="immediate", family=4)
    | {
        "start": [
            ["socket", "c"],
            call(
                *("c", "connect"),
                {"port": 1, "host": "x", "lookup": lookup(None, ONE, 4, when="immediate")},
            ),
            DESTROY,
        ]
    },
    "no address": single(None, "nonsense", 4, family=4),
    "no family": single(None, ONE, 100, family=4),
    "destroy() in 'lookup', one address": single(None, ONE, 4, family=4)
    | {"on": {"c.lookup": [DESTROY]}},
    # ---- All addresses ----
    "all: one": to(addresses(ONE)),
    "all: the same twice": to(addresses(ONE, ONE)),
    "all: the first is refused": to(
        addresses("::1", ONE), needs={"listen": [ONE], "refuse": ["::1"]}
    ),
    "all: the first succeeds": to(addresses(ONE, "::1"), needs={"listen": [ONE, "::1"]}),
    "all: at once": to(
        addresses("::1", ONE), needs={"listen": [ONE], "refuse": ["::1"]}, when="now"
    ),
    "all: interleaved families": to(
        addresses("127.0.0.2", "127.0.0.3", "::1", ONE),
        needs={"listen": [ONE], "refuse": ["127.0.0.2", "127.0.0.3", "::1"]},
    ),
    "all: all are refused": to(
        addresses("127.0.0.2", "127.0.0.3", "::1"),
        needs={"refuse": ["127.0.0.2", "127.0.0.3", "::1"]},
    ),
    "all: all are refused, with a write and an end": to(
        addresses("127.0.0.2", "127.0.0.3"),
        call("c", "write", "one", cb("w1")),
        call("c", "write", "two", cb("w2")),
        call("c", "end", cb("end")),
        needs={"refuse": ["127.0.0.2", "127.0.0.3"]},
    ),
    "all: the second is connected, with writes": to(
        addresses("127.0.0.2", ONE),
        call("c", "write", "one", cb("w1")),
        call("c", "write", "two", cb("w2")),
        needs={"listen": [ONE], "refuse": ["127.0.0.2"]},
    ),
    "all: the first hangs": to(
        addresses("127.0.0.2", ONE), needs={"listen": [ONE], "hang": ["127.0.0.2"]}, **FAST
    ),
    "all: one hangs, one is refused": to(
        addresses("127.0.0.2", "127.0.0.3"),
        needs={"hang": ["127.0.0.2"], "refuse": ["127.0.0.3"]},
        **FAST,
    ),
    "all: two hang, the third is connected": to(
        addresses("127.0.0.2", "127.0.0.3", ONE),
        needs={"listen": [ONE], "hang": ["127.0.0.2", "127.0.0.3"]},
        **FAST,
    ),
    "all: the last hangs, without a limit": to(
        addresses("127.0.0.2", "127.0.0.3"),
        needs={"hang": ["127.0.0.3"], "refuse": ["127.0.0.2"]},
        on={"c.connectionAttempt#2": [["timer", 60, "late", [DESTROY]]]},
        **FAST,
    ),
    "all: destroy() in the first 'lookup'": to(addresses("::1", ONE), on={"c.lookup#1": [DESTROY]}),
    "all: destroy() in the second 'lookup'": to(
        addresses("::1", ONE), on={"c.lookup#2": [DESTROY]}
    ),
    "all: destroy() in 'connectionAttemptFailed'": to(
        addresses("::1", ONE),
        needs={"listen": [ONE], "refuse": ["::1"]},
        on={"c.connectionAttemptFailed": [DESTROY]},
    ),
    "all: destroy(error) in 'connectionAttemptFailed'": to(
        addresses("::1", ONE),
        needs={"listen": [ONE], "refuse": ["::1"]},
        on={"c.connectionAttemptFailed": [call("c", "destroy", error("E1"))]},
    ),
    "all: destroy() in 'connectionAttemptTimeout'": to(
        addresses("127.0.0.2", ONE),
        needs={"listen": [ONE], "hang": ["127.0.0.2"]},
        on={"c.connectionAttemptTimeout": [DESTROY]},
        **FAST,
    ),
    "all: destroy() with an attempt in flight": to(
        addresses("127.0.0.2", ONE),
        needs={"listen": [ONE], "hang": ["127.0.0.2"]},
        on={"c.connectionAttempt": [later("i", DESTROY)]},
    ),
    "all: destroy(error) with an attempt in flight": to(
        addresses("127.0.0.2", ONE),
        call("c", "write", "one", cb("w1")),
        call("c", "write", "two", cb("w2")),
        call("c", "end", cb("end")),
        needs={"listen": [ONE], "hang": ["127.0.0.2"]},
        on={"c.connectionAttempt": [later("i", call("c", "destroy", error("E1")))]},
    ),
    "all: the timeout destroys with an attempt in flight": to(
        addresses("127.0.0.2", ONE),
        call("c", "set_timeout", 10),
        needs={"listen": [ONE], "hang": ["127.0.0.2"]},
        on={"c.timeout": [DESTROY]},
    ),
    "all: abort with an attempt in flight": to(
        addresses("127.0.0.2", ONE),
        needs={"listen": [ONE], "hang": ["127.0.0.2"]},
        on={"c.connectionAttempt": [later("i", ["abort", "A"])]},
    )
    | {
        "start": [
            ["controller", "A"],
            ["socket", "c", {"signal": signal("A")}],
            call(
                *("c", "connect"),
                {
                    "port": port("P"),
                    "host": "some.where",
                    "lookup": lookup(None, addresses("127.0.0.2", ONE)),
                },
            ),
        ]
    },
    "all: an address that is none among them": to(
        [{"address": "nonsense", "family": 4}, *addresses(ONE)]
    ),
    "all: none is one": to([{"address": "nonsense", "family": 4}, {"address": ONE, "family": 100}]),
    "all: a blocked address": to(
        addresses("127.0.0.2", "127.0.0.3", ONE), needs={"listen": [ONE, "127.0.0.2"]}, since=26
    )
    | {
        "start": [
            ["socket", "c", {"block_list": blocking("127.0.0.2", "127.0.0.3")}],
            call(
                *("c", "connect"),
                {
                    "port": port("P"),
                    "host": "some.where",
                    "lookup": lookup(None, addresses("127.0.0.2", "127.0.0.3", ONE)),
                },
            ),
        ]
    },
    "all: all are blocked": to(addresses("127.0.0.2", ONE), since=26)
    | {
        "start": [
            ["socket", "c", {"block_list": blocking("127.0.0.2", ONE)}],
            call(
                *("c", "connect"),
                {
                    "port": port("P"),
                    "host": "some.where",
                    "lookup": lookup(None, addresses("127.0.0.2", ONE)),
                },
            ),
        ]
    },
    "all: none, autoselect": to(
        [],
        deviation=(
            "net.md 5.4: Node fails with an uncaught TypeError",
            {
                "c": [
                    "asked for some.where {hints: 32, all: True}",
                    "resume",
                    (
                        "lookup <Error ENOTFOUND getaddrinfo: getaddrinfo ENOTFOUND some.where>"
                        " None None some.where"
                    ),
                    "error <Error ENOTFOUND getaddrinfo: getaddrinfo ENOTFOUND some.where>",
                    "c.auto_select_family_attempted_addresses None",
                    "close True",
                    "left closed True 0 0 0",
                ],
                "-": [],
            },
        ),
    ),
    "all: a local port": to(
        addresses("::1", ONE),
        needs={"listen": [ONE], "refuse": ["::1"]},
        local_port=0,
    ),
}

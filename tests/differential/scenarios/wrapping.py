"""TLS on a connection that a program has already: whose the events and the errors are then."""

from typing import Any

from tests.support.scripts import CLOSE, LISTEN, call, data, error, port, probe, thing, turns

KEYS = {"key": {"$": "pem", "name": "server.key"}, "cert": {"$": "pem", "name": "server.pem"}}
OTHER = {"key": {"$": "pem", "name": "other.key"}, "cert": {"$": "pem", "name": "other.pem"}}
TRUST = {"ca": {"$": "pem", "name": "ca.pem"}, "servername": "localhost"}
# How the socket that is taken over ends is not what these scenarios are about.
QUIET = ["data", "error", "end", "finish", "close", "pause", "resume", "connectionAttempt"]
SILENT = {"s1": QUIET, "c": QUIET}
STATE = ["connecting", "pending", "ready_state", "remote_address", "secure_connecting", "destroyed"]


def wrapping(
    on: dict[str, list[Any]],
    kind: str = "server",
    server: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A server S of a kind, and a plain client c that connects to it."""
    return {
        "tls": True,
        "start": [[kind, "S", server or {}], ["socket", "c", {}], LISTEN],
        "on": {
            "S.listening": [call("c", "connect", {"port": port("S"), "host": "127.0.0.1"})],
            **on,
        },
        "silent": SILENT,
        **more,
    }


def own(options: dict[str, Any] | None = None) -> list[Any]:
    """The server's side, made by the program."""
    return ["tls_socket", "t", "s1", {"is_server": True, **KEYS, **(options or {})}]


CLIENT = ["tls_connect", "t", {"socket": thing("c"), **TRUST}]
SECOND = ["tls_connect", "u", {"socket": thing("c"), **TRUST}]
HALF_A_HELLO = data("\x16\x03\x01\x00\x50\x01")

SCENARIOS: dict[str, Any] = {}

# ---- What a peer does, and when ------------------------------------------------------------------

HOSTILE: dict[str, Any] = {
    "ends": ["end"],
    "resets": ["reset_and_destroy"],
    "sends garbage": ["write", "garbage, and no record at all\r\n"],
    "sends half a hello and ends": ["end", HALF_A_HELLO],
}
OVER = "D151"
OURS = "D151"
for what, deed in HOSTILE.items():
    # The peer acts when the connection stands: before anything is wrapped, or in the handshake.
    for when, before, then in (("before", 3, 0), ("in", 0, 3)):
        SCENARIOS[f"a TLS server: the client {what} {when} the handshake"] = wrapping(
            {
                "c.connect": [turns(then, call("c", *deed))],
                "S.tlsClientError": [turns(3, call("c", "destroy"), CLOSE)],
            },
            "tls_server",
            KEYS,
            silent={"c": QUIET},
        )
        if when == "before" and deed in (["end"], ["reset_and_destroy"]):
            # Node's socket on one that is destroyed stays open for ever; see test_tls_peers.py.
            continue
        SCENARIOS |= {
            f"a socket of one's own on a server: the client {what} {when} the handshake": wrapping(
                {
                    "s1.accepted": [turns(then, call("c", *deed)), turns(before, own())],
                    "t.close": [call("c", "destroy"), CLOSE],
                },
                silent={"c": QUIET, "s1": ["data", "pause"]},
            ),
            f"a client: the server {what} {when} the handshake": wrapping(
                {
                    "s1.accepted": [turns(then + 1, call("s1", *deed)), turns(before + 1, CLIENT)],
                    "t.close": [call("s1", "destroy"), CLOSE],
                },
                silent={"c": ["data", "pause", "connectionAttempt"], "s1": QUIET},
            ),
        }
SCENARIOS[
    "a socket of one's own on a server: the client sends half a hello and ends before the handshake"
]["deviation"] = (
    OVER,
    {
        "s1": ["close False", "left closed True 0"],
        "t": ["resume", "end", "finish", "close False", "left closed True 0"],
    },
)
GONE = "Client network socket disconnected before secure TLS connection was established"
SCENARIOS["a client: the server sends half a hello and ends before the handshake"]["deviation"] = (
    OVER,
    {
        "c": ["connect", "ready", "close False", "left closed True 0"],
        "t": [
            "resume",
            "end",
            f"error <Error ECONNRESET: {GONE}>",
            "close True",
            "left closed True 0",
        ],
    },
)
for side, (here, there) in {"server": ("t", "u"), "client": ("u", "t")}.items():
    for name, action in {"ends": ["end"], "is destroyed": ["destroy"]}.items():
        SCENARIOS[f"a {side} whose peer {name} after the handshake"] = wrapping(
            {
                "s1.accepted": [own(), turns(1, SECOND)],
                "u.secureConnect": [turns(6, call(there, *action))],
                f"{here}.close": [turns(4, call(there, "destroy"), CLOSE)],
            },
            silent={"c": QUIET, "s1": QUIET, there: [*QUIET, "secure"]},
        )

# ---- Whose the connection is ---------------------------------------------------------------------

READ, WRITE = (f"<Error ECONNRESET {call}: {call} ECONNRESET>" for call in ("read", "write"))
LEFT = "left closed True 9000000"
SCENARIOS |= {
    "the state of a server's socket at once": wrapping(
        {
            "s1.accepted": [
                own(),
                probe("t", *STATE),
                turns(3, probe("t", *STATE), call("c", "destroy")),
            ],
            "t.close": [CLOSE],
        }
    ),
    "the state of a client at once": wrapping(
        {
            "c.connect": [
                CLIENT,
                probe("t", *STATE),
                turns(3, probe("t", *STATE), call("t", "destroy")),
            ],
            "t.close": [CLOSE],
        }
    ),
    "a greeting under way, and the client resets": wrapping(
        {
            "c.connect": [call("c", "pause")],
            "s1.accepted": [
                call("s1", "write", data("g", 9_000_000)),
                own(),
                probe("t", *STATE),
                turns(3, call("c", "reset_and_destroy")),
            ],
            "t.close": [CLOSE],
        },
        # It is the write of the greeting that fails.
        deviation=(OURS, {"t": {f"error {READ}": f"error {WRITE}"}}),
    ),
    "a greeting of a TLS server under way, and the client resets": wrapping(
        {
            "c.connect": [call("c", "pause")],
            "r1.accepted": [
                call("r1", "write", data("g", 9_000_000)),
                turns(3, call("c", "reset_and_destroy")),
            ],
            "S.tlsClientError": [CLOSE],
        },
        "tls_server",
        KEYS,
        raw=["S"],
        silent={**SILENT, "r1": SILENT["s1"]},
        deviation=(
            OURS,
            {
                "S": {f"tlsClientError {READ} a TLSSocket": f"tlsClientError {WRITE} a TLSSocket"},
                "r1": {LEFT: "left closed True 0"},
            },
        ),
    ),
    "a greeting of a TLS server that is never read": wrapping(
        {
            "c.connect": [call("c", "pause")],
            "r1.accepted": [call("r1", "write", data("g", 9_000_000))],
            "S.tlsClientError": [turns(3, call("c", "destroy"), CLOSE)],
        },
        "tls_server",
        {**KEYS, "handshake_timeout": 60},
        raw=["S"],
        silent={**SILENT, "r1": SILENT["s1"]},
        deviation=(OURS, {"r1": {LEFT: "left closed True 0"}}),
    ),
    "an error for the plain socket": wrapping(
        {
            "s1.accepted": [own(), turns(2, call("s1", "destroy", error("enough")))],
            "t.close": [call("c", "destroy"), CLOSE],
        },
        deviation=(
            OURS,
            {"t": ["resume", "error <Error: enough>", "close True", "left closed True 0"]},
        ),
    ),
    "the plain socket is destroyed": wrapping(
        {
            "s1.accepted": [own(), turns(2, call("s1", "destroy"))],
            "t.close": [call("c", "destroy"), CLOSE],
        }
    ),
}

# ---- Which options, and which streams ------------------------------------------------------------

TALK: dict[str, list[Any]] = {
    "u.secureConnect": [call("u", "end", "question")],
    "t.data": [call("t", "end", "answer")],
    "u.close": [turns(3, CLOSE)],
}
DUPLEX = ["duplex", "d", "s1"]
SCENARIOS |= {
    "a key wins over that of a TLS server": wrapping(
        {**TALK, "s1.accepted": [["tls_server", "T", OTHER], own({"server": thing("T")}), SECOND]}
    ),
    "a plain server is a server, too": wrapping(
        {**TALK, "s1.accepted": [own({"server": thing("S")}), SECOND]}
    ),
    "a TLS server is given a plain socket": wrapping(
        {
            "s1.accepted": [
                ["tls_server", "T", KEYS],
                call("T", "emit", "connection", thing("s1")),
                SECOND,
            ],
            "u.secureConnect": [call("u", "end", "question")],
            "s2.data": [call("s2", "end", "answer")],
            "u.close": [turns(3, CLOSE)],
        }
    ),
    "a TLS server is given another stream": wrapping(
        {
            "s1.accepted": [
                ["tls_server", "T", KEYS],
                DUPLEX,
                call("T", "emit", "connection", thing("d")),
                SECOND,
            ],
            "u.secureConnect": [call("u", "write", "question")],
            "s2.data": [call("s2", "write", "answer")],
            "u.data": [call("u", "destroy"), turns(3, CLOSE)],
        },
        silent={**SILENT, "s2": ["resume"]},
    ),
    "TLS over another stream": wrapping(
        {
            **TALK,
            "s1.accepted": [DUPLEX, ["tls_socket", "t", "d", {"is_server": True, **KEYS}], SECOND],
        }
    ),
    "a socket that connects later": wrapping(
        {
            "S.listening": [
                CLIENT,
                probe("t", *STATE[:3]),
                turns(2, call("c", "connect", {"port": port("S"), "host": "127.0.0.1"})),
            ],
            "s1.accepted": [["tls_socket", "v", "s1", {"is_server": True, **KEYS}]],
            "t.connect": [probe("t", *STATE[:3])],
            "t.secureConnect": [call("t", "write", "question")],
            "v.data": [call("v", "end", "answer")],
            "t.close": [turns(3, CLOSE)],
        }
    ),
    "the plain socket may be half open": wrapping(
        {
            "s1.accepted": [own(), probe("t", "allow_half_open"), call("c", "destroy")],
            "t.end": [call("t", "end")],
            "t.close": [CLOSE],
        },
        server={"allow_half_open": True},
    ),
    "the secure socket alone cannot be half open": wrapping(
        {
            "s1.accepted": [
                own({"allow_half_open": True}),
                probe("t", "allow_half_open"),
                call("c", "destroy"),
            ],
            "t.close": [CLOSE],
        }
    ),
}

# ---- Idle timers, and what is left of the plain socket -------------------------------------------

IDLE = {
    "s1.timeout": [call("s1", "set_timeout", 0), turns(2, call("c", "destroy"))],
    "t.timeout": [call("t", "set_timeout", 0), turns(2, call("c", "destroy"))],
    "t.close": [CLOSE],
}
LOUD = {"c": QUIET, "s1": ["data", "pause", "resume"]}
SCENARIOS |= {
    "an idle timer that was set before": wrapping(
        {**IDLE, "s1.accepted": [call("s1", "set_timeout", 60), own()]}, silent=LOUD
    ),
    "an idle timer of the plain socket that is set afterwards": wrapping(
        {**IDLE, "s1.accepted": [own(), call("s1", "set_timeout", 60)]}, silent=LOUD
    ),
    "an idle timer of the secure socket": wrapping(
        {**IDLE, "s1.accepted": [own(), call("t", "set_timeout", 60)]}, silent=LOUD
    ),
    "the listeners of the plain socket hear no more": wrapping(
        {
            "c.connect": [call("c", "write", "STARTTLS")],
            "s1.data": [own(), SECOND],
            "u.secureConnect": [call("u", "write", "x")],
            "t.data": [call("t", "end")],
            "t.close": [CLOSE],
        },
        silent={**LOUD, "s1": ["pause", "resume"], "u": ["end", "finish", "error", "close"]},
    ),
    "the plain socket is ended when it is secure": wrapping(
        {
            "s1.accepted": [own(), SECOND],
            "u.secureConnect": [turns(4, call("s1", "end"))],
            "t.close": [turns(2, call("u", "destroy"), CLOSE)],
        },
        silent={**LOUD, "u": QUIET},
        deviation=(
            OURS,
            {"t": ["resume", "secure", "finish", "end", "close False", "left closed True 0"]},
        ),
    ),
    "the plain socket is destroyed when it is secure": wrapping(
        {
            "s1.accepted": [own(), SECOND],
            "u.secureConnect": [turns(4, call("s1", "destroy", error("enough")))],
            "t.close": [turns(2, call("u", "destroy"), CLOSE)],
        },
        silent={**LOUD, "u": QUIET},
        deviation=(
            OURS,
            {
                "t": [
                    "resume",
                    "secure",
                    "error <Error: enough>",
                    "close True",
                    "left closed True 0",
                ]
            },
        ),
    ),
}

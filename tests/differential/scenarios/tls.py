"""TLS: what each side sees of a handshake, of data and of both ends, and of what goes wrong."""

from typing import Any

from tests.support.scripts import LISTEN, call, cb, data, error, port, probe, thing, turns

CLOSE = call("S", "close", cb("server closed"))
ABOUT = ["authorized", "authorization_error", "alpn_protocol", "servername", "encrypted"]
LOOK = [
    probe("c", *ABOUT, "connecting"),
    call("c", "get_protocol"),
    call("c", "is_session_reused"),
]
LOOK_S = [probe("s1", *ABOUT), call("s1", "get_protocol"), call("s1", "is_session_reused")]
VERSIONS = {"1.2": {"max_version": "TLSv1.2"}, "1.3": {}}
SAFETY = "OpenSSL verifies in the handshake, and the server is sent an alert"


def pem(name: str) -> Any:
    return {"$": "pem", "name": name}


def sni(answers: dict[str, Any], when: str = "now") -> Any:
    return {"$": "sni", "answers": answers, "when": when}


def alpn(answer: str | None) -> Any:
    return {"$": "alpn", "answer": answer}


def identity(text: str = "") -> Any:
    return {"$": "identity", "error": text}


def context(**options: Any) -> Any:
    return {"$": "context", "options": options}


KEYS = {"key": pem("server.key"), "cert": pem("server.pem")}
OTHER = {"key": pem("other.key"), "cert": pem("other.pem")}
ALICE = {"key": pem("client.key"), "cert": pem("client.pem")}
TRUST = {"ca": pem("ca.pem"), "servername": "localhost"}


def over_tls(
    on: dict[str, list[Any]] | None = None,
    server: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    after: list[Any] | None = None,
    before: list[Any] | None = None,
    keys: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A server S, and a client c that connects as soon as S listens; both close in the end."""
    target = {"port": port("S"), "host": "127.0.0.1", **TRUST, **(client or {})}
    target = {name: value for name, value in target.items() if value != "none"}
    listening = [*(before or []), ["tls_connect", "c", target], *(after or [])]
    return {
        "tls": True,
        "start": [
            ["tls_server", "S", {**(KEYS if keys is None else keys), **(server or {})}],
            LISTEN,
        ],
        "on": {"S.listening": listening, "c.close": [turns(8, CLOSE)], **(on or {})},
        **more,
    }


SCENARIOS: dict[str, Any] = {}
for version, limit in VERSIONS.items():
    SCENARIOS |= {
        f"{version}: both speak, the server ends": over_tls(
            {
                "c.secureConnect": [*LOOK, call("c", "write", "question")],
                "s1.data": [*LOOK_S, call("s1", "end", "answer")],
            },
            server=limit,
        ),
        f"{version}: both speak, the client ends": over_tls(
            {
                "c.secureConnect": [call("c", "end", "question", cb("ended"))],
                "s1.data": [call("s1", "write", "answer")],
            },
            server=limit,
        ),
        f"{version}: the server speaks first": over_tls(
            {"s1.accepted": [call("s1", "end", "hello")]}, server=limit
        ),
        f"{version}: writes before the connection": over_tls(
            {"s1.data": [call("s1", "end")]},
            server=limit,
            after=[
                probe("c", "connecting", "pending", "secure_connecting", "ready_state"),
                call("c", "write", "early", cb("written")),
                probe("c", "writable_length"),
            ],
        ),
        f"{version}: writes at connect": over_tls(
            {
                "c.connect": [
                    call("c", "write", "early", cb("written")),
                    probe("c", "connecting", "secure_connecting", "ready_state"),
                ],
                "s1.data": [call("s1", "end")],
            },
            server=limit,
        ),
        f"{version}: megabytes up": over_tls(
            {"c.secureConnect": [call("c", "end", data("z", 3_000_000), cb("written"))]},
            server=limit,
        ),
        f"{version}: megabytes down": over_tls(
            {"s1.accepted": [call("s1", "end", data("y", 2_000_000), cb("written"))]},
            server=limit,
        ),
        f"{version}: half open": over_tls(
            {
                "c.secureConnect": [call("c", "end", "question")],
                "s1.end": [turns(3, call("s1", "end", "late"))],
            },
            server={"allow_half_open": True, **limit},
        ),
        f"{version}: the listener of connect()": over_tls(
            {"s1.accepted": [call("s1", "end")]},
            server=limit,
            before=[],
            after=[call("c", "once", "secureConnect", cb("secure"))],
        ),
        f"{version}: destroyed when secure": over_tls(
            {"c.secureConnect": [call("c", "destroy")]}, server=limit
        )
        if version == "1.3"
        else over_tls(
            {"s1.accepted": [call("s1", "destroy")], "s1.close": [CLOSE, call("c", "destroy")]},
            server=limit,
            silent={"c": ["end", "finish", "error", "close", "ready", "secure", "secureConnect"]},
        ),
        f"{version}: destroyed with an error": over_tls(
            {
                "c.secureConnect": [call("c", "write", "x")],
                "s1.data": [call("s1", "destroy", error("enough"))],
                "s1.close": [CLOSE, call("c", "destroy")],
                "c.close": [],
            },
            server=limit,
            silent={"c": ["end", "finish", "error", "close", "data"]},
        ),
        f"{version}: ALPN, both offer": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={"alpn_protocols": ["h2", "http/1.1"], **limit},
            client={"alpn_protocols": ["http/1.1", "h2"]},
        ),
        f"{version}: ALPN, only the server": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={"alpn_protocols": ["h2"], **limit},
        ),
        f"{version}: ALPN, only the client": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server=limit,
            client={"alpn_protocols": ["h2"]},
        ),
        f"{version}: ALPN, nothing in common": over_tls(
            server={"alpn_protocols": ["h2"], **limit}, client={"alpn_protocols": ["x"]}
        ),
        f"{version}: ALPN by callback": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={"alpn_callback": alpn("b"), **limit},
            client={"alpn_protocols": ["a", "b"]},
        ),
        f"{version}: ALPN by callback, without an offer": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={"alpn_callback": alpn("b"), **limit},
        ),
        f"{version}: ALPN by callback, refused": over_tls(
            server={"alpn_callback": alpn(None), **limit}, client={"alpn_protocols": ["a"]}
        ),
        f"{version}: ALPN by callback, nonsense": over_tls(
            server={"alpn_callback": alpn("z"), **limit}, client={"alpn_protocols": ["a", "b"]}
        ),
        f"{version}: SNI chooses": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={"sni_callback": sni({"other.example": [None, context(**OTHER)]}), **limit},
            client={"servername": "other.example"},
        ),
        f"{version}: SNI chooses later": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={
                "sni_callback": sni({"other.example": [None, context(**OTHER)]}, "later"),
                **limit,
            },
            client={"servername": "other.example"},
        ),
        f"{version}: SNI leaves it to the server": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")]},
            server={"sni_callback": sni({}), **limit},
        ),
        f"{version}: SNI fails": over_tls(
            server={"sni_callback": sni({"localhost": [error("no such host"), None]}), **limit}
        ),
        f"{version}: no SNI for an address": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={"sni_callback": sni({}), **limit},
            client={"servername": "none"},
        ),
        f"{version}: a context added for the name": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")]},
            server=limit,
            client={"servername": "other.example"},
            before=[call("S", "add_context", "other.example", OTHER)],
        ),
        f"{version}: a context added for a pattern": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")]},
            server=limit,
            keys=OTHER,
            client={"servername": "a.wild.example"},
            before=[call("S", "add_context", "*.wild.example", KEYS)],
        ),
        f"{version}: a context added for another name": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")]},
            server=limit,
            before=[call("S", "add_context", "other.example", OTHER)],
        ),
        f"{version}: a renewed context": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")]},
            server=limit,
            keys=OTHER,
            before=[call("S", "set_secure_context", {**KEYS, **limit})],
        ),
        f"{version}: a client's certificate": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={"request_cert": True, "ca": pem("ca.pem"), **limit},
            client=ALICE,
        ),
        f"{version}: a client without a certificate that may go without": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")], "s1.accepted": LOOK_S},
            server={
                "request_cert": True,
                "reject_unauthorized": False,
                "ca": pem("ca.pem"),
                **limit,
            },
        ),
        f"{version}: an identity of the program's": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")]},
            server=limit,
            client={"check_server_identity": identity()},
        ),
        f"{version}: an RSA key": over_tls(
            {"c.secureConnect": [*LOOK, call("c", "end")]},
            keys={"key": pem("rsa.key"), "cert": pem("rsa.pem")},
            server=limit,
        ),
        f"{version}: the program sees the plain connection": over_tls(
            {"c.secureConnect": [call("c", "end", "x")]},
            server=limit,
            raw=["S"],
        ),
        f"{version}: the timeout of a socket": over_tls(
            {"c.timeout": [call("c", "end")]},
            server=limit,
            client={"timeout": 60},
        ),
        f"{version}: paused and resumed": over_tls(
            {
                "s1.accepted": [call("s1", "end", "hello")],
                "c.secureConnect": [call("c", "pause"), turns(5, call("c", "resume"))],
            },
            server=limit,
        ),
        f"{version}: text": over_tls(
            {
                "c.secureConnect": [call("c", "set_encoding", "utf8")],
                "s1.accepted": [call("s1", "end", "\u00e9\u20ac")],
            },
            server=limit,
        ),
    }

# ---- What fails ----------------------------------------------------------------------------------

UNKNOWN_CA = "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: tlsv1 alert unknown ca"
EXPIRED = "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: sslv3 alert certificate expired"


def refused(client: dict[str, Any], keys: Any, error: str, alert: str, limit: Any) -> Any:
    """A client that does not take the certificate; the server is sent why."""
    seen = ["listening", f"tlsClientError <Error {alert}> a TLSSocket", "close"]
    begin = ["connectionAttempt 127.0.0.1 port(S) 4", "resume", "connect", "ready"]
    differs = {
        "S": [*seen, "cb server closed", "left False"],
        "c": [*begin, f"error <Error {error}>", "close True", "left closed True 0"],
    }
    if limit:
        differs["s1"] = []
    return over_tls(keys=keys, client=client, server=limit, deviation=(SAFETY, differs))


UNKNOWN = "UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unable to get local issuer certificate"
for name, keys, client, failure, alert in [
    ("nobody knows who signed", KEYS, {"ca": "none"}, UNKNOWN, UNKNOWN_CA),
    (
        "it has signed itself",
        {"key": pem("self.key"), "cert": pem("self.pem")},
        {"ca": "none"},
        "DEPTH_ZERO_SELF_SIGNED_CERT: self-signed certificate",
        UNKNOWN_CA,
    ),
    (
        "it has expired",
        {"key": pem("expired.key"), "cert": pem("expired.pem")},
        {},
        "CERT_HAS_EXPIRED: certificate has expired",
        EXPIRED,
    ),
    ("another authority", KEYS, {"ca": pem("self.pem")}, UNKNOWN, UNKNOWN_CA),
]:
    for version, limit in VERSIONS.items():
        SCENARIOS[f"{version}: a certificate is refused: {name}"] = refused(
            client, keys, failure, alert, limit
        )
for version, limit in VERSIONS.items():
    SCENARIOS |= {
        f"{version}: the name is another": over_tls(
            client={"servername": "nope.example"}, server=limit
        ),
        f"{version}: the address is another": over_tls(
            client={"servername": "none"}, keys=OTHER, server=limit
        ),
        f"{version}: the identity is refused": over_tls(
            client={"check_server_identity": identity("not you")},
            server=limit,
        ),
        f"{version}: no common cipher": over_tls(
            server={"ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256", "max_version": "TLSv1.2"},
            client={"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384", "max_version": "TLSv1.2"},
        ),
        f"{version}: a server without certificate": over_tls(keys={}, server=limit),
        f"{version}: destroyed at once": over_tls(
            server=limit, after=[call("c", "destroy"), probe("c", "destroyed")]
        ),
        f"{version}: destroyed with an error at once": over_tls(
            server=limit, after=[call("c", "destroy", error("never mind"))]
        ),
        f"{version}: destroyed at connect": over_tls(
            {"c.connect": [call("c", "destroy")]}, server=limit
        ),
        f"{version}: an unusable client's certificate is missing": over_tls(
            server={"request_cert": True, "ca": pem("ca.pem"), **limit},
            silent={"c": ["end", "finish", "close", "secureConnect", "secure"]},
            on={"S.tlsClientError": [turns(4, call("c", "destroy"), CLOSE)]},
        ),
    }
SCENARIOS |= {
    "the server is too old": over_tls(
        server={"max_version": "TLSv1.2"}, client={"min_version": "TLSv1.3"}
    ),
    "the client is too old": over_tls(
        server={"min_version": "TLSv1.3"}, client={"max_version": "TLSv1.2"}
    ),
    "nobody listens": {
        "tls": True,
        "needs": {"p": "bound"},
        "start": [["tls_connect", "c", {"port": port("p"), "host": "127.0.0.1"}]],
    },
}


def plain_server(on: dict[str, list[Any]], client: dict[str, Any] | None = None) -> Any:
    """A plain server S, to which c speaks TLS."""
    target = {"port": port("S"), "host": "127.0.0.1", **TRUST, **(client or {})}
    return {
        "tls": True,
        "start": [["server", "S", {}], LISTEN],
        "on": {"S.listening": [["tls_connect", "c", target]], "c.close": [CLOSE], **on},
        "silent": {"s1": ["data", "end", "error", "close", "finish"]},
    }


def plain_client(actions: list[Any], on: dict[str, list[Any]] | None = None, **more: Any) -> Any:
    """A server S with TLS, to which c speaks without."""
    return {
        "tls": True,
        "start": [["tls_server", "S", KEYS], LISTEN],
        "on": {
            "S.listening": [
                ["socket", "c", {}],
                call("c", "connect", {"port": port("S"), "host": "127.0.0.1"}),
            ],
            "c.connect": actions,
            "c.close": [CLOSE],
            **(on or {}),
        },
        **more,
    }


SCENARIOS |= {
    "TLS to a server that speaks text": plain_server(
        {"s1.accepted": [call("s1", "write", "220 hi\r\n")]}
    ),
    "TLS to a server that ends": plain_server({"s1.accepted": [call("s1", "end")]}),
    "TLS to a server that resets": {
        **plain_server({"s1.readable": [call("s1", "reset_and_destroy")]}),
        "silent": {"s1": ["data", "end", "error", "close", "finish"]},
        "hear": {"s1": ["readable"]},
    },
    "text to a server with TLS": plain_client([call("c", "write", "hello there, anybody\r\n")]),
    "HTTP to a server with TLS": plain_client([call("c", "write", "GET / HTTP/1.0\r\n\r\n")]),
    "an end to a server with TLS": plain_client([call("c", "end")]),
    "a reset to a server with TLS": plain_client(
        [call("c", "reset_and_destroy")], {"c.close": [], "S.tlsClientError": [CLOSE]}
    ),
    "half a record to a server with TLS": plain_client(
        [call("c", "end", data("\x16\x03\x01\x00\x50\x01"))]
    ),
}

# ---- STARTTLS, and what connect() and the constructors take --------------------------------------

SCENARIOS |= {
    "STARTTLS": {
        "tls": True,
        "start": [["server", "S", {}], LISTEN],
        "on": {
            "S.listening": [
                ["socket", "p", {}],
                call("p", "connect", {"port": port("S"), "host": "127.0.0.1"}),
            ],
            "s1.accepted": [call("s1", "write", "220 ready\r\n")],
            "p.data": [call("p", "write", "STARTTLS\r\n")],
            "p.data#2": [["tls_connect", "c", {"socket": thing("p"), **TRUST}]],
            "s1.data": [
                call("s1", "write", "220 go ahead\r\n"),
                ["tls_socket", "t", "s1", {"is_server": True, **KEYS}],
            ],
            "c.secureConnect": [*LOOK, call("c", "write", "EHLO")],
            "t.data": [call("t", "end", "250 ok")],
            "c.close": [turns(4, CLOSE)],
        },
        "silent": {
            "p": ["close", "pause", "end", "finish"],
            "s1": ["close", "pause", "end", "finish"],
        },
    },
}
for name, arguments in {
    "nothing": [],
    "no port": [{}],
    "a port out of range": [{"port": 70000}],
    "authorities": [{"port": 1, "ca": 5}],
    "a key": [{"port": 1, "key": 5}],
    "a minimum": [{"port": 1, "min_version": "x"}],
    "a maximum": [{"port": 1, "max_version": 5}],
    "ciphers": [{"port": 1, "ciphers": "NOPE"}],
    "ciphers of a type": [{"port": 1, "ciphers": 5}],
    "a curve": [{"port": 1, "ecdh_curve": "nope"}],
    "keys that do not fit": [{"port": 1, "key": pem("other.key"), "cert": pem("server.pem")}],
}.items():
    SCENARIOS[f"connect() refuses {name}"] = {
        "tls": True,
        "start": [["tls_connect", "c", *arguments]],
    }
for name, arguments in {
    "a number": [5],
    "a handshake timeout": [{"handshake_timeout": "x"}],
    "an SNI callback": [{"sni_callback": 5}],
    "both ways of ALPN": [{"alpn_callback": alpn(None), "alpn_protocols": ["a"]}],
    "authorities": [{"ca": 5}],
    "a minimum": [{"min_version": "x"}],
}.items():
    SCENARIOS[f"create_server() refuses {name}"] = {
        "tls": True,
        "start": [["tls_server", "S", *arguments]],
    }
SCENARIOS["a context without a name is refused"] = {
    "tls": True,
    "start": [["tls_server", "S", KEYS], call("S", "add_context", "", {})],
}


def names(alternatives: str, common: str = "") -> dict[str, Any]:
    """What a certificate says."""
    return {"subject": {"CN": common} if common else {}, "subjectaltname": alternatives}


for name, host, cert in [
    ("its name", "a.example", {"subject": {"CN": "a.example"}}),
    ("another name", "b.example", {"subject": {"CN": "a.example"}}),
    ("one of its names", "b.example", names("DNS:c.example, DNS:b.example", "a.example")),
    ("none of its names", "a.example", names("DNS:b.example", "a.example")),
    ("a wildcard", "x.b.example", names("DNS:*.b.example")),
    ("a wildcard of two labels", "x.y.b.example", names("DNS:*.b.example")),
    ("a wildcard within a label", "xay.b.example", names("DNS:x*y.b.example")),
    ("a wildcard at the top", "b.example", names("DNS:*.example")),
    ("upper case", "A.Example", {"subject": {"CN": "a.eXAMPLE"}}),
    ("a dot at its end", "a.example.", {"subject": {"CN": "a.example"}}),
    ("an address", "1.2.3.4", names("IP Address:1.2.3.4")),
    ("another address", "1.2.3.5", names("IP Address:1.2.3.4")),
    ("an address in its name", "1.2.3.4", {"subject": {"CN": "1.2.3.4"}}),
    ("an address of six", "::1", names("IP Address:0:0:0:0:0:0:0:1")),
    ("no name at all", "a.example", {"subject": {}}),
    ("an address only", "a.example", names("IP Address:1.2.3.4")),
    ("several common names", "b.example", {"subject": {"CN": ["a.example", "b.example"]}}),
    ("a punycode wildcard", "x.example.org", names("DNS:xn--*.example.org")),
    ("a URI", "a.example", names("URI:http://b.example/", "a.example")),
    ("a space", "a.example", names("DNS:a.example ")),
    ("a space on both sides", "a b.example", names("DNS:a b.example")),
    ("a space in front", "a.example", names("DNS: a.example")),
    ("two dots at its end", "a.example", names("DNS:a.example..")),
    ("two dots at the host's end", "a.example..", names("DNS:a.example")),
    ("a wildcard before punycode", "fxn--b.b.example", names("DNS:f*xn--b.b.example")),
    ("a wildcard for punycode", "xn--a.b.example", names("DNS:x*.b.example")),
    ("an international host", "Bücher.example", names("DNS:xn--bcher-kva.example")),
    ("a host with a sharp s", "straße.example", names("DNS:xn--strae-oqa.example")),
    ("a host in full width", "ＡA.example", names("DNS:aa.example")),
    ("an international name", "xn--bcher-kva.example", names("DNS:bücher.example")),
    ("a host that URLs take for an address", "0x7f.1", names("DNS:0x7f.1")),
    ("an address with a zone", "fe80::1%lo", names("IP Address:fe80::1")),
    ("an address with a space", "1.2.3.4", names("IP Address:1.2.3.4 ")),
    ("an address that is none", "1.2.3.4", names("IP Address:<invalid>")),
    ("a comma without a space", "b.example", names("DNS:a.example,DNS:b.example")),
    ("a quoted name", "a.example", names('DNS:"a.example"')),
    ("a name quoted in part", "a.example", names('DNS:a"."example')),
    ("a name in a quoted one", "a.example", names('URI:"x, DNS:a.example"')),
    ("a name behind quotes", "a.example", names('X:"\\", DNS:a.example, "')),
    ("a NUL", "a.example", names('DNS:"a.example\\u0000.b.example"')),
    ("an empty name", "a.example", names("DNS:", "a.example")),
]:  # fmt: skip
    SCENARIOS[f"the identity of {name}"] = {
        "start": [call("tls", "check_server_identity", host, cert)],
        # Node 20 does not turn such hosts into ASCII first.
        "since": 0 if host.isascii() and host != "0x7f.1" else 26,
    }

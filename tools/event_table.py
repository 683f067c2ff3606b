"""The events of each class: what their listeners get, and when they are emitted.

This is the one place that lists them. From it come, by tools/stubs.py, the overloads of `on()`,
`emit()` and `events.once()`, and in the reference the tables of events, which have the events that
the docstring of a class names after `Events:`.
"""

from __future__ import annotations

# A class: the classes whose events it has too, and its own. An event: the parameters of its
# listeners, where `|` between two lists says that a listener may have either, and a sentence for
# the reference. A row without parameters only says what an inherited event means in this class.
EVENTS: dict[str, tuple[str, dict[str, tuple[str | None, str]]]] = {
    "Stream": (
        "",
        {
            "close": ("", "The stream is closed. Always the last event."),
            "error": ("error: SystemCallError", "The stream failed; 'close' follows."),
            "newListener": (
                "name: Any, listener: Callable[..., Any]",
                "A listener is about to be added.",
            ),
            "removeListener": (
                "name: Any, listener: Callable[..., Any]",
                "A listener was removed.",
            ),
        },
    ),
    "Readable": (
        "Stream",
        {
            "data": (
                "chunk: bytes | chunk: str",
                "A chunk was read; a str if there is an encoding, a message if there is a framing.",
            ),
            "end": ("", "Everything was read, and nothing more comes."),
            "oversize": (
                "size: int",
                "The framing skipped a message longer than its limit: its size.",
            ),
            "pause": ("", "pause() was called."),
            "readable": ("", "read() has something to return, or the end was reached."),
            "resume": ("", "resume() was called."),
        },
    ),
    "Writable": (
        "Stream",
        {
            "drain": ("", "What write() buffered was written: writing may go on."),
            "finish": ("", "end() was called, and everything was written."),
            "pipe": ("source: Readable", "A Readable was piped into this stream."),
            "unpipe": ("source: Readable", "A Readable was unpiped from this stream."),
        },
    ),
    "Duplex": ("Readable Writable", {}),
    "SocketBase": (
        "Duplex",
        {
            "close": (
                "had_error: bool",
                "The socket is closed. Always the last event of a connection.",
            ),
            "connect": ("", "The connection is established."),
            # Of a path there is neither a port nor a family.
            "connectionAttempt": (
                "address: str, port: int | Any, family: int | Any",
                "An attempt to connect to one address starts.",
            ),
            "connectionAttemptFailed": (
                "address: str, port: int | Any, family: int | Any, error: SystemCallError",
                "That attempt failed.",
            ),
            "connectionAttemptTimeout": (
                "ip: str, port: int, family: int",
                "That attempt took too long; the next address is tried.",
            ),
            "data": (
                None,
                "A chunk was read; a str after set_encoding(), a message if there is a framing.",
            ),
            "drain": (None, "What write() buffered was passed to the kernel: writing may go on."),
            "end": (None, "The peer ended its side, and everything it sent was read."),
            "error": (None, "The connection failed; 'close' follows."),
            "finish": (None, "end() was called, and everything was passed to the kernel."),
            "handle": (
                "handle: Socket | Server, data: bytes",
                "A socket, server or descriptor arrived over a unix socket.",
            ),
            "lookup": (
                "error: SystemCallError | None, address: str | None, family: int | None, host: str",
                "A host name was resolved, or could not be.",
            ),
            "ready": ("", "The socket is ready to use: directly after 'connect'."),
            "shutdown": (
                "",
                "The server shuts down, or max_lifetime is over: end the socket soon.",
            ),
            # These three of TLSSocket alone.
            "secure": ("", "The handshake is over."),
            "secureConnect": (
                "",
                "On a client: the handshake is over, and the server is who it should be.",
            ),
            "session": (
                "session: Any",
                "A session arrived with which a later connection can resume this one.",
            ),
            "timeout": ("", "Nothing was read or written for the time given to set_timeout()."),
        },
    ),
    "ServerBase": (
        "",
        {
            "close": ("", "The server is closed, and its last connection too."),
            "connection": ("socket: Socket", "A connection was accepted."),
            # None over IPC, which is left to Any.
            "drop": (
                "info: DropInfo | Any",
                "A connection was dropped, or could not be accepted; see below.",
            ),
            "error": ("error: SystemCallError", "The server cannot listen."),
            "listening": ("", "The server is bound and accepts connections."),
            "shutdown": ("", "shutdown() was called, or a signal that calls it arrived."),
            "newListener": (
                "name: Any, listener: Callable[..., Any]",
                "A listener is about to be added.",
            ),
            "overload": (
                "overload: OverloadInfo",
                "Sockets were destroyed because of a write budget; see below.",
            ),
            "removeListener": (
                "name: Any, listener: Callable[..., Any]",
                "A listener was removed.",
            ),
            # These two of tls.Server alone.
            "secureConnection": ("secured: TLSSocket", "A handshake succeeded."),
            "tlsClientError": (
                "failure: Exception, secured: TLSSocket",
                "A handshake failed; its socket is destroyed.",
            ),
        },
    ),
    "TextReadable": ("Readable", {"data": ("text: str", "")}),
    "TextDuplex": ("Duplex", {"data": ("text: str", "")}),
    "TextSocket": ("SocketBase", {"data": ("text: str", "")}),
}

# The same sentences for emitters without overloads, and where they differ in one class.
OTHERS = {
    "pyuvnet.EventEmitter": {
        "newListener": "A listener is about to be added.",
        "removeListener": "A listener was removed.",
    },
    "pyuvnet.tls.Server": {
        "connection": "A connection was accepted: the plain socket, before its handshake.",
    },
    "pyuvnet.cluster": {
        "setup": "setup_primary() was called.",
        "fork": "A worker was started.",
        "online": "A worker runs.",
        "listening": "A worker listens.",
        "message": "A worker sent a message.",
        "disconnect": "The channel to a worker was closed.",
        "exit": "A worker exited.",
    },
    "pyuvnet.cluster.Worker": {
        "online": "The worker runs. In the primary.",
        "listening": "The worker listens. In the primary.",
        "message": "The other side sent a message.",
        "disconnect": "The channel was closed.",
        "exit": "The worker exited. In the primary.",
        "error": "A message could not be sent.",
    },
}


def parameters(name: str) -> dict[str, str]:
    """What the listeners of each event that a class itself has get."""
    own = EVENTS[name][1]
    return {event: given for event, (given, _) in own.items() if given is not None}


def sentences(path: str, classes: list[str]) -> dict[str, str]:
    """When each event is emitted, for a page of the reference.

    Args:
        path: what the page is about.
        classes: the names of the class and its bases, the nearest first.
    """
    name = next(filter(EVENTS.__contains__, classes), "")
    return _sentences(name) | OTHERS.get(path, {})


def _sentences(name: str) -> dict[str, str]:
    bases, own = EVENTS.get(name, ("", {}))
    found: dict[str, str] = {}
    for base in bases.split():
        found |= _sentences(base)
    return found | {event: when for event, (_, when) in own.items()}

"""When each event is emitted: the words of the tables in the API reference.

Names and arguments come from the docstrings. The build fails for an event that only one of the two
has.
"""

READABLE = {
    "data": "A chunk was read; a str if there is an encoding, a message if there is a framing.",
    "readable": "read() has something to return, or the end was reached.",
    "end": "Everything was read, and nothing more comes.",
    "pause": "pause() was called.",
    "resume": "resume() was called.",
    "oversize": "The framing skipped a message longer than its limit: its size.",
    "error": "The stream failed; 'close' follows.",
    "close": "The stream is closed. Always the last event.",
}
WRITABLE = {
    "drain": "What write() buffered was written: writing may go on.",
    "finish": "end() was called, and everything was written.",
    "pipe": "A Readable was piped into this stream.",
    "unpipe": "A Readable was unpiped from this stream.",
}
CLOSING = {name: READABLE[name] for name in ("error", "close")}

EVENTS = {
    "pyuvnet.EventEmitter": {
        "newListener": "A listener is about to be added.",
        "removeListener": "A listener was removed.",
    },
    "pyuvnet.Readable": READABLE,
    "pyuvnet.Writable": {**WRITABLE, **CLOSING},
    "pyuvnet.Duplex": WRITABLE,
    "pyuvnet.net.Socket": {
        "lookup": "A host name was resolved, or could not be.",
        "connectionAttempt": "An attempt to connect to one address starts.",
        "connectionAttemptFailed": "That attempt failed.",
        "connectionAttemptTimeout": "That attempt took too long; the next address is tried.",
        "connect": "The connection is established.",
        "ready": "The socket is ready to use: directly after 'connect'.",
        "data": "A chunk was read; a str after set_encoding(), a message if there is a framing.",
        "readable": READABLE["readable"],
        "pause": READABLE["pause"],
        "resume": READABLE["resume"],
        "end": "The peer ended its side, and everything it sent was read.",
        "drain": "What write() buffered was passed to the kernel: writing may go on.",
        "finish": "end() was called, and everything was passed to the kernel.",
        "oversize": READABLE["oversize"],
        "handle": "A socket, server or descriptor arrived over a unix socket.",
        "timeout": "Nothing was read or written for the time given to set_timeout().",
        "shutdown": "The server shuts down, or max_lifetime is over: end the socket soon.",
        "error": "The connection failed; 'close' follows.",
        "close": "The socket is closed. Always the last event of a connection.",
    },
    "pyuvnet.net.Server": {
        "listening": "The server is bound and accepts connections.",
        "connection": "A connection was accepted.",
        "drop": "A connection was dropped, or could not be accepted; see below.",
        "overload": "Sockets were destroyed because of a write budget; see below.",
        "shutdown": "shutdown() was called, or a signal that calls it arrived.",
        "error": "The server cannot listen.",
        "close": "The server is closed, and its last connection too.",
    },
    "pyuvnet.tls.TLSSocket": {
        "secureConnect": "On a client: the handshake is over, and the server is who it should be.",
        "secure": "The handshake is over.",
        "session": "A session arrived with which a later connection can resume this one.",
    },
    "pyuvnet.tls.Server": {
        "connection": "A connection was accepted: the plain socket, before its handshake.",
        "secureConnection": "A handshake succeeded.",
        "tlsClientError": "A handshake failed; its socket is destroyed.",
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

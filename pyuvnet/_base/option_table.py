"""The options of the public functions, each with its type, its default and what it does.

This is the one place that lists them. From it come what the functions take (`option_set()`) and, by
`tools/stubs.py`, the entries in their docstrings and the TypedDicts of `_keywords.py`.

A row is: the name; the functions that take it; the type for type checkers, without None, which is
allowed for each; the type in the docstring; the default; what the option does. An option of several
functions has several rows where they differ. Rows that follow each other, for one function, and
differ in nothing but the name become one entry. An option without a type in words has no entry.
"""

from __future__ import annotations

from .options import OptionSet

_MARK = "65536 (16384 on Windows)"
_STREAM_MARK = "get_default_high_water_mark()"

# fmt: off
OPTIONS = (
    # Of connections: connect() and what listens.
    ("port", "connect", "Port", "int 0..65535, or numeric text", "", ""),
    ("port", "listen BoundSocket", "Port", "int 0..65535, or numeric text", "0",
     "with 0 the system chooses one"),
    ("host", "connect", "str", "name or literal address", "'localhost'", ""),
    ("host", "listen", "str", "name or literal address",
     "'::' for both families, '0.0.0.0' without IPv6", "a name is looked up first"),
    ("host", "BoundSocket", "str", "literal address", "'0.0.0.0', with ipv6_only '::'",
     "no name is looked up"),
    ("path", "connect", "Path", "str, bytes or os.PathLike", "",
     "a unix socket or named pipe; the TCP options are ignored then"),
    ("path", "listen", "Path", "str, bytes or os.PathLike", "",
     "a unix socket or named pipe, used if there is no port"),
    ("path", "BoundSocket", "Path", "str, bytes or os.PathLike", "",
     "a unix socket or named pipe; excludes the others"),
    # connect()
    ("family", "connect", 'Literal[0, 4, 6, "IPv4", "IPv6"]', "4, 6, 'IPv4', 'IPv6' or 0", "0",
     "of the addresses of a name; 0 is both"),
    ("hints", "connect", "int", "getaddrinfo flags", "0",
     "AI_ADDRCONFIG, AI_V4MAPPED, AI_ALL of the socket module"),
    ("lookup", "connect", "Callable[..., Any]", "callable(host, options, callback)",
     "the system's",
     ("it calls callback(error), callback(None, address, family) or, if options.all is true, "
      "callback(None, [{'address': ..., 'family': ...}, ...]). A coroutine function returns "
      "(address, family), or that list. An unanswered lookup does not keep the loop alive")),
    ("local_address", "connect", "str", "literal address", "the system's choice",
     "where to connect from"),
    ("local_port", "connect", "Port", "int 0..65535, or numeric text", "the system's choice",
     "where to connect from"),
    ("auto_select_family", "connect", "bool", "bool", "get_default_auto_select_family()",
     "try all addresses of a name, one after another"),
    ("auto_select_family_attempt_timeout", "connect", "int", "ms, at least 10",
     "get_default_auto_select_family_attempt_timeout()", "for each attempt but the last"),
    ("timeout", "create_connection", "float", "ms", "0",
     "the idle timeout, as of set_timeout(), which is called before connecting"),
    # Options of the kernel
    ("user_timeout", "connect listen", "int", "int, ms", "the system's",
     "how long sent data may stay unacknowledged before the connection fails (TCP_USER_TIMEOUT)"),
    ("not_sent_low_water", "connect listen", "int", "int, bytes", "the system's",
     "how much the kernel takes that it cannot send yet (TCP_NOTSENT_LOWAT)"),
    ("receive_buffer", "connect listen", "int", "int, bytes", "the system's, which adapts it",
     "of the kernel, set before the connection (SO_RCVBUF)"),
    ("send_buffer", "connect listen", "int", "int, bytes", "the system's, which adapts it",
     "of the kernel, set before the connection (SO_SNDBUF)"),
    ("congestion", "connect listen", "str", "str", "the system's",
     "the name of a congestion control, such as 'bbr' (TCP_CONGESTION)"),
    ("mark", "connect listen", "int", "int", "none",
     "for routing and filters; needs rights (SO_MARK)"),
    ("linger", "connect listen", "int", "int, seconds", "off",
     "how long a close waits for data to leave; with 0 it resets (SO_LINGER)"),
    ("defer_accept", "listen", "int", "int, seconds", "off",
     "a connection is accepted when its first data are there (TCP_DEFER_ACCEPT)"),
    # Deadlines
    ("idle_timeout", "Server connect", "float", "ms", "none",
     "destroy a socket after so long without a byte either way (ERR_SOCKET_IDLE)"),
    ("first_byte_timeout", "Server connect", "float", "ms", "none",
     ("destroy one that has received nothing so long after it was connected "
     "(ERR_FIRST_BYTE_TIMEOUT)")),
    ("write_timeout", "Server connect", "float", "ms", "none",
     ("reset one whose queue is not empty and of which the kernel has taken nothing for so long "
     "(ERR_WRITE_TIMEOUT)")),
    ("max_lifetime", "Server connect", "float", "ms", "none",
     ("the age, give or take a tenth, at which a socket emits 'shutdown'; it is ended when it has "
     "been silent for 1000 ms since, and destroyed another 1000 ms later (ERR_MAX_LIFETIME)")),
    ("min_read_rate", "Server connect", "tuple[int, float]", "(bytes, ms)", "none",
     ("destroy one from which fewer bytes came in so long, not counting the time in which it was "
     "not read (ERR_TOO_SLOW)")),
    # listen()
    ("handle", "listen", "Place", "BoundSocket, Server, Socket, or anything with an int `fd`", "",
     "a BoundSocket is adopted; the system's socket of a Server or Socket is shared"),
    ("fd", "listen", "int", "int", "",
     "a bound TCP or unix socket, which is the server's from then on"),
    ("backlog", "listen", "int", "int", "511", "how many connections may wait to be accepted"),
    ("ipv6_only", "listen", "bool", "exactly True", "", "'::' takes no IPv4"),
    ("ipv6_only", "BoundSocket", "bool", "bool", "False", "'::' takes no IPv4"),
    ("reuse_port", "listen", "bool", "exactly True", "",
     "several processes share the port (SO_REUSEPORT)"),
    ("reuse_port", "BoundSocket", "bool", "bool", "False",
     "several processes share the port (SO_REUSEPORT)"),
    ("readable_all", "listen", "bool", "exactly True", "",
     "everybody may use the file of the path"),
    ("writable_all", "listen", "bool", "exactly True", "",
     "everybody may use the file of the path"),
    ("mode", "listen", "int", "int 0..0o777", "what the umask leaves",
     "of the path's file, which is made with it; 0o660 suits a balancer in the same group"),
    ("group", "listen", "str | int", "str or int", "the process's",
     "the name or number of the group of the path's file"),
    ("unlink_stale", "listen", "bool", "bool", "False",
     "replace the file of a unix socket from which nobody accepts any more"),
    ("signal", "listen", "AbortSignal", "AbortSignal", "",
     "aborting it closes the server; without effect on a handle"),
    ("exclusive", "listen", "bool", "bool", "False",
     "in a worker of a cluster: do not share the port with other workers"),
    ("connection_listener", "promises.listen", "Callable[[Socket], object]", "callable(socket)", "",
     "added to 'connection'"),
    # Socket(), Server() and the streams
    ("allow_half_open", "Socket", "bool", "bool", "False",
     "the peer's end leaves our side open"),
    ("allow_half_open", "Server", "bool", "bool", "False", "for accepted sockets"),
    ("allow_half_open", "Duplex", "bool", "bool", "True",
     "'end' does not end the writable side"),
    ("pause_on_connect", "Server", "bool", "bool", "False",
     "accepted sockets read nothing until resume()"),
    ("readable", "Socket Duplex", "bool", "bool", "True", "False disables that side"),
    ("writable", "Socket Duplex", "bool", "bool", "True", "False disables that side"),
    ("high_water_mark", "Socket", "int", "int >= 0, bytes", _MARK, "the common one wins"),
    ("readable_high_water_mark", "Socket", "int", "int >= 0, bytes", _MARK, "the common one wins"),
    ("writable_high_water_mark", "Socket", "int", "int >= 0, bytes", _MARK, "the common one wins"),
    ("high_water_mark", "Duplex", "int", "int >= 0, bytes", _STREAM_MARK, "the common one wins"),
    ("readable_high_water_mark", "Duplex", "int", "int >= 0, bytes", _STREAM_MARK,
     "the common one wins"),
    ("writable_high_water_mark", "Duplex", "int", "int >= 0, bytes", _STREAM_MARK,
     "the common one wins"),
    ("high_water_mark", "Readable", "int", "int >= 0, bytes", _STREAM_MARK,
     "how far it reads ahead"),
    ("readable_high_water_mark", "Readable", "int", "int >= 0, bytes", _STREAM_MARK,
     "how far it reads ahead"),
    ("high_water_mark", "Writable", "int", "int >= 0, bytes", _STREAM_MARK,
     "from there on write() returns False"),
    ("writable_high_water_mark", "Writable", "int", "int >= 0, bytes", _STREAM_MARK,
     "from there on write() returns False"),
    ("no_delay", "Socket", "bool", "bool", "False", "no Nagle delay; set when connected"),
    ("keep_alive", "Socket", "bool", "bool", "False", "keep-alive probes; set when connected"),
    ("no_delay", "Server", "bool", "bool", "False", "set on accepted TCP sockets"),
    ("keep_alive", "Server", "bool", "bool", "False", "set on accepted TCP sockets"),
    ("keep_alive_initial_delay", "Socket Server", "float", "ms", "0 (the system's)",
     "before the first probe"),
    ("high_water_mark", "Server", "int", "int, bytes", _MARK, "both marks of accepted sockets"),
    ("type_of_service", "Socket", "int", "int 0..255", "the system's",
     "the byte of the IP header; set when connected"),
    ("block_list", "Socket", "BlockList", "BlockList", "",
     "an address that it matches is not connected to"),
    ("block_list", "Server", "BlockList", "BlockList", "",
     "connections of peers that it matches are dropped"),
    # What bounds memory, and accepting; pyuvnet's own.
    ("max_write_buffer", "Socket", "int", "int >= 0, bytes", "no bound",
     "how long the queue of what the kernel has not taken may be"),
    ("max_write_buffer", "Server", "int", "int >= 0, bytes", "no bound",
     "how long the queue of one accepted socket may be"),
    ("on_full", "Socket Server", 'Literal["destroy", "refuse"]', "'destroy' or 'refuse'",
     "'destroy'",
     ("what a write beyond that leads to; 'destroy' destroys the socket with "
      "ERR_WRITE_BUFFER_FULL, 'refuse' does not take a write that might not fit, write() returns "
      "False, and its callback gets that error. Only with max_write_buffer")),
    ("write_budget", "Server", "int", "int >= 0, bytes", "no bound",
     ("how much the accepted sockets may queue together; beyond it those with the longest queues "
      "are destroyed (ERR_WRITE_BUDGET)")),
    ("read_budget", "Socket", "int", "int >= 0, bytes", "131072",
     ("how much is read in one turn of the loop before other sockets have theirs, in steps of what "
      "one read gives; 0: up to 32 reads, as libuv does. Of a pipe() inside the kernel the default "
      "is 524288")),
    ("read_budget", "Server", "int", "int >= 0, bytes", "131072",
     ("how much of one accepted socket is read in one turn of the loop before others have theirs, "
      "in steps of what one read gives; 0: up to 32 reads, as libuv does. Of a pipe() inside the "
      "kernel the default is 524288")),
    ("max_connections", "Server", "float", "int", "no limit",
     "from how many open connections on no more is taken"),
    ("overflow", "Server", 'Literal["drop", "wait"]', "'drop' or 'wait'", "'drop'",
     ("'drop' closes connections beyond the limit, 'wait' leaves them in the kernel's queue until "
      "no more than 95 % are open. Only with max_connections")),
    ("max_per_address", "Server", "int", "int >= 1", "no limit",
     ("how many open connections one remote address may have, a /64 of IPv6; others are dropped")),
    ("on_exhausted", "Server", 'Literal["shed", "wait"]', "'shed' or 'wait'", "'shed'",
     ("when no descriptor is left, 'shed' accepts connections and closes them, 'wait' leaves them "
      "in the kernel's queue; without effect on Windows")),
    ("reserve_descriptors", "Server", "int", "int >= 0", "16 with on_exhausted, else 0",
     "how many descriptors connections leave to the program's own files; only with on_exhausted"),
    ("handles", "Socket", "bool", "bool", "False",
     ("over a unix socket, send_handle() may send sockets and servers, and those that the peer "
      "sends arrive by 'handle'; without it they are closed")),
    ("handles", "Server", "bool", "bool", "False",
     "as of Socket(), for accepted sockets over a path"),
    ("fd", "Socket", "int", "int", "",
     ("a connected descriptor (TCP, unix socket, pipe), which is the socket's from then on; "
      "reading starts at once. An int instead of the options means this")),
    ("handle", "Socket", "BoundSocket", "BoundSocket", "",
     "where to connect from; adopted, and wins over fd"),
    ("onread", "Socket", "Mapping[str, Any]", "mapping of `buffer` and `callback`", "",
     ("each read lands in the buffer, which is writable bytes-like or a callable that returns the "
      "next one, and calls callback(size, buffer) instead of emitting 'data'; if that returns "
      "False, reading stops until resume(). A buffer stays locked (a bytearray cannot be resized) "
      "while it is in use")),
    ("signal", "Socket", "AbortSignal", "AbortSignal", "",
     "aborting it destroys the socket with an AbortError"),
    ("encoding", "Socket", "str", "str", "", "as set_encoding() or set_default_encoding()"),
    ("default_encoding", "Socket", "str", "str", "", "as set_encoding() or set_default_encoding()"),
    ("encoding", "Readable Duplex", "str", "str", "None",
     "what the chunks are decoded from; None hands out bytes"),
    ("default_encoding", "Writable Duplex", "str", "str", "'utf8'",
     "of str chunks that are written without one"),
    ("auto_destroy", "Readable", "bool", "bool", "True", "destroy after 'end'"),
    ("auto_destroy", "Writable", "bool", "bool", "True", "destroy after 'finish'"),
    ("auto_destroy", "Duplex", "bool", "bool", "True", "destroy after both 'end' and 'finish'"),
    ("emit_close", "Readable Writable Duplex", "bool", "bool", "True",
     "emit 'close' after destruction"),
    ("capture_rejections", "Socket", "bool", "bool", "EventEmitter.capture_rejections",
     "a coroutine listener that fails destroys the socket"),
    ("capture_rejections", "Readable Writable Duplex", "bool", "bool",
     "EventEmitter.capture_rejections", "a coroutine listener that fails destroys the stream"),
    ("capture_rejections", "Server", "bool", "bool", "EventEmitter.capture_rejections",
     ("a 'connection' listener that is a coroutine and fails destroys its socket, one of another "
      "event emits 'error'")),
    ("object_mode", "Socket Readable Writable Duplex", "Literal[False]", "", "", ""),
    ("readable_object_mode", "Socket Readable Writable Duplex", "Literal[False]", "", "", ""),
    ("writable_object_mode", "Socket Readable Writable Duplex", "Literal[False]", "", "", ""),
    ("framing", "Socket", "Framing", "one of pyuvnet.framing", "", "as set_framing()"),
    ("framing", "Server", "Framing", "one of pyuvnet.framing", "",
     "what accepted sockets begin with"),
    ("framing", "Readable Writable Duplex", "Framing", "one of pyuvnet.framing", "None",
     "as set_framing()"),
    ("proxy_protocol", "connect", "Mapping[str, Any]", "mapping", "",
     ("send a PROXY header first, before anything that is written. Its keys, all optional: "
      "version, 1 or 2 (default 2); command, 'PROXY' (default) or 'LOCAL'; source and destination, "
      "both or neither, each (address, port), a mapping of the two, a SocketAddress, or the path "
      "of a unix socket, by default the connection's own ends; tlvs, a mapping or a list of pairs, "
      "whose keys are numbers or 'alpn', 'authority', 'unique_id', 'netns' and 'ssl'; checksum, "
      "bool, whether to add a CRC32c")),
    ("proxy_protocol", "Server", "Mapping[str, Any]", "mapping", "",
     ("read a PROXY header before 'connection': the addresses of the socket are the header's then, "
      "and socket.proxy has the rest. Its keys: trusted, the addresses and CIDRs, as a list or a "
      "BlockList, that send one (over a unix socket everybody does); required, bool, default True, "
      "drops others, and False takes them as they are; timeout, ms, default 5000, and limit, bytes "
      "107..65551, default 4096, for the header. What is malformed, too long or late is dropped "
      "('drop' with reason 'proxy' and a detail)")),
    ("name", "Server", "str", "str", "None", "under which pyuvnet.metrics shows it"),
    # Framings
    ("limit", "Lines", "int", "int >= 1, bytes", "65536", "of a line without its delimiter"),
    ("limit", "LengthPrefix VarintPrefix", "int", "int >= 1, bytes", "16777216", "of the payload"),
    ("limit", "Header", "int", "int >= 1, bytes", "16777216",
     "of the frame, the header included"),
    ("keep_delimiter", "Lines", "bool", "bool", "False", "hand out lines with their delimiter"),
    ("strip_cr", "Lines", "bool", "bool", "True",
     # As it stands in a docstring.
     r'with the delimiter b"\\n", a b"\\r" before it belongs to it'),
    ("oversize", "Lines", 'Literal["error", "discard"]', "'error' or 'discard'", "'error'",
     ("what becomes of a longer line; 'discard' skips it and emits 'oversize' with how many bytes "
      "that were")),
    ("byteorder", "LengthPrefix", 'Literal["big", "little"]', "'big' or 'little'", "'big'", ""),
    ("includes_itself", "LengthPrefix", "bool", "bool", "False",
     "the length counts its own bytes too"),
    # TLS: what a context is made of
    ("context", "SecureContext", "SSLContext", "ssl.SSLContext", "",
     "one of the program's, as it is; excludes the other options of a context"),
    ("key", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them", "",
     "private keys, in the order of cert; an item may be a mapping of `pem` and `passphrase`"),
    ("cert", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them", "",
     "certificates, each with the chain that follows it"),
    ("passphrase", "SecureContext", "str", "str", "", "of encrypted keys"),
    ("ca", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them",
     "the system's store", "authorities whose certificates are good"),
    ("crl", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them", "",
     "revoked certificates"),
    ("ciphers", "SecureContext", "str", "str", "OpenSSL's, as Python has them",
     "suites up to TLS 1.2, in OpenSSL's notation; those of TLS 1.3 all or none"),
    ("min_version", "SecureContext", "str", "'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3'",
     "'TLSv1.2'", ""),
    ("max_version", "SecureContext", "str", "'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3'",
     "'TLSv1.3'", ""),
    ("ecdh_curve", "SecureContext", "str", "str", "'auto'", "one curve, such as 'prime256v1'"),
    ("dhparam", "SecureContext", "Any", "PEM as str or bytes, or a path", "'auto'",
     "parameters of Diffie-Hellman"),
    ("honor_cipher_order", "SecureContext", "bool", "bool", "True",
     "the order of a server's suites wins"),
    ("secure_options", "SecureContext", "int", "int, ssl.OP_...", "", "further options of OpenSSL"),
    ("num_tickets", "SecureContext", "int", "int 0..255", "2",
     "tickets of TLS 1.3 that a server sends"),
    *[(name, "SecureContext", "Any", "", "", "") for name in (
        "pfx", "ticket_keys", "sigalgs", "session_timeout", "session_id_context",
        "client_cert_engine", "private_key_engine", "private_key_identifier", "secure_protocol")],
    # TLS: connections and servers
    ("secure_context", "TLSSocket tls.connect tls.Server", "SecureContext", "SecureContext",
     "one of the other options", "what create_secure_context() returned"),
    ("alpn_protocols", "TLSSocket tls.connect tls.Server", "Sequence[str]", "list of str", "[]",
     "protocols for the connection, the best first"),
    ("reject_unauthorized", "TLSSocket tls.connect tls.Server", "bool", "bool", "True",
     "refuse a peer whose certificate is not good; False on a client verifies nothing"),
    ("allow_truncation", "TLSSocket tls.connect tls.Server", "bool", "bool", "False",
     "a connection that ends without close_notify has ended, and has not failed"),
    ("alpn_callback", "TLSSocket tls.Server", "Callable[..., Any]",
     "callable(mapping of servername and protocols)", "",
     "returns one of the client's protocols, or None to refuse; excludes alpn_protocols"),
    ("sni_callback", "TLSSocket tls.Server", "Callable[..., Any]", "callable(servername, callback)",
     "",
     ("calls callback(error, context), or returns a context or an awaitable of one; None is the "
      "server's own")),
    ("request_cert", "TLSSocket tls.Server", "bool", "bool", "False",
     "ask clients for a certificate"),
    ("handshake_timeout", "tls.Server", "float", "ms", "120000", "how long a handshake may take"),
    ("max_handshakes", "tls.Server", "int", "int >= 0", "0 (no limit)",
     "how many may be unfinished at once; others wait, and are not read"),
    ("servername", "TLSSocket tls.connect", "str", "str", "host, unless that is an address",
     "the name that the server is asked for, and that its certificate must have"),
    ("check_server_identity", "TLSSocket tls.connect", "Callable[..., Any]",
     "callable(hostname, cert)", "tls.check_server_identity",
     "returns an error for a certificate that is not of the host, else None"),
    ("session", "TLSSocket tls.connect", "Any", "what get_session() returned", "",
     "resume it, if the context is the same and the server agrees"),
    ("min_dh_size", "tls.connect", "int", "int", "", "accepted, without effect here"),
    ("socket", "tls.connect", "Duplex", "Socket, or another Duplex", "",
     "the connection to use, instead of host, port and path: what STARTTLS does"),
    ("is_server", "TLSSocket", "bool", "bool", "False", "which side this is"),
    ("server", "TLSSocket", "Server", "tls.Server", "", "whose options and events are used"),
    *[(name, "TLSSocket tls.connect tls.Server", "Any", "", "", "") for name in (
        "psk_callback", "psk_identity_hint", "request_ocsp", "enable_trace")],
    # SocketAddress()
    ("address", "SocketAddress", "str", "literal address", "'127.0.0.1', or '::' for 'ipv6'",
     "a zone is dropped"),
    ("family", "SocketAddress", "str", "'ipv4' or 'ipv6', in any case", "'ipv4'", ""),
    ("port", "SocketAddress", "Port", "int 0..65535, or numeric text", "0", ""),
    ("flowlabel", "SocketAddress", "int", "int 0..4294967295", "0", "ignored for 'ipv4'"),
)
# fmt: on


def option_set(function: str, *more: str) -> OptionSet:
    """Return the options which one function takes.

    Args:
        function: its name in the table; error texts have what follows the last dot.
        more: names in the table whose options it takes too.
    """
    wanted = {function, *more}
    names = [row[0] for row in OPTIONS if not wanted.isdisjoint(row[1].split())]
    return OptionSet(function.rpartition(".")[2], names)

"""The options of the public functions, each with its type, its default and what it does.

This is the one place that lists them. From it come what the functions take (`option_set()`), what
the constructors do with them (`OptionSet.checked()`) and, by `tools/stubs.py`, the entries in the
docstrings and the TypedDicts of `_typing/keywords.py`.

A row is: the name; the functions that take it; the type for type checkers, without None, which is
allowed for each; the type in the docstring; the default; what the option does. An option of several
functions has several rows where they differ. Rows that follow each other, for one function, and
differ in nothing but the name become one entry. An option without a type in words has no entry.

Two more items of a row make a constructor apply the option, with no line of its own there: the
check, which takes the value, not None, and returns what to set, or raises (None: the method does);
and the method that sets it, or the attribute. These options are checked in the order in which they
were given, after all others and before anything is set. Options that are checked or set together
with others do not have the two items, and neither do those of a function that makes no object.
"""

from __future__ import annotations

from . import TYPE_CHECKING, options
from .errors import SettingError
from .names import to_node
from .options import OptionSet
from .validation import arg_value_error, validate_integer, validate_string

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MARK = "65536 (16384 on Windows)"
_STREAM_MARK = "get_default_high_water_mark()"


def _integer(name: str, least: int, most: int = options.MOST_BYTES) -> Callable[[Any], int]:
    """A check of an integer; `name` is for the error."""
    return lambda value: validate_integer(value, name, least, most)


def _server_name(value: Any) -> str:
    name = validate_string(value, "options.name")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise arg_value_error("options.name", name, "must not have surrogates")
    return name


# fmt: off
OPTIONS: tuple[tuple[Any, ...], ...] = (
    # Of connections: connect() and what listens.
    ("port", "connect", "Port", "int 0..65535, or numeric text", "", ""),
    ("port", "listen BoundSocket", "Port", "int 0..65535, or numeric text", "0",
     "0 lets the system choose one"),
    ("host", "connect", "str", "name or literal address", "'localhost'", ""),
    ("host", "listen", "str", "name or literal address",
     "'::' for both families, '0.0.0.0' without IPv6", "a name is resolved first"),
    ("host", "BoundSocket", "str", "literal address", "'0.0.0.0', with ipv6_only '::'",
     "names are not resolved"),
    ("path", "connect", "Path", "str, bytes or os.PathLike", "",
     "a unix socket or named pipe; the TCP options are ignored then"),
    ("path", "listen", "Path", "str, bytes or os.PathLike", "",
     "a unix socket or named pipe, used if there is no port"),
    ("path", "BoundSocket", "Path", "str, bytes or os.PathLike", "",
     "a unix socket or named pipe; cannot be combined with the others"),
    # connect()
    ("family", "connect", 'Literal[0, 4, 6, "IPv4", "IPv6"]', "4, 6, 'IPv4', 'IPv6' or 0", "0",
     "the family of addresses to try; 0 is both"),
    ("hints", "connect", "int", "getaddrinfo flags", "0",
     "AI_ADDRCONFIG, AI_V4MAPPED and AI_ALL of the socket module"),
    ("lookup", "connect", "Callable[..., Any]", "callable(host, options, callback)",
     "the system's",
     ("must call callback(error), callback(None, address, family) or, if options.all is true, "
      "callback(None, [{'address': ..., 'family': ...}, ...]). A coroutine function returns "
      "(address, family), or that list. A pending lookup does not keep the loop alive")),
    ("local_address", "connect", "str", "literal address", "the system's choice",
     "the address to connect from"),
    ("local_port", "connect", "Port", "int 0..65535, or numeric text", "the system's choice",
     "the port to connect from"),
    ("auto_select_family", "connect", "bool", "bool", "get_default_auto_select_family()",
     "try all addresses of a name, one after another"),
    ("auto_select_family_attempt_timeout", "connect", "int", "ms, at least 10",
     "get_default_auto_select_family_attempt_timeout()", "for each attempt except the last"),
    ("timeout", "create_connection", "float", "ms", "0",
     "the idle timeout: set_timeout() is called with it before connecting"),
    # Options of the kernel
    ("user_timeout", "connect listen", "int", "int, ms", "the system's",
     "how long sent data may stay unacknowledged before the connection fails (TCP_USER_TIMEOUT)"),
    ("not_sent_low_water", "connect listen", "int", "int, bytes", "the system's",
     "how much unsent data the kernel accepts (TCP_NOTSENT_LOWAT)"),
    ("receive_buffer", "connect listen", "int", "int, bytes", "the system's, which adapts it",
     "the kernel's buffer, set before connecting (SO_RCVBUF)"),
    ("send_buffer", "connect listen", "int", "int, bytes", "the system's, which adapts it",
     "the kernel's buffer, set before connecting (SO_SNDBUF)"),
    ("congestion", "connect listen", "str", "str", "the system's",
     "a congestion control algorithm, such as 'bbr' (TCP_CONGESTION)"),
    ("mark", "connect listen", "int", "int", "none",
     "a mark for routing and filters; needs privileges (SO_MARK)"),
    ("linger", "connect listen", "int", "int, seconds", "off",
     "how long a close waits for data to be sent; 0 resets the connection (SO_LINGER)"),
    ("defer_accept", "listen", "int", "int, seconds", "off",
     "accept a connection when its first data arrives (TCP_DEFER_ACCEPT)"),
    # Deadlines
    ("idle_timeout", "Server connect", "float", "ms", "none",
     "destroy a socket after that long without a byte in either direction (ERR_SOCKET_IDLE)"),
    ("first_byte_timeout", "Server connect", "float", "ms", "none",
     ("destroy a socket that has received nothing that long after it was connected "
     "(ERR_FIRST_BYTE_TIMEOUT)")),
    ("write_timeout", "Server connect", "float", "ms", "none",
     ("reset a socket whose write queue is not empty and has not shrunk for that long "
     "(ERR_WRITE_TIMEOUT)")),
    ("max_lifetime", "Server connect", "float", "ms", "none",
     ("the age, plus or minus a tenth, at which a socket emits 'shutdown'; it is ended once it has "
     "been idle for 1000 ms, and destroyed another 1000 ms later (ERR_MAX_LIFETIME)")),
    ("min_read_rate", "Server connect", "tuple[int, float]", "(bytes, ms)", "none",
     ("destroy a socket that received fewer bytes in that time, not counting the time in which the "
     "program was not reading (ERR_TOO_SLOW)")),
    # listen()
    ("handle", "listen", "Place", "BoundSocket, Server, Socket, or anything with an int `fd`", "",
     "a BoundSocket is adopted; the system's socket of a Server or Socket is shared"),
    ("fd", "listen", "int", "int", "",
     "a bound TCP or unix socket, which the server then owns"),
    ("backlog", "listen", "int", "int", "511", "how many connections may wait to be accepted"),
    ("ipv6_only", "listen", "bool", "exactly True", "", "'::' accepts no IPv4"),
    ("ipv6_only", "BoundSocket", "bool", "bool", "False", "'::' accepts no IPv4"),
    ("reuse_port", "listen", "bool", "exactly True", "",
     "several processes share the port (SO_REUSEPORT)"),
    ("reuse_port", "BoundSocket", "bool", "bool", "False",
     "several processes share the port (SO_REUSEPORT)"),
    ("readable_all", "listen", "bool", "exactly True", "",
     "let every user connect to the path"),
    ("writable_all", "listen", "bool", "exactly True", "",
     "let every user connect to the path"),
    ("mode", "listen", "int", "int 0..0o777", "what the umask leaves",
     ("the permissions of the path's file, which is created with them; 0o660 suits a balancer in "
      "the same group")),
    ("group", "listen", "str | int", "str or int", "the process's",
     "the group of the path's file, by name or number"),
    ("unlink_stale", "listen", "bool", "bool", "False",
     "replace the file of a unix socket that no process accepts from any more"),
    ("signal", "listen", "AbortSignal", "AbortSignal", "",
     "aborting it closes the server; no effect with a handle"),
    ("exclusive", "listen", "bool", "bool", "False",
     "in a worker of a cluster: do not share the port with other workers"),
    ("connection_listener", "promises.listen", "Callable[[Socket], object]", "callable(socket)", "",
     "added to 'connection'"),
    # Socket(), Server() and the streams
    ("allow_half_open", "Socket", "bool", "bool", "False",
     "the local side stays open when the peer ends"),
    ("allow_half_open", "Server", "bool", "bool", "False", "for accepted sockets",
     bool, "allow_half_open"),
    ("allow_half_open", "Duplex", "bool", "bool", "True",
     "'end' does not end the writable side"),
    ("pause_on_connect", "Server", "bool", "bool", "False",
     "accepted sockets read nothing until resume()", bool, "pause_on_connect"),
    ("readable", "Socket Duplex", "bool", "bool", "True", "False disables this side"),
    ("writable", "Socket Duplex", "bool", "bool", "True", "False disables this side"),
    ("high_water_mark", "Socket", "int", "int >= 0, bytes", _MARK, "high_water_mark wins"),
    ("readable_high_water_mark", "Socket", "int", "int >= 0, bytes", _MARK, "high_water_mark wins"),
    ("writable_high_water_mark", "Socket", "int", "int >= 0, bytes", _MARK, "high_water_mark wins"),
    ("high_water_mark", "Duplex", "int", "int >= 0, bytes", _STREAM_MARK, "high_water_mark wins"),
    ("readable_high_water_mark", "Duplex", "int", "int >= 0, bytes", _STREAM_MARK,
     "high_water_mark wins"),
    ("writable_high_water_mark", "Duplex", "int", "int >= 0, bytes", _STREAM_MARK,
     "high_water_mark wins"),
    ("high_water_mark", "Readable", "int", "int >= 0, bytes", _STREAM_MARK,
     "how far it reads ahead"),
    ("readable_high_water_mark", "Readable", "int", "int >= 0, bytes", _STREAM_MARK,
     "how far it reads ahead"),
    ("high_water_mark", "Writable", "int", "int >= 0, bytes", _STREAM_MARK,
     "where write() starts to return False"),
    ("writable_high_water_mark", "Writable", "int", "int >= 0, bytes", _STREAM_MARK,
     "where write() starts to return False"),
    ("no_delay", "Socket", "bool", "bool", "False", "no Nagle's algorithm; set when connected"),
    ("keep_alive", "Socket", "bool", "bool", "False", "keep-alive probes; set when connected"),
    ("no_delay", "Server", "bool", "bool", "False", "set on accepted TCP sockets",
     bool, "no_delay"),
    ("keep_alive", "Server", "bool", "bool", "False", "set on accepted TCP sockets",
     bool, "keep_alive"),
    ("keep_alive_initial_delay", "Socket Server", "float", "ms", "0 (the system's)",
     "before the first probe"),
    ("high_water_mark", "Server", "int", "int, bytes", _MARK,
     "both high-water marks of accepted sockets"),
    ("type_of_service", "Socket", "int", "int 0..255", "the system's",
     "the byte in the IP header; set when connected",
     _integer("options.typeOfService", 0, 255), "_set_type_of_service"),
    ("block_list", "Socket", "BlockList", "BlockList", "",
     "do not connect to addresses that it matches"),
    ("block_list", "Server", "BlockList", "BlockList", "",
     "drop connections of peers that it matches"),
    # What bounds memory, and accepting; pyuvnet's own.
    ("max_write_buffer", "Socket", "int", "int >= 0, bytes", "no bound",
     ("how much written data the socket may queue; a write to an empty queue may be larger")),
    ("max_write_buffer", "Server", "int", "int >= 0, bytes", "no bound",
     ("how much written data one accepted socket may queue; a write to an empty queue may be "
      "larger")),
    ("on_full", "Socket Server", 'Literal["destroy", "refuse"]', "'destroy' or 'refuse'",
     "'destroy'",
     ("what happens beyond that: 'destroy' destroys the socket with ERR_WRITE_BUFFER_FULL; "
      "'refuse' rejects a write that might not fit, so that write() returns False and its callback "
      "gets that error. Only with max_write_buffer")),
    ("write_budget", "Server", "int", "int >= 0, bytes", "no bound",
     ("how much the accepted sockets may queue together, an object that several of them queue "
      "counting once; beyond it, those with the longest queues are destroyed (ERR_WRITE_BUDGET)")),
    ("read_budget", "Socket", "int", "int >= 0, bytes", "a share of 2 MiB, 131072 to 1048576",
     ("how much is read in one turn of the loop before other sockets get their turn, in multiples "
      "of one read; 0: up to 32 reads, as in libuv. For a pipe() inside the kernel the default is "
      "524288. With TLS each record counts for 1024 bytes more"),
     _integer("options.read_budget", 0), "_set_read_budget"),
    ("read_budget", "Server", "int", "int >= 0, bytes", "a share of 2 MiB, 131072 to 1048576",
     ("how much is read from one accepted socket in one turn of the loop before others get their "
      "turn, in multiples of one read; 0: up to 32 reads, as in libuv. For a pipe() inside the "
      "kernel the default is 524288. With TLS each record counts for 1024 bytes more")),
    ("max_connections", "Server", "float", "int", "no limit",
     "how many connections may be open"),
    ("overflow", "Server", 'Literal["drop", "wait"]', "'drop' or 'wait'", "'drop'",
     ("'drop' closes connections beyond the limit; 'wait' leaves them in the kernel's queue until "
      "at most 95 % of the limit are open. Only with max_connections")),
    ("max_per_address", "Server", "int", "int >= 1", "no limit",
     ("how many connections one remote address may have open (an IPv6 /64 counts as one address); "
      "others are dropped")),
    ("on_exhausted", "Server", 'Literal["wait", "shed"]', "'wait' or 'shed'", "'wait'",
     ("when no descriptor is left, 'wait' leaves connections in the kernel's queue, 'shed' accepts "
      "and closes them; no effect on Windows")),
    ("reserve_descriptors", "Server", "int", "int >= 0", "16 with on_exhausted, else 0",
     "how many descriptors to keep free for the program's own files; only with on_exhausted"),
    ("handles", "Socket", "bool", "bool", "False",
     ("over a unix socket, allow send_handle() to send sockets and servers, and emit 'handle' for "
      "those that the peer sends; without it they are closed")),
    ("handles", "Server", "bool", "bool", "False",
     "as for Socket(), for accepted sockets on a path"),
    ("fd", "Socket", "int", "int", "",
     ("a connected descriptor (TCP, unix socket, pipe), which the socket then owns; reading starts "
      "immediately. An int in place of the options means this")),
    ("handle", "Socket", "BoundBase", "BoundSocket", "",
     "the address to connect from; adopted, and takes precedence over fd"),
    ("onread", "Socket", "Mapping[str, Any]", "mapping of `buffer` and `callback`", "",
     ("each read fills the buffer, which is writable bytes-like or a callable that returns the "
      "next one, and calls callback(size, buffer) instead of emitting 'data'; if that returns "
      "False, reading stops until resume(). A buffer is locked (a bytearray cannot be resized) "
      "while it is in use")),
    ("signal", "Socket", "AbortSignal", "AbortSignal", "",
     "aborting it destroys the socket with an AbortError"),
    ("encoding", "Socket", "str", "str", "",
     "as with set_encoding() or set_default_encoding()", None, "set_encoding"),
    ("default_encoding", "Socket", "str", "str", "",
     "as with set_encoding() or set_default_encoding()", None, "set_default_encoding"),
    ("encoding", "Readable Duplex", "str", "str", "None",
     "decode chunks from this encoding; None delivers bytes"),
    ("default_encoding", "Writable Duplex", "str", "str", "'utf8'",
     "for str chunks written without an encoding"),
    ("read", "Readable Duplex", "Callable[..., Any]", "callable(size)", "", "the method `_read`"),
    ("write", "Writable Duplex", "Callable[..., Any]", "callable(chunk, encoding, callback)", "",
     "the method `_write`"),
    ("writev", "Writable Duplex", "Callable[..., Any]", "callable(chunks, callback)", "",
     "the method `_writev`"),
    ("final", "Writable Duplex", "Callable[..., Any]", "callable(callback)", "",
     "the method `_final`"),
    ("destroy", "Readable Writable Duplex", "Callable[..., Any]", "callable(error, callback)", "",
     "the method `_destroy`"),
    ("construct", "Readable Writable Duplex", "Callable[..., Any]", "callable(callback)", "",
     "the method `_construct`, which is called before all others; they wait for its callback"),
    ("transform", "Transform", "Callable[..., Any]", "callable(chunk, encoding, callback)", "",
     "the method `_transform`"),
    ("flush", "Transform", "Callable[..., Any]", "callable(callback)", "", "the method `_flush`"),
    ("auto_destroy", "Readable", "bool", "bool", "True", "destroy after 'end'"),
    ("auto_destroy", "Writable", "bool", "bool", "True", "destroy after 'finish'"),
    ("auto_destroy", "Duplex", "bool", "bool", "True", "destroy after both 'end' and 'finish'"),
    ("emit_close", "Readable Writable Duplex", "bool", "bool", "True",
     "emit 'close' after destruction"),
    ("capture_rejections", "Socket", "bool", "bool", "EventEmitter.capture_rejections",
     "destroy the socket if a coroutine listener fails"),
    ("capture_rejections", "Readable Writable Duplex", "bool", "bool",
     "EventEmitter.capture_rejections", "destroy the stream if a coroutine listener fails"),
    ("capture_rejections", "Server", "bool", "bool", "EventEmitter.capture_rejections",
     ("if a coroutine listener fails, destroy its socket for 'connection', and emit 'error' for "
      "other events")),
    ("object_mode", "Socket Readable Writable Duplex", "Literal[False]", "", "", ""),
    ("readable_object_mode", "Socket Readable Writable Duplex", "Literal[False]", "", "", ""),
    ("writable_object_mode", "Socket Readable Writable Duplex", "Literal[False]", "", "", ""),
    ("framing", "Socket", "Framing", "one of pyuvnet.framing", "", "as with set_framing()"),
    ("framing", "Server", "Framing", "one of pyuvnet.framing", "",
     "the initial framing of accepted sockets"),
    ("framing", "Readable Writable Duplex", "Framing", "one of pyuvnet.framing", "None",
     "as with set_framing()"),
    ("proxy_protocol", "connect", "Mapping[str, Any]", "mapping", "",
     ("send a PROXY header before any other data. Its keys, all optional: "
      "version, 1 or 2 (default 2); command, 'PROXY' (default) or 'LOCAL'; source and destination, "
      "both or neither, each (address, port), a mapping of the two, a SocketAddress, or the path "
      "of a unix socket, by default the endpoints of the connection; tlvs, a mapping or a list of "
      "pairs, whose keys are numbers or 'alpn', 'authority', 'unique_id', 'netns' and 'ssl'; "
      "checksum, bool, whether to add a CRC32c")),
    ("proxy_protocol", "Server", "Mapping[str, Any]", "mapping", "",
     ("read a PROXY header before 'connection': the socket then has the addresses of the header, "
      "and socket.proxy has the rest. Its keys: trusted, the addresses and CIDRs, as a list or a "
      "BlockList, that may send one (over a unix socket every peer may); required, bool, default "
      "True: drop other peers, False accepts them without a header; timeout, ms, default 5000, and "
      "limit, bytes 107..65551, default 4096, for the header. A header that is malformed, too long "
      "or late leads to 'drop' with reason 'proxy' and a detail")),
    ("name", "Server", "str", "str", "None", "its name in pyuvnet.metrics",
     _server_name, "_set_name"),
    # Framings
    ("limit", "Lines", "int", "int >= 1, bytes", "65536",
     "the longest line, without its delimiter"),
    ("limit", "LengthPrefix VarintPrefix Netstrings", "int", "int >= 1, bytes", "16777216",
     "the longest payload"),
    ("limit", "Header", "int", "int >= 1, bytes", "16777216",
     "the longest frame, including the header"),
    ("keep_delimiter", "Lines", "bool", "bool", "False", "deliver lines with their delimiter"),
    ("strip_cr", "Lines", "bool", "bool", "True",
     # As it stands in a docstring.
     r'a b"\\r" before the delimiter b"\\n" belongs to it'),
    ("oversize", "Lines", 'Literal["error", "discard"]', "'error' or 'discard'", "'error'",
     "how to handle a longer line; 'discard' skips it and emits 'oversize' with its size"),
    ("byteorder", "LengthPrefix", 'Literal["big", "little"]', "'big' or 'little'", "'big'", ""),
    ("includes_itself", "LengthPrefix", "bool", "bool", "False",
     "the length includes its own bytes"),
    # TLS: what a context is made of
    ("context", "SecureContext", "SSLContext", "ssl.SSLContext", "",
     "a ready-made context, used as it is; excludes the other options of a context"),
    ("key", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them", "",
     "private keys, in the order of cert; an item may be a mapping of `pem` and `passphrase`"),
    ("cert", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them", "",
     "certificates, each with the chain that follows it"),
    ("passphrase", "SecureContext", "str", "str", "", "of the encrypted keys"),
    ("ca", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them",
     "the system's store", ("the certificate authorities to trust, and those that complete the "
     "chain of cert")),
    ("allow_partial_trust_chain", "SecureContext", "bool", "bool", "False",
     "trust the authorities of ca that have not signed themselves too"),
    ("crl", "SecureContext", "Any", "PEM as str or bytes, a path, or a list of them", "",
     "revoked certificates"),
    ("ciphers", "SecureContext", "str", "str", "tls.DEFAULT_CIPHERS",
     "cipher suites up to TLS 1.2, in OpenSSL's notation; those of TLS 1.3 only all or none"),
    ("min_version", "SecureContext", "str", "'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3'",
     "tls.DEFAULT_MIN_VERSION, 'TLSv1.2'", ""),
    ("max_version", "SecureContext", "str", "'TLSv1', 'TLSv1.1', 'TLSv1.2' or 'TLSv1.3'",
     "tls.DEFAULT_MAX_VERSION, 'TLSv1.3'", ""),
    ("secure_protocol", "SecureContext", "str", "str", "",
     ("the versions by the name of one of OpenSSL's methods, such as 'TLSv1_2_method'; excludes "
      "min_version and max_version")),
    ("ecdh_curve", "SecureContext", "str", "str", "tls.DEFAULT_ECDH_CURVE, 'auto'",
     "one curve, such as 'prime256v1', or from Python 3.15 on several, separated by colons"),
    ("dhparam", "SecureContext", "Any", "PEM as str or bytes, a path, or 'auto'", "",
     "Diffie-Hellman parameters, which DHE suites need; 'auto' uses those of RFC 7919"),
    ("honor_cipher_order", "SecureContext", "bool", "bool", "True",
     "a server prefers its own order of suites to the client's"),
    ("secure_options", "SecureContext", "int", "int, ssl.OP_...", "", "more options of OpenSSL"),
    ("num_tickets", "SecureContext", "int", "int 0..255", "2",
     "how many TLS 1.3 session tickets a server sends"),
    ("session_id_context", "SecureContext", "str", "str of at most 32 bytes", "",
     "accepted for compatibility: a session never leaves the context that it was made in"),
    *[(name, "SecureContext", "Any", "", "", "") for name in (
        "pfx", "ticket_keys", "sigalgs", "session_timeout", "client_cert_engine",
        "private_key_engine", "private_key_identifier")],
    # TLS: connections and servers
    ("secure_context", "TLSSocket tls.connect tls.Server", "SecureContext", "SecureContext",
     "made from the other options", "what create_secure_context() returned"),
    ("alpn_protocols", "TLSSocket tls.connect tls.Server", "Sequence[str]", "list of str", "[]",
     "protocols for the connection, in order of preference"),
    ("reject_unauthorized", "TLSSocket tls.connect tls.Server", "bool", "bool", "True",
     "reject a peer whose certificate is not valid; False: `authorized` says whether it is"),
    ("require_close_notify", "TLSSocket tls.connect tls.Server", "bool", "bool", "False",
     "a connection that ends without close_notify fails with ERR_TLS_TRUNCATED"),
    ("alpn_callback", "TLSSocket tls.Server", "Callable[..., Any]",
     "callable(mapping of servername and protocols)", "",
     "returns one of the client's protocols, or None to reject it; excludes alpn_protocols"),
    ("sni_callback", "TLSSocket tls.Server", "Callable[..., Any]", "callable(servername, callback)",
     "",
     ("calls callback(error, context), or returns a context or an awaitable of one; None selects "
      "the server's own")),
    ("request_cert", "TLSSocket tls.Server", "bool", "bool", "False",
     "ask clients for a certificate"),
    ("handshake_timeout", "tls.Server", "float", "ms", "60000", "how long a handshake may take"),
    ("handshake_timeout", "tls.connect", "float", "ms", "120000",
     "how long the handshake may take"),
    ("handshake_timeout", "TLSSocket", "float", "ms", "120000, or 60000 on a server",
     "how long the handshake may take"),
    ("max_handshakes", "tls.Server", "int", "int >= 0", "0 (no limit)",
     ("how many handshakes may be unfinished at once; other connections wait unread, until one "
      "ends, or stands still for a second")),
    ("servername", "TLSSocket tls.connect", "str", "str", "host, unless that is an address",
     "the name that the client sends (SNI), and that the certificate must have"),
    ("check_server_identity", "TLSSocket tls.connect", "Callable[..., Any]",
     "callable(hostname, cert)", "tls.check_server_identity",
     "returns an error if the certificate is not valid for the host, else None"),
    ("session", "TLSSocket tls.connect", "Any", "what get_session() returned", "",
     "the session to resume, if the context is the same and the server agrees"),
    ("min_dh_size", "tls.connect", "int", "int", "", "accepted for compatibility; no effect"),
    ("socket", "tls.connect", "Duplex", "Socket, or another Duplex", "",
     "the connection to use, instead of host, port and path: what STARTTLS does"),
    ("psk_callback", "TLSSocket tls.connect tls.Server", "Callable[..., Any]",
     "callable(hint), or on a server callable(socket, identity)", "",
     ("returns a mapping of psk and identity, or on a server the psk, as bytes; None goes on "
      "without a pre-shared key. Needs Python 3.13, and before TLS 1.3 suites such as "
      "ciphers='PSK'")),
    ("psk_identity_hint", "TLSSocket tls.Server", "str", "str of at most 256 bytes", "",
     "sent to clients before TLS 1.3, to choose an identity by"),
    ("psk_identity_hint", "tls.connect", "Any", "", "", ""),
    ("is_server", "TLSSocket", "bool", "bool", "False", "True for the server's side"),
    ("server", "TLSSocket", "Server", "net.Server", "",
     ("the connection's; the options and events of a tls.Server are used, unless there is a key, a"
      " cert, a context or a secure_context of its own")),
    *[(name, "TLSSocket tls.connect tls.Server", "Any", "", "", "") for name in (
        "request_ocsp", "enable_trace")],
    # SocketAddress()
    ("address", "SocketAddress", "str", "literal address", "'127.0.0.1', or '::' for 'ipv6'",
     "a zone is ignored"),
    ("family", "SocketAddress", "str", "'ipv4' or 'ipv6', in any case", "'ipv4'", ""),
    ("port", "SocketAddress", "Port", "int 0..65535, or numeric text", "0", ""),
    ("flowlabel", "SocketAddress", "int", "int 0..4294967295", "0", "ignored for 'ipv4'"),
)
# fmt: on


def option_set(function: str, *more: str, strict: bool = False) -> OptionSet:
    """Return the options which one function takes.

    Args:
        function: its name in the table; error texts have what follows the last dot.
        more: names in the table whose options it takes too.
        strict: as for OptionSet.
    """
    wanted = {function, *more}
    rows = [row for row in OPTIONS if not wanted.isdisjoint(row[1].split())]
    steps = [(row[0], *row[6:]) for row in rows if row[6:] and function in row[1].split()]
    names = [row[0] for row in rows]
    return OptionSet(function.rpartition(".")[2], names, strict=strict, steps=steps)


def _functions_with(name: str) -> list[str]:
    """The functions that take an option, in either spelling."""
    found: dict[str, None] = {}
    for option, functions, *_ in OPTIONS:
        if name in (option, to_node(option)):
            found |= dict.fromkeys(functions.split())
    return [f"{function}()" for function in found]


options.functions_with = _functions_with


# Attributes. Nothing would read an option that is assigned to an object as an attribute. The names
# of settings are refused therefore, unless a class has a member of that name, be it the program's.
# Not among them are names of what an object is made of or goes to, which are no settings, and under
# which programs keep things of their own: socket.server, socket.session.

NO_SETTINGS = frozenset((
    "address", "connection_listener", "context", "fd", "handle", "host", "path", "port", "server",
    "session", "signal", "socket",
))  # fmt: skip
SETTINGS = frozenset(
    spelling
    for option, *_ in OPTIONS
    if option not in NO_SETTINGS
    for spelling in (option, to_node(option))
)
# The method that changes a setting, of the classes that have it.
_METHODS = {
    "no_delay": "set_no_delay",
    "keep_alive": "set_keep_alive",
    "keep_alive_initial_delay": "set_keep_alive",
    "type_of_service": "set_type_of_service",
    "encoding": "set_encoding",
    "default_encoding": "set_default_encoding",
    "framing": "set_framing",
    "max_send_fragment": "set_max_send_fragment",
    **dict.fromkeys(option_set("SecureContext"), "set_secure_context"),
}


def refuse_setting(cls: type, name: str) -> None:
    """Raise AttributeError (ERR_UNKNOWN_OPTION) if an attribute would be an option without effect.

    Args:
        cls: the object's class. Its _option_functions are those that take its options.
        name: the attribute, one of SETTINGS, which is about to be assigned.
    """
    functions: tuple[str, ...] = getattr(cls, "_option_functions", ())
    if not functions or hasattr(cls, name):
        return
    for option, takers, *_ in OPTIONS:
        if name not in (option, to_node(option)):
            continue
        found = [function for function in functions if function in takers.split()]
        if found:
            method = _METHODS.get(option, "")
            where = "call" if hasattr(cls, method) else "pass it to"
            what = method if hasattr(cls, method) else found[0]
            raise SettingError(
                f"'{name}' is an option of {found[0]}() and cannot be assigned: {where} {what}()",
                "ERR_UNKNOWN_OPTION",
            )


class Settings:
    """A class of objects with options that says which of its attributes are none."""

    _option_functions: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: object) -> None:
        if name in SETTINGS:
            refuse_setting(type(self), name)
        super().__setattr__(name, value)

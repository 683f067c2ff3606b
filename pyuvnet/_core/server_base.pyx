"""ServerBase: accepting, in C, and when a server may say 'close'.

Owns: the listening handle, the count of accepted sockets that are not destroyed.  Imports
everything below.  listen() forms and close() are Python's, in pyuvnet/server.py.
"""

from .._validate import arg_type_error

from . cimport uv
from .dns cimport start_lookup
from .emitter cimport intern_event
from .errors cimport lookup_error, os_error, state_error
from .loop cimport loop_of_thread
from .names import add_node_names
from .owner cimport Owner
from .pipe cimport Pipe, new_pipe
from .socket_base cimport SocketBase
from .stream cimport ALLOW_HALF_OPEN
from .stream_handle cimport StreamHandle
from .tcp cimport TCP, new_tcp, parse_address

cdef object _CLOSE = intern_event("close")
cdef object _CONNECTION = intern_event("connection")
cdef object _ERROR = intern_event("error")
cdef object _LISTENING = intern_event("listening")
cdef object _DROP = intern_event("drop")

cdef enum:
    TICK_LISTENING
    TICK_SERVER_CLOSE
    TICK_SERVER_ERROR
    TICK_LITERAL_RESOLVED


cdef class ServerBase(Owner):
    """The compiled part of Server."""

    def _init_server(self, socket_class, Py_ssize_t high_water_mark):
        """Make the state of a server that does not listen; called by Server.__init__."""
        self._loop = loop_of_thread()
        self._socket_class = socket_class
        self.high_water_mark = high_water_mark
        self._ready_flag = True

    cdef int _ready(self) except -1:
        if not self._ready_flag:
            raise state_error("ERR_NOT_CONSTRUCTED",
                              "Server.__init__() was not called; call super().__init__()")
        return self._loop.check()

    def _check(self):
        """Refuse a half-built server, another thread, and a fork's child."""
        self._ready()

    # ---- Accepting -----------------------------------------------------------------------------

    cdef int _on_connection(self, int status) except -1:
        cdef StreamHandle client
        cdef SocketBase socket
        cdef int accepted
        if status < 0:
            self._emit1(_ERROR, os_error(status, "accept"))
            return 0
        if isinstance(self._handle, TCP):
            client = new_tcp(self._loop, None)
        else:
            client = new_pipe(self._loop, None)
        accepted = self._handle.accept(client)
        if accepted < 0:
            client.close()
            self._emit1(_ERROR, os_error(accepted, "accept"))
            return 0
        try:
            if self._is_full():
                self._refuse_peer(client)
                client.close()
                return 0
        except BaseException:
            client.close()
            raise
        if self.block_list is not None and isinstance(client, TCP) \
                and (<TCP>client).is_blocked(self.block_list):
            # Closed without a word: the peer sees a connection that ends.
            client.close()
            return 0
        socket = <SocketBase>self._socket_class.__new__(self._socket_class)
        self._connections += 1
        if isinstance(client, TCP):
            if self.no_delay:
                socket.set_no_delay_flag((<TCP>client).nodelay(True) == 0)
            if self.keep_alive:
                socket.set_keep_alive_flag(self.keep_alive_initial_delay)
                (<TCP>client).keepalive(True, self.keep_alive_initial_delay, 1, 10)
        socket._adopt_accepted(self, client, ALLOW_HALF_OPEN if self.allow_half_open else 0,
                               self.high_water_mark, self.pause_on_connect)
        self._emit1(_CONNECTION, socket)
        return 0

    cdef bint _is_full(self) except -1:
        return self._max_connections is not None and self._connections >= self._max_connections

    @property
    def max_connections(self):
        """From how many open connections on a peer is refused; None: no limit, 0: all are.

        Settable at any time. Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: server.maxConnections
        """
        return self._max_connections

    @max_connections.setter
    def max_connections(self, value):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise arg_type_error("maxConnections", "number", value)
        self._max_connections = value

    def _refuse_peer(self, StreamHandle client):
        """Refuse a connection above max_connections; 'drop' says whose it was."""
        if not isinstance(client, TCP):
            self._emit1(_DROP, None)
            return
        try:
            here, there = (<TCP>client).sockname(), (<TCP>client).peername()
        except OSError:
            # The peer left already: nobody to tell about.
            here = there = (None, None, None)
        self._emit1(_DROP, self._drop_info(here, there))

    def _connection_gone(self):
        """An accepted socket was destroyed."""
        self._connections -= 1
        self._close_if_drained()

    def _close_if_drained(self):
        """'close' in a tick, once there is neither handle nor connection."""
        if self._handle is None and not self._connections:
            self._loop.tick(self, TICK_SERVER_CLOSE, None)

    cdef int _on_tick(self, int what, object argument) except -1:
        if what == TICK_LISTENING:
            # A close() in the same turn came first: then there is nothing to announce.
            if self._handle is not None:
                self._emit0(_LISTENING)
        elif what == TICK_SERVER_CLOSE:
            self._emit0(_CLOSE)
        elif what == TICK_SERVER_ERROR:
            self._emit1(_ERROR, argument)
        elif what == TICK_LITERAL_RESOLVED:
            answered, address, family = argument
            if answered is self._answered:
                self._answered = None
                answered(None, [(address, family)])
        return 0

    def _rejected(self, error, event, arguments):
        # Node: of 'connection', the socket pays for its listener.
        if event == _CONNECTION and arguments:
            arguments[0].destroy(error)
        else:
            self._emit1(_ERROR, error)

    # ---- Listening -----------------------------------------------------------------------------

    def _bind_tcp(self, str address, int port, bint ipv6_only, bint reuse_port):
        """Open and bind a TCP handle; returns a libuv status, with no handle left on failure."""
        cdef uv.sockaddr_storage storage
        cdef unsigned int flags = 0
        cdef int status
        if not parse_address(address, port, &storage):
            return uv.UV_EINVAL
        if ipv6_only:
            flags |= uv.UV_TCP_IPV6ONLY
        if reuse_port:
            flags |= uv.UV_TCP_REUSEPORT
        self._handle = new_tcp(self._loop, self)
        status = (<TCP>self._handle).bind(<uv.sockaddr*>&storage, flags)
        if status < 0:
            self._close_handle()
        return status

    def _bind_pipe(self, bytes path):
        """Open and bind a pipe handle; returns a libuv status, with no handle left on failure."""
        self._handle = new_pipe(self._loop, self)
        cdef int status = (<Pipe>self._handle).bind(path)
        if status < 0:
            self._close_handle()
        return status

    def _start_listening(self, int backlog):
        """Listen on the bound handle; returns a libuv status, with no handle left on failure."""
        cdef int status = self._handle.listen(backlog)
        if status < 0:
            self._close_handle()
            return status
        if self._unref:
            self._handle.unref()
        self._loop.tick(self, TICK_LISTENING, None)
        return 0

    def _close_handle(self):
        """Stop accepting; returns whether there was a handle."""
        cdef StreamHandle handle = self._handle
        if handle is None:
            return False
        self._handle = None
        handle.owner = None
        handle.close()
        self._loop.touched()
        return True

    def _look_up(self, str hostname, answered):
        """Begin a lookup that calls answered(error, addresses); a literal answers in a tick."""
        cdef uv.sockaddr_storage storage
        cdef int family = parse_address(hostname, 0, &storage)
        self._cancel_lookup()
        self._answered = answered
        if family:
            self._loop.tick(self, TICK_LITERAL_RESOLVED, (answered, hostname, family))
            return
        try:
            self._lookup = start_lookup(self._loop, self, hostname, 0, 0)
        except OSError as error:
            self._error_later(error)

    def _cancel_lookup(self):
        """Forget a lookup that has not answered."""
        self._answered = None
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None

    cdef int _on_resolved(self, int status, list addresses) except -1:
        answered, lookup = self._answered, self._lookup
        self._answered = self._lookup = None
        answered(lookup_error(status, lookup.hostname) if status < 0 else None, addresses)
        return 0

    def _next_tick(self, callback):
        """Queue a callback on this server's loop."""
        self._loop.tick_call(callback, ())

    def _error_later(self, error):
        """'error' in the next tick."""
        self._loop.tick(self, TICK_SERVER_ERROR, error)

    def _local_name(self):
        """(address, port, family) of a TCP server, None for IPC or without handle."""
        if isinstance(self._handle, TCP):
            return (<TCP>self._handle).sockname()
        return None

    @property
    def listening(self):
        """True while the server has a handle. Node: server.listening"""
        return self._handle is not None

    def ref(self):
        """Let the server keep the loop alive (the default). Returns it. Node: server.ref()"""
        self._ready()
        self._unref = False
        if self._handle is not None:
            self._handle.ref()
        return self

    def unref(self):
        """Do not let the server keep the loop alive. Returns it. Node: server.unref()"""
        self._ready()
        self._unref = True
        if self._handle is not None:
            self._handle.unref()
        return self


add_node_names(ServerBase)

"""ServerBase: accepting, in C, and when a server may say 'close'.

Owns: the listening handle, the count of accepted sockets that are not destroyed.  Imports
everything below.  listen() forms and close() are Python's, in pyuvnet/server.py.
"""

import os

from cpython.mem cimport PyMem_RawFree
from cpython.object cimport PyObject
from libc.math cimport ceil
from libc.stdint cimport UINT64_MAX, uint64_t
from libc.string cimport memset

from .._base.info import Info, NodeDrop
from .._base.validation import arg_type_error, range_error, validate_high_water_mark, \
    validate_uint32

from . cimport uv
from .accepting cimport Arrivals, accept_all, accepted_peer, drop_waiting, listener_closed, \
    listener_manner, listener_opened, listener_rests, retry_listener, take_waiting
from .address cimport PeerName, ip_family, keep_name, peer_tuple, sockaddr_from_text
from .blocklist cimport BlockList
from .deadlines cimport Limits, arm
from .dns cimport resolved_call, start_lookup
from .emitter cimport EMITTER_EMIT_OVERRIDDEN, ON_CLOSE, ON_DROP, ON_ERROR, ON_LISTENING, \
    intern_event
from .capi cimport own_text, type_name
from .errors cimport lookup_error, os_error, state_error, status_name
from .framing cimport check_framing
from .hooks cimport HOOK_LISTEN_END, HOOK_LISTEN_ERROR, HOOK_LISTEN_START, HOOK_SERVER_SOCKET, \
    hooked, publish
from .layer cimport read_again, remove_layer, top_layer, undress
from .names import add_node_names
from .owner cimport Acceptor, HandleCalls, Links, failed_call, leave_ring, ring_of_one, \
    status_call
from .passing cimport add_passing
from .pipe cimport Pipe, new_pipe
from .proxy_header cimport ENDS_IPV4, HEADER_UNTRUSTED, ProxyHeader, \
    header_reason, new_proxy_header
from .readable cimport r_set_framing
from .shared cimport GIL_DISABLED
from .socket_base cimport SocketBase, send_collected, socket_of
from .stream cimport ALLOW_HALF_OPEN, DESTROYED, HALF_OPEN_SET, SERVER_DESTROYED, default_mark
from .stream_handle cimport StreamHandle, budget_in_kib, change_option, close_descriptor, \
    get_option, handle_kind, set_option
from .tcp cimport KEEP_ALIVE_COUNT, KEEP_ALIVE_INTERVAL, TCP, name_blocked, new_tcp
from .limits cimport IN_SERVER, AddressCount, new_address_counts, new_budget
from .loop cimport this_thread
from .loop_registry cimport loop_for_new

cdef extern from "sockopt.h":
    int pyuvnet_accept_queue(const uv.uv_handle_t* handle, int* length, int* limit) noexcept
    int pyuvnet_present_backlog(const uv.uv_handle_t* handle) noexcept

cdef object _CONNECTION = intern_event("connection")
cdef object _SHUTDOWN = intern_event("shutdown")

cdef enum:
    # Why a connection was refused; other reasons are libuv statuses, which are below 0.
    DROP_MAX_CONNECTIONS = 1
    DROP_BLOCK_LIST
    DROP_UNKNOWN_PEER
    DROP_PROXY
    DROP_MAX_PER_ADDRESS

cdef enum:
    # Why a server accepts nothing for the time being; clients stay in the kernel's queue.
    REST_ASKED = 1 << 0          # pause()
    REST_FULL = 1 << 1           # max_connections, with overflow "wait"

cdef object _OVERLOAD = intern_event("overload")

cdef enum:
    TICK_LISTENING
    TICK_SERVER_CLOSE
    TICK_SERVER_ERROR
    TICK_LITERAL_RESOLVED
    TICK_OVERLOAD
    TICK_TAKE_WAITING
    TICK_LOG_DROPS


cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    double PyFloat_AS_DOUBLE(object number) noexcept
    const Py_ssize_t PY_SSIZE_T_MAX


cdef str _reason(int why):
    if why == DROP_MAX_CONNECTIONS:
        return "max_connections"
    if why == DROP_BLOCK_LIST:
        return "block_list"
    if why == DROP_UNKNOWN_PEER:
        return "unknown_peer"
    if why == DROP_PROXY:
        return "proxy"
    if why == DROP_MAX_PER_ADDRESS:
        return "max_per_address"
    return status_name(why)


cdef Py_ssize_t _limit_of(object number) except? -2:
    """The count from which on `count >= number`, for a count of connections; -1: there is none.

    Nothing of the program's runs here, whatever an int or a float of its own overrides, nor later,
    while a connection is accepted.
    """
    cdef int overflow = 0
    cdef long long limit
    cdef double value
    if number is None:
        return -1
    if isinstance(number, float):
        value = PyFloat_AS_DOUBLE(number)
        if not value < <double>PY_SSIZE_T_MAX:
            # Among them NaN, to which nothing is equal, nor above it.
            return -1
        return <Py_ssize_t>ceil(value) if value > 0 else 0
    limit = PyLong_AsLongLongAndOverflow(number, &overflow)
    if overflow > 0 or overflow == 0 and limit > PY_SSIZE_T_MAX:
        return -1
    return <Py_ssize_t>limit if overflow == 0 and limit > 0 else 0


cdef bint _is_no_count(object number) except -1:
    """Whether a limit is below zero, or NaN. Nothing of the program's runs here."""
    cdef int overflow = 0
    if isinstance(number, float):
        return not PyFloat_AS_DOUBLE(number) >= 0
    return number is not None and PyLong_AsLongLongAndOverflow(number, &overflow) < 0 \
        and overflow <= 0


cdef int _add_end(object info, str side, const PeerName* name) except -1:
    """Add an end of a connection to the info of 'drop'; it is None where it is not known."""
    address, port, family = peer_tuple(name) or (None, None, None)
    info[side + "Address"], info[side + "Port"], info[side + "Family"] = address, port, family
    return 0


cdef int _rights(bint readable, bint writable) noexcept:
    return (uv.UV_READABLE if readable else 0) | (uv.UV_WRITABLE if writable else 0)


cdef class ServerBase(Acceptor):
    """The compiled part of Server."""

    def __cinit__(self, *args, **kwargs):
        self._limit = -1
        self._max_write_buffer = -1
        ring_of_one(&self._sockets)

    def __dealloc__(self):
        # A closed loop, or the garbage collector, can leave sockets behind.
        leave_ring(&self._sockets)

    def _init_server(self, socket_class):
        """Make the state of a server that does not listen; called once, by Server.__init__."""
        self._refuse_second_init()
        self._loop = loop_for_new()
        self._socket_class = socket_class
        self._allow_half_open = -1
        self._ready_flag = True

    def _refuse_second_init(self):
        """A server that is made once cannot be made again: it may listen, for another thread."""
        if self._ready_flag:
            raise state_error("ERR_CONSTRUCTED_TWICE",
                              "Server.__init__() was called twice on the same object")

    cdef int _ready(self) except -1:
        if not self._ready_flag:
            raise state_error("ERR_NOT_CONSTRUCTED",
                              "Server.__init__() was not called; call super().__init__()")
        return self._loop.check()

    cdef int _here(self) except -1:
        return self._loop.here() if self._loop is not None else 0

    def _check(self):
        """Refuse a half-built server, another thread, and a fork's child."""
        self._ready()

    # ---- Accepting -----------------------------------------------------------------------------

    # A connection that libuv has accepted is taken from it before anything else, and from then on
    # each way out closes it or gives it to the program: what is left with libuv would stop the
    # listener for ever.  Names and counts are C's, so that no way out needs memory before the
    # connection is closed and counted; 'drop' is emitted last.  Nothing returns from within an
    # `except`: Cython's code for that crashes where there was no memory for the traceback.

    cdef int _accept(self, StreamHandle listener) except -1:
        cdef StreamHandle client = None
        cdef PeerName peer
        cdef int status
        cdef bint without_memory = False
        if self._receiver is not None:
            return self._hand_over(listener)
        memset(&peer, 0, sizeof(peer))
        try:
            if isinstance(listener, TCP):
                client = new_tcp(self._loop)
            else:
                client = new_pipe(self._loop, self._passes)
        except MemoryError:
            without_memory = True
        finally:
            if client is None and not drop_waiting(listener, &peer):
                self._waiting_accepts += 1
        if without_memory:
            return self._drop_client(uv.UV_ENOMEM, None, &peer)
        if self._handle is not listener:
            # On CPython 3.11 the making of an object may run a finaliser, and that closed the
            # server; libuv has closed the connection.
            client.close()
            return 0
        status = listener.accept(client)
        listener.failed_accepts = 0
        if status < 0:
            client.close()
            # libuv 1.52.1 polls a listener no more after this, unless it listens again.
            listener.listen(self._backlog)
            self._emit1(ON_ERROR, os_error(status, "accept"))
            return 0
        if isinstance(client, TCP):
            # Now, since the kernel forgets the name when both sides have ended.
            accepted_peer(<TCP>client, &peer)
        return self._admit(listener, client, &peer)

    cdef int _hand_over(self, StreamHandle listener) except -1:
        """Give a connection's descriptor to the receiver; neither handle nor socket is made."""
        cdef int fd = take_waiting(listener)
        listener.failed_accepts = 0
        if fd >= 0:
            self._pass_on(fd)
        return 0

    cdef int _pass_on(self, int fd) except -1:
        """Give a descriptor to the receiver, or close it if the receiver cannot take it."""
        cdef bint given = False
        try:
            self._receiver(fd)
            given = True
        finally:
            if not given:
                close_descriptor(fd)
        if self._received is not None:
            self._received()
        return 0

    def _hand_over_to(self, receiver, received=None):
        """Give the descriptor of each accepted connection to receiver(fd), then call received().

        For a process that accepts for others: there is no 'connection', and nothing that a server
        does with its connections is done. Not on Windows.

        Args:
            receiver: callable(fd), which owns the descriptor from then on; if it raises, as without
                memory, it has not kept it, and the connection is closed.
            received: callable() for what is to be done about it, or None.
        """
        self._receiver, self._received = receiver, received

    def _retry_accepts(self):
        """Try again if there was no descriptor: one of those that were handed over is closed."""
        if self._handle is not None:
            retry_listener(self._handle)

    cdef bint _wanted(self, StreamHandle listener) noexcept:
        """Whether a connection of this listener may still be given to the program."""
        return self._handle is listener or self._ending

    cdef int _admit(self, StreamHandle listener, StreamHandle client,
                    const PeerName* peer) except -1:
        """Drop an accepted connection, or make it a socket."""
        cdef SocketBase socket = None
        cdef bint without_memory = False
        # Those that a shutdown accepts were to wait, not to be dropped.
        if self._full() and not (self._ending and self._overflow_waits):
            return self._drop_client(DROP_MAX_CONNECTIONS, client, peer)
        if self._block_list is not None and isinstance(client, TCP) \
                and name_blocked(peer, self._block_list):
            # The peer sees a connection that ends.
            return self._drop_client(
                DROP_BLOCK_LIST if peer.family else DROP_UNKNOWN_PEER, client, peer)
        if self._proxies is not None and self._await_header(client, peer):
            return 0
        if self._addresses is not None:
            why = self._address_full(peer)
            if why:
                return self._drop_client(why, client, peer)
        try:
            socket = self._new_socket(client)
            # On CPython 3.11 the making of an object may run a finaliser, and that closed it.
            if self._wanted(listener):
                self._adopt(socket, client, peer)
        except MemoryError:
            without_memory = True
        except BaseException:
            undress(client)
            client.close()
            raise
        if without_memory:
            undress(client)
            return self._drop_client(uv.UV_ENOMEM, client, peer)
        if socket._handle is None and not socket._state & DESTROYED:
            undress(client)
            client.close()
            return 0
        return self._give(socket)

    cdef SocketBase _new_socket(self, StreamHandle client):
        """Make the socket of a connection, whose handle gets its TLS if nothing sees it before."""
        kind = self._socket_class
        if self._secure_class is not None and self._find(_CONNECTION) is None:
            kind = self._secure_class
            self._dress(client)
        return kind.__new__(kind)

    # ---- PROXY headers -------------------------------------------------------------------------

    # A connection that waits for its header has no socket yet, and counts for max_connections.

    cdef bint _await_header(self, StreamHandle client, const PeerName* peer) except -1:
        """Wait for the header of an accepted connection, if its peer is to send one.

        Returns False if it is a connection like any other.
        """
        cdef ProxyHeader header = None
        cdef int status = uv.UV_ENOMEM
        # Who may open a unix socket is trusted: the file has a mode.
        if isinstance(client, TCP) and not (peer.family and self._proxies.blocks_bytes(
                peer.family, peer.address)):
            if not self._proxy_required:
                return False
            self._drop_header(HEADER_UNTRUSTED, client, peer)
            return True
        try:
            header = new_proxy_header(self, peer, self._proxy_limit)
            # Making them may have run a finaliser, on CPython 3.11.
            if self._handle is None and not self._ending:
                client.close()
                return True
            status = header.begin(client, self._proxy_timeout)
        except MemoryError:
            pass
        if status < 0:
            self._drop_client(status, client, peer)
            return True
        header.before = self._headers
        if header.before is not None:
            header.before.after = header
        self._headers = header
        self._awaiting += 1
        if self._overflow_waits and self._full():
            self._rest(REST_FULL)
        return True

    cdef void _forget_header(self, ProxyHeader header) noexcept:
        """Take a header off the list of those that are awaited."""
        if header.after is not None:
            header.after.before = header.before
        else:
            self._headers = header.before
        if header.before is not None:
            header.before.after = header.after
        header.before = header.after = None
        self._awaiting -= 1
        if self._rests & REST_FULL:
            self._room_changed()

    cdef void _end_headers(self) noexcept:
        """Close the connections that wait for their headers. Nothing of the program's runs."""
        cdef ProxyHeader header
        while self._headers is not None:
            header = self._headers
            self._forget_header(header)
            header.server = None
            header.timeout.header = None
            header.timeout.cancel()
            header.handle.close()

    cdef void header_over(self, object header, int status, const char* rest,
                          Py_ssize_t size) noexcept:
        cdef ProxyHeader whole = header
        cdef StreamHandle client = whole.handle
        cdef const PeerName* name = &whole.peer
        if whole.fields.ends >= ENDS_IPV4:
            name = &whole.fields.source
        self._forget_header(whole)
        try:
            if status < 0:
                self._drop_header(status, client, &whole.peer)
            elif whole.fields.ends >= ENDS_IPV4 and self._block_list is not None \
                    and name_blocked(&whole.fields.source, self._block_list):
                self._drop_client(DROP_BLOCK_LIST, client, name)
            elif self._addresses is not None and self._address_full(name):
                self._drop_client(self._address_full(name), client, name)
            else:
                self._header_over(whole, client, rest, size)
        except BaseException as exc:
            self._loop.report(exc)
        if self._ending:
            # It may have been the last that the shutdown waits for.
            self.connections_left()

    cdef bint _expects_more(self) noexcept:
        """Whether a shutdown has connections that are no sockets yet.

        Those of the kernel's queue are made sockets one by one, and a listener may destroy the
        first before the next is there.
        """
        return self._ending and (self._awaiting > 0 or self._shown_out < 0)

    cdef void connections_left(self) noexcept:
        """'close', in a tick, if there is neither handle nor connection."""
        if self._handle is None and not self._connections and not self._close_queued \
                and not self._expects_more():
            try:
                self._queue_close()
            except BaseException as exc:
                self._loop.report(exc)

    cdef int _header_over(self, ProxyHeader header, StreamHandle client, const char* rest,
                          Py_ssize_t size) except -1:
        """A header is whole: make the connection's socket, to which what follows is data."""
        cdef SocketBase socket = None
        cdef bint without_memory = False
        try:
            socket = self._socket_class.__new__(self._socket_class)
            if (self._handle is not None or self._ending) and not client.closing:
                header.name_ends(socket)
                client.read_stop()
                remove_layer(header)
                self._adopt(socket, client, &header.peer)
        except MemoryError:
            without_memory = True
        except BaseException:
            client.close()
            raise
        if without_memory:
            return self._drop_client(uv.UV_ENOMEM, client, &header.peer)
        if socket._handle is None and not socket._state & DESTROYED:
            client.close()
            return 0
        if size and socket._handle is client:
            # Before anybody can listen: what has come, waits.
            read_again(client, rest, size)
        return self._give(socket)

    cdef int _drop_header(self, int why, StreamHandle client, const PeerName* peer) except -1:
        """Close a connection whose header has not come, count it, and emit 'drop'."""
        cdef PeerName here
        if why == uv.UV_ENOMEM:
            return self._drop_client(why, client, peer)
        memset(&here, 0, sizeof(here))
        if isinstance(client, TCP):
            (<TCP>client).read_here(&here)
        client.close()
        self._count_drop(DROP_PROXY)
        return self._emit_drop(DROP_PROXY, &here, peer, header_reason(why))

    def _set_proxies(self, BlockList trusted, bint required, Py_ssize_t limit,
                     unsigned long long timeout):
        """Read PROXY headers of later connections from whom `trusted` matches; None: from nobody.

        limit: HEADER_LEAST_LIMIT..HEADER_MOST_LIMIT, bytes. timeout: ms.
        """
        self._proxies, self._proxy_required = trusted, required
        self._proxy_limit, self._proxy_timeout = limit, timeout

    cdef int _adopt(self, SocketBase socket, StreamHandle client, const PeerName* peer) except -1:
        """Give a connection to its socket, and count it; nothing has changed if this raises."""
        if isinstance(client, TCP):
            if socket._also().proxy is None:
                # Else a PROXY header says who it is.
                socket._peer = peer[0]
            if self.no_delay:
                socket.set_no_delay_flag((<TCP>client).nodelay(True) == 0)
            if self.keep_alive:
                socket.set_keep_alive_flag(self._keep_alive_initial_delay)
                (<TCP>client).keepalive(True, self._keep_alive_initial_delay, KEEP_ALIVE_INTERVAL,
                                        KEEP_ALIVE_COUNT)
        client.read_budget = self._read_budget
        self._connections += 1
        self._accepted += 1
        self._peak = max(self._peak, self._connections)
        if self._allow_half_open >= 0:
            socket._coroutines |= HALF_OPEN_SET
        try:
            socket._adopt_accepted(
                self, client, ALLOW_HALF_OPEN if self._allow_half_open > 0 else 0,
                self._high_water_mark, self.pause_on_connect)
            if self._framing is not None and (
                    self._secure_class is None or isinstance(socket, self._secure_class)):
                r_set_framing(socket, self._framing)
            if self._passes and isinstance(client, Pipe):
                add_passing(socket)
            if self._max_write_buffer >= 0 or self._budget is not None \
                    or self._addresses is not None:
                self._limit_socket(socket)
            if self._limits is not None:
                arm(socket, self._limits)
        except BaseException:
            client.owner = None
            if not socket._state & DESTROYED:
                socket._give_back()
                self._accepted -= 1
                self.connection_gone(None)
            raise
        if self._overflow_waits and self._full():
            self._rest(REST_FULL)
        return 0

    cdef bint _full(self) noexcept:
        """Whether there are as many connections as there may be."""
        return self._limit >= 0 and self._connections + self._awaiting >= self._limit

    cdef int _address_full(self, const PeerName* peer) noexcept:
        """Why an address may have no more connections, a DROP_... or UV_ENOMEM; 0: it may."""
        try:
            if self._addresses.full(peer):
                return DROP_MAX_PER_ADDRESS
        except BaseException:
            # What it makes are bytes.
            pass
        return 0

    cdef int _limit_socket(self, SocketBase socket) except -1:
        """Let the server's bounds apply to a socket that it has accepted."""
        cdef AddressCount count
        if self._max_write_buffer >= 0:
            socket._bound_queue(self._max_write_buffer, self._refuses_writes)
        if self._budget is not None:
            socket._join(self._budget)
        if self._addresses is not None and not socket._state & DESTROYED:
            # Last, since nothing may fail after it.
            socket._own_also()
            count = self._addresses.enter(&socket._peer)
            socket._also().address = count
        return 0

    # ---- Pausing -------------------------------------------------------------------------------

    # A listener that rests is out of the poll, so that it costs nothing, and clients stay in the
    # kernel's queue. Where nobody can take it out (Windows, an installed libuv) one connection is
    # accepted and left with libuv, which then polls the listener no more: `_waiting_accepts`.

    cdef void _rest(self, unsigned int why) noexcept:
        if not self._rests and self._handle is not None:
            listener_rests(self._handle, True, self._exhausted_waits, self._reserve)
        self._rests |= why

    cdef void _go_on(self, unsigned int why) noexcept:
        if not self._rests & why:
            return
        self._rests &= ~why
        if not self._rests and self._handle is not None:
            listener_rests(self._handle, False, self._exhausted_waits, self._reserve)
            if self._waiting_accepts:
                self._take_waiting()
            self._loop.touched()

    cdef void _take_waiting(self) noexcept:
        """Accept in a tick what libuv has accepted meanwhile."""
        try:
            self._loop.tick(self, TICK_TAKE_WAITING, None)
        except MemoryError as exc:
            self._loop.report(exc)

    cdef void _room_changed(self) noexcept:
        """max_connections, or how many connections there are, has changed."""
        # 95 %, and at least one below the limit.
        cdef Py_ssize_t few = self._limit - self._limit // 20 - (self._limit % 20 > 0)
        if not self._overflow_waits:
            return
        if self._full():
            self._rest(REST_FULL)
        elif self._limit < 0 or self._connections + self._awaiting <= few:
            self._go_on(REST_FULL)

    cdef int _note_manner(self, StreamHandle handle) except -1:
        """Before a handle listens: what this server does that others do not."""
        if self._overflow_waits or not self._exhausted_waits or self._reserve or self._rests:
            listener_manner(handle, self._rests != 0, self._exhausted_waits, self._reserve)
        return 0

    def pause(self):
        """Accept nothing until resume(): clients stay in the kernel's queue, up to the backlog.

        It may be called before listen() too, and lasts over close() and listen(). A paused server
        keeps the loop alive, like a listening one. Open connections are not affected.

        Returns the server.

        Node: none
        """
        self._ready()
        if self._handle is not None:
            # Raises without memory, before anything has changed.
            listener_manner(self._handle, self._rests != 0, self._exhausted_waits, self._reserve)
        self._rest(REST_ASKED)
        return self

    def resume(self):
        """Accept again after pause(); no effect otherwise. Returns the server.

        Node: none
        """
        self._ready()
        self._go_on(REST_ASKED)
        return self

    @property
    def paused(self):
        """True from pause() until resume(). Node: none"""
        return bool(self._rests & REST_ASKED)

    @property
    def _resting(self):
        """Whether it accepts nothing now, for whatever reason."""
        return self._rests != 0

    # ---- Bounds --------------------------------------------------------------------------------

    def _set_bounds(self, Py_ssize_t max_write_buffer, bint refuses, write_budget, max_per_address,
                    bint overflow_waits, bint exhausted_waits, int reserve,
                    Py_ssize_t read_budget):
        """Set what bounds it and its sockets; once, by Server.__init__."""
        self._max_write_buffer, self._refuses_writes = max_write_buffer, refuses
        if write_budget is not None:
            self._budget = new_budget(write_budget, IN_SERVER)
        if max_per_address is not None:
            self._addresses = new_address_counts(max_per_address)
        self._overflow_waits, self._exhausted_waits = overflow_waits, exhausted_waits
        self._reserve = reserve
        if read_budget >= 0:
            self._read_budget = budget_in_kib(read_budget)
        self._room_changed()

    @property
    def _write_budget(self):
        """(limit, queued) of its sockets, None without a budget."""
        self._ready()
        if self._budget is None:
            return None
        send_collected(self._loop)
        return (self._budget.limit, self._budget.queued)

    @property
    def _per_address(self):
        """The connections of each address, by its bytes: a new dict; None: nobody counts."""
        return None if self._addresses is None else self._addresses.as_dict()

    cdef void overloaded(self, bint of_loop) noexcept:
        self._overloads[of_loop] += 1
        if not self._overload_queued:
            try:
                self._loop.tick(self, TICK_OVERLOAD, None)
                self._overload_queued = True
            except BaseException as exc:
                self._loop.report(exc)

    cdef int _emit_overload(self) except -1:
        cdef Py_ssize_t own = self._overloads[0], loops = self._overloads[1]
        cdef Budget budget
        self._overload_queued = False
        self._overloads[0] = self._overloads[1] = 0
        if own:
            self._log_overload(own, "server", self._budget.limit)
        if loops:
            budget = self._loop.budget
            self._log_overload(loops, "loop", None if budget is None else budget.limit)
        if own:
            self._emit1(_OVERLOAD, Info(
                scope="server", limit=self._budget.limit, queued=self._budget.queued,
                destroyed=own))
        if loops:
            # None: the program has taken it back meanwhile.
            budget = self._loop.budget
            self._emit1(_OVERLOAD, Info(
                scope="loop", limit=None if budget is None else budget.limit,
                queued=None if budget is None else budget.queued, destroyed=loops))
        return 0

    cdef int _give(self, SocketBase socket) except -1:
        """Give a connection to the program, which may raise."""
        try:
            if self._secure_class is not None:
                self._secure_socket(socket)
            else:
                self._give_plain(socket)
        finally:
            if self._ending and self._shown_out > 0:
                # Its PROXY header was late.
                self._shown_out += 1
                self._show_out(socket._present())
        return 0

    cdef int _give_plain(self, SocketBase socket) except -1:
        """Emit 'connection'. A socket whose listener raises before it has taken it is destroyed."""
        try:
            self._emit1(_CONNECTION, socket)
            if hooked(HOOK_SERVER_SOCKET):
                publish(HOOK_SERVER_SOCKET, {"socket": socket})
        except BaseException as exc:
            self._loop.blame(exc, socket)
            self._destroy_unused(socket)
            raise
        return 0

    cdef int _secure_socket(self, SocketBase socket) except -1:
        """Begin TLS; 'connection' has the plain socket, if there is a listener."""
        cdef object layer = None
        try:
            if isinstance(socket, self._secure_class):
                layer = None if socket._handle is None else top_layer(socket._handle)
            else:
                self._emit1(_CONNECTION, socket)
            if hooked(HOOK_SERVER_SOCKET):
                publish(HOOK_SERVER_SOCKET, {"socket": socket})
            if not socket._state & DESTROYED:
                self._secure(socket, layer)
        except BaseException as exc:
            self._loop.blame(exc, socket)
            socket._destroy_with(None)
            raise
        return 0

    def _dress(self, handle):
        """Put TLS on the handle of a connection; a TLS server overrides it."""

    def _secure(self, socket, layer):
        """Begin the handshake of a connection; a TLS server overrides it.

        Args:
            layer: what _dress() added; None for a plain socket.
        """

    def _set_secure_class(self, secure_class):
        """Let accepted connections begin with TLS; _secure(socket, layer) begins it."""
        self._secure_class = secure_class

    cdef void _destroy_unused(self, SocketBase socket) noexcept:
        """Destroy a socket on which nothing is registered, after its listener has raised."""
        if socket._has_listeners():
            return
        try:
            socket._destroy_with(None)
        except BaseException as exc:
            self._loop.report(exc)

    @property
    def max_connections(self):
        """How many connections may be open; further ones are dropped. None: no limit; 0: drop all.

        Can be set at any time. Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError
        (ERR_OUT_OF_RANGE).

        Node: server.maxConnections
        """
        return self._max_connections

    @max_connections.setter
    def max_connections(self, value):
        self._set_max_connections(value, "maxConnections")

    def _set_max_connections(self, value, str name):
        """Check and store the limit; `name` is for the error."""
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise arg_type_error(name, "number", value)
        if _is_no_count(value):
            raise range_error(name, ">= 0", value)
        self._limit = _limit_of(value)
        _before, self._max_connections = self._max_connections, value
        self._room_changed()

    @property
    def allow_half_open(self):
        """True if our side of later connections stays open when the peer ends.

        Can be set at any time. While a coroutine owns a connection, our side stays open too, unless
        this option or property was set to False.

        Node: server.allowHalfOpen
        """
        return self._allow_half_open > 0

    @allow_half_open.setter
    def allow_half_open(self, value):
        self._allow_half_open = bool(value)

    @property
    def _half_open(self):
        """allow_half_open as it was set; None: it was not."""
        return None if self._allow_half_open < 0 else self._allow_half_open > 0

    @property
    def keep_alive_initial_delay(self):
        """The idle time before the first keep-alive probe on later connections, in seconds.

        The option of the same name is in milliseconds.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

        Node: server.keepAliveInitialDelay
        """
        return self._keep_alive_initial_delay

    @keep_alive_initial_delay.setter
    def keep_alive_initial_delay(self, value):
        self._keep_alive_initial_delay = validate_uint32(value, "keepAliveInitialDelay")

    @property
    def high_water_mark(self):
        """Both high-water marks of later connections, in bytes; None or negative: the default.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE).

        Node: server.highWaterMark
        """
        return self._high_water_mark

    @high_water_mark.setter
    def high_water_mark(self, value):
        self._set_high_water_mark(value, "highWaterMark")

    def _set_high_water_mark(self, value, str name):
        """Check and store both marks; `name` is for the error."""
        cdef Py_ssize_t mark = validate_high_water_mark(value, name, True)
        self._high_water_mark = default_mark() if mark < 0 else mark

    @property
    def block_list(self):
        """The BlockList whose peers are dropped, or None.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: server.blockList
        """
        return self._block_list

    @block_list.setter
    def block_list(self, value):
        self._set_block_list(value, "blockList")

    def _set_block_list(self, value, str name):
        """Check and store the block list; `name` is for the error."""
        if value is not None and not isinstance(value, BlockList):
            raise arg_type_error(name, "net.BlockList", value)
        self._block_list = value

    @property
    def framing(self):
        """The initial framing of later connections, or None.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: none
        """
        return self._framing

    @framing.setter
    def framing(self, value):
        self._set_framing(value, "framing")

    def _set_passes(self, bint passes):
        """Let later connections over a path pass descriptors."""
        self._passes = passes

    def _set_limits(self, Limits limits):
        """Store the deadlines of later connections; None: none."""
        self._limits = limits

    def _set_framing(self, value, str name):
        """Check and store the framing; `name` is for the error."""
        self._framing = check_framing(value, name)

    @property
    def _dropped(self):
        """How many connections were refused, by reason: a new dict."""
        counts = {}
        for drop in self._drops:
            if drop.why:
                counts[_reason(drop.why)] = drop.count
        return counts

    cdef void _count_drop(self, int why) noexcept:
        cdef int index
        # More reasons than there are places would not be counted; the kernel has not so many.
        for index in range(DROP_KINDS):
            if self._drops[index].why == why or not self._drops[index].why:
                self._drops[index].why = why
                self._drops[index].count += 1
                break
        if why != DROP_BLOCK_LIST and why != DROP_UNKNOWN_PEER and self._loop.reserve_ticks(1):
            # The log has one line a second at most; what makes it is Python's.
            self._loop.tick(self, TICK_LOG_DROPS, None)

    cdef int _drop_client(self, int why, StreamHandle client, const PeerName* peer) except -1:
        """Close a connection that was accepted (None: it is closed), count it, and emit 'drop'."""
        cdef PeerName here
        memset(&here, 0, sizeof(here))
        if client is not None:
            if isinstance(client, TCP):
                (<TCP>client).read_here(&here)
            client.close()
        self._count_drop(why)
        return self._emit_drop(why, &here, peer)

    cdef int _emit_drop(self, int why, const PeerName* here, const PeerName* there,
                        str detail=None) except -1:
        cdef str reason
        cdef bint tcp
        if not self._emitter_flags & EMITTER_EMIT_OVERRIDDEN and self._find(ON_DROP) is None:
            # A flood that is dropped costs no more than it has to.
            return 0
        reason = None if why == DROP_MAX_CONNECTIONS else _reason(why)
        tcp = isinstance(self._handle, TCP) or here.family or there.family
        info = None
        if tcp or reason is not None:
            info = NodeDrop() if reason is None else Info()
            if tcp:
                _add_end(info, "local", here)
                _add_end(info, "remote", there)
            if reason is not None:
                info["reason"] = reason
            if detail is not None:
                info["detail"] = detail
        self._emit1(ON_DROP, info)
        return 0

    cdef void connection_gone(self, BaseException error) noexcept:
        self._connections -= 1
        if error is not None:
            self._count_failure(error)
        if self._rests & REST_FULL:
            self._room_changed()
        if self._exhausted_waits and self._handle is not None:
            retry_listener(self._handle)
        if self._handle is None and not self._connections and not self._expects_more():
            try:
                self._queue_close()
            except BaseException as exc:
                self._loop.report(exc)

    cdef void _count_failure(self, BaseException error) noexcept:
        # Nothing of the program's runs here: a code that is no plain attribute is not asked for.
        try:
            if self._failures is None:
                self._failures = {}
            code = own_text(error, "code")
            if code is None:
                code = type_name(error)
            self._failures[code] = self._failures.get(code, 0) + 1
        except MemoryError:
            pass

    def _note_failure(self, BaseException error not None):
        """Count the error of a connection that was destroyed without it; for tls.Server."""
        self._count_failure(error)

    def _counters(self):
        """What stats() shows, from any thread: a dict by PEP 8 names."""
        # Without a GIL the handle may go while another thread looks at it.
        cdef bint listening = self._handle is not None
        cdef bint paused = listening and self._rests != 0
        if listening and (not GIL_DISABLED or self._loop.thread == this_thread()):
            paused = paused or self._handle.paused
        return {
            "accepted": self._accepted, "open": self._connections, "peak": self._peak,
            "closed": self._accepted - self._connections,
            "errors": {} if self._failures is None else self._failures.copy(),
            "bytes_read": self.bytes_read, "bytes_written": self.bytes_written,
            "queued_bytes": None if self._budget is None else self._budget.unsent,
            "listening": listening, "paused": paused,
        }

    def _accept_queue(self):
        """(length, limit) of the kernel's queue of accepted connections; None in another thread."""
        cdef int length = 0, limit = 0
        if self._loop.thread != this_thread() or not isinstance(self._handle, TCP) \
                or pyuvnet_accept_queue(self._handle._uv, &length, &limit) < 0:
            return None
        return length, limit

    def _present_backlog(self):
        """The limit of the kernel's queue, the largest int where that is unknown.

        -1 if the handle does not listen yet.
        """
        self._ready()
        return -1 if self._handle is None else pyuvnet_present_backlog(self._handle._uv)

    def _close_if_drained(self):
        """'close' in a tick, once there is neither handle nor connection."""
        self._ready()
        if self._handle is None and not self._connections and not self._expects_more():
            self._queue_close()

    cdef int _queue_close(self) except -1:
        self._loop.tick(self, TICK_SERVER_CLOSE, None)
        self._close_queued = True
        return 0

    cdef int _on_tick(self, int what, object argument) except -1:
        if what == TICK_LISTENING:
            # A close() in the same turn came first: then there is nothing to announce.
            if self._handle is not None:
                self._emit0(ON_LISTENING)
        elif what == TICK_SERVER_CLOSE:
            self._close_queued = False
            try:
                self._emit0(ON_CLOSE)
            finally:
                self._is_down()
        elif what == TICK_SERVER_ERROR:
            self._emit1(ON_ERROR, argument)
        elif what == TICK_LOG_DROPS:
            self._log_drops()
        elif what == TICK_LITERAL_RESOLVED:
            looked_up, address, family = argument
            if looked_up is self._looked_up:
                self._looked_up = None
                looked_up(None, [(address, family)])
        elif what == TICK_OVERLOAD:
            self._emit_overload()
        elif what == TICK_TAKE_WAITING:
            if self._handle is not None and not self._rests:
                _accept_waiting(self, self._handle)
        return 0

    def _rejected(self, error, event, arguments):
        # Node: of 'connection', the socket pays for its listener.
        if event == _CONNECTION and arguments:
            arguments[0].destroy(error)
        else:
            self._emit1(ON_ERROR, error)

    # ---- Listening -----------------------------------------------------------------------------

    def _bind_tcp(self, str address not None, int port, bint ipv6_only, bint reuse_port):
        """Open and bind a TCP handle; returns a libuv status, with no handle left on failure."""
        cdef uv.sockaddr_storage storage
        cdef unsigned int flags = 0
        cdef TCP tcp
        self._ready()
        if not sockaddr_from_text(address, port, &storage):
            return uv.UV_EINVAL
        if ipv6_only:
            flags |= uv.UV_TCP_IPV6ONLY
        if reuse_port:
            flags |= uv.UV_TCP_REUSEPORT
        tcp = new_tcp(self._loop)
        return self._keep_handle(tcp, tcp.bind(<uv.sockaddr*>&storage, flags))

    def _bind_pipe(self, bytes path not None, bint readable, bint writable):
        """Open and bind a pipe handle; returns a libuv status, with no handle left on failure.

        readable, writable: everybody may read or write, for which Windows needs _give_rights() too.
        """
        cdef Pipe pipe
        self._ready()
        pipe = new_pipe(self._loop)
        return self._keep_handle(pipe, pipe.bind(path, _rights(readable, writable)))

    cdef int _keep_handle(self, StreamHandle fresh, int status) except? -1:
        """Make an opened handle this server's; one whose status is bad is closed."""
        if status >= 0 and self._handle is None:
            fresh.own(self, &_CALLS)
            self._handle = fresh
            return status
        fresh.close()
        if status >= 0:
            # A finaliser has called listen() since this call looked.
            raise state_error(
                "ERR_SERVER_ALREADY_LISTEN",
                "Listen method has been called more than once without closing.")
        return status

    def _take_handle(self, StreamHandle handle not None):
        """Make a bound handle of nobody this server's."""
        self._ready()
        self._keep_handle(handle, 0)

    def _open_fd(self, fd):
        """Take a descriptor over; returns a libuv status, with no handle left on failure."""
        cdef str kind = handle_kind(fd)
        cdef TCP tcp
        cdef Pipe pipe
        self._ready()
        if kind == "TCP":
            tcp = new_tcp(self._loop)
            return self._keep_handle(tcp, tcp.open(fd))
        if kind == "PIPE":
            pipe = new_pipe(self._loop)
            return self._keep_handle(pipe, pipe.open(fd))
        return uv.UV_EINVAL

    def _share_handle(self, other):
        """Open the socket of the system that another server or socket has; each closes its part.

        Returns a libuv status, with no handle left on failure.
        """
        cdef StreamHandle handle
        cdef int fd, status = 0
        self._ready()
        if isinstance(other, ServerBase):
            handle = (<ServerBase>other)._handle
        else:
            handle = (<SocketBase?>other)._handle
        fd = -1 if handle is None else handle.fileno()
        if fd < 0:
            return uv.UV_ENOTSUP
        try:
            fd = os.dup(fd)
        except OSError as error:
            status = -error.errno
        if status < 0:
            return status
        status = self._open_fd(fd)
        if status < 0:
            os.close(fd)
        return status

    def _start_listening(self, int backlog, bint accepts=True):
        """Listen on the bound handle; returns a libuv status, with no handle left on failure.

        accepts: False if another process accepts, and this server gets connections by _deliver().
        """
        cdef StreamHandle handle
        cdef int status = 0
        self._ready()
        handle = self._handle
        if handle is None:
            return uv.UV_EBADF
        self._give_up_moving()
        self._waiting_accepts = 0
        self._ending = False
        try:
            listener_opened(handle)
            if accepts:
                self._note_manner(handle)
                status = handle.listen(backlog)
        except BaseException:
            self._close_handle()
            raise
        if status < 0:
            self._close_handle()
            return status
        self._backlog = backlog
        if self._unref:
            handle.unref()
        if hooked(HOOK_LISTEN_END):
            publish(HOOK_LISTEN_END, {"server": self})
            if self._handle is not handle:
                return 0
        self._loop.tick(self, TICK_LISTENING, None)
        return 0

    def _give_rights(self, bint readable, bint writable):
        """Let everybody use a named pipe; returns a libuv status, with no handle on failure."""
        cdef int status
        self._ready()
        if self._handle is None:
            # A subscriber of a hook has closed it meanwhile.
            return 0
        status = (<Pipe?>self._handle).give_rights(_rights(readable, writable))
        if status < 0:
            self._close_handle()
        return status

    def _keep_file(self):
        """Leave the file of the path where it is when the server is closed: it is another's."""
        self._ready()
        if isinstance(self._handle, Pipe):
            (<Pipe>self._handle)._path = None

    def _close_handle(self):
        """Stop accepting; returns whether there was a handle."""
        cdef StreamHandle handle
        self._ready()
        self._give_up_moving()
        handle = self._handle
        if handle is None:
            return False
        self._handle = None
        listener_closed(handle)
        handle.owner = None
        handle.close()
        self._end_headers()
        self._loop.touched()
        return True

    cdef int _give_up_moving(self) except -1:
        """Close a listener that is on its way to this loop."""
        cdef PyObject* moving = self._moving
        if moving is not NULL:
            self._moving = NULL
            (<object>moving).give_up()
        return 0

    def _log_drops(self):
        """A connection was dropped; for Server."""

    def _log_exhausted(self):
        """Clients wait, since there is no descriptor for them; for Server."""

    def _log_overload(self, count, scope, limit):
        """So many sockets were destroyed for a write budget; for Server."""

    # ---- Shutting down -------------------------------------------------------------------------

    def _is_down(self):
        """'close' was emitted; for Server."""

    def _end_logs(self):
        """Log what is still to be logged, and end the timers for it; for Server."""

    def _check_transfer(self):
        """Raise if what Server knows keeps it from being transferred; for Server."""

    def _announce_shutdown(self):
        """Emit 'shutdown'; what a listener raises goes where exceptions of listeners go."""
        self._ready()
        try:
            self._emit0(_SHUTDOWN)
        except BaseException as exc:
            self._loop.report_of(exc, self)

    def _accept_rest(self, bint accepts=True):
        """Accept who waits in the kernel's queue, unless not to, and close the listener.

        Returns how many could not be accepted. From now on the server waits for its connections,
        and emits 'shutdown' on those that come late.
        """
        cdef StreamHandle listener
        cdef Arrivals arrivals
        cdef PeerName here
        cdef Py_ssize_t index, lost = 0
        cdef int why
        cdef bint tcp
        self._ready()
        if self._moving is not NULL and accepts:
            # Clients wait on their way, too.
            try:
                (<object>self._moving).land(self)
            except BaseException as exc:
                self._loop.report(exc)
        self._give_up_moving()
        self._ending = True
        self._shown_out = 0
        listener = self._handle
        if listener is None:
            return 0
        tcp = isinstance(listener, TCP)
        memset(&here, 0, sizeof(here))
        # Before anything of the program's runs, and the listener closed as early as can be.
        self._handle = None
        if accepts:
            why = accept_all(listener, &arrivals)
        else:
            memset(&arrivals, 0, sizeof(arrivals))
            why = 0
            listener.close()
        listener.owner = None
        self._shown_out = -1
        try:
            listener_closed(listener)
            self._loop.touched()
            for index in range(arrivals.count):
                try:
                    if arrivals.items[index].fd < 0:
                        lost += 1
                        self._count_drop(why)
                        self._emit_drop(why, &here, &arrivals.items[index].peer)
                    else:
                        self._take_arrival(tcp, arrivals.items[index].fd,
                                           &arrivals.items[index].peer)
                except BaseException as exc:
                    self._loop.report(exc)
        finally:
            self._shown_out = 0
            PyMem_RawFree(arrivals.items)
        return lost

    cdef int _take_arrival(self, bint tcp, int fd, const PeerName* peer,
                           StreamHandle listener=None) except -1:
        cdef StreamHandle client = None
        cdef int status = uv.UV_ENOMEM
        if self._receiver is not None:
            return self._pass_on(fd)
        try:
            if tcp:
                client = new_tcp(self._loop)
            else:
                client = new_pipe(self._loop, self._passes)
            status = client.open(fd)
        except MemoryError:
            pass
        if status < 0:
            close_descriptor(fd)
            return self._drop_client(status, client, peer)
        if tcp and not peer.family:
            (<TCP>client).read_peer(<PeerName*>peer)
        return self._admit(listener, client, peer)

    def _would_take(self):
        """Whether a connection that another process has accepted is welcome: not if the server
        does not listen, rests, or has as many connections as it may, unless drop_max_connection
        says to drop it then.
        """
        self._ready()
        return self._handle is not None and not self._rests \
            and (not self._full() or bool(self.drop_max_connection))

    def _deliver(self, int fd):
        """Take a connection that another process has accepted, by its descriptor.

        Returns False, and has not taken it, if the server does not listen.
        """
        cdef PeerName peer
        self._ready()
        if self._handle is None:
            return False
        memset(&peer, 0, sizeof(peer))
        self._take_arrival(isinstance(self._handle, TCP), fd, &peer, self._handle)
        return True

    def _begin_to_end(self):
        """Emit 'shutdown' on every open socket; returns how many these were."""
        cdef SocketBase socket
        cdef list sockets
        self._ready()
        sockets = self._open_sockets()
        uv.uv_update_time(&self._loop._uv)
        for socket in sockets:
            if not socket._state & DESTROYED:
                self._show_out(socket)
        self._shown_out = 1
        return len(sockets)

    def _came_late(self):
        """How many sockets have had 'shutdown' after the others."""
        return self._shown_out - 1 if self._ending and self._shown_out > 0 else 0

    def _close_if_down(self):
        """'close' in a tick, if no connection is left to wait for."""
        self._ready()
        self.connections_left()

    cdef int _show_out(self, SocketBase socket) except -1:
        try:
            socket._begin_to_end()
        except BaseException as exc:
            self._loop.report_of(exc, socket)
        return 0

    def _end_idle(self, uint64_t grace):
        """End the sockets that are idle; returns in how many ms to look again, -1: never."""
        cdef SocketBase socket
        cdef uint64_t now, due = UINT64_MAX
        cdef bint again = self._awaiting > 0
        self._ready()
        now = uv.uv_now(&self._loop._uv)
        if again:
            due = now + grace
        for socket in self._open_sockets():
            try:
                if socket._end_if_idle(now, grace, &due):
                    again = True
            except BaseException as exc:
                self._loop.report(exc)
        if not again:
            return -1
        return due - now if due > now else 0

    def _cut_off(self):
        """Destroy what is left; returns how many sockets that were."""
        self._ready()
        self._end_headers()
        count = self._destroy_sockets(None, True)
        self.connections_left()
        return count

    def _look_up(self, str hostname not None, looked_up):
        """Begin a lookup that calls looked_up(error, addresses); for a literal, in a tick."""
        cdef int family = ip_family(hostname)
        self._ready()
        self._cancel_lookup()
        self._looked_up = looked_up
        if family:
            self._loop.tick(self, TICK_LITERAL_RESOLVED, (looked_up, hostname, family))
            return
        try:
            self._lookup = start_lookup(
                self._loop, self, <resolved_call><void*>_resolved, hostname, 0, 0)
        except OSError as error:
            self._looked_up = None
            self._listen_failed(error)

    # ---- Who is connected ----------------------------------------------------------------------

    @property
    def sockets(self):
        """The open sockets that this server has accepted, oldest first: a new list.

        A socket is in it from before 'connection' until it is destroyed.

        Node: none
        """
        self._ready()
        return self._open_sockets()

    cdef list _open_sockets(self):
        cdef list found = []
        cdef Links* links
        # Made before the walk, in which nothing of the program's runs: appending makes no object.
        links = self._sockets.after
        while links is not &self._sockets:
            found.append(<object>socket_of(links))
            links = links.after
        return found

    def destroy_sockets(self, error=None):
        """Destroy all open sockets of this server, which continues to listen.

        Args:
            error: an exception, or None: what destroy() of each socket gets.

        Returns the server. Events of each socket: 'error' (error) if one is given, 'close'.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: none
        """
        self._ready()
        if error is not None and not isinstance(error, BaseException):
            raise arg_type_error("error", "Error", error)
        self._destroy_sockets(error)
        return self

    def _destroy_sockets(self, error=None, bint let_arrive=False):
        """Destroy the open sockets; returns how many.

        Args:
            let_arrive: what the kernel has taken of their writes is still to reach the peers.
        """
        cdef SocketBase socket
        cdef Py_ssize_t count = 0
        self._ready()
        for socket in self._open_sockets():
            # What destroying one runs, such as an abort signal's listeners, may destroy another.
            if not socket._state & DESTROYED:
                count += 1
                socket._coroutines |= SERVER_DESTROYED
                try:
                    if let_arrive:
                        socket._let_arrive()
                    socket._destroy_with(error)
                except BaseException as exc:
                    self._loop.report(exc)
        return count

    @property
    def _open(self):
        """Whether it listens, or will once its host is looked up, or its listener has arrived."""
        return self._handle is not None or self._looked_up is not None or self._moving is not NULL

    @property
    def _moves(self):
        """Whether its listener is on its way to this loop."""
        return self._moving is not NULL

    @property
    def _running(self):
        """Whether 'close' is to come: it listens, or will, or has connections."""
        return self._handle is not None or self._looked_up is not None \
            or self._moving is not NULL or self._connections > 0 or self._close_queued

    def _cancel_lookup(self):
        """Forget a lookup that is not over."""
        _over, self._looked_up = self._looked_up, None
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None

    def _next_tick(self, callback):
        """Queue a callback on this server's loop."""
        self._ready()
        self._loop.tick_call(callback, ())

    def _announce_listen(self, options):
        """Publish that listen() was accepted: options() makes the message's mapping of them."""
        if hooked(HOOK_LISTEN_START):
            publish(HOOK_LISTEN_START, {"server": self, "options": options()})

    def _listen_failed(self, error):
        """listen() came to nothing: 'error' in the next tick."""
        self._ready()
        if hooked(HOOK_LISTEN_ERROR):
            publish(HOOK_LISTEN_ERROR, {"server": self, "error": error})
        self._loop.tick(self, TICK_SERVER_ERROR, error)

    def _lookup_failed(self, error):
        """The lookup of listen()'s host failed: 'error' now, as in Node."""
        if hooked(HOOK_LISTEN_ERROR):
            publish(HOOK_LISTEN_ERROR, {"server": self, "error": error})
        self._emit1(ON_ERROR, error)

    def _local_name(self):
        """(address, port, family) of a TCP server, None for IPC or without handle."""
        if isinstance(self._handle, TCP):
            return (<TCP>self._handle).sockname()
        return None

    @property
    def listening(self):
        """True while the server has a handle. Node: server.listening"""
        return self._handle is not None

    def set_option(self, level, name, value):
        """Set an option of the kernel's socket, like setsockopt().

        Args:
            level, name: int, such as SOL_SOCKET and SO_RCVBUF of the standard library's socket
                module.
            value: int or bool, for an option that is a C int; or bytes-like.

        Returns the server.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE); OSError (syscall
            'setsockopt'), EBADF without a socket.

        Node: none
        """
        self._ready()
        change_option(self._handle, level, name, value)
        return self

    def get_option(self, level, name, size=None):
        """Return an option of the kernel's socket, like getsockopt().

        Args:
            level, name: as for set_option().
            size: int 1..1024, the most bytes to return; default None, for a C int.

        Returns: int, or bytes if a size is given.
        Raises: as set_option(), with the syscall 'getsockopt'.

        Node: none
        """
        self._ready()
        return get_option(self._handle, level, name, size)

    def fileno(self):
        """Return the descriptor, which the server still owns; -1 without one, and on Windows.

        Node: none (socket._handle.fd)
        """
        self._ready()
        return -1 if self._handle is None else self._handle.fileno()

    def _set_options(self, list options not None):
        """Set options of the listener, (level, name, value) each.

        Returns a libuv status, with no handle left on failure.
        """
        cdef int status
        self._ready()
        for level, name, value in options:
            status = set_option(self._handle, level, name, value)
            if status < 0:
                self._close_handle()
                return status
        return 0

    def _bind_mode(self, bytes path not None, int mode, long group):
        """_bind_pipe() to a path with a mode and a group, each -1 if it is not given."""
        cdef Pipe pipe
        self._ready()
        pipe = new_pipe(self._loop)
        return self._keep_handle(pipe, pipe.bind_mode(path, mode, group))

    def ref(self):
        """Keep the loop alive while open (the default). Returns the server. Node: server.ref()"""
        self._ready()
        self._unref = False
        if self._handle is not None:
            self._handle.ref()
        return self

    def unref(self):
        """Do not keep the loop alive any more. Returns the server. Node: server.unref()"""
        self._ready()
        self._unref = True
        if self._handle is not None:
            self._handle.unref()
        return self


# ---- What the handle, and a lookup, call ---------------------------------------------------------

cdef int _connection(ServerBase self, object handle, int status) except -1:
    cdef StreamHandle listener = self._handle
    cdef Py_ssize_t again
    if status < 0:
        self._emit1(ON_ERROR, os_error(status, "accept"))
        return 0
    if self._rests:
        # Where a listener cannot be taken out of the poll.
        self._waiting_accepts += 1
        return 0
    # Those that could not be taken before; what is left from now on waits for the next time.
    again, self._waiting_accepts = self._waiting_accepts, 0
    self._accept(listener)
    while again and self._handle is listener:
        again -= 1
        if self._rests:
            self._waiting_accepts += 1
        else:
            self._accept(listener)
    return 0


cdef int _accept_waiting(ServerBase self, StreamHandle listener) except -1:
    """Accept what was left with libuv while the server rested."""
    cdef Py_ssize_t again
    again, self._waiting_accepts = self._waiting_accepts, 0
    while again and self._handle is listener:
        again -= 1
        if self._rests:
            self._waiting_accepts += 1
        else:
            self._accept(listener)
    if self._receiver is not None and self._handle is listener:
        # uv_accept(), which was not called, lets libuv poll the listener again.
        listener.listen(self._backlog)
    return 0


cdef int _accept_failed(ServerBase self, int status, const void* here,
                        const void* there) except -1:
    cdef PeerName ends[2]
    if self._exhausted_waits and status in (uv.UV_EMFILE, uv.UV_ENFILE):
        # Nobody is dropped: they wait, and so does the listener.
        self._log_exhausted()
        return 0
    memset(ends, 0, sizeof(ends))
    keep_name(<const uv.sockaddr*>here, &ends[0])
    keep_name(<const uv.sockaddr*>there, &ends[1])
    self._count_drop(status)
    return self._emit_drop(status, &ends[0], &ends[1])


cdef int _closed(ServerBase self, object handle, int status) except -1:
    return 0


cdef int _resolved(ServerBase self, int status, list addresses) except -1:
    looked_up, lookup = self._looked_up, self._lookup
    self._looked_up = self._lookup = None
    looked_up(lookup_error(status, lookup.hostname) if status < 0 else None, addresses)
    return 0


cdef HandleCalls _CALLS
_CALLS.connection = <status_call><void*>_connection
_CALLS.accept_failed = <failed_call><void*>_accept_failed
_CALLS.closed = <status_call><void*>_closed

add_node_names(ServerBase)

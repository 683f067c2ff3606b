"""Accepting: a connection is taken from the listening handle, dressed, and given to the program.

Owns: connections that wait for their PROXY headers, the options of accepted sockets, the counters
that they share, and when 'close' is due. Whether a connection comes in is decided in
admission.  Imports: admission, socket_base and below.
"""

from libc.string cimport memset

from .._base.info import Info
from .._base.validation import validate_high_water_mark, validate_uint32

from . cimport uv
from .accepting cimport accepted_peer, drop_waiting, retry_listener, take_waiting
from .address cimport PeerName, keep_name
from .admission cimport DROP_BLOCK_LIST, REST_FULL, TICK_OVERLOAD, TICK_SERVER_CLOSE, \
    AdmittingServer
from .blocklist cimport BlockList
from .capi cimport own_text, type_name
from .deadlines cimport Limits, arm
from .emitter cimport ON_ERROR, intern_event
from .errors cimport os_error
from .framing cimport check_framing
from .hooks cimport HOOK_SERVER_SOCKET, hooked, publish
from .layer cimport read_again, remove_layer, top_layer, undress
from .limits cimport IN_SERVER, AddressCount, Budget, new_address_counts, new_budget
from .loop cimport this_thread
from .loop_registry cimport loop_for_new
from .names import add_node_names
from .owner cimport HandleCalls, Links, failed_call, status_call
from .passing cimport add_passing
from .pipe cimport Pipe, new_pipe
from .proxy_header cimport ENDS_IPV4, HEADER_UNTRUSTED, ProxyHeader, new_proxy_header
from .readable cimport r_set_framing
from .shared cimport GIL_DISABLED
from .socket_base cimport SocketBase, send_collected
from .stream cimport ALLOW_HALF_OPEN, DESTROYED, HALF_OPEN_SET, default_mark
from .stream_handle cimport StreamHandle, budget_in_kib, close_descriptor, handle_of
from .tcp cimport KEEP_ALIVE_COUNT, KEEP_ALIVE_INTERVAL, TCP, name_blocked, new_tcp

cdef object _CONNECTION = intern_event("connection")
cdef object _OVERLOAD = intern_event("overload")


cdef class AcceptingServer(AdmittingServer):
    """The part of a server that makes sockets of connections."""

    def __cinit__(self, *args, **kwargs):
        self._max_write_buffer = -1

    def _init_server(self, socket_class):
        """Make the state of a server that does not listen; called once, by Server.__init__."""
        self._refuse_second_init()
        self._loop = loop_for_new()
        self._socket_class = socket_class
        self._allow_half_open = -1
        self._ready_flag = True

    # ---- From the listening handle -------------------------------------------------------------

    # First of all, a connection that libuv has accepted is taken from it, because the listener
    # stops for ever if it stays there. From then on, each way out either closes the connection or
    # gives it to the program. Names and counts are plain C, so that no way out needs memory before
    # the connection is closed and counted; 'drop' comes last. No function returns from within an
    # `except`: the code that Cython makes of it crashes without memory for the traceback.

    cdef int _own(self, StreamHandle handle) except -1:
        """Become the owner of the listening handle."""
        handle.own(self, &_CALLS)
        return 0

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
            # On CPython 3.11, creating an object may run a finaliser, and one has closed the
            # server. libuv has closed the connection.
            client.close()
            return 0
        status = listener.accept(client)
        listener.failed_accepts = 0
        if status < 0:
            client.close()
            # After this, libuv 1.52.1 polls a listener only if it listens again.
            listener.listen(self._backlog)
            self._emit1(ON_ERROR, os_error(status, "accept"))
            return 0
        if isinstance(client, TCP):
            # The kernel forgets the name once both sides have ended, so it is read now.
            accepted_peer(<TCP>client, &peer)
        return self._admit(listener, client, &peer)

    cdef int _accept_left(self, StreamHandle listener) except -1:
        """Accept what was left with libuv while the server rested."""
        cdef Py_ssize_t again
        again, self._waiting_accepts = self._waiting_accepts, 0
        self._accept_again(listener, again)
        if self._receiver is not None and self._handle is listener:
            # uv_accept(), which lets libuv poll the listener again, was not called.
            listener.listen(self._backlog)
        return 0

    cdef int _accept_again(self, StreamHandle listener, Py_ssize_t again) except -1:
        """Accept as many connections as could not be taken before, unless the server rests."""
        while again and self._handle is listener:
            again -= 1
            if self._rests:
                self._waiting_accepts += 1
            else:
                self._accept(listener)
        return 0

    cdef int _hand_over(self, StreamHandle listener) except -1:
        """Give a connection's descriptor to the receiver, without making a handle or a socket."""
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

        For a process that accepts for others: this server emits no 'connection', and applies none
        of its options. Not on Windows.

        Args:
            receiver: callable(fd), which owns the descriptor from then on; if it raises, as without
                memory, it has not kept it, and the connection is closed.
            received: callable(), or None.
        """
        self._receiver, self._received = receiver, received

    def _retry_accepts(self):
        """Accept again after a lack of descriptors: one that was handed over has been closed."""
        if self._handle is not None:
            retry_listener(self._handle)

    cdef int _take_arrival(self, bint tcp, int fd, const PeerName* peer,
                           StreamHandle listener=None) except -1:
        """Make a connection of a descriptor that came some other way than through libuv."""
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

    cdef bint _wanted(self, StreamHandle listener) noexcept:
        """Whether a connection of this listener may still be given to the program."""
        return self._handle is listener or self._ending

    # ---- A connection becomes a socket ---------------------------------------------------------

    cdef int _admit(self, StreamHandle listener, StreamHandle client,
                    const PeerName* peer) except -1:
        """Drop an accepted connection, or make it a socket."""
        cdef SocketBase socket = None
        cdef bint without_memory = False
        cdef int why
        if self._limit >= 0 or self._block_list is not None:
            why = self._refusal(client, peer)
            if why:
                return self._drop_client(why, client, peer)
        if self._proxies is not None and self._await_header(client, peer):
            return 0
        if self._addresses is not None:
            why = self._address_full(peer)
            if why:
                return self._drop_client(why, client, peer)
        try:
            socket = self._new_socket(client)
            # On CPython 3.11, creating an object may run a finaliser that closes the server.
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
        """Make the socket of a connection.

        With TLS and without a listener for 'connection', nothing uses the plain socket: the handle
        gets its TLS at once, and the socket is the encrypted one.
        """
        kind = self._socket_class
        if self._secure_class is not None and self._find(_CONNECTION) is None:
            kind = self._secure_class
            self._dress(client)
        return kind.__new__(kind)

    cdef int _adopt(self, SocketBase socket, StreamHandle client, const PeerName* peer) except -1:
        """Give a connection to its socket, and count it; nothing has changed if this raises."""
        if isinstance(client, TCP):
            if socket._also().proxy is None:
                # Otherwise the PROXY header has named the peer.
                client.peer = peer[0]
            if self.no_delay:
                socket.set_no_delay_flag((<TCP>client).nodelay(True) == 0)
            if self.keep_alive:
                socket.set_keep_alive_flag(self._keep_alive_initial_delay)
                (<TCP>client).keepalive(True, self._keep_alive_initial_delay, KEEP_ALIVE_INTERVAL,
                                        KEEP_ALIVE_COUNT)
        client.read_budget = self._read_budget
        self._connections += 1
        self._accepted += 1
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
                arm(client, self._limits)
        except BaseException:
            client.owner = None
            if not socket._state & DESTROYED:
                socket._give_back()
                self._accepted -= 1
                self.connection_gone(None)
            raise
        self._peak = max(self._peak, self._connections)
        if self._overflow_waits and self._full():
            self._rest(REST_FULL)
        return 0

    cdef int _limit_socket(self, SocketBase socket) except -1:
        """Let the server's bounds apply to a socket that it has accepted."""
        cdef AddressCount count
        if self._max_write_buffer >= 0:
            socket._bound_queue(self._max_write_buffer, self._refuses_writes)
        if self._budget is not None:
            socket._join(self._budget)
        if self._addresses is not None and not socket._state & DESTROYED:
            # This comes last, because nothing may fail once it is counted.
            socket._own_also()
            count = self._addresses.enter(socket._peer())
            socket._also().address = count
        return 0

    # ---- PROXY headers -------------------------------------------------------------------------

    # A connection that waits for its header has no socket yet, but counts for max_connections.

    def _set_proxies(self, BlockList trusted, bint required, Py_ssize_t limit,
                     unsigned long long timeout):
        """Read PROXY headers from the peers that `trusted` matches, for later connections.

        trusted: None if connections begin without a header.

        limit: HEADER_LEAST_LIMIT..HEADER_MOST_LIMIT, bytes. timeout: ms.
        """
        self._proxies, self._proxy_required = trusted, required
        self._proxy_limit, self._proxy_timeout = limit, timeout

    cdef bint _await_header(self, StreamHandle client, const PeerName* peer) except -1:
        """Wait for the header of an accepted connection.

        Returns False if its peer sends none, and may connect without it.
        """
        cdef ProxyHeader header = None
        cdef int status = uv.UV_ENOMEM
        # Every peer on a unix socket is trusted, since the mode of its file says who may connect.
        if isinstance(client, TCP) and not (peer.family and self._proxies.blocks_bytes(
                peer.family, peer.address)):
            if not self._proxy_required:
                return False
            self._drop_header(HEADER_UNTRUSTED, client, peer)
            return True
        try:
            header = new_proxy_header(self, peer, self._proxy_limit)
            # On CPython 3.11, creating it may have run a finaliser that closed the server.
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
        """Close the connections that wait for their headers. No code of the program runs."""
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
        cdef int why = 0
        if whole.fields.ends >= ENDS_IPV4:
            name = &whole.fields.source
        self._forget_header(whole)
        try:
            if status < 0:
                self._drop_header(status, client, &whole.peer)
            elif whole.fields.ends >= ENDS_IPV4 and self._block_list is not None \
                    and name_blocked(&whole.fields.source, self._block_list):
                self._drop_client(DROP_BLOCK_LIST, client, name)
            else:
                if self._addresses is not None:
                    why = self._address_full(name)
                if why:
                    self._drop_client(why, client, name)
                else:
                    self._header_over(whole, client, rest, size)
        except BaseException as exc:
            self._loop.report(exc)
        if self._ending:
            # It may have been the last that the shutdown waits for.
            self.connections_left()

    cdef int _header_over(self, ProxyHeader header, StreamHandle client, const char* rest,
                          Py_ssize_t size) except -1:
        """A header is whole: make the connection's socket, to which what follows is data."""
        cdef SocketBase socket = None
        cdef bint without_memory = False
        try:
            socket = self._socket_class.__new__(self._socket_class)
            if (self._handle is not None or self._ending) and not client.closing:
                socket._named_by(header)
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
            # Nothing listens yet, so this is buffered until something does.
            read_again(client, rest, size)
        return self._give(socket)

    # ---- To the program ------------------------------------------------------------------------

    cdef int _give(self, SocketBase socket) except -1:
        """Give a connection to the program, which may raise."""
        try:
            if self._secure_class is not None:
                self._secure_socket(socket)
            else:
                self._give_plain(socket)
        finally:
            if self._ending and self._shown_out > 0:
                # Its PROXY header arrived after the other sockets had their 'shutdown'.
                self._shown_out += 1
                self._show_out(socket._present())
        return 0

    cdef int _give_plain(self, SocketBase socket) except -1:
        """Emit 'connection'. If a listener raises before it has taken the socket, destroy that."""
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

    def _set_secure_class(self, secure_class):
        """Let accepted connections begin with TLS; _secure(socket, layer) begins it."""
        self._secure_class = secure_class

    cdef int _show_out(self, SocketBase socket) except -1:
        try:
            socket._begin_to_end()
        except BaseException as exc:
            self._loop.report_of(exc, socket)
        return 0

    cdef void _destroy_unused(self, SocketBase socket) noexcept:
        """Destroy a socket on which nothing is registered, after its listener has raised."""
        if socket._has_listeners():
            return
        try:
            socket._destroy_with(None)
        except BaseException as exc:
            self._loop.report(exc)

    def _rejected(self, error, event, arguments):
        # As in Node, a rejected listener of 'connection' costs its socket, and no other event.
        if event == _CONNECTION and arguments:
            arguments[0].destroy(error)
        else:
            self._emit1(ON_ERROR, error)

    # ---- Options of later connections ----------------------------------------------------------

    @property
    def allow_half_open(self):
        """True if the local side of later connections stays open when the peer ends.

        Can be set at any time. While a coroutine owns a connection, the local side stays open too,
        unless this option or property was set to False.

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
    def framing(self):
        """The initial framing of later connections, or None.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: none
        """
        return self._framing

    @framing.setter
    def framing(self, value):
        self._set_framing(value, "framing")

    def _set_framing(self, value, str name):
        """Check and store the framing; `name` is for the error."""
        self._framing = check_framing(value, name)

    def _set_passes(self, bint passes):
        """Let later connections over a path pass descriptors."""
        self._passes = passes

    def _set_limits(self, Limits limits):
        """Store the deadlines of later connections; None: none."""
        self._limits = limits

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

    # ---- Accepted sockets ----------------------------------------------------------------------

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
        # The list exists before the walk, and appending creates no object that the garbage
        # collector tracks: so no code of the program runs, and the ring stays as it is.
        links = self._sockets.after
        while links is not &self._sockets:
            owner = (<StreamHandle>handle_of(links)).owner
            if isinstance(owner, SocketBase):
                found.append(owner)
            links = links.after
        return found

    @property
    def _write_budget(self):
        """(limit, queued) of its sockets, None without a budget."""
        self._ready()
        if self._budget is None:
            return None
        send_collected(self._loop)
        return (self._budget.limit, self._budget.queued)

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
            # It is None if the program has removed the loop's budget meanwhile.
            budget = self._loop.budget
            self._emit1(_OVERLOAD, Info(
                scope="loop", limit=None if budget is None else budget.limit,
                queued=None if budget is None else budget.queued, destroyed=loops))
        return 0

    def _counters(self):
        """What stats() shows, from any thread: a dict by PEP 8 names."""
        # Without a GIL, the handle may disappear while another thread looks at it.
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

    cdef void _count_failure(self, BaseException error) noexcept:
        # No code of the program runs here: a code that is not a plain attribute counts as none.
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

    # ---- The last one --------------------------------------------------------------------------

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

    cdef bint _expects_more(self) noexcept:
        """Whether a shutdown has connections that are not sockets yet.

        The connections of the kernel's queue become sockets one by one, and a listener may destroy
        the first before the next exists.
        """
        return self._ending and (self._awaiting > 0 or self._shown_out < 0)

    cdef void connections_left(self) noexcept:
        """Have 'close' emitted in a tick if there is neither a handle nor a connection left."""
        if self._handle is None and not self._connections and not self._close_queued \
                and not self._expects_more():
            try:
                self._queue_close()
            except BaseException as exc:
                self._loop.report(exc)

    cdef int _queue_close(self) except -1:
        self._loop.tick(self, TICK_SERVER_CLOSE, None)
        self._close_queued = True
        return 0


# ---- What the listening handle calls -------------------------------------------------------------

cdef int _connection(AcceptingServer self, object handle, int status) except -1:
    cdef StreamHandle listener = self._handle
    cdef Py_ssize_t again
    if status < 0:
        self._emit1(ON_ERROR, os_error(status, "accept"))
        return 0
    if self._rests:
        # This listener cannot be taken out of the poll here, see "Pausing" in admission.
        self._waiting_accepts += 1
        return 0
    # Read first: a connection that cannot be taken from now on waits for the next time.
    again, self._waiting_accepts = self._waiting_accepts, 0
    self._accept(listener)
    if again:
        self._accept_again(listener, again)
    return 0


cdef int _accept_failed(AcceptingServer self, int status, const void* here,
                        const void* there) except -1:
    cdef PeerName ends[2]
    if self._exhausted_waits and status in (uv.UV_EMFILE, uv.UV_ENFILE):
        # Nothing is dropped: the clients wait, and so does the listener.
        self._log_exhausted()
        return 0
    memset(ends, 0, sizeof(ends))
    keep_name(<const uv.sockaddr*>here, &ends[0])
    keep_name(<const uv.sockaddr*>there, &ends[1])
    self._count_drop(status)
    return self._emit_drop(status, &ends[0], &ends[1])


cdef int _closed(AcceptingServer self, object handle, int status) except -1:
    return 0


cdef HandleCalls _CALLS
_CALLS.connection = <status_call><void*>_connection
_CALLS.accept_failed = <failed_call><void*>_accept_failed
_CALLS.closed = <status_call><void*>_closed

add_node_names(AcceptingServer)

"""SocketMethods: what a program calls of a socket, compiled.

Adds no state: each method checks its arguments, then moves the machine of SocketBase.  Imports
socket_base and below.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from .._base.errors import ArgTypeError, TimeoutOverflowWarning
from .._base.hints import place_of_call, warn_of_keep_alive
from .._base.notation import notation
from .._base.validation import arg_type_error, range_error

from . cimport uv
from .address cimport PeerName, peer_tuple
from .capi cimport Py_TYPE
from .descriptors cimport pyuvnet_method, same_method, set_method
from .encoding cimport encode
from .iteration import plain_reads as _plain_reads

from .emitter cimport ON_CONNECT, ON_FINISH, ON_TIMEOUT, has_internal, new_internal
from .errors cimport ended_by_other_party, os_error, socket_closed, state_error, write_after_end
from .names import add_node_names
from .pipe cimport Pipe
from .readable cimport r_pause, r_read, r_readable, r_resume
from .shared cimport GIL_DISABLED
from .socket_base cimport *
from .stream cimport *
from .stream_handle cimport change_option, duplicate, get_option
from .tcp cimport TCP
from .timer cimport IdleTimeout, idle_call, new_idle_timeout
from .writable cimport w_end, w_flush, w_writable, w_write, w_write_frame

cdef extern from "sockopt.h":
    int pyuvnet_peer_credentials(const uv.uv_handle_t*, long long*, long long*, long long*) noexcept

cdef object _TRUE = True
cdef PyObject* _BYTES = <PyObject*>bytes
cdef PyObject* _STR = <PyObject*>str

MAX_TIMEOUT = 2147483647

cdef class SocketMethods(SocketBase):
    """What a program calls of a socket: the methods and properties that are compiled."""

    cdef bint _inherits_write(self) noexcept:
        return same_method(type(self).write, SocketMethods.write)

    def set_timeout(self, timeout=None, callback=None):
        """Emit 'timeout' after a period without activity; this does not close the socket.

        Args:
            timeout: int or float, milliseconds >= 0; 0 disables it. Values above 2147483647 are
                clamped, with a TimeoutOverflowWarning.
            callback: callable, added as a once listener of 'timeout', or removed if timeout is 0.

        Returns the socket. Events: 'timeout', once for each idle period.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

        Node: socket.setTimeout()
        """
        self._ready()
        if self._state & DESTROYED:
            return self
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
            raise arg_type_error("msecs", "number", timeout)
        if not 0 <= timeout < float("inf"):
            raise range_error("msecs", "a non-negative finite number", timeout)
        if callback is not None and not callable(callback):
            raise arg_type_error("callback", "function", callback)
        if timeout > MAX_TIMEOUT:
            import warnings
            warnings.warn_explicit(
                f"{notation(timeout)} does not fit into a 32-bit signed integer. Timeout duration "
                f"was set to {MAX_TIMEOUT}.", TimeoutOverflowWarning, *place_of_call())
            timeout = MAX_TIMEOUT
        self._need_idle().requested = timeout
        if timeout:
            self._idle.delay = max(int(timeout), 1)
            self._idle.last = uv.uv_now(&self._loop._uv)
            self._idle.fired = False
            self._idle.start(self._idle.delay)
            self._idle.last = uv.uv_now(&self._loop._uv)
            if self._state & DESTROYED:
                # Making the timer has run a finaliser.
                self._idle.cancel()
                return self
            if callback is not None:
                self._add(ON_TIMEOUT, callback, False, True)
        else:
            self._idle.cancel()
            if callback is not None:
                self._remove(ON_TIMEOUT, callback)
            self._idle.fired = False
        return self

    @property
    def timeout(self):
        """The value passed to set_timeout(), in ms; None if never set. Assigning calls that.

        Node: socket.timeout
        """
        return None if self._idle is None else self._idle.requested

    @timeout.setter
    def timeout(self, value):
        self.set_timeout(0 if value is None else value)

    cdef IdleTimeout _need_idle(self):
        cdef IdleTimeout made
        if self._idle is None:
            made = new_idle_timeout(self, <idle_call><void*>on_idle_timeout, self._loop)
            if self._state & W_WRITING:
                made.queue_size = self.w_size
            self._idle = made
        return self._idle

    def set_deadline(self, ms=None, error=None):
        """Destroy the socket at a fixed time, whatever it sends or receives.

        Args:
            ms: int or float, milliseconds from now; None cancels the deadline.
            error: an exception, default a DeadlineError (ERR_DEADLINE).

        Returns the socket. A second call replaces the deadline; no effect on a destroyed socket.
        Events: 'error' (error), 'close'.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

        Node: none
        """
        self._ready()
        if ms is not None:
            if isinstance(ms, bool) or not isinstance(ms, (int, float)):
                raise arg_type_error("ms", "number", ms)
            if not 0 <= ms <= MAX_TIMEOUT:
                raise range_error("ms", f">= 0 && <= {MAX_TIMEOUT}", ms)
        if error is not None and not isinstance(error, BaseException):
            raise arg_type_error("error", "Error", error)
        if self._state & DESTROYED:
            return self
        if ms is None:
            self._clear_deadline()
        else:
            self._set_deadline(int(ms), error)
        return self

    # ---- The stream ----------------------------------------------------------------------------

    def write(self, data=None, encoding=None, callback=None):
        """Send data, without copying it.

        Args:
            data: bytes-like (do not modify it before the callback) or str.
            encoding: of a str: 'utf8' (default), 'ascii', 'latin1', 'hex', 'base64',
                'base64url', 'utf16le'.
            callback: callable(error or None), once the kernel has accepted the data.

        Returns: bool, False when the writer should wait for 'drain'. Until the socket is
            connected, data is queued.
        Raises: ArgTypeError (ERR_STREAM_NULL_VALUES, ERR_INVALID_ARG_TYPE,
            ERR_UNKNOWN_ENCODING).
        Events: 'error': ERR_STREAM_WRITE_AFTER_END after end(), EPIPE after the peer ended,
            ERR_SOCKET_CLOSED if never connected.

        Node: socket.write()
        """
        # write(chunk) in a callback, by far the most frequent call, rarely gets here: see the end.
        self._ready()
        if self._socket_flags & (SOCKET_ENDED_HERE | SOCKET_REFUSES_WRITES) \
                and self._refuses_writes(encoding if callback is None else callback):
            return False
        return w_write(self, data, encoding, callback)

    cdef inline bint _collect_plain(self, bytes data) except -1:
        """write() in a callback with nothing in the way: one more chunk to collect.

        Returns False for everything that takes longer to decide.
        """
        # No code of the program runs in here.
        cdef Py_ssize_t length = PyBytes_GET_SIZE(data)
        if GIL_DISABLED and self._loop is not None:
            # Another thread may not even look.
            self._loop.check()
        if self._socket_flags & (SOCKET_READY | SOCKET_ESTABLISHING | SOCKET_COUNTS_WRITES) \
                != SOCKET_READY \
                or self._state & (W_ENDING | DESTROYED | ERRORED | W_WRITING) \
                or not self._loop.in_callback or self._handle is None or self.w_corked \
                or not length:
            return False
        if self.w_length + length >= min(self.w_mark, <Py_ssize_t>COLLECT_BYTES):
            return False
        self._loop.check()
        if self._state & W_COLLECTING:
            if self.w_in_flight >= COLLECT_CHUNKS - 1:
                return False
        elif self.w_length:
            return False
        if not self._collect(data, length, True):
            # Out of memory: nothing would send it when the callback is over.
            self._flush()
        return True

    cdef bint _collect_text(self, str text) except -1:
        """_collect_plain() of a text in the default encoding."""
        if self._rare.w_encoding is not None or len(text) >= COLLECT_BYTES:
            return False
        return self._collect_plain(encode(text, None))

    cdef bint _refuses_writes(self, object callback) except -1:
        """Whether the peer has ended first: then a write destroys the socket.

        Or a shutdown of the server has ended it, which is no mistake of the program's.
        """
        if self._socket_flags & SOCKET_ENDED_HERE and self._state & W_ENDING \
                and not self._state & DESTROYED:
            if callback is not None and callable(callback):
                self._loop.tick_call(callback, (write_after_end(),))
            return True
        if not self._socket_flags & SOCKET_REFUSES_WRITES or not self._state & W_ENDING \
                or not self._state & R_END_EMITTED:
            return False
        error = ended_by_other_party()
        self._coroutines |= WRITE_REFUSED
        if callback is not None and callable(callback):
            self._loop.tick_call(callback, (error,))
        self._destroy_with(error)
        return True

    def write_frame(self, payload=None, callback=None):
        """Send a payload as one frame of the socket's framing, without copying it.

        Args:
            payload: bytes-like (do not modify it before the callback) or str, which is encoded
                with the default encoding.
            callback: callable(error or None), once the kernel has accepted the frame.

        Returns: bool, False when the writer should wait for 'drain'.
        Raises: as Writable.write_frame(). Events: those of write().

        Node: none
        """
        self._ready()
        if self._refuses_writes(callback):
            return False
        return w_write_frame(self, payload, callback)

    def end(self, data=None, encoding=None, callback=None):
        """Send a last chunk, if given, and then FIN.

        Args:
            data, encoding: as for write().
            callback: callable(error or None), called just before 'finish'.

        Returns the socket. Events: 'finish', and 'close' once the peer has ended too.

        Node: socket.end()
        """
        self._ready()
        w_end(self, data, encoding, callback)
        return self

    def destroy(self, error=None):
        """Close immediately: 'error' if one is given, then 'close'. Idempotent.

        Args:
            error: an exception, or None.

        Returns the socket. Data that the kernel has not accepted is discarded; its callbacks
        get an error.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE). Events: 'error' (error), 'close' (had_error).

        Node: socket.destroy()
        """
        self._ready()
        if error is not None and not isinstance(error, BaseException):
            raise arg_type_error("error", "Error", error)
        self._destroy_with(error)
        return self

    def destroy_soon(self):
        """End the writable side, and destroy the socket once all data is written. Returns None.

        If the peer has not received everything by then, the connection stays, without the socket,
        until it has, and has ended or is silent for 1 s.

        Events: 'finish', 'close' (had_error).

        Node: socket.destroySoon()
        """
        self._ready()
        if w_writable(self):
            self.end()
        if self._state & W_FINISHED:
            self._socket_flags |= SOCKET_GRACEFUL
            self._destroy_with(None)
        elif not self._state & DESTROYED:
            # Once, at the place of the first.
            if not has_internal(self, ON_FINISH, TICK_DESTROY_AT_FINISH):
                self._add(ON_FINISH, new_internal(self, TICK_DESTROY_AT_FINISH), False, True)
            if self._end_now() < 0:
                self._destroy_with(None)

    def reset_and_destroy(self):
        """Close with RST instead of FIN: the peer reads ECONNRESET. While connecting: once
        connected.

        Returns the socket. Events: 'close'; 'error' (ERR_SOCKET_CLOSED) if it was not connected.
        Raises: ArgTypeError (ERR_INVALID_HANDLE_TYPE) for IPC.

        Node: socket.resetAndDestroy()
        """
        self._ready()
        if self._handle is not None and not isinstance(self._handle, TCP):
            raise ArgTypeError("This handle type cannot be sent", "ERR_INVALID_HANDLE_TYPE")
        if self._socket_flags & SOCKET_ESTABLISHING:
            # Once, at the place of the first.
            if not has_internal(self, ON_CONNECT, TICK_RESET_AT_CONNECT):
                self._add(ON_CONNECT, new_internal(self, TICK_RESET_AT_CONNECT), False, True)
        elif self._handle is None:
            self._destroy_with(socket_closed())
        else:
            self._reset()
        return self

    @property
    def busy(self):
        """Whether the socket is busy, for a graceful shutdown; None, the default: unknown.

        The shutdown ends a socket that is idle: one with False at once, one with None when it has
        been silent for `idle_grace`, and one with True not before this changes.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: none
        """
        if self._socket_flags & SOCKET_BUSY:
            return True
        return False if self._socket_flags & SOCKET_NOT_BUSY else None

    @busy.setter
    def busy(self, value):
        self._ready()
        if value is not None and not isinstance(value, bool):
            raise arg_type_error("busy", "boolean", value)
        self._socket_flags &= ~(SOCKET_BUSY | SOCKET_NOT_BUSY)
        if value is not None:
            self._socket_flags |= SOCKET_BUSY if value else SOCKET_NOT_BUSY
        if value is False and self._socket_flags & SOCKET_TO_END \
                and not self._socket_flags & SOCKET_ENDED_HERE \
                and not self._state & (DESTROYED | W_ENDING):
            self._end_here()

    # ---- Reading into a buffer of the program's ------------------------------------------------

    def pause(self):
        """Stop 'data' and buffer what arrives; with onread, stop reading immediately.

        Returns the socket. Events: 'pause'.

        Node: socket.pause()
        """
        self._ready()
        if self._has_onread() and self._handle is not None:
            self._read_stop()
        r_pause(self)
        return self

    def resume(self):
        """Let the data flow, in the next tick; with onread reading starts at once.

        Returns the socket. Events: 'resume'.

        Node: socket.resume()
        """
        self._ready()
        self._read_on()
        r_resume(self)
        return self

    def read(self, size=None):
        """Take data out of the buffer, as Readable.read() does; with onread, read on.

        Args:
            size: int, bytes (characters after set_encoding()), default None: all there is.

        Returns: bytes, str or None. Events: 'data'.
        Raises: what Readable.read() raises.

        Node: socket.read()
        """
        self._ready()
        self._read_on()
        return r_read(self, size)

    cdef object _read_chunk(self):
        if self.r_length == 0 and self._handle is not None and self._handle._reading \
                and not self._state & (R_ENDED | DESTROYED | ERRORED | R_SYNC) \
                and not self._handle.layered:
            # What r_read() comes to where the source need not be asked.
            self._state = (self._state | R_READING | R_NEED_READABLE) & ~R_EMITTED_READABLE
            return None
        self._read_on()
        return r_read(self, None)

    cdef int _read_on(self) except -1:
        if self._has_onread() and self._handle is not None \
                and self._state & HAS_READABLE and not self._state & R_ENDED \
                and not self._socket_flags & (SOCKET_CONNECTING | SOCKET_BOUND):
            self._ask_source()
        return 0

    # ---- Socket options ------------------------------------------------------------------------

    def set_no_delay(self, no_delay=True):
        """Send small writes immediately (True) or let the kernel join them (Nagle's algorithm).

        Args:
            no_delay: taken by truth value. Before connect it is remembered.

        Returns the socket.

        Node: socket.setNoDelay()
        """
        self._ready()
        cdef bint enable = bool(no_delay)
        if self._state & DESTROYED:
            return self
        if enable != bool(self._socket_flags & SOCKET_NO_DELAY):
            self._socket_flags ^= SOCKET_NO_DELAY
            if isinstance(self._handle, TCP):
                (<TCP>self._handle).nodelay(enable)
        return self

    def set_keep_alive(self, enable=False, initial_delay=0, interval=1000, count=10):
        """Make the kernel probe a silent peer.

        Args:
            enable: taken by truth value; or a mapping with these four names.
            initial_delay: ms of silence before the first probe, cut to seconds, with a
                KeepAliveWarning below 1000.
            interval: ms between probes, likewise.
            count: unacknowledged probes until the connection fails. The three timings take
                effect together, if all are at least 1.

        Returns the socket. Before connect it is remembered; IPC: no effect.

        Node: socket.setKeepAlive()
        """
        cdef SocketExtra rare
        self._ready()
        if isinstance(enable, dict):
            options = enable
            enable = options.get("enable", False)
            initial_delay = options.get("initial_delay", options.get("initialDelay", 0))
            interval = options.get("interval", 1000)
            count = options.get("count", 10)
        if enable:
            warn_of_keep_alive("initial_delay", initial_delay)
            warn_of_keep_alive("interval", interval)
        if self._state & DESTROYED:
            return self
        if enable:
            self._socket_flags |= SOCKET_KEEP_ALIVE
            self._keep_idle = _seconds(initial_delay, 1000)
            rare = self._own_also()
            rare.keep_interval = _seconds(interval, 1000)
            rare.keep_count = _seconds(count, 1)
            self._socket_flags |= SOCKET_KEEP_TIMINGS
        else:
            self._socket_flags &= ~(SOCKET_KEEP_ALIVE | SOCKET_KEEP_TIMINGS)
            self._keep_idle = 0
        if isinstance(self._handle, TCP) and not self._socket_flags & SOCKET_CONNECTING:
            self._send_keep_alive(<TCP>self._handle, bool(enable))
        return self

    def ref(self):
        """Keep the loop alive while open (the default). Returns the socket. Node: socket.ref()"""
        self._ready()
        self._socket_flags &= ~SOCKET_UNREF
        if self._handle is not None:
            self._handle.ref()
        return self

    def unref(self):
        """Do not keep the loop alive any more. Returns the socket. Node: socket.unref()"""
        self._ready()
        self._socket_flags |= SOCKET_UNREF
        if self._handle is not None:
            self._handle.unref()
        return self

    # ---- Options of the kernel -----------------------------------------------------------------

    def set_option(self, level, name, value):
        """Set an option of the kernel's socket, like setsockopt().

        Args:
            level, name: int, such as SOL_SOCKET and SO_RCVBUF of the standard library's socket
                module.
            value: int or bool, for an option that is a C int; or bytes-like.

        Returns the socket.
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
        """Return the descriptor, which the socket still owns; -1 without one, and on Windows.

        Node: none (socket._handle.fd)
        """
        self._ready()
        return -1 if self._handle is None else self._handle.fileno()

    def detach(self):
        """Detach the connection: return a descriptor for it, and close only this socket.

        The descriptor is non-blocking, is not inherited by child processes, and is the caller's to
        close; its number differs from that of fileno().

        Events: 'close'.
        Raises: StateError (ERR_INVALID_STATE) while connecting, with TLS, or if something is
            queued, buffered or ended; ClosedError (ERR_SOCKET_CLOSED) without a connection;
            OSError (syscall 'dup').

        Node: none
        """
        fd = self._duplicate()
        self._destroy_with(None)
        return fd

    def _duplicate(self, str call="detach()", str code="ERR_INVALID_STATE"):
        """Another descriptor of a connection that could be handed over.

        Raises: as _check_rests(); OSError (syscall 'dup').
        """
        cdef int fd
        self._check_rests(call, code)
        fd = duplicate(self._handle)
        if fd < 0:
            raise os_error(fd, "dup")
        return fd

    def _check_rests(self, str call, str code):
        """Send what was collected, and raise unless the connection could be handed over then.

        Args:
            call, code: for the StateError.

        Raises: as detach(), except for OSError.
        """
        self._ready()
        w_flush(self)
        if self._handle is None:
            raise socket_closed()
        if self._socket_flags & (SOCKET_CONNECTING | SOCKET_BOUND):
            raise state_error(code, f"{call} needs an established connection")
        if self._handle.layered:
            raise state_error(
                code,
                f"{call} needs a connection without TLS, without handles=True and without a"
                " pending PROXY header",
            )
        if self.w_length or self.w_corked or self._handle.stream().write_queue_size \
                or self._state & (W_WRITING | W_ENDING):
            raise state_error(code,
                              f"{call} needs a socket that has sent everything and has not ended")
        if self.r_length or self._rare.r_cutter is not None and self._rare.r_cutter.size() \
                or self._rare.r_decoder is not None and self._rare.r_decoder.kept():
            raise state_error(code,
                              f"{call} needs a socket without unread data")

    def _peer_credentials(self):
        """(pid, uid, gid) of the peer, or a libuv status."""
        cdef long long pid = 0, uid = 0, gid = 0
        cdef int status
        self._ready()
        if self._handle is None or self._socket_flags & (SOCKET_CONNECTING | SOCKET_BOUND):
            raise socket_closed()
        if not isinstance(self._handle, Pipe):
            raise ArgTypeError("Only the peer of a unix socket has credentials",
                               "ERR_INVALID_HANDLE_TYPE")
        status = pyuvnet_peer_credentials(self._handle._uv, &pid, &uid, &gid)
        if status < 0:
            return status
        return pid, uid, gid

    @property
    def connecting(self):
        """True from connect() to 'connect' or failure. Node: socket.connecting"""
        return bool(self._socket_flags & SOCKET_CONNECTING)

    @property
    def pending(self):
        """True while not connected: no handle, or connecting. Node: socket.pending"""
        # An upgrade has no handle yet, but its connection stands.
        return bool(self._socket_flags & SOCKET_CONNECTING) \
            or self._handle is None and not self._socket_flags & SOCKET_DRESSING

    @property
    def ready_state(self):
        """'opening', 'open', 'readOnly', 'writeOnly' or 'closed'. Node: socket.readyState"""
        if self._socket_flags & SOCKET_CONNECTING:
            return "opening"
        if r_readable(self):
            return "open" if w_writable(self) else "readOnly"
        return "writeOnly" if w_writable(self) else "closed"

    @property
    def bytes_read(self):
        """Bytes received; kept after destroy(). Node: socket.bytesRead"""
        return self._bytes_in()

    @property
    def bytes_written(self):
        """Bytes passed to the kernel plus queued bytes. Node: socket.bytesWritten"""
        cdef uint64_t total
        w_flush(self)
        total = self._bytes_out()
        total += self._also().bytes_pending
        if self.w_queue is not None:
            for chunk in self.w_queue:
                total += chunk_size(chunk)
        return total

    @property
    def buffer_size(self):
        """writable_length while there is a handle, else None (deprecated). Node: bufferSize"""
        return None if self._handle is None else self.writable_length

    @property
    def server(self):
        """The server that accepted the socket; None for a client. Node: socket.server"""
        return self._server

    @property
    def remote_address(self):
        """The peer's address, kept after destroy(); None without one. Node: socket.remoteAddress"""
        cdef const PeerName* name = self._peer()
        return None if not name.family else peer_tuple(name)[0]

    @property
    def remote_port(self):
        """The peer's port, kept after destroy(); None without one. Node: socket.remotePort"""
        cdef const PeerName* name = self._peer()
        return None if not name.family else peer_tuple(name)[1]

    @property
    def remote_family(self):
        """'IPv4' or 'IPv6', kept after destroy(); None without a peer. Node: socket.remoteFamily"""
        cdef const PeerName* name = self._peer()
        return None if not name.family else peer_tuple(name)[2]

    @property
    def local_address(self):
        """The local address; None without a handle, and for IPC. Node: socket.localAddress"""
        name = self._local_name()
        return None if name is None else name[0]

    @property
    def local_port(self):
        """The local port; None without a handle, and for IPC. Node: socket.localPort"""
        name = self._local_name()
        return None if name is None else name[1]

    @property
    def local_family(self):
        """'IPv4' or 'IPv6'; None without a handle, and for IPC. Node: socket.localFamily"""
        name = self._local_name()
        return None if name is None else name[2]


cdef unsigned int _seconds(object value, int unit) noexcept:
    """Whole seconds (or probes) of a number; anything else, or a negative one, is 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 2**31:
        return 0
    return <unsigned int>(int(value) // unit)


cdef pyuvnet_method _write_by_steps = NULL


cdef PyObject* _write_quickly(PyObject* socket, PyObject** args, Py_ssize_t count,
                              PyObject* names) except NULL:
    """write(chunk) without sorting arguments, which costs more than collecting the chunk does."""
    cdef PyObject* kind
    cdef bint collected = False
    if count == 1 and names is NULL:
        kind = <PyObject*>Py_TYPE(args[0])
        if kind is _BYTES:
            collected = (<SocketMethods>socket)._collect_plain(<bytes>args[0])
        elif kind is _STR:
            collected = (<SocketMethods>socket)._collect_text(<str>args[0])
    if collected:
        Py_INCREF(_TRUE)
        return <PyObject*>_TRUE
    return _write_by_steps(socket, args, count, names)


_write_by_steps = set_method(<PyObject*>SocketMethods.write, <void*>_write_quickly)
_plain_reads.add(SocketMethods.read)
add_node_names(SocketMethods)

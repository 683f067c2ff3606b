"""StreamHandle: reading, writing, shutdown, listening and accepting, for TCP and pipe alike.

Imports: handle, owner, loop, errors.  The per-chunk path is: libuv reads into the loop's one
buffer (no GIL), and the place goes up to the owner in one C call, which copies what it needs.  An
owner with room() says where the bytes are to land instead.  Layers (layer.pyx) stand between a
handle and its owner.
"""

cimport cython
from cpython.buffer cimport PyBUF_CONTIG, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.string cimport memset

from .._base.validation import arg_type_error, arg_value_error, as_number, validate_int32

from . cimport uv
from .capi cimport PyBytes_GET_SIZE, gate_close, hold_collector, pyuvnet_gate, \
    pyuvnet_refill, pyuvnet_sole, release_collector
from .debug cimport UVNET_DEBUG
from .emitter cimport EventEmitter, SharedListener, intern_event, only_listener
from .errors cimport os_error, seal
from .handle cimport REQUEST_SHUTDOWN, REQUEST_WRITE, Handle
from .loop cimport LARGE_READ_SIZE, READ_BUFFER_SIZE, Loop
from .owner cimport HandleCalls
from .splice cimport pyuvnet_tube_open
from .watchers cimport submit_write, watch_room, watch_room_for_next


cdef extern from "sockopt.h":
    int pyuvnet_set_option(const uv.uv_handle_t*, int, int, const void*, size_t) noexcept
    int pyuvnet_get_option(const uv.uv_handle_t*, int, int, void*, size_t*) noexcept
    int pyuvnet_duplicate(int fd) noexcept
    void pyuvnet_close_descriptor(int fd) noexcept

cdef object _DATA = intern_event("data")

cdef enum:
    POISON = 0xDB
    TURN_READ_BUDGET = 2097152         # bytes in a turn, for all sockets that have some to read
    LEAST_READ_BUDGET = 131072         # of them for one
    MOST_READ_BUDGET = 1048576
    DEFAULT_PUMP_BUDGET = 524288       # the same, inside the kernel
    UNBOUNDED = 4194303                # KiB
    SPENT = 1                          # with the usual buffer,
    SPENT_LARGE                        # or with the large one

ctypedef void (*measured_read)(StreamHandle, EventEmitter, ssize_t, const char*) noexcept
ctypedef void (*_alloc_room_gil)(uv.uv_handle_t*, uv.uv_buf_t*) noexcept nogil


cdef void _on_alloc(uv.uv_handle_t* handle, size_t suggested, uv.uv_buf_t* buf) noexcept nogil:
    # One buffer serves every socket: libuv calls the read callback before it allocates again.
    cdef pyuvnet_gate* gate = <pyuvnet_gate*>handle.loop.data
    buf.base = gate.read_buffer
    buf.len = gate.read_size


cdef void _on_alloc_nothing(uv.uv_handle_t* handle, size_t suggested,
                            uv.uv_buf_t* buf) noexcept nogil:
    # Without room libuv reads nothing, and calls the read callback with UV_ENOBUFS.
    buf.base = NULL
    buf.len = 0


cdef void _on_alloc_large(uv.uv_handle_t* handle, size_t suggested,
                          uv.uv_buf_t* buf) noexcept nogil:
    cdef pyuvnet_gate* gate = <pyuvnet_gate*>handle.loop.data
    if gate.large is NULL:
        buf.base = gate.read_buffer
        buf.len = gate.read_size
    else:
        buf.base = gate.large
        buf.len = gate.large_size


cdef void _on_read_gil(uv.uv_stream_t* stream, ssize_t nread, const uv.uv_buf_t* buf) noexcept:
    # Borrowed: the handle is pinned until its close callback, which cannot come in here, and it
    # holds its loop.
    cdef void* self = stream.data
    cdef EventEmitter owner = (<StreamHandle>self).owner
    if owner is None or (<StreamHandle>self).loop.silent:
        return
    (<StreamHandle>self).loop.in_callback = True
    if (<StreamHandle>self).loop.measuring:
        _measured(<StreamHandle>self, owner, nread, buf.base)
    elif nread <= 0 or not (<StreamHandle>self).calls.take_read(owner, buf.base, nread):
        _read_by_steps(<StreamHandle>self, owner, nread, buf.base)
    if nread == <ssize_t>buf.len:
        _count_full(<StreamHandle>self, nread)
    if UVNET_DEBUG and nread > 0:
        # Once before what was collected leaves, which must hold what it sends, and once after.
        if buf.base == (<StreamHandle>self).loop.gate.read_buffer:
            memset(buf.base, POISON, nread)
        _poison_chunk((<StreamHandle>self).loop)
    (<StreamHandle>self).loop.leave()
    if nread >= READ_BUFFER_SIZE and (<StreamHandle>self).loop.large_chunk is not None:
        # The program may have kept what it got.
        (<StreamHandle>self).loop.renew_large()
    if UVNET_DEBUG:
        _poison_chunk((<StreamHandle>self).loop)


# ---- Fairness --------------------------------------------------------------------------------
#
# While a read fills the buffer libuv reads again, 32 times, before any other socket has its turn. A
# socket that has read its budget gets no buffer: then libuv leaves it to the next turn, since the
# poll reports it as long as there is something. Only reads that fill the buffer come here.
#
# Without a budget of its own a socket gets a share: with few sockets a small budget would cost half
# of the throughput, since a receiver that goes to poll with data left does the sender's work in the
# kernel; with many, a large one would keep the others waiting.


cdef unsigned int budget_in_kib(Py_ssize_t size) noexcept:
    """A read budget as a handle keeps it; 0: no bound but libuv's."""
    if not size:
        return UNBOUNDED
    return <unsigned int>min((size + 1023) // 1024, <Py_ssize_t>UNBOUNDED)


cdef Py_ssize_t pump_budget(StreamHandle handle) noexcept:
    """How many bytes of a handle may still move inside the kernel in this turn; below 0: none.

    The default is larger than that of reads, since these bytes cost a quarter of the time.
    """
    cdef Loop loop = handle.loop
    cdef uv.uv_metrics_t metrics
    cdef Py_ssize_t budget = <Py_ssize_t>handle.read_budget * 1024 if handle.read_budget \
        else DEFAULT_PUMP_BUDGET
    uv.uv_metrics_info(&loop._uv, &metrics)
    if loop.full_handle is <void*>handle and loop.full_turn == metrics.loop_count:
        budget -= loop.full_bytes
    return budget


cdef Py_ssize_t _share(unsigned long long events, unsigned long long turns) noexcept:
    """How much a socket may read in a turn, where so many turns had so many events."""
    cdef unsigned long long ready = max(events // turns, 1)
    return min(max(<Py_ssize_t>(TURN_READ_BUDGET // ready), LEAST_READ_BUDGET), MOST_READ_BUDGET)


cdef void _count_full(StreamHandle self, Py_ssize_t size) noexcept:
    """A read has filled the buffer: see whether it was the last one in this turn."""
    cdef Loop loop = self.loop
    cdef uv.uv_metrics_t metrics
    cdef Py_ssize_t budget
    size += loop.full_extra
    loop.full_extra = 0
    if not self._reading or self.closing:
        # libuv stops by itself.
        return
    uv.uv_metrics_info(&loop._uv, &metrics)
    if loop.full_turn != metrics.loop_count:
        loop.read_share = _share(metrics.events - loop.full_events,
                                 metrics.loop_count - loop.full_turn)
        loop.full_events = metrics.events
        loop.full_turn = metrics.loop_count
        loop.full_handle = NULL
    if loop.full_handle is not <void*>self:
        loop.full_handle = <void*>self
        loop.full_bytes = 0
    loop.full_bytes += size
    budget = <Py_ssize_t>self.read_budget * 1024 if self.read_budget else loop.read_share
    # A large read is a little less than 128 KiB.
    if loop.full_bytes >= budget - 1024:
        loop.full_handle = NULL
        # Its own callback: if libuv does not read from it any more in this turn, the next socket
        # must not pay for it.
        self.spent = SPENT_LARGE if self.stream().alloc_cb == _on_alloc_large else SPENT
        self.stream().alloc_cb = _on_alloc_nothing


cdef void _poison_chunk(Loop loop) noexcept:
    """Overwrite the chunk that the next read may fill again, out of the poisoned read buffer.

    For the debug build: code that uses recycled memory that is not its own any more must see
    nonsense at once, and not, one day, the data of another connection.
    """
    cdef Py_ssize_t size
    if loop.last_chunk is not None:
        # Apart, since it holds a reference while it looks.
        size = PyBytes_GET_SIZE(loop.last_chunk)
        if size <= READ_BUFFER_SIZE:
            pyuvnet_refill(<void*>loop.last_chunk, loop.gate.read_buffer, size)
        elif pyuvnet_sole(<void*>loop.last_chunk):
            # What a layer has made of more than one read.
            memset(PyBytes_AS_STRING(loop.last_chunk), POISON, size)
    if loop.large_chunk is not None and pyuvnet_sole(<void*>loop.large_chunk):
        memset(loop.gate.large, POISON, LARGE_READ_SIZE)


cdef void _read_measured(StreamHandle self, EventEmitter owner, ssize_t nread,
                         const char* base) noexcept:
    """A read whose listener is to be named, if it is slow: so it is called as any other."""
    cdef PyObject* listener = only_listener(owner, <PyObject*>_DATA)
    self.loop.debugging.begin(owner)
    if nread <= 0 or listener is not NULL and not isinstance(<object>listener, SharedListener) \
            or not self.calls.take_read(owner, base, nread):
        _read_by_steps(self, owner, nread, base)


# By a pointer, so that no compiler makes it a part of _on_read_gil(), which would cost each read.
cdef measured_read _measured = _read_measured


cdef void _read_by_steps(StreamHandle self, EventEmitter owner, ssize_t nread,
                         const char* base) noexcept:
    # One of the program's calls may give the handle up, and with it the table.
    cdef const HandleCalls* calls = self.calls
    if nread == uv.UV_ENOBUFS and self.spent:
        # The budget of the turn was used up; see _count_full().
        self.unspent()
        return
    try:
        if nread == uv.UV_ENOBUFS and self.pumps:
            if self.lowest is None:
                calls.pump(owner, self, 0)
            else:
                self.pump_stop()
        elif nread >= 0:
            calls.read(owner, self, base, nread)
        else:
            # libuv has stopped reading by itself.
            self._reading = False
            if self.lowest is None:
                self.has_ended()
            calls.read_ended(owner, self, <int>nread)
    except BaseException as exc:
        calls.read_raised(owner, self, exc)


cdef void _on_read(uv.uv_stream_t* stream, ssize_t nread, const uv.uv_buf_t* buf) noexcept nogil:
    gate_close(<pyuvnet_gate*>stream.loop.data)
    (<uv.uv_read_cb><void*>_on_read_gil)(stream, nread, buf)


cdef void _on_alloc_room_gil(uv.uv_handle_t* handle, uv.uv_buf_t* buf) noexcept:
    cdef StreamHandle self = <StreamHandle>handle.data
    if self.has_room():
        self.calls.room(self.owner, buf)


cdef void _on_alloc_room(uv.uv_handle_t* handle, size_t suggested,
                         uv.uv_buf_t* buf) noexcept nogil:
    _on_alloc(handle, suggested, buf)
    gate_close(<pyuvnet_gate*>handle.loop.data)
    (<_alloc_room_gil><void*>_on_alloc_room_gil)(handle, buf)


cdef class ReadTarget:
    """A buffer of the program's that libuv reads into, locked while it is in use."""

    def __dealloc__(self):
        if self.locked:
            PyBuffer_Release(&self.view)


cdef ReadTarget new_read_target(object buffer):
    """Lock a writable buffer."""
    cdef ReadTarget target = ReadTarget.__new__(ReadTarget)
    cdef str name = "options.onread.buffer"
    try:
        PyObject_GetBuffer(buffer, &target.view, PyBUF_CONTIG)
    except (TypeError, BufferError):
        raise arg_type_error(name, ["function", "Buffer"], buffer) from None
    target.locked = True
    if not target.view.len:
        raise arg_value_error(name, buffer, "must have room for at least one byte")
    target.buffer = buffer
    return target


def check_read_target(buffer):
    """Raise unless a buffer can be read into. Raises: ArgTypeError, ArgValueError."""
    new_read_target(buffer)


ctypedef void (*_done_cb)(uv.uv_req_t*, int) noexcept nogil


cdef void _on_done_gil(uv.uv_req_t* req, int status) noexcept:
    """A write, a shutdown or a connect completed."""
    cdef StreamRequest self = <StreamRequest>req.data
    cdef StreamHandle handle = <StreamHandle>self.handle
    cdef Loop loop = handle.loop
    cdef EventEmitter owner = handle.owner
    cdef PyObject* chunks
    self.completed()
    loop.enter_for(owner)
    if self.kind == REQUEST_WRITE:
        # Released when the callback is over, and not with the request.
        chunks = <PyObject*>self._chunks
        Py_INCREF(<object>chunks)
        self._chunks = None
        loop.release(chunks)
    if owner is not None and not loop.silent:
        try:
            if self.kind == REQUEST_WRITE:
                handle.calls.written(owner, handle, status)
            elif self.kind == REQUEST_SHUTDOWN:
                handle.calls.shut_down(owner, handle, status)
            else:
                handle.calls.connected(owner, handle, status)
        except BaseException as exc:
            loop.report_of(exc, owner)
    self.done()
    owner = None
    loop.leave()


cdef void _on_written(uv.uv_write_t* req, int status) noexcept nogil:
    gate_close(<pyuvnet_gate*>req.handle.loop.data)
    (<_done_cb><void*>_on_done_gil)(<uv.uv_req_t*>req, status)


cdef void _on_shutdown(uv.uv_shutdown_t* req, int status) noexcept nogil:
    gate_close(<pyuvnet_gate*>req.handle.loop.data)
    (<_done_cb><void*>_on_done_gil)(<uv.uv_req_t*>req, status)


cdef void on_connected(uv.uv_connect_t* req, int status) noexcept nogil:
    gate_close(<pyuvnet_gate*>req.handle.loop.data)
    (<_done_cb><void*>_on_done_gil)(<uv.uv_req_t*>req, status)


cdef void _on_connection_gil(uv.uv_stream_t* server, int status) noexcept:
    cdef StreamHandle self = <StreamHandle>server.data
    cdef Loop loop = self.loop
    cdef EventEmitter owner = self.owner
    if owner is None or loop.silent:
        return
    loop.enter_for(owner)
    try:
        self.calls.connection(owner, self, status)
    except BaseException as exc:
        loop.report_of(exc, owner)
    owner = None
    loop.leave()


cdef void _on_connection(uv.uv_stream_t* server, int status) noexcept nogil:
    gate_close(<pyuvnet_gate*>server.loop.data)
    (<uv.uv_connection_cb><void*>_on_connection_gil)(server, status)


@cython.no_gc    # as Handle
cdef class StreamHandle(Handle):
    @property
    def reading(self):
        """Whether it is reading."""
        return bool(self._reading)

    cdef int open(self, int fd) noexcept:
        """Take a descriptor over, which is this handle's from then on; returns a libuv status.

        One that another handle of the loop reads or accepts from is refused with UV_EEXIST.
        """
        cdef int status = watch_room(&self.loop._uv, fd)
        return self._open(fd) if status >= 0 else status

    cdef int _open(self, int fd) noexcept:
        return uv.UV_EINVAL

    cdef void opened(self, uv.uv_handle_t* handle, Loop loop) noexcept:
        self.server = loop.no_server
        Handle.opened(self, handle, loop)

    cdef void closed(self) noexcept:
        cdef PyObject* layer
        if self.loop.silent and self.lowest is not None:
            # No callback runs, and the two refer to each other, which no collector would see.
            layer = <PyObject*>self.lowest
            Py_INCREF(<object>layer)
            self.lowest, self.layered = None, False
            self.loop.release(layer)
        # In the ring still if its loop was closed under it.
        self.left_server()
        Handle.closed(self)

    cdef int read_start(self) noexcept:
        """Start reading; returns a libuv status. Reading already: no effect."""
        cdef int status
        if self._reading or self.closing or self._uv is NULL:
            return 0
        self.spent = 0
        if self.pumps:
            status = uv.uv_read_start(self.stream(), _on_alloc_nothing, _on_read)
        elif not self.has_room():
            status = uv.uv_read_start(self.stream(), _on_alloc, _on_read)
        else:
            status = uv.uv_read_start(self.stream(), _on_alloc_room, _on_read)
        if status == 0:
            self._reading = True
            self.loop.touched()
        return status

    cdef void read_stop(self) noexcept:
        if self._reading and not self.closing:
            uv.uv_read_stop(self.stream())
            self._reading = False

    cdef bint pump_start(self) noexcept:
        """Let the owner's pump() take the bytes itself, in place of libuv; False: it cannot.

        As long as it leaves some there, it is called once in each turn of the loop.
        """
        if self.has_room() or self.lowest is not None \
                or not pyuvnet_tube_open(&self.loop.tube):
            return False
        self.pumps = True
        self.stream().alloc_cb = _on_alloc_nothing
        return True

    cdef void pump_stop(self) noexcept:
        if self.pumps:
            self.pumps = False
            self.spent = 0
            self.stream().alloc_cb = _on_alloc

    cdef void unspent(self) noexcept:
        """Another turn: read again."""
        cdef bint large = self.spent == SPENT_LARGE
        self.spent = 0
        if self.pumps or not self._reading or self.closing:
            return
        if self.has_room():
            self.stream().alloc_cb = _on_alloc_room
        elif large:
            self.read_large(True)
        else:
            self.stream().alloc_cb = _on_alloc

    cdef void read_large(self, bint large) noexcept:
        """Let the next reads be larger than the loop's buffer, until reading stops, or not.

        They land in an object that the owner may hand out, if nothing else refers to it any more.
        """
        if not self._reading or self.closing or self.pumps or self.has_room() \
                or self.spent or uv.WINDOWS:
            return
        if not large or self.lowest is not None or not self.loop.renew_large():
            self.stream().alloc_cb = _on_alloc
        else:
            self.stream().alloc_cb = _on_alloc_large

    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        """Submit an asynchronous write; `chunks` stays alive until libuv is done with it.

        Returns a libuv status. No code of the program runs meanwhile.
        """
        return self.write_with(chunks, bufs, count, NULL)

    cdef int write_with(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count,
                        uv.uv_stream_t* carried) noexcept:
        """write(), with a descriptor that goes with the first byte, for an IPC pipe; or NULL."""
        cdef StreamRequest request = self.new_request(REQUEST_WRITE)
        if request is None:
            return uv.UV_ENOMEM
        request._chunks = chunks
        return self.submitted(request, submit_write(
            &request._req.write, self.stream(), bufs, count, carried, _on_written))

    cdef int shutdown(self) noexcept:
        """Send FIN once everything written has left. As write(), for status and program."""
        cdef StreamRequest request = self.new_request(REQUEST_SHUTDOWN)
        if request is None:
            return uv.UV_ENOMEM
        return self.submitted(request, uv.uv_shutdown(
            &request._req.shutdown, self.stream(), _on_shutdown))

    cdef StreamRequest new_request(self, int kind):
        """A request of a kind, REQUEST_...; None without memory. No code of the program runs."""
        cdef StreamRequest request = None
        cdef int held = hold_collector()
        try:
            request = StreamRequest.__new__(StreamRequest)
            request._uv = <uv.uv_req_t*>&request._req
            request.kind = kind
            request.handle = self
        except MemoryError:
            pass
        finally:
            release_collector(held)
        return request

    cdef int submitted(self, StreamRequest request, int status) noexcept:
        """Keep a request whose submission came to a status, if that is good; returns it."""
        if status == 0:
            request.submitted()
            self.loop.touched()
        return status

    cdef int watchable(self) noexcept:
        """Make sure that the descriptor, or the one to come, can be watched; returns a status."""
        cdef int fd
        if self.closing or self._uv is NULL:
            # A connect would open another socket, and watch it for a handle that is being closed.
            return uv.UV_ECANCELED
        fd = self.fileno()
        if fd < 0:
            return watch_room_for_next(&self.loop._uv)
        return watch_room(&self.loop._uv, fd)

    cdef int listen(self, int backlog) noexcept:
        cdef int status = self.watchable()
        if status < 0:
            return status
        return uv.uv_listen(self.stream(), backlog, _on_connection)

    cdef int fileno(self) noexcept:
        """The descriptor, -1 without one and where sockets have none (Windows)."""
        return -1 if self._uv is NULL else uv.pyuvnet_descriptor(self._uv)

    cdef int accept(self, StreamHandle client) noexcept:
        return uv.uv_accept(self.stream(), client.stream())


cdef int _option_number(object value, str name) except? -1:
    """Check the level, or the name, of an option of the kernel."""
    return validate_int32(value, name)


cdef int set_option(StreamHandle handle, object level, object name, object value) except? 1:
    """Set an option of a handle's socket to an int or to bytes; returns a libuv status.

    Raises: ArgTypeError, RangeError.
    """
    cdef Py_buffer view
    cdef int number, status = uv.UV_EBADF
    cdef int of = _option_number(level, "level"), which = _option_number(name, "name")
    if isinstance(value, bool) or as_number(value) is not None:
        number = <int><unsigned int>(
            validate_int32(int(value) if isinstance(value, bool) else value, "value",
                           -2**31, 2**32 - 1) & 0xffffffff)
        if handle is not None and handle._uv is not NULL:
            status = pyuvnet_set_option(handle._uv, of, which, &number, sizeof(number))
        return status
    try:
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
    except (TypeError, BufferError):
        raise arg_type_error("value", ["number", "Buffer"], value) from None
    # Getting the buffer may have run code of the program, which closed the handle.
    if handle is not None and handle._uv is not NULL:
        status = pyuvnet_set_option(handle._uv, of, which, view.buf, view.len)
    PyBuffer_Release(&view)
    return status


cdef int change_option(StreamHandle handle, object level, object name, object value) except -1:
    """set_option() for a program: what the system refuses is raised, with the syscall."""
    cdef int status = set_option(handle, level, name, value)
    if status < 0:
        raise os_error(status, "setsockopt")
    return 0


cdef object get_option(StreamHandle handle, object level, object name, object size):
    """Return an option of a handle's socket as an int, or as bytes, `size` of them at most.

    Raises: OSError (syscall 'getsockopt'), ArgTypeError, RangeError.
    """
    cdef char buffer[1024]
    cdef size_t length
    cdef int number = 0, status = uv.UV_EBADF
    cdef int of = _option_number(level, "level"), which = _option_number(name, "name")
    if size is None:
        length = sizeof(number)
        if handle is not None and handle._uv is not NULL:
            status = pyuvnet_get_option(handle._uv, of, which, &number, &length)
    else:
        length = validate_int32(size, "size", 1, 1024)
        if handle is not None and handle._uv is not NULL:
            status = pyuvnet_get_option(handle._uv, of, which, buffer, &length)
    if status < 0:
        raise os_error(status, "getsockopt")
    if size is None:
        # Some are a byte.
        return number if length == sizeof(number) else (<unsigned char*>&number)[0]
    return buffer[:length]


cdef int duplicate(StreamHandle handle) noexcept:
    """Another descriptor of a handle's socket, or a libuv status."""
    return pyuvnet_duplicate(handle.fileno())


cdef void close_descriptor(int fd) noexcept:
    """Close a descriptor that no handle has."""
    pyuvnet_close_descriptor(fd)


cpdef str handle_kind(object fd):
    """Return what a descriptor is: 'TCP', 'PIPE', 'TTY', 'UDP', 'FILE', 'UNKNOWN' or 'INVALID'.

    Args:
        fd: int; 'INVALID' is one that no descriptor can be, such as -1.
    """
    if not 0 <= fd <= 2**31 - 1:
        return "INVALID"
    cdef uv.uv_handle_type kind = uv.uv_guess_handle(fd)
    if kind == uv.UV_TCP:
        return "TCP"
    if kind == uv.UV_NAMED_PIPE:
        return "PIPE"
    if kind == uv.UV_TTY:
        return "TTY"
    if kind == uv.UV_UDP:
        return "UDP"
    return "FILE" if kind == uv.UV_FILE else "UNKNOWN"


seal(ReadTarget)
seal(StreamHandle)
seal(StreamRequest)

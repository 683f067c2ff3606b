"""A transport in the manner of asyncio: an owner of a handle that is neither a Socket nor a Stream.

It shows what an owner needs: a handle, the seam (layer.pxd) and deadlines, with or without TLS.
Compiled into debug builds only; transports.py loads it.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from pyuvnet._core cimport uv
from pyuvnet._core.address cimport peer_tuple
from pyuvnet._core.deadlines cimport DUE_END, DUE_RETIREMENT, deadline_error, set_deadline, \
    stop_deadlines, write_waits
from pyuvnet._core.emitter cimport EventEmitter
from pyuvnet._core.errors cimport os_error
from pyuvnet._core.layer cimport finish, finish_now, give_away, offer, read_start, send, take, \
    write_failure
from pyuvnet._core.owner cimport *
from pyuvnet._core.stream_handle cimport StreamHandle, point_at

cdef Py_ssize_t HIGH = 65536, LOW = 16384     # the marks of a queue


cdef class Transport(Collector):
    cdef readonly StreamHandle handle  # None once the connection is over, or another's
    cdef StreamHandle _connection      # the same, and what is known of the connection afterwards
    cdef object _protocol
    cdef readonly tuple proxy          # what the PROXY header says
    cdef bytes _queue                  # what the handle has not got
    cdef Py_ssize_t _in_flight
    cdef bint _collecting, _waits, _ending, _finished, _closing, _peer_ended

    def __init__(self, StreamHandle handle not None, protocol, proxy=None):
        self.handle = self._connection = handle
        self._protocol, self.proxy, self._queue = protocol, proxy, b""
        take(handle, self, &_CALLS)

    def start(self):
        self._protocol.connection_made(self)
        if self.handle is not None:
            read_start(self.handle)

    def write(self, bytes data not None):
        if self.handle is None or self._ending:
            return
        self._queue += data
        if not self._in_flight and not self._collecting:
            self._collecting = self.handle.loop.in_callback and self.handle.loop.collect(self)
            if not self._collecting:
                self._send()
        if len(self._queue) + self._in_flight > HIGH and not self._waits:
            self._waits = True
            self._protocol.pause_writing()

    cdef int _flush(self) except -1:
        self._collecting = False
        return self._send()

    cdef int _send(self) except -1:
        """Offer what is queued; the rest becomes one request. At last, end."""
        cdef StreamHandle handle = self.handle
        cdef uv.uv_buf_t buf
        cdef Py_ssize_t taken
        if handle is None or self._in_flight:
            return 0
        if self._queue:
            data, self._queue = self._queue, b""
            point_at(&buf, data)
            taken = offer(handle, data, &buf, 1)
            if taken < 0 and taken != uv.UV_EAGAIN:
                return self._lose(write_failure(handle, <int>taken))
            taken = max(taken, 0)
            handle.dispatched(buf.len)
            self._in_flight = buf.len - taken
            if self._in_flight:
                buf.base += taken
                buf.len -= taken
                if send(handle, data, &buf, 1) < 0:
                    return self._lose(os_error(uv.UV_ENOMEM, "write"))
                write_waits(handle)
        if self._waits and len(self._queue) + self._in_flight <= LOW:
            self._waits = False
            self._protocol.resume_writing()
        if self._in_flight or self.handle is None:
            return 0
        if self._ending and not self._finished:
            self._finished = True
            if finish(handle) < 0 or self._closing and finish_now(handle) < 0:
                self._lose(None)
        return 0

    def write_eof(self):
        self._ending = True
        self._flush()

    def close(self):
        self._closing = True
        self.write_eof()

    def abort(self):
        self._lose(None)

    def set_deadline(self, int ms):
        set_deadline(self.handle, ms)

    def pass_on(self, protocol):
        """Give the connection to another transport, which is returned; this one keeps its figures.
        """
        cdef StreamHandle known = StreamHandle.__new__(StreamHandle), handle = self.handle
        give_away(handle)
        known.continues(handle)
        self.handle, self._connection = None, known
        return Transport(handle, protocol, self.proxy)

    @property
    def figures(self):
        """(bytes received, bytes sent, the peer), also when the connection is over."""
        cdef StreamHandle handle = self._connection
        return handle.bytes_in, handle.bytes_out, peer_tuple(&handle.peer)

    cdef int _lose(self, object error) except -1:
        cdef StreamHandle handle = self.handle
        cdef Acceptor server
        if handle is not None:
            server, self.handle = handle.server, None
            handle.left_server()
            stop_deadlines(handle)
            handle.close()
            handle.loop.touched()
            server.connection_gone(error)
            handle.loop.tick_call(self._protocol.connection_lost, (error,))
        return 0

cdef bint _take_read(Transport self, const char* base, Py_ssize_t size) noexcept:
    return False

cdef int _read(Transport self, StreamHandle handle, const char* base, Py_ssize_t size) except -1:
    if size:
        handle.received(size)
        self._protocol.data_received(PyBytes_FromStringAndSize(base, size))
    return 0

cdef int _read_ended(Transport self, object handle, int status) except -1:
    self._peer_ended = True
    if status != uv.UV_EOF:
        return self._lose(os_error(status, "read"))
    if not self._protocol.eof_received():
        self.close()
    return self._lose(None) if self._finished and not self._closing else 0

cdef void _read_raised(Transport self, StreamHandle handle, object exc) noexcept:
    handle.loop.report(exc)

cdef int _written(Transport self, object handle, int status) except -1:
    self._in_flight = 0
    return self._lose(os_error(status, "write")) if status < 0 else self._send()

cdef int _shut_down(Transport self, object handle, int status) except -1:
    return self._lose(None) if self._closing or self._peer_ended or status < 0 else 0

cdef int _due(Transport self, object handle, int due) except -1:
    if due != DUE_RETIREMENT and due != DUE_END:
        return self._lose(deadline_error(due))
    self.close()
    return 0

cdef bint _half_open(Transport self) noexcept:
    return False

cdef int _lost(Transport self, object handle, BaseException error) except -1:
    return self._lose(error)

cdef int _closed(EventEmitter self, object handle, int status) except -1:
    return 0

cdef HandleCalls _CALLS
_CALLS.take_read, _CALLS.read = <take_call><void*>_take_read, <read_call><void*>_read
_CALLS.read_ended, _CALLS.written = <status_call><void*>_read_ended, <status_call><void*>_written
_CALLS.read_raised, _CALLS.lost = <raised_call><void*>_read_raised, <lost_call><void*>_lost
_CALLS.shut_down, _CALLS.due = <status_call><void*>_shut_down, <status_call><void*>_due
_CALLS.half_open, _CALLS.closed = <fact_call><void*>_half_open, <status_call><void*>_closed

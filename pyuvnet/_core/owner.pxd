"""What the lower layers call on the objects above them; see owner.pyx."""

from libc.stdint cimport uint64_t

from . cimport uv
from .emitter cimport EventEmitter

cdef class Collector(EventEmitter):
    # The loop calls these when a callback is over; the second stands in for the first in the usual
    # case, without an exception's price. False: it is not that case.
    cdef int _flush(self) except -1
    cdef bint _flush_one(self) noexcept

# A place in a ring of objects, inside each of them: O(1) to enter and to leave, without memory.
# Nothing is referenced. A neighbour that goes takes itself out.
cdef struct Links:
    Links* before
    Links* after                       # NULL: in no ring

cdef inline void ring_of_one(Links* links) noexcept:
    links.before = links.after = links

cdef inline void enter_ring(Links* ring, Links* links) noexcept:
    """Enter as the last of a ring, which begins with another object's links."""
    links.before = ring.before
    links.after = ring
    ring.before.after = links
    ring.before = links

cdef inline void leave_ring(Links* links) noexcept:
    """In no ring: no effect."""
    if links.after is not NULL:
        links.before.after = links.after
        links.after.before = links.before
        links.before = links.after = NULL

cdef class Acceptor(EventEmitter):
    cdef Links _sockets                          # the ring of its open connections, oldest first
    # What its sockets have received, and handed to the kernel, open ones and others.
    cdef uint64_t bytes_read, bytes_written

    # A socket that it accepted was destroyed, with an error or None.
    cdef void connection_gone(self, BaseException error) noexcept
    # The PROXY header of a connection is whole, with data behind it, or there will be none.
    cdef void header_over(self, object header, int status, const char* rest,
                          Py_ssize_t size) noexcept
    # One was destroyed since its server, or its loop, has exceeded its write budget.
    cdef void overloaded(self, bint of_loop) noexcept

ctypedef void (*room_call)(EventEmitter owner, uv.uv_buf_t* buf) noexcept
ctypedef bint (*take_call)(EventEmitter owner, const char* base, Py_ssize_t size) noexcept
ctypedef int (*read_call)(EventEmitter owner, object handle, const char* base,
                          Py_ssize_t size) except -1
ctypedef int (*status_call)(EventEmitter owner, object handle, int status) except -1
ctypedef void (*raised_call)(EventEmitter owner, object handle, object exc) noexcept
ctypedef bint (*fact_call)(EventEmitter owner) noexcept
ctypedef int (*lost_call)(EventEmitter owner, object handle, BaseException error) except -1
ctypedef int (*failed_call)(EventEmitter owner, int status, const void* here,
                            const void* there) except -1

# What a handle calls on its owner, with the GIL, inside a libuv callback. Each may run code of the
# program. An owner that has another handle by then ignores it. A listener calls closed and what
# comes after it, a connection closed and what comes before.
cdef struct HandleCalls:
    # Where the next read is to land, which may run no code of the program; NULL: in the loop's
    # buffer. Layers read there in any case.
    room_call room
    # Bytes arrived. The first is the usual case without an exception's price, or False; the second
    # takes a size of 0 too, for a read of nothing, which is activity as well.
    take_call take_read
    read_call read
    # Bytes are there, and libuv has not read them: see StreamHandle.pump_start().
    status_call pump
    status_call read_ended                # UV_EOF, or what the read failed with
    raised_call read_raised               # one of these two raised
    status_call written                   # the write in flight completed
    status_call shut_down                 # the FIN was sent, or failed
    status_call connected                 # the connect request completed
    status_call closed                    # closing phase, the last call of a handle
    status_call due                       # what a Due of deadlines.pxd says; for armed handles
    # These two come from a layer: may our side stay open after the peer's; the connection is lost,
    # with an error or None.
    fact_call half_open
    lost_call lost
    status_call connection                # a peer waits to be accepted
    # An accept failed; both ends are socket addresses, of family 0 where they are not known.
    failed_call accept_failed

"""Passing: descriptors that go with the bytes of a pipe; see passing.pyx."""

from libc.stdint cimport uint64_t

from . cimport uv
from .layer cimport Layer
from .loop cimport Continuation
from .pipe cimport Pipe
from .socket_base cimport SocketBase

cdef class Carried:
    cdef Pipe pipe                     # holds the descriptor, which is ours, until it is sent
    cdef uint64_t offset               # of its first byte among those written
    cdef uint64_t part                 # which request sends it; 0: none does yet
    cdef Carried after

cdef class Passing(Layer):
    cdef uint64_t taken                # bytes that have gone below
    cdef Carried first, last           # that are still to be sent, or are being sent
    cdef Carried due                   # the first that is in no request yet
    # Of the requests that write() has made: how many, how many are over, and what the first one
    # that failed came to.
    cdef uint64_t parts, over
    cdef int failed
    # What has arrived and whose turn has not come; None: nothing, and bytes go up as they come.
    cdef list held                     # descriptors, which are ours
    cdef bytes held_data               # that came with them
    cdef bint wanted                   # more is wanted above
    cdef bint planned                  # a Delivery is

    cdef unsigned int _before(self, const uv.uv_buf_t* bufs, unsigned int count) noexcept
    cdef void _drop_sent(self) noexcept
    cdef void _forget(self, Carried which) noexcept
    cdef int _take_pending(self, const char* base, Py_ssize_t size) except -1
    cdef int _hand_out(self) except -1
    cdef int _go_on(self) except -1
    cdef int _read_or_wait(self) except -1
    cdef int _plan(self) except -1
    cdef void _drop_held(self) noexcept

cdef class Delivery(Continuation):
    cdef Passing layer

cdef Passing passing_of(SocketBase socket)
cdef int add_passing(SocketBase socket) except -1

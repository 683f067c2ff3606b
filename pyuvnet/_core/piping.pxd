"""pipe() and unpipe(); see piping.pyx."""

from .emitter cimport EventEmitter, SharedListener
from .stream cimport Stream

cdef enum:
    PIPING_ENDS = 1 << 0             # dest is ended at the source's 'end'
    PIPING_OVER = 1 << 1             # unpiped
    PIPING_LISTENS_DRAIN = 1 << 2
    PIPING_HEARD_END = 1 << 3
    PIPING_HEARD_CLOSE = 1 << 4
    PIPING_HEARD_FINISH = 1 << 5
    # Of a pipe between sockets.
    PIPING_FILLED = 1 << 6           # the last read filled the buffer
    PIPING_UNFIT = 1 << 7            # splice() is not for it
    PIPING_TO_SOCKET = 1 << 8        # dest is a SocketBase

cdef class Piping(SharedListener):
    """One pipe from a source to a destination, and its listeners."""
    cdef Stream source
    cdef readonly object dest
    cdef list foreign                  # (event, step) on a dest that is no emitter of ours
    cdef unsigned int seen_alone       # the only 'data' listener after so many changes of listeners
    cdef unsigned int flags            # PIPING_...

    cdef bint first_time(self, EventEmitter emitter, object event, unsigned int flag) except -1
    cdef int listen(self, object event, object step, bint prepend=*, bint once=*) except -1
    cdef int forget(self, object event) except -1
    cdef int on_data(self, object chunk) except -1
    cdef int wait(self) except -1
    cdef int drained(self) except -1
    cdef int unpiped(self) except -1
    cdef int clean(self) except -1

cdef int pipe_to(Stream source, object dest, bint end) except -1
cdef int unpipe_from(Stream source, object dest) except -1

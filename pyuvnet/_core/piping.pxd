"""pipe() and unpipe(); see piping.pyx."""

from .stream cimport Stream

cdef class Piping:
    """One pipe from a source to a destination."""
    cdef Stream source
    cdef readonly object dest
    cdef object data_listener          # the hidden one on the source's 'data'
    cdef unsigned int seen_alone       # it was the only one after so many changes of listeners
    cdef list listeners                # (emitter, event, listener) to take away at the end
    cdef bint over, listens_drain

    cdef object listen(self, object emitter, object event, object step, bint prepend=*,
                       bint once=*)
    cdef int forget(self, object event) except -1
    cdef int wait(self) except -1
    cdef int clean(self) except -1

cdef int pipe_to(Stream source, object dest, bint end) except -1
cdef int unpipe_from(Stream source, object dest) except -1

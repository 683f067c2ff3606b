"""Engine: what turns plaintext into TLS records and back; see engine.pyx."""

cdef enum:
    # What handshake() and take() return if it is no success.
    ENGINE_ENDED = 0                   # the peer's close_notify was read
    ENGINE_WANTS = -1                  # more ciphertext has to be fed first
    ENGINE_FAILED = -2                 # for good; `error` says why

    RECORD_SIZE = 16384                # of plaintext in one record, at most
    RECORD_OVERHEAD = 2048             # of ciphertext on top of that, at most
    HEADER_SIZE = 5                    # of a record

cdef class Window:
    cdef char* base
    cdef Py_ssize_t size
    cdef bint readonly

cdef class Engine:
    cdef object error                  # why it failed

    cdef int handshake(self) noexcept                                   # 1: it is over
    cdef int feed(self, const char* base, Py_ssize_t size) noexcept     # ciphertext in
    cdef Py_ssize_t take(self, char* base, Py_ssize_t room) noexcept    # plaintext out
    cdef Py_ssize_t give(self, const char* base, Py_ssize_t size) noexcept    # plaintext in
    cdef bytes collect(self)                                            # ciphertext out
    cdef int end(self) noexcept                                         # close_notify
    cdef object ssl_object(self)
    cdef bint verify_only(self) noexcept                                # instead of failing
    cdef long verify_result(self) noexcept
    cdef str name(self)                                                 # as chosen() calls it

cdef bint is_engines(object error) noexcept
cdef Engine new_engine(object ssl_object, object incoming, object outgoing, Window window)

"""Errors as the core makes them; see errors.pyx."""

cdef object os_error(int status, str syscall, object address=*, object port=*, str detail=*)
cdef bint never_reached(object exc) noexcept
cdef object lookup_error(int status, str hostname)
cdef str status_name(int status)

# Ready-made reasons of the stream machine and the socket, each a new object per call.
cdef object write_after_end()
cdef object stream_destroyed(str method)
cdef object unconfirmed()
cdef object premature_close()
cdef object already_finished()
cdef object socket_closed()
cdef object closed_before_connection()
cdef object queue_full(Py_ssize_t most)
cdef object over_budget(Py_ssize_t limit, bint of_loop)
cdef object ip_blocked(str address)
cdef object ended_by_other_party()
cdef object state_error(str code, str message)

# Let only the core make objects of a type; see errors.pyx.
cdef int seal(object kind) except -1

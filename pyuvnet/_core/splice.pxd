"""splice(2), see splice.h."""

cdef extern from "splice.h" nogil:
    ctypedef struct pyuvnet_tube:
        size_t size
    bint pyuvnet_tube_open(pyuvnet_tube*)
    void pyuvnet_tube_close(pyuvnet_tube*)
    Py_ssize_t pyuvnet_send_room(int)
    Py_ssize_t pyuvnet_splice_in(pyuvnet_tube*, int, size_t)
    size_t pyuvnet_splice_out(pyuvnet_tube*, int, size_t, int*)
    bint pyuvnet_take_back(pyuvnet_tube*, char*, size_t)
    bint pyuvnet_splice_unfit(Py_ssize_t)

"""What threads share where no GIL keeps them apart; see shared.h, and "Shared" in design.md."""

from cpython.object cimport PyObject

cdef extern from "shared.h":
    # A C constant, so that `if GIL_DISABLED:` costs nothing.
    const bint GIL_DISABLED "PYUVNET_GIL_DISABLED"
    ctypedef struct pyuvnet_mutex:
        pass
    void lock "pyuvnet_lock" (pyuvnet_mutex* mutex) noexcept
    void unlock "pyuvnet_unlock" (pyuvnet_mutex* mutex) noexcept
    Py_ssize_t load "pyuvnet_load" (Py_ssize_t* number) noexcept nogil
    void store "pyuvnet_store" (Py_ssize_t* number, Py_ssize_t value) noexcept nogil
    Py_ssize_t add "pyuvnet_add" (Py_ssize_t* number, Py_ssize_t change) noexcept nogil
    unsigned int load_bits "pyuvnet_load_bits" (unsigned int* bits) noexcept nogil
    void store_bits "pyuvnet_store_bits" (unsigned int* bits, unsigned int value) noexcept nogil
    PyObject* made "pyuvnet_made" (PyObject** place) noexcept
    PyObject* make "pyuvnet_make" (PyObject** place, object thing) noexcept

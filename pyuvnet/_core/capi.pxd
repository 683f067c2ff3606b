"""The few CPython calls, and our gate, that Cython's own cpython package lacks."""

from cpython.object cimport PyObject

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil
    PyObject* PyObject_CallOneArg(PyObject* callable, PyObject* arg)
    PyObject* PyObject_CallNoArgs(PyObject* callable)
    object PyObject_CallObject(object callable, object args)
    int PyErr_CheckSignals() except -1
    void PyErr_WriteUnraisable(object where) noexcept
    void PyType_Modified(type cls) noexcept
    int PyUnicode_CHECK_INTERNED(object text) noexcept
    void PyUnicode_InternInPlace(PyObject** text) noexcept
    ctypedef struct PyTypeObject:
        PyObject* tp_dict
        unsigned long tp_flags
    PyTypeObject* Py_TYPE(PyObject* ob) noexcept nogil

    char* PyBytes_AS_STRING(object chunk) noexcept
    Py_ssize_t PyBytes_GET_SIZE(object chunk) noexcept
    Py_buffer* PyMemoryView_GET_BUFFER(object view) noexcept

cdef extern from "gate.h":
    ctypedef struct pyuvnet_gate:
        void* away
        PyObject* loop
        char* read_buffer
        size_t read_size
    void gate_open(pyuvnet_gate* gate) noexcept nogil
    void gate_close(pyuvnet_gate* gate) noexcept nogil

cdef extern from *:
    """
    /* What a listener returned is nearly always None or a bool; asking for the C slot costs no
       failed attribute look-up. */
    static inline int pyuvnet_is_awaitable(PyObject* ob) {
      PyAsyncMethods* async = Py_TYPE(ob)->tp_as_async;
      return async != NULL && async->am_await != NULL;
    }
    """
    bint pyuvnet_is_awaitable(object ob) noexcept

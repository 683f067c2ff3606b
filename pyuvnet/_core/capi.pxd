"""The few CPython calls, and our gate, that Cython's own cpython package lacks."""

from cpython.object cimport PyObject

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil
    object PyObject_CallOneArg(object callable, object argument)
    object PyObject_CallNoArgs(object callable)
    PyObject** _PyObject_GetDictPtr(object ob) noexcept
    void PyErr_WriteUnraisable(object where) noexcept
    void PyType_Modified(type cls) noexcept
    int PyUnicode_CHECK_INTERNED(object text) noexcept
    void PyUnicode_InternInPlace(PyObject** text) noexcept
    ctypedef struct PyTypeObject:
        PyObject* tp_dict
        unsigned long tp_flags
        unsigned int tp_version_tag
    ctypedef struct PyGetSetDescrObject:
        void* d_getset
    object PyDescr_NewGetSet(PyTypeObject* type, void* getset)
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

cdef extern from *:
    """
    #include <string.h>
    /* Writes new bytes into a bytes object that nobody else can see (the caller owns the only
       reference) and forgets its cached hash. Returns 0 where that is not certain: another
       reference, a cached one-byte object, or a build without the GIL. */
    static inline int pyuvnet_refill(void* object, const char* from, Py_ssize_t size) {
    #ifdef Py_GIL_DISABLED
      return 0;
    #else
      PyObject* chunk = (PyObject*) object;
      if (chunk == Py_None || Py_REFCNT(chunk) != 1 || PyBytes_GET_SIZE(chunk) != size || size < 2)
        return 0;
      memcpy(PyBytes_AS_STRING(chunk), from, (size_t) size);
    #if defined(__GNUC__)
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    #endif
      ((PyBytesObject*) chunk)->ob_shash = -1;
    #if defined(__GNUC__)
    #pragma GCC diagnostic pop
    #endif
      return 1;
    #endif
    }
    """
    bint pyuvnet_refill(void* chunk, const char* source, Py_ssize_t size) noexcept

"""The few CPython calls, and our gate, that Cython's own cpython package lacks."""

from cpython.object cimport PyObject

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil
    enum: PYGEN_RETURN, PYGEN_ERROR, PYGEN_NEXT
    int PyIter_Send(object iterator, object value, PyObject** result) noexcept
    object PyObject_CallOneArg(object callable, object argument)
    object PyObject_CallNoArgs(object callable)
    void PyErr_WriteUnraisable(object where) noexcept
    void PyErr_SetObject(object kind, object value) noexcept
    int PyUnicode_CHECK_INTERNED(object text) noexcept
    void PyUnicode_InternInPlace(PyObject** text) noexcept
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef int (*traverseproc)(PyObject*, visitproc, void*) noexcept
    ctypedef int (*inquiry)(PyObject*) noexcept
    ctypedef struct PyTypeObject:
        PyObject* tp_dict
        unsigned long tp_flags
        unsigned int tp_version_tag
        traverseproc tp_traverse
        inquiry tp_clear
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
        char* large
        size_t large_size
        int keep
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
    /* Drops what a listener returned, if it is what most return; 0, and nothing, for all else. */
    static inline int pyuvnet_drop_usual(PyObject* result) {
      if (result != Py_None && result != Py_True && result != Py_False) return 0;
      Py_DECREF(result);
      return 1;
    }
    """
    bint pyuvnet_drop_usual(PyObject* result) noexcept

cdef extern from *:
    """
    /* How an event name compares: as the text that it is; by identity; or as its class has it. */
    static inline int pyuvnet_name_kind(PyObject* name) {
      PyTypeObject* type = Py_TYPE(name);
      richcmpfunc compare = type->tp_richcompare;
      if (PyUnicode_Check(name) && compare == PyUnicode_Type.tp_richcompare
          && type->tp_hash == PyUnicode_Type.tp_hash)
        return 0;
      if (compare == PyBaseObject_Type.tp_richcompare && type->tp_hash == PyBaseObject_Type.tp_hash)
        return 1;
      return 2;
    }
    """
    enum: NAME_OF_TEXT "0"
    enum: NAME_BY_IDENTITY "1"
    enum: NAME_OF_OWN "2"
    int pyuvnet_name_kind(object name) noexcept
    object PyUnicode_FromObject(object text)

cdef extern from *:
    """
    /* Takes the dictionary that Cython makes for each object, 64 bytes that few have use for; the
       first attribute that is set, or look at __dict__, makes another. CPython 3.12 finds a method
       faster without one; 3.11 does with one, so there it stays. */
    static inline void pyuvnet_drop_dict(PyObject* ob) {
    #if PY_VERSION_HEX >= 0x030C0000
      PyObject** own = _PyObject_GetDictPtr(ob);
      if (own != NULL) Py_CLEAR(*own);
    #else
      (void) ob;
    #endif
    }
    /* Whether an object alone, not its class, has an attribute. */
    static inline int pyuvnet_has_own(PyObject* ob, PyObject* name) {
      PyObject** own = _PyObject_GetDictPtr(ob);
      return own != NULL && *own != NULL && PyDict_Check(*own) && PyDict_Contains(*own, name) == 1;
    }
    /* The text that an object alone, not its class, has as an attribute, or None. Only a plain str,
       so that nothing of a program's runs, here or where it serves as a key. */
    static inline PyObject* pyuvnet_own_text(PyObject* ob, PyObject* name) {
      PyObject** own = _PyObject_GetDictPtr(ob);
      PyObject* found = NULL;
      if (own != NULL && *own != NULL && PyDict_CheckExact(*own))
        found = PyDict_GetItemWithError(*own, name);
      if (found == NULL || !PyUnicode_CheckExact(found)) found = Py_None;
      PyErr_Clear();
      Py_INCREF(found);
      return found;
    }
    static inline PyObject* pyuvnet_type_name(PyObject* ob) {
      const char* dot = strrchr(Py_TYPE(ob)->tp_name, '.');
      return PyUnicode_FromString(dot == NULL ? Py_TYPE(ob)->tp_name : dot + 1);
    }
    """
    object own_text "pyuvnet_own_text" (object ob, object name)
    object type_name "pyuvnet_type_name" (object ob)
    void pyuvnet_drop_dict(object ob) noexcept
    bint pyuvnet_has_own(object ob, object name) noexcept

cdef extern from *:
    """
    #include <string.h>
    /* callable(argument), straight through the callable's vectorcall slot: PyObject_CallOneArg()
       looks the slot up and checks the result in two more calls, for every chunk. */
    static inline PyObject* pyuvnet_call_one(PyObject* callable, PyObject* argument) {
      PyTypeObject* type = Py_TYPE(callable);
      if (PyType_HasFeature(type, Py_TPFLAGS_HAVE_VECTORCALL)) {
        vectorcallfunc slot;
        memcpy(&slot, (char*) callable + type->tp_vectorcall_offset, sizeof slot);
        if (slot != NULL) {
          PyObject* arguments[2] = {NULL, argument};
          return slot(callable, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        }
      }
      return PyObject_CallOneArg(callable, argument);
    }
    /* A new bytes object, or NULL without an exception. */
    static inline PyObject* pyuvnet_new_chunk(const char* source, Py_ssize_t size) {
      PyObject* chunk = PyBytes_FromStringAndSize(source, size);
      if (chunk == NULL) PyErr_Clear();
      return chunk;
    }
    /* Lets code that called C by hand meet the exception which that left. */
    static inline int pyuvnet_raised(void) { return -1; }
    """
    PyObject* pyuvnet_call_one(PyObject* callable, PyObject* argument) noexcept
    int pyuvnet_raised() except -1
    PyObject* pyuvnet_new_chunk(const char* source, Py_ssize_t size) noexcept

cdef extern from *:
    """
    #include <string.h>
    /* Whether the caller's reference to a bytes object is the only one: it may be written to.
       Without the GIL, of an object that this thread has made: it alone counts such references,
       unless another thread has one. */
    static inline int pyuvnet_sole(void* object) {
      PyObject* chunk = (PyObject*) object;
    #ifdef Py_GIL_DISABLED
      return _Py_IsOwnedByCurrentThread(chunk)
        && _Py_atomic_load_uint32_relaxed(&chunk->ob_ref_local) == 1
        && _Py_atomic_load_ssize_acquire(&chunk->ob_ref_shared) == 0;
    #else
      return chunk != Py_None && Py_REFCNT(chunk) == 1;
    #endif
    }
    /* Writes new bytes into a bytes object that no other code can see (the caller owns the only
       reference) and forgets its cached hash. Returns 0 where that is not certain: another
       reference, a cached one-byte object, or, without the GIL, one of another thread. */
    static inline int pyuvnet_refill(void* object, const char* from, Py_ssize_t size) {
      PyObject* chunk = (PyObject*) object;
      if (!pyuvnet_sole(chunk) || PyBytes_GET_SIZE(chunk) != size || size < 2) return 0;
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
    }
    """
    bint pyuvnet_refill(void* chunk, const char* source, Py_ssize_t size) noexcept

cdef extern from *:
    """
    /* A bytes object to be read into, or NULL without an exception. */
    static inline PyObject* pyuvnet_new_large(Py_ssize_t size) {
      PyObject* chunk = PyBytes_FromStringAndSize(NULL, size);
      if (chunk == NULL) PyErr_Clear();
      return chunk;
    }
    /* Makes an object of pyuvnet_new_large() as long as what was read into it; its memory stays. */
    static inline void pyuvnet_cut_large(PyObject* chunk, Py_ssize_t size) {
      Py_SET_SIZE((PyVarObject*) chunk, size);
      PyBytes_AS_STRING(chunk)[size] = 0;
    #if defined(__GNUC__)
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    #endif
      ((PyBytesObject*) chunk)->ob_shash = -1;
    #if defined(__GNUC__)
    #pragma GCC diagnostic pop
    #endif
    }
    """
    bint pyuvnet_sole(void* chunk) noexcept
    PyObject* pyuvnet_new_large(Py_ssize_t size) noexcept
    void pyuvnet_cut_large(PyObject* chunk, Py_ssize_t size) noexcept

cdef extern from *:
    """
    /* Drops a reference where that cannot run code of a program: the object is plain bytes or None,
       or another reference holds it. Returns 0, and drops nothing, where it could. */
    static inline int pyuvnet_plain_release(PyObject* reference) {
    #ifdef Py_GIL_DISABLED
      /* Of the references that this thread counts itself, another one is left. */
      if (!(_Py_IsOwnedByCurrentThread(reference)
            && _Py_atomic_load_uint32_relaxed(&reference->ob_ref_local) > 1)
          && !PyBytes_CheckExact(reference) && reference != Py_None) return 0;
    #else
      if (Py_REFCNT(reference) == 1 && !PyBytes_CheckExact(reference)) return 0;
    #endif
      Py_DECREF(reference);
      return 1;
    }

    /* CPython 3.11 may collect garbage, and so run finalisers, wherever a tracked object is made.
       An operation that makes one while its fields do not agree holds the collector off. From 3.12
       on collections wait for the interpreter's own loop, and there is nothing to hold. */
    #if PY_VERSION_HEX < 0x030C0000
    #define pyuvnet_hold_collector() PyGC_Disable()
    #define pyuvnet_release_collector(held) do { if (held) PyGC_Enable(); } while (0)
    #else
    #define pyuvnet_hold_collector() 0
    #define pyuvnet_release_collector(held) ((void) (held))
    #endif
    """
    bint pyuvnet_plain_release(PyObject* reference) noexcept
    int hold_collector "pyuvnet_hold_collector" () noexcept
    void release_collector "pyuvnet_release_collector" (int held) noexcept

cdef extern from *:
    """
    /* [item], made without a collection. */
    static inline PyObject* pyuvnet_list_of(PyObject* item) {
      int held = pyuvnet_hold_collector();
      PyObject* list = PyList_New(1);
      pyuvnet_release_collector(held);
      if (list == NULL) return NULL;
      Py_INCREF(item);
      PyList_SET_ITEM(list, 0, item);
      return list;
    }
    /* items[start:], made without a collection. */
    static inline PyObject* pyuvnet_rest_of(PyObject* items, Py_ssize_t start) {
      int held = pyuvnet_hold_collector();
      PyObject* rest = PyList_GetSlice(items, start, PyList_GET_SIZE(items));
      pyuvnet_release_collector(held);
      return rest;
    }
    /* (number, item), made without a collection. */
    static inline PyObject* pyuvnet_numbered(unsigned long number, PyObject* item) {
      PyObject* first = PyLong_FromUnsignedLong(number);
      PyObject* pair;
      int held;
      if (first == NULL) return NULL;
      held = pyuvnet_hold_collector();
      pair = PyTuple_New(2);
      pyuvnet_release_collector(held);
      if (pair == NULL) {
        Py_DECREF(first);
        return NULL;
      }
      PyTuple_SET_ITEM(pair, 0, first);
      Py_INCREF(item);
      PyTuple_SET_ITEM(pair, 1, item);
      return pair;
    }
    /* Takes the reference out of a list's item, which becomes None. */
    static inline PyObject* pyuvnet_take_item(PyObject* list, Py_ssize_t index) {
      PyObject* item = PyList_GET_ITEM(list, index);
      Py_INCREF(Py_None);
      PyList_SET_ITEM(list, index, Py_None);
      return item;
    }
    """
    list list_of "pyuvnet_list_of" (object item)
    list rest_of "pyuvnet_rest_of" (list items, Py_ssize_t start)
    tuple numbered "pyuvnet_numbered" (unsigned long number, object item)
    PyObject* take_item "pyuvnet_take_item" (list items, Py_ssize_t index) noexcept

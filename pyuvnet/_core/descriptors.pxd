"""Descriptors and slots of extension types, changed once while they load; see descriptors.pyx."""

from cpython.object cimport PyObject

cdef extern from *:
    """
    typedef PyObject* (*pyuvnet_method)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

    /* Puts another C function, of the flags FASTCALL and KEYWORDS, in the place of a compiled
       method's, and returns the one it had; NULL, and no change, if that is of another kind. Comes
       after Python's check of self, whichever way the method is called. */
    static inline pyuvnet_method pyuvnet_set_method(PyObject* method, void* entry) {
      PyMethodDef* definition;
      PyCFunction before;
      if (Py_TYPE(method) != &PyMethodDescr_Type) return NULL;
      definition = ((PyMethodDescrObject*) method)->d_method;
      if (definition->ml_flags != (METH_FASTCALL | METH_KEYWORDS)) return NULL;
      before = definition->ml_meth;
      definition->ml_meth = (PyCFunction) entry;
      return (pyuvnet_method) (void*) before;
    }
    """
    ctypedef PyObject* (*pyuvnet_method)(PyObject*, PyObject**, Py_ssize_t, PyObject*) except NULL
    pyuvnet_method set_method "pyuvnet_set_method" (PyObject* method, void* entry) noexcept

cdef extern from *:
    """
    /* Gives a type a __next__ that ends with an exception set and no traceback made for it. */
    static inline void pyuvnet_set_iternext(PyObject* type, void* next) {
      ((PyTypeObject*) type)->tp_iternext = (iternextfunc) next;
    }
    """
    void set_iternext "pyuvnet_set_iternext" (object type, void* next) noexcept

cdef dict members_of(type cls)
cdef void changed(type cls) noexcept
cdef int share_methods(type source, type target) except -1
cdef bint same_method(object method, object other) noexcept

"""Descriptors and slots of extension types, changed once while they load.

Owns: every change to a type that Python's own calls would refuse or make slower.  Imports nothing
of ours.  An extension type takes no setattr(), so its dictionary is written directly; a method
descriptor belongs to one class, so another class gets a descriptor of its own for the same C
function.  None of this changes what a method does, only which descriptor or slot leads to it.
"""

from types import GetSetDescriptorType, MethodDescriptorType

from cpython.object cimport PyObject

from .capi cimport PyTypeObject

cdef extern from "Python.h":
    ctypedef struct PyGetSetDescrObject:
        void* d_getset
    ctypedef struct PyMethodDescrObject:
        void* d_method
    object PyDescr_NewGetSet(PyTypeObject* type, void* getset)
    object PyDescr_NewMethod(PyTypeObject* type, void* method)
    void PyType_Modified(type cls) noexcept

cdef extern from *:
    """
    /* Python gives a subclass an __anext__ that looks the inherited one up for each call. This
       calls it, as long as the subclass has none of its own. */
    static inline void pyuvnet_inherit_anext(PyObject* type, PyObject* base) {
      PyAsyncMethods* async = ((PyTypeObject*) type)->tp_as_async;
      if (async != NULL) async->am_anext = ((PyTypeObject*) base)->tp_as_async->am_anext;
    }
    """
    void pyuvnet_inherit_anext (object type, object base) noexcept


cdef dict members_of(type cls):
    """The dictionary of a class itself; call changed() after writing to it."""
    return <dict>(<PyTypeObject*><PyObject*>cls).tp_dict


cdef void changed(type cls) noexcept:
    """Make Python forget what it has cached of a class."""
    PyType_Modified(cls)


cdef object _describe(object descriptor, type cls):
    """The descriptor of the same C function for another class; anything else as it is."""
    if isinstance(descriptor, GetSetDescriptorType):
        return PyDescr_NewGetSet(<PyTypeObject*><PyObject*>cls,
                                 (<PyGetSetDescrObject*><PyObject*>descriptor).d_getset)
    if isinstance(descriptor, MethodDescriptorType):
        return PyDescr_NewMethod(<PyTypeObject*><PyObject*>cls,
                                 (<PyMethodDescrObject*><PyObject*>descriptor).d_method)
    return descriptor


cdef int share_methods(type source, type target) except -1:
    """Give an extension type the public members of another, of which its objects are no instances.

    They are the very same C functions, so both must lay their objects out alike: `source` may have
    no field and no C method that is not their common base's. Call it before add_node_names().
    """
    cdef dict members = members_of(target)
    for name, value in members_of(source).items():
        if name.startswith("_") or name != name.lower() or name in members:
            continue
        members[name] = _describe(value, target)
    changed(target)
    return 0


cdef bint same_method(object method, object other) noexcept:
    """True if two descriptors, perhaps of different classes, lead to one compiled method."""
    return isinstance(method, MethodDescriptorType) and isinstance(other, MethodDescriptorType) \
        and (<PyMethodDescrObject*><PyObject*>method).d_method \
        == (<PyMethodDescrObject*><PyObject*>other).d_method


def own_method(type cls not None, str name not None):
    """Give a subclass a compiled method that it inherits as its own.

    The interpreter goes straight to the C function if the object's class is the very one that the
    descriptor belongs to, and takes some 80 instructions more for a subclass.

    Args:
        cls: a class written in Python.
        name: the inherited method.

    Raises: TypeError if what the class inherits is no compiled method.
    """
    method = getattr(cls, name, None)
    if not isinstance(method, MethodDescriptorType):
        raise TypeError(f"{cls.__name__} inherits no compiled method {name!r}")
    setattr(cls, name, _describe(method, cls))


def inherit_anext(cls):
    """Let a class that inherits a compiled __anext__ call it without looking it up each time.

    Args:
        cls: a class written in Python whose first base has the compiled __anext__.

    Returns the class, so that it serves as a class decorator.
    Raises: TypeError if the class has an __anext__ of its own.
    """
    if cls.__anext__ is not cls.__base__.__anext__:
        raise TypeError(f"{cls.__name__} has an __anext__() of its own")
    pyuvnet_inherit_anext(cls, cls.__base__)
    return cls

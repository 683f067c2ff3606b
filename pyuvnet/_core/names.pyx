"""The one mechanism that gives every public name its Node spelling.

PEP 8 spelling is canonical; the Node spelling is made from it by the rule of `_base/names.py` and
is the very same object.  Extension types refuse setattr(), so their dictionary is written directly,
once, while their module loads.  Imports: descriptors.
"""

from cpython.object cimport PyObject

from .._base.names import to_node

from .capi cimport PyTypeObject
from .descriptors cimport changed, members_of


def add_node_names(target):
    """Give each public snake_case member of a class, or of a module, its Node name.

    Args:
        target: a class (extension type or Python class) or a module's globals(), of which
            __all__ says what is public.

    Returns the target, so that it serves as a class decorator.
    """
    cdef dict members
    if isinstance(target, type):
        members = members_of(target)
    else:
        members = target
    for name, value in list(members.items()):
        # Most have no other spelling, which is seen faster here than by calling Python.
        if "_" not in name or name.startswith("_"):
            continue
        if name not in members.get("__all__", members):
            continue
        node_name = to_node(name)
        if node_name != name and node_name not in members:
            if isinstance(target, type) and not _is_extension(target):
                setattr(target, node_name, value)
            else:
                members[node_name] = value
    if isinstance(target, type):
        changed(target)
    return target


cdef bint _is_extension(cls) noexcept:
    # Py_TPFLAGS_HEAPTYPE: classes made by Python code are on the heap and take setattr().
    return not (<PyTypeObject*><PyObject*>cls).tp_flags & (1UL << 9)

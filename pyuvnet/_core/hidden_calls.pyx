"""Hidden calls: the places where code of a program may run without a visible call, for tests.

The debug build calls hidden_call() there, so that tests can act: with 'entry' (an operation
begins), 'leave' (a callback is over) or 'release' (a reference is dropped).  Imports: declarations.
"""

from cpython.exc cimport PyErr_Fetch, PyErr_Restore, PyErr_SetObject
from cpython.object cimport PyObject

from .capi cimport PyErr_WriteUnraisable
from .debug cimport UVNET_DEBUG

cdef object _hook = None
cdef tuple _PLACES = ("entry", "leave", "release")


def set_hidden_hook(hook):
    """Set what the debug build calls, with a place, wherever hidden code of a program may run.

    Args:
        hook: hook(place), or None. It is not called while it runs.

    Raises: RuntimeError in a release build, which has no such calls.
    """
    global _hook
    if not UVNET_DEBUG:
        raise RuntimeError("only a debug build (PYUVNET_DEBUG=1) makes hidden calls visible")
    _hook = hook


cdef void hidden_call(int place) noexcept:
    """What a finaliser would do here, by the hook of a test."""
    global _hook
    cdef object hook = _hook
    cdef PyObject* kind
    cdef PyObject* value
    cdef PyObject* traceback
    if hook is None:
        return
    _hook = None
    # Like a finaliser's: what was raised before is still being raised afterwards.
    PyErr_Fetch(&kind, &value, &traceback)
    try:
        hook(_PLACES[place])
    except BaseException as exc:
        PyErr_SetObject(type(exc), exc)
        PyErr_WriteUnraisable(hook)
    PyErr_Restore(kind, value, traceback)
    if _hook is None:
        _hook = hook

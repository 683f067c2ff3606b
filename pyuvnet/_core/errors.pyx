"""Every exception that the core makes, from a libuv status or from a state.

Owns: the only calls of uv_strerror and uv_err_name.  Imports: libuv's declarations and the
classes and notes of the base layer.

System errors are made by OSError(errno, text), which lets Python pick the subclass; the code is
looked up by name, since on Windows libuv's statuses are not negated errno values.
"""

import errno as _errno
import os.path

from .._base.errors import ArgTypeError, ClosedError, ResolveError, StateError, SystemCallError
from .._base.hints import explain, explain_host, hint

cimport cython
from cpython.object cimport PyObject

from . cimport uv

cdef str _PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep

cdef extern from *:
    """
    typedef int (*pyuvnet_refusal)(PyObject*, PyObject*, PyObject*);

    /* C code goes on making objects, since that calls tp_new alone. T() calls tp_init too, unless
       there is a short cut past both. Without a __new__ of its own, T.__new__ is that of object,
       which refuses a type it does not fit; so do copy and pickle, which call it. */
    static void pyuvnet_seal(PyObject* kind, pyuvnet_refusal refuse) {
      PyTypeObject* type = (PyTypeObject*) kind;
      type->tp_init = (initproc) refuse;
      type->tp_vectorcall = NULL;
      type->tp_flags &= ~Py_TPFLAGS_BASETYPE;
      if (PyDict_DelItemString(type->tp_dict, "__new__") < 0) PyErr_Clear();
      PyType_Modified(type);
    }
    """
    void pyuvnet_seal(object kind, int (*refuse)(object, object, PyObject*) except -1) noexcept

# libuv's names for lookup failures -> Node's code.  Two of them mean "there is no such name".
cdef dict _lookup_codes = {"EAI_NONAME": "ENOTFOUND", "EAI_NODATA": "ENOTFOUND"}


cdef str status_name(int status):
    """libuv's name of a status: 'ECONNREFUSED'."""
    return (<bytes>uv.uv_err_name(status)).decode("ascii")


# What is often a mistake of the program, with more to say than Node's text does.
cdef frozenset _explained = frozenset((
    "EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EINVAL", "EMFILE", "ENFILE"))

# For each OSError subclass that Python picks, the one of ours below it.
cdef dict _classes = {}


@cython.binding(True)  # A method of the classes below, as is the next.
def _text_alone(error):
    return error.message


@cython.binding(True)
def _reduce(error):
    return _rebuild, (error.errno, error.message, dict(error.__dict__))


def _rebuild(number, text, attributes):
    error = _make(number, text)
    error.__dict__.update(attributes)
    return error


cdef object _make(object number, str text):
    """OSError(number, text) of the class that Python picks, whose str() is the text alone."""
    cdef type base = type(OSError(number, text))
    cdef object cls = _classes.get(base)
    if cls is None:
        # Shown under Python's own name, since that is what people catch.
        bases = (SystemCallError,) if base is OSError else (base, SystemCallError)
        cls = type(base)(base.__name__, bases, {
            "__str__": _text_alone, "__reduce__": _reduce,
            "__module__": base.__module__, "__qualname__": base.__qualname__})
        # Another thread may have been faster.
        cls = _classes.setdefault(base, cls)
    error = cls(number, text)
    error.message = text
    return error


cdef object os_error(int status, str syscall, object address=None, object port=None,
                     str detail=None):
    """Build the OSError for a failed system call, with Node's text and attributes.

    detail: Node's longer text, '... CODE: what it means ADDRESS', when given as ''.  Any other
    text is appended as it is.

    It never raises MemoryError but returns it, with the attributes that listeners look at: an
    operation that failed must be able to say so.
    """
    cdef object error
    try:
        error = _os_error(status, syscall, address, port, detail)
    except MemoryError as exc:
        error = _without_memory(exc, syscall)
    return error


cdef object _without_memory(object exc, str syscall):
    try:
        exc.code, exc.errno, exc.syscall = "ENOMEM", _errno.ENOMEM, syscall
        exc.address = exc.port = None
    except MemoryError:
        pass
    return exc


cdef bint never_reached(object exc) noexcept:
    """Whether a call of the program's code failed before its first line, without the argument.

    So it is when there is no memory for the call, or no room on the stack. It shows in the
    traceback, which then has no function but ours. A callable written in C has none either; one
    that raised MemoryError has not taken its argument.
    """
    if not isinstance(exc, (MemoryError, RecursionError)):
        return False
    try:
        trace = exc.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_code.co_filename
            if not name.endswith(".pyx") and not name.startswith(_PACKAGE):
                return False
            trace = trace.tb_next
    except MemoryError:
        pass
    return True


cdef object _os_error(int status, str syscall, object address, object port, str detail):
    cdef str code = status_name(status)
    cdef str text = f"{syscall} {code}"
    if detail is not None and not detail:
        text += ": " + (<bytes>uv.uv_strerror(status)).decode("utf-8")
    if address is not None:
        text += f" {address}"
        if port:
            text += f":{port}"
    if detail:
        text += " " + detail
    exc = _make(getattr(_errno, code, -status), text)
    exc.code = code
    exc.syscall = syscall
    exc.address = address
    exc.port = port or None
    if code in _explained:
        explain(exc, port)
    return exc


cdef object lookup_error(int status, str hostname):
    """Build the error of a failed name lookup; its errno is the resolver's EAI_* value, if any."""
    import _socket
    import errno
    cdef str name = status_name(status)
    cdef str code = _lookup_codes.get(name, name)
    number = getattr(_socket, name, getattr(errno, name, status))
    error = ResolveError(number, f"getaddrinfo {code} {hostname}", code, hostname)
    explain_host(error, hostname)
    return error


cdef object state_error(str code, str message):
    return StateError(message, code)


cdef object write_after_end():
    return _ended(StateError("write after end", "ERR_STREAM_WRITE_AFTER_END"))


cdef object _ended(object error):
    hint(error, "end() was called, or the peer ended and this side ended with it. Check "
                "socket.writable before writing.")
    return error


cdef object stream_destroyed(str method):
    return ClosedError(f"Cannot call {method} after a stream was destroyed", "ERR_STREAM_DESTROYED")


cdef object premature_close():
    return ClosedError("Premature close", "ERR_STREAM_PREMATURE_CLOSE")


cdef object unconfirmed():
    return ClosedError("The peer may not have received everything that was written",
                       "ERR_STREAM_PREMATURE_CLOSE")


cdef object already_finished():
    return _ended(StateError("Cannot call end after a stream was finished",
                             "ERR_STREAM_ALREADY_FINISHED"))


cdef object socket_closed():
    return ClosedError("Socket is closed", "ERR_SOCKET_CLOSED")


cdef object queue_full(Py_ssize_t most):
    return StateError(f"The socket's write queue exceeds max_write_buffer ({most} bytes)",
                      "ERR_WRITE_BUFFER_FULL")


cdef object over_budget(Py_ssize_t limit, bint of_loop):
    return StateError(
        f"The sockets of the {'loop' if of_loop else 'server'} exceed their write budget "
        f"({limit} bytes), and this one has the longest queue", "ERR_WRITE_BUDGET")


cdef object closed_before_connection():
    return ClosedError("Socket closed before the connection was established",
                       "ERR_SOCKET_CLOSED_BEFORE_CONNECTION")


cdef object ip_blocked(str address):
    return StateError(f"IP({address}) is blocked by net.BlockList", "ERR_IP_BLOCKED")


cdef object ended_by_other_party():
    cdef str text = "This socket has been ended by the other party"
    exc = _make(_errno.EPIPE, text)
    exc.code = "EPIPE"
    return exc


def make_ip_blocked(str address):
    """The error of an address that a block list matches, for the Python side."""
    return ip_blocked(address)


def make_os_error(int status, str syscall, address=None, port=None, detail=None):
    """The error of a failed system call, for the Python side."""
    return os_error(status, syscall, address, port, detail)


# The statuses which the Python side gives reasons of its own for.
UV_EADDRINUSE = uv.UV_EADDRINUSE
UV_EALREADY = uv.UV_EALREADY
UV_ECONNRESET = uv.UV_ECONNRESET
UV_ECANCELED = uv.UV_ECANCELED
UV_EINVAL = uv.UV_EINVAL
UV_EISCONN = uv.UV_EISCONN
UV_EMFILE = uv.UV_EMFILE
UV_ENOTSUP = uv.UV_ENOTSUP
UV_EPROTO = uv.UV_EPROTO
UV_ETIMEDOUT = uv.UV_ETIMEDOUT


cdef int _refuse_to_make(object made, object arguments, PyObject* keywords) except -1:
    raise ArgTypeError("Illegal constructor", "ERR_ILLEGAL_CONSTRUCTOR")


cdef int seal(object kind) except -1:
    """Let only the core make objects of a type and subclasses of it.

    For types whose objects are never without what their maker puts into them: no method of theirs
    checks that it is there. A type that programs do make, or subclass, is not sealed; each of its
    methods asks first whether __init__ was called.
    """
    pyuvnet_seal(kind, _refuse_to_make)
    return 0

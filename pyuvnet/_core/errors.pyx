"""Every exception that the core makes, from a libuv status or from a state.

Owns: the only calls of uv_strerror and uv_err_name.  Imports: libuv's declarations and the
public classes of pyuvnet.errors.

System errors are made by OSError(errno, text), which lets Python pick the subclass; the code is
looked up by name, since on Windows libuv's statuses are not negated errno values.
"""

import errno as _errno

from ..errors import ResolveError, StateError

from . cimport uv

# libuv's names for lookup failures -> Node's code.  Two of them mean "there is no such name".
cdef dict _lookup_codes = {"EAI_NONAME": "ENOTFOUND", "EAI_NODATA": "ENOTFOUND"}


cdef str status_name(int status):
    """libuv's name of a status: 'ECONNREFUSED'."""
    return (<bytes>uv.uv_err_name(status)).decode("ascii")


cdef object os_error(int status, str syscall, object address=None, object port=None,
                     str detail=None):
    """Build the OSError for a failed system call, with Node's text and attributes.

    detail: Node's longer text, '... CODE: what it means ADDRESS', when given as ''.  Any other
    text is appended as it is.
    """
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
    exc = OSError(getattr(_errno, code, -status), text)
    exc.code = code
    exc.message = text
    exc.name = "Error"
    exc.syscall = syscall
    exc.address = address
    exc.port = port or None
    exc.dest = None
    return exc


cdef object lookup_error(int status, str hostname):
    """Build the error of a failed name lookup; its errno is the resolver's EAI_* value."""
    import _socket
    cdef str name = status_name(status)
    cdef str code = _lookup_codes.get(name, name)
    exc = ResolveError(getattr(_socket, name, status), f"getaddrinfo {code} {hostname}")
    exc.code = code
    exc.message = f"getaddrinfo {code} {hostname}"
    exc.syscall = "getaddrinfo"
    exc.hostname = hostname
    return exc


cdef object state_error(str code, str message):
    return StateError(message, code)


cdef object write_after_end():
    return StateError("write after end", "ERR_STREAM_WRITE_AFTER_END")


cdef object stream_destroyed(str method):
    return StateError(f"Cannot call {method} after a stream was destroyed", "ERR_STREAM_DESTROYED")


cdef object already_finished():
    return StateError("Cannot call end after a stream was finished", "ERR_STREAM_ALREADY_FINISHED")


cdef object socket_closed():
    return StateError("Socket is closed", "ERR_SOCKET_CLOSED")


cdef object closed_before_connection():
    return StateError("Socket closed before the connection was established",
                      "ERR_SOCKET_CLOSED_BEFORE_CONNECTION")


cdef object ended_by_other_party():
    cdef str text = "This socket has been ended by the other party"
    exc = BrokenPipeError(_errno.EPIPE, text)
    exc.code = "EPIPE"
    exc.message = text
    exc.name = "Error"
    exc.syscall = None
    exc.address = None
    exc.port = None
    exc.dest = None
    return exc


def make_lookup_error(int status, str hostname):
    """The error of a failed lookup, for the Python side."""
    return lookup_error(status, hostname)


def make_os_error(int status, str syscall, address=None, port=None, detail=None):
    """The error of a failed system call, for the Python side."""
    return os_error(status, syscall, address, port, detail)


# The statuses which the Python side gives reasons of its own for.
UV_EALREADY = uv.UV_EALREADY
UV_ECANCELED = uv.UV_ECANCELED
UV_EINVAL = uv.UV_EINVAL
UV_EISCONN = uv.UV_EISCONN
UV_ETIMEDOUT = uv.UV_ETIMEDOUT

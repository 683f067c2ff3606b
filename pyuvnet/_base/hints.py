"""How to fix likely mistakes, in notes on errors.

Tracebacks show notes below Node's texts, which stay as they are. Code that is not an error but
probably a mistake gets a RuntimeWarning at the caller's line, which `place_of_call` finds.
"""

from __future__ import annotations

import os
import stat
import sys

from . import TYPE_CHECKING
from .errors import KeepAliveWarning
from .notation import notation

if TYPE_CHECKING:
    from typing import Any

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
# What sun_path holds, without the zero at its end.
_LONGEST_PATH = 107 if sys.platform == "linux" else 103
_PORTS_OF_ROOT = 1024
# Listeners by their id, with the place of registration by event; the reference removes the entry.
_registered: dict[int, tuple[object, dict[object, str]]] = {}
_WINDOWS = sys.platform == "win32"
_NOT_TAKEN = "does not take that."
_TOO_MANY_FILES = (
    "This process has as many open files as it may have. Close sockets that are no longer needed, "
    "or raise the limit (`ulimit -n`)."
)
_TOO_MANY_FILES_OF_SYSTEM = "The whole system has as many open files as it may have."


def hint(error: BaseException, text: str) -> None:
    """Add a note to an error, once."""
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


def explain(error: OSError, port: int | None) -> None:
    """Add the note that says how to fix a failed system call, if there is one.

    port is None for a path; the error itself has no port either if that was 0.
    """
    code, call = getattr(error, "code", None), getattr(error, "syscall", None)
    address = getattr(error, "address", None)
    if address is None or call not in ("bind", "connect", "listen"):
        return
    text: str | None
    if code in ("EMFILE", "ENFILE"):
        text = _TOO_MANY_FILES if code == "EMFILE" else _TOO_MANY_FILES_OF_SYSTEM
    elif port is not None:
        text = None if call == "connect" else _about_port(code, port)
    else:
        text = _about_path(code, call, os.fsencode(address))
    if text is not None:
        hint(error, text)


def _about_port(code: str | None, port: int) -> str | None:
    if code == "EADDRINUSE":
        if port == 0:
            return "All ephemeral ports are in use."
        return (
            "Another socket is using this address. Stop its program or choose another port; port 0 "
            "picks a free one."
        )
    if code == "EADDRNOTAVAIL":
        return (
            "This machine has no such address. Listen on one of its own, such as '127.0.0.1', or "
            "leave the host out to listen on all of them."
        )
    # On Windows low ports need no privileges.
    if code == "EACCES" and 0 < port < _PORTS_OF_ROOT and not _WINDOWS:
        return f"Ports below {_PORTS_OF_ROOT} require elevated privileges; use a port such as 8080."
    return None


def _about_path(code: str | None, call: str, path: bytes) -> str | None:
    # A pipe of Windows has neither a file nor a folder.
    if _WINDOWS:
        return None
    is_file = path[:1] != b"\0"
    if code == "EINVAL" and is_file and len(path) > _LONGEST_PATH:
        return (
            f"The path of a unix socket can have at most {_LONGEST_PATH} bytes on this system, and "
            f"this one has {len(path)}. Use a shorter path, or one relative to the current folder."
        )
    if call == "connect":
        return None
    if code == "EADDRINUSE":
        if is_file and os.path.exists(path) and not _is_socket(path):
            kind = "folder" if os.path.isdir(path) else "file"
            return f"There is a {kind} of that name, which is not a socket. Choose another path."
        return (
            "Another server is listening there, or one that was killed left its file behind; "
            "listen(path=..., unlink_stale=True) replaces such a file."
        )
    if code == "EACCES" and is_file:
        folder = os.path.dirname(path) or b"."
        shown = os.fsdecode(folder)
        if not os.path.isdir(folder):
            return f"The folder {shown!r} does not exist."
        return f"This user may not create files in the folder {shown!r}."
    return None


def _is_socket(path: bytes) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def explain_host(error: BaseException, host: str) -> None:
    """Add the note that says how to fix a host that is none, if that can be seen."""
    if "://" in host:
        hint(error, "Pass the host alone, without the scheme and path of a URL.")
    elif host.rpartition(":")[2].isdigit():
        hint(error, "Pass the port as an argument of its own, not as a part of the host.")


def explain_arity(
    error: BaseException, event: object, listener: Any, arguments: tuple[Any, ...]
) -> None:
    """Add a note to the TypeError of a listener that does not take what its event passes.

    Args:
        error: raised by a call that did not reach any code of the listener.
        event, listener, arguments: what was called.

    The note says where the listener was registered if debug mode has noted that, otherwise where
    it is defined: to note each place would cost every registration.
    """
    import inspect

    try:
        signature = inspect.signature(listener)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        pass
    else:
        # Compiled code that did not like their types.
        return
    kinds = ", ".join(type(argument).__name__ for argument in arguments)
    count = f"{len(arguments)} argument{'s' * (len(arguments) != 1)}"
    passed = f"{count} ({kinds})" if arguments else "no arguments"
    inner = listener
    while hasattr(inner, "func"):  # a functools.partial
        inner = inner.func
    inner = inspect.unwrap(getattr(inner, "__func__", inner))
    named = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    code = getattr(inner, "__code__", None)
    where = "" if code is None else f", defined at {code.co_filename}:{code.co_firstlineno}"
    noted = _registered.get(id(listener))
    if noted is not None and event in noted[1]:
        where = f", registered at {noted[1][event]}"
    hint(
        error,
        f"The event {event!r} passes {passed}, and its listener {named}{signature}{where}, "
        f"{_NOT_TAKEN}",
    )


def without_our_frames(error: BaseException) -> None:
    """Leave only the program's frames around a call that failed as explain_arity() says.

    The note says where the listener comes from, and the way to the call says nothing more.
    """
    if not any(str(note).endswith(_NOT_TAKEN) for note in getattr(error, "__notes__", ())):
        return
    first = last = None
    entry = error.__traceback__
    while entry is not None:
        name = entry.tb_frame.f_code.co_filename
        if not name.endswith(".pyx") and not name.startswith(_PACKAGE):
            first, last = first or entry, entry
        entry = entry.tb_next
    if last is not None:
        last.tb_next = None
    error.__traceback__ = first


def note_registration(event: object, listener: object) -> None:
    """Remember for explain_arity() where a listener was last registered for an event."""
    import weakref

    key = id(listener)
    noted = _registered.get(key)
    if noted is None:
        try:
            reference = weakref.ref(listener, lambda _: _registered.pop(key, None))
        except TypeError:
            return
        noted = _registered.setdefault(key, (reference, {}))
    noted[1][event] = "{}:{}".format(*place_of_call())


def absent(module: str, name: str, text: str | None) -> Exception:
    """Make the error for a name which a module does not have, for its __getattr__().

    Args:
        module, name: of what is missing.
        text: what to use instead; None: not known.
    """
    error: Exception = AttributeError(
        f"module {module!r} has no attribute {name!r}", name=name, obj=sys.modules[module]
    )
    if text is None:
        return error
    # It takes its time to import.
    from opcode import opname

    caller = sys._getframe(2)
    if opname[caller.f_code.co_code[caller.f_lasti]] == "IMPORT_FROM":
        # `from ... import` replaces an AttributeError by one without the hint.
        error = ImportError(f"cannot import name {name!r} from {module!r}", name=module)
    hint(error, text)
    return error


def place_of_call() -> tuple[str, int]:
    """The file and line of the code that called into this package."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def warn_of_keep_alive(name: str, value: object) -> None:
    """Warn of a keep-alive duration below a second: probably seconds, where ms are expected."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value < 1000:  # type: ignore[operator]
        import warnings

        warnings.warn_explicit(
            f"{name} is in milliseconds: {notation(value)} ms is less than a second, so it is cut "
            "to 0, and the system's timings stay",
            KeepAliveWarning,
            *place_of_call(),
        )


def hint_tuple(error: BaseException, function: str, value: object) -> None:
    """Add a note to the error for an address in a tuple, as the socket module takes it."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        host, port = map(notation, value)
        text = f"Pass the address as two arguments, not as a tuple: {function}({port}, {host})."
        hint(error, text)

"""What to do about likely mistakes, in notes on errors.

Tracebacks show them below Node's texts, which stay as they are. What is no error, and still hardly
meant, is a RuntimeWarning at the caller's line, which `place_of_call` finds.
"""

from __future__ import annotations

import os
import sys

from .notation import notation

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
# What sun_path holds, without the zero at its end.
_LONGEST_PATH = 107 if sys.platform == "linux" else 103
_PORTS_OF_ROOT = 1024
_WINDOWS = sys.platform == "win32"


def hint(error: BaseException, text: str) -> None:
    """Give an error a note, once."""
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


def explain(error: OSError, port: int | None) -> None:
    """Give a failed system call the note that says what to do, if there is one.

    port is None with a path; an error has none either where it was 0.
    """
    code, call = getattr(error, "code", None), getattr(error, "syscall", None)
    address = getattr(error, "address", None)
    if address is None or call not in ("bind", "connect", "listen"):
        return
    if port is not None:
        text = None if call == "connect" else _about_port(code, port)
    else:
        text = _about_path(code, call, os.fsencode(address))
    if text is not None:
        hint(error, text)


def _about_port(code: str | None, port: int) -> str | None:
    if code == "EADDRINUSE":
        if port == 0:
            return "All ports that the system gives away by itself are taken."
        return (
            "Another socket has this address: end its program, or take another port; 0 is a free "
            "one."
        )
    # On Windows low ports are for everybody.
    if code == "EACCES" and 0 < port < _PORTS_OF_ROOT and not _WINDOWS:
        return (
            f"Ports below {_PORTS_OF_ROOT} are for the administrator: take a higher one, 8080 say."
        )
    return None


def _about_path(code: str | None, call: str, path: bytes) -> str | None:
    # A pipe of Windows has neither a file nor a folder.
    if _WINDOWS:
        return None
    is_file = path[:1] != b"\0"
    if code == "EINVAL" and is_file and len(path) > _LONGEST_PATH:
        return (
            f"The path of a unix socket has at most {_LONGEST_PATH} bytes here, and this one "
            f"has {len(path)}: take a shorter one, or one relative to the current folder."
        )
    if call == "connect":
        return None
    if code == "EADDRINUSE":
        return (
            "Another server listens there, or one that was killed has left its file: remove "
            "that if nobody can connect to it."
        )
    if code == "EACCES" and is_file:
        folder = os.path.dirname(path) or b"."
        shown = os.fsdecode(folder)
        if not os.path.isdir(folder):
            return f"There is no folder {shown!r}."
        return f"This user may not make a file in the folder {shown!r}."
    return None


def place_of_call() -> tuple[str, int]:
    """The file and line of the code that called into this package."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def hint_tuple(error: BaseException, function: str, value: object) -> None:
    """Give the error for an address in one tuple, as the socket module has it, a note."""
    if isinstance(value, (tuple, list)) and len(value) == 2:
        host, port = map(notation, value)
        hint(error, f"An address is not a tuple here: {function}({port}, {host}).")

"""The pid file of a primary, in a folder where others may write too.

Whatever can be planted there may be there: links and folders under every name that can be
predicted, a named pipe in the file's place. So the file is made under a name that must be new, is
renamed into its place when it is whole, and is looked at only if it is a regular file. The folder
is opened once, and everything happens in it, wherever its path leads to meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat


def _flags(*names: str) -> int:
    return sum(getattr(os, name, 0) for name in names)


_NEW = _flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC")
# A named pipe is opened without waiting for its writer.
_READ = _flags("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC")
_FOLDER = _flags("O_PATH", "O_DIRECTORY", "O_CLOEXEC")
# How many names are tried, of which none can be guessed.
_ATTEMPTS = 10


def write(file: str) -> None:
    """Write the number of this process, in place of what is there.

    Raises: OSError; nothing has changed then, and nothing is left behind.
    """
    folder, name = os.path.split(file)
    at = os.open(folder, _FOLDER)
    try:
        new, fd = _create(name, at)
        try:
            try:
                os.write(fd, _content())
            finally:
                os.close(fd)
            os.replace(new, name, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=at)
            raise
    finally:
        os.close(at)


def _create(name: str, at: int) -> tuple[str, int]:
    """Make a file next to the one that it is to become; returns its name and descriptor."""
    left = _ATTEMPTS
    while True:
        new = f".{name[:100]}.{secrets.token_hex(8)}"
        try:
            return new, os.open(new, _NEW, 0o666, dir_fd=at)
        except FileExistsError:
            left -= 1
            if not left:
                raise


def remove(file: str) -> None:
    """Remove the file, unless it is gone, or another primary's by now."""
    folder, name = os.path.split(file)
    try:
        at = os.open(folder, _FOLDER)
    except OSError:
        return
    try:
        if _is_ours(name, at):
            os.unlink(name, dir_fd=at)
    except OSError:
        pass  # It is gone, or no file that could be ours.
    finally:
        os.close(at)


def _is_ours(name: str, at: int) -> bool:
    fd = os.open(name, _READ, dir_fd=at)
    try:
        ours = _content()
        return stat.S_ISREG(os.fstat(fd).st_mode) and os.read(fd, len(ours) + 1) == ours
    finally:
        os.close(fd)


def _content() -> bytes:
    return b"%d\n" % os.getpid()

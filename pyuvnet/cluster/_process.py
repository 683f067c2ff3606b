"""A process that this one has started: what it runs, how it is started, and how it has ended."""

from __future__ import annotations

import os
import signal as signals
import subprocess

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._base.hints import hint
from .._core.names import add_node_names
from .._core.process import watch_descriptor
from ..errors import ArgTypeError, StateError
from ..socket import Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ._channel import Channel

# Options of the interpreter that are followed by a word.
_WITH_WORD = ("-W", "-X", "--check-hash-based-pycs")


def split_command(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Split the words behind an interpreter: its options, the program, the program's arguments.

    The program is a path, or `-m` or `-c` and what follows; empty if there is none.
    """
    at = 0
    while at < len(words):
        word = words[at]
        if word in _WITH_WORD:
            at += 2
        elif word[:2] == "--" and len(word) > 2:
            at += 1
        elif word[:1] == "-" and len(word) > 1:
            # Several short options may be one word; -c and -m end them.
            letters = word[1:]
            ends = [letters.index(each) for each in "cmWX" if each in letters]
            first = min(ends, default=-1)
            if first < 0:
                at += 1
            elif letters[first] in "WX":
                at += 1 if first + 1 < len(letters) else 2
            else:
                count = 1 if first + 1 < len(letters) else 2
                options = list(words[:at])
                if first:
                    options.append("-" + letters[:first])
                    program = ["-" + letters[first:], *words[at + 1 : at + count]]
                else:
                    program = list(words[at : at + count])
                return options, program, list(words[at + count :])
        else:
            return list(words[:at]), [word], list(words[at + 1 :])
    return list(words), [], []


def signal_number(signal: Any) -> int:
    """The number of a signal by name or number. Raises: ArgTypeError (ERR_UNKNOWN_SIGNAL, ...)."""
    if isinstance(signal, str):
        try:
            return int(signals.Signals[signal.upper()])
        except KeyError:
            pass
    elif isinstance(signal, int) and not isinstance(signal, bool):
        if signal == 0 or signal in {int(each) for each in signals.Signals}:
            return int(signal)
    else:
        raise check.arg_type_error("signal", ["string", "number"], signal)
    raise ArgTypeError(f"Unknown signal: {signal}", "ERR_UNKNOWN_SIGNAL")


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"SIG{number}"


class WorkerProcess:
    """The process of a worker; in the worker, its own.

    Attributes:
        pid: int.
        returncode: int, the exit code, or minus the number of the signal that ended it; None while
            it lives.
        exit_code: int, the exit code; None while it lives, and if a signal ended it.
        signal_code: str, the name of the signal that ended it, such as 'SIGKILL'; else None.
        connected: bool, whether the channel between primary and worker is open.
        stdin, stdout, stderr: Socket, where `silent` or `stdio` made a pipe; else None.

    Node: ChildProcess
    """

    pid: int
    returncode: int | None
    stdin: Socket | None
    stdout: Socket | None
    stderr: Socket | None

    _channel: Channel | None = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode = self.stdin = self.stdout = self.stderr = None

    def kill(self, signal: str | int = "SIGTERM") -> bool:
        """Send a signal, by name or number, default 'SIGTERM'; 0 only checks that it exists.

        Returns: bool, False if the process has ended.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_SIGNAL).

        Node: subprocess.kill()
        """
        number = signal_number(signal)
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    @property
    def exit_code(self) -> int | None:
        """The exit code. Node: subprocess.exitCode"""
        code = self.returncode
        return None if code is None or code < 0 else code

    @property
    def signal_code(self) -> str | None:
        """The name of the signal that ended it. Node: subprocess.signalCode"""
        code = self.returncode
        return None if code is None or code >= 0 else _signal_name(-code)

    @property
    def connected(self) -> bool:
        """Whether the channel is open. Node: subprocess.connected"""
        return self._channel is not None and self._channel.open

    def disconnect(self) -> None:
        """Close the channel at once; a worker whose channel is closed exits.

        worker.disconnect() lets it close its servers first.

        Events: 'disconnect' of the Worker.
        Raises: StateError (ERR_IPC_DISCONNECTED) if it is closed.

        Node: subprocess.disconnect()
        """
        if self._channel is None or not self._channel.open:
            raise StateError("IPC channel is already disconnected", "ERR_IPC_DISCONNECTED")
        self._channel.disconnect()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} pid={self.pid} returncode={self.returncode}>"


class StartedProcess(WorkerProcess):
    """A process that this one started.

    Args:
        argv, options: as subprocess.Popen() takes them.
        on_exit: called once with the exit code, or None, and the name of the signal, or None.
    """

    def __init__(
        self,
        argv: Sequence[str],
        options: Mapping[str, Any],
        on_exit: Callable[[int | None, str | None], object],
    ) -> None:
        self._on_exit = on_exit
        self._process = started = subprocess.Popen(argv, **options)
        super().__init__(started.pid)
        try:
            for name in ("stdin", "stdout", "stderr"):
                pipe = getattr(started, name)
                if pipe is not None:
                    setattr(self, name, _stream(pipe, name == "stdin"))
            self._watch()
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """End a process that cannot be used: there is no callback when it ends."""
        self._on_exit = lambda code, signal: None
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.destroy()

    def kill(self, signal: str | int = "SIGTERM") -> bool:
        """Send a signal; see WorkerProcess."""
        number = signal_number(signal)
        if self._process.poll() is not None:
            return False
        self._process.send_signal(number)
        return True

    def _watch(self) -> None:
        """Call back when it has ended; until then the loop is alive."""
        try:
            fd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._watch_by_thread()
            return
        try:
            watch_descriptor(fd, self._ended)
        except BaseException:
            os.close(fd)
            raise

    def _watch_by_thread(self) -> None:
        import threading

        here, there = os.pipe()
        ending = Socket(fd=here, writable=False)
        ending.on("close", lambda had_error: self._ended())
        ending.resume()

        def wait() -> None:
            try:
                self._process.wait()
            finally:
                os.close(there)

        threading.Thread(target=wait, daemon=True, name=f"pyuvnet waits for {self.pid}").start()

    def end_streams(self) -> None:
        """After 'exit': close the pipes that the program does not use, as Node does."""
        if self.stdin is not None:
            self.stdin.destroy()
        for stream in (self.stdout, self.stderr):
            # Who reads it gets the rest, and the end.
            if stream is None or stream.readable_flowing is not None or stream._owned:
                continue
            if not stream.listener_count("readable"):
                stream.resume()

    def _ended(self) -> None:
        status = self._process.wait()
        self.returncode = status
        self._on_exit(self.exit_code, self.signal_code)


def _stream(pipe: Any, writes: bool) -> Socket:
    """A socket in place of one of Popen's files."""
    fd = os.dup(pipe.fileno())
    try:
        stream = Socket(fd=fd, readable=not writes, writable=writes)
    except BaseException:
        os.close(fd)
        raise
    pipe.close()
    return stream


def not_in_a_worker(what: str) -> StateError:
    """The error of a function of the primary in a worker."""
    error = StateError(f"{what} can only be called in the primary", "ERR_INVALID_STATE")
    hint(
        error,
        "Workers run the same program as the primary: put what only the primary does below "
        "`if cluster.is_primary:`.",
    )
    return error


add_node_names(WorkerProcess)

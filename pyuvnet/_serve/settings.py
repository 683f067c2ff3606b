"""What serve() is given, checked; and how many cores there are."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from .._base import TYPE_CHECKING
from ..errors import ArgTypeError, ArgValueError
from ..server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

DEFAULT_BIND = "127.0.0.1:8124"
POLICIES = ("rr", "shared", "reuse-port")
LEVELS = ("critical", "error", "warning", "info", "debug")
_MOST_WORKERS = 1024
_MOST_MS = 2**31 - 1
# Where the control groups (version 2) are, and which of them this process is in.
_CGROUPS = "/sys/fs/cgroup"
_OWN_CGROUP = "/proc/self/cgroup"


def wrong(text: str) -> ArgValueError:
    """The error of a value that cannot be."""
    return ArgValueError(text, "ERR_INVALID_ARG_VALUE")


def _wrong_type(name: str, kinds: str, value: object) -> ArgTypeError:
    return ArgTypeError(
        f"{name} must be {kinds}, not {type(value).__name__}", "ERR_INVALID_ARG_TYPE"
    )


class Bind:
    """Where to listen: exactly one of path, fd and port.

    Attributes:
        text: str, as it was written.
        host: str, with port; empty for all addresses.
        tls: bool, whether it begins with `tls:`.
    """

    path: str | None = None
    fd: int | None = None
    host: str = ""
    port: int = 0

    def __init__(self, text: str) -> None:
        self.text = text
        self.tls = text.startswith("tls:")
        if self.tls:
            text = text[4:]
        if text.startswith("unix:"):
            self.path = text[5:]
            if not self.path or "\0" in self.path:
                raise wrong(f"{text!r} has no path: use unix:PATH")
        elif text.startswith("fd:"):
            if not _is_number(text[3:]):
                raise wrong(f"{text!r} has no descriptor number: use fd:N")
            self.fd = int(text[3:])
        elif os.sep in text and "://" not in text:
            raise wrong(f"{text!r} is a path: use unix:{text}")
        else:
            self.host, self.port = host_and_port(text)

    def __repr__(self) -> str:
        return f"<Bind {self.text}>"


def host_and_port(text: str) -> tuple[str, int]:
    """Split 'HOST:PORT'; brackets around an IPv6 address are taken off."""
    host, colon, port = text.rpartition(":")
    if host[:1] == "[" and host[-1:] == "]":
        host = host[1:-1]
    elif "://" in text:
        raise wrong(f"{text!r} is a URL: use HOST:PORT, and --tls-cert for TLS")
    elif ":" in host:
        raise wrong(f"{text!r} is ambiguous: use [ADDRESS]:PORT for an IPv6 address")
    if not colon or not _is_number(port) or int(port) > 65535 or "\0" in host:
        better = ""
        if _is_number(text) and int(text) <= 65535:
            better = f": use 127.0.0.1:{text}, or :{text} for all addresses"
        raise wrong(f"{text!r} is not HOST:PORT with a port from 0 to 65535{better}")
    return host, int(port)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def cores() -> int:
    """How many cores this process may use, by its affinity and the quotas of its control groups."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    for quota in _quotas():
        # A part of a core is one more, which it shares.
        count = min(count, math.ceil(quota))
    return max(count, 1)


def _quotas() -> Iterator[float]:
    """How many cores each control group around this process may use, of those with a quota.

    In a container the outermost one is usually all that it sees; a service of systemd is in one of
    several levels.
    """
    try:
        lines = Path(_OWN_CGROUP).read_text("utf-8").splitlines()
    except OSError:
        lines = []
    inside = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    own = Path(_CGROUPS, inside)
    for folder in (own, *own.parents):
        try:
            quota, period = (folder / "cpu.max").read_text("ascii").split()
            yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            pass  # No quota, or another kind of system.
        if folder == Path(_CGROUPS):
            break


def has_gil() -> bool:
    """Whether one thread at a time runs Python."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class Settings:
    """What serve() is given, checked; `app` as it is.

    Attributes: as the arguments of serve(), with durations in ms; `bind` is a list of Bind, or None
    if none is given.
    """

    def __init__(
        self,
        *,
        app: str | Callable[..., Any] | Server,
        bind: str | Iterable[str] | None = None,
        workers: int | str = 1,
        threads: int | str = 1,
        policy: str | None = None,
        reload: bool = False,
        timeout_graceful: float = 30_000,
        timeout_start: float | None = 60_000,
        heartbeat: float | None = 5000,
        timeout_hung: float | None = 60_000,
        max_lifetime: float | None = None,
        pid_file: str | os.PathLike[str] | None = None,
        log_level: str = "info",
        metrics: str | None = None,
        tls_cert: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        guarded: bool = True,
        contain_exceptions: bool = True,
    ) -> None:
        self.app = _app(app)
        self.bind = None if bind is None else _binds(bind)
        self.workers = _count("workers", workers, cores)
        self.threads = _count("threads", threads, self._threads_by_itself)
        self.policy = _one_of("policy", policy, POLICIES, _default_policy())
        if self.policy == "reuse-port" and sys.platform != "linux":
            raise wrong("policy 'reuse-port' requires Linux; use 'rr' or 'shared'")
        self.reload = _bool("reload", reload)
        self.timeout_graceful = int(_duration("timeout_graceful", timeout_graceful, 0))
        self.timeout_start = _limit("timeout_start", timeout_start)
        self.heartbeat = _limit("heartbeat", heartbeat)
        # Who develops a program may hold it in a debugger.
        hung = _limit("timeout_hung", timeout_hung)
        self.timeout_hung = None if self.reload else hung
        self.max_lifetime = (
            None if max_lifetime is None else _duration("max_lifetime", max_lifetime, 1)
        )
        self.pid_file = _path("pid_file", pid_file)
        self.log_level = _one_of("log_level", log_level, LEVELS, "info")
        if metrics is not None and not isinstance(metrics, str):
            raise _wrong_type("metrics", "str", metrics)
        self.metrics = None if metrics is None else host_and_port(metrics)
        self.tls_cert, self.tls_key = _path("tls_cert", tls_cert), _path("tls_key", tls_key)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise wrong("tls_cert and tls_key must be given together")
        secure = [each.text for each in self.bind or () if each.tls]
        if secure and self.tls_cert is None:
            raise wrong(f"bind {secure[0]!r} needs tls_cert and tls_key")
        # Whether only the binds that say so have TLS, or all of them.
        self.tls_by_bind = bool(secure)
        self.guarded = _bool("guarded", guarded)
        self.contain_exceptions = _bool("contain_exceptions", contain_exceptions)

    def _threads_by_itself(self) -> int:
        return 1 if has_gil() else max(cores() // self.workers, 1)


def _app(app: str | Callable[..., Any] | Server) -> str | Callable[..., Any] | Server:
    if isinstance(app, str):
        module, colon, name = app.partition(":")
        words = [*module.split("."), *name.split(".")]
        if not colon or not all(word.isidentifier() for word in words):
            raise wrong(
                f"{app!r} is not MODULE:NAME, such as app:main, with MODULE as in an import"
            )
    elif not callable(app) and not isinstance(app, Server):
        raise _wrong_type("app", "'MODULE:NAME', a callable or a Server", app)
    return app


def _binds(given: str | Iterable[str]) -> list[Bind]:
    if isinstance(given, (bytes, int)) or not hasattr(type(given), "__iter__"):
        raise _wrong_type("bind", "str, or several", given)
    found: list[Bind] = []
    for text in [given] if isinstance(given, str) else given:
        if not isinstance(text, str):
            raise _wrong_type("bind", "str, or several", text)
        if any(text == each.text for each in found):
            raise wrong(f"bind has {text!r} twice")
        found.append(Bind(text))
    if not found:
        raise wrong("bind must have at least one address")
    return found


def _count(name: str, value: int | str, auto: Callable[[], int]) -> int:
    if value == "auto":
        return auto()
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "int or 'auto'", value)
    if not 1 <= value <= _MOST_WORKERS:
        raise wrong(f"{name} must be >= 1 and <= {_MOST_WORKERS}, not {value}")
    return value


def _default_policy() -> str:
    return "reuse-port" if sys.platform == "linux" else "rr"


def _one_of(name: str, value: str | None, choices: tuple[str, ...], default: str) -> str:
    if value is None:
        return default
    if value not in choices:
        raise wrong(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _duration(name: str, value: float, least: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong_type(name, "int or float", value)
    if not least <= value <= _MOST_MS:
        raise wrong(f"{name} must be >= {least} and <= {_MOST_MS} ms, not {value}")
    return value


def _limit(name: str, value: float | None) -> float | None:
    """Check a duration of which None and 0 say that there is none."""
    return None if value is None else _duration(name, value, 0) or None


def _bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(name, "bool", value)
    return value


def _path(name: str, value: str | os.PathLike[str] | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise _wrong_type(name, "str or os.PathLike", value)
    # A worker, or a new primary, may have another working directory.
    return os.path.abspath(os.fspath(value))

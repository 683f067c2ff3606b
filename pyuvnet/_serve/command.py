"""The command `serve`: its options, and their defaults out of pyproject.toml."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError, BooleanOptionalAction
from pathlib import Path

from .. import cluster
from .._base import TYPE_CHECKING
from .._commands.arguments import fail
from ..errors import Error
from .settings import DEFAULT_BIND, LEVELS, POLICIES, Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any

_FILE = "pyproject.toml"
# In seconds on the command line and in the table, as people write them; the least of each.
_SECONDS = {
    "timeout_graceful": 0,
    "timeout_start": 0,
    "heartbeat": 0,
    "timeout_hung": 0,
    "max_lifetime": 0.001,
}
_MOST_SECONDS = (2**31 - 1) // 1000
# What stands above the program in a traceback: this package, and what it imports and runs it with.
_ABOVE = (str(Path(__file__).parent.parent) + os.sep, "pyuvnet/_core/", "<frozen ")
_ABOVE_PACKAGES = ("asyncio", "importlib")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command. None is what was not given."""
    parser.description = (
        "Run a server in worker processes, and restart those that crash. SIGHUP replaces all of "
        "them without refusing a client; SIGTERM lets them finish their connections and stops. "
        "The table [tool.pyuvnet.serve] of pyproject.toml has defaults."
    )
    parser.set_defaults(parser=parser)
    parser.add_argument(
        "app",
        nargs="?",
        metavar="MODULE:NAME",
        help="what serves: a function, a listener of 'connection', or a Server",
    )
    add = parser.add_argument
    add(
        "--bind",
        action="append",
        metavar="PLACE",
        help="HOST:PORT, unix:PATH or fd:N, also behind tls:; "
        f"repeatable (default: {DEFAULT_BIND}, or what the service manager hands over)",
    )
    add("--workers", type=_count, metavar="N|auto", help="worker processes (default: 1)")
    add(
        "--threads",
        type=_count,
        metavar="N|auto",
        help="threads in each, without a GIL (default: 1)",
    )
    add(
        "--policy",
        choices=POLICIES,
        help="who gets a connection (default: reuse-port on Linux, else rr)",
    )
    add(
        "--reload",
        action="store_true",
        default=None,
        help="for development: replace the workers when a file changes",
    )
    add(
        "--timeout-graceful",
        type=float,
        metavar="SECONDS",
        help="how long a stopping worker may take to finish its connections (default: 30)",
    )
    add(
        "--timeout-start",
        type=float,
        metavar="SECONDS",
        help="how long a worker may take until it is ready, before it is killed; 0: no limit "
        "(default: 60)",
    )
    add(
        "--heartbeat",
        type=float,
        metavar="SECONDS",
        help="how often a worker has to show that its loop runs; 0: never (default: 5)",
    )
    add(
        "--timeout-hung",
        type=float,
        metavar="SECONDS",
        help="after which a worker whose loop does not run is replaced; 0: never (default: 60)",
    )
    add(
        "--max-lifetime",
        type=float,
        metavar="SECONDS",
        help="age at which a worker is replaced, plus or minus a tenth (default: never)",
    )
    add("--pid-file", metavar="PATH", help="write the process id of the primary here")
    add("--log-level", choices=LEVELS, help="level of the log on stderr (default: info)")
    add("--metrics", metavar="HOST:PORT", help="serve the metrics of all workers here")
    add("--tls-cert", metavar="PATH", help="PEM file with the certificate and its chain")
    add("--tls-key", metavar="PATH", help="PEM file with its key")
    add(
        "--guarded",
        action=BooleanOptionalAction,
        help="give the servers of a function the options net.GUARDED (default: yes)",
    )
    add(
        "--contain-exceptions",
        action=BooleanOptionalAction,
        help="let an exception of a listener end its connection only, and not the worker "
        "(default: yes)",
    )


def _count(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a whole number or 'auto'") from None


def table(folder: Path) -> dict[str, Any]:
    """The table [tool.pyuvnet.serve] of a project, with our names; empty without.

    Raises: ValueError if there is something wrong with it.
    """
    try:
        text = (folder / _FILE).read_text("utf-8")
    except OSError:
        return {}
    except UnicodeDecodeError as error:
        raise ValueError(f"{_FILE}: {error}") from None
    import tomllib

    try:
        found: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{_FILE}: {error}") from None
    for name in ("tool", "pyuvnet", "serve"):
        found = found.get(name, {})
        if not isinstance(found, dict):
            raise ValueError(f"[tool.pyuvnet.serve] must be a table, not {found!r}")
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def settings_of(given: Mapping[str, Any], folder: Path) -> Settings:
    """What the options, and for what they leave out the table, come to.

    Raises: ValueError, TypeError if something is wrong.
    """
    values = table(folder)
    unknown = sorted(values.keys() - given.keys())
    if unknown:
        raise ValueError(f"[tool.pyuvnet.serve] has unknown options: {', '.join(unknown)}")
    values.update((name, value) for name, value in given.items() if value is not None)
    for name, least in _SECONDS.items():
        value = values.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not least <= value <= _MOST_SECONDS:
                shown = name.replace("_", "-")
                raise ValueError(
                    f"{shown} must be seconds from {least} to {_MOST_SECONDS}, not {value:g}"
                )
            values[name] = value * 1000
    if values.get("app") is None:
        raise ValueError("MODULE:NAME is missing")
    return Settings(**values)


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from . import serve_settings

    folder = os.getcwd()
    if sys.path[:1] not in ([""], [folder]):
        # As `python -m` has it, also for the script `pyuvnet`.
        sys.path.insert(0, folder)
    given = {name: value for name, value in vars(options).items() if name not in _NOT_OURS}
    try:
        if cluster.is_worker:
            # What else the table has by now is for the next primary.
            given["app"] = given["app"] or table(Path(folder)).get("app")
            settings = Settings(app=given["app"])
        else:
            settings = settings_of(given, Path(folder))
    except (ValueError, TypeError) as error:
        options.parser.error(str(getattr(error, "message", error)))
    try:
        return serve_settings(settings, ends=True)
    except Exception as error:
        if cluster.is_worker:
            return _failed(error)
        if isinstance(error, (OSError, Error)):
            return fail("serve", error)
        raise


_NOT_OURS = ("parser",)


def _failed(error: Exception) -> int:
    """Show why a worker ends: a traceback that begins in the program; returns the exit code."""
    below = error.__traceback__
    while below is not None and _is_above(below):
        below = below.tb_next
    if below is None and isinstance(error, Error):
        # The program has done nothing; the message says what is wrong with what was given.
        return fail("serve", error)
    if below is not None or isinstance(error, SyntaxError):
        error = error.with_traceback(below)
    sys.excepthook(type(error), error, error.__traceback__)
    return 1


def _is_above(entry: TracebackType) -> bool:
    code = entry.tb_frame.f_code
    package = str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0]
    return code.co_filename.startswith(_ABOVE) or package in _ABOVE_PACKAGES

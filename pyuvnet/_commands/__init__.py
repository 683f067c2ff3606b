"""The commands of `python -m pyuvnet`, each a module that is imported only when it is used.

The module of a command has `add_arguments(parser)`, which also sets the parser's description, and
`main(options)`, which returns the exit code. A new command needs a module here, a function that
imports it, and a line in COMMANDS. What commands share is in arguments.py. `serve` lives next to
the primary that it starts.
"""

from __future__ import annotations

from .._base import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Protocol

    class Command(Protocol):
        """The module of a command."""

        def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
        def main(self, options: argparse.Namespace) -> int: ...


def _serve() -> Command:
    from .._serve import command

    return command


def _connect() -> Command:
    from . import connect

    return connect


def _echo() -> Command:
    from . import echo

    return echo


def _proxy() -> Command:
    from . import proxy

    return proxy


def _demo() -> Command:
    from . import demo

    return demo


def _bench() -> Command:
    from . import bench

    return bench


def _info() -> Command:
    from . import info

    return info


def _stubs() -> Command:
    from . import stubs

    return stubs


# For each command what --help says about it, and what imports its module.
COMMANDS: dict[str, tuple[str, Callable[[], Command]]] = {
    "serve": ("run your server in worker processes", _serve),
    "connect": ("connect to a server, and pass stdin and stdout through", _connect),
    "echo": ("send everything back to every client", _echo),
    "proxy": ("forward connections to another server, and count the bytes", _proxy),
    "demo": ("drive an echo server with 50 clients, and verify every byte", _demo),
    "bench": ("compare pyuvnet with what is installed, in a minute", _bench),
    "info": ("print versions and build flags", _info),
    "stubs": ("write stubs with Node's spellings for type checkers and editors", _stubs),
}

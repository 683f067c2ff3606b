"""The pyuvnet command; `python -m pyuvnet` is the same.

Each command is a module of its own, imported only when that command is used. It has
`add_arguments(parser)`, which also sets the parser's description, and `main(options)`, which
returns the exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from ._standard_streams import open_standard_streams
from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    class Command(Protocol):
        """The module of a command."""

        def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
        def main(self, options: argparse.Namespace) -> int: ...


def _connect() -> Command:
    from . import _command_connect

    return _command_connect


def _echo() -> Command:
    from . import _command_echo

    return _command_echo


def _proxy() -> Command:
    from . import _command_proxy

    return _command_proxy


def _demo() -> Command:
    from . import _demo

    return _demo


def _bench() -> Command:
    from . import _command_bench

    return _command_bench


def _serve() -> Command:
    from ._serve import command

    return command


def _info() -> Command:
    from . import _command_info

    return _command_info


def _stubs() -> Command:
    from . import _stubs

    return _stubs


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    serves = given[:1] == ["serve"]
    try:
        try:
            return _run(given)
        finally:
            # The interpreter would print what fails when it flushes stdout at its end.
            if sys.stdout is not None and not serves:
                sys.stdout.flush()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError as error:
        if serves or hasattr(error, "syscall"):
            # Of the program that is served, or of a socket.
            raise
        # Nobody reads stdout, as in `| head -1`; nor is there anybody to flush the rest to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _run(given: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="pyuvnet",
        description="Node.js's net module for Python: tools for TCP and unix sockets, and "
        "information about this installation.",
        epilog="'pyuvnet COMMAND --help' describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"pyuvnet {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    module = None
    for name, (text, load) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if given[:1] == [name]:
            module = load()
            module.add_arguments(command)
    options = parser.parse_args(given)
    if module is None:
        parser.print_help()
        return 0
    return module.main(options)


if __name__ == "__main__":
    sys.exit(main())

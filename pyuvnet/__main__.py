"""The pyuvnet command; `python -m pyuvnet` is the same. Each command is a module of `_commands`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from ._base.standard_streams import open_standard_streams
from ._base.version import __version__
from ._commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    serves = given[:1] == ["serve"]
    if serves and arguments is None:
        # This process is the primary's. Where a program calls main(), the signals are its own.
        from ._serve.signals import hold

        hold()
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

"""The pyuvnet command: echo server, demo, and what this build is. Same as `python -m pyuvnet`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="pyuvnet",
        description="Node.js's net module for Python: an echo server, a demo that checks itself, "
        "and facts about this installation.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    echo = commands.add_parser(
        "echo",
        help="send everything back to whoever connects, until Ctrl-C",
        description="Run an echo server until Ctrl-C. Try it with: nc 127.0.0.1 8124",
    )
    echo.add_argument("--host", default=None, help="address to listen on (default: every address)")
    echo.add_argument("--port", type=_port, default=8124, help="TCP port, 0 for a free one (8124)")
    echo.add_argument("--path", default=None, help="a unix socket or named pipe instead of TCP")
    echo.set_defaults(action=_echo)

    demo = commands.add_parser(
        "demo",
        help="drive an echo server with 50 clients and verify every byte",
        description="Start an echo server on a free port, drive it with clients of our own for "
        "some seconds, verify every byte, and print the rates.",
    )
    demo.add_argument("--clients", type=_positive, default=50, help="connections (50)")
    demo.add_argument("--seconds", type=_seconds, default=3.0, help="how long (3)")
    demo.add_argument("--size", type=_positive, default=1024, help="bytes in a message (1024)")
    demo.set_defaults(action=_demo)

    info = commands.add_parser(
        "info",
        help="print versions and build flags",
        description="Print the versions of pyuvnet, Python and libuv, and how this was built.",
    )
    info.set_defaults(action=_info)

    stubs = commands.add_parser(
        "stubs",
        help="write stubs with Node's spellings for type checkers and editors",
        description="Write stubs that know each name in Node's spelling too. pyright takes them "
        "from the folder typings by itself, mypy with mypy_path = 'typings'.",
    )
    stubs.add_argument(
        "folder", nargs="?", default="typings", help="where the folder pyuvnet goes (typings)"
    )
    stubs.set_defaults(action=_stubs)

    options = parser.parse_args(arguments)
    try:
        code: int = options.action(options)
    except KeyboardInterrupt:
        # Ctrl-C is how an echo server ends; for the others it is the user's wish too.
        print()
        code = 0 if options.command == "echo" else 130
    return code


def _port(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to 3600")
    return seconds


def _echo(options: argparse.Namespace) -> int:
    from . import net, run, stop
    from .socket import Socket

    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        stop()

    def connected(socket: Socket) -> None:
        socket.on("data", socket.write)
        # A peer that resets its connection is its own affair.
        socket.on("error", lambda error: None)

    def listening() -> None:
        where = server.address()
        if isinstance(where, dict):
            host = f"[{where['address']}]" if where["family"] == "IPv6" else where["address"]
            where = f"{host}:{where['port']}"
        print(f"echo server listening on {where}; Ctrl-C ends it", flush=True)

    server = net.create_server(connected)
    server.on("error", failed)
    if options.path is not None:
        server.listen(path=options.path, callback=listening)
    else:
        server.listen(port=options.port, host=options.host, callback=listening)
    try:
        run()
    finally:
        server.close()
    if failures:
        print(f"pyuvnet echo: {getattr(failures[0], 'message', failures[0])}", file=sys.stderr)
        return 1
    return 0


def _demo(options: argparse.Namespace) -> int:
    from ._demo import Demo

    return Demo(options.clients, options.seconds, options.size).run()


def _stubs(options: argparse.Namespace) -> int:
    from pathlib import Path

    from ._stubs import write_stubs

    folder = Path(options.folder)
    try:
        count = write_stubs(folder)
    except OSError as error:
        print(f"pyuvnet: {error}", file=sys.stderr)
        return 1
    print(count, "stubs written to", (folder / "pyuvnet").as_posix())
    return 0


def _info(options: argparse.Namespace) -> int:
    from ._core import info as core
    from ._version import __version__

    print(f"pyuvnet  {__version__}")
    print(f"Python   {sys.version.split()[0]} ({sys.implementation.name}, {sys.platform})")
    print(f"libuv    {core.libuv_version()}")
    print(f"build    {core.build_flags()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

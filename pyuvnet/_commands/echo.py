"""pyuvnet echo: a server that sends everything back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import net, run, stop
from .arguments import LOCAL, fail, port_number, shown, some_path

if TYPE_CHECKING:
    import argparse

    from ..socket import Socket


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Run an echo server until Ctrl-C. It listens on 127.0.0.1 unless --host names another "
        "address, so that only programs on this machine can connect. Try it with: "
        "pyuvnet connect 127.0.0.1 8124"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--host",
        default=LOCAL,
        help=f"address to listen on (default: {LOCAL}); :: for all addresses",
    )
    where.add_argument(
        "--path", type=some_path, help="listen on a unix socket or named pipe instead"
    )
    parser.add_argument(
        "--port", type=port_number, default=8124, help="0 picks a free port (default: 8124)"
    )


def main(options: argparse.Namespace) -> int:
    """Run it."""
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        stop()

    def connected(socket: Socket) -> None:
        socket.pipe(socket)
        # A client that resets its connection does not end the server.
        socket.on("error", lambda error: None)

    def listening() -> None:
        print(f"echo server listening on {shown(server.address())}; Ctrl-C ends it", flush=True)

    server = net.create_server(connected)
    server.on("error", failed)
    if options.path is not None:
        server.listen(path=options.path, callback=listening)
    else:
        server.listen(port=options.port, host=options.host, callback=listening)
    try:
        run()
    except KeyboardInterrupt:
        print()
    finally:
        server.close()
    return fail("echo", failures[0]) if failures else 0

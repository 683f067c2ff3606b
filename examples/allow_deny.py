"""A server with access control by address.

Shows two uses of BlockList. As the server's block_list, it denies: a matching peer is dropped
before any of our code runs. As an allow list, the connection listener consults it and can send a
reason. Rules are networks or addresses of either family; an IPv4 peer of an IPv6 server is matched
as IPv4.

    python examples/allow_deny.py --allow 127.0.0.0/8 ::1 --deny 127.0.0.2
    nc -s 127.0.0.2 127.0.0.1 8124
"""

from __future__ import annotations

import argparse
import sys

from pyuvnet import Error, Socket, net, run, set_timeout

GOODBYE = 3000  # ms that a client has to read the reply and disconnect


def block_list(rules: list[str]) -> net.BlockList:
    """Make a list of addresses and networks: 10.1.2.3, 10.0.0.0/8, ::1, fc00::/7."""
    made = net.BlockList()
    for rule in rules:
        if "/" in rule:
            made.add_cidr(rule)
        else:
            made.add_address(rule, f"ipv{net.is_ip(rule) or 4}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Greet clients that are allowed.")
    parser.add_argument("--host", default=None, help="address to listen on (all addresses)")
    parser.add_argument("--port", type=int, default=8124, help="TCP port, 0 for a free one (8124)")
    parser.add_argument("--allow", nargs="*", default=[], metavar="RULE", help="accept only these")
    parser.add_argument("--deny", nargs="*", default=[], metavar="RULE", help="drop these")
    options = parser.parse_args()
    try:
        allowed, denied = block_list(options.allow), block_list(options.deny)
    except Error as error:
        parser.error(f"a rule is not an address or network: {error}")

    def connected(socket: Socket) -> None:
        peer = socket.remote_address
        if peer is None:
            socket.destroy()  # it has disconnected already
            return
        socket.on("error", lambda error: print(f"{peer}: {error}", flush=True))
        if allowed.size and not allowed.check(peer, socket.remote_family):
            print(f"{peer} is not on the list", flush=True)
            socket.end("you are not on the list\n")
        else:
            print(f"{peer} connected", flush=True)
            socket.end("welcome\n")
        # Discard what it sends: without reading, we would not notice when it ends its side.
        socket.resume()
        # It may never do so.
        set_timeout(socket.destroy, GOODBYE).unref()

    server = net.create_server(connected, block_list=denied)
    server.on("error", lambda error: sys.exit(f"allow_deny: {error}"))

    @server.on("listening")
    def listening() -> None:
        print(f"listening on {server.address().address}:{server.address().port}", flush=True)

    server.shutdown_on("SIGINT", "SIGTERM", timeout=2_000)
    server.listen(options.port, options.host)
    run()


if __name__ == "__main__":
    main()

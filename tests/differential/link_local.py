"""Addresses with zones: what pyuvnet says of them, as JSON. The twin of link_local.js."""

from __future__ import annotations

import json
import sys
from typing import Any

from pyuvnet import net, run

told: dict[str, Any] = {}


def named(address: Any) -> list[Any]:
    return [address["address"], address["family"]]


def connection(
    name: str, listening: str, host: Any = None, local_address: Any = None, blocked: Any = ()
) -> None:
    seen: dict[str, Any] = {}
    told[name] = seen
    block_list = net.BlockList()
    for address in blocked:
        block_list.add_address(address, "ipv6")

    def accepted(socket: net.Socket) -> None:
        seen["accepted"] = [socket.remote_address, socket.remote_family, socket.local_address]
        seen["acceptedAddress"] = named(socket.address())
        socket.on("close", lambda had_error: seen.update(kept=socket.remote_address))
        socket.end()

    def listens() -> None:
        def connected() -> None:
            seen["connected"] = [socket.remote_address, socket.remote_family, socket.local_address]
            seen["connectedAddress"] = named(socket.address())

        seen["address"] = named(server.address())
        socket = net.create_connection(
            {
                "port": server.address()["port"],
                "host": host,
                "local_address": local_address,
                "block_list": block_list,
            },
            connected,
        )
        socket.on(
            "lookup",
            lambda error, address=None, family=None, host=None: seen.update(
                lookup=[address, family]
            ),
        )
        socket.on(
            "connectionAttempt",
            lambda address, port, family: seen.update(attempt=[address, family]),
        )
        socket.on("error", lambda e: seen.update(error=[e.code, getattr(e, "address", None)]))
        socket.on("close", lambda had_error: server.close())
        socket.resume()

    server = net.create_server(accepted)
    server.on("error", lambda error: seen.update(listening=error.code))
    server.listen({"port": 0, "host": listening}, listens)
    run()


def main(first: str, second: str) -> None:
    connection("here", f"fe80::1%{first}", f"fe80::1%{first}")
    connection("any", "::", f"fe80::2%{second}")
    connection("bound", "::", f"fe80::1%{first}", f"fe80::1%{first}")
    connection("loopback", "::1", "::1%lo")
    connection("no zone", "::", "fe80::1")
    connection("no such zone", "::", "fe80::1%nowhere")
    connection("blocked", "::", f"fe80::1%{first}", blocked=["fe80::1"])
    connection("listening without zone", "fe80::1")
    connection("listening elsewhere", f"fe80::1%{second}")
    listed, zoned = net.BlockList(), net.BlockList()
    listed.add_address("fe80::1", "ipv6")
    zoned.add_address(f"fe80::9%{first}", "ipv6")
    told["checks"] = [
        listed.check(address, "ipv6")
        for address in (f"fe80::1%{first}", f"fe80::1%{second}", "fe80::1", f"fe80::2%{first}")
    ]
    told["zonedRule"] = [list(zoned.rules), zoned.check("fe80::9", "ipv6")]
    made = net.SocketAddress(address=f"fe80::1%{first}", family="ipv6")
    told["socketAddress"] = [made.address, listed.check(made)]
    told["parsed"] = net.SocketAddress.parse(f"[fe80::1%{first}]:80") is None
    told["isIP"] = [
        net.is_ip(text) for text in (f"fe80::1%{first}", "fe80::1%", "fe80::1%1", "fe80::1%a_b")
    ]
    print(json.dumps(told))


main(*sys.argv[1:])

"""Makes calls (JSON on stdin, see test_arguments.py) with net; prints what came of each as JSON.

The twin of arguments.js.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pyuvnet
from pyuvnet import net

SPECIAL = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "undefined": None,
    "callback": lambda *args: None,
}


def decode(value: Any) -> Any:
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, dict):
        if "$" in value:
            return SPECIAL[value["$"]]
        return {key: decode(item) for key, item in value.items()}
    return value


def shown(error: Any) -> list[Any]:
    return [error.name, error.code, error.message]


def place(address: Any) -> Any:
    return [address["address"], address["family"]] if isinstance(address, dict) else address


def listen(args: list[Any]) -> list[Any]:
    server = net.create_server()
    seen: list[Any] = []

    def listening() -> None:
        seen.append(["listening", server._connectionKey, place(server.address())])
        server.close()

    server.on("listening", listening)
    server.on("error", lambda error: seen.append(["error", *shown(error), error.syscall]))
    try:
        seen.append(server.listen(*args) is server)
    except pyuvnet.Error as error:
        seen.append(["raised", *shown(error)])
    pyuvnet.run()
    return seen


def bound(args: list[Any]) -> list[Any]:
    try:
        made = net.BoundSocket(*args)
    except (pyuvnet.Error, OSError) as error:
        return ["raised", *shown(error)]
    address = made.address()
    made.close()
    return [made.isPipe, place(address)]


def server(args: list[Any]) -> list[Any]:
    try:
        made = net.createServer(*args)
    except pyuvnet.Error as error:
        return ["raised", *shown(error)]
    return [
        made.highWaterMark,
        made.keepAliveInitialDelay,
        made.noDelay,
        made.keepAlive,
        made.allowHalfOpen,
        made.pauseOnConnect,
    ]


WHAT = {"listen": listen, "bound": bound, "server": server}

if __name__ == "__main__":
    results = [WHAT[what](decode(args)) for what, args in json.load(sys.stdin)]
    sys.stdout.write(json.dumps(results))

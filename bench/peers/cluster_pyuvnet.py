"""Peer of `bench cluster`: pyuvnet, in one process or in a cluster.

python cluster_pyuvnet.py MODE POLICY WORKERS     MODE: echo, or who, which replies with the number
                                                  of the process to `w`, and blocks it after `b`;
                                                  POLICY: one, rr, none, reuse-port

A worker that dies is replaced. Prints the port once all workers listen.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from pyuvnet import Server, Socket, cluster, net, run

BACKLOG = 4096
BLOCKED = 2.5  # s

mode, policy, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


def echo(socket: Socket) -> None:
    socket.on("error", lambda error: None)
    socket.on("data", lambda data: socket.write(data))


def who(socket: Socket) -> None:
    def data(chunk: bytes) -> None:
        socket.end(f"{os.getpid()}\n")
        if chunk[:1] == b"b":
            socket.once("finish", lambda: time.sleep(BLOCKED))

    socket.on("error", lambda error: None)
    socket.on("data", data)


def serve() -> Server:
    server = net.create_server({"no_delay": True}, who if mode == "who" else echo)
    return server.listen(0, "127.0.0.1", BACKLOG)


def listening(worker: cluster.Worker, address: Any) -> None:
    listens.append(worker)
    if len(listens) == count:
        print(address.port, flush=True)


def show(server: Server) -> None:
    address = server.address()
    assert address is not None
    assert not isinstance(address, str)
    print(address.port, flush=True)


if cluster.is_worker:
    serve()
elif policy == "one":
    server = serve()
    server.on("listening", lambda: show(server))
else:
    listens: list[cluster.Worker] = []
    cluster.scheduling_policy = {
        "rr": cluster.SCHED_RR,
        "none": cluster.SCHED_NONE,
        "reuse-port": cluster.SCHED_REUSE_PORT,
    }[policy]
    cluster.on("listening", listening)
    cluster.on("exit", lambda worker, code, signal: cluster.fork())
    for _ in range(count):
        cluster.fork()
run()

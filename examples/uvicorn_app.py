"""Collect readings of sensors over TCP and serve them over HTTP: FastAPI under uvicorn.

Shows sockets in a framework: the lifespan runs the TCP server, on uvicorn's loop, and a handler
opens a connection itself. No attach() is needed.

    pip install fastapi uvicorn
    python examples/uvicorn_app.py --port 8080 --sensors 8124
    echo 'kitchen 21.5' | nc 127.0.0.1 8124
    curl http://127.0.0.1:8080/readings
    curl -X POST http://127.0.0.1:8080/readings/cellar/12
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI, HTTPException

from pyuvnet import FrameError, Socket, events, framing, net

LINES = framing.Lines(limit=1000)
readings: dict[str, float] = {}
address: tuple[int, str] = (8124, "127.0.0.1")


async def sensor(socket: Socket) -> None:
    """Read lines such as `kitchen 21.5`, and confirm each."""
    try:
        async for line in socket:
            try:
                name, value = line.decode().split()
                readings[name] = float(value)
            except ValueError:
                socket.write_frame("what?")
            else:
                socket.write_frame("ok")
            await socket.drained()
    except (OSError, FrameError) as error:
        print(f"sensors: {error}", flush=True)


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    global address
    async with net.create_server(sensor, framing=LINES) as server:
        server.listen(*address)
        await events.once(server, "listening")
        place = server.address()
        address = place.port, place.address
        print(f"sensors: listening on {place.address}:{place.port}", flush=True)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/readings")
async def get_readings() -> dict[str, float]:
    return readings


@app.post("/readings/{name}/{value}")
async def post_reading(name: str, value: float) -> str:
    """Report a reading as a sensor does."""
    async with net.create_connection(*address, framing=LINES) as socket:
        socket.write_frame(f"{name} {value}")
        async for line in socket:
            return line.decode()
    raise HTTPException(502, "no reply")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve the readings of sensors.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="port for HTTP (8080)")
    parser.add_argument("--sensors", type=int, default=8124, help="port for the sensors (8124)")
    options = parser.parse_args()
    address = options.sensors, options.host
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    uvicorn.run(app, host=options.host, port=options.port, log_config=None)

"""Sockets inside web frameworks, which run asyncio or uvloop themselves: no call of attach()."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket as python_socket

import pytest

from pyuvnet import net
from tests.support.installed import UVLOOP

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra 'frameworks'")
fastapi = pytest.importorskip("fastapi", reason="needs the extra 'frameworks'")
web = pytest.importorskip("aiohttp.web", reason="needs the extra 'frameworks'")

LOOPS = {"asyncio": asyncio.new_event_loop}
if UVLOOP:
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

CLIENTS = 8

pytestmark = pytest.mark.filterwarnings("error")


@contextlib.contextmanager
def listening():
    """A socket that takes connections of HTTP from now on."""
    # asyncio sets TCP_NODELAY where the protocol is named.
    with python_socket.socket(proto=python_socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield listener


@contextlib.asynccontextmanager
async def uvicorn_app(serve_tcp, handle):
    """A FastAPI program under uvicorn; gives the port of HTTP."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with net.create_server(serve_tcp) as server:
            server.listen(0, "127.0.0.1")
            app.state.server = server
            yield

    app = fastapi.FastAPI(lifespan=lifespan)

    @app.get("/{text}")
    async def answer(text: str):
        return fastapi.Response(await handle(app.state.server.address().port, text))

    with listening() as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


@contextlib.asynccontextmanager
async def aiohttp_app(serve_tcp, handle):
    """The same program with aiohttp."""
    place = web.AppKey("place", net.Server)

    async def server_of(app):
        async with net.create_server(serve_tcp) as server:
            server.listen(0, "127.0.0.1")
            app[place] = server
            yield

    async def answer(request):
        port = request.app[place].address().port
        return web.Response(body=await handle(port, request.match_info["text"]))

    app = web.Application()
    app.cleanup_ctx.append(server_of)
    app.router.add_get("/{text}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with listening() as listener:
        await web.SockSite(runner, listener).start()
        try:
            yield listener.getsockname()[1]
        finally:
            await runner.cleanup()


def ask(port, texts):
    """Ask for each text over one connection of HTTP; give what was wrong."""
    wrong = []
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        for text in texts:
            try:
                client.request("GET", f"/{text}")
                answer = client.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                return [*wrong, (text, error)]
            if (answer.status, body) != (200, text.encode()):
                wrong.append((text, answer.status, body))
    return wrong


@pytest.fixture(params=["uvicorn", "aiohttp"])
def framework(request):
    return {"uvicorn": uvicorn_app, "aiohttp": aiohttp_app}[request.param]


@pytest.fixture(params=LOOPS)
def play(request, framework):
    """play(serve, handle, requests) runs a program while clients ask; gives what was wrong."""

    def play(serve, handle, requests):
        complaints = []

        async def main():
            theirs = asyncio.get_running_loop()
            theirs.set_exception_handler(lambda loop, context: complaints.append(context))
            texts = [f"n{number}" for number in range(requests)]
            async with framework(serve, handle) as port:
                parts = [texts[client::CLIENTS] for client in range(CLIENTS)]
                return await asyncio.gather(*(asyncio.to_thread(ask, port, part) for part in parts))

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            wrong = runner.run(main())
        return [each for part in wrong for each in part] + complaints

    play.kind = request.param
    return play


async def echo(socket):
    async for chunk in socket:
        socket.write(chunk)


def echo_by_listener(socket):
    socket.on("data", socket.write)


async def returning(port, text):
    async with net.connect(port, "127.0.0.1") as socket:
        socket.write(text)
        async for chunk in socket:
            return chunk
    return None


async def breaking(port, text):
    async with net.connect(port, "127.0.0.1") as socket:
        socket.write(text)
        async for chunk in socket:
            answer = chunk
            break
    assert socket.closed
    return answer


async def to_the_end(port, text):
    async with net.connect(port, "127.0.0.1") as socket:
        socket.end(text)
        return b"".join([chunk async for chunk in socket])


@pytest.mark.parametrize("handle", [returning, breaking, to_the_end])
def test_a_server_and_clients_within_the_program(play, handle):
    assert play(echo, handle, 50) == []


async def leaving(port, text):
    """One in two leaves by return, the others by break."""
    return await (returning if text[-1] in "02468" else breaking)(port, text)


@pytest.mark.timeout(200)
def test_many_connections_that_are_left_early(play):
    assert play(echo_by_listener, leaving, 3000 if play.kind == "uvloop" else 300) == []


def test_a_server_in_a_lifespan_and_clients_of_asyncio(play):
    async def handle(port, text):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text.encode())
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    assert play(echo, handle, 50) == []

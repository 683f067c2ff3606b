"""TLS with other programs: openssl, curl, Python's ssl and asyncio, nginx and haproxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket as posix
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import pyuvnet
from pyuvnet import net, tls
from tests.support.certificates import certificates

pytestmark = pytest.mark.slow

PKI = certificates()
KEYS: dict[str, Any] = {"key": PKI / "server.key", "cert": PKI / "server.pem"}
OTHER: dict[str, Any] = {"key": PKI / "other.key", "cert": PKI / "other.pem"}
RSA: dict[str, Any] = {"key": PKI / "rsa.key", "cert": PKI / "rsa.pem"}
ALICE: dict[str, Any] = {"key": PKI / "client.key", "cert": PKI / "client.pem"}
TRUST: dict[str, Any] = {"ca": PKI / "ca.pem", "servername": "localhost"}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def served(
    act: Callable[[int], Any],
    on_connection: Callable[[tls.TLSSocket], object],
    **options: Any,
) -> tuple[Any, list[str]]:
    """Run act(port) in a thread while a server runs; returns its result and failed handshakes."""
    failures: list[str] = []
    results: list[Any] = []
    server = tls.create_server({**KEYS, **options}, on_connection)
    server.on("tlsClientError", lambda error, socket: failures.append(error.code))
    loop = pyuvnet.current_loop()

    def work(port: int) -> None:
        try:
            results.append(act(port))
        except BaseException as error:
            results.append(error)
        finally:
            loop.call_soon_threadsafe(server.close)

    threads: list[threading.Thread] = []

    def listening() -> None:
        threads.append(threading.Thread(target=work, args=[server.address().port]))
        threads[0].start()

    server.listen(0, "127.0.0.1", listening)
    pyuvnet.run()
    threads[0].join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0], failures


def echo(socket: tls.TLSSocket) -> None:
    socket.on("error", lambda error: None)
    socket.pipe(socket)


# ---- openssl -------------------------------------------------------------------------------------


def s_client(port: int, *arguments: Any, data: bytes = b"hello\n") -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", PKI / "ca.pem"]
    child = subprocess.Popen(
        [*map(str, command), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(data)
        child.stdin.flush()
        said = b""
        # Tickets come with the first data, and the echo last.
        while data.strip() not in said or b"---\n" not in said:
            chunk = child.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                break
            said += chunk
        time.sleep(0.1)
        child.stdin.close()
        said += child.stdout.read()
        child.wait(10)
        return said.decode("latin-1")
    finally:
        child.kill()
        child.wait()
        for end in (child.stdin, child.stdout):
            if end is not None:
                end.close()


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client(version: str) -> None:
    said, failures = served(
        lambda port: s_client(port, version, "-alpn", "x,h2", "-servername", "localhost"),
        echo,
        alpn_protocols=["h2"],
    )
    assert "Verify return code: 0 (ok)" in said
    assert "ALPN protocol: h2" in said
    assert "hello" in said
    assert failures == []


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_chooses_by_name_and_shows_a_certificate(version: str) -> None:
    seen: list[Any] = []

    def accepted(socket: tls.TLSSocket) -> None:
        seen.append(
            (socket.servername, socket.authorized, socket.get_peer_certificate().subject.CN)
        )  # type: ignore[union-attr]
        echo(socket)

    said, _ = served(
        lambda port: s_client(
            port, version, "-servername", "other.example",
            "-cert", PKI / "client.pem", "-key", PKI / "client.key",
        ),
        accepted,
        request_cert=True,
        ca=PKI / "ca.pem",
        sni_callback=lambda name, callback: callback(None, tls.create_secure_context(
            {**OTHER, "ca": PKI / "ca.pem"})),
    )  # fmt: skip
    assert "subject=CN = other.example" in said or "subject=CN=other.example" in said
    assert seen == [("other.example", True, "alice")]


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client_resumes(version: str, tmp_path: Path) -> None:
    kept = tmp_path / "session"
    reused: list[bool] = []

    def act(port: int) -> str:
        s_client(port, version, "-sess_out", kept)
        return s_client(port, version, "-sess_in", kept)

    def accepted(socket: tls.TLSSocket) -> None:
        reused.append(socket.is_session_reused())
        echo(socket)

    said, _ = served(act, accepted)
    assert reused == [False, True]
    assert "Reused" in said


@contextlib.contextmanager
def s_server(*arguments: Any) -> Iterator[int]:
    """openssl s_server on a port, which answers as a web server does."""
    with posix.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-cert"]
    ends = [PKI / "server.pem", "-key", PKI / "server.key", *arguments]
    child = subprocess.Popen(
        [*command, *map(str, ends)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port)
        yield port
    finally:
        child.kill()
        child.wait()


def wait_for(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            posix.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("nobody listens")


def fetch(port: int, **options: Any) -> tuple[bytes, list[Any]]:
    got = bytearray()
    events: list[Any] = []
    given = {"port": port, "host": "127.0.0.1", **TRUST, **options}
    client = tls.connect(given)
    client.on("secureConnect", lambda: events.append((client.get_protocol(), client.authorized)))
    client.on("error", lambda error: events.append(error.code))
    client.on("data", got.extend)
    client.end("GET / HTTP/1.0\r\n\r\n") if options.pop("ends", False) else client.write(
        "GET / HTTP/1.0\r\n\r\n"
    )
    pyuvnet.run()
    return bytes(got), events


@needs("openssl")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_s_server(version: str) -> None:
    with s_server(
        f"-tls{version.replace('.', '_')}", "-Verify", "1", "-CAfile", PKI / "ca.pem"
    ) as port:
        got, events = fetch(port, **ALICE)
        assert b"200 ok" in got
        assert events[0] == (f"TLSv{version}", True)
        _, events = fetch(port)
        assert any(isinstance(event, str) for event in events)


# ---- curl ----------------------------------------------------------------------------------------


@needs("curl")
@pytest.mark.parametrize("size", [5, 300_000])
def test_curl(size: int) -> None:
    def answer(socket: tls.TLSSocket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        socket.on("error", lambda error: None)
        socket.once("data", lambda data: socket.end(head.encode() + b"x" * size))

    def act(port: int) -> bytes:
        command = ["curl", "-sS", "--noproxy", "*", "--cacert", str(PKI / "ca.pem")]
        where = f"https://localhost:{port}/"
        there = f"localhost:{port}:127.0.0.1"
        return subprocess.run(
            [*command, "--resolve", there, where], capture_output=True, check=True, timeout=20
        ).stdout

    got, _ = served(act, answer, alpn_protocols=["http/1.1"])
    assert got == b"x" * size


# ---- Scanners ------------------------------------------------------------------------------------


@needs("sslscan")
def test_sslscan_finds_nothing_weak() -> None:
    def scan(port: int) -> str:
        command = ["sslscan", "--no-colour", "--xml=-", "--sni-name=localhost"]
        done = subprocess.run(
            [*command, f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=200
        )
        return done.stdout

    text, _ = served(scan, lambda socket: socket.on("error", lambda error: None).resume(), **RSA)
    found = ElementTree.fromstring(text).find("ssltest")
    assert found is not None
    enabled = {
        f"{each.get('type')} {each.get('version')}"
        for each in found.findall("protocol")
        if each.get("enabled") == "1"
    }
    assert enabled == {"tls 1.2", "tls 1.3"}
    suites = found.findall("cipher")
    assert len(suites) > 4
    assert {each.get("strength") for each in suites} <= {"strong", "acceptable"}
    for name, flaw in (("heartbleed", "vulnerable"), ("compression", "supported")):
        assert "1" not in {each.get(flaw) for each in found.findall(name)}, name


@needs("testssl")
@pytest.mark.full
@pytest.mark.timeout(600)
def test_testssl_finds_nothing_bad(tmp_path: Path) -> None:
    """Protocols, kinds of suites, forward secrecy and the known attacks."""
    report = tmp_path / "report.json"

    def scan(port: int) -> None:
        command = ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--ip", "one"]
        checks = ["-p", "-s", "-f", "-U", "--jsonfile", str(report)]
        subprocess.run(
            [*command, *checks, f"localhost:{port}"], capture_output=True, timeout=500, check=False
        )

    served(scan, lambda socket: socket.on("error", lambda error: None).resume(), **RSA)
    found = {each["id"]: each for each in json.loads(report.read_text())}
    assert found["TLS1_3"]["severity"] == "OK"
    assert len(found) > 30
    bad = {name: each["finding"] for name, each in found.items()
           if each["severity"] in ("MEDIUM", "HIGH", "CRITICAL")}  # fmt: skip
    assert not bad


# ---- Python --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pythons_blocking_sockets(version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    context.minimum_version = context.maximum_version = version
    data = bytes(range(256)) * 2000

    def act(port: int) -> bytes:
        with (
            posix.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            sender = threading.Thread(target=secure.sendall, args=[data])
            sender.start()
            got = b""
            while len(got) < len(data):
                got += secure.recv(65536)
            sender.join()
            secure.unwrap()
            return got

    got, failures = served(act, echo)
    assert got == data
    assert failures == []


def test_asyncio_at_both_ends() -> None:
    theirs = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
    mine = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mine.load_cert_chain(PKI / "server.pem", PKI / "server.key")

    async def main() -> None:
        async with await tls.promises.listen({**KEYS, "port": 0}) as server:
            server.on("secureConnection", echo)
            port = server.address().port
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=theirs, server_hostname="localhost"
            )
            writer.write(b"to ours")
            assert await reader.readexactly(7) == b"to ours"
            writer.close()
            await writer.wait_closed()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read(100)).upper())
            await writer.drain()
            writer.close()

        other = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=mine)
        async with other:
            client = await tls.promises.connect(
                port=other.sockets[0].getsockname()[1], host="127.0.0.1", **TRUST
            )
            client.write("to theirs")
            assert [chunk async for chunk in client] == [b"TO THEIRS"]

    asyncio.run(main())


# ---- Servers in front ----------------------------------------------------------------------------


@needs("nginx")
def test_nginx_in_front_and_behind(tmp_path: Path) -> None:
    """Our client speaks TLS to nginx, which speaks TLS to our server."""

    def answer(socket: tls.TLSSocket) -> None:
        socket.on("error", lambda error: None)
        text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nours"
        socket.once("data", lambda data: socket.end(text))

    def act(port: int) -> bytes:
        with posix.create_server(("127.0.0.1", 0)) as free:
            front = free.getsockname()[1]
        (tmp_path / "nginx.conf").write_text(
            f"""
            daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}
            http {{
              access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;
              fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u;
              scgi_temp_path {tmp_path}/s;
              server {{
                listen 127.0.0.1:{front} ssl;
                ssl_certificate {PKI}/server.pem; ssl_certificate_key {PKI}/server.key;
                location / {{
                  proxy_pass https://127.0.0.1:{port}; proxy_ssl_verify on;
                  proxy_ssl_trusted_certificate {PKI}/ca.pem; proxy_ssl_name localhost;
                }}
              }}
            }}
            """
        )
        child = subprocess.Popen(
            ["nginx", "-c", tmp_path / "nginx.conf", "-p", tmp_path, "-e", tmp_path / "error.log"],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(front)
            context = ssl.create_default_context(cafile=str(PKI / "ca.pem"))
            with (
                posix.create_connection(("127.0.0.1", front)) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                secure.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                got = b""
                while chunk := secure.recv(65536):
                    got += chunk
                return got
        finally:
            child.terminate()
            child.wait()

    got, failures = served(act, answer)
    assert got.endswith(b"ours")
    assert failures == []


@needs("haproxy")
@pytest.mark.parametrize("header", ["", " send-proxy", " send-proxy-v2"])
def test_haproxy_in_front(tmp_path: Path, header: str) -> None:
    """haproxy speaks TLS to our server, and checks its certificate; a PROXY header comes first."""
    ours: list[Any] = []
    seen: list[Any] = []

    def act(port: int) -> bytes:
        with posix.create_server(("127.0.0.1", 0)) as free:
            front = free.getsockname()[1]
        (tmp_path / "haproxy.cfg").write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
            f"frontend f\n bind 127.0.0.1:{front}\n default_backend b\n"
            f"backend b\n server s 127.0.0.1:{port} ssl verify required ca-file {PKI}/ca.pem "
            f"verifyhost localhost{header}\n"
        )
        child = subprocess.Popen(
            ["haproxy", "-f", tmp_path / "haproxy.cfg", "-db"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(front)
            with posix.create_connection(("127.0.0.1", front)) as plain:
                ours.append(plain.getsockname()[1])
                plain.sendall(b"through haproxy")
                got = b""
                while len(got) < 15:
                    got += plain.recv(100)
                return got
        finally:
            child.terminate()
            child.wait()

    def accepted(socket: tls.TLSSocket) -> None:
        seen.append(socket.remote_port)
        echo(socket)

    options = {"proxy_protocol": {"trusted": ["127.0.0.1"]}} if header else {}
    got, _ = served(act, accepted, **options)
    assert got == b"through haproxy"
    if header:
        assert ours[0] in seen


# ---- The guide's server --------------------------------------------------------------------------


def _guide_server() -> Any:
    """The server of the guide's page on STARTTLS, listening."""
    page = (Path(__file__).parents[1] / "docs/guide/tls.md").read_text("utf-8")
    program = page.split("## STARTTLS", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, Any] = {}
    exec(program.split("@server.on", 1)[0], names)
    names["KEYS"].update(KEYS)
    return names["server"].listen(0)


HOSTILE = {
    "ends": lambda client: client.end(),
    "resets": lambda client: client.reset_and_destroy(),
    "sends garbage": lambda client: client.end(b"\xff\x00garbage\r\n" * 100),
    "never reads": lambda client: client.pause().write(b"x\r\n" * 1000),
}


@pytest.mark.parametrize("step", ["at once", "greeted", "upgrading"])
@pytest.mark.parametrize("deed", HOSTILE)
def test_the_server_of_the_guide_survives_each_peer(step: str, deed: str) -> None:
    """What a listener of the program misses would come out of run()."""
    server = _guide_server()
    said: list[bytes] = []

    def connect() -> Any:
        return net.connect(server.address().port, "127.0.0.1").on("error", lambda error: None)

    hostile = connect()

    def act() -> None:
        HOSTILE[deed](hostile)
        pyuvnet.set_immediate(pyuvnet.set_immediate, pyuvnet.set_immediate, ask)

    def ask() -> None:
        plain = connect()
        plain.once("data", lambda data: plain.write("STARTTLS\r\n") and plain.once("data", secure))

        def secure(data: bytes) -> None:
            client = tls.connect(socket=plain, **TRUST)
            client.write("EHLO\r\n")
            client.on("data", lambda data: said.append(bytes(data)))
            client.on("close", lambda had_error: finish())

    def finish() -> None:
        server.close().destroy_sockets()
        hostile.destroy()

    if step == "at once":
        hostile.once("connect", act)
    elif step == "greeted":
        hostile.once("data", lambda data: act())
    else:
        hostile.once("data", lambda data: hostile.write("STARTTLS\r\n"))
        hostile.once("data", lambda data: hostile.once("data", lambda data: act()))
    pyuvnet.run()
    assert said == [b"250 EHLO, hello\r\n"]

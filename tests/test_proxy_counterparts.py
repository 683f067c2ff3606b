"""The PROXY protocol with haproxy and nginx: versions, directions, and kinds of sockets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import net, run, set_timeout

PATH = os.environ.get("PATH", "") + ":/usr/sbin"
HAPROXY, NGINX = shutil.which("haproxy", path=PATH), shutil.which("nginx", path=PATH)
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

pytestmark = pytest.mark.slow
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="no haproxy here")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx here")
needs_stream = pytest.mark.skipif(
    NGINX is None or not STREAM_MODULE.exists(), reason="no nginx with its stream module here"
)
HOSTS = {"IPv4": "127.0.0.1", "IPv6": "::1"}


class Listeners:
    """Listening sockets that another program inherits: nobody else can have their ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, socket.socket] = {}

    def open(self, kind: str) -> socket.socket:
        if kind == "unix":
            one = socket.socket(socket.AF_UNIX)
            one.bind(str(self.folder / f"{len(self.made)}.sock"))
        else:
            one = socket.socket(socket.AF_INET6 if kind == "IPv6" else socket.AF_INET)
            one.bind((HOSTS[kind], 0))
        one.listen()
        self.made[f"{kind} {len(self.made)}"] = one
        return one


def place(listener: socket.socket) -> dict[str, Any]:
    """Where connect() finds a listener."""
    name = listener.getsockname()
    return {"path": name} if isinstance(name, str) else {"port": name[1], "host": name[0]}


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Start a program with listeners; it is ended with the test."""
    processes: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(command: list[str], inherited: list[socket.socket]) -> None:
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                pass_fds=[each.fileno() for each in inherited],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        processes.append((process, log))
        for each in inherited:
            each.close()

    start.running = lambda: processes[-1][0].poll() is None  # type: ignore[attr-defined]
    start.forget = processes.pop  # type: ignore[attr-defined]
    yield start
    for process, log in processes:
        assert process.poll() is None, log.read_text()
        process.kill()
        process.wait()


def haproxy(started: Any, folder: Path, sections: str, inherited: list[socket.socket]) -> None:
    config = folder / "haproxy.cfg"
    config.write_text(
        "defaults\n  timeout connect 5s\n  timeout client 9s\n  timeout server 9s\n" + sections
    )
    started([HAPROXY, "-db", "-q", "-f", str(config)], inherited)


def nginx(started: Any, folder: Path, sections: str, kind: str) -> dict[str, Any]:
    """Start nginx with a listener, LISTEN in the sections; returns where connect() finds it."""
    config, pid = folder / "nginx.conf", folder / "pid"
    module = f"load_module {STREAM_MODULE};\n" if "stream {" in sections else ""
    where = "\n".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    for _ in range(5):
        listener = Listeners(folder).open(kind)
        found, name = place(listener), _nginx_name(listener)
        # nginx opens its own: a port that was just free may be taken.
        listener.close()
        if kind == "unix":
            Path(found["path"]).unlink()
        config.write_text(
            f"{module}daemon off; master_process off; pid {pid}; error_log stderr;\n"
            "events {}\n" + sections.replace("TEMP", where).replace("LISTEN", name)
        )
        started([NGINX, "-p", str(folder), "-c", str(config)], [])
        # It writes that when it listens.
        while started.running() and not pid.exists():
            time.sleep(0.01)
        if started.running():
            return found
        started.forget()
    raise AssertionError("nginx found no free port")


def listening(where: str, folder: Path, heard: list[Any], count: int = 1) -> net.Server:
    """A server of ours behind the other program, which answers with what it has read."""
    server = net.create_server(proxy_protocol={"trusted": list(HOSTS.values())})

    @server.on("connection")
    def take(one: net.Socket) -> None:
        heard.append(((one.remote_address, one.remote_port), (one.local_address, one.local_port),
                      one.proxy))  # fmt: skip
        one.pipe(one)
        # A health check ends with a reset.
        one.on("error", lambda error: None)
        if len(heard) == count:
            server.close()

    server.on("drop", lambda info: (heard.append(info), server.close()))
    server.on("error", heard.append)
    if where == "unix":
        server.listen(str(folder / "ours.sock"))
    else:
        server.listen({"port": 0, "ipv6_only": False})
    return server


def backend(server: net.Server) -> str:
    address = server.address()
    return address if isinstance(address, str) else f"127.0.0.1:{address.port}"


def talk(where: dict[str, Any], question: bytes = b"question", **options: Any) -> Any:
    """Ask once; returns the client and the answer, when all is over."""
    answer = bytearray()
    client = net.connect({**where, **options})
    client.ends = None  # type: ignore[attr-defined]

    @client.on("connect")
    def connected() -> None:
        client.ends = (  # type: ignore[attr-defined]
            (client.local_address, client.local_port), (client.remote_address, client.remote_port)
        )  # fmt: skip

    @client.on("data")
    def take(chunk: bytes) -> None:
        answer.extend(chunk)
        if bytes(answer) == question:
            client.end()

    client.write(question)
    return client, answer


# ---- To us ---------------------------------------------------------------------------------------


@pytest.mark.spec("P8-09")
@needs_haproxy
@pytest.mark.parametrize("behind", ["TCP", "unix"])
@pytest.mark.parametrize("before", ["IPv4", "IPv6", "unix"])
@pytest.mark.parametrize("version", [1, 2])
def test_from_haproxy(version: int, before: str, behind: str, started: Any, tmp_path: Path) -> None:
    heard: list[Any] = []
    server = listening(behind, tmp_path, heard)
    listener = Listeners(tmp_path).open(before)
    where = place(listener)
    send = "send-proxy" if version == 1 else (
        "send-proxy-v2 proxy-v2-options crc32c,unique-id"
    )  # fmt: skip
    haproxy(started, tmp_path, f"""
listen front
  bind fd@{listener.fileno()}
  unique-id-format id-%pid
  server ours {backend(server)} {send}
""", [listener])  # fmt: skip
    client, answer = talk(where)
    run()
    assert answer == b"question"
    ((source, destination, proxy),) = heard
    assert proxy.version == version
    if before == "unix":
        # It has no word for these.
        assert proxy.remote_address == source[0]
    else:
        assert (source, destination) == client.ends
        assert proxy.command == "PROXY"
    if version == 2 and before != "unix":
        assert proxy.tlvs.unique_id.startswith(b"id-")
        assert 3 in dict(proxy.tlvs.raw)


@needs_haproxy
def test_a_health_check_of_haproxy_is_local(started: Any, tmp_path: Path) -> None:
    heard: list[Any] = []
    server = listening("TCP", tmp_path, heard)
    listener = Listeners(tmp_path).open("IPv4")
    haproxy(started, tmp_path, f"""
listen front
  bind fd@{listener.fileno()}
  server ours {backend(server)} send-proxy-v2 check inter 100ms check-send-proxy
""", [listener])  # fmt: skip
    run()
    ((source, destination, proxy),) = heard
    assert (proxy.version, proxy.command) == (2, "LOCAL")
    assert source == (proxy.remote_address, proxy.remote_port)
    assert destination == (proxy.local_address, proxy.local_port)


@needs_haproxy
def test_tls_that_haproxy_ended_is_told(started: Any, tmp_path: Path) -> None:
    import ssl

    heard: list[Any] = []
    server = listening("TCP", tmp_path, heard)
    listener = Listeners(tmp_path).open("IPv4")
    pem = Path(__file__).parent / "localhost.pem"
    port = listener.getsockname()[1]
    haproxy(started, tmp_path, f"""
listen front
  bind fd@{listener.fileno()} ssl crt {pem} alpn h2,http/1.1
  server ours {backend(server)} send-proxy-v2-ssl-cn proxy-v2-options ssl-cipher,cert-sig,cert-key
""", [listener])  # fmt: skip
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def ask() -> None:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"question")
            version.append(secure.version())
            assert secure.recv(100) == b"question"

    import threading

    version: list[Any] = []
    thread = threading.Thread(target=ask)
    thread.start()
    run()
    thread.join()
    ((_, _, proxy),) = heard
    assert proxy.tlvs.ssl.tls is True
    assert proxy.tlvs.ssl.version == version[0]
    assert proxy.tlvs.ssl.cipher
    assert proxy.tlvs.ssl.certificate is False


@pytest.mark.spec("P8-09")
@needs_stream
@pytest.mark.parametrize("behind", ["TCP", "unix"])
@pytest.mark.parametrize("before", ["IPv4", "IPv6", "unix"])
def test_from_nginx(before: str, behind: str, started: Any, tmp_path: Path) -> None:
    heard: list[Any] = []
    server = listening(behind, tmp_path, heard)
    ours = backend(server)
    where = nginx(started, tmp_path, f"""
stream {{
  server {{
    listen LISTEN;
    proxy_protocol on;
    proxy_pass {'unix:' + ours if behind == 'unix' else ours};
  }}
}}
""", before)  # fmt: skip
    client, answer = talk(where)
    run()
    assert answer == b"question"
    ((source, destination, proxy),) = heard
    assert proxy.version == 1
    if before == "unix":
        assert proxy.command == "LOCAL"
    else:
        assert (source, destination) == client.ends


def _nginx_name(listener: socket.socket) -> str:
    name = listener.getsockname()
    if isinstance(name, str):
        return f"unix:{name}"
    return f"[::1]:{name[1]}" if name[0] == "::1" else f"{name[0]}:{name[1]}"


# ---- From us -------------------------------------------------------------------------------------

ENDS = {
    "IPv4": (("1.2.3.4", 1234), ("5.6.7.8", 443)),
    "IPv6": (("2001:db8::1", 1234), ("2001:db8::2", 443)),
}
REQUEST = b"GET / HTTP/1.0\r\nHost: x\r\n\r\n"


def body(where: dict[str, Any], proxy: dict[str, Any]) -> str:
    """What the other program answers to a request behind a header."""
    _, answer = talk(where, REQUEST, proxy_protocol=proxy)
    run()
    head, _, text = bytes(answer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return text.decode().strip()


@pytest.mark.spec("P8-09")
@needs_haproxy
@pytest.mark.parametrize("over", ["IPv4", "IPv6", "unix"])
@pytest.mark.parametrize("family", ENDS)
@pytest.mark.parametrize("version", [1, 2])
def test_to_haproxy(version: int, family: str, over: str, started: Any, tmp_path: Path) -> None:
    listener = Listeners(tmp_path).open(over)
    where = place(listener)
    haproxy(started, tmp_path, f"""
frontend front
  mode http
  bind fd@{listener.fileno()} accept-proxy
  http-request return status 200 content-type text/plain lf-string \
"%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]"
""", [listener])  # fmt: skip
    source, destination = ENDS[family]
    options: dict[str, Any] = {"version": version, "source": source, "destination": destination}
    if version == 2:
        options |= {"tlvs": {"authority": "example.com", "unique_id": b"id"}, "checksum": True}
    words = [*source, *destination] + (["example.com", "id"] if version == 2 else [])
    assert body(where, options) == " ".join(map(str, words))


@needs_haproxy
@pytest.mark.parametrize("version", [1, 2])
def test_our_own_ends_to_haproxy(version: int, started: Any, tmp_path: Path) -> None:
    listener = Listeners(tmp_path).open("IPv6")
    where = place(listener)
    haproxy(started, tmp_path, f"""
frontend front
  mode http
  bind fd@{listener.fileno()} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[dst] %[dst_port]"
""", [listener])  # fmt: skip
    assert body(where, {"version": version}) == f"::1 ::1 {where['port']}"


@pytest.mark.spec("P8-09")
@needs_nginx
@pytest.mark.parametrize("over", ["IPv4", "IPv6", "unix"])
@pytest.mark.parametrize("family", ENDS)
@pytest.mark.parametrize("version", [1, 2])
def test_to_nginx(version: int, family: str, over: str, started: Any, tmp_path: Path) -> None:
    where = nginx(started, tmp_path, """
http {
  TEMP
  access_log off;
  server {
    listen LISTEN proxy_protocol;
    location / {
      return 200 "$proxy_protocol_addr $proxy_protocol_port \
$proxy_protocol_server_addr $proxy_protocol_server_port";
    }
  }
}
""", over)  # fmt: skip
    source, destination = ENDS[family]
    options: dict[str, Any] = {"version": version, "source": source, "destination": destination}
    if version == 2:
        options |= {"tlvs": {"authority": "example.com", 0xE0: bytes(500)}, "checksum": True}
    assert body(where, options) == " ".join(map(str, [*source, *destination]))


@needs_haproxy
def test_one_of_ours_behind_haproxy_behind_one_of_ours(started: Any, tmp_path: Path) -> None:
    heard: list[Any] = []
    server = listening("TCP", tmp_path, heard)
    listener = Listeners(tmp_path).open("IPv4")
    where = place(listener)
    haproxy(started, tmp_path, f"""
listen front
  bind fd@{listener.fileno()} accept-proxy
  server ours {backend(server)} send-proxy-v2
""", [listener])  # fmt: skip
    source, destination = ENDS["IPv6"]
    talk(where, proxy_protocol={"source": source, "destination": destination})
    set_timeout(server.close, 9000).unref()
    run()
    assert [each[:2] for each in heard] == [(source, destination)]

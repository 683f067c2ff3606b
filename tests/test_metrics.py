"""pyuvnet.metrics: the text, its listener, and the collector of prometheus_client."""

from __future__ import annotations

import gc
import shutil
import socket as posix
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pyuvnet
from pyuvnet import metrics, net
from pyuvnet._server import named as _named
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError
from tests.support.loops import turn_until


@pytest.fixture
def named() -> Iterator[Callable[..., net.Server]]:
    """named("api") is a server that listens, with a connection that has sent 10 bytes."""
    # What those of earlier tests have counted is shown too.
    gc.collect()
    _named.forget()
    made: list[net.Server] = []

    def make(name: str, clients: int = 1) -> net.Server:
        server = net.create_server(lambda socket: socket.on("data", socket.write), name=name)
        server.listen(0, "127.0.0.1", pyuvnet.stop)
        pyuvnet.run()
        made.append(server)
        for _ in range(clients):
            client = net.connect(server.address().port, "127.0.0.1")
            client.on("data", lambda chunk: pyuvnet.stop())
            client.write(b"0123456789")
            pyuvnet.run()
            client.unref()
        return server

    make.made = made  # type: ignore[attr-defined]
    yield make
    for server in made:
        server.close()
        server.destroy_sockets()
    pyuvnet.run()


def lines(text: str) -> dict[str, str]:
    """The samples of a text."""
    return dict(
        line.rsplit(" ", 1)  # type: ignore[misc]
        for line in text.splitlines()
        if not line.startswith("#")
    )


# ---- The text ------------------------------------------------------------------------------------


@pytest.mark.spec("P6-04")
def test_servers_with_a_name_are_shown(named: Callable[..., net.Server]) -> None:
    server = named("api")
    nameless = net.create_server()
    assert (server.name, nameless.name) == ("api", None)
    shown = lines(metrics.text())
    assert shown['pyuvnet_server_connections{server="api"}'] == "1"
    assert shown['pyuvnet_server_accepted_total{server="api"}'] == "1"
    assert shown['pyuvnet_server_received_bytes_total{server="api"}'] == "10"
    assert shown['pyuvnet_server_sent_bytes_total{server="api"}'] == "10"
    assert shown['pyuvnet_server_listening{server="api"}'] == "1"
    assert not [key for key in shown if 'server="api"' not in key]


def test_servers_with_the_same_name_are_added_up(named: Callable[..., net.Server]) -> None:
    first, second = named("api"), named("api", clients=2)
    for server in (first, second):
        server.max_connections = 0
        peer = posix.create_connection(("127.0.0.1", server.address().port))
        while not server.dropped:
            pyuvnet.current_loop().turn()
        peer.close()
    shown = lines(metrics.text())
    assert shown['pyuvnet_server_connections{server="api"}'] == "3"
    assert shown['pyuvnet_server_dropped_total{server="api",reason="max_connections"}'] == "2"


def test_a_server_that_is_gone_is_shown_no_more() -> None:
    net.create_server(name="gone")
    gc.collect()
    assert "gone" not in metrics.text()


@pytest.mark.spec("D117", "P6-06")
def test_what_a_server_has_counted_stays_when_it_is_gone(named: Callable[..., net.Server]) -> None:
    """A scraper would take a counter that goes backwards for a restart of the process."""
    made = [named("api", clients=2)]
    made[0].max_connections = 0
    peer = posix.create_connection(("127.0.0.1", made[0].address().port))
    while not made[0].dropped:
        pyuvnet.current_loop().turn()
    peer.close()
    before = lines(metrics.text())
    made[0].destroy_sockets(ValueError("over"))
    made[0].close()
    pyuvnet.set_exception_handler(lambda error: None)
    pyuvnet.run()
    pyuvnet.set_exception_handler(None)
    del named.made[:], made[:]  # type: ignore[attr-defined]
    gc.collect()
    assert not _named.named
    after = lines(metrics.text())
    for key, value in before.items():
        if "_total" in key:
            assert int(after[key]) >= int(value), key
    assert after['pyuvnet_server_received_bytes_total{server="api"}'] == "20"
    assert after['pyuvnet_server_closed_total{server="api"}'] == "2"
    assert after['pyuvnet_server_dropped_total{server="api",reason="max_connections"}'] == "1"
    assert after['pyuvnet_server_errors_total{server="api",code="ValueError"}'] == "2"
    # It does not listen, which is worth an alert.
    assert after['pyuvnet_server_listening{server="api"}'] == "0"
    assert after['pyuvnet_server_connections{server="api"}'] == "0"
    # The next one of the name goes on from there.
    named("api")
    again = lines(metrics.text())
    assert again['pyuvnet_server_received_bytes_total{server="api"}'] == "30"
    assert again['pyuvnet_server_listening{server="api"}'] == "1"


def test_totals_of_many_servers_are_added_up_in_time() -> None:
    _named.forget()
    for _ in range(1000):
        _named.keep("api", {"accepted": 1, "closed": 0, "dropped": {"EMFILE": 1}, "errors": {},
                            "bytes_read": 10, "bytes_written": 0})  # fmt: skip
        assert len(_named._collected) <= 101
    assert _named.totals()["api"]["accepted"] == 1000
    assert _named.totals()["api"]["dropped"] == {"EMFILE": 1000}
    _named.forget()


def test_labels_are_escaped() -> None:
    server = net.create_server(name='a"b\\c\nd')
    assert 'server="a\\"b\\\\c\\nd"' in metrics.text()
    assert server.name is not None


@pytest.mark.parametrize("name", [b"api", 5])
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(TypeError) as caught:
        net.create_server(name=name)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]


def test_another_thread_may_read_them(named: Callable[..., net.Server]) -> None:
    server = named("api")
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(metrics.text()))
    thread.start()
    thread.join()
    shown = lines(texts[0])
    assert shown['pyuvnet_server_connections{server="api"}'] == "1"
    assert server.name == "api"


@pytest.mark.spec("P6-04")
def test_prometheus_clients_parser_takes_it(named: Callable[..., net.Server]) -> None:
    pytest.importorskip("prometheus_client")
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as opened
    from prometheus_client.parser import text_string_to_metric_families as older

    named("api")
    families = list(opened(metrics.text()))
    found = {family.name: family for family in families}
    assert found["pyuvnet_server_accepted"].type == "counter"
    assert found["pyuvnet_server_received_bytes"].unit == "bytes"
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert values["pyuvnet_server_received_bytes_total"] == 10
    assert {family.name for family in older(metrics.text(openmetrics=False))} >= {
        "pyuvnet_server_accepted",
        "pyuvnet_server_connections",
    }


@pytest.mark.spec("P6-04")
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_promtool_finds_no_fault(named: Callable[..., net.Server]) -> None:
    named("api")
    child = subprocess.run(
        ["promtool", "check", "metrics"],
        input=metrics.text(openmetrics=False),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")


def test_the_collector(named: Callable[..., net.Server]) -> None:
    client = pytest.importorskip("prometheus_client")
    named("api")
    registry = client.CollectorRegistry()
    registry.register(metrics.PrometheusCollector())
    assert registry.get_sample_value("pyuvnet_server_accepted_total", {"server": "api"}) == 1
    assert b'pyuvnet_server_connections{server="api"} 1.0' in client.generate_latest(registry)


# ---- The listener --------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[net.Server]:
    server = metrics.serve(0)
    server.once("listening", pyuvnet.stop)
    pyuvnet.run()
    yield server
    server.close()
    server.destroy_sockets()
    pyuvnet.run()


def asked(listener: net.Server, request: bytes, parts: int = 1) -> tuple[str, dict[str, str], str]:
    """(status, headers, body) of what is answered."""
    client = net.connect(listener.address().port, "127.0.0.1")
    got: list[bytes] = []
    client.on("data", got.append)
    client.on("error", lambda error: None)
    client.on("close", lambda had_error: pyuvnet.stop())
    size = -(-len(request) // parts)
    for start in range(0, len(request), size):
        client.write(request[start : start + size])
        pyuvnet.current_loop().turn()
    pyuvnet.run()
    head, _, body = b"".join(got).decode().partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    return status, dict(field.split(": ", 1) for field in fields), body  # type: ignore[misc]


@pytest.mark.spec("P6-05")
@pytest.mark.parametrize("parts", [1, 7, 100])
def test_a_scraper_reads_them(
    listener: net.Server, named: Callable[..., net.Server], parts: int
) -> None:
    named("api")
    request = (
        b"GET /metrics?x HTTP/1.1\r\nHost: here\r\nAccept: application/openmetrics-text\r\n\r\n"
    )
    status, headers, body = asked(listener, request, parts)
    assert status == "HTTP/1.1 200 OK"
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert int(headers["Content-Length"]) == len(body)
    assert lines(body)['pyuvnet_server_connections{server="api"}'] == "1"
    assert body.endswith("# EOF\n")
    status, headers, body = asked(listener, b"GET /metrics HTTP/1.0\r\n\r\n")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "# EOF" not in body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET /metricsx HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"\r\n\r\n", "400 Bad Request"),
        (b"\x16\x03\x01\0\xff\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics\r\n\r\n", "400 Bad Request"),
        (b"x" * 9000, "431 Request Header Fields Too Large"),
    ],
)
def test_other_requests(listener: net.Server, request_: bytes, status: str) -> None:
    assert asked(listener, request_)[0] == f"HTTP/1.1 {status}"
    # It lives.
    assert asked(listener, b"GET /metrics HTTP/1.1\r\n\r\n")[0] == "HTTP/1.1 200 OK"


def test_a_port_that_is_taken_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "_RETRY", 10)
    taken = posix.create_server(("127.0.0.1", 0))
    server = metrics.serve(taken.getsockname()[1])
    server.ref()
    pyuvnet.set_timeout(taken.close, 100)
    alive = pyuvnet.set_interval(lambda: None, 1000)
    server.once("listening", pyuvnet.stop)
    pyuvnet.run()
    alive.close()
    assert server.listening
    said = [record.getMessage() for record in caplog.records if record.name == "pyuvnet"]
    assert len(said) == 1
    assert "EADDRINUSE" in said[0]
    server.close()
    pyuvnet.run()
    assert not server.listening


def test_head_has_no_body(listener: net.Server) -> None:
    status, headers, body = asked(listener, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert (status, body) == ("HTTP/1.1 200 OK", "")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.spec("P6-05")
def test_a_peer_that_sends_byte_by_byte_is_gone_after_the_deadline(
    listener: net.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_TIMEOUT", 60)
    listener.ref()
    peer = posix.create_connection(("127.0.0.1", listener.address().port))
    peer.setblocking(False)
    end = time.monotonic() + 10
    gone = False
    while not gone and time.monotonic() < end:
        pyuvnet.current_loop().turn()
        try:
            peer.send(b"x")
            gone = peer.recv(10) == b""
        except BlockingIOError:
            pass
        except OSError:
            gone = True
    peer.close()
    assert gone


@pytest.mark.spec("P6-05")
@pytest.mark.parametrize(
    "said", [b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"], ids=["nothing", "part", "all"]
)
def test_connections_that_stay_make_room_for_a_scraper(listener: net.Server, said: bytes) -> None:
    """Also those that were answered, and never close: the oldest of them goes."""
    listener.ref()
    peers = []
    for count in range(1, 41):
        peers.append(posix.create_connection(("127.0.0.1", listener.address().port)))
        peers[-1].sendall(said)
        end = time.monotonic() + 10
        while listener.stats().accepted < count and time.monotonic() < end:
            pyuvnet.current_loop().turn()
        assert listener.stats().accepted == count
    assert asked(listener, b"GET /metrics HTTP/1.1\r\n\r\n")[0] == "HTTP/1.1 200 OK"
    assert listener.stats().open <= 32
    assert not listener.dropped
    for peer in peers:
        peer.close()


@pytest.mark.parametrize("limit", ["_FIRST_BYTE", "_IDLE"])
def test_connections_that_are_silent_end(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, limit: str
) -> None:
    monkeypatch.setattr(metrics, limit, 20)
    listener = request.getfixturevalue("listener")
    listener.ref()
    with posix.create_connection(("127.0.0.1", listener.address().port)) as peer:
        peer.sendall(b"GET" if limit == "_IDLE" else b"")
        # Its deadline comes later than the watchdog of a test would like.
        turn_until(lambda: sum(listener.stats().errors.values()))
    assert list(listener.stats().errors) == [
        "ERR_SOCKET_IDLE" if limit == "_IDLE" else "ERR_FIRST_BYTE_TIMEOUT"
    ]


@pytest.mark.spec("P6-05")
def test_the_program_serves_while_the_metrics_are_attacked(listener: net.Server) -> None:
    """Connections to the metrics by the hundred, with garbage, while a server has 20 clients."""
    listener.ref()
    server = net.create_server(lambda one: one.pipe(one)).listen(0)
    answered = attacks = 0

    def attack(left: int) -> None:
        nonlocal attacks
        if not left or answered >= 2000:
            return
        attacks += 1
        one = net.connect(listener.address().port, "127.0.0.1")
        one.on("error", lambda error: None).resume()
        one.write(b"\0" * 9000 if left % 2 else b"GET /metrics HTTP/1.1\r\n")
        # Half of them stay, and take all places that there are.
        if left % 2:
            one.on("close", lambda had_error: attack(left - 1))
        else:
            attackers.append(one)
            attack(left - 1)

    def client() -> None:
        one = net.connect(server.address().port, "127.0.0.1")

        @one.on("data")
        def data(chunk: bytes) -> None:
            nonlocal answered
            answered += 1
            if one.bytes_written < 100:
                one.write(b"x")
            else:
                one.end()

        one.write(b"x")

    attackers: list[net.Socket] = []
    for _ in range(10):
        attack(30)
    for _ in range(20):
        client()
    turn_until(lambda: answered >= 2000)
    assert attacks > 32
    assert listener.stats().open <= 32
    for each in attackers:
        each.destroy()
    server.close()
    server.destroy_sockets()
    # The attack is over: a scraper is answered as before.
    turn_until(lambda: not listener.stats().open)
    assert asked(listener, b"GET /metrics HTTP/1.1\r\n\r\n")[0] == "HTTP/1.1 200 OK"


def test_a_socket_that_was_handed_over_is_served() -> None:
    given = posix.create_server(("127.0.0.1", 0))
    listener = metrics.serve(fd=given.fileno())
    given.detach()
    assert asked(listener, b"GET /metrics HTTP/1.1\r\n\r\n")[0] == "HTTP/1.1 200 OK"
    listener.close()
    pyuvnet.run()


def test_wrong_arguments_raise_at_once() -> None:
    with pytest.raises(RangeError, match=r"port should be >= 0 and < 65536") as caught:
        metrics.serve("x")  # type: ignore[arg-type]
    assert caught.value.code == "ERR_SOCKET_BAD_PORT"
    with pytest.raises(ArgTypeError, match="host"):
        metrics.serve(0, 5)  # type: ignore[arg-type]
    with pytest.raises(ArgValueError, match="must not be empty"):
        metrics.serve(0, "")
    for fd in ("3", -1, True):
        with pytest.raises((ArgTypeError, RangeError), match="fd"):
            metrics.serve(fd=fd)  # type: ignore[arg-type]


def test_what_utf_8_cannot_encode_ends_no_scrape(listener: net.Server) -> None:
    with pytest.raises(ArgValueError, match="surrogates"):
        net.create_server(name="half \udcff")
    server = net.create_server(name="halves").listen(0)
    error = OSError("of the program")
    error.code = "half \udcff"  # type: ignore[attr-defined]
    server.on("connection", lambda one: (one.on("error", lambda error: None), one.destroy(error)))
    peer = posix.create_connection(("127.0.0.1", server.address().port))
    turn_until(lambda: server.stats().errors)
    status, _, body = asked(listener, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert status == "HTTP/1.1 200 OK"
    assert 'server="halves"' in body
    peer.close()
    server.close()


def test_it_does_not_keep_the_program_running(run_child: Any) -> None:
    child = run_child(
        """
        import pyuvnet
        from pyuvnet import metrics

        server = metrics.serve(0)
        pyuvnet.run()
        print(server.address().address)
        """
    ).clean()
    assert child.lines == ["127.0.0.1"]

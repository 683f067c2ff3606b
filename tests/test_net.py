"""net: creating servers and connections, defaults, names in both spellings."""

from __future__ import annotations

import enum
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from tests.support.cases import cases


def code_of(call: Any) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the code is what is checked)
        call()
    return str(getattr(caught.value, "code", caught.value))


def to_node(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.spec("N001")
@pytest.mark.parametrize("kind", [net.Socket, net.Server], ids=["Socket", "Server"])
def test_every_public_member_has_its_node_spelling_and_it_is_the_same_object(kind: type) -> None:
    checked = 0
    for name in dir(kind):
        if name.startswith("_") or "_" not in name:
            continue
        twin = to_node(name)
        assert inspect.getattr_static(kind, twin) is inspect.getattr_static(kind, name), name
        checked += 1
    assert checked > 8


SOCKET_MEMBERS = [
    "address",
    "autoSelectFamilyAttemptedAddresses",
    "bufferSize",
    "bytesRead",
    "bytesWritten",
    "connect",
    "connecting",
    "cork",
    "destroy",
    "destroyed",
    "end",
    "isPaused",
    "localAddress",
    "localFamily",
    "localPort",
    "on",
    "once",
    "pause",
    "pending",
    "pipe",
    "read",
    "readable",
    "readableEnded",
    "readableFlowing",
    "readableHighWaterMark",
    "readableLength",
    "readyState",
    "ref",
    "remoteAddress",
    "remoteFamily",
    "remotePort",
    "removeListener",
    "resume",
    "setDefaultEncoding",
    "setEncoding",
    "setKeepAlive",
    "setNoDelay",
    "setTimeout",
    "timeout",
    "uncork",
    "unpipe",
    "unref",
    "unshift",
    "writable",
    "writableCorked",
    "writableEnded",
    "writableFinished",
    "writableHighWaterMark",
    "writableLength",
    "writableNeedDrain",
    "write",
]
SERVER_MEMBERS = [
    "address",
    "close",
    "getConnections",
    "listen",
    "listening",
    "maxConnections",
    "ref",
    "unref",
]


@pytest.mark.spec("N001")
def test_the_members_of_node_are_there() -> None:
    for name in SOCKET_MEMBERS:
        assert hasattr(net.Socket, name), name
    for name in SERVER_MEMBERS:
        assert hasattr(net.Server, name), name


@pytest.mark.spec("N001", "N083")
def test_functions_in_both_spellings() -> None:
    for name in (
        "create_server",
        "create_connection",
        "get_default_auto_select_family",
        "set_default_auto_select_family",
        "get_default_auto_select_family_attempt_timeout",
        "set_default_auto_select_family_attempt_timeout",
    ):
        assert getattr(net, to_node(name)) is getattr(net, name)
    assert net.connect is net.create_connection
    assert net.Stream is net.Socket


# ---- create_server -----------------------------------------------------------------------------


@pytest.mark.spec("N017", "N091", "N109", "N131")
def test_create_server_forms() -> None:
    def listener(s: net.Socket) -> None:
        raise AssertionError

    for server in (
        net.create_server(listener),
        net.create_server({}, listener),
        net.create_server(None, listener),
        net.create_server(connection_listener=listener),
        net.create_server({"allowHalfOpen": True}, listener, no_delay=True),
        net.Server(listener),
    ):
        assert type(server) is net.Server
        assert server.listeners("connection") == [listener]
    assert net.create_server({"allowHalfOpen": True}, no_delay=True).allow_half_open
    assert net.create_server({"allowHalfOpen": True}, no_delay=True).noDelay
    assert not net.create_server({"allowHalfOpen": True}, allow_half_open=False).allow_half_open


@pytest.mark.spec("N091", "D03")
@pytest.mark.parametrize("value", [5, "x", True, [1]])
def test_create_server_with_something_else(value: Any) -> None:
    assert code_of(lambda: net.create_server(value)) == "ERR_INVALID_ARG_TYPE"
    assert code_of(lambda: net.create_server({}, value)) == "ERR_INVALID_ARG_TYPE"


def test_an_option_given_twice_in_one_source() -> None:
    with pytest.raises(TypeError):
        net.create_server({"noDelay": True, "no_delay": True})
    with pytest.raises(TypeError):
        net.create_server(noDelay=True, no_delay=True)


# ---- create_connection -------------------------------------------------------------------------


@pytest.mark.spec("N055", "N056", "N083", "N084", "N086", "N087", "N088", "N090")
@cases("listener", ["none", "positional", "keyword"])
@cases(
    "form",
    [
        lambda port: ((port,), {}),
        lambda port: ((str(port),), {}),
        lambda port: ((f" {port} ",), {}),
        lambda port: ((hex(port),), {}),
        lambda port: ((float(port),), {}),
        lambda port: ((port, "127.0.0.1"), {}),
        lambda port: ((port, "localhost"), {}),
        lambda port: ((port, None), {}),
        lambda port: (({"port": port},), {}),
        lambda port: (({"port": str(port), "host": "127.0.0.1", "other": 1},), {}),
        lambda port: ((), {"port": port}),
        lambda port: (({"port": 1},), {"port": port, "host": "127.0.0.1"}),
        lambda port: ((), {"port": port, "family": 4}),
        lambda port: ((), {"port": port, "family": "IPv4", "host": "localhost"}),
        lambda port: ((), {"port": port, "autoSelectFamily": False}),
        lambda port: ((), {"port": port, "timeout": 60000, "noDelay": True}),
        lambda port: ((), {"port": port, "host": "127.0.0.1", "local_address": "127.0.0.1"}),
    ],
)
def test_create_connection_forms(form: Any, listener: str) -> None:
    heard: list[str] = []

    def connected() -> None:
        heard.append("connect")

    server = net.create_server(lambda s: server.close())
    server.listen(0)
    args, keywords = form(server.address()["port"])
    if listener == "positional":
        args = (*args, connected)
    elif listener == "keyword":
        keywords["listener"] = connected
    c = net.create_connection(*args, **keywords)
    assert (type(c), c.connecting) == (net.Socket, True)
    assert c.listener_count("connect") == (listener != "none")
    assert c.timeout == keywords.get("timeout")
    c.on("ready", lambda: c.end())
    pyuvnet.run()
    assert heard == ([] if listener == "none" else ["connect"])
    assert c.listener_count("connect") == 0


@pytest.mark.spec("N057", "N085", "N089", "D68")
@pytest.mark.parametrize("kind", [str, Path, bytes])
def test_create_connection_to_a_path(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = net.create_server(lambda s: (server.close(), s.resume())).listen(path)
    target = bytes(path) if kind is bytes else kind(path)
    c = net.create_connection(target, lambda: c.end(b"x"))
    pyuvnet.run()
    assert c.bytes_written == 1


@pytest.mark.spec("N055", "N087", "D04", "D11")
@cases(
    ("args", "keywords", "code"),
    [
        ((), {}, "ERR_MISSING_ARGS"),
        ((lambda: None,), {}, "ERR_MISSING_ARGS"),
        (({"host": "x"},), {}, "ERR_MISSING_ARGS"),
        ((65536,), {}, "ERR_SOCKET_BAD_PORT"),
        ((), {"port": []}, "ERR_INVALID_ARG_TYPE"),
        ((1,), {"host": 5}, "ERR_INVALID_ARG_TYPE"),
        ((), {"path": 5}, "ERR_INVALID_ARG_TYPE"),
        ((1,), {"local_address": "nowhere"}, "ERR_INVALID_IP_ADDRESS"),
        ((1,), {"local_port": -1}, "ERR_SOCKET_BAD_PORT"),
        ((1,), {"family": 5}, "ERR_INVALID_ARG_VALUE"),
        ((1,), {"auto_select_family_attempt_timeout": 0}, "ERR_OUT_OF_RANGE"),
        ((1,), {"no_such": 1}, "ERR_UNKNOWN_OPTION"),
        ((1,), {"listener": 5}, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_wrong_arguments_raise_before_anything_changes(args: Any, keywords: Any, code: str) -> None:
    assert code_of(lambda: net.create_connection(*args, **keywords)) == code
    c = net.Socket()
    assert code_of(lambda: c.connect(*args, **keywords)) == code
    assert (c.connecting, c.destroyed, c.listener_count("connect")) == (False, False, 0)
    pyuvnet.run()


@pytest.mark.spec("N056", "D02")
def test_the_callers_mapping_is_not_changed() -> None:
    server = net.create_server(lambda s: server.close())
    options = {"port": "0"}
    server.listen(options)
    assert options == {"port": "0"}
    target = {"port": server.address()["port"]}
    before = dict(target)
    c = net.create_connection(target, lambda: c.end())
    assert target == before
    pyuvnet.run()


@pytest.mark.spec("N084")
def test_the_address_of_a_server_can_be_given_back() -> None:
    def listening() -> None:
        c = net.create_connection(server.address(), lambda: peers.append(c.end()))

    peers: list[net.Socket] = []
    server = net.create_server(lambda s: server.close())
    server.listen(0, "127.0.0.1", callback=listening)
    pyuvnet.run()
    assert [c.remote_address for c in peers] == ["127.0.0.1"]


# ---- Names and addresses -----------------------------------------------------------------------


def events_of(**options: Any) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []
    c = net.Socket()
    for event in ("lookup", "connectionAttempt", "connectionAttemptFailed", "connect", "error"):
        c.on(event, lambda *args, event=event: seen.append((event, *args)))
    c.on("connect", lambda: c.end())
    c.connect(**options)
    pyuvnet.run()
    seen.append(("attempted", c.auto_select_family_attempted_addresses))
    return seen


@pytest.mark.spec("N040", "N058")
def test_a_literal_address_needs_no_lookup() -> None:
    server = net.create_server(lambda s: server.close())
    server.listen(0)
    port = server.address()["port"]
    assert events_of(port=port, host="::1") == [
        ("connectionAttempt", "::1", port, 6),
        ("connect",),
        ("attempted", None),
    ]


@pytest.mark.spec("N047", "N121")
def test_a_name_of_one_family() -> None:
    server = net.create_server(lambda s: server.close())
    server.listen(0)
    port = server.address()["port"]
    assert events_of(port=port, host="localhost", family=4) == [
        ("lookup", None, "127.0.0.1", 4, "localhost"),
        ("connectionAttempt", "127.0.0.1", port, 4),
        ("connect",),
        ("attempted", None),
    ]


@pytest.mark.spec("N056", "N168")
def test_the_local_end_can_be_chosen() -> None:
    import socket as posix

    with posix.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local_port = probe.getsockname()[1]
    peers: list[tuple[Any, Any]] = []

    def accepted(s: net.Socket) -> None:
        peers.append((s.remote_address, s.remote_port))
        server.close()

    server = net.create_server(accepted).listen(0)
    c = net.create_connection(
        port=server.address()["port"],
        host="127.0.0.1",
        local_address="127.0.0.1",
        local_port=local_port,
    )
    c.on("ready", lambda: c.end())
    pyuvnet.run()
    assert peers == [("::ffff:127.0.0.1", local_port)]


def test_a_local_port_in_use() -> None:
    holder = net.create_server()
    errors: list[Any] = []

    def begin() -> None:
        port = holder.address()["port"]
        c = net.create_connection(
            port=port, host="127.0.0.1", local_address="127.0.0.1", local_port=port
        )
        c.on("error", errors.append)
        c.on("close", lambda had_error: holder.close())

    holder.listen(0, "127.0.0.1", callback=begin)
    pyuvnet.run()
    (error,) = errors
    assert (error.code, error.syscall, error.address) == ("EADDRINUSE", "bind", "127.0.0.1")
    assert error.port


# ---- Defaults ----------------------------------------------------------------------------------


@pytest.mark.spec("N092", "N093")
def test_defaults_of_auto_select_family() -> None:
    assert net.get_default_auto_select_family() is True
    try:
        assert net.set_default_auto_select_family(False) is None
        assert net.getDefaultAutoSelectFamily() is False
    finally:
        net.set_default_auto_select_family(True)
    for value in (None, 1, 0, "true"):
        assert code_of(lambda value=value: net.set_default_auto_select_family(value)) == (
            "ERR_INVALID_ARG_TYPE"
        )
    assert net.get_default_auto_select_family() is True


@pytest.mark.spec("N094", "N095")
def test_defaults_of_the_attempt_timeout() -> None:
    get = net.get_default_auto_select_family_attempt_timeout
    put = net.set_default_auto_select_family_attempt_timeout
    assert get() == 500
    try:
        for value, stored in [(1, 10), (9, 10), (10, 10), (11, 11), (2**31 - 1, 2**31 - 1)]:
            put(value)
            assert get() == stored
        for value in (0, -1, 1.5, 2**31, float("nan")):
            assert code_of(lambda value=value: put(value)) == "ERR_OUT_OF_RANGE"
        for value in (None, "10", True):
            assert code_of(lambda value=value: put(value)) == "ERR_INVALID_ARG_TYPE"
        assert get() == 2**31 - 1
    finally:
        put(500)


SLOW_TO_IMPORT = {
    *("asyncio", "collections", "enum", "functools", "importlib", "re", "socket", "struct"),
    *("threading", "typing", "warnings", "weakref"),
}


@pytest.mark.parametrize(
    "started",
    [
        False,
        # Signals wake the loop by a pair of sockets there.
        pytest.param(True, marks=pytest.mark.skipif(sys.platform == "win32", reason="not there")),
    ],
)
def test_a_program_does_not_wait_for_modules_of_python_that_it_does_not_use(started: bool) -> None:
    # What site imports for the environment is no matter of ours.
    folder = Path(net.__file__).resolve().parent.parent
    serve = """
server = net.create_server(lambda socket: socket.on("data", socket.write))
server.listen(0, "127.0.0.1", server.close)
run()
"""
    program = f"""
import os, sys
sys.path.insert(0, {str(folder)!r})
before = set(sys.modules)
from pyuvnet import net, run
{serve if started else ""}
print(*set(sys.modules) - before)
"""
    output = subprocess.check_output([sys.executable, "-I", "-S", "-c", program], text=True)
    assert not set(output.split()) & SLOW_TO_IMPORT


class Setting(enum.StrEnum):
    """What a program may keep its settings in: text of a class of its own."""

    HOST = "127.0.0.1"
    NAME = "localhost"
    EVENT = "data"
    ENCODING = "hex"
    TEXT = "6162"


def test_text_of_a_subclass_is_taken_wherever_text_is() -> None:
    got: list[object] = []
    received = bytearray()

    def serve(socket: net.Socket) -> None:
        server.close()
        socket.on(Setting.EVENT, received.extend)
        socket.write(Setting.TEXT, Setting.ENCODING)
        socket.set_default_encoding(Setting.ENCODING)
        socket.end(Setting.TEXT)

    def connect() -> None:
        port = server.address().port
        client = net.connect(port, Setting.NAME, local_address=Setting.HOST, family=4)
        client.set_encoding(Setting.ENCODING)
        client.on(Setting.EVENT, got.append)
        client.write(Setting.TEXT)
        client.end(Setting.NAME)

    server = net.create_server(serve).listen(0, Setting.HOST, connect)
    pyuvnet.run()
    assert "".join(map(str, got)) == "61626162"
    assert received == b"6162localhost"
    assert all(type(each) is str for each in got)

    rules = net.BlockList()
    rules.add_address(Setting.HOST)
    assert rules.check(Setting.HOST)
    assert net.is_ip(Setting.HOST) == 4
    assert net.SocketAddress(address=Setting.HOST).address == Setting.HOST
    with net.BoundSocket(host=Setting.HOST) as bound:
        assert bound.address()["address"] == Setting.HOST
    pyuvnet.run()


def test_addresses_of_a_lookup_may_be_of_a_subclass() -> None:
    def lookup(host: str, options: object, callback: Any) -> None:
        callback(None, [{"address": Setting.HOST, "family": 4}])

    def connect() -> None:
        client = net.connect(server.address().port, "example.test", lookup=lookup)
        client.on("connect", lambda: (trace.append(client.remote_address), client.end()))

    trace: list[object] = []
    server = net.create_server(lambda socket: server.close()).listen(0, "127.0.0.1", connect)
    pyuvnet.run()
    assert trace == ["127.0.0.1"]

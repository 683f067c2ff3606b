"""Server: the forms of listen(), addresses, counting, limits, misuse."""

from __future__ import annotations

import asyncio
import os
import socket as posix
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from tests.support.cases import cases

linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")


def code_of(call: Any) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the code is what is checked)
        call()
    return str(getattr(caught.value, "code", caught.value))


def reachable(server: net.Server, **target: Any) -> list[str]:
    """Connect once, close everything, and return what happened."""
    seen: list[str] = []
    server.on("connection", lambda s: (seen.append("connection"), server.close()))
    c = net.create_connection(**target)
    c.on("connect", lambda: (seen.append("connect"), c.end()))
    pyuvnet.run()
    return sorted(seen)


# ---- listen() forms ----------------------------------------------------------------------------

PORT_FORMS: list[Any] = [
    ((), {}),
    ((0,), {}),
    (("0",), {}),
    ((" 0x0 ",), {}),
    ((0.0,), {}),
    ((None,), {}),
    ((0, None, 5), {}),
    ((0, 5), {}),
    (({"port": 0},), {}),
    (({"port": "0", "somebody": "else's"},), {}),
    (({"port": None},), {}),
    ((), {"port": 0, "backlog": 1}),
    ((), {"port": 0, "ipv6Only": False}),
    ((), {"exclusive": True, "port": 0}),
]


@pytest.mark.spec("N021", "N023", "N027", "N031", "N113", "N118", "N119")
@cases(("args", "keywords"), PORT_FORMS)
@cases("callback", ["none", "positional", "keyword"])
def test_forms_that_take_a_port_bind_at_once(args: Any, keywords: Any, callback: str) -> None:
    heard: list[str] = []

    def listening() -> None:
        heard.append("listening")

    server = net.create_server()
    if callback == "positional":
        args = (*args, listening)
    elif callback == "keyword":
        keywords = {**keywords, "callback": listening}
    assert server.listen(*args, **keywords) is server
    address = server.address()
    assert server.listening
    assert list(address) == ["address", "family", "port"]
    assert (address["address"], address["family"]) == ("::", "IPv6")
    assert address.port == address["port"] > 0
    assert reachable(server, port=address["port"], host="127.0.0.1") == ["connect", "connection"]
    assert heard == ([] if callback == "none" else ["listening"])


@pytest.mark.spec("N023", "N031", "N032")
@pytest.mark.parametrize(
    ("args", "keywords"),
    [
        ((0, "127.0.0.1"), {}),
        ((0, "127.0.0.1", 5), {}),
        ((0,), {"host": "127.0.0.1"}),
        (({"port": 0, "host": "127.0.0.1"},), {}),
        (({"port": 5, "host": "::1"},), {"port": 0, "host": "127.0.0.1"}),
    ],
)
def test_forms_that_take_a_host_bind_later(args: Any, keywords: Any) -> None:
    server = net.create_server()
    server.listen(*args, **keywords)
    assert not server.listening
    assert server.address() is None
    addresses: list[Any] = []
    server.on("listening", lambda: (addresses.append(server.address()), server.close()))
    pyuvnet.run()
    assert addresses[0] == {
        "address": "127.0.0.1",
        "family": "IPv4",
        "port": addresses[0]["port"],
    }


def test_a_literal_host_is_bound_in_a_tick_and_a_name_after_its_lookup() -> None:
    order: list[str] = []
    named, literal = net.create_server(), net.create_server()
    named.listen(0, "localhost", callback=lambda: (order.append("name"), named.close()))
    literal.listen(0, "127.0.0.1", callback=lambda: (order.append("literal"), literal.close()))
    pyuvnet.set_immediate(order.append, "immediate")
    pyuvnet.run()
    assert order.index("literal") < order.index("immediate")
    assert "name" in order


@pytest.mark.spec("N003", "N030", "N108", "N113", "D68")
@pytest.mark.parametrize("form", ["positional", "mapping", "keyword", "pathlike", "bytes"])
def test_paths(form: str, tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    server = net.create_server()
    if form == "positional":
        server.listen(path, 5)
    elif form == "mapping":
        server.listen({"path": path})
    elif form == "keyword":
        server.listen(path=path)
    elif form == "pathlike":
        server.listen(Path(path))
    else:
        server.listen(os.fsencode(path))
    assert server.listening
    assert os.fsdecode(server.address()) == path
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert reachable(server, path=path) == ["connect", "connection"]
    assert not os.path.exists(path)


@pytest.mark.spec("N030", "D18")
def test_the_file_is_gone_when_close_returns(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = net.create_server().listen(str(path))
    server.close()
    assert not path.exists()
    assert server.address() is None
    pyuvnet.run()


@pytest.mark.spec("N174")
@linux
def test_abstract_sockets() -> None:
    path = f"\0pyuvnet-test-{os.getpid()}"
    server = net.create_server().listen(path)
    assert server.address() == path
    assert reachable(server, path=path) == ["connect", "connection"]


def test_the_longest_path_works_and_a_longer_one_is_an_error(tmp_path: Path) -> None:
    room = (107 if sys.platform == "linux" else 103) - len(os.fsencode(tmp_path)) - 1
    assert room > 0, "the temporary folder's name is too long for this test"
    server = net.create_server().listen(str(tmp_path / ("x" * room)))
    server.close()
    errors: list[Any] = []
    # One byte more fits where the system needs no NUL at the end.
    long = str(tmp_path / ("x" * (room + 2)))
    server = net.create_server().on("error", errors.append).listen(long)
    c = net.create_connection(long).on("error", errors.append)
    assert c.connecting or c.destroyed
    pyuvnet.run()
    assert sorted((error.code, error.syscall) for error in errors) == [
        ("EINVAL", "connect"),
        ("EINVAL", "listen"),
    ]


@pytest.mark.spec("D17")
def test_a_stale_file_and_a_missing_folder(tmp_path: Path) -> None:
    stale = tmp_path / "stale"
    with posix.socket(posix.AF_UNIX) as dead:
        dead.bind(str(stale))
    errors: list[Any] = []
    for path in (stale, tmp_path / "no" / "such"):
        net.create_server().on("error", errors.append).listen(path)
    assert errors == []
    pyuvnet.run()
    assert [(error.code, error.port) for error in errors] == [
        ("EADDRINUSE", None),
        ("EACCES", None),
    ]
    assert stale.exists()


@pytest.mark.spec("N156")
def test_ipv6_only_leaves_ipv4_to_others() -> None:
    # IPv4's first: a port that IPv6 gives away may be taken there by another program.
    with posix.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        server = net.create_server().listen(port=port, host="::", ipv6_only=True)
        heard: list[int] = []
        server.on("listening", lambda: (heard.append(server.address()["port"]), server.close()))
        pyuvnet.run()
        assert heard == [port]
        server.on("error", lambda error: heard.append(error.code))
        server.listen(port=port, host="::")
        pyuvnet.run()
    assert heard == [port, "EADDRINUSE"]


@pytest.mark.spec("N157")
@linux
def test_reuse_port_shares_a_port() -> None:
    first = net.create_server().listen(port=0, reuse_port=True)
    port = first.address()["port"]
    second = net.create_server().listen(port=port, reuse_port=True)
    pyuvnet.next_tick(lambda: (first.close(), second.close()))
    assert second.address() == first.address()
    pyuvnet.run()


def backlog_of(server: net.Server) -> int:
    """What the kernel says of a listening server, which is closed then."""
    port, found = server.address()["port"], []
    for fd in map(int, os.listdir("/proc/self/fd")):
        if not os.path.exists(f"/proc/self/fd/{fd}") or not stat.S_ISSOCK(os.fstat(fd).st_mode):
            continue
        with posix.socket(fileno=os.dup(fd)) as end:
            if end.family in (posix.AF_INET, posix.AF_INET6) and end.getsockname()[1] == port:
                # A listener's limit stands where struct tcp_info counts others' SACKed segments.
                information = end.getsockopt(posix.IPPROTO_TCP, posix.TCP_INFO, 32)
                found.append(int.from_bytes(information[28:], sys.byteorder))
    server.close()
    pyuvnet.run()
    (backlog,) = found
    return backlog


@pytest.mark.spec("N031")
@linux
def test_the_backlog_reaches_the_system() -> None:
    assert backlog_of(net.create_server().listen(0, None, 7)) == 7


@pytest.mark.spec("N113")
@linux
@pytest.mark.parametrize("options", [{}, {"backlog": 0}, {"backlog": None}])
def test_the_backlog_is_511_unless_given(options: Any) -> None:
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert backlog_of(net.create_server().listen(port=0, **options)) == min(511, limit)


@pytest.mark.spec("N027", "D05")
@cases(
    ("args", "code"),
    [
        ((-1,), "ERR_INVALID_ARG_VALUE"),
        ((65536,), "ERR_SOCKET_BAD_PORT"),
        (("1e-1",), "ERR_SOCKET_BAD_PORT"),
        ((True,), "ERR_INVALID_ARG_VALUE"),
        (({"port": -1},), "ERR_SOCKET_BAD_PORT"),
        (({"path": -1},), "ERR_INVALID_ARG_VALUE"),
        (({},), "ERR_INVALID_ARG_VALUE"),
    ],
)
def test_wrong_targets_raise_and_change_nothing(args: Any, code: str) -> None:
    server = net.create_server()
    if args == (-1,):
        # Node: a first positional argument below zero is no port but is judged as one.
        code = "ERR_SOCKET_BAD_PORT"
    assert code_of(lambda: server.listen(*args, lambda: None)) == code
    assert not server.listening
    assert server.listener_count("listening") == 0
    pyuvnet.run()


@pytest.mark.spec("N029", "D01")
def test_unknown_options() -> None:
    assert code_of(lambda: net.create_server().listen(port=0, prot=1)) == "ERR_UNKNOWN_OPTION"
    assert code_of(lambda: net.create_server(no_such=1)) == "ERR_UNKNOWN_OPTION"


@cases(
    "call",
    [
        lambda: net.Server(5),
        lambda: net.Server("x"),
        lambda: net.Server({}, 5),
        lambda: net.Server(lambda s: None, lambda s: None),
        lambda: net.Server(high_water_mark="x"),
        lambda: net.Server(keep_alive_initial_delay="x"),
        lambda: net.Server().get_connections(None),
        lambda: net.Server().get_connections(5),
    ],
)
def test_wrong_types(call: Any) -> None:
    assert code_of(call) == "ERR_INVALID_ARG_TYPE"


# ---- Counting and limits -----------------------------------------------------------------------


@pytest.mark.spec("N026")
def test_get_connections_answers_in_a_tick() -> None:
    seen: list[Any] = []
    server = net.create_server()
    assert server.get_connections(lambda *args: seen.append(args)) is server
    assert seen == []
    pyuvnet.run()
    assert seen == [(None, 0)]


@pytest.mark.spec("N026", "N111")
def test_connections_are_counted_until_they_are_destroyed() -> None:
    counts: list[int] = []
    accepted: list[net.Socket] = []

    def count() -> None:
        server.get_connections(lambda error, number: counts.append(number))

    def connection(s: net.Socket) -> None:
        accepted.append(s)
        count()
        if len(accepted) == 3:
            server.close()
            for each in accepted:
                each.destroy()
                count()

    server = net.create_server(connection).listen(0)
    for _ in range(3):
        net.create_connection(server.address()["port"], "127.0.0.1")
    pyuvnet.run()
    assert counts[:3] == [1, 2, 0]  # the third call comes in the turn that destroys them all
    assert counts[3:] == [0, 0, 0]


@pytest.mark.spec("N022", "N033", "N111", "N161")
@pytest.mark.parametrize("limit", [0, 1])
def test_max_connections(limit: int) -> None:
    drops: list[Any] = []
    server = net.create_server().listen(0)
    assert server.max_connections is None
    server.maxConnections = limit
    assert server.max_connections == limit
    server.on("drop", drops.append)
    accepted: list[net.Socket] = []
    server.on("connection", accepted.append)
    port = server.address()["port"]
    kept = net.create_connection(port, "127.0.0.1") if limit else None
    refused: list[str] = []

    def second() -> None:
        c = net.create_connection(port, "127.0.0.1")
        for event in ("connect", "end", "finish", "error", "close"):
            c.on(event, lambda *args, event=event: refused.append(event))
        c.on("close", lambda had_error: (kept and kept.end(), server.close()))

    if kept:
        kept.on("ready", second)
    else:
        second()
    pyuvnet.run()
    assert refused == ["connect", "end", "finish", "close"]
    assert len(accepted) == limit
    ((drop,),) = [drops]
    assert list(drop) == [
        "localAddress", "localPort", "localFamily",
        "remoteAddress", "remotePort", "remoteFamily",
    ]  # fmt: skip
    assert (drop.local_port, drop["remoteFamily"]) == (port, "IPv6")


@pytest.mark.spec("D19")
def test_a_drop_over_ipc_tells_no_addresses(tmp_path: Path) -> None:
    drops: list[Any] = []
    server = net.create_server().listen(tmp_path / "sock")
    server.max_connections = 0
    server.on("drop", lambda *args: (drops.append(args), server.close()))
    c = net.create_connection(tmp_path / "sock").resume()
    c.on("close", drops.append)
    pyuvnet.run()
    assert sorted(drops, key=str) == [(None,), False]


@pytest.mark.spec("N016", "N153")
def test_accepted_sockets_take_the_servers_options() -> None:
    seen: list[Any] = []
    server = net.create_server(allow_half_open=True, high_water_mark=5, pause_on_connect=True)

    def connection(s: net.Socket) -> None:
        seen.append((s.allow_half_open, s.readable_high_water_mark, s.writable_high_water_mark,
                     s.is_paused()))  # fmt: skip
        server.close()
        s.destroy()

    server.on("connection", connection).listen(0)
    net.create_connection(server.address()["port"], "127.0.0.1")
    pyuvnet.run()
    assert seen == [(True, 5, 5, True)]


def test_a_half_built_subclass_is_refused() -> None:
    class Half(net.Server):
        def __init__(self) -> None:
            pass

    half = Half()
    for name, args in [
        ("listen", (0,)), ("close", ()), ("ref", ()), ("unref", ()),
        ("get_connections", (print,)),
    ]:  # fmt: skip
        assert code_of(lambda name=name, args=args: getattr(half, name)(*args)) == (
            "ERR_NOT_CONSTRUCTED"
        )
    assert not half.listening
    assert half.address() is None
    repr(half)


def test_its_loop_may_have_been_closed_before_repr(tmp_path: Path) -> None:
    server = net.create_server().listen(0)
    named = net.create_server().listen(str(tmp_path / "sock"))
    bound = net.BoundSocket({"host": "127.0.0.1"})
    pyuvnet.current_loop().close()
    assert repr(server) == "<Server closed with its loop connections=0>"
    assert repr(named).endswith(" connections=0>")
    assert repr(bound) == "<BoundSocket closed with its loop>"


# ---- Attributes --------------------------------------------------------------------------------


@pytest.mark.spec("N017")
def test_the_options_are_attributes_that_act_on_later_connections() -> None:
    block_list = net.BlockList()
    server = net.create_server(
        {"noDelay": 1, "keepAlive": True, "keepAliveInitialDelay": 1999, "blockList": block_list}
    )
    assert (server.no_delay, server.keep_alive, server.keep_alive_initial_delay) == (True, True, 1)
    assert server.block_list is server.blockList is block_list
    assert (server.allow_half_open, server.pause_on_connect) == (False, False)
    assert server.high_water_mark == server.highWaterMark == 65536
    server.allowHalfOpen = 5  # type: ignore[assignment]
    server.pause_on_connect = True
    server.highWaterMark = 7.9  # type: ignore[assignment]
    server.keepAliveInitialDelay = 9.0  # type: ignore[assignment]
    assert server.allow_half_open is True
    assert (server.high_water_mark, server.keep_alive_initial_delay) == (7, 9)
    server.high_water_mark = -1
    assert server.high_water_mark == 65536
    server.block_list = None
    seen: list[Any] = []

    def connection(s: net.Socket) -> None:
        with posix.socket(fileno=os.dup(fd_of_port(s.remote_port))) as view:
            seen.append(view.getsockopt(posix.SOL_SOCKET, posix.SO_KEEPALIVE))
            seen.append(view.getsockopt(posix.IPPROTO_TCP, posix.TCP_NODELAY))
        seen.append((s.allow_half_open, s.is_paused(), s.readable_high_water_mark))
        if len(seen) == 3:
            server.keep_alive = server.no_delay = server.pause_on_connect = False
            server.high_water_mark = None  # type: ignore[assignment]
            net.create_connection(server.address()["port"], "127.0.0.1")
        else:
            server.close()
        s.destroy()

    server.on("connection", connection).listen(0)
    net.create_connection(server.address()["port"], "127.0.0.1")
    pyuvnet.run()
    assert seen == [1, 1, (True, True, 65536), 0, 0, (True, False, 65536)]


def fd_of_port(port: int | None) -> int:
    """The descriptor of the accepted socket whose peer has this port."""
    for fd in map(int, os.listdir("/dev/fd")):
        try:
            with posix.socket(fileno=os.dup(fd)) as view:
                if view.family == posix.AF_INET6 and view.getpeername()[1] == port:
                    return fd
        except OSError:
            pass
    raise AssertionError("no such connection")


@pytest.mark.spec("N033", "D09")
@cases(
    ("name", "value", "code", "text"),
    [
        ("high_water_mark", "x", "ERR_INVALID_ARG_TYPE", "highWaterMark"),
        ("high_water_mark", True, "ERR_INVALID_ARG_TYPE", "highWaterMark"),
        ("high_water_mark", float("nan"), "ERR_INVALID_ARG_VALUE", "highWaterMark"),
        ("high_water_mark", 2**60, "ERR_INVALID_ARG_VALUE", "highWaterMark"),
        ("keep_alive_initial_delay", "x", "ERR_INVALID_ARG_TYPE", "keepAliveInitialDelay"),
        ("keep_alive_initial_delay", -1, "ERR_OUT_OF_RANGE", "keepAliveInitialDelay"),
        ("keep_alive_initial_delay", 1.5, "ERR_OUT_OF_RANGE", "keepAliveInitialDelay"),
        ("keep_alive_initial_delay", 2**40, "ERR_OUT_OF_RANGE", "keepAliveInitialDelay"),
        ("block_list", 5, "ERR_INVALID_ARG_TYPE", "blockList"),
        ("block_list", ["127.0.0.1"], "ERR_INVALID_ARG_TYPE", "blockList"),
        ("max_connections", "2", "ERR_INVALID_ARG_TYPE", "maxConnections"),
        ("max_connections", True, "ERR_INVALID_ARG_TYPE", "maxConnections"),
    ],
)
def test_attributes_refuse_what_they_cannot_be(name: str, value: Any, code: str, text: str) -> None:
    server = net.create_server()
    before = getattr(server, name)
    with pytest.raises(pyuvnet.Error) as caught:
        setattr(server, name, value)
    assert caught.value.code == code
    assert text in caught.value.message
    assert getattr(server, name) == before


@pytest.mark.spec("N017")
@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"high_water_mark": "x"}, "ERR_INVALID_ARG_TYPE", (
            'The "options.highWaterMark" property must be of type number. '
            "Received type string ('x')")),
        ({"keepAliveInitialDelay": "x"}, "ERR_INVALID_ARG_TYPE", (
            'The "options.keepAliveInitialDelay" property must be of type number. '
            "Received type string ('x')")),
        ({"block_list": 5}, "ERR_INVALID_ARG_TYPE", (
            'The "options.blockList" property must be an net.BlockList. '
            "Received type number (5)")),
        ({"noDelay": 1, "no_delay": 1}, "ERR_UNKNOWN_OPTION", None),
    ],
)  # fmt: skip
def test_wrong_options(options: Any, code: str, text: str | None) -> None:
    with pytest.raises(pyuvnet.Error) as caught:
        net.create_server(options)
    assert caught.value.code == code
    assert text is None or caught.value.message == text


@pytest.mark.spec("N160")
def test_drop_max_connection_is_stored() -> None:
    server = net.create_server()
    assert server.drop_max_connection is server.dropMaxConnection is None
    server.dropMaxConnection = True
    assert server.drop_max_connection is True


@pytest.mark.parametrize("callback", [None, 5, "x", []])
def test_close_ignores_what_is_no_callback(callback: Any) -> None:
    seen: list[Any] = []
    server = net.create_server().listen(0).on("close", lambda: seen.append("close"))
    assert server.close(callback) is server
    pyuvnet.run()
    assert seen == ["close"]


# ---- asyncio -----------------------------------------------------------------------------------


@pytest.mark.spec("N026", "D70")
def test_get_connections_can_be_awaited() -> None:
    counts: list[int] = []

    async def main() -> None:
        server = net.create_server().listen(0)
        counts.append(await server.get_connections())
        c = net.create_connection(server.address()["port"], "127.0.0.1")
        (s,) = await pyuvnet.events.once(server, "connection")
        counts.append(await server.getConnections())
        server.get_connections(lambda error, count: counts.append(count))
        s.destroy()
        server.close()
        await pyuvnet.events.once(c.resume(), "close")

    pyuvnet.run(main())
    assert counts == [0, 1, 0]
    assert code_of(net.create_server().get_connections) == "ERR_INVALID_ARG_TYPE"


@pytest.mark.spec("N025")
def test_async_with_closes_and_waits_for_the_connections() -> None:
    events: list[str] = []

    async def main() -> None:
        async with net.create_server() as server:
            server.on("close", lambda: events.append("close"))
            server.listen(0)
            server.on("connection", lambda s: pyuvnet.set_timeout(s.end, 20))
            c = net.create_connection(server.address()["port"], "127.0.0.1").resume()
            await pyuvnet.events.once(server, "connection")
            c.on("end", lambda: events.append("end"))
        events.append("left")
        assert not server.listening

    pyuvnet.run(main())
    assert events == ["end", "close", "left"]


@pytest.mark.spec("N025")
def test_async_with_a_server_that_does_not_listen() -> None:
    events: list[str] = []

    async def main() -> None:
        async with net.create_server() as server:
            server.on("close", lambda: events.append("close"))
        async with net.create_server().listen(0) as server:
            server.close()
            await pyuvnet.events.once(server, "close")

    pyuvnet.run(main())
    assert events == []


def test_async_with_lets_the_bodys_exception_through() -> None:
    async def main() -> None:
        async with net.create_server().listen(0):
            raise ValueError("X")

    with pytest.raises(ValueError, match="X"):
        pyuvnet.run(main())


@pytest.mark.spec("N163")
def test_async_for_gives_the_connections_until_close() -> None:
    seen: list[Any] = []

    async def main() -> None:
        server = net.create_server().listen(0)
        server.on("close", lambda: seen.append("close"))
        port = server.address()["port"]
        clients = [net.create_connection(port, "127.0.0.1").resume() for _ in range(3)]
        assert len(clients) == 3
        async for socket in server:
            assert isinstance(socket, net.Socket)
            seen.append(socket.remote_port)
            socket.end()
            if len(seen) == 3:
                server.close()
        seen.append("left")
        assert server.event_names() == ["close"]

    pyuvnet.run(main())
    assert len(set(seen[:3])) == 3
    assert seen[3:] == ["close", "left"]


@pytest.mark.spec("N163")
def test_async_for_does_not_hold_up_accepting() -> None:
    seen: list[str] = []

    async def main() -> None:
        server = net.create_server().listen(0)
        port = server.address()["port"]
        accepted = 0

        def count(s: net.Socket) -> None:
            nonlocal accepted
            accepted += 1

        server.on("connection", count)
        for _ in range(3):
            net.create_connection(port, "127.0.0.1").resume()
        async for socket in server:
            while accepted < 3:
                await pyuvnet.events.once(server, "connection")
            seen.append("body")
            socket.end()
            if len(seen) == 3:
                break
        server.close()
        await pyuvnet.events.once(server, "close")

    pyuvnet.run(main())
    assert seen == ["body"] * 3


@pytest.mark.spec("N163")
def test_async_for_raises_the_error_of_the_server() -> None:
    async def main() -> None:
        other = net.create_server().listen(0)
        server = net.create_server()
        pyuvnet.next_tick(server.listen, other.address()["port"])
        try:
            async for _ in server:
                raise AssertionError("nobody connected")
        finally:
            other.close()

    with pytest.raises(OSError, match="EADDRINUSE") as caught:
        pyuvnet.run(main())
    assert caught.value.code == "EADDRINUSE"  # type: ignore[attr-defined]


@pytest.mark.spec("N178", "D08")
@pytest.mark.parametrize("event", ["connection", "drop"])
def test_a_coroutine_listener_that_fails(event: str) -> None:
    seen: list[Any] = []

    async def main() -> None:
        server = net.create_server(capture_rejections=True).listen(0)
        server.on("error", lambda error: seen.append(("server", error.args)))
        if event == "drop":
            server.max_connections = 0

        @server.on(event)
        async def failing(thing: Any) -> None:
            if event == "connection":
                thing.on("error", lambda error: seen.append(("socket", error.args)))
            raise ValueError("X")

        c = net.create_connection(server.address()["port"], "127.0.0.1").resume()
        c.on("error", lambda error: None)
        await pyuvnet.events.once(c, "close")
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()
    assert seen == [("socket" if event == "connection" else "server", ("X",))]


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("listen", (0,)),
        ("close", ()),
        ("get_connections", (print,)),
        ("ref", ()),
        ("unref", ()),
    ],
)
def test_from_another_thread(method: str, args: Any) -> None:
    codes: list[str] = []
    server = net.create_server().listen(0)
    thread = threading.Thread(
        target=lambda: codes.append(code_of(lambda: getattr(server, method)(*args)))
    )
    thread.start()
    thread.join()
    assert codes == ["ERR_WRONG_THREAD"]
    assert server.listening
    server.close()
    pyuvnet.run()


# ---- A coroutine that leaves a connection behind -------------------------------------------------


def end_of(peer: posix.socket) -> Any:
    """A coroutine that gives what the peer of a connection reads, at most for two seconds."""

    async def read() -> bytes:
        loop = asyncio.get_running_loop()
        peer.setblocking(False)
        try:
            return await asyncio.wait_for(loop.sock_recv(peer, 10), 2)
        except ConnectionResetError:
            return b""

    return read()


def connected(server: net.Server, count: int = 1) -> list[posix.socket]:
    port = server.address()["port"]
    return [posix.create_connection(("127.0.0.1", port)) for _ in range(count)]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.spec("D26")
@pytest.mark.parametrize("registers", [False, True])
@pytest.mark.parametrize("delay", [False, True])
def test_a_coroutine_listener_that_raises_does_not_leave_its_peer_waiting(
    delay: bool, registers: bool
) -> None:
    failures: list[Any] = []

    async def serve(s: net.Socket) -> None:
        if registers:
            s.on("data", failures.append)
        if delay:
            await asyncio.sleep(0.01)
        raise ValueError("X")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context["exception"].args)
        )
        server = net.create_server(serve).listen(0)
        (peer,) = connected(server)
        assert await end_of(peer) == b""
        peer.close()
        while not failures:
            await asyncio.sleep(0)
        assert await server.get_connections() == 0
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()
    assert failures == [("X",)]


@pytest.mark.spec("D26")
def test_a_coroutine_listener_that_returns_leaves_its_socket_as_it_is() -> None:
    given: list[net.Socket] = []

    async def serve(s: net.Socket) -> None:
        given.append(s)

    async def main() -> None:
        server = net.create_server(serve).listen(0)
        peers = connected(server)
        while not given:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert not given[0].destroyed
        given[0].end(b"later")
        assert await end_of(peers[0]) == b"later"
        peers[0].close()
        given[0].destroy()
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()


@pytest.mark.spec("D26")
def test_a_cancelled_coroutine_listener_destroys_its_socket_quietly() -> None:
    failures: list[Any] = []
    tasks: list[Any] = []

    async def serve(s: net.Socket) -> None:
        tasks.append(asyncio.current_task())
        s.on("error", failures.append)
        await asyncio.sleep(3600)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, c: failures.append(c))
        server = net.create_server(serve).listen(0)
        (peer,) = connected(server)
        while not tasks:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        assert await end_of(peer) == b""
        peer.close()
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()
    assert failures == []
    assert tasks[0].cancelled()


def test_the_end_of_run_cancels_the_coroutine_listeners_and_closes_their_sockets() -> None:
    given: list[net.Socket] = []

    async def serve(s: net.Socket) -> None:
        given.append(s)
        await asyncio.sleep(3600)

    async def main() -> None:
        server = net.create_server(serve).listen(0)
        peers.extend(connected(server, 3))
        while len(given) < 3:
            await asyncio.sleep(0)
        server.close()

    peers: list[posix.socket] = []
    pyuvnet.run(main())
    assert [s.destroyed for s in given] == [True] * 3
    for peer in peers:
        peer.settimeout(2)
        assert peer.recv(1) == b""
        peer.close()
    pyuvnet.run()


def test_a_task_factory_that_fails_leaves_no_connection_open() -> None:
    failures: list[Any] = []

    async def serve(s: net.Socket) -> None:
        raise AssertionError("never begun")

    def fail(loop: Any, coroutine: Any, **_: Any) -> Any:
        coroutine.close()
        raise ValueError("X")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"].args))
        server = net.create_server(serve).listen(0)
        (peer,) = connected(server)
        loop.set_task_factory(fail)
        while not failures:
            await asyncio.sleep(0)
        loop.set_task_factory(None)
        assert server._connections == 0
        assert await end_of(peer) == b""
        peer.close()
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()
    assert failures == [("X",)]


@linux
@pytest.mark.parametrize("listener", ["function", "coroutine"])
def test_three_hundred_connections_that_nobody_serves_leave_no_descriptor(listener: str) -> None:
    """Under attach(), where an exception of a listener ends nothing."""
    failures: list[Any] = []

    def function(s: net.Socket) -> None:
        raise ValueError("X")

    async def coroutine(s: net.Socket) -> None:
        raise ValueError("X")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context["exception"].args)
        )
        with pyuvnet.attach():
            server = net.create_server(function if listener == "function" else coroutine).listen(0)
            await asyncio.sleep(0)
            before = descriptors()
            for _ in range(6):
                peers = connected(server, 50)
                for peer in peers[::2]:
                    peer.sendall(b"x")
                for peer in peers:
                    assert await end_of(peer) == b""
                    peer.close()
            while len(failures) < 300:
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            assert descriptors() == before
            assert await server.get_connections() == 0
            server.close()
            await pyuvnet.events.once(server, "close")

    asyncio.run(main())
    assert failures == [("X",)] * 300


async def accepted(server: net.Server, count: int) -> None:
    while server._connections < count:
        await asyncio.sleep(0)


@pytest.mark.spec("D27")
@pytest.mark.parametrize("way", ["waiting", "body", "break", "raise", "same turn", "closed"])
def test_async_for_that_is_left_closes_what_it_has_not_handed_out(way: str) -> None:
    given: list[net.Socket] = []

    async def serve(server: net.Server) -> None:
        async for s in server:
            given.append(s)
            if way == "break":
                await accepted(server, 3)
                break
            if way == "raise":
                await accepted(server, 3)
                raise ValueError("X")
            await asyncio.sleep(3600)

    async def main() -> None:
        server = net.create_server().listen(0)
        coroutine = serve(server)
        if way == "closed":
            # Without asyncio, which would cancel it.
            coroutine.send(None)
            coroutine.close()
            assert server.listener_count("connection") == 0
            server.close()
            return
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        if way == "waiting":
            task.cancel()
            await asyncio.wait([task])
            assert server.listener_count("connection") == 0
            server.close()
            return
        if way == "same turn":
            server.once("connection", lambda _: task.cancel())
        peers = connected(server, 3)
        await asyncio.wait([task], timeout=0.05)
        if way == "body":
            await accepted(server, 3)
            task.cancel()
            await asyncio.wait([task])
        assert task.done()
        # The task is kept, and with it the traceback of what ended it.
        # Those that come after its end stay with the server, which has no listener then.
        left = peers[:1] if way == "same turn" else peers[len(given) :]
        assert len(left) == (1 if way == "same turn" else 2)
        for peer in left:
            assert await end_of(peer) == b""
        for peer in peers:
            peer.close()
        for s in given:
            assert not s.destroyed
            s.destroy()
        server.close().destroy_sockets()
        if way == "raise":
            with pytest.raises(ValueError, match="X"):
                await task

    pyuvnet.run(main())
    pyuvnet.run()


def test_an_iterator_whose_waiting_is_given_up_goes_on() -> None:
    """As asyncio.wait_for() gives it up."""

    async def main() -> None:
        server = net.create_server().listen(0)
        connections = aiter(server)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(connections), 0.01)
        peers = connected(server, 2)
        await accepted(server, 2)
        for _ in peers:
            s = await asyncio.wait_for(anext(connections), 2)
            assert not s.destroyed
            s.destroy()
        # One for which nothing else holds the iterator.
        del connections
        waiting = asyncio.ensure_future(anext(aiter(server)))
        await asyncio.sleep(0)
        peers += connected(server)
        (await waiting).destroy()
        for peer in peers:
            peer.close()
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()


def test_an_iterator_that_ends_in_another_thread_closes_what_it_has() -> None:
    async def main() -> None:
        server = net.create_server().listen(0)
        connections = [aiter(server)]
        (peer,) = connected(server)
        await accepted(server, 1)
        thread = threading.Thread(target=connections.clear)
        thread.start()
        thread.join()
        assert await end_of(peer) == b""
        peer.close()
        server.close()

    pyuvnet.run(main())
    pyuvnet.run()

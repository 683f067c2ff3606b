"""BoundSocket: binding at once, what it says about itself, and who may use it."""

from __future__ import annotations

import errno
import gc
import os
import socket as posix
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import BoundSocket, net
from tests.support.cases import cases

linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
ADOPTED = "The bound socket has already been adopted by a server or socket"


def failure_of(call: Any) -> Any:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the code is what is checked)
        call()
    return caught.value


# ---- Where it is bound -------------------------------------------------------------------------


@pytest.mark.spec("N173")
@cases(
    ("options", "address", "family"),
    [
        (None, "0.0.0.0", "IPv4"),
        ({}, "0.0.0.0", "IPv4"),
        ({"port": None, "host": None, "path": None}, "0.0.0.0", "IPv4"),
        ({"port": "0"}, "0.0.0.0", "IPv4"),
        ({"ipv6Only": True}, "::", "IPv6"),
        ({"ipv6_only": False}, "0.0.0.0", "IPv4"),
        ({"host": "127.0.0.1"}, "127.0.0.1", "IPv4"),
        ({"host": "127.0.0.1", "ipv6_only": True}, "127.0.0.1", "IPv4"),
        ({"host": "::1", "somebody": "else's"}, "::1", "IPv6"),
        ({"host": "::ffff:127.0.0.1"}, "::ffff:127.0.0.1", "IPv6"),
    ],
)
def test_it_is_bound_when_the_constructor_returns(options: Any, address: str, family: str) -> None:
    bound = BoundSocket(options)
    where = bound.address()
    assert list(where) == ["address", "family", "port"]
    assert (where.address, where.family) == (address, family)
    assert where.port > 0
    assert bound.is_pipe is bound.isPipe is False
    assert os.fstat(bound.fd())
    # Bound, but nobody answers yet.
    with posix.socket(posix.AF_INET6 if family == "IPv6" else posix.AF_INET) as probe:
        target = "::1" if address == "::" else "127.0.0.1" if address == "0.0.0.0" else address
        assert probe.connect_ex((target, where.port)) == errno.ECONNREFUSED
    bound.close()
    pyuvnet.run()


def test_keywords_in_either_spelling_win_over_the_mapping() -> None:
    bound = BoundSocket({"host": "::1"}, host="127.0.0.1", ipv6Only=False, reuse_port=None)
    assert bound.address()["address"] == "127.0.0.1"
    bound.close()
    pyuvnet.run()


def test_the_port_asked_for() -> None:
    with posix.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with BoundSocket(host="127.0.0.1", port=port) as bound:
        assert bound.address().port == port
    pyuvnet.run()


@linux
def test_reuse_port_reaches_the_system() -> None:
    with BoundSocket(reuse_port=True) as one, BoundSocket() as two:
        for bound, value in ((one, 1), (two, 0)):
            with posix.socket(fileno=os.dup(bound.fd())) as view:
                assert view.getsockopt(posix.SOL_SOCKET, posix.SO_REUSEPORT) == value
    pyuvnet.run()


def test_ipv6_only_reaches_the_system() -> None:
    for options, value in (({"ipv6_only": True}, 1), ({"host": "::"}, 0)):
        with BoundSocket(options) as bound, posix.socket(fileno=os.dup(bound.fd())) as view:
            assert view.getsockopt(posix.IPPROTO_IPV6, posix.IPV6_V6ONLY) == value
    pyuvnet.run()


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_a_path(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    bound = BoundSocket(path=kind(str(path)))
    assert bound.is_pipe
    assert bound.address() == kind(str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    bound.close()
    assert not path.exists()
    assert bound.is_pipe
    pyuvnet.run()


@linux
def test_an_abstract_path() -> None:
    path = f"\0pyuvnet-bound-{os.getpid()}"
    with BoundSocket(path=path) as bound:
        assert bound.address() == path
        assert failure_of(lambda: BoundSocket(path=path)).code == "EADDRINUSE"
    pyuvnet.run()


# ---- What is refused ---------------------------------------------------------------------------

TYPE, VALUE = "ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE"
NUMERIC = "must be a numeric IP address; net.BoundSocket does not perform DNS resolution"
EXCLUSIVE = "path is mutually exclusive with host, port, ipv6Only, and reusePort"


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (5, TYPE, 'The "options" argument must be of type object. Received type number (5)'),
        ("x", TYPE, "The \"options\" argument must be of type object. Received type string ('x')"),
        ([], TYPE, 'The "options" argument must be of type object. Received an instance of Array'),
        ({"host": 5}, TYPE, ('The "options.host" property must be of type string. '
            "Received type number (5)")),
        ({"host": "localhost"}, VALUE, (f"The property 'options.host' {NUMERIC}. "
            "Received 'localhost'")),
        ({"host": ""}, VALUE, f"The property 'options.host' {NUMERIC}. Received ''"),
        ({"host": "1.2.3"}, VALUE, f"The property 'options.host' {NUMERIC}. Received '1.2.3'"),
        ({"host": "127.0.0.1\0"}, VALUE, None),
        ({"port": -1}, "ERR_SOCKET_BAD_PORT", ("options.port should be >= 0 and < 65536. "
            "Received type number (-1).")),
        ({"port": 65536}, "ERR_SOCKET_BAD_PORT", None),
        ({"port": 1.5}, "ERR_SOCKET_BAD_PORT", None),
        ({"port": float("nan")}, "ERR_SOCKET_BAD_PORT", None),
        ({"port": True}, "ERR_SOCKET_BAD_PORT", ("options.port should be >= 0 and < 65536. "
            "Received type boolean (true).")),
        ({"port": "x"}, "ERR_SOCKET_BAD_PORT", ("options.port should be >= 0 and < 65536. "
            "Received type string ('x').")),
        ({"port": ""}, "ERR_SOCKET_BAD_PORT", None),
        ({"ipv6_only": 1}, TYPE, ('The "options.ipv6Only" property must be of type boolean. '
            "Received type number (1)")),
        ({"reuse_port": 1}, TYPE, ('The "options.reusePort" property must be of type boolean. '
            "Received type number (1)")),
        ({"path": 5}, TYPE, ('The "options.path" property must be of type string. '
            "Received type number (5)")),
        ({"path": "p", "port": 0}, VALUE, (f"The argument 'options' {EXCLUSIVE}. "
            "Received { path: 'p', port: 0 }")),
        ({"path": "p", "host": "::"}, VALUE, (f"The argument 'options' {EXCLUSIVE}. "
            "Received { path: 'p', host: '::' }")),
        ({"path": "p", "ipv6_only": False}, VALUE, (f"The argument 'options' {EXCLUSIVE}. "
            "Received { path: 'p', ipv6Only: false }")),
        ({"path": "p", "reusePort": True}, VALUE, None),
    ],
)  # fmt: skip
def test_wrong_options(options: Any, code: str, text: str | None, tmp_path: Path) -> None:
    os.chdir(tmp_path)
    error = failure_of(lambda: BoundSocket(options))
    assert error.code == code
    assert isinstance(error, pyuvnet.Error)
    if text is not None:
        assert error.message == text
    assert os.listdir() == []


def test_an_unknown_keyword() -> None:
    error = failure_of(lambda: BoundSocket(prot=1))
    assert (error.code, error.message) == (
        "ERR_UNKNOWN_OPTION",
        "BoundSocket() got an unknown option 'prot'. Did you mean 'port'?",
    )


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"host": "192.0.2.1"}, "EADDRNOTAVAIL", "bind EADDRNOTAVAIL 192.0.2.1"),
        ({"host": "192.0.2.1", "port": 9}, "EADDRNOTAVAIL", "bind EADDRNOTAVAIL 192.0.2.1:9"),
        ({"path": "/no/such/folder/sock"}, "EACCES", "bind EACCES"),
        ({"path": "/" + "x" * 200}, "EINVAL", "bind EINVAL"),
        ({"path": "x\0y"}, "EINVAL", "bind EINVAL"),
    ],
)
def test_what_the_system_refuses_raises_and_leaves_nothing(
    options: dict[str, Any], code: str, message: str
) -> None:
    error = failure_of(lambda: BoundSocket(options))
    assert isinstance(error, OSError)
    assert (error.code, error.syscall, error.message) == (code, "bind", message)  # type: ignore[attr-defined]
    assert error.address == options.get("host")  # type: ignore[attr-defined]
    assert error.port == options.get("port")  # type: ignore[attr-defined]
    pyuvnet.run()


def test_a_port_that_is_listened_on_is_refused_at_once() -> None:
    with posix.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = failure_of(lambda: BoundSocket(host="127.0.0.1", port=port))
    assert isinstance(error, OSError)
    assert (error.code, error.syscall, error.address, error.port) == (  # type: ignore[attr-defined]
        "EADDRINUSE", "bind", "127.0.0.1", port,
    )  # fmt: skip
    pyuvnet.run()


def test_a_path_in_use_is_refused_and_its_file_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    with BoundSocket(path=path):
        assert failure_of(lambda: BoundSocket(path=path)).code == "EADDRINUSE"
        assert os.path.exists(path)
    pyuvnet.run()


# ---- Once adopted, or closed -------------------------------------------------------------------

METHODS = ["address", "fd", "close", "__enter__"]


@pytest.mark.parametrize("method", METHODS)
def test_after_close_every_method_raises(method: str) -> None:
    bound = BoundSocket()
    bound.close()
    error = failure_of(getattr(bound, method))
    assert isinstance(error, pyuvnet.StateError)
    assert (error.code, error.message) == ("ERR_SOCKET_HANDLE_ADOPTED", ADOPTED)
    assert repr(bound) == "<BoundSocket adopted or closed>"
    assert bound.is_pipe is False
    pyuvnet.run()


@pytest.mark.spec("N173")
def test_with_closes_what_nobody_adopted() -> None:
    with BoundSocket() as bound:
        assert repr(bound) == f"<BoundSocket 0.0.0.0:{bound.address().port}>"
    assert failure_of(bound.fd).code == "ERR_SOCKET_HANDLE_ADOPTED"
    with BoundSocket() as bound:
        bound.close()
    pyuvnet.run()


@pytest.mark.parametrize("method", [*METHODS, "_adopt"])
def test_half_built_and_from_another_thread(method: str) -> None:
    class Half(BoundSocket):
        def __init__(self) -> None:
            pass

    assert failure_of(getattr(Half(), method)).code == "ERR_NOT_CONSTRUCTED"
    repr(Half())
    codes: list[str] = []
    with BoundSocket() as bound:
        call = getattr(bound, method)
        thread = threading.Thread(target=lambda: codes.append(failure_of(call).code))
        thread.start()
        thread.join()
        assert failure_of(lambda: bound.__init__()).code == "ERR_CONSTRUCTED_TWICE"  # type: ignore[misc]
    assert codes == ["ERR_WRONG_THREAD"]
    pyuvnet.run()


def test_it_keeps_no_loop_alive() -> None:
    bound = BoundSocket()
    pyuvnet.run()
    bound.close()
    pyuvnet.run()
    gc.collect()


def test_its_names() -> None:
    assert net.BoundSocket is pyuvnet.BoundSocket is BoundSocket


def test_one_that_is_dropped_is_closed_and_warned_of():
    bound = net.BoundSocket(host="127.0.0.1")
    port = bound.address().port
    shown = repr(bound)
    with pytest.warns(ResourceWarning) as caught:
        del bound
    assert str(caught[0].message) == f"unclosed {shown}"
    assert str(port) in shown
    assert pyuvnet.current_loop().handle_count() == 1
    pyuvnet.run()
    # The descriptor is gone: the port can be listened on.
    server = net.create_server().listen(port, "127.0.0.1")
    server.on("listening", server.close)
    pyuvnet.run()


def test_one_that_is_dropped_in_another_thread_is_closed_too(loop):
    kept = [net.BoundSocket(host="127.0.0.1")]

    def drop():
        thread = threading.Thread(target=kept.clear)
        thread.start()
        thread.join()

    with pytest.warns(ResourceWarning):
        drop()
    pyuvnet.run()
    assert loop.handle_count() == 0


def test_what_was_adopted_or_closed_is_dropped_without_a_word():
    closed = net.BoundSocket(host="127.0.0.1")
    closed.close()
    adopted = net.BoundSocket(host="127.0.0.1")
    server = net.create_server().listen(adopted)
    del closed, adopted
    gc.collect()
    assert server.listening
    server.close()
    pyuvnet.run()


def test_one_whose_loop_is_closed_is_dropped_without_a_word(loop):
    bound = net.BoundSocket(host="127.0.0.1")
    loop.close()
    del bound
    gc.collect()

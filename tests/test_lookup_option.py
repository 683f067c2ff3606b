"""connect()'s option lookup: a program's own name lookup, with a callback or a coroutine."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import pytest

import pyuvnet
from pyuvnet import net
from pyuvnet.errors import ArgTypeError, Error, StateError
from tests.support.cases import cases

# The hints of a lookup for which the program names neither family nor hints.
ADDRCONFIG = 0 if sys.platform == "win32" else socket.AI_ADDRCONFIG
SEEN = (
    "lookup", "connectionAttempt", "connectionAttemptFailed", "connect", "end", "error", "close",
)  # fmt: skip


def watch(c: net.Socket, trace: Any) -> net.Socket:
    for name in SEEN:
        c.on(
            name,
            lambda *args, name=name: trace(name, *(getattr(each, "code", each) for each in args)),
        )
    return c.resume()


def against(server_options: Any, trace: Any, **options: Any) -> None:
    """Connect to a server that ends each connection; both are over when this returns."""
    server = net.create_server(lambda s: s.end()).listen(0, "127.0.0.1")

    def go() -> None:
        port = server.address()["port"]
        trace.port = port
        c = net.create_connection({"port": port, "host": "some.where", **options})
        watch(c, trace).on("close", lambda had_error: server.close())

    server.on("listening", go)
    pyuvnet.run()


def connected(port: int, *lookups: Any) -> list[Any]:
    return [
        *lookups,
        ("connectionAttempt", "127.0.0.1", port, 4),
        "connect",
        "end",
        ("close", False),
    ]


@pytest.mark.spec("N168")
def test_one_address(trace: Any) -> None:
    def lookup(host: str, options: Any, callback: Any) -> None:
        trace("asked", host, dict(options))
        pyuvnet.next_tick(callback, None, "127.0.0.1", 4)

    against({}, trace, lookup=lookup, family=4, hints=3)
    assert trace == [
        ("asked", "some.where", {"family": 4, "hints": 3}),
        *connected(trace.port, ("lookup", None, "127.0.0.1", 4, "some.where")),
    ]


@pytest.mark.spec("N168")
def test_all_addresses(trace: Any) -> None:
    def lookup(host: str, options: Any, callback: Any) -> None:
        trace("asked", dict(options), options.all)
        found = [{"address": "127.0.0.1", "family": 4}, ("127.0.0.1", 4)]
        pyuvnet.next_tick(callback, None, found)

    against({}, trace, lookup=lookup)
    once = ("lookup", None, "127.0.0.1", 4, "some.where")
    assert trace == [
        ("asked", {"family": None, "hints": ADDRCONFIG, "all": True}, True),
        *connected(trace.port, once, once),
    ]


def test_an_answer_inside_the_call_starts_inside_connect(trace: Any) -> None:
    server = net.create_server(lambda s: s.end()).listen(0, "127.0.0.1")

    def go() -> None:
        c = watch(net.Socket(), trace)
        c.connect(
            port=server.address()["port"],
            host="x",
            lookup=lambda host, options, callback: callback(None, "127.0.0.1", 4),
        )
        trace("returned")
        c.on("close", lambda had_error: server.close())

    server.on("listening", go)
    pyuvnet.run()
    assert [each if isinstance(each, str) else each[0] for each in trace] == [
        "lookup", "connectionAttempt", "returned", "connect", "end", "close",
    ]  # fmt: skip


def test_the_programs_error_is_emitted_as_it_is(trace: Any) -> None:
    failure = OSError("no such host")
    errors: list[BaseException] = []
    c = net.create_connection(
        port=1, host="x", lookup=lambda host, options, callback: callback(failure)
    )
    c.on("lookup", trace.note("lookup"))
    c.on("error", errors.append).on("close", trace.note("close"))
    pyuvnet.run()
    # The 'lookup' came inside the call, before anybody could listen.
    assert errors == [failure]
    assert errors[0] is failure
    assert trace == [("close", True)]


@pytest.mark.spec("D56")
@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (("nonsense", 4), "ERR_INVALID_IP_ADDRESS", "Invalid IP address: nonsense"),
        ((7, 4), "ERR_INVALID_IP_ADDRESS", "Invalid IP address: 7"),
        (
            ("127.0.0.1", 100),
            "ERR_INVALID_ADDRESS_FAMILY",
            "Invalid address family: 100 some.where:1",
        ),
        (([],), "ENOTFOUND", "getaddrinfo ENOTFOUND some.where"),
        ((None,), "ENOTFOUND", "getaddrinfo ENOTFOUND some.where"),
        (
            ([{"address": "1.2.3", "family": 4}, {"address": "::1", "family": 9}],),
            "ERR_INVALID_IP_ADDRESS",
            "Invalid IP address: 1.2.3",
        ),
    ],
)
def test_a_bad_answer_is_an_error(trace: Any, answer: Any, code: str, text: str) -> None:
    c = net.create_connection(
        port=1,
        host="some.where",
        lookup=lambda host, options, callback: pyuvnet.next_tick(callback, None, *answer),
    )
    c.on("error", lambda error: trace(error.code, error.message, getattr(error, "port", None)))
    c.on("close", trace.note("close"))
    pyuvnet.run()
    asked = 1 if code == "ERR_INVALID_ADDRESS_FAMILY" else None
    assert trace == [(code, text, asked), ("close", True)]


WRONG: list[tuple[Any, str]] = [
    (None, "undefined"),
    (5, "5"),
    (True, "true"),
    ("127.0.0.1x", "127.0.0.1x"),
    (b"127.0.0.1", "<Buffer 31 32 37 2e 30 2e 30 2e 31>"),
    (["127.0.0.1"], "[ '127.0.0.1' ]"),
    ([["127.0.0.1", 4]], "[ [Array] ]"),
    (("127.0.0.1", 4, 0), "[ '127.0.0.1', 4, 0 ]"),
    ([{"address": "127.0.0.1", "family": 4}], "[ [Object] ]"),
    ({"address": "127.0.0.1", "family": 4}, "{ address: '127.0.0.1', family: 4 }"),
    ([], "[]"),
    ({}, "{}"),
]


def errors_of(answer: Any, family: Any = 4, options: Any = None) -> list[Any]:
    """Codes and texts of the errors after a lookup has answered so."""
    found: list[Any] = []
    c = net.create_connection(
        port=1,
        host="some.where",
        lookup=lambda host, options, callback: pyuvnet.next_tick(callback, None, answer, family),
        **(options or {}),
    )
    c.on("error", lambda error: found.append((error.code, error.message)))
    c.on("close", found.append)
    pyuvnet.run()
    assert found.pop() is True
    return found


@cases(("answer", "text"), WRONG)
def test_one_address_is_a_text(answer: Any, text: str) -> None:
    """Without `all` nothing but one address will do, as in Node."""
    found = errors_of(answer, options={"family": 4})
    # In a lookup of one address the family of the answer is the second argument.
    assert found == [("ERR_INVALID_IP_ADDRESS", f"Invalid IP address: {text}")]


@cases(
    ("answer", "code", "text"),
    [
        (5, "ERR_INVALID_IP_ADDRESS", "5"),
        (b"127.0.0.1", "ERR_INVALID_IP_ADDRESS", "<Buffer 31 32 37 2e 30 2e 30 2e 31>"),
        ({"address": "::1"}, "ERR_INVALID_IP_ADDRESS", "{ address: '::1' }"),
        (["127.0.0.1"], "ERR_INVALID_IP_ADDRESS", "[ '127.0.0.1' ]"),
        ([None], "ERR_INVALID_IP_ADDRESS", "undefined"),
        ([5], "ERR_INVALID_IP_ADDRESS", "5"),
        ([("127.0.0.1", 4, 0)], "ERR_INVALID_IP_ADDRESS", "[ '127.0.0.1', 4, 0 ]"),
        ([[["127.0.0.1"], 4]], "ERR_INVALID_IP_ADDRESS", "[ '127.0.0.1' ]"),
        ([{}], "ERR_INVALID_IP_ADDRESS", "undefined"),
        ([{"address": 5, "family": 4}], "ERR_INVALID_IP_ADDRESS", "5"),
        ([{"address": "127.0.0.1"}], "ERR_INVALID_ADDRESS_FAMILY", "undefined"),
        ([("127.0.0.1", "4")], "ERR_INVALID_ADDRESS_FAMILY", "4"),
        ([("127.0.0.1", [4])], "ERR_INVALID_ADDRESS_FAMILY", "[ 4 ]"),
    ],
)
def test_several_addresses_are_mappings_or_pairs(answer: Any, code: str, text: str) -> None:
    ((found, message),) = errors_of(answer)
    where = " some.where:1" if code == "ERR_INVALID_ADDRESS_FAMILY" else ""
    assert found == code
    assert message.endswith(f": {text}{where}")


def test_addresses_that_fail_while_they_are_read_are_the_error() -> None:
    def addresses() -> Any:
        yield ("127.0.0.1", 4)
        raise StateError("no more", "ERR_OF_MINE")

    assert errors_of(addresses()) == [("ERR_OF_MINE", "no more")]


@pytest.mark.parametrize(("address", "family"), [("127.0.0.1", 6), ("::1", 4)])
def test_an_address_of_the_other_family_is_invalid(address: str, family: int) -> None:
    ((code, _),) = errors_of(address, family, {"family": family})
    assert code == "EINVAL"


@pytest.mark.parametrize("error", [5, "text", [], {}, object()], ids=repr)
def test_an_error_is_an_exception(error: Any) -> None:
    answers: list[Any] = []
    c = net.create_connection(
        port=1, host="x", lookup=lambda host, options, callback: answers.append(callback)
    )
    with pytest.raises(ArgTypeError, match="err") as caught:
        answers[0](error)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert c.connecting
    # It has not answered yet.
    c.on("error", answers.append)
    answers[0](RuntimeError("such"))
    pyuvnet.run()
    assert str(answers[1]) == "such"


def test_the_first_answer_counts(trace: Any) -> None:
    def lookup(host: str, options: Any, callback: Any) -> None:
        for _ in range(2):
            pyuvnet.next_tick(callback, None, "127.0.0.1", 4)

    against({}, trace, lookup=lookup)
    assert trace == connected(trace.port, ("lookup", None, "127.0.0.1", 4, "some.where"))


def test_an_answer_after_destroy_is_nobodys(trace: Any) -> None:
    answers: list[Any] = []
    c = net.create_connection(
        port=1, host="x", lookup=lambda host, options, callback: answers.append(callback)
    )
    watch(c, trace).destroy()
    answers[0](None, "127.0.0.1", 4)
    pyuvnet.run()
    assert trace == [("close", False)]


def test_a_lookup_that_does_not_answer_does_not_keep_the_loop_alive() -> None:
    c = net.create_connection(port=1, host="x", lookup=lambda host, options, callback: None)
    pyuvnet.run()
    assert c.connecting
    c.destroy()
    pyuvnet.run()


@pytest.mark.spec("D58")
def test_a_lookup_that_raises_leaves_nothing_behind(trace: Any) -> None:
    c = watch(net.Socket(), trace)

    def lookup(host: str, options: Any, callback: Any) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        c.connect(port=1, host="x", lookup=lookup)
    assert (c.connecting, c.destroyed) == (False, True)
    pyuvnet.run()
    assert trace == [("close", False)]


@pytest.mark.parametrize("value", [1, "x", {}, True])
def test_a_bad_lookup_is_refused_when_one_is_needed(value: Any) -> None:
    c = net.Socket()
    with pytest.raises(Error) as caught:
        c.connect(port=1, host="localhost", lookup=value)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    assert caught.value.message.startswith(
        'The "options.lookup" property must be of type function. Received '
    )
    assert (c.connecting, c.listener_count("connect")) == (False, 0)
    # A literal address needs none.
    c.on("error", lambda error: None).connect(port=1, host="127.0.0.1", lookup=value)
    pyuvnet.run()


@pytest.mark.spec("N168")
@pytest.mark.parametrize(
    ("option", "code", "text"),
    [
        (
            {"family": 9},
            "ERR_INVALID_ARG_VALUE",
            "The property 'options.family' must be one of: 0, 4, 6. Received 9",
        ),
        (
            {"hints": 999999},
            "ERR_INVALID_ARG_VALUE",
            "The argument 'hints' is invalid. Received 999999",
        ),
        (
            {"hints": "x"},
            "ERR_INVALID_ARG_TYPE",
            "The \"options.hints\" property must be of type number. Received type string ('x')",
        ),
    ],
)
def test_family_and_hints_are_checked_by_the_systems_lookup(
    option: Any, code: str, text: str
) -> None:
    c = net.Socket().on("error", lambda error: None)
    with pytest.raises(Error) as caught:
        c.connect({"port": 1, "host": "localhost", **option})
    assert (caught.value.code, caught.value.message) == (code, text)
    c.connect({"port": 1, "host": "127.0.0.1", **option})
    pyuvnet.run()
    answers: list[Any] = []
    c.connect(
        {"port": 1, "host": "localhost", "lookup": lambda *args: answers.append(args)} | option
    )
    assert answers[0][1][next(iter(option))] == next(iter(option.values()))
    c.destroy()
    pyuvnet.run()


# ---- Coroutines ----------------------------------------------------------------------------------


@pytest.mark.spec("N168", "D73")
@pytest.mark.parametrize("form", ["pair", "list"])
def test_a_coroutine_may_look_up(trace: Any, form: str) -> None:
    async def lookup(host: str, options: Any, callback: Any) -> Any:
        await asyncio.sleep(0)
        return ("127.0.0.1", 4) if form == "pair" else [{"address": "127.0.0.1", "family": 4}]

    async def main() -> None:
        server = net.create_server(lambda s: s.end()).listen(0, "127.0.0.1")
        await pyuvnet.events.once(server, "listening")
        trace.port = server.address()["port"]
        c = net.create_connection(port=trace.port, host="some.where", lookup=lookup)
        await pyuvnet.events.once(watch(c, trace), "close")
        await pyuvnet.events.once(server.close(), "close")

    pyuvnet.run(main())
    assert trace == connected(trace.port, ("lookup", None, "127.0.0.1", 4, "some.where"))


def test_a_coroutine_that_fails() -> None:
    async def lookup(host: str, options: Any, callback: Any) -> Any:
        raise LookupError(host)

    async def main() -> None:
        c = net.create_connection(port=1, host="some.where", lookup=lookup)
        with pytest.raises(LookupError, match=r"some\.where"):
            await pyuvnet.events.once(c, "connect")

    pyuvnet.run(main())


def test_a_coroutine_that_is_cancelled_destroys_the_socket() -> None:
    async def lookup(host: str, options: Any, callback: Any) -> Any:
        raise asyncio.CancelledError

    async def main() -> None:
        c = net.create_connection(port=1, host="some.where", lookup=lookup)
        await pyuvnet.events.once(c, "close")

    pyuvnet.run(main())


def test_destroy_cancels_the_coroutine(trace: Any) -> None:
    async def lookup(host: str, options: Any, callback: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            trace("cancelled")
            raise

    async def main() -> None:
        c = net.create_connection(port=1, host="some.where", lookup=lookup)
        await asyncio.sleep(0)
        c.destroy()
        await pyuvnet.events.once(c, "close")
        await asyncio.sleep(0)

    pyuvnet.run(main())
    assert trace == ["cancelled"]


def test_a_coroutine_needs_asyncio() -> None:
    async def lookup(host: str, options: Any, callback: Any) -> Any:
        return None

    with pytest.raises(Error) as caught:
        net.create_connection(port=1, host="some.where", lookup=lookup)
    assert caught.value.code == "ERR_NO_ASYNC_LOOP"
    pyuvnet.run()

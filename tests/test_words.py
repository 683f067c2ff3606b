"""Errors of arguments in Python's words: the note below Node's text has the caller's names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import pyuvnet
from pyuvnet import (
    AbortSignal,
    BoundSocket,
    Duplex,
    EventEmitter,
    Readable,
    Server,
    Socket,
    Writable,
    diagnostics,
    events,
    framing,
    handover,
    metrics,
    net,
    streams,
    tls,
)
from pyuvnet._base import validation, words
from pyuvnet._base.option_table import OPTIONS
from tests.support.cases import cases
from tests.support.words import OF_NODE

PACKAGE = Path(pyuvnet.__file__).parent
BEGIN = "In Python's words: "

# What is called, and what the note says: the parameter, what it takes, and what it was.
WORDS = [
    (lambda: net.create_server(5.5), "options must be a dict, not float"),
    (lambda: net.create_server({}, 5), "connection_listener must be a callable, not int"),
    (lambda: Socket("x"), "options must be a dict, not str"),
    (lambda: Socket(keep_alive_initial_delay="1"),
     "keep_alive_initial_delay must be int or float, not str"),
    (lambda: Server(keepAliveInitialDelay=2**40),
     f"keep_alive_initial_delay must be <= {2**31 - 1}, not {2**40}"),
    (lambda: Socket(type_of_service=300), "type_of_service must be >= 0 and <= 255, not 300"),
    (lambda: Socket().set_type_of_service(1.5), "tos must be an integer, not 1.5"),
    (lambda: Socket(high_water_mark=-1), "readable_high_water_mark is invalid; it was -1"),
    (lambda: Socket(object_mode=True), "object_mode is not supported; it was True"),
    (lambda: Socket(block_list=[]), "block_list must be a BlockList, not list"),
    (lambda: Socket(handle=5), "handle must be a BoundSocket, not int"),
    (lambda: Socket(signal=5), "signal must be an AbortSignal, not int"),
    (lambda: Socket(onread=5), "onread must be a dict, not int"),
    (lambda: Socket(onread={}), "onread['callback'] must be a callable, not NoneType"),
    (lambda: Socket(onread={"buffer": bytearray(), "callback": print}),
     "onread['buffer'] must have room for at least one byte; it was a bytearray"),
    (lambda: Socket().set_timeout("1"), "timeout must be int or float, not str"),
    (lambda: Socket().set_timeout(-1), "timeout must be a non-negative finite number, not -1"),
    (lambda: Socket().set_timeout(1, 2), "callback must be a callable, not int"),
    (lambda: Socket().write(5),
     "the data must be str, bytes or anything with the buffer protocol, not int"),
    (lambda: Socket().write(None), "None cannot be written; call end() to end the stream"),
    (lambda: Socket().destroy("x"), "error must be an exception, not str"),
    (lambda: Socket().on("data", 5), "listener must be a callable, not int"),
    (lambda: Socket().pipe(5), "dest must be a Writable or a Duplex, not int"),
    (lambda: net.connect(host="x", port=[]), "port must be int, float or str, not list"),
    (lambda: net.connect(70000),
     "port must be an int from 0 to 65535, or a numeric string, not 70000"),
    (lambda: net.connect(1, 5), "host must be str, not int"),
    (lambda: net.connect(1, "a\0b"), "host must be a str without null bytes; it was 'a\\x00b'"),
    (lambda: net.connect(path=5), "path must be str, not int"),
    (lambda: net.connect(1, family=5), "family must be one of: 0, 4, 6; it was 5"),
    (lambda: net.connect(1, hints="x"), "hints must be int or float, not str"),
    (lambda: net.connect(1, lookup=5), "lookup must be a callable, not int"),
    (lambda: net.connect(1, local_port="80"), "local_port must be int or float, not str"),
    (lambda: net.connect(1, auto_select_family=1), "auto_select_family must be bool, not int"),
    (lambda: net.connect(1, auto_select_family_attempt_timeout=0),
     "auto_select_family_attempt_timeout must be >= 1 and <= 2147483647, not 0"),
    (lambda: net.connect(1, listener=5), "listener must be a callable, not int"),
    (lambda: net.create_server().listen({}),
     "listen() needs a port, a path, or something with a descriptor"),
    (lambda: net.create_server().listen(path=""),
     "path must be str, bytes or os.PathLike, and not empty"),
    (lambda: net.create_server().listen(port=[]), "port must be int or str"),
    (lambda: net.create_server().listen(0, host=5), "host must be str, not int"),
    (lambda: net.create_server().listen(0, backlog="x"), "backlog must be int or float, not str"),
    (lambda: net.create_server().get_connections(), "callback must be a callable, not NoneType"),
    (lambda: setattr(net.create_server(), "max_connections", "x"),
     "max_connections must be int or float, not str"),
    (lambda: BoundSocket(host="x"), (
        "host must be a numeric IP address; net.BoundSocket does not perform DNS resolution; "
        "it was 'x'"
    )),
    (lambda: BoundSocket(ipv6_only=1), "ipv6_only must be bool, not int"),
    (lambda: BoundSocket(path="x", port=1),
     "path cannot be combined with host, port, ipv6_only or reuse_port"),
    (lambda: net.BlockList().add_address(5), "address must be str, not int"),
    (lambda: net.BlockList().add_address("::1", 6), "type must be str, not int"),
    (lambda: net.BlockList().add_address("::1", "6"), "type must be 'ipv4' or 'ipv6'"),
    (lambda: net.BlockList().add_subnet(5, 8), "net must be str, not int"),
    (lambda: net.BlockList().add_subnet("::", 200, "ipv6"),
     "prefix must be >= 0 and <= 128, not 200"),
    (lambda: net.BlockList().add_cidrs("x"), "cidrs must be an iterable, not str"),
    (lambda: net.SocketAddress(family="x"), "family is invalid; it was 'x'"),
    (lambda: net.SocketAddress(port=-1),
     "port must be an int from 0 to 65535, or a numeric string, not -1"),
    (lambda: net.set_default_auto_select_family(1), "value must be bool, not int"),
    (lambda: EventEmitter().set_max_listeners(-1), "n must be >= 0, not -1"),
    (lambda: events.set_max_listeners("x"), "n must be int or float, not str"),
    (lambda: events.on(EventEmitter(), "x", high_water_mark=0),
     f"high_water_mark must be >= 1 and <= {2**53 - 1}, not 0"),
    (lambda: events.once(5, "x"), "emitter must be an EventEmitter, not int"),
    (lambda: AbortSignal.any(5), "signals must be an iterable of AbortSignal, not int"),
    (lambda: AbortSignal.timeout("x"), "delay must be int or float, not str"),
    (lambda: pyuvnet.set_timeout(5, 1), "callback must be a callable, not int"),
    (lambda: pyuvnet.next_tick(5), "callback must be a callable, not int"),
    (lambda: diagnostics.subscribe(5, print), "name must be str, not int"),
    (lambda: streams.finished(5), "stream must be a Readable, a Writable or a Duplex, not int"),
    (lambda: streams.pipeline(Readable(), 5), "streams[1] must be a Writable or a Duplex, not int"),
    (lambda: streams.from_iterable(5), "iterable must be an iterable, not int"),
    (lambda: framing.Lines(5), (
        "delimiter must be bytes or anything with the buffer protocol, not int"
    )),
    (lambda: framing.Lines(b""), "delimiter must have 1 to 16 bytes; it was b''"),
    (lambda: framing.Header(1, 2), "length must be a callable, not int"),
    (lambda: Socket(framing=5), "framing must be a Framing, not int"),
    (lambda: Readable().read("x"), "size must be int or float, not str"),
    (lambda: Duplex(high_water_mark=1.5), "readable_high_water_mark is invalid; it was 1.5"),
    (lambda: Writable(high_water_mark=1.5), "high_water_mark is invalid; it was 1.5"),
]  # fmt: skip


# What Node does not have goes by its one name, also in the text itself.
ADDED = [
    (lambda: Server(max_write_buffer=-1), "options.max_write_buffer"),
    (lambda: Server(max_write_buffer=1, on_full="x"), "options.on_full"),
    (lambda: Server(on_full="refuse"), "'options.on_full' has no effect without max_write_buffer"),
    (lambda: Socket(on_full="refuse"), "'options.on_full' has no effect without max_write_buffer"),
    (lambda: Server(overflow="wait"), "'options.overflow' has no effect without max_connections"),
    (lambda: Server(reserve_descriptors=1),
     "'options.reserve_descriptors' has no effect without on_exhausted"),
    (lambda: Server(write_budget="x"), "options.write_budget"),
    (lambda: Server(read_budget=-1), "options.read_budget"),
    (lambda: Server(max_per_address=0), "options.max_per_address"),
    (lambda: Server(on_exhausted="x"), "options.on_exhausted"),
    (lambda: Server(idle_timeout=-1), "options.idle_timeout"),
    (lambda: Server(first_byte_timeout="1"), "options.first_byte_timeout"),
    (lambda: Server(write_timeout=True), "options.write_timeout"),
    (lambda: Server(max_lifetime=2**31), "options.max_lifetime"),
    (lambda: Server(min_read_rate=5), 'min_read_rate" property must be a pair (bytes, ms)'),
    (lambda: Server(min_read_rate=(0, 5)), "options.min_read_rate[0] (bytes)"),
    (lambda: Server(min_read_rate=(5, 0)), "options.min_read_rate[1] (ms)"),
    (lambda: Server(proxy_protocol={"trusted": []}),
     ("'options.proxy_protocol.trusted' must list at least one address. "
      "Received []")),
    (lambda: net.connect(1, user_timeout=-1), "options.user_timeout"),
    (lambda: net.create_server().listen(0, receive_buffer=0), "options.receive_buffer"),
    (lambda: net.create_server().listen(path="x", unlink_stale=1), "options.unlink_stale"),
    (lambda: net.create_server().listen(0, unlink_stale=True),
     "'options.unlink_stale' has no effect without a path"),
    (lambda: net.create_server().listen(0, mode=0o660), "'options.mode' has no effect without a"),
    (lambda: net.create_server().listen(fd=0, mode=0), "'options.mode' has no effect without a"),
    (lambda: net.create_server().shutdown(5, lame_duck=6),
     '"lame_duck" is out of range. It must be >= 0 && <= 5, the timeout. Received 6'),
    (lambda: net.create_server().shutdown(idle_grace=-1), '"idle_grace"'),
    (lambda: net.create_server().shutdown_on("SIGTERM", timeout=5, lame_duck=6), '"lame_duck"'),
    (lambda: handover.spawn([], net.create_server()),
     "'argv' must have the program as its first word. Received []"),
    (lambda: handover.spawn(["a"], net.create_server(), 0), '"ready_timeout"'),
    (lambda: metrics.text("x"), '"openmetrics" argument must be of type boolean'),
]  # fmt: skip


@pytest.mark.spec("P0-02")
@cases(("call", "expected"), ADDED)
def test_an_error_of_what_node_has_not_names_it_as_it_was_written(call, expected):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    error = caught.value
    assert error.code.startswith("ERR_")
    assert expected in error.message
    assert not re.search("[a-z][A-Z]", error.message.partition("Received")[0])
    for note in error.__notes__:
        assert note.startswith(BEGIN)


@cases(("call", "expected"), WORDS)
def test_the_note_names_what_the_caller_gave(call, expected):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    error = caught.value
    assert error.__notes__[0] == f"{BEGIN}{expected}."
    # Ported code sees what Node says.
    assert error.message == str(error)
    assert BEGIN not in error.message


@cases(("call", "expected"), WORDS)
def test_no_note_speaks_of_javascript(call, expected):
    assert not OF_NODE.search(expected.replace("net.BoundSocket", ""))


def test_data_after_the_end_hints_at_what_says_so():
    seen = []
    socket = Socket()
    socket.end()
    socket.end(b"more")
    socket.on("error", seen.append)
    pyuvnet.run()
    (error,) = seen
    assert not socket.writable
    assert error.code == "ERR_STREAM_WRITE_AFTER_END"
    assert error.__notes__[0] == (
        "end() was called, or the peer ended and this side ended with it. Check socket.writable "
        "before writing."
    )


def parameters():
    """All parameters, options and attributes that a program meets."""
    found = {row[0] for row in OPTIONS}
    for module in (pyuvnet, net, tls, events, streams, diagnostics, framing, pyuvnet.loop):
        for thing in (getattr(module, name) for name in module.__all__):
            members = vars(thing).items() if isinstance(thing, type) else [("", thing)]
            for cls in getattr(thing, "__mro__", ()):
                members = [*members, *vars(cls).items()]
            for name, member in members:
                found.add(name)
                if callable(member := getattr(member, "__func__", member)):
                    try:
                        found.update(inspect.signature(member).parameters)
                    except (TypeError, ValueError):
                        continue
    return found


def names_of_arguments(text):
    """What calls of the checks, and of the makers of errors, name in quotes."""
    calls = r"\b(validate_\w+|(?:arg_type|arg_value|range|bad_port)_error)\("
    for call in re.finditer(calls, text):
        arguments, depth, end = [""], 1, call.end()
        while depth:
            char = text[end]
            depth += (char in "([{") - (char in ")]}")
            if char == "," and depth == 1:
                arguments.append("")
            else:
                arguments[-1] += char
            end += 1
        place = 1 if call[1].startswith("validate") else 0
        found = re.search(r'^\s*f?"([^"{\[]+)["\[]', "".join(arguments[place : place + 1]))
        if found:
            yield found[1]


def test_each_parameter_that_a_note_can_name_is_one():
    """In the sources, after the name of a check or of a maker of errors."""
    named = set()
    for path in PACKAGE.rglob("*.py*"):
        if path.suffix in (".py", ".pyx") and path.name != "validation.py":
            named.update(names_of_arguments(path.read_text("utf-8")))
    assert {"options.onread.callback", "msecs", "hostname"} <= named
    # load() is a method of the class and of the object; the last is what a function returns.
    known = parameters() | {
        *("the data", "path_or_lines", "length(header)"),
        # Of handover.spawn(), of an option's mapping, and of metrics.text().
        *("argv", "server", "ready_timeout", "server key", "openmetrics"),
        # Of what a psk_callback returns.
        "identity",
        # Of cluster.fork() and setup_primary(), and its attribute.
        *("env", "settings", "scheduling_policy"),
        # Of testing.pair(), FaultProxy() and virtual_time().
        *("flip_every", "jump", "patience_ms", "rate", "seed", "target", "toward"),
    }
    names = {re.sub(r"\[.*", "", words.parameter(name)) for name in named}
    assert {name for name in names - known if not name.startswith("pyuvnet.")} == set()


def test_a_name_of_pythons_stays():
    assert words.parameter("pyuvnet.loop.auto_attach") == "pyuvnet.loop.auto_attach"


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", b"x"])
def test_short_values_are_shown(value):
    assert words.shown(value) == repr(value)


def test_others_are_shown_by_their_type_and_not_asked():
    class Hostile(str):
        __slots__ = ()

        def __repr__(self):
            raise AssertionError

    assert words.shown(Hostile()) == "a Hostile"
    assert words.shown("x" * 50) == "a str"
    assert words.shown([1]) == "a list"
    # Python refuses to write this one.
    assert words.shown(10**5000) == words.shown(-(10**5000)) == "an int"


def test_what_succeeds_makes_no_note(monkeypatch):
    monkeypatch.setattr(words, "in_python", None)
    assert validation.validate_number(1, "x") == 1
    assert validation.validate_port("80", "x") == 80
    with pytest.raises(TypeError):
        validation.validate_number("1", "x")

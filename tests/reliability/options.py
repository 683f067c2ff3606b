"""Fuzzers of what reads options and arguments: nothing has changed if a call raises.

Nothing here leaves the machine: calls that would connect, look up or listen are made only where
reading their arguments fails.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import pyuvnet
from pyuvnet import AbortController, AbortSignal, EventEmitter, Writable
from pyuvnet._base.names import to_node
from pyuvnet._base.options import OptionSet
from pyuvnet._server.listen import LISTEN_OPTIONS, ListenPlan
from pyuvnet.boundsocket import BOUND_OPTIONS
from pyuvnet.net import BlockList, BoundSocket, Server, Socket
from pyuvnet.server import SERVER_OPTIONS
from pyuvnet.socket import (
    CONNECT_OPTIONS,
    SOCKET_OPTIONS,
    check_connect,
    connect_arguments,
)

from .fuzz import ARGUMENTS, Index, Input, fuzzer, nothing

PORT = "ERR_SOCKET_BAD_PORT"
FILE = os.open(os.devnull, os.O_RDONLY)  # a descriptor that is neither TCP nor pipe


def state(thing: Any) -> dict[str, str]:
    """All that can be seen of an object."""
    seen: dict[str, str] = {}
    for name in dir(type(thing)):
        if not name.startswith("_") and not callable(getattr(type(thing), name, None)):
            try:
                seen[name] = repr(getattr(thing, name))
            except Exception as error:
                seen[name] = repr(error)
    if isinstance(thing, EventEmitter):
        for at, event in enumerate(thing.event_names()):
            # Named by its place: not every name can be shown.
            seen[f"listeners of event {at}"] = repr(thing.raw_listeners(event))
        seen["most"] = hex(hash(thing.get_max_listeners()))  # which may be too long to print
    return seen


def unchanged(
    given: Input, thing: Any, function: Callable[..., Any], *args: Any, **keys: Any
) -> Any:
    """Call a function; if it raises, the object must be as it was."""
    before = state(thing)
    outcome = given.attempt(function, *args, **keys)
    if given.raised(outcome):
        after = state(thing)
        assert after == before, {k: (before.get(k), after.get(k)) for k in after}
    return outcome


LIKELY: dict[str, tuple[Any, ...]] = {
    "high_water_mark": (0, 1, 65536), "readable_high_water_mark": (0, 1000),
    "writable_high_water_mark": (0, 1000), "keep_alive_initial_delay": (0, 1000, 1e6),
    "type_of_service": (0, 255), "encoding": ("utf8", "hex"), "default_encoding": ("utf8", "hex"),
    "port": (0, 80, "80"), "host": ("127.0.0.1", "localhost", ""), "path": ("/tmp/x", "\0x", b"x"),
    "family": (0, 4, 6, "IPv4"), "hints": (0, 1024), "local_port": (0, 80), "backlog": (1, 511),
    "local_address": ("127.0.0.1", "::1"), "auto_select_family_attempt_timeout": (1, 250),
    "fd": (FILE, -1), "handle": (None, {"fd": -1}), "exclusive": (True,),
    "onread": ({"buffer": bytearray(9), "callback": nothing}, {"buffer": b""}, {}),
}  # fmt: skip


def option_value(given: Input, name: str) -> Any:
    if name == "signal" and given.chance(0.5):
        return given.pick(AbortController().signal, AbortSignal.abort(), AbortSignal)
    if name == "block_list" and given.chance(0.5):
        return BlockList()
    value = given.anything(*LIKELY.get(name, (True, False)))
    if name == "fd" and isinstance(value, (int, float)) and 0 <= value < 1000 and value != FILE:
        return 999  # nobody's, while others are this process's own
    return value


def options_for(given: Input, known: OptionSet, *always: str) -> dict[str, Any]:
    """Some options, each in either spelling, some that nobody knows."""
    names = [*always, *(name for name in known if given.chance(0.15) and name not in always)]
    options: dict[Any, Any] = {}
    for name in names:
        options[to_node(name) if given.chance(0.3) else name] = option_value(given, name)
    if given.chance(0.03):
        options[given.pick("nobody", "Port", "", "keepalive")] = 1
    if given.chance(0.02) and options:
        # In both spellings.
        again = given.pick(*names) if names else "x"
        options[to_node(again)] = 999 if again == "fd" else 1
    return options


def as_call(given: Input, options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A mapping, keywords, or both."""
    what = given.below(10)
    if what < 5:
        return (options,), {}
    if what < 9:
        return (), options
    half = dict(list(options.items())[::2])
    return (half,), {name: value for name, value in options.items() if name not in half}


@fuzzer(*ARGUMENTS, "ERR_UNKNOWN_OPTION", "ERR_UNKNOWN_ENCODING", "ERR_INVALID_FD_TYPE", weight=4)
def socket_options(given: Input) -> None:
    args, keywords = as_call(given, options_for(given, SOCKET_OPTIONS))
    if given.chance(0.03):
        args = (given.anything(FILE, -1),)
        if isinstance(args[0], (int, float)) and args[0] == args[0] and 0 <= args[0] < 1000:
            args = (FILE,)
    given.show(args, keywords)
    made = given.attempt(Socket, *args, **keywords)
    if not given.raised(made):
        assert made.pending
        assert made.bytes_read == made.bytes_written == 0
        assert made.readable_high_water_mark >= 0
        made.on("error", nothing).destroy()


@fuzzer(*ARGUMENTS, "ERR_UNKNOWN_OPTION", weight=2)
def server_options(given: Input) -> None:
    args, keywords = as_call(given, options_for(given, SERVER_OPTIONS))
    if given.chance(0.1):
        args = (
            given.anything(nothing, None),
            *([given.anything(nothing)] if given.chance(0.5) else []),
        )
    given.show(args, keywords)
    made = given.attempt(Server, *args, **keywords)
    if not given.raised(made):
        assert not made.listening
        assert made.address() is None
        name = given.pick("max_connections", "high_water_mark", "keep_alive_initial_delay")
        value = given.anything(1)
        given.show(name, value)
        unchanged(given, made, setattr, made, name, value)


CONNECT = (*ARGUMENTS, PORT, "ERR_MISSING_ARGS", "ERR_INVALID_IP_ADDRESS", "ERR_UNKNOWN_OPTION")


@fuzzer(*CONNECT, weight=4)
def connect_options(given: Input) -> None:
    if given.chance(0.3):
        likely = (80, "80", "/tmp/x", b"x", "localhost", nothing, None)
        args: tuple[Any, ...] = tuple(given.anything(*likely) for _ in range(given.below(4)))
        keywords = options_for(given, CONNECT_OPTIONS) if given.chance(0.3) else {}
    else:
        options = options_for(given, CONNECT_OPTIONS, "port", "host")
        args, keywords = as_call(given, options)
    given.show(args, keywords)

    def read() -> dict[str, Any]:
        options, _ = connect_arguments(args, dict(keywords), None)
        return check_connect(options)

    plan = given.attempt(read)
    if given.raised(plan):
        sock = Socket()
        outcome = unchanged(given, sock, sock.connect, *args, **keywords)
        assert given.raised(outcome)
        assert outcome.code == plan.code
    elif plan["path"] is None:
        assert 0 <= plan["port"] <= 65535
        assert isinstance(plan["host"], str)
        assert plan["auto_select_family_attempt_timeout"] >= 10
    else:
        assert isinstance(plan["name"], bytes)


@fuzzer(*ARGUMENTS, PORT, "ERR_UNKNOWN_OPTION", weight=4)
def listen_options(given: Input) -> None:
    if given.chance(0.4):
        likely = (0, "80", "/tmp/x", b"x", "127.0.0.1", nothing, None, 511)
        args: tuple[Any, ...] = tuple(given.anything(*likely) for _ in range(given.below(5)))
        keywords = options_for(given, LISTEN_OPTIONS) if given.chance(0.2) else {}
    else:
        args, keywords = as_call(given, options_for(given, LISTEN_OPTIONS, "port"))
    given.show(args, keywords)
    plan = given.attempt(ListenPlan, args, dict(keywords), None)
    if given.raised(plan):
        server = Server()
        outcome = unchanged(given, server, server.listen, *args, **keywords)
        assert given.raised(outcome)
        assert outcome.code == plan.code
    else:
        assert 0 <= plan.port <= 65535
        assert plan.backlog is None or -(2**31) <= plan.backlog < 2**31
        assert plan.host is None or "\0" not in plan.host


@fuzzer(*ARGUMENTS, PORT, "ERR_UNKNOWN_OPTION", "OSError")
def bound_options(given: Input) -> None:
    options = options_for(given, BOUND_OPTIONS)
    options.pop("path", None)  # would make files anywhere
    if given.chance(0.9):
        options["host"] = given.pick("127.0.0.1", "::1", "127.0.0.2")
    args, keywords = as_call(given, options)
    given.show(args, keywords)
    made = given.attempt(BoundSocket, *args, **keywords)
    if not given.raised(made):
        assert made.address()["port"] > 0
        made.close()


SETTERS: dict[str, tuple[Any, ...]] = {
    "set_timeout": (0, 1000, 1e9, 0.5), "set_no_delay": (True,), "set_keep_alive": (True, 1000, {}),
    "set_type_of_service": (0, 255), "set_encoding": ("utf8", "hex", None),
    "set_default_encoding": ("utf8", "hex"), "set_max_listeners": (0, 10), "read": (0, 1, None),
    "unshift": (b"x", "x", None), "destroy": (None, RuntimeError("E")), "write": ("x", b"x"),
    "end": ("x", b"x", None), "on": ("data", nothing), "once": ("data", nothing),
    "off": ("data", nothing), "prepend_listener": ("data", nothing),
    "emit": ("x",), "listener_count": ("end", nothing),
    "listeners": ("end",), "remove_all_listeners": ("end", None), "pipe": (None,),
    "unpipe": (None,), "cork": (), "uncork": (), "pause": (), "resume": (), "ref": (), "unref": (),
    "address": (),
}  # fmt: skip
STREAM = ("ERR_STREAM_NULL_VALUES", "ERR_UNKNOWN_ENCODING", "ERR_UNHANDLED_ERROR")


def wrong_by_the_language(error: BaseException) -> bool:
    """What Python itself says: of an argument too many, or a name that has no hash."""
    said = str(error)
    if isinstance(error, ValueError):
        return said in ("no hashing", "no comparing", "no showing") or "cannot hash" in said
    return isinstance(error, TypeError) and ("positional arg" in said or "unhashable" in said)


@fuzzer(*ARGUMENTS, *STREAM, weight=4)
def socket_calls(given: Input) -> None:
    """Any method of a socket that is not connected, with any arguments."""
    sock = Socket()
    sock.on("error", nothing)
    for _ in range(given.pick(1, 2, 4)):
        name = given.pick(*SETTERS)
        method = getattr(sock, to_node(name) if given.chance(0.3) else name)
        args = tuple(given.anything(*SETTERS[name]) for _ in range(given.pick(0, 1, 1, 2, 3)))
        given.show(name, *args)
        try:
            unchanged(given, sock, method, *args)
        except (TypeError, ValueError) as error:
            if not wrong_by_the_language(error):
                raise
        except AttributeError:
            # pipe() into what has some of the methods of a stream.
            assert name == "pipe"
    sock.destroy()
    for name in sock.event_names():
        sock.remove_all_listeners(name)
    sock.on("error", nothing)


class Sink(Writable):
    """Takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = bytearray()

    def _write(self, chunk: Any, encoding: str, callback: Callable[..., None]) -> None:
        self.taken += chunk
        callback()


ENCODINGS = ("utf8", "latin1", "hex", "base64", "ucs2", None, "buffer", "nobody's")


@fuzzer(*ARGUMENTS, *STREAM, weight=3)
def write_arguments(given: Input) -> None:
    """What write() takes comes out, what it refuses leaves nothing behind."""
    sink = Sink()
    expected = b""
    for _ in range(given.pick(1, 2, 4)):
        args = [given.anything("text", b"bytes", bytearray(b"array"), memoryview(b"view"))]
        if given.chance(0.4):
            args.append(given.anything(*ENCODINGS))
        if given.chance(0.3):
            args.append(given.anything(nothing, None, nothing))
        given.show(*args)
        outcome = unchanged(given, sink, sink.write, *args)
        if not given.raised(outcome):
            assert outcome is True
            if not isinstance(args[0], str):
                expected += memoryview(args[0]).tobytes()
            elif len(args) == 1 or args[1] is None or args[1] == "utf8":
                expected += (
                    args[0]
                    .encode("utf-16-le", "surrogatepass")
                    .decode("utf-16-le", "replace")
                    .encode()
                )
            else:
                expected = bytes(sink.taken)
        assert sink.taken == expected
    sink.destroy()


@fuzzer(*ARGUMENTS)
def timers(given: Input) -> None:
    delay = given.anything(0, 1, 5, 2**31)
    given.show(delay)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        for make, clear in (
            (pyuvnet.set_timeout, pyuvnet.clear_timeout),
            (pyuvnet.set_interval, pyuvnet.clear_interval),
        ):
            timer = given.attempt(make, given.anything(nothing, nothing), delay)
            if not given.raised(timer):
                assert timer.has_ref() is True
                assert timer.unref().has_ref() is False
                clear(timer)
                clear(timer)
        given.attempt(pyuvnet.clear_timeout, given.anything(None))
        given.attempt(pyuvnet.clear_immediate, given.anything(None))
        given.attempt(AbortSignal.timeout, delay)


@fuzzer(*ARGUMENTS)
def defaults(given: Input) -> None:
    net = pyuvnet.net
    before = (
        net.get_default_auto_select_family(),
        net.get_default_auto_select_family_attempt_timeout(),
        pyuvnet.get_default_high_water_mark(),
    )
    value = given.anything(True, 1, 250)
    value = value.value if isinstance(value, Index) else value
    given.show(value)
    for at, setter in enumerate(
        (
            net.set_default_auto_select_family,
            net.set_default_auto_select_family_attempt_timeout,
            lambda value: pyuvnet.set_default_high_water_mark(False, value),
        )
    ):
        outcome = given.attempt(setter, value)
        after = (
            net.get_default_auto_select_family(),
            net.get_default_auto_select_family_attempt_timeout(),
            pyuvnet.get_default_high_water_mark(),
        )
        if given.raised(outcome):
            assert after == before
        else:
            given.show(after[at])
            assert after[at] == (max(int(value), 10) if at == 1 else value)
            setter(before[at])


@fuzzer(*ARGUMENTS, "ERR_UNHANDLED_ERROR", weight=2)
def emitter_calls(given: Input) -> None:
    """Listeners are called as a plain list says, whatever the names and arguments."""
    emitter = EventEmitter()
    model: dict[Any, list[Any]] = {}
    heard: list[Any] = []
    names = [given.pick("a", "b", "data", 5, (1, "x"), None, "é", True, 1.5) for _ in range(3)]
    listeners = [lambda *args, n=number: heard.append((n, args)) for number in range(3)]
    for _ in range(given.pick(3, 10)):
        name, listener = given.pick(*names), given.pick(*listeners)
        what = given.pick("on", "prepend_listener", "off", "emit", "once", "bad")
        given.show(what, name, listeners.index(listener))
        entries = model.setdefault(name, [])
        if what == "on":
            emitter.on(name, listener)
            entries.append((listener, False))
        elif what == "once":
            emitter.once(name, listener)
            entries.append((listener, True))
        elif what == "prepend_listener":
            emitter.prepend_listener(name, listener)
            entries.insert(0, (listener, False))
        elif what == "off":
            emitter.off(name, listener)
            for at in reversed(range(len(entries))):
                if entries[at][0] is listener:
                    del entries[at]
                    break
        elif what == "emit":
            heard.clear()
            arguments = tuple(range(given.below(4)))
            assert emitter.emit(name, *arguments) is bool(entries)
            assert heard == [(listeners.index(each), arguments) for each, _ in entries]
            model[name] = [entry for entry in entries if not entry[1]]
        else:
            value = given.anything()
            if value is not None and not callable(value):
                with contextlib.suppress(ValueError):
                    assert given.raised(unchanged(given, emitter, emitter.on, name, value))
        assert emitter.listeners(name) == [entry[0] for entry in model[name]]


@fuzzer("ERR_INVALID_ARG_TYPE", "ERR_UNKNOWN_OPTION")
def option_sets(given: Input) -> None:
    """Names of options, as any function reads them."""
    known = OptionSet("f", ["port", "host_name", "keep_alive"])
    spelled = ["port", "host_name", "hostName", "keep_alive", "keepAlive", "nobody", "Port"]
    mapping = {given.pick(*spelled, 5, None): given.pick(0, 1, None) for _ in range(given.below(4))}
    keywords = {given.pick(*spelled): given.pick(2, 3, None) for _ in range(given.below(3))}
    copies = dict(mapping), dict(keywords)
    given.show(mapping, keywords)
    read = given.attempt(known.read, mapping, keywords)
    assert (mapping, keywords) == copies
    names = {"hostName": "host_name", "keepAlive": "keep_alive"}

    def canonical(source: dict[Any, Any]) -> list[Any]:
        return [names.get(name, name) for name in source]

    twice = any(
        len(found) != len(set(found))
        for source in (mapping, keywords)
        for found in [[name for name in canonical(source) if name in known]]
    )
    unknown = any(name not in known for name in keywords)
    assert given.raised(read) is (twice or unknown)
    if not given.raised(read):
        for name in known:
            values = [
                {names.get(key, key): value for key, value in source.items()}.get(name)
                for source in (keywords, mapping)
            ]
            expected = values[0] if values[0] is not None else values[1]
            assert read.get(name) == expected

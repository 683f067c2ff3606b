"""Calls everything that a public object offers, with all kinds of arguments, and tells the outcome.

Run as a program (see prodded()) it prods the objects of one class in one state, or the functions
of a module, and prints JSON: {member: {outcome: [arguments]}}. An outcome is "returned", or the
class and the code of what was raised; " and changed" follows if a call that raised left the object
different. Names are taken from the objects themselves, so that what is added is covered by itself.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyuvnet
from pyuvnet import net
from pyuvnet._server.listen import LISTEN_OPTIONS
from pyuvnet.server import SERVER_OPTIONS
from pyuvnet.socket import CONNECT_OPTIONS, SOCKET_OPTIONS


class Awkward:
    """Fails wherever a function looks."""

    def __init__(self, *args: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparing")

    def __hash__(self) -> int:
        raise ValueError("no hashing")

    def __repr__(self) -> str:
        raise ValueError("no showing")

    def __bool__(self) -> bool:
        raise ValueError("no truth")


def nothing(*args: Any, **keywords: Any) -> None: ...


VALUES: dict[str, Any] = {
    "None": None, "True": True, "0": 0, "-1": -1, "70000": 70000, "2**70": 2**70, "1.5": 1.5,
    "nan": math.nan, "inf": math.inf, "''": "", "'x'": "x", "'data'": "data", "'a\\0b'": "a\0b",
    "surrogate": "\ud800", "b'x'": b"x", "bytearray": bytearray(4),
    "strided": memoryview(bytearray(8))[::2], "[]": [], "[5]": [5], "{}": {}, "{5: 5}": {5: 5},
    "{'port': -1}": {"port": -1}, "object": object(), "class": Awkward, "function": nothing,
    "error": RuntimeError("E"),
}  # fmt: skip
ALONE = [(name,) for name in VALUES]
PAIRS = [
    (first, second)
    for first in ("0", "'data'", "b'x'", "{}")
    for second in ("-1", "'x'", "object", "function", "2**70")
]
ARGUMENTS: list[tuple[str, ...]] = [(), *ALONE, *PAIRS]
DUNDERS = ("__repr__", "__str__", "__hash__", "__iter__", "__aiter__", "__enter__", "__aenter__",
           "__len__", "__bool__", "__dir__", "__reduce__", "__copy__", "__await__")  # fmt: skip
# A loop serves all the others, and has tests of its own.
KINDS: dict[str, type] = {
    name: kind
    for module in (pyuvnet, net)
    for name in module.__all__
    if isinstance(kind := getattr(module, name), type)
    # Nor has what is a tuple methods of its own.
    and not issubclass(kind, (BaseException, pyuvnet.Loop, tuple))
}


class Source:
    def _read(self, size: int) -> None: ...

    def _write(self, chunk: Any, encoding: str, callback: Callable[[], None]) -> None:
        callback()


def build(name: str) -> Any:
    """An object of a public class, made as it should be."""
    kind = KINDS[name]
    if name in ("Readable", "Writable", "Duplex"):
        # Bases, for programs to say where the data come from and go to.
        return type(f"My{name}", (Source, kind), {})()
    if name == "AbortSignal":
        return pyuvnet.AbortController().signal
    return kind()


def half_built(name: str) -> Any:
    return KINDS[name].__new__(KINDS[name])


def subclassed(name: str) -> Any:
    """Of a subclass that does not call our __init__."""
    return type("Half", (KINDS[name],), {"__init__": lambda self: None})()


def closed(name: str) -> Any:
    thing = build(name)
    for method in ("destroy", "close", "abort", "end"):
        if hasattr(thing, method):
            getattr(thing, method)()
            break
    pyuvnet.run()
    return thing


def ended(name: str) -> Any:
    thing = build(name)
    if hasattr(thing, "end"):
        thing.end()
    pyuvnet.run()
    return thing


STATES: dict[str, Callable[[str], Any]] = {
    "new": build,
    "half built": half_built,
    "subclassed": subclassed,
    "closed": closed,
    "ended": ended,
}


def members(thing: Any) -> Iterator[str]:
    for name in dir(type(thing)):
        if not name.startswith("_") or name in DUNDERS:
            yield name


def state(thing: Any) -> dict[str, str]:
    """All that can be seen of an object."""
    seen: dict[str, str] = {}
    for name in dir(type(thing)):
        if name.startswith("_") or callable(getattr(type(thing), name, None)):
            continue
        try:
            seen[name] = repr(getattr(thing, name))
        except Exception as error:
            seen[name] = outcome(error)
    for name in ("event_names", "get_max_listeners", "is_paused"):
        if hasattr(type(thing), name):
            try:
                seen[name] = repr(getattr(thing, name)())
            except Exception as error:
                seen[name] = outcome(error)
    return seen


def outcome(error: BaseException) -> str:
    if type(error) is TypeError and re.search(r"positional argument|required arg", str(error)):
        return "wrong number of arguments"
    return f"{type(error).__name__} {getattr(error, 'code', '')}".strip()


def prod(thing: Any, member: str, names: tuple[str, ...]) -> str:
    """Call or get a member; what came of it."""
    before = state(thing)
    try:
        value = getattr(thing, member)
        if callable(value):
            value = value(*[VALUES[name] for name in names])
            if inspect.iscoroutine(value):
                value.close()
    except Exception as error:
        told = outcome(error)
        if state(thing) != before:
            told += " and changed"
        return told
    return "returned"


def clean_up(thing: Any) -> None:
    """Let what a call began come to its end."""
    for method, arguments in (
        ("on", ("error", nothing)),
        ("destroy", ()),
        ("close", ()),
    ):
        if hasattr(thing, method):
            # Not built, or closed: then there is nothing to end.
            with contextlib.suppress(Exception):
                getattr(thing, method)(*arguments)
    pyuvnet.run()


def prod_all(kind: str, make: Callable[[str], Any]) -> dict[str, dict[str, list[str]]]:
    outcomes: dict[str, dict[str, list[str]]] = {}
    for member in members(make(kind)):
        told: dict[str, list[str]] = {}
        arguments = ARGUMENTS
        if not callable(getattr(KINDS[kind], member, None)) or member in DUNDERS:
            arguments = [()]
        for names in arguments:
            # What is being done, for the stack of a crash.
            sys.stderr.write(f"\r{kind}.{member}{names} ")
            thing = make(kind)
            told.setdefault(prod(thing, member, names), []).append(", ".join(names))
            clean_up(thing)
        outcomes[member] = told
    return outcomes


def from_another_thread(kind: str) -> dict[str, dict[str, list[str]]]:
    outcomes: dict[str, dict[str, list[str]]] = {}

    def call(thing: Any, member: str, names: tuple[str, ...]) -> None:
        outcomes.setdefault(member, {}).setdefault(prod(thing, member, names), []).append(
            ", ".join(names)
        )

    for member in members(build(kind)):
        if member in DUNDERS:
            continue
        for names in [(), ("0",), ("b'x'",), ("'data'", "function"), ("function",)]:
            thing = build(kind)
            thread = threading.Thread(target=call, args=(thing, member, names))
            thread.start()
            thread.join()
            clean_up(thing)
    return outcomes


MODULES = {
    "pyuvnet": pyuvnet,
    "net": net,
    "events": pyuvnet.events,
    "streams": pyuvnet.streams,
    "diagnostics": pyuvnet.diagnostics,
}
# What turns the loop or ends it.
LEAVE = {"run", "serve", "stop", "attach", "detach"}


def functions(module: str) -> dict[str, dict[str, list[str]]]:
    """Call the functions of a module, and its classes, which make objects."""
    outcomes: dict[str, dict[str, list[str]]] = {}
    for name in MODULES[module].__all__:
        function = getattr(MODULES[module], name)
        if name in LEAVE or not callable(function):
            continue
        if isinstance(function, type) and issubclass(function, BaseException):
            continue
        told = outcomes[name] = {}
        for names in ARGUMENTS:
            sys.stderr.write(f"\r{module}.{name}{names} ")
            before = defaults()
            try:
                made = function(*[VALUES[each] for each in names])
            except Exception as error:
                what = outcome(error)
                if defaults() != before:
                    what += " and changed"
            else:
                what = "returned"
                if inspect.iscoroutine(made):
                    made.close()
                clean_up(made)
            told.setdefault(what, []).append(", ".join(names))
            for setter, value in zip(SETTERS, before, strict=True):
                setter(value)
            pyuvnet.set_exception_handler(nothing)
    return outcomes


# What takes options: the names, those that make a call work, and the call with a fresh object.
OPTIONS: dict[str, tuple[Any, dict[str, Any], Callable[[], Any], Callable[..., Any]]] = {
    "Socket": (SOCKET_OPTIONS, {}, lambda: None, lambda _, options: net.Socket(options)),
    "Server": (SERVER_OPTIONS, {}, lambda: None, lambda _, options: net.Server(options)),
    "connect": (
        CONNECT_OPTIONS,
        {"port": 1, "host": "localhost"},
        net.Socket,
        lambda socket, options: socket.connect(options),
    ),
    "listen": (
        LISTEN_OPTIONS,
        {"port": 0, "host": "127.0.0.1"},
        net.Server,
        lambda server, options: server.listen(options),
    ),
}


def options_of(function: str) -> dict[str, dict[str, list[str]]]:
    """Give a function each of its options with each value."""
    outcomes: dict[str, dict[str, list[str]]] = {}
    names, base, make, call = OPTIONS[function]
    for option in names:
        told = outcomes[option] = {}
        for name, value in VALUES.items():
            sys.stderr.write(f"\r{function}({option}={name}) ")
            thing = made = make()
            before = None if thing is None else state(thing)
            try:
                made = call(thing, base | {option: value})
            except Exception as error:
                what = outcome(error)
                if thing is not None and state(thing) != before:
                    what += " and changed"
            else:
                what = "returned"
            clean_up(made)
            told.setdefault(what, []).append(name)
    return outcomes


SETTERS = [
    net.set_default_auto_select_family,
    net.set_default_auto_select_family_attempt_timeout,
    lambda value: pyuvnet.set_default_high_water_mark(False, value),
]


def defaults() -> list[Any]:
    return [
        net.get_default_auto_select_family(),
        net.get_default_auto_select_family_attempt_timeout(),
        pyuvnet.get_default_high_water_mark(False),
    ]


def prodded(what: str, kind: str, folder: Path) -> dict[str, dict[str, list[str]]]:
    """Prod in a child, since it may crash."""
    root = Path(__file__).resolve().parent.parent.parent
    child = subprocess.run(
        [sys.executable, __file__, what, kind, str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(root), PYTHONFAULTHANDLER="1"),
        timeout=25,
    )
    # What was being done stands last.
    assert child.returncode == 0, child.stderr[-2000:]
    found: dict[str, dict[str, list[str]]] = json.loads(child.stdout)
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    pyuvnet.set_exception_handler(nothing)
    what, kind, folder = sys.argv[1:]
    os.chdir(folder)
    if what == "another thread":
        found = from_another_thread(kind)
    elif what == "functions":
        found = functions(kind)
    elif what == "options":
        found = options_of(kind)
    else:
        found = prod_all(kind, STATES[what])
    json.dump(found, sys.stdout)

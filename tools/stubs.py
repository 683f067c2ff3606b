"""Writes what is known elsewhere into stubs, facade and docstrings: events and options.

The methods that take names of events, of `event_table.py`, stand between two marks in the stub of
each class; what `events.once()` gives, between two others in its own.

Options come from `pyuvnet/_base/option_table.py`: their entries under `Args:` in the docstrings of
the classes and functions that it names, in place of all that are there, and the TypedDicts of TYPED
in `_typing/keywords.py`.

    python tools/stubs.py           write the lines anew
    python tools/stubs.py --check   only say which files would change; exit code 1 if any would
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from event_table import EVENTS, parameters

from pyuvnet._base.option_table import OPTIONS

PACKAGE = Path(__file__).resolve().parent.parent / "pyuvnet"
EVENTS_BEGIN, EVENTS_END = "# Events, by tools/stubs.py", "# Events end"
EVENTS_BLOCK = re.compile(
    rf"^class (\w+)\b(?:(?!^\S).)*?^    {EVENTS_BEGIN}\n(.*?)^    {EVENTS_END}$",
    re.DOTALL | re.MULTILINE,
)

WAITING_BEGIN, WAITING_END = "# Waiting, by tools/stubs.py", "# Waiting end"
WAITING_BLOCK = re.compile(rf"^{WAITING_BEGIN}$.*?^{WAITING_END}$", re.DOTALL | re.MULTILINE)

ANY_ERROR = ("SystemCallError", "BaseException")
LISTENERS = PACKAGE / "_typing" / "listeners.py"
LISTENERS_HEAD = '''"""What the stubs of emitters have in common; nothing imports this at run time.

tools/stubs.py writes it, from its table of events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Never, Protocol, TypeAlias, TypeVar, overload

from .._core.emitter import _ErrorMonitor
from .._core.readable import Readable
from ..errors import SystemCallError
from ..server import Server
from ..socket import Socket
from ..tls import TLSSocket
from ..typing import DropInfo, OverloadInfo

ErrorMonitor: TypeAlias = _ErrorMonitor

# mypy explains a call that no overload accepts with the first overload whose parameters resemble
# the arguments. The comparison ignores literals and type arguments: a name resembles
# Sequence[Never], and any listener resembles Misfit. Neither accepts anything, and mypy leaves a
# type variable without a value out of what it prints.
_Text_co = TypeVar("_Text_co", covariant=True)


class _Unfit(Protocol[_Text_co]):
    def __str__(self) -> _Text_co: ...  # type: ignore[override]


Misfit = TypeVar("Misfit", bound=_Unfit[Never])
_Event_contra = TypeVar("_Event_contra", contravariant=True)
Same = TypeVar("Same")


# Has no other use than to choose the signature of a listener by its event. Each object has the
# method, so that mypy does not list it as missing.
class Of(Protocol[_Event_contra]):
    def __eq__(self, other: _Event_contra, /) -> bool: ...  # type: ignore[override]

'''
# Functions of the table of options that are no class, or share its name with another: the last line
# of their docstring.
DOCUMENTED = {
    "Server": "Node: net.Server",
    "connect": "Node: socket.connect()",
    "create_connection": "Node: net.createConnection(), net.connect()",
    "listen": "Node: server.listen()",
    "promises.listen": "Node: net.promises.listen()",
    "tls.Server": "Node: tls.Server",
    "tls.connect": "Node: tls.connect()",
}
FUNCTIONS = sorted({function for row in OPTIONS for function in row[1].split()})
# The TypedDicts: bases, docstring, and the functions whose options they add to those of the bases.
TYPED = {
    "SocketOptions": ("", "Of Socket().", "Socket"),
    "ConnectOptions": (
        "SocketOptions",
        "Of Socket.connect(), which takes those of Socket() too and ignores them.",
        "connect create_connection",
    ),
    "ServerOptions": ("", "Of Server() and create_server().", "Server"),
    "ListenOptions": ("", "Of Server.listen().", "listen"),
    "BoundOptions": ("", "Of BoundSocket().", "BoundSocket"),
    "StreamOptions": ("", "Of Readable(), Writable() and Duplex().", "Readable Writable Duplex"),
    "AddressOptions": ("", "Of SocketAddress().", "SocketAddress"),
}
AWAITED = ["    *,", "    signal: AbortSignal | None = None,"]
METHODS = ["add_listener", "once", "prepend_listener", "prepend_once_listener"]
OPTIONS_BEGIN, OPTIONS_END = "# Options, by tools/stubs.py", "# Options end"
OPTIONS_BLOCK = re.compile(rf"^{OPTIONS_BEGIN}$.*?^{OPTIONS_END}$", re.DOTALL | re.MULTILINE)


def events_of(name: str) -> dict[str, str]:
    """The events of a class, those of its bases included."""
    merged: dict[str, str] = {}
    for base in EVENTS[name][0].split():
        merged |= events_of(base)
    return merged | parameters(name)


def with_events(found: re.Match[str]) -> str:
    """A class with the methods that name its events between the marks."""
    head = found[0][: found.start(2) - found.start()]
    return f"{head}{overloads(found[1])}    {EVENTS_END}"


def groups_of(name: str) -> dict[str, list[str]]:
    """The events of a class by what their listeners get."""
    groups: dict[str, list[str]] = {}
    for event, arguments in sorted(events_of(name).items()):
        groups.setdefault(arguments, []).append(event)
    return groups


def overloads(name: str) -> str:
    """The methods of a class that take names of events, without the marks."""
    decorators, adders, emitters = [], [], []
    for arguments, names in groups_of(name).items():
        event = f"event: Literal[{', '.join(map(quoted, names))}]"
        if "error" in names:
            event += " | _listeners.ErrorMonitor"
        variants = alternatives(arguments)
        same = f"_listeners.{listener_name(variants)}"
        decorators.append([event, "listener: None = None", f"Callable[[{same}], {same}]"])
        adders += [[event, f"listener: {callback(each)}", "Self"] for each in variants]
        given = {key: " | ".join(each[key] for each in variants) for key in variants[0]}
        # Any exception can be emitted, though a listener gets one with Node's attributes.
        given = {key: kind.replace(*ANY_ERROR) for key, kind in given.items()}
        emitters.append([event, *(f"{key}: {kind}" for key, kind in given.items()), "/", "bool"])
    own, listener = "event: Event[Unpack[_Ts]]", "Callable[[Unpack[_Ts]], object]"
    decorators.append([own, "listener: None = None", f"Callable[[{listener}], {listener}]"])
    adders.append([own, f"listener: {listener}", "Self"])
    emitters.append([own, "*arguments: Unpack[_Ts]", "bool"])
    # What mypy explains a mistaken call with: after Event, which resembles these names as well, and
    # before the rest, of which pyright explains it with the last.
    variable = event_variable(name)
    some = f"event: {variable}"
    fitting = f"listener: _listeners.{listener_protocol(name)}[{variable}] | _listeners.Misfit"
    same = "_listeners.Same"
    decorators.append([some, "listener: None = None", f"Callable[[{same}], {same}]"])
    adders.insert(0, [some, fitting, "Self"])
    adders.insert(0, adders[-1])
    lines = []
    for parts in [*decorators, *adders]:
        lines += ["@overload", *folded("on", parts)]
    lines += [f"{method} = on" for method in METHODS]
    every = f"event: _listeners.{name}Event | Event[Unpack[tuple[Any, ...]]]"
    lines += folded("off", [every, "listener: Callable[..., object]", "Self"])
    lines.append("remove_listener = off")
    for parts in emitters:
        lines += ["@overload", *folded("emit", parts)]
    return "".join(f"    {line}\n" for line in lines)


def waiting() -> str:
    """The overloads of events.once() for events that are known, the marks included."""
    lines = [WAITING_BEGIN]
    # The last first, since a class comes after its bases.
    for name in reversed(EVENTS):
        emitter = {"Writable": "Writable | Duplex", "Stream": "Readable | Writable"}.get(name, name)
        kinds: dict[str, list[str]] = {}
        for each, arguments in parameters(name).items():
            types = list(alternatives(arguments)[0].values())
            kinds.setdefault(types[0] if len(types) == 1 else "Any", []).append(each)
        for kind, names in kinds.items():
            event = f"event: Literal[{', '.join(map(quoted, sorted(names)))}]"
            lines += ["@overload", "def once("]
            lines.append(f"    emitter: {emitter.removesuffix('Base')},")
            if len(event) <= 95:
                lines.append(f"    {event},")
            else:
                lines.append("    event: Literal[")
                lines += [f"        {quoted(each)}," for each in sorted(names)]
                lines.append("    ],")
            lines += AWAITED
            lines.append(f") -> Waiter[list[{kind}]]: ...")
    # What mypy explains a call with that waits for no event of the emitter.
    for name in list(EVENTS)[:0:-1]:
        lines += ["@overload", "def once("]
        lines.append(f"    emitter: {name.removesuffix('Base')},")
        lines.append(f"    event: {event_variable(name)},")
        lines += [*AWAITED, ") -> Waiter[list[Any]]: ..."]
    return "\n".join([*lines, "", WAITING_END])


def event_variable(name: str) -> str:
    """The type variable for an event of a class, as mypy names it when there is no such event."""
    return f"EventOf{name.removesuffix('Base')}"


def listener_protocol(name: str) -> str:
    """The type that mypy prints for a listener that its event does not fit."""
    return f"{name.removesuffix('Base')}Listener"


def quoted(name: str) -> str:
    return f'"{name}"'


def alternatives(arguments: str) -> list[dict[str, str]]:
    """The lists of parameters that listeners may have, as names and types."""
    found = []
    for text in re.split(r" \| (?=\w+: )", arguments):
        (function,) = ast.parse(f"def f({text}): ...").body
        assert isinstance(function, ast.FunctionDef)
        found.append(
            {each.arg: ast.unparse(each.annotation or each) for each in function.args.args}
        )
    return found


def callback(parameters: dict[str, str]) -> str:
    return f"Callable[[{', '.join(parameters.values())}], object]"


def listener_name(variants: list[dict[str, str]]) -> str:
    """The type variable for a listener that a decorator leaves as it is."""
    return f"Of{'_'.join(variants[0]).title().replace('_', '') or 'Nothing'}"


def folded(method: str, parts: list[str]) -> list[str]:
    """A method as ruff would fold it, in a class: its parameters, and what it returns."""
    *parts, returned = parts
    tail = f") -> {returned}: ..."
    line = f"def {method}({', '.join(['self', *parts])}{tail}"
    if len(line) <= 96:
        return [line]
    if len(", ".join(["self", *parts])) <= 92:
        return [f"def {method}(", f"    {', '.join(['self', *parts])}", tail]
    lines = [f"def {method}(", "    self,"]
    for part in parts:
        if len(part) <= 91 or "Literal[" not in part:
            lines.append(f"    {part},")
        else:
            names = re.findall('"[^"]*"', part)
            lines += ["    event: Literal[", *(f"        {name}," for name in names), "    ],"]
    return [*lines, tail]


def listeners_module() -> str:
    """The text of what the stubs have in common: names of events, and type variables."""
    lines = [LISTENERS_HEAD]
    variables = {}
    for name in EVENTS:
        lines.append(f"{name}Event: TypeAlias = (")
        lines.append("    Literal[")
        lines += [f"        {quoted(event)}," for event in sorted(events_of(name))]
        lines += ["    ]", "    | ErrorMonitor", ")"]
        for arguments in groups_of(name):
            variants = alternatives(arguments)
            bound = " | ".join(map(callback, variants))
            assert variables.setdefault(listener_name(variants), bound) == bound
    variables |= {event_variable(name): f"{name}Event | Sequence[Never]" for name in EVENTS}
    for variable, bound in variables.items():
        line = f'{variable} = TypeVar("{variable}", bound="{bound}")'
        if len(line) > 100:
            line = f'{variable} = TypeVar(\n    "{variable}",\n    bound="{bound}",\n)'
        lines.append(line)
    for name in list(EVENTS)[1:]:
        lines += ["", "", *protocol_of_listeners(name)]
    return "\n".join(lines) + "\n"


def protocol_of_listeners(name: str) -> list[str]:
    """The protocol that shows what an event passes to its listeners, folded as ruff would.

    No listener implements it, because of its `**`: here, mypy takes the arguments of a lambda for
    Any and would find no mistake in its body.
    """
    protocol = listener_protocol(name)
    lines = [f"class {protocol}(Of[_Event_contra], Protocol[_Event_contra]):"]
    for arguments, names in groups_of(name).items():
        owner = f"self: Of[Literal[{', '.join(map(quoted, names))}]]"
        given = [f"{key}: {kind}" for key, kind in alternatives(arguments)[0].items()]
        given.append("**_: Never")
        inner = ", ".join([owner, *given])
        lines.append("    @overload")
        if len(inner) <= 67:
            lines.append(f"    def __call__({inner}) -> object: ...")
        elif len(inner) <= 92:
            lines += ["    def __call__(", f"        {inner}", "    ) -> object: ..."]
        else:
            folded_owner = [f"        {owner},"]
            if len(owner) > 91:
                folded_owner = ["        self: Of[", "            Literal["]
                folded_owner += [f"                {quoted(event)}," for event in names]
                folded_owner += ["            ]", "        ],"]
            each = [f"        {part}," for part in given]
            lines += ["    def __call__(", *folded_owner, *each, "    ) -> object: ..."]
    return lines


def rows(functions: str) -> list[tuple[Any, ...]]:
    """The rows of the options which any of these functions takes."""
    return [row for row in OPTIONS if not set(functions.split()).isdisjoint(row[1].split())]


def entries(function: str, margin: str) -> list[str]:
    """The lines about its options in a function's docstring."""
    lines = []
    for (_, kind, default, text), group in groupby(rows(function), key=lambda row: row[2:6]):
        if kind:
            about = kind + (f", default {default}" if default else "") + (text and f": {text}")
            names = ", ".join(row[0] for row in group)
            lines += textwrap.wrap(
                f"{names}: {about}.",
                100,
                initial_indent=margin,
                subsequent_indent=margin + "    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def docstring(function: str, text: str) -> tuple[int, int] | None:
    """Where the docstring of a function of the table begins and ends, if it is in a file's text."""
    if function in DOCUMENTED:
        found = re.search(rf"^ *{re.escape(DOCUMENTED[function])}$", text, re.MULTILINE)
        return found and (text.rindex('"""', 0, found.start()), found.start())
    found = re.search(rf'^(?:cdef )?class {function}\b[^:]*:\n +"""', text, re.MULTILINE)
    return found and (found.end() - 3, text.index('"""', found.end()))


def documented(text: str) -> str:
    """The text of a file, with the options of the table in its docstrings."""
    for function in FUNCTIONS:
        place = docstring(function, text)
        if place is None:
            continue
        begin, last = place
        head, *lines = text[begin:last].split("\n")
        args = next(number for number, line in enumerate(lines) if line.lstrip()[:5] == "Args:")
        indent = lines[args][: -len(lines[args].lstrip())]
        margin = indent + "    "
        end = args + 1
        while lines[end].startswith(margin):
            end += 1
        names = {row[0] for row in rows(function)}
        kept: list[str] = []
        where = None
        options = False
        for line in lines[args + 1 : end]:
            if line[len(margin)] != " ":
                about = line.strip().partition(":")[0].split(", ")
                options = names.issuperset(about)
                if options and where is None:
                    where = len(kept)
            if not options:
                kept.append(line)
        if where is None:
            where = next((n for n, line in enumerate(kept, 1) if "options:" in line), 0)
        kept[where:where] = entries(function, margin)
        lines[args + 1 : end] = kept
        text = text[:begin] + "\n".join([head, *lines]) + text[last:]
    return text


def typed_options() -> str:
    """The TypedDicts of the options, the marks included."""
    lines = [OPTIONS_BEGIN]
    for name, (bases, about, functions) in TYPED.items():
        known = {row[0] for base in filter(None, bases.split(", ")) for row in rows(TYPED[base][2])}
        lines += ["", "", f"class {name}({bases or 'TypedDict'}, total=False):"]
        lines += [f'    """{about}"""', ""]
        kinds: dict[str, list[str]] = {}
        for row in rows(functions):
            if row[0] not in known and row[2] not in kinds.setdefault(row[0], []):
                kinds[row[0]].append(row[2])
        for option, types in kinds.items():
            lines.append(f"    {option}: {' | '.join(types)} | None")
    return "\n".join([*lines, "", "", OPTIONS_END])


def written(path: Path) -> str:
    """The text that a file of ours should have."""
    if path == LISTENERS:
        return listeners_module()
    text = path.read_text("utf-8")
    text = OPTIONS_BLOCK.sub(lambda _: typed_options(), documented(text))
    if path.suffix == ".pyi":
        text = EVENTS_BLOCK.sub(with_events, text)
        text = WAITING_BLOCK.sub(lambda _: waiting(), text)
    return text


def files() -> list[Path]:
    """The stubs, and the files of the facade and the core, which may have something of these."""
    return sorted(
        {
            *PACKAGE.glob("_core/*.pyi"),
            *PACKAGE.glob("_core/*.pyx"),
            *PACKAGE.glob("_*/*.py"),
            *PACKAGE.glob("*.py"),
            *PACKAGE.glob("*.pyi"),
            LISTENERS,
        }
    )


def stale(path: Path) -> bool:
    return written(path) != path.read_text("utf-8")


def main(arguments: list[str]) -> int:
    """Write the files, or with --check only name those that would change."""
    changed = [path for path in files() if not path.exists() or stale(path)]
    for path in changed:
        print(path.relative_to(PACKAGE.parent))
        if "--check" not in arguments:
            path.write_text(written(path), "utf-8")
    return 1 if changed and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

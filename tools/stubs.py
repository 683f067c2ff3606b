"""Writes what is known elsewhere into stubs, facade and docstrings: spellings, events and options.

At run time `add_node_names()` makes them; a type checker reads no code that runs, so here each gets
a line `setNoDelay = set_no_delay`, between two marks at the end of its class or file. Overloads of
on() and its like, by the names of events in EVENTS, stand between two other marks.

Options come from `pyuvnet/_base/option_table.py`: their entries under `Args:` in the docstrings of
DOCUMENTED, in place of all that are there, and the TypedDicts of TYPED in `_keywords.py`.

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

from pyuvnet._base.names import to_node
from pyuvnet._base.option_table import OPTIONS

PACKAGE = Path(__file__).resolve().parent.parent / "pyuvnet"
BEGIN, END = "# Node's spellings, by tools/stubs.py", "# Node's spellings end"
BLOCK = re.compile(rf"\n*^ *{BEGIN}$.*?^ *{END}$", re.DOTALL | re.MULTILINE)
EVENTS_BEGIN, EVENTS_END = "# Events, by tools/stubs.py", "# Events end"
EVENTS_BLOCK = re.compile(rf"^    {EVENTS_BEGIN}$.*?^    {EVENTS_END}$", re.DOTALL | re.MULTILINE)

# What the listeners of each class's events get; the class is that of `self`, since overloads of a
# subclass would have to repeat all of its bases'. Chunks are bytes unless set_encoding() was
# called: a listener for str is taken by the last overload, which takes any event and listener.
EVENTS = {
    "_SocketT": {
        "close": "bool",
        "connect": "",
        "connectionAttempt": "Any, Any, Any",
        "connectionAttemptFailed": "Any, Any, Any, BaseException",
        "connectionAttemptTimeout": "str, int, int",
        "lookup": "BaseException | None, str | None, int | None, str",
        "ready": "",
        "timeout": "",
    },
    "_ServerT": {
        "close": "",
        "connection": "Socket",
        "drop": "Any",
        "error": "BaseException",
        "listening": "",
    },
    "_ReadableT": {
        "data": "bytes",
        "end": "",
        "pause": "",
        "readable": "",
        "resume": "",
    },
    "_WritableT": {
        "drain": "",
        "finish": "",
        "pipe": "Readable",
        "unpipe": "Readable",
    },
    "_StreamT": {
        "close": "",
        "error": "BaseException",
    },
}
# Functions of the table of options, and the last line of the docstring that documents them.
DOCUMENTED = {
    "BoundSocket": "Node: net.BoundSocket",
    "Duplex": "Node: stream.Duplex",
    "Readable": "Node: stream.Readable",
    "Server": "Node: net.Server",
    "Socket": "Node: net.Socket",
    "SocketAddress": "Node: net.SocketAddress",
    "Writable": "Node: stream.Writable",
    "connect": "Node: socket.connect()",
    "create_connection": "Node: net.createConnection(), net.connect()",
    "listen": "Node: server.listen()",
    "promises.listen": "Node: net.promises.listen()",
}
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
    "ServeOptions": ("ServerOptions, ListenOptions", "Of promises.listen().", "promises.listen"),
    "BoundOptions": ("", "Of BoundSocket().", "BoundSocket"),
    "StreamOptions": ("", "Of Readable(), Writable() and Duplex().", "Readable Writable Duplex"),
    "AddressOptions": ("", "Of SocketAddress().", "SocketAddress"),
}
OPTIONS_BEGIN, OPTIONS_END = "# Options, by tools/stubs.py", "# Options end"
OPTIONS_BLOCK = re.compile(rf"^{OPTIONS_BEGIN}$.*?^{OPTIONS_END}$", re.DOTALL | re.MULTILINE)
METHODS = ["on", "once", "prepend_listener", "prepend_once_listener"]


def overloads() -> str:
    """The overloads of what adds listeners, the marks included."""
    variants = []
    for self, events in EVENTS.items():
        groups: dict[str, list[str]] = {}
        for event, arguments in sorted(events.items()):
            groups.setdefault(arguments, []).append(f'"{event}"')
        for arguments, names in groups.items():
            event = f"event: Literal[{', '.join(names)}]"
            listener = f"listener: Callable[[{arguments}], object]"
            variants.append(f"(self: {self}, {event}, {listener}) -> {self}: ...")
    variants.append("(self, event: Hashable, listener: None = None) -> Callable[[_F], _F]: ...")
    variants.append("(self, event: Hashable, listener: _Listener) -> Self: ...")
    lines = [EVENTS_BEGIN]
    for method in METHODS:
        for variant in variants:
            lines += ["@overload", *folded(f"def {method}{variant}")]
        if method == "on":
            lines.append("add_listener = on")
    return "\n".join(f"    {line}" for line in [*lines, EVENTS_END])


def folded(signature: str) -> list[str]:
    """A signature as ruff would fold it, in a class."""
    if len(signature) <= 96:
        return [signature]
    head, rest = signature.split("(", 1)
    arguments, tail = rest.rsplit(") -> ", 1)
    if len(arguments) <= 92:
        return [f"{head}(", f"    {arguments}", f") -> {tail}"]
    first, event, listener = re.split(r", (?=event:|listener:)", arguments)
    lines = [f"{head}(", f"    {first},"]
    if len(event) <= 91:
        lines.append(f"    {event},")
    else:
        names = re.findall('"[^"]*"', event)
        lines += ["    event: Literal[", *(f"        {name}," for name in names), "    ],"]
    return [*lines, f"    {listener},", f") -> {tail}"]


def targets(source: str) -> list[str]:
    """What a source gives to add_node_names(): names of classes, or 'globals()'."""
    return re.findall(r"^add_node_names\((\w+(?:\(\))?)\)$", source, re.MULTILINE)


def names(body: list[ast.stmt]) -> list[str]:
    """The names that statements bind, each once, in their order; imports do not count."""
    bound: list[str] = []
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.append(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                bound.append(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                bound.append(name)
    return list(dict.fromkeys(bound))


def exported(tree: ast.Module) -> list[str]:
    """The names of `__all__`."""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
    return []


def block(found: list[str], margin: str, stub: bool) -> list[str]:
    """The lines between the marks, and these."""
    twins = {to_node(name): name for name in found if not name.startswith("_")}
    lines = [f"{twin} = {name}" for twin, name in twins.items() if twin not in found]
    if not lines:
        return []
    if not stub:
        lines = ["if TYPE_CHECKING:", *(f"    {line}" for line in lines)]
    return ["", *(margin + line for line in (BEGIN, *lines, END))]


def rows(functions: str) -> list[tuple[str, ...]]:
    """The rows of the options which any of these functions takes."""
    return [row for row in OPTIONS if not set(functions.split()).isdisjoint(row[1].split())]


def entries(function: str, margin: str) -> list[str]:
    """The lines about its options in a function's docstring."""
    lines = []
    for (_, kind, default, text), group in groupby(rows(function), key=lambda row: row[2:]):
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


def documented(text: str) -> str:
    """The text of a file, with the options of the table in its docstrings."""
    for function, mark in DOCUMENTED.items():
        found = re.search(rf"^ *{re.escape(mark)}$", text, re.MULTILINE)
        if found is None:
            continue
        begin = text.rindex('"""', 0, found.start())
        head, *lines = text[begin : found.start()].split("\n")
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
        text = text[:begin] + "\n".join([head, *lines]) + text[found.start() :]
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
            for spelling in dict.fromkeys((option, to_node(option))):
                lines.append(f"    {spelling}: {' | '.join(types)} | None")
    return "\n".join([*lines, "", "", OPTIONS_END])


def written(path: Path) -> str:
    """The text that a file of ours should have."""
    stub = path.suffix == ".pyi"
    text = path.read_text("utf-8")
    if path.suffix == ".pyx":
        return documented(text)
    text = OPTIONS_BLOCK.sub(lambda _: typed_options(), documented(BLOCK.sub("", text)))
    if stub:
        text = EVENTS_BLOCK.sub(lambda _: overloads(), text)
    source = path.with_suffix(".pyx").read_text("utf-8") if stub else text
    lines, tree = text.splitlines(), ast.parse(text)
    wanted = targets(source)
    # What classes have in common for type checkers alone is of those that get names.
    wanted += [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and "type_check_only" in map(ast.unparse, node.decorator_list)
    ]
    inserts: list[tuple[int, list[str]]] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in wanted:
            assert node.end_lineno is not None
            inserts.append((node.end_lineno, block(names(node.body), "    ", stub)))
    if "globals()" in wanted:
        found = names(tree.body) if stub else exported(tree)
        inserts.append((len(lines), block(found, "", stub)))
    for line, added in sorted(inserts, reverse=True):
        lines[line:line] = added
    return "\n".join(lines) + "\n"


def files() -> list[Path]:
    """The stubs, and the files of the facade and the core, which may have something of these."""
    return sorted(
        [*PACKAGE.glob("_core/*.pyi"), *PACKAGE.glob("_core/*.pyx"), *PACKAGE.glob("*.py")]
    )


def main(arguments: list[str]) -> int:
    """Write the files, or with --check only name those that would change."""
    changed = [path for path in files() if written(path) != path.read_text("utf-8")]
    for path in changed:
        print(path.relative_to(PACKAGE.parent))
        if "--check" not in arguments:
            path.write_text(written(path), "utf-8")
    return 1 if changed and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

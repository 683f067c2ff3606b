"""The API reference: signatures from sources and stubs, text from docstrings, links to Node's.

    .. pyuvnet-class:: pyuvnet.Server      a class and its members
    .. pyuvnet-function:: pyuvnet.run      one function
    .. pyuvnet-events:: pyuvnet.cluster    the events of a module, as a table
    .. pyuvnet-framings:: classes          every framing; with `table`: what each of them cuts

Docstrings have a form of their own: one line; then Args, Events, Raises; last `Node: net.X`, which
becomes a link. A name that node_links.py does not know is a warning, and so fails the build.
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import node_links
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import pyuvnet
from pyuvnet._base.names import to_node

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from event_table import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

# Attributes that C fields are: Cython gives them no docstring.
FIELDS = {
    "allow_half_open": "As the option, for later connections. Node: server.allowHalfOpen",
    "pause_on_connect": "As the option, for later connections. Node: server.pauseOnConnect",
    "no_delay": "As the option, for later connections. Node: server.noDelay",
    "keep_alive": "As the option, for later connections. Node: server.keepAlive",
    "drop_max_connection": "Kept; no effect without a cluster. Node: server.dropMaxConnection",
    "PRIVATE_RANGES": (
        "The subnets that are no part of the public internet (private, loopback, link-local,"
        " shared, reserved), in CIDR notation, for add_cidrs(): Node's, and more of the kind."
        " Node: BlockList.PRIVATE_RANGES"
    ),
    "default_max_listeners": (
        "Above how many listeners of one event a warning is given, for emitters without a number"
        " of their own; 10. Assignable on EventEmitter. Node: events.defaultMaxListeners"
    ),
    "capture_rejections": (
        "Whether a failed coroutine listener becomes an 'error', for emitters without the option;"
        " False. Assignable on EventEmitter. Node: events.captureRejections"
    ),
    "error_monitor": (
        "The event name whose listeners see every 'error' without handling it."
        " Node: events.errorMonitor"
    ),
    "address": "Always None: a lookup has none. Node: none",
    "port": "Always None. Node: none",
    "dest": "Always None. Node: none",
    "running": "True while run() is under way here. Node: none",
    "closed": "True once close() was called. Node: none",
}


# ---- Docstrings ----------------------------------------------------------------------------------


def split(text: str) -> tuple[str, str | None]:
    """Take the last `Node:` off a docstring."""
    text = inspect.cleandoc(text)
    found = re.search(r"(?:^|\s)Node: ([^\n]*)\Z", text)
    if not found:
        return text, None
    return text[: found.start()].rstrip(), found[1].strip()


def escape(text: str) -> str:
    """Plain text, with code in single backticks, as reStructuredText."""
    pieces = re.split(r"(`+[^`]+`+)", text)
    for index, piece in enumerate(pieces):
        if piece.startswith("`"):
            pieces[index] = f"``{piece.strip('`')}``"
        else:
            piece = re.sub(r"([\\*|])", r"\\\1", piece)
            pieces[index] = re.sub(r"_(?=\W|$)", r"\\_", piece)
    return "".join(pieces)


SECTION = re.compile(r"(Args|Attributes|Forms|Events|Frame|Limit|Raises|Returns):(?:\s+(.*))?$")
TITLES = {"Args": "Arguments"}


def escaped(lines: list[str]) -> list[str]:
    """Lines escaped together: code in backticks may be broken between two."""
    return escape("\n".join(lines)).splitlines()


def items(lines: list[str]) -> list[str]:
    """`name: text` lines, and continuations below them, as a list."""
    out: list[list[str]] = []
    for line in lines:
        found = re.match(r"([a-zA-Z_][\w, ]*?): (.*)$", line)
        if found:
            names = ", ".join(f"**{escape(name)}**" for name in found[1].split(", "))
            out.append([f"{names}: ", found[2]])
        elif out:
            out[-1].append(line.strip())
        else:
            out.append(["", line.strip()])
    text = []
    for names, *rest in out:
        first, *more = escaped(rest)
        text += [f"* {names}{first}", *(f"  {line}" for line in more)]
    return text


def forms(text: str) -> list[str]:
    """The ways to call a function, one a line."""
    out = [f"| ``{form}``" for form in re.findall(r"[\w.]+\([^)]*\)", text)]
    return [*out, "| keywords only"] if text.endswith(", or keywords.") else out


def words_of_events(path: str) -> dict[str, str]:
    """When each event of a class or a module is emitted."""
    return sentences(path, [each.__name__ for each in getattr(resolve(path), "__mro__", ())])


def event_table(path: str, text: str) -> list[str]:
    """The events that a docstring lists, as a table."""
    rows: dict[str, str] = {}
    for name, arguments in re.findall(r"'(\w+)'(?: \(([^)]*)\))?", text):
        rows[name] = rows.get(name) or arguments
    words = words_of_events(path)
    out = [".. list-table::", "    :header-rows: 1", "    :class: events", ""]
    out += ["    * - event", "      - arguments", "      - emitted"]
    for name, arguments in rows.items():
        when = words.get(name, "")
        if not when:
            log.warning("%s: event_table.py lacks '%s', which is in its docstring", path, name)
        arguments = re.sub(r"\b(?!or\b)(\w+)\b", r"``\1``", arguments)
        out += [f"    * - ``'{name}'``", f"      - {arguments}", f"      - {escape(when)}"]
    return [*out, ""]


def bases(cls: type) -> list[str]:
    """A line that names the public bases of a class."""
    found = []
    for base in cls.__mro__[1:]:
        if base in PAGES:
            found.append(f":py:class:`~{PAGES[base]}`")
        elif base.__module__ == "builtins" and base is not object:
            found.append(f":py:class:`{base.__name__}`")
        else:
            continue
        # The bases of a base stand there.
        if base in PAGES or issubclass(base, BaseException):
            break
    return [f"*Base:* {', '.join(found)}", ""] if found else []


def render(doc: str, events_of: str = "") -> list[str]:
    """A docstring without its Node line, as reStructuredText; its sections become fields."""
    out: list[str] = []
    lines = doc.splitlines()
    index = 0
    while index < len(lines):
        found = SECTION.match(lines[index])
        start = index
        index += 1
        if found:
            while index < len(lines) and (
                lines[index].startswith(" ")
                or (found[2] and re.match(r"(?![A-Z]\w*( |:))\S", lines[index]))
            ):
                index += 1
            if found[1] == "Attributes":
                continue  # each stands at its own place
            rest = inspect.cleandoc("\n".join(lines[start + 1 : index])).splitlines()
            text = [found[2], *rest] if found[2] else []
            if found[1] == "Events" and events_of and words_of_events(events_of):
                of = re.match(r"those of ([\w.]+)", found[2] or "")
                words = " ".join(line.strip() for line in text)
                words = words[of.end() :] if of else words
                if "'" in words:
                    also = f"All events of {of[1]}, and these:" if of else "Events:"
                    out += ["", also, "", *event_table(events_of, words)]
                    continue
            field = escaped([line.strip() for line in text]) or items(rest)
            if found[1] == "Forms":
                field = forms(" ".join(line.strip() for line in text))
            if out and out[-1] and not out[-1].startswith((":", "    ")):
                out.append("")
            head = f":{TITLES.get(found[1], found[1])}:"
            out += [head, *(f"    {line}" for line in field)]
        elif lines[start].startswith("    "):
            while index < len(lines) and (not lines[index] or lines[index].startswith("    ")):
                index += 1
            out += ["", "::", "", *lines[start:index], ""]
        elif lines[start]:
            while index < len(lines) and lines[index] and not SECTION.match(lines[index]):
                index += 1
            if out and out[-1]:
                out.append("")
            out += escaped([line.strip() for line in lines[start:index]])
        else:
            out.append("")
    return out


def last_line(names: list[str], node: str | None, where: str) -> list[str]:
    """Node's spelling, and where Node describes it."""
    shown = []
    if names:
        shown.append("Also " + ", ".join(f"``{name}``" for name in names))
    if node is not None and not node.startswith("none"):
        links = []
        for name in node_links.parts(node):
            try:
                url = node_links.url(name)
            except KeyError:
                log.warning("%s: node_links.py does not know %r", where, name)
                continue
            links.append(f"`{name} <{url}>`__" if url else f"``{name}``")
        shown.append(f"Node: {', '.join(links)}")
    return ["", ".. container:: node", "", f"    {' · '.join(shown)}", ""] if shown else [""]


# ---- Signatures ----------------------------------------------------------------------------------


@functools.cache
def source(module: str) -> ast.Module | None:
    """The stub of a module, or the module itself."""
    base = Path(pyuvnet.__file__).parent.joinpath(*module.split(".")[1:])
    for path in (base.with_suffix(".pyi"), base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return ast.parse(path.read_text("utf-8"))
    return None


def found_in(body: list[ast.stmt], name: str) -> list[ast.stmt]:
    found = []
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own = statement.name
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            own = statement.target.id
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            # Another name of a method, such as add_listener of on.
            return found_in(body, ast.unparse(statement.value))
        else:
            continue
        if own == name:
            found.append(statement)
    return found


def definitions(module: str, *path: str) -> list[ast.stmt]:
    """The definitions of a name: several if it is overloaded."""
    tree = source(module)
    body = tree.body if tree else []
    for statement in body:
        # What the module has from elsewhere in the package, as errors.py has all.
        if isinstance(statement, ast.ImportFrom) and statement.level:
            package = module.rsplit(".", statement.level)[0]
            names = [alias.asname or alias.name for alias in statement.names]
            if names == ["*"]:
                found = definitions(f"{package}.{statement.module}", *path)
                if found:
                    return found
            if path[0] in names:
                return definitions(f"{package}.{statement.module}", *path)
    found: list[ast.stmt] = []
    for number, name in enumerate(path):
        owner = found
        found = found_in(body, name)
        if not found and owner and isinstance(owner[0], ast.ClassDef):
            # What classes have in common for type checkers alone.
            for base in map(ast.unparse, owner[0].bases):
                for each in definitions(module, base):
                    if "type_check_only" in decorators(each):
                        found = definitions(module, base, *path[number:])
        body = found[0].body if found and isinstance(found[0], ast.ClassDef) else []
    return found


def attributes(cls: type) -> dict[str, str]:
    """What a class's docstring says of its attributes in the section of that name."""
    found = re.search(r"^Attributes:\n((?:    .*\n)+)", inspect.cleandoc(cls.__doc__ or ""), re.M)
    text = inspect.cleandoc(found[1]) if found else ""
    return dict(re.findall(r"^(\w+): ((?:.+\n? *(?!\w+: ))+)", re.sub(r"\n +", " ", text), re.M))


def decorators(function: ast.stmt) -> set[str]:
    return {ast.unparse(item) for item in getattr(function, "decorator_list", [])}


def plain(text: str) -> str:
    """Annotations as people read them, without modules and underscores."""
    text = re.sub(r"\b(Server|Socket)Base\b", r"\1", text.replace("BoundBase", "BoundSocket"))
    text = re.sub(r"\b(typing|collections\.abc|t)\.", "", text).replace("1e309", "inf")
    text = re.sub(r"\*\*(\w+): Unpack\[\w+\]", r"**\1", text)
    text = text.replace("Callable[[Unpack[_Ts]], object]", "Callable[..., object]")
    return re.sub(r"\b_(?=[A-Z])", "", re.sub(r"Unpack\[(\w+)\]", r"*\1", text))


# Public names of types that stand for others; private ones are known by their underscore.
STAND_FOR = {"Callback", "Path", "Place", "Port", "Then"}


class Expanded(ast.NodeTransformer):
    """Annotations with what names such as _Address stand for in a module's stub."""

    def __init__(self, module: str) -> None:
        self.module = module

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in STAND_FOR or re.match("_[A-Z]", node.id):
            return stands_for(self.module, node.id) or node
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """A union names each type once, though names in it may stand for the same."""
        types = dict.fromkeys(ast.unparse(item) for item in alternatives(self.generic_visit(node)))
        return ast.parse(" | ".join(types), mode="eval").body


def alternatives(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp):
        yield from alternatives(node.left)
        yield from alternatives(node.right)
    else:
        yield node


def stands_for(module: str, name: str) -> ast.expr | None:
    tree = source(module)
    for statement in ast.walk(tree) if tree else ():
        value = None
        if isinstance(statement, ast.ImportFrom) and statement.level:
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    package = module.rsplit(".", statement.level)[0]
                    return stands_for(f"{package}.{statement.module}", alias.name)
        elif isinstance(statement, (ast.AnnAssign, ast.Assign)):
            target = getattr(statement, "target", None) or statement.targets[0]
            value = statement.value if ast.unparse(target) == name else None
        if value is not None and not isinstance(value, ast.Call):
            return Expanded(module).visit(ast.parse(ast.unparse(value), mode="eval").body)
    return None


def constant(module: str, value: ast.expr) -> ast.expr:
    """A default that is the name of a constant, as its value."""
    if isinstance(value, ast.Name):
        found = getattr(importlib.import_module(module), value.id, value)
        if isinstance(found, (int, float, str)):
            return ast.Constant(found)
    return value


def real_default(module: str, function: str, name: str) -> Any:
    """The default of a parameter that a stub has as `...`."""
    own = getattr(importlib.import_module(module), function)
    return inspect.signature(own).parameters[name].default


def signatures(found: list[ast.stmt], method: bool, module: str = "") -> list[str]:
    functions = [
        item for item in found if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    overloads = [item for item in functions if "overload" in decorators(item)]
    # Those for each event say the same as the last, which are for any, and those for mistakes
    # accept none.
    overloads = [
        item
        for item in overloads
        if not re.search("event: (Literal|EventOf)", ast.unparse(item.args))
    ] or overloads
    texts = []
    for function in overloads or functions[:1]:
        arguments = copy.deepcopy(function.args)
        if method and "staticmethod" not in decorators(function):
            (arguments.posonlyargs or arguments.args)[:1] = []
        returned = copy.deepcopy(function.returns)
        if module:
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
                if default and ast.unparse(default) == "...":
                    default.value = real_default(module, function.name, argument.arg)
            arguments.defaults = [constant(module, item) for item in arguments.defaults]
            arguments = Expanded(module).visit(arguments)
            returned = returned and Expanded(module).visit(returned)
        returns = f" -> {plain(ast.unparse(returned))}" if returned else ""
        texts.append(f"({plain(ast.unparse(arguments))}){returns}")
    return texts


# ---- Directives ----------------------------------------------------------------------------------


def resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return getattr(resolve(module), name)


def members(cls: type) -> dict[str, type]:
    """The public names of a class in canonical spelling, and the class each comes from."""
    names = {name for name in dir(cls) if not name.startswith("_")}
    twins = {to_node(name) for name in names if to_node(name) != name}
    out = {}
    for name in sorted(names - twins):
        owner = next(base for base in cls.__mro__ if name in vars(base))
        if owner.__module__.startswith("pyuvnet"):
            out[name] = owner
    return out


def home(owner: type, name: str) -> tuple[str, str]:
    """Module and class where a member is declared: members shared by C are so elsewhere."""
    for base in owner.__mro__:
        if base.__module__.startswith("pyuvnet") and definitions(
            base.__module__, base.__name__, name
        ):
            return base.__module__, base.__name__
    return owner.__module__, owner.__name__


PROTOCOLS = {
    "__aiter__": "async for",
    "__aenter__": "async with",
    "__enter__": "with",
    "__aexit__": "end of async with",
    "__exit__": "end of with",
}


class Described(SphinxDirective):
    """What the directives have in common: reStructuredText is written, and parsed."""

    required_arguments = 1
    option_spec: ClassVar = {
        "without": directives.unchanged,
        "same-as": directives.unchanged,
        "no-constructor": directives.flag,
    }

    def parse(self, lines: list[str], where: str) -> list[nodes.Node]:
        container = nodes.container()
        self.state.nested_parse(StringList(lines, f"<docstring of {where}>"), 0, container)
        return container.children

    def member(self, cls: type, owner: type, name: str) -> list[str]:
        value = inspect.getattr_static(cls, name)
        where = f"{cls.__name__}.{name}"
        doc = FIELDS.get(name) if _no_doc(value) else value.__doc__
        bound = getattr(cls, name)
        if inspect.isroutine(bound) and getattr(bound, "__doc__", None):
            doc = bound.__doc__
        told = attributes(owner).get(name)
        if told:
            doc = told
        if not doc:
            log.warning("%s has no docstring", where)
            doc = ""
        text, node = split(doc)
        if node is None and not told and not (split(cls.__doc__ or "")[1] or "").startswith("none"):
            log.warning("%s: its docstring has no Node line", where)
        place = home(owner, name)
        found = definitions(*place, name)
        callables = signatures(found, method=True, module=place[0])
        if callables and "property" not in decorators(found[0]):
            head = f".. py:method:: {name}{callables[0]}"
            lines = [head, *(f"                {name}{more}" for more in callables[1:])]
            static = "staticmethod" in decorators(found[0])
            options = [*(["    :staticmethod:"] if static else [])]
            if isinstance(found[0], ast.AsyncFunctionDef):
                options.append("    :async:")
        elif inspect.isroutine(bound):
            if not found:
                log.warning("%s: its signature is in no stub", where)
            lines = [f".. py:method:: {name}{inspect.signature(bound)}"]
            options = []
        else:
            lines = [f".. py:attribute:: {name}"]
            kind = None
            if found and isinstance(found[0], ast.AnnAssign):
                kind = ast.unparse(found[0].annotation)
            elif found and getattr(found[0], "returns", None) is not None:
                kind = ast.unparse(found[0].returns)
            if kind:
                tree = Expanded(place[0]).visit(ast.parse(kind.strip("'"), mode="eval"))
                kind = plain(ast.unparse(tree))
            options = [f"    :type: {kind}"] if kind else []
        twin = to_node(name)
        last = last_line([twin] if twin != name else [], node, where)
        return [*lines, *options, "", *(f"    {line}" for line in [*render(text), *last])]


def _no_doc(value: Any) -> bool:
    return not value.__doc__ or value.__doc__ == type(value).__doc__ or isinstance(value, tuple)


class ClassDirective(Described):
    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        cls = resolve(path)
        module, _, name = path.rpartition(".")
        doc, node = split(cls.__doc__ or "")
        without = set(self.options.get("without", "").split())
        init = []
        for base in cls.__mro__:
            found = definitions(base.__module__, base.__name__, "__init__")
            init = signatures(found, method=True, module=base.__module__)
            if init:
                break
        heads = [re.sub(r" -> None$", "", head) for head in init] or [""]
        if "no-constructor" in self.options:
            heads = [""]
        text = render(doc, events_of=path)
        lines = [
            f".. py:class:: {name}{heads[0]}",
            # A class of a private module, which functions return, is shown by its name alone.
            f"    :module:{'' if '._' in module else f' {module}'}",
            "",
            *(f"    {line}" for line in [*bases(cls), *text, *last_line([], node, path)]),
        ]
        elsewhere: dict[type, list[str]] = {}
        own: list[str] = []
        for member, owner in members(cls).items():
            if member in without:
                continue
            documented = DOCUMENTED.get(owner)
            for whole, target in WHOLE.items():
                inherited = whole is not cls and issubclass(cls, whole) and issubclass(whole, owner)
                if inherited and not documented:
                    owner, documented = whole, target
            if owner is not cls and documented and documented != path:
                elsewhere.setdefault(owner, []).append(member)
                continue
            own += [f"    {line}" for line in self.member(cls, owner, member)]
        for dunder, words in PROTOCOLS.items():
            value = vars(cls).get(dunder)
            if value is None or not value.__doc__:
                continue
            text, node = split(value.__doc__)
            first, *rest = [*render(text), *last_line([], node, f"{path}.{dunder}")]
            own += [f"    .. py:method:: {dunder}()", "", f"        *({words})* {first}"]
            own += [f"        {line}" for line in rest]
        above: list[str] = []
        for owner, names in elsewhere.items():
            target = DOCUMENTED.get(owner) or WHOLE[owner]
            links = ", ".join(f":py:obj:`~{target}.{item}`" for item in names)
            above += [f"    Inherited from :py:class:`~{target}`: {links}", ""]
        return self.parse([*lines, *above, *own], path)


# Classes whose members others inherit, and where those are described.
DOCUMENTED = {
    pyuvnet.EventEmitter: "pyuvnet.EventEmitter",
    pyuvnet.Readable: "pyuvnet.Readable",
    pyuvnet.Duplex: "pyuvnet.Duplex",
    pyuvnet.Error: "pyuvnet.Error",
    pyuvnet.SystemCallError: "pyuvnet.SystemCallError",
}
# What "Base:" links to.
PAGES = {
    **DOCUMENTED,
    pyuvnet.net.Server: "pyuvnet.net.Server",
    pyuvnet.net.Socket: "pyuvnet.net.Socket",
    pyuvnet.Writable: "pyuvnet.Writable",
    pyuvnet.framing.Framing: "pyuvnet.framing.Framing",
    pyuvnet.errors.ClosedError: "pyuvnet.errors.ClosedError",
    pyuvnet.AbortError: "pyuvnet.AbortError",
    pyuvnet.StateError: "pyuvnet.StateError",
}
# Those whose page has the members of their private bases too.
WHOLE = {pyuvnet.Server: "pyuvnet.net.Server", pyuvnet.Socket: "pyuvnet.net.Socket"}


class FunctionDirective(Described):
    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        module, _, name = path.rpartition(".")
        function = resolve(path)
        where = getattr(function, "__module__", None) or module
        own = getattr(function, "__name__", name)
        doc, node = split(function.__doc__ or "")
        if node is None:
            log.warning("%s: its docstring has no Node line", path)
        found = definitions(where, own)
        heads = signatures(found, method=False, module=where)
        if not heads:
            log.warning("%s: its signature is in no stub", path)
            heads = [str(inspect.signature(function))]
        twin = to_node(name)
        names = [twin] if twin != name else []
        # One that has two names is described under the name that programs use.
        doc = doc.replace(f"{own}(", f"{name}(")
        same = self.options.get("same-as")
        if same:
            doc, heads = "", ["(...)"]
        lines = [f".. py:function:: {name}{heads[0]}"]
        lines += [f"                  {name}{more}" for more in heads[1:]]
        lines += [f"    :module: {module}"]
        if found and isinstance(found[0], ast.AsyncFunctionDef):
            lines.append("    :async:")
        text = [f"The same function as :py:func:`{same}`."] if same else render(doc)
        lines += ["", *(f"    {line}" for line in [*text, *last_line(names, node, path)])]
        return self.parse(lines, path)


class EventsDirective(Described):
    """The events of a module that emits some."""

    def run(self) -> list[nodes.Node]:
        path = self.arguments[0]
        doc = importlib.import_module(path).__doc__ or ""
        found = re.search(r"^Events:(.*(?:\n    .*)*)", doc, re.M)
        return self.parse(event_table(path, " ".join(found[1].split()) if found else ""), path)


class FramingsDirective(Described):
    """Every framing that there is: its class with its members, or its line in a table."""

    def run(self) -> list[nodes.Node]:
        framings = pyuvnet.framing.Framing.__subclasses__()
        if self.arguments == ["classes"]:
            lines = [f".. pyuvnet-class:: pyuvnet.framing.{each.__name__}\n" for each in framings]
            return self.parse("\n".join(lines).splitlines(), "framings")
        lines = [".. list-table::", "    :header-rows: 1", ""]
        lines += ["    * - framing", "      - frame", "      - limit"]
        for each in framings:
            lines.append(f"    * - :py:class:`~pyuvnet.framing.{each.__name__}`")
            lines += [f"      - {escape(text)}" for text in framing_sections(each)]
        return self.parse(lines, "framings")


def framing_sections(kind: type) -> list[str]:
    """What the docstring of a framing says of its frames and of its limit."""
    found = []
    for title in ("Frame", "Limit"):
        section = re.search(
            rf"^{title}: (.*(?:\n +.*)*)", inspect.cleandoc(kind.__doc__ or ""), re.M
        )
        if section is None:
            log.warning("%s: its docstring has no section %s", kind.__name__, title)
        found.append(" ".join(section[1].split()) if section else "")
    return found


# Names in signatures that are types of Python's, or of the stubs alone.
FOREIGN = re.compile(
    r"(?:.*\.)?(?:Any|AsyncIterator|Awaitable|Buffer|ByteRead|Callable|Coroutine|Ellipsis|Hashable|Iterable|"
    r"Info|Mapping|PathLike|ReadableBuffer|Self|Sequence|T|Waiter|WriteableBuffer|_\w+|[a-z]\w*|"
    r"Exception|BaseException|ClassVar|Literal|Immediate|Timeout|ExceptionGroup|Data|os\.PathLike|"
    r"AsyncIterable|AbstractEventLoop|ssl\.\w+|Dest|Disposable|ErrorMonitor|HasDescriptor|Open|Ts|[A-Z])"
)


def missing(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Let names in signatures which have no page of ours stay text; others are warned of."""
    if node.get("refdomain") != "py" or node.get("reftype") != "class":
        return None
    if node.get("refexplicit") or not FOREIGN.fullmatch(node["reftarget"]):
        return None
    return content


def choose_server(app: Any, document: Any) -> None:
    """In signatures, `Server` is that of the page: there are two classes of the name."""
    page = "pyuvnet.tls" if app.env.docname == "api/tls" else "pyuvnet.net"
    for node in document.findall(addnodes.pending_xref):
        if node.get("refdomain") == "py" and node["reftarget"] == "Server":
            node["reftarget"] = f"{page}.Server"


# What must not be seen in a signature: self, annotations in quotes, private names, placeholders.
UNREADABLE = re.compile(
    r"\(self\b|: '|(?<!\w)_[A-Z]|\._\w|= \.\.\.|\bNever\b|Unpack\[|<| object at "
)


def as_written(app: Any, document: Any) -> None:
    """Names as programs write them, `net.connect`: what `from pyuvnet import net` allows."""
    for node in document.findall(addnodes.desc_addname):
        text = node.astext()
        if text.startswith("pyuvnet.") and text.count(".") > 1:
            node.children[:] = [nodes.Text(text.removeprefix("pyuvnet."))]
    for node in document.findall(addnodes.desc_signature):
        if found := UNREADABLE.search(node.astext()):
            log.warning("%r in the signature %s", found[0], node.astext())


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("pyuvnet-class", ClassDirective)
    app.add_directive("pyuvnet-function", FunctionDirective)
    app.add_directive("pyuvnet-events", EventsDirective)
    app.add_directive("pyuvnet-framings", FramingsDirective)
    app.connect("missing-reference", missing)
    app.connect("doctree-read", choose_server)
    app.connect("doctree-read", as_written)
    return {"parallel_read_safe": False, "version": pyuvnet.__version__}

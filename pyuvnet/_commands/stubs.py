"""The stubs that `python -m pyuvnet stubs` writes: of the whole package, with Node's spellings too.

The stubs that the package comes with have one name for each thing, so that an editor lists it once;
at run time most have two. A program in Node's spelling takes this second tree of stubs, which type
checkers prefer to the installed package. Only the command imports this module.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .._base.names import to_node

if TYPE_CHECKING:
    import argparse

PACKAGE = Path(__file__).resolve().parent.parent
# The commands, whose names no annotation needs.
_LEFT_OUT = ("__main__.py", "_commands")
_HEAD = """\
# mypy: ignore-errors
# pyright: basic, reportGeneralTypeIssues=false
# By `python -m pyuvnet stubs`: the stubs of pyuvnet {version}, with Node's spellings as well.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Write stubs that know each name in Node's spelling too. pyright finds them in the folder "
        "typings without further settings, mypy with mypy_path = 'typings'."
    )
    parser.add_argument(
        "folder",
        nargs="?",
        default="typings",
        help="where to put the folder pyuvnet (default: typings)",
    )


def main(options: argparse.Namespace) -> int:
    """Run it."""
    folder = Path(options.folder)
    try:
        count = write_stubs(folder)
    except OSError as error:
        print(f"pyuvnet stubs: {error}", file=sys.stderr)
        return 1
    print(count, "stubs written to", (folder / "pyuvnet").as_posix())
    return 0


def write_stubs(folder: Path) -> int:
    """Write the stubs of the whole package with both spellings; returns how many files."""
    from .._base.version import __version__

    count = 0
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]):
        stub = path.with_suffix(".pyi")
        if path.relative_to(PACKAGE).parts[0] in _LEFT_OUT or (
            path.suffix == ".py" and stub.exists()
        ):
            continue
        text = path.read_text("utf-8")
        text = with_node_names(text if path == stub else stub_of(text), module_of(path))
        target = folder / stub.relative_to(PACKAGE.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A link that is there is replaced, not followed.
        target.unlink(missing_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(_HEAD.format(version=__version__) + text)
        count += 1
    return count


def module_of(path: Path) -> str:
    """The name of the module that a file of the package is for."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


# ---- Node's spellings ----------------------------------------------------------------------------


def with_node_names(text: str, module: str) -> str:
    """A stub with a line `createServer = create_server` for each name that has such a twin."""
    lines, tree = text.splitlines(), ast.parse(text)
    # The package has been imported, except what only type checkers read.
    there = vars(sys.modules[module]) if module in sys.modules else {}
    inserts: list[tuple[int, list[str]]] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            cls = there.get(node.name)
            # A class that type checkers alone know has all of them.
            made = dir(cls) if getattr(cls, "__name__", None) == node.name else None
            twins = _twins(names_in(node.body), made, "    ")
            if any(keyword.arg == "total" for keyword in node.keywords):
                twins = _items(node.body)
            if any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases):
                # A type checker would take them for further fields.
                twins = []
            assert node.end_lineno is not None
            inserts.append((node.end_lineno, twins))
    public = [*names_in(tree.body), *there.get("__all__", ())]
    inserts.append((len(lines), _twins(public, there, "")))
    for line, added in sorted(inserts, reverse=True):
        lines[line:line] = added
    return "\n".join(lines) + "\n"


def _twins(names: Iterable[str], made: Container[str] | None, margin: str) -> list[str]:
    pairs = {to_node(name): name for name in names if not name.startswith("_")}
    return [
        f"{margin}{twin} = {name}"
        for twin, name in pairs.items()
        if twin != name and (made is None or twin in made)
    ]


def _items(body: list[ast.stmt]) -> list[str]:
    """The items of a TypedDict in Node's spelling."""
    return [
        f"    {to_node(item.target.id)}: {ast.unparse(item.annotation)}"
        for item in body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        if to_node(item.target.id) != item.target.id
    ]


def names_in(body: list[ast.stmt]) -> list[str]:
    """The names that statements bind, each once, in their order; imports do not count."""
    bound: list[str] = []
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.append(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                bound.append(name)
            case ast.Assign(targets=targets):
                bound += [target.id for target in targets if isinstance(target, ast.Name)]
    return list(dict.fromkeys(bound))


# ---- The stub of a source ------------------------------------------------------------------------


def stub_of(source: str) -> str:
    """The stub of a module in Python: its imports, names and signatures."""
    tree = ast.parse(source)
    tree.body = _outline(tree.body)
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # Annotations in quotes, and __all__.
            used.update(re.findall(r"\w+", node.value))
    for statement in tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            statement.names = [each for each in statement.names if _is_wanted(each, used)]
    tree.body = [statement for statement in tree.body if getattr(statement, "names", True)]
    return f"from typing import Any\n{ast.unparse(tree)}\n"


def _is_wanted(alias: ast.alias, used: set[str]) -> bool:
    """Whether a stub needs an import: what it names, and what it passes on."""
    return alias.name in ("*", alias.asname) or (alias.asname or alias.name) in used


def _outline(body: list[ast.stmt]) -> list[ast.stmt]:
    """What a type checker reads of statements."""
    out: list[ast.stmt] = []
    nothing = ast.Expr(ast.Constant(...))
    flat = list(_flat(body))
    overloaded = {name for name, overload in map(_function, flat) if overload}
    for node in flat:
        match node:
            case ast.ClassDef():
                node.body = _outline(node.body) or [nothing]
                out.append(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if _function(node)[1] or node.name not in overloaded:
                    node.body = [nothing]
                    out.append(node)
            case ast.Assign(value=ast.Name() | ast.Attribute() | ast.List() | ast.Subscript()):
                out.append(node)
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
                out.append(node)
            case ast.Assign(targets=[ast.Name() as target]):
                out.append(ast.AnnAssign(target, ast.Name("Any"), None, 1))
            case ast.AnnAssign() | ast.Import() | ast.ImportFrom():
                out.append(node)
    return out


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, with those for type checkers in place of the condition."""
    for statement in body:
        match statement:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _flat(statement.body)
            case ast.If():
                pass
            case _:
                yield statement


def _function(node: ast.stmt) -> tuple[str, bool]:
    """The name of a function, and whether it is an overload."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return "", False
    return node.name, "overload" in map(ast.unparse, node.decorator_list)

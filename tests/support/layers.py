"""Which modules of the package import which, and what of that goes against the order of the layers.

`pyuvnet/_base` is the lowest layer, in Python; above it is the core, in the order of its LAYERS;
above that the facade, with its folders. A module imports from below only. In `_base` and in the
facade no two modules import each other, by whatever way round. Imports in functions count like all
others, and so does what stands under `if TYPE_CHECKING:`, since a reader follows both.
"""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path
from typing import NamedTuple

PACKAGE = "pyuvnet"
# What each layer may import besides itself; "" is the facade.
BELOW = {"_base": [], "_core": ["_base"], "": ["_base", "_core"]}
# What no import is: comments, and strings, which may hold anything.
TEXTS = re.compile(
    r'''#[^\n]*|[rRbBuUfF]{0,2}("""(?:\\.|[^\\])*?"""|\'\'\'(?:\\.|[^\\])*?\'\'\''''
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.DOTALL,
)
# A backslash at the end of a line has become a zero.
STATEMENT = re.compile(
    r"(?P<start>^|[;:])(?P<indent>[ \t]*)"
    r"(?:from\b[ \t\0]*(?P<module>[.\w\0]+?)[ \t\0]*\bc?import\b[ \t\0]*"
    r"(?P<names>\([^)]*\)|[^\n;]*)"
    r"|c?import[ \t\0]+(?P<modules>[^\n;]*))",
    re.MULTILINE,
)
# Ways to import by a name that is made up at run time.
DYNAMIC = re.compile(r"\b(?:__import__|import_module|exec_module)\b")
# What loads modules when they are used, the core's modules, and the program that is to serve.
LOADERS = ("__init__.py", "_core/__init__.py", "_serve/target.py")


class Import(NamedTuple):
    """One import: where it stands, what it names, and whether it runs when the module loads."""

    line: int
    target: str
    at_head: bool


def modules(root: Path) -> dict[str, list[Path]]:
    """The files of each module of the package in `root`; a core module may have two."""
    found: dict[str, list[Path]] = {}
    packages = sorted(path.parent.name for path in root.glob("*/__init__.py"))
    for folder in ("", *packages):
        for path in sorted((root / folder).iterdir()):
            if path.suffix in (".py", ".pyx", ".pxd"):
                parts = [PACKAGE, folder, "" if path.stem == "__init__" else path.stem]
                found.setdefault(".".join(filter(None, parts)), []).append(path)
    return found


def imports(path: Path, package: str, known: set[str]) -> list[Import]:
    """The imports of modules of ours in one file, which belongs to `package`."""
    text = path.read_text("utf-8")
    raw = python_imports(text) if path.suffix == ".py" else cython_imports(text)
    out = []
    for line, module, names, at_head in raw:
        dots = len(module) - len(module.lstrip("."))
        if dots:
            above = package.split(".")[: len(package.split(".")) + 1 - dots]
            module = ".".join([*above, *filter(None, [module[dots:]])])
        if module.split(".")[0] != PACKAGE:
            continue
        submodules = [f"{module}.{name}" for name in names if f"{module}.{name}" in known]
        targets = submodules if names and len(submodules) == len(names) else [module, *submodules]
        out += [Import(line, target, at_head) for target in targets]
    return out


def python_imports(text: str) -> list[tuple[int, str, list[str], bool]]:
    """Each import of a Python file: its line, module, names, and whether it is at the head."""
    out = []

    def visit(body: list[ast.AST], at_head: bool) -> None:
        for node in body:
            if isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names]
                out.append((node.lineno, "." * node.level + (node.module or ""), names, at_head))
            elif isinstance(node, ast.Import):
                out.extend((node.lineno, alias.name, [], at_head) for alias in node.names)
            function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            visit(list(ast.iter_child_nodes(node)), at_head and not function)

    visit(list(ast.parse(text).body), True)
    return out


def cython_imports(text: str) -> list[tuple[int, str, list[str], bool]]:
    """The same of a .pyx or .pxd. What is indented at all is not at the head."""
    text = TEXTS.sub(lambda found: "\n" * found[0].count("\n") or " ", text)
    text = text.replace("\\\n", "\0")
    out = []
    for found in STATEMENT.finditer(text):
        line = len(re.findall(r"[\n\0]", text[: found.start("indent")])) + 1
        at_head = found["start"] == "" and found["indent"] == ""
        names = found["names"] if found["modules"] is None else found["modules"]
        words = [part.split() for part in re.sub(r"[()\n\0]", " ", names).split(",")]
        first = [word[0] for word in words if word]
        if found["modules"] is None:
            out.append((line, found["module"].replace("\0", ""), first, at_head))
        else:
            out += [(line, name, [], at_head) for name in first]
    return out


def violations(root: Path) -> list[str]:
    """What goes against the layers in the package whose files are in `root`, a line for each."""
    files = modules(root)
    known = set(files)
    loader = ast.parse((root / "_core" / "__init__.py").read_text("utf-8"))
    (order,) = (
        ast.literal_eval(node.value)
        for node in loader.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LAYERS"
    )
    rank = {f"{PACKAGE}._core.{name}": number for number, name in enumerate(order, 1)}
    out = []
    graph: dict[str, set[str]] = {}
    for module, paths in files.items():
        for path in paths:
            package = module if path.stem == "__init__" else module.rpartition(".")[0]
            layer = package.removeprefix(PACKAGE).lstrip(".")
            if layer not in BELOW:
                layer = ""
            name = path.relative_to(root).as_posix()
            code = TEXTS.sub("", path.read_text("utf-8"))
            if DYNAMIC.search(code) and name not in LOADERS:
                out.append(f"{name} imports by a name that is made at run time")
            for each in imports(path, package, known):
                where = f"{name}:{each.line} imports {each.target}"
                below = tuple(f"{PACKAGE}.{folder}" for folder in BELOW[layer])
                ours = each.target == package or each.target.startswith(f"{package}.")
                if each.target not in known:
                    out.append(f"{where}, which is no module")
                elif not each.target.startswith(below) and not (ours and layer):
                    if layer:
                        out.append(f"{where}, which is above")
                    elif each.target != module:
                        graph.setdefault(module, set()).add(each.target)
                elif layer == "_core" and not each.at_head:
                    out.append(f"{where} in a function")
                elif layer == "_core" and ours and rank.get(each.target, 0) > rank.get(module, 0):
                    # Modules without a rank are declarations, .pxd files alone.
                    out.append(f"{where}, which is above")
                elif layer == "_base" and each.target != module:
                    graph.setdefault(module, set()).add(each.target)
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        out.append(f"a circle: {' imports '.join(reversed(error.args[1]))}")
    return out

"""Find constructs in the core for which Cython makes code that is wrong.

    python tools/check_cython.py [FOLDER]

* A list comprehension whose items are not plain names: without memory to append, Cython 3.3 drops
  the item twice, and its owner has a reference to nothing.
* A `return` inside `except`: the code that restores the exception may crash.

Reads the sources of FOLDER (pyuvnet/_core) with Cython's own parser. Prints the faults; exits with
1 if there are any.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Cython.Compiler import ExprNodes, Nodes
from Cython.Compiler.TreeFragment import parse_from_strings

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "pyuvnet" / "_core"


def children(node: Any) -> Iterator[Any]:
    for name in node.child_attrs or ():
        child = getattr(node, name)
        for each in child if isinstance(child, list) else [child]:
            if each is not None:
                yield each


def returns(node: Any) -> Iterator[Any]:
    """The `return` statements of a clause, but not those of functions defined in it."""
    for child in children(node):
        if isinstance(child, Nodes.ReturnStatNode):
            yield child
        elif not isinstance(child, (Nodes.FuncDefNode, Nodes.ClassDefNode)):
            yield from returns(child)


def faults(node: Any) -> Iterator[tuple[int, str]]:
    """The lines of a tree with something on this list."""
    if isinstance(node, Nodes.ExceptClauseNode):
        for each in returns(node):
            yield each.pos[1], "return inside except"
    if (
        isinstance(node, ExprNodes.ComprehensionAppendNode)
        and not isinstance(node, ExprNodes.DictComprehensionAppendNode)
        and not isinstance(node.expr, (ExprNodes.NameNode, ExprNodes.ConstNode))
    ):
        yield node.expr.pos[1], "comprehension of more than names"
    for child in children(node):
        yield from faults(child)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else CORE
    sources = sorted(folder.glob("*.pyx"))
    found = [
        f"{path.name}:{line}: {what}"
        for path in sources
        for line, what in faults(parse_from_strings(path.stem, path.read_text()))
    ]
    print("\n".join(found) or f"{len(sources)} files, nothing found")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

"""Find functions of the core that drop an object of the program and then go on with their fields.

    python tools/check_releases.py [FOLDER]

The last reference to a chunk, a callback, an error or a container of them may run code of the
program, which may do anything to the object whose function this is. So a function brings its fields
to their final state first, and drops last: it gives the reference to Loop.release(), or moves it
into a local, which lives until the function returns.

A release, as this reads the sources of FOLDER (pyuvnet/_core) with Cython's own parser, is

* an assignment to a field `x.f`, or `del`, `.clear()`, `.pop()` or an item's assignment of it,
  where a .pxd says that f may hold an object of the program (its type is object, list, tuple, dict,
  set or an exception), unless the function has moved `x.f` into a local before;
* `Py_DECREF()`, `Py_XDECREF()` or `Py_CLEAR()`.

It is a fault if something that runs after it in that function names a field of x again (of
anything, after a Py_DECREF()). ALLOWED lists what may, each with its reason. Prints the faults, and
what ALLOWED lists for nothing; exits with 1 if there are any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Cython.Compiler import ExprNodes, Nodes
from Cython.Compiler.TreeFragment import parse_from_strings

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "pyuvnet" / "_core"
# What moves connections.
FILES = [
    "accepting", "acceptor", "admission", "connecting", "debugging", "dns", "duplex", "emitter",
    "framing", "handle", "immediate", "layer", "listener", "loop", "meter", "passing", "pipe",
    "piping", "read_buffer", "readable", "server_base", "shutdown", "socket_base",
    "socket_methods", "stream", "stream_handle", "tcp", "timer", "writable", "write_queue",
]  # fmt: skip
HOLDING = {"object", "list", "tuple", "dict", "set", "BaseException", "Connector"}
# Fields of these types that hold objects of ours only, which run nothing when they are dropped.
OURS = {
    "held": "a list of descriptors, which are int",
    "_peer_tuple": "a tuple of str and int",
    "r_awaiting": "a list of pipes, which are ours",
    "r_pipes": "a pipe, or a list of them, which are ours",
    "_name0": "an interned str", "_name1": "an interned str",
    "_name2": "an interned str", "_name3": "an interned str",
    "name0": "an interned str", "name1": "an interned str",
    "name2": "an interned str", "name3": "an interned str",
    "listeners": "a list of handles, each of which libuv pins until it is closed",
    "lookups": "a set of requests, which libuv pins until they are done",
    "timers": "the timer queue, a handle of ours",
    "origins": "a dict of stack summaries, which hold text only",
    "threadsafe_calls": "a deque of ours; its items are moved, not dropped",
}  # fmt: skip
# Functions of ours that empty a field by Loop.release().
MOVING = {"q_drop_flight": "w_chunk", "q_drop_waiting": "w_queue"}
DROPPING = {"Py_DECREF", "Py_XDECREF", "Py_CLEAR"}
# What has a part of an object's fields.
RARE = {"_rare", "_also", "_own_also", "own_extra"}
# "file function field": why it may.
_ANEW = "each round reads the ring, or the list, anew"
_MOVES = "each entry moves to another place; a local holds what leaves"
_CLOSING = "the loop is silent by now, and closes whatever a finaliser opens"
ALLOWED = {
    "loop _forget_ticks Py_XDECREF": _ANEW,
    "loop _forget_ticks Py_DECREF": _ANEW,
    "loop release_all Py_DECREF": _ANEW,
    "loop drain Py_XDECREF": _ANEW,
    "loop renew_large Py_DECREF": "it has another reference",
    "loop _end exception_handler": _CLOSING,
    "loop _end failure": _CLOSING,
    "loop _end driver": _CLOSING,
    "loop _end theirs": _CLOSING,
    "loop _end containment": _CLOSING,
    "loop _end blamed": _CLOSING,
    "loop _end blamed_for": _CLOSING,
    "read_buffer b_add r_chunks": "it is None",
    "read_buffer b_put_back r_chunks": "items before r_head are None",
    "read_buffer _to_items r_chunks": "it is None: with a framing the cutter has the bytes",
    "read_buffer b_begin_anew r_chunks": "begin_anew() of connecting holds it",
    "writable _accept w_waiting": "the argument `callback` is what the entry holds",
    "readable _give_quickly Py_DECREF": "exact bytes of ours, which run nothing",
    "write_queue q_collect w_chunk": "it is None: nothing is in flight",
    "stream_handle write_with _chunks": "it is None in a new request",
    "socket_base _take_read Py_DECREF": "exact bytes of ours, which run nothing",
    "socket_base _deliver Py_DECREF": "exact bytes of ours, which run nothing",
    "acceptor _init_server _socket_class": "it is None: this is called once",
    "listener _look_up _looked_up": "it is None, or held as the argument `looked_up`",
    "accepting _on_failures_gil Py_XDECREF": "the array is this function's own",
    "emitter _move_to_dict _events": "it is None: the object has no dict yet",
    "emitter _drop _entry1": _MOVES,
    "emitter _drop_more entry1": _MOVES,
    "emitter _drop_more entry2": _MOVES,
    "emitter _drop_more entry3": _MOVES,
    "piping forget foreign": "the variable of the loop holds the entry",
}


def fields(folder: Path) -> set[str]:
    """The fields that may hold an object of the program, by the declarations."""
    found = set()
    for name in FILES:
        path = folder / f"{name}.pxd"
        for line in path.read_text().splitlines() if path.exists() else []:
            match = re.match(r"    cdef (?:readonly |public )?(\w+) ([\w, ]+?)\s*(?:#.*)?$", line)
            if match and match[1] in HOLDING:
                found.update(name.strip() for name in match[2].split(","))
    return found - OURS.keys()


def walk(node: Any) -> Iterator[Any]:
    """A node and all below it."""
    yield node
    for name in node.child_attrs or ():
        child = getattr(node, name)
        for each in child if isinstance(child, list) else [child]:
            if each is not None:
                yield from walk(each)


def functions(node: Any) -> Iterator[tuple[str, Any]]:
    """The functions of a module, with their names."""
    for each in walk(node):
        if isinstance(each, Nodes.CFuncDefNode):
            declarator = each.declarator
            while not isinstance(declarator, Nodes.CNameDeclaratorNode):
                declarator = declarator.base
            yield declarator.name, each
        elif isinstance(each, Nodes.DefNode):
            yield each.name, each


def field_of(node: Any) -> tuple[str, str] | None:
    """("x", "f") of `x.f`, or of an item of it, where x is a name.

    `x._rare.f`, `x._also().f` and `x._own_also().f`, where rare state is, count as `x.f`.
    """
    while isinstance(node, ExprNodes.IndexNode | ExprNodes.SliceIndexNode):
        node = node.base
    if isinstance(node, ExprNodes.AttributeNode):
        base = node.obj
        while True:
            if isinstance(base, ExprNodes.TypecastNode):
                base = base.operand
            elif isinstance(base, ExprNodes.SimpleCallNode) and isinstance(
                base.function, ExprNodes.AttributeNode
            ):
                base = base.function
            elif isinstance(base, ExprNodes.AttributeNode) and base.attribute in RARE:
                base = base.obj
            else:
                break
        if isinstance(base, ExprNodes.NameNode):
            return base.name, node.attribute
    return None


def assigned(stat: Any) -> list[Any]:
    """The targets of an assignment."""
    targets = []
    if isinstance(stat, Nodes.SingleAssignmentNode):
        targets = [stat.lhs]
    elif isinstance(stat, Nodes.CascadedAssignmentNode):
        targets = list(stat.lhs_list)
    elif isinstance(stat, Nodes.DelStatNode):
        targets = list(stat.args)
    flat: list[Any] = []
    for target in targets:
        flat += target.args if isinstance(target, ExprNodes.TupleNode) else [target]
    return flat


def moved(stat: Any) -> list[tuple[str, str]]:
    """The fields that an assignment, or a declaration, moves into a local."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(stat, Nodes.CVarDefNode):
        for each in stat.declarators:
            while hasattr(each, "base") and getattr(each, "default", None) is None:
                each = each.base
            pairs.append((None, getattr(each, "default", None)))
    elif isinstance(stat, Nodes.SingleAssignmentNode | Nodes.CascadedAssignmentNode):
        targets = [stat.lhs] if isinstance(stat, Nodes.SingleAssignmentNode) else stat.lhs_list
        for target in targets:
            if isinstance(target, ExprNodes.TupleNode) and isinstance(
                stat.rhs, ExprNodes.TupleNode
            ):
                pairs += list(zip(target.args, stat.rhs.args, strict=False))
            else:
                pairs.append((target, stat.rhs))
    found = []
    for target, value in pairs:
        while isinstance(value, ExprNodes.TypecastNode):
            value = value.operand
        if target is None or isinstance(target, ExprNodes.NameNode):
            field = field_of(value)
            if field is not None:
                found.append(field)
    return found


def known_none(condition: Any) -> list[tuple[str, str]]:
    """The fields that are None where a condition is true."""
    if isinstance(condition, ExprNodes.BoolBinopNode) and condition.operator == "and":
        return known_none(condition.operand1) + known_none(condition.operand2)
    if (
        isinstance(condition, ExprNodes.PrimaryCmpNode)
        and condition.operator == "is"
        and isinstance(condition.operand2, ExprNodes.NoneNode)
    ):
        field = field_of(condition.operand1)
        return [] if field is None else [field]
    return []


def fresh(stat: Any) -> str | None:
    """The local that an assignment, or a declaration, gives a new object, whose fields are None."""
    name = value = None
    if isinstance(stat, Nodes.CVarDefNode) and len(stat.declarators) == 1:
        name, value = (
            getattr(stat.declarators[0], "name", None),
            getattr(stat.declarators[0], "default", None),
        )
    elif isinstance(stat, Nodes.SingleAssignmentNode) and isinstance(stat.lhs, ExprNodes.NameNode):
        name, value = stat.lhs.name, stat.rhs
    while isinstance(value, ExprNodes.TypecastNode):
        value = value.operand
    if isinstance(value, ExprNodes.SimpleCallNode | ExprNodes.GeneralCallNode):
        function = value.function
        if isinstance(function, ExprNodes.AttributeNode) and function.attribute == "__new__":
            return name
    return None


class Reader:
    """One function: what it drops, and what it does afterwards."""

    def __init__(self, holding: set[str]) -> None:
        self.holding = holding
        self.moved: set[tuple[str, str]] = set()
        self.fresh: set[str] = set()
        self.faults: list[tuple[int, str]] = []

    def read(self, stat: Any, after: list[Any]) -> None:
        if stat is None:
            return
        if isinstance(stat, Nodes.StatListNode):
            for index, each in enumerate(stat.stats):
                self.read(each, stat.stats[index + 1 :] + after)
        elif isinstance(stat, Nodes.IfStatNode):
            for clause in stat.if_clauses:
                before = set(self.moved)
                self.moved.update(known_none(clause.condition))
                self.read(clause.body, after)
                self.moved = before
            self.read(stat.else_clause, after)
        elif isinstance(stat, Nodes.WhileStatNode | Nodes.ForInStatNode | Nodes.ForFromStatNode):
            # What comes next may be the loop's beginning.
            self.read(stat.body, [stat, *after])
            self.read(stat.else_clause, after)
        elif isinstance(stat, Nodes.TryExceptStatNode):
            clauses = [clause.body for clause in stat.except_clauses]
            self.read(stat.body, [*filter(None, [stat.else_clause]), *after])
            for clause in clauses:
                self.read(clause, after)
            self.read(stat.else_clause, after)
        elif isinstance(stat, Nodes.TryFinallyStatNode):
            self.read(stat.body, [stat.finally_clause, *after])
            self.read(stat.finally_clause, after)
        elif isinstance(stat, Nodes.WithStatNode | Nodes.GILStatNode):
            self.read(stat.body, after)
        else:
            self.drops(stat, after)

    def drops(self, stat: Any, after: list[Any]) -> None:
        self.moved.update(moved(stat))
        made = fresh(stat)
        if made is not None:
            self.fresh.add(made)
        for target in assigned(stat):
            field = field_of(target)
            if field is not None and field[1] in self.holding and not self.kept(field):
                self.judge(stat, field[1], field[0], after)
        if isinstance(stat, Nodes.ExprStatNode) and isinstance(stat.expr, ExprNodes.SimpleCallNode):
            function = stat.expr.function
            if isinstance(function, ExprNodes.NameNode) and function.name in MOVING:
                self.moved.add((stat.expr.args[0].name, MOVING[function.name]))
            elif isinstance(function, ExprNodes.NameNode) and function.name in DROPPING:
                self.judge(stat, function.name, None, after)
            elif isinstance(function, ExprNodes.AttributeNode) and function.attribute in (
                "clear", "pop", "popleft", "remove", "discard",
            ):  # fmt: skip
                field = field_of(function.obj)
                if field is not None and field[1] in self.holding:
                    self.judge(stat, field[1], field[0], after)

    def kept(self, field: tuple[str, str]) -> bool:
        """What the field refers to is None, or is held by something else."""
        return field in self.moved or field[0] in self.fresh

    def judge(self, stat: Any, what: str, root: str | None, after: list[Any]) -> None:
        """A fault, if a field of root is named in what runs afterwards."""
        for later in after:
            for node in walk(later):
                field = field_of(node) if isinstance(node, ExprNodes.AttributeNode) else None
                if field is not None and field[0] != "uv" and root in (None, field[0]):
                    self.faults.append((stat.pos[1], what))
                    return
            if isinstance(later, Nodes.ReturnStatNode | Nodes.RaiseStatNode):
                return


def check(folder: Path) -> tuple[list[str], set[str]]:
    """The faults of a folder's sources, and which entries of ALLOWED were met."""
    holding = fields(folder)
    faults, met = [], set()
    for name in FILES:
        path = folder / f"{name}.pyx"
        tree = parse_from_strings(name, path.read_text())
        for function, node in functions(tree):
            reader = Reader(holding)
            reader.read(node.body, [])
            for line, what in reader.faults:
                key = f"{name} {function} {what}"
                if key in ALLOWED:
                    met.add(key)
                else:
                    faults.append(
                        f"{path.name}:{line}: {function}() drops {what}, then uses fields"
                    )
    return faults, met


def main() -> int:
    faults, met = check(Path(sys.argv[1]) if len(sys.argv) > 1 else CORE)
    faults += [f"ALLOWED lists {key!r} for nothing" for key in ALLOWED if key not in met]
    print("\n".join(faults) or f"{len(FILES)} files, {len(met)} places allowed")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

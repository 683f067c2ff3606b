"""The type stubs: true to the compiled core, in both spellings, and of use to a program."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import pyuvnet
from pyuvnet import _keywords, diagnostics, events, loop, net, streams
from pyuvnet._base.names import to_node
from pyuvnet._base.option_table import OPTIONS, option_set
from pyuvnet._base.options import OptionSet
from pyuvnet._core.immediate import Immediate
from pyuvnet._core.timer import Timeout
from pyuvnet._listen import LISTEN_OPTIONS
from pyuvnet.boundsocket import BOUND_OPTIONS
from pyuvnet.server import SERVER_OPTIONS
from pyuvnet.socket import CONNECT_ALL, SOCKET_OPTIONS
from tests.support.cases import cases

LISTENER = "connection_listener"
ROOT = Path(__file__).resolve().parent.parent
TOOL = runpy.run_path(str(ROOT / "tools" / "stubs.py"))
MODULES = [pyuvnet, diagnostics, events, loop, net, streams]
PUBLIC = [getattr(module, name) for module in MODULES for name in module.__all__]
CLASSES = {
    base: None
    for cls in [*PUBLIC, Immediate, Timeout]
    if isinstance(cls, type)
    for base in cls.__mro__
    if base.__module__.startswith("pyuvnet.") and not issubclass(base, BaseException)
}


def run(*command):
    """Run a module of Python on the sources; returns its exit code and all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout + done.stderr


def typed_text(module_name):
    """What a type checker reads of a module: its stub, or its source."""
    path = ROOT / module_name.replace(".", "/")
    stub = path.with_suffix(".pyi")
    package = path / "__init__.py"
    found = next(each for each in (stub, path.with_suffix(".py"), package) if each.exists())
    return ast.parse(found.read_text("utf-8"))


def bound(body):
    """Names that statements bind, those for type checkers alone included."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from bound(statement.body)
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in statement.names)
        elif isinstance(statement, ast.ClassDef):
            yield statement.name
        else:
            yield from TOOL["names"]([statement])


def common(name):
    """What a class that only type checkers know gives to those that derive from it."""
    if name != "WritableSide":
        return []
    (node,) = [each for each in typed_text("pyuvnet._core.writable").body if is_class(each, name)]
    return bound(node.body)


def is_class(statement, name):
    return isinstance(statement, ast.ClassDef) and statement.name == name


@cases("cls", CLASSES)
def test_every_public_name_of_a_class_is_there_for_type_checkers_in_both_spellings(cls):
    (node,) = [
        each
        for each in typed_text(cls.__module__).body
        if isinstance(each, ast.ClassDef) and each.name == cls.__name__
    ]
    typed = set(bound(node.body)).union(*map(common, map(ast.unparse, node.bases)))
    public = {name for name in vars(cls) if not name.startswith("_")}
    assert public <= typed
    assert {to_node(name) for name in public} <= typed


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_of_a_module_is_there_for_type_checkers_in_both_spellings(module):
    typed = set(bound(typed_text(module.__name__).body))
    assert set(module.__all__) <= typed
    assert {to_node(name) for name in module.__all__} <= typed


def test_the_classes_under_test_are_those_that_users_meet():
    names = {cls.__name__ for cls in CLASSES}
    assert {"Socket", "SocketBase", "Server", "EventEmitter", "BlockList", "Timeout"} <= names


def test_the_generated_lines_are_up_to_date():
    changed = [
        path.name for path in TOOL["files"]() if TOOL["written"](path) != path.read_text("utf-8")
    ]
    assert changed == []


def test_the_tool_restores_lines_that_are_missing(tmp_path):
    source = tmp_path / "thing.pyx"
    source.write_text("add_node_names(Thing)\nadd_node_names(globals())\n")
    stub = tmp_path / "thing.pyi"
    stub.write_text(
        "def make_it() -> None: ...\n\nclass Thing:\n    def do_it(self) -> None: ...\n"
    )
    stub.write_text(TOOL["written"](stub))
    typed = ast.parse(stub.read_text())
    assert "makeIt" in set(bound(typed.body))
    assert "doIt" in set(bound(typed.body[1].body))
    assert TOOL["written"](stub) == stub.read_text()


@pytest.mark.timeout(250)
def test_stubs_agree_with_the_compiled_modules():
    code, said = run(
        "mypy.stubtest",
        "pyuvnet",
        "--concise",
        "--allowlist",
        "tools/stubtest.txt",
    )
    assert (code, said) == (0, "")


@pytest.mark.timeout(250)
def test_a_type_checker_takes_a_program_in_either_spelling_and_refuses_its_mistakes():
    # lambdas.py is pyright's, which reads all of them, in .ci/run.
    programs = [f"tests/typing/{name}.py" for name in ("program", "listeners", "forms")]
    code, said = run("mypy", "--strict", *programs)
    assert code == 0, said


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (_keywords.SocketOptions, SOCKET_OPTIONS),
        (_keywords.ConnectOptions, CONNECT_ALL),
        (_keywords.ServerOptions, SERVER_OPTIONS),
        (_keywords.ListenOptions, LISTEN_OPTIONS),
        (_keywords.BoundOptions, BOUND_OPTIONS),
        (_keywords.ServeOptions, SERVER_OPTIONS | LISTEN_OPTIONS | OptionSet("", [LISTENER])),
        (_keywords.StreamOptions, option_set("Readable", "Writable", "Duplex")),
        (_keywords.AddressOptions, option_set("SocketAddress")),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_type_checkers_know_each_option_in_both_spellings(kind, options):
    known = set(kind.__annotations__)
    assert known == {spelling for name in options for spelling in (name, to_node(name))}
    assert all(name in options for name in known)


def test_each_function_of_the_table_of_options_documents_them_once():
    functions = {function for row in OPTIONS for function in row[1].split()}
    assert set(TOOL["DOCUMENTED"]) == functions
    files = [path.read_text("utf-8") for path in TOOL["files"]()]
    for function, last in TOOL["DOCUMENTED"].items():
        (text,) = (text for text in files if re.search(rf"^ *{re.escape(last)}$", text, re.M))
        doc = text[: text.index(f"{last}\n")].rpartition('"""')[2]
        entries = re.findall(r"^ +(\w+(?:, \w+)*): ", doc, re.M)
        named = [name for entry in entries for name in entry.split(", ")]
        for row in TOOL["rows"](function):
            assert named.count(row[0]) == bool(row[3]), (function, row[0])


def test_the_tool_writes_the_options_of_a_docstring_anew(tmp_path):
    source = tmp_path / "address.pyx"
    head = '"""A thing.\n\n    Args:\n        options: a mapping.\n'
    tail = "        other: stays.\n            And this.\n\n    Node: net.SocketAddress\n"
    good = head + "\n".join(TOOL["entries"]("SocketAddress", " " * 8)) + f"\n{tail}"
    assert "        flowlabel: int 0..4294967295, default 0: ignored for 'ipv4'.\n" in good
    stale = "        port, family: of old,\n            which is wrong.\n"
    for lines in ("", stale, good[len(head) : -len(tail)]):
        source.write_text(head + lines + tail)
        assert TOOL["written"](source) == good


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "pyuvnet" / "py.typed").read_text() == ""

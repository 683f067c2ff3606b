"""The type stubs: true to the compiled core, in both spellings, and of use to a program."""

import ast
import collections
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyuvnet
from pyuvnet import diagnostics, events, loop, net, streams
from pyuvnet._base.names import to_node
from pyuvnet._base.option_table import option_set
from pyuvnet._base.options import OptionSet
from pyuvnet._commands.stubs import names_in, write_stubs
from pyuvnet._core.immediate import Immediate
from pyuvnet._core.timer import Timeout
from pyuvnet._server.listen import LISTEN_OPTIONS
from pyuvnet._typing import keywords as _keywords
from pyuvnet._typing.serving import ServeOptions
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


def run(*command, cwd=ROOT, **environment):
    """Run a module of Python on the sources; returns its exit code and all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout + done.stderr


def pyright(*arguments, cwd=ROOT):
    """Run pyright; returns the mistakes that it finds, as file, line, rule and text."""
    pytest.importorskip("pyright", reason="pyright comes with the linters")
    code, said = run("pyright", "--outputjson", *arguments, cwd=cwd)
    assert code in (0, 1), said
    return [
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["rule"], each["message"])
        for each in json.loads(said[said.index("{") :])["generalDiagnostics"]
    ]


@pytest.fixture(scope="module")
def node_stubs(tmp_path_factory):
    """The folder of the stubs that have Node's spellings."""
    folder = tmp_path_factory.mktemp("typings")
    write_stubs(folder)
    return folder


def typed_text(module_name, root=ROOT):
    """What a type checker reads of a module: its stub, or its source."""
    path = root / module_name.replace(".", "/")
    stubs = [path.with_suffix(".pyi"), path / "__init__.pyi"]
    sources = [path.with_suffix(".py"), path / "__init__.py"]
    found = next(each for each in stubs + sources if each.exists())
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
            yield from names_in([statement])


def typed_names(cls, root=ROOT):
    """The names that a stub knows of a class, with those of a base that it alone knows."""
    (node,) = [
        each
        for each in typed_text(cls.__module__, root).body
        if isinstance(each, ast.ClassDef) and each.name == cls.__name__
    ]
    names = set(bound(node.body))
    if "WritableSide" in map(ast.unparse, node.bases):
        (side,) = [
            each
            for each in typed_text("pyuvnet._core.writable", root).body
            if isinstance(each, ast.ClassDef) and each.name == "WritableSide"
        ]
        names |= set(bound(side.body))
    return names


@cases("cls", CLASSES)
def test_type_checkers_know_each_public_name_of_a_class_once(cls):
    public = {name for name in vars(cls) if not name.startswith("_")}
    twins = {to_node(name) for name in public if to_node(name) != name}
    typed = typed_names(cls)
    assert public - twins <= typed
    assert not twins & typed


@cases("cls", CLASSES)
def test_with_nodes_stubs_type_checkers_know_each_public_name_of_a_class_twice(cls, node_stubs):
    public = {name for name in vars(cls) if not name.startswith("_")}
    typed = typed_names(cls, node_stubs)
    assert public <= typed
    assert {to_node(name) for name in public} <= typed


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_type_checkers_know_each_public_name_of_a_module(module, node_stubs):
    own = set(bound(typed_text(module.__name__).body))
    assert set(module.__all__) <= own
    assert not {to_node(name) for name in module.__all__ if to_node(name) != name} & own
    with_twins = set(bound(typed_text(module.__name__, node_stubs).body))
    assert {*module.__all__, *map(to_node, module.__all__)} <= with_twins


@pytest.mark.parametrize("module", [pyuvnet, net], ids=lambda module: module.__name__)
def test_an_editor_lists_only_public_names_of_a_module(module):
    """What a stub imports is not its own, unless __all__ or `as` says so."""
    tree = typed_text(module.__name__)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    renamed = [each.name for node in imports for each in node.names if each.asname is not None]
    assert renamed == list(vars(module).get("_ON_DEMAND", ()))
    assert set(names_in(tree.body)) - {"__all__", *renamed} <= set(module.__all__)


def test_the_classes_under_test_are_those_that_users_meet():
    names = {cls.__name__ for cls in CLASSES}
    assert {"Socket", "SocketBase", "Server", "EventEmitter", "BlockList", "Timeout"} <= names


@pytest.mark.timeout(250)
def test_stubs_agree_with_the_compiled_modules(node_stubs, tmp_path):
    allowed = str(ROOT / "tools" / "stubtest.txt")
    # stubtest finds no module that the core loads when it is first used.
    later = ", ".join(name for group in pyuvnet._core.LATER for name in group)
    lines = (
        f"from pyuvnet._core import {later}",
        "import sys",
        "from mypy.stubtest import main",
        "sys.exit(main())",
    )
    (tmp_path / "stubs_of_all.py").write_text("\n".join(lines))
    command = ("stubs_of_all", "pyuvnet", "--concise", "--allowlist", allowed)
    code, said = run(*command, cwd=tmp_path, MYPYPATH=str(node_stubs))
    assert (code, said) == (0, "")


PROGRAMS = ["events.py", "forms.py", "lambdas.py", "listeners.py", "names.py"]
REFUSED = ROOT / "tests" / "typing" / "refused.py"
EXPECTED = {
    number: mark.groups()
    for number, line in enumerate(REFUSED.read_text("utf-8").splitlines(), 1)
    if (mark := re.search(r"# error: ([\w-]+), (\w+)$", line))
}


@pytest.mark.timeout(250)
def test_mypy_takes_programs():
    # To mypy the arguments of a lambda are Any until it has chosen an overload.
    programs = [f"tests/typing/{name}" for name in PROGRAMS if name != "lambdas.py"]
    code, said = run("mypy", "--strict", *programs)
    assert code == 0, said


@pytest.mark.timeout(250)
def test_mypy_takes_the_programs_of_the_guide(tmp_path):
    page = (ROOT / "docs" / "guide" / "typing.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    for number, block in enumerate(blocks):
        (tmp_path / f"block_{number}.py").write_text(block, "utf-8")
    code, said = run("mypy", "--strict", ".", cwd=tmp_path, MYPYPATH=str(ROOT))
    assert code == 0, said


@pytest.mark.timeout(250)
def test_mypy_refuses_mistakes_and_nothing_else():
    _, said = run("mypy", "--strict", str(REFUSED))
    found = re.findall(r"refused\.py:(\d+): error: .*\[([\w-]+)\]$", said, re.MULTILINE)
    first = {int(line): code for line, code in reversed(found)}
    assert dict(sorted(first.items())) == {line: code for line, (code, _) in EXPECTED.items()}, said
    # What is wrong, and what the event passes.
    assert '"EventOfSocket" of "on" of "SocketBase" cannot be "Literal[\'dta\']"' in said
    assert '"def __call__(self, socket: Socket, **_: Never) -> object"' in said


@pytest.mark.timeout(250)
def test_mypy_takes_a_program_in_nodes_spelling_with_the_stubs_for_it(node_stubs, tmp_path):
    shutil.copy(ROOT / "tests" / "typing" / "node.py", tmp_path)
    program = ("mypy", "--strict", "node.py")
    code, said = run(*program, cwd=tmp_path, MYPYPATH=str(node_stubs))
    assert code == 0, said
    code, said = run(*program, cwd=tmp_path, MYPYPATH=str(ROOT))
    assert 'has no attribute "setNoDelay"' in said


@pytest.mark.timeout(250)
def test_pyright_takes_programs():
    assert pyright(*(f"tests/typing/{name}" for name in PROGRAMS)) == []


@pytest.mark.timeout(250)
def test_pyright_refuses_mistakes_and_nothing_else():
    found = collections.defaultdict(set)
    for _, line, rule, _ in pyright(str(REFUSED)):
        found[line].add(rule)
    assert list(found) == list(EXPECTED)
    for line, (_, rule) in EXPECTED.items():
        assert rule in found[line]


@pytest.mark.timeout(250)
def test_pyright_takes_a_program_in_nodes_spelling_with_the_stubs_for_it(tmp_path):
    shutil.copy(ROOT / "tests" / "typing" / "node.py", tmp_path)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    assert any("setNoDelay" in text for *_, text in pyright(cwd=tmp_path))
    code, said = run("pyuvnet", "stubs", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert code == 0, said
    # The stubs themselves are among what it checks.
    assert pyright(cwd=tmp_path) == []


def items_of(name, tree):
    """The items of a TypedDict, those of the ones that it extends included."""
    for node in tree:
        if isinstance(node, ast.ClassDef) and node.name == name:
            inherited = [items_of(ast.unparse(base), tree) for base in node.bases]
            return set(bound(node.body)).union(*inherited)
    return set()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (_keywords.SocketOptions, SOCKET_OPTIONS),
        (_keywords.ConnectOptions, CONNECT_ALL),
        (_keywords.ServerOptions, SERVER_OPTIONS),
        (_keywords.ListenOptions, LISTEN_OPTIONS),
        (_keywords.BoundOptions, BOUND_OPTIONS),
        (ServeOptions, SERVER_OPTIONS | LISTEN_OPTIONS | OptionSet("", [LISTENER])),
        (_keywords.StreamOptions, option_set("Readable", "Writable", "Duplex")),
        (_keywords.AddressOptions, option_set("SocketAddress")),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_type_checkers_know_each_option_once_and_with_nodes_stubs_twice(kind, options, node_stubs):
    assert set(kind.__annotations__) == set(options)
    assert all(name in options for name in kind.__annotations__)
    modules = ("pyuvnet._typing.keywords", "pyuvnet._typing.serving")
    tree = [node for module in modules for node in typed_text(module, node_stubs).body]
    with_twins = items_of(kind.__name__, tree)
    assert with_twins == {spelling for name in options for spelling in (name, to_node(name))}


def test_the_tool_writes_the_options_of_a_docstring_anew(tmp_path):
    source = tmp_path / "address.pyx"
    head = 'class SocketAddress:\n    """A thing.\n\n    Args:\n        options: a mapping.\n'
    tail = '        other: stays.\n            And this.\n\n    Node: net.SocketAddress\n    """\n'
    good = head + "\n".join(TOOL["entries"]("SocketAddress", " " * 8)) + f"\n{tail}"
    assert "        flowlabel: int 0..4294967295, default 0: ignored for 'ipv4'.\n" in good
    stale = "        port, family: of old,\n            which is wrong.\n"
    for lines in ("", stale, good[len(head) : -len(tail)]):
        source.write_text(head + lines + tail)
        assert TOOL["written"](source) == good


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "pyuvnet" / "py.typed").read_text() == ""

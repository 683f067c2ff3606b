"""Every public name: in both spellings the same object, documented, and known to type checkers."""

from __future__ import annotations

import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pyuvnet
from pyuvnet import diagnostics, events, loop, net, promises, streams
from pyuvnet._base.names import to_node
from pyuvnet._core.immediate import Immediate
from pyuvnet._core.timer import Timeout
from tests.reliability import leaks_operations
from tests.support.cases import cases

MODULES = [pyuvnet, diagnostics, events, loop, net, promises, streams]


def public_classes():
    """Every class that users meet, and those of ours that it inherits from."""
    found = {}
    for cls in [
        *(getattr(module, name) for module in MODULES for name in module.__all__),
        Immediate,
        Timeout,
    ]:
        if isinstance(cls, type):
            found |= dict.fromkeys(
                base for base in cls.__mro__ if base.__module__.startswith("pyuvnet")
            )
    return list(found)


CLASSES = public_classes()
PUBLIC = {
    getattr(module, name) for module in MODULES for name in module.__all__ if name[0].isupper()
}
FUNCTIONS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if callable(getattr(module, name)) and not isinstance(getattr(module, name), type)
}


def test_every_public_module_is_an_attribute_of_the_package():
    modules = [each.name for each in pkgutil.iter_modules(pyuvnet.__path__) if each.name[0] != "_"]
    program = """
import sys
import pyuvnet
assert not {"ssl", "logging"} & set(sys.modules)
assert set(sys.argv[1:]) <= set(dir(pyuvnet))
for name in sys.argv[1:]:
    assert getattr(pyuvnet, name) is sys.modules[f"pyuvnet.{name}"]
assert not hasattr(pyuvnet, "tsl")
"""
    subprocess.run([sys.executable, "-c", program, *modules], check=True)


def members(cls):
    """(name, member) of what a class itself defines for users."""
    return [(name, value) for name, value in vars(cls).items() if not name.startswith("_")]


MEMBERS = {
    f"{cls.__name__}.{name}": (cls, name, value)
    for cls in CLASSES
    for name, value in members(cls)
    if name.islower()
}


def text_of(member):
    return inspect.getdoc(getattr(member, "__func__", member)) or ""


@cases("module", MODULES)
def test_every_name_of_a_module_has_a_twin_that_is_the_same_object(module):
    for name in module.__all__:
        assert getattr(module, to_node(name)) is getattr(module, name)


@cases(
    "cls",
    # Errors keep Python's names next to Node's.
    [cls for cls in CLASSES if not issubclass(cls, BaseException)],
)
def test_every_name_of_a_class_has_a_twin_that_is_the_same_object(cls):
    for name, value in members(cls):
        assert vars(cls)[to_node(name)] is value


@cases("name", FUNCTIONS)
def test_every_function_says_what_it_is_in_node(name):
    assert "Node: " in text_of(FUNCTIONS[name])


@cases("cls", CLASSES)
def test_every_class_has_a_docstring(cls):
    assert text_of(cls)


@cases("name", MEMBERS)
def test_every_member_says_what_it_is_in_node(name):
    cls, plain, member = MEMBERS[name]
    text = text_of(member)
    if not text and inspect.isdatadescriptor(member):
        # A field of an extension type can have no text of its own: its class describes it.
        whole = " ".join(text_of(each) for each in CLASSES if issubclass(each, cls))
        assert re.search(rf"\b{plain}\b", whole)
    elif callable(member) or isinstance(member, (property, classmethod, staticmethod)):
        assert "Node: " in text


def bodies():
    """The text of each function and method that Python sees, by 'name' or 'Class.name'."""
    found = {}
    for path in [*PACKAGE.glob("*.py"), *PACKAGE.glob("_*/*.py"), *PACKAGE.glob("_core/*.pyx")]:
        owner = name = ""
        for line in path.read_text("utf-8").splitlines():
            if kind := re.match(r"(?:cdef )?class (\w+)", line):
                owner, name = kind[1] + ".", ""
            elif re.match(r"(async )?def \w|cdef \w", line):
                owner = ""
            if begun := re.match(r"( {4})?(?:async )?def (\w+)", line):
                name = (owner if begun[1] else "") + begun[2]
                found[name] = ""
            elif re.match(r"( {4})?[^\s)]", line):
                name = ""
            if name:
                found[name] += line + "\n"
    return {name: re.sub(r'""".*?"""', "", text, flags=re.DOTALL) for name, text in found.items()}


PACKAGE = Path(pyuvnet.__file__).parent
BODIES = bodies()
CALLABLES = {
    name: getattr(member, "__func__", member)
    for name, member in {**FUNCTIONS, **{name: MEMBERS[name][2] for name in MEMBERS}}.items()
    if (callable(member) or isinstance(member, (staticmethod, classmethod)))
    and not isinstance(member, type)
}
# What says that a call may raise one of Node's codes: it checks an argument or a state.
FAULTS = re.compile(
    r"\b(arg_type_error|arg_value_error|range_error|missing_args_error|state_error|socket_closed"
    r"|encoding_name|validate_\w+|ArgTypeError|ArgValueError|RangeError|StateError)\(|_OPTIONS\.read"
)
# What a method emits that is called, at once or in the course of what it begins.
EMITS = {
    "Socket.connect": ["connect", "ready", "error", "close"],
    "Server.listen": ["listening", "error"],
    "Server.close": ["close"],
    "SocketMethods.destroy": ["error", "close"],
    "SocketMethods.destroy_soon": ["finish", "close"],
    "SocketMethods.reset_and_destroy": ["close", "error"],
    "SocketMethods.set_timeout": ["timeout"],
    "SocketMethods.write": ["error"],
    "Stream.destroy": ["error", "close"],
    "Readable.pause": ["pause"],
    "Readable.resume": ["resume"],
    "Readable.pipe": ["pipe", "unpipe"],
    "Readable.unpipe": ["unpipe"],
    "Readable.unshift": ["error"],
    "Writable.write": ["error"],
    "Writable.end": ["finish"],
    "EventEmitter.off": ["removeListener"],
    "AbortController.abort": ["abort"],
}


def refers(text):
    """Whether a docstring says by its first words that another one tells the rest."""
    return text.startswith(("As ", "Like ", "Make a server; same as"))


@cases("name", CALLABLES)
def test_whoever_takes_arguments_tells_of_each(name):
    """In a section Args, unless the first sentences name them all."""
    text = text_of(CALLABLES[name])
    taken = [
        each.name
        for each in inspect.signature(CALLABLES[name]).parameters.values()
        if each.name not in ("self", "cls", "_", "args", "keywords")
    ]
    first = text.partition("\n\n")[0]
    named = all(re.search(rf"\b{each}\b", first) for each in taken)
    if not named and not refers(text):
        assert "Args:" in text
        args = text.partition("Args:")[2]
        if "as for" not in args.lower():
            assert [each for each in taken if not re.search(rf"\b{each}\b", args)] == []


@cases("name", CALLABLES)
def test_whoever_checks_anything_tells_what_it_raises(name):
    body = BODIES.get(name) or BODIES.get(name.rpartition(".")[2]) or ""
    if FAULTS.search(body) and not refers(text_of(CALLABLES[name])):
        assert "Raises:" in text_of(CALLABLES[name])


@cases("name", EMITS)
def test_whoever_emits_tells_what(name):
    events = text_of(CALLABLES[name]).partition("Events:")[2] or text_of(CALLABLES[name])
    assert "Events:" in text_of(CALLABLES[name]) or "follow" in events
    for event in EMITS[name]:
        assert f"'{event}'" in events


@cases("cls", [cls for cls in CLASSES if "on" in dir(cls) and cls in PUBLIC])
def test_every_emitter_lists_its_events(cls):
    assert "Events:" in text_of(cls)


@cases("name", [*FUNCTIONS, *MEMBERS])
def test_whoever_takes_arguments_or_raises_says_so(name):
    """A text that names an argument's code or class of error does it under Raises."""
    member = FUNCTIONS.get(name) or MEMBERS[name][2]
    text = text_of(member)
    codes = re.findall(r"\b(?:ArgTypeError|ArgValueError|RangeError) \(ERR_", text)
    if codes:
        assert "Raises" in text


@cases("cls", [net.Socket, net.Server, net.BoundSocket])
def test_constructors_tell_their_arguments_errors_and_name(cls):
    text = text_of(cls)
    assert "Args:" in text
    assert "Raises:" in text
    assert f"Node: net.{cls.__name__}" in text


def test_the_names_under_test_are_those_that_users_meet():
    assert {"Socket.connect", "Server.listen", "Readable.pipe", "EventEmitter.on"} <= set(MEMBERS)
    assert {"pyuvnet.run", "pyuvnet.net.connect", "pyuvnet.events.once"} <= set(FUNCTIONS)


def test_every_public_operation_has_a_row_in_the_table_of_operations() -> None:
    """The tests of leaks call each; they are slow, but what is missing there is known at once."""
    missing = leaks_operations.public() - leaks_operations.NAMES
    assert missing == set(), f"add them to {leaks_operations.__name__}"


def test_the_page_of_names_is_current() -> None:
    root = Path(__file__).resolve().parents[1]
    page = runpy.run_path(str(root / "tools" / "names.py"))["page"]()
    assert (root / "docs" / "names.md").read_text("utf-8") == page

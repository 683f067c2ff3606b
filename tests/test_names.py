"""Every public name: in both spellings the same object, documented, and known to type checkers."""

from __future__ import annotations

import inspect
import re

import pytest

import pyuvnet
from pyuvnet import diagnostics, events, loop, net, promises, streams
from pyuvnet._core.loop import Immediate
from pyuvnet._core.names import to_node
from pyuvnet._core.timer import Timeout
from tests.test_stubs import bound, typed_text

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
FUNCTIONS = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if callable(getattr(module, name)) and not isinstance(getattr(module, name), type)
}


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


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_name_of_a_module_has_a_twin_that_is_the_same_object(module):
    for name in module.__all__:
        assert getattr(module, to_node(name)) is getattr(module, name)


@pytest.mark.parametrize(
    "cls",
    # Errors keep Python's names beside Node's.
    [cls for cls in CLASSES if not issubclass(cls, BaseException)],
    ids=lambda cls: cls.__name__,
)
def test_every_name_of_a_class_has_a_twin_that_is_the_same_object(cls):
    for name, value in members(cls):
        assert vars(cls)[to_node(name)] is value


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_is_in_node(name):
    assert "Node: " in text_of(FUNCTIONS[name])


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_has_a_docstring(cls):
    assert text_of(cls)


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_says_what_it_is_in_node(name):
    cls, plain, member = MEMBERS[name]
    text = text_of(member)
    if not text and inspect.isdatadescriptor(member):
        # A field of an extension type can have no text of its own: its class tells of it.
        whole = " ".join(text_of(each) for each in CLASSES if issubclass(each, cls))
        assert re.search(rf"\b{plain}\b", whole)
    elif callable(member) or isinstance(member, (property, classmethod, staticmethod)):
        assert "Node: " in text


@pytest.mark.parametrize("name", [*FUNCTIONS, *MEMBERS])
def test_whoever_takes_arguments_or_raises_says_so(name):
    """A text that names an argument's code or class of error does it under Raises."""
    member = FUNCTIONS.get(name) or MEMBERS[name][2]
    text = text_of(member)
    codes = re.findall(r"\b(?:ArgTypeError|ArgValueError|RangeError) \(ERR_", text)
    if codes:
        assert "Raises" in text


@pytest.mark.parametrize("cls", [net.Socket, net.Server, net.BoundSocket], ids=lambda c: c.__name__)
def test_constructors_tell_their_arguments_errors_and_name(cls):
    text = text_of(cls)
    assert "Args:" in text
    assert "Raises:" in text
    assert f"Node: net.{cls.__name__}" in text


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_name_of_a_module_stands_in_its_stub(module):
    typed = set(bound(typed_text(module.__name__).body))
    assert {spelling for name in module.__all__ for spelling in (name, to_node(name))} <= typed


def test_the_names_under_test_are_those_that_users_meet():
    assert {"Socket.connect", "Server.listen", "Readable.pipe", "EventEmitter.on"} <= set(MEMBERS)
    assert {"pyuvnet.run", "pyuvnet.net.connect", "pyuvnet.events.once"} <= set(FUNCTIONS)

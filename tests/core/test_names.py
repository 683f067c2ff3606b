"""One mechanism gives every public name its Node spelling."""

from __future__ import annotations

import types

import pytest

import pyuvnet
from pyuvnet import EventEmitter, net
from pyuvnet._base.names import to_node
from pyuvnet._core.names import add_node_names
from tests.support.cases import cases

EXTENSION_CLASSES = [
    EventEmitter,
    pyuvnet.Loop,
    pyuvnet.Readable,
    pyuvnet.Writable,
    pyuvnet.Duplex,
    *(base for base in pyuvnet.Socket.__mro__ if base.__module__.startswith("pyuvnet._core")),
]


@cases(
    ("pep8", "node"),
    [
        ("create_server", "createServer"),
        ("set_no_delay", "setNoDelay"),
        ("remove_all_listeners", "removeAllListeners"),
        ("is_ip", "isIP"),
        ("is_ipv4", "isIPv4"),
        ("is_ipv6", "isIPv6"),
        ("from_json", "fromJSON"),
        ("to_json", "toJSON"),
        ("add_cidr", "addCIDR"),
        ("ipv6_only", "ipv6Only"),
        ("destroy", "destroy"),
        ("PRIVATE_RANGES", "PRIVATE_RANGES"),
        ("_private_name", "_private_name"),
        ("__dunder_name__", "__dunder_name__"),
        ("Socket", "Socket"),
        ("", ""),
    ],
)
def test_node_spelling(pep8, node):
    assert to_node(pep8) == node


def test_name_must_be_text():
    with pytest.raises(TypeError):
        to_node(None)


def test_class_written_in_python_gets_twins():
    @add_node_names
    class Thing:
        class_value = object()

        def do_this(self):
            return self

        @property
        def is_done(self):
            return True

        @staticmethod
        def make_one():
            return 1

        def plain(self):
            return None

        def _own_business(self):
            return None

    assert Thing.doThis is Thing.do_this
    assert Thing.__dict__["isDone"] is Thing.__dict__["is_done"]
    assert Thing.classValue is Thing.class_value
    assert Thing.makeOne() == 1
    assert not hasattr(Thing, "_ownBusiness")


def test_a_twin_that_is_there_already_is_left_alone():
    class Thing:
        do_this = 1
        doThis = 2

    add_node_names(Thing)
    assert Thing.doThis == 2


def test_dictionary_gets_twins():
    names = {"set_it": set, "_hidden_one": 1, "plain": 2}
    assert add_node_names(names) is names
    assert names == {"set_it": set, "setIt": set, "_hidden_one": 1, "plain": 2}


@cases("cls", EXTENSION_CLASSES)
def test_every_public_member_of_an_extension_class_has_its_twin(cls):
    members = cls.__dict__
    twins = [(name, to_node(name)) for name in members if not name.startswith("_")]
    twins = [(name, node) for name, node in twins if node != name]
    for name, node in twins:
        assert members[node] is members[name], name


@pytest.mark.parametrize("module", [pyuvnet, net], ids=lambda module: module.__name__)
def test_every_public_function_of_a_module_has_its_twin(module):
    for name in module.__all__:
        value = getattr(module, name)
        if not isinstance(value, types.ModuleType):
            assert getattr(module, to_node(name)) is value, name


def test_settable_property_is_one_slot():
    server = net.Server()
    server.maxConnections = 5
    assert server.max_connections == 5
    server.max_connections = 6
    assert server.maxConnections == 6


def test_subclass_finds_twins_through_inheritance():
    class Mine(EventEmitter):
        pass

    assert Mine.listenerCount is EventEmitter.listener_count

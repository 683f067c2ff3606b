"""Objects that are half built, or another thread's, refuse to act, and never crash.

Half built: made by __new__ alone, or of a subclass that does not call our __init__. Each case is a
child that prods (see prod.py) every public member of a class, so that names which are added are
covered by themselves.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable

import prod
import pytest

import pyuvnet
from pyuvnet import _core, net

Outcomes = dict[str, dict[str, list[str]]]
KINDS = sorted(set(prod.KINDS) - {"Stream"})  # Stream is Socket
COMPILED = {f"{_core.__name__}.{layer}" for layer in _core.LAYERS}
HEAP_TYPE = 1 << 9  # of classes that a class statement made
NOT_BUILT, WRONG_THREAD = "StateError ERR_NOT_CONSTRUCTED", "StateError ERR_WRONG_THREAD"
# What acts on a connection, a server or a stream, by class.
ACTING = {
    "Socket": {"connect", "write", "end", "destroy", "read", "pause", "resume", "ref", "unref"},
    "Server": {"listen", "close", "get_connections", "ref", "unref"},
    "Readable": {"read", "push", "pause", "resume", "pipe", "destroy"},
    "Writable": {"write", "end", "cork", "uncork", "destroy"},
    "Duplex": {"write", "end", "read", "push", "destroy"},
}


@pytest.fixture(scope="module")
def prodded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Outcomes]:
    return functools.cache(
        lambda what, kind: prod.prodded(what, kind, tmp_path_factory.mktemp("prodded"))
    )


def saying(outcomes: Outcomes, what: str) -> set[str]:
    return {member for member, told in outcomes.items() if what in told}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["half built", "subclassed"])
def test_half_built_objects_refuse_and_stay_as_they_are(
    state: str, kind: str, prodded: Callable[[str, str], Outcomes]
) -> None:
    outcomes = prodded(state, kind)
    assert len(outcomes) > 3
    assert saying(outcomes, NOT_BUILT) >= ACTING.get(kind, set())
    for member, told in outcomes.items():
        assert not [each for each in told if "changed" in each], member
        assert "AttributeError" not in told, member


@pytest.mark.parametrize("kind", KINDS)
def test_another_thread_is_refused_and_nothing_changes(
    kind: str, prodded: Callable[[str, str], Outcomes]
) -> None:
    outcomes = prodded("another thread", kind)
    for member, told in outcomes.items():
        assert not [each for each in told if "changed" in each], member
    assert saying(outcomes, WRONG_THREAD) >= ACTING.get(kind, set())


@pytest.mark.parametrize("kind", sorted(ACTING))
def test_what_another_thread_may_not_do_needs_a_built_object(
    kind: str, prodded: Callable[[str, str], Outcomes]
) -> None:
    half = saying(prodded("half built", kind), NOT_BUILT)
    thread = saying(prodded("another thread", kind), WRONG_THREAD)
    # Listening to 'data' starts reading; what is half built has nothing to read.
    listening = {name for name in thread if "istener" in name or name in ("on", "once")}
    assert thread - listening <= half


def test_no_compiled_method_takes_a_foreign_object_for_its_own() -> None:
    # C code reads the fields of its self, so a self of another class must not get there.
    classes = {
        cls
        for module in map(sys.modules.get, COMPILED)
        for cls in vars(module).values()
        if isinstance(cls, type) and cls.__module__ in COMPILED
    }
    assert {pyuvnet.Writable, pyuvnet.Duplex, pyuvnet.EventEmitter} <= classes
    methods = [
        (cls, name, member)
        for cls in {*classes, pyuvnet.Socket, pyuvnet.Server}
        for name, member in vars(cls).items()
        if type(member) in (types.MethodDescriptorType, types.WrapperDescriptorType)
    ]
    assert {name for _, name, _ in methods} >= {"write", "on", "close", "__aiter__"}
    for cls, name, method in methods:
        for foreign in (3, None, object(), net.BlockList(), cls):
            if not isinstance(foreign, cls) and name != "__init_subclass__":
                for arguments in ((), (b"x",), (b"x", b"x")):
                    with pytest.raises(TypeError, match=r"doesn't apply|requires a"):
                        method(foreign, *arguments)
    # Functions that are no descriptors check nothing: only for classes without C fields.
    assert not {
        (cls, name)
        for cls in classes
        for name, member in vars(cls).items()
        if type(member).__name__ == "cython_function_or_method" and not cls.__flags__ & HEAP_TYPE
    }

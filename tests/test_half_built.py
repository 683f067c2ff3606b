"""Objects that are half built, or another thread's, refuse to act, and never crash.

Half built: made by __new__ alone, or of a subclass that does not call our __init__. Each case is a
child that prods (see prod.py) every public member of a class, so that names which are added are
covered by themselves.
"""

from __future__ import annotations

import ast
import copy
import functools
import gc
import importlib
import pathlib
import pickle
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import pytest

import pyuvnet
from pyuvnet import _core, net
from tests.support import prod
from tests.support.cases import cases

Outcomes = dict[str, dict[str, list[str]]]
KINDS = sorted(set(prod.KINDS) - {"Stream"})  # Stream is Socket
COMPILED = {f"{_core.__name__}.{layer}" for layer in _core.LAYERS}
for late in (layer for group in _core.LATER for layer in group):
    getattr(_core, late)
HEAP_TYPE = 1 << 9  # of classes that a class statement made
BASE_TYPE = 1 << 10  # of classes that can be subclassed
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


# ---- What only the core makes --------------------------------------------------------------------


class Sink(pyuvnet.Writable):
    def _write(self, chunk: Any, encoding: str, callback: Any) -> None:
        self.kept = callback

    def _destroy(self, error: Any, callback: Any) -> None:
        self.kept = callback
        callback()


def made_by_the_core() -> dict[str, Any]:
    """Objects of such types, as far as they come into a program's hands."""
    sink, told = Sink(), Sink()
    sink.write(b"x")
    told.destroy()
    emitter = pyuvnet.EventEmitter().once("x", print)
    timeout, interval = pyuvnet.set_timeout(print), pyuvnet.set_interval(print)
    immediate = pyuvnet.set_immediate(print)
    timeout.close(), interval.close(), immediate.close()
    step = pyuvnet.Readable().iterator().__anext__()
    registration = emitter.on("y")
    registration(print)
    made = [timeout, interval, immediate, sink.kept, told.kept, step, registration,
            *emitter.raw_listeners("x")]  # fmt: skip
    sink.kept()
    pyuvnet.run()
    return {type(thing).__name__: thing for thing in made}


SEALED = ["DestroyCallback", "Immediate", "NextChunk", "OnceListener", "Timeout", "WriteCallback",
          "_Registration"]  # fmt: skip


def test_the_list_of_what_only_the_core_makes_is_whole() -> None:
    assert sorted(made_by_the_core()) == SEALED


@cases("name", SEALED)
def test_what_only_the_core_makes_cannot_be_constructed(name: str) -> None:
    thing = made_by_the_core()[name]
    kind = type(thing)
    for arguments in ((), (None,), (pyuvnet.EventEmitter(), "x", False, False)):
        with pytest.raises(TypeError) as caught:
            kind(*arguments)
        assert getattr(caught.value, "code", None) == "ERR_ILLEGAL_CONSTRUCTOR"
    for make in (
        lambda: kind.__new__(kind),
        lambda: object.__new__(kind),
        lambda: type("Mine", (kind,), {}),
        lambda: copy.copy(thing),
        lambda: copy.deepcopy(thing),
        *(lambda number=number: pickle.dumps(thing, number) for number in range(6)),
    ):
        with pytest.raises(TypeError):
            make()


@cases("name", sorted(COMPILED))
def test_no_compiled_type_without_a_check_is_open(name: str) -> None:
    # Each new type is either sealed, or named here since programs make it.
    open_types = {
        kind.__name__
        for kind in vars(sys.modules[name]).values()
        if isinstance(kind, type) and kind.__module__ == name and kind.__flags__ & BASE_TYPE
    }
    bases = {"Acceptor", "AcceptingServer", "AdmittingServer", "BoundBase", "Collector",
             "Continuation", "EndingServer", "ListeningServer", "ServerBase", "SocketBase",
             "SocketMethods", "Stream"}  # fmt: skip
    public = {
        "BlockList",
        "Duplex",
        "EventEmitter",
        "Loop",
        "Readable",
        "SocketAddress",
        "Writable",
    }
    # Python code of ours makes or subclasses these.
    inner = {"Calls", "ChunkIterator", "ChunkReader", "Connector", "ConnectSteps", "Decoder",
             "Overlaid", "Upgrade", "Waiter", "_ErrorMonitor"}  # fmt: skip
    # Nothing in them, or nothing that can be missing.
    harmless = {"Reader", "RuleBatch", "_Load"}
    assert open_types <= bases | public | inner | harmless


# ---- Made twice ----------------------------------------------------------------------------------


class Source(pyuvnet.Readable):
    def _read(self, size: int) -> None: ...


TWICE: dict[str, Callable[[], Any]] = {
    "Socket": net.Socket,
    "Server": net.Server,
    "BoundSocket": lambda: net.BoundSocket(port=0, host="127.0.0.1"),
    "Readable": Source,
    "Writable": Sink,
    "Duplex": pyuvnet.Duplex,
}


@cases("name", TWICE)
@cases("here", [True, False])
def test_what_is_made_cannot_be_made_again(name: str, here: bool) -> None:
    thing = TWICE[name]()
    before = prod.state(thing)
    codes = []

    def again() -> None:
        for options in ({}, {"high_water_mark": 7}, {"capture_rejections": True}):
            try:
                thing.__init__(options)
            except pyuvnet.StateError as error:
                codes.append(error.code)

    if here:
        again()
    else:
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
    assert codes == ["ERR_CONSTRUCTED_TWICE"] * 3
    assert prod.state(thing) == before
    if name == "BoundSocket":
        thing.close()
    pyuvnet.run()


def test_a_server_that_another_thread_makes_again_closes_in_its_own(run_child: Any) -> None:
    # It was bound to the loop of that thread, and closed its handle from there.
    run_child(
        """
        import threading
        import pyuvnet
        from pyuvnet import net

        server = net.create_server().listen(0, "127.0.0.1")
        codes = []

        def again():
            for action in (lambda: server.__init__(), server.close):
                try:
                    action()
                except pyuvnet.StateError as error:
                    codes.append(error.code)

        def listening():
            thread = threading.Thread(target=again)
            thread.start()
            thread.join()
            assert codes == ["ERR_CONSTRUCTED_TWICE", "ERR_WRONG_THREAD"], codes
            assert server.listening
            server.close(lambda *error: print("closed", *error))

        server.on("listening", listening)
        pyuvnet.run()
        """
    ).clean()


# ---- Before __init__ -----------------------------------------------------------------------------


def test_an_attribute_that_a_subclass_sets_before_its_base_is_made(run_child: Any) -> None:
    run_child(
        """
        import pyuvnet
        from pyuvnet import net

        class Mine(net.Socket):
            def __init__(self):
                try:
                    self.timeout = 5000
                except pyuvnet.StateError as error:
                    assert error.code == "ERR_NOT_CONSTRUCTED"
                else:
                    raise AssertionError("taken")
                super().__init__()
                assert self.timeout is None

        socket = Mine()
        socket.set_timeout(10, lambda: print("idle"))
        assert socket.timeout == 10
        socket.timeout = 5
        assert socket.timeout == 5
        socket.destroy()
        pyuvnet.run()
        """
    ).clean()


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


def finalised() -> list[Any]:
    """The classes of the package that have a __del__."""
    root = pathlib.Path(pyuvnet.__file__).parent
    found = []
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(each, ast.FunctionDef) and each.name == "__del__" for each in node.body
            ):
                name = ".".join(file.relative_to(root.parent).with_suffix("").parts)
                found.append(pytest.param(name, node.name, id=node.name))
    return found


@pytest.mark.parametrize(("module", "name"), finalised())
def test_a_del_needs_nothing_that_a_failed_init_has_not_set(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: raised.append(repr(one.exc_value)))
    kind = getattr(importlib.import_module(module), name)
    kind.__new__(kind)
    gc.collect()
    assert not raised

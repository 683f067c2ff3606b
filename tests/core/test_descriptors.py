"""Descriptors and slots of extension types: what a class inherits, made its own."""

from __future__ import annotations

import pytest

import pyuvnet
from pyuvnet._core.descriptors import inherit_anext, own_method
from pyuvnet._core.iteration import ChunkIterator


def test_a_method_becomes_the_subclass_s_own() -> None:
    class Plain(pyuvnet.EventEmitter):
        pass

    own_method(Plain, "listener_count")
    assert Plain.__dict__["listener_count"].__objclass__ is Plain
    assert Plain().on("a", print).listener_count("a") == 1
    with pytest.raises(TypeError, match="Plain"):
        Plain.__dict__["listener_count"](pyuvnet.EventEmitter(), "a")


def test_only_a_compiled_method_can_be_made_its_own() -> None:
    class Other:
        def write(self) -> None:
            pass

    for name in ("write", "missing"):
        with pytest.raises(TypeError, match=f"inherits no compiled method '{name}'"):
            own_method(Other, name)
    assert not hasattr(Other, "missing")


def test_socket_has_a_write_of_its_own() -> None:
    assert pyuvnet.Socket.__dict__["write"].__objclass__ is pyuvnet.Socket


def test_an_anext_of_its_own_is_not_replaced() -> None:
    class Other(ChunkIterator):
        async def __anext__(self) -> bytes:  # type: ignore[override]
            return b"other"

    with pytest.raises(TypeError, match="Other"):
        inherit_anext(Other)

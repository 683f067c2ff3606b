"""Loads transport.pyx and transport_listener.pyx, which only a debug build has."""

from __future__ import annotations

from importlib.machinery import ExtensionFileLoader, ModuleSpec
from typing import Any

import pytest

from pyuvnet._core import _native


def load(name: str) -> Any:
    """A module of tests/support that is compiled into the core; skips the tests without it."""
    loader = ExtensionFileLoader(f"tests.support.{name}", str(_native.__file__))
    spec = ModuleSpec(loader.name, loader, origin=loader.path)
    try:
        module = loader.create_module(spec)
    except ImportError:
        pytest.skip("only a debug build has transports", allow_module_level=True)
    loader.exec_module(module)
    return module

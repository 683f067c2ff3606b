"""What serves in a worker: found by its name, and classified by its signature."""

from __future__ import annotations

import importlib
import inspect
import os

from .._base import TYPE_CHECKING
from ..server import Server
from .settings import wrong

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


# What the one parameter of a listener of 'connection' is called.
_CONNECTION = ("socket", "connection")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Target:
    """What serves.

    Raises: ArgValueError (ERR_INVALID_ARG_VALUE) for what cannot serve.

    Attributes: exactly one of
        function: callable(server), called when the server listens;
        listener: callable(socket), of 'connection';
        server: Server;
    and
        coroutines: bool, whether it needs asyncio.
        name: str, for the metrics.
    """

    function: Callable[..., Any] | None = None
    listener: Callable[..., Any] | None = None
    server: Server | None = None

    def __init__(self, found: Any, name: str) -> None:
        self.name = name
        if isinstance(found, Server):
            if found.listening:
                raise wrong(
                    f"{name} is already listening: remove its listen(), which serve calls itself"
                )
            self.server = found
            events = ("connection", "secureConnection")
            listeners = [each for event in events for each in found.listeners(event)]
            self.coroutines = any(is_coroutine(each) for each in listeners)
            return
        if not callable(found):
            raise wrong(f"{name} is {found!r}, but must be a function or a Server")
        if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
            raise wrong(f"{name} has a yield, and would never run: use a plain function")
        _check_signature(found, name)
        self.coroutines = is_coroutine(found)
        if takes_a_connection(found):
            self.listener = found
        else:
            self.function = found


def find(app: str | Callable[..., Any] | Server) -> Target:
    """What serves, by its name or as it is.

    Raises: what importing it raises; ArgValueError (ERR_INVALID_ARG_VALUE) if the name does not
        exist, or if it cannot serve.
    """
    if isinstance(app, str):
        return Target(_named(app), app)
    if isinstance(app, Server):
        return Target(app, app.name or "server")
    return Target(app, getattr(app, "__qualname__", type(app).__qualname__))


def _named(app: str) -> Any:
    """The object of 'MODULE:NAME'."""
    module, _, name = app.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        # What the module itself imports is an error of the program.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        text = f"there is no module {error.name!r} in {os.getcwd()} or on the rest of sys.path"
        if module.endswith(".py"):
            text = f"there is no module {module!r}: use '{module[:-3]}:{name}'"
        raise wrong(text) from None
    for word in name.split("."):
        if not hasattr(found, word):
            raise wrong(f"the module {module!r} has no name {name!r}")
        found = getattr(found, word)
    return found


def _check_signature(function: Callable[..., Any], name: str) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError:
        raise wrong(f"{name}{signature} must accept one argument: a server, or a socket") from None


def takes_a_connection(function: Callable[..., Any]) -> bool:
    """Whether a function is a listener of 'connection', by the name of its only parameter."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [
        each.name
        for each in parameters
        if each.kind in _POSITIONAL and each.default is inspect.Parameter.empty
    ]
    return len(needed) == 1 and needed[0] in _CONNECTION


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether a function is a coroutine function."""
    # An object may be called by a coroutine method.
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )

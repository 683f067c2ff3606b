"""Write docs/names.md: every public name of pyuvnet in Node's spelling and in Python's.

Run `python tools/names.py` after adding a public name; a test checks that the page is current.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pyuvnet
from pyuvnet import diagnostics, events, net, streams
from pyuvnet._base.names import to_node

PAGE = Path(__file__).resolve().parents[1] / "docs" / "names.md"
HEAD = """# Every name

Every name has Node's spelling and Python's, and both mean the same object:
`server.getConnections` is `server.get_connections`. Options follow the same rule: `noDelay` is
`no_delay`. What each one does is in the [reference](api/index.md).
"""
MODULES = (
    ("net", net),
    ("Globals and process", pyuvnet),
    ("stream", streams),
    ("events", events),
    ("diagnostics_channel", diagnostics),
)
CLASSES: tuple[type, ...] = (
    pyuvnet.Server,
    pyuvnet.Socket,
    pyuvnet.EventEmitter,
    pyuvnet.Readable,
    pyuvnet.Duplex,
    net.BlockList,
    net.SocketAddress,
    net.BoundSocket,
    pyuvnet.AbortController,
    pyuvnet.AbortSignal,
)
# Whose members are listed with them alone.
BASES = (pyuvnet.EventEmitter, pyuvnet.Readable, pyuvnet.Duplex)


def of_module(module: object) -> Iterator[str]:
    """Yield the names of a module; classes only of `net`, since others have lists of their own."""
    for name in module.__all__:
        value = getattr(module, name)
        known = module is pyuvnet and (name in streams.__all__ or not callable(value))
        if name.startswith("__") or inspect.ismodule(value) or known:
            continue
        if not inspect.isclass(value) or module is net:
            yield name


def of_class(cls: type) -> Iterator[str]:
    """Yield the public members of a class that no public base of it has."""
    bases = (base for base in BASES if base is not cls and issubclass(cls, base))
    above = {name for base in bases for name in dir(base)}
    yield from (name for name in dir(cls) if not name.startswith("_") and name not in above)


def listed(names: Iterator[str]) -> str:
    """Each name once, in Node's spelling first."""
    found = set(names)
    found -= {to_node(name) for name in found if to_node(name) != name}
    twins = [(to_node(name), name) for name in sorted(found)]
    shown = [f"`{node}`/`{name}`" if node != name else f"`{name}`" for node, name in twins]
    return textwrap.fill(" · ".join(shown), 150, break_on_hyphens=False, break_long_words=False)


def page() -> str:
    parts = [HEAD]
    parts += [f"## {title}\n\n{listed(of_module(module))}\n" for title, module in MODULES]
    parts += [f"## {cls.__name__}\n\n{listed(of_class(cls))}\n" for cls in CLASSES]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")

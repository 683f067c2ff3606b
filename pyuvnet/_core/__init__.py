"""The compiled core, private: many modules in one shared object, loaded here in their order.

libuv must be in a process once, hence one file; but each .pyx is a module of its own ("multiple
modules in one library" of PEP 489). The order of LAYERS is the order of the layers: a module may
cimport only those before it, and one that reaches up fails at import.
"""

import _imp
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
else:
    # Where importlib.machinery has them from, whose import takes longer than a module of ours.
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import ExtensionFileLoader, PathFinder

LAYERS: tuple[str, ...] = (
    "info",
    "descriptors",
    "names",
    "upcalls",
    "errors",
    "address",
    "socketaddress",
    "intervals",
    "rules",
    "rule_input",
    "blocklist",
    "emitter",
    "owner",
    "watchers",
    "hidden_calls",
    "debugging",
    "signals",
    "loop",
    "clock",
    "immediate",
    "loop_registry",
    "waiter",
    "hooks",
    "handle",
    "timer",
    "encoding",
    "framing",
    "framings",
    "limits",
    "stream",
    "write_queue",
    "read_buffer",
    "piping",
    "readable",
    "writable",
    "duplex",
    "iteration",
    "reading",
    "stream_handle",
    "layer",
    "deadlines",
    "tcp",
    "pipe",
    "proxy_header",
    "accepting",
    "bound",
    "dns",
    "alive",
    "process",
    "hello",
    "engine",
    "tls",
    "socket_base",
    "lingering",
    "meter",
    "passing",
    "connecting",
    "overlay",
    "socket_methods",
    "admission",
    "acceptor",
    "listener",
    "shutdown",
    "server_base",
    "transfer",
)
# Loaded when one of a group is first needed, by `from ._core import NAME`: no other module of the
# core needs them.
LATER = (("hello", "engine", "tls"), ("overlay",), ("transfer",))


def _load(layers: tuple[str, ...]) -> None:
    """Load modules from the shared object of `_native`, in their order."""
    native = PathFinder.find_spec(f"{__name__}._native", __path__)
    if native is None or native.origin is None:
        tag = sys.implementation.cache_tag
        raise ImportError(
            f"pyuvnet's compiled core for this interpreter ({tag}) is missing from {__path__[0]}. "
            "In a checkout, build it there with `pip install -e .` (a plain `pip install .` puts "
            "it elsewhere, and this folder hides it from a Python that is started here); otherwise "
            "reinstall pyuvnet.",
            name=f"{__name__}._native",
        )
    for layer in layers:
        name = f"{__name__}.{layer}"
        loader = ExtensionFileLoader(name, native.origin)
        spec = ModuleSpec(name, loader, origin=native.origin)
        # By hand, as importlib.util has it, which takes longer to import than all of this.
        try:
            module = loader.create_module(spec)
        except ImportError as error:
            if layer == "_native":
                raise
            # As after a pull that added a module.
            raise ImportError(
                f"pyuvnet's compiled core does not match these sources: it has no {layer!r}. "
                f"Rebuild it with `pip install -e .` ({native.origin})",
                name=name,
            ) from error
        module.__spec__, module.__loader__, module.__package__ = spec, loader, __name__
        module.__file__ = native.origin
        sys.modules[name] = module
        try:
            loader.exec_module(module)
        except BaseException:
            # As the import system does: a half-built module must not be found by a second try.
            del sys.modules[name]
            raise
        globals()[layer] = module


def __getattr__(name: str) -> object:
    for group in LATER:
        if name in group:
            # Another thread may be at it, whose modules are not to be met half-built. This is the
            # lock that a fork waits for.
            try:
                # Inside: Ctrl-C that comes while it waits is raised when it has the lock.
                _imp.acquire_lock()
                # Those of them that came to an end are not made again.
                _load(tuple([layer for layer in group if layer not in globals()]))
            finally:
                _imp.release_lock()
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_load(("_native", *[layer for layer in LAYERS if not any(layer in group for group in LATER)]))

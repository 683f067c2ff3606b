"""The compiled core, private: many modules in one shared object, loaded here in their order.

libuv must be in a process once, hence one file; but each .pyx is a module of its own ("multiple
modules in one library" of PEP 489). The order of LAYERS is the order of the layers: a module may
cimport only those before it, and one that reaches up fails at import.
"""

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
    "immediate",
    "loop_registry",
    "waiter",
    "hooks",
    "handle",
    "timer",
    "encoding",
    "framing",
    "limits",
    "stream",
    "piping",
    "readable",
    "writable",
    "duplex",
    "iteration",
    "reading",
    "stream_handle",
    "layer",
    "tcp",
    "pipe",
    "accepting",
    "bound",
    "dns",
    "alive",
    "process",
    "socket_base",
    "deadlines",
    "meter",
    "passing",
    "proxy_header",
    "hello",
    "engine",
    "tls",
    "connecting",
    "socket_methods",
    "server_base",
)
# Of TLS, and loaded with pyuvnet.tls: no other module of the core needs them.
LATER = ("hello", "engine", "tls")


def _load(layers: tuple[str, ...]) -> None:
    """Load modules from the shared object of `_native`, in their order."""
    native = PathFinder.find_spec(f"{__name__}._native", __path__)
    if native is None or native.origin is None:
        tag = sys.implementation.cache_tag
        raise ImportError(
            f"pyuvnet's compiled core for this interpreter ({tag}) is not in {__path__[0]}. "
            "In a checkout, build it there with `pip install -e .` (a plain `pip install .` puts "
            "it elsewhere, and this folder hides that as long as Python is started beside it); "
            "otherwise install pyuvnet again.",
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
            # As after a pull which brought a new module.
            raise ImportError(
                f"pyuvnet's compiled core was built from other sources than these, since it has no "
                f"{layer!r}: build it again with `pip install -e .` ({native.origin})",
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
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Those of them that came to an end are not made again.
    _load(tuple([layer for layer in LATER if layer not in globals()]))
    return globals()[name]


_load(("_native", *[layer for layer in LAYERS if layer not in LATER]))

"""What this build is: libuv's version and the flags it was compiled with. Imports: declarations."""

from . cimport uv
from .debug cimport UVNET_BUILD_FLAGS, UVNET_DEBUG


def libuv_version():
    """Return the version of the libuv inside, such as '1.52.1'."""
    return (<bytes>uv.uv_version_string()).decode("ascii")


def build_flags():
    """Return how the core was compiled, in one line."""
    return (<bytes>UVNET_BUILD_FLAGS).decode("utf-8")


def is_debug():
    """Return True for a debug build: asserts, and counters of live handles and requests."""
    return bool(UVNET_DEBUG)

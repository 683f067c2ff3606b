"""The clock of this thread's loop, which virtual time stops and sets.

Owns: the function through which libuv reads the time (clock_hook.h).  Imports: loop.  The core
knows the time from libuv alone, so timers, idle timeouts and deadlines follow this clock as they
are.  What run() does instead of waiting is decided by `VirtualTime` of pyuvnet/testing.
"""

from libc.stdint cimport uint64_t

from . cimport uv
from .loop cimport Loop

cdef extern from "clock_hook.h":
    void pyuvnet_set_clock(uint64_t ns) noexcept


def read_clock():
    """Return what this thread's clock shows: ns of the system's monotonic time, or what was set.

    Node: process.hrtime.bigint()
    """
    return uv.uv_hrtime()


def set_clock(uint64_t ns, Loop loop=None):
    """Stop this thread's clock at ns, and let its loop see that; 0: let it run again.

    Args:
        ns: int, from 1 on; above what the clock has shown before.
        loop: this thread's Loop, or None if it is closed.

    Returns: bool, False where libuv reads another clock, as an installed one does.

    Node: none
    """
    if loop is None:
        pyuvnet_set_clock(ns)
        return True
    loop.check()
    pyuvnet_set_clock(ns)
    uv.uv_update_time(&loop._uv)
    return ns == 0 or uv.uv_now(&loop._uv) == ns // 1000000

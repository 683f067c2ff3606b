"""Watchers: what libuv does wrong without memory, done before or after it (watchers.h).

Owns: the size of the loops' tables of descriptors, and libuv's allocator in a build for debugging.
A descriptor is watched only after watch_room(); where libuv opens one and watches it in the same
call, as in connecting, watch_room_for_next() comes before.  Imports: libuv's declarations.
"""

from . cimport uv

cdef extern from "watchers.h" nogil:
    int pyuvnet_watch_room(uv.uv_loop_t*, int)
    int pyuvnet_watch_room_for_next(uv.uv_loop_t*)
    int pyuvnet_uv_write(uv.uv_write_t*, uv.uv_stream_t*, const uv.uv_buf_t*, unsigned int,
                         uv.uv_stream_t*, uv.uv_write_cb)
    int pyuvnet_hook_allocations()
    long pyuvnet_fail(bint, long, long)


cdef int watch_room(uv.uv_loop_t* loop, int fd) noexcept nogil:
    """Make room to watch a descriptor; returns a libuv status. Below 0, as without one: none."""
    return pyuvnet_watch_room(loop, fd)


cdef int watch_room_for_next(uv.uv_loop_t* loop) noexcept nogil:
    """Make room to watch the descriptor that is opened next; returns a libuv status."""
    return pyuvnet_watch_room_for_next(loop)


cdef int submit_write(uv.uv_write_t* request, uv.uv_stream_t* stream, const uv.uv_buf_t* bufs,
                      unsigned int count, uv.uv_stream_t* carried,
                      uv.uv_write_cb done) noexcept nogil:
    """uv_write2(), which leaves nothing behind when it fails; returns its status.

    carried: whose descriptor goes with the bytes; NULL: none.
    """
    return pyuvnet_uv_write(request, stream, bufs, count, carried, done)


def fail_allocations(int start, int stop=0):
    """Let libuv's allocations fail in this thread, as _testcapi.set_nomemory() does Python's.

    Args:
        start: how many succeed before; below 0, all do.
        stop: after how many they succeed again, 0: never.

    Returns: int, how many there were since the last call; always 0 unless built for debugging.
    """
    return pyuvnet_fail(start >= 0, start, stop)


# Before any other call of libuv that allocates, which only loops do.
if pyuvnet_hook_allocations() < 0:
    raise ImportError("libuv does not let its allocator be replaced")

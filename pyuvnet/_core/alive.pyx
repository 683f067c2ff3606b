"""What is alive in a loop: for finding out why it does not end, and for warnings.

Imports: handle, timer, immediate, stream_handle, tcp, dns.  It only reads; pyuvnet/loop.py makes
HandleInfo objects of what it finds.
"""


from . cimport uv
from .capi cimport PyErr_WriteUnraisable
from .dns cimport Lookup
from .handle cimport REQUEST_CONNECT, REQUEST_SHUTDOWN, REQUEST_WRITE, Handle
from .immediate cimport Immediate, waiting_immediates
from .loop cimport Loop
from .stream_handle cimport StreamHandle
from .tcp cimport TCP
from .timer cimport Timer, TimerQueue
from .upcalls cimport later

from cpython.exc cimport PyErr_SetObject


cdef void _collect(uv.uv_handle_t* handle, void* found) noexcept:
    # The loop's own helpers carry the gate instead of an object.
    if handle.data != handle.loop.data:
        (<list>found).append(<Handle>handle.data)


cdef list _handles(Loop loop):
    # Made before the walk: on 3.11 a collection may start here, and close handles.
    cdef list found = []
    uv.uv_walk(&loop._uv, <uv.uv_walk_cb><void*>_collect, <void*>found)
    return found


cdef str _kind(Handle handle):
    return (<bytes>uv.uv_handle_type_name(handle._uv.type)).decode("ascii")


cdef tuple _address(Handle handle):
    """(local, peer), each a tuple (address, port, family) or None."""
    if not isinstance(handle, TCP) or handle.closing:
        return (None, None)
    local = peer = None
    try:
        local = (<TCP>handle).sockname()
        peer = (<TCP>handle).peername()
    except OSError:
        # Not bound yet, or not connected.
        pass
    return (local, peer)


def describe(Loop loop not None):
    """Return what is alive in a loop, a tuple each.

    Returns: list of (kind, owner, active, ref, closing, requests, local, peer).
    """
    cdef Handle handle
    cdef Timer timer
    cdef Immediate immediate
    cdef Lookup lookup
    cdef list found = []
    loop.check()
    for handle in _handles(loop):
        if isinstance(handle, TimerQueue):
            continue
        requests = tuple([
            name for bit, name in ((REQUEST_CONNECT, "connect"), (REQUEST_WRITE, "write"),
                                   (REQUEST_SHUTDOWN, "shutdown"))
            if handle.requests & bit])
        local, peer = _address(handle)
        found.append((_kind(handle), handle.owner, bool(uv.uv_is_active(handle._uv)),
                      bool(uv.uv_has_ref(handle._uv)), bool(handle.closing), requests, local, peer))
    for timer in _timers(loop):
        found.append(("timer", timer.whose(), True, bool(timer.counted), False, (), None, None))
    for immediate in waiting_immediates(loop):
        if immediate._due:
            found.append(("immediate", immediate._callback, True, bool(immediate._ref), False, (),
                          None, None))
    for lookup in set(loop.lookups or ()):
        found.append(("lookup", lookup.owner, True, True, False, (f"lookup {lookup.hostname}",),
                      None, None))
    for target in _tick_targets(loop):
        found.append(("tick", target, True, True, False, (), None, None))
    for callback, _ in list(loop.threadsafe_calls):
        found.append(("call from a thread", callback, True, True, False, (), None, None))
    return found


# What stands in C arrays is copied into a list that exists already: making an object may run a
# finaliser that changes the array. Appending makes none.

cdef list _timers(Loop loop):
    cdef list found = []
    cdef TimerQueue queue
    cdef Py_ssize_t index
    if loop.timers is not None:
        queue = <TimerQueue>loop.timers
        for index in range(queue._count):
            found.append(<Timer>queue._heap[index])
    return found


cdef list _tick_targets(Loop loop):
    cdef list found = []
    cdef Py_ssize_t index
    for index in range(loop.tick_count):
        target = loop.ticks[(loop.tick_head + index) & (loop.tick_size - 1)].target
        found.append(<object>target)
    return found


cdef int _warn_unclosed(object closing) except -1:
    """Warn of each socket and server that the program left open; the loop closes it next."""
    cdef Loop loop = closing
    cdef Handle handle
    import tracemalloc
    if loop.debugging.origins is None:
        return 0
    for handle in _handles(loop):
        if not isinstance(handle, StreamHandle) or handle.closing:
            continue
        owner = handle.owner
        if owner is not None and handle.calls.written is NULL and handle.calls.connection is NULL:
            # The remains of a connection, whose socket was closed.
            continue
        try:
            whose = repr(owner) if owner is not None else f"<{_kind(handle)} handle>"
            text = f"unclosed {whose}"
            origin = loop.debugging.origins.get(id(handle))
            where, line = "sys", 1
            source = owner if tracemalloc.is_tracing() else None
            if origin:
                where, line = origin[-1].filename, origin[-1].lineno
                # With tracemalloc Python shows where the owner was made.
                if source is None:
                    text += "\nOpened at (most recent call last):\n" + "".join(origin.format())
            import warnings
            warnings.warn_explicit(text.rstrip(), ResourceWarning, where, line, source=source)
        except BaseException as error:
            # A filter made it an error, which no caller could catch here.
            PyErr_SetObject(type(error), error)
            PyErr_WriteUnraisable(owner)


later.warn_unclosed = _warn_unclosed

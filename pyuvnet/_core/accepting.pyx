"""Accepting: failed accepts go up to the listener's owner, and a listener without hope rests.

Owns: the notes of accept_hook.h, and when the listeners of a loop are polled.  Imports: tcp and
below.

libuv deals with a lack of descriptors by itself, as long as its spare one is there: it sheds the
connections that wait.  Where the spare is gone too, or the kernel is out of memory, the connection
stays in the queue and would be reported again at once, for ever.  Such a listener rests for
REST_MS and tries again; meanwhile connections wait in the kernel's queue.
"""

from libc.stdlib cimport free

from . cimport uv
from .address cimport address_tuple
from .capi cimport gate_close, pyuvnet_gate
from .loop cimport Loop, loop_from_uv
from .owner cimport Owner
from .stream_handle cimport StreamHandle
from .tcp cimport TCP, PeerName, keep_name, new_tcp

cdef extern from "accept_hook.h" nogil:
    ctypedef union pyuvnet_name:
        uv.sockaddr any
    ctypedef struct pyuvnet_refusal:
        int listener
        int status
        bint stuck
        pyuvnet_name here
        pyuvnet_name there
    void pyuvnet_watch_accepts(uv.uv_check_t*, uv.uv_check_cb)
    size_t pyuvnet_take_refusals(pyuvnet_refusal**)
    void pyuvnet_pause_listener(int, int, bint)
    const uv.sockaddr* pyuvnet_arrived(int)

cdef enum:
    REST_MS = 100
    # Failures which take the connection with them are no reason to rest; if nothing else comes,
    # they do not.
    FAILURES_IN_A_ROW = 64


cdef void _on_refusals_gil(uv.uv_check_t* check) noexcept:
    cdef Loop loop = loop_from_uv(check.loop)
    cdef pyuvnet_refusal* refusals
    cdef size_t count, index
    cdef Owner owner
    cdef list handles
    uv.uv_check_stop(check)
    count = pyuvnet_take_refusals(&refusals)
    loop.enter()
    try:
        # All of them before the first call: what it closes must not be taken for another's.
        handles = [_refused(loop, &refusals[index]) for index in range(count)]
        for index in range(count):
            if handles[index] is None:
                continue
            owner = (<StreamHandle>handles[index]).owner
            if owner is None or loop.silent:
                continue
            try:
                owner._on_accept_failed(
                    refusals[index].status, address_tuple(&refusals[index].here.any),
                    address_tuple(&refusals[index].there.any))
            except BaseException as exc:
                loop.report(exc)
    except BaseException as exc:
        loop.report(exc)
    free(refusals)
    loop.leave()


cdef void _on_refusals(uv.uv_check_t* check) noexcept nogil:
    gate_close(<pyuvnet_gate*>check.data)
    (<uv.uv_check_cb><void*>_on_refusals_gil)(check)


cdef StreamHandle _refused(Loop loop, pyuvnet_refusal* refusal):
    """The listener of a refusal, None if it is closed; it rests if it has to."""
    cdef StreamHandle handle
    for handle in loop.listeners:
        if handle.fileno() == refusal.listener:
            handle.failures += 1
            if (refusal.stuck or handle.failures >= FAILURES_IN_A_ROW) and not handle.resting:
                handle.resting = True
                pyuvnet_pause_listener(uv.uv_backend_fd(&loop._uv), refusal.listener, True)
                uv.uv_timer_start(&loop._rest, _on_rested, REST_MS, 0)
            return handle
    return None


cdef void _on_rested_gil(uv.uv_timer_t* timer) noexcept:
    cdef Loop loop = loop_from_uv((<uv.uv_handle_t*>timer).loop)
    cdef StreamHandle handle
    for handle in loop.listeners:
        if handle.resting:
            handle.resting = False
            pyuvnet_pause_listener(uv.uv_backend_fd(&loop._uv), handle.fileno(), False)
    try:
        # libuv takes a new spare descriptor, if it has none, whenever a handle is made.
        new_tcp(loop, None).close()
    except BaseException as exc:
        loop.report(exc)


cdef void _on_rested(uv.uv_timer_t* timer) noexcept nogil:
    gate_close(<pyuvnet_gate*>timer.data)
    (<uv.uv_timer_cb><void*>_on_rested_gil)(timer)


cdef int listener_opened(StreamHandle handle) except -1:
    """A handle listens: hear of its failures."""
    pyuvnet_watch_accepts(&handle.loop._refusals, _on_refusals)
    handle.loop.listeners.append(handle)
    return 0


cdef int listener_closed(StreamHandle handle) except -1:
    """A handle that may have listened is being closed."""
    if handle in handle.loop.listeners:
        handle.loop.listeners.remove(handle)
    return 0


cdef int accepted_peer(TCP client, PeerName* name) noexcept:
    """Keep the name of the peer that was just accepted."""
    cdef const uv.sockaddr* address = pyuvnet_arrived(client.fileno())
    if address is NULL:
        # Not by us: on Windows, or by an installed libuv.
        return client.read_peer(name)
    keep_name(address, name)
    return 0

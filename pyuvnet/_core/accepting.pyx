"""Accepting: failed accepts go up to the listener's owner, and a listener without hope rests.

Owns: the notes of accept_hook.h, and when the listeners of a loop are polled.  Imports: tcp and
below.

libuv deals with a lack of descriptors by itself, as long as its spare one is there: it sheds the
connections that wait.  Where the spare is gone too, or the kernel is out of memory, the connection
stays in the queue and would be reported again at once, for ever.  Such a listener rests for
REST_MS and tries again; meanwhile connections wait in the kernel's queue.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdlib cimport free

from . cimport uv
from .capi cimport gate_close, pyuvnet_gate
from .loop cimport Loop, loop_from_uv
from .emitter cimport EventEmitter
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
        void* handle
    void pyuvnet_watch_accepts(uv.uv_check_t*, uv.uv_check_cb)
    size_t pyuvnet_take_refusals(pyuvnet_refusal**)
    void pyuvnet_pause_listener(int, int, bint)
    const uv.sockaddr* pyuvnet_arrived(int)
    bint pyuvnet_refuse(uv.uv_stream_t*, const uv.sockaddr**)

cdef enum:
    REST_MS = 100
    # Failures which take the connection with them are no reason to rest; if nothing else comes,
    # they do not.
    FAILURES_IN_A_ROW = 64


cdef bint _forgetful = False


def _forget_arrivals(bint forget):
    """Know peers by getpeername() only, as on Windows and with an installed libuv; for tests."""
    global _forgetful
    _forgetful = forget


cdef void _on_refusals_gil(uv.uv_check_t* check) noexcept:
    cdef Loop loop = loop_from_uv(check.loop)
    cdef pyuvnet_refusal* refusals
    cdef pyuvnet_refusal* refusal
    cdef size_t count, index
    cdef EventEmitter owner
    uv.uv_check_stop(check)
    count = pyuvnet_take_refusals(&refusals)
    loop.enter()
    # All of them before the first call: what it closes must not be taken for another's.  Nothing
    # here needs memory, since a listener that cannot accept for the lack of it must rest all the
    # same.
    for index in range(count):
        refusals[index].handle = <void*>_refused(loop, &refusals[index])
    for index in range(count):
        refusal = &refusals[index]
        if refusal.handle is NULL:
            continue
        owner = (<StreamHandle>refusal.handle).owner
        if owner is not None and not loop.silent:
            try:
                (<StreamHandle>refusal.handle).calls.accept_failed(
                    owner, refusal.status, &refusal.here.any, &refusal.there.any)
            except BaseException as exc:
                loop.report(exc)
        Py_XDECREF(<PyObject*>refusal.handle)
    free(refusals)
    loop.leave()


cdef void _on_refusals(uv.uv_check_t* check) noexcept nogil:
    gate_close(<pyuvnet_gate*>check.data)
    (<uv.uv_check_cb><void*>_on_refusals_gil)(check)


cdef PyObject* _refused(Loop loop, pyuvnet_refusal* refusal) noexcept:
    """The listener of a refusal, referenced, NULL if it is closed; it rests if it has to."""
    cdef StreamHandle handle
    for handle in loop.listeners:
        if handle.fileno() == refusal.listener:
            handle.failures += 1
            if (refusal.stuck or handle.failures >= FAILURES_IN_A_ROW) and not handle.resting:
                handle.resting = True
                pyuvnet_pause_listener(uv.uv_backend_fd(&loop._uv), refusal.listener, True)
                uv.uv_timer_start(&loop._rest, _on_rested, REST_MS, 0)
            Py_INCREF(handle)
            return <PyObject*>handle
    return NULL


cdef void _on_rested_gil(uv.uv_timer_t* timer) noexcept:
    cdef Loop loop = loop_from_uv((<uv.uv_handle_t*>timer).loop)
    cdef StreamHandle handle
    for handle in loop.listeners:
        if handle.resting:
            handle.resting = False
            pyuvnet_pause_listener(uv.uv_backend_fd(&loop._uv), handle.fileno(), False)
    loop.enter()
    try:
        # libuv takes a new spare descriptor, if it has none, whenever a handle is made.
        new_tcp(loop).close()
    except MemoryError:
        # Then it has none, as before.
        pass
    except BaseException as exc:
        loop.report(exc)
    loop.leave()


cdef void _on_rested(uv.uv_timer_t* timer) noexcept nogil:
    gate_close(<pyuvnet_gate*>timer.data)
    (<uv.uv_timer_cb><void*>_on_rested_gil)(timer)


cdef int listener_opened(StreamHandle handle) except -1:
    """A handle is about to listen: hear of its failures."""
    pyuvnet_watch_accepts(&handle.loop._refusals, _on_refusals)
    handle.loop.listeners.append(handle)
    return 0


cdef int listener_closed(StreamHandle handle) except -1:
    """A handle that may have listened is being closed."""
    if handle in handle.loop.listeners:
        handle.loop.listeners.remove(handle)
    return 0


cdef void accepted_peer(TCP client, PeerName* name) noexcept:
    """Keep the name of the peer that was just accepted; a family of 0: nobody knows it."""
    cdef const uv.sockaddr* address = pyuvnet_arrived(client.fileno())
    name.family = 0
    if address is not NULL and not _forgetful:
        keep_name(address, name)
    if not name.family:
        client.read_peer(name)


cdef bint refuse_waiting(StreamHandle listener, PeerName* name) noexcept:
    """Close a connection that there is no handle for; False: it waits for the next accept.

    Keeps the name of its peer, if that is known.
    """
    cdef const uv.sockaddr* address = NULL
    cdef bint closed = pyuvnet_refuse(listener.stream(), &address)
    if address is not NULL:
        keep_name(address, name)
    return closed

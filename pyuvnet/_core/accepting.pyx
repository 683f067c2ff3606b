"""Accepting: failed accepts go up to the listener's owner; a listener that cannot accept is paused.

Owns: the listeners of a loop, when they are polled, and the notes of accept_hook.h.  Imports: tcp
and below.

libuv deals with a lack of descriptors by itself, as long as its spare one is there: it drops the
connections that wait.  Where the spare is gone too, or the kernel is out of memory, the connection
stays in the queue and would be reported again at once, for ever.  Such a listener is paused for
PAUSE_MS and tries again; meanwhile connections wait in the kernel's queue.
"""

from cpython.mem cimport PyMem_RawRealloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdlib cimport free
from libc.string cimport memset

from . cimport uv
from .address cimport PeerName, keep_name
from .capi cimport gate_close, pyuvnet_gate
from .errors cimport seal
from .loop cimport Loop, LoopPart, loop_from_uv
from .emitter cimport EventEmitter
from .stream_handle cimport StreamHandle
from .tcp cimport TCP, new_tcp

cdef extern from "accept_hook.h" nogil:
    ctypedef union pyuvnet_name:
        uv.sockaddr any
    ctypedef struct pyuvnet_failed_accept:
        int listener
        int status
        bint stuck
        pyuvnet_name here
        pyuvnet_name there
        void* handle
    void pyuvnet_watch_accepts(uv.uv_check_t*, uv.uv_check_cb)
    size_t pyuvnet_take_failed_accepts(pyuvnet_failed_accept**)
    void pyuvnet_pause_listener(int, int, bint)
    const uv.sockaddr* pyuvnet_arrived(int)
    bint pyuvnet_drop_waiting(uv.uv_stream_t*, const uv.sockaddr**)
    int pyuvnet_take_waiting(uv.uv_stream_t*)
    int pyuvnet_accept_next(int, pyuvnet_name*)
    bint pyuvnet_free_spare(uv.uv_loop_t*)
    void pyuvnet_take_spare(uv.uv_loop_t*)
    void close(int)
    bint pyuvnet_set_manner(int, int, int)
    size_t pyuvnet_manner_count()
    enum:
        PYUVNET_RESTS
        PYUVNET_SHEDS
        PYUVNET_MAY

cdef enum:
    PAUSE_MS = 100
    # One failure that takes its connection with it is no reason to pause; so many in a row are.
    FAILURES_IN_A_ROW = 64
    # More than a queue holds; some of these may have come meanwhile.
    MOST_ARRIVALS = 65536


cdef bint _forgetful = False


def _forget_arrivals(bint forget):
    """Know peers by getpeername() only, as on Windows and with an installed libuv; for tests."""
    global _forgetful
    _forgetful = forget


def _manners():
    """How many listeners of this thread do what others do not, see listener_rests(); for tests."""
    return pyuvnet_manner_count()


def listening_servers(Loop loop):
    """The servers of a loop that listen, without those that do not keep it alive: a new list."""
    cdef StreamHandle handle
    cdef list found = []
    cdef Accepting part = <Accepting>loop.accepting
    loop.check()
    if part is not None and part.listeners is not None:
        for handle in part.listeners:
            if handle.owner is not None and handle._uv is not NULL and uv.uv_has_ref(handle._uv):
                found.append(handle.owner)
    return found


cdef class Accepting(LoopPart):
    """The listeners of one loop."""

    cdef uv.uv_check_t _check          # active when an accept of this turn failed
    cdef uv.uv_timer_t _timer          # active while a listener is paused
    cdef list listeners                # every handle that listens; None: the loop is closing

    cdef void forget(self) noexcept:
        self.listeners = None


cdef Accepting _part_of(Loop loop):
    cdef Accepting part
    if loop.accepting is None:
        part = Accepting.__new__(Accepting)
        part.listeners = []
        # Making it may have run a finaliser, which made a server listen.
        if loop.accepting is None:
            uv.uv_check_init(&loop._uv, &part._check)
            uv.uv_timer_init(&loop._uv, &part._timer)
            part._check.data = part._timer.data = &loop.gate
            uv.uv_unref(<uv.uv_handle_t*>&part._check)
            uv.uv_unref(<uv.uv_handle_t*>&part._timer)
            loop.accepting = part
    return <Accepting>loop.accepting


cdef void _on_failures_gil(uv.uv_check_t* check) noexcept:
    cdef Loop loop = loop_from_uv(check.loop)
    cdef pyuvnet_failed_accept* failures
    cdef pyuvnet_failed_accept* failure
    cdef size_t count, index
    cdef EventEmitter owner
    uv.uv_check_stop(check)
    count = pyuvnet_take_failed_accepts(&failures)
    loop.enter()
    # All of them before the first call: what it closes must not be taken for another's.  Nothing
    # here needs memory, since a listener that cannot accept for the lack of it must be paused even
    # so.
    for index in range(count):
        failures[index].handle = <void*>_failed(loop, &failures[index])
    for index in range(count):
        failure = &failures[index]
        if failure.handle is NULL:
            continue
        owner = (<StreamHandle>failure.handle).owner
        if owner is not None and not loop.silent:
            try:
                (<StreamHandle>failure.handle).calls.accept_failed(
                    owner, failure.status, &failure.here.any, &failure.there.any)
            except BaseException as exc:
                loop.report_of(exc, owner)
        Py_XDECREF(<PyObject*>failure.handle)
    free(failures)
    loop.leave()


cdef void _on_failures(uv.uv_check_t* check) noexcept nogil:
    gate_close(<pyuvnet_gate*>check.data)
    (<uv.uv_check_cb><void*>_on_failures_gil)(check)


cdef PyObject* _failed(Loop loop, pyuvnet_failed_accept* failure) noexcept:
    """The listener of a failed accept, referenced, NULL if it is closed; pauses it if needed."""
    cdef StreamHandle handle
    cdef Accepting part = <Accepting>loop.accepting
    if part.listeners is None:
        return NULL
    for handle in part.listeners:
        if handle.fileno() == failure.listener:
            handle.failed_accepts = min(handle.failed_accepts + 1, 255)
            if (failure.stuck or handle.failed_accepts >= FAILURES_IN_A_ROW) and not handle.paused:
                handle.paused = True
                pyuvnet_pause_listener(uv.uv_backend_fd(&loop._uv), failure.listener, True)
                uv.uv_timer_start(&part._timer, _on_resume, PAUSE_MS, 0)
            Py_INCREF(handle)
            return <PyObject*>handle
    return NULL


cdef void _on_resume_gil(uv.uv_timer_t* timer) noexcept:
    cdef Loop loop = loop_from_uv((<uv.uv_handle_t*>timer).loop)
    cdef list listeners = (<Accepting>loop.accepting).listeners
    cdef StreamHandle handle
    if listeners is None:
        return
    for handle in listeners:
        if handle.paused:
            handle.paused = False
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


cdef void _on_resume(uv.uv_timer_t* timer) noexcept nogil:
    gate_close(<pyuvnet_gate*>timer.data)
    (<uv.uv_timer_cb><void*>_on_resume_gil)(timer)


cdef int listener_opened(StreamHandle handle) except -1:
    """A handle is about to listen: watch for accepts that fail."""
    cdef Accepting part = _part_of(handle.loop)
    # Of an earlier listener with this descriptor, which its loop has closed.
    pyuvnet_set_manner(handle.fileno(), 0, 0)
    if part.listeners is not None:
        pyuvnet_watch_accepts(&part._check, _on_failures)
        part.listeners.append(handle)
    return 0


cdef int listener_closed(StreamHandle handle) except -1:
    """A handle that may have listened is being closed."""
    cdef Accepting part = <Accepting>handle.loop.accepting
    pyuvnet_set_manner(handle.fileno(), 0, 0)
    if part is not None and part.listeners is not None and handle in part.listeners:
        part.listeners.remove(handle)
    return 0


cdef int listener_manner(StreamHandle handle, bint rests, bint waits, int reserve) except -1:
    """Set what a listener does, before it listens: see listener_rests()."""
    if not _set_manner(handle, rests, waits, reserve):
        raise MemoryError
    return 0


cdef void listener_rests(StreamHandle handle, bint rests, bint waits, int reserve) noexcept:
    """Let a listener accept nothing for the time being, or go on.

    waits: without descriptors it leaves the clients in the kernel's queue.  reserve: how many
    descriptors it leaves to the program.  For a listener that does nothing of this until now, there
    must have been a listener_manner().
    """
    _set_manner(handle, rests, waits, reserve)
    if rests or not handle.paused:
        pyuvnet_pause_listener(uv.uv_backend_fd(&handle.loop._uv), handle.fileno(), rests)


cdef bint _set_manner(StreamHandle handle, bint rests, bint waits, int reserve) noexcept:
    return pyuvnet_set_manner(handle.fileno(), PYUVNET_MAY | (PYUVNET_RESTS if rests else 0)
                              | (0 if waits else PYUVNET_SHEDS), reserve)


cdef void retry_listener(StreamHandle handle) noexcept:
    """A descriptor is free again: a listener that was paused for the lack of one may go on."""
    if handle.paused:
        handle.paused = False
        pyuvnet_pause_listener(uv.uv_backend_fd(&handle.loop._uv), handle.fileno(), False)


cdef void accepted_peer(TCP client, PeerName* name) noexcept:
    """Keep the name of the peer that was just accepted; a family of 0: it is unknown."""
    cdef const uv.sockaddr* address = pyuvnet_arrived(client.fileno())
    name.family = 0
    if address is not NULL and not _forgetful:
        keep_name(address, name)
    if not name.family:
        client.read_peer(name)


cdef bint drop_waiting(StreamHandle listener, PeerName* name) noexcept:
    """Drop a connection that there is no handle for; False: it waits for the next accept.

    Keeps the name of its peer, if that is known.
    """
    cdef const uv.sockaddr* address = NULL
    cdef bint closed = pyuvnet_drop_waiting(listener.stream(), &address)
    if address is not NULL:
        keep_name(address, name)
    return closed


cdef int take_waiting(StreamHandle listener) noexcept:
    """The descriptor of the connection that waits, which is the caller's; -1: none waits."""
    return pyuvnet_take_waiting(listener.stream())


cdef bint _note_arrival(Arrivals* arrivals, int fd, const pyuvnet_name* name) noexcept:
    """Keep one more; False: out of memory."""
    cdef Arrival* grown
    if arrivals.count == arrivals.size:
        grown = <Arrival*>PyMem_RawRealloc(
            arrivals.items, (2 * arrivals.size or 64) * sizeof(Arrival))
        if grown is NULL:
            return False
        arrivals.items = grown
        arrivals.size = 2 * arrivals.size or 64
    arrivals.items[arrivals.count].fd = fd
    arrivals.items[arrivals.count].peer.family = 0
    if name.any.sa_family:
        keep_name(&name.any, &arrivals.items[arrivals.count].peer)
    arrivals.count += 1
    return True


cdef int accept_all(StreamHandle listener, Arrivals* arrivals) noexcept:
    """Accept who waits, and close the listener; returns why the last could not be accepted, or 0.

    Nothing of the program's runs. The listener is closed in the next step after the kernel has said
    that no connection waits any more, since closing it resets the rest. What could not be accepted
    has the descriptor -1, and is closed.
    """
    cdef pyuvnet_name name
    cdef int fd = listener.fileno(), arrived, why = 0
    cdef bint freed = False
    memset(arrivals, 0, sizeof(Arrivals))
    while fd >= 0 and arrivals.count < MOST_ARRIVALS:
        arrived = pyuvnet_accept_next(fd, &name)
        if arrived == uv.UV_EAGAIN:
            break
        if arrived < 0:
            if why:
                # The spare descriptor does not help.
                break
            why = arrived
            freed = pyuvnet_free_spare(&listener.loop._uv)
            if not freed:
                memset(&name, 0, sizeof(name))
                _note_arrival(arrivals, -1, &name)
                break
            continue
        if why or not _note_arrival(arrivals, arrived, &name):
            why = why or uv.UV_ENOMEM
            close(arrived)
            _note_arrival(arrivals, -1, &name)
    # Its number may be another's from now on.
    pyuvnet_set_manner(fd, 0, 0)
    listener.close()
    if freed:
        pyuvnet_take_spare(&listener.loop._uv)
    return why


seal(Accepting)

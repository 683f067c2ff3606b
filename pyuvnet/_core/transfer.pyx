"""Transfer: a socket or a server leaves its thread's loop for that of another thread.

In its own thread it closes its handle, keeps a duplicate of the descriptor, and belongs to the
other loop from then on; a call to that loop, as any thread may make one, gives it a handle there.
In between it has none, and nothing touches it: what the old loop had of it (ticks, a place among
those with collected writes, timers, counts of its server) is taken out before.

So no lock is needed. What refuses comes first, and changes nothing. The object leaves in a tick,
since the code that emits the event under way looks at it again. By then the other loop may be
closed, or have no memory for the call; then the object stays in its old loop, and is destroyed
with the error.

Imports: socket_base, server_base and below.
"""

cimport cython
from cpython.object cimport PyObject

from . cimport uv
from .accepting cimport listener_closed, listener_opened
from .capi cimport hold_collector, release_collector
from .deadlines cimport Limits, arm, stop_deadlines
from .emitter cimport EventEmitter, has_foreign
from .errors cimport os_error, seal, state_error
from .fork cimport fork_generation
from .layer cimport read_start
from .loop cimport Loop
from .loop_registry cimport Passage, enter_passage, leave_passage
from .owner cimport Acceptor, Collector
from .pipe cimport Pipe, new_pipe, pyuvnet_file, pyuvnet_remove_file
from .server_base cimport ServerBase
from .socket_base cimport SOCKET_CONNECTING, SOCKET_KEEP_ALIVE, SOCKET_NO_DELAY, \
    SOCKET_READ_AT_CONNECT, SOCKET_TO_END, SOCKET_UNREF, SocketBase
from .stream cimport DESTROYED, W_FINAL_CALLED
from .stream_handle cimport StreamHandle, close_descriptor, duplicate
from .tcp cimport TCP, new_tcp

from .._base.validation import arg_type_error


cdef enum:
    # Options that the descriptor keeps, and which the program can take back on the way.
    OPTIONS = SOCKET_NO_DELAY | SOCKET_KEEP_ALIVE

cdef str NOT_TRANSFERABLE = "ERR_WORKER_HANDLE_NOT_TRANSFERABLE"


@cython.no_gc_clear    # __dealloc__ needs the path
cdef class _Moving:
    """The descriptor of an object on its way, and what its new handle is to be like."""

    cdef Passage passage               # whose fd is -1 once it is taken
    cdef unsigned long generation      # of the process that has made the file
    cdef StreamHandle before           # whose descriptor was duplicated; None once it has left
    cdef bint tcp, reading
    cdef unsigned int options          # of a socket: those that it had then, OPTIONS of its flags
    cdef list ticks                    # (what, argument), which waited for it
    cdef Limits limits
    cdef bint idle                     # its idle timeout waited
    cdef bytes path                    # of a listener's file, which moves with it
    cdef pyuvnet_file file
    cdef ServerBase server             # which knows of this on its way

    def __dealloc__(self):
        # It never arrived: its loop was closed, say.
        self._give_up()

    def give_up(self):
        """Close the descriptor, unless it was taken."""
        self._give_up()

    cdef void _give_up(self) noexcept:
        if self.server is not None and self.server._moving is <PyObject*>self:
            self.server._moving = NULL
        leave_passage(&self.passage)
        if self.passage.fd >= 0:
            if self.path is not None and self.generation == fork_generation():
                # As by Pipe.close(), while the number of its inode cannot be another's.
                pyuvnet_remove_file(&self.file, self.path)
            close_descriptor(self.passage.fd)
            self.passage.fd = -1

    cdef StreamHandle open(self, Loop loop):
        """A handle for the descriptor; None if it was given up meanwhile.

        Raises: OSError (syscall 'open').
        """
        cdef StreamHandle handle = new_tcp(loop) if self.tcp else new_pipe(loop)
        cdef int status
        if self.passage.fd < 0:
            # On CPython 3.11 the making of an object may run a finaliser, and that closed the
            # server.
            handle.close()
            return None
        status = handle.open(self.passage.fd)
        if status < 0:
            handle.close()
            raise os_error(status, "open")
        self.passage.fd = -1
        return handle

    def land(self, ServerBase server not None):
        """Give a server its listener; False if it was given up meanwhile.

        Raises: OSError (syscall 'open').
        """
        cdef StreamHandle handle = self.open(server._loop)
        if handle is None:
            return False
        server._moving = NULL
        if self.path is not None:
            (<Pipe>handle)._path, (<Pipe>handle)._file = self.path, self.file
        server._keep_handle(handle, 0)
        listener_opened(handle)
        server._note_manner(handle)
        # Or it was closed by a finaliser, too.
        return server._handle is handle

    cdef int tick_again(self, Loop loop, EventEmitter emitter) except -1:
        for what, argument in self.ticks:
            loop.tick(emitter, what, argument)
        return 0


cdef class _Nobody(Collector):
    """Stands where an object with collected writes stood."""

    cdef int _flush(self) except -1:
        return 0

    cdef bint _flush_one(self) noexcept:
        return True


cdef Collector _nobody = _Nobody.__new__(_Nobody)


cdef object _not_transferable(str needed):
    return state_error(NOT_TRANSFERABLE, f"transfer() needs {needed}")


cdef _Moving _new_moving(object loop):
    """Of nothing yet. Raises: ArgTypeError, StateError where the loop takes no call."""
    cdef _Moving moving = _Moving.__new__(_Moving)
    moving.passage.fd = -1
    moving.generation = fork_generation()
    if not isinstance(loop, Loop):
        raise arg_type_error("loop", "Loop", loop)
    (<Loop>loop).check_door()
    return moving


cdef int _note(_Moving moving, Loop here, StreamHandle handle, EventEmitter emitter) except -1:
    """Note what the new handle is to be like. Nothing of the program's runs."""
    cdef int held
    moving.tcp = isinstance(handle, TCP)
    moving.reading = handle._reading
    held = hold_collector()
    try:
        moving.ticks = here.ticks_of(emitter)
    finally:
        release_collector(held)
    return 0


# ---- Sockets -------------------------------------------------------------------------------------

def check_socket(SocketBase socket not None):
    """Raise unless a socket could be transferred.

    Raises: StateError (ERR_WORKER_HANDLE_NOT_TRANSFERABLE), and what detach() raises.
    """
    socket._ready()
    if socket._bytes_in():
        raise _not_transferable("a socket from which nothing was read")
    if socket._owners or socket.r_reader is not None:
        raise _not_transferable("a socket that no coroutine uses")
    if socket.r_pipes is not None or has_foreign(socket):
        raise _not_transferable("a socket without pipes")
    if socket._socket_flags & SOCKET_TO_END or socket._also().undo_signal is not None \
            or socket._has_deadline() or socket._also().successor is not None \
            or socket._also().predecessor is not None:
        raise _not_transferable("a socket that is not ending, and has no signal, deadline or TLS")


def transfer_socket(SocketBase socket not None, loop, callback):
    """Move a socket that check_socket() has passed; see Socket.transfer()."""
    cdef _Moving moving = _new_moving(loop)
    # Sends what was collected, and so may run code of the program, before it looks.
    enter_passage(&moving.passage, socket._duplicate("transfer()", NOT_TRANSFERABLE))
    moving.before = socket._handle
    # The code that emits the current event still looks at the socket.
    socket._loop.tick_call(_depart_socket, (socket._loop, moving, socket, loop, callback))


def _depart_socket(Loop here not None, _Moving moving not None, SocketBase socket not None,
                   Loop there not None, callback):
    """The present callback is over."""
    cdef StreamHandle handle
    cdef Acceptor server = None
    cdef BaseException failure = None
    if socket._loop is not here or socket._state & DESTROYED \
            or socket._handle is not moving.before and socket._also().successor is None:
        # A second call, which has come too late, or another connection since.
        return
    try:
        check_socket(socket)
        socket._check_rests("transfer()", NOT_TRANSFERABLE)
        _note(moving, here, socket._handle, socket)
    except Exception as error:
        failure = error
    if failure is not None:
        # The program has begun something since, or there was no memory.
        socket._destroy_with(failure)
        return
    handle = socket._handle
    if handle.deadlines is not NULL and handle.deadlines.limits is not NULL:
        moving.limits = <Limits>handle.deadlines.limits
    moving.options = socket._socket_flags & OPTIONS
    # From here on nothing fails.
    moving.before = None
    moving.idle = socket._idle is not None and socket._idle.index >= 0
    socket._give_away(handle)
    if socket._idle is not None:
        socket._idle.cancel()
    here.forget(socket, _nobody)
    stop_deadlines(handle)
    if socket._idle is not None:
        socket._idle.loop = there
        if moving.idle:
            # Until set_timeout() says something else.
            socket._idle.fired = True
    if socket._also().address is not None:
        socket._also().address.gone()
        socket._also().address = None
    server = handle.server
    handle.left_server()
    socket._server = None
    handle.close()
    here.touched()
    socket._loop = there
    try:
        there._push((_arrive_socket, (moving, socket, callback)), -1)
    except BaseException as error:
        socket._loop = here
        if socket._idle is not None:
            socket._idle.loop = here
        socket._destroy_with(error)
    if server is not None:
        server.connection_gone(None)


cdef int _catch_up(SocketBase socket, _Moving moving) except -1:
    """Do with the handle what the program, in the other thread, did without waiting for it."""
    cdef unsigned int gone = moving.options & ~socket._socket_flags
    if isinstance(socket._handle, TCP):
        if gone & SOCKET_NO_DELAY:
            (<TCP>socket._handle).nodelay(False)
        if gone & SOCKET_KEEP_ALIVE:
            socket._send_keep_alive(<TCP>socket._handle, False)
    socket._apply_options()
    if socket._state & W_FINAL_CALLED and not socket._state & DESTROYED:
        # There was nothing to send a FIN with.
        socket._begin_final()
    return 0


def _arrive_socket(_Moving moving not None, SocketBase socket not None, callback):
    """In the other thread."""
    cdef Loop loop = socket._loop
    cdef StreamHandle handle = None
    cdef bint arrived = False
    cdef int status
    if socket._state & DESTROYED or socket._handle is not None \
            or socket._socket_flags & SOCKET_CONNECTING:
        # By code of this loop, which did not wait for it.
        return
    try:
        handle = moving.open(loop)
        if socket._state & DESTROYED or socket._handle is not None:
            # By a finaliser, see open().
            handle.close()
            return
        handle.continues(socket._connection)
        socket._take_handle(handle)
        if socket._socket_flags & SOCKET_UNREF:
            handle.unref()
        if moving.limits is not None:
            arm(handle, moving.limits)
        # The program may have set one on the way.
        socket._deadline_stays()
        if moving.idle and socket._idle.fired:
            socket._idle.last = uv.uv_now(&loop._uv)
            socket._idle.rearm()
        _catch_up(socket, moving)
        moving.tick_again(loop, socket)
        if moving.reading and not socket._state & DESTROYED:
            status = read_start(socket._handle)
            if status < 0:
                raise os_error(status, "read")
        if socket._socket_flags & SOCKET_READ_AT_CONNECT and not socket._state & DESTROYED:
            # The program has begun to read on the way.
            socket._socket_flags &= ~SOCKET_READ_AT_CONNECT
            socket._ask_source()
        arrived = not socket._state & DESTROYED
    except BaseException as error:
        if handle is not None and socket._handle is not handle:
            handle.close()
        socket._destroy_with(error)
    if arrived and callback is not None:
        callback(socket)


# ---- Servers -------------------------------------------------------------------------------------

def check_server(ServerBase server not None):
    """Raise unless a server could be transferred.

    Raises: StateError (ERR_WORKER_HANDLE_NOT_TRANSFERABLE).
    """
    server._ready()
    if server._handle is None or server._ending:
        raise _not_transferable("a server that listens")
    if server._connections or server._awaiting or server._waiting_accepts:
        raise _not_transferable("a server without connections")
    if server._rests:
        raise _not_transferable("a server that is not paused")
    if server._receiver is not None:
        raise _not_transferable("a server that accepts its own connections")
    server._check_transfer()


def transfer_server(ServerBase server not None, loop, callback):
    """Move a server that check_server() has passed; see Server.transfer()."""
    cdef _Moving moving = _new_moving(loop)
    cdef int fd = duplicate(server._handle)
    if fd < 0:
        raise os_error(fd, "dup")
    enter_passage(&moving.passage, fd)
    moving.before = server._handle
    server._loop.tick_call(_depart_server, (server._loop, moving, server, loop, callback))


def _depart_server(Loop here not None, _Moving moving not None, ServerBase server not None,
                   Loop there not None, callback):
    """The present callback is over."""
    cdef StreamHandle handle
    cdef BaseException failure = None
    if server._loop is not here or server._handle is not moving.before:
        # A second call, or it was closed.
        return
    try:
        server._end_logs()
        check_server(server)
        _note(moving, here, server._handle, server)
    except Exception as error:
        failure = error
    if failure is not None:
        # It has accepted a connection since, say, and goes on here.
        server._listen_failed(failure)
        return
    handle = server._handle
    if handle is not moving.before:
        # A handler of the log has closed it, and listens anew.
        return
    moving.before = None
    if isinstance(handle, Pipe):
        moving.path, moving.file = (<Pipe>handle)._path, (<Pipe>handle)._file
        (<Pipe>handle)._path = None
    server._handle = None
    handle.owner = None
    listener_closed(handle)
    here.forget(server, _nobody)
    handle.close()
    here.touched()
    server._loop = there
    moving.server = server
    server._moving = <PyObject*>moving
    try:
        there._push((_arrive_server, (moving, server, callback)), -1)
    except BaseException as error:
        server._loop = here
        _fail(server, error)


def _arrive_server(_Moving moving not None, ServerBase server not None, callback):
    """In the other thread."""
    cdef int status
    cdef bint arrived = False
    if server._handle is not None or server._moving is not <PyObject*>moving:
        # By code of this loop, which did not wait for it.
        return
    try:
        if not moving.land(server):
            return
        status = server._handle.listen(server._backlog)
        if status < 0:
            raise os_error(status, "listen")
        if server._unref:
            server._handle.unref()
        moving.tick_again(server._loop, server)
        arrived = True
    except BaseException as error:
        server._close_handle()
        _fail(server, error)
    if arrived and callback is not None:
        callback(server)


cdef int _fail(ServerBase server, BaseException error) except -1:
    """Emit 'error', then 'close'."""
    server._listen_failed(error)
    return server._queue_close()


seal(_Moving)
seal(_Nobody)

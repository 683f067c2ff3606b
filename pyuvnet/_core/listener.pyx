"""Listening: the handle that a server listens on is bound, opened, taken over and closed.

Owns: the lookup of a host to listen on, a listener that is on its way from another loop, and the
options of the listening socket.  Imports: acceptor and below. The forms of listen() are Python's,
in pyuvnet/_server/listen.py, and so is close(), in pyuvnet/server.py.
"""

import os

from cpython.object cimport PyObject

from . cimport uv
from .accepting cimport listener_closed, listener_opened
from .acceptor cimport AcceptingServer
from .address cimport ip_family, sockaddr_from_text
from .admission cimport TICK_LISTENING, TICK_LITERAL_RESOLVED, TICK_SERVER_ERROR
from .dns cimport resolved_call, start_lookup
from .emitter cimport ON_ERROR
from .errors cimport lookup_error, state_error
from .hooks cimport HOOK_LISTEN_END, HOOK_LISTEN_ERROR, HOOK_LISTEN_START, hooked, publish
from .loop cimport this_thread
from .names import add_node_names
from .pipe cimport Pipe, new_pipe
from .socket_base cimport SocketBase
from .stream_handle cimport StreamHandle, change_option, get_option, handle_kind, set_option
from .tcp cimport TCP, new_tcp

cdef extern from "sockopt.h":
    int pyuvnet_accept_queue(const uv.uv_handle_t* handle, int* length, int* limit) noexcept
    int pyuvnet_present_backlog(const uv.uv_handle_t* handle) noexcept


cdef int _rights(bint readable, bint writable) noexcept:
    return (uv.UV_READABLE if readable else 0) | (uv.UV_WRITABLE if writable else 0)


cdef class ListeningServer(AcceptingServer):
    """The part of a server that has a listening handle."""

    # ---- Bound and opened ----------------------------------------------------------------------

    def _bind_tcp(self, str address not None, int port, bint ipv6_only, bint reuse_port):
        """Open and bind a TCP handle; returns a libuv status, with no handle left on failure."""
        cdef uv.sockaddr_storage storage
        cdef unsigned int flags = 0
        cdef TCP tcp
        self._ready()
        if not sockaddr_from_text(address, port, &storage):
            return uv.UV_EINVAL
        if ipv6_only:
            flags |= uv.UV_TCP_IPV6ONLY
        if reuse_port:
            flags |= uv.UV_TCP_REUSEPORT
        tcp = new_tcp(self._loop)
        return self._keep_handle(tcp, tcp.bind(<uv.sockaddr*>&storage, flags))

    def _bind_pipe(self, bytes path not None, bint readable, bint writable):
        """Open and bind a pipe handle; returns a libuv status, with no handle left on failure.

        readable, writable: everybody may read or write, for which Windows needs _give_rights() too.
        """
        cdef Pipe pipe
        self._ready()
        pipe = new_pipe(self._loop)
        return self._keep_handle(pipe, pipe.bind(path, _rights(readable, writable)))

    def _bind_mode(self, bytes path not None, int mode, long group):
        """_bind_pipe() to a path with a mode and a group, each -1 if it is not given."""
        cdef Pipe pipe
        self._ready()
        pipe = new_pipe(self._loop)
        return self._keep_handle(pipe, pipe.bind_mode(path, mode, group))

    cdef int _keep_handle(self, StreamHandle fresh, int status) except? -1:
        """Take over an opened handle, or close it if its status is an error."""
        if status >= 0 and self._handle is None:
            self._own(fresh)
            self._handle = fresh
            return status
        fresh.close()
        if status >= 0:
            # Meanwhile a finaliser has called listen().
            raise state_error(
                "ERR_SERVER_ALREADY_LISTEN",
                "Listen method has been called more than once without closing.")
        return status

    def _take_handle(self, StreamHandle handle not None):
        """Take over a bound handle that has no owner."""
        self._ready()
        self._keep_handle(handle, 0)

    def _open_fd(self, fd):
        """Take a descriptor over; returns a libuv status, with no handle left on failure."""
        cdef str kind = handle_kind(fd)
        cdef TCP tcp
        cdef Pipe pipe
        self._ready()
        if kind == "TCP":
            tcp = new_tcp(self._loop)
            return self._keep_handle(tcp, tcp.open(fd))
        if kind == "PIPE":
            pipe = new_pipe(self._loop)
            return self._keep_handle(pipe, pipe.open(fd))
        return uv.UV_EINVAL

    def _share_handle(self, other):
        """Open the kernel's socket of another server or socket anew; each closes its descriptor.

        Returns a libuv status, with no handle left on failure.
        """
        cdef StreamHandle handle
        cdef int fd, status = 0
        self._ready()
        if isinstance(other, ListeningServer):
            handle = (<ListeningServer>other)._handle
        else:
            handle = (<SocketBase?>other)._handle
        fd = -1 if handle is None else handle.fileno()
        if fd < 0:
            return uv.UV_ENOTSUP
        try:
            fd = os.dup(fd)
        except OSError as error:
            status = -error.errno
        if status < 0:
            return status
        status = self._open_fd(fd)
        if status < 0:
            os.close(fd)
        return status

    def _set_options(self, list options not None):
        """Set options of the listener, (level, name, value) each.

        Returns a libuv status, with no handle left on failure.
        """
        cdef int status
        self._ready()
        for level, name, value in options:
            status = set_option(self._handle, level, name, value)
            if status < 0:
                self._close_handle()
                return status
        return 0

    def _give_rights(self, bint readable, bint writable):
        """Let everybody use a named pipe; returns a libuv status, with no handle on failure."""
        cdef int status
        self._ready()
        if self._handle is None:
            # A subscriber of a hook has closed the server meanwhile.
            return 0
        status = (<Pipe?>self._handle).give_rights(_rights(readable, writable))
        if status < 0:
            self._close_handle()
        return status

    def _keep_file(self):
        """Keep the file of the path when the server is closed, because the server did not make it.
        """
        self._ready()
        if isinstance(self._handle, Pipe):
            (<Pipe>self._handle)._path = None

    # ---- listen() and close() ------------------------------------------------------------------

    def _announce_listen(self, options):
        """Publish that listen() was accepted; options() is called for the message's options."""
        if hooked(HOOK_LISTEN_START):
            publish(HOOK_LISTEN_START, {"server": self, "options": options()})

    def _look_up(self, str hostname not None, looked_up):
        """Begin a lookup that calls looked_up(error, addresses). An address needs only a tick."""
        cdef int family = ip_family(hostname)
        self._ready()
        self._cancel_lookup()
        self._looked_up = looked_up
        if family:
            self._loop.tick(self, TICK_LITERAL_RESOLVED, (looked_up, hostname, family))
            return
        try:
            self._lookup = start_lookup(
                self._loop, self, <resolved_call><void*>_resolved, hostname, 0, 0)
        except OSError as error:
            self._looked_up = None
            self._listen_failed(error)

    def _cancel_lookup(self):
        """Forget a lookup that is not over."""
        _over, self._looked_up = self._looked_up, None
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None

    def _start_listening(self, int backlog, bint accepts=True):
        """Listen on the bound handle; returns a libuv status, with no handle left on failure.

        accepts: False if another process accepts, and this server gets connections by _deliver().
        """
        cdef StreamHandle handle
        cdef int status = 0
        self._ready()
        handle = self._handle
        if handle is None:
            return uv.UV_EBADF
        self._give_up_moving()
        self._waiting_accepts = 0
        self._ending = False
        try:
            listener_opened(handle)
            if accepts:
                self._note_manner(handle)
                status = handle.listen(backlog)
        except BaseException:
            self._close_handle()
            raise
        if status < 0:
            self._close_handle()
            return status
        self._backlog = backlog
        if self._unref:
            handle.unref()
        if hooked(HOOK_LISTEN_END):
            publish(HOOK_LISTEN_END, {"server": self})
            if self._handle is not handle:
                return 0
        self._loop.tick(self, TICK_LISTENING, None)
        return 0

    def _listen_failed(self, error):
        """listen() has failed: emit 'error' in the next tick."""
        self._ready()
        if hooked(HOOK_LISTEN_ERROR):
            publish(HOOK_LISTEN_ERROR, {"server": self, "error": error})
        self._loop.tick(self, TICK_SERVER_ERROR, error)

    def _lookup_failed(self, error):
        """The lookup of listen()'s host has failed: emit 'error' at once, as Node does."""
        if hooked(HOOK_LISTEN_ERROR):
            publish(HOOK_LISTEN_ERROR, {"server": self, "error": error})
        self._emit1(ON_ERROR, error)

    def _close_handle(self):
        """Stop accepting; returns whether there was a handle."""
        cdef StreamHandle handle
        self._ready()
        self._give_up_moving()
        handle = self._handle
        if handle is None:
            return False
        self._handle = None
        listener_closed(handle)
        handle.owner = None
        handle.close()
        self._end_headers()
        self._loop.touched()
        return True

    cdef int _give_up_moving(self) except -1:
        """Close a listener that is on its way to this loop."""
        cdef PyObject* moving = self._moving
        if moving is not NULL:
            self._moving = NULL
            (<object>moving).give_up()
        return 0

    def _next_tick(self, callback):
        """Queue a callback on this server's loop."""
        self._ready()
        self._loop.tick_call(callback, ())

    # ---- What it is now ------------------------------------------------------------------------

    @property
    def listening(self):
        """True while the server has a handle. Node: server.listening"""
        return self._handle is not None

    @property
    def _open(self):
        """Whether it listens, or will when its host is looked up or its listener arrives."""
        return self._handle is not None or self._looked_up is not None or self._moving is not NULL

    @property
    def _moves(self):
        """Whether its listener is on its way to this loop."""
        return self._moving is not NULL

    @property
    def _running(self):
        """Whether 'close' is still to come: it listens, or will, or has connections."""
        return self._handle is not None or self._looked_up is not None \
            or self._moving is not NULL or self._connections > 0 or self._close_queued

    def _local_name(self):
        """(address, port, family) of a TCP server, None for IPC or without handle."""
        if isinstance(self._handle, TCP):
            return (<TCP>self._handle).sockname()
        return None

    def _accept_queue(self):
        """(length, limit) of the kernel's queue of new connections; None in another thread."""
        cdef int length = 0, limit = 0
        if self._loop.thread != this_thread() or not isinstance(self._handle, TCP) \
                or pyuvnet_accept_queue(self._handle._uv, &length, &limit) < 0:
            return None
        return length, limit

    def _present_backlog(self):
        """The limit of the kernel's queue; the largest int if it is unknown, -1 before listen()."""
        self._ready()
        return -1 if self._handle is None else pyuvnet_present_backlog(self._handle._uv)

    # ---- What a program may ask of its socket --------------------------------------------------

    def set_option(self, level, name, value):
        """Set an option of the kernel's socket, like setsockopt().

        Args:
            level, name: int, such as SOL_SOCKET and SO_RCVBUF of the standard library's socket
                module.
            value: int or bool, for an option that is a C int; or bytes-like.

        Returns the server.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE); OSError (syscall
            'setsockopt'), EBADF without a socket.

        Node: none
        """
        self._ready()
        change_option(self._handle, level, name, value)
        return self

    def get_option(self, level, name, size=None):
        """Return an option of the kernel's socket, like getsockopt().

        Args:
            level, name: as for set_option().
            size: int 1..1024, the most bytes to return; default None, for a C int.

        Returns: int, or bytes if a size is given.
        Raises: as set_option(), with the syscall 'getsockopt'.

        Node: none
        """
        self._ready()
        return get_option(self._handle, level, name, size)

    def fileno(self):
        """Return the descriptor, which the server still owns; -1 without one, and on Windows.

        Node: none (socket._handle.fd)
        """
        self._ready()
        return -1 if self._handle is None else self._handle.fileno()

    def ref(self):
        """Keep the loop alive while open (the default). Returns the server. Node: server.ref()"""
        self._ready()
        self._unref = False
        if self._handle is not None:
            self._handle.ref()
        return self

    def unref(self):
        """Do not keep the loop alive any more. Returns the server. Node: server.unref()"""
        self._ready()
        self._unref = True
        if self._handle is not None:
            self._handle.unref()
        return self


cdef int _resolved(ListeningServer self, int status, list addresses) except -1:
    looked_up, lookup = self._looked_up, self._lookup
    self._looked_up = self._lookup = None
    looked_up(lookup_error(status, lookup.hostname) if status < 0 else None, addresses)
    return 0


add_node_names(ListeningServer)

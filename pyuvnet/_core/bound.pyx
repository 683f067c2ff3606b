"""BoundBase: what BoundSocket owns: a bound handle, until a server or socket adopts it.

Imports: tcp, pipe and below.  Options and their checks are Python's, in pyuvnet/boundsocket.py.
"""

from . cimport uv
from .address cimport sockaddr_from_text
from .capi cimport PyThread_get_thread_ident
from .errors cimport os_error, state_error
from .fork cimport fork_generation
from .loop cimport Loop
from .names import add_node_names
from .pipe cimport Pipe, new_pipe
from .stream_handle cimport StreamHandle, change_option, get_option
from .tcp cimport TCP, new_tcp
from .loop_registry cimport loop_for_new


def _close(StreamHandle handle):
    handle.close()


cdef class BoundBase:
    """The compiled part of BoundSocket."""

    def _bind_tcp(self, str address not None, int port, bint ipv6_only, bint reuse_port):
        """Open and bind a TCP handle. Raises: OSError (syscall 'bind')."""
        cdef uv.sockaddr_storage storage
        cdef unsigned int flags = 0
        cdef int status
        self._loop = loop_for_new()
        family = sockaddr_from_text(address, port, &storage)
        if ipv6_only and family == 6:
            flags |= uv.UV_TCP_IPV6ONLY
        if reuse_port:
            flags |= uv.UV_TCP_REUSEPORT
        cdef TCP tcp = new_tcp(self._loop)
        status = tcp.bind(<uv.sockaddr*>&storage, flags) if family else uv.UV_EINVAL
        if status == 0:
            # libuv reports a taken port when the name is read, and not before.
            status = tcp.bind_status()
        if status < 0:
            tcp.close()
            raise os_error(status, "bind", address, port)
        self._handle = tcp

    def _bind_pipe(self, bytes path not None):
        """Open and bind a pipe handle. Raises: OSError (syscall 'bind')."""
        self._loop = loop_for_new()
        cdef Pipe pipe = new_pipe(self._loop)
        cdef int status = pipe.bind(path)
        if status < 0:
            pipe.close()
            raise os_error(status, "bind")
        self._handle = pipe
        self._pipe = True

    cdef int _ready(self) except -1:
        if self._loop is None:
            raise state_error("ERR_NOT_CONSTRUCTED",
                              "BoundSocket.__init__() was not called; call super().__init__()")
        return self._loop.check()

    cdef StreamHandle _open(self):
        self._ready()
        if self._handle is None:
            raise state_error("ERR_SOCKET_HANDLE_ADOPTED",
                              "The bound socket has already been adopted by a server or socket")
        return self._handle

    def _refuse_second_init(self):
        if self._loop is not None:
            raise state_error("ERR_CONSTRUCTED_TWICE",
                              "BoundSocket.__init__() was called twice on the same object")

    def _check_open(self):
        """Raise unless the handle can be adopted. Raises: as _adopt()."""
        self._open()

    def _adopt(self):
        """Hand the handle over, once.

        Raises: StateError (ERR_SOCKET_HANDLE_ADOPTED) if it was adopted or closed.
        """
        cdef StreamHandle handle = self._open()
        self._handle = None
        return handle

    def _is_open(self):
        return self._handle is not None

    def _drop(self):
        """Close the handle of an object that is collected, in whichever thread that is.

        Returns whether there was one that only this object could have closed.
        """
        cdef StreamHandle handle = self._handle
        cdef Loop loop = self._loop
        self._handle = None
        if handle is None or loop.closed or loop.generation != fork_generation():
            return False
        if loop.thread_id == PyThread_get_thread_ident():
            handle.close()
            loop.touched()
        elif not loop.silent:
            loop.call_soon_threadsafe(_close, handle)
        return True

    def _local_name(self):
        """(address, port, family), None for IPC."""
        cdef StreamHandle handle = self._open()
        return (<TCP>handle).sockname() if isinstance(handle, TCP) else None

    def set_option(self, level, name, value):
        """Set an option of the kernel's socket, like setsockopt().

        Args:
            level, name: int, such as SOL_SOCKET and SO_RCVBUF of the standard library's socket
                module.
            value: int or bool, for an option that is a C int; or bytes-like.

        Returns the bound socket.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE); OSError (syscall
            'setsockopt'), EBADF without a socket.

        Node: none
        """
        change_option(self._open(), level, name, value)
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
        return get_option(self._open(), level, name, size)

    def _fileno(self):
        """The descriptor, -1 where there is none (Windows)."""
        return self._open().fileno()

    def _close(self):
        """Close the handle, which no server or socket has adopted."""
        cdef StreamHandle handle = self._open()
        self._handle = None
        handle.close()
        self._loop.touched()


add_node_names(BoundBase)

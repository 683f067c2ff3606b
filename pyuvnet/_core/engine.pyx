"""Engine: what turns plaintext into TLS records and back; it knows neither sockets nor loops.

Owns: the interface that the layer of tls.pyx calls, and its one implementation, on Python's `_ssl`:
an SSLObject between two MemoryBIOs. Another one could call libssl itself.

Rules:

* feed() is given whole records, and take() is called at most once for each of them, so that neither
  has to raise: an exception for "no more" costs as much as a record.
* No call raises. What fails does so for good, and `error` has the exception.
* Each call may let other threads run, and signal handlers: the caller looks at its state again.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.object cimport PyObject

from .._base.errors import StateError

from .errors cimport seal
from .shared cimport lock, pyuvnet_mutex, unlock

cdef extern from "Python.h":
    object PyObject_Call(object function, object arguments, PyObject* keywords)

# Of the module ssl, which programs without TLS do not import.
cdef pyuvnet_mutex _door           # of the four below, which are set together, once
cdef object _WantRead = None
cdef object _WantWrite = None
cdef object _ZeroReturn = None
cdef object _Error = None


cdef class Window:
    """Memory of the core's that `_ssl` reads from or writes to: a buffer without an owner.

    It lends out nothing but during a call.
    """

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.base, self.size, self.readonly, flags)


cdef class Engine:
    """The interface; see the head of the file."""

    cdef int handshake(self) noexcept:
        """Go on with the handshake: 1 when it is over, ENGINE_WANTS or ENGINE_FAILED."""
        return ENGINE_FAILED

    cdef int feed(self, const char* base, Py_ssize_t size) noexcept:
        """Take whole records of ciphertext; 0, or ENGINE_FAILED without memory."""
        return ENGINE_FAILED

    cdef Py_ssize_t take(self, char* base, Py_ssize_t room) noexcept:
        """Decrypt one record: how many bytes, or ENGINE_..."""
        return ENGINE_FAILED

    cdef Py_ssize_t give(self, const char* base, Py_ssize_t size) noexcept:
        """Encrypt one record, at most RECORD_SIZE bytes: how many, or ENGINE_FAILED."""
        return ENGINE_FAILED

    cdef bytes collect(self):
        """The ciphertext that has to leave, which may be none; None without memory."""
        return None

    cdef int end(self) noexcept:
        """Make the close_notify; 0, or ENGINE_FAILED."""
        return ENGINE_FAILED

    cdef object ssl_object(self):
        """The SSLObject behind it, if there is one."""
        return None


cdef class _PythonEngine(Engine):
    """An SSLObject between two MemoryBIOs."""

    cdef object _object                # the SSLObject
    cdef object _inner                 # what does its work in C, without a Python call between
    cdef object _incoming, _outgoing
    cdef object _end                   # sends close_notify
    cdef Window _window                # the loop's
    # Its read(): an object for the method, made for each call, may run a finaliser that uses the
    # window for another connection.
    cdef object _read
    cdef tuple _read_arguments

    cdef object ssl_object(self):
        return self._object

    cdef void _failed(self, object exc) noexcept:
        if self.error is None:
            self.error = exc

    cdef int handshake(self) noexcept:
        cdef int result = 1
        try:
            # Not that of `_inner`: this may be of a class of the program's, or of ours for
            # pre-shared keys.
            self._object.do_handshake()
        except _WantRead:
            result = ENGINE_WANTS
        except BaseException as exc:
            self._failed(exc)
            result = ENGINE_FAILED
        return result

    cdef int feed(self, const char* base, Py_ssize_t size) noexcept:
        cdef Window window = self._window
        cdef int result = 0
        window.base = <char*>base
        window.size = size
        window.readonly = True
        try:
            self._incoming.write(window)
        except BaseException as exc:
            self._failed(exc)
            result = ENGINE_FAILED
        return result

    cdef Py_ssize_t take(self, char* base, Py_ssize_t room) noexcept:
        cdef Window window = self._window
        cdef Py_ssize_t result = ENGINE_ENDED
        window.base = base
        window.size = room
        window.readonly = False
        try:
            result = PyObject_Call(self._read, self._read_arguments, NULL)
        except _WantRead:
            result = ENGINE_WANTS
        except _ZeroReturn:
            result = ENGINE_ENDED
        except BaseException as exc:
            # What has been read may be lost with it.
            self._failed(exc)
            result = ENGINE_FAILED
        return result

    cdef Py_ssize_t give(self, const char* base, Py_ssize_t size) noexcept:
        cdef Window window = self._window
        cdef Py_ssize_t result = ENGINE_FAILED
        window.base = <char*>base
        window.size = size
        window.readonly = True
        try:
            result = self._inner.write(window)
        except BaseException as exc:
            self._failed(exc)
            result = ENGINE_FAILED
        return result

    cdef bytes collect(self):
        cdef bytes found = None
        try:
            found = self._outgoing.read()
        except BaseException as exc:
            self._failed(exc)
        return found

    cdef int end(self) noexcept:
        cdef int result = 0
        try:
            self._end()
        except (_WantRead, _WantWrite):
            # The peer's is not there yet.
            pass
        except BaseException as exc:
            self._failed(exc)
            result = ENGINE_FAILED
        return result


cdef bint is_engines(object error) noexcept:
    """Whether an engine's error is its own, and not what a signal handler has raised.

    A handler may raise any OSError, such as TimeoutError; the engine raises those of ssl alone.
    """
    return isinstance(error, (_Error, MemoryError, StateError))


cdef int _learn_ssl() except -1:
    """Set the four errors, with the first engine."""
    global _WantRead, _WantWrite, _ZeroReturn, _Error
    cdef bint known
    lock(&_door)
    known = _WantRead is not None
    unlock(&_door)
    if known:
        return 0
    import ssl
    reads, writes, ends = ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLZeroReturnError
    error = ssl.SSLError
    lock(&_door)
    if _WantRead is None:
        _WantRead, _WantWrite, _ZeroReturn, _Error = reads, writes, ends, error
    unlock(&_door)
    return 0


cdef Engine new_engine(object ssl_object, object incoming, object outgoing, Window window):
    """An engine on an SSLObject and the two MemoryBIOs that it was made with."""
    cdef _PythonEngine engine = _PythonEngine.__new__(_PythonEngine)
    _learn_ssl()
    engine._object = ssl_object
    inner = getattr(ssl_object, "_sslobj", None)
    if inner is None:
        engine._inner, engine._end = ssl_object, ssl_object.unwrap
    else:
        engine._inner, engine._end = inner, inner.shutdown
    engine._incoming, engine._outgoing = incoming, outgoing
    engine._window = window
    engine._read = engine._inner.read
    # More than the window has: then it is filled.
    engine._read_arguments = (1 << 30, window)
    return engine


seal(Window)
seal(Engine)
seal(_PythonEngine)

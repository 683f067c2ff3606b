"""Engine: what turns plaintext into TLS records and back; it knows neither sockets nor loops.

Owns: the interface that the layer of tls.pyx calls, and its two implementations. Both are an
SSLObject of Python's `_ssl` between two MemoryBIOs, so that contexts, verification, handshakes and
everything that a program sees are Python's. They differ in who moves records: the first calls
the methods of these objects, the second calls the functions of libssl on the `SSL*` inside, which
costs neither Python calls nor objects. The second needs to find that pointer: `_find_libssl()`
trusts nothing that it has not checked, and any doubt means the first.

Rules:

* feed() is given whole records, and take() is called at most once for each of them, so that neither
  has to raise: an exception for "no more" costs as much as a record.
* No call raises. What fails does so for good, and `error` has the exception.
* Each call may let other threads run, and signal handlers: the caller looks at its state again.
"""

import _ssl
import os
import sys
from types import SimpleNamespace

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.string cimport memcpy

from .._base.errors import StateError

from . cimport uv
from .capi cimport PyBytes_AS_STRING
from .errors cimport seal, state_error
from .shared cimport GIL_DISABLED, lock, pyuvnet_mutex, unlock

cdef extern from "Python.h":
    ctypedef struct PyInterpreterState:
        pass

    PyInterpreterState* PyInterpreterState_Get()
    PyInterpreterState* PyInterpreterState_Main()
    object PyObject_Call(object function, object arguments, PyObject* keywords)

cdef object _CLEARED = state_error("ERR_INVALID_STATE", "The connection is gone")
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

    cdef str name(self):
        return ""

    cdef bint verify_only(self) noexcept:
        """Verify the peer's certificate without failing; False: this engine cannot."""
        return False

    cdef long verify_result(self) noexcept:
        """OpenSSL's number of what is wrong with the certificate; 0: nothing; -1: unknown."""
        return -1


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

    cdef str name(self):
        return "python"

    cdef void _failed(self, object exc) noexcept:
        if self.error is None:
            self.error = exc

    cdef int _is_cleared(self) noexcept:
        if self.error is None:
            self.error = _CLEARED
        return ENGINE_FAILED

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
        if window is None:
            # A garbage collection has cleared this.
            return self._is_cleared()
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
        if window is None:
            # A garbage collection has cleared this.
            return self._is_cleared()
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
        if window is None:
            # A garbage collection has cleared this.
            return self._is_cleared()
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


# ---- libssl --------------------------------------------------------------------------------------

cdef enum:
    SSL_ERROR_WANT_READ = 2
    SSL_ERROR_ZERO_RETURN = 6
    SSL_VERIFY_PEER = 1
    BIO_CTRL_PENDING = 10

# Where an object of _ssl has its pointer, in words: the same in all CPythons that were tried.
cdef enum:
    CONTEXT_SSL_CTX = 2
    BIO_BIO = 2
    SOCKET_SOCKET = 2                  # a weak reference, or NULL with BIOs
    SOCKET_SSL = 3
    SOCKET_CONTEXT = 4
    SOCKET_HOST = 7

_TRIED = ((3, 11), (3, 12), (3, 13))
_PROTOCOL_TLS_CLIENT = 16              # ssl.PROTOCOL_TLS_CLIENT

ctypedef int (*_Verify)(int verified, void* store) noexcept nogil

cdef struct _Functions:
    int (*read)(void* ssl, void* base, size_t room, size_t* count) noexcept
    int (*write)(void* ssl, const void* base, size_t size, size_t* count) noexcept
    int (*get_error)(const void* ssl, int result) noexcept
    void* (*get_context)(const void* ssl) noexcept
    void* (*get_incoming)(const void* ssl) noexcept
    void* (*get_outgoing)(const void* ssl) noexcept
    void (*set_verify)(void* ssl, int mode, _Verify callback) noexcept
    long (*get_verify_result)(const void* ssl) noexcept
    int (*bio_read)(void* bio, void* base, int room) noexcept
    int (*bio_write)(void* bio, const void* base, int size) noexcept
    long (*bio_ctrl)(void* bio, int command, long number, void* pointer) noexcept
    void (*clear_errors)() noexcept
    unsigned long (*version)() noexcept

cdef _Functions _libssl                # valid once chosen() is 'libssl'
# What chosen() returns, once that is known.
cdef tuple _choice = None


cdef int _go_on(int verified, void* store) noexcept nogil:
    """Called by libssl for each certificate: the handshake goes on, and the result is kept."""
    return 1


cdef inline void* _word(object whose, int index) noexcept:
    return (<void**><void*>whose)[index]


cdef bint _has_layout(object ssl_object, object incoming, object outgoing):
    """Whether the pointers stand in these objects where they are expected.

    The neighbours of the `SSL*` are compared before libssl is given it, and then what libssl says
    of it is compared with what the other objects hold.
    """
    cdef void* ssl
    inner = getattr(ssl_object, "_sslobj", None)
    # A program may have put something else there; of these types there are no subclasses.
    if type(inner) is not _ssl._SSLSocket or type(incoming) is not _ssl.MemoryBIO \
            or type(outgoing) is not _ssl.MemoryBIO:
        return False
    context = inner.context
    host = inner.server_hostname
    if not isinstance(context, _ssl._SSLContext):
        return False
    if min(type(inner).__basicsize__, type(context).__basicsize__) \
            < (SOCKET_HOST + 1) * <int>sizeof(void*) \
            or type(incoming).__basicsize__ < (BIO_BIO + 1) * <int>sizeof(void*):
        return False
    if _word(inner, SOCKET_SOCKET) is not NULL \
            or _word(inner, SOCKET_CONTEXT) is not <void*>context \
            or _word(inner, SOCKET_HOST) is not (NULL if host is None else <void*>host):
        return False
    ssl = _word(inner, SOCKET_SSL)
    return (
        ssl is not NULL
        and _libssl.get_context(ssl) is _word(context, CONTEXT_SSL_CTX)
        and _libssl.get_incoming(ssl) is _word(incoming, BIO_BIO)
        and _libssl.get_outgoing(ssl) is _word(outgoing, BIO_BIO)
    )


cdef str _find_libssl():
    """Fill `_libssl` from the library that `_ssl` has loaded; returns why not, or ''."""
    cdef uv.uv_lib_t library, program
    cdef void* found[13]
    cdef void* other
    cdef int index
    if GIL_DISABLED or sizeof(PyObject) != 2 * sizeof(void*):
        return "this build of Python runs without a global lock"
    if PyInterpreterState_Get() != PyInterpreterState_Main():
        # A callback of _ssl would wait for a lock that this thread has.
        return "this is not the main interpreter"
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in _TRIED:
        return "it was not tried with this version of Python"
    file = getattr(_ssl, "__file__", None)
    if file is None:
        return "Python's ssl is a part of the interpreter"
    # Neither is closed: _ssl and the program stay loaded.
    if uv.uv_dlopen(os.fsencode(file), &library) < 0 or uv.uv_dlopen(NULL, &program) < 0:
        return "Python's ssl cannot be looked into"
    names = (
        b"SSL_read_ex", b"SSL_write_ex", b"SSL_get_error", b"SSL_get_SSL_CTX", b"SSL_get_rbio",
        b"SSL_get_wbio", b"SSL_set_verify", b"SSL_get_verify_result", b"BIO_read", b"BIO_write",
        b"BIO_ctrl", b"ERR_clear_error", b"OpenSSL_version_num",
    )
    for index, name in enumerate(names):
        if uv.uv_dlsym(&library, name, &found[index]) < 0 or found[index] is NULL:
            return f"Python's ssl hides {name.decode()}()"
        # What the program itself has, or what was preloaded, is what _ssl is linked with.
        if uv.uv_dlsym(&program, name, &other) == 0 and other is not NULL \
                and other is not found[index]:
            return "the program has another libssl"
    memcpy(&_libssl, found, sizeof(_libssl))
    if _libssl.version() != <unsigned long>_ssl.OPENSSL_VERSION_NUMBER:
        return "Python's ssl runs on another version of OpenSSL"
    incoming, outgoing = _ssl.MemoryBIO(), _ssl.MemoryBIO()
    context = _ssl._SSLContext(_PROTOCOL_TLS_CLIENT)
    inner = context._wrap_bio(incoming, outgoing, server_side=False, server_hostname="localhost")
    # In place of an SSLObject, whose class a program may have replaced.
    if not _has_layout(SimpleNamespace(_sslobj=inner), incoming, outgoing):
        return "Python's ssl keeps its pointers elsewhere"
    return ""


def chosen():
    """Which engine new connections get: ('libssl', ''), or ('python', why not libssl).

    The environment is read once.

    Raises: StateError (ERR_FEATURE_UNAVAILABLE_ON_PLATFORM) if PYUVNET_TLS_ENGINE wants another.
    """
    global _choice
    cdef tuple choice
    lock(&_door)
    choice = _choice
    unlock(&_door)
    if choice is None:
        # Twice in two threads does no harm: they find the same.
        choice = _choose(os.environ.get("PYUVNET_TLS_ENGINE", ""))
        lock(&_door)
        _choice = choice
        unlock(&_door)
    return choice


def _choose(wanted):
    if wanted not in ("", "python", "libssl"):
        raise state_error(
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            f"PYUVNET_TLS_ENGINE must be 'python' or 'libssl'. Received {wanted!r}")
    if wanted == "python":
        return "python", "PYUVNET_TLS_ENGINE is 'python'"
    try:
        why = _find_libssl()
    except MemoryError:
        raise
    except Exception as error:
        why = f"looking for it raised {error!r}"
    if not why:
        return "libssl", ""
    if wanted:
        raise state_error(
            "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            f"PYUVNET_TLS_ENGINE is 'libssl', which cannot be called: {why}")
    return "python", why


cdef class _LibsslEngine(_PythonEngine):
    """The same objects, with records moved by libssl's own functions.

    What is no plain success goes to Python's methods: they find the same state, OpenSSL's queue of
    errors included, and raise the right exception for it.
    """

    cdef void* _ssl
    cdef void* _from_peer
    cdef void* _to_peer
    cdef bint _only_python             # a callback may raise, which only Python's methods tell

    cdef str name(self):
        return "libssl"

    cdef bint verify_only(self) noexcept:
        if self._inner is None:
            return False
        _libssl.set_verify(self._ssl, SSL_VERIFY_PEER, _go_on)
        return True

    cdef long verify_result(self) noexcept:
        return -1 if self._inner is None else _libssl.get_verify_result(self._ssl)

    cdef int feed(self, const char* base, Py_ssize_t size) noexcept:
        # Without _inner a garbage collection has cleared this, and the pointers lead nowhere.
        if self._inner is not None and _libssl.bio_write(self._from_peer, base, <int>size) == size:
            return 0
        return <int>self._settled(_PythonEngine.feed(self, base, size))

    cdef Py_ssize_t _settled(self, Py_ssize_t result) noexcept:
        """What Python's method returned where libssl's function had failed.

        It may have succeeded, if there is memory again. The error of the first call would be taken
        for one of the next connection.
        """
        _libssl.clear_errors()
        return result

    cdef Py_ssize_t take(self, char* base, Py_ssize_t room) noexcept:
        cdef size_t count = 0
        cdef int reason
        if self._inner is None or self._only_python:
            return _PythonEngine.take(self, base, room)
        if _libssl.read(self._ssl, base, room, &count) == 1:
            return <Py_ssize_t>count if count else ENGINE_WANTS
        reason = _libssl.get_error(self._ssl, 0)
        if reason == SSL_ERROR_WANT_READ:
            return ENGINE_WANTS
        if reason == SSL_ERROR_ZERO_RETURN:
            return ENGINE_ENDED
        return self._settled(_PythonEngine.take(self, base, room))

    cdef Py_ssize_t give(self, const char* base, Py_ssize_t size) noexcept:
        cdef size_t count = 0
        if self._inner is None or self._only_python:
            return _PythonEngine.give(self, base, size)
        if _libssl.write(self._ssl, base, size, &count) == 1:
            return <Py_ssize_t>count
        return self._settled(_PythonEngine.give(self, base, size))

    cdef bytes collect(self):
        cdef bytes found = None
        cdef long size
        if self._inner is None:
            return _PythonEngine.collect(self)
        size = _libssl.bio_ctrl(self._to_peer, BIO_CTRL_PENDING, 0, NULL)
        if size <= 0:
            return b""
        try:
            found = PyBytes_FromStringAndSize(NULL, size)
        except MemoryError as exc:
            self._failed(exc)
        if found is not None \
                and _libssl.bio_read(self._to_peer, PyBytes_AS_STRING(found), <int>size) != size:
            _libssl.clear_errors()
            found = _PythonEngine.collect(self)
        return found

    cdef int handshake(self) noexcept:
        cdef int result = _PythonEngine.handshake(self)
        if result == 1 and self._inner is not None \
                and self._inner.context._msg_callback is not None:
            # It came with a context that was chosen meanwhile.
            self._only_python = True
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
    cdef _PythonEngine engine
    cdef _LibsslEngine direct
    _learn_ssl()
    # A program may listen to messages, and its listener may raise.
    if chosen()[0] == "libssl" and _has_layout(ssl_object, incoming, outgoing) \
            and ssl_object.context._msg_callback is None:
        direct = _LibsslEngine.__new__(_LibsslEngine)
        direct._ssl = _word(ssl_object._sslobj, SOCKET_SSL)
        direct._from_peer = _libssl.get_incoming(direct._ssl)
        direct._to_peer = _libssl.get_outgoing(direct._ssl)
        engine = direct
    else:
        engine = _PythonEngine.__new__(_PythonEngine)
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
seal(_LibsslEngine)

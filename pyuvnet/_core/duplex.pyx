"""Duplex: a readable and a writable half in one object, and how user code provides them.

A subclass defines `_read(size)`, `_write(chunk, encoding, callback)` or `_writev(chunks,
callback)`, `_final(callback)` and `_destroy(error, callback)`, as in Node; a socket overrides the
C methods instead and never comes through here.  Imports: readable, writable, errors.
"""

from .names import add_node_names
from .readable cimport Readable, r_set_encoding
from .stream cimport *
from .writable cimport *


cdef class Duplex(Readable):
    """A stream of bytes both ways; subclass it and give it `_read` and `_write`.

    Args:
        options: a mapping of the options below; keywords win over it.
        allow_half_open: bool, default True: 'end' does not end the writable side.
        high_water_mark, readable_high_water_mark, writable_high_water_mark: int, bytes; the
            common one wins; default get_default_high_water_mark().
        readable, writable: bool, default True: False disables that side.
        encoding, default_encoding: as of Readable and Writable.
        auto_destroy, emit_close: bool, default True.

    Events: those of Readable, and 'drain', 'finish', 'pipe' (source), 'unpipe' (source).
    Raises: as Readable and Writable do.

    Node: stream.Duplex
    """

    def __init__(self, options=None, **keywords):
        cdef dict given = stream_options(options, keywords)
        self._init_emitter(given.get("capture_rejections"))
        self._init_stream(
            flag_option(given, "readable", HAS_READABLE)
            | flag_option(given, "writable", HAS_WRITABLE)
            | flag_option(given, "allow_half_open", ALLOW_HALF_OPEN)
            | flag_option(given, "auto_destroy", AUTO_DESTROY)
            | flag_option(given, "emit_close", EMIT_CLOSE),
            mark_option(given, "readable_high_water_mark", False),
            mark_option(given, "writable_high_water_mark", False))
        if given.get("encoding") is not None:
            r_set_encoding(self, given["encoding"])
        if given.get("default_encoding") is not None:
            w_set_default_encoding(self, given["default_encoding"])

    # ---- From user code ------------------------------------------------------------------------

    cdef int _begin_write(self, object chunk, Py_ssize_t size, bint wants_answer) except -1:
        return w_user_write(self, chunk, size)

    cdef int _begin_queue(self) except -1:
        return w_user_queue(self)

    cdef int _begin_final(self) except -1:
        return w_user_final(self)

    # ---- The writable face ---------------------------------------------------------------------

    def write(self, chunk, encoding=None, callback=None):
        """Write a chunk; nothing is copied.

        Args:
            chunk: bytes-like (kept, and not to be changed, until the callback) or str.
            encoding: of a str, default 'utf8'.
            callback: callable(error or None), when the chunk was handed to the kernel.

        Returns: bool, False when the writer should wait for 'drain'.
        Raises: ArgTypeError (ERR_STREAM_NULL_VALUES, ERR_INVALID_ARG_TYPE,
            ERR_UNKNOWN_ENCODING).
        Events: 'error' (ERR_STREAM_WRITE_AFTER_END) after end().

        Node: writable.write()
        """
        self._ready()
        return w_write(self, chunk, encoding, callback)

    def end(self, chunk=None, encoding=None, callback=None):
        """Write a last chunk, if given, and end the writable side.

        Args:
            chunk, encoding: as for write().
            callback: callable(error or None), right before 'finish'.

        Returns the stream. Events: 'finish'.

        Node: writable.end()
        """
        self._ready()
        w_end(self, chunk, encoding, callback)
        return self

    def cork(self):
        """Queue writes until as many uncork() calls, or end(). Node: writable.cork()"""
        self._ready()
        w_cork(self)

    def uncork(self):
        """Undo one cork(); the last one sends the queue at once. Node: writable.uncork()"""
        self._ready()
        w_uncork(self)

    def set_default_encoding(self, encoding=None):
        """Set the encoding of str chunks written without one.

        Returns the stream. Raises: ArgTypeError (ERR_UNKNOWN_ENCODING).

        Node: writable.setDefaultEncoding()
        """
        self._ready()
        w_set_default_encoding(self, encoding)
        return self

    @property
    def writable(self):
        """True while write() is possible. Node: writable.writable"""
        return bool(w_writable(self))

    @property
    def writable_length(self):
        """Bytes accepted and not yet taken by the kernel. Node: writable.writableLength"""
        self._flush()
        return self.w_length

    @property
    def writable_high_water_mark(self):
        """From how many bytes on write() returns False. Node: writable.writableHighWaterMark"""
        return self.w_mark

    @property
    def writable_need_drain(self):
        """True when a write returned False and 'drain' is due. Node: writable.writableNeedDrain"""
        self._flush()
        return bool(self._state & W_NEED_DRAIN and not self._state & (W_ENDING | DESTROYED))

    @property
    def writable_ended(self):
        """True once end() was called. Node: writable.writableEnded"""
        return bool(self._state & W_ENDING)

    @property
    def writable_finished(self):
        """True once 'finish' is emitted. Node: writable.writableFinished"""
        return bool(self._state & W_FINISHED)

    @property
    def writable_corked(self):
        """How many uncork() calls are due. Node: writable.writableCorked"""
        return self.w_corked

    @property
    def writable_object_mode(self):
        """Always False: streams are of bytes. Node: writable.writableObjectMode"""
        return False

    @property
    def writable_aborted(self):
        """True if destroyed or failed before 'finish'. Node: writable.writableAborted"""
        return bool(self._state & HAS_WRITABLE and self._state & (DESTROYED | ERRORED)
                    and not self._state & W_FINISHED)

    @property
    def allow_half_open(self):
        """True when 'end' leaves the writable side open. Node: duplex.allowHalfOpen"""
        return bool(self._state & ALLOW_HALF_OPEN)

    @allow_half_open.setter
    def allow_half_open(self, value):
        if value:
            self._state |= ALLOW_HALF_OPEN
        else:
            self._state &= ~ALLOW_HALF_OPEN

    cdef int _on_tick(self, int what, object argument) except -1:
        if not w_tick(self, what, argument):
            return Readable._on_tick(self, what, argument)
        return 0


add_node_names(Duplex)

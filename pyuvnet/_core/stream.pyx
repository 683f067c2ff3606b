"""Stream: what both sides share: destruction, errors, 'close', and the defaults.

Rules of this file (Node's): the first destroy() counts, 'error' is emitted at most once, 'close'
after it and last; an error of either side destroys the whole stream.  No file of this group
(stream, readable, writable, duplex) knows libuv, so that tests drive it without a network.
Imports: owner, loop (for ticks), errors.
"""

import sys

from .._base.option_table import option_set
from .._base.options import read_high_water_mark, refuse_object_mode
from .._base.validation import arg_type_error, validate_integer

from .errors cimport seal, state_error
from .owner cimport Collector
from .loop_registry cimport loop_of_thread
from .upcalls cimport ENTER_STREAM, EXIT_STREAM, later, upcall

cdef Py_ssize_t _mark = 16384 if sys.platform == "win32" else 65536
cdef Py_ssize_t _object_mark = 16


cdef Py_ssize_t default_mark() noexcept:
    return _mark


# What Readable, Writable and Duplex take; as in Node, one mapping may serve all of them.
cdef object _options = option_set("stream", "Readable", "Writable", "Duplex")


cdef dict stream_options(object options, dict keywords):
    """Sort constructor options: a mapping, keywords, or both, in either spelling."""
    cdef dict given = _options.read(options, keywords)
    refuse_object_mode(given)
    return given


cdef unsigned int flag_option(dict options, str name, unsigned int flag) except? 0:
    """A flag of the state, on unless the option says otherwise."""
    value = options.get(name)
    return flag if value is None or value else 0


cdef Py_ssize_t mark_option(dict options, str name, bint one_sided) except -1:
    """A high-water mark out of constructor options; the common one wins."""
    cdef Py_ssize_t mark = read_high_water_mark(options, name, one_sided)
    return _mark if mark < 0 else mark


def get_default_high_water_mark(object_mode=False):
    """Return the default high-water mark in bytes (65536; 16384 on Windows).

    Args:
        object_mode: bool, default False; True: that of streams of objects, which nothing here uses.

    Node: stream.getDefaultHighWaterMark()
    """
    return _object_mark if object_mode else _mark


def set_default_high_water_mark(object_mode, value):
    """Set the default high-water mark of streams made later.

    Args:
        object_mode: True sets the mark of object streams, which pyuvnet only stores.
        value: int >= 0, bytes.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: stream.setDefaultHighWaterMark()
    """
    global _mark, _object_mark
    value = validate_integer(value, "value", 0, 2**53 - 1)
    if object_mode:
        _object_mark = value
    else:
        _mark = value


cdef class DestroyCallback:
    """The callback that a user's `_destroy(error, callback)` calls when it is done."""

    cdef Stream _stream
    cdef BaseException _error

    def __call__(self, error=None):
        self._stream._loop.check()
        self._stream._destroy_done(error if error is not None else self._error)


cdef class Stream(Collector):
    """The base of Readable, Writable and Duplex; not made by itself."""

    cdef int _init_stream(self, unsigned int state, Py_ssize_t read_mark,
                          Py_ssize_t write_mark) except -1:
        if self._loop is None:
            self._loop = loop_of_thread()
        # As if asked already: what is pushed before the first `_read` is buffered.
        self._state = state | R_SYNC
        self._flowing = FLOWING_UNASKED
        self._paused = -1
        self.r_mark = read_mark
        self.w_mark = write_mark
        return 0

    cdef int _refuse_second(self) except -1:
        """Refuse to make a stream again that is made once: it may be at work."""
        if self._loop is not None:
            raise state_error(
                "ERR_CONSTRUCTED_TWICE",
                f"{type(self).__name__}.__init__() was called on a stream that is made already")
        return 0

    cdef int _ready(self) except -1:
        """Refuse a stream whose __init__ never ran, another thread, and a fork's child."""
        if self._loop is None:
            raise state_error(
                "ERR_NOT_CONSTRUCTED",
                f"{type(self).__name__}.__init__() was not called; call super().__init__()")
        return self._loop.check()

    # ---- Destruction ---------------------------------------------------------------------------

    cdef int _destroy_with(self, BaseException error) except -1:
        """destroy(): only the first call counts."""
        if self._state & DESTROYED:
            return 0
        if error is not None:
            if self._errored is None:
                self._errored = error
            self._state |= ERRORED
        try:
            self._flush()
        except BaseException as exc:
            self._loop.report(exc)
        # A write that failed made its error, which is Python's.
        if self._state & DESTROYED:
            return 0
        self._state |= DESTROYED
        if self.w_waiting is not None or self.w_queue is not None \
                or self.w_end_callbacks is not None:
            try:
                self._loop.tick(self, TICK_FAIL_WRITES, None)
            except BaseException as exc:
                self._loop.report(exc)
        return self._do_destroy(error)

    cdef int _fail(self, BaseException error) except -1:
        """An operation failed: destroy with the error, or without auto_destroy emit it only."""
        if self._state & DESTROYED:
            return 0
        if self._state & AUTO_DESTROY:
            return self._destroy_with(error)
        self._errored_with(error)
        return self._emit_error(error)

    cdef int _fail_later(self, BaseException error) except -1:
        """The same from inside a call of the user: 'error' comes in a tick in any case."""
        if self._state & (AUTO_DESTROY | DESTROYED):
            return self._fail(error)
        self._errored_with(error)
        return self._loop.tick(self, TICK_ERROR, error)

    cdef int _errored_with(self, BaseException error) except -1:
        if self._errored is None:
            self._errored = error
        self._state |= ERRORED
        return 0

    cdef int _do_destroy(self, BaseException error) except -1:
        """Release what is below, then _destroy_done(): a user's `_destroy`, or a handle."""
        cdef DestroyCallback callback
        if not hasattr(self, "_destroy"):
            return self._destroy_done(error)
        callback = DestroyCallback.__new__(DestroyCallback)
        callback._stream = self
        callback._error = error
        try:
            self._destroy(error, callback)
        except Exception as exc:
            callback(exc)
        return 0

    cdef int _destroy_done(self, BaseException error) except -1:
        if self._state & CLOSED:
            return 0
        if error is not None:
            if self._errored is None:
                self._errored = error
            self._state |= ERRORED
        self._state |= CLOSED
        return self._loop.tick(
            self, TICK_ERROR_CLOSE if error is not None else TICK_CLOSE, error)

    def _rejected(self, error, event, arguments):
        self._fail(error)

    cdef int _emit_error(self, BaseException error) except -1:
        if self._state & ERROR_EMITTED:
            return 0
        self._state |= ERROR_EMITTED
        self._emit1("error", error)
        return 0

    cdef int _emit_close(self) except -1:
        self._state |= CLOSE_EMITTED
        if self._state & EMIT_CLOSE:
            self._emit0("close")
        return 0

    cdef int _on_tick(self, int what, object argument) except -1:
        if what == TICK_ERROR_CLOSE:
            # A failing 'error' listener must not cost the 'close'.
            try:
                self._emit_error(argument)
            finally:
                self._emit_close()
        elif what == TICK_CLOSE:
            self._emit_close()
        elif what == TICK_ERROR:
            self._emit_error(argument)
        return 0

    cdef object _read_chunk(self):
        """read(), where the class has none of its own."""
        return None

    cdef int _ask_source(self) except -1:
        return 0

    # What user code provides: _write, _writev and _final.

    cdef int _begin_write(self, object chunk, Py_ssize_t size, bint has_callback) except -1:
        return later.user_write(self, chunk, size)

    cdef int _begin_queue(self) except -1:
        return later.user_queue(self)

    cdef int _begin_final(self) except -1:
        return later.user_final(self)

    def destroy(self, error=None):
        """Destroy the stream: 'error' if one is given, then 'close'. Idempotent.

        Args:
            error: an exception, or None.

        Returns the stream. Unsent data are discarded.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE). Events: 'error' (error), 'close'.

        Node: stream.destroy()
        """
        self._ready()
        if error is not None and not isinstance(error, BaseException):
            raise arg_type_error("error", "Error", error)
        self._destroy_with(error)
        return self

    def __aenter__(self):
        """Return the stream. Node: none"""
        return upcall(ENTER_STREAM)(self)

    def __aexit__(self, kind, error, traceback):
        """Destroy the stream unless it is, and wait until it is done.

        Events: 'error' (AbortError) if 'end' was not emitted and somebody listens.
        Raises: the stream's error if it had one; StateError (ERR_STREAM_PREMATURE_CLOSE) if it
            had been destroyed, or its writable side was not finished.

        Node: stream[Symbol.asyncDispose]()
        """
        return upcall(EXIT_STREAM)(self, error)

    # What streams.finished() has to know and no public property has.

    @property
    def _has_readable(self):
        return bool(self._state & HAS_READABLE)

    @property
    def _has_writable(self):
        return bool(self._state & HAS_WRITABLE)

    @property
    def _will_emit_close(self):
        return bool(self._state & AUTO_DESTROY and self._state & EMIT_CLOSE
                    and not self._state & CLOSED)

    @property
    def _read_out(self):
        """True if the end is known and nothing is buffered."""
        return bool(self._state & R_ENDED and not self.r_length)

    @property
    def destroyed(self):
        """True from the first destroy(). Node: stream.destroyed"""
        return bool(self._state & DESTROYED)

    @property
    def closed(self):
        """True once destruction is done; 'close' follows or has been. Node: stream.closed"""
        return bool(self._state & CLOSED)

    @property
    def errored(self):
        """The error that destroyed the stream, or None. Node: stream.errored"""
        return self._errored


seal(DestroyCallback)

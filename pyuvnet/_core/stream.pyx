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

from .capi cimport hold_collector, release_collector
from .errors cimport os_error, seal, state_error, stream_destroyed, unconfirmed
from .framing cimport check_framing
from .names import add_node_names
from .owner cimport Collector
from .loop_registry cimport loop_for_new
from .shared cimport load, store
from .upcalls cimport ENTER_STREAM, EXIT_STREAM, later, upcall

cdef Py_ssize_t _mark = 16384 if sys.platform == "win32" else 65536
cdef Py_ssize_t _object_mark = 16


cdef Py_ssize_t default_mark() noexcept:
    return load(&_mark)


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
    return load(&_mark) if mark < 0 else mark


def get_default_high_water_mark(object_mode=False):
    """Return the default high-water mark in bytes (65536; 16384 on Windows).

    Args:
        object_mode: bool, default False; True: that of streams of objects, which nothing here uses.

    Node: stream.getDefaultHighWaterMark()
    """
    return load(&_object_mark) if object_mode else load(&_mark)


def set_default_high_water_mark(object_mode, value):
    """Set the default high-water mark of streams created later.

    Args:
        object_mode: True sets the mark of object streams, which pyuvnet only stores.
        value: int >= 0, bytes.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: stream.setDefaultHighWaterMark()
    """
    value = validate_integer(value, "value", 0, 2**53 - 1)
    store(&_object_mark if object_mode else &_mark, value)


# Steps of a stream that may be given as options, as in Node, in place of a method of a class.
cdef dict _STEPS = {
    "construct": "_construct", "destroy": "_destroy", "final": "_final", "read": "_read",
    "write": "_write", "writev": "_writev",
}


cdef class ConstructCallback:
    """The callback that a user's `_construct(callback)` calls when the stream may begin."""

    cdef Stream _stream

    def __call__(self, error=None):
        self._stream._loop.check()
        self._stream._loop.tick(self._stream, TICK_CONSTRUCTED, error)


cdef class DestroyCallback:
    """The callback that a user's `_destroy(error, callback)` calls when it is done."""

    cdef Stream _stream
    cdef BaseException _error

    def __call__(self, error=None):
        self._stream._loop.check()
        self._stream._destroy_done(error if error is not None else self._error)


cdef class StreamExtra:
    """The rare state of a stream; see stream.pxd."""


cdef class Reader:
    """What takes chunks out of a stream for a coroutine; iteration.pyx has the one of `async for`.

    From its begin to its end it owns the stream, and data wait for it as for a 'readable' listener.
    """

    cdef int arrived(self) except -1:
        """There may be something new: a chunk, the end, an error, or the stream is closed."""
        return 0

    cdef bint deliver(self, bytes chunk) noexcept:
        """Let the task that waits go on with a chunk, in a callback of the handle.

        Returns False if it has not taken it: then the chunk is to be buffered.
        """
        return False

    cdef bint hungry(self) noexcept:
        """Whether a task waits, for more than there is."""
        return False


cdef StreamExtra _NOTHING = StreamExtra.__new__(StreamExtra)
_NOTHING.shared = True


cdef class Stream(Collector):
    """The base of Readable, Writable and Duplex; not made by itself."""

    def __cinit__(self):
        self._rare = _NOTHING

    cdef StreamExtra _new_extra(self):
        cdef int held = hold_collector()
        try:
            return StreamExtra.__new__(StreamExtra)
        finally:
            release_collector(held)

    cdef int _init_stream(self, unsigned int state, Py_ssize_t read_mark,
                          Py_ssize_t write_mark) except -1:
        if self._loop is None:
            self._loop = loop_for_new()
        # As if asked already: what is pushed before the first `_read` is buffered.
        self._state = state | R_SYNC
        self._flowing = FLOWING_UNASKED
        self._paused = -1
        self.r_mark = read_mark
        self.w_mark = write_mark
        return 0

    # ---- What the program provides -------------------------------------------------------------

    cdef int _take_methods(self, dict given) except -1:
        """Keep the steps that were given as options; they come before methods of the class."""
        cdef dict methods = {}
        for option, name in _STEPS.items():
            function = given.get(option)
            if function is not None:
                if not callable(function):
                    raise arg_type_error(f"options.{option}", "function", function)
                methods[name] = function
        if methods:
            self.own_extra().methods = methods
        return 0

    def _set_method(self, str name not None, function):
        """Provide a step in place of the class's method, as an option does."""
        cdef dict methods = self.own_extra().methods
        if methods is None:
            methods = self._rare.methods = {}
        methods[name] = function

    cdef object _method(self, str name):
        """A step that the program provides, by an option or a method; None if it does not."""
        cdef dict methods = self._rare.methods
        if methods is not None and name in methods:
            return methods[name]
        return getattr(self, name, None)

    cdef int _begin_construct(self) except -1:
        """Call `_construct` in a tick, if there is one. Until it calls back, no other step is."""
        if self._method("_construct") is not None:
            self._coroutines |= CONSTRUCTING
            self._loop.tick(self, TICK_CONSTRUCT, None)
        return 0

    cdef int _construct_now(self) except -1:
        cdef ConstructCallback callback = ConstructCallback.__new__(ConstructCallback)
        callback._stream = self
        try:
            self._method("_construct")(callback)
        except Exception as exc:
            callback(exc)
        return 0

    cdef int _constructed(self, object error) except -1:
        if not self._coroutines & CONSTRUCTING:
            return self._fail(error if error is not None else state_error(
                "ERR_MULTIPLE_CALLBACK", "Callback called multiple times"))
        self._coroutines &= ~CONSTRUCTING
        if self._state & DESTROYED:
            # Which waited for this.
            return self._do_destroy(self._errored if self._errored is not None else error)
        if error is not None:
            return self._fail_later(error)
        return self._go_on()

    cdef int _go_on(self) except -1:
        """Do what has waited for `_construct`."""
        return 0

    cdef int _refuse_second(self) except -1:
        """Refuse to make a stream again that is made once: it may be at work."""
        if self._loop is not None:
            raise state_error(
                "ERR_CONSTRUCTED_TWICE",
                f"{type(self).__name__}.__init__() was called twice on the same object")
        return 0

    cdef int _ready(self) except -1:
        """Refuse a stream whose __init__ never ran, another thread, and a fork's child."""
        if self._loop is None:
            raise state_error(
                "ERR_NOT_CONSTRUCTED",
                f"{type(self).__name__}.__init__() was not called; call super().__init__()")
        return self._loop.check()

    cdef int _here(self) except -1:
        return self._loop.here() if self._loop is not None else 0

    # ---- Owners --------------------------------------------------------------------------------

    # A coroutine owns a stream while it is the listener of 'connection' that got it, in an
    # `async with` block, or reading by a Reader.  Meanwhile the peer's end leaves our side open: it
    # borrows ALLOW_HALF_OPEN, so that nothing has to look for owners while data flow.  When the
    # last owner leaves, the end() that is due is made.  An 'error' without listeners is not
    # unhandled meanwhile: the coroutine meets it when it next reads, writes or leaves.

    cdef int _add_owner(self) except -1:
        """One more owner."""
        self._ready()
        if self._owners < MANY_OWNERS:
            self._owners += 1
        self._lend()
        return 0

    cdef void _lend(self) noexcept:
        self._coroutines |= WAS_OWNED
        if not self._state & ALLOW_HALF_OPEN and not self._coroutines & HALF_OPEN_SET:
            self._state |= ALLOW_HALF_OPEN
            self._coroutines |= HALF_OPEN_LENT

    cdef int _remove_owner(self) except -1:
        """An owner leaves. There may be none, as after AsyncExitStack.push_async_exit(stream)."""
        if self._loop is not None and self._loop.closed:
            # The stream is closed too, and nothing waits for its owners.
            return 0
        self._ready()
        if 0 < self._owners < MANY_OWNERS:
            self._owners -= 1
        return self._owner_left()

    cdef int _owner_left(self) except -1:
        """Do what waited for the last owner to leave, if this was the last."""
        if self._owners or self.r_reader is not None:
            return 0
        if self._coroutines & HALF_OPEN_LENT:
            self._coroutines &= ~HALF_OPEN_LENT
            self._state &= ~ALLOW_HALF_OPEN
            if self._state & R_END_EMITTED and self._state & HAS_WRITABLE \
                    and not self._state & (W_ENDING | DESTROYED):
                self._refuse_writes_of_peer()
                self._loop.tick(self, TICK_AUTO_END, None)
        if self._coroutines & (ERROR_UNHEARD | ERROR_HEARD) == ERROR_UNHEARD \
                and (self._lost_writes() or not isinstance(self._errored, OSError)):
            # What the coroutine wrote is lost, or the program has made a mistake (that the peer or
            # the network has gone is neither), and the coroutine has not noticed.
            self._coroutines |= ERROR_HEARD
            self._loop.tick(self, TICK_UNHEARD, self._errored)
        return 0

    cdef bint _lost_writes(self) noexcept:
        """Whether something that was written has not been sent, or not been accepted."""
        return self.w_done != self.w_accepted or self._coroutines & WRITE_REFUSED != 0

    cdef int _refuse_writes_of_peer(self) except -1:
        """The end() is made because the peer has ended."""
        return 0

    cdef int _wake_readers(self) except -1:
        cdef Reader reader = self.r_reader, earlier
        while reader is not None:
            earlier = reader._earlier
            reader.arrived()
            reader = earlier
        return 0

    cdef int _unhandled_error(self, tuple arguments) except -1:
        # Only the stream's own error: what the program emits itself is its affair.
        if self._coroutines & EMITTING_ERROR and self._coroutines & WAS_OWNED:
            if self._owners or self.r_reader is not None:
                self._coroutines |= ERROR_UNHEARD
                return 0
            if self._coroutines & ERROR_HEARD:
                return 0
            if self._state & W_ENDING and not self._lost_writes() \
                    and isinstance(arguments[0], ConnectionError):
                # Its coroutine has left an ended stream, and all that was written is sent.
                return 0
        return Collector._unhandled_error(self, arguments)

    def _listener_failed(self, error, event, arguments, captured):
        if not captured:
            self._loop.blame(error, self)
        Collector._listener_failed(self, error, event, arguments, captured)

    cdef int _check_framing(self) except -1:
        """Refuse a framing where there can be none."""
        return 0

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
        if self._rare.w_waiting is not None or self.w_queue is not None \
                or self._rare.w_end_callbacks is not None:
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
        cdef object destroy
        if self._coroutines & CONSTRUCTING:
            return 0
        destroy = self._method("_destroy")
        if destroy is None:
            return self._destroy_done(error)
        callback = DestroyCallback.__new__(DestroyCallback)
        callback._stream = self
        callback._error = error
        try:
            destroy(error, callback)
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
        # It need not be _errored: that may be of a write that failed before, and was not emitted.
        if self._coroutines & WAS_OWNED and not self.listener_count("error"):
            self._coroutines |= EMITTING_ERROR
        try:
            self._emit1("error", error)
        finally:
            self._coroutines &= ~EMITTING_ERROR
            self._wake_readers()
        return 0

    cdef int _emit_close(self) except -1:
        self._state |= CLOSE_EMITTED
        try:
            if self._state & EMIT_CLOSE:
                self._emit0("close")
        finally:
            self._wake_readers()
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
        elif what == TICK_UNHEARD:
            Collector._unhandled_error(self, (argument,))
        elif what == TICK_CONSTRUCT:
            self._construct_now()
        elif what == TICK_CONSTRUCTED:
            self._constructed(argument)
        return 0

    cdef object _read_chunk(self):
        """read(), where the class has none of its own."""
        return None

    cdef int _ask_source(self) except -1:
        return 0

    # What user code provides: _construct, _write, _writev and _final.

    cdef int _begin_write(self, Write* write, bint has_callback) except -1:
        return later.user_write(self, write)

    cdef int _begin_queue(self) except -1:
        return later.user_queue(self)

    cdef int _begin_final(self) except -1:
        return later.user_final(self)

    cdef bint _may_queue(self, Py_ssize_t size) except -1:
        """Whether the queue has room for so many bytes more, with W_LIMITED."""
        return True

    cdef int _has_queued(self, Write* write) except -1:
        """A write was accepted, with W_LIMITED: destroy what is over its bound."""
        return 0

    cdef Py_ssize_t _most_queued(self) noexcept:
        """The bound of the queue in bytes."""
        return -1

    cdef void _queue_changed(self) noexcept:
        """The queue is shorter, or longer, than before, with W_LIMITED."""

    cdef object _failed_write(self, int status):
        """The exception of a write that failed with a libuv status."""
        return os_error(status, "write")

    def set_framing(self, framing):
        """Split arriving data into frames: each 'data', read() and step of `async for` gives one.

        write_frame() adds the same framing to a payload.

        Args:
            framing: one of pyuvnet.framing, or None to deliver data unframed.

        In a listener it takes effect behind the frame that was just given. What is buffered is cut
        anew; text that an encoding has made of it becomes bytes again. With an encoding each frame
        is decoded on its own. A frame that breaks the rules of the framing destroys the stream with
        a FrameError (ERR_FRAME_TOO_LONG, ERR_FRAME_INCOMPLETE, ERR_FRAME_INVALID).

        Returns the stream. Events: 'oversize' (bytes) for each line that is skipped.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE: a socket
            with onread).

        Node: none (readable.setEncoding() for boundaries)
        """
        self._ready()
        check_framing(framing, "framing")
        if framing is not None:
            self._check_framing()
        later.set_framing(self, framing)
        return self

    @property
    def framing(self):
        """The current framing, or None. Node: none"""
        return None if self._rare.r_cutter is None else self._rare.r_cutter.framing

    def destroy(self, error=None):
        """Destroy the stream: 'error' if one is given, then 'close'. Idempotent.

        Args:
            error: an exception, or None.

        Returns the stream. Unsent data is discarded.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE). Events: 'error' (error), 'close'.

        Node: stream.destroy()
        """
        self._ready()
        if error is not None and not isinstance(error, BaseException):
            raise arg_type_error("error", "Error", error)
        self._destroy_with(error)
        return self

    def __aenter__(self):
        """Own the stream and return it. Node: none"""
        return upcall(ENTER_STREAM)(self)

    def __aexit__(self, kind, error, traceback):
        """Close the stream, and wait until it is closed.

        If the body ended normally, it ends the stream and closes it when everything written has
        left. Unless nothing was written, a socket then reads and discards until the peer has
        acknowledged everything and has ended, or is silent for 1 s; at most 5 s if the peer has
        acknowledged everything and goes on sending, and 30 s in all. If the body raised or was
        cancelled, it destroys the stream, and the body's exception goes on alone.

        Events: 'finish' if the body ended normally, 'end' if the peer's came in time, 'close'.
        Raises: the stream's error, ClosedError (ERR_STREAM_DESTROYED) or, if the peer may not have
            received everything, ClosedError (ERR_STREAM_PREMATURE_CLOSE), if the body ended
            normally, something written could not be sent, and the body has not met that error.

        Node: stream[Symbol.asyncDispose](), which destroys in any case
        """
        return upcall(EXIT_STREAM)(self, error)

    # What the coroutines in streams.py and _aio/tasks.py need.

    def _become_owner(self):
        """A coroutine owns the stream from now on, until _stop_owning()."""
        self._add_owner()

    def _stop_owning(self):
        """Undo one _become_owner()."""
        self._remove_owner()

    def _heard(self):
        """The stream's error is about to be raised in a coroutine."""
        self._coroutines |= ERROR_HEARD

    def _unsent_error(self):
        """The error of what was written and could not be sent, if no coroutine has met it."""
        if self._coroutines & ERROR_HEARD:
            return None
        if not self._lost_writes():
            return unconfirmed() if self._coroutines & W_UNCONFIRMED else None
        if self._state & ERROR_EMITTED:
            return self._errored
        # What destroy() discards is the program's decision; a later write is a mistake.
        return stream_destroyed("write") if self._coroutines & WRITE_REFUSED else None

    @property
    def _destroyed_by_server(self):
        """Whether `async with server` destroyed it, left by an exception."""
        return bool(self._coroutines & SERVER_DESTROYED)

    @property
    def _owned(self):
        """Whether a coroutine owns the stream."""
        return bool(self._owners) or self.r_reader is not None

    @property
    def _close_due(self):
        """Whether 'close' is still to come once the stream is destroyed."""
        return not self._state & CLOSE_EMITTED and bool(self._state & EMIT_CLOSE)

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
    def _end_known(self):
        """Whether nothing will be pushed any more."""
        return bool(self._state & R_ENDED)

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
        """True once destroyed; 'close' follows, or has been emitted. Node: stream.closed"""
        return bool(self._state & CLOSED)

    @property
    def errored(self):
        """The error that destroyed the stream, or None. Node: stream.errored"""
        return self._errored


seal(ConstructCallback)
seal(DestroyCallback)
seal(StreamExtra)
add_node_names(Stream)

"""Duplex: a readable and a writable half in one object, and how user code provides them.

A subclass defines `_read(size)`, `_write(chunk, encoding, callback)` or `_writev(chunks,
callback)`, `_final(callback)` and `_destroy(error, callback)`, as in Node; a socket overrides the
C methods instead and never comes through here.  Imports: readable, writable, errors.
"""

from .descriptors cimport share_methods
from .framing cimport check_framing
from .names import add_node_names
from .readable cimport Readable, r_constructed, r_set_encoding, r_set_framing
from .stream cimport *
from .writable cimport *


cdef class Duplex(Readable):
    """A byte stream in both directions; subclass it and implement `_read` and `_write`.

    Args:
        options: a mapping of the options below; keywords win over it.
        allow_half_open: bool, default True: 'end' does not end the writable side.
        readable, writable: bool, default True: False disables this side.
        high_water_mark, readable_high_water_mark, writable_high_water_mark: int >= 0, bytes,
            default get_default_high_water_mark(): high_water_mark wins.
        encoding: str, default None: decode chunks from this encoding; None delivers bytes.
        default_encoding: str, default 'utf8': for str chunks written without an encoding.
        read: callable(size): the method `_read`.
        write: callable(chunk, encoding, callback): the method `_write`.
        writev: callable(chunks, callback): the method `_writev`.
        final: callable(callback): the method `_final`.
        destroy: callable(error, callback): the method `_destroy`.
        construct: callable(callback): the method `_construct`, which is called before all others;
            they wait for its callback.
        auto_destroy: bool, default True: destroy after both 'end' and 'finish'.
        emit_close: bool, default True: emit 'close' after destruction.
        capture_rejections: bool, default EventEmitter.capture_rejections: destroy the stream if a
            coroutine listener fails.
        framing: one of pyuvnet.framing, default None: as with set_framing().

    Events: those of Readable, and 'drain', 'finish', 'pipe' (source), 'unpipe' (source).
    Raises: as Readable and Writable do.

    Node: stream.Duplex
    """

    _option_functions = ("Duplex",)

    def __init__(self, options=None, **keywords):
        self._refuse_second()
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
        framing = check_framing(given.get("framing"), "options.framing")
        if given.get("allow_half_open") is not None:
            self._coroutines |= HALF_OPEN_SET
        if given.get("encoding") is not None:
            r_set_encoding(self, given["encoding"])
        if framing is not None:
            r_set_framing(self, framing)
        if given.get("default_encoding") is not None:
            w_set_default_encoding(self, given["default_encoding"])
        self._take_methods(given)
        self._begin_construct()

    cdef int _go_on(self) except -1:
        if self._state & HAS_READABLE:
            r_constructed(self)
        return w_constructed(self) if self._state & HAS_WRITABLE else 0

    @property
    def allow_half_open(self):
        """True when 'end' leaves the writable side open.

        While a coroutine owns the stream, it stays open too, unless this was set to False.

        Node: duplex.allowHalfOpen
        """
        return bool(self._state & ALLOW_HALF_OPEN) and not self._coroutines & HALF_OPEN_LENT

    @allow_half_open.setter
    def allow_half_open(self, value):
        self._coroutines = (self._coroutines | HALF_OPEN_SET) & ~HALF_OPEN_LENT
        if value:
            self._state |= ALLOW_HALF_OPEN
        else:
            self._state &= ~ALLOW_HALF_OPEN

    cdef int _on_tick(self, int what, object argument) except -1:
        if not w_tick(self, what, argument):
            return Readable._on_tick(self, what, argument)
        return 0


# A cdef class has one base, and this one's is Readable: what a program calls of a Writable, which
# adds no fields to Stream, comes as it is.
share_methods(Writable, Duplex)
add_node_names(Duplex)

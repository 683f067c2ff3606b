"""Framings, which say where a byte stream is cut, and Cutter, the buffer that does it.

A framing is to boundaries what an encoding is to characters: a property of the readable half of a
stream.  The five classes hold what the program said, checked, and never change.  A Cutter is the
state of one stream: the bytes that have arrived and that no frame has taken.  It knows no stream:
readable.pyx decides when to cut, and calls whom it concerns.

* The uncut bytes are one piece of memory, ours or, while the frames of a chunk are handed out, the
  chunk itself.  So a frame within a chunk is copied once, into the object that the program gets.
  What is left of the chunk afterwards is copied by settle().
* Behind a part of a frame in our memory a chunk is taken in only as far as that frame goes.
* Our memory grows by half, so it is at most one and a half times what it holds, and a byte is moved
  a constant number of times on the average.
* No byte is searched twice for a delimiter, except for the delimiter's own length.
* Nothing of the program's runs in here but Header.length, between two lines of _header().

Imports: nothing of ours but checks of arguments.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from .._base.errors import ArgTypeError, FrameError
from .._base.option_table import option_set
from .._base.validation import arg_type_error, arg_value_error, range_error, validate_boolean, \
    validate_integer

from .debug cimport UVNET_DEBUG
from .errors cimport seal
from .names import add_node_names

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef enum:
    MAX_DELIMITER = 16
    MAX_VARINT = 10              # bytes of a 64-bit number
    KEPT_ROOM = 1024             # so much memory stays with a stream that has nothing to cut

cdef object _lines_options = option_set("Lines")
cdef object _length_options = option_set("LengthPrefix")
cdef object _varint_options = option_set("VarintPrefix")
cdef object _header_options = option_set("Header")


# ---- Framings ----------------------------------------------------------------------------------

cdef class Framing:
    """The base of all framings, for isinstance(); instantiate one of its subclasses.

    A framing is immutable and keeps no state of a connection: one object serves all sockets.

    Node: none (Erlang's {packet, Type})
    """

    cdef object _options(self):
        """What makes an equal one: the arguments, and the keywords."""
        return (), {}

    def __repr__(self):
        arguments, keywords = self._options()
        texts = list(map(repr, arguments))
        for name, value in keywords.items():
            texts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(texts)})"

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return self._options() == (<Framing>other)._options()

    def __hash__(self):
        arguments, keywords = self._options()
        return hash((type(self), arguments, tuple(keywords.values())))

    def __reduce__(self):
        return _rebuild, (type(self), *self._options())

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


def _rebuild(kind, arguments, keywords):
    return kind(*arguments, **keywords)


cdef Py_ssize_t _limit_of(dict given, Py_ssize_t default) except -1:
    value = given.get("limit")
    return default if value is None else validate_integer(value, "limit", 1)


cdef bint _flag(dict given, str name, str node, bint default) except -1:
    value = given.get(name)
    return default if value is None else validate_boolean(value, node)


@cython.final
cdef class Lines(Framing):
    """Frames that end with a delimiter, such as lines of text.

    Args:
        delimiter: bytes-like, 1 to 16 bytes, default b"\\n".
        limit: int >= 1, bytes, default 65536: the longest line, without its delimiter.
        keep_delimiter: bool, default False: deliver lines with their delimiter.
        strip_cr: bool, default True: a b"\\r" before the delimiter b"\\n" belongs to it.
        oversize: 'error' or 'discard', default 'error': how to handle a longer line; 'discard'
            skips it and emits 'oversize' with its size.

    At the end of the stream, the remaining bytes are the last line. The limit keeps a peer that
    never sends a delimiter from filling the memory.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), ArgValueError
        (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE).

    Node: none (Erlang's {packet, line})
    """

    def __cinit__(self, delimiter=b"\n", **keywords):
        cdef dict given = _lines_options.read(None, keywords)
        cdef bytes mark
        if isinstance(delimiter, str):
            raise arg_type_error("delimiter", ["Buffer", "TypedArray", "DataView"], delimiter)
        try:
            mark = bytes(memoryview(delimiter))
        except TypeError:
            raise arg_type_error(
                "delimiter", ["Buffer", "TypedArray", "DataView"], delimiter) from None
        if not 1 <= len(mark) <= MAX_DELIMITER:
            raise arg_value_error("delimiter", delimiter, "must have 1 to 16 bytes")
        oversize = given.get("oversize")
        if oversize is not None and oversize not in ("error", "discard"):
            raise arg_value_error("oversize", oversize, "must be 'error' or 'discard'")
        self._kind = FRAMING_LINES
        self._delimiter = self.suffix = mark
        self._mark = <const unsigned char*>PyBytes_AS_STRING(mark)
        self._size = len(mark)
        self._limit = _limit_of(given, 65536)
        self._keep_delimiter = _flag(given, "keep_delimiter", "keepDelimiter", False)
        self._strip_cr = _flag(given, "strip_cr", "stripCr", True)
        self._discard = oversize == "discard"
        self._first = self._mark[0]
        # A carriage return counts before a line feed alone.
        self._strip = self._strip_cr and mark == b"\n"
        self._quick = QUICK_LINES if self._size == 1 else QUICK_NOTHING

    cdef object _options(self):
        return (self._delimiter,), {
            "limit": self._limit, "keep_delimiter": self._keep_delimiter,
            "strip_cr": self._strip_cr, "oversize": self.oversize}

    @property
    def delimiter(self):
        """The bytes that end a frame. Node: none"""
        return self._delimiter

    @property
    def limit(self):
        """The longest line, in bytes, without its delimiter. Node: none"""
        return self._limit

    @property
    def keep_delimiter(self):
        """True if lines are delivered with their delimiter. Node: none"""
        return self._keep_delimiter

    @property
    def strip_cr(self):
        """True if a carriage return before a line feed belongs to the delimiter. Node: none"""
        return self._strip_cr

    @property
    def oversize(self):
        """'error' or 'discard': how a line over the limit is handled. Node: none"""
        return "discard" if self._discard else "error"


@cython.final
cdef class LengthPrefix(Framing):
    """Frames prefixed with their length.

    Args:
        size: 1, 2, 3, 4 or 8, default 4: bytes of the length.
        limit: int >= 1, bytes, default 16777216: the longest payload.
        byteorder: 'big' or 'little', default 'big'.
        includes_itself: bool, default False: the length includes its own bytes.

    The payload is delivered without the length. Memory is allocated only for bytes that have
    arrived, and a length over the limit destroys the stream immediately.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), ArgValueError
        (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE).

    Node: none (Erlang's {packet, 1 | 2 | 4})
    """

    def __cinit__(self, size=4, **keywords):
        cdef dict given = _length_options.read(None, keywords)
        if validate_integer(size, "size") not in (1, 2, 3, 4, 8):
            raise range_error("size", "1, 2, 3, 4 or 8", size)
        byteorder = given.get("byteorder")
        if byteorder is not None and byteorder not in ("big", "little"):
            raise arg_value_error("byteorder", byteorder, "must be 'big' or 'little'")
        self._kind = FRAMING_LENGTH
        self._size = int(size)
        self._little = byteorder == "little"
        self._limit = _limit_of(given, 16 * 1024 * 1024)
        self._includes_itself = _flag(given, "includes_itself", "includesItself", False)
        if not self._little and not self._includes_itself:
            self._quick = QUICK_LENGTH

    cdef object _options(self):
        return (self._size,), {
            "byteorder": self.byteorder, "limit": self._limit,
            "includes_itself": self._includes_itself}

    @property
    def size(self):
        """Bytes of the length. Node: none"""
        return self._size

    @property
    def byteorder(self):
        """'big' or 'little'. Node: none"""
        return "little" if self._little else "big"

    @property
    def limit(self):
        """The longest payload, in bytes. Node: none"""
        return self._limit

    @property
    def includes_itself(self):
        """True if the length counts its own bytes. Node: none"""
        return self._includes_itself


@cython.final
cdef class VarintPrefix(Framing):
    """Frames prefixed with their length as a base-128 number, least significant group first.

    Args:
        limit: int >= 1, bytes, default 16777216: the longest payload.

    Protocol Buffers call such messages delimited. The payload is delivered without the length.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), RangeError (ERR_OUT_OF_RANGE).

    Node: none (Protocol Buffers' delimited messages)
    """

    def __cinit__(self, **keywords):
        cdef dict given = _varint_options.read(None, keywords)
        self._kind = FRAMING_VARINT
        self._limit = _limit_of(given, 16 * 1024 * 1024)

    cdef object _options(self):
        return (), {"limit": self._limit}

    @property
    def limit(self):
        """The longest payload, in bytes. Node: none"""
        return self._limit


@cython.final
cdef class Fixed(Framing):
    """Frames of one size.

    Args:
        size: int >= 1, bytes.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: none (fixed-length records)
    """

    def __cinit__(self, size):
        self._kind = FRAMING_FIXED
        self._limit = self._size = validate_integer(size, "size", 1)

    cdef object _options(self):
        return (self._size,), {}

    @property
    def size(self):
        """Bytes of a frame. Node: none"""
        return self._size


@cython.final
cdef class Header(Framing):
    """Frames that begin with a fixed-size header, from which a function computes the length.

    Args:
        size: int >= 1, bytes of the header.
        length: callable(header: bytes) -> int >= 0, how many bytes follow.
        limit: int >= 1, bytes, default 16777216: the longest frame, including the header.

    The delivered frame is the header and what follows. An exception raised by `length` destroys the
    stream, and so does a result that is not an int or is negative. An exception that is not an
    `Exception`, such as KeyboardInterrupt, destroys the stream without 'error' and propagates out
    of `run()`.

    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), RangeError (ERR_OUT_OF_RANGE).

    Node: none (a header with a length in it)
    """

    def __cinit__(self, size, length, **keywords):
        cdef dict given = _header_options.read(None, keywords)
        if not callable(length):
            raise arg_type_error("length", "function", length)
        self._kind = FRAMING_HEADER
        self._limit = _limit_of(given, 16 * 1024 * 1024)
        self._size = validate_integer(size, "size", 1, self._limit)
        self._length_of = length

    cdef object _options(self):
        return (self._size, self._length_of), {"limit": self._limit}

    @property
    def size(self):
        """Bytes of the header. Node: none"""
        return self._size

    @property
    def length(self):
        """The function that reads how many bytes follow. Node: none"""
        return self._length_of

    @property
    def limit(self):
        """The longest frame, in bytes. Node: none"""
        return self._limit


cdef Framing check_framing(object framing, str name):
    """The framing that an argument is, or None. Raises: ArgTypeError (ERR_INVALID_ARG_TYPE)."""
    if framing is not None and not isinstance(framing, Framing):
        raise arg_type_error(name, "Framing", framing)
    return framing


def checked_framing(framing, str name not None):
    """check_framing(), for the Python side."""
    return check_framing(framing, name)


# ---- Frames to be sent -------------------------------------------------------------------------

cdef bytes frame_prefix(Framing framing, object payload, const char* data, Py_ssize_t size):
    """Check a payload, and return what goes before it; None if nothing does.

    What goes behind it is framing.suffix, the same for each. The payload itself is only for the
    texts of errors; data and size are its bytes.
    Raises: ArgValueError (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE).
    """
    cdef FramingKind kind = framing._kind
    cdef Py_ssize_t count = framing._size
    cdef uint64_t length = <uint64_t>size
    cdef unsigned char[MAX_VARINT] prefix
    cdef int index
    if kind == FRAMING_LINES:
        if _has_delimiter(framing, <const unsigned char*>data, size):
            raise arg_value_error("payload", payload, "must not contain the delimiter")
        return None
    if kind == FRAMING_HEADER:
        return None
    if kind == FRAMING_FIXED:
        if size != count:
            raise range_error("payload.length", f"{count}", size)
        return None
    if size > framing._limit:
        raise range_error("payload.length", f"<= {framing._limit}", size)
    if kind == FRAMING_VARINT:
        count = 0
        while length > 127:
            prefix[count] = <unsigned char>(length & 127 | 128)
            length >>= 7
            count += 1
        prefix[count] = <unsigned char>length
        return PyBytes_FromStringAndSize(<char*>prefix, count + 1)
    if framing._includes_itself:
        length += count
    if count < 8 and length >> (8 * count):
        raise range_error("payload.length", f"a length that {count} bytes can hold", size)
    for index in range(count):
        prefix[index if framing._little else count - 1 - index] = \
            <unsigned char>(length >> (8 * index) & 255)
    return PyBytes_FromStringAndSize(<char*>prefix, count)


cdef bint _has_delimiter(Framing framing, const unsigned char* data, Py_ssize_t size) noexcept:
    """Whether a reader would find the delimiter before the one behind the payload."""
    cdef Py_ssize_t count = framing._size, part
    if find_delimiter(data, size, framing._mark, count) >= 0:
        return True
    # One that begins in the payload and ends in the delimiter, as of b"a" before b"aa".
    for part in range(1, min(count - 1, size) + 1):
        if memcmp(data + size - part, framing._mark, part) == 0 \
                and memcmp(framing._mark, framing._mark + part, count - part) == 0:
            return True
    return False


# ---- Frames that arrive ------------------------------------------------------------------------

cdef Py_ssize_t find_delimiter(const unsigned char* data, Py_ssize_t size,
                               const unsigned char* delimiter, Py_ssize_t length) noexcept:
    """Where the first delimiter begins, or -1."""
    cdef const unsigned char* at = data
    cdef const unsigned char* end
    if size < length:
        # A buffer without bytes is NULL, from which nothing can be subtracted.
        return -1
    end = data + size - length + 1
    if UVNET_DEBUG:
        work.searched += end - data
    while at < end:
        at = <const unsigned char*>memchr(at, delimiter[0], end - at)
        if at is NULL:
            return -1
        if length == 1 or memcmp(at, delimiter, length) == 0:
            if UVNET_DEBUG:
                work.searched -= end - at - 1
            return at - data
        at += 1
    return -1


@cython.final
@cython.no_gc_clear    # a framing is there as long as the cutter is
cdef class Cutter:
    """The bytes of one stream that have arrived and are not cut."""

    def __dealloc__(self):
        PyMem_Free(self._own)

    cdef int begin(self, Framing framing) except -1:
        """Cut by another framing from here on; None: by none. The bytes stay."""
        # The last one's function is the program's: dropped when all is done.
        cdef Framing _before = self.framing
        self.framing = framing
        self._skipping = False
        self._skipped = 0
        self._forget()
        return 0

    cdef void _forget(self) noexcept:
        """What is known of the front frame is no longer so."""
        self._scanned = self._total = 0
        self._last = FRONT_CHANGED
        self._turns += 1

    # ---- Bytes in ------------------------------------------------------------------------------

    cdef void lend(self, const char* base, Py_ssize_t size) noexcept:
        """A chunk arrived: use it where it is, until settle() or until all of it is cut."""
        if self._size:
            self._next, self._left = base, size
        else:
            self._data, self._size = base, size
            self._borrowed = True
        self._turns += 1

    cdef int settle(self) except -1:
        """Take what is left of the chunk into our memory, before the chunk goes."""
        cdef Py_ssize_t size = self._size
        if self._borrowed:
            # From here on as if it were all behind nothing.
            self._next, self._left, self._size = self._data, size, 0
            self._borrowed = False
            self._data = self._own
        if self._left:
            try:
                self._reserve(self._left)
            except MemoryError:
                if not self._size:
                    self._data, self._size, self._left = self._next, self._left, 0
                    self._borrowed = True
                raise
            memcpy(<char*>self._data + self._size, self._next, self._left)
            if UVNET_DEBUG:
                work.moved += self._left
            self._size += self._left
            self._left = 0
        return 0

    cdef int append(self, const char* base, Py_ssize_t size) except -1:
        """Put bytes behind all others, in our memory."""
        self.settle()
        if not size:
            # There may be no memory yet, and none is needed.
            return 0
        self._reserve(size)
        memcpy(<char*>self._data + self._size, base, size)
        if UVNET_DEBUG:
            work.moved += size
        self._size += size
        self._turns += 1
        return 0

    cdef int unshift(self, const char* base, Py_ssize_t size) except -1:
        """Put bytes before all others, to be cut."""
        cdef Py_ssize_t before
        self.settle()
        before = self._data - self._own if self._size else 0
        if before < size:
            self._reserve(size)
            before = self._data - self._own
            if before < size:
                memmove(self._own + size, self._data, self._size)
                self._data = self._own + size
        self._data -= size
        memcpy(<char*>self._data, base, size)
        self._size += size
        self._forget()
        return 0

    cdef int _reserve(self, Py_ssize_t extra) except -1:
        """Make room for so many bytes behind ours."""
        cdef Py_ssize_t before = self._data - self._own if self._size else 0
        cdef Py_ssize_t wanted = self._size + extra
        cdef char* own
        if not self._size:
            self._data = self._own
        if before + wanted <= self._room:
            return 0
        if before:
            # What was cut since is at least as much, or there will be more room.
            memmove(self._own, self._data, self._size)
            if UVNET_DEBUG:
                work.moved += self._size
            self._data = self._own
            if wanted <= self._room and before >= self._size:
                return 0
        wanted = wanted + wanted // 2 if self._size else (wanted + 63) & ~63
        if UVNET_DEBUG:
            work.moved += self._size
        own = <char*>PyMem_Realloc(self._own, wanted)
        if own is NULL:
            raise MemoryError
        self._own = own
        self._data = own
        self._room = wanted
        return 0

    # ---- Bytes out -----------------------------------------------------------------------------

    cdef void _drop(self, Py_ssize_t size) noexcept:
        """Drop bytes at the front."""
        self._size -= size
        self._data += size
        if self._size:
            return
        if self._borrowed:
            self._borrowed = False
        elif self._room > KEPT_ROOM:
            PyMem_Free(self._own)
            self._own = NULL
            self._room = 0
        self._data = self._own
        if self._left:
            self._data, self._size = self._next, self._left
            self._left = 0
            self._borrowed = True

    cdef void consume(self) noexcept:
        """Drop the front frame."""
        self._drop(self._total)
        self._skipping = False
        self._skipped = 0
        self._forget()

    cdef void take(self, Py_ssize_t size) noexcept:
        """Drop bytes that a reader took."""
        self._drop(size)
        self._forget()

    cdef void clear(self) noexcept:
        """Drop everything: the stream begins anew."""
        self._borrowed = False
        self._left = 0
        self._skipping = False
        self._skipped = 0
        self._total = self._size
        self._drop(self._size)
        self._forget()

    cdef object take_error(self):
        """What Header.length raised."""
        error, self._error = self._error, None
        return error

    # ---- The front frame -----------------------------------------------------------------------

    cdef Front front(self, bint ended) except? FRONT_CHANGED:
        """Find out what the uncut bytes begin with; ended: no more will come."""
        cdef FramingKind kind = self.framing._kind
        cdef Front found
        while True:
            found = FRONT_SHORT
            if self._total:
                if self._size >= self._total:
                    found = FRONT_OVERSIZE if self._skipping else FRONT_FRAME
            elif not self._size or self._asking:
                pass
            elif kind == FRAMING_LINES:
                found = self._line(ended and not self._left)
            elif kind == FRAMING_LENGTH:
                found = self._prefix()
            elif kind == FRAMING_VARINT:
                found = self._varint()
            elif kind == FRAMING_FIXED:
                self._offset = 0
                self._length = self._total = self.framing._size
                if self._size >= self._total:
                    found = FRONT_FRAME
            else:
                found = self._header()
            if found != FRONT_SHORT:
                break
            if not self._left or self._asking:
                if ended and self._size and not self._asking:
                    found = FRONT_INCOMPLETE
                break
            self._take_in()
        self._last = found
        return found

    cdef Front _known(self, uint64_t payload, Py_ssize_t prefix, Py_ssize_t offset) noexcept:
        """The length of the front frame is known."""
        self._offset = offset
        self._length = <Py_ssize_t>payload + prefix - offset
        self._total = <Py_ssize_t>payload + prefix
        return FRONT_FRAME if self._size >= self._total else FRONT_SHORT

    cdef Front _prefix(self) noexcept:
        cdef Framing framing = self.framing
        cdef const unsigned char* data = <const unsigned char*>self._data
        cdef Py_ssize_t count = framing._size, index
        cdef uint64_t length = 0
        if self._size < count:
            return FRONT_SHORT
        if framing._little:
            for index in range(count):
                length |= <uint64_t>data[index] << (8 * index)
        else:
            for index in range(count):
                length = length << 8 | data[index]
        if framing._includes_itself:
            if length < <uint64_t>count:
                return FRONT_INVALID
            length -= count
        if length > <uint64_t>framing._limit:
            return FRONT_TOO_LONG
        return self._known(length, count, count)

    cdef Front _varint(self) noexcept:
        cdef const unsigned char* data = <const unsigned char*>self._data
        cdef uint64_t length = 0, group
        cdef Py_ssize_t index
        for index in range(self._size):
            group = data[index] & 127
            if index == MAX_VARINT - 1:
                if data[index] & 128:
                    return FRONT_INVALID
                if group > 1:
                    return FRONT_TOO_LONG
            length |= group << (7 * index)
            if length > <uint64_t>self.framing._limit:
                return FRONT_TOO_LONG
            if not data[index] & 128:
                return self._known(length, index + 1, index + 1)
        return FRONT_SHORT

    cdef Front _header(self) except? FRONT_CHANGED:
        cdef Framing framing = self.framing
        cdef unsigned int turns = self._turns
        cdef long long follows = 0
        cdef int overflow = 0
        if self._size < framing._size:
            return FRONT_SHORT
        header = PyBytes_FromStringAndSize(self._data, framing._size)
        self._asking = True
        error = result = None
        try:
            result = framing._length_of(header)
        except BaseException as exc:
            error = exc
        self._asking = False
        if error is not None and not isinstance(error, Exception):
            self._error = error
            return FRONT_RAISED
        if self._turns != turns or self.framing is not framing:
            # It has read, unshifted or set another framing: what it said is of no account.
            return FRONT_CHANGED
        if error is None:
            if not isinstance(result, int) or isinstance(result, bool):
                error = ArgTypeError(
                    "Expected an integer to be returned from the \"length\" function but got "
                    f"type {type(result).__name__}.", "ERR_INVALID_RETURN_VALUE")
            else:
                follows = PyLong_AsLongLongAndOverflow(result, &overflow)
                if overflow < 0 or overflow == 0 and follows < 0:
                    error = range_error("length(header)", ">= 0", result)
        if error is not None:
            self._error = error
            return FRONT_RAISED
        if overflow or follows > framing._limit - framing._size:
            return FRONT_TOO_LONG
        return self._known(<uint64_t>follows, framing._size, 0)

    cdef Front _line(self, bint ended) noexcept:
        cdef Py_ssize_t found = find_delimiter(
            <const unsigned char*>self._data + self._scanned, self._size - self._scanned,
            self.framing._mark, self.framing._size)
        if found >= 0:
            return self._line_ends(self._scanned + found)
        if ended:
            if self._skipping or self._size > self.framing._limit:
                return self._line_too_long(self._size)
            self._offset = 0
            self._total = self._length = self._size
            return FRONT_FRAME
        self._scanned = max(self._size - self.framing._size + 1, 0)
        if self._skipping or self._at_least() > self.framing._limit:
            if not self.framing._discard:
                return FRONT_TOO_LONG
            # One byte stays, so that the stream knows that something is due.
            self._skip(max(self.framing._size - 1, 1))
        return FRONT_SHORT

    cdef Front _line_ends(self, Py_ssize_t end) noexcept:
        """The delimiter of the front line begins at `end`."""
        cdef Framing framing = self.framing
        cdef Py_ssize_t length = end
        if length and framing._strip and self._data[length - 1] == c"\r":
            length -= 1
        if self._skipping or length > framing._limit:
            return self._line_too_long(end + framing._size)
        self._offset = 0
        self._total = end + framing._size
        self._length = self._total if framing._keep_delimiter else length
        return FRONT_FRAME

    cdef Front _line_too_long(self, Py_ssize_t total) noexcept:
        if not self.framing._discard:
            return FRONT_TOO_LONG
        self._skipping = True
        self._total = total
        self._skipped += total
        return FRONT_OVERSIZE

    cdef void _skip(self, Py_ssize_t kept) noexcept:
        """Drop a line that is too long, except for its last bytes, which may begin a delimiter."""
        cdef Py_ssize_t gone = self._size - kept
        self._skipping = True
        if gone > 0:
            self._skipped += gone
            self._drop(gone)
            self._scanned = max(self._size - self.framing._size + 1, 0)
            self._turns += 1

    cdef Py_ssize_t _at_least(self) noexcept:
        """How long the line that has not ended is at least, without what may be its delimiter."""
        cdef Framing framing = self.framing
        cdef Py_ssize_t part = min(framing._size - 1, self._size)
        if framing._size == 1:
            part = self._size and framing._strip and self._data[self._size - 1] == c"\r"
            return self._size - part
        while part and memcmp(self._data + self._size - part, framing._mark, part) != 0:
            part -= 1
        return self._size - part

    cdef int _take_in(self) except -1:
        """Move bytes of the chunk behind ours: as many as the front frame lacks, if that is known.
        """
        cdef Framing framing = self.framing
        cdef Py_ssize_t count = self._left, found
        if self._total:
            count = self._total - self._size
        elif framing._kind == FRAMING_LINES:
            found = self._line_in_chunk()
            if found >= 0:
                count = found
        elif framing._kind == FRAMING_VARINT:
            count = 1
        elif self._size < framing._size:
            count = framing._size - self._size
        count = min(count, self._left)
        self._reserve(count)
        memcpy(<char*>self._data + self._size, self._next, count)
        if UVNET_DEBUG:
            work.moved += count
        self._size += count
        self._next += count
        self._left -= count
        self._turns += 1
        return 0

    cdef Py_ssize_t _line_in_chunk(self) noexcept:
        """How many bytes of the chunk belong to the front line, its delimiter included; or -1."""
        cdef unsigned char[2 * MAX_DELIMITER] seam
        cdef Py_ssize_t length = self.framing._size, found
        cdef Py_ssize_t before = min(self._size, length - 1), after = min(self._left, length - 1)
        if self._skipping:
            return -1
        if length > 1:
            memcpy(seam, self._data + self._size - before, before)
            memcpy(seam + before, self._next, after)
            found = find_delimiter(seam, before + after, self.framing._mark, length)
            if found >= 0:
                self._scanned = self._size - before + found
                return found + length - before
        found = find_delimiter(
            <const unsigned char*>self._next, self._left, self.framing._mark, length)
        if found >= 0:
            # Where it will be, so that it is found there at once.
            self._scanned = self._size + found
            return found + length
        self._scanned = max(self._size + self._left - length + 1, 0)
        return -1


def work_done():
    """Places searched and bytes moved so far, for tests; zeros in a release build."""
    return work.searched, work.moved


def frame_error(int what, Py_ssize_t limit):
    """The error of a frame that cannot be handed out."""
    if what == FRONT_TOO_LONG:
        return FrameError(f"The frame is longer than the limit of {limit} bytes",
                          "ERR_FRAME_TOO_LONG")
    if what == FRONT_INVALID:
        return FrameError("The frame's prefix is not a valid length", "ERR_FRAME_INVALID")
    return FrameError("The stream ended inside a frame", "ERR_FRAME_INCOMPLETE")


add_node_names(Lines)
add_node_names(LengthPrefix)
add_node_names(VarintPrefix)
add_node_names(Fixed)
add_node_names(Header)
seal(Framing)
seal(Cutter)

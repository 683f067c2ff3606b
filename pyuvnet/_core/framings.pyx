"""The framings: each a class that knows what the program said, and how to cut and write frames.

A class here is all that makes a framing.  It overrides `front()` and, where it has to, `whole()`,
`lacks()`, `prefix()` and `suffix` of Framing, whose docstrings say what is expected.  Everything
else that depends on which framings exist reads `Framing.__subclasses__()`: the spellings of Node,
the stubs tool, the guide, and the tests, for which tests/support/frames.py describes each of them.

The docstring of a framing has two sections that no other has: Frame and Limit.  The guide shows
them in its table.

Imports: framing, which has the buffer, and checks of arguments.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from .._base.errors import ArgTypeError, FrameError
from .._base.option_table import option_set
from .._base.validation import arg_type_error, arg_value_error, range_error, validate_boolean, \
    validate_integer

from .errors cimport seal
from .framing cimport FRONT_CHANGED, FRONT_FRAME, FRONT_INVALID, FRONT_OVERSIZE, FRONT_RAISED, \
    FRONT_SHORT, FRONT_TOO_LONG, QUICK_LENGTH, QUICK_LINES, QUICK_NOTHING, Cutter, Framing, Front, \
    find_delimiter
from .names import add_node_names

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef enum:
    MAX_DELIMITER = 16
    MAX_VARINT = 10              # bytes of a 64-bit number
    USUAL_LIMIT = 16 * 1024 * 1024


cdef Py_ssize_t _limit_of(dict given, Py_ssize_t default) except -1:
    value = given.get("limit")
    return default if value is None else validate_integer(value, "limit", 1)


cdef bint _flag(dict given, str name, str node, bint default) except -1:
    value = given.get(name)
    return default if value is None else validate_boolean(value, node)


cdef int _check_size(Framing framing, Py_ssize_t size) except -1:
    """Refuse a payload over the limit."""
    if size > framing._limit:
        raise range_error("payload.length", f"<= {framing._limit}", size)
    return 0


# ---- Lines -------------------------------------------------------------------------------------

cdef object _lines_options = option_set("Lines")


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

    Frame: everything up to the delimiter, which is removed unless `keep_delimiter=True`; a `\\r`
        before `\\n` is removed too, unless `strip_cr=False`.
    Limit: stops a line that never ends; 64 KiB by default.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), ArgValueError
        (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE).

    Node: none (Erlang's {packet, line})
    """

    cdef bytes _delimiter
    cdef const unsigned char* _mark    # its bytes
    cdef bint _strip_cr, _discard

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

    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED:
        cdef Py_ssize_t found = find_delimiter(
            <const unsigned char*>cutter._data + cutter._scanned, cutter._size - cutter._scanned,
            self._mark, self._size)
        if found >= 0:
            return self._ends(cutter, cutter._scanned + found)
        if ended:
            if cutter._skipping or cutter._size > self._limit:
                return self._too_long(cutter, cutter._size)
            cutter._offset = 0
            cutter._total = cutter._length = cutter._size
            return FRONT_FRAME
        cutter._scanned = max(cutter._size - self._size + 1, 0)
        if cutter._skipping or self._at_least(cutter) > self._limit:
            if not self._discard:
                return FRONT_TOO_LONG
            # One byte stays, so that the stream knows that something is due.
            self._skip(cutter, max(self._size - 1, 1))
        return FRONT_SHORT

    cdef Front _ends(self, Cutter cutter, Py_ssize_t end) noexcept:
        """The delimiter of the front line begins at `end`."""
        cdef Py_ssize_t length = end
        if length and self._strip and cutter._data[length - 1] == c"\r":
            length -= 1
        if cutter._skipping or length > self._limit:
            return self._too_long(cutter, end + self._size)
        cutter._offset = 0
        cutter._total = end + self._size
        cutter._length = cutter._total if self._keep_delimiter else length
        return FRONT_FRAME

    cdef Front _too_long(self, Cutter cutter, Py_ssize_t total) noexcept:
        if not self._discard:
            return FRONT_TOO_LONG
        cutter._skipping = True
        cutter._total = total
        cutter._skipped += total
        return FRONT_OVERSIZE

    cdef void _skip(self, Cutter cutter, Py_ssize_t kept) noexcept:
        """Drop a line that is too long, except for its last bytes, which may begin a delimiter."""
        cdef Py_ssize_t gone = cutter._size - kept
        cutter._skipping = True
        if gone > 0:
            cutter._skipped += gone
            cutter._drop(gone)
            cutter._scanned = max(cutter._size - self._size + 1, 0)
            cutter._turns += 1

    cdef Py_ssize_t _at_least(self, Cutter cutter) noexcept:
        """How long the line that has not ended is at least, without what may be its delimiter."""
        cdef Py_ssize_t part = min(self._size - 1, cutter._size)
        if self._size == 1:
            part = cutter._size and self._strip and cutter._data[cutter._size - 1] == c"\r"
            return cutter._size - part
        while part and memcmp(cutter._data + cutter._size - part, self._mark, part) != 0:
            part -= 1
        return cutter._size - part

    cdef Py_ssize_t lacks(self, Cutter cutter) noexcept:
        """The bytes of the chunk that belong to the front line, its delimiter included; or all."""
        cdef unsigned char[2 * MAX_DELIMITER] seam
        cdef Py_ssize_t length = self._size, found
        cdef Py_ssize_t before = min(cutter._size, length - 1)
        cdef Py_ssize_t after = min(cutter._left, length - 1)
        if cutter._skipping:
            return cutter._left
        if length > 1:
            memcpy(seam, cutter._data + cutter._size - before, before)
            memcpy(seam + before, cutter._next, after)
            found = find_delimiter(seam, before + after, self._mark, length)
            if found >= 0:
                cutter._scanned = cutter._size - before + found
                return found + length - before
        found = find_delimiter(
            <const unsigned char*>cutter._next, cutter._left, self._mark, length)
        if found >= 0:
            # Where it will be, so that it is found there at once.
            cutter._scanned = cutter._size + found
            return found + length
        cutter._scanned = max(cutter._size + cutter._left - length + 1, 0)
        return cutter._left

    cdef bytes prefix(self, object payload, const char* data, Py_ssize_t size):
        if self._has_delimiter(<const unsigned char*>data, size):
            raise arg_value_error("payload", payload, "must not contain the delimiter")
        return None

    cdef bint _has_delimiter(self, const unsigned char* data, Py_ssize_t size) noexcept:
        """Whether a reader would find the delimiter before the one behind the payload."""
        cdef Py_ssize_t count = self._size, part
        if find_delimiter(data, size, self._mark, count) >= 0:
            return True
        # One that begins in the payload and ends in the delimiter, as of b"a" before b"aa".
        for part in range(1, min(count - 1, size) + 1):
            if memcmp(data + size - part, self._mark, part) == 0 \
                    and memcmp(self._mark, self._mark + part, count - part) == 0:
                return True
        return False


# ---- A length before the payload ---------------------------------------------------------------

cdef object _length_options = option_set("LengthPrefix")


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

    Frame: the length in 1, 2, 3, 4 or 8 bytes, `byteorder="big"` or `"little"`, then the payload;
        `includes_itself=True` if the length counts its own bytes.
    Limit: stops a length that announces more than you want to accept; 16 MiB by default. Memory is
        allocated only for bytes that have arrived, never for an announced length.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), ArgValueError
        (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE).

    Node: none (Erlang's {packet, 1 | 2 | 4})
    """

    cdef bint _little, _includes_itself

    def __cinit__(self, size=4, **keywords):
        cdef dict given = _length_options.read(None, keywords)
        if validate_integer(size, "size") not in (1, 2, 3, 4, 8):
            raise range_error("size", "1, 2, 3, 4 or 8", size)
        byteorder = given.get("byteorder")
        if byteorder is not None and byteorder not in ("big", "little"):
            raise arg_value_error("byteorder", byteorder, "must be 'big' or 'little'")
        self._size = int(size)
        self._little = byteorder == "little"
        self._limit = _limit_of(given, USUAL_LIMIT)
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

    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED:
        cdef const unsigned char* data = <const unsigned char*>cutter._data
        cdef Py_ssize_t count = self._size, index
        cdef uint64_t length = 0
        if cutter._size < count:
            return FRONT_SHORT
        if self._little:
            for index in range(count):
                length |= <uint64_t>data[index] << (8 * index)
        else:
            for index in range(count):
                length = length << 8 | data[index]
        if self._includes_itself:
            if length < <uint64_t>count:
                return FRONT_INVALID
            length -= count
        if length > <uint64_t>self._limit:
            return FRONT_TOO_LONG
        return cutter.known(length, count, count, 0)

    cdef bytes prefix(self, object payload, const char* data, Py_ssize_t size):
        cdef unsigned char[8] made
        cdef Py_ssize_t count = self._size
        cdef uint64_t length = <uint64_t>size
        cdef int index
        _check_size(self, size)
        if self._includes_itself:
            length += count
        if count < 8 and length >> (8 * count):
            raise range_error("payload.length", f"a length that {count} bytes can hold", size)
        for index in range(count):
            made[index if self._little else count - 1 - index] = \
                <unsigned char>(length >> (8 * index) & 255)
        return PyBytes_FromStringAndSize(<char*>made, count)


cdef object _varint_options = option_set("VarintPrefix")


@cython.final
cdef class VarintPrefix(Framing):
    """Frames prefixed with their length as a base-128 number, least significant group first.

    Args:
        limit: int >= 1, bytes, default 16777216: the longest payload.

    Protocol Buffers call such messages delimited. The payload is delivered without the length.

    Frame: the length in base 128, as in Protocol Buffers, then the payload.
    Limit: stops a length that announces more, or one that never ends; 16 MiB by default.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), RangeError (ERR_OUT_OF_RANGE).

    Node: none (Protocol Buffers' delimited messages)
    """

    def __cinit__(self, **keywords):
        cdef dict given = _varint_options.read(None, keywords)
        self._limit = _limit_of(given, USUAL_LIMIT)

    cdef object _options(self):
        return (), {"limit": self._limit}

    @property
    def limit(self):
        """The longest payload, in bytes. Node: none"""
        return self._limit

    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED:
        cdef const unsigned char* data = <const unsigned char*>cutter._data
        cdef uint64_t length = 0, group
        cdef Py_ssize_t index
        for index in range(cutter._size):
            group = data[index] & 127
            if index == MAX_VARINT - 1:
                if data[index] & 128:
                    return FRONT_INVALID
                if group > 1:
                    return FRONT_TOO_LONG
            length |= group << (7 * index)
            if length > <uint64_t>self._limit:
                return FRONT_TOO_LONG
            if not data[index] & 128:
                return cutter.known(length, index + 1, index + 1, 0)
        return FRONT_SHORT

    cdef Py_ssize_t lacks(self, Cutter cutter) noexcept:
        return 1

    cdef bytes prefix(self, object payload, const char* data, Py_ssize_t size):
        cdef unsigned char[MAX_VARINT] made
        cdef uint64_t length = <uint64_t>size
        cdef int count = 0
        _check_size(self, size)
        while length > 127:
            made[count] = <unsigned char>(length & 127 | 128)
            length >>= 7
            count += 1
        made[count] = <unsigned char>length
        return PyBytes_FromStringAndSize(<char*>made, count + 1)


# ---- Netstrings --------------------------------------------------------------------------------

cdef object _netstring_options = option_set("Netstrings")


@cython.final
cdef class Netstrings(Framing):
    """Frames as `5:hello,`: the length in decimal digits, a colon, the payload, a comma.

    Args:
        limit: int >= 1, bytes, default 16777216: the longest payload.

    D. J. Bernstein's netstrings, as in SCGI and QMTP. The payload is delivered alone. The length
    has no zero in front, the payload of length 0 is `0:,`, and nothing stands between two frames:
    whatever is not exactly so destroys the stream (ERR_FRAME_INVALID).

    Frame: the length in decimal digits, `:`, the payload, `,`.
    Limit: stops a length that announces more, or one that never ends; 16 MiB by default.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), RangeError (ERR_OUT_OF_RANGE).

    Node: none (D. J. Bernstein's netstrings)
    """

    def __cinit__(self, **keywords):
        cdef dict given = _netstring_options.read(None, keywords)
        self._limit = _limit_of(given, USUAL_LIMIT)
        self.suffix = b","

    cdef object _options(self):
        return (), {"limit": self._limit}

    @property
    def limit(self):
        """The longest payload, in bytes. Node: none"""
        return self._limit

    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED:
        cdef const unsigned char* data = <const unsigned char*>cutter._data
        # The limit is far below what 64 bits hold, so that one more digit never overflows.
        cdef uint64_t length = 0
        cdef Py_ssize_t index
        for index in range(cutter._size):
            if data[index] == c":" and index:
                return cutter.known(length, index + 1, index + 1, 1)
            if not c"0" <= data[index] <= c"9" or index and not length:
                return FRONT_INVALID
            length = length * 10 + data[index] - c"0"
            if length > <uint64_t>self._limit:
                return FRONT_TOO_LONG
        return FRONT_SHORT

    cdef Front whole(self, Cutter cutter) except? FRONT_CHANGED:
        if cutter._data[cutter._total - 1] == c",":
            return FRONT_FRAME
        cutter._error = FrameError("The frame does not end with a comma", "ERR_FRAME_INVALID")
        return FRONT_RAISED

    cdef Py_ssize_t lacks(self, Cutter cutter) noexcept:
        return 1

    cdef bytes prefix(self, object payload, const char* data, Py_ssize_t size):
        _check_size(self, size)
        return b"%d:" % size


# ---- Frames of a known size --------------------------------------------------------------------

@cython.final
cdef class Fixed(Framing):
    """Frames of one size.

    Args:
        size: int >= 1, bytes.

    Frame: `size` bytes.
    Limit: none; you choose the size.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE).

    Node: none (fixed-length records)
    """

    def __cinit__(self, size):
        self._limit = self._size = validate_integer(size, "size", 1)

    cdef object _options(self):
        return (self._size,), {}

    @property
    def size(self):
        """Bytes of a frame. Node: none"""
        return self._size

    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED:
        return cutter.known(<uint64_t>self._size, 0, 0, 0)

    cdef bytes prefix(self, object payload, const char* data, Py_ssize_t size):
        if size != self._size:
            raise range_error("payload.length", f"{self._size}", size)
        return None


# ---- A header that the program reads -----------------------------------------------------------

cdef object _header_options = option_set("Header")


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

    Frame: a header of `size` bytes, followed by `length(header)` bytes; both are delivered. If
        `length` raises, or does not return a non-negative int, the stream is destroyed with that
        error.
    Limit: stops a header that announces more, and counts the header too; 16 MiB by default.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_OPTION), RangeError (ERR_OUT_OF_RANGE).

    Node: none (a header with a length in it)
    """

    cdef object _length_of

    def __cinit__(self, size, length, **keywords):
        cdef dict given = _header_options.read(None, keywords)
        if not callable(length):
            raise arg_type_error("length", "function", length)
        self._limit = _limit_of(given, USUAL_LIMIT)
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

    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED:
        cdef unsigned int turns = cutter._turns
        cdef long long follows = 0
        cdef int overflow = 0
        if cutter._size < self._size:
            return FRONT_SHORT
        header = PyBytes_FromStringAndSize(cutter._data, self._size)
        cutter._asking = True
        error = result = None
        try:
            result = self._length_of(header)
        except BaseException as exc:
            error = exc
        cutter._asking = False
        if error is not None and not isinstance(error, Exception):
            cutter._error = error
            return FRONT_RAISED
        if cutter._turns != turns or cutter.framing is not self:
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
            cutter._error = error
            return FRONT_RAISED
        if overflow or follows > self._limit - self._size:
            return FRONT_TOO_LONG
        return cutter.known(<uint64_t>follows, self._size, 0, 0)


for _kind in Framing.__subclasses__():
    add_node_names(_kind)
del _kind
# After its subclasses are made, which programs may instantiate.
seal(Framing)

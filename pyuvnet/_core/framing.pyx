"""What a framing is, and Cutter, the buffer that cuts a byte stream by one.

A framing is to boundaries what an encoding is to characters: a property of the readable half of a
stream. It holds what the program said, checked, never changes, and answers questions: where the
front frame ends (`front()`), which part of it the program gets (`whole()`), how many bytes are
needed to find out (`lacks()`), and what goes around a payload (`prefix()`, `suffix`). The framings
themselves are in framings.pyx. A Cutter is the state of one stream: the bytes that have arrived and
that no frame has taken. It knows no stream: readable.pyx decides when to cut, and calls whom it
concerns.

* The uncut bytes are one piece of memory, ours or, while the frames of a chunk are handed out, the
  chunk itself.  So a frame within a chunk is copied once, into the object that the program gets.
  What is left of the chunk afterwards is copied by settle().
* Behind a part of a frame in our memory a chunk is taken in only as far as that frame goes.
* Our memory grows by half, so it is at most one and a half times what it holds, and a byte is moved
  a constant number of times on the average.
* No byte is searched twice for a delimiter, except for the delimiter's own length.
* Nothing of the program's runs in here but Header.length, within Framing.front().

Imports: nothing of ours but checks of arguments.
"""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcmp, memcpy, memmove

from .._base.errors import FrameError
from .._base.validation import arg_type_error

from .debug cimport UVNET_DEBUG
from .errors cimport seal

cdef enum:
    KEPT_ROOM = 1024             # so much memory stays with a stream that has nothing to cut


# ---- Framings ----------------------------------------------------------------------------------

cdef class Framing:
    """The base of all framings, for isinstance(); instantiate one of its subclasses.

    A framing is immutable and keeps no state of a connection: one object serves all sockets.

    Node: none (Erlang's {packet, Type})
    """

    cdef object _options(self):
        """What makes an equal one: the arguments, and the keywords."""
        return (), {}

    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED:
        """Find out what the uncut bytes, which are some, begin with; ended: no more will come.

        FRONT_SHORT if that is not known yet; what is known of a frame, `known()` keeps. An error of
        the framing's own is stored in the cutter, and FRONT_RAISED returned.
        """
        return FRONT_SHORT

    cdef Front whole(self, Cutter cutter) except? FRONT_CHANGED:
        """Check the front frame, all of which is there."""
        return FRONT_FRAME

    cdef Py_ssize_t lacks(self, Cutter cutter) noexcept:
        """How many bytes front() needs at most to say more, as long as the length is not known."""
        return self._size - cutter._size if cutter._size < self._size else cutter._left

    cdef bytes prefix(self, object payload, const char* data, Py_ssize_t size):
        """Check a payload, and return what goes before it; None if nothing does.

        What goes behind it is `suffix`, the same for each. The payload itself is only for the texts
        of errors; data and size are its bytes.
        Raises: ArgValueError (ERR_INVALID_ARG_VALUE), RangeError (ERR_OUT_OF_RANGE).
        """
        return None

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


cdef Framing check_framing(object framing, str name):
    """The framing that an argument is, or None. Raises: ArgTypeError (ERR_INVALID_ARG_TYPE)."""
    if framing is not None and not isinstance(framing, Framing):
        raise arg_type_error(name, "Framing", framing)
    return framing


def checked_framing(framing, str name not None):
    """check_framing(), for the Python side."""
    return check_framing(framing, name)


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
        """The error behind FRONT_RAISED."""
        error, self._error = self._error, None
        return error

    # ---- The front frame -----------------------------------------------------------------------

    cdef Front front(self, bint ended) except? FRONT_CHANGED:
        """Find out what the uncut bytes begin with; ended: no more will come."""
        # Header.length may set another framing.
        cdef Framing framing = self.framing
        cdef Front found
        while True:
            found = FRONT_SHORT
            if self._total:
                if self._size >= self._total:
                    found = FRONT_OVERSIZE if self._skipping else framing.whole(self)
            elif self._size and not self._asking:
                found = framing.front(self, ended and not self._left)
            if found != FRONT_SHORT:
                break
            if not self._left or self._asking:
                if ended and self._size and not self._asking:
                    found = FRONT_INCOMPLETE
                break
            self._take_in()
        self._last = found
        return found

    cdef Front known(self, uint64_t payload, Py_ssize_t before, Py_ssize_t offset,
                     Py_ssize_t after) except? FRONT_CHANGED:
        """The length of the front frame is known: of its payload, and of what is before and behind.

        The program gets what begins at offset, without what is behind the payload.
        """
        self._offset = offset
        self._length = <Py_ssize_t>payload + before - offset
        self._total = <Py_ssize_t>payload + before + after
        return self.framing.whole(self) if self._size >= self._total else FRONT_SHORT

    cdef int _take_in(self) except -1:
        """Move bytes of the chunk behind ours: as many as the front frame lacks, if that is known.
        """
        cdef Py_ssize_t count = \
            self._total - self._size if self._total else self.framing.lacks(self)
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


# Framing itself in framings.pyx, since a class made after that could not be instantiated either.
seal(Cutter)

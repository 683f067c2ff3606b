"""What a framing is, and the buffer that cuts frames out of a byte stream; see framing.pyx."""

from libc.stdint cimport uint64_t
from libc.string cimport memchr

from .debug cimport UVNET_DEBUG

cdef struct Work:
    # Places that were looked at for a delimiter, and bytes that were moved. In the debug build.
    uint64_t searched, moved

cdef Work work

cdef enum Quick:
    # What quick() cuts without a call.
    QUICK_NOTHING
    QUICK_LINES                # with a delimiter of one byte
    QUICK_LENGTH

cdef enum Front:
    # What the uncut bytes begin with.
    FRONT_SHORT                # a part of a frame, or nothing
    FRONT_FRAME                # a frame: _offset, _length and _total say where
    FRONT_OVERSIZE             # a line that is skipped, whole by now
    FRONT_TOO_LONG             # a frame over the limit
    FRONT_INCOMPLETE           # a part of a frame, and the stream is over
    FRONT_INVALID              # a prefix that is no length
    FRONT_RAISED               # an error of the framing's own, or of Header.length, is in _error
    FRONT_CHANGED              # Header.length changed what is to be cut; or it is not known

cdef class Cutter

cdef class Framing:
    # A framing never changes, and knows nothing of a stream: one serves all sockets of a server.
    cdef Quick _quick
    cdef Py_ssize_t _limit             # of the payload, in bytes
    cdef Py_ssize_t _size              # of the delimiter, the prefix, the frame, or the header
    cdef bytes suffix                  # what write_frame() puts behind a payload; None: nothing
    # Of Lines; here for quick().
    cdef unsigned char _first          # of the delimiter
    cdef bint _keep_delimiter
    cdef bint _strip                   # a carriage return before the delimiter goes too

    cdef object _options(self)
    cdef Front front(self, Cutter cutter, bint ended) except? FRONT_CHANGED
    cdef Front whole(self, Cutter cutter) except? FRONT_CHANGED
    cdef Py_ssize_t lacks(self, Cutter cutter) noexcept
    cdef bytes prefix(self, object payload, const char* data, Py_ssize_t size)

cdef class Cutter:
    cdef Framing framing               # None: the stream has none now
    cdef const char* _data             # the uncut bytes
    cdef Py_ssize_t _size
    cdef const char* _next             # those behind them, in the chunk that has just arrived
    cdef Py_ssize_t _left
    cdef char* _own                    # our memory for them
    cdef Py_ssize_t _room
    cdef Py_ssize_t _scanned           # no delimiter begins before this
    cdef Py_ssize_t _total, _offset, _length    # of the front frame; _total 0: not known yet
    cdef Py_ssize_t _skipped           # bytes dropped of an oversize line
    cdef Front _last                   # what front() said of the front frame last
    cdef bint _borrowed                # _data points into the chunk that has just arrived
    cdef bint _skipping                # within an oversize line
    cdef bint _asking                  # Header.length runs
    cdef bint delivering               # a loop hands out frames
    cdef bint flow_due                 # what is left will flow when the callback is over
    cdef unsigned int flowing          # so many loops hand out raw chunks, one within the other
    cdef unsigned int _turns           # how often anything has changed
    cdef object _error
    cdef object reader                 # the ByteReader of the stream; None until it is used

    cdef inline Py_ssize_t size(self) noexcept:
        """All that was received and not cut."""
        return self._size + self._left

    cdef inline Py_ssize_t quick(self, const char** payload, Py_ssize_t* length) noexcept:
        """Find a frame of the usual kinds that is whole; returns how many bytes it takes.

        Returns 0 where front() has to look.
        """
        # Borrowed, since this runs for each frame; nothing of the program's runs in here.
        cdef void* framing = <void*>self.framing
        cdef const unsigned char* data = <const unsigned char*>self._data
        cdef const unsigned char* end
        cdef Py_ssize_t size = self._size, total, count, index
        cdef uint64_t follows = 0
        # Without bytes there is no memory to look at.
        if not size or self._total or self._skipping or self._left:
            return 0
        if (<Framing>framing)._quick == QUICK_LINES:
            end = <const unsigned char*>memchr(
                data + self._scanned, (<Framing>framing)._first, size - self._scanned)
            if UVNET_DEBUG:
                work.searched += (data + size if end is NULL else end + 1) - data - self._scanned
            if end is NULL:
                self._scanned = size
                return 0
            count = total = end - data
            if (<Framing>framing)._strip and count and end[-1] == c"\r":
                count -= 1
            if count > (<Framing>framing)._limit:
                self._scanned = total
                return 0
            total += 1
            payload[0] = self._data
            length[0] = total if (<Framing>framing)._keep_delimiter else count
            return total
        if (<Framing>framing)._quick == QUICK_LENGTH:
            count = (<Framing>framing)._size
            if size < count:
                return 0
            for index in range(count):
                follows = follows << 8 | data[index]
            if follows > <uint64_t>(<Framing>framing)._limit or <Py_ssize_t>follows > size - count:
                return 0
            payload[0] = self._data + count
            length[0] = <Py_ssize_t>follows
            return count + <Py_ssize_t>follows
        return 0

    cdef inline void consume_quick(self, Py_ssize_t total) noexcept:
        """Drop the frame that quick() found."""
        self._scanned = 0
        self._turns += 1
        if total == self._size:
            self._drop(total)
        else:
            self._data += total
            self._size -= total

    cdef int begin(self, Framing framing) except -1
    cdef void lend(self, const char* base, Py_ssize_t size) noexcept
    cdef int settle(self) except -1
    cdef int append(self, const char* base, Py_ssize_t size) except -1
    cdef int unshift(self, const char* base, Py_ssize_t size) except -1
    cdef Front front(self, bint ended) except? FRONT_CHANGED
    cdef void consume(self) noexcept
    cdef void clear(self) noexcept
    cdef void take(self, Py_ssize_t size) noexcept
    cdef object take_error(self)
    cdef int _reserve(self, Py_ssize_t extra) except -1
    cdef void _drop(self, Py_ssize_t size) noexcept
    cdef int _take_in(self) except -1
    cdef void _forget(self) noexcept
    cdef Front known(self, uint64_t payload, Py_ssize_t before, Py_ssize_t offset,
                     Py_ssize_t after) except? FRONT_CHANGED

cdef Py_ssize_t find_delimiter(const unsigned char* data, Py_ssize_t size,
                               const unsigned char* delimiter, Py_ssize_t length) noexcept
cdef Framing check_framing(object framing, str name)

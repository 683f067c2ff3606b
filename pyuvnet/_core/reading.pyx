"""read_exactly(), read_until() and read_line(): readers for coroutines, of streams as they come.

What they return is awaited like the chunks of `async for`: what is buffered is handed out without a
future, and a task that waits goes on inside the callback in which its last byte arrived.  Bytes are
taken in the step of the task, not before it, so that a cancelled one has taken nothing.

From the first read on the buffer is the stream's r_cutter (R_READERS), in which nothing is joined
or searched twice; whatever reads in another way turns it back into chunks.  While a task waits,
its ByteReader owns the stream, and data wait for it as for a 'readable' listener.

Imports: stream, readable, framing, iteration, waiter.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from .._base.errors import FrameError, IncompleteReadError
from .._base.validation import arg_type_error, arg_value_error, validate_integer

from .capi cimport PyErr_SetObject
from .descriptors cimport set_iternext
from .errors cimport premature_close, seal, state_error, stream_destroyed
from .framing cimport Cutter, find_delimiter
from .iteration cimport refuse_second_reader
from .loop cimport Loop
from .read_buffer cimport b_keep_bytes
from .readable cimport r_ask, r_begin_reader, r_end_reader, r_taken
from .stream cimport *
from .upcalls cimport later
from .waiter cimport Waiter, raise_thrown, renewed

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef enum:
    MAX_USUAL = 0x7fffffff

cdef enum:
    READ_EXACTLY = 0
    READ_UNTIL = 1
    READ_LINE = 2

cdef enum:
    # What there is of what a read wants.
    SOME = 0
    ALL
    TOO_MUCH

cdef tuple _NAMES = ("read_exactly", "read_until", "read_line")
cdef bytes _LINE_FEED = b"\n"


cdef class ByteReader(Reader):
    """What a stream calls when a task waits for bytes."""

    cdef int arrived(self) except -1:
        if self._waiter is not None and not self._waiter._done and self._ready_to_go():
            self._waiter.settle()
        return 0

    cdef bint deliver(self, bytes chunk) noexcept:
        # The bytes are in the buffer already: the chunk is None.
        cdef Loop loop
        if chunk is not None or self._waiter is None or not self._waiter.may_step() \
                or not self._ready_to_go():
            return False
        loop = self._stream._loop
        try:
            self._waiter.step_now()
        except BaseException as exc:
            loop.report(exc)
        return True

    cdef bint hungry(self) noexcept:
        return self.waiting and self._waiter is not None and not self._waiter._done

    cdef bint _ready_to_go(self) noexcept:
        """Whether the step of the task would have something to do."""
        cdef Stream stream = self._stream
        cdef Py_ssize_t total, length
        if stream._state & (R_ENDED | DESTROYED | ERRORED | CLOSE_EMITTED) \
                or stream.r_transforms != R_READERS:
            return True
        return self._read._look(&total, &length) != SOME


@cython.final
@cython.freelist(8)
cdef class ByteRead:
    """What read_exactly() and its neighbours return: awaiting it gives bytes."""

    def __repr__(self):
        return f"<{_NAMES[self._kind]}(), to be awaited>"

    def __getattr__(self, name):
        raise AttributeError(
            f"'{type(self).__name__}' object has no attribute '{name}'; await it for the bytes: "
            f"await {_NAMES[self._kind]}()")

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        chunk = self.step()
        if self._waiting:
            return chunk
        raise StopIteration(chunk)

    def send(self, value):
        """Go on, as a coroutine."""
        return self.__next__()

    def throw(self, kind, value=None, traceback=None):
        """End the waiting with an exception, as a coroutine: the task was cancelled."""
        self.forget()
        raise_thrown(kind, value, traceback)

    def close(self):
        """End the waiting."""
        self.forget()

    cdef int _check(self) except -1:
        """Refuse a stream that cannot be read so, or not now."""
        cdef Stream stream = self._stream
        stream._ready()
        if stream.r_transforms & (R_FRAMES | R_DECODES):
            raise state_error(
                "ERR_METHOD_NOT_APPLICABLE",
                f"{_NAMES[self._kind]}() cannot be used on a stream with a framing or an encoding")
        return 0

    cdef object step(self):
        """What was read; or, with _waiting, what asyncio has to wait for."""
        cdef Stream stream = self._stream
        cdef Py_ssize_t total, length
        cdef unsigned int turns
        cdef object waiter = None
        cdef int found
        if stream is None:
            raise RuntimeError("cannot reuse an already awaited read")
        if not self._waiting:
            refuse_second_reader(stream)
        try:
            while True:
                self._check()
                b_keep_bytes(stream)
                if stream._state & (DESTROYED | ERRORED | CLOSE_EMITTED) \
                        and (stream._state & ERRORED or not stream._state & R_END_EMITTED):
                    self._raise_gone()
                if not self._waiting:
                    stream._rare.r_cutter._scanned = 0
                found = self._look(&total, &length)
                if found == ALL:
                    return self._take(total, length)
                if found == TOO_MUCH:
                    raise FrameError(
                        f"{_NAMES[self._kind]}() found no delimiter within {self._wanted} bytes",
                        "ERR_FRAME_TOO_LONG")
                if stream._state & R_ENDED:
                    return self._at_end()
                turns = stream._rare.r_cutter._turns
                waiter = self._wait(stream)
                r_ask(stream)
                if turns == stream._rare.r_cutter._turns and stream.r_transforms == R_READERS \
                        and not stream._state & (R_ENDED | DESTROYED | ERRORED):
                    return waiter
        except BaseException:
            self.forget()
            raise

    cdef object _wait(self, Stream stream):
        """Let the stream know, and return what asyncio waits for."""
        cdef ByteReader reader = _reader_of(stream)
        cdef Waiter waiter
        if not self._waiting:
            reader._stream = stream
            reader._read = self
            reader.waiting = self._waiting = True
            r_begin_reader(stream, reader)
        waiter = reader._waiter = reader._last = renewed(reader._last, stream._loop)
        waiter._asyncio_future_blocking = True
        return waiter

    cdef int _raise_gone(self) except -1:
        cdef Stream stream = self._stream
        stream._coroutines |= ERROR_HEARD
        if stream._errored is not None:
            raise stream._errored
        raise premature_close() if self._waiting else stream_destroyed(_NAMES[self._kind])

    cdef int _look(self, Py_ssize_t* total, Py_ssize_t* length) noexcept:
        """Whether the buffer has what is wanted, and how many bytes that takes and gives."""
        cdef Cutter cutter = self._stream._rare.r_cutter
        cdef const unsigned char* data = <const unsigned char*>cutter._data
        cdef Py_ssize_t size = cutter._size, count, found
        if self._kind == READ_EXACTLY:
            total[0] = length[0] = self._wanted
            return ALL if size >= self._wanted else SOME
        count = PyBytes_GET_SIZE(self._delimiter)
        found = find_delimiter(
            data + cutter._scanned, size - cutter._scanned,
            <const unsigned char*>PyBytes_AS_STRING(self._delimiter), count)
        if found >= 0:
            found += cutter._scanned
            cutter._scanned = found
            total[0] = found + count
        else:
            cutter._scanned = max(size - count + 1, 0)
            if self._kind == READ_LINE and size and self._stream._state & R_ENDED:
                # The last line.
                total[0] = length[0] = size
                return ALL if size <= self._wanted else TOO_MUCH
            # Without what may be a part of the delimiter.
            found = size - (count - 1 if self._kind == READ_UNTIL
                            else size and data[size - 1] == c"\r")
            return SOME if found <= self._wanted else TOO_MUCH
        length[0] = total[0]
        if self._kind == READ_LINE:
            length[0] = found - (found and data[found - 1] == c"\r")
            found = length[0]
        return ALL if found <= self._wanted else TOO_MUCH

    cdef object _take(self, Py_ssize_t total, Py_ssize_t length):
        cdef Stream stream = self._stream
        cdef Cutter cutter = stream._rare.r_cutter
        cdef object made = PyBytes_FromStringAndSize(cutter._data, length)
        self.forget()
        self._stream = None
        if total:
            cutter.take(total)
        if total or stream._state & R_ENDED:
            r_taken(stream)
        return made

    cdef object _at_end(self):
        """The stream is over, and has not what is wanted."""
        cdef Stream stream = self._stream
        cdef Py_ssize_t size = stream._rare.r_cutter._size
        if self._kind == READ_LINE or not (size or self._wanted):
            return self._take(size, size)
        partial = self._take(size, size)
        raise IncompleteReadError(partial, self._wanted if self._kind == READ_EXACTLY else None)

    cdef int forget(self) except -1:
        cdef Stream stream = self._stream
        cdef ByteReader reader
        if self._waiting:
            self._waiting = False
            reader = _reader_of(stream)
            reader.waiting = False
            reader._waiter = None
            reader._read = None
            reader._stream = None
            r_end_reader(stream, reader)
        return 0


cdef ByteReader _reader_of(Stream stream):
    if stream._rare.r_cutter.reader is None:
        stream._rare.r_cutter.reader = ByteReader.__new__(ByteReader)
    return <ByteReader>stream._rare.r_cutter.reader


cdef Py_ssize_t _number(object value, str name, Py_ssize_t least) except -1:
    """validate_integer(), which is Python's, without a call for what is usual."""
    cdef int overflow = 0
    cdef long long number = -1
    if type(value) is int:
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < least or number > MAX_USUAL:
        return validate_integer(value, name, least)
    return <Py_ssize_t>number


cdef object _start(object readable, int kind, object delimiter, object wanted):
    """Check the arguments of a read, and return what is awaited."""
    cdef Stream stream = readable
    cdef ByteRead read = ByteRead.__new__(ByteRead)
    if kind == READ_EXACTLY:
        read._wanted = _number(wanted, "size", 0)
    else:
        read._wanted = _number(wanted, "options.limit", 1)
    if kind == READ_LINE:
        read._delimiter = _LINE_FEED
    elif kind == READ_UNTIL:
        if isinstance(delimiter, str):
            raise arg_type_error("delimiter", ["Buffer", "TypedArray", "DataView"], delimiter)
        try:
            read._delimiter = bytes(memoryview(delimiter))
        except TypeError:
            raise arg_type_error(
                "delimiter", ["Buffer", "TypedArray", "DataView"], delimiter) from None
        if not read._delimiter:
            raise arg_value_error("delimiter", delimiter, "must not be empty")
    read._kind = kind
    read._stream = stream
    read._check()
    return read


cdef PyObject* _next_bytes(PyObject* read) except NULL:
    """ByteRead.__next__ without the traceback that raising StopIteration would cost."""
    cdef object chunk = (<ByteRead>read).step()
    if not (<ByteRead>read)._waiting:
        PyErr_SetObject(StopIteration, chunk)
        return NULL
    Py_INCREF(chunk)
    return <PyObject*>chunk


set_iternext(ByteRead, <void*>_next_bytes)

ctypedef object (*_start_call)(object, int, object, object)

later.start_read = <_start_call><void*>_start

seal(ByteReader)
seal(ByteRead)

"""Stream: the state of a readable and a writable side, and the calls between them.

Both sides live in one object, so that a socket is one allocation and a chunk touches few cache
lines; readable.pyx and writable.pyx each own the fields with their prefix (r_, w_).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check
from cpython.object cimport PyObject

from .capi cimport PyBytes_GET_SIZE, PyMemoryView_GET_BUFFER
from .encoding cimport Decoder
from .framing cimport Cutter
from .loop cimport Loop
from .owner cimport Collector

# The state of a stream, in the order of a life. The tables of readable.pyx and writable.pyx say
# what each side can be in, and how it gets there.
cdef enum:
    # How the stream was made.
    HAS_READABLE = 1 << 0        # There is a readable side.
    HAS_WRITABLE = 1 << 1        # There is a writable side.
    ALLOW_HALF_OPEN = 1 << 2     # 'end' leaves the writable side open.
    AUTO_DESTROY = 1 << 3        # It destroys itself when both sides are over, or one has failed.
    EMIT_CLOSE = 1 << 4          # The stream emits 'close'; otherwise its handle's callback does.
    R_PUSHED_SOURCE = 1 << 5     # The source, a handle, pushes by itself while it is started.
    # The readable side: which consumers want data, what was requested and emitted, the end.
    R_LISTENING = 1 << 7         # A 'readable' listener exists: it rules the mode.
    R_RESUME_SCHEDULED = 1 << 8  # A tick will let the data flow.
    R_NEED_READABLE = 1 << 9     # The next data are to be announced by 'readable'.
    R_READING = 1 << 10          # The source was asked and has not pushed since.
    R_SYNC = 1 << 11             # Inside the call that asks the source.
    R_READING_MORE = 1 << 12     # A tick will fill the buffer up to the mark.
    R_EMITTED_READABLE = 1 << 13         # 'readable' was announced, and no read came since.
    R_DID_READ = 1 << 14         # Data were handed out, once at least.
    R_ENDED = 1 << 15            # The end is known; the buffer may still hold data.
    R_END_UNSEEN = 1 << 16       # The end came unawaited: for a 'readable' listener to come.
    R_END_EMITTED = 1 << 17      # 'end' was emitted.
    # The writable side: from a chunk that is accepted to the end.
    W_COLLECTING = 1 << 18       # Writes of this callback wait for its end.
    W_PROCESSING = 1 << 19       # The queue is being handed over one by one.
    W_SYNC = 1 << 20             # Inside the call that hands a chunk over.
    W_WRITING = 1 << 21          # A write is in flight.
    W_NEED_DRAIN = 1 << 22       # A write() returned False: 'drain' is due.
    W_FAILED = 1 << 23           # A write failed, and its callbacks have not been called.
    W_ENDING = 1 << 24           # end() was called.
    W_FINAL_CALLED = 1 << 25     # The last step, `_final` or the FIN, has begun.
    W_FINISHED = 1 << 26         # 'finish' was emitted, or is about to be.
    # The end of both.
    ERRORED = 1 << 27            # Either side has failed; _errored says with what.
    ERROR_EMITTED = 1 << 28      # 'error' was emitted.
    DESTROYED = 1 << 29          # destroy() was called, or the stream did it itself.
    CLOSED = 1 << 30             # Destruction is done; 'close' follows.
    CLOSE_EMITTED = 1 << 31      # 'close' was emitted, or would have been.

# What becomes of bytes before a program gets them; 0 for chunks as they come.
cdef enum:
    R_DECODES = 1 << 0           # There is a decoder.
    R_FRAMES = 1 << 1            # There is a framing: the buffer is r_cutter, and r_chunks is None.
    R_READERS = 1 << 2           # The buffer is r_cutter for the readers of reading.pyx.

cdef enum Flowing:
    FLOWING_UNASKED = -1
    FLOWING_NO = 0
    FLOWING_YES = 1

cdef enum StreamTick:
    TICK_RESUME = 0
    TICK_READABLE
    TICK_UPDATE_READABLE
    TICK_READ_KICK
    TICK_READ_MORE
    TICK_END
    TICK_AUTO_END
    TICK_AFTER_WRITE
    TICK_WRITE_ERROR
    TICK_FAIL_WRITES
    TICK_FINISH
    TICK_ERROR
    TICK_ERROR_CLOSE
    TICK_CLOSE
    TICK_WRITE_AFTER_END
    TICK_UNHEARD
    TICK_CONSTRUCT
    TICK_CONSTRUCTED
    STREAM_TICKS               # the first number that is free for subclasses

# What coroutines have to do with a stream; see "Owners" in stream.pyx.
cdef enum:
    W_HAS_SINK = 1 << 0          # It is known that the class says where data go.
    HALF_OPEN_SET = 1 << 1       # The program has said what the peer's end does to our side.
    HALF_OPEN_LENT = 1 << 2      # ALLOW_HALF_OPEN is set as long as there is an owner.
    WAS_OWNED = 1 << 3           # There is, or was, an owner.
    ERROR_UNHEARD = 1 << 4       # 'error' had no listener, and was left for an owner to find.
    ERROR_HEARD = 1 << 5         # It was raised in a coroutine.
    WRITE_REFUSED = 1 << 6       # A write came after destroy() or end().
    EMITTING_ERROR = 1 << 7      # _emit_error() emits the stream's own 'error', without a listener.
    SERVER_DESTROYED = 1 << 8    # Its server did, since it was left by an exception.
    # What bounds the queue of a socket; see "Bounds" in socket_base.pyx. W_HAS_SINK is not set
    # then, so that each write gets here by a test that it makes anyway.
    W_LIMITED = 1 << 9           # There is a Quota.
    W_REFUSED = 1 << 10          # The last write was refused, since the queue is full.
    # Of a graceful end; see lingering.pyx.
    W_LINGERS = 1 << 11          # Both sides may be over, but the stream is not to destroy itself.
    W_UNCONFIRMED = 1 << 12      # It was destroyed, and the peer may lack some of what was written.
    CONSTRUCTING = 1 << 13       # `_construct` has not called back: nothing else of the program is.

cdef enum:
    MANY_OWNERS = 255            # from so many on they are not counted any more, and stay
    MANY_CORKS = 65535           # more are not counted

# One call of write() or write_frame(): its parts, which leave together. They are borrowed from
# the function that makes it, which holds them until it returns.
cdef enum:
    MOST_PARTS = 3               # of a frame: what goes before the payload, it, what goes behind

cdef struct Part:
    PyObject* chunk              # bytes, or our memoryview of the program's buffer
    char* base
    Py_ssize_t size

cdef struct Write:
    Part[MOST_PARTS] parts
    unsigned int count
    Py_ssize_t size              # of all parts


cdef class Reader:
    """What takes chunks out of a stream for a coroutine; the stream calls it."""
    cdef Reader _earlier         # the reader that began before, and has not left
    cdef bint waiting            # a task waits in it

    cdef int arrived(self) except -1
    cdef bint deliver(self, bytes chunk) noexcept
    cdef bint hungry(self) noexcept


cdef class StreamExtra:
    """What few streams need, or only at times: made when it is first written."""
    cdef bint shared             # by all that have none of their own: nothing may be set
    cdef list r_chunks           # buffered, oldest first; None while there are none
    cdef Py_ssize_t r_head, r_skip     # the first that is left, and what is gone of it
    cdef Decoder r_decoder
    cdef Cutter r_cutter         # of a framing; None until one is set
    cdef list r_awaiting         # those of them that wait for 'drain'
    cdef Py_ssize_t w_head       # the first of w_queue that is left, where they go one by one
    cdef list w_waiting          # (number, callback) of writes that have one
    cdef Py_ssize_t w_called     # how many at its front were called
    cdef list w_end_callbacks
    cdef str w_encoding          # default of write(); None is utf8
    cdef dict methods            # given as options, by the names of the methods; None without


cdef class Stream(Collector):
    cdef Loop _loop
    cdef unsigned int _state
    cdef signed char _flowing, _paused       # _paused: -1 never said, 0 no, 1 yes
    cdef unsigned short _coroutines          # W_HAS_SINK and its neighbours
    cdef unsigned char _owners               # coroutine listeners and `async with` blocks
    cdef unsigned char r_transforms          # R_DECODES, R_FRAMES, R_READERS
    cdef unsigned short w_corked             # calls of cork() that are not undone, up to MANY_CORKS
    cdef unsigned int w_in_flight            # how many writes the one in flight stands for
    cdef BaseException _errored
    cdef Reader r_reader                     # the last that began; None while there are none

    cdef Py_ssize_t r_length, r_mark         # bytes (characters once decoding) and its mark
    cdef object r_pipes                      # a Piping, a list of several, or None

    cdef Py_ssize_t w_length, w_mark         # bytes accepted and not yet taken by the kernel
    cdef object w_chunk                      # in flight, or the first that was collected
    cdef Py_ssize_t w_size                   # its size, or of all chunks in flight together
    cdef list w_queue                        # chunks behind it; None while there are none
    cdef unsigned long w_accepted, w_done    # writes so far, numbered from 1, and those completed
    # What few streams need at a time. Until something is written into it with own_extra(), it is
    # one that all such streams share, in which nothing is set.
    cdef StreamExtra _rare

    cdef StreamExtra _new_extra(self)
    cdef inline StreamExtra own_extra(self):
        """The part for rare state, to write into; raises without memory for it.

        Nothing of the program's runs.
        """
        if self._rare.shared:
            self._rare = self._new_extra()
        return self._rare

    cdef int _init_stream(self, unsigned int state, Py_ssize_t read_mark,
                          Py_ssize_t write_mark) except -1
    cdef int _take_methods(self, dict given) except -1
    cdef object _method(self, str name)
    cdef int _begin_construct(self) except -1
    cdef int _construct_now(self) except -1
    cdef int _constructed(self, object error) except -1
    cdef int _go_on(self) except -1
    cdef int _refuse_second(self) except -1
    cdef int _add_owner(self) except -1
    cdef int _remove_owner(self) except -1
    cdef void _lend(self) noexcept
    cdef int _owner_left(self) except -1
    cdef bint _lost_writes(self) noexcept
    cdef int _wake_readers(self) except -1
    cdef int _refuse_writes_of_peer(self) except -1
    cdef int _ready(self) except -1
    cdef int _check_framing(self) except -1
    cdef int _destroy_with(self, BaseException error) except -1
    cdef int _fail(self, BaseException error) except -1
    cdef int _fail_later(self, BaseException error) except -1
    cdef int _errored_with(self, BaseException error) except -1
    cdef int _do_destroy(self, BaseException error) except -1
    cdef int _destroy_done(self, BaseException error) except -1
    cdef int _emit_error(self, BaseException error) except -1
    cdef int _emit_close(self) except -1

    # What a half asks of the stream; Duplex and SocketBase override.
    cdef object _read_chunk(self)
    cdef int _ask_source(self) except -1
    cdef int _begin_write(self, Write* write, bint has_callback) except -1
    cdef int _begin_queue(self) except -1
    cdef int _begin_final(self) except -1
    # What bounds a queue: SocketBase overrides.
    cdef bint _may_queue(self, Py_ssize_t size) except -1
    cdef int _has_queued(self, Write* write) except -1
    cdef void _queue_changed(self) noexcept
    cdef Py_ssize_t _most_queued(self) noexcept
    cdef object _failed_write(self, int status)

cdef inline Py_ssize_t chunk_size(object chunk) noexcept:
    """The bytes of a chunk: bytes, whose __len__ a subclass may override, or our memoryview."""
    if PyBytes_Check(chunk):
        return PyBytes_GET_SIZE(chunk)
    return PyMemoryView_GET_BUFFER(chunk).len

cdef inline void add_part(Write* write, object chunk) noexcept:
    """Put one more part behind the others of a write."""
    cdef Part* part = &write.parts[write.count]
    part.chunk = <PyObject*>chunk
    if PyBytes_Check(chunk):
        part.base = PyBytes_AS_STRING(chunk)
        part.size = PyBytes_GET_SIZE(chunk)
    else:
        part.base = <char*>PyMemoryView_GET_BUFFER(chunk).buf
        part.size = PyMemoryView_GET_BUFFER(chunk).len
    write.count += 1
    write.size += part.size

cdef Py_ssize_t default_mark() noexcept
cdef dict stream_options(object options, dict keywords)
cdef unsigned int flag_option(dict options, str name, unsigned int flag) except? 0
cdef Py_ssize_t mark_option(dict options, str name, bint one_sided) except -1

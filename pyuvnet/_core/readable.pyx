"""The readable half of a stream: modes, high-water mark, 'data', 'readable', 'end', and frames.

What changes a field with the prefix r_ or R_ lives in this file, except for the buffer
(read_buffer), pipes (piping) and a socket's own shortcuts (socket_base).  Above 800 lines, since
what pushes, reads, flows and cuts frames calls each other in turn, and no module may call one that
comes after it.  In Node's terms:

* Three modes.  Nothing has asked yet (_flowing UNASKED), not flowing, flowing.  A 'readable'
  listener rules: then only read() hands out data, and resume() and pause() leave the mode alone.
* Flowing with an empty buffer, a chunk goes straight to 'data' from r_push().  Otherwise it is
  buffered, and flows out in a tick.
* r_push() returns whether the source may go on: the buffer is below the mark.  Reading starts
  again when read() takes the buffer below it.
* 'end' comes in a tick, once EOF is known and the buffer is empty and a read came or it flows.
* After destroy nothing is delivered (a deviation: Node's running flow loop would go on).

With a framing (R_FRAMES) the buffer holds bytes and not items; each item is cut, and decoded, when
it is handed out.  The functions are those of the section "Frames":

* A frame is looked for where one is wanted: while data flow, for a 'readable' listener, in
  read().  A paused stream buffers up to the mark, and what its next frame is, or that it is too
  long, is found out when it goes on: until then the program may set another framing.
* Flowing, all frames of a chunk are handed out within r_push_framed(), and the state is read anew
  before each.  What is left when no listener remains, or one raised, waits until the
  callback and the continuations of awaitables are over (FlowRest), as if it had come in a read of
  its own: `await once(stream, 'data')` misses nothing.

Imports: stream, read_buffer, piping, encoding, framing, errors.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_FromObject

from .._base.notation import is_mapping
from .._base.validation import arg_type_error, range_error

from .capi cimport pyuvnet_call_one, pyuvnet_drop_usual, pyuvnet_is_awaitable, pyuvnet_raised, \
    pyuvnet_refill
from .emitter cimport EMITTER_EMIT_OVERRIDDEN, ON_END, ON_PAUSE, ON_RESUME, explain_chunk, \
    intern_event, is_event, only_listener
from .encoding cimport Decoder, decode, encode, encoding_name
from .errors cimport never_reached, os_error, seal, state_error
from .framing import frame_error

from .framing cimport FRONT_CHANGED, FRONT_FRAME, FRONT_OVERSIZE, FRONT_RAISED, FRONT_SHORT, \
    Cutter, Framing, Front, check_framing
from .loop cimport READ_BUFFER_SIZE, Continuation
from .names import add_node_names
from .piping cimport pipe_to, unpipe_from
from .read_buffer cimport b_add, b_add_bytes, b_begin_frames, b_cutter, b_decode, b_end_frames, \
    b_keep_items, b_put_back, b_size, b_take
from .stream cimport *
from .upcalls cimport ITERATE_STREAM, STANDARD_STREAM, STREAM_FROM_ITERABLE, later, upcall
from .uv cimport UV_ENOMEM

cdef object _DATA = intern_event("data")
cdef object _READABLE = intern_event("readable")
cdef object _OVERSIZE = intern_event("oversize")

MAX_MARK = 1 << 30


# ---- States ------------------------------------------------------------------------------------

# What the readable side is in, by the flags of the stream, and what takes it elsewhere. Whatever is
# not in the table leaves it as it is.
STATES = {
    "idle": "it is not decided yet whether data should flow; what comes is buffered up to the mark",
    "flowing": "what comes goes to 'data'",
    "paused": "by pause(), or a 'readable' listener: what comes is buffered up to the mark",
    "ended": "the end is known, and the program has to read for 'end' to come",
    "over": "'end' was emitted",
    "destroyed": "nothing is delivered any more",
}
TRANSITIONS = {
    ("idle", "a 'data' listener"): "flowing",
    ("idle", "resume()"): "flowing",
    ("idle", "pipe()"): "flowing",
    ("idle", "a 'readable' listener"): "paused",
    ("idle", "pause()"): "paused",
    ("idle", "the peer ends"): "over",
    ("idle", "the peer sends and ends"): "ended",
    ("idle", "destroy()"): "destroyed",
    ("flowing", "pause()"): "paused",
    ("flowing", "a 'readable' listener"): "paused",
    ("flowing", "the peer ends"): "over",
    ("flowing", "destroy()"): "destroyed",
    ("paused", "resume()"): "flowing",
    ("paused", "the peer ends"): "over",
    ("paused", "the peer sends and ends"): "ended",
    ("paused", "destroy()"): "destroyed",
    ("ended", "read() to the end"): "over",
    ("ended", "resume()"): "over",
    ("ended", "destroy()"): "destroyed",
    ("over", "'finish'"): "destroyed",
    ("over", "destroy()"): "destroyed",
    ("destroyed", "connect()"): "idle",
}


def state_of(Stream stream not None):
    """Return what the readable side is in: a key of STATES, None where there is no such side."""
    if not stream._state & HAS_READABLE:
        return None
    if stream._state & DESTROYED:
        return "destroyed"
    if stream._state & R_END_EMITTED:
        return "over"
    if stream._state & R_ENDED:
        return "ended"
    if stream._flowing == FLOWING_YES:
        return "flowing"
    return "paused" if stream._flowing == FLOWING_NO else "idle"


# ---- Data in -----------------------------------------------------------------------------------

cdef int r_push(Stream s, bytes chunk) except -1:
    """A chunk arrived. Returns 1 while the source may go on, 0 when it should pause."""
    cdef object entry, item
    cdef Py_ssize_t size
    if s._state & (R_ENDED | DESTROYED | ERRORED):
        if s._state & R_ENDED and not s._state & DESTROYED:
            s._fail(state_error("ERR_STREAM_PUSH_AFTER_EOF", "stream.push() after EOF"))
        return 0
    s._state &= ~R_READING
    item = chunk
    if s.r_transforms:
        if s.r_transforms & (R_FRAMES | R_READERS):
            return r_push_framed(s, PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk))
        item = s._rare.r_decoder.decode(chunk)
    size = len(item)
    if size:
        if s._flowing == FLOWING_YES and s.r_length == 0 and not s._state & R_SYNC:
            entry = s._find(_DATA)
            if entry is not None:
                s._state |= R_DID_READ
                if s._rare.r_awaiting is not None:
                    s._rare.r_awaiting = None
                if s._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
                    s.emit(_DATA, item)
                else:
                    s._emit1_to(_DATA, entry, item)
                size = 0
        if size:
            b_add(s, item, size)
            if s._state & R_NEED_READABLE:
                _emit_readable(s)
    if not s._state & R_PUSHED_SOURCE:
        _read_more(s)
    return not s._state & (R_ENDED | DESTROYED) and (s.r_length < s.r_mark or s.r_length == 0)


cdef int r_push_eof(Stream s) except -1:
    """The source has no more."""
    cdef str rest
    s._state &= ~R_READING
    if s._state & (R_ENDED | DESTROYED):
        return 0
    if s.r_transforms == R_DECODES:
        rest = s._rare.r_decoder.finish()
        if rest:
            b_add(s, rest, len(rest))
    s._state |= R_ENDED
    if s._state & R_SYNC:
        if s._state & R_NEED_READABLE or s._flowing == FLOWING_YES or _listened(s):
            return _emit_readable(s)
        # No read waits for it: the first 'readable' listener is called, unless a read comes before.
        s._state |= R_END_UNSEEN
        return 0
    s._state = (s._state & ~R_NEED_READABLE) | R_EMITTED_READABLE
    return _emit_readable_now(s)


cdef int r_unshift(Stream s, object chunk, object encoding) except -1:
    """Put a chunk back in front of the buffer; None ends the stream, as push(None)."""
    cdef object item = chunk
    if chunk is None:
        r_push_eof(s)
        return 0
    if isinstance(chunk, str):
        if s.r_transforms != R_DECODES or encoding_name(encoding) != s._rare.r_decoder.encoding:
            item = encode(chunk, encoding)
            if s.r_transforms == R_DECODES:
                item = decode(item, s._rare.r_decoder.encoding)
        elif type(chunk) is not str:
            # The buffer holds no objects of the program's classes, which have code of their own.
            item = PyUnicode_FromObject(chunk)
    else:
        try:
            item = bytes(memoryview(chunk))
        except TypeError:
            raise arg_type_error(
                "chunk", ["string", "Buffer", "TypedArray", "DataView"], chunk) from None
        if s.r_transforms == R_DECODES:
            item = decode(item, s._rare.r_decoder.encoding)
    if not len(item):
        return not s._state & R_ENDED and (s.r_length < s.r_mark or s.r_length == 0)
    if s._state & R_END_EMITTED:
        s._fail(state_error("ERR_STREAM_UNSHIFT_AFTER_END_EVENT",
                            "stream.unshift() after end event"))
        return 0
    if s._state & (DESTROYED | ERRORED):
        return 0
    if s.r_transforms & (R_FRAMES | R_READERS):
        b_put_back(s, item)
        _cut_on(s)
    elif s._flowing == FLOWING_YES and s.r_length == 0 and not s._state & R_SYNC \
            and s._find(_DATA) is not None:
        s._state |= R_DID_READ
        s._emit1(_DATA, item)
    else:
        b_put_back(s, item)
        if s._state & R_NEED_READABLE:
            _emit_readable(s)
    _read_more(s)
    return not s._state & R_ENDED and (s.r_length < s.r_mark or s.r_length == 0)


cdef int _read_more(Stream s) except -1:
    """Fill the buffer up to the mark in a tick, whether or not anybody reads."""
    if not s._state & (R_READING_MORE | R_READING):
        s._state |= R_READING_MORE
        s._loop.tick(s, TICK_READ_MORE, None)
    return 0


cdef int r_constructed(Stream s) except -1:
    """`_construct` is over: ask the source, if that was to be done meanwhile."""
    s._state &= ~R_READING
    return _read_more(s) if s._state & R_NEED_READABLE else 0


cdef int _read_more_now(Stream s) except -1:
    cdef Py_ssize_t before
    while not s._state & (R_READING | R_ENDED | DESTROYED) and (
            s.r_length < s.r_mark or (s._flowing == FLOWING_YES and s.r_length == 0)
            or _reads_on(s)):
        before = s.r_length
        if s.r_transforms & R_READERS and _reads_on(s):
            r_ask(s)
        else:
            r_kick(s)
        if s.r_length == before:
            break
    s._state &= ~R_READING_MORE
    return 0


# ---- Data out ----------------------------------------------------------------------------------

cdef object r_read(Stream s, object size):
    """read(size): bytes or str, with a framing the next frame; None if less has arrived."""
    return _read(s, _wanted_frame(size) if s.r_transforms & R_FRAMES else _wanted_size(s, size))


cdef object _read(Stream s, Py_ssize_t wanted):
    """r_read() of a size that was checked."""
    cdef bint frames = s.r_transforms & R_FRAMES
    cdef Py_ssize_t count
    cdef object item = None
    if wanted < 0 and s.r_transforms & R_READERS:
        b_keep_items(s)
    if wanted != 0:
        s._state &= ~(R_EMITTED_READABLE | R_END_UNSEEN)
    if s._state & DESTROYED:
        return None
    count = _frame_size(s, wanted) if frames else b_size(s, wanted)
    if count < 0:
        return None
    if wanted == 0 and s._state & R_NEED_READABLE and (
            s._state & R_ENDED or (count > 0 if frames else _is_full(s))):
        if s.r_length == 0 and s._state & R_ENDED:
            _end(s)
        else:
            _emit_readable(s)
        return None
    if count == 0 and s._state & R_ENDED and (s.r_length == 0 or not frames):
        if s.r_length == 0:
            _end(s)
        return None
    if s._state & R_NEED_READABLE or s.r_length == 0 or s.r_length - count < s.r_mark \
            or frames and not count:
        if s._state & HAS_READABLE \
                and not s._state & (R_ENDED | R_READING | DESTROYED | ERRORED):
            if s.r_length == 0:
                s._state |= R_NEED_READABLE
            r_ask(s)
            if frames and (not s.r_transforms & R_FRAMES or s._state & DESTROYED):
                return None
            # The source may have pushed at once, and with a framing, done anything else.
            if wanted != 0 and (frames or not s._state & R_READING):
                count = _frame_size(s, wanted) if frames else b_size(s, wanted)
                if count < 0:
                    return None
    if count > 0 and wanted != 0:
        item = b_take(s, frames, count)
    if item is None:
        if not frames:
            count = 0
        if count == 0 and (frames or s.r_length <= s.r_mark):
            s._state |= R_NEED_READABLE
    if s.r_length == 0:
        if not s._state & R_ENDED:
            s._state |= R_NEED_READABLE
        elif wanted != count:
            _end(s)
    if item is not None and not s._state & (DESTROYED | CLOSE_EMITTED):
        s._state |= R_DID_READ
        s._emit1(_DATA, item)
    return item


cdef Py_ssize_t _wanted_size(Stream s, object size) except -2:
    """How much read(size) is to take: -1 is whatever there is, 0 only asks the source."""
    cdef Py_ssize_t wanted
    if size is None:
        return -1
    if isinstance(size, bool) or not isinstance(size, (int, float)):
        raise arg_type_error("size", "number", size)
    if size > MAX_MARK:
        raise range_error("size", "<= 1GiB", size)
    wanted = int(size) if size >= 0 else 0
    if wanted > s.r_mark:
        s.r_mark = 1 << (wanted - 1).bit_length()
    return wanted


cdef Py_ssize_t _wanted_frame(object size) except -2:
    """_wanted_size() with a framing: -1 is the next frame, however long it is."""
    if size is None:
        return -1
    if size == 0:
        return 0
    raise state_error("ERR_METHOD_NOT_APPLICABLE",
                      "read(size) cannot be used on a stream with a framing")


cdef Py_ssize_t _frame_size(Stream s, Py_ssize_t wanted) except -2:
    """How many bytes of the buffer the next frame takes; 0 if it is not there yet.

    -1 if the search has changed the framing, or destroyed the stream. If only the source is to be
    asked, it takes place where a frame would keep that from happening.
    """
    cdef Front found
    if not s.r_length or wanted == 0 and not (
            (s.r_length >= s.r_mark or s._state & R_ENDED)
            and (s._flowing == FLOWING_YES or s._state & R_LISTENING)):
        return 0
    found = _next_front(s)
    if not s.r_transforms & R_FRAMES or s._state & DESTROYED:
        return -1
    return s._rare.r_cutter._total if found == FRONT_FRAME else 0


cdef inline bint _is_full(Stream s) noexcept:
    return s.r_length >= s.r_mark if s.r_mark else s.r_length > 0


cdef int r_kick(Stream s) except -1:
    """read(0): ask the source, hand out nothing."""
    _read(s, 0)
    return 0


cdef int _flow(Stream s) except -1:
    cdef Cutter cutter = s._rare.r_cutter
    if s.r_transforms & R_FRAMES:
        return _flow_frames(s)
    if cutter is not None:
        cutter.flowing += 1
    try:
        while s._flowing == FLOWING_YES and not s._state & DESTROYED \
                and _read(s, -1) is not None:
            pass
    except (MemoryError, RecursionError) as exc:
        r_lost(s, exc)
    finally:
        if cutter is not None:
            cutter.flowing -= 1
    return 0


cdef int r_lost(Stream s, object exc) except -1:
    """Handing out data failed. If not in the program, some are lost: the stream must not go on."""
    if s._state & DESTROYED or not never_reached(exc):
        raise exc
    return s._fail(os_error(UV_ENOMEM, "read"))


# ---- Modes -------------------------------------------------------------------------------------

cdef int r_pause(Stream s) except -1:
    if s._state & DESTROYED:
        return 0
    if s._flowing != FLOWING_NO:
        s._flowing = FLOWING_NO
        s._paused = 1
        s._emit0(ON_PAUSE)
    s._paused = 1
    return 0


cdef int r_resume(Stream s) except -1:
    if s._state & DESTROYED:
        return 0
    if s._flowing != FLOWING_YES:
        # A 'readable' listener rules the mode, but resume() still kicks the source.
        s._flowing = FLOWING_NO if s._state & R_LISTENING else FLOWING_YES
        if not s._state & R_RESUME_SCHEDULED:
            s._state |= R_RESUME_SCHEDULED
            s._loop.tick(s, TICK_RESUME, None)
    s._paused = 0
    return 0


cdef int r_listener_added(Stream s, object event) except -1:
    if is_event(event, _DATA):
        # A 'readable' listener that was added after 'end' rules from now on.
        if _listened(s):
            s._state |= R_LISTENING
        if s._flowing != FLOWING_NO:
            # r_resume is what Node's on('data') calls, through resume().
            s.resume()
    elif is_event(event, _READABLE):
        s._ready()
        _begin_listening(s)
    return 0


cdef int _begin_listening(Stream s) except -1:
    """A 'readable' listener, or a reader, rules the mode from now on."""
    if not s._state & (R_END_EMITTED | R_LISTENING):
        s._state |= R_LISTENING | R_NEED_READABLE
        s._state &= ~R_EMITTED_READABLE
        s._flowing = FLOWING_NO
        if s.r_length or s._state & R_END_UNSEEN:
            _emit_readable(s)
        if (not s.r_length or s.r_transforms & R_FRAMES) and not s._state & R_READING:
            s._loop.tick(s, TICK_READ_KICK, None)
    return 0


cdef inline bint _listened(Stream s) noexcept:
    """Whether there is a reader for what comes."""
    return s.r_reader is not None or s._find(_READABLE) is not None


cdef int r_begin_reader(Stream s, Reader reader) except -1:
    """Let a reader take what arrives; it owns the stream until r_end_reader()."""
    s._ready()
    reader._earlier = s.r_reader
    s.r_reader = reader
    s._lend()
    return _begin_listening(s)


cdef int r_end_reader(Stream s, Reader reader) except -1:
    """A reader leaves; what it has not taken stays where it is."""
    cdef Reader after = s.r_reader
    s._ready()
    if after is reader:
        s.r_reader = reader._earlier
    else:
        while after is not None and after._earlier is not reader:
            after = after._earlier
        if after is None:
            return 0
        after._earlier = reader._earlier
    reader._earlier = None
    if s.r_reader is None:
        s._loop.tick(s, TICK_UPDATE_READABLE, None)
    return s._owner_left()


cdef bint r_reads_over(Stream s) noexcept:
    """Whether no chunk will come any more: 'error', 'close' or, as the last, 'end' was emitted.

    What emits 'close' by itself is over with that.
    """
    if s._state & (ERROR_EMITTED | CLOSE_EMITTED):
        return True
    return s._state & R_END_EMITTED and (s._state & HAS_WRITABLE or not (
        s._state & AUTO_DESTROY and s._state & EMIT_CLOSE and not s._state & CLOSED))


cdef int r_listener_removed(Stream s, object event) except -1:
    if is_event(event, _READABLE) and s._loop is not None:
        # In a tick, since the listener may be replaced at once (once, for one).
        s._loop.tick(s, TICK_UPDATE_READABLE, None)
    return 0


cdef bint r_in_turn(Stream s) except -1:
    """Whether what is no chunk can be handed out now, such as a descriptor: all that came before it
    was, and there is a reader, or it is not decided yet whether data should flow.

    Where it cannot, the next call of _ask_source() may change that, or the next but one.
    """
    if s._state & (DESTROYED | ERRORED):
        # Nothing else will be handed out.
        return True
    if s._flowing == FLOWING_NO:
        if s.r_reader is None:
            if not s._state & R_LISTENING:
                return False
        elif not s.r_reader.hungry():
            return False
        elif s.r_transforms & R_READERS:
            # A task waits for more bytes than there are.
            return True
    if not s.r_length:
        return True
    if not s.r_transforms & R_FRAMES or s._flowing == FLOWING_UNASKED \
            or s._state & R_RESUME_SCHEDULED or s._rare.r_cutter.delivering \
            or s._rare.r_cutter.flow_due:
        return False
    # A part of a frame has to wait for the rest, which is behind.
    return _front(s) == FRONT_SHORT


cdef int _update_listening(Stream s) except -1:
    if _listened(s):
        s._state |= R_LISTENING
    else:
        s._state &= ~R_LISTENING
    if s._state & R_RESUME_SCHEDULED and s._paused == 0:
        s._flowing = FLOWING_YES
    elif s._find(_DATA) is not None:
        s.resume()
    elif not s._state & R_LISTENING:
        s._flowing = FLOWING_UNASKED
    return 0


# ---- Events in ticks ---------------------------------------------------------------------------

cdef int _emit_readable(Stream s) except -1:
    s._state &= ~(R_NEED_READABLE | R_END_UNSEEN)
    if not s._state & R_EMITTED_READABLE:
        s._state |= R_EMITTED_READABLE
        s._loop.tick(s, TICK_READABLE, None)
    return 0


cdef int _emit_readable_now(Stream s) except -1:
    if not s._state & (DESTROYED | ERRORED) and (s.r_length or s._state & R_ENDED) \
            and _something_to_read(s):
        try:
            s._emit0(_READABLE)
        finally:
            s._wake_readers()
        s._state &= ~R_EMITTED_READABLE
    elif s.r_transforms & R_FRAMES:
        s._state &= ~R_EMITTED_READABLE
    if s._flowing != FLOWING_YES and not s._state & R_ENDED \
            and (s.r_length <= s.r_mark or s.r_transforms & R_FRAMES):
        s._state |= R_NEED_READABLE
    return _flow(s)


cdef int _end(Stream s) except -1:
    if not s._state & R_END_EMITTED:
        s._state |= R_ENDED
        s._loop.tick(s, TICK_END, None)
    return 0


cdef int _end_now(Stream s) except -1:
    if s._state & (DESTROYED | CLOSE_EMITTED | R_END_EMITTED | ERRORED) or s.r_length:
        return 0
    s._state |= R_END_EMITTED
    try:
        s._emit0(ON_END)
    except BaseException as exc:
        # The stream ends anyway.
        s._loop.report_of(exc, s)
    s._wake_readers()
    if s._state & HAS_WRITABLE and not s._state & (ALLOW_HALF_OPEN | W_ENDING | DESTROYED):
        s._loop.tick(s, TICK_AUTO_END, None)
    elif s._state & AUTO_DESTROY and (not s._state & HAS_WRITABLE or s._state & W_FINISHED) \
            and not s._coroutines & W_LINGERS:
        s._destroy_with(None)
    return 0


cdef int r_tick(Stream s, int what, object argument) except -1:
    """Run one of the readable half's ticks; returns 0 if it is none of them."""
    if what == TICK_RESUME:
        if not s._state & (R_READING | DESTROYED):
            r_kick(s)
        s._state &= ~R_RESUME_SCHEDULED
        s._emit0(ON_RESUME)
        _flow(s)
        if s._flowing == FLOWING_YES and not s._state & (R_READING | DESTROYED):
            r_kick(s)
    elif what == TICK_READABLE:
        _emit_readable_now(s)
    elif what == TICK_UPDATE_READABLE:
        _update_listening(s)
    elif what == TICK_READ_KICK:
        if not s._state & DESTROYED:
            r_kick(s)
    elif what == TICK_READ_MORE:
        _read_more_now(s)
    elif what == TICK_END:
        _end_now(s)
    elif what == TICK_AUTO_END:
        # A coroutine that owns the stream meanwhile makes it when it leaves.
        if not s._state & (W_ENDING | DESTROYED) and not s._coroutines & HALF_OPEN_LENT:
            s.end()
    else:
        return 0
    return 1


cdef bint r_readable(Stream s) noexcept:
    return s._state & HAS_READABLE and not s._state & (
        DESTROYED | ERROR_EMITTED | R_END_EMITTED)


cdef int r_set_encoding(Stream s, object name) except -1:
    cdef Decoder decoder = Decoder(encoding_name(name))
    b_keep_items(s)
    return b_decode(s, decoder)


# ---- Frames --------------------------------------------------------------------------------------

cdef class FlowRest(Continuation):
    """What is left of a chunk flows on when the callback, and who awaited a part of it, are done.
    """

    cdef Stream _stream

    cdef int go_on(self) except -1:
        cdef Stream s = self._stream
        s._rare.r_cutter.flow_due = False
        if s._state & DESTROYED:
            return 0
        if s._flowing == FLOWING_YES:
            _flow(s)
        elif s.r_length and s._state & R_LISTENING:
            _emit_readable(s)
        if not s._state & (R_READING | DESTROYED) and (
                s._flowing == FLOWING_YES or s._state & R_LISTENING):
            r_kick(s)
        return 0


cdef int _flow_later(Stream s) except -1:
    cdef FlowRest rest
    if s._rare.r_cutter.flow_due or s._state & DESTROYED:
        return 0
    s._rare.r_cutter.flow_due = True
    try:
        rest = FlowRest.__new__(FlowRest)
        rest._stream = s
        s._loop.continue_with(rest)
    except BaseException:
        s._rare.r_cutter.flow_due = False
        raise
    return 0


cdef int r_push_framed(Stream s, const char* base, Py_ssize_t size) except -1:
    """Bytes arrived at a stream with a framing; returns as r_push()."""
    cdef Cutter cutter = s._rare.r_cutter
    if s._state & (R_ENDED | DESTROYED | ERRORED):
        if s._state & R_ENDED and not s._state & DESTROYED:
            s._fail(state_error("ERR_STREAM_PUSH_AFTER_EOF", "stream.push() after EOF"))
        return 0
    s._state &= ~R_READING
    if s.r_transforms & R_READERS:
        return _push_bytes(s, base, size)
    if size:
        if s._flowing == FLOWING_YES and not cutter.delivering and not s._state & R_SYNC \
                and not (s.r_length and s._state & R_RESUME_SCHEDULED):
            cutter.lend(base, size)
            s.r_length = cutter.size()
            _deliver(s)
        else:
            b_add_bytes(s, base, size)
            _cut_on(s)
    if not s._state & R_PUSHED_SOURCE:
        _read_more(s)
    return r_goes_on(s)


cdef bint r_goes_on(Stream s) noexcept:
    """Whether the source may go on."""
    return not s._state & (R_ENDED | DESTROYED) \
        and (s.r_length < s.r_mark or s.r_length == 0 or _reads_on(s))


cdef int _cut_on(Stream s) except -1:
    """The uncut bytes have changed: hand out frames, or say that there is one."""
    if s.r_transforms & R_READERS:
        return _say_bytes(s)
    if s._rare.r_cutter.delivering:
        # The loop that does will come to them.
        return 0
    if s._flowing == FLOWING_YES:
        if s._state & (R_SYNC | R_RESUME_SCHEDULED):
            if s._state & R_NEED_READABLE:
                _emit_readable(s)
        elif s._rare.r_cutter.flowing:
            # A listener that got a raw chunk unshifts what it leaves. Handing that out at once
            # would call it within itself, once for each message of the chunk.
            _flow_later(s)
        else:
            _deliver(s)
    elif s._state & R_LISTENING and s._state & R_NEED_READABLE and _something_to_read(s):
        _emit_readable(s)
    return 0


cdef bint _reads_on(Stream s) noexcept:
    """Whether more is read although the buffer is full: the frame in demand is longer."""
    if s.r_transforms & R_READERS:
        return s._rare.r_cutter.reader is not None and (<Reader>s._rare.r_cutter.reader).waiting
    return s.r_transforms & R_FRAMES and s._rare.r_cutter._last == FRONT_SHORT \
        and (s._flowing == FLOWING_YES or s._state & R_LISTENING)


cdef bint _something_to_read(Stream s) except -1:
    """Whether a 'readable' listener would find a frame, or the end, or needs no frame."""
    cdef Front found
    if not s.r_transforms & R_FRAMES or not s.r_length or not s._state & R_LISTENING:
        return True
    found = _front(s)
    return found == FRONT_FRAME or found == FRONT_OVERSIZE \
        or not s.r_transforms & R_FRAMES and s.r_length


cdef Front _front(Stream s) except? FRONT_CHANGED:
    """Find out what the uncut bytes begin with; what can be no frame destroys the stream."""
    cdef Front found = FRONT_CHANGED
    cdef Py_ssize_t limit
    while found == FRONT_CHANGED:
        if s._state & DESTROYED or not s.r_transforms & R_FRAMES:
            return FRONT_SHORT
        found = s._rare.r_cutter.front(s._state & R_ENDED)
        if found == FRONT_RAISED and not isinstance(s._rare.r_cutter._error, Exception):
            # What is no error, such as KeyboardInterrupt, must not end at an 'error' listener.
            error = s._rare.r_cutter.take_error()
            s._destroy_with(None)
            raise error
    if s._state & DESTROYED:
        # By Header.length, whose exception must not meet the next connection.
        _over = s._rare.r_cutter.take_error()
        return FRONT_SHORT
    # A line that is skipped goes as it comes.
    s.r_length = s._rare.r_cutter.size()
    if found <= FRONT_OVERSIZE:
        return found
    error = s._rare.r_cutter.take_error()
    if error is None:
        limit = s._rare.r_cutter.framing._limit
        try:
            error = frame_error(found, limit)
        except MemoryError as exc:
            error = exc
    s._destroy_with(error)
    return FRONT_SHORT


cdef int _deliver(Stream s) except -1:
    """Hand out the frames there are, as long as data flow; what is left goes into our memory."""
    cdef Cutter cutter = s._rare.r_cutter
    cutter.delivering = True
    try:
        _hand_out(s, cutter)
    except (MemoryError, RecursionError) as exc:
        _settle(s, cutter)
        _flow_later(s)
        r_lost(s, exc)
    except BaseException:
        _settle(s, cutter)
        _flow_later(s)
        raise
    finally:
        cutter.delivering = False
    _settle(s, cutter)
    if not s.r_transforms & R_FRAMES and s.r_length and s._flowing == FLOWING_YES \
            and not s._state & R_RESUME_SCHEDULED:
        # A listener took the framing away: the rest flows as it is.
        return _flow(s)
    if s._flowing != FLOWING_YES:
        if s._state & R_LISTENING and s._state & R_NEED_READABLE and s.r_length:
            _emit_readable(s)
    elif s._state & R_ENDED and not cutter.flow_due:
        # The end came while a listener ran.
        return _flow(s)
    return 0


cdef int _flow_frames(Stream s) except -1:
    """_flow() of a stream with a framing."""
    cdef Cutter cutter = s._rare.r_cutter
    cdef bint heard = False
    if cutter.delivering:
        # The loop that does will come to them.
        return 0
    cutter.delivering = True
    try:
        while s._flowing == FLOWING_YES and not s._state & DESTROYED:
            if s._find(_DATA) is not None:
                heard = True
            elif heard:
                # Who listened went away: see _hand_out().
                _flow_later(s)
                break
            if _read(s, -1) is None:
                break
    except (MemoryError, RecursionError) as exc:
        _flow_later(s)
        r_lost(s, exc)
    except BaseException:
        _flow_later(s)
        raise
    finally:
        cutter.delivering = False
    return 0


cdef int _settle(Stream s, Cutter cutter) except -1:
    """Keep what is left of a chunk. Without memory for it, the stream must not go on."""
    try:
        cutter.settle()
    except MemoryError:
        cutter.clear()
        s.r_length = 0
        s._fail(os_error(UV_ENOMEM, "read"))
    return 0


cdef int _hand_out(Stream s, Cutter cutter) except -1:
    cdef PyObject* listener = NULL
    cdef unsigned int seen = s._changes
    try:
        while s._flowing == FLOWING_YES and not s._state & (DESTROYED | ERRORED):
            if listener is NULL or s._changes != seen:
                s._loop.release(listener)
                # It may remove itself.
                seen = s._changes
                listener = NULL if s._loop.measuring else only_listener(s, <PyObject*>_DATA)
                if listener is not NULL:
                    Py_INCREF(<object>listener)
            if (listener is NULL or s.r_transforms != R_FRAMES or not _give_quickly(
                    s, cutter, listener)) and not _give(s, cutter):
                break
    finally:
        s._loop.release(listener)
    return 0


cdef inline int _give_quickly(Stream s, Cutter cutter, PyObject* listener) except -1:
    """Hand the usual frame to the only listener, as _take_read() of a socket hands out a chunk.

    Returns 0 where _give() has to do it.
    """
    cdef const char* payload
    cdef Py_ssize_t length
    cdef Py_ssize_t total = cutter.quick(&payload, &length)
    cdef PyObject* chunk
    cdef PyObject* result
    if not total or length > READ_BUFFER_SIZE:
        return 0
    # An object that was not kept serves again.
    if not pyuvnet_refill(<void*>s._loop.last_chunk, payload, length):
        s._loop.last_chunk = PyBytes_FromStringAndSize(payload, length)
    cutter.consume_quick(total)
    s.r_length -= total
    s._state |= R_DID_READ
    if s._rare.r_awaiting is not None:
        s._rare.r_awaiting = None
    chunk = <PyObject*>s._loop.last_chunk
    Py_INCREF(<object>chunk)
    result = pyuvnet_call_one(listener, chunk)
    Py_DECREF(<object>chunk)
    if result is NULL:
        explain_chunk(_DATA, listener, s._loop.last_chunk)
        pyuvnet_raised()
    elif not pyuvnet_drop_usual(result):
        try:
            if pyuvnet_is_awaitable(<object>result):
                s._settle(<object>result, _DATA, (s._loop.last_chunk,))
        finally:
            s._loop.release(result)
    return 1


cdef int _give(Stream s, Cutter cutter) except -1:
    """Hand out the front frame, or what comes in its place; returns 0 if there is none."""
    cdef object entry, item
    cdef Front found = _front(s)
    if found == FRONT_SHORT:
        # Also of a stream that is destroyed by now, or has no framing any more.
        return 0
    if s._flowing != FLOWING_YES:
        # Header.length paused it.
        return 1
    if found == FRONT_OVERSIZE:
        _emit_oversize(s)
        return 1
    entry = s._find(_DATA)
    if entry is None:
        _flow_later(s)
        return 0
    item = b_take(s, True, 0)
    s._state |= R_DID_READ
    if s._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
        s.emit(_DATA, item)
    else:
        s._emit1_to(_DATA, entry, item)
    return 1


cdef int _emit_oversize(Stream s) except -1:
    cdef Py_ssize_t skipped = s._rare.r_cutter._skipped
    cdef object size = skipped
    s._rare.r_cutter.consume()
    s.r_length = s._rare.r_cutter.size()
    s._emit1(_OVERSIZE, size)
    return 0


cdef Front _next_front(Stream s) except? FRONT_CHANGED:
    """_front(), past the lines that are skipped."""
    cdef Front found = _front(s)
    while found == FRONT_OVERSIZE:
        _emit_oversize(s)
        found = _front(s)
    return found


cdef int r_set_framing(Stream s, Framing framing) except -1:
    """Cut what has not been handed out by a framing from now on; None: as it came."""
    cdef Cutter cutter = s._rare.r_cutter
    if cutter is None:
        if framing is None:
            return 0
        cutter = b_cutter(s)
    if s._state & HAS_READABLE:
        if framing is None:
            b_end_frames(s)
        else:
            b_begin_frames(s)
    cutter.begin(framing)
    if s.r_length and not cutter.delivering and s._loop is not None:
        _flow_later(s)
    # A reader that needs a stream without a framing cannot go on waiting.
    return s._wake_readers()


# ---- Bytes for readers ---------------------------------------------------------------------------

cdef int _push_bytes(Stream s, const char* base, Py_ssize_t size) except -1:
    """r_push() where the buffer is for readers."""
    if s._flowing == FLOWING_YES:
        b_keep_items(s)
        return r_push(s, PyBytes_FromStringAndSize(base, size))
    b_add_bytes(s, base, size)
    _say_bytes(s)
    if not s._state & R_PUSHED_SOURCE:
        _read_more(s)
    return r_goes_on(s)


cdef int _say_bytes(Stream s) except -1:
    """There are more bytes: a task that waits for them goes on, if there are enough."""
    cdef Reader reader = <Reader>s._rare.r_cutter.reader
    if reader is not None and reader.waiting:
        # Unless the handle sees to it.
        if not s._rare.r_cutter.delivering:
            reader.arrived()
    elif s._state & R_NEED_READABLE and _listened(s):
        _emit_readable(s)
    return 0


cdef int r_taken(Stream s) except -1:
    """A reader has taken bytes."""
    s._state = (s._state | R_DID_READ) & ~(R_EMITTED_READABLE | R_END_UNSEEN)
    if s._rare.r_awaiting is not None:
        s._rare.r_awaiting = None
    s.r_length = s._rare.r_cutter.size()
    if s.r_length == 0:
        if s._state & R_ENDED:
            return _end(s)
        s._state |= R_NEED_READABLE
    if s.r_length < s.r_mark and not s._state & R_READING:
        return r_ask(s)
    return 0


cdef int r_ask(Stream s) except -1:
    """Ask the source for more, unless it was asked or has no more."""
    if not s._state & HAS_READABLE or s._state & (R_ENDED | R_READING | DESTROYED | ERRORED):
        return 0
    s._state |= R_READING | R_SYNC
    try:
        s._ask_source()
    except BaseException:
        # It can be asked again.
        s._state &= ~(R_READING | R_SYNC)
        raise
    s._state &= ~R_SYNC
    return 0


cdef class Readable(Stream):
    """A source of bytes; subclass it and implement `_read(size)`, which calls push().

    Args:
        options: a mapping of the options below; keywords win over it.
        high_water_mark, readable_high_water_mark: int >= 0, bytes, default
            get_default_high_water_mark(): how far it reads ahead.
        encoding: str, default None: decode chunks from this encoding; None delivers bytes.
        read: callable(size): the method `_read`.
        destroy: callable(error, callback): the method `_destroy`.
        construct: callable(callback): the method `_construct`, which is called before all others;
            they wait for its callback.
        auto_destroy: bool, default True: destroy after 'end'.
        emit_close: bool, default True: emit 'close' after destruction.
        capture_rejections: bool, default EventEmitter.capture_rejections: destroy the stream if a
            coroutine listener fails.
        framing: one of pyuvnet.framing, default None: as with set_framing().

    Events: 'data' (chunk, or frame), 'readable', 'end', 'pause', 'resume', 'oversize' (bytes),
        'error' (error), 'close'.
    Raises: ArgTypeError (ERR_UNKNOWN_OPTION, ERR_UNKNOWN_ENCODING), ArgValueError
        (ERR_INVALID_ARG_VALUE: a mark, or object mode).

    Node: stream.Readable
    """

    _option_functions = ("Readable",)

    def __init__(self, options=None, **keywords):
        self._refuse_second()
        cdef dict given = stream_options(options, keywords)
        self._init_emitter(given.get("capture_rejections"))
        self._init_stream(
            HAS_READABLE | flag_option(given, "auto_destroy", AUTO_DESTROY)
            | flag_option(given, "emit_close", EMIT_CLOSE),
            mark_option(given, "readable_high_water_mark", True), 0)
        framing = check_framing(given.get("framing"), "options.framing")
        if given.get("encoding") is not None:
            r_set_encoding(self, given["encoding"])
        if framing is not None:
            r_set_framing(self, framing)
        self._take_methods(given)
        self._begin_construct()

    def pause(self):
        """Stop 'data'; arriving data is buffered up to the high-water mark.

        Returns the stream. Events: 'pause'.

        Node: readable.pause()
        """
        self._ready()
        r_pause(self)
        return self

    def resume(self):
        """Let data flow; takes effect in the next tick.

        Returns the stream. Events: 'resume'.

        Node: readable.resume()
        """
        self._ready()
        r_resume(self)
        return self

    def is_paused(self):
        """Return True after pause(), until resume(). Node: readable.isPaused()"""
        return self._paused == 1 or self._flowing == FLOWING_NO

    def read(self, size=None):
        """Take data from the buffer.

        Args:
            size: int, bytes (characters after set_encoding()); None (default): all there is. 0
                only makes the source read.

        Returns: bytes or str, or None if less has arrived; with a framing the next frame.
        Emits it as 'data' too.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE) above 1 GiB;
            StateError (ERR_METHOD_NOT_APPLICABLE) for a size with a framing.

        Node: readable.read()
        """
        self._ready()
        return r_read(self, size)

    def set_encoding(self, encoding=None):
        """Deliver str instead of bytes; characters that are split between chunks arrive whole.

        Args:
            encoding: str, default 'utf8'.

        Returns the stream.
        Raises: ArgTypeError (ERR_UNKNOWN_ENCODING).

        Node: readable.setEncoding()
        """
        self._ready()
        r_set_encoding(self, encoding)
        return self

    def read_exactly(self, size):
        """Wait for exactly this many bytes.

        Args:
            size: int >= 0.

        Returns: an awaitable of bytes, needs asyncio. One task at a time may wait; meanwhile,
            'data' listeners get nothing. Cancelling it loses no data.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError (ERR_OUT_OF_RANGE), StateError
            (ERR_METHOD_NOT_APPLICABLE) of a stream with a framing or an encoding; from the
            awaitable StateError (ERR_ALREADY_READING), IncompleteReadError
            (ERR_FRAME_INCOMPLETE) if the stream ends before, what the stream failed with, or
            ClosedError.

        Node: none (asyncio.StreamReader.readexactly())
        """
        self._ready()
        return later.start_read(self, 0, None, size)

    def read_until(self, delimiter, *, limit=65536):
        """Wait for everything up to and including a delimiter.

        Args:
            delimiter: bytes-like, not empty.
            limit: int >= 1, bytes, default 65536: the most that may come before the delimiter.

        Returns: as read_exactly().
        Raises: as read_exactly(), ArgValueError (ERR_INVALID_ARG_VALUE); from the awaitable
            FrameError (ERR_FRAME_TOO_LONG) over the limit; nothing is consumed then, and the stream
            stays open.

        Node: none (asyncio.StreamReader.readuntil())
        """
        self._ready()
        return later.start_read(self, 1, delimiter, limit)

    def read_line(self, *, limit=65536):
        r"""Wait for a line, without its "\n" or "\r\n".

        Args:
            limit: int >= 1, bytes, default 65536: the most that a line may have.

        Returns: as read_exactly(). b"" is an empty line, or the end of the stream: only then
            `at_end` is True. If the stream ends without a line end, what is left is the last line.
        Raises: as read_until(), except for IncompleteReadError.

        Node: none (asyncio.StreamReader.readline())
        """
        self._ready()
        return later.start_read(self, 2, None, limit)

    @property
    def _buffer_memory(self):
        """Bytes of memory for what a framing or a reader has not taken, for tests."""
        return 0 if self._rare.r_cutter is None else self._rare.r_cutter._room

    @property
    def at_end(self):
        """True once the stream has ended and nothing is left to read. Node: none"""
        return bool(self._state & R_ENDED and not self.r_length)

    def unshift(self, chunk=b"", encoding=None):
        """Put a chunk back in front of the buffer; a framing splits it again.

        Args:
            chunk: bytes-like or str; an empty one is ignored. Under an encoding, bytes are decoded
                on their own: a character that is cut off becomes U+FFFD. None ends the readable
                side, as with push().
            encoding: of a str, default 'utf8'.

        Returns: bool, False after destroy or 'end'.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_ENCODING).
        Events: 'error' (ERR_STREAM_UNSHIFT_AFTER_END_EVENT) after 'end'.

        Node: readable.unshift()
        """
        self._ready()
        return bool(r_unshift(self, chunk, encoding))

    def pipe(self, dest=None, options=None, *, end=True):
        """Write everything that arrives to dest, with back pressure.

        Args:
            dest: a Writable, a Socket, sys.stdout or sys.stderr (which are never ended), or any
                object with write, end, on, once, emit and remove_listener.
            options: a mapping with `end`.
            end: bool, default True: end dest at our 'end'.

        Returns dest. Events: 'pipe' (source) and, when it is over, 'unpipe' (source) on dest.
        An error or destroy of the source does not end dest; see streams.pipeline().
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: readable.pipe()
        """
        self._ready()
        if options is not None:
            if not is_mapping(options):
                raise arg_type_error("options", "object", options)
            end = options.get("end", end)
        standard = None if isinstance(dest, Stream) else upcall(STANDARD_STREAM)(dest)
        if standard is not None:
            pipe_to(self, standard, False)
        else:
            pipe_to(self, dest, end is not False)
        return dest

    def unpipe(self, dest=None):
        """Undo pipe(dest), or all pipes; the source is paused when no pipe is left.

        Returns the stream. Events: 'unpipe' (source, info) on each dest.

        Node: readable.unpipe()
        """
        self._ready()
        standard = None if dest is None or isinstance(dest, Stream) \
            else upcall(STANDARD_STREAM)(dest)
        unpipe_from(self, dest if standard is None else standard)
        return self

    @staticmethod
    def from_iterable(iterable, **options):
        """Create a Readable from an iterable or async iterable of bytes-like or str.

        Args: as for streams.from_iterable().

        Node: stream.Readable.from()
        """
        return upcall(STREAM_FROM_ITERABLE)(iterable, **options)

    def __aiter__(self):
        """Iterate over the chunks; the stream is destroyed at the end. Node: for await"""
        return self.iterator()

    def iterator(self, destroy_on_return=True):
        """Return an async iterator over the chunks.

        Args:
            destroy_on_return: bool, default True: leaving the loop early destroys the stream.

        Node: readable.iterator()
        """
        self._ready()
        return upcall(ITERATE_STREAM)(self, destroy_on_return)

    @property
    def readable(self):
        """True while data may still arrive. Node: readable.readable"""
        return bool(r_readable(self))

    @property
    def readable_flowing(self):
        """None: no reader yet; False: paused; True: flowing. Node: readable.readableFlowing"""
        return None if self._flowing == FLOWING_UNASKED else self._flowing == FLOWING_YES

    @property
    def readable_length(self):
        """Bytes in the buffer; characters with an encoding and no framing.

        Node: readable.readableLength
        """
        return self.r_length

    @property
    def readable_high_water_mark(self):
        """How far the stream reads ahead, in bytes. Node: readable.readableHighWaterMark"""
        return self.r_mark

    @property
    def readable_encoding(self):
        """Name of the encoding, or None for bytes. Node: readable.readableEncoding"""
        return None if self._rare.r_decoder is None else self._rare.r_decoder.encoding

    @property
    def readable_ended(self):
        """True once 'end' was emitted. Node: readable.readableEnded"""
        return bool(self._state & R_END_EMITTED)

    @property
    def readable_did_read(self):
        """True once any data was delivered. Node: readable.readableDidRead"""
        return bool(self._state & R_DID_READ)

    @property
    def readable_aborted(self):
        """True if destroyed or failed before 'end'. Node: readable.readableAborted"""
        return bool(self._state & HAS_READABLE and self._state & (DESTROYED | ERRORED)
                    and not self._state & R_END_EMITTED)

    @property
    def readable_object_mode(self):
        """Always False: streams carry bytes. Node: readable.readableObjectMode"""
        return False

    cdef object _read_chunk(self):
        return r_read(self, None)

    cdef int _ask_source(self) except -1:
        cdef object read
        if self._coroutines & CONSTRUCTING:
            return 0
        try:
            read = self._method("_read")
            if read is None:
                raise state_error(
                    "ERR_METHOD_NOT_IMPLEMENTED", "The _read() method is not implemented")
            read(self.r_mark)
        except Exception as exc:
            self._fail(exc)
        return 0

    cdef int _go_on(self) except -1:
        return r_constructed(self)

    def _push_at_once(self):
        """Let what is pushed before the first `_read` flow, as a Transform does."""
        self._state &= ~R_SYNC

    def push(self, chunk, encoding=None):
        """Add a chunk to the readable side, from a subclass's `_read`; None ends it.

        Args:
            chunk: bytes-like, str, or None.
            encoding: of a str, default 'utf8'.

        Returns: bool, False when the source should wait for the next `_read`.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE, ERR_UNKNOWN_ENCODING).

        Node: readable.push()
        """
        self._ready()
        if chunk is None:
            r_push_eof(self)
            return False
        if isinstance(chunk, str):
            chunk = encode(chunk, encoding)
        elif type(chunk) is not bytes:
            try:
                chunk = bytes(memoryview(chunk))
            except TypeError:
                raise arg_type_error(
                    "chunk", ["string", "Buffer", "TypedArray", "DataView"], chunk) from None
        return bool(r_push(self, chunk))

    cdef int _listener_added(self, object event) except -1:
        return r_listener_added(self, event)

    cdef int _listener_removed(self, object event) except -1:
        return r_listener_removed(self, event)

    cdef int _on_tick(self, int what, object argument) except -1:
        if not r_tick(self, what, argument):
            return Stream._on_tick(self, what, argument)
        return 0


seal(FlowRest)
add_node_names(Readable)

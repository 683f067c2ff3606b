"""The writable half of a stream: queue, cork, write callbacks, 'drain', end and 'finish'.

Everything that changes a field with the prefix w_ or W_ lives in this file and, for the chunks
that a socket collects, in socket_base.  In Node's terms:

* At most one write is in flight (W_WRITING); what comes meanwhile, or under cork, is queued and
  leaves together when it completes.
* Writes are numbered.  w_accepted counts those taken, w_done those completed, and a callback
  waits with its number; so the order of callbacks is the order of writes, whatever the route.
* A write that completed inside the call that made it (W_SYNC) answers in a tick, never inside.
* 'drain' comes before the callbacks of the writes whose completion emptied the queue.
* The end callbacks come right before 'finish'.
* A failed write: its callback, those of all queued writes, the end callbacks, then destroy.

Imports: stream, encoding, errors.
"""

from cpython.bytes cimport PyBytes_CheckExact

from ..errors import ArgTypeError
from .._validate import arg_type_error

from .emitter cimport intern_event
from .encoding cimport encode, encoding_name
from .errors cimport already_finished, stream_destroyed, write_after_end
from .stream cimport *

cdef object _DRAIN = intern_event("drain")
cdef object _FINISH = intern_event("finish")
cdef object _CHUNK_TYPES = ["string", "Buffer", "TypedArray", "DataView"]


# ---- write() -----------------------------------------------------------------------------------

cdef object _as_chunk(Stream s, object chunk, object encoding):
    """Check a chunk and turn it into bytes, or a memoryview that keeps the user's buffer."""
    if isinstance(chunk, str):
        return encode(chunk, s.w_encoding if encoding is None else encoding)
    if chunk is None:
        raise ArgTypeError("May not write null values to stream", "ERR_STREAM_NULL_VALUES")
    if encoding is not None:
        encoding_name(encoding)
    if isinstance(chunk, bytes):
        return chunk
    try:
        view = memoryview(chunk)
    except TypeError:
        raise arg_type_error("chunk", _CHUNK_TYPES, chunk) from None
    if not view.c_contiguous:
        raise arg_type_error("chunk", ["a C-contiguous buffer"], chunk)
    return view.cast("B") if view.nbytes else b""


cdef bint w_write(Stream s, object chunk, object encoding, object callback) except -1:
    """write(): True while the writer may go on."""
    cdef Py_ssize_t size
    if encoding is not None and callback is None and callable(encoding):
        callback, encoding = encoding, None
    if not (PyBytes_CheckExact(chunk) and encoding is None):
        chunk = _as_chunk(s, chunk, encoding)
    size = len(chunk)
    if callback is not None and not callable(callback):
        callback = None
    if s._state & (W_ENDING | DESTROYED):
        error = write_after_end() if s._state & W_ENDING else stream_destroyed("write")
        if callback is not None:
            s._loop.tick_call(callback, (error,))
        s._fail(error)
        return False
    s.w_length += size
    s.w_accepted += 1
    if callback is not None:
        if s.w_waiting is None:
            s.w_waiting = []
        s.w_waiting.append((s.w_accepted, callback))
    if s._state & (W_WRITING | ERRORED) or s.w_corked:
        _enqueue(s, chunk)
    else:
        s._begin_write(chunk, size, callback is not None)
    if s.w_length >= s.w_mark and s.w_length:
        s._state |= W_NEED_DRAIN
        return False
    return not s._state & (DESTROYED | ERRORED)


cdef inline int _enqueue(Stream s, object chunk) except -1:
    if s.w_queue is None:
        s.w_queue = [chunk]
    else:
        s.w_queue.append(chunk)
    return 0


cdef int w_cork(Stream s) except -1:
    # What was written before the cork leaves as if there were none.
    s._flush()
    s.w_corked += 1
    return 0


cdef int w_uncork(Stream s) except -1:
    if s.w_corked:
        s.w_corked -= 1
        if not s._state & W_WRITING:
            _next(s)
    return 0


cdef int _next(Stream s) except -1:
    """Hand the queue over, if something waits there and nothing forbids it."""
    if s.w_queue is None or s.w_corked or s._state & (
            DESTROYED | ERRORED | W_COLLECTING | W_PROCESSING):
        return 0
    return s._begin_queue()


# ---- Completion --------------------------------------------------------------------------------

cdef int w_completed(Stream s, BaseException error, bint in_call) except -1:
    """The write in flight completed; in_call: still inside the call that handed it over."""
    cdef unsigned long number
    s._state &= ~(W_WRITING | W_COLLECTING)
    s.w_length -= s.w_size
    s.w_size = 0
    s.w_chunk = None
    if error is not None:
        # Its number stays open: w_fail_writes() answers it first, with this error.
        s._state |= ERRORED
        if s._errored is None:
            s._errored = error
        if in_call:
            s._state |= W_FAILED
            s._loop.tick(s, TICK_WRITE_ERROR, error)
            return 0
        return _write_error(s, error)
    s.w_done += s.w_in_flight
    s.w_in_flight = 0
    number = s.w_done
    _next(s)
    if in_call:
        if s.w_waiting is not None or s._state & (W_NEED_DRAIN | W_ENDING):
            s._loop.tick(s, TICK_AFTER_WRITE, number)
        return 0
    return w_after_write(s, number)


cdef int w_after_write(Stream s, unsigned long number) except -1:
    """Answer the completed writes up to a number: 'drain', callbacks, then perhaps the finish."""
    cdef list waiting
    if s._state & W_NEED_DRAIN and s.w_length == 0 and not s._state & (W_ENDING | DESTROYED):
        s._state &= ~W_NEED_DRAIN
        s._emit0(_DRAIN)
    while s.w_waiting is not None:
        waiting = s.w_waiting
        if not waiting or <unsigned long>waiting[0][0] > number:
            break
        callback = waiting.pop(0)[1]
        if not waiting:
            s.w_waiting = None
        callback(None)
    if s._state & DESTROYED:
        return w_fail_writes(s)
    return w_finish_maybe(s, False)


cdef int _write_error(Stream s, BaseException error) except -1:
    """A write failed: its own callback gets the error, the others what the stream died of."""
    cdef list waiting = s.w_waiting
    cdef unsigned long number = s.w_done + max(s.w_in_flight, 1)
    s.w_in_flight = 0
    while waiting and s.w_waiting is waiting and <unsigned long>waiting[0][0] <= number:
        waiting.pop(0)[1](error)
    w_fail_writes(s)
    return s._fail(error)


cdef int w_fail_writes(Stream s) except -1:
    """Answer everything that waits with the stream's error; nothing more will be written."""
    cdef list waiting, ends
    if s._state & W_WRITING:
        return 0
    waiting, s.w_waiting = s.w_waiting, None
    ends, s.w_end_callbacks = s.w_end_callbacks, None
    s.w_queue = None
    s.w_length = 0
    if waiting is not None:
        for _, callback in waiting:
            callback(s._errored if s._errored is not None else stream_destroyed("write"))
    if ends is not None:
        for callback in ends:
            callback(s._errored if s._errored is not None else stream_destroyed("end"))
    return 0


# ---- end() and 'finish' ------------------------------------------------------------------------

cdef int w_end(Stream s, object chunk, object encoding, object callback) except -1:
    cdef BaseException error = None
    if callable(chunk) and not isinstance(chunk, (str, bytes)):
        callback, chunk, encoding = chunk, None, None
    elif encoding is not None and callable(encoding):
        callback, encoding = encoding, None
    if chunk is not None:
        if s._state & (W_ENDING | DESTROYED):
            chunk = _as_chunk(s, chunk, encoding)
            error = write_after_end() if s._state & W_ENDING else stream_destroyed("write")
            s._fail(error)
        else:
            w_write(s, chunk, encoding, None)
    if s.w_corked:
        s.w_corked = 1
        w_uncork(s)
    if error is not None:
        pass
    elif not s._state & (ERRORED | W_ENDING | DESTROYED):
        s._flush()
        s._state |= W_ENDING
        w_finish_maybe(s, True)
    elif s._state & W_FINISHED:
        error = already_finished()
    elif s._state & DESTROYED:
        error = stream_destroyed("end")
    if callback is not None and callable(callback):
        if error is not None:
            s._loop.tick_call(callback, (error,))
        elif s._state & W_FINISHED:
            s._loop.tick_call(callback, (None,))
        elif s.w_end_callbacks is None:
            s.w_end_callbacks = [callback]
        else:
            s.w_end_callbacks.append(callback)
    return 0


cdef bint _need_finish(Stream s) noexcept:
    return s._state & W_ENDING and not s._state & (
        DESTROYED | ERRORED | W_FINISHED | W_WRITING | W_COLLECTING | ERROR_EMITTED
        | CLOSE_EMITTED) and s.w_length == 0 and s.w_queue is None


cdef int w_finish_maybe(Stream s, bint in_call) except -1:
    if not _need_finish(s):
        return 0
    if not s._state & W_FINAL_CALLED:
        s._state |= W_FINAL_CALLED
        s._begin_final()
    return 0


cdef int w_final_done(Stream s, BaseException error) except -1:
    """What the stream does before 'finish' (a socket: the FIN) is done, or failed."""
    cdef list ends
    if error is not None:
        ends, s.w_end_callbacks = s.w_end_callbacks, None
        if ends is not None:
            for callback in ends:
                callback(error)
        return s._fail(error)
    if _need_finish(s):
        s._state |= W_PREFINISHED
        s._loop.tick(s, TICK_FINISH, None)
    return 0


cdef int _finish(Stream s) except -1:
    cdef list ends
    if s._state & DESTROYED:
        return w_fail_writes(s)
    if s.w_waiting is not None:
        # Write callbacks of the same tick round come first.
        s._loop.tick(s, TICK_FINISH, None)
        return 0
    s._state |= W_FINISHED
    ends, s.w_end_callbacks = s.w_end_callbacks, None
    if ends is not None:
        for callback in ends:
            callback(None)
    s._emit0(_FINISH)
    if s._state & AUTO_DESTROY and (not s._state & HAS_READABLE or s._state & R_END_EMITTED):
        s._destroy_with(None)
    return 0


cdef int w_tick(Stream s, int what, object argument) except -1:
    """Run one of the writable half's ticks; returns 0 if it is none of them."""
    if what == TICK_AFTER_WRITE:
        # The writes collected up to here leave now, so that the callback can say how it went.
        s._flush()
        if s._state & W_FAILED:
            s._state &= ~W_FAILED
            _write_error(s, s._errored)
        elif not s._state & ERRORED or s._state & DESTROYED:
            w_after_write(s, min(<unsigned long>argument, s.w_done))
    elif what == TICK_WRITE_ERROR:
        if s._state & W_FAILED:
            s._state &= ~W_FAILED
            _write_error(s, argument)
    elif what == TICK_FAIL_WRITES:
        w_fail_writes(s)
    elif what == TICK_FINISH:
        _finish(s)
    else:
        return 0
    return 1


cdef bint w_writable(Stream s) noexcept:
    return s._state & HAS_WRITABLE and not s._state & (DESTROYED | W_ENDING | ERRORED)


cdef int w_set_default_encoding(Stream s, object name) except -1:
    s.w_encoding = encoding_name(name)
    return 0

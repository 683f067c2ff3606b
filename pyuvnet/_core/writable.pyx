"""The writable half of a stream: queue, cork, write callbacks, 'drain', end and 'finish'.

The flags with the prefix W_ change here and, for the chunks that a socket collects, in
socket_base; what is queued and in flight (the fields with w_) changes in write_queue alone.  Above
800 lines, since its functions call each other for every write, which over modules would cost
instructions.  In Node's terms:

* At most one write is in flight (W_WRITING); what comes meanwhile, or under cork, is queued and
  leaves together when it completes.
* Writes are numbered.  w_accepted counts those taken, w_done those completed, and a callback
  waits with its number; so the order of callbacks is the order of writes, whatever the route.
* A write that completed inside the call that made it (W_SYNC) calls back in a tick, never inside.
* 'drain' comes before the callbacks of the writes whose completion emptied the queue.
* The end callbacks come right before 'finish'.
* A failed write: its callback, those of all queued writes, the end callbacks, then destroy.

Chunks and callbacks are the program's: dropping the last reference to one may run code that writes,
ends or destroys.  So a chunk that is done with goes to Loop.release(), a callback into a local, and
an error is made only when the fields agree.

Imports: stream, encoding, errors.
"""

from cpython.bytes cimport PyBytes_CheckExact
from cpython.object cimport PyObject

from .._base.validation import arg_type_error, null_values_error, unknown_encoding_error

from .capi cimport hold_collector, list_of, numbered, release_collector
from .debugging cimport call_watched
from .emitter cimport ON_DRAIN, ON_FINISH
from .encoding cimport encode, encoding_name
from .errors cimport already_finished, closed_before_connection, queue_full, seal, \
    socket_closed, state_error, stream_destroyed, write_after_end
from .framing cimport Framing, check_framing
from .names import add_node_names
from .readable cimport r_set_framing
from .stream cimport *
from .upcalls cimport WAIT_FOR_DRAIN, later, upcall
from .write_queue cimport q_accept, q_compact, q_discard, q_enqueue, q_failed, q_forget_failed, \
    q_landed, q_launch, q_launch_all, q_settle, q_take_first

cdef object _CHUNK_TYPES = ["string", "Buffer", "TypedArray", "DataView"]


# ---- States ------------------------------------------------------------------------------------

# What the writable side is in, by the flags of the stream, and what takes it elsewhere. Whatever is
# not in the table leaves it as it is.
STATES = {
    "open": "nothing waits",
    "collecting": "a socket's writes of this callback wait for its end",
    "writing": "a write is in flight; others queue behind it",
    "corked": "writes queue until uncork()",
    "ending": "end() was called, and something has still to leave",
    "finished": "everything has left; 'finish' was emitted",
    "failed": "a write failed, and its callback has not been called",
    "destroyed": "nothing is sent any more",
}
TRANSITIONS = {
    ("open", "write() in a callback"): "collecting",
    ("open", "write() that the kernel does not take"): "writing",
    ("open", "cork()"): "corked",
    ("open", "end()"): "ending",
    ("open", "destroy()"): "destroyed",
    ("collecting", "the kernel takes it"): "open",
    ("collecting", "the kernel does not take it"): "writing",
    ("collecting", "the kernel refuses it"): "failed",
    ("collecting", "cork()"): "corked",
    ("collecting", "end()"): "ending",
    ("collecting", "destroy()"): "destroyed",
    ("writing", "the write completes"): "open",
    ("writing", "the write fails"): "destroyed",
    ("writing", "end()"): "ending",
    ("writing", "destroy()"): "destroyed",
    ("corked", "uncork()"): "open",
    ("corked", "end()"): "ending",
    ("corked", "destroy()"): "destroyed",
    ("ending", "everything has left"): "finished",
    ("ending", "destroy()"): "destroyed",
    ("finished", "'end'"): "destroyed",
    ("finished", "destroy()"): "destroyed",
    ("failed", "the tick after"): "destroyed",
    ("destroyed", "connect()"): "open",
}


def state_of(Stream stream not None):
    """Return what the writable side is in: a key of STATES, None where there is no such side."""
    if not stream._state & HAS_WRITABLE:
        return None
    if stream._state & DESTROYED:
        return "destroyed"
    if stream._state & ERRORED:
        return "failed"
    if stream._state & W_FINISHED:
        return "finished"
    if stream._state & W_ENDING:
        return "ending"
    if stream.w_corked:
        return "corked"
    if stream._state & W_WRITING:
        return "writing"
    return "collecting" if stream._state & W_COLLECTING else "open"


# ---- write() -----------------------------------------------------------------------------------

cdef object _as_chunk(Stream s, object chunk, object encoding):
    """Check a chunk and turn it into bytes, or a memoryview that keeps the user's buffer."""
    if isinstance(chunk, str):
        return encode(chunk, s._rare.w_encoding if encoding is None else encoding)
    if chunk is None:
        raise null_values_error()
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
    cdef Write write
    if encoding is not None and callback is None and callable(encoding):
        callback, encoding = encoding, None
    if not (PyBytes_CheckExact(chunk) and encoding is None):
        chunk = _as_chunk(s, chunk, encoding)
    write.count = 0
    write.size = 0
    add_part(&write, chunk)
    return _accept(s, &write, callback)


cdef bint w_write_frame(Stream s, object payload, object callback) except -1:
    """write_frame(): True while the writer may go on."""
    cdef Framing framing = None if s._rare.r_cutter is None else s._rare.r_cutter.framing
    cdef Write plain, framed
    cdef bytes prefix
    if framing is None:
        raise state_error("ERR_METHOD_NOT_APPLICABLE",
                          "write_frame() needs a framing; call set_framing()")
    if not PyBytes_CheckExact(payload):
        payload = _as_chunk(s, payload, None)
    plain.count = framed.count = 0
    plain.size = framed.size = 0
    add_part(&plain, payload)
    prefix = framing.prefix(payload, plain.parts[0].base, plain.size)
    if prefix is not None:
        add_part(&framed, prefix)
    if plain.size or prefix is None and framing.suffix is None:
        add_part(&framed, payload)
    if framing.suffix is not None:
        add_part(&framed, framing.suffix)
    return _accept(s, &framed, callback)


cdef bint _accept(Stream s, Write* write, object callback) except -1:
    """Accept a write, or refuse it: the end of write() and write_frame()."""
    cdef unsigned long number
    if callback is not None and not callable(callback):
        callback = None
    if not s._coroutines & W_HAS_SINK and not s._state & (W_ENDING | DESTROYED):
        if s._coroutines & W_LIMITED:
            return _accept_limited(s, write, callback)
        _require_write(s)
    if s._state & (W_ENDING | DESTROYED):
        error = write_after_end() if s._state & W_ENDING else stream_destroyed("write")
        s._coroutines |= WRITE_REFUSED
        if callback is not None:
            s._loop.tick_call(callback, (error,))
        s._fail_later(error)
        return False
    # What needs memory comes first, and raises before anything has changed.
    if callback is not None:
        _remember(s, callback, write.count)
    number = s.w_accepted
    try:
        if s._state & (W_WRITING | ERRORED) or s.w_corked:
            q_enqueue(s, write)
        else:
            s._begin_write(write, callback is not None)
    except MemoryError:
        if callback is not None and s.w_accepted == number:
            s._rare.w_waiting.pop()
        raise
    if s.w_length >= s.w_mark and s.w_length:
        s._state |= W_NEED_DRAIN
        return False
    return not s._state & (DESTROYED | ERRORED)


cdef bint _accept_limited(Stream s, Write* write, object callback) except -1:
    """_accept() where the queue is bounded: refuse a write for which there is no room, and see
    afterwards whether one that was accepted exceeds a bound.
    """
    cdef bint go_on
    if not s._may_queue(write.size):
        s._coroutines |= W_REFUSED
        if callback is not None:
            s._loop.tick_call(callback, (queue_full(s._most_queued()),))
        if s.w_length:
            s._state |= W_NEED_DRAIN
        return False
    s._coroutines = (s._coroutines & ~W_REFUSED) | W_HAS_SINK
    try:
        go_on = _accept(s, write, callback)
    finally:
        s._coroutines &= ~W_HAS_SINK
        # Also where there was no memory for it.
        s._has_queued(write)
    return go_on and not s._state & (DESTROYED | ERRORED)


cdef int _remember(Stream s, object callback, unsigned long count) except -1:
    """Let a callback wait for the last of the writes about to be accepted; its tick cannot fail."""
    cdef tuple entry = numbered(s.w_accepted + count, callback)
    if not s._loop.reserve_ticks(1):
        raise MemoryError
    if s._rare.w_waiting is None:
        s.own_extra().w_waiting = list_of(entry)
        s._rare.w_called = 0
    else:
        s._rare.w_waiting.append(entry)
    return 0


cdef int w_flush(Stream s) except -1:
    """Send what was collected, before a property that would show it."""
    if s._state & W_COLLECTING:
        # Only the loop's own thread may.
        s._ready()
        s._flush()
    return 0


cdef int w_cork(Stream s) except -1:
    # What was written before the cork leaves as if there were none.
    s._flush()
    if s.w_corked < MANY_CORKS:
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
    if error is not None:
        _flight_failed(s, in_call)
        return _failed_with(s, error, in_call)
    s._state &= ~(W_WRITING | W_COLLECTING)
    q_landed(s)
    if s._coroutines & W_LIMITED:
        s._queue_changed()
    number = s.w_done
    _next(s)
    if in_call:
        if s._rare.w_waiting is not None or s._state & (W_NEED_DRAIN | W_ENDING):
            s._loop.tick(s, TICK_AFTER_WRITE, number)
        return 0
    return w_after_write(s, number)


cdef int w_failed(Stream s, int status, bint in_call) except -1:
    """The write in flight failed, with a libuv status or one of FAILED_...: as w_completed()."""
    cdef BaseException error
    _flight_failed(s, in_call)
    # Making the error runs Python, and so perhaps the program: by now the fields agree.
    try:
        if status == FAILED_CLOSED:
            error = socket_closed()
        elif status == FAILED_BEFORE_CONNECTION:
            error = closed_before_connection()
        else:
            error = s._failed_write(status)
    except Exception as exc:
        error = exc
    except BaseException as exc:
        s._loop.report(exc)
        error = stream_destroyed("write")
    return _failed_with(s, error, in_call)


cdef void _flight_failed(Stream s, bint in_call) noexcept:
    """The write in flight has failed, and its callback has not been called."""
    s._state &= ~(W_WRITING | W_COLLECTING)
    # Its numbers stay open: w_fail_writes() calls its callback first, with the error.
    s._state |= ERRORED
    if in_call:
        s._state |= W_FAILED
    q_failed(s)
    if s._coroutines & W_LIMITED:
        s._queue_changed()


cdef int _failed_with(Stream s, BaseException error, bint in_call) except -1:
    if s._errored is None:
        s._errored = error
    if in_call and s._loop.reserve_ticks(1):
        s._loop.tick(s, TICK_WRITE_ERROR, error)
        return 0
    s._state &= ~W_FAILED
    return _write_error(s, error)


cdef int _call_back(Stream s, object callback, object error) except -1:
    """Call one of several callbacks: if it fails, the others and the stream go on."""
    try:
        if s._loop.measuring:
            call_watched(None, callback, (error,))
        else:
            callback(error)
    except BaseException as exc:
        s._loop.report_of(exc, s)
    return 0


cdef list _take_callbacks(Stream s, unsigned long number):
    """Take out the callbacks of the writes up to a number."""
    # The list first, since on 3.11 making it may run code that changes the other.
    cdef list done = []
    cdef list waiting = s._rare.w_waiting
    if waiting is None:
        return done
    while s._rare.w_called < len(waiting) and <unsigned long>waiting[s._rare.w_called][0] <= number:
        done.append(waiting[s._rare.w_called])
        waiting[s._rare.w_called] = None
        s._rare.w_called += 1
    if s._rare.w_called == len(waiting):
        s._rare.w_waiting = None
    else:
        s._rare.w_called = q_compact(waiting, s._rare.w_called)
    return done


cdef int w_after_write(Stream s, unsigned long number) except -1:
    """Finish the completed writes up to a number: 'drain', callbacks, then perhaps 'finish'."""
    cdef list done
    # A callback may use its buffer again: nothing holds it any more.
    s._loop.release_all()
    done = _take_callbacks(s, number) if s._rare.w_waiting is not None else None
    if s._state & W_NEED_DRAIN and s.w_length == 0 and not s._state & DESTROYED:
        s._state &= ~W_NEED_DRAIN
        if not s._state & W_ENDING:
            try:
                s._emit0(ON_DRAIN)
            except BaseException as exc:
                s._loop.report_of(exc, s)
    if done is not None:
        for _, callback in done:
            _call_back(s, callback, None)
    if s._state & DESTROYED:
        return w_fail_writes(s)
    return w_finish_maybe(s, False)


cdef int _write_error(Stream s, BaseException error) except -1:
    """A write failed: its own callback gets the error, the others what the stream died of."""
    cdef unsigned long number
    s._loop.release_all()
    number = s.w_done
    if not s._state & W_WRITING:
        # Otherwise connect() came in between, and what is in flight waits for a connection.
        number = q_forget_failed(s)
    # The kernel has taken what came before it.
    for _, callback in _take_callbacks(s, s.w_done):
        _call_back(s, callback, None)
    for _, callback in _take_callbacks(s, number):
        _call_back(s, callback, error)
    w_fail_writes(s)
    return s._fail(error)


cdef int w_fail_writes(Stream s) except -1:
    """Call everything that waits with the stream's error; nothing more will be written.

    Completed writes are left to their own ticks.
    """
    cdef list done, waiting, ends
    cdef Py_ssize_t index
    if s._state & W_WRITING:
        return 0
    done = _take_callbacks(s, s.w_done)
    waiting, index = s._rare.w_waiting, s._rare.w_called
    if waiting is not None or done:
        s._rare.w_waiting, s._rare.w_called = done or None, 0
    ends = s._rare.w_end_callbacks
    if ends is not None:
        s._rare.w_end_callbacks = None
    q_discard(s)
    if s._coroutines & W_LIMITED:
        s._queue_changed()
    if waiting is not None:
        for index in range(index, len(waiting)):
            _call_back(s, waiting[index][1],
                       s._errored if s._errored is not None else stream_destroyed("write"))
    if ends is not None:
        for callback in ends:
            _call_back(s, callback,
                       s._errored if s._errored is not None else stream_destroyed("end"))
    return 0


cdef class FailedWrite:
    """Stands for the callback of a write that failed, where others have begun meanwhile."""

    cdef object _callback, _error

    def __call__(self, error):
        self._callback(self._error)


cdef int w_leave_failed(Stream s) except -1:
    """A write failed, and a tick will say so: connect() lets the next one begin at once."""
    cdef unsigned long number = s.w_done + s.w_in_flight
    cdef list waiting = s._rare.w_waiting
    cdef Py_ssize_t index = s._rare.w_called
    cdef FailedWrite failed
    cdef tuple entry
    cdef int held
    while waiting is not None and index < len(waiting):
        entry = waiting[index]
        if <unsigned long>entry[0] > number:
            break
        if <unsigned long>entry[0] > s.w_done:
            held = hold_collector()
            try:
                failed = FailedWrite.__new__(FailedWrite)
                failed._callback, failed._error = entry[1], s._errored
                waiting[index] = (entry[0], failed)
            finally:
                release_collector(held)
        index += 1
    q_settle(s, q_forget_failed(s))
    return 0


cdef int w_begin_anew(Stream s, object error) except -1:
    """A destroyed stream begins a new life: call the callbacks of the old, which nothing else will.

    error is what they get; None: what the stream was destroyed with.
    """
    cdef list waiting = s._rare.w_waiting, ends = s._rare.w_end_callbacks
    cdef Py_ssize_t index
    cdef object ended = error
    if error is None:
        error = s._errored if s._errored is not None else stream_destroyed("write")
        ended = s._errored if s._errored is not None else stream_destroyed("end")
    if waiting is not None:
        for index in range(s._rare.w_called, len(waiting)):
            number, callback = waiting[index]
            s._loop.tick_call(
                callback, (error if <unsigned long>number > s.w_done else None,))
    if ends is not None:
        for callback in ends:
            s._loop.tick_call(callback, (ended,))
    s._rare.w_waiting = s._rare.w_end_callbacks = None
    s._rare.w_called = 0
    q_settle(s, s.w_accepted)
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
            s._coroutines |= WRITE_REFUSED
            s._fail_later(error)
        else:
            w_write(s, chunk, encoding, None)
            if s._coroutines & W_REFUSED and not s._state & DESTROYED:
                # The peer would take what came before it for the whole.
                error = queue_full(s._most_queued())
                s._coroutines &= ~W_REFUSED
                s._destroy_with(error)
    if s.w_corked:
        s.w_corked = 1
        w_uncork(s)
    if error is None and not s._state & (ERRORED | W_ENDING):
        # Which may find that the peer is gone.
        s._flush()
    if error is not None:
        pass
    elif not s._state & (ERRORED | W_ENDING):
        s._state |= W_ENDING
        if s._state & DESTROYED:
            # The completion of the write in flight completes this as well.
            if not s._state & W_WRITING:
                error = stream_destroyed("end")
        else:
            w_finish_maybe(s, True)
    elif s._state & W_FINISHED:
        error = already_finished()
    elif s._state & DESTROYED:
        error = stream_destroyed("end")
    if callback is not None and callable(callback):
        if error is not None:
            s._loop.tick_call(callback, (error,))
        elif s._state & ERRORED and s._errored is not None and not s._state & DESTROYED:
            s._loop.tick_call(callback, (s._errored,))
        elif s._state & W_FINISHED:
            s._loop.tick_call(callback, (None,))
        elif s._state & DESTROYED and not s._state & W_WRITING:
            # The last step, `_final`, failed inside this call.
            s._loop.tick_call(callback, (
                s._errored if s._errored is not None else stream_destroyed("end"),))
        elif s._rare.w_end_callbacks is None:
            s.own_extra().w_end_callbacks = list_of(callback)
        else:
            s._rare.w_end_callbacks.append(callback)
    return 0


cdef bint _need_finish(Stream s) noexcept:
    return s._state & W_ENDING and not s._state & (
        DESTROYED | ERRORED | W_FINISHED | W_WRITING | W_COLLECTING | ERROR_EMITTED
        | CLOSE_EMITTED) and s.w_length == 0 and s.w_queue is None


cdef int w_finish_maybe(Stream s, bint in_call) except -1:
    cdef BaseException error
    if not _need_finish(s):
        return 0
    if not s._state & W_FINAL_CALLED:
        s._state |= W_FINAL_CALLED
        try:
            s._begin_final()
            return 0
        except MemoryError as exc:
            # It will not be tried again.
            error = exc
        return w_final_done(s, error)
    return 0


cdef int w_final_done(Stream s, BaseException error) except -1:
    """What the stream does before 'finish' (a socket: the FIN) is done, or failed."""
    cdef list ends
    if error is not None:
        ends, s._rare.w_end_callbacks = s._rare.w_end_callbacks, None
        if ends is not None:
            for callback in ends:
                _call_back(s, callback, error)
        return s._fail(error)
    if _need_finish(s):
        s._loop.tick(s, TICK_FINISH, False)
    return 0


cdef int _finish(Stream s, bint unless_destroyed) except -1:
    """Emit 'finish'; a destroy() after the last step, `_final` or a FIN, is too late to stop it."""
    if unless_destroyed and not _need_finish(s):
        # Destroyed or failed meanwhile: that calls the end callbacks.
        return 0
    if s._rare.w_waiting is not None and _need_finish(s):
        # Write callbacks of the same tick round come first.
        s._loop.tick(s, TICK_FINISH, unless_destroyed)
        return 0
    s._state |= W_FINISHED
    w_emit_finish(s)
    if s._state & AUTO_DESTROY and (not s._state & HAS_READABLE or s._state & R_END_EMITTED) \
            and not s._coroutines & W_LINGERS:
        s._destroy_with(None)
    return 0


cdef int w_emit_finish(Stream s) except -1:
    """Call the end callbacks, and emit 'finish'."""
    cdef list ends
    ends = s._rare.w_end_callbacks
    if ends is not None:
        s._rare.w_end_callbacks = None
        for callback in ends:
            _call_back(s, callback, None)
    try:
        s._emit0(ON_FINISH)
    except BaseException as exc:
        s._loop.report_of(exc, s)
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
        _finish(s, argument)
    else:
        return 0
    return 1


cdef bint w_writable(Stream s) noexcept:
    return s._state & HAS_WRITABLE and not s._state & (DESTROYED | W_ENDING | ERRORED)


cdef int w_set_default_encoding(Stream s, object name) except -1:
    if not isinstance(name, str) or not name or encoding_name(name) == "buffer":
        raise unknown_encoding_error(name)
    s.own_extra().w_encoding = encoding_name(name)
    return 0


# ---- User code below a Writable or Duplex ------------------------------------------------------

cdef class WriteCallback:
    """The callback that a user's `_write`, `_writev` or `_final` calls, once."""

    cdef Stream _stream
    cdef bint _final, _given

    def __call__(self, error=None):
        self._stream._loop.check()
        if self._given:
            self._stream._fail(
                state_error("ERR_MULTIPLE_CALLBACK", "Callback called multiple times"))
            return
        self._given = True
        if self._final:
            w_final_done(self._stream, error)
        else:
            w_completed(self._stream, error, self._stream._state & W_SYNC)


cdef WriteCallback _new_callback(Stream s, bint final):
    cdef WriteCallback callback = WriteCallback.__new__(WriteCallback)
    callback._stream = s
    callback._final = final
    return callback


cdef int _user_write(Stream s, void* given) except -1:
    """Hand a write over to `_write`, or several parts to `_writev` if there is one."""
    cdef Write* write = <Write*>given
    if s._coroutines & CONSTRUCTING:
        return q_enqueue(s, write)
    if write.count == 1:
        q_accept(s, write.size, 1)
        return _call_write(s, <object>write.parts[0].chunk, write.size)
    q_enqueue(s, write)
    return _next(s)


cdef int _call_write(Stream s, object chunk, Py_ssize_t size) except -1:
    """Hand over one chunk that was accepted."""
    q_launch(s, chunk, size, 1)
    s._state |= W_WRITING | W_SYNC
    try:
        write = s._method("_write")
        if write is not None:
            write(chunk, "buffer", _new_callback(s, False))
        else:
            s._method("_writev")([chunk], _new_callback(s, False))
    finally:
        s._state &= ~W_SYNC
    return 0


cdef int _require_write(Stream s) except -1:
    """Raise, before anything has changed, if the program forgot to say where the data go."""
    if s._method("_write") is None and s._method("_writev") is None:
        raise state_error("ERR_METHOD_NOT_IMPLEMENTED", "The _write() method is not implemented")
    s._coroutines |= W_HAS_SINK
    return 0


cdef int _user_queue(Stream s) except -1:
    cdef PyObject* chunk
    cdef list chunks
    cdef object writev = None
    if s._coroutines & CONSTRUCTING:
        return 0
    if len(s.w_queue) - s._rare.w_head > 1:
        writev = s._method("_writev")
    if writev is not None:
        if s.w_queue is None:
            # Asking for the method ran code of the program.
            return 0
        chunks = q_launch_all(s)
        s._state |= W_WRITING | W_SYNC
        try:
            writev(chunks, _new_callback(s, False))
        finally:
            s._state &= ~W_SYNC
        return 0
    s._state |= W_PROCESSING
    try:
        while s.w_queue is not None and not s.w_corked \
                and not s._state & (W_WRITING | DESTROYED | ERRORED):
            chunk = q_take_first(s)
            try:
                _call_write(s, <object>chunk, chunk_size(<object>chunk))
            finally:
                # What it writes when it is dropped comes behind the queue.
                s._loop.release(chunk)
    finally:
        s._state &= ~W_PROCESSING
    return 0


cdef int w_constructed(Stream s) except -1:
    """`_construct` is over: hand over what was written meanwhile, and the end."""
    if not s._state & W_WRITING:
        _next(s)
    return w_finish_maybe(s, False)


cdef int _user_final(Stream s) except -1:
    cdef object final
    if s._coroutines & CONSTRUCTING:
        # w_constructed() comes here again.
        s._state &= ~W_FINAL_CALLED
        return 0
    final = s._method("_final")
    if final is None:
        if s._rare.w_waiting is None and not s._state & W_NEED_DRAIN:
            if _need_finish(s):
                s._loop.tick(s, TICK_FINISH, True)
            return 0
        # The tick that completes the last write, or would emit 'drain', comes here again.
        s._state &= ~W_FINAL_CALLED
        return 0
    try:
        final(_new_callback(s, True))
    except Exception as exc:
        s._fail(exc)
    return 0


cdef class Writable(Stream):
    """A destination of bytes; subclass it and implement `_write(chunk, encoding, callback)`.

    `_writev(chunks, callback)`, `_final(callback)` and `_destroy(error, callback)` are optional.

    Args:
        options: a mapping of the options below; keywords win over it.
        high_water_mark, writable_high_water_mark: int >= 0, bytes, default
            get_default_high_water_mark(): where write() starts to return False.
        default_encoding: str, default 'utf8': for str chunks written without an encoding.
        write: callable(chunk, encoding, callback): the method `_write`.
        writev: callable(chunks, callback): the method `_writev`.
        final: callable(callback): the method `_final`.
        destroy: callable(error, callback): the method `_destroy`.
        construct: callable(callback): the method `_construct`, which is called before all others;
            they wait for its callback.
        auto_destroy: bool, default True: destroy after 'finish'.
        emit_close: bool, default True: emit 'close' after destruction.
        capture_rejections: bool, default EventEmitter.capture_rejections: destroy the stream if a
            coroutine listener fails.
        framing: one of pyuvnet.framing, default None: as with set_framing().

    Events: 'drain', 'finish', 'pipe' (source), 'unpipe' (source), 'error' (error), 'close'.
    Raises: ArgTypeError (ERR_UNKNOWN_OPTION, ERR_UNKNOWN_ENCODING), ArgValueError
        (ERR_INVALID_ARG_VALUE: a mark, or object mode).

    Node: stream.Writable
    """

    _option_functions = ("Writable",)

    def __init__(self, options=None, **keywords):
        self._refuse_second()
        cdef dict given = stream_options(options, keywords)
        self._init_emitter(given.get("capture_rejections"))
        self._init_stream(
            HAS_WRITABLE | flag_option(given, "auto_destroy", AUTO_DESTROY)
            | flag_option(given, "emit_close", EMIT_CLOSE),
            0, mark_option(given, "writable_high_water_mark", True))
        framing = check_framing(given.get("framing"), "options.framing")
        if given.get("default_encoding") is not None:
            w_set_default_encoding(self, given["default_encoding"])
        if framing is not None:
            r_set_framing(self, framing)
        self._take_methods(given)
        self._begin_construct()

    cdef int _go_on(self) except -1:
        return w_constructed(self)

    cdef int _on_tick(self, int what, object argument) except -1:
        if not w_tick(self, what, argument):
            return Stream._on_tick(self, what, argument)
        return 0

    def write(self, chunk=None, encoding=None, callback=None):
        """Write a chunk, without copying it.

        Args:
            chunk: bytes-like (do not modify it before the callback) or str.
            encoding: of a str, default 'utf8'.
            callback: callable(error or None), once the kernel has accepted the chunk.

        Returns: bool, False when the writer should wait for 'drain'.
        Raises: ArgTypeError (ERR_STREAM_NULL_VALUES, ERR_INVALID_ARG_TYPE,
            ERR_UNKNOWN_ENCODING); StateError (ERR_METHOD_NOT_IMPLEMENTED) of a class that has
            neither `_write` nor `_writev`.
        Events: 'error' (ERR_STREAM_WRITE_AFTER_END) after end().

        Node: writable.write()
        """
        self._ready()
        return w_write(self, chunk, encoding, callback)

    def write_frame(self, payload=None, callback=None):
        """Write a payload as one frame of the stream's framing, without copying it.

        Args:
            payload: bytes-like (do not modify it before the callback) or str, which is encoded
                with the default encoding.
            callback: callable(error or None), once the kernel has accepted the frame.

        The framing adds what stands before and behind a payload, such as its length or a delimiter;
        Fixed checks the size, and Header writes the payload unchanged.

        Returns: bool, False when the writer should wait for 'drain'.
        Raises, before writing anything: StateError (ERR_METHOD_NOT_APPLICABLE) without a framing;
            ArgValueError (ERR_INVALID_ARG_VALUE) if a line contains the delimiter; RangeError
            (ERR_OUT_OF_RANGE) over the limit, for a size other than that of Fixed, or if the prefix
            cannot hold the length; what write() raises.
        Events: those of write().

        Node: none
        """
        self._ready()
        return w_write_frame(self, payload, callback)

    def end(self, chunk=None, encoding=None, callback=None):
        """Write a last chunk, if given, and end the writable side.

        Args:
            chunk, encoding: as for write().
            callback: callable(error or None), called just before 'finish'.

        Returns the stream. Events: 'finish'.
        Raises: what write() raises.

        Node: writable.end()
        """
        self._ready()
        w_end(self, chunk, encoding, callback)
        return self

    def cork(self):
        """Queue writes until uncork() has been called as often, or end(). Node: writable.cork()"""
        self._ready()
        w_cork(self)

    def uncork(self):
        """Undo one cork(); the last one sends the queue immediately. Node: writable.uncork()"""
        self._ready()
        w_uncork(self)

    def set_default_encoding(self, encoding=None):
        """Set the encoding of str chunks written without one.

        Returns the stream. Raises: ArgTypeError (ERR_UNKNOWN_ENCODING).

        Node: writable.setDefaultEncoding()
        """
        self._ready()
        w_set_default_encoding(self, encoding)
        return self

    @property
    def writable(self):
        """True while write() is possible. Node: writable.writable"""
        return bool(w_writable(self))

    @property
    def writable_length(self):
        """Bytes written that the kernel has not taken yet. Node: writable.writableLength"""
        w_flush(self)
        return self.w_length

    @property
    def writable_high_water_mark(self):
        """Queued bytes at which write() returns False. Node: writable.writableHighWaterMark"""
        return self.w_mark

    @property
    def writable_need_drain(self):
        """True while 'drain' is due. Node: writable.writableNeedDrain"""
        if not self._state & W_NEED_DRAIN:
            # Sending what was collected cannot make it due, and would cost a call of the kernel for
            # each write of a loop that looks here.
            return False
        w_flush(self)
        return bool(self._state & W_NEED_DRAIN and not self._state & (W_ENDING | DESTROYED))

    def drained(self):
        """Wait until you may write again, which is at once unless a write() has returned False.

            socket.write(chunk)
            await socket.drained()

        It waits until everything written so far has left the buffer, as 'drain' does. That does not
        mean that the peer has received it.

        Returns: an awaitable, needs asyncio.
        Raises: from the awaitable what the stream failed with, or ClosedError
            (ERR_STREAM_PREMATURE_CLOSE) if it is closed meanwhile, (ERR_STREAM_DESTROYED) if it
            already was.

        Node: none (events.once(writable, 'drain'))
        """
        return upcall(WAIT_FOR_DRAIN)(self)

    @property
    def writable_ended(self):
        """True once end() was called. Node: writable.writableEnded"""
        return bool(self._state & W_ENDING)

    @property
    def writable_finished(self):
        """True once 'finish' is emitted. Node: writable.writableFinished"""
        return bool(self._state & W_FINISHED)

    @property
    def writable_corked(self):
        """How many uncork() calls are outstanding. Node: writable.writableCorked"""
        return self.w_corked

    @property
    def writable_object_mode(self):
        """Always False: streams carry bytes. Node: writable.writableObjectMode"""
        return False

    @property
    def writable_aborted(self):
        """True if destroyed or failed before 'finish'. Node: writable.writableAborted"""
        return bool(self._state & HAS_WRITABLE and self._state & (DESTROYED | ERRORED)
                    and not self._state & W_FINISHED)


ctypedef int (*_write_call)(object, void*) except -1
ctypedef int (*_stream_call)(object) except -1

later.user_write = <_write_call><void*>_user_write
ctypedef int (*_framing_call)(object, object) except -1

later.set_framing = <_framing_call><void*>r_set_framing
later.user_queue = <_stream_call><void*>_user_queue
later.user_final = <_stream_call><void*>_user_final

seal(WriteCallback)
seal(FailedWrite)
add_node_names(Writable)

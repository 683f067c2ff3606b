"""pipe() and unpipe(): one source, several destinations, back pressure by 'drain'.

Owns r_pipes and r_awaiting of a source.  A destination is any object with write, end, on, once,
emit and remove_listener.  On our own emitters the Piping itself is the listener, one object for all
events, and hidden.  Node's rules:

* dest.write() said False: the source pauses, and resumes when all such destinations have drained.
* The source's 'end' ends dest, or only unpipes; its error or destroy does neither.
* dest's 'close', 'finish' or 'error' unpipes; an 'error' without other listeners stays unhandled.

Imports: stream, emitter.
"""

from .._base.validation import arg_type_error

from .capi cimport list_of
from .emitter cimport EMITTER_EMIT_OVERRIDDEN, ON_CLOSE, ON_DRAIN, ON_END, ON_ERROR, ON_FINISH, \
    ON_UNPIPE, EventEmitter, SharedListener, intern_event, set_shared_class
from .errors cimport queue_full, seal
from .stream cimport DESTROYED, ERROR_EMITTED, FLOWING_YES, HAS_WRITABLE, R_END_EMITTED, \
    W_NEED_DRAIN, W_REFUSED, Stream

# What a destination that is not ours has to offer.
cdef tuple _DEST_METHODS = ("write", "end", "on", "once", "emit", "remove_listener")
cdef object _DATA = intern_event("data")
cdef object _PIPE = intern_event("pipe")


cdef class Piping:
    def __call__(self, chunk):
        # The only 'data' listener is called as any other; see SharedListener.
        self.on_data(chunk)

    cdef int _hear(self, EventEmitter emitter, object event, tuple arguments) except -1:
        event = intern_event(event)
        first = arguments[0] if arguments else None
        if event is _DATA:
            return self.on_data(first)
        if event is ON_DRAIN:
            return self.drained()
        if event is ON_ERROR:
            self.on_error(first)
        elif event is ON_UNPIPE:
            self.on_unpipe(first, arguments[1] if len(arguments) > 1 else None)
        elif event is ON_END:
            if self.first_time(emitter, event, PIPING_HEARD_END):
                self.on_end()
        elif event is ON_CLOSE:
            if self.first_time(emitter, event, PIPING_HEARD_CLOSE):
                self.on_close()
        elif event is ON_FINISH:
            if self.first_time(emitter, event, PIPING_HEARD_FINISH):
                self.on_finish()
        return 0

    cdef bint first_time(self, EventEmitter emitter, object event, unsigned int flag) except -1:
        """Do what a once listener does: be taken out, and say whether this is the first call."""
        if self.flags & flag:
            return False
        self.flags |= flag
        emitter._take_out(event, -1, self)
        return True

    cdef int listen(self, object event, object step, bint prepend=False, bint once=False) except -1:
        """Listen to dest; a foreign one calls the step."""
        dest = self.dest
        if isinstance(dest, EventEmitter):
            return (<EventEmitter>dest)._add(event, self, prepend, False)
        if self.foreign is None:
            self.foreign = []
        if prepend and hasattr(dest, "prepend_listener"):
            dest.prepend_listener(event, step)
        elif once:
            dest.once(event, step)
        else:
            dest.on(event, step)
        self.foreign.append((event, step))
        return 0

    cdef int forget(self, object event) except -1:
        """Listen to an event of dest no more."""
        if self.foreign is None:
            if isinstance(self.dest, EventEmitter):
                (<EventEmitter>self.dest)._take_out(event, -1, self)
            return 0
        for entry in list(self.foreign):
            if entry[0] == event:
                self.foreign.remove(entry)
                self.dest.remove_listener(*entry)
        return 0

    cdef int on_data(self, object chunk) except -1:
        # Also of an emission in which a listener before this one unpiped, as in Node.
        try:
            go_on = self.dest.write(chunk)
        except Exception as error:
            if not hasattr(self.dest, "destroy"):
                raise
            self.dest.destroy(error)
            go_on = True
        if go_on is False and isinstance(self.dest, Stream) \
                and (<Stream>self.dest)._coroutines & W_REFUSED:
            # The rest must not follow where a piece is missing.
            (<Stream>self.dest)._coroutines &= ~W_REFUSED
            (<Stream>self.dest)._destroy_with(queue_full((<Stream>self.dest)._most_queued()))
        if go_on is False and not self.flags & PIPING_OVER:
            self.wait()
        return 0

    cdef int wait(self) except -1:
        """The destination is full: pause the source until 'drain'."""
        if self.source._rare.r_awaiting is None:
            self.source.own_extra().r_awaiting = list_of(self)
        elif self not in self.source._rare.r_awaiting:
            self.source._rare.r_awaiting.append(self)
        self.source.pause()
        if not self.flags & PIPING_LISTENS_DRAIN:
            self.flags |= PIPING_LISTENS_DRAIN
            self.listen(ON_DRAIN, self.on_drain)
        return 0

    cdef int drained(self) except -1:
        cdef Stream source = self.source
        if source._rare.r_awaiting is not None:
            if self in source._rare.r_awaiting:
                source._rare.r_awaiting.remove(self)
            if source._rare.r_awaiting:
                return 0
            source._rare.r_awaiting = None
        if source._find(_DATA) is not None:
            source.resume()
        return 0

    # What a foreign destination calls, and ticks.

    def on_drain(self, *_):
        self.drained()

    def on_end(self):
        if self.flags & PIPING_ENDS:
            self.dest.end()
        else:
            self.source.unpipe(self.dest)

    def on_error(self, error):
        dest = self.dest
        self.source.unpipe(self.dest)
        # A foreign object that does not count its listeners has to know itself.
        if not hasattr(dest, "listener_count") or dest.listener_count("error"):
            return
        # No other listener handles it: as if there were no pipe.
        if isinstance(dest, Stream) and not (<Stream>dest)._state & ERROR_EMITTED:
            # Emitted by the user, and not because the stream failed.
            dest.destroy(error)
        else:
            dest.emit("error", error)

    def on_close(self, *_):
        self.forget(ON_FINISH)
        self.source.unpipe(self.dest)

    def on_finish(self):
        self.forget(ON_CLOSE)
        self.source.unpipe(self.dest)

    def on_unpipe(self, source, info=None):
        if source is self.source and isinstance(info, dict) and not info.get("hasUnpiped"):
            info["hasUnpiped"] = True
            self.clean()

    cdef int unpiped(self) except -1:
        """Emit 'unpipe' on dest, whose Pipings of this source clean up."""
        dest = self.dest
        if not isinstance(dest, EventEmitter):
            dest.emit("unpipe", self.source, {"hasUnpiped": False})
        elif (<EventEmitter>dest)._find(ON_UNPIPE) is self \
                and not (<EventEmitter>dest)._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
            self.clean()
        else:
            (<EventEmitter>dest)._emit(ON_UNPIPE, (self.source, {"hasUnpiped": False}))
        return 0

    cdef int clean(self) except -1:
        cdef Stream source = self.source
        self.flags |= PIPING_OVER
        source._take_out(ON_END, -1, self)
        self.forget(ON_UNPIPE)
        source._take_out(_DATA, -1, self)
        self.forget(ON_ERROR)
        self.forget(ON_CLOSE)
        self.forget(ON_FINISH)
        if self.flags & PIPING_LISTENS_DRAIN:
            self.forget(ON_DRAIN)
            if source._rare.r_awaiting is not None and self in source._rare.r_awaiting:
                self.drained()
        return 0


cdef int pipe_to(Stream source, object dest, bint end) except -1:
    cdef Piping piping
    if not isinstance(dest, Stream) or not (<Stream>dest)._state & HAS_WRITABLE:
        for name in _DEST_METHODS:
            if not callable(getattr(dest, name, None)):
                raise arg_type_error("dest", ["WritableStream", "Stream"], dest)
    if isinstance(dest, Stream):
        (<Stream>dest)._ready()
    piping = Piping.__new__(Piping)
    piping.source = source
    piping.dest = dest
    if end:
        piping.flags |= PIPING_ENDS
    if source.r_pipes is None:
        source.r_pipes = piping
    else:
        if type(source.r_pipes) is Piping:
            source.r_pipes = list_of(source.r_pipes)
        (<list>source.r_pipes).append(piping)
    if source._state & R_END_EMITTED:
        source._loop.tick_call(piping.on_end, ())
    else:
        source._add(ON_END, piping, False, False)
    piping.listen(ON_UNPIPE, piping.on_unpipe)
    source._add(_DATA, piping, False, False)
    piping.listen(ON_ERROR, piping.on_error, True)
    piping.listen(ON_CLOSE, piping.on_close, False, True)
    piping.listen(ON_FINISH, piping.on_finish, False, True)
    if isinstance(dest, EventEmitter):
        (<EventEmitter>dest)._emit1(_PIPE, source)
    else:
        dest.emit("pipe", source)
    if _needs_drain(dest):
        piping.wait()
    elif source._flowing != FLOWING_YES and not source._state & DESTROYED:
        source.resume()
    return 0


cdef bint _needs_drain(object dest) except -1:
    if isinstance(dest, Stream) and not (<Stream>dest)._state & W_NEED_DRAIN:
        return False
    return getattr(dest, "writable_need_drain", False) is True


cdef int unpipe_from(Stream source, object dest) except -1:
    cdef object pipes = source.r_pipes
    cdef Piping piping
    if pipes is None:
        return 0
    if dest is None:
        source.r_pipes = None
        source.pause()
        for piping in (list_of(pipes) if type(pipes) is Piping else <list>pipes):
            piping.unpiped()
        return 0
    if type(pipes) is Piping:
        piping = <Piping>pipes
        if piping.dest is not dest:
            return 0
    else:
        for piping in <list>pipes:
            if piping.dest is dest:
                break
        else:
            return 0
        (<list>pipes).remove(piping)
    if type(pipes) is Piping or not pipes:
        source.r_pipes = None
        source.pause()
    piping.unpiped()
    return 0


seal(SharedListener)
seal(Piping)
set_shared_class(Piping)

"""pipe() and unpipe(): one source, several destinations, back pressure by 'drain'.

Owns r_pipes and r_awaiting of a source.  A destination is any object with write, end, on, once,
emit and remove_listener; listeners on our own emitters are hidden ones.  Node's rules:

* dest.write() said False: the source pauses, and resumes when all such destinations have drained.
* The source's 'end' ends dest, or only unpipes; its error or destroy does neither.
* dest's 'close', 'finish' or 'error' unpipes; an 'error' nobody else listens to stays unhandled.

Imports: stream, emitter.
"""

from .._base.validation import arg_type_error

from .capi cimport list_of
from .emitter cimport ON_CLOSE, ON_DRAIN, ON_END, ON_ERROR, ON_FINISH, ON_UNPIPE, EventEmitter, \
    intern_event, new_hidden
from .errors cimport seal
from .stream cimport DESTROYED, ERROR_EMITTED, FLOWING_YES, R_END_EMITTED, Stream

# What a destination that is not ours has to offer.
cdef tuple _DEST_METHODS = ("write", "end", "on", "once", "emit", "remove_listener")
cdef object _DATA = intern_event("data")


cdef class Piping:
    cdef object listen(self, object emitter, object event, object step, bint prepend=False,
                       bint once=False):
        """Add a listener, hidden on our own emitters, and return it."""
        cdef object listener = step
        if isinstance(emitter, EventEmitter):
            listener = new_hidden(step)
            (<EventEmitter>emitter)._add(event, listener, prepend, once)
        elif prepend and hasattr(emitter, "prepend_listener"):
            emitter.prepend_listener(event, step)
        elif once:
            emitter.once(event, step)
        else:
            emitter.on(event, step)
        self.listeners.append((emitter, event, listener))
        return listener

    cdef int forget(self, object event) except -1:
        """Take away the listeners for an event, on either side."""
        for entry in list(self.listeners):
            if entry[1] == event:
                self.listeners.remove(entry)
                _unlisten(entry)
        return 0

    def on_data(self, chunk):
        # Also of an emission in which a listener before this one unpiped, as in Node.
        try:
            go_on = self.dest.write(chunk)
        except Exception as error:
            if not hasattr(self.dest, "destroy"):
                raise
            self.dest.destroy(error)
            go_on = True
        if go_on is False and not self.over:
            self.wait()

    cdef int wait(self) except -1:
        """The destination is full: pause the source until 'drain'."""
        if self.source.r_awaiting is None:
            self.source.r_awaiting = list_of(self)
        elif self not in self.source.r_awaiting:
            self.source.r_awaiting.append(self)
        self.source.pause()
        if not self.listens_drain:
            self.listens_drain = True
            self.listen(self.dest, ON_DRAIN, self.on_drain)
        return 0

    def on_drain(self):
        cdef Stream source = self.source
        if source.r_awaiting is not None:
            if self in source.r_awaiting:
                source.r_awaiting.remove(self)
            if source.r_awaiting:
                return
            source.r_awaiting = None
        if source._find(_DATA) is not None:
            source.resume()

    def on_end(self):
        self.dest.end()

    def on_end_without(self):
        self.source.unpipe(self.dest)

    def on_error(self, error):
        dest = self.dest
        self.source.unpipe(self.dest)
        # A foreign object that does not count its listeners has to know itself.
        if not hasattr(dest, "listener_count") or dest.listener_count("error"):
            return
        # Nobody else handles it: as if there were no pipe.
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

    cdef int clean(self) except -1:
        self.over = True
        listeners, self.listeners = self.listeners, []
        for entry in listeners:
            _unlisten(entry)
        if self.listens_drain and self.source.r_awaiting is not None \
                and self in self.source.r_awaiting:
            self.on_drain()
        return 0


cdef int _unlisten(tuple entry) except -1:
    emitter, event, listener = entry
    if isinstance(emitter, EventEmitter):
        (<EventEmitter>emitter)._remove(event, listener)
    else:
        emitter.remove_listener(event, listener)
    return 0


cdef int pipe_to(Stream source, object dest, bint end) except -1:
    cdef Piping piping
    for name in _DEST_METHODS:
        if not callable(getattr(dest, name, None)):
            raise arg_type_error("dest", ["WritableStream", "Stream"], dest)
    if isinstance(dest, Stream):
        (<Stream>dest)._ready()
    piping = Piping.__new__(Piping)
    piping.source = source
    piping.dest = dest
    piping.listeners = []
    if source.r_pipes is None:
        source.r_pipes = list_of(piping)
    else:
        source.r_pipes.append(piping)
    step = piping.on_end if end else piping.on_end_without
    if source._state & R_END_EMITTED:
        source._loop.tick_call(step, ())
    else:
        piping.listen(source, ON_END, step, False, True)
    piping.listen(dest, ON_UNPIPE, piping.on_unpipe)
    piping.data_listener = piping.listen(source, _DATA, piping.on_data)
    piping.listen(dest, ON_ERROR, piping.on_error, True)
    piping.listen(dest, ON_CLOSE, piping.on_close, False, True)
    piping.listen(dest, ON_FINISH, piping.on_finish, False, True)
    dest.emit("pipe", source)
    if getattr(dest, "writable_need_drain", False) is True:
        piping.wait()
    elif source._flowing != FLOWING_YES and not source._state & DESTROYED:
        source.resume()
    return 0


cdef int unpipe_from(Stream source, object dest) except -1:
    cdef list pipes = source.r_pipes
    cdef Piping piping
    if not pipes:
        return 0
    if dest is None:
        source.r_pipes = None
        source.pause()
        for piping in pipes:
            piping.dest.emit("unpipe", source, {"hasUnpiped": False})
        return 0
    for piping in pipes:
        if piping.dest is dest:
            pipes.remove(piping)
            if not pipes:
                source.r_pipes = None
                source.pause()
            dest.emit("unpipe", source, {"hasUnpiped": False})
            break
    return 0


seal(Piping)

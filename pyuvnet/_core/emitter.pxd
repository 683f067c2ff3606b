"""EventEmitter: fields and the calls that C layers use; see emitter.pyx for the rules."""

from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact

from .capi cimport PyUnicode_CHECK_INTERNED

cdef enum:
    EMITTER_EMIT_OVERRIDDEN = 1 << 0   # the class's own emit() gets every emission
    EMITTER_REMOVING_ALL = 1 << 1      # inside remove_all_listeners(), without 'removeListener'
    EMITTER_CAPTURE = 1 << 2           # capture_rejections
    EMITTER_WATCHED = 1 << 3           # has had 'newListener' or 'removeListener' listeners

# The names of events, interned. One that is emitted for each chunk or connection stands where it is
# emitted, which saves an access.
cdef object ON_CLOSE, ON_CONNECT, ON_DRAIN, ON_DROP, ON_END, ON_ERROR, ON_FINISH, ON_LISTENING, \
    ON_PAUSE, ON_READY, ON_RESUME, ON_TIMEOUT, ON_UNPIPE

cdef class EventEmitter:
    # Two events live in the object itself, in order of first registration, and four more in a
    # MoreEvents.  A seventh moves all of them into a dict, and so does a name that runs code of the
    # program when it is compared.  An entry is one callable, or a tuple of them (copied on change).
    cdef object _name0, _name1
    cdef object _entry0, _entry1
    cdef object _events                # None, a MoreEvents, or a dict of all
    cdef EmitterExtra _extra           # rare settings, None until one is made
    cdef unsigned int _emitter_flags
    cdef unsigned int _changes         # of the listeners, so far: who has looked need not again
    cdef object __weakref__
    cdef dict __dict__

    cdef inline bint _has_listeners(self) noexcept:
        """Whether there are any, of any event."""
        return self._entry0 is not None \
            or type(self._events) is dict and len(<dict>self._events) > 0

    cdef object _find(self, object event)
    cdef object _find_by_value(self, object event)
    cdef dict _as_dict(self)
    cdef int _move_to_dict(self) except -1
    cdef int _store(self, object event, object entry) except -1
    cdef object _store_more(self, object event, object entry)
    cdef int _drop(self, object event) except -1
    cdef int _drop_more(self, object event) except -1
    cdef int _add(self, object event, object listener, bint prepend, bint once) except -1
    cdef int _warn_if_many(self, object event) except -1
    cdef int _remove(self, object event, object listener) except -1
    cdef bint _cut_out(self, object event, Py_ssize_t index, object listener) except -1
    cdef int _take_out(self, object event, Py_ssize_t index, object listener) except -1

    # Emission.  All return 1 if there was a listener.  _emit0 and _emit1 build no tuple for the
    # usual single listener.
    cdef int _emit0(self, object event) except -1
    cdef int _emit1(self, object event, object argument) except -1
    # To an entry that _find() gave, for an event other than 'error', if emit() is not overridden.
    cdef int _emit1_to(self, object event, object entry, object argument) except -1
    cdef int _emit(self, object event, tuple arguments) except -1
    cdef int _emit_here(self, object event, tuple arguments) except -1
    cdef int _dispatch(self, object event, object entry, tuple arguments) except -1
    cdef int _call(self, object event, object listener, tuple arguments) except -1
    cdef int _settle(self, object result, object event, tuple arguments) except -1
    cdef int _unhandled_error(self, tuple arguments) except -1

    # Called up: a subclass learns of its listeners, and runs its queued ticks.
    cdef int _listener_added(self, object event) except -1
    cdef int _listener_removed(self, object event) except -1
    cdef int _on_tick(self, int what, object argument) except -1
    # Raises in a thread that the emitter does not belong to. Only for builds without a GIL, where
    # two threads must not change one list of listeners; elsewhere the calls come one by one.
    cdef int _here(self) except -1
    # The listener that Node shows although no user added it, as (event, listener), or None once it
    # was removed: every Socket has one for 'end'.
    cdef tuple _builtin(self)
    cdef int _builtin_gone(self) except -1
    cdef int _take_builtin(self) except -1

cdef class EmitterExtra:
    cdef object max_listeners          # None: the class-wide default
    cdef set warned                    # event names that have had their warning

cdef class OnceListener:
    cdef EventEmitter _emitter
    cdef object _event
    cdef readonly object listener
    cdef bint _done

cdef class MoreEvents:
    """The third to the sixth event of an emitter: a third of what a dict of six takes."""
    cdef object name0, name1, name2, name3
    cdef object entry0, entry1, entry2, entry3

cdef class InternalListener:
    """A step of the library in a user-visible event's order; hidden from every listing."""

cdef class TickListener(InternalListener):
    cdef EventEmitter _target          # its _on_tick(_what) is the step
    cdef int _what

cdef class CallListener(InternalListener):
    cdef object _step                  # any callable

cdef class SharedListener(InternalListener):
    """One object that listens to several events, on one emitter or two.

    _hear() gets the event; a call without one, as of the only 'data' listener, is for 'data'.
    """
    cdef int _hear(self, EventEmitter emitter, object event, tuple arguments) except -1

cdef void set_shared_class(object cls) noexcept
# How listeners are called while slow ones are to be named (debugging.pyx); NULL: as usual.
ctypedef object (*watched_call)(object event, object listener, tuple arguments)
cdef void watch_listeners(watched_call call) noexcept
cdef void note_registrations(bint on) noexcept
cdef PyObject* more_listener(EventEmitter emitter, PyObject* event) noexcept
cdef object new_hidden(object step)
cdef object new_internal(EventEmitter target, int what)
cdef object call_explained(object event, object listener, tuple arguments)
cdef void explain_chunk(object event, PyObject* listener, object chunk) noexcept
cdef object intern_event(object event)
cdef int drop_internal(EventEmitter emitter, object event, int what) except -1
cdef bint has_internal(EventEmitter emitter, object event, int what) except -1
cdef bint has_foreign(EventEmitter emitter) except -1

cdef inline bint is_event(object event, object name) except -1:
    """event == name, for an interned name: two interned texts are equal if they are identical."""
    if event is name:
        return True
    return not (type(event) is str and PyUnicode_CHECK_INTERNED(event)) and event == name

cdef inline PyObject* only_listener(EventEmitter emitter, PyObject* event) noexcept:
    """The only listener of an event, borrowed, if calling it is all that emitting would do.

    NULL where there is none, or several, or a once listener, or emit() is overridden, or more than
    six events have listeners. The event is borrowed, and interned.
    """
    cdef PyObject* entry
    if emitter._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
        return NULL
    if <PyObject*>emitter._name0 == event:
        entry = <PyObject*>emitter._entry0
    elif <PyObject*>emitter._name1 == event:
        entry = <PyObject*>emitter._entry1
    elif emitter._events is None:
        return NULL
    else:
        return more_listener(emitter, event)
    if PyTuple_CheckExact(<object>entry) or type(<object>entry) is OnceListener:
        return NULL
    return entry

"""EventEmitter: Node's listener lists, in C.

Owns: the listeners of one object, and the order in which they are called.  Above 800 lines, since
storage and emission are one class, and each event passes through both: as a base class in another
module, storage could not be inlined into emission.  Imports: names and the public error classes.
Rules:

* An emission calls the listeners that were there when it began, in order.  Entries are never
  changed in place: adding or removing makes a new tuple, so that emitting copies nothing.
* A once listener is taken out before it is called.
* An exception of a listener leaves emit(); the remaining listeners of that emission do not run.
* An InternalListener is a step of the library at a place in an event's order.  No listing shows
  it and it does not count, except that it is called.
* A class that overrides emit() gets every emission through it; this is decided once per object.
* Comparing a listener, or an event name that is no text, runs code of the program, which may change
  the very list. So the names in the object itself are interned texts, or compare by identity; all
  others are left to a dict. And a listener is taken out by identity, wherever it is by then.
"""

import sys

cimport cython
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact

from .._base.errors import MaxListenersExceededWarning, SettingError, StateError
from .._base.hints import explain_arity, hint, note_registration
from .._base.names import to_node
from .._base.option_table import SETTINGS as _SETTINGS, refuse_setting
from .._base.validation import arg_type_error, range_error

from .capi cimport NAME_OF_OWN, NAME_OF_TEXT, Py_TYPE, PyTypeObject, \
    PyUnicode_CHECK_INTERNED, PyUnicode_FromObject, hold_collector, \
    pyuvnet_drop_dict, pyuvnet_is_awaitable, pyuvnet_name_kind, release_collector
from .errors cimport seal
from .names import add_node_names
from .shared cimport GIL_DISABLED
from .upcalls cimport RUN_LISTENER, upcall

cdef extern from *:
    """
    /* Set below; an exception is set when it is called, and afterwards. */
    static void (*pyuvnet_explain)(PyObject* event, PyObject* listener, PyObject* arguments);

    /* What calls listeners explains a failure, at no cost where there is none. */
    static inline PyObject* pyuvnet_call_none(PyObject* event, PyObject* listener,
                                              PyObject* arguments) {
      PyObject* result = PyObject_CallNoArgs(listener);
      if (result == NULL) pyuvnet_explain(event, listener, arguments);
      return result;
    }
    static inline PyObject* pyuvnet_call_with(PyObject* event, PyObject* listener,
                                              PyObject* argument) {
      PyObject* result = PyObject_CallOneArg(listener, argument);
      if (result == NULL) {
        PyObject* arguments;
        PyObject *kind, *value, *traceback;
        PyErr_Fetch(&kind, &value, &traceback);
        arguments = PyTuple_Pack(1, argument);
        PyErr_Restore(kind, value, traceback);
        if (arguments != NULL) {
          pyuvnet_explain(event, listener, arguments);
          Py_DECREF(arguments);
        }
      }
      return result;
    }
    static inline PyObject* pyuvnet_call_all(PyObject* event, PyObject* listener,
                                             PyObject* arguments) {
      PyObject* result = PyObject_Call(listener, arguments, NULL);
      if (result == NULL) pyuvnet_explain(event, listener, arguments);
      return result;
    }
    """
    void (*pyuvnet_explain)(PyObject*, PyObject*, PyObject*) noexcept
    object pyuvnet_call_none(object event, object listener, object arguments)
    object pyuvnet_call_with(object event, object listener, object argument)
    object pyuvnet_call_all(object event, object listener, object arguments)

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object target, object name, object value) except -1
    bint PyErr_ExceptionMatches(object kind) noexcept
    void PyErr_Fetch(PyObject** kind, PyObject** value, PyObject** traceback) noexcept
    void PyErr_NormalizeException(
        PyObject** kind, PyObject** value, PyObject** traceback) noexcept
    void PyErr_Restore(PyObject* kind, PyObject* value, PyObject* traceback) noexcept

cdef object ON_CLOSE = intern_event("close")
cdef object ON_CONNECT = intern_event("connect")
cdef object ON_READY = intern_event("ready")
cdef object ON_FINISH = intern_event("finish")
cdef object ON_END = intern_event("end")
cdef object ON_DRAIN = intern_event("drain")
cdef object ON_ERROR = intern_event("error")
cdef object ON_UNPIPE = intern_event("unpipe")
cdef object ON_PAUSE = intern_event("pause")
cdef object ON_RESUME = intern_event("resume")
cdef object ON_LISTENING = intern_event("listening")
cdef object ON_DROP = intern_event("drop")
cdef object ON_TIMEOUT = intern_event("timeout")
cdef object _NEW_LISTENER = intern_event("newListener")
cdef object _REMOVE_LISTENER = intern_event("removeListener")
cdef object _base_emit = None
cdef watched_call _watched = NULL
cdef bint _noting = False           # where listeners are registered


cdef void watch_listeners(watched_call call) noexcept:
    """Call listeners by another function from now on; NULL: as usual."""
    global _watched
    _watched = call


cdef void note_registrations(bint on) noexcept:
    """Whether to note where listeners are registered, from now on."""
    global _noting
    _noting = on


class _ErrorMonitor:
    """The event name whose listeners observe every 'error' without handling it."""

    __slots__ = ()

    def __repr__(self):
        return "EventEmitter.error_monitor"


cdef object _error_monitor = _ErrorMonitor()

cdef object intern_event(object event):
    """Intern a str, so that looking an event up is a comparison of pointers.

    One of a subclass that compares as str does, such as a StrEnum's, is the same event.
    """
    if type(event) is str:
        return event if PyUnicode_CHECK_INTERNED(event) else sys.intern(event)
    if pyuvnet_name_kind(event) == NAME_OF_TEXT:
        return sys.intern(PyUnicode_FromObject(event))
    return event


cdef object new_internal(EventEmitter target, int what):
    cdef TickListener made = TickListener.__new__(TickListener)
    made._target = target
    made._what = what
    return made


cdef int drop_internal(EventEmitter emitter, object event, int what) except -1:
    """Take an emitter's own steps of one kind out of an event; returns how many there were.

    An emission that is under way leaves them out too.
    """
    cdef int dropped = 0
    for listener in _entries(emitter._find(event)):
        step = (<OnceListener>listener).listener if type(listener) is OnceListener else listener
        if type(step) is TickListener and (<TickListener>step)._target is emitter \
                and (<TickListener>step)._what == what:
            emitter._take_out(event, -1, listener)
            if type(listener) is OnceListener:
                (<OnceListener>listener)._done = True
            dropped += 1
    return dropped


cdef bint has_internal(EventEmitter emitter, object event, int what) except -1:
    """True if an emitter's own step of a kind waits for an event."""
    for listener in _entries(emitter._find(event)):
        step = (<OnceListener>listener).listener if type(listener) is OnceListener else listener
        if type(step) is TickListener and (<TickListener>step)._target is emitter \
                and (<TickListener>step)._what == what:
            return True
    return False


cdef bint has_foreign(EventEmitter emitter) except -1:
    """True if a step of the library listens that is not the emitter's own: a pipe's, say."""
    cdef dict events = <dict>emitter._events if type(emitter._events) is dict \
        else emitter._as_dict()
    for entry in events.values():
        for listener in _entries(entry):
            step = (<OnceListener>listener).listener if type(listener) is OnceListener else listener
            if isinstance(step, InternalListener) and (
                    type(step) is not TickListener or (<TickListener>step)._target is not emitter):
                return True
    return False


cdef object new_hidden(object step):
    """A listener of the library that is any callable."""
    cdef CallListener made = CallListener.__new__(CallListener)
    made._step = step
    return made


cdef void explain_call(PyObject* event, PyObject* listener, PyObject* arguments) noexcept:
    """Let the TypeError of a call that has not reached its listener say what is passed to it.

    An exception is set, before and after.
    """
    cdef PyObject* kind = NULL
    cdef PyObject* value = NULL
    cdef PyObject* traceback = NULL
    if not PyErr_ExceptionMatches(TypeError):
        return
    PyErr_Fetch(&kind, &value, &traceback)
    PyErr_NormalizeException(&kind, &value, &traceback)
    # What Python code has raised has a traceback.
    if traceback is NULL and value is not NULL:
        try:
            explain_arity(<object>value, <object>event, <object>listener, <object>arguments)
        except BaseException:
            # The note is a help, and no reason for another failure.
            pass
    PyErr_Restore(kind, value, traceback)


pyuvnet_explain = explain_call


cdef object call_explained(object event, object listener, tuple arguments):
    """Call a listener for what measures it; its TypeError is explained as that of any other."""
    return pyuvnet_call_all(event, listener, arguments)


cdef void explain_chunk(object event, PyObject* listener, object chunk) noexcept:
    """explain_call() for what a chunk was passed to by hand."""
    cdef PyObject* kind = NULL
    cdef PyObject* value = NULL
    cdef PyObject* traceback = NULL
    cdef tuple arguments = None
    PyErr_Fetch(&kind, &value, &traceback)
    try:
        arguments = (chunk,)
    except MemoryError:
        pass
    PyErr_Restore(kind, value, traceback)
    if arguments is not None:
        explain_call(<PyObject*>event, listener, <PyObject*>arguments)


cdef class InternalListener:
    pass


cdef class TickListener(InternalListener):
    def __call__(self, *arguments):
        self._target._on_tick(self._what, arguments)


cdef class CallListener(InternalListener):
    def __call__(self, *arguments):
        return self._step(*arguments)


cdef class SharedListener(InternalListener):
    cdef int _hear(self, EventEmitter emitter, object event, tuple arguments) except -1:
        return 0


# The one class of shared listeners that there is: so to know one is a comparison.
cdef PyTypeObject* _shared_class = NULL


cdef void set_shared_class(object cls) noexcept:
    global _shared_class
    _shared_class = <PyTypeObject*><PyObject*>cls


cdef class MoreEvents:
    pass


cdef class OnceListener:
    """The wrapper that raw_listeners() shows for a once listener; `.listener` is the original."""

    def __call__(self, *arguments):
        if self._done:
            return None
        self._done = True
        if self._emitter is not None:
            self._emitter._take_out(self._event, -1, self)
        return self.listener(*arguments)

    def __repr__(self):
        return f"<once {self.listener!r}>"


cdef class EmitterExtra:
    pass


cdef inline bint _hidden(object listener) noexcept:
    if type(listener) is OnceListener:
        listener = (<OnceListener>listener).listener
    return isinstance(listener, InternalListener)


cdef inline bint _is_shared(object listener) noexcept:
    return Py_TYPE(<PyObject*>listener) == _shared_class


cdef PyObject* more_listener(EventEmitter emitter, PyObject* event) noexcept:
    """only_listener() beyond the two events in the object itself."""
    cdef PyObject* entry
    cdef PyObject* more = <PyObject*>emitter._events
    if type(<object>more) is not MoreEvents:
        return NULL
    if <PyObject*>(<MoreEvents>more).name0 == event:
        entry = <PyObject*>(<MoreEvents>more).entry0
    elif <PyObject*>(<MoreEvents>more).name1 == event:
        entry = <PyObject*>(<MoreEvents>more).entry1
    elif <PyObject*>(<MoreEvents>more).name2 == event:
        entry = <PyObject*>(<MoreEvents>more).entry2
    elif <PyObject*>(<MoreEvents>more).name3 == event:
        entry = <PyObject*>(<MoreEvents>more).entry3
    else:
        return NULL
    if PyTuple_CheckExact(<object>entry) or type(<object>entry) is OnceListener:
        return NULL
    return entry


cdef inline bint _same(object entry, object listener) except -1:
    if entry is listener:
        return True
    if type(entry) is OnceListener and type(listener) is not OnceListener:
        entry = (<OnceListener>entry).listener
    # Bound methods are made anew at each access, so they compare by equality.
    return entry is listener or entry == listener


cdef inline tuple _entries(object entry):
    if entry is None:
        return ()
    if PyTuple_CheckExact(entry):
        return <tuple>entry
    return (entry,)


cdef object _settings = _SETTINGS


cdef class _Setting:
    """A default that EventEmitter holds for all emitters, assignable on the class.

    Assigning to a class replaces what stands there. So every reader puts this object back under
    both spellings and keeps the new value: the two stay one, unless both are assigned with no
    emitter made or asked in between. (A metaclass would see each assignment, and would forbid
    `class Mine(EventEmitter, abc.ABC)`.) A subclass may have a value of its own.
    """

    cdef str _name, _node_name
    cdef object _value

    def __init__(self, str name, value):
        self._name, self._node_name, self._value = name, to_node(name), value

    cdef object take(self):
        """The value for all emitters, also one that was assigned just now."""
        cdef dict members = <dict>(<PyTypeObject*><PyObject*>EventEmitter).tp_dict
        # Emitters are made in several threads. It locks nothing where there is a GIL.
        with cython.critical_section(self):
            for name in (self._name, self._node_name):
                found = members.get(name, self)
                if found is not self:
                    self._value = found
                    setattr(EventEmitter, name, self)
            return self._value

    cdef object of(self, cls):
        """The value for the emitters of a class."""
        common = self.take()
        value = getattr(cls, self._name)
        return getattr(cls, self._node_name) if value is common else value

    def __get__(self, instance, owner):
        return self.take()

    def __set__(self, instance, value):
        # It would be an attribute of one object, which nothing reads.
        instead = "call set_max_listeners()" if self is _default_max_listeners \
            else "pass it to the constructor, or assign it to the class"
        raise SettingError(f"'{self._name}' cannot be assigned to one object: {instead}",
                           "ERR_UNKNOWN_OPTION")


cdef _Setting _default_max_listeners = _Setting("default_max_listeners", 10)
cdef _Setting _capture_rejections = _Setting("capture_rejections", False)


cdef class EventEmitter:
    """Calls listeners by event name, synchronously and in order.

    Args:
        capture_rejections: bool, default the class-wide `capture_rejections` (False): deliver
            the failure of a coroutine listener as 'error' instead of to the loop.

    Events: 'newListener' (event, listener) before an addition, 'removeListener' (event,
    listener) after a removal.

    Node: events.EventEmitter
    """

    error_monitor = _error_monitor
    default_max_listeners = _default_max_listeners
    capture_rejections = _capture_rejections

    def __cinit__(self, *args, **kwargs):
        cls = type(self)
        pyuvnet_drop_dict(self)
        if cls.emit is not _base_emit:
            self._emitter_flags |= EMITTER_EMIT_OVERRIDDEN
        # Here, since a socket that a server accepts has no __init__.
        if _capture_rejections.of(cls):
            self._emitter_flags |= EMITTER_CAPTURE

    def __init__(self, *, capture_rejections=None):
        self._init_emitter(capture_rejections)

    def __setattr__(self, name, value):
        # Programs keep things of their own in an emitter, but no name of an option.
        if name in _settings:
            refuse_setting(type(self), name)
        PyObject_GenericSetAttr(self, name, value)

    def _init_emitter(self, capture_rejections=None):
        """What __init__ does, for subclasses with arguments of their own."""
        if capture_rejections is None:
            return
        if capture_rejections:
            self._emitter_flags |= EMITTER_CAPTURE
        else:
            self._emitter_flags &= ~EMITTER_CAPTURE

    # ---- Storage -------------------------------------------------------------------------------

    cdef object _find(self, object event):
        cdef object events = self._events
        if events is not None and type(events) is dict:
            return (<dict>events).get(event)
        if self._name0 is event:
            return self._entry0
        if self._name1 is event:
            return self._entry1
        if self._entry0 is None:
            return None
        if events is not None:
            if (<MoreEvents>events).name0 is event:
                return (<MoreEvents>events).entry0
            if (<MoreEvents>events).name1 is event:
                return (<MoreEvents>events).entry1
            if (<MoreEvents>events).name2 is event:
                return (<MoreEvents>events).entry2
            if (<MoreEvents>events).name3 is event:
                return (<MoreEvents>events).entry3
        if type(event) is str and PyUnicode_CHECK_INTERNED(event):
            return None
        return self._find_by_value(event)

    cdef object _find_by_value(self, object event):
        """_find() of what is no interned text, among the names in the object itself."""
        cdef int kind = pyuvnet_name_kind(event)
        if kind == NAME_OF_TEXT:
            return self._find(intern_event(event))
        # One that compares by identity would have been found.
        return self._as_dict().get(event) if kind == NAME_OF_OWN else None

    cdef dict _as_dict(self):
        """The events that are in the object itself, and in a MoreEvents."""
        cdef MoreEvents more
        cdef dict events = {}
        for name, entry in ((self._name0, self._entry0), (self._name1, self._entry1)):
            if entry is not None:
                events[name] = entry
        if self._events is not None:
            more = <MoreEvents>self._events
            for name, entry in ((more.name0, more.entry0), (more.name1, more.entry1),
                                (more.name2, more.entry2), (more.name3, more.entry3)):
                if entry is not None:
                    events[name] = entry
        return events

    cdef int _store(self, object event, object entry) except -1:
        """Set the entry of an event, new or known."""
        cdef object before = None       # released at the end
        # At the end too: a comparison, or what is dropped, runs code that looks meanwhile.
        self._changes += 1
        event = intern_event(event)
        if type(self._events) is not dict and pyuvnet_name_kind(event) == NAME_OF_OWN:
            self._move_to_dict()
        if type(self._events) is dict:
            (<dict>self._events)[event] = entry
        elif self._entry0 is None or self._name0 is event:
            before = self._entry0
            self._name0, self._entry0 = event, entry
        elif self._entry1 is None or self._name1 is event:
            before = self._entry1
            self._name1, self._entry1 = event, entry
        else:
            before = self._store_more(event, entry)
        self._changes += 1
        return 0

    cdef object _store_more(self, object event, object entry):
        """_store() beyond the two events in the object itself; returns the entry before."""
        cdef MoreEvents more
        cdef object before = None
        if self._events is None:
            self._events = MoreEvents.__new__(MoreEvents)
        more = <MoreEvents>self._events
        if more.entry0 is None or more.name0 is event:
            before = more.entry0
            more.name0, more.entry0 = event, entry
        elif more.entry1 is None or more.name1 is event:
            before = more.entry1
            more.name1, more.entry1 = event, entry
        elif more.entry2 is None or more.name2 is event:
            before = more.entry2
            more.name2, more.entry2 = event, entry
        elif more.entry3 is None or more.name3 is event:
            before = more.entry3
            more.name3, more.entry3 = event, entry
        else:
            self._move_to_dict()
            (<dict>self._events)[event] = entry
        return before

    cdef int _move_to_dict(self) except -1:
        cdef int held = hold_collector()
        try:
            self._events = self._as_dict()
        finally:
            release_collector(held)
        self._name0 = self._name1 = None
        self._entry0 = self._entry1 = None
        return 0

    cdef int _drop(self, object event) except -1:
        """Forget an event which has no listener left."""
        cdef object name, entry         # released at the end
        self._changes += 1
        event = intern_event(event)
        if type(self._events) is not dict and pyuvnet_name_kind(event) == NAME_OF_OWN:
            self._move_to_dict()
        if type(self._events) is dict:
            (<dict>self._events).pop(event, None)
            self._changes += 1
            return 0
        # The later ones move up, so that the order of first registration stays.
        if self._name0 is event:
            name, entry = self._name0, self._entry0
            self._name0, self._entry0 = self._name1, self._entry1
        elif self._name1 is event:
            name, entry = self._name1, self._entry1
        elif self._events is not None:
            self._drop_more(event)
            return 0
        else:
            return 0
        if self._events is not None:
            self._name1, self._entry1 = (<MoreEvents>self._events).name0, \
                (<MoreEvents>self._events).entry0
            self._drop_more(self._name1)
        else:
            self._name1 = self._entry1 = None
        return 0

    cdef int _drop_more(self, object event) except -1:
        """_drop() beyond the two events in the object itself."""
        cdef MoreEvents more = <MoreEvents>self._events
        cdef object entry           # released at the end
        if more.name0 is event:
            entry = more.entry0
            more.name0, more.entry0 = more.name1, more.entry1
            more.name1, more.entry1 = more.name2, more.entry2
            more.name2, more.entry2 = more.name3, more.entry3
        elif more.name1 is event:
            entry = more.entry1
            more.name1, more.entry1 = more.name2, more.entry2
            more.name2, more.entry2 = more.name3, more.entry3
        elif more.name2 is event:
            entry = more.entry2
            more.name2, more.entry2 = more.name3, more.entry3
        elif more.name3 is event:
            entry = more.entry3
        else:
            return 0
        more.name3 = more.entry3 = None
        if more.entry0 is None:
            self._events = None
        return 0

    cdef int _add(self, object event, object listener, bint prepend, bint once) except -1:
        cdef OnceListener wrapper
        cdef object entry
        cdef tuple entries
        cdef bint watches
        cdef int held
        if not callable(listener):
            raise arg_type_error("listener", "function", listener)
        watches = is_event(event, _NEW_LISTENER) or is_event(event, _REMOVE_LISTENER)
        if self._emitter_flags & EMITTER_WATCHED and self._find(_NEW_LISTENER) is not None:
            original = listener.listener if type(listener) is OnceListener else listener
            if not _hidden(listener):
                self._publish(_NEW_LISTENER, (event, original))
        if once:
            wrapper = OnceListener.__new__(OnceListener)
            # Without its emitter, until it is shown: a cycle would keep both for the collector.
            wrapper._event = event
            wrapper.listener = listener
            listener = wrapper
        # A finaliser that adds or removes one must not run between the look and the store.
        held = hold_collector()
        try:
            entry = self._find(event)
            if entry is None:
                self._store(event, listener)
            else:
                entries = _entries(entry)
                self._store(event, (listener, *entries) if prepend else (*entries, listener))
        finally:
            release_collector(held)
        if watches:
            self._emitter_flags |= EMITTER_WATCHED
        if _noting and not _hidden(listener):
            note_registration(event, listener.listener if once else listener)
        try:
            self._listener_added(event)
        except BaseException:
            # A stream of another thread, say. What raises changes nothing.
            self._take_out(event, 0 if prepend else -1, listener)
            raise
        if entry is not None and not _hidden(listener):
            # Last: a warning may have been made an exception.
            self._warn_if_many(event)
        return 0

    cdef int _warn_if_many(self, object event) except -1:
        cdef tuple entries = _entries(self._find(event))
        limit = self.get_max_listeners()
        if not limit or len(entries) <= limit:
            return 0
        count = sum([1 for entry in entries if not _hidden(entry)])
        if count <= limit:
            return 0
        if self._extra is None:
            self._extra = EmitterExtra.__new__(EmitterExtra)
        if self._extra.warned is None:
            self._extra.warned = set()
        warned = self._extra.warned
        if event not in warned:
            warned.add(event)
            import warnings
            warnings.warn(
                f"Possible EventEmitter memory leak detected. {count} {event} listeners added to "
                f"{self!r}. MaxListeners is {limit}. Use emitter.set_max_listeners() to increase "
                "limit", MaxListenersExceededWarning)    # compiled code has no frames to skip
        return 0

    cdef int _take_out(self, object event, Py_ssize_t index, object listener) except -1:
        """Remove a listener, then emit 'removeListener'.

        Args:
            index: where it is, unless something has changed meanwhile; -1: anywhere.
            listener: as it stands in the list. No longer there: no effect.
        """
        cdef int held = hold_collector()
        try:
            if not self._cut_out(event, index, listener):
                return 0
        finally:
            release_collector(held)
        if not self._emitter_flags & EMITTER_REMOVING_ALL:
            self._listener_removed(event)
        if self._emitter_flags & EMITTER_WATCHED and not _hidden(listener) \
                and self._find(_REMOVE_LISTENER) is not None:
            original = listener.listener if type(listener) is OnceListener else listener
            self._publish(_REMOVE_LISTENER, (event, original))
        return 0

    cdef bint _cut_out(self, object event, Py_ssize_t index, object listener) except -1:
        """Change the list; False: the listener is not there."""
        cdef tuple entries
        cdef object entry = self._find(event)
        if entry is listener:
            self._drop(event)
            return True
        entries = _entries(entry)
        if not 0 <= index < len(entries) or entries[index] is not listener:
            index = len(entries) - 1
            while index >= 0 and entries[index] is not listener:
                index -= 1
            if index < 0:
                return False
        if len(entries) == 1:
            self._drop(event)
        elif len(entries) == 2:
            self._store(event, entries[1 - index])
        else:
            self._store(event, entries[:index] + entries[index + 1:])
        return True

    cdef int _remove(self, object event, object listener) except -1:
        cdef tuple entries = _entries(self._find(event))
        cdef Py_ssize_t index = len(entries)
        while index:
            index -= 1
            entry = entries[index]
            if _same(entry, listener):
                return self._take_out(event, index, entry)
        builtin = self._builtin()
        if builtin is not None and builtin == (event, listener):
            return self._take_builtin()
        # A stream looks at its listeners again, whether or not this was one.
        return self._listener_removed(event)

    cdef int _take_builtin(self) except -1:
        builtin = self._builtin()
        if builtin is None:
            return 0
        self._builtin_gone()
        if self._emitter_flags & EMITTER_WATCHED and self._find(_REMOVE_LISTENER) is not None:
            self._publish(_REMOVE_LISTENER, builtin)
        return 0

    # ---- Emission ------------------------------------------------------------------------------

    def _publish(self, event, arguments):
        # Through emit() where the user has overridden it, directly otherwise.
        return self._emit(event, arguments)

    cdef int _emit0(self, object event) except -1:
        cdef object entry
        if self._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
            return bool(self.emit(event))
        entry = self._find(event)
        if entry is None:
            return 0
        if not PyTuple_CheckExact(entry) and type(entry) is not OnceListener \
                and _watched is NULL and not _is_shared(entry):
            result = pyuvnet_call_none(event, entry, ())
            if pyuvnet_is_awaitable(result):
                self._settle(result, event, ())
            return 1
        return self._dispatch(event, entry, ())

    cdef int _emit1(self, object event, object argument) except -1:
        cdef object entry
        if self._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
            return bool(self.emit(event, argument))
        entry = self._find(event)
        if entry is None:
            if event is ON_ERROR:
                return self._emit_here(event, (argument,))
            return 0
        if event is ON_ERROR:
            return self._emit_here(event, (argument,))
        if _is_shared(entry):
            return self._dispatch(event, entry, (argument,))
        return self._emit1_to(event, entry, argument)

    cdef int _emit1_to(self, object event, object entry, object argument) except -1:
        if PyTuple_CheckExact(entry) or type(entry) is OnceListener or _watched is not NULL:
            return self._dispatch(event, entry, (argument,))
        result = pyuvnet_call_with(event, entry, argument)
        if pyuvnet_is_awaitable(result):
            self._settle(result, event, (argument,))
        return 1

    cdef int _emit(self, object event, tuple arguments) except -1:
        if self._emitter_flags & EMITTER_EMIT_OVERRIDDEN:
            return bool(self.emit(event, *arguments))
        return self._emit_here(event, arguments)

    cdef int _emit_here(self, object event, tuple arguments) except -1:
        cdef object entry
        if event is ON_ERROR or event == "error":
            entry = self._find(_error_monitor)
            if entry is not None:
                self._dispatch(_error_monitor, entry, arguments)
            entry = self._find(ON_ERROR)
            if entry is None:
                return self._unhandled_error(arguments)
        else:
            entry = self._find(event)
            if entry is None:
                return 0
        return self._dispatch(event, entry, arguments)

    cdef int _dispatch(self, object event, object entry, tuple arguments) except -1:
        if PyTuple_CheckExact(entry):
            for listener in <tuple>entry:
                self._call(event, listener, arguments)
        else:
            self._call(event, entry, arguments)
        return 1

    cdef int _call(self, object event, object listener, tuple arguments) except -1:
        cdef OnceListener once
        if type(listener) is OnceListener:
            once = <OnceListener>listener
            if once._done:
                return 0
            once._done = True
            self._take_out(event, -1, once)
            listener = once.listener
        elif _is_shared(listener):
            (<SharedListener>listener)._hear(self, event, arguments)
            return 0
        if _watched is NULL:
            result = pyuvnet_call_all(event, listener, arguments)
        else:
            result = _watched(event, listener, arguments)
        if pyuvnet_is_awaitable(result):
            self._settle(result, event, arguments)
        return 0

    cdef int _settle(self, object result, object event, tuple arguments) except -1:
        """Start what a coroutine listener returned."""
        try:
            upcall(RUN_LISTENER)(result, self, event, arguments,
                                 bool(self._emitter_flags & EMITTER_CAPTURE))
        except (MemoryError, RecursionError) as exc:
            # The coroutine has not begun: see never_reached().
            exc.__traceback__ = None
            raise exc
        return 0

    def _listener_failed(self, error, event, arguments, captured):
        """A coroutine listener failed: captured, or left to the loop's exception path."""
        if not captured:
            raise error
        # What is emitted now is not captured: a coroutine listener of 'error' may fail in turn.
        self._emitter_flags &= ~EMITTER_CAPTURE
        try:
            self._rejected(error, event, arguments)
        finally:
            self._emitter_flags |= EMITTER_CAPTURE

    def _rejected(self, error, event, arguments):
        """What a captured failure does; subclasses override.

        Node: emitter[Symbol.for('nodejs.rejection')]()
        """
        self._emit(ON_ERROR, (error,))

    cdef int _unhandled_error(self, tuple arguments) except -1:
        error = arguments[0] if arguments else None
        failure = error
        if not isinstance(error, BaseException):
            failure = StateError(f"Unhandled error. ({error!r})", "ERR_UNHANDLED_ERROR")
            failure.context = error
        hint(failure, f"This {type(self).__name__} emitted 'error' and has no listener for it. "
                      "Register one with on('error', listener).")
        raise failure

    cdef int _listener_added(self, object event) except -1:
        return 0

    cdef int _listener_removed(self, object event) except -1:
        return 0

    cdef int _on_tick(self, int what, object argument) except -1:
        return 0

    cdef int _here(self) except -1:
        return 0

    cdef tuple _builtin(self):
        return None

    cdef int _builtin_gone(self) except -1:
        return 0

    # ---- What programs call --------------------------------------------------------------------

    def emit(self, event=None, *arguments):
        """Call the listeners of an event with the arguments; return True if there were any.

        Args:
            event: str or any hashable.
            arguments: passed to each listener.

        Raises: what a listener raises; for 'error' without a listener the error itself, or
        StateError (ERR_UNHANDLED_ERROR, `.context` is the value) if it is not an exception.

        Node: emitter.emit()
        """
        if GIL_DISABLED:
            self._here()
        return bool(self._emit_here(event, arguments))

    def on(self, event=None, listener=None):
        """Add a listener at the end; with only the event, return a decorator.

        Args:
            event: str or any hashable.
            listener: a callable; a coroutine function runs as a task.

        Returns the emitter, or the decorator, which returns the function unchanged.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: emitter.on()
        """
        if GIL_DISABLED:
            self._here()
        if listener is None:
            return _registration(self, event, False, False)
        self._add(event, listener, False, False)
        return self

    add_listener = on

    def once(self, event=None, listener=None):
        """Like on(), for one emission; the listener is removed before it is called.

        Node: emitter.once()
        """
        if GIL_DISABLED:
            self._here()
        if listener is None:
            return _registration(self, event, False, True)
        self._add(event, listener, False, True)
        return self

    def prepend_listener(self, event=None, listener=None):
        """Like on(), but add the listener in front of the others.

        Node: emitter.prependListener()
        """
        if GIL_DISABLED:
            self._here()
        if listener is None:
            return _registration(self, event, True, False)
        self._add(event, listener, True, False)
        return self

    def prepend_once_listener(self, event=None, listener=None):
        """Like once(), but add the listener in front of the others.

        Node: emitter.prependOnceListener()
        """
        if GIL_DISABLED:
            self._here()
        if listener is None:
            return _registration(self, event, True, True)
        self._add(event, listener, True, True)
        return self

    def off(self, event=None, listener=None):
        """Remove the most recently added match; pass the original function of a once listener.

        Args:
            event: its name.
            listener: what was added.

        Returns the emitter. Events: 'removeListener' (event, listener).
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE) if the listener is not callable.

        Node: emitter.off(), emitter.removeListener()
        """
        if GIL_DISABLED:
            self._here()
        if not callable(listener):
            raise arg_type_error("listener", "function", listener)
        self._remove(event, listener)
        return self

    remove_listener = off

    def remove_all_listeners(self, event=None):
        """Remove the listeners of an event, or all of them.

        Each removal emits 'removeListener', in reverse order of addition.

        Node: emitter.removeAllListeners()
        """
        if GIL_DISABLED:
            self._here()
        cdef list names
        if event is None:
            names = [name for name in self._names() if name != _REMOVE_LISTENER]
            names.append(_REMOVE_LISTENER)
        else:
            names = [event]
        if not (self._emitter_flags & EMITTER_WATCHED and self._find(_REMOVE_LISTENER) is not None):
            # As one removal.
            self._emitter_flags |= EMITTER_REMOVING_ALL
        try:
            for name in names:
                # Those that are there now: a 'removeListener' listener may add and remove others.
                for listener in reversed(_entries(self._find(name))):
                    if not _hidden(listener):
                        self._take_out(name, -1, listener)
                builtin = self._builtin()
                if builtin is not None and builtin[0] == name:
                    self._take_builtin()
        finally:
            self._emitter_flags &= ~EMITTER_REMOVING_ALL
        self._listener_removed("readable" if event is None else event)
        return self

    def listener_count(self, event=None, listener=None):
        """Return how many listeners an event has, or how often one of them was added.

        Args:
            event: its name.
            listener: the one to count; None (default): all.

        Node: emitter.listenerCount()
        """
        if GIL_DISABLED:
            self._here()
        if listener is None:
            return len(self._shown(event))
        return sum([1 for entry in self._shown(event) if _same(entry, listener)])

    def listeners(self, event=None):
        """Return the listeners of an event; for once listeners, the original functions.

        Node: emitter.listeners()
        """
        if GIL_DISABLED:
            self._here()
        found = []
        for entry in self._shown(event):
            found.append(entry.listener if type(entry) is OnceListener else entry)
        return found

    def raw_listeners(self, event=None):
        """Return the listeners of an event, with the wrappers of once listeners.

        Node: emitter.rawListeners()
        """
        if GIL_DISABLED:
            self._here()
        shown = self._shown(event)
        for entry in shown:
            if type(entry) is OnceListener:
                # Now that the program holds it, calling it has to find us.
                (<OnceListener>entry)._emitter = self
        return shown

    def _shown(self, event):
        """The entries of an event that are not the library's own."""
        shown = [entry for entry in _entries(self._find(event)) if not _hidden(entry)]
        builtin = self._builtin()
        if builtin is not None and builtin[0] == event:
            shown.insert(0, builtin[1])
        return shown

    def event_names(self):
        """Return the names that have listeners, in order of first registration.

        Node: emitter.eventNames()
        """
        if GIL_DISABLED:
            self._here()
        return [name for name in self._names() if self._shown(name)]

    def _names(self):
        names = list(self._events if type(self._events) is dict else self._as_dict())
        builtin = self._builtin()
        if builtin is not None:
            # It was there before any other.
            names = [builtin[0]] + [name for name in names if name != builtin[0]]
        return names

    def set_max_listeners(self, n=None):
        """Set the number of listeners of one event above which to warn; 0 or inf: never.

        Args:
            n: int or float >= 0.

        Returns the emitter.
        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE); RangeError (ERR_OUT_OF_RANGE) for a negative
            number or NaN.

        Node: emitter.setMaxListeners()
        """
        if GIL_DISABLED:
            self._here()
        if isinstance(n, bool) or not isinstance(n, (int, float)):
            raise arg_type_error("setMaxListeners", "number", n)
        if not n >= 0:
            raise range_error("setMaxListeners", ">= 0", n)
        if self._extra is None:
            self._extra = EmitterExtra.__new__(EmitterExtra)
        self._extra.max_listeners = n
        return self

    def get_max_listeners(self):
        """Return the number of listeners above which to warn (default 10).

        Node: emitter.getMaxListeners()
        """
        if GIL_DISABLED:
            self._here()
        if self._extra is not None and self._extra.max_listeners is not None:
            return self._extra.max_listeners
        return _default_max_listeners.of(type(self))


cdef class _Registration:
    """What on(event) and its kin return: registers the function below it."""

    cdef EventEmitter _emitter
    cdef object _event
    cdef bint _prepend, _once

    def __call__(self, listener):
        self._emitter._add(self._event, listener, self._prepend, self._once)
        return listener


cdef _Registration _registration(EventEmitter emitter, object event, bint prepend, bint once):
    if event is None:
        # on(), with nothing at all, is no decorator.
        raise arg_type_error("listener", "function", None)
    if callable(event) and not isinstance(event, type):
        # @socket.on without an event, or on(listener): Node refuses the listener that is missing.
        error = arg_type_error("listener", "function", None)
        hint(error, "The event is missing: write on('event', listener), or @emitter.on('event').")
        raise error
    cdef _Registration made = _Registration.__new__(_Registration)
    made._emitter, made._event = emitter, event
    made._prepend, made._once = prepend, once
    return made


# Extension types are immutable unless this flag, Py_TPFLAGS_IMMUTABLETYPE, is taken away: the two
# settings above are there to be assigned.
(<PyTypeObject*><PyObject*>EventEmitter).tp_flags &= ~(1UL << 8)
_base_emit = EventEmitter.emit
seal(InternalListener)
seal(TickListener)
seal(CallListener)
seal(MoreEvents)
seal(OnceListener)
seal(EmitterExtra)
seal(_Setting)
seal(_Registration)
add_node_names(EventEmitter)

"""What a loop measures: how long callbacks take, and in debug mode where handles were opened.

Owns: what is measured and noted.  Imports: libuv's declarations.  A loop makes its DebugMode when
one is first needed, and asks nothing of it while `Loop.measuring` is False.  Three things need it,
each by itself: debug mode, the statistics of measure(), and the functions of on_slow().
"""

import os.path
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF

from .._base.validation import range_error, validate_number

from libc.string cimport memset

from . cimport uv
from .emitter cimport (
    EventEmitter, InternalListener, call_explained, note_registrations, watch_listeners,
)
from .errors cimport seal
from .shared cimport lock, pyuvnet_mutex, unlock
from .upcalls cimport SLOW_LOG, later, upcall

cdef extern from *:
    """
    #if defined(_MSC_VER)
    #define PYUVNET_OF_THREAD __declspec(thread)
    #else
    #define PYUVNET_OF_THREAD _Thread_local
    #endif
    /* What took longest in the callback under way, referenced. */
    static PYUVNET_OF_THREAD PyObject* pyuvnet_slowest;
    static PYUVNET_OF_THREAD uint64_t pyuvnet_slowest_took;
    """
    PyObject* pyuvnet_slowest
    uint64_t pyuvnet_slowest_took

cdef str _PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep

cdef uint64_t SLOW = 100_000_000   # ns; what asyncio calls slow too
cdef enum:
    MAX_SLOW = 2147483647          # ms, as of timers


# How many loops want to know which listener was slow.
cdef Py_ssize_t _watching = 0
cdef Py_ssize_t _debugged = 0          # how many loops are in debug mode
cdef pyuvnet_mutex _door               # of these numbers, and of what follows from them


def _watched_loops():
    """How many loops these are; for tests."""
    return _watching


cdef object call_watched(object event, object listener, tuple arguments):
    """Call a listener, and note how long it takes; event: None for what is no listener."""
    cdef uint64_t began = uv.uv_hrtime()
    try:
        if event is None:
            return listener(*arguments)
        return call_explained(event, listener, arguments)
    finally:
        if not isinstance(listener, InternalListener):
            note_slow(listener, uv.uv_hrtime() - began)


cdef void note_slow(object what, uint64_t took) noexcept:
    """A listener, or a step of a task, took so many ns of the callback under way."""
    cdef PyObject* before = pyuvnet_slowest
    global pyuvnet_slowest, pyuvnet_slowest_took
    if took > pyuvnet_slowest_took:
        Py_INCREF(what)
        pyuvnet_slowest = <PyObject*>what
        pyuvnet_slowest_took = took
        Py_XDECREF(before)


cdef object _take_slowest():
    """What note_slow() has found since the last call; None: nothing."""
    cdef PyObject* found = pyuvnet_slowest
    global pyuvnet_slowest, pyuvnet_slowest_took
    pyuvnet_slowest, pyuvnet_slowest_took = NULL, 0
    if found is NULL:
        return None
    what = <object>found
    Py_DECREF(what)
    return what


cdef DebugMode new_debug_mode():
    cdef DebugMode made = DebugMode.__new__(DebugMode)
    made.slow = SLOW
    return made


cdef class DebugMode:
    cdef int switch(self, bint on) except -1:
        _origins, self.origins = self.origins, {} if on else None
        self._changed(_origins is not None)
        _log, self.log = self.log, None
        self.begin(None)
        return 0

    cdef void _changed(self, bint before) noexcept:
        """Debug mode was switched on or off."""
        global _debugged
        lock(&_door)
        _debugged += <int>(self.origins is not None) - <int>before
        note_registrations(_debugged > 0)
        unlock(&_door)

    cdef bint needed(self) noexcept:
        """Whether anything is to be measured, which is about to begin or end."""
        global _watching
        cdef bint needed = self.origins is not None or self.counting or self.watchers is not None
        if needed != self.names:
            self.names = needed
            lock(&_door)
            _watching += 1 if needed else -1
            if _watching:
                watch_listeners(call_watched)
            else:
                watch_listeners(NULL)
            unlock(&_door)
        return needed

    cdef void end(self) noexcept:
        """The loop is closing."""
        _origins, self.origins = self.origins, None
        self._changed(_origins is not None)
        _watchers, self.watchers = self.watchers, None
        _log, self.log = self.log, None
        self.counting = False
        self.needed()

    cdef int count(self, bint on, uint64_t idle) except -1:
        """Begin statistics anew, or end them; idle: what libuv has waited so far, ns."""
        self.counting = on
        if on:
            self.since = uv.uv_hrtime()
            self.idle_before = idle
            self.busy = self.longest = 0
            memset(self.times, 0, sizeof(self.times))
        self.begin(None)
        return 0

    cdef void begin(self, object whose) noexcept:
        """A callback begins."""
        _take_slowest()
        self.began = uv.uv_hrtime()
        self.whose = whose

    cdef int measure(self, object loop, object whose) except -1:
        """Take note of what has run since begin(), or the last measure().

        `whose` names it; None: begin() did.
        """
        cdef uint64_t now = uv.uv_hrtime()
        cdef uint64_t took = now - self.began
        begun_for, self.whose = self.whose, None
        slowest = _take_slowest()
        if whose is None:
            whose = begun_for
        if slowest is not None \
                and (whose is None or whose is loop or isinstance(whose, EventEmitter)):
            # It says more than whose callback that was.
            whose = slowest
        self.began = now
        if self.counting:
            self.busy += took
            self.longest = max(self.longest, took)
            self.times[bucket_of(took)] += 1
        if took >= self.slow and (self.origins is not None or self.counting) \
                or self.watchers is not None:
            try:
                self._slow(loop, whose, took)
            finally:
                self.began = uv.uv_hrtime()
        return 0

    def _slow(self, loop, whose, uint64_t took):
        """Log a callback, and call those that want to know."""
        cdef str name = None
        cdef list watchers = self.watchers
        cdef bint logged = took >= self.slow and (self.origins is not None or self.counting)
        for least, function in watchers or ():
            if function is None and took >= <uint64_t>least:
                logged = True
        if logged:
            name = _name_of(whose)
            if self.log is None:
                self.log = upcall(SLOW_LOG)()
            self.log.slow(name, took / 1e9)
        for least, function in watchers or ():
            if function is None:
                continue
            # Itself not, since that would never end.
            if took >= <uint64_t>least and whose is not function:
                if name is None:
                    name = _name_of(whose)
                # In the check phase: here a callback may be ending, behind its ticks.
                later.set_immediate(loop, function, (name, took / 1e6))

    cdef int set_slow_ms(self, object value) except -1:
        # Without bounds, what does not fit into the field (NaN, say) is undefined in C.
        cdef double ms = validate_number(value, "slowCallbackMs", 0, MAX_SLOW)
        if not 0 <= ms <= MAX_SLOW:
            # A subclass of int, whose comparisons say one thing and whose __float__() another.
            raise range_error("slowCallbackMs", f">= 0 && <= {MAX_SLOW}", ms)
        self.slow = <uint64_t>(ms * 1e6)
        return 0

    cdef int note_origin(self, object handle) except -1:
        if self.origins is not None:
            origin = _callers()
            # Reading the source lines may have run code that switched the mode off.
            if self.origins is not None:
                self.origins[id(handle)] = origin
        return 0

    cdef void forget_origin(self, object handle) noexcept:
        if self.origins is not None:
            self.origins.pop(id(handle), None)


cdef object _callers():
    """Where in the program this is, innermost last; frames of this package do not count."""
    # Imported when it is needed, since it is much.
    from traceback import StackSummary, walk_stack
    frames = [
        pair for pair in walk_stack(sys._getframe())
        if not pair[0].f_code.co_filename.startswith(_PACKAGE)
    ]
    frames = StackSummary.extract(iter(frames), limit=10, lookup_lines=False)
    frames.reverse()
    return frames


cdef str _name_of(object whose):
    """Whose callback was slow: a function by name and place, anything else by its repr."""
    if whose is None:
        return "a callback"
    if hasattr(whose, "get_coro"):
        # A task of asyncio's.
        return f"{_name_of(whose.get_coro())}, in the task {whose.get_name()!r}"
    function = whose.__func__ if isinstance(whose, MethodType) else whose
    if hasattr(function, "func") and hasattr(function, "keywords"):
        function = function.func     # of functools.partial
    code = getattr(function, "__code__", None) or getattr(function, "cr_code", None)
    if isinstance(code, CodeType) and isinstance(getattr(function, "__qualname__", None), str):
        return f"{function.__qualname__}() at {code.co_filename}:{code.co_firstlineno}"
    if isinstance(function, (BuiltinFunctionType, type)):
        return f"{function.__qualname__}()"
    call = getattr(type(whose), "__call__", None)
    if isinstance(call, FunctionType):
        code = call.__code__
        return f"{call.__qualname__}() at {code.co_filename}:{code.co_firstlineno}"
    return f"a callback of {whose!r}"


cdef int bucket_of(uint64_t took) noexcept:
    """The place of so many nanoseconds in DebugMode.times."""
    cdef uint64_t micros = took // 1000
    cdef int bucket = 0
    while micros and bucket < TIME_BUCKETS - 1:
        micros >>= 1
        bucket += 1
    return bucket


seal(DebugMode)

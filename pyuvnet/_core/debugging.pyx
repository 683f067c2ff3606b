"""Debug mode of a loop: it logs slow callbacks, and knows where each open handle was opened.

Owns: what is measured and noted.  Imports: libuv's declarations.  A loop makes its DebugMode when
one is first needed, and asks nothing of it while `Loop.measuring` is False.
"""

import os.path
import sys
from types import FunctionType, MethodType

from .._base.validation import range_error, validate_number

from . cimport uv
from .errors cimport seal

cdef str _PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep

cdef uint64_t SLOW = 100_000_000   # ns; what asyncio calls slow too
cdef enum:
    MAX_SLOW = 2147483647          # ms, as of timers


cdef DebugMode new_debug_mode():
    cdef DebugMode made = DebugMode.__new__(DebugMode)
    made.slow = SLOW
    return made


cdef class DebugMode:
    cdef int switch(self, bint on) except -1:
        self.origins = {} if on else None
        self.begin(None)
        return 0

    cdef void begin(self, object whose) noexcept:
        """A callback begins."""
        self.began = uv.uv_hrtime()
        self.whose = whose

    cdef int measure(self, object whose) except -1:
        """Log what has run since begin(), or the last measure(), if it took long.

        `whose` names it; None: begin() did.
        """
        cdef uint64_t now = uv.uv_hrtime()
        cdef uint64_t took = now - self.began
        begun_for, self.whose = self.whose, None
        self.began = now
        if took >= self.slow:
            # Imported when it is needed, since it is much, and few programs debug.
            import logging
            try:
                name = _name_of(begun_for if whose is None else whose)
                logging.getLogger("pyuvnet").warning(
                    "Executing %s took %.3f seconds", name, took / 1e9)
            finally:
                self.began = uv.uv_hrtime()
        return 0

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
    function = whose.__func__ if isinstance(whose, MethodType) else whose
    if isinstance(function, FunctionType):
        code = function.__code__
        return f"{function.__qualname__}() at {code.co_filename}:{code.co_firstlineno}"
    return f"a callback of {whose!r}"


seal(DebugMode)

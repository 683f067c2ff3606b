"""Immediates: callbacks that run once, in the check phase, after this turn's input and output.

Owns: the queue of each loop, and the uv_idle_t that keeps the poll from blocking.  Imports: loop.
"""

from . cimport uv
from .errors cimport seal
from .loop cimport Loop, LoopPart
from .names import add_node_names
from .upcalls cimport later


cdef void _on_idle(uv.uv_idle_t* handle) noexcept nogil:
    pass


cdef ImmediateQueue _queue_of(Loop loop):
    cdef ImmediateQueue queue
    if loop.immediates is None:
        queue = ImmediateQueue.__new__(ImmediateQueue)
        queue._waiting = []
        # Making it may have run a finaliser, which set an immediate.
        if loop.immediates is None:
            uv.uv_idle_init(&loop._uv, &queue._idle)
            queue._idle.data = &loop.gate
            loop.immediates = queue
    return <ImmediateQueue>loop.immediates


cdef class ImmediateQueue(LoopPart):
    cdef void run(self, Loop loop) noexcept:
        """Run the immediates that are due now; those set meanwhile wait for the next turn."""
        cdef list due = self._waiting, fresh
        cdef Immediate immediate
        cdef Py_ssize_t done = 0
        if not due:
            return
        try:
            fresh = []
        except MemoryError as exc:
            loop.report(exc)
            fresh = None
        if fresh is None:
            # They are due in the next turn too.
            return
        loop.enter()
        self._waiting = fresh
        for immediate in due:
            done += 1
            if not immediate._due:
                continue
            try:
                _retire(immediate)
                immediate._callback(*immediate._arguments)
            except BaseException as exc:
                loop.report(exc)
            if loop.measuring:
                loop.note_time(immediate._callback)
            loop.after_callback()
            if loop.failure is not None or loop.stopping:
                break
        if done < len(due) and self._waiting is not None:
            try:
                due = due[done:]
                self._waiting[0:0] = due
            except MemoryError as exc:
                # They are lost, and must not keep the loop alive, which would spin.
                for immediate in due:
                    if immediate._due:
                        _retire(immediate)
                loop.report(exc)
            if self._ref_count:
                uv.uv_idle_start(&self._idle, _on_idle)
        loop.leave()

    cdef void forget(self) noexcept:
        self._waiting = None


cdef object _set_immediate(object ours, object callback, tuple arguments):
    """Loop.set_immediate(), of a callback that is known to be callable."""
    cdef Loop loop = ours
    cdef ImmediateQueue queue = _queue_of(loop)
    cdef Immediate immediate = Immediate.__new__(Immediate)
    immediate._loop = loop
    immediate._callback = callback
    immediate._arguments = arguments
    # A loop that is closing runs nothing any more.
    if queue._waiting is not None:
        immediate._due = True
        queue._waiting.append(immediate)
        immediate.ref()
        loop.touched()
    return immediate


cdef list waiting_immediates(Loop loop):
    """A copy of what waits, those that were cancelled included."""
    cdef list waiting = None
    if loop.immediates is not None:
        waiting = (<ImmediateQueue>loop.immediates)._waiting
    return [] if waiting is None else waiting.copy()


cdef int _unref(Immediate immediate) except -1:
    cdef ImmediateQueue queue
    if immediate._ref:
        immediate._ref = False
        queue = _queue_of(immediate._loop)
        queue._ref_count -= 1
        if not queue._ref_count:
            uv.uv_idle_stop(&queue._idle)
    return 0


cdef int _retire(Immediate immediate) except -1:
    _unref(immediate)
    immediate._due = False
    return 0


cdef class Immediate:
    """What set_immediate() returns.

    Node: timers.Immediate
    """

    def ref(self):
        """Keep the loop alive until the callback has run (the default). Node: immediate.ref()"""
        cdef ImmediateQueue queue
        self._loop.check()
        queue = _queue_of(self._loop)
        if self._due and not self._ref and queue._waiting is not None:
            self._ref = True
            queue._ref_count += 1
            uv.uv_idle_start(&queue._idle, _on_idle)
        return self

    def unref(self):
        """Do not keep the loop alive. Node: immediate.unref()"""
        self._loop.check()
        if self._due:
            _unref(self)
        return self

    def has_ref(self):
        """Return True if it keeps the loop alive. Node: immediate.hasRef()"""
        return bool(self._ref)

    def close(self):
        """Cancel it; no effect if it has already run. Node: clearImmediate()"""
        self._loop.check()
        if self._due:
            _retire(self)


def clear_immediate(immediate):
    """Cancel an immediate; no effect for None or for one that has run.

    Args:
        immediate: Immediate; anything else is ignored.

    Node: clearImmediate()
    """
    if isinstance(immediate, Immediate):
        immediate.close()


later.set_immediate = _set_immediate

seal(Immediate)
seal(ImmediateQueue)
add_node_names(Immediate)
add_node_names(globals())

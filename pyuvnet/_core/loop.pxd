"""Loop: the fields that handles and streams touch on the hot path; see loop.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from cpython.ref cimport Py_INCREF

from . cimport uv
from .capi cimport pyuvnet_gate, pyuvnet_plain_release
from .debugging cimport DebugMode
from .emitter cimport EventEmitter
from .fork cimport fork_generation
from .owner cimport Acceptor, Collector
from .shared cimport pyuvnet_mutex
from .signals cimport SignalWatch
from .splice cimport pyuvnet_tube

cdef extern from *:
    """
    /* A number that only the calling thread has, in one instruction where the compiler has a way to
       the thread pointer: every operation asks for it. */
    #if defined(__linux__) && defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__)) \\
        && (defined(__clang__) ? __clang_major__ >= 14 : __GNUC__ >= 11)
    #define pyuvnet_this_thread() ((size_t) __builtin_thread_pointer())
    #else
    #define pyuvnet_this_thread() ((size_t) PyThread_get_thread_ident())
    #endif
    """
    size_t this_thread "pyuvnet_this_thread" () noexcept nogil

cdef enum:
    READ_BUFFER_SIZE = 65536
    # What a large read asks for: with the object's header it stays below the size from which glibc
    # maps each block anew.
    LARGE_READ_SIZE = 131072 - 128

cdef struct Tick:
    PyObject* target       # a callable, or (what >= 0) the emitter whose _on_tick() runs
    PyObject* argument     # a tuple of arguments for a callable, else anything or NULL
    int what               # -1: call the target; -2: continuations of the loop, the target

cdef class Loop

cdef class LoopPart:
    cdef void run(self, Loop loop) noexcept
    cdef void forget(self) noexcept

cdef class Continuation:
    cdef int go_on(self) except -1

cdef class Loop:
    cdef uv.uv_loop_t _uv
    cdef uv.uv_prepare_t _prepare      # gives the GIL away before the poll
    cdef uv.uv_check_t _check          # takes it back, and runs immediates
    cdef uv.uv_async_t _wake           # the only door for other threads
    cdef pyuvnet_gate gate
    cdef pyuvnet_tube tube             # what a pipe's bytes go through inside the kernel
    cdef bytes last_chunk              # what the last read handed out, refilled if forgotten
    cdef bytes large_chunk             # where large reads land; unshared
    cdef bint in_callback              # a libuv callback is on the stack: writes are collected
    cdef readonly bint running
    cdef readonly bint closed
    cdef bint silent                   # closing down: no user code runs any more
    cdef bint stopping
    cdef unsigned long thread_id
    cdef size_t thread                 # the same, as this_thread() has it
    cdef unsigned long generation      # of the process (fork) in which it was made
    cdef Tick* ticks                   # a ring; its size is a power of two
    cdef Py_ssize_t tick_head, tick_count, tick_size
    cdef PyObject** collected              # those with collected writes, referenced
    cdef Py_ssize_t collected_count, collected_size
    cdef PyObject** released           # last references that operations dropped, oldest first
    cdef Py_ssize_t released_head, released_count, released_size
    cdef bint at_entry                 # the next operation has something to do before it begins
    cdef list continuations            # of awaitables, due when no tick is left; None without
    cdef pyuvnet_mutex door            # threadsafe_calls, `silent` and _wake, for other threads
    cdef object threadsafe_calls       # deque, filled by other threads
    cdef BaseException failure         # comes out of run()
    cdef object exception_handler
    cdef object containment            # of serve(): gets what the handler would, and whose it was
    cdef object blamed, blamed_for     # what raised an exception, and which; None without
    cdef object driver                 # what lets asyncio turn this loop; None without
    cdef object theirs                 # the asyncio loop behind the driver; None for other drivers
    cdef bint driven                   # there is a driver
    cdef bint wake_due                 # it has been woken, or will be when the turn ends
    cdef bint _undriven_noted          # used without asyncio, while it did not run
    cdef readonly bint _turned         # run, or driven, at least once
    cdef bint measuring                # something has to be measured: see debugging.pyx
    cdef Py_ssize_t open_handles[uv.UV_HANDLE_TYPE_MAX]    # by libuv's type, closing ones included
    # What other modules keep here, each made when first needed.
    cdef DebugMode debugging
    cdef SignalWatch signals
    cdef LoopPart immediates           # of the module immediate
    cdef LoopPart accepting
    cdef LoopPart deadlines            # of the module deadlines
    cdef LoopPart ciphers              # of the module tls
    cdef object timers                 # TimerQueue of the module timer
    cdef set lookups                   # of the module dns: the requests in flight
    # The handle that filled the read buffer last, in which turn, and with how many bytes in it.
    cdef void* full_handle
    cdef unsigned long long full_turn
    cdef Py_ssize_t full_bytes
    cdef Py_ssize_t full_extra         # bytes that the last read cost more than its size says
    cdef unsigned long long full_events    # libuv's count of them, at the beginning of that turn
    cdef Py_ssize_t read_share             # what a socket without a budget may read in it
    cdef object budget                 # a Budget of the module limits: what its sockets may queue
    cdef uint64_t made_at              # ns
    cdef double cpu_before             # what its thread had used by then, s
    cdef Acceptor no_server            # in place of a server, for connections that none counts
    cdef Py_ssize_t seen_off           # connections whose sockets are closed; see lingering.pyx
    cdef Py_ssize_t most_calls         # from other threads that may wait; -1: no bound
    cdef readonly object _clock        # in virtual time, what decides instead of waiting; else None
    cdef object __weakref__

    cdef inline int check(self) except -1:
        """Begin an operation: raise in another thread, a forked child, or if the loop is closed.

        The only other place where dropped references are released is the end of a callback.
        """
        if this_thread() != self.thread or self.generation != fork_generation() \
                or self.closed or self.at_entry:
            return self.admit()
        return 0

    cdef inline int here(self) except -1:
        """Raise in another thread than the loop's, unless that is closed."""
        if this_thread() != self.thread and not self.closed:
            return self.refuse()
        return 0

    cdef bint renew_large(self) noexcept
    cdef int admit(self) except -1
    cdef int refuse(self) except -1
    cdef int tick(self, EventEmitter target, int what, object argument) except -1
    cdef int tick_call(self, object callback, tuple arguments) except -1
    cdef int continue_with(self, object continuation) except -1
    cdef int _continue(self) except -1
    cdef int push_tick(self, PyObject* target, PyObject* argument, int what) except -1
    cdef bint grow_collected(self) noexcept
    cdef bint reserve_ticks(self, Py_ssize_t count) noexcept
    cdef void push_released(self, PyObject* last) noexcept
    cdef void release_all(self) noexcept
    cdef void blame(self, object exc, object whose) noexcept
    cdef void report(self, object exc) noexcept
    cdef void report_of(self, object exc, object whose) noexcept
    cdef bint flush_only_one(self) noexcept
    cdef void after_callback(self) noexcept
    cdef void drain(self) noexcept
    cdef int _turn(self, uv.uv_run_mode mode) except -1
    cdef int _shut(self) except -1
    cdef int _end(self) except -1
    cdef object _take_failure(self)
    cdef DebugMode _debug_mode(self)
    cdef int _set_debug(self, bint debug) except -1
    cdef void note_time(self, object whose) noexcept
    cdef int _check_undriven(self) except -1
    cdef int used(self) except -1
    cdef int look_after_driver(self) except -1
    cdef int _forget_ticks(self) noexcept
    cdef bint _push(self, tuple call, Py_ssize_t most) except -1
    cdef int check_door(self) except -1
    cdef list ticks_of(self, EventEmitter target)
    cdef void forget(self, EventEmitter target, Collector stand_in) noexcept

    cdef inline void touched(self) noexcept:
        """Something changed: a driver has to turn the loop again. No Python code runs here."""
        if self.driven and not self.wake_due:
            self.wake_due = True
            if not self.running:
                uv.uv_async_send(&self._wake)

    cdef inline void release(self, PyObject* reference) noexcept:
        """Take over a reference (NULL: none) that an operation dropped.

        If it may be the last one, and so could run code of the program, it is kept until nothing is
        half done any more: see release_all().
        """
        if reference is not NULL and not pyuvnet_plain_release(reference):
            self.push_released(reference)

    cdef inline bint collect(self, Collector owner) noexcept:
        """Remember who has writes that leave when this callback is over; False: out of memory."""
        if self.collected_count == self.collected_size and not self.grow_collected():
            return False
        Py_INCREF(owner)
        self.collected[self.collected_count] = <PyObject*>owner
        self.collected_count += 1
        return True

    cdef inline void enter(self) noexcept:
        self.in_callback = True
        if self.measuring:
            self.debugging.begin(None)

    cdef inline void enter_for(self, object whose) noexcept:
        """enter(), and say whose callback it is."""
        self.in_callback = True
        if self.measuring:
            self.debugging.begin(whose)

    cdef inline void leave(self) noexcept:
        """After every callback: ticks, then the collected writes, then what was dropped."""
        if self.tick_count or self.collected_count > 1 \
                or self.collected_count and not self.flush_only_one() or self.released_count:
            self.after_callback()
        self.in_callback = False
        if self.measuring:
            self.note_time(None)

cdef Loop loop_from_uv(uv.uv_loop_t* loop)
cdef list open_loops()
cpdef bint in_main_thread()

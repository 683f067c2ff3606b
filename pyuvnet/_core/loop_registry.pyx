"""Which loop a thread has, and what becomes of it when the thread, a fork or the program ends it.

Owns: the loop of each thread, the generation that a fork raises, the exit hook, the ring of the
descriptors that are between two loops.  Imports: declarations, loop.

Invariants:

* current_loop() makes a thread's loop on first use. It is closed when the thread ends; the main
  thread's at interpreter exit, while Python is still whole.
* After a fork the child's copies, those of all threads, are stale: they raise on use and are never
  closed, since their epoll descriptors are shared with the parent. The child closes its copies of
  the sockets at once, also of those between two loops, so that none stays open which the parent
  closes.
"""

import _thread
import atexit
import os

from .._base.errors import StateError

from . cimport uv
from .capi cimport PyThread_get_thread_ident
from .errors cimport os_error, seal
from .fork cimport fork_generation, pyuvnet_fork_generation
from .loop cimport Loop, in_main_thread, open_loops
from .names import add_node_names
from .owner cimport Links, enter_ring, leave_ring, ring_of_one
from .shared cimport lock, pyuvnet_mutex, unlock

cdef extern from "backend.h":
    int pyuvnet_backend_abandon(uv.uv_loop_t* loop) noexcept

cdef extern from *:
    """
    #include "shared.h"
    unsigned long pyuvnet_fork_generation = 0;
    static pyuvnet_mutex pyuvnet_passing;
    static void pyuvnet_passing_anew(void) {
      pyuvnet_mutex fresh = {0};
      pyuvnet_passing = fresh;
    }
    """
    pyuvnet_mutex _passing "pyuvnet_passing"
    void _passing_anew "pyuvnet_passing_anew" () noexcept

cdef object _per_thread = _thread._local()    # .loop, .keeper
cdef Loop _exit_loop = None        # the main thread's loop, closed at interpreter exit

# Of the descriptors that no loop has, since they are on their way from one to another: no
# references, and only for a fork.
cdef Links _passages
ring_of_one(&_passages)


cdef Loop loop_of_thread():
    """This thread's loop, made on first use, and anew in a forked child."""
    global _exit_loop
    cdef Loop loop = getattr(_per_thread, "loop", None)
    cdef _Keeper keeper
    if loop is not None and loop.driven and not loop.closed \
            and loop.generation == fork_generation():
        loop.look_after_driver()
    if loop is None or loop.closed or loop.generation != fork_generation():
        loop = Loop()
        _per_thread.loop = loop
        keeper = _Keeper.__new__(_Keeper)
        keeper._loop = loop
        _per_thread.keeper = keeper
        if in_main_thread():
            _exit_loop = loop
    return loop


cdef Loop loop_for_new():
    """This thread's loop, for something that is made: the asyncio loop that runs drives it."""
    cdef Loop loop = loop_of_thread()
    loop.used()
    return loop


def current_loop():
    """Return the loop of this thread, creating it on first use.

    Returns: Loop.

    Node: none (a thread has one loop)
    """
    return loop_of_thread()


def loop_if_any():
    """Return this thread's loop, or None if it has none that is open: for who only looks.

    Node: none
    """
    cdef Loop loop = getattr(_per_thread, "loop", None)
    if loop is None or loop.closed or loop.generation != fork_generation():
        return None
    return loop


cdef class _Keeper:
    """Closes the loop of a thread that ends: what is open in it would keep it for ever."""

    cdef Loop _loop

    def __dealloc__(self):
        # The main thread's loop is closed at exit, while Python is still whole.
        if self._loop is not _exit_loop:
            _close_silently(self._loop)


cdef void _close_silently(Loop loop) noexcept:
    if loop is not None and not loop.closed and not loop.running \
            and loop.generation == fork_generation() \
            and loop.thread_id == PyThread_get_thread_ident():
        loop._shut()


def _after_fork_in_child():
    global pyuvnet_fork_generation
    cdef Loop loop
    cdef unsigned long parents = pyuvnet_fork_generation
    cdef list loops = [loop for loop in open_loops() if loop.generation == parents]
    pyuvnet_fork_generation += 1
    _give_up_passages()
    # First what must not go on. The threads of other loops are not in the child. Handles come, go
    # and are listed under the GIL, which the thread that forks has.
    for loop in loops:
        if loop.running and loop.thread_id == PyThread_get_thread_ident():
            _abandon(loop)
    for loop in loops:
        _give_up_descriptors(loop)


cdef void enter_passage(Passage* passage, int fd) noexcept:
    """A descriptor leaves its loop. Its owner calls leave_passage() before it goes."""
    passage.fd = fd
    lock(&_passing)
    enter_ring(&_passages, &passage.links)
    unlock(&_passing)


cdef void leave_passage(Passage* passage) noexcept:
    """The descriptor has arrived, or is to be closed; in no passage: no effect."""
    lock(&_passing)
    leave_ring(&passage.links)
    unlock(&_passing)


cdef int _give_up_passages() except -1:
    """Close what was on its way: no loop will take it in the child."""
    cdef Passage* passage
    cdef int fd
    # Another thread may have held it.
    _passing_anew()
    while _passages.after is not &_passages:
        passage = <Passage*>_passages.after
        leave_ring(&passage.links)
        fd, passage.fd = passage.fd, -1
        if fd >= 0:
            os.close(fd)
    return 0


cdef void _note_descriptor_on_walk(uv.uv_handle_t* handle, void* found) noexcept:
    cdef int fd = uv.pyuvnet_descriptor(handle)
    # Standard input and output are the child's as well as the parent's.
    if fd > 2:
        (<list>found).append(fd)


cdef int _give_up_descriptors(Loop self) except -1:
    """Let the parent be the only one who has its sockets open.

    The numbers stay taken, by what reads as empty: libuv's structures still have them, and must not
    meet a file of the child's.
    """
    cdef list found = []
    uv.uv_walk(&self._uv, <uv.uv_walk_cb><void*>_note_descriptor_on_walk, <void*>found)
    if found:
        # One goes first: there may be no other number left.
        os.close(found[0])
        empty = os.open(os.devnull, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        for fd in found:
            if fd != empty:
                os.dup2(empty, fd, inheritable=False)
        if empty not in found:
            os.close(empty)
    return 0


cdef int _abandon(Loop self) except -1:
    """A callback forked, and the child may return from it into the parent's loop: end that.

    Until uv_run() returns it may still poll, and would read what belongs to the parent; so its
    descriptor becomes an empty poller, in the child only.
    """
    cdef int status
    self.silent = True
    while self.collected_count:
        # The parent sends what was collected.
        self.collected_count -= 1
        self.release(self.collected[self.collected_count])
    try:
        self.refuse()
    except StateError as error:
        self.failure = error
    uv.uv_stop(&self._uv)
    status = pyuvnet_backend_abandon(&self._uv)
    if status < 0:
        raise os_error(status, "fork")
    return 0


@atexit.register
def _at_exit():
    # Open handles at the end of the program are ordinary: close them without a word.
    _close_silently(_exit_loop)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

seal(_Keeper)
add_node_names(globals())

"""The queue of a stream's writes: what was accepted, what is in flight, and what waits behind it.

Only this file changes the fields that say so.  A *part* is one bytes-like object: write() brings
one, write_frame() up to three, which leave together.  Parts are numbered from 1 as they are
accepted, and the queue is a row of them:

    1 ... w_done | w_in_flight of them: w_chunk, w_size bytes | the rest: w_queue | w_accepted

* w_length counts the bytes of all that are not done.
* w_chunk is one chunk, or the list of those that are written together.  While a socket collects
  (W_COLLECTING), w_chunk is the first part and w_queue holds the others, all of which count as in
  flight; q_join_collected() makes them one write, q_part() takes them apart again.
* A write that has failed leaves its numbers open (w_size is 0, w_in_flight is not) until its
  callbacks have been called: q_forget_failed().

The writable half and the socket decide when something is written; what they call here changes all
the fields of one step, or none if there is no memory.  No code of the program runs in here: what is
dropped goes to Loop.release(), and lists are made while the collector is held.

Imports: stream.
"""

from cpython.bytes cimport PyBytes_CheckExact
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from .capi cimport hold_collector, list_of, release_collector, rest_of, take_item
from .stream cimport Stream, StreamExtra, W_COLLECTING, Write, chunk_size


# ---- Parts in ----------------------------------------------------------------------------------

cdef int q_enqueue(Stream s, Write* write) except -1:
    """Accept a write that waits behind all others."""
    _append(s, write, 0)
    q_accept(s, write.size, write.count)
    return 0


cdef int q_collect(Stream s, Write* write) except -1:
    """Accept a write of several parts, to leave with those collected before, if there are any."""
    if s._state & W_COLLECTING:
        _append(s, write, 0)
    else:
        _append(s, write, 1)
        s.w_chunk = <object>write.parts[0].chunk
    _set_flight(s, s.w_size + write.size, s.w_in_flight + write.count)
    q_accept(s, write.size, write.count)
    return 0


cdef int _append(Stream s, Write* write, unsigned int first) except -1:
    """Put the parts from one on behind what waits: all of them, or none."""
    cdef list queue = s.w_queue
    cdef unsigned int index = first
    if first >= write.count:
        return 0
    if queue is None:
        queue = list_of(<object>write.parts[index].chunk)
        index += 1
    try:
        while index < write.count:
            queue.append(<object>write.parts[index].chunk)
            index += 1
    except MemoryError:
        while index > first:
            # The caller still holds each of them.
            queue.pop()
            index -= 1
        raise
    s.w_queue = queue
    return 0


cdef list q_chunks(Write* write):
    """Make a list of the parts of a write."""
    cdef list chunks = list_of(<object>write.parts[0].chunk)
    cdef unsigned int index
    for index in range(1, write.count):
        chunks.append(<object>write.parts[index].chunk)
    return chunks


# ---- Parts in flight ---------------------------------------------------------------------------

cdef object q_join_collected(Stream s):
    """Make one write of what was collected: return its only chunk, or the list of its chunks."""
    cdef list together
    cdef int held
    if s.w_queue is None:
        return s.w_chunk
    held = hold_collector()
    try:
        together = [s.w_chunk]
        together.extend(s.w_queue)
    finally:
        release_collector(held)
    s.w_chunk = together
    q_drop_waiting(s)
    return together


cdef list q_launch_all(Stream s):
    """Put all that waits in flight as one write, and return its chunks."""
    cdef list chunks = s.w_queue
    cdef Py_ssize_t size = 0
    if s._rare.w_head:
        chunks = rest_of(s.w_queue, s._rare.w_head)
        q_drop_waiting(s)
    else:
        s.w_queue = None
    for chunk in chunks:
        size += chunk_size(chunk)
    q_launch(s, chunks, size, len(chunks))
    return chunks


cdef PyObject* q_take_first(Stream s) except NULL:
    """Take the first chunk that waits, and its reference, out of the queue."""
    cdef list queue = s.w_queue
    cdef StreamExtra rare = s.own_extra()
    cdef PyObject* chunk = take_item(queue, rare.w_head)
    rare.w_head += 1
    if rare.w_head == len(queue):
        s.w_queue = None
        rare.w_head = 0
    else:
        rare.w_head = q_compact(queue, rare.w_head)
    return chunk


cdef bint q_part(Stream s, unsigned int index, unsigned int count) noexcept:
    """Of so many parts collected, let one be in flight alone, and those behind it wait.

    Returns False, having changed nothing, without memory.
    """
    cdef list rest = None
    if index + 1 < count:
        try:
            rest = rest_of(s.w_queue, index)
        except MemoryError:
            rest = None
        if rest is None:
            return False
    if index:
        q_drop_flight(s)
        s.w_chunk = s.w_queue[index - 1]
    q_drop_waiting(s)
    s.w_queue = rest
    return True


cdef object q_recent(Stream s, Py_ssize_t back):
    """Return the chunk accepted last, or so many before it; None if it is done."""
    cdef list chunks = s.w_queue
    cdef Py_ssize_t count = 0 if chunks is None else len(chunks)
    if back < count:
        return chunks[count - 1 - back]
    back -= count
    if isinstance(s.w_chunk, list):
        chunks = s.w_chunk
        count = len(chunks)
        return chunks[count - 1 - back] if back < count else None
    return None if back else s.w_chunk


# ---- Parts out ---------------------------------------------------------------------------------

cdef void q_drop_flight(Stream s) noexcept:
    """Release the chunk, or the chunks, in flight."""
    cdef PyObject* chunk = <PyObject*>s.w_chunk
    if PyBytes_CheckExact(s.w_chunk):
        # No code of the program runs then.
        s.w_chunk = None
    elif s.w_chunk is not None:
        Py_INCREF(<object>chunk)
        s.w_chunk = None
        s._loop.release(chunk)


cdef void q_drop_waiting(Stream s) noexcept:
    """Release the chunks that wait."""
    cdef PyObject* queue = <PyObject*>s.w_queue
    if s.w_queue is not None:
        Py_INCREF(<object>queue)
        s.w_queue = None
        s._rare.w_head = 0
        s._loop.release(queue)


cdef void q_discard(Stream s) noexcept:
    """Nothing that waits will be sent any more."""
    s.w_length = 0
    q_drop_waiting(s)


cdef void q_begin_anew(Stream s) noexcept:
    """Empty the queue of a stream that begins a new life."""
    _set_flight(s, 0, 0)
    q_drop_flight(s)
    q_discard(s)


cdef Py_ssize_t q_compact(list items, Py_ssize_t head) except -1:
    """Drop the items before `head` from time to time; returns the new head.

    A list is moved once for as many items as it holds, so that each costs a constant share.
    """
    if head < 64 or 2 * head < len(items):
        return head
    try:
        del items[:head]
        head = 0
    except MemoryError:
        # The next call tries it again.
        pass
    return head

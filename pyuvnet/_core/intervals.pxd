"""A multiset of address intervals that answers at once whether an address is in one of them.

All functions work without the GIL and take no lock; see intervals.pyx for the rules.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

# An address as a number.  IPv4 is the 32-bit number in `hi`, IPv6 has its first half there.
cdef struct Key:
    uint64_t hi
    uint64_t lo

# The point `key`, from which on `delta` more intervals cover an address than before it.
cdef struct Change:
    Key key
    int32_t delta

cdef struct Leaf
cdef struct Slot

cdef struct Intervals:
    bint wide                # IPv6: keys of 128 bits instead of 32
    Py_ssize_t points        # in all leaves
    Py_ssize_t leaves        # in the directory
    Py_ssize_t capacity      # of the directory
    void* firsts             # keys: the first address that belongs to each leaf; 0 for the first
    Slot* slots              # the leaves, in order
    uint32_t* hints          # for each stretch of addresses the last leaf that begins by its start
    Py_ssize_t stretches     # how many; one more hint closes the list
    uint64_t hint_base       # `hi` where the first stretch begins ...
    int hint_shift           # ... and as a power of 2 how long each is
    Py_ssize_t hinted        # leaves when the hints were made

cdef Intervals intervals_empty(bint wide) noexcept nogil
cdef void intervals_free(Intervals* self) noexcept nogil
cdef bint intervals_cover(const Intervals* self, Key key) noexcept nogil
# Make room for a change by the interval from first to last.  0, or -1 if there is no memory; then
# intervals_shrink() is due.
cdef int intervals_prepare(Intervals* self, Key first, Key last) noexcept nogil
# Add (delta 1) or take out (-1) the interval from first to last, both included, which was prepared
# or is the reverse of the last change not yet reversed.  What is taken out must have been added.
cdef void intervals_apply(Intervals* self, Key first, Key last, int32_t delta) noexcept nogil
# Give back memory that is not needed any more; due after changes, and not before a reversal.
cdef void intervals_shrink(Intervals* self) noexcept nogil
# The two points of an interval, written to `changes`; returns how many (the second may not exist).
cdef Py_ssize_t interval_points(bint wide, Key first, Key last, Change* changes) noexcept nogil
# Bring points into order, and those at one address into one; returns how many remain.
cdef Py_ssize_t sort_changes(Change* changes, Py_ssize_t count) noexcept nogil
# Make `out` what `self` is after sorted changes.  0, or -1 if there is no memory; `self` stays.
cdef int intervals_merge(const Intervals* self, const Change* changes, Py_ssize_t count,
                         Intervals* out) noexcept nogil
# Bytes of memory in use.
cdef size_t intervals_memory(const Intervals* self) noexcept nogil

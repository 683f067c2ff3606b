"""A multiset of address intervals: is an address in one of them?  See intervals.pyx.

No function needs the GIL or takes a lock.
"""

from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

# An address as a number.  IPv4 is the 32-bit number in `hi`, IPv6 has its first half there.
cdef struct Key:
    uint64_t hi
    uint64_t lo

# The point `key`, from which on `delta` more intervals cover an address than before it.
cdef struct Point:
    Key key
    int32_t delta

cdef struct Leaf

cdef struct Slot:
    Key first                # the first address that belongs to the leaf; 0 for the first leaf
    Leaf* leaf
    int32_t before           # the sum of all points before the leaf's

# A summary of a large multiset of IPv4: what is covered, without how often.
cdef struct Cover:
    uint32_t* blocks         # for each 2**16 addresses where its flips begin, and flags; or NULL
    uint16_t* flips          # in order: lower halves of the addresses where `covered` changes
    Py_ssize_t changes       # of the multiset since this was made

# Filled with zeros it is an empty multiset of IPv4.
cdef struct Intervals:
    bint wide                # IPv6: keys of 128 bits instead of 32
    Py_ssize_t points        # in all leaves
    Py_ssize_t leaves        # slots in use
    Py_ssize_t capacity      # slots there is memory for
    Slot* slots              # in order
    Leaf* spare              # leaves for the splits of a change, linked
    Py_ssize_t spares        # these, and what the slab has left
    char* slab               # memory of many leaves in one piece ...
    size_t slab_size         # ... its bytes ...
    size_t slab_used         # ... and how many of them are leaves by now
    uint32_t* hints          # for each stretch of addresses, a leaf at or before its first one
    Py_ssize_t stretches     # how many; one more hint closes the list
    uint64_t hint_base       # `hi` where the first stretch begins ...
    int hint_shift           # ... and how long each is, as a power of 2
    Py_ssize_t hinted        # leaves when the hints were made
    Cover cover

# Free everything; what remains is empty.
cdef void intervals_free(Intervals* self) noexcept nogil
cdef bint intervals_cover(const Intervals* self, Key key) noexcept nogil
# Reserve memory for this many new leaves; 0, or -1 if there is none.  A change needs up to three.
cdef int intervals_reserve(Intervals* self, Py_ssize_t leaves) noexcept nogil
# Make room for a change of the interval from first to last.  Returns 0, or -1 if there is no
# memory, which cannot be where leaves were reserved.
cdef int intervals_prepare(Intervals* self, Key first, Key last) noexcept nogil
# Add (delta 1) or take out (-1) the interval from first to last, both included, for which there is
# room.  What is taken out must have been added.
cdef void intervals_change(Intervals* self, Key first, Key last, int32_t delta) noexcept nogil
# Free what is not needed; due after changes, and after a change for which there was no memory.
cdef void intervals_trim(Intervals* self) noexcept nogil
# Whether a summary made now would pay for itself.
cdef bint intervals_cover_due(const Intervals* self) noexcept nogil
# Make a summary of what there is now; without memory it has none.
cdef void intervals_make_cover(const Intervals* self, Cover* out) noexcept nogil
cdef void cover_free(Cover* self) noexcept nogil
# The two points of an interval, written to `points`; returns how many (the second may not exist).
cdef Py_ssize_t interval_points(bint wide, Key first, Key last, Point* points) noexcept nogil
cdef void sort_points(Point* points, Py_ssize_t count) noexcept nogil
# Make `out` what `self` is with more points, which are sorted.  0, or -1 if there is no memory.
cdef int intervals_merge(const Intervals* self, const Point* points, Py_ssize_t count,
                         Intervals* out) noexcept nogil
# Bytes of memory in use.
cdef size_t intervals_memory(const Intervals* self) noexcept nogil

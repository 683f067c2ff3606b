"""A multiset of address intervals that answers at once whether an address is in one of them.

Owns: how BlockList matches.  Imports: nothing of ours.

How it works.  An interval is two points: +1 at its first address, -1 after its last.  Points at one
address are added up, and a point that comes to 0 vanishes, so adjoining intervals share nothing.
The sum of all points up to an address tells how many intervals cover it: overlaps, duplicates and
exact removal need no further care.  The points are kept in order in leaves of up to LEAF_POINTS,
each with the sums from its own start, and a directory that has for every leaf its first address and
the sum of all points before it.  A look-up is a search in the directory, a search in one leaf, and
one addition.  A change moves two points and corrects the sums of the leaves between them, which for
all but very wide intervals are none.

Why not the obvious ones.  A million random IPv4 subnets, each look-up waiting for the one before,
best of six runs of prototypes in C: a path-compressed binary trie took 400 to 530 ns, since each of
its twenty steps waits for memory, and it breaks a range into up to 254 prefixes; sorted disjoint
intervals took 160 ns, but must be made anew as a whole for a removal; a B+ tree of sums took 180 to
215 ns, as each level costs an access to keys and one to sums.  This took 130 to 160 ns.

The hints make the search in the directory short: addresses between the first and last leaf are cut
into equal stretches, and each remembers where its leaves begin. Evenly spread rules need no further
search; where rules crowd in few stretches it is a binary search among theirs.

Invariants: leaf i holds the points from firsts[i] up to, not including, firsts[i + 1]; firsts[0] is
0; a leaf may be empty, but a multiset without points has no leaves.  Sums of 32 bits hold as long
as there are less than 2**31 intervals: the caller sees to that.

A change that was made can be reversed without memory, newest first: each leaf had room for two
points more when the change was prepared, and splits since then only gave it more.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memmove, memset

cdef extern from * nogil:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #  define PYUVNET_PREFETCH(address) __builtin_prefetch(address)
    #else
    #  define PYUVNET_PREFETCH(address) ((void) 0)
    #endif
    """
    void PYUVNET_PREFETCH(const void* address)

cdef enum:
    LEAF_POINTS = 64
    # A rebuilt leaf has room for a few more points, so that the next changes need not split it.
    LEAF_FILLED = 60
    CACHE_LINE = 64
    # Fewer leaves than this are searched in less time than the hints would take.
    HINTED_LEAVES = 16
    MOST_STRETCHES = 1 << 16

cdef struct Leaf:
    int32_t used
    int32_t unused  # makes the keys begin at a multiple of 8
    int32_t sums[LEAF_POINTS]
    # The keys follow, as LEAF_POINTS keys.

cdef struct Slot:
    Leaf* leaf
    int32_t before  # the sum of all points before the leaf's


# Arrays of keys.  A narrow one is uint32_t[capacity]; a wide one is the upper halves and then the
# lower halves, uint64_t[capacity] each, since a search rarely needs a lower half.


cdef inline size_t keys_size(bint wide, Py_ssize_t capacity) noexcept nogil:
    return capacity * (16 if wide else 4)


cdef inline Key key_at(bint wide, const void* keys, Py_ssize_t capacity,
                       Py_ssize_t at) noexcept nogil:
    cdef Key key
    if wide:
        key.hi = (<const uint64_t*> keys)[at]
        key.lo = (<const uint64_t*> keys)[capacity + at]
    else:
        key.hi = (<const uint32_t*> keys)[at]
        key.lo = 0
    return key


cdef inline void put_key(bint wide, void* keys, Py_ssize_t capacity, Py_ssize_t at,
                         Key key) noexcept nogil:
    if wide:
        (<uint64_t*> keys)[at] = key.hi
        (<uint64_t*> keys)[capacity + at] = key.lo
    else:
        (<uint32_t*> keys)[at] = <uint32_t> key.hi


cdef void move_keys(bint wide, void* to, Py_ssize_t to_capacity, Py_ssize_t to_at,
                    const void* source, Py_ssize_t capacity, Py_ssize_t at,
                    Py_ssize_t count) noexcept nogil:
    if wide:
        memmove(<uint64_t*> to + to_at, <const uint64_t*> source + at, count * 8)
        memmove(<uint64_t*> to + to_capacity + to_at, <const uint64_t*> source + capacity + at,
                count * 8)
    else:
        memmove(<uint32_t*> to + to_at, <const uint32_t*> source + at, count * 4)


cdef inline Py_ssize_t last_up_to(bint wide, const void* keys, Py_ssize_t capacity, Py_ssize_t at,
                                  Py_ssize_t count, Key key) noexcept nogil:
    """The index of the last of `count` keys from `at` on that is not above key; at - 1 if none."""
    cdef const uint64_t* hi = <const uint64_t*> keys
    cdef const uint32_t* narrow = <const uint32_t*> keys
    cdef uint32_t number = <uint32_t> key.hi
    cdef Py_ssize_t half
    cdef bint below
    if count <= 0:
        return at - 1
    # Without a branch on the outcome, which would be guessed wrong every other time.
    if wide:
        while count > 1:
            half = count >> 1
            if hi[at + half] == key.hi:
                below = hi[capacity + at + half] <= key.lo
            else:
                below = hi[at + half] < key.hi
            at += half & -<Py_ssize_t> below
            count -= half
        if hi[at] == key.hi:
            return at - (hi[capacity + at] > key.lo)
        return at - (hi[at] > key.hi)
    while count > 1:
        half = count >> 1
        at += half & -<Py_ssize_t> (narrow[at + half] <= number)
        count -= half
    return at - (narrow[at] > number)


cdef inline bint key_less(Key a, Key b) noexcept nogil:
    return a.hi < b.hi or a.hi == b.hi and a.lo < b.lo


cdef inline bint key_equal(Key a, Key b) noexcept nogil:
    return a.hi == b.hi and a.lo == b.lo


cdef inline bint key_after(bint wide, Key key, Key* after) noexcept nogil:
    """Give the next address; False after the last one there is."""
    after.hi = key.hi
    after.lo = key.lo
    if not wide:
        after.hi += 1
        return after.hi <= 0xffffffffULL
    after.lo += 1
    if after.lo == 0:
        after.hi += 1
        return after.hi != 0
    return True


# Look-up


cdef inline void* leaf_keys(const Leaf* leaf) noexcept nogil:
    return <void*> (leaf + 1)


cdef inline Py_ssize_t find_leaf(const Intervals* self, Key key) noexcept nogil:
    """The index of the leaf to which an address belongs; there must be leaves."""
    cdef Py_ssize_t at = 0, count = self.leaves
    cdef uint64_t stretch = 0
    if self.hints != NULL:
        if key.hi > self.hint_base:
            stretch = (key.hi - self.hint_base) >> self.hint_shift
            if stretch >= <uint64_t> self.stretches:
                stretch = self.stretches - 1
        at = self.hints[stretch]
        count = self.hints[stretch + 1] - at + 1
    return last_up_to(self.wide, self.firsts, self.capacity, at, count, key)


cdef bint intervals_cover(const Intervals* self, Key key) noexcept nogil:
    cdef const Slot* slot
    cdef const Leaf* leaf
    cdef const char* keys
    cdef Py_ssize_t at
    if self.leaves == 0:
        return False
    slot = self.slots + find_leaf(self, key)
    leaf = slot.leaf
    # A large list is not in the processor's caches: ask for the whole leaf at once, rather than
    # for one line of it after the other as the search arrives there.
    keys = <const char*> leaf_keys(leaf)
    if self.hints != NULL:
        for at in range(LEAF_POINTS * (8 if self.wide else 4) // CACHE_LINE):
            PYUVNET_PREFETCH(keys + at * CACHE_LINE)
        for at in range(<Py_ssize_t> sizeof(leaf.sums) // CACHE_LINE):
            PYUVNET_PREFETCH(<const char*> leaf.sums + at * CACHE_LINE)
    at = last_up_to(self.wide, keys, LEAF_POINTS, 0, leaf.used, key)
    return slot.before + (leaf.sums[at] if at >= 0 else 0) > 0


# Memory


cdef Intervals intervals_empty(bint wide) noexcept nogil:
    cdef Intervals empty
    memset(&empty, 0, sizeof(empty))
    empty.wide = wide
    return empty


cdef void intervals_free(Intervals* self) noexcept nogil:
    """Free everything; what remains is empty."""
    cdef Py_ssize_t at
    for at in range(self.leaves):
        PyMem_RawFree(self.slots[at].leaf)
    PyMem_RawFree(self.slots)
    PyMem_RawFree(self.firsts)
    PyMem_RawFree(self.hints)
    self[0] = intervals_empty(self.wide)


cdef size_t leaf_size(bint wide) noexcept nogil:
    return sizeof(Leaf) + keys_size(wide, LEAF_POINTS)


cdef size_t intervals_memory(const Intervals* self) noexcept nogil:
    cdef size_t size = self.leaves * leaf_size(self.wide)
    size += self.capacity * (sizeof(Slot) + keys_size(self.wide, 1))
    return size + (self.stretches + 1) * sizeof(uint32_t) if self.hints != NULL else size


cdef int reserve_slot(Intervals* self) noexcept nogil:
    """Make room for one more leaf in the directory; -1 without any effect if there is no memory."""
    cdef Py_ssize_t capacity = self.capacity + self.capacity // 8 + 8
    cdef void* firsts
    cdef Slot* slots
    if self.leaves < self.capacity:
        return 0
    firsts = PyMem_RawMalloc(keys_size(self.wide, capacity))
    slots = <Slot*> PyMem_RawMalloc(capacity * sizeof(Slot))
    if firsts == NULL or slots == NULL:
        PyMem_RawFree(firsts)
        PyMem_RawFree(slots)
        return -1
    if self.leaves:
        move_keys(self.wide, firsts, capacity, 0, self.firsts, self.capacity, 0, self.leaves)
        memcpy(slots, self.slots, self.leaves * sizeof(Slot))
    PyMem_RawFree(self.firsts)
    PyMem_RawFree(self.slots)
    self.firsts = firsts
    self.slots = slots
    self.capacity = capacity
    return 0


cdef Leaf* insert_leaf(Intervals* self, Py_ssize_t at, Key first, int32_t before) noexcept nogil:
    """Put a new empty leaf into the directory; NULL without any effect if there is no memory."""
    cdef Py_ssize_t after = self.leaves - at
    cdef Leaf* leaf
    if self.leaves == 0xffffffffULL or reserve_slot(self) < 0:  # hints are of 32 bits
        return NULL
    leaf = <Leaf*> PyMem_RawMalloc(leaf_size(self.wide))
    if leaf == NULL:
        return NULL
    leaf.used = 0
    move_keys(self.wide, self.firsts, self.capacity, at + 1, self.firsts, self.capacity, at, after)
    memmove(self.slots + at + 1, self.slots + at, after * sizeof(Slot))
    put_key(self.wide, self.firsts, self.capacity, at, first)
    self.slots[at].leaf = leaf
    self.slots[at].before = before
    self.leaves += 1
    return leaf


# Hints


cdef void make_hints(Intervals* self) noexcept nogil:
    """Make the hints anew; without memory for them the search does without."""
    cdef Py_ssize_t leaves = self.leaves, stretches, wanted = MOST_STRETCHES, at = 0
    cdef uint64_t base, span
    cdef int shift = 0
    cdef Key key
    PyMem_RawFree(self.hints)
    self.hints = NULL
    self.hinted = leaves
    if leaves < HINTED_LEAVES:
        return
    if wanted > 4 * leaves:
        wanted = 4 * leaves
    base = key_at(self.wide, self.firsts, self.capacity, 1).hi
    span = key_at(self.wide, self.firsts, self.capacity, leaves - 1).hi - base
    while span >> shift >= <uint64_t> wanted:
        shift += 1
    stretches = <Py_ssize_t> (span >> shift) + 1
    if stretches == 1:
        return
    self.hints = <uint32_t*> PyMem_RawMalloc((stretches + 1) * sizeof(uint32_t))
    if self.hints == NULL:
        return
    self.hint_base = base
    self.hint_shift = shift
    self.stretches = stretches
    key.lo = 0
    # The first stretch takes all below it too, as the last takes all above it.
    self.hints[0] = 0
    for stretch in range(1, stretches):
        key.hi = base + (<uint64_t> stretch << shift)
        while at + 1 < leaves and not key_less(
                key, key_at(self.wide, self.firsts, self.capacity, at + 1)):
            at += 1
        self.hints[stretch] = <uint32_t> at
    self.hints[stretches] = <uint32_t> (leaves - 1)


cdef void hint_inserted(Intervals* self, Key first) noexcept nogil:
    """Correct the hints for a leaf that was put in with this first address."""
    cdef uint64_t stretch = 1, limit, offset
    cdef Py_ssize_t at
    if self.leaves > 2 * self.hinted:
        make_hints(self)
        return
    if self.hints == NULL:
        return
    # Stretches that begin at or after the address; never the first one, which begins at 0.
    limit = self.stretches
    if first.hi >= self.hint_base:
        offset = first.hi - self.hint_base
        stretch = offset >> self.hint_shift
        if stretch == 0 or first.lo or offset != stretch << self.hint_shift:
            stretch += 1
        if stretch > limit:
            stretch = limit
    for at in range(<Py_ssize_t> stretch, self.stretches + 1):
        self.hints[at] += 1


# Changes


cdef int make_room(Intervals* self, Key key) noexcept nogil:
    """Split the leaf of an address unless it has room for two points; -1 if there is no memory.

    Splitting changes no sum, so nothing has happened if a later step fails.
    """
    cdef Py_ssize_t at = find_leaf(self, key), half = LEAF_POINTS // 2, moved
    cdef Leaf* leaf = self.slots[at].leaf
    cdef Leaf* right
    cdef Key first
    cdef int32_t left
    if leaf.used <= LEAF_POINTS - 2:
        return 0
    # Points that come in rising or in falling order leave full leaves behind them.
    if at == self.leaves - 1 and key_less(
            key_at(self.wide, leaf_keys(leaf), LEAF_POINTS, leaf.used - 1), key):
        half = leaf.used - 1
    elif at == 0 and key_less(key, key_at(self.wide, leaf_keys(leaf), LEAF_POINTS, 0)):
        half = 1
    first = key_at(self.wide, leaf_keys(leaf), LEAF_POINTS, half)
    left = leaf.sums[half - 1]
    right = insert_leaf(self, at + 1, first, self.slots[at].before + left)
    if right == NULL:
        return -1
    moved = leaf.used - half
    move_keys(self.wide, leaf_keys(right), LEAF_POINTS, 0,
              leaf_keys(leaf), LEAF_POINTS, half, moved)
    for at in range(moved):
        right.sums[at] = leaf.sums[half + at] - left
    right.used = <int32_t> moved
    leaf.used = <int32_t> half
    hint_inserted(self, first)
    return 0


cdef void add_point(Intervals* self, Leaf* leaf, Key key, int32_t delta) noexcept nogil:
    """Add delta to the point at an address of this leaf, which has room for a new one."""
    cdef void* keys = leaf_keys(leaf)
    cdef Py_ssize_t at = last_up_to(self.wide, keys, LEAF_POINTS, 0, leaf.used, key), after
    cdef int32_t before
    if at < 0 or not key_equal(key_at(self.wide, keys, LEAF_POINTS, at), key):
        at += 1
        after = leaf.used - at
        move_keys(self.wide, keys, LEAF_POINTS, at + 1, keys, LEAF_POINTS, at, after)
        memmove(leaf.sums + at + 1, leaf.sums + at, after * sizeof(leaf.sums[0]))
        put_key(self.wide, keys, LEAF_POINTS, at, key)
        leaf.sums[at] = leaf.sums[at - 1] if at else 0
        leaf.used += 1
        self.points += 1
    for after in range(at, leaf.used):
        leaf.sums[after] += delta
    before = leaf.sums[at - 1] if at else 0
    if leaf.sums[at] == before:
        after = leaf.used - at - 1
        move_keys(self.wide, keys, LEAF_POINTS, at, keys, LEAF_POINTS, at + 1, after)
        memmove(leaf.sums + at, leaf.sums + at + 1, after * sizeof(leaf.sums[0]))
        leaf.used -= 1
        self.points -= 1


cdef int intervals_prepare(Intervals* self, Key first, Key last) noexcept nogil:
    cdef Key after, lowest
    if self.leaves == 0:
        memset(&lowest, 0, sizeof(lowest))
        if insert_leaf(self, 0, lowest, 0) == NULL:
            return -1
    if make_room(self, first) < 0:
        return -1
    return make_room(self, after) if key_after(self.wide, last, &after) else 0


cdef void intervals_apply(Intervals* self, Key first, Key last, int32_t delta) noexcept nogil:
    cdef Py_ssize_t begin = find_leaf(self, first), end = self.leaves - 1, at
    cdef Key after
    add_point(self, self.slots[begin].leaf, first, delta)
    if key_after(self.wide, last, &after):
        end = find_leaf(self, after)
        add_point(self, self.slots[end].leaf, after, -delta)
    for at in range(begin + 1, end + 1):
        self.slots[at].before += delta


cdef void intervals_shrink(Intervals* self) noexcept nogil:
    cdef Intervals dense
    if self.points == 0:
        intervals_free(self)
    elif self.leaves > 8 and self.points < self.leaves * (LEAF_POINTS // 4):
        # Without memory for it everything stays as it is.
        if intervals_merge(self, NULL, 0, &dense) == 0:
            intervals_free(self)
            self[0] = dense


# Many changes at once


cdef Py_ssize_t interval_points(bint wide, Key first, Key last, Change* changes) noexcept nogil:
    changes[0].key = first
    changes[0].delta = 1
    changes[1].delta = -1
    return 2 if key_after(wide, last, &changes[1].key) else 1


cdef int compare_changes(const void* a, const void* b) noexcept nogil:
    cdef const Change* x = <const Change*> a
    cdef const Change* y = <const Change*> b
    if x.key.hi != y.key.hi:
        return -1 if x.key.hi < y.key.hi else 1
    if x.key.lo != y.key.lo:
        return -1 if x.key.lo < y.key.lo else 1
    return 0


cdef Py_ssize_t sort_changes(Change* changes, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at, used = 0
    for at in range(1, count):
        if key_less(changes[at].key, changes[at - 1].key):
            qsort(changes, count, sizeof(Change), compare_changes)
            break
    for at in range(count):
        if used and key_equal(changes[used - 1].key, changes[at].key):
            changes[used - 1].delta += changes[at].delta
        else:
            if used and changes[used - 1].delta == 0:
                used -= 1
            changes[used] = changes[at]
            used += 1
    if used and changes[used - 1].delta == 0:
        used -= 1
    return used


cdef int append_point(Intervals* self, Key key, int32_t delta) noexcept nogil:
    """Add a point after all others, to a multiset that is being built."""
    cdef Leaf* leaf = NULL
    cdef int32_t before = 0
    cdef Key first = key
    if self.leaves:
        leaf = self.slots[self.leaves - 1].leaf
        if leaf.used == LEAF_FILLED:
            before = self.slots[self.leaves - 1].before + leaf.sums[leaf.used - 1]
            leaf = NULL
    else:
        memset(&first, 0, sizeof(first))
    if leaf == NULL:
        leaf = insert_leaf(self, self.leaves, first, before)
        if leaf == NULL:
            return -1
    put_key(self.wide, leaf_keys(leaf), LEAF_POINTS, leaf.used, key)
    leaf.sums[leaf.used] = delta + (leaf.sums[leaf.used - 1] if leaf.used else 0)
    leaf.used += 1
    self.points += 1
    return 0


cdef int intervals_merge(const Intervals* self, const Change* changes, Py_ssize_t count,
                         Intervals* out) noexcept nogil:
    cdef Py_ssize_t at_leaf, at, next_change = 0
    cdef const Leaf* leaf
    cdef int32_t delta
    cdef Key key
    out[0] = intervals_empty(self.wide)
    for at_leaf in range(self.leaves):
        leaf = self.slots[at_leaf].leaf
        for at in range(leaf.used):
            key = key_at(self.wide, leaf_keys(leaf), LEAF_POINTS, at)
            delta = leaf.sums[at] - (leaf.sums[at - 1] if at else 0)
            while next_change < count and key_less(changes[next_change].key, key):
                if append_point(out, changes[next_change].key, changes[next_change].delta) < 0:
                    intervals_free(out)
                    return -1
                next_change += 1
            if next_change < count and key_equal(changes[next_change].key, key):
                delta += changes[next_change].delta
                next_change += 1
            if delta and append_point(out, key, delta) < 0:
                intervals_free(out)
                return -1
    while next_change < count:
        if append_point(out, changes[next_change].key, changes[next_change].delta) < 0:
            intervals_free(out)
            return -1
        next_change += 1
    make_hints(out)
    return 0

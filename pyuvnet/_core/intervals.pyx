"""A multiset of address intervals: is an address in one of them?

Owns: how BlockList matches.  Imports: nothing of ours.

An interval is two points: +1 at its first address, -1 after its last.  Points at one address are
added up, and a point that comes to 0 vanishes, so adjoining intervals share nothing.  The sum of
all points up to an address is how many intervals cover it, so overlaps, duplicates and exact
removal need no further care.  The points are kept in order in leaves of up to LEAF_POINTS, each
with the sums from its own start, and a directory of slots has for each leaf its first address and
the sum of all points before it.  A look-up is a search in the directory, a search in one leaf, and
one addition.  A change moves two points and corrects the sums of the leaves between them, which for
all but very wide intervals are none.

The hints make the search in the directory short: addresses between the first and the last leaf are
cut into equal stretches, and each knows where its leaves begin.  Evenly spread rules need next to
no further search; where rules crowd in few stretches it is a binary search among theirs.

A large multiset of IPv4 also has a summary: for each block of 2**16 addresses whether the address
before it is covered, and at which of its addresses that flips, two bytes each.  A look-up is a step
into the blocks and a search among some thirty flips.  With a million rules it is 4 MB instead of
18, and two waits for memory instead of three.  A change marks the blocks that it touches as stale;
they are looked up in the leaves, until the summary is made anew, after as many changes as its
making costs.  The leaves of a large multiset are one piece of memory in huge pages, where the
system has them: among 18 MB in pages of 4 KiB, finding the page takes longer than reading it.

Prototypes in C of the obvious alternatives, with a million random IPv4 subnets, where this took 130
to 160 ns: a path-compressed trie took 400 to 530 ns, as each of its steps waits for memory; sorted
disjoint intervals took 160 ns, but a removal makes them anew; a B+ tree of sums took 180 to 215 ns.

Invariants: leaf i holds the points from its slot's first address up to, not including, that of the
next slot; a leaf may be empty, but a multiset without points has no leaves.  Sums of 32 bits hold
less than 2**31 intervals: the caller sees to that.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stdlib cimport free, qsort
from libc.string cimport memmove, memset

cdef extern from * nogil:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #  define PYUVNET_PREFETCH(address) __builtin_prefetch(address)
    #else
    #  define PYUVNET_PREFETCH(address) ((void) 0)
    #endif
    """
    void PYUVNET_PREFETCH(const void* address)

cdef extern from * nogil:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #  include <sys/mman.h>
    #endif

    enum { PYUVNET_HUGE_PAGE = 1 << 21 };

    /* Memory for what is looked up all over, in huge pages as far as it fills them; for free(). */
    static void* pyuvnet_huge(size_t size) {
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
      void* memory;
      if (size >= PYUVNET_HUGE_PAGE) {
        if (posix_memalign(&memory, PYUVNET_HUGE_PAGE, size)) return NULL;
        madvise(memory, size - size % PYUVNET_HUGE_PAGE, MADV_HUGEPAGE);
        return memory;
      }
    #endif
      return malloc(size);
    }
    """
    enum:
        PYUVNET_HUGE_PAGE
    void* pyuvnet_huge(size_t size)

cdef enum:
    LEAF_POINTS = 64
    # A merged leaf has room for a few more points, so that the next changes need not split it.
    LEAF_FILLED = 60
    CACHE_LINE = 64
    # Fewer leaves than this are searched in less time than the hints would take.
    HINTED_LEAVES = 16
    MOST_STRETCHES = 1 << 16
    # From here on a summary is smaller than the leaves, and worth its 256 KiB of blocks.
    COVERED_LEAVES = 1024
    BLOCKS = 1 << 16
    # The flags of a block, below where its flips begin.
    STALE = 1
    COVERED = 2
    FLIP_SHIFT = 2
    # A summary is made by going through all points; one change takes as long as some of them.
    POINTS_PER_CHANGE = 64

cdef struct Leaf:
    int32_t used
    int32_t unused  # makes the keys begin at a multiple of 8
    int32_t sums[LEAF_POINTS]
    # The keys follow: uint32_t[LEAF_POINTS], or for IPv6 uint64_t[2 * LEAF_POINTS], the upper
    # halves before the lower ones, since a search rarely needs a lower half.


# Keys


cdef inline bint key_less(Key a, Key b) noexcept nogil:
    return a.lo < b.lo if a.hi == b.hi else a.hi < b.hi


cdef inline bint key_after(bint wide, Key key, Key* after) noexcept nogil:
    """Set the next address; False after the last one there is."""
    after.lo = key.lo + wide
    after.hi = key.hi + (after.lo == 0)
    return (after.hi | after.lo) != 0 if wide else after.hi <= 0xffffffffULL


# Leaves


cdef inline uint32_t* narrow_keys(const Leaf* leaf) noexcept nogil:
    return <uint32_t*> (leaf + 1)


cdef inline uint64_t* wide_keys(const Leaf* leaf) noexcept nogil:
    return <uint64_t*> (leaf + 1)


cdef inline size_t leaf_size(bint wide) noexcept nogil:
    return sizeof(Leaf) + LEAF_POINTS * (16 if wide else 4)


cdef inline Key key_at(bint wide, const Leaf* leaf, Py_ssize_t at) noexcept nogil:
    cdef Key key
    key.hi = wide_keys(leaf)[at] if wide else narrow_keys(leaf)[at]
    key.lo = wide_keys(leaf)[LEAF_POINTS + at] if wide else 0
    return key


cdef inline int32_t sum_before(const Leaf* leaf, Py_ssize_t at) noexcept nogil:
    return leaf.sums[at - 1] if at else 0


cdef void move_points(bint wide, Leaf* to, Py_ssize_t to_at, const Leaf* source, Py_ssize_t at,
                      Py_ssize_t count) noexcept nogil:
    memmove(to.sums + to_at, source.sums + at, count * sizeof(int32_t))
    if not wide:
        memmove(narrow_keys(to) + to_at, narrow_keys(source) + at, count * sizeof(uint32_t))
        return
    memmove(wide_keys(to) + to_at, wide_keys(source) + at, count * sizeof(uint64_t))
    memmove(wide_keys(to) + LEAF_POINTS + to_at, wide_keys(source) + LEAF_POINTS + at,
            count * sizeof(uint64_t))


cdef inline Py_ssize_t find_point(bint wide, const Leaf* leaf, Key key) noexcept nogil:
    """The index of the last point that is not above key; -1 if there is none."""
    cdef const uint64_t* hi = wide_keys(leaf)
    cdef const uint32_t* narrow = narrow_keys(leaf)
    cdef uint32_t number = <uint32_t> key.hi
    cdef Py_ssize_t at = -1, count = leaf.used, half
    cdef bint below
    # Without a branch on the outcome, which would be predicted wrong every other time.
    if not wide:
        while count:
            half = (count + 1) >> 1
            at += half & -<Py_ssize_t> (narrow[at + half] <= number)
            count -= half
        return at
    while count:
        half = (count + 1) >> 1
        if hi[at + half] == key.hi:
            below = hi[at + half + LEAF_POINTS] <= key.lo
        else:
            below = hi[at + half] < key.hi
        at += half & -<Py_ssize_t> below
        count -= half
    return at


cdef void add_point(Intervals* self, Leaf* leaf, Py_ssize_t at, Key key,
                    int32_t delta) noexcept nogil:
    """Add delta to the point at an address of this leaf, which has room for a new one.

    at: what find_point() gives for the address.
    """
    cdef Py_ssize_t after
    if at < 0 or key_less(key_at(self.wide, leaf, at), key):
        at += 1
        move_points(self.wide, leaf, at + 1, leaf, at, leaf.used - at)
        if self.wide:
            wide_keys(leaf)[at] = key.hi
            wide_keys(leaf)[LEAF_POINTS + at] = key.lo
        else:
            narrow_keys(leaf)[at] = <uint32_t> key.hi
        leaf.sums[at] = sum_before(leaf, at)
        leaf.used += 1
        self.points += 1
    for after in range(at, leaf.used):
        leaf.sums[after] += delta
    if leaf.sums[at] == sum_before(leaf, at):
        move_points(self.wide, leaf, at, leaf, at + 1, leaf.used - at - 1)
        leaf.used -= 1
        self.points -= 1


# The directory


cdef inline Py_ssize_t stretch_of(const Intervals* self, Key key) noexcept nogil:
    """The first stretch takes all addresses below it too, and the last all above it."""
    cdef uint64_t stretch
    if key.hi <= self.hint_base:
        return 0
    stretch = (key.hi - self.hint_base) >> self.hint_shift
    return <Py_ssize_t> min(stretch, <uint64_t> self.stretches - 1)


cdef inline Py_ssize_t find_leaf(const Intervals* self, Key key) noexcept nogil:
    """The index of the leaf to which an address belongs; there must be leaves."""
    cdef Py_ssize_t at = 0, count = self.leaves - 1, half, stretch
    if self.hints != NULL:
        stretch = stretch_of(self, key)
        at = self.hints[stretch]
        count = self.hints[stretch + 1] - at
    while count:
        half = (count + 1) >> 1
        at += half & -<Py_ssize_t> (not key_less(key, self.slots[at + half].first))
        count -= half
    return at


cdef bint intervals_cover(const Intervals* self, Key key) noexcept nogil:
    cdef const Slot* slot
    cdef const char* memory
    cdef const uint32_t* block
    cdef Py_ssize_t at
    if self.leaves == 0:
        return False
    if self.cover.blocks != NULL:
        block = self.cover.blocks + (key.hi >> 16)
        if not block[0] & STALE:
            return cover_at(&self.cover, block, key.hi & 0xffff)
    slot = self.slots + find_leaf(self, key)
    # A large list is not in the processor's caches: ask for all that the search may need at once,
    # rather than for one line after the other as it arrives there.
    if self.hints != NULL:
        memory = <const char*> slot.leaf
        for at in range((<Py_ssize_t> sizeof(Leaf) + LEAF_POINTS * (8 if self.wide else 4))
                        // CACHE_LINE + 1):
            PYUVNET_PREFETCH(memory + at * CACHE_LINE)
    at = find_point(self.wide, slot.leaf, key)
    return slot.before + sum_before(slot.leaf, at + 1) > 0


cdef void make_hints(Intervals* self) noexcept nogil:
    """Make the hints anew; without memory for them the search does without."""
    cdef Py_ssize_t leaf, filled = 0, wanted = min(4 * self.leaves, MOST_STRETCHES)
    cdef uint64_t span
    PyMem_RawFree(self.hints)
    self.hints = NULL
    self.hinted = self.leaves
    if self.leaves < HINTED_LEAVES:
        return
    self.hint_base = self.slots[1].first.hi
    self.hint_shift = 0
    span = self.slots[self.leaves - 1].first.hi - self.hint_base
    while span >> self.hint_shift >= <uint64_t> wanted:
        self.hint_shift += 1
    self.stretches = <Py_ssize_t> (span >> self.hint_shift) + 1
    if self.stretches > 1:
        self.hints = <uint32_t*> PyMem_RawMalloc((self.stretches + 1) * sizeof(uint32_t))
    if self.hints == NULL:
        return
    # The hint of a stretch is the last leaf that begins in an earlier one.
    self.hints[0] = 0
    for leaf in range(1, self.leaves):
        while filled < stretch_of(self, self.slots[leaf].first):
            filled += 1
            self.hints[filled] = <uint32_t> (leaf - 1)
    self.hints[self.stretches] = <uint32_t> (self.leaves - 1)


# The summary


cdef inline bint cover_at(const Cover* self, const uint32_t* block, uint32_t low) noexcept nogil:
    """Whether the address with this lower half is covered; the block is not stale."""
    cdef uint32_t begin = block[0] >> FLIP_SHIFT
    cdef const uint16_t* flips = self.flips + begin
    cdef Py_ssize_t at = 0, count = (block[1] >> FLIP_SHIFT) - begin, half
    # As in find_point(): how many flips there are up to the address.
    while count:
        half = (count + 1) >> 1
        at += half & -<Py_ssize_t> (flips[at + half - 1] <= low)
        count -= half
    return ((block[0] & COVERED) != 0) ^ (at & 1)


cdef bint intervals_cover_due(const Intervals* self) noexcept nogil:
    return (not self.wide and self.leaves >= COVERED_LEAVES
            and self.cover.changes * POINTS_PER_CHANGE > self.points)


cdef void intervals_make_cover(const Intervals* self, Cover* out) noexcept nogil:
    cdef Py_ssize_t turn, index, at, flips
    cdef bint covered, now
    cdef const Slot* slot
    cdef uint32_t number, block
    memset(out, 0, sizeof(out[0]))
    if self.wide or self.leaves < COVERED_LEAVES:
        return
    # The first turn counts, the second writes.
    for turn in range(2):
        covered = False
        flips = 0
        block = 0
        for index in range(self.leaves):
            slot = self.slots + index
            for at in range(slot.leaf.used):
                now = slot.before + slot.leaf.sums[at] > 0
                if now == covered:
                    continue
                if turn:
                    number = narrow_keys(slot.leaf)[at]
                    while block <= number >> 16:
                        out.blocks[block] = <uint32_t> flips << FLIP_SHIFT | covered * COVERED
                        block += 1
                    out.flips[flips] = <uint16_t> (number & 0xffff)
                covered = now
                flips += 1
        if not turn:
            if flips >> 32 - FLIP_SHIFT:
                return
            # In one piece, so that it fills its pages.
            out.blocks = <uint32_t*> pyuvnet_huge((BLOCKS + 1) * sizeof(uint32_t)
                                                  + flips * sizeof(uint16_t))
            if out.blocks == NULL:
                return
            out.flips = <uint16_t*> (out.blocks + BLOCKS + 1)
    while block <= BLOCKS:
        out.blocks[block] = <uint32_t> flips << FLIP_SHIFT | covered * COVERED
        block += 1


cdef void cover_free(Cover* self) noexcept nogil:
    free(self.blocks)
    memset(self, 0, sizeof(self[0]))


cdef void cover_changed(Cover* self, uint64_t first, uint64_t after) noexcept nogil:
    """Addresses from the first on, up to but not including another, are covered otherwise."""
    cdef uint64_t block
    self.changes += 1
    if self.blocks != NULL:
        for block in range(first >> 16, min(after >> 16, <uint64_t> BLOCKS - 1) + 1):
            self.blocks[block] |= STALE


# Memory


cdef Leaf* insert_leaf(Intervals* self, Py_ssize_t at, Key first, int32_t before) noexcept nogil:
    """Put an empty leaf into the directory; NULL without any effect if there is no memory."""
    cdef Leaf* leaf
    if intervals_reserve(self, 1) < 0:
        return NULL
    leaf = self.spare
    if leaf != NULL:
        self.spare = (<Leaf**> leaf)[0]
    else:
        leaf = <Leaf*> (self.slab + self.slab_used)
        self.slab_used += leaf_size(self.wide)
    self.spares -= 1
    leaf.used = 0
    memmove(self.slots + at + 1, self.slots + at, (self.leaves - at) * sizeof(Slot))
    self.slots[at].first = first
    self.slots[at].leaf = leaf
    self.slots[at].before = before
    self.leaves += 1
    if self.leaves > 2 * self.hinted:
        make_hints(self)
    elif self.hints != NULL:
        for at in range(stretch_of(self, first) + 1, self.stretches + 1):
            self.hints[at] += 1
    return leaf


cdef int intervals_reserve(Intervals* self, Py_ssize_t leaves) noexcept nogil:
    cdef Py_ssize_t capacity = self.leaves + leaves
    cdef size_t size
    cdef Leaf* leaf
    cdef void* slots
    if capacity > self.capacity:
        capacity = max(capacity, self.capacity + self.capacity // 8 + 4)
        slots = PyMem_RawRealloc(self.slots, capacity * sizeof(Slot))
        if slots == NULL:
            return -1
        self.slots = <Slot*> slots
        self.capacity = capacity
    size = max(leaves - self.spares, 0) * leaf_size(self.wide)
    if self.slab == NULL and size >= <size_t> PYUVNET_HUGE_PAGE:
        self.slab = <char*> pyuvnet_huge(size)
        if self.slab == NULL:
            return -1
        self.slab_size = size
        self.slab_used = 0
        self.spares += size // leaf_size(self.wide)
    while self.spares < leaves:
        leaf = <Leaf*> PyMem_RawMalloc(leaf_size(self.wide))
        if leaf == NULL:
            return -1
        (<Leaf**> leaf)[0] = self.spare
        self.spare = leaf
        self.spares += 1
    return 0


cdef inline Py_ssize_t slab_rest(const Intervals* self) noexcept nogil:
    """How many leaves the slab still has; pages that were never used are no memory."""
    return (self.slab_size - self.slab_used) // leaf_size(self.wide)


cdef void free_spares(Intervals* self) noexcept nogil:
    cdef Leaf* leaf
    while self.spare != NULL:
        leaf = self.spare
        self.spare = (<Leaf**> leaf)[0]
        PyMem_RawFree(leaf)
    self.spares = slab_rest(self)


cdef void intervals_free(Intervals* self) noexcept nogil:
    cdef bint wide = self.wide
    cdef const char* leaf
    cdef Py_ssize_t at
    free_spares(self)
    for at in range(self.leaves):
        leaf = <const char*> self.slots[at].leaf
        if not self.slab <= leaf < self.slab + self.slab_size:
            PyMem_RawFree(<void*> leaf)
    free(self.slab)
    cover_free(&self.cover)
    PyMem_RawFree(self.slots)
    PyMem_RawFree(self.hints)
    memset(self, 0, sizeof(self[0]))
    self.wide = wide


cdef void intervals_trim(Intervals* self) noexcept nogil:
    cdef Intervals dense
    free_spares(self)
    if self.points == 0:
        intervals_free(self)
    elif self.leaves > 8 and self.points < self.leaves * (LEAF_POINTS // 4):
        # Without memory for it everything stays as it is.
        if intervals_merge(self, NULL, 0, &dense) == 0:
            intervals_free(self)
            self[0] = dense


cdef size_t intervals_memory(const Intervals* self) noexcept nogil:
    cdef size_t cover = 0
    if self.cover.blocks != NULL:
        cover = ((BLOCKS + 1) * sizeof(uint32_t)
                 + (self.cover.blocks[BLOCKS] >> FLIP_SHIFT) * sizeof(uint16_t))
    return (cover + (self.leaves + self.spares - slab_rest(self)) * leaf_size(self.wide)
            + self.capacity * sizeof(Slot)
            + ((self.stretches + 1) * sizeof(uint32_t) if self.hints != NULL else 0))


# Changes


cdef int make_room(Intervals* self, Key key) noexcept nogil:
    """Split the leaf of an address unless it has room for two points; -1 if there is no memory.

    Splitting changes no sum, so nothing has happened if a later step fails.
    """
    cdef Py_ssize_t index = find_leaf(self, key), half = LEAF_POINTS // 2, at
    cdef Leaf* leaf = self.slots[index].leaf
    cdef Leaf* right
    cdef int32_t left
    if leaf.used <= LEAF_POINTS - 2:
        return 0
    # Points that come in rising or in falling order leave full leaves behind them.
    if index == self.leaves - 1 and key_less(key_at(self.wide, leaf, leaf.used - 1), key):
        half = leaf.used - 1
    elif index == 0 and key_less(key, key_at(self.wide, leaf, 0)):
        half = 1
    left = leaf.sums[half - 1]
    right = insert_leaf(self, index + 1, key_at(self.wide, leaf, half),
                        self.slots[index].before + left)
    if right == NULL:
        return -1
    right.used = leaf.used - <int32_t> half
    move_points(self.wide, right, 0, leaf, half, right.used)
    for at in range(right.used):
        right.sums[at] -= left
    leaf.used = <int32_t> half
    return 0


cdef int intervals_prepare(Intervals* self, Key first, Key last) noexcept nogil:
    cdef Key after, lowest = Key(0, 0)
    if self.leaves == 0 and insert_leaf(self, 0, lowest, 0) == NULL:
        return -1
    if make_room(self, first) < 0:
        return -1
    return make_room(self, after) if key_after(self.wide, last, &after) else 0


cdef void intervals_change(Intervals* self, Key first, Key last, int32_t delta) noexcept nogil:
    cdef Py_ssize_t begin = find_leaf(self, first), end = self.leaves - 1, at
    cdef Leaf* leaf = self.slots[begin].leaf
    cdef Key after
    cdef bint ends = key_after(self.wide, last, &after)
    if not self.wide:
        cover_changed(&self.cover, first.hi, after.hi if ends else last.hi)
    add_point(self, leaf, find_point(self.wide, leaf, first), first, delta)
    if ends:
        end = find_leaf(self, after)
        leaf = self.slots[end].leaf
        add_point(self, leaf, find_point(self.wide, leaf, after), after, -delta)
    for at in range(begin + 1, end + 1):
        self.slots[at].before += delta


# Many changes at once


cdef Py_ssize_t interval_points(bint wide, Key first, Key last, Point* points) noexcept nogil:
    points[0] = Point(first, 1)
    points[1].delta = -1
    return 2 if key_after(wide, last, &points[1].key) else 1


cdef int compare_points(const void* a, const void* b) noexcept nogil:
    cdef Key x = (<const Point*> a).key, y = (<const Point*> b).key
    return key_less(y, x) - key_less(x, y)


cdef void sort_points(Point* points, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at
    for at in range(1, count):
        if key_less(points[at].key, points[at - 1].key):
            qsort(points, count, sizeof(Point), compare_points)
            return


cdef void append_point(Intervals* self, Key key, int32_t delta) noexcept nogil:
    """Add to a point that is not below any other; leaves are reserved."""
    cdef const Slot* slot = self.slots + self.leaves - 1
    cdef Leaf* leaf = slot.leaf
    if leaf.used == LEAF_FILLED and key_less(key_at(self.wide, leaf, LEAF_FILLED - 1), key):
        leaf = insert_leaf(self, self.leaves, key,
                           slot.before + leaf.sums[LEAF_FILLED - 1])
    add_point(self, leaf, leaf.used - 1, key, delta)


cdef int intervals_merge(const Intervals* self, const Point* points, Py_ssize_t count,
                         Intervals* out) noexcept nogil:
    cdef const Point* end = points + count
    cdef Key key = Key(0, 0)
    cdef const Leaf* leaf
    cdef Py_ssize_t index, at
    cdef void* slots
    memset(out, 0, sizeof(out[0]))
    out.wide = self.wide
    if intervals_reserve(out, (self.points + count) // LEAF_FILLED + 1) < 0:
        intervals_free(out)
        return -1
    insert_leaf(out, 0, key, 0)
    for index in range(self.leaves):
        leaf = self.slots[index].leaf
        for at in range(leaf.used):
            key = key_at(self.wide, leaf, at)
            while points != end and key_less(points.key, key):
                append_point(out, points.key, points.delta)
                points += 1
            append_point(out, key, leaf.sums[at] - sum_before(leaf, at))
    while points != end:
        append_point(out, points.key, points.delta)
        points += 1
    # What was reserved for points that vanished goes back.
    intervals_trim(out)
    slots = PyMem_RawRealloc(out.slots, out.leaves * sizeof(Slot))
    if slots != NULL:
        out.slots = <Slot*> slots
        out.capacity = out.leaves
    make_hints(out)
    intervals_make_cover(out, &out.cover)
    return 0

"""The rules of a BlockList as they were added: their order and their duplicates.

Owns: the packed rules, which are all that is kept for `rules`, and the index that finds one to
remove.  Imports: nothing of ours.

A packed rule is a Rule without the bytes it does not use: 8 bytes for an IPv4 subnet, 20 for IPv6,
where the text alone would take 60 and more.  A removed rule stays, marked, until half of the log is
such rules; then the log is packed anew.

The index is a hash table from a rule to where the newest rule equal to it is, in units of four
bytes.  The first removal makes it, so that a list which only grows never pays for it; from then on
a rule with an older equal is followed by a link to that one, four bytes.  So a removal takes the
same short time with a million rules and with a million duplicates.  Where the last of equal rules
was removed, its entry stays until the log is packed anew.

Rules for 1.2.3.4 and for ::ffff:1.2.3.4 are equal, as in Node.  Ranges and subnets are equal if
they were written alike.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memset

# The state of a packed rule.
cdef enum:
    REMOVED = 1
    LINKED = 2

cdef enum:
    HEAD = 4
    LINK = 4
    UNIT = 4
    KEY_WORDS = 5  # of 64 bits, enough for the largest rule
    MOST_RULES = 0x7fffffff  # the matcher's sums are of 32 bits

cdef const char* MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


# One rule


cdef inline size_t rule_size(const Rule* rule) noexcept nogil:
    cdef size_t last = 0 if rule.last_family == 0 else 4 if rule.last_family == 4 else 16
    return HEAD + (4 if rule.family == 4 else 16) + last


cdef void place_of(int family, const unsigned char* bytes, unsigned char* out16) noexcept nogil:
    """Write an address as IPv6."""
    if family == 6:
        memcpy(out16, bytes, 16)
    else:
        memcpy(out16, MAPPED, 12)
        memcpy(out16 + 12, bytes, 4)


cdef void rule_ends(const Rule* rule, unsigned char* first16, unsigned char* last16) noexcept nogil:
    cdef int prefix = 128, at, bits
    place_of(rule.family, rule.bytes, first16)
    if rule.last_family:
        place_of(rule.last_family, rule_last(rule), last16)
        return
    memcpy(last16, first16, 16)
    if rule.prefix != NO_PREFIX:
        prefix = rule.prefix + (96 if rule.family == 4 else 0)
    for at in range(prefix // 8, 16):
        bits = 0xff >> (prefix % 8) if at == prefix // 8 else 0xff
        first16[at] &= <uint8_t> ~bits
        last16[at] |= <uint8_t> bits


cdef bint is_ordered(const Rule* rule) noexcept nogil:
    cdef unsigned char first[16]
    cdef unsigned char last[16]
    rule_ends(rule, first, last)
    return memcmp(first, last, 16) <= 0


cdef void rule_key(const Rule* rule, uint64_t* key) noexcept nogil:
    """Write what equal rules, and only they, have in common."""
    cdef Rule* written = <Rule*> key
    memset(key, 0, KEY_WORDS * 8)
    memcpy(key, rule, rule_size(rule))
    written.state = 0
    if (rule.prefix == NO_PREFIX and rule.family == 6 and rule.last_family == 0
            and memcmp(rule.bytes, MAPPED, 12) == 0):
        written.family = 4
        memset(written.bytes, 0, 16)
        memcpy(written.bytes, rule.bytes + 12, 4)


# The log


cdef inline size_t packed_size(const Rule* packed) noexcept nogil:
    return rule_size(packed) + (LINK if packed.state & LINKED else 0)


cdef const Rule* rules_at(const RuleLog* self, uint32_t where) noexcept nogil:
    return <const Rule*> (self.data + <size_t> where * UNIT)


cdef void rules_free(RuleLog* self) noexcept nogil:
    """Free everything; what remains is empty."""
    PyMem_RawFree(self.data)
    PyMem_RawFree(self.table)
    memset(self, 0, sizeof(self[0]))


cdef int rules_reserve(RuleLog* self, size_t count, size_t size) noexcept nogil:
    cdef size_t capacity
    cdef void* data
    if self.table != NULL:
        if reserve_entries(self, count) < 0:
            return -1
        size += count * LINK
    size += self.size
    if self.count + count > MOST_RULES or size // UNIT >= NO_RULE:
        return -1
    if size <= self.capacity:
        return 0
    capacity = max(size, self.capacity + self.capacity // 8 + 64)
    data = PyMem_RawRealloc(self.data, capacity)
    if data == NULL:
        return -1
    self.data = <unsigned char*> data
    self.capacity = capacity
    return 0


cdef void rules_append(RuleLog* self, const Rule* rule) noexcept nogil:
    cdef size_t size = rule_size(rule), slot
    cdef Rule* packed = <Rule*> (self.data + self.size)
    cdef uint32_t older = NO_RULE
    memcpy(packed, rule, size)
    packed.state = 0
    if self.table != NULL:
        slot = find_slot(self, rule)
        older = live(self, self.table[slot])
        self.entries += self.table[slot] == NO_RULE
        self.table[slot] = <uint32_t> (self.size // UNIT)
    if older != NO_RULE:
        packed.state = LINKED
        memcpy(<char*> packed + size, &older, LINK)
    self.size += packed_size(packed)
    self.count += 1


cdef void rules_extend(RuleLog* self, const RuleLog* more) noexcept nogil:
    cdef size_t at = 0
    cdef const Rule* rule
    if self.table == NULL and more.size:
        memcpy(self.data + self.size, more.data, more.size)
        self.size += more.size
        self.count += more.count
        return
    rule = rules_next(more, &at)
    while rule != NULL:
        rules_append(self, rule)
        rule = rules_next(more, &at)


cdef const Rule* rules_next(const RuleLog* self, size_t* at) noexcept nogil:
    cdef const Rule* packed
    while at[0] < self.size:
        packed = <const Rule*> (self.data + at[0])
        at[0] += packed_size(packed)
        if not packed.state & REMOVED:
            return packed
    return NULL


cdef size_t rules_memory(const RuleLog* self) noexcept nogil:
    return self.capacity + self.slots * sizeof(uint32_t)


# The index


# Different in each process, as for Python's own tables, to prevent addresses from being chosen
# which all fall on one slot.
cdef uint64_t hash_seed = <uint64_t> <Py_ssize_t> hash("rules")


cdef size_t find_slot(const RuleLog* self, const Rule* rule) noexcept nogil:
    """The slot with the newest rule equal to this one, otherwise the free slot for it."""
    cdef uint64_t key[KEY_WORDS]
    cdef uint64_t other[KEY_WORDS]
    cdef uint64_t hashed = hash_seed
    cdef size_t slot
    cdef int word
    rule_key(rule, key)
    for word in range(KEY_WORDS):
        # Spreads every bit over the whole number.
        hashed = (hashed ^ key[word]) * 0xd6e8feb86659fd93ULL
        hashed ^= hashed >> 32
    slot = <size_t> hashed & (self.slots - 1)
    while self.table[slot] != NO_RULE:
        rule_key(rules_at(self, self.table[slot]), other)
        if memcmp(key, other, sizeof(key)) == 0:
            break
        slot = (slot + 1) & (self.slots - 1)
    return slot


cdef int reserve_entries(RuleLog* self, size_t more) noexcept nogil:
    """Make the table large enough, at most two thirds full; -1 if there is no memory."""
    cdef size_t slots = self.slots if self.slots else 16
    cdef size_t at, old_slots = self.slots
    cdef uint32_t* old = self.table
    cdef uint32_t* table
    while (self.entries + more) * 3 > slots * 2:
        slots *= 2
    if slots == self.slots:
        return 0
    table = <uint32_t*> PyMem_RawMalloc(slots * sizeof(uint32_t))
    if table == NULL:
        return -1
    memset(table, 0xff, slots * sizeof(uint32_t))
    self.table = table
    self.slots = slots
    for at in range(old_slots):
        if old[at] != NO_RULE:
            table[find_slot(self, rules_at(self, old[at]))] = old[at]
    PyMem_RawFree(old)
    return 0


cdef int rules_index(RuleLog* self) noexcept nogil:
    return 0 if self.table != NULL else repack(self)


cdef int repack(RuleLog* self) noexcept nogil:
    """Pack the log anew without its removed rules, and with an index; -1 if there is no memory."""
    cdef RuleLog packed
    cdef void* data
    memset(&packed, 0, sizeof(packed))
    if (reserve_entries(&packed, self.count) < 0
            or rules_reserve(&packed, self.count, self.size - self.dead) < 0):
        rules_free(&packed)
        return -1
    rules_extend(&packed, self)
    # What was reserved for links that were not needed goes back; a log can stay too large.
    data = PyMem_RawRealloc(packed.data, packed.size)
    if data != NULL:
        packed.data = <unsigned char*> data
        packed.capacity = packed.size
    rules_free(self)
    self[0] = packed
    return 0


cdef inline uint32_t live(const RuleLog* self, uint32_t where) noexcept nogil:
    return NO_RULE if where != NO_RULE and rules_at(self, where).state & REMOVED else where


cdef uint32_t rules_find(const RuleLog* self, const Rule* rule) noexcept nogil:
    return live(self, self.table[find_slot(self, rule)])


cdef void rules_remove(RuleLog* self, uint32_t where) noexcept nogil:
    cdef Rule* packed = <Rule*> rules_at(self, where)
    packed.state |= REMOVED
    if packed.state & LINKED:
        memcpy(self.table + find_slot(self, packed), <const char*> packed + rule_size(packed), LINK)
    self.dead += packed_size(packed)
    self.count -= 1
    if self.count == 0:
        rules_free(self)
    elif self.dead > self.size // 2 and self.size > 1024:
        repack(self)  # without memory for it the log stays as it is

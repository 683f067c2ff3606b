"""The rules of a BlockList as they were added: their order, their duplicates, their texts.

Owns: the packed form of rules, which is all that is kept for `rules`, the index that finds a rule
to remove, and the text of a rule.  Imports: the parser and printer of addresses.

A packed rule is kind, families, prefix (4 bytes), then the address, and for a range the last
address: 8 bytes for an IPv4 subnet, 20 for IPv6, where the text alone would take 60 and more.  A
removed rule stays as a dead one until half of the log is dead.

The index is a hash table from a rule to where the newest rule equal to it is, in units of four
bytes.  It is made by the first removal, so that a list which only grows never pays for it; making
it packs the log anew, and from then on a rule with an older equal carries a link to that in four
bytes behind its head.  So removal takes the same short time with a million rules and with a million
duplicates.

No two addresses are told apart which match the same: 1.2.3.4 and ::ffff:1.2.3.4 are equal as rules
for an address, as in Node.  Ranges and subnets are equal if they were written alike.
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memset

from .address cimport parse_ipv4, parse_ipv6, print_ip

# The first byte of a packed rule: kind, families, state.
cdef enum:
    KIND = 0x03
    FIRST_IS_6 = 0x04
    LAST_IS_6 = 0x08
    DEAD = 0x10
    LINKED = 0x20

cdef enum:
    HEAD = 4
    LINK = 4
    UNIT = 4
    MOST_RULES = 0x7fffffff  # the matcher's sums are of 31 bits


cdef inline size_t family_size(int family) noexcept nogil:
    return 4 if family == 4 else 16


cdef size_t rule_size(const Rule* rule) noexcept nogil:
    cdef size_t size = HEAD + family_size(rule.family)
    return size + family_size(rule.last_family) if rule.kind == RULE_RANGE else size


cdef inline size_t packed_size(const unsigned char* packed) noexcept nogil:
    cdef size_t size = HEAD + (16 if packed[0] & FIRST_IS_6 else 4)
    if packed[0] & KIND == RULE_RANGE:
        size += 16 if packed[0] & LAST_IS_6 else 4
    return size + LINK if packed[0] & LINKED else size


cdef inline uint32_t link_of(const unsigned char* packed) noexcept nogil:
    cdef uint32_t link = NO_RULE
    if packed[0] & LINKED:
        memcpy(&link, packed + HEAD, LINK)
    return link


cdef void unpack(const unsigned char* packed, Rule* rule) noexcept nogil:
    cdef const unsigned char* bytes = packed + HEAD + (LINK if packed[0] & LINKED else 0)
    rule.kind = packed[0] & KIND
    rule.family = 6 if packed[0] & FIRST_IS_6 else 4
    rule.last_family = 6 if packed[0] & LAST_IS_6 else 4
    rule.prefix = packed[1]
    memcpy(rule.first, bytes, family_size(rule.family))
    if rule.kind == RULE_RANGE:
        memcpy(rule.last, bytes + family_size(rule.family), family_size(rule.last_family))


cdef void pack(const Rule* rule, uint32_t link, unsigned char* packed) noexcept nogil:
    cdef size_t size = family_size(rule.family)
    memset(packed, 0, HEAD)
    packed[0] = rule.kind
    if rule.family == 6:
        packed[0] |= FIRST_IS_6
    if rule.kind == RULE_RANGE and rule.last_family == 6:
        packed[0] |= LAST_IS_6
    if rule.kind == RULE_SUBNET:
        packed[1] = rule.prefix
    if link != NO_RULE:
        packed[0] |= LINKED
    packed += HEAD
    if link != NO_RULE:
        memcpy(packed, &link, LINK)
        packed += LINK
    memcpy(packed, rule.first, size)
    if rule.kind == RULE_RANGE:
        memcpy(packed + size, rule.last, family_size(rule.last_family))


# The log


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
    capacity = self.capacity + self.capacity // 8 + 64
    if capacity < size:
        capacity = size
    data = PyMem_RawRealloc(self.data, capacity)
    if data == NULL:
        return -1
    self.data = <unsigned char*> data
    self.capacity = capacity
    return 0


cdef void rules_append(RuleLog* self, const Rule* rule) noexcept nogil:
    cdef uint32_t older = NO_RULE
    cdef size_t slot
    if self.table != NULL:
        slot = find_slot(self, rule)
        older = self.table[slot]
        self.table[slot] = <uint32_t> (self.size // UNIT)
        self.entries += older == NO_RULE
    pack(rule, older, self.data + self.size)
    self.size += packed_size(self.data + self.size)
    self.count += 1


cdef void rules_extend(RuleLog* self, const RuleLog* other) noexcept nogil:
    cdef size_t at = 0
    cdef Rule rule
    if self.table != NULL or other.table != NULL or other.dead:
        while rules_next(other, &at, &rule):
            rules_append(self, &rule)
    elif other.size:
        memcpy(self.data + self.size, other.data, other.size)
        self.size += other.size
        self.count += other.count


cdef bint rules_next(const RuleLog* self, size_t* at, Rule* rule) noexcept nogil:
    cdef const unsigned char* packed
    while at[0] < self.size:
        packed = self.data + at[0]
        at[0] += packed_size(packed)
        if not packed[0] & DEAD:
            unpack(packed, rule)
            return True
    return False


cdef void rules_read(const RuleLog* self, uint32_t at, Rule* rule) noexcept nogil:
    unpack(self.data + <size_t> at * UNIT, rule)


cdef size_t rules_memory(const RuleLog* self) noexcept nogil:
    return self.capacity + self.slots * sizeof(uint32_t)


# The addresses of a rule


cdef void shared_form(int family, const unsigned char* bytes, unsigned char* out16) noexcept nogil:
    """Write an address in the one form that IPv4 and mapped addresses share."""
    if family == 6:
        memcpy(out16, bytes, 16)
        return
    memset(out16, 0, 10)
    memset(out16 + 10, 0xff, 2)
    memcpy(out16 + 12, bytes, 4)


cdef void rule_ends(const Rule* rule, unsigned char* first16, unsigned char* last16) noexcept nogil:
    """Write the first and the last address that a rule matches."""
    cdef int prefix = rule.prefix, at, bits
    shared_form(rule.family, rule.first, first16)
    if rule.kind == RULE_RANGE:
        shared_form(rule.last_family, rule.last, last16)
        return
    memcpy(last16, first16, 16)
    if rule.kind == RULE_SUBNET:
        prefix += 96 if rule.family == 4 else 0
        for at in range(prefix // 8, 16):
            bits = 0xff >> (prefix % 8) if at == prefix // 8 else 0xff
            first16[at] &= <uint8_t> ~bits
            last16[at] |= <uint8_t> bits


cdef bint is_ordered(const Rule* rule) noexcept nogil:
    cdef unsigned char first[16]
    cdef unsigned char last[16]
    rule_ends(rule, first, last)
    return memcmp(first, last, 16) <= 0


# The index


# Different in each process, as for Python's own tables, so that nobody can choose addresses which
# all fall on one slot.
cdef uint64_t hash_seed = <uint64_t> <Py_ssize_t> hash("rules")


cdef inline uint64_t mix(uint64_t value) noexcept nogil:
    """Spread every bit of a number over the whole of it."""
    value ^= value >> 32
    value *= 0xd6e8feb86659fd93ULL
    value ^= value >> 32
    value *= 0xd6e8feb86659fd93ULL
    return value ^ value >> 32


cdef uint64_t hash_bytes(uint64_t hashed, const unsigned char* bytes, size_t size) noexcept nogil:
    cdef uint64_t half
    cdef size_t step
    while size:
        step = size if size < 8 else 8
        half = 0
        memcpy(&half, bytes, step)
        hashed = mix(hashed ^ half)
        bytes += step
        size -= step
    return hashed


cdef uint64_t rule_hash(const Rule* rule) noexcept nogil:
    cdef unsigned char key[16]
    cdef uint64_t hashed
    if rule.kind == RULE_ADDRESS:
        shared_form(rule.family, rule.first, key)
        return hash_bytes(hash_seed, key, 16)
    hashed = mix(hash_seed ^ (<uint64_t> rule.kind << 8 | rule.prefix))
    hashed = hash_bytes(hashed, rule.first, family_size(rule.family))
    if rule.kind == RULE_RANGE:
        hashed = hash_bytes(hashed, rule.last, family_size(rule.last_family))
    return hashed


cdef bint rule_equal(const Rule* a, const Rule* b) noexcept nogil:
    cdef unsigned char key_a[16]
    cdef unsigned char key_b[16]
    if a.kind != b.kind:
        return False
    if a.kind == RULE_ADDRESS:
        shared_form(a.family, a.first, key_a)
        shared_form(b.family, b.first, key_b)
        return memcmp(key_a, key_b, 16) == 0
    if a.family != b.family or memcmp(a.first, b.first, family_size(a.family)) != 0:
        return False
    if a.kind == RULE_SUBNET:
        return a.prefix == b.prefix
    return (a.last_family == b.last_family
            and memcmp(a.last, b.last, family_size(a.last_family)) == 0)


cdef size_t find_slot(const RuleLog* self, const Rule* rule) noexcept nogil:
    """The slot with the newest rule equal to this one, otherwise the free slot for it."""
    cdef size_t mask = self.slots - 1
    cdef size_t slot = <size_t> rule_hash(rule) & mask
    cdef Rule there
    while self.table[slot] != NO_RULE:
        rules_read(self, self.table[slot], &there)
        if rule_equal(rule, &there):
            break
        slot = (slot + 1) & mask
    return slot


cdef int reserve_entries(RuleLog* self, size_t more) noexcept nogil:
    """Make the table large enough, at most two thirds full; -1 if there is no memory."""
    cdef size_t slots = self.slots if self.slots else 16
    cdef size_t at, old_slots = self.slots
    cdef uint32_t* old = self.table
    cdef uint32_t* table
    cdef Rule rule
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
            rules_read(self, old[at], &rule)
            table[find_slot(self, &rule)] = old[at]
    PyMem_RawFree(old)
    return 0


cdef int rules_index(RuleLog* self) noexcept nogil:
    return 0 if self.table != NULL else repack(self)


cdef int repack(RuleLog* self) noexcept nogil:
    """Pack the log anew without its dead rules, and with an index; -1 if there is no memory."""
    cdef RuleLog packed
    cdef size_t at = 0
    cdef void* data
    cdef Rule rule
    memset(&packed, 0, sizeof(packed))
    if (reserve_entries(&packed, self.count) < 0
            or rules_reserve(&packed, self.count, self.size - self.dead) < 0):
        rules_free(&packed)
        return -1
    while rules_next(self, &at, &rule):
        rules_append(&packed, &rule)
    # What was reserved for links that were not needed goes back; making smaller cannot fail so
    # that it would matter.
    data = PyMem_RawRealloc(packed.data, packed.size)
    if data != NULL:
        packed.data = <unsigned char*> data
        packed.capacity = packed.size
    rules_free(self)
    self[0] = packed
    return 0


cdef uint32_t rules_find(const RuleLog* self, const Rule* rule) noexcept nogil:
    return self.table[find_slot(self, rule)]


cdef void rules_remove(RuleLog* self, uint32_t at) noexcept nogil:
    """Remove the rule that rules_find() found: the newest of its equals."""
    cdef unsigned char* packed = self.data + <size_t> at * UNIT
    cdef size_t slot, mask = self.slots - 1, follower, home
    cdef Rule rule
    unpack(packed, &rule)
    slot = find_slot(self, &rule)
    self.table[slot] = link_of(packed)
    packed[0] |= DEAD
    self.dead += packed_size(packed)
    self.count -= 1
    if self.table[slot] == NO_RULE:
        self.entries -= 1
        # Close the gap: a rule behind it moves up if its search would stop at the gap.
        follower = (slot + 1) & mask
        while self.table[follower] != NO_RULE:
            rules_read(self, self.table[follower], &rule)
            home = <size_t> rule_hash(&rule) & mask
            if ((follower - home) & mask) >= ((follower - slot) & mask):
                self.table[slot] = self.table[follower]
                self.table[follower] = NO_RULE
                slot = follower
            follower = (follower + 1) & mask
    if self.count == 0:
        rules_free(self)
    elif self.dead > self.size // 2 and self.size > 1024:
        repack(self)  # without memory for it the log stays as it is


# Text


cdef Py_ssize_t print_text(const char* text, char* out) noexcept nogil:
    cdef Py_ssize_t length = 0
    while text[length]:
        out[length] = text[length]
        length += 1
    return length


cdef Py_ssize_t print_rule(const Rule* rule, char* out) noexcept nogil:
    cdef Py_ssize_t length
    cdef unsigned int prefix = rule.prefix
    if rule.kind == RULE_ADDRESS:
        length = print_text("Address: ", out)
    elif rule.kind == RULE_RANGE:
        length = print_text("Range: ", out)
    else:
        length = print_text("Subnet: ", out)
    length += print_text("IPv4 " if rule.family == 4 else "IPv6 ", out + length)
    length += print_ip(rule.family, rule.first, out + length)
    if rule.kind == RULE_RANGE:
        out[length] = c"-"
        length += 1
        length += print_ip(rule.last_family, rule.last, out + length)
    elif rule.kind == RULE_SUBNET:
        out[length] = c"/"
        length += 1
        if prefix >= 100:
            out[length] = c"1"
            length += 1
        if prefix >= 10:
            out[length] = <char> (c"0" + prefix // 10 % 10)
            length += 1
        out[length] = <char> (c"0" + prefix % 10)
        length += 1
    return length


cdef bint skip_text(const char** at, const char* end, const char* text) noexcept nogil:
    """Advance behind a text if it stands here."""
    cdef const char* here = at[0]
    while text[0]:
        if here == end or here[0] != text[0]:
            return False
        here += 1
        text += 1
    at[0] = here
    return True


cdef int parse_either(const char* text, Py_ssize_t length, unsigned char* out16) noexcept nogil:
    if parse_ipv4(text, length, out16):
        return 4
    return 6 if parse_ipv6(text, length, out16) else 0


cdef bint parse_rule(const char* text, Py_ssize_t length, Rule* out) noexcept nogil:
    cdef const char* end = text + length
    cdef const char* middle
    cdef char mark = 0
    cdef unsigned int prefix = 0
    if skip_text(&text, end, "Address: "):
        out.kind = RULE_ADDRESS
    elif skip_text(&text, end, "Subnet: "):
        out.kind = RULE_SUBNET
        mark = c"/"
    elif skip_text(&text, end, "Range: "):
        out.kind = RULE_RANGE
        mark = c"-"
    else:
        return False
    if skip_text(&text, end, "IPv4 "):
        out.family = 4
    elif skip_text(&text, end, "IPv6 "):
        out.family = 6
    else:
        return False
    middle = text
    while middle != end and middle[0] != mark:
        middle += 1
    if (middle == end) != (mark == 0):
        return False
    out.last_family = out.family
    out.prefix = 0
    if parse_either(text, middle - text, out.first) != out.family:
        return False
    if out.kind == RULE_RANGE:
        out.last_family = <uint8_t> parse_either(middle + 1, end - middle - 1, out.last)
        return out.last_family != 0
    if out.kind == RULE_SUBNET:
        middle += 1
        if middle == end or end - middle > 3:
            return False
        while middle != end:
            if not c"0" <= middle[0] <= c"9":
                return False
            prefix = prefix * 10 + (middle[0] - c"0")
            middle += 1
        if prefix > (32 if out.family == 4 else 128):
            return False
        out.prefix = <uint8_t> prefix
    return True

"""The rules of a BlockList as they were added; see rules.pyx.

Everything works without the GIL, and nothing takes a lock.
"""

from libc.stdint cimport uint8_t, uint32_t

cdef enum:
    NO_PREFIX = 255

# One address, a range (it has a last address) or a subnet (it has a prefix).
cdef struct Rule:
    uint8_t state            # of the log, see rules.pyx; 0 outside
    uint8_t family           # 4 or 6
    uint8_t last_family      # of a range 4 or 6, which may differ; otherwise 0
    uint8_t prefix           # of a subnet 0..32 or 0..128; otherwise NO_PREFIX
    unsigned char bytes[32]  # the first address, and behind it the last one, in network order

cdef struct RuleLog:
    unsigned char* data      # rules without their unused bytes, oldest first
    size_t size
    size_t capacity
    size_t dead              # bytes of rules that were removed
    size_t count             # rules without the removed ones
    uint32_t* table          # the index, once something was removed
    size_t slots             # of the table, a power of two
    size_t entries           # used slots

cdef extern from "<stdint.h>":
    const uint32_t NO_RULE "UINT32_MAX"

# Where the last address of a range begins.
cdef inline unsigned char* rule_last(const Rule* rule) noexcept nogil:
    return <unsigned char*> rule.bytes + (4 if rule.family == 4 else 16)

# Write the first and the last address that a rule matches, IPv4 as the IPv6 address that maps it.
cdef void rule_ends(const Rule* rule, unsigned char* first16, unsigned char* last16) noexcept nogil
# Whether the first address does not come after the last one.
cdef bint is_ordered(const Rule* rule) noexcept nogil

cdef void rules_free(RuleLog* self) noexcept nogil
# Make room for more rules, of at most so many bytes together; 0, or -1 without any effect if there
# is no memory.
cdef int rules_reserve(RuleLog* self, size_t count, size_t size) noexcept nogil
# Append a rule, for which there is room.
cdef void rules_append(RuleLog* self, const Rule* rule) noexcept nogil
# Append all rules of another log, for which there is room.
cdef void rules_extend(RuleLog* self, const RuleLog* more) noexcept nogil
# The rule at *at, from 0 on, and advance *at; NULL at the end.  It is valid until the log changes.
cdef const Rule* rules_next(const RuleLog* self, size_t* at) noexcept nogil
# Make the index, which rules_find() and rules_remove() need; 0, or -1 if there is no memory.
cdef int rules_index(RuleLog* self) noexcept nogil
# Where the newest rule equal to this one is, or NO_RULE.
cdef uint32_t rules_find(const RuleLog* self, const Rule* rule) noexcept nogil
# The rule that rules_find() found, and its removal.
cdef const Rule* rules_at(const RuleLog* self, uint32_t where) noexcept nogil
cdef void rules_remove(RuleLog* self, uint32_t where) noexcept nogil
# Bytes of memory in use.
cdef size_t rules_memory(const RuleLog* self) noexcept nogil

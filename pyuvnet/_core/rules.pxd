"""The rules of a BlockList as they were added, packed; see rules.pyx."""

from libc.stdint cimport uint32_t, uint8_t

cdef enum:
    RULE_ADDRESS = 1  # first
    RULE_RANGE = 2    # first to last, both included
    RULE_SUBNET = 3   # the addresses that share `prefix` bits with first

cdef enum:
    # Room for the longest text of a rule: a range of two IPv6 addresses.
    RULE_TEXT_SIZE = 128

cdef struct Rule:
    uint8_t kind
    uint8_t family           # of first: 4 or 6
    uint8_t last_family      # of last; the same unless SocketAddresses of both kinds were given
    uint8_t prefix
    unsigned char first[16]  # 4 or 16 bytes in network order, by its family
    unsigned char last[16]

cdef struct RuleLog:
    unsigned char* data      # packed rules, oldest first
    size_t size
    size_t capacity
    size_t dead              # bytes of rules that were removed
    size_t count             # rules without the removed ones
    uint32_t* table          # the index, once something was removed; see rules.pyx
    size_t slots             # of the table, a power of two
    size_t entries           # used slots

cdef extern from "<stdint.h>":
    const uint32_t NO_RULE "UINT32_MAX"

cdef void rules_free(RuleLog* self) noexcept nogil
# Make room for more rules; 0, or -1 without any effect if there is no memory.
cdef int rules_reserve(RuleLog* self, size_t count, size_t size) noexcept nogil
cdef size_t rule_size(const Rule* rule) noexcept nogil
# Append a rule, for which there is room.
cdef void rules_append(RuleLog* self, const Rule* rule) noexcept nogil
# Append all rules of another log, for which there is room.
cdef void rules_extend(RuleLog* self, const RuleLog* other) noexcept nogil
# Read the rule at *at and advance *at; False at the end.  Removed rules are skipped.
cdef bint rules_next(const RuleLog* self, size_t* at, Rule* rule) noexcept nogil
# Make the index, which the two below need; 0, or -1 if there is no memory.
cdef int rules_index(RuleLog* self) noexcept nogil
# Where the newest rule equal to this one is, or NO_RULE.
cdef uint32_t rules_find(const RuleLog* self, const Rule* rule) noexcept nogil
cdef void rules_remove(RuleLog* self, uint32_t at) noexcept nogil
# Read the rule that rules_find() found.
cdef void rules_read(const RuleLog* self, uint32_t at, Rule* rule) noexcept nogil
# Write the first and the last address that a rule matches, in the one form which IPv4 and the IPv6
# addresses that map it share.
cdef void rule_ends(const Rule* rule, unsigned char* first16, unsigned char* last16) noexcept nogil
# Whether the first address does not come after the last one.
cdef bint is_ordered(const Rule* rule) noexcept nogil
# Write the text of a rule, without NUL; returns the length.
cdef Py_ssize_t print_rule(const Rule* rule, char* out) noexcept nogil
# Read a text that print_rule() could have written, up to how addresses are spelt.
cdef bint parse_rule(const char* text, Py_ssize_t length, Rule* out) noexcept nogil
# Bytes of memory in use.
cdef size_t rules_memory(const RuleLog* self) noexcept nogil

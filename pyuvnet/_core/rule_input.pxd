"""Rules as people write them; see rule_input.pyx."""

from .rules cimport Rule, RuleLog

# Each reads the arguments of a method into a rule, or raises.
cdef int read_single(object address, object type, str name, Rule* rule) except -1
cdef int read_range(object start, object end, object type, Rule* rule) except -1
cdef int read_subnet(object net, object prefix, object type, Rule* rule) except -1
cdef int read_cidr(object cidr, str name, Rule* rule) except -1
# Raise unless the start of a range that was read does not come after its end.
cdef int check_order(const Rule* rule, object start) except -1
# The text of a rule in `rules`, and the rule of such a text; False if it is none.
cdef str rule_text(const Rule* rule)
cdef bint read_text(str text, Rule* rule) except -1
# Whether this is the text of an address, rather than a SocketAddress; raises for anything else.
cdef bint is_text(object address, str name) except -1
# The items of an argument that is several.
cdef list read_items(object items, str name)

# Rules that are read first, so that a mistake among them leaves the list as it was.
cdef class RuleBatch:
    cdef RuleLog log

    cdef int add(self, const Rule* rule) except -1
    # Add the rules of the feed in the file of a path, or in lines.
    cdef int read_feed(self, object path_or_lines) except -1
    cdef int _read_file(self, object path) except -1
    cdef int _read_lines(self, object lines, str where) except -1

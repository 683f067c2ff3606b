"""BlockList: fields, and the check of a peer's address; see blocklist.pyx for the rules."""

from .intervals cimport Intervals
from .rules cimport Rule, RuleLog
from .shared cimport pyuvnet_mutex
from .uv cimport sockaddr

cdef extern from "uv.h" nogil:
    ctypedef struct uv_rwlock_t:
        pass

cdef class BlockList:
    cdef object __weakref__
    cdef RuleLog _rules
    cdef Intervals _matched[2]  # what rules match of IPv4, mapped addresses included; of IPv6
    cdef uv_rwlock_t _lock     # of _matched; see blocklist.pyx
    cdef bint _locks           # it has been made
    cdef pyuvnet_mutex _changing       # held by who changes the list, or reads its rules
    cdef unsigned long _generation     # of the process (fork) in which the lock was made

    # Whether a rule matches the address; False for what is neither IPv4 nor IPv6.  The caller need
    # not hold the GIL, and other threads may change the list at the same time.
    cdef bint blocks(self, const sockaddr* addr) noexcept nogil
    # The same for the bytes of an address of a family, 4 or 6, in network order.
    cdef bint blocks_bytes(self, int family, const unsigned char* bytes) noexcept nogil

    cdef Py_ssize_t _count(self) noexcept
    cdef bint _covers(self, int family, const unsigned char* bytes) noexcept
    cdef void _begin(self) noexcept nogil
    cdef void _end(self) noexcept nogil
    cdef void _replace(self, Intervals* new, bint ipv4, bint ipv6) noexcept nogil
    cdef void _summarise(self) noexcept nogil
    cdef int _change(self, const Rule* rule, int delta) except -1
    cdef int _add(self, const Rule* rule) except -1
    cdef int _remove(self, const Rule* rule) except -1
    cdef int _remove_newest(self, const Rule* rule) except -1
    cdef int _add_all(self, const RuleLog* more) except -1
    cdef int _add_each(self, const RuleLog* more) except -1
    cdef int _add_merged(self, const RuleLog* more) except -1

"""Bounds of memory: budgets of sockets together, and counts by address; see limits.pyx."""

from .address cimport PeerName

cdef enum:
    IN_SERVER = 0                      # the places of a Quota: in the budget of its server,
    IN_LOOP                            # and in that of its loop
    QUOTA_PLACES

# The memory of a chunk that waits in queues, and in how many of the members of a budget.
cdef struct Shared:
    const char* base
    Py_ssize_t size
    Py_ssize_t holders                 # 0: a free place of the table

# A write that may wait in a queue, which goes when so many writes are done.
cdef struct Noted:
    unsigned long number
    const char* base                   # of the chunk's memory; a key only
    Py_ssize_t size                    # of it; 0: it counts by itself

cdef class Budget:
    cdef readonly Py_ssize_t limit     # bytes
    # By all members together, what was collected aside. What several of them queue counts once in
    # the first, which the limit bounds, and for each in the second.
    cdef readonly Py_ssize_t queued
    cdef readonly Py_ssize_t unsent
    cdef Py_ssize_t repeats            # what it costs to queue such a chunk more than once
    cdef Shared* table                 # an open hash table of the chunks that are queued
    cdef Py_ssize_t used, mask         # of its places; size - 1, -1 without a table
    cdef Py_ssize_t collected          # at most so much was collected since it last was zero
    cdef int place                     # IN_SERVER or IN_LOOP
    cdef void** heap                   # the Quotas of those that have a queue, the longest first
    cdef Py_ssize_t count              # how many of them
    cdef readonly Py_ssize_t members
    cdef Py_ssize_t size               # of the heap: every member has room in it

    cdef int admit(self) except -1
    cdef inline bint collect(self, Py_ssize_t size) noexcept:
        """So many bytes were collected; returns whether that could exceed the budget."""
        self.collected += size
        return self.collected > self.limit - self.queued - self.repeats

    cdef inline bint exceeded(self) noexcept:
        return self.queued + self.repeats > self.limit
    cdef void changed(self, Quota quota, Py_ssize_t before) noexcept
    cdef bint hold(self, const char* base, Py_ssize_t size) noexcept
    cdef void let_go(self, const char* base, Py_ssize_t size) noexcept
    cdef Py_ssize_t _place(self, const char* base, Py_ssize_t size) noexcept
    cdef bint _grow(self) noexcept
    cdef void _put(self, Py_ssize_t index, void* quota) noexcept
    cdef void _up(self, Py_ssize_t index) noexcept
    cdef void _down(self, Py_ssize_t index) noexcept

cdef class Quota:
    cdef void* socket                  # the SocketBase that has it
    cdef Py_ssize_t most               # of its queue, in bytes; -1: no bound
    cdef bint refuses                  # writes beyond it are refused; else the socket is destroyed
    cdef Py_ssize_t charged            # its queue, as its budgets have it
    # Its writes that may be shared, oldest first: [first, counted) are in the tables of its
    # budgets, and those behind them were collected, and may never be queued.
    cdef Noted* noted
    cdef Py_ssize_t first, counted, last, room
    cdef unsigned long number          # of the last that was noted
    cdef Py_ssize_t shared             # bytes of those that are in the tables,
    cdef Py_ssize_t unshared           # and what is queued besides, as its budgets have it
    cdef Budget in_server, in_loop
    cdef Py_ssize_t places[QUOTA_PLACES]     # in their heaps; -1: in none, without a queue

    cdef void charge(self, Py_ssize_t length, unsigned long done) noexcept
    cdef void note(self, unsigned long number, const char* base, Py_ssize_t size) noexcept
    cdef bint _make_room(self) noexcept
    cdef void _forget(self, unsigned long done, bint all) noexcept
    cdef bint _hold(self, Noted* noted) noexcept
    cdef void _set_unshared(self, Py_ssize_t size) noexcept
    cdef bint collect(self, Py_ssize_t size) noexcept
    cdef void sent(self) noexcept
    cdef int join(self, Budget budget) except -1
    cdef void leave(self, int place) noexcept
    cdef void leave_all(self) noexcept

cdef Budget new_budget(Py_ssize_t limit, int place)
cdef Quota new_quota(void* socket)

cdef class AddressCount:
    cdef AddressCounts counts
    cdef bytes key
    cdef Py_ssize_t count

    cdef void gone(self) noexcept

cdef class AddressCounts:
    cdef readonly Py_ssize_t most      # from one address
    cdef dict by_key                   # of bytes: an AddressCount each

    cdef bint full(self, const PeerName* peer) except -1
    cdef AddressCount enter(self, const PeerName* peer)

cdef AddressCounts new_address_counts(Py_ssize_t most)

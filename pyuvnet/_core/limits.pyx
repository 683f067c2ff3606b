"""Bounds of memory: what sockets queue together, and how many connections one address has.

Owns: the sums, the heaps that find the longest queue, the counts by address.  Imports: address,
errors.

A Budget has as members the sockets of a server, or of a loop; each has a Quota, and a place in the
heap while it has a queue.  So the sum is exact, a change of a queue costs O(log n) at most, and the
longest queue is at hand.  A member has its room in the heap from the beginning: nothing needs
memory while a queue changes, or when a socket is destroyed.  Nothing of the program's runs here.

Writes that are collected are not counted one by one, since most leave whole: `collected` is the
most that they can be.  Where that would exceed a budget, they are sent first, and then counted.

What a thousand sockets queue of one broadcast is in memory once, and a budget counts it once, as
long as one of them has it.  A chunk is known by where its memory is and how large that is.  So no
reference is held: memory that is used anew while something old still stands for it has the same
size, and counts once as it should.  Its place in a queue takes memory too (REPEAT), so that one
object that is written again and again to a peer that does not read exceeds a budget at last.  Each
Quota has a list of its writes with their numbers, in the
order in which they leave; without memory for it, or for the table, a write counts by itself.
"""

cimport cython
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memmove

from .address cimport PeerName
from .capi cimport hold_collector, release_collector
from .errors cimport seal


cdef enum:
    REPEAT = 32                        # bytes that a write takes besides its chunk
    KEPT = 4096                        # places of a table that stays when nothing is queued


cdef Budget new_budget(Py_ssize_t limit, int place):
    cdef Budget budget = Budget.__new__(Budget)
    budget.limit = limit
    budget.place = place
    return budget


@cython.no_gc    # nothing of a cycle in it
cdef class Budget:
    """How many bytes the sockets of a server, or of a loop, may queue together."""

    def __cinit__(self):
        self.mask = -1

    def __dealloc__(self):
        free(self.heap)
        free(self.table)

    cdef Py_ssize_t _place(self, const char* base, Py_ssize_t size) noexcept:
        """Where a chunk is in the table, or the free place where it would be."""
        cdef size_t hashed = (<size_t>base >> 4) * <size_t>0x9E3779B1 ^ <size_t>size * 31
        cdef Py_ssize_t index = <Py_ssize_t>((hashed ^ hashed >> 17) & <size_t>self.mask)
        while self.table[index].holders and (self.table[index].base != base
                                             or self.table[index].size != size):
            index = (index + 1) & self.mask
        return index

    cdef bint _grow(self) noexcept:
        """Make the table twice as large; False: there is no memory."""
        cdef Shared* before = self.table
        cdef Py_ssize_t index, size = self.mask + 1
        cdef Shared* table = <Shared*>calloc(2 * size if size else 16, sizeof(Shared))
        if table is NULL:
            return False
        self.table, self.mask = table, (2 * size if size else 16) - 1
        for index in range(size):
            if before[index].holders:
                table[self._place(before[index].base, before[index].size)] = before[index]
        free(before)
        return True

    cdef bint hold(self, const char* base, Py_ssize_t size) noexcept:
        """One queue more has a chunk; False: there is no memory to say so."""
        cdef Py_ssize_t index
        if 2 * (self.used + 1) > self.mask + 1 and not self._grow():
            return False
        index = self._place(base, size)
        if not self.table[index].holders:
            self.table[index].base, self.table[index].size = base, size
            self.used += 1
            self.queued += size
        else:
            self.repeats += min(size, REPEAT)
        self.table[index].holders += 1
        return True

    cdef void let_go(self, const char* base, Py_ssize_t size) noexcept:
        """One queue less has it."""
        cdef Py_ssize_t index, behind, home
        if self.mask < 0:
            return
        index = self._place(base, size)
        if not self.table[index].holders:
            return
        self.table[index].holders -= 1
        if self.table[index].holders:
            self.repeats -= min(size, REPEAT)
            return
        self.used -= 1
        self.queued -= size
        if not self.used and self.mask > KEPT:
            # After the worst moment the memory returns.
            free(self.table)
            self.table, self.mask = NULL, -1
            return
        # What was put behind it since its place was taken moves up.
        behind = index
        while True:
            behind = (behind + 1) & self.mask
            if not self.table[behind].holders:
                return
            home = self._place(self.table[behind].base, self.table[behind].size)
            if home != behind:
                self.table[home] = self.table[behind]
                self.table[behind].holders = 0

    cdef int admit(self) except -1:
        """One member more: make room for it in the heap."""
        cdef void** heap
        cdef Py_ssize_t size = self.size
        if self.members == size:
            size = 2 * size if size else 16
            heap = <void**>realloc(self.heap, size * sizeof(void*))
            if heap is NULL:
                raise MemoryError
            self.heap = heap
            self.size = size
        self.members += 1
        return 0

    cdef void changed(self, Quota quota, Py_ssize_t before) noexcept:
        """A member has charged itself anew."""
        cdef Py_ssize_t index = quota.places[self.place]
        self.unsent += quota.charged - before
        if index < 0:
            if not quota.charged:
                return
            index = self.count
            self.count += 1
            self._put(index, <void*>quota)
            self._up(index)
        elif not quota.charged:
            quota.places[self.place] = -1
            self.count -= 1
            if index < self.count:
                self._put(index, self.heap[self.count])
                self._up(index)
                self._down(index)
        elif quota.charged > before:
            self._up(index)
        else:
            self._down(index)

    cdef void _put(self, Py_ssize_t index, void* quota) noexcept:
        self.heap[index] = quota
        (<Quota>quota).places[self.place] = index

    cdef void _up(self, Py_ssize_t index) noexcept:
        cdef Py_ssize_t parent
        cdef void* quota = self.heap[index]
        while index:
            parent = (index - 1) // 2
            if (<Quota>self.heap[parent]).charged >= (<Quota>quota).charged:
                break
            self._put(index, self.heap[parent])
            index = parent
        self._put(index, quota)

    cdef void _down(self, Py_ssize_t index) noexcept:
        cdef Py_ssize_t child
        cdef void* quota = self.heap[index]
        while True:
            child = 2 * index + 1
            if child >= self.count:
                break
            if child + 1 < self.count \
                    and (<Quota>self.heap[child + 1]).charged > (<Quota>self.heap[child]).charged:
                child += 1
            if (<Quota>self.heap[child]).charged <= (<Quota>quota).charged:
                break
            self._put(index, self.heap[child])
            index = child
        self._put(index, quota)


cdef Quota new_quota(void* socket):
    cdef Quota quota = Quota.__new__(Quota)
    quota.socket = socket
    quota.most = -1
    quota.places[IN_SERVER] = quota.places[IN_LOOP] = -1
    return quota


@cython.no_gc    # its budgets know no objects
cdef class Quota:
    """What bounds the queue of one socket."""

    def __dealloc__(self):
        # A closed loop, or the garbage collector, can leave sockets behind.
        self.leave_all()
        free(self.noted)

    cdef void charge(self, Py_ssize_t length, unsigned long done) noexcept:
        """The queue has so many bytes now, and so many writes are done."""
        cdef Py_ssize_t before = self.charged
        self._forget(done, not length)
        while self.counted < self.last:
            if self._hold(&self.noted[self.counted]):
                self.shared += self.noted[self.counted].size
            else:
                self.noted[self.counted].size = 0
            self.counted += 1
        self._set_unshared(max(length - self.shared, 0))
        if length == before:
            return
        self.charged = length
        if self.in_server is not None:
            self.in_server.changed(self, before)
        if self.in_loop is not None:
            self.in_loop.changed(self, before)

    cdef void note(self, unsigned long number, const char* base, Py_ssize_t size) noexcept:
        """A write, of that number, has a chunk that other sockets may write too."""
        cdef Noted* noted
        if number == self.number or not self._make_room():
            return
        self.number = number
        noted = &self.noted[self.last]
        noted.number, noted.base, noted.size = number, base, size
        self.last += 1

    cdef bint _make_room(self) noexcept:
        """Make room for one more; False: there is no memory."""
        cdef Noted* grown
        cdef Py_ssize_t room
        if self.last < self.room:
            return True
        if self.first > self.room // 2:
            # Moving the rest from time to time costs each a constant share.
            self.last -= self.first
            self.counted -= self.first
            memmove(self.noted, self.noted + self.first, self.last * sizeof(Noted))
            self.first = 0
            return True
        room = 2 * self.room if self.room else 4
        grown = <Noted*>realloc(self.noted, room * sizeof(Noted))
        if grown is NULL:
            return False
        self.noted, self.room = grown, room
        return True

    cdef bint _hold(self, Noted* noted) noexcept:
        """Enter a chunk into the tables, or none: False."""
        if self.in_server is not None and not self.in_server.hold(noted.base, noted.size):
            return False
        if self.in_loop is None or self.in_loop.hold(noted.base, noted.size):
            return True
        if self.in_server is not None:
            self.in_server.let_go(noted.base, noted.size)
        return False

    cdef void _forget(self, unsigned long done, bint all) noexcept:
        """Take out what is done, or everything."""
        cdef Noted* noted
        while self.first < self.last and (all or self.noted[self.first].number <= done):
            noted = &self.noted[self.first]
            if self.first < self.counted and noted.size:
                self.shared -= noted.size
                if self.in_server is not None:
                    self.in_server.let_go(noted.base, noted.size)
                if self.in_loop is not None:
                    self.in_loop.let_go(noted.base, noted.size)
            self.first += 1
        if self.first == self.last:
            self.first = self.counted = self.last = 0
        elif self.counted < self.first:
            self.counted = self.first

    cdef void _set_unshared(self, Py_ssize_t size) noexcept:
        """What is queued besides has so many bytes now."""
        if self.in_server is not None:
            self.in_server.queued += size - self.unshared
        if self.in_loop is not None:
            self.in_loop.queued += size - self.unshared
        self.unshared = size

    cdef bint collect(self, Py_ssize_t size) noexcept:
        """So many bytes were collected; returns whether what is collected has to leave first."""
        cdef bint leave = False
        if self.in_server is not None:
            leave = self.in_server.collect(size)
        if self.in_loop is not None:
            leave |= self.in_loop.collect(size)
        return leave

    cdef void sent(self) noexcept:
        """All that was collected in the loop has left, and what is left of it is charged."""
        if self.in_server is not None:
            self.in_server.collected = 0
        if self.in_loop is not None:
            self.in_loop.collected = 0

    cdef int join(self, Budget budget) except -1:
        """Become a member; what is queued counts from now on. Nothing has changed if this raises.
        """
        budget.admit()
        # What waits so far counts by itself from now on, in both.
        self._forget(0, True)
        self._set_unshared(self.charged)
        self.leave(budget.place)
        if budget.place == IN_SERVER:
            self.in_server = budget
        else:
            self.in_loop = budget
        budget.queued += self.unshared
        if self.charged:
            budget.changed(self, 0)
        return 0

    cdef void leave(self, int place) noexcept:
        cdef Budget budget = self.in_server if place == IN_SERVER else self.in_loop
        cdef Py_ssize_t charged = self.charged
        if budget is None:
            return
        # In the other one it counts by itself, which has one at most when a socket is destroyed.
        self._forget(0, True)
        self._set_unshared(charged)
        budget.queued -= charged
        self.charged = 0
        budget.changed(self, charged)
        self.charged = charged
        budget.members -= 1
        if place == IN_SERVER:
            self.in_server = None
        else:
            self.in_loop = None

    cdef void leave_all(self) noexcept:
        """The socket is destroyed: nothing of it counts any more."""
        self.leave(IN_SERVER)
        self.leave(IN_LOOP)
        self._forget(0, True)
        self.charged = self.unshared = 0


# ---- Connections of one address ------------------------------------------------------------------

cdef enum:
    PREFIX = 8                         # bytes of an IPv6 address that one customer has


cdef AddressCounts new_address_counts(Py_ssize_t most):
    cdef AddressCounts counts = AddressCounts.__new__(AddressCounts)
    counts.most = most
    counts.by_key = {}
    return counts


@cython.no_gc_clear    # gone() needs both
cdef class AddressCount:
    """How many connections one address has; each of them holds it."""

    cdef void gone(self) noexcept:
        self.count -= 1
        if not self.count:
            # Of bytes, whose hash is known: this cannot fail, and runs nothing.
            self.counts.by_key.pop(self.key, None)


cdef class AddressCounts:
    """How many connections each address has: each of IPv4, each /64 of IPv6."""

    cdef bint full(self, const PeerName* peer) except -1:
        """Whether an address has all the connections that it may have."""
        cdef AddressCount found
        if not peer.family:
            # Unknown: there is no address to count for.
            return False
        found = self.by_key.get(_key_of(peer))
        return (found.count if found is not None else 0) >= self.most

    cdef AddressCount enter(self, const PeerName* peer):
        """Count a connection; what is returned has to be told when it is gone."""
        cdef AddressCount found
        cdef bytes key
        cdef int held
        if not peer.family:
            return None
        key = _key_of(peer)
        found = self.by_key.get(key)
        if found is None:
            held = hold_collector()
            try:
                found = AddressCount.__new__(AddressCount)
                found.counts = self
                found.key = key
                self.by_key[key] = found
            finally:
                release_collector(held)
        found.count += 1
        return found

    def as_dict(self):
        """Return the counts, by key: 4 bytes, or 8."""
        cdef AddressCount found
        return {key: (<AddressCount>found).count for key, found in self.by_key.items()}


cdef bytes _key_of(const PeerName* peer):
    """4 bytes of an IPv4 address, mapped or not, or the first 8 of an IPv6 address."""
    cdef const unsigned char* address = <const unsigned char*>peer.address
    if peer.family == 4:
        return address[:4]
    if _is_mapped(address):
        return address[12:16]
    return address[:PREFIX]


cdef bint _is_mapped(const unsigned char* address) noexcept:
    cdef int index
    for index in range(10):
        if address[index]:
            return False
    return address[10] == 0xFF and address[11] == 0xFF


seal(Budget)
seal(Quota)
seal(AddressCount)
seal(AddressCounts)

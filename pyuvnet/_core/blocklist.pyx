"""BlockList: rules for addresses, and the answer whether an address is among them.

Owns: the public class, and who may touch what when.  The rules as they were added are in a RuleLog,
what they match is in two Intervals.  Imports: those modules, the reading of rules, addresses,
SocketAddress.

IPv4 addresses and IPv6 addresses that map one (::ffff:0:0/96) are the same addresses.  A rule is a
stretch of the IPv6 address space, wherever it was given as; the part that is mapped addresses goes
into the Intervals of IPv4, and a mapped address is looked up there.

Other IPv6 addresses carry an IPv4 address to which a translator or a tunnel sends the packets:
those of NAT64 (RFC 6052, RFC 8215) and of 6to4 (RFC 3056).  They are addresses of their own, which
IPv6 rules match, but they lead to that host, so a rule for the IPv4 address matches them too.
Node's check() knows mapped addresses only; a list that lets the others through protects nothing
where there is such a translator.

Threads.  Code that changes a list, or reads its rules, holds the GIL and does not release it in
between, which keeps them apart; without a GIL, _changing does.  So the check of a Python thread
needs no lock where there is a GIL, and takes that of blocks() elsewhere.  But blocks() may
run without the GIL in the thread of a loop while a Python thread changes the list: the change takes
_lock for writing, blocks() for reading.  Nothing that needs the GIL or calls Python happens under
_lock, so no thread waits for it long: a single rule takes well below a microsecond, and the work of
many rules is done on a copy of the list, which then gets new Intervals in one step.  Readers do not
disturb each other however many loops share a list, and unlike copying on each change, the lock
lets a change cost nothing but itself.

After fork(), the child's copy of the lock may be held for reading by a thread which the child does
not have; the first change in the child makes the lock anew.
"""

from types import MethodType as _MethodType

cimport cython
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from .address cimport parse_known, sockaddr_bytes, sockaddr_from_text, utf8_of
from .fork cimport fork_generation
from .intervals cimport (Cover, Intervals, Key, Point, cover_free, interval_points,
                         intervals_change, intervals_cover, intervals_cover_due, intervals_free,
                         intervals_make_cover, intervals_memory, intervals_merge,
                         intervals_prepare, intervals_reserve, intervals_trim, sort_points)
from .rule_input cimport (RuleBatch, check_order, is_text, read_cidr, read_items, read_range,
                          read_single, read_subnet, read_text, rule_text)
from .rules cimport (NO_RULE, Rule, RuleLog, rule_ends, rules_append, rules_at, rules_extend,
                     rules_find, rules_free, rules_index, rules_memory, rules_next, rules_remove,
                     rules_reserve)
from .shared cimport GIL_DISABLED, lock, unlock
from .socketaddress cimport SocketAddress, family_number
from .uv cimport sockaddr, sockaddr_storage

from .._base.validation import arg_type_error, validate_string
from .names import add_node_names

cdef extern from "uv.h" nogil:
    int uv_rwlock_init(uv_rwlock_t* lock)
    void uv_rwlock_destroy(uv_rwlock_t* lock)
    void uv_rwlock_rdlock(uv_rwlock_t* lock)
    void uv_rwlock_rdunlock(uv_rwlock_t* lock)
    void uv_rwlock_wrlock(uv_rwlock_t* lock)
    void uv_rwlock_wrunlock(uv_rwlock_t* lock)

cdef enum:
    # The two Intervals of a list.
    IPV4 = 0
    IPV6 = 1
    # So much longer a change of one rule takes than a point takes in intervals_merge().
    MERGED_PER_RULE = 64


# What a rule matches


cdef inline uint64_t number_at(const unsigned char* bytes, int size) noexcept nogil:
    """The number that `size` bytes in network order are."""
    cdef uint64_t number = 0
    cdef int at
    for at in range(size):
        number = number << 8 | bytes[at]
    return number


# What a rule matches of one Intervals.
cdef struct Stretch:
    bint used
    Key first
    Key last


cdef void rule_stretches(const Rule* rule, Stretch* of) noexcept nogil:
    """Set the stretches of IPv4 and IPv6 that a rule matches."""
    cdef unsigned char first[16]
    cdef unsigned char last[16]
    cdef uint64_t low, high
    rule_ends(rule, first, last)
    of[IPV6].first = Key(number_at(first, 8), number_at(first + 8, 8))
    of[IPV6].last = Key(number_at(last, 8), number_at(last + 8, 8))
    # The part of the first half 0 of the address space that the rule matches.
    low = of[IPV6].first.lo if of[IPV6].first.hi == 0 else 0xffffffffffffffffULL
    high = of[IPV6].last.lo if of[IPV6].last.hi == 0 else 0xffffffffffffffffULL
    of[IPV4].used = low <= 0xffffffffffffULL and high >= 0xffff00000000ULL
    of[IPV4].first = Key(low - 0xffff00000000ULL if low >= 0xffff00000000ULL else 0, 0)
    of[IPV4].last = Key(high - 0xffff00000000ULL if high <= 0xffffffffffffULL else 0xffffffffULL, 0)
    # The Intervals of IPv6 are never asked about mapped addresses.
    of[IPV6].used = not (of[IPV6].last.hi == 0 and low >= 0xffff00000000ULL
                         and high <= 0xffffffffffffULL)


cdef int change_rule(Intervals* matched, const Rule* rule, int delta) noexcept nogil:
    """Add (1) or take out (-1) what a rule matches; -1 without any effect if out of memory."""
    cdef Stretch of[2]
    cdef int family
    rule_stretches(rule, of)
    for family in range(2):
        if of[family].used and intervals_prepare(matched + family, of[family].first,
                                                 of[family].last) < 0:
            return -1
    for family in range(2):
        if of[family].used:
            intervals_change(matched + family, of[family].first, of[family].last, delta)
    return 0


cdef Py_ssize_t collect_points(const RuleLog* rules, int family, Point* out) noexcept nogil:
    """Write the sorted points of many rules, at most two for each; returns how many."""
    cdef Stretch of[2]
    cdef Py_ssize_t count = 0
    cdef size_t at = 0
    cdef const Rule* rule = rules_next(rules, &at)
    while rule != NULL:
        rule_stretches(rule, of)
        if of[family].used:
            count += interval_points(family == IPV6, of[family].first, of[family].last, out + count)
        rule = rules_next(rules, &at)
    sort_points(out, count)
    return count


# Checks


cdef inline bint covers_ipv4(const Intervals* matched, uint64_t address) noexcept nogil:
    return intervals_cover(matched + IPV4, Key(address & 0xffffffffULL, 0))


cdef bint covers_carried(const Intervals* matched, Key key) noexcept nogil:
    """Whether a rule matches the IPv4 address that an IPv6 address carries, if it carries one."""
    cdef uint64_t behind
    if key.hi >> 48 == 0x2002:
        return covers_ipv4(matched, key.hi >> 16)
    if key.hi >> 16 == 0x0064ff9b0000ULL:
        return key.hi & 0xffff == 0 and key.lo >> 32 == 0 and covers_ipv4(matched, key.lo)
    if key.hi >> 16 != 0x0064ff9b0001ULL:
        return False
    # A site's own prefix, of which we do not know the length: 96 bits, or 64, 56 or 48 and zeros
    # behind the IPv4 address.  A byte of zeros stands where the lower half begins in these.  Where
    # an address would begin with 0, there is none.
    if (key.lo & 0xffffffffULL or key.lo == 0 and key.hi & 0xffff == 0) \
            and covers_ipv4(matched, key.lo):
        return True
    behind = key.lo & 0x00ffffffffffffffULL
    if key.lo != behind or behind & 0xffffffULL:
        return False
    if behind >> 48 and covers_ipv4(matched, behind >> 24):
        return True
    if behind & 0xffffffffULL:
        return False
    if key.hi & 0xff and covers_ipv4(matched, (key.hi & 0xff) << 24 | behind >> 32):
        return True
    return key.hi & 0xff00 and not behind & 0xffffffffffULL and covers_ipv4(
        matched, (key.hi & 0xffff) << 16 | behind >> 40)


cdef bint is_covered(const Intervals* matched, int family,
                     const unsigned char* bytes) noexcept nogil:
    """Whether a rule matches; the caller holds the GIL, or the lock of the list for reading."""
    cdef Key key
    if family == 4:
        return covers_ipv4(matched, number_at(bytes, 4))
    key = Key(number_at(bytes, 8), number_at(bytes + 8, 8))
    if key.hi == 0 and key.lo >> 32 == 0xffff:
        return covers_ipv4(matched, key.lo)
    if intervals_cover(matched + IPV6, key):
        return True
    # The first 16 bits rule out most addresses that carry none.
    return (key.hi >> 48 == 0x2002 or key.hi >> 48 == 0x64) and covers_carried(matched, key)


@cython.binding(True)  # Named below as what it is seen as.
def _load(block_list, path_or_lines=None):
    """Add the rules of a feed, one in each line, and return the list: a new one for a class.

    A line is a subnet (`1.2.3.0/24`), an address, or a range (`1.2.3.4-1.2.3.9`); empty lines, and
    whatever follows a `#` or `;`, are ignored.

    Args:
        path_or_lines: the path of a file, or an iterable of lines (str or bytes), such as an open
            file.

    Raises: ArgTypeError, ArgValueError (a line is wrong; `line` is its number, from 1 on), OSError
        (the file cannot be read).

    Node: none
    """
    cdef RuleBatch batch = RuleBatch()
    if isinstance(block_list, type):
        block_list = block_list()
    batch.read_feed(path_or_lines)
    (<BlockList?> block_list)._add_all(&batch.log)
    return block_list


_load.__name__ = "load"
_load.__qualname__ = "BlockList.load"


cdef class _Load:
    """`load` of a list adds to it; `load` of the class makes a list first."""

    def __get__(self, block_list, owner):
        return _MethodType(_load, owner if block_list is None else block_list)


cdef class BlockList:
    """Rules for addresses: is this address one of them?

    An address is a str of the family that `type` names, 'ipv4' (default) or
    'ipv6' in any case, or a SocketAddress, for which `type` is ignored. An IPv4 address and the
    IPv6 address that maps it (`::ffff:1.2.3.4`) are the same, in rules and in check(). An IPv6
    address that leads to an IPv4 host by NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`) or 6to4
    (`2002::/16`) is matched by the rules for either address.

    It lists addresses to keep out: in doubt, check() returns True. Do not use it the other way
    around, as an allow list; block everything outside of the allowed addresses instead.

    A method that raises changes nothing. The codes of the errors below: ArgTypeError
    ERR_INVALID_ARG_TYPE, ArgValueError ERR_INVALID_ARG_VALUE, RangeError ERR_OUT_OF_RANGE,
    AddressError ERR_INVALID_ADDRESS.

    Several threads may change and read a list at the same time.

    Node: net.BlockList
    """

    #: Networks that are no part of the public internet, for add_cidrs().
    PRIVATE_RANGES = (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128",
        "169.254.0.0/16", "fe80::/10", "fc00::/7",
        # Node's ends here.  A connection to the unspecified address reaches this machine.
        "0.0.0.0/8", "::/128", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
        # Forms of IPv4 addresses that were given up (compatible, and translated by RFC 2765): no
        # public host has them, whichever address they carry.
        "::/96", "::ffff:0:0:0/96",
    )

    load = _Load()

    def __cinit__(self):
        self._matched[IPV6].wide = True
        if uv_rwlock_init(&self._lock) != 0:
            raise MemoryError
        self._locks = True
        self._generation = fork_generation()

    def __init__(self):
        pass

    def __dealloc__(self):
        intervals_free(self._matched + IPV4)
        intervals_free(self._matched + IPV6)
        rules_free(&self._rules)
        if self._locks:
            uv_rwlock_destroy(&self._lock)

    # Checks

    cdef bint blocks(self, const sockaddr* addr) noexcept nogil:
        cdef const unsigned char* bytes = NULL
        cdef int family = sockaddr_bytes(addr, &bytes)
        return family != 0 and self.blocks_bytes(family, bytes)

    cdef bint blocks_bytes(self, int family, const unsigned char* bytes) noexcept nogil:
        cdef bint blocked
        uv_rwlock_rdlock(&self._lock)
        blocked = is_covered(self._matched, family, bytes)
        uv_rwlock_rdunlock(&self._lock)
        return blocked

    def check(self, address=None, type="ipv4"):
        """Return whether a rule matches the address, or the IPv4 address that it carries.

        Args:
            address: str or SocketAddress; a text that is not an address of its family gives False.
            type: 'ipv4' or 'ipv6'; any other text gives False.

        Raises: ArgTypeError.

        Node: blockList.check(address[, type])
        """
        cdef unsigned char bytes[16]
        cdef Py_ssize_t length = 0
        cdef const char* chars
        cdef int family
        if not isinstance(address, str):
            if not isinstance(address, SocketAddress):
                raise arg_type_error("address", "string", address)
            return self._covers((<SocketAddress> address)._family,
                                (<SocketAddress> address)._bytes)
        family = 4
        if type is not None:
            if not isinstance(type, str):
                raise arg_type_error("family", "string", type)
            family = family_number(type)
        chars = utf8_of(address, &length)
        if family == 0 or chars == NULL or not parse_known(family, chars, length, bytes):
            return False
        return self._covers(family, bytes)

    cdef bint _covers(self, int family, const unsigned char* bytes) noexcept:
        """The check of a Python thread."""
        return self.blocks_bytes(family, bytes) if GIL_DISABLED \
            else is_covered(self._matched, family, bytes)

    # Rules

    def add_address(self, address=None, type="ipv4"):
        """Add a rule for one address.

        Args:
            address: str or SocketAddress.
            type: 'ipv4' or 'ipv6'.

        Raises: ArgTypeError, ArgValueError (type), AddressError (no address of this
            family).

        Node: blockList.addAddress(address[, type])
        """
        cdef Rule rule
        read_single(address, type, "address", &rule)
        self._add(&rule)

    def add_addresses(self, addresses=None, type="ipv4"):
        """Add a rule for each of several addresses, or none if one of them is wrong.

        Args:
            addresses: an iterable of str and SocketAddress.
            type: 'ipv4' or 'ipv6', for those that are str.

        Raises: as add_address().

        Node: blockList.addAddresses(addresses[, type])
        """
        cdef RuleBatch batch = RuleBatch()
        cdef Rule rule
        items = read_items(addresses, "addresses")
        if type is not None:
            validate_string(type, "family")
        for number, item in enumerate(items):
            is_text(item, f"addresses[{number}]")
        for item in items:
            read_single(item, type, "address", &rule)
            batch.add(&rule)
        self._add_all(&batch.log)

    def add_range(self, start=None, end=None, type="ipv4"):
        """Add a rule for the addresses from start to end, both included.

        Args:
            start: str or SocketAddress.
            end: str or SocketAddress, not before start.
            type: 'ipv4' or 'ipv6'.

        Raises: ArgTypeError, ArgValueError (type, or start comes after end), AddressError
            (no address of this family).

        Node: blockList.addRange(start, end[, type])
        """
        cdef Rule rule
        read_range(start, end, type, &rule)
        check_order(&rule, start)
        self._add(&rule)

    def add_subnet(self, net=None, prefix=None, type="ipv4"):
        """Add a rule for the addresses that share their first bits with one.

        Args:
            net: str or SocketAddress; the bits behind the prefix are kept in `rules` only.
            prefix: how many bits, 0..32 or 0..128.
            type: 'ipv4' or 'ipv6'.

        Raises: ArgTypeError, ArgValueError (type), AddressError (no address of this
            family), RangeError (prefix).

        Node: blockList.addSubnet(net, prefix[, type])
        """
        cdef Rule rule
        read_subnet(net, prefix, type, &rule)
        self._add(&rule)

    def add_cidr(self, cidr=None):
        """Add a rule for a subnet in CIDR notation.

        Args:
            cidr: str, such as '10.0.0.0/8' or 'fe80::/10'.

        Raises: ArgTypeError, ArgValueError (no prefix, or it is no integer), AddressError,
            RangeError (prefix).

        Node: blockList.addCIDR(cidr)
        """
        cdef Rule rule
        read_cidr(cidr, "cidr", &rule)
        self._add(&rule)

    def add_cidrs(self, cidrs=None):
        """Add a rule for each of several subnets, or none if one of them is wrong.

        Args:
            cidrs: an iterable of str, such as BlockList.PRIVATE_RANGES.

        Raises: as add_cidr().

        Node: blockList.addCIDRs(cidrs)
        """
        cdef RuleBatch batch = RuleBatch()
        cdef Rule rule
        for number, item in enumerate(read_items(cidrs, "cidrs")):
            read_cidr(item, f"cidrs[{number}]", &rule)
            batch.add(&rule)
        self._add_all(&batch.log)

    def remove_address(self, address=None, type="ipv4"):
        """Remove the rule for an address, however often it was added; nothing if there is none.

        Args: as for add_address().

        Raises: as add_address().

        Node: blockList.removeAddress(address[, type])
        """
        cdef Rule rule
        read_single(address, type, "address", &rule)
        while self._remove(&rule):
            pass

    def remove_range(self, start=None, end=None, type="ipv4"):
        """Remove the newest rule for exactly this range; nothing if there is none.

        Args: as for add_range().

        Raises: as add_range(), but a start after end is just no rule.

        Node: blockList.removeRange(start, end[, type])
        """
        cdef Rule rule
        read_range(start, end, type, &rule)
        self._remove(&rule)

    def remove_subnet(self, net=None, prefix=None, type="ipv4"):
        """Remove the newest rule for exactly this subnet; nothing if there is none.

        Args: as for add_subnet(), with the bits behind the prefix as they were added.

        Raises: as add_subnet().

        Node: blockList.removeSubnet(net, prefix[, type])
        """
        cdef Rule rule
        read_subnet(net, prefix, type, &rule)
        self._remove(&rule)

    def remove_cidr(self, cidr=None):
        """Remove the newest rule for exactly this subnet; nothing if there is none.

        Args: as for add_cidr(), with the bits behind the prefix as they were added.

        Raises: as add_cidr().

        Node: blockList.removeCIDR(cidr)
        """
        cdef Rule rule
        read_cidr(cidr, "cidr", &rule)
        self._remove(&rule)

    def clear(self):
        """Remove all rules.

        Node: blockList.clear()
        """
        cdef Intervals empty[2]
        memset(empty, 0, sizeof(empty))
        empty[IPV6].wide = True
        lock(&self._changing)
        self._replace(empty, True, True)
        rules_free(&self._rules)
        unlock(&self._changing)
        intervals_free(empty + IPV4)
        intervals_free(empty + IPV6)

    @property
    def rules(self):
        """The rules as a new list of texts, the newest first.

        Node: blockList.rules
        """
        cdef Py_ssize_t count
        cdef size_t at = 0
        cdef list texts
        # Making the list may run the garbage collector, and that Python code which changes the
        # rules. Making the texts may not.
        while True:
            count = self._count()
            texts = [None] * count
            lock(&self._changing)
            try:
                if count != <Py_ssize_t> self._rules.count:
                    continue
                while count:
                    count -= 1
                    texts[count] = rule_text(rules_next(&self._rules, &at))
                return texts
            finally:
                unlock(&self._changing)

    @property
    def size(self):
        """The number of rules.

        Node: blockList.size
        """
        return self._count()

    cdef Py_ssize_t _count(self) noexcept:
        cdef Py_ssize_t count
        lock(&self._changing)
        count = <Py_ssize_t> self._rules.count
        unlock(&self._changing)
        return count

    def to_json(self):
        """Return the rules, as from_json() takes them; `default=` of json.dumps takes this method.

        Node: blockList.toJSON()
        """
        return self.rules

    def from_json(self, data=None):
        """Add rules from their texts, in this order, or none if one of them is wrong.

        Args:
            data: list or tuple of str, or the JSON text of such an array; a text that is not a rule
                is skipped.

        Raises: ArgTypeError, ArgValueError (the start of a range comes after its end),
            AddressError, RangeError (a prefix), ValueError (no JSON).

        Node: blockList.fromJSON(value)
        """
        cdef RuleBatch batch = RuleBatch()
        cdef Rule rule
        if isinstance(data, str):
            try:
                import json    # only here: it takes its time
                data = json.loads(data)
            except RecursionError:
                raise ValueError("the JSON text is nested too deeply") from None
        if not isinstance(data, (list, tuple)):
            raise arg_type_error("data", ["string", "string[]"], data)
        for item in data:
            if not isinstance(item, str):
                raise arg_type_error("data", ["string", "string[]"], data)
        for item in data:
            if read_text(item, &rule):
                batch.add(&rule)
        self._add_all(&batch.log)

    @staticmethod
    def is_block_list(value=None):
        """Return whether value is a BlockList.

        Node: BlockList.isBlockList(value)
        """
        return isinstance(value, BlockList)

    def __repr__(self):
        return f"<{type(self).__name__} with {self.size} rules>"

    def __sizeof__(self):
        cdef size_t size
        lock(&self._changing)
        size = (rules_memory(&self._rules) + intervals_memory(self._matched + IPV4)
                + intervals_memory(self._matched + IPV6))
        unlock(&self._changing)
        return object.__sizeof__(self) + size

    def _blocks(self, address):
        """The result of blocks() for a peer with this address, or a Unix socket for None.

        Only for the tests, which cannot call what C code calls.
        """
        cdef sockaddr_storage addr
        cdef bint blocked
        memset(&addr, 0, sizeof(addr))
        if address is not None and not sockaddr_from_text(address, 80, &addr):
            raise ValueError(address)
        with nogil:
            blocked = self.blocks(<sockaddr*> &addr)
        return blocked

    # Changes.  The caller holds the GIL, or _changing where there is none, and nothing here
    # releases it, except _add_merged() before it looks at the list.

    cdef void _begin(self) noexcept nogil:
        if self._generation != fork_generation():
            self._generation = fork_generation()
            uv_rwlock_init(&self._lock)
        uv_rwlock_wrlock(&self._lock)

    cdef void _end(self) noexcept nogil:
        intervals_trim(self._matched + IPV4)
        intervals_trim(self._matched + IPV6)
        uv_rwlock_wrunlock(&self._lock)

    cdef void _replace(self, Intervals* new, bint ipv4, bint ipv6) noexcept nogil:
        """Exchange one Intervals or both."""
        self._begin()
        if ipv4:
            self._matched[IPV4], new[IPV4] = new[IPV4], self._matched[IPV4]
        if ipv6:
            self._matched[IPV6], new[IPV6] = new[IPV6], self._matched[IPV6]
        uv_rwlock_wrunlock(&self._lock)

    cdef int _change(self, const Rule* rule, int delta) except -1:
        cdef int status
        self._begin()
        status = change_rule(self._matched, rule, delta)
        self._end()
        if status < 0:
            raise MemoryError
        self._summarise()
        return 0

    cdef void _summarise(self) noexcept nogil:
        """Make the summary of IPv4 anew next to the old one, if that is due."""
        cdef Cover cover
        if not intervals_cover_due(self._matched + IPV4):
            return
        intervals_make_cover(self._matched + IPV4, &cover)
        self._begin()
        self._matched[IPV4].cover, cover = cover, self._matched[IPV4].cover
        uv_rwlock_wrunlock(&self._lock)
        cover_free(&cover)

    cdef int _add(self, const Rule* rule) except -1:
        lock(&self._changing)
        try:
            if rules_reserve(&self._rules, 1, sizeof(rule[0])) < 0:
                raise MemoryError
            self._change(rule, 1)
            rules_append(&self._rules, rule)
        finally:
            unlock(&self._changing)
        return 0

    cdef int _remove(self, const Rule* rule) except -1:
        """Remove the newest rule equal to this one; 0 if there is none."""
        lock(&self._changing)
        try:
            return self._remove_newest(rule)
        finally:
            unlock(&self._changing)

    cdef int _remove_newest(self, const Rule* rule) except -1:
        cdef uint32_t where
        if self._rules.count == 0:
            return 0
        if rules_index(&self._rules) < 0:
            raise MemoryError
        where = rules_find(&self._rules, rule)
        if where == NO_RULE:
            return 0
        self._change(rules_at(&self._rules, where), -1)
        rules_remove(&self._rules, where)
        return 1

    cdef int _add_all(self, const RuleLog* more) except -1:
        """Add rules that were read before, all or none."""
        lock(&self._changing)
        try:
            if more.count * MERGED_PER_RULE < <size_t> (self._matched[IPV4].points
                                                        + self._matched[IPV6].points):
                return self._add_each(more)
        finally:
            unlock(&self._changing)
        return self._add_merged(more)

    cdef int _add_each(self, const RuleLog* more) except -1:
        """Add few rules to many.  Memory is reserved first, so that nothing can fail half way."""
        cdef const Rule* rule
        cdef size_t at = 0
        cdef int status, family
        self._begin()
        status = rules_reserve(&self._rules, more.count, more.size)
        for family in range(2):
            if status == 0:
                status = intervals_reserve(self._matched + family, 2 * more.count + 1)
        rule = rules_next(more, &at) if status == 0 else NULL
        while rule != NULL:
            change_rule(self._matched, rule, 1)
            rule = rules_next(more, &at)
        self._end()
        if status < 0:
            raise MemoryError
        rules_extend(&self._rules, more)
        self._summarise()
        return 0

    cdef int _add_merged(self, const RuleLog* more) except -1:
        """Add many rules, by making what they match anew next to what there is."""
        cdef Py_ssize_t room = 2 * more.count
        cdef Point* points = <Point*> PyMem_RawMalloc(2 * room * sizeof(Point))
        cdef Py_ssize_t counts[2]
        cdef Intervals merged[2]
        cdef int status, family
        if points == NULL:
            raise MemoryError
        with nogil:
            for family in range(2):
                counts[family] = collect_points(more, family, points + family * room)
        memset(merged, 0, sizeof(merged))
        lock(&self._changing)
        status = rules_reserve(&self._rules, more.count, more.size)
        for family in range(2):
            if status == 0 and counts[family]:
                status = intervals_merge(self._matched + family, points + family * room,
                                         counts[family], merged + family)
        if status == 0:
            self._replace(merged, counts[IPV4] != 0, counts[IPV6] != 0)
            rules_extend(&self._rules, more)
        unlock(&self._changing)
        PyMem_RawFree(points)
        intervals_free(merged + IPV4)
        intervals_free(merged + IPV6)
        if status < 0:
            raise MemoryError
        return 0


add_node_names(BlockList)

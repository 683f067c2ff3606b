"""BlockList: rules for addresses, and the answer whether an address is among them.

Owns: the public class, what its methods accept, the reading of feeds, and who may touch what when.
The rules as they were added are in a RuleLog, what they match is in two Intervals.  Imports: those
two modules, SocketAddress, the package's checks of arguments.

IPv4 addresses and IPv6 addresses that map one (::ffff:0:0/96) are the same addresses.  A rule is a
stretch of the IPv6 address space, wherever it was given as; the part that is mapped addresses goes
into _ipv4, and a mapped address is looked up there.

Threads.  Whoever changes a list, or reads its rules, holds the GIL and does not give it away in
between, which keeps them apart.  So the check of a Python thread needs no lock.  But blocks() may
run without the GIL in the thread of a loop, while a Python thread changes the list: the change
takes _lock for writing, blocks() for reading.  Nothing that needs the GIL or calls Python happens
under _lock, so nobody waits for it long, nor for each other: a single rule takes well below a
microsecond, and the work of many rules is done beside the list, which then gets new Intervals in
one step.  A reader-writer lock is what fits: readers do not disturb each other however many loops
share a list, it costs an accepted connection some 20 ns, and unlike copying on each change, it
lets a change cost nothing but itself.

After fork(), the child's copy of the lock may be held for reading by a thread which the child does
not have; the first change in the child makes the lock anew.
"""

import json as _json
import os as _os
import re as _re
from collections.abc import Iterable as _Iterable
from collections.abc import Mapping as _Mapping
from types import MethodType as _MethodType

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset

from .address cimport (parse_ipv4, parse_ipv6, parse_known, sockaddr_bytes, sockaddr_from_text,
                       utf8_of)
from .intervals cimport (Change, Intervals, Key, interval_points, intervals_apply,
                         intervals_cover, intervals_empty, intervals_free, intervals_memory,
                         intervals_merge, intervals_prepare, intervals_shrink, sort_changes)
from .rules cimport (NO_RULE, RULE_ADDRESS, RULE_RANGE, RULE_SUBNET, RULE_TEXT_SIZE, Rule, RuleLog,
                     parse_rule, print_rule, rule_size, rules_append, rules_extend, rules_find,
                     rules_free, rules_index, rules_memory, rules_next, rules_read, rules_remove,
                     rules_reserve)
from .socketaddress cimport SocketAddress, family_number, new_address
from .uv cimport sockaddr, sockaddr_storage

from .._validate import (arg_type_error, arg_value_error, notation, validate_integer,
                         validate_string)
from ..errors import AddressError, ArgValueError
from .names import add_node_names

cdef extern from "uv.h" nogil:
    int uv_rwlock_init(uv_rwlock_t* lock)
    void uv_rwlock_destroy(uv_rwlock_t* lock)
    void uv_rwlock_rdlock(uv_rwlock_t* lock)
    void uv_rwlock_rdunlock(uv_rwlock_t* lock)
    void uv_rwlock_wrlock(uv_rwlock_t* lock)
    void uv_rwlock_wrunlock(uv_rwlock_t* lock)

cdef enum:
    LARGEST_RULE = 40
    # So much longer a change of one rule takes than a point takes in intervals_merge().
    MERGED_PER_RULE = 64

# How often this process is the child of a fork.
cdef unsigned int forks = 0


def _after_fork():
    global forks
    forks += 1


if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_after_fork)


# What a rule matches


cdef inline uint64_t number_at(const unsigned char* bytes, int size) noexcept nogil:
    """The number that `size` bytes in network order are."""
    cdef uint64_t number = 0
    cdef int at
    for at in range(size):
        number = number << 8 | bytes[at]
    return number


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


cdef struct Stretch:
    bint used
    Key first
    Key last


cdef void rule_stretches(const Rule* rule, Stretch* ipv4, Stretch* ipv6) noexcept nogil:
    """Tell what of _ipv4 and what of _ipv6 a rule matches."""
    cdef unsigned char first[16]
    cdef unsigned char last[16]
    cdef uint64_t low, high
    rule_ends(rule, first, last)
    ipv6.first.hi = number_at(first, 8)
    ipv6.first.lo = number_at(first + 8, 8)
    ipv6.last.hi = number_at(last, 8)
    ipv6.last.lo = number_at(last + 8, 8)
    # The part of the first half 0 of the address space that the rule matches.
    low = ipv6.first.lo if ipv6.first.hi == 0 else 0xffffffffffffffffULL
    high = ipv6.last.lo if ipv6.last.hi == 0 else 0xffffffffffffffffULL
    ipv4.used = low <= 0xffffffffffffULL and high >= 0xffff00000000ULL
    ipv4.first.hi = low - 0xffff00000000ULL if low >= 0xffff00000000ULL else 0
    ipv4.last.hi = high - 0xffff00000000ULL if high <= 0xffffffffffffULL else 0xffffffffULL
    ipv4.first.lo = ipv4.last.lo = 0
    # _ipv6 is never asked about mapped addresses.
    ipv6.used = not (ipv6.last.hi == 0 and low >= 0xffff00000000ULL and high <= 0xffffffffffffULL)


cdef bint is_ordered(const Rule* rule) noexcept nogil:
    cdef unsigned char first[16]
    cdef unsigned char last[16]
    rule_ends(rule, first, last)
    return memcmp(first, last, 16) <= 0


cdef bint is_covered(BlockList self, int family, const unsigned char* bytes) noexcept nogil:
    """Whether a rule matches; the caller holds the GIL, or the lock of the list for reading."""
    cdef Key key
    if family == 4:
        key.hi = number_at(bytes, 4)
        key.lo = 0
        return intervals_cover(&self._ipv4, key)
    key.hi = number_at(bytes, 8)
    key.lo = number_at(bytes + 8, 8)
    if key.hi == 0 and key.lo >> 32 == 0xffff:
        key.hi = key.lo & 0xffffffffULL
        return intervals_cover(&self._ipv4, key)
    return intervals_cover(&self._ipv6, key)


cdef int make_changes(const RuleLog* rules, Change** ipv4, Py_ssize_t* count4,
                      Change** ipv6, Py_ssize_t* count6) noexcept nogil:
    """Make the sorted points of many rules; -1 if there is no memory. The caller frees them."""
    cdef Stretch stretch4, stretch6
    cdef size_t at = 0
    cdef Rule rule
    while rules_next(rules, &at, &rule):
        rule_stretches(&rule, &stretch4, &stretch6)
        count4[0] += 2 if stretch4.used else 0
        count6[0] += 2 if stretch6.used else 0
    ipv4[0] = <Change*> PyMem_RawMalloc(count4[0] * sizeof(Change))
    ipv6[0] = <Change*> PyMem_RawMalloc(count6[0] * sizeof(Change))
    if ipv4[0] == NULL or ipv6[0] == NULL:
        return -1
    count4[0] = count6[0] = 0
    at = 0
    while rules_next(rules, &at, &rule):
        rule_stretches(&rule, &stretch4, &stretch6)
        if stretch4.used:
            count4[0] += interval_points(False, stretch4.first, stretch4.last, ipv4[0] + count4[0])
        if stretch6.used:
            count6[0] += interval_points(True, stretch6.first, stretch6.last, ipv6[0] + count6[0])
    count4[0] = sort_changes(ipv4[0], count4[0])
    count6[0] = sort_changes(ipv6[0], count6[0])
    return 0


# Feeds


cdef bint is_space(char char_) noexcept nogil:
    return char_ == c" " or c"\t" <= char_ <= c"\r"


cdef int parse_trimmed(const char* text, const char* end, unsigned char* out16) noexcept nogil:
    """Read an address of either family, with space around it but no zone; its family or 0."""
    while text != end and is_space(text[0]):
        text += 1
    while text != end and is_space((end - 1)[0]):
        end -= 1
    if parse_ipv4(text, end - text, out16):
        return 4
    return 6 if parse_ipv6(text, end - text, out16) else 0


cdef int parse_prefix(const char* text, const char* end, int family) noexcept nogil:
    """Read the number of bits behind a `/`; -1 if there is none of this family."""
    cdef int prefix = 0
    if text == end or end - text > 3 or (text[0] == c"0" and end - text > 1):
        return -1
    while text != end:
        if not c"0" <= text[0] <= c"9":
            return -1
        prefix = prefix * 10 + (text[0] - c"0")
        text += 1
    return prefix if prefix <= (32 if family == 4 else 128) else -1


cdef bint parse_cidr(const char* text, const char* end, Rule* rule) noexcept nogil:
    cdef const char* mark = <const char*> memchr(text, c"/", end - text)
    cdef int prefix
    if mark == NULL:
        return False
    rule.kind = RULE_SUBNET
    if parse_ipv4(text, mark - text, rule.first):
        rule.family = 4
    elif parse_known(6, text, mark - text, rule.first):
        rule.family = 6
    else:
        return False
    prefix = parse_prefix(mark + 1, end, rule.family)
    rule.last_family = rule.family
    rule.prefix = <uint8_t> prefix
    return prefix >= 0


cdef int parse_line(const char* text, const char* end, Rule* rule) noexcept nogil:
    """Read a line of a feed: 1 if it has a rule, 0 if it has nothing, -1 if it is wrong."""
    cdef const char* mark = text
    while mark != end and mark[0] != c"#" and mark[0] != c";":
        mark += 1
    end = mark
    while text != end and is_space(text[0]):
        text += 1
    while text != end and is_space((end - 1)[0]):
        end -= 1
    if text == end:
        return 0
    if memchr(text, c"%", end - text) != NULL:
        return -1
    if parse_cidr(text, end, rule):
        return 1
    mark = <const char*> memchr(text, c"-", end - text)
    rule.prefix = 0
    if mark == NULL:
        rule.kind = RULE_ADDRESS
        rule.family = rule.last_family = <uint8_t> parse_trimmed(text, end, rule.first)
        return 1 if rule.family else -1
    rule.kind = RULE_RANGE
    rule.family = <uint8_t> parse_trimmed(text, mark, rule.first)
    rule.last_family = <uint8_t> parse_trimmed(mark + 1, end, rule.last)
    return 1 if rule.family and rule.family == rule.last_family and is_ordered(rule) else -1


cdef const char* skip_mark(const char* text, const char* end) noexcept nogil:
    """Skip the byte order mark that some editors put at the beginning of UTF-8."""
    return text + 3 if end - text >= 3 and memcmp(text, b"\xef\xbb\xbf", 3) == 0 else text


cdef int parse_feed(const char* text, const char* end, RuleLog* out, const char** line,
                    Py_ssize_t* number) noexcept nogil:
    """Read a whole feed: 1 when done, 0 if the line which is told is wrong, -1 without memory."""
    cdef const char* next_line
    cdef Rule rule
    cdef int found
    number[0] = 0
    text = skip_mark(text, end)
    while text != end:
        number[0] += 1
        line[0] = text
        next_line = <const char*> memchr(text, c"\n", end - text)
        if next_line == NULL:
            next_line = end
        found = parse_line(text, next_line, &rule)
        if found < 0:
            return 0
        if found:
            if rules_reserve(out, 1, LARGEST_RULE) < 0:
                return -1
            rules_append(out, &rule)
        text = next_line + 1 if next_line != end else end
    return 1


# Arguments


cdef int type_family(object type) except 0:
    """The family that the argument `type` names."""
    cdef int family
    if type is None:
        return 4
    validate_string(type, "family")
    family = family_number(type)
    if family == 0:
        raise arg_value_error("options.family", type)
    return family


cdef bint is_text(object address, str name) except -1:
    """Whether this is the text of an address, rather than a SocketAddress."""
    if isinstance(address, SocketAddress):
        return False
    validate_string(address, name)
    return True


cdef int read_address(object address, int family, unsigned char* out16) except 0:
    """Write the bytes of a SocketAddress, or of a text of the given family; returns the family."""
    cdef Py_ssize_t length = 0
    cdef const char* chars
    if isinstance(address, SocketAddress):
        memcpy(out16, (<SocketAddress> address)._bytes, 16)
        return (<SocketAddress> address)._family
    chars = utf8_of(address, &length)
    if chars == NULL or not parse_known(family, chars, length, out16):
        raise AddressError("Invalid socket address", "ERR_INVALID_ADDRESS")
    return family


cdef int read_single(object address, object type, str name, Rule* rule) except -1:
    cdef int family = type_family(type) if is_text(address, name) else 0
    rule.kind = RULE_ADDRESS
    rule.prefix = 0
    rule.family = rule.last_family = <uint8_t> read_address(address, family, rule.first)
    return 0


cdef int read_range(object start, object end, object type, Rule* rule) except -1:
    cdef bint start_is_text = is_text(start, "start"), end_is_text = is_text(end, "end")
    cdef int family = type_family(type) if start_is_text or end_is_text else 0
    rule.kind = RULE_RANGE
    rule.prefix = 0
    rule.family = <uint8_t> read_address(start, family, rule.first)
    rule.last_family = <uint8_t> read_address(end, family, rule.last)
    return 0


cdef int check_order(const Rule* rule, object start) except -1:
    if is_ordered(rule):
        return 0
    if not isinstance(start, SocketAddress):
        start = new_address(rule.family, rule.first)
    received = f"SocketAddress {notation(start.to_json())}"
    raise ArgValueError(f"The argument 'start' must come before end. Received {received}",
                        "ERR_INVALID_ARG_VALUE")


cdef int read_subnet(object net, object prefix, object type, Rule* rule) except -1:
    cdef int family = type_family(type) if is_text(net, "network") else 0
    rule.kind = RULE_SUBNET
    rule.family = rule.last_family = <uint8_t> read_address(net, family, rule.first)
    rule.prefix = validate_integer(prefix, "prefix", 0, 32 if rule.family == 4 else 128)
    return 0


_INTEGER = _re.compile("0|-?[1-9][0-9]*")


cdef int read_cidr(object cidr, str name, Rule* rule) except -1:
    cdef Py_ssize_t length = 0
    cdef const char* chars
    validate_string(cidr, name)
    chars = utf8_of(cidr, &length)
    if chars != NULL and parse_cidr(chars, chars + length, rule):
        return 0
    net, slash, prefix = cidr.rpartition("/")
    if not slash:
        raise arg_value_error("cidr", cidr,
                              'must contain a prefix length (e.g. "10.0.0.0/8")')
    if not _INTEGER.fullmatch(prefix):
        raise arg_value_error("cidr", cidr, "prefix length must be a valid integer")
    # More digits than a prefix can have say no more than that it is out of range.
    return read_subnet(net, int(prefix[:20]), "ipv6" if ":" in net else "ipv4", rule)


cdef list read_items(object items, str name):
    """The items of what Node wants to be an Array: any iterable but text, bytes and mappings."""
    if (isinstance(items, (str, bytes, bytearray, memoryview, _Mapping))
            or not isinstance(items, _Iterable)):
        raise arg_type_error(name, "Array", items)
    return list(items)


# What from_json() recognises beside the exact texts of `rules`: the words may stand among others,
# and in an IPv6 rule they may be in any case.
_QUAD = "([0-9]+(?:[.][0-9]+){3,})"
_GROUPS = "([0-9a-fA-F:.]+)"
_RULE_PATTERNS = (
    ("IPv4", _re.compile(f"Subnet: IPv4 {_QUAD}/([0-9]+)"), RULE_SUBNET),
    ("IPv4", _re.compile(f"Address: IPv4 {_QUAD}"), RULE_ADDRESS),
    ("IPv4", _re.compile(f"Range: IPv4 {_QUAD}-{_QUAD}"), RULE_RANGE),
    ("IPv6", _re.compile(f"Subnet: IPv6 {_GROUPS}/([0-9]+)", _re.IGNORECASE), RULE_SUBNET),
    ("IPv6", _re.compile(f"Address: IPv6 {_GROUPS}", _re.IGNORECASE), RULE_ADDRESS),
    ("IPv6", _re.compile(f"Range: IPv6 {_GROUPS}-{_GROUPS}", _re.IGNORECASE), RULE_RANGE),
)


cdef bint read_text(str text, Rule* rule) except -1:
    """Read the text of a rule; False if it is none."""
    cdef Py_ssize_t length = 0
    cdef const char* chars = utf8_of(text, &length)
    if chars != NULL and parse_rule(chars, length, rule):
        if rule.kind == RULE_RANGE:
            check_order(rule, None)
        return True
    for word, pattern, kind in _RULE_PATTERNS:
        found = pattern.search(text) if word in text else None
        if found is not None:
            if kind == RULE_ADDRESS:
                read_single(found[1], word, "address", rule)
            elif kind == RULE_RANGE:
                read_range(found[1], found[2], word, rule)
                check_order(rule, None)
            else:
                read_subnet(found[1], int(found[2][:20]), word, rule)
            return True
    return False


cdef class _RuleBatch:
    """Rules that are read first, so that a mistake among them leaves the list as it was."""
    cdef RuleLog _log

    def __dealloc__(self):
        rules_free(&self._log)

    cdef int put(self, const Rule* rule) except -1:
        if rules_reserve(&self._log, 1, LARGEST_RULE) < 0:
            raise MemoryError
        rules_append(&self._log, rule)
        return 0

    cdef int read_file(self, object path) except -1:
        """Read the feed in a file, without the GIL once its bytes are there."""
        cdef const char* line = NULL
        cdef Py_ssize_t number = 0, length
        cdef const char* text
        cdef const char* end
        cdef int outcome
        with open(path, "rb") as file:
            data = file.read()
        text = data
        length = len(data)
        with nogil:
            outcome = parse_feed(text, text + length, &self._log, &line, &number)
        if outcome < 0:
            raise MemoryError
        if outcome == 0:
            end = <const char*> memchr(line, c"\n", text + length - line)
            wrong = line[:(text + length if end == NULL else end) - line]
            raise line_error(number, wrong, f" of {_os.fsdecode(path)!r}")
        return 0

    cdef int read_lines(self, object lines) except -1:
        """Read the feed in an iterable of lines."""
        cdef Py_ssize_t number = 0
        cdef const char* text
        cdef const char* end
        cdef Rule rule
        cdef int found
        for line in lines:
            number += 1
            if isinstance(line, str):
                data = line.encode("utf-8", "replace")
            elif isinstance(line, bytes):
                data = line
            else:
                raise arg_type_error(f"path_or_lines[{number - 1}]", ["string", "Buffer"], line)
            text = data
            end = text + len(data)
            found = parse_line(skip_mark(text, end) if number == 1 else text, end, &rule)
            if found < 0:
                raise line_error(number, data, "")
            if found:
                self.put(&rule)
        return 0


cdef object line_error(Py_ssize_t number, bytes line, str where):
    received = notation(line[:100].decode("utf-8", "replace").strip())
    error = ArgValueError(
        f"Line {number}{where} is not an address, a subnet or a range. Received {received}",
        "ERR_INVALID_ARG_VALUE")
    error.line = number
    return error


cdef int read_feed(BlockList block_list, object path_or_lines) except -1:
    cdef _RuleBatch batch = _RuleBatch()
    if isinstance(path_or_lines, (str, bytes, _os.PathLike)):
        batch.read_file(path_or_lines)
    elif isinstance(path_or_lines, _Iterable):
        batch.read_lines(path_or_lines)
    else:
        raise arg_type_error("path_or_lines", ["string", "PathLike", "Iterable"], path_or_lines)
    return block_list._add_all(&batch._log)


def _load(block_list, path_or_lines=None):
    """Add the rules of a feed, one in each line, and return the list: a new one for a class.

    A line is a subnet (`1.2.3.0/24`), an address, or a range (`1.2.3.4-1.2.3.9`); empty lines, and
    whatever follows a `#` or `;`, mean nothing.

    Args:
        path_or_lines: the path of a file, or an iterable of lines (str or bytes), such as an open
            file.

    Raises:
        ArgTypeError: ERR_INVALID_ARG_TYPE.
        ArgValueError: ERR_INVALID_ARG_VALUE, a line is wrong; `line` is its number, from 1 on, and
            nothing was added.
        OSError: the file cannot be read.

    Node: none
    """
    if isinstance(block_list, type):
        block_list = block_list()
    read_feed(block_list, path_or_lines)
    return block_list


_load.__name__ = "load"
_load.__qualname__ = "BlockList.load"


cdef class _Load:
    """`load` of a list adds to it; `load` of the class makes a list first."""

    def __get__(self, block_list, owner):
        return _MethodType(_load, owner if block_list is None else block_list)


cdef class BlockList:
    """Rules for addresses: is this address one of them?

    Where an address is asked for it is a str of the family that `type` names, 'ipv4' (default) or
    'ipv6' in any case, or a SocketAddress, for which `type` is ignored. An IPv4 address and the
    IPv6 address that maps it (`::ffff:1.2.3.4`) are the same, in rules and in check().

    What a method refuses changes nothing. All errors below are raised: ArgTypeError
    ERR_INVALID_ARG_TYPE, ArgValueError ERR_INVALID_ARG_VALUE, RangeError ERR_OUT_OF_RANGE,
    AddressError ERR_INVALID_ADDRESS.

    A list may be changed and read by several threads at a time.

    Node: net.BlockList
    """

    #: Networks that are no part of the public internet, for add_cidrs().
    PRIVATE_RANGES = (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128",
        "169.254.0.0/16", "fe80::/10", "fc00::/7",
    )

    load = _Load()

    def __cinit__(self):
        self._ipv4 = intervals_empty(False)
        self._ipv6 = intervals_empty(True)
        if uv_rwlock_init(&self._lock) != 0:
            raise MemoryError
        self._locks = True
        self._forks = forks

    def __init__(self):
        pass

    def __dealloc__(self):
        intervals_free(&self._ipv4)
        intervals_free(&self._ipv6)
        rules_free(&self._rules)
        if self._locks:
            uv_rwlock_destroy(&self._lock)

    # Checks

    cdef bint blocks(self, const sockaddr* addr) noexcept nogil:
        cdef const unsigned char* bytes = NULL
        cdef int family = sockaddr_bytes(addr, &bytes)
        cdef bint blocked
        if family == 0:
            return False
        uv_rwlock_rdlock(&self._lock)
        blocked = is_covered(self, family, bytes)
        uv_rwlock_rdunlock(&self._lock)
        return blocked

    def check(self, address=None, type="ipv4"):
        """Return whether a rule matches the address.

        Args:
            address: str or SocketAddress; a text which is no address of its family gives False.
            type: 'ipv4' or 'ipv6'; any other text gives False.

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE.

        Node: blockList.check(address[, type])
        """
        cdef unsigned char bytes[16]
        cdef Py_ssize_t length = 0
        cdef const char* chars
        cdef int family
        if isinstance(address, SocketAddress):
            return is_covered(self, (<SocketAddress> address)._family,
                              (<SocketAddress> address)._bytes)
        if not isinstance(address, str):
            raise arg_type_error("address", "string", address)
        family = 4
        if type is not None:
            if not isinstance(type, str):
                raise arg_type_error("family", "string", type)
            family = family_number(type)
        chars = utf8_of(address, &length)
        if family == 0 or chars == NULL or not parse_known(family, chars, length, bytes):
            return False
        return is_covered(self, family, bytes)

    # Rules

    def add_address(self, address=None, type="ipv4"):
        """Add a rule for one address.

        Args:
            address: str or SocketAddress.
            type: 'ipv4' or 'ipv6'.

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE.
            ArgValueError: ERR_INVALID_ARG_VALUE, type.
            AddressError: ERR_INVALID_ADDRESS, no address of this family.

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
        cdef _RuleBatch batch = _RuleBatch()
        cdef Rule rule
        items = read_items(addresses, "addresses")
        if type is not None:
            validate_string(type, "family")
        for number, item in enumerate(items):
            is_text(item, f"addresses[{number}]")
        for item in items:
            read_single(item, type, "address", &rule)
            batch.put(&rule)
        self._add_all(&batch._log)

    def add_range(self, start=None, end=None, type="ipv4"):
        """Add a rule for the addresses from start to end, both included.

        Args:
            start: str or SocketAddress.
            end: str or SocketAddress, not before start.
            type: 'ipv4' or 'ipv6'.

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE.
            ArgValueError: ERR_INVALID_ARG_VALUE, type, or start comes after end.
            AddressError: ERR_INVALID_ADDRESS, no address of this family.

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

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE.
            ArgValueError: ERR_INVALID_ARG_VALUE, type.
            AddressError: ERR_INVALID_ADDRESS, no address of this family.
            RangeError: ERR_OUT_OF_RANGE, prefix.

        Node: blockList.addSubnet(net, prefix[, type])
        """
        cdef Rule rule
        read_subnet(net, prefix, type, &rule)
        self._add(&rule)

    def add_cidr(self, cidr=None):
        """Add a rule for a subnet in CIDR notation.

        Args:
            cidr: str, such as '10.0.0.0/8' or 'fe80::/10'.

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE.
            ArgValueError: ERR_INVALID_ARG_VALUE, no prefix, or it is no integer.
            AddressError: ERR_INVALID_ADDRESS.
            RangeError: ERR_OUT_OF_RANGE, prefix.

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
        cdef _RuleBatch batch = _RuleBatch()
        cdef Rule rule
        for number, item in enumerate(read_items(cidrs, "cidrs")):
            read_cidr(item, f"cidrs[{number}]", &rule)
            batch.put(&rule)
        self._add_all(&batch._log)

    def remove_address(self, address=None, type="ipv4"):
        """Remove the rule for an address, however often it was added; nothing if there is none.

        Args:
            address: str or SocketAddress.
            type: 'ipv4' or 'ipv6'.

        Raises: as add_address().

        Node: blockList.removeAddress(address[, type])
        """
        cdef Rule rule
        read_single(address, type, "address", &rule)
        while self._remove(&rule):
            pass

    def remove_range(self, start=None, end=None, type="ipv4"):
        """Remove the newest rule for exactly this range; nothing if there is none.

        Args:
            start: str or SocketAddress.
            end: str or SocketAddress.
            type: 'ipv4' or 'ipv6'.

        Raises: as add_range(), but a start after end is just no rule.

        Node: blockList.removeRange(start, end[, type])
        """
        cdef Rule rule
        read_range(start, end, type, &rule)
        self._remove(&rule)

    def remove_subnet(self, net=None, prefix=None, type="ipv4"):
        """Remove the newest rule for exactly this subnet; nothing if there is none.

        Args:
            net: str or SocketAddress, with the bits behind the prefix as they were added.
            prefix: how many bits, 0..32 or 0..128.
            type: 'ipv4' or 'ipv6'.

        Raises: as add_subnet().

        Node: blockList.removeSubnet(net, prefix[, type])
        """
        cdef Rule rule
        read_subnet(net, prefix, type, &rule)
        self._remove(&rule)

    def remove_cidr(self, cidr=None):
        """Remove the newest rule for exactly this subnet; nothing if there is none.

        Args:
            cidr: str, such as '10.0.0.0/8', with the bits behind the prefix as they were added.

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
        cdef Intervals ipv4 = self._ipv4, ipv6 = self._ipv6
        self._begin()
        self._ipv4 = intervals_empty(False)
        self._ipv6 = intervals_empty(True)
        self._end()
        rules_free(&self._rules)
        intervals_free(&ipv4)
        intervals_free(&ipv6)

    @property
    def rules(self):
        """The rules as a new list of texts, the newest first.

        Node: blockList.rules
        """
        cdef char text[RULE_TEXT_SIZE]
        cdef Py_ssize_t count
        cdef size_t at = 0
        cdef Rule rule
        cdef list texts
        # Making the list may run the garbage collector, and that Python code which changes the
        # rules. Making the texts may not.
        while True:
            count = <Py_ssize_t> self._rules.count
            texts = [None] * count
            if count == <Py_ssize_t> self._rules.count:
                break
        while rules_next(&self._rules, &at, &rule):
            count -= 1
            texts[count] = text[:print_rule(&rule, text)].decode("ascii")
        return texts

    @property
    def size(self):
        """The number of rules.

        Node: blockList.size
        """
        return self._rules.count

    def to_json(self):
        """Return the rules, as from_json() takes them; `default=` of json.dumps takes this method.

        Node: blockList.toJSON()
        """
        return self.rules

    def from_json(self, data=None):
        """Add rules from their texts, in this order, or none if one of them is wrong.

        Args:
            data: list or tuple of str, or the JSON text of such an array; a text which is no rule
                is skipped.

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE.
            ArgValueError: ERR_INVALID_ARG_VALUE, the start of a range comes after its end.
            AddressError: ERR_INVALID_ADDRESS.
            RangeError: ERR_OUT_OF_RANGE, a prefix.
            ValueError: no JSON.

        Node: blockList.fromJSON(value)
        """
        cdef _RuleBatch batch = _RuleBatch()
        cdef Rule rule
        if isinstance(data, str):
            try:
                data = _json.loads(data)
            except RecursionError:
                raise ValueError("the JSON text is nested too deeply") from None
        if not isinstance(data, (list, tuple)):
            raise arg_type_error("data", ["string", "string[]"], data)
        for item in data:
            if not isinstance(item, str):
                raise arg_type_error("data", ["string", "string[]"], data)
        for item in data:
            if read_text(item, &rule):
                batch.put(&rule)
        self._add_all(&batch._log)

    @staticmethod
    def is_block_list(value=None):
        """Return whether value is a BlockList.

        Args:
            value: anything.

        Node: BlockList.isBlockList(value)
        """
        return isinstance(value, BlockList)

    def __repr__(self):
        return f"<{type(self).__name__} with {self.size} rules>"

    def __sizeof__(self):
        return (object.__sizeof__(self) + rules_memory(&self._rules)
                + intervals_memory(&self._ipv4) + intervals_memory(&self._ipv6))

    def _blocks(self, address):
        """The answer of blocks() for a peer with this address, or a Unix socket for None.

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

    # Changes.  The caller holds the GIL and nothing here gives it away, but for _add_all() before
    # it looks at the list.

    cdef void _begin(self) noexcept nogil:
        if self._forks != forks:
            self._forks = forks
            uv_rwlock_init(&self._lock)
        uv_rwlock_wrlock(&self._lock)

    cdef void _end(self) noexcept nogil:
        uv_rwlock_wrunlock(&self._lock)

    cdef int _apply(self, const Rule* rule, int delta) noexcept nogil:
        """Add (1) or take out (-1) what a rule matches; -1 without any effect if out of memory."""
        cdef Stretch ipv4, ipv6
        rule_stretches(rule, &ipv4, &ipv6)
        if (ipv4.used and intervals_prepare(&self._ipv4, ipv4.first, ipv4.last) < 0
                or ipv6.used and intervals_prepare(&self._ipv6, ipv6.first, ipv6.last) < 0):
            return -1
        if ipv4.used:
            intervals_apply(&self._ipv4, ipv4.first, ipv4.last, delta)
        if ipv6.used:
            intervals_apply(&self._ipv6, ipv6.first, ipv6.last, delta)
        return 0

    cdef void _reverse(self, const Rule* rule) noexcept nogil:
        """Undo the newest addition that is not yet undone."""
        cdef Stretch ipv4, ipv6
        rule_stretches(rule, &ipv4, &ipv6)
        if ipv4.used:
            intervals_apply(&self._ipv4, ipv4.first, ipv4.last, -1)
        if ipv6.used:
            intervals_apply(&self._ipv6, ipv6.first, ipv6.last, -1)

    cdef int _change(self, const Rule* rule, int delta) except -1:
        cdef int status
        self._begin()
        status = self._apply(rule, delta)
        intervals_shrink(&self._ipv4)
        intervals_shrink(&self._ipv6)
        self._end()
        if status < 0:
            raise MemoryError
        return 0

    cdef int _add(self, const Rule* rule) except -1:
        if rules_reserve(&self._rules, 1, rule_size(rule)) < 0:
            raise MemoryError
        self._change(rule, 1)
        rules_append(&self._rules, rule)
        return 0

    cdef int _remove(self, const Rule* rule) except -1:
        """Remove the newest rule equal to this one; 0 if there is none."""
        cdef uint32_t at
        cdef Rule found
        if self._rules.count == 0:
            return 0
        if rules_index(&self._rules) < 0:
            raise MemoryError
        at = rules_find(&self._rules, rule)
        if at == NO_RULE:
            return 0
        rules_read(&self._rules, at, &found)
        self._change(&found, -1)
        rules_remove(&self._rules, at)
        return 1

    cdef int _add_all(self, const RuleLog* more) except -1:
        """Add rules that were read before, all or none."""
        if more.count * MERGED_PER_RULE < <size_t> self._ipv4.points + <size_t> self._ipv6.points:
            return self._add_each(more)
        return self._add_merged(more)

    cdef int _add_each(self, const RuleLog* more) except -1:
        """Add few rules to many."""
        cdef size_t at = 0, done = 0
        cdef int status = rules_reserve(&self._rules, more.count, more.size)
        cdef size_t* places = <size_t*> PyMem_RawMalloc((more.count + 1) * sizeof(size_t))
        cdef Rule rule
        if status < 0 or places == NULL:
            PyMem_RawFree(places)
            raise MemoryError
        self._begin()
        while status == 0:
            places[done] = at
            if not rules_next(more, &at, &rule):
                break
            status = self._apply(&rule, 1)
            done += status == 0
        if status < 0:
            while done:
                done -= 1
                rules_next(more, &places[done], &rule)
                self._reverse(&rule)
        intervals_shrink(&self._ipv4)
        intervals_shrink(&self._ipv6)
        self._end()
        PyMem_RawFree(places)
        if status < 0:
            raise MemoryError
        rules_extend(&self._rules, more)
        return 0

    cdef int _add_merged(self, const RuleLog* more) except -1:
        """Add many rules, by making what they match anew beside what there is."""
        cdef Change* changes4 = NULL
        cdef Change* changes6 = NULL
        cdef Py_ssize_t count4 = 0, count6 = 0
        cdef Intervals ipv4, ipv6, old4 = intervals_empty(False), old6 = intervals_empty(True)
        cdef int status
        with nogil:
            status = make_changes(more, &changes4, &count4, &changes6, &count6)
        if status == 0:
            status = rules_reserve(&self._rules, more.count, more.size)
        if status == 0 and count4:
            status = intervals_merge(&self._ipv4, changes4, count4, &ipv4)
        if status == 0 and count6:
            status = intervals_merge(&self._ipv6, changes6, count6, &ipv6)
            if status < 0 and count4:
                intervals_free(&ipv4)
        PyMem_RawFree(changes4)
        PyMem_RawFree(changes6)
        if status < 0:
            raise MemoryError
        self._begin()
        if count4:
            old4 = self._ipv4
            self._ipv4 = ipv4
        if count6:
            old6 = self._ipv6
            self._ipv6 = ipv6
        self._end()
        intervals_free(&old4)
        intervals_free(&old6)
        rules_extend(&self._rules, more)
        return 0


add_node_names(BlockList)

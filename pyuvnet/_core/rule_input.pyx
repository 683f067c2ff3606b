"""Rules as people write them: arguments of methods, texts of rules, lines of feeds.

Owns: what BlockList's methods accept, in which order they check it and what they raise, the texts
in `rules` and the form of feeds.  Imports: rules, addresses, SocketAddress, the package's checks of
arguments.

What is right is read without making a Python object; what is wrong, or unusual, goes a slower way
that knows what to raise.
"""

import os as _os
from _collections_abc import Iterable as _Iterable
from _collections_abc import Mapping as _Mapping

from cpython.object cimport PyObject
from libc.string cimport memchr, memcmp, memcpy, strlen

from .address cimport parse_known, parse_plain, print_ip, print_number, utf8_of
from .rules cimport (NO_PREFIX, Rule, RuleLog, is_ordered, rule_last, rules_append, rules_free,
                     rules_reserve)
from .shared cimport made, make
from .socketaddress cimport SocketAddress, family_number, new_address

from .._base.errors import AddressError, ArgValueError
from .._base.notation import notation
from .._base.validation import arg_type_error, arg_value_error, validate_integer, validate_string

# The byte order mark that some editors put at the beginning of UTF-8.
cdef bytes _MARK = b"\xef\xbb\xbf"

cdef enum:
    # Room for the longest text of a rule: a range of two IPv6 addresses.
    RULE_TEXT_SIZE = 128


# Text in C


cdef inline void begin_rule(Rule* rule) noexcept nogil:
    rule.state = rule.last_family = 0
    rule.prefix = NO_PREFIX


cdef inline bint is_space(char char_) noexcept nogil:
    return char_ == c" " or c"\t" <= char_ <= c"\r"


cdef void trim(const char** text, const char** end) noexcept nogil:
    while text[0] != end[0] and is_space(text[0][0]):
        text[0] += 1
    while text[0] != end[0] and is_space((end[0] - 1)[0]):
        end[0] -= 1


cdef int parse_trimmed(const char* text, const char* end, unsigned char* out16) noexcept nogil:
    trim(&text, &end)
    return parse_plain(0, text, end - text, out16)


cdef bint parse_prefix(const char* text, const char* end, Rule* rule) noexcept nogil:
    """Read the number of bits behind a `/`; False if there is none of the rule's family."""
    cdef int prefix = 0
    if text == end or end - text > 3 or text[0] == c"0" and end - text > 1:
        return False
    while text != end:
        if not c"0" <= text[0] <= c"9":
            return False
        prefix = prefix * 10 + (text[0] - c"0")
        text += 1
    rule.prefix = <unsigned char> prefix
    return prefix <= (32 if rule.family == 4 else 128)


cdef bint parse_rule(const char* text, const char* end, Rule* rule) noexcept nogil:
    """Read an address, `address/prefix` or `first-last`, with white space only around the `-`."""
    cdef const char* mark = <const char*> memchr(text, c"/", end - text)
    begin_rule(rule)
    if mark != NULL:
        rule.family = parse_plain(0, text, mark - text, rule.bytes)
        return rule.family and parse_prefix(mark + 1, end, rule)
    mark = <const char*> memchr(text, c"-", end - text)
    if mark == NULL:
        rule.family = parse_plain(0, text, end - text, rule.bytes)
        return rule.family != 0
    rule.family = parse_trimmed(text, mark, rule.bytes)
    rule.last_family = parse_trimmed(mark + 1, end, rule_last(rule))
    return rule.family and rule.last_family


cdef int parse_line(const char* text, const char* end, Rule* rule) noexcept nogil:
    """Read a line of a feed: 1 if it has a rule, 0 if it has nothing, -1 if it is wrong."""
    cdef const char* mark = text
    while mark != end and mark[0] != c"#" and mark[0] != c";":
        mark += 1
    trim(&text, &mark)
    if text == mark:
        return 0
    if not parse_rule(text, mark, rule):
        return -1
    if rule.last_family and (rule.last_family != rule.family or not is_ordered(rule)):
        return -1
    return 1


cdef int add_rule(RuleLog* log, const Rule* rule) noexcept nogil:
    if rules_reserve(log, 1, sizeof(rule[0])) < 0:
        return -1
    rules_append(log, rule)
    return 0


cdef int parse_feed(const char* text, const char* end, RuleLog* out) noexcept nogil:
    """Read a whole feed: 1 when done, 0 if a line is wrong, -1 if there is no memory."""
    cdef const char* line_end
    cdef Rule rule
    cdef int found
    while text != end:
        line_end = <const char*> memchr(text, c"\n", end - text)
        if line_end == NULL:
            line_end = end
        found = parse_line(text, line_end, &rule)
        if found < 0:
            return 0
        if found and add_rule(out, &rule) < 0:
            return -1
        text = line_end + (line_end != end)
    return 1


# Arguments


cdef int type_family(object type) except 0:
    """The family that the argument `type` names."""
    cdef int family
    if type is None:
        return 4
    family = family_number(validate_string(type, "family"))
    if family == 0:
        raise arg_value_error("options.family", type, python="type must be 'ipv4' or 'ipv6'")
    return family


cdef bint is_text(object address, str name) except -1:
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
    begin_rule(rule)
    rule.family = read_address(address, family, rule.bytes)
    return 0


cdef int read_range(object start, object end, object type, Rule* rule) except -1:
    cdef bint start_is_text = is_text(start, "start"), end_is_text = is_text(end, "end")
    cdef int family = type_family(type) if start_is_text or end_is_text else 0
    begin_rule(rule)
    rule.family = read_address(start, family, rule.bytes)
    rule.last_family = read_address(end, family, rule_last(rule))
    return 0


cdef int check_order(const Rule* rule, object start) except -1:
    if is_ordered(rule):
        return 0
    if not isinstance(start, SocketAddress):
        start = new_address(rule.family, rule.bytes)
    received = f"SocketAddress {notation(start.to_json())}"
    raise ArgValueError(f"The argument 'start' must come before end. Received {received}",
                        "ERR_INVALID_ARG_VALUE")


cdef int read_subnet(object net, object prefix, object type, Rule* rule) except -1:
    read_single(net, type, "network", rule)
    rule.prefix = validate_integer(prefix, "prefix", 0, 32 if rule.family == 4 else 128)
    return 0


cdef int read_cidr(object cidr, str name, Rule* rule) except -1:
    cdef Py_ssize_t length = 0
    cdef const char* chars
    validate_string(cidr, name)
    chars = utf8_of(cidr, &length)
    if chars != NULL and parse_rule(chars, chars + length, rule) and rule.prefix != NO_PREFIX:
        return 0
    net, slash, prefix = cidr.rpartition("/")
    if not slash:
        raise arg_value_error("cidr", cidr, 'must contain a prefix length (e.g. "10.0.0.0/8")')
    # An integer as JavaScript would write it.
    digits = prefix.removeprefix("-")
    if prefix != "0" and not (digits.isascii() and digits.isdigit() and digits[0] != "0"):
        raise arg_value_error("cidr", cidr, "prefix length must be a valid integer")
    # More digits than a prefix can have say no more than that it is out of range.
    return read_subnet(net, int(prefix[:20]), "ipv6" if ":" in net else "ipv4", rule)


cdef list read_items(object items, str name):
    """The items of what Node wants to be an Array: any iterable but text, bytes and mappings."""
    if (isinstance(items, (str, bytes, bytearray, memoryview, _Mapping))
            or not isinstance(items, _Iterable)):
        raise arg_type_error(name, "Array", items)
    return list(items)


# Texts of rules


cdef str rule_text(const Rule* rule):
    cdef char text[RULE_TEXT_SIZE]
    cdef const char* head = "Address: IPv"
    cdef Py_ssize_t length
    if rule.last_family:
        head = "Range: IPv"
    elif rule.prefix != NO_PREFIX:
        head = "Subnet: IPv"
    length = strlen(head) + 2
    memcpy(text, head, length - 2)
    text[length - 2] = c"4" if rule.family == 4 else c"6"
    text[length - 1] = c" "
    length += print_ip(rule.family, rule.bytes, text + length)
    if rule.last_family:
        text[length] = c"-"
        length += 1 + print_ip(rule.last_family, rule_last(rule), text + length + 1)
    elif rule.prefix != NO_PREFIX:
        text[length] = c"/"
        length += 1 + print_number(rule.prefix, 10, text + length + 1)
    return text[:length].decode("ascii")


cdef bint parse_text(const char* text, const char* end, Rule* rule) noexcept nogil:
    """Read a text as rule_text() writes it, up to how addresses are spelt."""
    cdef const char* head = "Address: IPv"
    cdef const char* at
    cdef Py_ssize_t mark
    if memchr(text, c"/", end - text) != NULL:
        head = "Subnet: IPv"
    elif memchr(text, c"-", end - text) != NULL:
        head = "Range: IPv"
    at = text + strlen(head) + 2
    if end <= at or memcmp(text, head, strlen(head)) != 0 or (at - 1)[0] != c" ":
        return False
    for mark in range(at - text, end - text):
        if is_space(text[mark]):
            return False
    return parse_rule(at, end, rule) and rule.family == (at - 2)[0] - c"0"


# What else from_json() recognises: the words may stand among others, and in an IPv6 rule
# they may be in any case.
_QUAD = "([0-9]+(?:[.][0-9]+){3,})"
_GROUPS = "([0-9a-fA-F:.]+)"
cdef PyObject* _rule_patterns = NULL    # compiled when first needed: importing re takes its time


cdef tuple _patterns():
    cdef PyObject* found = made(&_rule_patterns)
    if found is NULL:
        import re
        patterns = []
        for family, part, flags in (("IPv4", _QUAD, 0), ("IPv6", _GROUPS, re.IGNORECASE)):
            for word, rest in (("Subnet", f"{part}/(?P<prefix>[0-9]+)"), ("Address", part),
                               ("Range", f"{part}-(?P<last>{part})")):
                patterns.append((family, re.compile(f"{word}: {family} {rest}", flags)))
        found = make(&_rule_patterns, tuple(patterns))
    return <tuple>found


cdef bint read_text(str text, Rule* rule) except -1:
    cdef Py_ssize_t length = 0
    cdef const char* chars = utf8_of(text, &length)
    if chars != NULL and parse_text(chars, chars + length, rule):
        if rule.last_family:
            check_order(rule, None)
        return True
    for family, pattern in _patterns():
        found = pattern.search(text) if family in text else None
        if found is None:
            continue
        parts = found.groupdict()
        if "prefix" in parts:
            read_subnet(found[1], int(parts["prefix"][:20]), family, rule)
        elif "last" in parts:
            read_range(found[1], parts["last"], family, rule)
            check_order(rule, None)
        else:
            read_single(found[1], family, "address", rule)
        return True
    return False


cdef class RuleBatch:
    """Rules that are read first, so that a mistake among them leaves the list as it was."""

    def __dealloc__(self):
        rules_free(&self.log)

    cdef int add(self, const Rule* rule) except -1:
        if add_rule(&self.log, rule) < 0:
            raise MemoryError
        return 0

    cdef int read_feed(self, object path_or_lines) except -1:
        if isinstance(path_or_lines, (str, bytes, _os.PathLike)):
            return self._read_file(path_or_lines)
        if isinstance(path_or_lines, _Iterable):
            return self._read_lines(path_or_lines, "")
        raise arg_type_error("path_or_lines", ["string", "PathLike", "Iterable"], path_or_lines)

    cdef int _read_file(self, object path) except -1:
        """Read the feed in a file, without the GIL once its bytes are there."""
        cdef Py_ssize_t length
        cdef const char* text
        cdef int outcome
        with open(path, "rb") as file:
            data = file.read().removeprefix(_MARK)
        text = data
        length = len(data)
        with nogil:
            outcome = parse_feed(text, text + length, &self.log)
        if outcome < 0:
            raise MemoryError
        # Line by line it raises for the one that is wrong.
        return 0 if outcome else self._read_lines(data.split(b"\n"), f" of {_os.fsdecode(path)!r}")

    cdef int _read_lines(self, object lines, str where) except -1:
        cdef Py_ssize_t number = 0
        cdef const char* text
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
            if number == 1:
                data = data.removeprefix(_MARK)
            text = data
            found = parse_line(text, text + len(data), &rule)
            if found < 0:
                raise line_error(number, data, where)
            if found:
                self.add(&rule)
        return 0


cdef object line_error(Py_ssize_t number, bytes line, str where):
    received = notation(line[:100].decode("utf-8", "replace").strip())
    error = ArgValueError(
        f"Line {number}{where} is not an address, a subnet or a range. Received {received}",
        "ERR_INVALID_ARG_VALUE")
    error.line = number
    return error

"""Rules as people give them: arguments of methods, texts of rules, lines of feeds.

Owns: what BlockList's methods accept, in which order they check it and what they raise, and the
form of feeds.  Imports: the form of rules, SocketAddress, the package's checks of arguments.

What is right is read without making a Python object; what is wrong, or unusual, goes a slower way
that knows what to raise.
"""

import os as _os
from collections.abc import Iterable as _Iterable
from collections.abc import Mapping as _Mapping

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp, memcpy

from .address cimport parse_ipv4, parse_ipv6, parse_known, utf8_of
from .rules cimport (RULE_ADDRESS, RULE_RANGE, RULE_SUBNET, Rule, RuleLog, is_ordered, parse_rule,
                     rules_append, rules_free, rules_reserve)
from .socketaddress cimport SocketAddress, family_number, new_address

from .._base.errors import AddressError, ArgValueError
from .._base.notation import notation
from .._base.validation import arg_type_error, arg_value_error, validate_integer, validate_string

cdef enum:
    LARGEST_RULE = 40  # bytes, packed


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


cdef bint _is_integer(str text) noexcept:
    """Whether a text is an integer as JavaScript would write it."""
    digits = text.removeprefix("-")
    return text == "0" or (digits.isascii() and digits.isdigit() and not digits.startswith("0"))


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
    if not _is_integer(prefix):
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
cdef tuple _rule_patterns = None    # compiled when first needed: importing re takes its time


cdef tuple _patterns():
    global _rule_patterns
    if _rule_patterns is None:
        import re
        _rule_patterns = tuple([
            (family, re.compile(f"{word}: {family} {rest}", flags), kind)
            for family, part, flags in (("IPv4", _QUAD, 0), ("IPv6", _GROUPS, re.IGNORECASE))
            for word, rest, kind in (
                ("Subnet", f"{part}/([0-9]+)", RULE_SUBNET), ("Address", part, RULE_ADDRESS),
                ("Range", f"{part}-{part}", RULE_RANGE))])
    return _rule_patterns


cdef bint read_text(str text, Rule* rule) except -1:
    """Read the text of a rule; False if it is none."""
    cdef Py_ssize_t length = 0
    cdef const char* chars = utf8_of(text, &length)
    if chars != NULL and parse_rule(chars, length, rule):
        if rule.kind == RULE_RANGE:
            check_order(rule, None)
        return True
    for word, pattern, kind in _patterns():
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


cdef class RuleBatch:
    """Rules that are read first, so that a mistake among them leaves the list as it was."""

    def __dealloc__(self):
        rules_free(&self.log)

    cdef int put(self, const Rule* rule) except -1:
        if rules_reserve(&self.log, 1, LARGEST_RULE) < 0:
            raise MemoryError
        rules_append(&self.log, rule)
        return 0

    cdef int read_feed(self, object path_or_lines) except -1:
        if isinstance(path_or_lines, (str, bytes, _os.PathLike)):
            return self._read_file(path_or_lines)
        if isinstance(path_or_lines, _Iterable):
            return self._read_lines(path_or_lines)
        raise arg_type_error("path_or_lines", ["string", "PathLike", "Iterable"], path_or_lines)

    cdef int _read_file(self, object path) except -1:
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
            outcome = parse_feed(text, text + length, &self.log, &line, &number)
        if outcome < 0:
            raise MemoryError
        if outcome == 0:
            end = <const char*> memchr(line, c"\n", text + length - line)
            wrong = line[:(text + length if end == NULL else end) - line]
            raise line_error(number, wrong, f" of {_os.fsdecode(path)!r}")
        return 0

    cdef int _read_lines(self, object lines) except -1:
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

"""Internet addresses: text to bytes and back, socket addresses, and is_ip().

Owns: the one parser and the one printer of addresses in this package.  Imports: the declarations
of socket addresses.  Calls no function of the system but for the names of interfaces, so that all
platforms agree about what an address is and how it is written.

A family is 4 or 6 here, 0 where there is none, and never the system's AF_ number.  Bytes are in
network order: four for IPv4, sixteen for IPv6.  Text is C text with a length, because a str that
holds an address is ASCII, and its own buffer is used as it is.
"""

from libc.string cimport memchr, memcpy, memset

from .uv cimport (AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage)

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) noexcept
    void PyErr_Clear() noexcept

cdef extern from *:
    """
    #if defined(_WIN32)
    #  include <iphlpapi.h>
    #  include <netioapi.h>
    #  define PYUVNET_ZONE_NAME(index, name) ((char*) 0) /* A zone is a number there. */
    #else
    #  include <net/if.h>
    #  define PYUVNET_ZONE_NAME(index, name) if_indextoname((index), (name))
    #endif

    /* One more than the value of each hexadecimal digit, 0 for what is none. */
    static const unsigned char pyuvnet_hex[256] = {
      ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8,
      ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15,
      ['f'] = 16, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16
    };

    #define PYUVNET_SIN_ADDR(addr) ((unsigned char*) &((struct sockaddr_in*) (addr))->sin_addr)
    #define PYUVNET_SIN_PORT(addr) ((unsigned char*) &((struct sockaddr_in*) (addr))->sin_port)
    #define PYUVNET_SIN6_ADDR(addr) ((unsigned char*) &((struct sockaddr_in6*) (addr))->sin6_addr)
    #define PYUVNET_SIN6_PORT(addr) ((unsigned char*) &((struct sockaddr_in6*) (addr))->sin6_port)

    /* The BSDs have a length in their socket addresses, which their headers tell by this macro. */
    #ifdef SIN6_LEN
    #  define PYUVNET_SET_LENGTH(addr, size) (((struct sockaddr*) (addr))->sa_len = (size))
    #else
    #  define PYUVNET_SET_LENGTH(addr, size) ((void) 0)
    #endif
    """
    enum:
        IF_NAMESIZE
    const unsigned char* pyuvnet_hex
    unsigned char* PYUVNET_SIN_ADDR(const void* addr) nogil
    unsigned char* PYUVNET_SIN_PORT(const void* addr) nogil
    unsigned char* PYUVNET_SIN6_ADDR(const void* addr) nogil
    unsigned char* PYUVNET_SIN6_PORT(const void* addr) nogil
    void PYUVNET_SET_LENGTH(void* addr, size_t size) nogil
    unsigned int if_nametoindex(const char* name) nogil
    char* PYUVNET_ZONE_NAME(unsigned int index, char* name) nogil


# Text to bytes


cdef bint parse_ipv4(const char* text, Py_ssize_t length, unsigned char* out4) noexcept nogil:
    """Read four decimal parts of 0-255 without leading zeros."""
    cdef const char* end = text + length
    cdef unsigned int value, digit
    cdef int part
    for part in range(4):
        if part:
            if text == end or text[0] != c".":
                return False
            text += 1
        if text == end:
            return False
        value = <unsigned int> text[0] - c"0"
        if value > 9:
            return False
        text += 1
        while text != end:
            digit = <unsigned int> text[0] - c"0"
            if digit > 9:
                break
            if value == 0:
                return False
            value = value * 10 + digit
            if value > 255:
                return False
            text += 1
        out4[part] = <unsigned char> value
    return text == end


cdef bint parse_ipv6(const char* text, Py_ssize_t length, unsigned char* out16) noexcept nogil:
    """Read the text forms of RFC 4291: groups, `::` once for one or more of them, a last quad."""
    cdef unsigned char groups[20]
    cdef Py_ssize_t at = 0, start
    cdef int used = 0, gap = -1, value, digit
    if length >= 2 and text[0] == c":" and text[1] == c":":
        gap = 0
        at = 2
    while at < length:
        start = at
        value = 0
        while at < length:
            digit = pyuvnet_hex[<unsigned char> text[at]]
            if digit == 0:
                break
            if at - start == 4:
                return False
            value = value << 4 | (digit - 1)
            at += 1
        if at == start:
            return False
        if at < length and text[at] == c".":
            if used > 12 or not parse_ipv4(text + start, length - start, groups + used):
                return False
            used += 4
            break
        if used == 16:
            return False
        groups[used] = <unsigned char> (value >> 8)
        groups[used + 1] = <unsigned char> (value & 255)
        used += 2
        if at == length:
            break
        if text[at] != c":":
            return False
        at += 1
        if at == length:
            return False
        if text[at] == c":":
            if gap >= 0:
                return False
            gap = used
            at += 1
    if gap < 0:
        if used != 16:
            return False
        gap = 16
    elif used == 16:
        return False
    memcpy(out16, groups, gap)
    memset(out16 + gap, 0, 16 - used)
    memcpy(out16 + gap + 16 - used, groups + gap, used - gap)
    return True


cdef Py_ssize_t zone_start(const char* text, Py_ssize_t length) noexcept nogil:
    cdef const char* mark = <const char*> memchr(text, c"%", length)
    return length if mark == NULL else mark - text


cdef bint is_zone(const char* text, Py_ssize_t length) noexcept nogil:
    """Whether this is `%` and a name of a zone as is_ip() knows them."""
    cdef Py_ssize_t at
    cdef char char_
    if length < 2:
        return False
    for at in range(1, length):
        char_ = text[at]
        if not (c"0" <= char_ <= c"9" or c"a" <= char_ <= c"z" or c"A" <= char_ <= c"Z"
                or char_ == c"." or char_ == c":" or char_ == c"-"):
            return False
    return True


cdef int parse_ip(const char* text, Py_ssize_t length, unsigned char* out16) noexcept nogil:
    cdef Py_ssize_t zone
    if parse_ipv4(text, length, out16):
        return 4
    zone = zone_start(text, length)
    if not parse_ipv6(text, zone, out16):
        return 0
    return 6 if zone == length or is_zone(text + zone, length - zone) else 0


cdef bint parse_known(int family, const char* text, Py_ssize_t length,
                      unsigned char* out16) noexcept nogil:
    if family == 4:
        return parse_ipv4(text, length, out16)
    return parse_ipv6(text, zone_start(text, length), out16)


# Bytes to text


cdef Py_ssize_t print_decimal(unsigned int value, char* out) noexcept nogil:
    """Write a number of up to three digits."""
    cdef Py_ssize_t length = 0
    if value >= 100:
        out[length] = <char> (c"0" + value // 100)
        length += 1
    if value >= 10:
        out[length] = <char> (c"0" + value // 10 % 10)
        length += 1
    out[length] = <char> (c"0" + value % 10)
    return length + 1


cdef Py_ssize_t print_ipv4(const unsigned char* bytes4, char* out) noexcept nogil:
    cdef Py_ssize_t length = 0
    cdef int part
    for part in range(4):
        if part:
            out[length] = c"."
            length += 1
        length += print_decimal(bytes4[part], out + length)
    return length


cdef Py_ssize_t print_group(unsigned int value, char* out) noexcept nogil:
    cdef const char* digits = "0123456789abcdef"
    cdef Py_ssize_t length = 0
    cdef int shift = 12
    while shift and value >> shift == 0:
        shift -= 4
    while shift >= 0:
        out[length] = digits[value >> shift & 15]
        length += 1
        shift -= 4
    return length


cdef Py_ssize_t print_ipv6(const unsigned char* bytes16, char* out) noexcept nogil:
    """Write an address in lower case, its first longest run of two or more zero groups as `::`.

    As inet_ntop does, the last 32 bits of a mapped address, and of one that begins with exactly six
    zero groups, are written as a quad.
    """
    cdef unsigned int groups[8]
    cdef int at, run = 0, best = -1, best_length = 1
    cdef Py_ssize_t length = 0
    for at in range(8):
        groups[at] = <unsigned int> bytes16[2 * at] << 8 | bytes16[2 * at + 1]
        run = run + 1 if groups[at] == 0 else 0
        if run > best_length:
            best = at - run + 1
            best_length = run
    at = 0
    while at < 8:
        if at == best:
            out[length] = c":"
            length += 1
            at += best_length
            if at == 8:
                out[length] = c":"
                length += 1
            continue
        if at:
            out[length] = c":"
            length += 1
        if at == 6 and best == 0 and (best_length == 6 or best_length == 5 and groups[5] == 0xffff):
            return length + print_ipv4(bytes16 + 12, out + length)
        length += print_group(groups[at], out + length)
        at += 1
    return length


cdef Py_ssize_t print_ip(int family, const unsigned char* bytes, char* out) noexcept nogil:
    return print_ipv4(bytes, out) if family == 4 else print_ipv6(bytes, out)


# Socket addresses


cdef int sockaddr_bytes(const sockaddr* addr, const unsigned char** bytes) noexcept nogil:
    if addr.sa_family == AF_INET:
        bytes[0] = PYUVNET_SIN_ADDR(addr)
        return 4
    if addr.sa_family == AF_INET6:
        bytes[0] = PYUVNET_SIN6_ADDR(addr)
        return 6
    return 0


cdef int sockaddr_port(const sockaddr* addr) noexcept nogil:
    cdef const unsigned char* port
    port = PYUVNET_SIN_PORT(addr) if addr.sa_family == AF_INET else PYUVNET_SIN6_PORT(addr)
    return port[0] << 8 | port[1]


cdef Py_ssize_t print_zone(unsigned int scope, char* out) noexcept nogil:
    """Write the zone of a link-local address: `%` with the interface's name, or its number."""
    cdef Py_ssize_t length = 1, end
    cdef char digits[10]
    out[0] = c"%"
    if PYUVNET_ZONE_NAME(scope, out + 1) != NULL:
        while out[length]:
            length += 1
        return length
    end = 10
    while scope:
        end -= 1
        digits[end] = <char> (c"0" + scope % 10)
        scope = scope // 10
    memcpy(out + 1, digits + end, 10 - end)
    return 11 - end


cdef tuple address_tuple(const sockaddr* addr):
    cdef const unsigned char* bytes = NULL
    cdef char text[ADDRESS_TEXT_SIZE]
    cdef int family = sockaddr_bytes(addr, &bytes)
    cdef unsigned int scope
    cdef Py_ssize_t length
    if family == 0:
        return None
    length = print_ip(family, bytes, text)
    # As in Node, a zone is printed only where the address means nothing without it: fe80::/10.
    if family == 6 and bytes[0] == 0xfe and bytes[1] & 0xc0 == 0x80:
        scope = (<const sockaddr_in6*> addr).sin6_scope_id
        if scope:
            length += print_zone(scope, text + length)
    return (text[:length].decode("utf-8", "surrogateescape"), sockaddr_port(addr),
            "IPv4" if family == 4 else "IPv6")


cdef unsigned int zone_index(const char* zone, Py_ssize_t length) noexcept nogil:
    """The number of a zone given as a number or as an interface's name; 0 if there is none."""
    cdef char name[IF_NAMESIZE]
    cdef unsigned long long number = 0
    cdef Py_ssize_t at
    for at in range(length):
        if not c"0" <= zone[at] <= c"9":
            break
        number = number * 10 + (zone[at] - c"0")
        if number > 0xffffffffULL:
            return 0
    else:
        return <unsigned int> number
    if length >= IF_NAMESIZE:
        return 0
    memcpy(name, zone, length)
    name[length] = 0
    return if_nametoindex(name)


cdef int sockaddr_from_text(object text, int port, sockaddr_storage* out) noexcept:
    """Make a socket address; an unknown zone is zone 0, which the system refuses when it is used.

    port: 0..65535.
    """
    cdef unsigned char bytes[16]
    cdef unsigned char* port_bytes
    cdef Py_ssize_t length = 0, zone
    cdef const char* chars = utf8_of(text, &length)
    cdef int family
    if chars == NULL:
        return 0
    family = parse_ip(chars, length, bytes)
    memset(out, 0, sizeof(out[0]))
    if family == 4:
        (<sockaddr*> out).sa_family = AF_INET
        PYUVNET_SET_LENGTH(out, sizeof(sockaddr_in))
        memcpy(PYUVNET_SIN_ADDR(out), bytes, 4)
        port_bytes = PYUVNET_SIN_PORT(out)
    elif family == 6:
        (<sockaddr*> out).sa_family = AF_INET6
        PYUVNET_SET_LENGTH(out, sizeof(sockaddr_in6))
        memcpy(PYUVNET_SIN6_ADDR(out), bytes, 16)
        port_bytes = PYUVNET_SIN6_PORT(out)
        zone = zone_start(chars, length) + 1
        if zone < length:
            (<sockaddr_in6*> out).sin6_scope_id = zone_index(chars + zone, length - zone)
    else:
        return 0
    port_bytes[0] = <unsigned char> (port >> 8)
    port_bytes[1] = <unsigned char> (port & 255)
    return family


# Python's view


cdef const char* utf8_of(object text, Py_ssize_t* length) noexcept:
    cdef const char* chars = PyUnicode_AsUTF8AndSize(text, length)
    if chars == NULL:
        PyErr_Clear()  # an unpaired surrogate: certainly no address
    return chars


cdef int ip_family(object text) noexcept:
    cdef unsigned char bytes[16]
    cdef Py_ssize_t length = 0
    cdef const char* chars = utf8_of(text, &length)
    return 0 if chars == NULL else parse_ip(chars, length, bytes)


cdef str ip_text(int family, const unsigned char* bytes):
    """Write an address canonically."""
    cdef char text[ADDRESS_TEXT_SIZE]
    return text[:print_ip(family, bytes, text)].decode("ascii")


cdef int family_of(object value) noexcept:
    if isinstance(value, str):
        return ip_family(value)
    # bytes are left out because str() of them warns under `python -b`.
    if value is None or isinstance(value, bytes):
        return 0
    try:
        return ip_family(str(value))
    except Exception:
        pass
    return 0


def is_ip(value=None):
    """Return 4 or 6 if value is the text of an IPv4 or IPv6 address, otherwise 0.

    Args:
        value: a str; anything else but bytes is judged by `str(value)`. An IPv6 address may have a
            zone (`fe80::1%eth0`); brackets, a port, a prefix or white space make it no address.

    Node: net.isIP(input)
    """
    return family_of(value)


def is_ipv4(value=None):
    """Return whether value is the text of an IPv4 address: four decimal parts, no leading zeros.

    Args:
        value: a str; anything else but bytes is judged by `str(value)`.

    Node: net.isIPv4(input)
    """
    return family_of(value) == 4


def is_ipv6(value=None):
    """Return whether value is the text of an IPv6 address, with or without a zone.

    Args:
        value: a str; anything else but bytes is judged by `str(value)`.

    Node: net.isIPv6(input)
    """
    return family_of(value) == 6


def _through_sockaddr(text, port):
    """What a peer with this address and port would be told as; None if it is no address.

    Only for the tests, which cannot call what C code calls.
    """
    cdef sockaddr_storage addr
    if not sockaddr_from_text(text, port, &addr):
        return None
    return address_tuple(<sockaddr*> &addr)

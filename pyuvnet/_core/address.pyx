"""Internet addresses: text to bytes and back, socket addresses, and is_ip().

Owns: the one parser and the one printer of addresses in this package.  Imports: the declarations
of socket addresses.  Calls no function of the system except for names of interfaces, so that all
platforms agree about what an address is and how it is written.

A family is 4 or 6 here, 0 where there is none, and never the system's AF_ number.  Bytes are in
network order: four for IPv4, sixteen for IPv6.  Text is C text with a length, because a str that
holds an address is ASCII, and its own buffer is used as it is.
"""

from libc.stdio cimport snprintf
from libc.stdlib cimport strtoull
from libc.string cimport memchr, memcpy, memset, strlen

from .uv cimport AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage

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

    /* The BSDs have a length in their socket addresses, which this macro of their headers shows. */
    #ifdef SIN6_LEN
    #  define PYUVNET_SET_LENGTH(addr, size) (((struct sockaddr*) (addr))->sa_len = (size))
    #else
    #  define PYUVNET_SET_LENGTH(addr, size) ((void) 0)
    #endif
    """
    enum:
        IF_NAMESIZE
    const unsigned char* pyuvnet_hex
    void PYUVNET_SET_LENGTH(void* addr, size_t size) nogil
    unsigned int if_nametoindex(const char* name) nogil
    char* PYUVNET_ZONE_NAME(unsigned int index, char* name) nogil


# Text to bytes


cdef bint parse_ipv4(const char* text, Py_ssize_t length, unsigned char* out4) noexcept nogil:
    """Read four decimal parts of 0-255 without leading zeros."""
    cdef unsigned char quad[20]
    cdef const unsigned char* at = quad
    cdef unsigned int digit, value, more
    cdef int part
    if length < 8:
        if length != 7:
            return False
        memcpy(quad, text, 7)
    elif length > 15:
        return False
    else:
        # Two copies of a known size, which take an instruction each.
        memcpy(quad, text, 8)
        memcpy(quad + length - 8, text + length - 8, 8)
    # The last part looks at three characters too.
    quad[length] = quad[length + 1] = quad[length + 2] = 0
    for part in range(4):
        if part:
            if at[0] != c".":
                return False
            at += 1
        value = <unsigned int> at[0] - c"0"
        if value > 9:
            return False
        digit = <unsigned int> at[1] - c"0"
        at += 1
        # Few parts have one digit.  Whether there is a third is chance, which no processor
        # predicts, and so no branch.
        if digit <= 9:
            if value == 0:
                return False
            value = value * 10 + digit
            digit = <unsigned int> at[1] - c"0"
            more = digit <= 9
            value += (value * 9 + digit) * more
            at += 1 + more
            if value > 255:
                return False
        out4[part] = <unsigned char> value
    return at - quad == length


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
        if text[at] != c":" or at + 1 == length:
            return False
        at += 1
        if text[at] == c":":
            if gap >= 0:
                return False
            gap = used
            at += 1
    if gap < 0:
        gap = used
        if used != 16:
            return False
    elif used == 16:
        return False
    memcpy(out16, groups, gap)
    memset(out16 + gap, 0, 16 - used)
    memcpy(out16 + gap + 16 - used, groups + gap, used - gap)
    return True


cdef int parse_plain(int family, const char* text, Py_ssize_t length,
                     unsigned char* out16) noexcept nogil:
    if family != 6 and parse_ipv4(text, length, out16):
        return 4
    return 6 if family != 4 and parse_ipv6(text, length, out16) else 0


cdef Py_ssize_t zone_start(const char* text, Py_ssize_t length) noexcept nogil:
    """The length of the text without its zone."""
    cdef const char* mark = <const char*> memchr(text, c"%", length)
    return length if mark == NULL else mark - text


cdef int parse_known(int family, const char* text, Py_ssize_t length,
                     unsigned char* out16) noexcept nogil:
    return parse_plain(family, text, zone_start(text, length) if family == 6 else length, out16)


cdef int parse_ip(const char* text, Py_ssize_t length, unsigned char* out16) noexcept nogil:
    """Read an address of either family, of which IPv6 may have a zone as is_ip() knows them."""
    cdef Py_ssize_t zone = zone_start(text, length), at
    cdef int family = parse_plain(0, text, zone, out16)
    cdef char char_
    if zone < length and (family == 4 or zone + 1 == length):
        return 0
    for at in range(zone + 1, length):
        char_ = text[at]
        if not (c"0" <= char_ <= c"9" or c"a" <= char_ <= c"z" or c"A" <= char_ <= c"Z"
                or char_ == c"." or char_ == c":" or char_ == c"-"):
            return 0
    return family


# Bytes to text


cdef Py_ssize_t print_number(unsigned int value, unsigned int base, char* out) noexcept nogil:
    cdef const char* digits = "0123456789abcdef"
    cdef unsigned int rest = value
    cdef Py_ssize_t length = 1, at
    while rest >= base:
        rest = rest // base
        length += 1
    for at in range(length - 1, -1, -1):
        out[at] = digits[value % base]
        value = value // base
    return length


cdef Py_ssize_t print_ipv4(const unsigned char* bytes4, char* out) noexcept nogil:
    cdef Py_ssize_t length = print_number(bytes4[0], 10, out)
    cdef int part
    for part in range(1, 4):
        out[length] = c"."
        length += 1
        length += print_number(bytes4[part], 10, out + length)
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
        if at or best == 0:
            out[length] = c":"
            length += 1
        if at == best:
            at += best_length
            if at == 8:
                out[length] = c":"
                length += 1
            continue
        if at == 6 and best == 0 and (best_length == 6 or best_length == 5 and groups[5] == 0xffff):
            return length + print_ipv4(bytes16 + 12, out + length)
        length += print_number(groups[at], 16, out + length)
        at += 1
    return length


cdef Py_ssize_t print_ip(int family, const unsigned char* bytes, char* out) noexcept nogil:
    cdef Py_ssize_t length = print_ipv4(bytes, out) if family == 4 else print_ipv6(bytes, out)
    out[length] = 0
    return length


# Socket addresses


cdef int sockaddr_parts(const sockaddr* addr, unsigned char** bytes,
                        unsigned char** port) noexcept nogil:
    """Point to the address and to the two bytes of the port; returns the family, or 0."""
    if addr.sa_family == AF_INET:
        bytes[0] = <unsigned char*> &(<sockaddr_in*> addr).sin_addr
        port[0] = <unsigned char*> &(<sockaddr_in*> addr).sin_port
        return 4
    if addr.sa_family == AF_INET6:
        bytes[0] = <unsigned char*> &(<sockaddr_in6*> addr).sin6_addr
        port[0] = <unsigned char*> &(<sockaddr_in6*> addr).sin6_port
        return 6
    return 0


cdef int sockaddr_bytes(const sockaddr* addr, const unsigned char** bytes) noexcept nogil:
    cdef unsigned char* port
    return sockaddr_parts(addr, <unsigned char**> bytes, &port)


cdef void keep_name(const sockaddr* addr, PeerName* name) noexcept nogil:
    cdef unsigned char* bytes
    cdef unsigned char* port
    name.family = <unsigned short> sockaddr_parts(addr, &bytes, &port)
    if name.family == 0:
        return
    name.port = <unsigned short> (port[0] << 8 | port[1])
    memcpy(name.address, bytes, 4 if name.family == 4 else 16)
    name.scope = 0 if name.family == 4 else (<const sockaddr_in6*> addr).sin6_scope_id


cdef tuple peer_tuple(const PeerName* name):
    cdef char text[ADDRESS_TEXT_SIZE]
    cdef Py_ssize_t length
    if name.family == 0:
        return None
    length = print_ip(name.family, name.address, text)
    # As in Node, a zone is printed only where the address means nothing without it: fe80::/10.
    if name.family == 6 and name.scope and name.address[0] == 0xfe \
            and name.address[1] & 0xc0 == 0x80:
        if PYUVNET_ZONE_NAME(name.scope, text + length + 1) != NULL:
            text[length] = c"%"
        else:
            snprintf(text + length, ADDRESS_TEXT_SIZE - length, "%%%u", name.scope)
        length = strlen(text)
    return (text[:length].decode("utf-8", "surrogateescape"), name.port,
            "IPv4" if name.family == 4 else "IPv6")


cdef unsigned int zone_index(const char* zone, Py_ssize_t length) noexcept nogil:
    """The number of a zone given as a number or as an interface's name; 0 if there is none."""
    cdef char name[IF_NAMESIZE]
    cdef char* end
    cdef unsigned long long number
    if length >= IF_NAMESIZE:
        return 0
    memcpy(name, zone, length)
    name[length] = 0
    number = strtoull(name, &end, 10)
    if end[0]:
        return if_nametoindex(name)
    return <unsigned int> number if number <= 0xffffffffULL else 0


cdef int sockaddr_from_text(object text, int port, sockaddr_storage* out) noexcept:
    """Make a socket address; an unknown zone is zone 0, which the system refuses when it is used.

    port: 0..65535.
    """
    cdef unsigned char read[16]
    cdef unsigned char* bytes
    cdef unsigned char* port_bytes
    cdef Py_ssize_t length = 0, zone
    cdef const char* chars = utf8_of(text, &length)
    cdef int family = 0 if chars == NULL else parse_ip(chars, length, read)
    if family == 0:
        return 0
    memset(out, 0, sizeof(out[0]))
    (<sockaddr*> out).sa_family = AF_INET if family == 4 else AF_INET6
    PYUVNET_SET_LENGTH(out, sizeof(sockaddr_in) if family == 4 else sizeof(sockaddr_in6))
    sockaddr_parts(<sockaddr*> out, &bytes, &port_bytes)
    memcpy(bytes, read, 4 if family == 4 else 16)
    port_bytes[0] = <unsigned char> (port >> 8)
    port_bytes[1] = <unsigned char> (port & 255)
    zone = zone_start(chars, length) + 1
    if zone < length:
        (<sockaddr_in6*> out).sin6_scope_id = zone_index(chars + zone, length - zone)
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
    cdef char text[ADDRESS_TEXT_SIZE]
    return text[:print_ip(family, bytes, text)].decode("ascii")


cdef int family_of(object value) noexcept:
    if isinstance(value, str):
        return ip_family(value)
    # bytes are left out because str() of them warns under `python -b`.
    if value is not None and not isinstance(value, bytes):
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
    """Return whether value is the text of an IPv4 address, as is_ip() judges it.

    Node: net.isIPv4(input)
    """
    return family_of(value) == 4


def is_ipv6(value=None):
    """Return whether value is the text of an IPv6 address, as is_ip() judges it.

    Node: net.isIPv6(input)
    """
    return family_of(value) == 6


def _through_sockaddr(text, port):
    """What a peer with this address and port is called; None if it is no address.

    Only for the tests, which cannot call what C code calls.
    """
    cdef sockaddr_storage addr
    cdef PeerName name
    if not sockaddr_from_text(text, port, &addr):
        return None
    keep_name(<sockaddr*> &addr, &name)
    return peer_tuple(&name)

"""Internet addresses as text, as bytes and as socket addresses; see address.pyx for the rules.

Everything but the three makers of Python objects at the end works without the GIL.
"""

from .uv cimport sockaddr, sockaddr_storage

cdef enum:
    # Room for the longest address with a zone and the closing NUL: 45 + 1 + 16 + 1, rounded up.
    ADDRESS_TEXT_SIZE = 64

# Text to bytes in network order.  Nothing may stand around the address, and no zone behind it.
cdef bint parse_ipv4(const char* text, Py_ssize_t length, unsigned char* out4) noexcept nogil
cdef bint parse_ipv6(const char* text, Py_ssize_t length, unsigned char* out16) noexcept nogil
# 4 or 6, with that family's bytes in out16, or 0; `%` and a zone may follow an IPv6 address.
cdef int parse_ip(const char* text, Py_ssize_t length, unsigned char* out16) noexcept nogil
# The same for an address of which the family (4 or 6) is known; whatever follows a `%` is dropped.
cdef bint parse_known(int family, const char* text, Py_ssize_t length,
                      unsigned char* out16) noexcept nogil
# The length of the text without its zone.
cdef Py_ssize_t zone_start(const char* text, Py_ssize_t length) noexcept nogil

# Bytes to text as inet_ntop writes it, without NUL; returns the length.
cdef Py_ssize_t print_ipv4(const unsigned char* bytes4, char* out) noexcept nogil
cdef Py_ssize_t print_ipv6(const unsigned char* bytes16, char* out) noexcept nogil
cdef Py_ssize_t print_ip(int family, const unsigned char* bytes, char* out) noexcept nogil

# 4 or 6, with *bytes pointing into addr, or 0 for every other kind of socket address.
cdef int sockaddr_bytes(const sockaddr* addr, const unsigned char** bytes) noexcept nogil
cdef int sockaddr_port(const sockaddr* addr) noexcept nogil

# The UTF-8 text of a str and its length, NULL (and no exception) if it has none.
cdef const char* utf8_of(object text, Py_ssize_t* length) noexcept

# is_ip() for a str.
cdef int ip_family(object text) noexcept
cdef str ip_text(int family, const unsigned char* bytes)
# (address, port, 'IPv4' or 'IPv6'), or None for a socket address which is neither.
cdef tuple address_tuple(const sockaddr* addr)
# 4 or 6 if text is an address (a zone may follow IPv6), and `out` is that with the port; else 0.
cdef int sockaddr_from_text(object text, int port, sockaddr_storage* out) noexcept

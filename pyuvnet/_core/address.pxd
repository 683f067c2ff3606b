"""Internet addresses as text, as bytes and as socket addresses; see address.pyx.

What is `nogil` makes no Python object.
"""

from .uv cimport sockaddr, sockaddr_storage

cdef enum:
    # Room for the longest address with a zone and the closing NUL: 45 + 1 + 16 + 1, rounded up.
    ADDRESS_TEXT_SIZE = 64

# A socket address without its padding; there is one in every socket.
cdef struct PeerName:
    unsigned char address[16]          # the first 4 for IPv4
    unsigned short port
    unsigned short family              # 4 or 6; 0: not known
    unsigned int scope                 # of a link-local IPv6 address, the number of its interface

# Text to bytes in network order.  The family is 4, 6 or 0 for either; nothing, such as a zone, may
# follow the address.  Returns the family, or 0 for what is no address.
cdef int parse_plain(int family, const char* text, Py_ssize_t length,
                     unsigned char* out16) noexcept nogil
# The same for family 4 or 6, but whatever follows a `%` in IPv6 is dropped.
cdef int parse_known(int family, const char* text, Py_ssize_t length,
                     unsigned char* out16) noexcept nogil

# Bytes to text as inet_ntop writes it, and a NUL; returns the length.
cdef Py_ssize_t print_ip(int family, const unsigned char* bytes, char* out) noexcept nogil
# The same for a number, without the NUL.
cdef Py_ssize_t print_number(unsigned int value, unsigned int base, char* out) noexcept nogil

# 4 or 6, with *bytes pointing into addr, or 0 for every other kind of socket address.
cdef int sockaddr_bytes(const sockaddr* addr, const unsigned char** bytes) noexcept nogil
# Copy a socket address; one that is neither IPv4 nor IPv6 is not known.
cdef void keep_name(const sockaddr* addr, PeerName* name) noexcept nogil

# The UTF-8 text of a str and its length, NULL (and no exception) if it has none.
cdef const char* utf8_of(object text, Py_ssize_t* length) noexcept

# is_ip() for a str.
cdef int ip_family(object text) noexcept
cdef str ip_text(int family, const unsigned char* bytes)
# (address, port, 'IPv4' or 'IPv6'), or None for one that is not known.
cdef tuple peer_tuple(const PeerName* name)
# 4 or 6 if text is an address (a zone may follow IPv6), and `out` is that with the port; else 0.
cdef int sockaddr_from_text(object text, int port, sockaddr_storage* out) noexcept

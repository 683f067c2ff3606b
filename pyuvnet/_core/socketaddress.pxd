"""SocketAddress: what it holds; see socketaddress.pyx."""

cdef class SocketAddress:
    cdef object __weakref__
    cdef int _family               # 4 or 6
    cdef unsigned int _flowlabel   # 0 for IPv4
    cdef int _port
    cdef unsigned char _bytes[16]  # the first 4 for IPv4, in network order

# 4 for 'ipv4', 6 for 'ipv6', in any case; 0 for every other text.
cdef int family_number(str text)
# The same address with port 0.
cdef SocketAddress new_address(int family, const unsigned char* bytes)

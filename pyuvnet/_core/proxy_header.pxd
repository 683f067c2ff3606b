"""PROXY headers: the parser, and the layers that read and send them; see proxy_header.pyx."""

from .address cimport PeerName
from .layer cimport Layer
from .owner cimport Acceptor
from .stream_handle cimport StreamHandle
from .timer cimport Timer

cdef enum:
    # What parse_header() returns instead of a length, and what else ends the wait for a header;
    # libuv's statuses are far above.
    HEADER_PART = 0              # so far it may be one
    HEADER_MALFORMED = -10001
    HEADER_TOO_LONG = -10002
    HEADER_CHECKSUM = -10003     # its CRC32c is another
    HEADER_LATE = -10004
    HEADER_ENDED = -10005        # the connection ended before the header did
    HEADER_UNTRUSTED = -10006    # none was read

cdef enum:
    # The limit, counting everything up to the first byte of data.
    HEADER_LEAST_LIMIT = 107             # the longest header of version 1
    HEADER_MOST_LIMIT = 16 + 65535       # the longest of version 2

cdef enum:
    ENDS_OWN = 0                 # those of the connection itself
    ENDS_UNIX = 1                # paths
    ENDS_IPV4 = 4
    ENDS_IPV6 = 6

cdef struct ProxyFields:
    int version                  # 1 or 2
    bint proxied                 # its command: PROXY, and not LOCAL
    int ends                     # of which kind its two addresses are
    bint datagram
    PeerName source, destination         # of ENDS_IPV4 and ENDS_IPV6
    # Where things are, counted from its first byte; of version 2 only.
    Py_ssize_t paths             # two of 108 bytes each; of ENDS_UNIX
    Py_ssize_t values, end       # its TLVs; equal without

cdef Py_ssize_t parse_header(const unsigned char* data, Py_ssize_t size, Py_ssize_t limit,
                             ProxyFields* fields) noexcept nogil
cdef str header_reason(int status)

cdef class HeaderTimeout(Timer):
    cdef ProxyHeader header      # None when it is over

cdef class ProxyHeader(Layer):
    cdef Acceptor server         # None when it is over
    cdef ProxyHeader before, after       # in the server's list of them
    cdef HeaderTimeout timeout
    cdef PeerName peer           # the connection's own
    cdef Py_ssize_t limit
    cdef unsigned char* kept     # what came of a header that is not whole
    cdef Py_ssize_t size, room
    cdef ProxyFields fields
    cdef bytes text              # the whole header

    cdef bint keep(self, const char* base, Py_ssize_t size) noexcept
    cdef void over(self, int status, const char* rest, Py_ssize_t size) noexcept
    cdef int begin(self, StreamHandle client, unsigned long long timeout) except? 1
    cdef tuple name_ends(self)

cdef ProxyHeader new_proxy_header(Acceptor server, const PeerName* peer, Py_ssize_t limit)
cdef int send_header(StreamHandle handle, bytes header) except? 1

"""PROXY headers (HAProxy's PROXY protocol, versions 1 and 2): the parser, and who waits for one.

Owns: what a header is; the wait of an accepted connection for its header; sending one first.  A
connection that waits belongs to its server, and has no other owner: the header decides who the peer
is, and whether there is to be one.  Imports: layer, tcp, timer and below.

The parser trusts nothing: it reads within `size`, makes no Python object, and says of each
beginning of a header that it may be one.  What follows a whole header is data, whatever it is.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp, memcpy, memset

from . cimport uv
from .address cimport PeerName, parse_plain, peer_tuple
from .emitter cimport EventEmitter
from .errors cimport os_error, seal, status_name
from .layer cimport Layer, add_layer, owner_calls, remove_layer
from .owner cimport Acceptor, HandleCalls, raised_call, status_call
from .stream_handle cimport StreamHandle
from .tcp cimport TCP
from .timer cimport Timer

cdef enum:
    V1_LONGEST = 107             # with its CR LF
    V2_START = 16                # signature, command, family, length
    UNIX_PATH = 108
    # Types of TLVs of which the parser knows more than their length.
    TLV_CHECKSUM = 0x03
    TLV_UNIQUE_ID = 0x05
    TLV_SSL = 0x20
    LONGEST_UNIQUE_ID = 128

cdef const char* _SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


# ---- CRC32c --------------------------------------------------------------------------------------

cdef uint32_t _crc_table[256]


cdef void _fill_table() noexcept:
    cdef uint32_t value
    cdef int index, _bit
    for index in range(256):
        value = index
        for _bit in range(8):
            value = value >> 1 ^ (0x82f63b78u if value & 1 else 0)
        _crc_table[index] = value


_fill_table()


cdef uint32_t _crc_of(uint32_t crc, const unsigned char* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t at
    for at in range(size):
        crc = _crc_table[(crc ^ data[at]) & 255] ^ crc >> 8
    return crc


def crc32c(data):
    """Return the CRC32c (Castagnoli) of bytes, an int."""
    # No typed memoryview: the code for those makes this module twice as large, and slow to import.
    cdef bytes text = bytes(data)
    return _crc_of(0xffffffffu, <const unsigned char*> text, len(text)) ^ 0xffffffffu


cdef bint _right_checksum(const unsigned char* data, Py_ssize_t size, Py_ssize_t at) noexcept nogil:
    """Whether the four bytes at `at` are the CRC32c of all, which is made with zeros there."""
    cdef unsigned char zeros[4]
    cdef uint32_t crc
    memset(zeros, 0, 4)
    crc = _crc_of(0xffffffffu, data, at)
    crc = _crc_of(crc, zeros, 4)
    crc = _crc_of(crc, data + at + 4, size - at - 4) ^ 0xffffffffu
    return crc == (<uint32_t>data[at] << 24 | <uint32_t>data[at + 1] << 16
                   | <uint32_t>data[at + 2] << 8 | data[at + 3])


# ---- Version 1 -----------------------------------------------------------------------------------

cdef bint _read_port(const unsigned char* text, Py_ssize_t length, unsigned short* port) noexcept \
        nogil:
    """Read a port as decimal digits without leading zeros."""
    cdef unsigned int value = 0
    cdef Py_ssize_t at
    if not 1 <= length <= 5 or length > 1 and text[0] == c"0":
        return False
    for at in range(length):
        if not c"0" <= text[at] <= c"9":
            return False
        value = value * 10 + text[at] - c"0"
    port[0] = <unsigned short>value
    return value <= 65535


cdef bint _read_line(const unsigned char* text, Py_ssize_t length, ProxyFields* fields) noexcept \
        nogil:
    """Read a header of version 1 behind `PROXY `, without its CR LF."""
    cdef const unsigned char* words[4]
    cdef Py_ssize_t lengths[4]
    cdef const unsigned char* end
    cdef Py_ssize_t at
    cdef int index, family
    if length >= 7 and memcmp(text, b"UNKNOWN", 7) == 0:
        # Whatever follows is to be ignored.
        return length == 7 or text[7] == c" "
    if length < 5 or memcmp(text, b"TCP", 3) != 0 or text[4] != c" ":
        return False
    if text[3] == c"4":
        family = 4
    elif text[3] == c"6":
        family = 6
    else:
        return False
    at = 5
    for index in range(4):
        words[index] = text + at
        end = <const unsigned char*>memchr(text + at, c" ", length - at)
        if (end is NULL) != (index == 3):
            return False
        lengths[index] = length - at if end is NULL else end - (text + at)
        at += lengths[index] + 1
    if not parse_plain(family, <const char*>words[0], lengths[0], fields.source.address) \
            or not parse_plain(family, <const char*>words[1], lengths[1],
                               fields.destination.address) \
            or not _read_port(words[2], lengths[2], &fields.source.port) \
            or not _read_port(words[3], lengths[3], &fields.destination.port):
        return False
    fields.source.family = fields.destination.family = <unsigned short>family
    fields.proxied = True
    fields.ends = family
    return True


cdef Py_ssize_t _parse_v1(const unsigned char* data, Py_ssize_t size,
                          ProxyFields* fields) noexcept nogil:
    cdef const unsigned char* end
    cdef Py_ssize_t length
    if memcmp(data, b"PROXY ", min(size, 6)) != 0:
        return HEADER_MALFORMED
    end = <const unsigned char*>memchr(data, c"\r", min(size, V1_LONGEST - 1))
    if end is NULL:
        return HEADER_PART if size < V1_LONGEST - 1 else HEADER_TOO_LONG
    length = end - data
    if length + 1 == size:
        return HEADER_PART
    if end[1] != c"\n" or length < 6 or not _read_line(data + 6, length - 6, fields):
        return HEADER_MALFORMED
    fields.version = 1
    return length + 2


# ---- Version 2 -----------------------------------------------------------------------------------

cdef void _read_end(const unsigned char* address, int family, const unsigned char* port,
                    PeerName* name) noexcept nogil:
    memcpy(name.address, address, 4 if family == 4 else 16)
    name.family = <unsigned short>family
    name.port = <unsigned short>(port[0] << 8 | port[1])


cdef int _check_values(const unsigned char* data, Py_ssize_t size, ProxyFields* fields) noexcept \
        nogil:
    """Check the TLVs; returns 0, or why not."""
    cdef Py_ssize_t at = fields.values, inner, length, checksum = 0
    while at < fields.end:
        if fields.end - at < 3:
            return HEADER_MALFORMED
        length = data[at + 1] << 8 | data[at + 2]
        if length > fields.end - at - 3:
            return HEADER_MALFORMED
        if data[at] == TLV_CHECKSUM:
            if length != 4 or checksum:
                return HEADER_MALFORMED
            checksum = at + 3
        elif data[at] == TLV_UNIQUE_ID:
            if length > LONGEST_UNIQUE_ID:
                return HEADER_MALFORMED
        elif data[at] == TLV_SSL:
            if length < 5:
                return HEADER_MALFORMED
            inner = at + 8
            while inner < at + 3 + length:
                if at + 3 + length - inner < 3:
                    return HEADER_MALFORMED
                inner += 3 + (data[inner + 1] << 8 | data[inner + 2])
            if inner > at + 3 + length:
                return HEADER_MALFORMED
        at += 3 + length
    if checksum and not _right_checksum(data, size, checksum):
        return HEADER_CHECKSUM
    return 0


cdef Py_ssize_t _parse_v2(const unsigned char* data, Py_ssize_t size, Py_ssize_t limit,
                          ProxyFields* fields) noexcept nogil:
    cdef Py_ssize_t whole, addresses
    cdef int family, transport, status
    if memcmp(data, _SIGNATURE, min(size, 12)) != 0:
        return HEADER_MALFORMED
    # Version and command, as soon as they are there.
    if size > 12 and data[12] != 0x20 and data[12] != 0x21:
        return HEADER_MALFORMED
    if size < V2_START:
        return HEADER_PART
    whole = V2_START + (data[14] << 8 | data[15])
    if whole > limit:
        return HEADER_TOO_LONG
    fields.version = 2
    fields.proxied = data[12] == 0x21
    if not fields.proxied:
        # The receiver has to skip the rest, the family included.
        return whole if size >= whole else HEADER_PART
    family, transport = data[13] >> 4, data[13] & 15
    if family > 3 or transport > 2:
        return HEADER_MALFORMED
    if not family or not transport:
        # A protocol that its sender has no name for: what follows cannot be known either.
        return whole if size >= whole else HEADER_PART
    addresses = 12 if family == 1 else 36 if family == 2 else 2 * UNIX_PATH
    if whole < V2_START + addresses:
        return HEADER_MALFORMED
    if size < whole:
        return HEADER_PART
    fields.datagram = transport == 2
    if family == 3:
        fields.ends = ENDS_UNIX
        fields.paths = V2_START
    else:
        fields.ends = ENDS_IPV4 if family == 1 else ENDS_IPV6
        addresses = 4 if family == 1 else 16
        _read_end(data + V2_START, fields.ends, data + V2_START + 2 * addresses, &fields.source)
        _read_end(data + V2_START + addresses, fields.ends,
                  data + V2_START + 2 * addresses + 2, &fields.destination)
        addresses = 2 * addresses + 4
    fields.values, fields.end = V2_START + addresses, whole
    status = _check_values(data, whole, fields)
    return status if status < 0 else whole


cdef Py_ssize_t parse_header(const unsigned char* data, Py_ssize_t size, Py_ssize_t limit,
                             ProxyFields* fields) noexcept nogil:
    """Return the length of the header that data begin with, or why they begin with none.

    size: at least 1. limit: HEADER_LEAST_LIMIT..HEADER_MOST_LIMIT; with so many bytes the answer is
    never HEADER_PART.
    """
    memset(fields, 0, sizeof(fields[0]))
    if data[0] == c"P":
        return _parse_v1(data, size, fields)
    return _parse_v2(data, size, limit, fields)


cdef str header_reason(int status):
    """What went wrong, for 'drop'."""
    if status == HEADER_MALFORMED:
        return "malformed"
    if status == HEADER_TOO_LONG:
        return "too long"
    if status == HEADER_CHECKSUM:
        return "checksum"
    if status == HEADER_LATE:
        return "late"
    if status == HEADER_ENDED:
        return "ended"
    if status == HEADER_UNTRUSTED:
        return "untrusted"
    return status_name(status)


def parse(data, Py_ssize_t limit):
    """Parse a header, as a connection's; for tests.

    Returns: the reason, a str; None if more has to come; or (length, version, command, source,
        destination, kind of transport, TLVs), where the ends are (address, port, family), bytes (of
        unix sockets) or None, and the TLVs are bytes.
    """
    cdef ProxyFields fields
    cdef Py_ssize_t length
    cdef bytes text = bytes(data)
    if not text:
        return None
    length = parse_header(<const unsigned char*> text, len(text), limit, &fields)
    if length < 0:
        return header_reason(<int>length)
    if not length:
        return None
    text = text[:length]
    return (length, fields.version, "PROXY" if fields.proxied else "LOCAL",
            *_ends_of(text, &fields), "dgram" if fields.datagram else "stream",
            text[fields.values:fields.end])


cdef tuple _ends_of(bytes text, ProxyFields* fields):
    """(source, destination) as a header has them."""
    if fields.ends == ENDS_UNIX:
        return _path(text, fields.paths), _path(text, fields.paths + UNIX_PATH)
    return peer_tuple(&fields.source), peer_tuple(&fields.destination)


cdef bytes _path(bytes text, Py_ssize_t at):
    """A path without the zeros behind it; that of an abstract socket begins with one."""
    cdef bytes field = text[at:at + UNIX_PATH]
    end = field.find(b"\0", 1)
    if end >= 0 and field[:1] != b"\0":
        return field[:end]
    return field.rstrip(b"\0")


# ---- Waiting for a header ------------------------------------------------------------------------

cdef class HeaderTimeout(Timer):
    cdef int fire(self) except -1:
        cdef ProxyHeader header = self.header
        self.header = None
        if header is not None:
            header.over(HEADER_LATE, NULL, 0)
        return 0

    cdef object whose(self):
        return None if self.header is None else self.header.server


cdef ProxyHeader new_proxy_header(Acceptor server, const PeerName* peer, Py_ssize_t limit):
    cdef ProxyHeader header = ProxyHeader.__new__(ProxyHeader)
    header.timeout = HeaderTimeout.__new__(HeaderTimeout)
    header.server = server
    header.limit = limit
    header.peer = peer[0]
    return header


cdef class ProxyHeader(Layer):
    """Keeps what an accepted connection sends until its header is whole, and tells its server.

    The handle has no other owner than the server meanwhile. What the server does then may run code
    of the program, and never raises: see Acceptor.header_over().
    """

    def __dealloc__(self):
        PyMem_RawFree(self.kept)

    cdef int begin(self, StreamHandle client, unsigned long long timeout) except? 1:
        """Wait for the header of a connection, so many ms at most; returns a libuv status."""
        cdef int status = client.watchable()
        if status < 0:
            return status
        self.timeout.loop = client.loop
        self.timeout.header = self
        # First, since it may raise.
        self.timeout.start(timeout)
        client.own(self.server, &_CALLS)
        add_layer(client, self, True)
        return client.read_start()

    cdef bint keep(self, const char* base, Py_ssize_t size) noexcept:
        """Keep bytes of the header; False: out of memory."""
        cdef Py_ssize_t room = self.room
        cdef void* grown
        if self.size + size > room:
            room = min(max(2 * room, 256, self.size + size), self.limit)
            grown = PyMem_RawRealloc(self.kept, room)
            if grown is NULL:
                return False
            self.kept, self.room = <unsigned char*>grown, room
        memcpy(self.kept + self.size, base, size)
        self.size += size
        return True

    cdef int read(self, const char* base, Py_ssize_t size) except -1:
        cdef const unsigned char* data = <const unsigned char*>base
        cdef Py_ssize_t had = self.size, length
        if self.server is None or not size:
            return 0
        if had:
            # What is over the limit is no header's.
            if not self.keep(base, min(size, self.limit - had)):
                self.over(uv.UV_ENOMEM, NULL, 0)
                return 0
            data = self.kept
        length = parse_header(data, self.size if had else size, self.limit, &self.fields)
        if length == HEADER_PART:
            if not had and not self.keep(base, size):
                self.over(uv.UV_ENOMEM, NULL, 0)
        elif length < 0:
            self.over(<int>length, NULL, 0)
        else:
            try:
                self.text = PyBytes_FromStringAndSize(<const char*>data, length)
            except MemoryError:
                pass
            if self.text is None:
                self.over(uv.UV_ENOMEM, NULL, 0)
            else:
                self.over(0, base + (length - had), size - (length - had))
        return 0

    cdef int read_ended(self, int status) except -1:
        self.over(HEADER_ENDED if status == uv.UV_EOF else status, NULL, 0)
        return 0

    cdef void over(self, int status, const char* rest, Py_ssize_t size) noexcept:
        """The header is whole, with data behind it, or there will be none (a status below 0)."""
        cdef Acceptor server = self.server
        if server is None:
            return
        self.server = None
        self.timeout.header = None
        self.timeout.cancel()
        server.header_over(self, status, rest, size)

    cdef void closed(self) noexcept:
        # As when the loop closes it.
        self.server = None
        self.timeout.header = None
        self.timeout.cancel()

    cdef tuple name_ends(self):
        """Let the connection's peer be who the header names; returns what the header says.

        Raises before anything has changed.
        """
        cdef PeerName here
        memset(&here, 0, sizeof(here))
        if isinstance(self.handle, TCP):
            (<TCP>self.handle).read_here(&here)
        ends = _ends_of(self.text, &self.fields)
        says = (self.text, self.fields.version, "PROXY" if self.fields.proxied else "LOCAL",
                *ends, self.fields.values, self.fields.end, peer_tuple(&here),
                peer_tuple(&self.peer))
        self.handle.peer = self.peer if self.fields.ends == ENDS_OWN else self.fields.source
        return says


cdef int _closed(EventEmitter owner, object handle, int status) except -1:
    return 0


cdef void _raised(EventEmitter owner, object handle, object exc) noexcept:
    (<StreamHandle>handle).loop.report(exc)


cdef HandleCalls _CALLS
memset(&_CALLS, 0, sizeof(_CALLS))
_CALLS.closed = <status_call><void*>_closed
_CALLS.read_raised = <raised_call><void*>_raised


# ---- Sending one ---------------------------------------------------------------------------------

cdef class ProxySender(Layer):
    """Takes the completion of the header's own write, which the owner knows nothing of."""

    cdef bint sent                     # that has come

    cdef int written(self, int status) except -1:
        cdef StreamHandle handle = self.handle
        if self.sent:
            return Layer.written(self, status)
        self.sent = True
        if handle is None or handle.closing or handle.owner is None:
            return 0
        if status < 0:
            return owner_calls(handle).lost(handle.owner, handle, os_error(status, "write"))
        return remove_layer(self)


cdef int send_header(StreamHandle handle, bytes header) except? 1:
    """Send a header on a connection that has just been made, before anything else.

    Returns a libuv status.
    """
    cdef Py_ssize_t taken
    cdef uv.uv_buf_t buf
    buf.base, buf.len = <char*>header, len(header)
    taken = handle.try_write(&buf, 1)
    if taken == uv.UV_EAGAIN:
        taken = 0
    if taken < 0 or taken == len(header):
        return <int>min(taken, 0)
    # What follows waits behind it in libuv's queue.
    add_layer(handle, ProxySender.__new__(ProxySender), True)
    buf.base += taken
    buf.len -= taken
    return handle.write(header, &buf, 1)


seal(HeaderTimeout)
seal(ProxyHeader)
seal(ProxySender)

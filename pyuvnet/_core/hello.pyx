"""hello: what the first message of a TLS client says, read before any cipher has begun.

A server chooses the certificate and the protocol by it, before the engine reads the same bytes.
Where two parsers read one message, the one that decides fails closed: what cannot be read here ends
the handshake, even if the engine could read it. Headers of records are not part of the handshake's
transcript, so anyone on the path can change them. What is read here is a superset of what the
engine accepts, and means the same: tests/reliability/hellos.py compares the two.  Imports: errors.
"""

from .errors cimport seal

cdef enum:
    HANDSHAKE_RECORD = 22
    CLIENT_HELLO = 1
    SERVER_NAME = 0
    ALPN = 16

# What the hello of a client may have at most, over all its records with their headers, and how many
# these may be: all of it is kept, and read again whenever more has come. BoringSSL takes 16 KiB.
LIMIT = 20480
MAX_RECORDS = 256
MAX_NAME = 255


cdef class _Reader:
    """A cursor in untrusted bytes."""

    cdef const unsigned char* at
    cdef Py_ssize_t left

    cdef Py_ssize_t number(self, int size) except -1:
        """The next number, big-endian, of 1 to 3 bytes."""
        cdef Py_ssize_t value = 0
        if self.left < size:
            raise ValueError("the hello ends early")
        self.left -= size
        while size:
            value = value << 8 | self.at[0]
            self.at += 1
            size -= 1
        return value

    cdef bytes vector(self, int size):
        """The next bytes, behind their count."""
        cdef Py_ssize_t length = self.number(size)
        if self.left < length:
            raise ValueError("the hello ends early")
        found = self.at[:length]
        self.at += length
        self.left -= length
        return found


cdef _Reader _reader(bytes data):
    cdef _Reader reader = _Reader.__new__(_Reader)
    reader.at = data
    reader.left = len(data)
    return reader


cpdef tuple read_hello(bytes data):
    """Read a ClientHello out of the first records of a connection.

    Args:
        data: all bytes that have come.

    Empty records are skipped, as OpenSSL does.

    Returns: (servername, protocols), a str or None and a list of str; None while bytes are missing.
    Raises: ValueError: this is none; OverflowError: it is longer than LIMIT, or in more parts than
        MAX_RECORDS.
    """
    cdef Py_ssize_t at = 0, size = len(data), length, total = -1, records = 0
    cdef const unsigned char* bytes_ = data
    cdef bytes message = b""
    while total < 0 or len(message) < total:
        if at < size and bytes_[at] != HANDSHAKE_RECORD:
            raise ValueError("no handshake record")
        if size - at < 5:
            if size - at > 1 and bytes_[at + 1] != 3:
                raise ValueError("no record of TLS")
            return None
        length = bytes_[at + 3] << 8 | bytes_[at + 4]
        if bytes_[at + 1] != 3 or length > 16384:
            raise ValueError("no record of TLS")
        if size - at < 5 + length:
            if at + 5 + length > LIMIT:
                raise OverflowError("the hello is too long")
            return None
        message += data[at + 5:at + 5 + length]
        at += 5 + length
        records += 1
        if records > MAX_RECORDS:
            raise OverflowError("the hello has too many parts")
        if message and message[0] != CLIENT_HELLO:
            raise ValueError("no ClientHello")
        if total < 0 and len(message) >= 4:
            total = 4 + (message[1] << 16 | message[2] << 8 | message[3])
            if total > LIMIT:
                raise OverflowError("the hello is too long")
    return _read_message(message[4:total])


cdef tuple _read_message(bytes message):
    cdef _Reader hello = _reader(message), extensions, inner
    cdef Py_ssize_t kind
    cdef str servername = None
    cdef list protocols = []
    if hello.left < 34:
        raise ValueError("the hello ends early")
    hello.at += 34                     # version and random
    hello.left -= 34
    hello.vector(1)                    # session
    hello.vector(2)                    # cipher suites
    hello.vector(1)                    # compression
    if not hello.left:
        return None, protocols
    block = hello.vector(2)
    extensions = _reader(block)
    while extensions.left:
        kind = extensions.number(2)
        body = extensions.vector(2)
        if kind == SERVER_NAME and body:
            names = _reader(body).vector(2)
            inner = _reader(names)
            while inner.left:
                if inner.number(1) == 0:
                    name = inner.vector(2)
                    if len(name) > MAX_NAME:
                        raise ValueError("the hello has a name that is too long")
                    if servername is None and name and 0 not in name:
                        servername = name.decode("latin-1")
                else:
                    inner.vector(2)
        elif kind == ALPN:
            names = _reader(body).vector(2)
            inner = _reader(names)
            while inner.left:
                protocols.append(inner.vector(1).decode("latin-1"))
    return servername, protocols


seal(_Reader)

"""Text encodings of streams; see encoding.pyx."""

cdef enum Encoding:
    ENC_UTF8
    ENC_ASCII
    ENC_LATIN1
    ENC_UTF16LE
    ENC_HEX
    ENC_BASE64
    ENC_BASE64URL
    ENC_BUFFER             # a name that Node takes with bytes, where it has no effect

cdef str encoding_name(object name)
cdef bytes encode(object given, object name)
cdef str decode(bytes chunk, str encoding)

cdef class Decoder:
    cdef readonly str encoding         # Node's canonical name
    cdef Encoding _kind
    cdef bytes _kept                   # the bytes of an unfinished character or group, or None

    cdef str decode(self, bytes chunk)
    cdef str decode_whole(self, const char* data, Py_ssize_t size)
    cdef str finish(self)
    cdef bytes kept(self)
    cdef void forget(self) noexcept

"""Text encodings of streams; see encoding.pyx."""

cdef str encoding_name(object name)
cdef bytes encode(str text, object name)

cdef class Decoder:
    cdef readonly str encoding         # Node's canonical name
    cdef object _incremental           # codecs' decoder for utf8 and utf16le, else None
    cdef bytes _kept                   # the last bytes of a base64 group, or b""

    cdef str decode(self, bytes chunk)
    cdef str finish(self)

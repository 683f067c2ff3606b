"""Node's encoding names, and text to bytes and back, incrementally where characters are split.

utf8, utf16le and latin1 are CPython's C functions, called directly.  hex and base64 are loops here:
Node's leniency (stop at the first bad pair; skip what is no digit, take both alphabets, stop at
the padding) costs nothing in the loop, and a pass over the text before CPython's codec otherwise.

Imports: nothing of ours but argument errors.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from .shared cimport GIL_DISABLED

from .._base.validation import unknown_encoding_error

cdef extern from "Python.h":
    object PyUnicode_DecodeUTF8(const char*, Py_ssize_t, const char*)
    object PyUnicode_DecodeUTF8Stateful(const char*, Py_ssize_t, const char*, Py_ssize_t*)
    object PyUnicode_DecodeUTF16Stateful(const char*, Py_ssize_t, const char*, int*, Py_ssize_t*)
    object PyUnicode_DecodeLatin1(const char*, Py_ssize_t, const char*)
    str PyUnicode_FromObject(object)
    bytes PyUnicode_AsUTF8String(object)
    bytes PyUnicode_AsLatin1String(object)
    object PyUnicode_New(Py_ssize_t, Py_UCS4)
    unsigned char* PyUnicode_1BYTE_DATA(object)
    int PyUnicode_KIND(object)
    void* PyUnicode_DATA(object)
    Py_UCS4 PyUnicode_READ(int, void*, Py_ssize_t)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    bint PyUnicode_IS_COMPACT_ASCII(object)

cdef enum:
    PADDING = 0x40
    NO_DIGIT = 0xff

cdef dict _names = {
    "utf8": "utf8", "utf-8": "utf8", "ascii": "ascii", "latin1": "latin1", "binary": "latin1",
    "hex": "hex", "base64": "base64", "base64url": "base64url", "ucs2": "utf16le",
    "ucs-2": "utf16le", "utf16le": "utf16le", "utf-16le": "utf16le", "buffer": "buffer", "": "utf8",
}
cdef dict _kinds = {
    "utf8": ENC_UTF8, "ascii": ENC_ASCII, "latin1": ENC_LATIN1, "utf16le": ENC_UTF16LE,
    "hex": ENC_HEX, "base64": ENC_BASE64, "base64url": ENC_BASE64URL, "buffer": ENC_BUFFER,
}
cdef const char* _hex_text = b"0123456789abcdef"
cdef const char* _base64_text = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
cdef const char* _base64url_text = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
cdef unsigned char[256] _hex_digit
cdef unsigned char[256] _base64_digit


cdef void _fill_tables() noexcept:
    cdef unsigned char value
    memset(_hex_digit, NO_DIGIT, sizeof(_hex_digit))
    memset(_base64_digit, NO_DIGIT, sizeof(_base64_digit))
    for value in range(16):
        _hex_digit[<unsigned char>_hex_text[value]] = value
        if value > 9:
            _hex_digit[_hex_text[value] - 32] = value
    for value in range(64):
        _base64_digit[<unsigned char>_base64_text[value]] = value
        _base64_digit[<unsigned char>_base64url_text[value]] = value
    _base64_digit[<unsigned char>b"="] = PADDING


_fill_tables()


cdef str encoding_name(object name):
    """Node's canonical name of an encoding; None and '' are utf8.

    Raises: ArgTypeError (ERR_UNKNOWN_ENCODING).
    """
    if name is None:
        return "utf8"
    known = _names.get(name) if isinstance(name, str) else None
    if known is None and isinstance(name, str):
        known = _names.get(name.lower())
    if known is None:
        raise unknown_encoding_error(name)
    return known


# ---- Text to bytes -----------------------------------------------------------------------------

cdef enum:
    REMEMBERED = 65536           # bytes, at most

# What was encoded last: a text that goes to many sockets is encoded once. Plain objects, which run
# no code when they are dropped. Without a GIL nothing is kept: two threads would mix the two.
cdef str _last_text = None
cdef bytes _last_bytes = None


cdef bytes _encoded(str text):
    """A text as UTF-8; raises for a lone surrogate."""
    global _last_text, _last_bytes
    cdef bytes made
    if PyUnicode_IS_COMPACT_ASCII(text):
        made = PyBytes_FromStringAndSize(<const char*>PyUnicode_1BYTE_DATA(text),
                                         PyUnicode_GET_LENGTH(text))
    else:
        made = PyUnicode_AsUTF8String(text)
    if not GIL_DISABLED and PyBytes_GET_SIZE(made) <= REMEMBERED:
        _last_text, _last_bytes = text, made
    return made


cdef bytes encode(object given, object name):
    """Encode text as Node's Buffer.from(text, encoding) does.

    Raises: ArgTypeError (ERR_UNKNOWN_ENCODING), also for 'buffer', which is for bytes only.
    """
    cdef Encoding kind = ENC_UTF8 if name is None else <Encoding>_kinds[encoding_name(name)]
    # The value of a subclass's, such as a StrEnum's: str() would call the program.
    cdef str text = given if PyUnicode_CheckExact(given) else PyUnicode_FromObject(given)
    if kind == ENC_UTF8:
        if not GIL_DISABLED and text is _last_text:
            return _last_bytes
        try:
            return _encoded(text)
        except UnicodeEncodeError:
            pass
        # Pairs of surrogates join to one character; a lone one becomes U+FFFD.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") \
            .encode("utf-8")
    if kind == ENC_LATIN1 or kind == ENC_ASCII:
        try:
            return PyUnicode_AsLatin1String(text)
        except UnicodeEncodeError:
            pass
        # The low eight bits of each UTF-16 unit, as Node takes them.
        return text.encode("utf-16-le", "surrogatepass")[::2]
    if kind == ENC_UTF16LE:
        return text.encode("utf-16-le", "surrogatepass")
    if kind == ENC_HEX:
        return _from_hex(text)
    if kind == ENC_BUFFER:
        raise unknown_encoding_error(name)
    return _from_base64(text)


cdef inline unsigned char _digit_at(const unsigned char* digits, int kind, void* data,
                                    Py_ssize_t index) noexcept:
    cdef Py_UCS4 character = PyUnicode_READ(kind, data, index)
    return digits[character] if character < 256 else NO_DIGIT


cdef bytes _from_hex(str text):
    cdef int kind = PyUnicode_KIND(text)
    cdef void* data = PyUnicode_DATA(text)
    cdef Py_ssize_t pairs = PyUnicode_GET_LENGTH(text) // 2, index
    cdef bytes made = PyBytes_FromStringAndSize(NULL, pairs)
    cdef char* out = PyBytes_AS_STRING(made)
    cdef unsigned char high, low
    for index in range(pairs):
        high = _digit_at(_hex_digit, kind, data, 2 * index)
        low = _digit_at(_hex_digit, kind, data, 2 * index + 1)
        if (high | low) > 15:
            return made[:index]
        out[index] = high << 4 | low
    return made


cdef bytes _from_base64(str text):
    """Digits of either alphabet up to the padding; the rest is skipped, a lone digit dropped."""
    cdef int kind = PyUnicode_KIND(text)
    cdef void* data = PyUnicode_DATA(text)
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), index, size = 0
    cdef bytes made = PyBytes_FromStringAndSize(NULL, (length * 3 + 3) // 4)
    cdef char* out = PyBytes_AS_STRING(made)
    cdef unsigned char digit
    cdef unsigned int group = 0, bits = 0
    for index in range(length):
        digit = _digit_at(_base64_digit, kind, data, index)
        if digit == NO_DIGIT:
            continue
        if digit == PADDING:
            break
        group = group << 6 | digit
        bits += 6
        if bits >= 8:
            bits -= 8
            out[size] = <char>(group >> bits & 255)
            size += 1
    return made if size == len(made) else made[:size]


# ---- Bytes to text -----------------------------------------------------------------------------

cdef str _to_hex(bytes chunk):
    cdef Py_ssize_t size = len(chunk), index
    cdef object made = PyUnicode_New(2 * size, 127)
    cdef unsigned char* out = PyUnicode_1BYTE_DATA(made)
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(chunk)
    if not size:
        return ""
    for index in range(size):
        out[2 * index] = _hex_text[data[index] >> 4]
        out[2 * index + 1] = _hex_text[data[index] & 15]
    return made


cdef str _to_ascii(bytes chunk):
    cdef Py_ssize_t size = len(chunk), index
    cdef object made = PyUnicode_New(size, 127)
    cdef unsigned char* out = PyUnicode_1BYTE_DATA(made)
    cdef const unsigned char* data = <const unsigned char*>PyBytes_AS_STRING(chunk)
    cdef uint64_t eight
    if not size:
        return ""
    for index in range(0, size - 7, 8):
        memcpy(&eight, data + index, 8)
        eight &= <uint64_t>0x7f7f7f7f7f7f7f7f
        memcpy(out + index, &eight, 8)
    for index in range(size & ~7, size):
        out[index] = data[index] & 127
    return made


cdef str _to_base64(const unsigned char* data, Py_ssize_t size, bint url):
    """Groups of four characters; the last one padded, or with the URL alphabet short."""
    cdef const char* digits = _base64url_text if url else _base64_text
    cdef Py_ssize_t rest = size % 3, whole = size - rest, index = 0
    cdef Py_ssize_t length = whole // 3 * 4 + (0 if not rest else rest + 1 if url else 4)
    cdef object made
    cdef unsigned char* out
    cdef unsigned int group
    if not size:
        return ""
    made = PyUnicode_New(length, 127)
    out = PyUnicode_1BYTE_DATA(made)
    while index < whole:
        group = data[index] << 16 | data[index + 1] << 8 | data[index + 2]
        out[0] = digits[group >> 18]
        out[1] = digits[group >> 12 & 63]
        out[2] = digits[group >> 6 & 63]
        out[3] = digits[group & 63]
        out += 4
        index += 3
    if rest:
        group = data[index] << 16 | (data[index + 1] << 8 if rest == 2 else 0)
        out[0] = digits[group >> 18]
        out[1] = digits[group >> 12 & 63]
        if rest == 2:
            out[2] = digits[group >> 6 & 63]
        elif not url:
            out[2] = b"="
        if not url:
            out[3] = b"="
    return made


cdef class Decoder:
    """Turns chunks into text; characters and groups split between chunks come whole.

    Args:
        encoding: name of an encoding, default 'utf8'.

    Raises: ArgTypeError (ERR_UNKNOWN_ENCODING).

    Node: string_decoder.StringDecoder
    """

    def __init__(self, encoding=None):
        cdef str known = encoding_name(encoding)
        if known == "buffer":
            raise unknown_encoding_error(encoding)
        self.encoding = known
        self._kind = <Encoding>_kinds[known]

    cdef str decode(self, bytes chunk):
        cdef Encoding kind = self._kind
        cdef Py_ssize_t size, used
        cdef int order = -1  # little endian
        cdef const char* data
        cdef str text
        if kind == ENC_LATIN1:
            return PyUnicode_DecodeLatin1(PyBytes_AS_STRING(chunk), len(chunk), NULL)
        if kind == ENC_HEX:
            return _to_hex(chunk)
        if kind == ENC_ASCII:
            return _to_ascii(chunk)
        if self._kept is not None:
            chunk = self._kept + chunk
            self._kept = None
        data = PyBytes_AS_STRING(chunk)
        size = used = len(chunk)
        if kind == ENC_UTF8:
            text = PyUnicode_DecodeUTF8Stateful(data, size, "replace", &used)
        elif kind == ENC_UTF16LE:
            text = PyUnicode_DecodeUTF16Stateful(data, size, "surrogatepass", &order, &used)
        else:
            used -= size % 3
            text = _to_base64(<const unsigned char*>data, used, kind == ENC_BASE64URL)
        if used < size:
            self._kept = chunk[used:]
        return text

    cdef str finish(self):
        """What an unfinished character or group gives at the end of the stream."""
        cdef bytes kept = self._kept
        if kept is None:
            return ""
        self._kept = None
        if self._kind == ENC_UTF8:
            # One U+FFFD for a character that was cut off, several if no character begins so.
            return kept.decode("utf-8", "replace")
        if self._kind == ENC_UTF16LE:
            # The first half of a pair comes alone; an odd byte is dropped.
            return kept[:len(kept) & ~1].decode("utf-16-le", "surrogatepass")
        return _to_base64(<const unsigned char*>PyBytes_AS_STRING(kept), len(kept),
                          self._kind == ENC_BASE64URL)

    cdef bytes kept(self):
        """The bytes of an unfinished character or group."""
        return b"" if self._kept is None else self._kept

    cdef void forget(self) noexcept:
        """Begin anew, without them."""
        self._kept = None

    cdef str decode_whole(self, const char* data, Py_ssize_t size):
        """The text of bytes that belong to nothing before or behind them, such as a frame.

        A character that is cut off at the end gives U+FFFD.
        """
        cdef Decoder alone
        cdef Py_ssize_t whole = size & ~1
        cdef str text
        if self._kind == ENC_UTF8:
            return PyUnicode_DecodeUTF8(data, size, "replace")
        if self._kind == ENC_LATIN1:
            return PyUnicode_DecodeLatin1(data, size, NULL)
        if self._kind == ENC_UTF16LE and whole and data[whole - 1] & 0xfc == 0xd8:
            # The first half of a pair.
            whole -= 2
        elif self._kind != ENC_UTF16LE:
            whole = size
        alone = Decoder.__new__(Decoder)
        alone._kind = self._kind
        text = alone.decode(PyBytes_FromStringAndSize(data, whole)) + alone.finish()
        return text if whole == size else text + "\ufffd"

    def write(self, bytes chunk not None):
        """Return the text that is whole so far. Node: stringDecoder.write()"""
        return self.decode(chunk)

    def end(self):
        """Return what is left, and begin anew. Node: stringDecoder.end()"""
        return self.finish()


cdef str decode(bytes chunk, str encoding):
    """Decode bytes as Node's buffer.toString(encoding) does: they belong to nothing around them."""
    cdef Decoder alone = Decoder(encoding)
    return alone.decode(chunk) + alone.finish()


def encode_text(text, encoding=None):
    """Return text as bytes, as a stream writes it.

    Raises: ArgTypeError (ERR_UNKNOWN_ENCODING).

    Node: Buffer.from(text, encoding)
    """
    return encode(text, encoding)

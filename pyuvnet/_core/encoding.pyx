"""Node's encoding names, and text to bytes and back, incrementally where characters are split.

Imports: nothing of ours but argument errors.  Python's codecs do the work; Node's leniency for
hex and base64 is added here.
"""

import binascii
import codecs
import re

from .._validate import unknown_encoding_error

cdef dict _names = {
    "utf8": "utf8", "utf-8": "utf8", "ascii": "ascii", "latin1": "latin1", "binary": "latin1",
    "hex": "hex", "base64": "base64", "base64url": "base64url", "ucs2": "utf16le",
    "ucs-2": "utf16le", "utf16le": "utf16le", "utf-16le": "utf16le", "buffer": "buffer",
}
cdef object _hex_pairs = re.compile(r"(?:[0-9a-fA-F]{2})*")
cdef object _not_base64 = re.compile(r"[^A-Za-z0-9+/]")
cdef dict _from_url = {45: "+", 95: "/"}


cdef str encoding_name(object name):
    """Node's canonical name of an encoding; None is utf8.

    Raises: ArgTypeError (ERR_UNKNOWN_ENCODING).
    """
    if name is None:
        return "utf8"
    known = _names.get(name.lower()) if isinstance(name, str) else None
    if known is None:
        raise unknown_encoding_error(name)
    return known


cdef bytes encode(str text, object name):
    """Encode text as Node's Buffer.from(text, encoding) does."""
    cdef str known = "utf8" if name is None else encoding_name(name)
    if known == "utf8" or known == "buffer":
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:
            # Pairs of surrogates join to one character; a lone one becomes U+FFFD.
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") \
                .encode("utf-8")
    if known == "latin1" or known == "ascii":
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            # The low eight bits of each UTF-16 unit, as Node takes them.
            return text.encode("utf-16-le", "surrogatepass")[::2]
    if known == "utf16le":
        return text.encode("utf-16-le", "surrogatepass")
    if known == "hex":
        return bytes.fromhex(_hex_pairs.match(text).group())
    # Both alphabets are taken; decoding ends at the padding; a group of one digit is dropped.
    digits = _not_base64.sub("", text.partition("=")[0].translate(_from_url))
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + "=" * (-len(digits) % 4))


cdef class Decoder:
    """Turns chunks into text; characters split between chunks come whole."""

    def __init__(self, name):
        self.encoding = encoding_name(name)
        self._kept = b""
        if self.encoding == "utf8" or self.encoding == "buffer":
            self._incremental = codecs.getincrementaldecoder("utf-8")("replace")
        elif self.encoding == "utf16le":
            self._incremental = codecs.getincrementaldecoder("utf-16-le")("surrogatepass")

    cdef str decode(self, bytes chunk):
        if self._incremental is not None:
            return self._incremental.decode(chunk)
        if self.encoding == "latin1":
            return chunk.decode("latin-1")
        if self.encoding == "ascii":
            return chunk.translate(_seven_bits).decode("ascii")
        if self.encoding == "hex":
            return chunk.hex()
        if self._kept:
            chunk = self._kept + chunk
        whole = len(chunk) - len(chunk) % 3
        self._kept = chunk[whole:]
        return self._base64(chunk[:whole])

    cdef str finish(self):
        """What an incomplete character leaves at the end of the stream."""
        if self.encoding == "utf8":
            return self._incremental.decode(b"", True)
        if self._incremental is None and self._kept:
            kept, self._kept = self._kept, b""
            return self._base64(kept)
        return ""

    def _base64(self, data):
        text = binascii.b2a_base64(data, newline=False).decode("ascii")
        if self.encoding == "base64url":
            return text.translate({43: "-", 47: "_"}).rstrip("=")
        return text


cdef bytes _seven_bits = bytes([value & 127 for value in range(256)])

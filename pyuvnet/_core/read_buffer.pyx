"""The buffer of a stream's readable half: what was read and has not been handed out.

It has one of two forms, which r_transforms tells, and r_length is what it holds:

* Items, as they came: r_chunks, a list of bytes, or of str once there is a decoder.  Items before
  r_head are gone, and r_skip is how much of the first is.
* Bytes in one piece of memory: r_cutter, with R_FRAMES for a framing, which cuts and decodes an
  item when it is handed out, or with R_READERS for the readers of reading.pyx, which take any
  number.

Only this file changes the form, and the readable half decides when.  What may fail comes first:
without memory for it, nothing has changed.  No code of the program runs in here, except that
b_keep_items() wakes readers: the garbage collector is held wherever a finaliser that reads must not
meet half a change.

Imports: stream, encoding, framing.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from .capi cimport hold_collector, list_of, release_collector
from .debug cimport UVNET_DEBUG
from .encoding cimport Decoder, encode
from .framing cimport Cutter, work
from .stream cimport R_DECODES, R_ENDED, R_FRAMES, R_PUSHED_SOURCE, R_READERS, Stream, StreamExtra

cdef enum:
    JOIN_AFTER = 64              # so many items of a socket stay as they came,
    JOIN_SIZE = 4096             # those behind them are joined up to this size


# ---- In ----------------------------------------------------------------------------------------

cdef int b_add(Stream s, object item, Py_ssize_t size) except -1:
    """Put an item of this size behind the others."""
    cdef StreamExtra rare
    if s._rare.r_chunks is None:
        rare = s.own_extra()
        rare.r_chunks = list_of(item)
        rare.r_head = rare.r_skip = 0
    else:
        s._rare.r_chunks.append(item)
        if s._state & R_PUSHED_SOURCE and len(s._rare.r_chunks) - s._rare.r_head > JOIN_AFTER:
            _join_last(s)
    s.r_length += size
    return 0


cdef int b_add_bytes(Stream s, const char* base, Py_ssize_t size) except -1:
    """Put bytes behind the others, in a buffer of bytes."""
    s._rare.r_cutter.append(base, size)
    s.r_length = s._rare.r_cutter.size()
    return 0


cdef int b_put_back(Stream s, object item) except -1:
    """Put an item, which is not empty, in front of all that is there."""
    if s.r_transforms & (R_FRAMES | R_READERS):
        s._rare.r_cutter.unshift(PyBytes_AS_STRING(item), PyBytes_GET_SIZE(item))
        s.r_length = s._rare.r_cutter.size()
        return 0
    if s._rare.r_chunks is None:
        return b_add(s, item, len(item))
    _cut_first(s)
    if s._rare.r_head:
        s._rare.r_head -= 1
        s._rare.r_chunks[s._rare.r_head] = item
    else:
        s._rare.r_chunks.insert(0, item)
    s.r_length += len(item)
    return 0


cdef int _join_last(Stream s) except -1:
    """Join small items at the end of the buffer, so that a peer does not choose what they cost.

    An object takes 50 bytes for the two that a segment may bring. Items of similar size are joined,
    as in a binary counter: each byte is copied a few times at most, and beyond the first
    JOIN_AFTER, which stay as they came, there are as many small items as doublings up to JOIN_SIZE.
    """
    cdef list chunks = s._rare.r_chunks
    cdef Py_ssize_t last = len(chunks) - 1
    cdef Py_ssize_t size = len(chunks[last]), before
    while last - s._rare.r_head > JOIN_AFTER:
        before = len(chunks[last - 1])
        if before > 2 * size or before + size > JOIN_SIZE:
            break
        try:
            chunks[last - 1] = chunks[last - 1] + chunks[last]
        except MemoryError:
            # Both are still there.
            size = JOIN_SIZE
        if size == JOIN_SIZE:
            break
        chunks.pop()
        last -= 1
        size += before
    return 0


# ---- Out ---------------------------------------------------------------------------------------

cdef object b_take(Stream s, bint frames, Py_ssize_t size):
    """Take this much from the front, or with a framing the frame that the cutter has found.

    Returns None if the form of the buffer has changed so that there is nothing to take.
    """
    cdef Cutter cutter = s._rare.r_cutter
    cdef object item
    cdef int held
    if frames:
        if s.r_transforms & R_DECODES:
            item = s._rare.r_decoder.decode_whole(cutter._data + cutter._offset, cutter._length)
        else:
            item = PyBytes_FromStringAndSize(cutter._data + cutter._offset, cutter._length)
        cutter.consume()
        s.r_length = cutter.size()
    elif s._rare.r_chunks is not None:
        held = hold_collector()
        try:
            item = _take_items(s, size)
        finally:
            release_collector(held)
        s.r_length -= size
    elif s.r_transforms & R_READERS:
        # What stays is not copied each time.
        item = PyBytes_FromStringAndSize(cutter._data, size)
        cutter.take(size)
        s.r_length = cutter.size()
    else:
        return None
    s._rare.r_awaiting = None
    return item


cdef object _take_items(Stream s, Py_ssize_t size):
    cdef list chunks = s._rare.r_chunks
    cdef list taken
    cdef object first = chunks[s._rare.r_head], made
    cdef Py_ssize_t skip = s._rare.r_skip, head = s._rare.r_head, have = len(first) - skip
    if size < have:
        # What is left of an item is not copied each time.
        made = first[skip:skip + size]
        s._rare.r_skip += size
        return made
    if size == have:
        made = first[skip:] if skip else first
        head += 1
        skip = 0
    else:
        taken = []
        while size:
            made = chunks[head]
            have = len(made) - skip
            if have > size:
                taken.append(made[skip:skip + size])
                skip += size
                break
            taken.append(made[skip:] if skip else made)
            head += 1
            skip = 0
            size -= have
        made = ("" if isinstance(first, str) else b"").join(taken)
    s._rare.r_skip = skip
    if head == len(chunks):
        s._rare.r_chunks = None
        s._rare.r_head = 0
        return made
    for have in range(s._rare.r_head, head):
        chunks[have] = None
    s._rare.r_head = head
    if head >= 64 and 2 * head >= len(chunks):
        # Moving up the rest at intervals costs a constant share for each item.
        try:
            del chunks[:head]
            s._rare.r_head = 0
        except MemoryError:
            pass
    return made


cdef bytes b_take_all(Stream s):
    """Take everything out as bytes, in whatever form it is there."""
    cdef Cutter cutter
    cdef bytes data
    if not s.r_transforms & (R_FRAMES | R_READERS):
        if not s.r_length and s._rare.r_decoder is None:
            return b""
        b_keep_bytes(s)
    cutter = s._rare.r_cutter
    cutter.settle()
    data = PyBytes_FromStringAndSize(cutter._data, cutter._size) if cutter._size else b""
    cutter.clear()
    s.r_length = 0
    return data


cdef void b_begin_anew(Stream s) noexcept:
    """Forget everything that a former connection has left; the caller holds the items."""
    if s._rare.r_chunks is not None:
        s._rare.r_chunks = None
        s._rare.r_head = s._rare.r_skip = 0
    if s._rare.r_cutter is not None:
        s._rare.r_cutter.clear()
    s.r_length = 0


# ---- From one form to the other ----------------------------------------------------------------

cdef int b_decode(Stream s, Decoder decoder) except -1:
    """Decode what is there, and what comes; in a buffer of bytes, only what is handed out."""
    cdef str text
    cdef list texts = [], chunks = None, before = s._rare.r_chunks
    cdef Py_ssize_t index
    cdef int held = hold_collector()
    try:
        if before is not None and not s.r_transforms & R_FRAMES:
            _cut_first(s)
            for index in range(s._rare.r_head, len(before)):
                chunk = before[index]
                texts.append(chunk if isinstance(chunk, str) else decoder.decode(chunk))
            text = "".join(texts)
            if text:
                chunks = [text]
            s._rare.r_chunks = chunks
            s._rare.r_head = 0
            s.r_length = len(text)
        s.own_extra().r_decoder = decoder
        s.r_transforms |= R_DECODES
    finally:
        release_collector(held)
    return 0


cdef Cutter b_cutter(Stream s):
    """The stream's memory for bytes, which is made here if there is none yet."""
    cdef Cutter cutter
    if s._rare.r_cutter is None:
        cutter = Cutter.__new__(Cutter)
        # Creating it may have run a finaliser, which has got here first.
        if s._rare.r_cutter is None:
            s.own_extra().r_cutter = cutter
    return s._rare.r_cutter


cdef int b_keep_bytes(Stream s) except -1:
    """Let the buffer be one piece of memory from now on, for the readers of reading.pyx."""
    cdef Cutter cutter
    if s.r_transforms & R_READERS:
        return 0
    cutter = b_cutter(s)
    return _to_bytes(s, cutter, R_READERS)


cdef int b_keep_items(Stream s) except -1:
    """Let the buffer be items again, if it is one piece of memory for readers."""
    cdef int held
    if not s.r_transforms & R_READERS:
        return 0
    held = hold_collector()
    try:
        _to_items(s, s._rare.r_cutter)
    finally:
        release_collector(held)
    return s._wake_readers()


cdef int b_begin_frames(Stream s) except -1:
    """Let the buffer be bytes that a framing cuts; the cutter is there."""
    return 0 if s.r_transforms & R_FRAMES else _to_bytes(s, s._rare.r_cutter, R_FRAMES)


cdef int b_end_frames(Stream s) except -1:
    """Take the framing away. The bytes stay where they are until they are read as an item."""
    cdef Cutter cutter = s._rare.r_cutter
    cdef int held
    if not s.r_transforms & R_FRAMES:
        return 0
    held = hold_collector()
    try:
        if s._rare.r_decoder is not None or not cutter.size():
            return _to_items(s, cutter)
        cutter.settle()
        s.r_length = cutter.size()
        s.r_transforms = (s.r_transforms & ~R_FRAMES) | R_READERS
    finally:
        release_collector(held)
    return 0


cdef int _to_items(Stream s, Cutter cutter) except -1:
    """Make one item of the bytes."""
    cdef object item = None
    cdef list chunks = None
    cdef Decoder decoder = None
    if cutter.size():
        cutter.settle()
        item = PyBytes_FromStringAndSize(cutter._data, cutter._size)
        if UVNET_DEBUG:
            work.moved += cutter._size
    if s._rare.r_decoder is not None:
        decoder = Decoder(s._rare.r_decoder.encoding)
        if item is not None:
            item = decoder.decode(item)
            if s._state & R_ENDED:
                item += decoder.finish()
    if item is not None and len(item):
        chunks = list_of(item)
    s._rare.r_chunks = chunks
    s._rare.r_head = s._rare.r_skip = 0
    s.r_length = 0 if chunks is None else len(item)
    if decoder is not None:
        s._rare.r_decoder = decoder
    s.r_transforms &= ~(R_FRAMES | R_READERS)
    cutter.clear()
    return 0


cdef int _to_bytes(Stream s, Cutter cutter, unsigned char why) except -1:
    """Make one piece of memory of the items; `why` is R_FRAMES or R_READERS."""
    cdef bytes rest
    cdef list _before = s._rare.r_chunks
    cdef Py_ssize_t index
    cdef int held
    if s.r_transforms & R_READERS:
        # It is one already.
        s.r_transforms = (s.r_transforms & ~R_READERS) | why
        return 0
    held = hold_collector()
    try:
        cutter.clear()
        if _before is not None:
            _cut_first(s)
            for index in range(s._rare.r_head, len(_before)):
                chunk = _before[index]
                if isinstance(chunk, str):
                    chunk = encode(chunk, s._rare.r_decoder.encoding)
                rest = chunk
                cutter.append(PyBytes_AS_STRING(rest), len(rest))
        if s._rare.r_decoder is not None:
            # The beginning of a character is not text yet, but these bytes have come.
            rest = s._rare.r_decoder.kept()
            cutter.append(PyBytes_AS_STRING(rest), len(rest))
        s._rare.r_chunks = None
        s._rare.r_head = s._rare.r_skip = 0
        s.r_length = cutter.size()
        if s._rare.r_decoder is not None:
            s._rare.r_decoder.forget()
        s.r_transforms |= why
    except BaseException:
        # The items are still in the buffer.
        cutter.clear()
        raise
    finally:
        release_collector(held)
    return 0


cdef inline int _cut_first(Stream s) except -1:
    """Make the first item what is left of it."""
    cdef object first
    if s._rare.r_skip:
        # The name keeps it until this is done: it may be an object of the program.
        first = s._rare.r_chunks[s._rare.r_head]
        s._rare.r_chunks[s._rare.r_head] = first[s._rare.r_skip:]
        s._rare.r_skip = 0
    return 0

"""Framings written down from their description: slow, and plain enough to be seen right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyuvnet import framing


@dataclass
class Model:
    """What a flowing stream hands out of the bytes that it is given, all at once.

    said: bytes for a frame, ("oversize", size), or ("error", code).
    """

    framing: Any
    data: bytes = b""
    ended: bool = False
    dead: bool = False
    said: list[Any] = field(default_factory=list)

    def next(self) -> Any:
        """Take the next frame, or what comes in its place, off the data; None: nothing yet."""
        form, data = self.framing, self.data
        if form is None:
            self.data = b""
            return data or None
        if isinstance(form, framing.Lines):
            return self._line(form)
        start, length = self._prefix(form)
        if length is None:
            return self._fail("ERR_FRAME_INCOMPLETE") if self.ended and data else None
        if length > getattr(form, "limit", length):
            return self._fail("ERR_FRAME_TOO_LONG")
        if len(data) < start + length:
            return self._fail("ERR_FRAME_INCOMPLETE") if self.ended and data else None
        self.data = data[start + length :]
        return data[: start + length] if self.whole else data[start : start + length]

    def _prefix(self, form: Any) -> tuple[int, int | None]:
        """Where the payload begins, and its length, None if that is not known yet."""
        data, self.whole = self.data, False
        if isinstance(form, framing.Fixed):
            return 0, form.size
        if isinstance(form, framing.VarintPrefix):
            for index, byte in enumerate(data):
                value = sum((data[at] & 127) << 7 * at for at in range(index + 1))
                if byte < 128 or value > form.limit:
                    return index + 1, value
            return 0, None
        size = form.size
        if len(data) < size:
            return 0, None
        if isinstance(form, framing.Header):
            self.whole = True
            follows = form.length(data[:size])
            return size, follows if size + follows <= form.limit else form.limit + 1
        length = int.from_bytes(data[:size], form.byteorder)
        return size, length - size if form.includes_itself else length

    def _line(self, form: Any) -> Any:
        line, mark, rest = self.data.partition(form.delimiter)
        if not mark and not (self.ended and line):
            # Over the limit for certain, whatever comes: all but what may begin the delimiter.
            ends = [form.delimiter[:size] for size in range(len(form.delimiter))]
            ends += [b"\r"] * (form.delimiter == b"\n" and form.strip_cr)
            held = max(len(end) for end in ends if line.endswith(end))
            if len(line) - held > form.limit and form.oversize == "error":
                return self._fail("ERR_FRAME_TOO_LONG")
            return None
        payload = line
        if mark == b"\n" and form.strip_cr:
            payload = line.removesuffix(b"\r")
        if len(payload) > form.limit and form.oversize == "error":
            return self._fail("ERR_FRAME_TOO_LONG")
        self.data = rest
        if len(payload) > form.limit:
            return "oversize", len(line + mark)
        return line + mark if form.keep_delimiter else payload

    def _fail(self, code: str) -> Any:
        self.dead = True
        return "error", code

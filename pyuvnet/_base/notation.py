"""How a Python value is shown in JavaScript notation, as Node's texts of errors end with it.

Imports nothing of ours. Nothing here changes a value; only the makers of error texts call it.

Node has two notations. `inspect` says what kind of value it is, for a value of a wrong type:
`Received type string ('x')`. `notation` writes the value itself, for a value out of range:
`Received 'x'`. Python's types count as the JavaScript ones which they stand for in this package:
None is undefined, any mapping Object, list and tuple Array, bytes Buffer, set Set. A bool is no
number.
"""

from __future__ import annotations

# Python has loaded this one already; collections.abc would load all of collections.
from _collections_abc import Mapping

from . import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeGuard

# The integers which a JavaScript number holds exactly lie between these.
MAX_SAFE_INTEGER = 2**53 - 1
MIN_SAFE_INTEGER = -(2**53 - 1)

_INFINITY = float("inf")


# Numbers


def to_float(value: int | float) -> float:
    """Return the float nearest to a number; one too large for it is infinite."""
    try:
        return float(value)
    except OverflowError:
        return _INFINITY if value > 0 else -_INFINITY


def number_text(value: int | float) -> str:
    """Write a number as JavaScript does."""
    if isinstance(value, int) and MIN_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return int.__repr__(value)
    number = to_float(value)
    if number != number:
        return "NaN"
    if number in (_INFINITY, -_INFINITY):
        return "Infinity" if number > 0 else "-Infinity"
    # Both languages write the shortest digits which read back as the same number, and differ in
    # when they use an exponent: JavaScript from 1e21 up and below 1e-6.
    mantissa, _, exponent = float.__repr__(number).partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    if fraction == "0":
        fraction = ""
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    significant = digits.lstrip("0")
    point -= len(digits) - len(significant)
    significant = significant.rstrip("0")
    if not significant:
        return sign + "0"
    if len(significant) <= point <= 21:
        return sign + significant + "0" * (point - len(significant))
    if 0 < point <= 21:
        return f"{sign}{significant[:point]}.{significant[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{significant}"
    tail = f".{significant[1:]}" if len(significant) > 1 else ""
    return f"{sign}{significant[0]}{tail}e{point - 1:+d}"


# Strings


def _is_surrogate(char: str) -> bool:
    return "\ud800" <= char <= "\udfff"


def cut(text: str, limit: int) -> str:
    """Return the first `limit` UTF-16 units of a text, which is how JavaScript counts."""
    if len(text) * 2 <= limit:
        return text
    units = text[:limit].encode("utf-16-le", "surrogatepass")[: limit * 2]
    return units.decode("utf-16-le", "surrogatepass")


def units(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text)


def no_surrogates(text: str) -> str:
    """Escape unpaired surrogates, which Python could not print."""
    if not any(map(_is_surrogate, text)):
        return text
    return "".join(f"\\u{ord(char):04x}" if _is_surrogate(char) else char for char in text)


_JSON_ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(32)},
    8: "\\b",
    9: "\\t",
    10: "\\n",
    12: "\\f",
    13: "\\r",
    34: '\\"',
    92: "\\\\",
}
_QUOTED_ESCAPES = {
    **{code: f"\\x{code:02X}" for code in (*range(32), *range(0x7F, 0xA0))},
    8: "\\b",
    9: "\\t",
    10: "\\n",
    12: "\\f",
    13: "\\r",
    92: "\\\\",
}


def _quoted(text: str) -> str:
    """Write a string with the quotes which need no escape, as `util.inspect` does."""
    quote = "'"
    if "'" in text:
        if '"' not in text:
            quote = '"'
        elif "`" not in text and "${" not in text:
            quote = "`"
    text = text.translate(_QUOTED_ESCAPES)
    if quote == "'":
        text = text.replace("'", "\\'")
    return f"{quote}{no_surrogates(text)}{quote}"


# What was received


_CLASSES: dict[type, str] = {
    list: "Array",
    tuple: "Array",
    bytes: "Buffer",
    bytearray: "Buffer",
    memoryview: "Buffer",
    set: "Set",
    frozenset: "Set",
}


def _function_name(value: object) -> str:
    name = getattr(value, "__name__", None)
    # Python names a lambda '<lambda>', JavaScript leaves it without a name.
    return name if isinstance(name, str) and name != "<lambda>" else ""


def _class_name(value: object) -> str:
    """Name the class of an object as JavaScript would."""
    if is_mapping(value):
        return "Object"
    return _CLASSES.get(type(value), type(value).__name__)


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Return whether value can be read like a dict."""
    return isinstance(value, (dict, Mapping))


def _is_function(value: object) -> bool:
    """Return whether value is a function or class, rather than an object which can be called."""
    if isinstance(value, type):
        return True
    kind = type(value).__name__
    return callable(value) and (
        kind in ("function", "method", "builtin_function_or_method", "cython_function_or_method")
        or kind in ("method-wrapper", "method_descriptor", "wrapper_descriptor", "partial")
    )


def inspect(value: object) -> str:
    """Say what was received where another type was expected, such as `Received undefined`.

    Args:
        value: anything.

    Node: the end of the text of ERR_INVALID_ARG_TYPE
    """
    if value is None:
        return "Received undefined"
    if isinstance(value, bool):
        return f"Received type boolean ({'true' if value else 'false'})"
    if isinstance(value, (int, float)):
        return f"Received type number ({number_text(value)})"
    if isinstance(value, str):
        if units(value) > 28:
            value = cut(value, 25) + "..."
        quoted = f'"{value.translate(_JSON_ESCAPES)}"' if "'" in value else f"'{value}'"
        return f"Received type string ({no_surrogates(quoted)})"
    if _is_function(value):
        return f"Received function {_function_name(value)}"
    return f"Received an instance of {_class_name(value)}"


def notation(value: object, depth: int = 2) -> str:
    """Write a value as JavaScript's `util.inspect` does, such as `'abc'`.

    Objects are shown by their public attributes. Lists of more than six items are not set in
    columns, as Node would.

    Args:
        value: anything.
        depth: how many levels of objects within objects are shown.

    Node: util.inspect(value)
    """
    return _Notation(depth).of(value, 0)


# The measures of util.inspect: the widest line with what it counts on top of the text, the longest
# string, the most items of a list and bytes of a buffer.
_WIDTH = 80
_MARGIN = 10
_CHARACTERS = 10000
_ITEMS = 100
_BYTES = 50


class _Notation:
    """Writes one value in JavaScript notation.

    `open` holds the ids of the objects around the present one, `marks` a number for each of them
    which also occurs inside itself.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.open: list[int] = []
        self.marks: dict[int, int] = {}

    def of(self, value: object, indent: int) -> str:
        """Write any value, two columns of indent per level."""
        if value is None:
            return "undefined"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return number_text(value)
        if isinstance(value, str):
            return _lines_quoted(value, indent)
        if _is_function(value):
            return _function_notation(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return _buffer_notation(value)
        if isinstance(value, BaseException):
            return _exception_notation(value)
        return self.object(value, indent)

    def object(self, value: object, indent: int) -> str:
        """Write an object with its items, or the name of its class if it is too deep inside."""
        key = id(value)
        if key in self.open:
            mark = self.marks.setdefault(key, len(self.marks) + 1)
            return f"[Circular *{mark}]"
        opening, closing, items = _parts(value)
        if not items:
            return opening + closing
        if len(self.open) > self.depth:
            return f"[{_class_name(value)}]"
        self.open.append(key)
        lines = [name + self.of(item, indent + 2) for name, item in items[:_ITEMS]]
        self.open.pop()
        more = len(items) - len(lines)
        if more:
            lines.append(f"... {more} more item{_plural(more)}")
        mark = self.marks.get(key, 0)
        reference = f"<ref *{mark}>" if mark else ""
        width = sum(map(units, lines)) + 2 * len(lines) + indent + _MARGIN
        if mark:
            opening = f"{reference} {opening}"
            width -= 1
        if width + len(opening) <= _WIDTH and not any("\n" in line for line in lines):
            return f"{opening} {', '.join(lines)} {closing}"
        space = "\n" + " " * indent
        return f"{opening}{space}  {f',{space}  '.join(lines)}{space}{closing}"


def _parts(value: object) -> tuple[str, str, Sequence[tuple[str, object]]]:
    """Return the opening and closing bracket of an object, and its items with their keys."""
    if is_mapping(value):
        return "{", "}", [(_key(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        prefix = "" if type(value) in (list, tuple) else f"{type(value).__name__}({len(value)}) "
        return prefix + "[", "]", [("", item) for item in value]
    if isinstance(value, (set, frozenset)):
        return f"Set({len(value)}) {{", "}", [("", item) for item in value]
    fields = getattr(value, "__dict__", None)
    shown: list[tuple[str, object]] = []
    if type(fields) is dict:
        shown = [(_key(key), item) for key, item in fields.items() if key[:1] != "_"]
    return f"{type(value).__name__} {{", "}", shown


def _plural(count: int) -> str:
    return "" if count == 1 else "s"


def _lines_quoted(text: str, indent: int) -> str:
    """Write a string; a long one with line breaks as a sum of its lines."""
    size = units(text)
    tail = ""
    if size > _CHARACTERS:
        text = cut(text, _CHARACTERS)
        more = size - _CHARACTERS
        tail = f"... {more} more character{_plural(more)}"
    lines = [text]
    if size > _WIDTH - indent - 4:
        lines = text.split("\n")
        lines = [line + "\n" for line in lines[:-1]] + lines[-1:]
        if not lines[-1]:
            del lines[-1]
    return f" +\n{' ' * (indent + 2)}".join(map(_quoted, lines)) + tail


def _buffer_notation(value: bytes | bytearray | memoryview) -> str:
    data = value.tobytes() if isinstance(value, memoryview) else value
    text = f"<Buffer {data[:_BYTES].hex(' ')}"
    more = len(data) - _BYTES
    return text + (f" ... {more} more byte{_plural(more)}>" if more > 0 else ">")


def _exception_notation(value: BaseException) -> str:
    try:
        text = str(value)
    except Exception:  # A foreign __str__ must not hide the error that is being described.
        text = ""
    return f"[{type(value).__name__}{': ' if text else ''}{text}]"


def _key(key: object) -> str:
    """Write a key of an object, quoted unless it is an ASCII identifier."""
    text = key if isinstance(key, str) else notation(key)
    plain = text.isascii() and text.isidentifier()
    return f"{text if plain else _quoted(text)}: "


def _function_notation(value: object) -> str:
    name = _function_name(value)
    if isinstance(value, type):
        base = value.__base__
        extends = f" extends {base.__name__}" if base not in (None, object) else ""
        return f"[class {name or '(anonymous)'}{extends}]"
    flags = getattr(getattr(value, "__code__", None), "co_flags", 0)
    kind = "Function"
    # The flags of inspect.CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR.
    if flags & 0x20:
        kind = "GeneratorFunction"
    elif flags & 0x80:
        kind = "AsyncFunction"
    elif flags & 0x200:
        kind = "AsyncGeneratorFunction"
    return f"[{kind}: {name}]" if name else f"[{kind} (anonymous)]"

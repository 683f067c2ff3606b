"""Argument checks, and the errors they raise with Node's codes and texts.

Owns how a Python value is shown in JavaScript notation, since Node's texts end with the value which
was received. May import errors only. Nothing here changes a value it was given, and nothing but
making an error text is slow: the good path of a check is a type test.

Node has two notations. `inspect` says what kind of value it is, for a value of a wrong type:
`Received type string ('x')`. `notation` writes the value itself, for a value out of range:
`Received 'x'`. Python's types count as the JavaScript ones which they stand for in this package:
None is undefined, any mapping Object, list and tuple Array, bytes Buffer, set Set. A bool is no
number.
"""

from __future__ import annotations

# Python has loaded this one already; collections.abc would load all of collections.
from _collections_abc import Mapping

from .errors import ArgTypeError, ArgValueError, RangeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeGuard

# The integers which a JavaScript number holds exactly lie between these.
MAX_SAFE_INTEGER = 2**53 - 1
MIN_SAFE_INTEGER = -(2**53 - 1)

_INFINITY = float("inf")

# JavaScript's white space; Python's str.strip() would take control characters as well.
_SPACE = (
    "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_DIGITS = frozenset("0123456789")
_RADIX = {
    "0x": (16, frozenset("0123456789abcdefABCDEF")),
    "0o": (8, frozenset("01234567")),
    "0b": (2, frozenset("01")),
}


# Numbers


def as_number(value: object) -> int | float | None:
    """Return value if it is what JavaScript calls a number, otherwise None.

    Numbers are int, float and what can be used as an index (the integers of numpy), but not bool.
    """
    if isinstance(value, (int, float)):
        return None if isinstance(value, bool) else value
    index = getattr(type(value), "__index__", None)
    if index is None:
        return None
    try:
        number: int = index(value)
    except TypeError:
        return None
    return number


def js_number(text: str) -> float | None:
    """Return the number which JavaScript's `Number(text)` takes from a text, None for NaN.

    Args:
        text: surrounding space, a sign, a fraction, an exponent, `Infinity` and the prefixes `0x`,
            `0o`, `0b` (without sign) are allowed; a blank text is 0.

    Node: Number(text)
    """
    text = text.strip(_SPACE)
    if not text:
        return 0.0
    radix = _RADIX.get(text[:2].lower())
    if radix is not None:
        base, digits = radix
        if len(text) == 2 or not digits.issuperset(text[2:]):
            return None
        return _to_float(int(text[2:], base))
    unsigned = text[1:] if text[0] in "+-" else text
    if unsigned == "Infinity":
        return -_INFINITY if text[0] == "-" else _INFINITY
    # float() takes more than JavaScript: underscores, other scripts' digits, 'nan', 'inf'.
    mantissa, mark, exponent = unsigned.replace("E", "e").partition("e")
    whole, _, fraction = mantissa.partition(".")
    if not (whole + fraction) or not _DIGITS.issuperset(whole + fraction):
        return None
    if mark:
        exponent = exponent[1:] if exponent[:1] in ("+", "-") else exponent
        if not exponent or not _DIGITS.issuperset(exponent):
            return None
    return float(text)


def _to_float(value: int | float) -> float:
    """Return the float nearest to a number; one too large for it is infinite."""
    try:
        return float(value)
    except OverflowError:
        return _INFINITY if value > 0 else -_INFINITY


def _number_text(value: int | float) -> str:
    """Write a number as JavaScript does."""
    if isinstance(value, int) and MIN_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return int.__repr__(value)
    number = _to_float(value)
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


def _cut(text: str, limit: int) -> str:
    """Return the first `limit` UTF-16 units of a text, which is how JavaScript counts."""
    if len(text) * 2 <= limit:
        return text
    units = text[:limit].encode("utf-16-le", "surrogatepass")[: limit * 2]
    return units.decode("utf-16-le", "surrogatepass")


def _units(text: str) -> int:
    """Return the length of a text in UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text)


def _no_surrogates(text: str) -> str:
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
    return f"{quote}{_no_surrogates(text)}{quote}"


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
        return f"Received type number ({_number_text(value)})"
    if isinstance(value, str):
        if _units(value) > 28:
            value = _cut(value, 25) + "..."
        quoted = f'"{value.translate(_JSON_ESCAPES)}"' if "'" in value else f"'{value}'"
        return f"Received type string ({_no_surrogates(quoted)})"
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
            return _number_text(value)
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
        width = sum(map(_units, lines)) + 2 * len(lines) + indent + _MARGIN
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
    size = _units(text)
    tail = ""
    if size > _CHARACTERS:
        text = _cut(text, _CHARACTERS)
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


# Makers of errors


def _listed(words: Sequence[str], last: str = "or") -> str:
    """Join words as English does: a; a or b; a, b, or c."""
    if len(words) < 3:
        return f" {last} ".join(words)
    return f"{', '.join(words[:-1])}, {last} {words[-1]}"


_TYPES = frozenset(
    ("string", "function", "number", "object", "Function", "Object", "boolean", "bigint", "symbol")
)


def _expected_text(expected: str | Sequence[str]) -> str:
    """Say which types, classes and other values are accepted, in Node's three groups."""
    types: list[str] = []
    classes: list[str] = []
    others: list[str] = []
    for word in (expected,) if isinstance(expected, str) else expected:
        if word in _TYPES:
            types.append(word.lower())
        elif word[:1].isupper() and word.isalnum():
            classes.append(word)
        else:
            others.append(word)
    # Node counts an object among the classes as soon as there are any.
    if classes and "object" in types:
        types.remove("object")
        classes.append("Object")
    groups: list[str] = []
    if types:
        groups.append(f"{'one of type' if len(types) > 1 else 'of type'} {_listed(types)}")
    if classes:
        groups.append(f"an instance of {_listed(classes)}")
    if len(others) > 1:
        groups.append(f"one of {_listed(others)}")
    elif others:
        article = "an " if others[0].lower() != others[0] else ""
        groups.append(article + others[0])
    return " or ".join(groups)


def arg_type_error(name: str, expected: str | Sequence[str], value: object) -> ArgTypeError:
    """Make the error for an argument of a wrong type.

    Args:
        name: the argument in Node's spelling; `options.x` is called a property, and a text such as
            `first argument` is used as it is.
        expected: names of types and classes, such as `["string", "Buffer"]`.
        value: what was received.

    Node: ERR_INVALID_ARG_TYPE
    """
    if name.endswith(" argument"):
        subject = name
    else:
        subject = f'"{name}" {"property" if "." in name else "argument"}'
    text = f"The {subject} must be {_expected_text(expected)}. {inspect(value)}"
    error = ArgTypeError(text, "ERR_INVALID_ARG_TYPE")
    if "Buffer" in expected and "string" in expected:
        error.add_note("In Python's words: str, bytes, or anything with the buffer protocol.")
    return error


def arg_value_error(name: str, value: object, reason: str = "is invalid") -> ArgValueError:
    """Make the error for an argument of the right type with an unusable value.

    Args:
        name: the argument in Node's spelling; with a dot it is called a property.
        value: what was received; a long one is cut.
        reason: what is wrong with it, after the name.

    Node: ERR_INVALID_ARG_VALUE
    """
    received = notation(value)
    if _units(received) > 128:
        received = _no_surrogates(_cut(received, 128)) + "..."
    kind = "property" if "." in name else "argument"
    text = f"The {kind} '{name}' {reason}. Received {received}"
    return ArgValueError(text, "ERR_INVALID_ARG_VALUE")


def range_error(name: str, range_text: str, value: object) -> RangeError:
    """Make the error for a number out of its range.

    Args:
        name: the argument in Node's spelling.
        range_text: what it must be, such as `>= 0 && <= 255` or `an integer`.
        value: what was received.

    Node: ERR_OUT_OF_RANGE
    """
    received = notation(value)
    number = as_number(value)
    if number is not None and 2**32 < abs(_to_float(number)) < _INFINITY and number == number // 1:
        received = _grouped(received)
    text = f'The value of "{name}" is out of range. It must be {range_text}. Received {received}'
    return RangeError(text, "ERR_OUT_OF_RANGE")


def _grouped(digits: str) -> str:
    """Put `_` before each three digits, as Node does in this one text."""
    sign = "-" if digits[0] == "-" else ""
    digits = digits.lstrip("-")
    groups = [digits[max(0, end - 3) : end] for end in range(len(digits), 0, -3)]
    return sign + "_".join(reversed(groups))


def bad_port_error(name: str, value: object, allow_zero: bool = True) -> RangeError:
    """Make the error for what is not a port.

    Args:
        name: the argument in Node's spelling.
        value: what was received.
        allow_zero: whether port 0 would be one.

    Node: ERR_SOCKET_BAD_PORT
    """
    sign = ">=" if allow_zero else ">"
    text = f"{name} should be {sign} 0 and < 65536. {inspect(value)}."
    return RangeError(text, "ERR_SOCKET_BAD_PORT")


def unknown_encoding_error(encoding: object) -> ArgTypeError:
    """Make the error for the name of an encoding which does not exist.

    Args:
        encoding: what was received.

    Node: ERR_UNKNOWN_ENCODING
    """
    text = _no_surrogates(encoding) if isinstance(encoding, str) else notation(encoding)
    error = ArgTypeError(f"Unknown encoding: {text}", "ERR_UNKNOWN_ENCODING")
    error.add_note(
        "Node's encodings are utf8, utf16le, latin1, ascii, base64, base64url and hex; for others, "
        "encode() and decode() yourself."
    )
    return error


def missing_args_error(*names: str | Sequence[str]) -> ArgTypeError:
    """Make the error for arguments which were not given.

    Args:
        names: all that are missing; one that is a list means that any of its names would do.

    Node: ERR_MISSING_ARGS
    """
    words = [
        f'"{name}"' if isinstance(name, str) else " or ".join(f'"{each}"' for each in name)
        for name in names
    ]
    noun = "argument" if len(words) == 1 else "arguments"
    return ArgTypeError(f"The {_listed(words, 'and')} {noun} must be specified", "ERR_MISSING_ARGS")


# Checks: each returns the value to use


def validate_string(value: object, name: str) -> str:
    """Return value if it is a str. Raises: ArgTypeError ERR_INVALID_ARG_TYPE."""
    if isinstance(value, str):
        return value
    raise arg_type_error(name, "string", value)


def validate_boolean(value: object, name: str) -> bool:
    """Return value if it is a bool. Raises: ArgTypeError ERR_INVALID_ARG_TYPE."""
    if isinstance(value, bool):
        return value
    raise arg_type_error(name, "boolean", value)


def validate_function(value: object, name: str) -> Callable[..., Any]:
    """Return value if it can be called. Raises: ArgTypeError ERR_INVALID_ARG_TYPE."""
    if callable(value):
        return value
    raise arg_type_error(name, "function", value)


def validate_number(
    value: object,
    name: str,
    minimum: float | None = None,
    maximum: float | None = None,
) -> int | float:
    """Return value if it is a number between the bounds, which belong to the range.

    Args:
        value: int or float; NaN passes if there are no bounds.
        name: the argument in Node's spelling.
        minimum: the lower bound, None for none.
        maximum: the upper bound, None for none.

    Raises:
        ArgTypeError: ERR_INVALID_ARG_TYPE, not a number.
        RangeError: ERR_OUT_OF_RANGE.
    """
    number = as_number(value)
    if number is None:
        raise arg_type_error(name, "number", value)
    # Written so that NaN fails.
    if (minimum is None or number >= minimum) and (maximum is None or number <= maximum):
        return number
    raise range_error(name, _bounds(minimum, maximum), number)


def validate_integer(
    value: object,
    name: str,
    minimum: int = MIN_SAFE_INTEGER,
    maximum: int = MAX_SAFE_INTEGER,
) -> int:
    """Return value as an int if it is one between the bounds, which belong to the range.

    Args:
        value: int, or float without a fraction.
        name: the argument in Node's spelling.
        minimum: the lower bound.
        maximum: the upper bound.

    Raises:
        ArgTypeError: ERR_INVALID_ARG_TYPE, not a number.
        RangeError: ERR_OUT_OF_RANGE, not an integer or not in the range.
    """
    number = as_number(value)
    if number is None:
        raise arg_type_error(name, "number", value)
    if isinstance(number, float) and not number.is_integer():
        raise range_error(name, "an integer", number)
    if not minimum <= number <= maximum:
        raise range_error(name, _bounds(minimum, maximum), number)
    return int(number)


def validate_int32(
    value: object, name: str, minimum: int = -(2**31), maximum: int = 2**31 - 1
) -> int:
    """Return value as an int if it fits into 32 bits. Raises: as `validate_integer`."""
    return validate_integer(value, name, minimum, maximum)


def validate_uint32(value: object, name: str) -> int:
    """Return value as an int if it fits into 32 bits unsigned. Raises: as `validate_integer`."""
    return validate_integer(value, name, 0, 2**32 - 1)


def _bounds(minimum: float | None, maximum: float | None) -> str:
    """Write a range as Node's texts do."""
    bounds = [
        f"{sign} {_number_text(bound)}"
        for sign, bound in ((">=", minimum), ("<=", maximum))
        if bound is not None
    ]
    return " && ".join(bounds)


def validate_port(value: object, name: str, allow_zero: bool = True) -> int:
    """Return value as an int if it is a port.

    Args:
        value: a number without a fraction, or the text of one as `js_number` takes it.
        name: the argument in Node's spelling.
        allow_zero: whether 0 is a port.

    Raises:
        RangeError: ERR_SOCKET_BAD_PORT, whatever is wrong with it.
    """
    number = as_number(value)
    # A blank text is the number 0, but no port.
    if isinstance(value, str) and value.strip(_SPACE):
        number = js_number(value)
    # The bounds come first, since neither NaN nor an infinity can be made an int.
    if number is not None and 0 <= number <= 65535:
        port = int(number)
        if port == number and (port or allow_zero):
            return port
    raise bad_port_error(name, value, allow_zero)


def validate_abort_signal(value: object, name: str) -> Any:
    """Return value if it is an AbortSignal or None.

    Anything will do that has `aborted` and can be listened to.

    Raises:
        ArgTypeError: ERR_INVALID_ARG_TYPE.
    """
    if value is None or (
        hasattr(value, "aborted") and (hasattr(value, "on") or hasattr(value, "add_listener"))
    ):
        return value
    raise arg_type_error(name, "AbortSignal", value)

"""Checks of arguments, and the errors they raise, with Node's codes and texts.

Imports the error classes and the notation of values. Nothing here changes a value that it was
given, and the good path of a check is a type test.
"""

from __future__ import annotations

from . import TYPE_CHECKING
from .errors import ArgTypeError, ArgValueError, RangeError
from .notation import (
    MAX_SAFE_INTEGER,
    MIN_SAFE_INTEGER,
    cut,
    inspect,
    no_surrogates,
    number_text,
    to_float,
    units,
)
from .notation import is_mapping as is_mapping
from .notation import notation as notation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Bytes.
MAX_HIGH_WATER_MARK = MAX_SAFE_INTEGER

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
        return to_float(int(text[2:], base))
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
    from . import words

    error = ArgTypeError(text, "ERR_INVALID_ARG_TYPE")
    words.in_python(
        error,
        f"{words.parameter(name)} must be {words.kinds(expected)}, not {type(value).__name__}",
    )
    return error


def arg_value_error(
    name: str, value: object, reason: str = "is invalid", python: str | None = None
) -> ArgValueError:
    """Make the error for an argument of the right type with an unusable value.

    Args:
        name: the argument in Node's spelling; with a dot it is called a property.
        value: what was received; a long one is cut.
        reason: what is wrong with it, after the name.
        python: what the note says, if it is not made of these.

    Node: ERR_INVALID_ARG_VALUE
    """
    received = notation(value)
    if units(received) > 128:
        received = no_surrogates(cut(received, 128)) + "..."
    kind = "property" if "." in name else "argument"
    text = f"The {kind} '{name}' {reason}. Received {received}"
    from . import words

    error = ArgValueError(text, "ERR_INVALID_ARG_VALUE")
    if python is None:
        python = f"{words.parameter(name)} {words.reason(reason)}; it was {words.shown(value)}"
    words.in_python(error, python)
    return error


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
    if number is not None and 2**32 < abs(to_float(number)) < _INFINITY and number == number // 1:
        received = _grouped(received)
    text = f'The value of "{name}" is out of range. It must be {range_text}. Received {received}'
    from . import words

    error = RangeError(text, "ERR_OUT_OF_RANGE")
    wanted = f"{words.parameter(name)} must be {words.reason(range_text)}"
    words.in_python(error, f"{wanted}, not {words.shown(value)}")
    return error


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
    from . import words

    error = RangeError(text, "ERR_SOCKET_BAD_PORT")
    wanted = f"{words.parameter(name)} must be an int from {0 if allow_zero else 1} to 65535"
    words.in_python(error, f"{wanted}, or a numeric string, not {words.shown(value)}")
    return error


def unknown_encoding_error(encoding: object) -> ArgTypeError:
    """Make the error for the name of an encoding which does not exist.

    Args:
        encoding: what was received.

    Node: ERR_UNKNOWN_ENCODING
    """
    text = no_surrogates(encoding) if isinstance(encoding, str) else notation(encoding)
    error = ArgTypeError(f"Unknown encoding: {text}", "ERR_UNKNOWN_ENCODING")
    error.add_note(
        "Supported encodings are utf8, utf16le, latin1, ascii, base64, base64url and hex; for "
        "others, call encode() and decode() yourself."
    )
    return error


def null_values_error() -> ArgTypeError:
    """Make the error for None where a stream needs data. Node: ERR_STREAM_NULL_VALUES"""
    from . import words

    error = ArgTypeError("May not write null values to stream", "ERR_STREAM_NULL_VALUES")
    words.in_python(error, "None cannot be written; call end() to end the stream")
    return error


def missing_args_error(*names: str | Sequence[str]) -> ArgTypeError:
    """Make the error for arguments which were not given.

    Args:
        names: all that are missing; one that is a list means that any of its names would do.

    Node: ERR_MISSING_ARGS
    """
    quoted = [
        f'"{name}"' if isinstance(name, str) else " or ".join(f'"{each}"' for each in name)
        for name in names
    ]
    noun = "argument" if len(quoted) == 1 else "arguments"
    return ArgTypeError(
        f"The {_listed(quoted, 'and')} {noun} must be specified", "ERR_MISSING_ARGS"
    )


# Checks: each returns the value to use


def plain_str(text: str) -> str:
    """A text of a subclass, such as a member of a StrEnum, as the plain str that the core takes."""
    return text if type(text) is str else str.__str__(text)


def validate_string(value: object, name: str) -> str:
    """Return value as a plain str if it is one. Raises: ArgTypeError ERR_INVALID_ARG_TYPE."""
    if isinstance(value, str):
        return plain_str(value)
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
        f"{sign} {number_text(bound)}"
        for sign, bound in ((">=", minimum), ("<=", maximum))
        if bound is not None
    ]
    return " && ".join(bounds)


def validate_one_of(value: object, name: str, choices: Sequence[str]) -> str:
    """Return value if it is one of the texts. Raises: ArgValueError ERR_INVALID_ARG_VALUE."""
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(f"'{choice}'" for choice in choices)
    raise arg_value_error(name, value, f"must be one of: {listed}")


def validate_high_water_mark(value: object, name: str, server: bool = False) -> int:
    """Return a high-water mark in bytes, -1 if the default is meant.

    Args:
        value: an integer >= 0, or None for the default.
        name: the argument in Node's spelling.
        server: check it as Node's servers do: below zero is the default, a fraction is cut off, and
            a wrong type has an error of its own.

    Raises:
        ArgTypeError: ERR_INVALID_ARG_TYPE, a server's is no number.
        ArgValueError: ERR_INVALID_ARG_VALUE.
    """
    if value is None:
        return -1
    number = as_number(value)
    if server:
        if number is None:
            raise arg_type_error(name, "number", value)
        if number < 0:
            return -1
        # NaN is not below zero, and fails here.
        if number <= MAX_HIGH_WATER_MARK:
            return int(number)
    elif number is not None and 0 <= number <= MAX_HIGH_WATER_MARK and number == int(number):
        return int(number)
    raise arg_value_error(name, value)


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

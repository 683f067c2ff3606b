"""How a function takes its options: keywords, one mapping, or both, in either spelling.

Owns the rules for the names of options; what the values may be is for the function to check.
"""

from __future__ import annotations

import sys

from . import TYPE_CHECKING
from .errors import ArgTypeError
from .hints import hint
from .names import to_node
from .notation import is_mapping
from .validation import (
    arg_type_error,
    arg_value_error,
    validate_high_water_mark,
    validate_integer,
    validate_one_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

# Our own code, as Node ignores names which it does not know. It stands for every misuse of the
# name of an option, also for one given twice.
_CODE = "ERR_UNKNOWN_OPTION"

# Options that Node has for streams of objects.
OBJECT_MODES = ("object_mode", "readable_object_mode", "writable_object_mode")


def refuse_object_mode(options: Mapping[str, Any]) -> None:
    """Raise ArgValueError (ERR_INVALID_ARG_VALUE) for a stream of anything but bytes."""
    for name in OBJECT_MODES:
        if options.get(name):
            raise arg_value_error(f"options.{to_node(name)}", options[name], "is not supported")


def read_high_water_mark(options: Mapping[str, Any], name: str, one_sided: bool = False) -> int:
    """Return the high-water mark of one side of a stream in bytes, -1 for the default.

    Args:
        options: the constructor's; `high_water_mark` wins over `name`.
        name: the option of this side.
        one_sided: whether the stream has no other side, so that errors name the option that was
            given; otherwise they name this side's, as Node's do.

    Raises:
        ArgValueError: ERR_INVALID_ARG_VALUE.
    """
    value = options.get("high_water_mark")
    if value is None:
        value = options.get(name)
    elif one_sided:
        name = "high_water_mark"
    return validate_high_water_mark(value, f"options.{to_node(name)}")


# What Py_ssize_t holds everywhere.
MOST_BYTES = 2**31 - 1 if sys.maxsize == 2**31 - 1 else 2**53 - 1


def read_size(options: Mapping[str, Any], name: str) -> int | None:
    """Return an option that is a number of bytes >= 0, None if it is not given.

    Raises:
        ArgTypeError: ERR_INVALID_ARG_TYPE. RangeError: ERR_OUT_OF_RANGE.
    """
    value = options.get(name)
    if value is None:
        return None
    return validate_integer(value, f"options.{name}", 0, MOST_BYTES)


def read_choice(options: Mapping[str, Any], name: str, *choices: str) -> str:
    """Return an option that is one of some texts; the first one is the default.

    Raises:
        ArgValueError: ERR_INVALID_ARG_VALUE.
    """
    value = options.get(name)
    if value is None:
        return choices[0]
    return validate_one_of(value, f"options.{name}", choices)


def check_needed(options: Mapping[str, Any], name: str, needed: str) -> None:
    """Refuse an option that modifies another one which is not given: it would do nothing.

    Raises:
        ArgValueError: ERR_INVALID_ARG_VALUE.
    """
    value = options.get(name)
    if value is not None and needed not in options:
        raise arg_value_error(f"options.{name}", value, f"has no effect without {needed}")


def read_queue_bound(options: Mapping[str, Any]) -> tuple[int, bool]:
    """Return max_write_buffer, -1 without one, and whether on_full is 'refuse'. Raises: as both."""
    most = read_size(options, "max_write_buffer")
    refuses = read_choice(options, "on_full", "destroy", "refuse") == "refuse"
    check_needed(options, "on_full", "max_write_buffer")
    return -1 if most is None else most, refuses


def _none(name: str) -> list[str]:
    return []


# The functions that take an option, as the texts of errors show them. Set by option_table, which
# has them all and is made of the sets below.
functions_with: Callable[[str], list[str]] = _none


_TLS = "TLS has functions of its own: tls.create_server() and tls.connect()."
_IDENTITY = (
    "reject_unauthorized=False accepts any certificate, and check_server_identity replaces the "
    "check of the name; better trust the certificate with ca=."
)
_CONTEXT = "Pass an ssl.SSLContext as secure_context."
# What other libraries call an option of TLS, and what to do here.
_ELSEWHERE = {
    "ssl": _CONTEXT,
    "ssl_context": _CONTEXT,
    "verify": _IDENTITY,
    "check_hostname": _IDENTITY,
    "server_hostname": "The name to expect is servername.",
}


class OptionSet:
    """The options which one function takes.

    Iterating gives the canonical names; `in` takes either spelling; `a | b` takes what either
    takes, and keeps the function's name of `a`.

    Args:
        function: the name for error texts.
        names: the canonical (PEP 8) names, or another set.
        strict: whether a mapping may have no names that are not known to any function: a misspelt
            option of TLS would leave a connection less secure than it looks.
        steps: the name, the check and the method of each option that checked() applies.
    """

    __slots__ = ("_canonical", "_steps", "function", "strict")

    def __init__(
        self,
        function: str,
        names: Iterable[str],
        *,
        strict: bool = False,
        steps: Iterable[tuple[str, Callable[[Any], Any] | None, str]] = (),
    ) -> None:
        self.function, self.strict = function, strict
        self._steps = {name: (check, method) for name, check, method in steps}
        # Either spelling of each name -> the canonical one, which comes first.
        self._canonical: dict[str, str] = {}
        for name in names:
            self._canonical[name] = name
            self._canonical[to_node(name)] = name

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._canonical.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._canonical

    def __or__(self, other: OptionSet) -> OptionSet:
        if not isinstance(other, OptionSet):
            return NotImplemented
        return OptionSet(self.function, (*self, *other), strict=self.strict or other.strict)

    def __repr__(self) -> str:
        return f"OptionSet({self.function!r}, {list(self)!r})"

    def checked(self, options: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        """Check the options for which a check and a method are enough; see option_table.

        Returns: the method and the value of each that was given, for apply().
        Raises: what the checks raise.
        """
        steps = self._steps
        found: list[tuple[str, Any]] = []
        for name in options:
            if name in steps and (value := options[name]) is not None:
                check, method = steps[name]
                found.append((method, value if check is None else check(value)))
        return found

    @staticmethod
    def apply(thing: Any, checked: Iterable[tuple[str, Any]]) -> None:
        """Set on an object what checked() has returned."""
        for method, value in checked:
            if "set_" in method:
                getattr(thing, method)(value)
            else:
                setattr(thing, method, value)

    def as_node(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options in Node's spelling, as the texts of errors show them."""
        return {to_node(name): value for name, value in options.items() if name in self}

    def read(
        self, mapping: object = None, keywords: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the options that were given, under their canonical names.

        A keyword wins over the mapping, unless it is None: that is the same as not given. Neither
        argument is changed.

        Args:
            mapping: options in either spelling, or None; names that are not known are ignored, for
                one mapping may serve several functions. A strict set ignores options of others.
            keywords: the function's keyword arguments.

        Raises:
            ArgTypeError: ERR_INVALID_ARG_TYPE, mapping is none; ERR_UNKNOWN_OPTION, a keyword is
                not known, or for a strict set a name in the mapping, or two spellings of one name
                were given in one place.
        """
        options: dict[str, Any] = {}
        if mapping is not None:
            if not is_mapping(mapping):
                raise arg_type_error("options", "object", mapping)
            for key in mapping:
                name = self._canonical.get(key)
                if name is None:
                    if self.strict and not functions_with(key):
                        raise self._unknown(key)
                    continue
                if name in options:
                    raise self._twice(name)
                options[name] = mapping[key]
        if keywords:
            # Nearly always there is no mapping, and the keywords are the options.
            given: dict[str, Any] = {} if options else options
            canonical = self._canonical
            for key, value in keywords.items():
                name = canonical.get(key)
                if name is None:
                    raise self._unknown(key)
                if name in given:
                    raise self._twice(name)
                given[name] = value
            if given is options:
                return options
            for name, value in given.items():
                if value is not None or name not in options:
                    options[name] = value
        return options

    def _twice(self, name: str) -> ArgTypeError:
        text = f"{self.function}() got one option under two names, '{name}' and '{to_node(name)}'"
        return ArgTypeError(text, _CODE)

    def _unknown(self, name: str) -> ArgTypeError:
        # Here, since it takes long to import and is needed just for this text.
        from difflib import get_close_matches

        name = str(name)
        text = f"{self.function}() got an unknown option '{name}'"
        others = functions_with(name)
        if others:
            shown = ", ".join(others[:-1]) + " and " * (len(others) > 1) + others[-1]
            text += f", which is an option of {shown}"
        # In the spelling that the caller uses, Node's or PEP 8's.
        alike = [each for each in self._canonical if each.islower() == name.islower()]
        matches = get_close_matches(name, alike, 1)
        if matches:
            text += f". Did you mean '{matches[0]}'?"
        error = ArgTypeError(text, _CODE)
        has_tls = "secure_context" in self._canonical or "ciphers" in self._canonical
        if not has_tls and ("SecureContext()" in others or name in _ELSEWHERE):
            hint(error, _TLS)
        elif name in _ELSEWHERE:
            hint(error, _ELSEWHERE[name])
        return error

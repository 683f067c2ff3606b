"""Wrong arguments in Python's words: the note below a text of Node's.

Node's texts name JavaScript's types, and parameters as Node spells them. They stay as they are,
since ported code reads them; the note has the parameter and the types that the caller knows.
Imports nothing of ours. Only the makers of errors import this, when they make one, so that what
succeeds pays nothing.
"""

from __future__ import annotations

from . import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Node's parameters whose names here do not come by rule.
_PARAMETERS = {
    "Port": "port",
    "chunk": "the data",
    "err": "error",
    "family": "type",
    "hostname": "host",
    "msecs": "timeout",
    "network": "net",
    "options.ALPNCallback": "alpn_callback",
    "ALPNProtocols": "alpn_protocols",
    "options.ALPNProtocols": "alpn_protocols",
    "options.SNICallback": "sni_callback",
    "protocols": "alpn_protocols",
    "setMaxListeners": "n",
}
# Types of JavaScript, and classes of Node, that have other names here.
_KINDS = {
    "Array": "an iterable",
    "Buffer": "bytes",
    "DataView": "anything with the buffer protocol",
    "Error": "an exception",
    "Function": "a callable",
    "Iterable": "an iterable",
    "Object": "a dict",
    "ReadableStream": "a Readable",
    "Stream": "a Duplex",
    "TypedArray": "",
    "WritableStream": "a Writable",
    "boolean": "bool",
    "function": "a callable",
    "net.BlockList": "a BlockList",
    "number": "int or float",
    "object": "a dict",
    "string": "str",
}

# In place of a callable that gives one: a buffer that is read into.
_TARGET = {"Buffer": "a writable buffer such as bytearray"}


def in_python(error: BaseException, words: str) -> None:
    """Give an error the note that says the same in Python's words."""
    error.add_note(f"In Python's words: {words}.")


def parameter(name: str) -> str:
    """What Node's name of an argument is here: 'options.keepAlive' -> 'keep_alive'."""
    import re

    if name in _PARAMETERS or name.startswith("pyuvnet."):
        return _PARAMETERS.get(name, name)
    whole, bracket, index = name.partition("[")
    if whole in _PARAMETERS:
        return f"{_PARAMETERS[whole]}{bracket}{index}"
    first, *keys = name.removeprefix("options.").split(".")
    found = re.sub(r"(?<=[a-z0-9])[A-Z]+", lambda part: f"_{part[0].lower()}", first)
    return found + "".join(f"[{key!r}]" for key in keys)


def kinds(expected: str | Sequence[str]) -> str:
    """The types that are accepted, with 'or' before the last."""
    words = (expected,) if isinstance(expected, str) else expected
    known = _KINDS if "function" not in words else _KINDS | _TARGET
    named: list[str] = []
    for word in words:
        article = "an" if word[:1] in "AEIO" else "a"
        named += known.get(word, f"{article} {word}" if word[:1].isupper() else word).split(" or ")
    *most, last = filter(None, named)
    return f"{', '.join(most)} or {last}" if most else last


def shown(value: object) -> str:
    """A value if it is short and cannot run code of the program, or else its type."""
    # Python refuses to write very long integers, and a long text need not be made.
    short = value.bit_length() <= 128 if type(value) is int else True
    if short and type(value) in (bool, int, float, str, bytes, type(None)):
        text = repr(value)
        if len(text) <= 40:
            return text
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def reason(text: str) -> str:
    """Node's reason why a value is wrong, or its range."""
    return text.replace("a string", "a str").replace("&&", "and")

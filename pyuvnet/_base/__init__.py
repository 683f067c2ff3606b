"""What the core and the facade share, in Python: the layer below the core.

Its modules import each other only, each those before it: `names` (Node's spelling), `errors` (the
exception classes), `notation` (how error texts show a value), `words` (what they say in Python's
words), `validation` (checks of arguments), `options` (how a function takes its options),
`option_table` (which these are), `info` (the mapping in which addresses come), `hints` (notes on
likely mistakes).

Here stands what the annotations of this package need at run time: nothing. Importing `typing` takes
longer than importing all of pyuvnet, and a program that starts waits for it. Type checkers see the
real names.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import cast as cast
    from typing import overload as overload
else:

    def cast(kind, value):
        """Return the value, as typing.cast() does."""
        return value

    def overload(function):
        """Return the function, as typing.overload() nearly does."""
        return function

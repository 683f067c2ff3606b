"""What the core and the facade share, in Python: the layer below the core.

Its modules import each other only, each those before it: `names` (Node's spelling), `errors` (the
exception classes), `notation` (how error texts show a value), `words` (what they say in Python's
words), `validation` (checks of arguments), `options` (how a function takes its options),
`option_table` (which these are), `info` (the mapping in which addresses come), `hints` (notes on
likely mistakes), `standard_streams` (descriptors 0 to 2 that are open), `version`.

Here stands what the annotations of this package need at run time: nothing. Importing `typing` takes
longer than importing all of pyuvnet, and a program that starts waits for it. Type checkers see the
real names. `deque` and `partial` come from the modules in C, without what else `collections` and
`functools` make; what every program imports may import neither them nor `threading`, `weakref` or
`warnings`, which take a quarter as long as all of pyuvnet.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque as deque
    from functools import partial as partial
    from typing import cast as cast
    from typing import overload as overload
else:
    from _collections import deque as deque
    from _functools import partial as partial

    def cast(kind, value):
        """Return the value, as typing.cast() does."""
        return value

    def overload(function):
        """Return the function, as typing.overload() nearly does."""
        return function

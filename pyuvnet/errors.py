"""The errors and warnings of pyuvnet."""

from ._base.errors import *  # noqa: F403
from ._base.errors import __all__ as __all__

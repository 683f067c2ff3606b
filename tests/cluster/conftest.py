"""The fixture of a primary in a process of its own."""

from tests.support.clusters import program

__all__ = ["program"]

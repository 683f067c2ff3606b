"""BlockList, which is an extension type: its check runs for every connection of a server."""

from ._core.blocklist import BlockList

__all__ = ["BlockList"]

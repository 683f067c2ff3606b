"""Framings: rules that split a byte stream into messages.

    from pyuvnet import framing, net
    server = net.create_server(framing=framing.Lines())

A framing is to boundaries what an encoding is to characters. Give one to `set_framing()`, or to the
option `framing` of a socket, a server or a stream: then each 'data', each `read()` and each turn of
`async for` gives one frame, however the network has cut the bytes, and `write_frame()` writes one.

Node: none
"""

from ._core.framing import Framing
from ._core.framings import Fixed, Header, LengthPrefix, Lines, Netstrings, VarintPrefix

__all__ = ["Fixed", "Framing", "Header", "LengthPrefix", "Lines", "Netstrings", "VarintPrefix"]

"""ServerBase: the compiled part of a server as a whole; see server_base.pyx."""

from .shutdown cimport EndingServer

cdef class ServerBase(EndingServer):
    pass

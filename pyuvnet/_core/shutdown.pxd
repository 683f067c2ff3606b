"""EndingServer: what a server does in a graceful shutdown; see shutdown.pyx."""

from .listener cimport ListeningServer

cdef class EndingServer(ListeningServer):
    pass

"""A listener whose connections are no sockets: block list, PROXY header, deadlines, counters.

Compiled into debug builds only; transports.py loads it.
"""

from pyuvnet._core cimport uv
from pyuvnet._core.accepting cimport accepted_peer
from pyuvnet._core.address cimport sockaddr_from_text
from pyuvnet._core.blocklist cimport BlockList
from pyuvnet._core.deadlines cimport Limits, arm
from pyuvnet._core.emitter cimport EventEmitter
from pyuvnet._core.layer cimport read_again, remove_layer
from pyuvnet._core.loop cimport Loop
from pyuvnet._core.owner cimport Acceptor, HandleCalls, Links, ring_of_one, status_call
from pyuvnet._core.proxy_header cimport ENDS_IPV4, ProxyHeader, new_proxy_header
from pyuvnet._core.stream_handle cimport StreamHandle
from pyuvnet._core.tcp cimport TCP, name_blocked, new_tcp


cdef class Listener(Acceptor):
    cdef TCP _listener
    cdef object _accepted              # called with each handle, and what its PROXY header says
    cdef BlockList _block_list
    cdef Limits _limits
    cdef bint _proxy
    cdef readonly int dropped, gone

    def __init__(self, Loop loop not None, accepted, BlockList block_list=None,
                 Limits limits=None, bint proxy=False):
        cdef uv.sockaddr_storage address
        ring_of_one(&self._sockets)
        self._accepted, self._block_list = accepted, block_list
        self._limits, self._proxy = limits, proxy
        self._listener = new_tcp(loop)
        sockaddr_from_text("127.0.0.1", 0, &address)
        self._listener.own(self, &_LISTENER_CALLS)
        self._listener.bind(<uv.sockaddr*>&address, 0)
        self._listener.listen(128)

    @property
    def port(self):
        return self._listener.sockname()[1]

    @property
    def figures(self):
        """(bytes that its connections have received, and sent, how many are open)."""
        cdef Links* links = self._sockets.after
        count = 0
        while links is not &self._sockets:
            links, count = links.after, count + 1
        return self.bytes_read, self.bytes_written, count

    def close(self):
        self._listener.close()

    cdef void connection_gone(self, BaseException error) noexcept:
        self.gone += 1

    cdef int _refuse(self, StreamHandle client) except -1:
        self.dropped += 1
        client.close()
        return 0

    cdef int _give(self, StreamHandle client, tuple said) except -1:
        client.counts_for(self)
        client.stands()
        if self._limits is not None:
            arm(client, self._limits)
        self._accepted(client, said)
        return 0

    cdef void header_over(self, object header, int status, const char* rest,
                          Py_ssize_t size) noexcept:
        cdef ProxyHeader whole = header
        cdef StreamHandle client = whole.handle
        try:
            if status < 0 or self._block_list is not None and whole.fields.ends >= ENDS_IPV4 \
                    and name_blocked(&whole.fields.source, self._block_list):
                self._refuse(client)
            else:
                said = whole.name_ends()
                client.read_stop()
                remove_layer(whole)
                self._give(client, said)
                if size and client.owner is not None:
                    read_again(client, rest, size)
        except BaseException as exc:
            client.loop.report(exc)

cdef int _connection(Listener self, StreamHandle listener, int status) except -1:
    cdef TCP client = new_tcp(listener.loop)
    if listener.accept(client) < 0:
        return self._refuse(client)
    accepted_peer(client, &client.peer)
    if self._block_list is not None and name_blocked(&client.peer, self._block_list):
        return self._refuse(client)
    if not self._proxy:
        return self._give(client, None)
    return 0 if new_proxy_header(self, &client.peer, 1000).begin(client, 1000) == 0 \
        else self._refuse(client)

cdef int _closed(EventEmitter self, object handle, int status) except -1:
    return 0

cdef HandleCalls _LISTENER_CALLS
_LISTENER_CALLS.connection = <status_call><void*>_connection
_LISTENER_CALLS.closed = <status_call><void*>_closed

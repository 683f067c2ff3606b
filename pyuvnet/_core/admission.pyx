"""Whether a connection comes in: limits, the reasons for which it is dropped, and pausing.

Owns: REASONS, the one table of why connections are dropped; the counts of drops, 'drop', and
whether the listener is in the poll. The classes above accept, listen and shut down, and ask this
one, which knows no sockets.  Imports: accepting, blocklist, limits, proxy_header and below.
"""

from libc.math cimport ceil
from libc.string cimport memset

from .._base.info import Info, NodeDrop
from .._base.validation import arg_type_error, range_error

from . cimport uv
from .accepting cimport listener_manner, listener_rests
from .address cimport PeerName, peer_tuple
from .blocklist cimport BlockList
from .emitter cimport EMITTER_EMIT_OVERRIDDEN, ON_DROP
from .errors cimport state_error, status_name
from .names import add_node_names
from .owner cimport Acceptor, leave_ring, ring_of_one
from .proxy_header cimport header_reason
from .stream_handle cimport StreamHandle
from .tcp cimport TCP, name_blocked

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    double PyFloat_AS_DOUBLE(object number) noexcept
    const Py_ssize_t PY_SSIZE_T_MAX

# Why a server drops a connection, in the order of DROP_...: the name in `dropped` and info.reason,
# whether the log says nothing of it, since a policy is at work and nothing is wrong, and the reason
# in words, as the guide has it. A libuv status is a reason too, by the name of its code: that of a
# failed accept. Each drop counts, whatever its reason.
REASONS = (
    ("max_connections", False, "as many connections are open as `max_connections` allows"),
    ("block_list", True, "the peer is on the block list"),
    ("unknown_peer", True, "there is a block list, and the system did not give the peer's address"),
    ("proxy", False, "its PROXY header is malformed, too long, late or not trusted"),
    ("max_per_address", False, "its address has as many connections as `max_per_address` allows"),
)
SILENT_REASONS = frozenset([name for name, silent, _words in REASONS if silent])
cdef unsigned int _silent = 0          # the same, a bit for each DROP_...
for _number, _row in enumerate(REASONS, 1):
    if _row[1]:
        _silent |= 1 << <int>_number
del _number, _row


cdef str _reason(int why):
    """The name of a reason, which is a DROP_... or a libuv status."""
    return REASONS[why - 1][0] if why > 0 else status_name(why)


cdef Py_ssize_t _limit_of(object number) except? -2:
    """The count from which on `count >= number`, for a count of connections; -1: there is none.

    No code of the program runs here, whatever its own subclass of int or float overrides, nor
    later, while a connection is accepted.
    """
    cdef int overflow = 0
    cdef long long limit
    cdef double value
    if number is None:
        return -1
    if isinstance(number, float):
        value = PyFloat_AS_DOUBLE(number)
        if not value < <double>PY_SSIZE_T_MAX:
            # No count reaches it. NaN comes here too, since it compares with nothing.
            return -1
        return <Py_ssize_t>ceil(value) if value > 0 else 0
    limit = PyLong_AsLongLongAndOverflow(number, &overflow)
    if overflow > 0 or overflow == 0 and limit > PY_SSIZE_T_MAX:
        return -1
    return <Py_ssize_t>limit if overflow == 0 and limit > 0 else 0


cdef bint _is_no_count(object number) except -1:
    """Whether a limit is below zero, or NaN. No code of the program runs here."""
    cdef int overflow = 0
    if isinstance(number, float):
        return not PyFloat_AS_DOUBLE(number) >= 0
    return number is not None and PyLong_AsLongLongAndOverflow(number, &overflow) < 0 \
        and overflow <= 0


cdef int _add_end(object info, str side, const PeerName* name) except -1:
    """Add one end of a connection to the info of 'drop': None where it is unknown."""
    address, port, family = peer_tuple(name) or (None, None, None)
    info[side + "Address"], info[side + "Port"], info[side + "Family"] = address, port, family
    return 0


cdef class AdmittingServer(Acceptor):
    """The part of a server that decides about connections, at the bottom of ServerBase."""

    def __cinit__(self, *args, **kwargs):
        self._limit = -1
        ring_of_one(&self._sockets)

    def __dealloc__(self):
        # The head alone: a handle in the ring would hold this server.
        leave_ring(&self._sockets)

    def _refuse_second_init(self):
        """Raise if the server exists already: by now it may listen, even in another thread."""
        if self._ready_flag:
            raise state_error("ERR_CONSTRUCTED_TWICE",
                              "Server.__init__() was called twice on the same object")

    cdef int _ready(self) except -1:
        if not self._ready_flag:
            raise state_error("ERR_NOT_CONSTRUCTED",
                              "Server.__init__() was not called; call super().__init__()")
        return self._loop.check()

    cdef int _here(self) except -1:
        return self._loop.here() if self._loop is not None else 0

    def _check(self):
        """Refuse a half-built server, another thread, and a fork's child."""
        self._ready()

    # ---- Limits --------------------------------------------------------------------------------

    @property
    def max_connections(self):
        """How many connections may be open; further ones are dropped. None: no limit; 0: drop all.

        Can be set at any time. Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), RangeError
        (ERR_OUT_OF_RANGE).

        Node: server.maxConnections
        """
        return self._max_connections

    @max_connections.setter
    def max_connections(self, value):
        self._set_max_connections(value, "maxConnections")

    def _set_max_connections(self, value, str name):
        """Check and store the limit; `name` is for the error."""
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise arg_type_error(name, "number", value)
        if _is_no_count(value):
            raise range_error(name, ">= 0", value)
        self._limit = _limit_of(value)
        _before, self._max_connections = self._max_connections, value
        self._room_changed()

    @property
    def block_list(self):
        """The BlockList whose peers are dropped, or None.

        Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

        Node: server.blockList
        """
        return self._block_list

    @block_list.setter
    def block_list(self, value):
        self._set_block_list(value, "blockList")

    def _set_block_list(self, value, str name):
        """Check and store the block list; `name` is for the error."""
        if value is not None and not isinstance(value, BlockList):
            raise arg_type_error(name, "net.BlockList", value)
        self._block_list = value

    @property
    def _per_address(self):
        """How many connections each address has, by its bytes: a new dict; None without a limit."""
        return None if self._addresses is None else self._addresses.as_dict()

    cdef bint _full(self) noexcept:
        """Whether there are as many connections as there may be."""
        return self._limit >= 0 and self._connections + self._awaiting >= self._limit

    cdef int _address_full(self, const PeerName* peer) noexcept:
        """DROP_MAX_PER_ADDRESS if this address may have no more connections, else 0."""
        try:
            if self._addresses.full(peer):
                return DROP_MAX_PER_ADDRESS
        except BaseException:
            # No memory for the bytes of the address: then it is let in.
            pass
        return 0

    cdef int _refusal(self, StreamHandle client, const PeerName* peer) noexcept:
        """Why an accepted connection may not come in, a DROP_...; 0: nothing speaks against it.

        How many connections its address has is a question for later, since a PROXY header may name
        another one: _address_full().
        """
        # A shutdown also accepts the connections that overflow "wait" left in the kernel's queue.
        if self._full() and not (self._ending and self._overflow_waits):
            return DROP_MAX_CONNECTIONS
        if self._block_list is not None and isinstance(client, TCP) \
                and name_blocked(peer, self._block_list):
            return DROP_BLOCK_LIST if peer.family else DROP_UNKNOWN_PEER
        return 0

    # ---- Drops ---------------------------------------------------------------------------------

    @property
    def _dropped(self):
        """How many connections were dropped, by the name of the reason: a new dict."""
        counts = {}
        for drop in self._drops:
            if drop.why:
                counts[_reason(drop.why)] = drop.count
        return counts

    cdef void _count_drop(self, int why) noexcept:
        cdef int index
        # There are more places than reasons: accept() fails in about ten ways.
        for index in range(DROP_KINDS):
            if self._drops[index].why == why or not self._drops[index].why:
                self._drops[index].why = why
                self._drops[index].count += 1
                break
        if not (why > 0 and _silent >> why & 1) and self._loop.reserve_ticks(1):
            # Server writes the line, at most one a second.
            self._loop.tick(self, TICK_LOG_DROPS, None)

    cdef int _drop_client(self, int why, StreamHandle client, const PeerName* peer) except -1:
        """Close an accepted connection, count it, and emit 'drop'. None: it is closed already."""
        cdef PeerName here
        memset(&here, 0, sizeof(here))
        if client is not None:
            if isinstance(client, TCP):
                (<TCP>client).read_here(&here)
            client.close()
        self._count_drop(why)
        return self._emit_drop(why, &here, peer)

    cdef int _drop_header(self, int why, StreamHandle client, const PeerName* peer) except -1:
        """Drop a connection without a valid header; `why` becomes the detail of 'drop'."""
        cdef PeerName here
        if why == uv.UV_ENOMEM:
            return self._drop_client(why, client, peer)
        memset(&here, 0, sizeof(here))
        if isinstance(client, TCP):
            (<TCP>client).read_here(&here)
        client.close()
        self._count_drop(DROP_PROXY)
        return self._emit_drop(DROP_PROXY, &here, peer, header_reason(why))

    cdef int _emit_drop(self, int why, const PeerName* here, const PeerName* there,
                        str detail=None) except -1:
        cdef str reason
        cdef bint tcp
        if not self._emitter_flags & EMITTER_EMIT_OVERRIDDEN and self._find(ON_DROP) is None:
            # Nothing listens: dropping a flood is to cost as little as possible.
            return 0
        reason = None if why == DROP_MAX_CONNECTIONS else _reason(why)
        tcp = isinstance(self._handle, TCP) or here.family or there.family
        info = None
        if tcp or reason is not None:
            info = NodeDrop() if reason is None else Info()
            if tcp:
                _add_end(info, "local", here)
                _add_end(info, "remote", there)
            if reason is not None:
                info["reason"] = reason
            if detail is not None:
                info["detail"] = detail
        self._emit1(ON_DROP, info)
        return 0

    # ---- Pausing -------------------------------------------------------------------------------

    # A listener that rests is out of the poll, so that it costs nothing, and clients stay in the
    # kernel's queue. Where it cannot be taken out (Windows, an installed libuv), one connection is
    # accepted and left with libuv, which then polls the listener no more: `_waiting_accepts`.

    cdef void _rest(self, unsigned int why) noexcept:
        if not self._rests and self._handle is not None:
            listener_rests(self._handle, True, self._exhausted_waits, self._reserve)
        self._rests |= why

    cdef void _go_on(self, unsigned int why) noexcept:
        if not self._rests & why:
            return
        self._rests &= ~why
        if not self._rests and self._handle is not None:
            listener_rests(self._handle, False, self._exhausted_waits, self._reserve)
            if self._waiting_accepts:
                self._take_waiting()
            self._loop.touched()

    cdef void _take_waiting(self) noexcept:
        """Take the connections that libuv has accepted meanwhile, in a tick."""
        try:
            self._loop.tick(self, TICK_TAKE_WAITING, None)
        except MemoryError as exc:
            self._loop.report(exc)

    cdef void _room_changed(self) noexcept:
        """Rest or go on, after the limit or the number of connections has changed."""
        # 95 % of the limit, and at least one less than it.
        cdef Py_ssize_t few = self._limit - self._limit // 20 - (self._limit % 20 > 0)
        if not self._overflow_waits:
            return
        if self._full():
            self._rest(REST_FULL)
        elif self._limit < 0 or self._connections + self._awaiting <= few:
            self._go_on(REST_FULL)

    cdef int _note_manner(self, StreamHandle handle) except -1:
        """Before a handle listens: set how it rests, if that differs from the default."""
        if self._overflow_waits or not self._exhausted_waits or self._reserve or self._rests:
            listener_manner(handle, self._rests != 0, self._exhausted_waits, self._reserve)
        return 0

    def pause(self):
        """Accept nothing until resume(): clients stay in the kernel's queue, up to the backlog.

        It may be called before listen() too, and lasts over close() and listen(). A paused server
        keeps the loop alive, like a listening one. Open connections are not affected.

        Returns the server.

        Node: none
        """
        self._ready()
        if self._handle is not None:
            # This needs memory, and so comes before anything has changed.
            listener_manner(self._handle, self._rests != 0, self._exhausted_waits, self._reserve)
        self._rest(REST_ASKED)
        return self

    def resume(self):
        """Accept again after pause(); no effect otherwise. Returns the server.

        Node: none
        """
        self._ready()
        self._go_on(REST_ASKED)
        return self

    @property
    def paused(self):
        """True from pause() until resume(). Node: none"""
        return bool(self._rests & REST_ASKED)

    @property
    def _resting(self):
        """Whether it accepts nothing now, for any reason."""
        return self._rests != 0


add_node_names(AdmittingServer)

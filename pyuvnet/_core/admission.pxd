"""AdmittingServer: whether a connection comes in; see admission.pyx."""

from .address cimport PeerName
from .blocklist cimport BlockList
from .limits cimport AddressCounts
from .loop cimport Loop
from .owner cimport Acceptor
from .stream_handle cimport StreamHandle

cdef enum:
    # Why a connection was refused: the rows of REASONS. Other reasons are libuv statuses, which are
    # below 0.
    DROP_MAX_CONNECTIONS = 1
    DROP_BLOCK_LIST
    DROP_UNKNOWN_PEER
    DROP_PROXY
    DROP_MAX_PER_ADDRESS

cdef enum:
    # Why a server accepts nothing for the time being; clients stay in the kernel's queue.
    REST_ASKED = 1 << 0          # pause()
    REST_FULL = 1 << 1           # max_connections, with overflow "wait"

cdef enum:
    # What a server has done in a tick, see ServerBase._on_tick().
    TICK_LISTENING
    TICK_SERVER_CLOSE
    TICK_SERVER_ERROR
    TICK_LITERAL_RESOLVED
    TICK_OVERLOAD
    TICK_TAKE_WAITING
    TICK_LOG_DROPS

cdef enum:
    DROP_KINDS = 16

cdef struct DropCount:
    int why                            # one of DROP_..., or a libuv status; 0: not used yet
    Py_ssize_t count

cdef class AdmittingServer(Acceptor):
    cdef Loop _loop
    cdef StreamHandle _handle          # None while not listening
    cdef readonly Py_ssize_t _connections
    cdef readonly Py_ssize_t _awaiting                 # those that wait for a PROXY header
    cdef object _max_connections       # None: no limit
    cdef Py_ssize_t _limit             # the same as a count; -1: no limit
    cdef AddressCounts _addresses      # how many each address has; None: not counted
    cdef BlockList _block_list         # peers it matches are closed silently
    cdef Py_ssize_t _waiting_accepts   # connections left for the next accept, see accepting
    # Whether the server accepts now, see "Pausing".
    cdef unsigned char _rests          # REST_...
    cdef bint _overflow_waits          # at max_connections; else connections are dropped
    cdef bint _exhausted_waits         # without descriptors; else they are
    cdef int _reserve                  # descriptors that it leaves to the program
    cdef bint _ending                  # it shuts down, and the listener is closed
    cdef bint _ready_flag
    cdef DropCount _drops[DROP_KINDS]

    cdef int _ready(self) except -1
    cdef bint _full(self) noexcept
    cdef int _address_full(self, const PeerName* peer) noexcept
    cdef int _refusal(self, StreamHandle client, const PeerName* peer) noexcept
    cdef void _count_drop(self, int why) noexcept
    cdef int _drop_client(self, int why, StreamHandle client, const PeerName* peer) except -1
    cdef int _drop_header(self, int why, StreamHandle client, const PeerName* peer) except -1
    cdef int _emit_drop(self, int why, const PeerName* here, const PeerName* there,
                        str detail=*) except -1
    cdef void _rest(self, unsigned int why) noexcept
    cdef void _go_on(self, unsigned int why) noexcept
    cdef void _take_waiting(self) noexcept
    cdef void _room_changed(self) noexcept
    cdef int _note_manner(self, StreamHandle handle) except -1

"""TLS: the layer that a TLSSocket has between its handle and its stream.

Owns: the engine of one connection, the ciphertext that has come in part or has not left, and the
write that waits for either.  What is Python's (certificates, contexts, events) is in pyuvnet/tls.py
and next to it: the layer calls the methods of TLSSocket that upcalls.METHODS lists, through the
table that TLSSocket gives it.  It does not know the class of the handle's owner, which it calls
through HandleCalls.  Imports: layer and below.

Up: records are cut here, so that the engine is fed whole ones and never has to say that it wants
more.  What one read brings is decrypted into the loop's one buffer, and goes up as one chunk,
however many records it was.  Down: a record is made of up to 16 KiB of what is written together,
and leaves at once.  What the kernel takes only in part is encrypted already: the socket offers
those bytes again, and `ahead` counts how many of them are to be skipped.

Each call of the engine may run a signal handler, and each call up may destroy the socket: after
either, `over()` says whether to go on.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memmove

from . cimport uv
from .capi cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from .engine cimport *
from .errors cimport os_error, seal, state_error
from .hello import read_hello
from .layer cimport Layer, add_layer, owner_calls
from .loop cimport READ_BUFFER_SIZE, Loop, LoopPart
from .stream_handle cimport StreamHandle
from .timer cimport Timer

cdef extern from "sockopt.h":
    bint pyuvnet_has_unread(int fd) noexcept

cdef enum:
    PLAIN_SIZE = 98304           # of the loop's buffer: a read, and what was kept of one
    FEED_SIZE = 17408            # of ciphertext that the engine is fed at once: it keeps the memory
    BATCH = 8                    # records that leave with one call
    HELLO_SIZE = 40960           # of what waits for the server to choose a context
    MAX_SENDING = 64             # answers to a peer that wait to leave
    SILENCE = 1000               # ms that a peer may take for its close_notify
    RECORD_COST = 1024           # as many plain bytes take no longer than a record of one byte

    RECORD_ALERT = 21
    RECORD_HANDSHAKE = 22

cdef enum:
    # What a connection is in, in the order of its life.
    TLS_READS_HELLO = 1 << 1     # No engine yet: the first message of the client comes first.
    TLS_DECIDING = 1 << 2        # It is there, and the program chooses a context.
    TLS_HELD = 1 << 3            # Nothing is read yet: go_on() begins.
    TLS_WANTED = 1 << 4          # Reading is wanted from above.
    TLS_SECURE = 1 << 5          # The handshake is over.
    TLS_SERVING = 1 << 6         # The program knows, and what waited has left.
    TLS_END_DUE = 1 << 7         # shutdown() came before that.
    TLS_ENDED = 1 << 8           # Our close_notify was made.
    TLS_PEER_ENDED = 1 << 9      # The peer's was read.
    TLS_FAILED = 1 << 10
    TLS_STRICT = 1 << 11         # The end of the connection alone is an error.
    TLS_ONE_BY_ONE = 1 << 12     # A listener wants to know of each ticket.
    TLS_IN_READ = 1 << 13        # read() is on the stack.
    TLS_UNDIGESTED = 1 << 14     # The engine was fed records that are not read yet.
    TLS_TICK_DUE = 1 << 15       # A tick goes on with what came with the end of the handshake.
    TLS_ACCEPTED = 1 << 16       # TLSSocket has found nothing wrong with the peer.
    TLS_HEARD = 1 << 17          # Data came after our close_notify.
    TLS_LAST_LOOK = 1 << 18      # The peer's time to answer it is over, as far as we have looked.
    TLS_REFUSED = 1 << 19        # hello.pyx cannot read the hello; the engine only says why.
    TLS_TRUNCATED = 1 << 20      # The connection has ended, and no close_notify has come.

    ALERT_UNEXPECTED_MESSAGE = 10
    ALERT_ILLEGAL_PARAMETER = 47


cdef class _Shared(LoopPart):
    """What all connections of a loop use in turn, none of them beyond a call."""

    cdef char* plain             # PLAIN_SIZE
    cdef char* joined            # RECORD_SIZE, of small chunks
    cdef Window window
    cdef Py_ssize_t records      # that were fed in this read
    cdef bint busy               # plain is in use: a listener that reads gets memory of its own

    def __dealloc__(self):
        PyMem_RawFree(self.plain)
        PyMem_RawFree(self.joined)


cdef _Shared _shared_of(Loop loop):
    cdef _Shared shared
    if loop.ciphers is None:
        shared = _Shared.__new__(_Shared)
        shared.window = Window.__new__(Window)
        shared.plain = <char*>PyMem_RawMalloc(PLAIN_SIZE)
        shared.joined = <char*>PyMem_RawMalloc(RECORD_SIZE)
        if shared.plain is NULL or shared.joined is NULL:
            raise MemoryError
        # Making it may have run a finaliser.
        if loop.ciphers is None:
            loop.ciphers = shared
    return <_Shared>loop.ciphers


cdef class _Deadline(Timer):
    """What ends a handshake, or the wait for the peer's close_notify."""

    cdef TLS layer

    cdef int fire(self) except -1:
        cdef TLS layer = self.layer
        if layer is not None:
            return layer.expired()
        return 0

    cdef object whose(self):
        return None if self.layer is None or self.layer.handle is None \
            else self.layer.handle.owner


cdef Py_ssize_t _record(const char* base, Py_ssize_t size) noexcept:
    """The size of the record that begins here, with its header; 0: not known yet; -1: none."""
    cdef const unsigned char* header = <const unsigned char*>base
    cdef Py_ssize_t length
    if size < HEADER_SIZE:
        if size and not 20 <= header[0] <= 24 or size > 1 and header[1] != 3:
            return -1
        return 0
    length = header[3] << 8 | header[4]
    if not 20 <= header[0] <= 24 or header[1] != 3 or length > RECORD_SIZE + RECORD_OVERHEAD:
        return -1
    return HEADER_SIZE + length


cdef class Calls:
    """What a class of sockets has the layer call, each a function of the socket and its arguments.

    Args:
        hello: (socket, servername, protocols): the client's first message is there.
        secured: (socket): the handshake is over.
        failed: (socket, error, secure): the layer has failed.
        ticket: (socket): there may be a new session.
        write_failed: (socket, error): returns the exception of a write that the engine refused.

    upcalls.METHODS says more.
    """

    cdef object hello, secured, failed, ticket, write_failed

    def __cinit__(self, *, hello, secured, failed, ticket, write_failed):
        self.hello, self.secured, self.failed = hello, secured, failed
        self.ticket, self.write_failed = ticket, write_failed


cdef class TLS(Layer):
    """What add_tls() returns."""

    cdef Calls upward            # what is called for the handle's owner
    cdef Engine engine           # None until a context is chosen
    cdef _Shared shared
    cdef unsigned int flags
    cdef unsigned int record_size
    cdef char* inbox             # ciphertext that no engine has been fed
    cdef Py_ssize_t in_size, in_room
    cdef Py_ssize_t ahead        # bytes that are encrypted, and that the socket offers once more
    cdef unsigned int sending    # requests below
    cdef int broken              # what a write has found, to be reported by the end; 0: nothing
    cdef object chunks           # of the write that waits
    cdef uv.uv_buf_t* bufs       # what is left of it: those from `at` on
    cdef unsigned int count, at
    cdef _Deadline deadline
    cdef uint32_t moved_at       # when our last flight of the handshake was made, in ms

    def __dealloc__(self):
        PyMem_RawFree(self.inbox)
        PyMem_RawFree(self.bufs)

    # ---- What TLSSocket calls ------------------------------------------------------------------

    @property
    def secure(self):
        """Whether the handshake is over."""
        return bool(self.flags & TLS_SECURE)

    @property
    def peer_ended(self):
        """Whether the peer's close_notify has been read."""
        return bool(self.flags & TLS_PEER_ENDED)

    @property
    def truncated(self):
        """Whether the connection has ended without the peer's close_notify."""
        return bool(self.flags & TLS_TRUNCATED)

    @property
    def ssl_object(self):
        """Python's SSLObject, or None before a context is chosen."""
        return None if self.engine is None else self.engine.ssl_object()

    @property
    def engine_name(self):
        """'libssl' or 'python', see engine.pyx; '' before a context is chosen."""
        return "" if self.engine is None else self.engine.name()

    @property
    def verify_result(self):
        """OpenSSL's number of what is wrong with the certificate; 0: nothing; -1: unknown."""
        return -1 if self.engine is None else self.engine.verify_result()

    def start(self, ssl_object, incoming, outgoing, bint verify_only=False):
        """Begin the handshake with a context; what has come already is read.

        Args:
            ssl_object: SSLObject, made with the two MemoryBIOs.
            verify_only: go on whatever is wrong with the peer's certificate, see verify_result. An
                engine that cannot do so fails, as the context says.
        """
        if self.over() or self.engine is not None:
            return
        self.engine = new_engine(ssl_object, incoming, outgoing, self.shared.window)
        if verify_only:
            self.engine.verify_only()
        self.flags &= ~(TLS_READS_HELLO | TLS_DECIDING)
        self._begin()

    def go_on(self):
        """Let the handshake of a server begin."""
        self.flags &= ~TLS_HELD
        self._begin()

    cdef int _begin(self) except -1:
        cdef int status
        if self.over() or self.flags & TLS_HELD:
            return 0
        self.moved_at = <uint32_t>uv.uv_now(&self.handle.loop._uv)
        if not self.flags & TLS_IN_READ:
            self._pump()
        if not self.over() and not self.flags & TLS_SECURE:
            status = Layer.read_start(self)
            if status < 0:
                self.fail(os_error(status, "read"))
        return 0

    def set_deadline(self, unsigned long ms):
        """Fail the handshake unless it is over in so many ms."""
        self._wait(ms)

    def waited(self, uint32_t limit):
        """For how many ms the handshake has waited for the peer; 0: it waits for the program.

        If the loop was busy for so long, the peer's bytes may still be unread. So what is unread
        keeps it below the limit, but only for as long again: a peer may see to it that there is
        always something.
        """
        cdef uint32_t waited
        if self.over() or self.flags & (TLS_DECIDING | TLS_SECURE):
            return 0
        waited = <uint32_t>uv.uv_now(&self.handle.loop._uv) - self.moved_at
        if limit <= waited < 2 * limit and pyuvnet_has_unread(self.handle.fileno()):
            return limit - 1
        return waited

    def set_record_size(self, unsigned int size):
        """Let no record have more plaintext than that."""
        self.record_size = size

    def set_one_by_one(self, bint enabled):
        """Look after each record whether it was a ticket."""
        if enabled:
            self.flags |= TLS_ONE_BY_ONE
        else:
            self.flags &= ~TLS_ONE_BY_ONE

    def end_up(self):
        """Let the stream end, after a handshake that failed."""
        if self.handle is not None and not self.handle.closing:
            Layer.read_ended(self, uv.UV_EOF)

    def accept(self):
        """Let data pass: the peer is who it should be. Without this the connection fails."""
        self.flags |= TLS_ACCEPTED

    def refuse(self, unsigned char description):
        """Send a fatal alert in the clear, before there is an engine."""
        if not self.over():
            self._send(bytes((21, 3, 3, 0, 2, 2, description)))

    # ---- Up: ciphertext in ---------------------------------------------------------------------

    cdef inline bint over(self) noexcept:
        return self.handle is None or self.handle.closing or self.handle.owner is None \
            or self.flags & TLS_FAILED

    cdef int _keep(self, const char* base, Py_ssize_t size) except -1:
        """Copy ciphertext that cannot be fed yet."""
        cdef char* grown
        cdef Py_ssize_t room = self.in_room
        if self.in_size + size > room:
            room = max(self.in_size + size, 512)
            grown = <char*>PyMem_RawRealloc(self.inbox, room)
            if grown is NULL:
                raise MemoryError
            self.inbox, self.in_room = grown, room
        memcpy(self.inbox + self.in_size, base, size)
        self.in_size += size
        return 0

    cdef int _hand_up(self, const char* base, Py_ssize_t size) except -1:
        """Layer.read(), after which this layer goes on whatever a listener raises."""
        cdef StreamHandle handle = self.handle
        if self.flags & TLS_ENDED:
            self.flags |= TLS_HEARD
        try:
            Layer.read(self, base, size)
        except BaseException as exc:
            if handle.owner is None or handle.closing:
                handle.loop.report_of(exc, handle.owner)
            else:
                handle.calls.read_raised(handle.owner, handle, exc)
        return 0

    cdef void _used(self, Py_ssize_t size) noexcept:
        """So much of what was kept is fed."""
        cdef char* smaller
        self.in_size -= size
        if self.in_size:
            memmove(self.inbox, self.inbox + size, self.in_size)
            if self.in_room - self.in_size > FEED_SIZE:
                # A handshake that stalls keeps no more than it has to.
                smaller = <char*>PyMem_RawRealloc(self.inbox, self.in_size)
                if smaller is not NULL:
                    self.inbox, self.in_room = smaller, self.in_size
        else:
            # An idle connection keeps nothing.
            PyMem_RawFree(self.inbox)
            self.inbox = NULL
            self.in_room = 0

    cdef int read(self, const char* base, Py_ssize_t size) except -1:
        cdef bint nested = self.flags & TLS_IN_READ != 0
        if self.flags & (TLS_PEER_ENDED | TLS_FAILED):
            return 0
        if not size:
            return Layer.read(self, base, 0)
        self.flags |= TLS_IN_READ
        try:
            if self.deadline is not None and self.flags & TLS_ENDED:
                self.flags &= ~TLS_LAST_LOOK
                self._wait(SILENCE)
            if self.flags & (TLS_SERVING | TLS_TICK_DUE) == TLS_SERVING:
                self.shared.records = 0
                self._decrypt(base, size)
                if size >= READ_BUFFER_SIZE and self.handle is not None:
                    # Others must not wait for thousands of tiny ones.
                    self.handle.loop.full_extra = self.shared.records * RECORD_COST
            else:
                self._keep(base, size)
                # A handshake is activity.
                if not self.over():
                    self.handle.was_active()
                Layer.read(self, base, 0)
                self._pump()
        finally:
            if not nested:
                self.flags &= ~TLS_IN_READ
        return 0

    cdef int _pump(self) except -1:
        """Go on with what was kept."""
        if self.flags & (TLS_HELD | TLS_DECIDING) or self.over():
            return self._bound_waiting()
        if self.engine is None:
            if not self.flags & TLS_READS_HELLO or not self.in_size or not self._read_hello():
                return 0
        if not self.flags & TLS_SECURE and not self._shake():
            return 0
        if self.over() or self.flags & (TLS_SERVING | TLS_TICK_DUE) != TLS_SERVING:
            return 0
        return self._decrypt_kept()

    cdef int _bound_waiting(self) except -1:
        """Fail if much comes behind the hello, before our answer: all of it has to be kept."""
        if self.flags & TLS_DECIDING and self.in_size > HELLO_SIZE and not self.over():
            return self.fail(state_error(
                "ERR_SSL_EXCESSIVE_MESSAGE_SIZE", "too much follows the first message"))
        return 0

    cdef bint _read_hello(self) except -1:
        """Read the hello that was kept; False: it is not whole, or a context is to be chosen."""
        cdef object found, failure = None
        cdef Loop loop
        try:
            found = read_hello(PyBytes_FromStringAndSize(self.inbox, self.in_size))
        except ValueError:
            # The engine has the right error for that. If it has none, _refuse_hello() has.
            found = (None, None)
            self.flags |= TLS_REFUSED
        except OverflowError as exc:
            found, failure = None, exc
        if failure is not None:
            self.refuse(ALERT_ILLEGAL_PARAMETER)
            self.fail(state_error("ERR_SSL_EXCESSIVE_MESSAGE_SIZE", str(failure)))
        if found is None:
            return False
        self.flags = (self.flags & ~TLS_READS_HELLO) | TLS_DECIDING
        loop, failure = self.handle.loop, None
        try:
            self.upward.hello(self.handle.owner, found[0], found[1])
        except BaseException as exc:
            failure = exc
        if failure is not None and (
                self.engine is not None or self.over() or not isinstance(failure, Exception)):
            # Of a program that has chosen before; or an interrupt.
            loop.report(failure)
            if not self.over() and self.engine is None:
                failure = state_error("ERR_SSL_INTERRUPTED", "No context was chosen")
        if self.over():
            return False
        if self.engine is not None:
            return True
        if failure is not None:
            self.fail(failure)
        else:
            self._bound_waiting()
        return False

    cdef bint _shake(self) except -1:
        """Feed the engine what was kept until the handshake is over; False: it is not."""
        cdef Py_ssize_t batch, length
        cdef int result
        while True:
            batch = length = 0
            while batch < self.in_size:
                length = _record(self.inbox + batch, self.in_size - batch)
                if length <= 0 or length > self.in_size - batch \
                        or batch and batch + length > FEED_SIZE:
                    break
                batch += length
            if not batch and length < 0:
                # No record at all: the engine says what that is.
                batch = min(self.in_size, <Py_ssize_t>FEED_SIZE)
            if batch:
                result = self.engine.feed(self.inbox, batch)
                self._used(batch)
                if result < 0:
                    self._engine_failed()
                    return False
            elif self.in_size:
                return False
            result = self.engine.handshake()
            if self.over():
                return False
            if self.flags & TLS_REFUSED and not self._refuse_hello():
                return False
            if result == ENGINE_FAILED:
                self._engine_failed()
                return False
            if result == 1:
                self._secured()
                return True
            if not self._send_collected():
                return False
            if not self.in_size:
                return False
            if not batch:
                return False

    cdef bint _refuse_hello(self) except -1:
        """Fail if the engine accepts a hello that could not be read here; True: go on.

        The engine has the default context, which no choice confirmed. So nothing that it makes
        leaves, except for an alert.
        """
        cdef bytes data = self.engine.collect()
        if self.over():
            return False
        if data is None:
            self._engine_failed()
            return False
        if not data:
            return True
        if self.engine.error is not None and data[0] == RECORD_ALERT:
            self._send(data)
            return True
        self.refuse(ALERT_UNEXPECTED_MESSAGE)
        self.fail(state_error("ERR_SSL_UNEXPECTED_MESSAGE", "unexpected message"))
        return False

    cdef int _secured(self) except -1:
        cdef object owner = self.handle.owner
        cdef Loop loop = self.handle.loop
        cdef int status
        self.flags |= TLS_SECURE | TLS_UNDIGESTED
        self._stop_waiting()
        # Before our last message: a peer that is not who it should be never gets it.
        failure = None
        try:
            self.upward.secured(owner)
        except BaseException as exc:
            failure = exc
        if failure is not None and (
                self.flags & TLS_ACCEPTED or self.over() or not isinstance(failure, Exception)):
            # A listener's, and no reason to end the connection; or an interrupt of the program.
            loop.report_of(failure, owner)
            failure = None
        if self.over():
            return 0
        if not self.flags & TLS_ACCEPTED:
            return self.fail(failure or state_error(
                "ERR_SSL_INTERRUPTED", "The peer could not be verified"))
        if not self._send_collected():
            return 0
        self.flags |= TLS_SERVING
        if self.chunks is not None:
            status = self._push()
            if status < 0:
                self._completed(status)
                if self.over():
                    return 0
        if not self.flags & TLS_WANTED:
            Layer.read_stop(self)
        # What came with the last message of the handshake goes up when the ticks of the listeners
        # are done, such as that of resume().
        self.flags |= TLS_TICK_DUE
        self.handle.loop.tick_call(self.digest, ())
        return 0

    def digest(self):
        """Go on with what came with the end of the handshake."""
        cdef object failure = None
        self.flags &= ~TLS_TICK_DUE
        if self.over():
            return
        try:
            self._take_all()
            self._end_if_due()
            if not self.over():
                self._decrypt_kept()
        except MemoryError as exc:
            failure = exc
        if failure is not None:
            # Some of it may be lost.
            self.fail(os_error(uv.UV_ENOMEM, "read"))

    cdef int _end_if_due(self) except -1:
        """Go on with a shutdown() that had to wait."""
        cdef int status
        self.flags &= ~TLS_UNDIGESTED
        if self.flags & (TLS_END_DUE | TLS_SERVING) == TLS_END_DUE | TLS_SERVING \
                and not self.over():
            status = self._end()
            if status < 0:
                Layer.shut_down(self, status)
        return 0

    cdef int _decrypt_kept(self) except -1:
        """_decrypt() of what was kept."""
        cdef char* kept = self.inbox
        cdef Py_ssize_t size = self.in_size
        if not size:
            return 0
        self.inbox = NULL
        self.in_size = self.in_room = 0
        try:
            self._decrypt(kept, size)
        finally:
            PyMem_RawFree(kept)
        return 0

    cdef Py_ssize_t _complete(self, const char* base, Py_ssize_t size) except -2:
        """Complete the record that was kept in part: how many bytes it takes.

        -1: it is none, and all is kept.
        """
        cdef Py_ssize_t length = _record(self.inbox, self.in_size), part = 0
        while length == 0 and part < size:
            self._keep(base + part, 1)
            part += 1
            length = _record(self.inbox, self.in_size)
        if length < 0:
            self._keep(base + part, size - part)
            return -1
        length = min(length - self.in_size, size - part)
        if length > 0:
            self._keep(base + part, length)
            part += length
        return part

    cdef int _decrypt(self, const char* base, Py_ssize_t size) except -1:
        """Decrypt all whole records, hand them up together, and keep what is left."""
        cdef _Shared shared = self.shared
        cdef char* plain = shared.plain
        cdef bint nested = shared.busy
        cdef Py_ssize_t batch, length = 0, filled = 0, records, result = 1
        cdef bint kept = False
        if self.in_size:
            batch = self._complete(base, size)
            if batch < 0:
                # The engine says what that is.
                base, size, length = NULL, 0, -1
            else:
                base += batch
                size -= batch
                length = _record(self.inbox, self.in_size)
                if not length or self.in_size < length:
                    return 0
            kept = True
        if nested:
            # A listener of another connection runs a function that reads; rare.
            plain = <char*>PyMem_RawMalloc(PLAIN_SIZE)
            if plain is NULL:
                raise MemoryError
        shared.busy = True
        self.flags |= TLS_UNDIGESTED
        try:
            while (size or kept) and result > 0:
                batch = records = 0
                if kept and length > 0:
                    records = 1
                    if self.inbox[0] == RECORD_HANDSHAKE:
                        records, length = 0, -2
                while batch < size and not kept:
                    length = _record(base + batch, size - batch)
                    if length <= 0 or length > size - batch \
                            or batch and batch + length > FEED_SIZE \
                            or records and self.flags & TLS_ONE_BY_ONE:
                        break
                    if base[batch] == RECORD_HANDSHAKE:
                        # After the handshake only a renegotiation begins like this.
                        length = -2
                        break
                    batch += length
                    records += 1
                if not records:
                    if length >= 0:
                        break
                    batch = min(size, <Py_ssize_t>FEED_SIZE)
                if length == -2 and not records:
                    result = ENGINE_FAILED
                    break
                if kept:
                    result = self.engine.feed(self.inbox, self.in_size)
                    self._used(self.in_size)
                    kept = False
                else:
                    result = self.engine.feed(base, batch)
                    base += batch
                    size -= batch
                if result < 0:
                    break
                result = 1
                shared.records += records
                if not records:
                    records = -1
                while records:
                    if PLAIN_SIZE - filled < RECORD_SIZE:
                        self._hand_up(plain, filled)
                        filled = 0
                        if self.over():
                            return 0
                    result = self.engine.take(plain + filled, PLAIN_SIZE - filled)
                    if result <= 0:
                        break
                    filled += result
                    records -= 1
                if self.over():
                    # A signal handler.
                    return 0
                if result == ENGINE_WANTS:
                    # The rest was no data: tickets, or new keys, which may want an answer.
                    if records < 0:
                        self.engine.error = state_error(
                            "ERR_SSL_WRONG_VERSION_NUMBER", "wrong version number")
                        result = ENGINE_FAILED
                        break
                    result = 1
                    if not self._send_collected():
                        return 0
                    if self.flags & TLS_ONE_BY_ONE:
                        if filled:
                            self._hand_up(plain, filled)
                            filled = 0
                        if not self.over():
                            self._look_for_ticket()
                        if self.over():
                            return 0
            if result > 0:
                # All is taken.
                self.flags &= ~TLS_UNDIGESTED
                if size:
                    self._keep(base, size)
            if filled:
                self._hand_up(plain, filled)
        finally:
            shared.busy = nested
            if nested:
                PyMem_RawFree(plain)
        if self.over():
            return 0
        if result == ENGINE_ENDED:
            self._peer_ended()
        elif result == ENGINE_FAILED:
            return self._engine_failed()
        return self._end_if_due()

    cdef int _take_all(self) except -1:
        """Hand up what the engine was fed during the handshake."""
        cdef Py_ssize_t result = 1, filled = 0
        cdef char* plain = <char*>PyMem_RawMalloc(PLAIN_SIZE)
        if plain is NULL:
            raise MemoryError
        try:
            while not self.over():
                if PLAIN_SIZE - filled < RECORD_SIZE:
                    self._hand_up(plain, filled)
                    filled = 0
                    continue
                result = self.engine.take(plain + filled, PLAIN_SIZE - filled)
                if result <= 0:
                    break
                filled += result
            if filled and not self.over():
                self._hand_up(plain, filled)
        finally:
            PyMem_RawFree(plain)
        if self.over():
            return 0
        if result == ENGINE_ENDED:
            return self._peer_ended()
        if result == ENGINE_FAILED:
            return self._engine_failed()
        self._send_collected()
        if self.flags & TLS_ONE_BY_ONE and not self.over():
            self._look_for_ticket()
        return 0

    cdef int _look_for_ticket(self) except -1:
        """Let 'session' be emitted; this layer goes on whatever a listener raises."""
        cdef StreamHandle handle = self.handle
        try:
            self.upward.ticket(handle.owner)
        except BaseException as exc:
            handle.loop.report_of(exc, handle.owner)
        return 0

    cdef int _peer_ended(self) except -1:
        self.flags |= TLS_PEER_ENDED
        self._stop_waiting()
        Layer.read_stop(self)
        return Layer.read_ended(self, uv.UV_EOF)

    cdef int read_ended(self, int status) except -1:
        if self.flags & (TLS_PEER_ENDED | TLS_FAILED):
            return 0
        if self.broken:
            status = self.broken
        if self.flags & TLS_SERVING and status == uv.UV_EOF:
            self.flags |= TLS_TRUNCATED
        if self.flags & (TLS_TRUNCATED | TLS_STRICT) == TLS_TRUNCATED:
            self.flags |= TLS_PEER_ENDED
            self._stop_waiting()
            return Layer.read_ended(self, status)
        if status == uv.UV_EOF and self.flags & (TLS_ENDED | TLS_HEARD) == TLS_ENDED \
                and not owner_calls(self.handle).half_open(self.handle.owner):
            # It need not answer our close_notify. But 'end' would say that its data are whole.
            return self._finished()
        if self.flags & TLS_SERVING and status != uv.UV_EOF:
            return Layer.read_ended(self, status)
        return self.fail(None if status == uv.UV_EOF else os_error(status, "read"))

    # ---- Failures ------------------------------------------------------------------------------

    cdef int _engine_failed(self) except -1:
        """The engine has failed; the peer is sent why, if it made an alert."""
        cdef object error
        self._report_interrupt()
        error = self.engine.error
        if error is None:
            error = state_error("ERR_SSL_NO_RENEGOTIATION", "renegotiation is refused")
        if not self._send_collected():
            return 0
        return self.fail(error)

    cdef void _report_interrupt(self) noexcept:
        """Let what a signal handler has raised in the engine come out of run().

        The connection is lost with it, since the engine does not say how far it was.
        """
        cdef object error = self.engine.error
        if error is None or is_engines(error):
            return
        self.engine.error = None
        self.handle.loop.report(error)
        try:
            error = state_error("ERR_SSL_INTERRUPTED", "A signal handler interrupted TLS")
        except MemoryError as exc:
            error = exc
        self.engine.error = error

    cdef int fail(self, object error) except -1:
        """Let the socket destroy itself.

        error: what the engine raised, or an error of the system; None: the connection has ended.
        """
        cdef StreamHandle handle = self.handle
        cdef object failure = None
        if self.over():
            return 0
        self.flags |= TLS_FAILED
        self._stop_waiting()
        try:
            self.upward.failed(handle.owner, error, self.flags & TLS_SECURE != 0)
        except BaseException as exc:
            failure = exc
        if failure is not None:
            if handle.owner is not None and not handle.closing:
                # It was interrupted before it had destroyed the socket.
                owner_calls(handle).lost(handle.owner, handle, None)
            raise failure
        return 0

    cdef object failure(self, int status):
        cdef Engine engine = self.engine
        if status != uv.UV_EPROTO or engine is None or engine.error is None:
            return Layer.failure(self, status)
        return self.upward.write_failed(self.handle.owner, engine.error)

    cdef int expired(self) except -1:
        if self.over():
            return 0
        if not self.flags & TLS_SECURE:
            return self.fail(TimeoutError())
        if self.flags & TLS_WANTED:
            if self.flags & TLS_LAST_LOOK:
                return self._finished()
            # If the loop was busy for so long, what has come meanwhile is still to be read.
            self._wait(1)
        # Else the peer may well have spoken: its time begins with the reading, in read_start().
        self.flags |= TLS_LAST_LOOK
        return 0

    cdef int _finished(self) except -1:
        """Close: the peer has said nothing since our close_notify."""
        self.flags |= TLS_FAILED
        self._stop_waiting()
        owner_calls(self.handle).lost(self.handle.owner, self.handle, None)
        return 0

    cdef int _wait(self, unsigned long ms) except -1:
        if self.handle is None:
            return 0
        if self.deadline is None:
            deadline = _Deadline.__new__(_Deadline)
            (<_Deadline>deadline).loop = self.handle.loop
            (<_Deadline>deadline).layer = self
            self.deadline = deadline
        self.deadline.start(ms)
        return 0

    cdef void _stop_waiting(self) noexcept:
        cdef _Deadline deadline = self.deadline
        self.deadline = None
        if deadline is not None:
            deadline.cancel()
            deadline.layer = None

    cdef void closed(self) noexcept:
        self._stop_waiting()
        if self.chunks is not None:
            try:
                self._completed(uv.UV_ECANCELED)
            except BaseException as exc:
                self.handle.loop.report(exc)

    # ---- Down: plaintext in --------------------------------------------------------------------

    cdef int _send(self, bytes data) noexcept:
        """Send ciphertext that is no part of a write; returns a libuv status."""
        cdef uv.uv_buf_t buf
        cdef Py_ssize_t taken = 0
        cdef int status
        buf.base = PyBytes_AS_STRING(data)
        buf.len = PyBytes_GET_SIZE(data)
        if not buf.len:
            return 0
        if not self.sending:
            taken = Layer.try_write(self, &buf, 1)
            if taken == <Py_ssize_t>buf.len:
                return 0
            if taken == uv.UV_EAGAIN:
                taken = 0
            elif taken < 0:
                return <int>taken
        buf.base += taken
        buf.len -= taken
        status = Layer.write(self, data, &buf, 1)
        if status == 0:
            self.sending += 1
        return status

    cdef bint _send_collected(self) except -1:
        """Send what the engine has made by itself; False: the connection is over."""
        cdef bytes data = self.engine.collect()
        cdef int status
        if data and not self.over():
            # The peer has sent all that we waited for. Bytes and records alone prove nothing.
            self.moved_at = <uint32_t>uv.uv_now(&self.handle.loop._uv)
        if data and self.flags & TLS_SERVING and self.sending >= MAX_SENDING and not self.over():
            # A peer that asks for new keys again and again, and does not read the answers.
            self.fail(state_error("ERR_SSL_TOO_MANY_KEY_UPDATES", "too many key updates"))
            return False
        status = uv.UV_ENOMEM if data is None else self._send(data)
        if status < 0 and not self.over():
            if status == uv.UV_EPIPE or status == uv.UV_ECONNRESET:
                # What the peer has said before it went comes first; the kernel says this once.
                self.broken = status
            else:
                self.fail(os_error(status, "write"))
        return not self.over()

    cdef bytes _encrypt(self, uv.uv_buf_t* bufs, unsigned int count, Py_ssize_t skip,
                        Py_ssize_t* plain, uv.uv_buf_t* out):
        """Make one record of what bufs have from `skip` bytes in the first on, and point at it.

        plain: how many bytes went into it; 0: only empty chunks are left. Returns None then, and if
        it failed, with a libuv status in `plain`.
        """
        cdef char* joined = self.shared.joined
        cdef Py_ssize_t size = 0, part = bufs[0].len - skip
        cdef unsigned int index = 0
        cdef bytes record = None
        if count == 1 or part >= self.record_size:
            joined = bufs[0].base + skip
            size = min(part, <Py_ssize_t>self.record_size)
        else:
            while index < count and size < self.record_size:
                part = min(<Py_ssize_t>bufs[index].len - skip,
                           <Py_ssize_t>self.record_size - size)
                memcpy(joined + size, bufs[index].base + skip, part)
                size += part
                skip = 0
                index += 1
        plain[0] = size
        if not size:
            return None
        plain[0] = self.engine.give(joined, size)
        if plain[0] > 0:
            record = self.engine.collect()
        if record is None or self.over():
            plain[0] = self._write_failed()
            return None
        out.base = PyBytes_AS_STRING(record)
        out.len = PyBytes_GET_SIZE(record)
        return record

    cdef Py_ssize_t _append(self, list records, uv.uv_buf_t* bufs, unsigned int count,
                            Py_ssize_t skip, uv.uv_buf_t* out) noexcept:
        """_encrypt(), with the record at the end of a list; returns what is in `plain` there."""
        cdef Py_ssize_t plain = uv.UV_ENOMEM
        cdef bytes record
        try:
            record = self._encrypt(bufs, count, skip, &plain, out)
            if record is not None:
                records.append(record)
        except MemoryError:
            plain = uv.UV_ENOMEM
        return plain

    cdef Py_ssize_t try_write(self, const uv.uv_buf_t* given, unsigned int count) noexcept:
        cdef uv.uv_buf_t out[BATCH]
        cdef Py_ssize_t plain[BATCH]
        cdef uv.uv_buf_t* bufs = <uv.uv_buf_t*>given
        cdef Py_ssize_t taken = 0, skip = 0, size, sent, left
        cdef unsigned int index, made
        cdef list records
        cdef bytes record
        if self.flags & (TLS_SERVING | TLS_FAILED | TLS_ENDED) != TLS_SERVING or self.sending \
                or self.chunks is not None:
            return uv.UV_EAGAIN
        if count == 1 and bufs[0].len <= self.record_size and not self.ahead:
            # One small chunk, as most are.
            record = self._encrypt(bufs, 1, 0, plain, out)
            if record is None:
                return plain[0]
            sent = Layer.try_write(self, out, 1)
            if sent == <Py_ssize_t>out[0].len:
                return plain[0]
            if sent < 0 and sent != uv.UV_EAGAIN:
                return sent
            return self._rest(record, out, 1, plain, max(sent, 0), 0)
        while count:
            # What is encrypted already.
            while count and self.ahead:
                left = min(self.ahead, <Py_ssize_t>bufs[0].len - skip)
                self.ahead -= left
                taken += left
                skip += left
                if skip == <Py_ssize_t>bufs[0].len:
                    bufs, count, skip = bufs + 1, count - 1, 0
            made = 0
            records = _new_list()
            if records is None:
                return uv.UV_ENOMEM
            while count and made < BATCH:
                size = self._append(records, bufs, count, skip, &out[made])
                if size < 0:
                    return size
                if not size:
                    # Nothing but empty chunks is left.
                    count = 0
                    break
                plain[made] = size
                made += 1
                skip += size
                while count and skip >= <Py_ssize_t>bufs[0].len:
                    skip -= bufs[0].len
                    bufs, count = bufs + 1, count - 1
            if not made:
                break
            sent = Layer.try_write(self, out, made)
            if sent < 0:
                if sent != uv.UV_EAGAIN:
                    return sent
                sent = 0
            size = 0
            for index in range(made):
                size += out[index].len
            if sent < size:
                return self._rest(records, out, made, plain, sent, taken)
            for index in range(made):
                taken += plain[index]
        return taken

    cdef Py_ssize_t _rest(self, object records, uv.uv_buf_t* out, unsigned int made,
                          Py_ssize_t* plain, Py_ssize_t sent, Py_ssize_t taken) noexcept:
        """Let the rest of the records leave by a request; returns what try_write() does."""
        cdef unsigned int index = 0
        cdef int status
        while sent >= <Py_ssize_t>out[index].len:
            sent -= out[index].len
            taken += plain[index]
            index += 1
        out[index].base += sent
        out[index].len -= sent
        status = Layer.write(self, records, &out[index], made - index)
        if status < 0:
            return status
        self.sending += 1
        while index < made:
            self.ahead += plain[index]
            index += 1
        return taken if taken else uv.UV_EAGAIN

    cdef int _write_failed(self) noexcept:
        if self.over():
            return uv.UV_ECANCELED
        self._report_interrupt()
        # Without an error of the engine there was none for the list of its records.
        return uv.UV_ENOMEM if self.engine.error is None \
            or isinstance(self.engine.error, MemoryError) else uv.UV_EPROTO

    cdef int write(self, object chunks, const uv.uv_buf_t* bufs, unsigned int count) noexcept:
        cdef int status = 0
        if self.flags & TLS_FAILED:
            return uv.UV_ECANCELED
        self.bufs = <uv.uv_buf_t*>PyMem_RawMalloc(count * sizeof(uv.uv_buf_t))
        if self.bufs is NULL:
            return uv.UV_ENOMEM
        memcpy(self.bufs, bufs, count * sizeof(uv.uv_buf_t))
        self.count, self.at = count, 0
        self.chunks = chunks
        self._skip(min(self.ahead, _total(bufs, count)), True)
        if self.flags & TLS_SERVING and not self.sending:
            status = self._push()
            if status < 0:
                self._forget_write()
        return status

    cdef void _skip(self, Py_ssize_t size, bint ahead) noexcept:
        """So many bytes of the write that waits are encrypted."""
        cdef Py_ssize_t part
        if ahead:
            self.ahead -= size
        while self.at < self.count and (size or not self.bufs[self.at].len):
            part = min(size, <Py_ssize_t>self.bufs[self.at].len)
            self.bufs[self.at].base += part
            self.bufs[self.at].len -= part
            size -= part
            if not self.bufs[self.at].len:
                self.at += 1

    cdef object _forget_write(self):
        chunks, self.chunks = self.chunks, None
        PyMem_RawFree(self.bufs)
        self.bufs = NULL
        self.count = self.at = 0
        return chunks

    cdef int _push(self) noexcept:
        """Encrypt and submit the next records of the write that waits; returns a libuv status."""
        cdef uv.uv_buf_t out[BATCH]
        cdef unsigned int made = 0
        cdef Py_ssize_t size
        cdef list records = _new_list()
        cdef int status
        if records is None:
            return uv.UV_ENOMEM
        while self.at < self.count and made < BATCH:
            size = self._append(records, &self.bufs[self.at], self.count - self.at, 0, &out[made])
            if size < 0:
                return <int>size
            if not size:
                self.at = self.count
                break
            made += 1
            self._skip(size, False)
        if not made:
            # It was all empty; its completion comes as that of any other.
            out[0].base = NULL
            out[0].len = 0
            made = 1
        status = Layer.write(self, records, out, made)
        if status == 0:
            self.sending += 1
        return status

    cdef int written(self, int status) except -1:
        cdef int result
        self.sending -= 1
        if status < 0:
            if self.chunks is not None:
                return self._completed(status)
            if self.over() or status == uv.UV_ECANCELED:
                return 0
            if self.flags & TLS_ENDED and (status == uv.UV_EPIPE or status == uv.UV_ECONNRESET):
                # Our close_notify alone, as in _end().
                return 0
            return self.fail(os_error(status, "write"))
        if self.sending or self.chunks is None:
            return 0
        if self.at == self.count:
            return self._completed(0)
        if not self.flags & TLS_SERVING or self.over():
            # Of a handle that closes closed() completes the write.
            return 0
        result = self._push()
        return self._completed(result) if result < 0 else 0

    cdef int _completed(self, int status) except -1:
        _chunks = self._forget_write()
        return Layer.written(self, status)

    cdef int shutdown(self) noexcept:
        if self.flags & TLS_FAILED:
            # Behind end_up() there is nothing to say any more.
            return uv.UV_ENOTCONN if self.flags & TLS_SECURE else Layer.shutdown(self)
        if not self.flags & TLS_SERVING or self.flags & TLS_UNDIGESTED:
            # The handshake comes first; and the engine would throw away what it has.
            self.flags |= TLS_END_DUE
            return 0
        return self._end()

    cdef int end_now(self) noexcept:
        if self.flags & (TLS_END_DUE | TLS_SECURE | TLS_FAILED) != TLS_END_DUE:
            return Layer.end_now(self)
        # Nothing that was written waits, since the end comes after it.
        self.flags &= ~TLS_END_DUE
        return Layer.shutdown(self)

    cdef int _end(self) noexcept:
        """Send our close_notify and the end of the connection; returns a libuv status."""
        cdef bytes alert
        cdef int status
        self.flags = (self.flags & ~TLS_END_DUE) | TLS_ENDED
        self.engine.end()
        if self.over():
            return uv.UV_ECANCELED
        alert = self.engine.collect()
        status = uv.UV_ENOMEM if alert is None else self._send(alert)
        if status < 0 and status != uv.UV_EPIPE and status != uv.UV_ECONNRESET:
            return status
        return Layer.shutdown(self)

    cdef int shut_down(self, int status) except -1:
        if status >= 0 and not self.flags & TLS_PEER_ENDED and not self.over() \
                and not owner_calls(self.handle).half_open(self.handle.owner):
            self._wait(SILENCE)
        return Layer.shut_down(self, status)

    # ---- Down: whether more may come -----------------------------------------------------------

    cdef int read_start(self) noexcept:
        cdef int status = 0
        self.flags |= TLS_WANTED
        if self.flags & (TLS_HELD | TLS_PEER_ENDED | TLS_FAILED):
            return 0
        if self.flags & TLS_LAST_LOOK:
            try:
                self._wait(SILENCE)
                self.flags &= ~TLS_LAST_LOOK
            except MemoryError:
                status = uv.UV_ENOMEM
        return status if status < 0 else Layer.read_start(self)

    cdef size_t waiting(self) noexcept:
        cdef size_t size = Layer.waiting(self)
        # Before that the handshake is what it waits for, and not the kernel.
        if self.chunks is not None and self.flags & TLS_SERVING:
            size += _total(self.bufs + self.at, self.count - self.at)
        return size

    cdef void read_stop(self) noexcept:
        self.flags &= ~TLS_WANTED
        if self.flags & TLS_SERVING:
            Layer.read_stop(self)


cdef list _new_list():
    """An empty list; None without memory. Making it may run a finaliser."""
    try:
        return []
    except MemoryError:
        pass
    return None


cdef Py_ssize_t _total(const uv.uv_buf_t* bufs, unsigned int count) noexcept:
    cdef Py_ssize_t total = 0
    cdef unsigned int index
    for index in range(count):
        total += bufs[index].len
    return total


def add_tls(StreamHandle handle not None, Calls calls not None, bint reads_hello=False,
            bint strict=False):
    """Put TLS on a handle, above what is there.

    With an owner the handshake begins by start() on a client, and by go_on() on a server.

    Args:
        calls: what the layer calls for the owner.
        reads_hello: let calls.hello() choose the context, by the client's first message.
        strict: the end of the connection without close_notify is an error.
    """
    cdef TLS layer = TLS.__new__(TLS)
    layer.upward = calls
    layer.shared = _shared_of(handle.loop)
    layer.record_size = RECORD_SIZE
    layer.flags = (TLS_READS_HELLO | TLS_HELD if reads_hello else 0) \
        | (TLS_STRICT if strict else 0)
    layer.moved_at = <uint32_t>uv.uv_now(&handle.loop._uv)
    if handle._reading:
        layer.flags |= TLS_WANTED
    handle.read_stop()
    add_layer(handle, layer, False)
    return layer


seal(_Shared)
seal(_Deadline)
seal(TLS)

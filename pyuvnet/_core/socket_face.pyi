from collections.abc import Callable
from typing import Any, Final, Literal, Self, overload

from typing_extensions import Buffer

from .socket_base import SocketBase
from .writable import _Callback

MAX_TIMEOUT: Final = 2147483647

class SocketFace(SocketBase):
    def set_timeout(self, timeout: float, callback: Callable[[], object] | None = None) -> Self: ...
    @property
    def timeout(self) -> float | None: ...
    @timeout.setter
    def timeout(self, value: float | None) -> None: ...
    @overload
    def write(self, data: str | Buffer, encoding: _Callback) -> bool: ...
    @overload
    def write(
        self,
        data: str | Buffer,
        encoding: str | None = None,
        callback: _Callback | None = None,
    ) -> bool: ...
    @overload
    def end(self, data: _Callback) -> Self: ...
    @overload
    def end(self, data: str | Buffer, encoding: _Callback) -> Self: ...
    @overload
    def end(
        self,
        data: str | Buffer | None = None,
        encoding: str | None = None,
        callback: _Callback | None = None,
    ) -> Self: ...
    def destroy(self, error: BaseException | None = None) -> Self: ...
    def set_no_delay(self, no_delay: object = True) -> Self: ...
    def set_keep_alive(
        self,
        enable: object = False,
        initial_delay: float = 0,
        interval: float = 1000,
        count: float = 10,
    ) -> Self: ...
    def ref(self) -> Self: ...
    def unref(self) -> Self: ...
    @property
    def connecting(self) -> bool: ...
    @property
    def pending(self) -> bool: ...
    @property
    def ready_state(
        self,
    ) -> Literal["opening", "open", "readOnly", "writeOnly", "closed"]: ...
    @property
    def bytes_read(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...
    @property
    def buffer_size(self) -> int | None: ...
    @property
    def server(self) -> Any: ...
    @property
    def remote_address(self) -> str | None: ...
    @property
    def remote_port(self) -> int | None: ...
    @property
    def remote_family(self) -> Literal["IPv4", "IPv6"] | None: ...
    @property
    def local_address(self) -> str | None: ...
    @property
    def local_port(self) -> int | None: ...
    @property
    def local_family(self) -> Literal["IPv4", "IPv6"] | None: ...

    # Node's spellings, by tools/stubs.py
    setTimeout = set_timeout
    setNoDelay = set_no_delay
    setKeepAlive = set_keep_alive
    readyState = ready_state
    bytesRead = bytes_read
    bytesWritten = bytes_written
    bufferSize = buffer_size
    remoteAddress = remote_address
    remotePort = remote_port
    remoteFamily = remote_family
    localAddress = local_address
    localPort = local_port
    localFamily = local_family
    # Node's spellings end

from typing import type_check_only

from .._base.errors import StateError

UV_EALREADY: int
UV_ECANCELED: int
UV_EINVAL: int
UV_EISCONN: int
UV_ETIMEDOUT: int

# What a failed system call gives: of the subclass which OSError picks, with Node's attributes.
@type_check_only
class _SystemError(OSError):
    code: str
    message: str
    name: str
    syscall: str | None
    address: str | None
    port: int | None
    dest: str | None
    hostname: str | None
    local_address: str | None
    localAddress: str | None
    local_port: int | None
    localPort: int | None

def make_ip_blocked(address: str) -> StateError: ...
def make_os_error(
    status: int,
    syscall: str,
    address: object = None,
    port: int | None = None,
    detail: str | None = None,
) -> _SystemError: ...

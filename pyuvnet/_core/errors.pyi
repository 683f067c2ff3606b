from .._base.errors import StateError, SystemCallError

UV_EADDRINUSE: int
UV_EALREADY: int
UV_ECONNRESET: int
UV_ECANCELED: int
UV_EINVAL: int
UV_EISCONN: int
UV_EMFILE: int
UV_ENOTSUP: int
UV_EPROTO: int
UV_ETIMEDOUT: int

def make_ip_blocked(address: str) -> StateError: ...
def make_os_error(
    status: int,
    syscall: str,
    address: object = None,
    port: int | None = None,
    detail: str | None = None,
) -> SystemCallError: ...

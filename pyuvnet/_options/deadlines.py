"""The deadlines among the options of servers and clients, and `net.GUARDED`."""

from __future__ import annotations

from _collections_abc import Iterator, Mapping

from .._base import TYPE_CHECKING
from .._base import validation as check
from .._core.deadlines import Limits

if TYPE_CHECKING:
    from typing import Any

MOST = 2**31 - 1  # ms
MOST_LIFETIME = 1_900_000_000  # ms, which leaves room for the jitter
# Descriptors for the program's own files; a tenth of the limit if that is more.
RESERVE = 32


DEADLINES = "idle_timeout", "first_byte_timeout", "write_timeout", "max_lifetime", "min_read_rate"


def read_limits(options: Mapping[str, Any]) -> Limits | None:
    """Check the deadlines among some options; None: there are none."""
    idle = _milliseconds(options, "idle_timeout")
    first = _milliseconds(options, "first_byte_timeout")
    write = _milliseconds(options, "write_timeout")
    lifetime = _milliseconds(options, "max_lifetime", MOST_LIFETIME)
    size = per = 0
    rate = options.get("min_read_rate")
    if rate is not None:
        name = "options.min_read_rate"
        if not isinstance(rate, (tuple, list)) or len(rate) != 2:
            raise check.arg_type_error(name, "a pair (bytes, ms)", rate)
        size = int(check.validate_number(rate[0], f"{name}[0] (bytes)", 1, MOST))
        per = int(check.validate_number(rate[1], f"{name}[1] (ms)", 1, MOST))
    if not (idle or first or write or lifetime or per):
        return None
    return Limits(idle, first, write, lifetime, size, per)


def _milliseconds(options: Mapping[str, Any], option: str, most: int = MOST) -> int:
    value = options.get(option)
    if value is None:
        return 0
    if isinstance(value, bool):
        raise check.arg_type_error(f"options.{option}", "number", value)
    number = check.validate_number(value, f"options.{option}")
    if not 0 <= number <= most:
        raise check.range_error(f"options.{option}", f">= 0 && <= {most}", value)
    return 0 if number == 0 else max(int(number), 1)


class _Guarded(Mapping[str, "Any"] if TYPE_CHECKING else Mapping):  # type: ignore[misc]
    """Options for servers that face the internet: `net.create_server(**net.GUARDED)`.

    idle_timeout 120 s, first_byte_timeout 10 s, write_timeout 20 s, max_write_buffer 8 MiB, and
    max_connections from the limit of descriptors, as it is at the time.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    def __getitem__(self, name: str) -> Any:
        if name == "max_connections":
            return _connections()
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._options
        yield "max_connections"

    def __len__(self) -> int:
        return len(self._options) + 1

    # It is one object, a constant.
    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return repr(dict(self))


def _connections() -> int | None:
    """How many connections the limit of descriptors allows; None where there is no limit."""
    try:
        import resource
    except ImportError:
        return None
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return None
    return max(soft - max(RESERVE, soft // 10), 1)


GUARDED = _Guarded(
    {
        "idle_timeout": 120_000,
        "first_byte_timeout": 10_000,
        "write_timeout": 20_000,
        "max_write_buffer": 8 << 20,
    }
)

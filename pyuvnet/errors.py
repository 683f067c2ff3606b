"""The errors and warnings of pyuvnet."""

from __future__ import annotations

from ._base.errors import (
    AbortError,
    AbortTimeoutError,
    AddressError,
    AggregateError,
    ArgTypeError,
    ArgValueError,
    ConnectTimeoutError,
    Error,
    KeepAliveWarning,
    MaxListenersExceededWarning,
    RangeError,
    ResolveError,
    StateError,
    TimeoutOverflowWarning,
)

__all__ = [
    "AbortError",
    "AbortTimeoutError",
    "AddressError",
    "AggregateError",
    "ArgTypeError",
    "ArgValueError",
    "ConnectTimeoutError",
    "Error",
    "KeepAliveWarning",
    "MaxListenersExceededWarning",
    "RangeError",
    "ResolveError",
    "StateError",
    "TimeoutOverflowWarning",
]

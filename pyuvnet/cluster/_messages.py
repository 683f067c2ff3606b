"""Messages: all that a primary and its workers say to each other, in one table for each direction.

A message of ours is a dict whose `act` names it, and with the act 'serve', which is between
pyuvnet.serve() and its workers, `what` as well. read() checks one whole where it arrives, before
any of it is used, and returns only what the table has. What is wrong ends that channel, and nothing
else.

The other end may be another version: an upgrade replaces the files under a primary that runs. So a
message that is not in the table is ignored, and so is a field; a field that a later version adds
here is optional, with a default that means what its absence has meant. What a version has once
required, no later one may leave out.

START is what the primary gives to a worker of serve() in its environment. A handover has a single
message, a line that begins with `ready` (handover.py).
"""

from __future__ import annotations

from .._base import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    # Returns a value, checked, or raises ValueError.
    _Kind = Callable[[Any], Any]
    _Table = Mapping[str, "Record"]

# What may be left out, and whether it is then left out here as well.
_REQUIRED: Any = object()
ABSENT: Any = object()


class May:
    """A field that may be missing or None: then it has the default, or is ABSENT."""

    def __init__(self, kind: _Kind, default: Any = None) -> None:
        self.kind, self.default = kind, default


class Record:
    """A dict with certain fields; others are left out of what it returns."""

    def __init__(self, fields: Mapping[str, _Kind | May]) -> None:
        self.fields = [
            (name, each.kind, each.default) if isinstance(each, May) else (name, each, _REQUIRED)
            for name, each in fields.items()
        ]

    def __call__(self, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ValueError("not an object")
        found = {}
        for name, kind, default in self.fields:
            given = value.get(name)
            if given is not None:
                found[name] = kind(given)
            elif default is _REQUIRED:
                raise ValueError(f"{name} is missing")
            elif default is not ABSENT:
                found[name] = default
        return found


def text(value: Any) -> str:
    """A str."""
    if type(value) is not str:
        raise ValueError("not a text")
    return value


def flag(value: Any) -> bool:
    """True or False."""
    if type(value) is not bool:
        raise ValueError("not a truth value")
    return value


def integer(least: int, most: int) -> _Kind:
    """An int in a range."""

    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"not an integer from {least} to {most}")
        return value

    return check


def number(least: float, most: float) -> _Kind:
    """An int or a float in a range, and so not NaN."""

    def check(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"not a number from {least} to {most}")
        return value  # type: ignore[no-any-return]

    return check


def several(kind: _Kind, count: int | None = None) -> _Kind:
    """A list, of a certain length if there is one."""

    def check(value: Any) -> list[Any]:
        if type(value) is not list or (count is not None and len(value) != count):
            raise ValueError("not a list of the right length")
        return [kind(each) for each in value]

    return check


def named(kind: _Kind) -> _Kind:
    """A dict of values of one kind, by any names."""

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise ValueError("not an object")
        return {name: kind(each) for name, each in value.items()}

    return check


INT = integer(-(2**31), 2**31 - 1)
MS = number(0, 2**31 - 1)
# Of a request, which its reply has too; of a connection that is offered.
SEQ = integer(1, 2**53)
_COUNT = integer(0, 2**63)


def _count(value: Any) -> int:
    # Whether it listens is a count of those that do.
    return int(value) if type(value) is bool else int(_COUNT(value))


# Where a worker wants to listen. -1 of a port: nowhere, but at a path or a descriptor.
PLACE = {
    "address": May(text),
    "port": May(integer(-1, 65535), -1),
    "address_type": May(INT),
    "fd": May(INT),
    "index": May(integer(0, 2**53), 0),
    "backlog": May(INT),
    "ipv6_only": May(flag, False),
    # Of a path.
    "mode": May(integer(-1, 0o777), -1),
    "group": May(integer(-1, 2**32 - 2), -1),
    "unlink_stale": May(flag, False),
    "readable_all": May(flag, False),
    "writable_all": May(flag, False),
}
# What the servers of one name have counted. Each of these may be what another version lacks.
COUNTS = Record(
    {
        **dict.fromkeys(("accepted", "closed", "bytes_read", "bytes_written"), May(_count, 0)),
        **dict.fromkeys(("dropped", "errors"), May(named(_count), {})),
        **dict.fromkeys(
            ("open", "peak", "queued_bytes", "accept_queue", "accept_queue_limit", "listening",
             "paused"),
            May(_count, ABSENT),
        ),
    }
)  # fmt: skip

FROM_WORKER: _Table = {
    "online": Record({}),
    "query": Record({"seq": SEQ, **PLACE}),
    "listening": Record(
        {"address": May(text), "port": May(INT), "address_type": May(INT), "fd": May(INT)}
    ),
    "accepted": Record({"key": text, "number": SEQ, "accepted": flag}),
    "close": Record({"key": text}),
    "disconnecting": Record({"seq": SEQ}),
    # beats: whether it replies to beats, which earlier versions do not know.
    "serve ready": Record({"beats": May(flag, False)}),
    # Its loop runs, and those of all its threads.
    "serve beat": Record({}),
    # It has received SIGTERM, and would end once it has a successor.
    "serve sigterm": Record({}),
    "serve files": Record({"files": several(text)}),
    # Without a seq unasked, before it ends.
    "serve counts": Record({"seq": May(SEQ), "names": named(COUNTS), "exceptions": May(_count, 0)}),
}
FROM_PRIMARY: _Table = {
    # The descriptor comes with it if the status, libuv's, is 0.
    "reply": Record({"seq": SEQ, "status": integer(-(2**31), 0), "key": text, "accepts": flag}),
    "ack": Record({"seq": SEQ}),
    "connection": Record({"key": text, "number": SEQ}),
    "disconnect": Record({}),
    "serve serve": Record({}),
    "serve shutdown": Record({"timeout": MS, "rest": flag}),
    "serve counts": Record({"seq": SEQ}),
    # To be replied to as soon as its loop runs.
    "serve beat": Record({}),
}
START = Record(
    {
        "places": several(
            Record({"port": May(integer(0, 65535)), "host": May(text), "path": May(text)})
        ),
        "timeout": MS,
        "threads": May(integer(1, 2**31), 1),
        "log_level": May(text, "info"),
        "reload": May(flag, False),
        "tls": May(several(text, 2)),
        # Which places have TLS; missing: all, if there is a certificate.
        "secure": May(several(flag)),
        "guarded": May(flag, False),
        "contain": May(flag, False),
    }
)


def name_of(message: dict[str, Any]) -> str:
    """The name of a message in its table. Raises: ValueError."""
    act = text(message.get("act"))
    return f"serve {text(message.get('what'))}" if act == "serve" else act


def read(table: _Table, message: Any) -> dict[str, Any] | None:
    """Check a message that has arrived.

    Returns: what the table has of it, with `act`, and `what` if it has one; None if the table does
        not have it.
    Raises: ValueError.
    """
    if type(message) is not dict:
        raise ValueError("not an object")
    name = name_of(message)
    fields = table.get(name)
    if fields is None:
        return None
    found = fields(message)
    act, _, what = name.partition(" ")
    found["act"] = act
    if what:
        found["what"] = what
    return found

"""The listening sockets of serve(): opened by the primary, or handed over to it, before any worker.

Owns: the listening places of the cluster, each under the key that the workers' listen() has, from
the beginning to the end of the primary. So a worker that dies takes no socket along, and an address
that is taken is an error of the primary's.
"""

from __future__ import annotations

import os
import socket as system
import stat

from .. import cluster, handover
from .._base import TYPE_CHECKING
from .._core.errors import make_os_error
from .._server.systemd import listen_fds
from ..cluster._primary import POLICIES
from ..cluster._scheduling import SCHED_NONE, SCHED_REUSE_PORT, Place, RoundRobin, Wanted, new_place
from .log import LOG
from .settings import DEFAULT_BIND, Bind, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .settings import Settings

# How descriptors are called that a new primary gets: bound by the old one, handed over to it, or
# named by a number, which is another one there.
OWN = "serve.own"
GIVEN = "serve.given"
NUMBERED = "serve.fd."
# That of the metrics.
METRICS = "serve.metrics"
_SCHEDULING = {**POLICIES, "shared": SCHED_NONE}


class Inherited:
    """A listening socket that another process has opened."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd, self.name = fd, name
        try:
            with system.socket(fileno=os.dup(fd)) as one:
                self.tcp = one.family in (system.AF_INET, system.AF_INET6)
                if one.type != system.SOCK_STREAM or not (self.tcp or _is_unix(one)):
                    raise OSError("it is not a TCP or unix socket")
                self.address: Any = one.getsockname()
                if not self.tcp and isinstance(self.address, str):
                    # It was bound to a relative one, if that alone was short enough.
                    self.address = os.path.abspath(self.address)
                reuse_port = getattr(system, "SO_REUSEPORT", None)
                self.shared = bool(
                    self.tcp and reuse_port and one.getsockopt(system.SOL_SOCKET, reuse_port)
                )
        except OSError as error:
            raise wrong(f"cannot listen on descriptor {fd}: {error}") from None

    @property
    def place(self) -> tuple[Any, ...]:
        """The same for sockets of one address."""
        return tuple(self.address[:2]) if self.tcp else (self.address,)


def _is_unix(one: system.socket) -> bool:
    return one.family == getattr(system, "AF_UNIX", None)


class Listening:
    """One address on which the workers listen.

    Attributes:
        keywords: what a worker gives to listen().
        place: of the cluster.
        name: how its descriptors are called in a new primary.
        text: str, the bind that it is of.
        tls: bool, whether that asks for TLS.
        shown: str, the address for people.
    """

    text = ""
    tls = False

    def __init__(
        self, policy: int, keywords: dict[str, Any], name: str, inherited: Sequence[Inherited]
    ) -> None:
        self.name, self.keywords = name, keywords
        wanted = _wanted(keywords)
        if not inherited:
            self.place = new_place(policy, wanted)
        elif policy == SCHED_NONE and len(inherited) == 1:
            self.place = Place(wanted)
        elif policy == SCHED_REUSE_PORT and all(each.shared for each in inherited):
            self.place = new_place(policy, wanted)
        else:
            # Each has a queue of its own, from which the primary can accept.
            self.place = RoundRobin(wanted)
        # What a primary before this one has made; what the place makes goes with its handle.
        handed_over = inherited and name == OWN and "path" in keywords
        self._file = _identity(keywords["path"]) if handed_over else None
        # A predecessor serves on these, and goes on with them if this primary fails.
        self.place.opens_more = not (inherited and handover._is_awaited())
        status = self.place.prepare([each.fd for each in inherited])
        if status:
            raise make_os_error(
                status, "listen", keywords.get("path", keywords.get("host") or "::"),
                keywords.get("port"), "",
            )  # fmt: skip
        if keywords.get("port") == 0:
            local = self.place.listening()[0]._local_name()
            assert local is not None
            # The workers ask for this one.
            keywords["port"] = wanted.port = local[1]
        self.key = wanted.key
        self.shown = _shown(keywords)

    def descriptors(self) -> list[int]:
        """The sockets, for a new primary."""
        return [server.fileno() for server in self.place.listening()]

    def drain(self, rest: bool, keep_file: bool) -> None:
        """Accept no more, and remove the file if it is ours; see Place.drain()."""
        if rest:
            self._remove_file()
        self.place.drain(rest, keep_file)

    def close(self, ours: bool) -> None:
        """Close the sockets, and remove the file if it is ours."""
        if ours:
            self._remove_file()
        self.place.close()

    def _remove_file(self) -> None:
        """Remove the file, unless another one has its place.

        The sockets are open: until they are closed no other file can have the number of the inode.
        """
        file, self._file = self._file, None
        if file is not None and _identity(self.keywords["path"]) == file:
            try:  # noqa: SIM105
                os.unlink(self.keywords["path"])
            except OSError:
                pass  # It is gone already.


def _identity(path: str) -> tuple[int, int] | None:
    """Which file of a socket is at a path; None if there is none."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISSOCK(status.st_mode) else None


def _wanted(keywords: Mapping[str, Any]) -> Wanted:
    """What the workers' listen() asks the primary for."""
    path = keywords.get("path")
    if path is not None:
        return Wanted({"address": path, "port": -1, "address_type": -1, "unlink_stale": True})
    host = keywords.get("host")
    kind = 6 if host is not None and ":" in host else 4
    return Wanted({"address": host, "port": keywords["port"], "address_type": kind})


def _shown(keywords: Mapping[str, Any]) -> str:
    if "path" in keywords:
        return f"unix:{keywords['path']}"
    host = keywords.get("host") or "*"
    return f"[{host}]:{keywords['port']}" if ":" in host else f"{host}:{keywords['port']}"


def open_all(settings: Settings, opened: list[Listening]) -> list[int]:
    """Listen on all addresses.

    Args:
        opened: gets what is listened on, also if it is not all.

    Returns: the listener of the metrics that an old primary has handed over, if there is one.

    Raises: OSError if one cannot be had; ArgValueError (ERR_INVALID_ARG_VALUE) for descriptors that
        are no listening sockets.
    """
    policy = _SCHEDULING[settings.policy]
    given = dict(listen_fds())
    of_metrics = given.pop(METRICS, [])
    inherited = [Inherited(fd, name) for name, several in given.items() for fd in several]
    if settings.bind is not None:
        for bind in sorted(settings.bind, key=_order):
            opened.append(_bind(policy, bind, inherited))
        for each in inherited:
            LOG.warning("no --bind names %s, which was handed over: closed", each.place)
            os.close(each.fd)
        texts = [bind.text for bind in settings.bind]
        opened.sort(key=lambda each: texts.index(each.text))
    elif inherited:
        for place in dict.fromkeys(each.place for each in inherited):
            same = [each for each in inherited if each.place == place]
            name = OWN if same[0].name == OWN else GIVEN
            opened.append(Listening(policy, _keywords_of(same[0]), name, same))
    else:
        opened.append(_bind(policy, Bind(DEFAULT_BIND), []))
    keys = [each.key for each in opened]
    if len(set(keys)) < len(keys):
        texts = [each.text or each.shown for each in opened]
        raise wrong(f"{', '.join(texts)}: the same address occurs more than once")
    places = cluster._primary.places
    for listening in opened:
        places[listening.key] = listening.place
    return of_metrics


def _order(bind: Bind) -> int:
    """First those that say which socket it is: with port 0 any other one will do."""
    if bind.fd is not None:
        return 0
    return 1 if bind.path is not None or bind.port else 2


def _bind(policy: int, bind: Bind, inherited: list[Inherited]) -> Listening:
    """Listen on an address: by sockets of it that were handed over, which leave the list."""
    keywords: dict[str, Any]
    name = OWN
    if bind.fd is not None:
        name = f"{NUMBERED}{bind.fd}"
        same = [each for each in inherited if each.name == name]
        if not same:
            same = [each for each in inherited if each.fd == bind.fd]
        if not same:
            same = [Inherited(bind.fd, name)]
            os.set_inheritable(bind.fd, False)
            inherited.append(same[0])
        keywords = _keywords_of(same[0])
    elif bind.path is not None:
        path = os.path.abspath(bind.path)
        keywords = {"path": path}
        same = [each for each in inherited if each.place == (path,)]
    else:
        host = resolve(bind.host)
        keywords = {"port": bind.port, "host": host}
        same = [each for each in inherited if _is_at(each, host, bind.port)]
        if same:
            # With port 0 several may fit.
            same = [each for each in same if each.place == same[0].place]
            keywords["port"] = same[0].address[1]
    if same and bind.fd is None and same[0].name != OWN:
        name = GIVEN
    for each in same:
        inherited.remove(each)
    made = Listening(policy, keywords, name, same)
    made.text, made.tls = bind.text, bind.tls
    return made


def _is_at(one: Inherited, host: str | None, port: int) -> bool:
    if not one.tcp or one.name.startswith(NUMBERED) or (port and one.address[1] != port):
        return False
    return one.address[0] in (("::", "0.0.0.0") if host is None else (host,))


def is_at(fd: int, host: str, port: int) -> bool:
    """Whether a descriptor is a socket that listens at an address; port 0 may be any."""
    one = Inherited(fd, METRICS)
    return one.tcp and one.address[0] == host and port in (0, one.address[1])


def _keywords_of(one: Inherited) -> dict[str, Any]:
    if one.tcp:
        return {"port": one.address[1], "host": one.address[0]}
    return {"path": os.fsdecode(one.address)}


def resolve(host: str) -> str | None:
    """The address of a name, as listen() takes it; None for all addresses."""
    if not host:
        return None
    try:
        found = system.getaddrinfo(host, None, type=system.SOCK_STREAM, flags=system.AI_PASSIVE)
    except OSError as error:
        raise wrong(f"{host!r} has no address: {error.strerror}") from None
    return str(found[0][4][0])

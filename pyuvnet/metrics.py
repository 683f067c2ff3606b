"""Metrics of servers and loops, for Prometheus and whatever reads OpenMetrics.

    server = net.create_server(handle, name="api").listen(8000)
    metrics.serve(9464)                     # http://127.0.0.1:9464/metrics

Only servers with a name are shown. Those that share one, such as a server in each thread, are added
up, and what they have counted stays when they are gone, so that no counter goes backwards: use few
names. Reading the metrics costs a few reads for each server, however many connections it has.

Node: none
"""

from __future__ import annotations

from . import net
from ._base import TYPE_CHECKING
from ._base import validation as check
from ._core.names import add_node_names
from ._core.timer import set_timeout
from ._server.named import add, named, totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._server.named import Counts, Named
    from .server import Server

    Sample = tuple[dict[str, str], float]
    Family = tuple[str, str, str, str, list[Sample]]

# Name, kind, unit, help, and the item of Server.stats() that it is. A mapping gives a sample for
# each of its items, with its key as the label that stands behind the item.
_SERVER_FAMILIES = (
    ("connections", "gauge", "", "Open connections.", "open", ""),
    ("connections_peak", "gauge", "", "Most connections open at a time.", "peak", ""),
    ("accepted", "counter", "", "Connections accepted.", "accepted", ""),
    ("closed", "counter", "", "Connections closed.", "closed", ""),
    ("dropped", "counter", "", "Connections refused.", "dropped", "reason"),
    ("errors", "counter", "", "Connections that ended with an error.", "errors", "code"),
    ("received_bytes", "counter", "bytes", "Bytes received.", "bytes_read", ""),
    ("sent_bytes", "counter", "bytes", "Bytes sent, or queued for it.", "bytes_written", ""),
    ("queued_bytes", "gauge", "bytes", "Bytes written that the kernel has not accepted.",
     "queued_bytes", ""),
    ("accept_queue", "gauge", "", "Connections waiting to be accepted.", "accept_queue", ""),
    ("accept_queue_limit", "gauge", "", "How many connections may wait.", "accept_queue_limit", ""),
    ("listening", "gauge", "", "1 while the server listens.", "listening", ""),
    ("paused", "gauge", "", "1 while the server has paused accepting.", "paused", ""),
)  # fmt: skip


# In the primary of pyuvnet.serve(): what the workers count, by name; what asks them for it, and
# then calls back; and families of the primary's own.
_of_workers: Callable[[], list[dict[str, Counts]]] | None = None
_ask_workers: Callable[[Callable[[], object]], object] | None = None
_of_primary: Callable[[], list[Family]] | None = None


def _sums() -> dict[str, Counts]:
    """What all servers of this process that have a name count, by name."""
    # First, and held: one that is collected meanwhile would be in neither.
    servers = _servers()
    # Names whose servers are gone cause an alert as well: nothing listens.
    found = {name: {"open": 0, "listening": 0, **counts} for name, counts in totals().items()}
    for server in servers:
        server_name = server.name or ""
        counts = server._counters()
        counts["dropped"] = server._dropped
        counts["accept_queue"], counts["accept_queue_limit"] = server._accept_queue() or (None,) * 2
        found[server_name] = add(found.get(server_name, {}), counts)
    return found


def _families() -> Iterator[Family]:
    """Each family: name, kind, unit, help, samples."""
    found = _sums()
    for counted in [] if _of_workers is None else _of_workers():
        for server_name, counts in counted.items():
            found[server_name] = add(found.get(server_name, {}), counts)
    yield from [] if _of_primary is None else _of_primary()
    for name, kind, unit, text, item, label in _SERVER_FAMILIES:
        samples: list[Sample] = []
        for server_name, total in sorted(found.items()):
            value = total.get(item)
            if label:
                samples += [
                    ({"server": server_name, label: key}, count)
                    for key, count in sorted((value or {}).items())
                ]
            elif value is not None:
                samples.append(({"server": server_name}, value))
        yield f"pyuvnet_server_{name}", kind, unit, text, samples


def _servers() -> list[Named]:
    while True:
        try:
            return list(named)
        except RuntimeError:
            # Another thread has made one meanwhile.
            continue


def text(openmetrics: bool = True) -> str:
    """Return the metrics of all servers that have a name.

    Args:
        openmetrics: bool, default True: in OpenMetrics form, else in Prometheus's older one, which
            differs in how counters are declared.

    May be called in any thread.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE).

    Node: none
    """
    check.validate_boolean(openmetrics, "openmetrics")
    lines = []
    for name, kind, unit, help_text, samples in _families():
        sample_name = f"{name}_total" if kind == "counter" else name
        shown = name if openmetrics else sample_name
        lines.append(f"# HELP {shown} {help_text}")
        lines.append(f"# TYPE {shown} {kind}")
        if unit and openmetrics:
            lines.append(f"# UNIT {shown} {unit}")
        for labels, value in samples:
            inside = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
            lines.append(f"{sample_name}{{{inside}}} {int(value)}")
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class PrometheusCollector:
    """What the package prometheus_client collects of pyuvnet's servers.

        from prometheus_client import REGISTRY
        REGISTRY.register(metrics.PrometheusCollector())

    Raises: ImportError without that package.

    Node: none
    """

    def __init__(self) -> None:
        import prometheus_client.core

        self._core = prometheus_client.core

    def collect(self) -> Iterator[Any]:
        """Yield a metric family for each metric. Called by the registry, in any thread.

        Node: none
        """
        for name, kind, unit, help_text, samples in _families():
            family = self._core.Metric(name, help_text, kind, unit)
            for labels, value in samples:
                family.add_sample(f"{name}_total" if kind == "counter" else name, labels, value)
            yield family


# ---- The listener --------------------------------------------------------------------------------

_HEAD_LIMIT = 8192
# Until a connection is over; until its first byte; and how long it may be silent.
_TIMEOUT = 5000
_FIRST_BYTE = 2000
_IDLE = 2000
_CONNECTIONS = 32
_RETRY = 1000
_OPENMETRICS = "application/openmetrics-text"


def serve(port: int = 9464, host: str = "127.0.0.1", *, fd: int | None = None) -> Server:
    """Serve the metrics over HTTP, at /metrics, for a scraper to read.

    Args:
        port: int 0..65535, default 9464: 0 lets the system choose one.
        host: literal address or name, default '127.0.0.1': where to listen. The metrics say how
            busy a service is; show them to others only behind a firewall or a proxy.
        fd: int, default none: a socket that listens already, instead of both: the successor of a
            handover gets that of the process before it, if that passes the server to spawn().

    If the port is taken, a warning is logged and it tries again each second: the program continues
    to serve, and a successor that was not handed the socket gets the port as soon as the process
    before it has ended. Any other failure is logged, and the metrics are not served.

    Returns the server, which does not keep the loop alive; close() ends it. It has limits of its
    own, so that an attack on it disturbs neither the program nor the scraper: 8 KiB of request, 2
    seconds until the first byte and between two, 5 seconds for a connection, and 32 connections.
    One more takes the place of the oldest one that is not being answered.
    Raises: ArgTypeError (ERR_INVALID_ARG_TYPE), ArgValueError (ERR_INVALID_ARG_VALUE), RangeError
        (ERR_SOCKET_BAD_PORT).

    Node: none
    """
    check.validate_port(port, "port")
    if not check.validate_string(host, "host"):
        # To listen() it means all interfaces.
        raise check.arg_value_error("host", host, "must not be empty")
    if fd is not None:
        return _serve({"fd": check.validate_int32(fd, "fd", 0)})
    return _serve({"port": port, "host": host})


def _serve(place: dict[str, Any]) -> Server:
    """serve() at a place, as listen() takes it."""
    server = net.create_server(first_byte_timeout=_FIRST_BYTE, idle_timeout=_IDLE)
    closed = logged = False

    def connected(socket: Any) -> None:
        _make_room(server)
        _answer(socket)

    def failed(error: Exception) -> None:
        nonlocal logged
        taken = getattr(error, "code", None) == "EADDRINUSE"
        if not logged:
            logged = True
            import logging

            what = "retrying every second" if taken else "not retrying"
            logging.getLogger("pyuvnet").warning("cannot serve the metrics: %s; %s", error, what)
        if taken:
            set_timeout(again, _RETRY).unref()

    def again() -> None:
        if not closed and not server.listening:
            server.listen(place)

    def over() -> None:
        nonlocal closed
        closed = True

    server.on("connection", connected)
    server.on("error", failed)
    server.on("close", over)
    server.listen(place)
    server.unref()
    return server


def _make_room(server: Server) -> None:
    """Destroy what is too many: who has waited longest without being answered goes first."""
    there = [socket for socket in server.sockets if not socket.destroyed]
    for _ in range(len(there) - _CONNECTIONS):
        oldest = next((each for each in there if not each.busy), there[0])
        there.remove(oldest)
        oldest.destroy()


def _answer(socket: Any) -> None:
    head = b""
    socket.set_deadline(_TIMEOUT)

    def data(chunk: bytes) -> None:
        nonlocal head
        head += chunk
        if b"\r\n\r\n" in head:
            socket.remove_listener("data", data)
            # A shutdown waits for the answer, and so does who comes later.
            socket.busy = True
            if _ask_workers is None:
                reply(*_response(head))
            else:
                _ask_workers(late)
        elif len(head) > _HEAD_LIMIT:
            socket.remove_listener("data", data)
            reply("431 Request Header Fields Too Large", "text/plain", "", True)

    def late() -> None:
        if not socket.destroyed:
            reply(*_response(head))

    def reply(status: str, kind: str, body: str, with_body: bool) -> None:
        # Codes of errors are the program's, and may have half a character.
        payload = body.encode("utf-8", "backslashreplace")
        answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\n"
            f"Content-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
        ).encode()
        socket.end(answer + payload if with_body else answer, answered)
        # What comes behind the request is not looked at; without reading, its end would not come.
        socket.resume()

    def answered(error: object = None) -> None:
        # The rest is up to the peer.
        socket.busy = None

    socket.on("data", data)
    socket.on("error", lambda error: None)


def _response(head: bytes) -> tuple[str, str, str, bool]:
    """(status, content type, body, whether to send it) for a request."""
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        return "400 Bad Request", "text/plain", "", True
    method, target, _version = parts
    if method not in ("GET", "HEAD"):
        return "405 Method Not Allowed", "text/plain", "", True
    if target.partition("?")[0] != "/metrics":
        return "404 Not Found", "text/plain", "/metrics\n", method == "GET"
    accept = [line for line in lines[1:] if line.lower().startswith("accept:")]
    openmetrics = any(_OPENMETRICS in line for line in accept)
    kind = f"{_OPENMETRICS}; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"
    return "200 OK", kind, text(openmetrics), method == "GET"


__all__ = ["PrometheusCollector", "serve", "text"]
add_node_names(globals())

"""What the kernel knows of a TCP connection, by names: the layouts of TCP_INFO.

The structures only grow, at their end; what a kernel does not have yet is left out.
"""

from __future__ import annotations

import struct
import sys

from .._base import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

# The states of a connection, by the numbers of Linux and of macOS.
_LINUX_STATES = (
    *(None, "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
    *("CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "SYN_RECV"),
)
_MAC_STATES = (
    *("CLOSE", "LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1"),
    *("CLOSING", "LAST_ACK", "FIN_WAIT2", "TIME_WAIT"),
)
# Name: where its number begins, and of what kind it is (I: 32 bits, Q: 64).
_LINUX = {
    "rto_us": (8, "I"),
    "mss": (16, "I"),
    "unacked": (24, "I"),
    "lost": (32, "I"),
    "last_data_sent_ms": (44, "I"),
    "last_data_received_ms": (52, "I"),
    "path_mtu": (60, "I"),
    "rtt_us": (68, "I"),
    "rttvar_us": (72, "I"),
    "cwnd": (80, "I"),
    "total_retransmits": (100, "I"),
    "pacing_rate": (104, "Q"),
    "bytes_acked": (120, "Q"),
    "bytes_received": (128, "Q"),
    "not_sent": (144, "I"),
    "min_rtt_us": (148, "I"),
    "delivery_rate": (160, "Q"),
    "busy_us": (168, "Q"),
    "receive_window_limited_us": (176, "Q"),
    "send_buffer_limited_us": (184, "Q"),
    "delivered": (192, "I"),
    "bytes_retransmitted": (208, "Q"),
}


# Those that say for how long nothing has come or gone.
QUIET = ("last_data_sent_ms", "last_data_received_ms")


def read_tcp_info(data: bytes) -> dict[str, Any]:
    """Read what getsockopt() gave; what the kernel does not have is missing."""
    if sys.platform == "darwin":
        return _read_mac(data)
    found: dict[str, Any] = {}
    if len(data) >= 8:
        state = data[0]
        found["state"] = _LINUX_STATES[state] if state < len(_LINUX_STATES) else None
        # Of the segment that is on its way, in a row.
        found["retransmits"] = data[2]
    for name, (start, kind) in _LINUX.items():
        if start + struct.calcsize("=" + kind) <= len(data):
            found[name] = struct.unpack_from("=" + kind, data, start)[0]
    return found


def _read_mac(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if len(data) >= 68:
        state = data[0]
        rto, mss, _threshold, cwnd = struct.unpack_from("=4I", data, 12)
        rtt, smoothed, variation = struct.unpack_from("=3I", data, 40)
        found = {
            "state": _MAC_STATES[state] if state < len(_MAC_STATES) else None,
            "rto_us": rto * 1000,
            "mss": mss,
            "cwnd": cwnd // mss if mss else cwnd,
            "rtt_us": (smoothed or rtt) * 1000,
            "rttvar_us": variation * 1000,
        }
    if len(data) >= 112:
        found["total_retransmits"] = struct.unpack_from("=Q", data, 104)[0]
    return found

"""System calls that fail: each row is a fault, the shim makes it, and says that it did.

Of each: the program lives, the loop does not spin (it counts its polls), the event that the fault
deserves comes with its code, every byte is accounted for, and the server serves those that
come after. Nothing is bounded by a clock alone, so that a slow machine changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Play = Callable[..., dict[str, Any]]

WAYS = ["echo", "pipe", "proxy", "cork", "onread"]
ENDED = {
    "client": ["connect", "finish", "end", "close False"],
    "server": ["end", "finish", "close False"],
}

# ---- Faults that nobody may notice ---------------------------------------------------------------

HARMLESS = {
    "writes of 1 byte": {"rules": "write cap=1; writev cap=1", "total": 4000, "largest": 1000},
    "writes of 1000 bytes": {"rules": "write cap=1000; writev cap=999"},
    "short writes by chance": {"rules": "write cap=3 chance=30 seed=3; writev cap=5 chance=50"},
    "writes that end with a chunk": {"rules": "writev cap=1000; write cap=1000 every=3"},
    "reads of 1 byte": {"rules": "read cap=1", "total": 4000, "largest": 1000},
    "reads of 1000 bytes": {"rules": "read cap=1000"},
    "EAGAIN storm at write": {"rules": "write error=EAGAIN chance=90; writev error=EAGAIN every=2"},
    "EAGAIN for the first 300 writes": {"rules": "write error=EAGAIN times=300"},
    "EAGAIN storm at read": {"rules": "read error=EAGAIN chance=90"},
    "EAGAIN and short writes": {
        "rules": "write error=EAGAIN every=3; write cap=4001; writev error=EAGAIN every=3; "
        "writev cap=4001"
    },
    "EINTR at write": {"rules": "write error=EINTR chance=70; writev error=EINTR every=2"},
    "EINTR at read": {"rules": "read error=EINTR chance=70"},
    "ENOBUFS at write": {"rules": "write error=ENOBUFS chance=70; writev error=ENOBUFS every=2"},
    "EINTR at the poll": {"rules": "epoll_pwait error=EINTR chance=50"},
    "a poll that is late": {"rules": "epoll_pwait delay=3"},
    "one event for each poll": {"rules": "epoll_pwait cap=1"},
    "names that fail": {"rules": "getpeername error=ENOTCONN; getsockname error=ENOBUFS after=4"},
    "everything at once": {
        "rules": "write cap=3000 chance=50; write error=EAGAIN chance=20; read cap=999 chance=50; "
        "read error=EINTR chance=20; writev cap=2000; epoll_pwait error=EINTR chance=10; "
        "epoll_pwait cap=1 chance=50"
    },
}
# Of bulk flows by pipe, which go through splice().
SPLICED = {
    "nothing": "splice_in; splice_out",
    "short splices": "splice_in cap=70000; splice_out cap=30000",
    "splices of a few bytes": "splice_in cap=9000 every=2; splice_out cap=100 chance=50",
    "EAGAIN at splice": "splice_in error=EAGAIN every=3; splice_out error=EAGAIN every=2",
    "all of a splice is refused": "splice_out error=EAGAIN",
    "ENOBUFS at splice": "splice_in error=EINTR every=3; splice_out error=ENOBUFS every=2",
    "EINTR at splice": "splice_in error=EINTR every=3; splice_out error=EINTR every=2",
    "no splice of sockets": "splice_in error=EINVAL",
    "no splice into sockets": "splice_out error=EINVAL",
    "no memory to splice from a socket": "splice_in error=ENOMEM",
    "no memory to splice into a socket": "splice_in; splice_out error=ENOMEM",
    "with short writes and reads": "splice_out cap=40000; splice_in; write cap=30000 every=9; "
    "read cap=30000 every=9",
}
# What strikes only where the program does such a call.
NOT_ALWAYS = {"writev", "getpeername", "getsockname"}


@pytest.mark.parametrize("fault", HARMLESS)
def test_harmless(fault: str, full: bool, play: Play) -> None:
    row = HARMLESS[fault]
    for way in WAYS:
        # Both kinds of sockets take turns, but in the full version.
        turn = list(HARMLESS).index(fault) + WAYS.index(way)
        for kind in ["tcp", "ipc"] if full else [["tcp", "ipc"][turn % 2]]:
            _harmless(row, way, kind, play)


@pytest.mark.parametrize("fault", SPLICED)
def test_splices_that_nobody_may_notice(fault: str, full: bool, play: Play) -> None:
    row = {"rules": SPLICED[fault], "total": 6_000_000, "largest": 1_000_000}
    for way in ["pipe", "proxy"]:
        turn = list(SPLICED).index(fault) + len(way)
        for kind in ["tcp", "ipc"] if full else [["tcp", "ipc"][turn % 2]]:
            _harmless(row, way, kind, play)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("splice_out error=ECONNRESET", "back ECONNRESET write"),
        ("splice_out error=EPIPE", "back EPIPE write"),
        ("splice_in error=ECONNRESET", "front ECONNRESET read"),
        ("splice_in error=ETIMEDOUT", "front ETIMEDOUT read"),
    ],
)
@pytest.mark.parametrize("cut", ["", "; splice_out cap=10000 every=2"])
def test_splices_that_fail(rule: str, error: str, cut: str, full: bool, play: Play) -> None:
    for kind in ["tcp", "ipc"] if full else [["tcp", "ipc"][len(rule + cut) % 2]]:
        told = play("relay", rules=f"{rule} after=1 times=1{cut}", kind=kind)
        assert told["hits"][0] == 1
        assert told["errors"] == [error]
        # What arrived is what was sent, up to where it failed, and every byte is accounted for.
        assert told["prefix"]
        assert told["received"] > 0
        front, back = told["counts"]
        if "splice_in" in rule:
            assert front == back == told["received"]
        else:
            assert told["received"] < front == back


def _harmless(row: dict[str, Any], way: str, kind: str, play: Play) -> None:
    told = play("stream", kind=kind, way=way, **row)
    size = row.get("total", 2_000_000)
    functions = [rule.split()[0] for rule in row["rules"].split(";")]
    for function, hits in zip(functions, told["hits"], strict=True):
        assert hits > 0 or function in NOT_ALWAYS, f"{function} was not hit"
    # What was sent came back, and the kernel saw no byte twice.
    assert told["sent"] == told["back"]
    assert told["sent"][0] == size
    times = 4 if way == "proxy" else 2
    assert told["kernel"] == [times * size] * 2
    assert told["counts"] == [size, size]
    # Every write was answered, in order, without an error.
    assert told["answered"]
    assert told["waiting"] == 0
    assert set(told["lengths"]) == {0}
    assert told["events"] == ENDED
    # No turn without a reason: data, or a strike.
    work = told["calls"] + sum(told["hits"])
    assert told["polls"] <= 50 + 2 * work


# ---- Faults that end a connection ----------------------------------------------------------------

FATAL = [
    ("write", "EPIPE"),
    ("write", "ECONNRESET"),
    ("write", "ETIMEDOUT"),
    ("write", "EHOSTUNREACH"),
    ("write", "ENOMEM"),
    ("writev", "EPIPE"),
    ("writev", "ECONNRESET"),
]


@pytest.mark.parametrize(
    ("function", "error", "way"),
    [(*each, "each") for each in FATAL if each[0] == "write"]
    + [(*each, way) for each in FATAL if each[0] == "writev" for way in ("vector", "queued")],
)
def test_writes_that_fail(function: str, error: str, way: str, full: bool, play: Play) -> None:
    turn = len(function) + len(error) + len(way)
    sides = ["client", "server"] if full else [["client", "server"][turn % 2]]
    kinds = ["tcp", "ipc"] if full else [["tcp", "ipc"][turn // 2 % 2]]
    # The remainder of a short write fails as well as a whole one.
    for side, kind, cut in ((s, k, c) for s in sides for k in kinds for c in (777, 0)):
        if way == "queued" and not cut:
            # All of it would leave at once.
            break
        rules = f"{function} error={error} after={9 if cut else 12}"
        if cut:
            rules += f"; write cap={cut} after=3; writev cap={cut} after=3"
        told = play("fatal", rules=rules, side=side, kind=kind, way=way)
        assert told["hits"][0] == 1
        assert told["events"] == [f"error {error} write", "close True"]
        # Sent is received and reported lost, to the byte.
        assert told["prefix"]
        assert told["received"] == told["taken"]
        assert told["ok"] + told["failed"] == told["written"]
        assert told["ok"] <= told["received"] < told["written"]
        assert told["in_order"]
        assert set(told["codes"]) <= {error, "ERR_STREAM_DESTROYED"}
        assert error in told["codes"]
        if way == "each":
            assert told["received"] < told["ok"] + told["in_doubt"]
        assert told["peer"] == "end"
        assert told["again"] == "once more"
        assert told["polls"] <= 50 + 2 * (told["calls"] + sum(told["hits"]))


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("error", ["ECONNRESET", "ETIMEDOUT", "EPIPE", "ENOMEM"])
def test_reads_that_fail(error: str, side: str, play: Play) -> None:
    rules = f"read error={error} after=12; read cap=5000"
    told = play("fatal", rules=rules, side=side, way="read")
    assert told["hits"] == [1, 12]
    assert told["events"] == [f"error {error} read", "close True"]
    # What had come before was delivered.
    assert 0 < told["read"] == told["given"] <= 60_000
    assert told["read_prefix"]
    # There was more to read, so the kernel resets.
    assert told["peer"] in ("ECONNRESET", "EPIPE")
    assert told["again"] == "once more"


@pytest.mark.parametrize("error", ["ECONNRESET", "EPIPE", "EHOSTUNREACH"])
def test_a_write_of_a_pipe_in_c_that_fails_once(error: str, play: Play) -> None:
    # The kernel reports an error once; from then on it is EPIPE.
    rules = f"splice_in error=EINVAL; write error={error} after=5 times=1"
    told = play("relaying", rules=rules)
    assert told["hits"][1] == 1
    assert told["back"] == ["connect", f"error {error} write", "close True"]
    assert told["unpiped"] == 1
    assert told["prefix"]
    assert told["again"] == "once more"


# ---- Accepting -----------------------------------------------------------------------------------

# accept4 fails for 30 turns of a timer, or longer; the connections stay in the kernel's queue.
ACCEPTS = ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EPROTO", "EPERM"]


@pytest.mark.parametrize("error", ACCEPTS)
@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_accepts_that_fail(error: str, kind: str, play: Play) -> None:
    told = play("accepting", rules=f"accept4 error={error}", kind=kind, strikes=3)
    assert told["hits"][0] >= 3
    assert told["during"] == 0
    # The listener is paused for 100 ms at a time, between a few attempts; nothing spins meanwhile,
    # and the timer of the loop has its turns. On a slower machine all of it takes longer alike.
    pauses = 1 + told["wall"] / 0.1
    assert told["hits"][0] <= 30 * pauses
    assert told["polls"] <= 20 + 2 * (told["turns"] + told["hits"][0])
    # Without descriptors, clients wait.
    assert set(told["dropped"]) == {error} - {"EMFILE", "ENFILE"}
    assert told["drops"] == sum(told["dropped"].values())
    assert told["events"] == ["listening", "close"]
    # Then all who waited are served, and who comes after.
    assert told["answers"] == [True] * 6
    assert told["last"] == "last"
    assert told["closed"] == told["served"] == 7


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE"])
def test_a_lack_of_descriptors_that_ends_drops_once(error: str, play: Play) -> None:
    options = {"on_exhausted": "shed"}
    told = play("accepting", rules=f"accept4 error={error} times=1", options=options)
    assert told["hits"] == [1]
    # The spare descriptor took those that waited, to close them.
    dropped = told["dropped"][error]
    assert 1 <= dropped <= 6
    assert told["answers"].count(True) == 6 - dropped == told["during"]
    assert told["last"] == "last"


@pytest.mark.parametrize("error", ["EINTR", "EAGAIN", "ECONNABORTED"])
def test_accepts_that_fail_now_and_then(error: str, play: Play) -> None:
    told = play("accepting", rules=f"accept4 error={error} every=2", peers=40)
    assert told["hits"][0] >= 20
    assert told["answers"] == [True] * 40
    assert told["during"] == 40
    assert told["dropped"] == ({error: told["drops"]} if error == "ECONNABORTED" else {})
    assert told["polls"] <= 20 + 2 * (told["turns"] + told["hits"][0] + 40)


def test_options_of_accepted_sockets_that_fail(play: Play) -> None:
    options = {"no_delay": True, "keep_alive": True}
    told = play("accepting", rules="setsockopt error=ENOPROTOOPT", options=options)
    assert told["hits"] == [6 * 2]
    assert told["answers"] == [True] * 6


# ---- Sockets that cannot be made, bound, listened on, connected ----------------------------------

CONNECTS = [
    ("socket", "EMFILE"),
    ("socket", "ENFILE"),
    ("socket", "ENOBUFS"),
    ("socket", "ENOMEM"),
    ("socket", "EACCES"),
    ("socket", "EAFNOSUPPORT"),
    ("connect", "ECONNREFUSED"),
    ("connect", "ENETUNREACH"),
    ("connect", "EADDRNOTAVAIL"),
    ("connect", "EACCES"),
    ("connect", "EPERM"),
    ("connect", "ENOBUFS"),
    ("connect", "EAGAIN"),
    ("connect", "ETIMEDOUT"),
]


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
@pytest.mark.parametrize(("function", "error"), CONNECTS)
def test_connects_that_fail(function: str, error: str, kind: str, play: Play) -> None:
    told = play("connecting", rules=f"{function} error={error}", kind=kind)
    assert told["hits"] == [1]
    assert told["events"] == [f"error {error} connect", "close True"]
    assert "first" not in told
    assert told["again"] == "again"


def test_a_connect_that_is_interrupted(play: Play) -> None:
    told = play("connecting", rules="connect error=EINTR times=3")
    assert told["hits"] == [3]
    assert told["events"] == ["connect", "finish", "end", "close False"]
    assert told["first"] == "first"


@pytest.mark.parametrize(
    ("function", "error"),
    [("socket", "EMFILE"), ("connect", "ENETUNREACH"), ("connect", "ECONNREFUSED")],
)
def test_the_next_address_is_tried(function: str, error: str, play: Play) -> None:
    addresses = [["127.0.0.2", 4], ["127.0.0.1", 4]]
    rules = f"{function} error={error} times=1"
    told = play("connecting", rules=rules, addresses=addresses)
    assert told["attempts"] == ["try 127.0.0.2", "Failed 127.0.0.2", "try 127.0.0.1"]
    assert told["events"] == ["connect", "finish", "end", "close False"]
    assert told["first"] == "first"


@pytest.mark.parametrize("function", ["socket", "connect"])
def test_no_address_can_be_tried(function: str, play: Play) -> None:
    addresses = [["127.0.0.2", 4], ["127.0.0.1", 4]]
    told = play("connecting", rules=f"{function} error=ENOBUFS", addresses=addresses)
    assert told["hits"] == [2]
    assert told["errors"] == ["ENOBUFS"] * 2
    assert told["events"] == ["error ENOBUFS None", "close True"]
    assert told["again"] == "again"


LISTENS = [
    ("socket", "EMFILE"),
    ("socket", "ENFILE"),
    ("socket", "ENOBUFS"),
    ("bind", "EADDRINUSE"),
    ("bind", "EACCES"),
    ("bind", "EADDRNOTAVAIL"),
    ("listen", "EADDRINUSE"),
    ("listen", "ENOTSUP"),
]


@pytest.mark.parametrize(
    ("function", "error", "kind"),
    [(*each, kind) for each in LISTENS for kind in ("tcp", "ipc")]
    + [("setsockopt", "ENOBUFS", "tcp")],
)
def test_listens_that_fail(function: str, error: str, kind: str, play: Play) -> None:
    told = play("listening", rules=f"{function} error={error}", kind=kind)
    assert told["hits"][0] >= 1
    assert told["events"] == [f"error {error} listen", "listening", "close"]
    assert told["listening"] is False
    assert told["again"] == "served"


@pytest.mark.parametrize("error", ["ENOPROTOOPT", "EINVAL", "EPERM"])
def test_options_that_fail(error: str, play: Play) -> None:
    told = play("options", rules=f"setsockopt error={error}")
    assert told["hits"][0] >= 6
    # As in Node: only the type of service has a way to say so.
    assert (told["no_delay"], told["keep_alive"]) == ("set", "set")
    assert told["type_of_service"] == error
    assert told["data"] == "bytes"
    assert told["client"] == ENDED["client"]
    assert told["server"] == ENDED["server"]


@pytest.mark.parametrize("error", ["ENOTCONN", "ENOBUFS"])
def test_a_shutdown_that_fails(error: str, play: Play) -> None:
    told = play("ending", rules=f"shutdown error={error} times=1")
    assert told["hits"] == [1]
    assert told["received"] == "all of it"
    if error == "ENOTCONN":
        # The peer was faster: nothing is left to be said.
        assert told["events"][:2] == ["connect", "finish"]
    else:
        assert told["events"] == ["connect", f"error {error} shutdown", "close True"]
        assert told["callback"] == error
    assert told["again"] == "once more"


# ---- Lookups and loops ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("EAI_AGAIN", "EAI_AGAIN"),
        ("EAI_FAIL", "EAI_FAIL"),
        ("EAI_MEMORY", "EAI_MEMORY"),
        ("EAI_NONAME", "ENOTFOUND"),
        ("EAI_FAMILY", "EAI_FAMILY"),
        ("EAI_SYSTEM", "EMFILE"),
    ],
)
def test_lookups_that_fail(error: str, code: str, play: Play) -> None:
    told = play("lookup", rules=f"getaddrinfo error={error}")
    assert told["hits"] == [2]
    assert told["client"] == [f"error {code} getaddrinfo", "close True"]
    assert told["server"] == [f"error {code} getaddrinfo"]
    assert told["lookup"] == code
    assert told["again"]
    assert told["polls"] < 20


def test_a_lookup_that_is_late_does_not_stop_the_loop(play: Play) -> None:
    told = play("lookup", rules="getaddrinfo delay=200 error=EAI_NONAME")
    assert told["wall"] > 0.19
    assert told["polls"] < 20


def test_a_lookup_that_nobody_waits_for(play: Play) -> None:
    told = play("lookup", rules="getaddrinfo delay=100 error=EAI_AGAIN", stop=True)
    assert told["client"] == ["close False"]
    assert told["server"] == ["close"]
    assert told["again"]


def test_two_lookups_are_under_way_at_a_time(play: Play) -> None:
    # libuv has four threads, of which lookups get half; the others wait, however many.
    told = play("lookups", rules="getaddrinfo delay=50 error=EAI_NONAME", count=20)
    assert told["hits"] == [20]
    assert told["codes"] == ["ENOTFOUND"] * 20
    assert told["wall"] > 20 / 2 * 0.049


def test_a_call_from_a_thread_while_the_loop_closes_is_refused(play: Play) -> None:
    # A lookup that is under way cannot be broken off, so that closing takes as long as it does.
    told = play("closing", rules="getaddrinfo delay=300 error=EAI_NONAME")
    assert told["call"] == "ERR_LOOP_CLOSED"
    assert told["ran"] is False


@pytest.mark.parametrize("function", ["epoll_create1", "eventfd"])
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM"])
def test_a_loop_that_cannot_be_made(function: str, error: str, play: Play) -> None:
    told = play("loops", rules=f"{function} error={error} times=2")
    assert told["hits"] == [2]
    assert told["codes"] == [error] * 2 + ["made"] * 4
    assert told["more"] == 0

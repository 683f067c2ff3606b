"""ordering 3.21 and net.md 5.5: the addresses of a name, one after another.

The names are answered by the tests; the hosts are addresses of loopback that listen, refuse, or
hang (see hosts.py), all at one port.
"""

import sys

import pytest

import pyuvnet
from pyuvnet import AggregateError, net
from tests.support.hosts import hosts

EVENTS = [
    *("lookup", "connectionAttempt", "connectionAttemptFailed", "connectionAttemptTimeout"),
    *("connect", "ready", "end", "finish", "error", "close"),
]
ONE, TWO, THREE, SIX = "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"
REFUSED = "ECONNREFUSED"

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows does not listen on descriptors"
)
only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="more addresses of loopback, and queues that hang, are Linux's"
)


def found(*addresses):
    return [{"address": each, "family": 6 if ":" in each else 4} for each in addresses]


class Client(net.Socket):
    """Notes its events in `seen`: entries without arguments, or (event, address, code)."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []
        for event in EVENTS:
            self.on(event, lambda *args, event=event: self.seen.append(self.entry(event, args)))

    def entry(self, event, args):
        if event == "lookup":
            assert args[2] in (4, 6, None)
            assert args[3] == "some.where"
            return (event, args[1])
        if event.startswith("connectionAttempt"):
            ip, port, family, *error = args
            assert (port, family) == (self.port, 6 if ":" in ip else 4)
            return (event.removeprefix("connectionAttempt") or "attempt", ip, *map(code, error))
        if event == "error":
            return (event, code(args[0]))
        return (event, *args) if args else event

    def go(self, port, *addresses, **options):
        self.port = port

        def lookup(host, options, callback):
            assert (host, options.get("all")) == ("some.where", True)
            pyuvnet.next_tick(callback, None, found(*addresses))

        options.setdefault("auto_select_family_attempt_timeout", 10)
        return self.connect(port=port, host="some.where", lookup=lookup, **options)

    def attempted(self):
        shown = self.auto_select_family_attempted_addresses
        return shown and [each.removesuffix(f":{self.port}") for each in shown]


def code(error):
    return getattr(error, "code", str(error))


def accepting(opened, host, **options):
    """A server on a host's socket; it closes after one connection, whose events it notes."""
    server = net.create_server(**options)
    server.seen = []

    def connection(s):
        server.close()
        for event in ("end", "finish", "close"):
            s.on(event, lambda *args, event=event: server.seen.append(event))
        s.resume()

    return server.on("connection", connection).listen(fd=opened[host].dup().detach())


def lookups(*addresses):
    return [("lookup", each) for each in addresses]


def test_the_first_family_is_refused(run):
    with hosts(listen=(ONE,), refuse=(SIX,)) as (port, opened):
        server = accepting(opened, ONE)
        c = Client().go(port, SIX, ONE)
        # The second attempt begins in the callback of the first: no tick comes between.
        c.on("connectionAttemptFailed", lambda *_: pyuvnet.next_tick(c.seen.append, "tick"))
        c.on("ready", c.end)
        run()
    assert c.seen == [
        *lookups(SIX, ONE),
        ("attempt", SIX),
        ("Failed", SIX, REFUSED),
        ("attempt", ONE),
        *["tick", "connect", "ready", "finish", "end", ("close", False)],
    ]
    assert c.attempted() == [SIX, ONE]
    assert server.seen == ["end", "finish", "close"]


def test_the_first_succeeds_and_nothing_else_is_tried(run):
    with hosts(listen=(ONE, SIX)) as (port, opened):
        accepting(opened, ONE)
        c = Client().go(port, ONE, SIX)
        c.on("ready", c.end)
        run()
    assert c.seen[:4] == [*lookups(ONE, SIX), ("attempt", ONE), "connect"]
    assert c.attempted() == [ONE]


@only_linux
def test_the_first_hangs(run):
    with hosts(listen=(ONE,), hang=(TWO,)) as (port, opened):
        accepting(opened, ONE)
        c = Client().go(port, TWO, ONE)
        c.on("ready", c.end)
        run()
    assert c.seen == [
        *lookups(TWO, ONE),
        *[("attempt", TWO), ("Timeout", TWO), ("attempt", ONE)],
        *["connect", "ready", "finish", "end", ("close", False)],
    ]
    assert c.attempted() == [TWO, ONE]


@only_linux
def test_families_alternate_and_begin_with_the_first(run):
    refuse = (ONE, TWO, THREE, SIX)
    with hosts(refuse=refuse) as (port, _):
        c = Client().go(port, ONE, TWO, ONE, THREE, SIX)
        run()
        six_first = Client().go(port, SIX, ONE, TWO)
        run()
    order = [ONE, SIX, TWO, THREE]
    assert c.seen[:5] == lookups(ONE, TWO, ONE, THREE, SIX)
    assert c.seen[5:13] == [
        entry for each in order for entry in (("attempt", each), ("Failed", each, REFUSED))
    ]
    assert c.attempted() == order
    assert six_first.attempted() == [SIX, ONE, TWO]


def test_all_fail(run):
    with hosts(refuse=(ONE, SIX)) as (port, _):
        c = Client().go(port, SIX, ONE)
        c.on("connectionAttemptFailed", lambda ip, *_: c.seen.append("tick next"))
        c.on("error", lambda error: errors.append((error, c.destroyed, c.connecting)))
        errors = []
        c.write(b"1", lambda error: c.seen.append(("w1", code(error))))
        c.write(b"2", lambda error: c.seen.append(("w2", error)))
        run()
    ((error, destroyed, connecting),) = errors
    assert c.seen == [
        *lookups(SIX, ONE),
        *[("attempt", SIX), ("Failed", SIX, REFUSED), "tick next"],
        *[("attempt", ONE), ("Failed", ONE, REFUSED), "tick next"],
        *[("error", REFUSED), ("close", True)],
        *[("w1", "ERR_SOCKET_CLOSED_BEFORE_CONNECTION"), ("w2", error)],
    ]
    assert isinstance(error, AggregateError)
    assert (error.code, error.message, destroyed, connecting) == (REFUSED, "", True, False)
    assert [str(each) for each in error.errors] == [
        f"connect ECONNREFUSED {SIX}:{port}",
        f"connect ECONNREFUSED {ONE}:{port}",
    ]
    assert c.attempted() == [SIX, ONE]


@only_linux
def test_timed_out_and_refused(run):
    with hosts(refuse=(ONE,), hang=(TWO,)) as (port, _):
        c = Client().go(port, TWO, ONE)
        run()
    assert c.seen == [
        *lookups(TWO, ONE),
        *[("attempt", TWO), ("Timeout", TWO), ("attempt", ONE), ("Failed", ONE, REFUSED)],
        *[("error", "ETIMEDOUT"), ("close", True)],
    ]
    assert [each.code for each in c.errored.errors] == ["ETIMEDOUT", REFUSED]


@only_linux
def test_the_last_attempt_has_no_limit(run):
    with hosts(refuse=(ONE,), hang=(TWO,)) as (port, _):
        c = Client().go(port, ONE, TWO)
        pyuvnet.set_timeout(lambda: (c.seen.append("later"), c.destroy()), 60)
        run()
    assert c.seen[-5:] == [
        *[("Failed", ONE, REFUSED), ("attempt", TWO), "later"],
        *[("Failed", TWO, "ECANCELED"), ("close", False)],
    ]


# ---- destroy() in the listeners ------------------------------------------------------------------


def destroyed_by(run, event, *addresses, error=None, **kinds):
    with hosts(**kinds) as (port, _):
        c = Client().go(port, *addresses)
        c.once(event, lambda *args: c.destroy(error))
        run()
    return c.seen


@pytest.mark.parametrize("error", [None, RuntimeError("E")])
def test_destroy_in_lookup(run, error):
    seen = destroyed_by(run, "lookup", SIX, ONE, error=error, refuse=(ONE, SIX))
    over = [("close", False)] if error is None else [("error", "E"), ("close", True)]
    assert seen == [*lookups(SIX), *over]


def test_destroy_in_connection_attempt(run):
    """A deviation: Node fails with an uncaught TypeError."""
    seen = destroyed_by(run, "connectionAttempt", SIX, ONE, refuse=(ONE, SIX))
    assert seen == [*lookups(SIX, ONE), ("attempt", SIX), ("close", False)]


@pytest.mark.parametrize("error", [None, RuntimeError("E")])
def test_destroy_in_connection_attempt_failed(run, error):
    seen = destroyed_by(run, "connectionAttemptFailed", SIX, ONE, error=error, refuse=(ONE, SIX))
    over = [("close", False)] if error is None else [("error", "E"), ("close", True)]
    assert seen == [*lookups(SIX, ONE), ("attempt", SIX), ("Failed", SIX, REFUSED), *over]


@only_linux
def test_destroy_in_connection_attempt_timeout(run):
    seen = destroyed_by(run, "connectionAttemptTimeout", TWO, ONE, refuse=(ONE,), hang=(TWO,))
    assert seen == [*lookups(TWO, ONE), ("attempt", TWO), ("Timeout", TWO), ("close", False)]


@only_linux
@pytest.mark.parametrize("by", ["destroy", "destroy(error)", "abort", "timeout"])
def test_destroyed_with_an_attempt_in_flight(run, by):
    controller = pyuvnet.AbortController()
    with hosts(refuse=(ONE,), hang=(TWO,)) as (port, _):
        c = Client(signal=controller.signal)
        c.go(port, TWO, ONE, auto_select_family_attempt_timeout=20_000)
        act = {
            "destroy": c.destroy,
            "destroy(error)": lambda: c.destroy(RuntimeError("E")),
            "abort": controller.abort,
        }.get(by)
        if act is None:
            c.set_timeout(20, c.destroy)
        else:
            c.on("connectionAttempt", lambda *_: pyuvnet.set_immediate(act))
        run()
    error = {"destroy(error)": [("error", "E")], "abort": [("error", "ABORT_ERR")]}.get(by, [])
    assert c.seen == [
        *lookups(TWO, ONE),
        ("attempt", TWO),
        *error,
        # A quirk of Node that is kept; a single connect tells nothing.
        ("Failed", TWO, "ECANCELED"),
        ("close", bool(error)),
    ]


@only_linux
def test_a_single_connect_that_is_destroyed_tells_of_no_failure(run):
    with hosts(hang=(TWO,)) as (port, _):
        c = Client().go(port, TWO)
        c.on("connectionAttempt", lambda *_: pyuvnet.set_immediate(c.destroy))
        run()
    assert c.seen == [*lookups(TWO), ("attempt", TWO), ("close", False)]
    assert c.attempted() is None


# ---- Which addresses -----------------------------------------------------------------------------


def test_one_that_is_left_is_an_ordinary_connect(run):
    with hosts(refuse=(ONE,)) as (port, _):
        c = Client().go(port, ONE, ONE, "nonsense")
        run()
    assert c.seen == [
        *lookups(ONE, ONE, "nonsense"),
        *[("attempt", ONE), ("Failed", ONE, REFUSED), ("error", REFUSED), ("close", True)],
    ]
    assert c.attempted() is None
    assert isinstance(c.errored, ConnectionRefusedError)


def test_none_that_is_valid_is_the_error_of_the_first(run):
    c = Client().go(9, "nonsense", "too")
    run()
    assert c.seen == [
        *lookups("nonsense", "too"),
        *[("error", "ERR_INVALID_IP_ADDRESS"), ("close", True)],
    ]
    assert str(c.errored) == "Invalid IP address: nonsense"


def test_a_blocked_address_has_failed_without_an_attempt(run):
    block_list = net.BlockList()
    block_list.add_address(ONE)
    with hosts(refuse=(SIX, ONE)) as (port, _):
        c = Client(block_list=block_list).go(port, ONE, SIX)
        run()
    assert c.seen == [
        *lookups(ONE, SIX),
        ("Failed", ONE, "ERR_IP_BLOCKED"),
        *[("attempt", SIX), ("Failed", SIX, REFUSED)],
        *[("error", "ERR_IP_BLOCKED"), ("close", True)],
    ]
    assert [each.code for each in c.errored.errors] == ["ERR_IP_BLOCKED", REFUSED]
    assert c.attempted() == [SIX]


@only_linux
def test_a_local_port_is_bound_for_each_attempt_and_a_bind_that_fails_is_silent(run):
    with hosts(refuse=(SIX, ONE)) as (port, _), hosts(listen=("0.0.0.0",)) as (taken, _):
        c = Client().go(port, ONE, SIX, local_port=taken)
        run()
    # The wildcard of IPv4 is taken; the one of IPv6 is not, or is, as the system has it.
    errors = c.errored.errors
    assert (errors[0].code, errors[0].syscall) == ("EADDRINUSE", "bind")
    assert (errors[0].address, errors[0].port) == ("0.0.0.0", taken)
    assert ("attempt", ONE) not in c.seen
    assert ("Failed", ONE, "EADDRINUSE") not in c.seen
    assert len(errors) == 2


# ---- When it is not in force ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"family": 4},
        {"family": "IPv4"},
        {"auto_select_family": False},
        {"local_address": ONE},
    ],
    ids=str,
)
def test_without_it_only_the_first_address_is_asked_for(run, options):
    def lookup(host, options, callback):
        assert "all" not in options
        pyuvnet.next_tick(callback, None, ONE, 4)

    with hosts(refuse=(ONE,)) as (port, _):
        c = Client()
        c.port = port
        c.connect(port=port, host="some.where", lookup=lookup, **options)
        run()
    assert c.seen[:3] == [*lookups(ONE), ("attempt", ONE), ("Failed", ONE, REFUSED)]
    assert c.attempted() is None


@pytest.fixture
def default():
    before = net.get_default_auto_select_family()
    yield
    net.set_default_auto_select_family(before)


def test_the_default_can_be_switched_off(run, default):
    asked = []
    net.set_default_auto_select_family(False)
    c = net.Socket()
    c.connect(port=9, host="x", lookup=lambda host, options, callback: asked.append(options))
    c.destroy()
    assert "all" not in asked[0]
    run()

"""Networks that lose packets, forge resets, go down, swallow connects and shrink.

Each test has two hosts of its own, see conftest.py. What arrives is held against what was sent, and
the events of an end against what happened to it. No event has to come within some time: the order
of events says what came by which of the limits, and the watchdogs end what hangs.
"""

from __future__ import annotations

import shutil
import time
from typing import Any

import pytest

MB = 1_000_000


def _full(*values: Any) -> list[Any]:
    """Parameters of the full version only; each takes seconds, which the network takes too."""
    return [pytest.param(value, marks=pytest.mark.full) for value in values]


Hosts = tuple[Any, Any]
# Far longer than what a test waits for takes, on any machine: an idle timeout that must not come.
LONG = 15_000


def quiet(told: dict[str, Any]) -> None:
    """Assert that the loop did not spin: it polled for calls, events and timers only.

    Without the shim, where there is no compiler, nothing is counted, and nothing can be said.
    """
    assert told["polls"] <= 30 + 2 * (told["calls"] + len(told["events"]))


def transferred(sent: dict[str, Any], received: dict[str, Any], total: int) -> None:
    """Assert that everything came, and that nobody noticed anything."""
    assert (received["size"], received["whole"]) == (total, True)
    assert (sent["ok"], sent["failed"]) == (total, 0)
    assert sent["events"][-3:] == ["finish", "end", "close False"]
    assert received["events"] == ["end", "finish", "close False"]
    quiet(sent)
    quiet(received)


def slow_down(host: Any, rate: str) -> None:
    """Let a host send at a rate only, so that there is time for something to happen."""
    if shutil.which("tc") is None:
        pytest.skip("not installed: tc")
    host.run(*f"tc qdisc add dev wire root tbf rate {rate} burst 16kb latency 100ms".split())


@pytest.mark.timeout(120)
def test_packets_that_are_lost(hosts: Hosts, full: bool) -> None:
    near, far = hosts
    every, total = (10, 5 * MB) if full else (33, MB // 4)
    # Counted and not at random, so that some are lost: a packet may be as long as 64 KiB here.
    far.filter(f"numgen inc mod {every} == 5 counter drop")
    near.filter(f"numgen random mod {every} == 5 drop")
    server = far.start("sink", watchdog=100)
    assert server.says() == "listening"
    client = near.start("source", addresses=["10.77.0.2"], total=total, watchdog=100)
    sent, received = client.result(), server.result()
    transferred(sent, received, total)
    assert "counter packets 0" not in far.run("nft", "list", "ruleset")


@pytest.mark.parametrize("victims", ["sender", *_full("receiver", "both")])
def test_resets_that_somebody_injects(hosts: Hosts, victims: str) -> None:
    near, far = hosts
    total = 5 * MB
    slow_down(near, "20mbit")
    server = far.start("sink", half=total // 2, silence=500)
    assert server.says() == "listening"
    client = near.start("source", addresses=["10.77.0.2"], total=total, silence=500)
    assert client.says() == "connected"
    assert server.says() == "half"
    # A rejected packet is dropped, and its sender gets a reset.
    reject = "meta l4proto tcp reject with tcp reset"
    if victims in ("sender", "both"):
        far.filter(reject)
    if victims in ("receiver", "both"):
        near.filter(reject)
    # Who got the reset knows by it; the other one, afterwards, by its own idle timeout.
    if victims == "receiver":
        received = server.result()
        client.silence()
        sent = client.result()
    else:
        sent = client.result()
        server.silence()
        received = server.result()
    quiet(sent)
    quiet(received)
    assert received["whole"], "what came is a prefix of what was sent"
    assert total // 2 <= received["size"] < total
    assert sent["ok"] + sent["failed"] == sent["written"]
    assert sent["failed"] > 0
    silent = ["timeout", "close False"]
    if victims == "receiver":
        assert sent["events"][-2:] == silent
    else:
        error, close = sent["events"][-2:]
        assert error in ("error ECONNRESET read", "error ECONNRESET write", "error EPIPE write")
        assert close == "close True"
    if victims == "sender":
        assert received["events"] == silent
    else:
        assert received["events"] in (["error ECONNRESET read", "close True"], silent)
        assert received["events"] != silent or victims == "both"


@pytest.mark.parametrize("side", ["near", *_full("far")])
def test_a_link_that_goes_down_and_comes_back(hosts: Hosts, side: str) -> None:
    near, far = hosts
    total = 2 * MB
    slow_down(near, "20mbit")
    server = far.start("sink", half=total // 2)
    assert server.says() == "listening"
    client = near.start("source", addresses=["10.77.0.2"], total=total)
    assert client.says() == "connected"
    assert server.says() == "half"
    victim = near if side == "near" else far
    victim.ip("link", "set", "wire", "down")
    time.sleep(0.5)  # for so long it is down
    victim.ip("link", "set", "wire", "up")
    transferred(client.result(), server.result(), total)


@pytest.mark.parametrize("first", ["10.77.0.2", "fd77::2"])
def test_a_connect_that_is_swallowed_gives_way_to_the_next(hosts: Hosts, first: str) -> None:
    near, far = hosts
    far.filter(f"{'ip6' if ':' in first else 'ip'} daddr {first} tcp dport 7000 drop")
    server = far.start("sink")
    assert server.says() == "listening"
    client = near.start(
        "source", addresses=[first, "10.77.0.3"], total=1000, attempt=300, timeout=LONG
    )
    sent = client.result()
    assert sent["events"][:4] == [
        f"try {first}",
        f"timeout {first}",
        "try 10.77.0.3",
        "connect",
    ]
    assert sent["times"][f"timeout {first}"] > 0.29
    assert sent["attempted"] == [f"{first}:7000", "10.77.0.3:7000"]
    transferred(sent, server.result(), 1000)


def test_a_slow_route_is_not_given_up_for_a_dead_one(hosts: Hosts) -> None:
    # The last address has no limit but the socket's own timeout: it is reached when it answers.
    near, far = hosts
    drop = "tcp dport 7000 drop"
    far.filter(drop)
    server = far.start("sink")
    assert server.says() == "listening"
    client = near.start(
        "source",
        addresses=["10.77.0.2", "10.77.0.3"],
        total=1000,
        attempt=250,
        timeout=LONG,
        tell=True,
    )
    assert client.says() == "try 10.77.0.2"
    assert client.says() == "try 10.77.0.3"
    time.sleep(0.8)  # longer than an attempt may take, if another address is left
    far.filter()
    sent = client.result()
    assert sent["events"][:4] == [
        "try 10.77.0.2",
        "timeout 10.77.0.2",
        "try 10.77.0.3",
        "connect",
    ]
    transferred(sent, server.result(), 1000)


@pytest.mark.parametrize("count", [2, *_full(1)])
def test_connects_that_are_all_swallowed_end_by_the_timeout(hosts: Hosts, count: int) -> None:
    near, far = hosts
    far.filter("tcp dport 7000 drop")
    addresses = ["10.77.0.2", "10.77.0.3"][:count]
    client = near.start("source", addresses=addresses, attempt=250, timeout=800)
    sent = client.result()
    begun = ["try 10.77.0.2", "timeout 10.77.0.2"][: 2 * count - 1]
    last = ["try 10.77.0.3"] * (count - 1)
    # An attempt after another is activity, as in Node: the time runs from the last one.
    ends = ["timeout", "close False"]
    if count == 2:
        ends.insert(1, "failed 10.77.0.3")
    assert [event for event in sent["events"] if not event.startswith("failed")] == [
        *begun,
        *last,
        *(event for event in ends if not event.startswith("failed")),
    ]
    assert sent["times"]["timeout"] > 0.75
    quiet(sent)


@pytest.mark.full
@pytest.mark.timeout(60)
def test_a_kernel_that_gives_a_connect_up(hosts: Hosts) -> None:
    near, far = hosts
    near.set("ipv4/tcp_syn_retries", "2")
    far.filter("tcp dport 7000 drop")
    sent = near.start("source", addresses=["10.77.0.2"]).result()
    assert sent["events"] == [
        "try 10.77.0.2",
        "failed 10.77.0.2",
        "error ETIMEDOUT connect",
        "close True",
    ]
    quiet(sent)


# What refuses a connect, with the code of it: routes refuse at once, filters by an answer.
REFUSALS = {
    "route unreachable": "EHOSTUNREACH",
    "route prohibit": "EACCES",
    "route blackhole": "EINVAL",
    "route throw": "ENETUNREACH",
    "reject with tcp reset": "ECONNREFUSED",
    "reject with icmp type port-unreachable": "ECONNREFUSED",
    "reject with icmp type host-unreachable": "EHOSTUNREACH",
    "reject with icmp type net-unreachable": "ENETUNREACH",
    "reject with icmp type admin-prohibited": "EHOSTUNREACH",
}


def test_connects_that_are_refused(hosts: Hosts, full: bool) -> None:
    near, far = hosts
    # The first of the routes, and of the answers, elsewhere than in the full version.
    some = list(REFUSALS.items())
    for refusal, code in some if full else [some[0], some[4]]:
        if refusal.startswith("route"):
            far.filter()
            kind = refusal.split()[1]
            near.ip("route", "add", kind, "10.77.0.2")
        else:
            far.filter(f"ip daddr 10.77.0.2 tcp dport 7000 {refusal}")
        alone = near.start("source", addresses=["10.77.0.2"], timeout=LONG)
        server = far.start("sink")
        assert server.says() == "listening"
        other = near.start("source", addresses=["10.77.0.2", "10.77.0.3"], total=10)
        events = alone.result()["events"]
        # A refusal in the call itself is no attempt that failed later.
        assert [each for each in events if not each.startswith("failed")] == [
            "try 10.77.0.2",
            f"error {code} connect",
            "close True",
        ], refusal
        events = other.result()["events"]
        assert events[:4] == [
            "try 10.77.0.2",
            "failed 10.77.0.2",
            "try 10.77.0.3",
            "connect",
        ], refusal
        assert server.result()["size"] == 10
        if refusal.startswith("route"):
            near.ip("route", "delete", kind, "10.77.0.2")


@pytest.mark.parametrize("mtu", [296, *_full(576)])
def test_a_small_mtu(hosts: Hosts, mtu: int, full: bool) -> None:
    near, far = hosts
    total = 20 * MB if full else 2 * MB
    for host in hosts:
        host.ip("link", "set", "wire", "mtu", str(mtu))
    server = far.start("sink", host="0.0.0.0")
    assert server.says() == "listening"
    client = near.start("source", addresses=["10.77.0.2"], total=total)
    transferred(client.result(), server.result(), total)


def test_an_mtu_that_shrinks_in_the_middle(hosts: Hosts) -> None:
    near, far = hosts
    total = 2 * MB
    slow_down(near, "30mbit")
    server = far.start("sink", half=total // 2, host="0.0.0.0")
    assert server.says() == "listening"
    client = near.start("source", addresses=["10.77.0.2"], total=total)
    assert client.says() == "connected"
    assert server.says() == "half"
    for host in hosts:
        host.ip("link", "set", "wire", "mtu", "400")
    transferred(client.result(), server.result(), total)


@pytest.mark.parametrize("side", ["client", *_full("server")])
def test_keep_alive_finds_a_peer_that_vanished(hosts: Hosts, side: str) -> None:
    near, far = hosts
    timeout = {"timeout": LONG}
    kept = timeout | {"keep_alive": [1000, 1000, 2]}
    server = far.start("sink", **(kept if side == "server" else timeout))
    assert server.says() == "listening"
    client = near.start(
        "source", addresses=["10.77.0.2"], **(kept if side == "client" else timeout)
    )
    assert client.says() == "connected"
    far.filter("meta l4proto tcp drop")
    near.filter("meta l4proto tcp drop")
    told = client.result() if side == "client" else server.result()
    assert told["events"][-2:] == ["error ETIMEDOUT read", "close True"]
    # Three seconds as asked for, instead of the kernel's two hours, and before the idle timeout.
    assert told["times"]["close True"] > 2.5
    quiet(told)


def test_a_peer_that_vanishes_in_the_middle_of_a_transfer(hosts: Hosts) -> None:
    near, far = hosts
    total = 20 * MB
    slow_down(near, "50mbit")
    server = far.start("sink", half=2 * MB, silence=700)
    assert server.says() == "listening"
    client = near.start("source", addresses=["10.77.0.2"], total=total, silence=700)
    assert client.says() == "connected"
    assert server.says() == "half"
    far.filter("meta l4proto tcp drop")
    client.silence()
    server.silence()
    sent, received = client.result(), server.result()
    # The network reports nothing; the idle timeout notices that no byte leaves any more.
    assert sent["events"][-2:] == ["timeout", "close False"]
    assert received["events"] == ["timeout", "close False"]
    assert received["whole"]
    assert sent["ok"] + sent["failed"] == sent["written"]
    assert sent["failed"] > 0
    quiet(sent)
    quiet(received)

"""The matcher against ipaddress: every kind of rule, added and removed, and what a server asks."""

import ipaddress
import random
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pyuvnet._core.blocklist import BlockList
from pyuvnet._core.socketaddress import SocketAddress

# Where things go wrong if they do: the ends of both families, of the mapped addresses, of halves
# and of bytes.
MAPPED = 0xFFFF << 32
EDGES = {
    4: [0, 1, 255, 256, 2**31 - 1, 2**31, 2**32 - 256, 2**32 - 2, 2**32 - 1],
    6: [
        *(0, 1, 2**32 - 1, 2**32, MAPPED - 1, MAPPED, MAPPED + 5, MAPPED + 2**32 - 1),
        *(MAPPED + 2**32, 2**64 - 1, 2**64, 2**64 + 1, 2**127 - 1, 2**127, 2**128 - 2, 2**128 - 1),
    ],
}
BITS = {4: 32, 6: 128}


def text(family, number):
    return str((ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address)(number))


def place(family, number):
    """The address in the space which both families share."""
    return number + MAPPED if family == 4 else number


families = st.sampled_from([4, 6])


@st.composite
def addresses(draw, family):
    edges = st.sampled_from(EDGES[family])
    return draw(st.one_of(edges, st.integers(0, 2 ** BITS[family] - 1)))


@st.composite
def rules(draw):
    """A rule as (method suffix, arguments, first, last)."""
    family = draw(families)
    kind = draw(st.sampled_from(["address", "range", "subnet", "cidr"]))
    number = draw(addresses(family))
    name = f"IPv{family}"
    if kind == "address":
        return kind, (text(family, number), name), place(family, number), place(family, number)
    if kind == "range":
        end = draw(addresses(family))
        first, last = sorted((number, end))
        arguments = (text(family, first), text(family, last), name)
        return kind, arguments, place(family, first), place(family, last)
    prefix = draw(st.integers(0, BITS[family]))
    network = ipaddress.ip_network(f"{text(family, number)}/{prefix}", strict=False)
    first, last = int(network[0]), int(network[-1])
    arguments = (text(family, number), prefix, name)
    if kind == "cidr":
        arguments = (f"{arguments[0]}/{prefix}",)
    return kind, arguments, place(family, first), place(family, last)


class Model(RuleBasedStateMachine):
    """A BlockList, and a list of rules that is searched one by one."""

    def __init__(self):
        super().__init__()
        self.block_list = BlockList()
        self.rules = []

    @rule(added=rules())
    def add(self, added):
        kind, arguments, _, _ = added
        getattr(self.block_list, f"add_{kind}")(*arguments)
        self.rules.append(added)

    @rule(several=st.lists(rules(), max_size=8))
    def add_several(self, several):
        batch = BlockList()
        for kind, arguments, _, _ in several:
            getattr(batch, f"add_{kind}")(*arguments)
        self.block_list.from_json(batch.rules[::-1])
        self.rules += several

    @rule(data=st.data())
    def remove(self, data):
        if not self.rules:
            return
        kind, arguments, first, last = data.draw(st.sampled_from(self.rules))
        getattr(self.block_list, f"remove_{kind}")(*arguments)
        told = BlockList()
        getattr(told, f"add_{kind}")(*arguments)
        equal = [
            at
            for at, (other, others, *ends) in enumerate(self.rules)
            if rule_text(other, others) == told.rules[0]
            or (kind == other == "address" and ends == [first, last])
        ]
        for at in equal[::-1] if kind == "address" else equal[-1:]:
            del self.rules[at]

    @rule()
    def clear(self):
        self.block_list.clear()
        self.rules.clear()

    @rule(family=families, data=st.data())
    def check_any(self, family, data):
        self.compare(family, data.draw(addresses(family)))

    @invariant()
    def rules_and_their_neighbours_agree(self):
        assert self.block_list.size == len(self.rules)
        assert self.block_list.rules == [rule_text(*each[:2]) for each in self.rules[::-1]]
        for _, _, first, last in self.rules[-3:]:
            for near in (first - 1, first, last, last + 1):
                if 0 <= near < 2**128:
                    self.compare(6, near)
                if MAPPED <= near < MAPPED + 2**32:
                    self.compare(4, near - MAPPED)

    def compare(self, family, number):
        where = place(family, number)
        expected = any(first <= where <= last for _, _, first, last in self.rules)
        name = text(family, number)
        assert self.block_list.check(name, f"ipv{family}") is expected
        address = SocketAddress(address=name, family=f"ipv{family}")
        assert self.block_list.check(address) is expected
        assert self.block_list._blocks(name) is expected


def rule_text(kind, arguments):
    block_list = BlockList()
    getattr(block_list, f"add_{kind}")(*arguments)
    return block_list.rules[0]


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@pytest.mark.spec("N005", "N006", "N007")
@given(rules())
def test_a_rule_matches_from_its_first_to_its_last_address(added):
    kind, arguments, first, last = added
    block_list = BlockList()
    getattr(block_list, f"add_{kind}")(*arguments)
    for where, expected in ((first - 1, False), (first, True), (last, True), (last + 1, False)):
        if 0 <= where < 2**128:
            assert block_list.check(text(6, where), "ipv6") is expected
        if MAPPED <= where < MAPPED + 2**32:
            assert block_list.check(text(4, where - MAPPED)) is expected


# What a server asks


@given(st.ip_addresses())
def test_a_peer_is_blocked_as_check_says(address):
    block_list = BlockList()
    assert not block_list._blocks(str(address))
    block_list.add_address(str(address), f"ipv{address.version}")
    assert block_list._blocks(str(address))
    if address.version == 4:
        assert block_list._blocks(f"::ffff:{address}")


def test_a_peer_that_is_no_internet_address_is_not_blocked():
    block_list = BlockList()
    block_list.load(["0.0.0.0/0", "::/0"])
    assert block_list._blocks("1.2.3.4")
    assert not block_list._blocks(None)


def test_a_zone_of_the_peer_does_not_matter():
    block_list = BlockList.load(["fe80::1"])
    assert block_list._blocks("fe80::1%1")


# Threads


def test_reading_while_another_thread_changes_the_list():
    """Two readers, with and without the GIL, see rules that stay and never those that never are."""
    block_list = BlockList.load(["10.0.0.0/8", "20.0.0.5", "2001:db8::/32"])
    failures = []
    done = threading.Event()

    def read(check):
        rounds = 0
        while not done.is_set() or rounds < 200:
            rounds += 1
            for address in ("10.1.2.3", "20.0.0.5", "2001:db8::5"):
                if not check(address):
                    failures.append(address)
            for address in ("30.0.0.1", "20.0.0.4", "20.0.0.6", "2001:db9::"):
                if check(address):
                    failures.append(address)

    def check(address):
        return block_list.check(address, "ipv6" if ":" in address else "ipv4")

    readers = [threading.Thread(target=read, args=(each,)) for each in (check, block_list._blocks)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for reader in readers:
            reader.start()
        chance = random.Random(5)
        for round_ in range(30):
            singles = [f"40.{round_}.{chance.randrange(256)}.{at % 256}" for at in range(200)]
            for address in singles:
                block_list.add_address(address)
            block_list.add_range("10.0.0.0", "20.0.0.3")
            block_list.load(f"50.{round_}.{at >> 8}.{at & 255}" for at in range(0, 4000, 2))
            block_list.load(f"2001:{at:x}::/48" for at in range(0x1000, 0x1400))
            for address in singles:
                block_list.remove_address(address)
            block_list.remove_range("10.0.0.0", "20.0.0.3")
            assert len(block_list.rules) == block_list.size
    finally:
        done.set()
        for reader in readers:
            reader.join()
        sys.setswitchinterval(interval)
    assert not failures


def test_two_threads_load_at_the_same_time():
    block_list = BlockList()
    feeds = [[f"{net}.{at >> 8}.{at & 255}.0/24" for at in range(20000)] for net in (10, 11)]
    threads = [threading.Thread(target=block_list.load, args=(feed,)) for feed in feeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert block_list.size == 40000
    for net in (10, 11):
        assert all(block_list.check(f"{net}.{at >> 8}.{at & 255}.7") for at in range(20000))
        told = [rule_.split()[1:][-1] for rule_ in block_list.rules[::-1]]
        assert [each for each in told if each.startswith(f"{net}.")] == feeds[net - 10]

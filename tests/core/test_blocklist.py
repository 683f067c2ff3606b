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


# Many rules.  A small universe of addresses, of which a model counts how many rules cover each, is
# laid into the space of addresses in different ways: side by side, spread over all of it, in one
# half only, across the mapped addresses, in crowds.

UNIVERSE = 3000
LAYOUTS = {
    "ipv4 side by side": (4, lambda at: 0x01020304 + at),
    "ipv4 spread": (4, lambda at: at * ((2**32 - 1) // (UNIVERSE - 1))),
    "ipv4 in crowds": (4, lambda at: (at // 250 << 24) + at % 250),
    "ipv6 in the lower half": (6, lambda at: (0x20010DB8 << 96) + at),
    "ipv6 in the upper half": (6, lambda at: (0x20010DB8 << 96) + (at << 64)),
    "ipv6 spread": (6, lambda at: at * ((2**128 - 1) // (UNIVERSE - 1))),
    "ipv6 across the mapped": (6, lambda at: MAPPED - 2**31 + at * (2**32 // (UNIVERSE // 2))),
    "ipv6 in crowds": (6, lambda at: (at // 250 << 104) + at % 250),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("widest", [3, UNIVERSE])
def test_many_changes_agree_with_counting(layout, widest):
    family, address_at = LAYOUTS[layout]
    chance = random.Random(f"{layout} {widest}")
    name = f"ipv{family}"
    names = [text(family, address_at(at)) for at in range(UNIVERSE)]
    block_list = BlockList()
    counts = [0] * UNIVERSE
    there = []

    def compare(points):
        for at in points:
            assert block_list.check(names[at], name) is (counts[at] > 0), (at, names[at])

    def count(first, last, change):
        for at in range(first, last + 1):
            counts[at] += change

    def some():
        first = chance.randrange(UNIVERSE)
        return first, min(UNIVERSE - 1, first + chance.randrange(widest))

    # Growing, then shrinking to nothing, one by one and many at once.
    for growing in (0.8, 0.6, 0.3, 0):
        for _ in range(1200):
            if chance.random() < growing:
                first, last = some()
                block_list.add_range(names[first], names[last], name)
                there.append((first, last))
                count(first, last, 1)
            elif there:
                at = chance.randrange(len(there))
                first, last = there[at]
                there[at] = there[-1]
                there.pop()
                block_list.remove_range(names[first], names[last], name)
                count(first, last, -1)
            compare(chance.randrange(UNIVERSE) for _ in range(3))
        compare(range(UNIVERSE))
        several = [some() for _ in range(chance.choice([3, 30, 300]) if growing else 0)]
        block_list.load(f"{names[first]}-{names[last]}" for first, last in several)
        there += several
        for first, last in several:
            count(first, last, 1)
        compare(range(UNIVERSE))
        assert block_list.size == len(there)
    for first, last in there:
        block_list.remove_range(names[first], names[last], name)
    counts[:] = [0] * UNIVERSE
    compare(range(UNIVERSE))
    assert block_list.__sizeof__() == BlockList().__sizeof__()


@pytest.mark.parametrize("order", ["rising", "falling", "shuffled"])
@pytest.mark.parametrize("together", [False, True])
def test_every_second_address_of_many(order, together):
    numbers = list(range(0, 20000, 2))
    if order == "falling":
        numbers.reverse()
    elif order == "shuffled":
        random.Random(4).shuffle(numbers)
    for family, start in ((4, 0x0A000000), (6, 0xFE80 << 112)):
        names = {number: text(family, start + number) for number in range(-1, 20001)}
        block_list = BlockList()
        if together:
            block_list.add_addresses((names[number] for number in numbers), f"ipv{family}")
        else:
            for number in numbers:
                block_list.add_address(names[number], f"ipv{family}")
        for number, name in names.items():
            expected = number % 2 == 0 and number < 20000
            assert block_list.check(name, f"ipv{family}") is expected
        assert block_list.__sizeof__() / 10000 <= (40 if family == 4 else 85)


@pytest.mark.parametrize("way", ["one by one", "together", "in two halves"])
def test_adjoining_rules_take_no_memory_for_what_they_share(way):
    addresses_ = [f"10.0.{number >> 8}.{number & 255}" for number in range(65536)]
    block_list = BlockList()
    if way == "one by one":
        for address in addresses_:
            block_list.add_address(address)
    elif way == "together":
        block_list.load(addresses_)
    else:
        block_list.load(addresses_[::2])
        block_list.load(addresses_[1::2])
    assert block_list.check("10.0.255.255")
    assert not block_list.check("10.1.0.0")
    assert not block_list.check("9.255.255.255")
    # The rules themselves take eight bytes each.
    assert block_list.__sizeof__() < 65536 * 8 * 1.2 + 4096


def test_duplicates_by_the_thousand_are_removed_one_by_one():
    block_list = BlockList()
    block_list.load(["10.0.0.0/8", "11.0.0.0/8"] * 20000)
    assert block_list.size == 40000
    for left in range(20000, 0, -1):
        assert block_list.check("10.1.1.1")
        assert block_list.size == 20000 + left
        block_list.remove_cidr("10.0.0.0/8")
    assert not block_list.check("10.1.1.1")
    assert block_list.rules == ["Subnet: IPv4 11.0.0.0/8"] * 20000


def test_order_survives_removals_and_the_repacking_they_cause():
    chance = random.Random(7)
    block_list = BlockList()
    rules = []
    for number in range(6000):
        cidr = f"10.{number % 7}.{number % 50}.0/{chance.choice([24, 25])}"
        if number % 2:
            cidr = f"::{number % 99 + 1:x}/128"
        block_list.add_cidr(cidr)
        rules.append(cidr)
        if chance.random() < 0.45:
            cidr = chance.choice(rules)
            block_list.remove_cidr(cidr)
            del rules[len(rules) - 1 - rules[::-1].index(cidr)]
        if number % 500 == 0:
            assert [told.split()[-1] for told in block_list.rules] == rules[::-1]
    assert [told.split()[-1] for told in block_list.rules] == rules[::-1]


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

"""The matcher with many rules: agreement with a model, memory, order."""

import ipaddress
import random

import pytest

from pyuvnet._core.blocklist import BlockList

MAPPED = 0xFFFF << 32


def text(family, number):
    return str((ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address)(number))


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


# So many rules that the list keeps a summary of what is covered, for blocks of 2**16 addresses.

LARGE = 100_000
LARGE_LAYOUTS = {
    "spread to the last address": lambda at: (
        at * ((2**32 - 1) // (LARGE - 1)) + (2**32 - 1) % (LARGE - 1)
    ),
    "side by side": lambda at: 0x01020304 + at,
    "at the ends of blocks": lambda at: (at // 4 << 16) + (0, 1, 0xFFFE, 0xFFFF)[at % 4],
}


@pytest.mark.parametrize("layout", LARGE_LAYOUTS)
def test_a_large_list_agrees_with_counting_whatever_changes_after_it_was_loaded(layout):
    address_at = LARGE_LAYOUTS[layout]
    names = [text(4, address_at(at)) for at in range(LARGE)]
    chance = random.Random(layout)
    block_list = BlockList()
    counts = [at % 2 for at in range(LARGE)]
    block_list.load(names[1::2])
    # The rules take eight bytes each, their points ten: more than that is the summary.
    assert block_list.__sizeof__() > 8 * LARGE // 2 + 10 * LARGE + 4 * 2**16

    def compare():
        found = list(map(block_list.check, names))
        assert found == [count > 0 for count in counts]
        for at in range(0, LARGE, 97):
            assert block_list._blocks(names[at]) is found[at]

    def change(first, last, delta):
        call = block_list.add_range if delta > 0 else block_list.remove_range
        call(names[first], names[last])
        for at in range(first, last + 1):
            counts[at] += delta

    compare()
    added = []
    # A few changes; more than the summary outlives; and again.
    for several in (1, 40, 2000, 40):
        for _ in range(several):
            first = chance.randrange(LARGE)
            added.append((first, min(LARGE - 1, first + chance.randrange(4))))
            change(*added[-1], 1)
        for at in chance.sample(range(len(added)), several // 2):
            if added[at]:
                change(*added[at], -1)
                added[at] = None
        compare()
        change(LARGE // 3, LARGE - 1, 1)
        compare()
        change(LARGE // 3, LARGE - 1, -1)
        compare()
        added = list(filter(None, added))
    block_list.clear()
    assert block_list.__sizeof__() == BlockList().__sizeof__()

"""BlockList: its methods, what they accept and refuse, and the texts of rules."""

import gc
import json
import weakref

import pytest

from pyuvnet.blocklist import BlockList
from pyuvnet.errors import AddressError, ArgTypeError, ArgValueError, RangeError
from pyuvnet.socketaddress import SocketAddress
from tests.support.blocklists import code_of, made
from tests.support.cases import cases

ARG_TYPE = "ERR_INVALID_ARG_TYPE"
ARG_VALUE = "ERR_INVALID_ARG_VALUE"
OUT_OF_RANGE = "ERR_OUT_OF_RANGE"
ADDRESS = "ERR_INVALID_ADDRESS"


def v4(address, **options):
    return SocketAddress(address=address, **options)


def v6(address, **options):
    return SocketAddress(address=address, family="ipv6", **options)


# Rules and checks


def test_an_ipv4_rule_matches_no_ipv6_address_but_mapped_ones():
    block_list = made(("add_subnet", "0.0.0.0", 0))
    assert block_list.check("::ffff:1.2.3.4", "ipv6")
    beside = (
        "::1.2.3.4",
        "::fffe:1.2.3.4",
        "::ffff:0:1.2.3.4",
        "1::ffff:1.2.3.4",
        "::",
        "102:304::",
    )
    for address in beside:
        assert not block_list.check(address, "ipv6")


@pytest.mark.spec("N008")
@cases(
    "rule",
    [
        ("add_address", "::ffff:1.2.3.4", "ipv6"),
        ("add_address", v6("::ffff:1.2.3.4")),
        ("add_subnet", "::ffff:1.2.3.0", 120, "ipv6"),
        ("add_subnet", "::ffff:0:0", 96, "ipv6"),
        ("add_subnet", "::", 80, "ipv6"),
        ("add_subnet", "::", 0, "ipv6"),
        ("add_range", "::ffff:1.2.3.3", "::ffff:1.2.3.4", "ipv6"),
        ("add_range", "::5", "1::", "ipv6"),
        ("add_range", "::5", "::ffff:2.0.0.0", "ipv6"),
        ("add_range", "::ffff:1.0.0.0", "f::", "ipv6"),
        ("add_range", v4("1.2.3.4"), v6("2001::")),
        ("add_range", v6("::5"), v4("1.2.3.4")),
        ("add_cidr", "::ffff:1.2.3.4/128"),
    ],
)
def test_a_mapped_address_is_the_ipv4_address(rule):
    block_list = made(rule)
    assert block_list.check("1.2.3.4")
    assert block_list.check("::ffff:1.2.3.4", "ipv6")
    assert block_list.check("::ffff:102:304", "ipv6")
    assert block_list.check(v4("1.2.3.4"))
    assert block_list.check(v6("::ffff:1.2.3.4"))


@cases(
    "rule",
    [
        ("add_range", "::", "::fffe:ffff:ffff", "ipv6"),
        ("add_range", "::1:0:0:0", "f::", "ipv6"),
        ("add_subnet", "::", 81, "ipv6"),
        ("add_address", "::1.2.3.4", "ipv6"),
    ],
)
def test_an_ipv6_rule_beside_the_mapped_addresses_matches_no_ipv4_address(rule):
    block_list = made(rule)
    for address in ("0.0.0.0", "1.2.3.4", "255.255.255.255"):
        assert not block_list.check(address)
        assert not block_list.check(f"::ffff:{address}", "ipv6")


def test_a_socket_address_names_its_family_itself():
    block_list = made(
        ("add_address", v4("1.2.3.4", port=80), "ipv6"),
        ("add_address", v6("::1", port=80, flowlabel=7), 5),
        ("add_subnet", v6("2001:db8::"), 32, "nonsense"),
    )
    assert block_list.rules == [
        "Subnet: IPv6 2001:db8::/32",
        "Address: IPv6 ::1",
        "Address: IPv4 1.2.3.4",
    ]
    assert block_list.check(v4("1.2.3.4", port=99), "ipv6")
    assert block_list.check(v6("2001:db8::5"), 5)


@pytest.mark.spec("N008")
@cases(
    "arguments",
    [
        ("x",),
        ("",),
        ("1.2.3.4 ",),
        ("1.2.3.4\0",),
        ("::1",),
        ("1.2.3.4", "ipv6"),
        ("1.2.3.4", "foo"),
        ("::1", "foo"),
        ("1.2.3.4", ""),
        ("1.2.3.4", "\ud800"),
        ("\ud800",),
        ("1.2.3.4%lo",),
    ],
)
def test_check_of_what_is_no_such_address_is_false(arguments):
    block_list = made(("add_subnet", "0.0.0.0", 0), ("add_subnet", "::", 0, "ipv6"))
    assert block_list.check(*arguments) is False


def test_a_zone_is_dropped():
    block_list = made(("add_address", "fe80::1%lo", "ipv6"))
    assert block_list.rules == ["Address: IPv6 fe80::1"]
    for address in ("fe80::1", "fe80::1%lo", "fe80::1%", "fe80::1%a b"):
        assert block_list.check(address, "ipv6")


@pytest.mark.spec("N004")
def test_an_empty_list_blocks_nothing():
    block_list = BlockList()
    assert (block_list.rules, block_list.size) == ([], 0)
    assert not block_list.check("1.2.3.4")
    assert not block_list.check("::", "ipv6")


def test_the_type_is_in_any_case_and_none_is_ipv4():
    block_list = made(("add_address", "::1", "IPv6"), ("add_address", "1.2.3.4", None))
    assert block_list.check("::1", "IPV6")
    assert block_list.check("1.2.3.4", "IPv4")
    assert block_list.check("1.2.3.4", None)


# Texts of rules


@pytest.mark.spec("N009")
def test_rules_are_newest_first_with_their_duplicates():
    block_list = made(
        ("add_address", "1.1.1.1"),
        ("add_range", "10.0.0.1", "10.0.0.5"),
        ("add_subnet", "192.168.1.77", 16),
        ("add_address", "1.1.1.1"),
        ("add_address", "::ffff:1.1.1.1", "ipv6"),
    )
    assert block_list.rules == [
        "Address: IPv6 ::ffff:1.1.1.1",
        "Address: IPv4 1.1.1.1",
        "Subnet: IPv4 192.168.1.77/16",
        "Range: IPv4 10.0.0.1-10.0.0.5",
        "Address: IPv4 1.1.1.1",
    ]
    assert block_list.size == 5
    assert block_list.rules is not block_list.rules


@cases(
    ("address", "told"),
    [
        ("::", "::"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::1.2.3.4", "::1.2.3.4"),
        ("::ffff:0:0", "::ffff:0.0.0.0"),
        ("1::", "1::"),
        ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
        ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"),
        ("0:0:1:2:3:4:5:6", "::1:2:3:4:5:6"),
        ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),
        ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
        ("::1:0", "::0.1.0.0"),
        ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
    ],
)
def test_ipv6_is_told_as_node_tells_it(address, told):
    assert made(("add_address", address, "ipv6")).rules == [f"Address: IPv6 {told}"]


def test_the_longest_texts():
    most = ":".join(["ffff"] * 8)
    block_list = made(
        ("add_range", most, most, "ipv6"),
        ("add_subnet", most, 128, "ipv6"),
        ("add_subnet", "255.255.255.255", 32),
        ("add_subnet", "255.255.255.255", 9),
        ("add_subnet", most, 100, "ipv6"),
    )
    assert block_list.rules == [
        f"Subnet: IPv6 {most}/100",
        "Subnet: IPv4 255.255.255.255/9",
        "Subnet: IPv4 255.255.255.255/32",
        f"Subnet: IPv6 {most}/128",
        f"Range: IPv6 {most}-{most}",
    ]


def test_a_range_from_one_family_to_the_other_is_told_as_node_tells_it():
    block_list = made(
        ("add_range", v4("1.1.1.1"), v6("::ffff:1.1.1.5")),
        ("add_range", v6("::1"), v4("1.1.1.5")),
    )
    rules = ["Range: IPv6 ::1-1.1.1.5", "Range: IPv4 1.1.1.1-::ffff:1.1.1.5"]
    assert block_list.rules == rules
    assert made(("from_json", rules[::-1])).rules == rules


# Errors, and their order


def wrong_type(name, received, expected="of type string"):
    return ArgTypeError, ARG_TYPE, f'The "{name}" argument must be {expected}. Received {received}'


def wrong_value(what, received):
    return ArgValueError, ARG_VALUE, f"The {what}. Received {received}"


def out_of_range(bounds, received):
    text = f'The value of "prefix" is out of range. It must be {bounds}. Received {received}'
    return RangeError, OUT_OF_RANGE, text


def late_start(address, port, family):
    fields = f"address: '{address}', port: {port}, family: '{family}', flowlabel: 0"
    return wrong_value("argument 'start' must come before end", f"SocketAddress {{ {fields} }}")


NO_ADDRESS = (AddressError, ADDRESS, "Invalid socket address")
WRONG_FAMILY = wrong_value("property 'options.family' is invalid", "'foo'")
NO_NUMBER = "of type number"
NO_ARRAY = "an instance of Array"
NO_PREFIX = """argument 'cidr' must contain a prefix length (e.g. "10.0.0.0/8")"""
NO_INTEGER = "argument 'cidr' prefix length must be a valid integer"
NO_TEXTS = "of type string or string[]"


@pytest.mark.spec("N005")
@cases(
    ("call", "expected"),
    [
        (("add_address",), wrong_type("address", "undefined")),
        (("add_address", 1, 1), wrong_type("address", "type number (1)")),
        (("add_address", "x", 1), wrong_type("family", "type number (1)")),
        (("add_address", "x", "foo"), WRONG_FAMILY),
        (("add_address", "x"), NO_ADDRESS),
        (("add_address", "::1"), NO_ADDRESS),
        (("add_address", "1.2.3.4", "ipv6"), NO_ADDRESS),
        (("add_address", "1.2.3.4\0"), NO_ADDRESS),
        (("add_range",), wrong_type("start", "undefined")),
        (("add_range", "x"), wrong_type("end", "undefined")),
        (("add_range", "1.1.1.1", 5, "foo"), wrong_type("end", "type number (5)")),
        (("add_range", "x", "y", 3), wrong_type("family", "type number (3)")),
        (("add_range", v4("1.1.1.1"), "y", 3), wrong_type("family", "type number (3)")),
        (("add_range", "x", "y", "foo"), WRONG_FAMILY),
        (("add_range", "1.1.1.1", "y"), NO_ADDRESS),
        (("add_range", "1.1.1.2", "1.1.1.1"), late_start("1.1.1.2", 0, "ipv4")),
        (("add_range", v4("1.1.1.2", port=80), "1.1.1.1"), late_start("1.1.1.2", 80, "ipv4")),
        (("add_range", "::2", "::1", "ipv6"), late_start("::2", 0, "ipv6")),
        (("add_range", v4("1.1.1.1"), v6("::5")), late_start("1.1.1.1", 0, "ipv4")),
        (("add_subnet",), wrong_type("network", "undefined")),
        (("add_subnet", "x"), NO_ADDRESS),
        (("add_subnet", "x", 99), NO_ADDRESS),
        (("add_subnet", "1.1.1.1", "x", "foo"), WRONG_FAMILY),
        (("add_subnet", "1.1.1.1"), wrong_type("prefix", "undefined", NO_NUMBER)),
        (("add_subnet", "1.1.1.1", "8"), wrong_type("prefix", "type string ('8')", NO_NUMBER)),
        (("add_subnet", "1.1.1.1", True), wrong_type("prefix", "type boolean (true)", NO_NUMBER)),
        (("add_subnet", "1.1.1.1", 33), out_of_range(">= 0 && <= 32", 33)),
        (("add_subnet", "1.1.1.1", -1), out_of_range(">= 0 && <= 32", -1)),
        (("add_subnet", "1.1.1.1", 1.5), out_of_range("an integer", 1.5)),
        (("add_subnet", "::", 129, "ipv6"), out_of_range(">= 0 && <= 128", 129)),
        (("add_subnet", v4("1.1.1.1"), 33, "ipv6"), out_of_range(">= 0 && <= 32", 33)),
        (("check",), wrong_type("address", "undefined")),
        (("check", b"1.2.3.4"), wrong_type("address", "an instance of Buffer")),
        (("check", "1.2.3.4", 1), wrong_type("family", "type number (1)")),
        (("check", 1, "foo"), wrong_type("address", "type number (1)")),
        (("add_cidr",), wrong_type("cidr", "undefined")),
        (("add_cidr", "1.1.1.1"), wrong_value(NO_PREFIX, "'1.1.1.1'")),
        (("add_cidr", "1.1.1.1/"), wrong_value(NO_INTEGER, "'1.1.1.1/'")),
        (("add_cidr", "1.1.1.1/40"), out_of_range(">= 0 && <= 32", 40)),
        (("add_cidrs",), wrong_type("cidrs", "undefined", NO_ARRAY)),
        (("add_cidrs", "1.1.1.1/8"), wrong_type("cidrs", "type string ('1.1.1.1/8')", NO_ARRAY)),
        (("add_cidrs", ["1.1.1.1/8", 3]), wrong_type("cidrs[1]", "type number (3)")),
        (("add_cidrs", ["1.1.1.1/8", "2.2.2.2"]), wrong_value(NO_PREFIX, "'2.2.2.2'")),
        (("add_addresses",), wrong_type("addresses", "undefined", NO_ARRAY)),
        (("add_addresses", ["x", 3]), wrong_type("addresses[1]", "type number (3)")),
        (("add_addresses", [], 5), wrong_type("family", "type number (5)")),
        (("add_addresses", ["1.1.1.1"], "foo"), WRONG_FAMILY),
        (("from_json",), wrong_type("data", "undefined", NO_TEXTS)),
        (("from_json", ["a", 1]), wrong_type("data", "an instance of Array", NO_TEXTS)),
    ],
)
def test_a_wrong_argument_raises_what_node_raises(call, expected):
    error, code, text = expected
    method, *arguments = call
    block_list = BlockList()
    with pytest.raises(error) as caught:
        getattr(block_list, method)(*arguments)
    assert (caught.value.code, caught.value.message) == (code, text)
    assert block_list.size == 0


@cases(
    ("method", "arguments"),
    [
        ("address", [("x", 1), ("x", "foo"), ("x",), (1,), ()]),
        ("range", [("x",), ("x", "y", "foo"), ("1.1.1.1", 5), (5, "1.1.1.1"), ()]),
        ("subnet", [("x",), ("1.1.1.1", 33), ("1.1.1.1",), ("1.1.1.1", 8, 5), ()]),
        ("cidr", [("1.1.1.1",), ("1.1.1.1/x",), ("x/8",), ("1.1.1.1/33",), (1,), ()]),
    ],
)
def test_removal_refuses_what_addition_refuses(method, arguments):
    block_list = made(("add_address", "1.1.1.1"))
    for each in arguments:
        adding = code_of(getattr(block_list, f"add_{method}"), *each)
        assert code_of(getattr(block_list, f"remove_{method}"), *each) == adding
    assert block_list.size == 1


@cases(
    ("cidr", "code"),
    [
        ("", ARG_VALUE),
        ("1.1.1.1/x", ARG_VALUE),
        ("1.1.1.1/08", ARG_VALUE),
        ("1.1.1.1/+8", ARG_VALUE),
        ("1.1.1.1/ 8", ARG_VALUE),
        ("1.1.1.1/8 ", ARG_VALUE),
        ("1.1.1.1/1.5", ARG_VALUE),
        ("1.1.1.1/\uff11", ARG_VALUE),
        ("1.1.1.1/-0", ARG_VALUE),
        ("::1", ARG_VALUE),
        ("::1/", ARG_VALUE),
        ("1.1.1.1/33", OUT_OF_RANGE),
        ("1.1.1.1/-1", OUT_OF_RANGE),
        ("1.1.1.1/" + "9" * 10000, OUT_OF_RANGE),
        ("::1/129", OUT_OF_RANGE),
        ("x/8", ADDRESS),
        ("/8", ADDRESS),
        ("x:y/8", ADDRESS),
        (" 1.1.1.1/8", ADDRESS),
        ("1.1.1.1 /8", ADDRESS),
        ("1.1.1.1/8/9", ADDRESS),
        ("1.1.1/8", ADDRESS),
        ("\ud800/8", ADDRESS),
    ],
)
def test_what_is_no_cidr(cidr, code):
    block_list = BlockList()
    assert code_of(block_list.add_cidr, cidr) == code
    assert code_of(block_list.add_cidrs, ["1.1.1.1/8", cidr]) == code
    assert code_of(block_list.remove_cidr, cidr) == code
    assert block_list.rules == []


# Many rules at once


@pytest.mark.spec("N149")
def test_add_cidr_takes_the_family_from_the_colon():
    block_list = made(("add_cidr", "10.0.0.0/8"), ("add_cidr", "fe80::1%lo/10"))
    assert block_list.rules == ["Subnet: IPv6 fe80::1/10", "Subnet: IPv4 10.0.0.0/8"]


# Node's constant, at its front and in its order; the rest is ours.
NODE_RANGES = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "127.0.0.0/8",
    "::1/128",
    "169.254.0.0/16",
    "fe80::/10",
    "fc00::/7",
)


@pytest.mark.spec("N149", "D64")
def test_private_ranges():
    assert BlockList.PRIVATE_RANGES[:8] == NODE_RANGES
    block_list = made(("add_cidrs", BlockList.PRIVATE_RANGES))
    assert block_list.size == len(BlockList.PRIVATE_RANGES)
    assert block_list.rules[-8] == "Subnet: IPv6 fc00::/7"
    assert block_list.rules[-1] == "Subnet: IPv4 10.0.0.0/8"
    for address in ("10.1.2.3", "172.31.255.255", "192.168.1.1", "127.0.0.1", "169.254.1.1"):
        assert block_list.check(address)
    for address in ("::1", "fe80::1", "fdff::1"):
        assert block_list.check(address, "ipv6")
    for address in ("172.32.0.0", "8.8.8.8", "192.167.255.255"):
        assert not block_list.check(address)


@pytest.mark.spec("D64")
@cases(
    ("first", "last", "before", "after"),
    [
        ("0.0.0.0", "0.255.255.255", None, "1.0.0.0"),
        ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"),
        ("192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"),
        ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"),
        ("240.0.0.0", "255.255.255.255", "239.255.255.255", None),
    ],
)
@cases(
    "form", ["{}", "::ffff:{}", "::{}", "::ffff:0:{}", "64:ff9b::{}", "64:ff9b:1::{}", "2002:{}"]
)
def test_private_ranges_beyond_nodes(first, last, before, after, form):
    """Whatever way the IPv4 address is written in, or carried by, an IPv6 address."""
    block_list = made(("add_cidrs", BlockList.PRIVATE_RANGES))

    def blocked(address):
        if form == "{}":
            return block_list.check(address)
        if form == "2002:{}":
            return block_list.check(f"2002:{colons(address)}::1", "ipv6")
        return block_list.check(form.format(address), "ipv6")

    assert blocked(first)
    assert blocked(last)
    if form in ("::{}", "::ffff:0:{}"):
        # Nothing there is part of the public internet, whichever address it carries.
        return
    for address in (before, after):
        assert address is None or not blocked(address)


def colons(address):
    """An IPv4 address as two groups of an IPv6 address."""
    a, b, c, d = map(int, address.split("."))
    return f"{a << 8 | b:x}:{c << 8 | d:x}"


def test_the_unspecified_ipv6_address_is_private():
    block_list = made(("add_cidrs", BlockList.PRIVATE_RANGES))
    for address in ("::", "::ffff:0.0.0.0", "0:0::0", "::%1"):
        assert block_list.check(address, "ipv6")
    assert not block_list.check("2001:4860:4860::8888", "ipv6")
    assert not block_list.check("2606:4700::1111", "ipv6")


CARRIERS = [
    "64:ff9b::10.1.2.3",  # NAT64
    "64:ff9b::a01:203",
    "64:ff9b:1::10.1.2.3",  # NAT64 of a site's own, RFC 6052 with 96 bits before the address,
    "64:ff9b:1:fffe:0:0:10.1.2.3",
    "64:ff9b:1:a01:2:300::",  # with 48,
    "64:ff9b:1:a:1:203::",  # with 56,
    "64:ff9b:1:ff00:a:102:300:0",  # with 64
    "2002:a01:203::1",  # 6to4
    "2002:a01:203:ffff:ffff:ffff:ffff:ffff",
]


@pytest.mark.spec("D65")
@cases("address", CARRIERS)
@cases(
    "rule",
    [
        ("add_cidr", "10.0.0.0/8"),
        ("add_address", "10.1.2.3"),
        ("add_range", "10.1.2.3", "10.1.2.4"),
        ("add_address", "::ffff:10.1.2.3", "ipv6"),
    ],
)
def test_an_ipv4_rule_matches_the_ipv6_addresses_that_carry_the_address(address, rule):
    block_list = made(rule)
    assert block_list.check(address, "ipv6")
    assert block_list.check(v6(address))
    assert block_list._blocks(address)
    block_list.clear()
    assert not block_list.check(address, "ipv6")
    block_list.add_address("10.1.2.2")
    assert not block_list.check(address, "ipv6")


@pytest.mark.spec("D65")
@cases(
    "address",
    [
        "64:ff9b::1:10.1.2.3",
        "64:ff9b:2::10.1.2.3",
        "64:ff9a::10.1.2.3",
        "64:ff9b:0:1::10.1.2.3",
        "2003:a01:203::1",
        "2001:a01:203::1",
        "2002:0:a01:203::1",
        "2602:a01:203::1",
        "a01:203::",
        "::1",
    ],
)
def test_what_carries_no_ipv4_address_or_another_one(address):
    block_list = made(("add_cidr", "10.0.0.0/8"))
    assert not block_list.check(address, "ipv6")
    assert not block_list._blocks(address)


def test_an_ipv6_rule_for_the_carriers_matches_no_ipv4_address():
    block_list = made(("add_cidr", "64:ff9b::/32"), ("add_cidr", "2002::/16"))
    assert not block_list.check("10.1.2.3")
    assert not block_list.check("::ffff:10.1.2.3", "ipv6")
    assert block_list.check("64:ff9b::8.8.8.8", "ipv6")
    assert block_list.check("2002:808:808::", "ipv6")


@pytest.mark.spec("N149")
def test_add_addresses_takes_any_iterable():
    block_list = made(
        ("add_addresses", ["1.1.1.1", v6("::1")]),
        ("add_addresses", ("2.2.2.2",)),
        ("add_addresses", (text for text in ["::3"]), "ipv6"),
        ("add_addresses", []),
        ("add_addresses", [], "foo"),
        ("add_addresses", ["4.4.4.4"], None),
    )
    assert block_list.rules == [
        "Address: IPv4 4.4.4.4",
        "Address: IPv6 ::3",
        "Address: IPv4 2.2.2.2",
        "Address: IPv6 ::1",
        "Address: IPv4 1.1.1.1",
    ]


@cases("items", [1, "1.1.1.1", b"1.1.1.1", {"1.1.1.1": 1}, bytearray(4), object])
def test_what_is_not_several_items(items):
    assert code_of(BlockList().add_addresses, items) == ARG_TYPE
    assert code_of(BlockList().add_cidrs, items) == ARG_TYPE


def test_a_mistake_among_several_adds_none():
    block_list = made(("add_address", "9.9.9.9"))
    assert code_of(block_list.add_addresses, ["1.1.1.1", "x"]) == ADDRESS
    assert code_of(block_list.add_cidrs, ["1.1.1.1/8", "x/8"]) == ADDRESS
    assert code_of(block_list.from_json, ["Address: IPv4 1.1.1.1", "Address: IPv4 1.1.1.999"]) == (
        ADDRESS
    )
    with pytest.raises(ZeroDivisionError):
        block_list.add_cidrs("1.1.1.1/8" if number else 1 / number for number in (1, 0))
    assert block_list.rules == ["Address: IPv4 9.9.9.9"]
    assert not block_list.check("1.1.1.1")


# Removal


@cases(
    ("added", "removed"),
    [
        (("add_subnet", "1.1.1.1", 8), ("remove_subnet", "1.0.0.0", 8)),
        (("add_subnet", "1.1.1.1", 8), ("remove_subnet", "1.1.1.1", 9)),
        (("add_subnet", "1.1.1.1", 8), ("remove_subnet", "::ffff:1.1.1.1", 104, "ipv6")),
        (("add_subnet", "::ffff:1.1.1.1", 104, "ipv6"), ("remove_cidr", "1.1.1.1/8")),
        (("add_subnet", "::1", 64, "ipv6"), ("remove_subnet", "::2", 64, "ipv6")),
        (("add_address", "1.1.1.1"), ("remove_subnet", "1.1.1.1", 32)),
        (("add_address", "1.1.1.1"), ("remove_range", "1.1.1.1", "1.1.1.1")),
        (("add_address", "1.1.1.1"), ("remove_address", "1.1.1.2")),
        (("add_address", "1.1.1.1"), ("remove_address", "101:101::", "ipv6")),
        (("add_range", "1.1.1.1", "1.1.1.2"), ("remove_range", "1.1.1.2", "1.1.1.1")),
        (("add_range", "1.1.1.1", "1.1.1.2"), ("remove_range", "1.1.1.1", "1.1.1.3")),
        (
            ("add_range", "1.1.1.1", "1.1.1.5"),
            ("remove_range", "::ffff:1.1.1.1", "::ffff:1.1.1.5", "ipv6"),
        ),
    ],
)
def test_removal_of_what_is_not_exactly_a_rule_does_nothing(added, removed):
    block_list = made(added)
    before = block_list.rules
    method, *arguments = removed
    assert getattr(block_list, method)(*arguments) is None
    assert block_list.rules == before
    assert getattr(BlockList(), method)(*arguments) is None


def test_the_address_of_either_family_removes_the_rule():
    block_list = made(("add_address", "1.1.1.1"), ("remove_address", "::ffff:1.1.1.1", "ipv6"))
    assert block_list.size == 0
    block_list = made(("add_address", "::ffff:1.1.1.1", "ipv6"), ("remove_address", "1.1.1.1"))
    assert block_list.size == 0
    assert not block_list.check("1.1.1.1")


def test_ports_and_flow_labels_are_no_part_of_a_rule():
    block_list = made(
        ("add_address", v6("::1", port=80, flowlabel=7)), ("remove_address", "::1", "ipv6")
    )
    assert block_list.size == 0


def test_remove_address_removes_all_its_duplicates():
    block_list = made(
        ("add_address", "1.1.1.1"),
        ("add_address", "2.2.2.2"),
        ("add_address", "1.1.1.1"),
        ("remove_address", "1.1.1.1"),
    )
    assert block_list.rules == ["Address: IPv4 2.2.2.2"]
    assert not block_list.check("1.1.1.1")


def test_removal_of_a_duplicate_subnet_or_range_takes_the_newest():
    block_list = made(
        ("add_subnet", "1.1.1.1", 8),
        ("add_range", "3.3.3.3", "3.3.3.4"),
        ("add_subnet", "2.2.2.2", 8),
        ("add_subnet", "1.1.1.1", 8),
        ("add_range", "3.3.3.3", "3.3.3.4"),
        ("remove_subnet", "1.1.1.1", 8),
        ("remove_range", "3.3.3.3", "3.3.3.4"),
    )
    assert block_list.rules == [
        "Subnet: IPv4 2.2.2.2/8",
        "Range: IPv4 3.3.3.3-3.3.3.4",
        "Subnet: IPv4 1.1.1.1/8",
    ]
    assert block_list.check("1.2.3.4")
    assert block_list.check("3.3.3.3")


@pytest.mark.spec("N149")
def test_clear_removes_everything():
    block_list = made(("add_cidrs", BlockList.PRIVATE_RANGES), ("remove_cidr", "10.0.0.0/8"))
    assert block_list.clear() is None
    assert (block_list.rules, block_list.size) == ([], 0)
    assert not block_list.check("192.168.0.1")
    block_list.add_address("192.168.0.1")
    assert block_list.check("192.168.0.1")
    assert block_list.rules == ["Address: IPv4 192.168.0.1"]


# JSON


@pytest.mark.spec("N148", "D66")
def test_json_there_and_back():
    block_list = made(
        ("add_address", "1.1.1.1"),
        ("add_address", "2001:DB8::1", "ipv6"),
        ("add_range", "10.0.0.1", "10.0.0.5"),
        ("add_range", "::255.255.0.9", "::ffff:1.2.3.4", "ipv6"),
        ("add_subnet", "192.168.1.77", 16),
        ("add_subnet", "2001:db8::5", 127, "ipv6"),
        ("add_address", "1.1.1.1"),
    )
    text = json.dumps(block_list, default=BlockList.to_json)
    assert json.loads(text) == block_list.to_json() == block_list.rules
    again = made(("from_json", text))
    assert again.rules == block_list.rules[::-1]
    again = made(("from_json", block_list.rules[::-1]))
    assert again.rules == block_list.rules
    assert again.check("10.0.0.3")
    assert again.check("::255.255.0.10", "ipv6")
    assert again.check("192.168.0.0")


def test_from_json_adds_to_what_is_there():
    block_list = made(("add_address", "1.1.1.1"), ("from_json", ("Address: IPv4 2.2.2.2",)))
    assert block_list.rules == ["Address: IPv4 2.2.2.2", "Address: IPv4 1.1.1.1"]


@pytest.mark.spec("N148", "D66")
@cases(
    ("text", "rules"),
    [
        ("", []),
        ("x", []),
        ("Address: IPv4 ", []),
        ("Address: IPv4 1.1.1", []),
        ("Address: IPv4  1.1.1.1", []),
        ("address: ipv4 1.1.1.1", []),
        ("Address: IPv6 xyz", []),
        ("Range: IPv6 ::1 - ::5", []),
        ("Subnet: IPv4 1.1.1.1/", []),
        ("Subnet: IPv4 1.1.1.1", []),
        ("Address:\0 IPv4 1.1.1.1", []),
        ("\ud800", []),
        ("xx Address: IPv4 1.1.1.1 yy", ["Address: IPv4 1.1.1.1"]),
        (" Address: IPv4 1.1.1.1\n", ["Address: IPv4 1.1.1.1"]),
        ("\xe9 Range: IPv4 1.1.1.1-1.1.1.2", ["Range: IPv4 1.1.1.1-1.1.1.2"]),
        ("address: IPv6 ::A", ["Address: IPv6 ::a"]),
        ("Address: IPv6 fe80::1%lo", ["Address: IPv6 fe80::1"]),
        ("RANGE: IPv6 ::1-::5", ["Range: IPv6 ::1-::5"]),
        ("Subnet: IPv6 0:0::0/00", ["Subnet: IPv6 ::/0"]),
        ("Subnet: IPv4 1.1.1.1/08", ["Subnet: IPv4 1.1.1.1/8"]),
        ("Address: IPv6 ::255.255.0.9", ["Address: IPv6 ::255.255.0.9"]),
        ("Range: IPv6 ::255.255.0.9-::255.255.0.10", ["Range: IPv6 ::255.255.0.9-::255.255.0.10"]),
        ("Subnet: IPv6 ::ffff:1.2.3.4/100", ["Subnet: IPv6 ::ffff:1.2.3.4/100"]),
        ("Address: IPv6 ::1 Subnet: IPv4 1.2.3.4/8", ["Subnet: IPv4 1.2.3.4/8"]),
    ],
)
def test_from_json_skips_what_is_no_rule(text, rules):
    assert made(("from_json", [text])).rules == rules
    assert made(("from_json", ["x", text])).rules == rules


@pytest.mark.spec("N148")
@cases(
    ("text", "code"),
    [
        ("Address: IPv4 999.1.1.1", ADDRESS),
        ("Address: IPv4 01.1.1.1", ADDRESS),
        ("Address: IPv4 1.1.1.1234", ADDRESS),
        ("Address: IPv4 1.1.1.1.1", ADDRESS),
        ("Address: IPv6 1:2", ADDRESS),
        ("Address: IPv6 1.2.3.4", ADDRESS),
        ("Range: IPv4 1.1.1.1-1.1.1.999", ADDRESS),
        ("Range: IPv6 ::1-1:2", ADDRESS),
        ("Range: IPv4 1.1.1.2-1.1.1.1", ARG_VALUE),
        ("Range: IPv6 ::2-::1", ARG_VALUE),
        ("x Range: IPv6 ::2-::1", ARG_VALUE),
        ("Range: IPv4 1.1.1.1-::5", ARG_VALUE),
        ("Subnet: IPv4 1.1.1.1/33", OUT_OF_RANGE),
        ("Subnet: IPv4 1.1.1.1/333", OUT_OF_RANGE),
        ("Subnet: IPv6 ::/129", OUT_OF_RANGE),
        ("Subnet: IPv6 ::/" + "9" * 10000, OUT_OF_RANGE),
    ],
)
def test_from_json_refuses_a_rule_that_is_wrong(text, code):
    block_list = BlockList()
    assert code_of(block_list.from_json, ["Address: IPv4 1.1.1.1", text]) == code
    assert block_list.size == 0


@cases("data", [None, 1, {}, b"[]", "{}", "1", '"a"', "null", '["a", 1]', [None]])
def test_from_json_wants_texts(data):
    assert code_of(BlockList().from_json, data) == ARG_TYPE


@cases("data", ["", "x", "[", '["a"', "[" * 100000])
def test_from_json_of_no_json_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"char|nested"):
        BlockList().from_json(data)


@pytest.mark.spec("N147")
def test_is_block_list():
    assert BlockList.is_block_list(BlockList())
    assert BlockList.is_block_list(type("Own", (BlockList,), {})())
    for other in (None, [], BlockList, "x"):
        assert not BlockList.is_block_list(other)
    assert not BlockList.is_block_list()


@pytest.mark.spec("N004")
@cases(
    ("name", "node"),
    [
        ("add_address", "addAddress"),
        ("add_addresses", "addAddresses"),
        ("add_range", "addRange"),
        ("add_subnet", "addSubnet"),
        ("add_cidr", "addCIDR"),
        ("add_cidrs", "addCIDRs"),
        ("remove_address", "removeAddress"),
        ("remove_range", "removeRange"),
        ("remove_subnet", "removeSubnet"),
        ("remove_cidr", "removeCIDR"),
        ("to_json", "toJSON"),
        ("from_json", "fromJSON"),
        ("is_block_list", "isBlockList"),
    ],
)
def test_node_names_are_the_same_objects(name, node):
    assert getattr(BlockList, node) is getattr(BlockList, name)


def test_it_takes_no_arguments_but_a_subclass_may():
    with pytest.raises(TypeError):
        BlockList(1)

    class Own(BlockList):
        def __init__(self, name):
            super().__init__()
            self.name = name

    own = Own("x")
    own.add_address("1.1.1.1")
    assert (own.name, own.size) == ("x", 1)
    assert repr(own) == "<Own with 1 rules>"


def test_size_and_rules_are_read_only():
    block_list = BlockList()
    for name in ("size", "rules"):
        with pytest.raises(AttributeError):
            setattr(block_list, name, 1)


def test_an_empty_list_is_true():
    assert BlockList()


def test_it_goes_when_nobody_holds_it():
    block_list = made(("add_cidrs", BlockList.PRIVATE_RANGES))
    gone = weakref.ref(block_list)
    del block_list
    gc.collect()
    assert gone() is None


def test_its_size_in_memory_is_told():
    block_list = BlockList()
    empty = block_list.__sizeof__()
    block_list.add_addresses(f"1.2.{number >> 8}.{number & 255}" for number in range(10000))
    assert empty + 10000 * 8 <= block_list.__sizeof__() <= empty + 10000 * 64
    block_list.clear()
    assert block_list.__sizeof__() == empty

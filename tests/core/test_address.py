"""is_ip() and the reading and writing of addresses, with ipaddress as the oracle."""

import ipaddress
import re
import socket
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyuvnet._core.address import _through_sockaddr, is_ip, is_ipv4, is_ipv6
from tests.support.cases import cases

# What Node 26 answers.
IPV4 = ["0.0.0.0", "1.2.3.4", "255.255.255.255", "10.0.100.200"]
IPV6 = [
    "::",
    "::1",
    "1::",
    "0000::",
    "1:2:3:4:5:6:7::",
    "::2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8",
    "0:0:0:0:0:0:0:0",
    "::FFFF:1.2.3.4",
    "::1.2.3.4",
    "1:2:3:4:5:6:1.2.3.4",
    "1:2:3:4:5::1.2.3.4",
    "::1:2:3:4:5:1.2.3.4",
    "1:2:3:4:5:6:255.255.255.255",
    "::1%eth0",
    "::%1",
    "fe80::1%a.b:c-d",
    "::ffff:1.2.3.4%x",
    "::1%-",
    "fe80::1%" + "a" * 200,
]
NEITHER = [
    "",
    " ",
    "01.2.3.4",
    "00.0.0.0",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.1000",
    "1.2.3.99999999999999999999",
    "1..2.3",
    ".1.2.3",
    "1.2.3.",
    "+1.2.3.4",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4\n",
    "1.2.3.4\0",
    "1.2.3.4%eth0",
    "1.2.3.4/8",
    "\uff11.2.3.4",
    "0x1.2.3.4",
    ":",
    ":::",
    "::1:",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7",
    "1:::2",
    "1::2::3",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "1::2:3:4:5:6:7:8",
    "1:2:3:4::5:6:7:8",
    "1:2:3:4:5:6:7:1.2.3.4",
    "1:2:3:4:5:6::1.2.3.4",
    "::1:2:3:4:5:6:1.2.3.4",
    "::1:2:3:4:5:6:7:1.2.3.4",
    "::1.2.3",
    "::1.2.3.04",
    "::256.1.1.1",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "12345::",
    "00000::",
    "g::",
    "::-1",
    "[::1]",
    "::1/64",
    " ::1",
    "::1 ",
    "::1\n",
    "::1\0",
    "fe80::1%",
    "::1%a b",
    "::1%a_b",
    "::1%a%b",
    "::1%\xe9",
    "::1%\u212a",
    "::1%eth0\n",
    "::1\ud800",
]


@pytest.mark.spec("N097")
@cases("text", IPV4)
def test_ipv4_text_is_4(text):
    assert (is_ip(text), is_ipv4(text), is_ipv6(text)) == (4, True, False)


@pytest.mark.spec("N098")
@cases("text", IPV6)
def test_ipv6_text_is_6(text):
    assert (is_ip(text), is_ipv4(text), is_ipv6(text)) == (6, False, True)


@pytest.mark.spec("N096")
@cases("text", NEITHER)
def test_everything_else_is_0(text):
    assert (is_ip(text), is_ipv4(text), is_ipv6(text)) == (0, False, False)


class Text:
    def __str__(self):
        return "1.2.3.4"


class Broken:
    def __str__(self):
        raise RuntimeError


class NoText:
    def __str__(self):
        return 5


@cases(
    ("value", "family"),
    [
        (ipaddress.ip_address("1.2.3.4"), 4),
        (ipaddress.ip_address("fe80::1%lo"), 6),
        (Text(), 4),
        (type("Name", (str,), {})("::1"), 6),
        (ipaddress.ip_network("1.2.3.4"), 0),
        (Broken(), 0),
        (NoText(), 0),
        (None, 0),
        (True, 0),
        (4, 0),
        (1.5, 0),
        (b"1.2.3.4", 0),
        (bytearray(b"1.2.3.4"), 0),
        (["1.2.3.4"], 0),
        (object, 0),
    ],
)
def test_other_values_are_judged_by_their_text_and_never_raise(value, family):
    assert is_ip(value) == family
    assert is_ipv4(value) is (family == 4)
    assert is_ipv6(value) is (family == 6)


def test_the_value_may_be_missing():
    assert (is_ip(), is_ipv4(), is_ipv6()) == (0, False, False)


def family_by_ipaddress(text):
    address, mark, zone = text.partition("%")
    try:
        family = ipaddress.ip_address(address).version
    except ValueError:
        return 0
    if mark and (family == 4 or not re.fullmatch("[0-9A-Za-z.:-]+", zone)):
        return 0
    return family


near_addresses = st.lists(
    st.sampled_from([*"019afAF:.%-/ []", "::", "255", "256", "ffff", "1.2.3.4", "%eth0", "0.0"]),
    max_size=18,
).map("".join)


@pytest.mark.spec("N096")
@given(st.one_of(near_addresses, st.text(max_size=50)))
@example("1:2:3:4:5:6:7::")
@example("::1.2.3.4%0")
def test_is_ip_agrees_with_ipaddress(text):
    assert is_ip(text) == family_by_ipaddress(text)


@given(st.ip_addresses())
def test_every_address_is_recognised_in_every_spelling(address):
    for text in (str(address), address.exploded, str(address).upper()):
        assert is_ip(text) == address.version


@given(st.binary(max_size=50))
def test_bytes_are_never_an_address(data):
    assert is_ip(data) == 0
    text = data.decode("latin-1")
    assert is_ip(text) == family_by_ipaddress(text)


# What C code asks for


def canonical(address):
    """inet_ntop(), which is not the same on all platforms."""
    if address.version == 4:
        return str(address)
    groups = [int.from_bytes(address.packed[at : at + 2]) for at in range(0, 16, 2)]
    runs = [
        (length, -start)
        for length in range(2, 9)
        for start in range(9 - length)
        if not any(groups[start : start + length])
    ]
    length, start = max(runs, default=(0, 0))
    start = -start
    words = [f"{group:x}" for group in groups]
    if (length, start) == (6, 0) or ((length, start) == (5, 0) and groups[5] == 0xFFFF):
        words[6:] = [str(ipaddress.IPv4Address(address.packed[12:]))]
    if not length:
        return ":".join(words)
    return ":".join(words[:start]) + "::" + ":".join(words[start + length :])


sparse_ipv6 = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0xABC]), min_size=8, max_size=8).map(
    lambda groups: ipaddress.IPv6Address(":".join(f"{group:x}" for group in groups))
)
plain_addresses = st.one_of(st.ip_addresses(), sparse_ipv6).filter(
    lambda address: address.version == 4 or not address.is_link_local
)


@given(plain_addresses, st.integers(0, 65535))
@example(ipaddress.ip_address("0.0.0.0"), 0)
@example(ipaddress.ip_address("255.255.255.255"), 65535)
@example(ipaddress.ip_address("::"), 1)
@example(ipaddress.ip_address("::1"), 256)
@example(ipaddress.ip_address("::1:0"), 255)
@example(ipaddress.ip_address("::ffff:0:0"), 80)
@example(ipaddress.ip_address("1:0:0:2::3"), 80)
@example(ipaddress.ip_address("1:0:2:3:4:5:6:7"), 80)
@example(ipaddress.ip_address("1:2:3:4:5:6:7:0"), 80)
@example(ipaddress.ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 80)
def test_an_address_comes_out_of_a_socket_address_canonically(address, port):
    expected = (canonical(address), port, f"IPv{address.version}")
    if sys.platform == "linux":
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        assert expected[0] == socket.inet_ntop(family, address.packed)
    assert _through_sockaddr(address.exploded, port) == expected


@cases("text", NEITHER)
def test_no_socket_address_is_made_of_other_text(text):
    assert _through_sockaddr(text, 80) is None


@pytest.mark.spec("D72")
def test_a_zone_is_told_of_link_local_addresses_only():
    index, name = socket.if_nameindex()[0]
    told = str(index) if sys.platform == "win32" else name
    for zone in (name, str(index)):
        assert _through_sockaddr(f"fe80::1%{zone}", 80) == (f"fe80::1%{told}", 80, "IPv6")
        assert _through_sockaddr(f"febf::1%{zone}", 80) == (f"febf::1%{told}", 80, "IPv6")
        assert _through_sockaddr(f"fec0::1%{zone}", 80) == ("fec0::1", 80, "IPv6")
        assert _through_sockaddr(f"2001:db8::1%{zone}", 80) == ("2001:db8::1", 80, "IPv6")
    assert _through_sockaddr("fe80::1", 80) == ("fe80::1", 80, "IPv6")


def test_a_zone_may_be_the_number_of_no_interface():
    assert _through_sockaddr("fe80::1%4294967295", 80) == ("fe80::1%4294967295", 80, "IPv6")


@cases("zone", ["4294967296", "nosuchif0", "0", "x" * 300, "9" * 300, "1x"])
def test_an_unknown_zone_is_no_zone(zone):
    assert _through_sockaddr(f"fe80::1%{zone}", 80) == ("fe80::1", 80, "IPv6")

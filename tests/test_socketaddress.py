"""SocketAddress: what it takes, what it tells, how it compares."""

import copy
import ipaddress
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyuvnet.errors import AddressError, ArgTypeError, ArgValueError, Error, RangeError
from pyuvnet.socketaddress import SocketAddress
from tests.support.cases import cases


def told(address):
    return address.address, address.port, address.family, address.flowlabel


@pytest.mark.spec("N011", "N012", "N013", "N014", "N015")
@cases(
    ("options", "expected"),
    [
        ({}, ("127.0.0.1", 0, "ipv4", 0)),
        ({"family": "ipv6"}, ("::", 0, "ipv6", 0)),
        ({"family": "IPv6"}, ("::", 0, "ipv6", 0)),
        ({"family": "IPV4"}, ("127.0.0.1", 0, "ipv4", 0)),
        ({"family": None, "address": None, "port": None}, ("127.0.0.1", 0, "ipv4", 0)),
        ({"address": "1.2.3.4", "port": 80}, ("1.2.3.4", 80, "ipv4", 0)),
        ({"port": "80"}, ("127.0.0.1", 80, "ipv4", 0)),
        ({"port": " 0x50 "}, ("127.0.0.1", 80, "ipv4", 0)),
        ({"port": 65535.0}, ("127.0.0.1", 65535, "ipv4", 0)),
        ({"flowlabel": 5}, ("127.0.0.1", 0, "ipv4", 0)),
        ({"family": "ipv6", "flowlabel": 4294967295}, ("::", 0, "ipv6", 4294967295)),
        ({"family": "ipv6", "address": "FE80::1%lo"}, ("fe80::1", 0, "ipv6", 0)),
        ({"family": "ipv6", "address": "fe80::1%"}, ("fe80::1", 0, "ipv6", 0)),
        ({"family": "ipv6", "address": "::FFFF:1.2.3.4"}, ("::ffff:1.2.3.4", 0, "ipv6", 0)),
        (
            {"family": "ipv6", "address": "2001:DB8:0:0:1:0:0:1"},
            ("2001:db8::1:0:0:1", 0, "ipv6", 0),
        ),
        ({"address": "1.2.3.4", "host": "ignored"}, ("1.2.3.4", 0, "ipv4", 0)),
        ({"address": "::1", "family": "IPv6", "port": 8124}, ("::1", 8124, "ipv6", 0)),
    ],
)
def test_options_may_be_a_mapping(options, expected):
    assert told(SocketAddress(options)) == expected


@pytest.mark.spec("N011")
def test_options_may_be_keywords_and_these_win():
    address = SocketAddress({"address": "1.2.3.4", "port": 80}, port=81)
    assert told(address) == ("1.2.3.4", 81, "ipv4", 0)
    assert told(SocketAddress()) == ("127.0.0.1", 0, "ipv4", 0)


def wrong_type(what, expected, received):
    text = f"The {what} must be of type {expected}. Received {received}"
    return ArgTypeError, "ERR_INVALID_ARG_TYPE", text


def wrong_family(received):
    text = f"The property 'options.family' is invalid. Received {received}"
    return ArgValueError, "ERR_INVALID_ARG_VALUE", text


def wrong_port(received):
    text = f"options.port should be >= 0 and < 65536. Received type {received}."
    return RangeError, "ERR_SOCKET_BAD_PORT", text


def wrong_label(bounds, received):
    text = f'The value of "options.flowlabel" is out of range. It must be {bounds}. Received '
    return RangeError, "ERR_OUT_OF_RANGE", text + received


AN_ARRAY = "an instance of Array"
NO_ADDRESS = (AddressError, "ERR_INVALID_ADDRESS", "Invalid socket address")


@pytest.mark.spec("N011")
@cases(
    ("options", "expected"),
    [
        (1, wrong_type('"options" argument', "object", "type number (1)")),
        ([], wrong_type('"options" argument', "object", AN_ARRAY)),
        ({"family": "foo"}, wrong_family("'foo'")),
        ({"family": 4}, wrong_family("4")),
        ({"family": ""}, wrong_family("''")),
        ({"address": 1}, wrong_type('"options.address" property', "string", "type number (1)")),
        ({"port": -1}, wrong_port("number (-1)")),
        ({"port": True}, wrong_port("boolean (true)")),
        (
            {"flowlabel": "1"},
            wrong_type('"options.flowlabel" property', "number", "type string ('1')"),
        ),
        ({"flowlabel": -1}, wrong_label(">= 0 && <= 4294967295", "-1")),
        ({"flowlabel": 1.5}, wrong_label("an integer", "1.5")),
        ({"address": "x"}, NO_ADDRESS),
        ({"address": ""}, NO_ADDRESS),
        ({"address": "::1"}, NO_ADDRESS),
        ({"address": "1.1.1.1%lo"}, NO_ADDRESS),
        ({"address": "1.1.1.1\0"}, NO_ADDRESS),
        ({"address": "\ud800"}, NO_ADDRESS),
        ({"address": "1.1.1.1", "family": "ipv6"}, NO_ADDRESS),
        ({"address": "[::1]", "family": "ipv6"}, NO_ADDRESS),
    ],
)
def test_a_wrong_option_raises_what_node_raises(options, expected):
    error, code, text = expected
    with pytest.raises(error) as caught:
        SocketAddress(options)
    assert (caught.value.code, caught.value.message) == (code, text)


@cases("port", ["", " ", "x", "-1", 65536, 1.5, float("nan"), [], b"80"])
def test_what_is_not_a_port(port):
    with pytest.raises(RangeError) as caught:
        SocketAddress(port=port)
    assert caught.value.code == "ERR_SOCKET_BAD_PORT"


def test_options_are_checked_in_nodes_order():
    wrong = {"family": "x", "address": 1, "port": -1, "flowlabel": -1}
    codes = []
    for name, right in [("family", "ipv4"), ("address", "x"), ("port", 0), ("flowlabel", 0)]:
        with pytest.raises(Error) as caught:
            SocketAddress(wrong)
        codes.append(caught.value.code)
        wrong[name] = right
    with pytest.raises(AddressError):
        SocketAddress(wrong)
    assert codes == [
        "ERR_INVALID_ARG_VALUE",
        "ERR_INVALID_ARG_TYPE",
        "ERR_SOCKET_BAD_PORT",
        "ERR_OUT_OF_RANGE",
    ]


def test_an_unknown_keyword_raises():
    with pytest.raises(ArgTypeError) as caught:
        SocketAddress(adress="1.2.3.4")
    assert caught.value.code == "ERR_UNKNOWN_OPTION"


@pytest.mark.spec("N010")
@cases("name", ["address", "port", "family", "flowlabel", "other"])
def test_it_is_immutable(name):
    address = SocketAddress()
    with pytest.raises(AttributeError):
        setattr(address, name, 1)
    address.__init__({"address": "1.2.3.4"})
    assert told(address) == ("127.0.0.1", 0, "ipv4", 0)


@pytest.mark.spec("N012", "N013", "N014", "N015")
def test_to_json_has_nodes_keys_in_nodes_order():
    address = SocketAddress(address="::1", family="ipv6", port=80, flowlabel=7)
    expected = {"address": "::1", "port": 80, "family": "ipv6", "flowlabel": 7}
    assert address.to_json() == expected
    assert list(address.to_json()) == list(expected)
    assert json.loads(json.dumps(address, default=SocketAddress.to_json)) == expected
    assert address.to_json().port == 80
    assert SocketAddress(address.to_json()) == address


@pytest.mark.spec("N010")
def test_node_names_are_the_same_objects():
    assert SocketAddress.toJSON is SocketAddress.to_json
    assert SocketAddress.isSocketAddress is SocketAddress.is_socket_address


@pytest.mark.spec("D75")
def test_equality_and_hash_are_by_value():
    same = [SocketAddress.parse(text) for text in ("[::1]:80", "[0::0:1]:80", "[::1]:080")]
    assert len(set(same)) == 1
    assert same[0] == same[1]
    others = [
        SocketAddress.parse("[::1]:81"),
        SocketAddress.parse("[::2]:80"),
        SocketAddress(address="::1", family="ipv6", port=80, flowlabel=1),
        SocketAddress.parse("1.2.3.4:80"),
        SocketAddress.parse("[::ffff:1.2.3.4]:80"),
        SocketAddress.parse("[102:304::]:80"),
    ]
    assert len({same[0], *others}) == 7
    assert all(same[0] != other for other in others)
    assert same[0] != "[::1]:80"
    assert same[0] != same[0].to_json()


def test_copies_are_equal():
    for text in ("1.2.3.4:5", "[::1]:80"):
        address = SocketAddress.parse(text)
        assert copy.copy(address) == address
        assert copy.deepcopy(address) == address
        assert pickle.loads(pickle.dumps(address)) == address
        assert eval(repr(address)) == address


@pytest.mark.spec("N151")
def test_is_socket_address():
    assert SocketAddress.is_socket_address(SocketAddress())
    for other in (None, {}, "1.2.3.4:80", SocketAddress):
        assert not SocketAddress.is_socket_address(other)
    assert not SocketAddress.is_socket_address()


@pytest.mark.spec("N150", "D67")
@cases(
    ("text", "expected"),
    [
        ("1.2.3.4", ("1.2.3.4", 0, "ipv4", 0)),
        ("1.2.3.4:", ("1.2.3.4", 0, "ipv4", 0)),
        ("1.2.3.4:0", ("1.2.3.4", 0, "ipv4", 0)),
        ("1.2.3.4:80", ("1.2.3.4", 80, "ipv4", 0)),
        ("1.2.3.4:65535", ("1.2.3.4", 65535, "ipv4", 0)),
        ("1.2.3.4:000000000000081", ("1.2.3.4", 81, "ipv4", 0)),
        ("[::1]", ("::1", 0, "ipv6", 0)),
        ("[::1]:", ("::1", 0, "ipv6", 0)),
        ("[::1]:80", ("::1", 80, "ipv6", 0)),
        ("[FE80::A]:9", ("fe80::a", 9, "ipv6", 0)),
        ("[::ffff:1.2.3.4]:8", ("::ffff:1.2.3.4", 8, "ipv6", 0)),
    ],
)
def test_parse(text, expected):
    assert told(SocketAddress.parse(text)) == expected


@pytest.mark.spec("N150", "D67")
@cases(
    "text",
    [
        *("", ":", ":80", "x", "x:80", "localhost:80", "::1", "::1:80", "[]", "[]:80", "[", "]"),
        *("[::1", "::1]", "[::1%lo]:80", "[::1]x", "[::1]80", "[::1]:80:", "[::1]:8:9", "[ ::1]"),
        *("[1.2.3.4]:80", "[[::1]]", "1.2.3.4:65536", "1.2.3.4:99999999999999999999"),
        *("1.2.3.4:+8", "1.2.3.4:-8", "1.2.3.4: 8", "1.2.3.4 :8", " 1.2.3.4", "1.2.3.4:8 "),
        *("1.2.3.4:0x8", "1.2.3.4:8x", "1.2.3.4:8:9", "1.2.3.4/8", "1.2.3.4:8/x", "user@1.2.3.4"),
        *("1.2.3", "0x7f000001", "01.2.3.4", "256.1.1.1", "1.2.3.4.:8", "1.2.3.4\0", "\ud800"),
        *("1.2.3.4:\u0661", "\uff11.2.3.4"),
    ],
)
def test_parse_gives_none_for_everything_else(text):
    assert SocketAddress.parse(text) is None


@cases("value", [None, 1, b"1.2.3.4", ["1.2.3.4"]])
def test_parse_wants_a_text(value):
    with pytest.raises(ArgTypeError) as caught:
        SocketAddress.parse(value)
    assert caught.value.message.startswith('The "input" argument must be of type string. ')


@given(st.ip_addresses(), st.one_of(st.none(), st.integers(0, 65535)))
def test_parse_takes_every_address_and_port(address, port):
    host = str(address) if address.version == 4 else f"[{address}]"
    parsed = SocketAddress.parse(host if port is None else f"{host}:{port}")
    assert parsed.port == (port or 0)
    assert ipaddress.ip_address(parsed.address) == address


pieces = ["1.2.3.4", "[::1]", "[::1.2.3.4]", "::1", "[", "]", "%lo", ":", ":80", "0", "99999", " "]


@given(st.lists(st.sampled_from([*pieces, *"1a.:/@+"]), max_size=4).map("".join))
def test_parse_takes_nothing_but_an_address_and_port(text):
    parsed = SocketAddress.parse(text)
    host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not host.startswith("[") and ":" not in text:
        host, port = text, ""
    try:
        if host.startswith("[") and host.endswith("]"):
            expected = str(ipaddress.IPv6Address(host[1:-1])) if "%" not in host else None
        else:
            expected = str(ipaddress.IPv4Address(host))
        if port and (not port.isdigit() or int(port) > 65535):
            expected = None
    except ValueError:
        expected = None
    if expected is None:
        assert parsed is None
    else:
        assert ipaddress.ip_address(parsed.address) == ipaddress.ip_address(expected)
        assert parsed.port == int(port or 0)

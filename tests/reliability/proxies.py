"""A fuzzer of PROXY headers: (bytes, cut, limit), against the model of support/proxy."""

from __future__ import annotations

from pyuvnet._client.proxy import HeaderPlan, described
from pyuvnet._core.proxy_header import parse
from tests.support.proxy import SIGNATURE, ipv4, ipv6, model, tlv, unix, v2, with_checksum

from .fuzz import Input, fuzzer

ADDRESSES = ["1.2.3.4", "0.0.0.0", "::", "::1", "1::ffff:1.2.3.4", "01.2.3.4", "1.2.3", "fe80::1%1"]
PORTS = ["0", "1", "80", "65535", "65536", "00", "080", "-1", "", "99999", "100000", "8a"]


def line_of(made: Input) -> bytes:
    if made.chance(0.2):
        return f"PROXY UNKNOWN{made.pick('', ' ', ' x y', 'x')}\r\n".encode()
    likely = made.chance(0.7)
    addresses = ADDRESSES[:2] if likely else ADDRESSES
    if likely and made.chance(0.5):
        family, addresses = "6", ADDRESSES[2:4]
    else:
        family = "4" if likely else made.pick("4", "6", "5", "")
    words = [made.pick(*addresses), made.pick(*addresses)]
    words += [made.pick(*PORTS[: 4 if likely else None]) for _ in range(2)]
    text = f"PROXY TCP{family} {' '.join(words)}\r\n"
    return made.mutated(text).encode("utf-8", "surrogatepass")


def values_of(made: Input) -> bytes:
    parts = []
    for _ in range(made.below(4)):
        kind = made.pick(1, 2, 4, 5, 0x20, 0x20, 0x30, 0xEA, 0xEE, made.below(256))
        value = made.data(made.pick(4, 8, 140) if kind == 5 else 8)
        if kind == 0x20 and made.chance(0.8):
            value = made.random.randbytes(5) + tlv(0x21, made.data(4)) * made.below(3)
        if kind == 0xEE:
            value = b"\1" + made.data(5)
        parts.append(tlv(kind, value))
    return b"".join(parts)


def block_of(made: Input) -> bytes:
    family, ends = made.pick((1, ipv4()), (2, ipv6()), (3, unix()), (3, unix(b"\0a", b"/" * 108)))
    if made.chance(0.3):
        ends = made.random.randbytes(len(ends))
    header = v2(
        ends + values_of(made),
        (family if made.chance(0.9) else made.below(16)) << 4 | made.pick(1, 1, 1, 2, 0, 3),
        made.pick(1, 1, 1, 0, 2),
    )
    if made.chance(0.3):
        header = with_checksum(header)
    if made.chance(0.3):
        # A length, a type or whatever, that lies.
        at = made.below(len(header))
        header = header[:at] + bytes([made.below(256)]) + header[at + 1 :]
    if made.chance(0.1):
        header = header[:14] + made.below(65536).to_bytes(2, "big") + header[16:]
    return header


@fuzzer(weight=6)
def proxy(made: Input) -> None:
    """What the model says of a header, of each of its beginnings, and with data behind it."""
    kind = made.below(20)
    if kind == 0:
        data = made.data(120)
    elif kind == 1:
        data = SIGNATURE + made.data(40)
    else:
        data = line_of(made) if kind < 9 else block_of(made)
    limit = made.pick(107, 200, 4096, 65551)
    made.show(data, limit)
    whole = parse(data, limit)
    assert whole == model(data, limit), (whole, model(data, limit))
    if isinstance(whole, tuple):
        assert parse(data + made.data(8), limit) == whole
        length, version, command, source, destination, _, values = whole
        cut = made.below(length)
        assert parse(data[:cut], limit) is None
        end = length - len(values) if version == 2 else 0
        end = end if values else 0
        proxy = (data, version, command, source, destination, end, end + len(values), None, None)
        described(proxy)
    cut = data[: made.below(len(data) + 1)]
    assert parse(cut, limit) == model(cut, limit)


@fuzzer("ERR_INVALID_ARG_TYPE", "ERR_INVALID_ARG_VALUE", "ERR_OUT_OF_RANGE", "ERR_SOCKET_BAD_PORT",
        "ERR_UNKNOWN_OPTION", weight=2)  # fmt: skip
def proxy_to_send(made: Input) -> None:
    """A header that is sent is one that the model reads, with the ends that were given."""
    ends = made.pick(
        (("1.2.3.4", 5), ("5.6.7.8", 9)), (("::1", 5), ("2::", 65535)), ("/a", b"/b"), (None, None)
    )
    options = {
        "version": made.pick(1, 2, None, made.anything()),
        "source": ends[0] if made.chance(0.9) else made.anything(),
        "destination": ends[1] if made.chance(0.9) else made.anything(),
        "command": made.pick(None, "PROXY", "LOCAL", made.anything()),
        "checksum": made.pick(None, True, False, made.anything()),
        "tlvs": made.pick(
            None,
            {"alpn": made.anything("h2", b"h2"), "authority": "x"},
            [(made.anything(1, 0xEA), made.anything(b"x"))],
            {"ssl": {"verified": made.anything(True), "cipher": made.anything("x")}},
            made.anything(),
        ),
    }
    if made.chance(0.05):
        options[made.text() or "x"] = 1
    made.show(options)
    plan = made.attempt(HeaderPlan, options)
    if made.raised(plan):
        return
    header = plan.make(("9.9.9.9", 1, "IPv4"), ("8.8.8.8", 2, "IPv4"))
    found = model(header, 65551)
    assert isinstance(found, tuple), found
    assert found[0] == len(header)
    assert parse(header, 65551) == found
    if found[2] == "PROXY" and isinstance(plan._source, tuple):
        assert (found[3][1], found[4][1]) == (plan._source[1], plan._destination[1])

"""BlockList.load(): feeds as people publish them, line by line."""

import io
import pathlib

import pytest

from pyuvnet.blocklist import BlockList
from pyuvnet.errors import ArgValueError
from tests.support.blocklists import code_of, made, text_of
from tests.support.cases import cases

ARG_TYPE = "ERR_INVALID_ARG_TYPE"
ARG_VALUE = "ERR_INVALID_ARG_VALUE"


FEED = """\
; a feed, as people publish them
1.10.16.0/20 ; SBL256894
  2.2.2.2\t# an address

3.3.3.3-3.3.3.9
4.4.4.4 - 4.4.4.5
2001:DB8::/32
::1
::2-::5;
#
"""
FEED_RULES = [
    "Range: IPv6 ::2-::5",
    "Address: IPv6 ::1",
    "Subnet: IPv6 2001:db8::/32",
    "Range: IPv4 4.4.4.4-4.4.4.5",
    "Range: IPv4 3.3.3.3-3.3.3.9",
    "Address: IPv4 2.2.2.2",
    "Subnet: IPv4 1.10.16.0/20",
]


@cases("encode", [False, True])
def test_load_takes_lines(encode):
    lines = FEED.encode().splitlines(True) if encode else FEED.splitlines()
    block_list = BlockList.load(lines)
    assert isinstance(block_list, BlockList)
    assert block_list.rules == FEED_RULES
    assert block_list.check("1.10.31.255")
    assert BlockList.load(iter(lines)).rules == FEED_RULES
    assert BlockList.load([]).rules == []


@pytest.mark.spec("D74")
@pytest.mark.parametrize("kind", [str, pathlib.Path, lambda path: str(path).encode()])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_load_takes_the_path_of_a_file(tmp_path, kind, newline, start):
    path = tmp_path / "feed.txt"
    path.write_bytes((start + FEED.replace("\n", newline)).encode() + b"5.5.5.5")
    expected = ["Address: IPv4 5.5.5.5", *FEED_RULES]
    assert BlockList.load(kind(path)).rules == expected
    with open(path, encoding="utf-8") as file:
        assert BlockList.load(file).rules == expected
    with open(path, "rb") as file:
        assert BlockList.load(file).rules == expected
    path.write_bytes(b"")
    assert BlockList.load(kind(path)).rules == []


def test_load_of_a_list_adds_to_it_and_returns_it():
    block_list = made(("add_address", "9.9.9.9"))
    assert block_list.load(["1.1.1.1"]) is block_list
    assert block_list.load(path_or_lines=["2.0.0.0/8"]) is block_list
    assert block_list.rules == [
        "Subnet: IPv4 2.0.0.0/8",
        "Address: IPv4 1.1.1.1",
        "Address: IPv4 9.9.9.9",
    ]


def test_load_of_the_class_makes_a_new_list_each_time():
    class Own(BlockList):
        pass

    load = Own.load
    first, second = load(["1.1.1.1"]), load(["2.2.2.2"])
    assert type(first) is Own
    assert (first.size, second.size) == (1, 1)
    assert "Args:" in BlockList.load.__doc__


@cases(
    "wrong",
    [
        *("x", "1.1.1.1/33", "1.1.1.1/", "1.1.1.1/08", "1.1.1.1/-1", "1.1.1.1/8/8", "1.1.1.1 /8"),
        *("1.1.1.1 2.2.2.2", "::1/129", "::1/1234", "1.1.1.1,", "1.1.1.1-", "-1.1.1.1", "-"),
        *("1.1.1.2-1.1.1.1", "1.1.1.1-::ffff:2.2.2.2", "fe80::1%lo", "fe80::1%lo/64", "1.1.1"),
        *("256.1.1.1", "1.1.1.1\0", "\ufeff1.1.1.1", "\xe9", "\ud800", "// 1.1.1.1"),
        "1.1.1.1\n2.2.2.2",
    ],
)
def test_a_wrong_line_is_told_with_its_number_and_adds_nothing(wrong):
    block_list = made(("add_address", "9.9.9.9"))
    with pytest.raises(ArgValueError) as caught:
        block_list.load(["1.1.1.1", "", "# \xe9 \ud800", wrong, "2.2.2.2"])
    assert caught.value.code == ARG_VALUE
    assert caught.value.line == 4
    assert caught.value.message.startswith(
        "Line 4 is not an address, a subnet or a range. Received '"
    )
    assert block_list.rules == ["Address: IPv4 9.9.9.9"]


def test_a_wrong_line_of_a_file_is_told_with_its_path(tmp_path):
    path = tmp_path / "feed.txt"
    for end in (b"", b"\r\n", b"\n2.2.2.2\n"):
        path.write_bytes(b"1.1.1.1\r\n\r\n  foo\xff/8 " + end)
        with pytest.raises(ArgValueError) as caught:
            BlockList.load(path)
        assert caught.value.line == 3
        assert caught.value.message == (
            f"Line 3 of {str(path)!r} is not an address, a subnet or a range. "
            "Received 'foo\ufffd/8'"
        )


def test_what_cannot_be_loaded(tmp_path):
    for source in (None, 1, object()):
        assert code_of(BlockList.load, source) == ARG_TYPE
    assert code_of(BlockList().load) == ARG_TYPE
    assert code_of(BlockList.load, ["1.1.1.1", 5]) == ARG_TYPE
    assert text_of(BlockList.load, ["1.1.1.1", None]) == (
        'The "path_or_lines[1]" argument must be of type string or an instance of Buffer. '
        "Received undefined"
    )
    with pytest.raises(FileNotFoundError):
        BlockList.load(tmp_path / "missing")
    with pytest.raises(ValueError, match="closed"):
        BlockList.load(closed_file())


def closed_file():
    file = io.StringIO("1.1.1.1")
    file.close()
    return file


# The object

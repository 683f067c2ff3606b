"""Encodings, README R3 and streams.md 3.2: names, text to bytes, bytes to text in any pieces.

Expected values of lenient hex and base64 are those of Node's Buffer.from().
"""

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyuvnet import ArgTypeError, Readable, Writable, run
from pyuvnet._core.encoding import Decoder, encode_text
from tests.support.cases import cases

ENCODINGS = ["utf8", "ascii", "latin1", "utf16le", "hex", "base64", "base64url"]
ALIASES = {
    "utf8": "utf8",
    "UTF-8": "utf8",
    "": "utf8",
    "Ascii": "ascii",
    "latin1": "latin1",
    "binary": "latin1",
    "HEX": "hex",
    "base64": "base64",
    "Base64URL": "base64url",
    "ucs2": "utf16le",
    "UCS-2": "utf16le",
    "utf16le": "utf16le",
    "utf-16le": "utf16le",
}
# Characters of one to four bytes, cut ones, impossible ones, surrogates, and plain text.
AWKWARD = [
    "aé€😀z".encode(),
    b"\xe2\x82A\xf0\x9f\x98B\xc3",
    b"\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xe0\x80",
    "a😀€".encode("utf-16-le"),
    b"\x3d\xd8A\x00\x3d\xd8",
    bytes(range(250, 256)) + bytes(range(5)),
]


def reference(encoding: str, data: bytes) -> str:
    """The text of all the bytes, by Python's codecs."""
    if encoding == "utf8":
        return data.decode("utf-8", "replace")
    if encoding == "ascii":
        return bytes(byte & 127 for byte in data).decode("ascii")
    if encoding == "latin1":
        return data.decode("latin-1")
    if encoding == "utf16le":
        return data[: len(data) & ~1].decode("utf-16-le", "surrogatepass")
    if encoding == "hex":
        return data.hex()
    if encoding == "base64":
        return base64.b64encode(data).decode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(encoding: str, chunks: list[bytes]) -> str:
    decoder = Decoder(encoding)
    return "".join([*map(decoder.write, chunks), decoder.end()])


@pytest.mark.spec("R3-03")
@cases(("name", "canonical"), ALIASES.items())
def test_every_name_is_known_in_any_case(name, canonical):
    assert Decoder(name).encoding == canonical
    assert encode_text("6A6a", name) == encode_text("6A6a", canonical)


def test_no_name_is_utf8():
    assert Decoder().encoding == Decoder(None).encoding == "utf8"
    assert encode_text("é") == encode_text("é", None) == b"\xc3\xa9"


@pytest.mark.spec("R6-01")
@cases("name", ["utf-16", "utf_8", "latin-1", "base32", 5, b"utf8", " utf8"])
def test_unknown_names_are_refused(name):
    for call in (lambda: Decoder(name), lambda: encode_text("a", name)):
        with pytest.raises(ArgTypeError) as caught:
            call()
        assert caught.value.code == "ERR_UNKNOWN_ENCODING"


@pytest.mark.spec("R3-04")
def test_buffer_is_a_name_for_bytes_only():
    for call in (lambda: Decoder("buffer"), lambda: encode_text("a", "buffer")):
        with pytest.raises(ArgTypeError) as caught:
            call()
        assert str(caught.value) == "Unknown encoding: buffer"


@pytest.mark.spec("S3.2-14")
@cases("encoding", ENCODINGS)
@cases("data", AWKWARD)
def test_decoding_does_not_depend_on_where_the_chunks_are_cut(encoding, data):
    expected = reference(encoding, data)
    for first, second in itertools.combinations_with_replacement(range(len(data) + 1), 2):
        assert decode(encoding, [data[:first], data[first:second], data[second:]]) == expected
    assert decode(encoding, [data[i : i + 1] for i in range(len(data))]) == expected


@pytest.mark.spec("R3-06")
@pytest.mark.parametrize("encoding", ENCODINGS)
@given(data=st.binary(max_size=80), size=st.integers(1, 9))
def test_decoding_agrees_with_python_codecs(encoding, data, size):
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert decode(encoding, chunks) == reference(encoding, data)


@pytest.mark.spec("S3.2-14", "R3-06")
@cases(
    ("encoding", "chunks", "texts", "rest"),
    [
        ("utf8", [b"\xe2", b"\x82", b"\xac"], ["", "", "€"], ""),
        ("utf8", [b"a\xe2\x82", b"b"], ["a", "\ufffdb"], ""),
        ("utf8", [b"a\xe2\x82"], ["a"], "\ufffd"),
        ("utf8", [b"\xed", b"\xa9"], ["", ""], "\ufffd\ufffd"),
        ("utf16le", [b"a", b"\x00b"], ["", "a"], ""),
        ("utf16le", [b"\x3d\xd8", b"\x00\xde"], ["", "😀"], ""),
        ("utf16le", [b"\x3d\xd8"], [""], "\ud83d"),
        ("base64", [b"a", b"bc", b"d"], ["", "YWJj", ""], "ZA=="),
        ("base64url", [b"\xfb\xff", b"\xff", b"de"], ["", "-___", ""], "ZGU"),
        ("hex", [b"\x0f", b"\xa0"], ["0f", "a0"], ""),
        ("ascii", [b"\xe1b"], ["ab"], ""),
        ("latin1", [b"\xe9"], ["é"], ""),
    ],
)
def test_text_comes_as_soon_as_it_is_whole(encoding, chunks, texts, rest):
    decoder = Decoder(encoding)
    assert [decoder.write(chunk) for chunk in chunks] == texts
    assert (decoder.end(), decoder.end()) == (rest, "")


@pytest.mark.spec("R3-06")
@given(text=st.text(max_size=60))
def test_encoding_agrees_with_python_codecs(text):
    assert encode_text(text, "utf8") == text.encode()
    assert encode_text(text, "utf16le") == text.encode("utf-16-le")
    low_bytes = text.encode("utf-16-le")[::2]
    assert encode_text(text, "latin1") == encode_text(text, "ascii") == low_bytes


@given(data=st.binary(max_size=60))
def test_encoding_undoes_decoding(data):
    for encoding in ("latin1", "hex", "base64", "base64url"):
        assert encode_text(reference(encoding, data), encoding) == data


@pytest.mark.spec("R3-05")
def test_unpaired_surrogates_become_replacement_characters_in_utf8():
    assert encode_text("a\ud83db") == b"a\xef\xbf\xbdb"
    assert encode_text("\ude00") == b"\xef\xbf\xbd"
    assert encode_text("\ud83d\ude00") == "😀".encode()
    assert encode_text("\ud83d", "utf16le") == b"\x3d\xd8"


@pytest.mark.spec("R3-07")
@cases(
    ("text", "data"),
    [
        ("zz", ""),
        ("abc", "ab"),
        ("a", ""),
        ("abzz12", "ab"),
        ("ABcd", "abcd"),
        ("12 34", "12"),
        ("12é3", "12"),
        ("12€€34", "12"),
        ("\u0131\u0131", ""),
    ],
)
def test_hex_stops_at_the_first_pair_that_is_none(text, data):
    assert encode_text(text, "hex").hex() == data


@pytest.mark.spec("R3-08")
@cases("encoding", ["base64", "base64url"])
@cases(
    ("text", "data"),
    [
        ("YQ==YQ==", "61"),
        ("Y=Q=", ""),
        ("YQ", "61"),
        ("Y", ""),
        ("YQA", "6100"),
        ("=YQ", ""),
        ("YWJj=ZGVm", "616263"),
        ("YWJjZ=GVm", "616263"),
        ("YéQ", "61"),
        ("Y€Q", "61"),
        ("Y QA\n\tB", "610001"),
        ("YWJjZ", "616263"),
        ("YR", "61"),
        ("YWJjZGV-_w", "61626364657eff"),
        ("YWJjZGV+/w==", "61626364657eff"),
    ],
)
def test_base64_takes_both_alphabets_and_skips_what_is_no_digit(encoding, text, data):
    assert encode_text(text, encoding).hex() == data


# ---- Through streams -----------------------------------------------------------------------------


class Source(Readable):
    def _read(self, size):
        pass


class Sink(Writable):
    def __init__(self, **options):
        super().__init__(**options)
        self.got = []

    def _write(self, chunk, encoding, callback):
        self.got.append(bytes(chunk))
        callback()


@pytest.mark.spec("S3.2-16", "S3.2-17", "S3.2-18", "S3.2-19", "N075")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stream_decodes_across_chunks_and_gives_the_rest_before_end(encoding, trace):
    data = b"\xe2\x82\xac\x3d\xd8\xff"
    source = Source(encoding=encoding)
    source.on("data", trace.note("data")).on("end", trace.note("end"))
    run()
    for byte in data:
        source.push(bytes([byte]))
    source.push(None)
    run()
    assert trace[-1] == "end"
    texts = [entry[1] for entry in trace[:-1]]
    assert "".join(texts) == reference(encoding, data)
    assert "" not in texts


@pytest.mark.spec("S3.2-15")
def test_set_encoding_converts_what_is_buffered(trace):
    source = Source()
    source.push(b"a\xe2")
    source.push(b"\x82\xac")
    assert source.readable_length == 4
    assert source.set_encoding("utf8") is source
    assert (source.readable_encoding, source.readable_length) == ("utf8", 2)
    assert source.read() == "a€"
    source.destroy()
    run()


@pytest.mark.spec("S2-03")
def test_read_counts_characters_once_an_encoding_is_set():
    source = Source(encoding="utf8")
    source.push("€€€".encode())
    assert source.readable_length == 3
    assert source.read(2) == "€€"
    assert source.readable_length == 1
    source.destroy()
    run()


@pytest.mark.spec("S3.2-20", "S4.1-11", "S4.2-03", "R6-01")
def test_an_unknown_encoding_changes_nothing():
    source = Source()
    source.push(b"\xc3\xa9")
    sink = Sink()
    for call in (
        lambda: source.set_encoding("nope"),
        lambda: source.unshift("a", "nope"),
        lambda: source.push("a", "nope"),
        lambda: sink.write("a", "nope"),
        lambda: sink.write(b"a", "nope"),
        lambda: sink.write("a", "buffer"),
        lambda: sink.end("a", "nope"),
        lambda: sink.set_default_encoding("nope"),
        lambda: sink.set_default_encoding(None),
        lambda: sink.set_default_encoding(),
        lambda: sink.set_default_encoding("buffer"),
        lambda: sink.set_default_encoding(""),
    ):
        with pytest.raises(ArgTypeError) as caught:
            call()
        assert caught.value.code == "ERR_UNKNOWN_ENCODING"
    assert source.read() == b"\xc3\xa9"
    assert (sink.writable_length, sink.writable_ended, sink.got) == (0, False, [])
    assert sink.write(b"a", "buffer")
    sink.write("é")
    sink.set_default_encoding("latin1").write("é")
    sink.write("é", "utf8")
    source.destroy()
    sink.destroy()
    run()
    assert sink.got == [b"a", b"\xc3\xa9", b"\xe9", b"\xc3\xa9"]


def test_push_and_unshift_take_text(trace):
    source = Source()
    source.push("00ff", "hex")
    source.push("é")
    source.unshift("6161", "hex")
    assert source.read() == b"aa\x00\xff\xc3\xa9"
    decoded = Source(encoding="utf8")
    decoded.push("é€")
    decoded.push("c3a9", "hex")
    decoded.unshift("x")
    decoded.unshift("ff", "hex")
    assert decoded.read() == "\ufffdxé€é"
    source.destroy()
    decoded.destroy()
    run()

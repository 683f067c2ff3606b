"""Nanoseconds to encode and decode text, next to the plain call of Python's codec.

    python -m bench.encodings [--size 1024] [--repeat 7]

Ours is what a stream calls for a str chunk and for a chunk under set_encoding(); it takes what
Node takes (short hex, both base64 alphabets), which the plain codec rejects. Each figure is the
best of several runs over one text of the size given, in bytes.
"""

from __future__ import annotations

import argparse
import binascii
import timeit
from collections.abc import Callable

from pyuvnet._core.encoding import Decoder, encode_text

TO_BYTES: dict[str, Callable[[str], bytes]] = {
    "utf8": lambda text: text.encode("utf-8"),
    "latin1": lambda text: text.encode("latin-1"),
    "ascii": lambda text: text.encode("ascii"),
    "utf16le": lambda text: text.encode("utf-16-le"),
    "hex": bytes.fromhex,
    "base64": binascii.a2b_base64,
    "base64url": lambda text: binascii.a2b_base64(text.replace("-", "+").replace("_", "/")),
}
TO_TEXT: dict[str, Callable[[bytes], str]] = {
    "utf8": lambda data: data.decode("utf-8"),
    "latin1": lambda data: data.decode("latin-1"),
    "ascii": lambda data: data.decode("ascii"),
    "utf16le": lambda data: data.decode("utf-16-le"),
    "hex": lambda data: data.hex(),
    "base64": lambda data: binascii.b2a_base64(data, newline=False).decode("ascii"),
    "base64url": lambda data: (
        binascii.b2a_base64(data, newline=False).decode("ascii").replace("+", "-").replace("/", "_")
    ),
}


def sample(encoding: str, size: int) -> bytes:
    """Bytes of the size given whose text under the encoding is worth converting."""
    if encoding == "utf8":
        return ("Straße über ñ € 日本 " * size).encode()[: size // 28 * 28]
    if encoding in ("ascii", "utf16le"):
        return (b"plain text, 16 b" * size)[:size]
    return (bytes(range(256)) * size)[: size // 12 * 12]


def nanoseconds(call: Callable[[], object], repeat: int) -> float:
    timer = timeit.Timer(call)
    loops = max(timer.autorange()[0] // 4, 1)
    return min(timer.repeat(repeat, loops)) / loops * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{'encoding':10} {'encode':>8} {'codec':>8} {'decode':>8} {'codec':>8}   ns")
    for encoding, codec in TO_BYTES.items():
        data = sample(encoding, arguments.size)
        text = Decoder(encoding).write(data)
        decoder = Decoder(encoding)
        figures = [
            nanoseconds(call, arguments.repeat)
            for call in (
                lambda text=text, encoding=encoding: encode_text(text, encoding),
                lambda text=text, codec=codec: codec(text),
                lambda data=data, decoder=decoder: decoder.write(data),
                lambda data=data, codec=TO_TEXT[encoding]: codec(data),
            )
        ]
        print(f"{encoding:10} " + " ".join(f"{figure:8.0f}" for figure in figures))


if __name__ == "__main__":
    main()

"""What the engine takes from Python's ssl; the layer of test_tls.py does the rest."""

from __future__ import annotations

import contextlib
import ssl

import pytest

from pyuvnet._core import engine


@pytest.mark.parametrize("name", ["Window", "Engine"])
def test_nobody_makes_one_by_hand(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(engine, name)()


def test_the_inner_object_has_what_is_called() -> None:
    """See docs/sharp-edges.md: `_sslobj` saves a Python call for each record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    inner = made._sslobj
    for method in ("read", "write", "do_handshake", "shutdown"):
        assert callable(getattr(inner, method))


def test_a_read_fills_a_buffer_that_is_smaller_than_its_count() -> None:
    def pair() -> tuple[ssl.SSLObject, ssl.SSLObject]:
        from tests.core.test_tls import bare

        (left, into_left, from_left) = bare(True, ssl.TLSVersion.TLSv1_3)
        (right, into_right, from_right) = bare(False, ssl.TLSVersion.TLSv1_3)
        for _ in range(4):
            for side, into, source in (
                (right, into_right, from_left),
                (left, into_left, from_right),
            ):
                into.write(source.read())
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        right.write(b"0123456789")
        into_left.write(from_right.read())
        return left, right

    left, _ = pair()
    buffer = bytearray(4)
    assert left._sslobj.read(1 << 30, memoryview(buffer)) == 4
    assert buffer == b"0123"

"""StreamHandle: what a descriptor is."""

from __future__ import annotations

import os
import socket as posix
import sys
from pathlib import Path

import pytest

from pyuvnet._core.stream_handle import handle_kind


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no descriptors there")
def test_kinds_of_descriptors(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with (
        posix.socket() as ip4,
        posix.socket(posix.AF_INET6) as ip6,
        posix.socket(posix.AF_UNIX) as unix,
        posix.socket(type=posix.SOCK_DGRAM) as udp,
        posix.socket(posix.AF_UNIX, posix.SOCK_DGRAM) as datagrams,
        open(tmp_path / "file", "w") as file,
    ):
        for fd, kind in [
            (ip4.fileno(), "TCP"),
            (ip6.fileno(), "TCP"),
            (unix.fileno(), "PIPE"),
            (reader, "PIPE"),
            (udp.fileno(), "UDP"),
            (datagrams.fileno(), "UNKNOWN"),
            (file.fileno(), "FILE"),
        ]:
            assert handle_kind(fd) == kind
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("fd", "kind"), [(9999, "UNKNOWN"), (-1, "INVALID"), (2**31, "INVALID"), (2**70, "INVALID")]
)
def test_numbers_without_a_file(fd: int, kind: str) -> None:
    assert handle_kind(fd) == kind

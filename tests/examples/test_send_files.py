"""examples/send_files.py"""

from __future__ import annotations

import os
import sys

import pytest

SIZE = 30_000_000  # far more than the kernel holds for a reader that does not read


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "small.txt").write_bytes(b"hello\n")
    (folder / "empty").write_bytes(b"")
    (folder / "big").write_bytes(os.urandom(SIZE))
    (folder / "deeper").mkdir()
    (folder / "deeper" / "grün").write_bytes(b"green")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def server(example, root):
    return example("send_files", "--port", 0, "--root", root)


@pytest.fixture
def ask(server, peer):
    port = server.port()

    def ask(name: str):
        one = peer(port)
        one.send(name.encode() + b"\n")
        return one

    return ask


def test_whole_files(ask, root):
    assert ask("small.txt").rest() == b"OK 6\nhello\n"
    assert ask("empty").rest() == b"OK 0\n"
    assert ask("deeper/grün").rest() == b"OK 5\ngreen"
    assert ask("big").rest() == b"OK 30000000\n" + (root / "big").read_bytes()


def test_a_name_in_pieces(server, peer):
    port = server.port()
    one = peer(port)
    one.send(b"small")
    # Accepted later and read after that: when it is answered, what came before has been read.
    other = peer(port)
    other.send(b"empty\n")
    assert other.rest() == b"OK 0\n"
    one.send(b".txt\n")
    assert one.rest() == b"OK 6\nhello\n"


def test_a_reader_that_does_not_read_costs_little_and_holds_nobody_up(ask, server, root):
    slow = ask("big")
    assert slow.line() == b"OK 30000000"
    assert ask("small.txt").rest() == b"OK 6\nhello\n"
    assert slow.rest() == (root / "big").read_bytes()
    slow.close()
    waiting = int(server.until("sent big, at most (.+) bytes waiting")[1])
    # So much that write() said False, and that was heeded: the mark and one more piece at most.
    assert 0 < waiting <= 2 * 65536


def test_a_reader_that_leaves_half_way(ask, server):
    one = ask("big")
    assert one.line() == b"OK 30000000"
    one.close()
    server.until("interrupted big")
    assert ask("small.txt").rest() == b"OK 6\nhello\n"


@pytest.mark.parametrize("name", ["nothing", "deeper", "", "../secret", "/etc/passwd", "a\0b"])
def test_what_is_no_file_of_the_folder(ask, name):
    assert ask(name).rest().startswith(b"ERROR ")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_lead_nowhere_else(ask, root):
    (root / "link").symlink_to(root.parent / "secret")
    assert ask("link").rest() == b"ERROR no such file\n"


@pytest.mark.parametrize(
    "odd", [b"\xff/../small.txt", b"\x1b[2J/../small.txt", b"a\rb/../small.txt"]
)
def test_names_that_cannot_be_printed(server, peer, odd):
    port = server.port()
    one = peer(port)
    one.send(odd + b"\n")
    assert one.rest() == b"OK 6\nhello\n"
    one.close()
    assert server.until("sent").string.startswith("sent small.txt,")
    other = peer(port)
    other.send(b"empty\n")
    assert other.rest() == b"OK 0\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_file_whose_name_cannot_be_printed(server, peer, root):
    name = b"\xff\n\x1b[2J".replace(b"\n", b"")
    (root / os.fsdecode(name)).write_bytes(b"odd")
    port = server.port()
    one = peer(port)
    one.send(name + b"\n")
    assert one.rest() == b"OK 3\nodd"
    one.close()
    assert "\x1b" not in server.until("sent").string


def test_a_name_without_end(server, peer):
    one = peer(server.port())
    one.send(b"x" * 4097)
    assert one.rest() == b"ERROR name too long\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_it_ends_cleanly_in_the_middle_of_a_file(ask, server):
    one = ask("big")
    assert one.line() == b"OK 30000000"
    assert "interrupted big" in server.stop()

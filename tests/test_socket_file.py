"""The file of a server on a path: its mode and group from the first moment, and stale ones."""

from __future__ import annotations

import contextlib
import os
import socket as posix
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from pyuvnet import net, run
from pyuvnet.errors import ArgTypeError, ArgValueError, RangeError

grp: Any = pytest.importorskip("grp", reason="Windows has neither modes nor groups")


def listening(path: Path, **options: Any) -> tuple[int, int]:
    """The mode and the group of the file while a server listens on it."""
    seen: list[Any] = []
    server = net.create_server()
    server.on("error", seen.append)
    server.listen({"path": str(path), **options})
    if server.listening:
        status = path.stat()
        seen.append((stat.S_IMODE(status.st_mode), status.st_gid))
    server.close()
    run()
    if isinstance(seen[0], Exception):
        raise seen[0]
    return seen[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o777, 0o000, 0o640])
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
@pytest.mark.spec("D123", "P7-06")
def test_the_file_has_exactly_the_mode_whatever_the_umask(
    mode: int, umask: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        assert listening(tmp_path / "s", mode=mode)[0] == mode
    finally:
        assert os.umask(before) == umask
    assert not (tmp_path / "s").exists()


@pytest.mark.spec("P7-06")
def test_without_a_mode_the_umask_decides(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert listening(tmp_path / "s")[0] == 0o750
        assert listening(tmp_path / "t", group=os.getegid())[0] == 0o750
    finally:
        os.umask(before)


@pytest.mark.spec("P7-06")
def test_the_file_has_its_mode_from_the_first_moment(tmp_path: Path) -> None:
    """Another thread that looks all the time never sees another mode, nor a moment of chmod."""
    path, seen, over = tmp_path / "s", set(), threading.Event()

    def look() -> None:
        while not over.is_set():
            with contextlib.suppress(FileNotFoundError):
                seen.add(stat.S_IMODE(os.lstat(path).st_mode))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(100):
            assert listening(path, mode=0o620)[0] == 0o620
    finally:
        over.set()
        thread.join()
    assert seen <= {0o620}


@pytest.mark.spec("P7-06")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may choose any group")
@pytest.mark.parametrize("group", ["daemon", 1234])
def test_the_file_belongs_to_the_group(group: str | int, tmp_path: Path) -> None:
    number = grp.getgrnam(group).gr_gid if isinstance(group, str) else group
    assert listening(tmp_path / "s", mode=0o660, group=group) == (0o660, number)
    assert listening(tmp_path / "t", group=group)[1] == number
    # This process's own is as it was.
    (tmp_path / "other").touch()
    assert (tmp_path / "other").stat().st_gid == os.getegid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_member_of_the_group_needs_no_rights_and_others_may_not(
    tmp_path: Path, run_child: Any
) -> None:
    os.chmod(tmp_path, 0o777)
    os.chmod(tmp_path.parent, 0o755)
    os.chmod(tmp_path.parent.parent, 0o755)
    child = run_child(
        """
        import os, stat, sys
        from pyuvnet import net, run
        os.chdir(sys.argv[1])
        os.setgroups([4321])
        os.setgid(65534)
        os.setuid(65534)
        for group in (4321, 65534, 1234):
            server = net.create_server()
            server.on("error", lambda error: print(error.code, os.path.exists("s")))
            server.listen({"path": "s", "mode": 0o660, "group": group})
            if server.listening:
                status = os.stat("s")
                print(oct(stat.S_IMODE(status.st_mode)), status.st_gid)
            server.close()
            run()
        """,
        str(tmp_path),
    ).clean()
    assert child.lines == ["0o660 4321", "0o660 65534", "EPERM False"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mode": 0o1000}, RangeError),
        ({"mode": -1}, RangeError),
        ({"mode": "660"}, ArgTypeError),
        ({"mode": 0o660, "readable_all": True}, ArgValueError),
        ({"mode": 0o660, "path": "\0abstract"}, ArgValueError),
        ({"group": 0, "path": "\0abstract"}, ArgValueError),
        ({"group": "no such group"}, ArgValueError),
        ({"group": "a\0b"}, ArgValueError),
        ({"group": 1.5}, RangeError),
        ({"group": -1}, RangeError),
        ({"group": []}, ArgTypeError),
        ({"unlink_stale": 1}, ArgTypeError),
    ],
)
def test_wrong_options_raise_before_anything_changes(
    options: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    server = net.create_server()
    with pytest.raises(error):
        server.listen({"path": str(tmp_path / "s"), **options})
    assert not server.listening
    assert list(tmp_path.iterdir()) == []


# ---- Stale files ---------------------------------------------------------------------------------


def leave(path: Path, kind: int = posix.SOCK_STREAM) -> None:
    """Leave the file of a socket that nobody has any more."""
    with posix.socket(posix.AF_UNIX, kind) as one:
        one.bind(str(path))


@pytest.mark.spec("P7-07")
def test_a_stale_file_is_in_the_way_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    leave(path)
    with pytest.raises(OSError, match="EADDRINUSE"):
        listening(path)
    assert path.exists()
    assert listening(path, unlink_stale=True, mode=0o600)[0] == 0o600
    assert list(tmp_path.iterdir()) == []


@pytest.mark.spec("P7-07")
def test_a_file_that_somebody_accepts_from_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    # It sees a connection that ends at once.
    other = net.create_server(lambda one: one.on("error", lambda error: None).end("other"))
    other.listen(str(path))
    heard: list[Any] = []
    server = net.create_server()
    server.on("error", lambda error: heard.append(error.code))
    server.listen(str(path), unlink_stale=True)
    client = net.connect(str(path))
    client.on("data", heard.append)
    client.on("close", lambda had_error: other.close())
    run()
    assert heard == ["EADDRINUSE", b"other"]


@pytest.mark.parametrize("full", [False, True])
def test_a_server_that_is_busy_is_not_stale(full: bool, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with posix.socket(posix.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        for _ in range(3 if full else 0):
            one = posix.socket(posix.AF_UNIX)
            one.setblocking(False)
            one.connect_ex(str(path))
            waiting.append(one)
        with pytest.raises(OSError, match="EADDRINUSE"):
            listening(path, unlink_stale=True)
        assert path.exists()
        for one in waiting:
            one.close()


@pytest.mark.parametrize("what", ["a file", "a folder", "a link", "a datagram socket"])
def test_only_sockets_are_replaced(what: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    if what == "a file":
        path.write_text("precious")
    elif what == "a folder":
        path.mkdir()
    elif what == "a link":
        leave(tmp_path / "target")
        path.symlink_to(tmp_path / "target")
    else:
        held = posix.socket(posix.AF_UNIX, posix.SOCK_DGRAM)
        held.bind(str(path))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="EADDRINUSE"):
        listening(path, unlink_stale=True)
    assert sorted(tmp_path.iterdir()) == before
    if what == "a datagram socket":
        held.close()

"""Paths of unix sockets: whose file it is, how long it may be, who may use it, what is left."""

from __future__ import annotations

import os
import socket as posix
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import BoundSocket, net

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes leave no file")
linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")

# What a unix address holds, with a NUL behind it.
LONGEST = 107 if sys.platform == "linux" else 103


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder which is the current one, so that a name is a path of a known length."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outcome(*listen: Any, **options: Any) -> str:
    """'listening', or the code of the error; closed again."""
    seen: list[str] = []
    server = net.create_server()
    server.on("listening", lambda: (seen.append("listening"), server.close()))
    server.on("error", lambda error: seen.append(error.code))
    server.listen(*listen, **options)
    pyuvnet.run()
    (result,) = seen
    return result


def connected(path: Any) -> str:
    """'connect', or the code of the error."""
    seen: list[str] = []
    c = net.create_connection(path=path).resume()
    c.on("connect", lambda: (seen.append("connect"), c.end()))
    c.on("error", lambda error: seen.append(error.code))
    pyuvnet.run()
    (result,) = seen
    return result


# ---- Whose file --------------------------------------------------------------------------------


@pytest.mark.spec("N108")
@pytest.mark.parametrize("kind", ["server", "bound", "adopted"])
def test_the_file_goes_with_who_made_it(kind: str, folder: Path) -> None:
    thing: Any = BoundSocket(path="sock") if kind != "server" else net.create_server()
    if kind == "server":
        thing.listen("sock")
    if kind == "adopted":
        thing = net.create_server().listen(thing)
    assert os.listdir() == ["sock"]
    thing.close()
    assert os.listdir() == []
    pyuvnet.run()


@pytest.mark.spec("D22")
@pytest.mark.parametrize("kind", ["server", "bound"])
@pytest.mark.parametrize("by", ["socket", "file", "folder", "link"])
def test_a_file_that_took_its_place_stays(kind: str, by: str, folder: Path) -> None:
    thing: Any = BoundSocket(path="sock") if kind == "bound" else net.create_server().listen("sock")
    os.unlink("sock")
    with posix.socket(posix.AF_UNIX) as other:
        if by == "socket":
            other.bind("sock")
        elif by == "file":
            Path("sock").write_text("X")
        elif by == "folder":
            os.mkdir("sock")
        else:
            os.symlink("elsewhere", "sock")
        there = os.lstat("sock").st_ino
        thing.close()
        assert os.lstat("sock").st_ino == there
        pyuvnet.run()
        assert os.lstat("sock").st_ino == there


def test_the_same_path_listened_on_by_the_next_server(folder: Path) -> None:
    # Restarting: the new server takes the place of the old one before that is closed.
    old = net.create_server().listen("sock")
    os.unlink("sock")
    new = net.create_server(lambda s: (s.end(), new.close())).listen("sock")
    old.close()
    assert connected("sock") == "connect"
    assert os.listdir() == []


def test_a_file_that_was_moved_is_not_searched_for(folder: Path) -> None:
    server = net.create_server().listen("sock")
    os.rename("sock", "moved")
    Path("sock").write_text("X")
    server.close()
    pyuvnet.run()
    assert sorted(os.listdir()) == ["moved", "sock"]


def test_a_file_that_is_gone_already(folder: Path) -> None:
    server = net.create_server().listen("sock")
    os.unlink("sock")
    server.close()
    pyuvnet.run()
    assert os.listdir() == []


def test_another_current_folder_has_another_file_of_that_name(folder: Path) -> None:
    server = net.create_server().listen("sock")
    os.mkdir("below")
    os.chdir("below")
    Path("sock").write_text("X")
    server.close()
    pyuvnet.run()
    assert os.listdir() == ["sock"]


def test_the_exit_of_the_program_removes_the_file(folder: Path, run_child: Any) -> None:
    run_child(f"""
        import os
        from pyuvnet import net, run, stop
        os.chdir({str(folder)!r})
        server = net.create_server().listen("sock", stop)
        run()
        assert os.listdir() == ["sock"]
    """).clean()
    assert os.listdir() == []


def test_a_child_of_fork_leaves_the_file_alone(folder: Path, run_child: Any) -> None:
    child = run_child(f"""
        import os, sys
        import pyuvnet
        from pyuvnet import BoundSocket, net
        os.chdir({str(folder)!r})
        server, bound = net.create_server().listen("sock"), BoundSocket(path="bound")
        process = os.fork()
        if not process:
            # Its copies are the parent's: they refuse, and its exit closes nothing.
            for thing in (server, bound):
                try:
                    thing.close()
                except pyuvnet.StateError as error:
                    print(error.code, flush=True)
            net.create_server().listen("own").close()
            pyuvnet.run()
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), sorted(os.listdir()))
        server.close()
        bound.close()
        pyuvnet.run()
        print(os.listdir())
    """).clean()
    assert child.lines == ["ERR_FORKED", "ERR_FORKED", "0 ['bound', 'sock']", "[]"]


# ---- What may be there before ------------------------------------------------------------------


@pytest.mark.spec("N030")
def test_stale_files_live_servers_and_others_are_in_the_way(folder: Path) -> None:
    with posix.socket(posix.AF_UNIX) as dead:
        dead.bind("stale")
    Path("file").write_text("X")
    os.mkdir("folder")
    os.symlink("nowhere", "link")
    for name in ("stale", "file", "folder", "link"):
        assert outcome(name) == "EADDRINUSE"
    assert sorted(os.listdir()) == ["file", "folder", "link", "stale"]
    assert connected("stale") == "ECONNREFUSED"
    assert connected("missing") == "ENOENT"
    # A program that knows that it is stale removes it.
    os.unlink("stale")
    assert outcome("stale") == "listening"


def test_a_server_that_fails_takes_nothing_away(folder: Path) -> None:
    first = net.create_server().listen("sock")
    assert outcome_of_second() == "EADDRINUSE"
    assert os.listdir() == ["sock"]
    first.close()
    pyuvnet.run()


def outcome_of_second() -> str:
    seen: list[str] = []
    second = net.create_server().on("error", lambda error: seen.append(error.code)).listen("sock")
    second.close()
    pyuvnet.next_tick(pyuvnet.stop)
    pyuvnet.run()
    (result,) = seen
    return result


@pytest.mark.spec("N108")
def test_missing_folders_and_rights(folder: Path, run_child: Any) -> None:
    assert outcome(str(folder / "no" / "sock")) == "EACCES"
    if os.geteuid():
        os.mkdir("closed", 0o500)
        assert outcome("closed/sock") == "EACCES"


@pytest.mark.spec("D115")
def test_the_umask_decides_about_rights(folder: Path) -> None:
    for mask in (0o077, 0o002):
        before = os.umask(mask)
        try:
            server = net.create_server().listen("sock")
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat("sock").st_mode) == 0o777 & ~mask
        server.close()
        pyuvnet.run()


# ---- Lengths and odd names ---------------------------------------------------------------------


@pytest.mark.spec("N003")
@pytest.mark.parametrize(
    ("length", "listening", "connecting"),
    [
        (1, "listening", "ENOENT"),
        (LONGEST, "listening", "ENOENT"),
        (LONGEST + 1, "EINVAL", "EINVAL"),
        (LONGEST + 2, "EINVAL", "EINVAL"),
        (5000, "EINVAL", "EINVAL"),
    ],
)
def test_lengths(length: int, listening: str, connecting: str, folder: Path) -> None:
    name = "x" * length
    assert connected(name) == connecting
    assert outcome(name) == listening
    assert outcome(path=name.encode()) == listening
    assert os.listdir() == []


@pytest.mark.spec("D60")
def test_the_text_of_a_path_that_is_too_long(folder: Path) -> None:
    name = "x" * (LONGEST + 1)
    errors: list[Any] = []
    net.create_server().on("error", errors.append).listen(name)
    net.create_connection(name).on("error", errors.append)
    pyuvnet.run()
    assert sorted(str(error) for error in errors) == [
        f"connect EINVAL {name}",
        f"listen EINVAL: invalid argument {name}",
    ]
    assert {error.port for error in errors} == {None}


def test_what_is_counted_is_bytes(folder: Path) -> None:
    assert outcome("ä" * (LONGEST // 2)) == "listening"
    assert outcome("ä" * (LONGEST // 2 + 1)) == "EINVAL"


@pytest.mark.spec("N003")
@linux
@pytest.mark.parametrize(("length", "result"), [(2, "listening"), (108, "listening"),
                                                (109, "EINVAL")])  # fmt: skip
def test_lengths_of_abstract_names(length: int, result: str, folder: Path) -> None:
    name = "\0" + f"{os.getpid()}-pyuvnet-".ljust(length, "x")[: length - 1]
    assert outcome(name) == result
    assert os.listdir() == []


@pytest.mark.parametrize("name", ["a\0b", "sock\0"])
def test_a_nul_inside_is_no_end(name: str, folder: Path) -> None:
    assert outcome(name) == "EINVAL"
    assert connected(name) == "EINVAL"
    assert os.listdir() == []


@pytest.mark.spec("N174")
@linux
def test_an_abstract_name_may_hold_nuls(folder: Path) -> None:
    name = f"\0pyuvnet\0{os.getpid()}"
    server = net.create_server(lambda s: (s.end(), server.close())).listen(name)
    assert server.address() == name
    assert connected(name) == "connect"
    assert connected(name[: name.rindex("\0")]) == "ECONNREFUSED"


@pytest.mark.spec("N003")
@pytest.mark.parametrize("name", ["-1", "80a", "x y", "sö", "\udcff"])
def test_odd_names(name: str, folder: Path) -> None:
    server = net.create_server(lambda s: (s.end(), server.close())).listen(name)
    assert server.address() == name
    assert os.listdir() == [name]
    assert connected(name) == "connect"
    assert os.listdir() == []


def test_a_lone_surrogate_is_no_path(folder: Path) -> None:
    server = net.create_server()
    with pytest.raises(pyuvnet.ArgValueError) as caught:
        server.listen("\ud800")
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    assert not server.listening

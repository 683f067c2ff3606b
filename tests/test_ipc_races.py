"""Races for the file of a unix socket, played by an attacker who may write to its folder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import diagnostics, net
from tests.conftest import child_environment
from tests.reliability.faults.shim import compiler
from tests.reliability.faults.test_strace import _works as strace_fails

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes leave no file")

GAP = Path(__file__).resolve().parent / "support" / "gap.c"
LISTENING = "tracing:net.server.listen:asyncEnd"

BOTH: dict[str, Any] = {"readable_all": True, "writable_all": True}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def victim(folder: Path) -> Path:
    """A private file, which nobody but its owner may read."""
    path = folder / "victim"
    path.write_text("secret")
    path.chmod(0o600)
    return path


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode_of(path: Any) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def when_it_listens(action: Callable[[], object]) -> Callable[[], None]:
    """Act once a server listens, before listen() returns; returns how to stop that."""

    def told(message: Any, name: str) -> None:
        action()

    diagnostics.subscribe(LISTENING, told)

    def stop() -> None:
        diagnostics.unsubscribe(LISTENING, told)

    return stop


# ---- The rights of the file ----------------------------------------------------------------------


@pytest.mark.spec("N158")
@pytest.mark.parametrize(
    ("options", "mode"),
    [
        (BOTH, 0o666),
        ({"readable_all": True}, 0o444),
        ({"writable_all": True}, 0o222),
    ],
)
@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_the_file_has_its_rights_when_the_server_begins_to_listen(
    options: dict[str, Any], mode: int, mask: int, folder: Path, umask: Callable[[int], int]
) -> None:
    umask(mask)
    modes: list[int] = []
    stop = when_it_listens(lambda: modes.append(mode_of("sock")))
    try:
        server = net.create_server().listen({"path": "sock", **options})
    finally:
        stop()
    modes.append(mode_of("sock"))
    assert modes == [mode, mode]
    # The process's own mask is as before.
    assert umask(mask) == mask
    server.close()
    pyuvnet.run()
    assert os.listdir() == []


@pytest.mark.spec("D23")
@pytest.mark.parametrize("by", ["link", "hard link", "nothing"])
def test_what_takes_the_place_of_the_file_keeps_its_rights(
    by: str, folder: Path, victim: Path, umask: Callable[[int], int]
) -> None:
    def replace() -> None:
        os.unlink("sock")
        if by == "link":
            os.symlink(victim, "sock")
        elif by == "hard link":
            os.link(victim, "sock")

    stop = when_it_listens(replace)
    try:
        server = net.create_server().listen(path="sock", **BOTH)
    finally:
        stop()
    assert server.listening
    assert mode_of(victim) == 0o600
    server.close()
    pyuvnet.run()
    assert victim.read_text() == "secret"
    assert mode_of(victim) == 0o600
    # Nor is it removed: it is not the server's.
    assert os.path.lexists("sock") == (by != "nothing")


# Swaps the path for a link to the victim whenever a server's file is there.
ATTACKER = """
    import os, select, sys
    path, victim = sys.argv[1:]
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            os.lstat(path)
            os.symlink(victim, path + ".link")
            os.rename(path + ".link", path)
        except OSError:
            pass
"""


@pytest.mark.slow
def test_an_attacker_who_swaps_the_path_in_a_loop(
    folder: Path, victim: Path, umask: Callable[[int], int], open_child: Any
) -> None:
    tries = int(os.environ.get("PYUVNET_RACE_TRIES", "2000"))
    attacker = open_child(ATTACKER, str(folder / "sock"), str(victim))
    assert attacker.stdout.readline() == "ready\n"
    struck = 0
    for _ in range(tries):
        server = net.create_server().on("error", lambda error: None)
        server.listen(path=str(folder / "sock"), **BOTH)
        struck += os.path.islink("sock")
        assert mode_of(victim) == 0o600
        server.close()
        pyuvnet.run()
        if os.path.lexists("sock"):
            os.unlink("sock")
    attacker.communicate("stop\n")
    assert mode_of(victim) == 0o600
    # It did come in between.
    assert struck > 0


# Says which rights a path was seen with.
OBSERVER = """
    import os, select, stat, sys
    print("ready", flush=True)
    modes = set()
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            modes.add(stat.S_IMODE(os.lstat(sys.argv[1]).st_mode))
        except OSError:
            pass
    print(sorted(modes), flush=True)
"""


def test_nobody_ever_sees_the_file_with_other_rights(
    folder: Path, umask: Callable[[int], int], open_child: Any
) -> None:
    observer = open_child(OBSERVER, str(folder / "sock"))
    assert observer.stdout.readline() == "ready\n"
    for _ in range(1000):
        server = net.create_server().listen(path="sock", **BOTH)
        server.close()
        pyuvnet.run()
    # Long enough to be seen in any case.
    server = net.create_server().listen(path="sock", **BOTH)
    out, err = observer.communicate("stop\n")
    assert (out, err) == (f"[{0o666}]\n", "")
    server.close()
    pyuvnet.run()


@pytest.mark.parametrize("there", ["socket", "file", "folder", "link"])
def test_what_is_in_the_way_is_never_replaced(
    there: str, folder: Path, umask: Callable[[int], int]
) -> None:
    other = None
    if there == "socket":
        other = net.create_server().listen("sock")
    elif there == "file":
        Path("sock").write_text("X")
    elif there == "folder":
        os.mkdir("sock")
    else:
        os.symlink("nowhere", "sock")
    before = os.lstat("sock")
    errors: list[Any] = []
    net.create_server().on("error", errors.append).listen(path="sock", **BOTH)
    if other is not None:
        other.close()
    else:
        after = os.lstat("sock")
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    pyuvnet.run()
    assert [(error.code, error.syscall) for error in errors] == [("EADDRINUSE", "listen")]
    assert os.listdir() == ([] if other is not None else ["sock"])


@pytest.mark.parametrize(
    ("length", "result"), [(103, "listening"), (108, "EINVAL"), (5000, "EINVAL")]
)
def test_lengths_with_rights(length: int, result: str, folder: Path) -> None:
    seen: list[str] = []
    server = net.create_server()
    server.on("listening", lambda: (seen.append("listening"), server.close()))
    server.on("error", lambda error: seen.append(error.code))
    server.listen(path="x" * length, **BOTH)
    pyuvnet.run()
    assert seen == [result]
    assert os.listdir() == []


@pytest.mark.parametrize(("path", "code"), [("no/sock", "EACCES"), ("a\0b", "EINVAL")])
def test_paths_that_cannot_be_bound_with_rights(path: str, code: str, folder: Path) -> None:
    errors: list[Any] = []
    net.create_server().on("error", errors.append).listen(path=path, **BOTH)
    pyuvnet.run()
    assert [(error.code, error.syscall) for error in errors] == [(code, "listen")]


def test_the_program_notices_nothing_of_how_it_is_done(
    folder: Path, umask: Callable[[int], int], run_child: Any
) -> None:
    # No SIGCHLD, no child to wait for, no descriptor, no signal blocked, the same umask.
    run_child(f"""
        import os, signal
        from pyuvnet import net, run
        os.chdir({str(folder)!r})
        heard = []
        signal.signal(signal.SIGCHLD, lambda *_: heard.append("SIGCHLD"))
        os.umask(0o077)
        net.create_server().listen("sock").close()
        run()
        before = sorted(os.listdir("/dev/fd"))
        for _ in range(20):
            server = net.create_server().listen(path="sock", readable_all=True, writable_all=True)
            assert os.stat("sock").st_mode & 0o777 == 0o666
            server.close()
            run()
        assert sorted(os.listdir("/dev/fd")) == before
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass
        else:
            raise AssertionError("a child is left")
        assert heard == []
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        assert os.umask(0) == 0o077
    """).clean()


def test_ignoring_children_does_not_lose_the_outcome(folder: Path, run_child: Any) -> None:
    run_child(f"""
        import os, signal
        from pyuvnet import net, run
        os.chdir({str(folder)!r})
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        codes = []
        servers = [net.create_server().on("error", lambda error: codes.append(error.code))
                   .listen(path="sock", writable_all=True) for _ in range(2)]
        servers[0].close()
        run()
        assert codes == ["EADDRINUSE"], codes
        assert os.listdir() == []
    """).clean()


TRACED = """
import os
from pyuvnet import net, run
server = net.create_server().on("error", lambda error: print(error.code, error.syscall))
server.listen(path="sock", readable_all=True, writable_all=True)
print(oct(os.lstat("sock").st_mode & 0o777) if os.path.lexists("sock") else "nothing")
server.close()
run()
assert os.listdir() == []
"""


@pytest.mark.parametrize(
    ("inject", "out"),
    [
        # Such as an emulator that knows fork() only.
        ("clone:error=EINVAL:when=1", ["0o666"]),
        # Without a process to spare, nothing is left, and nobody is let in.
        ("clone:error=EAGAIN", ["nothing", "EAGAIN listen"]),
    ],
)
def test_systems_that_refuse_the_process(inject: str, out: list[str], folder: Path) -> None:
    reason = strace_fails()
    if reason is not None:
        pytest.skip(reason)
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=clone", "-e", f"inject={inject}",
         sys.executable, "-c", TRACED],
        capture_output=True,
        text=True,
        env=child_environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == out


# ---- Removing the file ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of gap.c."""
    if sys.platform != "linux" or compiler() is None:
        pytest.skip("needs Linux and a C compiler")
    made = tmp_path_factory.mktemp("gap") / "gap.so"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
    subprocess.run([compiler() or "cc", *flags, "-o", made, GAP, "-ldl"], check=True)
    return made


@pytest.mark.spec("D22")
@pytest.mark.parametrize("way", ["plain", "rights"])
def test_a_server_that_takes_the_place_in_the_last_moment_keeps_its_file(
    way: str, gap: Path, folder: Path, run_child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.environ.get("LD_PRELOAD")
    monkeypatch.setenv("LD_PRELOAD", " ".join(filter(None, [before, str(gap)])))
    run_child(f"""
        import ctypes, os, socket
        from pyuvnet import net, run
        os.chdir({str(folder)!r})
        gap = ctypes.CDLL({str(gap)!r})
        options = {{"writable_all": True}} if {way!r} == "rights" else {{}}
        old = net.create_server().listen(path={str(folder / "sock")!r}, **options)
        new = net.create_server(lambda s: s.destroy()).listen("next")
        # As a restart does: the new server's file takes the place of the old one's.
        gap.gap_arm(b"next", b"sock")
        old.close()
        assert gap.gap_fired() == 1
        assert os.listdir() == ["sock"], os.listdir()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect("sock")
        new.close()
        run()
    """).clean()
    assert os.listdir() == ["sock"]


def test_a_folder_that_is_swapped_in_the_last_moment_loses_nothing(
    gap: Path, folder: Path, run_child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The attacker owns what leads to the folder, and turns it to one of the victim's.
    before = os.environ.get("LD_PRELOAD")
    monkeypatch.setenv("LD_PRELOAD", " ".join(filter(None, [before, str(gap)])))
    run_child(f"""
        import ctypes, os
        from pyuvnet import net, run
        os.chdir({str(folder)!r})
        gap = ctypes.CDLL({str(gap)!r})
        os.mkdir("mine")
        os.mkdir("theirs")
        open("theirs/way", "w").close()
        os.symlink("mine", "way")
        os.symlink("theirs", "other")
        server = net.create_server().listen("way/way")
        gap.gap_arm(b"other", b"way")
        server.close()
        run()
        assert gap.gap_fired() == 1
        assert os.listdir("theirs") == ["way"]
        assert os.listdir("mine") == []
    """).clean()


def test_nothing_is_left_of_the_removal(folder: Path) -> None:
    os.mkdir("below")
    for path in ("sock", "./sock", "below/sock", str(folder / "sock"), "below/../sock"):
        server = net.create_server().listen(path)
        server.close()
        pyuvnet.run()
        assert (os.listdir(), os.listdir("below")) == (["below"], [])


def test_a_folder_that_may_not_be_read_and_no_descriptor_left(folder: Path, run_child: Any) -> None:
    run_child(f"""
        import os, resource
        from pyuvnet import net, run
        os.chdir({str(folder)!r})
        os.mkdir("blind")
        server = net.create_server().listen("blind/sock")
        os.chmod("blind", 0o300)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))
        server.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        run()
        os.chmod("blind", 0o700)
        assert os.listdir("blind") == []
    """).clean()

"""Where it listens: addresses, paths and descriptors, and whose the file of a path is."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import pyuvnet
from pyuvnet import ArgValueError
from tests.support.serving import APP, LOCAL, Primary, ask, linux, pids, primaries

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet import cluster
    from pyuvnet._serve import settings, sockets


@pytest.mark.slow
@pytest.mark.spec("P11-02")
def test_it_listens_at_several_places(serve: Any, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "s"))
    stale.close()
    primary = serve(
        *("app:app", *LOCAL, "--bind", "unix:s", "--bind", f"fd:{listener.fileno()}"),
        *("--bind", ":0", "--workers", "2"),
        pass_fds=[listener.fileno()],
    )
    port = primary.ready()
    everywhere = int(primary.find(r"listening on \*:(\d+)")[0][1])
    given = listener.getsockname()[1]
    listener.close()
    places = [port, str(tmp_path / "s"), given, everywhere]
    assert [len(pids(each)) for each in places] == [2] * 4
    primary.send(signal.SIGHUP)
    primary.wait_for("all workers are new")
    for each in places:
        ask(each)
    assert os.path.exists(tmp_path / "s")
    primary.end()
    assert not os.path.exists(tmp_path / "s")


def listening_on(path: Path, inherited: bool) -> tuple[Any, socket.socket | None]:
    """A path on which a primary listens: by a socket of its own, or by that of the one before."""
    given = None
    several = []
    if inherited:
        given = socket.socket(socket.AF_UNIX)
        given.bind(str(path))
        given.listen()
        several.append(sockets.Inherited(os.dup(given.fileno()), sockets.OWN))
    policy = cluster.SCHED_RR
    return sockets.Listening(policy, {"path": str(path)}, sockets.OWN, several), given


@pytest.mark.spec("P11-02")
@pytest.mark.parametrize("inherited", [False, True], ids=["opened", "inherited"])
def test_the_file_of_the_next_primary_stays(tmp_path: Path, inherited: bool) -> None:
    """It may begin while the workers of this one finish their connections."""
    path = tmp_path / "s"
    listening, given = listening_on(path, inherited)
    listening.drain(rest=True, keep_file=False)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as following:
        following.bind(str(path))
        listening.close(ours=True)
        assert path.exists()
    if given is not None:
        given.close()
    pyuvnet.run()


@pytest.mark.spec("P11-02")
@pytest.mark.parametrize("how", ["close", "drain"])
@pytest.mark.parametrize("inherited", [False, True], ids=["opened", "inherited"])
def test_a_file_in_the_place_of_its_own_stays(tmp_path: Path, how: str, inherited: bool) -> None:
    path = tmp_path / "s"
    listening, given = listening_on(path, inherited)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(str(path))
        if how == "drain":
            listening.drain(rest=True, keep_file=False)
        listening.close(ours=True)
        assert path.exists()
    if given is not None:
        given.close()
    pyuvnet.run()


@pytest.mark.spec("P11-02", "P11-08")
@pytest.mark.parametrize("ours", [False, True])
def test_an_inherited_file_goes_with_the_primary_whose_it_is(tmp_path: Path, ours: bool) -> None:
    path = tmp_path / "s"
    listening, given = listening_on(path, inherited=True)
    listening.drain(rest=ours, keep_file=False)
    listening.close(ours)
    assert path.exists() is not ours
    assert given is not None
    given.close()
    pyuvnet.run()


@pytest.mark.spec("P11-02")
def test_an_address_that_is_taken_is_exit_code_1_with_what_to_do(serve: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        log = serve("app:app", "--bind", f"127.0.0.1:{port}").end(None, 1)
    line, hint = log.splitlines()
    assert line == f"pyuvnet serve: listen EADDRINUSE: address already in use 127.0.0.1:{port}"
    assert hint.startswith("  Another socket is using this address.")


@linux
@pytest.mark.slow
@pytest.mark.spec("P11-02")
def test_a_second_one_does_not_share_the_port_of_the_first(serve: Any) -> None:
    first = serve("app:app", *LOCAL)
    port = first.ready()
    assert "EADDRINUSE" in serve("app:app", "--bind", f"127.0.0.1:{port}").end(None, 1)
    first.end()


@pytest.mark.slow
def test_bind_of_one_address_twice_names_both_as_they_were_given(serve: Any) -> None:
    log = serve("app:app", "--bind", "127.0.0.1:1", "--bind", "127.1:1").end(None, 1)
    assert "127.0.0.1:1, 127.1:1: the same address occurs more than once" in log


@pytest.mark.spec("P11-02")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80, None, None)),
        ("[::1]:80", ("::1", 80, None, None)),
        (":80", ("", 80, None, None)),
        ("host:0", ("host", 0, None, None)),
        ("unix:/a:b", ("", 0, "/a:b", None)),
        ("fd:3", ("", 0, None, 3)),
    ],
)
def test_places(text: str, found: Any) -> None:
    bind = settings.Bind(text)
    assert (bind.host, bind.port, bind.path, bind.fd) == found


@pytest.mark.spec("P0-02", "P11-02")
@pytest.mark.parametrize(
    "text", ["", "80", "host", "host:", "host:x", "host:65536", "::1:80", "unix:", "fd:", "fd:x"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ArgValueError):
        settings.Bind(text)


@pytest.mark.parametrize(
    ("place", "better"),
    [
        ("8124", "'8124' is not HOST:PORT with a port from 0 to 65535: use 127.0.0.1:8124, or"),
        ("./sock", "'./sock' is a path: use unix:./sock"),
        ("http://localhost:80", "'http://localhost:80' is a URL: use HOST:PORT"),
    ],
)
def test_a_place_in_another_notation_says_the_right_one(
    serve: Any, place: str, better: str
) -> None:
    assert better in serve("app:app", "--bind", place).end(None, 2)


@linux
@pytest.mark.slow
def test_a_path_that_is_short_enough_as_a_relative_one_also_after_an_upgrade(
    tmp_path: Path,
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    (deep / "app.py").write_text(APP)
    folder = os.open(deep, os.O_RDONLY)
    primary = Primary(deep, "app:app", "--bind", "unix:socket")
    try:
        primary.ready()
        assert ask(f"/proc/self/fd/{folder}/socket")
        primary.send(signal.SIGUSR2)
        primary.wait_for(r"\] ready", 2)
        primary.process.wait(20)
        assert ask(f"/proc/self/fd/{folder}/socket")
        os.kill(primaries(primary)[-1], signal.SIGTERM)
        assert primary.gone()
        assert not (deep / "socket").exists()
    finally:
        primary.kill()
        os.close(folder)

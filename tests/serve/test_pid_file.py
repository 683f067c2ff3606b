"""The pid file, in a folder where an attacker has planted what will be found there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are of unix systems")

if sys.platform != "win32":
    from pyuvnet._serve import pid_file

OURS = f"{os.getpid()}\n"


@pytest.mark.parametrize("planted", ["nothing", "link", "folder"])
@pytest.mark.parametrize("place", ["x.pid", f"x.pid.{os.getpid()}", ".x.pid.aa"])
def test_nothing_that_is_planted_is_followed(
    drive: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
    place: str,
    planted: str,
) -> None:
    """In the place of the file, and under the name that it is made by, even if that is guessed."""
    names = iter(["aa", "bb", "cc"])
    monkeypatch.setattr(pid_file.secrets, "token_hex", lambda count: next(names))
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    if planted == "link":
        (folder / place).symlink_to(victim)
    elif planted == "folder":
        (folder / place).mkdir()
    there = set(os.listdir(folder))
    driven = drive(pid_file=folder / "x.pid")
    driven.all_ready()
    file = folder / "x.pid"
    assert victim.read_text() == "precious"
    if (place, planted) == ("x.pid", "folder"):
        assert f"the pid file {file} cannot be written" in caplog.text
        assert set(os.listdir(folder)) == there
    else:
        assert (file.read_text(), file.is_symlink()) == (OURS, False)
        assert set(os.listdir(folder)) == there | {"x.pid"}
        assert file.stat().st_mode & 0o111 == 0
        pid_file.remove(str(file))
        assert not file.exists()


def test_only_our_own_file_is_removed(tmp_path: Path) -> None:
    """And no named pipe keeps the primary from ending."""
    file = tmp_path / "x.pid"
    (tmp_path / "other").write_text(OURS)
    for plant in (
        lambda: file.symlink_to("other"),
        lambda: os.mkfifo(file),
        file.mkdir,
        lambda: file.write_text("1\n"),
        lambda: file.write_text(f"{os.getpid()}7\n"),
    ):
        plant()
        pid_file.remove(str(file))
        assert os.path.lexists(file)
        (file.rmdir if file.is_dir() else file.unlink)()
    pid_file.remove(str(file))
    pid_file.remove(str(tmp_path / "no" / "folder"))


@pytest.mark.parametrize("call", ["write", "close", "replace"])
def test_a_full_disk_leaves_nothing_behind(
    drive: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, call: str
) -> None:
    class Full:
        """The module os, in which one call fails."""

        def __getattr__(self, name: str) -> Any:
            real = getattr(os, name)

            def full(*given: Any, **more: Any) -> Any:
                if call == "close":
                    real(*given)
                    monkeypatch.setattr(pid_file, "os", os)
                raise OSError(28, "No space left on device")

            return full if name == call else real

    (tmp_path / "x.pid").write_text("1\n")
    monkeypatch.setattr(pid_file, "os", Full())
    drive(pid_file=tmp_path / "x.pid").all_ready()
    assert "cannot be written: No space left on device" in caplog.text
    assert os.listdir(tmp_path) == ["x.pid"]
    assert (tmp_path / "x.pid").read_text() == "1\n"

"""vendor/libuv/fetch.py: verified sources or one clear error, and nothing in between.

The sources are served on the loopback; what is pinned is a tiny libuv made up here.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

VENDOR = Path(__file__).resolve().parent.parent / "vendor" / "libuv"
TREE = {
    "LICENSE": b"free\n",
    "LICENSE-extra": b"freer\n",
    "include/uv.h": b"/* the header */\n",
    "include/uv/version.h": b"#define UV_VERSION_MAJOR 1\n",
    "src/unix/core.c": b"int core;\n",
    "src/version.c": b"int version;\n",
}
# The digest of TREE by the command in vendor/libuv/README.md, so that fetch.py is held to it.
TREE_SHA256 = "39b06d37ba0f58136a09b6686c99df3061ddd7aa87625e75b1810a9a642780a0"
SDIST = "holder-1.0.tar.gz"
FOLDERS = ["libuv-1", "libuv-two", "holder-1.0/vendor/libuv"]
INDEXED = ["/one", "/two", "/simple/holder/", f"/files/{SDIST}"]


SILENT = b"accepted, and never answered"


def archive(folder: str, files: dict[str, bytes]) -> bytes:
    """A .tar.gz with `files` in `folder`, and with another file that is not kept."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {**files, "test/run.c": b"int run;\n"}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Site:
    """An HTTP server on the loopback: answers by path, and a record of what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.logins: dict[str, str | None] = {}  # of what was asked for, in order
        self.closing = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.logins[self.path] = self.headers.get("Authorization")
                body = site.answers.get(self.path)
                if body == SILENT:
                    site.closing.wait()
                    return
                code = 302 if self.path in site.redirects else 404 if body is None else 200
                self.send_response(code)
                self.send_header("Location", site.redirects.get(self.path, ""))
                kind = "json" if body and body.startswith(b"{") else "html"
                self.send_header("Content-Type", f"application/vnd.pypi.simple.v1+{kind}")
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def index(self, body: bytes, root: str = "/simple") -> None:
        """Serve a project page with a relative link, and `body` behind it."""
        self.answers[f"{root}/holder/"] = f'<a href="x"><a href="../../files/{SDIST}#a=0">'.encode()
        self.answers[f"/files/{SDIST}"] = body


def served() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


site, other_site = (pytest.fixture(served, name=name) for name in ("site", "other_site"))


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """fetch.py as a module, out of reach of this machine's proxies, pip and its configuration."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "*")
    spec = importlib.util.spec_from_file_location("fetch", VENDOR / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Folder:
    """A folder with a pin of three sources: /one, /two, and SDIST of the index's `holder`."""

    def __init__(self, path: Path, site: Site, fetch: ModuleType) -> None:
        self.path, self.url, self.fetch = path, site.url, fetch
        self.bodies = [archive(folder, TREE) for folder in FOLDERS]
        self.pin()

    def pin(self) -> None:
        """Write pin.toml: the digests are those of `bodies`."""
        text = f'version = "1.99.0"\ntree_sha256 = "{TREE_SHA256}"\n'
        places = [f'url = "{self.url}/{name}"' for name in ("one", "two")]
        places.append(f'project = "holder"\nfile = "{SDIST}"')
        parts = zip(("first", "second", "third"), FOLDERS, places, self.bodies, strict=True)
        for name, folder, place, body in parts:
            text += f'[[source]]\nname = "{name}"\nfolder = "{folder}"\n{place}\n'
            text += f'sha256 = "{hashlib.sha256(body).hexdigest()}"\n'
        (self.path / "pin.toml").write_text(text)

    def ensure(self) -> str:
        done: str = self.fetch.ensure(self.path)
        return done

    def refusal(self) -> str:
        with pytest.raises(self.fetch.FetchError) as caught:
            self.ensure()
        return str(caught.value)

    def files(self) -> dict[str, bytes]:
        """What is in the folder with the pin."""
        found = [path for path in self.path.rglob("*") if path.is_file()]
        files = {path.relative_to(self.path).as_posix(): path.read_bytes() for path in found}
        del files["pin.toml"]
        return files


@pytest.fixture
def folder(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, fetch: ModuleType
) -> Folder:
    path = tmp_path / "vendor"
    path.mkdir()
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")  # never a real index
    return Folder(path, site, fetch)


def test_tree_digest_is_that_of_the_documented_command(fetch: ModuleType, tmp_path: Path) -> None:
    for name, content in {**TREE, "README.md": b"not kept"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert fetch.tree_digest(tmp_path) == TREE_SHA256


def test_the_first_source_fills_the_folder_once(folder: Folder, site: Site) -> None:
    # What a killed run left counts for nothing: src/ is moved into place last.
    (folder.path / "include").mkdir()
    (folder.path / "include" / "stale.h").write_text("stale")
    site.answers["/one"] = folder.bodies[0]
    assert folder.ensure() == f"libuv 1.99.0 fetched: first, {site.url}/one"
    assert folder.files() == TREE
    before = (folder.path / "src").stat()
    assert folder.ensure() == "libuv 1.99.0 is in place"
    after = (folder.path / "src").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(site.logins) == ["/one"]


def test_changed_sources_are_refused_and_left_alone(folder: Folder, site: Site) -> None:
    site.answers["/one"] = folder.bodies[0]
    folder.ensure()
    (folder.path / "src" / "version.c").write_text("int tampered;\n")
    message = folder.refusal()
    assert folder.fetch.tree_digest(folder.path) in message
    assert TREE_SHA256 in message
    assert folder.files() == {**TREE, "src/version.c": b"int tampered;\n"}


# What the first source answers, whether that is pinned, and what the error says.
FAILURES = [
    (None, False, "HTTP Error 404"),
    (SILENT, False, "no answer within 0.5 s"),
    (bytes((1 << 20) + 1), False, "more than 1 MiB"),
    (archive("libuv-1", {**TREE, "src/version.c": b"int evil;\n"}), False, "wrong digest of the a"),
    (b"pinned, but no archive", True, "file could not be opened"),
    (archive("libuv-1", {**TREE, "src/more.c": b"\n"}), True, "wrong digest of the unpacked tree"),
]


@pytest.mark.parametrize(("body", "pinned", "reason"), FAILURES, ids=[each[2] for each in FAILURES])
def test_a_source_that_fails_is_named_leaves_nothing_and_is_followed_by_the_next(
    body: bytes | None,
    pinned: bool,
    reason: str,
    folder: Folder,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if body is not None:
        site.answers["/one"] = body
        folder.bodies[0] = body if pinned else folder.bodies[0]
    folder.pin()
    monkeypatch.setattr(folder.fetch, "SIZE_LIMIT", 1 << 20)
    monkeypatch.setattr(folder.fetch, "ANSWER_SECONDS", 0.5 if body == SILENT else 8)
    message = folder.refusal()
    assert f"first, {site.url}/one:\n    {reason}" in message
    assert f"second, {site.url}/two:\n    HTTP Error 404" in message
    assert f"third from the package index {site.url}/simple:\n    HTTP Error 404" in message
    assert "PIP_INDEX_URL" in message
    assert "PYUVNET_SYSTEM_LIBUV=1" in message
    assert [path.name for path in folder.path.iterdir()] == ["pin.toml"]
    site.answers["/two"] = folder.bodies[1]
    assert folder.ensure() == f"libuv 1.99.0 fetched: second, {site.url}/two"
    assert folder.files() == TREE


# The package index.


@pytest.mark.parametrize("kind", ["html", "json", "folder"])
def test_the_file_is_found_on_the_index(
    kind: str, folder: Folder, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.index(folder.bodies[2])
    if kind == "json":
        files = [{"filename": SDIST, "url": f"{site.url}/files/{SDIST}"}]
        site.answers["/simple/holder/"] = json.dumps({"files": files}).encode()
    elif kind == "folder":
        page = tmp_path / "simple" / "holder" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f'<a href="../../{SDIST}">')
        (tmp_path / SDIST).write_bytes(folder.bodies[2])
        monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert folder.ensure().startswith("libuv 1.99.0 fetched: third from the package index ")
    assert folder.files() == TREE
    assert list(site.logins) == (INDEXED[:2] if kind == "folder" else INDEXED)


@pytest.mark.parametrize("main", ["simple", "unlisted"])
def test_indexes_of_pips_configuration_are_asked_in_order_after_the_environments(
    main: str, folder: Folder, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    indexes = f"index-url = {site.url}/unlisted\nextra-index-url =\n    {site.url}/extra\n"
    config.write_text("[global]\n" + indexes)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    if main == "unlisted":
        monkeypatch.delenv("PIP_INDEX_URL")
    site.answers["/unlisted/holder/"] = b'<a href="holder-0.9.tar.gz">'
    site.index(folder.bodies[2], root="/extra")
    folder.ensure()
    asked = [f"/{main}/holder/", "/extra/holder/", f"/files/{SDIST}"]
    assert list(site.logins) == ["/one", "/two", *asked]


def test_without_configuration_pip_says_the_index(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL")
    (url,) = folder.fetch.index_urls({})
    assert url.startswith("https://")
    monkeypatch.setattr(folder.fetch, "pip_output", lambda *_: "")
    assert "no index is configured and no pip was found" in folder.refusal()


def test_the_password_goes_to_the_index_and_nowhere_else(
    folder: Folder, site: Site, other_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.index(b"")
    site.redirects[f"/files/{SDIST}"] = f"{other_site.url}/elsewhere"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://user:sec%21ret@{site.host}/simple")
    message = folder.refusal()
    login = "Basic " + base64.b64encode(b"user:sec!ret").decode()
    assert site.logins == dict(zip(INDEXED, [None, None, login, login], strict=True))
    assert other_site.logins == {"/elsewhere": None}
    assert "sec!ret" not in message
    assert "sec%21ret" not in message


def test_the_script_prints_what_it_did_or_the_error_without_a_traceback(
    folder: Folder, site: Site
) -> None:
    script = shutil.copy(VENDOR / "fetch.py", folder.path)
    run = partial(subprocess.run, [sys.executable, script], capture_output=True, text=True)
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The sources of libuv 1.99.0 could not be fetched. Tried:\n")
    assert "Traceback" not in done.stderr
    site.answers["/one"] = folder.bodies[0]
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"libuv 1.99.0 fetched: first, {site.url}/one\n"
    assert (folder.path / "src" / "version.c").exists()


def test_the_sources_in_place_are_the_pinned_ones(fetch: ModuleType) -> None:
    pin = tomllib.loads((VENDOR / "pin.toml").read_text())
    # A checkout that was built against an installed libuv only may have none.
    if (VENDOR / "src").exists():
        assert fetch.ensure() == f"libuv {pin['version']} is in place"

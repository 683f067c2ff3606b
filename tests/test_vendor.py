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


def archive(folder: str, files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz with `files` in `folder`, and with things beside them that are not kept."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        others = {"CMakeLists.txt": b"build\n", "test/run.c": b"int run;\n"}
        for name, content in {**files, **others}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Site:
    """An HTTP server on the loopback: answers by path, and a record of what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.kinds: dict[str, str] = {}
        self.lengths: dict[str, int] = {}  # a Content-Length that is not the body's
        self.redirects: dict[str, str] = {}
        self.silent: set[str] = set()  # accepted, never answered
        self.asked: list[str] = []
        self.logins: dict[str, str | None] = {}
        self.closing = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path
                site.asked.append(path)
                site.logins[path] = self.headers.get("Authorization")
                if path in site.silent:
                    site.closing.wait()
                elif path in site.redirects:
                    self.send_response(302)
                    self.send_header("Location", site.redirects[path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif path in site.answers:
                    body = site.answers[path]
                    self.send_response(200)
                    self.send_header("Content-Type", site.kinds.get(path, "application/gzip"))
                    self.send_header("Content-Length", str(site.lengths.get(path, len(body))))
                    self.end_headers()
                    self.wfile.write(body)
                else:
                    self.send_error(404)

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


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def other_site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """fetch.py as a module, out of reach of this machine's proxies, pip and its configuration."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    spec = importlib.util.spec_from_file_location("fetch", VENDOR / "fetch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Folder:
    """A folder with a pin of three sources: /one, /two, and SDIST of the index's `holder`."""

    def __init__(self, path: Path, site: Site) -> None:
        self.path = path
        self.site = site
        self.tree_sha256 = TREE_SHA256
        self.bodies = {
            "one": archive("libuv-1", TREE),
            "two": archive("libuv-two", TREE),
            "three": archive("holder-1.0/vendor/libuv", TREE),
        }
        self.pin()

    def pin(self) -> None:
        """Write pin.toml: the digests are those of `bodies`."""
        sha256 = {name: hashlib.sha256(body).hexdigest() for name, body in self.bodies.items()}
        text = f"""
            version = "1.99.0"
            tree_sha256 = "{self.tree_sha256}"
            [[source]]
            name = "first"
            url = "{self.site.url}/one"
            sha256 = "{sha256["one"]}"
            folder = "libuv-1"
            [[source]]
            name = "second"
            url = "{self.site.url}/two"
            sha256 = "{sha256["two"]}"
            folder = "libuv-two"
            [[source]]
            name = "third"
            project = "holder"
            file = "{SDIST}"
            sha256 = "{sha256["three"]}"
            folder = "holder-1.0/vendor/libuv"
        """
        (self.path / "pin.toml").write_text(text)

    def files(self) -> dict[str, bytes]:
        """Return what is in the folder beside the pin, empty folders by their name alone."""
        found = {}
        for path in self.path.rglob("*"):
            name = path.relative_to(self.path).as_posix()
            if path.is_file():
                found[name] = path.read_bytes()
            elif not any(path.iterdir()):
                found[name + "/"] = b""
        del found["pin.toml"]
        return found


@pytest.fixture
def folder(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Folder:
    path = tmp_path / "vendor"
    path.mkdir()
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple")  # never a real index
    return Folder(path, site)


def serve_index(site: Site, body: bytes, root: str = "/simple", kind: str = "html") -> None:
    """Put a project page with a relative link on `site`, and `body` behind it."""
    page = f'<a href="https://example.invalid/x">other</a><a href="../../files/{SDIST}#sha256=0">'
    content = page.encode()
    media = "text/html; charset=utf-8"
    if kind == "json":
        files = [{"filename": SDIST, "url": f"{site.url}/files/{SDIST}"}]
        content = json.dumps({"files": files}).encode()
        media = "application/vnd.pypi.simple.v1+json"
    site.answers[f"{root}/holder/"] = content
    site.kinds[f"{root}/holder/"] = media
    site.answers[f"/files/{SDIST}"] = body


# Filling.


def test_tree_digest_is_that_of_the_documented_command(fetch: ModuleType, tmp_path: Path) -> None:
    for name, content in {**TREE, "README.md": b"not kept"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert fetch.tree_digest(tmp_path) == TREE_SHA256


def test_first_source_fills_the_folder_with_the_kept_files_only(
    fetch: ModuleType, folder: Folder, site: Site
) -> None:
    site.answers["/one"] = folder.bodies["one"]
    assert fetch.ensure(folder.path) == f"libuv 1.99.0 fetched: first, {site.url}/one"
    assert folder.files() == TREE
    assert site.asked == ["/one"]


def written(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """What each file is and when it was written; when it was read is nobody's business."""
    stats = {path: path.stat() for path in folder.rglob("*")}
    return {path: (each.st_ino, each.st_size, each.st_mtime_ns) for path, each in stats.items()}


def test_filling_twice_does_nothing(fetch: ModuleType, folder: Folder, site: Site) -> None:
    site.answers["/one"] = folder.bodies["one"]
    fetch.ensure(folder.path)
    before = written(folder.path)
    assert fetch.ensure(folder.path) == "libuv 1.99.0 is in place"
    assert written(folder.path) == before
    assert site.asked == ["/one"]


def test_leavings_of_a_killed_run_are_replaced(
    fetch: ModuleType, folder: Folder, site: Site
) -> None:
    # src/ is moved into place last: without it the rest counts for nothing.
    (folder.path / "include").mkdir()
    (folder.path / "include" / "stale.h").write_text("stale")
    (folder.path / "LICENSE").write_text("stale")
    site.answers["/one"] = folder.bodies["one"]
    fetch.ensure(folder.path)
    assert folder.files() == TREE


def test_changed_sources_are_refused_and_left_alone(
    fetch: ModuleType, folder: Folder, site: Site
) -> None:
    site.answers["/one"] = folder.bodies["one"]
    fetch.ensure(folder.path)
    (folder.path / "src" / "version.c").write_text("int tampered;\n")
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(folder.path)
    actual = fetch.tree_digest(folder.path)
    assert actual != TREE_SHA256
    assert actual in str(caught.value)
    assert TREE_SHA256 in str(caught.value)
    assert folder.files() == {**TREE, "src/version.c": b"int tampered;\n"}


# A source that fails.


def wrong_digest(folder: Folder, site: Site) -> str:
    site.answers["/one"] = archive("libuv-1", {**TREE, "src/version.c": b"int evil;\n"})
    return "wrong digest of the archive"


def another_page(folder: Folder, site: Site) -> str:
    site.answers["/one"] = b"<html>Please log in to this network.</html>"
    return "wrong digest of the archive"


def truncated_by_the_server(folder: Folder, site: Site) -> str:
    site.answers["/one"] = folder.bodies["one"][:-10]
    return "wrong digest of the archive"


def truncated_on_the_way(folder: Folder, site: Site) -> str:
    body = folder.bodies["one"]
    site.answers["/one"] = body[:-10]
    site.lengths["/one"] = len(body)
    return f"truncated: {len(body) - 10} bytes of {len(body)}"


def not_found(folder: Folder, site: Site) -> str:
    return "HTTP Error 404"


def silent(folder: Folder, site: Site) -> str:
    site.silent.add("/one")
    return "no answer within 0.3 s"


def too_large(folder: Folder, site: Site) -> str:
    site.answers["/one"] = bytes((1 << 20) + 1)
    return "more than 1 MiB"


def not_an_archive(folder: Folder, site: Site) -> str:
    folder.bodies["one"] = site.answers["/one"] = b"pinned, but no archive"
    return "file could not be opened"


def wrong_folder(folder: Folder, site: Site) -> str:
    folder.bodies["one"] = site.answers["/one"] = archive("libuv-0", TREE)
    return "wrong digest of the unpacked tree"


def wrong_tree(folder: Folder, site: Site) -> str:
    files = {**TREE, "src/more.c": b"int more;\n"}
    folder.bodies["one"] = site.answers["/one"] = archive("libuv-1", files)
    return "wrong digest of the unpacked tree"


FAILURES = [
    wrong_digest,
    another_page,
    truncated_by_the_server,
    truncated_on_the_way,
    not_found,
    silent,
    too_large,
    not_an_archive,
    wrong_folder,
    wrong_tree,
]


@pytest.fixture
def failing(
    request: pytest.FixtureRequest,
    fetch: ModuleType,
    folder: Folder,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Make the first source fail in one of the ways; the value is what the error has to say."""
    reason: str = request.param(folder, site)
    folder.pin()
    monkeypatch.setattr(fetch, "SIZE_LIMIT", 1 << 20)
    if request.param is silent:
        monkeypatch.setattr(fetch, "ANSWER_SECONDS", 0.3)
    return reason


@pytest.mark.parametrize("failing", FAILURES, indirect=True)
def test_failed_source_is_followed_by_the_next(
    failing: str, fetch: ModuleType, folder: Folder, site: Site
) -> None:
    site.answers["/two"] = folder.bodies["two"]
    assert fetch.ensure(folder.path) == f"libuv 1.99.0 fetched: second, {site.url}/two"
    assert folder.files() == TREE
    assert site.asked == ["/one", "/two"]


@pytest.mark.parametrize("failing", FAILURES, indirect=True)
def test_no_source_left_is_one_error_that_names_all_and_leaves_nothing(
    failing: str, fetch: ModuleType, folder: Folder, site: Site
) -> None:
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(folder.path)
    message = str(caught.value)
    assert f"first, {site.url}/one:\n    {failing}" in message
    assert f"second, {site.url}/two:\n    HTTP Error 404" in message
    assert f"third from the package index {site.url}/simple:\n    HTTP Error 404" in message
    assert "PIP_INDEX_URL" in message
    assert "PYUVNET_SYSTEM_LIBUV=1" in message
    assert folder.files() == {}
    assert site.asked == ["/one", "/two", "/simple/holder/"]


def test_digest_error_names_both_digests(fetch: ModuleType, folder: Folder, site: Site) -> None:
    body = site.answers["/one"] = archive("libuv-1", {**TREE, "LICENSE": b"other"})
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(folder.path)
    assert hashlib.sha256(body).hexdigest() in str(caught.value)
    assert hashlib.sha256(folder.bodies["one"]).hexdigest() in str(caught.value)


def test_unreachable_host_is_told_as_such(fetch: ModuleType, folder: Folder, site: Site) -> None:
    site.close()
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(folder.path)
    assert str(caught.value).count("refused") == 3
    assert folder.files() == {}


# The package index.


@pytest.mark.parametrize("kind", ["html", "json"])
def test_file_is_found_on_the_index(
    kind: str, fetch: ModuleType, folder: Folder, site: Site
) -> None:
    serve_index(site, folder.bodies["three"], kind=kind)
    expected = f"libuv 1.99.0 fetched: third from the package index {site.url}/simple"
    assert fetch.ensure(folder.path) == expected
    assert folder.files() == TREE
    assert site.asked == ["/one", "/two", "/simple/holder/", f"/files/{SDIST}"]


def test_index_in_a_folder_is_read(
    fetch: ModuleType,
    folder: Folder,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = tmp_path / "simple" / "holder" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../{SDIST}">')
    (tmp_path / SDIST).write_bytes(folder.bodies["three"])
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    fetch.ensure(folder.path)
    assert folder.files() == TREE


def test_indexes_of_pips_configuration_are_asked_in_order(
    fetch: ModuleType,
    folder: Folder,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nindex-url = {site.url}/unlisted\n"
        f"extra-index-url =\n    {site.url}/missing\n    {site.url}/extra\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL")
    site.answers["/unlisted/holder/"] = b'<a href="holder-0.9.tar.gz">'
    serve_index(site, folder.bodies["three"], root="/extra")
    fetch.ensure(folder.path)
    pages = ["/unlisted/holder/", "/missing/holder/", "/extra/holder/"]
    assert site.asked == ["/one", "/two", *pages, f"/files/{SDIST}"]


def test_environment_beats_pips_configuration(
    fetch: ModuleType,
    folder: Folder,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nindex-url = {site.url}/configured\nextra-index-url = {site.url}/configured2\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{site.url}/extra")
    serve_index(site, folder.bodies["three"], root="/extra")
    fetch.ensure(folder.path)
    pages = ["/simple/holder/", "/extra/holder/"]
    assert site.asked == ["/one", "/two", *pages, f"/files/{SDIST}"]


def test_default_index_is_the_one_that_pip_tells(
    fetch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (
        "  -i, --index-url <url>  Base URL of an index (default\n"
        "                         https://index.invalid/simple). More.\n"
        "  --extra-index-url <url>  Others (default no)."
    )
    monkeypatch.setattr(fetch, "pip_output", lambda *_: told)
    assert fetch.index_urls({}) == ["https://index.invalid/simple"]


def test_this_pip_tells_its_default_index(fetch: ModuleType) -> None:
    (url,) = fetch.index_urls({})
    assert url.startswith("https://")


def test_without_pip_and_configuration_the_error_says_so(
    fetch: ModuleType, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setattr(fetch, "pip_output", lambda *_: "")
    with pytest.raises(fetch.FetchError, match="no index is configured and no pip was found"):
        fetch.ensure(folder.path)


def test_password_goes_to_the_index_and_nowhere_else(
    fetch: ModuleType,
    folder: Folder,
    site: Site,
    other_site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve_index(site, folder.bodies["three"])
    elsewhere = f"/elsewhere/{SDIST}"
    site.redirects[f"/files/{SDIST}"] = other_site.url + elsewhere
    other_site.answers[elsewhere] = b"wrong"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://user:sec%21ret@{site.host}/simple")
    with pytest.raises(fetch.FetchError) as caught:
        fetch.ensure(folder.path)
    login = "Basic " + base64.b64encode(b"user:sec!ret").decode()
    assert site.logins == {
        "/one": None,
        "/two": None,
        "/simple/holder/": login,
        f"/files/{SDIST}": login,
    }
    assert other_site.logins == {elsewhere: None}
    assert f"{site.url}/simple:" in str(caught.value)
    assert "sec!ret" not in str(caught.value)
    assert "sec%21ret" not in str(caught.value)


# The script, and our own pin.


def run_script(folder: Folder) -> subprocess.CompletedProcess[str]:
    shutil.copy(VENDOR / "fetch.py", folder.path)
    environment = {**os.environ, "NO_PROXY": "*"}
    script = str(folder.path / "fetch.py")
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.usefixtures("fetch")
def test_script_prints_what_it_did(folder: Folder, site: Site) -> None:
    site.answers["/one"] = folder.bodies["one"]
    run = run_script(folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"libuv 1.99.0 fetched: first, {site.url}/one\n"
    assert (folder.path / "src" / "version.c").exists()


@pytest.mark.usefixtures("fetch")
def test_script_fails_with_the_message_and_no_traceback(folder: Folder) -> None:
    run = run_script(folder)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("The sources of libuv 1.99.0 could not be fetched. Tried:\n")
    assert "Traceback" not in run.stderr


def test_sources_in_place_are_the_pinned_ones(fetch: ModuleType) -> None:
    pin = tomllib.loads((VENDOR / "pin.toml").read_text())
    # A checkout that was built against an installed libuv only may have none.
    if (VENDOR / "src").exists():
        assert fetch.ensure() == f"libuv {pin['version']} is in place"

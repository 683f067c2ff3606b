"""Put libuv's sources next to this file: src/, include/ and the licences, as pinned in pin.toml.

Run it by hand (`python vendor/libuv/fetch.py`) or let setup.py do it. It needs only the standard
library. Each archive is checked against its digest before it is opened, and the unpacked tree
against its own before it is moved into place, src/ last: a src/ folder means that all is there.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import html.parser
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ("include", "LICENSE", "LICENSE-extra", "src")  # in the order of putting them in place

ANSWER_SECONDS = 8.0  # from the name lookup to the first header; then for each further read
SIZE_LIMIT = 64 << 20  # no archive of ours is near it; a wrong page must not fill the memory


class FetchError(Exception):
    """One source failed, or all did; the text is for the user."""


def tree_digest(folder: Path) -> str:
    """Return the digest of the kept files: sha256sum's lines, sorted by path, hashed again."""
    paths = [path for part in PARTS for path in (folder / part, *(folder / part).rglob("*"))]
    lines = []
    for name in sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file()):
        lines.append(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# Downloading.


def without_password(url: str) -> str:
    """Return `url` as it may be printed."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def download(url: str, settings: dict[str, str], accept: str = "*/*") -> tuple[bytes, str, str]:
    """Return the body, the content type and the final address of `url`."""
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(without_password(url), headers={"Accept": accept})
    if parts.username is not None:
        names = (parts.username, parts.password or "")
        pair = ":".join(urllib.parse.unquote(name) for name in names)
        # Unredirected: an index may redirect to another host, which must not see the password.
        header = "Basic " + base64.b64encode(pair.encode()).decode()
        request.add_unredirected_header("Authorization", header)
    context = ssl.create_default_context()
    if settings.get("cert"):
        context.load_verify_locations(settings["cert"])
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if settings.get("proxy"):
        proxy = settings["proxy"]
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    opener = urllib.request.build_opener(*handlers)
    answer = open_in_time(opener, request)
    with answer:
        body = bytearray()
        while chunk := answer.read(1 << 16):
            body += chunk
            if len(body) > SIZE_LIMIT:
                raise FetchError(f"more than {SIZE_LIMIT >> 20} MiB")
        length = answer.headers.get("Content-Length")
        if length is not None and int(length) != len(body):
            raise FetchError(f"truncated: {len(body)} bytes of {length}")
        return bytes(body), answer.headers.get_content_type(), answer.url


def open_in_time(opener: urllib.request.OpenerDirector, request: urllib.request.Request):
    """Open `request` within ANSWER_SECONDS.

    A socket timeout does not bound the name lookup, and counts anew for each address of a host:
    hence the thread, which is left behind (a daemon) if it is late.
    """
    box: list = []

    def work() -> None:
        try:
            box.append(opener.open(request, timeout=ANSWER_SECONDS))
        except Exception as exc:
            box.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if not box or isinstance(getattr(box[0], "reason", box[0]), TimeoutError):
        raise FetchError(f"no answer within {ANSWER_SECONDS:g} s")
    if isinstance(box[0], Exception):
        raise box[0]
    return box[0]


# The package index that pip is configured with.


def pip_output(*arguments: str) -> str:
    """Return what pip prints, or "" where there is no pip.

    Isolated (-I), because inside a build environment PYTHONPATH hides the pip that started it.
    """
    for pip in ([sys.executable, "-I", "-m", "pip"], [shutil.which("pip") or "pip"]):
        try:
            # Wide, since pip folds its help to the terminal.
            environment = {**os.environ, "COLUMNS": "1000"}
            run = subprocess.run(
                [*pip, *arguments], capture_output=True, text=True, timeout=60, env=environment
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if run.returncode == 0:
            return run.stdout
    return ""


def pip_settings() -> dict[str, str]:
    """Return pip's index-url, extra-index-url, cert and proxy, as far as they are configured."""
    ranked: dict[str, tuple[int, str]] = {}
    for line in pip_output("config", "list").splitlines():
        match = re.fullmatch(r"(global|install|download|:env:)\.([\w-]+)=(.*)", line.strip())
        if match:
            # pip's own order: the environment, then the command's section, then [global].
            rank = {":env:": 2, "global": 0}.get(match[1], 1)
            if match[2] not in ranked or ranked[match[2]][0] <= rank:
                ranked[match[2]] = (rank, str(ast.literal_eval(match[3])))
    settings = {name: value for name, (_, value) in ranked.items()}
    # Also without any pip, as where another installer runs the build.
    for variable in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        if os.environ.get(variable):
            settings["index-url"] = os.environ[variable]
    return settings


def index_urls(settings: dict[str, str]) -> list[str]:
    """Return the index addresses to ask, the main one first."""
    main = settings.get("index-url")
    if not main:
        # pip's built-in default; its help text is the one public place that names it.
        told = pip_output("download", "--help")
        match = re.search(r"--index-url\s[^(]*\(default:?\s+(\S+?)\)", told)
        main = match[1] if match else None
    return [*([main] if main else []), *settings.get("extra-index-url", "").split()]


class Links(html.parser.HTMLParser):
    """Collects the addresses of a PEP 503 page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def find_on_index(index: str, source: dict[str, str], settings: dict[str, str]) -> str:
    """Return the address of the source's file, as given by the project's page on `index`."""
    page = f"{index.rstrip('/')}/{source['project']}/"
    if page.startswith("file:"):
        page += "index.html"
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    body, kind, address = download(page, settings, accept)
    if kind.endswith("json"):
        links = [entry["url"] for entry in json.loads(body)["files"]]
    else:
        links = Links(body.decode("utf-8", "replace")).found
    for link in links:
        found = urllib.parse.urldefrag(urllib.parse.urljoin(address or page, link)).url
        if urllib.parse.unquote(found.rpartition("/")[2]) == source["file"]:
            return with_password_of(index, found)
    raise FetchError(f"{source['file']} is not listed")


def with_password_of(index: str, url: str) -> str:
    """Return `url` with the index's user name and password, if it is on the index's host."""
    login, at, host = urllib.parse.urlsplit(index).netloc.rpartition("@")
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=login + at + host).geturl() if parts.netloc == host else url


# From a source to the folder.


def attempts(pin: dict) -> Iterator[tuple[str, dict[str, str], str | None, dict[str, str]]]:
    """Yield (what is tried, source, index or None, settings); pip runs only when needed."""
    for source in pin["source"]:
        if "url" in source:
            yield f"{source['name']}, {source['url']}", source, None, {}
            continue
        settings = pip_settings()
        urls = index_urls(settings)
        if not urls:
            yield f"{source['name']} from pip's package index", source, "", settings
        for index in urls:
            shown = f"{source['name']} from the package index {without_password(index)}"
            yield shown, source, index, settings


def unpack(archive: bytes, source: dict[str, str], pin: dict, folder: Path) -> None:
    """Check `archive`, unpack it next to its place, check the tree, move it into place."""
    digest = hashlib.sha256(archive).hexdigest()
    if digest != source["sha256"]:
        raise FetchError(
            f"wrong digest of the archive ({len(archive)} bytes): sha256 {digest}, "
            f"pinned {source['sha256']}"
        )
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as temporary:
        path = Path(temporary, "archive")
        path.write_bytes(archive)
        prefix = source["folder"] + "/"
        with tarfile.open(path) as tar:
            wanted = [
                member
                for member in tar.getmembers()
                if member.name.startswith(prefix)
                and member.name[len(prefix) :].partition("/")[0] in PARTS
            ]
            # The filter came with 3.11.4; what is opened here has passed its digest anyhow.
            options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(temporary, wanted, **options)
        unpacked = Path(temporary, source["folder"])
        digest = tree_digest(unpacked)
        if digest != pin["tree_sha256"]:
            raise FetchError(
                f"wrong digest of the unpacked tree: {digest}, pinned {pin['tree_sha256']}"
            )
        for part in PARTS:
            os.replace(unpacked / part, folder / part)


def check(folder: Path, pin: dict) -> None:
    """Raise FetchError unless the sources in `folder` are the pinned ones."""
    digest = tree_digest(folder)
    if digest != pin["tree_sha256"]:
        raise FetchError(
            f"{folder}: these are not the sources of libuv {pin['version']}: their tree digest is "
            f"{digest}, pinned is {pin['tree_sha256']}. Delete {', '.join(PARTS)} there and run "
            "fetch.py again."
        )


def ensure(folder: Path = HERE) -> str:
    """Fill `folder` unless it is filled, and return a sentence on what was done."""
    pin = tomllib.loads((folder / "pin.toml").read_text("utf-8"))
    if (folder / "src").exists():
        check(folder, pin)
        return f"libuv {pin['version']} is in place"
    for part in PARTS:  # left by a run that was killed between two moves
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).unlink(missing_ok=True)
    failed = []
    for shown, source, index, settings in attempts(pin):
        try:
            if index == "":
                raise FetchError("no index is configured and no pip was found to name its default")
            url = source["url"] if index is None else find_on_index(index, source, settings)
            unpack(download(url, settings)[0], source, pin, folder)
            return f"libuv {pin['version']} fetched: {shown}"
        except (OSError, ValueError, LookupError, tarfile.TarError, FetchError) as exc:
            # URLError wraps the cause; HTTPError, its subclass, says the status itself.
            reason = exc.reason if type(exc) is urllib.error.URLError else exc
            failed.append(f"  {shown}:\n    {str(reason) or type(reason).__name__}")
            if isinstance(exc, urllib.error.HTTPError):
                exc.close()
    raise FetchError(
        f"The sources of libuv {pin['version']} could not be fetched. Tried:\n"
        + "\n".join(failed)
        + f"\nMake one of these reachable (a proxy in HTTPS_PROXY, a mirror in PIP_INDEX_URL), or "
        f"unpack libuv {pin['version']} by hand so that\n{folder / 'src'} and include, LICENSE, "
        "LICENSE-extra beside it exist, or install pyuvnet from an sdist, which carries them,\n"
        "or set PYUVNET_SYSTEM_LIBUV=1 to build with an installed libuv >= 1.52."
    )


def main() -> int:
    """Fill the folder; print what was done, or the reason why not."""
    try:
        print(ensure())
    except FetchError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

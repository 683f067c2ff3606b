"""Check every link of the built documentation: the page is there, the anchor on it, the image.

    python tools/links.py build/docs

Links to other hosts are not followed: they must be https, and name a host. Prints what is wrong,
and exits with 1 if anything is. Sphinx itself reports links that its sources get wrong; this
sees what a reader gets, generated pages and the theme's included.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "area": "href", "img": "src", "link": "href", "script": "src"}
ELSEWHERE = ("data:", "mailto:")


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name == LINKS.get(tag) and value:
                self.links.append(value)


def wrong_links(site: Path) -> Iterator[str]:
    """Yield what is wrong, as texts, for every .html below a folder."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        yield f"{site}: no pages"
    for path, page in pages.items():
        for link in sorted({*page.links}):
            fault = _fault(link, path, pages)
            if fault:
                yield f"{path.relative_to(site.resolve())}: {link}: {fault}"


def _fault(link: str, path: Path, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(link)
    if link.startswith(ELSEWHERE):
        return None
    if parts.scheme or parts.netloc:
        return None if parts.scheme == "https" and "." in parts.netloc else "not an https address"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "no such anchor"
    return None


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    faults = list(wrong_links(Path(sys.argv[1])))
    print("\n".join(faults) or "all links lead somewhere")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())

"""What a package index shows of the project: README.md with absolute links, and addresses.

All of them begin with PROJECT_URL of pyproject.toml, the address of the repository. They are those
of GitHub, and of hosts that are like it, and lead to the tag of this version, so that the page of a
release shows its own files. setup.py puts them into the metadata of sdists and wheels.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.M | re.S)
ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")
# What stands before a target, and the target: of images first, since an image may be in a link.
IMAGES = re.compile(r"(!\[[^\]]*\]\(|<(?:img|source)\b[^>]*?\bsrc(?:set)?=\")([^)\s\"]+)")
LINKS = re.compile(r"(\]\(|^\[[^\]]+\]:\s+|<a\b[^>]*?\bhref=\")([^)\s\"]+)", re.M)


def fields() -> dict[str, object]:
    """Return arguments of setup()."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    address = project["tool"]["pyuvnet"]["PROJECT_URL"]
    version = re.findall(r'"(.+)"', (ROOT / "pyuvnet/_base/version.py").read_text("utf-8"))[0]
    return {
        "long_description": absolute((ROOT / "README.md").read_text("utf-8"), address, version),
        "long_description_content_type": "text/markdown",
        "project_urls": {
            "Source": address,
            "Documentation": f"{address}/blob/v{version}/docs/index.md",
            "Changelog": f"{address}/blob/v{version}/CHANGELOG.md",
            "Issues": f"{address}/issues",
        },
    }


def absolute(text: str, address: str, version: str) -> str:
    """Return the text of README.md with links that work anywhere."""

    def point_to(kind: str) -> object:
        def replace(match: re.Match[str]) -> str:
            before, target = match.groups()
            if ABSOLUTE.match(target):
                return match[0]
            file = f"README.md{target}" if target.startswith("#") else target
            return f"{before}{address}/{kind}/v{version}/{file}"

        return replace

    def convert(prose: str) -> str:
        return LINKS.sub(point_to("blob"), IMAGES.sub(point_to("raw"), prose))

    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [convert(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, convert(text[end:])])


def relative_links(text: str) -> list[str]:
    """Return the targets that depend on where the text is shown."""
    prose = CODE.sub("", text)
    targets = [match[2] for form in (IMAGES, LINKS) for match in form.finditer(prose)]
    return sorted({target for target in targets if not ABSOLUTE.match(target)})

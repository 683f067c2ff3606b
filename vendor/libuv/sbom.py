"""The software bill of materials of a wheel: that libuv is inside, which one, under what licence.

CycloneDX 1.6, made from pin.toml, the same bytes each time. setuptools copies what lies in the
.egg-info folder into the .dist-info of a wheel, so it is written there: PEP 770 wants it in
.dist-info/sboms/. A build against an installed libuv has nothing bundled, and no such file.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

from setuptools.command.egg_info import egg_info

PIN = Path(__file__).resolve().with_name("pin.toml")
NAME = "libuv.cdx.json"


def bill(name: str, version: str, licence: str) -> dict[str, Any]:
    """Return the document for the given release of ours."""
    pin = tomllib.loads(PIN.read_text("utf-8"))
    ours, libuv = f"pkg:pypi/{name}@{version}", f"pkg:github/libuv/libuv@v{pin['version']}"
    home = "https://github.com/libuv/libuv"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "bom-ref": ours,
                "type": "library",
                "name": name,
                "version": version,
                "licenses": [{"expression": licence}],
                "purl": ours,
            }
        },
        "components": [
            {
                "bom-ref": libuv,
                "type": "library",
                "name": "libuv",
                "version": pin["version"],
                "licenses": [{"expression": "MIT AND BSD-2-Clause AND ISC"}],
                "cpe": f"cpe:2.3:a:libuv:libuv:{pin['version']}:*:*:*:*:*:*:*",
                "purl": libuv,
                "pedigree": {
                    "commits": [{"uid": pin["commit"], "url": f"{home}/commit/{pin['commit']}"}],
                    "notes": "The release's files unchanged, linked in statically; on Linux its "
                    "calls of accept4 are compiled to be calls of pyuvnet's.",
                },
                "externalReferences": [{"type": "vcs", "url": f"{home}.git"}]
                + [
                    {
                        "type": "source-distribution",
                        "url": source["url"],
                        "hashes": [{"alg": "SHA-256", "content": source["sha256"]}],
                    }
                    for source in pin["source"]
                    if "url" in source
                ],
            }
        ],
        "dependencies": [{"ref": ours, "dependsOn": [libuv]}, {"ref": libuv}],
    }


class EggInfo(egg_info):
    def run(self) -> None:
        """Write the metadata, and next to it the bill of what is linked in."""
        folder, metadata = Path(self.egg_info, "sboms"), self.distribution.metadata
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build with other parts
        super().run()
        if self.distribution.has_c_libraries():
            text = json.dumps(
                bill(metadata.name, metadata.version, metadata.license_expression), indent=2
            )
            folder.mkdir()
            (folder / NAME).write_text(text + "\n", "utf-8")

"""Wheels, sdists, the bill of materials, releases and workflows: what tools/ and .github/ promise.

Building a real wheel takes minutes: `tools/wheels.py build`, which .ci/run runs. Here stand the
checks themselves, on archives made up for them, and each is seen to refuse what it is for.
"""

from __future__ import annotations

import datetime
import email
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import pyuvnet
import pyuvnet._core
from pyuvnet._core import _native, info

ROOT = Path(__file__).resolve().parent.parent
LIBUV = ROOT / "vendor" / "libuv"
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
VERSION = pyuvnet.__version__

needs_sources = pytest.mark.skipif(
    not (LIBUV / "src").exists(), reason="built against an installed libuv, without the sources"
)
needs_checkout = pytest.mark.skipif(not WORKFLOWS, reason="an sdist has no workflows")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="nm does not read a .pyd")


def tool(path: Path) -> ModuleType:
    """Import a script, anew for each test."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = tool(ROOT / "tools" / "wheels.py")
    # The core that runs the tests may be a debug build.
    monkeypatch.setattr(module, "LARGEST_CORE", 1 << 30)
    return module


@pytest.fixture
def sbom() -> ModuleType:
    return tool(LIBUV / "sbom.py")


# The bill of materials.


def test_bill_names_the_libuv_inside(sbom: ModuleType) -> None:
    bill = sbom.bill("pyuvnet", VERSION, "MIT")
    (libuv,) = bill["components"]
    pin = tomllib.loads((LIBUV / "pin.toml").read_text("utf-8"))
    assert libuv["version"] == pin["version"]
    if "bundled libuv" in info.build_flags():
        assert libuv["version"] == info.libuv_version()
    assert libuv["purl"] == f"pkg:github/libuv/libuv@v{pin['version']}"
    assert f":libuv:libuv:{pin['version']}:" in libuv["cpe"]
    assert libuv["pedigree"]["commits"][0]["uid"] == pin["commit"]
    hashes = [
        reference["hashes"][0]["content"]
        for reference in libuv["externalReferences"]
        if "hashes" in reference
    ]
    assert hashes == [source["sha256"] for source in pin["source"] if "url" in source]


def test_bill_is_a_closed_graph_of_version_1_6(sbom: ModuleType) -> None:
    bill = sbom.bill("pyuvnet", VERSION, "MIT")
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["bom-ref"] for part in [bill["metadata"]["component"], *bill["components"]]}
    assert {item["ref"] for item in bill["dependencies"]} == parts
    assert {to for item in bill["dependencies"] for to in item.get("dependsOn", [])} < parts


def metadata(folder: Path, **settings: str) -> Path:
    """Have setuptools write the .dist-info for this tree, and return it."""
    environment = {**os.environ, "PYUVNET_SYSTEM_LIBUV": "0", **settings}
    command = [sys.executable, "setup.py", "-q", "dist_info", "-o", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    (found,) = folder.glob("*.dist-info")
    return found


@needs_sources
def test_metadata_carries_bill_and_licences(sbom: ModuleType, tmp_path: Path) -> None:
    found = metadata(tmp_path)
    assert found.name == f"pyuvnet-{VERSION}.dist-info"
    bill = json.loads((found / "sboms" / "libuv.cdx.json").read_text("utf-8"))
    assert bill == sbom.bill("pyuvnet", VERSION, CONFIGURATION["project"]["license"])
    for name in ("LICENSE", "vendor/libuv/LICENSE", "vendor/libuv/LICENSE-extra"):
        assert (found / "licenses" / name).read_bytes() == (ROOT / name).read_bytes()
    about = email.message_from_bytes((found / "METADATA").read_bytes())
    addresses = dict(each.split(", ") for each in about.get_all("Project-URL", []))
    project = CONFIGURATION["tool"]["pyuvnet"]["PROJECT_URL"]
    assert addresses["Source"] == project
    assert all(address.startswith(project) for address in addresses.values())
    assert about["Description-Content-Type"] == "text/markdown"
    page = about.get_payload()
    assert f"]({project}/blob/v{VERSION}/docs/quickstart.md)" in page
    assert tool(ROOT / "tools" / "project_page.py").relative_links(page) == []


@posix_only
@needs_sources
def test_nothing_bundled_no_bill(tmp_path: Path) -> None:
    stale = tmp_path / "pyuvnet.egg-info" / "sboms"
    stale.mkdir(parents=True)
    (stale / "libuv.cdx.json").touch()
    pkg_config = tmp_path / "pkg-config"
    pkg_config.write_text('#!/bin/sh\ncase "$*" in *--modversion*) echo 1.52.1;; esac\n')
    pkg_config.chmod(0o755)
    found = metadata(tmp_path, PYUVNET_SYSTEM_LIBUV="1", PKG_CONFIG=str(pkg_config))
    assert (found / "METADATA").exists()
    assert not (found / "sboms").exists()


# The checks of wheels.


Files = dict[str, bytes]


@pytest.fixture
def files(sbom: ModuleType, tmp_path: Path) -> Files:
    """What a good wheel holds, with the core that runs this test."""
    core = Path(shutil.copy(_native.__file__, tmp_path))
    if sys.platform == "linux":
        subprocess.run(["strip", "--strip-debug", core], check=True)
    about = f"pyuvnet-{VERSION}.dist-info"
    bill = json.dumps(sbom.bill("pyuvnet", VERSION, "MIT")).encode()
    found = {
        "pyuvnet/__init__.py": b"",
        "pyuvnet/__init__.pyi": b"",
        "pyuvnet/py.typed": b"",
        "pytest_pyuvnet.py": b"",
        f"pyuvnet/_core/{core.name}": core.read_bytes(),
        f"{about}/METADATA": b"",
        f"{about}/sboms/libuv.cdx.json": bill,
    }
    for name in ("LICENSE", "vendor/libuv/LICENSE", "vendor/libuv/LICENSE-extra"):
        found[f"{about}/licenses/{name}"] = b""
    return found


def pack(folder: Path, files: Files) -> Path:
    path = folder / f"pyuvnet-{VERSION}-cp311-cp311-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@posix_only
def test_good_wheel_passes(wheels: ModuleType, files: Files, tmp_path: Path) -> None:
    wheels.check(pack(tmp_path, files))


@posix_only
@pytest.mark.parametrize(
    ("part", "why"),
    [
        (r"licenses/LICENSE$", "no licence LICENSE"),
        (r"libuv/LICENSE$", "no licence vendor/libuv/LICENSE"),
        (r"LICENSE-extra$", "no licence vendor/libuv/LICENSE-extra"),
        (r"py\.typed$", "no place"),
        (r"_native\.", "not one compiled core"),
        (r"sboms/", "no bill"),
        (r"pytest_pyuvnet", "no plugin"),
    ],
)
def test_wheel_without_a_part_is_refused(
    part: str, why: str, wheels: ModuleType, files: Files, tmp_path: Path
) -> None:
    (gone,) = [name for name in files if re.search(part, name)]
    del files[gone]
    with pytest.raises(wheels.WrongError, match=why):
        wheels.check(pack(tmp_path, files))


@posix_only
@pytest.mark.parametrize(
    "name",
    [
        "pyuvnet/_core/tcp.pyx",
        "pyuvnet/_core/_native.c",
        "pyuvnet/_core/_native.cpython-27.so",
        "tests/__init__.py",
        "pyuvnet-0.0.0.dist-info/METADATA",
        "libuv.so.1",
    ],
)
def test_what_has_no_place_in_a_wheel_is_refused(
    name: str, wheels: ModuleType, files: Files, tmp_path: Path
) -> None:
    with pytest.raises(wheels.WrongError):
        wheels.check(pack(tmp_path, {**files, name: b""}))


@posix_only
def test_bill_about_another_libuv_is_refused(
    wheels: ModuleType, files: Files, tmp_path: Path
) -> None:
    name = f"pyuvnet-{VERSION}.dist-info/sboms/libuv.cdx.json"
    bill = json.loads(files[name])
    bill["components"][0]["version"] = "1.44.2"
    with pytest.raises(wheels.WrongError, match=r"1\.44\.2"):
        wheels.check(pack(tmp_path, {**files, name: json.dumps(bill).encode()}))


@posix_only
def test_exports_are_read_from_the_core(wheels: ModuleType) -> None:
    expected = {f"PyInit_{name}" for name in ("_native", *pyuvnet._core.LAYERS)}
    # The second owner of handles, in tests/support, which only a debug build has.
    owners = {"PyInit_transport", "PyInit_transport_listener"} if info.is_debug() else set()
    assert wheels.exports(Path(_native.__file__)) == expected | owners


@posix_only
@pytest.mark.parametrize("names", [{"PyInit__native", "uv_run"}, {"PyInit_loop"}])
def test_wheel_with_other_exports_is_refused(
    names: set[str],
    wheels: ModuleType,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wheels, "exports", lambda core: names)
    with pytest.raises(wheels.WrongError, match="export"):
        wheels.check(pack(tmp_path, files))


@pytest.mark.skipif(sys.platform != "linux", reason="sections are called so in ELF")
def test_debug_information_is_refused(wheels: ModuleType, files: Files, tmp_path: Path) -> None:
    (core,) = [name for name in files if name.startswith("pyuvnet/_core/_native.")]
    files[core] += b"\0.debug_info\0"
    with pytest.raises(wheels.WrongError, match="debug information"):
        wheels.check(pack(tmp_path, files))


@posix_only
def test_a_large_core_is_refused(
    wheels: ModuleType, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "LARGEST_CORE", 100_000)
    with pytest.raises(wheels.WrongError, match=r"the core has [\d,]+ bytes"):
        wheels.check(pack(tmp_path, files))


@posix_only
def test_a_page_with_relative_links_is_refused(
    wheels: ModuleType, files: Files, tmp_path: Path
) -> None:
    files[f"pyuvnet-{VERSION}.dist-info/METADATA"] = b"Name: pyuvnet\n\n[Guide](docs/guide.md)\n"
    with pytest.raises(wheels.WrongError, match=re.escape("['docs/guide.md']")):
        wheels.check(pack(tmp_path, files))


# The page on the package index.


PAGE = """\
[Guide](docs/guide.md#top), [below](#install), [Node](https://nodejs.org), [m](mailto:a@b.example)
![plot](images/plot.png) [![badge](images/badge.png)](docs/status.md)
<a href="docs/a.md"><img alt="b" src="images/b.png"></a>
[by name]: docs/name.md

```sh
echo [not](docs/a.md) a link
```
[Last](LICENSE)
"""
PAGE_ABSOLUTE = """\
[Guide](URL/blob/v1.2.3/docs/guide.md#top), [below](URL/blob/v1.2.3/README.md#install), \
[Node](https://nodejs.org), [m](mailto:a@b.example)
![plot](URL/raw/v1.2.3/images/plot.png) [![badge](URL/raw/v1.2.3/images/badge.png)]\
(URL/blob/v1.2.3/docs/status.md)
<a href="URL/blob/v1.2.3/docs/a.md"><img alt="b" src="URL/raw/v1.2.3/images/b.png"></a>
[by name]: URL/blob/v1.2.3/docs/name.md

```sh
echo [not](docs/a.md) a link
```
[Last](URL/blob/v1.2.3/LICENSE)
"""


def test_links_of_the_page_are_absolute_and_of_this_version() -> None:
    module = tool(ROOT / "tools" / "project_page.py")
    project = "https://code.example/ours"
    made = module.absolute(PAGE, project, "1.2.3")
    assert made == PAGE_ABSOLUTE.replace("URL", project)
    assert module.relative_links(made) == []
    assert len(module.relative_links(PAGE)) == 9


# The checks of sdists.


def sdist(folder: Path, names: list[str]) -> Path:
    path = folder / f"pyuvnet-{VERSION}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"pyuvnet-{VERSION}/{name}"))
    return path


SDIST = ["setup.py", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"]
SDIST += ["tools/wheels.py", "tests/conftest.py"]
SDIST += ["vendor/libuv/LICENSE", "vendor/libuv/LICENSE-extra", "vendor/libuv/pin.toml"]
SDIST += [f"vendor/libuv/{name}" for name in ("include/uv.h", "src/unix/core.c", "src/win/core.c")]


def test_sdist_with_all_parts_passes(wheels: ModuleType, tmp_path: Path) -> None:
    wheels.check(sdist(tmp_path, SDIST))


@pytest.mark.parametrize("name", SDIST)
def test_sdist_without_a_part_is_refused(name: str, wheels: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(wheels.WrongError, match=re.escape(name)):
        wheels.check(sdist(tmp_path, [other for other in SDIST if other != name]))


@pytest.mark.parametrize("name", ["pyuvnet/_core/_native.so", "pyuvnet/_core/loop.c", "x.pyc"])
def test_sdist_with_products_of_a_build_is_refused(
    name: str, wheels: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(wheels.WrongError, match=re.escape(name)):
        wheels.check(sdist(tmp_path, [*SDIST, name]))


@pytest.mark.parametrize("name", ["bench/results/reference/overview.png", "docs/images/soak.png"])
def test_sdist_with_published_figures_is_refused(
    name: str, wheels: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(wheels.WrongError, match=re.escape(name)):
        wheels.check(sdist(tmp_path, [*SDIST, name]))


@needs_checkout
@needs_sources
def test_manifest_takes_the_benchmarks_without_their_results(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    listed = (tmp_path / "pyuvnet.egg-info" / "SOURCES.txt").read_text("utf-8").splitlines()
    assert {"bench/__main__.py", "docs/reliability.md"} <= set(listed)
    assert [name for name in listed if name.startswith(("bench/results", "docs/images"))] == []


@needs_checkout
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asks git what it holds")
def test_the_repository_holds_no_figures_as_text() -> None:
    command = ["git", "ls-files", "*.svg", "*.json", "*.csv", "*.html"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    # But those that bench.regress compares with, and diagrams, which are drawn by hand.
    assert [name for name in listed.split() if not name.startswith("docs/diagrams/")] == [
        "bench/regress/figures.json"
    ]
    for diagram in (ROOT / "docs" / "diagrams").iterdir():
        assert diagram.suffix == ".svg", diagram
        assert diagram.stat().st_size < 5000, diagram


@needs_checkout
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="asks git what it ignores")
def test_sdist_with_what_git_ignores_is_refused(wheels: ModuleType, tmp_path: Path) -> None:
    wheels.no_more_than_git_knows(sdist(tmp_path, SDIST))
    with pytest.raises(wheels.WrongError, match=r"bench/results/run\.json"):
        wheels.no_more_than_git_knows(sdist(tmp_path, [*SDIST, "bench/results/run.json"]))


# What wheels are built and tested.


def test_tests_left_out_for_wheels_are_there(wheels: ModuleType) -> None:
    assert {
        name for name in wheels.OF_THE_CHECKOUT if not (ROOT / "tests" / name).exists()
    } == set()
    for name in wheels.READING_SOURCES:
        path, _, function = name.partition("::")
        assert f"\ndef {function}(" in (ROOT / path).read_text("utf-8")


def for_wheels(wheels: ModuleType) -> Iterator[tuple[Path, str]]:
    """Each file of tests that is copied for a wheel, and its text."""
    for folder, folders, names in os.walk(ROOT / "tests"):
        gone = wheels.left_out(folder, [*folders, *names])
        folders[:] = [name for name in folders if name not in gone]
        for name in names:
            if name not in gone and name.endswith(".py"):
                yield Path(folder, name), Path(folder, name).read_text("utf-8")


def test_no_test_for_wheels_imports_one_that_is_left_out(wheels: ModuleType) -> None:
    gone = {Path(name).stem for name in wheels.OF_THE_CHECKOUT}
    for path, text in for_wheels(wheels):
        wanted = set(re.findall(r"^from (?:tests)?\.+(\w+) import", text, re.M))
        assert not wanted & gone, path.name


def test_no_test_for_wheels_reads_what_only_the_checkout_has(wheels: ModuleType) -> None:
    reads = re.compile(
        r'ROOT / "(pyuvnet|bench|tools|vendor|setup\.py)\b|^from (bench|tools)\b', re.M
    )
    found = {path.name for path, text in for_wheels(wheels) if reads.search(text)}
    assert found == set()


def test_a_wheel_for_each_python_that_we_claim() -> None:
    prefix = "Programming Language :: Python :: 3."
    claimed = {
        text.removeprefix(prefix)
        for text in CONFIGURATION["project"]["classifiers"]
        if text.startswith(prefix)
    }
    built = CONFIGURATION["tool"]["cibuildwheel"]["build"]
    # Nothing has been run on 3.14t, which has no classifier of its own.
    assert set(built) == {*(f"cp3{minor}-*" for minor in claimed), "cp314t-*"}


def test_systems_that_we_claim_are_those_where_it_was_run() -> None:
    systems = [
        text
        for text in CONFIGURATION["project"]["classifiers"]
        if text.startswith("Operating System")
    ]
    assert systems == ["Operating System :: POSIX :: Linux"]


def test_the_extra_all_has_what_programs_can_use() -> None:
    extras = CONFIGURATION["project"]["optional-dependencies"]
    ours, uvloop = extras["all"]
    parts = re.fullmatch(r"pyuvnet\[([\w,]+)\]", ours)[1].split(",")
    of_contributors = {"bench", "docs", "lint", "test"}
    assert {*parts, "all"} == extras.keys() - of_contributors
    assert uvloop in extras["test"]


def test_installed_tests_need_what_all_tests_need_but_tools_for_sources() -> None:
    ours = CONFIGURATION["project"]["optional-dependencies"]["test"]
    needed = CONFIGURATION["tool"]["cibuildwheel"]["test-requires"]
    for_sources = re.compile(r"(Cython|matplotlib|mypy|rich|setuptools)\b")
    for_the_script = "pefile; sys_platform == 'win32'"
    assert [name for name in ours if not for_sources.match(name)] == [
        name for name in needed if name != for_the_script
    ]


# Releases.


CHANGES = """\
# Changelog

## [Unreleased]

### Added

- Something.

## [0.1.0] - 2026-01-02

### Fixed

- The rest.
"""


PROJECT_URL = '[tool.pyuvnet]\nPROJECT_URL = "{}"\n'


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/release.py on a tree of its own."""
    module = tool(ROOT / "tools" / "release.py")
    monkeypatch.setattr(module, "VERSION", tmp_path / "version.py")
    monkeypatch.setattr(module, "CHANGELOG", tmp_path / "CHANGELOG.md")
    monkeypatch.setattr(module, "PROJECT", tmp_path / "pyproject.toml")
    module.VERSION.write_text('__version__ = "0.1.0"\n')
    module.PROJECT.write_text(PROJECT_URL.format("https://code.example/ours"))
    module.CHANGELOG.write_text(CHANGES)
    return module


DAY = datetime.date(2026, 2, 3)


def test_release_is_prepared_checked_and_told(release: ModuleType) -> None:
    release.prepare("0.2.0", DAY)
    assert release.current() == "0.2.0"
    text = release.CHANGELOG.read_text()
    assert "## [Unreleased]\n\n## [0.2.0] - 2026-02-03\n\n### Added\n\n- Something.\n" in text
    release.check("v0.2.0")
    assert release.notes() == "### Added\n\n- Something."


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("0.0.9", "before"),
        ("0.1.0", "already"),
        ("0.1.0rc1", "before"),
        ("0.2", "form"),
        ("v0.2.0", "form"),
        ("0.02.0", "form"),
    ],
)
def test_release_that_cannot_be_is_refused(version: str, why: str, release: ModuleType) -> None:
    with pytest.raises(release.ReleaseError, match=why):
        release.prepare(version, DAY)
    assert release.current() == "0.1.0"
    assert release.CHANGELOG.read_text() == CHANGES


def test_release_without_changes_is_refused(release: ModuleType) -> None:
    release.prepare("0.2.0", DAY)
    with pytest.raises(release.ReleaseError, match="nothing is unreleased"):
        release.prepare("0.3.0", DAY)


def test_release_follows_its_candidates(release: ModuleType) -> None:
    release.prepare("0.2.0rc9", DAY)
    release.check("v0.2.0rc9")
    for version in ("0.2.0rc10", "0.2.0"):
        added = release.CHANGELOG.read_text().replace("d]\n", "d]\n\n### Fixed\n\n- More.\n", 1)
        release.CHANGELOG.write_text(added)
        release.prepare(version, DAY)
        release.check(f"v{version}")


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("0.1.0", "0.1.1", "the tag is v0.1.0"),
        (" - 2026-01-02", "", "no dated section"),
        ("- The rest.\n", "", "no dated section"),
        ("### Fixed\n\n- The rest.\n", "", "no dated section"),
        ("## [Unreleased]\n", "## [Unreleased]\n\n### Added\n\n- New.\n", "unreleased"),
        ("### Fixed", "### Mended", "headings"),
        ("## [Unreleased]\n", "", "begin"),
    ],
)
def test_tag_that_does_not_agree_is_refused(
    old: str, new: str, why: str, release: ModuleType
) -> None:
    release.CHANGELOG.write_text(CHANGES.replace("### Added\n\n- Something.\n\n", ""))
    release.check("v0.1.0")
    for path in (release.VERSION, release.CHANGELOG):
        if old != "0.1.0" or path == release.VERSION:
            path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(release.ReleaseError, match=why):
        release.check("v0.1.0")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.invalid/pyuvnet",
        "http://code.example/ours",
        "https://code.example/ours/",
        "https://localhost/ours",
        "",
    ],
)
def test_release_without_an_address_is_refused(address: str, release: ModuleType) -> None:
    release.prepare("0.2.0", DAY)
    release.check("v0.2.0")
    release.PROJECT.write_text(PROJECT_URL.format(address))
    with pytest.raises(release.ReleaseError, match="PROJECT_URL"):
        release.check("v0.2.0")


def test_changelog_has_the_form_that_releases_need() -> None:
    module = tool(ROOT / "tools" / "release.py")
    assert module.current() == VERSION
    known = module.sections(module.CHANGELOG.read_text("utf-8"))
    versions = list(known)[1:]
    assert versions == sorted(versions, key=module.order, reverse=True)


# Workflows.


@needs_checkout
def test_actions_are_pinned_by_commit_the_same_everywhere() -> None:
    pins: dict[str, str] = {}
    for path in WORKFLOWS:
        for line in re.findall(r"\buses: (.*)", path.read_text("utf-8")):
            if line.startswith("./"):
                assert (ROOT / line.split()[0]).exists(), line
                continue
            match = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
            assert match, f"{path.name}: {line}"
            assert pins.setdefault(match[1], match[2]) == match[2], f"{path.name}: {line}"
    assert pins


@needs_checkout
def test_workflows_run_only_what_is_there() -> None:
    found = set()
    for path in [*WORKFLOWS, *(ROOT / ".ci").iterdir()]:
        found |= set(re.findall(r"(?<![\w/.$])((?:\.ci|tools|vendor)/[\w./]+\w)", path.read_text()))
    missing = {name for name in found if not (ROOT / name).exists()}
    assert "tools/wheels.py" in found
    assert missing - {"vendor/libuv"} == set()

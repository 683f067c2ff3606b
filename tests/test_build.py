"""setup.py, the source lists, the loader's layers, and what an sdist holds.

Builds are run on a copy of the project whose core is one empty module, with a compiler that only
writes down its arguments: what counts here is who calls it, with what, and how often.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import pyuvnet
import pyuvnet._core
from tests.support import layers

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "pyuvnet" / "_core"
LIBUV = ROOT / "vendor" / "libuv"

needs_sources = pytest.mark.skipif(
    not (LIBUV / "src").exists(), reason="built against an installed libuv, without the sources"
)
posix_only = pytest.mark.skipif(
    sys.platform == "win32", reason="the compiler's stand-in is a script named by CC"
)


# Lists.


def listed() -> dict[str, list[str]]:
    """Return build.toml's source files by group, as paths below vendor/libuv."""
    build = tomllib.loads((LIBUV / "build.toml").read_text())
    groups = {name for groups in build["platforms"].values() for name in groups}
    assert groups == set(build) - {"platforms"}
    return {
        group: [f"{build[group]['folder']}/{name}.c" for name in build[group]["sources"]]
        for group in groups
    }


@needs_sources
@pytest.mark.parametrize(
    ("folder", "groups"), [("src", ["common"]), ("src/win", ["windows"])], ids=["common", "windows"]
)
def test_source_list_is_what_is_there(folder: str, groups: list[str]) -> None:
    files = sorted(path.relative_to(LIBUV).as_posix() for path in (LIBUV / folder).glob("*.c"))
    assert sorted(name for group in groups for name in listed()[group]) == files


@needs_sources
def test_unix_source_lists_and_the_files_of_other_systems_are_what_is_there() -> None:
    others = """aix aix-common bsd-proctitle cygwin freebsd haiku hurd ibmi netbsd no-fsevents
        no-proctitle openbsd os390 os390-proctitle os390-syscalls posix-hrtime posix-poll qnx sunos
        sysinfo-loadavg sysinfo-memory"""
    lists = listed()
    names = {name for group in ("unix", "linux", "darwin") for name in lists[group]}
    assert not set(lists["unix"]) & set(lists["linux"] + lists["darwin"])
    names |= {f"src/unix/{name}.c" for name in others.split()}
    files = {path.relative_to(LIBUV).as_posix() for path in (LIBUV / "src/unix").glob("*.c")}
    assert names == files


def test_setup_is_short() -> None:
    assert len((ROOT / "setup.py").read_text().splitlines()) < 150


def test_version_is_written_once() -> None:
    assert importlib.metadata.version("pyuvnet") == pyuvnet.__version__


# Layers.


def test_layers_are_the_modules_that_are_there() -> None:
    files = {path.stem for path in CORE.glob("*.pyx")}
    assert {"_native", *pyuvnet._core.LAYERS} == files
    assert len(set(pyuvnet._core.LAYERS)) == len(pyuvnet._core.LAYERS)


def test_layers_come_out_of_the_one_shared_object() -> None:
    for layer in ("_native", *pyuvnet._core.LAYERS):
        module = getattr(pyuvnet._core, layer)
        assert module is sys.modules[f"pyuvnet._core.{layer}"]
        assert module.__file__ == pyuvnet._core._native.__file__


def test_no_module_imports_from_above() -> None:
    assert layers.violations(ROOT / "pyuvnet") == []


# Lines at the end of a file, and what they import against the order of the layers.
UP = [
    ("_core/{}.pyx", "from ..net import connect", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "from pyuvnet.net import connect", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "from .. import net", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "from .. import run", "pyuvnet, which is above"),
    ("_core/{}.pyx", "from ...pyuvnet import net", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "import pyuvnet.net", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "import os, pyuvnet.net as net", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "import pyuvnet as us", "pyuvnet, which is above"),
    ("_core/{}.pyx", "from .loop import Loop", "pyuvnet._core.loop, which is above"),
    ("_core/{}.pyx", "from .loop cimport Loop", "pyuvnet._core.loop, which is above"),
    ("_core/{}.pyx", "from . cimport loop", "pyuvnet._core.loop, which is above"),
    ("_core/{}.pyx", "cimport pyuvnet._core.loop", "pyuvnet._core.loop, which is above"),
    ("_core/{}.pyx", "from pyuvnet._core cimport loop", "pyuvnet._core.loop, which is above"),
    ("_core/{}.pyx", "from .loop cimport (\n    Loop,\n)", "pyuvnet._core.loop, which is above"),
    ("_core/{}.pyx", "from ..net \\\n    import connect", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "def f():\n    from ..net import connect", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "def f(): import pyuvnet.net", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "x = 1; import pyuvnet.net", "pyuvnet.net, which is above"),
    ("_core/{}.pyx", "def f():\n    from .names import x", "pyuvnet._core.names in a function"),
    ("_core/{}.pyx", "def f():\n    from .._base import x", "pyuvnet._base in a function"),
    ("_core/{}.pyx", "from ..gone import x", "pyuvnet.gone, which is no module"),
    ("_core/tcp.pxd", "from .server_base cimport S", "pyuvnet._core.server_base, which is above"),
    ("_core/uv.pxd", "from .info cimport x", "pyuvnet._core.info, which is above"),
    ("_core/__init__.py", "from .. import net", "pyuvnet.net, which is above"),
    ("_base/names.py", "from .. import net", "pyuvnet.net, which is above"),
    ("_base/errors.py", "import pyuvnet", "pyuvnet, which is above"),
    ("_base/info.py", "from .._core.names import x", "pyuvnet._core.names, which is above"),
    ("_base/hints.py", "def f():\n    from ..errors import x", "pyuvnet.errors, which is above"),
]
# What imports nothing from above, though it looks like it.
LEVEL = [
    ("_core/{}.pyx", "# from ..net import x"),
    ("_core/{}.pyx", 'text = """\nfrom ..net import x\n"""'),
    ("_core/{}.pyx", "from .names import add_node_names\nfrom .._base import errors"),
    ("_core/{}.pyx", "def f():\n    import netrc; from json import dumps"),
]


def copied(tmp_path: Path, plants: list[tuple[str, str]]) -> tuple[Path, list[str]]:
    """Copy the package with a line at the end of each file; one core module for each that needs it.

    Returns the copy, and the names of the files.
    """
    package = shutil.copytree(
        ROOT / "pyuvnet", tmp_path / "pyuvnet", ignore=shutil.ignore_patterns("*.so", "*.pyc")
    )
    # Just above `names`, since nothing here imports more.
    loader = package / "_core" / "__init__.py"
    new = [f"    'planted_{number}',\n" for number in range(len(plants))]
    loader.write_text(loader.read_text().replace('    "names",\n', f'    "names",\n{"".join(new)}'))
    names = []
    for number, (name, line) in enumerate(plants):
        names.append(name.format(f"planted_{number}"))
        with (package / names[-1]).open("a") as source:
            source.write(f"\n\n{line}\n")
    return package, names


def test_each_kind_of_import_from_above_is_seen(tmp_path: Path) -> None:
    package, names = copied(tmp_path, [plant[:2] for plant in UP])
    found = [re.sub(r":\d+", "", line) for line in layers.violations(package)]
    assert sorted(found) == sorted(
        f"{name} imports {what}" for name, (_, _, what) in zip(names, UP, strict=True)
    )


def test_the_top_of_the_package_has_few_files() -> None:
    files = [path.name for path in CORE.parent.iterdir() if path.is_file()]
    page = "docs/maintainers/design.md"
    assert len(files) <= 25, f"a new module belongs in a folder, see {page}: {files}"


def test_what_only_looks_like_one_is_not(tmp_path: Path) -> None:
    package, _ = copied(tmp_path, LEVEL)
    assert layers.violations(package) == []


@pytest.mark.parametrize(
    ("plants", "found"),
    [
        (
            [("_base/names.py", "def f():\n    from .options import OptionSet")],
            "a circle: pyuvnet._base.names imports pyuvnet._base.options imports",
        ),
        ([("abort.py", "from . import events")], "a circle: pyuvnet.abort imports pyuvnet.events"),
        (
            [("abort.py", "if TYPE_CHECKING:\n    from . import events")],
            "a circle: pyuvnet.abort imports pyuvnet.events",
        ),
        (
            [
                (
                    "_options/paths.py",
                    "def f():\n    import importlib\n    importlib.import_module('x')",
                )
            ],
            "_options/paths.py imports by a name that is made at run time",
        ),
    ],
    ids=["base", "facade", "types", "dynamic"],
)
def test_circles_and_names_made_at_run_time_are_seen(
    plants: list[tuple[str, str]], found: str, tmp_path: Path
) -> None:
    package, _ = copied(tmp_path, plants)
    (line,) = layers.violations(package)
    assert set(found.split()) <= set(line.split())


# References to objects of the program.

CHECK_RELEASES = ROOT / "tools" / "check_releases.py"


def check_releases(*folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CHECK_RELEASES, *folder], capture_output=True, text=True, check=False
    )


def test_no_function_goes_on_after_it_dropped_an_object_of_the_program() -> None:
    pytest.importorskip("Cython")
    child = check_releases()
    assert child.returncode == 0, child.stdout + child.stderr


# A function's body, and what it drops too early.
PLANTED = [
    ("writable", "    s.w_queue = None\n    s.w_length = 0\n", "w_queue"),
    ("writable", "    s.w_waiting.pop()\n    return s.w_called\n", "w_waiting"),
    ("writable", "    del s.w_queue[:1]\n    s.w_head = 0\n", "w_queue"),
    ("writable", "    while s.w_length:\n        s.w_chunk = None\n", "w_chunk"),
    ("stream", "    Py_DECREF(s._errored)\n    s._state = 0\n", "Py_DECREF"),
    ("emitter", "    if s._flags:\n        s._entry0 = None\n    return s._flags\n", "_entry0"),
]
# What looks like it, and is right.
SAFE = [
    "    chunks, s.w_queue = s.w_queue, None\n    s.w_length = 0\n",
    "    s.w_length = 0\n    s.w_queue = None\n    return 0\n",
    "    if s.w_queue is None:\n        s.w_queue = []\n        s.w_head = 0\n",
    "    w_drop_queue(s)\n    s.w_length = 0\n",
]


def test_a_function_that_does_is_found(tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    core = shutil.copytree(CORE, tmp_path / "core", ignore=shutil.ignore_patterns("*.so"))
    bad = [(f"bad_{number}", *each) for number, each in enumerate(PLANTED)]
    good = [(f"good_{number}", "writable", body) for number, body in enumerate(SAFE)]
    for function, name, body in [each[:3] for each in bad] + good:
        with (core / f"{name}.pyx").open("a") as source:
            source.write(f"\n\ncdef int {function}(Stream s) except -1:\n{body}")
    child = check_releases(core)
    assert child.returncode == 1, child.stderr
    found = {re.sub(r":\d+", "", line) for line in child.stdout.splitlines()}
    assert found == {
        f"{name}.pyx: {function}() drops {what}, then uses fields"
        for function, name, _, what in bad
    }


# Constructs that Cython makes wrong code of.

CHECK_CYTHON = [sys.executable, ROOT / "tools" / "check_cython.py"]


def test_the_core_has_nothing_that_cython_makes_wrong_code_of() -> None:
    pytest.importorskip("Cython")
    child = subprocess.run(CHECK_CYTHON, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout + child.stderr


def test_what_cython_makes_wrong_code_of_is_found(tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    tmp_path.joinpath("bad.pyx").write_text(
        "def one(items):\n"
        "    try:\n"
        "        return [item for item in items]\n"
        "    except ValueError:\n"
        "        if items:\n"
        "            return 1\n"
        "    return [\n"
        "        repr(item) for item in items]\n"
    )
    child = subprocess.run([*CHECK_CYTHON, tmp_path], capture_output=True, text=True, check=False)
    assert child.returncode == 1, child.stderr
    assert child.stdout.splitlines() == [
        "bad.pyx:6: return inside except",
        "bad.pyx:8: comprehension of more than names",
    ]


def test_missing_shared_object_is_told_with_what_to_do(tmp_path: Path) -> None:
    package = tmp_path / "pyuvnet" / "_core"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    shutil.copy(CORE / "__init__.py", package)
    command = [sys.executable, "-c", "import pyuvnet._core"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("ImportError: pyuvnet's compiled core for this interpreter")
    assert sys.implementation.cache_tag in last
    assert "pip install -e ." in last


def test_a_core_of_other_sources_is_told_with_what_to_do(tmp_path: Path) -> None:
    package = tmp_path / "pyuvnet" / "_core"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    shutil.copy(pyuvnet._core._native.__file__, package)
    loader = (CORE / "__init__.py").read_text("utf-8")
    loader = loader.replace('    "names",\n', '    "brand_new",\n    "names",\n')
    (package / "__init__.py").write_text(loader, "utf-8")
    command = [sys.executable, "-c", "import pyuvnet._core"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith(
        "ImportError: pyuvnet's compiled core does not match these sources: it has no "
        "'brand_new'. Rebuild it with `pip install -e .` ("
    )


# Builds.

BUILD_CHANGED = ROOT / "tools" / "build_changed.py"
PROJECT_PAGE = ROOT / "tools" / "project_page.py"
COMPILER = """\
#!{python} -IS
import os, sys
with open({log!r}, "a") as log:
    log.write(repr(sys.argv[1:]) + "\\n")
after = dict(zip(sys.argv, sys.argv[1:]))
source = after.get("-c", "")
if os.environ.get("FAILING_SOURCE") == os.path.basename(source) != "":
    sys.exit("the stand-in fails for " + source)
if "-o" in after:
    open(after["-o"], "w").close()
if "-MF" in after and not os.environ.get("NO_RULES"):
    lines = open(source, encoding="utf-8").read().splitlines()
    included = [line.split('"')[1] for line in lines if line.startswith('#include "')]
    folders = [argument[2:] for argument in sys.argv if argument.startswith("-I")]
    paths = [os.path.join(folder, name) for folder in folders for name in included]
    with open(after["-MF"], "w") as rule:
        rule.write(" ".join([after["-o"] + ":", source, *filter(os.path.exists, paths)]))
"""


class Project:
    """A copy of what a build reads, the core reduced to `_native` and one module."""

    def __init__(self, path: Path) -> None:
        self.path = path / "project"
        self.log = path / "log"
        shutil.copytree(LIBUV, self.path / "vendor" / "libuv")
        core = self.path / "pyuvnet" / "_core"
        core.mkdir(parents=True)
        (core.parent / "_base").mkdir()
        (self.path / "tools").mkdir()
        for name in (
            "setup.py",
            "pyproject.toml",
            "LICENSE",
            "README.md",
            "pyuvnet/_base/version.py",
        ):
            shutil.copy(ROOT / name, self.path / name)
        for script in (BUILD_CHANGED, PROJECT_PAGE):
            shutil.copy(script, self.path / "tools")
        for name in ("__init__.py", "_native.pyx", "debug.h", "debug.pxd", "exports.map"):
            shutil.copy(CORE / name, core)
        (core.parent / "__init__.py").touch()
        (core / "one.pyx").write_text("answer = 1\n")
        self.core = core
        self.compiler = path / "cc"
        text = COMPILER.format(python=sys.executable, log=str(self.log))
        self.compiler.write_text(text)
        self.compiler.chmod(0o755)
        self.pkg_config = path / "pkg-config"
        self.system = "0"

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run setup.py with the stand-in for compiler, linker and archiver."""
        self.log.write_text("")
        names = ("PYUVNET_DEBUG", "PYUVNET_SYSTEM_LIBUV", "CFLAGS", "CPPFLAGS", "LDFLAGS")
        env = {name: value for name, value in os.environ.items() if name not in names}
        tools = dict.fromkeys(("CC", "AR", "LDSHARED"), str(self.compiler))
        tools["PYUVNET_SYSTEM_LIBUV"] = self.system
        command = [sys.executable, "setup.py", "-q", *arguments]
        return subprocess.run(
            command,
            cwd=self.path,
            env={**env, **tools, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def build(self, **environment: str) -> list[list[str]]:
        """Build in place, and return the command lines."""
        run = self.run("build_ext", "--inplace", **environment)
        assert run.returncode == 0, run.stderr
        return self.commands()

    def commands(self) -> list[list[str]]:
        """Return the command lines of the last build."""
        return [ast.literal_eval(line) for line in self.log.read_text().splitlines()]


def compiled(commands: list[list[str]]) -> dict[str, list[str]]:
    """Return the compilations among `commands`, by the name of the source."""
    return {Path(c[c.index("-c") + 1]).name: c for c in commands if "-c" in c}


def last(command: list[str], *beginnings: str) -> str | None:
    """Return the last argument that begins so, which is the one that counts."""
    return next((item for item in reversed(command) if item.startswith(beginnings)), None)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@posix_only
@needs_sources
@pytest.mark.parametrize("cflags", ["", "-Wall", "-O0 -UNDEBUG -DNDEBUG"])
@pytest.mark.parametrize("debug", ["0", "1"])
def test_ndebug_is_explicit_in_every_compilation(debug: str, cflags: str, project: Project) -> None:
    commands = compiled(project.build(PYUVNET_DEBUG=debug, CFLAGS=cflags))
    assert {"core.c", "version.c", "_native.c", "one.c"} < set(commands)
    for command in commands.values():
        assert last(command, "-DNDEBUG", "-UNDEBUG") == ("-UNDEBUG" if debug == "1" else "-DNDEBUG")
        level = "-O0" if "-O0" in cflags else "-O1" if debug == "1" else "-O2"
        assert last(command, "-O") == level
        assert "-fvisibility=hidden" in command
        assert "-DUV_EXTERN=" in command
    assert f"-DUVNET_DEBUG={debug}" in commands["one.c"]


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 6, 15)])
def test_an_old_python_is_refused_before_anything_else(version: tuple[int, int, int]) -> None:
    # pip runs setup.py before it knows which Python the project requires.
    shown = ".".join(map(str, version))
    code = (
        f"import runpy, sys; sys.version_info, sys.version = {version}, '{shown} (main)'\n"
        "sys.modules['tomllib'] = None\n"
        "runpy.run_path('setup.py', run_name='__main__')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stderr == f"pyuvnet requires Python >= 3.11, and this is Python {shown}\n"
    assert run.returncode == 1


@posix_only
@needs_sources
@pytest.mark.timeout(120)
def test_everything_is_compiled_once_and_only_what_changed_again(project: Project) -> None:
    first = compiled(project.build())
    assert len(first) == len(
        [name for group in listed_here() for name in listed()[group]] + ["_native.c", "one.c"]
    )
    assert compiled(project.build()) == {}
    (project.core / "one.pyx").write_text("answer = 2\n")
    assert set(compiled(project.build())) == {"one.c"}
    for path in project.core.iterdir():
        path.touch()  # as a checkout does, to and fro
    assert compiled(project.build()) == {}


def change(path: Path) -> None:
    """Change a file so that no meaning changes."""
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")


@posix_only
@needs_sources
@pytest.mark.timeout(120)
def test_a_changed_header_is_compiled_with_its_users_only(project: Project) -> None:
    (project.core / "two.pyx").write_text("from .debug cimport UVNET_DEBUG\na = UVNET_DEBUG\n")
    (project.core / "three.pyx").write_text("from . cimport debug\na = debug.UVNET_DEBUG\n")
    project.build()
    change(project.core / "debug.h")
    assert set(compiled(project.build())) == {"two.c", "three.c"}
    change(project.path / "vendor/libuv/src/idna.h")
    users = {"idna.c", "getaddrinfo.c", "pipe.c", "tty.c", "util.c"}
    assert {"idna.c"} <= set(compiled(project.build())) <= users
    assert compiled(project.build()) == {}


@posix_only
@needs_sources
@pytest.mark.timeout(120)
def test_a_compiler_that_does_not_say_what_it_read_compiles_all_for_a_header(
    project: Project,
) -> None:
    first = project.build(NO_RULES="1")
    assert compiled(project.build(NO_RULES="1")) == {}
    change(project.core / "debug.h")
    assert {"_native.c", "one.c"} <= set(compiled(project.build(NO_RULES="1")))
    change(project.path / "vendor/libuv/include/uv.h")
    assert set(compiled(project.build(NO_RULES="1"))) == set(compiled(first))


@posix_only
@needs_sources
def test_release_and_debug_objects_never_mix(project: Project) -> None:
    release = project.build(PYUVNET_DEBUG="0")
    debug = project.build(PYUVNET_DEBUG="1")
    assert set(compiled(debug)) == set(compiled(release))
    again = project.build(PYUVNET_DEBUG="0")
    assert compiled(again) == {}
    assert again[-1] == release[-1]  # linked anew, from the release objects
    assert again[-1] != debug[-1]


@posix_only
@needs_sources
def test_generated_c_is_not_in_the_tree(project: Project) -> None:
    project.build()
    assert [path.name for path in project.core.rglob("*.c")] == []
    assert len(list((project.path / "build").rglob("one.c"))) == 1


@posix_only
@needs_sources
def test_another_libuvs_headers_in_cppflags_do_not_win(project: Project) -> None:
    commands = compiled(project.build(CPPFLAGS="-I/elsewhere/include"))
    for command in commands.values():
        assert command[command.index("-iquote") + 1] == "vendor/libuv/include"


# libuv's sources: fetched, carried, or an installed library.


@pytest.fixture
def bare(project: Project) -> Project:
    """A project without sources, whose fetch.py only leaves a mark."""
    for part in ("src", "include"):
        shutil.rmtree(project.path / "vendor" / "libuv" / part, ignore_errors=True)
    script = 'def main():\n    open("fetched", "w").close()\n    return 1\n'
    (project.path / "vendor" / "libuv" / "fetch.py").write_text(script)
    return project


@posix_only
@needs_sources
def test_fetch_is_not_run_when_sources_are_there(project: Project) -> None:
    script = 'raise SystemExit("fetched")\n'
    (project.path / "vendor" / "libuv" / "fetch.py").write_text(script)
    project.build()


@posix_only
def test_fetch_is_run_when_sources_are_missing_and_its_failure_ends_the_build(
    bare: Project,
) -> None:
    run = bare.run("build_ext", "--inplace")
    assert run.returncode == 1
    assert (bare.path / "fetched").exists()
    assert bare.log.read_text() == ""


@posix_only
def test_fetch_is_never_run_in_an_sdist(bare: Project) -> None:
    (bare.path / "PKG-INFO").touch()
    run = bare.run("build_ext", "--inplace")
    assert run.returncode == 1
    assert run.stderr == "vendor/libuv/src is missing, which every sdist of pyuvnet carries\n"
    assert not (bare.path / "fetched").exists()


def answer(project: Project, text: str) -> str:
    """Make a pkg-config that prints `text`, and return its path."""
    version, arguments = text.split(" ", 1)
    script = (
        f'#!/bin/sh\ncase "$*" in *--modversion*) echo {version};; *) echo "{arguments}";; esac\n'
    )
    project.pkg_config.write_text(script)
    project.pkg_config.chmod(0o755)
    return str(project.pkg_config)


@pytest.fixture
def installed(bare: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that builds the core only, since its libuv is an installed one."""
    monkeypatch.setenv("PKG_CONFIG", answer(bare, "1.52.0 -luv"))
    bare.system = "1"
    return bare


def translated(project: Project) -> set[str]:
    """Build, and return which modules Cython wrote again."""
    before = {path: path.stat().st_mtime_ns for path in project.path.glob("build/cython-*/**/*.c")}
    project.build()
    after = project.path.glob("build/cython-*/**/*.c")
    return {path.stem for path in after if path.stat().st_mtime_ns != before.get(path)}


def test_what_is_saved_while_it_is_built_is_built_again(tmp_path: Path) -> None:
    source, made = tmp_path / "one.h", tmp_path / "one.o"
    source.write_text("before")
    build = runpy.run_path(str(BUILD_CHANGED))
    build["look_at"]([str(source)])
    source.write_text("meanwhile")
    made.touch()
    build["note"](str(made), "so", [str(source)])
    assert not runpy.run_path(str(BUILD_CHANGED))["is_current"](str(made), "so")
    source.write_text("before")
    assert runpy.run_path(str(BUILD_CHANGED))["is_current"](str(made), "so")
    assert not runpy.run_path(str(BUILD_CHANGED))["is_current"](str(made), "otherwise")


def test_names_in_a_rule_of_make_are_read_as_make_does(tmp_path: Path) -> None:
    rule = tmp_path / "one.d"
    rule.write_text("build/one.o: one.c /a\\ b/c\\#.h \\\n  $$x/d.h\n")
    read = runpy.run_path(str(BUILD_CHANGED))["headers_of"]
    assert read(rule) == ["one.c", "/a b/c#.h", "$x/d.h"]
    assert read(tmp_path / "none.d") is None


def listed_here() -> list[str]:
    build = tomllib.loads((LIBUV / "build.toml").read_text())
    groups: list[str] = build["platforms"][sys.platform]
    return groups


@posix_only
@pytest.mark.parametrize(
    ("debug", "cflags", "flag"),
    [
        ("0", "", "-g0"),
        ("0", "-O3 -fgcse", "-g0"),
        ("0", "-O0 -g3", "-g3"),
        ("1", "", "-g"),
        ("1", "-g0", "-g"),
    ],
)
def test_debug_information_is_for_those_who_ask(
    debug: str, cflags: str, flag: str, installed: Project
) -> None:
    commands = installed.build(PYUVNET_DEBUG=debug, CFLAGS=cflags)
    for command in compiled(commands).values():
        assert last(command, "-g") == flag
    if sys.platform == "linux":
        assert ("-Wl,-s" in commands[-1]) == (flag == "-g0")


@posix_only
@pytest.mark.parametrize(
    ("debug", "cflags", "levels"),
    [("0", "", ("-Os", "-O2")), ("0", "-O3", ("-O3", "-O3")), ("1", "", ("-O1", "-O1"))],
)
def test_what_runs_once_is_built_for_size(
    debug: str, cflags: str, levels: tuple[str, str], installed: Project
) -> None:
    assert runpy.run_path(str(BUILD_CHANGED))["COLD"] < set(pyuvnet._core.LAYERS)
    (installed.core / "alive.pyx").write_text("answer = 1\n")
    commands = compiled(installed.build(PYUVNET_DEBUG=debug, CFLAGS=cflags))
    assert (last(commands["alive.c"], "-O"), last(commands["one.c"], "-O")) == levels


@posix_only
def test_a_folder_of_the_same_name_does_not_hide_an_editable_install(
    installed: Project, tmp_path: Path
) -> None:
    (installed.core.parent / "__init__.py").write_text("here = True\n")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    for name in settings["packages"]:
        (installed.path / name.replace(".", "/")).mkdir(exist_ok=True)
    run = installed.run("editable_wheel", "--dist-dir", str(tmp_path))
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    script = tmp_path / "work" / "script.py"
    # As a clone of the repository is called, which has the package in a folder below.
    (script.parent / "pyuvnet").mkdir(parents=True)
    script.write_text(f"import site; site.addsitedir({str(site)!r})\nfrom pyuvnet import here\n")
    command = [sys.executable, "-S", str(script)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@posix_only
@pytest.mark.timeout(120)
def test_a_changed_pxd_is_translated_with_all_that_cimport_it(installed: Project) -> None:
    (installed.core / "base.pxd").write_text("cdef enum:\n    SIZE = 1\n" + "\n" * 9)
    (installed.core / "middle.pxd").write_text("from . cimport base\n")
    (installed.core / "one.pyx").write_text("from .middle cimport base\na = base.SIZE\n")
    (installed.core / "two.pyx").write_text("from . cimport base\na = base.SIZE\n")
    (installed.core / "three.pyx").write_text("a = 1\n")
    assert translated(installed) == {"_native", "one", "two", "three"}
    change(installed.core / "base.pxd")
    assert translated(installed) == {"one", "two"}
    assert compiled(installed.commands()) == {}  # since their C is what it was
    (installed.core / "base.pxd").write_text("cdef enum:\n    SIZE = 12345\n")
    (installed.core / "three.pxd").write_text("cdef int a\n")  # a module's own, which is new
    assert translated(installed) == {"one", "two", "three"}
    assert set(compiled(installed.commands())) == {"one.c", "two.c", "three.c"}


@posix_only
@pytest.mark.timeout(120)
def test_what_failed_is_made_again(installed: Project) -> None:
    installed.build()
    (installed.core / "one.pyx").write_text("answer = (\n")
    run = installed.run("build_ext", "--inplace")
    assert run.returncode == 1
    assert "pyuvnet/_core/one.pyx:" in run.stderr
    assert run.stderr.splitlines()[-1] == "error: Cython does not translate pyuvnet/_core/one.pyx"
    (installed.core / "one.pyx").write_text("answer = 1\n")
    assert translated(installed) == {"one"}
    (installed.core / "one.pyx").write_text("answer = 3\n")
    assert installed.run("build_ext", "--inplace", FAILING_SOURCE="one.c").returncode == 1
    assert set(compiled(installed.build())) == {"one.c"}


@posix_only
def test_installed_libuv_is_linked_and_nothing_is_fetched(bare: Project) -> None:
    pkg_config = answer(bare, "1.52.0 -I/opt/uv/include -L/opt/uv/lib -luv")
    commands = bare.build(PYUVNET_SYSTEM_LIBUV="1", PKG_CONFIG=pkg_config)
    assert set(compiled(commands)) == {"_native.c", "one.c"}
    assert "-I/opt/uv/include" in compiled(commands)["one.c"]
    assert {"-L/opt/uv/lib", "-luv"} <= set(commands[-1])
    assert not any("pyuvnet_uv" in item for item in commands[-1])
    assert not (bare.path / "fetched").exists()


@posix_only
@pytest.mark.parametrize("version", ["1.44.2", "1.51.9", "0.99.0"])
def test_old_installed_libuv_is_refused_with_both_versions(version: str, bare: Project) -> None:
    pkg_config = answer(bare, f"{version} -luv")
    run = bare.run("build_ext", PYUVNET_SYSTEM_LIBUV="1", PKG_CONFIG=pkg_config)
    assert run.returncode == 1
    assert f"libuv {version} is installed; pyuvnet needs libuv >= 1.52" in run.stderr
    assert "Traceback" not in run.stderr
    assert bare.log.read_text() == ""


@posix_only
@pytest.mark.parametrize(("version", "status"), [("1.52.0", 0), ("1.48.3", 1)])
def test_without_pkg_config_the_header_tells_the_version(
    version: str, status: int, bare: Project, tmp_path: Path
) -> None:
    header = tmp_path / "prefix" / "include" / "uv" / "version.h"
    header.parent.mkdir(parents=True)
    lines = zip(("MAJOR", "MINOR", "PATCH"), version.split("."), strict=True)
    header.write_text("".join(f"#define UV_VERSION_{name} {value}\n" for name, value in lines))
    run = bare.run(
        "build_ext",
        "--inplace",
        PYUVNET_SYSTEM_LIBUV="1",
        PKG_CONFIG=str(tmp_path / "no-pkg-config"),
        CPATH=str(tmp_path / "prefix" / "include"),
    )
    assert run.returncode == status, run.stderr
    assert ("libuv 1.48.3 is installed" in run.stderr) is (status == 1)


# The sdist.


@needs_sources
def test_sdist_carries_the_sources_and_nothing_generated(tmp_path: Path) -> None:
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns(
        "build", "dist", "*.egg-info", ".*", "__pycache__", "*.so", "*.pyd"
    )
    shutil.copytree(ROOT, project, ignore=ignored)
    for stray in ("pyuvnet/_core/stray.so", "pyuvnet/_core/stray.c", "tests/stray.pyc"):
        (project / stray).touch()
    command = [sys.executable, "setup.py", "-q", "sdist", "--formats=gztar"]
    run = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (path,) = (project / "dist").glob("*.tar.gz")
    with tarfile.open(path) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    patterns = ["setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"]
    patterns += [f"pyuvnet/**/*.{kind}" for kind in ("py", "pyx", "pxd", "pyi", "h", "map")]
    patterns += ["tools/*.py"]  # setup.py has its own part there
    patterns += [f"vendor/libuv/*.{kind}" for kind in ("py", "toml", "md")]
    patterns += ["vendor/libuv/LICENSE*", "vendor/libuv/src/**/*.[ch]"]
    patterns += ["vendor/libuv/include/**/*.h", "tests/**/*.py"]
    for pattern in patterns:
        files = {path.relative_to(project).as_posix() for path in project.glob(pattern)}
        assert files <= names, pattern
        assert files or "pyi" in pattern, pattern
    assert {name for name in names if name.endswith((".so", ".pyc", ".o"))} == set()
    generated = {name for name in names if name.endswith(".c")}
    # Written by hand: libuv's, what the benchmarks compare with, and the tests' own.
    written = ("vendor/libuv/src/", "bench/", "tests/")
    assert {name for name in generated if not name.startswith(written)} == set()

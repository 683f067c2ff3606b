"""Builds libuv as a static library, and pyuvnet._core._native, one extension of many modules.

Each .pyx of pyuvnet/_core is translated alone; all are linked into one shared object, since two
copies of libuv must never meet in a process. pyuvnet/_core/__init__.py loads the modules from it.

Environment: PYUVNET_DEBUG=1 (asserts, counters, debug information), PYUVNET_SYSTEM_LIBUV=1 (an
installed libuv).
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - pip runs this file before it reads requires-python
    sys.exit("pyuvnet requires Python >= 3.11, and this is Python " + sys.version.split()[0])

import hashlib
import json
import os
import runpy
import sysconfig
import tomllib
from glob import glob
from pathlib import Path

import Cython
from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext

os.chdir(Path(__file__).resolve().parent)
sys.path.insert(0, str(Path("tools").resolve()))  # also for the processes that translate
import build_changed  # noqa: E402
import project_page  # noqa: E402

DEBUG, SYSTEM_LIBUV = (
    os.environ.get(name, "0") not in ("", "0") for name in ("PYUVNET_DEBUG", "PYUVNET_SYSTEM_LIBUV")
)
LIBUV = tomllib.loads(Path("vendor/libuv/build.toml").read_text("utf-8"))
if sys.platform not in LIBUV["platforms"]:
    sys.exit(f"pyuvnet builds on Linux, macOS and Windows, not yet on {sys.platform}")
GROUPS = [LIBUV[name] for name in LIBUV["platforms"][sys.platform]]
SOURCES = [f"vendor/libuv/{g['folder']}/{name}.c" for g in GROUPS for name in g["sources"]]
DEFINES = [tuple(define.split("=")) for g in GROUPS for define in g["defines"]]
HIDDEN = ("UV_EXTERN", "")  # uv.h forces default visibility unless this is defined

if sys.platform == "win32":
    CFLAGS = ["/std:c11", "/O2", "/UNDEBUG" if DEBUG else "/DNDEBUG"]
    LDFLAGS, COLD = [f"{name}.lib" for g in GROUPS for name in g["libraries"]], []
else:
    # NDEBUG is explicit because an environment CFLAGS drops the interpreter's -DNDEBUG; the level
    # of optimisation is CFLAGS's if it has one. -iquote beats any -I of another libuv's headers.
    CFLAGS = ["-fno-strict-aliasing", "-fvisibility=hidden", "-UNDEBUG" if DEBUG else "-DNDEBUG"]
    GIVEN = os.environ.get("CFLAGS", "")  # libc's checks are in the way of sanitizers
    CFLAGS += ["-fstack-protector-strong", "-U_FORTIFY_SOURCE"]
    # CPython's flags have -g (six times the size); CFLAGS may too. Aligned jumps would add 3 %, and
    # functions that are aligned to 16, or that nothing calls, as much again.
    SMALL = not DEBUG and " -g" not in f" {GIVEN}"
    SMALLER = ["-g0", "-fno-align-jumps", "-fno-align-loops", "-falign-functions=8"]
    SMALLER += ["-ffunction-sections", "-fdata-sections"]
    CFLAGS += ["-g"] if DEBUG else SMALLER if SMALL else []
    CFLAGS += [] if "-O0" in GIVEN or "-fsanitize" in GIVEN else ["-D_FORTIFY_SOURCE=3"]
    CFLAGS += [] if "-O" in GIVEN else ["-O1" if DEBUG else "-O2"]
    COLD = ["-Os"] if SMALL and "-O" not in GIVEN else []  # of what build_changed.COLD lists
    CFLAGS += [] if SYSTEM_LIBUV else ["-iquote", "vendor/libuv/include"]
    # The shared object exports PyInit_* only. The libraries come last, after what needs them.
    LDFLAGS = ["-Wl,--version-script=pyuvnet/_core/exports.map,-z,relro,-z,now,-z,noexecstack"]
    LDFLAGS += ["-Wl,-s", "-Wl,--gc-sections"] if SMALL else []  # names of functions: 0.4 MB
    if sys.platform == "darwin":
        LDFLAGS = ["-Wl,-exported_symbol,_PyInit_*"]
    LDFLAGS += [f"-l{name}" for g in GROUPS for name in g["libraries"]]
# A "binding" method does not check that self is of its class, and crashes if it is not.
DIRECTIVES = {"language_level": 3, "cdivision": True, "embedsignature": True} | dict.fromkeys(
    ("auto_pickle", "binding", "initializedcheck"), False
)
DIRECTIVES["embedsignature.format"] = "clinic"  # for inspect.signature()
# See "The GIL" in docs/maintainers/design.md. With a GIL, it costs 20 instructions per echo.
DIRECTIVES["freethreading_compatible"] = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

# Kept between builds, and apart for whatever gives different results.
KEY = [sys.implementation.cache_tag, sys.version, DEBUG, SYSTEM_LIBUV, CFLAGS, DEFINES]
KEY += [os.environ.get(f"{name}FLAGS") for name in ("C", "CPP", "ARCH")] + [os.environ.get("CC")]
OBJECTS, TRANSLATED = (
    f"build/{name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}"
    for name, parts in {"objects": KEY, "cython": [Cython.__version__, DIRECTIVES]}.items()
)


def headers():
    return glob("pyuvnet/_core/*.h") + glob("vendor/libuv/**/*.h", recursive=True)


class BuildLibuv(build_clib):
    def finalize_options(self):
        super().finalize_options()
        self.build_clib = self.build_temp = OBJECTS

    def build_libraries(self, libraries):
        ((name, info),) = libraries
        build_changed.speed_up(self.compiler, headers())
        objects = self.compiler.compile(**info, output_dir=OBJECTS, debug=self.debug)
        self.compiler.create_static_lib(objects, name, output_dir=OBJECTS)


class BuildCore(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.build_temp = OBJECTS  # also for an editable install, whose own is a temporary folder
        self.force = True  # link each time: what is there may be of the other kind, debug or not

    def run(self):
        self.run_command("build_clib")  # which a lone `setup.py build_ext` does not
        super().run()

    def build_extensions(self):
        (core,) = self.extensions
        core.sources = build_changed.translate(core.sources, TRANSLATED, DIRECTIVES)
        build_changed.speed_up(self.compiler, headers(), COLD)
        super().build_extensions()


def main():
    compiling, linking, include = CFLAGS, LDFLAGS, ["vendor/libuv/include", "vendor/libuv/src"]
    if SYSTEM_LIBUV:
        found = runpy.run_path("vendor/libuv/system.py")["arguments"]()
        compiling, linking, include = CFLAGS + found[0], found[1] + LDFLAGS, []
    if not Path("vendor/libuv/src").exists() and (not SYSTEM_LIBUV or "sdist" in sys.argv):
        if Path("PKG-INFO").exists():
            sys.exit("vendor/libuv/src is missing, which every sdist of pyuvnet carries")
        sys.exit(1) if runpy.run_path("vendor/libuv/fetch.py")["main"]() else None
    kind = f"{'debug' if DEBUG else 'release'}, {'installed' if SYSTEM_LIBUV else 'bundled'} libuv"
    flags = json.dumps(f"{kind}, Cython {Cython.__version__}, {' '.join(compiling)}")
    core = Extension(
        "pyuvnet._core._native",
        sorted(glob("pyuvnet/_core/*.pyx") + DEBUG * glob("tests/support/*.pyx")),
        include_dirs=["pyuvnet/_core", *include[:1]],
        define_macros=[("UVNET_DEBUG", str(int(DEBUG))), ("UVNET_BUILD_FLAGS", flags), HIDDEN],
        extra_compile_args=compiling,
        extra_link_args=linking,
    )
    libuv = {"sources": SOURCES, "include_dirs": include, "extra_postargs": CFLAGS}
    libuv["macros"] = [HIDDEN, *DEFINES]
    # Not called "uv": -luv could find another libuv in a folder that LDFLAGS names.
    libraries = [] if SYSTEM_LIBUV else [("pyuvnet_uv", libuv)]
    commands = {"build_clib": BuildLibuv, "build_ext": BuildCore}
    commands["egg_info"] = runpy.run_path("vendor/libuv/sbom.py")["EggInfo"]
    setup(ext_modules=[core], libraries=libraries, cmdclass=commands, **project_page.fields())


if __name__ == "__main__":
    main()

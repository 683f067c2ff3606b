"""Translates and compiles what changed, and nothing else, on all processors. setup.py uses it.

Next to each file that is made lies a record: how it was made, and a digest of every file that went
into it. It is made again when one of them differs. Which files those are is not guessed but comes
from the tool that read them: from Cython the .pxd files that it parsed, from gcc and clang the
headers (-MD). Other compilers do not say, and each of their objects depends on all headers.

These are digests and not times because a checkout renews times, and because a changed .pxd often
leaves the C of a module as it was, which then need not be compiled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

# What runs once, for a process or a server, or when something has failed. It is built for size,
# which takes a third of its code away; what each connection or chunk runs is built for speed.
COLD = {"alive", "bound", "debugging", "descriptors", "errors", "hello", "hidden_calls", "info"}
COLD |= {
    "listener",
    "meter",
    "names",
    "overlay",
    "process",
    "rule_input",
    "server_base",
    "shutdown",
}
COLD |= {"signals", "socketaddress", "transfer"}


class Digests(dict[str, "str | None"]):
    """The digest of each file by its path, as the file was when it was first asked for."""

    def __missing__(self, path: str) -> str | None:
        try:
            self[path] = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
        except OSError:
            self[path] = None
        return self[path]


digests = Digests()


def look_at(paths: Iterable[str]) -> None:
    """Digest files before anything is made of them: one saved meanwhile counts as changed."""
    for path in paths:
        digests[path]


def record_of(made: str) -> Path:
    return Path(f"{made}.json")


def is_current(made: str, how: str) -> bool:
    """Whether `made` is there, was made in this way, and of files that have not changed since."""
    try:
        record = json.loads(record_of(made).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    read = record["read"].items()
    return (
        os.path.exists(made)
        and record["how"] == how
        and all(digests[path] == digest for path, digest in read)
    )


def forget(made: str) -> None:
    """Drop the record, before a tool begins that may fail and leave half a file."""
    Path(made).parent.mkdir(parents=True, exist_ok=True)
    record_of(made).unlink(missing_ok=True)


def note(made: str, how: str, read: Iterable[str]) -> None:
    record = {"how": how, "read": {path: digests[path] for path in sorted(read)}}
    record_of(made).write_text(json.dumps(record, indent=0), "utf-8")
    digests.pop(made, None)


def translate_one(source: str, made: str, directives: dict[str, Any]) -> list[str] | None:
    """Have Cython write a module's C; returns the files of ours that it read, None if it failed."""
    import Cython
    from Cython.Compiler.Main import Context, compile_single
    from Cython.Compiler.Options import CompilationOptions

    read = {source, source.replace(".pyx", ".pxd")}  # the second counts also before it exists

    class Listening(Context):
        def parse(self, source_desc: Any, *rest: Any, **named: Any) -> Any:
            read.add(os.path.relpath(source_desc.filename))
            return super().parse(source_desc, *rest, **named)

    # Sources outside of the package name its modules, too; pip's build has no path to here.
    options = CompilationOptions(
        compiler_directives=directives, output_file=made, include_path=[os.curdir]
    )
    name = source.removesuffix(".pyx").replace(os.sep, ".").replace("/", ".")
    result = compile_single(source, options, name, context=Listening.from_options(options))
    # Cython's own .pxd files come and go with a build's environment: its version stands for them.
    theirs = os.path.relpath(os.path.dirname(Cython.__file__)) + os.sep
    return None if result.num_errors else [path for path in read if not path.startswith(theirs)]


def translate(sources: Sequence[str], folder: str, directives: dict[str, Any]) -> list[str]:
    """Return the C files of `sources`, which are below `folder`, those that changed translated."""
    look_at(str(path) for path in Path(sources[0]).parent.glob("*.p[xy][dx]"))
    made = [str(Path(folder, source).with_suffix(".c")) for source in sources]
    how = json.dumps(directives, sort_keys=True)
    stale = [pair for pair in zip(sources, made, strict=True) if not is_current(pair[1], how)]
    stale.sort(key=lambda pair: -os.path.getsize(pair[0]))  # so that none is left for the end
    for _, path in stale:
        forget(path)
    work = [*zip(*stale, strict=True), repeat(directives)]
    if len(stale) > 1:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(translate_one, *work))
    else:
        results = list(map(translate_one, *work)) if stale else []
    for (_, path), read in zip(stale, results, strict=True):
        if read is not None:
            note(path, how, read)
    failed = [source for (source, _), read in zip(stale, results, strict=True) if read is None]
    if failed:
        from setuptools.errors import CompileError

        raise CompileError(f"Cython does not translate {', '.join(failed)}")
    return made


def headers_of(rule: Path) -> list[str] | None:
    """Return what a .d file, a rule of make, says the object depends on."""
    try:
        text = rule.read_text("utf-8")
    except OSError:
        return None
    _, _, dependencies = text.replace("\\\n", " ").partition(": ")
    paths = re.findall(r"(?:\\[ #]|\S)+", dependencies)
    return [re.sub(r"\\([ #])", r"\1", path).replace("$$", "$") for path in paths]


def speed_up(compiler: Any, headers: Sequence[str], cold: Sequence[str] = ()) -> None:
    """Make a compiler of setuptools use all processors, and leave alone what is current.

    Args:
        cold: more flags for the modules of COLD.
    """
    look_at(headers)
    compile_one = compiler.compile
    if getattr(compiler, "initialized", True) is False:
        compiler.initialize()  # MSVC's, which would otherwise happen in several threads at once

    def work(source: str, output_dir: str, options: dict[str, Any]) -> None:
        (made,) = compiler.object_filenames([source], output_dir=output_dir)
        if cold and Path(source).stem in COLD:
            options = options | {"extra_postargs": [*(options.get("extra_postargs") or ()), *cold]}
        how = repr([getattr(compiler, "compiler_so", None), sorted(options.items())])
        if is_current(made, how):
            return
        forget(made)
        rule = Path(made).with_suffix(".d")
        if compiler.compiler_type != "msvc":
            rule.unlink(missing_ok=True)
            more = [*(options.get("extra_postargs") or ()), "-MD", "-MF", str(rule)]
            options = options | {"extra_postargs": more}
        compile_one([source], output_dir=output_dir, **options)
        note(made, how, [source, *(headers_of(rule) or headers)])

    def compile_all(
        sources: Sequence[str], output_dir: str | None = None, **options: Any
    ) -> list[str]:
        look_at(sources)
        options.pop("depends", None)
        largest_first = sorted(sources, key=os.path.getsize, reverse=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(work, largest_first, repeat(output_dir), repeat(options)))
        return list(compiler.object_filenames(sources, output_dir=output_dir))

    compiler.compile = compile_all

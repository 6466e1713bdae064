"""C to BPF objects: clang, in parallel, behind a cache that is addressed by content."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from plait.core.errors import PlaitError, Position, SystemProblem, raise_all

LIBRARY = Path(__file__).parent / "bpf"
"""The C library that every program includes; its owner is 'core'."""

COMPILERS = ("clang-19", "clang-20", "clang-18", "clang-17", "clang-16", "clang-15", "clang")

FLAGS = (
    *("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11"),
    *("-Wall", "-Wextra", "-Wshadow", "-Werror", "-Wno-unused-command-line-argument"),
    "-Wno-unused-parameter",  # a fragment's parameters are given, whether it needs them or not
    *("-fno-vectorize", "-fno-slp-vectorize"),  # BPF cannot; to try takes a tenth of the time
    *("-fno-color-diagnostics", "-fno-caret-diagnostics", "-fdebug-compilation-dir=."),
)

_DIGEST_BYTES = 32

_ANY = "*"  # in the name of an object: made by whatever compiler

_MESSAGE = re.compile(
    r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?:fatal )?error: (?P<text>.*)$"
)
_CALL = re.compile(  # of a fragment, as the template writes it
    r'^#line (?P<line>\d+) "(?P<file>[^"]+)"\n\s*verdict = (?P<call>.*\));', re.MULTILINE
)
_STACK = "BPF stack limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """Objects by program name, how many came from the cache, and what went wrong beside them."""

    objects: Mapping[str, bytes]
    cached: int
    warnings: tuple[str, ...] = ()


def compile_sources(
    sources: Mapping[str, str], headers: Mapping[str, Path], cache: Path
) -> Compiled:
    """Compile each source; `headers` are folders by the names of the plugins that own them.

    Raises PlaitError at the plugin's own file and line, SystemProblem without a compiler. A cache
    that cannot be written costs time, not the result: it becomes a warning. Where no compiler is
    installed (any more), what any compiler has made of the same source will do.
    """
    folders = {"core": LIBRARY, **headers}
    keys = {name: _key(source, folders) for name, source in sources.items()}
    objects = {
        name: data for name, key in keys.items() if (data := _cached(cache, key)) is not None
    }
    missing = [name for name in sources if name not in objects]
    warnings: list[str] = []
    if missing:
        compiler = find_compiler()
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            runs = [pool.submit(_compile, compiler, n, sources[n], folders) for n in missing]
        failed = [error for run in runs if isinstance(error := run.exception(), PlaitError)]
        raise_all({str(error): error for error in failed}.values())  # programs share headers
        for name, run in zip(missing, runs, strict=True):
            objects[name] = run.result()
            try:
                _write(cache / keys[name], objects[name])
            except OSError as error:
                warnings.append(f"the compile cache cannot be written: {error}")
    return Compiled(
        objects={name: objects[name] for name in sources},
        cached=len(sources) - len(missing),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def compile_flags(folders: Iterable[str | Path]) -> tuple[str, ...]:
    """How clang is called for programs that include headers of these folders."""
    system = f"/usr/include/{platform.machine()}-linux-gnu"
    return (*FLAGS, *(f"-I{folder}" for folder in (*folders, system)))


def link_headers(folder: Path, headers: Mapping[str, Path]) -> None:
    """Let the sources in a folder find headers as OWNER/NAME: wherever Plait and its plugins are
    installed, they become the same object, whose places are the same.
    """
    for owner, target in headers.items():
        link = folder / owner
        if link.is_symlink():
            link.unlink()
        link.symlink_to(target.absolute())


def find_compiler() -> str:
    """Path of clang: $PLAIT_CLANG, else the newest that BPF is tested with."""
    names = (os.environ["PLAIT_CLANG"],) if "PLAIT_CLANG" in os.environ else COMPILERS
    for name in names:
        if path := shutil.which(name):
            return path
    raise SystemProblem(
        f"no clang: none of {', '.join(names)} is installed",
        hint="apt-get install clang-19 libbpf-dev",
    )


def stack_advice(plugins: Iterable[str]) -> tuple[str, str]:
    """(expected, hint) where the fragments of a program take too much stack together.

    They are compiled into one: neither clang nor the verifier can tell whose variables are large.
    """
    own = ", ".join(sorted(set(plugins) - {"core"}))
    return (
        f"at most 512 bytes of local variables on each path through the fragments of {own}",
        "keep large ones in a map of one entry, of type BPF_MAP_TYPE_PERCPU_ARRAY",
    )


def _key(source: str, folders: Mapping[str, Path]) -> str:
    """Name of the object in the cache: what it is made of, and by which compiler."""
    content = hashlib.sha256()
    for text in (*FLAGS, source):
        content.update(text.encode() + b"\0")
    for owner, folder in sorted(folders.items()):
        for header in sorted(folder.glob("*.h")):
            content.update(f"{owner}/{header.name}\0".encode() + header.read_bytes() + b"\0")
    return f"{content.hexdigest()}-{_compiler_identity()}.o"


def _compiler_identity() -> str:
    """What tells one compiler from another without running it: its file and that file's age."""
    try:
        compiler = Path(find_compiler()).resolve()
    except SystemProblem:
        return _ANY
    age = compiler.stat().st_mtime_ns
    return hashlib.sha256(f"{compiler} {age}".encode()).hexdigest()[:16]


def _compile(compiler: str, name: str, source: str, folders: Mapping[str, Path]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="plait-") as scratch:
        link_headers(Path(scratch), folders)
        path = Path(scratch) / f"{name}.c"
        path.write_text(source, encoding="utf-8")
        command = [compiler, *compile_flags(folders), "-c", path.name, "-o", f"{name}.o"]
        run = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if run.returncode:
            raise _explain(name, source, run.stderr, folders)
        return path.with_suffix(".o").read_bytes()


def _explain(name: str, source: str, messages: str, folders: Mapping[str, Path]) -> PlaitError:
    if _STACK in messages:
        expected, hint = stack_advice(folders)
        return PlaitError(f"program {name} needs too much stack", expected=expected, hint=hint)
    match = next(filter(None, map(_MESSAGE.match, messages.splitlines())), None)
    if match is None:
        return SystemProblem(f"clang failed on {name}: {messages.strip() or 'no message'}")
    owner, _, header = match["file"].rpartition("/")
    file = folders[owner] / header if owner in folders else Path(match["file"])
    at = Position(file=file, line=int(match["line"]), column=int(match["column"]))
    if owner not in folders:
        return PlaitError(f"generated program {name} does not compile: {match['text']}", at=at)
    what = f"plugin {owner!r} does not compile: {match['text']}"
    calls = {(each["file"], each["line"]): each["call"] for each in _CALL.finditer(source)}
    call = calls.get((match["file"], match["line"]))
    if call is None:
        return PlaitError(what, at=at)
    return PlaitError(what, at=_named(at, call), expected=f"expected a fragment, called as {call}")


def _named(at: Position, call: str) -> Position:
    """The function's name in a line: clang counts columns in the call, which is elsewhere."""
    function = call.partition("(")[0]
    lines = at.file.read_text(encoding="utf-8").splitlines()
    return replace(at, column=lines[at.line - 1].find(function) + 1, width=len(function))


def _cached(cache: Path, key: str) -> bytes | None:
    try:
        if _ANY not in key:
            return _whole((cache / key).read_bytes())
        return next((_whole(path.read_bytes()) for path in sorted(cache.glob(key))), None)
    except OSError:
        return None


def _whole(stored: bytes) -> bytes | None:
    """The object in a cache file, which a digest of it precedes; None when it is damaged."""
    digest, image = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    return image if hashlib.sha256(image).digest() == digest else None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(hashlib.sha256(data).digest() + data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

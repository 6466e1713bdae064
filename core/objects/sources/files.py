"""Objects from files: read again only what changed, keep what was good when a file goes bad."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain
from operator import attrgetter
from pathlib import Path
from stat import S_ISREG

from plait.core.config.yaml import split_documents
from plait.core.errors import PlaitError, Position
from plait.core.objects.model import Object
from plait.core.objects.parse import Kinds, Parsed, kind_table, parse_text

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the files say now, in the order of their names and of the lines in them.

    `problems` keep something from counting; `warnings` name what was passed over.
    """

    objects: tuple[Object, ...]
    problems: tuple[PlaitError, ...]
    warnings: tuple[PlaitError, ...]


_FEW = 100  # of very many changes, the kernel may have told only some


class FileSource:
    """Reads the objects below `paths`: files, or directories with *.yaml, *.yml and *.json files.

    Names that begin with a dot are passed over: they belong to editors, and to the way in which
    Kubernetes mounts a ConfigMap. While a file has an error, nothing that it held before and that
    its good documents do not define is taken away: nobody can tell whether that was intended.
    """

    def __init__(self, paths: Sequence[Path], kinds: Iterable[type[Object]]) -> None:
        self._paths = tuple(paths)
        self._kinds = kind_table(kinds)
        self._files: dict[str, _File] = {}
        self._missing: tuple[PlaitError, ...] = ()
        self._direct = False  # no file is read by way of a symbolic link

    def scan(self, changed: Set[str] = frozenset()) -> Snapshot:
        """The objects of all files; a path that does not exist (yet) has none, and a warning.

        `changed` are the paths below which anything may have changed since the last scan, when
        that is known: when they are a few files that were read before, only these are looked at.
        """
        now = time.time_ns()
        if 0 < len(changed) <= _FEW and self._direct and changed <= self._files.keys():
            for path in changed:
                self._files[path] = self._read(path, now)
        else:
            self._look_everywhere(now)
        files = self._files.values()
        noted = [file for file in files if file.problems or file.warnings]
        return Snapshot(
            objects=tuple(chain.from_iterable(map(_OBJECTS, files))),
            problems=tuple(chain.from_iterable(file.problems for file in noted)),
            warnings=(
                *self._missing,
                *chain.from_iterable(file.warnings for file in noted),
            ),
        )

    def _look_everywhere(self, now: int) -> None:
        read: dict[str, _File] = {}
        missing: list[PlaitError] = []
        for path in self._paths:
            found = tuple(_files(path))
            if not found and not path.exists():
                missing.append(PlaitError(f"{path} does not exist: no objects from there"))
            for file in found:
                if file not in read:
                    read[file] = self._read(file, now)
        self._files = read
        self._missing = tuple(missing)
        self._direct = _without_links(read)

    def _read(self, path: str, now: int) -> "_File":
        before = self._files.get(path, _File())
        try:
            signature = _signature(path, now)
            if signature is not None and signature == before.signature:
                return before
            text = (file := Path(path)).read_text(encoding="utf-8")
        except FileNotFoundError:
            return _File()
        except (OSError, UnicodeDecodeError) as error:
            problem = PlaitError(f"cannot be read: {error}", at=Position(file=Path(path), line=1))
            return replace(before, signature=None, problems=(problem,))
        return _parse(file, text, signature, before, self._kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A document without problems, and the line of the file on which it began."""

    line: int
    parsed: Parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file as it was read. `documents` are its good ones by the digest of their text."""

    signature: tuple[int, ...] | None = None
    documents: dict[bytes, _Document] | None = None
    objects: tuple[Object, ...] = ()
    problems: tuple[PlaitError, ...] = ()
    warnings: tuple[PlaitError, ...] = ()


_OBJECTS = attrgetter("objects")

_TICK_NS = 50_000_000


def _signature(path: str, now: int) -> tuple[int, ...] | None:
    """What differs after any write, or None when the last write is too recent to be sure.

    The kernel stamps a file with the time of the last clock tick: two writes within one are told
    apart by nothing. ctime, unlike mtime, cannot be set back by `cp -p` or `rsync -t`.
    """
    stat = os.stat(path)  # noqa: PTH116 - as text: ten thousand of them are made for each scan
    if not S_ISREG(stat.st_mode):
        raise OSError("it is no regular file")
    if now - stat.st_ctime_ns < _TICK_NS:
        return None
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _files(path: Path) -> Iterator[str]:
    """The files to read at `path` or below it, in name order; symbolic links are followed."""
    if not path.is_dir():
        if path.exists():
            yield str(path)
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        stat = Path(folder).stat()
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()  # a link back to where we have been
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield f"{folder}/{name}"


def _without_links(paths: Iterable[str]) -> bool:
    """True when each path is the one and only name of its file."""
    found = tuple(paths)
    folders = {path.rpartition("/")[0] for path in found}
    return not any(map(os.path.islink, found)) and all(
        folder == os.path.realpath(folder) for folder in folders
    )


_WORTH_KEEPING = 3  # documents of a file: a few are parsed again in no time


def _parse(
    path: Path, text: str, signature: tuple[int, ...] | None, before: _File, kinds: Kinds
) -> _File:
    known = before.documents or {}
    documents: dict[bytes, _Document] = {}
    parsed: list[Parsed] = []
    for line, document in _consume(split_documents(text)):
        digest = blake2b(document.encode(), digest_size=16).digest()
        cached = known.get(digest)
        if cached is not None:
            result = _moved(cached.parsed, line - cached.line)
        else:
            result = parse_text(document, path, kinds, first_line=line)
        parsed.append(result)
        if not result.problems:
            documents[digest] = _Document(line=line, parsed=result)

    objects = tuple(chain.from_iterable(each.objects for each in parsed))
    problems = tuple(chain.from_iterable(each.problems for each in parsed))
    if problems:
        defined = {each.key for each in objects}
        objects += tuple(each for each in before.objects if each.key not in defined)
    return _File(
        signature=signature,
        documents=documents if len(documents) >= _WORTH_KEEPING else None,
        objects=objects,
        problems=problems,
        warnings=_one_of_a_kind(chain.from_iterable(each.warnings for each in parsed)),
    )


def _consume(documents: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Each document, let go as soon as it is done with: there may be tens of thousands."""
    documents.reverse()
    while documents:
        yield documents.pop()


def _moved(parsed: Parsed, lines: int) -> Parsed:
    """The same, when text above it has become longer or shorter."""
    if lines == 0:
        return parsed
    return Parsed(
        objects=tuple(replace(each, at=_below(each.at, lines)) for each in parsed.objects),
        warnings=tuple(
            PlaitError(each.what, at=_below(each.at, lines), hint=each.hint)
            for each in parsed.warnings
        ),
    )


def _below(at: Position | None, lines: int) -> Position | None:
    return at and replace(at, line=at.line + lines)


def _one_of_a_kind(warnings: Iterable[PlaitError]) -> tuple[PlaitError, ...]:
    """Of warnings that say the same, the first: a file may hold a thousand Deployments."""
    first: dict[str, PlaitError] = {}
    for warning in warnings:
        first.setdefault(warning.what, warning)
    return tuple(first.values())

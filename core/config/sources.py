"""The files of a config: read, merged, and asked again where a value came from."""

from dataclasses import dataclass
from pathlib import Path

from plait.core.config.yaml import DataPath, load, locate, read_text
from plait.core.errors import PlaitError, Position, raise_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, its text, and the plain data that it holds."""

    file: Path
    text: str
    data: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The files of one config, in the order in which they are merged."""

    files: tuple[Source, ...]

    def merged(self) -> object:
        """All files as one. Raises for every key to which two files give a value."""
        whole: object = None
        problems: list[PlaitError] = []
        for index, source in enumerate(self.files):
            clashes: list[DataPath] = []
            whole = _merge(whole, source.data, (), clashes)
            before = Sources(files=self.files[:index])
            problems += [_clash(path, source, before) for path in clashes]
        raise_all(problems)
        return {} if whole is None else whole

    def locate(self, path: DataPath, *, key: bool = False) -> Position:
        """Where the value at `path` stands (its last key, with `key`), or as near as there is."""
        source = max(self.files, key=lambda each: _depth(each.data, path))
        return locate(source.text, source.file, path, key=key)


def read_sources(path: Path) -> Sources:
    """The config file at `path`, or every `*.yaml` of the folder, in the order of their names."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise PlaitError(f"{path} holds no config", expected="expected files named *.yaml")
    read: list[Source] = []
    problems: list[PlaitError] = []
    for file in files:
        try:
            text = read_text(file)
            read.append(Source(file=file, text=text, data=load(text, file)))
        except PlaitError as error:
            problems.append(error)
    raise_all(problems)
    return Sources(files=tuple(read))


def _merge(whole: object, data: object, path: DataPath, clashes: list[DataPath]) -> object:
    """`whole` with `data` added; mappings merge, anything else has one file that says it."""
    if whole is None or data is None:
        return data if whole is None else whole
    if isinstance(whole, dict) and isinstance(data, dict):
        merged = dict(whole)
        for key, value in data.items():
            merged[key] = _merge(whole.get(key), value, (*path, key), clashes)
        return merged
    if path != ("apiVersion",) or whole != data:  # every file may state the same version
        clashes.append(path)
    return whole


def _clash(path: DataPath, source: Source, before: Sources) -> PlaitError:
    return PlaitError(
        f"'{path[-1]}' has a value already" if path else "the config is a mapping already",
        at=locate(source.text, source.file, path, key=True),
        expected=f"the other is at {before.locate(path, key=True)}",
        hint="keep one of the two",
    )


def _depth(data: object, path: DataPath) -> int:
    """How many steps of `path` lead somewhere in `data`."""
    match data, path:
        case dict(), (key, *rest) if key in data:
            return 1 + _depth(data[key], tuple(rest))
        case list(), (int(index), *rest) if index < len(data):
            return 1 + _depth(data[index], tuple(rest))
        case _:
            return 0

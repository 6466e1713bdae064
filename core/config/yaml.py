"""YAML text to plain data, fast; where a value stands is worked out only when a message needs it.

Plain scalars follow YAML 1.2 (the core schema), not PyYAML's YAML 1.1: `no`, `12:34:56` and
`2024-01-01` are text, and `010` is not quietly eight.
"""

import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from plait.core.errors import PlaitError, Position

DataPath = tuple[str | int, ...]
"""The keys and list indexes (from 0) that lead from a document's top to a value."""


def read_text(file: Path) -> str:
    """What is in `file`. Raises `PlaitError` when it cannot be read, or is no UTF-8 text."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise PlaitError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"this line is not UTF-8 text: {error.reason}"
        raise PlaitError(what, at=Position(file=file, line=line)) from error


def load(text: str, file: Path, *, first_line: int = 1) -> object:
    """The one document in `text` as dicts, lists, str, int, float, bool and None.

    `first_line` is the line of `file` on which `text` begins (see `split_documents`). Raises
    `PlaitError` at the position of broken YAML, or of a key that a mapping has twice.
    """
    loader = _Loader(text)
    try:
        return loader.plain()
    except yaml.YAMLError as error:
        raise _refusal(error, text, file, first_line) from error
    finally:
        loader.dispose()


def locate(
    text: str, file: Path, path: DataPath, *, key: bool = False, first_line: int = 1
) -> Position:
    """Where the value at `path` stands; with `key`, where the last key of `path` does.

    A path that leads nowhere is followed as far as it goes. `text` has been through `load`.
    """
    loader = _Loader(text)
    try:
        place: yaml.Node | None = loader.get_single_node()
    finally:
        loader.dispose()
    for depth, part in enumerate(path, start=1):
        found = _child(place, part)
        if found is None:
            break
        key_node, value_node = found
        place = key_node if key and depth == len(path) else value_node
    return _position(place, file, first_line)


def split_documents(text: str) -> list[tuple[int, str]]:
    """The documents of a stream as (first line, text), cut at lines that begin with `---`.

    Nothing is parsed: YAML allows `---` at the start of a line nowhere else. A document may hold
    only comments; then it loads as None.
    """
    starts = [0]
    cut = text.find("\n---")
    while cut >= 0:
        if text[cut + 4 : cut + 5] in ("", " ", "\t", "\r", "\n"):
            starts.append(cut + 1)
        cut = text.find("\n---", cut + 4)
    return [document for document in _numbered(text, starts) if not document[1].isspace()]


def _numbered(text: str, starts: list[int]) -> Iterator[tuple[int, str]]:
    line = 1
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield line, text[start:end]
        line += text.count("\n", start, end)


class _Loader(yaml.CSafeLoader):
    """libyaml's parser with YAML 1.2 scalars, which refuses a key that stands twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flat: set[yaml.Node] = set()
        self._made: dict[yaml.Node, object] = {}

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: tuple[bool, bool]) -> str:
        """The tag of a node that states none: PyYAML's own, without what is not used here."""
        if kind is not yaml.ScalarNode:
            return _MAPPING if kind is yaml.MappingNode else _SEQUENCE
        if implicit[0] and value is not None:
            tag: str
            for tag, pattern in self.yaml_implicit_resolvers.get(value[:1], ()):
                if pattern.match(value):
                    return tag
        return _TEXT

    def plain(self) -> object:
        """The document as data. What is common is made here, three times as fast as by PyYAML."""
        node = self.get_single_node()
        return None if node is None else self._make(node)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put what `<<` merges before the mapping's own keys, which win, as the first source does.

        PyYAML's own does the same, but from 6.0.4 on lets a merged key win over an overriding one.
        """
        if node in self._flat:
            return
        self._flat.add(node)
        _refuse_twins(node)
        pairs: dict[object, tuple[yaml.Node, yaml.Node]] = {}
        for source in reversed(_merge_sources(node)):
            if not isinstance(source, yaml.MappingNode):
                what = "`<<` merges a mapping, or a list of mappings"
                raise yaml.constructor.ConstructorError(None, None, what, source.start_mark)
            self.flatten_mapping(source)
            pairs.update(_own_pairs(source))
        pairs.update(_own_pairs(node))
        node.value = list(pairs.values())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """PyYAML's own, with a place for what Python says of an odd number or date."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, ArithmeticError, LookupError) as error:
            what = f"this value cannot be read: {error}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error

    def _make(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.ScalarNode):
            return node.value if node.tag == _TEXT else self.construct_object(node)
        if node in self._made:  # an alias
            return self._made[node]
        if isinstance(node, yaml.MappingNode) and node.tag == _MAPPING:
            return self._make_mapping(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQUENCE:
            return self._make_sequence(node)
        return self.construct_object(node, deep=True)

    def _make_mapping(self, node: yaml.MappingNode) -> object:
        for key, _ in node.value:
            if key.tag != _TEXT:
                return self.construct_object(node, deep=True)
        made: dict[str, object] = {}
        self._made[node] = made
        for key, value in node.value:
            plain = value.tag == _TEXT and isinstance(value, yaml.ScalarNode)
            made[key.value] = value.value if plain else self._make(value)
        if len(made) < len(node.value):
            _refuse_twins(node)
        return made

    def _make_sequence(self, node: yaml.SequenceNode) -> object:
        made: list[object] = []
        self._made[node] = made
        made.extend(map(self._make, node.value))
        return made


_TEXT, _MAPPING, _SEQUENCE, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq", "merge")
)

_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?", list("-+0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first
    )


def _refuse_twins(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, Hashable]] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            name = (key.tag, key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' stands here a second time", key.start_mark
                )
            seen.add(name)


def _refusal(error: yaml.YAMLError, text: str, file: Path, first_line: int) -> PlaitError:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return _at_its_mark(error, error.problem_mark, text, file, first_line)
    if isinstance(error, ReaderError):
        before = text.encode()[: error.position].decode(errors="ignore")
        at = Position(
            file=file,
            line=before.count("\n") + first_line,
            column=len(before) - before.rfind("\n"),
        )
        return PlaitError(error.reason, at=at)
    return PlaitError(str(error), at=Position(file=file, line=first_line))


_MEANINGS = (
    ("\t", "a tab stands where lines are indented", "indent with spaces"),
    ("cannot start any token", "text cannot begin with '{char}'", "put it in quotes"),
    ("undefined alias", "nothing before this is named so", "put text that begins with * in quotes"),
    ("a constructor for", "the tag {tag} means nothing here", "write the value without it"),
    ("unhashable key", "a list or a mapping cannot be a key", "put text with brackets in quotes"),
    ("another document", "a second document begins here", "remove the `---`, or use two files"),
    (
        "mapping values are not allowed",
        "no key can stand here: it is indented too far, or follows another on its line",
        "put text that holds a colon in quotes",
    ),
    ("unexpected end of stream", "this quote is not closed", "close it"),
    (
        "did not find expected key",
        "this is no key of the mapping that begins in line {begin}",
        "indent it as the keys before, or put the text before it in quotes",
    ),
    (
        "did not find expected '-'",
        "this is no item of the list that begins in line {begin}",
        "indent it as the items before, and begin it with '- '",
    ),
    (
        "did not find expected ','",
        "the brackets that open in line {begin} are not closed",
        "close them, or put a comma before",
    ),
)
"""What libyaml's words stand for, and what to do about it."""


def _at_its_mark(
    error: yaml.MarkedYAMLError, mark: yaml.Mark, text: str, file: Path, first_line: int
) -> PlaitError:
    """What the parser says, in words that tell what to write instead where there are some."""
    said = error.problem or ""
    what, hint = ", ".join(part for part in (said, error.context) if part), None
    begin = error.context_mark or mark
    if not text[mark.index :].strip():
        mark = begin  # at the end there is nothing to see
    char = text[mark.index : mark.index + 1]
    for words, meaning, advice in _MEANINGS:
        if words in said or words == char:
            tag = said.rpartition("tag ")[2].strip("'").replace("tag:yaml.org,2002:", "!!")
            what = meaning.format(char=char, tag=tag, begin=begin.line + first_line)
            hint = advice
            break
    at = Position(file=file, line=mark.line + first_line, column=mark.column + 1)
    return PlaitError(what, at=at, hint=hint)


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node | None, yaml.Node] | None:
    """The key node (None in a list) and the value node of one step, or None when there is none."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        return (None, node.value[part]) if part < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if key.value == str(part):
            return key, value
    merged = (_child(source, part) for source in _merge_sources(node))
    return next((found for found in merged if found), None)


def _own_pairs(node: yaml.MappingNode) -> dict[object, tuple[yaml.Node, yaml.Node]]:
    """The (key, value) nodes of a mapping by what tells keys apart."""
    return {
        (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key: (key, value)
        for key, value in node.value
        if key.tag != _MERGE
    }


def _merge_sources(node: yaml.MappingNode) -> list[Any]:
    sources: list[Any] = []
    for key, value in node.value:
        if key.tag == _MERGE:
            sources += value.value if isinstance(value, yaml.SequenceNode) else [value]
    return sources


def _position(node: yaml.Node | None, file: Path, first_line: int) -> Position:
    if node is None:
        return Position(file=file, line=first_line)
    start, end = node.start_mark, node.end_mark
    one_line = isinstance(node, yaml.ScalarNode) and start.line == end.line
    return Position(
        file=file,
        line=start.line + first_line,
        column=start.column + 1,
        width=max(end.column - start.column, 1) if one_line else 1,
    )

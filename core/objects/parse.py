"""YAML documents to objects: Kubernetes' shapes, every fault of a document found at once."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from plait.core.config.yaml import DataPath, load, locate
from plait.core.errors import PlaitError, Position
from plait.core.objects.document import Fault, Field
from plait.core.objects.model import Meta, Object

Kinds = Mapping[tuple[str, str], type[Object]]
"""Kinds by (apiVersion, kind), as a document states them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a text holds. Where `problems` is not empty, objects that have one are missing.

    `warnings` name what was passed over: documents of kinds that no plugin knows.
    """

    objects: tuple[Object, ...] = ()
    problems: tuple[PlaitError, ...] = ()
    warnings: tuple[PlaitError, ...] = ()


def kind_table(kinds: Iterable[type[Object]]) -> Kinds:
    """Kinds by what documents call them. A later one with the same name replaces the earlier."""
    return {(kind.api_version, kind.kind): kind for kind in kinds}


def parse_text(text: str, file: Path, kinds: Kinds, *, first_line: int = 1) -> Parsed:
    """The objects of one YAML document, which is on line `first_line` of `file`.

    A Kubernetes `List` holds several; a document of nothing but comments holds none.
    """
    try:
        data = load(text, file, first_line=first_line)
    except PlaitError as error:
        return Parsed(problems=(error,))
    if data is None:
        return Parsed()

    faults: dict[DataPath, Fault] = {}
    unknown: list[Fault] = []
    objects: list[Object] = []
    document = Field(data, faults)
    items = _items(document)
    for item, line in zip(items, _lines(text, len(items)), strict=True):
        found = len(faults)
        parsed = _parse(item, kinds, Position(file=file, line=first_line + line), unknown)
        if parsed and len(faults) == found:
            objects.append(parsed)
    return Parsed(
        objects=tuple(objects),
        problems=_errors(faults.values(), text, file, first_line),
        warnings=_errors(unknown, text, file, first_line),
    )


def _items(document: Field) -> list[Field]:
    if document["kind"].value == "List" and document["apiVersion"].value == "v1":
        return list(document["items"])
    return [document]


def _parse(document: Field, kinds: Kinds, at: Position, unknown: list[Fault]) -> Object | None:
    api_version, name = document["apiVersion"].text(), document["kind"].text()
    if not (api_version and name):
        return None
    kind = kinds.get((api_version, name))
    if kind is None:
        unknown.append(_unknown(document["kind"], api_version, kinds))
        return None
    document["metadata"].require("a mapping that holds a name")
    meta = Meta.parse(document["metadata"], namespaced=kind.namespaced)
    try:
        return kind.parse(document, meta, at)
    except PlaitError:
        raise
    except Exception as error:  # of a plugin's kind, most likely
        what = f"{kind.__module__} fails on this {name}: {type(error).__name__}: {error}"
        raise PlaitError(what, at=at, hint="report this to the authors of the plugin") from error


def _unknown(kind: Field, api_version: str, kinds: Kinds) -> Fault:
    known = {f"{name} ({version})": None for version, name in kinds}
    near = get_close_matches(f"{kind.value} ({api_version})", known, n=1)
    return Fault(
        path=kind.path,
        what=f"{kind.value} ({api_version}) is passed over: no plugin knows this kind",
        hint=f"did you mean {near[0]}?" if near else None,
    )


def _errors(
    faults: Iterable[Fault], text: str, file: Path, first_line: int
) -> tuple[PlaitError, ...]:
    """Faults as errors with their places, in the order in which a reader meets them."""
    found = tuple(faults)
    if not found:
        return ()
    placed = [
        (locate(text, file, fault.path, key=fault.key, first_line=first_line), fault)
        for fault in found[:_SHOWN]
    ]
    placed.sort(key=lambda each: (each[0].line, each[0].column))
    errors = [
        PlaitError(fault.what, at=at, expected=fault.expected, hint=fault.hint)
        for at, fault in placed
    ]
    if len(found) > _SHOWN:
        at = Position(file=file, line=first_line)
        errors.append(PlaitError(f"and {len(found) - _SHOWN} more problems", at=at))
    return tuple(errors)


_SHOWN = 20  # to find a place takes a pass over the document, and a List may hold thousands


_CONTENT = re.compile(r"^(?!---|%|[ \t]*#|[ \t]*$)", re.MULTILINE)
_ITEMS = re.compile(r"^items:[ \t]*\n([ \t]*)- ", re.MULTILINE)


def _lines(text: str, count: int) -> list[int]:
    """The lines, counted from 0, on which a document's `count` objects begin.

    Good for telling objects apart without a second, slow pass over the document. When a list is
    written in an unusual way, all its items are said to begin where it does.
    """
    begin = _CONTENT.search(text)
    first = text.count("\n", 0, begin.start()) if begin else 0
    items = _ITEMS.search(text)
    if items is None:
        return [first] * count
    dashes = re.compile(f"^{items[1]}- ", re.MULTILINE).finditer(text, items.start(1))
    lines, line, last = [], 0, 0
    for dash in dashes:
        line += text.count("\n", last, dash.start())
        last = dash.start()
        lines.append(line)
    return lines if len(lines) == count else [first] * count

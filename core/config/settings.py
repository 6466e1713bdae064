"""One frozen dataclass per section: it gives the JSON Schema, the defaults and the reference.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class CacheConfig:
        size: int = setting(1024, doc="entries kept", minimum=1)
        mode: Mode = setting(doc="what to keep")              # no default: required
        limits: Limits = setting(Limits(), doc="what it may use")

A key in YAML is the field's name in camelCase. A field may be bool, int, str, a StrEnum, Path, an
IPv4 or IPv6 address or network (or either), another such dataclass, `tuple[T, ...]`, `T | None`. A
dataclass may refuse a combination of values in `__post_init__` with a `ValueError`.
"""

import dataclasses
import functools
import operator
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    TypedDict,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

from plait.core.config.text import text_of

T = TypeVar("T")


# JSON Schema's own names rule out the class syntax.
Schema = TypedDict(
    "Schema",
    {
        "$schema": str,
        "title": str,
        "description": str,
        "type": str | list[str],
        "properties": dict[str, "Schema"],
        "required": list[str],
        "additionalProperties": bool,
        "items": "Schema",
        "anyOf": list["Schema"],
        "enum": list[str],
        "const": str,
        "minimum": int,
        "maximum": int,
        "pattern": str,
        "format": str,
        "default": object,
    },
    total=False,
)
"""The part of JSON Schema 2020-12 that sections are described in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What `setting` says of a field beyond its type and its default."""

    doc: str
    key: str | None = None
    none: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of a section: its name, its key in YAML, its type and its rules."""

    name: str
    key: str
    hint: Any  # a type expression: the type system has no name for one before Python 3.14
    rules: Rules
    default: object

    @property
    def required(self) -> bool:
        return self.default is MISSING


@overload
def setting(
    *,
    doc: str,
    key: str | None = None,
    none: str | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    pattern: str | None = None,
) -> Any: ...  # nothing to infer a type from, as with dataclasses.field()


@overload
def setting(
    default: T,
    *,
    doc: str,
    key: str | None = None,
    none: str | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    pattern: str | None = None,
) -> T: ...


def setting(
    default: object = MISSING,
    *,
    doc: str,
    key: str | None = None,
    none: str | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
    pattern: str | None = None,
) -> object:
    """A dataclass field that is a config key, required when it has no default.

    `doc` says what it means, in a phrase. `key` is its name in YAML when that is not the field's in
    camelCase, `none` the word that stands for None (`auto`). `minimum` and `maximum` are inclusive;
    `pattern` is a regular expression for text. In a tuple these hold for each item.
    """
    rules = Rules(doc=doc, key=key, none=none, minimum=minimum, maximum=maximum, pattern=pattern)
    return dataclasses.field(default=default, metadata={Rules: rules})


def settings(section: type) -> Iterator[Setting]:
    """The settings of a section, in the order in which they are declared."""
    hints = get_type_hints(section)
    for field in dataclasses.fields(section):
        rules = field.metadata.get(Rules)
        if not isinstance(rules, Rules):
            raise TypeError(f"{section.__name__}.{field.name} is not a setting(...)")
        key = rules.key or re.sub(r"_(\w)", lambda found: found[1].upper(), field.name)
        yield Setting(
            name=field.name, key=key, hint=hints[field.name], rules=rules, default=field.default
        )


def json_schema(section: type) -> Schema:
    """JSON Schema (2020-12) of a section; it accepts exactly what `build` can build.

    A section that requires nothing may be left empty in YAML: null means {}.
    """
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for each in settings(section):
        schema: Schema = {"description": each.rules.doc, **_value_schema(each.hint, each.rules)}
        if each.required:
            required.append(each.key)
        else:
            schema["default"] = _plain_value(each.default, each.rules)
        properties[each.key] = schema
    return {
        "type": "object" if required else ["object", "null"],
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def build(section: type[T], data: object) -> T:
    """The section from plain data that its schema accepts. Raises what `__post_init__` raises."""
    given = data if isinstance(data, dict) else {}
    values = {
        each.name: _build_value(each.hint, each.rules, given[each.key])
        for each in settings(section)
        if each.key in given
    }
    return section(**values)


def plain(section: object) -> dict[str, object]:
    """A section as plain data, every key included: what `build` would make the same one of."""
    return {
        each.key: _plain_value(getattr(section, each.name), each.rules)
        for each in settings(type(section))
    }


def _value_schema(hint: Any, rules: Rules) -> Schema:
    if text := text_of(hint):
        return {"type": "string", "format": text.format}
    if get_origin(hint) in (Union, UnionType):
        nothing: Schema = (
            {"type": "string", "const": rules.none} if rules.none else {"type": "null"}
        )
        return {"anyOf": [nothing, _value_schema(_without_none(hint), rules)]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _value_schema(get_args(hint)[0], rules)}
    if dataclasses.is_dataclass(hint):
        return json_schema(cast(type, hint))
    return _scalar_schema(hint, rules)


def _scalar_schema(hint: Any, rules: Rules) -> Schema:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"type": "string", "enum": [member.value for member in hint]}
    if hint in (str, Path):
        return {"type": "string", **_limits(rules, "pattern")}
    if hint is int:
        return {"type": "integer", **_limits(rules, "minimum", "maximum")}
    if hint is bool:
        return {"type": "boolean"}
    raise TypeError(f"a setting cannot be a {hint}")


def _limits(rules: Rules, *names: str) -> Schema:
    limits = {name: getattr(rules, name) for name in names}
    return cast(Schema, {name: limit for name, limit in limits.items() if limit is not None})


def _build_value(hint: Any, rules: Rules, data: object) -> object:
    if text := text_of(hint):
        return text.parse(str(data))
    if get_origin(hint) in (Union, UnionType):
        absent = data is None or data == rules.none
        return None if absent else _build_value(_without_none(hint), rules, data)
    if get_origin(hint) is tuple:
        items = cast(list[object], data)
        return tuple(_build_value(get_args(hint)[0], rules, item) for item in items)
    if dataclasses.is_dataclass(hint):
        return build(cast(type, hint), data)
    return hint(data)


def _plain_value(value: object, rules: Rules) -> object:
    if value is None:
        return rules.none
    if isinstance(value, tuple):
        return [_plain_value(item, rules) for item in value]
    if dataclasses.is_dataclass(value):
        return plain(value)
    return value if isinstance(value, bool | int) else str(value)


def _without_none(hint: Any) -> Any:
    return functools.reduce(operator.or_, (arg for arg in get_args(hint) if arg is not NoneType))

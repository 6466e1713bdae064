"""What a schema refuses, in words for people: the key, what it is, what it should be."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_network
from typing import cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from plait.core.config.settings import Schema
from plait.core.config.sources import Sources
from plait.core.config.text import FORMATS
from plait.core.config.yaml import DataPath
from plait.core.errors import PlaitError, brief, raise_all

_UNQUOTED = re.compile(r"-?\d+|true|false")
"""Text that was meant to be a number, true or false."""


def check(data: object, schema: Schema, sources: Sources) -> None:
    """Raise everything that `schema` refuses in `data`, in the order in which a reader meets it."""
    found = {
        (str(problem.at), problem.what): problem
        for error in validator(schema).iter_errors(data)
        for problem in _problems(error, sources)
    }
    raise_all(sorted(found.values(), key=_place))


def validator(schema: Schema) -> Draft202012Validator:
    """A validator that knows the forms of text that settings can have."""
    checker = FormatChecker(formats=())
    for text in FORMATS.values():
        checker.checks(text.format, raises=ValueError)(_parses(text.parse))
    return Draft202012Validator(schema, format_checker=checker)


def key_name(path: DataPath) -> str:
    """A path as the docs write it: `lb.capacity.services`, `node.podCIDRs[0]`."""
    below = path[1:] if path[0] == "features" and len(path) > 1 else path
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in below)
    return name.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """`did you mean '...'?`, or None when nothing known is like `word`."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else None


def words(schema: Schema) -> str:
    """What a schema asks for: `a whole number from 1 to 65535`, `one of maglev, random`."""
    if "anyOf" in schema:
        return " or ".join(words(branch) for branch in schema["anyOf"])
    kind = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    match kind:
        case "array":
            return f"a list, each item {words(schema['items'])}"
        case "object":
            return f"keys ({', '.join(schema['properties'])})"
        case "integer":
            return f"a whole number{_range(schema)}"
        case "string":
            return _text_words(schema)
    return {"boolean": "true or false", "null": "nothing"}[kind]


def _text_words(schema: Schema) -> str:
    match schema:
        case {"const": word}:
            return f"`{word}`"
        case {"enum": choices}:
            return f"one of {', '.join(choices)}"
        case {"format": form}:
            return FORMATS[form].words
        case {"pattern": pattern}:
            return f"text that matches `{pattern}`"
        case _:
            return "text"


def _problems(error: ValidationError, sources: Sources) -> Iterator[PlaitError]:
    path: DataPath = tuple(error.absolute_path)
    schema = cast(Schema, error.schema)
    value = cast(object, error.instance)
    if error.validator == "additionalProperties" and isinstance(value, dict):
        known = schema["properties"]
        for key in value:
            if key not in known:
                yield _unknown_key(path, str(key), known, sources)
    elif error.validator == "required" and isinstance(value, dict):
        for key in schema["required"]:
            if key not in value:
                yield _missing_key(path, key, schema, sources)
    elif error.validator == "anyOf" and (inner := _inner_errors(error)):
        for each in inner:
            yield from _problems(each, sources)
    else:
        yield _wrong_value(path, value, schema, sources)


def _unknown_key(path: DataPath, key: str, known: Iterable[str], sources: Sources) -> PlaitError:
    hint = nearest(key, known)
    listed = ", ".join(known)
    if path == ("features",):
        what = f"no plugin has the feature '{key}'"
        expected = f"expected one of {listed}" if listed else "no plugin is installed"
    else:
        what = f"unknown key '{key}'" + (f" in {key_name(path)}" if path else "")
        expected = f"expected one of {listed}" if listed else "it has no keys"
    at = sources.locate((*path, key), key=True)
    return PlaitError(what, at=at, expected=None if hint else expected, hint=hint)


def _missing_key(path: DataPath, key: str, schema: Schema, sources: Sources) -> PlaitError:
    meaning = schema["properties"][key]
    return PlaitError(
        f"{key_name((*path, key))} is missing",
        at=sources.locate(path, key=True),
        expected=f"expected {words(meaning)}",
        hint=f"add `{key}:`, {meaning['description']}" if "description" in meaning else None,
    )


def _wrong_value(path: DataPath, value: object, schema: Schema, sources: Sources) -> PlaitError:
    name = key_name(path) if path else "the config"
    return PlaitError(
        f"{name} is {_shown(value)}",
        at=sources.locate(path),
        expected=f"expected {words(schema)}",
        hint=_value_hint(value, schema),
    )


def _inner_errors(error: ValidationError) -> list[ValidationError]:
    """The errors inside the branch that was meant, when the value's shape tells which that is."""
    if not isinstance(error.instance, list | dict):
        return []
    inner = error.context or []
    wrong_shape = {each.schema_path[0] for each in inner if not each.path}
    return [each for each in inner if each.schema_path[0] not in wrong_shape]


def _range(schema: Schema) -> str:
    match schema:
        case {"minimum": low, "maximum": high}:
            return f" from {low} to {high}"
        case {"minimum": low}:
            return f" of at least {low}"
        case {"maximum": high}:
            return f" of at most {high}"
        case _:
            return ""


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return f"'{brief(value)}'"
        case list():
            return "a list"
        case dict():
            return "a mapping of keys"
        case _:
            return brief(str(value))


def _value_hint(value: object, schema: Schema) -> str | None:
    if not isinstance(value, str):
        return None
    if schema.get("type") in ("integer", "boolean") and _UNQUOTED.fullmatch(value):
        return f"write {value}, without quotes"
    if "enum" in schema:
        return nearest(value, schema["enum"])
    if schema.get("format", "").endswith("network"):
        return _network_hint(value)
    return None


def _network_hint(value: str) -> str | None:
    """For an address with a prefix length, the network that it is in."""
    try:
        return f"did you mean '{ip_network(value, strict=False)}'?"
    except ValueError:
        return None


def _parses(parse: Callable[[str], object]) -> Callable[[object], bool]:
    def parses(value: object) -> bool:
        if isinstance(value, str):
            parse(value)
        return True  # what is not text is refused by `type`, not by `format`

    return parses


def _place(problem: PlaitError) -> tuple[str, int, int]:
    at = problem.at
    return (str(at.file), at.line, at.column) if at else ("", 0, 0)

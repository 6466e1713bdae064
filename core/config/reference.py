"""The reference page of the config, printed from its schema."""

import json
from collections.abc import Iterator, Sequence

from plait.core.api.contract import Feature
from plait.core.config.problems import words
from plait.core.config.schema import composed_schema
from plait.core.config.settings import Schema


def config_reference(features: Sequence[Feature]) -> str:
    """Every config key as Markdown: its type, its default, its meaning; one table per section."""
    properties = dict(composed_schema(features)["properties"])
    sections = properties.pop("features")["properties"]
    node = properties.pop("node")
    required = ["apiVersion"]
    blocks = [
        "# Config",
        "Generated from the dataclasses that hold the config; `plait schema` is the same as JSON.",
        _table("", {"properties": properties, "required": required}),
        f"## node\n\n{_sentence(node)}",
        _table("node.", node),
    ]
    for key, section in sections.items():
        blocks += [f"## features.{key}\n\n{_sentence(section)}", _table(f"{key}.", section)]
    return "\n\n".join(blocks) + "\n"


def _table(prefix: str, section: Schema) -> str:
    rows = list(_rows(prefix, section))
    if not rows:
        return "It has no keys."
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _rows(prefix: str, section: Schema) -> Iterator[str]:
    for key, schema in section["properties"].items():
        if "properties" in schema:
            yield from _rows(f"{prefix}{key}.", schema)
        else:
            required = key in section["required"]
            default = "required" if required else f"`{_yaml(schema['default'])}`"
            cells = (f"`{prefix}{key}`", words(schema), default, schema["description"])
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _yaml(default: object) -> str:
    return default if isinstance(default, str) and default else json.dumps(default)


def _sentence(section: Schema) -> str:
    text = section["description"]
    return f"{text[0].upper()}{text[1:].removesuffix('.')}."

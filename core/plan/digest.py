"""A hash of a plan's content, the same in every process and on every machine."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from hashlib import sha256
from pathlib import Path

from plait.core.plan.model import Plan


def plan_hash(plan: Plan) -> str:
    """64 hex digits over everything that a plan says, and over the text of its headers.

    Where the headers lie does not count. Neither does the code of `MapSpec.migrate`: the plugin's
    version stands for it.
    """
    headers = [_headers(folder) for folder in plan.headers.values()]
    content = [_content(replace(plan, headers={})), headers]
    return sha256(json.dumps(content).encode()).hexdigest()


def _headers(folder: Path) -> list[tuple[str, str]]:
    files = sorted(folder.glob("*.h"))
    return [(file.name, sha256(file.read_bytes()).hexdigest()) for file in files]


def _content(value: object) -> object:
    """A value as JSON that differs whenever the value does."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, tuple):
        return [_content(item) for item in value]
    kind = type(value).__name__
    if isinstance(value, Mapping):
        return {"map": sorted([str(key), _content(item)] for key, item in value.items())}
    if is_dataclass(value):
        named = {each.name: getattr(value, each.name) for each in fields(value) if each.compare}
        return {kind: {name: _content(item) for name, item in named.items()}}
    return {kind: value.hex() if isinstance(value, bytes) else str(value)}

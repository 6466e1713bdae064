"""A config file, or a folder of them, to a `Config`: every problem at once, each with its place."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import combinations
from pathlib import Path
from typing import Any

from plait.core.api.contract import Feature
from plait.core.config.model import Config, NodeConfig
from plait.core.config.problems import check, key_name
from plait.core.config.schema import composed_schema
from plait.core.config.settings import build
from plait.core.config.sources import Sources, read_sources
from plait.core.errors import PlaitError, raise_all


def load_config(path: Path, features: Sequence[Feature]) -> Config:
    """Read, merge, check and build the config at `path`, a file or a folder of `*.yaml`.

    Raises `PlaitError`, or `Problems` when there are several. Relative paths in `objects` are
    relative to the config's folder.
    """
    sources = read_sources(path)
    data = sources.merged()
    check(data, composed_schema(features), sources)
    folder = path if path.is_dir() else path.parent
    return _build(data, features, sources, folder.absolute())


def _build(data: Any, features: Sequence[Feature], sources: Sources, folder: Path) -> Config:
    """The config from data that the schema accepts. The only `Any` there is: YAML, just checked."""
    node = build(NodeConfig, data["node"])
    problems = [*_twins(node.devices or (), sources), *_overlaps(node.pod_cidrs, sources)]
    sections: dict[str, object] = {}
    given = data.get("features") or {}
    for feature in features:
        if feature.key in given:
            try:
                sections[feature.key] = build(feature.config, given[feature.key])
            except ValueError as error:
                at = sources.locate(("features", feature.key), key=True)
                problems.append(PlaitError(f"{feature.key}: {error}", at=at))
    raise_all(problems)
    objects = tuple(folder / path for path in data.get("objects", []))
    return Config(node=node, objects=objects, sections=sections, sources=sources)


def _twins(devices: Sequence[str], sources: Sources) -> Iterator[PlaitError]:
    for number, name in enumerate(devices):
        first = devices.index(name)
        if first < number:
            yield PlaitError(
                f"node.devices names {name} twice",
                at=sources.locate(("node", "devices", number)),
                expected=f"the other is at {sources.locate(('node', 'devices', first))}",
                hint="keep one of the two",
            )


def _overlaps(
    networks: Sequence[IPv4Network | IPv6Network], sources: Sources
) -> Iterator[PlaitError]:
    for (first, one), (second, other) in combinations(enumerate(networks), 2):
        if one.overlaps(other):
            path = ("node", "podCIDRs", second)
            yield PlaitError(
                f"{key_name(path)} {other} overlaps {one}",
                at=sources.locate(path),
                expected=f"the other is at {sources.locate(('node', 'podCIDRs', first))}",
            )

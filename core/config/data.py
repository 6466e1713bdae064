"""A config as plain data and back: what a state file can hold, and a plan can be asked about."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

from plait.core.api.contract import Feature
from plait.core.config.model import Config, NodeConfig
from plait.core.config.settings import build, plain

Data = dict[str, dict[str, object]]
"""`node`, and one mapping for each feature, by the keys of the YAML."""


def config_data(config: Config) -> Data:
    """Every setting of a config, defaults too; without the objects' folders."""
    features = {key: plain(section) for key, section in config.sections.items()}
    return {"node": plain(config.node), "features": dict(features)}


def object_folders(config: Config) -> list[str]:
    """The objects' folders, as plain data."""
    return [str(path) for path in config.objects]


def config_of(data: Mapping[str, object], features: Sequence[Feature]) -> Config:
    """The config that `config_data` was made from. ValueError when a feature does not take it."""
    given = data["features"]
    assert isinstance(given, dict)
    return Config(
        node=build(NodeConfig, data["node"]),
        sections={
            each.key: build(each.config, given[each.key]) for each in features if each.key in given
        },
    )


def changed_keys(before: object, after: object, path: str = "") -> Iterator[tuple[str, str, str]]:
    """(key, value before, value after) of each setting that differs; a missing one is `-`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            inner = f"{path}.{key}" if path else str(key)
            yield from changed_keys(before.get(key), after.get(key), inner)
    elif before != after:
        yield path, _shown(before), _shown(after)


def with_key(before: Data, after: Data, key: str) -> Data:
    """`before`, but with the setting at `key` as it is in `after`."""
    mixed = deepcopy(before)
    place: object = mixed
    source: object = after
    *folders, last = key.split(".")
    for name in folders:
        assert isinstance(place, dict) and isinstance(source, dict)
        place, source = place.setdefault(name, {}), source.get(name, {})
    assert isinstance(place, dict) and isinstance(source, dict)
    if last in source:
        place[last] = source[last]
    else:
        place.pop(last, None)
    return mixed


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return "on" if isinstance(value, dict) else str(value)

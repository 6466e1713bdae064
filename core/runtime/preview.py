"""What applying a config would do to what runs: programs, maps, settings; nothing is touched."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from plait.codegen.object import MapDefinition
from plait.core.config.data import config_data
from plait.core.kernel import libbpf
from plait.core.kernel.maps import MapType
from plait.core.pipeline import Prepared, plan_config
from plait.core.plan.diff import KeyChange, key_changes
from plait.core.plan.explain import describe
from plait.core.plugins import Plugins
from plait.core.runtime.generation import Generation
from plait.core.runtime.proving import prove
from plait.core.runtime.staging import definitions, map_change, stage
from plait.core.runtime.state import State

_HASH_OVERHEAD = 64  # bytes that the kernel keeps beside a hash map's key and value, about
_PER_CPU = {MapType.PERCPU_HASH, MapType.PERCPU_ARRAY}
_HASHES = {MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the verifier said: instructions of each program, those that it walked, seconds."""

    instructions: Mapping[str, int]
    verified: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan against what runs. `bytes` is what each map takes when it is full, about."""

    text: str
    programs: Mapping[str, str]
    maps: Mapping[str, str]
    bytes: Mapping[str, int]
    keys: tuple[KeyChange, ...]
    loaded: Loaded | None

    def plain(self) -> dict[str, object]:
        """As plain data."""
        return {key: value for key, value in asdict(self).items() if key != "text"}


def preview(
    prepared: Prepared,
    plugins: Plugins,
    state: State | None,
    running: Generation | None,
    *,
    load_with: Path | None,
) -> Preview:
    """Compare a prepared plan with the state. With the cache's folder in `load_with`, its programs
    also pass the verifier and their packet tests.
    """
    plan = prepared.plan
    found = definitions(prepared.compiled.objects)
    specs = {each.spec.name: each.spec for each in plan.maps}
    maps = running.maps if running else {}
    sizes = {
        name: _full_bytes(definition, specs[name].max_entries)
        for name, (definition, _) in found.items()
        if name in specs
    }
    return Preview(
        text=describe(plan, sizes),
        programs=_programs(prepared, state),
        maps={
            name: map_change(specs[name], *found[name], maps.get(name)).value
            for name in specs
            if name in found
        }
        | {name: "gone" for name in maps if name not in specs},
        bytes=sizes,
        keys=_keys(prepared, plugins, state),
        loaded=_load(prepared, load_with) if load_with else None,
    )


def _programs(prepared: Prepared, state: State | None) -> dict[str, str]:
    before = state.programs if state else {}
    changes = {
        name: "new" if name not in before else "unchanged" if before[name] == key else "swapped"
        for name, key in prepared.keys.items()
    }
    return changes | {name: "gone" for name in before if name not in prepared.keys}


def _keys(prepared: Prepared, plugins: Plugins, state: State | None) -> tuple[KeyChange, ...]:
    if state is None or not state.settings:
        return ()
    kernel = prepared.plan.kernel
    return key_changes(
        dict(state.settings),
        config_data(prepared.plan.config),
        plugins.features(),
        lambda config: plan_config(config, plugins, kernel),
    )


def _load(prepared: Prepared, cache: Path) -> Loaded:
    began = time.monotonic()
    prove(prepared, cache)
    staged = stage(prepared.plan, prepared.compiled.objects)
    try:
        return Loaded(
            instructions={name: info.instructions for name, info in staged.info.items()},
            verified={name: info.verified for name, info in staged.info.items()},
            seconds=time.monotonic() - began,
        )
    finally:
        staged.close()


def _full_bytes(definition: MapDefinition, max_entries: int) -> int:
    key, value = (-(-size // 8) * 8 for size in (definition.key_size, definition.value_size))
    if definition.map_type in _PER_CPU:
        value *= libbpf.possible_cpus()
    overhead = key + _HASH_OVERHEAD if definition.map_type in _HASHES else 0
    return max_entries * (value + overhead)

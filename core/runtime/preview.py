"""What applying a config would do to what runs: programs, maps, settings; nothing is touched.

Whatever is told here is asked of the functions by which `Node.apply` decides.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from plait.codegen.object import MapDefinition
from plait.core.config.data import Data, config_data, config_of, object_folders
from plait.core.config.load import load_config
from plait.core.config.model import Config
from plait.core.control.reconciler import Outcome
from plait.core.errors import raise_all
from plait.core.kernel import libbpf
from plait.core.kernel.features import probe
from plait.core.kernel.info import ProgramInfo
from plait.core.kernel.links import Attachment, Mechanism
from plait.core.kernel.mapmemory import full_bytes
from plait.core.kernel.pins import Paths
from plait.core.objects.store import Store
from plait.core.pipeline import Prepared, plan_config, prepare
from plait.core.plan.diff import Effect, KeyChange, key_changes
from plait.core.plan.growth import outgrown
from plait.core.plan.model import HookPlan, MapPlan, Plan
from plait.core.plugins import Plugins
from plait.core.runtime import attachments
from plait.core.runtime.attachments import Anchors, Place, places
from plait.core.runtime.capacity import as_grown
from plait.core.runtime.datapath import is_current, mechanism_of, unchanged
from plait.core.runtime.devices import LinkTable, missing_cgroup
from plait.core.runtime.generation import Generation
from plait.core.runtime.inputs import HOST_SOURCE, SOURCE, file_source, handlers_of
from plait.core.runtime.preview_model import (
    Change,
    HookPreview,
    MapPreview,
    PlacePreview,
    PluginPreview,
    Preview,
    ProgramPreview,
    StepPreview,
    SysctlPreview,
)
from plait.core.runtime.proving import prove
from plait.core.runtime.rehearsal import rehearse
from plait.core.runtime.settings import changes as settings_changes
from plait.core.runtime.staging import (
    MapChange,
    Takeover,
    definitions,
    stage,
    takeover,
)
from plait.core.runtime.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs, for reading: its state, its programs and maps, where they are attached."""

    state: State | None = None
    generation: Generation | None = None
    attached: Mapping[Place, Attachment]

    @classmethod
    @contextmanager
    def of(cls, paths: Paths) -> Iterator[Self]:
        """What runs in an instance, which may be nothing."""
        state = State.read(paths.run)
        generation = Generation.pinned(paths.pins, state.generation) if state else None
        if state is None or generation is None:
            yield cls(attached={})
            return
        try:
            attached = attachments.adopt(paths.pins / "links", Mechanism(state.mechanism))
            yield cls(state=state, generation=generation, attached=attached)
        finally:
            generation.close()

    def prepare(
        self, config: Config, plugins: Plugins, kernel: Mapping[str, bool], cache: Path
    ) -> Prepared:
        """A config, on maps of the sizes that they have grown to."""
        plan = plan_config(config, plugins, kernel)
        before = self.state.map_sizes if self.state else {}
        return prepare(
            as_grown(plan, before, self.generation.maps if self.generation else {}), cache
        )

    def takeover(self, prepared: Prepared) -> Takeover:
        """What becomes of programs and maps."""
        same = unchanged(prepared, self.state)
        return takeover(prepared.plan, prepared.compiled.objects, self.generation, same)

    def is_current(self, prepared: Prepared) -> bool:
        """No swap is due."""
        return is_current(prepared, self.state, self.generation.maps if self.generation else {})


def preview(path: Path, paths: Paths, plugins: Plugins, *, load: bool) -> Preview:
    """What applying the config at `path` to an instance would do. With `load`, the programs also
    pass the verifier and their packet tests.

    PlaitError for whatever `apply` would refuse, as far as it can be known beforehand.
    """
    config = load_config(path, plugins.features())
    links = LinkTable()
    links.refresh()
    links.check(config)
    store = Store()
    store.replace(SOURCE, file_source(config, paths, plugins).scan().objects)
    store.replace(HOST_SOURCE, (links.host,))
    anchors = links.wanted(config, store.values())
    with Running.of(paths) as running:
        prepared = running.prepare(config, plugins, probe(), paths.cache)
        raise_all(missing_cgroup(prepared.plan))
        outcome = rehearse(prepared, handlers_of(config, links, plugins), store)
        prepared = prepared.resized(outgrown(prepared.plan, outcome.wanted))
        return _compare(prepared, running, anchors, paths, plugins, outcome=outcome, load=load)


def _compare(
    prepared: Prepared,
    running: Running,
    anchors: Anchors,
    paths: Paths,
    plugins: Plugins,
    *,
    outcome: Outcome,
    load: bool,
) -> Preview:
    plan, state = prepared.plan, running.state
    taken = running.takeover(prepared)
    keys = _keys(prepared, running, paths, plugins)
    where = tuple(_places(mechanism_of(plan), running, taken, anchors))
    moved = any(each.change is not Change.UNCHANGED for each in where)
    info, seconds = _load(prepared, running, paths.cache) if load else ({}, None)
    maps = tuple(_maps(prepared, running, taken, outcome.wanted))
    return Preview(
        node=plan.config.node.name,
        running=running.generation.number if running.generation else None,
        effect=_effect(prepared, running, taken, live=moved or bool(keys)) if state else None,
        plugins=tuple(
            PluginPreview(
                name=use.name,
                version=use.version,
                running=state.plugins.get(use.name) if state else None,
                features=use.features,
            )
            for use in plan.plugins
        ),
        hooks=tuple(map(_hook, plan.hooks)),
        programs=tuple(_programs(running, taken, info)),
        maps=maps,
        bytes=sum(each.bytes or 0 for each in maps),
        bound_bytes=sum(each.bound_bytes or 0 for each in maps),
        places=where,
        sysctls=() if running.is_current(prepared) else _sysctls(plan, paths),
        keys=keys,
        verifier_seconds=seconds,
        warnings=prepared.compiled.warnings,
        problems=tuple(map(str, outcome.problems)),
    )


def _effect(prepared: Prepared, running: Running, taken: Takeover, *, live: bool) -> Effect | None:
    """The dearest effect of a plan on what runs; None: there is none, unless it is a `live` one."""
    if any(how not in (MapChange.CARRIED, MapChange.NEW) for how in taken.maps.values()):
        return Effect.MAP_MIGRATION
    if not running.is_current(prepared):
        return Effect.PROGRAM_SWAP
    state, now = running.state, config_data(prepared.plan.config)
    if state and (state.settings.get("features"), list(state.objects)) != (
        now["features"],
        object_folders(prepared.plan.config),
    ):
        return Effect.MAP_WRITE
    return Effect.LIVE if live else None


def _keys(
    prepared: Prepared, running: Running, paths: Paths, plugins: Plugins
) -> tuple[KeyChange, ...]:
    """The settings that differ from those of what runs, each tried alone."""
    state = running.state
    if state is None or not state.settings:
        return ()
    plan = prepared.plan

    def alone(data: Data) -> Effect | None:
        objects = tuple(map(Path, state.objects))
        config = replace(config_of(data, plugins.features()), objects=objects)
        mixed = running.prepare(config, plugins, plan.kernel, paths.cache)
        return _effect(mixed, running, running.takeover(mixed), live=True)

    changed = key_changes(dict(state.settings), config_data(plan.config), alone)
    before, after = list(state.objects), object_folders(plan.config)
    if before == after:
        return changed
    return (
        *changed,
        KeyChange(
            key="objects",
            before=", ".join(before) or "-",
            after=", ".join(after) or "-",
            effect=Effect.MAP_WRITE,
        ),
    )


def _hook(hook: HookPlan) -> HookPreview:
    return HookPreview(
        hook=hook.hook,
        steps=tuple(
            StepPreview(
                stage=step.stage,
                function=step.fragment.function,
                plugin=step.plugin,
                header=step.fragment.header,
                line=step.line,
            )
            for step in hook.steps
        ),
    )


def _programs(
    running: Running, taken: Takeover, info: Mapping[str, ProgramInfo]
) -> Iterator[ProgramPreview]:
    before = running.generation.programs if running.generation else {}
    for name, kept in taken.programs.items():
        loaded = info.get(name)
        yield ProgramPreview(
            name=name,
            change=_change(name in before, kept=kept),
            instructions=loaded.instructions if loaded else None,
            walked=loaded.verified if loaded else None,
        )
    for name in before:
        if name not in taken.programs:
            yield ProgramPreview(name=name, change=Change.GONE)


def _change(there: bool, *, kept: bool) -> Change:
    if not there:
        return Change.NEW
    return Change.UNCHANGED if kept else Change.SWAPPED


def _maps(
    prepared: Prepared, running: Running, taken: Takeover, wanted: Mapping[str, int]
) -> Iterator[MapPreview]:
    defined = definitions(prepared.compiled.objects)
    for each in prepared.plan.maps:
        definition, _ = defined[each.spec.name]
        name = each.spec.name
        yield _map(each, definition, taken.maps[name], wanted.get(name))
    for name in running.generation.maps if running.generation else ():
        if name not in defined:
            yield MapPreview(name=name, change=Change.GONE)


def _map(
    each: MapPlan, definition: MapDefinition, change: MapChange, wanted: int | None
) -> MapPreview:
    return MapPreview(
        name=each.spec.name,
        change=change,
        plugin=each.plugin,
        entries=each.entries,
        wanted=wanted,
        bytes=_full_bytes(definition, each.entries),
        bound=each.bound,
        bound_bytes=_full_bytes(definition, each.bound),
        key=each.spec.config_key,
    )


def _places(
    mechanism: Mechanism, running: Running, taken: Takeover, anchors: Anchors
) -> Iterator[PlacePreview]:
    wanted = places(taken.programs, anchors)
    due = attachments.moves(wanted, running.attached, mechanism)
    for place in wanted:
        there = place in running.attached
        kept = place in due.there and taken.programs[place.program]
        yield _place(place, mechanism, _change(there, kept=kept))
    for place in due.gone:
        if place not in wanted:
            yield _place(place, running.attached[place].mechanism, Change.GONE)


def _place(place: Place, mechanism: Mechanism, change: Change) -> PlacePreview:
    return PlacePreview(
        device=place.device,
        cgroup=place.cgroup,
        hook=place.hook,
        program=place.program,
        mechanism=mechanism if place.device else Mechanism.CGROUP,
        change=change,
    )


def _sysctls(plan: Plan, paths: Paths) -> tuple[SysctlPreview, ...]:
    return tuple(
        SysctlPreview(path=each.path, before=each.before, after=each.value)
        for each in settings_changes(paths.run, plan.sysctls)
    )


def _load(
    prepared: Prepared, running: Running, cache: Path
) -> tuple[Mapping[str, ProgramInfo], float]:
    """Load all programs on the maps that they would have, and let go of them."""
    prove(prepared, cache)
    began = time.monotonic()
    staged = stage(prepared.plan, prepared.compiled.objects, running.generation)
    seconds = time.monotonic() - began
    staged.close()
    return staged.info, seconds


def _full_bytes(definition: MapDefinition, max_entries: int) -> int:
    return full_bytes(
        map_type=definition.map_type,
        key_size=definition.key_size,
        value_size=definition.value_size,
        max_entries=max_entries,
        flags=definition.flags,
        cpus=libbpf.possible_cpus(),
    )

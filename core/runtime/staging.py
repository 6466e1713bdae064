"""Staging: load a plan's objects, carrying over the maps that need not change. Nothing attaches."""

import os
import re
from collections.abc import Collection, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from plait.codegen.layout import Layout, layout_of
from plait.codegen.object import MapDefinition, ObjectInfo, read_object
from plait.core.api.contract import OnReload
from plait.core.errors import PlaitError, SystemProblem
from plait.core.kernel import info as kernel_info
from plait.core.kernel.bpfobject import BpfObject, ObjectMap, VerifierRefused
from plait.core.kernel.maps import Map
from plait.core.kernel.verifier import Header, explain
from plait.core.plan.model import MapPlan, Plan
from plait.core.runtime.generation import Generation

_RODATA = ".rodata"
_UNMADE = re.compile(r"map '(\w+)': failed to create")


class MapChange(StrEnum):
    """What becomes of a map when its generation takes over."""

    NEW = "new"
    CARRIED = "carried"
    MIGRATED = "migrated"
    REFILLED = "refilled"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """What a plan means for the generation that runs: the change of each map that the plan has, and
    the objects whose programs stay, with their descriptors; all others are loaded. `programs` has
    every program of the plan, and says whether it stays.
    """

    maps: Mapping[str, MapChange]
    kept: tuple[str, ...]
    programs: Mapping[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Loaded programs and maps, the change that each map means, and what the verifier counted."""

    programs: Mapping[str, int]
    maps: Mapping[str, Map]
    changes: Mapping[str, MapChange]
    info: Mapping[str, kernel_info.ProgramInfo]

    def close(self) -> None:
        """Let go of the descriptors."""
        for fd in self.programs.values():
            os.close(fd)
        for each in self.maps.values():
            each.close()


def stage(
    plan: Plan,
    objects: Mapping[str, bytes],
    before: Generation | None = None,
    *,
    unchanged: Collection[str] = (),
    most_entries: int | None = None,
) -> Staged:
    """Load the objects. `before` is the running generation, `unchanged` are its objects that the
    plan has with the same content: they are not loaded again unless a map of theirs is replaced.
    `most_entries` bounds new maps (for trials).

    PlaitError at the plugin's file and line when the verifier refuses a program.
    """
    planned = takeover(plan, objects, before, unchanged)
    loader = _Loader(plan, objects, before, planned.maps, most_entries)
    try:
        loader.load([name for name in objects if name not in planned.kept])
        for name in planned.kept:
            loader.reuse(name)
    except BaseException:
        loader.staged().close()
        raise
    return loader.staged()


def takeover(
    plan: Plan,
    objects: Mapping[str, bytes],
    before: Generation | None,
    unchanged: Collection[str],
) -> Takeover:
    """What `stage` does with the same arguments, told beforehand; nothing is touched.

    PlaitError when headers and contributions do not agree on the maps that there are.
    """
    planned = {each.spec.name: each for each in plan.maps}
    defined = definitions(objects)
    _check_same(planned.keys(), defined.keys())
    maps = {
        name: _map_change(each, *defined[name], before.maps.get(name) if before else None)
        for name, each in planned.items()
    }
    kept = _kept(objects, before, unchanged, maps) if before else ()
    programs = {
        program: name in kept
        for name, image in objects.items()
        for program in inspect(image).programs
    }
    return Takeover(maps=maps, kept=kept, programs=programs)


def _kept(
    objects: Mapping[str, bytes],
    before: Generation,
    unchanged: Collection[str],
    changes: Mapping[str, MapChange],
) -> tuple[str, ...]:
    """The objects whose running programs can stay: all of their maps do, too."""
    replaced = {name for name, how in changes.items() if how is not MapChange.CARRIED}
    ids = {before.maps[name].info.id for name in replaced & before.maps.keys()}
    stay = tuple(
        name
        for name, image in objects.items()
        if name in unchanged
        and all(
            ids.isdisjoint(kernel_info.program_maps(before.programs[program]))
            for program in inspect(image).programs
        )
    )
    loaded = [inspect(image) for name, image in objects.items() if name not in stay]
    created = {definition.name for info in loaded for definition in info.maps}
    return stay if replaced <= created else ()


def _check_same(contributed: Set[str], defined: Set[str]) -> None:
    for name in sorted(defined - contributed):
        raise PlaitError(
            f"map {name} is in a header, but in no Contribution",
            expected=f"MapSpec(name='{name}', ...)",
        )
    if missing := sorted(contributed - defined):
        raise PlaitError(
            f"no header defines the map {', '.join(missing)}",
            expected='a definition with SEC(".maps") in a header of a fragment',
        )


def _map_change(
    planned: MapPlan, definition: MapDefinition, info: ObjectInfo, before: Map | None
) -> MapChange:
    """What happens to the map that `definition` describes, given the one that runs now."""
    if before is None:
        return MapChange.NEW
    now = before.info
    same = (
        now.type == definition.map_type
        and now.flags == definition.flags
        and now.max_entries == planned.entries
        and before.layouts() == layouts(definition, info)
    )
    if same:
        return MapChange.CARRIED
    if planned.spec.reconciled:
        return MapChange.REFILLED
    return MapChange.MIGRATED if planned.spec.on_reload is OnReload.CARRY else MapChange.RESET


def definitions(
    objects: Mapping[str, bytes],
) -> dict[str, tuple[MapDefinition, ObjectInfo]]:
    """Every map that the objects define, by name, with the object that says so."""
    return {
        definition.name: (definition, info)
        for info in map(inspect, objects.values())
        for definition in info.maps
    }


@lru_cache(maxsize=16)
def inspect(image: bytes) -> ObjectInfo:
    """`read_object`, remembered: a reload meets the same few objects again and again."""
    return read_object(image)


class _Loader:
    def __init__(
        self,
        plan: Plan,
        objects: Mapping[str, bytes],
        before: Generation | None,
        changes: Mapping[str, MapChange],
        most_entries: int | None,
    ) -> None:
        self._plan = plan
        self._objects = objects
        self._before = before
        self._most_entries = most_entries
        self._sizes = {each.spec.name: each.entries for each in plan.maps}
        self._maps: dict[str, Map] = {}
        self._programs: dict[str, int] = {}
        self._changes = changes

    def reuse(self, name: str) -> None:
        """Take an object's programs over from the running generation."""
        assert self._before is not None
        info = inspect(self._objects[name])
        for program in info.programs:
            self._programs[program] = os.dup(self._before.programs[program])
        for definition in info.maps:
            if definition.name not in self._maps:
                before = self._before.maps[definition.name]
                self._maps[definition.name] = Map(os.dup(before.fd))

    def load(self, names: Sequence[str]) -> None:
        """Pass objects to the kernel: first the maps that they share, then all at once, as the
        verifier takes its time over each.
        """
        for name in names:
            self._make_maps(name)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            runs = [pool.submit(self._load, name) for name in names]
        for run in runs:
            run.result()

    def _make_maps(self, name: str) -> None:
        """Take over or create the maps of an object that there are not yet."""
        info = inspect(self._objects[name])
        if all(definition.name in self._maps for definition in info.maps):
            return
        with BpfObject(self._objects[name], name) as opened:
            for program in opened.programs.values():
                program.leave_out()
            maps = opened.maps
            for definition in info.maps:
                self._prepare(definition.name, maps[definition.name])
            try:
                opened.load()
            except OSError as error:
                raise self._unmade(name, error) from error
            for definition in info.maps:
                if definition.name not in self._maps:
                    self._maps[definition.name] = Map(maps[definition.name].fd())

    def _unmade(self, name: str, error: OSError) -> SystemProblem:
        """Which map of a program could not be made, and whose it is."""
        why = os.strerror(error.errno) if error.errno else str(error)
        failed = _UNMADE.search(str(error))
        for each in self._plan.maps:
            if failed and each.spec.name == failed[1]:
                what = f"map {each.spec.name} of {each.plugin}, {each.entries} entries"
                hint = each.spec.config_key and f"lower {each.spec.config_key}"
                return SystemProblem(f"the kernel cannot make {what}: {why}", hint=hint)
        return SystemProblem(f"the maps of {name} cannot be made: {error}")

    def _load(self, name: str) -> None:
        info = inspect(self._objects[name])
        with BpfObject(self._objects[name], name) as loaded:
            maps = loaded.maps
            for definition in info.maps:
                maps[definition.name].reuse(self._maps[definition.name].fd)
            if _RODATA in maps:
                self._set_constants(info, maps[_RODATA])
            try:
                loaded.load()
            except VerifierRefused as refused:
                raise explain(refused, headers_of(self._plan)) from refused
            except OSError as error:
                raise SystemProblem(f"program {name} cannot be loaded: {error}") from error
            for program, handle in loaded.programs.items():
                self._programs[program] = handle.fd()

    def staged(self) -> Staged:
        order = [name for name in self._sizes if name in self._maps]
        return Staged(
            programs=dict(sorted(self._programs.items())),  # threads end in any order
            maps={name: self._maps[name] for name in order},
            changes=self._changes,
            info={
                name: kernel_info.program_info(fd) for name, fd in sorted(self._programs.items())
            },
        )

    def _prepare(self, name: str, handle: ObjectMap) -> None:
        if name in self._maps:
            handle.reuse(self._maps[name].fd)
        elif self._changes[name] is MapChange.CARRIED and (before := self._map_before(name)):
            self._maps[name] = Map(os.dup(before.fd))
            handle.reuse(before.fd)
        else:
            entries = self._sizes[name]
            handle.set_max_entries(min(entries, self._most_entries or entries))

    def _map_before(self, name: str) -> Map | None:
        return self._before.maps.get(name) if self._before else None

    def _set_constants(self, info: ObjectInfo, rodata: ObjectMap) -> None:
        values = dict(self._plan.constants)
        content = bytearray(rodata.initial_value())
        for constant in info.constants:
            if constant.name in values:
                end = constant.offset + constant.size
                content[constant.offset : end] = values[constant.name].to_bytes(
                    constant.size, "little", signed=values[constant.name] < 0
                )
        rodata.set_initial_value(bytes(content))


def headers_of(plan: Plan) -> dict[str, Header]:
    """Every C header of the plan by base name, with its owner."""
    return {
        path.name: Header(plugin=owner, path=path)
        for owner, folder in plan.headers.items()
        for path in sorted(folder.glob("*.h"))
    }


def layouts(definition: MapDefinition, info: ObjectInfo) -> tuple[Layout, Layout]:
    """The layouts of a map's key and value. PlaitError when it has none."""
    if definition.key_type is None or definition.value_type is None:
        raise PlaitError(
            f"map {definition.name} has no key or value type",
            expected="__type(key, ...) and __type(value, ...)",
        )
    return layout_of(info.btf, definition.key_type), layout_of(info.btf, definition.value_type)

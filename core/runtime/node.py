"""One node: a config that became a datapath, and objects that become its maps' entries."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from plait.core.api.controllers import Controller
from plait.core.config.data import config_of
from plait.core.config.load import load_config
from plait.core.config.model import Config
from plait.core.control.reconciler import Outcome, Reconciler
from plait.core.control.revisions import Revisions
from plait.core.control.targets import KernelTarget, reconciled_targets
from plait.core.endpoints.monitor import NeighbourChanged
from plait.core.errors import PlaitError, raise_all
from plait.core.kernel.features import probe
from plait.core.kernel.pins import Paths
from plait.core.objects.model import Endpoint, Key, Object
from plait.core.objects.overlaps import Overlaps
from plait.core.objects.sources.files import FileSource, Snapshot
from plait.core.objects.store import Store
from plait.core.pipeline import Prepared, plan_config, prepare
from plait.core.plan.core import REVISIONS, SILENT
from plait.core.plan.growth import kept, outgrown, sizes
from plait.core.plan.model import Plan
from plait.core.plugins import Plugins
from plait.core.runtime import addresses, hops
from plait.core.runtime.capacity import MapUse, as_grown
from plait.core.runtime.datapath import Datapath, Swapped
from plait.core.runtime.devices import LinkTable, missing_cgroup
from plait.core.runtime.generation import Generation
from plait.core.runtime.inputs import (
    HOST_SOURCE,
    SOURCE,
    file_source,
    handlers_of,
    object_paths,
)
from plait.core.runtime.state import State

PUBLISHED = "published by"
"""How the sources of controllers begin. Of two objects with one key, that of SOURCE counts: the
store goes by name.
"""

GROW_PATIENCE = 60.0
"""Seconds until a map that could not grow is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a config: the swap, if one was due, and the first reconciliation."""

    plan: Plan
    swapped: Swapped | None
    compiled: int
    outcome: Outcome
    warnings: tuple[str, ...]


class Outgrown(Exception):
    """Maps of a generation that is about to run are too small: `entries` are their next sizes."""

    def __init__(self, entries: Mapping[str, int]) -> None:
        super().__init__(f"too small: {', '.join(entries)}")
        self.entries = entries


class Node:
    """Everything that one instance does. Not safe for threads; hold `runtime.lock` meanwhile.

    `grown` is called when maps have grown while they were in use, with their new sizes.
    """

    def __init__(
        self,
        paths: Paths,
        plugins: Plugins,
        grown: Callable[[Swapped, Mapping[str, int]], None] = lambda *_: None,
    ) -> None:
        self.paths = paths
        self.datapath = Datapath.adopt(paths)
        self.store = Store()
        self._overlaps = Overlaps()
        self.links = LinkTable()
        self.links.refresh()
        self.store.replace(HOST_SOURCE, (self.links.host,))
        self._plugins = plugins
        self._kernel = probe()
        self._config: Config | None = None
        self._plan: Plan | None = None
        self._source: FileSource | None = None
        self._snapshot = Snapshot(objects=(), problems=(), warnings=())
        self._reconciler: Reconciler | None = None
        self._outcome = Outcome(updated=0, deleted=0)
        self._grown = grown
        self._last: Collection[tuple[str, str]] = ()  # of what runs: who was refused
        self._stuck: PlaitError | None = None
        self._grow_again = 0.0
        self._news: set[Key] | None = None
        self.controllers: tuple[Controller, ...] = ()

    @property
    def object_paths(self) -> tuple[Path, ...]:
        """Where objects are read from: the config's folders, and this instance's endpoints."""
        return object_paths(self._config, self.paths) if self._config else ()

    @property
    def objects(self) -> int:
        """How many objects the files have, without those that have the name of another one."""
        return self.store.size(SOURCE)

    @property
    def problems(self) -> tuple[PlaitError, ...]:
        """Everything that is wrong with objects now."""
        stuck = (self._stuck,) if self._stuck else ()
        return (*self._snapshot.problems, *self.store.problems(), *self._outcome.problems, *stuck)

    @property
    def warnings(self) -> tuple[PlaitError, ...]:
        """What was passed over, or is most likely not meant."""
        return (*self._snapshot.warnings, *self._overlaps.warnings(self.store))

    def uses(self, flow_tables: Mapping[str, int]) -> tuple[MapUse, ...]:
        """How full the maps are that settings size: those that objects fill, and the flow tables,
        of which the live entries are given.
        """
        planned = sizes(self._plan) if self._plan else {}
        entries = {**self._outcome.entries, **flow_tables}
        return tuple(
            MapUse.of(name, size, entries[name])
            for name, size in planned.items()
            if name in entries
        )

    def apply(self, path: Path) -> Applied:
        """Make the config at `path` the one that runs. PlaitError: what ran before still runs."""
        path = path.absolute()  # it is remembered, and who asks later may be elsewhere
        config = load_config(path, self._plugins.features())
        self.links.check(config)
        state = self.datapath.state
        plan = as_grown(
            plan_config(config, self._plugins, self._kernel),
            state.map_sizes if state else {},
            self.datapath.maps,
        )
        raise_all(missing_cgroup(plan))
        controllers = self._plugins.controllers(config)
        prepared = prepare(plan, self.paths.cache)
        source = self._source_of(config)
        changed = self._take(source.scan())
        swapped = None
        self._last = self._outcome.refused
        try:
            if self.datapath.is_current(prepared):
                addresses.write(self.datapath.maps, self.links.own)
                self._reconcile(config, plan, self._running, changed)
                self.datapath.place(self.links.wanted(config, self.store.values()))
                self.datapath.remember(prepared, str(path))
            else:
                plan, swapped = self._replace(config, prepared, changed, origin=str(path))
        except BaseException:
            self._restore()
            raise
        self._config, self._source, self._plan = config, source, plan
        self.controllers = controllers
        self._grow_again = 0.0
        swapped = self.grow() or swapped
        return Applied(
            plan=self._plan,
            swapped=swapped,
            compiled=len(prepared.compiled.objects) - prepared.compiled.cached,
            outcome=self._outcome,
            warnings=prepared.compiled.warnings,
        )

    def is_left_behind(self, path: Path) -> bool:
        """True when the config at `path` is the one that a rollback has led away from."""
        state = self.datapath.state
        if state is None or not state.held:
            return False
        try:
            return state.left_behind(load_config(path.absolute(), self._plugins.features()))
        except PlaitError:
            return False

    def scan(self, paths: Set[str] = frozenset()) -> Outcome | None:
        """Read the objects again, and bring maps and attachments in step; None: nothing changed.

        `paths` are those at which something may have changed, when that is known.
        """
        if self._source is None:
            return None
        return self._follow(self._take(self._source.scan(paths)))

    def publish(self, controller: str, objects: Sequence[Object]) -> Outcome | None:
        """Make `objects` all that a controller has; as `scan`."""
        return self._follow(self._put(f"{PUBLISHED} {controller}", objects))

    def news(self) -> Collection[Key] | None:
        """The keys of objects that have changed since this was last asked for; None: all may."""
        news, self._news = self._news, set()
        return news

    def grow(self) -> Swapped | None:
        """Replace maps that have no room for what is wanted by larger ones, as far as the config
        allows; None: there is nothing to do.

        Traffic goes on. When it fails, what fits is served; it is tried again, not at once.
        """
        if self._plan is None or self._config is None or self.datapath.state is None:
            return None
        larger = outgrown(self._plan, self._outcome.wanted)
        if not larger:
            self._stuck = None
            return None
        if time.monotonic() < self._grow_again:
            return None
        state = self.datapath.state
        self._last = self._outcome.refused
        try:
            prepared = prepare(self._plan, self.paths.cache).resized(larger)
            self._plan, swapped = self._replace(
                self._config, prepared, (), origin=state.config, way_back=state
            )
        except PlaitError as error:
            self._restore()
            self._stuck = PlaitError(f"{', '.join(larger)} cannot grow: {error}", hint=error.hint)
            self._grow_again = time.monotonic() + GROW_PATIENCE
            return None
        self._stuck = None
        now = {each.spec.name: each.entries for each in self._plan.maps}
        self._grown(swapped, {name: now[name] for name in larger})
        return swapped

    def links_changed(self, names: Collection[str]) -> None:
        """Links of these names came, went or changed: follow with entries and attachments."""
        self._sync_endpoints(lambda each: each.interface in names)
        self.place()

    def place(self) -> None:
        """Attach where devices are wanted, let go where they are not."""
        if self._config is not None:
            before = self.links.uplinks
            self.datapath.place(self.links.wanted(self._config, self.store.values()))
            if others := before ^ self.links.uplinks:
                self._sync_endpoints(lambda each: each.interface in others)

    def routes_changed(self) -> None:
        """The kernel routes otherwise now: every flow decides again."""
        if self.datapath.generation:
            Revisions(self.datapath.maps[REVISIONS]).bump_all()

    def hops_changed(self, events: Iterable[NeighbourChanged]) -> bool:
        """Neighbours answer now, or do not any more. True when one fell silent: flows that go by it
        to elsewhere must decide again, too, when there is time for all of them.
        """
        silent = self.datapath.maps.get(SILENT)
        if silent is None:
            return False
        fallen = hops.follow(silent, events)
        Revisions(self.datapath.maps[REVISIONS]).bump(fallen)
        return bool(fallen)

    def hops_unknown(self) -> None:
        """Which neighbours answer must be learnt anew."""
        if silent := self.datapath.maps.get(SILENT):
            silent.clear()

    def addresses_changed(self) -> None:
        """The node's own addresses changed."""
        changed = self.links.refresh_addresses()
        if self.datapath.generation:
            addresses.write(self.datapath.maps, self.links.own)
        if changed:
            self._sync(self.store.replace(HOST_SOURCE, (self.links.host,)).keys)
            self._sync_endpoints(lambda each: not changed.isdisjoint(each.addresses))
            self.place()
        self.routes_changed()

    def rollback(self) -> int:
        """Back to the generation before, with the config that it was made from."""
        self.resume()
        state = self.datapath.way_back()
        config = self._remembered(state)
        plan = kept(plan_config(config, self._plugins, self._kernel), state.map_sizes)
        raise_all(missing_cgroup(plan))
        controllers = self._plugins.controllers(config)
        anchors = self.links.wanted(config, self.store.values())
        fill = partial(self._fill, config, plan, self.store.keys())
        self._last = self._outcome.refused
        try:
            try:
                self.datapath.rollback(state, plan, anchors, fill)
            except Outgrown as small:
                self._reconciler = None
                prepared = prepare(plan, self.paths.cache).resized(small.entries)
                plan, _ = self._replace(
                    config, prepared, self.store.keys(), origin=state.config, way_back=state
                )
        except BaseException:
            self._restore()
            raise
        self._config, self._plan, self._source = config, plan, self._source_of(config)
        self.controllers = controllers
        return self._running.number

    def resume(self) -> None:
        """Follow objects and devices for what runs, by the config that it was made from: until a
        config can be applied, nothing else is known.
        """
        if self._config is not None or self.datapath.state is None:
            return
        config = self._remembered(self.datapath.state)
        plan = kept(plan_config(config, self._plugins, self._kernel), self.datapath.state.map_sizes)
        controllers = self._plugins.controllers(config)
        source = self._source_of(config)
        changed = self._take(source.scan())
        anchors = self.links.wanted(config, self.store.values())
        self._reconcile(config, plan, self._running, changed)
        self._config, self._source, self._plan = config, source, plan
        self.controllers = controllers
        self.datapath.place(anchors)
        self.grow()

    def _remembered(self, state: State) -> Config:
        """The config that a state was made from."""
        config = config_of(state.settings, self._plugins.features())
        return replace(config, objects=tuple(Path(path) for path in state.objects))

    @property
    def _running(self) -> Generation:
        assert self.datapath.generation is not None
        return self.datapath.generation

    def _replace(
        self,
        config: Config,
        prepared: Prepared,
        changed: Collection[Key],
        *,
        origin: str,
        way_back: State | None = None,
    ) -> tuple[Plan, Swapped]:
        """Put a config in the place of what runs, on maps as large as they have to be: with its
        plan as it then is. See `Datapath.replace`.
        """
        anchors = self.links.wanted(config, self.store.values())
        fitted = self.datapath.generation is not None and not self._outcome.overflows
        while True:
            fill = partial(self._fill, config, prepared.plan, changed, fitted=fitted)
            try:
                swapped = self.datapath.replace(
                    prepared, anchors, config=origin, fill=fill, way_back=way_back
                )
            except Outgrown as small:
                prepared = prepared.resized(small.entries)
                self._reconciler = None
            else:
                return prepared.plan, swapped

    def _fill(
        self,
        config: Config,
        plan: Plan,
        changed: Collection[Key],
        generation: Generation,
        *,
        fitted: bool = False,
    ) -> None:
        """Write what is wanted to the maps of a generation that is about to run. Raises `Outgrown`
        for maps that may be larger, PlaitError when not all fits that has `fitted` until now.
        """
        addresses.write(generation.maps, self.links.own)
        self._reconcile(config, plan, generation, changed)
        if larger := outgrown(plan, self._outcome.wanted):
            raise Outgrown(larger)
        if fitted:  # smaller maps would take entries from under the traffic of what runs
            raise_all(self._outcome.overflows)

    def _reconcile(
        self, config: Config, plan: Plan, generation: Generation, changed: Collection[Key]
    ) -> None:
        """Bring the maps of a generation in step with all objects: only what changed, when the same
        handlers filled the same maps before.
        """
        targets = reconciled_targets(plan, generation.maps)
        if (
            self._reconciler is not None
            and self._config is not None
            and self._config.sections == config.sections
            and _ids(targets, generation) == _ids(targets, self._running)
        ):
            self._reconciler.rebind(targets)
            self._sync(changed)
        else:
            self._reconciler = self._reconciler_of(config, targets, generation)
            self._sync(None)

    def _restore(self) -> None:
        """A config failed half-way: objects and entries as the one before wants them."""
        self._reconciler = None
        if self._config and self._plan and self._source:
            self.links.wanted(self._config, ())  # its uplinks are what endpoints must not be
            changed = self._take(self._source.scan())
            self._reconcile(self._config, self._plan, self._running, changed)

    def _source_of(self, config: Config) -> FileSource:
        if self._source and self.object_paths == object_paths(config, self.paths):
            return self._source
        return file_source(config, self.paths, self._plugins)

    def _reconciler_of(
        self, config: Config, targets: Mapping[str, KernelTarget], generation: Generation
    ) -> Reconciler:
        revisions = Revisions(generation.maps[REVISIONS])
        return Reconciler(
            handlers_of(config, self.links, self._plugins),
            targets,
            bump=revisions.bump,
            bump_all=revisions.bump_all,
            last=self._last,
        )

    def _take(self, snapshot: Snapshot) -> frozenset[Key]:
        self._snapshot = snapshot
        return self._put(SOURCE, snapshot.objects)

    def _put(self, source: str, objects: Iterable[Object]) -> frozenset[Key]:
        changed = self.store.replace(source, objects).keys
        self._overlaps.update(self.store, changed)
        return changed

    def _follow(self, changed: Collection[Key]) -> Outcome | None:
        """Bring maps and attachments in step; None: nothing changed."""
        if not changed:
            return None
        self._sync(changed)
        self.grow()
        outcome = self._outcome
        if any(kind == Endpoint.kind for kind, _, _ in changed):
            self.place()
        return outcome

    def _sync(self, changed: Collection[Key] | None) -> Outcome:
        self._news = None if changed is None or self._news is None else self._news.union(changed)
        if self._reconciler is not None:
            self._outcome = self._reconciler.sync(
                self.store, changed, complete=not self._snapshot.problems
            )
        return self._outcome

    def _sync_endpoints(self, concerned: Callable[[Endpoint], bool]) -> None:
        """Ask again what these endpoints want: what is around them changed."""
        endpoints = (each for each in self.store.values() if isinstance(each, Endpoint))
        if keys := [each.key for each in endpoints if concerned(each)]:
            self._sync(keys)
            self.grow()


def _ids(names: Iterable[str], generation: Generation) -> tuple[int | None, ...]:
    """The kernel's ids of these maps."""
    maps = (generation.maps.get(name) for name in names)
    return tuple(each.info.id if each else None for each in maps)

"""The datapath of one instance: the generation that runs, where it is attached, and its swap."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from typing import Self

from plait.core.api.contract import OnReload
from plait.core.config.data import config_data, object_folders
from plait.core.config.model import AttachBy
from plait.core.control.revisions import Revisions
from plait.core.errors import PlaitError, SystemProblem
from plait.core.kernel import links
from plait.core.kernel.links import Attachment, Mechanism
from plait.core.kernel.maps import Map, MapFull
from plait.core.kernel.pins import Paths
from plait.core.pipeline import Prepared
from plait.core.plan.core import REVISIONS
from plait.core.plan.growth import sizes
from plait.core.plan.model import Plan
from plait.core.runtime import attachments, generation
from plait.core.runtime.actions import PROC_SYS, Action, WriteState, WriteSysctl, perform
from plait.core.runtime.attachments import Anchors, Place, places
from plait.core.runtime.generation import Generation
from plait.core.runtime.handover import Handover, end_handover, handing_over
from plait.core.runtime.migration import migrate
from plait.core.runtime.proving import prove
from plait.core.runtime.settings import changes as settings_changes
from plait.core.runtime.staging import MapChange, stage
from plait.core.runtime.state import OldSettings, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """What a swap did: the new generation, each map's change, entries migrated, seconds it took."""

    number: int
    maps: Mapping[str, MapChange]
    migrated: int
    seconds: float


class Datapath:
    """What the kernel holds for one instance. One process at a time: see `runtime.lock`."""

    def __init__(self, paths: Paths, state: State | None, running: Generation | None) -> None:
        self._paths = paths
        self._links = paths.pins / "links"
        self.state = state
        self.generation = running
        self.attached: dict[Place, Attachment] = {}
        self._look()

    @classmethod
    def adopt(cls, paths: Paths) -> Self:
        """Take over what is pinned, and finish what a killed process left half done."""
        paths.make()
        (paths.pins / "links").mkdir(mode=0o700, exist_ok=True)
        state = State.read(paths.run)
        running = Generation.pinned(paths.pins, state.generation) if state else None
        datapath = cls(paths, state if running else None, running)
        datapath._repair()
        return datapath

    @property
    def maps(self) -> Mapping[str, Map]:
        """The maps of the running generation; none when nothing runs."""
        return self.generation.maps if self.generation else {}

    def is_current(self, prepared: Prepared) -> bool:
        """True when what runs is what this plan would run: no swap is due."""
        return is_current(prepared, self.state, self.maps)

    def replace(
        self,
        prepared: Prepared,
        anchors: Anchors,
        *,
        config: str,
        fill: Callable[[Generation], None],
        way_back: State | None = None,
    ) -> Swapped:
        """Prove a prepared plan, and put it in the place of what runs.

        `config` is remembered as its origin. `fill` writes wanted entries to the new generation's
        maps before it meets a packet. Whatever fails, the old programs run; the error says what is
        to be mended. A rollback then leads to what runs now or, when a state is given as
        `way_back`, to where it leads from that state.
        """
        began = time.monotonic()
        plan, objects = prepared.plan, prepared.compiled.objects
        prove(prepared, self._paths.cache)
        same = unchanged(prepared, self.state)
        staged = stage(plan, objects, self.generation, unchanged=same)
        number = max((*generation.numbers(self._paths.pins), 0)) + 1
        fresh = Generation(number=number, programs=staged.programs, maps=staged.maps)
        changed = [n for n, change in staged.changes.items() if change is MapChange.MIGRATED]
        revisions = Revisions(fresh.maps[REVISIONS])
        old = self.generation
        with ExitStack() as handing:
            try:
                if staged.changes[REVISIONS] is MapChange.NEW:
                    revisions.bump_all()
                flows = handing.enter_context(self._handing_over(plan, changed, fresh))
                migrated = self._migrate(plan, changed, fresh, old)
                fill(fresh)
                fresh.pin(self._paths.pins)
                for each in flows:
                    each.follow()
                self._swap(prepared, fresh, anchors, config, way_back)
            except BaseException:
                generation.forget(self._paths.pins, number)
                fresh.close()
                raise
            with suppress(PlaitError, MapFull):  # no room left: what came last begins anew
                for each in flows:
                    each.settle()
                migrated += self._migrate(plan, changed, fresh, old)
        revisions.bump_all()
        self._forget_others()
        if old:
            old.close()
        return Swapped(
            number=number,
            maps=staged.changes,
            migrated=migrated,
            seconds=time.monotonic() - began,
        )

    def remember(self, prepared: Prepared, config: str) -> None:
        """Another config leads to what runs already."""
        if self.state is not None:
            settings = config_data(prepared.plan.config)
            objects = object_folders(prepared.plan.config)
            self.state = replace(
                self.state,
                config=config,
                settings=settings,
                objects=objects,
                sizes=_sizes(prepared.plan),
                held=False,
            )
            self.state.write(self._paths.run)

    def place(self, anchors: Anchors) -> None:
        """Attach the running programs to what appeared, let go where they are not wanted."""
        if self.state is None or self.generation is None:
            return
        programs = self.generation.programs
        self._perform(
            attachments.changes(
                places(programs, anchors),
                self.attached,
                mechanism=Mechanism(self.state.mechanism),
                folder=self._links,
                programs=programs,
                before=programs,
            )
        )

    def way_back(self) -> State:
        """The state that a rollback leads to. PlaitError when there is none."""
        if self.state is None or not self.state.before:
            raise PlaitError("there is no generation to go back to")
        return self.state.undone()

    def rollback(
        self, state: State, plan: Plan, anchors: Anchors, fill: Callable[[Generation], None]
    ) -> None:
        """Run the generation of `state`, which `plan` was made for; `fill` as in `replace`."""
        current, target = self.generation, Generation.pinned(self._paths.pins, state.generation)
        if current is None or target is None:
            raise SystemProblem(f"generation {state.generation} is not pinned any more")
        if unknown := {each.spec.name for each in plan.maps} - target.maps.keys():
            target.close()
            raise SystemProblem(
                f"generation {state.generation} has no map {', '.join(sorted(unknown))}: another "
                "version of Plait or of a plugin made it",
                hint="apply a config instead",
            )
        ids = {name: each.info.id for name, each in current.maps.items()}
        moved = [
            each.spec.name
            for each in plan.maps
            if each.spec.on_reload is OnReload.CARRY
            and not each.spec.reconciled
            and target.maps[each.spec.name].info.id != ids.get(each.spec.name)
        ]
        with ExitStack() as handing:
            try:
                flows = handing.enter_context(self._handing_over(plan, moved, target))
                for name in moved:  # what it held when it last ran is past
                    target.maps[name].clear()
                self._migrate(plan, moved, target, current)
                fill(target)
                for each in flows:
                    each.follow()
                self._turn_to(target, state, anchors)
            except BaseException:
                target.close()
                raise
            with suppress(PlaitError, MapFull):
                for each in flows:
                    each.settle()
        Revisions(target.maps[REVISIONS]).bump_all()
        current.close()

    def detach(self) -> None:
        """Take everything off devices and cgroup, undo settings, forget all generations."""
        for place in reversed(list(self.attached)):
            links.detach(self.attached[place])
        self.attached = {}
        before = OldSettings(self._paths.run)
        for path, value in before.read().items():
            if (PROC_SYS / path).exists():
                (PROC_SYS / path).write_text(value)
        before.forget()
        self.close()
        generation.forget_others(self._paths.pins, ())
        State.remove(self._paths.run)
        self.state = None

    def close(self) -> None:
        """Let go of descriptors; the datapath goes on without us."""
        if self.generation:
            self.generation.close()
            self.generation = None

    def _look(self) -> None:
        """See what is attached in the way that was committed."""
        mechanism = Mechanism(self.state.mechanism) if self.state else None
        self.attached = attachments.adopt(self._links, mechanism)

    def _repair(self) -> None:
        """A process killed in the middle of a swap: what was committed is what runs."""
        if self.state is None or self.generation is None:
            for found in self.attached.values():
                links.detach(found)
            self.attached = {}
            return
        end_handover(self.maps)
        self._forget_others()
        attachments.detach_others(self._links, Mechanism(self.state.mechanism))
        ids = self.generation.program_ids()
        for place, found in list(self.attached.items()):
            if place.program not in ids:
                links.detach(found)
                del self.attached[place]
            elif links.program_id(found) != ids[place.program]:
                links.update(found, self.generation.programs[place.program])

    def _forget_others(self) -> None:
        """Let go of all generations but the one that runs and the one that a rollback leads to."""
        if self.state is not None:
            kept = (self.state.generation, self.state.previous)
            generation.forget_others(self._paths.pins, filter(None, kept))

    def _handing_over(
        self, plan: Plan, changed: Collection[str], new: Generation
    ) -> AbstractContextManager[tuple[Handover, ...]]:
        """From the running generation to a new one, whose flow tables are among the `changed`."""
        specs = {each.spec.name: each.spec for each in plan.maps}
        return handing_over(specs, changed, self.maps, new.maps)

    def _migrate(
        self, plan: Plan, names: list[str], fresh: Generation, old: Generation | None
    ) -> int:
        source = old.maps if old else {}
        specs = {each.spec.name: each.spec for each in plan.maps}
        return sum(
            migrate(specs[name], source[name], fresh.maps[name]) for name in names if name in source
        )

    def _swap(
        self,
        prepared: Prepared,
        fresh: Generation,
        anchors: Anchors,
        config: str,
        way_back: State | None,
    ) -> None:
        """Make settings, attach the new programs everywhere and commit them, or change nothing."""
        settings = settings_changes(self._paths.run, prepared.plan.sysctls)
        state = self._next_state(prepared, fresh, config)
        if way_back is not None:
            state = state.on_the_way_of(way_back)
        self._turn_to(fresh, state, anchors, settings)

    def _turn_to(
        self,
        target: Generation,
        state: State,
        anchors: Anchors,
        settings: Sequence[WriteSysctl] = (),
    ) -> None:
        self._perform(
            (
                *settings,
                *attachments.changes(
                    places(target.programs, anchors),
                    self.attached,
                    mechanism=Mechanism(state.mechanism),
                    folder=self._links,
                    programs=target.programs,
                    before=self.generation.programs if self.generation else {},
                ),
                WriteState(run=self._paths.run, state=state, before=self.state),
            )
        )
        self.state, self.generation = state, target
        self._look()

    def _perform(self, actions: Sequence[Action]) -> None:
        try:
            perform(actions)
        except OSError as error:
            raise SystemProblem(f"the programs cannot be attached: {error}") from error
        finally:
            self._look()

    def _next_state(self, prepared: Prepared, fresh: Generation, config: str) -> State:
        """The state that makes `fresh` the generation that a restart adopts."""
        return State(
            generation=fresh.number,
            previous=self.generation.number if self.generation else None,
            config=config,
            mechanism=mechanism_of(prepared.plan).value,
            applied=time.time(),
            programs=prepared.keys,
            plugins={use.name: use.version for use in prepared.plan.plugins},
            settings=config_data(prepared.plan.config),
            objects=object_folders(prepared.plan.config),
            before=self.state.plain() if self.state else {},
            drops={drop.name: drop.sentence for drop in prepared.plan.drops},
            sizes=_sizes(prepared.plan),
        )


def _sizes(plan: Plan) -> dict[str, dict[str, object]]:
    return {name: asdict(size) for name, size in sizes(plan).items()}


def is_current(prepared: Prepared, state: State | None, maps: Mapping[str, Map]) -> bool:
    """True when what runs, of which these are the state and the maps, is what this plan would run:
    no swap is due.
    """
    if state is None or dict(state.programs) != dict(prepared.keys):
        return False
    if state.mechanism != mechanism_of(prepared.plan).value:
        return False
    return all(maps[each.spec.name].info.max_entries == each.entries for each in prepared.plan.maps)


def unchanged(prepared: Prepared, state: State | None) -> frozenset[str]:
    """The objects that a running state has with the same content."""
    same = prepared.keys.items() & (state.programs if state else {}).items()
    return frozenset(name for name, _ in same)


def mechanism_of(plan: Plan) -> Mechanism:
    """How the plan's programs are attached: as the config says, else links where there are any."""
    wanted = plan.config.node.attach
    if wanted is AttachBy.AUTO:
        return Mechanism.TCX if plan.kernel.get("tcx") else Mechanism.CLSACT
    return Mechanism(wanted.value)

"""The state of one instance, gathered for `plait status`."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from zlib import crc32

from plait.core.kernel import links
from plait.core.kernel.links import Attachment, TargetGone
from plait.core.kernel.maps import Map
from plait.core.kernel.pins import Paths
from plait.core.plan.core import DROPS
from plait.core.runtime import attachments
from plait.core.runtime.agent import Status
from plait.core.runtime.capacity import MapUse, nearly_full
from plait.core.runtime.generation import Generation
from plait.core.runtime.reading import read_agent
from plait.core.runtime.state import State, from_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedPlace:
    """A program of ours on a device or at a cgroup, of which one is None, and the names of others'
    programs beside it.
    """

    device: str | None
    cgroup: str | None
    hook: str
    program: str
    mechanism: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatus:
    """What runs. `state` is None when nothing does, `agent` when no agent does."""

    state: State | None
    agent: Status | None
    places: tuple[AttachedPlace, ...] = ()
    drops: dict[str, int] = field(default_factory=dict)
    maps: tuple[MapUse, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the agent warns of; without one, of which maps it would warn."""
        if self.agent is not None:
            return tuple(self.agent.warnings)
        return tuple(use.warning for use in nearly_full(self.maps))

    @property
    def problems(self) -> tuple[str, ...]:
        """What the agent refused, and why."""
        if self.agent is None:
            return ()
        return (*((self.agent.error,) if self.agent.error else ()), *self.agent.problems)

    def plain(self) -> dict[str, object]:
        """As plain data."""
        return {
            "generation": self.state.generation if self.state else None,
            **asdict(self),
            "warnings": self.warnings,
            "problems": self.problems,
        }


def read_status(paths: Paths) -> InstanceStatus:
    """Look at files, pins and devices; nothing is changed."""
    state, agent = State.read(paths.run), read_agent(paths.run)
    running = Generation.pinned(paths.pins, state.generation) if state else None
    if state is None or running is None:
        return InstanceStatus(state=None, agent=agent)
    try:
        return InstanceStatus(
            state=state,
            agent=agent,
            places=_places(paths, set(running.program_ids().values())),
            drops=_drops(running.maps[DROPS], state),
            maps=tuple(_uses(running.maps, state, agent)),
        )
    finally:
        running.close()


def _uses(maps: Mapping[str, Map], state: State, agent: Status | None) -> Iterator[MapUse]:
    """As the agent has counted; the rest is counted now."""
    counted = {str(use["name"]): from_plain(MapUse, use) for use in agent.maps} if agent else {}
    for name, size in state.map_sizes.items():
        yield counted.get(name) or MapUse.of(name, size, maps[name].count())


def _places(paths: Paths, ours: set[int]) -> tuple[AttachedPlace, ...]:
    return tuple(
        AttachedPlace(
            device=place.device,
            cgroup=place.cgroup,
            hook=place.hook.value,
            program=place.program,
            mechanism=found.mechanism.value,
            others=tuple(_others(found, ours)),
        )
        for place, found in attachments.adopt(paths.pins / "links").items()
    )


def _others(place: Attachment, ours: set[int]) -> Iterator[str]:
    with suppress(TargetGone):
        for each in links.programs_in(place):
            if each.program_id not in ours:
                yield each.name


def _drops(counts: Map, state: State) -> dict[str, int]:
    """Packets dropped by reason, most first."""
    key_codec, value_codec = counts.codecs()
    names = {crc32(name.encode()): name for name in state.drops}
    totals = {}
    for key, value in counts.items():
        reason = key_codec.decode(key)["reason"]
        packets = sum(
            int(str(value_codec.decode(one)["packets"])) for one in counts.cpu_values(value)
        )
        name = names.get(reason, str(reason)) if isinstance(reason, int) else str(reason)
        totals[name] = packets
    return dict(sorted(totals.items(), key=lambda each: -each[1]))

"""Capacity: how full the maps are that a setting sizes, and of which of them to warn."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from plait.core.kernel.maps import Map
from plait.core.plan.growth import MapSize, kept, outgrown, resized
from plait.core.plan.model import Plan

WARN_PERCENT = 80
"""From here on a map is warned of."""

CALM_PERCENT = 75
"""Below this it is no longer: what goes up and down by a few entries is told of once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapUse:
    """How many entries a map has, of how many that it has room for (`capacity`).

    `key` is the setting that sizes it, `bound` the capacity that it may grow to by itself.
    """

    name: str
    key: str | None
    entries: int
    capacity: int
    percent: int
    bound: int

    @classmethod
    def of(cls, name: str, size: MapSize, entries: int) -> Self:
        """The use of a map of this size that has so many entries."""
        return cls(
            name=name,
            key=size.key,
            entries=entries,
            capacity=size.entries,
            percent=100 * entries // size.entries,
            bound=size.bound,
        )

    @property
    def warning(self) -> str:
        """What is told of a map that is nearly full."""
        room = f"{self.entries:,} of {self.capacity:,}"
        if self.bound > self.capacity:
            room += f", and it may grow to {self.bound:,}"
        advice = f": raise {self.key}" if self.key else ""
        return f"map {self.name} is {self.percent} % full ({room}){advice}"


def nearly_full(uses: Iterable[MapUse], known: Collection[str] = ()) -> tuple[MapUse, ...]:
    """The maps to warn of, when those of these names are `known` to be nearly full."""
    return tuple(
        use for use in uses if use.percent >= (CALM_PERCENT if use.name in known else WARN_PERCENT)
    )


def as_grown(plan: Plan, before: Mapping[str, MapSize], maps: Mapping[str, Map]) -> Plan:
    """The plan with maps as large as they have grown `before`, by the `maps` that run.

    One that is declared otherwise now starts anew, but has room for what is in use.
    """
    plan = kept(plan, before)
    used = {
        each.spec.name: maps[each.spec.name].count()
        for each in plan.maps
        if each.entries < each.bound
        and each.spec.name in maps
        and each.entries < maps[each.spec.name].info.max_entries
    }
    return resized(plan, outgrown(plan, used))

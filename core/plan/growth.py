"""Growth: a map that turns out to be too small gets more room, up to what the config allows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from plait.core.plan.model import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSize:
    """How many entries a map has room for: as the setting `key` declares it, as it is, at most."""

    declared: int
    entries: int
    bound: int
    key: str | None


def sizes(plan: Plan) -> dict[str, MapSize]:
    """The sizes of the maps that a setting sizes, by name."""
    return {
        each.spec.name: MapSize(
            declared=each.spec.max_entries,
            entries=each.entries,
            bound=each.bound,
            key=each.spec.config_key,
        )
        for each in plan.maps
        if each.spec.config_key or each.spec.grows_to
    }


def resized(plan: Plan, entries: Mapping[str, int]) -> Plan:
    """The same plan, with another size of these maps."""
    return replace(
        plan,
        maps=tuple(
            replace(each, grown=entries.get(each.spec.name, each.grown)) for each in plan.maps
        ),
    )


def kept(plan: Plan, before: Mapping[str, MapSize]) -> Plan:
    """The plan with the sizes that its maps have grown to `before`, as far as it allows them.

    One that is declared otherwise now starts anew.
    """
    known = {
        each.spec.name: min(size.entries, each.bound)
        for each in plan.maps
        if (size := before.get(each.spec.name))
        and size.declared == each.spec.max_entries < size.entries
    }
    return resized(plan, known)


def outgrown(plan: Plan, wanted: Mapping[str, int]) -> dict[str, int]:
    """The next size of each map that may grow and has no room for the entries that are `wanted`.

    At least double, so that growing stays rare; with half as much again as is wanted.
    """
    return {
        each.spec.name: min(each.bound, max(2 * each.entries, wanted[each.spec.name] * 3 // 2))
        for each in plan.maps
        if each.entries < each.bound and wanted.get(each.spec.name, 0) > each.entries
    }

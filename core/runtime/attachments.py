"""Where programs belong: each hook of a plan on each device that it is for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plait.core.api.contract import Hook
from plait.core.kernel import links
from plait.core.kernel.info import program_info
from plait.core.kernel.links import Attachment, Device, Direction, Mechanism
from plait.core.runtime.actions import Attach, Detach, Replace

Change = Attach | Replace | Detach

_DIRECTIONS = {
    Hook.NETDEV_EGRESS: Direction.EGRESS,
    Hook.NETDEV_INGRESS: Direction.INGRESS,
    Hook.POD_INGRESS: Direction.EGRESS,
    Hook.POD_EGRESS: Direction.INGRESS,
}
"""In the order of attaching: hooks that meet replies before those that make flows."""

_AT_UPLINKS = (Hook.NETDEV_EGRESS, Hook.NETDEV_INGRESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A hook on a device."""

    hook: Hook
    device: Device

    @property
    def direction(self) -> Direction:
        """Which packets of the device the hook sees."""
        return _DIRECTIONS[self.hook]

    def pin(self, folder: Path, mechanism: Mechanism) -> Path:
        """Where its attachment is pinned."""
        return folder / f"{self.device.ifindex}-{self.hook.value}-{mechanism.value}"


def places(
    hooks: Iterable[Hook], uplinks: Sequence[Device], pods: Sequence[Device]
) -> tuple[Place, ...]:
    """Every place that a program belongs to, in the order in which they are attached."""
    wanted = set(hooks)
    return tuple(
        Place(hook=hook, device=device)
        for hook in _DIRECTIONS
        if hook in wanted
        for device in (uplinks if hook in _AT_UPLINKS else pods)
    )


def adopt(folder: Path, mechanism: Mechanism | None = None) -> dict[Place, Attachment]:
    """What is attached by `mechanism` (None: by any), as its pins say; pins of devices that are
    gone are removed.
    """
    return {
        Place(hook=_hook(found.pin), device=found.device): found
        for found in links.adopt_all(folder)
        if mechanism is None or found.mechanism is mechanism
    }


def detach_others(folder: Path, mechanism: Mechanism) -> None:
    """Take off what is attached in another way: a process was killed while it changed over."""
    for found in links.adopt_all(folder):
        if found.mechanism is not mechanism:
            links.detach(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Where a program of ours comes new, where one is there already, and where it goes."""

    new: tuple[Place, ...]
    there: tuple[Place, ...]
    gone: tuple[Place, ...]


def moves(
    wanted: Sequence[Place], attached: Mapping[Place, Attachment], mechanism: Mechanism
) -> Moves:
    """What leads from `attached` to `wanted`. A place whose mechanism changes is new, and goes."""
    there = {place for place, found in attached.items() if found.mechanism is mechanism}
    return Moves(
        new=tuple(place for place in wanted if place not in there),
        there=tuple(place for place in wanted if place in there),
        gone=tuple(place for place in attached if place not in there & set(wanted)),
    )


def changes(
    wanted: Sequence[Place],
    attached: Mapping[Place, Attachment],
    *,
    mechanism: Mechanism,
    folder: Path,
    programs: Mapping[str, int],
    before: Mapping[str, int],
) -> tuple[Change, ...]:
    """What leads from `attached` (running programs `before`) to `programs` at `wanted`.

    New places first, then replacements, then what goes, last first. A device that is for another
    hook now has room for one filter a direction: there the old one goes before the new one comes.
    """
    due = moves(wanted, attached, mechanism)
    swapped = {name for name in programs.keys() & before.keys() if _differ(programs, before, name)}
    new: list[Change] = [
        Attach(
            program=programs[place.hook.value],
            device=place.device,
            direction=place.direction,
            mechanism=mechanism,
            pin=place.pin(folder, mechanism),
        )
        for place in due.new
    ]
    replaced: list[Change] = [
        Replace(
            attachment=attached[place],
            program=programs[place.hook.value],
            before=before[place.hook.value],
        )
        for place in due.there
        if place.hook.value in swapped
    ]
    gone = [
        Detach(attachment=attached[place], before=before[place.hook.value])
        for place in reversed(due.gone)
    ]
    taken = {(each.device.ifindex, each.direction) for each in due.new}
    in_the_way = [
        each
        for each in gone
        if (each.attachment.device.ifindex, each.attachment.direction) in taken
        and each.attachment.mechanism is mechanism is Mechanism.CLSACT
    ]
    return (
        *in_the_way,
        *new,
        *replaced,
        *(each for each in gone if each not in in_the_way),
    )


def _differ(programs: Mapping[str, int], before: Mapping[str, int], name: str) -> bool:
    """Whether two descriptors are of two programs."""
    now, then = programs[name], before[name]
    return now != then and program_info(now).id != program_info(then).id


def _hook(pin: Path) -> Hook:
    return Hook(pin.name.split("-")[1])

"""Where programs belong: those of a plan on each device, or at the cgroup, that they are for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plait.codegen.render import SOCKETS
from plait.core.api.contract import Hook
from plait.core.kernel import links
from plait.core.kernel.cgroups import Cgroup
from plait.core.kernel.info import program_info
from plait.core.kernel.libbpf import AttachType
from plait.core.kernel.links import Attachment, Device, Direction, Mechanism, OnCgroup, OnDevice
from plait.core.runtime.actions import Attach, Detach, Replace

Change = Attach | Replace | Detach

_DIRECTIONS = {
    Hook.NETDEV_EGRESS: Direction.EGRESS,
    Hook.NETDEV_INGRESS: Direction.INGRESS,
    Hook.POD_INGRESS: Direction.EGRESS,
    Hook.POD_EGRESS: Direction.INGRESS,
}
_CALLS = {
    (Hook.SOCK_RECVMSG, 4): AttachType.CGROUP_UDP4_RECVMSG,
    (Hook.SOCK_RECVMSG, 6): AttachType.CGROUP_UDP6_RECVMSG,
    (Hook.SOCK_GETPEERNAME, 4): AttachType.CGROUP_INET4_GETPEERNAME,
    (Hook.SOCK_GETPEERNAME, 6): AttachType.CGROUP_INET6_GETPEERNAME,
    (Hook.SOCK_SENDMSG, 4): AttachType.CGROUP_UDP4_SENDMSG,
    (Hook.SOCK_SENDMSG, 6): AttachType.CGROUP_UDP6_SENDMSG,
    (Hook.SOCK_CONNECT, 4): AttachType.CGROUP_INET4_CONNECT,
    (Hook.SOCK_CONNECT, 6): AttachType.CGROUP_INET6_CONNECT,
}
_AT_UPLINKS = (Hook.NETDEV_EGRESS, Hook.NETDEV_INGRESS)
_ON_DEVICES = {hook.value: hook for hook in _DIRECTIONS}
_AT_CGROUP = {
    SOCKETS[hook].program(family): (hook, call) for (hook, family), call in _CALLS.items()
}
_ORDER = (*_ON_DEVICES, *_AT_CGROUP)
"""Programs in the order of attaching: those that meet replies before those that make flows, those
of packets before those of sockets. So what a process is told of an answer is what it asked for.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """What programs are attached to, of what exists now."""

    uplinks: tuple[Device, ...] = ()
    pods: tuple[Device, ...] = ()
    cgroup: Cgroup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A program on a device, or at a cgroup."""

    program: str
    target: Device | Cgroup

    @property
    def hook(self) -> Hook:
        """The hook that the program is of."""
        if self.program in _AT_CGROUP:
            return _AT_CGROUP[self.program][0]
        return _ON_DEVICES[self.program]

    @property
    def device(self) -> str | None:
        """The name of the device, if it is on one."""
        return self.target.name if isinstance(self.target, Device) else None

    @property
    def cgroup(self) -> str | None:
        """The path of the cgroup, or its id where that is not to be seen, if it is at one."""
        return str(self.target.path or self.target.id) if isinstance(self.target, Cgroup) else None

    def attachment(self, folder: Path, mechanism: Mechanism) -> Attachment:
        """How it is attached, pinned in the folder; `mechanism` is that of devices."""
        if isinstance(self.target, Device):
            return OnDevice(
                device=self.target,
                direction=_DIRECTIONS[self.hook],
                mechanism=mechanism,
                pin=folder / f"{self.target.ifindex}-{self.program}-{mechanism.value}",
            )
        return OnCgroup(
            cgroup=self.target,
            call=_AT_CGROUP[self.program][1],
            pin=folder / f"{self.target.id}-{self.program}-{Mechanism.CGROUP.value}",
        )


def places(programs: Collection[str], anchors: Anchors) -> tuple[Place, ...]:
    """Every place that one of these programs belongs to, in the order in which they are attached.

    Those that are not attached are passed over.
    """
    return tuple(
        Place(program=program, target=target)
        for program in _ORDER
        if program in programs
        for target in _targets(program, anchors)
    )


def adopt(folder: Path, mechanism: Mechanism | None = None) -> dict[Place, Attachment]:
    """What is attached, to devices by `mechanism` (None: by any), as its pins say, in the order of
    attaching; pins of what is gone are removed.
    """
    found = {
        Place(program=_program(each.pin), target=_target(each)): each
        for each in links.adopt_all(folder)
        if mechanism is None or _is_by(each, mechanism)
    }
    return dict(sorted(found.items(), key=lambda item: _ORDER.index(item[0].program)))


def detach_others(folder: Path, mechanism: Mechanism) -> None:
    """Take off what is attached in another way: a process was killed while it changed over."""
    for found in links.adopt_all(folder):
        if not _is_by(found, mechanism):
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
    there = {place for place, found in attached.items() if _is_by(found, mechanism)}
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
    new = [
        Attach(program=programs[place.program], place=place.attachment(folder, mechanism))
        for place in due.new
    ]
    replaced = [
        Replace(
            attachment=attached[place],
            program=programs[place.program],
            before=before[place.program],
        )
        for place in due.there
        if place.program in swapped
    ]
    gone = [
        Detach(attachment=attached[place], before=before[place.program])
        for place in reversed(due.gone)
    ]
    taken = {_filter(each.place) for each in new} - {None}
    in_the_way = [each for each in gone if _filter(each.attachment) in taken]
    return (
        *in_the_way,
        *new,
        *replaced,
        *(each for each in gone if each not in in_the_way),
    )


def _targets(program: str, anchors: Anchors) -> tuple[Device | Cgroup, ...]:
    if program in _AT_CGROUP:
        return (anchors.cgroup,) if anchors.cgroup else ()
    return anchors.uplinks if _ON_DEVICES[program] in _AT_UPLINKS else anchors.pods


def _filter(place: Attachment) -> tuple[int, Direction] | None:
    """What a device has room for once, if the place is of that kind."""
    if isinstance(place, OnDevice) and place.mechanism is Mechanism.CLSACT:
        return place.device.ifindex, place.direction
    return None


def _is_by(found: Attachment, mechanism: Mechanism) -> bool:
    """Whether it is attached as it should be, when devices' programs are by `mechanism`."""
    return isinstance(found, OnCgroup) or found.mechanism is mechanism


def _target(found: Attachment) -> Device | Cgroup:
    return found.device if isinstance(found, OnDevice) else found.cgroup


def _differ(programs: Mapping[str, int], before: Mapping[str, int], name: str) -> bool:
    """Whether two descriptors are of two programs."""
    now, then = programs[name], before[name]
    return now != then and program_info(now).id != program_info(then).id


def _program(pin: Path) -> str:
    return pin.name.split("-")[1]

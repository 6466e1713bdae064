"""Attaches programs to devices and to cgroups, in ways that look alike from outside.

An attachment is known by its pin, a path on bpffs, and is adopted from it after a restart. The
name of a pin must not contain a dot, which bpffs refuses. All calls concern the calling thread's
network namespace.

- TCX (Linux 6.6 and later): a pinned bpf link. It is appended: programs that are there before
  run before, and those that let a packet through for good (TCX_PASS) hide it from Plait, as they
  would hide it from any other program behind them.
- CLSACT: a cls_bpf filter behind those of others. There is no link to pin; the pin is a symbolic
  link that spells out the place.
- CGROUP (Linux 5.7 and later): a pinned bpf link. Programs of others at the same cgroup that are
  there before run before, those of the cgroups above it after.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeGuard

from plait.core.kernel import clsact, libbpf
from plait.core.kernel import info as kernel_info
from plait.core.kernel.cgroups import Cgroup, cgroup_by_id
from plait.core.kernel.info import LinkType
from plait.core.kernel.libbpf import AttachType

_GONE = (errno.ENODEV, errno.ENOLINK)
_QDISC_MARK = "clsact_"


class Mechanism(StrEnum):
    """How a program is attached: to a device in one of two ways, to a cgroup in the third."""

    TCX = "tcx"
    CLSACT = "clsact"
    CGROUP = "cgroup"


class Direction(StrEnum):
    """Which packets a program sees: those that the device receives, or those that it sends."""

    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A network device of this namespace. The name is for people; the index decides."""

    name: str
    ifindex: int

    def __str__(self) -> str:
        return f"device {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDevice:
    """A place on a device where Plait has a program, or will have one."""

    device: Device
    direction: Direction
    mechanism: Mechanism
    pin: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCgroup:
    """A place at a cgroup where Plait has a program, or will have one: a call of its sockets."""

    cgroup: Cgroup
    call: AttachType
    pin: Path

    @property
    def mechanism(self) -> Mechanism:
        return Mechanism.CGROUP


Attachment = OnDevice | OnCgroup


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedProgram:
    """A program in a place, whoever put it there."""

    mechanism: Mechanism
    program_id: int
    name: str


class TargetGone(Exception):
    """The device or the cgroup has vanished."""

    def __init__(self, target: Device | Cgroup) -> None:
        super().__init__(f"{target} is gone")
        self.target = target


def attach(program_fd: int, place: Attachment) -> None:
    """Attach a program and pin the attachment.

    TargetGone; FileExistsError when the pin or, with CLSACT, the place is taken. Then nothing
    has changed.
    """
    with _target_may_vanish(place):
        if _is_filter(place):
            _attach_clsact(program_fd, place)
        else:
            _attach_link(program_fd, place)


def update(attachment: Attachment, program_fd: int) -> None:
    """Put another program in place, atomically: each packet or call meets either. TargetGone."""
    with _target_may_vanish(attachment):
        if _is_filter(attachment):
            parent = _parent(attachment.direction)
            clsact.replace_filter(program_fd, attachment.device.ifindex, parent)
        else:
            with _pinned_link(attachment.pin) as link:
                libbpf.link_update(link, program_fd)


def detach(attachment: Attachment) -> None:
    """Take the program off, and the pin away; what is gone already does not matter.

    A clsact qdisc goes, too, if Plait made it and nobody has a filter in it.
    """
    if _is_filter(attachment):
        _detach_clsact(attachment)
    else:
        with suppress(FileNotFoundError), _pinned_link(attachment.pin) as link:
            # Removing the pin would detach later, at some moment of the kernel's choice.
            libbpf.link_detach(link)
    attachment.pin.unlink(missing_ok=True)


def adopt(pin: Path) -> Attachment | None:
    """The attachment that is pinned there; None, and no pin any more, when it is gone."""
    place = _read_clsact_pin(pin) if pin.is_symlink() else _read_link_pin(pin)
    if place is None:
        pin.unlink(missing_ok=True)
    return place


def adopt_all(folder: Path) -> tuple[Attachment, ...]:
    """The attachments pinned in a folder, by name of their pins."""
    for mark in folder.glob(f"{_QDISC_MARK}*"):
        if _device(int(mark.name.removeprefix(_QDISC_MARK))) is None:
            mark.unlink()
    pins = sorted(pin for pin in folder.iterdir() if not pin.name.startswith(_QDISC_MARK))
    return tuple(place for pin in pins if (place := adopt(pin)))


def program_id(attachment: Attachment) -> int | None:
    """The id of the program that is in place, or None when none is."""
    if _is_filter(attachment):
        found = clsact.filters(attachment.device.ifindex, _parent(attachment.direction))
        return next((there.program_id for there in found if there.ours), None)
    with suppress(FileNotFoundError), _pinned_link(attachment.pin) as link:
        return kernel_info.link_info(link).program_id
    return None


def programs_in(place: Attachment) -> tuple[AttachedProgram, ...]:
    """All programs where a place is, other people's too, in the order in which they run: on the
    device in its direction, however attached, or at the cgroup itself. TargetGone.
    """
    if isinstance(place, OnDevice):
        return programs_on(place.device, place.direction)
    with _target_may_vanish(place), _directory(place.cgroup) as descriptor:
        ids = libbpf.programs_on(descriptor, place.call)
    return tuple(each for number in ids for each in _named(Mechanism.CGROUP, number))


def programs_on(device: Device, direction: Direction) -> tuple[AttachedProgram, ...]:
    """The same for a device."""
    return (*_tcx_programs(device, direction), *_clsact_programs(device, direction))


# -------------------------------------------------------------------------------------- links


def _attach_link(program_fd: int, place: Attachment) -> None:
    match place:
        case OnDevice():
            attach_type = _attach_type(place.direction)
            link = libbpf.link_create(program_fd, place.device.ifindex, attach_type)
        case OnCgroup():
            with _directory(place.cgroup) as descriptor:
                link = libbpf.link_create(program_fd, descriptor, place.call)
    try:
        libbpf.pin(link, place.pin)
    finally:
        os.close(link)  # without a pin, this detaches


def _read_link_pin(pin: Path) -> Attachment | None:
    with suppress(FileNotFoundError), _pinned_link(pin) as link:
        info = kernel_info.link_info(link)
        if info.type is LinkType.CGROUP:
            if not info.target:
                return None
            call = AttachType(info.attach_type)
            return OnCgroup(cgroup=cgroup_by_id(info.target), call=call, pin=pin)
        device = _device(info.target)
        if device:
            egress = info.attach_type == AttachType.TCX_EGRESS
            direction = Direction.EGRESS if egress else Direction.INGRESS
            return OnDevice(device=device, direction=direction, mechanism=Mechanism.TCX, pin=pin)
    return None


def _tcx_programs(device: Device, direction: Direction) -> Iterator[AttachedProgram]:
    try:
        ids = libbpf.programs_on(device.ifindex, _attach_type(direction))
    except OSError as error:
        if error.errno in _GONE:
            raise TargetGone(device) from None
        if error.errno == errno.EINVAL:  # a kernel without TCX
            return
        raise
    for number in ids:
        yield from _named(Mechanism.TCX, number)


def _attach_type(direction: Direction) -> AttachType:
    ingress = direction is Direction.INGRESS
    return AttachType.TCX_INGRESS if ingress else AttachType.TCX_EGRESS


@contextmanager
def _pinned_link(pin: Path) -> Iterator[int]:
    link = libbpf.pinned(pin)
    try:
        yield link
    finally:
        os.close(link)


@contextmanager
def _directory(cgroup: Cgroup) -> Iterator[int]:
    if cgroup.path is None:
        raise TargetGone(cgroup)
    descriptor = os.open(cgroup.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------------- CLSACT


def _attach_clsact(program_fd: int, place: OnDevice) -> None:
    ifindex = place.device.ifindex
    made = clsact.add_qdisc(ifindex)
    if made:
        _qdisc_mark(place).symlink_to(place.device.name)
    # The pin goes first: whatever interrupts us, no filter stays behind that nobody knows of.
    place.pin.symlink_to(f"clsact/{ifindex}/{place.direction}")
    try:
        clsact.add_filter(program_fd, ifindex, _parent(place.direction))
    except OSError:
        place.pin.unlink()
        _drop_qdisc(place)
        raise


def _detach_clsact(place: OnDevice) -> None:
    try:
        clsact.remove_filter(place.device.ifindex, _parent(place.direction))
    except OSError as error:
        if error.errno not in (*_GONE, errno.ENOENT, errno.EINVAL):
            raise
    _drop_qdisc(place)


def _drop_qdisc(place: OnDevice) -> None:
    mark = _qdisc_mark(place)
    if not mark.is_symlink():
        return
    try:
        if clsact.remove_unused_qdisc(place.device.ifindex):
            mark.unlink()
    except OSError as error:
        if error.errno not in (*_GONE, errno.ENOENT, errno.EINVAL):
            raise
        mark.unlink()


def _qdisc_mark(place: OnDevice) -> Path:
    """A symbolic link that is there while the device has a qdisc of our making."""
    return place.pin.with_name(f"{_QDISC_MARK}{place.device.ifindex}")


def _read_clsact_pin(pin: Path) -> OnDevice | None:
    _, ifindex, direction = pin.readlink().parts
    device = _device(int(ifindex))
    if device is None:
        return None
    place = OnDevice(
        device=device, direction=Direction(direction), mechanism=Mechanism.CLSACT, pin=pin
    )
    return place if program_id(place) is not None else None


def _clsact_programs(device: Device, direction: Direction) -> Iterator[AttachedProgram]:
    for found in clsact.filters(device.ifindex, _parent(direction)):
        yield from _named(Mechanism.CLSACT, found.program_id)


def _parent(direction: Direction) -> clsact.Parent:
    return clsact.Parent.INGRESS if direction is Direction.INGRESS else clsact.Parent.EGRESS


# ---------------------------------------------------------------------------------------- all


def _named(mechanism: Mechanism, number: int) -> Iterator[AttachedProgram]:
    with suppress(FileNotFoundError):  # detached and freed since it was listed
        fd = libbpf.program_by_id(number)
        try:
            name = kernel_info.program_info(fd).name
        finally:
            os.close(fd)
        yield AttachedProgram(mechanism=mechanism, program_id=number, name=name)


def _device(ifindex: int) -> Device | None:
    try:
        return Device(name=socket.if_indextoname(ifindex), ifindex=ifindex)
    except OSError:
        return None


def _is_filter(place: Attachment) -> TypeGuard[OnDevice]:
    return place.mechanism is Mechanism.CLSACT


@contextmanager
def _target_may_vanish(place: Attachment) -> Iterator[None]:
    target = place.device if isinstance(place, OnDevice) else place.cgroup
    try:
        yield
    except OSError as error:
        if error.errno in _GONE or _is_left(target):
            raise TargetGone(target) from error
        raise


def _is_left(target: Device | Cgroup) -> bool:
    """Whether it is a cgroup whose directory is gone: the kernel may be slower to let go of it."""
    return isinstance(target, Cgroup) and not (target.path and target.path.exists())

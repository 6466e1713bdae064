"""Programs on devices: attached, swapped, adopted and taken off, beside those of others."""

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pyroute2.iproute.linux import IPRoute

from plait.core.api.contract import Hook
from plait.core.kernel import info as kernel_info
from plait.core.kernel import libbpf, links
from plait.core.kernel.libbpf import AttachType
from plait.core.kernel.links import Device, Direction, Mechanism, OnDevice, TargetGone
from plait.core.runtime import attachments
from plait.core.runtime.actions import Replace

HOOK = Hook.NETDEV_INGRESS
SCHED_CLS = 3
ACT_OK, ACT_SHOT = 0, 2

pytestmark = pytest.mark.usefixtures("namespace")

each_mechanism = pytest.mark.parametrize("mechanism", [Mechanism.TCX, Mechanism.CLSACT])
each_direction = pytest.mark.parametrize("direction", Direction)


@contextmanager
def program(name: str, verdict: int) -> Iterator[int]:
    """A program that returns `verdict` for every packet."""
    instructions = struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    fd = libbpf.program_load(SCHED_CLS, name, instructions)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def passing() -> Iterator[int]:
    with program("passing", ACT_OK) as fd:
        yield fd


@pytest.fixture
def dropping() -> Iterator[int]:
    with program("dropping", ACT_SHOT) as fd:
        yield fd


@pytest.fixture
def device() -> Device:
    """One end of a veth pair; both ends are up."""
    with IPRoute() as netlink:
        netlink.link("add", ifname="near", kind="veth", peer="far")
        for name in ("near", "far"):
            netlink.link("set", index=socket.if_nametoindex(name), state="up")
    return Device(name="near", ifindex=socket.if_nametoindex("near"))


def attach(
    fd: int, device: Device, mechanism: Mechanism, pin: Path, direction: Direction | None = None
) -> OnDevice:
    place = OnDevice(
        device=device, direction=direction or Direction.INGRESS, mechanism=mechanism, pin=pin
    )
    links.attach(fd, place)
    return place


def names(device: Device, direction: Direction = Direction.INGRESS) -> list[str]:
    return [there.name for there in links.programs_on(device, direction)]


def tc(*arguments: str) -> str:
    return subprocess.run(("tc", *arguments), check=True, capture_output=True, text=True).stdout


def has_qdisc() -> bool:
    return "clsact" in tc("qdisc", "show", "dev", "near")


def arrives(sender: str, receiver: str) -> bool:
    """Whether a frame that one device sends is received by the other."""
    frame = b"\xff" * 6 + bytes(6) + b"\x88\xb5" + bytes(46)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as inbox:
        inbox.bind((receiver, 0x88B5))
        inbox.settimeout(0.1)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as outbox:
            outbox.bind((sender, 0))
            with suppress(OSError):  # the sender is told of a drop on the way out
                outbox.send(frame)
        try:
            return inbox.recv(64) == frame
        except TimeoutError:
            return False


@each_mechanism
@each_direction
def test_a_program_is_on_the_device_until_it_is_detached(
    passing: int, device: Device, mechanism: Mechanism, direction: Direction, bpffs: Path
) -> None:
    place = attach(passing, device, mechanism, bpffs / "pin", direction)
    during = names(device, direction)
    links.detach(place)

    assert during == ["passing"]
    assert names(device, direction) == []
    assert list(bpffs.iterdir()) == []


@each_mechanism
def test_an_update_swaps_the_program_in_its_place(
    passing: int, dropping: int, device: Device, mechanism: Mechanism, bpffs: Path
) -> None:
    place = attach(passing, device, mechanism, bpffs / "pin", Direction.EGRESS)
    before = arrives("near", "far")

    links.update(place, dropping)

    assert before
    assert not arrives("near", "far")
    assert names(device, Direction.EGRESS) == ["dropping"]


@each_mechanism
@each_direction
def test_an_attachment_is_adopted_from_its_pin(
    passing: int, device: Device, mechanism: Mechanism, direction: Direction, bpffs: Path
) -> None:
    place = attach(passing, device, mechanism, bpffs / "pin", direction)

    assert links.adopt(bpffs / "pin") == place
    assert links.adopt_all(bpffs) == (place,)
    assert links.program_id(place) == kernel_info.program_info(passing).id


@each_mechanism
def test_a_pin_that_is_taken_changes_nothing(
    passing: int, dropping: int, device: Device, mechanism: Mechanism, bpffs: Path
) -> None:
    attach(passing, device, mechanism, bpffs / "pin")

    with pytest.raises(FileExistsError):
        attach(dropping, device, mechanism, bpffs / "pin")

    assert names(device) == ["passing"]


@each_mechanism
def test_a_device_that_vanished_needs_no_detaching(
    passing: int, device: Device, mechanism: Mechanism, bpffs: Path
) -> None:
    place = attach(passing, device, mechanism, bpffs / "pin")
    with IPRoute() as netlink:
        netlink.link("del", index=device.ifindex)

    links.detach(place)

    assert list(bpffs.iterdir()) == []


@each_mechanism
def test_a_device_that_vanished_cannot_be_updated_or_adopted(
    passing: int, device: Device, mechanism: Mechanism, bpffs: Path
) -> None:
    place = attach(passing, device, mechanism, bpffs / "pin")
    with IPRoute() as netlink:
        netlink.link("del", index=device.ifindex)

    with pytest.raises(TargetGone, match="near"):
        links.update(place, passing)
    with pytest.raises(TargetGone, match="near"):
        attach(passing, device, mechanism, bpffs / "other")
    with pytest.raises(TargetGone, match="near"):
        links.programs_on(device, Direction.INGRESS)
    assert links.adopt(bpffs / "pin") is None
    assert not (bpffs / "pin").is_symlink()
    assert not (bpffs / "pin").exists()


@each_mechanism
def test_programs_of_others_run_before_and_stay(
    passing: int, dropping: int, device: Device, mechanism: Mechanism, bpffs: Path
) -> None:
    foreign = libbpf.link_create(dropping, device.ifindex, AttachType.TCX_INGRESS)
    libbpf.pin(dropping, bpffs / "foreign")
    tc("qdisc", "add", "dev", "near", "clsact")
    tc("filter", "add", "dev", "near", "ingress", "bpf", "da", "pinned", f"{bpffs}/foreign")

    place = attach(passing, device, mechanism, bpffs / "pin")
    during = names(device)
    links.detach(place)

    tcx = ["dropping", "passing"] if mechanism is Mechanism.TCX else ["dropping"]
    clsact = ["dropping", "passing"] if mechanism is Mechanism.CLSACT else ["dropping"]
    assert during == tcx + clsact
    assert names(device) == ["dropping", "dropping"]
    os.close(foreign)


def test_a_qdisc_of_our_making_goes_with_the_last_filter(
    passing: int, device: Device, bpffs: Path
) -> None:
    first = attach(passing, device, Mechanism.CLSACT, bpffs / "in", Direction.INGRESS)
    last = attach(passing, device, Mechanism.CLSACT, bpffs / "out", Direction.EGRESS)

    links.detach(first)
    between = has_qdisc()
    links.detach(last)

    assert between
    assert not has_qdisc()


def test_a_qdisc_of_our_making_stays_while_others_use_it(
    passing: int, dropping: int, device: Device, bpffs: Path
) -> None:
    place = attach(passing, device, Mechanism.CLSACT, bpffs / "pin")
    libbpf.pin(dropping, bpffs / "foreign")
    tc("filter", "add", "dev", "near", "egress", "bpf", "da", "pinned", f"{bpffs}/foreign")

    links.detach(place)

    assert has_qdisc()
    assert names(device, Direction.EGRESS) == ["dropping"]


def test_a_qdisc_that_was_there_before_stays(passing: int, device: Device, bpffs: Path) -> None:
    tc("qdisc", "add", "dev", "near", "clsact")
    place = attach(passing, device, Mechanism.CLSACT, bpffs / "pin")

    links.detach(place)

    assert has_qdisc()


def test_a_failed_attempt_leaves_no_trace(device: Device, bpffs: Path) -> None:
    no_program = os.open("/dev/null", os.O_RDONLY)

    with pytest.raises(OSError, match="Invalid argument"):
        attach(no_program, device, Mechanism.CLSACT, bpffs / "pin")

    os.close(no_program)
    assert list(bpffs.iterdir()) == []
    assert not has_qdisc()


def test_a_link_that_someone_holds_is_detached_all_the_same(
    passing: int, device: Device, bpffs: Path
) -> None:
    place = attach(passing, device, Mechanism.TCX, bpffs / "pin")
    held = libbpf.pinned(bpffs / "pin")

    links.detach(place)

    assert names(device) == []
    os.close(held)


def test_a_filter_that_someone_removed_is_not_adopted(
    passing: int, dropping: int, device: Device, bpffs: Path
) -> None:
    attach(passing, device, Mechanism.CLSACT, bpffs / "pin")
    libbpf.pin(dropping, bpffs / "foreign")
    tc("filter", "del", "dev", "near", "ingress")
    tc("filter", "add", "dev", "near", "ingress", "bpf", "da", "pinned", f"{bpffs}/foreign")

    assert links.adopt(bpffs / "pin") is None
    assert not (bpffs / "pin").is_symlink()


@each_mechanism
def test_a_program_that_stays_is_not_put_in_its_own_place(
    passing: int, dropping: int, device: Device, mechanism: Mechanism, bpffs: Path
) -> None:
    place = attachments.Place(program=HOOK.value, target=device)
    attached = {place: attach(passing, device, mechanism, bpffs / "pin")}
    same = os.dup(passing)

    def due(program: int) -> list[type]:
        found = attachments.changes(
            [place],
            attached,
            mechanism=mechanism,
            folder=bpffs,
            programs={HOOK.value: program},
            before={HOOK.value: passing},
        )
        return [type(each) for each in found]

    assert due(same) == []
    assert due(dropping) == [Replace]
    os.close(same)

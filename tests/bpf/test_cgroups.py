"""Programs at cgroups: attached, swapped, adopted and taken off, beside those of others."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from plait.core.kernel import cgroups, libbpf, links
from plait.core.kernel import info as kernel_info
from plait.core.kernel.bpfobject import BpfObject
from plait.core.kernel.cgroups import Cgroup
from plait.core.kernel.libbpf import AttachType
from plait.core.kernel.links import OnCgroup, TargetGone
from plait.core.runtime.actions import Attach, Detach, Replace, perform
from plait.core.runtime.attachments import Anchors, adopt, places

CALL = AttachType.CGROUP_INET4_CONNECT
SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("cgroup/connect4") int NAME(struct bpf_sock_addr *ctx) { return ctx->protocol != VALUE; }
char LICENSE[] SEC("license") = "GPL";
"""

CompileC = Callable[[str], bytes]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where a cgroup may be made; there is none yet."""
    mount = cgroups.mount_point()
    assert mount is not None
    path = mount / f"plaittest-{uuid.uuid4().hex[:6]}"
    yield path
    cgroups.remove(path)


@pytest.fixture
def cgroup(directory: Path) -> Cgroup:
    """An empty cgroup, at `directory`."""
    return cgroups.create(directory)


@pytest.fixture
def programs(compile_c: CompileC) -> Iterator[tuple[int, int]]:
    """Two programs for connect4, called `one` and `other`."""
    with ExitStack() as stack:
        loaded = []
        for number, name in enumerate(("one", "other")):
            image = compile_c(SOURCE.replace("NAME", name).replace("VALUE", str(200 + number)))
            with BpfObject(image, name) as opened:
                opened.load()
                loaded.append(opened.programs[name].fd())
            stack.callback(os.close, loaded[-1])
        yield loaded[0], loaded[1]


def place_at(cgroup: Cgroup, folder: Path) -> OnCgroup:
    return OnCgroup(cgroup=cgroup, call=CALL, pin=folder / f"{cgroup.id}-sock_connect4-cgroup")


def names(place: OnCgroup) -> list[str]:
    return [each.name for each in links.programs_in(place)]


def wait_until_released(place: OnCgroup) -> None:
    """The kernel takes a moment to let go of a cgroup that was removed."""
    link = libbpf.pinned(place.pin)
    deadline = time.monotonic() + 10
    while kernel_info.link_info(link).target:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.close(link)


def test_a_program_is_at_the_cgroup_until_it_is_detached(
    programs: tuple[int, int], cgroup: Cgroup, bpffs: Path
) -> None:
    place = place_at(cgroup, bpffs)

    links.attach(programs[0], place)
    during = names(place)
    links.detach(place)

    assert during == ["one"]
    assert names(place) == []
    assert list(bpffs.iterdir()) == []


def test_an_update_swaps_the_program_in_its_place(
    programs: tuple[int, int], cgroup: Cgroup, bpffs: Path
) -> None:
    place = place_at(cgroup, bpffs)
    links.attach(programs[0], place)

    links.update(place, programs[1])

    assert names(place) == ["other"]
    assert links.program_id(place) == kernel_info.program_info(programs[1]).id


def test_an_attachment_is_adopted_from_its_pin(
    programs: tuple[int, int], cgroup: Cgroup, bpffs: Path
) -> None:
    place = place_at(cgroup, bpffs)
    links.attach(programs[0], place)

    [found] = links.adopt_all(bpffs)

    assert found == place
    assert isinstance(found, OnCgroup)
    assert found.cgroup.path == cgroup.path


def test_where_the_cgroup_is_not_to_be_seen_the_attachment_is_kept(
    programs: tuple[int, int], cgroup: Cgroup, bpffs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_at(cgroup, bpffs)
    links.attach(programs[0], place)

    with monkeypatch.context() as patch:
        patch.setattr(cgroups, "_MOUNTS", Path("/dev/null"))
        found = links.adopt(place.pin)

    assert found == place
    assert names(place) == ["one"]


def test_a_cgroup_that_vanished_needs_no_detaching_and_is_not_adopted(
    programs: tuple[int, int], cgroup: Cgroup, directory: Path, bpffs: Path
) -> None:
    place = place_at(cgroup, bpffs)
    links.attach(programs[0], place)
    cgroups.remove(directory)
    wait_until_released(place)

    with pytest.raises(TargetGone, match=str(directory)):
        links.update(place, programs[1])
    with pytest.raises(TargetGone):
        links.programs_in(place)
    with pytest.raises(TargetGone):
        links.attach(programs[1], place_at(cgroup, bpffs / "other"))
    assert links.adopt(place.pin) is None
    assert list(bpffs.iterdir()) == []
    links.detach(place)


def test_programs_of_others_run_before_and_stay(
    programs: tuple[int, int], cgroup: Cgroup, directory: Path, bpffs: Path
) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    foreign = libbpf.link_create(programs[1], descriptor, CALL)
    place = place_at(cgroup, bpffs)

    links.attach(programs[0], place)
    during = names(place)
    links.detach(place)

    assert during == ["other", "one"]
    assert names(place) == ["other"]
    os.close(foreign)
    os.close(descriptor)


def test_a_change_that_fails_half_way_leaves_what_was(
    programs: tuple[int, int], cgroup: Cgroup, bpffs: Path
) -> None:
    one, other = programs
    place = place_at(cgroup, bpffs)
    links.attach(one, place)
    wrong = OnCgroup(cgroup=cgroup, call=AttachType.CGROUP_UDP4_SENDMSG, pin=bpffs / "wrong")

    with pytest.raises(OSError, match="Invalid argument"):
        perform(
            (
                Replace(attachment=place, program=other, before=one),
                Detach(attachment=place, before=other),
                Attach(program=one, place=wrong),
            )
        )

    assert names(place) == ["one"]
    assert links.adopt_all(bpffs) == (place,)


def test_what_meets_answers_is_attached_first_and_let_go_last(
    programs: tuple[int, int], cgroup: Cgroup, bpffs: Path
) -> None:
    wanted = places(("sock_connect4", "sock_sendmsg4", "sock_recvmsg4"), Anchors(cgroup=cgroup))

    links.attach(programs[0], place_at(cgroup, bpffs))

    assert [each.program for each in wanted] == ["sock_recvmsg4", "sock_sendmsg4", "sock_connect4"]
    assert list(adopt(bpffs)) == [wanted[-1]]


def test_a_cgroup_is_known_by_its_directory_and_by_its_id(cgroup: Cgroup, directory: Path) -> None:
    assert cgroups.cgroup_at(directory) == cgroup
    assert cgroups.cgroup_by_id(cgroup.id).path == directory
    assert cgroups.cgroup_at(Path("/tmp")) is None
    assert cgroups.cgroup_by_id(0).path is None


@pytest.mark.usefixtures("cgroup")
def test_a_process_is_in_a_cgroup_for_a_moment(directory: Path) -> None:
    members = directory / "cgroup.procs"

    with cgroups.entered(directory):
        during = members.read_text().split()

    assert during == [str(os.getpid())]
    assert members.read_text() == ""


@pytest.mark.usefixtures("cgroup")
def test_a_cgroup_with_processes_stays(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_PATIENCE", 0.05)

    with cgroups.entered(directory):
        cgroups.remove(directory)

    assert directory.exists()

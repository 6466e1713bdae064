"""Where cgroup v2 is, and what is said where it is not."""

from pathlib import Path

import pytest

from plait.core.api import Fragment, Hook, Stage
from plait.core.config.model import Config, NodeConfig
from plait.core.errors import SystemProblem
from plait.core.kernel import cgroups
from plait.core.plan.model import HookPlan, Plan, Step
from plait.core.runtime.devices import missing_cgroup

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/with\\040space rw,relatime shared:9 - cgroup2 cgroup2 rw
42 31 0:38 / /elsewhere rw,relatime - cgroup2 cgroup2 rw
"""


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for /proc/self/mountinfo."""
    file = tmp_path / "mountinfo"
    monkeypatch.setattr(cgroups, "_MOUNTS", file)
    monkeypatch.delenv(cgroups.VARIABLE, raising=False)
    return file


def plan(hook: Hook, cgroup: Path | None = None) -> Plan:
    fragment = Fragment(hook=hook, stage=Stage.SERVICE, function="lb_one", header="lb.h")
    step = Step(stage=Stage.SERVICE, plugin="lb", fragment=fragment, part=None, line=1)
    return Plan(
        config=Config(node=NodeConfig(name="a", cgroup=cgroup)),
        plugins=(),
        hooks=(HookPlan(hook=hook, steps=(step,)),),
        maps=(),
        parts=(),
        drops=(),
        constants=(),
        sizes=(),
        headers={},
        tests=(),
        sysctls=(),
        kernel={},
    )


def test_the_first_mount_of_cgroup_v2_is_found_beside_v1(mounts: Path) -> None:
    mounts.write_text(HYBRID)

    assert cgroups.mount_point() == Path("/sys/fs/cgroup/with space")


def test_a_lab_says_which_cgroup_its_processes_are_in(mounts: Path) -> None:
    mounts.write_text(HYBRID)

    assert cgroups.default_cgroup({cgroups.VARIABLE: "/lab"}) == Path("/lab")
    assert cgroups.default_cgroup({}) == Path("/sys/fs/cgroup/with space")


def test_without_cgroup_v2_sockets_are_not_to_be_had(mounts: Path) -> None:
    mounts.write_text(HYBRID.replace("cgroup2 ", "cgroup "))

    [problem] = missing_cgroup(plan(Hook.SOCK_CONNECT))

    assert isinstance(problem, SystemProblem)
    assert "cgroup v2 is not mounted" in str(problem)
    assert problem.hint == "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    assert cgroups.cgroup_by_id(1).path is None


def test_a_path_that_is_no_cgroup_is_named(mounts: Path, tmp_path: Path) -> None:
    mounts.write_text(HYBRID)

    [problem] = missing_cgroup(plan(Hook.SOCK_SENDMSG, tmp_path))

    assert str(problem) == (
        f"node.cgroup: {tmp_path} is not a directory of cgroup v2; "
        "/sys/fs/cgroup/with space, or one below it"
    )


def test_who_needs_no_sockets_needs_no_cgroup(mounts: Path, tmp_path: Path) -> None:
    mounts.write_text("")

    assert list(missing_cgroup(plan(Hook.POD_EGRESS, tmp_path))) == []

"""Kernel settings that Plait changes are set back, whenever it was killed."""

from pathlib import Path

import pytest

from plait.core.kernel.pins import Paths
from plait.core.runtime.actions import PROC_SYS, WriteSysctl
from plait.core.runtime.datapath import Datapath

FORWARDING = "net/ipv4/ip_forward"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The folders of an instance that has never run."""
    pins, run, state, cache = (tmp_path / name for name in ("pins", "run", "state", "cache"))
    paths = Paths(pins=pins, run=run, state=state, cache=cache)
    paths.make()
    return paths


@pytest.mark.usefixtures("namespace")
def test_a_setting_is_set_back_after_a_kill_before_the_first_commit(paths: Paths) -> None:
    WriteSysctl(run=paths.run, path=FORWARDING, value="1", before="0").do()

    Datapath.adopt(paths).detach()

    assert (PROC_SYS / FORWARDING).read_text() == "0\n"


@pytest.mark.usefixtures("namespace")
def test_the_value_before_the_first_change_is_the_one_that_comes_back(paths: Paths) -> None:
    WriteSysctl(run=paths.run, path=FORWARDING, value="1", before="0").do()
    WriteSysctl(run=paths.run, path=FORWARDING, value="1", before="1").do()

    Datapath.adopt(paths).detach()

    assert (PROC_SYS / FORWARDING).read_text() == "0\n"

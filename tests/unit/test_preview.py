"""What `plait plan` shows: the text, and the JSON that has all of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.cli.plan import describe
from plait.core.plan.diff import Effect, KeyChange
from plait.core.plan.growth import MapSize
from plait.core.runtime.agent import Status
from plait.core.runtime.capacity import MapUse
from plait.core.runtime.preview_model import (
    Change,
    HookPreview,
    MapPreview,
    PlacePreview,
    PluginPreview,
    Preview,
    ProgramPreview,
    StepPreview,
    SysctlPreview,
)
from plait.core.runtime.state import State
from plait.core.runtime.status import AttachedPlace, InstanceStatus

JSON_PAGE = Path(__file__).parents[2] / "docs" / "json.md"

STEP = StepPreview(stage="service", function="lb_one", plugin="lb", header="lb.h", line=12)
SLOTS = MapPreview(
    name="lb_slots",
    change="migrated",
    plugin="lb",
    entries=1000,
    wanted=830,
    bytes=3 * 2**20,
    bound=4000,
    bound_bytes=12 * 2**20,
    key="lb.slots",
)
PREVIEW = Preview(
    node="a",
    running=3,
    effect=Effect.MAP_MIGRATION,
    plugins=(PluginPreview(name="lb", version="2", running="1", features=("lb",)),),
    hooks=(HookPreview(hook="pod_egress", steps=(STEP,)),),
    programs=(
        ProgramPreview(name="pod_egress", change=Change.SWAPPED, instructions=81, walked=164),
        ProgramPreview(name="pod_ingress", change=Change.GONE),
    ),
    maps=(SLOTS, MapPreview(name="nat_ports", change=Change.GONE)),
    bytes=3 * 2**20,
    bound_bytes=12 * 2**20,
    places=(
        PlacePreview(
            device="eth0",
            hook="pod_egress",
            program="pod_egress",
            mechanism="tcx",
            change=Change.SWAPPED,
        ),
        PlacePreview(
            cgroup="/sys/fs/cgroup",
            hook="sock_connect",
            program="sock_connect4",
            mechanism="cgroup",
            change=Change.NEW,
        ),
    ),
    sysctls=(SysctlPreview(path="net/ipv4/ip_forward", before="0", after="1"),),
    keys=(
        KeyChange(key="features.nat", before="on", after="-", effect=Effect.PROGRAM_SWAP),
        KeyChange(key="lb.size", before="1", after="2", effect=None),
    ),
    verifier_seconds=0.25,
    warnings=("the disk is full",),
    problems=("map lb_slots is full",),
)


def test_a_preview_as_text() -> None:
    assert (
        "\n".join(describe(PREVIEW))
        == """\
node a

plugins
  lb  2  features.lb  1 runs

hook pod_egress
  service  lb_one  lb: lb.h:12

programs
  pod_egress   swapped      81 instructions  the verifier walked 164
  pod_ingress  gone
  verified and loaded in 250 ms

maps
  lb_slots   lb       830 of 1000 entries     3.0 MiB  up to 4000: 12.0 MiB  migrated  lb.slots
  nat_ports                                                                  gone
  3.0 MiB when they are full, 12.0 MiB when they have grown as far as they may

devices
  eth0  pod_egress  tcx  swapped

cgroup
  /sys/fs/cgroup  sock_connect4  cgroup  new

kernel settings
  net/ipv4/ip_forward: 0 -> 1

against generation 3, which runs: map migration
  features.nat: on -> -  (program swap)
  lb.size: 1 -> 2  (not alone)"""
    )


STATUS = InstanceStatus(
    state=State(generation=3),
    agent=Status(pid=1, config="", started=0.0, problems=["one"], warnings=["another"]),
    places=(
        AttachedPlace(
            device="eth0",
            cgroup=None,
            hook="netdev_ingress",
            program="netdev_ingress",
            mechanism="tcx",
            others=("other",),
        ),
    ),
    drops={"REASON": 12},
    maps=(
        MapUse.of("lb_slots", MapSize(declared=1, entries=2, bound=4, key="lb.capacity.slots"), 1),
    ),
)


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("plan", PREVIEW.plain()),
        ("status", STATUS.plain() | {"state": "its own", "agent": "its own"}),
    ],
    ids=["plan", "status"],
)
def test_every_key_of_the_json_is_documented_and_no_other(
    verb: str, answer: dict[str, object]
) -> None:
    sections = re.split(r"^## plait (\w+)$", JSON_PAGE.read_text(), flags=re.M)
    section = sections[sections.index(verb) + 1]

    documented = re.findall(r"^\| `([^`]+)` \|", section, re.M)

    assert documented == list(dict.fromkeys(_paths(json.loads(json.dumps(answer)))))


def _paths(value: object, path: str = "") -> Iterator[str]:
    """Where values are in JSON: `hooks[].steps[].stage`."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, f"{path}[]")
    else:
        yield path

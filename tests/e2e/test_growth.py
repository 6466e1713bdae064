"""Maps that are full grow under traffic; at their bound, what is new is refused by name."""

import json
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.api import Hook
from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.runtime.reading import running
from support.nodes import Node, quickstart, rewrite, service
from support.traffic import unharmed_traffic

SERVICE = "10.96.0.10:80"
ALGORITHM = "algorithm: maglev"
ENDPOINT = """\
apiVersion: plait/v1
kind: Endpoint
metadata: {name: more}
spec: {interface: more0, mac: "02:00:00:00:00:50", addresses: [10.244.1.50]}
"""


ASK_FOR_ENDPOINTS = (Hook.NETDEV_INGRESS, Hook.POD_EGRESS, Hook.POD_INGRESS)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-growth") as lab:
        for name in ("web-1", "web-2", "web-3", "client"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    """Room for four entries of services, which the quickstart's has, and for 16 by growth."""
    node = Node.make(lab, tmp_path, cache)
    text = node.config.read_text()
    node.config.write_text(text.replace(ALGORITHM, f"{ALGORITHM}, capacity: {{services: 4}}"))
    yield node
    node.detach()


def test_a_full_map_grows_under_traffic(node: Node) -> None:
    node.start()

    with unharmed_traffic(node.lab):
        status = node.write("more.yaml", services(1, 2))

    assert (status.problems, status.error) == ([], None)
    assert _room(node) == 12
    assert _connects(node, "10.96.1.2:80")
    assert "grown after" in node.log
    assert "is full" not in node.log


def test_the_map_of_most_programs_grows_under_traffic(node: Node) -> None:
    text = node.config.read_text()
    node.config.write_text(text.replace("node:\n", "node:\n  capacity: {endpoints: 6}\n"))
    node.start()
    before = node.kernel_ids()[0]

    node.lab.run("node-a", "ip", "link", "add", "more0", "type", "veth", "peer", "more1")
    try:
        with unharmed_traffic(node.lab):
            status = node.write("more.yaml", ENDPOINT)
    finally:
        node.lab.run("node-a", "ip", "link", "del", "more0")

    after = node.kernel_ids()[0]
    assert status.problems == []
    assert _room(node, "plait_endpoints") == 12
    assert all(after[hook] != before[hook] for hook in ASK_FOR_ENDPOINTS)


def test_at_the_bound_what_is_new_is_refused_by_name_and_the_rest_is_served(node: Node) -> None:
    node.start()
    node.write("more.yaml", services(*range(1, 7)))

    with unharmed_traffic(node.lab):
        node.write("zoo.yaml", service("zoo", ips=("10.96.0.99",), backends=("10.244.1.11",)))

    (problem,) = node.status().problems
    assert "zoo.yaml:1:1: map lb_services is full: no room for Service default/zoo" in problem
    assert "it may have 16 entries at most" in problem
    assert "raise lb.capacity.services" in problem
    assert _room(node) == 16
    assert _connects(node, "10.96.1.6:80")
    assert not _connects(node, "10.96.0.99:80")
    assert node.write("more.yaml", services(1)).problems == []
    assert _connects(node, "10.96.0.99:80")


def test_a_grown_map_stays_as_it_is_when_the_agent_is_killed_or_something_else_edited(
    node: Node,
) -> None:
    node.start()
    node.write("more.yaml", services(1, 2))
    before = node.kernel_ids()

    with unharmed_traffic(node.lab):
        node.kill()
        node.start()
        after = node.kernel_ids()
        edited = node.edit(ALGORITHM, "algorithm: random")

    assert after == before
    assert edited.error is None
    assert _room(node) == 12


def test_an_agent_that_is_killed_while_a_map_grows_is_made_up_for(node: Node) -> None:
    node.start()
    dice = random.Random()

    with unharmed_traffic(node.lab):
        for numbers in ((1, 2), (1, 2, 3, 4, 5, 6)):
            rewrite(node.objects / "more.yaml", services(*numbers))
            time.sleep(dice.uniform(0.0, 0.4))
            node.kill()
            node.start()

    assert _connects(node, "10.96.1.6:80")
    assert _room(node) == 16
    assert len(list(node.paths.pins.glob("gen-*"))) == 1


def test_a_map_that_cannot_grow_is_told_of_and_what_fits_is_served(
    node: Node, tmp_path: Path
) -> None:
    node.apply()
    node.cache = shutil.copytree(node.cache, tmp_path / "cache")
    node.environment = {"PLAIT_CLANG": "/nonexistent"}
    node.start()
    node.cache.rename(tmp_path / "gone")

    with unharmed_traffic(node.lab):
        failed = node.write("more.yaml", services(1))
    (tmp_path / "gone").rename(node.cache)
    mended = node.edit("services: 4", "services: 4, growth: 5")

    assert any("lb_services cannot grow: " in each for each in failed.problems)
    assert any("no room for Service default/s1" in each for each in failed.problems)
    assert _room(node) == 9
    assert mended.problems == []


def test_a_capacity_that_is_edited_takes_the_place_of_a_grown_one(node: Node) -> None:
    node.start()
    node.write("more.yaml", services(1, 2))

    with unharmed_traffic(node.lab):
        sizes = []
        for before, after in (("4", "5"), ("5", "100"), ("100", "4, growth: 1")):
            said = node.edit(f"services: {before}", f"services: {after}")
            sizes.append(_room(node))

    assert sizes == [12, 100, 100]
    assert said.error is not None
    assert "map lb_services is full: no room for Service default/web" in said.error


def test_a_first_apply_makes_maps_that_are_large_enough(node: Node) -> None:
    (node.objects / "more.yaml").write_text(services(1, 2, 3))

    planned = _planned(node)
    applied = node.apply()

    assert (planned["wanted"], planned["entries"]) == (10, 15)
    assert (applied["generation"], applied["problems"]) == (1, [])
    assert _room(node) == 15
    assert _connects(node, "10.96.1.3:80")


def test_what_will_not_fit_is_planned(node: Node) -> None:
    (node.objects / "more.yaml").write_text(services(*range(1, 8)))

    done = node.plait("plan", "-c", str(node.config))

    assert done.returncode == 1
    assert re.search(r"lb_services +lb +18 of 16 entries", done.stdout)
    assert "map lb_services is full: no room for Service default/web" in done.stderr


def test_growth_is_planned(node: Node) -> None:
    node.apply()
    (node.objects / "more.yaml").write_text(services(1, 2))

    planned = _planned(node)

    assert (planned["change"], planned["entries"]) == ("refilled", 12)


def test_apply_without_an_agent_grows_what_runs(node: Node) -> None:
    node.apply()
    (node.objects / "more.yaml").write_text(services(1, 2))

    with unharmed_traffic(node.lab):
        applied = node.apply()

    assert applied["problems"] == []
    assert _room(node) == 12


def test_a_rollback_leads_past_growth_and_takes_no_service_away(node: Node) -> None:
    node.start()
    node.edit(ALGORITHM, f"{ALGORITHM}, removed: reset")
    node.write("more.yaml", services(1, 2))

    with unharmed_traffic(node.lab):
        done = node.plait("rollback")

    assert done.returncode == 0, done.stderr
    assert node.settled().problems == []
    assert node.status().held
    assert _room(node) == 12
    assert _connects(node, "10.96.1.2:80")
    again = node.plait("rollback")
    assert again.returncode == 0, again.stderr
    assert _room(node) == 12


def test_a_grown_map_is_planned_as_it_runs(node: Node) -> None:
    node.start()
    node.write("more.yaml", services(1, 2))

    planned = _planned(node)

    assert (planned["change"], planned["entries"], planned["bound"]) == ("carried", 12, 16)


def test_a_map_that_is_nearly_full_is_warned_of(node: Node) -> None:
    node.start()
    node.edit("services: 4", "services: 10")
    warning = "map lb_services is 80 % full (8 of 10, and it may grow to 40)"
    assert node.status().warnings == []

    node.write("more.yaml", services(1, 2))

    shown = node.plait("status")
    assert f"{warning}: raise lb.capacity.services" in shown.stdout
    assert "lb_services: 8 of 10 entries (80 %)" in shown.stdout
    assert node.log.count(warning) == 1


def test_the_use_of_maps_is_told_with_and_without_an_agent(node: Node, tmp_path: Path) -> None:
    node.apply()
    file = tmp_path / "plait.prom"

    alone = node.plait("metrics")
    node.start()
    node.wait_for(lambda: "plait_flow4" in str(node.status().maps))
    followed = node.plait("metrics", "--write", str(file))

    assert (alone.returncode, followed.returncode, followed.stdout) == (0, 0, "")
    for text, up in ((alone.stdout, 0), (file.read_text(), 1)):
        assert f"plait_agent_up {up}.0" in text
        assert 'plait_map_entries{map="lb_services"} 4.0' in text
        assert 'plait_map_capacity_entries{map="lb_services"} 4.0' in text
        assert 'plait_map_bound_entries{map="lb_services"} 16.0' in text
        assert 'plait_map_capacity_entries{map="plait_flow6"} 262144.0' in text
        place = 'plait_attached_programs{cgroup="",device="eth0",mechanism="tcx"'
        assert f'{place},program="netdev_ingress"' in text
    status = json.loads(node.plait("status", "--json").stdout)
    (services,) = (each for each in status["maps"] if each["name"] == "lb_services")
    assert services == {
        "name": "lb_services",
        "key": "lb.capacity.services",
        "entries": 4,
        "capacity": 4,
        "percent": 100,
        "bound": 16,
    }
    assert any(each.startswith("map lb_services is 100 % full") for each in status["warnings"])


def services(*numbers: int) -> str:
    """So many services with two entries each."""
    return "---\n".join(
        service(f"s{number}", ips=(f"10.96.1.{number}",), backends=("10.244.1.11",))
        for number in numbers
    )


def _planned(node: Node) -> dict[str, object]:
    """What `plait plan` says of lb_services."""
    plan = json.loads(node.plait("plan", "--json", "-c", str(node.config)).stdout)
    found: dict[str, object]
    (found,) = (each for each in plan["maps"] if each["name"] == "lb_services")
    return found


def _room(node: Node, name: str = "lb_services") -> int:
    with running(node.paths) as generation:
        return generation.maps[name].info.max_entries


def _connects(node: Node, target: str) -> bool:
    short = start(node.lab, "client", Connected, target, "--seconds", "0.2", "--timeout", "0.2")
    return short.result().connects > 0

"""Hooks of sockets on a node that runs: in its own cgroup, kept, swapped, moved and let go.

The plugin `detour` (tests/plugins) sends calls of a listed address to a pod.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from plait.core.kernel import cgroups, libbpf
from plait.core.kernel import info as kernel_info
from plait.core.kernel.info import LinkInfo
from plait.core.kernel.libbpf import AttachType
from plait.core.kernel.maps import Map
from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.stream import Streamed
from support.nodes import Node, quickstart

PLUGINS = Path(__file__).parents[1] / "plugins"
PROGRAMS = {
    "sock_recvmsg4",
    "sock_recvmsg6",
    "sock_getpeer4",
    "sock_getpeer6",
    "sock_sendmsg4",
    "sock_sendmsg6",
    "sock_connect4",
    "sock_connect6",
}
CALLS = [call for call in AttachType if call.name.startswith("CGROUP")]
LB = "algorithm: maglev"
LISTED4, LISTED6 = "10.97.0.1:80", "[fd00:10:97::1]:80"
ROUTES = {"10.97.0.1": "10.244.1.11", "fd00:10:97::1": "fd00:10:244:1::11"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-sockets") as lab:
        serve(lab, "web-1")
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    """A node that sends calls of two listed addresses to web-1."""
    node = Node.make(lab, tmp_path, cache)
    node.plugins = PLUGINS
    text = node.config.read_text().replace(LB, f"{LB}, sockets: none")
    node.config.write_text(f"{text}  detour: {{}}\n")
    yield node
    node.detach()


def list_addresses(node: Node) -> None:
    routes = Map.pinned(next(node.paths.pins.glob("gen-*/map/detour_routes")))
    key, value = routes.codecs()
    for listed, real in ROUTES.items():
        for proto in (6, 17):
            routes.update(
                key.encode({"addr": ip_address(listed), "port": 80, "proto": proto}),
                value.encode({"addr": ip_address(real), "port": 8080, "error": 0}),
            )
    routes.close()


def started(node: Node) -> Node:
    node.start()
    list_addresses(node)
    return node


def answers(node: Node, where: str, target: str = LISTED4) -> set[str]:
    """Who answers at a listed address."""
    options = (target, "--seconds", "0.1", "--timeout", "0.3")
    return set(start(node.lab, where, Connected, *options).result().backends)


def socket_links(node: Node) -> Mapping[str, LinkInfo]:
    """The links of sockets that are pinned, by program."""
    found = {}
    for pin in (node.paths.pins / "links").glob("*-sock_*"):
        link = libbpf.pinned(pin)
        found[pin.name.split("-")[1]] = kernel_info.link_info(link)
        os.close(link)
    return found


def at_cgroup(path: Path) -> list[int]:
    """The ids of all programs at a cgroup."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return [each for call in CALLS for each in libbpf.programs_on(descriptor, call)]
    finally:
        os.close(descriptor)


def cgroup_of(node: Node) -> Path:
    mount = cgroups.mount_point()
    assert mount is not None
    return mount / f"plait-{node.instance}"


@contextmanager
def unharmed_calls(node: Node) -> Iterator[None]:
    """Datagrams to the listed addresses, of which each is answered, by whom it was sent to."""
    streams = [
        start(node.lab, "client", Streamed, each, "--rate", "500") for each in (LISTED4, LISTED6)
    ]
    time.sleep(0.3)
    yield
    time.sleep(0.2)
    for each in streams:
        streamed = each.stop()
        assert streamed.sent > 50
        assert (streamed.lost, streamed.foreign) == (0, 0), streamed
        assert set(streamed.servers) == {"web-1"}


@pytest.mark.parametrize("target", [LISTED4, LISTED6], ids=["ipv4", "ipv6"])
def test_calls_of_the_host_and_of_its_pods_go_elsewhere(node: Node, target: str) -> None:
    started(node)

    assert answers(node, "node-a", target) == {"web-1"}
    assert answers(node, "client", target) == {"web-1"}


def test_other_hosts_and_this_machine_are_left_alone(node: Node) -> None:
    started(node)

    mount = cgroups.mount_point()
    assert answers(node, "web-3") == set()
    assert mount is not None
    assert not set(at_cgroup(mount)) & set(at_cgroup(cgroup_of(node)))


def test_a_killed_agent_leaves_the_links_and_the_next_adopts_them(node: Node) -> None:
    started(node)
    links = socket_links(node)

    with unharmed_calls(node):
        node.kill()
        time.sleep(0.2)
        node.start()

    assert links.keys() == PROGRAMS
    assert socket_links(node) == links
    assert node.status().generation == 1


def test_a_reload_swaps_programs_in_their_links(node: Node) -> None:
    started(node)
    before = socket_links(node)

    with unharmed_calls(node):
        node.edit("detour: {}", "detour: {listed: 32}")
    after = socket_links(node)

    assert node.status().generation == 2
    assert {name: link.id for name, link in after.items()} == {
        name: link.id for name, link in before.items()
    }
    swapped = {name for name in after if after[name].program_id != before[name].program_id}
    assert swapped == {each for each in PROGRAMS if "connect" in each or "sendmsg" in each}


def test_programs_that_a_change_is_not_about_stay(node: Node) -> None:
    started(node)
    programs = at_cgroup(cgroup_of(node))

    node.edit(LB, f"{LB}, capacity: {{services: 20}}")

    assert node.status().generation == 2
    assert at_cgroup(cgroup_of(node)) == programs


def test_a_feature_that_is_off_lets_go_of_the_sockets(node: Node) -> None:
    started(node)

    node.edit("  detour: {}\n", "")

    assert socket_links(node) == {}
    assert at_cgroup(cgroup_of(node)) == []


def test_detaching_leaves_the_cgroup_as_it_was(node: Node) -> None:
    started(node)

    node.detach()

    assert at_cgroup(cgroup_of(node)) == []
    assert answers(node, "client") == set()


def test_another_cgroup_is_taken_and_the_first_let_go(node: Node) -> None:
    started(node)
    other = cgroup_of(node) / "other"
    cgroups.create(other)

    node.edit("node:\n", f"node:\n  cgroup: {other}\n")
    moved = socket_links(node), at_cgroup(other), at_cgroup(cgroup_of(node))
    node.detach()
    cgroups.remove(other)

    assert moved[0].keys() == PROGRAMS
    assert len(moved[1]) == len(PROGRAMS)
    assert moved[2] == []


def test_a_cgroup_that_vanishes_is_no_failure(node: Node) -> None:
    other = cgroup_of(node) / "other"
    cgroups.create(other)
    node.config.write_text(
        node.config.read_text().replace("node:\n", f"node:\n  cgroup: {other}\n")
    )
    started(node)

    cgroups.remove(other)
    node.stop()
    node.start()

    assert "is not a directory of cgroup v2" in node.log
    assert socket_links(node) == {}


def test_a_node_may_have_hooks_of_sockets_alone(node: Node) -> None:
    before, _, _ = node.config.read_text().partition("features:")
    node.config.write_text(f"{before}features: {{detour: {{}}}}\n")
    started(node)

    assert answers(node, "client") == {"web-1"}
    assert node.flows() == ()
    assert node.plait("flows").returncode == 0
    node.edit("detour: {}", "detour: {}, routing: {}")
    assert node.status().error is None


def test_what_is_no_cgroup_is_refused_with_its_line(node: Node) -> None:
    text = node.config.read_text()
    node.config.write_text(text.replace("node:\n", "node:\n  cgroup: /tmp\n"))

    refused = node.plait("apply", "-c", str(node.config))
    planned = node.plait("plan", "-c", str(node.config))
    valid = node.plait("validate", "-c", str(node.config))

    what = "config.yaml:4:11: node.cgroup: /tmp is not a directory of cgroup v2"
    assert (refused.returncode, planned.returncode, valid.returncode) == (1, 1, 0)
    assert all(what in each.stderr for each in (refused, planned, valid))


def test_where_they_are_is_shown(node: Node) -> None:
    planned = json.loads(node.plait("plan", "--json", "-c", str(node.config)).stdout)
    started(node)

    places = json.loads(node.plait("status", "--json").stdout)["places"]
    text = node.plait("status").stdout

    shown = {each["program"]: each["cgroup"] for each in places if each["device"] is None}
    wanted = {each["program"]: each["cgroup"] for each in planned["places"] if each["cgroup"]}
    assert shown == wanted == dict.fromkeys(PROGRAMS, str(cgroup_of(node)))
    assert f"cgroup      {cgroup_of(node)}: sock_connect4 by cgroup\n" in text

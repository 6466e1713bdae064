"""What a lab's file may say, and what it is told when it says something else."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from plait.core.errors import PlaitError, Problems
from plait.core.lab.state import state_of
from plait.core.lab.topology import Route, Topology, parse_topology

FILE = Path("lab.yaml")

TWO_NODES = """\
apiVersion: plait/v1
kind: Lab
name: two
hosts:
  node-a:
    addresses: [192.0.2.1/24]
    routes: [{to: 10.244.2.0/24, via: 192.0.2.2}]
    pods:
      client: {addresses: [10.244.1.10], labels: {app: client}}
  node-b:
    addresses: [192.0.2.2/24]
    pods:
      web: {addresses: [10.244.2.10], plain: true}
"""


def test_hosts_pods_and_routes_are_read() -> None:
    topology = parse_topology(TWO_NODES, FILE)

    node_a, node_b = topology.hosts
    assert node_a.uplinks == {"eth0": (IPv4Interface("192.0.2.1/24"),)}
    assert node_a.routes == (Route(to=IPv4Network("10.244.2.0/24"), via=IPv4Address("192.0.2.2")),)
    assert node_a.pods[0].labels == {"app": "client"}
    assert not node_a.pods[0].plain
    assert node_b.pods[0].plain


def test_without_wires_one_segment_joins_all_hosts() -> None:
    topology = parse_topology(TWO_NODES, FILE)

    assert topology.wires == (("node-a", "node-b"),)


def test_a_second_wire_is_a_second_uplink() -> None:
    router = parse_topology(
        _lab(
            "hosts:",
            "  a: {addresses: [192.0.2.1/24]}",
            "  r: {addresses: [192.0.2.2/24], interfaces: {eth1: [198.51.100.2/24]}}",
            "  b: {addresses: [198.51.100.3/24]}",
            "wires: [[a, r], [r, b]]",
        ),
        FILE,
    ).hosts[1]

    assert router.uplinks["eth1"] == (IPv4Interface("198.51.100.2/24"),)


@pytest.mark.parametrize(
    ("lines", "place", "what"),
    [
        (["hosts: {a: {adresses: [192.0.2.1/24]}}"], "4:13", "unknown key 'adresses' in a"),
        (["hosts: {A: {}}"], "4:12", "'A' is no name here"),
        (["hosts: {a: {addresses: [192.0.2.1/99]}}"], "4:25", "'192.0.2.1/99' does not appear"),
        (["hosts: {a: {pods: {x: {}}}}"], "4:23", "addresses is missing"),
        (["hosts: {a: {pods: {a: {addresses: [10.0.0.1]}}}}"], "4:23", "the name 'a' stands twice"),
        (["hosts: {a: {routes: [{to: 10.0.0.1/8, via: 1.1.1.1}]}}"], "4:27", "10.0.0.1/8 has host"),
        (["hosts: {a: {}, b: {}}", "wires: [[a, c]]"], "5:13", "wires[0][1] is 'c'"),
        (["hosts: {a: {}, b: {}}", "wires: [[a, a]]"], "5:9", "wires[0] joins ['a', 'a']"),
        (
            ["hosts: {a: {interfaces: {eth1: [192.0.2.1/24]}}, b: {}}", "wires: [[a, b]]"],
            "4:12",
            "a has addresses for eth1",
        ),
        (["hosts: {}"], "4:8", "hosts is missing"),
    ],
)
def test_a_mistake_is_named_with_its_place(lines: list[str], place: str, what: str) -> None:
    with pytest.raises(PlaitError) as raised:
        parse_topology(_lab(*lines), FILE)

    assert str(raised.value).startswith(f"lab.yaml:{place}: {what}")


@pytest.mark.parametrize(
    ("route", "refusal"),
    [
        (
            "{to: 10.0.0.0/8, via: 198.51.100.1}",
            "5:34: the host cannot reach 10.0.0.0/8 via 198.51.100.1; "
            "expected another host's IPv4 address in 192.0.2.0/24",
        ),
        (
            "{to: 10.0.0.0/8, via: 192.0.2.1}",
            "5:34: the host cannot reach 10.0.0.0/8 via 192.0.2.1; "
            "expected another host's IPv4 address in 192.0.2.0/24",
        ),
        (
            "{to: 'fd00::/8', via: 192.0.2.2}",
            "5:34: the host cannot reach fd00::/8 via 192.0.2.2; "
            "expected an IPv6 address, and the host to have one in its network",
        ),
    ],
)
def test_a_next_hop_is_on_a_wire_of_the_host(route: str, refusal: str) -> None:
    hosts = ["hosts: {a: {addresses: [192.0.2.1/24],", f"  routes: [{route}]}}}}"]

    with pytest.raises(PlaitError) as raised:
        parse_topology(_lab(*hosts), FILE)

    assert str(raised.value) == f"lab.yaml:{refusal}"


def test_every_mistake_is_named_at_once() -> None:
    text = _lab("hosts: {a: {pods: {x: {addresses: [10.0.0.1]}, y: {addresses: [10.0.0.1]}}}}")

    with pytest.raises(Problems) as raised:
        parse_topology(text.replace("Lab", "Laboratory"), FILE)

    assert [error.at.line for error in raised.value.errors if error.at] == [2, 4, 4]


def test_each_host_and_pod_has_a_namespace_of_its_own() -> None:
    topology = parse_topology(TWO_NODES, FILE)

    state = state_of(topology, "other")

    assert state.namespaces == (
        "other-node-a",
        "other-node-b",
        "other-node-a-client",
        "other-node-b-web",
    )


def test_three_hosts_share_a_bridge_in_a_namespace() -> None:
    topology = parse_topology(_lab("hosts: {a: {}, b: {}, c: {}}"), FILE)

    state = state_of(topology, "three")

    assert state.segments == ("three.wire0",)


def test_a_changed_topology_has_another_digest() -> None:
    assert _digest(_lab("hosts: {a: {}}")) != _digest(_lab("hosts: {b: {}}"))
    assert _digest(_lab("hosts: {a: {}}")) == _digest(_lab("# the same", "hosts: {a: {}}"))


def _digest(text: str) -> str:
    topology: Topology = parse_topology(text, FILE)
    return state_of(topology, topology.name).digest


def _lab(*lines: str) -> str:
    return "\n".join(["apiVersion: plait/v1", "kind: Lab", "name: test", *lines, ""])

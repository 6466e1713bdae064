"""Which endpoints a node prefers: hints, zones, itself."""

from ipaddress import IPv4Address, ip_network

import pytest

from plait.core.api import Distribution, Meta, Node, SliceEndpoint
from plait.plugins.lb.topology import Here, preferred

HERE = Here(node="node-a", zone="west")
SAME_NODE = SliceEndpoint(address=IPv4Address("10.1.0.1"), node="node-a", zone="west")
SAME_ZONE = SliceEndpoint(address=IPv4Address("10.1.0.2"), node="node-b", zone="west")
ELSEWHERE = SliceEndpoint(address=IPv4Address("10.1.0.3"), node="node-c", zone="east")


def chosen(
    *endpoints: SliceEndpoint, distribution: Distribution = Distribution.ANY, here: Here = HERE
) -> list[SliceEndpoint]:
    near = preferred(endpoints, distribution, here)
    return [each for each in endpoints if near is None or near(each)]


def hinted(
    number: int, *, zones: tuple[str, ...] = (), nodes: tuple[str, ...] = ()
) -> SliceEndpoint:
    address = IPv4Address("10.2.0.0") + number
    return SliceEndpoint(address=address, for_zones=zones, for_nodes=nodes)


def test_without_hints_and_preferences_all_serve() -> None:
    assert chosen(SAME_NODE, SAME_ZONE, ELSEWHERE) == [SAME_NODE, SAME_ZONE, ELSEWHERE]


@pytest.mark.parametrize("distribution", [Distribution.CLOSE, Distribution.SAME_ZONE])
def test_those_of_the_same_zone_are_preferred(distribution: Distribution) -> None:
    near = chosen(SAME_NODE, SAME_ZONE, ELSEWHERE, distribution=distribution)

    assert near == [SAME_NODE, SAME_ZONE]


def test_those_of_the_same_node_are_preferred_then_those_of_its_zone() -> None:
    same_node = Distribution.SAME_NODE

    assert chosen(SAME_NODE, SAME_ZONE, ELSEWHERE, distribution=same_node) == [SAME_NODE]
    assert chosen(SAME_ZONE, ELSEWHERE, distribution=same_node) == [SAME_ZONE]
    assert chosen(ELSEWHERE, distribution=same_node) == [ELSEWHERE]


def test_a_node_without_a_zone_is_near_to_no_one() -> None:
    nowhere = SliceEndpoint(address=IPv4Address("10.1.0.9"))
    here = Here(node="node-a")

    assert chosen(nowhere, SAME_ZONE, distribution=Distribution.CLOSE, here=here) == [
        nowhere,
        SAME_ZONE,
    ]


def test_hints_say_who_serves_whom() -> None:
    ours, others = hinted(1, zones=("west",)), hinted(2, zones=("east", "north"))

    assert chosen(ours, others) == [ours]


def test_hints_for_nodes_count_before_those_for_zones() -> None:
    mine = hinted(1, zones=("east",), nodes=("node-a",))
    neighbour = hinted(2, zones=("west",), nodes=("node-b",))

    assert chosen(mine, neighbour) == [mine]


def test_hints_do_not_count_when_one_endpoint_has_none() -> None:
    ours, other = hinted(1, zones=("west",)), hinted(2)

    assert chosen(ours, other) == [ours, other]


def test_hints_do_not_count_when_none_is_for_here() -> None:
    one, other = hinted(1, zones=("east",)), hinted(2, zones=("north",))

    assert chosen(one, other) == [one, other]


def test_a_node_s_zone_is_that_of_its_object() -> None:
    def node(name: str, zone: str) -> Node:
        labels = {"topology.kubernetes.io/zone": zone}
        return Node(meta=Meta(name=name, namespace="", labels=labels))

    here = Here(node="node-a").with_zone_of([node("node-b", "east"), node("node-a", "west")])

    assert here.zone == "west"


def test_an_endpoint_that_names_no_node_is_here_by_its_address() -> None:
    here = Here(node="node-a", networks=(ip_network("10.1.0.0/24"),))

    assert here.has(SliceEndpoint(address=IPv4Address("10.1.0.7")))
    assert not here.has(SliceEndpoint(address=IPv4Address("10.1.1.7")))
    assert not here.has(SliceEndpoint(address=IPv4Address("10.1.0.7"), node="node-b"))

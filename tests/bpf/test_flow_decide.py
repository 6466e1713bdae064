"""A flow is decided by its first packet; the others, either way, take the way that it found."""

from collections.abc import Callable

import pytest

from plait.core.api import Verdict
from plait.core.endpoints.netlink import host_prefix
from plait.core.objects.model import Address
from plait.core.plan.core import ENDPOINTS, SILENT
from plait.core.testing.network import GATEWAY
from plait.testing import (
    Addresses,
    Datapath,
    Frame,
    MakeDatapath,
    answer,
    changed,
    icmp_echo,
    tcp,
    udp,
)

PacketBuilder = Callable[..., Frame]

each_protocol = pytest.mark.parametrize("packet", [tcp, udp, icmp_echo])


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """Two pods on the node."""
    datapath = make_datapath({"routing": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    return datapath


@each_protocol
def test_the_first_packet_is_delivered(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    result = datapath.pod_egress(packet(src=net.client, dst=net.server))

    assert result.verdict is Verdict.REDIRECT
    assert result.packet == packet(
        src=net.client, dst=net.server, ttl=63, link=datapath.pods["server"].link
    )


@each_protocol
def test_the_first_packet_makes_a_flow_in_each_direction(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.server)

    datapath.pod_egress(request)

    there, back = datapath.flow(request), datapath.flow(answer(request))
    assert (there.action, there.zone, there.oif) == (
        "PEER",
        datapath.pods["client"].ifindex,
        datapath.pods["server"].ifindex,
    )
    assert (back.action, back.zone, back.oif) == ("NONE", there.oif, there.zone)
    assert back.is_reply and not there.is_reply


@each_protocol
def test_the_answer_is_delivered(datapath: Datapath, net: Addresses, packet: PacketBuilder) -> None:
    request = packet(src=net.client, dst=net.server)
    datapath.pod_egress(request)

    result = datapath.pod_egress(answer(request))

    assert result.verdict is Verdict.REDIRECT
    assert result.packet == changed(answer(request), ttl=63, link=datapath.pods["client"].link)


@each_protocol
def test_later_packets_take_the_way_that_the_first_one_found(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.server)
    first = datapath.pod_egress(request)
    datapath.pod_egress(answer(request))
    forget_endpoint(datapath, net.server)

    later = datapath.pod_egress(request)

    assert later == first
    assert datapath.flow(request).packets == 2


@each_protocol
def test_later_packets_decide_again_when_what_they_were_decided_from_has_changed(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    datapath.pod_egress(answer(request))

    datapath.remove(datapath.pods["server"].endpoint)
    datapath.pod_egress(request)

    flow = datapath.flow(request)
    assert (flow.action, flow.next_hop) == ("NEIGH", net.gateway)
    assert flow.oif == datapath.network.uplink.link.index


def test_a_change_of_other_addresses_changes_nothing(datapath: Datapath, net: Addresses) -> None:
    request = udp(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    forget_endpoint(datapath, net.server)

    datapath.decide_again(net.other_server)
    datapath.pod_egress(request)

    assert datapath.flow(request).action == "PEER"


def test_a_change_of_everything_makes_every_flow_decide_again(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    forget_endpoint(datapath, net.server)

    datapath.decide_again()
    datapath.pod_egress(request)

    assert datapath.flow(request).action == "NEIGH"


def test_deciding_again_keeps_what_was_counted(datapath: Datapath, net: Addresses) -> None:
    request = udp(src=net.client, dst=net.server)
    datapath.pod_egress(request)

    datapath.decide_again()
    datapath.pod_egress(request)

    flow = datapath.flow(request)
    assert (flow.packets, flow.bytes) == (2, 2 * len(request))


def test_what_is_for_a_next_hop_that_does_not_answer_is_left_to_the_stack(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.remote)
    gateway = GATEWAY[net.remote.version]
    hop = {"addr": gateway, "ifindex": datapath.network.uplink.link.index}

    datapath.update(SILENT, hop, {"unused": 0})
    silent = datapath.pod_egress(request)
    key, _ = datapath.maps[SILENT].codecs()
    datapath.maps[SILENT].delete(key.encode(hop))
    answers = datapath.pod_egress(request)

    assert (silent.verdict, silent.packet) == (Verdict.PASS, request)
    assert answers.verdict is Verdict.REDIRECT


def test_another_uplink_leaves_the_replies_counted(datapath: Datapath, net: Addresses) -> None:
    request = udp(src=net.client, dst=net.remote)
    datapath.pod_egress(request)
    datapath.netdev_ingress(answer(request))
    there, back = datapath.flows()

    datapath.network.route_by(host_prefix(net.remote), datapath.network.add_cable("other").link)
    datapath.decide_again()
    datapath.pod_egress(request)

    now_there, now_back = datapath.flows()
    assert (now_there.oif, now_there.packets) != (there.oif, there.packets)
    assert now_back.packets == back.packets == 1


@each_protocol
def test_what_is_for_elsewhere_leaves_by_the_route_s_next_hop(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.remote)

    result = datapath.pod_egress(request)

    flow = datapath.flow(request)
    assert result.verdict is Verdict.REDIRECT
    assert result.packet == changed(request, ttl=63)
    assert (flow.action, flow.next_hop) == ("NEIGH", net.gateway)


@each_protocol
def test_the_answer_from_elsewhere_is_delivered(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.remote)
    datapath.pod_egress(request)

    result = datapath.netdev_ingress(answer(request))

    assert result.verdict is Verdict.REDIRECT
    assert result.packet == changed(answer(request), ttl=63, link=datapath.pods["client"].link)
    assert datapath.flow(answer(request)).is_reply


@each_protocol
def test_what_comes_from_the_wire_is_delivered(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.remote, dst=net.server)

    result = datapath.netdev_ingress(request)
    back = datapath.pod_egress(answer(request))

    assert result.packet == changed(request, ttl=63, link=datapath.pods["server"].link)
    assert back.packet == changed(answer(request), ttl=63)
    assert datapath.flow(answer(request)).action == "NEIGH"


def test_what_the_wire_brings_for_the_host_is_left_to_it(
    datapath: Datapath, net: Addresses
) -> None:
    request = tcp(src=net.remote, dst=net.node, dport=22)

    result = datapath.netdev_ingress(request)

    assert (result.verdict, result.packet) == (Verdict.PASS, request)
    assert not datapath.flows()


@each_protocol
def test_what_is_for_the_node_itself_goes_to_its_stack(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.node)

    result = datapath.pod_egress(request)

    assert (result.verdict, result.packet) == (Verdict.PASS, request)
    assert datapath.flow(request).action == "PASS"


@each_protocol
def test_the_host_reaches_a_pod_and_is_answered(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.node, dst=net.server)

    there = datapath.pod_ingress(request)
    back = datapath.pod_egress(answer(request))

    assert (there.verdict, there.packet) == (Verdict.PASS, request)
    assert (back.verdict, back.packet) == (Verdict.PASS, answer(request))
    assert datapath.flow(answer(request)).is_reply


def test_the_answer_to_the_node_itself_is_part_of_the_same_flow(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.node)
    datapath.pod_egress(request)

    result = datapath.pod_ingress(answer(request))

    assert (result.verdict, result.packet) == (Verdict.PASS, answer(request))
    assert datapath.flow(answer(request)).is_reply
    assert datapath.flow(request).state == "UDP_STREAM"


def test_a_blackhole_swallows_packets(datapath: Datapath, net: Addresses) -> None:
    datapath.network.refuse(net.remote, "blackhole")

    result = datapath.pod_egress(udp(src=net.client, dst=net.remote))

    assert result.verdict is Verdict.DROP
    assert result.drop_reason == "ROUTING_NO_ROUTE"


def forget_endpoint(datapath: Datapath, address: Address) -> None:
    """Take it out of the map behind the control plane's back: no flow is told."""
    endpoints = datapath.maps[ENDPOINTS]
    key, _ = endpoints.codecs()
    assert endpoints.delete(key.encode({"addr": address}))


def test_a_pod_that_has_lost_its_address_is_not_served_any_more(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    loser = datapath.pods["client"]
    datapath.remove(loser.endpoint)
    datapath.pod("heir", net.client)

    result = datapath.pod_egress(request, pod=loser)

    assert (result.verdict, result.drop_reason) == (Verdict.DROP, "PLAIT_FORGED_SOURCE")


def test_a_reply_finds_its_way_again_when_there_was_no_route_for_a_while(
    datapath: Datapath, net: Addresses
) -> None:
    request = tcp(src=net.remote, dst=net.server)
    datapath.netdev_ingress(request)
    datapath.network.refuse(net.remote, "throw")
    without = datapath.pod_egress(answer(request))

    datapath.network.route(host_prefix(net.remote), net.gateway)
    datapath.decide_again()
    again = datapath.pod_egress(answer(request))

    assert (without.verdict, again.verdict) == (Verdict.PASS, Verdict.REDIRECT)

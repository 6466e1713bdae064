"""Idle flows are forgotten, each kind after its own time, and sooner when the table fills up."""

from collections.abc import Callable

import pytest

from plait.testing import Addresses, Datapath, Frame, MakeDatapath, answer, icmp_echo, tcp, udp

PacketBuilder = Callable[..., Frame]


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """Two pods on the node."""
    datapath = make_datapath({"routing": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    return datapath


@pytest.mark.parametrize(
    ("packet", "answered", "seconds"),
    [
        (tcp, False, 120),
        (tcp, True, 60),
        (udp, False, 30),
        (udp, True, 120),
        (icmp_echo, False, 30),
        (icmp_echo, True, 30),
    ],
    ids=["syn", "syn-ack", "udp", "udp-answered", "echo", "echo-answered"],
)
def test_a_flow_is_forgotten_when_it_has_been_idle_for_its_time(
    datapath: Datapath, net: Addresses, packet: PacketBuilder, answered: bool, seconds: int
) -> None:
    request = packet(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    if answered:
        datapath.pod_egress(answer(request))

    datapath.wait(seconds - 1)
    before = datapath.collect()
    datapath.wait(2)
    after = datapath.collect()

    assert (before.live, before.removed) == (2, 0)
    assert (after.live, after.removed) == (0, 2)
    assert not datapath.flows()


def test_an_established_connection_is_kept_for_five_days(
    datapath: Datapath, net: Addresses
) -> None:
    request = tcp(src=net.client, dst=net.server, flags="A")
    datapath.pod_egress(request)
    datapath.pod_egress(answer(request))

    datapath.wait(5 * 86400 - 1)
    before = datapath.collect()
    datapath.wait(2)
    after = datapath.collect()

    assert (before.removed, after.removed) == (0, 2)


def test_one_that_nobody_answers_is_forgotten_after_five_minutes(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.pod_egress(tcp(src=net.client, dst=net.server, flags="A"))

    datapath.wait(301)

    assert datapath.collect().removed == 2


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_connection_lives_while_one_of_its_directions_does(
    datapath: Datapath, net: Addresses, who: str
) -> None:
    request = udp(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    datapath.pod_egress(answer(request))
    datapath.wait(600)

    datapath.pod_egress(request if who == "client" else answer(request))

    assert datapath.collect().live == 2


def test_only_idle_flows_are_forgotten(datapath: Datapath, net: Addresses) -> None:
    datapath.pod_egress(udp(src=net.client, dst=net.server, sport=1))
    datapath.wait(600)
    fresh = udp(src=net.client, dst=net.server, sport=2)
    datapath.pod_egress(fresh)

    datapath.collect()

    assert {flow.key for flow in datapath.flows()} == {
        datapath.flow(fresh).key,
        datapath.flow(answer(fresh)).key,
    }


@pytest.mark.parametrize(
    ("packet", "kept"), [(udp, 0), (tcp, 2)], ids=["unanswered", "established"]
)
def test_when_the_table_fills_up_only_established_flows_keep_their_time(
    datapath: Datapath, net: Addresses, packet: PacketBuilder, kept: int
) -> None:
    options = {"flags": "A"} if packet is tcp else {}
    datapath.pod_egress(packet(src=net.client, dst=net.server, **options))
    datapath.wait(20)

    collected = datapath.collect(fullness=0.9)

    assert collected.live == kept


def test_flows_of_a_translated_connection_are_forgotten_together(
    make_datapath: MakeDatapath, net: Addresses
) -> None:
    datapath = make_datapath({"routing": {}})
    datapath.pod("client", net.client)
    datapath.pod_egress(udp(src=net.client, dst=net.remote))
    datapath.wait(600)

    datapath.netdev_ingress(udp(src=net.remote, dst=net.client, sport=53, dport=40000))

    assert datapath.collect().live == 2


def test_a_flow_whose_packet_comes_while_the_table_is_looked_through_is_kept(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.pod_egress(udp(src=net.client, dst=net.server))

    datapath.wait(-1)
    collected = datapath.collect()

    assert (collected.live, collected.removed) == (2, 0)


@pytest.mark.parametrize("gone", ["client", "server"])
def test_flows_of_a_pod_that_is_gone_are_swept_away(
    datapath: Datapath, net: Addresses, gone: str
) -> None:
    request = tcp(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    datapath.pod_egress(answer(request))
    datapath.remove(datapath.pods[gone].endpoint)

    kept = datapath.collect()
    swept = datapath.collect(sweep=True)

    assert (kept.live, kept.removed) == (2, 0)
    assert (swept.live, swept.removed) == (0, 2)


def test_a_sweep_leaves_the_flows_of_others_alone(datapath: Datapath, net: Addresses) -> None:
    datapath.pod_egress(tcp(src=net.client, dst=net.server))
    datapath.pod_egress(tcp(src=net.client, dst=net.remote))
    datapath.netdev_ingress(tcp(src=net.remote, dst=net.server, sport=7))
    datapath.pod_ingress(tcp(src=net.node, dst=net.server, sport=8))

    swept = datapath.collect(sweep=True)

    assert (swept.live, swept.removed) == (8, 0)

"""A flow is its endpoints' own: nobody else reaches it by forging their addresses."""

import pytest

from plait.core.api import Verdict
from plait.core.plan.core import LOCALS
from plait.core.runtime import addresses
from plait.core.testing.network import NODE
from plait.testing import (
    Addresses,
    Datapath,
    MakeDatapath,
    answer,
    backends,
    changed,
    service,
    tcp,
    udp,
)


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """A client and a server that talk to each other, and a pod that would like to."""
    datapath = make_datapath({"routing": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.pod("intruder", net.other_server)
    request = udp(src=net.client, dst=net.server)
    datapath.pod_egress(request)
    datapath.pod_egress(answer(request))
    return datapath


def test_another_pod_does_not_reach_it(datapath: Datapath, net: Addresses) -> None:
    request = udp(src=net.client, dst=net.server)
    before = datapath.flows()

    result = datapath.pod_egress(request, pod=datapath.pods["intruder"])

    assert (result.verdict, result.drop_reason) == (Verdict.DROP, "PLAIT_FORGED_SOURCE")
    assert datapath.flows() == before


def test_another_pod_cannot_answer_for_it(datapath: Datapath, net: Addresses) -> None:
    forged = answer(udp(src=net.client, dst=net.server))
    before = datapath.flows()

    result = datapath.pod_egress(forged, pod=datapath.pods["intruder"])

    assert (result.verdict, result.drop_reason) == (Verdict.DROP, "PLAIT_FORGED_SOURCE")
    assert datapath.flows() == before


def test_the_wire_does_not_reach_it(datapath: Datapath, net: Addresses) -> None:
    forged = answer(udp(src=net.client, dst=net.server))
    before = datapath.flows()

    result = datapath.netdev_ingress(forged)

    assert (result.verdict, result.packet) == (Verdict.PASS, forged)
    assert datapath.flows() == before


def test_the_wire_does_not_speak_for_the_node(datapath: Datapath, net: Addresses) -> None:
    forged = udp(src=NODE[net.server.version], dst=net.server)
    before = datapath.flows()

    result = datapath.netdev_ingress(forged)

    assert (result.verdict, result.packet) == (Verdict.PASS, forged)
    assert datapath.flows() == before


def test_an_address_that_the_node_gives_up_is_another_s(datapath: Datapath, net: Addresses) -> None:
    request = udp(src=NODE[net.server.version], dst=net.server)

    addresses.write(datapath.maps, ())

    assert datapath.netdev_ingress(request).verdict is Verdict.REDIRECT


def test_a_generation_that_knows_no_addresses_of_the_node_is_served(datapath: Datapath) -> None:
    older = {name: each for name, each in datapath.maps.items() if name != LOCALS}

    addresses.write(older, tuple(NODE.values()))

    assert datapath.entries(LOCALS)


def test_a_pod_that_takes_over_an_address_may_use_the_same_ports(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.server)
    datapath.remove(datapath.pods["client"].endpoint)
    heir = datapath.pod("heir", net.client)

    there = datapath.pod_egress(request, pod=heir)
    back = datapath.pod_egress(answer(request))

    assert there.packet == changed(request, ttl=63, link=datapath.pods["server"].link)
    assert back.packet == changed(answer(request), ttl=63, link=heir.link)


def test_what_the_stack_has_cut_goes_on_to_the_pod(
    make_datapath: MakeDatapath, net: Addresses
) -> None:
    datapath = make_datapath({"routing": {}, "lb": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.put(
        service("dns", net.service, port=53, protocol="UDP"),
        backends("dns", [net.server], port=5353, protocol="UDP"),
    )
    delivered = datapath.pod_egress(udp(src=net.client, dst=net.service)).packet
    before = datapath.flows()

    result = datapath.pod_ingress(delivered)

    assert (result.verdict, result.packet) == (Verdict.PASS, delivered)
    assert datapath.flows() == before


def test_the_host_s_stack_does_not_take_it_over(datapath: Datapath, net: Addresses) -> None:
    forged = udp(src=net.client, dst=net.server)
    before = datapath.flows()

    result = datapath.pod_ingress(forged, pod=datapath.pods["server"])

    assert result.verdict is Verdict.PASS
    assert set(map(str, before)) <= set(map(str, datapath.flows()))


def test_what_came_through_the_host_goes_back_through_it(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.remote, dst=net.server, dport=8080)
    datapath.pod_ingress(request, pod=datapath.pods["server"])

    back = datapath.pod_egress(answer(request), pod=datapath.pods["server"])

    assert (back.verdict, back.packet) == (Verdict.PASS, answer(request))


def test_the_wire_takes_over_what_came_through_the_host(datapath: Datapath, net: Addresses) -> None:
    request = udp(src=net.remote, dst=net.server, dport=8080)
    datapath.pod_ingress(request, pod=datapath.pods["server"])

    result = datapath.netdev_ingress(request)
    back = datapath.pod_egress(answer(request), pod=datapath.pods["server"])

    assert result.verdict is Verdict.REDIRECT
    assert back.verdict is Verdict.REDIRECT


def test_the_wire_takes_over_nothing_that_was_answered_through_the_host(
    datapath: Datapath, net: Addresses
) -> None:
    request, server = udp(src=net.remote, dst=net.server, dport=8080), datapath.pods["server"]
    datapath.pod_ingress(request, pod=server)
    datapath.pod_egress(answer(request), pod=server)

    by_wire = datapath.netdev_ingress(request)
    back = datapath.pod_egress(answer(request), pod=server)

    assert (by_wire.verdict, by_wire.drop_reason) == (Verdict.PASS, None)
    assert back.verdict is Verdict.PASS


def test_a_reply_that_comes_through_the_host_is_translated_all_the_same(
    make_datapath: MakeDatapath, net: Addresses
) -> None:
    datapath = make_datapath({"routing": {}, "lb": {}})
    datapath.pod("client", net.client)
    datapath.put(service("web", net.service), backends("web", [net.remote]))
    request = tcp(src=net.client, dst=net.service)
    there = datapath.pod_egress(request).packet

    through_host = datapath.pod_ingress(answer(there))
    by_wire = datapath.netdev_ingress(answer(there))

    assert (through_host.verdict, through_host.packet.src) == (Verdict.PASS, net.service)
    assert (by_wire.verdict, by_wire.packet.src) == (Verdict.REDIRECT, net.service)

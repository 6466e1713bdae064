"""SCTP: balanced by address, with the ports and the checksum that it comes with."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from plait.core.api import Verdict
from plait.testing import (
    Addresses,
    Datapath,
    MakeDatapath,
    answer,
    backends,
    changed,
    sctp,
    service,
)

Address = IPv4Address | IPv6Address

PORT = 3868


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    datapath = make_datapath({"routing": {}, "lb": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.put(
        service("diameter", net.service, port=PORT, protocol="SCTP"),
        backends("diameter", [net.server], port=PORT, protocol="SCTP"),
    )
    return datapath


def test_an_association_goes_to_a_backend_and_is_answered_by_the_service(
    datapath: Datapath, net: Addresses
) -> None:
    request = sctp(src=net.client, dst=net.service, dport=PORT)

    there = datapath.pod_egress(request)
    back = datapath.pod_egress(answer(there.packet))

    assert there.packet == changed(
        request, dst=net.server, ttl=63, link=datapath.pods["server"].link
    )
    assert back.packet == changed(answer(request), ttl=63, link=datapath.pods["client"].link)


def test_it_stays_with_its_backend(datapath: Datapath, net: Addresses) -> None:
    request = sctp(src=net.client, dst=net.service, dport=PORT)
    datapath.pod_egress(request)

    others = [net.server, *(net.remote + number for number in range(9))]
    datapath.put(backends("diameter", others, port=PORT, protocol="SCTP"))

    assert {datapath.pod_egress(request).packet.dst for _ in range(9)} == {net.server}


def test_two_associations_that_would_look_alike_are_not_told_apart_by_ports(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.pod_egress(sctp(src=net.client, dst=net.service, dport=PORT))

    result = datapath.pod_egress(sctp(src=net.client, dst=net.server, dport=PORT))

    assert result.verdict is Verdict.DROP
    assert result.drop_reason == "PLAIT_FLOW_CLASH"


def test_without_a_backend_it_is_dropped_in_silence(datapath: Datapath, net: Addresses) -> None:
    datapath.put(backends("diameter", [], port=PORT, protocol="SCTP"))

    result = datapath.pod_egress(sctp(src=net.client, dst=net.service, dport=PORT))

    assert result.verdict is Verdict.DROP
    assert result.drop_reason == "LB_NO_BACKEND"


def test_from_outside_it_is_masqueraded_with_the_port_that_it_has(
    datapath: Datapath, net: Addresses
) -> None:
    plain = service("diameter", net.service, port=PORT, protocol="SCTP")
    ours = replace(plain, external_ips=(net.service + 77,))
    datapath.put(ours, backends("diameter", [net.remote], port=PORT, protocol="SCTP"))
    one, other = (
        sctp(src=net.remote + client, dst=net.service + 77, dport=PORT) for client in (7, 8)
    )

    there = datapath.netdev_ingress(one)
    back = datapath.netdev_ingress(answer(there.packet))
    clash = datapath.netdev_ingress(other)

    assert there.packet == changed(one, src=net.node, dst=net.remote, ttl=63)
    assert back.packet == changed(answer(one), ttl=63)
    assert clash.drop_reason == "PLAIT_FLOW_CLASH"

"""Fragments: the first one has the ports, the others follow it."""

import pytest

from plait.core.api import Verdict
from plait.testing import (
    Addresses,
    Datapath,
    MakeDatapath,
    backends,
    changed,
    fragments,
    icmp_echo,
    service,
    udp,
)

PAYLOAD = bytes(range(256)) * 2
PIECE = 128


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """A client, a server, a service on it."""
    datapath = make_datapath({"routing": {}, "lb": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.put(
        service("dns", net.service, port=53, protocol="UDP"),
        backends("dns", [net.server], port=5353, protocol="UDP"),
    )
    return datapath


def test_all_fragments_of_a_datagram_are_translated(datapath: Datapath, net: Addresses) -> None:
    whole = udp(src=net.client, dst=net.service, payload=PAYLOAD)
    expected = changed(whole, dst=net.server, dport=5353, ttl=63, link=datapath.pods["server"].link)

    results = [datapath.pod_egress(piece) for piece in fragments(whole, PIECE)]

    assert len(results) > 3
    assert [result.packet for result in results] == fragments(expected, PIECE)
    assert {result.verdict for result in results} == {Verdict.REDIRECT}


def test_all_fragments_of_an_established_flow_are_translated(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.pod_egress(udp(src=net.client, dst=net.service))
    whole = udp(src=net.client, dst=net.service, payload=PAYLOAD)
    expected = changed(whole, dst=net.server, dport=5353, ttl=63, link=datapath.pods["server"].link)

    results = [datapath.pod_egress(piece) for piece in fragments(whole, PIECE)]

    assert [result.packet for result in results] == fragments(expected, PIECE)


def test_fragments_of_an_echo_are_delivered(datapath: Datapath, net: Addresses) -> None:
    whole = icmp_echo(src=net.client, dst=net.server, payload=PAYLOAD)
    expected = changed(whole, ttl=63, link=datapath.pods["server"].link)

    results = [datapath.pod_egress(piece) for piece in fragments(whole, PIECE)]

    assert [result.packet for result in results] == fragments(expected, PIECE)


def test_a_fragment_before_the_first_is_left_to_the_stack(
    datapath: Datapath, net: Addresses
) -> None:
    _, second, *_ = fragments(udp(src=net.client, dst=net.service, payload=PAYLOAD), PIECE)

    result = datapath.pod_egress(second)

    assert (result.verdict, result.packet) == (Verdict.PASS, second)


def test_a_fragment_with_no_hops_left_is_dropped_without_an_answer(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.pod_egress(fragments(udp(src=net.client, dst=net.server, payload=PAYLOAD), PIECE)[0])
    aged = fragments(udp(src=net.client, dst=net.server, payload=PAYLOAD, ttl=1), PIECE)[1]

    result = datapath.pod_egress(aged)

    assert result.verdict is Verdict.DROP
    assert result.drop_reason == "PLAIT_HOPS_EXCEEDED"

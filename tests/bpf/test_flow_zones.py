"""A flow is its endpoints' own: nobody else reaches it by forging their addresses."""

import pytest

from plait.core.api import Verdict
from plait.testing import Addresses, Datapath, MakeDatapath, answer, udp


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

    assert (result.verdict, result.packet) == (Verdict.PASS, request)
    assert datapath.flows() == before


def test_another_pod_cannot_answer_for_it(datapath: Datapath, net: Addresses) -> None:
    forged = answer(udp(src=net.client, dst=net.server))
    before = datapath.flows()

    result = datapath.pod_egress(forged, pod=datapath.pods["intruder"])

    assert (result.verdict, result.packet) == (Verdict.PASS, forged)
    assert datapath.flows() == before


def test_the_wire_does_not_reach_it(datapath: Datapath, net: Addresses) -> None:
    forged = answer(udp(src=net.client, dst=net.server))
    before = datapath.flows()

    datapath.netdev_ingress(forged)

    assert set(map(str, before)) <= set(map(str, datapath.flows()))

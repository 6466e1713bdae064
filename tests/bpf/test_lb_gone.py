"""Backends that go: what becomes of the connections that they had, and who gets new ones."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from plait.core.api import EndpointSlice
from plait.testing import (
    SENDER,
    Addresses,
    Datapath,
    Frame,
    MakeDatapath,
    answer,
    backends,
    service,
    tcp,
    tcp_reset,
)

Address = IPv4Address | IPv6Address

each_size = pytest.mark.parametrize("others", [0, 8], ids=["few", "many"])


@pytest.fixture
def draining(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    return with_pods(make_datapath({"routing": {}, "lb": {}}), net)


@pytest.fixture
def resetting(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    return with_pods(make_datapath({"routing": {}, "lb": {"removed": "reset"}}), net)


def with_pods(datapath: Datapath, net: Addresses) -> Datapath:
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.put(service("web", net.service), backends("web", [net.server]))
    return datapath


def more(net: Addresses, others: int) -> list[Address]:
    return [net.remote + number for number in range(others + 1)]


def connect(datapath: Datapath, net: Addresses) -> Frame:
    """Open a connection to the service; returns what its client sends on it."""
    there = datapath.pod_egress(tcp(src=net.client, dst=net.service))
    datapath.pod_egress(answer(there.packet))
    data = tcp(src=net.client, dst=net.service, flags="PA", payload=b"data")
    assert datapath.pod_egress(data).packet.dst == there.packet.dst
    return data


@each_size
def test_a_connection_to_a_backend_that_is_gone_goes_on(
    draining: Datapath, net: Addresses, others: int
) -> None:
    data = connect(draining, net)

    draining.put(backends("web", more(net, others)))

    assert draining.pod_egress(data).packet.dst == net.server


@each_size
def test_a_connection_to_a_backend_that_is_gone_is_reset(
    resetting: Datapath, net: Addresses, others: int
) -> None:
    data = connect(resetting, net)

    resetting.put(backends("web", more(net, others)))
    result = resetting.pod_egress(data)

    assert result.drop_reason == "LB_BACKEND_GONE"
    assert result.packet == tcp_reset(data, link=SENDER.back)


def test_a_connection_that_is_not_yet_answered_goes_to_another_backend(
    resetting: Datapath, net: Addresses
) -> None:
    request = tcp(src=net.client, dst=net.service)
    resetting.pod_egress(request)

    resetting.put(backends("web", [net.remote]))

    assert resetting.pod_egress(request).packet.dst == net.remote


def test_connections_of_a_service_that_is_gone_are_reset(
    resetting: Datapath, net: Addresses
) -> None:
    data = connect(resetting, net)

    resetting.remove(service("web", net.service))

    assert resetting.pod_egress(data).drop_reason == "LB_BACKEND_GONE"


def test_connections_to_backends_that_stay_are_not_reset(
    resetting: Datapath, net: Addresses
) -> None:
    data = connect(resetting, net)

    resetting.put(backends("web", [net.server, net.remote]))

    assert resetting.pod_egress(data).packet.dst == net.server


@each_size
def test_a_backend_that_terminates_gets_no_new_flows_while_others_serve(
    draining: Datapath, net: Addresses, others: int
) -> None:
    data = connect(draining, net)

    draining.put(leaving(backends("web", [net.server, *more(net, others)]), [net.server]))
    new = [tcp(src=net.client, dst=net.service, sport=port) for port in range(1, 40)]

    assert draining.pod_egress(data).packet.dst == net.server
    assert net.server not in [draining.pod_egress(each).packet.dst for each in new]


@each_size
def test_backends_that_terminate_serve_as_the_last_resort(
    draining: Datapath, net: Addresses, others: int
) -> None:
    all_of_them = [net.server, *more(net, others)]

    draining.put(leaving(backends("web", all_of_them), all_of_them))
    new = [tcp(src=net.client, dst=net.service, sport=port) for port in range(1, 40)]

    assert {draining.pod_egress(each).packet.dst for each in new} <= {*all_of_them}


def test_backends_of_one_address_are_told_apart_by_their_ports(
    draining: Datapath, net: Addresses
) -> None:
    """Each of many keeps its flows, whichever it is, while there are others."""
    slices = [
        named(backends("web", [net.remote], port=8000 + number), number) for number in range(9)
    ]
    draining.remove(backends("web", [net.server]))
    draining.put(*slices)
    flows = [tcp(src=net.client, dst=net.service, sport=port) for port in range(1, 60)]
    before = [draining.pod_egress(each).packet.ports for each in flows]

    draining.put(named(backends("web", [net.remote], port=7999), 9))

    assert len({dport for _, dport in before}) == len(slices)
    assert [draining.pod_egress(each).packet.ports for each in flows] == before


def named(ours: EndpointSlice, number: int) -> EndpointSlice:
    return replace(ours, meta=replace(ours.meta, name=f"web-{number}"))


def test_a_backend_that_no_longer_serves_gets_no_new_flows(
    draining: Datapath, net: Addresses
) -> None:
    ended = leaving(backends("web", [net.server]), [net.server], serving=False)

    draining.put(ended)

    result = draining.pod_egress(tcp(src=net.client, dst=net.service))
    assert result.drop_reason == "LB_NO_BACKEND"


def leaving(
    ours: EndpointSlice, addresses: Sequence[Address], *, serving: bool = True
) -> EndpointSlice:
    """The same, with these endpoints terminating."""
    return replace(
        ours,
        endpoints=tuple(
            replace(each, ready=False, serving=serving, terminating=True)
            if each.address in addresses
            else each
            for each in ours.endpoints
        ),
    )

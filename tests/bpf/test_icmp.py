"""ICMP errors: those that the node owes as a router, and those about flows that it translates."""

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether

from plait.core.api import Verdict
from plait.testing import (
    IPV4,
    SENDER,
    Addresses,
    Datapath,
    Frame,
    IcmpError,
    MakeDatapath,
    answer,
    backends,
    changed,
    fragments,
    icmp_echo,
    icmp_error,
    service,
    tcp,
    udp,
    with_ipv4_options,
)

PacketBuilder = Callable[..., Frame]

SMALL_MTU = 1300
NO_OPERATIONS = bytes([1, 1, 1, 0])
TRANSPORT_BYTES = {tcp: 20, udp: 8, icmp_echo: 8}

only_ipv4 = pytest.mark.parametrize("net", [IPV4], ids=["ipv4"], indirect=True)
each_protocol = pytest.mark.parametrize("packet", [tcp, udp, icmp_echo])


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """A client, a server behind a small MTU, a service on it."""
    datapath = make_datapath({"routing": {}, "lb": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server, mtu=SMALL_MTU)
    datapath.put(
        service("dns", net.service, port=53, protocol="UDP"),
        backends("dns", [net.server], port=5353, protocol="UDP"),
    )
    return datapath


@each_protocol
def test_a_packet_with_no_hops_left_is_answered_by_the_node(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.server, ttl=1)

    result = datapath.pod_egress(request)

    assert result.verdict is Verdict.REDIRECT
    assert result.drop_reason == "PLAIT_HOPS_EXCEEDED"
    assert result.packet == icmp_error(
        request,
        IcmpError.TIME_EXCEEDED,
        src=net.node,
        quote=net.header_bytes + TRANSPORT_BYTES[packet],
        link=SENDER.back,
    )


def test_a_packet_with_no_hops_left_is_answered_on_an_established_flow_too(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.pod_egress(udp(src=net.client, dst=net.server))

    result = datapath.pod_egress(udp(src=net.client, dst=net.server, ttl=1))

    assert result.drop_reason == "PLAIT_HOPS_EXCEEDED"


def test_the_answer_quotes_the_service_as_the_sender_knows_it(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.service, ttl=1)

    result = datapath.pod_egress(request)

    assert result.packet == icmp_error(
        request,
        IcmpError.TIME_EXCEEDED,
        src=net.node,
        quote=net.header_bytes + 8,
        link=SENDER.back,
    )


def test_a_packet_for_the_node_itself_needs_no_more_hops(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.node, ttl=1)

    result = datapath.pod_egress(request)

    assert (result.verdict, result.packet) == (Verdict.PASS, request)


@each_protocol
def test_a_packet_that_is_too_big_is_answered_with_the_mtu(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    request = packet(src=net.client, dst=net.server, payload=bytes(SMALL_MTU), df=True)

    result = datapath.pod_egress(request)

    assert result.verdict is Verdict.REDIRECT
    assert result.drop_reason == "PLAIT_TOO_BIG"
    assert result.packet == icmp_error(
        request,
        IcmpError.TOO_BIG,
        src=net.node,
        mtu=SMALL_MTU,
        quote=net.header_bytes + TRANSPORT_BYTES[packet],
        link=SENDER.back,
    )


def test_a_packet_that_just_fits_is_delivered(datapath: Datapath, net: Addresses) -> None:
    room = SMALL_MTU - net.header_bytes - 8
    fits = udp(src=net.client, dst=net.server, payload=bytes(room), df=True)
    too_big = udp(src=net.client, dst=net.server, payload=bytes(room + 1), df=True)

    assert datapath.pod_egress(fits).drop_reason is None
    assert datapath.pod_egress(too_big).drop_reason == "PLAIT_TOO_BIG"


@only_ipv4
def test_what_may_be_cut_is_translated_and_left_to_the_stack(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.service, payload=bytes(SMALL_MTU))

    result = datapath.pod_egress(request)

    assert result.verdict is Verdict.PASS
    assert result.packet == changed(request, dst=net.server, dport=5353)


def test_what_cannot_be_routed_is_answered_by_the_node(datapath: Datapath, net: Addresses) -> None:
    datapath.network.refuse(net.remote, "unreachable")
    request = udp(src=net.client, dst=net.remote)

    result = datapath.pod_egress(request)

    assert result.drop_reason == "ROUTING_NO_ROUTE"
    assert result.packet == icmp_error(
        request,
        IcmpError.HOST_UNREACHABLE,
        src=net.node,
        quote=net.header_bytes + 8,
        link=SENDER.back,
    )


@only_ipv4
def test_ipv4_options_are_quoted(datapath: Datapath, net: Addresses) -> None:
    request = with_ipv4_options(udp(src=net.client, dst=net.remote, ttl=1), NO_OPERATIONS)

    result = datapath.pod_egress(request)

    assert result.packet == icmp_error(
        request,
        IcmpError.TIME_EXCEEDED,
        src=net.node,
        quote=net.header_bytes + len(NO_OPERATIONS) + 8,
        link=SENDER.back,
    )


@pytest.mark.parametrize("error", [IcmpError.PORT_UNREACHABLE, IcmpError.TOO_BIG])
def test_a_backend_s_error_comes_from_the_service(
    datapath: Datapath, net: Addresses, error: IcmpError
) -> None:
    request = udp(src=net.client, dst=net.service)
    delivered = datapath.pod_egress(request).packet
    quote = net.header_bytes + 8

    result = datapath.pod_egress(
        icmp_error(delivered, error, src=net.server, mtu=1280, quote=quote)
    )

    assert result.verdict is Verdict.REDIRECT
    assert result.packet == icmp_error(
        as_the_client_knows_it(delivered, net),
        error,
        src=net.service,
        mtu=1280,
        quote=quote,
        ttl=63,
        link=datapath.pods["client"].link,
    )


def test_a_router_s_error_keeps_its_source(datapath: Datapath, net: Addresses) -> None:
    datapath.put(
        service("far", net.service, port=54, protocol="UDP"),
        backends("far", [net.remote], port=5353, protocol="UDP"),
    )
    sent = datapath.pod_egress(udp(src=net.client, dst=net.service, dport=54)).packet
    quote = net.header_bytes + 8

    result = datapath.netdev_ingress(
        icmp_error(sent, IcmpError.HOST_UNREACHABLE, src=net.gateway, quote=quote)
    )

    assert result.packet == icmp_error(
        as_the_client_knows_it(sent, net, dport=54),
        IcmpError.HOST_UNREACHABLE,
        src=net.gateway,
        quote=quote,
        ttl=63,
        link=datapath.pods["client"].link,
    )


def test_an_error_about_a_first_fragment_is_translated(datapath: Datapath, net: Addresses) -> None:
    whole = udp(src=net.client, dst=net.service, payload=bytes(256))
    delivered = datapath.pod_egress(fragments(whole, 128)[0]).packet

    result = datapath.pod_egress(icmp_error(delivered, IcmpError.TOO_BIG, src=net.server, mtu=1280))

    assert result.packet == icmp_error(
        with_checksum_of(delivered, fragments(changed(whole, ttl=63), 128)[0]),
        IcmpError.TOO_BIG,
        src=net.service,
        mtu=1280,
        ttl=63,
        link=datapath.pods["client"].link,
    )


@only_ipv4
def test_an_error_about_a_packet_with_options_is_translated(
    datapath: Datapath, net: Addresses
) -> None:
    request = with_ipv4_options(udp(src=net.client, dst=net.service), NO_OPERATIONS)
    delivered = datapath.pod_egress(request).packet

    result = datapath.pod_egress(icmp_error(delivered, IcmpError.PORT_UNREACHABLE, src=net.server))

    assert result.packet == icmp_error(
        as_the_client_knows_it(delivered, net),
        IcmpError.PORT_UNREACHABLE,
        src=net.service,
        ttl=63,
        link=datapath.pods["client"].link,
    )


@only_ipv4
def test_an_error_of_a_router_with_a_link_local_address_is_translated(
    datapath: Datapath, net: Addresses
) -> None:
    delivered = datapath.pod_egress(udp(src=net.client, dst=net.service)).packet
    router = ip_address("169.254.7.1")

    result = datapath.pod_egress(
        icmp_error(delivered, IcmpError.TOO_BIG, src=router, mtu=1280),
        pod=datapath.pods["server"],
    )

    assert result.packet == icmp_error(
        as_the_client_knows_it(delivered, net),
        IcmpError.TOO_BIG,
        src=router,
        mtu=1280,
        ttl=63,
        link=datapath.pods["client"].link,
    )


def test_a_first_fragment_that_is_too_big_is_quoted_with_its_ports(
    datapath: Datapath, net: Addresses
) -> None:
    whole = udp(src=net.client, dst=net.server, payload=bytes(3000), df=True)
    first = fragments(whole, 1400)[0]

    result = datapath.pod_egress(first)

    fragment_header = 8 if net.version == 6 else 0
    assert result.packet == icmp_error(
        first,
        IcmpError.TOO_BIG,
        src=net.node,
        mtu=SMALL_MTU,
        quote=net.header_bytes + fragment_header + 8,
        link=SENDER.back,
    )


def test_a_client_s_error_reaches_the_backend(datapath: Datapath, net: Addresses) -> None:
    delivered = datapath.pod_egress(udp(src=net.client, dst=net.service)).packet
    received = datapath.pod_egress(answer(delivered)).packet
    quote = net.header_bytes + 8

    result = datapath.pod_egress(
        icmp_error(received, IcmpError.PORT_UNREACHABLE, src=net.client, quote=quote)
    )

    assert result.packet == icmp_error(
        with_checksum_of(received, changed(received, src=net.server, sport=5353)),
        IcmpError.PORT_UNREACHABLE,
        src=net.client,
        quote=quote,
        ttl=63,
        link=datapath.pods["server"].link,
    )


def test_an_error_about_no_known_flow_is_left_to_the_stack(
    datapath: Datapath, net: Addresses
) -> None:
    error = icmp_error(
        udp(src=net.client, dst=net.server), IcmpError.PORT_UNREACHABLE, src=net.server
    )

    result = datapath.pod_egress(error)

    assert (result.verdict, result.packet) == (Verdict.PASS, error)
    assert not datapath.flows()


def test_an_error_does_not_count_as_an_answer(datapath: Datapath, net: Addresses) -> None:
    request = udp(src=net.client, dst=net.server)
    datapath.pod_egress(request)

    datapath.pod_egress(icmp_error(request, IcmpError.PORT_UNREACHABLE, src=net.server))

    assert datapath.flow(request).state == "UDP_UNREPLIED"


def as_the_client_knows_it(delivered: Frame, net: Addresses, dport: int = 53) -> Frame:
    return with_checksum_of(delivered, changed(delivered, dst=net.service, dport=dport))


def with_checksum_of(source: Frame, frame: Frame) -> Frame:
    """A quoted datagram keeps the checksum that it had on its way: nobody looks at it there."""
    at = len(frame) - len(Ether(frame)[UDP]) + 6
    return Frame(frame[:at] + source[at : at + 2] + frame[at + 2 :])

"""Services: a flow goes to one backend, comes back from the service, and stays where it is."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from plait.core.api import Verdict
from plait.testing import (
    SENDER,
    Addresses,
    Datapath,
    Frame,
    IcmpError,
    MakeDatapath,
    answer,
    backends,
    changed,
    icmp_error,
    service,
    tcp,
    tcp_reset,
    udp,
)

Address = IPv4Address | IPv6Address
PacketBuilder = Callable[..., Frame]

PORT = 80
BACKEND_PORT = 8080
MANY = 64

each_protocol = pytest.mark.parametrize(
    ("packet", "protocol"), [(tcp, "TCP"), (udp, "UDP")], ids=["tcp", "udp"]
)

each_size = pytest.mark.parametrize("count", [2, 6, 7])
"""A service of up to six backends holds them in itself."""


@pytest.fixture(params=["maglev", "random"])
def datapath(
    make_datapath: MakeDatapath, net: Addresses, request: pytest.FixtureRequest
) -> Datapath:
    """A client, two servers, no service yet."""
    datapath = make_datapath({"routing": {}, "lb": {"algorithm": request.param}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.pod("other", net.other_server)
    return datapath


@each_protocol
def test_a_flow_to_a_service_goes_to_a_backend(
    datapath: Datapath, net: Addresses, packet: PacketBuilder, protocol: str
) -> None:
    datapath.put(
        service("web", net.service, protocol=protocol),
        backends("web", [net.server], protocol=protocol),
    )

    result = datapath.pod_egress(packet(src=net.client, dst=net.service, dport=PORT))

    assert result.verdict is Verdict.REDIRECT
    assert result.packet == packet(
        src=net.client,
        dst=net.server,
        dport=BACKEND_PORT,
        ttl=63,
        link=datapath.pods["server"].link,
    )


@each_protocol
def test_the_answer_comes_from_the_service(
    datapath: Datapath, net: Addresses, packet: PacketBuilder, protocol: str
) -> None:
    datapath.put(
        service("web", net.service, protocol=protocol),
        backends("web", [net.server], protocol=protocol),
    )
    request = packet(src=net.client, dst=net.service, dport=PORT)
    delivered = datapath.pod_egress(request)

    result = datapath.pod_egress(answer(delivered.packet))

    assert result.packet == changed(answer(request), ttl=63, link=datapath.pods["client"].link)


@each_protocol
def test_later_packets_are_translated_alike(
    datapath: Datapath, net: Addresses, packet: PacketBuilder, protocol: str
) -> None:
    datapath.put(
        service("web", net.service, protocol=protocol),
        backends("web", [net.server, net.other_server], protocol=protocol),
    )
    request = packet(src=net.client, dst=net.service, dport=PORT)
    first = datapath.pod_egress(request)
    datapath.pod_egress(answer(first.packet))

    later = [datapath.pod_egress(request) for _ in range(8)]

    assert later == [first] * 8


def test_a_datagram_without_a_checksum_gets_none(datapath: Datapath, net: Addresses) -> None:
    datapath.put(
        service("dns", net.service, port=53, protocol="UDP"),
        backends("dns", [net.server], port=5353, protocol="UDP"),
    )
    request = udp(src=net.client, dst=net.service, checksum=False)

    first = datapath.pod_egress(request)
    later = datapath.pod_egress(request)

    expected = changed(
        request, dst=net.server, dport=5353, ttl=63, link=datapath.pods["server"].link
    )
    assert first.packet == expected
    assert later.packet == expected


def test_flows_keep_their_backends_while_these_serve(datapath: Datapath, net: Addresses) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server, net.other_server]))
    requests = [tcp(src=net.client, dst=net.service, sport=40000 + i) for i in range(MANY)]
    first = [datapath.pod_egress(request) for request in requests]

    datapath.decide_again()

    assert [datapath.pod_egress(request) for request in requests] == first


def test_flows_of_a_backend_that_is_gone_go_to_another(datapath: Datapath, net: Addresses) -> None:
    datapath.put(
        service("dns", net.service, protocol="UDP"),
        backends("dns", [net.server], protocol="UDP"),
    )
    request = udp(src=net.client, dst=net.service, dport=PORT)
    delivered = datapath.pod_egress(request)
    datapath.pod_egress(answer(delivered.packet))

    datapath.put(backends("dns", [net.other_server], protocol="UDP"))
    moved = datapath.pod_egress(request)
    back = datapath.pod_egress(answer(moved.packet))

    assert moved.packet.dst == net.other_server
    assert back.packet == changed(answer(request), ttl=63, link=datapath.pods["client"].link)


def test_the_backend_that_is_gone_is_no_longer_answered_for(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))

    datapath.put(backends("web", [net.other_server]))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))

    assert {flow.key.src for flow in datapath.flows()} == {net.client, net.other_server}


def test_flows_go_on_when_their_service_is_gone(datapath: Datapath, net: Addresses) -> None:
    web = service("web", net.service)
    datapath.put(web, backends("web", [net.server]))
    request = tcp(src=net.client, dst=net.service)
    first = datapath.pod_egress(request)

    datapath.remove(web)

    assert datapath.pod_egress(request) == first


@each_size
def test_a_backend_is_known_by_its_port_too(datapath: Datapath, net: Addresses, count: int) -> None:
    ends = [net.remote + number for number in range(count)]
    datapath.put(service("web", net.service), backends("web", ends))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))

    datapath.put(backends("web", ends, port=9090))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))

    assert datapath.flow(tcp(src=net.client, dst=net.service)).to.dport == 9090


@each_protocol
def test_a_service_without_backends_refuses(
    datapath: Datapath, net: Addresses, packet: PacketBuilder, protocol: str
) -> None:
    datapath.put(service("web", net.service, protocol=protocol))
    request = packet(src=net.client, dst=net.service, dport=PORT)

    result = datapath.pod_egress(request)

    refused = (
        tcp_reset(request, link=SENDER.back)
        if protocol == "TCP"
        else icmp_error(
            request,
            IcmpError.PORT_UNREACHABLE,
            src=net.service,
            quote=net.header_bytes + 8,
            link=SENDER.back,
        )
    )
    assert result.verdict is Verdict.REDIRECT
    assert result.drop_reason == "LB_NO_BACKEND"
    assert result.packet == refused
    assert not datapath.flows()


def test_flows_of_the_last_backend_are_refused_when_it_is_gone(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    request = tcp(src=net.client, dst=net.service)
    datapath.pod_egress(request)

    datapath.put(backends("web", []))
    result = datapath.pod_egress(request)

    assert result.drop_reason == "LB_NO_BACKEND"
    assert result.packet == tcp_reset(request, link=SENDER.back)


def test_a_backend_on_another_node_is_reached_by_the_route_s_next_hop(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(service("web", net.service), backends("web", [net.remote]))
    request = tcp(src=net.client, dst=net.service)

    there = datapath.pod_egress(request)
    back = datapath.netdev_ingress(answer(there.packet))

    assert datapath.flow(request).next_hop == net.gateway
    assert there.packet == changed(request, dst=net.remote, dport=BACKEND_PORT, ttl=63)
    assert back.packet == changed(answer(request), ttl=63, link=datapath.pods["client"].link)


def test_a_connection_that_would_look_like_another_leaves_from_another_port(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    balanced = tcp(src=net.client, dst=net.service)
    direct = tcp(src=net.client, dst=net.server, dport=BACKEND_PORT)

    first, second = datapath.pod_egress(balanced), datapath.pod_egress(direct)
    answers = [datapath.pod_egress(answer(each.packet)) for each in (first, second)]

    assert first.packet.ports == (direct.ports[0], BACKEND_PORT)
    assert second.packet.ports[0] >= 0xC000
    assert [(each.packet.src, each.packet.ports) for each in answers] == [
        (net.service, answer(balanced).ports),
        (net.server, answer(direct).ports),
    ]


def test_the_port_is_kept_when_the_flow_decides_again(datapath: Datapath, net: Addresses) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    direct = tcp(src=net.client, dst=net.server, dport=BACKEND_PORT)
    datapath.pod_egress(tcp(src=net.client, dst=net.service))
    first = datapath.pod_egress(direct)

    datapath.decide_again()
    again = datapath.pod_egress(direct)

    assert again.packet == first.packet
    assert datapath.pod_egress(answer(first.packet)).packet.ports == answer(direct).ports


def test_a_connection_may_take_the_place_of_one_that_has_ended(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))
    datapath.pod_egress(tcp(src=net.client, dst=net.service, flags="R"))

    result = datapath.pod_egress(tcp(src=net.client, dst=net.server, dport=BACKEND_PORT))

    assert result.verdict is Verdict.REDIRECT


def test_a_flow_that_moves_to_a_backend_that_knows_its_port_leaves_from_another(
    datapath: Datapath, net: Addresses
) -> None:
    other = net.service + 1
    datapath.put(service("a", net.service), backends("a", [net.server]))
    datapath.put(service("b", other), backends("b", [net.other_server]))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))
    datapath.pod_egress(tcp(src=net.client, dst=other))

    datapath.put(backends("b", [net.server]))
    moved = [datapath.pod_egress(tcp(src=net.client, dst=other)).packet for _ in range(3)]
    back = datapath.pod_egress(answer(moved[0]))

    assert {each.dst for each in moved} == {net.server}
    assert len({each.ports for each in moved}) == 1
    assert (back.packet.src, back.packet.ports) == (
        other,
        answer(tcp(src=net.client, dst=other)).ports,
    )


@pytest.mark.parametrize("others", [0, 8], ids=["few", "many"])
def test_a_backend_that_is_not_ready_any_more_keeps_the_flows_that_it_has(
    datapath: Datapath, net: Addresses, others: int
) -> None:
    more = [net.remote + number for number in range(others)]
    datapath.put(service("web", net.service), backends("web", [net.server]))
    old, new = (tcp(src=net.client, dst=net.service, sport=port) for port in (1, 2))
    datapath.pod_egress(old)

    datapath.put(backends("web", [net.other_server, *more], unready=[net.server]))

    assert datapath.pod_egress(old).packet.dst == net.server
    assert datapath.pod_egress(new).packet.dst != net.server


def test_flows_keep_their_backends_when_the_service_gets_another_name(
    datapath: Datapath, net: Addresses
) -> None:
    old = service("web", net.service), backends("web", [net.server, net.other_server])
    new = service("shop", net.service), backends("shop", [net.server, net.other_server])
    flows = [tcp(src=net.client, dst=net.service, sport=1 + number) for number in range(MANY)]
    datapath.put(*old)
    before = [datapath.pod_egress(each).packet.dst for each in flows]

    datapath.remove(*old)
    datapath.put(*new)

    assert [datapath.pod_egress(each).packet.dst for each in flows] == before


def test_flows_go_on_while_no_backend_is_ready(datapath: Datapath, net: Addresses) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    old, new = (tcp(src=net.client, dst=net.service, sport=port) for port in (1, 2))
    datapath.pod_egress(old)

    datapath.put(backends("web", [], unready=[net.server]))

    assert datapath.pod_egress(old).packet.dst == net.server
    assert datapath.pod_egress(new).drop_reason == "LB_NO_BACKEND"


def test_a_pod_reaches_itself_through_its_service(datapath: Datapath, net: Addresses) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    request = tcp(src=net.server, dst=net.service)

    there = datapath.pod_egress(request)
    back = datapath.pod_egress(answer(there.packet))

    pod = datapath.pods["server"]
    assert there.verdict is back.verdict is Verdict.REDIRECT
    assert there.packet == changed(
        request, src=net.service, dst=net.server, dport=BACKEND_PORT, ttl=63, link=pod.link
    )
    assert back.packet == changed(answer(request), ttl=63, link=pod.link)


def test_what_an_ended_connection_still_sends_leaves_its_heir_alone(
    datapath: Datapath, net: Addresses
) -> None:
    other = net.service + 1
    datapath.put(service("a", net.service), backends("a", [net.server]))
    datapath.put(service("b", other), backends("b", [net.server]))
    handshake(datapath, net, net.service)
    datapath.pod_egress(tcp(src=net.client, dst=net.service, flags="RA"))
    handshake(datapath, net, other)

    datapath.pod_egress(tcp(src=net.client, dst=net.service, flags="A"))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))

    data = from_backend(net, "PA")
    assert datapath.flow(data).state == "ESTABLISHED"
    assert datapath.pod_egress(data).packet.src == other


def handshake(datapath: Datapath, net: Addresses, to: Address) -> None:
    """Open a connection from the client, which the server answers."""
    datapath.pod_egress(tcp(src=net.client, dst=to))
    datapath.pod_egress(from_backend(net, "SA"))
    datapath.pod_egress(tcp(src=net.client, dst=to, flags="A"))


def from_backend(net: Addresses, flags: str) -> Frame:
    """A segment from the server to the port of the client that `tcp` gives it."""
    there = tcp(src=net.client, dst=net.server, dport=BACKEND_PORT)
    sport, dport = there.ports[::-1]
    return tcp(src=net.server, dst=net.client, sport=sport, dport=dport, flags=flags)

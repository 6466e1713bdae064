"""Services by addresses of the node and of load balancers, asked from pods and from the wire."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest

from plait.core.api import EndpointSlice, HostPort, Service, TrafficPolicy, Verdict
from plait.testing import (
    SENDER,
    Addresses,
    Datapath,
    IcmpError,
    MakeDatapath,
    answer,
    backends,
    changed,
    icmp_echo,
    icmp_error,
    service,
    tcp,
    tcp_reset,
    udp,
)

Address = IPv4Address | IPv6Address

NODE_PORT = 30080
NODE_NAME = "test"


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    return with_pods(make_datapath({"routing": {}, "lb": {}}), net)


def with_pods(datapath: Datapath, net: Addresses) -> Datapath:
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    return datapath


def outsider(net: Addresses) -> Address:
    """A client on another machine."""
    return net.remote + 7


def node_port(net: Addresses, **more: Any) -> Service:
    plain = service("web", net.service)
    (port,) = plain.ports
    return replace(plain, type="NodePort", ports=(replace(port, node_port=NODE_PORT),), **more)


def balancer(net: Addresses, ingress: Address, **more: Any) -> Service:
    return replace(service("web", net.service), type="LoadBalancer", ingress_ips=(ingress,), **more)


def here(ours: EndpointSlice, addresses: Sequence[Address]) -> EndpointSlice:
    """The same, with these endpoints on this node and all others elsewhere."""
    return replace(
        ours,
        endpoints=tuple(
            replace(each, node=NODE_NAME if each.address in addresses else "elsewhere")
            for each in ours.endpoints
        ),
    )


def test_a_node_port_leads_into_a_pod_that_sees_its_client(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(node_port(net), backends("web", [net.server]))
    request = tcp(src=outsider(net), dst=net.node, dport=NODE_PORT)

    there = datapath.netdev_ingress(request)
    back = datapath.pod_egress(answer(there.packet))

    assert there.verdict is back.verdict is Verdict.REDIRECT
    assert there.packet == changed(
        request, dst=net.server, dport=8080, ttl=63, link=datapath.pods["server"].link
    )
    assert back.packet == changed(answer(request), ttl=63)


def test_a_node_port_to_another_node_is_masqueraded_there_and_back(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(node_port(net), backends("web", [net.remote]))
    request = tcp(src=outsider(net), dst=net.node, dport=NODE_PORT)

    there = datapath.netdev_ingress(request)
    back = datapath.netdev_ingress(answer(there.packet))

    sport, _ = there.packet.ports
    assert 1024 <= sport <= 29_999
    assert there.packet == changed(
        request, src=net.node, dst=net.remote, sport=sport, dport=8080, ttl=63
    )
    assert back.packet == changed(answer(request), ttl=63)


def test_later_packets_of_a_masqueraded_flow_leave_alike(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(node_port(net), backends("web", [net.remote]))
    first = datapath.netdev_ingress(tcp(src=outsider(net), dst=net.node, dport=NODE_PORT))
    datapath.netdev_ingress(answer(first.packet))
    data = tcp(src=outsider(net), dst=net.node, dport=NODE_PORT, flags="PA", payload=b"data")

    early = datapath.netdev_ingress(data)
    datapath.decide_again()
    late = datapath.netdev_ingress(data)

    assert early == late
    assert (early.packet.src, early.packet.ports) == (net.node, first.packet.ports)


def test_a_pod_reaches_a_node_port_of_its_own_node_as_itself(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(node_port(net), backends("web", [net.remote]))
    request = tcp(src=net.client, dst=net.node, dport=NODE_PORT)

    there = datapath.pod_egress(request)

    assert there.packet == changed(request, dst=net.remote, dport=8080, ttl=63)


def test_other_ports_of_the_node_are_its_own(datapath: Datapath, net: Addresses) -> None:
    datapath.put(node_port(net), backends("web", [net.server]))

    outside = datapath.netdev_ingress(tcp(src=outsider(net), dst=net.node, dport=22))
    inside = datapath.pod_egress(tcp(src=net.client, dst=net.node, dport=22))

    assert outside.verdict is inside.verdict is Verdict.PASS


def test_a_node_port_is_one_of_its_protocol_only(datapath: Datapath, net: Addresses) -> None:
    datapath.put(node_port(net), backends("web", [net.server]))

    result = datapath.netdev_ingress(udp(src=outsider(net), dst=net.node, dport=NODE_PORT))

    assert result.verdict is Verdict.PASS


def test_node_ports_are_at_the_chosen_addresses_only(
    make_datapath: MakeDatapath, net: Addresses
) -> None:
    networks = ["203.0.113.0/24", "2001:db8:ffff::/64"]
    config = {"routing": {}, "lb": {"nodePorts": {"addresses": networks}}}
    datapath = with_pods(make_datapath(config), net)
    datapath.put(node_port(net), backends("web", [net.server]))

    result = datapath.netdev_ingress(tcp(src=outsider(net), dst=net.node, dport=NODE_PORT))

    assert result.verdict is Verdict.PASS


def test_a_pod_s_datagrams_follow_when_a_node_port_appears(
    datapath: Datapath, net: Addresses
) -> None:
    request = udp(src=net.client, dst=net.node, dport=NODE_PORT)
    before = datapath.pod_egress(request)
    ours = node_port(net)
    ports = tuple(replace(each, protocol="UDP") for each in ours.ports)

    datapath.put(replace(ours, ports=ports), backends("web", [net.server], protocol="UDP"))

    assert before.packet.dst == net.node
    assert datapath.pod_egress(request).packet.dst == net.server


def test_flows_to_a_node_port_notice_that_their_backend_is_gone(
    datapath: Datapath, net: Addresses
) -> None:
    ours = node_port(net)
    ports = tuple(replace(each, protocol="UDP") for each in ours.ports)
    datapath.put(replace(ours, ports=ports), backends("web", [net.server], protocol="UDP"))
    request = udp(src=outsider(net), dst=net.node, dport=NODE_PORT)
    datapath.netdev_ingress(request)

    datapath.put(backends("web", [net.remote], protocol="UDP"))

    assert datapath.netdev_ingress(request).packet.dst == net.remote


@pytest.mark.parametrize("others", [0, 8], ids=["few", "many"])
def test_external_traffic_stays_on_this_node_and_keeps_its_address(
    datapath: Datapath, net: Addresses, others: int
) -> None:
    ends = [net.server, *(net.remote + number for number in range(others + 1))]
    local = node_port(net, external_policy=TrafficPolicy.LOCAL)
    datapath.put(local, here(backends("web", ends), [net.server]))
    flows = [
        tcp(src=outsider(net), dst=net.node, dport=NODE_PORT, sport=port) for port in range(1, 40)
    ]

    reached = [datapath.netdev_ingress(each).packet for each in flows]

    assert {(each.src, each.dst) for each in reached} == {(outsider(net), net.server)}


def test_pods_reach_all_backends_by_an_external_address_whatever_its_policy(
    datapath: Datapath, net: Addresses
) -> None:
    local = node_port(net, external_policy=TrafficPolicy.LOCAL)
    datapath.put(local, here(backends("web", [net.remote]), []))

    result = datapath.pod_egress(tcp(src=net.client, dst=net.node, dport=NODE_PORT))

    assert result.packet.dst == net.remote


def test_external_traffic_without_a_backend_here_is_dropped(
    datapath: Datapath, net: Addresses
) -> None:
    local = node_port(net, external_policy=TrafficPolicy.LOCAL)
    datapath.put(local, here(backends("web", [net.remote]), []))

    result = datapath.netdev_ingress(tcp(src=outsider(net), dst=net.node, dport=NODE_PORT))

    assert result.verdict is Verdict.DROP
    assert result.drop_reason == "LB_NO_LOCAL_BACKEND"


def test_internal_traffic_stays_on_this_node(datapath: Datapath, net: Addresses) -> None:
    local = replace(service("web", net.service), internal_policy=TrafficPolicy.LOCAL)
    datapath.put(local, here(backends("web", [net.server, net.remote]), [net.server]))
    flows = [tcp(src=net.client, dst=net.service, sport=port) for port in range(1, 40)]

    assert {datapath.pod_egress(each).packet.dst for each in flows} == {net.server}


def test_internal_traffic_without_a_backend_here_is_dropped(
    datapath: Datapath, net: Addresses
) -> None:
    local = replace(service("web", net.service), internal_policy=TrafficPolicy.LOCAL)
    datapath.put(local, here(backends("web", [net.remote]), []))

    result = datapath.pod_egress(tcp(src=net.client, dst=net.service))

    assert result.drop_reason == "LB_NO_LOCAL_BACKEND"


@pytest.mark.parametrize("field", ["external_ips", "ingress_ips"])
def test_external_addresses_are_served_from_pods_and_from_the_wire(
    datapath: Datapath, net: Addresses, field: str
) -> None:
    external = net.service + 77
    addresses: dict[str, Any] = {field: (external,)}
    ours = replace(service("web", net.service), type="LoadBalancer", **addresses)
    datapath.put(ours, backends("web", [net.server]))

    inside = datapath.pod_egress(tcp(src=net.client, dst=external))
    outside = datapath.netdev_ingress(tcp(src=outsider(net), dst=external))

    assert inside.packet.dst == outside.packet.dst == net.server


def test_a_load_balancer_s_address_serves_clients_of_its_ranges_only(
    datapath: Datapath, net: Addresses
) -> None:
    ingress = net.service + 77
    ranges = tuple(map(ip_network, (f"{outsider(net)}", "198.18.0.0/15")))
    datapath.put(balancer(net, ingress, source_ranges=ranges), backends("web", [net.server]))

    allowed = datapath.netdev_ingress(tcp(src=outsider(net), dst=ingress))
    other = datapath.netdev_ingress(tcp(src=outsider(net) + 1, dst=ingress))
    inside = datapath.pod_egress(tcp(src=net.client, dst=net.service))

    assert allowed.packet.dst == net.server
    assert other.drop_reason == "LB_CLIENT_REFUSED"
    assert inside.packet.dst == net.server


@pytest.mark.parametrize("policy", list(TrafficPolicy))
def test_ranges_hold_for_whichever_backends_serve(
    datapath: Datapath, net: Addresses, policy: TrafficPolicy
) -> None:
    ingress = net.service + 77
    ours = balancer(
        net, ingress, source_ranges=(ip_network(f"{outsider(net)}"),), external_policy=policy
    )
    datapath.put(ours, here(backends("web", [net.server]), [net.server]))

    allowed = datapath.netdev_ingress(tcp(src=outsider(net), dst=ingress))
    other = datapath.netdev_ingress(tcp(src=outsider(net) + 1, dst=ingress))

    assert allowed.packet.dst == net.server
    assert other.drop_reason == "LB_CLIENT_REFUSED"


def test_a_flow_goes_on_when_its_client_is_in_no_range_any_more(
    datapath: Datapath, net: Addresses
) -> None:
    ingress = net.service + 77
    ranges = (ip_network(f"{outsider(net)}"),)
    ours = balancer(net, ingress, source_ranges=ranges)
    datapath.put(ours, backends("web", [net.server]))
    old, new = (tcp(src=outsider(net), dst=ingress, sport=port) for port in (1, 2))
    datapath.netdev_ingress(old)

    datapath.put(replace(ours, source_ranges=(ip_network(f"{outsider(net) + 1}"),)))
    datapath.decide_again()

    assert datapath.netdev_ingress(old).packet.dst == net.server
    assert datapath.netdev_ingress(new).drop_reason == "LB_CLIENT_REFUSED"


def test_a_host_port_leads_to_its_endpoint(datapath: Datapath, net: Addresses) -> None:
    server = datapath.pods["server"].endpoint
    datapath.put(replace(server, host_ports=(HostPort(host_port=8000, port=80),)))

    outside = datapath.netdev_ingress(tcp(src=outsider(net), dst=net.node, dport=8000))
    inside = datapath.pod_egress(tcp(src=net.client, dst=net.node, dport=8000))

    assert (outside.packet.dst, outside.packet.ports[1]) == (net.server, 80)
    assert (inside.packet.dst, inside.packet.ports[1]) == (net.server, 80)


def test_a_host_port_of_one_address_is_none_of_others(datapath: Datapath, net: Addresses) -> None:
    server = datapath.pods["server"].endpoint
    ports = (HostPort(host_port=8000, port=80, address=net.node + 1),)
    datapath.put(replace(server, host_ports=ports))

    result = datapath.netdev_ingress(tcp(src=outsider(net), dst=net.node, dport=8000))

    assert result.verdict is Verdict.PASS


def test_a_port_that_a_service_s_address_does_not_serve_is_refused(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))
    segment, datagram = (packet(src=net.client, dst=net.service, dport=81) for packet in (tcp, udp))

    refused = [datapath.pod_egress(packet) for packet in (segment, datagram)]

    assert [each.drop_reason for each in refused] == ["LB_NO_SUCH_PORT"] * 2
    assert refused[0].packet == tcp_reset(segment, link=SENDER.back)
    assert refused[1].packet == icmp_error(
        datagram,
        IcmpError.PORT_UNREACHABLE,
        src=net.service,
        quote=net.header_bytes + 8,
        link=SENDER.back,
    )


def test_an_echo_request_to_a_service_is_refused(datapath: Datapath, net: Addresses) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server]))

    result = datapath.pod_egress(icmp_echo(src=net.client, dst=net.service))

    assert result.drop_reason == "LB_NO_SUCH_PORT"


def test_refusing_can_be_turned_off(make_datapath: MakeDatapath, net: Addresses) -> None:
    datapath = with_pods(make_datapath({"routing": {}, "lb": {"refuse": False}}), net)
    datapath.put(service("web", net.service), backends("web", [net.server]))
    request = tcp(src=net.client, dst=net.service, dport=81)

    assert datapath.pod_egress(request).packet == changed(request, ttl=63)


def test_when_the_service_is_gone_its_address_is_refused_no_longer(
    datapath: Datapath, net: Addresses
) -> None:
    web = service("web", net.service)
    datapath.put(web)
    request = tcp(src=net.client, dst=net.service, dport=81)
    datapath.pod_egress(request)

    datapath.remove(web)

    assert datapath.pod_egress(request).packet == changed(request, ttl=63)


def test_a_backend_in_the_host_s_own_network_answers_from_the_node_port(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(node_port(net), backends("web", [net.node]))
    request = tcp(src=outsider(net), dst=net.node, dport=NODE_PORT)

    there = datapath.netdev_ingress(request)
    back = datapath.netdev_egress(answer(there.packet))

    assert there.verdict is back.verdict is Verdict.PASS
    assert there.packet == changed(request, dport=8080)
    assert back.packet == answer(request)


def test_it_sees_its_client_also_where_another_address_was_asked(
    datapath: Datapath, net: Addresses
) -> None:
    external = net.service + 77
    datapath.put(replace(node_port(net), external_ips=(external,)), backends("web", [net.node]))
    request = tcp(src=outsider(net), dst=external)

    there = datapath.netdev_ingress(request)
    back = datapath.netdev_egress(answer(there.packet))

    assert there.packet == changed(request, dst=net.node, dport=8080)
    assert back.packet == answer(request)


def test_its_connection_goes_on_when_all_is_decided_again(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.put(node_port(net), backends("web", [net.node]))
    there = datapath.netdev_ingress(tcp(src=outsider(net), dst=net.node, dport=NODE_PORT))
    datapath.netdev_egress(answer(there.packet))
    data = tcp(src=outsider(net), dst=net.node, dport=NODE_PORT, flags="PA", payload=b"data")

    datapath.decide_again()
    there = datapath.netdev_ingress(data)
    back = datapath.netdev_egress(answer(there.packet))
    fast = datapath.netdev_egress(answer(there.packet))

    assert there.packet == changed(data, dport=8080)
    assert back.packet == fast.packet == answer(data)


def test_what_the_node_sends_by_itself_is_left_alone(datapath: Datapath, net: Addresses) -> None:
    datapath.put(node_port(net), backends("web", [net.node]))
    request = tcp(src=net.node, dst=outsider(net), dport=443)

    result = datapath.netdev_egress(request)

    assert result.verdict is Verdict.PASS
    assert result.packet == request
    assert not datapath.flows()


@pytest.mark.parametrize("count", [6, 7], ids=["few", "many"])
def test_a_client_is_given_the_same_backend_by_whichever_address_it_asks(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    """So it is by whichever node, as these differ in nothing else."""
    ends = [net.remote + 20 + number for number in range(count)]
    ours = replace(node_port(net), external_ips=(net.service + 77,))
    datapath.put(ours, backends("web", ends))
    asked = ((net.node, NODE_PORT), (net.service, 80), (net.service + 77, 80))

    for sport in range(1, 40):
        flows = [tcp(src=outsider(net), dst=dst, dport=dport, sport=sport) for dst, dport in asked]
        assert len({datapath.netdev_ingress(each).packet.dst for each in flows}) == 1


def test_what_is_for_elsewhere_and_of_no_service_is_left_to_the_host(
    datapath: Datapath, net: Addresses
) -> None:
    request = tcp(src=outsider(net), dst=net.remote)

    result = datapath.netdev_ingress(request)

    assert result.verdict is Verdict.PASS
    assert result.packet == request
    assert not datapath.flows()

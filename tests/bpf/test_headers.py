"""Headers out of the ordinary: options, extension headers, what is not ours, what is broken."""

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from plait.core.api import Verdict
from plait.testing import (
    IPV4,
    IPV6,
    Addresses,
    Datapath,
    Frame,
    Link,
    MakeDatapath,
    answer,
    backends,
    changed,
    fragments,
    icmp_echo,
    service,
    tcp,
    udp,
    with_extensions,
    with_ipv4_options,
)

PacketBuilder = Callable[..., Frame]

NEVER_ROUTED = {
    4: {"multicast": "224.0.0.251", "link-local": "169.254.1.1", "loopback": "127.0.0.1"},
    6: {"multicast": "ff02::fb", "link-local": "fe80::1", "loopback": "::1"},
}
BROADCAST = "ff:ff:ff:ff:ff:ff"
IPIP, GRE, ESP = 4, 47, 50

only_ipv4 = pytest.mark.parametrize("net", [IPV4], ids=["ipv4"], indirect=True)
only_ipv6 = pytest.mark.parametrize("net", [IPV6], ids=["ipv6"], indirect=True)
each_protocol = pytest.mark.parametrize("packet", [tcp, udp, icmp_echo])
fresh_flows = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=100,
)


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """A client, a server, a service on it."""
    datapath = make_datapath({"routing": {}, "lb": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.put(
        service("web", net.service),
        backends("web", [net.server]),
        service("dns", net.service, port=53, protocol="UDP"),
        backends("dns", [net.server], port=5353, protocol="UDP"),
    )
    return datapath


# ---- unusual, but whole ----


@only_ipv4
@pytest.mark.parametrize("options", [bytes([1] * 4), bytes([1] * 39 + [0])], ids=["4", "40"])
def test_a_packet_with_ipv4_options_is_translated(
    datapath: Datapath, net: Addresses, options: bytes
) -> None:
    plain = tcp(src=net.client, dst=net.service)
    expected = changed(plain, dst=net.server, dport=8080, ttl=63, link=into(datapath, "server"))

    result = datapath.pod_egress(with_ipv4_options(plain, options))

    assert result.packet == with_ipv4_options(expected, options)


@only_ipv6
@pytest.mark.parametrize(
    "extensions",
    [
        IPv6ExtHdrHopByHop(),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt(),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(100))]),
    ],
    ids=["hop-by-hop", "destination", "three", "long"],
)
def test_a_packet_with_extension_headers_is_translated(
    datapath: Datapath, net: Addresses, extensions: Packet
) -> None:
    plain = tcp(src=net.client, dst=net.service)
    expected = changed(plain, dst=net.server, dport=8080, ttl=63, link=into(datapath, "server"))

    result = datapath.pod_egress(with_extensions(plain, extensions))

    assert result.packet == with_extensions(expected, extensions)


@only_ipv6
def test_a_chain_of_extension_headers_that_is_too_long_is_left_to_the_stack(
    datapath: Datapath, net: Addresses
) -> None:
    chain = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(200))])
    request = with_extensions(tcp(src=net.client, dst=net.service), chain)

    assert_left_alone(datapath, request)


def test_a_plain_packet_follows_on_the_flow_of_an_unusual_one(
    datapath: Datapath, net: Addresses
) -> None:
    plain = udp(src=net.client, dst=net.service)
    unusual = (
        with_ipv4_options(plain, bytes([1] * 4))
        if net.version == 4
        else with_extensions(plain, IPv6ExtHdrHopByHop())
    )

    datapath.pod_egress(unusual)
    datapath.pod_egress(plain)

    assert datapath.flow(plain).packets == 2


# ---- not ours ----


@each_protocol
def test_what_is_from_an_address_that_is_no_endpoint_s_is_left_alone(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    assert_left_alone(datapath, packet(src=net.remote, dst=net.server))


@pytest.mark.parametrize("destination", NEVER_ROUTED[4])
def test_what_is_never_routed_is_left_alone(
    datapath: Datapath, net: Addresses, destination: str
) -> None:
    to = ip_address(NEVER_ROUTED[net.version][destination])

    assert_left_alone(datapath, udp(src=net.client, dst=to))


@only_ipv4
def test_a_broadcast_is_left_alone(datapath: Datapath, net: Addresses) -> None:
    request = Ether(dst=BROADCAST) / IP(src=str(net.client), dst="255.255.255.255") / bytes(8)

    assert_left_alone(datapath, Frame(request))


@only_ipv4
def test_arp_is_left_alone(datapath: Datapath, net: Addresses) -> None:
    request = Ether(dst=BROADCAST) / ARP(psrc=str(net.client), pdst=str(net.server))

    assert_left_alone(datapath, Frame(request))


@pytest.mark.parametrize("proto", [IPIP, GRE, ESP])
def test_other_protocols_are_left_alone(datapath: Datapath, net: Addresses, proto: int) -> None:
    src, dst = str(net.client), str(net.server)
    network = (
        IP(src=src, dst=dst, proto=proto) if net.version == 4 else IPv6(src=src, dst=dst, nh=proto)
    )

    assert_left_alone(datapath, Frame(Ether() / network / bytes(40)))


# ---- broken ----


@each_protocol
def test_a_packet_cut_within_its_headers_is_left_alone(
    datapath: Datapath, net: Addresses, packet: PacketBuilder
) -> None:
    whole = packet(src=net.client, dst=net.service)
    headers = 14 + net.header_bytes + (20 if packet is tcp else 8)

    for length in range(shortest(net), headers):
        assert_left_alone(datapath, Frame(whole[:length]))


@only_ipv6
def test_a_packet_cut_within_its_extension_headers_is_left_alone(
    datapath: Datapath, net: Addresses
) -> None:
    whole = with_extensions(
        udp(src=net.client, dst=net.service, payload=b""),
        IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(),
    )

    for length in range(shortest(net), len(whole)):
        assert_left_alone(datapath, Frame(whole[:length]))


@fresh_flows
@given(data=st.data())
def test_whatever_is_wrong_with_a_packet_it_is_sent_on_as_it_is_or_not_at_all(
    datapath: Datapath, net: Addresses, data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from(packets_of_all_kinds(net)), label="packet")
    broken = bytearray(whole[: data.draw(st.integers(shortest(net), len(whole)), label="length")])
    for _ in range(data.draw(st.integers(0, 4), label="changes")):
        at = data.draw(st.integers(14, len(broken) - 1), label="at")
        broken[at] = data.draw(st.integers(0, 255), label="byte")

    result = datapath.pod_egress(broken, pod=datapath.pods["client"])

    if result.verdict is Verdict.REDIRECT and result.drop_reason is None:
        assert result.packet.src == net.client
        assert len(result.packet) == len(broken)
        assert result.packet.hops == Frame(broken).hops - 1


@fresh_flows
@given(
    payload=st.binary(max_size=64), sport=st.integers(1, 65535), packet=st.sampled_from([tcp, udp])
)
def test_checksums_are_right_whatever_they_are_of(
    datapath: Datapath, net: Addresses, payload: bytes, sport: int, packet: PacketBuilder
) -> None:
    dport, target = (80, 8080) if packet is tcp else (53, 5353)
    request = packet(src=net.client, dst=net.service, sport=sport, dport=dport, payload=payload)
    expected = changed(request, dst=net.server, dport=target, ttl=63, link=into(datapath, "server"))

    first = datapath.pod_egress(request)
    back = datapath.pod_egress(answer(first.packet, payload=payload))
    later = datapath.pod_egress(request)

    assert first.packet == later.packet == expected
    assert back.packet == changed(
        answer(request, payload=payload), ttl=63, link=into(datapath, "client")
    )


def packets_of_all_kinds(net: Addresses) -> list[Frame]:
    plain = udp(src=net.client, dst=net.service, payload=bytes(64))
    unusual = (
        with_ipv4_options(plain, bytes([1] * 8))
        if net.version == 4
        else with_extensions(plain, IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt())
    )
    return [
        plain,
        unusual,
        tcp(src=net.client, dst=net.service),
        icmp_echo(src=net.client, dst=net.server),
        *fragments(plain, 32),
    ]


def into(datapath: Datapath, pod: str) -> Link:
    return datapath.pods[pod].link


def assert_left_alone(datapath: Datapath, packet: Frame) -> None:
    result = datapath.pod_egress(packet, pod=datapath.pods["client"])

    assert (result.verdict, result.packet) == (Verdict.PASS, packet)
    assert not datapath.flows()


def shortest(net: Addresses) -> int:
    """The kernel's test runs refuse an IP frame that has not even the whole IP header."""
    return 14 + net.header_bytes

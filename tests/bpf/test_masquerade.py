"""Masquerading: flows leave with the node's address, each from a port that no other one has."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from plait.core.api import Service, Verdict
from plait.core.plan.core import PORT_USES
from plait.core.runtime.ports import take_use
from plait.testing import (
    Addresses,
    Datapath,
    Frame,
    MakeDatapath,
    answer,
    backends,
    service,
    tcp,
    udp,
)

Address = IPv4Address | IPv6Address

NODE_PORT = 30080
PORTS = 16


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """A node with a few ports, and a service that is elsewhere."""
    node = {"masquerade": {"firstPort": 2000, "lastPort": 2000 + PORTS - 1}}
    datapath = make_datapath({"routing": {}, "lb": {}}, node=node)
    take_use(datapath.maps[PORT_USES])
    datapath.put(node_port(net), backends("web", [net.remote]))
    return datapath


def node_port(net: Addresses) -> Service:
    plain = service("web", net.service)
    (port,) = plain.ports
    return replace(plain, type="NodePort", ports=(replace(port, node_port=NODE_PORT),))


def request(net: Addresses, number: int, flags: str = "S") -> Frame:
    """What an outside client sends on its connection of this number."""
    return tcp(src=net.remote + 7, dst=net.node, sport=1 + number, dport=NODE_PORT, flags=flags)


def opened(datapath: Datapath, net: Addresses) -> Iterator[Frame]:
    """What leaves of connections, until there is no port any more."""
    for number in range(10 * PORTS):
        result = datapath.netdev_ingress(request(net, number))
        if result.verdict is not Verdict.REDIRECT:
            assert result.drop_reason == "PLAIT_PORTS_EXHAUSTED"
            return
        yield result.packet


def test_every_flow_has_a_port_of_its_own_until_there_is_none(
    datapath: Datapath, net: Addresses
) -> None:
    ports = [packet.ports[0] for packet in opened(datapath, net)]

    assert len(ports) == len(set(ports)) == PORTS
    assert set(ports) == set(range(2000, 2000 + PORTS))


def test_flows_that_live_are_not_harmed_when_ports_run_out(
    datapath: Datapath, net: Addresses
) -> None:
    packets = list(opened(datapath, net))

    for number in range(PORTS, 3 * PORTS):
        datapath.netdev_ingress(request(net, number))

    for number, packet in enumerate(packets):
        back = datapath.netdev_ingress(answer(packet)).packet
        assert (back.src, back.dst, back.ports) == (
            net.node, net.remote + 7, (NODE_PORT, 1 + number),
        )  # fmt: skip
        assert datapath.netdev_ingress(request(net, number, "A")).packet.ports == packet.ports


def test_a_refused_flow_leaves_nothing_behind(datapath: Datapath, net: Addresses) -> None:
    list(opened(datapath, net))
    flows = datapath.flows()

    datapath.netdev_ingress(request(net, 5 * PORTS))

    assert datapath.flows() == flows


def test_the_port_of_an_ended_flow_is_given_to_another(datapath: Datapath, net: Addresses) -> None:
    packets = list(opened(datapath, net))

    datapath.netdev_ingress(request(net, 3, "R"))
    again = datapath.netdev_ingress(request(net, 5 * PORTS))

    assert again.packet.ports == packets[3].ports


def test_another_backend_has_ports_of_its_own(datapath: Datapath, net: Addresses) -> None:
    list(opened(datapath, net))

    datapath.put(backends("web", [net.remote + 1]))

    assert datapath.netdev_ingress(request(net, 5 * PORTS)).verdict is Verdict.REDIRECT


def test_every_flow_has_a_port_of_its_own_while_its_next_hop_is_silent(
    datapath: Datapath, net: Addresses
) -> None:
    """They go through the host's stack meanwhile."""
    uplink = datapath.network.uplink.link.index
    datapath.update("plait_silent", {"addr": net.gateway, "ifindex": uplink}, {"unused": 0})

    results = [datapath.netdev_ingress(request(net, number)) for number in range(PORTS)]

    assert {each.verdict for each in results} == {Verdict.PASS}
    assert len({each.packet.ports[0] for each in results}) == PORTS


def test_a_flow_that_comes_to_be_masqueraded_gets_a_port_and_one_that_is_no_longer_its_own(
    datapath: Datapath, net: Addresses
) -> None:
    datapath.pod("server", net.server)
    plain = node_port(net)
    ports = tuple(replace(each, protocol="UDP") for each in plain.ports)
    datapath.put(replace(plain, ports=ports), backends("web", [net.server], protocol="UDP"))
    datagram = udp(src=net.remote + 7, dst=net.node, sport=40_000, dport=NODE_PORT)

    near = datapath.netdev_ingress(datagram).packet
    datapath.put(backends("web", [net.remote], protocol="UDP"))
    far = datapath.netdev_ingress(datagram).packet
    datapath.put(backends("web", [net.server], protocol="UDP"))
    again = datapath.netdev_ingress(datagram).packet

    assert (near.src, near.ports[0]) == (again.src, again.ports[0]) == (datagram.src, 40_000)
    assert far.src == net.node
    assert 2000 <= far.ports[0] < 2000 + PORTS


def test_running_out_is_counted_and_told_beforehand(datapath: Datapath, net: Addresses) -> None:
    datapath.netdev_ingress(request(net, 0))
    easy = take_use(datapath.maps[PORT_USES])
    for number in range(1, PORTS - 1):
        datapath.netdev_ingress(request(net, number))
    for number in range(PORTS, PORTS + 40):  # by turns, all of them need the one that is left
        for flags in ("S", "R"):
            datapath.netdev_ingress(request(net, number, flags))
    scarce = take_use(datapath.maps[PORT_USES])
    for number in range(100, 102):
        datapath.netdev_ingress(request(net, number))
    out = take_use(datapath.maps[PORT_USES])

    where = f"TCP port 8080 of {net.remote}"
    assert (easy.flows, easy.failed, easy.warning) == (1, 0, None)
    assert (scarce.flows, scarce.failed) == (PORTS + 38, 0)
    assert scarce.warning == (
        f"ports to masquerade with are scarce for flows to {where}: "
        "widen node.masquerade, or add backends"
    )
    assert (out.flows, out.failed) == (1, 1)
    assert out.warning == (
        f"1 flows, some to {where}, got no port to masquerade with: "
        "widen node.masquerade, or add backends"
    )


def test_a_pod_that_clashes_with_nothing_keeps_its_port(datapath: Datapath, net: Addresses) -> None:
    datapath.pod("client", net.client)

    there = datapath.pod_egress(tcp(src=net.client, dst=net.node, dport=NODE_PORT, sport=7777))

    assert (there.packet.src, there.packet.ports[0]) == (net.client, 7777)

"""The node as a router: several uplinks, routes that change, path MTU, hops to live."""

import json
import os
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from plait.core.api import packets
from plait.core.endpoints import namespaces
from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.topology import parse_topology
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed
from support.nodes import Node, service
from support.sockets import ask, digest, endpoint, random_bytes, receive_all, swallowing, tcp, udp

TWO_WIRES = """\
apiVersion: plait/v1
kind: Lab
name: e2e-routing
hosts:
  node-a:
    addresses: [192.0.2.1/24, "2001:db8:1::1/64"]
    interfaces: {eth1: [198.51.100.1/24, "2001:db8:2::1/64"]}
    routes:
    - {to: 0.0.0.0/0, via: 192.0.2.2}
    - {to: "::/0", via: "2001:db8:1::2"}
    pods:
      client: {addresses: [10.244.1.10, "fd00:10:244:1::10"]}
  node-b:
    addresses: [192.0.2.2/24, "2001:db8:1::2/64"]
    interfaces: {eth1: [198.51.100.2/24, "2001:db8:2::2/64"]}
    routes:
    - {to: 10.244.1.0/24, via: 192.0.2.1}
    - {to: "fd00:10:244:1::/64", via: "2001:db8:1::1"}
    pods:
      web-3: {addresses: [10.244.2.11, "fd00:10:244:2::11"]}
wires:
- [node-a, node-b]
- [node-a, node-b]
"""

FAR = ("10.244.2.11", "fd00:10:244:2::11")
WEB = ("10.96.0.10", "fd00:10:96::10")
NODE_A = ({"192.0.2.1", "198.51.100.1"}, {"2001:db8:1::1", "2001:db8:2::1"})
NODE_B = ("192.0.2.2", "2001:db8:1::2")
SECOND = ("198.51.100.2", "2001:db8:2::2")
DEFAULT = ("0.0.0.0/0", "::/0")
PODS_OF_A = ("10.244.1.0/24", "fd00:10:244:1::/64")
PODS_OF_B = ("10.244.2.0/24", "fd00:10:244:2::/64")
VLAN_7 = bytes([0x81, 0x00, 0x00, 0x07])

# linux/in.h and linux/in6.h; Python's socket module lacks them
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU, IP_RECVERR = 10, 2, 14, 11
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR = 23, 24, 25

by_family = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    topology = parse_topology(TWO_WIRES, Path("lab.yaml"))
    with Lab.up(topology, name=f"e2e-routing-{os.getpid()}") as lab:
        lab.run("node-a", "sysctl", "-qw", "net.ipv6.conf.all.keep_addr_on_down=1")
        serve(lab, "web-3")
        yield lab


@pytest.fixture(params=["tcx", "clsact"])
def node(lab: Lab, cache: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    text = node.config.read_text().replace("devices: auto", "devices: [eth0, eth1]")
    node.config.write_text(text.replace("node:\n", f"node:\n  attach: {request.param}\n"))
    (node.objects / "web.yaml").write_text(service("web", ips=WEB, backends=FAR))
    yield node.start()
    lab.run("node-a", "ip", "link", "set", "eth0", "mtu", "1500")
    _route_by(lab, "eth0")
    node.detach()


@by_family
def test_a_changed_route_is_followed_and_no_packet_is_lost(node: Node, family: int) -> None:
    target = endpoint(WEB[family], 80)
    stream = start(node.lab, "client", Streamed, target, "--rate", "500")
    held = start(node.lab, "client", Held, target, "--count", "20", "--interval", "0.05")
    time.sleep(0.3)
    before = _sent(node.lab, "eth1")

    _route_by(node.lab, "eth1")
    time.sleep(0.4)

    streamed, kept = stream.stop(), held.stop()
    assert _sent(node.lab, "eth1") - before > 100
    assert (streamed.lost, streamed.foreign) == (0, 0)
    assert (kept.opened, kept.reset, kept.stalled) == (20, 0, 0)


@by_family
def test_answers_may_come_by_another_uplink(node: Node, family: int) -> None:
    via = ("198.51.100.1", "2001:db8:2::1")[family]
    network = ("10.244.1.0/24", "fd00:10:244:1::/64")[family]
    node.lab.run("node-b", "ip", "route", "replace", network, "via", via)

    streamed = start(
        node.lab, "client", Streamed, endpoint(WEB[family], 80), "--seconds", "0.3"
    ).result()

    back = ("192.0.2.1", "2001:db8:1::1")[family]
    node.lab.run("node-b", "ip", "route", "replace", network, "via", back)
    assert (streamed.lost, streamed.foreign) == (0, 0)


@by_family
def test_a_packet_that_is_too_big_is_told_of_and_tcp_adapts(node: Node, family: int) -> None:
    for which in ("-4", "-6"):
        node.lab.run("client", "ip", which, "route", "flush", "cache")
    node.lab.run("node-a", "ip", "link", "set", "eth0", "mtu", "1400")
    time.sleep(0.2)
    data = random_bytes(1_000_000)

    with udp(node.lab.pods["client"], FAR[family]) as sock:
        _forbid_fragments(sock, family)
        sock.connect((FAR[family], 8080))
        sock.send(bytes(1440))
        with pytest.raises(OSError, match="Message too long"):
            sock.recv(2000)
        assert _path_mtu(sock, family) == 1400
    node.write(
        "large.yaml",
        service("large", ips=WEB, backends=FAR, ports={"x/TCP": (9000, 9000)}),
    )
    with (
        swallowing(node.lab.pods["web-3"], FAR[family], 9000) as seen,
        tcp(node.lab.pods["client"], WEB[family]) as sock,
    ):
        sock.connect((WEB[family], 9000))
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = receive_all(sock)

    (node.objects / "large.yaml").unlink()
    assert seen == [digest(data)]
    assert digest(answer) == digest(data)


@by_family
@pytest.mark.parametrize("target", [FAR, WEB], ids=["pod", "service"])
def test_each_router_on_the_way_is_told_when_hops_run_out(
    node: Node, target: tuple[str, str], family: int
) -> None:
    port = 8080 if target == FAR else 80
    routers = [_hop(node.lab, target[family], port, ttl, family) for ttl in (1, 2)]

    assert routers[0] in NODE_A[family]
    assert routers[1] == NODE_B[family]
    assert _hop(node.lab, target[family], port, 3, family) is None


@by_family
def test_where_no_route_leads_the_sender_is_told(node: Node, family: int) -> None:
    nowhere = ("203.0.113.9", "2001:db8:ffff::9")[family]
    network = ("203.0.113.0/24", "2001:db8:ffff::/48")[family]
    node.lab.run("node-a", "ip", "route", "add", "unreachable", network)

    with udp(node.lab.pods["client"], nowhere) as sock:
        _hear_errors(sock, family)
        sock.connect((nowhere, 9))
        sock.send(b"hello")
        with pytest.raises(OSError, match=r"No route to host|Network is unreachable"):
            sock.recv(100)

    node.lab.run("node-a", "ip", "route", "del", "unreachable", network)


def test_an_uplink_that_goes_down_and_comes_back_is_served_again(node: Node) -> None:
    _route_by(node.lab, "eth1")
    node.lab.run("node-a", "ip", "link", "set", "eth1", "down")
    _route_by(node.lab, "eth0")
    node.lab.run("node-a", "ip", "link", "set", "eth1", "up")
    time.sleep(0.3)

    streamed = start(node.lab, "client", Streamed, f"{WEB[0]}:80", "--seconds", "0.3").result()

    assert streamed.lost == 0
    assert node.status().error is None


def _route_by(lab: Lab, device: str) -> None:
    """Point the default routes of node-a out of a device."""
    via = NODE_B if device == "eth0" else SECOND
    for hop in via:
        lab.run("node-a", "ip", "route", "replace", "default", "via", hop, "dev", device)


def _sent(lab: Lab, device: str) -> int:
    shown = json.loads(lab.run("node-a", "ip", "-s", "-j", "link", "show", device).stdout)
    return int(shown[0]["stats64"]["tx"]["packets"])


def _forbid_fragments(sock: socket.socket, family: int) -> None:
    if family == 0:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)


def _hear_errors(sock: socket.socket, family: int) -> None:
    """Even of those that may pass by themselves."""
    if family == 0:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)


def _path_mtu(sock: socket.socket, family: int) -> int:
    if family == 0:
        return sock.getsockopt(socket.IPPROTO_IP, IP_MTU)
    return sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)


def _hop(lab: Lab, target: str, port: int, ttl: int, family: int) -> str | None:
    """The router that tells that a packet's hops ran out; None when the target answers."""
    level = socket.IPPROTO_IPV6 if family else socket.IPPROTO_IP
    with udp(lab.pods["client"], target) as sock:
        _hear_errors(sock, family)
        sock.setsockopt(level, socket.IPV6_UNICAST_HOPS if family else socket.IP_TTL, ttl)
        sock.connect((target, port))
        sock.send(b"hello")
        try:
            assert sock.recv(100).endswith(b"hello")
        except OSError as error:
            assert error.errno in (113, 111), error  # EHOSTUNREACH: time exceeded
        else:
            return None
        _, ancillary, _, _ = sock.recvmsg(100, 512, socket.MSG_ERRQUEUE)
        offender = ancillary[0][2][16:]  # after struct sock_extended_err
        address = offender[8:24] if family else offender[4:8]
        return socket.inet_ntop(sock.family, address)


@pytest.fixture
def auto(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    """The node with the uplinks that it finds: eth0, by the default route."""
    node = Node.make(lab, tmp_path, cache)
    (node.objects / "web.yaml").write_text(service("web", ips=WEB, backends=FAR))
    yield node.start()
    node.detach()
    for target, via in zip(DEFAULT, NODE_B, strict=True):
        lab.run("node-a", "ip", "route", "replace", target, "via", via)
    lab.run("node-b", "ip", "route", "replace", "10.244.1.0/24", "via", "192.0.2.1")
    lab.run("node-b", "ip", "route", "replace", "fd00:10:244:1::/64", "via", "2001:db8:1::1")


@by_family
def test_connections_survive_while_there_is_no_default_route(auto: Node, family: int) -> None:
    lab = auto.lab
    lab.run("node-a", "ip", "route", "add", PODS_OF_B[family], "via", NODE_B[family])
    held = start(lab, "client", Held, endpoint(WEB[family], 80), "--count", "10")
    time.sleep(0.5)

    lab.run("node-a", "ip", "route", "del", DEFAULT[family])
    time.sleep(0.5)
    lab.run("node-a", "ip", "route", "add", DEFAULT[family], "via", NODE_B[family])
    time.sleep(0.5)

    seen = held.stop()
    lab.run("node-a", "ip", "route", "del", PODS_OF_B[family])
    assert (seen.opened, seen.reset, seen.stalled) == (10, 0, 0)


@by_family
def test_a_backend_behind_a_device_that_is_no_uplink_answers(auto: Node, family: int) -> None:
    lab = auto.lab
    lab.run("node-a", "ip", "route", "add", PODS_OF_B[family], "via", SECOND[family])
    back = ("198.51.100.1", "2001:db8:2::1")[family]
    lab.run("node-b", "ip", "route", "replace", PODS_OF_A[family], "via", back)
    time.sleep(0.3)

    with tcp(lab.pods["client"], WEB[family]) as client:
        client.connect((WEB[family], 80))
        answered_by = ask(client)

    lab.run("node-a", "ip", "route", "del", PODS_OF_B[family])
    assert answered_by == "web-3"


def test_frames_of_another_vlan_are_left_alone(auto: Node) -> None:
    lab = auto.lab
    with tcp(lab.pods["client"], FAR[0]) as client:
        client.connect((FAR[0], 8080))
        assert ask(client) == "web-3"
    [gateway] = json.loads(lab.run("client", "ip", "-j", "neigh", "show", "169.254.1.1").stdout)
    tagged = packets.udp(src=ip_address("10.244.1.10"), dst=ip_address(FAR[0]), sport=5000)

    with namespaces.entered(lab.pods["client"].netns):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        wire.bind(("eth0", 0))
        mac = wire.getsockname()[4]
        wire.send(bytes.fromhex(gateway["lladdr"].replace(":", "")) + mac + VLAN_7 + tagged[12:])
    time.sleep(0.2)

    assert 5000 not in {flow.key.sport for flow in auto.flows()}

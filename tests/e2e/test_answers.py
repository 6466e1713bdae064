"""What is refused is told to who asked, wherever that is and whatever its device can do."""

import ctypes
import fcntl
import json
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from plait.core.kernel.maps import Map
from plait.core.lab.lab import Lab
from plait.core.runtime.agent import COLLECT_SECONDS
from support.nodes import Node, quickstart, service
from support.sockets import tcp, udp

PLUGINS = Path(__file__).parents[1] / "plugins"
CLIENT = ("10.244.1.10", "fd00:10:244:1::10")
POD = ("10.244.1.11", "fd00:10:244:1::11")
EMPTY = ("10.96.0.99", "fd00:10:96::99")

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17

by_family = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])


@pytest.fixture(scope="module")
def node(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The plugin `guard` stands in for a policy: it refuses the pod. A service has no backends."""
    with quickstart("e2e-answers") as lab:
        node = Node.make(lab, tmp_path_factory.mktemp("node"), cache)
        node.plugins = PLUGINS
        node.config.write_text(f"{node.config.read_text()}  guard: {{tell: true}}\n")
        (node.objects / "empty.yaml").write_text(service("empty", ips=EMPTY))
        node.start()
        refused = Map.pinned(next(node.paths.pins.glob("gen-*/map/guard_refused")))
        for address in POD:
            key, value = refused.codecs()
            refused.update(key.encode({"addr": ip_address(address)}), value.encode({"unused": 0}))
        yield node
        node.detach()


@by_family
@pytest.mark.parametrize("source", ["node-a", "client"])
def test_a_connection_to_a_pod_is_reset(node: Node, source: str, family: int) -> None:
    with (
        tcp(node.lab.place(source), POD[family]) as sock,
        pytest.raises(ConnectionRefusedError),
    ):
        sock.connect((POD[family], 8080))


@by_family
@pytest.mark.parametrize("source", ["node-a", "client"])
def test_a_datagram_to_a_pod_is_answered(node: Node, source: str, family: int) -> None:
    with (
        udp(node.lab.place(source), POD[family]) as sock,
        pytest.raises(ConnectionRefusedError),
    ):
        _ask(sock, POD[family])


@by_family
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "no offload"])
def test_the_answer_s_checksum_is_right_whoever_completes_it(
    node: Node, offload: bool, family: int
) -> None:
    """The packet that it quotes has a checksum that is left to the device."""
    _set_checksum_offload(node.lab, _device_to(node.lab, CLIENT[0]), offload)

    with (
        udp(node.lab.place("client"), EMPTY[family]) as sock,
        pytest.raises(ConnectionRefusedError),
    ):
        _ask(sock, EMPTY[family])


@pytest.mark.parametrize(
    ("target", "hop"),
    [("192.0.2.77", None), ("2001:db8::77", None), ("198.51.100.1", "192.0.2.78")],
    ids=["on the wire, v4", "on the wire, v6", "behind a router"],
)
def test_nobody_answers_at_the_next_hop(node: Node, target: str, hop: str | None) -> None:
    """The host's stack asks for it, and answers when it has asked in vain."""
    for ip in ("ipv4", "ipv6"):
        for asking in ("mcast_solicit=1", "retrans_time_ms=100"):
            node.lab.run("node-a", "sysctl", "-qw", f"net.{ip}.neigh.eth0.{asking}")
    if hop:
        node.lab.run("node-a", "ip", "route", "replace", target, "via", hop)

    with (
        tcp(node.lab.place("client"), target) as sock,
        pytest.raises(OSError, match="No route to host"),
    ):
        sock.settimeout(2 * COLLECT_SECONDS)
        sock.connect((target, 80))


def _ask(sock: socket.socket, address: str) -> None:
    sock.connect((address, 80))
    sock.send(b"hello")
    sock.recv(100)


def _device_to(lab: Lab, address: str) -> str:
    route = lab.run("node-a", "ip", "-j", "route", "get", address).stdout
    device: str = json.loads(route)[0]["dev"]
    return device


def _set_checksum_offload(lab: Lab, device: str, on: bool) -> None:
    """Let a device of node-a complete checksums, or the kernel before it. Source: ethtool(8)."""
    value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, on))
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
    with udp(lab.place("node-a"), CLIENT[0]) as sock:
        fcntl.ioctl(sock, _SIOCETHTOOL, request)

"""Hooks of sockets: calls that are sent elsewhere, told of as they were made, or refused.

The plugin `detour` (tests/plugins) stands in for a load balancer.
"""

import errno
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM, AddressFamily, SocketKind

import pytest

from plait.core.api import KernelFeature
from plait.core.endpoints import namespaces
from plait.core.objects.model import Address
from plait.core.testing.loading import Loader
from plait.testing import Datapath, MakeDatapath

PLUGINS = Path(__file__).parents[1] / "plugins"
LISTED_PORT, REAL_PORT = 80, 8080
PROTOCOLS = {SOCK_STREAM: 6, SOCK_DGRAM: 17}
SO_COOKIE = 57


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A family of sockets, and addresses as these spell them: an IPv6 one may speak IPv4."""

    name: str
    family: AddressFamily
    listed: Address
    real: Address

    def pair(self, address: Address, port: int) -> tuple[str, int]:
        mapped = self.family is AF_INET6 and address.version == 4
        return (f"::ffff:{address}" if mapped else str(address), port)


IPV4 = Way(
    name="ipv4",
    family=AF_INET,
    listed=IPv4Address("10.96.0.10"),
    real=IPv4Address("10.244.1.10"),
)
IPV6 = Way(
    name="ipv6",
    family=AF_INET6,
    listed=IPv6Address("fd00:10:96::10"),
    real=IPv6Address("fd00:10:244:1::10"),
)
MAPPED = Way(name="mapped", family=AF_INET6, listed=IPV4.listed, real=IPV4.real)
TURNED = Way(name="ipv6-to-ipv4", family=AF_INET6, listed=IPV6.listed, real=IPV4.real)

WAYS = (IPV4, IPV6, MAPPED)
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
each_kind = pytest.mark.parametrize("kind", [SOCK_STREAM, SOCK_DGRAM], ids=["tcp", "udp"])


@pytest.fixture(scope="module")
def plait_loader(request: pytest.FixtureRequest) -> Iterator[Loader]:
    """Loads plans, with the plugin `detour`."""
    cache = request.config.cache
    assert cache is not None
    loader = Loader(cache.mkdir("plait"), PLUGINS)
    yield loader
    loader.close()


@pytest.fixture
def datapath(make_datapath: MakeDatapath) -> Datapath:
    return make_datapath({"detour": {}})


def list_address(datapath: Datapath, way: Way, kind: SocketKind, *, error: int = 0) -> None:
    """Send calls of the listed address to the real one, or refuse them."""
    datapath.update(
        "detour_routes",
        {"addr": way.listed, "port": LISTED_PORT, "proto": PROTOCOLS[kind]},
        {"addr": way.real, "port": REAL_PORT, "error": error},
    )


def peer(of: socket.socket) -> tuple[Address, int]:
    address, port, *_ = of.getpeername()
    return ip_address(address), port


def called(way: Way) -> tuple[Address, int]:
    address, port = way.pair(way.listed, LISTED_PORT)
    return ip_address(address), port


@each_kind
@pytest.mark.parametrize("way", [*WAYS, TURNED], ids=lambda way: way.name)
def test_a_connection_goes_elsewhere_and_its_peer_is_whom_it_called(
    datapath: Datapath, way: Way, kind: SocketKind
) -> None:
    list_address(datapath, way, kind)
    server = datapath.listen(kind, way.real, REAL_PORT)
    client = datapath.open_socket(way.family, kind)

    client.connect(way.pair(way.listed, LISTED_PORT))

    assert peer(client) == called(way)
    client.send(b"ping")
    if kind is SOCK_STREAM:
        assert server.accept()[0].recv(16) == b"ping"
    else:
        assert server.recv(16) == b"ping"


@each_way
def test_an_answer_to_a_datagram_comes_from_whom_it_was_sent_to(
    datapath: Datapath, way: Way
) -> None:
    list_address(datapath, way, SOCK_DGRAM)
    server = datapath.listen(SOCK_DGRAM, way.real, REAL_PORT)
    client = datapath.open_socket(way.family, SOCK_DGRAM)

    client.sendto(b"ping", way.pair(way.listed, LISTED_PORT))
    _, sender = server.recvfrom(16)
    server.sendto(b"pong", sender)
    answer, (source, port, *_) = client.recvfrom(16)

    assert (answer, ip_address(source), port) == (b"pong", *called(way))


@each_way
def test_a_datagram_from_somebody_else_comes_from_him(datapath: Datapath, way: Way) -> None:
    list_address(datapath, way, SOCK_DGRAM)
    server = datapath.listen(SOCK_DGRAM, way.real, REAL_PORT)
    client = datapath.open_socket(way.family, SOCK_DGRAM)

    client.sendto(b"ping", way.pair(way.real, REAL_PORT))
    _, sender = server.recvfrom(16)
    server.sendto(b"pong", sender)
    _, (source, port, *_) = client.recvfrom(16)

    assert (source, port) == way.pair(way.real, REAL_PORT)


@each_way
@each_kind
@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.EHOSTUNREACH])
def test_who_is_refused_is_told_why(
    datapath: Datapath, way: Way, kind: SocketKind, error: int
) -> None:
    list_address(datapath, way, kind, error=error)
    client = datapath.open_socket(way.family, kind)

    with pytest.raises(OSError, match=r".") as refused:
        client.connect(way.pair(way.listed, LISTED_PORT))

    assert refused.value.errno == error


def test_where_the_kernel_has_no_errno_it_is_eperm(
    plait_loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = plait_loader.config({"detour": {}}, {})
    kernel = {**plait_loader.kernel, KernelFeature.SOCK_ERRNO.value: False}
    monkeypatch.setattr(plait_loader, "kernel", kernel)

    with plait_loader.datapath(config) as datapath:
        list_address(datapath, IPV4, SOCK_DGRAM, error=errno.ENETUNREACH)
        client = datapath.open_socket(AF_INET, SOCK_DGRAM)
        assert client.connect_ex(("10.96.0.10", 80)) == errno.EPERM


@each_way
def test_who_may_not_send_is_told_why(datapath: Datapath, way: Way) -> None:
    list_address(datapath, way, SOCK_DGRAM, error=errno.ENETUNREACH)
    client = datapath.open_socket(way.family, SOCK_DGRAM)

    with pytest.raises(OSError, match=r".") as refused:
        client.sendto(b"ping", way.pair(way.listed, LISTED_PORT))

    assert refused.value.errno == errno.ENETUNREACH


@each_way
def test_who_asks_cannot_be_refused(make_datapath: MakeDatapath, way: Way) -> None:
    datapath = make_datapath({"detour": {"tell": False}})
    server = datapath.listen(SOCK_DGRAM, way.real, REAL_PORT)
    client = datapath.open_socket(way.family, SOCK_DGRAM)

    client.connect(way.pair(way.real, REAL_PORT))
    client.send(b"ping")
    _, sender = server.recvfrom(16)
    server.sendto(b"pong", sender)

    assert client.getpeername()[:2] == way.pair(way.real, REAL_PORT)
    assert client.recvfrom(16)[0] == b"pong"


@each_way
@pytest.mark.parametrize("in_pod", [False, True], ids=["host", "pod"])
def test_a_fragment_is_told_which_socket_calls(
    datapath: Datapath, way: Way, *, in_pod: bool
) -> None:
    list_address(datapath, way, SOCK_DGRAM)
    client = datapath.open_socket(way.family, SOCK_DGRAM, in_pod=in_pod)

    client.connect_ex(way.pair(way.listed, LISTED_PORT))

    [(got, call)] = datapath.entries("detour_taken")
    assert got["cookie"] == int.from_bytes(client.getsockopt(1, SO_COOKIE, 8), sys.byteorder)
    assert call["host"] is not in_pod
    assert (call["netns"] == namespaces.cookie()) is not in_pod


def test_the_sockets_of_pods_can_be_left_alone(make_datapath: MakeDatapath) -> None:
    datapath = make_datapath({"detour": {"hostOnly": True}})
    list_address(datapath, IPV4, SOCK_DGRAM)

    datapath.open_socket(AF_INET, SOCK_DGRAM, in_pod=True).connect_ex(("10.96.0.10", 80))

    assert datapath.entries("detour_taken") == []


@pytest.mark.parametrize(
    ("network", "met"),
    [("10.244.1.0/24", (IPV4, MAPPED)), ("fd00:10:244:1::/64", (IPV6,))],
    ids=["ipv4", "ipv6"],
)
def test_a_family_that_is_off_is_left_alone(
    make_datapath: MakeDatapath, network: str, met: tuple[Way, ...]
) -> None:
    datapath = make_datapath({"detour": {}}, node={"podCIDRs": [network]})

    for way in WAYS:
        list_address(datapath, way, SOCK_DGRAM, error=errno.EXDEV)
        client = datapath.open_socket(way.family, SOCK_DGRAM)
        refused = client.connect_ex(way.pair(way.listed, LISTED_PORT)) == errno.EXDEV
        assert refused is (way in met)


def test_other_processes_do_not_meet_the_hooks(datapath: Datapath) -> None:
    list_address(datapath, IPV4, SOCK_DGRAM, error=errno.EXDEV)
    inside = datapath.open_socket(AF_INET, SOCK_DGRAM)

    with socket.socket(AF_INET, SOCK_DGRAM) as outside:
        assert outside.connect_ex(("10.96.0.10", 80)) == 0
    assert inside.connect_ex(("10.96.0.10", 80)) == errno.EXDEV

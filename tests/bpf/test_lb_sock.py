"""Services at the socket: a process talks to a backend, and hears of the service it has asked."""

import errno
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM, AddressFamily, SocketKind, socket

import pytest

from plait.core.api import Record, Service, TrafficPolicy
from plait.testing import IPV4, IPV6, Addresses, Datapath, MakeDatapath, backends, service

Address = IPv4Address | IPv6Address

PORT, BACKEND_PORT, NODE_PORT = 80, 8080, 30080
PROTOCOLS = {SOCK_STREAM: "TCP", SOCK_DGRAM: "UDP"}
each_kind = pytest.mark.parametrize("kind", [SOCK_STREAM, SOCK_DGRAM], ids=["tcp", "udp"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """A family of sockets, and how it spells an address: an IPv6 one may speak IPv4."""

    family: AddressFamily

    def at(self, address: Address, port: int) -> tuple[str, int]:
        mapped = self.family is AF_INET6 and address.version == 4
        return (f"::ffff:{address}" if mapped else str(address), port)


SPOKEN = {
    "ipv4": (IPV4, AF_INET),
    "mapped": (IPV4, AF_INET6),
    "ipv6": (IPV6, AF_INET6),
}


@pytest.fixture(params=SPOKEN.values(), ids=tuple(SPOKEN))
def spoken(request: pytest.FixtureRequest) -> tuple[Addresses, AddressFamily]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def net(spoken: tuple[Addresses, AddressFamily]) -> Addresses:
    return spoken[0]


@pytest.fixture
def speech(spoken: tuple[Addresses, AddressFamily]) -> Speech:
    return Speech(family=spoken[1])


@pytest.fixture(params=["maglev", "random"])
def datapath(make_datapath: MakeDatapath, request: pytest.FixtureRequest) -> Datapath:
    return make_datapath({"routing": {}, "lb": {"algorithm": request.param}})


def serve(datapath: Datapath, net: Addresses, kind: SocketKind, *, count: int = 1) -> list[socket]:
    """A service with backends that are processes of the node itself."""
    ends = [net.remote + number for number in range(count)]
    listening = [datapath.listen(kind, each, BACKEND_PORT) for each in ends]
    datapath.put(
        service("web", net.service, protocol=PROTOCOLS[kind]),
        backends("web", ends, protocol=PROTOCOLS[kind]),
    )
    return listening


def noted(address: Address) -> Record:
    """A backend as keys of sockets name it."""
    return {"addr": address, "port": BACKEND_PORT}


def told(pair: tuple[str, int]) -> tuple[Address, int]:
    """An address that a socket was told; of IPv4 in IPv6, the IPv4 one."""
    address = ip_address(pair[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address, pair[1]


@each_kind
def test_a_connection_is_one_to_a_backend_and_its_peer_is_the_service(
    datapath: Datapath, net: Addresses, speech: Speech, kind: SocketKind
) -> None:
    (server,) = serve(datapath, net, kind)
    client = datapath.open_socket(speech.family, kind)

    client.connect(speech.at(net.service, PORT))

    client.send(b"ping")
    heard = server.accept()[0] if kind is SOCK_STREAM else server
    assert heard.recv(16) == b"ping"
    assert told(client.getpeername()) == (net.service, PORT)


def test_datagrams_are_answered_by_the_service(
    datapath: Datapath, net: Addresses, speech: Speech
) -> None:
    (server,) = serve(datapath, net, SOCK_DGRAM)
    client = datapath.open_socket(speech.family, SOCK_DGRAM)

    client.sendto(b"ping", speech.at(net.service, PORT))
    _, sender = server.recvfrom(16)
    server.sendto(b"pong", sender)
    answer, source = client.recvfrom(16)

    assert (answer, told(source)) == (b"pong", (net.service, PORT))


def test_a_connected_socket_hears_the_service_too(
    datapath: Datapath, net: Addresses, speech: Speech
) -> None:
    (server,) = serve(datapath, net, SOCK_DGRAM)
    client = datapath.open_socket(speech.family, SOCK_DGRAM)

    client.connect(speech.at(net.service, PORT))
    client.send(b"ping")
    _, sender = server.recvfrom(16)
    server.sendto(b"pong", sender)

    assert told(client.recvfrom(16)[1]) == (net.service, PORT)


def test_one_socket_may_ask_two_services_with_the_same_backend(
    datapath: Datapath, net: Addresses, speech: Speech
) -> None:
    (server,) = serve(datapath, net, SOCK_DGRAM)
    other = net.service + 1
    datapath.put(
        service("other", other, protocol="UDP"), backends("other", [net.remote], protocol="UDP")
    )
    client = datapath.open_socket(speech.family, SOCK_DGRAM)

    for asked in (net.service, other, net.service):
        client.sendto(b"ping", speech.at(asked, PORT))
        server.sendto(b"pong", server.recvfrom(16)[1])
        assert told(client.recvfrom(16)[1]) == (asked, PORT)


@pytest.mark.parametrize("count", [3, 9], ids=["few", "many"])
def test_all_datagrams_of_a_socket_go_to_one_backend(
    datapath: Datapath, net: Addresses, speech: Speech, count: int
) -> None:
    serve(datapath, net, SOCK_DGRAM, count=count)
    client = datapath.open_socket(speech.family, SOCK_DGRAM)

    for _ in range(20):
        client.sendto(b"ping", speech.at(net.service, PORT))

    assert len(datapath.entries("lb_sockets")) == 1


@pytest.mark.parametrize("count", [3, 9], ids=["few", "many"])
def test_sockets_are_shared_among_the_backends(
    datapath: Datapath, net: Addresses, speech: Speech, count: int
) -> None:
    serve(datapath, net, SOCK_DGRAM, count=count)

    for _ in range(12 * count):
        datapath.open_socket(speech.family, SOCK_DGRAM).connect(speech.at(net.service, PORT))

    assert {str(key["backend"]) for key, _ in datapath.entries("lb_sockets")} == {
        str(noted(net.remote + number)) for number in range(count)
    }


@each_kind
def test_without_a_backend_a_connection_is_refused(
    datapath: Datapath, net: Addresses, speech: Speech, kind: SocketKind
) -> None:
    datapath.put(service("web", net.service, protocol=PROTOCOLS[kind]))
    client = datapath.open_socket(speech.family, kind)

    assert client.connect_ex(speech.at(net.service, PORT)) == errno.ECONNREFUSED


@each_kind
def test_a_port_that_the_service_does_not_serve_is_refused(
    datapath: Datapath, net: Addresses, speech: Speech, kind: SocketKind
) -> None:
    serve(datapath, net, kind)
    client = datapath.open_socket(speech.family, kind)

    assert client.connect_ex(speech.at(net.service, PORT + 1)) == errno.ECONNREFUSED


def test_without_a_backend_here_there_is_no_way(
    datapath: Datapath, net: Addresses, speech: Speech
) -> None:
    far = backends("web", [net.remote])
    ends = tuple(replace(each, node="elsewhere") for each in far.endpoints)
    local = replace(service("web", net.service), internal_policy=TrafficPolicy.LOCAL)
    datapath.put(local, replace(far, endpoints=ends))
    client = datapath.open_socket(speech.family, SOCK_STREAM)

    assert client.connect_ex(speech.at(net.service, PORT)) == errno.EHOSTUNREACH


@pytest.mark.parametrize("inside", [True, False])
def test_a_load_balancer_s_address_serves_the_node_if_it_is_in_its_ranges(
    datapath: Datapath, net: Addresses, speech: Speech, inside: bool
) -> None:
    (server,) = serve(datapath, net, SOCK_STREAM)
    ingress = net.service + 77
    allowed = ip_network(f"{net.node if inside else net.remote}")
    datapath.put(
        replace(
            service("web", net.service),
            type="LoadBalancer",
            ingress_ips=(ingress,),
            source_ranges=(allowed,),
        )
    )
    client = datapath.open_socket(speech.family, SOCK_STREAM)

    assert client.connect_ex(speech.at(ingress, PORT)) == (0 if inside else errno.EPERM)
    if inside:
        assert server.accept()


def test_who_asks_no_service_is_left_alone(
    datapath: Datapath, net: Addresses, speech: Speech
) -> None:
    (server,) = serve(datapath, net, SOCK_STREAM)
    client = datapath.open_socket(speech.family, SOCK_STREAM)

    client.connect(speech.at(net.remote, BACKEND_PORT))

    assert server.accept()
    assert told(client.getpeername()) == (net.remote, BACKEND_PORT)


def loopback(net: Addresses) -> Address:
    return IPv4Address("127.0.0.1") if net.version == 4 else IPv6Address("::1")


@pytest.mark.parametrize("own", ["node", "loopback"])
def test_a_node_port_is_at_all_addresses_of_the_node(
    datapath: Datapath, net: Addresses, speech: Speech, own: str
) -> None:
    (server,) = serve(datapath, net, SOCK_STREAM)
    datapath.put(node_port(net))
    client = datapath.open_socket(speech.family, SOCK_STREAM)
    asked = net.node if own == "node" else loopback(net)

    client.connect(speech.at(asked, NODE_PORT))

    assert server.accept()
    assert told(client.getpeername()) == (asked, NODE_PORT)


def node_port(net: Addresses) -> Service:
    plain = service("web", net.service)
    (port,) = plain.ports
    return replace(plain, type="NodePort", ports=(replace(port, node_port=NODE_PORT),))


def test_a_client_with_affinity_stays_with_its_backend(
    datapath: Datapath, net: Addresses, speech: Speech
) -> None:
    serve(datapath, net, SOCK_STREAM, count=3)
    datapath.put(replace(service("web", net.service), affinity=60))

    for _ in range(12):
        datapath.open_socket(speech.family, SOCK_STREAM).connect(speech.at(net.service, PORT))

    backend = {str(key["backend"]) for key, _ in datapath.entries("lb_sockets")}
    assert len(backend) == 1


@pytest.fixture
def everyone(make_datapath: MakeDatapath) -> Datapath:
    return make_datapath({"routing": {}, "lb": {"sockets": "all"}})


def test_sockets_of_pods_are_left_to_their_packets(
    datapath: Datapath, net: Addresses, speech: Speech
) -> None:
    serve(datapath, net, SOCK_DGRAM)
    client = datapath.open_socket(speech.family, SOCK_DGRAM, in_pod=True)

    client.connect_ex(speech.at(net.service, PORT))

    assert not datapath.entries("lb_sockets")


def test_sockets_of_pods_may_turn_to_backends_too(
    everyone: Datapath, net: Addresses, speech: Speech
) -> None:
    serve(everyone, net, SOCK_DGRAM)
    client = everyone.open_socket(speech.family, SOCK_DGRAM, in_pod=True)

    client.connect_ex(speech.at(net.service, PORT))

    ((key, value),) = everyone.entries("lb_sockets")
    assert key["backend"] == noted(net.remote)
    assert (value["addr"], value["port"]) == (net.service, PORT)


def test_sockets_may_be_left_alone(make_datapath: MakeDatapath) -> None:
    datapath = make_datapath({"routing": {}, "lb": {"sockets": "none"}})

    assert "lb_sockets" not in datapath.maps
    assert not any(each.hook.at_sockets for each in datapath.plan.hooks)

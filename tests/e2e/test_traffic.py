"""Real traffic through the datapath, by both ways of attaching: pods, hosts, services."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed
from support.nodes import DRAIN, RESET, Node, quickstart, service
from support.sockets import ask, digest, endpoint, random_bytes, receive_all, swallowing, tcp, udp

CLIENT = ("10.244.1.10", "fd00:10:244:1::10")
NEAR = ("10.244.1.11", "fd00:10:244:1::11")
FAR = ("10.244.2.11", "fd00:10:244:2::11")
NODE_A = ("192.0.2.1", "2001:db8::1")
NODE_B = ("192.0.2.2", "2001:db8::2")
WEB = ("10.96.0.10", "fd00:10:96::10")
BACKENDS = {"web-1", "web-2", "web-3"}

by_family = pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-traffic") as lab:
        for name in (*sorted(BACKENDS), "client", "node-a", "node-b"):
            serve(lab, name)
        yield lab


@pytest.fixture(scope="module", params=["tcx", "clsact"])
def node(
    lab: Lab, cache: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Node]:
    node = Node.make(lab, tmp_path_factory.mktemp("node"), cache)
    text = node.config.read_text()
    node.config.write_text(text.replace("node:\n", f"node:\n  attach: {request.param}\n"))
    yield node.start()
    node.detach()


@by_family
@pytest.mark.parametrize(
    ("source", "target", "server"),
    [
        ("client", NEAR, "web-1"),
        ("client", FAR, "web-3"),
        ("web-3", CLIENT, "client"),
        ("client", NODE_A, "node-a"),
        ("node-a", CLIENT, "client"),
        ("client", NODE_B, "node-b"),
        ("node-b", CLIENT, "client"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pods_and_hosts_reach_each_other(
    node: Node, source: str, target: tuple[str, str], server: str, family: int
) -> None:
    address = endpoint(target[family], 8080)

    stream = start(node.lab, source, Streamed, address, "--seconds", "0.2", "--rate", "200")
    short = start(node.lab, source, Connected, address, "--seconds", "0.2")

    streamed, connected = stream.result(), short.result()
    assert (streamed.lost, streamed.foreign, streamed.duplicates) == (0, 0, 0)
    assert streamed.servers == {server: streamed.sent}
    assert connected.errors == {}
    assert connected.backends == {server: connected.connects}


@by_family
@pytest.mark.parametrize("target", [NEAR, FAR, NODE_A, NODE_B], ids=["near", "far", "own", "other"])
def test_a_pod_pings(node: Node, target: tuple[str, str], family: int) -> None:
    ping = node.lab.run("client", "ping", "-c", "3", "-i", "0.01", "-W", "1", target[family])

    assert "3 received" in ping.stdout


@by_family
def test_pods_talk_past_the_hosts_stack(node: Node, family: int) -> None:
    with _forwarding_cut(node.lab):
        connected = [
            start(
                node.lab, "client", Connected, endpoint(target, port), "--seconds", "0.1"
            ).result()
            for target, port in ((NEAR[family], 8080), (FAR[family], 8080), (WEB[family], 80))
        ]

    assert [each.errors for each in connected] == [{}, {}, {}]
    assert all(each.connects for each in connected)


@by_family
def test_a_service_is_served_by_all_of_its_backends(node: Node, family: int) -> None:
    short = start(
        node.lab, "client", Connected, endpoint(WEB[family], 80), "--seconds", "0.3"
    ).result()

    assert short.errors == {}
    assert short.backends.keys() == BACKENDS


@by_family
def test_a_stream_to_a_service_stays_with_one_backend(node: Node, family: int) -> None:
    stream = start(
        node.lab, "client", Streamed, endpoint(WEB[family], 80), "--seconds", "0.3"
    ).result()

    assert (stream.lost, stream.foreign) == (0, 0)
    assert len(stream.servers) == 1


@by_family
def test_two_hundred_connections_through_a_service(node: Node, family: int) -> None:
    held = start(node.lab, "client", Held, endpoint(WEB[family], 80), "--seconds", "0.6").result()

    assert (held.opened, held.failed, held.reset, held.stalled, held.corrupt) == (200, 0, 0, 0, 0)
    assert held.backends.keys() == BACKENDS


@by_family
@pytest.mark.parametrize("target", [NEAR, FAR, "service"], ids=["near", "far", "service"])
def test_ten_megabytes_arrive_whole_both_ways(
    node: Node, target: tuple[str, str] | str, family: int
) -> None:
    data = random_bytes(10_000_000)
    place = node.lab.pods["web-3" if target == FAR else "web-1"]
    address, port = target[family], 9000
    if target == "service":
        address = ("10.96.0.20", "fd00:10:96::20")[family]
        node.write(
            "large.yaml",
            service(
                "large", ips=(address,), backends=(NEAR[family],), ports={"x/TCP": (9000, 9000)}
            ),
        )

    with (
        swallowing(place, (FAR if target == FAR else NEAR)[family], port) as seen,
        tcp(node.lab.pods["client"], address) as sock,
    ):
        sock.connect((address, port))
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = receive_all(sock)

    assert seen == [digest(data)]
    assert digest(answer) == digest(data)


@by_family
@pytest.mark.parametrize(
    ("target", "port"), [(NEAR, 8080), (FAR, 8080), (WEB, 80)], ids=["near", "far", "service"]
)
def test_datagrams_in_fragments_arrive_whole_both_ways(
    node: Node, target: tuple[str, str], port: int, family: int
) -> None:
    with udp(node.lab.pods["client"], target[family]) as sock:
        sock.connect((target[family], port))
        for size in (2000, 9000, 40_000):
            data = random_bytes(size)
            sock.send(data)
            answer = sock.recv(65536)

            assert answer.partition(b" ")[2] == data


@by_family
def test_a_service_without_a_backend_refuses_at_once(node: Node, family: int) -> None:
    address = ("10.96.0.30", "fd00:10:96::30")[family]
    node.write("empty.yaml", service("empty", ips=(address,)))

    with tcp(node.lab.pods["client"], address) as stream:
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            stream.connect((address, 80))
    with udp(node.lab.pods["client"], address) as datagrams:
        datagrams.connect((address, 80))
        datagrams.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            datagrams.recv(100)

    assert time.monotonic() - began < 0.2


@by_family
def test_connections_whose_last_backend_goes_are_reset_at_once_if_asked_for(
    node: Node, family: int
) -> None:
    address = ("10.96.0.35", "fd00:10:96::35")[family]
    node.edit(DRAIN, RESET)
    node.write("last.yaml", service("last", ips=(address,), backends=(NEAR[family],)))
    with tcp(node.lab.pods["client"], address) as sock:
        sock.connect((address, 80))
        assert ask(sock) == "web-1"

        node.write("last.yaml", service("last", ips=(address,)))

        with pytest.raises(ConnectionResetError):
            ask(sock)
    node.edit(RESET, DRAIN)


@by_family
def test_a_port_that_nobody_listens_on_is_unreachable_as_if_at_the_service(
    node: Node, family: int
) -> None:
    address = ("10.96.0.40", "fd00:10:96::40")[family]
    node.write(
        "deaf.yaml",
        service(
            "deaf",
            ips=(address,),
            backends=(FAR[family],),
            ports={"a/UDP": (80, 9999), "b/TCP": (80, 9999)},
        ),
    )

    with udp(node.lab.pods["client"], address) as datagrams:
        datagrams.connect((address, 80))  # the kernel tells only of errors that match the pair
        datagrams.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            datagrams.recv(100)
    with tcp(node.lab.pods["client"], address) as stream, pytest.raises(ConnectionRefusedError):
        stream.connect((address, 80))


@contextmanager
def _forwarding_cut(lab: Lab) -> Iterator[None]:
    """The host's stack forwards nothing meanwhile."""
    chain = "{type filter hook forward priority 0; policy drop;}"
    lab.run("node-a", "nft", f"add table inet cut; add chain inet cut forward {chain}")
    yield
    lab.run("node-a", "nft", "delete table inet cut")

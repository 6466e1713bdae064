"""The health check port of a Service: who counts, what is answered, and who may not disturb it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from plait.core.api import (
    EndpointSlice,
    Host,
    Meta,
    Network,
    Object,
    Report,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
    TrafficPolicy,
    View,
)
from plait.plugins.lb.annotations import WEIGHT
from plait.plugins.lb.backends import Backend
from plait.plugins.lb.health import exchange, listeners
from plait.plugins.lb.health.server import HealthServer
from plait.plugins.lb.silence import BackendHealth
from plait.plugins.lb.topology import Here

HERE = Here(node="node-a")
LOCAL, SECOND, FAR = (
    SliceEndpoint(address=IPv4Address("10.244.1.1"), node="node-a"),
    SliceEndpoint(address=IPv4Address("10.244.1.2"), node="node-a"),
    SliceEndpoint(address=IPv4Address("10.244.2.1"), node="node-b"),
)


@dataclass(kw_only=True)
class Node:
    """A node's server, shown whatever a test wants it to see."""

    chosen: tuple[Network, ...] = ()
    reports: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = HealthServer(self.reports.append, HERE, self.chosen)

    def see(self, *objects: Object) -> None:
        self.server.follow(View(objects={each.key: each for each in objects}, changed=None))

    @property
    def problems(self) -> list[str]:
        return [str(each) for each in self.reports[-1].problems] if self.reports else []


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.server.stop()


@pytest.fixture
def port() -> int:
    return free_port()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
        return number


def web(port: int, name: str = "web", *, ip: str = "10.96.0.1") -> Service:
    return Service(
        meta=Meta(name=name),
        cluster_ips=(ip_address(ip),),
        ports=(ServicePort(port=80),),
        external_policy=TrafficPolicy.LOCAL,
        health_check_node_port=port,
    )


def slice_of(
    *endpoints: SliceEndpoint, name: str = "web", weight: str | None = None
) -> EndpointSlice:
    return EndpointSlice(
        meta=Meta(name=f"{name}-1", annotations={WEIGHT: weight} if weight else {}),
        service=name,
        endpoints=endpoints,
        ports=(SlicePort(port=8080),),
    )


@dataclass(frozen=True)
class Answer:
    """What the port says."""

    status: int
    weight: str | None
    body: bytes
    type: str | None
    options: str | None


def ask(port: int, address: str = "127.0.0.1", method: str = "GET") -> Answer | None:
    """None when nobody listens."""
    with closing(HTTPConnection(address, port, timeout=5)) as connection:
        try:
            connection.request(method, "/healthz")
        except ConnectionRefusedError:
            return None
        got = connection.getresponse()
        header = got.getheader
        return Answer(
            got.status,
            header("X-Load-Balancing-Endpoint-Weight"),
            got.read(),
            header("Content-Type"),
            header("X-Content-Type-Options"),
        )


def weight(port: int) -> str | None:
    answer = ask(port)
    return answer.weight if answer else None


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- what is answered ----


def test_a_node_with_local_endpoints_says_200_and_how_many(node: Node, port: int) -> None:
    node.see(web(port), slice_of(LOCAL, SECOND, FAR))
    wait_for(lambda: ask(port) is not None)

    answer = ask(port)

    assert answer is not None
    assert (answer.status, answer.weight) == (200, "2")
    assert (answer.type, answer.options) == ("application/json", "nosniff")
    assert json.loads(answer.body) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }


def test_a_node_without_says_503(node: Node, port: int) -> None:
    node.see(web(port), slice_of(FAR))
    wait_for(lambda: ask(port) is not None)

    answer = ask(port)

    assert answer is not None
    assert (answer.status, answer.weight) == (503, "0")


def test_a_head_has_no_body(node: Node, port: int) -> None:
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: ask(port) is not None)

    answer = ask(port, method="HEAD")

    assert answer is not None
    assert (answer.status, answer.body) == (200, b"")


def test_what_is_no_request_is_a_bad_one(node: Node, port: int) -> None:
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: ask(port) is not None)

    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"hello\r\n\r\n")

        assert client.recv(4096).startswith(b"HTTP/1.1 400 Bad Request\r\n")


LEAVING = SliceEndpoint(
    address=SECOND.address, node="node-a", ready=False, serving=True, terminating=True
)
SILENT = BackendHealth(meta=Meta(name="web"), silent=frozenset({Backend(SECOND.address, 8080)}))


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([slice_of(LEAVING)], "0"),
        ([slice_of(LOCAL, SliceEndpoint(address=SECOND.address, ready=False))], "1"),
        ([slice_of(LOCAL, SECOND), SILENT], "1"),
        ([slice_of(SECOND, FAR), SILENT], "0"),
        ([slice_of(SECOND), SILENT], "1"),
    ],
    ids=["leaving", "not-ready", "silent", "only-local-is-silent", "all-are-silent"],
)
def test_who_gets_no_new_flows_does_not_count(
    node: Node, port: int, objects: Sequence[Object], expected: str
) -> None:
    node.see(web(port), *objects)
    wait_for(lambda: ask(port) is not None)

    assert weight(port) == expected


def test_each_family_of_the_service_has_its_own_count(node: Node, port: int) -> None:
    six = SliceEndpoint(address=ip_address("fd00::1"), node="node-a")

    node.see(web(port, ip="fd00:96::1"), slice_of(six))
    wait_for(lambda: ask(port, "::1") is not None)

    answer = ask(port, "::1")
    assert answer is not None
    assert (answer.status, answer.weight) == (200, "1")
    assert ask(port) is None


# ---- edits ----


def test_endpoints_that_come_and_go_are_followed(node: Node, port: int) -> None:
    node.see(web(port), slice_of())
    wait_for(lambda: weight(port) == "0")

    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: weight(port) == "1")
    node.see(web(port), slice_of())
    wait_for(lambda: weight(port) == "0")


def test_a_port_that_changes_is_followed_and_one_that_goes_is_closed(node: Node, port: int) -> None:
    other = free_port()
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: ask(port) is not None)

    node.see(web(other), slice_of(LOCAL))
    wait_for(lambda: ask(other) is not None)
    assert ask(port) is None

    node.see(slice_of(LOCAL))
    wait_for(lambda: ask(other) is None)


def test_two_services_may_change_ports_with_each_other(node: Node, port: int) -> None:
    other = free_port()
    slices = (slice_of(LOCAL), slice_of(LOCAL, SECOND, name="shop"))
    node.see(web(port), web(other, "shop"), *slices)
    wait_for(lambda: (weight(port), weight(other)) == ("1", "2"))

    node.see(web(other), web(port, "shop"), *slices)
    wait_for(lambda: (weight(port), weight(other)) == ("2", "1"))

    assert node.problems == []


def test_what_makes_no_sense_leaves_the_answer_as_it_was(node: Node, port: int) -> None:
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: weight(port) == "1")

    node.see(web(port), slice_of(weight="heavy"))

    assert weight(port) == "1"


def test_only_chosen_addresses_of_the_node_answer(port: int) -> None:
    node = Node(chosen=(ip_network("127.0.1.0/24"),))
    addresses = (IPv4Address("127.0.0.1"), IPv4Address("127.0.1.1"))
    host = Host(meta=Meta(name="localhost", namespace=""), addresses=addresses)
    try:
        node.see(web(port), slice_of(LOCAL), host)
        wait_for(lambda: ask(port, "127.0.1.1") is not None)

        assert ask(port, "127.0.0.1") is None
    finally:
        node.server.stop()


def test_ports_are_free_once_it_is_stopped(node: Node, port: int) -> None:
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: ask(port) is not None)

    node.server.stop()

    with socket.create_server(("", port)):
        pass


# ---- others ----


def test_a_port_that_is_taken_is_told_and_had_once_it_is_free(
    node: Node, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "RETRY", 0.05)
    free = free_port()
    with socket.create_server(("", port)):
        node.see(web(port), web(free, "shop"), slice_of(LOCAL), slice_of(LOCAL, name="shop"))
        wait_for(lambda: weight(free) == "1")
        wait_for(lambda: bool(node.problems))
        [problem] = node.problems

    wait_for(lambda: weight(port) == "1")
    assert f"Service default/web: health check port {port} of 0.0.0.0 cannot be had" in problem
    assert "address already in use" in problem
    assert node.problems == []


def test_of_two_services_with_one_port_the_first_answers(node: Node, port: int) -> None:
    slices = (slice_of(LOCAL), slice_of(LOCAL, SECOND, name="shop"))
    node.see(web(port), web(port, "shop"), *slices)
    wait_for(lambda: bool(node.problems))
    assert all(f"Service default/web: health check port {port} of" in it for it in node.problems)
    assert weight(port) == "2"

    node.see(web(port), *slices)

    wait_for(lambda: weight(port) == "1")
    assert node.problems == []


def test_slow_clients_are_cut_off(node: Node, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "CLIENT_SECONDS", 0.1)
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: ask(port) is not None)

    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")

        assert ended(client)


def test_clients_that_hold_on_do_not_keep_others_out(node: Node, port: int) -> None:
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: ask(port) is not None)

    held = [
        socket.create_connection(("127.0.0.1", port), timeout=5)
        for _ in range(listeners.CLIENTS + 10)
    ]
    answer = ask(port)
    first_is_cut = ended(held[0])
    for client in held:
        client.close()

    assert answer is not None and answer.status == 200
    assert first_is_cut


def test_a_request_without_end_is_cut_off(node: Node, port: int) -> None:
    node.see(web(port), slice_of(LOCAL))
    wait_for(lambda: ask(port) is not None)

    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"x" * (exchange.HEAD_MAX + 1))

        assert ended(client)


def ended(client: socket.socket) -> bool:
    """Whether the other side has ended it, within the socket's timeout."""
    try:
        return client.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_no_thread_runs_where_nobody_asks(node: Node) -> None:
    node.see(Service(meta=Meta(name="web")))

    assert "plait-lb-health" not in {thread.name for thread in threading.enumerate()}

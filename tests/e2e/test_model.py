"""A hundred changes of endpoints a second, against a model of who may answer."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.hold import Held
from support.churn import LAG, Churn, Server, State
from support.nodes import DRAIN, RESET, Node, quickstart, service
from support.sockets import ask, endpoint, servers, tcp

ADDRESS = "10.96.0.90"
PODS = {"web-1": "10.244.1.11", "web-2": "10.244.1.12", "web-3": "10.244.2.11"}
SERVERS = tuple(
    Server(name=f"{pod}:{port}", address=address, port=port)
    for pod, address in PODS.items()
    for port in (8080, 8081, 8082)
)
INTERVAL = 0.01


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-model") as lab:
        for each in SERVERS:
            pod = each.name.partition(":")[0]
            serve(lab, pod, "--name", each.name, "--listen", f"0.0.0.0:{each.port}")
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    (node.objects / "web.yaml").unlink()
    (node.objects / "churned.yaml").write_text(service("churned", ips=(ADDRESS,)))
    yield node.start()
    node.detach()


def test_who_answers_is_as_the_model_says_for_some_seconds(node: Node) -> None:
    compare(node, seconds=4)


@pytest.mark.deep
def test_who_answers_is_as_the_model_says_for_a_minute(node: Node) -> None:
    compare(node, seconds=60)


@pytest.mark.deep
def test_a_backend_that_is_ready_by_turns_keeps_its_connections(node: Node) -> None:
    """Also while its number among many changes fifty times a second, and losers are reset."""
    node.edit(DRAIN, RESET)
    churn = Churn(node=node, service="churned", servers=SERVERS, dice=random.Random(1))
    churn.begin()
    node.wait_for(lambda: answer(node) is not None)
    arguments = (endpoint(ADDRESS, 80), "--count", "100", "--interval", "0.02")
    held = start(node.lab, "client", Held, *arguments)
    time.sleep(2)

    end = time.monotonic() + 25
    while time.monotonic() < end:
        for state in (State.UNREADY, State.READY):
            churn.turn(SERVERS[0], state)
            time.sleep(0.012)
    found = held.stop()

    assert (found.reset, found.failed, found.corrupt) == (0, 0, 0)
    assert found.exchanged > 1000


def compare(node: Node, seconds: float) -> None:
    """New connections have servers that may take them, open ones keep theirs; in the end maps are
    those of a node that reads the objects for the first time.
    """
    seed = random.randrange(1 << 32)
    churn = Churn(node=node, service="churned", servers=SERVERS, dice=random.Random(seed))
    churn.begin()
    node.wait_for(lambda: answer(node) is not None)
    held = start(node.lab, "client", Held, endpoint(ADDRESS, 80), "--count", "30")
    time.sleep(LAG)  # and so they are open, and no answer is one of before

    began = time.monotonic()
    asked = 0
    while (now := time.monotonic()) < began + seconds:
        if churn.changes * INTERVAL <= now - began:
            churn.change()
        since = time.monotonic()
        server = answer(node)
        asked += 1
        assert churn.allowed(server, since), (seed, server, churn.history[-5:])

    assert asked > 20 * seconds
    assert churn.changes > 50 * seconds
    left = held.stop()
    assert (left.opened, left.reset, left.stalled, left.corrupt) == (30, 0, 0, 0), (seed, left)
    assert_settled(node, churn, seed)


def assert_settled(node: Node, churn: Churn, seed: int) -> None:
    client = node.lab.pods["client"]
    if not churn.takers():
        churn.begin()
    node.wait_for(lambda: servers(client, ADDRESS, 80, 60) == churn.takers())

    node.kill()
    node.start()

    assert "0 written, 0 removed" in node.log.splitlines()[-1], seed
    assert servers(client, ADDRESS, 80, 60) == churn.takers(), seed


def answer(node: Node) -> str | None:
    """Who answers a new connection; None when it is refused."""
    with tcp(node.lab.pods["client"], ADDRESS) as sock:
        try:
            sock.connect((ADDRESS, 80))
        except ConnectionRefusedError:
            return None
        return ask(sock)

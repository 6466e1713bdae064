"""In a machine: a lab whose node Plait runs, from the first apply to detach.

The tests go on from each other, in this order: a machine's time is dear.
"""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.stream import Streamed
from support.nodes import PATIENCE, Node, quickstart
from support.sockets import ask, udp

BACKENDS = {"web-1", "web-2", "web-3"}
PROGRAMS = {"netdev_egress", "netdev_ingress", "pod_egress", "pod_ingress"}
CALLS = {"sock_connect", "sock_sendmsg", "sock_recvmsg", "sock_getpeername"}
by_family = pytest.mark.parametrize(
    "service", ["10.96.0.10:80", "[fd00:10:96::10]:80"], ids=["ipv4", "ipv6"]
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("vm") as lab:
        for name in sorted(BACKENDS):
            serve(lab, name)
        yield lab


@pytest.fixture(scope="module")
def node(
    lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """The agent runs; its programs come from the cache of the packet tests."""
    assert request.config.cache is not None
    cache = request.config.cache.mkdir("plait")
    node = Node.make(lab, tmp_path_factory.mktemp("node"), cache)
    yield node.start()
    if node.paths.pins.exists():
        node.detach()


def test_the_way_of_attaching_is_the_best_that_there_is(node: Node) -> None:
    best = "clsact" if os.uname().release.startswith("6.1.") else "tcx"

    status = json.loads(node.plait("status", "--json").stdout)

    assert _programs() >= PROGRAMS
    found = {(place["hook"], place["mechanism"]) for place in status["places"]}
    assert found == {(hook, best) for hook in PROGRAMS} | {(hook, "cgroup") for hook in CALLS}


@by_family
def test_connections_reach_every_backend_of_a_service(node: Node, service: str) -> None:
    connected = start(node.lab, "client", Connected, service, "--seconds", "3", "--timeout", "10")

    done = connected.result()

    assert done.errors == {}
    assert done.backends.keys() == BACKENDS


@by_family
def test_datagrams_reach_every_backend_of_a_service(node: Node, service: str) -> None:
    address, _, port = service.rpartition(":")
    target = (address.strip("[]"), int(port))

    answers = {_ask_by_udp(node.lab, target) for _ in range(30)}

    assert answers == BACKENDS


def test_nothing_is_lost_when_the_config_is_edited(node: Node) -> None:
    services = ("10.96.0.10:80", "[fd00:10:96::10]:80")
    streams = [start(node.lab, "client", Streamed, each, "--rate", "50") for each in services]
    for each in services:
        start(node.lab, "client", Connected, each, "--seconds", "0").result()

    edited = node.edit("node:\n", "node:\n  capacity: {flows: 100000}\n")

    done = [stream.stop() for stream in streams]
    assert (edited.error, edited.generation) == (None, 2)
    assert [(each.lost, each.foreign) for each in done] == [(0, 0), (0, 0)]
    assert all(each.sent > 50 for each in done)


def test_detach_leaves_nothing(node: Node) -> None:
    node.detach()

    assert "clsact" not in node.lab.run("node-a", "tc", "qdisc").stdout
    assert json.loads(node.lab.run("node-a", "bpftool", "-j", "link").stdout) == []
    node.wait_for(lambda: PROGRAMS.isdisjoint(_programs()))
    assert not node.paths.pins.exists()


def _ask_by_udp(lab: Lab, target: tuple[str, int]) -> str:
    """The name of the server that answers a flow of its own."""
    with udp(lab.pods["client"], target[0]) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(target)
        return ask(sock)


def _programs() -> set[str]:
    """The names of all programs that the kernel holds."""
    shown = subprocess.run(("bpftool", "-j", "prog"), capture_output=True, text=True, check=True)
    return {program.get("name", "") for program in json.loads(shown.stdout)}

"""The flow table: full under a flood, emptied of what is idle."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.runtime import collector
from plait.core.runtime.reading import running
from support.nodes import Node, quickstart
from support.sockets import ask, tcp, udp

VIP = "10.96.0.10"
SERVICE = f"{VIP}:80"
NEAR = "10.244.1.11"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-flows") as lab:
        for name in ("web-1", "web-2", "web-3"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    text = node.config.read_text()
    node.config.write_text(text.replace("node:\n", "node:\n  capacity: {flows: 1024}\n"))
    yield node.start()
    node.detach()


def test_a_flood_fills_the_table_and_breaks_no_connection(node: Node) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(tcp(node.lab.pods["client"], VIP)) for _ in range(50)]
        for each in connections:
            each.connect((VIP, 80))
        before = [ask(each) for each in connections]

        _flood(node.lab, 4000)

        assert [ask(each) for each in connections] == before
        with tcp(node.lab.pods["client"], VIP) as late, pytest.raises(TimeoutError):
            late.settimeout(0.2)
            late.connect((VIP, 80))
    assert "PLAIT_FLOW_TABLE_FULL" in node.plait("status").stdout
    assert len(node.flows()) <= 1024


def test_new_connections_find_room_once_the_flood_is_over(node: Node) -> None:
    _flood(node.lab, 4000)
    assert len(node.flows()) > 900

    with running(node.paths) as generation:
        collected = collector.collect(generation.programs, generation.maps, 1, fullness=1.0)

    assert collected.live < 100
    held = start(node.lab, "client", Held, SERVICE, "--count", "50", "--seconds", "0.5").result()
    assert (held.opened, held.reset, held.stalled) == (50, 0, 0)


def test_idle_flows_are_forgotten_and_busy_ones_are_not(node: Node) -> None:
    _flood(node.lab, 20)
    held = start(node.lab, "client", Held, SERVICE, "--count", "5", "--interval", "0.05")
    node.wait_for(lambda: _established(node) == 2 * 5)
    start(node.lab, "client", Connected, SERVICE, "--seconds", "0.2").result()
    before = len(node.flows())
    assert before >= 2 * 20 + 2 * 5

    time.sleep(0.3)
    with running(node.paths) as generation:
        # A jiffy counts for a second and more: 30 s without an answer are over at once.
        collector.collect(generation.programs, generation.maps, 1)

    after = len(node.flows())
    assert _established(node) == 2 * 5
    kept = held.stop()
    assert (kept.reset, kept.stalled) == (0, 0)
    assert after < before


def _established(node: Node) -> int:
    return sum(flow.state == "ESTABLISHED" for flow in node.flows())


def _flood(lab: Lab, count: int) -> None:
    """One datagram each to so many ports of a pod that does not answer."""
    with udp(lab.pods["client"], NEAR) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for port in range(10_000, 10_000 + count):
            sock.sendto(b"flood", (NEAR, port))

"""A flood of connections that nobody means: those that are open go on, and memory has bounds."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.hold import Held
from plait.core.runtime.reading import running
from support.flood import BATCH, send_flood
from support.nodes import Node, service, services_lab
from support.sockets import ask, endpoint, tcp

FLOWS_MAX = 8192
SERVED, FLOODED = 30080, 30081
NODE_A = ("192.0.2.1", "2001:db8::1")
WEB = ("10.96.0.10", "fd00:10:96::10")
NEAR = ("10.244.1.11", "fd00:10:244:1::11")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with services_lab("e2e-flood") as lab:
        for name in ("web-1", "web-2", "web-3"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    text = node.config.read_text()
    capacity = f"node:\n  capacity: {{flows: {FLOWS_MAX}}}\n"
    node.config.write_text(text.replace("node:\n", capacity))
    flooded = service(
        "flooded",
        ips=("10.96.0.80", "fd00:10:96::80"),
        backends=NEAR,
        ports={"echo/TCP": (80, 8080), "deaf/TCP": (81, 9)},
        node_ports={"echo": SERVED, "deaf": FLOODED},
    )
    (node.objects / "flooded.yaml").write_text(flooded)
    yield node.start()
    node.detach()


def test_fifty_thousand_flows_break_no_connection(node: Node) -> None:
    flood(node, family=0, senders=50)


@pytest.mark.deep
@pytest.mark.parametrize("family", [0, 1], ids=["v4", "v6"])
def test_a_million_flows_break_no_connection(node: Node, family: int) -> None:
    flood(node, family, senders=1000)


def flood(node: Node, family: int, senders: int) -> None:
    """The table has room for all that it may hold from the beginning, so no flood adds a byte."""
    held = [
        start(node.lab, who, Held, target, "--count", "40", "--interval", "0.05", "--limit", "5")
        for who, target in (
            ("client", endpoint(WEB[family], 80)),
            ("outside", endpoint(NODE_A[family], SERVED)),
        )
    ]
    node.wait_for(lambda: established(node) >= 2 * 2 * 40)
    before, agent_before = map_bytes(node), resident_bytes(node)

    sent = send_flood(
        node.lab.hosts["outside"],
        mac=mac_of(node.lab, "node-a"),
        address=NODE_A[family],
        port=FLOODED,
        senders=senders,
    )

    assert sent == senders * BATCH > FLOWS_MAX
    assert "PLAIT_FLOW_TABLE_FULL" in node.plait("status").stdout
    for each in held:
        left = each.stop()
        assert (left.opened, left.reset, left.stalled, left.corrupt) == (40, 0, 0, 0), left
    assert map_bytes(node) == before
    assert resident_bytes(node) - agent_before < 8 << 20
    node.wait_for(lambda: can_connect(node, WEB[family]))


def established(node: Node) -> int:
    return sum(flow.state == "ESTABLISHED" for flow in node.flows())


def can_connect(node: Node, address: str) -> bool:
    with tcp(node.lab.pods["client"], address) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect((address, 80))
        except TimeoutError:
            return False
        return bool(ask(sock))


def map_bytes(node: Node) -> int:
    """What the kernel charges for all maps of the node."""
    with running(node.paths) as generation:
        return sum(each.memory_bytes for each in generation.maps.values())


def resident_bytes(node: Node) -> int:
    """The agent's own memory."""
    status = Path(f"/proc/{node.status().pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def mac_of(lab: Lab, host: str) -> str:
    """The hardware address of a host's uplink."""
    (link,) = json.loads(lab.run(host, "ip", "-json", "link", "show", "eth0").stdout)
    return str(link["address"])

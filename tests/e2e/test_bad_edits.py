"""Edits that are wrong, of every kind: told at their place, while all that runs goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from support.nodes import Node, quickstart, service
from support.traffic import unharmed_traffic


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-bad-edits") as lab:
        for name in ("web-1", "web-2", "web-3", "client"):
            serve(lab, name)
        yield lab


@pytest.fixture(scope="module")
def node(lab: Lab, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.make(lab, tmp_path_factory.mktemp("node"), cache)
    yield node.start()
    node.detach()


@pytest.fixture(scope="module")
def traffic(node: Node) -> Iterator[None]:
    """Flows through all bad edits of this file, and must be whole at the end."""
    with unharmed_traffic(node.lab):
        yield


INVALID_CONFIGS = {
    "yaml": ("features:\n", "features: [\n", "config.yaml:"),
    "unknown key": ("algorithm: maglev", "algoritm: maglev", "config.yaml:10:8: unknown key"),
    "type": ("algorithm: maglev", "algorithm: 7", "config.yaml:10:19: "),
    "value": ("algorithm: maglev", "algorithm: magic", "config.yaml:10:19: "),
    "overlap": (
        "10.244.1.0/24,",
        "10.244.1.0/24, 10.244.0.0/16,",
        "config.yaml:",
    ),
    "no prime": ("algorithm: maglev", "algorithm: maglev, tableSize: 1000", "config.yaml:10:3: "),
    "device": ("devices: auto ", "devices: [eth7] ", "config.yaml:5:13: node.devices"),
    "feature": ("  lb:", "  bl:", "config.yaml:10:3: no plugin"),
    "missing": ("  routing: {mode: native}\n", "", "routing"),
    "too small": (
        "algorithm: maglev",
        "algorithm: maglev, capacity: {services: 1, growth: 1}",
        "lb.capacity.services",
    ),
}


@pytest.mark.parametrize(
    ("before", "after", "place"), INVALID_CONFIGS.values(), ids=INVALID_CONFIGS.keys()
)
def test_an_invalid_config_changes_nothing_and_is_told_where_it_is_wrong(
    node: Node, traffic: None, before: str, after: str, place: str
) -> None:
    ids = node.kernel_ids()
    fine = node.config.read_text()

    status = node.edit(before, after)

    shown = node.plait("status")
    assert node.kernel_ids() == ids
    assert status.error is not None
    assert place in status.error
    assert place in node.log
    assert shown.returncode == 1
    assert place in shown.stderr
    assert node.configure(fine).error is None
    assert node.plait("status").returncode == 0


ENDPOINT = """\
apiVersion: plait/v1
kind: Endpoint
metadata: {{name: bad}}
spec: {{interface: {interface}, addresses: [{address}], mac: "02:00:00:00:00:77"}}
"""

INVALID_OBJECTS = {
    "yaml": ("kind: [\n", "bad.yaml:"),
    "type": ("apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: 7\n", "bad.yaml:4:7: "),
    "address": (
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {clusterIPs: [10.96.0.300]}\n",
        "bad.yaml:4:21: ",
    ),
    "twin": (service("web-twin", ips=("10.96.0.10",)), "10.96.0.10"),
    "family": (
        service("bad", ips=("10.96.0.60",), backends=("10.244.1.11",)).replace(
            "addressType: IPv4", "addressType: IPv6"
        ),
        "bad.yaml:",
    ),
    "loopback": (ENDPOINT.format(interface="lo", address="10.244.1.77"), "bad.yaml:4:19: "),
    "uplink": (
        ENDPOINT.format(interface="eth0", address="10.244.1.77"),
        "bad.yaml:1:1: Endpoint default/bad: eth0 is an uplink of this node",
    ),
    "own address": (
        ENDPOINT.format(interface="plabsent", address="192.0.2.1"),
        "bad.yaml:1:1: Endpoint default/bad: 192.0.2.1 is this node's own address, on eth0",
    ),
}


@pytest.mark.parametrize(("text", "place"), INVALID_OBJECTS.values(), ids=INVALID_OBJECTS.keys())
def test_an_invalid_object_harms_no_other_and_is_told_where_it_is_wrong(
    node: Node, traffic: None, text: str, place: str
) -> None:
    (node.objects / "bad.yaml").write_text(text)
    node.wait_for(lambda: bool(node.status().problems))
    good = service("good", ips=("10.96.0.70",), backends=("10.244.1.11",))
    node.write("good.yaml", good)

    shown = node.plait("status")
    assert shown.returncode == 1
    assert place in shown.stderr
    assert place in node.log
    assert (
        start(node.lab, "client", Connected, "10.96.0.70:80", "--seconds", "0.1").result().connects
    )

    for file in ("good.yaml", "bad.yaml"):
        (node.objects / file).unlink()
    node.wait_for(lambda: not node.status().problems)
    assert node.plait("status").returncode == 0

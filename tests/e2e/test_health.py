"""Health on a real node: backends that die without anybody's edit, and the health check port."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from support.nodes import CONFIGS, Node, quickstart

VIP = "10.96.0.10:80"
WEB = (CONFIGS / "objects" / "quickstart" / "web.yaml").read_text()
DEAD = "Service default/web: 10.244.1.12:8080 does not answer (2 checks): connection refused"
CHECKS = {"lb.plait/health-check": "tcp", "lb.plait/health-check-interval": "0.1",
          "lb.plait/health-check-fall": "2"}  # fmt: skip
LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}

ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], 32000, timeout=5)
connection.request("GET", "/healthz")
answer = connection.getresponse()
print(json.dumps([answer.status, dict(answer.getheaders()), answer.read().decode()]))
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-health") as lab:
        for name in ("web-1", "web-3"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    yield node
    node.detach()


def web(
    *,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, object] | None = None,
    ready: bool = True,
) -> str:
    """The quickstart's objects, with more in the Service, or with no endpoint that is ready."""
    documents = list(yaml.safe_load_all(WEB))
    documents[0]["metadata"]["annotations"] = dict(annotations or {})
    documents[0]["spec"] |= dict(spec or {})
    for document in documents[1:]:
        for endpoint in document["endpoints"]:
            endpoint["conditions"] = {"ready": ready}
    return yaml.safe_dump_all(documents)


def backends(node: Node) -> set[str]:
    """Who serves new connections."""
    short = start(node.lab, "client", Connected, VIP, "--seconds", "0.3").result()
    assert short.errors == {}
    return set(short.backends)


def test_a_backend_that_dies_gets_no_new_flows_until_it_is_back(node: Node) -> None:
    server = serve(node.lab, "web-2")
    (node.objects / "web.yaml").write_text(web(annotations=CHECKS))
    node.start()
    assert backends(node) == {"web-1", "web-2", "web-3"}
    held = start(node.lab, "client", Held, VIP, "--count", "30")

    server.stop()
    node.wait_for(lambda: any(DEAD in each for each in node.status().warnings))
    others = backends(node)
    again = serve(node.lab, "web-2")
    node.wait_for(lambda: not node.status().warnings)
    all_of_them = backends(node)
    again.stop()

    assert others == {"web-1", "web-3"}
    assert all_of_them == {"web-1", "web-2", "web-3"}
    assert set(held.stop().backends) >= {"web-1", "web-3"}
    assert node.status().problems == []


@dataclass(frozen=True)
class Answer:
    """What the health check port says."""

    status: int
    headers: Mapping[str, str]
    body: str


def ask(node: Node, address: str) -> Answer | None:
    """Ask from the other host; None when nobody answers."""
    done = node.lab.run("node-b", sys.executable, "-c", ASK, address, check=False)
    return Answer(*json.loads(done.stdout)) if done.returncode == 0 else None


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_the_health_check_port_tells_of_local_endpoints(node: Node, address: str) -> None:
    (node.objects / "web.yaml").write_text(web(spec=LOCAL))
    node.start()
    node.wait_for(lambda: ask(node, address) is not None)

    some = ask(node, address)
    node.write("web.yaml", web(spec=LOCAL, ready=False))
    node.wait_for(lambda: (none := ask(node, address)) is not None and none.status == 503)
    none = ask(node, address)
    node.write("web.yaml", web())
    node.wait_for(lambda: ask(node, address) is None)

    assert some and none
    assert (some.status, some.headers["X-Load-Balancing-Endpoint-Weight"]) == (200, "2")
    assert json.loads(none.body) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 0,
        "serviceProxyHealthy": True,
    }

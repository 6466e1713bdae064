"""What Kubernetes' conformance tests ask of Services, by real traffic: conformance/*.yaml.

Source: Kubernetes' test/e2e/network/service.go and its neighbours.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve
from support.conformance import FAMILIES, Conversations, Story, tell
from support.nodes import DRAIN, Node, services_lab

FILES = sorted((Path(__file__).parent / "conformance").glob("*.yaml"))
PORTS = ("0.0.0.0:8080", "[::]:8080", "0.0.0.0:8081", "[::]:8081")

WAYS = {"by flow": "host", "by socket": "all"}
"""How pods reach Services: their packets are translated, or their sockets turn to a backend."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with services_lab("e2e-conform") as lab:
        for name in ("client", "web-1", "web-2", "web-3"):
            listen = (option for each in PORTS for option in ("--listen", each))
            serve(lab, name, "--tell-client", *listen)
        yield lab


@pytest.fixture(scope="module", params=WAYS.keys())
def node(
    lab: Lab, cache: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Node]:
    """The node, on which pods reach Services in one of the ways."""
    node = Node.make(lab, tmp_path_factory.mktemp("node"), cache)
    (node.objects / "web.yaml").unlink()
    settings = f"{DRAIN}, sockets: {WAYS[request.param]}"
    node.config.write_text(node.config.read_text().replace(DRAIN, settings))
    yield node.start()
    node.detach()


@pytest.fixture
def conversations(node: Node) -> Iterator[Conversations]:
    """On a node that has no objects, before and after."""
    with Conversations(node) as conversations:
        yield conversations
    for file in node.objects.iterdir():
        node.unlink(file.name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_services_do_as_kubernetes_says(
    node: Node, conversations: Conversations, file: Path, family: str
) -> None:
    number = 1 + FILES.index(file)
    by_socket = "sockets: all" in node.config.read_text()
    story = Story.read(file, number, family, by_socket=by_socket)

    tell(story, node, conversations)

"""What Kubernetes' conformance tests ask of Services, by real traffic: conformance/*.yaml.

Source: Kubernetes' test/e2e/network/service.go and its neighbours.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve
from support.conformance import FAMILIES, Conversations, Story, tell
from support.nodes import Node, services_lab

FILES = sorted((Path(__file__).parent / "conformance").glob("*.yaml"))
PORTS = ("0.0.0.0:8080", "[::]:8080", "0.0.0.0:8081", "[::]:8081")

BY_FLOW = "by flow"
"""The packets of a flow are translated on their way."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with services_lab("e2e-conform") as lab:
        for name in ("client", "web-1", "web-2", "web-3"):
            listen = (option for each in PORTS for option in ("--listen", each))
            serve(lab, name, "--tell-client", *listen)
        yield lab


@pytest.fixture(scope="module", params=[BY_FLOW])
def node(
    lab: Lab, cache: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Node]:
    """The node, on which Services are reached in one way (`param`)."""
    node = Node.make(lab, tmp_path_factory.mktemp("node"), cache)
    (node.objects / "web.yaml").unlink()
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
    story = Story.read(file, 1 + FILES.index(file), family)

    tell(story, node, conversations)

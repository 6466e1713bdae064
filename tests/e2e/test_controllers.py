"""Controllers in a real agent: a plugin's that keeps a file in step with the Services."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from support.nodes import Node, quickstart, service

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-controllers") as lab:
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    """Its config has the plugin `hosts`, whose file is `hosts`."""
    node = Node.make(lab, tmp_path, cache)
    node.plugins = PLUGINS
    node.config.write_text(f"{node.config.read_text()}  hosts: {{file: {tmp_path}/hosts}}\n")
    yield node
    node.detach()


def hosts(node: Node, name: str = "hosts") -> str:
    file = node.folder / name
    return file.read_text() if file.exists() else ""


WEB = "10.96.0.10 web\nfd00:10:96::10 web\n"


def test_a_controller_follows_objects(node: Node) -> None:
    node.start()
    assert hosts(node) == WEB

    node.write("shop.yaml", service("shop", ips=("10.96.0.11",)))

    node.wait_for(lambda: "10.96.0.11 shop\n" in hosts(node))


def test_what_it_warns_of_is_in_the_status(node: Node) -> None:
    (node.objects / "none.yaml").write_text(service("none", ips=()))

    node.start()

    node.wait_for(lambda: "Service default/none has no address" in "".join(node.status().warnings))


def test_it_goes_on_while_its_section_stays_and_is_replaced_with_it(node: Node) -> None:
    node.start()
    file, link = node.folder / "hosts", node.folder / "link"
    link.hardlink_to(file)  # a file that is removed and made anew is another one

    node.edit("algorithm: maglev", "algorithm: random")
    kept = file.samefile(link)
    node.edit(f"{node.folder}/hosts", f"{node.folder}/others")

    assert kept
    assert (hosts(node), hosts(node, "others")) == ("", WEB)


def test_it_ends_with_the_feature_and_with_the_agent(node: Node) -> None:
    node.start()
    text = node.config.read_text()

    node.configure("\n".join(line for line in text.splitlines() if "hosts:" not in line))
    without = hosts(node)
    node.configure(text)
    again = hosts(node)
    node.stop()

    assert (without, again, hosts(node)) == ("", WEB, "")


def test_one_that_raises_is_named_and_the_agent_goes_on(node: Node) -> None:
    text = node.config.read_text()
    node.config.write_text(text.replace(f"{node.folder}/hosts", f"{node.folder}/none/hosts"))
    node.start()

    [problem] = node.status().problems
    node.configure(text)

    assert "controller hosts file failed to follow objects: FileNotFoundError" in problem
    assert node.status().problems == []
    assert hosts(node) == WEB


def test_without_an_agent_there_is_none(node: Node) -> None:
    node.apply()

    assert hosts(node) == ""

"""A plugin that fails at any step: the old programs run on, and the message says who and where."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from plait.core.endpoints import namespaces
from plait.core.errors import SystemProblem
from plait.core.kernel import links
from plait.core.kernel.links import Attachment, OnDevice, TargetGone
from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.stream import Streamed
from plait.core.plugins import load_plugins
from plait.core.runtime.node import Node as RunningNode
from support.nodes import Node, quickstart
from support.plugin_example import Copy

SERVICE = "10.96.0.10:80"
PITFALLS = """

def _proofs(destinations):
    from plait.core.api import PacketTest, Verdict

    if destinations == 13:
        raise RuntimeError("thirteen is unlucky")
    verdict = Verdict.DROP if destinations == 14 else Verdict.PASS
    return (PacketTest(name="limit", hook=Hook.POD_EGRESS, packet=bytes(60), verdict=verdict),)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-failures") as lab:
        for name in ("web-1", "web-2", "web-3"):
            serve(lab, name)
        yield lab


@pytest.fixture
def plugin(tmp_path: Path) -> Copy:
    """A plugin that does not like 13 destinations, and fails its packet test for 14."""
    copy = Copy.make(tmp_path / "plugins", name="limit")
    start_of_value = "return Contribution("
    proofs = f"{start_of_value}\n        tests=_proofs(limit.destinations),"
    copy.edit(copy.module, start_of_value, proofs)
    copy.module.write_text(copy.module.read_text() + PITFALLS)
    return copy


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path, plugin: Copy) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    node.plugins = plugin.folder.parent
    yield node
    node.detach()


@contextmanager
def unharmed_stream(node: Node) -> Iterator[None]:
    """A stream to a service, while nothing of what runs is replaced."""
    before = node.kernel_ids()
    stream = start(node.lab, "client", Streamed, SERVICE, "--rate", "500")
    time.sleep(0.3)

    yield

    time.sleep(0.2)
    streamed = stream.stop()
    assert streamed.sent > 100
    assert (streamed.lost, streamed.foreign) == (0, 0)
    assert node.kernel_ids() == before


def limit(destinations: int) -> str:
    return f"features:\n  limit: {{destinations: {destinations}}}\n"


def test_a_plugin_from_outside_joins_and_leaves_a_running_datapath(node: Node) -> None:
    node.start()
    stream = start(node.lab, "client", Streamed, SERVICE, "--rate", "500")
    time.sleep(0.3)

    joined = node.edit("features:\n", limit(100))
    node.write(
        "limit.yaml",
        "apiVersion: plait.example/v1\nkind: Limit\nmetadata: {name: few}\n"
        "spec: {address: 10.244.1.11, port: 8080, packets: 1}\n",
    )
    limited = start(
        node.lab, "client", Connected, "10.244.1.11:8080", "--seconds", "0.3", "--timeout", "0.2"
    ).result()
    (node.objects / "limit.yaml").unlink()
    left = node.edit(limit(100), "features:\n")
    free = start(node.lab, "client", Connected, "10.244.1.11:8080", "--seconds", "0.2").result()

    streamed = stream.stop()
    assert (joined.error, left.error) == (None, None)
    assert limited.connects == 0
    assert (free.errors, free.connects > 0) == ({}, True)
    assert (streamed.lost, len(streamed.servers)) == (0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An edit of the plugin's header, and what is said of it; `at_edit`: at that very line."""

    before: str
    after: str
    what: str
    at_edit: bool = True


MISTAKES = {
    "does not compile": Mistake(
        before="\tpart->limited = found;",
        after="\tpart->limited = nothing;",
        what="does not compile",
    ),
    "is refused by the verifier": Mistake(
        before="\tpart->limit = found ? found->packets : 0;",
        after="\tpart->limit = found->packets;",
        what="the kernel's verifier refused",
    ),
    "is too complex": Mistake(
        before="\tpart->limited = found;",
        after="\tpart->limited = found;\n"
        "\tfor (volatile int i = 0; i < 100000000; i++)\n\t\tpart->sent += i;",
        what="the kernel's verifier refused",
        at_edit=False,
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_c_that_is_wrong_is_named_and_changes_nothing(
    node: Node, plugin: Copy, mistake: Mistake
) -> None:
    line = plugin.edit(plugin.header, mistake.before, mistake.after)
    node.start()

    with unharmed_stream(node):
        status = node.edit("features:\n", limit(100))

    assert status.error is not None
    assert mistake.what in status.error
    assert "limit" in status.error
    assert not mistake.at_edit or f"{plugin.header}:{line}:" in status.error
    assert status.error.splitlines()[0] in node.log
    assert node.plait("status").returncode == 1

    plugin.edit(plugin.header, mistake.after, mistake.before)
    assert node.edit(limit(100), limit(99)).error is None


@pytest.mark.parametrize(
    ("destinations", "what"),
    [
        (13, "thirteen is unlucky"),
        (14, "packet test 'limit' failed"),
    ],
    ids=["raises", "fails its packet test"],
)
def test_a_plugin_that_fails_is_named_and_changes_nothing(
    node: Node, destinations: int, what: str
) -> None:
    node.start()

    with unharmed_stream(node):
        status = node.edit("features:\n", limit(destinations))

    assert status.error is not None
    assert what in status.error
    assert "limit" in status.error
    assert node.edit(limit(destinations), limit(100)).error is None


def test_a_plugin_that_cannot_be_imported_keeps_the_agent_from_starting_and_nothing_else(
    node: Node, plugin: Copy
) -> None:
    node.start()
    node.stop()
    text = plugin.module.read_text()
    plugin.module.write_text(text + "\nraise RuntimeError('no such day')\n")

    with unharmed_stream(node):
        agent = node.launch()
        status = agent.wait(20)

    assert status == 1
    assert "no such day" in node.log
    assert str(plugin.module) in node.log
    plugin.module.write_text(text)
    node.start()


def test_a_swap_that_fails_half_way_is_taken_back(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.apply()
    text = node.config.read_text()
    real, calls = links.update, 0

    def failing(attachment: Attachment, program: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(12, "no memory")
        real(attachment, program)

    with unharmed_stream(node), _in_process(node) as running:
        programs = _attached(running)
        node.config.write_text(text.replace("node:\n", "node:\n  capacity: {flows: 100000}\n"))
        monkeypatch.setattr(links, "update", failing)
        with pytest.raises(SystemProblem, match="cannot be attached"):
            running.apply(node.config)
        monkeypatch.undo()

        assert calls > 3, "those before it were put back"
        assert _attached(running) == programs
        assert running.apply(node.config).swapped is not None
        node.config.write_text(text)
        running.rollback()


def test_a_device_that_vanishes_in_the_middle_of_a_swap_is_no_failure(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.apply()
    text = node.config.read_text()
    real = links.update

    def vanishing(attachment: Attachment, program: int) -> None:
        if isinstance(attachment, OnDevice) and attachment.direction is links.Direction.EGRESS:
            raise TargetGone(attachment.device)
        real(attachment, program)

    with _in_process(node) as running:
        node.config.write_text(text.replace("maglev", "maglev, removed: reset"))
        monkeypatch.setattr(links, "update", vanishing)
        applied = running.apply(node.config)

    assert applied.swapped is not None


@contextmanager
def _in_process(node: Node) -> Iterator[RunningNode]:
    """The node, run by the test itself."""
    with namespaces.entered(node.lab.hosts["node-a"].netns):
        running = RunningNode(node.paths, load_plugins(node.folder / "plugins"))
        yield running
        running.datapath.close()


def _attached(running: RunningNode) -> list[int | None]:
    return [links.program_id(each) for each in running.datapath.attached.values()]

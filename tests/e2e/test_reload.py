"""Edits of config and objects while traffic flows: nothing lost, nothing reset, ever."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed
from support.nodes import CONFIGS, DRAIN, RESET, Node, quickstart, rewrite, service
from support.traffic import V4, unharmed_traffic

WEB = (CONFIGS / "objects" / "quickstart" / "web.yaml").read_text()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-reload") as lab:
        for name in ("web-1", "web-2", "web-3", "client"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    yield node.start()
    node.detach()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DRAIN, RESET),
        (DRAIN, "algorithm: maglev, capacity: {services: 20, backends: 50}"),
        ("node:\n", "node:\n  capacity: {flows: 100000}\n"),
    ],
    ids=["constant", "capacity", "flow-table"],
)
def test_a_config_is_edited_there_and_back(node: Node, before: str, after: str) -> None:
    with unharmed_traffic(node.lab):
        edited = node.edit(before, after)
        back = node.edit(after, before)

    assert (edited.error, back.error) == (None, None)
    assert (edited.generation, back.generation) == (2, 3)


@pytest.mark.parametrize("after", ["algorithm: random", "algorithm: maglev, tableSize: 251"])
def test_what_only_maps_know_is_edited_and_no_program_swapped(node: Node, after: str) -> None:
    before = node.kernel_ids()

    with unharmed_traffic(node.lab):
        edited = node.edit(DRAIN, after)
        back = node.edit(after, DRAIN)

    assert (edited.error, back.error) == (None, None)
    assert node.kernel_ids() == before


def test_the_way_of_attaching_is_edited_there_and_back(node: Node) -> None:
    before, after = "node:\n", "node:\n  attach: clsact\n"

    # Linux itself loses what a device is sending while a clsact qdisc is made or removed.
    with unharmed_traffic(node.lab, losses=8):
        edited = node.edit(before, after)
        places = json.loads(node.plait("status", "--json").stdout)["places"]
        back = node.edit(after, before)

    assert (edited.error, back.error) == (None, None)
    assert {place["mechanism"] for place in places} == {"clsact", "cgroup"}
    assert "clsact" not in node.lab.run("node-a", "tc", "qdisc").stdout


def test_a_feature_is_turned_off_and_on_again(node: Node) -> None:
    text = node.config.read_text()
    off = "\n".join(line for line in text.splitlines() if "lb:" not in line)

    pods = start(node.lab, "client", Streamed, "10.244.1.11:8080", "--rate", "500")
    without = node.configure(off)
    refused = start(node.lab, "client", Connected, V4, "--seconds", "0.5", "--timeout", "0.2")
    assert refused.result().connects == 0
    again = node.configure(text)

    assert pods.stop().lost == 0
    assert (without.error, again.error) == (None, None)
    assert start(node.lab, "client", Connected, V4, "--seconds", "0.2").result().errors == {}


def test_backends_are_added_and_established_connections_keep_theirs(node: Node) -> None:
    two = service(
        "web", ips=("10.96.0.10", "fd00:10:96::10"), backends=("10.244.1.11", "fd00:10:244:1::11")
    )
    node.write("web.yaml", two)

    with unharmed_traffic(node.lab):
        node.write("web.yaml", WEB)

    short = start(node.lab, "client", Connected, V4, "--seconds", "0.3").result()
    assert short.backends.keys() == {"web-1", "web-2", "web-3"}


def test_an_edit_of_objects_compiles_and_swaps_nothing(node: Node) -> None:
    before = node.kernel_ids()

    with unharmed_traffic(node.lab):
        node.write("more.yaml", service("more", ips=("10.96.0.50",), backends=("10.244.1.11",)))

    assert node.kernel_ids() == before
    assert (
        start(node.lab, "client", Connected, "10.96.0.50:80", "--seconds", "0.1").result().connects
    )


@pytest.mark.parametrize("removed", [DRAIN, RESET], ids=["drain", "reset"])
def test_a_removed_backend_keeps_its_connections_or_gives_them_up(node: Node, removed: str) -> None:
    node.configure(node.config.read_text().replace(DRAIN, f"{removed} "))
    held = start(node.lab, "client", Held, V4, "--count", "100", "--interval", "0.05")
    stream = start(node.lab, "client", Streamed, V4, "--rate", "500")
    start(node.lab, "client", Connected, V4, "--seconds", "0.3").result()

    node.write("web.yaml", WEB.replace("- addresses: [10.244.1.11]\n", ""))
    start(node.lab, "client", Connected, V4, "--seconds", "0.3").result()

    left, streamed = held.stop(), stream.stop()
    assert left.stalled == 0
    assert left.backends["web-1"] > 0
    assert left.reset == (left.backends["web-1"] if removed == RESET else 0)
    assert streamed.lost <= 1


def test_a_deleted_service_takes_no_new_connections(node: Node) -> None:
    assert start(node.lab, "client", Connected, V4, "--seconds", "0.1").result().connects

    (node.objects / "web.yaml").unlink()
    node.wait_for(lambda: node.status().objects < 4)

    gone = start(node.lab, "client", Connected, V4, "--seconds", "0.5", "--timeout", "0.2")
    assert gone.result().connects == 0


@pytest.mark.parametrize("way", ["in place", "rename", "symlink"])
def test_objects_are_saved_in_any_way_that_editors_have(
    lab: Lab, cache: Path, tmp_path: Path, way: str
) -> None:
    node = Node.make(lab, tmp_path, cache)
    if way == "symlink":
        _as_config_map(node.objects, {"web.yaml": WEB})
    node.start()
    more = WEB + "---\n" + service("more", ips=("10.96.0.50",), backends=("10.244.1.11",))

    with unharmed_traffic(lab):
        match way:
            case "in place":
                (node.objects / "web.yaml").write_text(more)
            case "rename":
                rewrite(node.objects / "web.yaml", more)
            case _:
                _as_config_map(node.objects, {"web.yaml": more})
        node.wait_for(lambda: node.status().objects == 9)

    assert start(lab, "client", Connected, "10.96.0.50:80", "--seconds", "0.1").result().connects
    node.detach()


@pytest.mark.parametrize("way", ["in place", "rename", "symlink"])
def test_the_config_is_saved_in_any_way_that_editors_have(
    lab: Lab, cache: Path, tmp_path: Path, way: str
) -> None:
    node = Node.make(lab, tmp_path, cache)
    text = node.config.read_text()
    if way == "symlink":
        node.config.unlink()
        _as_config_map(node.folder, {"config.yaml": text})
    node.start()
    edited = text.replace(DRAIN, RESET)

    match way:
        case "in place":
            node.config.write_text(edited)
        case "rename":
            rewrite(node.config, edited)
        case _:
            _as_config_map(node.folder, {"config.yaml": edited})

    node.wait_for(lambda: node.status().generation == 2)
    node.detach()


def test_status_is_one_json_object_for_programs(node: Node) -> None:
    status = json.loads(node.plait("status", "--json").stdout)

    assert status["generation"] == 1
    assert status["problems"] == []
    assert {place["device"] for place in status["places"]} > {"eth0"}


@pytest.mark.deep
def test_fifty_reloads_of_each_kind_lose_nothing(node: Node) -> None:
    text = node.config.read_text()

    with unharmed_traffic(node.lab, connections=200):
        for number in range(25):
            for after in (RESET, DRAIN):
                node.configure(text.replace(DRAIN, after))
            for size in (200_000, 262_144):
                node.configure(text.replace("node:\n", f"node:\n  capacity: {{flows: {size}}}\n"))
            for count in (1, 2):
                backends = tuple(f"10.244.1.{10 + each}" for each in range(1, count + 1))
                node.write(
                    "more.yaml", service(f"n{number}", ips=("10.96.0.50",), backends=backends)
                )

    assert node.status().error is None


@pytest.mark.deep
def test_connections_that_open_while_flow_tables_move_are_served(node: Node) -> None:
    text = node.config.read_text()
    clients = [start(node.lab, "client", Connected, V4, "--timeout", "5") for _ in range(2)]

    for _ in range(20):
        for size in (200_000, 262_144):
            node.configure(text.replace("node:\n", f"node:\n  capacity: {{flows: {size}}}\n"))

    assert [each.stop().errors for each in clients] == [{}, {}]


def _as_config_map(folder: Path, files: dict[str, str]) -> None:
    """As Kubernetes writes a ConfigMap: files are links into a folder that is swapped whole."""
    number = len(list(folder.glob("..2*")))
    fresh = folder / f"..2026_{number}"
    fresh.mkdir()
    for name, text in files.items():
        (fresh / name).write_text(text)
        link = folder / name
        if not link.is_symlink():
            link.unlink(missing_ok=True)
            link.symlink_to(Path("..data") / name)
    draft = folder / "..data_tmp"
    draft.symlink_to(fresh.name)
    draft.replace(folder / "..data")

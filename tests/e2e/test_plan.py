"""`plait plan` says what `plait apply` then does: to programs, maps, devices, settings."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plait.core.lab.lab import Lab
from support.nodes import Node, quickstart
from support.plugin_example import Copy

MAGLEV, NODE, FEATURES = "{algorithm: maglev}", "node:\n", "features:\n"
GUARD = Path(__file__).parents[1] / "plugins"
IDS = {"carried": "unchanged", **dict.fromkeys(("migrated", "refilled", "reset"), "swapped")}
"""How a map's change shows in its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the kernel has: ids of programs and maps, the program and mechanism at each place."""

    programs: Mapping[str, int]
    maps: Mapping[str, int]
    places: Mapping[tuple[str, str], tuple[str, int]]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-plan") as lab:
        lab.run("node-a", "ip", "link", "add", "extra0", "type", "veth", "peer", "extra1")
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    node.plugins = tmp_path / "plugins.d"
    node.plugins.mkdir(mode=0o755)
    (node.plugins / "guard").symlink_to(GUARD / "guard")
    Copy.make(node.plugins)
    replaced(FEATURES, f"{FEATURES}  quota: {{enforce: true}}\n")(node)
    yield node
    node.detach()


def planned(node: Node) -> Any:
    done = node.plait("plan", "--json", "-c", str(node.config))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def seen(node: Node) -> Seen:
    programs, maps = node.kernel_ids()
    status = json.loads(node.plait("status", "--json").stdout)
    return Seen(
        programs=programs,
        maps=maps,
        places={
            (each["device"], each["program"]): (each["mechanism"], programs[each["program"]])
            for each in status["places"]
        },
    )


def happened(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> dict[Any, str]:
    """What became of each thing, by what tells it from another one of its name."""
    return {name: _change(before.get(name), after.get(name)) for name in {**before, **after}}


def _change(before: object, after: object) -> str:
    if None in (before, after):
        return "new" if before is None else "gone"
    return "unchanged" if before == after else "swapped"


def replaced(before: str, after: str) -> Callable[[Node], None]:
    def edit(node: Node) -> None:
        text = node.config.read_text()
        assert text.count(before) == 1
        node.config.write_text(text.replace(before, after))

    return edit


EDITS = {
    "nothing": (replaced(NODE, NODE), None),
    "the node's name": (replaced("name: node-a", "name: node-b"), "live"),
    "a device": (replaced("devices: auto", "devices: [eth0, extra0]"), "live"),
    "the objects' folder": (replaced("objects: [", "objects: [more, "), "map write"),
    "another algorithm": (replaced("algorithm: maglev", "algorithm: random"), "map write"),
    "a constant": (replaced("enforce: true", "enforce: false"), "program swap"),
    "the way of attaching": (replaced(NODE, f"{NODE}  attach: clsact\n"), "program swap"),
    "a plugin": (replaced(FEATURES, f"{FEATURES}  guard: {{}}\n"), "program swap"),
    "a map of some programs": (
        replaced(MAGLEV, "{algorithm: maglev, capacity: {services: 20, backends: 50}}"),
        "map migration",
    ),
    "another table": (replaced(MAGLEV, "{algorithm: maglev, tableSize: 251}"), "map write"),
    "another constant": (replaced(MAGLEV, "{algorithm: maglev, removed: reset}"), "program swap"),
    "the flow table": (
        replaced(NODE, f"{NODE}  capacity: {{flows: 100000}}\n"),
        "map migration",
    ),
    "a feature less": (replaced(f"  lb: {MAGLEV}\n", ""), "map migration"),
    "a family less": (replaced(", fd00:10:244:1::/64]", "]"), "program swap"),
}


DEEP = (
    "nothing",
    "the node's name",
    "the objects' folder",
    "another algorithm",
    "another table",
    "another constant",
    "a feature less",
    "a family less",
    "a device",
    "a map of some programs",
    "the way of attaching",
)


@pytest.mark.parametrize(
    ("edit", "effect"),
    [
        pytest.param(*case, id=name, marks=(pytest.mark.deep,) if name in DEEP else ())
        for name, case in EDITS.items()
    ],
)
def test_what_is_planned_is_what_happens_there_and_back(
    node: Node, edit: Callable[[Node], None], effect: str | None
) -> None:
    text = node.config.read_text()
    node.apply()

    for change in (edit, lambda node: node.config.write_text(text)):
        before = seen(node)
        change(node)
        plan = planned(node)
        untouched = seen(node)
        node.apply()
        after = seen(node)

        assert untouched == before
        assert plan["effect"] == effect
        assert {each["effect"] for each in plan["keys"]} == ({effect} if effect else set())
        assert _said(plan["programs"]) == happened(before.programs, after.programs)
        assert {name: IDS.get(said, said) for name, said in _said(plan["maps"]).items()} == (
            happened(before.maps, after.maps)
        )
        places = {(each["device"], each["program"]): each["change"] for each in plan["places"]}
        assert places == happened(before.places, after.places)


def test_before_anything_runs_all_is_new_and_settings_are_told_of(node: Node) -> None:
    plan = planned(node)
    node.apply()

    assert (plan["running"], plan["effect"]) == (None, None)
    assert set(_said(plan["programs"]).values()) == {"new"}
    assert {each["change"] for each in plan["places"]} == {"new"}
    assert {(each["device"], each["program"]) for each in plan["places"]} == set(seen(node).places)
    for each in plan["sysctls"]:
        value = node.lab.run("node-a", "cat", f"/proc/sys/{each['path']}").stdout.strip()
        assert each["before"] != each["after"] == value


def test_after_a_reboot_nothing_runs_whatever_the_state_says(node: Node) -> None:
    node.apply()
    state = node.paths.run / "state.json"
    text = state.read_text()
    node.detach()
    node.paths.run.mkdir(exist_ok=True)
    state.write_text(text)

    plan = planned(node)

    assert plan["running"] is None
    assert set(_said(plan["programs"]).values()) == {"new"}


def test_with_load_programs_say_what_they_cost_and_touch_nothing(node: Node) -> None:
    node.apply()
    before = seen(node)

    done = node.plait("plan", "--load", "--json", "-c", str(node.config))

    plan = json.loads(done.stdout)
    assert plan["verifier_seconds"] > 0
    assert all(each["walked"] >= each["instructions"] / 8 > 0 for each in plan["programs"])
    assert seen(node) == before


def test_a_device_that_there_is_not_is_refused_as_apply_refuses_it(node: Node) -> None:
    replaced("devices: auto", "devices: [nowhere0]")(node)

    refusals = [node.plait(verb, "-c", str(node.config)) for verb in ("plan", "apply")]

    assert refusals[0].returncode == refusals[1].returncode == 1
    assert refusals[0].stderr == refusals[1].stderr
    assert "there is no interface nowhere0" in refusals[0].stderr


def test_a_cache_that_cannot_be_written_is_told_of(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    node.environment = {"PLAIT_CACHE": str(tmp_path / "file")}

    told = node.plait("plan", "-c", str(node.config))
    plan = planned(node)
    node.environment = {}

    assert told.returncode == 0
    assert told.stderr.startswith("warning: the compile cache cannot be written: ")
    assert plan["warnings"][0].startswith("the compile cache cannot be written: ")


def _said(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {each["name"]: each["change"] for each in rows}

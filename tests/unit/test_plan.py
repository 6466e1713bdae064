"""The planner: one plan in whatever order plugins come, and every problem at once."""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.core.api import (
    Config,
    Contribution,
    FlowPart,
    Fragment,
    Hook,
    KernelFeature,
    MapSpec,
    NodeConfig,
    PacketTest,
    PlaitError,
    Stage,
    Sysctl,
    Verdict,
)
from plait.core.plan.build import make_plan
from plait.core.plan.digest import plan_hash
from plait.core.plan.model import Plan, PluginUse

V = TypeVar("V")

KERNEL = {"tcx": True, "redirect_peer": False}


class Node:
    """A config and the plugins that contribute to it, each with headers of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contributions: list[tuple[PluginUse, Contribution]] = []
        self.core = Contribution(headers=self._headers("core", "plait.h", ""))

    def add(self, plugin: str, *, text: str | None = None, **gives: Any) -> Contribution:
        """Let a plugin contribute; its header PLUGIN.h defines what its fragments name."""
        functions = [each.function for each in gives.get("fragments", ())]
        code = "\n".join(
            (
                *(f"static int {name}(void) {{}}" for name in functions),
                *(f'PLAIT_CONST(__u32, {name}, "")' for name in gives.get("constants", ())),
            )
        )
        headers = self._headers(plugin, f"{plugin}.h", code if text is None else text)
        contribution = replace(Contribution(headers=headers), **gives)
        use = PluginUse(name=plugin, version="1", features=(plugin,))
        self.contributions.append((use, contribution))
        return contribution

    def plan(self, kernel: Mapping[str, bool] = KERNEL) -> Plan:
        sections = {use.name: object() for use, _ in self.contributions}
        config = Config(node=NodeConfig(name="a"), sections=dict.fromkeys(sections))
        return make_plan(config, self.contributions, kernel, self.core)

    def problems(self) -> list[str]:
        with pytest.raises(PlaitError) as refused:
            self.plan()
        return str(refused.value).replace(f"{self.folder}/", "").splitlines()

    def _headers(self, plugin: str, name: str, text: str) -> Path:
        headers = self.folder / plugin
        headers.mkdir()
        (headers / name).write_text(text)
        return headers


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def fragment(
    function: str,
    *,
    hook: Hook = Hook.POD_EGRESS,
    stage: Stage = Stage.SERVICE,
    before: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
) -> Fragment:
    header = f"{function.partition('_')[0]}.h"
    return Fragment(
        hook=hook, stage=stage, function=function, header=header, before=before, after=after
    )


def functions(plan: Plan) -> dict[str, list[str]]:
    return {each.hook: [step.fragment.function for step in each.steps] for each in plan.hooks}


def test_fragments_stand_by_stage_then_plugin_then_declaration(node: Node) -> None:
    node.add("nat", fragments=(fragment("nat_b"), fragment("nat_a")))
    node.add("lb", fragments=(fragment("lb_late", stage=Stage.APPLY), fragment("lb_one")))

    plan = node.plan()

    assert functions(plan) == {"pod_egress": ["lb_one", "nat_b", "nat_a", "lb_late"]}


def test_before_and_after_come_first(node: Node) -> None:
    node.add("lb", fragments=(fragment("lb_one", after=("nat_one", "absent")),))
    node.add("nat", fragments=(fragment("nat_one"), fragment("nat_two", before=("nat_one",))))

    plan = node.plan()

    assert functions(plan) == {"pod_egress": ["nat_two", "nat_one", "lb_one"]}


def test_order_is_a_matter_of_one_hook_and_stage(node: Node) -> None:
    node.add("lb", fragments=(fragment("lb_one", after=("nat_one",)),))
    node.add("nat", fragments=(fragment("nat_one", stage=Stage.APPLY, before=("lb_one",)),))

    plan = node.plan()

    assert functions(plan) == {"pod_egress": ["lb_one", "nat_one"]}


def test_hooks_that_nobody_uses_are_not_planned(node: Node) -> None:
    node.add("lb", fragments=(fragment("lb_one", hook=Hook.NETDEV_INGRESS),))

    assert [each.hook for each in node.plan().hooks] == [Hook.NETDEV_INGRESS]


def test_no_plugin_is_named_as_the_framework_is(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.core = replace(node.core, headers=tmp_path / "library")
    (tmp_path / "core").rename(tmp_path / "library")
    node.add("core")

    assert node.problems() == [
        "a plugin is named 'core', as the framework's own part is; expected another name"
    ]


def test_a_plugins_fragments_are_given_its_flow_part(node: Node) -> None:
    part = FlowPart(name="lb_flow", header="lb.h")
    text = "struct lb_flow { int x; };\nstatic int lb_one(void) {}"
    node.add("lb", text=text, fragments=(fragment("lb_one"),), flow_part=part)
    node.add("nat", fragments=(fragment("nat_one"),))

    plan = node.plan()

    assert plan.parts == (part,)
    assert [step.part for step in plan.hooks[0].steps] == ["lb_flow", None]


def test_core_comes_first(node: Node) -> None:
    node.core = replace(
        node.core,
        maps=(MapSpec(name="flows", max_entries=8),),
        drops={"TOO_SHORT": "the packet is cut off"},
        constants={"debug": True},
    )
    node.add(
        "lb",
        maps=(MapSpec(name="lb_z", max_entries=1), MapSpec(name="lb_a", max_entries=2)),
        drops={"LB_NONE": "no backend"},
        constants={"lb_size": 7},
        sizes={"LB_TABLE": 3},
    )

    plan = node.plan()

    assert [(each.plugin, each.spec.name) for each in plan.maps] == [
        ("core", "flows"),
        ("lb", "lb_z"),
        ("lb", "lb_a"),
    ]
    assert [(each.plugin, each.id) for each in plan.drops] == [
        ("core", crc32(b"TOO_SHORT")),
        ("lb", crc32(b"LB_NONE")),
    ]
    assert plan.constants == (("debug", 1), ("lb_size", 7))
    assert plan.sizes == (("LB_TABLE", 3),)
    assert list(plan.headers.items()) == [
        ("core", node.folder / "core"),
        ("lb", node.folder / "lb"),
    ]
    assert [use.name for use in plan.plugins] == ["lb"]


@given(seed=st.randoms(use_true_random=False))
def test_the_plan_is_the_same_in_whatever_order_it_is_made(
    tmp_path_factory: pytest.TempPathFactory, seed: random.Random
) -> None:
    node = Node(tmp_path_factory.mktemp("node"))
    for plugin in ("a", "b", "c", "d"):
        node.add(
            plugin,
            fragments=tuple(
                fragment(f"{plugin}_{index}", hook=hook, after=("c_1",) if index == 0 else ())
                for index, hook in enumerate([Hook.POD_EGRESS, Hook.POD_EGRESS, Hook.POD_INGRESS])
            ),
            constants={f"{plugin}_x": 1, f"{plugin}_y": 2},
        )
    planned = node.plan()

    seed.shuffle(node.contributions)
    node.contributions = [
        (use, replace(gives, constants=shuffled(gives.constants, seed)))
        for use, gives in node.contributions
    ]
    again = node.plan(shuffled(KERNEL, seed))

    assert again == planned
    assert plan_hash(again) == plan_hash(planned)


def shuffled(mapping: Mapping[str, V], seed: random.Random) -> dict[str, V]:
    return dict(seed.sample(sorted(mapping.items()), len(mapping)))


def test_a_circle_names_the_functions_in_it(node: Node) -> None:
    node.add("lb", fragments=(fragment("lb_one", before=("nat_one",)),))
    node.add("nat", fragments=(fragment("nat_one", before=("lb_one",)), fragment("nat_two")))

    [problem] = node.problems()

    assert "fragments at pod_egress, service wait for each other: " in problem
    assert "lb_one (lb) before nat_one (nat) before lb_one (lb)" in problem


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (
            {"maps": (MapSpec(name="lb_x", max_entries=1),)},
            {"maps": (MapSpec(name="lb_x", max_entries=1),)},
            "'lb_x' is a map of plugin 'lb' and a map of plugin 'lb_x'",
        ),
        (
            {"constants": {"lb_x": 1}},
            {"fragments": (fragment("lb_x"),)},
            "'lb_x' is a constant of plugin 'lb' and a function of plugin 'lb_x'",
        ),
        (
            {"drops": {"LB_X": "no"}},
            {"drops": {"LB_X": "no"}},
            "'LB_X' is a drop reason of plugin 'lb' and a drop reason of plugin 'lb_x'",
        ),
        (
            {"sizes": {"LB_X": 1}},
            {"sizes": {"LB_X": 1}},
            "'LB_X' is a size of plugin 'lb' and a size of plugin 'lb_x'",
        ),
    ],
)
def test_two_owners_of_a_name_are_both_named(
    node: Node, one: dict[str, Any], other: dict[str, Any], what: str
) -> None:
    node.add("lb", **one)
    node.add("lb_x", **other)

    assert f"{what}; expected a name that is defined once" in node.problems()


def test_header_names_are_unique(node: Node) -> None:
    first = node.add("lb")
    second = node.add("lb_x")
    (first.headers / "lb_x.h").touch()
    (second.headers / "lb_x.h").touch()

    assert node.problems() == [
        "'lb_x.h' is a header of plugin 'lb' and a header of plugin 'lb_x';"
        " expected a name that is defined once"
    ]


def test_names_start_with_the_plugins_name(node: Node) -> None:
    contribution = node.add(
        "my-lb",
        maps=(MapSpec(name="rules", max_entries=1), MapSpec(name="my_lb_ok", max_entries=1)),
        drops={"MY_LBX": "no"},
    )
    (contribution.headers / "my-lb.h").rename(contribution.headers / "my_lb.h")

    assert node.problems() == [
        "map 'rules' of plugin 'my-lb' does not start with the plugin's name; expected 'my_lb_...'",
        "drop reason 'MY_LBX' of plugin 'my-lb' does not start with the plugin's name;"
        " expected 'MY_LB_...'",
    ]


def test_a_map_name_that_the_kernel_would_cut_is_refused(node: Node) -> None:
    node.add("lb", maps=(MapSpec(name="lb_fifteen_char", max_entries=1),))
    node.plan()
    node.add("nat", maps=(MapSpec(name="nat_sixteen_char", max_entries=1),))

    assert node.problems() == [
        "map 'nat_sixteen_char' of plugin 'nat' has 16 characters; expected at most 15"
    ]


@pytest.mark.parametrize("entries", [0, -1, 4e9, True, 2**32])
def test_a_map_that_cannot_be_made_is_refused(node: Node, entries: int) -> None:
    node.add("lb", maps=(MapSpec(name="lb_slots", max_entries=entries),))

    assert node.problems() == [
        f"map 'lb_slots' of plugin 'lb' has max_entries={entries};"
        " expected a whole number from 1 to 4294967295"
    ]


@pytest.mark.parametrize("bound", [7, 2**32])
def test_a_bound_that_no_map_can_grow_to_is_refused(node: Node, bound: int) -> None:
    spec = MapSpec(name="lb_slots", max_entries=8, grows_to=bound, reconciled=True)
    node.add("lb", maps=(spec,))

    assert node.problems() == [
        f"map 'lb_slots' of plugin 'lb' has grows_to={bound};"
        " expected a whole number from 8 to 4294967295"
    ]


def test_a_map_that_the_datapath_fills_does_not_grow(node: Node) -> None:
    node.add("lb", maps=(MapSpec(name="lb_slots", max_entries=8, grows_to=16),))

    assert node.problems() == [
        "map 'lb_slots' of plugin 'lb' may grow, and is not reconciled;"
        " expected reconciled=True, or no grows_to"
    ]


def test_a_constant_that_no_header_declares_is_refused_with_the_nearest(node: Node) -> None:
    declared = 'PLAIT_CONST(__u32, lb_limit, "at most");'
    node.add("lb", text=declared, constants={"lb_limit": 1, "lb_limti": 2})

    with pytest.raises(PlaitError) as refused:
        node.plan()

    assert "gives a value to 'lb_limti', a constant that none of its headers" in refused.value.what
    assert refused.value.hint == "did you mean 'lb_limit'?"


def test_drop_reasons_of_one_id_are_refused(node: Node) -> None:
    node.add("buckeroo", drops={"buckeroo": "one"})
    node.add("plumless", drops={"plumless": "two"})

    assert node.problems() == [
        "drop reasons 'buckeroo' of plugin 'buckeroo' and 'plumless' of plugin 'plumless' have one"
        " CRC-32; expected different ones: they are the ids"
    ]


def test_a_kernel_feature_that_lacks_is_named_with_who_wants_it(node: Node) -> None:
    lacking = (KernelFeature.REDIRECT_PEER, KernelFeature.FIB_LOOKUP)
    node.add("lb", requires=(KernelFeature.TCX, *lacking))

    assert node.problems() == [
        f"plugin 'lb' (wanted by features.lb) needs the kernel feature '{each}',"
        " and this kernel lacks it"
        for each in lacking
    ]


def test_hooks_of_sockets_need_links_of_cgroups(node: Node) -> None:
    node.add("lb", fragments=(fragment("lb_one", hook=Hook.SOCK_CONNECT),))

    assert node.problems() == [
        "plugin 'lb' (wanted by features.lb) needs the kernel feature 'cgroup_link', "
        "and this kernel lacks it"
    ]
    assert node.plan({"cgroup_link": True}).hooks


@pytest.mark.parametrize("stage", sorted(set(Stage) - {Stage.SERVICE, Stage.POLICY}))
def test_a_stage_that_sockets_do_not_have_is_refused(node: Node, stage: Stage) -> None:
    node.add("lb", fragments=(fragment("lb_one", hook=Hook.SOCK_RECVMSG, stage=stage),))

    assert (
        f"plugin 'lb' has 'lb_one' at sock_recvmsg, {stage}: sockets have no such stage; "
        "expected one of service, policy"
    ) in node.problems()


def test_a_packet_test_at_a_hook_of_sockets_is_refused(node: Node) -> None:
    test = PacketTest(name="a", hook=Hook.SOCK_CONNECT, packet=b"", verdict=Verdict.PASS)
    node.add("lb", tests=(test,))

    assert node.problems() == [
        "packet test 'a' of plugin 'lb' is for sock_connect, which no packet meets; "
        "expected a hook of packets"
    ]


def test_a_feature_that_is_not_configured_is_named(node: Node) -> None:
    node.add("lb", requires=("routing",))

    assert node.problems() == [
        "plugin 'lb' (wanted by features.lb) needs the feature 'routing', which is not configured"
    ]


def test_code_that_is_not_there_is_named(node: Node) -> None:
    elsewhere = replace(fragment("lb_three"), header="lb_no.h")
    node.add(
        "lb",
        text="static int lb_one(void) {}\nint lb_twofold;",
        fragments=(fragment("lb_one"), fragment("lb_two"), elsewhere),
        flow_part=FlowPart(name="lb_flow", header="lb.h"),
    )

    assert node.problems() == [
        "plugin 'lb' names 'lb_two', which is not defined in lb/lb.h",
        "plugin 'lb' names 'lb_three' in lb/lb_no.h: No such file or directory",
        "plugin 'lb' names 'lb_flow', which is not defined in lb/lb.h",
    ]


def test_a_function_stands_once_at_a_stage(node: Node) -> None:
    node.add("lb", fragments=(fragment("lb_one"), fragment("lb_one")))

    assert node.problems() == [
        "plugin 'lb' has 'lb_one' twice at pod_egress, service;"
        " expected each function once at a stage"
    ]


def test_one_kernel_setting_has_one_value(node: Node) -> None:
    node.add("lb", sysctls=(Sysctl(path="net/ipv4/ip_forward", value="1"),))
    node.add("nat", sysctls=(Sysctl(path="net/ipv4/ip_forward", value="1"),))
    assert len(node.plan().sysctls) == 1

    node.add("tap", sysctls=(Sysctl(path="net/ipv4/ip_forward", value="0"),))

    assert node.problems() == ["plugin 'lb' needs net/ipv4/ip_forward = 1 and plugin 'tap' needs 0"]


def test_every_problem_is_told_at_once(node: Node) -> None:
    node.add("lb", requires=("routing",), maps=(MapSpec(name="rules", max_entries=1),))
    node.add("nat", fragments=(fragment("nat_one", before=("nat_one",)),))

    assert len(node.problems()) == 3


Change = Callable[[Node], None]


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.add("new"),
        lambda node: (node.folder / "lb" / "lb.h").write_text("static int lb_one(void) { }"),
        lambda node: (node.folder / "lb" / "lb_more.h").touch(),
        lambda node: setattr(node, "core", replace(node.core, constants={"debug": 1})),
    ],
)
def test_the_hash_changes_with_the_content(node: Node, change: Change) -> None:
    node.add("lb", fragments=(fragment("lb_one"),))
    before = plan_hash(node.plan())

    change(node)

    assert plan_hash(node.plan()) != before


def test_the_hash_does_not_depend_on_where_headers_lie(tmp_path: Path) -> None:
    hashes = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        node = Node(tmp_path / name)
        node.add("lb", fragments=(fragment("lb_one"),))
        hashes.add(plan_hash(node.plan()))

    assert len(hashes) == 1


def test_the_hash_does_not_depend_on_a_functions_address(node: Node) -> None:
    contribution = node.add("lb")
    hashes = set()
    for migrate in (lambda key, value: None, lambda key, value: (key, value)):
        spec = MapSpec(name="lb_x", max_entries=1, migrate=migrate)
        use = node.contributions[0][0]
        node.contributions = [(use, replace(contribution, maps=(spec,)))]
        hashes.add(plan_hash(node.plan()))

    assert len(hashes) == 1


def test_the_hash_does_not_depend_on_where_a_function_lies_in_memory(node: Node) -> None:
    hashes = set()
    for migrate in (lambda key, value: None, lambda key, value: (key, value)):
        node.core = replace(
            node.core, maps=(MapSpec(name="flows", max_entries=1, migrate=migrate),)
        )
        hashes.add(plan_hash(node.plan()))

    assert len(hashes) == 1


def test_the_hash_is_the_same_in_every_process() -> None:
    program = (
        "from plait.core.api import *; from plait.core.plan.model import *;"
        "from plait.core.plan.digest import plan_hash;"
        "node = NodeConfig(name='a');"
        "print(plan_hash(Plan(config=Config(node=node, sections={'x': node, 'y': node}),"
        "plugins=(), hooks=(), maps=(), parts=(), drops=(), constants=(), sizes=(),"
        "headers={}, tests=(), sysctls=(), kernel={'tcx': True})))"
    )

    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(hashes) == 1

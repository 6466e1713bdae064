"""Metrics: what Prometheus reads, and what a plugin's must be like."""

from pathlib import Path
from textwrap import dedent

import pytest
from prometheus_client.parser import text_string_to_metric_families

from plait.core.api import Config, MetricKind, NodeConfig, PlaitError, Sample
from plait.core.plan.growth import MapSize
from plait.core.plugins import load_plugins
from plait.core.runtime.agent import Status
from plait.core.runtime.capacity import MapUse
from plait.core.runtime.metrics import Family, exposition, own_families
from plait.core.runtime.state import State, write_text
from plait.core.runtime.status import AttachedPlace, InstanceStatus

FLOWS = MapSize(declared=1000, entries=1000, bound=1000, key="node.capacity.flows")
SERVICES = MapSize(declared=10, entries=20, bound=40, key="lb.capacity.services")
RUNNING = InstanceStatus(
    state=State(generation=3, applied=1.5e9, held=True),
    agent=Status(pid=1, config="", started=0.0, objects=7, problems=["one"], warnings=["a", "b"]),
    places=(
        AttachedPlace(
            device="eth0",
            cgroup=None,
            hook="netdev_ingress",
            program="netdev_ingress",
            mechanism="tcx",
        ),
    ),
    drops={"LB_NO_BACKEND": 12},
    maps=(MapUse.of("plait_flow6", FLOWS, 250), MapUse.of("lb_services", SERVICES, 16)),
)


def told(text: str) -> dict[str, float]:
    """Samples by their names and labels, as a server of Prometheus understands them."""
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_a_running_instance_tells() -> None:
    services = "[('map', 'lb_services')]"
    flows = "[('map', 'plait_flow6')]"

    assert told(exposition(own_families(RUNNING))) == {
        "plait_agent_up": 1,
        "plait_generation": 3,
        "plait_generation_applied_timestamp_seconds": 1.5e9,
        "plait_rolled_back": 1,
        "plait_objects": 7,
        "plait_problems": 1,
        "plait_warnings": 2,
        "plait_attached_programs[('cgroup', ''), ('device', 'eth0'), ('mechanism', 'tcx'), "
        "('program', 'netdev_ingress')]": 1,
        "plait_flows[('family', 'ipv6')]": 250,
        "plait_dropped_packets_total[('reason', 'LB_NO_BACKEND')]": 12,
        f"plait_map_entries{flows}": 250,
        f"plait_map_entries{services}": 16,
        f"plait_map_capacity_entries{flows}": 1000,
        f"plait_map_capacity_entries{services}": 20,
        f"plait_map_bound_entries{flows}": 1000,
        f"plait_map_bound_entries{services}": 40,
    }


def test_where_nothing_runs_that_is_told() -> None:
    nothing = InstanceStatus(state=None, agent=None)

    assert told(exposition(own_families(nothing))) == {"plait_agent_up": 0, "plait_generation": 0}


def test_the_text_says_what_a_metric_means() -> None:
    family = Family(
        name="plait_x_total",
        help="how many",
        kind=MetricKind.COUNTER,
        labels=("of",),
        samples=(Sample(value=2, labels={"of": 'a "thing"'}),),
    )

    assert exposition((family,)).splitlines() == [
        "# HELP plait_x_total how many",
        "# TYPE plait_x_total counter",
        r'plait_x_total{of="a \"thing\""} 2.0',
    ]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "plait.prom"
    file.write_text("before")
    with file.open() as reader:
        write_text(file, "after")

        assert reader.read() == "before"
    assert file.read_text() == "after"
    assert list(tmp_path.iterdir()) == [file]


PLUGIN = """\
    from plait.core.api import Metric, MetricKind, Sample, hookimpl

    PLUGIN_API = 1

    @hookimpl
    def plait_metrics(config):
        return (Metric(
            name="{name}", help="entries", kind=MetricKind.{kind}, labels=("of",),
            samples=lambda entries: [Sample(value=1, labels={labels})],
        ),)
"""
CONFIG = Config(node=NodeConfig(name="a"))


def plugin(folder: Path, name: str, kind: str = "GAUGE", labels: str = '{"of": "a"}') -> None:
    folder.mkdir(mode=0o755)
    file = folder / "cache.py"
    file.write_text(dedent(PLUGIN).format(name=name, kind=kind, labels=labels))
    file.chmod(0o644)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cache_entries", "GAUGE"),
        ("plait_other_entries", "GAUGE"),
        ("plait_cache_entries", "COUNTER"),
        ("plait_cache_entries_total", "GAUGE"),
        ("plait_cache_Entries", "GAUGE"),
    ],
)
def test_a_plugin_s_metric_has_a_name_of_its_own(tmp_path: Path, name: str, kind: str) -> None:
    plugin(tmp_path / "d", name, kind)

    with pytest.raises(PlaitError, match=f"plugin 'cache' has the metric '{name}'; expected"):
        load_plugins(tmp_path / "d").metrics(CONFIG)


def test_a_sample_without_its_labels_is_blamed_on_the_plugin(tmp_path: Path) -> None:
    plugin(tmp_path / "d", "plait_cache_entries", labels="{}")

    with pytest.raises(PlaitError, match="plugin 'cache' failed to tell plait_cache_entries"):
        load_plugins(tmp_path / "d").samples(CONFIG, {})


def test_a_plugin_s_samples_are_told(tmp_path: Path) -> None:
    plugin(tmp_path / "d", "plait_cache_entries_total", "COUNTER")

    ((metric, samples),) = load_plugins(tmp_path / "d").samples(CONFIG, {})

    assert metric.name == "plait_cache_entries_total"
    assert samples == (Sample(value=1, labels={"of": "a"}),)

"""Metrics: what one instance is like, and what plugins tell of their maps, for Prometheus."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from plait.core.api.contract import MetricKind, Sample
from plait.core.config.data import config_of
from plait.core.kernel.pins import Paths
from plait.core.plan.core import FLOWS
from plait.core.plugins import Plugins
from plait.core.runtime.decoding import MapReader
from plait.core.runtime.generation import Generation
from plait.core.runtime.state import State
from plait.core.runtime.status import InstanceStatus, read_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric and its samples now."""

    name: str
    help: str
    kind: MetricKind = MetricKind.GAUGE
    labels: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


def read_metrics(paths: Paths, plugins: Plugins) -> str:
    """All metrics of an instance, as text. PlaitError for a plugin that fails."""
    return exposition((*own_families(read_status(paths)), *_plugin_families(paths, plugins)))


def own_families(status: InstanceStatus) -> tuple[Family, ...]:
    """What the framework tells; without samples, what it does not know while no agent runs."""
    state, agent = status.state, status.agent
    flows = {name: f"ipv{family}" for family, name in FLOWS.items()}
    return (
        Family(
            name="plait_agent_up",
            help="1 while an agent runs",
            samples=_one(agent is not None),
        ),
        Family(
            name="plait_generation",
            help="number of the generation that runs; 0 when nothing does",
            samples=_one(state.generation if state else 0),
        ),
        Family(
            name="plait_generation_applied_timestamp_seconds",
            help="when the generation that runs took over",
            samples=_one(state.applied) if state else (),
        ),
        Family(
            name="plait_rolled_back",
            help="1 from a rollback until the config is edited",
            samples=_one(state.held) if state else (),
        ),
        Family(
            name="plait_objects",
            help="objects that the agent knows",
            samples=_one(agent.objects) if agent else (),
        ),
        Family(
            name="plait_problems",
            help="what was refused, of config and objects",
            samples=_one(len(status.problems)) if agent else (),
        ),
        Family(
            name="plait_warnings",
            help="what is most likely not meant, and maps that are nearly full",
            samples=_one(len(status.warnings)) if state else (),
        ),
        Family(
            name="plait_attached_programs",
            help="programs on a device or at a cgroup, by their mechanism",
            labels=("device", "cgroup", "program", "mechanism"),
            samples=tuple(
                Sample(
                    value=1,
                    labels={
                        "device": place.device or "",
                        "cgroup": place.cgroup or "",
                        "program": place.program,
                        "mechanism": place.mechanism,
                    },
                )
                for place in status.places
            ),
        ),
        Family(
            name="plait_flows",
            help="entries of the flow table; a connection has two",
            labels=("family",),
            samples=tuple(
                Sample(value=use.entries, labels={"family": flows[use.name]})
                for use in status.maps
                if use.name in flows
            ),
        ),
        Family(
            name="plait_dropped_packets_total",
            help="packets that were dropped, by reason",
            kind=MetricKind.COUNTER,
            labels=("reason",),
            samples=tuple(
                Sample(value=count, labels={"reason": reason})
                for reason, count in status.drops.items()
            ),
        ),
        Family(
            name="plait_map_entries",
            help="entries in use of a map that a setting sizes",
            labels=("map",),
            samples=_by_map((use.name, use.entries) for use in status.maps),
        ),
        Family(
            name="plait_map_capacity_entries",
            help="entries that the map has room for",
            labels=("map",),
            samples=_by_map((use.name, use.capacity) for use in status.maps),
        ),
        Family(
            name="plait_map_bound_entries",
            help="entries that the map may grow to have room for",
            labels=("map",),
            samples=_by_map((use.name, use.bound) for use in status.maps),
        ),
    )


def exposition(families: Iterable[Family]) -> str:
    """In the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(tuple(families)))
    return generate_latest(registry).decode()


class _Families(Collector):
    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for each in self._families:
            kind = CounterMetricFamily if each.kind is MetricKind.COUNTER else GaugeMetricFamily
            metric = kind(each.name, each.help, labels=each.labels)
            for sample in each.samples:
                metric.add_metric([sample.labels[label] for label in each.labels], sample.value)
            yield metric


def _plugin_families(paths: Paths, plugins: Plugins) -> tuple[Family, ...]:
    """What plugins tell of the generation that runs."""
    state = State.read(paths.run)
    running = Generation.pinned(paths.pins, state.generation) if state else None
    if state is None or running is None:
        return ()
    try:
        config = config_of(state.settings, plugins.features())
        reader = MapReader(running.maps)
        return tuple(
            Family(
                name=metric.name,
                help=metric.help,
                kind=metric.kind,
                labels=metric.labels,
                samples=samples,
            )
            for metric, samples in plugins.samples(config, reader)
        )
    finally:
        running.close()


def _one(value: float) -> tuple[Sample, ...]:
    return (Sample(value=value),)


def _by_map(values: Iterable[tuple[str, int]]) -> tuple[Sample, ...]:
    return tuple(Sample(value=value, labels={"map": name}) for name, value in values)

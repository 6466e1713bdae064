"""Figures: measured values, and the goals that they are held against."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A value to stay at or below; at or above when `at_least`."""

    value: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.value if self.at_least else value <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {_number(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row of the table."""

    name: str
    value: float
    unit: str

    @property
    def goal(self) -> Goal | None:
        """What the value is held against; None when it only informs."""
        return GOALS.get(self.name)

    @property
    def met(self) -> bool | None:
        return self.goal.met(self.value) if self.goal else None

    @property
    def shown(self) -> str:
        """The value as a person reads it."""
        return _number(self.value)

    @property
    def shown_goal(self) -> str:
        return str(self.goal) if self.goal else ""

    def plain(self) -> dict[str, str | float | None]:
        """As build/bench.json has it."""
        goal = self.goal.value if self.goal else None
        return {"name": self.name, "value": self.value, "unit": self.unit, "goal": goal}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How to measure: `quick` takes fewer samples; `progress` is told what is being done."""

    quick: bool
    progress: Callable[[str], None]

    def samples(self, usual: int, quick: int) -> int:
        """How many samples to take."""
        return quick if self.quick else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Figures that are measured together, and what their names begin with."""

    prefixes: tuple[str, ...]
    summary: str
    measure: Callable[[Run], Iterator[Figure]]

    def has(self, name: str) -> bool:
        """True when `name` is a figure of this suite, or the beginning of its figures' names."""
        return name.partition(".")[0] in self.prefixes


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


RATIO_GOALS: Mapping[str, Mapping[int, float]] = {
    "plain": dict.fromkeys((1, 100, 1000, 10_000, 30_000), 1.0),
    "nftables": dict.fromkeys((1, 100, 1000, 10_000, 30_000), 1.1),
    "kubeproxy": {1: 1.25, 100: 1.25, 1000: 1.4, 10_000: 2.2, 30_000: 4.0},
}
"""Connections per second over those of others, by the number of services."""

GOALS: Mapping[str, Goal] = {
    "packet.pod_to_service.established.v4": Goal(value=70),
    "packet.pod_to_service.established.v6": Goal(value=80),
    "packet.pod_to_service.established_local.v4": Goal(value=70),
    "packet.pod_to_service.established_local.v6": Goal(value=80),
    "packet.pod_to_pod.established.v4": Goal(value=60),
    "packet.pod_to_pod.established.v6": Goal(value=70),
    "packet.pod_to_pod.established_local.v4": Goal(value=60),
    "packet.pod_to_pod.established_local.v6": Goal(value=70),
    "packet.reply.established.v4": Goal(value=70),
    "packet.reply.established.v6": Goal(value=80),
    "packet.pod_to_service.established_64k.v4": Goal(value=250),
    "packet.pod_to_service.first.v4": Goal(value=1000),
    "packet.pod_to_service.first_with_10k.v4": Goal(value=1000),
    "packet.pod_to_service.first_of_10k.v4": Goal(value=1000),
    "compile.cold_ms": Goal(value=1500),
    "load.ms": Goal(value=300),
    "load.verified_instructions": Goal(value=50_000),
    "load.verified_instructions.dual_stack": Goal(value=200_000),
    "reload.object.p50_ms": Goal(value=30),
    "reload.warm.p50_ms": Goal(value=200),
    "reload.cold.p50_ms": Goal(value=1500),
    "reload.lost_packets": Goal(value=0),
    "reload.reset_connections": Goal(value=0),
    "reload.failed_connections": Goal(value=0),
    "services.load_10k_s": Goal(value=5),
    "services.change_one_ms": Goal(value=30),
    "agent.rss_mb": Goal(value=120),
    "services.load_100k_backends_s": Goal(value=15),
    "services.replace_endpoint_ms": Goal(value=20),
    "maglev.one_table_ms": Goal(value=10),
    "maglev.thousand_tables_s": Goal(value=5),
    "socket_lb.connect_ratio": Goal(value=1.03),
    "socket_lb.connect_ratio_10000": Goal(value=1.03),
    **{
        f"{other}.connections_ratio_{count}{kind}": Goal(value=value, at_least=True)
        for other, values in RATIO_GOALS.items()
        for count, value in values.items()
        for kind in ("", "_node_port")
    },
    **{
        f"plain.transactions_ratio_{count}{kind}": Goal(value=1.0, at_least=True)
        for count in RATIO_GOALS["plain"]
        for kind in ("", "_node_port")
    },
}

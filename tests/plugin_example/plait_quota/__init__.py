"""Quota: what the datapath gains when `quota:` is configured."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import ClassVar, Self

from plait.core.api import (
    PLUGIN_API,
    Config,
    Contribution,
    EntriesByMap,
    Entry,
    Feature,
    Field,
    FlowPart,
    Fragment,
    Handler,
    Hook,
    MapSpec,
    Meta,
    Metric,
    MetricKind,
    Object,
    PlaitError,
    Position,
    Sample,
    Stage,
    hookimpl,
    setting,
)

__all__ = ["PLUGIN_API"]

PROTOCOLS = {"TCP": 6, "UDP": 17}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaConfig:
    """The section `quota` of the config."""

    enforce: bool = setting(True, doc="false: count packets, but let all of them pass")
    destinations: int = setting(
        1000, doc="how many destinations may have a quota", minimum=1, maximum=1_000_000
    )
    growth: int = setting(
        4, doc="how many times as many may come to fit; 1: no more", minimum=1, maximum=64
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota(Object):
    """How many packets each flow from a pod may send to one destination."""

    api_version: ClassVar[str] = "plait.example/v1"
    kind: ClassVar[str] = "Quota"

    address: IPv4Address | IPv6Address
    port: int
    protocol: str
    packets: int

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        document.only("apiVersion", "kind", "metadata", "spec")
        spec = document["spec"]
        spec.only("address", "port", "protocol", "packets")
        return cls(
            meta=meta,
            at=at,
            address=spec["address"].address() or IPv4Address(0),
            port=spec["port"].number(1, 65535),
            protocol=spec["protocol"].choice(tuple(PROTOCOLS), "TCP"),
            packets=spec["packets"].number(0, 2**32 - 1),
        )


@hookimpl
def plait_features() -> tuple[Feature, ...]:
    return (Feature(key="quota", config=QuotaConfig, summary="limit the packets of a flow"),)


@hookimpl
def plait_kinds() -> tuple[type[Object], ...]:
    return (Quota,)


@hookimpl
def plait_contribute(config: Config) -> Contribution | None:
    quota = config.section(QuotaConfig)
    if quota is None:
        return None

    return Contribution(
        headers=Path(__file__).parent / "bpf",
        fragments=(
            _fragment(Stage.POLICY, "quota_look_up"),
            _fragment(Stage.APPLY, "quota_spend"),
        ),
        maps=(
            MapSpec(
                name="quota_limits",
                max_entries=quota.destinations,
                grows_to=quota.destinations * quota.growth,
                config_key="quota.destinations",
                reconciled=True,
            ),
        ),
        flow_part=FlowPart(name="quota_flow", header="quota.h"),
        constants={"quota_enforce": quota.enforce},
        drops={"QUOTA_USED_UP": "the flow has sent as many packets as its quota allows"},
    )


@hookimpl
def plait_handlers(config: Config) -> tuple[Handler, ...]:
    if config.section(QuotaConfig) is None:
        return ()
    return (Handler(name="quota", kinds=(Quota,), wanted=_wanted),)


@hookimpl
def plait_metrics(config: Config) -> tuple[Metric, ...]:
    if config.section(QuotaConfig) is None:
        return ()
    return (
        Metric(
            name="plait_quota_destinations",
            help="destinations that have a quota, by protocol",
            kind=MetricKind.GAUGE,
            labels=("protocol",),
            samples=_destinations,
        ),
    )


def _destinations(entries: EntriesByMap) -> Iterator[Sample]:
    counts = Counter(key["proto"] for key, _ in entries["quota_limits"])
    for name, number in PROTOCOLS.items():
        yield Sample(value=counts[number], labels={"protocol": name})


def _fragment(stage: Stage, function: str) -> Fragment:
    return Fragment(hook=Hook.POD_EGRESS, stage=stage, function=function, header="quota.h")


def _wanted(_scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
    """One entry for each Quota; the flows to its address decide again when it changes."""
    for quota in objects:
        if isinstance(quota, Quota):
            proto = PROTOCOLS[quota.protocol]
            yield Entry(
                map="quota_limits",
                key={"addr": quota.address, "port": quota.port, "proto": proto},
                value={"packets": quota.packets},
                touches=(quota.address,),
            )

"""Load balancing: a flow to a Service's address goes to one of its backends, and stays there."""

from pathlib import Path

from plait.core.api import (
    Config,
    Contribution,
    Feature,
    FlowPart,
    Fragment,
    Handler,
    Hook,
    MapSpec,
    Stage,
    hookimpl,
)
from plait.plugins.lb.backends import FEW
from plait.plugins.lb.config import Algorithm, LbConfig
from plait.plugins.lb.handlers import service_handler
from plait.plugins.lb.proofs import proofs

PLUGIN_API = 1


@hookimpl
def plait_features() -> tuple[Feature, ...]:
    return (Feature(key="lb", config=LbConfig, summary="balance Services over their backends"),)


@hookimpl
def plait_contribute(config: Config) -> Contribution | None:
    lb = config.section(LbConfig)
    if lb is None:
        return None

    return Contribution(
        headers=Path(__file__).parent / "bpf",
        fragments=(
            Fragment(
                hook=Hook.POD_EGRESS, stage=Stage.SERVICE, function="lb_service", header="lb.h"
            ),
        ),
        maps=_maps(lb),
        flow_part=FlowPart(name="lb_flow", header="lb_flow.h"),
        sizes={"LB_TABLE_SIZE": lb.table_size, "LB_FEW": FEW},
        tests=proofs(),
        drops={"LB_NO_BACKEND": "the service has no ready backend"},
        requires=("routing",),
    )


@hookimpl
def plait_handlers(config: Config) -> tuple[Handler, ...]:
    lb = config.section(LbConfig)
    return () if lb is None else (service_handler(lb),)


def _maps(lb: LbConfig) -> tuple[MapSpec, ...]:
    """In the order of their use: a service is there when all that it leads to is."""
    services, backends = lb.capacity.services, lb.capacity.backends
    tables = services if lb.algorithm is Algorithm.MAGLEV else 1
    growth = lb.capacity.growth
    return (
        _map("lb_slots", backends, growth, "lb.capacity.backends"),
        _map("lb_members", backends, growth, "lb.capacity.backends"),
        _map("lb_maglev", tables, growth, "lb.capacity.services"),
        _map("lb_services", services, growth, "lb.capacity.services"),
    )


def _map(name: str, max_entries: int, growth: int, config_key: str) -> MapSpec:
    return MapSpec(
        name=name,
        max_entries=max_entries,
        grows_to=max_entries * growth,
        reconciled=True,
        config_key=config_key,
    )

"""Load balancing: a flow to a Service's address goes to one of its backends, and stays there."""

from pathlib import Path

from plait.core.api import (
    PLUGIN_API,
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
from plait.plugins.lb.config import Algorithm, LbConfig
from plait.plugins.lb.handlers import service_handler

__all__ = ["PLUGIN_API"]


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
        flow_part=FlowPart(name="lb_flow", header="lb.h"),
        sizes={"LB_TABLE_SIZE": lb.table_size},
        drops={"LB_NO_BACKEND": "the service has no ready backend"},
    )


@hookimpl
def plait_handlers(config: Config) -> tuple[Handler, ...]:
    lb = config.section(LbConfig)
    return () if lb is None else (service_handler(lb),)


def _maps(lb: LbConfig) -> tuple[MapSpec, ...]:
    """In the order of their use: a service is there when all that it leads to is."""
    services, backends = lb.capacity.services, lb.capacity.backends
    tables = services if lb.algorithm is Algorithm.MAGLEV else 1
    return (
        MapSpec(name="lb_slots", max_entries=backends, config_key="lb.capacity.backends"),
        MapSpec(name="lb_members", max_entries=backends, config_key="lb.capacity.backends"),
        MapSpec(name="lb_maglev", max_entries=tables, config_key="lb.capacity.services"),
        MapSpec(name="lb_services", max_entries=services, config_key="lb.capacity.services"),
    )

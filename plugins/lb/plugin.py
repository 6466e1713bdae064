"""Load balancing: a flow to a Service's address goes to one of its backends, and stays there."""

from pathlib import Path

from plait.core.api import (
    Config,
    Contribution,
    Controller,
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
from plait.plugins.lb.config import LbConfig, Removed
from plait.plugins.lb.handlers import handlers
from plait.plugins.lb.maglev import CHUNK, SLOTS_EACH
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
            _balance(Hook.POD_EGRESS, "lb_from_pod"),
            _balance(Hook.NETDEV_INGRESS, "lb_from_wire"),
        ),
        maps=_maps(lb),
        flow_part=FlowPart(name="lb_flow", header="lb_flow.h"),
        sizes={"LB_CHUNK": CHUNK, "LB_FEW": FEW},
        constants={"lb_reset": lb.removed is Removed.RESET, "lb_refuse": lb.refuse},
        tests=proofs(),
        drops={
            "LB_NO_BACKEND": "the service has no ready backend",
            "LB_NO_LOCAL_BACKEND": "the service has ready backends on other nodes only",
            "LB_BACKEND_GONE": "the connection's backend is gone (lb.removed: reset)",
            "LB_NO_SUCH_PORT": "the address is a service's, which does not serve this port",
            "LB_CLIENT_REFUSED": "the client is in none of the service's loadBalancerSourceRanges",
        },
        requires=("routing",),
    )


@hookimpl
def plait_handlers(config: Config) -> tuple[Handler, ...]:
    lb = config.section(LbConfig)
    return () if lb is None else handlers(config, lb)


@hookimpl
def plait_controllers(config: Config) -> tuple[Controller, ...]:
    from plait.plugins.lb.health.controllers import controllers

    lb = config.section(LbConfig)
    return () if lb is None else controllers(config, lb)


def _balance(hook: Hook, function: str) -> Fragment:
    return Fragment(hook=hook, stage=Stage.SERVICE, function=function, header="lb.h")


def _maps(lb: LbConfig) -> tuple[MapSpec, ...]:
    """In the order of their use: a service is there when all that it leads to is.

    A pool of many backends has a hundred slots for each, in chunks, and as a rule one chunk that is
    not full.
    """
    services, backends = lb.capacity.services, lb.capacity.backends
    chunks = services + backends * SLOTS_EACH // CHUNK
    return (
        _map("lb_slots", backends, "lb.capacity.backends"),
        _map("lb_members", backends, "lb.capacity.backends"),
        _map("lb_maglev", chunks, "lb.capacity.services"),
        _map("lb_ranges", lb.capacity.ranges, "lb.capacity.ranges"),
        _map("lb_addresses", 2 * services, "lb.capacity.services"),
        _map("lb_services", services, "lb.capacity.services"),
        MapSpec(
            name="lb_affinity", max_entries=lb.capacity.clients, config_key="lb.capacity.clients"
        ),
    )


def _map(name: str, max_entries: int, config_key: str) -> MapSpec:
    return MapSpec(name=name, max_entries=max_entries, reconciled=True, config_key=config_key)

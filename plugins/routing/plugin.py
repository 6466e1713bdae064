"""Routing: what the datapath gains when `routing:` is configured."""

from pathlib import Path

from plait.core.api import (
    Config,
    Contribution,
    Feature,
    Fragment,
    Hook,
    KernelFeature,
    Stage,
    Sysctl,
    hookimpl,
)
from plait.plugins.routing.config import RoutingConfig

PLUGIN_API = 1

HEADERS = Path(__file__).parent / "bpf"


@hookimpl
def plait_features() -> tuple[Feature, ...]:
    return (
        Feature(key="routing", config=RoutingConfig, summary="ways out of the node and into pods"),
    )


@hookimpl
def plait_contribute(config: Config) -> Contribution | None:
    if config.section(RoutingConfig) is None:
        return None

    return Contribution(
        headers=HEADERS,
        fragments=(
            _route(Hook.POD_EGRESS, "routing_from_pod"),
            _route(Hook.NETDEV_INGRESS, "routing_from_wire"),
            _route(Hook.POD_INGRESS, "routing_from_host"),
        ),
        drops={"ROUTING_NO_ROUTE": "the node has no way to this address; the sender is told"},
        sysctls=(
            Sysctl(path="net/ipv4/ip_forward", value="1"),
            Sysctl(path="net/ipv6/conf/all/forwarding", value="1"),
        ),
        requires=(
            KernelFeature.REDIRECT_PEER,
            KernelFeature.REDIRECT_NEIGH,
            KernelFeature.FIB_LOOKUP,
        ),
    )


def _route(hook: Hook, function: str) -> Fragment:
    return Fragment(hook=hook, stage=Stage.ROUTE, function=function, header="routing.h")

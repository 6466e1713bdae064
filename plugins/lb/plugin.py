"""Load balancing: a flow to a Service's address goes to one of its backends, and stays there."""

from functools import partial
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
from plait.plugins.lb.config import LbConfig, Removed, Sockets
from plait.plugins.lb.handlers import handlers
from plait.plugins.lb.maglev import CHUNK, SLOTS_EACH
from plait.plugins.lb.pools import GROUP
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

    at_sockets = lb.sockets is not Sockets.NONE
    return Contribution(
        headers=Path(__file__).parent / "bpf",
        fragments=(*_PACKETS, *(_SOCKETS if at_sockets else ())),
        maps=_maps(lb),
        flow_part=FlowPart(name="lb_flow", header="lb_flow.h"),
        sizes={"LB_CHUNK": CHUNK, "LB_FEW": FEW, "LB_GROUP": GROUP},
        constants={
            "lb_reset": lb.removed is Removed.RESET,
            "lb_refuse": lb.refuse,
            "lb_host_only": lb.sockets is Sockets.HOST,
        },
        tests=proofs(),
        drops={
            "LB_NO_BACKEND": "the service has no ready backend",
            "LB_NO_LOCAL_BACKEND": "the service has ready backends on other nodes only",
            "LB_BACKEND_GONE": "the connection's backend is gone (lb.removed: reset)",
            "LB_NO_SUCH_PORT": "the address is a service's, which does not serve this port",
            "LB_CLIENT_REFUSED": "the client is in none of the service's loadBalancerSourceRanges",
        },
        requires=("routing",),
        hooks=(Hook.NETDEV_EGRESS,),
    )


@hookimpl
def plait_handlers(config: Config) -> tuple[Handler, ...]:
    lb = config.section(LbConfig)
    return () if lb is None else handlers(config, lb)


@hookimpl
def plait_controllers(config: Config) -> tuple[Controller, ...]:
    from plait.plugins.lb.controllers import controllers

    lb = config.section(LbConfig)
    return () if lb is None else controllers(config, lb)


def _fragment(hook: Hook, function: str, header: str) -> Fragment:
    return Fragment(hook=hook, stage=Stage.SERVICE, function=function, header=header)


_PACKETS = (
    _fragment(Hook.POD_EGRESS, "lb_from_pod", "lb.h"),
    _fragment(Hook.NETDEV_INGRESS, "lb_from_wire", "lb.h"),
)

_SOCKETS = (
    _fragment(Hook.SOCK_CONNECT, "lb_connect", "lb_sock.h"),
    _fragment(Hook.SOCK_SENDMSG, "lb_sendmsg", "lb_sock.h"),
    _fragment(Hook.SOCK_RECVMSG, "lb_recvmsg", "lb_sock.h"),
    _fragment(Hook.SOCK_GETPEERNAME, "lb_getpeername", "lb_sock.h"),
)


def _maps(lb: LbConfig) -> tuple[MapSpec, ...]:
    """In the order of their use: a service is there when all that it leads to is.

    A pool with a table has a hundred slots for each of its backends. As a rule, a pool of many has
    one group of backends and one chunk of slots that are not full.
    """
    services, backends = lb.capacity.services, lb.capacity.backends
    chunks = services + backends * SLOTS_EACH // CHUNK
    sized = partial(_map, growth=lb.capacity.growth)
    return (
        sized("lb_groups", services + backends // GROUP, "lb.capacity.backends"),
        sized("lb_maglev", chunks, "lb.capacity.services"),
        sized("lb_ranges", lb.capacity.ranges, "lb.capacity.ranges"),
        sized("lb_addresses", 2 * services, "lb.capacity.services"),
        sized("lb_services", services, "lb.capacity.services"),
        _remembers("lb_affinity", lb.capacity.clients, "lb.capacity.clients"),
        *(
            (
                _remembers("lb_sockets", lb.capacity.sockets, "lb.capacity.sockets"),
                _remembers("lb_peers", lb.capacity.sockets, "lb.capacity.sockets"),
            )
            if lb.sockets is not Sockets.NONE
            else ()
        ),
    )


def _map(name: str, max_entries: int, config_key: str, *, growth: int) -> MapSpec:
    return MapSpec(
        name=name,
        max_entries=max_entries,
        grows_to=max_entries * growth,
        reconciled=True,
        config_key=config_key,
    )


def _remembers(name: str, max_entries: int, config_key: str) -> MapSpec:
    return MapSpec(name=name, max_entries=max_entries, config_key=config_key)

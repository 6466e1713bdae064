"""Frontends: where a Service's port is reached, and who is served there by whom."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from plait.core.api import Address, PlaitError, Service, ServicePort, TrafficPolicy
from plait.plugins.lb.config import NodePorts

ANY_ADDRESS: dict[type[Address], Address] = {
    IPv4Address: IPv4Address(0),
    IPv6Address: IPv6Address(0),
}
"""Stands for all addresses of the node."""


class Served(NamedTuple):
    """One port of a Service, by one family."""

    service: Service
    port: ServicePort
    family: type[Address]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """An address and a port of a Service. `inside` serves who asks on this node, `outside` who asks
    from another machine; `ranges` says whether the Service's source ranges hold here, `of_node`
    that the address stands for all of the node's own.
    """

    address: Address
    port: int
    inside: TrafficPolicy
    outside: TrafficPolicy
    ranges: bool = False
    of_node: bool = False


def frontends_of(served: Served) -> Iterator[Frontend]:
    """Where a port is reached by one family. Who asks on this node for an external address gets any
    backend, as the address leads to all of them from there.

    Source: Kubernetes' pkg/proxy/serviceport.go and endpoints of its iptables mode.
    """
    service, port, family = served
    if service.type == "ExternalName":
        return
    external = service.external_policy
    for address in service.cluster_ips:
        if isinstance(address, family):
            yield _frontend(address, port.port, service.internal_policy, service.internal_policy)
    for address in service.external_ips:
        if isinstance(address, family):
            yield _frontend(address, port.port, TrafficPolicy.CLUSTER, external)
    for address in _ingress_ips(service):
        if isinstance(address, family):
            frontend = _frontend(address, port.port, TrafficPolicy.CLUSTER, external)
            yield replace(frontend, ranges=bool(service.source_ranges))
    if _has_node_port(service, port) and is_of(service, family):
        frontend = _frontend(ANY_ADDRESS[family], port.node_port, TrafficPolicy.CLUSTER, external)
        yield replace(frontend, of_node=True)


def _frontend(
    address: Address, port: int, inside: TrafficPolicy, outside: TrafficPolicy
) -> Frontend:
    return Frontend(address=address, port=port, inside=inside, outside=outside)


def addresses_of(service: Service) -> tuple[Address, ...]:
    """The addresses that are a Service's own: nobody else is reached by them."""
    if service.type == "ExternalName":
        return ()
    return (*service.cluster_ips, *_ingress_ips(service))


def misplaced_ports(service: Service, allowed: NodePorts) -> Iterator[PlaitError]:
    """An error for each node port that is out of the allowed range: it is not served."""
    for port in service.ports:
        if _has_node_port(service, port) and not in_range(port, allowed):
            yield PlaitError(
                f"{service}: node port {port.node_port} is out of range",
                at=service.at,
                expected=f"expected {allowed.first} to {allowed.last}",
                hint="see lb.nodePorts in the config",
            )


def in_range(port: ServicePort, allowed: NodePorts) -> bool:
    return allowed.first <= port.node_port <= allowed.last


def _ingress_ips(service: Service) -> tuple[Address, ...]:
    return service.ingress_ips if service.type == "LoadBalancer" else ()


def _has_node_port(service: Service, port: ServicePort) -> bool:
    return service.type in ("NodePort", "LoadBalancer") and port.node_port > 0


def is_of(service: Service, family: type[Address]) -> bool:
    """A Service without an address of its own is of both families."""
    return not service.cluster_ips or any(isinstance(ip, family) for ip in service.cluster_ips)

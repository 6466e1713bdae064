"""Services and who serves them, in Kubernetes' shapes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Self

from plait.core.errors import Position
from plait.core.objects.document import Field, refuse_twins
from plait.core.objects.model import PROTOCOLS, Address, Meta, Network, Object

SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
ADDRESS_TYPES = ("IPv4", "IPv6", "FQDN")
AFFINITY_SECONDS = 10_800
"""Kubernetes' own default: three hours."""

_AFFINITIES = ("None", "ClientIP")
_DAY = 86_400
_SERVICE_LABEL = "kubernetes.io/service-name"


class TrafficPolicy(StrEnum):
    """Which endpoints serve: all there are, or only those of the node that is asked."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


class Distribution(StrEnum):
    """Which endpoints are preferred, when there are any of these."""

    ANY = ""
    CLOSE = "PreferClose"
    SAME_ZONE = "PreferSameZone"
    SAME_NODE = "PreferSameNode"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service. `target` is the endpoint's port by number or name; `node_port` is 0
    when the service is not reached by the nodes' addresses.
    """

    port: int
    name: str = ""
    protocol: str = "TCP"
    target: int | str | None = None
    node_port: int = 0

    @classmethod
    def parse(cls, port: Field) -> Self:
        return cls(
            port=port["port"].number(1, 65535),
            name=port["name"].text(""),
            protocol=port["protocol"].choice(PROTOCOLS, "TCP"),
            target=_target(port["targetPort"]),
            node_port=port["nodePort"].number(0, 65535, 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Object):
    """A stable address in front of endpoints. `cluster_ips` is empty for a headless service.

    `ingress_ips` are those that a load balancer gave it (of status.loadBalancer.ingress; those that
    a proxy of its own has are left out), `affinity` the seconds that a client stays with its
    backend (None: it does not).
    """

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Service"

    type: str = "ClusterIP"
    cluster_ips: tuple[Address, ...] = ()
    external_ips: tuple[Address, ...] = ()
    ingress_ips: tuple[Address, ...] = ()
    source_ranges: tuple[Network, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    internal_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    external_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    health_check_node_port: int = 0
    distribution: Distribution = Distribution.ANY
    affinity: int | None = None
    publish_not_ready: bool = False

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        spec = document["spec"]
        spec.require("a mapping")
        return cls(
            meta=meta,
            at=at,
            type=spec["type"].choice(SERVICE_TYPES, "ClusterIP"),
            cluster_ips=_cluster_ips(spec),
            external_ips=_hosts(spec["externalIPs"]),
            ingress_ips=_ingress_ips(document["status"]["loadBalancer"]["ingress"]),
            source_ranges=_networks(spec["loadBalancerSourceRanges"]),
            ports=_service_ports(spec["ports"]),
            internal_policy=_policy(spec["internalTrafficPolicy"]),
            external_policy=_policy(spec["externalTrafficPolicy"]),
            health_check_node_port=spec["healthCheckNodePort"].number(0, 65535, 0),
            distribution=Distribution(
                spec["trafficDistribution"].choice(tuple(Distribution), Distribution.ANY)
            ),
            affinity=_affinity(spec),
            publish_not_ready=spec["publishNotReadyAddresses"].flag(False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePort:
    """One port that all endpoints of a slice serve, matched to a service's port by name."""

    port: int
    name: str = ""
    protocol: str = "TCP"

    @classmethod
    def parse(cls, port: Field) -> Self:
        return cls(
            port=port["port"].number(1, 65535),
            name=port["name"].text(""),
            protocol=port["protocol"].choice(PROTOCOLS, "TCP"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoint:
    """One backend of a slice. What is unknown follows Kubernetes: it counts as ready, it serves as
    long as it is ready, and it is not terminating. `for_zones` and `for_nodes` are hints: clients
    of which zones and nodes it is meant for.
    """

    address: Address
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    zone: str = ""
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, endpoint: Field, family: type[Address]) -> Self | None:
        """None when it has no address that counts."""
        endpoint["addresses"].require("a list of IP addresses")
        addresses = [address.host(family) for address in endpoint["addresses"]]
        if not addresses or addresses[0] is None:
            return None
        conditions, hints = endpoint["conditions"], endpoint["hints"]
        ready = conditions["ready"].flag(True)
        return cls(
            address=addresses[0],
            ready=ready,
            serving=conditions["serving"].flag(ready),
            terminating=conditions["terminating"].flag(False),
            node=endpoint["nodeName"].text(""),
            zone=endpoint["zone"].text(""),
            for_zones=_names(hints["forZones"]),
            for_nodes=_names(hints["forNodes"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice(Object):
    """Backends of a service; `service` is the label kubernetes.io/service-name ('' when absent).

    A slice of names (addressType FQDN) has no backends here. Of an endpoint's addresses, which
    Kubernetes says are interchangeable, the first is used. A port without a number stands for all
    ports in Kubernetes; as a service's port has nothing to match there, it is left out.
    """

    api_version: ClassVar[str] = "discovery.k8s.io/v1"
    kind: ClassVar[str] = "EndpointSlice"

    service: str = ""
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        written = [port for port in document["ports"] if port["port"].value is not None]
        ports = tuple([SlicePort.parse(port) for port in written])
        refuse_twins(written, "name", (port.name for port in ports))
        return cls(
            meta=meta,
            at=at,
            service=meta.labels.get(_SERVICE_LABEL, ""),
            endpoints=_slice_endpoints(document),
            ports=ports,
        )


def _service_ports(written: Field) -> tuple[ServicePort, ...]:
    items = tuple(written)
    ports = tuple([ServicePort.parse(port) for port in items])
    if len(ports) > 1:
        for item in items:
            item["name"].require("a name, as there is more than one port")
        refuse_twins(items, "port", ((port.protocol, port.port) for port in ports))
        refuse_twins(items, "name", (port.name for port in ports))
        refuse_twins(
            [item for item, port in zip(items, ports, strict=True) if port.node_port],
            "nodePort",
            [(port.protocol, port.node_port) for port in ports if port.node_port],
        )
    return ports


def _target(target: Field) -> int | str | None:
    if isinstance(target.value, str):
        return target.value
    return None if target.value is None else target.number(1, 65535)


def _cluster_ips(spec: Field) -> tuple[Address, ...]:
    first, several = spec["clusterIP"], list(spec["clusterIPs"])
    if several and first.value not in (None, several[0].value):
        first.refuse(
            f"clusterIP is '{first.value}'", f"expected clusterIPs[0], '{several[0].value}'"
        )
    given = (ip for ip in several or [first] if ip.value not in (None, "", "None"))
    return tuple(address for address in (ip.host() for ip in given) if address)


def _hosts(written: Field) -> tuple[Address, ...]:
    return tuple(address for item in written if (address := item.host()))


def _ingress_ips(written: Field) -> tuple[Address, ...]:
    """A load balancer that is a name, or that wants to see the packets itself, is left alone."""
    own = (item["ip"] for item in written if item["ipMode"].text("VIP") != "Proxy")
    return tuple(address for ip in own if ip.value is not None and (address := ip.host()))


def _networks(written: Field) -> tuple[Network, ...]:
    return tuple(network for item in written if (network := item.network()))


def _policy(written: Field) -> TrafficPolicy:
    return TrafficPolicy(written.choice(tuple(TrafficPolicy), TrafficPolicy.CLUSTER))


def _affinity(spec: Field) -> int | None:
    timeout = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
    seconds = timeout.number(1, _DAY, AFFINITY_SECONDS)
    return seconds if spec["sessionAffinity"].choice(_AFFINITIES, "None") == "ClientIP" else None


def _names(written: Field) -> tuple[str, ...]:
    return tuple([item["name"].text() for item in written]) if written.value else ()


def _slice_endpoints(document: Field) -> tuple[SliceEndpoint, ...]:
    address_type = document["addressType"].choice(ADDRESS_TYPES)
    if address_type == "FQDN":
        return ()
    family = IPv4Address if address_type == "IPv4" else IPv6Address
    found = [SliceEndpoint.parse(endpoint, family) for endpoint in document["endpoints"]]
    return tuple([each for each in found if each])

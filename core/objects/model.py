"""The objects that more than one plugin reads, as frozen values in Kubernetes' shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar

from plait.core.errors import Position

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Metadata that every object has. Cluster-wide kinds have the namespace ''."""

    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """Desired state from a source. `at` is where it was written; it does not count as content."""

    api_version: ClassVar[str]
    kind: ClassVar[str]

    meta: Meta
    at: Position | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """(kind, namespace, name): unique in a store."""
        return (self.kind, self.meta.namespace, self.meta.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.meta.namespace}/{self.meta.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service. `target` is the endpoint's port by number or name."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    target: int | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Object):
    """A stable address in front of endpoints. `cluster_ips` is empty for a headless service."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Service"

    type: str = "ClusterIP"
    cluster_ips: tuple[Address, ...] = ()
    ports: tuple[ServicePort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicePort:
    """One port that all endpoints of a slice serve, matched to a service's port by name."""

    port: int
    name: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoint:
    """One backend of a slice. `ready` follows Kubernetes: unknown counts as ready."""

    address: Address
    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice(Object):
    """Backends of a service; `service` is the label kubernetes.io/service-name ('' when absent)."""

    api_version: ClassVar[str] = "discovery.k8s.io/v1"
    kind: ClassVar[str] = "EndpointSlice"

    service: str = ""
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Object):
    """A workload with an interface on this node. `mac` is None: asked of the kernel."""

    api_version: ClassVar[str] = "plait/v1"
    kind: ClassVar[str] = "Endpoint"

    interface: str
    addresses: tuple[Address, ...]
    mac: str | None = None

"""The objects that more than one plugin reads, as frozen values in Kubernetes' shapes."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Self

from plait.core.errors import Position
from plait.core.objects.document import Field

Address = IPv4Address | IPv6Address

Key = tuple[str, str, str]
"""(kind, namespace, name): what an object is called in a store."""

PROTOCOLS = ("TCP", "UDP", "SCTP")
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
ADDRESS_TYPES = ("IPv4", "IPv6", "FQDN")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAME_WORDS = "lower-case letters, digits, '-' and '.' (at most 253)"
_HOST_SIDE = "expected the host's side of a workload's interface"
_INTERFACE = re.compile(r"[^\s/:%]{1,15}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_KUBECTL_COPY = "kubectl.kubernetes.io/last-applied-configuration"
_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Metadata that every object has. Cluster-wide kinds have the namespace ''."""

    name: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""

    @classmethod
    def parse(cls, metadata: Field, *, namespaced: bool) -> Self:
        """The copy of the whole document that kubectl keeps in an annotation is left out."""
        namespace = metadata["namespace"].text("default", pattern=_NAME, words=_NAME_WORDS)
        annotations = metadata["annotations"].strings()
        return cls(
            name=metadata["name"].text(pattern=_NAME, words=_NAME_WORDS),
            namespace=namespace if namespaced else "",
            labels=metadata["labels"].strings(),
            annotations=annotations
            and {key: annotations[key] for key in annotations if key != _KUBECTL_COPY},
            uid=metadata["uid"].text(""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """Desired state from a source. `at` is where it was written; it does not count as content."""

    api_version: ClassVar[str]
    kind: ClassVar[str]
    namespaced: ClassVar[bool] = True

    meta: Meta
    at: Position | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        """The object that a document describes; what is wrong is noted in its fields, not raised.

        `meta` has been made of its metadata; `at` becomes the object's.
        """
        raise NotImplementedError(f"{cls.__name__} does not say how it is parsed")

    @property
    def key(self) -> Key:
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

    @classmethod
    def parse(cls, port: Field) -> Self:
        return cls(
            port=port["port"].number(1, 65535),
            name=port["name"].text(""),
            protocol=port["protocol"].choice(PROTOCOLS, "TCP"),
            target=_target(port["targetPort"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Object):
    """A stable address in front of endpoints. `cluster_ips` is empty for a headless service."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Service"

    type: str = "ClusterIP"
    cluster_ips: tuple[Address, ...] = ()
    ports: tuple[ServicePort, ...] = ()

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        spec = document["spec"]
        spec.require("a mapping")
        written = tuple(spec["ports"])
        ports = tuple([ServicePort.parse(port) for port in written])
        if len(ports) > 1:
            for port in written:
                port["name"].require("a name, as there is more than one port")
            _refuse_twins(written, "port", ((port.protocol, port.port) for port in ports))
            _refuse_twins(written, "name", (port.name for port in ports))
        return cls(
            meta=meta,
            at=at,
            type=spec["type"].choice(SERVICE_TYPES, "ClusterIP"),
            cluster_ips=_cluster_ips(spec),
            ports=ports,
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
    """One backend of a slice. `ready` follows Kubernetes: unknown counts as ready."""

    address: Address
    ready: bool = True


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
        _refuse_twins(written, "name", (port.name for port in ports))
        return cls(
            meta=meta,
            at=at,
            service=meta.labels.get(_SERVICE_LABEL, ""),
            endpoints=_slice_endpoints(document),
            ports=ports,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Object):
    """A workload with an interface on this node. `mac` is None: asked of the kernel."""

    api_version: ClassVar[str] = "plait/v1"
    kind: ClassVar[str] = "Endpoint"

    interface: str
    addresses: tuple[Address, ...]
    mac: str | None = None

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        document.only("apiVersion", "kind", "metadata", "spec")
        spec = document["spec"]
        spec.only("interface", "addresses", "mac")
        spec["addresses"].require("a list of IP addresses")
        addresses = [item.host() for item in spec["addresses"]]
        mac = spec["mac"]
        interface = spec["interface"].text(
            pattern=_INTERFACE, words="the name of an interface (at most 15 characters)"
        )
        if interface == "lo":
            spec["interface"].refuse("interface is 'lo', which is the node's own", _HOST_SIDE)
        return cls(
            meta=meta,
            at=at,
            interface=interface,
            addresses=tuple(address for address in addresses if address),
            mac=mac.text("", pattern=_MAC, words="a MAC address such as 0a:58:0a:f4:01:0a") or None,
        )


KINDS: tuple[type[Object], ...] = (Service, EndpointSlice, Endpoint)
"""The kinds of the core; plugins add theirs."""


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


def _slice_endpoints(document: Field) -> tuple[SliceEndpoint, ...]:
    address_type = document["addressType"].choice(ADDRESS_TYPES)
    if address_type == "FQDN":
        return ()
    family = IPv4Address if address_type == "IPv4" else IPv6Address
    endpoints = []
    for endpoint in document["endpoints"]:
        written = endpoint["addresses"]
        written.require("a list of IP addresses")
        addresses = [address.host(family) for address in written]
        ready = endpoint["conditions"]["ready"].flag(True)
        if addresses and addresses[0]:
            endpoints.append(SliceEndpoint(address=addresses[0], ready=ready))
    return tuple(endpoints)


def _refuse_twins(items: Iterable[Field], key: str, values: Iterable[Hashable]) -> None:
    """Note a fault at `key` of each item whose value another item before it has, too."""
    seen = set()
    for item, value in zip(items, values, strict=False):
        if value in seen:
            item[key].refuse(f"{key} '{item[key].value}' is here twice", "expected a different one")
        seen.add(value)

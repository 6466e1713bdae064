"""Objects: what all kinds have in common, and those of the node itself, in Kubernetes' shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import ClassVar, Self

from plait.core.errors import Position
from plait.core.objects.document import Field, refuse_twins

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Key = tuple[str, str, str]
"""(kind, namespace, name): what an object is called in a store."""

PROTOCOLS = ("TCP", "UDP", "SCTP")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAME_WORDS = "lower-case letters, digits, '-' and '.' (at most 253)"
_HOST_SIDE = "expected the host's side of a workload's interface"
_INTERFACE = re.compile(r"[^\s/:%]{1,15}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_ANY_HOST = (None, "", "0.0.0.0", "::")
_KUBECTL_COPY = "kubectl.kubernetes.io/last-applied-configuration"


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

    @property
    def name(self) -> str:
        """Its name, after its namespace if it has one: unique among objects of its kind."""
        return f"{self.meta.namespace}/{self.meta.name}" if self.namespaced else self.meta.name

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """A port of the node that leads to one of an endpoint. `address` is None for all of the node's
    own.
    """

    host_port: int
    port: int
    protocol: str = "TCP"
    address: Address | None = None

    @classmethod
    def parse(cls, written: Field) -> Self:
        written.only("name", "hostPort", "containerPort", "protocol", "hostIP")
        given = written["hostIP"]
        return cls(
            host_port=written["hostPort"].number(1, 65535),
            port=written["containerPort"].number(1, 65535),
            protocol=written["protocol"].choice(PROTOCOLS, "TCP"),
            address=given.host() if given.value not in _ANY_HOST else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Object):
    """A workload with an interface on this node. `mac` is None: asked of the kernel."""

    api_version: ClassVar[str] = "plait/v1"
    kind: ClassVar[str] = "Endpoint"

    interface: str
    addresses: tuple[Address, ...]
    mac: str | None = None
    host_ports: tuple[HostPort, ...] = ()

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        document.only("apiVersion", "kind", "metadata", "spec")
        spec = document["spec"]
        spec.only("interface", "addresses", "mac", "ports")
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
            host_ports=_host_ports(spec["ports"]),
        )


def _host_ports(written: Field) -> tuple[HostPort, ...]:
    items = [port for port in written if port["hostPort"].value]
    ports = tuple([HostPort.parse(port) for port in items])
    refuse_twins(
        items, "hostPort", [(port.protocol, port.host_port, port.address) for port in ports]
    )
    return ports

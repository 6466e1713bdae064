"""Nodes: what is known of them, in Kubernetes' shape, and what the kernel says of this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from plait.core.errors import Position
from plait.core.objects.document import Field
from plait.core.objects.model import Address, Meta, Network, Object

_ZONE_LABEL = "topology.kubernetes.io/zone"
_ADDRESS_TYPES = ("InternalIP", "ExternalIP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Object):
    """A node of the cluster: by which addresses others reach it, and whose pods it has."""

    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Node"
    namespaced: ClassVar[bool] = False

    addresses: tuple[Address, ...] = ()
    pod_cidrs: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, document: Field, meta: Meta, at: Position | None) -> Self:
        spec = document["spec"]
        networks = list(spec["podCIDRs"]) or [spec["podCIDR"]]
        written = document["status"]["addresses"]
        addresses = (item["address"] for item in written if item["type"].value in _ADDRESS_TYPES)
        return cls(
            meta=meta,
            at=at,
            addresses=tuple([address for item in addresses if (address := item.host())]),
            pod_cidrs=tuple(
                [cidr for item in networks if item.value is not None and (cidr := item.network())]
            ),
        )

    @property
    def zone(self) -> str:
        """The zone that its label names, '' for none."""
        return self.meta.labels.get(_ZONE_LABEL, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Object):
    """This node as its kernel has it now. It is made by the agent, and never read from a source."""

    api_version: ClassVar[str] = "plait/v1"
    kind: ClassVar[str] = "Host"
    namespaced: ClassVar[bool] = False

    addresses: tuple[Address, ...] = ()

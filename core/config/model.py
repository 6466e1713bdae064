"""The config of one node, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

from plait.core.config.settings import setting
from plait.core.config.sources import Sources
from plait.core.config.yaml import DataPath
from plait.core.errors import Position

Section = TypeVar("Section")


class AttachBy(StrEnum):
    """How programs are attached to devices."""

    AUTO = "auto"
    TCX = "tcx"
    CLSACT = "clsact"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCapacity:
    """How much this node may hold; what is full is named, and refuses what is new."""

    flows: int = setting(
        262144,
        doc="entries of each family's flow table; a connection takes two",
        minimum=1024,
        maximum=16777216,
    )
    endpoints: int = setting(
        4096, doc="addresses of workloads on this node", minimum=1, maximum=1048576
    )
    growth: int = setting(
        4,
        doc="how many times as many endpoints their map may grow to hold when it is full; 1: it "
        "does not grow",
        minimum=1,
        maximum=64,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Masquerade:
    """Ports of the node that flows leave from whose senders must not be seen by their own address.

    To one port of one address there are as many flows at a time as there are of these.
    """

    first_port: int = setting(
        1024,
        doc="the lowest; none may be one that the node's own programs connect from "
        "(net.ipv4.ip_local_port_range)",
        minimum=1,
        maximum=65535,
    )
    last_port: int = setting(29_999, doc="the highest", minimum=1, maximum=65535)

    def __post_init__(self) -> None:
        if self.last_port < self.first_port:
            raise ValueError(f"lastPort {self.last_port} is below firstPort {self.first_port}")

    @property
    def count(self) -> int:
        """How many ports these are."""
        return self.last_port - self.first_port + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What the file says of this node. `devices` and `cgroup` are None for `auto`."""

    name: str = setting(
        doc="this node's name; the same as its Node object's",
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
    )
    devices: tuple[str, ...] | None = setting(
        None,
        doc="uplinks to attach to; auto: those that a default route leaves by",
        none="auto",
        pattern=r"^[^\s/:]{1,15}$",
    )
    pod_cidrs: tuple[IPv4Network | IPv6Network, ...] = setting(
        (),
        doc="networks that this node's pods have their addresses from; they must not overlap",
        key="podCIDRs",
    )
    attach: AttachBy = setting(
        AttachBy.AUTO,
        doc="tcx: links (Linux 6.6); clsact: filters of tc; auto: links where the kernel has them",
    )
    masquerade: Masquerade = setting(
        Masquerade(), doc="ports of flows that leave with the node's own address"
    )
    cgroup: Path | None = setting(
        None,
        doc="directory of cgroup v2: the sockets of its processes are the node's; auto: of all",
        none="auto",
        pattern=r"^/",
    )
    capacity: NodeCapacity = setting(NodeCapacity(), doc="sizes of the framework's own tables")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A validated config. `sections` holds one frozen dataclass per configured feature.

    `sources` are the files that say so, if any do; they do not count as content.
    """

    node: NodeConfig
    objects: tuple[Path, ...] = ()
    sections: Mapping[str, object] = field(default_factory=dict)
    sources: Sources | None = field(default=None, compare=False, repr=False)

    def locate(self, path: DataPath, *, key: bool = False) -> Position | None:
        """Where a value is written (its key, with `key`), for what only others can refuse."""
        return self.sources.locate(path, key=key) if self.sources else None

    def section(self, kind: type[Section]) -> Section | None:
        """The section that is a `kind`, or None when the feature is not configured."""
        for section in self.sections.values():
            if isinstance(section, kind):
                return section
        return None

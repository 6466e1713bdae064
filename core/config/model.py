"""The config of one node, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

Section = TypeVar("Section")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """What the file says of this node. `devices` is None for `auto`: the uplinks by default route."""

    name: str
    devices: tuple[str, ...] | None = None
    pod_cidrs: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A validated config. `sections` holds one frozen dataclass per configured feature."""

    node: NodeConfig
    objects: tuple[Path, ...] = ()
    sections: Mapping[str, object] = field(default_factory=dict)

    def section(self, kind: type[Section]) -> Section | None:
        """The section that is a `kind`, or None when the feature is not configured."""
        for section in self.sections.values():
            if isinstance(section, kind):
                return section
        return None

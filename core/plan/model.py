"""The plan: config, plugins and kernel features, resolved into one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plait.core.api.contract import FlowPart, Fragment, Hook, MapSpec, PacketTest, Stage, Sysctl
from plait.core.config.model import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginUse:
    """A plugin that takes part: its name, its version, the features that the config turned on."""

    name: str
    version: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fragment in its place, with the plugin that owns it and the flow part it is given.

    `line` of the fragment's header is where its function is defined.
    """

    stage: Stage
    plugin: str
    fragment: Fragment
    part: str | None
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPlan:
    """One generated program: its steps in the order in which a packet meets them."""

    hook: Hook
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlan:
    """A map and its owner ('core' for the framework's own).

    `entries` is its size: as declared (`spec.max_entries`), or as it has `grown`, `bound` at most.
    """

    plugin: str
    spec: MapSpec
    grown: int | None = None

    @property
    def entries(self) -> int:
        """How many entries the map has room for."""
        return self.grown or self.spec.max_entries

    @property
    def bound(self) -> int:
        """How many it may ever have room for, by this config."""
        return self.spec.grows_to or self.spec.max_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReason:
    """A drop reason: `id` is the CRC-32 of its name, so it never changes meaning."""

    id: int
    name: str
    plugin: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will run. Two plans that are equal render to the same bytes."""

    config: Config
    plugins: tuple[PluginUse, ...]
    hooks: tuple[HookPlan, ...]
    maps: tuple[MapPlan, ...]
    parts: tuple[FlowPart, ...]
    drops: tuple[DropReason, ...]
    constants: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[str, int], ...]
    headers: Mapping[str, Path]
    tests: tuple[PacketTest, ...]
    sysctls: tuple[Sysctl, ...]
    kernel: Mapping[str, bool]

    @property
    def families(self) -> tuple[int, ...]:
        """The address families that the datapath has, of 4 and 6: those of the pods, else both."""
        return families(self.config)

    @property
    def flow_families(self) -> tuple[int, ...]:
        """Those that have flows: none where only sockets are asked."""
        packets = any(not each.hook.at_sockets for each in self.hooks)
        return self.families if packets else ()


def families(config: Config) -> tuple[int, ...]:
    """The families of the node's pod networks; both when it names none."""
    named = {network.version for network in config.node.pod_cidrs}
    return tuple(sorted(named or {4, 6}))

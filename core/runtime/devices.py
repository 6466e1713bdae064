"""The devices of this namespace, and the cgroup, that a config and its endpoints speak of, as they
come and go.

An endpoint that would take the node's own traffic is left out: one whose interface is an uplink, or
that has an address of the node.
"""

from collections.abc import Collection, Iterable, Iterator, Set

from plait.core.config.model import Config
from plait.core.endpoints.links import (
    Link,
    default_route_devices,
    links,
    node_addresses,
    peer_mac,
)
from plait.core.errors import PlaitError, SystemProblem, raise_all
from plait.core.kernel.cgroups import Cgroup, cgroup_at, default_cgroup, mount_point
from plait.core.kernel.links import Device
from plait.core.objects.model import Address, Endpoint, Meta, Object
from plait.core.objects.nodes import Host
from plait.core.plan.model import Plan
from plait.core.runtime.attachments import Anchors


class LinkTable:
    """Links by name, and the MAC addresses behind those that are veth pairs.

    `by_name` and `macs` are read by the endpoints' handler, and change as links come and go.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Link] = {}
        self.macs: dict[int, str] = {}
        self.uplinks: frozenset[str] = frozenset()
        self._leads_out: set[str] = set()
        self._own: dict[Address, str] = {}

    def refresh(self) -> None:
        """Ask the kernel for all links, and for their addresses."""
        self.by_name.clear()
        self.macs.clear()
        for link in links():
            self.add(link)
        self.refresh_addresses()

    @property
    def own(self) -> tuple[Address, ...]:
        """The node's own addresses, those of its uplinks first."""
        return tuple(sorted(self._own, key=lambda each: self._own[each] not in self.uplinks))

    @property
    def host(self) -> Host:
        """The same as an object."""
        return Host(meta=Meta(name="localhost", namespace=""), addresses=tuple(self._own))

    def refresh_addresses(self) -> Set[Address]:
        """Ask the kernel for the node's own addresses; those that came or went."""
        before = self._own
        self._own = {each: name for name, own in node_addresses().items() for each in own}
        return before.keys() ^ self._own.keys()

    def add(self, link: Link) -> None:
        """A link appeared or changed."""
        for name in [each for each, known in self.by_name.items() if known.index == link.index]:
            del self.by_name[name]
        self.by_name[link.name] = link
        if link.kind == "veth" and (mac := peer_mac(link.index)):
            self.macs[link.index] = mac

    def remove(self, link: Link) -> None:
        """A link is gone."""
        self.by_name.pop(link.name, None)
        self._leads_out.discard(link.name)
        self.macs.pop(link.index, None)

    def wanted(self, config: Config, objects: Iterable[Object]) -> Anchors:
        """The uplinks of the config, the interfaces of endpoints and the cgroup, if they exist.

        With `auto`, a device that was an uplink stays one while it exists: its default route may be
        gone for the moment of a DHCP renewal, replies still come by it.
        """
        uplinks = config.node.devices
        if uplinks is None:
            self._leads_out |= set(default_route_devices())
            uplinks = tuple(sorted(self._leads_out))
        self.uplinks = frozenset(uplinks)
        endpoints = (each for each in objects if isinstance(each, Endpoint))
        return Anchors(
            uplinks=self._devices(uplinks),
            pods=self._devices(each.interface for each in endpoints if not self.refusal(each)),
            cgroup=wanted_cgroup(config),
        )

    def refusal(self, endpoint: Endpoint) -> PlaitError | None:
        """Why an endpoint cannot be served on this node, as it is now; None when it can."""
        if endpoint.interface in self.uplinks:
            return PlaitError(
                f"{endpoint}: {endpoint.interface} is an uplink of this node",
                at=endpoint.at,
                expected="expected the host's side of a workload's interface",
            )
        for address in endpoint.addresses:
            if device := self._own.get(address):
                return PlaitError(
                    f"{endpoint}: {address} is this node's own address, on {device}",
                    at=endpoint.at,
                    expected="expected an address of the workload alone",
                )
        return None

    def check(self, config: Config) -> None:
        """PlaitError for the uplinks that a config names and that do not exist."""
        raise_all(missing_devices(config, self.by_name))

    def _devices(self, names: Iterable[str]) -> tuple[Device, ...]:
        present = (self.by_name.get(name) for name in dict.fromkeys(names))
        return tuple(Device(name=link.name, ifindex=link.index) for link in present if link)


def missing_devices(config: Config, present: Collection[str]) -> Iterator[PlaitError]:
    """An error for each uplink that a config names and that is not `present`."""
    for number, name in enumerate(config.node.devices or ()):
        if name not in present:
            yield PlaitError(
                f"node.devices: there is no interface {name}",
                at=config.locate(("node", "devices", number)),
                expected=f"one of {', '.join(sorted(present))}, or auto",
                hint="ip link",
            )


def wanted_cgroup(config: Config) -> Cgroup | None:
    """The cgroup whose sockets a config is about; None when there is no such cgroup."""
    path = config.node.cgroup or default_cgroup()
    return cgroup_at(path) if path else None


def missing_cgroup(plan: Plan) -> Iterator[PlaitError]:
    """An error when the plan has programs for sockets, and there is no cgroup to attach them to."""
    config = plan.config
    if wanted_cgroup(config) or not any(each.hook.at_sockets for each in plan.hooks):
        return
    path, mount = config.node.cgroup or default_cgroup(), mount_point()
    if mount is None:
        yield SystemProblem(
            "there are no sockets to attach programs to: cgroup v2 is not mounted",
            hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )
    else:
        yield PlaitError(
            f"node.cgroup: {path} is not a directory of cgroup v2",
            at=config.locate(("node", "cgroup")),
            expected=f"{mount}, or one below it",
        )

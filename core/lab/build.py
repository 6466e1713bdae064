"""From a topology to namespaces, wires, routes and pods; each step does what is left to do."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from plait.core.endpoints import namespaces, veth
from plait.core.endpoints.join import join
from plait.core.endpoints.netlink import add_address, find_link, link_index, set_up, socket_in
from plait.core.endpoints.objects import default_folder
from plait.core.kernel import cgroups
from plait.core.lab.state import State
from plait.core.lab.topology import Host, Topology

_BRIDGE = "wire"

_HOST_SYSCTLS = (
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv6/conf/default/accept_dad", "0"),  # else every new address waits for a second
)
_ANYWHERE_SYSCTLS = (("ipv4/tcp_tw_reuse", "1"),)  # short connections do not run out of ports


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """One end of a wire: a device in a namespace."""

    netns: Path
    device: str


def build(topology: Topology, state: State) -> None:
    """Make what `state` lists, as `topology` wants it. Repeatable."""
    for name in state.namespaces:
        namespaces.create(name)
    for cgroup in state.cgroups:
        with suppress(OSError):  # not to be had in some containers, and with that no socket hooks
            cgroups.create(cgroup)
    with ExitStack() as stack:
        sockets = {
            name: stack.enter_context(socket_in(namespaces.RUN / name)) for name in state.namespaces
        }
        for host in topology.hosts:
            _set_up_machine(state.places[host.name].netns, sockets)
        _lay_wires(topology, state, sockets)
        for host in topology.hosts:
            _address_uplinks(host, sockets[state.places[host.name].namespace])
    for host in topology.hosts:
        _add_pods(host, state)


def _set_up_machine(netns: Path, sockets: Mapping[str, IPRoute]) -> None:
    with namespaces.entered(netns):
        for path, value in (*_HOST_SYSCTLS, *_ANYWHERE_SYSCTLS):
            namespaces.set_sysctl(path, value)
    set_up(sockets[netns.name], "lo")


def _lay_wires(topology: Topology, state: State, sockets: Mapping[str, IPRoute]) -> None:
    segments = iter(state.segments)
    for ends in _wire_ends(topology, state):
        if len(ends) == 2:
            _join_ends(*ends, sockets)
        else:
            _join_by_bridge(ends, namespaces.RUN / next(segments), sockets)


def _wire_ends(topology: Topology, state: State) -> Iterator[tuple[_End, ...]]:
    """The ends of each wire; a host's first wire is at its eth0, the next at eth1."""
    used = dict.fromkeys((host.name for host in topology.hosts), 0)
    for wire in topology.wires:
        ends = []
        for host in wire:
            ends.append(_End(netns=state.places[host].netns, device=f"eth{used[host]}"))
            used[host] += 1
        yield tuple(ends)


def _join_by_bridge(ends: Iterable[_End], segment: Path, sockets: Mapping[str, IPRoute]) -> None:
    switch = sockets[segment.name]
    if find_link(switch, _BRIDGE) is None:
        switch.link("add", kind="bridge", ifname=_BRIDGE)
    bridge = link_index(switch, _BRIDGE)
    set_up(switch, _BRIDGE)
    for number, end in enumerate(ends):
        port = _End(netns=segment, device=f"port{number}")
        _join_ends(end, port, sockets)
        switch.link("set", index=link_index(switch, port.device), master=bridge)


def _join_ends(one: _End, other: _End, sockets: Mapping[str, IPRoute]) -> None:
    near, far = sockets[one.netns.name], sockets[other.netns.name]
    if find_link(near, one.device) is None:
        peer = {"ifname": other.device, "net_ns_fd": str(other.netns)}
        near.link("add", kind="veth", ifname=one.device, peer=peer)
    set_up(near, one.device)
    set_up(far, other.device)


def _address_uplinks(host: Host, ipr: IPRoute) -> None:
    for device, addresses in host.uplinks.items():
        for address in addresses:
            index = link_index(ipr, device)
            add_address(ipr, index, address.ip, address.network.prefixlen)
    for route in host.routes:
        ipr.route("replace", dst=str(route.to), gateway=str(route.via))


def _add_pods(host: Host, state: State) -> None:
    place = state.places[host.name]
    for pod in host.pods:
        netns = state.places[pod.name].netns
        with namespaces.entered(place.netns):
            if pod.plain:
                veth.create(pod.name, netns=netns, addresses=pod.addresses)
            else:
                folder = default_folder(place.namespace)
                join(
                    pod.name, netns=netns, folder=folder, addresses=pod.addresses, labels=pod.labels
                )
        with namespaces.entered(netns):
            for path, value in _ANYWHERE_SYSCTLS:
                namespaces.set_sysctl(path, value)

"""What the kernel says of this namespace: its links, its uplinks, its addresses, a pod's MAC."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from plait.core.objects.model import Address

_IFF_UP = 1
_TABLE_MAIN = 254
_SCOPE_GLOBAL = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A network interface. `kind` is `veth`, `bridge`, ...; '' for hardware."""

    index: int
    name: str
    up: bool
    kind: str
    mac: str | None
    mtu: int = 1500
    carrier: bool = True


def links() -> tuple[Link, ...]:
    """Every link of the current namespace, by index."""
    with IPRoute() as ipr:
        return tuple(link_from(message) for message in ipr.get_links())


def link_from(message: ifinfmsg) -> Link:
    """The link that an RTM_NEWLINK or RTM_DELLINK message speaks of."""
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        up=bool(message["flags"] & _IFF_UP),
        kind=message.get(("linkinfo", "kind")) or "",
        mac=message.get("address"),
        mtu=message.get("mtu") or 1500,
        carrier=message.get("carrier") != 0,
    )


def default_route_devices() -> tuple[str, ...]:
    """Names of the devices that a default route of either family uses, in index order."""
    with IPRoute() as ipr:
        indexes: set[int] = set()
        for family in (socket.AF_INET, socket.AF_INET6):
            for route in ipr.get_default_routes(family=family, table=_TABLE_MAIN):
                hops = route.get("multipath") or ()
                indexes |= {route.get("oif"), *(hop["oif"] for hop in hops)} - {None}
        names = {link["index"]: link.get("ifname") for link in ipr.get_links()}
    return tuple(names[index] for index in sorted(indexes & names.keys()))


def node_addresses() -> Mapping[str, tuple[Address, ...]]:
    """Addresses of global scope by device; those of the pods' gateway are not among them."""
    found: dict[str, tuple[Address, ...]] = {}
    with IPRoute() as ipr:
        names = {link["index"]: link.get("ifname") for link in ipr.get_links()}
        for message in ipr.get_addr(scope=_SCOPE_GLOBAL):
            name = names.get(message["index"])
            if name is not None:
                # On a point-to-point link, `address` is the other end.
                own = ip_address(message.get("local") or message.get("address"))
                found[name] = (*found.get(name, ()), own)
    return found


def peer_mac(index: int) -> str | None:
    """The MAC address of a veth's other end; None for other links, and when it cannot be told."""
    with IPRoute() as ipr:
        try:
            near = ipr.link("get", index=index)[0]
            peer, namespace = near.get("link"), near.get("link_netnsid")
            if near.get(("linkinfo", "kind")) != "veth" or peer is None:
                return None
            where = {} if namespace is None else {"if_netnsid": namespace}
            mac: str | None = ipr.link("get", index=peer, **where)[0].get("address")
        except NetlinkError:  # either end vanished
            return None
    return mac

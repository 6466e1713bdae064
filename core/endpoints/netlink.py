"""Steps over netlink that may be repeated: each leaves things as wanted, whatever they were."""

from ipaddress import ip_interface
from pathlib import Path

from pyroute2 import IPRoute

from plait.core.endpoints.namespaces import entered
from plait.core.objects.model import Address

SCOPE_GLOBAL = 0
SCOPE_HOST = 254

_IFA_F_NODAD = 2


def socket_in(netns: Path) -> IPRoute:
    """A netlink socket that speaks for the namespace at `netns`, wherever it is used."""
    with entered(netns):
        return IPRoute()


def find_link(ipr: IPRoute, name: str) -> int | None:
    """The index of the link `name`."""
    return next(iter(ipr.link_lookup(ifname=name)), None)


def link_index(ipr: IPRoute, name: str) -> int:
    """The index of the link `name`, which must be there."""
    index = find_link(ipr, name)
    if index is None:
        raise LookupError(f"no link {name}")
    return index


def set_up(ipr: IPRoute, name: str) -> None:
    ipr.link("set", index=link_index(ipr, name), state="up")


def delete_link(ipr: IPRoute, name: str) -> None:
    index = find_link(ipr, name)
    if index is not None:
        ipr.link("del", index=index)


def add_address(
    ipr: IPRoute, index: int, address: Address, prefix: int, *, scope: int = SCOPE_GLOBAL
) -> None:
    # Duplicate address detection would hold an IPv6 address back for a second.
    flags = _IFA_F_NODAD if address.version == 6 else 0
    ipr.addr(
        "replace", index=index, address=str(address), prefixlen=prefix, scope=scope, flags=flags
    )


def add_neighbour(ipr: IPRoute, index: int, address: Address, mac: str) -> None:
    """A permanent entry: nobody has to ask for the address."""
    ipr.neigh("replace", dst=str(address), lladdr=mac, ifindex=index, state="permanent")


def host_prefix(address: Address) -> str:
    """The network of this one address, as text: 10.0.0.1/32."""
    return str(ip_interface(address).network)

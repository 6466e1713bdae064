"""The veth pair of a workload: a routed cable with one address per family and no shared subnet."""

import errno
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from plait.core.endpoints.namespaces import entered, is_namespace, set_sysctl
from plait.core.endpoints.netlink import (
    SCOPE_HOST,
    add_address,
    add_neighbour,
    delete_link,
    find_link,
    host_prefix,
    link_index,
    set_up,
    socket_in,
)
from plait.core.errors import PlaitError, SystemProblem
from plait.core.objects.model import Address

POD_INTERFACE = "eth0"
GATEWAYS: dict[int, Address] = {4: IPv4Address("169.254.1.1"), 6: IPv6Address("fe80::1")}
"""The next hop of every pod, by IP version: the same everywhere, so pods need no subnet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """The names of a workload's pair, all derived from the workload's name."""

    interface: str
    host_mac: str
    pod_mac: str


def veth_of(name: str) -> Veth:
    """The pair of the workload `name`: the same names and MAC addresses every time."""
    digest = hashlib.blake2b(name.encode(), digest_size=5)
    tail = digest.digest()
    return Veth(
        interface=f"pl{digest.hexdigest()}",
        host_mac=_local_mac(0x02, tail),
        pod_mac=_local_mac(0x06, tail),
    )


def create(name: str, *, netns: Path, addresses: Sequence[Address], mtu: int = 1500) -> Veth:
    """Join the namespace at `netns` to the current one; repeated, it converges on the arguments.

    Raises `PlaitError` when `netns` is no other namespace or has a foreign eth0, `SystemProblem`
    without CAP_NET_ADMIN.
    """
    _check_other_namespace(netns)
    veth = veth_of(name)
    with _explained(name), IPRoute() as host, socket_in(netns) as pod:
        index = _ensure_pair(veth, host, pod, netns)
        pod_index = link_index(pod, POD_INTERFACE)
        _forget_stale(host, index, pod, pod_index, addresses)
        with entered(netns):
            _set_up_pod(veth, pod, pod_index, addresses, mtu)
        _set_up_host(veth, host, index, addresses, mtu)
    return veth


def delete(name: str) -> None:
    """Remove the pair, and with it every address, route and neighbour entry of it. Repeatable."""
    with _explained(name), IPRoute() as host:
        delete_link(host, veth_of(name).interface)


def _check_other_namespace(netns: Path) -> None:
    if is_namespace(netns) and netns.samefile("/proc/thread-self/ns/net"):
        raise PlaitError(
            f"{netns} is the network namespace of this very command",
            expected="expected the namespace of a workload",
            hint="make one with `ip netns add NAME` and give --netns /run/netns/NAME",
        )


def _ensure_pair(veth: Veth, host: IPRoute, pod: IPRoute, netns: Path) -> int:
    """Make the pair unless it stands; return the index of its host side."""
    if not _is_joined(veth, host, pod):
        delete_link(host, veth.interface)  # its other end is in a namespace of former days
        if find_link(pod, POD_INTERFACE) is not None:
            raise PlaitError(
                f"{netns} has an interface {POD_INTERFACE} which is not this endpoint's",
                hint="give each endpoint a namespace of its own, or remove the interface",
            )
        host.link(
            "add",
            kind="veth",
            ifname=veth.interface,
            address=veth.host_mac,
            peer={"ifname": POD_INTERFACE, "address": veth.pod_mac, "net_ns_fd": str(netns)},
        )
    return link_index(host, veth.interface)


def _is_joined(veth: Veth, host: IPRoute, pod: IPRoute) -> bool:
    """Whether the two ends point at each other. Indexes may agree by chance; a MAC does not."""
    near = next(iter(host.get_links(ifname=veth.interface)), None)
    far = next(iter(pod.get_links(ifname=POD_INTERFACE)), None)
    return (
        near is not None
        and far is not None
        and (near.get("link"), far.get("link")) == (far["index"], near["index"])
        and far.get("address") == veth.pod_mac
    )


def _forget_stale(
    host: IPRoute, index: int, pod: IPRoute, pod_index: int, wanted: Sequence[Address]
) -> None:
    """Undo addresses of an earlier call. The pod's goes last: a call cut short begins anew."""
    for message in pod.get_addr(index=pod_index):
        address = ip_address(message.get("address"))
        if address in wanted or address.is_link_local:
            continue
        with suppress(NetlinkError):
            host.route("del", dst=host_prefix(address), oif=index)
        with suppress(NetlinkError):
            host.neigh("del", dst=str(address), ifindex=index)
        pod.addr("del", index=pod_index, address=str(address), prefixlen=message["prefixlen"])


def _set_up_pod(
    veth: Veth, pod: IPRoute, index: int, addresses: Sequence[Address], mtu: int
) -> None:
    if any(address.version == 6 for address in addresses):
        set_sysctl(f"ipv6/conf/{POD_INTERFACE}/disable_ipv6", "0")  # containers turn it off
    set_sysctl(f"ipv6/conf/{POD_INTERFACE}/accept_dad", "0")
    set_sysctl(f"ipv6/conf/{POD_INTERFACE}/accept_ra", "0")
    set_up(pod, "lo")
    pod.link("set", index=index, mtu=mtu, state="up")
    for address in addresses:
        add_address(pod, index, address, address.max_prefixlen)
    for version in sorted({address.version for address in addresses}):
        add_neighbour(pod, index, GATEWAYS[version], veth.host_mac)
        default = "0.0.0.0/0" if version == 4 else "::/0"
        pod.route(
            "replace", dst=default, gateway=str(GATEWAYS[version]), oif=index, flags=["onlink"]
        )


def _set_up_host(
    veth: Veth, host: IPRoute, index: int, addresses: Sequence[Address], mtu: int
) -> None:
    set_sysctl(f"ipv6/conf/{veth.interface}/addr_gen_mode", "1")  # fe80::1 is its only address
    set_sysctl(f"ipv6/conf/{veth.interface}/accept_ra", "0")
    host.link("set", index=index, mtu=mtu, state="up")
    if any(address.version == 4 for address in addresses):
        add_address(host, index, GATEWAYS[4], 32, scope=SCOPE_HOST)
    if any(address.version == 6 for address in addresses):
        add_address(host, index, GATEWAYS[6], 64)
    for address in addresses:
        add_neighbour(host, index, address, veth.pod_mac)
        host.route("replace", dst=host_prefix(address), oif=index)


def _local_mac(first: int, tail: bytes) -> str:
    """A locally administered unicast address: bit 1 of the first byte set, bit 0 clear."""
    return ":".join(f"{byte:02x}" for byte in (first, *tail))


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code == errno.EPERM:
            raise SystemProblem(
                f"the kernel does not let this user change the network of endpoint {name}",
                hint="run the command as root",
            ) from error
        raise

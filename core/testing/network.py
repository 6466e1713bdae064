"""A throw-away network namespace that plays the node: an uplink, pods' interfaces, routes."""

import ctypes
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType
from typing import Self

from pyroute2 import IPRoute, NetlinkError, netns

from plait.core.api.contract import Sysctl
from plait.core.endpoints.links import Link, link_from
from plait.core.endpoints.namespaces import set_sysctl
from plait.core.endpoints.netlink import add_address, host_prefix, link_index
from plait.core.objects.model import Address

NODE: Mapping[int, Address] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}
"""The node's own addresses, by IP version."""

GATEWAY: Mapping[int, Address] = {4: IPv4Address("192.0.2.254"), 6: IPv6Address("2001:db8::fe")}
"""Its default gateways."""

UPLINK = "uplink"

_PREFIX = {4: 24, 6: 64}
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}
_CLONE_NEWNET = 0x40000000
_PATIENCE = 2.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A veth pair: the link on the node, and the MAC address at its other end."""

    link: Link
    far_mac: str


@contextmanager
def private_network() -> Iterator[None]:
    """Run the block in a new network namespace; only the calling thread changes over."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        try:
            yield
        finally:
            netns.setns(home)
    finally:
        os.close(home)


class Network:
    """The links and routes of the current namespace, which must be empty at first.

    Nothing is ever sent: the far ends of the pairs stay in the namespace, too.
    """

    def __init__(self) -> None:
        self._netlink = IPRoute()
        self.uplink = self.add_cable(UPLINK)
        for version, address in NODE.items():
            add_address(self._netlink, self.uplink.link.index, address, _PREFIX[version])
            self.route(_DEFAULT[version], GATEWAY[version])

    def add_cable(self, name: str, *, mtu: int = 1500) -> Cable:
        """A new veth pair, both of its ends up."""
        far = f"{name}-far"
        self._netlink.link("add", ifname=name, kind="veth", peer=far, mtu=mtu)
        for end in (name, far):
            self._netlink.link("set", index=link_index(self._netlink, end), state="up")
        near_link, far_link = self._link(name), self._link(far)
        return Cable(link=near_link, far_mac=far_link.mac or "")

    def route(self, to: str, via: Address) -> None:
        """Route a network to a next hop on the uplink."""
        self._netlink.route("replace", dst=to, gateway=str(via), oif=self.uplink.link.index)

    def route_by(self, to: str, link: Link) -> None:
        """Route a network to a link that all of it is on."""
        self._netlink.route("replace", dst=to, oif=link.index)

    def own(self, address: Address) -> None:
        """Give the node one more address, on its loopback device."""
        index = link_index(self._netlink, "lo")
        self._netlink.link("set", index=index, state="up")
        add_address(self._netlink, index, address, 32 if address.version == 4 else 128)
        # The kernel routes to an IPv6 address by and by, from a work queue.
        deadline = time.monotonic() + _PATIENCE
        while not self._is_reached(address):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the kernel has no route to its own address {address}")
            time.sleep(0.001)

    def _is_reached(self, address: Address) -> bool:
        try:
            return bool(self._netlink.route("get", dst=str(address)))
        except NetlinkError:
            return False

    def refuse(self, address: Address, kind: str) -> None:
        """Route an address nowhere: `kind` is unreachable, blackhole or prohibit."""
        self._netlink.route("replace", dst=host_prefix(address), type=kind)

    def set(self, sysctls: tuple[Sysctl, ...]) -> None:
        """Set what a plan asks for."""
        for sysctl in sysctls:
            set_sysctl(sysctl.path.removeprefix("net/"), sysctl.value)

    def close(self) -> None:
        """Close the netlink socket. The links go with the namespace."""
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _link(self, name: str) -> Link:
        index = link_index(self._netlink, name)
        return link_from(self._netlink.link("get", index=index)[0])

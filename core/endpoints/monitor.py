"""What happens to links, addresses, routes and neighbours of this namespace, as it happens."""

import errno
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from pyroute2 import IPRSocket
from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
    RTMGRP_NEIGH,
    ndmsg,
)

from plait.core.endpoints.links import Link, link_from, links
from plait.core.objects.model import Address

_GROUPS = (
    RTMGRP_LINK
    | RTMGRP_NEIGH
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV4_RULE
    | RTMGRP_IPV6_RULE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChanged:
    """A link appeared (`before` is None), or was renamed, set up or down, or given a MAC."""

    link: Link
    before: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkGone:
    """A link was deleted, or moved to another namespace."""

    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressChanged:
    """A link got an address, or lost it."""

    index: int
    address: Address
    gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteChanged:
    """A route came or went. `index` is None for one without a device, or with several."""

    destination: IPv4Network | IPv6Network
    table: int
    index: int | None
    gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChanged:
    """A rule that says which routing table is asked came or went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourChanged:
    """A neighbour was resolved, moved or forgotten, or did not answer (`failed`). `mac` is None
    while it is not known.
    """

    index: int
    address: Address
    mac: str | None
    failed: bool
    gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost:
    """The kernel dropped messages. Links were compared anew; ask for whatever else you keep."""


Event = (
    LinkChanged
    | LinkGone
    | AddressChanged
    | RouteChanged
    | RuleChanged
    | NeighbourChanged
    | EventsLost
)


class Monitor:
    """A thread that reports every event of the namespace in which `start` was called.

    The callback runs in that thread, one event at a time; it must neither block nor raise.
    """

    def __init__(self, callback: Callable[[Event], None]) -> None:
        self._callback = callback
        self._known: dict[int, Link] = {}
        self._socket = IPRSocket()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="netlink-monitor", daemon=True)

    def start(self) -> None:
        """Listen. First comes a LinkChanged for every link there is."""
        self._socket.bind(groups=_GROUPS)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; no callback comes after this returns."""
        self._wake_writer.close()
        self._thread.join()
        self._wake_reader.close()
        self._socket.close()

    def _run(self) -> None:
        self._compare_links()
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket.socket, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not any(key.fileobj is self._wake_reader for key, _ in selector.select()):
                self._receive()

    def _receive(self) -> None:
        try:
            messages = self._socket.get()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._compare_links()
            self._callback(EventsLost())
            return
        for message in messages:
            self._report(message)

    def _compare_links(self) -> None:
        now = {link.index: link for link in links()}
        for link in [each for index, each in self._known.items() if index not in now]:
            self._link_gone(link)
        for link in now.values():
            self._link_seen(link)

    def _report(self, message: nlmsg) -> None:
        match message["event"]:
            case "RTM_NEWLINK" if message["family"] == socket.AF_UNSPEC:
                self._link_seen(link_from(message))
            case "RTM_DELLINK" if message["family"] == socket.AF_UNSPEC:  # else: left its bridge
                self._link_gone(link_from(message))
            case "RTM_NEWADDR" | "RTM_DELADDR":
                self._callback(_address_changed(message))
            case "RTM_NEWROUTE" | "RTM_DELROUTE":
                self._callback(_route_changed(message))
            case "RTM_NEWRULE" | "RTM_DELRULE":
                self._callback(RuleChanged())
            case "RTM_NEWNEIGH" | "RTM_DELNEIGH" if message["family"] != socket.AF_BRIDGE:
                self._callback(_neighbour_changed(message))
            case _:
                pass

    def _link_seen(self, link: Link) -> None:
        before = self._known.get(link.index)
        if link != before:
            self._known[link.index] = link
            self._callback(LinkChanged(link=link, before=before))

    def _link_gone(self, link: Link) -> None:
        if self._known.pop(link.index, None):
            self._callback(LinkGone(link=link))


def _address_changed(message: nlmsg) -> AddressChanged:
    return AddressChanged(
        index=message["index"],
        address=ip_address(message.get("local") or message.get("address")),
        gone=message["event"] == "RTM_DELADDR",
    )


def _route_changed(message: nlmsg) -> RouteChanged:
    nothing = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    return RouteChanged(
        destination=ip_network(f"{message.get('dst') or nothing}/{message['dst_len']}"),
        table=message.get("table") or message["table"],
        index=message.get("oif"),
        gone=message["event"] == "RTM_DELROUTE",
    )


def _neighbour_changed(message: nlmsg) -> NeighbourChanged:
    return NeighbourChanged(
        index=message["ifindex"],
        address=ip_address(message.get("dst")),
        mac=message.get("lladdr"),
        failed=bool(message["state"] & ndmsg.NUD_FAILED),
        gone=message["event"] == "RTM_DELNEIGH",
    )

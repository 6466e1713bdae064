"""The netlink monitor sees what `ip` does, at once, and the queries agree with the kernel."""

import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from queue import Queue
from typing import TypeVar

import pytest
from pyroute2 import IPRoute

from plait.core.endpoints import links, namespaces, veth
from plait.core.endpoints.monitor import (
    AddressChanged,
    Event,
    EventsLost,
    LinkChanged,
    LinkGone,
    Monitor,
    NeighbourChanged,
    RouteChanged,
)
from plait.core.endpoints.netlink import socket_in

E = TypeVar("E", bound=Event)


class Events:
    """The events of a namespace, in order, with the time at which each was reported."""

    def __init__(self, netns: Path) -> None:
        self._queue: Queue[tuple[float, Event]] = Queue()
        self._monitor = Monitor(lambda event: self._queue.put((time.monotonic(), event)))
        with namespaces.entered(netns):
            self._monitor.start()

    def next(self, kind: type[E], **wanted: object) -> tuple[float, E]:
        """The next event of a kind with such fields; others before it are passed over."""
        while True:
            when, event = self._queue.get(timeout=2)
            fields = {name: getattr(event, name, None) for name in wanted}
            if isinstance(event, kind) and fields == wanted:
                return when, event

    def count(self) -> int:
        return self._queue.qsize()

    def stop(self) -> None:
        self._monitor.stop()


@pytest.fixture
def events(node: Path) -> Iterator[Events]:
    _ip(node, "link set lo up")
    events = Events(node)
    events.next(LinkChanged)
    yield events
    events.stop()


def test_a_link_that_is_there_is_reported_first(node: Path) -> None:
    _ip(node, "link add uplink type veth peer name other")

    events = Events(node)
    seen = {events.next(LinkChanged)[1].link.name for _ in range(3)}
    events.stop()

    assert seen == {"lo", "uplink", "other"}


def test_a_link_appears_goes_up_is_renamed_and_disappears(node: Path, events: Events) -> None:
    _ip(node, "link add before type veth peer name other")
    _, appeared = events.next(LinkChanged, before=None)
    while appeared.link.name != "before":
        _, appeared = events.next(LinkChanged, before=None)
    index = appeared.link.index
    _ip(node, "link set before up")
    went_up = _next_of(events, index)
    _ip(node, "link set before down")
    _next_of(events, index)
    _ip(node, "link set before name after")
    renamed = _next_of(events, index)
    _ip(node, "link del after")
    _, gone = events.next(LinkGone)
    while gone.link.index != index:
        _, gone = events.next(LinkGone)

    assert (appeared.link.kind, appeared.link.up) == ("veth", False)
    assert went_up.link.up
    assert renamed.before is not None
    assert (renamed.before.name, renamed.link.name) == ("before", "after")
    assert gone.link.name == "after"


def test_a_port_that_leaves_its_bridge_is_still_there(node: Path, events: Events) -> None:
    _ip(node, "link add bridge type bridge")
    _ip(node, "link add port type veth peer name other")
    _ip(node, "link set port master bridge")
    _ip(node, "link set port nomaster")
    _ip(node, "link del bridge")

    _, gone = events.next(LinkGone)

    assert gone.link.name == "bridge"


def test_addresses_routes_and_neighbours_come_and_go(node: Path, events: Events) -> None:
    lo = 1
    for command, gone in (("add", False), ("del", True)):
        _ip(node, f"address {command} 192.0.2.7/32 dev lo")
        events.next(AddressChanged, index=lo, address=ip_address("192.0.2.7"), gone=gone)

    for command, gone in (("add", False), ("del", True)):
        _ip(node, f"route {command} 10.9.0.0/16 dev lo")
        network = IPv4Network("10.9.0.0/16")
        events.next(RouteChanged, destination=network, table=254, index=lo, gone=gone)

    _ip(node, "link add near type veth peer name far")
    _ip(node, "link set near up")
    _ip(node, "neigh add 192.0.2.8 lladdr 02:00:00:00:00:08 dev near nud permanent")
    events.next(
        NeighbourChanged, address=ip_address("192.0.2.8"), mac="02:00:00:00:00:08", gone=False
    )
    _ip(node, "neigh change 192.0.2.8 dev near nud failed")
    events.next(NeighbourChanged, address=ip_address("192.0.2.8"), failed=True, mac=None)


def test_an_event_is_reported_within_five_milliseconds(node: Path, events: Events) -> None:
    with socket_in(node) as ipr:
        late = [_delay_of_one_link(ipr, events, number) for number in range(20)]

    assert sorted(late)[len(late) // 2] < 0.005


def test_after_an_overrun_links_are_right_and_the_loss_is_told(node: Path) -> None:
    seen: Queue[Event] = Queue()
    released = threading.Event()

    def slow(event: Event) -> None:
        released.wait()
        seen.put(event)

    monitor = Monitor(slow)
    with namespaces.entered(node):
        monitor.start()
    flood = (f"address add 10.{n >> 8}.{n & 255}.1/32 dev lo\n" for n in range(5000))
    _ip_batch(node, "".join(flood) + "link add missed type veth peer name other\n")

    released.set()

    names = set()
    while not isinstance(event := seen.get(timeout=5), EventsLost):
        if isinstance(event, LinkChanged):
            names.add(event.link.name)
    monitor.stop()
    assert "missed" in names


def test_after_stop_nothing_is_reported(node: Path) -> None:
    events = Events(node)
    events.next(LinkChanged)
    events.stop()
    before = events.count()

    _ip(node, "link add late type veth peer name other")

    assert events.count() == before


def test_the_mac_of_the_other_end_is_told_across_namespaces(node: Path, pod: Path) -> None:
    with namespaces.entered(node):
        pair = veth.create("web", netns=pod, addresses=[ip_address("10.244.1.10")])
        found = {link.name: link for link in links.links()}

        assert links.peer_mac(found[pair.interface].index) == pair.pod_mac
        assert links.peer_mac(found["lo"].index) is None
        assert links.peer_mac(4711) is None


def test_the_mac_of_the_other_end_is_told_within_a_namespace(node: Path) -> None:
    _ip(node, "link add near type veth peer name far address 02:00:00:00:00:0b")

    with namespaces.entered(node):
        index = next(link.index for link in links.links() if link.name == "near")

        assert links.peer_mac(index) == "02:00:00:00:00:0b"


def test_uplinks_are_the_devices_of_the_default_routes_of_both_families(node: Path) -> None:
    for name in ("up4", "up6", "other"):
        _ip(node, f"link add {name} type veth peer name {name}p")
        _ip(node, f"link set {name} up")
        _ip(node, f"link set {name}p up")
    _ip(node, "address add 192.0.2.1/24 dev up4")
    _ip(node, "route add default via 192.0.2.254")
    _ip(node, "-6 route add default via fe80::9 dev up6")

    with namespaces.entered(node):
        devices = links.default_route_devices()

    assert devices == ("up4", "up6")


def test_every_next_hop_of_a_default_route_is_an_uplink(node: Path) -> None:
    for number, name in enumerate(("one", "two")):
        _ip(node, f"link add {name} type veth peer name {name}p")
        _ip(node, f"link set {name} up")
        _ip(node, f"link set {name}p up")
        _ip(node, f"address add 192.0.{number}.1/24 dev {name}")
    _ip(node, "route add default nexthop via 192.0.0.254 nexthop via 192.0.1.254")

    with namespaces.entered(node):
        devices = links.default_route_devices()

    assert devices == ("one", "two")


def test_addresses_of_the_node_are_told_without_the_pods_gateway(node: Path, pod: Path) -> None:
    _ip(node, "link set lo up")
    _ip(node, "address add 192.0.2.1/32 dev lo")
    _ip(node, "address add 2001:db8::1/128 dev lo")

    with namespaces.entered(node):
        veth.create("web", netns=pod, addresses=[ip_address("10.244.1.10")])
        found = links.node_addresses()

    assert found == {"lo": (ip_address("192.0.2.1"), ip_address("2001:db8::1"))}


def _delay_of_one_link(ipr: IPRoute, events: Events, number: int) -> float:
    name = f"fast{number}"
    ipr.link("add", kind="veth", ifname=name, peer={"ifname": f"p{number}"})
    made = time.monotonic()
    when, event = events.next(LinkChanged, before=None)
    while event.link.name != name:
        when, event = events.next(LinkChanged, before=None)
    return when - made


def _next_of(events: Events, index: int) -> LinkChanged:
    while True:
        _, event = events.next(LinkChanged)
        if event.link.index == index:
            return event


def _ip(netns: Path, command: str) -> None:
    subprocess.run(["nsenter", f"--net={netns}", "ip", *command.split()], check=True)


def _ip_batch(netns: Path, commands: str) -> None:
    ip = ["nsenter", f"--net={netns}", "ip", "-batch", "-"]
    subprocess.run(ip, input=commands, text=True, check=True)

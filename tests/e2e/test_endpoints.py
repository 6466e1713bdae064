"""Workloads that come and go while the agent runs: attached at once, and nothing left behind."""

import fcntl
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from plait.core.endpoints import namespaces, veth
from plait.core.kernel.links import Device, Direction, programs_on
from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.state import Place
from plait.core.lab.traffic.connect import Connected
from plait.core.runtime.decoding import entries
from plait.core.runtime.reading import running
from support.nodes import Node, quickstart
from support.sockets import ask, tcp, udp

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000  # linux/if_tun.h
VM = """\
apiVersion: plait/v1
kind: Endpoint
metadata: {{name: vm}}
spec: {{interface: vm0, addresses: [{address}], mac: "{mac}"}}
"""

SERVICE = ("10.96.0.10", "fd00:10:96::10")
INTERFACE = veth.veth_of("late").interface


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-endpoints") as lab:
        for name in ("web-1", "web-2", "web-3"):
            serve(lab, name)
        yield lab


@pytest.fixture(params=["tcx", "clsact"])
def node(lab: Lab, cache: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    text = node.config.read_text()
    node.config.write_text(text.replace("node:\n", f"node:\n  attach: {request.param}\n"))
    yield node.start()
    node.plait("endpoint", "del", "late")
    node.detach()


@pytest.fixture
def late() -> Iterator[Path]:
    """A namespace that nobody has joined yet."""
    name = f"e2e-late-{os.getpid()}"
    yield namespaces.create(name)
    namespaces.remove(name)


def test_an_endpoint_is_served_within_fifty_milliseconds(node: Node, late: Path) -> None:
    with namespaces.entered(node.lab.hosts["node-a"].netns):
        added = subprocess.Popen(node.command("endpoint", "add", "late", *_options(late)))
        node.wait_for(lambda: INTERFACE in _interfaces())
        appeared = time.monotonic()
        node.wait_for(lambda: len(_programs()) == 2)
        attached = time.monotonic()
    added.wait(10)

    assert attached - appeared < 0.25, "50 ms on a machine that does nothing else"
    node.wait_for(lambda: len(_entries(node)) == 2)
    assert _asks(node.lab, late, SERVICE[0])
    assert _asks(node.lab, late, SERVICE[1])


def test_a_deleted_endpoint_leaves_nothing(node: Node, late: Path) -> None:
    before = _host(node)
    pins = _pins(node)
    _add(node, late)
    assert _pins(node) != pins

    done = node.plait("endpoint", "del", "late")
    node.wait_for(lambda: not _entries(node))
    node.wait_for(lambda: _pins(node) == pins)

    assert done.returncode == 0
    assert _host(node) == before
    assert "late" not in node.plait("endpoint", "list").stdout
    assert node.plait("status").returncode == 0


def test_the_flows_of_a_deleted_endpoint_are_forgotten(node: Node, late: Path) -> None:
    _add(node, late)
    with namespaces.entered(node.lab.hosts["node-a"].netns):
        zone = socket.if_nametoindex(INTERFACE)
    assert _asks(node.lab, late, SERVICE[0])
    assert zone in _zones(node)

    node.plait("endpoint", "del", "late")

    node.wait_for(lambda: zone not in _zones(node))


def test_a_virtual_machine_is_served_by_its_tap_device(node: Node) -> None:
    address, mac = "10.244.1.50", "02:00:00:00:00:50"
    with namespaces.entered(node.lab.hosts["node-a"].netns):
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"vm0", IFF_TAP | IFF_NO_PI))
        subprocess.run(["ip", "link", "set", "vm0", "up"], check=True)
    try:
        node.write("vm.yaml", VM.format(address=address, mac=mac))

        with udp(node.lab.pods["web-1"], address) as sender:
            sender.sendto(b"to the machine", (address, 9))
        frames = _received(tap)

        [frame] = [each for each in frames if b"to the machine" in each]
        assert frame[:6] == bytes.fromhex(mac.replace(":", ""))
    finally:
        os.close(tap)
        (node.objects / "vm.yaml").unlink()


def test_add_and_del_may_be_repeated(node: Node, late: Path) -> None:
    first = node.plait("endpoint", "add", "late", *_options(late))
    second = node.plait("endpoint", "add", "late", *_options(late))
    listed = json.loads(node.plait("endpoint", "list", "--json").stdout)
    gone = [node.plait("endpoint", "del", "late") for _ in range(2)]

    assert first.stdout == second.stdout
    assert [each["labels"] for each in listed if each["name"] == "late"] == [{"app": "late"}]
    assert [each.returncode for each in gone] == [0, 0]


def test_an_interface_that_is_deleted_behind_plaits_back_is_let_go_and_taken_up_again(
    node: Node, late: Path
) -> None:
    pins = _pins(node)
    _add(node, late)

    node.lab.run("node-a", "ip", "link", "del", INTERFACE)
    node.wait_for(lambda: not _entries(node) and _pins(node) == pins)
    _add(node, late)

    assert _asks(node.lab, late, SERVICE[0])


def test_an_endpoint_is_left_out_while_the_node_itself_has_its_address(
    node: Node, late: Path
) -> None:
    pins = _pins(node)
    _add(node, late)
    address = ("10.244.1.2/32", "dev", "eth0")

    node.lab.run("node-a", "ip", "address", "add", *address)
    node.wait_for(lambda: not _entries(node) and _pins(node) == pins)
    told = node.settled().problems
    node.lab.run("node-a", "ip", "address", "del", *address)
    node.wait_for(lambda: len(_entries(node)) == 2)

    assert "10.244.1.2 is this node's own address, on eth0" in told[0]
    assert node.settled().problems == []


def test_an_endpoint_is_left_out_while_a_default_route_leaves_by_its_interface(
    node: Node, late: Path
) -> None:
    _add(node, late)
    route = ("default", "dev", INTERFACE, "metric", "9999")

    node.lab.run("node-a", "ip", "route", "add", *route)
    node.wait_for(lambda: not _entries(node))
    told = node.settled().problems

    assert f"{INTERFACE} is an uplink of this node" in told[0]


def test_an_endpoint_that_came_while_no_agent_ran_is_served_by_the_next(
    node: Node, late: Path
) -> None:
    node.kill()
    done = node.plait("endpoint", "add", "late", *_options(late))

    node.start()

    assert done.returncode == 0, done.stderr
    assert _asks(node.lab, late, SERVICE[0])


def test_an_endpoint_that_went_while_no_agent_ran_leaves_nothing(node: Node, late: Path) -> None:
    pins = _pins(node)
    _add(node, late)
    node.kill()
    node.plait("endpoint", "del", "late")

    node.start()

    assert _entries(node) == []
    assert _pins(node) == pins


def test_others_notice_nothing_of_twenty_endpoints_that_come_and_go(node: Node, late: Path) -> None:
    pods = start(node.lab, "client", Connected, f"{SERVICE[0]}:80", "--timeout", "1")

    with namespaces.entered(node.lab.hosts["node-a"].netns):
        for number in range(20):
            veth.create("late", netns=late, addresses=[ip_address("10.244.1.99")])
            if number % 2:
                time.sleep(0.02)
            veth.delete("late")

    assert pods.stop().errors == {}
    assert node.status().error is None


def _add(node: Node, netns: Path) -> None:
    done = node.plait("endpoint", "add", "late", *_options(netns))
    assert done.returncode == 0, done.stderr
    node.wait_for(lambda: len(_entries(node)) == 2)
    with namespaces.entered(node.lab.hosts["node-a"].netns):
        node.wait_for(lambda: len(_programs()) == 2)


def _options(netns: Path) -> tuple[str, ...]:
    return ("--netns", str(netns), "--label", "app=late")


def _received(tap: int) -> list[bytes]:
    """The frames that have come within a while."""
    frames = []
    for _ in range(20):
        time.sleep(0.02)
        try:
            frames.append(os.read(tap, 2048))
        except BlockingIOError:
            continue
    return frames


def _zones(node: Node) -> set[int]:
    return {zone for flow in node.flows() for zone in (flow.zone, flow.oif)}


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def _programs() -> list[object]:
    try:
        device = Device(name=INTERFACE, ifindex=socket.if_nametoindex(INTERFACE))
        return [each for way in Direction for each in programs_on(device, way)]
    except OSError:
        return []


def _entries(node: Node) -> list[object]:
    """Entries of the endpoints' map beyond those of the lab's own six addresses."""
    with running(node.paths) as generation:
        found = entries(generation.maps["plait_endpoints"])
    return list(found[6:])


def _pins(node: Node) -> list[str]:
    return sorted(pin.name for pin in (node.paths.pins / "links").iterdir())


def _host(node: Node) -> str:
    commands = (
        "ip -br link",
        "ip route show table all",
        "ip -6 route show table all",
        "ip neigh show nud permanent",  # others come and go by themselves
    )
    return "\n".join(node.lab.run("node-a", *each.split()).stdout for each in commands)


def _asks(lab: Lab, netns: Path, address: str) -> bool:
    """Whether the late pod is answered by a service."""
    with tcp(Place(name="late", namespace=netns.name, addresses=()), address) as sock:
        sock.connect((address, 80))
        return ask(sock) in {"web-1", "web-2", "web-3"}

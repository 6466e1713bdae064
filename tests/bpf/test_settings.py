"""Kernel settings that Plait changes are set back, whenever it was killed."""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether

from plait.core.api import Sysctl
from plait.core.kernel.pins import Paths
from plait.core.runtime.actions import PROC_SYS, WriteSysctl, perform
from plait.core.runtime.datapath import Datapath
from plait.core.runtime.settings import changes

FORWARDING = "net/ipv4/ip_forward"
FORWARDING_ON = (
    Sysctl(path=FORWARDING, value="1"),
    Sysctl(path="net/ipv6/conf/all/forwarding", value="1"),
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The folders of an instance that has never run."""
    pins, run, state, cache = (tmp_path / name for name in ("pins", "run", "state", "cache"))
    paths = Paths(pins=pins, run=run, state=state, cache=cache)
    paths.make()
    return paths


@pytest.mark.usefixtures("namespace")
def test_a_setting_is_set_back_after_a_kill_before_the_first_commit(paths: Paths) -> None:
    WriteSysctl(run=paths.run, path=FORWARDING, value="1", before="0").do()

    Datapath.adopt(paths).detach()

    assert (PROC_SYS / FORWARDING).read_text() == "0\n"


@pytest.mark.usefixtures("namespace")
def test_the_value_before_the_first_change_is_the_one_that_comes_back(paths: Paths) -> None:
    WriteSysctl(run=paths.run, path=FORWARDING, value="1", before="0").do()
    WriteSysctl(run=paths.run, path=FORWARDING, value="1", before="1").do()

    Datapath.adopt(paths).detach()

    assert (PROC_SYS / FORWARDING).read_text() == "0\n"


@pytest.mark.usefixtures("namespace")
def test_forwarding_of_each_device_is_set_back(paths: Paths) -> None:
    ip("link add near type veth peer far")
    near, far = (PROC_SYS / f"net/ipv4/conf/{name}/forwarding" for name in ("near", "far"))
    near.write_text("1")

    perform(changes(paths.run, FORWARDING_ON))
    during = near.read_text(), far.read_text()
    Datapath.adopt(paths).detach()

    assert during == ("1\n", "1\n")
    assert (near.read_text(), far.read_text()) == ("1\n", "0\n")


@pytest.mark.usefixtures("namespace")
def test_a_default_route_from_router_advertisements_survives(paths: Paths) -> None:
    accept_ra = PROC_SYS / "net/ipv6/conf/near/accept_ra"
    ip("link add near type veth peer far")
    for name in ("near", "far"):
        (PROC_SYS / f"net/ipv6/conf/{name}/accept_dad").write_text("0")
        ip(f"link set {name} up")
    advertise("far")
    wait_until(lambda: "proto ra" in ip("-6 route show default"))

    perform(changes(paths.run, FORWARDING_ON))
    during = ip("-6 route show default"), accept_ra.read_text()
    Datapath.adopt(paths).detach()

    assert "proto ra" in during[0]
    assert (during[1], accept_ra.read_text()) == ("2\n", "1\n")


def ip(arguments: str) -> str:
    return subprocess.run(
        ["ip", *arguments.split()], check=True, capture_output=True, text=True
    ).stdout


def advertise(device: str) -> None:
    """Send a router advertisement."""
    advertisement = (
        Ether(dst="33:33:00:00:00:01", src="02:00:00:00:00:99")
        / IPv6(src="fe80::99", dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=1800)
        / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:99")
    )
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((device, 0))
        wire.send(bytes(advertisement))


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)

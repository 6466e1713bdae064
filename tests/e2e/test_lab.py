"""Labs without a datapath: the kernel alone forwards, and the traffic tools see what it does."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from plait.core.endpoints import namespaces, objects
from plait.core.errors import PlaitError
from plait.core.kernel import cgroups
from plait.core.lab import state
from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.topology import Route, Topology, parse_topology
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed

TWO_NODES = """\
apiVersion: plait/v1
kind: Lab
name: plaittest
hosts:
  node-a:
    addresses: [192.0.2.1/24, "2001:db8::1/64"]
    routes:
      - {to: 10.244.2.0/24, via: 192.0.2.2}
      - {to: "fd00:10:244:2::/64", via: "2001:db8::2"}
    pods:
      client: {addresses: [10.244.1.10, "fd00:10:244:1::10"], labels: {app: client}}
      near: {addresses: [10.244.1.11, "fd00:10:244:1::11"], labels: {app: web}}
      plain: {addresses: [10.244.1.12], plain: true}
  node-b:
    addresses: [192.0.2.2/24, "2001:db8::2/64"]
    routes:
      - {to: 10.244.1.0/24, via: 192.0.2.1}
      - {to: "fd00:10:244:1::/64", via: "2001:db8::1"}
    pods:
      far: {addresses: [10.244.2.10, "fd00:10:244:2::10"], labels: {app: web}}
"""

NEAR = ("10.244.1.11", "[fd00:10:244:1::11]")
FAR = ("10.244.2.10", "[fd00:10:244:2::10]")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab.up(_topology()) as lab:
        serve(lab, "near")
        serve(lab, "far")
        yield lab


@pytest.mark.parametrize("address", [*NEAR, *FAR])
def test_a_pod_reaches_pods_of_its_own_and_of_the_other_host(lab: Lab, address: str) -> None:
    server = "near" if address in NEAR else "far"

    stream = start(lab, "client", Streamed, f"{address}:8080", "--seconds", "0.3")
    short = start(lab, "client", Connected, f"{address}:8080", "--seconds", "0.3")

    streamed, connected = stream.result(), short.result()
    assert (streamed.lost, streamed.duplicates, streamed.foreign) == (0, 0, 0)
    assert streamed.servers == {server: streamed.sent}
    assert connected.errors == {}
    assert connected.backends == {server: connected.connects}


def test_a_host_reaches_its_pods_and_a_pod_its_host(lab: Lab) -> None:
    to_pod = start(lab, "node-a", Connected, f"{NEAR[0]}:8080", "--seconds", "0.1").result()
    to_host = lab.run("client", "ping", "-c", "1", "-W", "1", "192.0.2.1")

    assert to_pod.errors == {}
    assert "1 received" in to_host.stdout


def test_two_hundred_connections_stay_open_and_talk(lab: Lab) -> None:
    hold = start(lab, "client", Held, f"{FAR[0]}:8080", "--seconds", "1")

    held = hold.result()

    assert (held.opened, held.failed, held.reset, held.stalled, held.corrupt) == (200, 0, 0, 0, 0)
    assert held.exchanged >= 200 * 5
    assert held.backends == {"far": 200}


def test_a_break_of_a_tenth_of_a_second_shows_as_lost_numbers(lab: Lab) -> None:
    stream = start(lab, "client", Streamed, f"{FAR[0]}:8080", "--seconds", "1", "--rate", "1000")
    time.sleep(0.4)

    _drop_udp_for(lab, "node-b", 0.1)

    streamed = stream.result()
    assert 20 < streamed.lost < 300
    assert streamed.max_gap_ms > 60
    assert max(last - first + 1 for first, last in streamed.lost_ranges) > 20


def test_a_broken_connection_shows_as_reset(lab: Lab) -> None:
    server = serve(lab, "near", "--listen", "10.244.1.11:9090")
    hold = start(lab, "client", Held, "10.244.1.11:9090", "--count", "5", "--seconds", "0.8")
    time.sleep(0.4)

    server.stop()

    held = hold.result()
    assert (held.opened, held.reset) == (5, 5)


def test_the_end_of_a_tool_is_a_signal_and_its_report(lab: Lab) -> None:
    stream = start(lab, "client", Streamed, f"{NEAR[0]}:8080", "--rate", "500")
    time.sleep(0.5)

    streamed = stream.stop()

    assert streamed.sent > 50
    assert streamed.lost == 0


def test_pods_are_endpoints_of_their_host_except_plain_ones(lab: Lab) -> None:
    folder = objects.default_folder(lab.hosts["node-a"].namespace)

    endpoints = objects.read_all(folder)

    assert [endpoint.meta.name for endpoint in endpoints] == ["client", "near"]
    assert endpoints[0].meta.labels == {"app": "client"}


def test_commands_in_a_namespace_see_the_same_files(lab: Lab) -> None:
    mounts = Path("/proc/self/mounts").read_text()

    seen = lab.run("client", "cat", "/proc/self/mounts").stdout

    assert seen == mounts, "ip netns exec would have hidden /sys/fs/bpf"


@pytest.mark.parametrize("where", ["node-a", "client", "plain"])
def test_commands_are_in_the_cgroup_of_their_host(lab: Lab, where: str) -> None:
    ran = lab.run(where, "sh", "-c", "cat /proc/self/cgroup; printenv PLAIT_CGROUP")

    assert "0::/plait-plaittest-node-a\n" in ran.stdout
    assert ran.stdout.endswith(f"{cgroups.mount_point()}/plait-plaittest-node-a\n")


def test_up_again_breaks_nothing(lab: Lab) -> None:
    stream = start(lab, "client", Streamed, f"{FAR[0]}:8080", "--seconds", "0.8")
    time.sleep(0.3)

    Lab.up(_topology())

    assert stream.result().lost == 0


def test_up_again_mends_what_is_missing(lab: Lab) -> None:
    lab.run("node-a", "ip", "link", "del", "eth0")

    Lab.up(_topology())

    assert start(lab, "client", Connected, f"{FAR[0]}:8080", "--seconds", "0.1").result().connects


def test_a_name_that_is_not_in_the_lab_is_an_error(lab: Lab) -> None:
    with pytest.raises(PlaitError, match="has no 'nobody'"):
        lab.run("nobody", "true")


def test_down_ends_processes_and_leaves_nothing() -> None:
    lab = Lab.up(_topology(), name="plaittest-gone")
    sleeper = lab.popen("client", "sleep", "60")
    folder = objects.default_folder(lab.hosts["node-a"].namespace).parent
    assert folder.exists()

    lab.down()
    lab.down()

    assert sleeper.poll() is not None
    assert state.load("plaittest-gone") is None
    assert not list(namespaces.RUN.glob("plaittest-gone*"))
    assert not folder.exists()
    assert not list((cgroups.mount_point() or Path()).glob("plait-plaittest-gone*"))


def test_a_lab_with_another_topology_takes_the_place_of_the_old_one() -> None:
    Lab.up(_topology(), name="plaittest-other")

    with Lab.up(_topology("{a: {addresses: [192.0.2.1/24]}}"), name="plaittest-other") as lab:
        assert [path.name for path in namespaces.RUN.glob("plaittest-other-*")] == [
            "plaittest-other-a"
        ]
        assert "192.0.2.1/24" in lab.run("a", "ip", "-br", "address", "show", "eth0").stdout


def test_three_hosts_on_a_bridge_reach_each_other() -> None:
    hosts = "{a: {addresses: [192.0.2.1/24]}, b: {addresses: [192.0.2.2/24]}, c: {}}"

    with Lab.up(_topology(hosts), name="plaittest-three") as lab:
        ping = lab.run("a", "ping", "-c", "1", "-W", "1", "192.0.2.2")

    assert "1 received" in ping.stdout


def test_a_lab_that_cannot_be_built_leaves_nothing() -> None:
    topology = _topology("{a: {}}")
    nowhere = Route(to=IPv4Network("10.0.0.0/8"), via=IPv4Address("192.0.2.9"))
    broken = replace(topology, hosts=(replace(topology.hosts[0], routes=(nowhere,)),))

    with pytest.raises(Exception, match="nreachable"):
        Lab.up(broken, name="plaittest-broken")

    assert not list(namespaces.RUN.glob("plaittest-broken*"))


def test_the_command_line_builds_runs_shows_and_removes(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(TWO_NODES.replace("plaittest", "plaittest-cli"))

    up = _plait("up", str(file))
    ran = _plait("exec", "--lab", "plaittest-cli", "client", "--", "ip", "-br", "address")
    shown = _plait("status")
    down = _plait("down", "plaittest-cli")

    assert "node-a, node-b, client, near, plain, far" in up
    assert "10.244.1.10/32" in ran
    assert "client: 10.244.1.10, fd00:10:244:1::10" in shown
    assert down == "lab plaittest-cli is down\n"


def _topology(hosts: str | None = None) -> Topology:
    text = TWO_NODES
    if hosts:
        text = TWO_NODES.split("hosts:", maxsplit=1)[0] + f"hosts: {hosts}\n"
    return parse_topology(text, Path("lab.yaml"))


def _drop_udp_for(lab: Lab, host: str, seconds: float) -> None:
    rule = "add table inet cut; add chain inet cut f {type filter hook forward priority 0;};"
    lab.run(host, "nft", f"{rule} add rule inet cut f meta l4proto udp drop")
    time.sleep(seconds)
    lab.run(host, "nft", "delete table inet cut")


def _plait(*arguments: str) -> str:
    plait = shutil.which("plait", path=str(Path(sys.executable).parent)) or "plait"
    command = [plait, "lab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

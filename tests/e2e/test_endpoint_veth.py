"""The cable of a workload, in the kernel: made, made again, changed, removed."""

import json
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from plait.core.endpoints import namespaces, objects, veth
from plait.core.endpoints.join import join, leave
from plait.core.errors import PlaitError
from plait.core.objects.model import Address

V4 = ip_address("10.244.1.10")
V6 = ip_address("fd00:10:244:1::10")
OTHER = ip_address("10.244.1.99")


def test_the_node_reaches_the_pod_and_the_pod_its_gateways(node: Path, pod: Path) -> None:
    _give_node_addresses(node)

    _create(node, pod, V4, V6)

    assert _pings(node, str(V4))
    assert _pings(node, str(V6))
    assert _pings(pod, "192.0.2.1")
    assert _pings(pod, "2001:db8::1")


def test_the_pod_has_host_addresses_and_fixed_neighbours(node: Path, pod: Path) -> None:
    pair = _create(node, pod, V4, V6)

    assert _addresses(pod, "eth0") == {f"{V4}/32", f"{V6}/128"}
    assert _neighbours(pod) == {
        "169.254.1.1": (pair.host_mac, "PERMANENT"),
        "fe80::1": (pair.host_mac, "PERMANENT"),
    }
    assert _neighbours(node) == {
        str(V4): (pair.pod_mac, "PERMANENT"),
        str(V6): (pair.pod_mac, "PERMANENT"),
    }


def test_nothing_asks_who_has_an_address(node: Path, pod: Path) -> None:
    _give_node_addresses(node)
    pair = _create(node, pod, V4, V6)
    options = ["--immediate-mode", "-lni", pair.interface, "arp or icmp6[0] == 135"]
    tcpdump = subprocess.Popen(
        [*_in(node), "tcpdump", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tcpdump.stderr is not None
    while "listening on" not in tcpdump.stderr.readline():
        pass

    assert _pings(node, str(V4))
    assert _pings(pod, "2001:db8::1")

    tcpdump.terminate()
    output, _ = tcpdump.communicate()
    assert output.strip() == ""


def test_making_it_again_changes_nothing(node: Path, pod: Path) -> None:
    _create(node, pod, V4, V6)
    before = _picture(node), _picture(pod)

    _create(node, pod, V4, V6)

    assert (_picture(node), _picture(pod)) == before


def test_another_address_takes_the_place_of_the_old_one(node: Path, pod: Path) -> None:
    _give_node_addresses(node)
    _create(node, pod, V4, V6)

    pair = _create(node, pod, OTHER)

    assert _addresses(pod, "eth0") == {f"{OTHER}/32"}
    assert _neighbours(node) == {str(OTHER): (pair.pod_mac, "PERMANENT")}
    assert str(V4) not in _ip(node, "route")
    assert _pings(node, str(OTHER))


def test_the_mtu_is_that_of_both_ends(node: Path, pod: Path) -> None:
    with namespaces.entered(node):
        pair = veth.create("web", netns=pod, addresses=[V4], mtu=1400)

    assert "mtu 1400" in _ip(node, "link", "show", pair.interface)
    assert "mtu 1400" in _ip(pod, "link", "show", "eth0")


def test_a_workload_that_moved_to_another_namespace_gets_a_new_cable(
    node: Path, pod: Path, tmp_path: Path
) -> None:
    moved = namespaces.create(f"{pod.name}-moved")
    try:
        _give_node_addresses(node)
        _create(node, pod, V4)

        _create(node, moved, V4)

        assert _pings(node, str(V4))
        assert "eth0" not in _ip(pod, "link")
    finally:
        namespaces.remove(moved.name)


def test_an_interrupted_removal_of_the_pod_side_is_mended(node: Path, pod: Path) -> None:
    _give_node_addresses(node)
    pair = _create(node, pod, V4)
    _ip(pod, "link", "set", "eth0", "down")
    _ip(node, "neigh", "flush", "dev", pair.interface, "nud", "permanent")

    _create(node, pod, V4)

    assert _pings(node, str(V4))


def test_removing_leaves_nothing_and_may_be_repeated(node: Path, pod: Path) -> None:
    _create(node, pod, V4, V6)

    with namespaces.entered(node):
        veth.delete("web")
        veth.delete("web")

    assert "pl" not in _ip(node, "link")
    assert "eth0" not in _ip(pod, "link")
    assert str(V4) not in _ip(node, "route")


def test_a_foreign_eth0_is_left_alone(node: Path, pod: Path) -> None:
    _ip(pod, "link", "add", "eth0", "type", "veth", "peer", "name", "foreign")

    with pytest.raises(PlaitError, match="eth0 which is not this endpoint's"):
        _create(node, pod, V4)

    assert "eth0" in _ip(pod, "link")


def test_the_nodes_own_namespace_is_refused(node: Path) -> None:
    with pytest.raises(PlaitError, match="namespace of this very command"):
        _create(node, node, V4)


def test_a_path_that_is_no_namespace_is_refused(node: Path, tmp_path: Path) -> None:
    with pytest.raises(PlaitError, match="is not a network namespace"):
        _create(node, tmp_path, V4)


def test_joining_writes_an_object_and_leaving_removes_it(
    node: Path, pod: Path, tmp_path: Path
) -> None:
    with namespaces.entered(node):
        joined = join("web", netns=pod, folder=tmp_path, addresses=[V4], labels={"app": "web"})
        found = objects.read_all(tmp_path)
        leave("web", folder=tmp_path)
        leave("web", folder=tmp_path)

    assert found == (joined,)
    assert joined.interface == veth.veth_of("web").interface
    assert objects.read_all(tmp_path) == ()
    assert joined.interface not in _ip(node, "link")


def test_a_refused_join_touches_nothing(node: Path, pod: Path, tmp_path: Path) -> None:
    with namespaces.entered(node), pytest.raises(PlaitError, match="name is 'Web_1'"):
        join("Web_1", netns=pod, folder=tmp_path, addresses=[V4])

    assert "eth0" not in _ip(pod, "link")
    assert objects.read_all(tmp_path) == ()


def test_an_address_of_the_node_is_nobody_elses(node: Path, pod: Path, tmp_path: Path) -> None:
    _ip(node, "address", "add", f"{V4}/32", "dev", "lo")

    with namespaces.entered(node), pytest.raises(PlaitError, match="this node itself has"):
        join("web", netns=pod, folder=tmp_path, addresses=[V4])

    assert "eth0" not in _ip(pod, "link")


def test_the_command_line_adds_lists_and_removes(node: Path, pod: Path) -> None:
    instance = pod.name
    try:
        added = _plait(
            node, instance, "add", "web", "--netns", str(pod), "--ip", str(V4), "--label", "app=web"
        )
        listed = json.loads(_plait(node, instance, "list", "--json"))
        _plait(node, instance, "del", "web")
        after = _plait(node, instance, "list")
    finally:
        objects.default_folder(instance).rmdir()
        objects.default_folder(instance).parent.rmdir()

    pair = veth.veth_of("web")
    assert added == f"web: {pair.interface} {V4} app=web\n"
    assert listed == [
        {
            "name": "web",
            "labels": {"app": "web"},
            "interface": pair.interface,
            "addresses": [str(V4)],
            "mac": pair.pod_mac,
        }
    ]
    assert after == ""


def _create(node: Path, pod: Path, *addresses: Address) -> veth.Veth:
    with namespaces.entered(node):
        return veth.create("web", netns=pod, addresses=addresses)


def _give_node_addresses(node: Path) -> None:
    _ip(node, "link", "set", "lo", "up")
    _ip(node, "address", "add", "192.0.2.1/32", "dev", "lo")
    _ip(node, "address", "add", "2001:db8::1/128", "dev", "lo")


def _pings(netns: Path, address: str) -> bool:
    ping = [*_in(netns), "ping", "-c", "1", "-W", "1", address]
    return subprocess.run(ping, check=False, capture_output=True).returncode == 0


def _addresses(netns: Path, device: str) -> set[str]:
    """Without the link-local one that the kernel adds."""
    found = json.loads(_ip(netns, "-j", "address", "show", device))[0]["addr_info"]
    return {f"{each['local']}/{each['prefixlen']}" for each in found if each["scope"] != "link"}


def _neighbours(netns: Path) -> dict[str, tuple[str, str]]:
    found = json.loads(_ip(netns, "-j", "neigh", "show", "nud", "permanent"))
    return {each["dst"]: (each["lladdr"], each["state"][0]) for each in found}


def _picture(netns: Path) -> tuple[str, ...]:
    return tuple(
        _ip(netns, *what) for what in (["-o", "addr"], ["route"], ["-6", "route"], ["neigh"])
    )


def _ip(netns: Path, *arguments: str) -> str:
    command = [*_in(netns), "ip", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _plait(netns: Path, instance: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "plait", "--instance", instance, "endpoint", *arguments]
    done = subprocess.run([*_in(netns), *command], check=True, capture_output=True, text=True)
    return done.stdout


def _in(netns: Path) -> list[str]:
    return ["nsenter", f"--net={netns}", "--"]

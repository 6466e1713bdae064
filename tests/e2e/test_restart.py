"""Kill and restart: the datapath outlives its agent, and the next one takes it over as it is."""

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from plait.core.endpoints import namespaces
from plait.core.kernel import clsact, libbpf
from plait.core.kernel import info as kernel_info
from plait.core.kernel.bpfobject import BpfObject
from plait.core.kernel.links import Device, Direction, programs_on
from plait.core.kernel.pins import BPFFS
from plait.core.lab.lab import Lab
from plait.core.lab.running import Running, serve, start
from plait.core.lab.traffic.connect import Connected
from plait.core.lab.traffic.hold import Held
from plait.core.lab.traffic.stream import Streamed
from support.nodes import DRAIN, RESET, Node, quickstart, service

SERVICE = "10.96.0.10:80"
FOREIGN = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("tc") int foreign(struct __sk_buff *skb) { return skb->len ? -1 : 0; }
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-restart") as lab:
        for name in ("web-1", "web-2", "web-3"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    yield node
    node.detach()


CompileC = Callable[[str], bytes]


class Traffic:
    """A stream and open connections from the client, of which none may come to harm."""

    def __init__(self, lab: Lab) -> None:
        self._stream: Running[Streamed] = start(lab, "client", Streamed, SERVICE, "--rate", "1000")
        self._hold: Running[Held] = start(lab, "client", Held, SERVICE, "--interval", "0.05")
        time.sleep(0.5)

    def assert_unharmed(self) -> None:
        streamed, held = self._stream.stop(), self._hold.stop()
        assert streamed.sent > 200
        assert (streamed.lost, streamed.foreign, len(streamed.servers)) == (0, 0, 1), streamed
        assert (held.opened, held.reset, held.stalled, held.corrupt) == (200, 0, 0, 0), held


def test_a_killed_agent_leaves_all_running_and_the_next_adopts_it(node: Node) -> None:
    node.start()
    before, places = node.kernel_ids(), _places(node)
    traffic = Traffic(node.lab)

    node.kill()
    time.sleep(0.2)
    node.start()

    traffic.assert_unharmed()
    assert (node.kernel_ids(), _places(node)) == (before, places)
    assert node.status().generation == 1
    assert "0 written, 0 removed" in node.log.splitlines()[-1]


def test_edits_made_while_no_agent_ran_are_made_up_for(node: Node) -> None:
    node.start()
    node.stop()
    text = node.config.read_text()
    (node.objects / "more.yaml").write_text(
        service("more", ips=("10.96.0.50",), backends=("10.244.1.11",))
    )
    (node.objects / "web.yaml").unlink()
    node.config.write_text(text.replace(DRAIN, RESET))

    node.start()

    assert node.status().generation == 2
    assert _connects(node, "10.96.0.50:80")
    assert not _connects(node, SERVICE)


@pytest.mark.parametrize("moment", ["start", "reload", "idle"])
def test_an_agent_is_killed_at_random_moments(node: Node, moment: str) -> None:
    _kill_at_random(node, moment, rounds=3)


@pytest.mark.deep
@pytest.mark.parametrize("moment", ["start", "reload", "idle"])
def test_an_agent_is_killed_at_many_random_moments(node: Node, moment: str) -> None:
    _kill_at_random(node, moment, rounds=40)


def _kill_at_random(node: Node, moment: str, rounds: int) -> None:
    node.start()
    dice = random.Random()
    text = node.config.read_text()
    settings = (RESET, DRAIN)
    node.configure(text.replace(DRAIN, RESET))  # so that both are in the cache
    node.configure(text)
    traffic = Traffic(node.lab)

    for number in range(rounds):
        match moment:
            case "start":
                node.stop()
                node.config.write_text(text.replace(DRAIN, settings[number % 2]))
                node.launch()
                time.sleep(dice.uniform(0.1, 0.6))
            case "reload":
                node.config.write_text(text.replace(DRAIN, settings[number % 2]))
                time.sleep(dice.uniform(0.0, 0.4))
            case _:
                time.sleep(dice.uniform(0.0, 0.2))
        node.kill()
        node.start()

    traffic.assert_unharmed()
    assert _connects(node, SERVICE)
    assert len(list((BPFFS / "plait" / node.instance).glob("gen-*"))) <= 2
    assert node.status().error is None


def test_a_first_start_that_is_killed_is_made_up_for(lab: Lab, node: Node) -> None:
    node.start()
    node.detach()  # now all is in the cache
    dice = random.Random()

    for _ in range(3):
        node.launch()
        time.sleep(dice.uniform(0.2, 0.5))
        node.kill()
    node.start()

    assert _connects(node, SERVICE)
    assert node.status().error is None


def test_apply_runs_without_an_agent_and_twice_is_once(node: Node) -> None:
    first = node.apply()
    ids = node.kernel_ids()
    traffic = Traffic(node.lab)

    second = node.apply()

    traffic.assert_unharmed()
    assert first["swapped"] is True
    assert (second["swapped"], second["written"], second["removed"]) == (False, 0, 0)
    assert node.kernel_ids() == ids


def test_what_a_killed_agent_left_pinned_goes_with_the_next_start(node: Node) -> None:
    node.apply()
    node.config.write_text(node.config.read_text().replace(DRAIN, RESET))
    node.apply()
    (node.paths.pins / "gen-77" / "map").mkdir(parents=True)

    node.apply()

    assert {each.name for each in node.paths.pins.glob("gen-*")} == {"gen-1", "gen-2"}


def test_rollback_brings_the_generation_before_back(node: Node) -> None:
    node.apply()
    first = node.kernel_ids()
    text = node.config.read_text()
    node.config.write_text(text.replace(DRAIN, RESET))
    node.apply()
    traffic = Traffic(node.lab)

    done = node.plait("rollback")

    traffic.assert_unharmed()
    assert done.returncode == 0, done.stderr
    assert node.kernel_ids() == first
    assert _connects(node, SERVICE)


def test_a_running_agent_rolls_back_and_follows_again_with_the_next_edit(node: Node) -> None:
    node.start()
    first = node.kernel_ids()
    node.edit(DRAIN, RESET)
    traffic = Traffic(node.lab)

    done = node.plait("rollback")
    shown = node.plait("status").stdout

    traffic.assert_unharmed()
    assert (done.returncode, done.stdout) == (0, "generation 1 runs until the config is edited\n")
    assert "rolled back" in shown
    assert node.kernel_ids() == first
    assert node.edit(RESET, DRAIN).error is None
    assert "rolled back" not in node.plait("status").stdout
    node.write("more.yaml", service("more", ips=("10.96.0.50",), backends=("10.244.1.11",)))
    assert _connects(node, "10.96.0.50:80")


def test_a_rollback_outlives_the_agent_and_an_edit_that_changes_nothing(node: Node) -> None:
    node.start()
    first = node.kernel_ids()
    node.edit(DRAIN, RESET)
    node.plait("rollback")

    node.kill()
    node.start()
    shown = node.plait("status").stdout
    again = node.configure(f"# the same as before\n{node.config.read_text()}")

    assert "rolled back" in shown
    assert again.generation == 1
    assert node.kernel_ids() == first
    node.write("more.yaml", service("more", ips=("10.96.0.50",), backends=("10.244.1.11",)))
    assert _connects(node, "10.96.0.50:80")
    assert node.edit(RESET, DRAIN).error is None
    assert "rolled back" not in node.plait("status").stdout


def test_there_is_no_way_back_to_a_generation_of_another_version(node: Node) -> None:
    node.apply()
    node.config.write_text(node.config.read_text().replace(DRAIN, RESET))
    node.apply()
    now = node.kernel_ids()
    (node.paths.pins / "gen-1" / "map" / "plait_silent").unlink()

    done = node.plait("rollback")

    assert done.returncode == 3
    assert "generation 1 has no map plait_silent: another version" in done.stderr
    assert node.kernel_ids() == now


def test_there_is_nothing_to_roll_back_to_at_first(node: Node) -> None:
    node.apply()

    done = node.plait("rollback")

    assert done.returncode == 1
    assert "no generation to go back to" in done.stderr


def test_an_agent_that_cannot_roll_back_says_so_at_once(node: Node) -> None:
    node.start()

    done = node.plait("rollback")

    assert done.returncode == 1
    assert "no generation to go back to" in done.stderr


@pytest.mark.parametrize("attach", ["tcx", "clsact"])
def test_detach_leaves_the_host_as_it_was(node: Node, attach: str) -> None:
    text = node.config.read_text()
    node.config.write_text(text.replace("node:\n", f"node:\n  attach: {attach}\n"))
    node.lab.run("node-a", "sysctl", "-qw", "net.ipv4.ip_forward=0")
    before = _host(node)

    node.start()
    during = _host(node)
    node.detach()
    node.detach()

    node.lab.run("node-a", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    assert during != before
    assert _host(node) == before.replace("ip_forward = 0", "ip_forward = 1")
    assert not (BPFFS / "plait" / node.instance).exists()
    assert not node.paths.run.exists()


def test_detach_with_purge_forgets_the_node(lab: Lab, cache: Path, tmp_path: Path) -> None:
    node = Node.make(lab, tmp_path, cache)
    node.apply()
    objects = {file: file.read_text() for file in (node.paths.state / "objects.d").glob("*.yaml")}

    done = node.plait("detach", "--purge")

    assert done.returncode == 0
    assert objects
    assert not node.paths.state.exists()
    for file, content in objects.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


@pytest.mark.parametrize("attach", ["tcx", "clsact"])
def test_what_others_attached_is_not_touched(node: Node, attach: str, compile_c: CompileC) -> None:
    text = node.config.read_text()
    node.config.write_text(text.replace("node:\n", f"node:\n  attach: {attach}\n"))
    with _foreign_programs(node, compile_c(FOREIGN)):
        before = _host(node)

        node.start()
        connected = _connects(node, SERVICE)
        node.detach()

        after = _host(node)
    assert connected
    assert "foreign" in before
    assert after == before


@contextmanager
def _foreign_programs(node: Node, image: bytes) -> Iterator[None]:
    """Somebody else's program on the uplink, by both ways of attaching, and a qdisc of theirs."""
    lab = node.lab
    with BpfObject(image, "foreign") as loaded, namespaces.entered(lab.hosts["node-a"].netns):
        loaded.load()
        program = loaded.programs["foreign"].fd()
        uplink = socket.if_nametoindex("eth0")
        link = libbpf.link_create(program, uplink, libbpf.AttachType.TCX_INGRESS)
        lab.run("node-a", "tc", "qdisc", "add", "dev", "eth0", "clsact")
        with IPRoute() as ipr:
            ipr.tc(
                "add-filter", "bpf", uplink, parent=clsact.Parent.INGRESS, prio=7, protocol=3,
                fd=program, name="foreign", direct_action=True,
            )  # fmt: skip
        yield
        os.close(link)
        lab.run("node-a", "tc", "qdisc", "del", "dev", "eth0", "clsact")


def _connects(node: Node, target: str) -> bool:
    short = start(node.lab, "client", Connected, target, "--seconds", "0.3", "--timeout", "0.2")
    return short.result().connects > 0


def _places(node: Node) -> list[str]:
    """Every program on every device of the node, and the links that Plait has pinned."""
    with namespaces.entered(node.lab.hosts["node-a"].netns):
        programs = [
            f"{device} {direction}: {program}"
            for index, device in socket.if_nameindex()
            for direction in Direction
            for program in programs_on(Device(name=device, ifindex=index), direction)
        ]
    pins = sorted((node.paths.pins / "links").glob("*"))
    return [*programs, *(f"{pin}: {_link(pin)}" for pin in pins if not pin.is_symlink())]


def _link(pin: Path) -> kernel_info.LinkInfo:
    link = libbpf.pinned(pin)
    info = kernel_info.link_info(link)
    os.close(link)
    return info


def _host(node: Node) -> str:
    """All of the host that a datapath could have changed."""
    commands = (
        ("tc", "qdisc"),
        ("tc", "filter", "show", "dev", "eth0", "ingress"),
        ("ip", "-d", "link"),
        ("ip", "route", "show", "table", "all"),
        ("ip", "-6", "route", "show", "table", "all"),
        ("sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
    )
    shown = [node.lab.run("node-a", *command).stdout for command in commands]
    return "\n".join([*shown, *_places(node)])

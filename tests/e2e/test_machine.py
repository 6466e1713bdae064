"""Bad luck with the machine: no compiler, no space, no privilege, another agent, a full map."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.core.kernel.pins import Paths
from plait.core.lab.lab import Lab
from plait.core.lab.running import serve, start
from plait.core.lab.traffic.connect import Connected
from support.nodes import Node, quickstart, rewrite, service

TO_BE_COMPILED = ("/24, fd00:10:244:1::/64]", "/24]")
"""An edit of the config that leads to other programs: a family less."""

SERVICE = "10.96.0.10:80"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with quickstart("e2e-machine") as lab:
        for name in ("web-1", "web-2", "web-3"):
            serve(lab, name)
        yield lab


@pytest.fixture
def node(lab: Lab, cache: Path, tmp_path: Path) -> Iterator[Node]:
    node = Node.make(lab, tmp_path, cache)
    yield node
    node.environment = {}
    node.cache = cache
    node.detach()


def test_without_a_compiler_a_cold_cache_is_a_clear_error(node: Node, tmp_path: Path) -> None:
    node.cache = tmp_path / "cold"
    node.environment = {"PLAIT_CLANG": "/nonexistent"}

    done = node.plait("apply", "-c", str(node.config))

    assert done.returncode == 3
    assert "/nonexistent" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_compiler_a_warm_cache_is_enough(node: Node) -> None:
    node.apply()
    node.detach()
    node.environment = {"PLAIT_CLANG": "/nonexistent"}

    node.apply()

    assert _connects(node, SERVICE)


def test_without_a_compiler_a_running_agent_goes_on(node: Node) -> None:
    node.apply()
    node.environment = {"PLAIT_CLANG": "/nonexistent"}
    node.start()

    status = node.edit(*TO_BE_COMPILED)

    assert status.error is not None
    assert "/nonexistent" in status.error
    assert _connects(node, SERVICE)
    assert node.edit(*reversed(TO_BE_COMPILED)).error is None


def test_a_cache_on_a_full_disk_is_a_warning_and_costs_nothing_but_time(
    node: Node, tmp_path: Path
) -> None:
    node.apply()
    with _full_disk(tmp_path / "full") as full:
        node.cache = full
        node.config.write_text(node.config.read_text().replace(*TO_BE_COMPILED))

        done = node.plait("apply", "-c", str(node.config))

    assert done.returncode == 0, done.stderr
    assert "warning: the compile cache cannot be written: [Errno 28] No space left" in done.stderr
    assert _connects(node, SERVICE)


def test_without_root_the_commands_say_so(node: Node, tmp_path: Path) -> None:
    node.apply()
    tmp_path.chmod(0o755)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    for verb in (("apply", "-c", str(node.config)), ("status",), ("maps",), ("detach",)):
        command = node.command(*verb)
        split = command.index("--") + 1
        done = subprocess.run(
            [*command[:split], *nobody, *command[split:]],
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 3, (verb, done.stderr)
        assert "not allowed" in done.stderr, verb
        assert "sudo" in done.stderr, verb


def test_without_bpffs_it_is_mounted(node: Node) -> None:
    command = node.command("apply", "-c", str(node.config))
    apart = ["unshare", "--mount", "sh", "-c", 'umount /sys/fs/bpf; "$@"; stat -fc %T /sys/fs/bpf']

    done = subprocess.run(
        [*apart, "sh", *command],
        env={**os.environ, "PLAIT_CACHE": str(node.cache)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "runs" in done.stdout, done.stderr
    assert done.stdout.endswith("bpf_fs\n")
    node.lab.run("node-a", "true")


def test_a_second_agent_of_the_instance_is_refused(node: Node) -> None:
    pid = node.start().status().pid

    for verb in (("run", "-c", str(node.config)), ("apply", "-c", str(node.config)), ("detach",)):
        done = node.plait(*verb)

        assert done.returncode == 3, verb
        assert f"process {pid}" in done.stderr
    assert _connects(node, SERVICE)


def test_an_agent_of_another_instance_in_the_same_namespace_is_refused(node: Node) -> None:
    node.start()
    command = node.command("apply", "-c", str(node.config))
    command[command.index("--instance") + 1] = other = f"{node.instance}-other"

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    shutil.rmtree(Paths.of(other).run)
    assert done.returncode == 3
    assert "already works on this network namespace" in done.stderr
    assert _connects(node, SERVICE)


def test_a_full_map_is_named_and_what_fits_is_served(node: Node) -> None:
    text = node.config.read_text()
    node.config.write_text(
        text.replace("algorithm: maglev", "algorithm: maglev, capacity: {services: 4, growth: 1}")
    )
    node.start()
    node.write("zoo.yaml", service("zoo", ips=("10.96.0.99",), backends=("10.244.1.11",)))

    shown = node.plait("status")

    assert shown.returncode == 1
    assert "is full: no room for Service default/zoo" in shown.stderr
    assert "raise lb.capacity.services" in shown.stderr
    assert "zoo.yaml:1:1: " in shown.stderr
    assert _connects(node, SERVICE)
    assert node.edit("services: 4", "services: 8").problems == []
    assert _connects(node, "10.96.0.99:80")


def test_two_services_with_one_address_and_port_are_told_of(node: Node) -> None:
    node.start()
    rewrite(node.objects / "twin.yaml", service("web-twin", ips=("10.96.0.10",)))
    node.wait_for(lambda: bool(node.status().problems))

    shown = node.plait("status")

    assert shown.returncode == 1
    assert "Service default/web-twin" in shown.stderr
    assert "Service default/web" in shown.stderr
    assert "twin.yaml:1:1: " in shown.stderr
    assert _connects(node, SERVICE)


def test_a_service_with_the_address_of_an_endpoint_is_warned_of(node: Node) -> None:
    (node.objects / "web-1.yaml").write_text(service("web-1", ips=("10.244.1.11",)))
    warning = "web-1.yaml:1:1: Service default/web-1 has the address 10.244.1.11 of Endpoint"

    applied = node.plait("apply", "-c", str(node.config))
    node.start()
    shown = node.plait("status")

    assert (applied.returncode, shown.returncode) == (0, 0)
    assert warning in applied.stderr
    assert warning in shown.stdout


def test_a_device_that_does_not_exist_is_an_error_at_its_place(node: Node) -> None:
    node.config.write_text(
        node.config.read_text().replace("devices: auto", "devices: [eth0, eth7]")
    )

    done = node.plait("apply", "-c", str(node.config))

    assert done.returncode == 1
    assert "config.yaml:5:19: node.devices: there is no interface eth7" in done.stderr


@contextmanager
def _full_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(folder)], check=True)
    try:
        (folder / "filler").write_bytes(bytes(4096))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _connects(node: Node, target: str) -> bool:
    short = start(node.lab, "client", Connected, target, "--seconds", "0.2", "--timeout", "0.2")
    return short.result().connects > 0

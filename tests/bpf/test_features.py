"""Probes of the kernel: what they find, and that they leave nothing behind."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from plait.core.api import KernelFeature
from plait.core.errors import SystemProblem
from plait.core.kernel import features
from plait.core.kernel.pins import BPFFS


def test_every_feature_is_probed() -> None:
    assert features.probe().keys() == {feature.value for feature in KernelFeature}


def test_this_kernel_has_what_it_says_it_has() -> None:
    known = subprocess.run(
        ("bpftool", "feature", "probe", "kernel"), capture_output=True, text=True, check=True
    ).stdout

    found = features.probe()

    assert found["redirect_peer"] == ("- bpf_redirect_peer" in known)
    assert found["fib_lookup"] == ("- bpf_fib_lookup" in known)


def test_what_the_kernel_does_not_name_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    types = tmp_path / "vmlinux"
    types.write_bytes(b"\0BPF_FUNC_redirect_peer_not\0BPF_FUNC_fib_lookup\0")
    monkeypatch.setattr(features, "_KERNEL_TYPES", types)

    found = features.probe()

    assert not found["redirect_peer"]
    assert found["fib_lookup"]


def test_an_errno_that_no_program_can_set_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    call = struct.pack("=BBhi", 0x85, 0, 0, 187)
    other = features._SET_RETVAL.replace(call, struct.pack("=BBhi", 0x85, 0, 0, 1 << 20))
    had = features.probe()["sock_errno"]
    monkeypatch.setattr(features, "_SET_RETVAL", other)

    assert had
    assert not features.probe()["sock_errno"]


def test_a_probe_touches_nothing_of_this_namespace() -> None:
    before = Path("/proc/thread-self/ns/net").readlink()

    features.probe()

    qdiscs = subprocess.run(
        ("tc", "qdisc", "show", "dev", "lo"), capture_output=True, text=True, check=True
    ).stdout
    assert Path("/proc/thread-self/ns/net").readlink() == before
    assert "clsact" not in qdiscs


def test_this_machine_will_do() -> None:
    features.check_machine()

    assert BPFFS.is_mount()


def test_bpffs_is_mounted_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BPFFS", tmp_path)

    features.check_machine()

    mounted = tmp_path.is_mount()
    subprocess.run(("umount", str(tmp_path)), check=True)
    assert mounted


def test_without_kernel_types_the_machine_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_KERNEL_TYPES", Path("/nowhere"))

    with pytest.raises(SystemProblem, match="/nowhere is missing"):
        features.check_machine()


def test_without_privilege_the_machine_will_not_do() -> None:
    assert "CAP_SYS_ADMIN" in _refusal("--reuid=65534", "--clear-groups")


def test_to_load_programs_is_not_all_that_the_machine_is_asked_for() -> None:
    few = "-all,+bpf,+net_admin"

    assert "CAP_SYS_ADMIN" in _refusal(f"--bounding-set={few}", f"--inh-caps={few}")


def _refusal(*privileges: str) -> str:
    """What `check_machine` says to a process that `setpriv` gives these privileges."""
    program = "from plait.core.kernel.features import check_machine; check_machine()"
    ran = subprocess.run(
        ("setpriv", *privileges, sys.executable, "-c", program),
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stderr.splitlines()[-1]

"""What this kernel and machine can do: probed, never guessed from a version."""

import ctypes
import os
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from plait.core.api.contract import KernelFeature
from plait.core.errors import SystemProblem
from plait.core.kernel import clsact, libbpf
from plait.core.kernel.pins import BPFFS

_Result = TypeVar("_Result")

_KERNEL_TYPES = Path("/sys/kernel/btf/vmlinux")
_CLONE_NEWNET = 0x40000000
_SCHED_CLS = 3
_LOOPBACK = 1  # the first device of every network namespace
_CGROUP_SOCK_ADDR = 18


def _instructions(*each: tuple[int, int, int, int]) -> bytes:
    """From (code, registers, offset, number) of each."""
    return b"".join(struct.pack("=BBhi", *one) for one in each)


# r0 = TC_ACT_UNSPEC; exit
_DO_NOTHING = _instructions((0xB7, 0, 0, -1), (0x95, 0, 0, 0))
# r1 = -1; bpf_set_retval(r1); r0 = 0; exit
_SET_RETVAL = _instructions((0xB7, 1, 0, -1), (0x85, 0, 0, 187), (0xB7, 0, 0, 0), (0x95, 0, 0, 0))

# The kernel's own name of each: a helper's number in enum bpf_func_id, a kernel function, a type.
_NAMES = {
    KernelFeature.REDIRECT_PEER: "BPF_FUNC_redirect_peer",
    KernelFeature.REDIRECT_NEIGH: "BPF_FUNC_redirect_neigh",
    KernelFeature.FIB_LOOKUP: "BPF_FUNC_fib_lookup",
    KernelFeature.CAST_TO_KERNEL_CONTEXT: "bpf_cast_to_kern_ctx",
    KernelFeature.CGROUP_LINK: "bpf_cgroup_link",  # a type that is there with CONFIG_CGROUP_BPF
}

_CAP_NET_ADMIN = 1 << 12
_CAP_SYS_ADMIN = 1 << 21


def probe() -> Mapping[str, bool]:
    """What the kernel can do, by the value of each KernelFeature; takes about 30 ms.

    TCX and CLSACT: a program that does nothing is attached to the loopback device of a throw-away
    network namespace. SOCK_ERRNO: a program that sets one is loaded. All others: the kernel's BTF
    has their name.
    Call `check_machine` first: without the privilege, probes fail with OSError.
    """
    strings = _KERNEL_TYPES.read_bytes()
    found = {feature.value: f"\0{name}\0".encode() in strings for feature, name in _NAMES.items()}
    found[KernelFeature.SOCK_ERRNO.value] = _works(_load_set_retval)
    return _in_new_namespace(_probe_attaching) | found


def check_machine() -> None:
    """Make sure that Plait can work here; mounts bpffs if it is not mounted.

    SystemProblem: without privilege, without the kernel's BTF, without bpffs.
    """
    if not privileged():
        raise SystemProblem(
            "not allowed to load and attach eBPF programs",
            expected="root, or the capabilities CAP_SYS_ADMIN and CAP_NET_ADMIN",
            hint=how_to_be_privileged(),
        )
    if not _KERNEL_TYPES.exists():
        raise SystemProblem(
            f"the kernel does not describe its types: {_KERNEL_TYPES} is missing",
            expected="a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        )
    if not BPFFS.is_mount():
        _mount_bpffs()


def privileged() -> bool:
    """Whether this process may do what Plait does.

    CAP_BPF is not enough: it neither makes the namespaces of probes and labs, nor finds the
    programs of others.
    """
    needed = _CAP_NET_ADMIN | _CAP_SYS_ADMIN
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16) & needed == needed
    return False


def how_to_be_privileged() -> str:
    """The hint for who is not."""
    return "run it with sudo" if os.geteuid() else "root lacks capabilities here: `capsh --print`"


def _probe_attaching() -> dict[str, bool]:
    program = libbpf.program_load(_SCHED_CLS, "plait_probe", _DO_NOTHING)
    try:
        return {
            KernelFeature.TCX.value: _works(lambda: _attach_tcx(program)),
            KernelFeature.CLSACT.value: _works(lambda: _attach_clsact(program)),
        }
    finally:
        os.close(program)


def _attach_tcx(program: int) -> None:
    os.close(libbpf.link_create(program, _LOOPBACK, libbpf.AttachType.TCX_INGRESS))


def _attach_clsact(program: int) -> None:
    clsact.add_qdisc(_LOOPBACK)
    clsact.add_filter(program, _LOOPBACK, clsact.Parent.INGRESS)


def _load_set_retval() -> None:
    call = libbpf.AttachType.CGROUP_INET4_CONNECT
    os.close(libbpf.program_load(_CGROUP_SOCK_ADDR, "plait_probe", _SET_RETVAL, call))


def _works(attempt: Callable[[], None]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _in_new_namespace(work: Callable[[], _Result]) -> _Result:
    """Run in a network namespace of its own, which goes with the thread that has it."""

    def run() -> _Result:
        _system_call("unshare", _CLONE_NEWNET)
        return work()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(run).result()


def _mount_bpffs() -> None:
    try:
        _system_call("mount", b"bpf", os.fsencode(BPFFS), b"bpf", 0, None)
    except OSError as error:
        raise SystemProblem(
            f"{BPFFS} is not mounted, and cannot be: {error.strerror}",
            hint=f"mount -t bpf bpf {BPFFS}",
        ) from error


def _system_call(name: str, *arguments: int | bytes | None) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))

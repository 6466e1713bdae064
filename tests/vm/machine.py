"""A virtual machine: another kernel, on this machine's files, for the time of one command."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vm.kernels import Kernel, Unavailable, unpacked

_INIT = Path(__file__).with_name("init.sh")
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_QEMU = "qemu-system-x86_64"
_TOOLS = (_QEMU, "busybox", "zstd", "apt-get", "dpkg-deb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of the command: its exit status, None when the machine did not live to its end.

    `log` is its output, `console` what the kernel said.
    """

    status: int | None
    log: str
    console: str

    @property
    def text(self) -> str:
        """All of it, for people."""
        end = "it did not live to its end" if self.status is None else f"status {self.status}"
        return f"{self.log}\n{self.console}\n{end}"


def check_tools() -> None:
    """Raises Unavailable when no machine can be booted here."""
    if os.uname().machine != "x86_64":
        raise Unavailable(f"kernels are known for x86_64 only, not for {os.uname().machine}")
    if os.geteuid() != 0:
        raise Unavailable("the machine must read all of this machine's files: needs root")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")


def run(kernel: Kernel, command: str, *, out: Path, timeout: float) -> Finished:
    """Boot, run a bash command, power off; end the machine after so many seconds.

    The command sees this machine's files, and the folder `out` as /run/out: only what it writes
    there is kept. The processor is emulated, since nested virtualisation is often unsound: expect
    it to be 10 to 30 times slower.
    """
    console = out / "console"
    with tempfile.TemporaryDirectory(prefix="plait-machine-") as scratch:
        initrd = _make_initrd(kernel, command, Path(scratch))
        machine = subprocess.Popen(_qemu(kernel, initrd, out, console), stdin=subprocess.DEVNULL)
        try:
            machine.wait(timeout)
        except subprocess.TimeoutExpired:
            pass  # then there is no status
        finally:
            machine.kill()
            machine.wait()
    status = _read(out / "status").strip()
    return Finished(
        status=int(status) if status else None, log=_read(out / "log"), console=_read(console)
    )


def _qemu(kernel: Kernel, initrd: Path, out: Path, console: Path) -> tuple[str, ...]:
    return (
        *(_QEMU, "-nodefaults", "-display", "none", "-no-reboot", "-M", "q35"),
        *("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "2048"),
        *("-kernel", str(kernel.image), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 quiet panic=-1"),
        *("-serial", f"file:{console}"),
        *("-virtfs", _shared("host", Path("/")) + ",readonly=on"),
        *("-virtfs", _shared("out", out)),
    )


def _shared(tag: str, folder: Path) -> str:
    return f"local,mount_tag={tag},path={folder},security_model=none,multidevs=remap"


def _make_initrd(kernel: Kernel, command: str, scratch: Path) -> Path:
    """The files that the kernel starts from: busybox, init, the first modules, the job."""
    root = scratch / "root"
    for folder in ("bin", "modules", "job"):
        (root / folder).mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox")), root / "bin" / "busybox")
    shutil.copy(_INIT, root / "init")
    (root / "init").chmod(0o755)
    modules = kernel.with_needs(_MODULES)
    for module in modules:
        (root / "modules" / module.stem).write_bytes(unpacked(module))
    (root / "job" / "modules").write_text("\n".join(module.stem for module in modules))
    (root / "job" / "installed").write_text(str(kernel.modules))
    (root / "job" / "command").write_text(command)
    archive = scratch / "initrd"
    subprocess.run(
        f"find . | busybox cpio -o -H newc >{archive} 2>/dev/null", shell=True, cwd=root, check=True
    )
    return archive


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""

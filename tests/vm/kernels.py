"""Debian's kernels, fetched into a cache and made ready to boot: nothing is installed."""

import lzma
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SUITES = ("bookworm", "bookworm-backports")
"""Where they are looked for."""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_UNUSED = ("sound", *(f"drivers/{name}" for name in ("gpu", "media", "scsi", "staging", "usb")))
_SECTOR = 512


class Unavailable(Exception):
    """Why there is no such kernel, or no machine to boot it on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel in a folder of its own."""

    folder: Path

    @property
    def release(self) -> str:
        """As `uname -r` says it."""
        return self.folder.name

    @property
    def image(self) -> Path:
        """The kernel as an ELF file, which boots without unpacking itself first: that is slow."""
        return self.folder / "vmlinux"

    @property
    def modules(self) -> Path:
        """What is /lib/modules/RELEASE on a machine that has it installed."""
        return self.folder / "lib" / "modules" / self.release

    def with_needs(self, names: Iterable[str]) -> tuple[Path, ...]:
        """The files of these modules and of all that they need, in the order of loading."""
        lines = (self.modules / "modules.dep").read_text().splitlines()
        needs = dict(line.split(":", 1) for line in lines)
        files = {_module_name(file): file for file in needs}
        order: dict[str, None] = {}

        def add(file: str) -> None:
            for need in needs[file].split():
                add(need)
            order[file] = None

        for name in names:
            if name in files:  # otherwise it is built into the kernel
                add(files[name])
        return tuple(self.modules / file for file in order)


def find_kernel(series: str, cache: Path) -> Kernel:
    """The newest kernel of a series ("6.1") that the cache has, else that Debian has.

    Raises Unavailable when it cannot be fetched.
    """
    known = [path.name for path in cache.glob("[0-9]*")]
    newest = _newest(series, known)
    return Kernel(folder=cache / newest) if newest else _fetch(series, cache)


def unpacked(module: Path) -> bytes:
    """The content of a module's file."""
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def _fetch(series: str, cache: Path) -> Kernel:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache) as scratch:
        folder = Path(scratch)
        apt = _Apt(folder)
        names = apt.run("apt-cache", "pkgnames", f"linux-image-{series}.").split()
        images = [name.removeprefix("linux-image-") for name in names if _is_plain(name)]
        release = _newest(series, images)
        if release is None:
            raise Unavailable(f"Debian has no kernel {series} in {' or '.join(SUITES)}")
        apt.run("apt-get", "-qq", "download", f"linux-image-{release}")
        (package,) = folder.glob("linux-image-*.deb")
        ready = folder / "ready"
        _run("dpkg-deb", "-x", str(package), str(ready))
        kernel = _make_ready(ready, release)
        kernel.folder.rename(cache / release)
    return Kernel(folder=cache / release)


def _make_ready(folder: Path, release: str) -> Kernel:
    """Unpack the kernel, list its modules; `folder` has what the package installs."""
    modules = folder / "lib" / "modules" / release
    for name in _UNUSED:
        shutil.rmtree(modules / "kernel" / name, ignore_errors=True)
    _run("busybox", "depmod", "-b", str(folder), release)
    image = (folder / "boot" / f"vmlinuz-{release}").read_bytes()
    (folder / "vmlinux").write_bytes(_elf_inside(image))
    shutil.rmtree(folder / "boot")
    return Kernel(folder=folder)


def _elf_inside(image: bytes) -> bytes:
    """The ELF file that a bzImage wraps.

    Its header: Documentation/arch/x86/boot.rst, setup_sects, payload_offset and payload_length.
    """
    offset, size = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1F1] + 1) * _SECTOR + offset
    payload = image[start : start + size]
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        frame = payload[:-4]  # what follows it is the unpacked size
        return subprocess.run(
            ("zstd", "-dcq"), input=frame, stdout=subprocess.PIPE, check=True
        ).stdout
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)
    raise Unavailable(f"this kernel is packed in a way not known here: {payload[:6].hex()}")


class _Apt:
    """apt with sources and lists of its own, in `folder`; those of the machine stay as they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        sources = folder / "sources.list"
        mirror = self._mirror()
        lines = (f"deb [signed-by={_KEYRING}] {mirror} {suite} main" for suite in SUITES)
        sources.write_text("\n".join(lines) + "\n")
        for name in ("lists", "archives"):
            (folder / name / "partial").mkdir(parents=True)
        self._options = (
            *("-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null"),
            *("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}"),
            *("-o", "Acquire::Languages=none", "-o", "APT::Architecture=amd64"),
            *("-o", "APT::Sandbox::User=root"),  # the folder is not for apt's own user
        )
        self.run("apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")

    def run(self, command: str, *arguments: str) -> str:
        return _run(command, *self._options, *arguments, folder=self._folder)

    @staticmethod
    def _mirror() -> str:
        """The mirror of Debian that this machine uses."""
        listed = _run(
            *("apt-get", "indextargets", "--format", "$(REPO_URI)"),
            *("Created-By: Packages", "Origin: Debian", "Label: Debian"),
        )
        if not listed:
            raise Unavailable("apt knows no mirror of Debian")
        return listed.splitlines()[0]


def _run(*command: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed") from error
    if done.returncode:
        raise Unavailable(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _newest(series: str, releases: Sequence[str]) -> str | None:
    same = [each for each in releases if each.startswith(f"{series}.")]
    return max(same, key=lambda each: [int(n) for n in re.findall(r"\d+", each)], default=None)


def _is_plain(package: str) -> bool:
    """A kernel for real machines, of the kind that most of them run."""
    return re.fullmatch(r"linux-image-[\d.]+(-\d+|\+deb[\d.]+)-amd64", package) is not None


def _module_name(file: str) -> str:
    return Path(file).name.split(".")[0].replace("-", "_")

"""cgroup v2: where it is mounted, its directories, and which of them this process is in."""

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "PLAIT_CGROUP"

_MOUNTS = Path("/proc/self/mountinfo")
_MEMBERSHIP = Path("/proc/self/cgroup")
_PROCESSES = "cgroup.procs"
_PATIENCE = 2.0
_ESCAPE = re.compile(r"\\(\d{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """A cgroup. The path is for people, None where it is not to be seen; the id decides."""

    path: Path | None = field(compare=False)
    id: int

    def __str__(self) -> str:
        return f"cgroup {self.path or self.id}"


def mount_point() -> Path | None:
    """Where cgroup v2 is mounted, the first of several places; None when it is not."""
    return next(_mount_points(), None)


def _mount_points() -> Iterator[Path]:
    for line in _MOUNTS.read_text().splitlines():
        place, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            yield Path(_ESCAPE.sub(lambda found: chr(int(found[1], 8)), place.split()[4]))


def default_cgroup(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The cgroup of all sockets that this process is to know of: PLAIT_CGROUP in the environment (a
    lab's processes have their own), else all there are. None when cgroup v2 is not mounted.
    """
    given = environment.get(VARIABLE)
    return Path(given) if given else mount_point()


def cgroup_at(path: Path) -> Cgroup | None:
    """The cgroup whose directory this is; None when it is not a directory of cgroup v2."""
    if not (path / "cgroup.controllers").is_file():
        return None
    # The kernel's id of a cgroup is the inode number of its directory.
    return Cgroup(path=path, id=path.stat().st_ino)


def cgroup_by_id(number: int) -> Cgroup:
    """The cgroup with this id, which may be one that is not mounted here, or is about to vanish."""
    for mount in _mount_points():
        for folder, _, _ in os.walk(mount):
            with suppress(FileNotFoundError):  # others come and go
                if Path(folder).stat().st_ino == number:
                    return Cgroup(path=Path(folder), id=number)
    return Cgroup(path=None, id=number)


def create(path: Path) -> Cgroup:
    """Make the cgroup at `path`, a new directory of cgroup v2, unless it is there."""
    path.mkdir(exist_ok=True)
    cgroup = cgroup_at(path)
    assert cgroup is not None, f"{path} is not below a directory of cgroup v2"
    return cgroup


def remove(path: Path) -> None:
    """Remove the cgroup at `path`, and what is attached to it. Repeatable.

    The kernel may take a moment to notice that its last process has ended. One that has processes
    for longer stays.
    """
    deadline = time.monotonic() + _PATIENCE
    while path.exists():
        try:
            path.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Run the block in the cgroup at `path`, with all threads of this process: a socket belongs to
    the cgroup that it was made in, for good.
    """
    home = _own()
    (path / _PROCESSES).write_text("0")
    try:
        yield
    finally:
        (home / _PROCESSES).write_text("0")


def _own() -> Path:
    """The cgroup of this process."""
    mount = mount_point()
    for line in _MEMBERSHIP.read_text().splitlines():
        if mount and line.startswith("0::/"):
            return mount / line.removeprefix("0::/")
    raise FileNotFoundError("cgroup v2 is not mounted")

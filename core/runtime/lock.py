"""One writer at a time: for an instance, and for the network namespace that it works in."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from plait.core.errors import SystemProblem
from plait.core.kernel.pins import Paths


@contextmanager
def held(paths: Paths) -> Iterator[None]:
    """Be the only one who changes this instance, and this network namespace, until the end.

    SystemProblem when somebody else is. The kernel lets go of both locks when a process dies.
    """
    paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    namespace = Path("/proc/self/ns/net").stat().st_ino
    with (
        _locked(paths.run / "lock", f"instance {paths.run.name}"),
        _locked(paths.run.parent / f"netns-{namespace}.lock", "this network namespace"),
    ):
        yield


def is_held(run: Path, pid: int) -> bool:
    """True while process `pid` holds the instance: its number alone may be another's by now.

    Only looks: to try the lock would be in the way of who wants it.
    """
    try:
        inode = (run / "lock").stat().st_ino
    except FileNotFoundError:
        return False
    held_locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any(
        lock[1:2] == ["FLOCK"] and lock[4] == str(pid) and lock[5].endswith(f":{inode}")
        for lock in held_locks
    )


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, with our process id in it; it goes when it is held no more."""
    with _taken_up(path, what) as file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _taken_up(path: Path, what: str) -> TextIO:
    """The lock file, locked. Who had it may have removed it since it was opened: then once more."""
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                raise _taken(what, file.read().strip()) from None
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _taken(what: str, pid: str) -> SystemProblem:
    who = f" (process {pid})" if pid else ""
    return SystemProblem(
        f"another plait agent already works on {what}{who}",
        expected="one agent on a node",
        hint=f"kill {pid}" if pid else "ps -C plait",
    )

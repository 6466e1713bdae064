"""One writer at a time: for an instance, and for the network namespace that it works in."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from plait.core.errors import SystemProblem
from plait.core.kernel.pins import Paths


@contextmanager
def held(paths: Paths) -> Iterator[None]:
    """Be the only one who changes this instance, and this network namespace, until the end.

    SystemProblem when somebody else is. The kernel lets go of both locks when a process dies.
    """
    paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (paths.run / "lock").open("a+") as file, socket.socket(socket.AF_UNIX) as namespace:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _taken(f"instance {paths.run.name}", file.read().strip()) from None
        try:
            # Abstract names belong to a network namespace: one instance in each.
            namespace.bind("\0plait")
        except OSError:
            raise _taken("this network namespace", "") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _taken(what: str, pid: str) -> SystemProblem:
    who = f" (process {pid})" if pid else ""
    return SystemProblem(
        f"another plait agent already works on {what}{who}",
        expected="one agent on a node",
        hint=f"kill {pid}" if pid else "ps -C plait",
    )

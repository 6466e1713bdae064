"""Network namespaces: make them, remove them, step into one for a moment."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyroute2 import netns

from plait.core.errors import PlaitError

_SO_NETNS_COOKIE = 71  # asm-generic/socket.h; Python's socket module lacks it
_COOKIE_BYTES = 8

RUN = Path("/run/netns")
"""Where named namespaces are mounted; `ip netns` looks there, too."""


def create(name: str) -> Path:
    """Make the namespace `name` unless it is there; return its path."""
    path = RUN / name
    if not is_namespace(path):
        path.unlink(missing_ok=True)  # a file without its mount, left by a reboot or a crash
        netns.create(name)
    return path


def remove(name: str) -> None:
    """Take the name away; the kernel frees the namespace with its last process. Repeatable."""
    with suppress(FileNotFoundError):
        netns.remove(name)


def is_namespace(path: Path) -> bool:
    """Whether `path` leads to a namespace, and not to nothing or to a stale mount point."""
    try:
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except FileNotFoundError:
        return False


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Run the block in the namespace at `path`; only the calling thread changes over.

    A netlink socket opened in the block stays in that namespace. The file system, and with it
    /sys/fs/bpf, stays the caller's. Raises `PlaitError` when there is no namespace at `path`.
    """
    if not is_namespace(path):
        raise PlaitError(
            f"{path} is not a network namespace",
            expected="expected a path such as /run/netns/NAME or /proc/PID/ns/net",
            hint="`ip netns` lists the named ones",
        )
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        netns.setns(str(path), flags=0)
        try:
            yield
        finally:
            netns.setns(home)
    finally:
        os.close(home)


def cookie() -> int:
    """The number by which the kernel tells the current namespace from all others until a reboot."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        value = own.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, _COOKIE_BYTES)
        return int.from_bytes(value, sys.byteorder)


def set_sysctl(path: str, value: str) -> None:
    """Write /proc/sys/net/`path` in the current namespace; one that the kernel lacks is skipped."""
    try:
        (Path("/proc/sys/net") / path).write_text(value)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise

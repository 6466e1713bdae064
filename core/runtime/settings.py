"""Kernel settings: what a plan asks for, and what the kernel changes along with it."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from plait.core.api.contract import Sysctl
from plait.core.runtime.actions import PROC_SYS, WriteSysctl

_FORWARDING = {
    "net/ipv4/ip_forward": "net/ipv4/conf",
    "net/ipv6/conf/all/forwarding": "net/ipv6/conf",
}
"""Written for all devices, these overwrite the setting of each."""


def changes(run: Path, wanted: Sequence[Sysctl]) -> tuple[WriteSysctl, ...]:
    """The settings that differ from the wanted ones, in the order of writing.

    What each device had is remembered before all of them are overwritten. A node that forwards
    IPv6 ignores router advertisements, and forgets the default routes that it has from them, but on
    devices whose `accept_ra` is 2: it becomes 2 where it was 1.
    """
    return tuple(chain.from_iterable(_of(run, each) for each in wanted if _differs(each)))


def _of(run: Path, wanted: Sysctl) -> Iterator[WriteSysctl]:
    devices = _devices(wanted.path)
    for device in devices:
        path = f"{device}/accept_ra"
        if (PROC_SYS / path).exists() and _read(path) == "1":
            yield WriteSysctl(run=run, path=path, value="2", before="1")
    for path in (*(f"{device}/forwarding" for device in devices), wanted.path):
        yield WriteSysctl(run=run, path=path, value=wanted.value, before=_read(path))


def _devices(path: str) -> tuple[str, ...]:
    """The folders of all devices' own settings, when `path` is one that overwrites them."""
    if path not in _FORWARDING:
        return ()
    folder = _FORWARDING[path]
    names = sorted(each.name for each in (PROC_SYS / folder).iterdir())
    return tuple(f"{folder}/{name}" for name in names if name != "all")


def _differs(wanted: Sysctl) -> bool:
    return _read(wanted.path) != wanted.value


def _read(path: str) -> str:
    return (PROC_SYS / path).read_text().strip()

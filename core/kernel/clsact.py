"""cls_bpf filters on a clsact qdisc: how programs are attached before Linux 6.6.

All calls concern the calling thread's network namespace, and raise OSError with netlink's errno.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink import nla
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.tcmsg import tcmsg

# tc numbers filters without a priority downwards from 49152: this one runs after all of them.
_PRIORITY = 50000
_HANDLE = 1
_NAME = "plait"
_ETH_P_ALL = 3
_TCA_BPF_ID = 11
_ATTRIBUTE_HEADER = 4


class Parent(IntEnum):
    """The two places of a clsact qdisc."""

    INGRESS = 0xFFFFFFF2
    EGRESS = 0xFFFFFFF3


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A cls_bpf filter. `ours` tells by priority, handle and name."""

    program_id: int
    ours: bool


def add_qdisc(ifindex: int) -> bool:
    """Make sure of a clsact qdisc; True when it was not there before."""
    with _netlink() as netlink:
        try:
            netlink.tc("add", "clsact", index=ifindex)
        except NetlinkError as error:
            if error.code == errno.EEXIST:
                return False
            raise
    return True


def remove_unused_qdisc(ifindex: int) -> bool:
    """Remove the clsact qdisc; False when it is kept, because a filter of any kind is in it."""
    with _netlink() as netlink:
        for parent in Parent:
            if any(netlink.get_filters(index=ifindex, parent=parent)):
                return False
        netlink.tc("del", "clsact", index=ifindex)
    return True


def add_filter(program_fd: int, ifindex: int, parent: Parent) -> None:
    """Attach a program. OSError EEXIST when our place is taken."""
    _write_filter("add-filter", program_fd, ifindex, parent)


def replace_filter(program_fd: int, ifindex: int, parent: Parent) -> None:
    """Put a program in our place, atomically."""
    _write_filter("replace-filter", program_fd, ifindex, parent)


def remove_filter(ifindex: int, parent: Parent) -> None:
    """Detach our program. OSError ENOENT, EINVAL or ENODEV when filter, qdisc or device is gone."""
    with _netlink() as netlink:
        netlink.tc(
            "del-filter",
            "bpf",
            ifindex,
            _HANDLE,
            parent=parent,
            prio=_PRIORITY,
            protocol=_ETH_P_ALL,
        )


def filters(ifindex: int, parent: Parent) -> tuple[Filter, ...]:
    """The cls_bpf filters of one direction, in the order in which they run."""
    with _netlink() as netlink:
        found = netlink.get_filters(index=ifindex, parent=parent)
        return tuple(_filter(message) for message in found if _is_program(message))


def _write_filter(command: str, program_fd: int, ifindex: int, parent: Parent) -> None:
    with _netlink() as netlink:
        netlink.tc(
            command,
            "bpf",
            ifindex,
            _HANDLE,
            parent=parent,
            prio=_PRIORITY,
            protocol=_ETH_P_ALL,
            fd=program_fd,
            name=_NAME,
            direct_action=True,
        )


def _is_program(message: tcmsg) -> bool:
    # Each priority is listed, too, as a filter without a handle.
    return bool(message.get_attr("TCA_KIND") == "bpf" and message["handle"])


def _filter(message: tcmsg) -> Filter:
    options = message.get_attr("TCA_OPTIONS")
    place = (message["info"] >> 16, message["handle"], options.get_attr("TCA_BPF_NAME"))
    return Filter(program_id=_program_id(options), ours=place == (_PRIORITY, _HANDLE, _NAME))


def _program_id(options: nla) -> int:
    """The attribute TCA_BPF_ID, which pyroute2 leaves undecoded."""
    for attribute in options.get_attrs("UNKNOWN"):
        if attribute["header"]["type"] == _TCA_BPF_ID:
            start = attribute.offset + _ATTRIBUTE_HEADER
            return int.from_bytes(attribute.data[start : start + 4], sys.byteorder)
    return 0


@contextmanager
def _netlink() -> Iterator[IPRoute]:
    with IPRoute() as netlink:
        try:
            yield netlink
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from error

"""Ends sockets of other processes: their next call fails with ECONNABORTED, and a poll wakes up.

The kernel does it for who asks by netlink (sock_diag(7), SOCK_DESTROY), in the network namespace
that a socket is in, where the kernel was built with CONFIG_INET_DIAG_DESTROY.
"""

from __future__ import annotations

import errno
import socket
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from plait.core.errors import PlaitError, SystemProblem

if TYPE_CHECKING:  # plugins import this module whenever they are loaded: pyroute2 takes its time
    from pyroute2 import DiagSocket
    from pyroute2.netlink import nlmsg

_PROC_NAMESPACES = "[0-9]*/ns/net"


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketName:
    """A socket, by the cookies of itself and of its network namespace, and its protocol."""

    cookie: int
    netns: int
    protocol: int


def destroy_sockets(sockets: Collection[SocketName]) -> int:
    """End these sockets, those that are there; returns how many.

    It takes a pass over all sockets of their namespaces; those that no process is in are passed
    over. SystemProblem when the kernel cannot do it.
    """
    wanted: dict[int, set[SocketName]] = defaultdict(set)
    for each in sockets:
        wanted[each.netns].add(each)
    with ThreadPoolExecutor(max_workers=1) as thread:  # it steps into namespaces
        return thread.submit(_destroy_everywhere, wanted).result()


def _destroy_everywhere(wanted: Mapping[int, Collection[SocketName]]) -> int:
    from plait.core.endpoints import namespaces

    own = namespaces.cookie()
    count = _destroy_here(wanted.get(own, ()))
    left = wanted.keys() - {own}
    for path in _namespaces() if left else ():
        with suppress(PlaitError, OSError), namespaces.entered(path):
            cookie = namespaces.cookie()
            if cookie in left:
                left -= {cookie}
                count += _destroy_here(wanted[cookie])
        if not left:
            break
    return count


def _namespaces() -> Iterator[Path]:
    """A path to each network namespace that a process is in or that has a name."""
    from plait.core.endpoints import namespaces

    seen = set()
    for path in (*Path("/proc").glob(_PROC_NAMESPACES), *namespaces.RUN.glob("*")):
        with suppress(OSError):
            inode = path.stat().st_ino
            if inode not in seen:
                seen.add(inode)
                yield path


def _destroy_here(sockets: Collection[SocketName]) -> int:
    from pyroute2 import DiagSocket

    count = 0
    with DiagSocket() as diag:
        diag.bind()
        for protocol in {each.protocol for each in sockets}:
            cookies = {each.cookie for each in sockets if each.protocol == protocol}
            for family in (socket.AF_INET, socket.AF_INET6):
                for found in diag.get_sock_stats(family=family, protocol=protocol):
                    if found["idiag_cookie"] in cookies:
                        count += _end(diag, protocol, found)
    return count


def _end(diag: DiagSocket, protocol: int, found: nlmsg) -> int:
    from pyroute2 import NetlinkError
    from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
    from pyroute2.netlink.diag import SOCK_DESTROY, inet_diag_req

    request = inet_diag_req()
    request["sdiag_family"] = found["idiag_family"]
    request["sdiag_protocol"] = protocol
    for key in ("idiag_sport", "idiag_dport", "idiag_if", "idiag_cookie"):
        request[key] = found[key]
    for key in ("idiag_src", "idiag_dst"):
        request[key] = _words(found[key])
    try:
        tuple(diag.nlm_request(request, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK))
    except NetlinkError as error:
        if error.code == errno.ENOENT:  # it has ended by itself meanwhile
            return 0
        if error.code == errno.EOPNOTSUPP:
            raise SystemProblem(
                "the kernel cannot end sockets of others",
                expected="a kernel built with CONFIG_INET_DIAG_DESTROY=y",
            ) from error
        raise
    return 1


def _words(address: str) -> tuple[int, ...]:
    """An address as the kernel has it here: four words, of which IPv4 fills the first."""
    packed = ip_address(address).packed.ljust(16, b"\0")
    return tuple(int.from_bytes(packed[at : at + 4], "big") for at in range(0, 16, 4))

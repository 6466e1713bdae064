"""Ends sockets of other processes: their next call fails with ECONNABORTED, and a poll wakes up.

The kernel does it for who asks by netlink (sock_diag(7), SOCK_DESTROY), in the network namespace
that a socket is in, where the kernel was built with CONFIG_INET_DIAG_DESTROY.
"""

import errno
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from plait.core.errors import PlaitError, SystemProblem

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 20, 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")  # struct inet_diag_req_v2, up to the socket's id
_MESSAGE = struct.Struct("=BBBB")  # struct inet_diag_msg, up to the socket's id
_ID_BYTES, _COOKIE_AT = 48, 40
_ANY_STATE = 0xFFFFFFFF
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
    count = 0
    for protocol in {each.protocol for each in sockets}:
        cookies = {each.cookie for each in sockets if each.protocol == protocol}
        for family in (socket.AF_INET, socket.AF_INET6):
            for found in _ids(family, protocol):
                if int.from_bytes(found[_COOKIE_AT:], "little") in cookies:
                    count += _end(family, protocol, found)
    return count


def _ids(family: int, protocol: int) -> list[bytes]:
    """The kernel's names of all sockets here: struct inet_diag_sockid."""
    request = _REQUEST.pack(family, protocol, 0, 0, _ANY_STATE) + bytes(_ID_BYTES)
    answers = _ask(_SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, request)
    return [answer[_MESSAGE.size : _MESSAGE.size + _ID_BYTES] for answer in answers]


def _end(family: int, protocol: int, found: bytes) -> int:
    request = _REQUEST.pack(family, protocol, 0, 0, _ANY_STATE) + found
    try:
        _ask(_SOCK_DESTROY, _NLM_F_ACK, request)
    except FileNotFoundError:  # it has ended by itself meanwhile
        return 0
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise SystemProblem(
            "the kernel cannot end sockets of others",
            expected="a kernel built with CONFIG_INET_DIAG_DESTROY=y",
        ) from error
    return 1


def _ask(kind: int, flags: int, request: bytes) -> list[bytes]:
    """The answers to one message. OSError: what the kernel says."""
    answers: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        size = _HEADER.size + len(request)
        netlink.send(_HEADER.pack(size, kind, _NLM_F_REQUEST | flags, 1, 0) + request)
        while True:
            for answer, body in _messages(netlink.recv(1 << 16)):
                if answer == _NLMSG_DONE:
                    return answers
                if answer == _NLMSG_ERROR:
                    failed = -int.from_bytes(body[:4], "little", signed=True)
                    if failed:
                        raise OSError(failed, os.strerror(failed))
                    return answers
                answers.append(body)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + size]
        at += -(-size // 4) * 4

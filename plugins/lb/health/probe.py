"""A probe: one question to one backend, over TCP or HTTP."""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from plait.plugins.lb.backends import Backend

HEALTHY = range(200, 400)
"""HTTP statuses of who is well."""

_STATUS_LINE_MAX = 1024
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # struct linger: else each check lingers on for a minute


class Failure(NamedTuple):
    """What a backend did in place of a good answer, and more of it."""

    what: str
    why: str


Ask = Callable[[Backend, str, float], Awaitable[Failure | None]]

_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def ask(backend: Backend, path: str, timeout: float) -> Failure | None:
    """Whether a backend accepts a connection or, with a `path`, answers a GET, within `timeout`
    seconds. None is a good answer; OSError: it could not be asked.
    """
    try:
        async with asyncio.timeout(timeout):
            return await _ask(backend, path)
    except TimeoutError:
        return Failure("does not answer", f"timeout of {timeout:g} s")
    except OSError as error:
        if error.errno in _OUR_OWN:
            raise
        why = os.strerror(error.errno) if error.errno else str(error)
        return Failure("does not answer", why.lower())


async def _ask(backend: Backend, path: str) -> Failure | None:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET if backend.address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        await loop.sock_connect(sock, (str(backend.address), backend.port))
        if not path:
            return None
        await loop.sock_sendall(sock, _request(backend, path))
        answer = b""
        while b"\n" not in answer and len(answer) < _STATUS_LINE_MAX:
            more = await loop.sock_recv(sock, _STATUS_LINE_MAX)
            if not more:
                break
            answer += more
    return _judged(answer)


def _request(backend: Backend, path: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {backend}",
        "User-Agent: plait",
        "Accept: */*",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _judged(answer: bytes) -> Failure | None:
    """What the first line of an answer says: `HTTP/1.1 200 OK`."""
    words = answer.partition(b"\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        return Failure("answers badly", "not as HTTP does")
    status = int(words[1])
    return None if status in HEALTHY else Failure("answers badly", f"status {status}")

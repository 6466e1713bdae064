"""What the traffic tools share: where to send, when to stop, what an answer looks like."""

import signal
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from types import FrameType
from typing import Self

ANSWER_SEPARATOR = b" "

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python's socket module lacks it


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A socket address."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ADDR:PORT or [ADDR]:PORT. Raises ValueError."""
        host, _, port = text.rpartition(":")
        return cls(host=str(ip_address(host.strip("[]"))), port=int(port))

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def pair(self) -> tuple[str, int]:
        return (self.host, self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Until:
    """The end of a run: after `seconds` (None: never), or at SIGTERM or SIGINT."""

    def __init__(self, seconds: float | None) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._signalled = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def over(self) -> bool:
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return late or self._signalled

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._signalled = True


RECEIVE_BUFFER = 8 << 20
"""Bytes a datagram socket holds: one whose process gets no CPU for a while must lose nothing."""

PATIENCE = 0.05
"""Longest wait in seconds between two looks at `Until`."""


def widen(sock: socket.socket) -> None:
    """Give a datagram socket a large buffer; without the privilege, as large as is allowed."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def split_answer(answer: bytes) -> tuple[str, bytes]:
    """(name of the server, the message that it returns)."""
    server, _, message = answer.partition(ANSWER_SEPARATOR)
    return server.decode(errors="replace"), message

"""Connections that stay: each exchanges a message every interval, checked byte by byte."""

import errno
import heapq
import selectors
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from plait.core.lab.traffic.base import PATIENCE, Target, Until, split_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What became of the connections.

    `failed` were never opened, `reset` were ended by the other side, `stalled` waited longer than
    the limit for an answer, `corrupt` got one that is not what they sent. `backends` counts the
    connections by the server that answered.
    """

    opened: int
    failed: int
    reset: int
    stalled: int
    corrupt: int
    exchanged: int
    longest_wait_ms: float
    backends: Mapping[str, int]


@dataclass(slots=True)
class _Connection:
    number: int
    sock: socket.socket
    opened: bool = False
    closed: bool = False
    stalled: bool = False
    corrupt: bool = False
    rounds: int = 0
    message: bytes = b""
    asked: float | None = None
    partial: bytes = field(default=b"", repr=False)
    backend: str = ""


class Hold:
    """Opens `count` connections; a message per `interval` seconds on each, due within `limit`."""

    def __init__(self, target: Target, *, count: int, interval: float, limit: float) -> None:
        self._interval = interval
        self._limit = limit
        self._longest = 0.0
        self._exchanged = 0
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int]] = []
        self._connections = [self._open(target, number) for number in range(count)]

    def run(self, until: Until) -> Held:
        """Exchange messages until the end, then close every connection."""
        while not until.over():
            next_due = self._due[0][0] if self._due else float("inf")
            wait = min(max(next_due - time.monotonic(), 0), PATIENCE)
            for key, events in self._selector.select(wait):
                self._advance(key.data, events)
            self._ask_all_due()
        return self._report()

    def _open(self, target: Target, number: int) -> _Connection:
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(number, sock, asked=time.monotonic())
        problem = sock.connect_ex(target.pair)
        if problem in (0, errno.EINPROGRESS):
            self._selector.register(sock, selectors.EVENT_WRITE, connection)
        else:
            connection.closed = True
            sock.close()
        return connection

    def _advance(self, connection: _Connection, events: int) -> None:
        try:
            if not connection.opened:
                self._opened(connection)
            elif events & selectors.EVENT_READ:
                self._read(connection)
        except OSError:
            connection.closed = True
            self._selector.unregister(connection.sock)
            connection.sock.close()

    def _opened(self, connection: _Connection) -> None:
        problem = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            raise OSError(problem, "connect")
        connection.opened = True
        connection.asked = None
        self._selector.modify(connection.sock, selectors.EVENT_READ, connection)
        heapq.heappush(self._due, (time.monotonic(), connection.number))

    def _ask_all_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, number = heapq.heappop(self._due)
            connection = self._connections[number]
            if not connection.closed:
                self._ask(connection)

    def _ask(self, connection: _Connection) -> None:
        connection.rounds += 1
        connection.message = b"%d:%d:%s" % (connection.number, connection.rounds, b"x" * 64)
        connection.asked = time.monotonic()
        try:
            connection.sock.send(connection.message + b"\n")
        except OSError:
            self._advance(connection, selectors.EVENT_READ)  # reading tells why, and closes

    def _read(self, connection: _Connection) -> None:
        data = connection.sock.recv(65536)
        if not data:
            raise ConnectionResetError
        *lines, connection.partial = (connection.partial + data).split(b"\n")
        for line in lines:
            self._answered(connection, line)

    def _answered(self, connection: _Connection, line: bytes) -> None:
        connection.backend, message = split_answer(line)
        if connection.asked is None or message != connection.message:
            connection.corrupt = True
            return
        self._exchanged += 1
        self._note_wait(connection)
        heapq.heappush(self._due, (connection.asked + self._interval, connection.number))
        connection.asked = None

    def _note_wait(self, connection: _Connection) -> None:
        if connection.asked is None or connection.closed:
            return
        wait = time.monotonic() - connection.asked
        self._longest = max(self._longest, wait)
        connection.stalled = connection.stalled or wait > self._limit

    def _report(self) -> Held:
        for connection in self._connections:
            self._note_wait(connection)
            connection.sock.close()
        opened = [each for each in self._connections if each.opened]
        return Held(
            opened=len(opened),
            failed=len(self._connections) - len(opened),
            reset=sum(each.closed for each in opened),
            stalled=sum(each.stalled for each in opened),
            corrupt=sum(each.corrupt for each in opened),
            exchanged=self._exchanged,
            longest_wait_ms=round(self._longest * 1000, 3),
            backends=dict(Counter(each.backend for each in opened if each.backend)),
        )

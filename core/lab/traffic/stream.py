"""The numbered UDP stream: every number goes out once and should come back once."""

import select
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from plait.core.lab.traffic.base import PATIENCE, Target, Until, split_answer, widen


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What became of the numbers.

    `lost_ranges` holds the first and last number of each run of losses. `max_gap_ms` is the
    longest silence between two answers. `foreign` counts datagrams from another address than the
    target's: answers that nobody translated back.
    """

    sent: int
    received: int
    lost: int
    lost_ranges: Sequence[Sequence[int]]
    duplicates: int
    foreign: int
    send_errors: int
    max_gap_ms: float
    servers: Mapping[str, int]


class Tally:
    """Counts answers by number."""

    def __init__(self) -> None:
        self._seen = bytearray()
        self._servers: Counter[str] = Counter()
        self._last = 0.0
        self.max_gap = 0.0
        self.duplicates = 0

    def sent(self) -> int:
        """A new number goes out: which."""
        self._seen.append(0)
        return len(self._seen) - 1

    def complete(self) -> bool:
        """True when every number was answered."""
        return 0 not in self._seen

    def heard(self, number: int, server: str, now: float) -> None:
        """An answer came at `now` (seconds)."""
        self.max_gap = max(self.max_gap, now - (self._last or now))
        self._last = now
        self._servers[server] += 1
        self.duplicates += self._seen[number]
        self._seen[number] = 1

    def report(self, *, foreign: int, send_errors: int) -> Streamed:
        return Streamed(
            sent=len(self._seen),
            received=self._seen.count(1),
            lost=self._seen.count(0),
            lost_ranges=tuple(self._lost_ranges()),
            duplicates=self.duplicates,
            foreign=foreign,
            send_errors=send_errors,
            max_gap_ms=round(self.max_gap * 1000, 3),
            servers=dict(self._servers),
        )

    def _lost_ranges(self) -> Iterator[tuple[int, int]]:
        first = self._seen.find(0)
        while first != -1:
            after = self._seen.find(1, first)
            end = len(self._seen) if after == -1 else after
            yield first, end - 1
            first = self._seen.find(0, end)


class Stream:
    """Sends `rate` numbers per second to the target, each in a datagram of `size` bytes or more."""

    def __init__(self, target: Target, *, rate: float, size: int) -> None:
        self._target = target
        self._rate = rate
        self._size = size
        self._tally = Tally()
        self._foreign = 0
        self._send_errors = 0
        # Not connected: an ICMP error would swallow the next number, and hide foreign answers.
        self._sock = socket.socket(target.family, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        widen(self._sock)

    def run(self, until: Until, *, grace: float) -> Streamed:
        """Stream until the end, then wait `grace` seconds at most for the answers under way."""
        start = time.monotonic()
        sent = 0
        while not until.over():
            while sent <= (time.monotonic() - start) * self._rate:
                self._send()
                sent += 1
            self._listen(start + sent / self._rate)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and not self._tally.complete():
            self._listen(deadline)
        self._sock.close()
        return self._tally.report(foreign=self._foreign, send_errors=self._send_errors)

    def _send(self) -> None:
        message = b"%d " % self._tally.sent()
        try:
            self._sock.sendto(message.ljust(self._size, b"."), self._target.pair)
        except OSError:
            self._send_errors += 1

    def _listen(self, until: float) -> None:
        wait = min(max(until - time.monotonic(), 0), PATIENCE)
        if not select.select([self._sock], [], [], wait)[0]:
            return
        while True:
            try:
                answer, sender = self._sock.recvfrom(65536)
            except BlockingIOError:
                return
            if sender[:2] != self._target.pair:
                self._foreign += 1
                continue
            server, message = split_answer(answer)
            self._tally.heard(int(message.split()[0]), server, time.monotonic())

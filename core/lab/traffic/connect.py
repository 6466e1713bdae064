"""Short connections: open, ask once, close, over and over."""

import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plait.core.lab.traffic.base import Target, Until, split_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """How the connections went; times are from connect to the answer. `errors` is by kind."""

    connects: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: Mapping[str, int]
    backends: Mapping[str, int]


def connect(target: Target, until: Until, *, timeout: float) -> Connected:
    """Connect one at a time until the end, but once at least.

    A connection that takes longer than `timeout` seconds is an error.
    """
    start = time.monotonic()
    seconds: list[float] = []
    errors: Counter[str] = Counter()
    backends: Counter[str] = Counter()
    while not (until.over() and (seconds or errors)):
        begin = time.monotonic()
        try:
            backends[_ask_once(target, timeout)] += 1
        except OSError as error:
            errors[type(error).__name__] += 1
        else:
            seconds.append(time.monotonic() - begin)
    seconds.sort()
    return Connected(
        connects=len(seconds),
        per_second=round(len(seconds) / (time.monotonic() - start), 1),
        p50_ms=_percentile_ms(seconds, 0.5),
        p99_ms=_percentile_ms(seconds, 0.99),
        errors=dict(errors),
        backends=dict(backends),
    )


def _ask_once(target: Target, timeout: float) -> str:
    """One connection; the name of the server that answered."""
    question = b"hello"
    with socket.socket(target.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        sock.connect(target.pair)
        sock.sendall(question + b"\n")
        server, message = split_answer(sock.recv(4096).rstrip(b"\n"))
    if message != question:
        raise ConnectionAbortedError(f"{target} answered {message!r}")
    return server


def _percentile_ms(ordered: Sequence[float], part: float) -> float:
    """Nearest rank; 0 when there is nothing to rank."""
    return round(ordered[int(part * (len(ordered) - 1))] * 1000, 3) if ordered else 0.0

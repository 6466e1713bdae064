"""Maglev's lookup tables: an even share for each backend, and few flows move when one goes.

Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
section 3.4. Every node makes the same table of the same backends.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, cycle, filterfalse, islice

from plait.plugins.lb.backends import Backend

_CACHED_SLOTS = 1 << 20  # 8 MB; all walks of a table of 1021 slots


class Maglev:
    """Makes tables of `size` slots, a prime number."""

    def __init__(self, size: int) -> None:
        self._slots = tuple(range(size))
        # For a small table this holds every walk there is: thousands of backends share them.
        self._walk = lru_cache(maxsize=_CACHED_SLOTS // size)(self._make_walk)

    def table(self, backends: Sequence[Backend]) -> tuple[int, ...]:
        """The index of a backend for each slot. `backends` are distinct, at least one.

        The backends take turns; each takes the next slot of its permutation that is still free. The
        filters look into `taken` as they go, in C, which is what makes this fast.
        """
        taken: dict[int, int] = {}
        free = [filterfalse(taken.__contains__, self._permutation(each)) for each in backends]
        for index, slots in islice(cycle(enumerate(free)), len(self._slots)):
            taken[next(slots)] = index
        return tuple(map(taken.__getitem__, self._slots))

    def _permutation(self, backend: Backend) -> Iterator[int]:
        """All slots, in the backend's own order of preference: offset + j * skip modulo the size.

        With offset = start * skip that is one walk for each skip, begun at `start`.
        """
        digest = blake2b(backend.packed, digest_size=16, key=b"plait maglev").digest()
        size = len(self._slots)
        walk = self._walk(int.from_bytes(digest[:8], "big") % (size - 1) + 1)
        start = int.from_bytes(digest[8:], "big") % size
        return chain(walk[start:], walk[:start])

    def _make_walk(self, skip: int) -> tuple[int, ...]:
        slots, size = self._slots, len(self._slots)
        return tuple([slots[step * skip % size] for step in range(size)])

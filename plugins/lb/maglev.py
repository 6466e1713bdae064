"""Maglev's lookup tables: a fair share for each backend, and few flows move when one goes.

Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
section 3.4; weights as turns that are left out. Every node makes the same table of the same
backends.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import cycle, filterfalse, islice, repeat
from math import isqrt
from operator import mod

from plait.plugins.lb.backends import Backend, Backends

CHUNK = 992
"""Slots of a table that are an entry of the map, which fills 2 kB: LB_CHUNK of bpf/lb_tables.h."""

_SIZES = (991, 1979, 3967)
SLOTS_EACH = 99
"""How many each backend is best given: about a hundred, as Maglev's authors say."""


def table_size(backends: int, largest: int) -> int:
    """A prime that gives each backend so many slots, if it may be so large."""
    wanted = backends * SLOTS_EACH
    return next((size for size in _SIZES if wanted <= size < largest), largest)


def table_of(backends: Backends, size: int) -> tuple[int, ...]:
    """The number of a ready backend for each of `size` slots, a prime. There must be one at least.

    The backends take turns; each takes the next slot of its permutation that is still free. While
    many are free, it is found by trying, all in C: the filters look into `taken` as it fills. The
    last ones would take as many tries as there are slots: there the backend looks which of the free
    ones comes first in its permutation.
    """
    walks = [_walk(each, size) for each in backends.ready]
    order = _turns(backends)
    taken: dict[int, int] = {}
    free = [filterfalse(taken.__contains__, walk.slots()) for walk in walks]
    picks = map(next, cycle([free[number] for number in order]))
    by_trying = size - isqrt(size)
    for _ in map(taken.setdefault, islice(picks, by_trying), cycle(order)):
        pass
    left = list(filterfalse(taken.__contains__, range(size)))
    for number in islice(cycle(order), by_trying, size):
        taken[left.pop(walks[number].first_of(left))] = number
    return tuple(map(taken.__getitem__, range(size)))


def chunks_of(table: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """A table in pieces of CHUNK slots; zeros fill the last one up."""
    padded = (*table, *(0,) * (-len(table) % CHUNK))
    return tuple(padded[start : start + CHUNK] for start in range(0, len(padded), CHUNK))


def _turns(backends: Backends) -> Sequence[int]:
    """Whose turn it is, over one round: of the heaviest as often as it weighs, spread evenly."""
    indices = range(len(backends.ready))
    if not backends.weights:
        return indices
    most = max(backends.weights)
    return tuple(
        [
            index
            for turn in range(most)
            for index, weight in enumerate(backends.weights)
            if turn * weight % most < weight
        ]
    )


class _Walk:
    """All slots, in a backend's own order of preference: offset + j * skip modulo the size."""

    __slots__ = ("_begin", "_inverse", "_size", "_skip")

    def __init__(self, backend: Backend, size: int) -> None:
        digest = blake2b(backend.packed, digest_size=16, key=b"plait maglev").digest()
        self._size = size
        self._skip = int.from_bytes(digest[:8], "big") % (size - 1) + 1
        self._begin = int.from_bytes(digest[8:], "big") % size * self._skip
        self._inverse = pow(self._skip, -1, size)

    def slots(self) -> Iterator[int]:
        """The slots in order, computed as they are asked for."""
        end = self._begin + self._skip * self._size
        return map(mod, range(self._begin, end, self._skip), repeat(self._size))

    def first_of(self, slots: Sequence[int]) -> int:
        """The index of that one of some slots that comes first in the order."""
        begin, inverse, size = self._begin, self._inverse, self._size
        turns = [(slot - begin) * inverse % size for slot in slots]
        return turns.index(min(turns))


@lru_cache(maxsize=4096)
def _walk(backend: Backend, size: int) -> _Walk:
    """Kept for a while: a pool of which one backend changes has all others again."""
    return _Walk(backend, size)

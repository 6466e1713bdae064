"""Maglev's lookup tables: a fair share for each backend, and few flows move when one goes.

Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
section 3.4; weights as turns that are left out. Every node makes the same table of the same
backends.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import cycle, filterfalse, islice

from plait.plugins.lb.backends import Backend, Backends

CHUNK = 1024
"""Slots of a table that are an entry of the map: LB_CHUNK of bpf/lb_tables.h."""

_SIZES = (1021, 2039, 4093)
SLOTS_EACH = 100
"""How many each backend is best given: Maglev's authors say 100 keep shares within a percent."""


def table_size(backends: int, largest: int) -> int:
    """A prime that gives each backend a hundred slots, if it may be so large."""
    wanted = backends * SLOTS_EACH
    return next((size for size in _SIZES if wanted <= size < largest), largest)


def table_of(backends: Backends, size: int) -> tuple[int, ...]:
    """The index of a ready backend for each of `size` slots, a prime. There must be one at least.

    The backends take turns; each takes the next slot of its permutation that is still free. The
    filters look into `taken` as they go, in C, which is what makes this fast.
    """
    taken: dict[int, int] = {}
    free: list[Callable[[], int]] = [
        filterfalse(taken.__contains__, _permutation(each, size)).__next__
        for each in backends.ready
    ]
    for index in islice(cycle(_turns(backends)), size):
        taken[free[index]()] = index
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


def _permutation(backend: Backend, size: int) -> Iterator[int]:
    """All slots, in the backend's own order of preference: offset + j * skip modulo the size."""
    digest = blake2b(backend.packed, digest_size=16, key=b"plait maglev").digest()
    skip = int.from_bytes(digest[:8], "big") % (size - 1) + 1
    offset = int.from_bytes(digest[8:], "big") % size * skip
    return map(size.__rmod__, range(offset, offset + skip * size, skip))

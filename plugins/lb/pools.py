"""Pools: backends that share the flows of a Service's port, and what the maps hold of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from plait.core.api import Address, Entry, Record, ServicePort, TrafficPolicy
from plait.plugins.lb.backends import FEW, Backend, Backends
from plait.plugins.lb.config import Algorithm
from plait.plugins.lb.frontends import Served
from plait.plugins.lb.maglev import chunks_of, table_of, table_size

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}

ALGORITHMS = {Algorithm.RANDOM: 0, Algorithm.MAGLEV: 1}
"""enum lb_algorithm of bpf/lb_tables.h."""

MANY, SPLIT, RANGES, CHOSEN, ELSEWHERE = (1 << bit for bit in range(5))
"""enum lb_flag of bpf/lb_tables.h."""

GROUP = 40
"""Backends that are an entry of the map, which fills 1 kB: LB_GROUP of bpf/lb_tables.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """`number` is the pool's, the same on all nodes, `table` the slots of its Maglev table, 0 for
    none; `affinity` the seconds that a client stays, 0 for none. Without a backend that is ready
    there may be some `elsewhere`.
    """

    number: int
    backends: Backends
    algorithm: Algorithm
    table: int
    affinity: int
    elsewhere: bool = False
    version: int = 0

    def record(self, flags: int) -> Record:
        """struct lb_service, with few backends in it."""
        few = () if self.backends.many else self.backends.all
        if self.backends.many:
            flags |= MANY
        if self.elsewhere and not self.backends.ready:
            flags |= ELSEWHERE
        return {
            "id": self.number,
            "count": len(self.backends.ready),
            "total": len(self.backends.all),
            "version": self.version,
            "affinity": self.affinity,
            "table": self.table,
            "algorithm": ALGORITHMS[self.algorithm],
            "flags": flags,
            "seed": _seeds(() if self.backends.many else self.backends.ready, FEW),
            "few": tuple([each.record for each in few]),
        }

    def entries(self) -> Iterator[Entry]:
        """Where many backends stand, and how flows are shared among them.

        With any change, all of these are new ones: see `_version_of`.
        """
        if not self.backends.many:
            return
        everybody, version = self.backends.all, self.version
        for number, first in enumerate(range(0, len(everybody), GROUP)):
            group = everybody[first : first + GROUP]
            ranked = self.backends.ready[first : first + GROUP] if self._ranked else ()
            yield Entry(
                map="lb_groups",
                key={"service": self.number, "group": number, "version": version},
                value={
                    "seed": _seeds(ranked, GROUP),
                    "backend": tuple([each.record for each in group]),
                },
                touches=tuple([each.address for each in group]),
            )
        if self.table:
            for number, chunk in enumerate(chunks_of(table_of(self.backends, self.table))):
                key = {"service": self.number, "chunk": number, "version": version}
                yield Entry(map="lb_maglev", key=key, value={"number": chunk})

    @property
    def _ranked(self) -> bool:
        """Whether flows rank the backends of the first group, and no other takes new ones."""
        return not self.table and len(self.backends.ready) <= GROUP


def pool_of(
    served: Served,
    policy: TrafficPolicy,
    backends: Backends,
    *,
    algorithm: Algorithm,
    largest_table: int,
    elsewhere: bool,
) -> Pool:
    """A table is for more backends than a group has, which flows rank, and for weights, whatever
    the algorithm.
    """
    count = len(backends.ready)
    tabled = backends.weights or (count > GROUP and algorithm is Algorithm.MAGLEV)
    table = table_size(count, largest_table) if tabled else 0
    return Pool(
        number=pool_number(served.service.name, served.port, served.family, policy),
        backends=backends,
        algorithm=algorithm,
        table=table,
        affinity=served.service.affinity or 0,
        elsewhere=elsewhere,
        version=_version_of(backends, table) if backends.many else 0,
    )


def _seeds(ranked: Sequence[Backend], most: int) -> tuple[int, ...]:
    """What flows rank them by; zeros follow."""
    seeds = [each.seed for each in ranked]
    return (*seeds, *(0,) * (most - len(seeds)))


def _version_of(backends: Backends, table: int) -> int:
    """32 bits that tell these backends from others: entries of one version belong together, the
    Service names it, and the datapath never meets a mixture.
    """
    digest = blake2b(digest_size=4, key=b"plait version")
    digest.update(repr((len(backends.ready), backends.weights, table)).encode())
    digest.update(b"".join([each.packed for each in backends.all]))
    return int.from_bytes(digest.digest(), "big")


def pool_number(owner: str, port: ServicePort, family: type[Address], policy: TrafficPolicy) -> int:
    """The 64-bit number by which the datapath knows a pool, the same on all nodes."""
    proto = PROTOCOLS[port.protocol]
    name = f"{owner}:{port.name or port.port}/{proto}/{family(0).version}/{policy.value}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")

"""Backends: who serves a Service's port, in an order and with seeds that all nodes agree on."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from hashlib import blake2b
from math import gcd
from typing import NamedTuple

from plait.core.api import (
    Address,
    Distribution,
    EndpointSlice,
    Record,
    Service,
    ServicePort,
    SliceEndpoint,
)
from plait.plugins.lb.annotations import weight_of
from plait.plugins.lb.topology import Here, preferred

FEW = 6
"""Backends that a Service holds in itself: LB_FEW of bpf/lb_tables.h, which says why."""


class Backend(NamedTuple):
    """An address and a port that serve."""

    address: Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"

    @property
    def packed(self) -> bytes:
        """What hashes are made of: the same on all nodes."""
        return self.address.packed + self.port.to_bytes(2, "big")

    @property
    def seed(self) -> int:
        """What flows rank it by: 32 bits."""
        digest = blake2b(self.packed, digest_size=4, key=b"plait rank").digest()
        return int.from_bytes(digest, "big")

    @property
    def record(self) -> Record:
        """struct lb_backend."""
        return {"addr": self.address, "port": self.port}


class Candidate(NamedTuple):
    """What a slice says of a backend, and what checks do."""

    endpoint: SliceEndpoint
    weight: int
    answers: bool = True


Candidates = dict[Backend, Candidate]
_Known = tuple[Backend, Candidate]
"""One of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """Who is `ready` for new flows, and who only keeps those that it has; in order of address.

    `weights` are those of the ready ones, empty when they are all alike.
    """

    ready: tuple[Backend, ...] = ()
    others: tuple[Backend, ...] = ()
    weights: tuple[int, ...] = ()

    @property
    def all(self) -> tuple[Backend, ...]:
        return (*self.ready, *self.others)

    @property
    def many(self) -> bool:
        """Whether they are too many, or too unlike, to be held in the Service itself."""
        return len(self.ready) + len(self.others) > FEW or bool(self.weights)


def candidates_of(
    port: ServicePort, slices: Sequence[EndpointSlice], family: type[Address]
) -> Candidates:
    """All backends of one family. Of one that several slices name, which happens while endpoints
    move between slices, what counts is said where it is ready.
    """
    found: Candidates = {}
    for each in slices:
        numbers = [
            served.port
            for served in each.ports
            if (served.name, served.protocol) == (port.name, port.protocol)
        ]
        weight = weight_of(each)
        for endpoint in each.endpoints:
            if isinstance(endpoint.address, family):
                candidate = Candidate(endpoint, weight)
                for number in numbers:
                    backend = Backend(endpoint.address, number)
                    known = found.setdefault(backend, candidate)
                    if endpoint.ready and not known.endpoint.ready:
                        found[backend] = candidate
    return found


def checked(service: Service, candidates: Candidates, silent: Set[Backend]) -> Candidates:
    """The same, where those that are `silent` do not answer. When nobody else takes new flows, all
    answer: more likely something is wrong with the checks, and nobody is worse off than without.
    """
    told = {key: each._replace(answers=key not in silent) for key, each in candidates.items()}
    return told if any(each.weight for _, each in _takers(service, told)) else candidates


def anywhere(service: Service, candidates: Candidates, here: Here) -> Backends:
    """The backends of the whole cluster, those near to this node where that is asked for."""
    takers = _takers(service, candidates)
    endpoints = [each.endpoint for _, each in takers]
    if service.distribution is not Distribution.ANY or _hinted(endpoints):
        near = preferred(endpoints, service.distribution, here)
        if near:
            takers = [(key, each) for key, each in takers if near(each.endpoint)]
    return _backends(takers, candidates)


def on_this_node(service: Service, candidates: Candidates, here: Here) -> Backends:
    """The backends of this node; all others keep the flows that they have."""
    own = {key: each for key, each in candidates.items() if here.has(each.endpoint)}
    return _backends(_takers(service, own), candidates)


def _hinted(endpoints: Sequence[SliceEndpoint]) -> bool:
    return bool(endpoints) and bool(endpoints[0].for_zones or endpoints[0].for_nodes)


def _takers(service: Service, candidates: Candidates) -> list[_Known]:
    """Who takes new flows, of those that answer: who is ready or else, as a last resort, who still
    serves on its way out.

    Source: KEP-1669, proxy terminating endpoints.
    """
    answering = [(key, each) for key, each in candidates.items() if each.answers]
    if service.publish_not_ready:
        return answering
    ready = [(key, each) for key, each in answering if each.endpoint.ready]
    return ready or [
        (key, each)
        for key, each in answering
        if each.endpoint.serving and each.endpoint.terminating
    ]


def _backends(takers: Iterable[_Known], candidates: Candidates) -> Backends:
    ready = sorted([(key, each) for key, each in takers if each.weight], key=_place)
    others: list[_Known] = []
    if len(ready) < len(candidates):
        named = {key for key, _ in ready}
        others = sorted(
            [known for known in candidates.items() if known[0] not in named], key=_place
        )
    weights = tuple([each.weight for _, each in ready])
    divisor = gcd(*weights)
    return Backends(
        ready=tuple([key for key, _ in ready]),
        others=tuple([key for key, _ in others]),
        weights=tuple([each // divisor for each in weights]) if len(set(weights)) > 1 else (),
    )


def _place(known: _Known) -> tuple[int, int]:
    backend = known[0]
    return int(backend.address), backend.port

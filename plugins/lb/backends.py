"""Backends: who serves a Service's port, in an order and with seeds that all nodes agree on."""

from collections.abc import Sequence
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from plait.core.api import EndpointSlice, Record, ServicePort

FEW = 6
"""Backends that a Service holds in itself: LB_FEW of bpf/lb.h, which says why."""


class Backend(NamedTuple):
    """An address and a port that serve."""

    address: IPv4Address | IPv6Address
    port: int

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


class Backends(NamedTuple):
    """Who is `ready` for new flows, and who only keeps those that it has; in order of address."""

    ready: tuple[Backend, ...]
    others: tuple[Backend, ...]


def backends_of(
    port: ServicePort,
    slices: Sequence[EndpointSlice],
    family: type[IPv4Address | IPv6Address],
) -> Backends:
    """The backends of one family, in order: all nodes number them alike."""
    ready: set[Backend] = set()
    others: set[Backend] = set()
    for each in slices:
        numbers = [
            served.port
            for served in each.ports
            if (served.name, served.protocol) == (port.name, port.protocol)
        ]
        for endpoint in each.endpoints:
            if isinstance(endpoint.address, family):
                found = ready if endpoint.ready else others
                found.update(Backend(endpoint.address, number) for number in numbers)
    return Backends(ready=_in_order(ready), others=_in_order(others - ready))


def _in_order(backends: set[Backend]) -> tuple[Backend, ...]:
    return tuple(sorted(backends, key=lambda backend: (int(backend.address), backend.port)))

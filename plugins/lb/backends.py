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


def ready_backends(
    port: ServicePort,
    slices: Sequence[EndpointSlice],
    family: type[IPv4Address | IPv6Address],
) -> list[Backend]:
    """The ready backends of one family, in order: all nodes number them alike."""
    found: set[Backend] = set()
    for each in slices:
        numbers = [
            served.port
            for served in each.ports
            if (served.name, served.protocol) == (port.name, port.protocol)
        ]
        found.update(
            Backend(endpoint.address, number)
            for endpoint in each.endpoints
            if endpoint.ready and isinstance(endpoint.address, family)
            for number in numbers
        )
    return sorted(found, key=lambda backend: (int(backend.address), backend.port))

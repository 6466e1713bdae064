"""The control plane: Services and their EndpointSlices become entries of the balancer's maps."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from itertools import chain

from plait.core.api import (
    EndpointSlice,
    Entry,
    Handler,
    Object,
    PlaitError,
    Record,
    Service,
    ServicePort,
)
from plait.plugins.lb.backends import FEW, Backends, backends_of
from plait.plugins.lb.config import Algorithm, LbConfig
from plait.plugins.lb.maglev import Maglev

Address = IPv4Address | IPv6Address

PROTOCOLS = {"TCP": 6, "UDP": 17}

ALGORITHMS = {Algorithm.RANDOM: 0, Algorithm.MAGLEV: 1}
"""enum lb_algorithm of bpf/lb.h."""


_NO_SEEDS = (0,) * FEW


def service_handler(config: LbConfig) -> Handler:
    """One scope for each Service, with the slices that its name is on."""
    balancer = _Balancer(config)
    return Handler(name="lb", kinds=(Service, EndpointSlice), scope=_scope, wanted=balancer.wanted)


def _scope(each: Object) -> str | None:
    if isinstance(each, EndpointSlice):
        return f"{each.meta.namespace}/{each.service}" if each.service else None
    return f"{each.meta.namespace}/{each.meta.name}"


class _Balancer:
    """What a service wants, by a fixed config. Pure but for Maglev's cache."""

    def __init__(self, config: LbConfig) -> None:
        self._algorithm = config.algorithm
        self._table_size = config.table_size
        self._maglev = Maglev(config.table_size)

    def wanted(self, scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
        """The entries of one service; none while only its slices are there."""
        slices = [each for each in objects if isinstance(each, EndpointSlice)]
        for service in objects:
            if isinstance(service, Service):
                for port in service.ports:
                    yield from self._port(scope, service, port, slices)

    def _port(
        self, scope: str, service: Service, port: ServicePort, slices: Sequence[EndpointSlice]
    ) -> Iterator[Entry | PlaitError]:
        if port.protocol not in PROTOCOLS:
            what = f"port {port.port} of {service}: {port.protocol} is not supported yet"
            yield PlaitError(what, at=service.at, expected="TCP or UDP")
            return
        for family in (IPv4Address, IPv6Address):
            cluster_ips = tuple(ip for ip in service.cluster_ips if isinstance(ip, family))
            if not cluster_ips:
                continue
            backends = backends_of(port, slices, family)
            identity = service_id(scope, port, family)
            many = len(backends.ready) + len(backends.others) > FEW
            if many:
                if self._algorithm is Algorithm.MAGLEV and len(backends.ready) > self._table_size:
                    yield _too_many(service, len(backends.ready), self._table_size)
                yield from self._spread(identity, backends, cluster_ips)
            for address in cluster_ips:
                yield Entry(
                    map="lb_services",
                    key={"addr": address, "port": port.port, "proto": PROTOCOLS[port.protocol]},
                    value=self._service(identity, backends, many=many),
                    touches=(address,),
                )

    def _spread(
        self, service: int, backends: Backends, touches: tuple[Address, ...]
    ) -> Iterator[Entry]:
        """Where many backends stand, and how flows are shared among them."""
        for slot, backend in enumerate(backends.ready):
            yield Entry(
                map="lb_slots",
                key={"service": service, "slot": slot},
                value=backend.record,
                touches=touches,
            )
        for number, backend in enumerate((*backends.ready, *backends.others)):
            yield Entry(
                map="lb_members",
                key={"service": service, "addr": backend.address, "port": backend.port},
                value={"number": number},
                touches=touches,
            )
        if self._algorithm is Algorithm.MAGLEV and backends.ready:
            yield Entry(
                map="lb_maglev",
                key={"service": service},
                value={"slot": self._maglev.table(backends.ready)},
                touches=touches,
            )

    def _service(self, service: int, backends: Backends, *, many: bool) -> Record:
        """struct lb_service, with few backends in it."""
        seeds = () if many else tuple(backend.seed for backend in backends.ready)
        return {
            "id": service,
            "count": len(backends.ready),
            "algorithm": ALGORITHMS[self._algorithm],
            "many": many,
            "seed": (*seeds, *_NO_SEEDS[len(seeds) :]),
            "few": () if many else tuple(each.record for each in chain(*backends)),
        }


def service_id(scope: str, port: ServicePort, family: type[Address]) -> int:
    """The 64-bit number by which the datapath knows a port of a service, the same on all nodes."""
    proto = PROTOCOLS[port.protocol]
    name = f"{scope}:{port.name or port.port}/{proto}/{4 if family is IPv4Address else 6}"
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def _too_many(service: Service, count: int, slots: int) -> PlaitError:
    return PlaitError(
        f"{service} has {count} backends, its table {slots} slots: some get no flows",
        at=service.at,
        hint="raise lb.tableSize",
    )

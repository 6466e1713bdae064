"""Services and their EndpointSlices become entries of the balancer's maps."""

from collections.abc import Iterator, Mapping, Sequence, Set
from ipaddress import IPv4Address, IPv6Address

from plait.core.api import (
    Address,
    EndpointSlice,
    Entry,
    Object,
    PlaitError,
    Service,
    ServicePort,
    TrafficPolicy,
)
from plait.plugins.lb.annotations import algorithm_of
from plait.plugins.lb.backends import Backend, Candidates, anywhere, on_this_node
from plait.plugins.lb.config import LbConfig
from plait.plugins.lb.frontends import Frontend, Served, frontends_of, in_range, misplaced_ports
from plait.plugins.lb.pools import CHOSEN, PROTOCOLS, RANGES, SPLIT, Pool, pool_of
from plait.plugins.lb.silence import BackendHealth, told_candidates
from plait.plugins.lb.topology import Here

ANYWHERE, OUTSIDE = range(2)
"""enum lb_side of bpf/lb_tables.h."""

FAMILIES: tuple[type[Address], ...] = (IPv4Address, IPv6Address)

Pools = Mapping[TrafficPolicy, Pool]


def service_scopes(each: Object) -> tuple[str, ...]:
    """A Service by its name, as its health; a slice by the name of its Service, if it has one."""
    match each:
        case Service() | BackendHealth():
            return (each.name,)
        case EndpointSlice(service=service) if service:
            return (f"{each.meta.namespace}/{service}",)
    return ()


class Balancer:
    """What a Service wants on a node."""

    def __init__(self, config: LbConfig, here: Here) -> None:
        self._config = config
        self._here = here

    def wanted(self, _scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
        """The entries of one Service; none while only its slices are there."""
        here = self._here.with_zone_of(objects)
        for service in objects:
            if isinstance(service, Service):
                yield from misplaced_ports(service, self._config.node_ports)
                for port in service.ports:
                    for family in FAMILIES:
                        yield from self._serve(Served(service, port, family), objects, here)

    def _serve(
        self, served: Served, objects: Sequence[Object], here: Here
    ) -> Iterator[Entry | PlaitError]:
        frontends = [
            each
            for each in frontends_of(served)
            if not each.of_node or in_range(served.port, self._config.node_ports)
        ]
        if not frontends:
            return
        candidates = told_candidates(served, objects)
        if served.port.protocol == "SCTP" and (moved := _moved(frontends, candidates)):
            yield sctp_moves(served.service, *moved)
            return
        policies = {policy for each in frontends for policy in (each.inside, each.outside)}
        pools = dict(self._pools(served, policies, candidates, here))
        for pool in pools.values():
            if len(pool.backends.ready) > pool.table > 0:
                yield _too_many(served.service, len(pool.backends.ready), pool.table)
            yield from pool.entries()
        if any(each.ranges for each in frontends):
            yield from _ranges(served, pools)
        for frontend in frontends:
            yield from _frontends(frontend, served.port, pools)

    def _pools(
        self, served: Served, policies: Set[TrafficPolicy], candidates: Candidates, here: Here
    ) -> Iterator[tuple[TrafficPolicy, Pool]]:
        """Of the whole cluster, of this node, or both."""
        whole = anywhere(served.service, candidates, here)
        for policy in sorted(policies):
            backends = whole
            if policy is TrafficPolicy.LOCAL:
                backends = on_this_node(served.service, candidates, here)
            yield (
                policy,
                pool_of(
                    served,
                    policy,
                    backends,
                    algorithm=algorithm_of(served.service, self._config.algorithm),
                    largest_table=self._config.table_size,
                    elsewhere=bool(whole.ready),
                ),
            )


def _frontends(frontend: Frontend, port: ServicePort, pools: Pools) -> Iterator[Entry]:
    inside, outside = pools[frontend.inside], pools[frontend.outside]
    flags = (RANGES if frontend.ranges else 0) | (CHOSEN if frontend.of_node else 0)
    split = inside is not outside
    yield frontend_entry(frontend, port, ANYWHERE, inside, flags | (SPLIT if split else 0))
    if split:
        yield frontend_entry(frontend, port, OUTSIDE, outside, flags)


def frontend_entry(
    frontend: Frontend, port: ServicePort, side: int, pool: Pool, flags: int
) -> Entry:
    """Flows to an address of the node do not depend on what stands for all of these, so those of
    the backends must decide again themselves.
    """
    backends = pool.backends.all if frontend.of_node and not pool.backends.many else ()
    return Entry(
        map="lb_services",
        key={
            "addr": frontend.address,
            "port": frontend.port,
            "proto": PROTOCOLS[port.protocol],
            "side": side,
        },
        value=pool.record(flags),
        touches=(frontend.address, *(each.address for each in backends)),
    )


def _ranges(served: Served, pools: Pools) -> Iterator[Entry]:
    """Flows that have a backend keep it; a client that has none is asked about with each packet."""
    for pool in pools.values():
        for network in served.service.source_ranges:
            if isinstance(network.network_address, served.family):
                yield Entry(
                    map="lb_ranges",
                    key={
                        "prefix": 64 + network.prefixlen + (96 if network.version == 4 else 0),
                        "service": pool.number.to_bytes(8, "little"),
                        "addr": network.network_address,
                    },
                    value={"unused": 0},
                )


def _moved(
    frontends: Sequence[Frontend], candidates: Candidates
) -> tuple[Frontend, Backend] | None:
    """A frontend and a backend with another port."""
    pairs = ((one, other) for one in frontends for other in candidates)
    return next(((one, other) for one, other in pairs if one.port != other.port), None)


def sctp_moves(each: Object, frontend: Frontend, backend: Backend) -> PlaitError:
    return PlaitError(
        f"{each}: SCTP port {frontend.port} leads to port {backend.port} of {backend.address}",
        at=each.at,
        expected="expected the same port: SCTP is balanced without changing ports",
    )


def _too_many(service: Service, count: int, slots: int) -> PlaitError:
    return PlaitError(
        f"{service} has {count} backends, its table {slots} slots: some get no flows",
        at=service.at,
        hint="raise lb.tableSize",
    )

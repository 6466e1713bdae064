"""The control plane: Services and their EndpointSlices become entries of the balancer's maps."""

from collections.abc import Iterator, Mapping, Sequence, Set
from ipaddress import IPv4Address, IPv6Address, ip_address

from plait.core.api import (
    Address,
    Config,
    Endpoint,
    EndpointSlice,
    Entry,
    Handler,
    Host,
    HostPort,
    Node,
    Object,
    PlaitError,
    Service,
    ServicePort,
    TrafficPolicy,
)
from plait.plugins.lb.annotations import algorithm_of
from plait.plugins.lb.backends import (
    Backend,
    Backends,
    Candidates,
    anywhere,
    on_this_node,
)
from plait.plugins.lb.config import Algorithm, LbConfig
from plait.plugins.lb.frontends import (
    ANY_ADDRESS,
    Frontend,
    Served,
    addresses_of,
    frontends_of,
    in_range,
    misplaced_ports,
)
from plait.plugins.lb.pools import CHOSEN, PROTOCOLS, RANGES, SPLIT, Pool, pool_number, pool_of
from plait.plugins.lb.silence import BackendHealth, told_candidates
from plait.plugins.lb.topology import Here

ANYWHERE, OUTSIDE = range(2)
"""enum lb_side of bpf/lb_tables.h."""

LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
"""Of the node, too; only its own processes ask them."""

FAMILIES: tuple[type[Address], ...] = (IPv4Address, IPv6Address)

Pools = Mapping[TrafficPolicy, Pool]


def handlers(config: Config, lb: LbConfig) -> tuple[Handler, ...]:
    """Services with the slices that their name is on, and this node's zone; ports of the node that
    lead to one endpoint; and whose the addresses are that are asked.
    """
    here = Here(node=config.node.name, networks=config.node.pod_cidrs)
    return (
        Handler(
            name="lb",
            kinds=(Service, EndpointSlice, Node, BackendHealth),
            scopes=service_scopes,
            shared=lambda each: isinstance(each, Node) and each.meta.name == here.node,
            wanted=Balancer(lb, here).wanted,
        ),
        Handler(name="lb host ports", kinds=(Endpoint,), wanted=host_ports),
        Handler(
            name="lb addresses",
            kinds=(Service, Host),
            scopes=address_scopes,
            wanted=AddressBook(lb).wanted,
        ),
    )


# ------------------------------------------------------------------------------------ services


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
            yield _sctp_moves(served.service, *moved)
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
    yield _frontend(frontend, port, ANYWHERE, inside, flags | (SPLIT if split else 0))
    if split:
        yield _frontend(frontend, port, OUTSIDE, outside, flags)


def _frontend(frontend: Frontend, port: ServicePort, side: int, pool: Pool, flags: int) -> Entry:
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


def _sctp_moves(each: Object, frontend: Frontend, backend: Backend) -> PlaitError:
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


# ---------------------------------------------------------------------------------- host ports


def host_ports(_scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
    """Ports of the node that lead to a port of an endpoint on it."""
    for endpoint in objects:
        if isinstance(endpoint, Endpoint):
            for port in endpoint.host_ports:
                for address in endpoint.addresses:
                    if port.address is None or isinstance(port.address, type(address)):
                        yield _host_port(endpoint, port, address)


def _host_port(endpoint: Endpoint, port: HostPort, address: Address) -> Entry | PlaitError:
    frontend = Frontend(
        address=port.address or ANY_ADDRESS[type(address)],
        port=port.host_port,
        inside=TrafficPolicy.LOCAL,
        outside=TrafficPolicy.LOCAL,
        of_node=port.address is None,
    )
    backend = Backend(address, port.port)
    if port.protocol == "SCTP" and port.port != port.host_port:
        return _sctp_moves(endpoint, frontend, backend)
    own = ServicePort(port=port.host_port, protocol=port.protocol)
    pool = Pool(
        number=pool_number(f"host port of {endpoint.name}", own, type(address), frontend.inside),
        backends=Backends(ready=(backend,)),
        algorithm=Algorithm.RANDOM,
        table=0,
        affinity=0,
    )
    return _frontend(frontend, own, ANYWHERE, pool, 0)


# ----------------------------------------------------------------------------------- addresses


def address_scopes(each: Object) -> tuple[str, ...]:
    """Each address by itself: a Service and the node may have the same."""
    match each:
        case Service():
            return tuple(map(str, addresses_of(each)))
        case Host(addresses=addresses):
            return tuple(map(str, (*addresses, *LOOPBACK)))
    return ()


class AddressBook:
    """Whose an address is: what the balancer does not serve there is refused, or is the node's."""

    def __init__(self, config: LbConfig) -> None:
        self._chosen = config.node_ports.addresses

    def wanted(self, scope: str, objects: Sequence[Object]) -> Iterator[Entry]:
        """The entry of one address."""
        address = ip_address(scope)
        chosen = not self._chosen or any(address in network for network in self._chosen)
        node = any(isinstance(each, Host) for each in objects)
        yield Entry(
            map="lb_addresses",
            key={"addr": address},
            value={
                "node": node,
                "chosen": node and chosen,
            },
            touches=(address,),
        )

"""Ports of the node that lead to one endpoint become entries of the balancer's maps."""

from collections.abc import Iterator, Sequence

from plait.core.api import (
    Address,
    Endpoint,
    Entry,
    HostPort,
    Object,
    PlaitError,
    ServicePort,
    TrafficPolicy,
)
from plait.plugins.lb.backends import Backend, Backends
from plait.plugins.lb.balancer import ANYWHERE, frontend_entry, sctp_moves
from plait.plugins.lb.config import Algorithm
from plait.plugins.lb.frontends import ANY_ADDRESS, Frontend
from plait.plugins.lb.pools import Pool, pool_number


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
        return sctp_moves(endpoint, frontend, backend)
    own = ServicePort(port=port.host_port, protocol=port.protocol)
    pool = Pool(
        number=pool_number(f"host port of {endpoint.name}", own, type(address), frontend.inside),
        backends=Backends(ready=(backend,)),
        algorithm=Algorithm.RANDOM,
        table=0,
        affinity=0,
    )
    return frontend_entry(frontend, own, ANYWHERE, pool, 0)

"""Objects by name: what a test puts into a datapath."""

from collections.abc import Sequence

from plait.core.objects.model import Address, Meta
from plait.core.objects.services import (
    EndpointSlice,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
)


def service(name: str, *cluster_ips: Address, port: int = 80, protocol: str = "TCP") -> Service:
    """A Service with one port."""
    return Service(
        meta=Meta(name=name),
        cluster_ips=cluster_ips,
        ports=(ServicePort(port=port, protocol=protocol),),
    )


def backends(
    service_name: str,
    addresses: Sequence[Address],
    *,
    unready: Sequence[Address] = (),
    port: int = 8080,
    protocol: str = "TCP",
) -> EndpointSlice:
    """The backends of a Service, all on one port: those at `addresses` are ready."""
    return EndpointSlice(
        meta=Meta(name=f"{service_name}-1"),
        service=service_name,
        endpoints=tuple(
            SliceEndpoint(address=address, ready=address in addresses)
            for address in (*addresses, *unready)
        ),
        ports=(SlicePort(port=port, protocol=protocol),),
    )

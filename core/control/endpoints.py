"""Endpoints: which addresses are behind which interface of this node."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from plait.core.api.contract import Entry, Handler
from plait.core.endpoints.links import Link
from plait.core.errors import PlaitError
from plait.core.objects.model import Endpoint, Object
from plait.core.plan.core import ENDPOINTS

_PAIRS = ("veth", "netkit")
"""Kinds of links whose other end is in the workload's namespace."""

Macs = Mapping[int, str]
"""MAC address of the pod's end by ifindex of the host's end."""


Refusal = Callable[[Endpoint], PlaitError | None]
"""Why the node cannot serve an endpoint, or None."""


def endpoint_handler(
    present: Mapping[str, Link], macs: Macs, refusal: Refusal = lambda _: None
) -> Handler:
    """The framework's own handler. `present` are the node's links by name, `macs` what the kernel
    says of their other ends; all may change between calls: the agent then asks again.
    """

    def wanted(_scope: str, objects: Sequence[Object]) -> Iterator[Entry | PlaitError]:
        for endpoint in objects:
            if not isinstance(endpoint, Endpoint):
                continue
            if problem := refusal(endpoint):
                yield problem
            elif link := present.get(endpoint.interface):
                yield from _entries(endpoint, link, endpoint.mac or macs.get(link.index))

    return Handler(name="endpoints", kinds=(Endpoint,), wanted=wanted)


def _entries(endpoint: Endpoint, link: Link, mac: str | None) -> Iterator[Entry | PlaitError]:
    if mac is None:
        yield PlaitError(
            f"{endpoint}: nobody knows the MAC address behind {link.name}",
            at=endpoint.at,
            expected="a veth pair, or spec.mac",
        )
        return
    for address in endpoint.addresses:
        yield Entry(
            map=ENDPOINTS,
            key={"addr": address},
            value={
                "ifindex": link.index,
                "mtu": link.mtu,
                "mac": mac,
                "host_mac": link.mac or bytes(6),
                "direct": link.kind not in _PAIRS,
            },
            touches=(address,),
        )

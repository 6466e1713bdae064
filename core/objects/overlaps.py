"""Services that have the address of an endpoint: what is sent to it reaches one of the two."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from plait.core.errors import PlaitError
from plait.core.objects.model import Address, Endpoint, Key, Object
from plait.core.objects.services import Service


class Overlaps:
    """Which services have an endpoint's address, kept in step with the objects.

    Nothing is refused: both are served, but a port of the service hides the endpoint's own. In
    Kubernetes, where services have networks of their own, only an external address can be so.
    """

    def __init__(self) -> None:
        self._owners: dict[Address, Key] = {}
        self._found: dict[Key, Address] = {}

    def update(self, objects: Mapping[Key, Object], changed: Collection[Key]) -> None:
        """Look at `objects` again, of which only those of `changed` keys differ."""
        if any(kind == Endpoint.kind for kind, _, _ in changed):
            endpoints = (each for each in objects.values() if isinstance(each, Endpoint))
            self._owners = {address: each.key for each in endpoints for address in each.addresses}
            self._found = dict(self._shared(objects.values()))
            return
        for key in changed:
            self._found.pop(key, None)
        self._found |= self._shared(objects[key] for key in changed if key in objects)

    def _shared(self, objects: Iterable[Object]) -> Iterator[tuple[Key, Address]]:
        for each in objects:
            if isinstance(each, Service):
                for address in (*each.cluster_ips, *each.external_ips, *each.ingress_ips):
                    if address in self._owners:
                        yield each.key, address

    def warnings(self, objects: Mapping[Key, Object]) -> Iterator[PlaitError]:
        """A warning for each such service."""
        for key, address in sorted(self._found.items()):
            service, endpoint = objects[key], objects[self._owners[address]]
            yield PlaitError(
                f"{service} has the address {address} of {endpoint} and hides what listens there",
                at=service.at,
                hint="give the service an address of its own",
            )

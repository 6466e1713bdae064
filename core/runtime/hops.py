"""Next hops that do not answer, told to the datapath."""

from collections.abc import Iterable

from plait.core.endpoints.monitor import NeighbourChanged
from plait.core.kernel.maps import Map
from plait.core.objects.model import Address


def follow(silent: Map, events: Iterable[NeighbourChanged]) -> frozenset[Address]:
    """Bring the map plait_silent in step; returns the addresses that have fallen silent."""
    key, value = silent.codecs()
    fallen: set[Address] = set()
    for event in events:
        hop = key.encode({"addr": event.address, "ifindex": event.index})
        if event.failed and not event.gone:
            if silent.lookup(hop) is None:
                fallen.add(event.address)
            silent.update(hop, value.encode({"unused": 0}))
        elif event.mac or event.gone:
            silent.delete(hop)
            fallen.discard(event.address)
    return frozenset(fallen)

"""Sockets that are connected to a backend that is gone: they are ended, so that they ask again.

A process with a connected UDP socket would wait for answers of one that is dead, however often it
asks: nothing tells it, as its datagrams are nobody's business since it has connected.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor

from plait.core.api import (
    EndpointSlice,
    EntriesByMap,
    Key,
    PlaitError,
    Publish,
    Report,
    SocketName,
    View,
    destroy_sockets,
)
from plait.plugins.lb.pools import PROTOCOLS

Ends = tuple[object, object, object]
"""A backend as flows know it: address, port and number of the protocol."""

PEERS = "lb_peers"


class Release:
    """Follows the slices, and ends sockets in a thread of its own: it may take a while."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._slices: dict[Key, EndpointSlice] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lb release")

    def follow(self, view: View) -> None:
        """Find the sockets whose backends have gone from their slice, and are in no other."""
        gone = self._update(view)
        if gone is not None and not gone:
            return
        stuck = [
            (ends, name) for ends, name in _peers(view.entries) if gone is None or ends in gone
        ]
        if stuck:
            there = {end for each in self._slices.values() for end in _ends(each)}
            if names := [name for ends, name in stuck if ends not in there]:
                self._thread.submit(self._end, names)

    def stop(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown()

    def _update(self, view: View) -> Set[Ends] | None:
        """Backends that a slice has no more; None: nobody knows what there was before."""
        if view.changed is None:
            known = view.objects.values()
            self._slices = {each.key: each for each in known if isinstance(each, EndpointSlice)}
            return None
        gone: set[Ends] = set()
        for key in view.changed:
            if key[0] == EndpointSlice.kind:
                before, now = self._slices.pop(key, None), view.objects.get(key)
                if before is not None:
                    gone.update(_ends(before))
                if isinstance(now, EndpointSlice):
                    self._slices[key] = now
                    gone.difference_update(_ends(now))
        return gone

    def _end(self, stuck: Sequence[SocketName]) -> None:
        try:
            destroy_sockets(stuck)
            self._publish(Report())
        except PlaitError as error:
            self._publish(Report(warnings=(error,)))


def _ends(each: EndpointSlice) -> Iterable[Ends]:
    for port in each.ports:
        for endpoint in each.endpoints:
            yield endpoint.address, port.port, PROTOCOLS[port.protocol]


def _peers(entries: EntriesByMap) -> Iterable[tuple[Ends, SocketName]]:
    """Whom each connected socket talks to."""
    for key, value in entries[PEERS]:
        backend, proto = value["backend"], _number(value["proto"])
        assert isinstance(backend, Mapping)
        name = SocketName(
            cookie=_number(key["cookie"]), netns=_number(value["netns"]), protocol=proto
        )
        yield (backend["addr"], backend["port"], proto), name


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value

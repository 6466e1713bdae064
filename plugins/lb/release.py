"""Sockets that are connected to a backend that is gone: they are ended, so that they ask again.

A process with a connected UDP socket would wait for answers of one that is dead, however often it
asks: nothing tells it, as its datagrams are nobody's business since it has connected.
"""

from collections.abc import Iterable, Mapping, Set
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
        """Find the sockets whose backends are in no slice of their Service any more."""
        gone = self._update(view)
        if gone is None:
            there = {end for each in self._slices.values() for end in _ends(each)}
            stuck = [name for ends, name in _peers(view.entries) if ends not in there]
        elif gone:
            stuck = [name for ends, name in _peers(view.entries) if ends in gone]
        else:
            return
        if stuck:
            self._thread.submit(self._end, stuck)

    def stop(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown()

    def _update(self, view: View) -> Set[Ends] | None:
        """The backends that have gone since the view before; None: nobody knows what was before."""
        kinds = EndpointSlice.kind
        if view.changed is None:
            known = view.objects.values()
            self._slices = {each.key: each for each in known if isinstance(each, EndpointSlice)}
            return None
        gone: set[Ends] = set()
        services: set[tuple[str, str]] = set()
        for key in view.changed:
            if key[0] != kinds:
                continue
            before, now = self._slices.pop(key, None), view.objects.get(key)
            if before is not None:
                gone.update(_ends(before))
                services.add(_service(before))
            if isinstance(now, EndpointSlice):
                self._slices[key] = now
        if gone:
            for each in self._slices.values():
                if _service(each) in services:
                    gone.difference_update(_ends(each))
        return gone

    def _end(self, stuck: list[SocketName]) -> None:
        try:
            destroy_sockets(stuck)
            self._publish(Report())
        except PlaitError as error:
            self._publish(Report(warnings=(error,)))


def _service(each: EndpointSlice) -> tuple[str, str]:
    return each.meta.namespace, each.service


def _ends(each: EndpointSlice) -> Iterable[Ends]:
    for port in each.ports:
        for endpoint in each.endpoints:
            yield endpoint.address, port.port, PROTOCOLS[port.protocol]


def _peers(entries: EntriesByMap) -> Iterable[tuple[Ends, SocketName]]:
    """Whom each connected socket talks to."""
    for key, value in entries[PEERS]:
        backend, cookie, netns, proto = (
            value["backend"],
            key["cookie"],
            value["netns"],
            value["proto"],
        )
        assert isinstance(backend, Mapping)
        assert isinstance(cookie, int)
        assert isinstance(netns, int)
        assert isinstance(proto, int)
        name = SocketName(cookie=cookie, netns=netns, protocol=proto)
        yield (backend["addr"], backend["port"], proto), name

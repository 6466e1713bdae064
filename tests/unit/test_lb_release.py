"""Which sockets are ended: those whose backend has gone from all slices."""

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address

import pytest

from plait.core.api import EndpointSlice, Meta, Record, Report, SocketName, View
from plait.plugins.lb import release
from plait.plugins.lb.release import Release
from plait.testing import backends

ONE, TWO = IPv4Address("10.244.1.1"), IPv4Address("10.244.1.2")


class Bench:
    """A controller, the sockets that are connected, and those that it has ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended: set[int] = set()
        self.reports: list[Report] = []
        monkeypatch.setattr(release, "destroy_sockets", self._destroy)
        self.release = Release(self.reports.append)

    def _destroy(self, sockets: Collection[SocketName]) -> int:
        self.ended |= {each.cookie for each in sockets}
        return len(sockets)

    def follow(
        self,
        slices: Collection[EndpointSlice],
        changed: Collection[EndpointSlice] | None,
        peers: Mapping[int, IPv4Address],
    ) -> set[int]:
        """What is ended when these sockets, by cookie, are connected to these backends by UDP."""
        entries: list[tuple[Record, Record]] = [
            (
                {"cookie": cookie},
                {"netns": 1, "proto": 17, "backend": {"addr": address, "port": 8080}},
            )
            for cookie, address in peers.items()
        ]
        self.release.follow(
            View(
                objects={each.key: each for each in slices},
                changed=None if changed is None else [each.key for each in changed],
                entries={"lb_peers": entries},
            )
        )
        self.release.stop()
        return self.ended


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def slice_of(service: str, *addresses: IPv4Address, protocol: str = "UDP") -> EndpointSlice:
    return backends(service, addresses, protocol=protocol)


def test_a_socket_whose_backend_is_gone_is_ended(bench: Bench) -> None:
    bench.release.follow(view(slice_of("dns", ONE, TWO)))
    now = slice_of("dns", TWO)

    assert bench.follow([now], [now], {7: ONE, 8: TWO}) == {7}
    assert bench.reports == [Report()]


def test_a_backend_that_moves_to_another_slice_is_there(bench: Bench) -> None:
    bench.release.follow(view(slice_of("dns", ONE)))
    gone = slice_of("dns", ONE)
    moved = EndpointSlice(
        meta=Meta(name="dns-2"), service="dns", endpoints=gone.endpoints, ports=gone.ports
    )

    assert bench.follow([moved], [gone, moved], {7: ONE}) == set()


def test_a_backend_that_still_serves_another_service_is_there(bench: Bench) -> None:
    other = slice_of("other", ONE)
    bench.release.follow(view(slice_of("dns", ONE), other))
    now = slice_of("dns", TWO)

    assert bench.follow([now, other], [now], {7: ONE}) == set()


def test_a_backend_of_another_protocol_is_another_one(bench: Bench) -> None:
    now = slice_of("dns", ONE, protocol="TCP")
    bench.release.follow(view(slice_of("dns", ONE)))

    assert bench.follow([now], [now], {7: ONE}) == {7}


def test_what_went_while_nobody_looked_is_found_by_the_first_look(bench: Bench) -> None:
    assert bench.follow([slice_of("dns", TWO)], None, {7: ONE, 8: TWO}) == {7}


def view(*slices: EndpointSlice) -> View:
    objects = {each.key: each for each in slices}
    return View(objects=objects, changed=None, entries={"lb_peers": ()})

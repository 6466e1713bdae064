"""The datapath knows which next hops do not answer, as netlink tells of neighbours."""

from ipaddress import ip_address

import pytest

from plait.core.endpoints.monitor import NeighbourChanged
from plait.core.objects.model import Address
from plait.core.plan.core import SILENT
from plait.core.runtime.hops import follow
from plait.testing import Addresses, Datapath, MakeDatapath

DEVICE = 7


@pytest.fixture
def datapath(make_datapath: MakeDatapath) -> Datapath:
    return make_datapath({"routing": {}})


def event(
    address: Address, *, mac: str | None = None, failed: bool = False, gone: bool = False
) -> NeighbourChanged:
    return NeighbourChanged(index=DEVICE, address=address, mac=mac, failed=failed, gone=gone)


def silent(datapath: Datapath) -> set[object]:
    return {key["addr"] for key, _ in datapath.entries(SILENT)}


def test_a_neighbour_falls_silent_once(datapath: Datapath, net: Addresses) -> None:
    table, hop = datapath.maps[SILENT], net.remote

    assert follow(table, [event(hop, failed=True)]) == {hop}
    assert follow(table, [event(hop, failed=True)]) == frozenset()
    assert silent(datapath) == {hop}


@pytest.mark.parametrize(
    ("mac", "failed", "gone"),
    [("02:00:00:00:00:08", False, False), (None, False, True), (None, True, True)],
    ids=["it answers", "forgotten", "forgotten after it failed"],
)
def test_it_is_silent_until_it_answers_or_is_forgotten(
    datapath: Datapath, net: Addresses, mac: str | None, failed: bool, gone: bool
) -> None:
    table, hop = datapath.maps[SILENT], net.remote
    follow(table, [event(hop, failed=True)])

    follow(table, [event(hop)])  # it is asked for again
    assert silent(datapath) == {hop}
    follow(table, [event(hop, mac=mac, failed=failed, gone=gone)])

    assert silent(datapath) == set()


def test_of_a_burst_what_came_last_counts(datapath: Datapath, net: Addresses) -> None:
    other = ip_address("192.0.2.9")
    burst = [
        event(net.remote, failed=True),
        event(other, failed=True),
        event(net.remote, mac="02:00:00:00:00:08"),
    ]

    assert follow(datapath.maps[SILENT], burst) == {other}
    assert silent(datapath) == {other}

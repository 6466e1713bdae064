"""A flow table that is full refuses new flows, by name, and serves those that it has."""

import pytest

from plait.core.api import Verdict
from plait.testing import Addresses, Datapath, MakeDatapath, udp

ENTRIES = 64


@pytest.fixture
def full(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """A datapath whose flow tables have no room left."""
    datapath = make_datapath({"routing": {}}, most_entries=ENTRIES)
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    for index in range(ENTRIES // 2):
        datapath.pod_egress(udp(src=net.client, dst=net.server, sport=1 + index))
    return datapath


def test_every_entry_is_used(full: Datapath) -> None:
    assert len(full.flows()) == ENTRIES
    assert not full.drops()


def test_a_new_flow_is_dropped_and_counted(full: Datapath, net: Addresses) -> None:
    result = full.pod_egress(udp(src=net.client, dst=net.server, sport=9999))

    assert result.verdict is Verdict.DROP
    assert result.drop_reason == "PLAIT_FLOW_TABLE_FULL"
    assert len(full.flows()) == ENTRIES


def test_a_flow_with_room_for_one_direction_only_is_dropped_and_counted(
    full: Datapath, net: Addresses
) -> None:
    table = full.maps[f"plait_flow{net.version}"]
    table.delete(next(key for key, _ in table.items()))

    result = full.pod_egress(udp(src=net.client, dst=net.server, sport=9999))

    assert result.drop_reason == "PLAIT_FLOW_TABLE_FULL"
    assert len(full.flows()) == ENTRIES - 1


def test_flows_that_are_known_go_on(full: Datapath, net: Addresses) -> None:
    result = full.pod_egress(udp(src=net.client, dst=net.server, sport=1))

    assert result.verdict is Verdict.REDIRECT

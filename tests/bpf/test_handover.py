"""Flows that change while one generation takes over from another are known to both."""

from collections.abc import Iterator
from typing import cast

import pytest

from plait.core.api import Record
from plait.core.control.revisions import Revisions
from plait.core.kernel.maps import Map
from plait.core.plan.core import FLOWS, HANDOVERS, REVISIONS
from plait.core.runtime.flows import FlowTable
from plait.core.runtime.handover import end_handover, handing_over
from plait.core.runtime.staging import stage
from plait.core.testing.loading import Loader, Settings
from plait.testing import (
    Addresses,
    Datapath,
    Frame,
    MakeDatapath,
    answer,
    backends,
    changed,
    service,
    udp,
)

FEATURES: Settings = {"routing": {}, "lb": {}}


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Iterator[Datapath]:
    """A client, and a service of one server; its programs stand for those of both generations."""
    datapath = make_datapath(FEATURES)
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.put(
        service("web", net.service, port=80, protocol="UDP"),
        backends("web", [net.server], port=8080, protocol="UDP"),
    )
    yield datapath
    end_handover(datapath.maps)


@pytest.fixture
def asked(net: Addresses) -> Frame:
    """What the client asks of the service."""
    return udp(src=net.client, dst=net.service, dport=80)


@pytest.fixture
def reply(net: Addresses, asked: Frame) -> Frame:
    """What the server answers."""
    return changed(answer(asked), src=net.server, sport=8080)


@pytest.fixture
def table(plait_loader: Loader, net: Addresses) -> Iterator[Map]:
    """A new generation's flow table."""
    prepared = plait_loader.prepare(plait_loader.config(FEATURES, {}))
    staged = stage(prepared.plan, prepared.compiled.objects, most_entries=1024)
    yield staged.maps[FLOWS[net.version]]
    staged.close()


def forget_flows(datapath: Datapath, net: Addresses) -> None:
    """The table of a generation that has just begun."""
    datapath.maps[FLOWS[net.version]].clear()


def entries(table: Map) -> dict[str, Record]:
    """A flow table's values, by key."""
    key_codec, value_codec = table.codecs()
    return {str(key_codec.decode(k)): value_codec.decode(v) for k, v in table.items()}


def test_a_flow_is_known_to_a_generation_that_has_not_seen_it(
    datapath: Datapath, net: Addresses, asked: Frame, reply: Frame
) -> None:
    Revisions(datapath.maps[REVISIONS]).hand_over(begin=True)
    datapath.pod_egress(asked)
    forget_flows(datapath, net)

    result = datapath.pod_egress(reply)

    assert (result.packet.src, result.packet.dst) == (net.service, net.client)


def test_at_other_times_nothing_is_written_down(
    datapath: Datapath, net: Addresses, asked: Frame, reply: Frame
) -> None:
    datapath.pod_egress(asked)
    forget_flows(datapath, net)

    result = datapath.pod_egress(reply)

    assert not datapath.entries(HANDOVERS[net.version])
    assert result.packet.src == net.server


def test_flows_that_were_opened_meanwhile_move_with_their_parts(
    datapath: Datapath, net: Addresses, asked: Frame, table: Map
) -> None:
    name = FLOWS[net.version]
    specs = {each.spec.name: each.spec for each in datapath.plan.maps}
    new = {**datapath.maps, name: table}

    with handing_over(specs, {name}, datapath.maps, new) as flows:
        datapath.pod_egress(asked)
        for each in flows:
            each.follow()

    assert len(entries(table)) == 2
    assert entries(table) == entries(datapath.maps[name])


@pytest.mark.parametrize("newer", [True, False])
def test_the_generation_that_met_the_last_packet_is_right(
    datapath: Datapath, net: Addresses, asked: Frame, table: Map, newer: bool
) -> None:
    name = FLOWS[net.version]
    specs = {each.spec.name: each.spec for each in datapath.plan.maps}
    with handing_over(specs, {name}, datapath.maps, {**datapath.maps, name: table}) as flows:
        datapath.pod_egress(asked)
        ours = datapath.flow(asked)
        _, value_codec = table.codecs()
        for key, value in datapath.maps[name].items():
            record = value_codec.decode(value)
            flow = {
                **cast(Record, record["flow"]),
                "packets": 7,
                "seen": ours.seen + (5 if newer else -5),
            }
            parts = {"lb_flow": {"service": 0}}
            table.update(key, value_codec.encode({**record, "flow": flow, "parts": parts}))

        for each in flows:
            each.settle()

    theirs = FlowTable(table)
    [moved] = [
        each for each in (theirs.decode(*pair) for pair in table.items()) if not each.is_reply
    ]
    assert (moved.packets, moved.parts) == (7 if newer else 1, ours.parts)


def test_a_handover_ends_with_nothing_left_behind(
    datapath: Datapath, net: Addresses, asked: Frame, table: Map
) -> None:
    name = FLOWS[net.version]
    specs = {each.spec.name: each.spec for each in datapath.plan.maps}

    with handing_over(specs, {name}, datapath.maps, {**datapath.maps, name: table}):
        datapath.pod_egress(asked)
    datapath.pod_egress(changed(asked, sport=7))

    assert not datapath.entries(HANDOVERS[net.version])

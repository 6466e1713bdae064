"""Policy ends what it allowed before: connections in both directions, and what is no flow at all.

The plugin `guard` (tests/plugins) stands in for a policy: it refuses connections to addresses that
its map lists.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether

from plait.core.api import Verdict
from plait.core.objects.model import Address
from plait.core.testing.loading import Loader
from plait.testing import (
    Addresses,
    Datapath,
    Frame,
    MakeDatapath,
    answer,
    backends,
    changed,
    service,
    tcp,
    udp,
)

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="module")
def plait_loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """Loads plans, with the plugin `guard`."""
    loader = Loader(tmp_path_factory.mktemp("cache"), PLUGINS)
    yield loader
    loader.close()


@pytest.fixture
def datapath(make_datapath: MakeDatapath, net: Addresses) -> Datapath:
    """A client, and a service of one server."""
    datapath = make_datapath({"routing": {}, "lb": {}, "guard": {}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.put(
        service("web", net.service, port=80, protocol="UDP"),
        backends("web", [net.server], port=8080, protocol="UDP"),
    )
    return datapath


@pytest.fixture
def request_(net: Addresses) -> Frame:
    """What the client asks of the service."""
    return udp(src=net.client, dst=net.service, dport=80)


@pytest.fixture
def reply(net: Addresses, request_: Frame) -> Frame:
    """What the server answers."""
    return changed(answer(request_), src=net.server, sport=8080)


def refuse(datapath: Datapath, address: Address) -> None:
    datapath.update("guard_refused", {"addr": address}, {"unused": 0})
    datapath.decide_again(address)


def allow(datapath: Datapath, address: Address) -> None:
    refused = datapath.maps["guard_refused"]
    refused.delete_many([key for key, _ in refused.items()])
    datapath.decide_again(address)


def test_a_refused_connection_is_not_made(
    datapath: Datapath, net: Addresses, request_: Frame
) -> None:
    refuse(datapath, net.server)

    result = datapath.pod_egress(request_)

    assert (result.verdict, result.drop_reason) == (Verdict.DROP, "GUARD_REFUSED")
    assert not datapath.flows()


def test_an_established_connection_ends_with_the_next_packet_of_its_opener(
    datapath: Datapath, net: Addresses, request_: Frame, reply: Frame
) -> None:
    datapath.pod_egress(request_)
    datapath.pod_egress(reply)

    refuse(datapath, net.server)
    results = [datapath.pod_egress(request_), datapath.pod_egress(request_)]

    assert [each.drop_reason for each in results] == ["GUARD_REFUSED"] * 2


def test_its_replies_end_when_nothing_has_come_from_its_opener(
    datapath: Datapath, net: Addresses, request_: Frame, reply: Frame
) -> None:
    datapath.pod_egress(request_)
    datapath.pod_egress(reply)

    refuse(datapath, net.server)
    results = [datapath.pod_egress(reply), datapath.pod_egress(reply)]

    assert [each.drop_reason for each in results] == ["GUARD_REFUSED"] * 2


def test_no_reply_is_translated_when_its_opener_was_refused(
    datapath: Datapath, net: Addresses, request_: Frame, reply: Frame
) -> None:
    datapath.pod_egress(request_)
    datapath.pod_egress(reply)

    refuse(datapath, net.server)
    datapath.pod_egress(request_)
    result = datapath.pod_egress(reply)

    assert result.packet == changed(reply, ttl=63, link=datapath.pods["client"].link)


def test_a_connection_goes_on_when_it_is_allowed_again(
    datapath: Datapath, net: Addresses, request_: Frame, reply: Frame
) -> None:
    first = datapath.pod_egress(request_)
    answered = datapath.pod_egress(reply)
    refuse(datapath, net.server)
    datapath.pod_egress(reply)
    datapath.pod_egress(request_)

    allow(datapath, net.server)

    assert datapath.pod_egress(request_) == first
    assert datapath.pod_egress(reply) == answered


@pytest.mark.parametrize(
    ("strict", "verdict", "reason"),
    [(False, Verdict.PASS, None), (True, Verdict.DROP, "GUARD_NO_FLOW")],
)
def test_what_is_no_flow_is_asked_about_at_admit(
    make_datapath: MakeDatapath,
    net: Addresses,
    strict: bool,
    verdict: Verdict,
    reason: str | None,
) -> None:
    datapath = make_datapath({"routing": {}, "guard": {"strict": strict}})
    datapath.pod("client", net.client)

    result = datapath.pod_egress(gre(net))

    assert (result.verdict, result.drop_reason) == (verdict, reason)


def test_admit_lets_flows_through(make_datapath: MakeDatapath, net: Addresses) -> None:
    datapath = make_datapath({"routing": {}, "guard": {"strict": True}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)

    result = datapath.pod_egress(tcp(src=net.client, dst=net.server))

    assert result.verdict is Verdict.REDIRECT


def gre(net: Addresses) -> Frame:
    """A packet of a protocol that flows know nothing of."""
    ip = (IP if net.client.version == 4 else IPv6)(src=str(net.client), dst=str(net.server))
    return Frame(bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / ip / GRE()))

"""Which backend a flow is given: even shares, alike on all nodes, and few move when one goes."""

from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest

from plait.core.plan.core import FLOWS as FLOW_TABLES
from plait.testing import (
    Addresses,
    Datapath,
    MakeDatapath,
    backends,
    service,
    tcp,
)

Address = IPv4Address | IPv6Address

MANY = 64
FLOWS = 120

each_size = pytest.mark.parametrize("count", [2, 6, 7])
"""A service of up to six backends holds them in itself."""

each_way = pytest.mark.parametrize("count", [6, 7, 40, 41])
"""Up to 40 backends are ranked by the flow; for more there is a table."""


@pytest.fixture(params=["maglev", "random"])
def datapath(
    make_datapath: MakeDatapath, net: Addresses, request: pytest.FixtureRequest
) -> Datapath:
    """A client, two servers, no service yet."""
    datapath = make_datapath({"routing": {}, "lb": {"algorithm": request.param}})
    datapath.pod("client", net.client)
    datapath.pod("server", net.server)
    datapath.pod("other", net.other_server)
    return datapath


def choices(datapath: Datapath, net: Addresses) -> list[Address]:
    """Where the packets of each of many flows go."""
    packets = [tcp(src=net.client, dst=net.service, sport=40000 + each) for each in range(FLOWS)]
    return [datapath.pod_egress(packet).packet.dst for packet in packets]


def test_all_backends_get_flows(datapath: Datapath, net: Addresses) -> None:
    datapath.put(service("web", net.service), backends("web", [net.server, net.other_server]))
    requests = [tcp(src=net.client, dst=net.service, sport=40000 + i) for i in range(MANY)]

    chosen = [datapath.pod_egress(request).packet.dst for request in requests]

    assert min(chosen.count(net.server), chosen.count(net.other_server)) > MANY // 5


@each_size
def test_every_backend_gets_its_share(datapath: Datapath, net: Addresses, count: int) -> None:
    ends = [net.remote + number for number in range(count)]
    datapath.put(service("web", net.service), backends("web", ends))

    shares = Counter(choices(datapath, net))

    assert shares.keys() == set(ends)
    assert max(shares.values()) < 2 * FLOWS / count


@each_way
def test_flows_keep_their_backend_when_another_one_comes(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    """Also when the service becomes one of many backends, or of few."""
    ends = [net.remote + number for number in range(count)]
    datapath.put(service("web", net.service), backends("web", ends))
    before = choices(datapath, net)

    datapath.put(backends("web", [*ends, net.server]))
    more = choices(datapath, net)
    datapath.put(backends("web", ends))
    again = choices(datapath, net)

    assert more == before
    assert again == before


@each_way
def test_only_flows_of_the_backend_that_is_gone_move(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    ends = [net.remote + number for number in range(count)]
    datapath.put(service("web", net.service), backends("web", [*ends, net.server]))
    before = choices(datapath, net)

    datapath.put(backends("web", ends))
    after = choices(datapath, net)

    assert net.server not in after
    assert all(was == now for was, now in zip(before, after, strict=True) if was != net.server)


def test_a_flow_whose_backend_is_gone_goes_to_one_of_many(
    datapath: Datapath, net: Addresses
) -> None:
    ends = [net.remote + number for number in range(7)]
    datapath.put(service("web", net.service), backends("web", [net.server]))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))

    datapath.put(backends("web", ends))
    moved = datapath.pod_egress(tcp(src=net.client, dst=net.service))

    assert moved.packet.dst in ends


@pytest.mark.parametrize("count", [8, 48])
def test_of_many_no_flow_meets_what_is_written_before_its_service_is(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    ends = [net.remote + number for number in range(count + 1)]
    datapath.put(service("web", net.service), backends("web", ends[:count]))
    before = {name: datapath.entries(name) for name in ("lb_groups", "lb_maglev", "lb_services")}
    flows = choices(datapath, net)

    # As it is when the new groups have been written, but the service has not.
    datapath.put(backends("web", ends[1:], unready=ends[:1]))
    for name, entries in before.items():
        for key, value in entries:
            datapath.update(name, key, value)
    datapath.decide_again()

    assert choices(datapath, net) == flows


@each_way
def test_all_nodes_choose_alike(make_datapath: MakeDatapath, net: Addresses, count: int) -> None:
    """Also one that has seen another backend come and go."""
    ends = [net.remote + number for number in range(count)]
    chosen = []
    for early in (ends, [net.server, *ends]):
        datapath = make_datapath({"routing": {}, "lb": {"algorithm": "maglev"}})
        datapath.pod("client", net.client)
        datapath.put(service("web", net.service), backends("web", early))
        datapath.put(backends("web", ends))
        chosen.append(choices(datapath, net))

    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("count", [6, 7, 40])
def test_of_ranked_backends_one_goes_and_only_its_flows_would_go_elsewhere(
    make_datapath: MakeDatapath, net: Addresses, count: int
) -> None:
    """Flows without state: such as those that arrive at another node than before. Those of seven
    are then held by the service itself.
    """
    ends = [net.remote + number for number in range(count)]
    datapath = make_datapath({"routing": {}, "lb": {"algorithm": "maglev"}})
    datapath.pod("client", net.client)
    datapath.put(service("web", net.service), backends("web", ends))
    before = choices(datapath, net)
    for table in FLOW_TABLES.values():
        datapath.maps[table].clear()

    datapath.put(backends("web", ends[:-1]))
    after = choices(datapath, net)

    moved = {was for was, now in zip(before, after, strict=True) if was != now}
    assert moved == {ends[-1]}

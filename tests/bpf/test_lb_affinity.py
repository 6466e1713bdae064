"""Session affinity: a client stays with its backend for a while; weights: shares of new flows."""

import time
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from plait.core.api import Record, Service
from plait.testing import Addresses, Datapath, MakeDatapath, backends, service, tcp

Address = IPv4Address | IPv6Address

FLOWS = 40

each_size = pytest.mark.parametrize("count", [3, 9], ids=["few", "many"])


@pytest.fixture(params=["maglev", "random"])
def datapath(
    make_datapath: MakeDatapath, net: Addresses, request: pytest.FixtureRequest
) -> Datapath:
    datapath = make_datapath({"routing": {}, "lb": {"algorithm": request.param}})
    datapath.pod("client", net.client)
    datapath.pod("other", net.other_server)
    return datapath


def web(net: Addresses, affinity: int | None) -> Service:
    return replace(service("web", net.service), affinity=affinity)


def ends(net: Addresses, count: int) -> list[Address]:
    return [net.remote + number for number in range(count)]


def reached(datapath: Datapath, net: Addresses, client: Address, first: int = 1) -> set[Address]:
    """Where flows of a client go that are all new."""
    flows = [tcp(src=client, dst=net.service, sport=first + each) for each in range(FLOWS)]
    return {datapath.pod_egress(each).packet.dst for each in flows}


@each_size
def test_a_client_stays_with_one_backend(datapath: Datapath, net: Addresses, count: int) -> None:
    datapath.put(web(net, 60), backends("web", ends(net, count)))

    assert len(reached(datapath, net, net.client)) == 1


@each_size
def test_clients_have_backends_of_their_own(datapath: Datapath, net: Addresses, count: int) -> None:
    datapath.put(web(net, 60), backends("web", ends(net, count)))
    datapath.pod_egress(tcp(src=net.client, dst=net.service))

    key = {"service": pool_id(datapath), "client": net.other_server}
    value: Record = {
        "seen": time.monotonic_ns(),
        "backend": {"addr": ends(net, count)[1], "port": 8080},
    }
    datapath.update("lb_affinity", key, value)

    assert reached(datapath, net, net.other_server) == {ends(net, count)[1]}


@each_size
def test_after_the_timeout_a_client_chooses_anew(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    datapath.put(web(net, 60), backends("web", ends(net, count)))
    before = set[Address]()

    for turn in range(FLOWS):
        before |= reached_once(datapath, net, turn)
        age(datapath, 61)

    assert len(before) > 1


@each_size
def test_each_new_flow_begins_the_time_again(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    datapath.put(web(net, 60), backends("web", ends(net, count)))
    before = set[Address]()

    for turn in range(FLOWS):
        before |= reached_once(datapath, net, turn)
        age(datapath, 50)

    assert len(before) == 1


@each_size
def test_a_client_leaves_a_backend_that_is_not_ready_any_more(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    all_of_them = ends(net, count)
    datapath.put(web(net, 60), backends("web", all_of_them))
    (first,) = reached(datapath, net, net.client)

    others = [each for each in all_of_them if each != first]
    datapath.put(backends("web", others, unready=[first]))

    (second,) = reached(datapath, net, net.client, 1000)
    assert second in others


@each_size
def test_affinity_is_switched_on_and_off_live(
    datapath: Datapath, net: Addresses, count: int
) -> None:
    datapath.put(web(net, None), backends("web", ends(net, count)))
    without = reached(datapath, net, net.client)

    datapath.put(web(net, 60))
    on = reached(datapath, net, net.client, 1000)
    datapath.put(web(net, None))
    off = reached(datapath, net, net.client, 2000)

    assert len(without) > 1
    assert len(on) == 1
    assert len(off) > 1


def test_weights_are_shares_of_new_flows(datapath: Datapath, net: Addresses) -> None:
    light, heavy = backends("web", ends(net, 1)), backends("web", [net.remote + 9])
    heavy = replace(
        heavy, meta=replace(heavy.meta, name="web-2", annotations={"lb.plait/weight": "9"})
    )
    datapath.put(web(net, None), light, heavy)
    flows = [tcp(src=net.client, dst=net.service, sport=1 + each) for each in range(400)]

    shares = Counter(datapath.pod_egress(each).packet.dst for each in flows)

    assert 340 < shares[net.remote + 9] < 380


def test_a_weight_of_zero_keeps_flows_and_gets_no_new_ones(
    datapath: Datapath, net: Addresses
) -> None:
    ours = backends("web", [net.remote])
    datapath.put(web(net, None), ours)
    old = tcp(src=net.client, dst=net.service, sport=9999)
    datapath.pod_egress(old)

    other = backends("web", [net.remote + 1])
    other = replace(other, meta=replace(other.meta, name="web-2"))
    retired = replace(ours, meta=replace(ours.meta, annotations={"lb.plait/weight": "0"}))
    datapath.put(retired, other)

    assert reached(datapath, net, net.client) == {net.remote + 1}
    assert datapath.pod_egress(old).packet.dst == net.remote


def test_a_service_s_annotation_says_how_it_chooses(
    make_datapath: MakeDatapath, net: Addresses
) -> None:
    """By a hash, all that opens the same flow anew meets the same backend."""
    datapath = make_datapath({"routing": {}, "lb": {"algorithm": "random"}})
    datapath.pod("client", net.client)
    plain = web(net, None)
    hashed = replace(plain, meta=replace(plain.meta, annotations={"lb.plait/algorithm": "maglev"}))
    datapath.put(hashed, backends("web", ends(net, 3)))
    request = tcp(src=net.client, dst=net.service)

    chosen = set()
    for _ in range(FLOWS):
        chosen.add(datapath.pod_egress(request).packet.dst)
        datapath.maps["plait_flow4" if net.version == 4 else "plait_flow6"].clear()

    assert len(chosen) == 1


def reached_once(datapath: Datapath, net: Addresses, turn: int) -> set[Address]:
    flow = tcp(src=net.client, dst=net.service, sport=1 + turn)
    return {datapath.pod_egress(flow).packet.dst}


def pool_id(datapath: Datapath) -> int:
    ((key, _),) = datapath.entries("lb_affinity")
    number = key["service"]
    assert isinstance(number, int)
    return number


def age(datapath: Datapath, seconds: int) -> None:
    """Let time go by for what is remembered of clients."""
    for key, value in datapath.entries("lb_affinity"):
        seen = value["seen"]
        assert isinstance(seen, int)
        datapath.update("lb_affinity", key, {**value, "seen": seen - seconds * 1_000_000_000})

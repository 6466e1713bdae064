"""The load balancer's control plane: from Services and slices to the entries they want."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from plait.core.api import (
    Address,
    EndpointSlice,
    Entry,
    FieldValue,
    Meta,
    Object,
    PlaitError,
    Position,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
    TrafficPolicy,
)
from plait.plugins import lb
from plait.plugins.lb.backends import FEW, Backend, Backends
from plait.plugins.lb.balancer import ANYWHERE, OUTSIDE, Balancer, service_scopes
from plait.plugins.lb.config import Algorithm, LbConfig
from plait.plugins.lb.maglev import chunks_of, table_of
from plait.plugins.lb.pools import (
    ALGORITHMS,
    CHOSEN,
    ELSEWHERE,
    MANY,
    RANGES,
    SPLIT,
    pool_number,
)
from plait.plugins.lb.silence import BackendHealth
from plait.plugins.lb.topology import Here

VIP4 = IPv4Address("10.96.0.1")
VIP6 = IPv6Address("fd00:96::1")
HTTP = ServicePort(port=80)
SEVENTY = [f"10.244.1.{number}" for number in range(1, 71)]
SEVEN = SEVENTY[: FEW + 1]


def service(
    *ports: ServicePort, ips: tuple[IPv4Address | IPv6Address, ...] = (VIP4,), name: str = "web"
) -> Service:
    at = Position(file=Path("web.yaml"), line=3)
    return Service(meta=Meta(name=name), at=at, cluster_ips=ips, ports=ports or (HTTP,))


def endpoints(*addresses: str, ready: bool = True) -> tuple[SliceEndpoint, ...]:
    return tuple(SliceEndpoint(address=ip_address(each), ready=ready) for each in addresses)


def backends(
    *those: SliceEndpoint, port: SlicePort | None = None, name: str = "web-1"
) -> EndpointSlice:
    return EndpointSlice(
        meta=Meta(name=name),
        service="web",
        endpoints=those,
        ports=(port or SlicePort(port=8080),),
    )


def answer(objects: Iterable[Object], config: LbConfig | None = None) -> list[Entry | PlaitError]:
    balancer = Balancer(config or LbConfig(), Here(node="node-a"))
    return list(balancer.wanted("default/web", list(objects)))


def number(port: ServicePort = HTTP, family: type[Address] = IPv4Address) -> int:
    return pool_number("default/web", port, family, TrafficPolicy.CLUSTER)


def entries(name: str, *objects: Object, config: LbConfig | None = None) -> list[Entry]:
    found = answer(objects, config)
    return [each for each in found if isinstance(each, Entry) and each.map == name]


def named(record: FieldValue) -> str:
    """A backend as address:port."""
    assert isinstance(record, Mapping)
    return f"{record['addr']!s}:{record['port']!s}"


def few(*objects: Object) -> list[str]:
    """The backends that the one service among `objects` holds in itself."""
    (entry,) = entries("lb_services", *objects)
    found = entry.value["few"]
    assert isinstance(found, tuple)
    return [named(each) for each in found]


def many(*objects: Object) -> list[str]:
    """The backends of a service of many, by number."""
    found = entries("lb_groups", *objects)
    assert [entry.key["group"] for entry in found] == list(range(len(found)))
    groups = [entry.value["backend"] for entry in found]
    return [named(each) for group in groups if isinstance(group, tuple) for each in group]


def test_a_service_is_reached_at_its_address_port_and_protocol() -> None:
    (entry,) = entries("lb_services", service(), backends(*endpoints("10.244.1.1", "10.244.1.2")))

    assert entry.key == {"addr": VIP4, "port": 80, "proto": 6, "side": ANYWHERE}
    assert entry.value["id"] == number()
    assert entry.value["count"] == 2
    assert entry.value["algorithm"] == 1


def test_few_backends_are_in_the_service_in_the_order_of_their_addresses() -> None:
    ours = backends(*endpoints("10.244.1.10", "10.244.1.9", "10.244.0.20"))

    assert few(service(), ours) == ["10.244.0.20:8080", "10.244.1.9:8080", "10.244.1.10:8080"]


def test_a_service_of_few_backends_is_one_entry() -> None:
    (entry,) = answer([service(), backends(*endpoints(*SEVEN[:FEW]))])

    assert isinstance(entry, Entry)
    assert entry.map == "lb_services"


def test_each_of_few_backends_has_its_seed() -> None:
    ours = backends(*endpoints("10.244.1.1", "10.244.1.2"))

    (entry,) = entries("lb_services", service(), ours)

    seeds = tuple(Backend(ip_address(address), 8080).seed for address in SEVEN[:2])
    assert entry.value["seed"] == (*seeds, 0, 0, 0, 0)


def test_a_backend_has_the_same_seed_on_all_nodes() -> None:
    assert Backend(IPv4Address("10.244.1.1"), 8080).seed == 0x257A7CE6
    assert Backend(IPv4Address("10.244.1.1"), 8081).seed == 0x11CD1E59
    assert Backend(IPv6Address("fd00::1"), 8080).seed == 0x79D9B6E0


def test_many_backends_stand_in_groups_in_the_order_of_their_addresses() -> None:
    ours = backends(*endpoints(*reversed(SEVEN)))

    assert many(service(), ours) == [f"{address}:8080" for address in SEVEN]


def test_a_service_of_many_backends_holds_none_of_them() -> None:
    (entry,) = entries("lb_services", service(), backends(*endpoints(*SEVEN)))

    assert entry.value["count"] == len(SEVEN)
    assert entry.value["few"] == ()
    assert entry.value["seed"] == (0,) * FEW


def test_a_group_has_so_many_backends_at_most() -> None:
    found = entries("lb_groups", service(), backends(*endpoints(*SEVENTY)))

    sizes = [len(group) for entry in found if isinstance(group := entry.value["backend"], tuple)]
    assert sizes == [40, 30]


def test_backends_of_one_group_that_take_new_flows_have_their_seeds_in_it() -> None:
    ours = backends(*endpoints(*SEVENTY[:40]), *endpoints(*SEVENTY[40:], ready=False))

    first, second = entries("lb_groups", service(), ours)

    seeds = tuple(Backend(ip_address(address), 8080).seed for address in SEVENTY[:40])
    assert first.value["seed"] == seeds
    assert second.value["seed"] == (0,) * 40
    assert entries("lb_maglev", service(), ours) == []


def test_a_table_is_made_of_more_backends_than_a_group_has_in_slot_order() -> None:
    config = LbConfig(table_size=53)
    objects = (service(), backends(*endpoints(*SEVENTY[:41])))

    (entry,) = entries("lb_maglev", *objects, config=config)
    (owner,) = entries("lb_services", *objects, config=config)

    ready = tuple(Backend(IPv4Address(address), 8080) for address in SEVENTY[:41])
    (chunk,) = chunks_of(table_of(Backends(ready=ready), 53))
    assert entry.key == {"service": number(), "chunk": 0, "version": owner.value["version"]}
    assert entry.value == {"number": chunk}


@pytest.mark.parametrize("count", [7, 70])
def test_all_entries_of_many_backends_are_others_when_one_of_them_changes(count: int) -> None:
    ours = SEVENTY[:count]

    def versions(*addresses: SliceEndpoint) -> set[FieldValue]:
        objects = (service(), backends(*addresses))
        keys = [each.key for name in ("lb_groups", "lb_maglev") for each in entries(name, *objects)]
        (owner,) = entries("lb_services", *objects)
        return {owner.value["version"], *(key["version"] for key in keys)}

    all_ready = versions(*endpoints(*ours))
    one_not = versions(*endpoints(*ours[:-1]), *endpoints(ours[-1], ready=False))
    again = versions(*endpoints(*reversed(ours)))

    assert len(all_ready) == len(one_not) == 1
    assert again == all_ready != one_not


def test_random_choice_needs_no_table() -> None:
    config = LbConfig(algorithm=Algorithm.RANDOM)
    objects = (service(), backends(*endpoints(*SEVENTY)))

    (entry,) = entries("lb_services", *objects, config=config)

    assert entry.value["algorithm"] == 0
    assert entries("lb_maglev", *objects, config=config) == []


def test_backends_that_are_not_ready_get_nothing() -> None:
    ours = backends(*endpoints("10.244.1.9"), *endpoints("10.244.1.2", ready=False))
    (entry,) = answer([service(), ours])

    assert isinstance(entry, Entry)
    assert entry.value["count"] == 1
    assert few(service(), ours) == ["10.244.1.9:8080", "10.244.1.2:8080"]


def test_of_many_backends_those_that_are_not_ready_come_last() -> None:
    ours = backends(*endpoints(*SEVEN[5:]), *endpoints(*SEVEN[:5], ready=False))
    (entry,) = entries("lb_services", service(), ours)

    assert (entry.value["count"], entry.value["total"]) == (2, 7)
    assert many(service(), ours) == [f"{address}:8080" for address in (*SEVEN[5:], *SEVEN[:5])]


def test_backends_of_all_slices_count_once() -> None:
    one = backends(*endpoints("10.244.1.1", "10.244.1.2"), name="web-1")
    two = backends(*endpoints("10.244.1.2", "10.244.1.3"), name="web-2")

    assert len(few(service(), one, two)) == 3


@pytest.mark.parametrize("first", [True, False])
def test_a_backend_that_two_slices_name_is_ready_if_one_of_them_says_so(first: bool) -> None:
    one = backends(*endpoints("10.244.1.1", ready=first), name="web-1")
    two = backends(*endpoints("10.244.1.1", ready=not first), name="web-2")

    (entry,) = entries("lb_services", service(), one, two)

    assert (entry.value["count"], entry.value["total"]) == (1, 1)


def test_a_service_without_a_ready_backend_refuses() -> None:
    (entry,) = answer([service(), backends(*endpoints("10.244.1.1", ready=False))])

    assert isinstance(entry, Entry)
    assert (entry.map, entry.value["count"]) == ("lb_services", 0)


def test_ports_are_matched_by_name_and_protocol() -> None:
    dns = ServicePort(name="dns", port=53, protocol="UDP")
    dns_tcp = ServicePort(name="dns-tcp", port=53)
    objects = (
        service(dns, dns_tcp),
        backends(
            *endpoints("10.244.1.1"),
            port=SlicePort(name="dns", port=5353, protocol="UDP"),
            name="web-1",
        ),
        backends(*endpoints("10.244.1.2"), port=SlicePort(name="dns-tcp", port=5300), name="web-2"),
        backends(*endpoints("10.244.1.3"), port=SlicePort(name="dns", port=5301), name="web-3"),
    )

    found = {entry.value["id"]: entry.value["few"] for entry in entries("lb_services", *objects)}

    assert found == {
        number(dns): ({"addr": IPv4Address("10.244.1.1"), "port": 5353},),
        number(dns_tcp): ({"addr": IPv4Address("10.244.1.2"), "port": 5300},),
    }


def test_each_family_has_backends_of_its_own() -> None:
    objects = (service(ips=(VIP4, VIP6)), backends(*endpoints("10.244.1.1", "fd00:244::1")))

    found = {entry.touches: entry.value["few"] for entry in entries("lb_services", *objects)}

    assert found == {
        (VIP4,): ({"addr": IPv4Address("10.244.1.1"), "port": 8080},),
        (VIP6,): ({"addr": IPv6Address("fd00:244::1"), "port": 8080},),
    }


def test_flows_of_a_service_decide_again_when_it_changes() -> None:
    other = IPv4Address("10.96.0.2")
    objects = (service(ips=(VIP4, other)), backends(*endpoints(*SEVEN)))

    touched = [entry.touches for entry in entries("lb_services", *objects)]

    assert touched == [(VIP4,), (other,)]


def test_flows_of_one_of_many_backends_decide_again_when_it_goes() -> None:
    objects = (service(), backends(*endpoints(*SEVEN)))

    (entry,) = entries("lb_groups", *objects)

    assert entry.touches == tuple(map(IPv4Address, SEVEN))


@pytest.mark.parametrize("objects", [(service(ips=()),), (backends(*endpoints("10.244.1.1")),)])
def test_without_a_service_that_has_an_address_nothing_is_wanted(
    objects: tuple[Object, ...],
) -> None:
    assert answer(objects) == []


def test_sctp_is_served_at_the_port_that_it_leads_to() -> None:
    sctp = ServicePort(port=80, protocol="SCTP")
    ours = backends(*endpoints("10.244.1.1"), port=SlicePort(port=80, protocol="SCTP"))

    (entry,) = answer([service(sctp), ours])

    assert isinstance(entry, Entry)
    assert entry.key["proto"] == 132


def test_sctp_at_another_port_is_refused_and_other_ports_are_served() -> None:
    sctp = ServicePort(name="sctp", port=80, protocol="SCTP")
    ours = backends(
        *endpoints("10.244.1.1"), port=SlicePort(name="sctp", port=8080, protocol="SCTP")
    )

    problem, entry = answer([service(sctp, ServicePort(name="http", port=80)), ours])

    assert str(problem) == (
        "web.yaml:3:1: Service default/web: SCTP port 80 leads to port 8080 of 10.244.1.1; "
        "expected the same port: SCTP is balanced without changing ports"
    )
    assert isinstance(entry, Entry)


def test_more_backends_than_the_table_has_slots_are_told() -> None:
    ours = backends(*endpoints(*SEVENTY))

    problem, *_ = answer([service(), ours], LbConfig(table_size=53))

    assert isinstance(problem, PlaitError)
    assert problem.hint == "raise lb.tableSize"


@pytest.mark.parametrize(
    ("each", "scope"),
    [
        (service(), ("default/web",)),
        (backends(), ("default/web",)),
        (EndpointSlice(meta=Meta(name="stray")), ()),
    ],
)
def test_slices_belong_to_the_scope_of_their_service(each: Object, scope: tuple[str]) -> None:
    assert service_scopes(each) == scope


def test_a_table_size_that_is_no_prime_is_refused() -> None:
    with pytest.raises(ValueError, match="tableSize 1022 is no prime"):
        LbConfig(table_size=1022)


def test_a_service_has_the_same_number_on_all_nodes() -> None:
    assert number() == 0xB64ACC51EF3B63C6


def test_the_ports_and_families_of_a_service_have_numbers_of_their_own() -> None:
    ports = (HTTP, ServicePort(port=81), ServicePort(port=80, protocol="UDP"))
    families = (IPv4Address, IPv6Address)

    numbers = {number(port, each) for port in ports for each in families}

    assert len(numbers) == 6


def named_in_header(enum: str) -> list[str]:
    """The names in an enum of the plugin's header, in order, without their prefix."""
    header = (Path(lb.__path__[0]) / "bpf" / "lb_tables.h").read_text()
    body = re.search(rf"enum {enum} \{{(.*?)\n\}}", header, re.DOTALL)
    assert body
    return re.findall(r"\bLB_(\w+)(?: =|,)", body[1])


def test_algorithms_have_the_numbers_of_the_header() -> None:
    names = named_in_header("lb_algorithm")

    assert {Algorithm(name.lower()): index for index, name in enumerate(names)} == ALGORITHMS


def test_flags_and_sides_have_the_numbers_of_the_header() -> None:
    flags = {"MANY": MANY, "SPLIT": SPLIT, "RANGES": RANGES, "CHOSEN": CHOSEN}
    flags["ELSEWHERE"] = ELSEWHERE

    assert {name: 1 << bit for bit, name in enumerate(named_in_header("lb_flag"))} == flags
    assert named_in_header("lb_side") == ["ANYWHERE", "OUTSIDE"]
    assert (ANYWHERE, OUTSIDE) == (0, 1)


# ---- checks ----


def silent(*addresses: str) -> BackendHealth:
    """What checks say: these do not answer on port 8080."""
    those = frozenset(Backend(ip_address(address), 8080) for address in addresses)
    return BackendHealth(meta=Meta(name="web"), silent=those)


def shared(*objects: Object) -> tuple[list[str], list[str]]:
    """(those that take new flows, those that only keep theirs) of the one service."""
    (entry,) = entries("lb_services", *objects)
    count = entry.value["count"]
    assert isinstance(count, int)
    return few(*objects)[:count], few(*objects)[count:]


def test_a_backend_that_does_not_answer_only_keeps_its_flows() -> None:
    ours = backends(*endpoints("10.244.1.1", "10.244.1.2"))

    takers, others = shared(service(), ours, silent("10.244.1.2"))

    assert (takers, others) == (["10.244.1.1:8080"], ["10.244.1.2:8080"])


def test_when_none_answers_all_take_new_flows() -> None:
    ours = backends(*endpoints("10.244.1.1", "10.244.1.2"))

    takers, others = shared(service(), ours, silent("10.244.1.1", "10.244.1.2"))

    assert (takers, others) == (["10.244.1.1:8080", "10.244.1.2:8080"], [])


def test_one_that_is_not_ready_does_not_stand_in_for_those_that_do_not_answer() -> None:
    ready, other = endpoints("10.244.1.1"), endpoints("10.244.1.2", ready=False)

    takers, others = shared(service(), backends(*ready, *other), silent("10.244.1.1"))

    assert (takers, others) == (["10.244.1.1:8080"], ["10.244.1.2:8080"])


def test_one_on_its_way_out_that_answers_stands_in_for_those_that_do_not() -> None:
    leaving = SliceEndpoint(
        address=ip_address("10.244.1.2"), ready=False, serving=True, terminating=True
    )

    takers, _ = shared(service(), backends(*endpoints("10.244.1.1"), leaving), silent("10.244.1.1"))

    assert takers == ["10.244.1.2:8080"]


def test_checks_count_even_when_readiness_does_not() -> None:
    published = replace(service(), publish_not_ready=True)
    ours = backends(*endpoints("10.244.1.1", "10.244.1.2", ready=False))

    takers, others = shared(published, ours, silent("10.244.1.1"))

    assert (takers, others) == (["10.244.1.2:8080"], ["10.244.1.1:8080"])


def test_what_checks_say_belongs_to_the_service() -> None:
    assert service_scopes(silent("10.244.1.1")) == ("default/web",)

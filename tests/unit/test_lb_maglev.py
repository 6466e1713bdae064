"""Maglev's tables: even, alike on all nodes, and hardly different when a backend goes."""

from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import pytest

from plait.plugins.lb.backends import Backend
from plait.plugins.lb.maglev import Maglev


def backends(count: int) -> list[Backend]:
    return [Backend(IPv4Address("10.244.0.1") + number, 8080) for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 1021])
def test_every_slot_has_a_backend_and_shares_differ_by_one_at_most(count: int) -> None:
    shares = Counter(Maglev(1021).table(backends(count)))

    assert sum(shares.values()) == 1021
    assert shares.keys() == set(range(count))
    assert max(shares.values()) - min(shares.values()) <= 1


def test_with_more_backends_than_slots_each_slot_has_another_one() -> None:
    table = Maglev(7).table(backends(10))

    assert sorted(table) == [0, 1, 2, 3, 4, 5, 6]


def test_all_nodes_make_the_same_table() -> None:
    own = [Backend(IPv4Address("10.244.1.1"), 80), Backend(IPv6Address("fd00::1"), 80)]

    assert Maglev(13).table(own) == (0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0)


def test_the_table_is_that_of_the_paper() -> None:
    maglev = Maglev(101)
    preferences = [list(maglev._permutation(each)) for each in backends(7)]

    table = dict[int, int]()
    while len(table) < 101:
        for index, slots in enumerate(preferences):
            free = [slot for slot in slots if slot not in table]
            if free:
                table[free[0]] = index

    assert maglev.table(backends(7)) == tuple(table[slot] for slot in range(101))


def test_a_backend_prefers_slots_at_equal_strides() -> None:
    slots = list(Maglev(101)._permutation(backends(1)[0]))

    strides = {(after - before) % 101 for before, after in pairwise(slots)}

    assert sorted(slots) == list(range(101))
    assert len(strides) == 1


def test_a_port_makes_another_backend_of_an_address() -> None:
    maglev = Maglev(1021)
    other = [Backend(address, 9090) for address, _ in backends(3)]

    assert maglev.table(backends(3)) != maglev.table(other)


@pytest.mark.parametrize("size", [65537, 10007])
def test_when_one_of_100_goes_hardly_any_flow_of_others_moves(size: int) -> None:
    maglev = Maglev(size)
    before, gone = backends(100), 42
    after = [*before[:gone], *before[gone + 1 :]]

    old = [before[index] for index in maglev.table(before)]
    new = [after[index] for index in maglev.table(after)]

    others = [(was, now) for was, now in zip(old, new, strict=True) if was != before[gone]]
    moved = sum(was != now for was, now in others)
    assert moved / len(others) <= 0.02
